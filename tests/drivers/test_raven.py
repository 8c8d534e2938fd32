"""The display driver against scripted devices: what it sends, and what it makes of answers, warnings, silence and rubbish."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from labgrid import Target
from labgrid.binding import StateError

from drivers.displays.raven import RavenDriver
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import SerialLine
from drivers.roles import Display, DisplayedBalance, DisplayedMessage, HanLink, Identity
from tests.dialogue import Dialogue

MACS = b"  <DeviceMacId>0x00158d0000000004</DeviceMacId>\r\n  <MeterMacId>0x00178d0000000004</MeterMacId>\r\n"
DEVICE_INFO = (
    b"<DeviceInfo>\r\n"
    b"  <DeviceMacId>0x00158d0000000004</DeviceMacId>\r\n"
    b"  <InstallCode>0x83fed3407a932b70</InstallCode>\r\n"
    b"  <LinkKey>0xcd4fa064773f46941ec986c09963d1a8</LinkKey>\r\n"
    b"  <FWVersion>2.0.0 (7400)</FWVersion>\r\n"
    b"  <HWVersion>2.7.3</HWVersion>\r\n"
    b"  <ImageType>0x2201</ImageType>\r\n"
    b"  <Manufacturer>Rainforest Automation, Inc.</Manufacturer>\r\n"
    b"  <ModelId>Z106-RA-PC</ModelId>\r\n"
    b"  <DateCode>2013103023220630</DateCode>\r\n"
    b"</DeviceInfo>\r\n"
)
NETWORK_INFO = (
    b"<NetworkInfo>\r\n"
    b"  <DeviceMacId>0x00158d0000000004</DeviceMacId>\r\n"
    b"  <CoordMacId>0x00178d0000000004</CoordMacId>\r\n"
    b"  <Status>Connected</Status>\r\n"
    b"  <Description>Successfully Joined</Description>\r\n"
    b"  <StatusCode>0x00</StatusCode>\r\n"
    b"  <ExtPanId>0x00178d0000000004</ExtPanId>\r\n"
    b"  <Channel>20</Channel>\r\n"
    b"  <ShortAddr>0xe1aa</ShortAddr>\r\n"
    b"  <LinkStrength>0x64</LinkStrength>\r\n"
    b"</NetworkInfo>\r\n"
)
PRICE = (
    b"<PriceCluster>\r\n" + MACS + b"  <TimeStamp>0x185adc1d</TimeStamp>\r\n"
    b"  <Price>0x0000000e</Price>\r\n"
    b"  <Currency>0x0348</Currency>\r\n"
    b"  <TrailingDigits>0x02</TrailingDigits>\r\n"
    b"  <Tier>0x01</Tier>\r\n"
    b"  <TierLabel>Set by User</TierLabel>\r\n"
    b"  <RateLabel>Set by User</RateLabel>\r\n"
    b"</PriceCluster>\r\n"
)


def demand(raw: bytes, divisor: bytes = b"0x000003e8", stamp: bytes = b"0x185adc1d") -> bytes:
    return (
        b"<InstantaneousDemand>\r\n" + MACS + b"  <TimeStamp>" + stamp + b"</TimeStamp>\r\n"
        b"  <Demand>" + raw + b"</Demand>\r\n"
        b"  <Multiplier>0x00000001</Multiplier>\r\n"
        b"  <Divisor>" + divisor + b"</Divisor>\r\n"
        b"  <DigitsRight>0x03</DigitsRight>\r\n"
        b"  <DigitsLeft>0x00</DigitsLeft>\r\n"
        b"  <SuppressLeadingZero>Y</SuppressLeadingZero>\r\n"
        b"</InstantaneousDemand>\r\n"
    )


SUMMATION = (
    b"<CurrentSummationDelivered>\r\n" + MACS + b"  <TimeStamp>0x185adc1d</TimeStamp>\r\n"
    b"  <SummationDelivered>0x00000001f4c1e40b</SummationDelivered>\r\n"
    b"  <SummationReceived>0x0000000000000000</SummationReceived>\r\n"
    b"  <Multiplier>0x00000001</Multiplier>\r\n"
    b"  <Divisor>0x000003e8</Divisor>\r\n"
    b"  <DigitsRight>0x01</DigitsRight>\r\n"
    b"  <DigitsLeft>0x06</DigitsLeft>\r\n"
    b"  <SuppressLeadingZero>Y</SuppressLeadingZero>\r\n"
    b"</CurrentSummationDelivered>\r\n"
)


def message(number: bytes, text: bytes, required: bytes = b"N", confirmed: bytes = b"N") -> bytes:
    return (
        b"<MessageCluster>\r\n" + MACS + b"  <TimeStamp>0x185adc1d</TimeStamp>\r\n"
        b"  <Id>" + number + b"</Id>\r\n"
        b"  <Text>" + text + b"</Text>\r\n"
        b"  <ConfirmationRequired>" + required + b"</ConfirmationRequired>\r\n"
        b"  <Confirmed>" + confirmed + b"</Confirmed>\r\n"
        b"  <Queue>Active</Queue>\r\n"
        b"</MessageCluster>\r\n"
    )


def schedule(event: bytes, frequency: bytes, enabled: bytes) -> bytes:
    return (
        b"<ScheduleInfo>\r\n" + MACS + b"  <Event>" + event + b"</Event>\r\n"
        b"  <Frequency>" + frequency + b"</Frequency>\r\n"
        b"  <Enabled>" + enabled + b"</Enabled>\r\n"
        b"</ScheduleInfo>\r\n"
    )


WARNING = b"<Warning>\r\n  <Text>Unknown command</Text>\r\n</Warning>\r\n"


STAMP = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=0x185ADC1D)


def ask(name: bytes, *arguments: bytes) -> bytes:
    return b"<Command><Name>" + name + b"</Name>" + b"".join(arguments) + b"</Command>"


Make = Callable[..., RavenDriver]


@pytest.fixture
def make() -> Iterator[Make]:
    """Activate a driver on a port; all are deactivated afterwards."""
    made: list[tuple[Target, RavenDriver]] = []

    def activate(path: str, timeout: float = 10.0, log: list[tuple[str, bytes]] | None = None) -> RavenDriver:
        target = Target("test")
        line = SerialLine(target, "line", port=path, baudrate=115200, timeout=timeout)
        if log is not None:
            line.wire_log = lambda way, data: log.append((way, data))
        driver = RavenDriver(target, "display")
        target.activate(driver)
        made.append((target, driver))
        return driver

    yield activate
    for target, driver in made:
        target.deactivate(driver)


READS: list[tuple[str, bytes, bytes, Any]] = [
    (
        "identify",
        ask(b"get_device_info"),
        DEVICE_INFO,
        Identity("Rainforest Automation, Inc.", "Z106-RA-PC", "0x00158d0000000004", "2.0.0 (7400)"),
    ),
    ("link", ask(b"get_network_info"), NETWORK_INFO, HanLink(True, "Connected", 100)),
    (
        "link",
        ask(b"get_network_info"),
        NETWORK_INFO.replace(b"Connected", b"Join: Fail").replace(b"0x64", b"0x00"),
        HanLink(False, "Join: Fail", 0),
    ),
    (
        "link",
        ask(b"get_network_info"),
        NETWORK_INFO.replace(b"Connected", b"A status of tomorrow"),
        HanLink(False, "A status of tomorrow", 100),
    ),
    ("meters", ask(b"get_meter_list"), b"<MeterList>\r\n" + MACS + b"</MeterList>\r\n", ("0x00178d0000000004",)),
    (
        "meters",
        ask(b"get_meter_list"),
        b"<MeterList>" + MACS + b"<MeterMacId>0x01</MeterMacId></MeterList>",
        ("0x00178d0000000004", "0x0000000000000001"),
    ),
    ("meters", ask(b"get_meter_list"), b"<MeterList><DeviceMacId>0x00158d0000000004</DeviceMacId></MeterList>", ()),
    ("price_millicents_per_kwh", ask(b"get_current_price"), PRICE, 14_000),
    ("price_millicents_per_kwh", ask(b"get_current_price"), PRICE.replace(b"0x0000000e", b"0xffffffff"), None),
    ("demand_w", ask(b"get_instantaneous_demand"), demand(b"0x001738"), 5944.0),
    ("demand_w", ask(b"get_instantaneous_demand"), demand(b"0xfffffe0c"), -500.0),
    ("demand_w", ask(b"get_instantaneous_demand"), demand(b"0xfffe0c"), -500.0),
    ("demand_w", ask(b"get_instantaneous_demand"), demand(b"0x000005", b"0x00000000"), 5000.0),
    ("demand_w", ask(b"get_instantaneous_demand"), demand(b"0x000000", stamp=b"0xffffff"), None),
    ("delivered_wh", ask(b"get_current_summation_delivered"), SUMMATION, 8_401_314_827.0),
    (
        "message",
        ask(b"get_message"),
        message(b"0x00000007", b"Caf\xe9 &lt;3 &amp; more", b"Y"),
        DisplayedMessage(7, "Café <3 & more", True, False),
    ),
    ("message", ask(b"get_message"), message(b"0x00000000", b""), None),
    (
        "balance",
        ask(b"get_message"),
        message(
            b"0x00000009",
            b"PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh TIME LEFT 3 d 04 h 05 min ZERO 01/08/2026-12:05:02",
        ),
        DisplayedBalance(
            2500,
            116_000,
            datetime(2026, 1, 5, 8, 0, 2, tzinfo=UTC),
            timedelta(days=3, hours=4, minutes=5),
            datetime(2026, 1, 8, 12, 5, 2, tzinfo=UTC),
        ),
    ),
    ("balance", ask(b"get_message"), message(b"0x00000009", b"Hello"), None),
    (
        "clock",
        ask(b"get_time", b"<Refresh>Y</Refresh>"),
        b"<TimeCluster>" + MACS + b"<UTCTime>0x185adc1d</UTCTime><LocalTime>0x185a6b9d</LocalTime></TimeCluster>",
        STAMP,
    ),
]


@pytest.mark.parametrize(("method", "command", "answer", "expected"), READS)
def test_a_read(make: Make, method: str, command: bytes, answer: bytes, expected: Any) -> None:
    with Dialogue.serial([(command, answer)]) as device:
        driver = make(device.path)
        assert isinstance(driver, Display)
        assert getattr(driver, method)() == expected


def test_it_says_when_it_got_what_it_shows(make: Make) -> None:
    balance = message(b"0x00000009", b"PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh")
    with Dialogue.serial([(ask(b"get_message"), balance), (ask(b"get_message"), balance)]) as device:
        driver = make(device.path)
        held, told = driver.message(), driver.balance()
        assert held is not None
        assert told is not None
        assert held.received_at == told.received_at == STAMP


def test_what_comes_unasked_before_the_answer_is_kept(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_current_price"), demand(b"0x000001") + demand(b"0x001738") + PRICE)]) as device:
        driver = make(device.path)
        assert driver.price_millicents_per_kwh() == 14_000
        kept = driver.notifications()
        assert kept["InstantaneousDemand"].get("Demand") == "0x001738"
        assert kept["PriceCluster"].get("Price") == "0x0000000e"


def test_an_idle_line_is_read_too(make: Make) -> None:
    log: list[tuple[str, bytes]] = []
    with Dialogue.serial([]) as device:
        driver = make(device.path, log=log)
        os.write(device._master, PRICE)
        until = time.monotonic() + 5
        while not log and time.monotonic() < until:
            time.sleep(0.01)
        assert b"".join(data for _, data in log) == PRICE
        assert driver.notifications()["PriceCluster"].get("TierLabel") == "Set by User"


def test_what_nobody_read_for_long_is_not_taken_for_the_answer(make: Make) -> None:
    old = message(b"0x00000008", b"PREPAID BALANCE= $9.00 (01/05/2026-07:00:02) 00041kWh")
    new = message(b"0x00000009", b"PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh")
    # More than one read's worth comes at once, and the rest of it only when the device is asked something.
    script = [(ask(b"get_current_price"), old * 8 + PRICE), (ask(b"get_device_info"), old * 8 + DEVICE_INFO)]
    with Dialogue.serial([*script, (ask(b"get_message"), new)]) as device:
        driver = make(device.path)
        assert driver.price_millicents_per_kwh() == 14_000
        got = driver.balance()
        assert got is not None
        assert got.balance_cents == 2500


def test_a_text_before_the_balance_does_not_hide_it(make: Make) -> None:
    balance = message(b"0x00000009", b"PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh")
    text = message(b"0x0000000a", b"Hello", b"Y")
    with Dialogue.serial([(ask(b"get_message"), balance + text), (ask(b"get_message"), text)]) as device:
        driver = make(device.path)
        assert driver.message() == DisplayedMessage(
            9, "PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh", False, False
        )
        got = driver.balance()
        assert got is not None
        assert (got.balance_cents, got.time_left, got.zero_at) == (2500, None, None)


def test_a_display_that_holds_nothing_any_more_has_no_balance(make: Make) -> None:
    balance = message(b"0x00000009", b"PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh")
    script = [(ask(b"get_message"), balance), (ask(b"get_message"), message(b"0x00000000", b""))]
    with Dialogue.serial(script) as device:
        driver = make(device.path)
        assert driver.balance() is not None
        assert driver.balance() is None


def test_a_confirmation_is_looked_at_and_told(make: Make) -> None:
    script = [
        (ask(b"confirm_message", b"<Id>0x00000007</Id>"), b""),
        (ask(b"get_message"), message(b"0x00000007", b"Hello", b"Y", b"Y")),
    ]
    with Dialogue.serial(script) as device:
        driver = make(device.path)
        told: list[Any] = []
        driver.commanded.append(lambda *what: told.append(what))
        driver.confirm(7)
        assert told == [("confirm", (7,))]


@pytest.mark.parametrize(
    "shown", [message(b"0x00000008", b"Hello", b"Y", b"Y"), message(b"0x00000007", b"Hello", b"Y")]
)
def test_a_confirmation_that_the_device_did_not_take_is_refused(make: Make, shown: bytes) -> None:
    script = [(ask(b"confirm_message", b"<Id>0x00000007</Id>"), b""), (ask(b"get_message"), shown)]
    with Dialogue.serial(script) as device:
        driver = make(device.path)
        told: list[Any] = []
        driver.commanded.append(lambda *what: told.append(what))
        with pytest.raises(Refused, match="confirming message 7"):
            driver.confirm(7)
        assert told == []


def test_a_schedule_is_set_and_read_back(make: Make) -> None:
    script = [
        (
            ask(b"set_schedule", b"<Event>demand</Event>", b"<Frequency>10</Frequency>", b"<Enabled>Y</Enabled>"),
            b"",
        ),
        (
            ask(b"get_schedule", b"<Event>demand</Event>"),
            schedule(b"price", b"0x0384", b"Y") + schedule(b"demand", b"0x000a", b"Y"),
        ),
        (ask(b"get_schedule", b"<Event>price</Event>"), schedule(b"price", b"0x0384", b"N")),
    ]
    with Dialogue.serial(script) as device:
        driver = make(device.path)
        told: list[Any] = []
        driver.commanded.append(lambda *what: told.append(what))
        driver.set_schedule("demand", 10, True)
        assert driver.schedule("price") == (900, False)
        assert told == [("set_schedule", ("demand", 10, True))]


def test_a_schedule_that_the_device_did_not_take_is_refused(make: Make) -> None:
    script = [
        (ask(b"set_schedule", b"<Event>demand</Event>", b"<Frequency>10</Frequency>", b"<Enabled>N</Enabled>"), b""),
        (ask(b"get_schedule", b"<Event>demand</Event>"), schedule(b"demand", b"0x000a", b"Y")),
    ]
    with Dialogue.serial(script) as device, pytest.raises(Refused, match="did not take"):
        make(device.path).set_schedule("demand", 10, False)


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.confirm(0),
        lambda d: d.confirm(2**32),
        lambda d: d.set_schedule("weather", 10, True),
        lambda d: d.set_schedule("demand", 0, True),
        lambda d: d.set_schedule("demand", 65536, True),
    ],
)
def test_what_does_not_fit_is_never_sent(make: Make, call: Callable[[RavenDriver], None]) -> None:
    with Dialogue.serial([]) as device, pytest.raises(OutOfRange):
        call(make(device.path))


def test_an_unknown_command_is_not_supported(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_current_price"), WARNING)]) as device:
        driver = make(device.path)
        with pytest.raises(NotSupported, match=r"reading the price.*Unknown command"):
            driver.price_millicents_per_kwh()


def test_another_warning_is_a_refusal(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_current_price"), WARNING.replace(b"Unknown command", b"Busy"))]) as device:
        driver = make(device.path)
        with pytest.raises(Refused, match="Busy"):
            driver.price_millicents_per_kwh()


def test_a_lost_answer_is_asked_for_once_more(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_current_price"), PRICE[:80]), (ask(b"get_current_price"), PRICE)]) as device:
        assert make(device.path, timeout=2.0).price_millicents_per_kwh() == 14_000


def test_silence_is_a_lost_link_in_time(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_network_info"), b"")] * 2) as device:
        driver = make(device.path, timeout=0.1)
        started = time.monotonic()
        with pytest.raises(LinkLost, match=r"no answer within 0\.1 s"):
            driver.link()
        assert 0.2 <= time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("method", "command", "answer"),
    [
        ("price_millicents_per_kwh", ask(b"get_current_price"), PRICE.replace(b"0x0000000e", b"cheap")),
        ("demand_w", ask(b"get_instantaneous_demand"), demand(b"")),
        ("link", ask(b"get_network_info"), b"<NetworkInfo></NetworkInfo>"),
        ("identify", ask(b"get_device_info"), DEVICE_INFO.replace(b"0x00158d0000000004", b"0xzz")),
        ("identify", ask(b"get_device_info"), DEVICE_INFO.replace(b"20131030", b"20139999")),
        ("message", ask(b"get_message"), message(b"0x00000007", b"Hello").replace(b"Active", b"Passive")),
    ],
)
def test_an_answer_without_sense_is_a_lost_link(make: Make, method: str, command: bytes, answer: bytes) -> None:
    with Dialogue.serial([(command, answer)] * 2) as device:
        driver = make(device.path)
        with pytest.raises(LinkLost, match="makes no sense"):
            getattr(driver, method)()


def test_noise_between_notifications_does_not_matter(make: Make) -> None:
    noise = bytes(range(256)) + b"<!DOCTYPE x [<!ENTITY y 'z'>]><Command>" + PRICE[:40]
    with Dialogue.serial([(ask(b"get_current_price"), noise + PRICE)]) as device:
        assert make(device.path).price_millicents_per_kwh() == 14_000


def test_a_late_answer_is_not_taken_for_the_next_one(make: Make) -> None:
    script = [
        (ask(b"get_current_price"), b""),
        (ask(b"get_current_price"), b""),
        (ask(b"get_current_price"), PRICE),
    ]
    with Dialogue.serial(script) as device:
        driver = make(device.path, timeout=0.1)
        with pytest.raises(LinkLost):
            driver.price_millicents_per_kwh()
        os.write(device._master, PRICE.replace(b"0x0000000e", b"0x0000000f"))
        driver.line.timeout = 10.0  # this time the answer is waited for
        assert driver.price_millicents_per_kwh() == 14_000


def test_the_wire_log_has_every_byte(make: Make) -> None:
    log: list[tuple[str, bytes]] = []
    with Dialogue.serial([(ask(b"get_current_price"), PRICE)]) as device:
        make(device.path, log=log).price_millicents_per_kwh()
    assert b"".join(data for way, data in log if way == "tx") == ask(b"get_current_price")
    assert b"".join(data for way, data in log if way == "rx") == PRICE


def test_the_wire_log_hides_the_device_s_keys(make: Make) -> None:
    log: list[tuple[str, bytes]] = []
    with Dialogue.serial([(ask(b"get_device_info"), DEVICE_INFO)]) as device:
        make(device.path, log=log).identify()
    shown = b"".join(data for way, data in log if way == "rx")
    assert shown == DEVICE_INFO.replace(b"0x83fed3407a932b70", b"*" * 18).replace(
        b"0xcd4fa064773f46941ec986c09963d1a8", b"*" * 34
    )


def test_a_port_that_does_not_exist_is_named(make: Make) -> None:
    with pytest.raises(LinkLost, match=r"/dev/no-such-port.*check the path"):
        make("/dev/no-such-port")


def test_a_port_that_somebody_else_has_is_named(make: Make) -> None:
    with Dialogue.serial([]) as device:
        make(device.path)
        with pytest.raises(LinkLost, match="nobody else"):
            make(device.path)


def test_a_device_that_is_pulled_out_is_a_lost_link(make: Make) -> None:
    device = Dialogue.serial([(ask(b"get_current_price"), PRICE)])
    with device:
        driver = make(device.path)
        assert driver.price_millicents_per_kwh() == 14_000
    with pytest.raises(LinkLost):
        driver.price_millicents_per_kwh()
    with pytest.raises(LinkLost):
        driver.notifications()


def test_calls_of_several_threads_take_turns(make: Make) -> None:
    with Dialogue.serial([(ask(b"get_current_price"), PRICE)] * 20) as device:
        driver = make(device.path)
        got: list[int | None] = []

        def read() -> None:
            for _ in range(5):
                got.append(driver.price_millicents_per_kwh())

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert got == [14_000] * 20


def test_an_inactive_driver_says_so() -> None:
    target = Target("test")
    SerialLine(target, "line", port="/dev/no-such-port")
    driver = RavenDriver(target, "display")
    with pytest.raises(StateError):
        driver.link()
