"""Meters whose intervals the ADCS collects once every recording interval, because their balance nears zero (C3-FR-07, -08)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from drivers.roles import Interval, MessageCode
from twins.utility.config import AdcsConfig

_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)


class IntervalWatch:
    """Which meters are watched, how long their recording intervals are, and when each is collected next."""

    def __init__(self, config: AdcsConfig, defects: frozenset[str]) -> None:
        self._after = timedelta(seconds=config.watch_after_s)
        self._usual = timedelta(seconds=config.interval_s)
        self._defects = defects
        self._watched: set[str] = set()
        self._length: dict[str, timedelta] = {}
        self._balances: dict[str, int] = {}

    def watch(self, meter_id: str) -> None:
        """Begin to collect a meter every recording interval."""
        self._watched.add(meter_id)

    def unwatch(self, meter_id: str) -> None:
        """Collect a meter as usual again."""
        self._watched.discard(meter_id)

    def learn(self, meter_id: str, intervals: Sequence[Interval]) -> None:
        """Take the recording interval from what the meter has recorded last in full."""
        whole = [i for i in intervals if i.complete]
        if whole:
            self._length[meter_id] = whole[-1].length

    def length(self, meter_id: str) -> timedelta:
        """A meter's recording interval, as far as is known."""
        return self._length.get(meter_id, self._usual)

    def next(self, meter_id: str, now: datetime) -> datetime | None:
        """When a watched meter is collected next: a little after its running interval has ended; None for one not watched."""
        if meter_id not in self._watched:
            return None
        length = self.length(meter_id)
        if "collects_every_other_interval" in self._defects:
            length *= 2
        due = now - (now - _MIDNIGHT) % length + self._after
        return due if due > now else due + length

    def withholds(self, meter_id: str, code: MessageCode) -> bool:
        """Whether a message is not passed on to a watched meter, as no healthy ADCS would."""
        if "balance_every_other_interval" not in self._defects or code is not MessageCode.BALANCE:
            return False
        if meter_id not in self._watched:
            return False
        self._balances[meter_id] = self._balances.get(meter_id, 0) + 1
        return self._balances[meter_id] % 2 == 0
