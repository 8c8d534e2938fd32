"""Bookings of prepayment events: is the time free, what will it take, hold it, move it, end it (C3, scenarios 2 and 3).

A booking at one's own facility is programme A, one at somebody else's programme B: then the payer's account is linked to the
facility's. An unpaid booking holds its time for a while only.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from twins.utility.css import purses
from twins.utility.css.booking_checks import BookingChecks, taking
from twins.utility.css.booking_records import (
    Answer,
    Availability,
    Booking,
    BookingRequest,
    BookingState,
    EventPage,
    Moment,
    PurseEntry,
)
from twins.utility.css.booking_tables import BookingRow, OrderRow
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.events import Events, as_booking
from twins.utility.css.records import Estimate, LoggedRequest, Payment
from twins.utility.css.tables import AccountRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.event_options import Programme
from twins.utility.tariff import credit_wh


class Bookings(Part):
    """Bookings, for the representative and the website."""

    def __init__(self, context: Context, customers: Customers, estimates: Estimates, events: Events) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._events = events
        self._checks = BookingChecks(context)

    # --- before a booking ---

    def availability(self, request_id: int, location: str, starts_at: Moment, ends_at: Moment) -> Availability:
        """Whether a time is free at a facility (C3-MSG-03). NotAccepted for an identity that is not confirmed, a facility
        that is not known, a time that cannot be booked."""
        payer = self._payer(self._customers.confirmed(request_id))
        span = start, end = self._checks.span(starts_at, ends_at)
        with Session(self._engine) as session:
            account = session.get(AccountRow, location)
        if account is None:
            self._checks.facility(location, payer)
            raise AssertionError("an unknown facility is refused")
        programme = Programme.OWN if account.customer_id == payer.customer_id else Programme.FACILITY
        if not self._checks.set_up(account, programme):
            return Availability(location, start, end, Answer.NOT_SET_UP, (), ())
        with Session(self._engine) as session:
            held = taking(session, location, span, self._clock.now())
        if "offers_taken_times" in self._defects:
            held = ()
        taken = tuple((max(b.starts_at, start), min(b.ended_at or b.ends_at, end)) for b in held)
        edges = [start, *(moment for pair in taken for moment in pair), end]
        gaps = tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)
        return Availability(location, start, end, Answer.TAKEN if taken else Answer.FREE, taken, gaps)

    def estimate(self, request_id: int, location: str, starts_at: Moment, ends_at: Moment) -> Estimate:
        """What an event will take and cost, from the facility's history (C3-NR-07). The balance in it is that of its purse,
        so nothing. NotAccepted as `book`, and where there is no history."""
        payer = self._payer(self._customers.confirmed(request_id))
        start, end = self._checks.span(starts_at, ends_at)
        account, _ = self._checks.facility(location, payer)
        return self._estimates.of_event(account, start, end)

    # --- the booking ---

    def book(self, asked: BookingRequest) -> Booking:
        """Hold a time at a facility until it is paid for. The same booking id again returns the same booking.

        NotAccepted, each with its own reason, for somebody else's account or identity not confirmed, a booking id of
        another booking, a time that is past, ends before it starts, is too long, does not exist or comes twice, a facility
        that is unknown or not set up, an option not to be had there, a time that is taken.
        """
        request = self._customers.confirmed(asked.request_id)
        payer = self._payer(request, asked.payer)
        earlier = self._earlier(asked)
        if earlier is not None:
            return earlier
        start, end = self._checks.span(asked.starts_at, asked.ends_at)
        if "events_start_at_once" in self._defects:
            start = self._clock.now()
        account, programme = self._checks.facility(asked.location, payer)
        self._checks.option(account, programme, asked.outcome)
        self._checks.free(asked.location, (start, end), asked.payer)
        now = self._clock.now()
        if "books_a_minute_late" in self._defects:
            start += timedelta(minutes=1)
        with Session(self._engine) as session, session.begin():
            session.add(
                BookingRow(
                    booking_id=asked.booking_id,
                    request_id=asked.request_id,
                    programme=programme.value,
                    payer=asked.payer,
                    location=asked.location,
                    meter_id=account.meter_id,
                    starts_at=start,
                    ends_at=end,
                    outcome=asked.outcome.value,
                    booked_at=now,
                    hold_until=self._hold_until(now),
                    state=BookingState.RESERVED,
                )
            )
        self._note("booked", asked.location, f"{asked.booking_id}: {start.isoformat()} to {end.isoformat()}")
        return self.booking(asked.booking_id)

    def check_payment(self, payment: Payment) -> None:
        """NotAccepted where a booking cannot be paid for with a payment; else it holds its time a while longer."""
        assert payment.booking_id is not None
        if payment.request_id is None:
            raise _not_the_payer(payment.booking_id)
        booking = self._of_payer(payment.request_id, payment.booking_id)
        if booking.payer != payment.account_number:
            raise _not_the_payer(payment.booking_id)
        now = self._clock.now()
        if booking.state is BookingState.RESERVED:
            if booking.ends_at <= now:
                raise _over(booking)
            if booking.hold_until <= now:
                self._checks.free(booking.location, (booking.starts_at, booking.ends_at), booking.payer)
        elif booking.state is not BookingState.PAID or booking.until <= now:
            raise _over(booking)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(BookingRow, payment.booking_id)
            row.hold_until = max(row.hold_until, self._hold_until(now))

    def reschedule(self, request_id: int, booking_id: str, starts_at: Moment, ends_at: Moment) -> Booking:
        """Move a booking that has not begun to another time, with its credit. NotAccepted as `book`, or once it has begun."""
        booking = self._of_payer(request_id, booking_id)
        now = self._clock.now()
        if booking.state not in (BookingState.RESERVED, BookingState.PAID) or booking.starts_at <= now:
            raise _over(booking)
        span = self._checks.span(starts_at, ends_at)
        if span == (booking.starts_at, booking.ends_at):
            return booking
        self._checks.free(booking.location, span, booking.payer, but=booking_id)
        event_id = None if booking.event_id is None else self._adcs.new_message_id()
        price = self._config.tariff.price_millicents_per_kwh
        with Session(self._engine) as session, session.begin():
            row = session.get_one(BookingRow, booking_id)
            row.starts_at, row.ends_at = span
            if event_id is not None:
                replaced, row.event_id = row.event_id, event_id
                credit = credit_wh(purses.balance_cents(session, booking_id), price)
                session.flush()
                self._events.order(session, row, credit, replaces=replaced)
        self._events.wake()
        self._note("rescheduled", booking.location, f"{booking_id}: {span[0].isoformat()} to {span[1].isoformat()}")
        return self.booking(booking_id)

    def end(self, request_id: int, booking_id: str) -> Booking:
        """The payer ends an event now, or cancels one to come; what is left of its credit goes back to them (D16, D20).

        Again changes nothing. NotAccepted for anybody else.
        """
        booking = self._of_payer(request_id, booking_id)
        now = self._clock.now()
        if booking.state not in (BookingState.RESERVED, BookingState.PAID) or booking.until <= now:
            return booking
        begun = booking.starts_at <= now and booking.state is BookingState.PAID
        with Session(self._engine) as session, session.begin():
            row = session.get_one(BookingRow, booking_id)
            if begun:
                row.ended_at = now  # closed once its last interval has been charged
            else:
                row.state = BookingState.CANCELLED
                purses.give_back(session, row, now)
            if row.event_id is not None:
                session.flush()
                self._events.order(session, row, 0, puts_on=False)
        self._events.wake()
        self._note("ended by the payer" if begun else "cancelled", booking.location, booking_id)
        return self.booking(booking_id)

    # --- asking ---

    def booking(self, booking_id: str) -> Booking:
        """A booking; NotAccepted where there is none."""
        with Session(self._engine) as session:
            row = session.get(BookingRow, booking_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_BOOKING, f"CSS: no booking {booking_id!r}; `book` makes one")
        return as_booking(row)

    def of(self, account_number: str) -> tuple[Booking, ...]:
        """Bookings that an account pays for or that are at its facility, by start."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(BookingRow)
                .where(or_(BookingRow.payer == account_number, BookingRow.location == account_number))
                .order_by(BookingRow.starts_at, BookingRow.booking_id)
            ).all()
        return tuple(as_booking(row) for row in rows)

    def purse(self, booking_id: str) -> tuple[PurseEntry, ...]:
        """The entries of an event's purse, oldest first."""
        self.booking(booking_id)
        with Session(self._engine) as session:
            return purses.entries(session, booking_id)

    def purse_cents(self, booking_id: str) -> int:
        """What is in an event's purse."""
        self.booking(booking_id)
        with Session(self._engine) as session:
            return purses.balance_cents(session, booking_id)

    def page(self, booking_id: str) -> EventPage:
        """What the payer sees of an event now."""
        return self._events.page(self.booking(booking_id))

    # --- inside ---

    def _hold_until(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._config.events.hold_s)

    def _payer(self, request: LoggedRequest, number: str | None = None) -> AccountRow:
        """The account that pays, one of those that the request is about."""
        if number is not None and number not in request.account_numbers:
            raise NotAccepted(
                Reason.NOT_THE_PAYER,
                f"CSS: request {request.request_id} is not about account {number}; who pays has to ask and be identified",
            )
        return self._customers.account(number or request.account_numbers[0])

    def _of_payer(self, request_id: int, booking_id: str) -> Booking:
        """A booking, if the request is its payer's; anybody else does not learn whether there is one."""
        request = self._customers.confirmed(request_id)
        with Session(self._engine) as session:
            row = session.get(BookingRow, booking_id)
        if row is None or row.payer not in request.account_numbers:
            raise _not_the_payer(booking_id)
        return as_booking(row)

    def _earlier(self, asked: BookingRequest) -> Booking | None:
        """The booking of that id as it was made before; NotAccepted where it was another one."""
        with Session(self._engine) as session:
            row = session.get(BookingRow, asked.booking_id)
            first = (
                None
                if row is None
                else session.scalar(
                    select(OrderRow).where(OrderRow.booking_id == asked.booking_id).order_by(OrderRow.id).limit(1)
                )
            )
        if row is None:
            return None
        span = self._checks.moment(asked.starts_at), self._checks.moment(asked.ends_at)
        # one that was rescheduled is known by the time that it was first ordered for, too
        spans = [(row.starts_at, row.ends_at)] + ([(first.starts_at, first.ends_at)] if first is not None else [])
        same = (row.payer, row.location, row.outcome) == (asked.payer, asked.location, asked.outcome.value)
        if row.payer != asked.payer or not same or span not in spans:
            raise NotAccepted(
                Reason.BOOKING_ID_REUSED,
                f"CSS: booking id {asked.booking_id} was used for another booking; give this one an id of its own",
            )
        return as_booking(row)


def _not_the_payer(booking_id: str) -> NotAccepted:
    return NotAccepted(
        Reason.NOT_THE_PAYER, f"CSS: {booking_id!r} is no booking of this payer; only who pays for one can change it"
    )


def _over(booking: Booking) -> NotAccepted:
    return NotAccepted(
        Reason.BOOKING_OVER,
        f"CSS: booking {booking.booking_id} is {booking.state.value}, {booking.starts_at.isoformat()} to "
        f"{booking.until.isoformat()}; make a new one",
    )
