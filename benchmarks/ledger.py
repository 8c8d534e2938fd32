"""How fast the ledger is, and that it loses no cent: a million random operations through the real tables, then the count.

Payments, automatic ones, refunds and energy, one by one and in bulk; some given twice, some rolled back, intervals late or
repeated. What has to be on each account in the end is counted beside it, in exact fractions and by no code of the ledger.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmarks.figure import Figure
from drivers.roles import Interval
from twins.utility.css import ledger
from twins.utility.css.ledger import Movement
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, CustomerRow, LedgerRow
from twins.utility.database import open_database

OPERATIONS = 1_000_000
_ACCOUNTS = 500
_START = datetime(2026, 1, 5, 8, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_PRICES = (21_500, 19_999, 33_333, 1)
_MICRO = 10**9  # milliwatt-hours x millicents per kWh in a cent


class Traffic:
    """Random operations of many accounts on one database, the same for the same seed.

    An operation is one movement of money or one interval charged, whether it is accepted or refused.
    """

    def __init__(self, engine: Engine, seed: int, accounts: int = _ACCOUNTS) -> None:
        self._engine = engine
        self._random = random.Random(seed)
        self._accounts = [f"A-{n}" for n in range(accounts)]
        self._price = {a: self._random.choice(_PRICES) for a in self._accounts}
        self._hours: dict[str, int] = defaultdict(int)
        self._moved: dict[str, int] = defaultdict(int)
        self._used: dict[str, int] = defaultdict(int)
        self._kept: list[Movement] = []
        self._number = 0
        self.done = self.refused = self.rolled_back = 0
        with Session(engine) as session, session.begin():
            session.add(
                CustomerRow(id="C", name="n", address="a", credential="-", language="en", customer_class="residential")
            )
            session.flush()
            session.add_all(
                AccountRow(
                    number=number,
                    customer_id="C",
                    meter_id=f"M-{number}",
                    service_address="a",
                    billing=1,
                    at_zero=1,
                    fallback=3,
                    has_switch=True,
                    bill_cycle_day=1,
                )
                for number in self._accounts
            )

    def reopen(self, engine: Engine) -> None:
        """Go on with the same accounts through another engine."""
        self._engine = engine

    def run(self, operations: int) -> None:
        """Do at least so many more operations."""
        until = self.done + operations
        while self.done < until:
            self._random.choices((self._one, self._many, self._energy), (1, 2, 4))[0]()

    def out_of_balance_cents(self) -> int:
        """Cents by which balances differ from what has to be there, and from the sums of their entries."""
        with Session(self._engine) as session:
            query = select(LedgerRow.account_number, func.sum(LedgerRow.cents)).group_by(LedgerRow.account_number)
            sums = {number: cents for number, cents in session.execute(query)}
            wrong = 0
            for account in self._accounts:
                should = self._moved[account] - self._used[account] // _MICRO
                kept = ledger.balance_cents(session, account)
                wrong += abs(kept - should) + abs(kept - sums.get(account, 0))
        return wrong

    def _movement(self) -> Movement:
        self._number += 1
        kind = self._random.choices((Entry.PAYMENT, Entry.REFUND), (4, 1))[0]
        cents = self._random.randint(1, 20_000)
        reference = f"{self._random.choice(('P', 'auto'))}-{self._number}"
        return Movement(self._random.choice(self._accounts), kind, -cents if kind is Entry.REFUND else cents, reference)

    def _one(self) -> None:
        self.done += 1
        if self._kept and self._random.random() < 0.05:
            again = self._random.choice(self._kept)
            try:
                with Session(self._engine) as session, session.begin():
                    ledger.credit(session, again.account_number, _START, again.kind, again.cents, again.reference)
            except IntegrityError:
                self.refused += 1
                return
            raise RuntimeError(f"{again} was entered twice")
        m = self._movement()
        with Session(self._engine) as session, session.begin():
            ledger.credit(session, m.account_number, _START, m.kind, m.cents, m.reference)
        self._keep([m])

    def _many(self) -> None:
        movements = [self._movement() for _ in range(self._random.randint(1, 120))]
        self.done += len(movements)
        twice = bool(self._kept) and self._random.random() < 0.05
        given = [*movements, self._random.choice(self._kept)] if twice else movements
        try:
            with Session(self._engine) as session:
                ledger.post(session, _START, given)
                if self._random.random() < 0.05:
                    session.rollback()
                    self.rolled_back += len(movements)
                    return
                session.commit()
        except IntegrityError:
            if not twice:
                raise
            self.refused += len(given)
            return
        self._keep(movements)

    def _energy(self) -> None:
        account = self._random.choice(self._accounts)
        first = self._hours[account]
        new = self._random.choices((1, 24, 200), (3, 3, 1))[0]
        intervals = [
            Interval(_START + (first + k + 1) * _HOUR, _HOUR, round(self._random.uniform(0, 5_000), 3), True)
            for k in range(new)
        ]
        self._hours[account] += new
        self.done += new
        self._random.shuffle(intervals)
        with Session(self._engine) as session, session.begin():
            charged = ledger.charge_energy(session, account, _START, intervals, self._price[account])
            again = ledger.charge_energy(session, account, _START, intervals[:3], self._price[account])
        if (charged, again) != (new, 0):
            raise RuntimeError(f"{charged} intervals charged of {new}, and {again} of them again")
        self._used[account] += sum(round(i.energy_wh * 1000) for i in intervals) * self._price[account]

    def _keep(self, movements: list[Movement]) -> None:
        for m in movements:
            self._moved[m.account_number] += m.cents
        self._kept = (self._kept + movements)[-1_000:]


def run() -> list[Figure]:
    """The ledger's figures."""
    engine = open_database("sqlite://")
    traffic = Traffic(engine, seed=1)
    began = time.perf_counter()
    traffic.run(OPERATIONS)
    took = time.perf_counter() - began
    out = traffic.out_of_balance_cents()
    engine.dispose()
    return [
        Figure("ledger: operations a second", traffic.done / took, "1/s", ">= 8400"),
        Figure("ledger: out of balance after a million operations", out, "cent", "<= 0"),
    ]


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} ({figure.target}, {'met' if figure.met else 'missed'})")
