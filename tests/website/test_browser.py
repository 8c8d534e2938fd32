"""The website in a real browser: a desk's whole way, live refresh, a phone, and no scripts at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from bench.browsing import Browsing
from tests.conftest import LoopThread
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import PASSWORDS, WebTown

CARD = {"number": "4111111111111111", "expiry": "12/29"}
PHONE = 360
"""A phone's width, in CSS pixels."""
WHO = ("Ada Byron", "7 Elm Street, Springfield")


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


@pytest.fixture
def browser(here: WebTown) -> Iterator[Browsing]:
    browsing = Browsing(here.server.address, let_pass=here.town.after)
    yield browsing
    browsing.close()


def signed_in(browser: Browsing, login: str) -> Browsing:
    browser.sign_in(login, PASSWORDS[login])
    return browser


def test_a_desk_books_an_event_and_follows_up_an_outage(here: WebTown, browser: Browsing) -> None:
    desk = signed_in(browser, "desk-1")
    desk.find_account(ACCOUNT)
    request = desk.log_request(ACCOUNT, *WHO)
    assert desk.identify(request, "not she") is None
    known = desk.identify(request, "analytical engine")
    assert known is not None
    assert known.text("name") == "Ada Byron"
    paid = desk.pay(request, ACCOUNT, 2_500, "card", CARD, "limit")
    assert (desk.stage(), paid.cents("balance")) == ("posted", 2_500)
    here.town.after(20)
    payment = paid.text("payment_id")
    assert payment is not None
    assert desk.acknowledge(payment).text("acknowledged_by") == "Grace at desk 1"
    now = here.town.clock.now().astimezone(here.town.config.zone)
    request = desk.request_event(ACCOUNT, *WHO, now + timedelta(days=3), now + timedelta(days=4))
    desk.identify(request, "analytical engine")
    assert desk.event(request).cents("cost") == 240
    booking = desk.book(request, "disconnect").text("booking_id")
    assert booking is not None
    desk.pay_event(booking, 600, "card", CARD)
    assert desk.stage() == "posted"
    assert desk.end_event(booking).text("state") == "Cancelled"
    report = desk.log_outage(ACCOUNT, *WHO, "all is dark").whole("report_id")
    assert report is not None
    assert desk.identify_outage(report, "analytical engine").text("activation_sent") == "sent"
    desk.act_on_outage(report, "test")
    here.town.after(60)
    assert desk.outage(report).text("check_test") in ("Passed", "Failed")


def test_an_open_page_follows_the_account_by_itself(here: WebTown, browser: Browsing, site_loop: LoopThread) -> None:
    signed_in(browser, "C-1").read_account(ACCOUNT)
    live = here.town.utility.website
    assert live is not None
    WebDriverWait(browser.driver, 20, 0.02).until(lambda _: site_loop.call(len, live.live.listeners))
    ada = here.visitor("C-1")
    here.asks(ada)
    here.pays(ada, 4_200)
    here.town.after(10)
    shown = WebDriverWait(browser.driver, 20, 0.02).until(
        lambda _: (page := browser.shown()).text("balance") == "$42.00" and page
    )
    assert shown.text("balance") == "$42.00"


def test_a_page_that_waits_looks_again_and_stays_where_it_is(here: WebTown, browser: Browsing) -> None:
    desk = signed_in(browser, "desk-1")
    report = desk.log_outage(ACCOUNT, *WHO, "all is dark").whole("report_id")
    assert report is not None
    desk.identify_outage(report, "analytical engine")
    assert desk.act_on_outage(report, "test").text("check_test") == "Under way"
    desk.driver.execute_script("document.activeElement.blur(); window.stayed = true")
    here.town.after(60)
    WebDriverWait(desk.driver, 20, 0.05).until(lambda _: desk.shown().text("check_test") in ("Passed", "Failed"))
    assert desk.driver.execute_script("return window.stayed")


# What can be pressed or filled in and cannot be got at: it reaches beyond the window (unless what it stands in scrolls), or
# something else lies over it.
_OUT_OF_REACH = """
const open = e => { for (let d = e.parentElement; d; d = d.parentElement) if (d.tagName === "DETAILS") d.open = true; };
const scrolls = e => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
const found = [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, summary")]
  .filter(e => !e.classList.contains("skip"));
found.forEach(open);
return found.filter(e => {
  e.scrollIntoView({block: "center", inline: "center"});
  const box = e.getBoundingClientRect();
  if (box.width === 0 || box.height === 0) return true;
  if ((box.left < 0 || box.right > arguments[0]) && !scrolls(e.parentElement)) return true;
  const first = e.getClientRects()[0];
  const hit = document.elementFromPoint(first.left + first.width / 2, first.top + first.height / 2);
  return !hit || !(e.contains(hit) || hit.contains(e) && hit.tagName === "LABEL");
}).map(e => e.outerHTML.slice(0, 120));
"""


def fits_a_phone(browser: Browsing, path: str = "") -> None:
    """The page, or the one at a path, is one column without scrolling sideways; all in it is in reach and has its label."""
    if path:
        browser.go(path)
    assert not path or browser.path == path.partition("?")[0]
    driver, where = browser.driver, browser.path
    assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE, where
    bare = driver.execute_script(
        "return [...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length).map(i => i.name)"
    )
    assert bare == [], f"{where}: every field has its label"
    assert driver.execute_script(_OUT_OF_REACH, PHONE) == [], where
    assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE, f"{where}, unfolded"


@pytest.fixture
def phone(browser: Browsing) -> Browsing:
    """The browser with a phone's window."""
    window = {"width": PHONE, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    return browser


def test_a_phone_shows_every_page_of_a_customer_in_one_column(here: WebTown, phone: Browsing) -> None:
    phone.go("/sign-in")
    fits_a_phone(phone)
    signed_in(phone, "C-1")
    base = f"/accounts/{ACCOUNT}"
    tabs = ("", "/usage", "/payments", "/events", "/outage", "/prepay", "/at-zero", "/replenish")
    for path in tabs:
        fits_a_phone(phone, base + path)
    phone.prepay(ACCOUNT, 2_500, CARD)
    assert phone.stage() == "posted"
    fits_a_phone(phone)
    ada = here.visitor("C-1")
    fits_a_phone(phone, here.asks(ada))
    start = here.town.clock.now().astimezone(here.town.config.zone) + timedelta(days=3)
    times = {"starts_at": f"{start:%Y-%m-%dT%H:%M}", "ends_at": f"{start + timedelta(days=1):%Y-%m-%dT%H:%M}"}
    ada.post(f"{base}/events", location=ACCOUNT, **times)
    event = ada.last.url.path
    fits_a_phone(phone, event)
    ada.post(event, outcome="limit")
    fits_a_phone(phone, ada.last.url.path)
    # once there is something to list
    for path in tabs[:5]:
        fits_a_phone(phone, base + path)


def test_a_phone_shows_every_page_of_the_desk_in_one_column(here: WebTown, phone: Browsing) -> None:
    desk = signed_in(phone, "desk-1")
    at = f"/desk/accounts/{ACCOUNT}"
    tabs = ("", "/usage", "/payments", "/events", "/outage", "/requests")
    for path in ("/desk", "/desk?q=A-1", *(at + tab for tab in tabs), "/desk/outages", "/desk/orders"):
        fits_a_phone(desk, path)
    request = desk.log_request(ACCOUNT, *WHO)
    fits_a_phone(desk)
    desk.identify(request, "analytical engine")
    fits_a_phone(desk)
    fits_a_phone(desk, f"/desk/requests/{request}/estimate?account={ACCOUNT}")
    payment = desk.pay(request, ACCOUNT, 2_500, "card", CARD, "limit").text("payment_id")
    fits_a_phone(desk)
    here.town.after(20)
    assert payment is not None
    desk.acknowledge(payment)
    fits_a_phone(desk)
    now = here.town.clock.now().astimezone(here.town.config.zone)
    request = desk.request_event(ACCOUNT, *WHO, now + timedelta(days=3), now + timedelta(days=4))
    desk.identify(request, "analytical engine")
    fits_a_phone(desk, f"/desk/requests/{request}/event")
    desk.book(request, "disconnect")
    fits_a_phone(desk)
    report = desk.log_outage(ACCOUNT, *WHO, "all is dark").whole("report_id")
    fits_a_phone(desk)
    assert report is not None
    desk.identify_outage(report, "analytical engine")
    desk.act_on_outage(report, "test")
    here.town.after(60)
    desk.act_on_outage(report, "still-no-power")
    fits_a_phone(desk)
    orders = desk.orders()
    assert orders
    for _, path in orders:
        fits_a_phone(desk, path)
    for path in ("/desk?q=A-1", *(at + tab for tab in tabs), "/desk/outages", "/desk/orders"):
        fits_a_phone(desk, path)


def test_everything_but_live_refresh_works_without_scripts(here: WebTown, browser: Browsing) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver = browser.driver
    driver.get(f"{here.server.address}/sign-in")
    driver.find_element("css selector", "[name=login]").send_keys("C-1")
    driver.find_element("css selector", "[name=password]").send_keys(PASSWORDS["C-1"])
    driver.find_element("css selector", "[data-action=sign-in]").click()
    WebDriverWait(driver, 20, 0.05).until(lambda d: "sign-in" not in d.current_url)
    driver.get(f"{here.server.address}/accounts/{ACCOUNT}/usage")
    assert "<svg" in driver.page_source
    driver.get(f"{here.server.address}/accounts/{ACCOUNT}/prepay")
    driver.find_element("css selector", "[data-action=ask]").click()
    WebDriverWait(driver, 20, 0.05).until(lambda d: "$24.00" in d.page_source)
    for name, text in (("data_number", CARD["number"]), ("data_expiry", CARD["expiry"])):
        driver.find_element("css selector", f"[name={name}]").send_keys(text)
    driver.find_element("css selector", "[data-action=pay]").click()
    WebDriverWait(driver, 20, 0.05).until(lambda d: "/payments/" in d.current_url)
    here.town.after(1)  # from when it was asked for
    # the page looks again by itself
    WebDriverWait(driver, 20, 0.05).until(lambda d: "$24.00" in d.page_source and "New balance" in d.page_source)
