"""A VXI-11 core channel server in asyncio, without portmapper: ONC RPC over TCP, many links, one instrument behind them.

Facts: VXI-11 revision 1.0 (rules B.1 to B.6 for the calls, table B.2 for the errors), RFC 1057 (RPC), RFC 1014 (XDR).
RPC and XDR are PyVISA-py's. The abort channel's program is answered on the same port.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyvisa_py.protocols import rpc, vxi11, xdrlib

from drivers.wire.address import joined
from twins.faces.scpi import Exchange, Instrument
from twins.faces.stream import Endpoint
from twins.listening import cannot_serve

Code = vxi11.ErrorCodes

_MOST_DATA = 1 << 16  # of one device_write, told to the client as maxRecvSize
_MOST_RECORD = 4 * _MOST_DATA  # a longer one is an attack, not a client that ignores maxRecvSize
_MOST_LINKS = 64
_MOST_UNSENT = 1 << 20
_FOREVER_MS = 2**32 - 1


class _Later(Exception):
    """The call cannot be answered yet: try again when something happens, for at most `seconds` since it came in."""

    def __init__(self, milliseconds: int) -> None:
        self.seconds = None if milliseconds >= _FOREVER_MS else milliseconds / 1000.0


@dataclass
class _Link:
    """One client's link to the instrument."""

    identifier: int
    connection: _Connection
    exchange: Exchange
    output: bytearray = field(default_factory=bytearray)


class _Rpc(rpc.Server):  # type: ignore[misc]  # PyVISA-py carries no types
    """Bytes to bytes. One call at a time, so one packer and unpacker for all connections."""

    def __init__(self, prog: int, server: Vxi11Server) -> None:
        super().__init__("", prog, 1, 0)
        self._server = server
        self.connection: _Connection

    def addpackers(self) -> None:
        self.packer = rpc.Packer()
        self.unpacker = vxi11.Vxi11Unpacker(b"")

    def turn_around(self) -> None:
        try:
            self.unpacker.done()
        except xdrlib.Error:
            raise rpc.RPCGarbageArgs from None
        self.packer.pack_uint(rpc.AcceptStatus.success)

    def _link(self) -> tuple[_Link | None, int]:
        """The link that the call names, and its number."""
        number: int = self.unpacker.unpack_device_link()
        link = self._server.links.get(number)
        return (link if link is not None and link.connection is self.connection else None), number


class _Abort(_Rpc):
    """The abort channel: device_abort ends the call that waits on a link."""

    def handle_1(self) -> None:
        link = self._server.links.get(self.unpacker.unpack_device_link())
        self.turn_around()
        if link is not None:
            link.connection.abort_call()
        self.packer.pack_int(Code.invalid_link_identifier if link is None else Code.no_error)


class _Core(_Rpc):
    """The core channel's calls, by procedure number."""

    def _generic(self) -> tuple[_Link | None, int, int, int]:
        """Link, flags, lock time-out and I/O time-out of the calls that share Device_GenericParms."""
        link, _ = self._link()
        flags = self.unpacker.unpack_int()
        lock_timeout = self.unpacker.unpack_uint()
        io_timeout = self.unpacker.unpack_uint()
        self.turn_around()
        return link, flags, lock_timeout, io_timeout

    def _barred(self, link: _Link | None, flags: int, lock_timeout: int) -> int:
        """Why a link may not act now (an error code), 0 if it may; waits for a lock where the call asks to."""
        if link is None:
            return int(Code.invalid_link_identifier)
        holder = self._server.locked_by
        if holder is None or holder is link:
            return 0
        if flags & vxi11.OP_FLAG_WAIT_BLOCK and not self.connection.out_of_time:
            raise _Later(lock_timeout)
        return int(Code.device_locked_by_another_link)

    def handle_10(self) -> None:  # create_link
        u = self.unpacker
        u.unpack_int()
        lock = u.unpack_bool()
        lock_timeout = u.unpack_uint()
        name = u.unpack_string()
        self.turn_around()
        server = self._server
        error = 0
        if name.decode("latin-1").lower() != server.device_name:
            error = Code.device_not_accessible
        elif len(server.links) >= _MOST_LINKS:
            error = Code.out_of_resources
        elif lock and server.locked_by is not None:
            if not self.connection.out_of_time:
                raise _Later(lock_timeout)
            error = Code.device_locked_by_another_link
        link = None if error else server.new_link(self.connection)
        if link is not None and lock:
            server.locked_by = link
        self.packer.pack_int(error)
        self.packer.pack_int(0 if link is None else link.identifier)
        self.packer.pack_uint(server.port)
        self.packer.pack_uint(_MOST_DATA)

    def handle_11(self) -> None:  # device_write
        u = self.unpacker
        link, _ = self._link()
        u.unpack_uint()
        lock_timeout = u.unpack_uint()
        flags = u.unpack_int()
        data = u.unpack_opaque()
        self.turn_around()
        error = self._barred(link, flags, lock_timeout)
        if not error and len(data) > _MOST_DATA:
            error = Code.parameter_error
        if not error and link is not None:
            link.exchange.write(bytes(data), bool(flags & vxi11.OP_FLAG_END))
        self.packer.pack_int(error)
        self.packer.pack_uint(0 if error else len(data))

    def handle_12(self) -> None:  # device_read
        u = self.unpacker
        link, _ = self._link()
        size = u.unpack_uint()
        io_timeout = u.unpack_uint()
        lock_timeout = u.unpack_uint()
        flags = u.unpack_int()
        termination = u.unpack_int()
        self.turn_around()
        error, reason, data = self._barred(link, flags, lock_timeout), 0, b""
        if not error and link is not None:
            if not link.output:
                if not self.connection.out_of_time:
                    raise _Later(io_timeout)
                error = Code.io_timeout
                if not link.exchange.busy:
                    self._server.instrument.report(420)
            else:
                data, reason = _portion(link, size, flags, termination)
        self.packer.pack_int(error)
        self.packer.pack_int(reason)
        self.packer.pack_opaque(data)

    def handle_13(self) -> None:  # device_readstb
        link, flags, lock_timeout, _ = self._generic()
        error, status = self._barred(link, flags, lock_timeout), 0
        if not error and link is not None:
            status = self._server.instrument.status_byte(bool(link.output))
        self.packer.pack_int(error)
        self.packer.pack_uint(status)

    def _act(self, act: Callable[[_Link], None]) -> None:
        link, flags, lock_timeout, _ = self._generic()
        error = self._barred(link, flags, lock_timeout)
        if not error and link is not None:
            act(link)
        self.packer.pack_int(error)

    def handle_14(self) -> None:  # device_trigger
        self._act(lambda link: self._server.instrument.trigger())

    def handle_15(self) -> None:  # device_clear
        def clear(link: _Link) -> None:
            link.exchange.clear()
            link.output.clear()

        self._act(clear)

    def handle_16(self) -> None:  # device_remote
        self._act(lambda link: self._server.instrument.remote(True))

    def handle_17(self) -> None:  # device_local
        self._act(lambda link: self._server.instrument.remote(False))

    def handle_18(self) -> None:  # device_lock
        link, _ = self._link()
        flags = self.unpacker.unpack_int()
        lock_timeout = self.unpacker.unpack_uint()
        self.turn_around()
        error = self._barred(link, flags, lock_timeout)
        if not error:
            if self._server.locked_by is link:
                error = Code.device_locked_by_another_link  # a link cannot lock twice, and this is B.6.11's code
            else:
                self._server.locked_by = link
        self.packer.pack_int(error)

    def handle_19(self) -> None:  # device_unlock
        link, _ = self._link()
        self.turn_around()
        error = 0
        if link is None:
            error = Code.invalid_link_identifier
        elif self._server.locked_by is not link:
            error = Code.no_lock_held_by_this_link
        else:
            self._server.locked_by = None
            self._server.happened()
        self.packer.pack_int(error)

    def handle_20(self) -> None:  # device_enable_srq: there is no interrupt channel
        link, _ = self._link()
        self.unpacker.unpack_bool()
        self.unpacker.unpack_opaque()
        self.turn_around()
        self.packer.pack_int(Code.invalid_link_identifier if link is None else Code.operation_not_supported)

    def handle_22(self) -> None:  # device_docmd
        u = self.unpacker
        link, _ = self._link()
        u.unpack_int()
        for _ in range(2):
            u.unpack_uint()
        u.unpack_int()
        u.unpack_bool()
        u.unpack_int()
        u.unpack_opaque()
        self.turn_around()
        self.packer.pack_int(Code.invalid_link_identifier if link is None else Code.operation_not_supported)
        self.packer.pack_opaque(b"")

    def handle_23(self) -> None:  # destroy_link
        link, _ = self._link()
        self.turn_around()
        if link is not None:
            self._server.drop(link)
        self.packer.pack_int(Code.invalid_link_identifier if link is None else Code.no_error)

    def handle_25(self) -> None:  # create_intr_chan
        for _ in range(5):
            self.unpacker.unpack_uint()
        self.turn_around()
        self.packer.pack_int(Code.operation_not_supported)

    def handle_26(self) -> None:  # destroy_intr_chan
        self.turn_around()
        self.packer.pack_int(Code.channel_not_established)


def _portion(link: _Link, size: int, flags: int, termination: int) -> tuple[bytes, int]:
    """What one device_read takes from the output queue, and why it ends there."""
    end = min(size, len(link.output))
    reason = 0
    if flags & vxi11.OP_FLAG_TERMCHAR_SET:
        found = link.output.find(bytes([termination & 0xFF]), 0, end)
        if found >= 0:
            end = found + 1
            reason |= vxi11.RX_CHR
    if end == size:
        reason |= vxi11.RX_REQCNT
    data = bytes(link.output[:end])
    del link.output[:end]
    if not link.output:
        reason |= vxi11.RX_END
    return data, reason


class _Connection(asyncio.Protocol):
    """One TCP connection: record marking, one call at a time in the order they came."""

    def __init__(self, server: Vxi11Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._record = bytearray()
        self._call: bytes | None = None  # the call that waits
        self._called_at = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.out_of_time = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._transport = None
        self._server.connections.discard(self)
        for link in [x for x in self._server.links.values() if x.connection is self]:
            self._server.drop(link)

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        while self._call is None and self._transport is not None:
            if len(self._buffer) < 4:
                return
            (mark,) = struct.unpack_from(">I", self._buffer)
            length = mark & 0x7FFFFFFF
            if length + len(self._record) > _MOST_RECORD:
                self.close()
                return
            if len(self._buffer) < 4 + length:
                return
            self._record += self._buffer[4 : 4 + length]
            del self._buffer[: 4 + length]
            if mark & 0x80000000:
                call, self._record = bytes(self._record), bytearray()
                self._called_at = time.monotonic()
                self._answer(call)

    def _answer(self, call: bytes) -> None:
        try:
            reply = self._server.handle(self, call)
        except _Later as later:
            self._wait(call, later.seconds)
            return
        except (EOFError, struct.error, xdrlib.Error):
            self.close()  # not RPC at all
            return
        if reply is not None:
            self._send(reply)

    def _send(self, reply: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() + len(reply) > _MOST_UNSENT:
            self.close()  # a client that never reads must not eat the memory of the bench
        else:
            self._transport.write(struct.pack(">I", 0x80000000 | len(reply)) + reply)

    def _wait(self, call: bytes, seconds: float | None) -> None:
        self._call = call
        if self._transport is not None:
            self._transport.pause_reading()
        if self._deadline is None and seconds is not None:
            left = max(0.0, self._called_at + seconds - time.monotonic())
            self._deadline = asyncio.get_running_loop().call_later(left, self._give_up)

    def _stop_waiting(self) -> bytes | None:
        call, self._call = self._call, None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._transport is not None:
            self._transport.resume_reading()
        return call

    def _give_up(self) -> None:
        call = self._stop_waiting()
        if call is not None:
            self.out_of_time = True
            try:
                self._answer(call)
            finally:
                self.out_of_time = False
            self._work()

    def try_again(self) -> None:
        """Something happened that the waiting call may have waited for."""
        call, self._call = self._call, None
        if call is None:
            return
        self._answer(call)
        if self._call is None:
            self._stop_waiting()
            self._work()

    def abort_call(self) -> None:
        """Answer the waiting call with the error that says it was aborted."""
        call = self._stop_waiting()
        if call is not None:
            self._send(self._server.aborted(call))
            self._work()


class Vxi11Server:
    """An instrument on a VXI-11 core channel at a TCP port. Port 0 picks a free one."""

    def __init__(
        self, instrument: Instrument, host: str, port: int, *, device_name: str = "inst0", scheme: str = "vxi11"
    ) -> None:
        self.instrument = instrument
        self.device_name = device_name
        self.links: dict[int, _Link] = {}
        self.locked_by: _Link | None = None
        self.connections: set[_Connection] = set()
        self._host = host
        self.port = port
        self._scheme = scheme
        self._numbers = itertools.count(1)
        self._core = _Core(vxi11.DEVICE_CORE_PROG, self)
        self._abort = _Abort(vxi11.DEVICE_ASYNC_PROG, self)
        self._server: asyncio.Server | None = None
        self._telling = False

    async def open(self) -> Endpoint:
        """Start serving; OSError where the address is taken or cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self._host, self.port)
        except OSError as no:
            raise cannot_serve(self._scheme, self._host, self.port, no) from no
        host, self.port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(self._scheme, joined(host, self.port))

    async def close(self) -> None:
        """Stop serving and drop every connection and link."""
        if self._server is not None:
            self._server.close()
            for connection in list(self.connections):
                connection.close()
            await self._server.wait_closed()
            self._server = None

    def connection(self) -> _Connection:
        """A connection without transport yet, as the listening socket makes them."""
        return _Connection(self)

    def handle(self, connection: _Connection, call: bytes) -> bytes | None:
        """Answer one RPC call; None for a record that is no call. EOFError where it is no RPC."""
        abort = len(call) >= 16 and call[12:16] == struct.pack(">I", vxi11.DEVICE_ASYNC_PROG)
        program: Any = self._abort if abort else self._core
        program.connection = connection
        reply: bytes | None = program.handle(call)
        return reply

    def aborted(self, call: bytes) -> bytes:
        """The reply to a call that was aborted: the error, and nothing in the fields behind it."""
        packer = rpc.Packer()
        (xid,) = struct.unpack_from(">I", call)
        packer.pack_replyheader(xid, (rpc.AuthorizationFlavor.null, b""))
        packer.pack_int(Code.abort)
        (procedure,) = struct.unpack_from(">I", call, 20)
        for _ in range({10: 3, 12: 2}.get(procedure, 1 if procedure in (11, 13) else 0)):
            packer.pack_int(0)
        buffer: bytes = packer.get_buffer()
        return buffer

    def new_link(self, connection: _Connection) -> _Link:
        """Make a link for a connection."""

        def respond(response: bytes) -> None:
            link.output += response
            self.happened()

        exchange = _Interruptible(self.instrument, respond, lambda: link.output)
        link = _Link(next(self._numbers), connection, exchange)
        self.links[link.identifier] = link
        return link

    def drop(self, link: _Link) -> None:
        """End a link: forget what was under way on it and give back its lock."""
        link.exchange.clear()
        del self.links[link.identifier]
        if self.locked_by is link:
            self.locked_by = None
            self.happened()

    def happened(self) -> None:
        """Output appeared or a lock was given back: calls that wait are tried again, on the loop's next turn."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        for connection in list(self.connections):
            connection.try_again()


class _Interruptible(Exchange):
    """An exchange with an output queue: a new message before the response was read throws the response away (6.3.2.3)."""

    def __init__(
        self, instrument: Instrument, respond: Callable[[bytes], None], output: Callable[[], bytearray]
    ) -> None:
        super().__init__(instrument, respond)
        self._output = output

    def write(self, data: bytes, end: bool = False) -> None:
        """Take bytes of program messages; what has not been read of the last response is lost."""
        if self._output() and data.strip():
            self._output().clear()
            self._instrument.report(410)
        super().write(data, end)
