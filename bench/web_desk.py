"""A representative who does at the website, in the run's browser, what customers ask for. What comes back is what pages show.

Each desk has the methods of the one at the CSS, whose place it takes: `bench.booking.Desk` for events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from bench.bench import Bench
from bench.browsing import Browsing, Shown
from twins.utility.config import CustomerConfig
from twins.utility.css import BookingRequest, EventRequest, Payment
from twins.utility.errors import NotAccepted, Reason


@dataclass(frozen=True)
class Known:
    """Customer data as shown once the identity is confirmed."""

    name: str | None
    address: str | None
    account_numbers: str | None
    starts_at: str | None
    ends_at: str | None
    credentials_confirmed: str | None


@dataclass(frozen=True)
class Offered:
    """The answer to a time that was asked for, and which parts of it are free."""

    answer: str
    free: tuple[tuple[datetime, ...], ...]


@dataclass(frozen=True)
class Expected:
    """The estimate of an event; `history` has the rows of the table behind it."""

    history: Sequence[Sequence[str]]
    energy_wh: float | None
    cost_cents: int | None
    amount_cents: int | None


@dataclass(frozen=True)
class Booked:
    """A booking."""

    booking_id: str
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True)
class Paid:
    """A payment, and the facility's account that it is linked to."""

    payment_id: str
    amount_cents: int | None
    linked_account: str | None


@dataclass(frozen=True)
class EventShown:
    """An event for the one who pays: credit, energy and time left, what it has taken."""

    balance_cents: int | None
    credit_wh: float | None
    time_left: timedelta | None
    energy_wh: float | None
    updated_at: datetime | None


class WebDesk:
    """The desk for events of one payer; the representative is signed in already. NotAccepted where a page says no."""

    def __init__(self, bench: Bench, browsing: Browsing, payer: CustomerConfig) -> None:
        self._bench = bench
        self._browsing = browsing
        self._payer = payer

    def log(self, request: EventRequest) -> int:
        """Log what a customer asks for; returns the request's id."""
        assert request.starts_at is not None
        assert request.ends_at is not None
        times = self._local(request.starts_at), self._local(request.ends_at)
        who = request.account_numbers[0], request.name, request.address
        return self._browsing.request_event(*who, *times, request.location)

    def identify(self, request_id: int, credential: str) -> Known:
        """Confirm who asks; customer data back."""
        page = self._browsing.identify(request_id, credential)
        if page is None:
            raise self._no(self._browsing.shown())
        return Known(*(page.text(name) for name in Known.__dataclass_fields__))

    def availability(self, request_id: int, location: str, starts_at: datetime, ends_at: datetime) -> Offered:
        """Look whether a time is free at a facility."""
        self._event(request_id, location, starts_at, ends_at)
        free = self._browsing.spans("free")
        return Offered(self._browsing.answer(), tuple(free))

    def estimate(self, request_id: int, location: str, starts_at: datetime, ends_at: datetime) -> Expected:
        """See an event's energy and cost."""
        page = self._event(request_id, location, starts_at, ends_at)
        shown = page.wh("energy"), page.cents("cost"), page.cents("amount")
        return Expected(self._browsing.rows("days"), *shown)

    def book(self, booking: BookingRequest) -> Booked:
        """Hold the time."""
        starts_at, ends_at = booking.starts_at, booking.ends_at
        assert isinstance(starts_at, datetime)
        assert isinstance(ends_at, datetime)
        times = self._local(starts_at), self._local(ends_at)
        page = self._browsing.book(booking.request_id, booking.outcome.value, times, booking.location)
        booking_id = page.text("booking_id")
        if booking_id is None:
            raise self._no(page)
        return Booked(booking_id, page.moment("starts_at"), page.moment("ends_at"))

    def pay(self, payment: Payment) -> Paid:
        """Verify the funds and post the amount."""
        assert payment.booking_id is not None
        means = payment.means
        page = self._browsing.pay_event(payment.booking_id, payment.amount_cents, means.method.value, means.data)
        if self._browsing.stage() not in ("posted", "confirmed"):
            raise self._no(page)
        return Paid(page.text("payment_id") or "", page.cents("amount"), page.text("linked_account"))

    def balance_cents(self, account: str) -> int | None:
        """See an account's balance."""
        return self._browsing.go(f"/desk/accounts/{account}").cents("balance")

    def page(self, booking_id: str) -> EventShown:
        """Open the event's page."""
        return self._shown(f"/desk/events/{booking_id}")

    def payers_page(self, booking_id: str) -> EventShown:
        """Have the payer sign in, whose session ends with their idleness, and open the event's page."""
        self._browsing.sign_in(self._payer.id, self._bench.password(self._payer.id))
        return self._shown(f"/accounts/{self._payer.accounts[0].number}/events/{booking_id}")

    def _shown(self, path: str) -> EventShown:
        page = self._browsing.go(path)
        return EventShown(
            balance_cents=page.cents("balance"),
            credit_wh=page.wh("credit"),
            time_left=page.lasting("time_left"),
            energy_wh=page.wh("used"),
            updated_at=page.moment("updated"),
        )

    def _event(self, request_id: int, location: str, starts_at: datetime, ends_at: datetime) -> Shown:
        page = self._browsing.event(request_id, (self._local(starts_at), self._local(ends_at)), location)
        if not self._browsing.answer():
            raise self._no(page)
        return page

    def _local(self, at: datetime) -> datetime:
        zone: tzinfo = self._bench.config.utility.zone
        return at.astimezone(zone)

    def _no(self, page: Shown) -> NotAccepted:
        reason, text = self._browsing.reason(), page.text("message") or f"nothing at {self._browsing.path}"
        return NotAccepted(Reason(reason) if reason else Reason.NOT_POSSIBLE_NOW, f"website: {text}")
