"""A HiSLIP server in asyncio: synchronized mode, any number of clients, one instrument behind them.

Facts: IVI-6.1 revision 1.1 (message layout, initialization, interrupted error, device clear, locks, status). Overlapped
mode is refused in the negotiation, and neither service requests nor encryption (revision 2) are offered.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from dataclasses import dataclass
from enum import IntEnum

from drivers.wire.address import joined
from twins.faces.scpi import Exchange, Instrument
from twins.faces.stream import Endpoint
from twins.listening import cannot_serve

_HEADER = struct.Struct(">2sBBIQ")  # prologue, message type, control code, message parameter, payload length
_VERSIONS = (0x0100, 0x0101)
_VENDOR = int.from_bytes(b"TB", "big")
_MOST_PAYLOAD = 1 << 16
_MOST_MESSAGE = _MOST_PAYLOAD + _HEADER.size  # told to the client
_MOST_SESSIONS = 64
_MOST_UNSENT = 1 << 20
_LONGEST_LOCK_STRING = 256
_NO_MESSAGE = 0xFFFFFEFE  # the MessageID before the first
_AHEAD = 0x100  # how far in front of what has come a MessageID may be to be taken for one still on its way
_ON_ITS_WAY_S = 1.0
_DELIVERED = 1  # control bit: the client has read the last response to its end


class Kind(IntEnum):
    """Message types (table 4)."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL_CONTROL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    INTERRUPTED = 13
    ASYNC_INTERRUPTED = 14
    ASYNC_MAXIMUM_MESSAGE_SIZE = 15
    ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_SERVICE_REQUEST = 20
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


_INPUT = (Kind.DATA, Kind.DATA_END, Kind.TRIGGER)
_FIRST_VENDOR_KIND = 128


class Fatal(IntEnum):
    """Errors that end a session (table 14)."""

    POORLY_FORMED_HEADER = 1
    CHANNELS_NOT_ESTABLISHED = 2
    INVALID_INITIALIZATION = 3
    TOO_MANY_CLIENTS = 4


class Fault(IntEnum):
    """Errors after which a session goes on (table 16)."""

    UNIDENTIFIED = 0
    UNRECOGNIZED_MESSAGE = 1
    UNRECOGNIZED_CONTROL = 2
    UNRECOGNIZED_VENDOR_MESSAGE = 3
    TOO_LARGE = 4


class LockAnswer(IntEnum):
    """What becomes of a lock that is asked for or given back (tables 19 and 20)."""

    FAILURE = 0
    SUCCESS = 1  # an exclusive lock, where one is given back
    SHARED_GIVEN_BACK = 2
    ERROR = 3


class _Refused(Exception):
    """A message is answered with an error of the protocol."""

    def __init__(self, code: Fatal | Fault, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Later(Exception):
    """The message has to wait: try again when something happens, for at most `seconds` (None: for ever)."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


@dataclass(frozen=True)
class _Message:
    kind: int
    control: int
    parameter: int
    payload: bytes


def message(kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> bytes:
    """A message as it goes over the wire."""
    return _HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload


class _Session:
    """One client: two connections and a message exchange of its own."""

    def __init__(self, server: HislipServer, identifier: int, synchronous: _Connection) -> None:
        self._server = server
        self.identifier = identifier
        self.synchronous = synchronous
        self.asynchronous: _Connection | None = None
        self.exchange = Exchange(server.instrument, self._respond, finished=server.happened)
        self.most_payload = _MOST_PAYLOAD  # of what the client takes
        self._last = _NO_MESSAGE
        self._unread = False  # a response has been sent to its end, and the client hasn't said that it read it
        self._clearing = False

    def _respond(self, response: bytes) -> None:
        interrupting = self.synchronous.waiting_input()
        if interrupting is not None and self.asynchronous is not None:
            # The next message came before the response to this one: the response is lost (3.1.1)
            self._server.instrument.report(410)
            self.asynchronous.send(message(Kind.ASYNC_INTERRUPTED, 0, interrupting))
            self.synchronous.send(message(Kind.INTERRUPTED, 0, interrupting))
            return
        size = self.most_payload
        for start in range(0, len(response), size):
            kind = Kind.DATA if start + size < len(response) else Kind.DATA_END
            self.synchronous.send(message(kind, 0, self._last, response[start : start + size]))
        self._unread = True

    # --- Synchronous channel -------------------------------------------------------------------------------------------

    def take_synchronous(self, m: _Message) -> None:
        """Act on a message of the synchronous channel."""
        if m.kind == Kind.INITIALIZE:
            raise _Refused(Fatal.INVALID_INITIALIZATION, "initialized already")
        if self.asynchronous is None:
            raise _Refused(Fatal.CHANNELS_NOT_ESTABLISHED, "the asynchronous channel is missing")
        if m.kind in _INPUT:
            if not self._clearing:
                self._input(m)
        elif m.kind == Kind.DEVICE_CLEAR_COMPLETE:
            if not self._clearing:
                raise _Refused(Fault.UNIDENTIFIED, "no device clear is under way")
            self._clearing = self._unread = False
            self._last = _NO_MESSAGE
            self.synchronous.send(message(Kind.DEVICE_CLEAR_ACKNOWLEDGE))
        else:
            raise _unrecognized(m)

    def _input(self, m: _Message) -> None:
        if self.exchange.busy or self._server.locks.bar(self):
            raise _Later(None)
        # That a client says twice that it read a response does no harm, and PyVISA-py does after a device clear.
        if self._unread and not m.control & _DELIVERED:
            self._server.instrument.report(410)
        self._unread = False
        self._last = m.parameter
        if m.kind == Kind.TRIGGER:
            self._server.instrument.trigger()
        else:
            self.exchange.write(m.payload, m.kind == Kind.DATA_END)
        if self.asynchronous is not None and self.asynchronous.waiting:
            self._server.happened()

    # --- Asynchronous channel ------------------------------------------------------------------------------------------

    def take_asynchronous(self, m: _Message, out_of_time: bool) -> None:
        """Act on a message of the asynchronous channel. `out_of_time`: it waited for as long as it may."""
        if m.kind == Kind.ASYNC_MAXIMUM_MESSAGE_SIZE:
            self._maximum_message_size(m)
        elif m.kind == Kind.ASYNC_LOCK:
            self._lock(m, out_of_time)
        elif m.kind == Kind.ASYNC_LOCK_INFO:
            locks = self._server.locks
            self._answer(Kind.ASYNC_LOCK_INFO_RESPONSE, locks.exclusive is not None, len(locks.holders))
        elif m.kind == Kind.ASYNC_STATUS_QUERY:
            self._status(m)
        elif m.kind == Kind.ASYNC_REMOTE_LOCAL_CONTROL:
            self._remote_local(m, out_of_time)
        elif m.kind == Kind.ASYNC_DEVICE_CLEAR:
            self._clearing = True
            self.exchange.clear()
            self._server.happened()
            self._answer(Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE)  # no feature: synchronized mode
        elif m.kind == Kind.ASYNC_INITIALIZE:
            raise _Refused(Fatal.INVALID_INITIALIZATION, "initialized already")
        else:
            raise _unrecognized(m)

    def _answer(self, kind: Kind, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
        assert self.asynchronous is not None
        self.asynchronous.send(message(kind, control, parameter, payload))

    def _maximum_message_size(self, m: _Message) -> None:
        if len(m.payload) != 8:
            raise _Refused(Fault.UNIDENTIFIED, "a maximum message size has eight bytes")
        size = int.from_bytes(m.payload, "big")
        self.most_payload = min(_MOST_PAYLOAD, max(1, size - _HEADER.size))
        self._answer(Kind.ASYNC_MAXIMUM_MESSAGE_SIZE_RESPONSE, payload=_MOST_MESSAGE.to_bytes(8, "big"))

    def _completed(self, m: _Message, out_of_time: bool) -> None:
        """Wait until the message that `m` names is done: it may be behind on the other connection."""
        ahead = (m.parameter - self._last) & 0xFFFFFFFF
        if (0 < ahead < _AHEAD or self.exchange.busy) and not out_of_time:
            raise _Later(_ON_ITS_WAY_S)

    def _lock(self, m: _Message, out_of_time: bool) -> None:
        locks = self._server.locks
        if m.control == 0:
            self._completed(m, out_of_time)
            answer = locks.give_back(self)
        elif m.control == 1:
            answer = locks.ask(self, m.payload)
            if answer is LockAnswer.FAILURE and m.parameter and not out_of_time:
                raise _Later(m.parameter / 1000)
        else:
            raise _Refused(Fault.UNRECOGNIZED_CONTROL, f"no lock operation {m.control}")
        self._answer(Kind.ASYNC_LOCK_RESPONSE, answer)
        self._server.happened()

    def _status(self, m: _Message) -> None:
        if m.control & _DELIVERED:
            self._unread = False
        # The MessageID is that of the last message sent: another one is on its way and makes the response void (6.14.1).
        # PyVISA-py gives that of the message it would send next.
        named = m.parameter in (self._last, (self._last + 2) & 0xFFFFFFFF)
        self._answer(Kind.ASYNC_STATUS_RESPONSE, self._server.instrument.status_byte(self._unread and named))

    def _remote_local(self, m: _Message, out_of_time: bool) -> None:
        # Code to control: None leaves it alone. Local lockout is the front panel's business.
        remote = {0: False, 1: None, 2: False, 3: True, 4: None, 5: True, 6: False}
        if m.control not in remote:
            raise _Refused(Fault.UNRECOGNIZED_CONTROL, f"no remote or local control {m.control}")
        self._completed(m, out_of_time)
        on = remote[m.control]
        if on is not None:
            self._server.instrument.remote(on)
        self._answer(Kind.ASYNC_REMOTE_LOCAL_RESPONSE)

    def close(self) -> None:
        """End the session: forget what was under way, give back its locks, hang up both connections."""
        self.exchange.clear()
        self._server.forget(self)
        for connection in (self.synchronous, self.asynchronous):
            if connection is not None:
                connection.hang_up()


def _unrecognized(m: _Message) -> _Refused:
    if m.kind >= _FIRST_VENDOR_KIND:
        return _Refused(Fault.UNRECOGNIZED_VENDOR_MESSAGE, f"no vendor defined message {m.kind}")
    return _Refused(Fault.UNRECOGNIZED_MESSAGE, f"message type {m.kind} has no place here")


class _Locks:
    """The instrument's locks: one exclusive, and one shared by all clients that know its string (table 22)."""

    def __init__(self) -> None:
        self.exclusive: _Session | None = None
        self._shared: set[_Session] = set()
        self._string = b""

    @property
    def holders(self) -> set[_Session]:
        """Clients that hold a lock."""
        return self._shared | ({self.exclusive} if self.exclusive is not None else set())

    def bar(self, session: _Session) -> bool:
        """Whether a lock of others keeps a client out."""
        if self.exclusive is not None:
            return self.exclusive is not session
        return bool(self._shared) and session not in self._shared

    def ask(self, session: _Session, string: bytes) -> LockAnswer:
        """Take the lock shared by `string`, or the exclusive one where it is empty. FAILURE may succeed later."""
        if len(string) > _LONGEST_LOCK_STRING or self.exclusive is session:
            return LockAnswer.ERROR
        if not string:
            if self.exclusive is not None or (self._shared and session not in self._shared):
                return LockAnswer.FAILURE
            self.exclusive = session
            return LockAnswer.SUCCESS
        if session in self._shared:
            return LockAnswer.ERROR
        if (self._shared and string != self._string) or (self.exclusive is not None and not self._shared):
            return LockAnswer.FAILURE
        self._string = string
        self._shared.add(session)
        return LockAnswer.SUCCESS

    def give_back(self, session: _Session) -> LockAnswer:
        """Give back a client's exclusive lock, or its shared one where it has no other."""
        if self.exclusive is session:
            self.exclusive = None
            return LockAnswer.SUCCESS
        if session in self._shared:
            self._shared.remove(session)
            return LockAnswer.SHARED_GIVEN_BACK
        return LockAnswer.ERROR


class _Connection(asyncio.Protocol):
    """One TCP connection: messages one at a time in the order they came. Its first one tells which channel it is."""

    def __init__(self, server: HislipServer) -> None:
        self._server = server
        self._session: _Session | None = None
        self._buffer = bytearray()
        self._skip = 0  # bytes of a payload that was refused
        self._deadline: asyncio.TimerHandle | None = None
        self._out_of_time = False
        self._transport: asyncio.Transport
        self._open = False
        self.waiting = False
        """Whether a message waits for something to happen."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open = True
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self._stop_waiting()
        self._server.connections.discard(self)
        if self._session is not None:
            self._session.close()

    def hang_up(self) -> None:
        """Close when what has been sent is out; nothing is taken any more."""
        if self._open:
            self._open = False
            self._stop_waiting()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._open = False
        self._transport.abort()

    def send(self, data: bytes) -> None:
        """Send a message."""
        if not self._open:
            return
        if self._transport.get_write_buffer_size() + len(data) > _MOST_UNSENT:
            self.abort()  # a client that never reads must not eat the memory of the bench
        else:
            self._transport.write(data)

    def waiting_input(self) -> int | None:
        """The MessageID of input that has come and waits, None where there is none."""
        if self._skip or len(self._buffer) < _HEADER.size:
            return None
        prologue, kind, _, parameter, _ = _HEADER.unpack_from(self._buffer)
        return parameter if prologue == b"HS" and kind in _INPUT else None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.waiting:
            self._work()

    def try_again(self) -> None:
        """Something happened that the waiting message may have waited for."""
        if self.waiting:
            self._work()

    def _work(self) -> None:
        while self._open:
            if self._skip:
                gone = min(self._skip, len(self._buffer))
                del self._buffer[:gone]
                self._skip -= gone
            if self._skip or len(self._buffer) < _HEADER.size:
                return
            prologue, kind, control, parameter, length = _HEADER.unpack_from(self._buffer)
            if prologue != b"HS":
                self._fail(Fatal.POORLY_FORMED_HEADER, "a message begins with HS")
                return
            if length > _MOST_PAYLOAD:
                del self._buffer[: _HEADER.size]
                self._skip = length
                self.send(message(Kind.ERROR, Fault.TOO_LARGE, 0, b"message too large"))
                continue
            whole = _HEADER.size + length
            if len(self._buffer) < whole:
                return
            raw = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            try:
                self._take(_Message(kind, control, parameter, raw[_HEADER.size :]))
            except _Later as later:
                self._buffer[:0] = raw
                self._wait(later.seconds)
                return
            except _Refused as no:
                if isinstance(no.code, Fatal):
                    self._fail(no.code, str(no))
                    return
                self.send(message(Kind.ERROR, no.code, 0, str(no).encode("ascii", "replace")))
            self._stop_waiting()

    def _take(self, m: _Message) -> None:
        session = self._session
        if session is None:
            self._initialize(m)
        elif m.kind == Kind.FATAL_ERROR:
            session.close()
        elif m.kind == Kind.ERROR:
            return  # the client's complaint about a message of ours; there is nobody to tell
        elif session.synchronous is self:
            session.take_synchronous(m)
        else:
            session.take_asynchronous(m, self._out_of_time)

    def _initialize(self, m: _Message) -> None:
        if m.kind == Kind.INITIALIZE:
            self._session = self._server.new_session(self, m.payload)
            version = min(max(m.parameter >> 16, _VERSIONS[0]), _VERSIONS[1])
            # control 0: synchronized mode
            self.send(message(Kind.INITIALIZE_RESPONSE, 0, version << 16 | self._session.identifier))
        elif m.kind == Kind.ASYNC_INITIALIZE:
            session = self._server.sessions.get(m.parameter)
            if session is None or session.asynchronous is not None:
                raise _Refused(Fatal.INVALID_INITIALIZATION, f"no session {m.parameter} waits for its other channel")
            session.asynchronous = self
            self._session = session
            self.send(message(Kind.ASYNC_INITIALIZE_RESPONSE, 0, _VENDOR))
        else:
            raise _Refused(Fatal.INVALID_INITIALIZATION, "a connection begins with Initialize or AsyncInitialize")

    def _fail(self, code: Fatal, text: str) -> None:
        self.send(message(Kind.FATAL_ERROR, code, 0, text.encode("ascii", "replace")))
        if self._session is not None:
            self._session.close()
        self.hang_up()

    def _wait(self, seconds: float | None) -> None:
        if not self.waiting:
            self.waiting = True
            self._transport.pause_reading()
            if seconds is not None:
                self._deadline = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        self._out_of_time = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self.waiting:
            self.waiting = False
            if self._open:
                self._transport.resume_reading()

    def _give_up(self) -> None:
        self._deadline = None
        self._out_of_time = True
        self._work()


class HislipServer:
    """An instrument on HiSLIP at a TCP port. Port 0 picks a free one; both channels of a client use it."""

    def __init__(
        self, instrument: Instrument, host: str, port: int, *, sub_address: str = "hislip0", scheme: str = "hislip"
    ) -> None:
        self.instrument = instrument
        self.sessions: dict[int, _Session] = {}
        self.connections: set[_Connection] = set()
        self.locks = _Locks()
        self._host = host
        self.port = port
        self._sub_address = sub_address
        self._scheme = scheme
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._telling = False

    async def open(self) -> Endpoint:
        """Start serving; OSError where the address is taken or cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self.connection, self._host, self.port)
        except OSError as no:
            raise cannot_serve(self._scheme, self._host, self.port, no) from no
        host, self.port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(self._scheme, joined(host, self.port))

    async def close(self) -> None:
        """Stop serving and drop every connection and session."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.abort()
            await self._server.wait_closed()
            self._server = None

    def connection(self) -> _Connection:
        """A connection without transport yet, as the listening socket makes them."""
        return _Connection(self)

    def new_session(self, synchronous: _Connection, sub_address: bytes) -> _Session:
        """Make a session for a client's first connection."""
        if sub_address.lower() not in (b"", self._sub_address.encode()):
            raise _Refused(Fatal.INVALID_INITIALIZATION, f"no such sub-address, this is {self._sub_address}")
        if len(self.sessions) >= _MOST_SESSIONS:
            raise _Refused(Fatal.TOO_MANY_CLIENTS, f"{_MOST_SESSIONS} clients at a time")
        identifier = next(n for k in self._numbers if (n := k & 0xFFFF) and n not in self.sessions)
        session = self.sessions[identifier] = _Session(self, identifier, synchronous)
        return session

    def forget(self, session: _Session) -> None:
        """A session has ended: its locks are free for others."""
        if self.sessions.pop(session.identifier, None) is not None:
            while self.locks.give_back(session) is not LockAnswer.ERROR:
                pass
            self.happened()

    def happened(self) -> None:
        """A lock, an instrument or a message became free: messages that wait are tried again on the loop's next turn."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        for connection in list(self.connections):
            connection.try_again()
