"""The serial XML of Rainforest's RAVEn and EMU-2 display devices: fragments without prolog or root, both ways, without I/O.

Facts from the RAVEn XML API manual 1.27 and the EMU-2 technical guide 1.05. Numbers are hexadecimal, times count seconds
since 2000 UTC, text is Windows-1252. No XML parser looks at what comes in: a fragment is a flat list of fields and nothing
else, so document types and entities of others mean nothing here. What follows the kilowatt-hours in the text of a prepaid
balance is of our profile (`docs/meter-profile.md`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from drivers.roles import DisplayedBalance

ENCODING = "cp1252"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
NO_TIME = "0xffffff"
UNKNOWN_COMMAND = "Unknown command"
CONNECTED = "Connected"
"""The status of a display that has joined; those on the way there are in `STATUSES`."""
STATUSES = (
    "Initializing",
    "Network Discovery",
    "Joining",
    "Join: Fail",
    "Join: Success",
    "Authenticating",
    "Authenticating: Success",
    "Authenticating: Fail",
    CONNECTED,
    "Disconnected",
    "Rejoining",
)
EVENTS = ("time", "price", "demand", "summation", "message")
"""What can be scheduled on both models."""

NOTIFICATIONS = frozenset(
    {
        "BillingPeriodList",
        "BlockPriceDetail",
        "ConnectionStatus",
        "CurrentPeriodUsage",
        "CurrentSummationDelivered",
        "DeviceInfo",
        "FastPollStatus",
        "InstantaneousDemand",
        "LastPeriodUsage",
        "MessageCluster",
        "MeterInfo",
        "MeterList",
        "NetworkInfo",
        "PriceCluster",
        "ProfileData",
        "ScheduleInfo",
        "TimeCluster",
        "Warning",
    }
)

SHOWN = frozenset(
    {
        *("Active", "Channel", "ConfirmationRequired", "Confirmed", "CoordMacId", "Currency", "CurrentUsage"),
        *("DateCode", "Delivered", "Demand", "Description", "DeviceMacId", "DigitsLeft", "DigitsRight", "Divisor"),
        *("Duration", "Enabled", "EndDate", "EndTime", "Event", "ExtPanId", "FWVersion", "Frequency", "HWVersion"),
        *("Id", "ImageType", "IntervalChannel", "LastUsage", "LinkStrength", "LocalTime", "Manufacturer"),
        *("MeterMacId", "MeterType", "ModelId", "Multiplier", "Name", "NickName", "NumberOfPeriods"),
        *("NumberOfPeriodsDelivered", "Price", "ProfileIntervalPeriod", "Protocol", "Queue", "RateLabel", "Received"),
        *("Refresh", "ShortAddr", "StartDate", "Status", "StatusCode", "SummationDelivered", "SummationReceived"),
        *("SuppressLeadingZero", "Text", "Tier", "TierLabel", "TimeStamp", "TrailingDigits", "UTCTime"),
    }
)
"""Fields that a log may show. An install code, a link key and an authorisation code are not among them."""

_LONGEST = 1 << 14  # characters of a notification; a command is a quarter of that at most


class RavenXmlError(ValueError):
    """What came cannot be what a display, or a host, says."""


# --- Numbers, times, addresses ---------------------------------------------------------------------------------------


def number(value: int, digits: int = 8) -> str:
    """`0x0000004b`; below zero as two's complement."""
    if not -(1 << (4 * digits - 1)) <= value < 1 << (4 * digits):
        raise RavenXmlError(f"{value} does not fit into {digits} hexadecimal digits")
    return f"0x{value & ((1 << 4 * digits) - 1):0{digits}x}"


def integer(text: str | None) -> int:
    """A number as it stands on the wire: hexadecimal with `0x`, decimal without. RavenXmlError for anything else."""
    if text is not None and re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", text.strip()):
        return int(text.strip(), 16 if text.strip()[:2] in ("0x", "0X") else 10)
    raise RavenXmlError(f"{text!r} is no number")


def demand(text: str | None) -> int:
    """A demand's raw value: 24 bits with sign, sent with six hexadecimal digits or sign-extended with eight."""
    raw = integer(text)
    bits = 24 if raw < 1 << 24 and len((text or "").strip()) <= len("0x000000") else 32
    return raw - (1 << bits) if raw >> (bits - 1) & 1 else raw


def scaled(raw: int, multiplier: str | None, divisor: str | None) -> float:
    """A raw value in the meter's unit; a multiplier or divisor of 0 counts as 1."""
    times = integer(multiplier) if multiplier is not None else 1
    over = integer(divisor) if divisor is not None else 1
    return raw * (times or 1) / (over or 1)


def price_millicents(price: str | None, trailing_digits: str | None) -> int | None:
    """A price per kWh in thousandths of a cent; None where the display holds none."""
    raw = integer(price)
    if raw == 0xFFFFFFFF:
        return None
    digits = integer(trailing_digits)
    if digits > 9:
        raise RavenXmlError(f"a price with {digits} trailing digits")
    scale = int(10**digits)
    return (raw * 200_000 + scale) // (2 * scale)


def time(when: datetime | None) -> str:
    """Seconds since 2000 UTC; `0xffffff` for none."""
    return NO_TIME if when is None else number((when - EPOCH) // timedelta(seconds=1))


def moment(text: str | None) -> datetime | None:
    """A time of the wire, UTC; None where it says none."""
    seconds = integer(text)
    if seconds > 0xFFFFFFFF:
        raise RavenXmlError(f"{text!r} is no time")
    return None if seconds in (0xFFFFFF, 0xFFFFFFFF) else EPOCH + timedelta(seconds=seconds)


def address(eui64: int) -> str:
    """A device's address as it stands on the wire, `0x00158d0000000004`."""
    return number(eui64, 16)


def flag(text: str | None) -> bool:
    """`Y` or `N`. RavenXmlError for anything else."""
    if text is None or text.strip().upper() not in ("Y", "N"):
        raise RavenXmlError(f"{text!r} is neither Y nor N")
    return text.strip().upper() == "Y"


# --- Fragments ---------------------------------------------------------------------------------------------------------


_ONE_LINE = {code: " " for code in range(ord(" "))}
"""A line break inside a field would end it for a reader of lines."""


def _escaped(text: str) -> str:
    # Most fields are numbers, and these by far the most of what a display says.
    return text if text.isalnum() else escape(text.translate(_ONE_LINE), quote=False)


def fragment(tag: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A notification of the device: one line a field, CRLF."""
    lines = [f"<{tag}>", *(f"  <{key}>{_escaped(value)}</{key}>" for key, value in fields), f"</{tag}>", ""]
    return "\r\n".join(lines).encode(ENCODING, errors="xmlcharrefreplace")


def command(name: str, arguments: Mapping[str, str] | None = None) -> bytes:
    """A command of the host."""
    fields = {"Name": name, **(arguments or {})}
    body = "".join(f"<{key}>{_escaped(value)}</{key}>" for key, value in fields.items())
    return f"<Command>{body}</Command>".encode(ENCODING, errors="xmlcharrefreplace")


_ENTITY = re.compile(r"&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match.group()


def unescaped(text: str) -> str:
    """Text with its character references resolved: the five of XML and numeric ones; others stay as they are."""
    return _ENTITY.sub(_character, text) if "&" in text else text


@dataclass(frozen=True)
class Fragment:
    """A notification: its name and its fields in their order; a name may come several times."""

    tag: str
    fields: tuple[tuple[str, str | None], ...]

    def get(self, key: str) -> str | None:
        """The first field of that name, None where there is none or it is empty."""
        return next((value for name, value in self.fields if name == key), None)


_END = re.compile(r"</(\w{1,40})\s*>")
_FIELD = re.compile(r"\s*<(\w{1,40})\s*(?:/>|>([^<]*)</\1\s*>)")


class Notifications:
    """Finds a device's notifications in a stream of bytes, also in one that begins in the middle or has lost some."""

    def __init__(self) -> None:
        self._text = ""
        self.garbled = 0
        """Notifications that could not be read."""

    def feed(self, data: bytes) -> list[Fragment]:
        """Take bytes and return what has become complete."""
        self._text += data.decode(ENCODING, errors="replace")
        if b">" not in data:
            self._text = self._text[-_LONGEST:]
            return []
        found, at = [], 0
        for end in _END.finditer(self._text):
            tag = end.group(1)
            if tag not in NOTIFICATIONS:
                continue
            start = self._text.rfind(f"<{tag}>", at, end.start())
            if start < 0:
                self.garbled += 1
            else:
                fields = _fields(self._text[start + len(tag) + 2 : end.start()])
                if fields is None:
                    self.garbled += 1
                else:
                    found.append(Fragment(tag, fields))
            at = end.end()
        self._text = self._text[at:][-_LONGEST:]
        return found


def _fields(body: str) -> tuple[tuple[str, str | None], ...] | None:
    fields: list[tuple[str, str | None]] = []
    at = 0
    while (match := _FIELD.match(body, at)) is not None:
        value = match.group(2)
        fields.append((match.group(1), unescaped(value) if value else None))
        at = match.end()
    return None if body[at:].strip() else tuple(fields)


class Mask:
    """Hides in a stream of bytes whatever no log may show, byte for byte behind `*`.

    What is shown is the content of the fields in `SHOWN`, so that a key doesn't come to light either when the line has
    garbled its field's name. A name that is still coming is held back until it is whole, or `rest` is asked for.
    """

    _PIECE = re.compile(rb"<[^<>]*>?|[^<]+")
    _NAME = re.compile(rb"<(/?)(\w{1,40})\s*>")

    def __init__(self) -> None:
        self._held = b""
        self._shown = False

    def feed(self, data: bytes) -> bytes:
        """Take bytes and return what can be told of them, and of those held back before."""
        data, self._held = self._held + data, b""
        said = bytearray()
        for match in self._PIECE.finditer(data):
            piece = match.group()
            if piece.startswith(b"<"):
                if not piece.endswith(b">") and match.end() == len(data) and len(piece) <= 42:
                    self._held = piece
                    break
                named = self._NAME.fullmatch(piece)
                name = named.group(2).decode(ENCODING) if named else ""
                self._shown = named is not None and not named.group(1) and name in SHOWN
                said += piece if name in _KNOWN else _hidden(piece)
            else:
                said += piece if self._shown else _hidden(piece)
        return bytes(said)

    def rest(self) -> bytes:
        """What was held back and never became a name, hidden; the next bytes begin a stream of their own."""
        held, self._held, self._shown = self._held, b"", False
        return _hidden(held)


_KNOWN = SHOWN | NOTIFICATIONS | {"Command", "InstallCode", "LinkKey", "Account", "Auth", "Host"}
"""Names themselves that a log may show."""


def _hidden(data: bytes) -> bytes:
    return re.sub(rb"[^\s]", b"*", data)


@dataclass(frozen=True)
class Command:
    """A command as a device understands it: name and arguments, whose names it doesn't tell upper from lower case in."""

    name: str
    arguments: Mapping[str, str]

    def get(self, key: str) -> str | None:
        """An argument, None where it is missing or empty."""
        return self.arguments.get(key.casefold()) or None


_COMMAND = re.compile(r"<command\b[^<>]*>", re.IGNORECASE)
_COMMAND_END = re.compile(r"</command\s*>", re.IGNORECASE)
_ARGUMENT = re.compile(r"<\s*(\w{1,40})\s*>([^<]*)<\s*/\s*(\w{1,40})\s*>")


class Commands:
    """Finds commands in a stream of bytes, as leniently as the device has to: the vendor's own samples close `<Name>` with
    `</name>`. What is no command is passed over; a command that never ends is forgotten at 4,096 characters."""

    _LONGEST = _LONGEST // 4

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[Command]:
        """Take bytes and return the commands that have become complete."""
        found: list[Command] = []
        # In pieces: a flood must not be searched as one.
        for k in range(0, len(data), self._LONGEST):
            piece = data[k : k + self._LONGEST]
            self._text += piece.decode(ENCODING, errors="replace")
            if b">" in piece:
                found += self._complete()
            self._text = self._text[-self._LONGEST :]
        return found

    def _complete(self) -> list[Command]:
        found, at = [], 0
        for end in _COMMAND_END.finditer(self._text):
            starts = list(_COMMAND.finditer(self._text, at, end.start()))
            if starts:
                arguments = {
                    opened.casefold(): unescaped(value).strip()
                    for opened, value, closed in _ARGUMENT.findall(self._text[starts[-1].end() : end.start()])
                    if opened.casefold() == closed.casefold()
                }
                found.append(Command(arguments.pop("name", ""), arguments))
            at = end.end()
        self._text = self._text[at:]
        return found


# --- The prepaid balance as text -----------------------------------------------------------------------------------------

_STAMP = "%m/%d/%Y-%H:%M:%S"
_BALANCE = re.compile(
    r"PREPAID BALANCE= ?(-?)\$(-?)(\d{1,9})\.(\d\d) \((\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d)\) (-?\d{1,9}) ?kWh"
    r"(?: TIME LEFT (\d{1,6}) d (\d\d) h (\d\d) min)?"
    r"(?: ZERO (\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d))?"
)


def balance_text(
    balance_cents: int, credit_wh: int, at: datetime, time_left: timedelta | None, zero_at: datetime | None
) -> str:
    """`PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh TIME LEFT 3 d 04 h 05 min ZERO 01/08/2026-12:05:02`.

    Times are UTC. Begun kilowatt-hours and begun minutes do not count.
    """
    sign = "-" if balance_cents < 0 else ""
    kwh = abs(credit_wh) // 1000
    text = (
        f"PREPAID BALANCE= {sign}${abs(balance_cents) // 100}.{abs(balance_cents) % 100:02d} "
        f"({at.astimezone(UTC):{_STAMP}}) {'-' if credit_wh < 0 and kwh else ''}{kwh:05d}kWh"
    )
    if time_left is not None:
        minutes = max(0, int(time_left.total_seconds()) // 60)
        text += f" TIME LEFT {minutes // 1440} d {minutes // 60 % 24:02d} h {minutes % 60:02d} min"
    if zero_at is not None:
        text += f" ZERO {zero_at.astimezone(UTC):{_STAMP}}"
    return text


def parse_balance(text: str) -> DisplayedBalance | None:
    """The prepaid balance that a text message carries, None where it carries none. What is missing in it is None."""
    match = _BALANCE.search(text)
    if match is None:
        return None
    before, after, dollars, cents, at, kwh, days, hours, minutes, zero = match.groups()
    left = None if days is None else timedelta(days=int(days), hours=int(hours), minutes=int(minutes))
    try:
        stamp = datetime.strptime(at, _STAMP).replace(tzinfo=UTC)
        zero_at = None if zero is None else datetime.strptime(zero, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    sign = -1 if before or after else 1
    return DisplayedBalance(sign * (int(dollars) * 100 + int(cents)), int(kwh) * 1000, stamp, left, zero_at)
