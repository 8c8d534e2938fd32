"""Commands stored in a meter beforehand, each carried out by itself when its trigger comes (our profile).

Moments go by the meter's own clock. What fell due while the meter had no supply is done when it is back: of a command that
comes again and again, the last time alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drivers.errors import Refused
from drivers.roles import EventCode
from drivers.wire.meter_settings import Rule, Trigger
from twins.clock import Clock, Timer
from twins.meters.logbook import Logbook
from twins.meters.timekeeping import OwnClock

_LATE = timedelta(seconds=10)


@dataclass(frozen=True)
class _Stored:
    """A command as it was stored, and when it comes next; None for one that waits for no moment."""

    rule: Rule
    next_at: datetime | None


class Rules:
    """The stored commands of one meter, at most `room` of them. `carry_out` does what one says."""

    def __init__(
        self,
        clock: Clock,
        own: OwnClock,
        log: Logbook,
        *,
        room: int,
        carry_out: Callable[[Rule], None],
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._own = own
        self._log = log
        self._room = room
        self._carry_out = carry_out
        self._defects = defects
        self._stored: list[_Stored] = []
        self._timer: Timer | None = None
        self._alive = False

    def stored(self) -> tuple[Rule, ...]:
        """Commands still to come; `at` is the next moment of those that come again and again."""
        return tuple(replace(stored.rule, at=stored.next_at) for stored in self._stored)

    def store(self, rules: Sequence[Rule]) -> None:
        """Take these in the place of what is stored. Refused where there is no room, or the moment of one is past."""
        if len(rules) > self._room:
            raise Refused(f"{len(rules)} stored commands: there is room for {self._room}")
        now = self._own.now()
        for rule in rules:
            if rule.at is not None and rule.at < now and rule.every is None:
                raise Refused(f"rule {rule.rule_id}: {rule.at} is past")
        self._stored = [
            _Stored(rule, _after(rule, now) if rule.at is not None and rule.at < now else rule.at) for rule in rules
        ]
        self.due()

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply."""
        self._alive = alive
        self.due()

    def zero(self) -> None:
        """The prepaid balance has reached zero."""
        for stored in self._stored:
            if stored.rule.trigger is Trigger.ZERO:
                self._run(stored.rule)

    def due(self) -> None:
        """Carry out the commands whose moment has come, in order, and wait for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._alive:
            return
        now = self._own.now()
        come: list[tuple[datetime, Rule]] = []
        coming: list[_Stored] = []
        for stored in self._stored:
            rule, at = stored.rule, stored.next_at
            if at is None or at > now:
                # A clock that was set back makes a time come again that was passed over.
                coming.append(stored if rule.every is None else _Stored(rule, _after(rule, now)))
                continue
            come.append((at, rule))
            if rule.every is not None:
                coming.append(_Stored(rule, _after(rule, now)))
        self._stored = coming
        for _, rule in sorted(come, key=lambda pair: pair[0]):
            self._run(rule)
        ahead = [stored.next_at for stored in self._stored if stored.next_at is not None]
        at = self._own.bench_time(min(ahead)) if ahead else None
        if at is not None:
            late = _LATE if "stored_commands_ten_seconds_late" in self._defects else timedelta(0)
            self._timer = self._clock.call_at(at + late, self.due)

    def _run(self, rule: Rule) -> None:
        if "ignores_stored_commands" in self._defects:
            return
        self._log.write(EventCode.RULE_CARRIED_OUT, rule.rule_id)
        self._carry_out(rule)


def _after(rule: Rule, now: datetime) -> datetime:
    """The first moment of a recurring rule after now."""
    assert rule.at is not None
    assert rule.every is not None
    return rule.at if rule.at > now else rule.at + ((now - rule.at) // rule.every + 1) * rule.every
