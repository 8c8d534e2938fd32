"""The ADCS's end of a meter, and the messages that wait there: which goes first, when again, and when no more (D7)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.roles import MessageCode, Meter, MeterMessage
from twins.clock import Clock, Event, Timer
from twins.utility.adcs_journal import Journal
from twins.utility.adcs_records import SERVICE, MessageRecord, State
from twins.utility.adcs_watch import IntervalWatch
from twins.utility.config import AdcsConfig

_BALANCES = (MessageCode.PREPAYMENT, MessageCode.BALANCE)
_HELD_S = 61.0
_RETRIES_AFTER_S = {
    "retries_at_43_s": 43.0,
    "retries_at_47_s": 47.0,
    "logs_retries_at_45_s": 42.0,
    "retries_half_a_second_early": 44.5,
    "retries_half_a_second_late": 45.5,
}


@dataclass
class Pending:
    """A message on its way: in the queue until `accepted`, then waiting for its receipt until `deadline`."""

    message: MeterMessage
    not_before: datetime
    attempts: int = 0
    first_sent_at: datetime | None = None
    accepted: bool = False
    deadline: datetime | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """By priority, then by age; the smallest goes first."""
        return (self.message.priority, self.message.message_id)


@dataclass
class Line:
    """The ADCS's end of one meter: what is on its way there, how far it has been read, and when it is read next."""

    meter_id: str
    meter: Meter
    wake: Event
    receipts_after: int
    log_after: int
    intervals_since: datetime | None
    collect_at: datetime
    pending: dict[int, Pending] = field(default_factory=dict)
    asked: list[Event] = field(default_factory=list)
    poll_at: datetime | None = None
    silent_reads: int = 0
    timer: Timer | None = None
    sending: Pending | None = None

    def heads(self) -> list[Pending]:
        """The first message to be sent of each priority, the most urgent first. It holds back those behind it even while
        it waits to be asked again: a later connect or balance must not be overtaken by an earlier one."""
        first: dict[int, Pending] = {}
        for pending in sorted((p for p in self.pending.values() if not p.accepted), key=lambda p: p.rank):
            first.setdefault(pending.message.priority, pending)
        return list(first.values())

    def ready(self, now: datetime) -> Pending | None:
        """The most urgent message that may be sent now."""
        return next((p for p in self.heads() if p.not_before <= now), None)

    def listens_before(self, pending: Pending, now: datetime) -> bool:
        """Whether the receipt of a more urgent message is due to be looked for before this one is sent: a long queue must not
        make it seem lost."""
        urgent = any(p.accepted and p.message.priority < pending.message.priority for p in self.pending.values())
        return urgent and self.poll_at is not None and self.poll_at <= now


class Queue:
    """What goes into the queue of a meter and what becomes of it there; it sends nothing itself."""

    def __init__(
        self, clock: Clock, config: AdcsConfig, journal: Journal, watch: IntervalWatch, defects: frozenset[str]
    ) -> None:
        self._clock = clock
        self._config = config
        self._journal = journal
        self._watch = watch
        self._defects = defects

    # --- in and out ---

    def put(self, line: Line, message: MeterMessage, now: datetime) -> None:
        """Queue a message; a balance takes the place of older ones that were not sent."""
        if message.code in _BALANCES:
            self._supersede(line, message.message_id, now)
        if not self._never_sent(message) and not self._watch.withholds(line.meter_id, message.code):
            line.pending[message.message_id] = Pending(message, not_before=self._earliest(line, message, now))
            line.wake.set()

    def resume(self, line: Line, left: MessageRecord, now: datetime) -> None:
        """Take up a message that was left unfinished."""
        if self._never_sent(left.message):
            return
        pending = Pending(left.message, now, left.attempts, left.first_sent_at)
        line.pending[left.message_id] = pending
        if left.state is State.ACCEPTED:
            self.await_receipt(line, pending, now)

    def withdraw(self, line: Line, message_id: int, why: str, *, unanswered: bool) -> bool:
        """Take back a message that was never sent (or, `unanswered`, never accepted); whether that was so."""
        pending = line.pending.get(message_id)
        if pending is None or pending.accepted or line.sending is pending:
            return False
        if pending.attempts and not unanswered:
            return False
        del line.pending[message_id]
        self._journal.change(message_id, state=State.CANCELLED, why=why)
        return True

    def expire(self, line: Line, now: datetime) -> None:
        """Send again, or stop waiting for, messages whose receipt is overdue."""
        for pending in list(line.pending.values()):
            if not pending.accepted or pending.deadline is None or pending.deadline > now:
                continue
            message_id = pending.message.message_id
            if self._retry_at(pending) is not None:
                pending.accepted, pending.deadline, pending.not_before = False, None, now
                self._journal.change(message_id, state=State.QUEUED)
            else:
                del line.pending[message_id]
                self._journal.change(message_id, state=State.UNCONFIRMED, why="no receipt in time")

    # --- what the meter does ---

    def as_sent(self, pending: Pending) -> MeterMessage:
        """A message as it goes over the network."""
        if "retries_with_a_new_id" in self._defects and pending.attempts > 1:
            return dataclasses.replace(pending.message, message_id=self._journal.new_message_id())
        return pending.message

    def await_receipt(self, line: Line, pending: Pending, now: datetime) -> None:
        """The meter has accepted a message: its receipt is looked for from now on."""
        pending.accepted = True
        pending.deadline = now + timedelta(seconds=self._config.receipt_timeout_s)
        if (retry_at := self._retry_at(pending)) is not None:
            pending.deadline = max(now, retry_at)
        poll_at = now + timedelta(seconds=self._config.receipt_poll_s)
        line.poll_at = poll_at if line.poll_at is None else min(line.poll_at, poll_at)

    def postpone(self, pending: Pending) -> None:
        """The meter gave no answer to a message: send it again later."""
        pending.not_before = self._again(pending)

    def back(self, line: Line, now: datetime) -> None:
        """The meter answers: what waited for that can go, but for what has a moment of its own (D7)."""
        for pending in line.pending.values():
            if not pending.accepted and pending.attempts and pending.message.code not in self._config.retry_codes:
                pending.not_before = min(pending.not_before, now)

    # --- when ---

    def _never_sent(self, message: MeterMessage) -> bool:
        return (
            ("ignores_test_requests" in self._defects and message.code is MessageCode.TEST)
            or ("never_sends_texts" in self._defects and message.code is MessageCode.TEXT)
            or ("never_sends_limits" in self._defects and message.code is MessageCode.LIMIT)
        )

    def _earliest(self, line: Line, message: MeterMessage, now: datetime) -> datetime:
        if "schedules_wait_for_collection" in self._defects and message.code is MessageCode.SCHEDULE:
            return line.collect_at
        if "holds_commands_a_minute" in self._defects and message.code in SERVICE:
            return now + timedelta(seconds=_HELD_S)
        return now

    def _again(self, pending: Pending) -> datetime:
        """When to send a message again to which the meter gave no answer."""
        now = self._clock.now()
        if (retry_at := self._retry_at(pending)) is not None:
            return max(now, retry_at)
        waits = self._config.no_answer_backoff_s
        return now + timedelta(seconds=waits[min(pending.attempts, len(waits)) - 1])

    def _retry_at(self, pending: Pending) -> datetime | None:
        """The moment of its own at which a message without a receipt is sent again (D7), None where it has none left."""
        seconds = next((s for name, s in _RETRIES_AFTER_S.items() if name in self._defects), self._config.retry_after_s)
        if pending.message.code not in self._config.retry_codes or pending.first_sent_at is None:
            return None
        if pending.attempts > self._config.retries or "never_retries" in self._defects:
            return None
        return pending.first_sent_at + pending.attempts * timedelta(seconds=seconds)

    def _supersede(self, line: Line, message_id: int, now: datetime) -> None:
        """Leave out balances that wait to be sent: what follows them is more urgent or newer, and must be what stays."""
        for old in list(line.pending.values()):
            waits = not old.accepted and (old.attempts == 0 or old.not_before > now)
            if waits and old.message.code is MessageCode.BALANCE:
                del line.pending[old.message.message_id]
                self._journal.change(
                    old.message.message_id, state=State.SUPERSEDED, why=f"message {message_id} is newer"
                )
