"""The ledger of prepaid accounts: signed cents, entries that are added and never changed, a balance that is their sum.

The database itself refuses changes and keeps the sum with every entry, so a balance costs the same however long the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select
from sqlalchemy.orm import Session

from drivers.roles import Interval
from twins.utility.css.records import Entry, LedgerEntry
from twins.utility.css.tables import AccountBalanceRow, LedgerRow
from twins.utility.database import table_of
from twins.utility.tariff import charge_cents

# Made once: every interval of every account takes them.
_LEDGER, _BALANCES = table_of(LedgerRow), table_of(AccountBalanceRow)
_OF_ACCOUNT = _LEDGER.c.account_number == bindparam("account_number")
_ADD = insert(_LEDGER)
_BALANCE = select(_BALANCES.c.cents).where(_BALANCES.c.account_number == bindparam("account_number"))
_CHARGED = select(_LEDGER.c.interval_ends_at, _LEDGER.c.energy_mwh).where(
    _OF_ACCOUNT, _LEDGER.c.interval_ends_at >= bindparam("first"), _LEDGER.c.interval_ends_at <= bindparam("last")
)
_CARRIED = (
    select(_LEDGER.c.carried).where(_OF_ACCOUNT, _LEDGER.c.kind == Entry.ENERGY).order_by(_LEDGER.c.id.desc()).limit(1)
)
_CHARGED_UNTIL = (
    select(_LEDGER.c.interval_ends_at)
    .where(_OF_ACCOUNT, _LEDGER.c.interval_ends_at.is_not(None))
    .order_by(_LEDGER.c.interval_ends_at.desc())
    .limit(1)
)


class Charged:
    """What was charged of intervals: entries by the end of their interval, and the sum of their energy."""

    def __init__(self, entries: Iterable[tuple[datetime | None, int | None]]) -> None:
        self._known: dict[datetime, tuple[int, int]] = {}
        for ends_at, energy_mwh in entries:
            if ends_at is not None:
                self._count(ends_at, energy_mwh or 0)

    def add(self, ends_at: datetime, energy_mwh: int) -> tuple[int, str | None]:
        """Take an interval: the energy that is to be charged yet, and the reference of its entry, None where there is
        nothing to enter."""
        entered, before = self._known.get(ends_at, (0, 0))
        if entered and energy_mwh == before:
            return 0, None
        self._count(ends_at, energy_mwh - before)
        return energy_mwh - before, ends_at.isoformat() + (f" revised {entered}" if entered else "")

    def _count(self, ends_at: datetime, energy_mwh: int) -> None:
        entered, before = self._known.get(ends_at, (0, 0))
        self._known[ends_at] = entered + 1, before + energy_mwh


@dataclass(frozen=True)
class Movement:
    """Money that goes to an account (cents above zero) or from it. A reference can be used once for each kind."""

    account_number: str
    kind: Entry
    cents: int
    reference: str


def balance_cents(session: Session | Connection, account_number: str) -> int:
    """Sum of all entries of an account, as the database keeps it."""
    return session.scalar(_BALANCE, {"account_number": account_number}) or 0


def entries(session: Session, account_number: str) -> tuple[LedgerEntry, ...]:
    """All entries of an account, oldest first."""
    rows = session.execute(
        select(LedgerRow.id, LedgerRow.at, LedgerRow.kind, LedgerRow.cents, LedgerRow.reference)
        .where(LedgerRow.account_number == account_number)
        .order_by(LedgerRow.id)
    ).all()
    return tuple(LedgerEntry(r.id, r.at, Entry(r.kind), r.cents, r.reference) for r in rows)


def credit(session: Session, account_number: str, at: datetime, kind: Entry, cents: int, reference: str) -> LedgerRow:
    """Add money to an account. A reference can be used once for each kind."""
    row = LedgerRow(account_number=account_number, at=at, kind=kind, cents=cents, reference=reference)
    session.add(row)
    session.flush()
    return row


def post(session: Session, at: datetime, movements: Sequence[Movement]) -> None:
    """Enter any number of movements at once, all of them or none."""
    if movements:
        session.execute(
            _ADD,
            [
                {
                    "account_number": m.account_number,
                    "at": at,
                    "kind": m.kind,
                    "cents": m.cents,
                    "reference": m.reference,
                }
                for m in movements
            ],
        )


def charge_energy(
    session: Session | Connection,
    account_number: str,
    at: datetime,
    intervals: Sequence[Interval],
    price_millicents_per_kwh: int,
) -> int:
    """Charge the energy of intervals, each once, and of one that was revised what it differs by from what was charged;
    returns how many entries that took. A fraction of a cent is carried on."""
    if not intervals:
        return 0
    ends = [i.ends_at for i in intervals]
    asked = {"account_number": account_number, "first": min(ends), "last": max(ends)}
    known = Charged(session.execute(_CHARGED, asked).all())
    carry = session.scalar(_CARRIED, {"account_number": account_number}) or 0
    rows = []
    for i in sorted(intervals, key=lambda i: i.ends_at):
        energy_mwh, reference = known.add(i.ends_at, round(i.energy_wh * 1000))
        if reference is None:
            continue
        cents, carry = charge_cents(energy_mwh, price_millicents_per_kwh, carry)
        rows.append(
            {
                "account_number": account_number,
                "at": at,
                "kind": Entry.ENERGY,
                "cents": -cents,
                "reference": reference,
                "interval_ends_at": i.ends_at,
                "energy_mwh": energy_mwh,
                "price_millicents_per_kwh": price_millicents_per_kwh,
                "carried": carry,
            }
        )
    if rows:
        session.execute(_ADD, rows)
    return len(rows)


def charged_until(session: Session | Connection, account_number: str) -> datetime | None:
    """End of the last interval that was charged."""
    return session.scalar(_CHARGED_UNTIL, {"account_number": account_number})
