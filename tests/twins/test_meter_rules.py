"""Commands stored in a meter beforehand, and limits, events and re-closes under whatever comes in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import OutOfRange, Refused
from drivers.roles import Billing, EventCode, MessageCode, ReceiptStatus, Switch
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import LimitSteps, Rule, Trigger
from tests.conftest import LoopThread
from tests.twins.homes import START, Home, Make, schedule
from twins.clock import SteppedClock
from twins.meters.logbook import Logbook
from twins.meters.rules import Rules
from twins.meters.timekeeping import OwnClock

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(
    hours: float, action: LoadControl, argument: int | None = None, number: int = 1, every: timedelta | None = None
) -> Rule:
    return Rule(number, Trigger.TIME, action, argument, START + timedelta(hours=hours), every)


def store(h: Home, *rules: Rule) -> None:
    h.loop.call(h.meter.set_rules, rules)


def carried_out(h: Home) -> list[tuple[int, float]]:
    """Ids and hours of what was carried out."""
    return [(e.argument, (e.at - START) / HOUR) for e in h.events(EventCode.RULE_CARRIED_OUT)]


def test_each_action_is_carried_out_at_its_moment_and_gone_afterwards(home: Make) -> None:
    h = home()
    store(
        h,
        at(1, LoadControl.DISCONNECT, number=1),
        at(2, LoadControl.CONNECT, number=2),
        at(3, LoadControl.LIMIT, 3000, number=3),
        at(4, LoadControl.LIMIT_STEP, 2, number=4),
        at(5, LoadControl.END_LIMIT, number=5),
    )
    seen = []
    for _ in range(5):
        status = h.after(3600).service()
        seen.append((status.switch, status.limit_w, len(h.meter.rules())))
    assert seen == [
        (Switch.OPEN, None, 4),
        (Switch.CLOSED, None, 3),
        (Switch.CLOSED, 3000, 2),
        (Switch.CLOSED, 3600, 1),
        (Switch.CLOSED, None, 0),
    ]
    assert carried_out(h) == [(n, n) for n in range(1, 6)]


def test_a_daily_command_comes_every_day_until_it_is_taken_out(home: Make) -> None:
    h = home()
    store(h, at(1, LoadControl.LIMIT, 3000, 1, DAY), at(5, LoadControl.END_LIMIT, None, 2, DAY))
    h.after(49 * 3600)
    assert carried_out(h) == [(1, 1), (2, 5), (1, 25), (2, 29), (1, 49)]
    assert [(r.rule_id, (r.at - START) / HOUR) for r in h.meter.rules() if r.at] == [(1, 73), (2, 53)]
    store(h)
    h.after(48 * 3600)
    assert len(carried_out(h)) == 5


def test_a_recurring_command_whose_first_moment_is_past_comes_at_its_next(home: Make) -> None:
    h = home()
    store(h, at(-50, LoadControl.DISCONNECT, every=DAY))
    h.after(30 * 3600)
    assert carried_out(h) == [(1, 22)]


def test_what_fell_due_without_supply_is_done_when_it_is_back_the_last_time_alone(home: Make) -> None:
    h = home()
    store(h, at(1, LoadControl.LIMIT, 3000, 1, HOUR), at(1.5, LoadControl.DISCONNECT, number=2))
    h.supply(False)
    h.after(5.25 * 3600)
    assert carried_out(h) == []
    h.supply(True)
    assert carried_out(h) == [(1, 5.25), (2, 5.25)]
    assert h.meter.service().switch is Switch.OPEN
    h.after(0.75 * 3600)
    assert carried_out(h)[2:] == [(1, 6)]


def test_they_go_by_the_meters_own_clock_also_when_it_is_set(home: Make) -> None:
    h = home(clock_offset_s=-600)
    store(h, at(1, LoadControl.DISCONNECT, every=DAY))
    assert h.after(3600).service().switch is Switch.CLOSED
    h.loop.call(h.meter.set_clock, h.clock.now())
    assert h.meter.service().switch is Switch.OPEN
    h.loop.call(h.meter.connect)
    h.loop.call(h.meter.set_clock, START)  # set back: the hour comes again
    assert h.after(3600).service().switch is Switch.OPEN


def test_at_zero_the_stored_command_is_carried_out_once_each_time(home: Make) -> None:
    h = home()
    store(h, Rule(7, Trigger.ZERO, LoadControl.LIMIT, 2000))
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.after(3600)
    for number, cents in enumerate((500, 0, -20, 800, 0), 2):
        h.send(MessageCode.BALANCE, number, balance_cents=cents, credit_wh=0, time_left=timedelta(0))
        h.after(60)
    assert [hours for _, hours in carried_out(h)] == pytest.approx([1 + 60.5 / 3600, 1 + 240.5 / 3600])
    assert h.meter.service().limit_w == 2000
    assert len(h.events(EventCode.ZERO_REACHED)) == 2
    assert h.meter.rules() == (Rule(7, Trigger.ZERO, LoadControl.LIMIT, 2000),)


def test_regular_billing_knows_no_zero(home: Make) -> None:
    h = home()
    store(h, Rule(7, Trigger.ZERO, LoadControl.DISCONNECT))
    h.send(MessageCode.BALANCE, 1, balance_cents=-5, credit_wh=0, time_left=timedelta(0))
    assert h.after(60).service().switch is Switch.CLOSED
    h.send(MessageCode.BILLING, 2, billing=Billing.PREPAID)
    assert h.after(3600).service().switch is Switch.OPEN


def test_what_cannot_be_stored_is_refused_and_nothing_changes(home: Make) -> None:
    h = home(rule_capacity=1)
    store(h, at(1, LoadControl.DISCONNECT))
    with pytest.raises(Refused, match="room for 1"):
        store(h, at(1, LoadControl.CONNECT), at(2, LoadControl.CONNECT, number=2))
    with pytest.raises(Refused, match="past"):
        store(h, at(-1, LoadControl.CONNECT))
    with pytest.raises(OutOfRange, match="limit step 9"):
        store(h, at(1, LoadControl.LIMIT_STEP, 9))
    assert h.meter.rules() == (at(1, LoadControl.DISCONNECT),)


def test_steps_are_shares_of_the_capacity_and_a_limit_in_force_stays(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit_step, 1)
    assert h.meter.service().limit_w == 4320
    h.loop.call(h.meter.set_limit_steps, LimitSteps(1001, (50,)))
    assert h.meter.service().limit_w == 4320
    h.loop.call(h.meter.limit_step, 1)
    assert h.meter.service().limit_w == 500
    with pytest.raises(OutOfRange, match="there are 1"):
        h.loop.call(h.meter.limit_step, 2)


# --- Whatever comes --------------------------------------------------------------------------------------------------


class Alone:
    """Stored commands with nothing around them."""

    def __init__(self) -> None:
        self.clock = SteppedClock(START)
        self.done: list[tuple[int, datetime]] = []
        own = OwnClock(self.clock)
        self.rules = Rules(
            self.clock,
            own,
            Logbook(own, 10_000),
            room=100,
            carry_out=lambda rule: self.done.append((rule.rule_id, own.now())),
            defects=frozenset(),
        )
        self.rules.power(True)


minutes = st.integers(1, 600)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(minutes, st.none() | minutes), max_size=8), st.lists(minutes, max_size=6))
def test_every_command_is_carried_out_at_each_of_its_moments_and_at_no_other(
    site_loop: LoopThread, given_rules: list[tuple[int, int | None]], steps: list[int]
) -> None:
    alone = site_loop.call(Alone)
    rules = [
        Rule(
            number,
            Trigger.TIME,
            LoadControl.CONNECT,
            None,
            START + timedelta(minutes=first),
            None if every is None else timedelta(minutes=every),
        )
        for number, (first, every) in enumerate(given_rules)
    ]
    site_loop.call(alone.rules.store, rules)
    for step in steps:
        site_loop.run(alone.clock.advance(step * 60))
    passed = sum(steps)
    should = []
    for number, (first, every) in enumerate(given_rules):
        moments = range(first, passed + 1, every) if every else ([first] if first <= passed else [])
        should += [(number, START + timedelta(minutes=minute)) for minute in moments]
    assert sorted(alone.done) == sorted(should)
    assert [moment for _, moment in alone.done] == sorted(moment for _, moment in should)
    site_loop.run(alone.clock.close())


acts = st.sampled_from(["limit", "restore", "connect", "disconnect", "press", "more", "less", "wait", "wait long"])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(acts, max_size=25))
def test_it_recloses_by_itself_at_most_once_for_each_limit_that_is_set(site_loop: LoopThread, what: list[str]) -> None:
    h = Home(site_loop, class_percent=0)
    for act in what:
        if act == "limit":
            h.loop.call(h.meter.limit, 1000)
        elif act == "restore":
            h.loop.call(h.meter.limit, None)
        elif act in ("connect", "disconnect"):
            h.loop.call(getattr(h.meter, act))
        elif act == "press":
            h.loop.call(h.meter.press, "reclose")
        elif act in ("more", "less"):
            h.draw(1500 if act == "more" else 500)
        h.after(300 if act == "wait long" else 20)
    armed = owed = False
    for entry in h.events():
        if entry.event is EventCode.LIMIT_SET:
            armed = True  # by a command that changes the limit, even where one set before has tripped
        elif entry.event is EventCode.LIMIT_TRIPPED:
            armed, owed = False, armed
        elif entry.event is EventCode.RECLOSED:
            assert owed, "re-closed by itself after a trip with no new limit since the one before"
            owed = False
        elif entry.event is EventCode.MANUAL_RECLOSE:
            owed = False  # keeps the limit, arms nothing
    status = h.meter.service()
    assert status.energised is (status.switch is Switch.CLOSED)
    if status.switch is Switch.TRIPPED:
        assert status.limit_w == 1000
    site_loop.run(h.clock.close())


spans = st.tuples(st.integers(1, 40), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(spans, max_size=8), st.booleans())
def test_of_any_events_the_first_are_kept_and_the_service_is_on_in_them_and_as_before_outside(
    site_loop: LoopThread, events: list[tuple[int, int]], on_before: bool
) -> None:
    h = Home(site_loop)
    if not on_before:
        h.loop.call(h.meter.disconnect)
    kept: list[tuple[int, int]] = []
    for number, (begin, end) in enumerate(events, 1):
        overlaps = any(begin < e and b < end for b, e in kept)
        schedule(h, number, 100 + number, begin, end)
        h.after(1)
        assert h.statuses()[-1] is (ReceiptStatus.OVERLAP if overlaps else ReceiptStatus.PROCESSED)
        if not overlaps:
            kept.append((begin, end))
    assert [e.starts_at for e in h.meter.schedule()] == [START + begin * HOUR for begin, _ in sorted(kept)]
    h.after(1800 - len(events))
    for half in range(1, 55):
        inside = any(begin < half + 0.5 < end for begin, end in kept)
        h.after(3600)
        assert h.meter.service().energised is (inside or on_before), half
    assert h.meter.service().billing is Billing.REGULAR
    site_loop.run(h.clock.close())


def test_moments_far_away_do_no_harm(home: Make) -> None:
    h = home()
    store(h, Rule(1, Trigger.TIME, LoadControl.DISCONNECT, None, datetime(9999, 12, 31, tzinfo=UTC), timedelta(days=1)))
    assert h.after(10 * 86400).service().switch is Switch.CLOSED
