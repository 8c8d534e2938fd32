"""What a suite does with the head-end and how it watches it: plans, rules, alerts, a network that fails, a display that shows.

Thin above the bench: it acts through the ADCS's own interface, as another system of the utility, and watches at the meter, the
analyzer and the display.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bench.bench import Bench
from bench.prepaying import Prepaying
from drivers.roles import EventCode, MessageCode
from twins.utility.adcs_alerts import AlertRequest
from twins.utility.adcs_commands import CommandState
from twins.utility.adcs_records import Direction, Request
from twins.utility.errors import NotAccepted

SOURCE = "CSS"
MILD_C = 20.0
POLL_S = 5.0
"""How often the display is looked at while repetitions of an alert are counted."""


@dataclass(frozen=True)
class Sighting:
    """A text that the display began to show: when it was first seen, and the id of its message."""

    at: datetime
    message_id: int


class HeadEnd(Prepaying):
    """The head-end in front of the first account's meter. `display` names the display device in the bench file."""

    def __init__(self, bench: Bench, meter: str = "meter", display: str = "display") -> None:
        super().__init__(bench, meter)
        self.display_name = display

    @property
    def display(self) -> Any:
        """The driver of the display device."""
        return self.bench.device(self.display_name)

    @property
    def latency_s(self) -> float:
        """What the network may add from a moment of the ADCS's to the meter: there and back, after an exchange that was
        under way."""
        network = self.bench.config.utility.network
        return 4 * float(network.latency_s + network.jitter_s)

    @property
    def sighting_doubt_s(self) -> float:
        """By how much the time between two sightings may differ from that between two messages: each is seen by the next look."""
        return POLL_S + self.latency_s

    # --- acting --------------------------------------------------------------------------------------------------------

    def plan(self, code: MessageCode, after: timedelta, **fields: Any) -> tuple[int, datetime]:
        """Plan a command; its id, and the moment for which it is planned."""
        due = self.bench.now + after
        request = Request(source=SOURCE, meter_id=self.meter_id, code=code, **fields)
        return int(self.ask(self.adcs.commands.plan, request, due)), due

    def alert(self, text: str, **fields: Any) -> int:
        """Ask for an alert to the meter."""
        return int(self.ask(self.adcs.alerts.request, AlertRequest(SOURCE, self.meter_id, text, **fields)))

    def rule(self, name: str, **fields: Any) -> None:
        """Give the ADCS a rule."""
        self.ask(self.adcs.rules.add, name=name, **fields)

    def weather(self, celsius: float) -> None:
        """Let the weather service say a temperature."""
        self.ask(self.bench.utility.told_weather.report, celsius)

    def cut(self) -> None:
        """Take the meter off the AMI network."""
        self.ask(self.bench.utility.network.cut, self.meter_id)

    def mend(self) -> None:
        """Put the meter back on it."""
        self.ask(self.bench.utility.network.mend, self.meter_id)

    def cut_once_taken(self, message_id: int, within_s: float) -> bool:
        """Take the meter off the network as soon as it has taken a message, before its answer is through."""
        network, meter_id = self.bench.utility.network, self.meter_id

        def taken() -> bool:
            sends = [args for _, name, what, args in self.bench.taken if (name, what) == (self.meter_name, "send")]
            if not any(args[0].message_id == message_id for args in sends[-20:]):
                return False
            network.cut(meter_id)
            return True

        return self.until(taken, within_s)

    def leave(self) -> None:
        """Undo what a test has set up: rules, weather, alerts, plans, priorities, a network that is cut."""
        self.mend()
        self.weather(MILD_C)
        configured = {rule.name for rule in self.bench.config.utility.adcs.rules}
        for rule in self.ask(self.adcs.rules.all):
            if rule.name not in configured:
                self.ask(self.adcs.rules.drop, rule.name)
        for alert in self.ask(self.adcs.alerts.all):
            with suppress(NotAccepted):
                self.ask(self.adcs.alerts.take_back, alert.alert_id)
        for command in self.ask(self.adcs.commands.all):
            if command.state is CommandState.PLANNED:
                self.ask(self.adcs.commands.cancel, command.command_id)
        for code, priority in self.bench.config.utility.adcs.priorities.items():
            self.ask(self.adcs.priorities.set, code, priority)
        self.bench.advance(10.0)

    # --- watching ------------------------------------------------------------------------------------------------------

    def log_mark(self) -> int:
        """The meter's newest log entry, to begin after."""
        return max((e.sequence for e in self.meter.log()), default=0)

    def arrived(self, after: int, text: str | None = None) -> list[int]:
        """Ids of the messages that the meter received since a mark of its log, in their order; with `text` of those that say
        it, whoever else sends something meanwhile."""
        found = [e.argument for e in self.meter.log(after) if e.event is EventCode.MESSAGE_RECEIVED]
        return found if text is None else [i for i in found if (sent := self.sent(i)) and sent.message.text == text]

    def sendings(self, message_id: int) -> list[datetime]:
        """When the ADCS sent a message, by its own log."""
        return [
            t.at
            for t in self.ask(self.adcs.transactions, self.meter_id)
            if t.direction is Direction.TO_METER and t.message_id == message_id
        ]

    def sightings(self, text: str, watch: timedelta) -> list[Sighting]:
        """Watch the display, and note each message with that text when it is first seen."""
        found: list[Sighting] = []
        until = self.bench.now + watch
        before = self.display.message()
        last = None if before is None else before.message_id
        while self.bench.now < until:
            self.bench.advance(POLL_S)
            shown = self.display.message()
            if shown is not None and shown.text == text and shown.message_id != last:
                last = shown.message_id
                found.append(Sighting(self.bench.now, last))
        return found
