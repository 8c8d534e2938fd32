"""The manufacturer tables and procedures of twinbench's meter profile, between bytes and the dataclasses of the role.

The interface document is `docs/meter-profile.md`. Everything is little-endian. A time is an unsigned 64-bit count of
microseconds since 1970 UTC, 0 for none; energy is in mWh, voltage in mV, current in mA, money in cents.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from drivers.roles import (
    Account,
    AtZero,
    Billing,
    DisplayCode,
    DisplayItem,
    EventCode,
    Interval,
    LogEntry,
    MessageCode,
    MeterMessage,
    MeterTestResult,
    Receipt,
    ReceiptStatus,
    ScheduledEvent,
    ServiceStatus,
    Switch,
)
from drivers.wire.c1219 import MANUFACTURER, TableError, characters, pack, text, unpack

VERSION = 1

PROFILE = MANUFACTURER + 0
COUNTERS = MANUFACTURER + 1
SERVICE = MANUFACTURER + 2
LIMIT = MANUFACTURER + 3
INTERVALS = MANUFACTURER + 4
LOG = MANUFACTURER + 5
RECEIPTS = MANUFACTURER + 6
ACCOUNT = MANUFACTURER + 7
INBOX = MANUFACTURER + 8
SCHEDULE = MANUFACTURER + 9
DISPLAY = MANUFACTURER + 10
TEST_RESULT = MANUFACTURER + 11
CLOCK = MANUFACTURER + 12
CONFIG = MANUFACTURER + 13

SET_CLOCK = MANUFACTURER + 1
"""Manufacturer procedure 1: sets the clock to the microsecond, where standard procedure 10 sets it to the second."""

NONE_U32 = 0xFFFFFFFF
LONGEST_TEXT = 160
"""Bytes of UTF-8 in a text message or a line of the display."""

E = TypeVar("E", bound=enum.Enum)
T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


def encode_time(when: datetime | None) -> int:
    """Microseconds since 1970, 0 for none; TableError before 1970 or without a time zone."""
    if when is None:
        return 0
    if when.tzinfo is None:
        raise TableError(f"a time without a time zone: {when}")
    ticks = (when - _EPOCH) // _TICK
    if ticks <= 0:
        raise TableError(f"a time not after 1970: {when}")
    return ticks


def decode_time(ticks: int) -> datetime | None:
    """The moment, None for 0; TableError after the year 9999."""
    if not ticks:
        return None
    try:
        return _EPOCH + timedelta(microseconds=ticks)
    except OverflowError as no:
        raise TableError(f"a time of {ticks} microseconds is none") from no


def _moment(ticks: int, what: str) -> datetime:
    when = decode_time(ticks)
    if when is None:
        raise TableError(f"{what} needs a time")
    return when


def _member(kind: type[E], value: int, what: str) -> E:
    try:
        return kind(value)
    except ValueError as no:
        raise TableError(f"{what}: no {kind.__name__} {value}") from no


def _optional(kind: type[E], value: int, what: str) -> E | None:
    return _member(kind, value, what) if value else None


def _seconds(span: timedelta) -> int:
    return span // _SECOND


def _thousandths(value: float, what: str) -> int:
    try:
        return round(value * 1000)
    except (ValueError, OverflowError) as no:
        raise TableError(f"{what}: {value} is no number") from no


# --- Profile, counters, clock, configuration -------------------------------------------------------------------------

_PROFILE = struct.Struct("<2B2H")


class Feature(enum.IntFlag):
    """What a meter of this profile has."""

    SWITCH = 1
    DISPLAY = 2
    OWN_BALANCE = 4  # can work out the balance itself between messages
    SPANISH = 8  # shows texts in Spanish as well


@dataclass(frozen=True)
class Profile:
    """Table 2048, 6 bytes: version of this profile, features, messages that can wait, schedules that can be stored."""

    features: Feature
    inbox_capacity: int
    schedule_capacity: int
    version: int = VERSION

    def encode(self) -> bytes:
        """The whole table."""
        return pack(_PROFILE, "profile", self.version, self.features, self.inbox_capacity, self.schedule_capacity)

    @classmethod
    def decode(cls, data: bytes) -> Profile:
        """TableError where the bytes are no table 2048, or of another version of the profile."""
        version, features, inbox, schedule = unpack(_PROFILE, data, "profile")
        if version != VERSION:
            raise TableError(f"profile version {version}; this side knows version {VERSION}")
        return cls(Feature(features), inbox, schedule)


_COUNTERS = struct.Struct("<6I2H")


@dataclass(frozen=True)
class Counters:
    """Table 2049, 28 bytes: what a client polls to learn what is new. Sequence numbers are of the newest entry, 0 before any."""

    receipts: int
    log: int
    intervals: int
    last_message_id: int  # accepted last, whether processed or not
    account_updates: int
    schedule_changes: int
    waiting: int  # messages accepted and not yet processed
    display_lines: int

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            _COUNTERS, "counters", self.receipts, self.log, self.intervals, self.last_message_id,
            self.account_updates, self.schedule_changes, self.waiting, self.display_lines,
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Counters:
        """TableError where the bytes are no table 2049."""
        return cls(*unpack(_COUNTERS, data, "counters"))


_TIME = struct.Struct("<Q")


def encode_clock(now: datetime) -> bytes:
    """Table 2060 and the parameters of procedure `SET_CLOCK`, 8 bytes."""
    return pack(_TIME, "clock", encode_time(now))


def decode_clock(data: bytes) -> datetime:
    """TableError where the bytes are no moment."""
    return _moment(unpack(_TIME, data, "clock")[0], "clock")


_CONFIG = struct.Struct("<HhB")


@dataclass(frozen=True)
class Config:
    """Table 2061, 5 bytes: recording interval in seconds (may be written: first two bytes), local time's offset, display on.

    `utc_offset` is the one in force now, in whole minutes, for the display alone.
    """

    interval: timedelta
    utc_offset: timedelta
    display_on: bool

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            _CONFIG, "configuration", _seconds(self.interval), self.utc_offset // timedelta(minutes=1), self.display_on
        )

    @classmethod
    def decode(cls, data: bytes) -> Config:
        """TableError where the bytes are no table 2061."""
        interval, offset, on = unpack(_CONFIG, data, "configuration")
        return cls(timedelta(seconds=interval), timedelta(minutes=offset), bool(on))


INTERVAL_FIELD = (0, 2)
"""Offset and count of the recording interval in table 2061."""


def encode_interval_length(length: timedelta) -> bytes:
    """The field that is written to table 2061 at offset 0: whole seconds. TableError for a length it cannot hold."""
    if length % _SECOND or not 0 < _seconds(length) < 65536:
        raise TableError(f"a recording interval of {length} is not a number of seconds up to 65535")
    return _seconds(length).to_bytes(2, "little")


def decode_interval_length(data: bytes) -> timedelta:
    """TableError where the bytes are not that field."""
    if len(data) != 2:
        raise TableError(f"a recording interval has 2 bytes, not {len(data)}")
    return timedelta(seconds=int.from_bytes(data, "little"))


# --- Service and limit -----------------------------------------------------------------------------------------------

_SERVICE = struct.Struct("<3B3I")


def encode_service(status: ServiceStatus) -> bytes:
    """Table 2050, 15 bytes."""
    return pack(
        _SERVICE,
        "service",
        status.switch.value,
        status.energised,
        status.billing.value,
        NONE_U32 if status.limit_w is None else status.limit_w,
        _thousandths(status.load_side_voltage_v, "load-side voltage"),
        _thousandths(status.load_side_current_a, "load-side current"),
    )


def decode_service(data: bytes) -> ServiceStatus:
    """TableError where the bytes are no table 2050."""
    switch, energised, billing, limit, volts, amps = unpack(_SERVICE, data, "service")
    return ServiceStatus(
        switch=_member(Switch, switch, "service"),
        energised=bool(energised),
        load_side_voltage_v=volts / 1000,
        load_side_current_a=amps / 1000,
        limit_w=None if limit == NONE_U32 else limit,
        billing=_member(Billing, billing, "service"),
    )


_LIMIT = struct.Struct("<IBBHI")


@dataclass(frozen=True)
class DemandLimit:
    """Table 2051, 12 bytes: the limit in force, whether it has tripped, whether the one automatic re-close is still to
    come, its delay after a trip, and trips since the limit was set."""

    limit_w: int | None
    tripped: bool
    reclose_armed: bool
    reclose_after: timedelta
    trips: int

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            _LIMIT,
            "limit",
            NONE_U32 if self.limit_w is None else self.limit_w,
            self.tripped,
            self.reclose_armed,
            _seconds(self.reclose_after),
            self.trips,
        )

    @classmethod
    def decode(cls, data: bytes) -> DemandLimit:
        """TableError where the bytes are no table 2051."""
        limit, tripped, armed, delay, trips = unpack(_LIMIT, data, "limit")
        return cls(None if limit == NONE_U32 else limit, bool(tripped), bool(armed), timedelta(seconds=delay), trips)


# --- Rings: receipts, log, intervals ---------------------------------------------------------------------------------

_HEAD = struct.Struct("<IIHH")


@dataclass(frozen=True)
class RingHead:
    """First 12 bytes of a ring table: oldest and newest sequence stored (0 and 0 when empty), slots, bytes of a slot."""

    first: int
    last: int
    capacity: int
    entry_size: int

    SIZE = _HEAD.size

    def encode(self) -> bytes:
        """The head as bytes."""
        return pack(_HEAD, "ring", self.first, self.last, self.capacity, self.entry_size)

    @classmethod
    def decode(cls, data: bytes) -> RingHead:
        """TableError where the bytes are no head of a ring, or contradict each other."""
        first, last, capacity, size = unpack(_HEAD, data, "ring")
        if not capacity or not size or first > last or bool(first) != bool(last) or last - first >= capacity:
            raise TableError(f"ring: {first} to {last} in {capacity} slots of {size} bytes cannot be")
        return cls(first, last, capacity, size)

    @property
    def size(self) -> int:
        """Bytes of the whole table."""
        return self.SIZE + self.capacity * self.entry_size

    def offset(self, sequence: int) -> int:
        """Where the slot of an entry begins."""
        return self.SIZE + (sequence - 1) % self.capacity * self.entry_size

    def spans(self, first: int, last: int) -> list[tuple[int, int]]:
        """(offset, count) of the reads that give entries `first` to `last` in order: none, one, or two round the end."""
        if first > last:
            return []
        until_end = self.capacity - (first - 1) % self.capacity
        here = min(last - first + 1, until_end)
        spans = [(self.offset(first), here * self.entry_size)]
        if last - first + 1 > here:
            spans.append((self.SIZE, (last - first + 1 - here) * self.entry_size))
        return spans


@dataclass(frozen=True)
class Ring(Generic[T]):
    """How one ring table is laid out: its number, the bytes of a slot, and the two codecs of an entry."""

    table: int
    entry_size: int
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    sequence: Callable[[T], int]

    def head(self, entries: Sequence[T], capacity: int) -> RingHead:
        """The head of a ring that holds `entries`, oldest first."""
        if not entries:
            return RingHead(0, 0, capacity, self.entry_size)
        return RingHead(self.sequence(entries[0]), self.sequence(entries[-1]), capacity, self.entry_size)

    def read(self, entries: Sequence[T], capacity: int, offset: int, count: int) -> bytes:
        """`count` bytes of the table from `offset` on, as a device answers; only the slots touched are encoded.

        `entries`: what the ring holds, oldest first, with consecutive sequence numbers. Free slots are zeros.
        TableError where the bytes reach beyond the table.
        """
        head = self.head(entries, capacity)
        if offset < 0 or count < 0 or offset + count > head.size:
            raise TableError(f"table {self.table} has {head.size} bytes, {offset}+{count} is beyond")
        end = offset + count
        out = bytearray(head.encode()[offset:end])
        size, start = self.entry_size, RingHead.SIZE
        if end > start:
            slot = max(0, offset - start) // size
            skip = max(0, offset - start) - slot * size
            body = bytearray()
            while len(body) < skip + end - max(offset, start):
                sequence = self._in_slot(head, slot)
                body += self.encode(entries[sequence - head.first]) if sequence else bytes(size)
                slot += 1
            out += body[skip : skip + end - max(offset, start)]
        return bytes(out)

    def entries(self, data: bytes) -> list[T]:
        """Entries from the bytes of whole slots; TableError for half a slot or an entry that is none."""
        size = self.entry_size
        if len(data) % size:
            raise TableError(f"table {self.table}: slots have {size} bytes, {len(data)} is no multiple")
        return [self.decode(data[at : at + size]) for at in range(0, len(data), size)]

    @staticmethod
    def _in_slot(head: RingHead, slot: int) -> int:
        """The sequence stored in a slot, 0 for none."""
        if not head.last:
            return 0
        sequence = head.last - (head.last - 1 - slot) % head.capacity
        return sequence if sequence >= head.first else 0


_RECEIPT = struct.Struct("<IIBB20sQ")


def encode_receipt(receipt: Receipt) -> bytes:
    """One slot of table 2054, 38 bytes."""
    return pack(
        _RECEIPT,
        "receipt",
        receipt.sequence,
        receipt.message_id,
        receipt.code,
        receipt.status,
        characters(receipt.meter_id, 20, "meter id"),
        encode_time(receipt.completed_at),
    )


def decode_receipt(data: bytes) -> Receipt:
    """TableError where the bytes are no receipt."""
    fields: tuple[int, int, int, int, bytes, int] = unpack(_RECEIPT, data, "receipt")  # type: ignore[assignment]
    sequence, message_id, code, status, meter_id, completed = fields
    return Receipt(
        sequence=sequence,
        message_id=message_id,
        code=_member(MessageCode, code, "receipt"),
        meter_id=text(meter_id),
        status=_member(ReceiptStatus, status, "receipt"),
        completed_at=_moment(completed, "receipt"),
    )


_LOG = struct.Struct("<IQBBI")


def encode_log_entry(entry: LogEntry) -> bytes:
    """One slot of table 2053, 18 bytes."""
    return pack(
        _LOG, "log entry", entry.sequence, encode_time(entry.at), entry.event, entry.message_code or 0, entry.argument
    )


def decode_log_entry(data: bytes) -> LogEntry:
    """TableError where the bytes are no log entry."""
    sequence, at, event, code, argument = unpack(_LOG, data, "log entry")
    return LogEntry(
        sequence,
        _moment(at, "log entry"),
        _member(EventCode, event, "log entry"),
        _optional(MessageCode, code, "log entry"),
        argument,
    )


_INTERVAL = struct.Struct("<IQIBq")


@dataclass(frozen=True)
class NumberedInterval:
    """An interval and its place in the ring."""

    sequence: int
    interval: Interval


def encode_interval(numbered: NumberedInterval) -> bytes:
    """One slot of table 2052, 25 bytes."""
    interval = numbered.interval
    return pack(
        _INTERVAL,
        "interval",
        numbered.sequence,
        encode_time(interval.ends_at),
        _seconds(interval.length),
        interval.complete,
        _thousandths(interval.energy_wh, "interval"),
    )


def decode_interval(data: bytes) -> NumberedInterval:
    """TableError where the bytes are no interval."""
    sequence, ends_at, length, flags, energy = unpack(_INTERVAL, data, "interval")
    return NumberedInterval(
        sequence,
        Interval(_moment(ends_at, "interval"), timedelta(seconds=length), energy / 1000, bool(flags & 1)),
    )


RECEIPT_RING: Ring[Receipt] = Ring(RECEIPTS, _RECEIPT.size, encode_receipt, decode_receipt, lambda r: r.sequence)
LOG_RING: Ring[LogEntry] = Ring(LOG, _LOG.size, encode_log_entry, decode_log_entry, lambda e: e.sequence)
INTERVAL_RING: Ring[NumberedInterval] = Ring(
    INTERVALS, _INTERVAL.size, encode_interval, decode_interval, lambda n: n.sequence
)

# --- Account, schedule, display, test --------------------------------------------------------------------------------

_ACCOUNT = struct.Struct("<BBiiIIQIQ")


def encode_account(account: Account) -> bytes:
    """Table 2055, 38 bytes."""
    return pack(
        _ACCOUNT,
        "account",
        account.billing.value,
        0 if account.at_zero is None else account.at_zero.value,
        account.balance_cents,
        account.credit_wh,
        account.price_millicents_per_kwh,
        _seconds(account.time_left),
        encode_time(account.zero_at),
        account.last_message_id,
        encode_time(account.updated_at),
    )


def decode_account(data: bytes) -> Account:
    """TableError where the bytes are no table 2055."""
    billing, at_zero, balance, credit, price, left, zero_at, message_id, updated = unpack(_ACCOUNT, data, "account")
    return Account(
        billing=_member(Billing, billing, "account"),
        balance_cents=balance,
        credit_wh=credit,
        price_millicents_per_kwh=price,
        time_left=timedelta(seconds=left),
        zero_at=decode_time(zero_at),
        at_zero=_optional(AtZero, at_zero, "account"),
        last_message_id=message_id,
        updated_at=decode_time(updated),
    )


_EVENT = struct.Struct("<IQQiB")


def encode_schedule(events: Sequence[ScheduledEvent]) -> bytes:
    """Table 2057: a count, then 25 bytes an event, by start."""
    if len(events) > 255:
        raise TableError(f"schedule: {len(events)} events do not fit, 255 do")
    return bytes((len(events),)) + b"".join(
        pack(
            _EVENT,
            "schedule",
            event.event_id,
            encode_time(event.starts_at),
            encode_time(event.ends_at),
            event.credit_wh,
            event.at_zero.value,
        )
        for event in events
    )


def decode_schedule(data: bytes) -> tuple[ScheduledEvent, ...]:
    """TableError where the bytes are no table 2057."""
    if not data or len(data) != 1 + data[0] * _EVENT.size:
        raise TableError(f"schedule: {len(data)} bytes do not hold the events announced")
    events = []
    for at in range(1, len(data), _EVENT.size):
        event_id, starts, ends, credit, at_zero = _EVENT.unpack(data[at : at + _EVENT.size])
        events.append(
            ScheduledEvent(
                event_id,
                _moment(starts, "schedule"),
                _moment(ends, "schedule"),
                credit,
                _member(AtZero, at_zero, "schedule"),
            )
        )
    return tuple(events)


def _utf8(value: str, what: str) -> bytes:
    try:
        field = value.encode()
    except UnicodeEncodeError as no:
        raise TableError(f"{what}: {value!r} is no text") from no
    if len(field) > LONGEST_TEXT:
        raise TableError(f"{what}: a text has at most {LONGEST_TEXT} bytes, not {len(field)}")
    return field


def _from_utf8(field: bytes, what: str) -> str:
    try:
        return field.decode()
    except UnicodeDecodeError as no:
        raise TableError(f"{what}: a text that is not UTF-8") from no


def encode_display(items: Sequence[DisplayItem]) -> bytes:
    """Table 2058: a count, then for each line its code, its length in bytes and its text in UTF-8."""
    if len(items) > 255:
        raise TableError(f"display: {len(items)} lines do not fit, 255 do")
    out = bytearray((len(items),))
    for item in items:
        line = _utf8(item.text, "display")
        out += bytes((item.code, len(line))) + line
    return bytes(out)


def decode_display(data: bytes) -> tuple[DisplayItem, ...]:
    """TableError where the bytes are no table 2058."""
    if not data:
        raise TableError("display: an empty table")
    items = []
    at = 1
    for _ in range(data[0]):
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            raise TableError("display: the table ends inside a line")
        end = at + 2 + data[at + 1]
        items.append(DisplayItem(_member(DisplayCode, data[at], "display"), _from_utf8(data[at + 2 : end], "display")))
        at = end
    if at != len(data):
        raise TableError(f"display: {len(data) - at} bytes too many")
    return tuple(items)


_TEST = struct.Struct("<IQBBII")


def encode_test_result(result: MeterTestResult | None) -> bytes:
    """Table 2059, 22 bytes; all zeros before any test."""
    if result is None:
        return bytes(_TEST.size)
    return pack(
        _TEST,
        "test result",
        result.message_id,
        encode_time(result.completed_at),
        result.connected | result.energised << 1,
        result.switch.value,
        _thousandths(result.load_side_voltage_v, "load-side voltage"),
        _thousandths(result.load_side_current_a, "load-side current"),
    )


def decode_test_result(data: bytes) -> MeterTestResult | None:
    """The result, None before any test; TableError where the bytes are no table 2059."""
    message_id, completed, flags, switch, volts, amps = unpack(_TEST, data, "test result")
    if not message_id and not completed:
        return None
    return MeterTestResult(
        message_id=message_id,
        completed_at=_moment(completed, "test result"),
        connected=bool(flags & 1),
        energised=bool(flags & 2),
        switch=_member(Switch, switch, "test result"),
        load_side_voltage_v=volts / 1000,
        load_side_current_a=amps / 1000,
    )


# --- Messages: table 2056 --------------------------------------------------------------------------------------------

_MESSAGE = struct.Struct("<3BIQH")
"""Version, code, priority, message id, issued at, and which fields follow."""

_TEXT_BIT = 1 << 12

_FIELDS: tuple[tuple[str, str], ...] = (
    ("balance_cents", "i"),
    ("credit_wh", "i"),
    ("price_millicents_per_kwh", "I"),
    ("time_left", "I"),
    ("zero_at", "Q"),
    ("at_zero", "B"),
    ("limit_w", "I"),
    ("billing", "B"),
    ("starts_at", "Q"),
    ("ends_at", "Q"),
    ("event_id", "I"),
)
"""Optional fields in order: bit 0 first. Bit 12 is the text: a length byte and UTF-8, last."""

_LAYOUTS: dict[int, tuple[tuple[str, ...], struct.Struct]] = {}

_REQUIRED: dict[MessageCode, tuple[str, ...]] = {
    MessageCode.PREPAYMENT: ("balance_cents", "credit_wh", "price_millicents_per_kwh", "time_left", "at_zero"),
    MessageCode.BALANCE: ("balance_cents", "credit_wh", "time_left"),
    MessageCode.LIMIT: ("limit_w",),
    MessageCode.SCHEDULE: ("event_id", "starts_at", "ends_at", "credit_wh", "at_zero"),
    MessageCode.CANCEL_SCHEDULE: ("event_id",),
    MessageCode.BILLING: ("billing",),
    MessageCode.TEXT: ("text",),
}


class MalformedMessage(TableError):
    """A message whose head can be read and whose rest cannot: a meter takes it and gives a receipt that says so."""

    def __init__(self, why: str, head: MeterMessage) -> None:
        super().__init__(why)
        self.head = head
        """The message with its head alone: id, code, priority, moment."""


def required_fields(code: MessageCode) -> tuple[str, ...]:
    """Fields that a message of this code has to carry, by their names in the role."""
    return _REQUIRED.get(code, ())


def _layout(present: int) -> tuple[tuple[str, ...], struct.Struct]:
    known = _LAYOUTS.get(present)
    if known is None:
        chosen = [field for bit, field in enumerate(_FIELDS) if present >> bit & 1]
        known = tuple(name for name, _ in chosen), struct.Struct("<" + "".join(kind for _, kind in chosen))
        _LAYOUTS[present] = known
    return known


def encode_message(message: MeterMessage) -> bytes:
    """What is written to table 2056. TableError where a value does not fit its field; nothing is required here."""
    present = 0
    values: list[int] = []
    for bit, (name, _) in enumerate(_FIELDS):
        value = getattr(message, name)
        if value is None:
            continue
        present |= 1 << bit
        if isinstance(value, datetime):
            value = encode_time(value)
        elif isinstance(value, timedelta):
            value = _seconds(value)
        elif isinstance(value, enum.Enum):
            value = value.value
        values.append(value)
    tail = b""
    if message.text is not None:
        line = _utf8(message.text, "message")
        present |= _TEXT_BIT
        tail = bytes((len(line),)) + line
    if not 1 <= message.message_id <= NONE_U32 or not 0 <= message.priority <= 9:
        raise TableError(
            f"message id {message.message_id}, priority {message.priority}: ids go from 1 to 2**32 - 1, priorities to 9"
        )
    head = pack(
        _MESSAGE, "message", VERSION, message.code, message.priority, message.message_id,
        encode_time(message.issued_at), present,
    )  # fmt: skip
    return head + pack(_layout(present & (_TEXT_BIT - 1))[1], "message", *values) + tail


def decode_message(data: bytes) -> MeterMessage:
    """A message as a meter takes it.

    MalformedMessage where its head can be read and its rest cannot, or a field that its code needs is missing;
    TableError where not even the head can be read (the write is refused with `iar`).
    """
    if len(data) < _MESSAGE.size:
        raise TableError(f"a message has at least {_MESSAGE.size} bytes, not {len(data)}")
    version, code, priority, message_id, issued, present = _MESSAGE.unpack(data[: _MESSAGE.size])
    if version != VERSION or priority > 9 or not message_id:
        raise TableError(f"message: version {version}, priority {priority}, id {message_id} cannot be")
    head = MeterMessage(message_id, _member(MessageCode, code, "message"), _moment(issued, "message"), priority)
    try:
        fields = _decode_fields(data[_MESSAGE.size :], present)
    except TableError as no:
        raise MalformedMessage(str(no), head) from no
    missing = [name for name in required_fields(head.code) if name not in fields]
    if missing:
        raise MalformedMessage(f"message: {head.code.name} needs {', '.join(missing)}", head)
    return MeterMessage(head.message_id, head.code, head.issued_at, head.priority, **fields)


def _decode_fields(body: bytes, present: int) -> dict[str, Any]:
    if present & ~(_TEXT_BIT | (1 << len(_FIELDS)) - 1):
        raise TableError(f"message: fields {present:#06x} that this profile has not")
    names, layout = _layout(present & (1 << len(_FIELDS)) - 1)
    if len(body) < layout.size:
        raise TableError("message: it ends before its fields")
    fields: dict[str, Any] = {}
    for name, value in zip(names, layout.unpack(body[: layout.size]), strict=True):
        if name in ("zero_at", "starts_at", "ends_at"):
            fields[name] = _moment(value, name)
        elif name == "time_left":
            fields[name] = timedelta(seconds=value)
        elif name == "at_zero":
            fields[name] = _member(AtZero, value, "message")
        elif name == "billing":
            fields[name] = _member(Billing, value, "message")
        else:
            fields[name] = value
    rest = body[layout.size :]
    if present & _TEXT_BIT:
        if not rest or len(rest) != 1 + rest[0] or rest[0] > LONGEST_TEXT:
            raise TableError("message: the text is not as long as announced")
        fields["text"] = _from_utf8(rest[1:], "message")
    elif rest:
        raise TableError(f"message: {len(rest)} bytes too many")
    return fields


# --- Procedures ------------------------------------------------------------------------------------------------------


class LoadControl(enum.IntEnum):
    """What direct load control (standard procedure 21) is asked for; the parameter layout is ours."""

    DISCONNECT = 0
    CONNECT = 1
    LIMIT = 2  # watts follow, unsigned 32 bits
    END_LIMIT = 3
    LIMIT_STEP = 4  # the number of a limit step follows, one byte


_ARGUMENT_BYTES = {LoadControl.LIMIT: 4, LoadControl.LIMIT_STEP: 1}


def encode_load_control(action: LoadControl, argument: int | None = None) -> bytes:
    """Parameters of procedure 21: `argument` is watts or the number of a step. TableError where it doesn't fit or belong."""
    size = _ARGUMENT_BYTES.get(action, 0)
    if bool(size) != (argument is not None):
        raise TableError(f"load control: {action.name} with {argument}")
    if argument is None:
        return bytes((action,))
    if not 0 <= argument < 256**size or argument == NONE_U32:
        raise TableError(f"load control: {action.name} of {argument} does not fit {8 * size} bits")
    return bytes((action,)) + argument.to_bytes(size, "little")


def decode_load_control(data: bytes) -> tuple[LoadControl, int | None]:
    """Action, and watts for LIMIT or the number of a step for LIMIT_STEP; TableError where the parameters are others."""
    if not data:
        raise TableError("load control: no parameters")
    action = _member(LoadControl, data[0], "load control")
    size = _ARGUMENT_BYTES.get(action, 0)
    if len(data) != 1 + size:
        raise TableError(f"load control: {action.name} with {len(data)} bytes")
    argument = int.from_bytes(data[1:], "little") if size else None
    if argument == NONE_U32:
        raise TableError("load control: a limit of FFFFFFFF is none")
    return action, argument


_CREDIT = struct.Struct("<i")


def encode_credit(cents: int) -> bytes:
    """Parameters of procedure 22: cents, signed 32 bits."""
    return pack(_CREDIT, "credit", cents)


def decode_credit(data: bytes) -> int:
    """Cents; TableError where the parameters are others."""
    return unpack(_CREDIT, data, "credit")[0]
