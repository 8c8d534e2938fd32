"""The MDMS: stores what the ADCS passes on and publishes it to the utility's other systems at once (C3-FR-31, C3-NFR-07).

Other systems see only what is available by now. The same item passed on twice is stored once. An interval that comes with
another value is a revision: it is stored and published besides the first, and readers get the latest that is available.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Engine, Executable, Insert, Select, bindparam, func, insert, select
from sqlalchemy.orm import Session

from drivers.roles import (
    AtZero,
    EventCode,
    Interval,
    LogEntry,
    MessageCode,
    MeterTestResult,
    Receipt,
    ReceiptStatus,
    ScheduledEvent,
    Switch,
)
from twins.clock import Clock, Timer
from twins.noise import bounded
from twins.utility.config import HistoryConfig, UtilityConfig
from twins.utility.database import table_of
from twins.utility.mdms_tables import BalanceRow, FeedRow, IntervalRow, LogRow, ReceiptRow, ScheduleRow, TestResultRow

T = TypeVar("T")
_HOUR = timedelta(hours=1)
_PUBLISHES_AFTER_S = {"publishes_two_seconds_late": 2.0, "publishes_half_a_second_late": 0.5}
_EVER, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class Kind(enum.StrEnum):
    """What the MDMS stores."""

    RECEIPT = "receipt"
    INTERVAL = "interval"
    LOG = "log"
    TEST = "test"
    SCHEDULE = "schedule"
    BALANCE = "balance"


@dataclass(frozen=True)
class BalanceStatement:
    """What a meter was told of its account by message `message_id`, and when it had processed that (its own clock)."""

    message_id: int
    confirmed_at: datetime
    balance_cents: int
    credit_wh: int | None
    price_millicents_per_kwh: int | None
    time_left: timedelta | None
    zero_at: datetime | None
    at_zero: AtZero | None


@dataclass(frozen=True)
class Stored(Generic[T]):
    """An item, the meter it came from, when the MDMS received it and since when others can see it (None: they cannot)."""

    meter_id: str
    value: T
    received_at: datetime
    available_at: datetime | None


Row = ReceiptRow | IntervalRow | LogRow | TestResultRow | ScheduleRow | BalanceRow
Subscriber = Callable[[Kind, str], None]

TABLES: dict[Kind, type[Any]] = {
    Kind.RECEIPT: ReceiptRow,
    Kind.INTERVAL: IntervalRow,
    Kind.LOG: LogRow,
    Kind.TEST: TestResultRow,
    Kind.SCHEDULE: ScheduleRow,
    Kind.BALANCE: BalanceRow,
}

_KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.RECEIPT: ("sequence", "completed_at", "message_id"),
    Kind.INTERVAL: ("ends_at", "length_s", "energy_wh", "complete"),
    Kind.LOG: ("sequence", "at"),
    Kind.TEST: ("message_id",),
    Kind.SCHEDULE: (),
    Kind.BALANCE: ("message_id",),
}
"""What tells an item from another one of the same meter."""


def _same(kind: Kind) -> Executable:
    columns = table_of(TABLES[kind]).c
    return select(columns.id).where(*(columns[name] == bindparam(name) for name in ("meter_id", *_KEYS[kind])))


# Made once: a meter that is read every hour has the same few statements executed over and over.
_SAME: dict[Kind, Executable] = {kind: _same(kind) for kind in Kind}
_ADD: dict[Kind, Insert] = {kind: insert(table_of(TABLES[kind])) for kind in Kind}
_RECEIVED_COUNT: dict[Kind, Select[Any]] = {
    kind: select(func.count()).where(table_of(TABLES[kind]).c.meter_id == bindparam("meter_id")) for kind in Kind
}
_PUBLISH = insert(table_of(FeedRow))
_I = table_of(IntervalRow).c
_INTERVALS = (
    select(_I.ends_at, _I.length_s, _I.energy_wh, _I.complete, _I.received_at, _I.available_at)
    .where(
        _I.meter_id == bindparam("meter_id"),
        _I.available_at <= bindparam("now"),
        _I.ends_at > bindparam("since"),
        _I.ends_at <= bindparam("until"),
    )
    .order_by(_I.ends_at, _I.id)
)
_FRESH = (
    select(_I.ends_at, _I.length_s, _I.energy_wh, _I.complete, _I.received_at, _I.available_at)
    .where(
        _I.meter_id == bindparam("meter_id"),
        _I.available_at <= bindparam("now"),
        _I.available_at >= bindparam("fresh"),
    )
    .order_by(_I.ends_at, _I.id)
)
_INTERVAL_COUNT = select(func.count()).where(_I.meter_id == bindparam("meter_id"), _I.available_at <= bindparam("now"))


class Mdms:
    """The meter data management system. Every method belongs to the event loop's thread."""

    def __init__(
        self, clock: Clock, engine: Engine, config: UtilityConfig, seed: int, defects: frozenset[str] = frozenset()
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._seed = seed
        self._defects = defects
        self._subscribers: list[Subscriber] = []
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Load the consumption history of meters that have none yet, and publish what fell due while the MDMS was down."""
        for customer in self._config.customers:
            for account in customer.accounts:
                if account.history is not None:
                    self._load_history(account.meter_id, account.history)
        now = self._clock.now()
        for kind, table in TABLES.items():
            with Session(self._engine) as session:
                due = session.execute(
                    select(table.meter_id, table.available_at).where(table.available_at > now).distinct()
                ).all()
            for meter_id, at in due:
                self._announce(kind, meter_id, at)

    def close(self) -> None:
        """Stop publishing."""
        for timer in self._timers:
            timer.cancel()

    def subscribe(self, tell: Subscriber) -> Callable[[], None]:
        """Call `tell(kind, meter_id)` whenever something of that kind has become available, or was withdrawn. Returns what
        ends that."""
        self._subscribers.append(tell)
        return lambda: self._subscribers.remove(tell)

    # --- what the ADCS passes on ---

    def store_receipts(self, meter_id: str, receipts: Sequence[Receipt]) -> None:
        """Log receipts and publish them."""
        self._store(
            Kind.RECEIPT,
            meter_id,
            (
                {
                    "sequence": r.sequence,
                    "message_id": r.message_id,
                    "code": int(r.code),
                    "claimed_meter_id": r.meter_id,
                    "status": int(r.status),
                    "completed_at": r.completed_at,
                }
                for r in receipts
            ),
            hidden="receipts_not_published" in self._defects,
        )

    def store_intervals(self, meter_id: str, intervals: Sequence[Interval]) -> None:
        """Store interval usage and publish it."""
        self._store(Kind.INTERVAL, meter_id, (_interval_columns(i) for i in intervals))

    def store_log(self, meter_id: str, entries: Sequence[LogEntry]) -> None:
        """Store a meter's log entries and publish them."""
        self._store(
            Kind.LOG,
            meter_id,
            (
                {
                    "sequence": e.sequence,
                    "at": e.at,
                    "event": int(e.event),
                    "message_code": None if e.message_code is None else int(e.message_code),
                    "argument": e.argument,
                }
                for e in entries
            ),
            hidden="hides_meter_logs" in self._defects,
        )

    def store_test_result(self, meter_id: str, result: MeterTestResult) -> None:
        """Store the result of a meter test and publish it."""
        columns = {
            "message_id": result.message_id,
            "completed_at": result.completed_at,
            "connected": result.connected,
            "switch": result.switch.value,
            "energised": result.energised,
            "load_side_voltage_v": result.load_side_voltage_v,
            "load_side_current_a": result.load_side_current_a,
        }
        self._store(Kind.TEST, meter_id, [columns], hidden="hides_test_results" in self._defects)

    def store_balance(self, meter_id: str, statement: BalanceStatement) -> None:
        """Store what a meter was told of its account and publish it."""
        columns = {
            "message_id": statement.message_id,
            "confirmed_at": statement.confirmed_at,
            "balance_cents": statement.balance_cents,
            "credit_wh": statement.credit_wh,
            "price_millicents_per_kwh": statement.price_millicents_per_kwh,
            "time_left_s": None if statement.time_left is None else statement.time_left.total_seconds(),
            "zero_at": statement.zero_at,
            "at_zero": None if statement.at_zero is None else statement.at_zero.value,
        }
        self._store(Kind.BALANCE, meter_id, [columns], hidden="hides_balances" in self._defects)

    def store_schedule(self, meter_id: str, events: Sequence[ScheduledEvent]) -> None:
        """Take over the schedule that a meter holds now: events it no longer holds are withdrawn. Publishes it."""
        now = self._clock.now()
        available, withdrawn = self._available_from(now), False
        with Session(self._engine) as session, session.begin():
            held = session.scalars(
                select(ScheduleRow).where(ScheduleRow.meter_id == meter_id, ScheduleRow.withdrawn_at.is_(None))
            ).all()
            known = [_scheduled(row) for row in held]
            for row, event in zip(held, known, strict=True):
                if event not in events:
                    row.withdrawn_at = now
                    session.execute(_PUBLISH, _publication(Kind.SCHEDULE, meter_id, row.id, available, withdrawn=True))
                    withdrawn = True
        if withdrawn:
            self._announce(Kind.SCHEDULE, meter_id, available)
        columns = (
            {
                "event_id": e.event_id,
                "starts_at": e.starts_at,
                "ends_at": e.ends_at,
                "credit_wh": e.credit_wh,
                "at_zero": e.at_zero.value,
            }
            for e in events
            if e not in known
        )
        self._store(Kind.SCHEDULE, meter_id, columns, hidden="hides_schedules" in self._defects)

    # --- what other systems may ask ---

    def receipts(self, meter_id: str, message_id: int | None = None) -> tuple[Stored[Receipt], ...]:
        """Receipts of a meter that are available, oldest first; of one message only, where `message_id` is given."""
        where = [] if message_id is None else [ReceiptRow.message_id == message_id]
        return self._available(Kind.RECEIPT, meter_id, ReceiptRow.id, *where)

    def intervals(
        self,
        meter_id: str,
        since: datetime | None = None,
        until: datetime | None = None,
        *,
        available_since: datetime | None = None,
    ) -> tuple[Stored[Interval], ...]:
        """Interval usage of a meter that is available and lies in [since, until), oldest first; with `available_since` only
        what has become available from then on."""
        # the start is computed, so an index narrows (on the end, or on what is fresh) and the rest is looked at
        since, until = since or _EVER, until or _NEVER
        asked = {"meter_id": meter_id, "now": self._clock.now()}
        with self._engine.connect() as connection:
            if available_since is None:
                found = connection.execute(_INTERVALS, {**asked, "since": since, "until": until}).all()
            else:
                found = connection.execute(_FRESH, {**asked, "fresh": available_since}).all()
        latest = {row.ends_at: row for row in found}
        return tuple(
            Stored(meter_id, Interval(ends_at, timedelta(seconds=length_s), energy_wh, complete), received, available)
            for ends_at, length_s, energy_wh, complete, received, available in latest.values()
            if ends_at <= until and ends_at - timedelta(seconds=length_s) >= since
        )

    def interval_count(self, meter_id: str) -> int:
        """How many intervals of a meter are available, every revision counted."""
        with self._engine.connect() as connection:
            return connection.scalar(_INTERVAL_COUNT, {"meter_id": meter_id, "now": self._clock.now()}) or 0

    def logs(self, meter_id: str) -> tuple[Stored[LogEntry], ...]:
        """Log entries of a meter that are available, oldest first."""
        return self._available(Kind.LOG, meter_id, LogRow.id)

    def test_results(self, meter_id: str) -> tuple[Stored[MeterTestResult], ...]:
        """Test results of a meter that are available, oldest first."""
        return self._available(Kind.TEST, meter_id, TestResultRow.id)

    def schedules(self, meter_id: str) -> tuple[Stored[ScheduledEvent], ...]:
        """Prepayment events that a meter holds, as far as they are available, by start."""
        return self._available(Kind.SCHEDULE, meter_id, ScheduleRow.starts_at, ScheduleRow.withdrawn_at.is_(None))

    def balances(self, meter_id: str) -> tuple[Stored[BalanceStatement], ...]:
        """Balance statements of a meter that are available, oldest first."""
        return self._available(Kind.BALANCE, meter_id, BalanceRow.id)

    def received(self, kind: Kind, meter_id: str) -> tuple[Stored[Any], ...]:
        """The MDMS's own log: everything of a kind that it has received from a meter, available to others or not."""
        table = TABLES[kind]
        with Session(self._engine) as session:
            rows = session.scalars(select(table).where(table.meter_id == meter_id).order_by(table.id)).all()
            return tuple(stored(kind, row) for row in rows)

    def received_count(self, kind: Kind, meter_id: str) -> int:
        """How much of a kind it has received from a meter."""
        with self._engine.connect() as connection:
            return connection.scalar(_RECEIVED_COUNT[kind], {"meter_id": meter_id}) or 0

    # --- inside ---

    def _store(self, kind: Kind, meter_id: str, items: Iterable[dict[str, Any]], hidden: bool = False) -> None:
        now = self._clock.now()
        available = None if hidden else self._available_from(now)
        new: list[int] = []
        with self._engine.begin() as connection:
            for item in items:
                columns = {**item, "meter_id": meter_id, "received_at": now, "available_at": available}
                if _KEYS[kind] and connection.scalar(_SAME[kind], columns) is not None:
                    continue
                key = connection.execute(_ADD[kind], columns).inserted_primary_key
                assert key is not None
                new.append(key[0])
            if new and available is not None:
                connection.execute(_PUBLISH, [_publication(kind, meter_id, item_id, available) for item_id in new])
        if new and available is not None:
            self._announce(kind, meter_id, available)

    def _available_from(self, now: datetime) -> datetime:
        if "publishes_hourly" in self._defects:
            return now.replace(minute=0, second=0, microsecond=0) + _HOUR
        late = max((s for name, s in _PUBLISHES_AFTER_S.items() if name in self._defects), default=0.0)
        return now + timedelta(seconds=late)

    def _announce(self, kind: Kind, meter_id: str, at: datetime) -> None:
        if at <= self._clock.now():
            self._tell(kind, meter_id)
        else:
            self._timers = [t for t in self._timers if t.when > self._clock.now()]
            self._timers.append(self._clock.call_at(at, self._tell, kind, meter_id))

    def _tell(self, kind: Kind, meter_id: str) -> None:
        for tell in tuple(self._subscribers):
            tell(kind, meter_id)

    def _available(self, kind: Kind, meter_id: str, order: Any, *where: ColumnElement[bool]) -> tuple[Stored[Any], ...]:
        table = TABLES[kind]
        query = select(table).where(table.meter_id == meter_id, table.available_at <= self._clock.now(), *where)
        with Session(self._engine) as session:
            return tuple(stored(kind, row) for row in session.scalars(query.order_by(order, table.id)))

    def _load_history(self, meter_id: str, history: HistoryConfig) -> None:
        with self._engine.begin() as connection:
            if connection.scalar(select(func.count()).where(IntervalRow.meter_id == meter_id)):
                return
            rows = []
            seed = self._seed if history.seed is None else history.seed
            last = self._clock.now().replace(minute=0, second=0, microsecond=0)
            for back in range(history.days * 24, 0, -1):
                start = last - back * _HOUR
                share = 1 + history.spread * bounded(seed, meter_id, "consumption history", start)
                energy = history.by_hour_wh[start.astimezone(self._config.zone).hour] * share
                columns = _interval_columns(Interval(start + _HOUR, _HOUR, round(energy, 3), complete=True))
                at = columns["ends_at"]
                rows.append({**columns, "meter_id": meter_id, "received_at": at, "available_at": at})
            if rows:
                connection.execute(_ADD[Kind.INTERVAL], rows)


def _publication(
    kind: Kind, meter_id: str, item_id: int, available: datetime, withdrawn: bool = False
) -> dict[str, Any]:
    return {
        "kind": kind,
        "meter_id": meter_id,
        "item_id": item_id,
        "withdrawn": withdrawn,
        "available_at": available,
    }


def _interval_columns(i: Interval) -> dict[str, Any]:
    return {
        "ends_at": i.ends_at,
        "length_s": i.length.total_seconds(),
        "energy_wh": i.energy_wh,
        "complete": i.complete,
    }


def _scheduled(row: ScheduleRow) -> ScheduledEvent:
    return ScheduledEvent(row.event_id, row.starts_at, row.ends_at, row.credit_wh, AtZero(row.at_zero))


def _value(row: Row) -> Any:
    if isinstance(row, ReceiptRow):
        return Receipt(
            row.sequence,
            row.message_id,
            MessageCode(row.code),
            row.claimed_meter_id,
            ReceiptStatus(row.status),
            row.completed_at,
        )
    if isinstance(row, IntervalRow):
        return Interval(row.ends_at, timedelta(seconds=row.length_s), row.energy_wh, row.complete)
    if isinstance(row, LogRow):
        code = None if row.message_code is None else MessageCode(row.message_code)
        return LogEntry(row.sequence, row.at, EventCode(row.event), code, row.argument)
    if isinstance(row, TestResultRow):
        return MeterTestResult(
            row.message_id,
            row.completed_at,
            row.connected,
            Switch(row.switch),
            row.energised,
            row.load_side_voltage_v,
            row.load_side_current_a,
        )
    if isinstance(row, ScheduleRow):
        return _scheduled(row)
    return BalanceStatement(
        row.message_id,
        row.confirmed_at,
        row.balance_cents,
        row.credit_wh,
        row.price_millicents_per_kwh,
        None if row.time_left_s is None else timedelta(seconds=row.time_left_s),
        row.zero_at,
        None if row.at_zero is None else AtZero(row.at_zero),
    )


def stored(kind: Kind, row: Row) -> Stored[Any]:
    """A row as others see it."""
    return Stored(row.meter_id, _value(row), row.received_at, row.available_at)
