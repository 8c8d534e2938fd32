"""The WT310E's Modbus registers: through pymodbus and mbpoll, and frame by frame."""

from __future__ import annotations

import math
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.client import ModbusTcpClient

from tests.conftest import LoopThread
from twins.analyzers.wt310e_registers import Wt310eRegisters, float_words
from twins.analyzers.yokogawa_wt310e import MODEL, Wt310e, Wt310eOptions
from twins.clock import SteppedClock
from twins.faces.modbus import MbapSession
from twins.faces.scpi import ScpiSession
from twins.faces.stream import HangUp
from twins.models import LineOptions
from twins.wiring import Load, Site, Source, Tap, single_phase

NAN, INF = (0x7FC0, 0), (0x7F80, 0)


def mbap(number: int, pdu: bytes, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", number, 0, 1 + len(pdu), unit) + pdu


class Bench:
    """A twin without measuring error, its registers frame by frame, and its program messages beside them."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.site = Site(self.clock)
        self.source = Source(self.site, "source", single_phase(240.0), 60.0)
        self.load = Load(self.site, "load", "current", 5.0)
        self.source.feeds(Tap(self.site, "tap")).feeds(self.load)
        options = Wt310eOptions(tap="tap", gain_error_pct=0, frequency_error_pct=0, phase_error_deg=0, noise_pct=0)
        self.twin = Wt310e(self.clock, self.site, name="analyzer", options=options)
        self.sent = bytearray()
        self.registers = MbapSession(self.sent.extend, Wt310eRegisters(self.twin.element, self.twin.commands))
        self.answers = bytearray()
        self.messages = ScpiSession(self.twin.commands, self.answers.extend)

    def say(self, message: str) -> str:
        self.answers.clear()
        self.messages.received(message.encode() + b"\n")
        return self.answers.decode().strip()

    def ask(self, pdu: str | bytes) -> bytes:
        """The PDU that answers a PDU; empty where there is no answer."""
        self.sent.clear()
        self.registers.received(mbap(7, bytes.fromhex(pdu) if isinstance(pdu, str) else pdu))
        if self.sent:
            assert self.sent[:2] == b"\0\x07"
        return bytes(self.sent[7:])

    def words(self, register: int, count: int) -> tuple[int, ...]:
        """Input registers, by their number (from 1)."""
        reply = self.ask(struct.pack(">BHH", 4, register - 1, count))
        assert reply[:2] == bytes((4, 2 * count))
        return struct.unpack(f">{count}H", reply[2:])

    def floats(self, register: int, count: int) -> list[float]:
        words = self.words(register, 2 * count)
        return list(struct.unpack(f">{count}f", struct.pack(f">{2 * count}H", *words)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_items_are_floats_with_the_high_word_first(bench):
    assert bench.ask("04 07D0 0006") == bytes.fromhex("04 0C 43700000 40A00000 44960000")  # 240 V, 5 A, 1200 W
    assert bench.floats(2001, 9) == [240, 5, 1200, 1200, 0, 1, 0, 60, 60]
    assert bench.words(2019, 2) == NAN  # item 10 is none
    assert bench.words(2509, 2) == NAN


def test_part_of_a_float_can_be_read(bench):
    assert bench.words(2001, 3) == (0x4370, 0, 0x40A0)
    assert bench.words(2002, 4) == (0, 0x40A0, 0, 0x4496)
    assert bench.words(2510, 1) == (0,)


def test_items_follow_their_setting(bench):
    bench.say(":NUM:ITEM1 P,1;ITEM255 URAN,1;ITEM2 U,2;ITEM3 TIME,1")
    assert bench.floats(2001, 1) == [1200]
    assert bench.words(2003, 2) == NAN  # there is no element 2
    assert bench.floats(2005, 1) == [0]
    assert bench.floats(2509, 1) == [600]
    bench.say(":NUM:PRES 1")
    assert bench.floats(2001, 3) == [240, 5, 1200]


def test_registers_say_what_messages_say(bench, site_loop):
    bench.say(":NUM:PRES 4;:INTEG:STAR")
    site_loop.run(bench.clock.advance(3600))
    said = [float(v) for v in bench.say(":NUM:NUM 22;VAL?").split(",")]
    assert bench.floats(2001, 22) == pytest.approx(said, rel=1e-6)
    assert said[16] == 1200  # Wh


def test_over_range_is_infinite_and_its_bits_are_set(bench, site_loop):
    assert bench.words(3, 2) == (0, 0)
    bench.twin.set_ranges(15, 0.005)
    site_loop.run(bench.clock.advance(1))
    assert bench.words(2001, 6) == INF * 3
    assert bench.words(101, 2) == INF
    assert bench.words(3, 2) == (3, 3)
    assert bench.words(4, 1) == (3,)
    assert bench.say(":COMM:HEAD OFF;:INP:POV?;CRAN?") == "3;3"


def test_no_current_has_no_phase(bench, site_loop):
    bench.load.set(value=0.0)
    site_loop.run(bench.clock.advance(1))
    assert bench.floats(2003, 2) == [0, 0]
    assert bench.words(2011, 4) == INF * 2


def test_element_one_and_the_display(bench, site_loop):
    assert bench.floats(101, 1) == [240]
    assert bench.floats(3001, 4) == [240, 5, 1200, 1]
    bench.twin.press("hold")
    bench.load.set(value=2.0)
    site_loop.run(bench.clock.advance(1))
    assert bench.floats(3003, 1) == [5]
    bench.twin.press("hold")
    assert bench.floats(3003, 1) == [2]


def test_reading_changes_nothing(bench):
    bench.say(":NUM:PRES 3")
    first = bench.words(2001, 124)
    assert bench.words(2001, 124) == first


@pytest.mark.parametrize(
    ("request_pdu", "reply"),
    [
        ("04 0000 0001", "84 02"),  # status that is not verified
        ("04 0002 0003", "84 02"),
        ("04 0064 0003", "84 02"),
        ("04 0066 0002", "84 02"),
        ("04 00C8 0002", "84 02"),
        ("04 07CF 0002", "84 02"),
        ("04 09CD 0002", "84 02"),
        ("04 0BB8 0009", "84 02"),
        ("04 FFFF 0001", "84 02"),
        ("04 FFFF 0002", "84 02"),
        ("04 07D0 0000", "84 03"),
        ("04 07D0 007E", "84 03"),
        ("03 0000 0001", "83 02"),
        ("03 000A 0001", "83 02"),
        ("06 0000 0001", "86 03"),
        ("06 0009 FFFF", "86 03"),
        ("06 000A 0001", "86 02"),
        ("01 0000 0001", "81 01"),
        ("02 0000 0001", "82 01"),
        ("05 0000 FF00", "85 01"),
        ("0F 0000 0001 01 01", "8F 01"),
        ("10 0000 0001 02 0001", "90 01"),
        ("2B 0E 01 00", "AB 01"),
        ("63", "E3 01"),
    ],
)
def test_what_is_not_served_is_refused(bench, request_pdu, reply):
    assert bench.ask(request_pdu) == bytes.fromhex(reply)


def test_the_largest_read_is_125_registers(bench):
    assert len(bench.words(2001, 125)) == 125


def test_a_silent_instrument_is_silent_here_too(bench):
    bench.twin.inject("silent")
    assert bench.ask("04 07D0 0002") == b""
    bench.twin.inject("silent", False)
    assert bench.ask("04 07D0 0002") == bytes.fromhex("04 04 43700000")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (240.0, (0x4370, 0)),
        (-0.5, (0xBF00, 0)),
        (0.0, (0, 0)),
        (1.1, (0x3F8C, 0xCCCD)),
        (math.nan, NAN),
        (math.inf, INF),
        (1e39, INF),
    ],
)
def test_words_of_a_float(value, words):
    assert float_words(value) == words


# --- Clients that are not ours -----------------------------------------------------------------------------------------


class Served:
    def __init__(self, loop: LoopThread) -> None:
        self.clock = loop.call(SteppedClock)
        site = loop.call(Site, self.clock)
        self.twin = loop.call(lambda: MODEL.build(self.clock, site, name="analyzer", options=MODEL.default_site(site)))
        self.face = loop.call(MODEL.faces["modbus"], self.twin, "", LineOptions())
        self.port = int(loop.run(self.face.open()).address.split(":")[1])


@pytest.fixture
def served(site_loop: LoopThread) -> Iterator[Served]:
    served = Served(site_loop)
    yield served
    site_loop.run(served.face.close())


def test_pymodbus_reads_floats(served, site_loop):
    with ModbusTcpClient("127.0.0.1", port=served.port, timeout=5, retries=0) as client:
        reply = client.read_input_registers(2000, count=20, device_id=1)
        kind = client.DATATYPE.FLOAT32
        values = client.convert_from_registers(reply.registers, kind)
        reading = site_loop.call(served.twin.read)
        assert values[:3] == pytest.approx([reading.voltage_v, reading.current_a, reading.power_w], rel=1e-6)
        assert values[7] == pytest.approx(reading.frequency_hz, rel=1e-6)
        assert math.isnan(values[9])
        assert client.read_input_registers(0, count=12).exception_code == 2
        assert client.write_register(0, 1).exception_code == 3


def mbpoll(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["mbpoll", "-m", "tcp", "-p", str(served.port), "-0", "-1", "-o", "10", *arguments, "127.0.0.1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_mbpoll_reads_floats(served, site_loop):
    done = mbpoll(served, "-t", "3:float", "-B", "-r", "2000", "-c", "3")
    assert done.returncode == 0, done.stderr
    values = [float(line.split(":")[1]) for line in done.stdout.splitlines() if line.startswith("[")]
    reading = site_loop.call(served.twin.read)
    assert values == pytest.approx([reading.voltage_v, reading.current_a, reading.power_w], rel=1e-4)


def test_mbpoll_is_told_what_is_not_served(served):
    refused = mbpoll(served, "-t", "3", "-r", "0", "-c", "12")
    assert "Illegal data address" in refused.stdout + refused.stderr


def test_no_network_line_is_paced(bench):
    with pytest.raises(ValueError, match="paced"):
        MODEL.faces["modbus"](bench.twin, "", LineOptions(paced_baud=9600))


# --- Fuzz --------------------------------------------------------------------------------------------------------------

_places = st.sampled_from(
    ((2, 2), (3, 1), (100, 2), (2000, 6), (2001, 3), (2000, 125), (2508, 2), (3000, 8), (3007, 1), (0, 1), (9, 3))
) | st.tuples(st.sampled_from((0, 9, 100, 2000, 2509, 3007, 0xFFFF)) | st.integers(0, 0xFFFF), st.integers(0, 200))
_pdus = st.builds(
    lambda function, place: struct.pack(">BHH", function, *place),
    st.sampled_from((3, 4, 4, 4, 4, 4, 6)) | st.integers(0, 255),
    _places,
) | st.binary(min_size=1, max_size=20)
_frames = st.builds(mbap, st.integers(0, 0xFFFF), _pdus, st.sampled_from((0, 1, 1, 1, 1, 255, 2, 77)))


@pytest.mark.fuzz
def test_no_input_upsets_it(bench: Bench) -> None:
    read = hung_up = 0

    @settings(
        max_examples=3000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(_frames, min_size=4, max_size=4), st.binary(max_size=30), st.integers(1, 40))
    def run(frames: list[bytes], rubbish: bytes, piece: int) -> None:
        nonlocal read, hung_up
        sent: list[bytes] = []
        device: Any = Wt310eRegisters(bench.twin.element, bench.twin.commands)
        session = MbapSession(sent.append, device)
        data = b"".join(frames) + rubbish
        try:
            for at in range(0, len(data), piece):
                session.received(data[at : at + piece])
        except HangUp:
            hung_up += 1
        session.closed()
        for reply in sent:
            _, protocol, length = struct.unpack_from(">HHH", reply)
            assert (protocol, length) == (0, len(reply) - 6)
            read += reply[7] == 4
        assert bench.ask("04 07D0 0002") == bytes.fromhex("04 04 43700000")

    run()
    assert read > 500
    assert hung_up > 500
