"""What a meter keeps in order and by number: its event log and its receipts, in rings of limited size."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

from drivers.roles import EventCode, LogEntry, MessageCode
from twins.meters.timekeeping import OwnClock

T = TypeVar("T")


class Ring(Generic[T]):
    """Entries numbered from 1; the oldest go when there are more than `capacity`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.last = 0
        """Number of the newest entry, 0 before any."""
        self._entries: list[T] = []

    def append(self, make: Callable[[int], T]) -> T:
        """Add the entry that `make` makes of its number."""
        self.last += 1
        entry = make(self.last)
        self._entries.append(entry)
        if len(self._entries) > self.capacity:
            del self._entries[0]
        return entry

    def replace(self, sequence: int, entry: T) -> None:
        """Put another entry in the place of one that is still there."""
        self._entries[sequence - self.last - 1] = entry

    def after(self, sequence: int = 0) -> tuple[T, ...]:
        """Entries numbered above `sequence` that are still there, oldest first."""
        gone = self.last - len(self._entries)
        return tuple(self._entries[max(0, sequence - gone) :])


class Logbook:
    """A meter's event log, stamped by the meter's own clock."""

    def __init__(self, own: OwnClock, capacity: int) -> None:
        self._own = own
        self.entries: Ring[LogEntry] = Ring(capacity)

    def write(
        self, event: EventCode, argument: int = 0, code: MessageCode | None = None, at: datetime | None = None
    ) -> None:
        """Log an event now, or as of `at`."""
        when = self._own.now() if at is None else at
        self.entries.append(lambda number: LogEntry(number, when, event, code, argument))
