"""Twin of a Chroma 61604 AC source: drives a source of the site, trips and latches, with faces on a serial line and a raw socket.

Facts: user's manual of the 61601 to 61604 and libsigrok's `scpi-pps` profile (150/300 V, 16/8 A, 2 kVA, 15 to 1000 Hz). What
they leave open is our profile: no limit below the voltage set, trips at the rating without delay, a short circuit above
48 A, a measurement every quarter of a second, the state after a reset. The raw socket is that of a serial server.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from drivers.errors import OutOfRange, Refused
from drivers.roles import AcSource, Identity, SourceReading
from drivers.wire.chroma import SOURCE_PROTECTIONS, names_of, register_of
from twins import noise
from twins.clock import Clock, Timer
from twins.faces.endpoints import on_pty, on_tcp
from twins.faces.scpi import ScpiSession
from twins.faces.stream import Face
from twins.models import LineOptions, Model
from twins.sources.chroma_61604_commands import Commands
from twins.wiring import Load, Site, State, Tap, WiringError, single_phase
from twins.wiring import Source as Node

LOW_V, HIGH_V = 150.0, 300.0
LEAST_HZ, MOST_HZ = 15.0, 1000.0
LONGEST_DELAY_S = 5.0
GROUPS = (1, 2, 3)
_ACQUISITION = timedelta(seconds=0.25)
_HAIR = 1e-9  # what a current may be above a limit that it is meant to meet exactly


class Chroma61604Options(BaseModel):
    """Which source of the site is the instrument's output, who it is, what it can carry, how wrong it may measure (percent of
    reading, percent of range), and what it is set to when the bench starts."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    source: str
    serial: str = Field(default="616040001", pattern=r"^[A-Z0-9]{1,16}$")
    firmware: str = Field(default="1.00,1.01,1.02", pattern=r"^[A-Z0-9.,]{1,24}$")
    power_va: float = Field(default=2000.0, gt=0)
    low_range_a: float = Field(default=16.0, gt=0)
    high_range_a: float = Field(default=8.0, gt=0)
    short_circuit_a: float = Field(default=48.0, gt=0)
    gain_error_pct: float = Field(default=0.05, ge=0)
    frequency_error_pct: float = Field(default=0.005, ge=0)
    noise_pct: float = Field(default=0.005, ge=0)
    voltage_v: float = Field(default=0.0, ge=0, le=HIGH_V)
    frequency_hz: float = Field(default=60.0, ge=LEAST_HZ, le=MOST_HZ)
    on: bool = False


@dataclass(frozen=True)
class Settings:
    """What the source is set to. A current limit of 0 is none; an off phase of 360 degrees is "at once"."""

    voltage_v: float = 0.0
    frequency_hz: float = 60.0
    range_name: str = "AUTO"
    voltage_limit_v: float = HIGH_V
    current_limit_a: float = 0.0
    trip_delay_s: float = 0.0
    on_phase_deg: float = 0.0
    off_phase_deg: float = 360.0

    @property
    def low(self) -> bool:
        """Whether the low range is in force."""
        return self.range_name == "LOW" or (self.range_name == "AUTO" and self.voltage_v <= LOW_V)


@dataclass(frozen=True)
class Acquisition:
    """One measurement at the output, in the resolution in which the source reports it."""

    voltage_v: float
    current_a: float
    power_w: float
    apparent_va: float
    reactive_var: float
    power_factor: float
    frequency_hz: float
    peak_a: float
    crest_factor: float


class Chroma61604:
    """The source's behaviour. Its output stands open until it is switched on."""

    faults = ("silent", "trip_overcurrent", "output_stuck_on", "output_low")
    buttons = ("output", "local")

    def __init__(
        self,
        clock: Clock,
        site: Site,
        *,
        name: str,
        options: Chroma61604Options,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.options = options
        self.defects = defects
        self.changed: list[Callable[[], None]] = []
        self.settings = Settings()
        self.relay_closed = True
        self._clock = clock
        self._node: Node = site.source(options.source)
        if len(self._node.voltages) != 1:
            raise WiringError(
                f"{name}: {options.source!r} has {len(self._node.voltages)} legs; a 61604 is a single-phase source"
            )
        self._seed = seed
        self._injected: set[str] = set()
        self._latched: set[str] = set()
        self._on = False
        self._live = False
        self._delay: Timer | None = None
        self._saved: dict[int, Settings] = dict.fromkeys(GROUPS, Settings())
        self._identity = Identity("Chroma ATE", "61604", options.serial, options.firmware)
        self._gain_v, self._gain_a = (
            1 + options.gain_error_pct / 100 * noise.bounded(seed, name, q) for q in ("gain V", "gain A")
        )
        self._gain_hz = 1 + options.frequency_error_pct / 100 * noise.bounded(seed, name, "gain Hz")
        self._started = clock.now()
        self._acquired = 0
        self._drive()
        self._seen = self._node.state()
        self._acquisition = self._measure(self._seen, self._started)
        self.commands = Commands(self, clock)
        site.changed.append(self._site_changed)
        self.change(voltage_v=options.voltage_v, frequency_hz=options.frequency_hz)
        if options.on:
            self.on()

    def _tell(self) -> None:
        self.commands.observe()
        for hear in list(self.changed):
            hear()

    def identify(self) -> Identity:
        """Manufacturer, model, serial number and firmware versions."""
        return self._identity

    # --- Role ----------------------------------------------------------------------------------------------------------

    def set_output(self, voltage_v: float, frequency_hz: float) -> None:
        """Set voltage and frequency, and the lowest range that holds the voltage. OutOfRange beyond 300 V, 15 to 1000 Hz;
        Refused -222 above the voltage limit."""
        low = round(voltage_v, 1) <= LOW_V
        self.change(voltage_v=voltage_v, frequency_hz=frequency_hz, range_name="LOW" if low else "HIGH")

    def set_limits(self, voltage_v: float, current_a: float) -> None:
        """Set the voltage limit and the rms current that trips. OutOfRange beyond the model; Refused -222 for a limit below
        the voltage set."""
        if not current_a >= 0.01:
            raise OutOfRange(f"{self.name}: current limit {current_a} A; it lies in 0.01 to {self._most_a():g} A")
        self.change(voltage_limit_v=voltage_v, current_limit_a=current_a)

    def set_trip_delay(self, seconds: float) -> None:
        """Set for how long the current may be above its limit before it trips, 0 to 5 s in steps of 0.5 s."""
        self.change(trip_delay_s=seconds)

    def on(self) -> None:
        """Switch the output on. Refused -221 while a protection is latched."""
        if self._latched:
            raise Refused(f"{self.name}: -221, {', '.join(self.trips())} latched; clear it first", -221)
        if self._on:
            return
        self._on = True
        self._drive()
        if "trip_overcurrent" in self._injected:
            self._trip("OCP")
        self._tell()

    def off(self) -> None:
        """Switch the output off."""
        if self._on:
            self._on = False
            self._drive()
            self._tell()

    def is_on(self) -> bool:
        """Whether the source has its output switched on."""
        return self._on

    def read(self) -> SourceReading:
        """Measure the output afresh."""
        a = self.measure()
        return SourceReading(a.voltage_v, a.current_a, a.power_w, a.frequency_hz)

    def trips(self) -> tuple[str, ...]:
        """Protections that are latched, by the manual's names."""
        return names_of(register_of(self._latched, SOURCE_PROTECTIONS), SOURCE_PROTECTIONS)

    def clear_trips(self) -> None:
        """Release latched protections; the output stays off."""
        if self._latched:
            self._latched.clear()
            self._tell()

    def reset(self) -> None:
        """Back to the state after `*RST`: output off, 0 V, 60 Hz, no limits. What is latched stays latched."""
        self._on = False
        self.relay_closed = True
        self.settings = Settings()
        self._drive()
        self._tell()

    # --- Settings ------------------------------------------------------------------------------------------------------

    def _most_a(self) -> float:
        return max(self.options.low_range_a, self.options.high_range_a)

    def change(self, **new: Any) -> None:
        """Change settings (fields of `Settings`) together, in the source's resolution.

        OutOfRange beyond the model; Refused -222 where voltage, range and voltage limit don't go together. Nothing is
        changed then.
        """
        steps = {"voltage_v": 0.1, "voltage_limit_v": 0.1, "frequency_hz": 0.01, "current_limit_a": 0.01}
        for key, value in new.items():
            if key == "range_name":
                continue
            least, most = self._bounds(key)
            if not least <= value <= most:
                raise OutOfRange(f"{self.name}: {key} {value}; it lies in {least:g} to {most:g}")
            step = steps.get(key, 0.5 if key == "trip_delay_s" else 0.1)
            new[key] = round(round(value / step) * step, 2)
        settings = replace(self.settings, **new)
        top = LOW_V if settings.range_name == "LOW" else HIGH_V
        if settings.voltage_v > min(top, settings.voltage_limit_v):
            raise Refused(
                f"{self.name}: -222, {settings.voltage_v} V is above {min(top, settings.voltage_limit_v):g} V, "
                f"its {'range' if top <= settings.voltage_limit_v else 'limit'}",
                -222,
            )
        if settings != self.settings:
            self.settings = settings
            self._drive()
            self._watch()
            self._tell()

    def _bounds(self, key: str) -> tuple[float, float]:
        if key == "frequency_hz":
            return LEAST_HZ, MOST_HZ
        if key in ("voltage_v", "voltage_limit_v"):
            return 0.0, HIGH_V
        if key == "current_limit_a":
            return 0.0, self._most_a()
        return 0.0, LONGEST_DELAY_S if key == "trip_delay_s" else 360.0

    def set_relay(self, closed: bool) -> None:
        """Close or open the relay behind the output; open, nothing reaches the terminals even if the output is on."""
        self.relay_closed = closed
        self._drive()
        self._tell()

    def save(self, group: int) -> None:
        """Keep the settings in group 1, 2 or 3."""
        self._saved[group] = self.settings

    def recall(self, group: int) -> None:
        """Take the settings of group 1, 2 or 3."""
        self.settings = self._saved[group]
        self._drive()
        self._watch()
        self._tell()

    # --- Output and protection -----------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """Put on the terminals what is set."""
        live = self._on and self.relay_closed
        self._live = live or (self._live and "output_stuck_on" in self._injected)
        volts = self.settings.voltage_v * (0.9 if "output_low" in self._injected else 1.0)
        wanted = (single_phase(volts), self.settings.frequency_hz, self._live)
        if wanted != (self._node.voltages, self._node.frequency_hz, self._node.on):
            self._node.set(voltages=wanted[0], frequency_hz=wanted[1], on=wanted[2])

    def _site_changed(self) -> None:
        state = self._node.state()
        if state == self._seen:
            return
        self._catch_up()
        self._seen = state
        self._watch()
        self._tell()

    def _watch(self) -> None:
        """Trip what has to trip now, and start or stop the delay of the current limit."""
        state = self._node.state()
        amperes, apparent = abs(state.currents[0]), abs(state.power)
        limit = self.settings.current_limit_a
        above_limit = limit > 0 and amperes > limit * (1 + _HAIR)
        if not above_limit and self._delay is not None:
            self._delay.cancel()
            self._delay = None
        if not self._live or not self._on:
            return
        rating = self.options.low_range_a if self.settings.low else self.options.high_range_a
        if amperes > self.options.short_circuit_a:
            self._trip("SHT")
        elif amperes > rating * (1 + _HAIR):
            self._trip("OCP")
        elif apparent > self.options.power_va * (1 + _HAIR):
            self._trip("OPP")
        elif above_limit and self._delay is None:
            if self.settings.trip_delay_s == 0:
                self._trip("OCP")
            else:
                self._delay = self._clock.call_later(self.settings.trip_delay_s, self._delay_over)

    def _delay_over(self) -> None:
        self._delay = None
        if self._on:
            self._trip("OCP")

    def _trip(self, protection: str) -> None:
        self._latched.add(protection)
        self._on = False
        self._drive()
        self._tell()

    # --- Measuring -----------------------------------------------------------------------------------------------------

    def fetch(self) -> Acquisition:
        """The latest measurement: one was made every quarter of a second, and whenever one was asked for."""
        if self._clock.now() == self._started:
            return (
                self.measure()
            )  # the instrument was on long before the bench, and the site is still being put together
        self._catch_up()
        return self._acquisition

    def measure(self) -> Acquisition:
        """Make a measurement now."""
        self._catch_up()
        self._acquisition = self._measure(self._node.state(), self._clock.now())
        return self._acquisition

    def _catch_up(self) -> None:
        due = (self._clock.now() - self._started) // _ACQUISITION
        if due > self._acquired:
            self._acquired = due
            self._acquisition = self._measure(self._seen, self._started + due * _ACQUISITION)

    def _measure(self, state: State, at: datetime) -> Acquisition:
        top_v = LOW_V if self.settings.low else HIGH_V
        top_a = self.options.low_range_a if self.settings.low else self.options.high_range_a

        def noisy(value: float, full: float, quantity: str) -> float:
            # what is off shows nothing
            part = noise.bounded(self._seed, self.name, quantity, at) if value else 0.0
            return value + full * self.options.noise_pct / 100 * part

        s = state.power
        volts = round(max(0.0, noisy(abs(state.voltages[0]) * self._gain_v, top_v, "V")), 2)
        amperes = round(max(0.0, noisy(abs(state.currents[0]) * self._gain_a, top_a, "A")), 3)
        gain = self._gain_v * self._gain_a
        watts = round(noisy(s.real * gain, top_v * top_a, "W"), 2)
        reactive = abs(round(noisy(s.imag * gain, top_v * top_a, "var"), 2))
        apparent = round(math.hypot(watts, reactive), 2)
        peak = round(math.sqrt(2) * amperes, 3)
        return Acquisition(
            voltage_v=volts,
            current_a=amperes,
            power_w=watts,
            apparent_va=apparent,
            reactive_var=reactive,
            power_factor=round(watts / apparent, 3) if apparent else 0.0,
            frequency_hz=round(state.frequency_hz * self._gain_hz, 2),
            peak_a=peak,
            crest_factor=round(peak / amperes, 3) if amperes else 0.0,
        )

    # --- What can be done to it ----------------------------------------------------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Whether the source is deaf and mute on its wires."""
        return "silent" in self._injected

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off: deaf and mute, an overcurrent that isn't there, output contacts welded, output 10 % low."""
        if fault not in self.faults:
            raise ValueError(f"{self.name}: no fault {fault!r}; faults are {', '.join(self.faults)}")
        (self._injected.add if on else self._injected.discard)(fault)
        if fault == "trip_overcurrent" and on:
            self._trip("OCP")
        self._drive()
        self._tell()

    def press(self, button: str) -> None:
        """Press a key of the front panel: `output` switches on or off, or releases a protection; under remote control only
        `local` works."""
        if button not in self.buttons:
            raise ValueError(f"{self.name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        if button == "local":
            self.commands.remote(False)
        elif not self.commands.is_remote:
            if self._latched:
                self.clear_trips()
            elif self._on:
                self.off()
            else:
                self.on()


def _pty(behaviour: Chroma61604, address: str, line: LineOptions) -> Face:
    return on_pty(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _tcp(behaviour: Chroma61604, address: str, line: LineOptions) -> Face:
    return on_tcp(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _default_site(site: Site) -> Chroma61604Options:
    """The source feeds 5 A and is on at 240 V, 60 Hz from the start, so that a client has something to measure."""
    source = Node(site, "source", single_phase(240.0), 60.0)
    source.feeds(Tap(site, "output")).feeds(Load(site, "load", "current", 5.0))
    return Chroma61604Options(source="source", voltage_v=240.0, frequency_hz=60.0, on=True)


MODEL = Model(
    name="chroma-61604",
    role=AcSource,
    options=Chroma61604Options,
    build=Chroma61604,
    faces={"pty": _pty, "tcp": _tcp},
    default_site=_default_site,
    ranges={
        "voltage_v": (0.0, HIGH_V),
        "current_a": (0.0, 16.0),
        "power_w": (-2000.0, 2000.0),
        "frequency_hz": (LEAST_HZ, MOST_HZ),
    },
)
