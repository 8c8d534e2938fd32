"""The ledger: entries that nobody can change, a balance that is their sum, no cent lost over any number of intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, text, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from benchmarks.ledger import Traffic
from drivers.roles import Interval
from twins.utility.css import ledger
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, CustomerRow, LedgerRow
from twins.utility.database import Base, open_database
from twins.utility.tariff import charge_cents, cost_rounded_up_cents, credit_wh

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)

_numbers = count(1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """A database of its own with one customer."""
    made = open_database("sqlite://")
    with Session(made) as session, session.begin():
        session.add(
            CustomerRow(id="C", name="n", address="a", credential="-", language="en", customer_class="residential")
        )
    yield made
    made.dispose()


def opened(engine: Engine) -> str:
    """A new account."""
    number = f"A-{next(_numbers)}"
    with Session(engine) as session, session.begin():
        session.add(
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
        )
    return number


@pytest.mark.parametrize("table", [n for n in Base.metadata.tables if n in {"css_ledger", "css_postings"}])
@pytest.mark.parametrize("change", ["UPDATE {} SET account_number = 'X'", "DELETE FROM {}"])
def test_the_database_refuses_to_change_what_is_posted(engine: Engine, table: str, change: str) -> None:
    number = opened(engine)
    with Session(engine) as session, session.begin():
        row = ledger.credit(session, number, START, Entry.PAYMENT, 100, "P")
        session.execute(
            text(
                "INSERT INTO css_requests (id, received_at, channel, account_numbers, name, address, credentials_presented) "
                "SELECT 1, '2026-01-05', 'phone', '[]', 'n', 'a', 1 WHERE NOT EXISTS (SELECT 1 FROM css_requests)"
            )
        )
        session.execute(
            text(
                "INSERT INTO css_payments (payment_id, request_id, account_number, amount_cents, data, asked_at, state, why) "
                "VALUES (:n, 1, :n, 100, '{}', '2026-01-05', 'posted', '')"
            ),
            {"n": number},
        )
        session.execute(
            text(
                "INSERT INTO css_postings (payment_id, account_number, ledger_id, amount_cents, balance_cents, posted_at) "
                "VALUES (:n, :n, :l, 100, 100, '2026-01-05')"
            ),
            {"n": number, "l": row.id},
        )
    with (
        pytest.raises(DatabaseError, match=f"{table} is append-only"),
        Session(engine) as session,
        session.begin(),
    ):
        session.execute(text(change.format(table)))


def test_the_orm_is_refused_as_well(engine: Engine) -> None:
    number = opened(engine)
    with Session(engine) as session, session.begin():
        ledger.credit(session, number, START, Entry.PAYMENT, 100, "P")
    for statement in (update(LedgerRow).values(cents=1), delete(LedgerRow)):
        with pytest.raises(DatabaseError, match="append-only"), Session(engine) as session, session.begin():
            session.execute(statement)
    with Session(engine) as session:
        assert ledger.balance_cents(session, number) == 100


def test_a_reference_is_credited_once(engine: Engine) -> None:
    number = opened(engine)
    with Session(engine) as session, session.begin():
        ledger.credit(session, number, START, Entry.PAYMENT, 100, "P")
    with pytest.raises(DatabaseError, match="UNIQUE"), Session(engine) as session, session.begin():
        ledger.credit(session, number, START, Entry.PAYMENT, 100, "P")


def test_a_hundred_thousand_random_operations_balance_to_the_cent() -> None:
    engine = open_database("sqlite://")
    traffic = Traffic(engine, seed=1)
    for _ in range(10):
        traffic.run(10_000)
        assert traffic.out_of_balance_cents() == 0
    assert min(traffic.refused, traffic.rolled_back) > 1_000
    engine.dispose()


def test_a_ledger_from_before_there_were_sums_is_summed_when_it_is_opened(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/utility.db"
    engine = open_database(url)
    traffic = Traffic(engine, seed=2, accounts=3)
    traffic.run(500)
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER css_ledger_sum"))
        connection.execute(text("DROP TABLE css_balances"))
    engine.dispose()
    opened_again = open_database(url)
    traffic.reopen(opened_again)
    assert traffic.out_of_balance_cents() == 0
    traffic.run(500)
    assert traffic.out_of_balance_cents() == 0
    opened_again.dispose()


price = st.integers(1, 1_000_000)
energy = st.floats(0, 200_000, allow_nan=False).map(lambda wh: round(wh, 3))


@settings(max_examples=60, deadline=None)
@given(
    cents_per_kwh=price,
    steps=st.lists(st.one_of(st.integers(1, 100_000), st.lists(energy, min_size=1, max_size=5)), max_size=12),
)
def test_the_balance_is_payments_less_energy_whatever_the_order(
    engine: Engine, cents_per_kwh: int, steps: list[int | list[float]]
) -> None:
    number = opened(engine)
    paid, used, hours = 0, Fraction(0), 0
    balance = 0
    for k, step in enumerate(steps):
        with Session(engine) as session, session.begin():
            if isinstance(step, int):
                ledger.credit(session, number, START, Entry.PAYMENT, step, f"P-{k}")
                paid += step
            else:
                intervals = [Interval(START + (hours + i + 1) * HOUR, HOUR, wh, True) for i, wh in enumerate(step)]
                assert ledger.charge_energy(session, number, START, intervals, cents_per_kwh) == len(step)
                # the same intervals once more change nothing
                assert ledger.charge_energy(session, number, START, intervals, cents_per_kwh) == 0
                # one that is revised is charged for what it differs by
                before, intervals[0] = intervals[0], replace(intervals[0], energy_wh=intervals[-1].energy_wh / 2)
                changed = round(intervals[0].energy_wh * 1000) != round(before.energy_wh * 1000)
                assert ledger.charge_energy(session, number, START, intervals, cents_per_kwh) == changed
                hours += len(step)
                used += sum(
                    Fraction(round(wh * 1000)) * cents_per_kwh / 10**9 for wh in (i.energy_wh for i in intervals)
                )
            balance = ledger.balance_cents(session, number)
            assert balance == sum(e.cents for e in ledger.entries(session, number))
    assert paid - used <= balance < paid - used + 1


@given(st.integers(0, 10**9), price, st.integers(0, 10**9 - 1))
def test_a_charge_carries_less_than_a_cent(energy_mwh: int, millicents: int, carried: int) -> None:
    cents, carry = charge_cents(energy_mwh, millicents, carried)
    assert 0 <= carry < 10**9
    assert cents * 10**9 + carry == energy_mwh * millicents + carried


@given(st.integers(-(10**6), 10**8), price)
def test_a_credit_is_never_worth_more_than_its_money(cents: int, millicents: int) -> None:
    wh = credit_wh(cents, millicents)
    assert wh >= 0
    assert wh * millicents <= max(0, cents) * 10**6 < (wh + 1) * millicents or cents < 0


@given(st.integers(0, 10**7), price)
def test_what_is_estimated_is_enough(wh: int, millicents: int) -> None:
    cents = cost_rounded_up_cents(wh, millicents)
    assert (cents - 1) * 10**6 < wh * millicents <= cents * 10**6
