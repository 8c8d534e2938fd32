"""The 63804's driver against scripted bytes: what is written, what replies mean, and what happens on bad days."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from labgrid import Target

from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import VisaLink
from drivers.loads.chroma_63804 import Chroma63804Driver
from drivers.roles import AcLoad, Identity, LoadReading
from drivers.wire.chroma import LOAD_PROTECTIONS, names_of, turned_sign
from tests.dialogue import Dialogue

IDN = (b"*IDN?\n", b"Chroma, 63804, 0, 1.00\n")  # as the manual prints it
SERIAL_IDN = (b"\n*IDN?\n", IDN[1])
SET_UP = [(b"*CLS\n", b"")]
CHECK = (b"*ESR?\n", b"0\n")

Make = Callable[[str], Chroma63804Driver]


@pytest.fixture
def make() -> Iterator[Make]:
    targets = []

    def build(resource: str, timeout: float = 10.0) -> Chroma63804Driver:
        target = Target("bench")
        targets.append(target)
        VisaLink(target, "visa", resource=resource, baudrate=57600, timeout=timeout)
        return Chroma63804Driver(target, "load")

    yield build
    for target in targets:
        target.cleanup()


def talk(make: Make, *steps: tuple[bytes, bytes], act: Callable[[Chroma63804Driver], object]) -> object:
    """Activate on a serial line, act, deactivate; every byte is in the script."""
    with Dialogue.serial([SERIAL_IDN, *SET_UP, *steps]) as peer:
        driver = make(f"ASRL{peer.path}::INSTR")
        driver.target.activate(driver)
        try:
            return act(driver)
        finally:
            driver.target.deactivate(driver)


def test_the_driver_has_the_role():
    assert issubclass(Chroma63804Driver, AcLoad)


def test_identity(make):
    assert talk(make, IDN, act=lambda d: d.identify()) == Identity("Chroma", "63804", "0", "1.00")


def test_current_and_power_with_a_lagging_power_factor_which_is_negative_to_the_load(make):
    told = []
    steps = [
        (b":SYST:SET:CFPF:MODE PF;:PFAC 1.000;:LOAD:CURR 2.500;:LOAD:MODE CURR\n", b""),
        CHECK,
        (b":SYST:SET:CFPF:MODE PF;:PFAC -0.500;:LOAD:CURR 10.000;:LOAD:MODE CURR\n", b""),
        CHECK,
        (b":SYST:SET:CFPF:MODE PF;:PFAC 0.800;:LOAD:POW 1200.0;:LOAD:MODE POW\n", b""),
        CHECK,
        (b":SYST:SET:CFPF:MODE PF;:PFAC 1.000;:LOAD:POW 0.0;:LOAD:MODE POW\n", b""),
        CHECK,
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.set_current(2.5)
        driver.set_current(10, 0.5)
        driver.set_power(1200, -0.8)
        driver.set_power(0, -1)

    talk(make, *steps, act=act)
    assert told == [
        ("set_current", (2.5, 1.0)),
        ("set_current", (10, 0.5)),
        ("set_power", (1200, -0.8)),
        ("set_power", (0, -1)),
    ]


def test_what_the_model_cannot_do_is_not_sent(make):
    def act(driver):
        for current in (45.1, -0.1, math.nan, math.inf):
            with pytest.raises(OutOfRange, match=r"current .* it lies in 0 to 45 A"):
                driver.set_current(current)
        for power in (4500.1, -1):
            with pytest.raises(OutOfRange, match=r"power .* it lies in 0 to 4500 W"):
                driver.set_power(power)
        for factor in (0, 1.1, -1.1, 0.0001, math.nan):
            with pytest.raises(OutOfRange, match="power factor"):
                driver.set_current(1, factor)

    talk(make, act=act)


def test_switching_on_and_off(make):
    told = []
    steps = [
        (b":LOAD ON\n", b""),
        CHECK,
        (b":LOAD?\n", b"1\n"),
        (b":LOAD OFF\n", b""),
        CHECK,
        (b":LOAD?\n", b"OFF\n"),
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        driver.on()
        driver.off()
        return driver.is_on()

    assert talk(make, *steps, act=act) is False
    assert told == [("on", ()), ("off", ())]


def test_a_latched_protection_is_named_when_on_is_refused(make):
    steps = [
        (b":LOAD ON\n", b""),
        (b"*ESR?\n", b"16\n"),
        (b":LOAD:PROT?\n", b"96\n"),
        (b":LOAD:PROT:CLE\n", b""),
        CHECK,
    ]

    def act(driver):
        with pytest.raises(Refused, match=r"ASRL.*LOAD ON.*execution error.*latched: OCP, OPP") as no:
            driver.on()
        driver.clear_trips()
        return no.value.code

    assert talk(make, *steps, act=act) == 16


def test_an_input_that_trips_at_once_is_told(make):
    steps = [(b":LOAD 1\n".replace(b"1", b"ON"), b""), CHECK, (b":LOAD?\n", b"0\n"), (b":LOAD:PROT?\n", b"64\n")]

    def act(driver):
        with pytest.raises(Refused, match="went off at once: OPP"):
            driver.on()

    talk(make, *steps, act=act)


def measured(*values: bytes) -> list[tuple[bytes, bytes]]:
    names = (b"VOLT", b"CURR", b"POW:REAL", b"POW:APP", b"POW:REAC", b"POW:PFAC")
    return [(b":MEAS:%s?\n" % n, v + b"\n") for n, v in zip(names, values, strict=True)]


def test_a_reading_has_the_roles_signs(make):
    lagging = measured(b"239.97", b"5.001", b"600.00", b"1200.10", b"1039.31", b"-0.500")
    leading = measured(b"239.97", b"5.001", b"600.00", b"1200.10", b"1039.31", b"0.500")
    nothing = measured(b"0.00", b"0.000", b"0.00", b"0.00", b"0.00", b"0.000")
    readings = talk(make, *lagging, *leading, *nothing, act=lambda d: [d.read() for _ in range(3)])
    assert readings == [
        LoadReading(239.97, 5.001, 600.0, 1200.1, 1039.31, 0.5),
        LoadReading(239.97, 5.001, 600.0, 1200.1, -1039.31, -0.5),
        LoadReading(0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ]


def test_a_power_factor_of_one_has_no_sign():
    assert [turned_sign(x) for x in (1.0, -1.0, 0.5, -0.5)] == [1.0, 1.0, -0.5, 0.5]


def test_protections_have_the_manuals_names(make):
    steps = [(b":LOAD:PROT?\n", b"0\n"), (b":LOAD:PROT?\n", b"6\n")]
    assert talk(make, *steps, act=lambda d: (d.trips(), d.trips())) == ((), ("UV",))
    assert names_of(1 << 10, LOAD_PROTECTIONS) == ("FREQ ERR",)


@pytest.mark.parametrize(
    ("events", "said"), [(32, "command error"), (16, "execution error"), (48, "command error and execution error")]
)
def test_a_refused_setting_carries_the_event_bits_and_is_told_to_nobody(make, events, said):
    told = []
    steps = [
        (b":SYST:SET:CFPF:MODE PF;:PFAC 1.000;:LOAD:CURR 2.000;:LOAD:MODE CURR\n", b""),
        (b"*ESR?\n", b"%d\n" % events),
    ]

    def act(driver):
        driver.commanded.append(lambda *what: told.append(what))
        with pytest.raises(Refused, match=said) as no:
            driver.set_current(2)
        return no.value.code

    assert talk(make, *steps, act=act) == events
    assert told == []


def test_reset_waits_and_sets_up_again(make):
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

    talk(make, (b"*RST\n", b""), (b"*ESR?\n", b"32\n"), act=act)
    assert told == []


@pytest.mark.parametrize(
    ("question", "reply", "call"),
    [
        (b":LOAD?\n", b"2\n", "is_on"),
        (b":MEAS:VOLT?\n", b"none\n", "read"),
        (b":LOAD:PROT?\n", b"4096\n", "trips"),
        (b":LOAD:PROT?\n", b"x\n", "trips"),
    ],
)
def test_a_garbled_answer_is_a_lost_link(make, question, reply, call):
    with Dialogue.serial([SERIAL_IDN, *SET_UP, (question, reply)]) as peer:
        driver = make(f"ASRL{peer.path}::INSTR")
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match="ASRL"):
            getattr(driver, call)()


def test_a_garbled_event_status_is_a_lost_link(make):
    with Dialogue.serial([SERIAL_IDN, *SET_UP, (b":LOAD OFF\n", b""), (b"*ESR?\n", b"?\n")]) as peer:
        driver = make(f"ASRL{peer.path}::INSTR")
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match=r"\*ESR"):
            driver.off()


def test_somebody_else_on_the_link_is_told(make):
    with Dialogue.serial([(b"\n*IDN?\n", b"Chroma, 63802, 0, 1.00\n")]) as peer:
        driver = make(f"ASRL{peer.path}::INSTR")
        with pytest.raises(LinkLost, match=r"63802.*not as a Chroma 63804"):
            driver.target.activate(driver)


def test_nobody_there_is_a_lost_link_that_names_the_resource(make):
    driver = make("ASRL/dev/no-such-port::INSTR", 0.3)
    with pytest.raises(LinkLost, match=r"ASRL/dev/no-such-port.*check"):
        driver.target.activate(driver)


def test_a_link_that_was_lost_is_set_up_anew(make):
    script = [
        SERIAL_IDN,
        *SET_UP,
        (b":LOAD?\n", b""),
        (b"\n*IDN?\n", b"ON\n" + IDN[1]),
        (b"*ESR?\n", b"0\n"),
        SERIAL_IDN,
        *SET_UP,
        (b":LOAD?\n", b"OFF\n"),
    ]
    with Dialogue.serial(script) as peer:
        driver = make(f"ASRL{peer.path}::INSTR", 2.0)
        driver.target.activate(driver)
        with pytest.raises(LinkLost, match=r"no answer within 2 s"):
            driver.is_on()
        assert driver.is_on() is False
        driver.target.deactivate(driver)
