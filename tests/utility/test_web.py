"""A web server in the loop of the stepped clock: bench time, turns, clients that do not read, bodies without an end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

from tests.conftest import LoopThread
from twins.clock import EPOCH, ClockError, SteppedClock
from twins.utility.web import LONGEST_BODY, Server, WebError, in_turn, serve


class Shop:
    """An application on a clock: `/now`, `/count`, `/body`, `/endless`, `/wait`."""

    def __init__(self, loop: LoopThread) -> None:
        self.loop = loop
        self.clock: SteppedClock = loop.call(SteppedClock)
        self.ended = 0
        self.app = FastAPI(docs_url=None, redoc_url=None)
        self.app.get("/now")(self.now)
        self.app.post("/body")(self.body)
        self.app.get("/endless")(self.endless)
        self.app.get("/wait")(self.wait)
        self.server: Server = loop.run(serve(self.app, "127.0.0.1", 0, self.clock, patience_s=0.5))

    async def now(self) -> str:
        return str(await in_turn(self.clock, lambda: self.clock.now().isoformat()))

    async def body(self, request: Request) -> int:
        return len(await request.body())

    async def endless(self) -> StreamingResponse:
        async def much() -> Any:
            try:
                while True:
                    yield b"x" * 65_536
            finally:
                self.ended += 1

        return StreamingResponse(much())

    async def wait(self) -> None:
        await in_turn(self.clock, self.clock.sleep, 1)

    @property
    def port(self) -> int:
        return int(self.server.address.rpartition(":")[2])


@pytest.fixture
def shop(site_loop: LoopThread) -> Iterator[Shop]:
    made = Shop(site_loop)
    yield made
    site_loop.run(made.server.close())


def test_dates_are_bench_time(shop: Shop) -> None:
    answer = httpx.get(f"{shop.server.address}/now")
    assert parsedate_to_datetime(answer.headers["date"]) == EPOCH
    shop.loop.run(shop.clock.advance(3_600))
    answer = httpx.get(f"{shop.server.address}/now")
    assert parsedate_to_datetime(answer.headers["date"]) == EPOCH + timedelta(hours=1)
    assert answer.json() == (EPOCH + timedelta(hours=1)).isoformat()
    assert answer.headers.get_list("date") == [answer.headers["date"]]


def test_a_request_is_answered_while_time_is_advanced(shop: Shop) -> None:
    """Between two steps: never at a moment at which nothing happens."""
    ticks: list[str] = []

    async def tick() -> None:
        while True:
            ticks.append(shop.clock.now().isoformat())
            await shop.clock.sleep(1)

    shop.loop.call(shop.clock.spawn, tick())
    running = asyncio.run_coroutine_threadsafe(shop.clock.advance(200_000), shop.loop.loop)
    seen = [httpx.get(f"{shop.server.address}/now").json() for _ in range(5)]
    running.result(60)
    assert set(seen) <= set(ticks)


def test_a_client_that_does_not_read_is_dropped_and_hurts_nobody(shop: Shop) -> None:
    with socket.create_connection(("127.0.0.1", shop.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        assert httpx.get(f"{shop.server.address}/now").status_code == 200
        while shop.ended == 0:
            assert httpx.get(f"{shop.server.address}/now").status_code == 200
        deaf.settimeout(20)
        with pytest.raises(ConnectionResetError):
            deaf.makefile("rb").read()
    assert shop.ended == 1


def test_a_body_that_is_too_long_is_refused(shop: Shop) -> None:
    url = f"{shop.server.address}/body"
    assert httpx.post(url, content=b"x" * LONGEST_BODY).json() == LONGEST_BODY
    answer = httpx.post(url, content=b"x" * (LONGEST_BODY + 1))
    assert answer.status_code == 413
    assert answer.text.count("\n") == 1

    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    with pytest.raises(httpx.TransportError):
        httpx.post(url, content=pieces())
    assert httpx.get(f"{shop.server.address}/now").status_code == 200


def test_a_handler_that_waits_for_bench_time_is_told(shop: Shop) -> None:
    async def straight() -> None:
        await in_turn(shop.clock, shop.clock.sleep, 1)

    with pytest.raises(ClockError, match="only a task"):
        shop.loop.run(straight())
    assert httpx.get(f"{shop.server.address}/wait").status_code == 500
    assert httpx.get(f"{shop.server.address}/now").status_code == 200


def test_a_port_that_is_taken_is_named_in_one_line(shop: Shop) -> None:
    with pytest.raises(
        WebError,
        match=rf"^cannot be served at 127\.0\.0\.1:{shop.port}: .*in use; choose another port, or 0 ",
    ):
        shop.loop.run(serve(shop.app, "127.0.0.1", shop.port, shop.clock))


def test_closing_ends_streams_and_frees_the_port(shop: Shop) -> None:
    with socket.create_connection(("127.0.0.1", shop.port)) as deaf:
        deaf.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        shop.loop.run(shop.server.close(), 10)
    again: Server = shop.loop.run(serve(shop.app, "127.0.0.1", shop.port, shop.clock))
    assert httpx.get(f"{again.address}/now").status_code == 200
    shop.loop.run(again.close())
