"""The 63804's twin: what it draws from the wiring, when it trips, and what it answers; also to clients that are not ours."""

from __future__ import annotations

import math
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st
from labgrid import Target

from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import VisaLink
from drivers.loads.chroma_63804 import Chroma63804Driver
from drivers.roles import AcLoad, Identity, LoadReading
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.faces.scpi import ScpiSession
from twins.loads.chroma_63804 import MODEL, Chroma63804, Chroma63804Options
from twins.models import LineOptions
from twins.wiring import Contact, Load, Site, Source, Tap, WiringError, single_phase, split_phase

IDN = b"Chroma, 63804, 638040001, 1.00\n"
EXACT = {"gain_error_pct": 0, "noise_pct": 0}


class Bench:
    """A load behind a contact and a tap, in a site on stepped time. Without faces everything is on the test's thread."""

    def __init__(self, volts: float = 240.0, **options: Any) -> None:
        self.clock = SteppedClock()
        self.site = Site(self.clock)
        self.source = Source(self.site, "source", single_phase(volts), 60.0)
        self.contact = Contact(self.site, "relay", closed=True)
        self.tap = Tap(self.site, "tap")
        self.node = Load(self.site, "input", "power", 777.0)
        self.source.feeds(self.contact).feeds(self.tap).feeds(self.node)
        self.twin = Chroma63804(
            self.clock, self.site, name="load", options=Chroma63804Options(load="input", **options), seed=7
        )
        self.heard = bytearray()
        self.session = ScpiSession(self.twin.commands, self.heard.extend)

    def say(self, message: str) -> str:
        """Send a message and return what came back, without terminator."""
        self.heard.clear()
        self.session.received(message.encode("latin-1") + b"\n")
        return self.heard.decode("latin-1").rstrip("\n")

    def error(self) -> int:
        """Take the oldest error out of the queue."""
        return int(self.say("SYST:ERR?").split(",")[0])

    @property
    def amperes(self) -> float:
        """What really flows into the load."""
        return abs(self.tap.state().currents[0])

    @property
    def power(self) -> complex:
        """What the load really takes, in VA."""
        return self.tap.state().power


@pytest.fixture
def exact() -> Bench:
    """A unit without error, off."""
    return Bench(**EXACT)


# --- Input ----------------------------------------------------------------------------------------------------------------


def test_the_behaviour_has_the_role(exact):
    assert isinstance(exact.twin, AcLoad)
    assert exact.twin.identify() == Identity("Chroma", "63804", "638040001", "1.00")


def test_it_draws_nothing_from_the_start_whatever_the_wiring_says(exact):
    assert not exact.twin.is_on()
    assert (exact.node.kind, exact.node.value) == ("current", 0.0)
    assert exact.amperes == 0
    assert exact.twin.read() == LoadReading(240.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_constant_current(exact):
    exact.twin.set_current(5)
    assert exact.amperes == 0
    exact.twin.on()
    assert exact.amperes == 5
    assert exact.twin.read() == LoadReading(240.0, 5.0, 1200.0, 1200.0, 0.0, 1.0)
    exact.source.set(voltages=single_phase(120))
    assert exact.amperes == 5
    exact.twin.set_current(2.5)
    assert exact.amperes == 2.5
    exact.twin.off()
    assert exact.amperes == 0


def test_constant_power(exact):
    exact.twin.set_power(1200)
    exact.twin.on()
    assert exact.power.real == pytest.approx(1200)
    exact.source.set(voltages=single_phase(120))
    assert exact.amperes == pytest.approx(10)
    assert exact.power.real == pytest.approx(1200)


def test_lag_is_positive_and_lead_negative(exact):
    exact.twin.on()
    for factor, sign in ((0.5, 1), (-0.5, -1)):
        exact.twin.set_power(600, factor)
        assert exact.power.real == pytest.approx(600)
        assert exact.power.imag == pytest.approx(sign * 1039.23, abs=0.01)
        reading = exact.twin.read()
        assert reading.power_factor == factor
        assert reading.reactive_var == pytest.approx(sign * 1039.2, abs=0.5)
        exact.twin.set_current(4, factor)
        assert exact.power.real == pytest.approx(480)
        assert math.copysign(1, exact.power.imag) == sign
    exact.twin.set_current(4, -1)
    assert exact.power == pytest.approx(960)


def test_resistance_is_drawn_at_unity_power_factor(exact):
    exact.say("PFAC 0.5;:LOAD:RES 48;MODE RES;:LOAD ON")
    assert exact.power == pytest.approx(1200)
    assert exact.say("LOAD:MODE?;RES?;PFAC?") == "RES;48.000;0.500"


def test_without_enough_voltage_it_waits_and_goes_on_when_it_is_back(exact):
    exact.twin.set_power(600)
    exact.twin.on()
    exact.contact.set(False)
    assert exact.amperes == 0
    assert exact.twin.is_on()
    assert exact.twin.trips() == ("UV",)
    assert exact.twin.read() == LoadReading(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    exact.contact.set(True)
    assert exact.twin.trips() == ()
    assert exact.power.real == pytest.approx(600)
    exact.source.set(voltages=single_phase(44.9))
    assert exact.amperes == 0
    exact.source.set(voltages=single_phase(240), frequency_hz=500)
    assert exact.twin.trips() == ("FE",)
    assert exact.amperes == 0


def test_the_default_site_draws_five_amperes():
    site = Site(SteppedClock())
    twin = MODEL.build(site.clock, site, name="load", options=MODEL.default_site(site))
    reading = twin.read()
    assert twin.is_on()
    assert reading.current_a == pytest.approx(5, rel=0.002)
    assert reading.power_w == pytest.approx(1200, rel=0.002)


def test_between_two_legs_it_sees_the_whole_voltage():
    site = Site(SteppedClock())
    node = Load(site, "dryer", legs=(0, 1))
    Source(site, "home", split_phase(), 60.0).feeds(node)
    twin = Chroma63804(site.clock, site, name="load", options=Chroma63804Options(load="dryer", **EXACT))
    twin.set_power(2400)
    twin.on()
    assert twin.read() == LoadReading(240.0, 10.0, 2400.0, 2400.0, 0.0, 1.0)


def test_a_load_that_is_not_there_is_named():
    site = Site(SteppedClock())
    with pytest.raises(WiringError, match="no load"):
        Chroma63804(site.clock, site, name="load", options=Chroma63804Options(load="nothing"))


@pytest.mark.parametrize("seed", range(25))
def test_every_unit_measures_within_its_class(seed):
    site = Site(SteppedClock())
    twin = MODEL.build(site.clock, site, name="load", options=MODEL.default_site(site), seed=seed)
    reading = twin.read()
    assert abs(reading.voltage_v - 240) <= 0.001 * 240 + 0.001 * 350
    assert abs(reading.current_a - 5) <= 0.001 * 5 + 0.002 * 45
    assert abs(reading.power_w - 1200) <= 0.001 * 1200 + 0.002 * 4500
    assert reading.power_w != 1200 or reading.voltage_v != 240
    assert reading.apparent_va == pytest.approx(math.hypot(reading.power_w, reading.reactive_var), abs=0.1)


def test_the_same_seed_reads_the_same_and_another_differs(site_loop):
    def run(seed: int) -> list[float]:
        clock = SteppedClock()
        site = Site(clock)
        twin = MODEL.build(clock, site, name="load", options=MODEL.default_site(site), seed=seed)
        values = []
        for _ in range(5):
            site_loop.run(clock.advance(0.4))
            twin.read()  # an outside reader changes nothing
            values.append(twin.read().power_w)
        return values

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert len(set(run(1))) > 1


def test_whoever_follows_is_told_of_every_change(exact):
    told = []
    exact.twin.changed.append(lambda: told.append((exact.twin.is_on(), exact.twin.read().current_a)))
    exact.twin.set_current(3)
    exact.twin.on()
    assert told[-1] == (True, 3.0)
    exact.contact.set(False)
    assert told[-1] == (True, 0.0)
    before = len(told)
    exact.twin.set_current(3)
    exact.twin.on()
    assert len(told) == before


# --- Ratings and protection -----------------------------------------------------------------------------------------------


def test_beyond_the_ratings_nothing_is_set(exact):
    for call in (
        lambda: exact.twin.set_current(45.1),
        lambda: exact.twin.set_current(-1),
        lambda: exact.twin.set_current(math.nan),
        lambda: exact.twin.set_power(4500.1),
        lambda: exact.twin.set_current(1, 0),
        lambda: exact.twin.set_current(1, 1.1),
    ):
        with pytest.raises(OutOfRange, match="it lies in"):
            call()
    assert exact.say("LOAD:MODE?;CURR?;POW?;PFAC?") == "CURR;0.000;0.0;1.000"


@pytest.mark.parametrize(
    ("volts", "message", "trip"),
    [
        (120, "LOAD:CURR 37.5", ()),
        (120, "LOAD:CURR 38", ("OPP",)),
        (240, "LOAD:CURR 45", ("OPP",)),
        (60, "LOAD:CURR 45", ()),
        (60, "LOAD:POW 2700;MODE POW", ()),
        (60, "LOAD:POW 2800;MODE POW", ("OCP",)),
        (350, "LOAD:CURR 1", ()),
        (351, "LOAD:CURR 1", ("OVP",)),
    ],
)
def test_protection_trips_beyond_the_ratings(volts, message, trip):
    bench = Bench(volts, **EXACT)
    bench.say(message)
    assert bench.error() == 0
    bench.twin.on()
    assert bench.twin.trips() == trip
    assert bench.twin.is_on() is (trip == ())
    assert (bench.amperes == 0) is (trip != ())


def test_a_trip_latches_until_cleared(exact):
    exact.twin.set_current(20)
    exact.twin.on()
    assert exact.twin.trips() == ("OPP",)
    exact.twin.set_current(5)
    with pytest.raises(Refused, match="-221, OPP latched") as no:
        exact.twin.on()
    assert no.value.code == -221
    exact.twin.clear_trips()
    assert not exact.twin.is_on()
    exact.twin.on()
    assert exact.amperes == 5


def test_the_ratings_are_configuration():
    bench = Bench(most_a=18, power_w=1800, **EXACT)
    with pytest.raises(OutOfRange, match="0 to 18"):
        bench.twin.set_current(20)
    bench.twin.set_current(8)
    bench.twin.on()
    assert bench.twin.trips() == ("OPP",)


def test_a_peak_limit_caps_the_current(exact):
    exact.say("LOAD:CURR:PEAK:MAX 10")
    exact.twin.set_power(3000)
    exact.twin.on()
    assert exact.amperes == pytest.approx(10 / math.sqrt(2))
    exact.twin.set_power(1200)
    assert exact.amperes == pytest.approx(5)
    assert exact.say("LOAD:CURR:PEAK:MAX?") == "10.000"


def test_faults(exact):
    exact.twin.set_current(4)
    exact.twin.on()
    exact.twin.inject("draws_high")
    assert exact.amperes == pytest.approx(4.2)
    exact.twin.inject("draws_high", False)
    exact.twin.inject("input_stuck_on")
    exact.twin.off()
    assert not exact.twin.is_on()
    assert exact.amperes == 4
    exact.twin.inject("input_stuck_on", False)
    assert exact.amperes == 0
    exact.twin.inject("trip_overpower")
    assert exact.twin.trips() == ("OPP",)
    exact.twin.clear_trips()
    exact.twin.on()
    assert exact.twin.trips() == ("OPP",)
    exact.twin.inject("trip_overpower", False)
    exact.twin.inject("silent")
    assert exact.say("*IDN?") == ""
    exact.twin.inject("silent", False)
    assert exact.say("*IDN?") == IDN.decode().strip()
    with pytest.raises(ValueError, match="faults are"):
        exact.twin.inject("smoke")


def test_the_front_panel(exact):
    exact.twin.set_current(20)
    exact.twin.press("load")
    assert exact.twin.trips() == ("OPP",)
    exact.twin.press("load")
    assert exact.twin.trips() == ()
    exact.twin.set_current(2)
    exact.twin.press("load")
    assert exact.twin.is_on()
    exact.twin.press("load")
    assert not exact.twin.is_on()
    with pytest.raises(ValueError, match="buttons are"):
        exact.twin.press("power")


# --- Program messages -----------------------------------------------------------------------------------------------------


def test_the_sign_of_a_power_factor_on_the_wire_is_the_other_way_round(exact):
    exact.say(":SYST:SET:CFPF:MODE PF;:PFAC .5;:LOAD:CURR 4;:LOAD ON")
    assert exact.power.imag < 0  # leading
    assert exact.say(":PFAC?;:MEAS:POW:PFAC?;:MEAS:POW:REAC?") == "0.500;0.500;831.38"
    exact.say(":PFAC -0.5")
    assert exact.power.imag > 0
    assert exact.say(":PFAC?;:MEAS:POW:PFAC?") == "-0.500;-0.500"
    exact.say(":PFAC -1")
    assert exact.say(":PFAC?;:MEAS:POW:PFAC?") == "1.000;1.000"


def test_with_the_crest_factor_alone_the_power_factor_is_one(exact):
    exact.say(":PFAC .5;:LOAD:CURR 4;:LOAD ON;:SYST:SET:CFPF:MODE CF")
    assert exact.power == pytest.approx(960)
    assert exact.say(":SYST:SET:CFPF:MODE?;:LOAD:CFAC?") == "CF;1.414"
    exact.say(":SYST:SET:CFPF:MODE BOTH")
    assert exact.power.real == pytest.approx(480)


def test_forms_of_the_same_command(exact):
    for message in ("LOAD:MODE POW", "MODE 1", ":MODE POWER", ":LOAD:MODE pow"):
        exact.say("LOAD:MODE CURR")
        exact.say(message)
        assert exact.say("MODE?") == "POW"
    exact.say("LOAD:CURR:LEV 2A;:CURR:PEAK:MAXIMUM 100;:ABA ON;:LOAD:STAT 1")
    assert exact.say(":CURRENT?;:CURR:PEAK:MAX?;:LOAD:ABA?;:LOAD?") == "2.000;100.000;ON;ON"
    assert exact.say("MEASURE:SCALAR:VOLTAGE?;:MEAS:FREQ?;:LOAD:SCIR?") == "240.00;60.00;0"
    assert exact.error() == 0


def test_mode_level_and_power_factor_of_one_message_take_effect_together(exact):
    exact.say("LOAD:CURR 5;:LOAD ON")
    drawn = []
    exact.site.changed.append(lambda: drawn.append(round(abs(exact.power))))
    exact.say(":SYST:SET:CFPF:MODE PF;:PFAC -0.5;:LOAD:POW 600.0;:LOAD:MODE POW")
    assert set(drawn) == {1200}
    assert exact.power.real == pytest.approx(600)


def test_reset(exact):
    exact.say("LOAD:POW 600;MODE POW;:PFAC .5;:CURR:PEAK:MAX 10;:ABA ON;:SYST:SET:CFPF:MODE CF;:LOAD ON")
    exact.say("*RST")
    assert exact.say("LOAD?;:LOAD:MODE?;CURR?;POW?;PFAC?;CURR:PEAK:MAX?;:LOAD:ABA?") == (
        "OFF;CURR;0.000;0.0;1.000;135.000;OFF"
    )
    assert exact.say("SYST:SET:CFPF:MODE?") == "PF"


def test_protection_shows_in_the_registers(exact):
    exact.say("STAT:QUES:ENAB 64;*SRE 8;*CLS")
    exact.twin.set_current(20)
    exact.twin.on()
    assert exact.say("LOAD:PROT?;:STAT:QUES:COND?;:LOAD?") == "64;64;OFF"
    assert int(exact.say("*STB?")) == 8 + 64
    exact.say("LOAD ON")
    assert exact.say("*ESR?") == "16"
    assert exact.error() == -221
    exact.say("PROT:CLE")
    assert exact.say("LOAD:PROT?;:STAT:QUES?;:STAT:QUES:COND?") == "0;64;0"
    exact.contact.set(False)
    assert exact.say("LOAD:PROT?;:STAT:QUES:COND?") == "2;4"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("NOSUCH", -113),
        ("LOAD:PROT:CLE?", -113),
        ("MEAS:VOLT", -113),
        ("LOAD", -109),
        ("LOAD ON,OFF", -108),
        ("MEAS:VOLT? 1", -108),
        ("LOAD MAYBE", -141),
        ("LOAD:MODE FAST", -141),
        ("LOAD:MODE 8", -128),
        ("LOAD:CURR 5W", -131),
        ("LOAD:CURR 45.1", -222),
        ("LOAD:CURR -1", -222),
        ("LOAD:POW 4501", -222),
        ("LOAD:RES 1", -222),
        ("LOAD:CURR:PEAK:MAX 136", -222),
        ("PFAC 0", -222),
        ("PFAC 1.01", -222),
        ("LOAD:MODE VOLT", -241),
        ("LOAD:MODE 4", -241),
        ("LOAD:MODE INRUSH", -241),
        ("LOAD:SCIR ON", -241),
        ("LOAD:CFAC 2", -241),
    ],
)
def test_what_is_not_understood_or_not_modelled_has_its_error(exact, message, code):
    assert exact.say(message) == ""
    assert exact.say("SYST:ERR?").startswith(f'{code},"')
    assert exact.say("SYST:ERR?") == '0,"No error"'
    assert exact.say("LOAD?;:LOAD:MODE?;CURR?;PFAC?") == "OFF;CURR;0.000;1.000"


# --- Real wires, and clients that are not ours ------------------------------------------------------------------------------


@pytest.fixture
def served(site_loop: LoopThread) -> Iterator[Callable[..., tuple[Chroma63804, SteppedClock, str]]]:
    faces = []

    def serve(scheme: str, address: str = "") -> tuple[Chroma63804, SteppedClock, str]:
        clock = site_loop.call(SteppedClock)
        site = site_loop.call(Site, clock)
        options = site_loop.call(MODEL.default_site, site)
        twin = site_loop.call(lambda: MODEL.build(clock, site, name="load", options=options))
        face = site_loop.call(MODEL.faces[scheme], twin, address, LineOptions())
        faces.append(face)
        return twin, clock, site_loop.run(face.open()).address

    yield serve
    for face in faces:
        site_loop.run(face.close())


def test_a_plain_serial_client_works_it_as_a_public_script_works_a_real_one(served, tmp_path: Path):
    _, _, path = served("pty", str(tmp_path / "load"))
    with serial.Serial(path, 57600, timeout=5) as line:

        def say(message: str) -> None:
            line.write(message.encode() + b"\n")

        def ask(question: str) -> str:
            say(question)
            return line.readline().decode().strip()

        identity = ask("*IDN?")
        assert "Chroma" in identity
        assert "63804" in identity
        for message in (
            ":LOAD:CURR:PEAK:MAX 15",
            ":LOAD:MODE POW",
            ":LOAD:POW 1000",
            ":SYST:SET:CFPF:MODE PF",
            ":PFAC 1",
        ):
            say(message)
        say(":LOAD 1")
        assert float(ask(":MEAS:VOLT?")) == pytest.approx(240, rel=0.003)
        assert float(ask(":MEAS:CURR?")) == pytest.approx(1000 / 240, rel=0.005)
        assert float(ask(":MEAS:POW?")) == pytest.approx(1000, rel=0.005)
        assert float(ask(":MEAS:POW:REAL?")) == pytest.approx(1000, rel=0.005)
        assert float(ask(":MEAS:POW:APP?")) == pytest.approx(1000, rel=0.005)
        assert float(ask(":MEAS:POW:PFAC?")) == pytest.approx(1, abs=0.005)
        say(":LOAD:ABA ON")
        say(":PFAC .5")
        assert float(ask(":PFAC?")) == 0.5
        assert float(ask(":MEAS:POW:REAC?")) == pytest.approx(1732, rel=0.005)
        say(":LOAD 0")
        assert float(ask(":MEAS:POW?")) == 0


def test_a_plain_socket_talks_to_it(served):
    _, _, address = served("tcp")
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client, client.makefile("rb") as lines:
        client.sendall(b"*ID")
        client.sendall(b"N?\r\n:LOAD:MODE?\n")
        assert lines.readline() == IDN
        assert lines.readline() == b"CURR\n"


@pytest.mark.parametrize("scheme", ["tcp", "pty"])
def test_the_driver_works_the_twin(served, site_loop, tmp_path, scheme):
    twin, clock, address = served(scheme, str(tmp_path / "load") if scheme == "pty" else "")
    resource = f"ASRL{address}::INSTR" if scheme == "pty" else f"TCPIP::{address.replace(':', '::')}::SOCKET"
    target = Target("bench")
    VisaLink(target, "visa", resource=resource, baudrate=57600, timeout=5.0)
    driver = Chroma63804Driver(target, "load")
    target.activate(driver)
    driver.wait = lambda seconds: site_loop.run(clock.advance(seconds))
    heard: list[tuple[str, tuple[Any, ...]]] = []
    driver.commanded.append(lambda *what: heard.append(what))
    site = twin._node.site

    def drawn() -> complex:
        power: complex = site_loop.call(lambda: site.tap("input").state().power)
        return power

    assert driver.identify() == twin.identify()
    assert driver.read() == site_loop.call(twin.read)
    driver.set_power(600, 0.5)
    assert drawn() == pytest.approx(complex(600, 1039.23), abs=0.1)
    assert driver.read() == site_loop.call(twin.read)
    driver.set_current(4, -0.8)
    assert drawn() == pytest.approx(complex(768, -576), abs=0.1)
    assert driver.read() == site_loop.call(twin.read)
    driver.off()
    assert not driver.is_on()
    assert drawn() == 0
    driver.set_current(30)
    with pytest.raises(Refused, match="went off at once: OPP"):
        driver.on()
    with pytest.raises(Refused, match=r"execution error.*latched: OPP") as no:
        driver.on()
    assert no.value.code == 16
    driver.clear_trips()
    driver.set_current(2.5)
    driver.on()
    assert driver.is_on()
    assert driver.read().current_a == pytest.approx(2.5, rel=0.01)
    driver.reset()
    site_loop.call(twin.inject, "silent")
    driver._instrument.timeout = 300  # that of the link as it is open
    driver.link.timeout = 0.3
    with pytest.raises(LinkLost) as lost:
        driver.is_on()
    assert resource in str(lost.value)
    driver.link.timeout = 5.0
    site_loop.call(twin.inject, "silent", False)
    assert driver.is_on() is False
    target.deactivate(driver)
    assert [what for what, _ in heard] == [
        *("set_power", "set_current", "off", "set_current", "on", "clear_trips", "set_current", "on", "reset")
    ]
    shadow = Bench().twin  # what the driver tells is what a behaviour can be told
    for name, arguments in heard:
        getattr(shadow, name)(*arguments)


def test_faces_refuse_what_they_cannot_do(served):
    with pytest.raises(ValueError, match="only a serial line"):
        MODEL.faces["tcp"](Bench().twin, "", LineOptions(paced_baud=9600))
    with pytest.raises(ValueError, match="HOST:PORT"):
        served("tcp", "nonsense")


# --- Fuzz -----------------------------------------------------------------------------------------------------------------

_HEADERS = " ".join(
    (
        ":LOAD LOAD? LOAD:MODE :LOAD:CURR :LOAD:POW :LOAD:CURR:PEAK:MAX :PFAC :PFAC? SYST:SET:CFPF:MODE LOAD:ABA LOAD:RES",
        "MEAS:VOLT? MEAS:POW:PFAC? MEAS:POW:REAC? LOAD:PROT? LOAD:PROT:CLE *RST *CLS *ESR? *STB? STAT:QUES? STAT:QUES:PTR",
        "SYST:ERR? LOAD:SCIR LOAD:CFAC CURR MODE POW *SRE *ESE *OPC *TRG",
    )
).split()
_ARGUMENTS = (
    "ON|OFF|0|1|2.5|45|4500|-1|0.5|-0.5|CURR|POW|RES|VOLT|PF|CF|BOTH|1e999|1e-9|NAN|INF|5A|100W|48OHM|#H3|\"x|'|1,2|||\0|"
    + "9" * 300
).split("|")


def _nearly(seed: int) -> bytes:
    """A message close to what the instrument understands."""
    chance = random.Random(seed)
    units = []
    for _ in range(chance.randint(1, 5)):
        header = chance.choice(_HEADERS) + chance.choice(("", "", "", "1", "?"))
        units.append(header + chance.choice((" ", " ", " ", "", ",", "\t")) + chance.choice(_ARGUMENTS))
    message = bytearray(";".join(units).encode())
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        message[chance.randrange(len(message))] = chance.randrange(256)
    return bytes(message)


@pytest.fixture(scope="module")
def fuzzed() -> Bench:
    return Bench()


@pytest.mark.fuzz
@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.integers(0, 2**48).map(_nearly) | st.binary(max_size=60), min_size=8, max_size=8), st.integers(1, 40)
)
def test_no_input_on_a_stream_upsets_it(fuzzed, messages, size):
    data = b"\n".join(messages) + b"\n"
    for at in range(0, len(data), size):
        fuzzed.session.received(data[at : at + size])
    assert fuzzed.power.real <= 4500 * (1 + 1e-6)
    assert fuzzed.amperes == 0 or fuzzed.twin.is_on()
    assert fuzzed.say("*RST;*CLS;*IDN?") == IDN.decode().strip()
    assert fuzzed.amperes == 0
    assert fuzzed.say("NOSUCH") == ""
    assert fuzzed.error() == -113
