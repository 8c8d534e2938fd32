"""What another system sees of the MDMS, and when, by bench time: it subscribes, and reads what it is told of at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bench.bench import Bench
from bench.judge import uncertainty

_LOOK_S = 0.05
"""How often a wall clock looks whether what is waited for has come; a stepped clock looks after each step."""

_READ = {
    "receipt": "receipts",
    "interval": "intervals",
    "log": "logs",
    "test": "test_results",
    "schedule": "schedules",
    "balance": "balances",
}
"""What a subscriber calls for each kind."""

Item = tuple[str, Any]


class Subscriber:
    """Notes since when an item has been in the MDMS's own log, and since when another system has read it.

    The moments are looked up on the bench's clock; time stamps of the MDMS itself count for nothing. What was there before
    doesn't count either.
    """

    def __init__(self, bench: Bench, meter_id: str, kinds: Sequence[str] = tuple(_READ)) -> None:
        self._bench = bench
        self._mdms: Any = bench.utility.mdms
        self._meter_id = meter_id
        self._kinds = tuple(kinds)
        self._open = True
        self._received: dict[Item, datetime] = {}
        self._read: dict[Item, datetime] = {}
        self._before: frozenset[Item] = frozenset()
        self._counts: dict[str, int] = {}
        bench.call(self._begin)

    @property
    def uncertainty_s(self) -> float:
        """Expanded uncertainty of a delay, in seconds."""
        return 0.0 if self._bench.clock.stepped else uncertainty.polling(_LOOK_S)

    def has_read_all(self) -> bool:
        """Whether something of every kind has come in, and all of it has been read. To be asked on the bench's loop."""
        for kind in self._kinds:
            # asked after every step of the clock: the log itself is read only where it has grown
            count = self._mdms.received_count(kind, self._meter_id)
            if count != self._counts.get(kind):
                self._counts[kind] = count
                for item in self._held(kind):
                    self._received.setdefault(item, self._bench.now)
        return {kind for kind, _ in self._received} == set(self._kinds) and self._received.keys() <= self._read.keys()

    def delays_s(self) -> dict[str, list[float | None]]:
        """By kind, how long each item that came in had to wait until it was read; None for one that never was."""
        found: dict[str, list[float | None]] = {kind: [] for kind in self._kinds}
        for item, at in self._received.items():
            read = self._read.get(item)
            found[item[0]].append(None if read is None else (read - at).total_seconds())
        return found

    def end(self) -> None:
        """Listen no longer."""
        self._open = False

    def _begin(self) -> None:
        self._before = frozenset(item for kind in self._kinds for item in self._held(kind))
        self._mdms.subscribe(self._told)

    def _held(self, kind: str) -> list[Item]:
        everything = [(kind, one.value) for one in self._mdms.received(kind, self._meter_id)]
        return [item for item in everything if item not in self._before]

    def _told(self, kind: str, meter_id: str) -> None:
        if self._open and kind in self._kinds and meter_id == self._meter_id:
            now = self._bench.now
            for one in getattr(self._mdms, _READ[kind])(meter_id):
                item = (str(kind), one.value)
                if item not in self._before:
                    # Told of within the step in which it came in: it was there by now.
                    self._received.setdefault(item, now)
                    self._read.setdefault(item, now)
