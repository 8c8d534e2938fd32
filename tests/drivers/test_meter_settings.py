"""What a utility configures in a meter: every table comes back as it went, and what makes no sense is refused on both sides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.roles import MessageCode
from drivers.wire import meter_settings as settings
from drivers.wire.c1219 import TableError
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, LocalTime, Rule, Trigger

T0 = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)

times = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
arguments = st.integers(1, 2**32 - 2)
every = st.none() | st.integers(60, 2**32 - 1).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def rules(draw: st.DrawFn, number: int) -> Rule:
    action = draw(st.sampled_from(LoadControl))
    argument = draw(arguments) if action in (LoadControl.LIMIT, LoadControl.LIMIT_STEP) else None
    if draw(st.booleans()):
        return Rule(number, Trigger.ZERO, action, argument)
    return Rule(number, Trigger.TIME, action, argument, draw(times), draw(every))


@given(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=6), st.data())
def test_stored_commands_survive_the_wire(numbers: list[int], data: st.DataObject) -> None:
    stored = tuple(data.draw(rules(number)) for number in numbers)
    assert settings.decode_rules(settings.encode_rules(stored)) == stored


@given(st.dictionaries(st.sampled_from(MessageCode), st.integers(0, 9)))
def test_priorities_survive_the_wire(priorities: dict[MessageCode, int]) -> None:
    assert settings.decode_priorities(settings.encode_priorities(priorities)) == priorities


@given(st.integers(100, 2**32 - 2), st.lists(st.integers(1, 100), max_size=255))
def test_limit_steps_survive_the_wire_and_are_shares_of_the_capacity(capacity: int, percents: list[int]) -> None:
    steps = LimitSteps(capacity, tuple(percents))
    assert LimitSteps.decode(steps.encode()) == steps
    for number, percent in enumerate(percents, 1):
        assert 0 < steps.watts(number) <= capacity
        assert 0 <= capacity * percent / 100 - steps.watts(number) < 1


def test_small_tables_survive_the_wire() -> None:
    for customer in (CustomerSettings(), CustomerSettings(Language.SPANISH, True)):
        assert CustomerSettings.decode(customer.encode()) == customer
    for local in (
        LocalTime(timedelta(hours=-8), T0, timedelta(hours=-7)),
        LocalTime(timedelta(hours=5, minutes=30), None, timedelta(hours=5, minutes=30)),
    ):
        assert LocalTime.decode(local.encode()) == local


@pytest.mark.parametrize(
    "rule",
    [
        Rule(1, Trigger.TIME, LoadControl.CONNECT),
        Rule(1, Trigger.ZERO, LoadControl.CONNECT, at=T0),
        Rule(1, Trigger.ZERO, LoadControl.LIMIT),
        Rule(1, Trigger.ZERO, LoadControl.LIMIT, 0),
        Rule(1, Trigger.ZERO, LoadControl.DISCONNECT, 5),
        Rule(1, Trigger.TIME, LoadControl.CONNECT, at=T0, every=timedelta(seconds=59)),
        Rule(1, Trigger.TIME, LoadControl.CONNECT, at=T0, every=timedelta(minutes=1, milliseconds=1)),
        Rule(2**32, Trigger.ZERO, LoadControl.CONNECT),
    ],
)
def test_a_stored_command_that_makes_no_sense_is_a_table_error(rule: Rule) -> None:
    with pytest.raises(TableError):
        settings.encode_rules([rule])


def test_an_id_stands_once() -> None:
    rule = Rule(1, Trigger.ZERO, LoadControl.CONNECT)
    with pytest.raises(TableError, match="id"):
        settings.encode_rules([rule, rule])
    data = settings.encode_rules([rule])
    with pytest.raises(TableError, match="twice"):
        settings.decode_rules(b"\x02" + data[1:] + data[1:])
    with pytest.raises(TableError, match="twice"):
        settings.decode_priorities(b"\x02\x04\x01\x04\x02")


@pytest.mark.parametrize(
    "steps", [LimitSteps(99, (50,)), LimitSteps(4800, (0,)), LimitSteps(4800, (101,)), LimitSteps(4800, (1,) * 256)]
)
def test_limit_steps_that_are_none_are_a_table_error(steps: LimitSteps) -> None:
    with pytest.raises(TableError):
        steps.encode()


def test_a_step_that_there_is_not_is_a_table_error() -> None:
    for step in (0, 3):
        with pytest.raises(TableError, match="there are 2"):
            LimitSteps(4800, (90, 75)).watts(step)
