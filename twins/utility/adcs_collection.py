"""What the ADCS reads from meters, receipts, intervals, log, test results and schedules, and passes to the MDMS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from drivers.errors import DeviceError, LinkLost
from drivers.roles import MessageCode, MeterMessage, Receipt, ReceiptStatus
from twins.clock import Clock
from twins.utility.adcs_journal import Journal
from twins.utility.adcs_queue import Line, Queue
from twins.utility.adcs_records import Direction, State
from twins.utility.adcs_reread import Reread
from twins.utility.adcs_tests import MeterTests
from twins.utility.adcs_watch import IntervalWatch
from twins.utility.config import AdcsConfig
from twins.utility.mdms import BalanceStatement, Mdms
from twins.utility.network import AmiNetwork

T = TypeVar("T")

_BATCHES_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_BATCH_S = 900
_LATE_S = 2.0
_PASSES_AFTER_S = {"passes_receipts_two_seconds_late": 2.0, "passes_receipts_half_a_second_late": 0.5}


class Collection:
    """Reads over the network, each from where the last one ended. False, or None, is a meter that did not answer."""

    def __init__(
        self,
        clock: Clock,
        config: AdcsConfig,
        network: AmiNetwork,
        mdms: Mdms,
        journal: Journal,
        queue: Queue,
        tests: MeterTests,
        watch: IntervalWatch,
        reread: Reread,
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._config = config
        self._network = network
        self._mdms = mdms
        self._journal = journal
        self._queue = queue
        self._tests = tests
        self._watch = watch
        self._reread = reread
        self._defects = defects

    def pause(self, line: Line, heard: bool) -> timedelta:
        """How long to wait before a meter is read again, whether or not it was `heard`."""
        waits = self._config.no_answer_backoff_s
        return timedelta(
            seconds=self._config.receipt_poll_s if heard else waits[min(line.silent_reads, len(waits)) - 1]
        )

    async def receipts(self, line: Line) -> bool:
        """New receipts, and what each of them leads to."""
        receipts = await self._read(line, line.meter.receipts, line.receipts_after, pushed=True)
        if receipts is None:
            return False
        for receipt in receipts:
            self._journal.log_receipt(line.meter_id, receipt)
        if receipts:
            self._pass_receipts(line, receipts)
        for receipt in receipts:
            if not await self._complete(line, receipt):
                return False
            # what a receipt leads to comes first: who dies here, or hears nothing, reads the receipt again
            line.receipts_after = max(line.receipts_after, receipt.sequence)
            self._journal.keep(line.meter_id, receipts_after=line.receipts_after)
        return True

    async def test_result(self, line: Line) -> bool:
        """The result of the latest test, where one is awaited; one that does not come is asked for again."""
        if not self._tests.awaited(line.meter_id):
            return True
        asked = line.silent_reads
        result = await self._read(line, line.meter.test_result)
        if line.silent_reads > asked:
            line.poll_at = self._clock.now() + self.pause(line, heard=False)
            return False
        if result is not None:
            self._journal.log_of(
                line.meter_id,
                Direction.FROM_METER,
                "test result",
                result.message_id,
                MessageCode.TEST,
                f"of message {result.message_id}",
            )
        self._tests.came_in(line.meter_id, result)
        return True

    async def intervals(self, line: Line) -> bool:
        """Intervals recorded since the last that was read."""
        since = self._reread.since(line.meter_id, line.intervals_since)
        found = await self._read(line, line.meter.intervals, since)
        if found:
            first, last = min(i.ends_at for i in found), max(i.ends_at for i in found)
            span = f"{len(found)} intervals that end {first.isoformat()} to {last.isoformat()}"
            self._journal.log(line.meter_id, Direction.FROM_METER, "intervals", None, span)
            if "passes_intervals_two_seconds_late" in self._defects:
                self._clock.call_later(_LATE_S, self._mdms.store_intervals, line.meter_id, found)
            elif "passes_receipts_only" not in self._defects:
                self._mdms.store_intervals(line.meter_id, found)
            self._watch.learn(line.meter_id, found)
            self._reread.came_in(line.meter_id, found)
            line.intervals_since = last
        return found is not None

    async def log(self, line: Line) -> bool:
        """Entries of the meter's log after the last that was read."""
        entries = await self._read(line, line.meter.log, line.log_after)
        if entries:
            last = max(e.sequence for e in entries)
            span = f"{len(entries)} log entries, number {min(e.sequence for e in entries)} to {last}"
            self._journal.log(line.meter_id, Direction.FROM_METER, "log", None, span)
            if "passes_receipts_only" not in self._defects:
                self._mdms.store_log(line.meter_id, entries)
            line.log_after = last
            if (again := self._reread.set_back(line.meter_id, entries, line.intervals_since)) is not None:
                told = f"clock set back: intervals that end after {again.isoformat()} are read again"
                self._journal.log(line.meter_id, Direction.FROM_METER, "log", None, told)
                return await self.intervals(line)
        return entries is not None

    async def _read(self, line: Line, call: Callable[..., T], *args: object, pushed: bool = False) -> T | None:
        """What the meter answers, or None where it does not or will not; logged either way."""
        carry = self._network.upward if pushed else self._network.exchange
        try:
            answer = await carry(line.meter_id, call, *args)
        except LinkLost as lost:
            self._journal.log(line.meter_id, Direction.FROM_METER, "no answer", None, str(lost))
            line.silent_reads += 1
            return None
        except DeviceError as refusal:
            self._journal.log(line.meter_id, Direction.FROM_METER, "refusal", None, str(refusal))
            line.silent_reads += 1
            return None
        line.silent_reads = 0
        self._queue.back(line, self._clock.now())
        return answer

    async def _complete(self, line: Line, receipt: Receipt) -> bool:
        """A message has its receipt: fetch or pass what belongs to it, and close it. False where the meter does not say."""
        record = self._journal.found(receipt.message_id)
        if record is None or record.meter_id != line.meter_id:
            told = "receipt of an unknown message: it went to the MDMS, and changes nothing"
            who = receipt.message_id, receipt.code
            self._journal.log_of(line.meter_id, Direction.FROM_METER, "unknown receipt", *who, told)
            return True
        if record.receipt_status not in (None, ReceiptStatus.DUPLICATE):
            line.pending.pop(receipt.message_id, None)
            return True
        processed = receipt.status in (ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE)
        if processed and not await self._follow_up(line, record.message, receipt):
            return False
        line.pending.pop(receipt.message_id, None)
        self._journal.change(
            receipt.message_id, state=State.DONE, receipt_at=self._clock.now(), receipt_status=int(receipt.status)
        )
        return True

    async def _follow_up(self, line: Line, message: MeterMessage, receipt: Receipt) -> bool:
        """Fetch or pass what belongs to a message that was processed. False where the meter does not say."""
        if message.code in (MessageCode.PREPAYMENT, MessageCode.BALANCE):
            self._mdms.store_balance(line.meter_id, _statement(message, receipt))
        elif message.code is MessageCode.TEST:
            self._tests.expect(line.meter_id, message.message_id, message.issued_at)
            await self.test_result(line)
        elif message.code in (MessageCode.SCHEDULE, MessageCode.CANCEL_SCHEDULE):
            events = await self._read(line, line.meter.schedule)
            if events is None:
                return False
            self._journal.log(line.meter_id, Direction.FROM_METER, "schedule", message, f"{len(events)} events")
            self._mdms.store_schedule(line.meter_id, events)
        return True

    def _pass_receipts(self, line: Line, receipts: Sequence[Receipt]) -> None:
        if "keeps_receipts" in self._defects:
            return
        if "passes_receipts_in_batches" in self._defects:
            seconds = (self._clock.now() - _BATCHES_FROM).total_seconds()
            self._clock.call_later(_BATCH_S - seconds % _BATCH_S, self._mdms.store_receipts, line.meter_id, receipts)
            return
        if late := [s for name, s in _PASSES_AFTER_S.items() if name in self._defects]:
            self._clock.call_later(max(late), self._mdms.store_receipts, line.meter_id, receipts)
            return
        self._mdms.store_receipts(line.meter_id, receipts)


def _statement(message: MeterMessage, receipt: Receipt) -> BalanceStatement:
    assert message.balance_cents is not None
    return BalanceStatement(
        message.message_id,
        receipt.completed_at,
        message.balance_cents,
        message.credit_wh,
        message.price_millicents_per_kwh,
        message.time_left,
        message.zero_at,
        message.at_zero,
    )
