"""Purses of events: money paid in from the payer's account, used up by the event's energy, and what is left given back (D20).

A purse is never below zero: what it cannot pay of an interval is charged to the payer's account in the same transaction. So
every cent that leaves one ledger stands in the other, and both are sums of entries that are never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.orm import Session

from drivers.roles import Interval
from twins.utility.css import ledger
from twins.utility.css.booking_records import BookingState, PurseEntry, PurseEntryKind, Span
from twins.utility.css.booking_tables import BookingRow, PurseRow
from twins.utility.css.records import Entry
from twins.utility.database import table_of
from twins.utility.tariff import charge_cents

_NOTHING = timedelta(0)
_BOOKINGS = table_of(BookingRow).c
_RUNNING = select(_BOOKINGS.booking_id, _BOOKINGS.ended_at).where(
    _BOOKINGS.location == bindparam("location"),
    _BOOKINGS.state == BookingState.PAID,
    _BOOKINGS.starts_at <= bindparam("now"),
    _BOOKINGS.ends_at > bindparam("now"),
)


def balance_cents(session: Session | Connection, booking_id: str) -> int:
    """What is in a purse: the sum of its entries."""
    return session.scalar(select(func.sum(PurseRow.cents)).where(PurseRow.booking_id == booking_id)) or 0


def entries(session: Session, booking_id: str) -> tuple[PurseEntry, ...]:
    """All entries of a purse, oldest first."""
    rows = session.scalars(select(PurseRow).where(PurseRow.booking_id == booking_id).order_by(PurseRow.id)).all()
    return tuple(PurseEntry(r.at, PurseEntryKind(r.kind), r.cents, r.reference) for r in rows)


def energy_mwh(session: Session, booking_id: str) -> int:
    """Energy that an event has taken so far."""
    return session.scalar(select(func.sum(PurseRow.energy_mwh)).where(PurseRow.booking_id == booking_id)) or 0


def charged_until(session: Session, booking_id: str) -> datetime | None:
    """End of the last interval that was charged to an event."""
    return session.scalar(select(func.max(PurseRow.interval_ends_at)).where(PurseRow.booking_id == booking_id))


def pay_in(session: Session, booking: BookingRow, at: datetime, cents: int, reference: str) -> None:
    """Move money from the payer's account into the purse."""
    ledger.credit(session, booking.payer, at, Entry.TO_EVENT, -cents, reference)
    _add(session, booking, at, PurseEntryKind.PAID_IN, cents, reference)


def give_back(session: Session, booking: BookingRow, at: datetime) -> int:
    """Move what is left in the purse to the payer's account; returns the cents."""
    left = balance_cents(session, booking.booking_id)
    if left:
        reference = f"{booking.booking_id} {at.isoformat()}"
        _add(session, booking, at, PurseEntryKind.RETURNED, -left, reference)
        ledger.credit(session, booking.payer, at, Entry.FROM_EVENT, left, reference)
    return left


def charge(session: Session, booking: BookingRow, at: datetime, intervals: Sequence[Interval], price: int) -> int:
    """Charge an event's share of intervals, each once, to its purse and beyond that to the payer; returns how many were new.

    Of an interval that was revised, what its share differs by; less than before goes to the payer's account, as the purse may
    be closed. A fraction of a cent is carried on.
    """
    of_event = select(PurseRow.interval_ends_at, PurseRow.energy_mwh).where(PurseRow.booking_id == booking.booking_id)
    known = ledger.Charged(session.execute(of_event).all())
    carry = (
        session.scalar(
            select(PurseRow.carried)
            .where(PurseRow.booking_id == booking.booking_id, PurseRow.kind == PurseEntryKind.ENERGY)
            .order_by(PurseRow.id.desc())
            .limit(1)
        )
        or 0
    )
    left, new = balance_cents(session, booking.booking_id), 0
    span = span_of(booking)
    for i in sorted(intervals, key=lambda i: i.ends_at):
        if not overlap(i, span):
            continue
        mwh, reference = known.add(i.ends_at, share_mwh(i, span))
        if reference is None:
            continue
        due, carry = charge_cents(mwh, price, carry)
        paid = max(0, min(due, left))
        left, new = left - paid, new + 1
        session.add(
            PurseRow(
                booking_id=booking.booking_id,
                at=at,
                kind=PurseEntryKind.ENERGY,
                cents=-paid,
                reference=reference,
                interval_ends_at=i.ends_at,
                energy_mwh=mwh,
                price_millicents_per_kwh=price,
                carried=carry,
            )
        )
        if due != paid:
            over = f"{booking.booking_id} {reference}"
            ledger.credit(session, booking.payer, at, Entry.EVENT_ENERGY, paid - due, over)
        session.flush()
    return new


def span_of(booking: BookingRow) -> Span:
    """The time whose energy an event pays."""
    return booking.starts_at, booking.ended_at or booking.ends_at


def overlap(interval: Interval, span: Span) -> timedelta:
    """How much of an interval lies in a span."""
    return max(_NOTHING, min(interval.ends_at, span[1]) - max(interval.ends_at - interval.length, span[0]))


def share_mwh(interval: Interval, span: Span) -> int:
    """The energy of an interval that falls into a span, in milliwatt-hours: by time, as an interval tells no more."""
    return (
        round(interval.energy_wh * 1000)
        * (overlap(interval, span) // timedelta(microseconds=1))
        // (interval.length // timedelta(microseconds=1))
    )


def rest(interval: Interval, spans: Sequence[Span]) -> Interval:
    """An interval without the energy that events pay."""
    taken = sum(share_mwh(interval, span) for span in spans)
    return interval if not taken else replace(interval, energy_wh=(round(interval.energy_wh * 1000) - taken) / 1000)


def running_cents(session: Session | Connection, account_number: str, now: datetime) -> int | None:
    """What is in the purse of the event that runs at a facility; None where none does."""
    rows = session.execute(_RUNNING, {"location": account_number, "now": now})
    running = [booking_id for booking_id, ended_at in rows if ended_at is None or ended_at > now]
    return balance_cents(session, running[0]) if running else None


def _add(session: Session, booking: BookingRow, at: datetime, kind: PurseEntryKind, cents: int, reference: str) -> None:
    session.add(PurseRow(booking_id=booking.booking_id, at=at, kind=kind, cents=cents, reference=reference))
    session.flush()
