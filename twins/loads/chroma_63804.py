"""Twin of a Chroma 63804 AC load: drives a load of the site within its ratings, trips and latches, with faces on a serial line
and a raw socket.

Facts: operation and programming manual and data sheet of the 63800 series (4500 W, 45 A, 50 to 350 V, 45 to 440 Hz; below
45 V, or off frequency, it does not load). What they leave open is our profile: under voltage and frequency hold the load
back only while they last, the other protections latch; currents are sines, so a peak limit caps the rms value. The raw
socket is that of a serial server.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from drivers.errors import OutOfRange, Refused
from drivers.roles import AcLoad, Identity, LoadReading
from drivers.wire.chroma import LOAD_PROTECTIONS, names_of, register_of
from twins import noise
from twins.clock import Clock
from twins.faces.endpoints import on_pty, on_tcp
from twins.faces.scpi import ScpiSession
from twins.faces.stream import Face
from twins.loads.chroma_63804_commands import Commands
from twins.models import LineOptions, Model
from twins.wiring import Load as Node
from twins.wiring import LoadKind, Site, Source, Tap, single_phase

LEAST_OHM, MOST_OHM = 1.11, 1000.0
MOST_CREST = 3.0  # peak rating over rms rating
_LEAST_HZ, _MOST_HZ = 45.0, 440.0
_HAIR = 1e-9  # what a current may be above a rating that it is meant to meet exactly


class Chroma63804Options(BaseModel):
    """Which load of the site is the instrument's input, who it is, what it can carry, how wrong it may measure (percent of
    reading, percent of range), and what it is set to when the bench starts."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    load: str
    serial: str = Field(default="638040001", pattern=r"^[A-Z0-9]{1,16}$")
    firmware: str = Field(default="1.00", pattern=r"^[A-Z0-9.]{1,8}$")
    power_w: float = Field(default=4500.0, gt=0)
    most_a: float = Field(default=45.0, gt=0)
    most_v: float = Field(default=350.0, gt=0)
    least_v: float = Field(default=45.0, ge=0)
    gain_error_pct: float = Field(default=0.05, ge=0)
    noise_pct: float = Field(default=0.005, ge=0)
    current_a: float = Field(default=0.0, ge=0)
    on: bool = False


@dataclass(frozen=True)
class Settings:
    """What the load is set to. The power factor is positive lagging, as everywhere but on the load's own wire."""

    mode: str = "CURR"
    current_a: float = 0.0
    power_w: float = 0.0
    resistance_ohm: float = MOST_OHM
    peak_a: float = math.inf
    power_factor: float = 1.0
    shaping: str = "PF"  # which of crest factor and power factor is kept

    @property
    def factor_in_force(self) -> float:
        """The power factor that the load draws at: resistance mode and crest factor alone keep it at 1."""
        return 1.0 if self.mode == "RES" or self.shaping == "CF" else self.power_factor


@dataclass(frozen=True)
class Acquisition:
    """One measurement at the input, in the resolution in which the load reports it."""

    voltage_v: float
    current_a: float
    power_w: float
    apparent_va: float
    reactive_var: float
    power_factor: float
    frequency_hz: float


class Chroma63804:
    """The load's behaviour. It draws nothing until its input is switched on."""

    faults = ("silent", "input_stuck_on", "trip_overpower", "draws_high")
    buttons = ("load",)

    def __init__(
        self,
        clock: Clock,
        site: Site,
        *,
        name: str,
        options: Chroma63804Options,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.options = options
        self.defects = defects
        self.changed: list[Callable[[], None]] = []
        self.peak_rating_a = options.most_a * MOST_CREST
        self.settings = Settings(peak_a=self.peak_rating_a)
        self._clock = clock
        self._node: Node = site.load(options.load)
        self._seed = seed
        self._injected: set[str] = set()
        self._latched: set[str] = set()
        self._on = False
        self._identity = Identity("Chroma", "63804", options.serial, options.firmware)
        self._gain_v, self._gain_a = (
            1 + options.gain_error_pct / 100 * noise.bounded(seed, name, q) for q in ("gain V", "gain A")
        )
        self._drive()
        self._seen = self._node.state()
        self.commands = Commands(self, clock)
        site.changed.append(self._site_changed)
        self.change(current_a=options.current_a)
        if options.on:
            self.on()

    def _tell(self) -> None:
        self.commands.observe()
        for hear in list(self.changed):
            hear()

    def identify(self) -> Identity:
        """Manufacturer, model, serial number and firmware version."""
        return self._identity

    # --- Role ----------------------------------------------------------------------------------------------------------

    def set_current(self, current_a: float, power_factor: float = 1.0) -> None:
        """Draw a constant rms current, power factor positive lagging. OutOfRange beyond the rating."""
        self.change(mode="CURR", shaping="PF", current_a=current_a, power_factor=power_factor)

    def set_power(self, power_w: float, power_factor: float = 1.0) -> None:
        """Draw a constant power, power factor positive lagging. OutOfRange beyond the rating."""
        self.change(mode="POW", shaping="PF", power_w=power_w, power_factor=power_factor)

    def on(self) -> None:
        """Switch the input on. Refused -221 while a protection is latched."""
        if self._latched:
            raise Refused(f"{self.name}: -221, {', '.join(sorted(self._latched))} latched; clear it first", -221)
        if self._on:
            return
        self._on = True
        self._drive()
        self._watch()
        if "trip_overpower" in self._injected:
            self._trip("OPP")
        self._tell()

    def off(self) -> None:
        """Switch the input off."""
        if self._on:
            self._on = False
            self._drive()
            self._tell()

    def is_on(self) -> bool:
        """Whether the input is on; below the least voltage it draws nothing all the same."""
        return self._on

    def read(self) -> LoadReading:
        """Measure the input afresh. Reactive power is positive where the current lags."""
        a = self.measure()
        reactive = math.copysign(a.reactive_var, a.power_factor)
        return LoadReading(a.voltage_v, a.current_a, a.power_w, a.apparent_va, reactive, a.power_factor)

    def trips(self) -> tuple[str, ...]:
        """What keeps the load from loading, by the manual's names: what is latched, and what the input is like now."""
        return names_of(register_of(self._latched | self._held_back(), LOAD_PROTECTIONS), LOAD_PROTECTIONS)

    def clear_trips(self) -> None:
        """Release latched protections; the input stays off."""
        if self._latched:
            self._latched.clear()
            self._tell()

    def reset(self) -> None:
        """Back to the state after `*RST`: input off, constant current of 0 A. What is latched stays latched."""
        self._on = False
        self.settings = Settings(peak_a=self.peak_rating_a)
        self._drive()
        self._tell()

    # --- Settings ------------------------------------------------------------------------------------------------------

    def change(self, **new: Any) -> None:
        """Change settings (fields of `Settings`) together, in the load's resolution. OutOfRange beyond the rating."""
        digits = {"power_w": 1}
        for key, value in new.items():
            if key in ("mode", "shaping"):
                continue
            least, most = self._bounds(key)
            if not least <= (abs(value) if key == "power_factor" else value) <= most:
                raise OutOfRange(f"{self.name}: {key} {value}; it lies in {least:g} to {most:g}")
            new[key] = round(value, digits.get(key, 3))
            if key == "power_factor" and abs(new[key]) == 1:
                new[key] = 1.0  # neither leads nor lags
        settings = replace(self.settings, **new)
        if settings != self.settings:
            self.settings = settings
            self._drive()
            self._watch()
            self._tell()

    def _bounds(self, key: str) -> tuple[float, float]:
        return {
            "current_a": (0.0, self.options.most_a),
            "power_w": (0.0, self.options.power_w),
            "resistance_ohm": (LEAST_OHM, MOST_OHM),
            "peak_a": (0.0, self.peak_rating_a),
            "power_factor": (0.001, 1.0),
        }[key]

    # --- Input and protection ------------------------------------------------------------------------------------------

    @property
    def _volts(self) -> float:
        voltages, legs = self._node.state().voltages, self._node.legs
        if not voltages:
            return 0.0
        return abs(voltages[legs[0]] - (voltages[legs[1]] if len(legs) == 2 else 0))

    def _held_back(self) -> set[str]:
        """Conditions of the input at which the load does not load."""
        if self._volts < self.options.least_v:
            return {"UV"}
        hertz = self._node.state().frequency_hz
        return set() if _LEAST_HZ <= hertz <= _MOST_HZ else {"FE"}

    def _drive(self) -> None:
        """Draw what is set, within the peak limit."""
        s = self.settings
        levels: dict[str, tuple[LoadKind, float]] = {
            "CURR": ("current", s.current_a),
            "POW": ("power", s.power_w),
            "RES": ("impedance", s.resistance_ohm),
        }
        kind, value = levels[s.mode]
        volts, factor = self._volts, s.factor_in_force
        if not (self._on or "input_stuck_on" in self._injected) or self._held_back():
            kind, value, factor = "current", 0.0, 1.0
        else:
            if self._amperes(kind, value, volts * abs(factor)) * math.sqrt(2) > s.peak_a:
                kind, value = "current", s.peak_a / math.sqrt(2)
            if "draws_high" in self._injected:
                value *= 0.95 if kind == "impedance" else 1.05
        if (kind, value, factor) != (self._node.kind, self._node.value, self._node.power_factor):
            self._node.set(kind=kind, value=value, power_factor=factor)

    @staticmethod
    def _amperes(kind: LoadKind, value: float, volts: float) -> float:
        """The current that a load of that kind draws; `volts` times its power factor."""
        if kind == "power":
            return value / volts
        return value if kind == "current" else volts / value

    def _site_changed(self) -> None:
        state = self._node.state()
        if state == self._seen:
            return
        self._seen = state
        self._drive()
        self._watch()
        self._tell()

    def _watch(self) -> None:
        """Trip what has to trip now."""
        if not self._on:
            return
        state = self._node.state()
        amperes = abs(state.currents[self._node.legs[0]]) if state.currents else 0.0
        if self._volts > self.options.most_v * (1 + _HAIR):
            self._trip("OVP")
        elif amperes > self.options.most_a * (1 + _HAIR):
            self._trip("OCP")
        elif abs(state.power.real) > self.options.power_w * (1 + _HAIR):
            self._trip("OPP")

    def _trip(self, protection: str) -> None:
        self._latched.add(protection)
        self._on = False
        self._drive()
        self._tell()

    # --- Measuring -----------------------------------------------------------------------------------------------------

    def measure(self) -> Acquisition:
        """Make a measurement now."""
        state = self._node.state()
        o, at = self.options, self._clock.now()

        def noisy(value: float, full: float, quantity: str) -> float:
            # what is off shows nothing
            part = noise.bounded(self._seed, self.name, quantity, at) if value else 0.0
            return value + full * o.noise_pct / 100 * part

        s = state.power
        amperes_there = abs(state.currents[self._node.legs[0]]) if state.currents else 0.0
        volts = round(max(0.0, noisy(self._volts * self._gain_v, o.most_v, "V")), 2)
        amperes = round(max(0.0, noisy(amperes_there * self._gain_a, o.most_a, "A")), 3)
        gain = self._gain_v * self._gain_a
        watts = round(max(0.0, noisy(s.real * gain, o.power_w, "W")), 2)
        reactive = abs(round(noisy(s.imag * gain, o.power_w, "var"), 2))
        apparent = round(math.hypot(watts, reactive), 2)
        factor = round(watts / apparent, 3) if apparent else 0.0
        if 0 < factor < 1 and s.imag < 0:
            factor = -factor
        return Acquisition(volts, amperes, watts, apparent, reactive, factor, round(state.frequency_hz, 2))

    # --- What can be done to it ----------------------------------------------------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Whether the load is deaf and mute on its wires."""
        return "silent" in self._injected

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off: deaf and mute, input that does not switch off, an over-power that isn't there, 5 % more drawn
        than set."""
        if fault not in self.faults:
            raise ValueError(f"{self.name}: no fault {fault!r}; faults are {', '.join(self.faults)}")
        (self._injected.add if on else self._injected.discard)(fault)
        if fault == "trip_overpower" and on:
            self._trip("OPP")
        self._drive()
        self._tell()

    def press(self, button: str) -> None:
        """Press a key of the front panel: `load` switches the input on or off, or releases a protection."""
        if button not in self.buttons:
            raise ValueError(f"{self.name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        if self._latched:
            self.clear_trips()
        elif self._on:
            self.off()
        else:
            self.on()


def _pty(behaviour: Chroma63804, address: str, line: LineOptions) -> Face:
    return on_pty(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _tcp(behaviour: Chroma63804, address: str, line: LineOptions) -> Face:
    return on_tcp(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _default_site(site: Site) -> Chroma63804Options:
    """A 240 V, 60 Hz source feeds the load, which is on at 5 A from the start."""
    source = Source(site, "source", single_phase(240.0), 60.0)
    source.feeds(Tap(site, "input")).feeds(Node(site, "load"))
    return Chroma63804Options(load="load", current_a=5.0, on=True)


MODEL = Model(
    name="chroma-63804",
    role=AcLoad,
    options=Chroma63804Options,
    build=Chroma63804,
    faces={"pty": _pty, "tcp": _tcp},
    default_site=_default_site,
    ranges={
        "voltage_v": (0.0, 350.0),
        "current_a": (0.0, 45.0),
        "power_w": (0.0, 4500.0),
        "apparent_va": (0.0, 4500.0),
        "reactive_var": (-4500.0, 4500.0),
    },
)
