"""What consumption history says of the days to come: the profile by hour of the local day, and how long a credit lasts."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from drivers.roles import Interval

LONGEST = timedelta(days=3650)
"""A credit that lasts longer is as good as endless; so long is said to be left."""
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class DayUsage:
    """Energy of one local day, as far as the intervals in hand cover it."""

    day: date
    energy_wh: float
    cost_cents: int


@dataclass(frozen=True)
class Profile:
    """Mean consumption in watt-hours for each hour of the local day.

    From the history in [history_from, history_to); both None for the profile of a class of customers.
    """

    wh_by_hour: tuple[float, ...]
    history_from: datetime | None = None
    history_to: datetime | None = None

    @property
    def daily_wh(self) -> float:
        """Mean consumption of a whole day."""
        return math.fsum(self.wh_by_hour)


@functools.lru_cache(maxsize=50_000)
def _local_hour(at: datetime, zone: ZoneInfo) -> int:
    return at.astimezone(zone).hour


def profile(intervals: Sequence[Interval], zone: ZoneInfo) -> Profile | None:
    """The profile that complete intervals show; None where there are none.

    An hour never seen counts as the mean of the others.
    """
    energy, hours = [0.0] * 24, [0.0] * 24
    starts, ends = [], []
    for i in intervals:
        if i.complete:
            start = i.ends_at - i.length
            hour = _local_hour(start, zone)
            energy[hour] += i.energy_wh
            hours[hour] += i.length.total_seconds() / 3600
            starts.append(start)
            ends.append(i.ends_at)
    if not starts:
        return None
    mean = math.fsum(energy) / math.fsum(hours)
    return Profile(tuple(e / h if h else mean for e, h in zip(energy, hours, strict=True)), min(starts), max(ends))


def _hours(start: datetime, until: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, float, int]]:
    """Pieces of [start, until) that lie in one local hour each: (start, length in hours, local hour)."""
    at = start.astimezone(UTC)
    while at < until:
        local = at.astimezone(zone)
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        end = min(at + timedelta(hours=1) - into, until)
        yield at, (end - at).total_seconds() / 3600, local.hour
        at = end


def expected_wh(shape: Profile, start: datetime, until: datetime, zone: ZoneInfo) -> float:
    """Energy that the profile expects in [start, until), in watt-hours."""
    return math.fsum(length * shape.wh_by_hour[hour] for _, length, hour in _hours(start, until, zone))


def _week_wh(shape: Profile, start: datetime, zone: ZoneInfo) -> float:
    """`expected_wh` of the week from `start`; quickly, unless the zone's clocks change in it."""
    if start.astimezone(zone).utcoffset() == (start + _WEEK).astimezone(zone).utcoffset():
        return 7 * shape.daily_wh
    return expected_wh(shape, start, start + _WEEK, zone)


def runs_out(shape: Profile, start: datetime, credit_wh: float, zone: ZoneInfo) -> datetime:
    """When a credit is used up, to the second below; at most `LONGEST` from the start."""
    left = credit_wh
    if left <= 0:
        return start
    if shape.daily_wh * LONGEST.days > left:
        begin = start.astimezone(UTC)
        while left > (week_wh := _week_wh(shape, begin, zone)):
            begin += _WEEK
            left -= week_wh
        for at, length, hour in _hours(begin, start + LONGEST, zone):
            wh = length * shape.wh_by_hour[hour]
            if wh >= left:
                return at + timedelta(seconds=int(left / wh * length * 3600 + 1e-3))
            left -= wh
    return start + LONGEST


def by_day(intervals: Sequence[Interval], zone: ZoneInfo) -> dict[date, float]:
    """Watt-hours of each local day, an interval belonging to the day in which it starts."""
    days: dict[date, float] = {}
    for i in sorted(intervals, key=lambda i: i.ends_at):
        day = (i.ends_at - i.length).astimezone(zone).date()
        days[day] = days.get(day, 0.0) + i.energy_wh
    return days


def next_cycle(now: datetime, cycle_day: int, zone: ZoneInfo) -> datetime:
    """The next local midnight that begins a bill cycle, after `now`; `cycle_day` is 1 to 28."""
    today = now.astimezone(zone).date()
    start = today.replace(day=cycle_day)
    if start <= today:
        start = (start.replace(day=1) + timedelta(days=32)).replace(day=cycle_day)
    return datetime(start.year, start.month, start.day, tzinfo=zone).astimezone(UTC)
