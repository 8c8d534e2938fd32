"""The monthly bill: one for each bill cycle of an account, from the intervals of its regular billing (C3-AS-01).

A cycle goes from local midnight to local midnight, so it is an hour longer or shorter where clocks change. Prepaid energy
has been paid for: it is stated and nothing is due for it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from drivers.roles import Billing, Interval
from twins.utility.consumption import next_cycle
from twins.utility.css import billing_modes
from twins.utility.css.billing_tables import BilledIntervalRow, BillingModeRow, BillRow
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.events import Events
from twins.utility.css.ledger import balance_cents
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, LedgerRow
from twins.utility.mdms import Kind
from twins.utility.tariff import charge_cents

_LOOK_BACK = timedelta(days=100)
"""How late an interval may come and still get onto the next bill: as long as a meter keeps hourly ones."""
_LONGEST_INTERVAL = timedelta(hours=1)


class BillKind(enum.StrEnum):
    """What a monthly document is."""

    BILL = "bill"
    STATEMENT = "statement"  # of a prepaid account: nothing is due


@dataclass(frozen=True)
class Bill:
    """A bill or statement of [starts_at, ends_at).

    `energy_mwh` and `due_cents` are of regular billing, `prepaid_energy_mwh` and `prepaid_cents` of what was charged to the
    balance; `paid_cents` are payments in that time, `balance_cents` is the prepaid balance when the bill was issued.
    `missing` is how much of the cycle no interval is there for; what comes later is on the next bill.
    """

    bill_id: int
    account_number: str
    kind: BillKind
    starts_at: datetime
    ends_at: datetime
    issued_at: datetime
    energy_mwh: int
    price_millicents_per_kwh: int
    due_cents: int
    prepaid_energy_mwh: int
    prepaid_cents: int
    paid_cents: int
    balance_cents: int
    missing: timedelta


class Bills(Part):
    """Issues bills as cycles end, and keeps them."""

    def __init__(self, context: Context, customers: Customers, events: Events) -> None:
        super().__init__(context)
        self._customers = customers
        self._events = events
        self._wake = context.clock.event()
        self._awaited: set[str] = set()
        """Meters whose intervals a bill waits for."""

    def start(self) -> None:
        """Take note of how accounts are billed that nothing is known of, and hear of intervals that come in."""
        now = self._clock.now()
        with Session(self._engine) as session, session.begin():
            known = set(session.scalars(select(BillingModeRow.account_number).distinct()))
            for account in session.scalars(select(AccountRow)).all():
                if account.number not in known:
                    since = account.prepaid_since or now
                    billing_modes.begin(session, account, Billing(account.billing), since)
        self._mdms.subscribe(self._published)

    def wake(self) -> None:
        """Have all accounts looked through: there is a new one."""
        self._wake.set()

    def bills(self, account_number: str) -> tuple[Bill, ...]:
        """Bills and statements of an account, oldest first. NotAccepted for an unknown account."""
        self._customers.account(account_number)
        with Session(self._engine) as session:
            rows = session.scalars(
                select(BillRow).where(BillRow.account_number == account_number).order_by(BillRow.ends_at)
            ).all()
        return tuple(_bill(row) for row in rows)

    async def issue(self) -> None:
        """Issue bills for ever, each when its cycle is over and its intervals are in, or have been waited for."""
        while True:
            self._wake.clear()
            timer = self._clock.call_at(self._issue_due(), self._wake.set)
            await self._wake.wait()
            timer.cancel()

    def _published(self, kind: Kind, meter_id: str) -> None:
        if kind is Kind.INTERVAL and meter_id in self._awaited:
            self._wake.set()

    def _issue_due(self) -> datetime:
        """Issue what is due; returns when the next may be."""
        now = self._clock.now()
        grace = timedelta(seconds=self._config.billing.wait_s)
        self._awaited = set()
        later = [now + timedelta(days=1)]
        with Session(self._engine) as session:
            last = _by_account(
                session, select(BillRow.account_number, func.max(BillRow.ends_at)).group_by(BillRow.account_number)
            )
            first = _by_account(
                session,
                select(BillingModeRow.account_number, func.min(BillingModeRow.since)).group_by(
                    BillingModeRow.account_number
                ),
            )
        for account in self._customers.accounts():
            start = last.get(account.number, first.get(account.number, now))
            while (end := self._cycle_end(start, account)) <= now:
                if not self._complete(account.meter_id, end) and now < end + grace:
                    self._awaited.add(account.meter_id)
                    later.append(end + grace)
                    break
                self._bill(account, start, end)
                start = end
            else:
                later.append(end)
        return min(later)

    def _cycle_end(self, start: datetime, account: AccountRow) -> datetime:
        end = next_cycle(start, account.bill_cycle_day, self._zone)
        return min(end, start + timedelta(days=7)) if "bills_weekly" in self._defects else end

    def _complete(self, meter_id: str, end: datetime) -> bool:
        """Whether a meter's intervals have come in up to a moment: a meter passes them on in their order."""
        found = self._mdms.intervals(meter_id, end - _LONGEST_INTERVAL)
        return any(stored.value.ends_at >= end for stored in found)

    def _bill(self, account: AccountRow, start: datetime, end: datetime) -> None:
        number = account.number
        with Session(self._engine) as session:
            how = billing_modes.modes(session, number)
            on_bills = _on_bills(session, number, start - _LOOK_BACK)
        found = [s.value for s in self._mdms.intervals(account.meter_id, start - _LOOK_BACK)]
        # An interval belongs to the cycle that it starts in.
        found = [i for i in found if i.ends_at - i.length < end]
        within = [i for i in found if i.ends_at - i.length >= start]
        regular = billing_modes.billed(found, how, Billing.REGULAR)
        if "bills_prepaid_energy" in self._defects:
            regular = found
        regular = self._events.rest(number, regular)  # what falls into events has been paid for
        # what is on an earlier bill is on this one with what it was revised by
        regular = [
            replace(i, energy_wh=(_mwh(i) - on_bills.get(i.ends_at, 0)) / 1000)
            for i in regular
            if on_bills.get(i.ends_at) != _mwh(i)
        ]
        prepaid = billing_modes.billed(within, how, Billing.PREPAID)
        mode_at_end = next((m.billing for m in reversed(how) if m.since < end), Billing(account.billing))
        kind = BillKind.BILL if regular or mode_at_end is Billing.REGULAR else BillKind.STATEMENT
        price = self._config.tariff.price_millicents_per_kwh
        missing = max(timedelta(0), (end - start) - sum((i.length for i in within), timedelta(0)))
        with Session(self._engine) as session, session.begin():
            cents, carried = charge_cents(sum(map(_mwh, regular)), price, _carried(session, number))
            row = BillRow(
                account_number=number,
                kind=kind,
                starts_at=start,
                ends_at=end,
                issued_at=self._clock.now(),
                energy_mwh=sum(map(_mwh, regular)),
                price_millicents_per_kwh=price,
                due_cents=cents,
                carried=carried,
                prepaid_energy_mwh=sum(map(_mwh, prepaid)),
                prepaid_cents=_charged(session, number, prepaid),
                paid_cents=_paid(session, number, start, end),
                balance_cents=balance_cents(session, number),
                missing_s=int(missing.total_seconds()),
            )
            session.add(row)
            session.flush()
            session.add_all(
                BilledIntervalRow(bill_id=row.id, account_number=number, interval_ends_at=i.ends_at, energy_mwh=_mwh(i))
                for i in regular
            )


def _by_account(session: Session, query: Select[str, datetime]) -> dict[str, datetime]:
    return {number: at for number, at in session.execute(query)}


def _on_bills(session: Session, account_number: str, since: datetime) -> dict[datetime, int]:
    """The energy of intervals that end after `since` and are on bills, by their end."""
    rows = session.execute(
        select(BilledIntervalRow.interval_ends_at, func.sum(BilledIntervalRow.energy_mwh))
        .where(BilledIntervalRow.account_number == account_number, BilledIntervalRow.interval_ends_at > since)
        .group_by(BilledIntervalRow.interval_ends_at)
    )
    return {ends_at: int(energy_mwh) for ends_at, energy_mwh in rows}


def _mwh(interval: Interval) -> int:
    return round(interval.energy_wh * 1000)


def _carried(session: Session, account_number: str) -> int:
    """The fraction of a cent that the latest bill left."""
    query = select(BillRow.carried).where(BillRow.account_number == account_number).order_by(BillRow.ends_at.desc())
    return session.scalar(query.limit(1)) or 0


def _charged(session: Session, account_number: str, intervals: Sequence[Interval]) -> int:
    """Cents charged to the balance for intervals."""
    wanted = {i.ends_at for i in intervals}
    if not wanted:
        return 0
    rows = session.execute(
        select(LedgerRow.interval_ends_at, LedgerRow.cents).where(
            LedgerRow.account_number == account_number,
            LedgerRow.interval_ends_at >= min(wanted),
            LedgerRow.interval_ends_at <= max(wanted),
        )
    ).all()
    return -sum(cents for ends_at, cents in rows if ends_at in wanted)


def _paid(session: Session, account_number: str, start: datetime, end: datetime) -> int:
    query = select(func.sum(LedgerRow.cents)).where(
        LedgerRow.account_number == account_number,
        LedgerRow.kind == Entry.PAYMENT,
        LedgerRow.at >= start,
        LedgerRow.at < end,
    )
    return session.scalar(query) or 0


def _bill(row: BillRow) -> Bill:
    return Bill(
        bill_id=row.id,
        account_number=row.account_number,
        kind=BillKind(row.kind),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        issued_at=row.issued_at,
        energy_mwh=row.energy_mwh,
        price_millicents_per_kwh=row.price_millicents_per_kwh,
        due_cents=row.due_cents,
        prepaid_energy_mwh=row.prepaid_energy_mwh,
        prepaid_cents=row.prepaid_cents,
        paid_cents=row.paid_cents,
        balance_cents=row.balance_cents,
        missing=timedelta(seconds=row.missing_s),
    )
