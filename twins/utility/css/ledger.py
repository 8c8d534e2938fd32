"""The ledger of prepaid accounts: signed cents, entries that are added and never changed, a balance that is their sum."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from drivers.roles import Interval
from twins.utility.css.records import Entry, LedgerEntry
from twins.utility.css.tables import LedgerRow
from twins.utility.tariff import charge_cents


def balance_cents(session: Session, account_number: str) -> int:
    """Sum of all entries of an account."""
    return session.scalar(select(func.sum(LedgerRow.cents)).where(LedgerRow.account_number == account_number)) or 0


def entries(session: Session, account_number: str) -> tuple[LedgerEntry, ...]:
    """All entries of an account, oldest first."""
    rows = session.scalars(
        select(LedgerRow).where(LedgerRow.account_number == account_number).order_by(LedgerRow.id)
    ).all()
    return tuple(LedgerEntry(r.id, r.at, Entry(r.kind), r.cents, r.reference) for r in rows)


def credit(session: Session, account_number: str, at: datetime, kind: Entry, cents: int, reference: str) -> LedgerRow:
    """Add money to an account. A reference can be used once for each kind."""
    row = LedgerRow(account_number=account_number, at=at, kind=kind, cents=cents, reference=reference)
    session.add(row)
    session.flush()
    return row


def charge_energy(
    session: Session, account_number: str, at: datetime, intervals: Sequence[Interval], price_millicents_per_kwh: int
) -> int:
    """Charge the energy of intervals, each once; returns how many were charged. A fraction of a cent is carried on."""
    charged = 0
    carried = session.scalar(
        select(LedgerRow.carried)
        .where(LedgerRow.account_number == account_number, LedgerRow.kind == Entry.ENERGY)
        .order_by(LedgerRow.id.desc())
        .limit(1)
    )
    known = set(
        session.scalars(
            select(LedgerRow.interval_ends_at).where(
                LedgerRow.account_number == account_number,
                LedgerRow.interval_ends_at.in_([i.ends_at for i in intervals]),
            )
        )
    )
    carry = carried or 0
    for i in sorted(intervals, key=lambda i: i.ends_at):
        if i.ends_at in known:
            continue
        energy_mwh = round(i.energy_wh * 1000)
        cents, carry = charge_cents(energy_mwh, price_millicents_per_kwh, carry)
        session.add(
            LedgerRow(
                account_number=account_number,
                at=at,
                kind=Entry.ENERGY,
                cents=-cents,
                reference=i.ends_at.isoformat(),
                interval_ends_at=i.ends_at,
                energy_mwh=energy_mwh,
                price_millicents_per_kwh=price_millicents_per_kwh,
                carried=carry,
            )
        )
        session.flush()
        charged += 1
    return charged


def charged_until(session: Session, account_number: str) -> datetime | None:
    """End of the last interval that was charged."""
    return session.scalar(
        select(LedgerRow.interval_ends_at)
        .where(LedgerRow.account_number == account_number, LedgerRow.interval_ends_at.is_not(None))
        .order_by(LedgerRow.interval_ends_at.desc())
        .limit(1)
    )
