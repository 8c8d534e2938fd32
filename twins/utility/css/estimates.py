"""What consumption history and the ledger say: estimates, balances, and balances as the meter is told them (step S1.03)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from drivers.roles import Interval
from twins.utility.consumption import DayUsage, Profile, by_day, expected_wh, next_cycle, profile, runs_out
from twins.utility.css import ledger
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.history import Histories
from twins.utility.css.records import Estimate, LedgerEntry, Statement
from twins.utility.css.tables import AccountRow, PostingRow
from twins.utility.database import table_of
from twins.utility.errors import NotAccepted, Reason
from twins.utility.tariff import cost_cents, cost_rounded_up_cents, credit_wh

_SAME_WH_A_DAY = 20_000.0
_POSTINGS = table_of(PostingRow).c
_BEGAN = select(func.max(_POSTINGS.posted_at)).where(
    _POSTINGS.account_number == bindparam("account_number"), _POSTINGS.balance_cents <= _POSTINGS.amount_cents
)


class Estimates(Part):
    """Estimates from history, and balances in money, energy and time."""

    def __init__(self, context: Context, customers: Customers) -> None:
        super().__init__(context)
        self._customers = customers
        self._histories = Histories(context.mdms)

    def estimate(self, request_id: int, account_number: str | None = None) -> Estimate:
        """Estimate what the service takes through the request's time frame, by default the next bill cycle, from history.

        NotAccepted where the identity isn't confirmed, or there is no history.
        """
        request = self._customers.confirmed(request_id)
        account = self._customers.account_of(request, account_number)
        now = self._clock.now()
        ends_at = request.ends_at or next_cycle(now, account.bill_cycle_day, self._zone)
        return self._forecast(account, now, ends_at, self.balance_cents(account.number))

    def of_event(self, account: AccountRow, starts_at: datetime, ends_at: datetime) -> Estimate:
        """Estimate what an event takes, from the facility's history: energy and cost, and the amount to be paid for it.

        NotAccepted where there is no history.
        """
        return self._forecast(account, starts_at, ends_at, 0)

    def _forecast(self, account: AccountRow, starts_at: datetime, ends_at: datetime, balance: int) -> Estimate:
        intervals = self.history(account.meter_id, self._clock.now())
        shape = profile(intervals, self._zone)
        if shape is None:
            raise NotAccepted(
                Reason.NO_HISTORY,
                f"CSS: account {account.number} has no consumption history yet; agree on an amount with the customer",
            )
        price = self._config.tariff.price_millicents_per_kwh
        energy_wh = expected_wh(shape, starts_at, ends_at, self._zone)
        if "estimate_ignores_history" in self._defects:
            energy_wh = _SAME_WH_A_DAY * (ends_at - starts_at) / timedelta(days=1)
        cost = cost_rounded_up_cents(energy_wh, price)
        due = max(0, cost - balance)
        estimate = Estimate(
            account_number=account.number,
            starts_at=starts_at,
            ends_at=ends_at,
            history=() if "estimate_without_history" in self._defects else self.days(intervals),
            daily_average_wh=daily_average_wh(intervals),
            energy_wh=0.0 if "estimate_without_energy" in self._defects else energy_wh,
            price_millicents_per_kwh=price,
            cost_cents=cost,
            balance_cents=balance,
            amount_cents=max(due, self._config.payments.minimum_cents) if due else 0,
        )
        self._note("estimate", account.number, f"{estimate.amount_cents} cents through {ends_at.isoformat()}")
        return estimate

    def balance_cents(self, account_number: str) -> int:
        """The balance of an account: the sum of its ledger."""
        self._customers.account(account_number)
        return self.held_cents(account_number)

    def held_cents(self, account_number: str) -> int:
        """The same of an account that is known to be there."""
        with self._engine.connect() as connection:
            return ledger.balance_cents(connection, account_number)

    def ledger(self, account_number: str) -> tuple[LedgerEntry, ...]:
        """The ledger of an account, oldest entry first."""
        self._customers.account(account_number)
        with Session(self._engine) as session:
            return ledger.entries(session, account_number)

    def history(self, meter_id: str, now: datetime) -> list[Interval]:
        """Intervals of a meter as far back as the configuration looks."""
        return self._histories.of(meter_id, now - timedelta(days=self._config.css.history_days), now)

    def days(self, intervals: Sequence[Interval]) -> tuple[DayUsage, ...]:
        """Energy and cost by local day."""
        price = self._config.tariff.price_millicents_per_kwh
        return tuple(DayUsage(day, wh, cost_cents(wh, price)) for day, wh in by_day(intervals, self._zone).items())

    def state(
        self, account: AccountRow, balance_cents: int, message_id: int | None, since: datetime | None = None
    ) -> Statement:
        """Balance in money, energy and time, as of now (D2).

        The time left is counted from `since`, by default from the end of the last interval charged: what was used after
        that is not in the balance yet.
        """
        now = self._clock.now()
        begin = self._charged_until(account, now) if since is None else since
        tariff = self._config.tariff
        known = [] if "forecast_ignores_history" in self._defects else self.history(account.meter_id, now)
        shape = profile(known, self._zone) or Profile(self._config.css.class_profile_wh)
        credit = credit_wh(balance_cents, tariff.price_millicents_per_kwh)
        return Statement(
            at=now,
            message_id=message_id,
            balance_cents=balance_cents,
            credit_wh=credit,
            tariff=tariff.name,
            price_millicents_per_kwh=tariff.price_millicents_per_kwh,
            profile_wh=shape.wh_by_hour,
            profile_from=shape.history_from,
            profile_to=shape.history_to,
            zero_at=runs_out(shape, begin, credit, self._zone),
        )

    def _charged_until(self, account: AccountRow, now: datetime) -> datetime:
        """Until when what was used is in the balance; what a payment found used up had used nothing since."""
        if account.prepaid_since is None:
            return now
        with self._engine.connect() as connection:
            charged = ledger.charged_until(connection, account.number)
            began = connection.scalar(_BEGAN, {"account_number": account.number})
        return min(now, max(at for at in (account.prepaid_since, charged, began) if at is not None))


def daily_average_wh(intervals: Sequence[Interval]) -> float:
    """Mean energy of a day over the complete intervals; NaN where there are none."""
    whole = [i for i in intervals if i.complete]
    covered = sum((i.length for i in whole), timedelta(0))
    return math.fsum(i.energy_wh for i in whole) / (covered / timedelta(days=1)) if covered else math.nan
