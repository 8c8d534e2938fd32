"""A meter's service switch and its demand limit: trip, one automatic re-close, re-close by hand.

The limit holds the average power over a short window. After a trip the switch re-closes by itself once; only a command
that sets or ends the limit arms that again (our profile, after the prepayment use case).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from drivers.roles import EventCode, MessageCode, Switch
from twins.clock import Clock, Timer
from twins.meters.logbook import Logbook
from twins.wiring import Contact

Step = tuple[float, float]
"""(seconds, watts): from that moment on, that power."""


def _mean(steps: Sequence[Step], at: float, window: float) -> float:
    """Mean power over [at - window, at]; the last step goes on for ever."""
    begin, total = at - window, 0.0
    for k, (start, watts) in enumerate(steps):
        end = steps[k + 1][0] if k + 1 < len(steps) else at
        total += watts * max(0.0, min(end, at) - max(start, begin))
    return total / window


def first_excess(steps: Sequence[Step], now: float, window: float, limit: float) -> float | None:
    """When the mean power over the last `window` seconds first exceeds `limit`, if power stays what it is; None for never.

    Only whole windows after the first step count.
    """
    if max(watts for _, watts in steps) <= limit:
        return None
    at = max(now, steps[0][0] + window)
    mean = _mean(steps, at, window)
    if mean > limit:
        return at
    # Between these moments the mean is a straight line: a step leaves the window at each of them.
    for corner in [start + window for start, _ in steps if start + window > at]:
        then = _mean(steps, corner, window)
        if then > limit:
            return at + (limit - mean) / (then - mean) * (corner - at)
        at, mean = corner, then
    return None


class Service:
    """The switch as the meter drives it. `contact` is None where no switch is fitted; `power_w` is the metered power."""

    def __init__(
        self,
        clock: Clock,
        contact: Contact | None,
        log: Logbook,
        *,
        power_w: Callable[[], float],
        window_s: float,
        reclose_s: float,
        limit_w: int | None,
        changed: Callable[[], None],
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self._clock = clock
        self._contact = contact
        self._log = log
        self._power_w = power_w
        self._window_s = window_s
        self._reclose_s = reclose_s
        if "recloses_after_117_seconds" in defects:
            self._reclose_s = 117.0
        elif "recloses_after_123_seconds" in defects:
            self._reclose_s = 123.0
        self._changed = changed
        self._defects = defects
        self._only_limit: int | None = None
        self.position = Switch.NONE if contact is None else Switch.CLOSED if contact.closed else Switch.OPEN
        self.limit_w = limit_w
        self.welded = self.stuck_open = False
        self.trips = 0
        """Trips since the limit was set."""
        self._armed = limit_w is not None
        self._alive = False
        self._since = clock.now()
        self._steps: list[Step] = []
        self._trip_timer: Timer | None = None
        self._reclose_at: datetime | None = None
        self._reclose_timer: Timer | None = None

    @property
    def fitted(self) -> bool:
        """Whether there is a switch at all."""
        return self._contact is not None

    @property
    def reclose_to_come(self) -> bool:
        """Whether the one automatic re-close is still to come."""
        return self._armed or self._reclose_at is not None

    def close(self, code: MessageCode | None = None) -> None:
        """Close the switch. The limit stays, and its re-close is not armed by this."""
        self._go(Switch.CLOSED, EventCode.SWITCH_CLOSED, code)

    def open(self, code: MessageCode | None = None) -> None:
        """Open the switch; nothing re-closes it but a command."""
        self._go(Switch.OPEN, EventCode.SWITCH_OPENED, code)

    def set_limit(self, watts: int | None, code: MessageCode | None = None) -> None:
        """Set the demand limit, or end it: a switch that it had tripped then closes."""
        if watts is None and self.limit_w is None:
            return
        if "one_limit_step" in self._defects and watts is not None:
            self._only_limit = watts = self._only_limit or watts
        self.limit_w = watts
        self._armed = watts is not None
        self.trips = 0
        self._log.write(EventCode.LIMIT_CLEARED if watts is None else EventCode.LIMIT_SET, watts or 0, code)
        if watts is None and self.position is Switch.TRIPPED:
            self.close(code)
        self._restart_window()
        self._changed()

    def press_reclose(self) -> None:
        """The customer's button: closes a switch that the limit tripped, and nothing else."""
        if self.position is not Switch.TRIPPED or "button_does_nothing" in self._defects:
            return
        if "button_lifts_the_limit" in self._defects:
            self.limit_w = None
        if "button_rearms" in self._defects:
            self._armed = True
        self._go(Switch.CLOSED, EventCode.MANUAL_RECLOSE, None)

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply and with it the means to move the switch."""
        self._alive = alive
        if alive and self._reclose_at is not None:
            self._reclose_timer = self._clock.call_at(self._reclose_at, self._reclose)
        if not alive and self._reclose_timer is not None:
            self._reclose_timer.cancel()
        self._restart_window()

    def sense(self) -> None:
        """Take note of the power, which may have changed, and of when it will exceed the limit."""
        if (
            "limit_never_trips" in self._defects
            or self.limit_w is None
            or self.position is not Switch.CLOSED
            or not self._alive
        ):
            return
        watts = round(self._power_w(), 3)  # the metrology resolves a milliwatt
        now = self._seconds()
        if self._steps and self._steps[-1][1] == watts:
            return
        if self._steps and self._steps[-1][0] == now:
            self._steps.pop()
        self._steps.append((now, watts))
        while len(self._steps) > 1 and self._steps[1][0] <= now - self._window_s:
            del self._steps[0]
        if self._trip_timer is not None:
            self._trip_timer.cancel()
        at = first_excess(self._steps, now, self._window_s, self.limit_w)
        self._trip_timer = None if at is None else self._clock.call_at(self._since + timedelta(seconds=at), self._trip)

    def move(self) -> None:
        """Bring the contact to where the meter wants it, as far as its fault allows."""
        if self._contact is None:
            return
        want = self.position is Switch.CLOSED
        if (self._contact.closed and self.welded) or (not self._contact.closed and self.stuck_open):
            return
        self._contact.set(want)

    def _go(self, position: Switch, event: EventCode, code: MessageCode | None) -> None:
        if self.position in (Switch.NONE, position):
            return
        self.position = position
        self._reclose_at = None
        if self._reclose_timer is not None:
            self._reclose_timer.cancel()
            self._reclose_timer = None
        self._log.write(event, self.limit_w or 0 if position is Switch.TRIPPED else 0, code)
        self.move()
        self._restart_window()
        self._changed()

    def _trip(self) -> None:
        again = self._armed
        self._armed = False
        self.trips += 1
        if "recloses_twice" in self._defects:
            again = self.trips <= 2
        elif "never_recloses" in self._defects:
            again = False
        self._go(Switch.TRIPPED, EventCode.LIMIT_TRIPPED, None)
        if again:
            self._reclose_at = self._clock.now() + timedelta(seconds=self._reclose_s)
            self._reclose_timer = self._clock.call_at(self._reclose_at, self._reclose)

    def _reclose(self) -> None:
        self._go(Switch.CLOSED, EventCode.RECLOSED, None)

    def _restart_window(self) -> None:
        if self._trip_timer is not None:
            self._trip_timer.cancel()
            self._trip_timer = None
        self._since = self._clock.now()
        self._steps = []
        self.sense()

    def _seconds(self) -> float:
        return (self._clock.now() - self._since).total_seconds()
