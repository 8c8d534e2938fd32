"""A balance that the meter works out by itself: with what was sent, with the energy since, never far from the ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, Switch
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Rule, Trigger
from tests.conftest import LoopThread
from tests.twins.homes import Home, Make

OWN = CustomerSettings(own_balance=True)


def prepaid(h: Home) -> Home:
    """On prepaid billing at the hour, 25.00 dollars and 100 kWh sent at 25 cents, 50 hours left."""
    h.loop.call(h.meter.set_customer, OWN)
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.after(3600)
    h.send(
        MessageCode.PREPAYMENT,
        2,
        balance_cents=2500,
        credit_wh=100_000,
        price_millicents_per_kwh=25_000,
        time_left=timedelta(hours=50),
    )
    h.after(0.5)
    return h


def test_money_energy_and_time_left_follow_at_the_end_of_each_interval(home: Make) -> None:
    h = prepaid(home(class_percent=0, processing_s=0.5))
    sent = h.meter.account()
    assert h.after(3598).account() == sent
    now = h.after(2).account()
    used_wh = 1200 * 3599.5 / 3600
    assert now.balance_cents == 2500 - round(used_wh * 0.025)
    assert now.credit_wh == 100_000 - round(used_wh)
    assert now.time_left.total_seconds() == pytest.approx(50 * 3600 * now.credit_wh / 100_000, abs=1)
    assert now.updated_at is not None
    assert now.zero_at == now.updated_at + now.time_left
    assert (now.last_message_id, now.price_millicents_per_kwh) == (2, 25_000)
    assert h.shows(DisplayCode.BALANCE) == f"${now.balance_cents / 100:.2f}"
    assert h.after(49 * 3600).account().balance_cents == 2500 - round((used_wh + 49 * 1200) * 0.025)


def test_a_message_in_between_counts_and_the_meter_goes_on_from_there(home: Make) -> None:
    h = prepaid(home(class_percent=0))
    h.after(5000)
    h.send(MessageCode.BALANCE, 3, balance_cents=1000, credit_wh=40_000, time_left=timedelta(hours=20))
    h.after(1)
    assert h.meter.account().balance_cents == 1000
    h.after(7200 - 5001)
    assert h.meter.account().balance_cents == 1000 - round(1200 * (7200.5 - 5001) / 3600 * 0.025)


def test_what_is_used_on_regular_billing_is_not_debited(home: Make) -> None:
    h = home(class_percent=0)
    h.loop.call(h.meter.set_customer, OWN)
    h.send(MessageCode.BALANCE, 1, balance_cents=500, credit_wh=20_000, time_left=timedelta(hours=9))
    h.after(5 * 3600)
    assert h.meter.account().balance_cents == 500
    h.send(MessageCode.BILLING, 2, billing=Billing.PREPAID)
    h.after(3600)  # at a boundary it converts at once
    h.after(3600)
    assert h.meter.account().billing is Billing.PREPAID
    assert h.meter.account().credit_wh in (20_000 - 1200, 20_000 - 2400)


def test_told_to_leave_it_to_the_utility_it_shows_what_it_was_sent(home: Make) -> None:
    h = prepaid(home())
    h.after(3600)
    held = h.meter.account()
    h.loop.call(h.meter.set_customer, CustomerSettings())
    assert h.after(5 * 3600).account() == held
    h.loop.call(h.meter.set_customer, OWN)  # from here on, not from where it was left off
    again = h.after(3600).account()
    assert held.balance_cents - again.balance_cents == round(1.2 * 25)


def test_it_reaches_zero_by_itself_says_so_and_does_what_is_stored(home: Make) -> None:
    h = prepaid(home(class_percent=0))
    h.loop.call(h.meter.set_rules, [Rule(5, Trigger.ZERO, LoadControl.DISCONNECT)])
    h.after(84 * 3600)  # 25 dollars buy 100 kWh: 83 1/3 hours of 1.2 kW
    account = h.meter.account()
    assert -30 <= account.balance_cents <= 0
    assert account.time_left == timedelta(0)
    assert h.meter.service().switch is Switch.OPEN
    assert [e.argument for e in h.events(EventCode.RULE_CARRIED_OUT)] == [5]
    assert len(h.events(EventCode.ZERO_REACHED)) == 1
    assert h.shows(DisplayCode.NOTICE)


hours = st.lists(st.tuples(st.integers(0, 4000), st.integers(60, 7200)), min_size=1, max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(hours, st.integers(0, 200_000), st.sampled_from([15, 60]))
def test_it_agrees_with_the_ledger_within_one_intervals_energy(
    site_loop: LoopThread, loads: list[tuple[int, int]], price: int, minutes: int
) -> None:
    h = Home(site_loop, class_percent=0, interval_min=minutes)
    h.loop.call(h.meter.set_customer, OWN)
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.after(3600)
    h.send(
        MessageCode.PREPAYMENT,
        2,
        balance_cents=100_000,
        price_millicents_per_kwh=price,
        credit_wh=10**9,
        at_zero=AtZero.DISCONNECT,
    )
    h.after(0.5)
    begun = h.meter.reading().delivered_wh
    most = 1200
    for watts, seconds in loads:
        h.draw(watts)
        most = max(most, watts)
        h.after(seconds)
        used_kwh = (h.meter.reading().delivered_wh - begun) / 1000
        exact = 100_000 - used_kwh * price / 1000
        interval = most / 1000 * minutes / 60 * price / 1000
        assert exact - 1 <= h.meter.account().balance_cents <= exact + interval + 1
    site_loop.run(h.clock.close())
