"""The meter under test itself: loading its service, configuring it, pressing its buttons, handing it messages at its port.

What the keywords of the meter's own requirements have in common; it checks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bench.measure import POLL_S, UPDATE_S
from bench.prepaying import Prepaying, next_mark
from drivers.roles import Billing, EventCode, LogEntry, MessageCode, MeterMessage
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, Rule, Trigger

PRESS_S = 0.5
SETTLE_S = 2.0
_REPEATED_S = 300.0
"""By then a message that was lost has been sent again, and its receipt is there."""
LOOK_S = 2.5
"""How often it is looked whether current flows at all: more often than a switch that has re-closed can trip again."""


class AtTheMeter(Prepaying):
    """The prepaying customer's meter with the bench's load behind it. `load` and `relay` name devices of the bench file, the
    relay's `reclose_channel` presses the meter's button."""

    def __init__(
        self, bench: Any, meter: str = "meter", *, load: str = "load", relay: str = "relay", reclose_channel: int = 3
    ) -> None:
        super().__init__(bench, meter)
        self._load = load
        self._relay = relay
        self._channel = reclose_channel

    # --- load and buttons ----------------------------------------------------------------------------------------------

    @property
    def nominal_w(self) -> float:
        """What the service carries at the test current, by the PIXIT."""
        return float(self.pixit("test_current_a")) * float(self.pixit("nominal_voltage_v"))

    def draw(self, watts: float) -> None:
        """Have the bench's load draw a power."""
        self.bench.device(self._load).set_power(watts)

    def press_reclose(self) -> None:
        """A bench relay presses the meter's button, as the customer would."""
        self.bench.device(self._relay).pulse(self._channel, PRESS_S)

    def flows_within(self, seconds: float) -> bool:
        """Whether the analyzer sees current at any time in so many seconds; they pass to the end where it sees none."""
        until = self.bench.now + timedelta(seconds=seconds)
        while self.bench.now < until:
            if self.service.flows().value:
                return True
            self.bench.advance(LOOK_S)
        return False

    def flows_throughout(self, seconds: float) -> bool:
        """Whether the analyzer sees current all the time for so many seconds, asked as often as it makes readings."""
        self.service.analyzer.set_update_period(UPDATE_S)
        self.bench.advance(UPDATE_S)
        until, always = self.bench.now + timedelta(seconds=seconds), True
        while self.bench.now < until:
            always = bool(self.service.flows().value) and always
            self.bench.advance(POLL_S)
        return always

    # --- configuring -----------------------------------------------------------------------------------------------------

    def set_steps(self, capacity_w: int, percents: Sequence[int]) -> LimitSteps:
        """Configure rated capacity and limit steps."""
        steps = LimitSteps(capacity_w, tuple(percents))
        self.meter.set_limit_steps(steps)
        return steps

    def store_commands(self, *rules: Rule) -> None:
        """Store commands in the place of those that are stored."""
        self.meter.set_rules(rules)

    def in_turn(self, start: datetime, apart: timedelta, *actions: tuple[LoadControl, int | None]) -> list[Rule]:
        """Commands for the meter's clock at `start` (bench time) and so much apart."""
        ahead = self.ahead_by()
        return [
            Rule(n, Trigger.TIME, action, argument, start + ahead + (n - 1) * apart)
            for n, (action, argument) in enumerate(actions, 1)
        ]

    def set_language(self, language: Language) -> None:
        """The customer's language at the meter; who works out the balance stays as it is."""
        self.meter.set_customer(CustomerSettings(language, self.meter.customer().own_balance))

    def work_out_balance(self, own: bool) -> None:
        """Whether the meter works out the balance between messages; the language stays as it is."""
        self.meter.set_customer(CustomerSettings(self.meter.customer().language, own))

    def as_before(self) -> None:
        """Take back what a test has configured, as far as this meter has it: stored commands, priorities, settings, load."""
        if self.has_switch:
            self.meter.set_rules([])
        self.meter.set_message_priorities({})
        self.meter.set_customer(CustomerSettings())
        self.bench.strategy.power_load()
        for event in self.meter.schedule():
            self.hand_over(MessageCode.CANCEL_SCHEDULE, event_id=event.event_id)

    @property
    def has_switch(self) -> bool:
        """Whether the meter is declared to have a service switch."""
        return bool(self.bench.pics()["Meter"].supports("service_switch"))

    # --- messages at the meter's port --------------------------------------------------------------------------------

    def write(self, code: MessageCode, **fields: Any) -> int:
        """Hand a message to the meter at its port, past the head-end; returns its id, which no other message has."""
        message_id = int(self.ask(self.adcs.new_message_id))
        self.meter.send(MeterMessage(message_id, code, self.bench.now, **fields))
        return message_id

    def hand_over(self, code: MessageCode, **fields: Any) -> int:
        """`write`, and wait for the receipt at most a minute."""
        message_id = self.write(code, **fields)
        until = self.bench.now + timedelta(minutes=1)
        while self.receipt(message_id) is None and self.bench.now < until:
            self.bench.advance(1.0)
        return message_id

    def events_since(self, start: datetime, *wanted: EventCode, of: Any = None) -> list[LogEntry]:
        """Log entries of these kinds since a moment of bench time; `of` is the meter's driver unless the model is given."""
        since = start + self.ahead_by()
        return [e for e in (of or self.meter).log() if e.event in wanted and e.at >= since]

    # --- intervals and billing -------------------------------------------------------------------------------------------

    def next_mark(self) -> datetime:
        """The end of the running interval, in bench time."""
        ahead = self.ahead_by()
        return next_mark(self.bench.now + ahead, self.interval) - ahead

    def until_moment(self, moment: datetime) -> None:
        """Let bench time pass until a moment; one that is past is now."""
        self.bench.advance(max(0.0, (moment - self.bench.now).total_seconds()))

    def bill(self, billing: Billing) -> None:
        """See that the meter bills like this, whatever it did before."""
        if self.meter.service().billing is not billing:
            self.send(MessageCode.BILLING, billing=billing)
            self.until_moment(self.next_mark() + timedelta(seconds=SETTLE_S))

    def past_the_daily_balance(self, span: timedelta) -> None:
        """See that the back office's daily balance does not come within the next `span`: let it come first."""
        local = self.bench.now.astimezone(self.bench.config.utility.zone)
        due = local.replace(hour=int(self.stated("daily_balance_at")), minute=0, second=0, microsecond=0)
        if due < local:
            due += timedelta(days=1)
        if due - local < span:
            self.bench.advance((due - local).total_seconds() + SETTLE_S)
            self.until_quiet(_REPEATED_S)  # the network may lose it, and the head-end sends it once more

    def refresh(self, cents: int, **fields: Any) -> int:
        """A refreshed balance through the head-end; returns the message's id."""
        given = self.balance_message(cents, timedelta(hours=max(0, cents) // 10))
        return self.send(MessageCode.BALANCE, **{**given, **fields})
