"""The program messages of a Chroma 61604: its settings, output, protection, measurement and status.

Facts: user's manual of the 61601 to 61604; the strings that libsigrok's `scpi-pps` driver has proven on a real unit.
Settings of one message take effect together at its end. DC and waveforms other than a sine, LIST, PULSE, STEP, synthesis
and interharmonics are real commands that this twin refuses with -241.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from drivers.wire.chroma import SOURCE_PROTECTIONS, register_of
from drivers.wire.ieee488 import ProgramError, decimal, whole, word
from twins.clock import Clock
from twins.faces.scpi_commands import ScpiCommands, some, unmodelled

if TYPE_CHECKING:
    from twins.sources.chroma_61604 import Acquisition, Chroma61604

_RESET_S = 3.0
_SETTINGS = (
    ("[SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]:AC", "voltage_v", "V", 1),
    ("[SOURce]:VOLTage:LIMit:AC", "voltage_limit_v", "V", 1),
    ("[SOURce]:FREQuency[:CW]", "frequency_hz", "HZ", 2),
    ("[SOURce]:FREQuency:IMMediate", "frequency_hz", "HZ", 2),
    ("[SOURce]:CURRent:LIMit", "current_limit_a", "A", 2),
    ("[SOURce]:CURRent:DELay", "trip_delay_s", "S", 1),
    ("[SOURce]:PHASe:ON", "on_phase_deg", "", 1),
    ("[SOURce]:PHASe:OFF", "off_phase_deg", "", 1),
)
_READINGS = (
    ("VOLTage:ACDC", "voltage_v", 2),
    ("CURRent:AC", "current_a", 3),
    ("CURRent:AMPLitude:MAXimum", "peak_a", 3),
    ("CURRent:CREStfactor", "crest_factor", 3),
    ("FREQuency", "frequency_hz", 2),
    ("POWer:AC[:REAL]", "power_w", 2),
    ("POWer:AC:TOTal", "power_w", 2),
    ("POWer:AC:APParent", "apparent_va", 2),
    ("POWer:AC:REACtive", "reactive_var", 2),
    ("POWer:AC:PFACtor", "power_factor", 3),
)
# Real, and not modelled: commands, and queries where they have one.
_UNMODELLED = (
    "[SOURce]:LIST:BASE",
    "[SOURce]:LIST:COUNt",
    "[SOURce]:LIST:DWELl",
    "[SOURce]:LIST:SHAPe",
    "[SOURce]:LIST:DEGRee",
    "[SOURce]:LIST:TRIGger",
    "[SOURce]:LIST:POINts",
    "[SOURce]:LIST:VOLTage:AC:STARt",
    "[SOURce]:LIST:VOLTage:AC:END",
    "[SOURce]:LIST:VOLTage:DC:STARt",
    "[SOURce]:LIST:VOLTage:DC:END",
    "[SOURce]:LIST:FREQuency:STARt",
    "[SOURce]:LIST:FREQuency:END",
    "[SOURce]:PULSe:VOLTage:AC",
    "[SOURce]:PULSe:VOLTage:DC",
    "[SOURce]:PULSe:FREQuency",
    "[SOURce]:PULSe:SHAPe",
    "[SOURce]:PULSe:SPHase",
    "[SOURce]:PULSe:COUNt",
    "[SOURce]:PULSe:DCYCle",
    "[SOURce]:PULSe:PERiod",
    "[SOURce]:STEP:VOLTage:AC",
    "[SOURce]:STEP:VOLTage:DC",
    "[SOURce]:STEP:FREQuency",
    "[SOURce]:STEP:SHAPe",
    "[SOURce]:STEP:SPHase",
    "[SOURce]:STEP:DVOLtage:AC",
    "[SOURce]:STEP:DFRequency",
    "[SOURce]:STEP:DWELl",
    "[SOURce]:STEP:COUNt",
    "[SOURce]:VOLTage:LIMit:DC:PLUS",
    "[SOURce]:VOLTage:LIMit:DC:MINus",
    "[SOURce]:FUNCtion:SHAPe:A:THD",
    "[SOURce]:FUNCtion:SHAPe:A:AMP",
    "[SOURce]:FUNCtion:SHAPe:B",
    "[SOURce]:CURRent:INRush:STARt",
    "[SOURce]:CURRent:INRush:INTerval",
    "OUTPut:SLEW:VOLTage:AC",
    "OUTPut:SLEW:FREQuency",
    "TRIGger",
)


def _of(acquire: Callable[[], Acquisition], field: str, digits: int) -> Callable[[], str]:
    return lambda: f"{getattr(acquire(), field):.{digits}f}"


def _switched(argument: str) -> bool:
    """ON or OFF; this model takes no number for it."""
    return word(argument, ("ON", "OFF")) == "ON"


class Commands(ScpiCommands):
    """Understands program messages and acts on the source. All faces of one source share one of these."""

    def __init__(self, source: Chroma61604, clock: Clock) -> None:
        me = source.identify()
        super().__init__(
            clock,
            identity=f"{me.manufacturer},{me.model},{me.serial},{me.firmware}",
            condition=lambda: register_of(source.trips(), SOURCE_PROTECTIONS),
            silent=lambda: source.is_silent,
            reset=source.reset,
            reset_s=_RESET_S,
        )
        self._source = source
        self._held_back: dict[str, Any] = {}
        self._add_settings()
        self._add_output()
        self._add_measurement()
        self._add_system()
        for spec in _UNMODELLED:
            self.add(spec, set=unmodelled, get=unmodelled)

    def flush(self) -> None:
        """Let the settings of this message take effect together."""
        settings, self._held_back = self._held_back, {}
        if settings:
            self._source.change(**settings)

    def _add_settings(self) -> None:
        s = self._source
        for spec, key, unit, digits in _SETTINGS:
            self._add_setting(spec, key, unit, digits)

        def choose_range(argument: str) -> None:
            self._held_back["range_name"] = word(argument, ("LOW", "HIGH", "AUTO"))

        self.pair("[SOURce]:VOLTage:RANGe", choose_range, lambda: s.settings.range_name, deferring=True)

        def no_dc(argument: str) -> None:
            if decimal(argument, "V") != 0:
                raise ProgramError(241)

        self.pair("[SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]:DC", no_dc, lambda: "0.0")
        self._only("[SOURce]:FUNCtion:SHAPe", "A", ("A", "B"))
        self._only("[SOURce]:FUNCtion:SHAPe:A[:MODE]", "SINE", ("SINE", "SQUA", "CSIN"))

    def _add_setting(self, spec: str, key: str, unit: str, digits: int) -> None:
        def put(argument: str) -> None:
            self._held_back[key] = decimal(argument, unit)

        self.pair(spec, put, lambda: f"{getattr(self._source.settings, key):.{digits}f}", deferring=True)

    def _only(self, spec: str, modelled: str, choices: tuple[str, ...]) -> None:
        """A choice of which one is modelled."""

        def choose(argument: str) -> None:
            if word(argument, choices) != modelled:
                raise ProgramError(241)

        self.pair(spec, choose, lambda: modelled)

    def _add_output(self) -> None:
        s = self._source

        def switch(argument: str) -> None:
            if _switched(argument):
                s.on()
            else:
                s.off()

        self.pair("OUTPut[:STATe]", switch, lambda: "ON" if s.is_on() else "OFF")
        self.pair("OUTPut:RELay", lambda a: s.set_relay(_switched(a)), lambda: "ON" if s.relay_closed else "OFF")
        self.do("OUTPut:PROTection:CLEar", s.clear_trips)
        self._only("OUTPut:MODE", "FIXED", ("FIXED", "LIST", "PULSE", "STEP", "SYNTH", "INTERHAR"))
        self._only("OUTPut:COUPling", "AC", ("AC", "DC", "ACDC"))

    def _add_measurement(self) -> None:
        for verb, acquire in (("FETCh", self._source.fetch), ("MEASure", self._source.measure)):
            for spec, field, digits in _READINGS:
                self.ask(f"{verb}[:SCALar]:{spec}", _of(acquire, field, digits))
            for spec in ("VOLTage:DC", "CURRent:DC", "CURRent:INRush"):
                self.add(f"{verb}[:SCALar]:{spec}", get=unmodelled)

    def _add_system(self) -> None:
        s = self._source

        def group(act: Callable[[int], None]) -> Callable[[tuple[str, ...]], None]:
            return lambda arguments: act(whole(some(arguments, 1, 1)[0], 1, 3))

        self.do("SYSTem:REMote", lambda: self.remote(True))
        self.do("SYSTem:LOCal", lambda: self.remote(False))
        self.ask("TRIGger:STATe", lambda: "OFF")
        self.add("*SAV", set=group(s.save))
        self.add("*RCL", set=group(s.recall))
