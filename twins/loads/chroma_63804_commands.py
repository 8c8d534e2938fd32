"""The program messages of a Chroma 63804: its modes, levels, power factor, protection, measurement and status.

Facts: operation and programming manual of the 63800 series, and a public driver of a real 63802. The error queue and the
reply of `LOAD?` are our profile. DC, RLC, inrush and rectified modes, the short circuit and crest factors other than a
sine's are real commands that this twin refuses with -241.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from drivers.wire.chroma import LOAD_PROTECTIONS, register_of, turned_sign
from drivers.wire.ieee488 import ProgramError, boolean, decimal, word
from twins.clock import Clock
from twins.faces.scpi_commands import ScpiCommands, some, unmodelled

if TYPE_CHECKING:
    from twins.loads.chroma_63804 import Acquisition, Chroma63804

_RESET_S = 3.0
_MODES = ("CURR", "POW", "VOLT", "RES", "RLC", "RLCPOW", "INRUSH", "RECT")
_LONG_MODES = {"CURRENT": "CURR", "POWER": "POW", "VOLTAGE": "VOLT", "RESISTANCE": "RES", "RLCP": "RLCPOW"}
_MODELLED = ("CURR", "POW", "RES")
_LEVELS = (
    ("[LOAD]:CURRent[:LEVel]", "current_a", "A", 3),
    ("[LOAD]:CURRent:PEAK:MAXimum", "peak_a", "A", 3),
    ("[LOAD]:POWer[:LEVel]", "power_w", "W", 1),
    ("[LOAD]:RESistance[:LEVel]", "resistance_ohm", "OHM", 3),
)
_READINGS: tuple[tuple[str, Callable[[Acquisition], float], int], ...] = (
    ("VOLTage", lambda a: a.voltage_v, 2),
    ("CURRent", lambda a: a.current_a, 3),
    ("POWer[:REAL]", lambda a: a.power_w, 2),
    ("POWer:APParent", lambda a: a.apparent_va, 2),
    ("POWer:REACtive", lambda a: a.reactive_var, 2),
    ("POWer:PFACtor", lambda a: turned_sign(a.power_factor), 3),
    ("FREQuency", lambda a: a.frequency_hz, 2),
)
_QUESTIONABLE = {"FE": 1, "FREQ ERR": 2, "UV": 4, "OVP": 8, "OCP": 32, "OPP": 64}


class Commands(ScpiCommands):
    """Understands program messages and acts on the load. All faces of one load share one of these."""

    def __init__(self, load: Chroma63804, clock: Clock) -> None:
        me = load.identify()
        super().__init__(
            clock,
            identity=f"{me.manufacturer}, {me.model}, {me.serial}, {me.firmware}",
            condition=lambda: sum(_QUESTIONABLE.get(name, 0) for name in load.trips()),
            silent=lambda: load.is_silent,
            reset=self._reset,
            reset_s=_RESET_S,
        )
        self._load = load
        self._bandwidth = False
        self._held_back: dict[str, Any] = {}
        self._add_load()
        self._add_levels()
        self._add_measurement()

    def flush(self) -> None:
        """Let the settings of this message take effect together."""
        settings, self._held_back = self._held_back, {}
        if settings:
            self._load.change(**settings)

    def _reset(self) -> None:
        self._bandwidth = False
        self._load.reset()

    def _add_load(self) -> None:
        load = self._load

        def switch(argument: str) -> None:
            if boolean(argument):
                load.on()
            else:
                load.off()

        def bandwidth(argument: str) -> None:
            self._bandwidth = boolean(argument)

        def short(argument: str) -> None:
            if boolean(argument):
                raise ProgramError(241)

        self.pair("LOAD[:STATe]", switch, lambda: "ON" if load.is_on() else "OFF")
        self.pair("[LOAD]:ABA", bandwidth, lambda: "ON" if self._bandwidth else "OFF")
        self.pair("[LOAD]:SCIRcuit", short, lambda: "0")
        self.ask("[LOAD]:PROTect", lambda: str(register_of(load.trips(), LOAD_PROTECTIONS)))
        self.do("[LOAD]:PROTect:CLEar", load.clear_trips)
        self.pair("[LOAD]:MODE", self._choose_mode, lambda: load.settings.mode, deferring=True)

    def _choose_mode(self, argument: str) -> None:
        upper = argument.upper()
        upper = _LONG_MODES.get(upper, upper)
        mode = _MODES[int(upper)] if upper in tuple("01234567") else word(upper, _MODES)
        if mode not in _MODELLED:
            unmodelled()
        self._held_back["mode"] = mode

    def _add_levels(self) -> None:
        load = self._load
        for spec, key, unit, digits in _LEVELS:
            self._add_level(spec, key, unit, digits)

        def shape(argument: str) -> None:
            self._held_back["shaping"] = word(argument, ("CF", "PF", "BOTH"))

        def power_factor(argument: str) -> None:
            self._held_back["power_factor"] = turned_sign(decimal(argument))

        def crest_factor(argument: str) -> None:
            if not math.isclose(decimal(argument), math.sqrt(2), abs_tol=0.01):
                raise ProgramError(241)

        self.pair("SYSTem:SETup:CFPF:MODE", shape, lambda: load.settings.shaping, deferring=True)
        self.pair(
            "[LOAD]:PFACtor",
            power_factor,
            lambda: f"{turned_sign(load.settings.power_factor):.3f}",
            deferring=True,
        )
        self.pair("[LOAD]:CFACtor", crest_factor, lambda: "1.414")

    def _add_level(self, spec: str, key: str, unit: str, digits: int) -> None:
        def put(argument: str) -> None:
            self._held_back[key] = decimal(argument, unit)

        self.pair(spec, put, lambda: f"{getattr(self._load.settings, key):.{digits}f}", deferring=True)

    def _add_measurement(self) -> None:
        for spec, pick, digits in _READINGS:
            self._add_reading(spec, pick, digits)

    def _add_reading(self, spec: str, pick: Callable[[Acquisition], float], digits: int) -> None:
        def answer(arguments: tuple[str, ...]) -> str:
            some(arguments, 0, 0)
            return f"{pick(self._load.measure()):.{digits}f}"

        self.add(f"MEASure[:SCALar]:{spec}", get=answer)
