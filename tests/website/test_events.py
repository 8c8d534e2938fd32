"""Events at the website: free or taken, what they cost, booked once, paid into their purse, ended; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import CUSTOMERS, OTHER, Visitor, WebTown

pytestmark = BOTH


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


def local(here: WebTown, days: float) -> str:
    """A moment some days ahead, as a form has it."""
    moment: datetime = (here.town.clock.now() + timedelta(days=days)).astimezone(here.town.config.zone)
    return moment.strftime("%Y-%m-%dT%H:%M")


def asks(here: WebTown, who: Visitor, start: float = 3, end: float = 5, **changes: str) -> str:
    """Ask for an event; the path of its page."""
    fields = {"starts_at": local(here, start), "ends_at": local(here, end), "location": ACCOUNT, **changes}
    who.post(f"/accounts/{ACCOUNT}/events", **fields)
    return who.last.url.path


def pay(who: Visitor, cents: int) -> None:
    who.post(
        f"{who.last.url.path}/pay",
        payment=who.hidden("payment"),
        method="card",
        amount=f"{cents / 100:.2f}",
        data_number="4111111111111111",
        data_expiry="12/29",
    )


def test_an_event_is_estimated_booked_once_paid_and_cancelled(here: WebTown) -> None:
    ada = here.visitor("C-1")
    path = asks(here, ada)
    assert (ada.field("availability"), ada.field("energy"), ada.field("cost")) == (
        "The time is free",
        "24.0 kWh",
        "$4.80",
    )
    ada.post(path, outcome="limit")
    booking = ada.last.url.path
    ada.post(path, outcome="limit")
    assert ada.last.url.path == booking
    assert len(here.town.ask(here.town.utility.css.bookings.of, ACCOUNT)) == 1
    assert ada.field("state") == "Held until it is paid for"
    pay(ada, 1_000)
    here.town.after(1)
    ada.get(booking)
    assert (ada.field("state"), ada.field("balance")) == ("Paid", "$10.00")
    assert here.balance() == 0, "the money is the event's"
    ada.get(f"/accounts/{ACCOUNT}/events")
    assert booking.rpartition("/")[2] in ada.last.text
    ada.post(f"{booking}/end")
    assert ada.field("state") == "Cancelled"
    assert here.balance() == 1_000


@pytest.mark.parametrize(
    ("defects", "energy", "time"),
    [
        ((), "50.0 kWh", "4 days, 3 hours"),
        (("event_energy_at_another_price",), "45.0 kWh", "4 days, 3 hours"),
        (("event_time_left_without_days",), "50.0 kWh", "3 hours, 59 minutes"),
    ],
)
def test_the_credit_of_an_event_is_wrong_with_the_defect_only(
    web_town: Callable[..., WebTown], defects: tuple[str, ...], energy: str, time: str
) -> None:
    here = web_town(*defects)
    ada = here.visitor("C-1")
    ada.post(asks(here, ada), outcome="limit")
    booking = ada.last.url.path
    pay(ada, 1_000)
    here.town.after(1)
    ada.get(booking)
    assert (ada.field("balance"), ada.field("credit"), ada.field("time_left")) == ("$10.00", energy, time)


@pytest.mark.parametrize(
    ("start", "end", "changes", "said"),
    [
        (-2, 1, {}, "This time is past."),
        (4, 3, {}, "The end has to come after the start."),
        (3, 3, {}, "The end has to come after the start."),
        (3, 60, {}, "An event cannot last that long."),
        (3, 4, {"starts_at": "2026-03-08T02:30", "ends_at": "2026-03-08T05:00"}, "the clocks go forward"),
        (3, 4, {"starts_at": "2026-11-01T01:30", "ends_at": "2026-11-01T05:00"}, "This hour comes twice"),
        (3, 4, {"starts_at": "soon"}, "not a date and time"),
        (3, 4, {"location": "NOWHERE"}, "There is no such facility."),
    ],
)
def test_an_event_that_cannot_be_is_refused(
    here: WebTown, start: float, end: float, changes: dict[str, str], said: str
) -> None:
    ada = here.visitor("C-1")
    asks(here, ada, start, end, **changes)
    assert ada.last.status_code == 422
    assert said in ada.field("message")


def test_the_hour_that_comes_twice_can_be_told_apart(here: WebTown) -> None:
    ada = here.visitor("C-1")
    fields = {"starts_at": "2026-11-01T01:30", "ends_at": "2026-11-01T05:00"}
    asks(here, ada, starts_at_fold="0", **fields)
    first = ada.field("energy")
    asks(here, ada, starts_at_fold="1", **fields)
    assert (first, ada.field("energy")) == ("2.2 kWh", "1.8 kWh")


def test_an_overlap_by_a_minute_is_taken_and_back_to_back_is_free(here: WebTown) -> None:
    ada = here.visitor("C-1")
    ada.post(asks(here, ada, 3, 5), outcome="limit")
    pay(ada, 1_000)
    here.town.after(1)
    asks(here, ada, 5, 6)
    assert ada.field("availability") == "The time is free"
    asks(here, ada, 5 - 1 / 1440, 6)
    assert ada.field("availability") == "The time is taken"
    ada.post(ada.last.url.path, outcome="limit")
    assert ada.last.status_code == 422


def test_somebody_elses_facility_has_to_be_set_up_for_it(web_town: Callable[..., WebTown]) -> None:
    closed = web_town()
    ada = closed.visitor("C-1")
    asks(closed, ada, location=OTHER)
    assert ada.field("availability") == "Not set up for prepayment"
    ada.post(ada.last.url.path, outcome="charge_payer")
    assert ada.last.status_code == 422
    assert "not set up" in ada.field("message")
    customers = [dict(CUSTOMERS[0]), dict(CUSTOMERS[1])]
    customers[1]["accounts"] = [{**CUSTOMERS[1]["accounts"][0], "others_may_prepay": True}]  # type: ignore[index]
    open_ = web_town(customers=customers)
    ada = open_.visitor("C-1")
    ada.post(asks(open_, ada, location=OTHER), outcome="charge_payer")
    assert ada.field("location") == OTHER
    clara = open_.visitor("C-2")
    booking = ada.last.url.path.rpartition("/")[2]
    for path in (f"/accounts/{OTHER}/events/{booking}", f"/accounts/{ACCOUNT}/events/{booking}"):
        clara.get(path)
        assert clara.last.status_code == 404
        clara.post(f"{path}/end")
        assert clara.last.status_code == 404
    clara.get(f"/accounts/{OTHER}/events")
    assert booking not in clara.last.text, "she sees that her hall is taken, and no more"


def test_a_representative_books_for_a_customer(here: WebTown) -> None:
    grace = here.visitor("desk-1")
    grace.post(
        f"/desk/accounts/{ACCOUNT}/requests",
        accounts=ACCOUNT,
        name="Ada Byron",
        address="7 Elm Street, Springfield",
        channel="phone",
        presented="yes",
        starts_at=local(here, 2),
        ends_at=local(here, 3),
    )
    request = grace.last.url.path
    grace.post(f"{request}/identity", credential="analytical engine")
    grace.get(f"{request}/event")
    assert grace.field("cost") == "$2.40"
    grace.post(f"{request}/event", outcome="disconnect")
    pay(grace, 600)
    here.town.after(1)
    grace.get(grace.last.url.path)
    assert grace.field("stage") == "Paid"
