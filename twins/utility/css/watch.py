"""The watch over prepaid balances: the threshold of service left, zero, and what follows (C3-S4.01, C3-S5.01, C3-S5.07).

A balance is looked at again whenever intervals or payments come in, and when time alone has brought it to its threshold.
From there on it is sent to the meter once every recording interval.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, ReceiptStatus
from twins.clock import Timer
from twins.utility.css import purses
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.outcomes import Outcomes
from twins.utility.css.paying import Paying
from twins.utility.css.records import BalanceEvent, BalanceEventKind, PaymentState, Stage, Statement
from twins.utility.css.replenish import Replenishing
from twins.utility.css.tables import AccountRow, PaymentRow
from twins.utility.css.watch_tables import WatchEventRow, WatchRow
from twins.utility.database import table_of
from twins.utility.mdms import Kind

_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_GRACE = timedelta(seconds=60)
"""How long after an interval should have been collected a balance is sent without it."""
_ACCOUNTS, _WATCHES = table_of(AccountRow), table_of(WatchRow)
_DUE = select(_WATCHES.c.account_number).where(_WATCHES.c.look_at <= bindparam("now"))
_COMING = select(func.min(_WATCHES.c.look_at))
_AWAITS = select(_WATCHES.c.account_number).where(
    _ACCOUNTS.c.number == _WATCHES.c.account_number,
    _ACCOUNTS.c.meter_id == bindparam("meter_id"),
    _WATCHES.c.message_id.is_not(None),
)
_OF_ACCOUNT = select(_WATCHES).where(_WATCHES.c.account_number == bindparam("account_number"))
_CHANGE = update(_WATCHES).where(_WATCHES.c.account_number == bindparam("of_account"))
_TRIES = 2  # at the threshold, and once more at zero (D4)


class Watch(Part):
    """How each prepaid balance stands, and what is done about it."""

    def __init__(
        self,
        context: Context,
        customers: Customers,
        estimates: Estimates,
        commands: Commands,
        outcomes: Outcomes,
        paying: Paying,
        replenishing: Replenishing,
    ) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._outcomes = outcomes
        self._replenishing = replenishing
        self._wake = context.clock.event()
        self._timer: Timer | None = None
        self._threshold = timedelta(hours=context.config.css.threshold_h)
        for name, hours in (("threshold_at_47_hours", 47), ("threshold_at_49_hours", 49)):
            if name in self._defects:
                self._threshold = timedelta(hours=hours)
        self._tries = 20 if "replenishes_over_and_over" in self._defects else _TRIES
        paying.posted.append(lambda number: self.look(number, paid=True))
        paying.declined.append(self._declined)

    def start(self) -> None:
        """Take up every balance where it was left, and begin with those that are new."""
        with Session(self._engine) as session:
            known = {row.account_number: row for row in session.scalars(select(WatchRow))}
        for account in self._customers.accounts():
            row = known.get(account.number)
            if row is None:
                self.look(account.number)
            elif row.stage != Stage.ABOVE:
                self._adcs.collect_every_interval(account.meter_id)
                if not self._draw_again(account) and row.stage == Stage.USED_UP and row.outcome is None:
                    self._act(account)

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

    async def run(self) -> None:
        """Look at balances when time alone has brought them to where something is to be done."""
        while True:
            now = self._clock.now()
            with self._engine.connect() as connection:
                due = connection.execute(_DUE, {"now": now}).scalars().all()
            for number in due:
                self.look(number)
            with self._engine.connect() as connection:
                coming = connection.scalar(_COMING)
            self._wake.clear()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None if coming is None else self._clock.call_at(coming, self._wake.set)
            await self._wake.wait()

    async def refresh_daily(self) -> None:
        """Tell meters of prepaid accounts their balance every day at the time configured (C3-FR-09, D12); those near zero are
        told it every interval anyway."""
        while True:
            due = self._next_daily(self._clock.now())
            await self._clock.sleep((due - self._clock.now()).total_seconds())
            if "balance_every_other_day" in self._defects and due.toordinal() % 2:
                continue
            with Session(self._engine) as session:
                near = set(session.scalars(select(WatchRow.account_number).where(WatchRow.stage != Stage.ABOVE)))
            for account in self._customers.accounts():
                if account.number not in near and self._commands.runs(account):
                    self._commands.refresh(account.number)

    def _next_daily(self, now: datetime) -> datetime:
        day = now.astimezone(self._zone).date()
        late = _HOUR if "daily_balance_an_hour_late" in self._defects else timedelta(0)
        while True:
            at = datetime.combine(day, self._config.css.daily_balance_at, self._zone).astimezone(UTC) + late
            if at > now:
                return at
            day += timedelta(days=1)

    def published(self, kind: Kind, meter_id: str) -> None:
        """Look at a balance when its meter's intervals have been charged, and at what became of a command at zero."""
        if kind is not Kind.INTERVAL and not (kind is Kind.RECEIPT and self._awaits_receipt(meter_id)):
            return
        account = self._customers.at_meter(meter_id)
        if account is None:
            return
        if kind is Kind.INTERVAL:
            self._look(account, charged=True)
        else:
            self._receipt(account)

    def events(self, account_number: str) -> tuple[BalanceEvent, ...]:
        """What has happened to a balance near zero, oldest first."""
        self._customers.account(account_number)
        with Session(self._engine) as session:
            rows = session.scalars(
                select(WatchEventRow).where(WatchEventRow.account_number == account_number).order_by(WatchEventRow.id)
            ).all()
        return tuple(
            BalanceEvent(r.at, BalanceEventKind(r.kind), r.balance_cents, timedelta(seconds=r.time_left_s), r.detail)
            for r in rows
        )

    def stage(self, account_number: str) -> Stage:
        """How a balance stands."""
        row = self._known(account_number)
        return Stage.ABOVE if row is None else Stage(row.stage)

    def outcome(self, account_number: str) -> AtZero | None:
        """What was done at zero, as long as it lasts."""
        row = self._known(account_number)
        return None if row is None or row.outcome is None else AtZero(row.outcome)

    # --- how a balance stands ---

    def look(self, account_number: str, *, charged: bool = False, paid: bool = False) -> None:
        """Determine how a balance stands now, and do what is due; `charged` where intervals have just come in, `paid` where a
        payment has. Nothing but a payment takes a balance from zero's neighbourhood: a forecast goes up and down."""
        self._look(self._customers.account(account_number), charged=charged, paid=paid)

    def _look(self, account: AccountRow, *, charged: bool = False, paid: bool = False) -> None:
        account_number = account.number
        known = self._known(account_number)
        if Billing(account.billing) is not Billing.PREPAID:
            self._let_go(account, known)
            return
        if known is None and not self._commands.runs(account):
            return
        now = self._clock.now()
        row = known or self._row(account_number)
        if self._event_runs(account_number, now):
            # what is used is the event's: the account's own balance stands still until that is over
            self._keep(account_number, look_at=self._after_interval(account, now, charged))
            return
        if account.prepaid_until is not None and account.prepaid_until <= now:
            self._converted(account)
            return
        held = self._estimates.state(account, self._estimates.held_cents(account_number), None)
        stage, was = self._stage(held), Stage(row.stage)
        if stage is Stage.ABOVE and was is not Stage.ABOVE and not paid:
            stage = Stage.NEAR
        look_at = max(held.zero_at - self._threshold, now + timedelta(seconds=1))
        if stage is not Stage.ABOVE:
            look_at = self._after_interval(account, now, charged)
        if account.prepaid_until is not None:
            look_at = min(look_at, account.prepaid_until)
        if (stage, look_at) != (was, row.look_at):
            self._keep(account_number, stage=stage, look_at=look_at)
            self._wake.set()
        if stage is Stage.ABOVE and was is not Stage.ABOVE:
            self._adcs.collect_as_usual(account.meter_id)
        if stage is not Stage.ABOVE and was is Stage.ABOVE:
            self._event(account, BalanceEventKind.THRESHOLD, held)
        if stage is not Stage.ABOVE and (was is Stage.ABOVE or row.look_at is None):
            self._adcs.collect_every_interval(account.meter_id)
        if stage is Stage.USED_UP and was is not Stage.USED_UP:
            self._used_up(account, held)
        elif stage is not Stage.USED_UP and (row.outcome is not None or was not in (stage, Stage.ABOVE)):
            self._recovered(account, row, stage, held)
        elif stage is Stage.NEAR and was is Stage.ABOVE:
            self._replenish(account, held)
        self._refresh(account, held, stage, at_once=charged or stage is not was)

    def _let_go(self, account: AccountRow, known: Row[Any] | None) -> None:
        """An account that is billed regularly has no balance that nears zero; what was done at zero lasts until undone."""
        if known is None or known.look_at is None:
            return
        self._adcs.collect_as_usual(account.meter_id)
        afresh = {"stage": Stage.ABOVE, "tried": 0} if known.outcome is None else {}
        self._keep(account.number, look_at=None, **afresh)

    def _event_runs(self, account_number: str, now: datetime) -> bool:
        with self._engine.connect() as connection:
            return purses.running_cents(connection, account_number, now) is not None

    def _stage(self, held: Statement) -> Stage:
        if held.balance_cents <= 0:
            return Stage.USED_UP
        return Stage.NEAR if held.time_left <= self._threshold else Stage.ABOVE

    def _refresh(self, account: AccountRow, held: Statement, stage: Stage, *, at_once: bool) -> None:
        """Send the balance once every recording interval: as soon as the interval is charged, or without it when that takes
        too long; and at once when the balance has come to the threshold or to zero."""
        if stage is Stage.ABOVE and "always_refreshes" not in self._defects:
            return
        begun = held.at - (held.at - _MIDNIGHT) % self._adcs.interval(account.meter_id)
        last = account.refreshed_at
        if last is None or (last < held.at if at_once else last < begun):
            self._commands.tell(account, held)

    def _after_interval(self, account: AccountRow, now: datetime, charged: bool) -> datetime:
        """When to look again: should the running interval, or the one just over, not have been charged a little after it."""
        length = self._adcs.interval(account.meter_id)
        begun = now - (now - _MIDNIGHT) % length
        due = begun + timedelta(seconds=self._config.adcs.watch_after_s) + _GRACE
        return due if due > now and not charged else due + length

    # --- what follows ---

    def _used_up(self, account: AccountRow, held: Statement) -> None:
        self._event(account, BalanceEventKind.ZERO, held)
        # what had no chance at the threshold gets no second one at zero
        self._keep(account.number, tried=max(1, self._row(account.number).tried))
        self._outcomes.notice(account)
        if AtZero(account.at_zero) is AtZero.AUTO_REPLENISH and self._replenish(account, held):
            return
        self._act(account)

    def _replenish(self, account: AccountRow, held: Statement) -> bool:
        """Try an automatic payment, where that is what was chosen; whether one is under way."""
        if AtZero(account.at_zero) is not AtZero.AUTO_REPLENISH:
            return False
        if self._under_way(account):
            return True
        why = self._replenishing.why_not(account)
        tried = self._row(account.number).tried
        if tried >= self._tries:
            return False
        if why:
            self._event(account, BalanceEventKind.NOT_REPLENISHED, held, why)
            return False
        self._keep(account.number, tried=tried + 1)
        number = sum(e.kind is BalanceEventKind.REPLENISH for e in self.events(account.number)) + 1
        self._event(account, BalanceEventKind.REPLENISH, held, str(number))
        if "never_replenishes" not in self._defects:
            self._replenishing.draw(account, number)
        return True

    def _latest_draw(self, account: AccountRow) -> tuple[int, PaymentState | None]:
        """The number of the latest automatic payment (0 before any), and how far it is (None where it was never logged)."""
        number = sum(e.kind is BalanceEventKind.REPLENISH for e in self.events(account.number))
        with Session(self._engine) as session:
            row = session.get(PaymentRow, self._replenishing.payment_id(account, number))
        return number, None if row is None else PaymentState(row.state)

    def _under_way(self, account: AccountRow) -> bool:
        return self._latest_draw(account)[1] is PaymentState.PENDING

    def _draw_again(self, account: AccountRow) -> bool:
        """Take up an automatic payment that was cut off, if any; the processor knows by its key whether it was made."""
        number, state = self._latest_draw(account)
        if number == 0 or state not in (None, PaymentState.PENDING):
            return False
        self._replenishing.draw(account, number)
        return True

    def _declined(self, payment_id: str) -> None:
        number = self._replenishing.account_of(payment_id)
        if number is None:
            return
        account = self._customers.account(number)
        held = self._estimates.state(account, self._estimates.held_cents(number), None)
        self._event(account, BalanceEventKind.NOT_REPLENISHED, held, payment_id)
        row = self._row(number)
        unserved = Stage(row.stage) is Stage.USED_UP and row.outcome is None
        if unserved and not self._replenish(account, held):
            self._act(account)

    def _act(self, account: AccountRow, without: frozenset[AtZero] = frozenset()) -> None:
        """Take the first option at zero that can be had, but those in `without`."""
        held = self._estimates.state(account, self._estimates.held_cents(account.number), None)
        for option, why in self._outcomes.possible(account, without | {AtZero.AUTO_REPLENISH}):
            if why:
                self._event(account, BalanceEventKind.NOT_POSSIBLE, held, f"{option.name.lower()}: {why}")
                continue
            message_id = self._outcomes.take(account, option)
            self._keep(account.number, outcome=option.value, message_id=message_id)
            self._event(account, BalanceEventKind.OUTCOME, held, option.name.lower())
            return

    def _receipt(self, account: AccountRow) -> None:
        """What the meter says to the command at zero: a refused one leads to the next option."""
        row = self._known(account.number)
        if row is None or row.message_id is None or row.outcome is None:
            return
        found = self._mdms.receipts(account.meter_id, row.message_id)
        if not found:
            return
        receipt = min((s.value for s in found), key=lambda r: r.status is not ReceiptStatus.PROCESSED)
        self._keep(account.number, message_id=None)
        outcome = AtZero(row.outcome)
        if receipt.status not in (ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE):
            held = self._estimates.state(account, self._estimates.held_cents(account.number), None)
            why = f"{outcome.name.lower()}: the meter's receipt says {receipt.status.name.lower()}"
            self._event(account, BalanceEventKind.NOT_POSSIBLE, held, why)
            self._act(account, frozenset({AtZero(account.at_zero), outcome}))
        elif outcome is AtZero.REGULAR_BILLING and Stage(row.stage) is Stage.USED_UP:
            until = self._outcomes.convert(account, receipt.completed_at)
            self._keep(account.number, look_at=until)
            self._wake.set()

    def _converted(self, account: AccountRow) -> None:
        held = self._estimates.state(account, self._estimates.held_cents(account.number), None)
        self._outcomes.regular(account)
        self._adcs.collect_as_usual(account.meter_id)
        self._keep(account.number, stage=Stage.ABOVE, look_at=None, tried=0)
        self._event(account, BalanceEventKind.CONVERTED, held)
        self._wake.set()

    def _recovered(self, account: AccountRow, row: WatchRow | Row[Any], stage: Stage, held: Statement) -> None:
        self._event(account, BalanceEventKind.RECOVERED, held)
        # near zero still, the one try at zero is left
        self._keep(account.number, tried=0 if stage is Stage.ABOVE else min(1, row.tried))
        if row.outcome is not None:
            self._outcomes.undo(account, AtZero(row.outcome))
            self._keep(account.number, outcome=None, message_id=None)

    # --- the database ---

    def _awaits_receipt(self, meter_id: str) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(_AWAITS, {"meter_id": meter_id}).first() is not None

    def _known(self, account_number: str) -> Row[Any] | None:
        """The row of an account in the table of watches, None where there is none."""
        with self._engine.connect() as connection:
            return connection.execute(_OF_ACCOUNT, {"account_number": account_number}).one_or_none()

    def _row(self, account_number: str) -> WatchRow:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            row = session.get(WatchRow, account_number)
            if row is None:
                row = WatchRow(account_number=account_number, stage=Stage.ABOVE, look_at=None, tried=0)
                session.add(row)
        return row

    def _keep(self, account_number: str, **columns: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(_CHANGE, {"of_account": account_number, **columns})

    def _event(self, account: AccountRow, kind: BalanceEventKind, held: Statement, detail: str = "") -> None:
        with Session(self._engine) as session, session.begin():
            session.add(
                WatchEventRow(
                    account_number=account.number,
                    at=self._clock.now(),
                    kind=kind,
                    balance_cents=held.balance_cents,
                    time_left_s=int(held.time_left.total_seconds()),
                    detail=detail,
                )
            )
