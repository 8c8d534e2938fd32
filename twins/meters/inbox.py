"""How a meter takes messages: accepts at once, works through them by priority, each for a while, and gives receipts.

A message id is carried out once; the same id again gets a receipt that says so (our profile).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from drivers.roles import EventCode, MessageCode, MeterMessage, Receipt, ReceiptStatus
from drivers.wire.meter_profile import required_fields
from twins.clock import Clock, Timer
from twins.meters.logbook import Logbook, Ring
from twins.meters.timekeeping import OwnClock

_SWITCHING = (MessageCode.CONNECT, MessageCode.DISCONNECT, MessageCode.LIMIT, MessageCode.RESTORE)
_TESTS = (MessageCode.TEST,)
_SELDOM = (MessageCode.SCHEDULE, MessageCode.CANCEL_SCHEDULE, MessageCode.BILLING, MessageCode.TEST)
_WAITS_S = {
    "executes_late": (61.0, _SWITCHING),
    "commands_wait_ten_seconds": (10.0, _SWITCHING),
    "limits_wait_ten_seconds": (10.0, (MessageCode.LIMIT,)),
    "commands_wait_six_tenths_of_a_second": (0.6, _SWITCHING),
    "commands_wait_a_tenth_of_a_second": (0.1, _SWITCHING),
    "tests_late": (61.0, _TESTS),
}
_JUST_IN_TIME = timedelta(seconds=58)  # and a second on the way to it
_MOST_IDS = 10_000


@dataclass(frozen=True, order=True)
class _Entry:
    """A message in the queue: the most urgent first, then the first to come. `arrived` by the meter's clock."""

    priority: int
    order: int
    message: MeterMessage = field(compare=False)
    arrived: datetime = field(compare=False)
    malformed: bool = field(compare=False)


class Inbox:
    """Messages waiting (up to `room`), the one being processed, and the last `capacity` receipts.

    `carry_out` does what a message says; `priorities` by message code go before a message's own.
    """

    def __init__(
        self,
        clock: Clock,
        own: OwnClock,
        log: Logbook,
        *,
        meter_id: str,
        processing_s: float,
        priorities: Mapping[MessageCode, int],
        room: int,
        capacity: int,
        carry_out: Callable[[MeterMessage], ReceiptStatus],
        changed: Callable[[], None],
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._own = own
        self._log = log
        self._meter_id = meter_id
        self._processing_s = processing_s
        self._priorities = dict(priorities)
        self._room = room
        self._carry_out = carry_out
        self._changed = changed
        self._defects = defects
        self.receipts: Ring[Receipt] = Ring(capacity)
        self._waiting: list[_Entry] = []
        self._current: _Entry | None = None
        self._order = 0
        self.last_message_id = 0
        """The message accepted last, whether processed or not."""
        self._applied: dict[int, None] = {}
        self._timer: Timer | None = None
        self._alive = False

    @property
    def full(self) -> bool:
        """Whether there is no room for another message."""
        return len(self._waiting) >= self._room

    @property
    def waiting(self) -> int:
        """Messages accepted and not yet processed."""
        return len(self._waiting) + (self._current is not None)

    @property
    def priorities(self) -> dict[MessageCode, int]:
        """Priorities by message code, before a message's own."""
        return dict(self._priorities)

    def set_priorities(self, priorities: Mapping[MessageCode, int]) -> None:
        """Go by these from now on, for what is waiting too."""
        self._priorities = dict(priorities)
        self._waiting = [replace(entry, priority=self._rank(entry.message)) for entry in self._waiting]
        heapq.heapify(self._waiting)

    def accept(self, message: MeterMessage, malformed: bool = False) -> None:
        """Log a message and put it in the queue; of a `malformed` one no more than its head is known."""
        self.last_message_id = message.message_id
        arrived = self._own.now()
        if not ("tests_not_logged" in self._defects and message.code is MessageCode.TEST):
            self._log.write(
                EventCode.MESSAGE_RECEIVED,
                message.message_id,
                None if self._hides(message.code) else message.code,
                message.issued_at if "logs_senders_time" in self._defects else arrived,
            )
        now = self._clock.now()
        at = max((now, *(now + timedelta(seconds=s) for s in self._waits(message.code))))
        if "executes_at_59_s" in self._defects and message.code in _SWITCHING:
            at = max(now, message.issued_at + _JUST_IN_TIME)
        if at > now:
            self._clock.call_at(at, self._enqueue, message, arrived, malformed)
        else:
            self._enqueue(message, arrived, malformed)
        self._changed()

    def _hides(self, code: MessageCode) -> bool:
        """Whether a defect has a message logged without its code."""
        return "logs_without_code" in self._defects or (
            "logs_no_code_of_schedules" in self._defects and code in _SELDOM
        )

    def _waits(self, code: MessageCode) -> list[float]:
        """Seconds that defects have a message wait before it is queued."""
        return [s for name, (s, codes) in _WAITS_S.items() if name in self._defects and code in codes]

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply: what was being processed starts over when it is back."""
        self._alive = alive
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._current is not None:
            heapq.heappush(self._waiting, self._current)
            self._current = None
        self._work()

    def _enqueue(self, message: MeterMessage, arrived: datetime, malformed: bool) -> None:
        self._order += 1
        heapq.heappush(self._waiting, _Entry(self._rank(message), self._order, message, arrived, malformed))
        self._work()

    def _rank(self, message: MeterMessage) -> int:
        if "first_come_first_served" in self._defects:
            return 0
        if "ignores_configured_priorities" in self._defects:
            return message.priority
        return self._priorities.get(message.code, message.priority)

    def _work(self) -> None:
        if self._current is None and self._waiting and self._alive:
            self._current = heapq.heappop(self._waiting)
            self._timer = self._clock.call_later(self._processing_s, self._process, self._current)

    def _process(self, entry: _Entry) -> None:
        self._timer = self._current = None
        message = entry.message
        if message.message_id in self._applied:
            status = ReceiptStatus.DUPLICATE
        elif entry.malformed or any(getattr(message, name) is None for name in required_fields(message.code)):
            status = ReceiptStatus.MALFORMED
        else:
            status = self._carry_out(message)
            if status is ReceiptStatus.PROCESSED:
                self._applied[message.message_id] = None
                if len(self._applied) > _MOST_IDS:
                    del self._applied[next(iter(self._applied))]
        self._acknowledge(message, status, entry.arrived)
        self._work()
        self._changed()

    def _acknowledge(self, message: MeterMessage, status: ReceiptStatus, arrived: datetime) -> None:
        if "no_receipt" in self._defects and message.code is MessageCode.PREPAYMENT:
            return
        completed = arrived if "receipt_stamped_on_arrival" in self._defects else self._own.now()
        self.receipts.append(
            lambda number: Receipt(
                sequence=number,
                message_id=0 if "receipt_without_message_id" in self._defects else message.message_id,
                code=message.code,
                meter_id="" if "receipt_without_meter_id" in self._defects else self._meter_id,
                status=status,
                completed_at=completed,
            )
        )
        if "receipts_not_logged" not in self._defects:
            self._log.write(EventCode.RECEIPT_SENT, message.message_id, message.code)
