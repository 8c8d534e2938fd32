"""The ADCS, head-end of the AMI: takes requests of other systems, sends messages to meters, passes what comes back to the MDMS.

One task a meter works through its line: messages by priority, then receipts, then collections. Everything that has to
survive is in the database before it is answered, so that a restart resends with the same message ids and loses nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeVar

from pydantic import TypeAdapter
from sqlalchemy import Engine, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from drivers.errors import DeviceError, LinkLost
from drivers.roles import MessageCode, Meter, MeterMessage, Receipt, ReceiptStatus
from twins.clock import Clock, Event, Timer
from twins.utility.adcs_alerts import Alerts
from twins.utility.adcs_commands import PlannedCommands
from twins.utility.adcs_priorities import Priorities
from twins.utility.adcs_records import (
    NEEDED,
    SERVICE,
    Admitted,
    Direction,
    LoggedRequest,
    MessageRecord,
    Request,
    State,
    Transaction,
)
from twins.utility.adcs_reread import Reread
from twins.utility.adcs_rules import Rules
from twins.utility.adcs_tables import MessageIdRow, MessageRow, MeterRow, RequestRow, TransactionRow
from twins.utility.adcs_tests import MeterTests
from twins.utility.adcs_watch import IntervalWatch
from twins.utility.config import AdcsConfig
from twins.utility.database import table_of
from twins.utility.errors import NotAccepted, Reason
from twins.utility.mdms import BalanceStatement, Mdms
from twins.utility.network import AmiNetwork
from twins.utility.weather import WeatherService

T = TypeVar("T")

_BALANCES = (MessageCode.PREPAYMENT, MessageCode.BALANCE)
_FIELDS = tuple(f.name for f in dataclasses.fields(MeterMessage) if f.default is None)
_FIRST_ID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_MESSAGE: TypeAdapter[MeterMessage] = TypeAdapter(MeterMessage)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_HELD_S = 61.0
_NO_PRIORITY = 5
_BATCH_S = 900


# Made once: every hour of every meter takes the same few statements.
_REQUESTS, _MESSAGES, _METERS = table_of(RequestRow), table_of(MessageRow), table_of(MeterRow)
_ADD_REQUEST, _ADD_MESSAGE = insert(_REQUESTS), insert(_MESSAGES)
_ADD_TRANSACTION = insert(table_of(TransactionRow))
_IDS = table_of(MessageIdRow)
_LAST_ID, _ADD_ID = select(func.max(_IDS.c.id)), insert(_IDS)
_CHANGE_MESSAGE = update(_MESSAGES).where(_MESSAGES.c.message_id == bindparam("of_message"))
_CHANGE_METER = update(_METERS).where(_METERS.c.meter_id == bindparam("of_meter"))
_MESSAGE_AT = select(_MESSAGES).where(_MESSAGES.c.message_id == bindparam("message_id"))


@dataclass
class _Pending:
    """A message on its way: in the queue until `accepted`, then waiting for its receipt until `deadline`."""

    message: MeterMessage
    not_before: datetime
    attempts: int = 0
    first_sent_at: datetime | None = None
    accepted: bool = False
    deadline: datetime | None = None

    @property
    def rank(self) -> tuple[int, int]:
        return (self.message.priority, self.message.message_id)


@dataclass
class _Line:
    """The ADCS's end of one meter."""

    meter_id: str
    meter: Meter
    wake: Event
    receipts_after: int
    log_after: int
    intervals_since: datetime | None
    collect_at: datetime
    pending: dict[int, _Pending] = field(default_factory=dict)
    asked: list[Event] = field(default_factory=list)
    poll_at: datetime | None = None
    silent_reads: int = 0
    timer: Timer | None = None
    sending: _Pending | None = None

    def heads(self) -> list[_Pending]:
        """The first message to be sent of each priority, the most urgent first. It holds back those behind it even while
        it waits to be asked again: a later connect or balance must not be overtaken by an earlier one."""
        first: dict[int, _Pending] = {}
        for pending in sorted((p for p in self.pending.values() if not p.accepted), key=lambda p: p.rank):
            first.setdefault(pending.message.priority, pending)
        return list(first.values())

    def ready(self, now: datetime) -> _Pending | None:
        """The most urgent message that may be sent now."""
        return next((p for p in self.heads() if p.not_before <= now), None)

    def listens_before(self, pending: _Pending, now: datetime) -> bool:
        """Whether the receipt of a more urgent message is due to be looked for before this one is sent: a long queue must not
        make it seem lost."""
        urgent = any(p.accepted and p.message.priority < pending.message.priority for p in self.pending.values())
        return urgent and self.poll_at is not None and self.poll_at <= now


class Adcs:
    """The advanced data collection system. Every method belongs to the event loop's thread.

    `commands` are those planned for later, `alerts` those repeated, `rules` hold commands back or give them by time, class
    and weather, `priorities` say what goes first. `classes` maps a meter to the class of its customer.
    """

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: AdcsConfig,
        meters: Mapping[str, Meter],
        network: AmiNetwork,
        mdms: Mdms,
        defects: frozenset[str] = frozenset(),
        *,
        classes: Mapping[str, str] | None = None,
        zone: tzinfo = UTC,
        weather: WeatherService | None = None,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._meters = meters
        self.network = network
        self._mdms = mdms
        self._defects = defects
        self.tests = MeterTests(clock, engine, mdms, defects)
        self._watch = IntervalWatch(config, defects)
        self._reread = Reread(engine)
        self._lines: dict[str, _Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: list[Timer] = []
        self.priorities = Priorities(engine, config.priorities, defects)
        self.commands = PlannedCommands(clock, engine, self, defects)
        self.alerts = Alerts(clock, engine, self, config.alert_every_s, defects)
        self.rules = Rules(clock, engine, self, config.rules, classes or {}, zone, weather, defects)

    def start(self) -> None:
        """Take up what was left unfinished, and begin to serve every meter."""
        now = self._clock.now()
        self.tests.start()
        for meter_id, meter in self._meters.items():
            with Session(self._engine) as session:
                row = session.get(MeterRow, meter_id) or MeterRow(
                    meter_id=meter_id, receipts_after=0, log_after=0, intervals_since=None, collected_at=None
                )
                unfinished = session.scalars(
                    select(MessageRow).where(
                        MessageRow.meter_id == meter_id, MessageRow.state.in_([State.QUEUED, State.ACCEPTED])
                    )
                ).all()
                period = self._collection_period
                line = _Line(
                    meter_id=meter_id,
                    meter=meter,
                    wake=self._clock.event(),
                    receipts_after=row.receipts_after,
                    log_after=row.log_after,
                    intervals_since=row.intervals_since,
                    collect_at=(row.collected_at or now) + period,
                )
            self._lines[meter_id] = line
            for left in unfinished:
                self._resume(line, left, now)
            if self.tests.awaited(meter_id):
                line.poll_at = now
            self._tasks.append(self._clock.spawn(self._serve(line), name=f"adcs {meter_id}"))
        self.priorities.start()
        self.rules.start(tuple(self._lines))
        self.commands.start()
        self.alerts.start()

    async def close(self) -> None:
        """Stop serving the meters; what was not done is taken up by the next start."""
        self.rules.close()
        self.commands.close()
        self.alerts.close()
        for task in self._tasks:
            task.cancel()
        self.tests.close()
        for timer in [*self._timers, *(line.timer for line in self._lines.values() if line.timer is not None)]:
            timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what other systems may ask ---

    def new_message_id(self) -> int:
        """Give out a message id that no message has had. The first of a database is the seconds since 2000, so that a meter
        which remembers ids of an older database does not take new messages for old ones."""
        with self._engine.begin() as connection:
            last = connection.scalar(_LAST_ID)
            now = self._clock.now()
            given = int((now - _FIRST_ID_FROM).total_seconds()) if last is None else last + 1
            connection.execute(_ADD_ID, {"id": given, "given_at": now})
        return given

    def submit(self, request: Request) -> int:
        """Log a request and queue its message; returns the message id. NotAccepted where it cannot be carried out."""
        self.check(request)
        if request.message_id is not None and self._known(request.message_id):
            return request.message_id
        admitted = self.admit(request)
        self.enter([admitted], lambda session: None)
        return admitted.message.message_id

    # --- how the ADCS's own parts send (`adcs_records.Outbox`) ---

    def serves(self, meter_id: str) -> bool:
        """Whether there is such a meter."""
        return meter_id in self._lines

    def check(self, request: Request) -> None:
        """NotAccepted where a request cannot be carried out."""
        self._line(request.meter_id)
        missing = [name for name in NEEDED.get(request.code, ()) if getattr(request, name) is None]
        if missing:
            raise NotAccepted(
                Reason.INCOMPLETE_REQUEST,
                f"ADCS: a request for {request.code.name.lower()} needs {', '.join(missing)}",
            )

    def admit(self, request: Request) -> Admitted:
        """Check a request and make its message, with an id of its own unless it brings one. Nothing is sent yet."""
        self.check(request)
        message_id = self.new_message_id() if request.message_id is None else request.message_id
        return Admitted(request, self._message(request, message_id, self._clock.now()))

    def enter(self, admitted: Sequence[Admitted], along: Callable[[Session], None]) -> None:
        """Write messages, what rules make of them, and what `along` writes, in one transaction; then queue them."""
        now = self._clock.now()
        out: list[Admitted] = []
        writes = [along]
        for one in admitted:
            others, write = self.rules.gate(one)
            out += [one, *others]
            writes.append(write)
        with Session(self._engine) as session, session.begin():
            for one in out:
                self._record(session, one, now)
            for write in writes:
                write(session)
        for one in out:
            if one.state is State.QUEUED:
                self._queue(one.request.meter_id, one.message, now)

    def withdraw(self, message_id: int, why: str, *, unanswered: bool = False) -> bool:
        """Take back a message that was never sent (or, `unanswered`, never accepted); whether that was so."""
        for line in self._lines.values():
            pending = line.pending.get(message_id)
            if pending is not None and not pending.accepted and line.sending is not pending:
                if pending.attempts and not unanswered:
                    return False
                del line.pending[message_id]
                self._update(message_id, state=State.CANCELLED, why=why)
                return True
        return False

    def let_go(self, message_id: int) -> None:
        """Queue a message that was held back."""
        record = self.message(message_id)
        self._queue(record.meter_id, record.message, self._clock.now())

    def _record(self, session: Session, admitted: Admitted, now: datetime) -> None:
        request, message = admitted.request, admitted.message
        if "requests_not_logged" not in self._defects:
            session.execute(
                _ADD_REQUEST,
                {
                    "received_at": now,
                    "source": request.source,
                    "meter_id": request.meter_id,
                    "code": int(request.code),
                    "message_id": message.message_id,
                    "body": _REQUEST.dump_python(request, mode="json"),
                },
            )
        session.execute(
            _ADD_MESSAGE,
            {
                "message_id": message.message_id,
                "meter_id": request.meter_id,
                "source": request.source,
                "body": _MESSAGE.dump_python(message, mode="json"),
                "state": admitted.state,
                "submitted_at": now,
            },
        )

    def _queue(self, meter_id: str, message: MeterMessage, now: datetime) -> None:
        line = self._line(meter_id)
        if message.code in _BALANCES:
            self._supersede(line, message.message_id, now)
        if not self._never_sent(message) and not self._watch.withholds(meter_id, message.code):
            line.pending[message.message_id] = _Pending(message, not_before=self._earliest(line, message, now))
            line.wake.set()

    def _never_sent(self, message: MeterMessage) -> bool:
        return (
            ("ignores_test_requests" in self._defects and message.code is MessageCode.TEST)
            or ("never_sends_texts" in self._defects and message.code is MessageCode.TEXT)
            or ("never_sends_limits" in self._defects and message.code is MessageCode.LIMIT)
        )

    def collect(self, meter_id: str) -> Event:
        """Collect receipts, intervals and log from a meter now; the event is set once they are with the MDMS."""
        line = self._line(meter_id)
        done = self._clock.event()
        line.asked.append(done)
        line.wake.set()
        return done

    def collect_every_interval(self, meter_id: str) -> None:
        """From now on, collect a meter a little after the end of each of its recording intervals (C3-FR-07)."""
        line = self._line(meter_id)
        self._watch.watch(meter_id)
        due = self._watch.next(meter_id, self._clock.now())
        if due is not None and due < line.collect_at:
            line.collect_at = due
            line.wake.set()

    def collect_as_usual(self, meter_id: str) -> None:
        """Collect a meter by the usual period again."""
        self._watch.unwatch(meter_id)

    def interval(self, meter_id: str) -> timedelta:
        """A meter's recording interval, as the ADCS has seen it."""
        return self._watch.length(meter_id)

    def requests(self) -> tuple[LoggedRequest, ...]:
        """The log of requests, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(RequestRow).order_by(RequestRow.id)).all()
        return tuple(
            LoggedRequest(r.id, r.received_at, r.source, r.meter_id, MessageCode(r.code), r.message_id) for r in rows
        )

    def message(self, message_id: int) -> MessageRecord:
        """A message and what became of it."""
        with Session(self._engine) as session:
            row = session.get(MessageRow, message_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_MESSAGE, f"ADCS: no message {message_id}; `submit` returns the id of one")
        return MessageRecord(
            row.message_id,
            row.meter_id,
            row.source,
            _MESSAGE.validate_python(row.body),
            State(row.state),
            row.submitted_at,
            row.attempts,
            row.first_sent_at,
            row.accepted_at,
            row.receipt_at,
            None if row.receipt_status is None else ReceiptStatus(row.receipt_status),
            row.why,
        )

    def transactions(self, meter_id: str | None = None) -> tuple[Transaction, ...]:
        """The log of what was sent to and received from one meter, or all of them, oldest first."""
        query = select(TransactionRow).order_by(TransactionRow.id)
        if meter_id is not None:
            query = query.where(TransactionRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(
            Transaction(
                r.at,
                Direction(r.direction),
                r.meter_id,
                r.kind,
                r.message_id,
                None if r.code is None else MessageCode(r.code),
                r.detail,
            )
            for r in rows
        )

    # --- the line to one meter ---

    async def _serve(self, line: _Line) -> None:
        while True:
            now = self._clock.now()
            self._expire(line, now)
            if (pending := line.ready(now)) is not None and not line.listens_before(pending, now):
                await self._transmit(line, pending)
            elif line.poll_at is not None and line.poll_at <= now:
                await self._poll(line)
            elif line.asked or line.collect_at <= now:
                await self._collect(line)
            else:
                self._rest(line)
                await line.wake.wait()

    def _rest(self, line: _Line) -> None:
        """Have the line woken when something falls due."""
        line.wake.clear()
        due = [p.not_before for p in line.heads()] + [p.deadline for p in line.pending.values() if p.accepted]
        moments = [at for at in (*due, line.poll_at, line.collect_at) if at is not None]
        if line.timer is not None:
            line.timer.cancel()
        line.timer = self._clock.call_at(min(moments), line.wake.set)

    async def _transmit(self, line: _Line, pending: _Pending) -> None:
        message, now = pending.message, self._clock.now()
        pending.attempts += 1
        pending.first_sent_at = pending.first_sent_at or now
        self._update(message.message_id, attempts=pending.attempts, first_sent_at=pending.first_sent_at)
        self._log(line, Direction.TO_METER, "message", message, f"attempt {pending.attempts}")
        line.sending = pending
        try:
            await self.network.exchange(line.meter_id, line.meter.send, self._as_sent(pending))
        except LinkLost as lost:
            self._log(line, Direction.FROM_METER, "no answer", message, str(lost))
            pending.not_before = self._again(pending)
            return
        except DeviceError as refusal:
            self._log(line, Direction.FROM_METER, "refusal", message, str(refusal))
            del line.pending[message.message_id]
            self._update(message.message_id, state=State.REFUSED, why=str(refusal))
            return
        finally:
            line.sending = None
        accepted_at = self._clock.now()
        self._log(line, Direction.FROM_METER, "acceptance", message, "")
        self._update(message.message_id, state=State.ACCEPTED, accepted_at=accepted_at)
        self._await_receipt(line, pending, accepted_at)
        self._back(line, accepted_at)

    async def _poll(self, line: _Line) -> None:
        """Look for receipts and test results, as long as any is awaited."""
        heard = await self._fetch_receipts(line) and await self._fetch_test(line)
        line.poll_at = self._clock.now() + self._pause(line, heard) if self._awaits(line) else None

    def _awaits(self, line: _Line) -> bool:
        return any(p.accepted for p in line.pending.values()) or self.tests.awaited(line.meter_id)

    async def _collect(self, line: _Line) -> None:
        """Receipts, intervals and log. What does not answer is asked again later; who asked waits until then."""
        asked = list(line.asked)
        began = self._clock.now()
        self._log(line, Direction.TO_METER, "read", None, "receipts, intervals, log")
        heard = await self._fetch_receipts(line) and await self._fetch_intervals(line) and await self._fetch_log(line)
        # written once the MDMS has it all: who dies before reads again, and the MDMS stores nothing twice
        so_far = {"intervals_since": line.intervals_since, "log_after": line.log_after}
        self._keep(line, **so_far, **({"collected_at": began} if heard else {}))
        if not heard:
            line.collect_at = self._clock.now() + self._pause(line, heard)
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

    def _ask_again(self, line: _Line, asked: Sequence[Event]) -> None:
        line.asked[:0] = asked
        line.wake.set()

    async def _read(self, line: _Line, call: Callable[..., T], *args: object, pushed: bool = False) -> T | None:
        """What the meter answers, or None where it does not or will not; logged either way."""
        carry = self.network.upward if pushed else self.network.exchange
        try:
            answer = await carry(line.meter_id, call, *args)
        except LinkLost as lost:
            self._log(line, Direction.FROM_METER, "no answer", None, str(lost))
            line.silent_reads += 1
            return None
        except DeviceError as refusal:
            self._log(line, Direction.FROM_METER, "refusal", None, str(refusal))
            line.silent_reads += 1
            return None
        line.silent_reads = 0
        self._back(line, self._clock.now())
        return answer

    async def _fetch_receipts(self, line: _Line) -> bool:
        receipts = await self._read(line, line.meter.receipts, line.receipts_after, pushed=True)
        if receipts is None:
            return False
        for receipt in receipts:
            self._log_receipt(line, receipt)
        if receipts:
            self._pass_receipts(line, receipts)
        for receipt in receipts:
            if not await self._complete(line, receipt):
                return False
            # what a receipt leads to comes first: who dies here, or hears nothing, reads the receipt again
            line.receipts_after = max(line.receipts_after, receipt.sequence)
            self._keep(line, receipts_after=line.receipts_after)
        return True

    async def _fetch_test(self, line: _Line) -> bool:
        """The result of the latest test, where one is awaited; one that does not come is asked for again."""
        if not self.tests.awaited(line.meter_id):
            return True
        asked = line.silent_reads
        result = await self._read(line, line.meter.test_result)
        if line.silent_reads > asked:
            line.poll_at = self._clock.now() + self._pause(line, heard=False)
            return False
        if result is not None:
            self._write(
                line,
                Direction.FROM_METER,
                "test result",
                result.message_id,
                MessageCode.TEST,
                f"of message {result.message_id}",
            )
        self.tests.came_in(line.meter_id, result)
        return True

    async def _fetch_intervals(self, line: _Line) -> bool:
        since = self._reread.since(line.meter_id, line.intervals_since)
        found = await self._read(line, line.meter.intervals, since)
        if found:
            first, last = min(i.ends_at for i in found), max(i.ends_at for i in found)
            span = f"{len(found)} intervals that end {first.isoformat()} to {last.isoformat()}"
            self._log(line, Direction.FROM_METER, "intervals", None, span)
            if "passes_receipts_only" not in self._defects:
                self._mdms.store_intervals(line.meter_id, found)
            self._watch.learn(line.meter_id, found)
            self._reread.came_in(line.meter_id, found)
            line.intervals_since = last
        return found is not None

    async def _fetch_log(self, line: _Line) -> bool:
        entries = await self._read(line, line.meter.log, line.log_after)
        if entries:
            last = max(e.sequence for e in entries)
            span = f"{len(entries)} log entries, number {min(e.sequence for e in entries)} to {last}"
            self._log(line, Direction.FROM_METER, "log", None, span)
            if "passes_receipts_only" not in self._defects:
                self._mdms.store_log(line.meter_id, entries)
            line.log_after = last
            if (again := self._reread.set_back(line.meter_id, entries, line.intervals_since)) is not None:
                told = f"clock set back: intervals that end after {again.isoformat()} are read again"
                self._log(line, Direction.FROM_METER, "log", None, told)
                return await self._fetch_intervals(line)
        return entries is not None

    async def _complete(self, line: _Line, receipt: Receipt) -> bool:
        """A message has its receipt: fetch or pass what belongs to it, and close it. False where the meter does not say."""
        with self._engine.connect() as connection:
            row = connection.execute(_MESSAGE_AT, {"message_id": receipt.message_id}).one_or_none()
        if row is None or row.meter_id != line.meter_id:
            told = "receipt of an unknown message: it went to the MDMS, and changes nothing"
            self._write(line, Direction.FROM_METER, "unknown receipt", receipt.message_id, receipt.code, told)
            return True
        if row.receipt_status not in (None, int(ReceiptStatus.DUPLICATE)):
            line.pending.pop(receipt.message_id, None)
            return True
        processed = receipt.status in (ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE)
        if processed and not await self._follow_up(line, _MESSAGE.validate_python(row.body), receipt):
            return False
        line.pending.pop(receipt.message_id, None)
        self._update(
            receipt.message_id, state=State.DONE, receipt_at=self._clock.now(), receipt_status=int(receipt.status)
        )
        return True

    async def _follow_up(self, line: _Line, message: MeterMessage, receipt: Receipt) -> bool:
        """Fetch or pass what belongs to a message that was processed. False where the meter does not say."""
        if message.code in (MessageCode.PREPAYMENT, MessageCode.BALANCE):
            self._mdms.store_balance(line.meter_id, _statement(message, receipt))
        elif message.code is MessageCode.TEST:
            self.tests.expect(line.meter_id, message.message_id, message.issued_at)
            await self._fetch_test(line)
        elif message.code in (MessageCode.SCHEDULE, MessageCode.CANCEL_SCHEDULE):
            events = await self._read(line, line.meter.schedule)
            if events is None:
                return False
            self._log(line, Direction.FROM_METER, "schedule", message, f"{len(events)} events")
            self._mdms.store_schedule(line.meter_id, events)
        return True

    def _pass_receipts(self, line: _Line, receipts: Sequence[Receipt]) -> None:
        if "keeps_receipts" in self._defects:
            return
        if "passes_receipts_in_batches" in self._defects:
            seconds = (self._clock.now() - _FIRST_ID_FROM).total_seconds()
            self._clock.call_later(_BATCH_S - seconds % _BATCH_S, self._mdms.store_receipts, line.meter_id, receipts)
            return
        self._mdms.store_receipts(line.meter_id, receipts)

    # --- when to do what ---

    def _message(self, request: Request, message_id: int, now: datetime) -> MeterMessage:
        fields = {name: getattr(request, name) for name in _FIELDS}
        if "drops_energy_credit" in self._defects and request.code is MessageCode.PREPAYMENT:
            fields["credit_wh"] = None
        if "drops_zero_moment" in self._defects and request.code is MessageCode.BALANCE:
            fields["zero_at"] = None
        priority = self.priorities.of(request.code) if request.priority is None else request.priority
        if "sends_in_order_of_arrival" in self._defects:
            priority = _NO_PRIORITY
        return MeterMessage(message_id=message_id, code=request.code, issued_at=now, priority=priority, **fields)

    @property
    def _collection_period(self) -> timedelta:
        if "collects_every_other_day" in self._defects:
            return timedelta(hours=48)
        return timedelta(seconds=self._config.collection_period_s)

    def _earliest(self, line: _Line, message: MeterMessage, now: datetime) -> datetime:
        if "schedules_wait_for_collection" in self._defects and message.code is MessageCode.SCHEDULE:
            return line.collect_at
        if "holds_commands_a_minute" in self._defects and message.code in SERVICE:
            return now + timedelta(seconds=_HELD_S)
        return now

    def _again(self, pending: _Pending) -> datetime:
        """When to send a message again to which the meter gave no answer."""
        now = self._clock.now()
        if (retry_at := self._retry_at(pending)) is not None:
            return max(now, retry_at)
        waits = self._config.no_answer_backoff_s
        return now + timedelta(seconds=waits[min(pending.attempts, len(waits)) - 1])

    def _retry_at(self, pending: _Pending) -> datetime | None:
        """The moment of its own at which a message without a receipt is sent again (D7), None where it has none left."""
        after = {"retries_at_43_s": 43.0, "retries_at_47_s": 47.0}
        seconds = next((s for name, s in after.items() if name in self._defects), self._config.retry_after_s)
        if pending.message.code not in self._config.retry_codes or pending.first_sent_at is None:
            return None
        if pending.attempts > self._config.retries or "never_retries" in self._defects:
            return None
        return pending.first_sent_at + pending.attempts * timedelta(seconds=seconds)

    def _as_sent(self, pending: _Pending) -> MeterMessage:
        if "retries_with_a_new_id" in self._defects and pending.attempts > 1:
            return dataclasses.replace(pending.message, message_id=self.new_message_id())
        return pending.message

    def _pause(self, line: _Line, heard: bool) -> timedelta:
        waits = self._config.no_answer_backoff_s
        return timedelta(
            seconds=self._config.receipt_poll_s if heard else waits[min(line.silent_reads, len(waits)) - 1]
        )

    def _await_receipt(self, line: _Line, pending: _Pending, now: datetime) -> None:
        pending.accepted = True
        pending.deadline = now + timedelta(seconds=self._config.receipt_timeout_s)
        if (retry_at := self._retry_at(pending)) is not None:
            pending.deadline = max(now, retry_at)
        poll_at = now + timedelta(seconds=self._config.receipt_poll_s)
        line.poll_at = poll_at if line.poll_at is None else min(line.poll_at, poll_at)

    def _expire(self, line: _Line, now: datetime) -> None:
        """Send again, or stop waiting for, messages whose receipt is overdue."""
        for pending in list(line.pending.values()):
            if not pending.accepted or pending.deadline is None or pending.deadline > now:
                continue
            message_id = pending.message.message_id
            if self._retry_at(pending) is not None:
                pending.accepted, pending.deadline, pending.not_before = False, None, now
                self._update(message_id, state=State.QUEUED)
            else:
                del line.pending[message_id]
                self._update(message_id, state=State.UNCONFIRMED, why="no receipt in time")
        if not self._awaits(line):
            line.poll_at = None

    def _supersede(self, line: _Line, message_id: int, now: datetime) -> None:
        """Leave out balances that wait to be sent: what follows them is more urgent or newer, and must be what stays."""
        for old in list(line.pending.values()):
            waits = not old.accepted and (old.attempts == 0 or old.not_before > now)
            if waits and old.message.code is MessageCode.BALANCE:
                del line.pending[old.message.message_id]
                self._update(old.message.message_id, state=State.SUPERSEDED, why=f"message {message_id} is newer")

    def _back(self, line: _Line, now: datetime) -> None:
        """The meter answers: what waited for that can go, but for what has a moment of its own (D7)."""
        for pending in line.pending.values():
            if not pending.accepted and pending.attempts and pending.message.code not in self._config.retry_codes:
                pending.not_before = min(pending.not_before, now)

    def _resume(self, line: _Line, row: MessageRow, now: datetime) -> None:
        message = _MESSAGE.validate_python(row.body)
        if self._never_sent(message):
            return
        pending = _Pending(message, now, row.attempts, row.first_sent_at)
        line.pending[message.message_id] = pending
        if row.state == State.ACCEPTED:
            self._await_receipt(line, pending, now)

    # --- the database ---

    def _line(self, meter_id: str) -> _Line:
        if meter_id not in self._lines:
            known = ", ".join(self._lines) or "none; start the utility first"
            raise NotAccepted(Reason.UNKNOWN_METER, f"ADCS: no meter {meter_id!r}; meters are {known}")
        return self._lines[meter_id]

    def _known(self, message_id: int) -> bool:
        with self._engine.connect() as connection:
            return connection.execute(_MESSAGE_AT, {"message_id": message_id}).one_or_none() is not None

    def _update(self, message_id: int, **columns: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(_CHANGE_MESSAGE, {"of_message": message_id, **columns})

    def _keep(self, line: _Line, **columns: object) -> None:
        with self._engine.begin() as connection:
            if connection.execute(_CHANGE_METER, {"of_meter": line.meter_id, **columns}).rowcount == 0:
                connection.execute(insert(_METERS), {"meter_id": line.meter_id, **columns})

    def _log_receipt(self, line: _Line, receipt: Receipt) -> None:
        self._write(
            line,
            Direction.FROM_METER,
            "receipt",
            receipt.message_id,
            receipt.code,
            f"{receipt.status.name.lower()} at {receipt.completed_at.isoformat()}",
        )

    def _log(self, line: _Line, direction: Direction, kind: str, message: MeterMessage | None, detail: str) -> None:
        message_id, code = (None, None) if message is None else (message.message_id, message.code)
        self._write(line, direction, kind, message_id, code, detail)

    def _write(
        self,
        line: _Line,
        direction: Direction,
        kind: str,
        message_id: int | None,
        code: MessageCode | None,
        detail: str,
    ) -> None:
        defect = "sent_not_logged" if direction is Direction.TO_METER else "received_not_logged"
        if defect in self._defects:
            return
        row = {
            "at": self._clock.now(),
            "direction": direction,
            "meter_id": line.meter_id,
            "kind": kind,
            "message_id": message_id,
            "code": None if code is None else int(code),
            "detail": detail,
        }
        with self._engine.begin() as connection:
            connection.execute(_ADD_TRANSACTION, row)


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


__all__ = ["Adcs", "Request"]
