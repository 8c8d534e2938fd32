"""Twin of a Yokogawa WT310E power analyzer: one element on a tap of the site, with VXI-11, Modbus TCP and serial faces.

Facts: IM WT310E-17EN; the identity is that of a real unit's reply. HiSLIP and the raw socket are conveniences of ours: a
real unit has Ethernet by VXI-11 and Modbus TCP only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from drivers.errors import OutOfRange
from drivers.roles import EnergyReading, Identity, Integration, PowerAnalyzer, PowerReading
from drivers.wire.ieee488 import parse_number
from twins.analyzers.wt310e_commands import Commands
from twins.analyzers.wt310e_element import LONGEST_TIMER_S, UPDATE_PERIODS, Element, Errors
from twins.analyzers.wt310e_items import number_of
from twins.analyzers.wt310e_registers import Wt310eRegisters
from twins.clock import Clock
from twins.faces.endpoints import host_port, on_pty, on_tcp, unpaced
from twins.faces.hislip import HislipServer
from twins.faces.modbus import tcp_face
from twins.faces.scpi import ScpiSession
from twins.faces.stream import Face
from twins.faces.vxi11 import Vxi11Server
from twins.models import LineOptions, Model
from twins.wiring import Load, Site, Source, Tap, WiringError, single_phase


class Wt310eOptions(BaseModel):
    """Where the analyzer's leads are, who it is, and how wrong it may measure (percent of reading, degrees, percent of range)."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    tap: str
    legs: tuple[int, ...] = (0,)  # voltage leads: a leg to neutral, or two legs; the current is that of the first
    serial: str = Field(default="C2PH13047V", pattern=r"^[A-Z0-9]{1,16}$")
    firmware: str = Field(default="F1.04", pattern=r"^[A-Z0-9.]{1,8}$")
    gain_error_pct: float = Field(default=0.05, ge=0)
    frequency_error_pct: float = Field(default=0.01, ge=0)
    phase_error_deg: float = Field(default=0.02, ge=0)
    noise_pct: float = Field(default=0.005, ge=0)
    current_lead_reversed: bool = False  # as somebody wired it; the fault of that name is the same, while it runs


class Wt310e:
    """The analyzer's behaviour. What its role reads is what the instrument shows: on its update grid, in its resolution."""

    faults = ("silent", "current_lead_reversed", "gain_high")
    buttons = ("hold", "start", "stop", "reset")

    def __init__(
        self,
        clock: Clock,
        site: Site,
        *,
        name: str,
        options: Wt310eOptions,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        if len(options.legs) not in (1, 2) or len(set(options.legs)) != len(options.legs) or min(options.legs) < 0:
            raise WiringError(
                f"{name}: legs {list(options.legs)}; one leg (to neutral) or two different ones, counted from 0"
            )
        self.name = name
        self.defects = defects
        self.changed: list[Callable[[], None]] = []
        self._identity = Identity("YOKOGAWA", "WT310E", options.serial, options.firmware)
        self.element = Element(
            clock,
            site,
            site.tap(options.tap),
            options.legs,
            name=name,
            seed=seed,
            errors=Errors(
                options.gain_error_pct, options.frequency_error_pct, options.phase_error_deg, options.noise_pct
            ),
            changed=self._tell,
            faults={"current_lead_reversed"} if options.current_lead_reversed else set(),
        )
        self.commands = Commands(clock, self.element, self._identity)

    def _tell(self) -> None:
        for hear in list(self.changed):
            hear()

    def identify(self) -> Identity:
        """Manufacturer, model, serial number and firmware version."""
        return self._identity

    # --- Role ----------------------------------------------------------------------------------------------------------

    def set_ranges(self, voltage_v: float | None, current_a: float | None) -> None:
        """Choose the smallest range that holds each value, None for auto range. OutOfRange above the highest, Refused 813
        during integration."""
        self.element.guard()
        voltage = self._smallest(voltage_v, self.element.voltage_ranges, "V")
        current = self._smallest(current_a, self.element.current_ranges, "A")
        self.element.set_voltage_range(voltage)
        self.element.set_current_range(current)

    def _smallest(self, wanted: float | None, offered: tuple[float, ...], unit: str) -> int | None:
        if wanted is None:
            return None
        if wanted > 0:
            for at, rating in enumerate(offered):
                if wanted <= rating * (1 + 1e-9):
                    return at
        raise OutOfRange(f"{self.name}: no range for {wanted} {unit}; ranges go up to {offered[-1]:g} {unit}")

    def ranges(self) -> tuple[float, float]:
        """Voltage and current range in force, in volts and amperes rms."""
        return self.element.voltage_range_v, self.element.current_range_a

    def set_update_period(self, seconds: float) -> None:
        """Choose the update period, one of 0.1, 0.25, 0.5, 1, 2, 5, 10, 20 s; OutOfRange for another."""
        for period in UPDATE_PERIODS:
            if math.isclose(period, seconds, rel_tol=1e-6):
                self.element.set_period(period)
                return
        raise OutOfRange(f"{self.name}: no update period of {seconds} s; choose one of {list(UPDATE_PERIODS)}")

    def reset(self) -> None:
        """Go back to the instrument's defaults, as by `*RST`, and let the integrator be empty."""
        self.element.reset()

    def _figures(self, *functions: str) -> list[float]:
        readings, integrals = self.element.shown()
        return [parse_number(number_of(f, readings, integrals, "")) for f in functions]

    def read(self) -> PowerReading:
        """The latest set of readings. NaN has no data; infinity is over range, or the instrument shows "Error" (phase and
        power factor without current, frequency without voltage)."""
        return PowerReading(*self._figures("U", "I", "P", "S", "Q", "LAMBda", "PHI", "FU"))

    def start_integration(self) -> None:
        """Reset the integrator and start it in normal mode without timer."""
        if self.element.integration is Integration.RUNNING:
            self.element.stop()
        self.element.clear()
        self.element.continuous = False
        self.element.timer_s = 0
        self.element.start()

    def stop_integration(self) -> None:
        """Stop the integrator and keep what it holds; Refused 844 when it does not run."""
        self.element.stop()

    def integrated(self) -> EnergyReading:
        """What the integrator holds: net energy, charge, whole seconds."""
        energy, charge, elapsed = self._figures("WH", "AH", "TIME")
        return EnergyReading(energy, charge, elapsed, self.element.shown()[1].state)

    # --- What can be done to it ----------------------------------------------------------------------------------------

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off: deaf and mute, the current lead the wrong way round, current 2 % high."""
        if fault not in self.faults:
            raise ValueError(f"{self.name}: no fault {fault!r}; faults are {', '.join(self.faults)}")
        self.element.set_fault(fault, on)

    def press(self, button: str) -> None:
        """Press a key of the front panel. Refused as by the bus where the instrument's state does not allow it."""
        if button not in self.buttons:
            raise ValueError(f"{self.name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        if button == "hold":
            self.element.hold(not self.element.holding)
        else:
            {"start": self.element.start, "stop": self.element.stop, "reset": self.element.clear}[button]()


def _pty(behaviour: Wt310e, address: str, line: LineOptions) -> Face:
    return on_pty(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _tcp(behaviour: Wt310e, address: str, line: LineOptions) -> Face:
    return on_tcp(lambda send: ScpiSession(behaviour.commands, send), address, line)


def _vxi11(behaviour: Wt310e, address: str, line: LineOptions) -> Face:
    unpaced("vxi11", line)
    return Vxi11Server(behaviour.commands, *host_port(address))


def _hislip(behaviour: Wt310e, address: str, line: LineOptions) -> Face:
    unpaced("hislip", line)
    return HislipServer(behaviour.commands, *host_port(address))


def _modbus(behaviour: Wt310e, address: str, line: LineOptions) -> Face:
    unpaced("modbus", line)
    return tcp_face(Wt310eRegisters(behaviour.element, behaviour.commands), address, line)


def _default_site(site: Site) -> Wt310eOptions:
    source = Source(site, "source", single_phase(240.0), 60.0)
    source.feeds(Tap(site, "analyzer")).feeds(Load(site, "load", "current", 5.0))
    return Wt310eOptions(tap="analyzer")


MODEL = Model(
    name="yokogawa-wt310e",
    role=PowerAnalyzer,
    options=Wt310eOptions,
    build=Wt310e,
    faces={"vxi11": _vxi11, "hislip": _hislip, "modbus": _modbus, "pty": _pty, "tcp": _tcp},
    default_site=_default_site,
    # Its largest ranges; DC to 100 kHz. An integration is those for the longest time that its timer takes, 10,000 h.
    ranges={
        "voltage_v": (0.0, 600.0),
        "current_a": (0.0, 20.0),
        "power_w": (-12_000.0, 12_000.0),
        "apparent_va": (0.0, 12_000.0),
        "reactive_var": (-12_000.0, 12_000.0),
        "frequency_hz": (0.1, 100_000.0),
        "voltage_range_v": (15.0, 600.0),
        "current_range_a": (0.005, 20.0),
        "integrated_energy_wh": (-12_000.0 * 10_000, 12_000.0 * 10_000),
        "integrated_charge_ah": (0.0, 20.0 * 10_000),
        "integrated_elapsed_s": (0.0, LONGEST_TIMER_S),
    },
)
