"""What goes into the booking of prepayment events and what it tells: who books where for when, and what became of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from twins.utility.css.records import PrepayRequest
from twins.utility.event_options import EventOutcome, Programme


@dataclass(frozen=True)
class LocalTime:
    """A time as people say it, by the clock on the wall. `fold` tells the first (0) from the second (1) of the hour that
    comes twice when summer time ends; everywhere else it is left out."""

    wall: datetime
    fold: int | None = None


Moment = datetime | LocalTime
"""An aware datetime, or a local time of the utility's zone."""


@dataclass(frozen=True)
class EventRequest(PrepayRequest):
    """A customer asks to prepay for an event; `location` is the account number of the facility, by default their own.

    `starts_at` and `ends_at` are given.
    """

    location: str | None = None


class Answer(enum.StrEnum):
    """What the CSS says to a time that is asked for."""

    FREE = "free"
    TAKEN = "taken"
    NOT_SET_UP = "not_set_up"


Span = tuple[datetime, datetime]
"""[start, end), UTC."""


@dataclass(frozen=True)
class Availability:
    """Which parts of a time are taken and which are free at a facility; neither where it is not set up for prepayment."""

    account_number: str
    starts_at: datetime
    ends_at: datetime
    answer: Answer
    taken: tuple[Span, ...]
    free: tuple[Span, ...]


@dataclass(frozen=True)
class BookingRequest:
    """An event [starts_at, ends_at) at the facility of account `location`, at the expense of account `payer`.

    The same `booking_id` again is the same booking. `request_id` is the payer's request, their identity confirmed.
    """

    booking_id: str
    request_id: int
    payer: str
    location: str
    starts_at: Moment
    ends_at: Moment
    outcome: EventOutcome = EventOutcome.DISCONNECT


class BookingState(enum.StrEnum):
    """How far a booking has come."""

    RESERVED = "reserved"  # holds its time until `hold_until`, for the payment to come
    PAID = "paid"
    CLOSED = "closed"  # over, and what was left of its credit given back
    CANCELLED = "cancelled"  # before it began; its credit was given back
    REFUSED = "refused"  # by the ADCS; its credit was given back


@dataclass(frozen=True)
class Booking:
    """A booking. `ended_at` is where the payer ended it early, `zero_at` when its credit was found used up; `event_id` is
    under which the ADCS and the meter know it, and the message that carries it there."""

    booking_id: str
    request_id: int
    programme: Programme
    payer: str
    location: str
    meter_id: str
    starts_at: datetime
    ends_at: datetime
    outcome: EventOutcome
    booked_at: datetime
    hold_until: datetime
    state: BookingState
    event_id: int | None
    ended_at: datetime | None
    zero_at: datetime | None
    why: str

    @property
    def until(self) -> datetime:
        """When it ends, or has ended."""
        return self.ended_at or self.ends_at


class PurseEntryKind(enum.StrEnum):
    """Kinds of entries in an event's purse."""

    PAID_IN = "paid_in"
    ENERGY = "energy"
    RETURNED = "returned"


@dataclass(frozen=True)
class PurseEntry:
    """An entry of an event's purse; cents are positive where they add to it."""

    at: datetime
    kind: PurseEntryKind
    cents: int
    reference: str


@dataclass(frozen=True)
class EventPage:
    """What the payer sees of an event: its credit in dollars, energy and time, and what it has taken so far."""

    booking: Booking
    balance_cents: int
    credit_wh: int
    time_left: timedelta
    price_millicents_per_kwh: int
    energy_wh: float
    charged_to_payer_cents: int
    updated_at: datetime | None
