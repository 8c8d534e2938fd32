"""A meter's own clock: offset and drift against bench time, settable, kept by a battery through an outage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from twins.clock import Clock

_TICK = timedelta(microseconds=1)


class OwnClock:
    """The clock a meter stamps with. `drift_ppm` above zero runs fast; a stopped clock stands where it stopped."""

    def __init__(self, clock: Clock, offset_s: float = 0.0, drift_ppm: float = 0.0) -> None:
        self._clock = clock
        self._drift = drift_ppm * 1e-6
        self._bench = clock.now()
        self._own = self._bench + timedelta(seconds=offset_s)
        self.stopped = False

    def now(self) -> datetime:
        """The meter's idea of the time, UTC."""
        return self._own if self.stopped else self._read(self._clock.now())

    def set(self, when: datetime) -> timedelta:
        """Set the clock; returns by how much it jumped."""
        jump = when - self.now()
        self._bench, self._own = self._clock.now(), when
        return jump

    def stop(self, stopped: bool) -> None:
        """Stop the clock, or let it run on from where it stood."""
        if stopped != self.stopped:
            self._own = self.now()
            self._bench = self._clock.now()
            self.stopped = stopped

    def bench_time(self, own: datetime) -> datetime | None:
        """The first moment of bench time at which this clock shows `own` or later; None for never (it is stopped)."""
        if self.stopped:
            return None
        away = own - self._own
        try:
            at = self._bench + (away / (1 + self._drift) if self._drift else away)
        except OverflowError:  # beyond the year 9999
            return None
        while self._read(at) < own:
            at += _TICK
        return at

    def _read(self, bench: datetime) -> datetime:
        passed = bench - self._bench
        return self._own + (passed * (1 + self._drift) if self._drift else passed)


def next_change(zone: ZoneInfo, now: datetime) -> datetime | None:
    """When the zone's offset from UTC changes next, to the second; None where it does not within a year."""

    def offset(when: datetime) -> timedelta | None:
        return when.astimezone(zone).utcoffset()

    before = offset(now)
    week = timedelta(days=7)
    late = next((now + n * week for n in range(1, 54) if offset(now + n * week) != before), None)
    if late is None:
        return None
    early = late - week
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        early, late = (middle, late) if offset(middle) == before else (early, middle)
    return late.astimezone(UTC).replace(microsecond=0)
