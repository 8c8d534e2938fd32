"""Servers of byte streams: a serial line on a pty, and a raw TCP port. What the bytes mean is a `Session`'s business.

A serial line can be paced to its baud rate, which a pty ignores, and disturbed by seed: the same seed and the same
traffic give the same disturbance.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import random
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.wire.address import joined
from twins.listening import cannot_serve

Send = Callable[[bytes], None]


class HangUp(Exception):
    """Raised by a session on a TCP connection that cannot go on: what it has sent goes out, then the connection closes."""


class Session(Protocol):
    """One conversation of a device with whoever is at the other end. Called on the event loop's thread; never blocks."""

    def received(self, data: bytes) -> None:
        """Take bytes as they came in, in pieces of any size. A session of a TCP server may raise `HangUp`."""
        ...

    def closed(self) -> None:
        """The other end has gone (a serial line never says so)."""
        ...


SessionFactory = Callable[[Send], Session]
"""Makes a session from the function that sends bytes back."""


@dataclass(frozen=True)
class Endpoint:
    """Where a face can be reached."""

    scheme: str
    address: str


class Face(Protocol):
    """A server that carries a behaviour to a wire."""

    async def open(self) -> Endpoint:
        """Start serving; OSError where the address is taken or cannot be had."""
        ...

    async def close(self) -> None:
        """Stop serving and leave nothing behind."""
        ...


@dataclass(frozen=True)
class Disturbance:
    """What a bad line does, each way. Probabilities are per byte; `delay_s` holds every piece back in real time."""

    garble: float = 0.0
    drop: float = 0.0
    delay_s: float = 0.0
    cut_after: int | None = None  # bytes (both ways together) after which the line is dead
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("garble", "drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"line disturbance: {name} is a probability, 0 to 1, not {getattr(self, name)}")
        if self.delay_s < 0 or (self.cut_after is not None and self.cut_after < 0):
            raise ValueError("line disturbance: delay_s and cut_after are zero or more")


class _Way:
    """One direction of a line: pacing, delay and disturbance."""

    def __init__(self, deliver: Callable[[bytes], None], line: SerialLine, seed: str) -> None:
        self._deliver = deliver
        self._line = line
        self._random = random.Random(seed)
        self._free_at = 0.0  # when the wire has carried all that was put on it
        self._pending = 0

    def put(self, data: bytes) -> None:
        line = self._line
        data = self._disturb(data)
        delay = line.disturbance.delay_s
        if (not line.paced_baud and not delay) or not data:
            if data:
                self._deliver(data)
            return
        now = time.monotonic()
        per_byte = 10.0 / line.paced_baud if line.paced_baud else 0.0
        self._free_at = max(self._free_at, now) + len(data) * per_byte
        asyncio.get_running_loop().call_later(
            max(0.0, self._free_at + delay - now - 0.002), self._arrive, data, self._free_at + delay
        )

    def _arrive(self, data: bytes, at: float) -> None:
        # The loop's timers are a millisecond coarse, a character at 9600 baud is about as long: sleep the rest exactly.
        left = at - time.monotonic()
        if left > 0:
            time.sleep(left)
        self._deliver(data)

    def _disturb(self, data: bytes) -> bytes:
        d = self._line.disturbance
        if self._line.is_cut:
            return b""
        if d.cut_after is not None:
            room = d.cut_after - self._line.carried
            self._line.carried += len(data)
            if room < len(data):
                self._line.is_cut = True
                data = data[: max(0, room)]
        if not d.garble and not d.drop:
            return data
        out = bytearray()
        for byte in data:
            if d.drop and self._random.random() < d.drop:
                continue
            if d.garble and self._random.random() < d.garble:
                byte ^= 1 << self._random.randrange(8)
            out.append(byte)
        return bytes(out)


class SerialLine:
    """A device's serial port: the twin holds the master of a pty, whoever talks to the device opens the slave.

    `link`, where given, is a path that becomes a symbolic link to the slave. One session lives as long as the line, as
    in a device that cannot tell whether anybody is at the other end. `scheme` is what the endpoint calls itself.
    """

    _MOST_UNSENT = 1 << 16  # a UART has no memory for a reader that never reads; beyond this bytes are lost

    def __init__(
        self,
        session: SessionFactory,
        link: Path | None = None,
        *,
        scheme: str = "pty",
        paced_baud: int | None = None,
        disturbance: Disturbance | None = None,
    ) -> None:
        if paced_baud is not None and paced_baud <= 0:
            raise ValueError(f"serial line: a baud rate is above zero, not {paced_baud}")
        self._make = session
        self._link = link
        self._scheme = scheme
        self.paced_baud = paced_baud
        self.disturbance = disturbance or Disturbance()
        self.is_cut = False
        self.carried = 0
        self.lost = 0  # bytes nobody read in time
        self._master = self._slave = -1
        self._unsent = bytearray()

    async def open(self) -> Endpoint:
        if self._link is not None and (self._link.is_symlink() or self._link.exists()):
            if self._link.is_symlink() and not self._link.exists():
                self._link.unlink()  # left behind by a process that was killed
            else:
                raise OSError(f"{self._link} exists already; choose another path or remove it")
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        path = os.ttyname(self._slave)
        if self._link is not None:
            try:
                self._link.symlink_to(path)
            except OSError as no:
                os.close(self._master)
                os.close(self._slave)
                self._master = self._slave = -1
                raise OSError(f"cannot make {self._link}: {no.strerror}") from no
        seed = f"{self.disturbance.seed}"
        self._out = _Way(self._write, self, seed + ">")
        self._session = self._make(self._out.put)
        self._in = _Way(self._session.received, self, seed + "<")
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return Endpoint(self._scheme, str(self._link or path))

    async def close(self) -> None:
        if self._master < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        self._session.closed()
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1
        if self._link is not None:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()

    def disturb(self, disturbance: Disturbance) -> None:
        """Disturb the line from now on."""
        self.disturbance = disturbance
        self.carried = 0
        self._out._random.seed(f"{disturbance.seed}>")
        self._in._random.seed(f"{disturbance.seed}<")

    def cut(self) -> None:
        """Cut the line: nothing passes any more, either way."""
        self.is_cut = True

    def mend(self) -> None:
        """Mend a cut line."""
        self.is_cut = False
        self.carried = 0

    def _readable(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except (BlockingIOError, OSError):
            return
        self._in.put(data)

    def _write(self, data: bytes) -> None:
        if self._master < 0:
            return
        if not self._unsent:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._master, data) :]
            if data:
                asyncio.get_running_loop().add_writer(self._master, self._writable)
        room = self._MOST_UNSENT - len(self._unsent)
        self.lost += max(0, len(data) - room)
        self._unsent += data[:room]

    def _writable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: os.write(self._master, self._unsent)]
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._master)


class _Connection(asyncio.Protocol):
    _MOST_UNSENT = 1 << 20

    def __init__(self, server: TcpServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections.add(transport)
        self._session = self._server.session(self._send)

    def _send(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() + len(data) > self._MOST_UNSENT:
            self._transport.abort()  # a client that never reads must not eat the memory of the bench
        else:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            self._session.received(data)
        except HangUp:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self._transport)
        self._session.closed()


class TcpServer:
    """A TCP port whose every connection is a session of its own. Port 0 picks a free one."""

    def __init__(self, session: SessionFactory, host: str, port: int, *, scheme: str = "tcp") -> None:
        self.session = session
        self._host = host
        self._port = port
        self._scheme = scheme
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> Endpoint:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Connection(self), self._host, self._port)
        except OSError as no:
            raise cannot_serve(self._scheme, self._host, self._port, no) from no
        host, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(self._scheme, joined(host, port))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for transport in list(self.connections):
                transport.abort()
            await self._server.wait_closed()
            self._server = None
