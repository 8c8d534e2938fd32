"""Serial lines on ptys and raw TCP ports: bytes arrive, lines can be paced, disturbed and cut, and leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest
import serial

from tests.conftest import LoopThread
from twins.faces.stream import Disturbance, Send, SerialLine, TcpServer


class Echo:
    """Sends back what it hears."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.gone = False

    def received(self, data: bytes) -> None:
        self.send(data)

    def closed(self) -> None:
        self.gone = True


def _exchange(path: str, data: bytes, want: int, timeout: float = 3.0) -> bytes:
    with serial.Serial(path, timeout=timeout) as port:
        port.write(data)
        return port.read(want)


def test_bytes_cross_a_pty_both_ways_and_its_link_goes_with_it(site_loop: LoopThread, tmp_path: Path) -> None:
    line = SerialLine(Echo, tmp_path / "line")
    endpoint = site_loop.run(line.open())
    assert endpoint.address == str(tmp_path / "line")
    every = bytes(range(256))
    assert _exchange(endpoint.address, every, 256) == every
    site_loop.run(line.close())
    assert not (tmp_path / "line").is_symlink()


def test_a_path_in_use_is_refused_and_a_dead_link_is_replaced(site_loop: LoopThread, tmp_path: Path) -> None:
    (tmp_path / "used").write_text("mine")
    with pytest.raises(OSError, match="exists already"):
        site_loop.run(SerialLine(Echo, tmp_path / "used").open())
    (tmp_path / "dead").symlink_to("/nowhere/at/all")
    line = SerialLine(Echo, tmp_path / "dead")
    endpoint = site_loop.run(line.open())
    assert _exchange(endpoint.address, b"x", 1) == b"x"
    site_loop.run(line.close())


def test_a_paced_line_takes_the_time_of_its_baud_rate(site_loop: LoopThread) -> None:
    line = SerialLine(Echo, paced_baud=9600)
    path = site_loop.run(line.open()).address
    data = b"U" * 96
    start = time.monotonic()
    assert _exchange(path, data, 96) == data
    took = time.monotonic() - start
    wire = 2 * 96 * 10 / 9600
    assert took >= wire
    site_loop.run(line.close())


@pytest.mark.parametrize("kind", ["garble", "drop"])
def test_a_disturbed_line_disturbs_the_same_way_for_the_same_seed(site_loop: LoopThread, kind: str) -> None:
    heard = []
    for _ in range(2):
        line = SerialLine(Echo, disturbance=Disturbance(**{kind: 0.02}, seed=7))
        path = site_loop.run(line.open()).address
        with serial.Serial(path, timeout=0.3) as port:
            port.write(bytes(1000))
            site_loop.run(asyncio.sleep(0.05))  # for the line to take them and to send them back
            data = b""
            while piece := port.read(2000):
                data += piece
        heard.append(data)
        site_loop.run(line.close())
    assert heard[0] == heard[1]
    changed = sum(1 for b in heard[0] if b) if kind == "garble" else 1000 - len(heard[0])
    assert 10 < changed < 90


def test_a_line_is_cut_after_so_many_bytes_and_can_be_mended(site_loop: LoopThread) -> None:
    line = SerialLine(Echo, disturbance=Disturbance(cut_after=15))
    path = site_loop.run(line.open()).address
    with serial.Serial(path, timeout=3) as port:
        port.write(b"0123456789")
        assert port.read(5) == b"01234"
        port.timeout = 0.3
        assert port.read(1) == b""
    assert _exchange(path, b"more", 4, 0.2) == b""
    site_loop.call(line.disturb, Disturbance())
    site_loop.call(line.mend)
    assert _exchange(path, b"again", 5) == b"again"
    site_loop.run(line.close())


def test_a_reader_that_never_reads_costs_bytes_not_the_bench(site_loop: LoopThread) -> None:
    line = SerialLine(Echo)
    path = site_loop.run(line.open()).address
    slave = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        site_loop.call(line._session.received, bytes(200_000))
        assert site_loop.call(lambda: line.lost) > 0
    finally:
        os.close(slave)
        site_loop.run(line.close())


def test_every_tcp_connection_is_a_session_of_its_own(site_loop: LoopThread) -> None:
    made: list[Echo] = []

    def make(send: Send) -> Echo:
        made.append(Echo(send))
        return made[-1]

    server = TcpServer(make, "127.0.0.1", 0)
    host, port = site_loop.run(server.open()).address.split(":")
    with socket.create_connection((host, int(port)), 3) as a, socket.create_connection((host, int(port)), 3) as b:
        a.sendall(b"one")
        b.sendall(b"two")
        assert (a.recv(10), b.recv(10)) == (b"one", b"two")
    assert len(made) == 2
    site_loop.run(server.close())


def test_a_port_in_use_is_named(site_loop: LoopThread) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}.*choose another port"):
            site_loop.run(TcpServer(Echo, "127.0.0.1", port).open())


@pytest.mark.parametrize("bad", [{"garble": 1.5}, {"drop": -0.1}, {"delay_s": -1.0}, {"cut_after": -1}])
def test_a_disturbance_out_of_range_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="line disturbance"):
        Disturbance(**bad)  # type: ignore[arg-type]
