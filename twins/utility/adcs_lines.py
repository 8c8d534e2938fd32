"""The lines of the ADCS to its meters: one task a meter works through messages by priority, then receipts, then collections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from drivers.errors import DeviceError, LinkLost
from drivers.roles import Meter
from twins.clock import Clock, Event, Timer
from twins.utility.adcs_collection import Collection
from twins.utility.adcs_journal import Journal
from twins.utility.adcs_queue import Line, Pending, Queue
from twins.utility.adcs_records import Direction, State
from twins.utility.adcs_tests import MeterTests
from twins.utility.adcs_watch import IntervalWatch
from twins.utility.config import AdcsConfig
from twins.utility.errors import NotAccepted, Reason
from twins.utility.network import AmiNetwork


class Lines:
    """All lines, none before `start`."""

    def __init__(
        self,
        clock: Clock,
        config: AdcsConfig,
        meters: Mapping[str, Meter],
        network: AmiNetwork,
        journal: Journal,
        queue: Queue,
        collection: Collection,
        tests: MeterTests,
        watch: IntervalWatch,
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._config = config
        self._meters = meters
        self._network = network
        self._journal = journal
        self._queue = queue
        self._collection = collection
        self._tests = tests
        self._watch = watch
        self._defects = defects
        self._lines: dict[str, Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Take up what was left unfinished, and begin to serve every meter."""
        now = self._clock.now()
        for meter_id, meter in self._meters.items():
            so_far = self._journal.read_so_far(meter_id)
            line = Line(
                meter_id=meter_id,
                meter=meter,
                wake=self._clock.event(),
                receipts_after=so_far.receipts_after,
                log_after=so_far.log_after,
                intervals_since=so_far.intervals_since,
                collect_at=(so_far.collected_at or now) + self._collection_period,
            )
            self._lines[meter_id] = line
            for left in self._journal.unfinished(meter_id):
                self._queue.resume(line, left, now)
            if self._tests.awaited(meter_id):
                line.poll_at = now
            self._tasks.append(self._clock.spawn(self._serve(line), name=f"adcs {meter_id}"))

    async def close(self) -> None:
        """Stop serving the meters."""
        for task in self._tasks:
            task.cancel()
        for timer in [*self._timers, *(line.timer for line in self._lines.values() if line.timer is not None)]:
            timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __contains__(self, meter_id: str) -> bool:
        return meter_id in self._lines

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def of(self, meter_id: str) -> Line:
        """The line to a meter. NotAccepted where there is no such meter."""
        if meter_id not in self._lines:
            known = ", ".join(self._lines) or "none; start the utility first"
            raise NotAccepted(Reason.UNKNOWN_METER, f"ADCS: no meter {meter_id!r}; meters are {known}")
        return self._lines[meter_id]

    def collect(self, meter_id: str) -> Event:
        """Collect receipts, intervals and log from a meter now; the event is set once they are with the MDMS."""
        line = self.of(meter_id)
        done = self._clock.event()
        line.asked.append(done)
        line.wake.set()
        return done

    def collect_every_interval(self, meter_id: str) -> None:
        """From now on, collect a meter a little after the end of each of its recording intervals."""
        line = self.of(meter_id)
        self._watch.watch(meter_id)
        due = self._watch.next(meter_id, self._clock.now())
        if due is not None and due < line.collect_at:
            line.collect_at = due
            line.wake.set()

    # --- serving one meter ---

    async def _serve(self, line: Line) -> None:
        while True:
            now = self._clock.now()
            self._queue.expire(line, now)
            if not self._awaits(line):
                line.poll_at = None
            if (pending := line.ready(now)) is not None and not line.listens_before(pending, now):
                await self._transmit(line, pending)
            elif line.poll_at is not None and line.poll_at <= now:
                await self._poll(line)
            elif line.asked or line.collect_at <= now:
                await self._collect(line)
            else:
                self._rest(line)
                await line.wake.wait()

    def _rest(self, line: Line) -> None:
        """Have the line woken when something falls due."""
        line.wake.clear()
        due = [p.not_before for p in line.heads()] + [p.deadline for p in line.pending.values() if p.accepted]
        moments = [at for at in (*due, line.poll_at, line.collect_at) if at is not None]
        if line.timer is not None:
            line.timer.cancel()
        line.timer = self._clock.call_at(min(moments), line.wake.set)

    async def _transmit(self, line: Line, pending: Pending) -> None:
        message, now = pending.message, self._clock.now()
        pending.attempts += 1
        pending.first_sent_at = pending.first_sent_at or now
        self._journal.change(message.message_id, attempts=pending.attempts, first_sent_at=pending.first_sent_at)
        at = None
        if "logs_retries_at_45_s" in self._defects and pending.attempts > 1:
            at = pending.first_sent_at + timedelta(seconds=self._config.retry_after_s)
        self._journal.log(line.meter_id, Direction.TO_METER, "message", message, f"attempt {pending.attempts}", at)
        line.sending = pending
        try:
            await self._network.exchange(line.meter_id, line.meter.send, self._queue.as_sent(pending))
        except LinkLost as lost:
            self._journal.log(line.meter_id, Direction.FROM_METER, "no answer", message, str(lost))
            self._queue.postpone(pending)
            return
        except DeviceError as refusal:
            self._journal.log(line.meter_id, Direction.FROM_METER, "refusal", message, str(refusal))
            del line.pending[message.message_id]
            self._journal.change(message.message_id, state=State.REFUSED, why=str(refusal))
            return
        finally:
            line.sending = None
        accepted_at = self._clock.now()
        self._journal.log(line.meter_id, Direction.FROM_METER, "acceptance", message, "")
        self._journal.change(message.message_id, state=State.ACCEPTED, accepted_at=accepted_at)
        self._queue.await_receipt(line, pending, accepted_at)
        self._queue.back(line, accepted_at)

    async def _poll(self, line: Line) -> None:
        """Look for receipts and test results, as long as any is awaited."""
        heard = await self._collection.receipts(line) and await self._collection.test_result(line)
        line.poll_at = self._clock.now() + self._collection.pause(line, heard) if self._awaits(line) else None

    def _awaits(self, line: Line) -> bool:
        return any(p.accepted for p in line.pending.values()) or self._tests.awaited(line.meter_id)

    async def _collect(self, line: Line) -> None:
        """Receipts, intervals and log. What does not answer is asked again later; who asked waits until then."""
        asked = list(line.asked)
        began = self._clock.now()
        self._journal.log(line.meter_id, Direction.TO_METER, "read", None, "receipts, intervals, log")
        source = self._collection
        heard = await source.receipts(line) and await source.intervals(line) and await source.log(line)
        # written once the MDMS has it all: who dies before reads again, and the MDMS stores nothing twice
        so_far = {"intervals_since": line.intervals_since, "log_after": line.log_after}
        self._journal.keep(line.meter_id, **so_far, **({"collected_at": began} if heard else {}))
        if not heard:
            line.collect_at = self._clock.now() + source.pause(line, heard)
            # those who asked are served by the next attempt, not at once again
            line.asked = []
            self._timers = [timer for timer in self._timers if timer.when > self._clock.now()]
            self._timers.append(self._clock.call_at(line.collect_at, self._ask_again, line, asked))
            return
        line.asked = [event for event in line.asked if event not in asked]
        while line.collect_at <= began:
            line.collect_at += self._collection_period
        line.collect_at = min(self._watch.next(line.meter_id, self._clock.now()) or line.collect_at, line.collect_at)
        for event in asked:
            event.set()

    def _ask_again(self, line: Line, asked: Sequence[Event]) -> None:
        line.asked[:0] = asked
        line.wake.set()

    @property
    def _collection_period(self) -> timedelta:
        if "collects_every_other_day" in self._defects:
            return timedelta(hours=48)
        return timedelta(seconds=self._config.collection_period_s)
