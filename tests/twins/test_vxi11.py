"""The VXI-11 face through python-vxi11's core client, which finds it without portmapper, and through hostile bytes."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyvisa_py.protocols import vxi11 as protocol
from pyvisa_py.protocols import xdrlib

from tests.conftest import LoopThread
from twins.analyzers.yokogawa_wt310e import MODEL, Wt310e
from twins.clock import SteppedClock
from twins.faces.vxi11 import Vxi11Server
from twins.wiring import Site

sys.modules.setdefault("xdrlib", xdrlib)  # python-vxi11 imports it, Python 3.13 has none any more
vxi11 = importlib.import_module("vxi11.vxi11")

IDN = b"YOKOGAWA,WT310E,C2PH13047V,F1.04\n"
END, WAIT, TERMINATION = 8, 1, 128
LOCKED, NO_LOCK, TIMED_OUT, NO_LINK, UNSUPPORTED, NO_DEVICE, ABORTED = 11, 12, 15, 4, 8, 3, 23


def make_server(host: str = "127.0.0.1") -> tuple[Wt310e, Vxi11Server]:
    clock = SteppedClock()
    site = Site(clock)
    twin = MODEL.build(clock, site, name="analyzer", options=MODEL.default_site(site))
    return twin, Vxi11Server(twin.commands, host, 0)


class Served:
    """A served twin and the clients that a test opens."""

    def __init__(self, loop: LoopThread) -> None:
        self.loop = loop
        self.twin, self.server = loop.call(make_server)
        self.port = int(loop.run(self.server.open()).address.split(":")[1])
        self.clients: list[Any] = []

    def client(self) -> Any:
        client = vxi11.CoreClient("127.0.0.1", self.port)
        client.sock.settimeout(10)
        self.clients.append(client)
        return client

    def linked(self) -> tuple[Any, int]:
        client = self.client()
        error, link, _, _ = client.create_link(1, False, 0, b"inst0")
        assert error == 0
        return client, link

    def raw(self) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        self.clients.append(raw)
        return raw

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.loop.run(self.server.close())


@pytest.fixture
def served(site_loop: LoopThread) -> Iterator[Served]:
    served = Served(site_loop)
    yield served
    served.close()


def in_background(call: Callable[[], Any]) -> Callable[[], Any]:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()

    def get() -> Any:
        thread.join(10)
        return result[0]

    return get


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.002)


def test_a_query_and_its_answer(served):
    client = served.client()
    error, link, abort_port, most = client.create_link(1, False, 0, b"inst0")
    assert (error, abort_port, most) == (0, served.port, 65536)
    assert client.device_write(link, 1000, 0, END, b"*IDN?") == (0, 5)
    assert client.device_read(link, 1000, 1000, 0, 0, 0) == (0, 4, IDN)
    assert client.device_write(link, 1000, 0, END, b":NUM:VAL?\n") == (0, 10)
    error, reason, data = client.device_read(link, 1000, 1000, 0, TERMINATION, ord("\n"))
    assert (error, reason) == (0, 6)
    assert float(data.split(b",")[2]) == pytest.approx(1200, rel=0.003)
    assert client.destroy_link(link) == 0
    assert client.destroy_link(link) == NO_LINK


def test_a_message_may_come_in_pieces_and_an_answer_be_read_in_pieces(served):
    client, link = served.linked()
    for piece, flags in ((b"*I", 0), (b"DN", 0), (b"?", END)):
        assert client.device_write(link, 1000, 0, flags, piece) == (0, len(piece))
    got, reasons = b"", []
    while not reasons or not reasons[-1] & 4:
        error, reason, data = client.device_read(link, 10, 1000, 0, 0, 0)
        assert error == 0
        got += data
        reasons.append(reason)
    assert got == IDN
    assert reasons == [1, 1, 1, 4]


def test_reading_stops_at_the_termination_character(served):
    client, link = served.linked()
    client.device_write(link, 1000, 0, END, b"*IDN?")
    assert client.device_read(link, 1000, 1000, 0, TERMINATION, ord(",")) == (0, 2, b"YOKOGAWA,")
    assert client.device_read(link, 7, 1000, 0, TERMINATION, ord(",")) == (0, 3, b"WT310E,")


def test_reading_nothing_times_out_and_is_a_query_error(served):
    client, link = served.linked()
    begun = time.monotonic()
    assert client.device_read(link, 100, 150, 0, 0, 0)[0] == TIMED_OUT
    assert time.monotonic() - begun >= 0.14
    client.device_write(link, 1000, 0, END, b":STAT:ERR?")
    assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == b'420,"Query UNTERMINATED"\n'


def test_an_unread_answer_is_lost_to_the_next_message(served):
    client, link = served.linked()
    client.device_write(link, 1000, 0, END, b"*IDN?")
    client.device_write(link, 1000, 0, END, b":STAT:ERR?")
    assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == b'410,"Query INTERRUPTED"\n'


def test_status_byte_clear_trigger_remote_and_local(served):
    client, link = served.linked()
    client.device_write(link, 1000, 0, END, b":NOSUCH\n*IDN?")
    assert client.device_read_stb(link, 0, 0, 1000) == (0, 4 + 16)
    assert client.device_clear(link, 0, 0, 1000) == 0
    assert client.device_read_stb(link, 0, 0, 1000) == (0, 4)
    assert client.device_trigger(link, 0, 0, 1000) == 0
    for act, answer in (
        (client.device_remote, b":COMMUNICATE:REMOTE 1\n"),
        (client.device_local, b":COMMUNICATE:REMOTE 0\n"),
    ):
        assert act(link, 0, 0, 1000) == 0
        client.device_write(link, 1000, 0, END, b":COMM:REM?")
        assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == answer


def test_clear_throws_away_half_a_message(served):
    client, link = served.linked()
    client.device_write(link, 1000, 0, 0, b":RATE 5S;:NOSU")
    client.device_clear(link, 0, 0, 1000)
    client.device_write(link, 1000, 0, END, b":STAT:ERR?;:RATE?")
    assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == b'0,"No error";:RATE 250.0E-03\n'


def test_what_there_is_not_says_so(served):
    client, link = served.linked()
    assert client.create_link(1, False, 0, b"inst1")[0] == NO_DEVICE
    assert client.device_write(link + 9, 1000, 0, END, b"*IDN?")[0] == NO_LINK
    assert client.device_read(link + 9, 10, 1000, 0, 0, 0)[0] == NO_LINK
    assert client.device_read_stb(link + 9, 0, 0, 1000)[0] == NO_LINK
    assert client.device_enable_srq(link, True, b"x") == UNSUPPORTED
    assert client.create_intr_chan(1, 2, 3, 4, 0) == UNSUPPORTED
    assert client.destroy_intr_chan() == 6
    assert client.device_docmd(link, 0, 1000, 0, 1, True, 1, b"")[0] == UNSUPPORTED
    assert client.device_write(link, 1000, 0, END, b"x" * 70000)[0] == 5


def test_every_client_has_its_own_output(served):
    (one, link_one), (two, link_two) = served.linked(), served.linked()
    one.device_write(link_one, 1000, 0, END, b"*IDN?")
    two.device_write(link_two, 1000, 0, END, b"*OPT?")
    assert two.device_read(link_two, 100, 1000, 0, 0, 0)[2] == b"NONE\n"
    assert one.device_read(link_one, 100, 1000, 0, 0, 0)[2] == IDN
    assert two.device_read(link_one, 100, 1000, 0, 0, 0)[0] == NO_LINK  # a link belongs to its connection


def test_a_lock_keeps_the_others_out(served):
    (one, link_one), (two, link_two) = served.linked(), served.linked()
    assert two.device_unlock(link_two) == NO_LOCK
    assert one.device_lock(link_one, 0, 0) == 0
    assert one.device_lock(link_one, 0, 0) == LOCKED
    assert two.device_lock(link_two, 0, 0) == LOCKED
    assert two.device_write(link_two, 1000, 0, END, b"*IDN?")[0] == LOCKED
    assert two.create_link(2, True, 50, b"inst0")[0] == LOCKED
    assert one.device_write(link_one, 1000, 0, END, b"*IDN?")[0] == 0
    begun = time.monotonic()
    assert two.device_lock(link_two, WAIT, 100) == LOCKED
    assert time.monotonic() - begun >= 0.09
    assert one.device_unlock(link_one) == 0
    assert two.device_lock(link_two, 0, 0) == 0


def test_a_lock_can_be_waited_for(served):
    (one, link_one), (two, link_two) = served.linked(), served.linked()
    one.device_lock(link_one, 0, 0)
    got = in_background(lambda: two.device_lock(link_two, WAIT, 8000))
    until(lambda: any(c._call is not None for c in served.server.connections))
    one.device_unlock(link_one)
    assert got() == 0


def test_a_lock_ends_with_its_connection(served):
    one, link_one = served.linked()
    one.device_lock(link_one, 0, 0)
    one.close()
    until(lambda: not served.server.links)
    two, link_two = served.linked()
    assert two.device_lock(link_two, 0, 0) == 0


def test_a_waiting_read_can_be_aborted(served):
    client, link = served.linked()
    got = in_background(lambda: client.device_read(link, 10, 8000, 0, 0, 0))
    until(lambda: any(c._call is not None for c in served.server.connections))
    abort = vxi11.AbortClient("127.0.0.1", served.port)
    served.clients.append(abort)
    assert abort.device_abort(link) == 0
    assert got()[0] == ABORTED
    assert abort.device_abort(link + 9) == NO_LINK
    client.device_write(link, 1000, 0, END, b"*IDN?")
    assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == IDN


def test_links_are_not_for_ever(served):
    client = served.client()
    links = [client.create_link(1, False, 0, b"inst0") for _ in range(65)]
    assert [error for error, *_ in links] == [0] * 64 + [9]
    client.destroy_link(links[0][1])
    assert client.create_link(1, False, 0, b"inst0")[0] == 0


def call(procedure: int, body: bytes = b"", program: int = 0x0607AF, version: int = 1, rpc_version: int = 2) -> bytes:
    record = struct.pack(">10I", 77, 0, rpc_version, program, version, procedure, 0, 0, 0, 0) + body
    return struct.pack(">I", 0x80000000 | len(record)) + record


def reply(raw: socket.socket) -> bytes:
    (mark,) = struct.unpack(">I", raw.recv(4, socket.MSG_WAITALL))
    return raw.recv(mark & 0x7FFFFFFF, socket.MSG_WAITALL)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (call(0), (0, 0, 0, 0)),  # the null procedure
        (call(99), (0, 0, 0, 3)),
        (call(11, b"\0\0\0\1"), (0, 0, 0, 4)),
        (call(23, b"\0\0\0\1\0\0\0\1"), (0, 0, 0, 4)),
        (call(10, program=100000), (0, 0, 0, 1)),
        (call(10, version=7), (0, 0, 0, 2)),
        (call(10, rpc_version=3), (1, 0)),
    ],
)
def test_a_call_that_is_none_of_its_own_is_answered_as_rpc_says(served, data, status):
    raw = served.raw()
    raw.sendall(data)
    words = struct.unpack(f">{2 + len(status)}I", reply(raw)[: 8 + 4 * len(status)])
    assert words == (77, 1, *status)


def test_records_may_come_in_fragments_and_byte_by_byte(served):
    raw = served.raw()
    record = call(0)[4:]
    data = struct.pack(">I", 8) + record[:8] + struct.pack(">I", 0) + struct.pack(">I", 0x80000000 | 32) + record[8:]
    for byte in data:
        raw.sendall(bytes([byte]))
    assert reply(raw)[:4] == struct.pack(">I", 77)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        struct.pack(">I", 1 << 20),
        b"\x80\0\0\2ab",
        b"GET / HTTP/1.1\r\n\r\n",
        call(0)[:4] + bytes(40)[:3],
    ],
)
def test_hostile_bytes_close_that_connection_only(served, data):
    client, link = served.linked()
    raw = served.raw()
    raw.sendall(data)
    if len(data) == 7:
        raw.shutdown(socket.SHUT_WR)
    assert raw.recv(100) == b""
    client.device_write(link, 1000, 0, END, b"*IDN?")
    assert client.device_read(link, 100, 1000, 0, 0, 0)[2] == IDN


# --- Fuzz --------------------------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """The network's side of a connection: keeps what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.aborted = False

    def write(self, data: Any) -> None:
        self.sent += data

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _near_call(seed: int) -> bytes:
    """A call close to a good one: proper procedures with odd arguments, cut and altered."""
    chance = random.Random(seed)
    packer = protocol.Vxi11Packer()
    number = chance.choice((0, 1, 1, 1, 2, -1, 2**31 - 1))
    flags = chance.choice((0, 8, 8, 128, 9, -1))
    timeout = chance.choice((0, 0, 0, 1, 2**32 - 1))
    text = chance.choice((b"*IDN?\n", b":NUM:VAL?", b"", b"\xff\0", b":STAT:ERR?;*IDN?", b"A" * 3000))
    make = {
        10: lambda: packer.pack_create_link_parms(
            (1, chance.random() < 0.2, timeout, chance.choice(("inst0", "", "x")))
        ),
        11: lambda: packer.pack_device_write_parms((number, timeout, timeout, flags, text)),
        12: lambda: packer.pack_device_read_parms(
            (number, chance.choice((0, 1, 50, 2**32 - 1)), timeout, timeout, flags, 10)
        ),
        18: lambda: packer.pack_device_lock_parms((number, flags, timeout)),
        19: lambda: packer.pack_device_link(number),
        20: lambda: packer.pack_device_enable_srq_parms((number, True, text[:40])),
        22: lambda: packer.pack_device_docmd_parms((number, flags, timeout, timeout, 1, True, 1, text)),
        23: lambda: packer.pack_device_link(number),
    }
    procedure = chance.choice((10, 11, 11, 12, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 25, 26, 0, 1, 24, 2**31))
    packer.reset()
    make.get(procedure, lambda: packer.pack_device_generic_parms((number, flags, timeout, timeout)))()
    program = chance.choice((0x0607AF,) * 9 + (0x0607B0,))
    data = bytearray(call(procedure, packer.get_buffer(), program=program))
    for _ in range(chance.choice((0, 0, 0, 0, 1, 4))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.choice((None, None, None, -1, 30))])


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.fuzz
def test_no_input_upsets_the_server(loop):
    _, server = make_server()

    def connect() -> tuple[Any, Wire]:
        """A connection with link 1, which most of the near calls name."""
        server._numbers = itertools.count(1)
        connection, wire = server.connection(), Wire()
        connection.connection_made(wire)
        packer = protocol.Vxi11Packer()
        packer.pack_create_link_parms((1, False, 0, "inst0"))
        connection.data_received(call(10, packer.get_buffer()))
        assert struct.unpack_from(">ii", wire.sent, 28) == (0, 1)
        return connection, wire

    async def feed(calls: list[bytes], size: int) -> bytes:
        hostile, wire = connect()
        for data in calls:
            for at in range(0, len(data), size):
                hostile.data_received(data[at : at + size])
                if wire.aborted or hostile._call is not None:
                    hostile.connection_lost(None)  # closed, or waiting: the next call needs a new connection
                    hostile, wire = connect()
                    break
            await asyncio.sleep(0)
        hostile.connection_lost(None)
        good, wire = connect()
        packer = protocol.Vxi11Packer()
        packer.pack_device_write_parms((1, 0, 0, END, b"*RST;*CLS;*IDN?"))
        good.data_received(call(11, packer.get_buffer()))
        packer.reset()
        packer.pack_device_read_parms((1, 100, 0, 0, 0, 0))
        good.data_received(call(12, packer.get_buffer()))
        good.connection_lost(None)
        return bytes(wire.sent)

    @settings(max_examples=1500, deadline=None)
    @given(
        st.lists(st.integers(0, 2**48).map(_near_call) | st.binary(max_size=80), min_size=8, max_size=8),
        st.integers(1, 400),
    )
    def fuzz(calls: list[bytes], size: int) -> None:
        sent = loop.run_until_complete(feed(calls, size))
        assert IDN in sent
        assert not server.links
        assert not server.connections
        assert server.locked_by is None

    fuzz()
