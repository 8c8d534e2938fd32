"""The relay board's twin: coils, contacts and flashes in bench time, and both faces under clients that aren't ours."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerRTU

from drivers.errors import OutOfRange
from drivers.roles import Identity, Relay
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.faces.modbus import MbapSession, ModbusDevice, ModbusRefusal, RtuSession, answer, coil_state
from twins.faces.stream import Disturbance, HangUp
from twins.models import LineOptions
from twins.models import find as find_model
from twins.relays.waveshare import MODEL, BoardRegisters, WaveshareOptions, WaveshareRelay
from twins.wiring import Contact, Load, Site, Source, WiringError, single_phase

hx = bytes.fromhex


def frame(body: str | bytes) -> bytes:
    """An RTU frame of a body, its CRC added."""
    raw = hx(body) if isinstance(body, str) else body
    return raw + FramerRTU.compute_CRC(raw).to_bytes(2, "big")


@dataclass
class Bench:
    """A board on a stepped clock, whose channel 1 switches 5 A at 240 V and channel 2 nothing but a contact."""

    loop: LoopThread
    clock: SteppedClock
    site: Site
    board: WaveshareRelay
    faces: list[Any]

    def advance(self, seconds: float) -> None:
        self.loop.run(self.clock.advance(seconds))

    def open(self, scheme: str, address: str = "", line: LineOptions | None = None) -> str:
        face = MODEL.faces[scheme](self.board, address, line or LineOptions())
        endpoint = self.loop.run(face.open())
        assert endpoint.scheme == scheme
        self.faces.append(face)
        return str(endpoint.address)

    def connect(self) -> socket.socket:
        host, port = self.open("modbus").split(":")
        return socket.create_connection((host, int(port)), 5)

    def line(self) -> serial.Serial:
        return serial.Serial(self.open("rtu"), 9600, timeout=5)

    def contact(self, name: str) -> bool:
        return self.site.contact(name).closed


def build(loop: LoopThread, **options: Any) -> Bench:
    clock = loop.call(SteppedClock)
    site = Site(clock)

    def wire() -> WaveshareRelay:
        source = Source(site, "supply", single_phase(240.0), 60.0)
        source.feeds(Contact(site, "mains")).feeds(Load(site, "load", "current", 5.0))
        source.feeds(Contact(site, "spare"))
        given_options = {"contacts": {1: "mains", 2: "spare"}} | options
        board: WaveshareRelay = MODEL.build(clock, site, name="relay", options=WaveshareOptions(**given_options))
        return board

    return Bench(loop, clock, site, loop.call(wire), [])


@pytest.fixture
def bench(site_loop: LoopThread) -> Iterator[Bench]:
    made = build(site_loop)
    yield made
    for face in made.faces:
        site_loop.run(face.close())


# --- Behaviour --------------------------------------------------------------------------------------------------------


def test_it_holds_its_role_and_says_who_it_is(bench: Bench) -> None:
    assert isinstance(bench.board, Relay)
    assert find_model("waveshare-relay") is MODEL
    assert bench.board.channels == 8
    assert bench.board.identify() == Identity("Waveshare", "Modbus RTU Relay (8CH)", "1", "V2.00")


def test_a_contact_follows_its_coil_after_settling(bench: Bench) -> None:
    bench.loop.call(bench.board.close, 1)
    assert bench.board.closed() == (True,) + (False,) * 7
    assert not bench.contact("mains")
    bench.advance(0.009)
    assert not bench.contact("mains")
    bench.advance(0.002)
    assert bench.contact("mains")
    assert abs(bench.site.load("load").state().currents[0]) == pytest.approx(5.0)
    bench.loop.call(bench.board.open_all)
    bench.advance(0.011)
    assert not bench.contact("mains")
    assert bench.board.closed() == (False,) * 8


def test_settling_can_be_set_to_nothing(site_loop: LoopThread) -> None:
    bench = build(site_loop, settle_s=0)
    site_loop.call(bench.board.close, 2)
    assert bench.contact("spare")


def test_a_contact_that_did_not_have_the_time_to_move_does_not(bench: Bench) -> None:
    moves: list[bool] = []
    bench.site.changed.append(lambda: moves.append(bench.contact("spare")))
    bench.loop.call(bench.board.close, 2)
    bench.advance(0.004)
    bench.loop.call(bench.board.open, 2)
    bench.advance(1)
    assert moves == []


def test_settling_counts_from_the_coils_last_move(bench: Bench) -> None:
    for channel_call in (bench.board.close, bench.board.open, bench.board.close):
        bench.loop.call(channel_call, 2)
        bench.advance(0.004)
    assert not bench.contact("spare")  # 12 ms after the first move, 4 ms after the last
    bench.advance(0.007)
    assert bench.contact("spare")


def test_a_channel_without_a_contact_switches_nothing(bench: Bench) -> None:
    bench.loop.call(bench.board.close, 8)
    bench.advance(1)
    assert bench.board.closed()[7]
    assert not bench.contact("mains")
    assert not bench.contact("spare")


def test_a_pulse_ends_by_the_boards_own_timer(bench: Bench) -> None:
    bench.loop.call(bench.board.pulse, 1, 0.7)
    bench.advance(0.69)
    assert bench.board.closed()[0]
    assert bench.contact("mains")
    bench.advance(0.011)
    assert not bench.board.closed()[0]
    bench.advance(0.01)
    assert not bench.contact("mains")


def test_a_second_pulse_starts_the_time_over(bench: Bench) -> None:
    bench.loop.call(bench.board.pulse, 1, 1.0)
    bench.advance(0.9)
    bench.loop.call(bench.board.pulse, 1, 1.0)
    bench.advance(0.9)
    assert bench.board.closed()[0]
    bench.advance(0.2)
    assert not bench.board.closed()[0]


@pytest.mark.parametrize("later", ["close", "open", "open_all"])
def test_a_later_write_cancels_the_pulse(bench: Bench, later: str) -> None:
    bench.loop.call(bench.board.pulse, 1, 1.0)
    bench.loop.call(getattr(bench.board, later), *([1] if later != "open_all" else []))
    bench.loop.call(bench.board.close, 1)
    bench.advance(10)
    assert bench.board.closed()[0]


def test_pulses_of_two_channels_do_not_touch_each_other(bench: Bench) -> None:
    bench.loop.call(bench.board.pulse, 1, 1.0)
    bench.loop.call(bench.board.pulse, 2, 2.0)
    bench.loop.call(bench.board.open, 2)
    bench.advance(0.5)
    assert bench.board.closed()[:2] == (True, False)
    bench.advance(0.6)
    assert bench.board.closed()[:2] == (False, False)


@pytest.mark.parametrize("call", [("close", 0), ("open", 9), ("pulse", 9, 1.0), ("pulse", 1, 0.05), ("pulse", 1, 0.25)])
def test_what_the_board_cannot_do_is_out_of_range(bench: Bench, call: tuple[Any, ...]) -> None:
    with pytest.raises(OutOfRange, match="relay"):
        bench.loop.call(getattr(bench.board, call[0]), *call[1:])


def test_changes_are_told_once_each(bench: Bench) -> None:
    told: list[tuple[bool, ...]] = []
    bench.board.changed.append(lambda: told.append(bench.board.closed()[:2]))
    bench.loop.call(bench.board.close, 1)
    bench.loop.call(bench.board.close, 1)
    bench.loop.call(bench.board.pulse, 2, 0.1)
    bench.advance(1)
    bench.loop.call(bench.board.open_all)
    assert told == [(True, False), (True, True), (True, False), (False, False)]


def test_a_welded_contact_and_a_broken_one_show_in_the_wiring_only(bench: Bench) -> None:
    bench.loop.call(bench.board.close, 1)
    bench.advance(1)
    bench.loop.call(bench.board.inject, "stuck_closed_1")
    bench.loop.call(bench.board.inject, "stuck_open_2")
    bench.loop.call(bench.board.open, 1)
    bench.loop.call(bench.board.close, 2)
    bench.advance(1)
    assert bench.board.closed()[:2] == (False, True)
    assert bench.contact("mains")
    assert not bench.contact("spare")
    bench.loop.call(bench.board.inject, "stuck_closed_1", False)
    bench.loop.call(bench.board.inject, "stuck_open_2", False)
    assert not bench.contact("mains")
    assert bench.contact("spare")


def test_the_latest_way_of_being_stuck_holds(bench: Bench) -> None:
    bench.loop.call(bench.board.inject, "stuck_open_1")
    bench.loop.call(bench.board.inject, "stuck_closed_1")
    assert bench.contact("mains")
    bench.loop.call(bench.board.inject, "stuck_closed_1", False)
    assert not bench.contact("mains")


def test_unknown_faults_and_buttons_are_refused_by_name(bench: Bench) -> None:
    with pytest.raises(ValueError, match="stuck_open_9"):
        bench.board.inject("stuck_open_9")
    with pytest.raises(ValueError, match="no button 'reset'"):
        bench.board.press("reset")
    assert bench.board.buttons == ()


@pytest.mark.parametrize(
    "options",
    [
        {"contacts": {9: "mains"}},
        {"contacts": {0: "mains"}},
        {"contacts": {1: "mains", 2: "mains"}},
        {"settle_s": -1},
        {"settle_s": float("inf")},
        {"device_id": 0},
        {"device_id": 256},
        {"chanels": {}},
    ],
)
def test_options_that_make_no_board_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WaveshareOptions(**options)


def test_a_contact_the_site_does_not_have_is_named(site_loop: LoopThread) -> None:
    with pytest.raises(WiringError, match=r"'pump'.*mains"):
        build(site_loop, contacts={1: "pump"})


def test_a_twin_alone_switches_five_amperes(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    site = Site(clock)
    board = site_loop.call(lambda: MODEL.build(clock, site, name="relay", options=MODEL.default_site(site)))
    site_loop.call(board.close, 1)
    site_loop.run(clock.advance(1))
    state = site.tap("load side").state()
    assert state.frequency_hz == 60
    assert state.power.real == pytest.approx(1200)
    assert state.power.imag == pytest.approx(0, abs=1e-9)


# --- The board's protocol, on a serial line -----------------------------------------------------------------------------

GOLDEN = [
    ("01 05 00 00 FF 00 8C 3A", "01 05 00 00 FF 00 8C 3A", 0b00000001),
    ("01 01 00 00 00 08 3D CC", frame("01 01 01 01").hex(), 0b00000001),
    ("01 05 00 00 00 00 CD CA", "01 05 00 00 00 00 CD CA", 0b00000000),
    ("01 05 00 00 55 00 F2 9A", "01 05 00 00 55 00 F2 9A", 0b00000001),
    ("01 05 00 00 55 00 F2 9A", "01 05 00 00 55 00 F2 9A", 0b00000000),
    ("01 05 00 FF FF 00 BC 0A", "01 05 00 FF FF 00 BC 0A", 0b11111111),
    (frame("01 05 00 FF 00 00").hex(), frame("01 05 00 FF 00 00").hex(), 0b00000000),
    ("01 0F 00 00 00 08 01 FF BE D5", frame("01 0F 00 00 00 08").hex(), 0b11111111),
    (frame("01 0F 00 00 00 08 01 41").hex(), frame("01 0F 00 00 00 08").hex(), 0b01000001),
    ("01 01 00 00 00 08 3D CC", "01 01 01 41 91 B8", 0b01000001),
    (frame("01 05 00 FF 55 00").hex(), frame("01 05 00 FF 55 00").hex(), 0b10111110),
    (frame("01 0F 00 02 00 03 01 02").hex(), frame("01 0F 00 02 00 03").hex(), 0b10101010),
    ("01 05 02 00 00 07 8D B0", "01 05 02 00 00 07 8D B0", 0b10101011),
    ("01 05 02 01 00 08 9C 74", "01 05 02 01 00 08 9C 74", 0b10101011),
    (frame("01 05 04 01 00 08").hex(), frame("01 05 04 01 00 08").hex(), 0b10101001),
    (frame("01 03 40 00 00 01").hex(), frame("01 03 02 00 01").hex(), 0b10101001),
    (frame("01 03 80 00 00 01").hex(), frame("01 03 02 00 C8").hex(), 0b10101001),
    (frame("01 06 20 00 01 05").hex(), frame("01 06 20 00 01 05").hex(), 0b10101001),
]

REFUSALS = [
    ("01 07", "01 87 01"),  # a function the board lacks
    ("01 2B 0E 01 00", "01 AB 01"),
    ("01 65 00 00", "01 E5 01"),  # a function nobody has
    ("01 80", "01 80 01"),
    ("01 02 00 00 00 08", "01 82 01"),
    ("01 04 00 00 00 01", "01 84 01"),
    ("01 10 40 00 00 01 02 00 01", "01 90 01"),
    ("01 01 00 00 00 09", "01 81 02"),
    ("01 01 00 08 00 01", "01 81 02"),
    ("01 01 FF FF 00 02", "01 81 02"),
    ("01 01 00 00 00 00", "01 81 03"),
    ("01 01 00 00 07 D1", "01 81 03"),
    ("01 01 00 00 00 08 00", "01 81 03"),  # too long for its function
    ("01 01 00 00", "01 81 03"),
    ("01 05 00 08 FF 00", "01 85 02"),
    ("01 05 00 00 12 34", "01 85 03"),
    ("01 05 02 08 00 01", "01 85 02"),
    ("01 05 02 00 00 00", "01 85 03"),
    ("01 05 02 00 80 00", "01 85 03"),
    ("01 05 04 00 FF 00", "01 85 03"),
    ("01 0F 00 01 00 08 01 FF", "01 8F 02"),
    ("01 0F 00 00 00 08 02 FF FF", "01 8F 03"),
    ("01 0F 00 00 00 00 00", "01 8F 03"),
    ("01 03 40 00 00 02", "01 83 02"),
    ("01 03 20 00 00 01", "01 83 02"),
    ("01 06 40 00 00 00", "01 86 03"),
    ("01 06 40 00 01 00", "01 86 03"),
    ("01 06 20 00 03 00", "01 86 03"),
    ("01 06 20 00 00 08", "01 86 03"),
    ("01 06 80 00 00 01", "01 86 02"),
]


def bits(board: WaveshareRelay) -> int:
    return sum(1 << k for k, on in enumerate(board.closed()) if on)


def heard(bench: Bench, line: serial.Serial, within: float = 0.1) -> bytes:
    """Everything that comes until the line has been quiet for `within` seconds, once the face has noticed a silence."""
    for seconds in (0.01, 0.05):  # on the twin's loop: first it takes what was sent, then the time that ends a frame
        bench.loop.run(asyncio.sleep(seconds))
    data = b""
    while select.select([line.fileno()], [], [], within)[0]:
        data += os.read(line.fileno(), 4096)
    return data


def test_the_makers_frames_on_a_serial_line(bench: Bench) -> None:
    with bench.line() as line:
        for asked, expected, state in GOLDEN:
            line.write(hx(asked))
            reply = hx(expected)
            assert line.read(len(reply)).hex(" ") == reply.hex(" "), asked
            assert bits(bench.board) == state, asked
    assert bench.board.uart == ("even", 115200)
    bench.advance(0.8)  # the flashes end
    assert bits(bench.board) == 0b10101010


def test_what_the_board_refuses_on_a_serial_line(bench: Bench) -> None:
    with bench.line() as line:
        for asked, expected in REFUSALS:
            line.write(frame(asked))
            assert line.read(5).hex(" ") == frame(expected).hex(" "), asked
    assert bits(bench.board) == 0


def test_a_foreign_unit_hears_nothing_and_does_nothing(bench: Bench) -> None:
    with bench.line() as line:
        for unit in (2, 247, 255):
            line.write(frame(bytes([unit]) + hx("05 00 00 FF 00")))
            line.write(frame(bytes([unit]) + hx("01 00 00 00 08")))
            line.write(frame(bytes([unit]) + hx("65 00")))
            assert heard(bench, line) == b""
        assert bits(bench.board) == 0
        line.write(hx("01 01 00 00 00 08 3D CC"))
        assert line.read(6) == frame("01 01 01 00")


def test_a_broadcast_is_carried_out_without_a_reply(bench: Bench) -> None:
    with bench.line() as line:
        line.write(frame("00 05 00 02 FF 00"))
        line.write(frame("00 01 00 00 00 08"))
        line.write(frame("00 06 40 00 00 11"))
        assert heard(bench, line) == b""
        assert bits(bench.board) == 0b100
        line.write(frame("01 01 00 00 00 08"))
        assert heard(bench, line) == b""
        line.write(frame("11 01 00 00 00 08"))
        assert line.read(6) == frame("11 01 01 04")
    assert bench.board.identify().serial == "17"


def test_a_changed_address_answers_its_own_change_under_the_old_one(bench: Bench) -> None:
    with bench.line() as line:
        line.write(frame("01 06 40 00 00 02"))
        assert line.read(8) == frame("01 06 40 00 00 02")
        line.write(frame("02 03 40 00 00 01"))
        assert line.read(7) == frame("02 03 02 00 02")


def test_garbage_and_a_silence_are_forgotten(bench: Bench) -> None:
    with bench.line() as line:
        for garbage in (
            b"\x01",
            b"\xff" * 300,
            hx("01 05 00 00 FF 00 8C 3B"),
            hx("01 0F 00 00 00 08 FF"),
            b"\r\nAT\r\n",
        ):
            line.write(garbage)
            assert heard(bench, line) == b""
            line.write(hx("01 01 00 00 00 08 3D CC"))
            assert line.read(6) == frame("01 01 01 00"), garbage
    assert bits(bench.board) == 0


def test_a_frame_that_comes_byte_by_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twins.faces.modbus._UNPACED_SILENCE_S", 5.0)  # no pause of a busy machine's ends the frame
    with bench.line() as line:
        for byte in hx("01 05 00 00 FF 00 8C 3A"):
            line.write(bytes([byte]))
            time.sleep(0.001)
        assert line.read(8) == hx("01 05 00 00 FF 00 8C 3A")


def test_a_silent_board_hears_and_does_nothing_until_it_recovers(bench: Bench) -> None:
    bench.loop.call(bench.board.inject, "silent")
    with bench.line() as line, bench.connect() as tcp:
        line.write(hx("01 05 00 00 FF 00 8C 3A") + frame("01 65 00"))
        tcp.sendall(hx("00 01 00 00 00 06 01 05 00 00 FF 00 00 02 00 00 00 02 01 65"))
        assert heard(bench, line) == b""
        assert not select.select([tcp], [], [], 0.05)[0]
        assert bits(bench.board) == 0
        bench.loop.call(bench.board.inject, "silent", False)
        line.write(hx("01 05 00 00 FF 00 8C 3A"))
        assert line.read(8) == hx("01 05 00 00 FF 00 8C 3A")


def test_a_paced_line_takes_the_time_of_its_baud_rate(bench: Bench) -> None:
    path = bench.open("rtu", line=LineOptions(paced_baud=9600))
    with serial.Serial(path, 9600, timeout=5) as line:
        started = time.monotonic()
        for _ in range(5):
            line.write(hx("01 01 00 00 00 08 3D CC"))
            assert line.read(6) == frame("01 01 01 00")
        assert time.monotonic() - started >= 5 * (8 + 6) * 10 / 9600


def test_the_path_of_an_rtu_line_is_a_link_while_it_is_open(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "relay"
    assert bench.open("rtu", str(path)) == str(path)
    with serial.Serial(str(path), 9600, timeout=5) as line:
        line.write(hx("01 01 00 00 00 08 3D CC"))
        assert line.read(6) == frame("01 01 01 00")
    bench.loop.run(bench.faces.pop().close())
    assert not path.is_symlink()


# --- The board's protocol, over TCP -----------------------------------------------------------------------------------


def mbap(transaction: int, body: str | bytes) -> bytes:
    adu = hx(body) if isinstance(body, str) else body
    return struct.pack(">HHH", transaction, 0, len(adu)) + adu


def read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


def test_the_makers_frames_over_tcp(bench: Bench) -> None:
    with bench.connect() as tcp:
        for number, (asked, expected, state) in enumerate(GOLDEN):
            tcp.sendall(mbap(number, hx(asked)[:-2]))
            reply = mbap(number, hx(expected)[:-2])
            assert read(tcp, len(reply)).hex(" ") == reply.hex(" "), asked
            assert bits(bench.board) == state, asked


def test_what_the_board_refuses_over_tcp(bench: Bench) -> None:
    with bench.connect() as tcp:
        for number, (asked, expected) in enumerate(REFUSALS):
            tcp.sendall(mbap(number, asked))
            assert read(tcp, 9).hex(" ") == mbap(number, expected).hex(" "), asked
    assert bits(bench.board) == 0


def test_requests_in_one_segment_get_a_reply_each_in_order(bench: Bench) -> None:
    with bench.connect() as tcp:
        asked = b"".join(mbap(k, f"01 05 00 0{k} FF 00") for k in range(8)) + mbap(500, "01 01 00 00 00 08")
        tcp.sendall(asked)
        expected = b"".join(mbap(k, f"01 05 00 0{k} FF 00") for k in range(8)) + mbap(500, "01 01 01 FF")
        assert read(tcp, len(expected)) == expected


def test_a_request_in_pieces_gets_its_reply(bench: Bench) -> None:
    with bench.connect() as tcp:
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in mbap(7, "01 05 00 00 FF 00"):
            tcp.sendall(bytes([byte]))
            time.sleep(0.001)
        assert read(tcp, 12) == mbap(7, "01 05 00 00 FF 00")


def test_over_tcp_a_foreign_unit_is_refused_and_0_and_255_mean_the_board(bench: Bench) -> None:
    with bench.connect() as tcp:
        tcp.sendall(mbap(1, "02 05 00 00 FF 00"))
        assert read(tcp, 9) == mbap(1, "02 85 0B")
        assert bits(bench.board) == 0
        for unit in ("00", "FF"):
            tcp.sendall(mbap(2, unit + "01 00 00 00 08"))
            assert read(tcp, 10) == mbap(2, unit + "01 01 00")


@pytest.mark.parametrize(
    "junk",
    [hx("00 01 00 07 00 06 01"), hx("00 01 00 00 00 01 01"), hx("00 01 00 00 01 00 01"), b"GET / HTTP/1.0\r\n\r\n"],
)
def test_a_header_that_is_not_modbus_ends_the_connection_after_what_was_asked(bench: Bench, junk: bytes) -> None:
    with bench.connect() as tcp:
        tcp.sendall(mbap(1, "01 05 00 00 FF 00") + junk)
        assert read(tcp, 1000) == mbap(1, "01 05 00 00 FF 00")
    host, port = bench.open("modbus").split(":")
    with socket.create_connection((host, int(port)), 5) as again:
        again.sendall(mbap(2, "01 01 00 00 00 08"))
        assert read(again, 10) == mbap(2, "01 01 01 01")


def test_two_clients_see_one_board(bench: Bench) -> None:
    host, port = bench.open("modbus").split(":")
    with socket.create_connection((host, int(port)), 5) as one, socket.create_connection((host, int(port)), 5) as two:
        one.sendall(mbap(1, "01 05 00 04 FF 00"))
        assert read(one, 12)
        two.sendall(mbap(9, "01 01 00 00 00 08"))
        assert read(two, 10) == mbap(9, "01 01 01 10")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", ":502", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused_with_an_example(bench: Bench, address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        bench.open("modbus", address)


def test_a_tcp_link_is_neither_paced_nor_disturbed(bench: Bench) -> None:
    for line in (LineOptions(paced_baud=9600), LineOptions(disturbance=Disturbance(garble=0.1))):
        with pytest.raises(ValueError, match="rtu"):
            bench.open("modbus", line=line)


def test_a_port_in_use_is_said_so(bench: Bench) -> None:
    taken = bench.open("modbus")
    with pytest.raises(OSError, match="choose another port"):
        bench.open("modbus", taken)


def test_only_the_boards_own_wires_are_offered() -> None:
    assert set(MODEL.faces) == {"rtu", "modbus"}


# --- mbpoll -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["modbus", "rtu"])
def mbpoll(bench: Bench, request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs mbpoll against the board, over TCP and on a pty."""
    address = bench.open(request.param)
    if request.param == "modbus":
        host, port = address.split(":")
        where = ["-m", "tcp", "-p", port, host]
    else:
        where = ["-m", "rtu", "-b", "9600", "-P", "none", address]

    def run(*arguments: str, patience: str = "10") -> subprocess.CompletedProcess[str]:
        options = [a for a in arguments if not a.isdecimal()]
        values = [a for a in arguments if a.isdecimal()]
        command = ["mbpoll", "-0", "-1", "-o", patience, *options, *where, *values]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    return run


def test_mbpoll_reads_and_writes_coils(bench: Bench, mbpoll: Any) -> None:
    done = mbpoll("-a1", "-t0", "-r0", "0", "1", "0", "0", "0", "0", "1", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bits(bench.board) == 0b11000010
    done = mbpoll("-a1", "-t0", "-r2", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    done = mbpoll("-a1", "-t0", "-r0", "-c8")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row.split() for row in done.stdout.splitlines() if row.startswith("[")]
    assert rows == [[f"[{k}]:", "1" if 0b11000110 >> k & 1 else "0"] for k in range(8)]


def test_mbpoll_reads_registers_and_moves_the_board(bench: Bench, mbpoll: Any) -> None:
    done = mbpoll("-a1", "-t4", f"-r{0x8000}")
    assert "200" in done.stdout.split("[32768]:")[1]
    done = mbpoll("-a1", "-t4", f"-r{0x4000}", "9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bench.board.identify().serial == "9"
    done = mbpoll("-a9", "-t4", f"-r{0x4000}")
    assert "9" in done.stdout.split("[16384]:")[1]


def test_mbpoll_is_told_what_is_wrong(mbpoll: Any) -> None:
    refused = mbpoll("-a1", "-t0", "-r0", "-c9")
    assert "Illegal data address" in refused.stdout + refused.stderr
    refused = mbpoll("-a1", "-t3", "-r0", "-c1")
    assert "Illegal function" in refused.stdout + refused.stderr


def test_mbpoll_gets_no_answer_from_a_foreign_unit(mbpoll: Any) -> None:
    foreign = mbpoll("-a2", "-t0", "-r0", "-c8", patience="0.5")
    said = foreign.stdout + foreign.stderr
    assert "Connection timed out" in said or "Target device failed to respond" in said
    assert "[0]:" not in said


# --- The generic face with another device -------------------------------------------------------------------------------


class Registers(ModbusDevice):
    """A device with every function, each on a memory of its own."""

    def __init__(self, unit: int, vendor: bytes) -> None:
        self._unit = unit
        self._vendor = vendor
        self.coils = [False] * 2000
        self.holding = [0] * 200

    @property
    def unit(self) -> int:
        return self._unit

    def read_coils(self, start: int, count: int) -> list[bool]:
        return self.coils[start : start + count]

    def read_discrete_inputs(self, start: int, count: int) -> list[bool]:
        return [not on for on in self.coils[start : start + count]]

    def read_holding(self, start: int, count: int) -> list[int]:
        return self.holding[start : start + count]

    def read_input(self, start: int, count: int) -> list[int]:
        return [0xFFFF - value for value in self.holding[start : start + count]]

    def write_coil(self, address: int, value: int) -> None:
        self.coils[address] = coil_state(value)

    def write_coils(self, start: int, states: Any) -> None:
        self.coils[start : start + len(states)] = states

    def write_register(self, address: int, value: int) -> None:
        self.holding[address] = value

    def write_registers(self, start: int, values: Any) -> None:
        self.holding[start : start + len(values)] = values

    def identification(self) -> dict[int, bytes]:
        return {0: self._vendor, 1: b"P1", 2: b"V1", 0x80: b"private"}


def test_every_function_of_a_device_that_has_them_all(site_loop: LoopThread) -> None:
    from twins.faces.modbus import tcp_face

    device = Registers(17, b"Acme")
    face = tcp_face(device, "", LineOptions())
    host, port = site_loop.run(face.open()).address.split(":")
    client = ModbusTcpClient(host, port=int(port), timeout=2, retries=0)
    try:
        client.write_coil(3, True, device_id=17)
        client.write_coils(8, [True, False, True], device_id=17)
        client.write_register(5, 0xBEEF, device_id=17)
        client.write_registers(6, list(range(123)), device_id=17)
        assert client.read_coils(0, count=11, device_id=17).bits[:11] == [k in (3, 8, 10) for k in range(11)]
        assert client.read_discrete_inputs(2, count=2, device_id=17).bits[:2] == [True, False]
        assert client.read_holding_registers(5, count=4, device_id=17).registers == [0xBEEF, 0, 1, 2]
        assert client.read_input_registers(5, count=1, device_id=17).registers == [0x4110]
        assert len(client.read_holding_registers(0, count=125, device_id=17).registers) == 125
        assert len(client.read_coils(0, count=2000, device_id=17).bits) == 2000
        assert client.read_device_information(read_code=1, device_id=17).information == {0: b"Acme", 1: b"P1", 2: b"V1"}
        assert client.read_device_information(read_code=4, object_id=0x80, device_id=17).information == {
            0x80: b"private"
        }
        assert client.read_device_information(read_code=4, object_id=3, device_id=17).exception_code == 2
    finally:
        client.close()
        site_loop.run(face.close())


def test_two_devices_in_one_process_keep_their_identities() -> None:
    asked = hx("2B 0E 04 00")
    assert b"Acme" in answer(Registers(1, b"Acme"), asked)
    assert b"Emca" in answer(Registers(1, b"Emca"), asked)


def test_the_two_standard_coil_values() -> None:
    assert coil_state(0xFF00) is True
    assert coil_state(0) is False
    with pytest.raises(ModbusRefusal) as no:
        coil_state(0x5500)
    assert no.value.code == 3


# --- Rubbish ----------------------------------------------------------------------------------------------------------

_words = st.one_of(
    st.sampled_from((0, 1, 7, 8, 0xFF, 0x1FF, 0x200, 0x207, 0x208, 0x400, 0x407, 0x2000, 0x4000, 0x8000, 0xFFFF)),
    st.sampled_from((0xFF00, 0x5500, 0x7FFF, 0x07D0, 0x007D)),
    st.integers(0, 0xFFFF),
)
_pdus = st.one_of(
    st.builds(
        lambda fc, a, b: struct.pack(">BHH", fc, a, b), st.sampled_from((1, 2, 3, 4, 5, 6, 8, 0x16)), _words, _words
    ),
    st.builds(
        lambda fc, a, n, size, data: struct.pack(">BHHB", fc, a, n, size) + data,
        st.sampled_from((15, 16, 23)),
        _words,
        st.integers(0, 20),
        st.integers(0, 20),
        st.binary(max_size=20),
    ),
    st.builds(lambda fc, data: bytes([fc]) + data, st.integers(0, 255), st.binary(max_size=10)),
    st.builds(lambda data: b"\x2b" + data, st.binary(max_size=4)),
)
_units = st.sampled_from((1, 1, 1, 0, 2, 255))


def _cut(data: bytes, keep: int | None, flip: int | None) -> bytes:
    if flip is not None and data:
        data = bytes(b ^ (0x20 if k == flip % len(data) else 0) for k, b in enumerate(data))
    return data if keep is None else data[:keep]


def _damaged(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    maybe = st.one_of(st.none(), st.none(), st.integers(0, 30))
    return st.one_of(good, st.builds(_cut, good, maybe, maybe), st.binary(max_size=40))


_rtu_frames = _damaged(st.builds(lambda unit, pdu: frame(bytes([unit]) + pdu), _units, _pdus))
_mbap_frames = _damaged(
    st.builds(lambda number, unit, pdu: mbap(number, bytes([unit]) + pdu), st.integers(0, 0xFFFF), _units, _pdus)
)

_big = settings(
    max_examples=10_000, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.fuzz
def test_the_serial_face_survives_anything_and_answers_afterwards(site_loop: LoopThread) -> None:
    board = build(site_loop).board
    sent: list[bytes] = []
    session = RtuSession(sent.append, BoardRegisters(board), 60.0)
    answered = 0

    @_big
    @given(st.lists(_rtu_frames, min_size=1, max_size=4), st.integers(1, 50), st.booleans())
    def run(frames: list[bytes], piece: int, pause: bool) -> None:
        nonlocal answered
        board.set_unit(1)  # an earlier input may have moved it
        for data in [b"".join(frames)] if not pause else frames:
            for k in range(0, len(data), piece):
                session.received(data[k : k + piece])
            if pause:
                session.silence()
        session.silence()
        answered += len(sent)
        for reply in sent:
            assert frame(reply[:-2]) == reply
            assert len(reply) >= 5
        sent.clear()
        session.received(frame(bytes([board.unit]) + hx("01 00 00 00 08")))
        assert sent == [frame(bytes([board.unit]) + hx("01 01") + bytes([bits(board)]))]
        sent.clear()

    site_loop.call(run)
    assert answered > 1000  # the valid-ish frames were valid enough to get somewhere


@pytest.mark.fuzz
def test_the_tcp_face_survives_anything_and_answers_afterwards(site_loop: LoopThread) -> None:
    board = build(site_loop).board
    sent: list[bytes] = []
    answered = hung_up = 0

    @_big
    @given(st.lists(_mbap_frames, min_size=1, max_size=4), st.integers(1, 50))
    def run(frames: list[bytes], piece: int) -> None:
        nonlocal answered, hung_up
        board.set_unit(1)
        session = MbapSession(sent.append, BoardRegisters(board))
        data = b"".join(frames)
        try:
            for k in range(0, len(data), piece):
                session.received(data[k : k + piece])
        except HangUp:
            hung_up += 1
        session.closed()
        answered += len(sent)
        for reply in sent:
            _, protocol, length = struct.unpack_from(">HHH", reply)
            assert protocol == 0
            assert length == len(reply) - 6 >= 3
        sent.clear()
        MbapSession(sent.append, BoardRegisters(board)).received(mbap(5, "FF 01 00 00 00 08"))
        assert sent == [mbap(5, hx("FF 01 01") + bytes([bits(board)]))]
        sent.clear()

    site_loop.call(run)
    assert answered > 1000
    assert hung_up > 100


# --- A sibling board with digital inputs -------------------------------------------------------------------------------


def with_door(loop: LoopThread) -> Bench:
    clock = loop.call(SteppedClock)
    site = Site(clock)

    def wire() -> WaveshareRelay:
        Contact(site, "door", closed=True)
        board: WaveshareRelay = MODEL.build(
            clock, site, name="relay", options=WaveshareOptions.model_validate({"inputs": {3: "door"}})
        )
        return board

    return Bench(loop, clock, site, loop.call(wire), [])


def test_inputs_show_their_dry_contacts_which_a_person_opens_and_closes(site_loop: LoopThread) -> None:
    bench = with_door(site_loop)
    told: list[bool] = []
    bench.board.changed.append(lambda: told.append(bench.board.inputs()[2]))
    assert bench.board.inputs() == (False, False, True) + (False,) * 5
    assert bench.board.buttons == ("door",)
    site_loop.call(bench.board.press, "door")
    assert bench.board.inputs() == (False,) * 8
    site_loop.call(bench.board.press, "door")
    assert told == [False, True]
    with pytest.raises(ValueError, match="no button 'window'; the contacts at its inputs are door"):
        bench.board.press("window")


@pytest.mark.parametrize(
    ("request_body", "reply"),
    [("01 02 00 00 00 08", "01 02 01 04"), ("01 02 00 02 00 01", "01 02 01 01"), ("01 02 00 01 00 08", "01 82 02")],
)
def test_inputs_on_the_wire(site_loop: LoopThread, request_body: str, reply: str) -> None:
    bench = with_door(site_loop)
    with bench.line() as line:
        line.write(frame(request_body))
        assert line.read(len(frame(reply))) == frame(reply)
    for face in bench.faces:
        site_loop.run(face.close())


def test_a_board_without_inputs_has_no_such_function(bench: Bench) -> None:
    with bench.line() as line:
        line.write(frame("01 02 00 00 00 08"))
        assert line.read(5) == frame("01 82 01")
