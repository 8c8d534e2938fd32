"""Consumption history of meters as the MDMS makes it available, kept at hand for those that are asked for again and again."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.roles import Interval
from twins.utility.mdms import Kind, Mdms

_MOST_METERS = 200
_LATE = timedelta(hours=3)
"""What comes later than that has the history read as a whole."""


@dataclass
class _History:
    """Intervals of one meter that start at `since` or later, by end; `count` is how many the MDMS had in all."""

    since: datetime
    count: int
    intervals: list[Interval]
    ends: list[datetime] = field(default_factory=list)
    stale: bool = False


class Histories:
    """Reads a meter's history once, and then what has come in since. Every method belongs to the event loop's thread."""

    def __init__(self, mdms: Mdms) -> None:
        self._mdms = mdms
        self._kept: OrderedDict[str, _History] = OrderedDict()
        mdms.subscribe(self._published)

    def of(self, meter_id: str, since: datetime, until: datetime) -> list[Interval]:
        """Intervals in [since, until), oldest first."""
        kept = self._kept.get(meter_id)
        if kept is None or since < kept.since:
            kept = self._read(meter_id, since)
        elif kept.stale:
            kept = self._catch_up(meter_id, kept, since)
        self._kept.move_to_end(meter_id)
        first = bisect.bisect_right(kept.ends, since)
        while first < len(kept.ends) and kept.ends[first] - kept.intervals[first].length < since:
            first += 1
        return kept.intervals[first : bisect.bisect_right(kept.ends, until)]

    def _read(self, meter_id: str, since: datetime) -> _History:
        found = [s.value for s in self._mdms.intervals(meter_id, since)]
        kept = _History(since, self._mdms.interval_count(meter_id), found, [i.ends_at for i in found])
        self._kept[meter_id] = kept
        if len(self._kept) > _MOST_METERS:
            self._kept.popitem(last=False)
        return kept

    def _catch_up(self, meter_id: str, kept: _History, since: datetime) -> _History:
        begin = bisect.bisect_left(kept.ends, kept.ends[-1] - _LATE) if kept.ends else 0
        known = kept.intervals[:begin]
        recent = [s.value for s in self._mdms.intervals(meter_id, known[-1].ends_at if known else kept.since)]
        count = self._mdms.interval_count(meter_id)
        if len(known) + len(recent) - len(kept.intervals) != count - kept.count:
            return self._read(meter_id, since)  # something older has come in, too
        kept.intervals = [*known, *recent]
        kept.ends = [i.ends_at for i in kept.intervals]
        kept.count, kept.stale = count, False
        return kept

    def _published(self, kind: Kind, meter_id: str) -> None:
        if kind is Kind.INTERVAL and meter_id in self._kept:
            self._kept[meter_id].stale = True
