"""The 61604's driver against scripted bytes: what is written, what replies mean, and what happens on bad days."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from labgrid import Target

from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import VisaLink
from drivers.roles import AcSource, Identity, SourceReading
from drivers.sources.chroma_61604 import Chroma61604Driver
from drivers.wire.chroma import SOURCE_PROTECTIONS, names_of, register_of
from tests.dialogue import Dialogue

IDN = (b"*IDN?\n", b"Chroma ATE,61604,616040001,1.00,1.01,1.02\n")
SET_UP = [(b"SYST:REM\n*CLS\n", b"")]
CHECK = (b"SYST:ERR?\n", b'0,"No error"\n')
END = (b"SYST:LOC\n", b"")

Make = Callable[[str], Chroma61604Driver]


@pytest.fixture
def make() -> Iterator[Make]:
    targets = []

    def build(resource: str, timeout: float = 10.0) -> Chroma61604Driver:
        target = Target("bench")
        targets.append(target)
        VisaLink(target, "visa", resource=resource, timeout=timeout)
        return Chroma61604Driver(target, "source")

    yield build
    for target in targets:
        target.cleanup()


def talk(make: Make, *steps: tuple[bytes, bytes], act: Callable[[Chroma61604Driver], object]) -> object:
    """Activate over a socket, act, deactivate; every byte is in the script."""
    with Dialogue.tcp([IDN, *SET_UP, *steps, END]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        driver.target.activate(driver)
        try:
            return act(driver)
        finally:
            driver.target.deactivate(driver)


def test_the_driver_has_the_role():
    assert issubclass(Chroma61604Driver, AcSource)


def test_identity(make):
    identity = talk(make, IDN, act=lambda d: d.identify())
    assert identity == Identity("Chroma ATE", "61604", "616040001", "1.00,1.01,1.02")


def test_voltage_range_and_frequency_go_in_one_message(make):
    told = []
    steps = [
        (b":SOUR:VOLT:AC 240.0;:SOUR:VOLT:RANG HIGH;:SOUR:FREQ 60.00\n", b""),
        CHECK,
        (b":SOUR:VOLT:AC 150.0;:SOUR:VOLT:RANG LOW;:SOUR:FREQ 49.98\n", b""),
        CHECK,
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.set_output(240, 60)
        driver.set_output(150.04, 49.98)

    talk(make, *steps, act=act)
    assert told == [("set_output", (240, 60)), ("set_output", (150.04, 49.98))]


def test_limits_and_delay(make):
    told = []
    steps = [
        (b":SOUR:VOLT:LIM:AC 264.0;:SOUR:CURR:LIM 7.50\n", b""),
        CHECK,
        (b":SOUR:CURR:DEL 1.5\n", b""),
        CHECK,
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.set_limits(264, 7.5)
        driver.set_trip_delay(1.5)

    talk(make, *steps, act=act)
    assert told == [("set_limits", (264, 7.5)), ("set_trip_delay", (1.5,))]


def test_what_the_model_cannot_do_is_not_sent(make):
    def act(driver):
        for output in ((300.1, 60), (-1, 60), (math.nan, 60), (240, 14.9), (240, 1000.1), (240, math.inf)):
            with pytest.raises(OutOfRange, match=r"it lies in"):
                driver.set_output(*output)
        for limits in ((301, 5), (264, 16.1), (264, 0), (264, -1)):
            with pytest.raises(OutOfRange, match=r"it lies in"):
                driver.set_limits(*limits)
        with pytest.raises(OutOfRange, match="trip delay"):
            driver.set_trip_delay(5.5)

    talk(make, act=act)


def test_switching_on_and_off(make):
    told = []
    steps = [
        (b":OUTP ON\n", b""),
        CHECK,
        (b":OUTP?\n", b"ON\n"),
        (b":OUTP?\n", b"ON\n"),
        (b":OUTP OFF\n", b""),
        CHECK,
        (b":OUTP?\n", b"OFF\n"),
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.on()
        on = driver.is_on()
        driver.off()
        return on, driver.is_on()

    assert talk(make, *steps, act=act) == (True, False)
    assert told == [("on", ()), ("off", ())]


def test_a_latched_protection_is_named_when_on_is_refused(make):
    told = []
    steps = [
        (b":OUTP ON\n", b""),
        (b"SYST:ERR?\n", b'-221,"Setting conflict"\n'),
        CHECK,
        (b":STAT:QUES:COND?\n", b"68\n"),
        (b":OUTP:PROT:CLE\n", b""),
        CHECK,
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        with pytest.raises(Refused, match=r"TCPIP.*OUTP ON.*-221, Setting conflict; latched: OCP, OPP") as no:
            driver.on()
        driver.clear_trips()
        return no.value.code

    assert talk(make, *steps, act=act) == -221
    assert told == [("clear_trips", ())]


def test_an_output_that_trips_at_once_is_told(make):
    steps = [(b":OUTP ON\n", b""), CHECK, (b":OUTP?\n", b"OFF\n"), (b":STAT:QUES:COND?\n", b"16\n")]

    def act(driver):
        with pytest.raises(Refused, match="went off at once: SHT"):
            driver.on()

    talk(make, *steps, act=act)


def test_a_reading_is_one_acquisition(make):
    steps = [
        (b":MEAS:VOLT:ACDC?\n", b"239.97\n"),
        (b":FETC:CURR:AC?\n", b"5.001\n"),
        (b":FETC:POW:AC?\n", b"1200.1\n"),
        (b":FETC:FREQ?\n", b"60.00\n"),
    ]
    assert talk(make, *steps, act=lambda d: d.read()) == SourceReading(239.97, 5.001, 1200.1, 60.0)


def test_protections_have_the_manuals_names(make):
    steps = [(b":STAT:QUES:COND?\n", b"0\n"), (b":STAT:QUES:COND?\n", b"511\n")]
    assert talk(make, *steps, act=lambda d: (d.trips(), d.trips())) == ((), SOURCE_PROTECTIONS)
    assert names_of(register_of(["OTP", "OCP"], SOURCE_PROTECTIONS), SOURCE_PROTECTIONS) == ("OCP", "OTP")
    for bad in (512, -1):
        with pytest.raises(ValueError, match="no register"):
            names_of(bad, SOURCE_PROTECTIONS)


def test_a_refused_setting_carries_code_and_text_and_is_told_to_nobody(make):
    told = []
    steps = [
        (b":SOUR:VOLT:AC 240.0;:SOUR:VOLT:RANG HIGH;:SOUR:FREQ 60.00\n", b""),
        (b"SYST:ERR?\n", b'-222,"Data out of range"\n'),
        CHECK,
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        with pytest.raises(Refused, match="-222, Data out of range") as no:
            driver.set_output(240, 60)
        return no.value.code

    assert talk(make, *steps, act=act) == -222
    assert told == []


def test_reset_waits_three_seconds_and_takes_remote_control_again(make):
    waited = []

    def act(driver):
        driver.wait = waited.append
        driver.reset()

    talk(make, (b"*RST\n", b""), CHECK, *SET_UP, act=act)
    assert waited == [3.0]


def test_a_reset_that_was_refused_is_not_told_as_taken(make):
    told = []

    def act(driver):
        driver.wait = lambda seconds: None
        driver.commanded.append(lambda command, args: told.append(command))
        with pytest.raises(Refused, match="RST"):
            driver.reset()

    talk(make, (b"*RST\n", b""), (b"SYST:ERR?\n", b'-113,"Undefined header"\n'), CHECK, act=act)
    assert told == []


def test_the_wire_log_holds_what_crossed_the_wire(make):
    log = []

    def act(driver):
        driver.link.wire_log = lambda way, data: log.append((way, data))
        driver.is_on()
        driver.link.wire_log = None

    talk(make, (b":OUTP?\n", b"OFF\n"), act=act)
    assert log == [("tx", b":OUTP?\n"), ("rx", b"OFF\n")]


@pytest.mark.parametrize(
    ("question", "reply", "call"),
    [
        (b":OUTP?\n", b"MAYBE\n", "is_on"),
        (b":MEAS:VOLT:ACDC?\n", b"24O.0\n", "read"),
        (b":STAT:QUES:COND?\n", b"4.0\n", "trips"),
        (b":STAT:QUES:COND?\n", b"512\n", "trips"),
        (b"*IDN?\n", b"\xff\xfe\n", "identify"),
        (b"*IDN?\n", b"Chroma ATE,61604\n", "identify"),
    ],
)
def test_a_garbled_answer_is_a_lost_link(make, question, reply, call):
    with Dialogue.tcp([IDN, *SET_UP, (question, reply)]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match="TCPIP"):
            getattr(driver, call)()


def test_a_garbled_error_queue_is_a_lost_link(make):
    with Dialogue.tcp([IDN, *SET_UP, (b":OUTP OFF\n", b""), (b"SYST:ERR?\n", b"fine\n")]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match=r"SYST:ERR.*'fine'"):
            driver.off()


def test_somebody_else_on_the_link_is_told(make):
    with Dialogue.tcp([(b"*IDN?\n", b"Chroma ATE,61605,1,1.00\n")]) as peer:
        driver = make(f"TCPIP::{peer.address.replace(':', '::')}::SOCKET")
        with pytest.raises(LinkLost, match=r"61605.*not as a Chroma 61604"):
            driver.target.activate(driver)


@pytest.mark.parametrize("resource", ["TCPIP::127.0.0.1::9::SOCKET", "ASRL/dev/no-such-port::INSTR"])
def test_nobody_there_is_a_lost_link_that_names_the_resource(make, resource):
    driver = make(resource, 0.3)
    with pytest.raises(LinkLost) as no:
        driver.target.activate(driver)
    assert resource in str(no.value)
    assert "check" in str(no.value)
    assert "\n" not in str(no.value)


def test_a_late_answer_is_never_taken_for_another_one(make):
    identity = (b"\n*IDN?\n", IDN[1])
    script = [
        identity,
        *SET_UP,
        (b":OUTP?\n", b""),  # no answer in time ...
        (b"\n*IDN?\n", b"ON\n" + IDN[1]),  # ... and then it comes after all
        CHECK,
        identity,
        *SET_UP,
        (b":OUTP?\n", b"OFF\n"),
        END,
    ]
    with Dialogue.serial(script) as peer:
        driver = make(f"ASRL{peer.path}::INSTR", 2.0)
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match=r"ASRL.*:OUTP\?.*no answer within 2 s"):
            driver.is_on()
        assert driver.is_on() is False
        driver.target.deactivate(driver)


def test_a_question_that_is_refused_says_so(make):
    identity = (b"\n*IDN?\n", IDN[1])
    script = [
        identity,
        *SET_UP,
        (b":OUTP?\n", b""),
        identity,
        (b"SYST:ERR?\n", b'-113,"Undefined header"\n'),
        CHECK,
    ]
    with Dialogue.serial(script) as peer:
        driver = make(f"ASRL{peer.path}::INSTR", 2.0)
        driver.target.activate(driver)
        with pytest.raises(Refused, match="-113, Undefined header") as no:
            driver.is_on()
        assert no.value.code == -113
