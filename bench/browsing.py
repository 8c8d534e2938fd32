"""A browser at the utility's website, for steps that a person takes there: a representative at a desk, a customer at home.

Headless Chromium through SeleniumLibrary. Every method does what a person does: it opens pages, fills in forms, presses
buttons, and reads what stands there. Waits are for a page, never for a while; where bench time has to pass, the bench lets it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver import ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait
from SeleniumLibrary import SeleniumLibrary

from bench import displayed
from bench.data import BadInput

_PAGE_S = 20.0
_SPAN = ("starts_at", "ends_at")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--disable-default-apps", "--mute-audio", "--hide-scrollbars", "--lang=en-US", "--force-color-profile=srgb"),
)
_FIELDS = """
return [...document.querySelectorAll(arguments[0])].map(part => {
  const found = {}, times = {};
  for (const e of part.querySelectorAll("[data-field]")) {
    found[e.dataset.field] = e.innerText.trim();
    const time = e.querySelector("time");
    if (time) times[e.dataset.field] = time.dateTime;
  }
  return [found, times];
});
"""
_ROWS = """
return [...document.querySelectorAll(arguments[0] + " tbody tr")].map(
  row => [...row.children].map(cell => cell.textContent.trim()));
"""
_SPANS = """
return [...document.querySelectorAll(arguments[0] + " li")].map(
  line => [...line.querySelectorAll("time")].map(time => time.dateTime));
"""
_ORDERS = 'return [...document.querySelectorAll("[data-order]")].map(e => [e.dataset.order, e.getAttribute("href")])'
_EVENTS = 'return [...document.querySelectorAll("[data-event]")].map(e => [e.querySelector("time").dateTime, e.dataset.event])'
# The browser's own editing: a field takes what it would take of a person, its greatest length and all.
_FILL = """
return Object.entries(arguments[0]).filter(([name, text]) => {
  const field = document.querySelector(`input[name="${name}"], textarea[name="${name}"]`);
  field?.focus();
  if (!field || document.activeElement !== field) return true;
  field.select();
  document.execCommand(text ? "insertText" : "delete", false, text);
  return field.value !== text && !(field.maxLength >= 0 && text.startsWith(field.value));
}).map(([name]) => name);
"""
_INVALID = """
return [...document.querySelectorAll("form :invalid")].map(e => `${e.name} ${JSON.stringify(e.value)}: ${e.validationMessage}`)
  .concat(document.readyState, document.activeElement?.outerHTML.slice(0, 80) ?? "");
"""
_CLICK = """
const e = document.querySelector(arguments[0]);
if (!e || e.disabled || !e.checkVisibility({visibilityProperty: true})) return false;
window.twinbenchLeft = false;
e.focus();
e.click();
return true;
"""
_LEFT = 'return window.twinbenchLeft === undefined && document.readyState !== "loading"'
_GONE = "does not belong to the document"
_DATA = 'return document.querySelector(`[data-${arguments[0]}]`)?.dataset[arguments[0]] || ""'


_PACKAGES = ("chromium-headless-shell", "chromium-driver")
_CHROMIUM = ("/usr/lib/chromium/chromium-headless-shell", "chrome-headless-shell", "chromium", "google-chrome")
"""The headless build starts and draws faster, and does the same as the whole browser without a window."""


def _chromium() -> str | None:
    """The browser that is here, the lightest first."""
    return next((found for name in _CHROMIUM if (found := shutil.which(name))), None)


class NoPage(Exception):
    """What leads to a page did not. One line that says from where, and what the browser finds wrong in the form."""


class NoBrowser(Exception):
    """There is no browser, or no website to open. One line, with the remedy."""


@dataclass(frozen=True)
class Shown:
    """What a page shows: its fields by their names as people read them, and the moments among them."""

    fields: Mapping[str, str]
    moments: Mapping[str, datetime]

    def text(self, name: str) -> str | None:
        """A field's text; None where the page has none, or nothing stands there."""
        return self.fields.get(name) or None

    def cents(self, name: str) -> int | None:
        """An amount of dollars as cents."""
        text = self.text(name)
        return None if text is None else cents(text)

    def wh(self, name: str) -> float | None:
        """Kilowatt-hours as watt-hours."""
        text = self.text(name)
        return None if text is None else wh(text)

    def lasting(self, name: str) -> timedelta | None:
        """A time left, as finely as the page tells it."""
        return displayed.lasting(self.text(name))

    def moment(self, name: str) -> datetime | None:
        """A moment, as aware UTC."""
        return self.moments.get(name)

    def whole(self, name: str) -> int | None:
        """A whole number."""
        text = self.text(name)
        return None if text is None else int(text)


def wh(text: str) -> float:
    """Watt-hours of an energy as a page writes it: `1,234.5 kWh`."""
    return float(text.removesuffix("kWh").strip().replace(",", "")) * 1000


def cents(text: str) -> int:
    """Cents of an amount as a page writes it: `$1,234.50`, `-$3.00`."""
    found = re.fullmatch(r"(-?)\$(-?)([0-9,]+\.[0-9]{2})", text.replace("−", "-").replace("\xa0", " "))
    if found is None:
        raise ValueError(f"{text!r} is no amount of dollars")
    sign = -1 if found[1] or found[2] else 1
    return sign * int(Decimal(found[3].replace(",", "")) * 100)


class Browsing:
    """One browser at one website. `save` keeps a picture (PNG) under a name; without it none is taken.

    `bench` lets bench time pass where a page waits for it. NoBrowser where Chromium or its driver is missing.
    """

    def __init__(
        self,
        address: str,
        *,
        let_pass: Callable[[float], object] = lambda seconds: None,
        save: Callable[[str, bytes], object] | None = None,
    ) -> None:
        chromium, driver = _chromium(), shutil.which("chromedriver")
        if chromium is None or driver is None:
            raise NoBrowser(f"no Chromium with its driver is here; run: sudo apt-get install {' '.join(_PACKAGES)}")
        self.address = address
        self.signed_in = ""
        self._let_pass = let_pass
        self._save = save
        self._pictures = 0
        self._profile = tempfile.TemporaryDirectory(prefix="twinbench-browser-", ignore_cleanup_errors=True)
        options = ChromeOptions()
        options.binary_location = chromium
        options.page_load_strategy = (
            "eager"  # a page is there when it can be read; pictures and fonts it has none to wait for
        )
        for flag in (*_FLAGS, "--window-size=1100,1400"):
            options.add_argument(flag)
        logging.getLogger("selenium").setLevel(logging.WARNING)  # it would tell what is typed into a field
        self.library = SeleniumLibrary(run_on_failure=None, timeout=f"{_PAGE_S} seconds")
        try:
            # The driver makes the browser's profile; it does so in a folder of ours, so that nothing is left behind.
            kept = {**os.environ, "TMPDIR": self._profile.name}
            self.library.create_webdriver("Chrome", options=options, service=Service(driver, env=kept))
        except WebDriverException as no:
            self._profile.cleanup()
            raise NoBrowser(f"Chromium does not start: {str(no.msg or no).splitlines()[0]}") from None

    def close(self) -> None:
        """Close the browser and forget what it kept."""
        self.library.close_all_browsers()
        self._profile.cleanup()

    # --- pages ---

    @property
    def driver(self) -> Any:
        """Selenium's driver of the browser."""
        return self.library.driver

    @property
    def path(self) -> str:
        """The path of the page that is open."""
        return str(self.driver.current_url).removeprefix(self.address).partition("?")[0]

    def go(self, path: str) -> Shown:
        """Open a page; what it shows."""
        self.driver.get(self.address + path)
        return self.shown()

    def press(self, action: str) -> Shown:
        """Press what does an action (`data-action`) and wait for the page that follows; what that shows."""
        return self.follow(f'[data-action="{action}"]')

    def follow(self, css: str) -> Shown:
        """Click on an element that leads to a page and wait for it; what that shows. NoPage where nobody sees it, or it cannot be
        pressed.

        The click is the element's own: where a page moves as it refreshes itself, one at a place may land beside it.
        """
        if not self.driver.execute_script(_CLICK, css):
            raise NoPage(f"website: {self.path} has no {css} that can be seen and pressed")
        try:
            WebDriverWait(self.driver, _PAGE_S, 0.01).until(self._has_left)
        except TimeoutException:
            wrong = ", ".join(self.driver.execute_script(_INVALID)) or "no field is wrong"
            raise NoPage(f"website: {self.path}: {css} leads nowhere in {_PAGE_S:g} s ({wrong})") from None
        return self.shown()

    def _has_left(self, _: Any) -> bool:
        """Whether another page is there than the one that was marked."""
        try:
            return bool(self.driver.execute_script(_LEFT))
        except WebDriverException:  # between two pages there is none to ask
            return False

    def fill(self, **fields: str) -> None:
        """Put text into fields of the page's form by their names, as one who pastes it. BadInput where nobody could: the
        field isn't there, isn't seen, or takes nothing. What is put in goes into no log.
        """
        left = self.driver.execute_script(_FILL, fields)
        if left:
            raise BadInput(f"website: {self.path} has no field to fill in for {', '.join(left)}")

    def set_moment(self, name: str, at: datetime) -> None:
        """Give a date and time, as local time of the utility."""
        self._set(name, at.strftime("%Y-%m-%dT%H:%M:%S" if at.second else "%Y-%m-%dT%H:%M"))

    def _set(self, name: str, value: str) -> None:
        """Put a value into a field as it is, also into one that nobody sees."""
        field = self.driver.find_element("css selector", f'[name="{name}"]')
        self.driver.execute_script("arguments[0].value = arguments[1]", field, value)

    def choose(self, name: str, value: str) -> None:
        """Choose one of several."""
        self.library.select_radio_button(name, value)

    def shown(self) -> Shown:
        """What the page shows now."""

        def look(_: Any) -> Any:
            try:
                return self.parts("html")
            except WebDriverException as no:  # between two pages
                if isinstance(no, StaleElementReferenceException) or _GONE in str(no.msg):
                    return None
                raise

        found: list[Shown] = WebDriverWait(self.driver, _PAGE_S, 0.01).until(look)
        return found[0]

    def parts(self, css: str) -> list[Shown]:
        """What each of several like parts of the page shows."""
        return [
            Shown(fields, {name: datetime.fromisoformat(text).astimezone(UTC) for name, text in times.items()})
            for fields, times in self.driver.execute_script(_FIELDS, css)
        ]

    def rows(self, field: str) -> list[list[str]]:
        """The rows of a table of the page, open or folded."""
        found: list[list[str]] = self.driver.execute_script(_ROWS, f'[data-field="{field}"]')
        return found

    def spans(self, field: str) -> list[tuple[datetime, ...]]:
        """The moments of each line of a list of the page, as aware UTC."""
        found: list[list[str]] = self.driver.execute_script(_SPANS, f'[data-field="{field}"]')
        return [tuple(datetime.fromisoformat(text).astimezone(UTC) for text in line) for line in found]

    def answer(self) -> str:
        """What the page says to a time that was asked for, in one word: free, taken, not_set_up."""
        return str(self.driver.execute_script(_DATA, "answer"))

    def reason(self) -> str:
        """The name of the refusal on the page; empty where nothing is refused."""
        return str(self.driver.execute_script(_DATA, "reason"))

    def state(self) -> str:
        """The state of what the page is about, in one word."""
        return str(self.driver.execute_script(_DATA, "state"))

    def offers(self, action: str) -> bool:
        """Whether the page has something to press for an action."""
        return bool(self.driver.find_elements("css selector", f'[data-action="{action}"]'))

    def picture(self, name: str) -> None:
        """Keep a picture of the page as it is now."""
        if self._save is not None:
            self._pictures += 1
            self._save(f"{self._pictures:02}-{name}.png", self.driver.get_screenshot_as_png())

    # --- signing in ---

    def sign_in(self, login: str, password: str) -> Shown:
        """Sign in, unless this login is signed in and its session goes on. BadInput where the website does not let them in."""
        if self.signed_in == login:
            page = self.go("/")
            if self.path != "/sign-in":
                return page
        self.driver.delete_all_cookies()
        self.go("/sign-in")
        self.fill(login=login, password=password)
        page = self.press("sign-in")
        if self.path == "/sign-in":
            raise BadInput(f"the website does not let {login!r} in: {page.text('message')}")
        self.signed_in = login
        return page

    def sign_out(self) -> None:
        """Sign out."""
        self.press("sign-out")
        self.signed_in = ""

    # --- the representative ---

    def find_account(self, number: str) -> Shown:
        """Search for an account and open it; the account's page."""
        self.go("/desk")
        self.fill(q=number)
        self.press("search")
        return self.follow(f'[data-account="{number}"]')

    def log_request(self, account: str, name: str, address: str, ends_at: datetime | None = None) -> int:
        """Log what a customer asks for, `ends_at` as local time; the request's id."""
        self.go(f"/desk/accounts/{account}/requests")
        self.fill(name=name, address=address)
        if ends_at is not None:
            self.set_moment("ends_at", ends_at)
        page = self.press("log-request")
        request_id = page.whole("request_id")
        if request_id is None:
            raise BadInput(f"the website does not log the request: {page.text('message')}")
        return request_id

    def identify(self, request_id: int, credential: str) -> Shown | None:
        """Hold a proof of identity against what the CSS knows; customer data as shown, None where it is refused."""
        page = self.go(f"/desk/requests/{request_id}")
        if not page.text("credentials_confirmed"):
            self.fill(credential=credential)
            page = self.press("identify")
        return page if page.text("credentials_confirmed") else None

    def estimate(self, request_id: int, account: str) -> Shown:
        """The estimate of a request; its page. `rows("days")` is the history behind it."""
        return self.go(f"/desk/requests/{request_id}/estimate?account={account}")

    def pay(
        self, request_id: int, account: str, amount_cents: int, method: str, data: Mapping[str, str], option: str
    ) -> Shown:
        """Pay for a request and see how it ends, at most a minute of bench time later; the payment's page.

        Its field `stage` says how far the payment is; `stage()` says it in one word.
        """
        self.go(f"/desk/requests/{request_id}/estimate?account={account}&method={method}")
        self.choose("option", option)
        return self._pay(amount_cents, data)

    def _pay(self, amount_cents: int, data: Mapping[str, str]) -> Shown:
        if not self.offers("pay"):  # nothing to be paid, as for a booking that has been paid for
            return self.shown()
        self._fill_means(amount_cents, data)
        return self._settled(self.press("pay"))

    def _fill_means(self, amount_cents: int, data: Mapping[str, str]) -> None:
        self.fill(amount=f"{amount_cents / 100:.2f}", **{f"data_{name}": text for name, text in data.items()})

    def _settled(self, page: Shown) -> Shown:
        """Wait until what the page tells of is no longer in progress, at most a minute of bench time; the page then."""
        for seconds in (0.0, *[1.0] * 60):
            if self.stage() != "in_progress":
                break
            self._let_pass(seconds)
            page = self.go(self.path)
        return page

    def stage(self) -> str:
        """How far the payment on the page is: in_progress, refused, posted, confirmed."""
        return str(self.driver.execute_script(_DATA, "stage"))

    def payment(self, payment_id: str) -> Shown:
        """The page of a payment at the desk."""
        return self.go(f"/desk/payments/{payment_id}")

    def acknowledge(self, payment_id: str) -> Shown:
        """Acknowledge the meter's confirmation of a payment; the page afterwards. Without a confirmation there is no button."""
        page = self.payment(payment_id)
        return self.press("acknowledge") if self.offers("acknowledge") else page

    def request_event(
        self, account: str, name: str, address: str, starts_at: datetime, ends_at: datetime, location: str | None = None
    ) -> int:
        """Log that a customer asks for an event, times as local times; the request's id."""
        self.go(f"/desk/accounts/{account}/requests")
        self.fill(name=name, address=address)
        self.driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        self.set_moment("starts_at", starts_at)
        self.set_moment("ends_at", ends_at)
        if location is not None:
            self.fill(location=location)
        page = self.press("log-request")
        request_id = page.whole("request_id")
        if request_id is None:
            raise BadInput(f"the website does not log the request: {page.text('message')}")
        return request_id

    def event(
        self, request_id: int, times: tuple[datetime, datetime] | None = None, location: str | None = None
    ) -> Shown:
        """Whether the time of a request is free, and what the event will take; its page. `answer()`, `spans("free")` and
        `rows("days")`, the history behind it, are read from it. Other local times, or a facility, may be asked for instead.
        """
        asked = {} if location is None else {"location": location}
        if times is not None:
            asked |= {name: f"{at:%Y-%m-%dT%H:%M:%S}" for name, at in zip(_SPAN, times, strict=True)}
            asked |= {f"{name}_fold": str(at.fold) for name, at in zip(_SPAN, times, strict=True)}
        return self.go(f"/desk/requests/{request_id}/event" + (f"?{urlencode(asked)}" if asked else ""))

    def book(
        self,
        request_id: int,
        outcome: str,
        times: tuple[datetime, datetime] | None = None,
        location: str | None = None,
    ) -> Shown:
        """Book the event of a request; the booking's page, or the page that says why not (`message`, `reason()`).

        Other times, or a facility, go into the form as somebody would who forges it: the page offers only what is free.
        """
        page = self.event(request_id)
        if not self.offers("book"):
            return page
        self.choose("outcome", outcome)
        for name, at in zip(_SPAN, times or (), strict=False):
            self._set(name, f"{at:%Y-%m-%dT%H:%M:%S}")
            self._set(f"{name}_fold", str(at.fold))
        if location is not None:
            self._set("location", location)
        return self.press("book")

    def pay_event(self, booking_id: str, amount_cents: int, method: str, data: Mapping[str, str]) -> Shown:
        """Pay for a booking and see how it ends; the payment's page."""
        self.go(f"/desk/events/{booking_id}?method={method}")
        return self._pay(amount_cents, data)

    def end_event(self, booking_id: str) -> Shown:
        """End or cancel an event; its page."""
        self.go(f"/desk/events/{booking_id}")
        return self.press("end")

    def log_outage(self, account: str, name: str, address: str, text: str, since: datetime | None = None) -> Shown:
        """Log that a customer reports no power, `since` as local time; the report's page (`report_id`)."""
        self.go(f"/desk/accounts/{account}/outage")
        self.fill(name=name, address=address, text=text)
        if since is not None:
            self.set_moment("since", since)
        return self.press("report")

    def identify_outage(self, report_id: int, credential: str) -> Shown:
        """Confirm who reports; the report's page, with what was prepaid once they are confirmed."""
        page = self.go(f"/desk/outages/{report_id}")
        if self.offers("identify"):  # who has been confirmed is not asked again
            self.fill(credential=credential)
            page = self.press("identify")
        return page

    def outage(self, report_id: int) -> Shown:
        """The page of a report: state, what was prepaid, tests (`check_test`, `switch`, `load_side_voltage`), orders."""
        return self.go(f"/desk/outages/{report_id}")

    def orders(self) -> list[tuple[str, str]]:
        """Orders on the page: what each is for, and its address."""
        found: list[list[str]] = self.driver.execute_script(_ORDERS)
        return [(kind, path) for kind, path in found]

    def act_on_outage(self, report_id: int, action: str) -> Shown:
        """`test`, `activate`, `still-no-power` or `restored`; the page that follows."""
        self.go(f"/desk/outages/{report_id}")
        return self.press(action)

    # --- the customer ---

    def read_account(self, account: str) -> Shown:
        """The page of an account, for its customer. `rows("days")` and `rows("intervals")` are the usage."""
        return self.go(f"/accounts/{account}")

    def read_usage(self, account: str, day: date) -> Shown:
        """The page with an account's usage of a local day, for its customer. `rows("intervals")` has it, energy last."""
        return self.go(f"/accounts/{account}/usage?day={day.isoformat()}")

    def warning(self) -> str:
        """What the page of an account warns of, in one word: near, used_up; empty where it does not."""
        return str(self.driver.execute_script(_DATA, "warning"))

    def balance_events(self) -> list[tuple[datetime, str]]:
        """What has happened to the balance, from the page of an account: moment and kind, the latest first."""
        found: list[list[str]] = self.driver.execute_script(_EVENTS)
        return [(datetime.fromisoformat(at).astimezone(UTC), kind) for at, kind in found]

    def prepay(self, account: str, amount_cents: int, data: Mapping[str, str]) -> Shown:
        """The customer prepays by card for the next bill cycle, and sees how it ends; the payment's page."""
        self.go(f"/accounts/{account}/prepay")
        self.press("ask")
        return self._pay(amount_cents, data)

    def choose_at_zero(self, account: str, option: str, fallback: str) -> Shown:
        """The customer chooses what happens at zero; the page with the choice (`at_zero`), or why not (`message`)."""
        self.go(f"/accounts/{account}/at-zero")
        self.choose("option", option)
        self.choose("fallback", fallback)
        return self.press("choose")

    def agree(self, account: str, amount_cents: int, data: Mapping[str, str]) -> Shown:
        """The customer agrees on automatic payments by card; the page with the agreement. `stage()` is `agreed` or `refused`."""
        self.go(f"/accounts/{account}/replenish")
        self._fill_means(amount_cents, data)
        return self._settled(self.press("agree"))
