"""The WT310E's twin: what it shows of the wiring, and what it answers; also through clients that are not ours."""

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

from drivers.analyzers.yokogawa_wt310e import YokogawaWt310eDriver
from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import VisaLink
from drivers.roles import Identity, Integration, PowerAnalyzer
from drivers.wire.ieee488 import parse_block, parse_floats
from tests.conftest import LoopThread
from twins.analyzers.yokogawa_wt310e import MODEL, Wt310e, Wt310eOptions
from twins.clock import SteppedClock, WallClock
from twins.faces.scpi import ScpiSession
from twins.models import LineOptions
from twins.wiring import Contact, Load, Site, Source, Tap, WiringError, single_phase, split_phase

IDN = b"YOKOGAWA,WT310E,C2PH13047V,F1.04\n"
EXACT = {"gain_error_pct": 0, "frequency_error_pct": 0, "phase_error_deg": 0, "noise_pct": 0}


class Bench:
    """A twin behind a relay contact in a site on stepped time. Without faces everything runs on the test's thread."""

    def __init__(self, volts: float = 240.0, amperes: float = 5.0, power_factor: float = 1.0, **options: Any) -> None:
        self.clock = SteppedClock()
        self.site = Site(self.clock)
        self.source = Source(self.site, "source", single_phase(volts), 60.0)
        self.contact = Contact(self.site, "relay", closed=True)
        self.load = Load(self.site, "load", "current", amperes, power_factor)
        self.source.feeds(Tap(self.site, "analyzer")).feeds(self.contact).feeds(self.load)
        self.twin = Wt310e(
            self.clock, self.site, name="analyzer", options=Wt310eOptions(tap="analyzer", **options), seed=7
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
        return int(self.say(":STAT:ERR?").split(",")[0])

    def pass_time(self, loop: LoopThread, seconds: float) -> None:
        loop.run(self.clock.advance(seconds))


@pytest.fixture
def exact() -> Bench:
    """A unit without error, headers off."""
    bench = Bench(**EXACT)
    bench.say(":COMM:HEAD OFF;VERB OFF")
    return bench


# --- Measuring ---------------------------------------------------------------------------------------------------------


def test_the_behaviour_has_the_role(exact):
    assert isinstance(exact.twin, PowerAnalyzer)
    assert exact.twin.identify() == Identity("YOKOGAWA", "WT310E", "C2PH13047V", "F1.04")


def test_a_unity_load_reads_its_power(exact):
    reading = exact.twin.read()
    assert (reading.voltage_v, reading.current_a, reading.power_w) == (240.0, 5.0, 1200.0)
    assert (reading.power_factor, reading.phase_deg, reading.reactive_var) == (1.0, 0.0, 0.0)
    assert reading.frequency_hz == 60.0


def test_lag_is_positive_and_lead_negative(site_loop):
    for power_factor, sign in ((0.5, 1), (-0.5, -1)):
        bench = Bench(power_factor=power_factor, **EXACT)
        reading = bench.twin.read()
        assert reading.phase_deg == sign * 60.0
        assert reading.reactive_var == pytest.approx(sign * 1039.2, abs=0.1)
        assert reading.power_w == pytest.approx(600.0)
        assert reading.power_factor == 0.5


def test_a_reversed_current_lead_turns_the_power_round(exact, site_loop):
    exact.twin.inject("current_lead_reversed")
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.read().power_w == -1200.0
    assert exact.twin.read().phase_deg == 180.0
    exact.twin.inject("current_lead_reversed", False)
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.read().power_w == 1200.0


def test_leads_between_two_legs_see_the_whole_voltage():
    clock = SteppedClock()
    site = Site(clock)
    Source(site, "grid", split_phase(), 60.0).feeds(Tap(site, "tap")).feeds(
        Load(site, "dryer", "power", 2400.0, legs=(0, 1))
    )
    across = Wt310e(clock, site, name="a", options=Wt310eOptions(tap="tap", legs=(0, 1), **EXACT))
    single = Wt310e(clock, site, name="b", options=Wt310eOptions(tap="tap", **EXACT))
    assert (across.read().voltage_v, across.read().power_w) == (240.0, 2400.0)
    assert (single.read().voltage_v, single.read().power_w) == (120.0, 1200.0)
    for legs in ((0, 2), (1, 1), (0, 1, 2), (-1,)):
        with pytest.raises(WiringError, match="legs"):
            Wt310e(clock, site, name="c", options=Wt310eOptions(tap="tap", legs=legs))


@pytest.mark.parametrize("seed", range(25))
def test_every_unit_measures_within_its_class(seed):
    clock = SteppedClock()
    site = Site(clock)
    options = MODEL.default_site(site)
    twin = MODEL.build(clock, site, name="analyzer", options=options, seed=seed)
    reading = twin.read()
    voltage, current = twin.ranges()
    assert abs(reading.voltage_v - 240) <= 0.001 * 240 + 0.0005 * voltage
    assert abs(reading.current_a - 5) <= 0.001 * 5 + 0.0005 * current
    assert abs(reading.power_w - 1200) <= 0.001 * 1200 + 0.001 * voltage * current
    assert reading.power_w != 1200 or reading.voltage_v != 240


def test_the_same_seed_reads_the_same_and_another_differs(site_loop):
    def run(seed: int) -> list[float]:
        clock = SteppedClock()
        site = Site(clock)
        twin = MODEL.build(clock, site, name="analyzer", options=MODEL.default_site(site), seed=seed)
        values = []
        for _ in range(5):
            site_loop.run(clock.advance(0.25))
            twin.read()  # an outside reader changes nothing
            values.append(twin.read().power_w)
        return values

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert len(set(run(1))) > 1


def test_no_current_has_no_phase_and_no_voltage_no_frequency(exact, site_loop):
    exact.contact.set(False)
    exact.pass_time(site_loop, 1)
    reading = exact.twin.read()
    assert (reading.voltage_v, reading.current_a, reading.power_w) == (240.0, 0.0, 0.0)
    assert reading.power_factor == reading.phase_deg == math.inf
    assert reading.frequency_hz == 60.0
    exact.source.set(on=False)
    exact.pass_time(site_loop, 1)
    assert exact.twin.read().frequency_hz == math.inf
    assert int(exact.say(":STAT:COND?")) & 1 << 4


def test_readings_change_on_the_update_grid_of_bench_time(exact, site_loop):
    exact.pass_time(site_loop, 0.3)
    exact.load.set(value=2.0)
    exact.pass_time(site_loop, 0.19)
    assert exact.twin.read().current_a == 5.0
    exact.pass_time(site_loop, 0.02)
    assert exact.twin.read().current_a == 2.0
    exact.twin.set_update_period(20)
    exact.load.set(value=3.0)
    exact.pass_time(site_loop, 19.9)
    assert exact.twin.read().current_a == 2.0
    exact.pass_time(site_loop, 0.1)
    assert exact.twin.read().current_a == 3.0


def test_whoever_follows_is_told_when_readings_change_and_not_otherwise(exact, site_loop):
    exact.pass_time(site_loop, 1)
    told = []
    exact.twin.changed.append(lambda: told.append(exact.twin.read().current_a))
    exact.pass_time(site_loop, 3600)
    assert told == []
    exact.load.set(value=4.0)
    exact.pass_time(site_loop, 1)
    assert told == [4.0]


def test_hold_freezes_what_is_shown(exact, site_loop):
    exact.say(":HOLD ON")
    exact.load.set(value=2.0)
    exact.pass_time(site_loop, 1)
    assert exact.twin.read().current_a == 5.0
    assert exact.say(":NUM:VAL? 2") == "5.000E+00"
    exact.twin.press("hold")
    assert exact.twin.read().current_a == 2.0
    assert exact.say(":HOLD?;:SAMP:HOLD?") == "0;0"


def test_numeric_hold_freezes_only_the_values_sent(exact, site_loop):
    exact.say(":NUM:HOLD ON")
    exact.load.set(value=2.0)
    exact.pass_time(site_loop, 1)
    assert exact.say(":NUM:VAL? 2") == "5.000E+00"
    assert exact.twin.read().current_a == 2.0
    exact.say(":NUM:HOLD ON")
    assert exact.say(":NUM:VAL? 2") == "2.0000E+00"


# --- Ranges ------------------------------------------------------------------------------------------------------------


def test_over_range_is_infinite_and_flagged(exact, site_loop):
    exact.twin.set_ranges(150, 5)
    exact.pass_time(site_loop, 0.25)
    reading = exact.twin.read()
    assert reading.voltage_v == reading.power_w == math.inf
    assert reading.current_a == 5.0
    assert exact.say(":NUM:VAL?").startswith("INF,5.0000E+00,INF,INF,INF,INF,INF,60.000E+00")
    assert int(exact.say(":STAT:COND?")) & (1 << 3 | 1 << 6)
    assert exact.say(":INP:CRAN?") == "1"


def test_auto_range_follows_the_load_up_and_down(exact, site_loop):
    exact.pass_time(site_loop, 1)
    assert exact.twin.ranges() == (600.0, 10.0)
    exact.load.set(value=0.02)
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.read().current_a == 0.0  # below half a percent of the range it was taken in
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.ranges()[1] == 0.05
    assert exact.twin.read().current_a == 0.02
    exact.load.set(value=18.0)
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.read().current_a == math.inf
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.ranges()[1] == 20.0
    assert exact.twin.read().current_a == 18.0


def test_a_fixed_range_stays(exact, site_loop):
    exact.twin.set_ranges(240, 4.9)
    exact.load.set(value=0.5)
    exact.pass_time(site_loop, 1)
    assert exact.twin.ranges() == (300.0, 5.0)
    assert exact.say(":INP:CURR:RANG?;AUTO?;:INP:VOLT:RANG?;AUTO?") == "5.000E+00;0;300.0E+00;0"
    with pytest.raises(OutOfRange, match="no range for"):
        exact.twin.set_ranges(601, 1)
    with pytest.raises(OutOfRange, match="no update period"):
        exact.twin.set_update_period(0.7)


def test_crest_factor_six_halves_the_ranges(exact):
    exact.say(":INP:CFAC 6;:INP:VOLT:RANG 300;:INP:CURR:RANG 250MA")
    assert exact.error() == 0
    assert exact.twin.ranges() == (300.0, 0.25)
    exact.say(":INP:VOLT:RANG 600")
    assert exact.error() == 222


def test_scaling_multiplies(exact, site_loop):
    exact.say(":INP:SCAL:VT 10;CT 2;SFAC 0.5;:INP:SCAL ON")
    assert exact.error() == 0
    exact.pass_time(site_loop, 0.25)
    reading = exact.twin.read()
    assert (reading.voltage_v, reading.current_a, reading.power_w) == (2400.0, 10.0, 12000.0)
    assert exact.say(":INP:SCAL:VT:ELEM1?;:INP:SCAL:VT:ELEM2?") == "10.00E+00"
    assert exact.error() == 114


# --- Integration -------------------------------------------------------------------------------------------------------


def test_energy_is_integrated_in_bench_time(exact, site_loop):
    exact.twin.start_integration()
    exact.pass_time(site_loop, 1800)
    exact.load.set(value=2.5)
    exact.pass_time(site_loop, 1800)
    exact.twin.stop_integration()
    exact.pass_time(site_loop, 1000)
    held = exact.twin.integrated()
    assert (held.energy_wh, held.charge_ah, held.elapsed_s) == (900.0, 3.75, 3600.0)
    assert held.state is Integration.STOPPED


def test_energy_each_way_is_kept_apart(exact, site_loop):
    exact.say(":NUM:ITEM1 WH;ITEM2 WHP;ITEM3 WHM;ITEM4 TIME;ITEM5 AHM;NUM 5")
    exact.say(":INTEG:STAR")
    exact.pass_time(site_loop, 3600)
    exact.load.set(value=-2.0)
    exact.pass_time(site_loop, 3600)
    values = exact.say(":NUM:VAL?").split(",")
    assert [float(v) for v in values] == [720.0, 1200.0, -480.0, 7200, 0.0]
    assert values[3] == "7200"


def test_a_unit_integrates_with_its_own_gain_error(site_loop):
    bench = Bench(gain_error_pct=0.05, phase_error_deg=0, noise_pct=0)
    bench.twin.start_integration()
    bench.pass_time(site_loop, 36000)
    energy = bench.twin.integrated().energy_wh
    assert energy != 12000
    assert abs(energy / 12000 - 1) <= 0.001


def test_a_timer_ends_integration(exact, site_loop):
    exact.say(":INTEG:MODE NORM;TIM 0,10,0;STAR")
    assert exact.say(":INTEG:STAT?;TIM?") == "START;0,10,0"
    assert int(exact.say(":STAT:COND?")) == 0b110
    exact.pass_time(site_loop, 3600)
    assert exact.say(":INTEG:STAT?") == "TIMEUP"
    assert exact.twin.integrated().energy_wh == 200.0
    assert exact.twin.integrated().elapsed_s == 600.0
    assert exact.twin.integrated().state is Integration.TIME_UP
    assert int(exact.say(":STAT:COND?")) == 0


def test_continuous_integration_starts_over(exact, site_loop):
    exact.say(":INTEG:MODE CONT;STAR")
    assert exact.error() == 221
    exact.say(":INTEG:TIM 1,0,0;STAR")
    exact.pass_time(site_loop, 3600 + 900)
    assert exact.say(":INTEG:STAT?") == "START"
    assert exact.twin.integrated().energy_wh == 300.0


def test_integration_is_refused_out_of_order(exact):
    steps = [
        (":INTEG:STOP", 844),
        (":INTEG:STAR", 0),
        (":INTEG:STAR", 842),
        (":INTEG:RES", 845),
        (":INP:VOLT:RANG 300", 813),
        (":INP:CURR:AUTO ON", 813),
        (":INP:CFAC 6", 813),
        (":INP:MODE DC", 813),
        (":INP:FILT:LINE ON", 813),
        (":INP:SYNC OFF", 813),
        (":INP:SCAL ON", 813),
        (":RATE 1S", 813),
        (":MEAS:AVER:STAT ON", 813),
        (":INTEG:TIM 1,0,0", 813),
        (":INTEG:MODE CONT", 813),
        (":INTEG:STOP", 0),
        (":INTEG:STAR", 0),
        (":INTEG:STOP", 0),
        (":INTEG:RES", 0),
    ]
    for message, code in steps:
        exact.say(message)
        assert (message, exact.error()) == (message, code)
    with pytest.raises(Refused, match="844") as no:
        exact.twin.stop_integration()
    assert no.value.code == 844


def test_faults_and_buttons_go_by_name(exact, site_loop):
    exact.twin.inject("gain_high")
    exact.pass_time(site_loop, 0.25)
    assert exact.twin.read().current_a == 5.1
    exact.twin.press("start")
    assert exact.twin.integrated().state is Integration.RUNNING
    exact.twin.press("stop")
    exact.twin.press("reset")
    assert exact.twin.integrated().state is Integration.RESET
    exact.twin.inject("silent")
    assert exact.say("*IDN?") == ""
    exact.twin.inject("silent", False)
    assert exact.say("*IDN?") == IDN.decode().strip()
    with pytest.raises(ValueError, match="faults are"):
        exact.twin.inject("smoke")
    with pytest.raises(ValueError, match="buttons are"):
        exact.twin.press("power")


# --- Program messages --------------------------------------------------------------------------------------------------


def test_preset_two_is_there_at_power_on():
    bench = Bench(**EXACT)
    assert bench.say(":NUM:VAL?") == (
        "240.00E+00,5.000E+00,1.2000E+03,1.2000E+03,0.0000E+03,1.0000E+00,0.0E+00,60.000E+00,60.000E+00,NAN"
    )
    assert bench.say(":NUM:NORM:HEAD?") == ("U-E1,I-E1,P-E1,S-E1,Q-E1,LAMB-E1,PHI-E1,FU-E1,FI-E1,NONE")


def test_replies_carry_headers_in_long_or_short_form():
    bench = Bench(**EXACT)
    assert bench.say(":INPUT:FILTER?") == ":INPUT:FILTER:LINE 0;FREQUENCY 0"
    assert bench.say(":inp:mode vme;mode?") == ":INPUT:MODE VMEAN"
    assert bench.say(":NUM:ITEM31?") == ":NUMERIC:NORMAL:ITEM31 U,SIGMA"
    assert bench.say(":COMM:VERB OFF;:INP:MODE?;:RATE?") == ":INP:MODE VME;:RATE 250.0E-03"
    assert bench.say(":COMM:HEAD OFF;:INP:MODE?;:NUM:NORM:ITEM31?;ITEM3?") == "VME;U,SIGM;P,1"
    assert bench.say(":INP:FILT?") == "0;0"
    assert bench.say(":INP:FILT? 1") == ""
    assert bench.error() == 108


def test_a_group_can_be_sent_back_as_it_was_answered(exact):
    exact.say(":COMM:HEAD ON;VERB ON;:INP:MODE DC;:INP:CURR:RANG 2A;:INP:FILT:LINE ON")
    answer = exact.say(":INPUT?")
    assert answer.startswith(":INPUT:")
    exact.say("*RST")
    exact.say(answer)
    assert exact.error() == 0
    assert exact.say(":INPUT?") == answer


def test_items_can_be_set_cleared_and_deleted(exact):
    exact.say(":NUM:NORM:PRES 1;NUM 3")
    assert exact.say(":NUM:VAL?") == "240.00E+00,5.000E+00,1.2000E+03"
    exact.say(":NUM:ITEM2 URAN,1;ITEM3 NONE")
    assert exact.say(":NUM:VAL?") == "240.00E+00,600.0E+00,NAN"
    exact.say(":NUM:DEL 1")
    assert exact.say(":NUM:ITEM1?;:NUM:NORM:VAL? 1") == "URAN,1;600.0E+00"
    exact.say(":NUM:CLE 1,2")
    assert exact.say(":NUM:HEAD?") == "NONE,NONE,U-E2"
    exact.say(":NUM:CLE ALL;:NUM:NUM ALL")
    assert exact.say(":NUM:VAL?") == ",".join(["NAN"] * 255)
    for preset, last in ((3, "PMP-E1"), (4, "AHM-E1")):
        exact.say(f":NUM:PRES {preset};NUM 22")
        assert last in exact.say(":NUM:HEAD?").split(",")
    assert exact.error() == 0


def test_peaks_belong_to_a_sine(exact):
    exact.say(":NUM:ITEM1 UPP;ITEM2 UMP;ITEM3 IPP;ITEM4 PPP;ITEM5 PMP;ITEM6 MATH;NUM 6")
    assert exact.say(":NUM:VAL?") == "339.41E+00,-339.41E+00,7.071E+00,2.4000E+03,0.0000E+03,1.414E+00"


def test_float_format_is_a_block_with_the_special_values(exact, site_loop):
    exact.twin.set_ranges(150, 10)
    exact.pass_time(site_loop, 0.25)
    exact.say(":NUM:FORM FLO;NUM 10")
    block, rest = parse_block(exact.say(":NUM:VAL?").encode("latin-1"))
    assert rest == b""
    assert block[:4].hex() == "7e94f56a"
    assert block[-4:].hex() == "7e951bee"
    assert parse_floats(block)[1] == 5.0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":NOSUCH 1", 113),
        (":HARM:ORD 1,50", 113),
        (":NUM:LIST:VAL?", 113),
        ("*RST?", 113),
        (":STAT:ERR 1", 113),
        ("@!", 102),
        (":RATE,1", 111),
        (":INTEG:TIM 1,,0", 103),
        (":INP:VOLT:RANG LOW", 104),
        (":COMM:HEAD", 109),
        (":INTEG:TIM 1,0", 109),
        (":COMM:HEAD ON,OFF", 108),
        ("*CLS 1", 108),
        (":NUM:ITEM0 U", 114),
        (":NUM:ITEM256 U", 114),
        (":STAT:FILT17 RISE", 114),
        (":NUM:ITEM1 UK", 141),
        (":INP:MODE AC", 141),
        (":INP:MODE 5", 128),
        (":INP:VOLT:RANG 300Q", 131),
        (":NUM:NUM 5V", 138),
        (":INP:VOLT:RANG 299", 222),
        (":NUM:NUM 256", 222),
        (":RATE 300MS", 222),
        (":INTEG:TIM 10000,0,1", 222),
        (":DISP 'x", 150),
    ],
)
def test_what_is_not_understood_has_the_devices_own_error(exact, message, code):
    exact.say(message)
    reply = exact.say(":STAT:ERR?")
    assert reply.startswith(f'{code},"')
    assert exact.say(":STAT:ERR?") == '0,"No error"'


def test_a_command_error_ends_the_message_an_execution_error_does_not(exact):
    assert exact.say(":NOSUCH;*IDN?") == ""
    assert exact.say(":INTEG:STOP;*OPC?") == "1"
    assert exact.say("*OPT?;:NOSUCH") == "NONE"


def test_the_error_queue_overflows_at_its_end(exact):
    for _ in range(20):
        exact.say(":NOSUCH")
    codes = [exact.error() for _ in range(17)]
    assert codes == [113] * 15 + [350, 0]
    exact.say(":NOSUCH;")
    exact.say(":STAT:QMES OFF")
    assert exact.say(":STAT:ERR?") == "113"
    exact.say(":NOSUCH")
    exact.say("*CLS")
    assert exact.say(":STAT:ERR?") == "0"


def test_standard_status(exact):
    assert exact.say("*ESR?;*ESR?") == "128;0"
    exact.say("*ESE 32;*SRE 32")
    exact.say(":NOSUCH")
    assert int(exact.say("*STB?")) == 4 + 32 + 64
    assert exact.say("*ESE?;*SRE?;*ESR?") == "32;32;32"
    exact.say("*OPC")
    assert exact.say("*ESR?;*OPC?;*TST?;*CAL?;*OPT?") == "1;1;0;0;NONE"
    assert exact.say("*WAI;:SYST:MOD?;SER?;FIRM?") == "WT310E;C2PH13047V;F1.04"
    assert int(exact.say(":STAT:SPOL?")) & 4


def test_the_extended_event_register_notes_updates_and_integration(exact, site_loop):
    exact.say(":STAT:FILT1 FALL;FILT2 BOTH;EESE 1")
    exact.say(":STAT:EESR?")
    assert exact.say(":STAT:EESR?") == "0"
    exact.pass_time(site_loop, 1)
    assert int(exact.say("*STB?")) & 8
    assert exact.say(":STAT:EESR?;EESR?") == "1;0"
    exact.say(":STAT:FILT1 NEV;:INTEG:STAR")
    assert exact.say(":STAT:EESR?;FILT2?") == "2;BOTH"


def test_waiting_completes_at_once_on_stepped_time(exact):
    assert exact.say(":STAT:FILT1 FALL;:STAT:EESR?;:COMM:WAIT 1;:NUM:NORM:VAL? 1").endswith(";240.00E+00")
    assert exact.say(":COMM:WAIT? 1") == "1"


def test_waiting_takes_until_the_next_update_on_real_time(site_loop):
    def build() -> tuple[WallClock, Wt310e, ScpiSession, list[tuple[Any, bytes]]]:
        clock = WallClock()
        site = Site(clock)
        twin = MODEL.build(clock, site, name="analyzer", options=MODEL.default_site(site))
        heard: list[tuple[Any, bytes]] = []
        session = ScpiSession(twin.commands, lambda data: heard.append((clock.now(), data)))
        return clock, twin, session, heard

    clock, _, session, heard = site_loop.call(build)
    site_loop.call(session.received, b":RATE 500MS;:STAT:FILT1 FALL;:STAT:EESR?\n")
    begun = clock.now()
    site_loop.call(session.received, b":COMM:WAIT 1;:NUM:VAL? 1\n*OPC?\n")
    site_loop.run(clock.run_until(begun.replace(year=begun.year + 1), enough=lambda: len(heard) == 3))
    assert heard[1][1].startswith(b"2")
    assert 0.3 < (heard[1][0] - begun).total_seconds() < 2.0
    assert heard[2][1] == b"1\n"  # what came meanwhile waited for its turn
    site_loop.run(clock.close())


def test_reset_restores_the_defaults(exact, site_loop):
    before = exact.say("*RST;:COMM:HEAD OFF;:INPUT?;:RATE?;:INTEG:MODE?;TIM?;:NUM:NUM?;:MEAS:AVER?;:HOLD?")
    exact.say(
        ":INP:MODE DC;CFAC A6;:INP:VOLT:RANG 15V;:RATE 5S;:INTEG:MODE CONT;TIM 1,2,3;:NUM:NUM 3;:MEAS:AVER:COUN 64;"
        ":HOLD ON;:INP:SYNC OFF"
    )
    assert exact.error() == 0
    after = exact.say("*RST;:COMM:HEAD OFF;:INPUT?;:RATE?;:INTEG:MODE?;TIM?;:NUM:NUM?;:MEAS:AVER?;:HOLD?")
    assert after == before


def test_an_overlong_message_is_thrown_away_whole(exact):
    exact.session.received(b"*IDN?;" * 5000)
    assert exact.say("") == ""
    assert exact.error() == 363
    assert exact.say("*IDN?") == IDN.decode().strip()


# --- Real wires, and clients that are not ours --------------------------------------------------------------------------


@pytest.fixture
def served(site_loop: LoopThread) -> Iterator[Callable[[str], tuple[Wt310e, SteppedClock, str]]]:
    faces = []

    def serve(scheme: str, address: str = "") -> tuple[Wt310e, SteppedClock, str]:
        clock = site_loop.call(SteppedClock)
        site = site_loop.call(Site, clock)
        options = site_loop.call(MODEL.default_site, site)
        twin = site_loop.call(lambda: MODEL.build(clock, site, name="analyzer", options=options))
        face = site_loop.call(MODEL.faces[scheme], twin, address, LineOptions())
        faces.append(face)
        return twin, clock, site_loop.run(face.open()).address

    yield serve
    for face in faces:
        site_loop.run(face.close())


def test_a_plain_socket_talks_to_it(served):
    _, _, address = served("tcp")
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client, client.makefile("rb") as lines:
        client.sendall(b"*ID")
        client.sendall(b"N?\r\n:NUM:VAL?\n")
        assert lines.readline() == IDN
        assert float(lines.readline().split(b",")[0]) == pytest.approx(240, rel=0.002)


def test_plain_pyserial_talks_to_it(served, tmp_path: Path):
    _, _, path = served("pty", str(tmp_path / "analyzer"))
    assert path == str(tmp_path / "analyzer")
    with serial.Serial(path, 9600, timeout=5) as port:
        port.write(b"*IDN?\n:COMM:HEAD OFF;:INP:CURR:RANG?;AUTO?\n")
        assert port.readline() == IDN
        assert port.readline() == b"10.00E+00;1\n"


@pytest.mark.parametrize("scheme", ["vxi11", "hislip", "tcp", "pty"])
def test_the_driver_and_the_behaviour_see_the_same(served, site_loop, scheme):
    twin, clock, address = served(scheme)
    resource = {
        "vxi11": f"TCPIP::{address.replace(':', ',')}::inst0::INSTR",
        "hislip": f"TCPIP::{address.replace(':', '::hislip0,')}::INSTR",
        "tcp": f"TCPIP::{address.replace(':', '::')}::SOCKET",
        "pty": f"ASRL{address}::INSTR",
    }[scheme]
    target = Target("bench")
    VisaLink(target, "visa", resource=resource, timeout=5.0)
    driver = YokogawaWt310eDriver(target, "analyzer")
    target.activate(driver)
    driver.wait = lambda seconds: site_loop.run(clock.advance(seconds))
    assert driver.identify() == twin.identify()
    driver.set_ranges(240, 5)
    driver.set_update_period(1)
    driver.wait_update()
    assert driver.read() == site_loop.call(twin.read)
    assert driver.ranges() == (300.0, 5.0)
    driver.start_integration()
    site_loop.run(clock.advance(7200))
    assert driver.integrated() == site_loop.call(twin.integrated)
    assert driver.integrated().energy_wh == pytest.approx(2400, rel=0.001)
    with pytest.raises(Refused, match="813") as no:
        driver.set_update_period(0.25)
    assert no.value.code == 813
    driver.stop_integration()
    driver.reset()
    assert driver.integrated().state is Integration.RESET
    site_loop.call(twin.inject, "silent")
    driver._instrument.timeout = 300  # that of the link as it is open
    driver.link.timeout = 0.3
    with pytest.raises(LinkLost) as lost:
        driver.read()
    assert resource in str(lost.value)
    driver.link.timeout = 5.0
    site_loop.call(twin.inject, "silent", False)
    assert driver.read() == site_loop.call(twin.read)
    target.deactivate(driver)


@pytest.mark.parametrize("scheme", ["vxi11", "hislip", "tcp", "pty"])
def test_the_driver_finds_a_link_again_that_was_cut(site_loop, tmp_path, scheme):
    clock = site_loop.call(SteppedClock)
    site = site_loop.call(Site, clock)
    twin = site_loop.call(lambda: MODEL.build(clock, site, name="analyzer", options=MODEL.default_site(site)))
    face = site_loop.call(MODEL.faces[scheme], twin, str(tmp_path / "a") if scheme == "pty" else "", LineOptions())
    address = site_loop.run(face.open()).address
    resource = {
        "vxi11": f"TCPIP::{address.replace(':', ',')}::inst0::INSTR",
        "hislip": f"TCPIP::{address.replace(':', '::hislip0,')}::INSTR",
        "tcp": f"TCPIP::{address.replace(':', '::')}::SOCKET",
        "pty": f"ASRL{address}::INSTR",
    }[scheme]
    target = Target("bench")
    VisaLink(target, "visa", resource=resource, timeout=5.0)
    driver = YokogawaWt310eDriver(target, "analyzer")
    target.activate(driver)
    driver._instrument.timeout = 300  # that of the link as it is open: some notice only by it that it is cut
    site_loop.run(face.close())
    for _ in range(2):
        with pytest.raises(LinkLost) as lost:
            driver.read()
        assert resource in str(lost.value)
    face = site_loop.call(MODEL.faces[scheme], twin, address, LineOptions())
    site_loop.run(face.open())
    assert driver.read() == site_loop.call(twin.read)
    target.deactivate(driver)
    site_loop.run(face.close())


def test_only_a_serial_line_can_be_paced():
    bench = Bench()
    for scheme in ("tcp", "vxi11", "hislip"):
        with pytest.raises(ValueError, match="only a serial line"):
            MODEL.faces[scheme](bench.twin, "", LineOptions(paced_baud=9600))


def test_a_port_in_use_is_told(served, site_loop):
    _, _, address = served("vxi11")
    with pytest.raises(OSError, match="choose another port"):
        served("vxi11", address)
    with pytest.raises(ValueError, match="HOST:PORT"):
        served("tcp", "nonsense")


# --- Fuzz --------------------------------------------------------------------------------------------------------------

_HEADERS = " ".join(
    (
        ":NUM:NORM:ITEM :NUM:VAL? :INP:VOLT:RANG :INTEG:TIM :STAT:FILT :NUM:FORM *IDN? :RATE *ESE :INTEG:STAR :INTEG:RES",
        ":COMM:WAIT :INPUT? *RST :HOLD :NUM:HOLD :STAT:ERR? :NUM:CLE :NUM:DEL :INP:SCAL:CT :INP:CFAC :NUM:PRES :NUM:NUM",
        ":MATH :COMM:HEAD *SRE :SAMP:RATE :NUM:HEAD? :INP:CURR:AUTO ITEM VAL? AUTO? RANG :INP:SCAL:VT:ELEM *TRG",
        ":INTEG:MODE :INTEG:STOP :INP:MODE *CLS *STB? :STAT:EESR? :COMM:VERB :STAT:QMES :RATE? :NUM? :INTEG? :COMM:WAIT?",
    )
).split()
_ARGUMENTS = (
    '1|255|U,1|MATH|1e999|-0|ON|#HFF|300V|5MA|A6|1,2,3|\'|"x"|ALL|NAN|FLO|AVW1|0,0,1|AUTO|250MS|\0|1,,1|#|INF||'
    "WH,SIGM|TIME,1|MAX|1e-3|CONT|" + "9" * 300
).split("|")


def _nearly(seed: int) -> bytes:
    """A message close to what the instrument understands."""
    chance = random.Random(seed)
    units = []
    for _ in range(chance.randint(1, 5)):
        header = chance.choice(_HEADERS) + chance.choice(("", "", "", "1", "0", "9" * 11, "?"))
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
    assert fuzzed.say("*RST;*CLS;*IDN?") == IDN.decode().strip()
    assert fuzzed.say(":NOSUCH") == ""
    assert fuzzed.error() == 113
