"""Serves a web application (meter data over REST, the website) on the bench's own loop, by bench time.

A handler is a coroutine: it runs on the loop's thread, where the utility's systems live, but between no two steps of the
clock by itself. Whatever it asks or tells the utility goes through `in_turn`, which holds bench time still meanwhile:

    page = await in_turn(clock, css.account_page, number)
    posting = await in_turn(clock, css.pay, payment)

Never a plain `def` handler, which would run in another thread; never a wait for the client, or for bench time, inside a turn.
A stream that goes on for ever ends when `request.scope["closing"]` is set, or the server waits for it before it closes.
Timeouts of connections are in real seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from wsgiref.handlers import format_date_time

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from twins.clock import Clock
from twins.listening import not_served

Message = MutableMapping[str, Any]
App = Callable[[MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]

PATIENCE_S = 20.0
"""How long a client may leave what it is sent unread before it is dropped."""
LONGEST_BODY = 1_000_000
"""Bytes that a client may send in one request."""
_FAREWELL_S = 2.0


class WebError(Exception):
    """The server cannot be had as asked. One line, with the remedy."""


async def in_turn(clock: Clock, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function, or run a coroutine function, of the utility between two steps of the clock; returns its answer.

    What waits for bench time raises ClockError: nobody else gets a turn meanwhile.
    """
    async with clock.turn():
        answer = fn(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer


class Server:
    """A web server that runs. `address` is `http://host:port`."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None], address: str, closing: asyncio.Event) -> None:
        self._server = server
        self._task = task
        self._closing = closing
        self.address = address

    async def close(self) -> None:
        """Take no more requests, let those that run come to their end, drop who does not, and free the port."""
        self._closing.set()
        self._server.should_exit = True
        await asyncio.wait([self._task], timeout=_FAREWELL_S)
        for connection in list(self._server.server_state.connections):
            assert isinstance(connection, _Connection)
            connection.drop()
        await asyncio.gather(self._task, return_exceptions=True)


async def serve(
    app: App, host: str, port: int, clock: Clock, *, patience_s: float = PATIENCE_S, longest_body: int = LONGEST_BODY
) -> Server:
    """Serve an ASGI application on the running loop; port 0 picks a free one. No lifespan events are sent.

    An application that says by itself what is too long takes a `longest_body` that is longer.
    Every response tells bench time in its `Date`. WebError where the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as no:
        listener.close()
        raise WebError(f"cannot be served at {not_served(host, port, no)}") from None
    listener.setblocking(False)
    closing = asyncio.Event()
    config = uvicorn.Config(
        _by_bench_time(app, clock, closing, patience_s, longest_body),
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # a request's line may carry what nobody else should read
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = _Uvicorn(config)
    task = asyncio.get_running_loop().create_task(server.serve([listener]), name="web server")
    ready = asyncio.ensure_future(server.ready.wait())
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if task.done():
        await task
    found = listener.getsockname()[1]
    return Server(server, task, f"http://{f'[{host}]' if ':' in host else host}:{found}", closing)


class _Uvicorn(uvicorn.Server):
    """A server that leaves signals to the bench and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _Connection(H11Protocol):
    """A connection whose application can drop it."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def droppable(scope: Any, receive: Any, send: Any) -> None:
            scope["abort"] = self.drop
            await app(scope, receive, send)

        self.app = droppable

    def drop(self) -> None:
        """End the connection at once, with all that was not yet read."""
        if not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self.transport.abort()


def _by_bench_time(app: App, clock: Clock, closing: asyncio.Event, patience_s: float, longest_body: int) -> App:
    """Dates by bench time, clients that do not read dropped, bodies that are too long refused."""

    async def wrapped(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        scope["closing"] = closing
        abort = scope["abort"]
        loop = asyncio.get_running_loop()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = format_date_time(clock.now().timestamp()).encode()
                message["headers"] = [*message.get("headers", ()), (b"date", date)]
            watch = loop.call_later(patience_s, abort)
            try:
                await send(message)
            finally:
                watch.cancel()
            # a stream whose client takes everything at once, or is gone, must not keep the loop to itself
            await asyncio.sleep(0)

        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if int(announced) > longest_body:
            text = f"a request may carry {longest_body} bytes\n".encode()
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
            await told({"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]})
            await told({"type": "http.response.body", "body": text})
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message: Message = await receive()
            taken += len(message.get("body", b""))
            if taken > longest_body:
                abort()  # without a length announced there is no telling it before
                return {"type": "http.disconnect"}
            return message

        await app(scope, counted, told)

    return wrapped
