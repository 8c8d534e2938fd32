"""Probes of the seeded defects of events: each is true of the healthy utility, and not where the defect is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from drivers.roles import AtZero
from tests.utility.conftest import ACCOUNT, METER, Town
from tests.utility.events import BEN, asked, book, pay
from twins.utility.adcs_schedules import EventOrder
from twins.utility.css import EventOutcome
from twins.utility.errors import NotAccepted

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except NotAccepted:
        return True
    return False


def in_an_hour(here: Town, hours: int, outcome: EventOutcome = EventOutcome.DISCONNECT, cents: int = 500) -> str:
    """A paid event that starts in an hour; returns the id of its booking."""
    start = here.clock.now() + HOUR
    made = book(here, starts_at=start, ends_at=start + hours * HOUR, outcome=outcome)
    pay(here, made, cents)
    here.after(10)
    return str(made.booking_id)


def location_is_logged(here: Town) -> bool:
    asked(here)
    return here.ask(here.utility.css.requests)[0].location == ACCOUNT


def taken_times_are_refused(here: Town) -> bool:
    first = book(here)
    again = {"starts_at": first.starts_at + HOUR, "ends_at": first.ends_at + HOUR}
    return refused(lambda: book(here, "E-2", **again))


def energy_is_told(here: Town) -> bool:
    now = here.clock.now()
    estimate = here.ask(here.utility.css.bookings.estimate, asked(here), ACCOUNT, now + DAY, now + DAY + HOUR)
    return bool(estimate.energy_wh == 500)


def times_are_kept(here: Town) -> bool:
    start = here.clock.now() + DAY + timedelta(minutes=20)
    made = book(here, starts_at=start, ends_at=start + HOUR)
    return (made.starts_at, made.ends_at) == (start, start + HOUR)


def what_is_left_comes_back(here: Town) -> bool:
    in_an_hour(here, 2)
    here.after(4 * 3_600)
    return any(e.kind == "from_event" for e in here.ask(here.utility.css.ledger, ACCOUNT))


def energy_is_paid_for(here: Town) -> bool:
    """1.2 kW at 20 cents, through two hours."""
    in_an_hour(here, 2)
    here.after(4 * 3_600)
    (back,) = [e.cents for e in here.ask(here.utility.css.ledger, ACCOUNT) if e.kind == "from_event"]
    return 500 - back == 48


def credit_is_told_at_the_start(here: Town) -> bool:
    in_an_hour(here, 2)
    here.after(3_600)
    return here.meter.account().balance_cents == 500


def at_zero(outcome: EventOutcome, energised: bool) -> Callable[[Town], bool]:
    """1.2 kW at 20 cents: 500 cents last 21 hours."""

    def probe(here: Town) -> bool:
        in_an_hour(here, 30, outcome)
        here.after(24 * 3_600)
        return here.meter.service().energised is energised

    return probe


def taken(here: Town, start: datetime, end: datetime) -> bool:
    event_id = here.ask(here.utility.adcs.new_message_id)
    order = EventOrder(event_id, METER, start, end, 1_000, AtZero.DISCONNECT)
    return not refused(lambda: here.ask(here.utility.schedules.take, order))


def next_to_another(after_h: int, expected: bool) -> Callable[[Town], bool]:
    """A second event that begins so many hours after the first, which lasts two."""

    def probe(here: Town) -> bool:
        start = here.clock.now() + DAY
        assert taken(here, start, start + 2 * HOUR)
        begins = start + after_h * HOUR
        return taken(here, begins, begins + HOUR) is expected

    return probe


def sent_a_day_ahead(here: Town) -> bool:
    made = book(here)
    posting = pay(here, made)
    here.after(3 * DAY.total_seconds() - 3_600)
    return bool(made.starts_at - here.ask(here.utility.adcs.message, posting.message_id).first_sent_at >= DAY)


def credit_reaches_the_meter(here: Town) -> bool:
    in_an_hour(here, 2)
    return here.meter.schedule()[0].credit_wh == 25_000


def the_schedule_is_logged(here: Town) -> bool:
    in_an_hour(here, 2)
    return bool(here.ask(here.utility.schedules.log, METER))


def the_schedule_is_ordered(here: Town) -> bool:
    in_an_hour(here, 2)
    return bool(here.ask(here.utility.schedules.events, METER))


EVENT_PROBES: dict[str, Callable[[Town], bool]] = {
    "request_without_location": location_is_logged,
    "offers_taken_times": taken_times_are_refused,
    "books_any_facility": lambda here: refused(lambda: book(here, who=BEN)),
    "estimate_without_energy": energy_is_told,
    "books_a_minute_late": times_are_kept,
    "events_start_at_once": times_are_kept,
    "event_not_linked": lambda here: pay(here, book(here)).linked_account == ACCOUNT,
    "never_schedules": the_schedule_is_ordered,
    "keeps_what_is_left": what_is_left_comes_back,
    "events_pay_a_tenth_too_little": energy_is_paid_for,
    "event_balance_not_sent": credit_is_told_at_the_start,
    "does_nothing_at_event_zero": at_zero(EventOutcome.DISCONNECT, energised=False),
    "disconnects_who_pays_on": at_zero(EventOutcome.REGULAR_BILLING, energised=True),
    "schedules_not_logged": the_schedule_is_logged,
    "sends_schedules_23_h_ahead": sent_a_day_ahead,
    "sends_schedules_a_minute_late": sent_a_day_ahead,
    "schedules_without_credit": credit_reaches_the_meter,
    "one_event_per_location": next_to_another(5, expected=True),
    "takes_overlapping_schedules": next_to_another(1, expected=False),
    "refuses_events_back_to_back": next_to_another(2, expected=True),
}
