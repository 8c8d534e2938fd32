"""Prepaid or regular: since when which, and the change between the two at the end of an interval (C3-FR-27, D11).

An interval is billed the way that holds at its start, so a change takes hold with the next one: none belongs to both ways,
and none to neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.orm import Session

from drivers.roles import Billing, Interval
from twins.utility.css.billing_tables import BillingModeRow
from twins.utility.css.tables import AccountRow
from twins.utility.database import table_of

_ROWS = table_of(BillingModeRow).c
_MODES = (
    select(_ROWS.since, _ROWS.billing).where(_ROWS.account_number == bindparam("account_number")).order_by(_ROWS.id)
)


@dataclass(frozen=True)
class Mode:
    """Intervals that start at `since` or later are billed that way, as far as no later mode says otherwise."""

    since: datetime
    billing: Billing


def modes(session: Session | Connection, account_number: str) -> tuple[Mode, ...]:
    """How an account has been billed, oldest first."""
    rows = session.execute(_MODES, {"account_number": account_number})
    return tuple(Mode(since, Billing(billing)) for since, billing in rows)


def begin(session: Session, account: AccountRow, billing: Billing, since: datetime) -> None:
    """Have an account billed that way from the next interval on; part of the transaction that gives rise to it.

    What is that way already stays as it is.
    """
    account.billing = billing.value
    if foresee(session, account.number, billing, since) and billing is Billing.PREPAID:
        account.prepaid_since = since


def foresee(session: Session, account_number: str, billing: Billing, since: datetime) -> bool:
    """Have intervals that start at `since` or later billed that way, whatever was foreseen for them before; `since` may be
    to come. Returns whether anything changes."""
    known = modes(session, account_number)
    if known and known[-1].billing is billing:
        return False
    session.add(BillingModeRow(account_number=account_number, since=since, billing=billing.value))
    session.flush()
    return True


def billed(intervals: Iterable[Interval], how: Sequence[Mode], billing: Billing) -> list[Interval]:
    """Those of the intervals that are billed that way. What lies before the first mode is billed in no way."""
    found = []
    for interval in intervals:
        start = interval.ends_at - interval.length
        holding = next((mode for mode in reversed(how) if mode.since <= start), None)
        if holding is not None and holding.billing is billing:
            found.append(interval)
    return found
