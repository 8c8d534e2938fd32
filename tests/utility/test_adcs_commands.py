"""Commands of the ADCS for a moment to come: they go when they are due, are moved, are taken back, and survive a restart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import EventCode, MessageCode, Switch
from tests.utility.conftest import METER, Town
from twins.utility.adcs import Request
from twins.utility.adcs_commands import CommandState
from twins.utility.errors import NotAccepted, Reason

Towns = Callable[..., Town]


def plan(here: Town, code: MessageCode, seconds: float, **fields: Any) -> int:
    due = here.clock.now() + timedelta(seconds=seconds)
    return here.ask(here.utility.adcs.commands.plan, Request("suite", METER, code, **fields), due)


def switched(here: Town, event: EventCode) -> list[float]:
    """When the meter executed something, in seconds since the clock's start."""
    return [(e.at - here.born).total_seconds() for e in here.meter.log() if e.event is event]  # type: ignore[attr-defined]


@pytest.fixture
def here(town: Towns) -> Town:
    made = town(service_on=True)
    made.born = made.clock.now()  # type: ignore[attr-defined]
    return made


def test_a_planned_command_goes_when_it_is_due(here: Town) -> None:
    command = plan(here, MessageCode.DISCONNECT, 600)
    here.after(599)
    assert here.meter.service().switch is Switch.CLOSED
    here.after(10)
    (at,) = switched(here, EventCode.SWITCH_OPENED)
    assert 600 < at < 604
    (known,) = here.ask(here.utility.adcs.commands.all, METER)
    assert (known.command_id, known.state) == (command, CommandState.SENT)
    assert here.ask(here.utility.adcs.message, known.message_id).message.code is MessageCode.DISCONNECT


def test_a_command_is_moved_both_ways_and_taken_back(here: Town) -> None:
    commands = here.utility.adcs.commands
    later, sooner = plan(here, MessageCode.DISCONNECT, 60), plan(here, MessageCode.CONNECT, 1_000)
    never = plan(here, MessageCode.LIMIT, 100, limit_w=500)
    here.ask(commands.replan, later, here.clock.now() + timedelta(seconds=300))
    here.ask(commands.replan, sooner, here.clock.now() + timedelta(seconds=400))
    here.ask(commands.cancel, never)
    here.after(1_200)
    (opened,), (closed,) = switched(here, EventCode.SWITCH_OPENED), switched(here, EventCode.SWITCH_CLOSED)
    assert 300 < opened < 304
    assert 400 < closed < 404
    assert switched(here, EventCode.LIMIT_SET) == []
    assert [c.state for c in here.ask(commands.all)] == [CommandState.CANCELLED, CommandState.SENT, CommandState.SENT]


def test_what_cannot_be_planned_is_refused_in_one_line(here: Town) -> None:
    commands = here.utility.adcs.commands
    done, gone = plan(here, MessageCode.CONNECT, 5), plan(here, MessageCode.CONNECT, 50)
    here.ask(commands.cancel, gone)
    here.after(10)
    soon = here.clock.now() + timedelta(seconds=60)
    refused: list[tuple[Reason, Callable[[], object]]] = [
        (Reason.IN_THE_PAST, lambda: plan(here, MessageCode.CONNECT, 0)),
        (Reason.NOT_PLANNABLE, lambda: plan(here, MessageCode.TEXT, 60, text="no")),
        (Reason.INCOMPLETE_REQUEST, lambda: plan(here, MessageCode.LIMIT, 60)),
        (
            Reason.UNKNOWN_METER,
            lambda: here.ask(commands.plan, Request("suite", "X-9", MessageCode.CONNECT), soon),
        ),
        (Reason.UNKNOWN_COMMAND, lambda: here.ask(commands.cancel, 99)),
        (Reason.UNKNOWN_COMMAND, lambda: here.ask(commands.replan, 99, soon)),
        (Reason.IN_THE_PAST, lambda: here.ask(commands.replan, done, here.clock.now())),
        (Reason.NOT_PLANNED, lambda: here.ask(commands.replan, done, soon)),
        (Reason.NOT_PLANNED, lambda: here.ask(commands.cancel, gone)),
    ]
    for reason, call in refused:
        with pytest.raises(NotAccepted) as no:
            call()
        assert no.value.reason is reason
        assert "\n" not in str(no.value)


def test_the_plan_survives_a_restart_and_what_fell_due_meanwhile_goes_once(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db", service_on=True)
    here.born = here.clock.now()  # type: ignore[attr-defined]
    plan(here, MessageCode.DISCONNECT, 60)
    plan(here, MessageCode.CONNECT, 600)
    taken_back = plan(here, MessageCode.DISCONNECT, 700)
    here.ask(here.utility.adcs.commands.cancel, taken_back)
    here.loop.run(here.utility.close())
    here.after(120)
    here.utility = here.found()
    here.after(10)
    (opened,) = switched(here, EventCode.SWITCH_OPENED)
    assert 120 < opened < 124
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(900)
    assert len(switched(here, EventCode.SWITCH_OPENED)) == 1
    (closed,) = switched(here, EventCode.SWITCH_CLOSED)
    assert 600 < closed < 604
