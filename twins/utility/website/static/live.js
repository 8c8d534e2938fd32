// Live refresh: told that the account has changed, it fetches this very page anew and puts its live part in place of the old one.
"use strict";
const live = document.querySelector("[data-live]");
if (live && window.EventSource) {
  let first = true;
  const stream = new EventSource(live.dataset.live);
  stream.addEventListener("changed", async () => {
    if (first) { first = false; return; }
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) { stream.close(); return; }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const anew = page.getElementById(live.id);
    if (anew) live.replaceChildren(...anew.childNodes);
  });
}
