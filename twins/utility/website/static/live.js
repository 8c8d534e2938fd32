// Live refresh. A part that has a stream is replaced when the account has changed; a page that waits for something looks again
// until it has it, but not while somebody is at one of its forms.
"use strict";
const anew = async () => {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

const live = document.querySelector("[data-live]");
if (live && window.EventSource) {
  let first = true;
  const stream = new EventSource(live.dataset.live);
  stream.addEventListener("changed", async () => {
    if (first) { first = false; return; }
    const page = await anew();
    if (!page) { stream.close(); return; }
    const part = page.getElementById(live.id);
    if (part) live.replaceChildren(...part.childNodes);
  });
}

const again = document.querySelector("script[data-again]");
if (again) {
  const later = () => setTimeout(look, again.dataset.again * 1000);
  const look = async () => {
    const page = await anew();
    if (!page) return;
    const main = document.getElementById("main");
    if (!document.activeElement?.closest("main form")) main.replaceChildren(...page.getElementById("main").childNodes);
    if (page.querySelector("script[data-again]")) later();
  };
  later();
}
