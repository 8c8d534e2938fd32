"""ANSI C12.18 as bytes, without I/O: packets, acknowledgement and retry (layer 2), and the services carried in them.

Facts: ANSI C12.18 as public client code speaks it; frames captured from such a client are reproduced by the tests.
The protocol is the same seen from both ends, so one `Station` serves the driver and the twin.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import crcmod.predefined

STP = 0xEE
ACK = b"\x06"
NAK = b"\x15"
OVERHEAD = 8
"""Bytes of a packet that are not data: start, identity, control, sequence, length (2), CRC (2)."""

DEFAULT_PACKET_SIZE = 64
DEFAULT_PACKETS = 1
LARGEST_PACKET = 8192

_HELD_BACK_S = 0.02
_CHARACTERS = 4

_MULTI, _FIRST, _TOGGLE = 0x80, 0x40, 0x20

crc16: Callable[[bytes], int] = crcmod.predefined.mkPredefinedCrcFun("x-25")
"""CRC-16/X-25 (HDLC); goes over everything from the start byte to the last data byte, low byte first on the wire."""
_RESIDUE = 0x0F47
"""What the CRC comes to over a packet with its CRC, where that is right."""


def rest_s(baud: int) -> float:
    """Seconds without a byte, at `baud` bits a second, after which half a packet is taken to be all that comes.

    C12.18 allows half a second between characters, which would be paid for every start or length that was hit. No UART
    pauses in a packet; what stands between it and us does: a USB adapter's latency timer holds bytes back for 16 ms, a
    FIFO for four characters. Where that was too soon, the packet is asked for once more than needed, and nothing is lost.
    """
    return _HELD_BACK_S + _CHARACTERS * 10 / baud


class WireError(ValueError):
    """Bytes that are not what C12.18 says should stand there."""


class Result(enum.IntEnum):
    """Result codes of a response, first byte."""

    OK = 0
    ERR = 1  # error, reason unknown; also a message or table checksum that is not one
    SNS = 2  # service not supported
    ISC = 3  # insufficient security clearance
    ONP = 4  # operation not possible: no such table, say
    IAR = 5  # inappropriate action requested: not this table, not these bytes
    BSY = 6  # device busy, ask again
    DNR = 7  # data not ready, ask again
    DLK = 8  # data locked
    RNO = 9  # renegotiate request
    ISSS = 10  # invalid service sequence state


MEANINGS = {
    Result.OK: "ok",
    Result.ERR: "error",
    Result.SNS: "service not supported",
    Result.ISC: "insufficient security clearance",
    Result.ONP: "operation not possible",
    Result.IAR: "inappropriate action requested",
    Result.BSY: "device busy",
    Result.DNR: "data not ready",
    Result.DLK: "data locked",
    Result.RNO: "renegotiate request",
    Result.ISSS: "invalid service sequence state",
}


class Declined(Exception):
    """A response whose result is not ok. `result` is None where the code is none of the standard's."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.result = Result(code) if code in MEANINGS else None
        name = f"{self.result.name.lower()} ({MEANINGS[self.result]})" if self.result is not None else f"code {code}"
        super().__init__(name)


class BadRequest(Exception):
    """A request that a device answers with `result` without looking further."""

    def __init__(self, result: Result, why: str) -> None:
        super().__init__(why)
        self.result = result


# --- Packets ---------------------------------------------------------------------------------------------------------


class Packet(NamedTuple):
    """One packet of layer 2. `sequence` counts down to 0 over the packets of a message."""

    data: bytes
    sequence: int = 0
    toggle: bool = False
    multi: bool = False
    first: bool = False
    identity: int = 0

    def encode(self) -> bytes:
        """The packet as it goes over the wire."""
        data, sequence, toggle, multi, first, identity = self
        control = (_MULTI if multi else 0) | (_FIRST if first else 0) | (_TOGGLE if toggle else 0)
        body = bytes((STP, identity, control, sequence, len(data) >> 8, len(data) & 0xFF)) + data
        return body + crc16(body).to_bytes(2, "little")

    @classmethod
    def decode(cls, frame: bytes) -> Packet:
        """One whole packet; WireError where the bytes are not exactly one."""
        if len(frame) < OVERHEAD or frame[0] != STP or len(frame) != OVERHEAD + (frame[4] << 8 | frame[5]):
            raise WireError(f"C12.18: not one packet: {frame[:16].hex(' ')}")
        if crc16(frame[:-2]) != frame[-2] | frame[-1] << 8:
            raise WireError(f"C12.18: the packet's CRC is wrong: {frame[:16].hex(' ')}")
        return _packet(frame)


def _packet(frame: bytes) -> Packet:
    """The packet in a frame that is known to be one."""
    control = frame[2]
    return Packet(frame[6:-2], frame[3], control & _TOGGLE != 0, control & _MULTI != 0, control & _FIRST != 0, frame[1])


class Signal(enum.Enum):
    """What a line carries besides packets."""

    ACK = "ack"
    NAK = "nak"
    BAD = "bad"  # something that began like a packet and is none
    STRAY = "stray"  # a single byte that is none of these: an acknowledgement that was hit


class Deframer:
    """Cuts a stream of bytes into packets and acknowledgements. Never raises, and finds the next packet after any noise.

    `limit` is the longest data of a packet; a header that announces more is noise. After noise nothing but a packet with
    a right CRC is believed (an 06 inside a broken packet is no acknowledgement) until `quiet` says that the line rested.
    What follows a broken packet is taken for its repetition: where that is broken too, it is known without a rest.
    """

    def __init__(self, limit: int = DEFAULT_PACKET_SIZE - OVERHEAD) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._lost = False
        self._again = -1  # where in the buffer the repetition of a broken packet should begin
        self._noise = 0  # bytes since something whole came

    @property
    def unsettled(self) -> bool:
        """Whether bytes came that made nothing whole yet: half a packet, or noise."""
        return self._lost or bool(self._buffer)

    def feed(self, data: bytes) -> list[Packet | Signal]:
        """Take bytes in pieces of any size; return what they completed, in order."""
        if not self._lost and not self._buffer and (whole := self._whole(data)):
            return whole
        buffer = self._buffer
        buffer += data
        found: list[Packet | Signal] = []
        self._noise += len(data)
        again = self._again
        at = 0
        keep = -1  # where the first packet begins that may still become whole, while lost
        end = len(buffer)
        while at < end:
            byte = buffer[at]
            if byte == STP:
                if end - at >= 6:
                    length = buffer[at + 4] << 8 | buffer[at + 5]
                    if length > self.limit:
                        self._lost = True
                        at += 1
                        continue
                    stop = at + OVERHEAD + length
                if end - at < 6 or stop > end:
                    if not self._lost:
                        break
                    keep = at if keep < 0 else keep
                    at += 1
                    continue
                frame = bytes(buffer[at:stop])
                if crc16(frame[:-2]) == frame[-2] | frame[-1] << 8:
                    found.append(_packet(frame))
                    self._lost = False
                    self._noise = end - stop
                    again = keep = -1
                    at = stop
                    continue
                if not self._lost or at == again:
                    found.append(Signal.BAD)
                    self._lost = True
                    self._noise = 0
                    again = end
            elif not self._lost and byte == 0x06:
                found.append(Signal.ACK)
                self._noise -= 1
            elif not self._lost and byte == 0x15:
                found.append(Signal.NAK)
                self._noise -= 1
            else:
                self._lost = True
            at += 1
        done = keep if keep >= 0 else at
        del buffer[:done]
        self._again = max(-1, again - done)
        return found

    def _whole(self, data: bytes) -> list[Packet | Signal]:
        """What nearly always comes on a quiet line, at once: a packet, its acknowledgement of ours before it. Empty, and
        nothing changed, for anything else."""
        at = 1 if data[:1] == ACK else 0
        length = len(data) - at - OVERHEAD
        if not 0 <= length <= self.limit or data[at] != STP or length != data[at + 4] << 8 | data[at + 5]:
            return []
        frame = bytes(data[at:])
        if crc16(frame) != _RESIDUE:
            return []
        self._noise = 0
        self._again = -1
        return [Signal.ACK, _packet(frame)] if at else [_packet(frame)]

    def quiet(self) -> list[Packet | Signal]:
        """The line has rested: half a packet will not become whole. Returns what is left of it, then starts afresh.

        A broken packet that `feed` has told of already is not told of again where nothing came after it.
        """
        if not self.unsettled:
            return []
        left: list[Packet | Signal] = []
        if not self._lost:
            left.append(Signal.BAD)
            self._lost = True
            left += self.feed(b"")
        elif not self._noise:
            pass
        elif not self._buffer:
            left.append(Signal.STRAY if self._noise == 1 else Signal.BAD)
        else:
            left.append(Signal.BAD)
        self.clear()
        return left

    def clear(self) -> None:
        """Start afresh: what came so far belongs to nothing that is to come."""
        self._buffer.clear()
        self._lost = False
        self._again = -1
        self._noise = 0


class TooLong(WireError):
    """A message does not fit the packets that were negotiated."""


def packets_of(message: bytes, packet_size: int, packets: int) -> list[tuple[bytes, int, bool, bool]]:
    """Cut a message into (data, sequence, multi, first) of packets of `packet_size` bytes in all; TooLong for too many."""
    room = packet_size - OVERHEAD
    if len(message) <= room:
        return [(message, 0, False, False)]
    pieces = [message[at : at + room] for at in range(0, len(message), room)]
    if len(pieces) > packets:
        raise TooLong(
            f"C12.18: a message of {len(message)} bytes needs more than {packets} packets of {packet_size} bytes"
        )
    last = len(pieces) - 1
    return [(piece, last - n, True, n == 0) for n, piece in enumerate(pieces)]


class Station:
    """One end of a C12.18 line: acknowledges, repeats, detects duplicates, cuts and joins messages.

    It does no I/O and keeps no time. What has to go out gathers in `out` (take it with `take`). The owner calls
    `feed` with what came in, `expired` when an acknowledgement or answer is overdue, and `quiet` when the line rested
    while `unsettled`. `answers` is true at the device: a request that comes twice gets its answer again.
    """

    def __init__(self, *, answers: bool, retries: int = 3, identity: int = 0) -> None:
        self.answers = answers
        self.retries = retries
        self.identity = identity
        self.out = bytearray()
        self.failed = False  # the latest message was given up after all retries
        self.repeats = 0  # packets sent again since the station was made
        self.naks = 0  # packets asked for again since the latest message began, or was repeated
        self.asked = False  # whether a packet was asked for again, and nothing has come since
        self._toggle = True
        self._queue: deque[tuple[bytes, int, bool, bool]] = deque()
        self._packet = b""  # the packet sent last
        self._waiting = False  # for its acknowledgement
        self._tries = 0
        self._answered = False  # whether something was sent since the last packet came in
        self._heard: Packet | None = None  # the packet received last
        self._parts: list[bytes] = []
        self._expected = -1
        self._deframer = Deframer()
        self.resize(DEFAULT_PACKET_SIZE, DEFAULT_PACKETS)

    def resize(self, packet_size: int, packets: int) -> None:
        """Put the negotiated sizes in force, both ways: bytes of a whole packet, packets of a message."""
        self.packet_size = packet_size
        self.packets = packets
        self._deframer.limit = packet_size - OVERHEAD

    @property
    def sending(self) -> bool:
        """Whether a packet of ours waits for its acknowledgement."""
        return self._waiting

    @property
    def unsettled(self) -> bool:
        """Whether bytes came in that made nothing whole yet."""
        return self._deframer.unsettled

    def take(self) -> bytes:
        """What has to go over the wire now; empty where nothing has."""
        out = bytes(self.out)
        self.out.clear()
        return out

    def send(self, message: bytes) -> None:
        """Begin to send a message, in the place of what was still being sent. TooLong where it does not fit: then nothing is
        changed."""
        first, *rest = packets_of(message, self.packet_size, self.packets)
        self.failed = False
        self.naks = 0
        self._queue.clear()
        self._queue.extend(rest)
        self._begin(*first)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the wire; return the messages they completed."""
        self.asked = False
        return self._take_in(self._deframer.feed(data))

    def quiet(self) -> list[bytes]:
        """The line has rested although something was unsettled: ask for it again."""
        return self._take_in(self._deframer.quiet())

    def expired(self) -> bool:
        """An acknowledgement, or an answer, is overdue: send the packet again. False once all retries are spent."""
        self.asked = False
        self.naks = 0
        self._deframer.clear()
        self._repeat()
        return not self.failed

    def forget(self) -> None:
        """Drop everything under way (the line was cut, or a session begins anew); toggle and duplicates stay known."""
        self._queue.clear()
        self._waiting = self.failed = self.asked = False
        self._parts = []
        self._expected = -1
        self.out.clear()
        self._deframer.clear()

    def _begin(self, data: bytes, sequence: int, multi: bool, first: bool) -> None:
        self._toggle = not self._toggle
        self._packet = Packet(data, sequence, self._toggle, multi, first, self.identity).encode()
        self._waiting = True
        self._answered = True
        self._tries = 0
        self.out += self._packet

    def _repeat(self) -> None:
        if not self._packet:
            return
        if self._tries >= self.retries:
            self.failed = True
            self._waiting = False
            if not self.answers:
                self._queue.clear()
            return
        self._tries += 1
        self.repeats += 1
        self.out += self._packet

    def _nak(self) -> None:
        self.naks += 1
        self.asked = True
        self.out += NAK

    def _take_in(self, items: list[Packet | Signal]) -> list[bytes]:
        messages: list[bytes] = []
        for item in items:
            if item is Signal.ACK:
                if self._waiting:
                    self._waiting = False
                    if self._queue:
                        self._begin(*self._queue.popleft())
            elif item is Signal.NAK:
                # Also where an ACK seemed to come before: on a noisy line it may have belonged to an earlier packet.
                if self._waiting or self._answered:
                    self._repeat()
            elif item is Signal.STRAY and self._waiting:
                # It stood for yes or no: where it was a yes, the other end knows the repetition for one.
                self._repeat()
            elif item is Signal.BAD or item is Signal.STRAY:
                self._nak()
            else:
                assert isinstance(item, Packet)
                self._packet_in(item, messages)
        return messages

    def _packet_in(self, packet: Packet, messages: list[bytes]) -> None:
        # A repetition has the toggle and the CRC of the packet before it (C12.18), so it is that packet, bit for bit.
        if packet == self._heard:
            self.out += ACK
            if self.answers and self._answered:
                self._tries = 0
                self._waiting = True
                self.failed = False
                self.out += self._packet
            return
        if packet.multi:
            if packet.first:
                if packet.sequence >= self.packets:
                    self._nak()
                    return
                self._parts = []
            elif packet.sequence != self._expected:
                self._nak()
                return
            self._parts.append(packet.data)
            self._expected = packet.sequence - 1
        else:
            self._parts = [packet.data]
            self._expected = -1
        self._heard = packet
        self.out += ACK
        # A new packet from the other end says that it has all it wanted of us, whether its ACK reached us or not.
        self._waiting = False
        self._answered = False
        self._queue.clear()
        if self._expected < 0:
            messages.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts = []


# --- Services --------------------------------------------------------------------------------------------------------

BAUD_CODES = {1: 300, 2: 600, 3: 1200, 4: 2400, 5: 4800, 6: 9600, 7: 14400, 8: 19200, 9: 28800, 10: 57600}


def table_checksum(data: bytes) -> int:
    """Two's complement of the sum of the bytes, modulo 256: data and checksum together add up to 0."""
    return -sum(data) & 0xFF


@dataclass(frozen=True, slots=True)
class Ident:
    """Identification, the first request of a conversation."""

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x20"


@dataclass(frozen=True, slots=True)
class Terminate:
    """End of the conversation, at once, from any state."""

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x21"


@dataclass(frozen=True, slots=True)
class Read:
    """Read a whole table."""

    table: int

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x30" + self.table.to_bytes(2, "big")


@dataclass(frozen=True, slots=True)
class ReadPart:
    """Read `count` bytes of a table from `offset` on."""

    table: int
    offset: int
    count: int

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x3f" + (self.table << 40 | self.offset << 16 | self.count).to_bytes(7, "big")


@dataclass(frozen=True, slots=True)
class Write:
    """Write a whole table."""

    table: int
    data: bytes

    def encode(self) -> bytes:
        """The request as a message."""
        return (
            b"\x40"
            + (self.table << 16 | len(self.data)).to_bytes(4, "big")
            + self.data
            + bytes((table_checksum(self.data),))
        )


@dataclass(frozen=True, slots=True)
class WritePart:
    """Write bytes into a table from `offset` on."""

    table: int
    offset: int
    data: bytes

    def encode(self) -> bytes:
        """The request as a message."""
        return (
            b"\x4f"
            + (self.table << 40 | self.offset << 16 | len(self.data)).to_bytes(7, "big")
            + self.data
            + bytes((table_checksum(self.data),))
        )


@dataclass(frozen=True, slots=True)
class Logon:
    """Open a session: user id 0..65535 and a name of up to ten ASCII characters."""

    user_id: int
    user: str

    def encode(self) -> bytes:
        """The request as a message."""
        if not self.user.isascii() or not 0 <= self.user_id <= 0xFFFF:
            raise WireError(f"C12.18: user id {self.user_id}, name {self.user!r}: 0 to 65535, and ASCII")
        return b"\x50" + self.user_id.to_bytes(2, "big") + _padded(self.user.encode(), 10, b" ", "user name")


@dataclass(frozen=True, slots=True, repr=False)
class Security:
    """Raise the session's rights by a password of up to 20 bytes."""

    password: bytes

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x51" + _padded(self.password, 20, b"\0", "password")

    def __repr__(self) -> str:
        return "Security(password=...)"


@dataclass(frozen=True, slots=True)
class Logoff:
    """Close the session."""

    def encode(self) -> bytes:
        """The request as a message."""
        return b"\x52"


@dataclass(frozen=True, slots=True)
class Negotiate:
    """Propose the largest packet in bytes (overhead included), packets a message, and baud codes (none: keep the rate)."""

    packet_size: int
    packets: int
    bauds: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The request as a message."""
        return (
            bytes((0x60 + len(self.bauds),))
            + self.packet_size.to_bytes(2, "big")
            + bytes((self.packets,))
            + bytes(self.bauds)
        )


@dataclass(frozen=True, slots=True)
class Wait:
    """Keep an idle session open for `seconds`, 0..255."""

    seconds: int

    def encode(self) -> bytes:
        """The request as a message."""
        return bytes((0x70, self.seconds))


Request = Ident | Terminate | Read | ReadPart | Write | WritePart | Logon | Security | Logoff | Negotiate | Wait


def _padded(text: bytes, size: int, fill: bytes, what: str) -> bytes:
    if len(text) > size:
        raise WireError(f"C12.18: a {what} has at most {size} bytes, not {len(text)}")
    return text.ljust(size, fill)


def _exactly(data: bytes, size: int) -> None:
    if len(data) != size:
        raise BadRequest(Result.ERR, f"service {data[0]:02X} takes {size} bytes, not {len(data)}")


def _checked(data: bytes, at: int) -> bytes:
    """The data of a write whose count stands before `at`."""
    if len(data) < at + 1:
        raise BadRequest(Result.ERR, "the write ends before its data")
    count = data[at - 2] << 8 | data[at - 1]
    _exactly(data, at + count + 1)
    body = data[at:-1]
    if table_checksum(body) != data[-1]:
        raise BadRequest(Result.ERR, "the table checksum is wrong")
    return body


def decode_request(data: bytes) -> Request:
    """A request as a device hears it; BadRequest with the result code to answer where it is none."""
    if not data:
        raise BadRequest(Result.ERR, "an empty message")
    code = data[0]
    if code == 0x3F:
        _exactly(data, 8)
        return ReadPart(data[1] << 8 | data[2], int.from_bytes(data[3:6], "big"), data[6] << 8 | data[7])
    if code == 0x30:
        _exactly(data, 3)
        return Read(data[1] << 8 | data[2])
    if code == 0x40:
        return Write(int.from_bytes(data[1:3], "big"), _checked(data, 5))
    if code == 0x4F:
        return WritePart(int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:6], "big"), _checked(data, 8))
    if code == 0x50:
        _exactly(data, 13)
        return Logon(data[1] << 8 | data[2], data[3:13].decode("ascii", "replace").rstrip(" \0"))
    if code == 0x51:
        # Later editions let the user id follow the password: taken, and not looked at.
        if len(data) not in (21, 23):
            raise BadRequest(Result.ERR, f"service 51 takes 21 or 23 bytes, not {len(data)}")
        return Security(data[1:21].rstrip(b"\0"))
    if 0x60 <= code <= 0x6B:
        _exactly(data, 4 + code - 0x60)
        return Negotiate(data[1] << 8 | data[2], data[3], tuple(data[4:]))
    if code == 0x70:
        _exactly(data, 2)
        return Wait(data[1])
    if code in _BARE:
        _exactly(data, 1)
        return _BARE[code]
    raise BadRequest(Result.SNS, f"no service {code:02X}")


_BARE: dict[int, Ident | Terminate | Logoff] = {0x20: Ident(), 0x21: Terminate(), 0x52: Logoff()}


# --- Responses -------------------------------------------------------------------------------------------------------


def ok(response: bytes) -> bytes:
    """What follows the result code of a response; Declined where the result is not ok, WireError for an empty one."""
    if not response:
        raise WireError("C12.18: an empty response")
    if response[0]:
        raise Declined(response[0])
    return response[1:]


def bare(response: bytes) -> None:
    """Check a response that carries nothing but its result."""
    rest = ok(response)
    if rest:
        raise WireError(f"C12.18: {len(rest)} bytes too many in a bare response")


@dataclass(frozen=True, slots=True)
class IdentResponse:
    """Answer to `Ident`: standard (0 is C12.18), version and revision; `features` as they stand before the final 0."""

    standard: int = 0
    version: int = 1
    revision: int = 0
    features: bytes = b""

    LEAST: ClassVar[int] = 4

    def encode(self) -> bytes:
        """The response as a message."""
        return bytes((0, self.standard, self.version, self.revision)) + self.features + b"\0"

    @classmethod
    def decode(cls, response: bytes) -> IdentResponse:
        """Declined where the result is not ok, WireError where it is none."""
        rest = ok(response)
        if len(rest) < cls.LEAST or rest[-1]:
            raise WireError(f"C12.18: not an identification: {response.hex(' ')}")
        return cls(rest[0], rest[1], rest[2], rest[3:-1])


@dataclass(frozen=True, slots=True)
class NegotiateResponse:
    """Answer to `Negotiate`: sizes and baud code in force from the next message on."""

    packet_size: int
    packets: int
    baud: int

    def encode(self) -> bytes:
        """The response as a message."""
        return b"\0" + self.packet_size.to_bytes(2, "big") + bytes((self.packets, self.baud))

    @classmethod
    def decode(cls, response: bytes) -> NegotiateResponse:
        """Declined where the result is not ok, WireError where it is none."""
        rest = ok(response)
        if len(rest) != 4 or (size := rest[0] << 8 | rest[1]) <= OVERHEAD or not rest[2]:
            raise WireError(f"C12.18: not an answer to a negotiation: {response.hex(' ')}")
        return cls(size, rest[2], rest[3])


@dataclass(frozen=True, slots=True)
class ReadResponse:
    """Answer to `Read` and `ReadPart`."""

    data: bytes

    def encode(self) -> bytes:
        """The response as a message."""
        return b"\0" + len(self.data).to_bytes(2, "big") + self.data + bytes((table_checksum(self.data),))

    @classmethod
    def decode(cls, response: bytes) -> ReadResponse:
        """Declined where the result is not ok, WireError where length or checksum is wrong."""
        rest = ok(response)
        if len(rest) < 3 or len(rest) != 3 + (rest[0] << 8 | rest[1]):
            raise WireError(f"C12.18: a read of {len(rest)} bytes with a wrong length")
        if sum(rest[2:]) & 0xFF:
            raise WireError("C12.18: the checksum of a table is wrong")
        return cls(rest[2:-1])


def declined(result: Result) -> bytes:
    """The response that says no (or, with OK, nothing but yes)."""
    return bytes((result,))
