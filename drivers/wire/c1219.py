"""ANSI C12.19 standard tables as dataclasses, little-endian, as our meter profile uses them.

Facts: field order of tables 0, 1, 3, 5, 6, 21 and 52 and the procedure tables 7 and 8 as public C12.19 client code
reads them. Tables 22, 23, 27 and 28 hold the parts that our table 21 leaves, number format and units as
`docs/meter-profile.md` says ("our profile").
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

GEN_CONFIG, MFG_ID, ED_MODE_STATUS, DEVICE_IDENT, UTIL_INFO = 0, 1, 3, 5, 6
PROC_INITIATE, PROC_RESPONSE = 7, 8
ACT_REGS, DATA_SELECTION, CURRENT_REGS = 21, 22, 23
PRESENT_SELECTION, PRESENT_REGS = 27, 28
CLOCK = 52

MANUFACTURER = 2048
"""Manufacturer tables are numbered from here, and the same bit marks a manufacturer's procedure."""

SET_DATE_TIME, DIRECT_LOAD_CONTROL, MODIFY_CREDIT = 10, 21, 22


class TableError(ValueError):
    """Bytes that are not the table they should be, or values that the table cannot hold."""


def unpack(layout: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    """The fields of a table of exactly this layout; TableError for any other length."""
    if len(data) != layout.size:
        raise TableError(f"{what} has {layout.size} bytes, not {len(data)}")
    return layout.unpack(data)


def pack(layout: struct.Struct, what: str, *fields: int | bytes) -> bytes:
    """The bytes of a table; TableError where a field does not fit."""
    try:
        return layout.pack(*fields)
    except struct.error as no:
        raise TableError(f"{what}: a value does not fit its field ({no})") from no


def text(field: bytes) -> str:
    """A character field without its padding."""
    try:
        return field.decode("ascii").rstrip(" \0")
    except UnicodeDecodeError as no:
        raise TableError(f"a character field that is not ASCII: {field.hex(' ')}") from no


def characters(value: str, size: int, what: str) -> bytes:
    """A character field, padded with blanks; TableError where the text is not ASCII or too long."""
    try:
        field = value.encode("ascii")
    except UnicodeEncodeError as no:
        raise TableError(f"{what} {value!r} is not ASCII") from no
    if len(field) > size:
        raise TableError(f"{what} {value!r} has more than {size} characters")
    return field.ljust(size)


def bitmap(numbers: Iterable[int]) -> bytes:
    """A set of table or procedure numbers, bit n of byte n // 8."""
    wanted = set(numbers)
    field = bytearray((max(wanted) // 8 + 1) if wanted else 0)
    for n in wanted:
        field[n // 8] |= 1 << n % 8
    return bytes(field)


def numbers(field: bytes) -> frozenset[int]:
    """The numbers whose bits are set."""
    return frozenset(n for n in range(len(field) * 8) if field[n // 8] >> n % 8 & 1)


@dataclass(frozen=True)
class GenConfig:
    """Table 0: formats, and which tables and procedures there are. Manufacturer numbers without their 2048.

    Always little-endian, binary times of six bytes (TM_FORMAT 2), characters in ASCII, integer registers of 64 bits
    (NI_FORMAT1 11).
    """

    standard_tables: frozenset[int]
    manufacturer_tables: frozenset[int]
    standard_procedures: frozenset[int]
    manufacturer_procedures: frozenset[int]
    standard_writable: frozenset[int] = frozenset()
    manufacturer_writable: frozenset[int] = frozenset()
    device_class: bytes = b"TWBN"
    max_procedure_parameters: int = 64
    max_response_data: int = 64

    TM_FORMAT: ClassVar[int] = 2
    NI_FORMAT1: ClassVar[int] = 11
    _HEAD: ClassVar[struct.Struct] = struct.Struct("<3B4s12B")

    def encode(self) -> bytes:
        """The whole table."""
        standard, manufacturer = bitmap(self.standard_tables), bitmap(self.manufacturer_tables)
        procedures, own = bitmap(self.standard_procedures), bitmap(self.manufacturer_procedures)
        head = pack(
            self._HEAD,
            "table 0",
            1 << 1,  # little-endian, ASCII, simple access model
            self.TM_FORMAT | 3 << 3,  # access by offset and count (and by index, which is refused)
            self.NI_FORMAT1,
            self.device_class,
            2,  # electric
            0,
            self.max_procedure_parameters,
            self.max_response_data,
            2,  # of the standard's second edition
            0,
            len(standard),
            len(manufacturer),
            len(procedures),
            len(own),
            0,
            0,
        )
        return b"".join(
            (
                head,
                standard,
                manufacturer,
                procedures,
                own,
                bitmap(self.standard_writable).ljust(len(standard), b"\0"),
                bitmap(self.manufacturer_writable).ljust(len(manufacturer), b"\0"),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> GenConfig:
        """Read a table 0 of our formats; TableError for another byte order or a wrong length."""
        size = cls._HEAD.size
        if len(data) < size:
            raise TableError(f"table 0 has at least {size} bytes, not {len(data)}")
        formats, times, registers, device_class, *rest = cls._HEAD.unpack(data[:size])
        if formats & 1:
            raise TableError("table 0: big-endian tables are not of this profile")
        if times & 7 != cls.TM_FORMAT or registers & 15 != cls.NI_FORMAT1:
            raise TableError("table 0: times or registers are not in this profile's formats")
        dims = (rest[6], rest[7], rest[8], rest[9], rest[6], rest[7])
        if len(data) != size + sum(dims):
            raise TableError(f"table 0 announces {size + sum(dims)} bytes and has {len(data)}")
        sets: list[frozenset[int]] = []
        at = size
        for dim in dims:
            sets.append(numbers(data[at : at + dim]))
            at += dim
        return cls(
            sets[0], sets[1], sets[2], sets[3], sets[4], sets[5], device_class=device_class,
            max_procedure_parameters=rest[2], max_response_data=rest[3],
        )  # fmt: skip


@dataclass(frozen=True)
class MfgId:
    """Table 1, 32 bytes: who made the device, which model, which versions, which serial number."""

    manufacturer: str
    model: str
    hardware: tuple[int, int]
    firmware: tuple[int, int]
    serial: str

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<4s8s4B16s")

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            self._LAYOUT,
            "table 1",
            characters(self.manufacturer, 4, "manufacturer"),
            characters(self.model, 8, "model"),
            *self.hardware,
            *self.firmware,
            characters(self.serial, 16, "serial number"),
        )

    @classmethod
    def decode(cls, data: bytes) -> MfgId:
        """TableError where the bytes are no table 1."""
        maker, model, hw, hw_revision, fw, fw_revision, serial = _raw(cls._LAYOUT, data, "table 1")
        return cls(text(maker), text(model), (hw, hw_revision), (fw, fw_revision), text(serial))


def _raw(layout: struct.Struct, data: bytes, what: str) -> tuple[bytes, bytes, int, int, int, int, bytes]:
    fields: tuple[bytes, bytes, int, int, int, int, bytes] = unpack(layout, data, what)  # type: ignore[assignment]
    return fields


class Mode(enum.IntFlag):
    """Table 3, ED_MODE."""

    METERING = 1
    TEST = 2
    SHOP = 4
    FACTORY = 8


class Status(enum.IntFlag):
    """Table 3, ED_STD_STATUS1."""

    UNPROGRAMMED = 1 << 0
    CONFIGURATION_ERROR = 1 << 1
    SELF_CHECK_ERROR = 1 << 2
    RAM_FAILURE = 1 << 3
    ROM_FAILURE = 1 << 4
    NONVOLATILE_FAILURE = 1 << 5
    CLOCK_ERROR = 1 << 6
    MEASUREMENT_ERROR = 1 << 7
    LOW_BATTERY = 1 << 8
    LOW_LOSS_POTENTIAL = 1 << 9
    DEMAND_OVERLOAD = 1 << 10
    POWER_FAILURE = 1 << 11
    TAMPER = 1 << 12
    REVERSE_ROTATION = 1 << 13


_FINE = Status(0)


@dataclass(frozen=True)
class ModeStatus:
    """Table 3, 4 bytes (no manufacturer status): what the device is doing and what is wrong with it."""

    mode: Mode = Mode.METERING
    status: Status = _FINE
    status2: int = 0

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<BHB")

    def encode(self) -> bytes:
        """The whole table."""
        return pack(self._LAYOUT, "table 3", self.mode, self.status, self.status2)

    @classmethod
    def decode(cls, data: bytes) -> ModeStatus:
        """TableError where the bytes are no table 3."""
        mode, status, status2 = unpack(cls._LAYOUT, data, "table 3")
        return cls(Mode(mode), Status(status), status2)


def encode_device_ident(identification: str) -> bytes:
    """Table 5, 20 bytes: the id under which the utility knows the device."""
    return characters(identification, 20, "device id")


def decode_device_ident(data: bytes) -> str:
    """The id of table 5; TableError where the bytes are no table 5."""
    if len(data) != 20:
        raise TableError(f"table 5 has 20 bytes, not {len(data)}")
    return text(data)


@dataclass(frozen=True)
class UtilityInfo:
    """Table 6, 230 bytes: what the utility writes about the place. Fields that this profile leaves blank are not shown."""

    owner: str = ""
    division: str = ""
    service_point: str = ""
    device_id: str = ""
    customer: str = ""
    tariff: str = ""

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<20s20s20s20s20s20s20s30s8s12s10s30s")

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            self._LAYOUT,
            "table 6",
            characters(self.owner, 20, "owner"),
            characters(self.division, 20, "division"),
            characters(self.service_point, 20, "service point"),
            b"".ljust(20),
            characters(self.device_id, 20, "device id"),
            b"".ljust(20),
            characters(self.customer, 20, "customer"),
            b"".ljust(30),
            characters(self.tariff, 8, "tariff"),
            b"    \0\0    \0\0",
            b"".ljust(10),
            b"".ljust(30),
        )

    @classmethod
    def decode(cls, data: bytes) -> UtilityInfo:
        """TableError where the bytes are no table 6."""
        fields: tuple[bytes, ...] = unpack(cls._LAYOUT, data, "table 6")  # type: ignore[assignment]
        return cls(text(fields[0]), text(fields[1]), text(fields[2]), text(fields[4]), text(fields[6]), text(fields[8]))


# --- Procedures: tables 7 and 8 --------------------------------------------------------------------------------------


class ProcedureResult(enum.IntEnum):
    """Result of a procedure, table 8."""

    DONE = 0
    ACCEPTED = 1  # begun, not yet completed
    BAD_PARAMETER = 2
    CONFLICT = 3  # with the device's set-up
    TIMING = 4
    NOT_AUTHORISED = 5
    UNKNOWN = 6


@dataclass(frozen=True)
class ProcedureCall:
    """Table 7: procedure number (with 2048 for the manufacturer's), sequence chosen by the client, parameters."""

    procedure: int
    sequence: int
    parameters: bytes = b""
    response_mode: int = 0

    def encode(self) -> bytes:
        """The whole table."""
        if not 0 <= self.procedure < 4096 or not 0 <= self.sequence < 256 or not 0 <= self.response_mode < 16:
            raise TableError(f"table 7: no such procedure call: {self}")
        return (
            (self.procedure | self.response_mode << 12).to_bytes(2, "little")
            + bytes((self.sequence,))
            + self.parameters
        )

    @classmethod
    def decode(cls, data: bytes) -> ProcedureCall:
        """TableError where the bytes are no table 7."""
        if len(data) < 3:
            raise TableError(f"table 7 has at least 3 bytes, not {len(data)}")
        field = data[0] | data[1] << 8
        return cls(field & 0xFFF, data[2], data[3:], field >> 12)


@dataclass(frozen=True)
class ProcedureResponse:
    """Table 8: the latest procedure called, its sequence, its result and what it returned."""

    procedure: int
    sequence: int
    result: ProcedureResult
    data: bytes = b""
    response_mode: int = 0

    def encode(self) -> bytes:
        """The whole table."""
        return (
            ProcedureCall(self.procedure, self.sequence, b"", self.response_mode).encode()
            + bytes((self.result,))
            + self.data
        )

    @classmethod
    def decode(cls, data: bytes) -> ProcedureResponse:
        """TableError where the bytes are no table 8."""
        if len(data) < 4:
            raise TableError(f"table 8 has at least 4 bytes, not {len(data)}")
        field = data[0] | data[1] << 8
        try:
            result = ProcedureResult(data[3])
        except ValueError as no:
            raise TableError(f"table 8: no procedure result {data[3]}") from no
        return cls(field & 0xFFF, data[2], result, data[4:], field >> 12)


# --- Registers: tables 21, 22, 23, 27, 28 ----------------------------------------------------------------------------


@dataclass(frozen=True)
class RegisterSizes:
    """Table 21, 10 bytes: how many registers of each kind. Flags stay 0: registers come without dates and counters."""

    summations: int = 2
    demands: int = 0
    tiers: int = 0
    present_values: int = 4

    _LAYOUT: ClassVar[struct.Struct] = struct.Struct("<10B")

    def encode(self) -> bytes:
        """The whole table."""
        return pack(
            self._LAYOUT, "table 21", 0, 0, 0, self.summations, self.demands, 0, 0, self.tiers, 0, self.present_values
        )

    @classmethod
    def decode(cls, data: bytes) -> RegisterSizes:
        """TableError where the bytes are no table 21 of this profile."""
        fields = unpack(cls._LAYOUT, data, "table 21")
        if fields[0] or fields[1] or fields[2] or fields[5] or fields[6] or fields[8]:
            raise TableError("table 21 announces registers that this profile has not")
        return cls(fields[3], fields[4], fields[7], fields[9])


class Source(enum.IntEnum):
    """What a register counts or shows: the entries of tables 22 and 27 (our profile). Unit and resolution beside each."""

    DELIVERED = 0  # mWh
    RECEIVED = 1  # mWh
    VOLTAGE = 2  # mV rms, line side
    CURRENT = 3  # mA rms
    POWER = 4  # mW, negative when received
    FREQUENCY = 5  # mHz


SUMMATIONS = (Source.DELIVERED, Source.RECEIVED)
PRESENT = (Source.VOLTAGE, Source.CURRENT, Source.POWER, Source.FREQUENCY)


def encode_selection(sources: Iterable[Source]) -> bytes:
    """Tables 22 and 27: one byte a register, saying what it is."""
    return bytes(sources)


def decode_selection(data: bytes) -> tuple[Source, ...]:
    """The registers' sources; TableError for one that the profile has not."""
    try:
        return tuple(Source(n) for n in data)
    except ValueError as no:
        raise TableError(f"a register of unknown source: {data.hex(' ')}") from no


def encode_registers(values: Iterable[int]) -> bytes:
    """Tables 23 and 28: signed 64-bit integers in thousandths of the unit."""
    field = tuple(values)
    return pack(struct.Struct(f"<{len(field)}q"), "registers", *field)


def decode_registers(data: bytes) -> tuple[int, ...]:
    """The registers, in thousandths; TableError for half a register."""
    if len(data) % 8:
        raise TableError(f"registers have 8 bytes each, {len(data)} is no multiple")
    return struct.unpack(f"<{len(data) // 8}q", data)


# --- Clock: table 52, procedure 10 -----------------------------------------------------------------------------------

_LTIME = struct.Struct("<6B")


def encode_ltime(when: datetime) -> bytes:
    """LTIME_DATE of TM_FORMAT 2, 6 bytes: year after 2000, month, day, hour, minute, second. UTC, cut to the second."""
    if when.tzinfo is None:
        raise TableError(f"a time without a time zone: {when}")
    utc = when.astimezone(UTC)
    return pack(_LTIME, "time", utc.year - 2000, utc.month, utc.day, utc.hour, utc.minute, utc.second)


def decode_ltime(data: bytes) -> datetime:
    """The moment; TableError where the six bytes are none."""
    year, month, day, hour, minute, second = unpack(_LTIME, data, "a time")
    try:
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as no:
        raise TableError(f"not a moment: {data.hex(' ')}") from no


_GMT = 0x10


@dataclass(frozen=True)
class ClockTable:
    """Table 52, 7 bytes: the device's clock in UTC, to the second, with the day of the week (0 is Sunday)."""

    now: datetime

    def encode(self) -> bytes:
        """The whole table."""
        weekday = self.now.astimezone(UTC).isoweekday() % 7
        return encode_ltime(self.now) + bytes((weekday | _GMT,))

    @classmethod
    def decode(cls, data: bytes) -> ClockTable:
        """TableError where the bytes are no table 52, or tell another time than UTC."""
        if len(data) != 7:
            raise TableError(f"table 52 has 7 bytes, not {len(data)}")
        if not data[6] & _GMT:
            raise TableError("table 52: the clock does not run on UTC")
        return cls(decode_ltime(data[:6]))


@dataclass(frozen=True)
class SetDateTime:
    """Parameters of procedure 10, 8 bytes: what to set (bit 0 time, bit 1 date), the moment, the qualifier. UTC."""

    when: datetime

    def encode(self) -> bytes:
        """The parameters."""
        return b"\x03" + ClockTable(self.when).encode()

    @classmethod
    def decode(cls, data: bytes) -> SetDateTime:
        """TableError where the parameters are others; time and date are set together or not at all."""
        if len(data) != 8 or data[0] & 3 != 3:
            raise TableError(f"procedure 10 sets time and date together, 8 bytes, not {data.hex(' ')}")
        return cls(ClockTable.decode(data[1:]).now)
