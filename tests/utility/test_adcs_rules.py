"""Rules of the ADCS: by schedule, class and weather; what they hold back is kept, replaced, carried out or made idle."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import EventCode, MessageCode, Switch
from tests.utility.conftest import METER, Town, config
from twins.utility.adcs import Request
from twins.utility.adcs_records import State
from twins.utility.adcs_rules import RuleAct
from twins.utility.errors import NotAccepted, Reason

Towns = Callable[..., Town]
HEAT = {"name": "heat", "above_c": 38.0, "hold": ("disconnect",), "instead_limit_w": 1_500}


def submit(here: Town, code: MessageCode, **fields: Any) -> int:
    return here.ask(here.utility.adcs.submit, Request("CSS", METER, code, **fields))


def weather(here: Town, celsius: float) -> None:
    here.ask(here.utility.told_weather.report, celsius)


def state(here: Town, message_id: int) -> State:
    return here.ask(here.utility.adcs.message, message_id).state


def acts(here: Town) -> list[RuleAct]:
    return [entry.act for entry in here.ask(here.utility.adcs.rules.log, METER)]


def events(here: Town, *wanted: EventCode) -> list[EventCode]:
    return [e.event for e in here.meter.log() if e.event in wanted]


def test_heat_turns_a_disconnect_into_a_limit_until_it_is_over(town: Towns) -> None:
    here = town(service_on=True)
    here.ask(here.utility.adcs.rules.add, **HEAT)
    weather(here, 41.0)
    disconnect = submit(here, MessageCode.DISCONNECT)
    here.after(60)
    assert state(here, disconnect) is State.HELD
    service = here.meter.service()
    assert (service.switch, service.limit_w) == (Switch.CLOSED, 1_500)
    weather(here, 25.0)
    here.after(60)
    service = here.meter.service()
    assert (service.switch, service.limit_w) == (Switch.OPEN, None)
    assert state(here, disconnect) is State.DONE
    assert acts(here) == [RuleAct.BEGAN, RuleAct.HELD, RuleAct.LIMITED, RuleAct.ENDED, RuleAct.LET_GO]


@pytest.mark.parametrize("later", [MessageCode.CONNECT, MessageCode.PREPAYMENT])
def test_a_payment_or_a_connect_makes_a_held_disconnect_idle(town: Towns, later: MessageCode) -> None:
    here = town(service_on=True)
    here.ask(here.utility.adcs.rules.add, **HEAT)
    weather(here, 41.0)
    disconnect = submit(here, MessageCode.DISCONNECT)
    here.after(30)
    if later is MessageCode.CONNECT:
        submit(here, later)
    else:
        here.pay("P-1", 2_000)
    here.after(30)
    weather(here, 25.0)
    here.after(60)
    service = here.meter.service()
    assert (service.switch, service.limit_w) == (Switch.CLOSED, None)
    assert state(here, disconnect) is State.CANCELLED
    assert RuleAct.IDLE in acts(here)
    assert RuleAct.LET_GO not in acts(here)


def test_a_limit_that_never_went_out_needs_no_end(town: Towns) -> None:
    here = town(service_on=True)
    here.ask(here.utility.adcs.rules.add, **HEAT)
    weather(here, 41.0)
    submit(here, MessageCode.DISCONNECT)
    weather(here, 25.0)
    here.after(60)
    assert events(here, EventCode.LIMIT_SET, EventCode.LIMIT_CLEARED, EventCode.SWITCH_OPENED) == [
        EventCode.SWITCH_OPENED
    ]


def test_what_two_rules_hold_waits_for_both(town: Towns) -> None:
    here = town(service_on=True)
    rules = here.utility.adcs.rules
    here.ask(rules.add, **HEAT)
    end = here.clock.now() + timedelta(hours=2)
    here.ask(rules.add, name="holiday", ends_at=end, hold=("disconnect",))
    weather(here, 41.0)
    disconnect = submit(here, MessageCode.DISCONNECT)
    here.after(30)
    weather(here, 20.0)
    here.after(3_600)
    assert state(here, disconnect) is State.HELD
    here.after(3_600)
    assert state(here, disconnect) is State.DONE
    assert here.ask(rules.in_force, METER) == ()


def test_daily_hours_are_local_and_may_pass_midnight(town: Towns) -> None:
    """The clock starts on Monday at 00:00 in Los Angeles."""
    here = town(service_on=True)
    rule = {"name": "night", "daily_from": time(22), "daily_to": time(6), "days": (0, 1)}
    here.ask(here.utility.adcs.rules.add, **rule, begin="limit", limit_w=2_000, end="restore")
    log = lambda: [  # noqa: E731
        (e.act, (e.at - start).total_seconds() / 3_600) for e in here.ask(here.utility.adcs.rules.log)
    ]
    start = here.clock.now()
    assert log() == []  # the night of Sunday to Monday began on a Sunday
    here.after(4 * 86_400)
    began, ended = RuleAct.BEGAN, RuleAct.ENDED
    assert log() == [(began, 22.0), (ended, 30.0), (began, 46.0), (ended, 54.0)]
    assert (
        events(here, EventCode.LIMIT_SET, EventCode.LIMIT_CLEARED)
        == [
            EventCode.LIMIT_SET,
            EventCode.LIMIT_CLEARED,
        ]
        * 2
    )


def test_a_rule_is_for_the_classes_that_it_names(town: Towns) -> None:
    here = town(service_on=True)
    rules = here.utility.adcs.rules
    here.ask(rules.add, name="shops", classes=("commercial",), begin="disconnect")
    here.ask(rules.add, name="homes", classes=("residential",), begin="limit", limit_w=2_000)
    here.after(60)
    assert here.ask(rules.in_force, METER) == ("homes",)
    service = here.meter.service()
    assert (service.switch, service.limit_w) == (Switch.CLOSED, 2_000)


def test_planned_commands_and_those_of_rules_are_held_back_too(town: Towns) -> None:
    here = town(service_on=True)
    here.ask(here.utility.adcs.rules.add, **HEAT)
    weather(here, 41.0)
    due = here.clock.now() + timedelta(seconds=60)
    here.ask(here.utility.adcs.commands.plan, Request("CSS", METER, MessageCode.DISCONNECT), due)
    here.after(120)
    assert here.meter.service().switch is Switch.CLOSED
    here.ask(here.utility.adcs.rules.add, name="debt", begin="disconnect")
    here.after(60)
    assert here.meter.service().switch is Switch.CLOSED
    here.ask(here.utility.adcs.rules.drop, "heat")
    here.after(60)
    assert here.meter.service().switch is Switch.OPEN
    assert len(events(here, EventCode.SWITCH_OPENED)) == 1  # the later one had made the first idle


def test_a_restart_finds_rules_and_what_they_hold(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db", service_on=True)
    end = here.clock.now() + timedelta(hours=1)
    here.ask(here.utility.adcs.rules.add, name="holiday", ends_at=end, hold=("disconnect",), instead_limit_w=1_000)
    disconnect = submit(here, MessageCode.DISCONNECT)
    here.after(60)
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(600)
    assert state(here, disconnect) is State.HELD
    assert acts(here).count(RuleAct.BEGAN) == 1
    here.loop.run(here.utility.close())
    here.after(3_600)  # the rule ends while the ADCS is down
    here.utility = here.found()
    here.after(60)
    assert state(here, disconnect) is State.DONE
    service = here.meter.service()
    assert (service.switch, service.limit_w) == (Switch.OPEN, None)


def test_rules_and_weather_of_the_bench_file(town: Towns) -> None:
    foreseen = [
        {"at": "2026-01-05T09:00:00Z", "temperature_c": -20},
        {"at": "2026-01-05T10:00:00Z", "temperature_c": 5},
    ]
    frost = {"name": "frost", "below_c": -15, "hold": ["disconnect"]}
    here = town(service_on=True, adcs={"rules": [frost]}, weather=foreseen)
    here.after(3_600)
    disconnect = submit(here, MessageCode.DISCONNECT)
    here.after(3_500)
    assert state(here, disconnect) is State.HELD
    here.after(200)
    assert state(here, disconnect) is State.DONE
    with pytest.raises(NotAccepted, match="bench file"):
        here.ask(here.utility.adcs.rules.drop, "frost")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"hold": ()}, Reason.RULE_NOT_POSSIBLE),
        ({"hold": ("text",)}, Reason.RULE_NOT_POSSIBLE),
        ({"hold": ("connect",), "instead_limit_w": 5}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "limit"}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "end": "limit"}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "daily_from": time(5)}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "days": (1,)}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "classes": ("nobility",)}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "wind": 9}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "name": "known"}, Reason.RULE_NOT_POSSIBLE),
        ({"begin": "connect", "starts": 60, "ends": 60}, Reason.END_BEFORE_START),
        ({"begin": "connect", "ends": -60}, Reason.IN_THE_PAST),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_one_line(town: Towns, rule: dict[str, Any], reason: Reason) -> None:
    here = town()
    rules = here.utility.adcs.rules
    here.ask(rules.add, name="known", hold=("connect",), above_c=50)
    for key in ("starts", "ends"):
        if key in rule:
            rule[f"{key}_at"] = here.clock.now() + timedelta(seconds=rule.pop(key))
    with pytest.raises(NotAccepted) as no:
        here.ask(rules.add, **{"name": "new", **rule})
    assert no.value.reason is reason
    assert "\n" not in str(no.value)
    assert len(here.ask(rules.all)) == 1


def test_a_rule_that_nobody_knows_cannot_be_dropped(town: Towns) -> None:
    here = town()
    with pytest.raises(NotAccepted) as no:
        here.ask(here.utility.adcs.rules.drop, "none")
    assert no.value.reason is Reason.UNKNOWN_RULE


def test_rules_of_one_name_in_a_bench_file_are_refused() -> None:
    rule = {"name": "twice", "hold": ["connect"]}
    with pytest.raises(ValueError, match="twice"):
        config(adcs={"rules": [rule, rule]})
