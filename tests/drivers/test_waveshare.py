"""The relay driver, byte for byte against the maker's frames, and what it does when the link or the board fails."""

from __future__ import annotations

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from labgrid import Target
from pymodbus.framer import FramerRTU
from pymodbus.pdu import DecodePDU

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import ModbusRtuLine, ModbusTcpLink
from drivers.relays.waveshare import RelayChannelDriver, WaveshareRelayDriver
from drivers.roles import Identity, Relay
from drivers.wire import waveshare as wire
from drivers.wire.modbus import CoilWrite
from tests.conftest import LoopThread
from tests.dialogue import Dialogue
from twins.clock import SteppedClock
from twins.faces.stream import Disturbance
from twins.models import LineOptions
from twins.relays.waveshare import MODEL, WaveshareOptions
from twins.wiring import Site

hx = bytes.fromhex

READ_ALL = hx("01 01 00 00 00 08 3D CC")
ONE_AND_SEVEN = hx("01 01 01 41 91 B8")
ON_1 = hx("01 05 00 00 FF 00 8C 3A")
OFF_1 = hx("01 05 00 00 00 00 CD CA")
TOGGLE_1 = hx("01 05 00 00 55 00 F2 9A")
ALL_ON = hx("01 05 00 FF FF 00 BC 0A")
ALL_OFF = hx("01 05 00 FF 00 00 FD FA")
FLASH_1_700_MS = hx("01 05 02 00 00 07 8D B0")
FLASH_2_800_MS = hx("01 05 02 01 00 08 9C 74")


def frame(body: str) -> bytes:
    """An RTU frame of a body in hex, its CRC added."""
    raw = hx(body)
    return raw + FramerRTU.compute_CRC(raw).to_bytes(2, "big")


def mbap(transaction: int, body: bytes) -> bytes:
    """The Modbus TCP frame of an RTU frame."""
    adu = body[:-2]
    return transaction.to_bytes(2, "big") + b"\0\0" + len(adu).to_bytes(2, "big") + adu


@pytest.fixture
def driver() -> Iterator[Callable[[Any], WaveshareRelayDriver]]:
    """Makes an active driver on a link; its pauses between writes pass at once, as on stepped time."""
    made: list[WaveshareRelayDriver] = []

    def make(link_of: Callable[[Target], Any]) -> WaveshareRelayDriver:
        target = Target(f"bench{len(made)}")
        link_of(target)
        relay = WaveshareRelayDriver(target, "relay")
        relay.wait = lambda seconds: None
        target.activate(relay)
        made.append(relay)
        return relay

    yield make
    for relay in made:
        relay.target.deactivate(relay)


def rtu(path: str, timeout: float = 10.0) -> Callable[[Target], ModbusRtuLine]:
    return lambda target: ModbusRtuLine(target, "line", port=path, timeout=timeout)


def tcp(address: str, timeout: float = 10.0) -> Callable[[Target], ModbusTcpLink]:
    return lambda target: ModbusTcpLink(target, "link", address=address, timeout=timeout)


@pytest.mark.parametrize(
    ("address", "value", "golden"),
    [
        (wire.coil(1), wire.ON, ON_1),
        (wire.coil(1), wire.OFF, OFF_1),
        (wire.coil(1), wire.TOGGLE, TOGGLE_1),
        (wire.ALL, wire.ON, ALL_ON),
        (wire.FLASH_ON + wire.coil(1), wire.flash_steps(0.7), FLASH_1_700_MS),
        (wire.FLASH_ON + wire.coil(2), wire.flash_steps(0.8), FLASH_2_800_MS),
    ],
)
def test_register_map_gives_the_makers_frames(address: int, value: int, golden: bytes) -> None:
    framer = FramerRTU(DecodePDU(False))
    assert framer.buildFrame(CoilWrite(address, value, dev_id=1)) == golden


@pytest.mark.parametrize("steps", [1, 3, 7, 12, 600, 1001, 0x7FFF])
def test_every_step_count_survives_as_seconds(steps: int) -> None:
    assert wire.flash_steps(steps * 0.1) == steps
    assert wire.flash_steps(steps / 10) == steps


@pytest.mark.parametrize("seconds", [0, 0.05, 0.04, 0.15, 0.1001, 3276.75, 3276.8, -1, float("nan"), float("inf")])
def test_flash_times_the_board_cannot_keep_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="flash"):
        wire.flash_steps(seconds)


def test_uart_settings_and_version_as_the_maker_codes_them() -> None:
    assert wire.uart("none", 9600) == 0x0001
    assert wire.uart("odd", 256000) == 0x0207
    assert wire.uart_settings(0x0105) == ("even", 115200)
    with pytest.raises(ValueError, match="0x0301"):
        wire.uart_settings(0x0301)
    with pytest.raises(ValueError, match="baud"):
        wire.uart("none", 300)
    assert wire.version_text(0x00C8) == "V2.00"
    assert wire.version_text(305) == "V3.05"


SCRIPT = [
    (ON_1, ON_1),
    (OFF_1, OFF_1),
    (FLASH_1_700_MS, FLASH_1_700_MS),
    (FLASH_2_800_MS, FLASH_2_800_MS),
    (ALL_OFF, ALL_OFF),
    (READ_ALL, ONE_AND_SEVEN),
    (frame("01 03 40 00 00 01"), frame("01 03 02 00 01")),
    (frame("01 03 80 00 00 01"), frame("01 03 02 00 C8")),
]


def converse(relay: WaveshareRelayDriver) -> None:
    relay.close(1)
    relay.open(1)
    relay.pulse(1, 0.7)
    relay.pulse(2, 0.8)
    relay.open_all()
    assert relay.closed() == (True, False, False, False, False, False, True, False)
    assert relay.identify() == Identity("Waveshare", "Modbus RTU Relay (8CH)", "1", "V2.00")


def test_dialogue_on_a_serial_line(driver: Any) -> None:
    with Dialogue.serial(SCRIPT) as board:
        relay = driver(rtu(board.path))
        assert isinstance(relay, Relay)
        assert relay.channels == 8
        heard: list[tuple[str, tuple[Any, ...]]] = []
        log: list[tuple[str, bytes]] = []
        relay.commanded.append(lambda command, args: heard.append((command, args)))
        relay.link.wire_log = lambda way, data: log.append((way, data))
        converse(relay)
    # Commands are told, reads are not, and every byte is in the log once.
    assert heard == [("close", (1,)), ("open", (1,)), ("pulse", (1, 0.7)), ("pulse", (2, 0.8)), ("open_all", ())]
    assert b"".join(data for way, data in log if way == "tx") == b"".join(host for host, _ in SCRIPT)
    assert b"".join(data for way, data in log if way == "rx") == b"".join(device for _, device in SCRIPT)


FLASH_1_10_S = frame("01 05 02 00 00 64")
FLASH_2_10_S = frame("01 05 02 01 00 64")
READ_INPUTS = frame("01 02 00 00 00 08")


def test_a_contact_held_is_closed_by_the_board_s_timer_and_renewed_until_it_is_opened(driver: Any) -> None:
    script = [
        (FLASH_1_10_S, FLASH_1_10_S),
        (FLASH_2_10_S, FLASH_2_10_S),
        (FLASH_1_10_S, FLASH_1_10_S),
        (FLASH_2_10_S, FLASH_2_10_S),
        (OFF_1, OFF_1),
        (FLASH_2_10_S, FLASH_2_10_S),
        (ALL_OFF, ALL_OFF),
        (ON_1, ON_1),
    ]
    with Dialogue.serial(script) as board:
        relay = driver(rtu(board.path))
        heard: list[tuple[str, tuple[Any, ...]]] = []
        relay.commanded.append(lambda command, args: heard.append((command, args)))
        relay.hold(10)
        relay.close(1)
        relay.close(2)
        assert relay.renew() == ()
        relay.open(1)
        assert relay.renew() == ()
        relay.open_all()
        assert relay.renew() == ()  # nothing is held: nothing is sent
        relay.hold(0)
        relay.close(1)
        assert relay.renew() == ()
    assert heard == [("close", (1,)), ("close", (2,)), ("open", (1,)), ("open_all", ()), ("close", (1,))]


def test_a_contact_whose_time_is_over_is_not_closed_again(driver: Any) -> None:
    flash = frame("01 05 02 00 00 02")
    with Dialogue.serial([(flash, flash)]) as board:
        relay = driver(rtu(board.path))
        relay.hold(0.2)
        relay.close(1)
        time.sleep(0.21)
        assert relay.renew() == (1,)
        assert relay.renew() == ()


def test_a_hold_that_the_board_cannot_time_is_refused(driver: Any) -> None:
    with Dialogue.serial([]) as board:
        relay = driver(rtu(board.path))
        for seconds in (0.05, 4000.0, float("nan")):
            with pytest.raises(OutOfRange, match="flash"):
                relay.hold(seconds)


def test_the_inputs_of_a_board_that_has_them(driver: Any) -> None:
    script = [(READ_INPUTS, frame("01 02 01 05")), (READ_INPUTS, frame("01 82 01")), (READ_INPUTS, frame("01 82 04"))]
    assert hx("01 02 00 00 00 08 79 CC") == READ_INPUTS
    with Dialogue.serial(script) as board:
        relay = driver(rtu(board.path))
        assert relay.inputs() == (True, False, True, False, False, False, False, False)
        with pytest.raises(NotSupported, match="has no digital inputs"):
            relay.inputs()
        with pytest.raises(Refused, match="exception 4"):
            relay.inputs()


@pytest.mark.parametrize(
    ("command", "arguments"), [("close", (1,)), ("open", (1,)), ("pulse", (1, 0.7)), ("open_all", ())]
)
def test_a_guard_is_asked_before_a_command_and_keeps_it_from_the_board(
    driver: Any, command: str, arguments: tuple[Any, ...]
) -> None:
    asked: list[tuple[str, tuple[Any, ...]]] = []

    def guard(name: str, args: tuple[Any, ...]) -> None:
        asked.append((name, args))
        raise Refused("not now")

    with Dialogue.serial([]) as board:
        relay = driver(rtu(board.path))
        relay.guards.append(guard)
        relay.commanded.append(lambda *told: asked.append(("told", told)))
        with pytest.raises(Refused, match="not now"):
            getattr(relay, command)(*arguments)
    assert asked == [(command, arguments)]


def test_dialogue_over_tcp(driver: Any) -> None:
    script = [(mbap(n, host), mbap(n, device)) for n, (host, device) in enumerate(SCRIPT, 1)]
    with Dialogue.tcp(script) as board:
        relay = driver(tcp(board.address))
        log: list[tuple[str, bytes]] = []
        relay.link.wire_log = lambda way, data: log.append((way, data))
        converse(relay)
    assert b"".join(data for way, data in log if way == "tx") == b"".join(host for host, _ in script)
    assert b"".join(data for way, data in log if way == "rx") == b"".join(device for _, device in script)


def test_a_reply_in_pieces_is_one_reply_and_logged_once(driver: Any) -> None:
    reply = mbap(1, ONE_AND_SEVEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def board() -> None:
            with listener.accept()[0] as host:
                host.recv(100)
                for k in range(len(reply)):
                    host.sendall(reply[k : k + 1])
                    time.sleep(0.005)
                host.recv(100)

        thread = threading.Thread(target=board, daemon=True)
        thread.start()
        relay = driver(tcp(f"127.0.0.1:{listener.getsockname()[1]}"))
        received = bytearray()
        relay.link.wire_log = lambda way, data: received.extend(data) if way == "rx" else None
        assert relay.closed()[0]
        relay.target.deactivate(relay)
        relay.target.activate(relay)
        thread.join(5)
    assert received == reply


def test_the_board_gets_200_ms_between_writes_and_none_before_reads(
    driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    waits: list[float] = []

    def wait(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds

    monkeypatch.setattr("drivers.relays.waveshare.time", SimpleNamespace(monotonic=lambda: now))
    script = [(ON_1, ON_1), (OFF_1, OFF_1), (READ_ALL, ONE_AND_SEVEN), (ALL_OFF, ALL_OFF), (ON_1, ON_1)]
    with Dialogue.serial(script) as board:
        relay = driver(rtu(board.path))
        relay.wait = wait
        relay.close(1)
        assert waits == []
        now += 0.05
        relay.open(1)
        assert waits == [pytest.approx(0.15)]
        relay.closed()
        assert len(waits) == 1
        relay.open_all()
        assert waits == [pytest.approx(0.15), pytest.approx(0.2)]
        now += 0.21
        relay.close(1)
        assert len(waits) == 2


@pytest.mark.parametrize("channel", [0, 9, -1])
def test_a_channel_that_is_not_on_the_board_is_out_of_range_and_nothing_is_sent(driver: Any, channel: int) -> None:
    with Dialogue.serial([]) as board:
        relay = driver(rtu(board.path))
        for call in (relay.close, relay.open, lambda ch: relay.pulse(ch, 1)):
            with pytest.raises(OutOfRange, match=f"channel {channel} .*1 to 8"):
                call(channel)


def test_a_pulse_the_board_cannot_time_is_out_of_range_and_nothing_is_sent(driver: Any) -> None:
    with Dialogue.serial([]) as board:
        relay = driver(rtu(board.path))
        for seconds in (0.0, 0.05, 0.25, 3276.8, float("nan")):
            with pytest.raises(OutOfRange, match="flash"):
                relay.pulse(1, seconds)


def test_an_exception_reply_is_refused_with_its_code(driver: Any) -> None:
    with Dialogue.serial([(ON_1, frame("01 85 03")), (READ_ALL, frame("01 81 02"))]) as board:
        relay = driver(rtu(board.path))
        told: list[str] = []
        relay.commanded.append(lambda command, args: told.append(command))
        with pytest.raises(
            Refused, match=r"rtu:.* unit 1: exception 3 \(illegal data value\), closing channel 1"
        ) as no:
            relay.close(1)
        assert no.value.code == 3
        with pytest.raises(Refused) as no:
            relay.closed()
        assert no.value.code == 2
        assert told == []


def test_a_silent_line_is_lost_in_one_line_after_asking_what_is_safe_twice(driver: Any) -> None:
    with Dialogue.serial([(ON_1, b""), (ON_1, b"")]) as board:
        relay = driver(rtu(board.path, 0.1))
        with pytest.raises(LinkLost) as lost:
            relay.close(1)
    assert board.path in str(lost.value)
    assert "closing channel 1" in str(lost.value)
    assert "\n" not in str(lost.value)


def test_a_pulse_is_never_repeated(driver: Any) -> None:
    with Dialogue.serial([(FLASH_1_700_MS, b"")]) as board:
        relay = driver(rtu(board.path, 0.1))
        with pytest.raises(LinkLost, match="pulsing channel 1"):
            relay.pulse(1, 0.7)
        time.sleep(0.15)  # a second pulse would have come by now


def test_one_lost_frame_costs_a_retry_not_the_call(driver: Any) -> None:
    garbled = bytes([ONE_AND_SEVEN[0], ONE_AND_SEVEN[1], ONE_AND_SEVEN[2], 0x43, *ONE_AND_SEVEN[4:]])
    with Dialogue.serial([(READ_ALL, garbled), (READ_ALL, ONE_AND_SEVEN)]) as board:
        assert driver(rtu(board.path, 2.0)).closed() == (True, False, False, False, False, False, True, False)


@pytest.mark.parametrize("echo", [FLASH_2_800_MS, frame("01 06 00 00 FF 00"), ONE_AND_SEVEN])
def test_an_echo_of_something_else_is_not_taken(driver: Any, echo: bytes) -> None:
    with Dialogue.serial([(ON_1, echo)]) as board, pytest.raises(LinkLost, match="is it the board"):
        driver(rtu(board.path)).close(1)


def test_a_port_nobody_serves_and_a_path_that_is_not_there(driver: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(LinkLost, match=f"relay on modbus:127.0.0.1:{port} unit 1: the link cannot be opened") as lost:
        driver(tcp(f"127.0.0.1:{port}")).closed()
    assert "\n" not in str(lost.value)
    with pytest.raises(LinkLost, match="relay on rtu:/dev/no-such-port unit 1: the link cannot be opened"):
        driver(rtu("/dev/no-such-port")).closed()


def test_an_address_without_a_port_is_refused_when_the_bench_comes_up(driver: Any) -> None:
    with pytest.raises(OutOfRange, match="HOST:PORT"):
        driver(tcp("192.0.2.7"))


@pytest.mark.parametrize("scheme", ["rtu", "modbus"])
def test_driver_and_twin_say_the_same_over_the_wire(driver: Any, site_loop: LoopThread, scheme: str) -> None:
    clock = site_loop.call(SteppedClock)
    board = site_loop.call(MODEL.build, clock, Site(clock), name="relay", options=WaveshareOptions(device_id=7))
    face = MODEL.faces[scheme](board, "", LineOptions())
    address = site_loop.run(face.open()).address
    if scheme == "rtu":
        relay = driver(lambda target: ModbusRtuLine(target, "line", port=address, device_id=7, timeout=10))
    else:
        relay = driver(lambda target: ModbusTcpLink(target, "link", address=address, device_id=7, timeout=10))
    assert relay.identify() == board.identify()
    for call in (("close", 2), ("close", 8), ("pulse", 5, 0.3), ("open", 2)):
        getattr(relay, call[0])(*call[1:])
        assert relay.closed() == board.closed()
    assert [n for n, on in enumerate(board.closed(), 1) if on] == [5, 8]
    site_loop.run(clock.advance(0.31))
    assert [n for n, on in enumerate(relay.closed(), 1) if on] == [8]
    relay.open_all()
    assert not any(board.closed())
    site_loop.run(face.close())


def test_a_board_that_hangs_up_between_two_calls_is_called_again(driver: Any, site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    board = site_loop.call(MODEL.build, clock, Site(clock), name="relay", options=WaveshareOptions())
    face = MODEL.faces["modbus"](board, "", LineOptions())
    relay = driver(tcp(site_loop.run(face.open()).address))
    relay.pulse(1, 5)
    site_loop.call(lambda: [connection.close() for connection in list(face.connections)])
    relay.pulse(2, 5)  # not safe to repeat, so this proves that nothing was sent into the dead connection
    assert relay.closed()[:3] == (True, True, False)
    site_loop.run(face.close())
    with pytest.raises(LinkLost, match="modbus:127"):
        relay.closed()


def test_a_late_reply_on_a_serial_line_is_not_the_next_ones(driver: Any, site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    board = site_loop.call(MODEL.build, clock, Site(clock), name="relay", options=WaveshareOptions())
    line = MODEL.faces["rtu"](board, "", LineOptions())
    relay = driver(rtu(site_loop.run(line.open()).address, 2.0))
    assert not any(relay.closed())
    site_loop.call(line.disturb, Disturbance(delay_s=1.3))  # there and back: after the time-out
    with pytest.raises(LinkLost, match=r"no answer within 2\.0 s"):
        relay.closed()
    site_loop.call(line.disturb, Disturbance())
    site_loop.call(board.close, 3)
    assert relay.closed() == (False, False, True, False, False, False, False, False)
    site_loop.run(line.close())


def test_a_late_reply_over_tcp_is_not_the_next_ones(driver: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def board() -> None:
            first = listener.accept()[0]
            stale = first.recv(100)
            second = listener.accept()[0]
            fresh = second.recv(100)
            # The late reply carries even the number of the later request.
            first.sendall(mbap(int.from_bytes(fresh[:2], "big"), ONE_AND_SEVEN))
            second.sendall(mbap(int.from_bytes(fresh[:2], "big"), frame("01 01 01 08")))
            assert stale[7:] == fresh[7:]
            second.recv(100)
            first.close()
            second.close()

        thread = threading.Thread(target=board, daemon=True)
        thread.start()
        relay = driver(tcp(f"127.0.0.1:{listener.getsockname()[1]}", 2.0))
        assert relay.closed() == (False, False, False, True, False, False, False, False)
        relay.target.deactivate(relay)
        relay.target.activate(relay)
        thread.join(5)


def test_a_line_that_is_pulled_out_is_lost_and_found_again(driver: Any, tmp_path: Any) -> None:
    """An adapter that is unplugged and plugged in again: its path comes back as another device."""
    path = tmp_path / "relay"
    master, slave = pty.openpty()
    tty.setraw(slave)
    path.symlink_to(os.ttyname(slave))
    relay = driver(rtu(str(path), 0.1))
    with pytest.raises(LinkLost):
        relay.closed()
    os.close(master)
    os.close(slave)
    path.unlink()
    with pytest.raises(LinkLost, match=str(path)):
        relay.closed()
    relay._client.comm_params.timeout_connect = 10.0  # this time an answer comes, and is waited for
    with Dialogue.serial([(READ_ALL, ONE_AND_SEVEN)]) as board:
        path.symlink_to(board.path)
        assert relay.closed()[0]


def test_one_channel_is_a_digital_output_for_labgrid(driver: Any) -> None:
    script = [
        (frame("01 05 00 06 FF 00"), frame("01 05 00 06 FF 00")),
        (READ_ALL, ONE_AND_SEVEN),
        (frame("01 05 00 06 FF 00"), frame("01 05 00 06 FF 00")),
        (READ_ALL, ONE_AND_SEVEN),
    ]
    with Dialogue.serial(script) as board:
        relay = driver(rtu(board.path))
        plain = RelayChannelDriver(relay.target, "plain", channel=7)
        inverted = RelayChannelDriver(relay.target, "inverted", channel=7, invert=True)
        relay.target.activate(plain)
        relay.target.activate(inverted)
        plain.set(True)
        assert plain.get() is True
        inverted.set(False)
        assert inverted.get() is False


def test_a_digital_output_beyond_the_board_is_refused(driver: Any) -> None:
    with Dialogue.serial([]) as board:
        relay = driver(rtu(board.path))
        with pytest.raises(ValueError, match="8"):
            RelayChannelDriver(relay.target, "ninth", channel=9)
