"""The AMI meter's driver against a scripted peer on a real pty: frames built here from the facts alone, then bad days."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from labgrid import Target
from labgrid.binding import StateError

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import Identity, MessageCode, Meter, MeterMessage, Receipt, ReceiptStatus
from drivers.wire import meter_profile
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, Rule, Trigger
from tests.dialogue import Dialogue

T0 = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
OK = "00"
SCRIPT = Sequence[tuple[bytes, bytes]]


def crc(data: bytes) -> bytes:
    """CRC-16/X-25, bit by bit, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x8408 if value & 1 else value >> 1
    return (value ^ 0xFFFF).to_bytes(2, "little")


def frame(data: str, control: int = 0, sequence: int = 0) -> bytes:
    """A packet that carries these bytes."""
    body = bytes.fromhex(data)
    packet = bytes((0xEE, 0, control, sequence)) + len(body).to_bytes(2, "big") + body
    return packet + crc(packet)


def table(data: str) -> str:
    """The response to a read that brings these bytes."""
    body = bytes.fromhex(data)
    return (b"\0" + len(body).to_bytes(2, "big") + body + bytes((-sum(body) & 0xFF,))).hex()


class Talk:
    """Writes a script: every request acknowledges the response before it, toggles change with each packet."""

    def __init__(self, toggle: bool = False) -> None:
        self.script: list[tuple[bytes, bytes]] = []
        self._host = self._device = toggle
        self._owed = b""

    def host(self, request: str) -> bytes:
        packet = self._owed + frame(request, 0x20 if self._host else 0)
        self._host = not self._host
        self._owed = b""
        return packet

    def device(self, response: str) -> bytes:
        packet = frame(response, 0x20 if self._device else 0)
        self._device = not self._device
        self._owed = b"\x06"
        return packet

    def add(self, request: str, response: str) -> Talk:
        self.script.append((self.host(request), b"\x06" + self.device(response)))
        return self

    def begin(self, password: bytes = b"utility", size: str = "0400 10") -> Talk:
        self.add("20", "00 00 01 00 00")
        self.add(f"60 {size}", f"00 {size} 06")
        self.add("50 0001" + b"twinbench ".hex(), OK)
        return self.add("51" + password.ljust(20, b"\0").hex(), OK)

    def end(self) -> SCRIPT:
        self.add("52", OK)
        self.script.append((b"\x06", b""))
        return self.script


Make = Callable[..., AmiMeterDriver]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    targets = []
    monkeypatch.setattr("drivers.meters.ami_meter._AGAIN_S", 10.0)  # as the time-out: the scripted meter may be slow

    def driver(path: str, *, timeout: float = 10.0, **fields: object) -> AmiMeterDriver:
        target = Target("bench")
        targets.append(target)
        SerialLine(target, None, port=path, timeout=timeout)
        made = AmiMeterDriver(target, None, **fields)
        target.activate(made)
        return made

    yield driver
    for target in targets:
        target.deactivate_all_drivers()


def test_our_frames_are_the_captured_ones() -> None:
    assert frame("20") == bytes.fromhex("EE 00 00 00 00 01 20 13 10")
    assert frame("30 00 01") == bytes.fromhex("EE 00 00 00 00 03 30 00 01 55 0D")


def test_a_call_is_a_whole_session(make: Make) -> None:
    identity = b"TWBNAMI-CL20\x01\x00\x02\x03" + b"42".ljust(16)
    with Dialogue.serial(Talk().begin().add("30 0001", table(identity.hex())).end()) as meter:
        driver = make(meter.path)
        assert isinstance(driver, Meter)
        assert driver.identify() == Identity("TWBN", "AMI-CL20", "42", "2.3")


def test_connecting_calls_procedure_21_as_captured(make: Make) -> None:
    talk = Talk().begin().add("40 0007 0004 1500 01 01 E9", OK).add("30 0008", table("1500 01 00"))
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        heard: list[tuple[str, tuple[object, ...]]] = []
        driver.commanded.append(lambda command, args: heard.append((command, args)))
        driver.connect()
        assert heard == [("connect", ())]


def test_a_demand_limit_goes_with_its_watts(make: Make) -> None:
    talk = Talk().begin().add("40 0007 0008 1500 01 02 B80B0000 25", OK).add("30 0008", table("1500 01 01"))
    with Dialogue.serial(talk.end()) as meter:
        make(meter.path).limit(3000)


def test_a_meter_without_a_switch_cannot_connect(make: Make) -> None:
    talk = Talk().begin().add("40 0007 0004 1500 01 01 E9", OK).add("30 0008", table("1500 01 03"))
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        heard: list[str] = []
        driver.commanded.append(lambda command, args: heard.append(command))
        with pytest.raises(NotSupported, match="without a service switch"):
            driver.connect()
        assert heard == []


def test_credit_at_the_meter_is_refused_with_the_meters_code(make: Make) -> None:
    talk = Talk().begin().add("40 0007 0007 1600 01 F4010000 F4", OK).add("30 0008", table("1600 01 05"))
    with Dialogue.serial(talk.end()) as meter, pytest.raises(Refused, match="no authorisation") as no:
        make(meter.path).add_credit(500)
    assert no.value.code == 5


def test_a_refused_read_names_the_result_code(make: Make) -> None:
    with Dialogue.serial(Talk().begin().add("30 0005", "04").end()) as meter:
        driver = make(meter.path)
        with pytest.raises(Refused, match=r"read of table 5 refused: onp \(operation not possible\)") as no:
            driver.meter_id()
    assert no.value.code == 4


def test_a_wrong_password_is_refused_and_shows_nowhere(make: Make) -> None:
    talk = Talk()
    talk.add("20", "00 00 01 00 00").add("60 0400 10", "00 0400 10 06").add("50 0001" + b"twinbench ".hex(), OK)
    talk.add("51" + b"hunter2".ljust(20, b"\0").hex(), "03")
    talk.script.append((b"\x06", b""))
    with Dialogue.serial(talk.script) as meter:
        driver = make(meter.path, password="hunter2")
        wire: list[tuple[str, bytes]] = []
        driver.line.wire_log = lambda way, data: wire.append((way, data))
        with pytest.raises(Refused, match="isc") as no:
            driver.meter_id()
    shown = repr(driver) + str(driver) + str(no.value)
    assert "hunter2" not in shown
    assert all(b"hunter2" not in data for _, data in wire)
    sent = b"".join(data for way, data in wire if way == "tx")
    assert b"\x51" + b"*" * 22 in sent
    assert sent.startswith(frame("20"))


def pieces(message: bytes, size: int, toggle: bool) -> list[bytes]:
    """A message in packets of `size` bytes in all."""
    parts = [message[at : at + size - 8] for at in range(0, len(message), size - 8)]
    found = []
    for n, part in enumerate(parts):
        multi = (0x80 | (0x40 if n == 0 else 0)) if len(parts) > 1 else 0
        control = multi | (0x20 if toggle ^ (n % 2 == 1) else 0)
        found.append(frame(part.hex(), control, len(parts) - 1 - n))
    return found


def carried(log: bytes) -> bytes:
    """What the packets of a log carry, without their headers and CRCs."""
    data = b""
    while log:
        if log[0] != 0xEE:
            log = log[1:]
            continue
        end = 6 + int.from_bytes(log[4:6], "big")
        data += log[6:end]
        log = log[end + 2 :]
    return data


@pytest.mark.parametrize("echoes", [False, True])
@pytest.mark.parametrize("size", [12, 20, 28])
def test_a_password_in_several_packets_is_not_in_the_wire_log(make: Make, size: int, echoes: bool) -> None:
    password = b"plumtree-7731-violin"
    talk = Talk()
    small = f"{size:04x} 10"
    talk.add("20", "00 00 01 00 00").add(f"60 {small}", f"00 {small} 06")
    owed = talk.host("50 0001" + b"twinbench ".hex())[:1]
    logon = pieces(b"\x50\x00\x01twinbench ", size, False)
    security = pieces(b"\x51" + password, size, len(logon) % 2 == 1)
    yes = [frame("00", 0), frame("03", 0x20)]
    script = talk.script
    script += [(owed + logon[0], b"\x06"), *[(packet, b"\x06") for packet in logon[1:]]]
    script[-1] = (script[-1][0], b"\x06" + yes[0])
    script += [(b"\x06" + security[0], b"\x15"), *[(packet, b"\x06") for packet in security]]
    script[-1] = (script[-1][0], (security[-1] if echoes else b"") + b"\x06" + yes[1])
    script.append((b"\x15\x06" if echoes else b"\x06", b""))
    with Dialogue.serial(script) as meter:
        driver = make(meter.path, password=password.decode(), packet_size=size, packets=16)
        wire: list[tuple[str, bytes]] = []
        driver.line.wire_log = lambda way, data: wire.append((way, data))
        with pytest.raises((Refused, LinkLost)):
            driver.meter_id()
    sent = b"".join(data for way, data in wire if way == "tx")
    came = b"".join(data for way, data in wire if way == "rx")
    assert b"\x50\x00\x01twinbench "[: size - 8] in sent
    assert carried(sent).count(b"\x51" + b"*" * (size - 9)) == 2
    for at in range(0, len(password) - 3):
        assert password[at : at + 3] not in sent + came
    for packet in security:
        assert packet[-2:] not in sent


def test_the_wire_log_holds_every_byte_both_ways(make: Make) -> None:
    script = Talk().begin().add("30 0005", table(b"TB-000001".ljust(20).hex())).end()
    with Dialogue.serial(script) as meter:
        driver = make(meter.path)
        wire: list[tuple[str, bytes]] = []
        driver.line.wire_log = lambda way, data: wire.append((way, data))
        assert driver.meter_id() == "TB-000001"
    assert b"".join(data for way, data in wire if way == "rx") == b"".join(device for _, device in script)
    assert len(b"".join(data for way, data in wire if way == "tx")) == len(b"".join(host for host, _ in script))


def test_a_refused_packet_is_sent_again(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0005")
    talk.script += [(packet, b"\x15"), (packet[1:], b"\x15"), (packet[1:], b"")]
    talk.script[-1] = (packet[1:], b"\x06" + talk.device(table(b"TB-1".ljust(20).hex())))
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_a_garbled_response_is_asked_for_again(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0005")
    good = talk.device(table(b"TB-1".ljust(20).hex()))
    bad = good[:10] + bytes((good[10] ^ 4,)) + good[11:]
    talk.script += [(packet, b"\x06" + bad), (b"\x15", good)]
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_a_response_with_a_broken_start_is_asked_for_again(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0005")
    good = talk.device(table(b"TB-1".ljust(20).hex()))
    talk.script += [(packet, b"\x06" + b"\x6e" + good[1:]), (b"\x15", good)]
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_an_answer_broken_each_time_is_asked_for_by_the_request_and_not_in_a_new_session(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0005")
    good = talk.device(table(b"TB-1".ljust(20).hex()))
    bad = good[:10] + bytes((good[10] ^ 4,)) + good[11:]
    talk.script += [(packet, b"\x06" + bad), *[(b"\x15", bad)] * 3, (packet[1:], b"\x15"), (packet[1:], b"\x06" + good)]
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_long_packets_broken_each_time_give_way_to_a_session_of_small_ones(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("3F 0806 000000 000C")
    head = meter_profile.RECEIPT_RING.read([], 5, 0, 12)
    bad = talk.device(table("00" * 80))
    bad = bad[:10] + bytes((bad[10] ^ 4,)) + bad[11:]
    talk.script += [(packet, b"\x06" + bad), *[(b"\x15", bad)] * 3]
    again = Talk(toggle=True).begin(size="0040 FF").add("3F 0806 000000 000C", table(head.hex()))
    with Dialogue.serial([*talk.script, *again.end()]) as meter:
        assert make(meter.path).receipts() == []


def test_a_lost_acknowledgement_costs_nothing_when_the_answer_comes(make: Make) -> None:
    talk = Talk().begin()
    talk.script.append((talk.host("30 0005"), talk.device(table(b"TB-1".ljust(20).hex()))))
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_an_answer_that_comes_twice_is_acknowledged_twice_and_taken_once(make: Make) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0017")
    registers = talk.device(table("00" * 16))
    talk.script.append((packet, b"\x06" + registers))
    # The meter missed the acknowledgement and says it again, just before it answers what came next.
    second = talk.host("30 001C")
    talk.script.append((second, registers + b"\x06" + talk.device(table("01" + "00" * 31))))
    talk._owed = b"\x06\x06"
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).reading().voltage_v == 0.001


def test_a_long_answer_is_joined_from_its_packets(make: Make) -> None:
    talk = Talk().begin(size="0040 10")
    whole = bytes.fromhex(table("00" * 16))
    first, last = whole[:10], whole[10:]
    talk.script += [
        (talk.host("30 0017"), b"\x06" + frame(first.hex(), 0xC0, 1)),
        (b"\x06", frame(last.hex(), 0xA0, 0)),
    ]
    talk._owed = b"\x06"
    talk.script.append((talk.host("30 001C"), b"\x06" + frame(table("00" * 32), 0x00)))
    talk._device, talk._owed = True, b"\x06"
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path, packet_size=64).reading().delivered_wh == 0


def test_a_wrong_table_checksum_costs_a_session_and_no_more(make: Make) -> None:
    bad = table(b"TB-1".ljust(20).hex())[:-2] + "00"
    talk = Talk().begin().add("30 0005", bad)
    again = Talk(toggle=True).begin(size="0040 FF").add("30 0005", table(b"TB-1".ljust(20).hex()))
    # The acknowledgement of the bad answer goes with its session.
    with Dialogue.serial([*talk.script, *again.end()]) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_a_session_that_timed_out_is_opened_anew(make: Make) -> None:
    clock = table("00 E0 1A 72 9F 47 06 00")
    talk = Talk().begin().add("30 080C", clock)
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    talk.add("30 080C", "0A")
    talk._owed = b""  # identification begins anew, and says enough
    talk.begin().add("30 080C", clock)
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        with driver.session():
            assert driver.clock() == T0
            assert driver.clock() == T0


def test_a_meter_that_minds_a_foreign_session_is_freed_from_it(make: Make) -> None:
    talk = Talk().add("20", "0A").add("21", OK).begin().add("30 0005", table(b"TB-1".ljust(20).hex()))
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).meter_id() == "TB-1"


def test_several_calls_share_a_session(make: Make) -> None:
    message = MeterMessage(1004, MessageCode.TEXT, T0, text="Hola")
    data = meter_profile.encode_message(message)
    write = (b"\x40\x08\x08" + len(data).to_bytes(2, "big") + data + bytes((-sum(data) & 0xFF,))).hex()
    counters = meter_profile.Counters(1, 0, 0, 1004, 0, 0, 0, 0)
    talk = Talk().begin().add(write, OK)
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    talk.add("30 0801", table(counters.encode().hex()))
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        heard: list[tuple[str, tuple[object, ...]]] = []
        driver.commanded.append(lambda command, args: heard.append((command, args)))
        with driver.session():
            driver.send(message)
            assert driver.counters() == counters
        assert heard == [("send", (message,))]


def test_receipts_are_read_round_the_rings_end_and_no_others(make: Make) -> None:
    def receipt(n: int) -> Receipt:
        return Receipt(n, 1000 + n, MessageCode.CONNECT, "TB-1", ReceiptStatus.PROCESSED, T0)

    ring = meter_profile.RECEIPT_RING
    held = [receipt(n) for n in range(3, 8)]
    talk = Talk().begin()
    for offset, count in ((0, 12), (12 + 4 * 38, 38), (12, 2 * 38)):
        part = ring.read(held, 5, offset, count).hex()
        talk.add(f"3F 0806 {offset:06X} {count:04X}", table(part))
    with Dialogue.serial(talk.end()) as meter:
        assert make(meter.path).receipts(after=4) == held[2:]


def test_silence_is_asked_four_times_and_then_lost(make: Make) -> None:
    with Dialogue.serial([(frame("20"), b"")] * 4) as meter, pytest.raises(LinkLost, match="no answer in 4 tries"):
        # The exchange is given up as a whole after five time-outs and a second, so this leaves 1.6 s to spare.
        make(meter.path, timeout=0.6).meter_id()


def test_a_line_cut_in_a_table_is_lost_and_the_next_call_begins_anew(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk().begin()
    packet = talk.host("30 0005")
    good = talk.device(table(b"TB-1".ljust(20).hex()))
    # Half the answer, then nothing: asked for again by NAK, then by the request itself, then given up for dead.
    half = [(packet, b"\x06" + good[:12]), (b"\x15" + packet[1:] * 3, b"")]
    anew = [(frame("20", 0x20), b"")] * 4
    with Dialogue.serial([*talk.script, *half, *anew]) as meter:
        driver = make(meter.path)
        sent: list[bytes] = []
        driver.line.wire_log = lambda way, data: sent.append(data) if way == "tx" else None
        receive = driver._receive
        # The meter may take its time as long as it answers; from the NAK on nothing comes, and is not waited for.
        monkeypatch.setattr(driver, "_receive", lambda wait: receive(min(wait, 0.06) if b"\x15" in sent else wait))
        with pytest.raises(LinkLost, match=r"AMI meter on .*check"):
            driver.meter_id()
        assert not driver._open


def test_rubbish_without_end_is_no_answer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.meters.ami_meter._MOST_TRIES", 2)  # each session lasts five time-outs and a second
    master, slave = pty.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def babble() -> None:
        while not stop.is_set():
            if select.select([], [master], [], 0.01)[1]:
                os.write(master, b"\xee\x55\x06\x15" * 8)
            stop.wait(0.01)
            while select.select([master], [], [], 0)[0]:
                os.read(master, 4096)

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    try:
        driver = make(os.ttyname(slave), timeout=0.5)
        with pytest.raises(LinkLost, match="nothing but noise"):
            driver.meter_id()
        driver.target.deactivate_all_drivers()
    finally:
        stop.set()
        thread.join(5)
        os.close(master)
        os.close(slave)


def test_a_table_that_is_not_of_the_profile_says_so(make: Make) -> None:
    with (
        Dialogue.serial(Talk().begin().add("30 0802", table("09" * 15)).end()) as meter,
        pytest.raises(LinkLost, match="table 2050 is not as the profile says"),
    ):
        make(meter.path).service()


def test_what_cannot_be_is_not_sent(make: Make) -> None:
    with Dialogue.serial([]) as meter:
        driver = make(meter.path)
        for call in (
            lambda: driver.limit(0),
            lambda: driver.limit(2**32),
            lambda: driver.set_interval(timedelta(minutes=7)),
            lambda: driver.set_interval(timedelta(hours=2)),
            lambda: driver.set_clock(datetime(2026, 1, 1)),  # noqa: DTZ001
            lambda: driver.send(MeterMessage(0, MessageCode.CONNECT, T0)),
            lambda: driver.add_credit(2**40),
        ):
            with pytest.raises(OutOfRange):
                call()
    assert not meter.heard


def test_a_port_that_is_not_there_is_a_lost_link(make: Make) -> None:
    with pytest.raises(LinkLost, match=r"cannot open the port.*check the path"):
        make("/dev/pts/none")


def test_a_driver_that_is_not_active_talks_to_nobody(make: Make) -> None:
    with Dialogue.serial([]) as meter:
        driver = make(meter.path)
        driver.target.deactivate(driver)
        with pytest.raises(StateError, match="not active"):
            driver.meter_id()
    assert not meter.heard


def test_a_port_in_use_is_a_lost_link(make: Make) -> None:
    with Dialogue.serial([]) as meter:
        make(meter.path)
        with pytest.raises(LinkLost, match="nobody else"):
            make(meter.path)


@pytest.mark.parametrize(
    "fields", [{"user_id": 70000}, {"user": "far too long a name"}, {"password": "x" * 21}, {"packets": 0}]
)
def test_settings_that_cannot_be_are_refused_when_the_bench_is_built(fields: dict[str, object]) -> None:
    target = Target("bench")
    SerialLine(target, None, port="/dev/null")
    with pytest.raises(ValueError, match=next(iter(fields))):
        AmiMeterDriver(target, None, **fields)


def test_settings_are_written_whole_and_a_meter_without_them_says_so(make: Make) -> None:
    talk = Talk().begin().add("40 0811 0002 0100 FF", OK)
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    talk.add("40 0811 0002 0001 FF", "04")
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        heard: list[str] = []
        driver.commanded.append(lambda command, args: heard.append(command))
        with driver.session():
            driver.set_customer(CustomerSettings(Language.SPANISH))
            with pytest.raises(NotSupported, match="no such thing"):
                driver.set_customer(CustomerSettings(own_balance=True))
    assert heard == ["set_customer"]


def test_stored_commands_and_local_time_are_read_from_their_tables(make: Make) -> None:
    rule = "01 07 00 00 00 01 02 B8 0B 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
    talk = Talk().begin().add("30 080F", table(rule))
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    talk.add("30 0812", table("20 FE 00 68 6B 59 80 4C 06 00 5C FE"))
    with Dialogue.serial(talk.end()) as meter:
        driver = make(meter.path)
        with driver.session():
            assert driver.rules() == (Rule(7, Trigger.ZERO, LoadControl.LIMIT, 3000),)
            local = driver.local_time()
    assert (local.offset, local.then) == (timedelta(hours=-8), timedelta(hours=-7))
    assert local.changes_at == datetime(2026, 3, 8, 10, tzinfo=UTC)


def test_a_limit_step_is_called_by_its_number(make: Make) -> None:
    talk = Talk().begin().add("40 0007 0005 15 00 01 04 02 E4", OK)
    talk.script.append((b"\x06", b""))
    talk._owed = b""
    talk.add("30 0008", table("15 00 01 00"))
    with Dialogue.serial(talk.end()) as meter:
        make(meter.path).limit_step(2)
