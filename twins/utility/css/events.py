"""Events as they run: orders to the ADCS, the credit told to the meter, energy charged to the purse, the outcome when it is
empty, and the end (D16, D20).

Orders are written in the transaction that gives rise to them and handed over afterwards, each as often as it takes and done
once: the ADCS knows an event by its id.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from drivers.roles import Interval, MessageCode
from twins.utility.adcs_records import Request
from twins.utility.adcs_schedules import EventOrder
from twins.utility.css import purses
from twins.utility.css.booking_checks import BookingChecks, taking
from twins.utility.css.booking_records import Booking, BookingState, EventPage
from twins.utility.css.booking_tables import BookingRow, OrderRow
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, LedgerRow
from twins.utility.database import table_of
from twins.utility.errors import NotAccepted
from twins.utility.event_options import EventOutcome, Programme
from twins.utility.tariff import credit_wh

_LATEST = timedelta(days=7)
"""So long after an event its late intervals are still looked for."""
_LATE = timedelta(days=2)
"""So late an interval may be behind those after it."""

_BOOKINGS = table_of(BookingRow).c
_SPANS = select(_BOOKINGS.starts_at, _BOOKINGS.ends_at, _BOOKINGS.ended_at).where(
    _BOOKINGS.location == bindparam("location"), _BOOKINGS.state.in_([BookingState.PAID, BookingState.CLOSED])
)
_CHARGED_HERE = select(
    _BOOKINGS.booking_id, _BOOKINGS.state, _BOOKINGS.starts_at, _BOOKINGS.ends_at, _BOOKINGS.ended_at
).where(
    _BOOKINGS.location == bindparam("location"),
    _BOOKINGS.starts_at < bindparam("now"),
    (_BOOKINGS.state == BookingState.PAID)
    | ((_BOOKINGS.state == BookingState.CLOSED) & (_BOOKINGS.ends_at > bindparam("since"))),
)


class Events(Part):
    """Paid events, from the order to the ADCS to what is given back."""

    def __init__(self, context: Context, customers: Customers, estimates: Estimates, commands: Commands) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._checks = BookingChecks(context)
        self._schedules = context.schedules
        self._wake = context.clock.event()

    def wake(self) -> None:
        """Have orders and events looked through: something has changed."""
        self._wake.set()

    # --- paying in ---

    def message_id(self, booking_id: str) -> int | None:
        """The message id of the event that a payment is to order; None where it is ordered already."""
        with Session(self._engine) as session:
            ordered = session.get_one(BookingRow, booking_id).event_id is not None
        return None if ordered else self._adcs.new_message_id()

    def fund(self, session: Session, booking_id: str, cents: int, reference: str, message_id: int | None) -> bool:
        """Put money that has been posted to the payer's account into the purse, and order the event where that is its first.

        False where it came too late: the money then stays on the payer's account. `wake` once that is committed.
        """
        now = self._clock.now()
        row = session.get_one(BookingRow, booking_id)
        span = row.starts_at, row.ends_at
        if row.state == BookingState.RESERVED and row.ends_at > now:
            others = [b for b in taking(session, row.location, span, now) if b.booking_id != booking_id]
            if others and "offers_taken_times" not in self._defects:
                row.state, row.why = BookingState.CANCELLED, "the time was taken before the payment came"
                return False
            row.state, row.event_id = BookingState.PAID, message_id
            session.flush()
            purses.pay_in(session, row, now, cents, reference)
            price = self._config.tariff.price_millicents_per_kwh
            if "never_schedules" not in self._defects:
                self.order(session, row, credit_wh(cents, price))
            return True
        if row.state == BookingState.PAID and (row.ended_at or row.ends_at) > now:
            purses.pay_in(session, row, now, cents, reference)
            row.told_at = None  # the meter is told, and what was done at zero is undone
            return True
        return False

    def order(
        self, session: Session, row: BookingRow, credit: int, *, puts_on: bool = True, replaces: int | None = None
    ) -> None:
        """Write an order to the ADCS. `wake` once that is committed."""
        assert row.event_id is not None
        session.add(
            OrderRow(
                booking_id=row.booking_id,
                event_id=row.event_id,
                puts_on=puts_on,
                replaces=replaces,
                credit_wh=credit,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                created_at=self._clock.now(),
            )
        )

    # --- while they run ---

    async def keep(self) -> None:
        """Hand orders over, and do at each event's start and end what is due then."""
        while True:
            self._wake.clear()
            self._hand_over()
            now = self._clock.now()
            for row in self._paid():
                if row.starts_at <= now < purses.span_of(row)[1] and row.told_at is None:
                    self._tell(row)
                elif purses.span_of(row)[1] <= now and row.over_at is None:
                    self._finish(row)
            moments = [m for row in self._paid() for m in purses.span_of(row) if m > self._clock.now()]
            timer = self._clock.call_at(min(moments), self._wake.set) if moments else None
            await self._wake.wait()
            if timer is not None:
                timer.cancel()

    def charge(self, account: AccountRow, looked: datetime | None = None) -> None:
        """Charge intervals that have become available to the events they fall into; close events that are over. Until
        `looked` all was looked at: of an event that is closed only what came late is left."""
        now = self._clock.now()
        price = self._config.tariff.price_millicents_per_kwh
        for row in self._charged_here(account, now, looked):
            intervals = self._intervals(row, looked if row.state == BookingState.CLOSED else None)
            if row.state == BookingState.CLOSED and not intervals:
                continue
            if "events_pay_a_tenth_too_little" in self._defects:
                intervals = [replace(i, energy_wh=i.energy_wh * 0.9) for i in intervals]
            with Session(self._engine) as session, session.begin():
                new = purses.charge(session, session.get_one(BookingRow, row.booking_id), now, intervals, price)
                left = purses.balance_cents(session, row.booking_id)
                covered = purses.charged_until(session, row.booking_id)
                over = covered is not None and covered >= purses.span_of(row)[1]
                if over and row.state == BookingState.PAID:
                    held = session.get_one(BookingRow, row.booking_id)
                    if "keeps_what_is_left" not in self._defects:
                        purses.give_back(session, held, now)
                    held.state = BookingState.CLOSED
            runs = row.starts_at <= now < purses.span_of(row)[1]
            if new and runs and row.state == BookingState.PAID:
                if left <= 0 and row.zero_at is None:
                    self._at_zero(row, account)
                self._send_balance(row, account)

    def rest(self, account_number: str, intervals: list[Interval]) -> list[Interval]:
        """Intervals of an account without the energy that events pay."""
        with self._engine.connect() as connection:
            rows = connection.execute(_SPANS, {"location": account_number})
            spans = [(starts_at, ended_at or ends_at) for starts_at, ends_at, ended_at in rows]
        return [purses.rest(i, spans) for i in intervals] if spans else intervals

    def page(self, booking: Booking) -> EventPage:
        """What the payer sees of an event."""
        with Session(self._engine) as session:
            entries = purses.entries(session, booking.booking_id)
            mwh = purses.energy_mwh(session, booking.booking_id)
            over = session.scalars(
                select(LedgerRow.cents).where(
                    LedgerRow.account_number == booking.payer,
                    LedgerRow.kind == Entry.EVENT_ENERGY,
                    LedgerRow.reference.startswith(f"{booking.booking_id} ", autoescape=True),
                )
            ).all()
        cents = sum(e.cents for e in entries)
        statement = self._estimates.state(self._customers.account(booking.location), cents, None)
        return EventPage(
            booking=booking,
            balance_cents=cents,
            credit_wh=statement.credit_wh,
            time_left=statement.time_left,
            price_millicents_per_kwh=statement.price_millicents_per_kwh,
            energy_wh=mwh / 1000,
            charged_to_payer_cents=-sum(over),
            updated_at=entries[-1].at if entries else None,
        )

    # --- inside ---

    def _hand_over(self) -> None:
        with Session(self._engine) as session:
            waiting = session.scalars(
                select(OrderRow).where(OrderRow.submitted_at.is_(None)).order_by(OrderRow.id)
            ).all()
            rows = {o.booking_id: session.get_one(BookingRow, o.booking_id) for o in waiting}
        for order in waiting:
            row = rows[order.booking_id]
            why = ""
            try:
                if order.puts_on:
                    outcome = EventOutcome(row.outcome)
                    self._schedules.take(
                        EventOrder(
                            event_id=order.event_id,
                            meter_id=row.meter_id,
                            starts_at=order.starts_at,
                            ends_at=order.ends_at,
                            credit_wh=order.credit_wh,
                            at_zero=outcome.at_zero,
                            replaces=order.replaces,
                        )
                    )
                else:
                    self._schedules.cancel(order.event_id)
            except NotAccepted as refusal:
                why = str(refusal)
            now = self._clock.now()
            with Session(self._engine) as session, session.begin():
                session.get_one(OrderRow, order.id).submitted_at = now
                held = session.get_one(BookingRow, order.booking_id)
                if why and order.puts_on and held.state == BookingState.PAID:
                    purses.give_back(session, held, now)
                    held.state, held.why = BookingState.REFUSED, why
            if why:
                self._note("event refused", row.location, f"{order.booking_id}: {why}")

    def _paid(self) -> list[BookingRow]:
        with Session(self._engine) as session:
            query = select(BookingRow).where(
                BookingRow.state.in_([BookingState.PAID, BookingState.CLOSED]), BookingRow.over_at.is_(None)
            )
            return list(session.scalars(query.order_by(BookingRow.starts_at)))

    def _charged_here(self, account: AccountRow, now: datetime, looked: datetime | None) -> list[BookingRow]:
        """Events that may have something to pay; closed ones only where intervals of theirs came in since `looked`."""
        with self._engine.connect() as connection:
            asked = {"location": account.number, "now": now, "since": now - _LATEST}
            found = connection.execute(_CHARGED_HERE, asked).all()
        if looked is not None and any(row.state == BookingState.CLOSED for row in found):
            fresh = [s.value for s in self._mdms.intervals(account.meter_id, available_since=looked)]
            found = [
                row
                for row in found
                if row.state != BookingState.CLOSED
                or any(purses.overlap(interval, (row.starts_at, row.ended_at or row.ends_at)) for interval in fresh)
            ]
        if not found:
            return []
        with Session(self._engine) as session:
            wanted = BookingRow.booking_id.in_([row.booking_id for row in found])
            return list(session.scalars(select(BookingRow).where(wanted).order_by(BookingRow.starts_at)))

    def _intervals(self, row: BookingRow, fresh: datetime | None = None) -> list[Interval]:
        start, end = purses.span_of(row)
        # an interval may have begun before the event, by an hour at most, and may come late, or anew when it was revised
        since = start - timedelta(hours=1)
        if fresh is None:
            with Session(self._engine) as session:
                until = purses.charged_until(session, row.booking_id)
            since = since if until is None else max(since, until - _LATE)
        found = self._mdms.intervals(row.meter_id, since, end + timedelta(hours=1), available_since=fresh)
        return [s.value for s in found if purses.overlap(s.value, (start, end))]

    def _tell(self, row: BookingRow) -> None:
        """At the start, and when more was paid in: the meter is told, and what was done at zero is undone."""
        account = self._customers.account(row.location)
        with Session(self._engine) as session, session.begin():
            held = session.get_one(BookingRow, row.booking_id)
            held.told_at = self._clock.now()
            undo, held.zero_at = held.zero_at is not None, None
        if undo and (code := _UNDO.get(EventOutcome(row.outcome))) is not None:
            self._command(row, account, code)
        self._send_balance(row, account)

    def _finish(self, row: BookingRow) -> None:
        """At the end the meter puts the service back by itself; the facility's own balance is shown again."""
        with Session(self._engine) as session, session.begin():
            session.get_one(BookingRow, row.booking_id).over_at = self._clock.now()
        if self._commands.runs(self._customers.account(row.location)):
            self._commands.refresh(row.location)

    def _at_zero(self, row: BookingRow, account: AccountRow) -> None:
        """The credit is used up: the option chosen, where it can still be had; else the payer goes on paying."""
        programme, outcome = Programme(row.programme), EventOutcome(row.outcome)
        with Session(self._engine) as session, session.begin():
            session.get_one(BookingRow, row.booking_id).zero_at = self._clock.now()
        why = self._checks.not_eligible(account, programme, outcome)
        self._note("event credit used up", account.number, f"{row.booking_id}: {outcome.value}{why and f', but {why}'}")
        if "does_nothing_at_event_zero" in self._defects or why:
            return
        if outcome is EventOutcome.LIMIT:
            self._command(row, account, MessageCode.LIMIT, limit_w=self._config.events.limit_w)
        elif outcome is EventOutcome.DISCONNECT or "disconnects_who_pays_on" in self._defects:
            self._command(row, account, MessageCode.DISCONNECT)

    def _command(self, row: BookingRow, account: AccountRow, code: MessageCode, limit_w: int | None = None) -> None:
        message_id = self._adcs.new_message_id()
        request = Request("css", row.meter_id, code, message_id=message_id, limit_w=limit_w)
        with Session(self._engine) as session, session.begin():
            self._commands.put_out(session, account, request)
        self._commands.wake()

    def _send_balance(self, row: BookingRow, account: AccountRow) -> None:
        if "event_balance_not_sent" not in self._defects:
            self._commands.refresh(account.number)


_UNDO = {EventOutcome.LIMIT: MessageCode.RESTORE, EventOutcome.DISCONNECT: MessageCode.CONNECT}


def as_booking(row: BookingRow) -> Booking:
    """A row as others see it."""
    return Booking(
        row.booking_id,
        row.request_id,
        Programme(row.programme),
        row.payer,
        row.location,
        row.meter_id,
        row.starts_at,
        row.ends_at,
        EventOutcome(row.outcome),
        row.booked_at,
        row.hold_until,
        BookingState(row.state),
        row.event_id,
        row.ended_at,
        row.zero_at,
        row.why,
    )
