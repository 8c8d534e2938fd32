"""The AMI meter's C12.18 port: the published frames, a host that isn't ours, the rules of a session, and bad days."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labgrid import Target

from drivers import links
from drivers.errors import LinkLost, NotSupported, Refused
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import AtZero, EventCode, MessageCode, MeterMessage, ReceiptStatus, Switch
from tests.clients.c1218_client import ACK, NAK, Host, checksum, crc_x25, packet
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.faces.stream import Disturbance, SerialLine, TcpServer
from twins.meters.ami_meter import MODEL, AmiMeter, AmiMeterOptions, build, default_site
from twins.meters.c12_face import C1218Session
from twins.models import LineOptions
from twins.wiring import Site, Source

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
OK, ERR, SNS, ISC, ONP, IAR, BSY, DNR, DLK, RNO, ISSS = (bytes([n]) for n in range(11))


class Port:
    """A meter with its optical port on a pty."""

    def __init__(self, loop: LoopThread, **options: Any) -> None:
        self.loop = loop
        self.clock = loop.call(SteppedClock)
        self.site = Site(self.clock)
        wiring = AmiMeterOptions.model_validate(default_site(self.site).model_dump() | options)
        self.meter: AmiMeter = loop.call(build, self.clock, self.site, name="meter", options=wiring, seed=3)
        self.line = SerialLine(lambda send: C1218Session(self.meter, send))
        self.path = loop.run(self.line.open()).address
        self.hosts: list[Host] = []
        self.drivers: list[AmiMeterDriver] = []

    def host(self, timeout: float = 3.0) -> Host:
        self.hosts.append(Host(self.path, timeout))
        return self.hosts[-1]

    def driver(self, timeout: float = 1.0, **options: Any) -> AmiMeterDriver:
        target = Target("bench")
        links.SerialLine(target, name="line", port=self.path, timeout=timeout)
        driver = AmiMeterDriver(target, name="meter", **options)
        target.activate(driver)
        self.drivers.append(driver)
        return driver

    def advance(self, seconds: float) -> None:
        self.loop.run(self.clock.advance(seconds))

    def settle(self) -> None:
        """Have the meter take whatever the host has sent so far."""
        self.loop.run(asyncio.sleep(0.02))

    def age(self, seconds: float) -> None:
        """Let the host have been silent for so many seconds more."""
        self.settle()
        session = self.line._session

        def earlier() -> None:
            session._heard_at -= seconds

        self.loop.call(earlier)

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        for driver in self.drivers:
            driver.target.deactivate(driver)
        self.loop.run(self.line.close())
        self.loop.run(self.clock.close())


Make = Callable[..., Port]


@pytest.fixture
def port(site_loop: LoopThread) -> Iterator[Make]:
    made: list[Port] = []

    def make(**options: Any) -> Port:
        made.append(Port(site_loop, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- Frames ----------------------------------------------------------------------------------------------------------


def test_the_published_frames(port: Make) -> None:
    host = port().host()
    for sent, heard in (
        ("EE 00 00 00 00 01 20 13 10", "06 EE 00 00 00 00 05 00 00 01 00 00"),
        ("EE 00 20 00 00 0D 50 00 02 6F 75 74 73 69 64 65 72 20 20", "06 EE 00 20 00 00 01 00"),
        ("EE 00 00 00 00 03 30 00 01 55 0D", "06 EE 00 00 00 00 24 00 00 20 54 57 42 4E"),
        ("EE 00 20 00 00 03 30 00 63", "06 EE 00 20 00 00 01 04"),  # no table 99: onp
    ):
        frame = bytes.fromhex(sent)
        if len(frame) != 8 + frame[5]:  # printed without its CRC
            frame += crc_x25(frame).to_bytes(2, "little")
        host.line.write(frame)
        begins = bytes.fromhex(heard)
        assert host.exactly(len(begins)) == begins
        host.exactly(9 + begins[6] - len(begins))  # the rest: an ACK, a head of 6 bytes, the data and a CRC
        host.line.write(ACK)


def test_a_packet_with_a_wrong_crc_is_asked_for_once(port: Make) -> None:
    host = port().host()
    good = bytes.fromhex("EE 00 00 00 00 01 20 13 10")
    for _ in range(2):
        host.line.write(good[:-1] + b"\x11")
        assert host.exactly(1) == NAK
        host.line.timeout = 0.5  # ten times the rest after which a meter gives a packet up
        assert host.line.read(10) == b""
        host.line.timeout = 3
    host.line.write(good)
    answer = ACK + bytes.fromhex("EE 00 00 00 00 05 00 00 01 00 00")
    assert host.exactly(len(answer)) == answer


def test_a_procedure_as_published(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    host.put(bytes.fromhex("40 0007 0004 1500 B5 01 35"))
    assert host.answer() == OK
    assert host.read(8) == bytes.fromhex("1500 B5 00")
    assert p.meter.service().switch is Switch.CLOSED


def test_a_script_that_knows_nothing_of_us_reads_and_commands_the_meter(port: Make) -> None:
    p = port(meter_id="RIVER-07", serial="S123")
    p.loop.call(p.meter.disconnect)
    script = Path(__file__).parents[1] / "clients" / "c1218_client.py"
    assert "drivers" not in script.read_text()
    run = subprocess.run([sys.executable, script, p.path], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(run.stdout) == {
        "manufacturer": "TWBN",
        "model": "AMI-CL20",
        "serial": "S123",
        "mode": 1,
        "id": "RIVER-07",
        "response": "15000700",
        "logoff": 0,
        "terminate": 0,
    }
    assert p.meter.service().switch is Switch.CLOSED


def test_the_model_offers_a_pty_and_a_tcp_port(site_loop: LoopThread, tmp_path: Path) -> None:
    clock = site_loop.call(SteppedClock)
    site = Site(clock)
    meter = site_loop.call(MODEL.build, clock, site, name="meter", options=MODEL.default_site(site))
    line = site_loop.call(MODEL.faces["pty"], meter, str(tmp_path / "meter"), LineOptions())
    tcp = site_loop.call(MODEL.faces["tcp"], meter, "127.0.0.1:0", LineOptions())
    assert isinstance(line, SerialLine)
    assert isinstance(tcp, TcpServer)
    ends = [site_loop.run(face.open()) for face in (line, tcp)]
    assert [end.scheme for end in ends] == ["pty", "tcp"]
    hosts = [Host(str(tmp_path / "meter")), Host(f"socket://{ends[1].address}")]
    for host in hosts:  # each has a session of its own
        host.open("reader")
    for host in hosts:
        assert host.read(5).decode().strip() == "TB-000001"
        host.close()
    for face in (line, tcp):
        site_loop.run(face.close())
    with pytest.raises(ValueError, match="HOST:PORT"):
        MODEL.faces["tcp"](meter, "nowhere", LineOptions())
    with pytest.raises(ValueError, match="serial line"):
        MODEL.faces["tcp"](meter, "127.0.0.1:0", LineOptions(paced_baud=9600))


# --- The rules of a session ------------------------------------------------------------------------------------------


def read(table: int) -> bytes:
    return b"\x30" + table.to_bytes(2, "big")


def part(table: int, offset: int, count: int) -> bytes:
    return b"\x3f" + table.to_bytes(2, "big") + offset.to_bytes(3, "big") + count.to_bytes(2, "big")


LOGON = b"\x50\x00\x02" + b"outsider".ljust(10)


def test_services_out_of_their_order_are_refused(port: Make) -> None:
    host = port().host()
    for early in (read(1), LOGON, b"\x51" + bytes(20), b"\x52", b"\x60\x00\x40\x01", b"\x70\x05"):
        assert host.ask(early) == ISSS
    assert host.ask(b"\x20")[:1] == OK
    assert host.ask(read(1)) == ISSS
    assert host.ask(LOGON) == OK
    assert host.ask(LOGON) == ISSS
    assert host.ask(b"\x60\x00\x40\x01") == ISSS
    assert host.ask(b"\x99") == SNS
    assert host.ask(read(1) + b"x") == ERR
    assert host.ask(b"\x52") == OK
    assert host.ask(read(1)) == ISSS
    assert host.ask(LOGON) == OK  # as after identification
    assert host.ask(b"\x21") == OK
    assert host.ask(LOGON) == ISSS


def test_general_tables_need_a_logon_the_others_a_password_and_writing_a_higher_one(port: Make) -> None:
    p = port()
    host = p.host()
    host.open(None, size=512)
    for table in (0, 1, 3, 5, 6):
        assert host.ask(read(table))[:1] == OK
    assert host.ask(read(23)) == ISC
    assert host.ask(read(2055)) == ISC
    assert host.ask(b"\x51" + b"guess".ljust(20, b"\0")) == ISC
    assert [e.argument for e in p.meter.log() if e.event is EventCode.SECURITY_FAILED] == [2]
    assert host.write(7, b"\x15\x00\x01\x00") == ISC[0]
    assert host.ask(b"\x51" + b"reader".ljust(20, b"\0")) == OK
    assert host.ask(read(2055))[:1] == OK
    assert host.write(7, b"\x15\x00\x01\x00") == ISC[0]
    assert p.meter.service().switch is Switch.CLOSED
    assert host.ask(b"\x51" + b"utility".ljust(20, b"\0")) == OK
    assert host.procedure(21, 1, b"\x00") == b"\x15\x00\x01\x00"
    assert p.meter.service().switch is Switch.OPEN


def test_partial_reads_and_what_is_beyond(port: Make) -> None:
    host = port().host()
    host.open()
    whole = host.read(1)
    answer = host.ask(part(1, 4, 8))
    assert answer == b"\0\0\x08" + whole[4:12] + bytes([checksum(whole[4:12])])
    assert host.ask(part(1, 30, 3)) == IAR
    assert host.ask(part(2052, 0, 12))[:1] == OK
    assert host.ask(part(2052, 0xFFFFFF, 1)) == IAR
    assert host.ask(read(99)) == ONP
    assert host.ask(read(2048 + 500)) == ONP
    assert host.ask(read(8)) == DNR  # no procedure yet
    assert host.ask(read(2056)) == IAR  # the inbox is for writing
    assert host.write(1, whole) == IAR[0]
    assert host.write(99, b"x") == ONP[0]


def test_a_wrong_table_checksum_changes_nothing(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    assert host.ask(bytes.fromhex("40 0007 0004 1500 B5 00 35")) == ERR
    assert p.meter.service().switch is Switch.CLOSED


def test_messages_of_many_packets_go_both_ways(port: Make) -> None:
    p = port()
    for number in range(1, 11):
        p.loop.call(p.meter.send, MeterMessage(number, MessageCode.TEST, START))
    p.advance(10)
    host = p.host()
    host.open(size=64, packets=20)
    log = host.ask(part(2053, 0, 12 + 18 * 10))  # 196 bytes in packets of 56
    assert log[:3] == b"\0\0\xc0"
    assert checksum(log[3:-1]) == log[-1]
    text = "x" * 150
    body = b"\x01\x0a\x05" + (77).to_bytes(4, "little") + (1767600000 * 10**6).to_bytes(8, "little")
    body += (1 << 12).to_bytes(2, "little") + bytes([len(text)]) + text.encode()
    request = b"\x40\x08\x08" + len(body).to_bytes(2, "big") + body + bytes([checksum(body)])
    pieces = [request[at : at + 56] for at in range(0, len(request), 56)]
    assert len(pieces) == 4
    for n, piece in enumerate(pieces):
        host.put(piece, 0xC0 if n == 0 else 0x80, len(pieces) - 1 - n)
    assert host.answer() == OK
    p.advance(1)
    assert p.meter.display()[-1].text == text


def test_an_answer_too_long_for_what_was_negotiated_is_refused(port: Make) -> None:
    host = port().host()
    host.open(size=64, packets=1)
    assert host.ask(read(2053)) == ONP
    assert host.ask(read(5))[:1] == OK


def test_negotiation_takes_what_the_host_offers_within_its_own_limits(port: Make) -> None:
    host = port().host()
    host.ask(b"\x20")
    assert host.ask(b"\x60\xff\xff\xff") == b"\0" + (8192).to_bytes(2, "big") + b"\xff\x06"
    assert host.ask(b"\x63\x01\x00\x10\x04\x0a\x63") == b"\0\x01\x00\x10\x0a"
    assert host.ask(b"\x62\x01\x00\x10\x63\x64")[-1] == 0x0A  # no rate that it knows: it stays
    assert host.ask(b"\x60\x00\x04\x01") == ERR
    assert host.ask(b"\x60\x00\x40\x00") == ERR


def test_a_paced_line_follows_the_negotiated_rate_and_falls_back(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    site = Site(clock)
    meter = site_loop.call(MODEL.build, clock, site, name="meter", options=MODEL.default_site(site))
    line = site_loop.call(MODEL.faces["pty"], meter, "", LineOptions(paced_baud=9600))
    assert isinstance(line, SerialLine)
    host = Host(site_loop.run(line.open()).address)
    host.ask(b"\x20")
    host.ask(b"\x61\x01\x00\x10\x0a")
    assert line.paced_baud == 57600
    host.ask(b"\x21")
    assert line.paced_baud == 9600
    host.close()
    site_loop.run(line.close())


def test_silence_ends_a_session_and_wait_prolongs_it(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    assert host.ask(b"\x70\x14") == OK  # 20 s
    p.age(7)
    assert host.ask(read(5))[:1] == OK
    p.age(7)  # the wait held for one pause
    assert host.ask(read(5)) == ISSS
    host.open()
    assert host.ask(read(5))[:1] == OK


def test_identification_begins_anew_in_the_middle_of_a_session(port: Make) -> None:
    host = port().host()
    host.open()
    assert host.ask(b"\x20")[:1] == OK
    assert host.ask(read(5)) == ISSS


@pytest.mark.parametrize(
    ("number", "parameters", "result"),
    [
        (21, b"", 2),
        (21, b"\x09", 2),
        (21, b"\x02\x00\x00\x00\x00", 2),  # a limit of 0 W
        (21, b"\x02\xb8\x0b\x00\x00", 0),
        (21, b"\x03", 0),
        (22, b"\xf4\x01\x00\x00", 5),
        (22, b"\xf4", 2),
        (10, b"\x03\x1a\x02\x03\x04\x05\x06\x12", 0),
        (10, b"\x03\x1a\x0d\x03\x04\x05\x06\x12", 2),  # a thirteenth month
        (2049, (4102444800 * 10**6).to_bytes(8, "little"), 2),  # the year 2100
        (2049, b"\xff" * 8, 2),
        (3, b"", 6),
    ],
)
def test_procedures_answer_in_table_8(port: Make, number: int, parameters: bytes, result: int) -> None:
    host = port().host()
    host.open()
    assert host.procedure(number, 9, parameters) == number.to_bytes(2, "little") + bytes([9, result])


def test_a_procedure_sets_the_clock(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    host.procedure(10, 1, b"\x03\x1a\x02\x03\x04\x05\x06\x12")
    assert p.meter.clock() == datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert host.read(52)[:6] == b"\x1a\x02\x03\x04\x05\x06"


def test_a_stopped_clock_shows_in_the_status(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    assert host.read(3)[1] == 0
    p.loop.call(p.meter.inject, "clock_stopped")
    assert host.read(3)[1] == 1 << 6


def test_a_meter_without_a_switch_says_conflict(port: Make) -> None:
    p = port(switch=None, load_side=None)
    host = p.host()
    host.open()
    assert host.procedure(21, 9, b"\x01") == b"\x15\x00\x09\x03"


def test_a_malformed_message_gets_a_receipt_and_one_without_a_head_none(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    head = b"\x01\x03\x05" + (5).to_bytes(4, "little") + (1767600000 * 10**6).to_bytes(8, "little")
    assert host.write(2056, head + b"\0\0" + b"rubbish") == 0
    assert host.write(2056, b"\x01\x03") == IAR[0]
    p.advance(2)
    assert [(r.message_id, r.status) for r in p.meter.receipts()] == [(5, ReceiptStatus.MALFORMED)]


def test_a_full_inbox_is_busy(port: Make) -> None:
    host = port(message_capacity=1).host()
    host.open()
    results = []
    for number in range(1, 4):
        head = b"\x01\x0b\x05" + number.to_bytes(4, "little") + (1767600000 * 10**6).to_bytes(8, "little")
        results.append(host.write(2056, head + b"\0\0"))
    assert results == [0, 0, BSY[0]]


def test_the_interval_is_the_one_field_of_the_configuration_that_can_be_written(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()

    def put(offset: int, data: bytes) -> bytes:
        return host.ask(
            b"\x4f\x08\x0d" + offset.to_bytes(3, "big") + len(data).to_bytes(2, "big") + data + bytes([checksum(data)])
        )

    assert put(0, (900).to_bytes(2, "little")) == OK
    assert p.meter.config().interval == timedelta(minutes=15)
    assert put(0, (901).to_bytes(2, "little")) == IAR
    assert put(2, b"\0\0") == IAR
    assert host.write(2061, host.read(2061)) == IAR[0]


# --- Bad days --------------------------------------------------------------------------------------------------------


def test_a_garbled_packet_is_refused_and_taken_when_it_comes_again(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    frame = packet(read(5), host.control)
    host.line.write(frame[:-1] + bytes([frame[-1] ^ 1]))
    assert host.exactly(1) == NAK
    host.line.write(frame)
    assert host.exactly(1) == ACK
    assert host.answer()[:1] == OK


def test_half_a_packet_is_refused_once_the_line_rests(port: Make) -> None:
    host = port().host()
    host.open()
    frame = packet(read(5), host.control)
    host.line.write(frame[:7])
    assert host.exactly(1) == NAK
    host.line.write(frame)
    assert host.exactly(1) == ACK
    assert host.answer()[:1] == OK


def test_the_rest_follows_the_lines_rate_and_leaves_a_host_the_time_to_say_it_again(port: Make) -> None:
    p = port()
    waits: list[float] = []

    class Never:
        def cancel(self) -> None:
            pass

    def later(seconds: float, fn: Callable[[], None]) -> Never:
        waits.append(seconds)
        return Never()

    sent: list[bytes] = []
    session = p.loop.call(lambda: C1218Session(p.meter, sent.append, later=later))
    ident = packet(b"\x20")
    p.loop.call(session.received, ident[:5])
    p.loop.call(session.received, ident[5:-1] + b"\x00")
    assert sent == [NAK]
    half, repetition = waits
    assert repetition - half == pytest.approx(64 * 10 / 9600)

    p.loop.call(session.received, packet(b"\x20"))
    p.loop.call(session.received, ACK + packet(b"\x61\x00\x40\x01\x0a", 0x20))  # 57600
    p.loop.call(session.received, ACK)
    p.loop.call(session.received, ident[:5])
    assert waits[-1] - half == pytest.approx(10 * 10 / 57600 - 10 * 10 / 9600)


def test_a_packet_that_comes_twice_is_carried_out_once_and_answered_twice(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    before = len(p.meter.log())
    body = b"\x16\x00\x01" + (500).to_bytes(4, "little")
    frame = host.put(b"\x40\x00\x07\x00\x07" + body + bytes([checksum(body)]))
    first = host.packet_in()
    host.line.write(frame)  # the answer, so the host believes, was lost
    assert host.exactly(1) == ACK
    assert host.packet_in() == first
    host.line.write(ACK)
    assert [e.event for e in p.meter.log()[before:]] == [EventCode.REFUSED_LOCAL_CREDIT]


def test_an_answer_refused_is_sent_again_three_times_at_most(port: Make) -> None:
    host = port().host()
    host.open()
    host.put(read(5))
    first = host.packet_in()
    for _ in range(3):
        host.line.write(NAK)
        assert host.packet_in() == first
    host.line.timeout = 0.5
    host.line.write(NAK)
    with pytest.raises(TimeoutError):
        host.packet_in()


def test_an_answer_not_acknowledged_is_sent_again_three_times(port: Make) -> None:
    p = port()
    host = p.host(timeout=5)
    host.open()
    p.settle()
    session = p.line._session

    def hurry() -> None:
        if session._repeat is not None:
            session._repeat.cancel()  # of the logon's packets, which are acknowledged
            session._repeat = None
        session._response_timeout_s = 0.1

    p.loop.call(hurry)
    begin = time.monotonic()
    host.put(read(5))
    first = host.packet_in()
    for _ in range(3):
        assert host.packet_in() == first
    assert time.monotonic() - begin >= 0.25
    host.line.timeout = 0.5
    with pytest.raises(TimeoutError):
        host.packet_in()
    host.line.timeout = 5
    assert host.ask(read(5))[:1] == OK


def test_a_meter_without_supply_is_silent_and_has_forgotten_the_session(port: Make) -> None:
    p = port()
    host = p.host()
    host.open()
    source = p.site.nodes["source"]
    assert isinstance(source, Source)
    p.loop.call(source.set, on=False)
    host.line.write(packet(read(5), host.control))
    p.settle()
    host.line.timeout = 0.3
    with pytest.raises(TimeoutError):
        host.exactly(1)
    host.line.timeout = 3
    p.loop.call(source.set, on=True)
    assert host.ask(read(5)) == ISSS
    p.loop.call(p.meter.inject, "silent")
    host.line.write(packet(b"\x20", host.control))
    host.line.timeout = 0.3
    with pytest.raises(TimeoutError):
        host.exactly(1)


# --- With the driver -------------------------------------------------------------------------------------------------


def prepayment(number: int, when: datetime) -> MeterMessage:
    return MeterMessage(
        number,
        MessageCode.PREPAYMENT,
        when,
        balance_cents=2500 + number,
        credit_wh=116_300,
        price_millicents_per_kwh=21_500,
        time_left=timedelta(days=3, hours=4, minutes=5),
        zero_at=when + timedelta(days=3),
        at_zero=AtZero.LIMIT,
    )


def test_the_driver_reads_what_the_behaviour_holds(port: Make) -> None:
    p = port(clock_offset_s=0.25, receipt_capacity=3)
    driver = p.driver()
    driver.send(prepayment(1, START))
    driver.send(
        MeterMessage(
            2,
            MessageCode.SCHEDULE,
            START,
            event_id=4,
            starts_at=START + timedelta(hours=5),
            ends_at=START + timedelta(hours=6),
            credit_wh=10,
            at_zero=AtZero.DISCONNECT,
        )
    )
    for number, code in ((3, MessageCode.TEST), (4, MessageCode.TEST)):
        driver.send(MeterMessage(number, code, START))
    driver.send(MeterMessage(5, MessageCode.TEXT, START, text="Su saldo está bajo"))
    driver.limit(3000)
    p.advance(3 * 3600)
    m = p.meter
    assert driver.identify() == m.identify()
    assert driver.meter_id() == m.meter_id()
    assert driver.clock() == m.clock()
    assert driver.receipts() == list(m.receipts())
    assert driver.receipts(after=4) == list(m.receipts(after=4))
    assert driver.log() == list(m.log())
    assert driver.account() == m.account()
    assert driver.schedule() == m.schedule()
    assert driver.display() == m.display()
    assert driver.test_result() == m.test_result()
    assert driver.service() == m.service()
    assert driver.profile() == m.profile()
    assert driver.counters() == m.counters()
    assert driver.demand_limit() == m.demand_limit()
    got, want = driver.reading(), m.reading()
    assert vars(got) == pytest.approx(vars(want), abs=6e-4)
    for since in (None, START + timedelta(hours=2)):
        got_, want_ = driver.intervals(since), m.intervals(since)
        assert [(i.ends_at, i.length, i.complete) for i in got_] == [(i.ends_at, i.length, i.complete) for i in want_]
        assert [i.energy_wh for i in got_] == pytest.approx([i.energy_wh for i in want_], abs=1e-3)
    driver.disconnect()
    assert m.service().switch is Switch.OPEN
    driver.connect()
    driver.limit(None)
    assert (m.service().switch, m.service().limit_w) == (Switch.CLOSED, None)
    driver.set_clock(START)
    assert m.clock() == START
    driver.set_interval(timedelta(minutes=5))
    assert m.config().interval == timedelta(minutes=5)
    with pytest.raises(Refused):
        driver.add_credit(100)


def test_the_driver_hears_no_from_a_meter_without_a_switch_and_with_the_wrong_password(port: Make) -> None:
    p = port(switch=None, load_side=None)
    with pytest.raises(NotSupported):
        p.driver().connect()
    p.drivers[0].target.deactivate(p.drivers.pop())
    with pytest.raises(Refused):
        p.driver(password="wrong").connect()


def test_a_line_cut_in_the_middle_of_a_table_loses_nothing(port: Make) -> None:
    p = port()
    for number in range(1, 30):
        p.loop.call(p.meter.send, MeterMessage(number, MessageCode.TEST, START))
        p.advance(1)
    driver = p.driver()
    want = list(p.meter.log())
    p.loop.call(p.line.disturb, Disturbance(cut_after=400))
    driver.line.timeout = 0.4
    with pytest.raises(LinkLost):
        driver.log()
    driver.line.timeout = 1.0
    assert p.line.is_cut
    p.loop.call(p.line.disturb, Disturbance())
    p.loop.call(p.line.mend)
    assert driver.log() == want


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_line_that_garbles_one_byte_in_a_hundred_loses_nothing_and_does_nothing_twice(port: Make, seed: int) -> None:
    p = port()
    driver = p.driver()
    p.loop.call(p.line.disturb, Disturbance(garble=0.01, seed=seed))
    sent = range(1, 16)
    for number in sent:
        driver.send(prepayment(number, START))
        p.advance(1)
    receipts = driver.receipts()
    assert receipts == list(p.meter.receipts())
    applied = [r.message_id for r in receipts if r.status is ReceiptStatus.PROCESSED]
    assert applied == list(sent)
    assert {r.status for r in receipts} <= {ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE}
    assert driver.log() == list(p.meter.log())
    assert driver.account() == p.meter.account()


# --- Whatever comes --------------------------------------------------------------------------------------------------


class Fuzzed:
    """A meter whose session is fed in process; its loop never runs, so no timer fires by itself."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = SteppedClock()
        self.site = Site(self.clock)
        small = {"log_capacity": 30, "interval_capacity": 30, "receipt_capacity": 30, "message_capacity": 1000}
        options = AmiMeterOptions.model_validate(default_site(self.site).model_dump() | small)
        self.meter = build(self.clock, self.site, name="meter", options=options, seed=3)
        self.out = bytearray()

    def session(self) -> C1218Session:
        return C1218Session(self.meter, self.out.extend, later=self.loop.call_later)

    def check_output(self) -> None:
        """The meter says nothing but ACK, NAK and packets with a right CRC."""
        at, out = 0, self.out
        while at < len(out):
            if out[at] == 0xEE:
                end = at + 8 + (out[at + 4] << 8 | out[at + 5])
                assert crc_x25(bytes(out[at : end - 2])) == out[end - 2] | out[end - 1] << 8
                at = end
            else:
                assert out[at] in (0x06, 0x15)
                at += 1
        out.clear()

    def check_alive(self) -> None:
        """A fresh session still works."""
        self.out.clear()
        session = self.session()
        session.received(packet(b"\x20"))
        session.received(ACK + packet(LOGON, 0x20))
        self.out.clear()
        session.received(ACK + packet(read(5)))
        assert b"TB-000001" in self.out
        session.closed()
        self.out.clear()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    each = Fuzzed()
    yield each
    each.loop.close()


def table_write(table: int, body: bytes) -> bytes:
    return b"\x40" + table.to_bytes(2, "big") + (len(body) & 0xFFFF).to_bytes(2, "big") + body + bytes([checksum(body)])


tables = st.sampled_from([0, 1, 3, 5, 6, 7, 8, 21, 22, 23, 27, 28, 52, 99, *range(2048, 2068), 65535])
message_heads = st.builds(
    lambda code, number, when, present, rest: (
        bytes([1, code, 5]) + number.to_bytes(4, "little") + when.to_bytes(8, "little") + present.to_bytes(2, "little")
        + rest
    ),
    st.integers(0, 13), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1) | st.just(1767600000 * 10**6),
    st.integers(0, 0x1FFF), st.binary(max_size=80),
)  # fmt: skip
calls = st.builds(
    lambda number, sequence, parameters: number.to_bytes(2, "little") + bytes([sequence]) + parameters,
    st.sampled_from([3, 9, 10, 21, 22, 2049, 4095, 65535]), st.integers(0, 255), st.binary(max_size=12),
)  # fmt: skip
stored_commands = st.lists(
    st.builds(
        lambda number, trigger, action, argument, when, every: (
            number.to_bytes(4, "little") + bytes([trigger, action]) + argument.to_bytes(4, "little")
            + when.to_bytes(8, "little") + every.to_bytes(4, "little")
        ),
        st.integers(0, 5), st.integers(0, 2), st.integers(0, 5), st.sampled_from([0, 1, 4, 5, 2**32 - 1]),
        st.sampled_from([0, 1, 1767600000 * 10**6, 1767700000 * 10**6, 2**63, 2**64 - 1]),
        st.sampled_from([0, 59, 60, 86400, 2**32 - 1]),
    ),
    max_size=4,
).map(lambda rules: bytes([len(rules)]) + b"".join(rules))  # fmt: skip
limit_steps = st.builds(
    lambda capacity, percents: capacity.to_bytes(4, "little") + bytes([len(percents), *percents]),
    st.sampled_from([0, 99, 100, 4800, 2**32 - 1]), st.lists(st.integers(0, 101), max_size=4),
)  # fmt: skip
requests = st.one_of(
    st.sampled_from([b"\x20", b"\x21", b"\x52", b"\x70\xff", LOGON, b"\x51" + b"master".ljust(20, b"\0"), b""]),
    st.builds(read, tables),
    st.builds(part, tables, st.integers(0, 2**24 - 1) | st.integers(0, 64), st.integers(0, 65535)),
    st.builds(table_write, st.just(2056), message_heads),
    st.builds(table_write, st.just(7), calls),
    st.builds(table_write, st.just(2062), limit_steps),
    st.builds(table_write, st.just(2063), stored_commands),
    st.builds(table_write, st.sampled_from([2064, 2065]), st.binary(max_size=7)),
    st.builds(table_write, tables, st.binary(max_size=40)),
    st.builds(lambda size, packets, rates: bytes([0x60 + len(rates)]) + size.to_bytes(2, "big") + bytes([packets]) + rates,
              st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=11)),
    st.binary(min_size=1, max_size=56),
)  # fmt: skip
frames = st.builds(
    lambda request, control, sequence, spoil: (
        bytes(b ^ (1 << spoil % 8) if n == spoil % 97 else b for n, b in enumerate(packet(request, control, sequence)))
        if spoil is not None
        else packet(request, control, sequence)
    ),
    requests,
    st.sampled_from([0, 0x20, 0, 0x20, 0, 0x20, 0x80, 0xC0, 0xE0, 0xFF]),
    st.sampled_from([0, 0, 0, 1, 5, 255]),
    st.none() | st.none() | st.none() | st.integers(0, 10_000),
)
near_valid = st.lists(frames | st.sampled_from([ACK, ACK, NAK, b"\xee", b"\xee\x00\x00"]), max_size=6)
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


def feed(fuzzed: Fuzzed, pieces: list[bytes], begin: bool) -> None:
    session = fuzzed.session()
    if begin:
        session.received(packet(b"\x20"))
        session.received(ACK + packet(LOGON, 0x20))
        session.received(ACK + packet(b"\x51" + b"master".ljust(20, b"\0")))
    for piece in pieces:
        session.received(piece)
    session._quiet()
    session._overdue()
    session.closed()
    fuzzed.check_output()


@pytest.mark.fuzz
@settings(FUZZ, max_examples=6000)
@given(pieces=st.lists(st.binary(max_size=120), max_size=5))
def test_any_bytes(fuzzed: Fuzzed, pieces: list[bytes]) -> None:
    feed(fuzzed, pieces, begin=False)


@pytest.mark.fuzz
@settings(FUZZ, max_examples=4500)
@given(pieces=near_valid, begin=st.booleans())
def test_any_services_in_any_order(fuzzed: Fuzzed, pieces: list[bytes], begin: bool) -> None:
    feed(fuzzed, pieces, begin)


@pytest.mark.fuzz
def test_a_fresh_session_works_after_all_that(fuzzed: Fuzzed) -> None:
    fuzzed.check_alive()
    asyncio.run(fuzzed.clock.advance(3 * 86400))  # whatever was scheduled, limited and set comes due
    fuzzed.check_alive()
