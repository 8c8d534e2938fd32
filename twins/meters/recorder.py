"""A meter's metrology and its interval recording: registers, present values, energy by interval.

Accuracy by class as in ANSI C12.20 (percent of reading); the errors are those of one unit and do not change with time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from drivers.roles import Interval, MeterReading
from drivers.wire.meter_profile import NumberedInterval
from twins.clock import Clock, Timer
from twins.meters.logbook import Ring
from twins.meters.timekeeping import OwnClock
from twins.noise import bounded
from twins.wiring import State, Tap

_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)
_FAULTY_GAIN = 1.05


class Present(NamedTuple):
    """True values at a tap as a two- or three-wire meter sees them: voltage in V, current in A, power in W, Hz."""

    voltage_v: float
    current_a: float
    power_w: float
    frequency_hz: float


def present(state: State) -> Present:
    """Voltage and current of a service: leg to leg on split phase, the mean over the legs (to neutral) otherwise."""
    v, i = state.voltages, state.currents
    if not v:
        return Present(0.0, 0.0, 0.0, 0.0)
    if len(v) == 2:
        volts, amps = abs(v[0] - v[1]), abs(i[0] - i[1]) / 2
    else:
        volts, amps = sum(map(abs, v)) / len(v), sum(map(abs, i)) / len(i)
    return Present(volts, amps, state.power.real, state.frequency_hz)


class Metrology:
    """Registers and present values of one unit. Voltage and current channel err by less than the class together."""

    def __init__(self, tap: Tap, *, seed: int, name: str, class_percent: float) -> None:
        self._tap = tap
        share = class_percent / 100 * 0.49
        self._voltage_gain = 1 + share * bounded(seed, name, "voltage gain")
        self._current_gain = 1 + share * bounded(seed, name, "current gain")
        self._gain = self._voltage_gain * self._current_gain
        self._delivered = self._received = 0.0
        energy = tap.energy()
        self._seen = (energy.delivered_wh, energy.received_wh)
        self.counting = False
        """Whether the meter is alive; a dead one registers nothing."""
        self.high = False
        """The fault of a metrology that reads 5 % high."""

    def set_counting(self, counting: bool) -> None:
        """Start or stop registering."""
        self.settle()
        self.counting = counting

    def set_high(self, high: bool) -> None:
        """Switch the fault; what was registered before stays as it was."""
        self.settle()
        self.high = high

    def settle(self) -> None:
        """Register what has flowed up to now."""
        energy = self._tap.energy()
        if self.counting:
            gain = self._gain * (_FAULTY_GAIN if self.high else 1.0)
            self._delivered += (energy.delivered_wh - self._seen[0]) * gain
            self._received += (energy.received_wh - self._seen[1]) * gain
        self._seen = (energy.delivered_wh, energy.received_wh)

    def delivered_wh(self) -> float:
        """The delivered register up to now."""
        self.settle()
        return self._delivered

    def power_w(self) -> float:
        """Present power as metered, watts."""
        return self.reading_of(present(self._tap.state())).power_w

    def reading(self) -> MeterReading:
        """Registers and present values."""
        self.settle()
        return self.reading_of(present(self._tap.state()))

    def reading_of(self, true: Present) -> MeterReading:
        """True present values through this unit's errors, with the registers as they stand."""
        high = _FAULTY_GAIN if self.high else 1.0
        return MeterReading(
            delivered_wh=self._delivered,
            received_wh=self._received,
            voltage_v=true.voltage_v * self._voltage_gain,
            current_a=true.current_a * self._current_gain * high,
            power_w=true.power_w * self._gain * high,
            frequency_hz=true.frequency_hz,
        )


class Recorder:
    """Energy delivered by interval, [start, end) on the meter's own clock, aligned to its hours.

    `share` scales what is recorded (a defect's door); `ended` is called at every boundary, after the interval was stored.
    """

    def __init__(
        self,
        clock: Clock,
        own: OwnClock,
        metrology: Metrology,
        *,
        length: timedelta,
        capacity: int,
        share: float = 1.0,
        ended: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._own = own
        self._metrology = metrology
        self._share = share
        self._ended = ended
        self.length = length
        self.stored: Ring[NumberedInterval] = Ring(capacity)
        self._latest: datetime | None = None
        self._timer: Timer | None = None
        self._complete = False
        self._alive = False
        self._begin(own.now())

    def at_boundary(self) -> bool:
        """Whether this very moment parts two intervals."""
        return self._own.now() in (self._start, self._start + self.length)

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply: the running interval is partial unless it starts right now."""
        self._alive = alive
        self._complete = alive and self._own.now() == self._start

    def clock_jumped(self, jump: timedelta) -> None:
        """The meter's clock was set: a jump of a second or more makes the running interval partial."""
        now = self._own.now()
        if not self._start <= now < self._start + self.length:
            self._store(self._start + self.length, self.length, complete=False)
            self._begin(now)
        elif abs(jump) >= timedelta(seconds=1):
            self._complete = False
        self.reschedule()

    def set_length(self, length: timedelta) -> None:
        """Change the interval's length; what ran so far is stored as the partial interval it is."""
        if length == self.length:
            return
        now = self._own.now()
        if now > self._start:
            self._store(now, now - self._start, complete=False)
        self.length = length
        self._begin(now)

    def intervals(self, since: datetime | None) -> tuple[Interval, ...]:
        """Stored intervals that end after `since`, oldest first."""
        return tuple(n.interval for n in self.stored.after() if since is None or n.interval.ends_at > since)

    def reschedule(self) -> None:
        """Wait anew for the end of the running interval, as the meter's clock now tells it."""
        if self._timer is not None:
            self._timer.cancel()
        at = self._own.bench_time(self._start + self.length)
        self._timer = None if at is None else self._clock.call_at(at, self._boundary)

    def _begin(self, now: datetime) -> None:
        self._start = now - (now - _MIDNIGHT) % self.length
        self._complete = self._alive and now == self._start
        self._from_wh = self._metrology.delivered_wh()
        self.reschedule()

    def _boundary(self) -> None:
        end = self._start + self.length
        now = self._own.now()
        if now < end:  # a timer of real time may come a moment early
            self.reschedule()
            return
        self._store(end, self.length, complete=self._complete)
        self._start = now - (now - _MIDNIGHT) % self.length
        self._complete = self._alive
        self.reschedule()
        self._ended()

    def _store(self, ends_at: datetime, length: timedelta, *, complete: bool) -> None:
        wh = self._metrology.delivered_wh()
        energy, self._from_wh = (wh - self._from_wh) * self._share, wh
        again = self._latest is not None and ends_at <= self._latest
        twice = next((n for n in self.stored.after() if again and n.interval.ends_at == ends_at), None)
        if twice is None:
            interval = Interval(ends_at, length, energy, complete)
            self.stored.append(lambda number: NumberedInterval(number, interval))
            self._latest = ends_at if self._latest is None else max(ends_at, self._latest)
        else:
            # The clock was set back over a boundary: that time is lived twice, and its energy belongs together.
            old = twice.interval
            interval = Interval(ends_at, max(length, old.length), energy + old.energy_wh, complete=False)
            self.stored.replace(twice.sequence, NumberedInterval(twice.sequence, interval))
