"""Monthly bills: one a cycle whatever clocks do, every interval on one side of a conversion, and no cent lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, Interval, MessageCode
from tests.utility.conftest import ACCOUNT, METER, Town, config
from tests.utility.test_trouble import refused
from twins.clock import SteppedClock
from twins.utility.adcs import Adcs
from twins.utility.adcs_schedules import Schedules
from twins.utility.config import CustomerConfig, UtilityConfig
from twins.utility.css import Css, billing_modes
from twins.utility.css.billing import Bill, BillKind
from twins.utility.css.billing_tables import BilledIntervalRow, BillRow
from twins.utility.css.tables import AccountRow, LedgerRow
from twins.utility.database import open_database
from twins.utility.errors import Reason
from twins.utility.mdms import Mdms
from twins.utility.network import AmiNetwork
from twins.utility.payments import ConfiguredProcessor

Towns = Callable[..., Town]
HOUR = timedelta(hours=1)
PRICE = 20_000


class Office:
    """MDMS and CSS without a meter: intervals are given by hand."""

    def __init__(self, clock: SteppedClock, settings: UtilityConfig) -> None:
        self.clock = clock
        self.engine: Engine = open_database("sqlite://")
        self.mdms = Mdms(clock, self.engine, settings, 1)
        adcs = Adcs(clock, self.engine, settings.adcs, {}, AmiNetwork(clock, settings.network, 1), self.mdms)
        processor = ConfiguredProcessor(clock, settings.payments.processor)
        schedules = Schedules(clock, self.engine, settings.adcs, {}, adcs)
        self.css = Css(clock, self.engine, settings, processor, adcs, self.mdms, schedules)
        self.css.start()

    async def until(self, moment: datetime) -> None:
        """Let time pass."""
        await self.clock.advance((moment - self.clock.now()).total_seconds())

    def convert(self, billing: Billing) -> None:
        """Change how the account is billed, now."""
        with Session(self.engine) as session, session.begin():
            billing_modes.begin(session, session.get_one(AccountRow, ACCOUNT), billing, self.clock.now())

    def on_bills(self) -> dict[datetime, int]:
        """The bill of each billed interval, by its end."""
        with Session(self.engine) as session:
            return {r.interval_ends_at: r.bill_id for r in session.scalars(select(BilledIntervalRow))}

    def charged(self) -> set[datetime]:
        """Ends of the intervals charged to the balance."""
        with Session(self.engine) as session:
            query = select(LedgerRow.interval_ends_at).where(LedgerRow.interval_ends_at.is_not(None))
            return {at for at in session.scalars(query) if at is not None}

    async def close(self) -> None:
        await self.css.close()
        await self.clock.close()
        self.engine.dispose()


def office(body: Callable[[Office], Any], start: datetime, **changes: Any) -> None:
    """Run a coroutine with an office that opens at `start`."""

    async def run() -> None:
        account = {"billing": "regular", "history": None, **changes.pop("account", {})}
        here = Office(SteppedClock(start), config(account=account, **changes))
        try:
            await body(here)
        finally:
            await here.close()

    asyncio.run(run())


def hours(start: datetime, count: int, mwh: int = 500_000) -> list[Interval]:
    """Hourly intervals from `start` on."""
    return [Interval(start + (k + 1) * HOUR, HOUR, mwh / 1000, complete=True) for k in range(count)]


# --- any year, any zone, any conversions ------------------------------------------------------------------------------------

ZONES = (
    "America/Los_Angeles",
    "Europe/Berlin",
    "America/Havana",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "UTC",
)


@settings(max_examples=8, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 3 * 365 * 86_400).map(lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    cycle_day=st.integers(1, 28),
    prepaid_first=st.booleans(),
    conversions=st.lists(st.integers(0, 75 * 86_400), max_size=4).map(sorted),
    energies=st.lists(st.integers(0, 9_999_999), min_size=1, max_size=50),
)
def test_every_interval_is_billed_once_and_to_the_cent(
    zone: str,
    start: datetime,
    cycle_day: int,
    prepaid_first: bool,
    conversions: list[int],
    energies: list[int],
) -> None:
    first = start.replace(minute=0, second=0, microsecond=0) + HOUR
    known = [
        Interval(first + (k + 1) * HOUR, HOUR, energies[k % len(energies)] / 1000, complete=True)
        for k in range(75 * 24)
    ]
    mode = Billing.PREPAID if prepaid_first else Billing.REGULAR

    async def body(here: Office) -> None:
        switches = [start + timedelta(seconds=s) for s in conversions]
        billing, so_far = mode, start
        for moment in sorted({*switches, *(start + timedelta(days=d) for d in range(0, 75, 2))}):
            await here.until(moment)
            here.mdms.store_intervals(METER, [i for i in known if so_far < i.ends_at <= moment])
            so_far = moment
            for _ in range(switches.count(moment)):
                billing = Billing.REGULAR if billing is Billing.PREPAID else Billing.PREPAID
                here.convert(billing)
        here.mdms.store_intervals(METER, [i for i in known if i.ends_at > so_far])
        await here.until(known[-1].ends_at + HOUR)

        def expected(i: Interval) -> Billing:
            changed = sum(moment <= i.ends_at - HOUR for moment in switches)
            return mode if changed % 2 == 0 else Billing(1 - mode.value)

        bills = here.css.billing.bills(ACCOUNT)
        assert bills
        over = [i for i in known if i.ends_at - HOUR < bills[-1].ends_at]
        regular = [i for i in over if expected(i) is Billing.REGULAR]
        on_bills = here.on_bills()
        assert set(on_bills) == {i.ends_at for i in regular}
        assert here.charged() == {i.ends_at for i in known if expected(i) is Billing.PREPAID}
        check_cycles(bills, start, cycle_day, ZoneInfo(zone))
        total_mwh = sum(round(i.energy_wh * 1000) for i in regular)
        assert sum(b.energy_mwh for b in bills) == total_mwh
        # Fractions of a cent go over to the next bill, none is lost.
        assert sum(b.due_cents for b in bills) == total_mwh * PRICE // 1_000_000_000
        for bill in bills:
            inside = [i for i in over if on_bills.get(i.ends_at) == bill.bill_id]
            assert all(bill.starts_at <= i.ends_at - HOUR < bill.ends_at for i in inside)

    account = {"billing": mode.name.lower(), "bill_cycle_day": cycle_day}
    office(body, start, account=account, time_zone=zone)


def check_cycles(bills: tuple[Bill, ...], opened: datetime, cycle_day: int, zone: ZoneInfo) -> None:
    """Cycles join, and each ends with a local day that is not the cycle day, where that one begins."""
    assert bills[0].starts_at == opened
    for one, next_one in itertools.pairwise(bills):
        assert one.ends_at == next_one.starts_at
        assert timedelta(days=28) - HOUR <= next_one.ends_at - next_one.starts_at <= timedelta(days=31) + HOUR
    for bill in bills:
        assert bill.ends_at.astimezone(zone).day == cycle_day
        assert (bill.ends_at - timedelta(microseconds=1)).astimezone(zone).day != cycle_day


# --- one by one ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("month", "length"), [(3, 31 * 24 - 1), (11, 30 * 24 + 1), (7, 31 * 24)])
def test_a_month_with_a_time_change_has_all_its_hours(month: int, length: int) -> None:
    zone = ZoneInfo("America/Los_Angeles")
    start = datetime(2026, month, 1, tzinfo=zone).astimezone(UTC)

    async def body(here: Office) -> None:
        here.mdms.store_intervals(METER, hours(start, length + 24))
        await here.until(start + (length + 1) * HOUR)
        (bill,) = here.css.billing.bills(ACCOUNT)
        assert (bill.starts_at, bill.ends_at) == (start, start + length * HOUR)
        assert bill.energy_mwh == length * 500_000
        assert bill.due_cents == length * 10
        assert (bill.kind, bill.missing) == (BillKind.BILL, timedelta(0))

    office(body, start, account={"bill_cycle_day": 1}, time_zone="America/Los_Angeles")


def test_a_bill_waits_for_intervals_and_then_takes_what_comes_late_on_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    known = hours(start, 62 * 24)

    async def body(here: Office) -> None:
        here.mdms.store_intervals(METER, known[: 30 * 24])
        await here.until(datetime(2026, 2, 3, tzinfo=UTC))
        assert here.css.billing.bills(ACCOUNT) == ()
        await here.until(datetime(2026, 2, 4, 1, tzinfo=UTC))
        (first,) = here.css.billing.bills(ACCOUNT)
        assert (first.missing, first.issued_at) == (timedelta(hours=24), datetime(2026, 2, 4, tzinfo=UTC))
        here.mdms.store_intervals(METER, known)
        await here.until(datetime(2026, 3, 1, 2, tzinfo=UTC))
        _, second = here.css.billing.bills(ACCOUNT)
        assert (first.energy_mwh, second.energy_mwh) == (30 * 24 * 500_000, 29 * 24 * 500_000)

    office(body, start, account={"bill_cycle_day": 1}, time_zone="UTC")


def test_an_interval_revised_after_its_bill_is_on_the_next_with_the_difference() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    async def body(here: Office) -> None:
        known = hours(start, 62 * 24)
        here.mdms.store_intervals(METER, known)
        await here.until(datetime(2026, 2, 1, 1, tzinfo=UTC))
        here.mdms.store_intervals(METER, [replace(known[9], energy_wh=800.0), replace(known[10], energy_wh=300.0)])
        for month in (3, 4):
            await here.until(datetime(2026, month, 1, 1, tzinfo=UTC))
        first, second = (bill.energy_mwh for bill in here.css.billing.bills(ACCOUNT)[:2])
        assert (first, second) == (31 * 24 * 500_000, 28 * 24 * 500_000 + 100_000)

    office(body, start, account={"bill_cycle_day": 1}, time_zone="UTC", billing={"wait_s": 0})


def test_a_bill_that_waited_is_issued_when_the_intervals_come_in() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    async def body(here: Office) -> None:
        at = datetime(2026, 2, 2, 7, tzinfo=UTC)
        await here.until(at)
        assert here.css.billing.bills(ACCOUNT) == ()
        here.mdms.store_intervals(METER, hours(start, 32 * 24))
        await here.clock.advance(1)
        (bill,) = here.css.billing.bills(ACCOUNT)
        assert (bill.issued_at, bill.missing) == (at, timedelta(0))

    office(body, start, account={"bill_cycle_day": 1}, time_zone="UTC")


def test_a_prepaid_account_gets_a_statement_and_nothing_is_due() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    async def body(here: Office) -> None:
        here.mdms.store_intervals(METER, hours(start, 31 * 24))
        await here.until(datetime(2026, 2, 1, 1, tzinfo=UTC))
        (statement,) = here.css.billing.bills(ACCOUNT)
        assert (statement.kind, statement.due_cents, statement.energy_mwh) == (BillKind.STATEMENT, 0, 0)
        assert (statement.prepaid_energy_mwh, statement.prepaid_cents) == (31 * 24 * 500_000, 31 * 24 * 10)
        assert statement.balance_cents == 50_000 - 31 * 24 * 10

    # no meter is there to be told the balance
    account = {"bill_cycle_day": 1, "billing": "prepaid", "opening_balance_cents": 50_000, "elsewhere": True}
    office(body, start, account=account, time_zone="UTC", css={"scrypt_cost": 4})


def test_a_conversion_that_was_foreseen_can_be_overtaken() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    async def body(here: Office) -> None:
        with Session(here.engine) as session, session.begin():
            assert billing_modes.foresee(session, ACCOUNT, Billing.PREPAID, start + 10 * HOUR)
        await here.until(start + 5 * HOUR)
        here.mdms.store_intervals(METER, hours(start, 5))
        assert here.charged() == set()
        here.convert(Billing.REGULAR)
        with Session(here.engine) as session, session.begin():
            assert billing_modes.foresee(session, ACCOUNT, Billing.PREPAID, start + 20 * HOUR)
        here.mdms.store_intervals(METER, hours(start, 24))
        assert here.charged() == {start + k * HOUR for k in range(21, 25)}

    office(body, start, time_zone="UTC")


def test_a_database_without_modes_is_taken_over(town: Towns) -> None:
    here = town()
    assert [m.billing for m in here.ask(here.utility.css.conversions.modes, ACCOUNT)] == [Billing.PREPAID]
    here.ask(here.utility.css.billing.start)
    assert len(here.ask(here.utility.css.conversions.modes, ACCOUNT)) == 1


def test_a_conversion_on_request_reaches_the_meter_and_parts_the_intervals(town: Towns) -> None:
    here = town(service_on=True, account={"bill_cycle_day": 6})
    here.pay("P-1")
    here.after(2.5 * 3_600)
    now = here.clock.now()
    message_id = here.ask(here.utility.css.conversions.convert, ACCOUNT, Billing.REGULAR)
    assert here.ask(here.utility.css.conversions.convert, ACCOUNT, Billing.REGULAR) is None
    here.after(25 * 3_600)
    assert here.ask(here.utility.adcs.message, message_id).message.code is MessageCode.BILLING
    assert here.meter.account().billing is Billing.REGULAR
    (bill,) = here.ask(here.utility.css.billing.bills, ACCOUNT)
    recorded = [i for i in here.meter.intervals() if i.ends_at <= bill.ends_at]
    before = [i for i in recorded if i.ends_at - i.length < now]
    after = [i for i in recorded if i.ends_at - i.length >= now]
    assert len(before) == 3
    assert bill.prepaid_energy_mwh == sum(round(i.energy_wh * 1000) for i in before)
    assert bill.energy_mwh == sum(round(i.energy_wh * 1000) for i in after)
    assert bill.paid_cents == 5_000
    assert (bill.kind, bill.ends_at) == (BillKind.BILL, datetime(2026, 1, 6, 8, tzinfo=UTC))


def test_bills_of_an_unknown_account_are_refused(town: Towns) -> None:
    here = town()
    for call in (here.utility.css.billing.bills, here.utility.css.conversions.modes):
        refused(Reason.UNKNOWN_ACCOUNT, here.ask, call, "X-1")
    refused(Reason.UNKNOWN_ACCOUNT, here.ask, here.utility.css.conversions.convert, "X-1", Billing.REGULAR)


def test_nobody_changes_a_bill() -> None:
    start = datetime(2026, 1, 30, tzinfo=UTC)

    async def body(here: Office) -> None:
        here.mdms.store_intervals(METER, hours(start, 72))
        await here.until(datetime(2026, 2, 1, 1, tzinfo=UTC))
        assert here.css.billing.bills(ACCOUNT)
        for change in (update(BillRow).values(due_cents=0), delete(BillRow), delete(BilledIntervalRow)):
            with pytest.raises(DatabaseError, match="append-only"), Session(here.engine) as session, session.begin():
                session.execute(change)

    office(body, start, account={"bill_cycle_day": 1}, time_zone="UTC")


def test_an_account_taken_in_while_the_utility_runs_is_billed(town: Towns) -> None:
    here = town()
    customer = CustomerConfig.model_validate(
        {
            "id": "C-2",
            "name": "Grace",
            "address": "1 Dock",
            "credential": "cobol",
            "accounts": [
                {
                    "number": "A-2",
                    "meter_id": "CT-1",
                    "service_address": "1 Dock",
                    "billing": "regular",
                    "at_zero": "regular_billing",
                    "switch": False,
                    "bill_cycle_day": 6,
                }
            ],
        }
    )
    here.ask(here.utility.css.take_in, customer)
    assert here.ask(here.utility.css.options, "A-2") == (AtZero.REGULAR_BILLING,)
    here.after(5 * 86_400)
    (bill,) = here.ask(here.utility.css.billing.bills, "A-2")
    assert (bill.energy_mwh, bill.due_cents) == (0, 0)
    assert bill.missing == bill.ends_at - bill.starts_at
