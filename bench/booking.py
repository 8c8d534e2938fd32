"""One payer who prepays for an event at the facility on the bench: who there is, what the desk does for them, and when.

What the keywords of the event suites have in common; it checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from bench.bench import Bench
from bench.data import BadInput
from bench.prepaying import Prepaying, payment_data
from bench.web_desk import WebDesk
from drivers.roles import AtZero, ScheduledEvent
from twins.utility.css import BookingRequest, EventOutcome, EventRequest, Payment
from twins.utility.errors import NotAccepted
from twins.utility.payments import PaymentMeans, PaymentMethod


class Desk:
    """What the customer representative, or the website, does with the CSS. Whatever else can do these can take its place.

    NotAccepted where the CSS refuses.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @property
    def _css(self) -> Any:
        return self._bench.utility.css

    def _ask(self, fn: Callable[..., Any], *args: Any) -> Any:
        return self._bench.call(fn, *args)

    def log(self, request: EventRequest) -> int:
        """Log what a customer asks for; returns the request's id."""
        return int(self._ask(self._css.log_request, request))

    def identify(self, request_id: int, credential: str) -> Any:
        """Open the account and confirm who asks; customer data back."""
        return self._ask(self._css.identify, request_id, credential)

    def availability(self, request_id: int, location: str, starts_at: datetime, ends_at: datetime) -> Any:
        """Look whether a time is free at a facility."""
        return self._ask(self._css.bookings.availability, request_id, location, starts_at, ends_at)

    def estimate(self, request_id: int, location: str, starts_at: datetime, ends_at: datetime) -> Any:
        """Have an event's energy and cost estimated."""
        return self._ask(self._css.bookings.estimate, request_id, location, starts_at, ends_at)

    def book(self, booking: BookingRequest) -> Any:
        """Hold the time."""
        return self._ask(self._css.bookings.book, booking)

    def pay(self, payment: Payment) -> Any:
        """Verify the funds and post the amount."""
        return self._bench.run(self._css.pay(payment))

    def end(self, request_id: int, booking_id: str) -> Any:
        """End an event for its payer."""
        return self._ask(self._css.bookings.end, request_id, booking_id)

    def balance_cents(self, account: str) -> int:
        """See an account's balance."""
        return int(self._ask(self._css.balance_cents, account))

    def page(self, booking_id: str) -> Any:
        """Open the event's page."""
        return self._ask(self._css.bookings.page, booking_id)

    def payers_page(self, booking_id: str) -> Any:
        """Open the event's page as the one who pays sees it."""
        return self._ask(self._css.bookings.page, booking_id)


class EventCase(Prepaying):
    """An event at the first account of the bench file. Its holder pays (programme A), or the second customer (programme B).

    `starts_at` and `ends_at` are those of the latest event asked for.
    """

    def __init__(self, bench: Bench, meter: str = "meter", *, own: bool = True) -> None:
        super().__init__(bench, meter)
        self.own = own
        self.desk: Desk | WebDesk = Desk(bench)
        self.outcome = EventOutcome.DISCONNECT
        self.starts_at = self.ends_at = bench.now
        self.booking: Any = None

    # --- who there is --------------------------------------------------------------------------------------------------

    @property
    def payer(self) -> Any:
        """The customer who pays, as the bench file gives them."""
        customers = self.bench.config.utility.customers
        if self.own:
            return customers[0]
        if len(customers) < 2:
            raise BadInput(f"bench {self.bench.config.name!r} has one customer; programme B needs a second who pays")
        return customers[1]

    @property
    def payer_number(self) -> str:
        """The account that pays."""
        return str(self.payer.accounts[0].number)

    @property
    def location(self) -> str:
        """The account of the facility."""
        return str(self.account.number)

    @property
    def not_set_up(self) -> str:
        """A facility on which nobody but its owner can prepay, and its owner is not the payer of programme B."""
        for account in self.customer.accounts[1:]:
            if not account.others_may_prepay:
                return str(account.number)
        raise BadInput(
            f"bench {self.bench.config.name!r}: the first customer needs a second account without others_may_prepay"
        )

    @property
    def schedules(self) -> Any:
        """The schedules that the ADCS keeps. Ask them through `ask`."""
        return self.bench.utility.schedules

    @property
    def event_id(self) -> int:
        """The event's id at the ADCS and the meter, and that of its message; 0 where it has none."""
        booking = self.booked()
        return int(booking.event_id or 0) if booking is not None else 0

    # --- acting ----------------------------------------------------------------------------------------------------------

    def ask_for(self, starts_in: timedelta, lasting: timedelta) -> None:
        """The payer asks, by phone, for an event; it starts on a half hour, and lasts half an hour more than `lasting`."""
        start = self.bench.now + starts_in
        self.starts_at = start.replace(minute=30, second=0, microsecond=0)
        if self.starts_at < start:
            self.starts_at += timedelta(hours=1)
        self.ends_at = self.starts_at + lasting + timedelta(minutes=30)
        who = self.payer
        self.request_id = self.desk.log(
            EventRequest(
                account_numbers=(self.payer_number,),
                name=who.name,
                address=who.address,
                credential=who.credential,
                starts_at=self.starts_at,
                ends_at=self.ends_at,
                channel="phone",
                location=self.location,
            )
        )
        self.payment_id = f"payment-{self.request_id}"

    def identify(self, credential: str | None = None) -> Any:
        """The desk confirms the payer; None where the CSS refuses."""
        with suppress(NotAccepted):
            return self.desk.identify(self.request_id, credential or self.payer.credential)
        return None

    def booking_asked(self, name: str = "booking", **changes: Any) -> BookingRequest:
        """The booking of the event asked for; `changes` replace its fields."""
        fields: dict[str, Any] = {
            "booking_id": f"{name}-{self.request_id}",
            "request_id": self.request_id,
            "payer": self.payer_number,
            "location": self.location,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "outcome": self.outcome,
        }
        return BookingRequest(**{**fields, **changes})

    def book(self) -> Any:
        """Hold the time asked for."""
        self.booking = self.desk.book(self.booking_asked())
        return self.booking

    def taken(self, starts_at: datetime, ends_at: datetime) -> None:
        """Have a time at the facility taken by another event, which nobody asks for at the desk."""
        Desk(self.bench).book(self.booking_asked("neighbour", starts_at=starts_at, ends_at=ends_at))

    def refused(self, request: BookingRequest) -> str | None:
        """The reason for which the CSS refuses a booking, None where it takes it."""
        try:
            self.desk.book(request)
        except NotAccepted as no:
            return str(no.reason)
        return None

    def pay_event(
        self, cents: int, method: PaymentMethod, *, drawn_on: str | None = None, payment_id: str | None = None
    ) -> Any:
        """Pay for the event. NotAccepted where the utility does not take it."""
        payment = Payment(
            payment_id or self.payment_id,
            self.request_id,
            self.payer_number,
            cents,
            PaymentMeans(method, payment_data(method, drawn_on)),
            booking_id=self.booking.booking_id,
        )
        self.posting = self.desk.pay(payment)
        self.payment_id = self.posting.payment_id
        return self.posting

    def prepay_event(self, starts_in: timedelta, lasting: timedelta, cents: int) -> None:
        """Everything from the request to the posting of a card payment, in one go."""
        self.ask_for(starts_in, lasting)
        self.identify()
        self.book()
        self.pay_event(cents, PaymentMethod.CARD)
        self.bench.advance(1.0)

    def call_off(self) -> None:
        """End or cancel every event at the facility, each for its payer."""
        for booking in self.ask(self.css.bookings.of, self.location):
            self.ask(self.css.bookings.end, booking.request_id, booking.booking_id)
        self.bench.advance(10.0)

    def pass_until(self, moment: datetime) -> None:
        """Let bench time pass until a moment; nothing where that is past."""
        left = (moment - self.bench.now).total_seconds()
        if left > 0:
            self.bench.advance(left)

    def until_sent(self, due: datetime, latest: datetime) -> datetime | None:
        """Let bench time pass until the event is due to be on its way to the meter, and where it isn't, until `latest`; when
        it went."""
        for moment in (due, latest):
            self.pass_until(moment)
            record = self.sent(self.event_id)
            went: datetime | None = None if record is None else record.first_sent_at
            if went is not None:
                return went
        return None

    def taken_before_start(self) -> timedelta | None:
        """How long before the event's start the meter took its message, by the bench's own clock and without the network's
        latency; None where it did not."""
        taken = self.taken_at(self.event_id)
        return self.starts_at - taken[0] + timedelta(seconds=float(self.stated("network_latency_s"))) if taken else None

    def until_empty(self, within: timedelta) -> datetime | None:
        """Let bench time pass, by recording intervals, until the event's credit is found used up; when that was."""
        latest = self.bench.now + within
        found: datetime | None
        while (found := self.booked().zero_at) is None and self.bench.now < latest:
            self.bench.advance(self.interval.total_seconds())
        return found

    # --- asking ------------------------------------------------------------------------------------------------------------

    def booked(self) -> Any:
        """The booking as the CSS has it now, None before any."""
        return None if self.booking is None else self.ask(self.css.bookings.booking, self.booking.booking_id)

    def purse_cents(self) -> int:
        """What is in the event's purse."""
        return int(self.ask(self.css.bookings.purse_cents, self.booking.booking_id))

    def payer_cents(self) -> int:
        """The balance of the account that pays."""
        return int(self.ask(self.css.balance_cents, self.payer_number))

    def kept(self) -> list[Any]:
        """Events of the meter that the ADCS keeps."""
        return list(self.ask(self.schedules.events, self.meter_id))

    def stored(self, of: Any = None) -> ScheduledEvent | None:
        """The event as the meter holds it; `of` is the meter's driver unless the model is given."""
        found = [e for e in (of or self.meter).schedule() if e.event_id == self.event_id]
        return found[0] if found else None

    def metered_wh(self) -> float:
        """The energy of the event, read from the meter: of an interval that lies in it in part, by time."""
        ahead, total = self.ahead_by(), 0.0
        for i in self.meter.intervals(self.starts_at + ahead - self.interval):
            ends_at = i.ends_at - ahead
            within = min(ends_at, self.ends_at) - max(ends_at - i.length, self.starts_at)
            total += i.energy_wh * max(0.0, within / i.length)
        return round(total, 3)

    def expected_wh(self) -> float:
        """What the facility's history says of the event: by the hour of the local day, from what the MDMS holds."""
        utility = self.bench.config.utility
        since = self.bench.now - timedelta(days=utility.css.history_days)
        past = [p.value for p in self.ask(self.mdms.intervals, self.meter_id, since)]
        by_hour: dict[int, list[float]] = {}
        for i in past:
            if i.complete:
                hour = (i.ends_at - i.length).astimezone(utility.zone).hour
                by_hour.setdefault(hour, []).append(i.energy_wh * (timedelta(hours=1) / i.length))
        total, at = 0.0, self.starts_at
        while at < self.ends_at:
            seen = by_hour.get(at.astimezone(utility.zone).hour, [])
            total += sum(seen) / len(seen) / 60 if seen else 0.0
            at += timedelta(minutes=1)
        return total

    @property
    def option_at_meter(self) -> AtZero:
        """The event's option as the meter is told it."""
        return self.outcome.at_zero
