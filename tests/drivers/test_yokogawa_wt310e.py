"""The WT310E's driver against scripted bytes: what is written, what real replies mean, and what happens on bad days."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from labgrid import Target

from drivers.analyzers.yokogawa_wt310e import YokogawaWt310eDriver
from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import VisaLink
from drivers.roles import EnergyReading, Identity, Integration, PowerAnalyzer, PowerReading
from tests.dialogue import Dialogue
from tests.ports import free_port

IDN = (b"*IDN?\n", b"YOKOGAWA,WT310E,C2PH13047V,F1.03\n")
CHECK = (b":STAT:ERR?\n", b'0,"No error"\n')
SET_UP = [
    (b"*CLS\n:STAT:QMES ON;:COMM:HEAD OFF;VERB OFF;REM ON\n", b""),
    CHECK,
    (
        b":NUM:FORM ASC;HOLD OFF;NORM:NUM 11;ITEM1 U,1;ITEM2 I,1;ITEM3 P,1;ITEM4 S,1;ITEM5 Q,1;ITEM6 LAMB,1;"
        b"ITEM7 PHI,1;ITEM8 FU,1;ITEM9 WH,1;ITEM10 AH,1;ITEM11 TIME,1\n",
        b"",
    ),
    CHECK,
    (b":HOLD OFF\n", b""),
    CHECK,
    (b":INP:MODE?;CFAC?\n", b"RMS;3\n"),
]
END = (b":COMM:REM OFF\n", b"")
# Nine values that a real unit sent, without its FI, and then the integrator's three.
VALUES = (
    b"37.728E+00,0.1460E-03,-0.77E-03,5.51E-03,-5.46E-03,-0.1402E+00,-98.1E+00,49.815E+00,1.20011E+03,5.00094E+00,3600"
)
READING = PowerReading(37.728, 0.000146, -0.00077, 0.00551, -0.00546, -0.1402, -98.1, 49.815)

Make = Callable[[str], YokogawaWt310eDriver]


@pytest.fixture
def make() -> Iterator[Make]:
    targets = []

    def build(resource: str, timeout: float = 10.0) -> YokogawaWt310eDriver:
        target = Target("bench")
        targets.append(target)
        VisaLink(target, "visa", resource=resource, timeout=timeout)
        return YokogawaWt310eDriver(target, "analyzer")

    yield build
    for target in targets:
        target.cleanup()


def talk(make: Make, *steps: tuple[bytes, bytes], act: Callable[[YokogawaWt310eDriver], object]) -> object:
    """Activate over a socket, act, deactivate; every byte is in the script."""
    with Dialogue.tcp([IDN, *SET_UP, *steps, END]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        driver.target.activate(driver)
        try:
            return act(driver)
        finally:
            driver.target.deactivate(driver)


def test_the_driver_has_the_role():
    assert issubclass(YokogawaWt310eDriver, PowerAnalyzer)


def test_identity(make):
    assert talk(make, IDN, act=lambda d: d.identify()) == Identity("YOKOGAWA", "WT310E", "C2PH13047V", "F1.03")


def test_a_reading_of_a_real_unit(make):
    assert talk(make, (b":NUM:VAL?\n", VALUES + b"\n"), act=lambda d: d.read()) == READING


def test_no_data_and_over_range(make):
    reply = b"INF,0.1460E-03,INF,INF,INF,INF,INF,49.815E+00,NAN,NAN,0\n"
    reading = talk(make, (b":NUM:VAL?\n", reply), act=lambda d: d.read())
    assert isinstance(reading, PowerReading)
    assert reading.voltage_v == math.inf
    assert reading.frequency_hz == 49.815
    reply = b"NAN," * 10 + b"NAN\n"
    reading = talk(make, (b":NUM:VAL?\n", reply), act=lambda d: d.read())
    assert isinstance(reading, PowerReading)
    assert math.isnan(reading.voltage_v)


def test_ranges_are_the_smallest_that_hold_the_values(make):
    steps = [
        (b":INP:VOLT:RANG 300V;:INP:CURR:RANG 0.5A\n", b""),
        CHECK,
        (b":INP:VOLT:AUTO ON;:INP:CURR:RANG 20A\n", b""),
        CHECK,
        (b":INP:VOLT:RANG?;:INP:CURR:RANG?\n", b"300.0E+00;500.0E-03\n"),
    ]
    told = []

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.set_ranges(240, 0.5)
        driver.set_ranges(None, 11)
        return driver.ranges()

    assert talk(make, *steps, act=act) == (300.0, 0.5)
    assert told == [("set_ranges", (240, 0.5)), ("set_ranges", (None, 11))]


def test_a_range_that_does_not_exist_is_not_sent(make):
    def act(driver):
        for voltage, current in ((601, 1), (0, 1), (230, 20.1), (-1, None)):
            with pytest.raises(OutOfRange, match="no range for"):
                driver.set_ranges(voltage, current)
        with pytest.raises(OutOfRange, match="no update period"):
            driver.set_update_period(0.3)

    talk(make, act=act)


def test_update_period(make):
    talk(make, (b":RATE 250MS\n", b""), CHECK, act=lambda d: d.set_update_period(0.25))


def test_waiting_for_an_update_uses_the_extended_event(make):
    waited = []
    steps = [
        (b":RATE?\n", b"250.0E-03\n"),
        (b":STAT:FILT1 FALL\n", b""),
        CHECK,
        (b":STAT:EESR?\n", b"1\n"),
        (b":COMM:WAIT? 1\n", b"1\n"),
    ]

    def act(driver):
        driver.wait = waited.append
        driver.wait_update()

    talk(make, *steps, act=act)
    assert waited == [0.25]


def test_integration_starts_from_reset(make):
    steps = [
        (b":INTEG:STAT?\n", b"START\n"),
        (b":INTEG:STOP\n", b""),
        CHECK,
        (b":INTEG:RES\n", b""),
        CHECK,
        (b":INTEG:MODE NORM;TIM 0,0,0\n", b""),
        CHECK,
        (b":INTEG:STAR\n", b""),
        CHECK,
        (b":NUM:VAL?;:INTEG:STAT?\n", VALUES + b";START\n"),
        (b":INTEG:STOP\n", b""),
        CHECK,
    ]

    def act(driver):
        driver.start_integration()
        held = driver.integrated()
        driver.stop_integration()
        return held

    assert talk(make, *steps, act=act) == EnergyReading(1200.11, 5.00094, 3600.0, Integration.RUNNING)


def test_a_refused_command_carries_code_and_text_and_is_told_to_nobody(make):
    steps = [(b":INTEG:STOP\n", b""), (b":STAT:ERR?\n", b'844,"Integration not started"\n'), CHECK]
    told = []

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        with pytest.raises(Refused, match=r"TCPIP.*INTEG:STOP.*844, Integration not started") as no:
            driver.stop_integration()
        return no.value.code

    assert talk(make, *steps, act=act) == 844
    assert told == []


def test_reset_waits_and_sets_up_again(make):
    waited = []

    def act(driver):
        driver.wait = waited.append
        driver.reset()

    talk(make, (b"*RST\n", b""), *SET_UP, act=act)
    assert waited == [2.0]


def test_another_mode_or_crest_factor_is_put_right(make):
    steps = [IDN, *SET_UP[:-1], (b":INP:MODE?;CFAC?\n", b"DC;A6\n"), (b":INP:MODE RMS;CFAC 3\n", b""), CHECK, END]
    with Dialogue.tcp(steps) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        driver.target.activate(driver)
        driver.target.deactivate(driver)


def test_the_wire_log_holds_what_crossed_the_wire(make):
    log = []

    def act(driver):
        driver.link.wire_log = lambda way, data: log.append((way, data))
        driver.read()
        driver.link.wire_log = None

    talk(make, (b":NUM:VAL?\n", VALUES + b"\n"), act=act)
    assert log == [("tx", b":NUM:VAL?\n"), ("rx", VALUES + b"\n")]


def test_a_garbled_answer_is_a_lost_link(make):
    for reply in (b"37.7E+00,x\n", b"1,2,3\n", b"\xff\xfe\n"):
        with Dialogue.tcp([IDN, *SET_UP, (b":NUM:VAL?\n", reply)]) as peer:
            driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
            driver.target.activate(driver)
            with pytest.raises(LinkLost, match="TCPIP"):
                driver.read()


def test_somebody_else_on_the_link_is_told(make):
    with Dialogue.tcp([(b"*IDN?\n", b"YOKOGAWA,WT332E,C2XX,F1.04\n")]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        with pytest.raises(LinkLost, match=r"WT332E.*not as a Yokogawa WT310E"):
            driver.target.activate(driver)


@pytest.mark.parametrize(
    "resource",
    ["TCPIP::127.0.0.1,{port}::inst0::INSTR", "TCPIP::127.0.0.1::{port}::SOCKET", "ASRL/dev/no-such-port::INSTR"],
)
def test_nobody_there_is_a_lost_link_that_names_the_resource(make, resource):
    resource = resource.format(port=free_port())
    driver = make(resource, 0.3)
    with pytest.raises(LinkLost) as no:
        driver.target.activate(driver)
    assert resource in str(no.value)
    assert "check" in str(no.value)
    assert "\n" not in str(no.value)


def test_a_late_answer_is_never_taken_for_another_one(make):
    late = VALUES.replace(b"37.728", b"99.999") + b"\n"
    identity = (b"\n*IDN?\n", IDN[1])
    script = [
        identity,
        *SET_UP,
        (b":NUM:VAL?\n", b""),  # no answer in time ...
        (b"\n*IDN?\n", late + IDN[1]),  # ... and then it comes after all
        CHECK,
        identity,
        *SET_UP,
        (b":NUM:VAL?\n", VALUES + b"\n"),
        END,
    ]
    with Dialogue.serial(script) as peer:
        driver = make(f"ASRL{peer.path}::INSTR", 2.0)
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match=r"ASRL.*:NUM:VAL\?.*no answer within 2 s"):
            driver.read()
        assert driver.read() == READING
        driver.target.deactivate(driver)


def test_a_question_that_is_refused_says_so(make):
    identity = (b"\n*IDN?\n", IDN[1])
    script = [
        identity,
        *SET_UP,
        (b":NUM:VAL?\n", b""),
        identity,
        (b":STAT:ERR?\n", b'113,"Undefined header"\n'),
        CHECK,
    ]
    with Dialogue.serial(script) as peer:
        driver = make(f"ASRL{peer.path}::INSTR", 2.0)
        driver.target.activate(driver)
        with pytest.raises(Refused, match="113, Undefined header") as no:
            driver.read()
        assert no.value.code == 113
