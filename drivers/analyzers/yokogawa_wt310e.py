"""Driver of the Yokogawa WT310E power analyzer over VISA: VXI-11, HiSLIP, serial line, raw socket.

Facts: IM WT310E-17EN. Numeric values are read as text: a float block may hold the byte that ends a message on serial
lines and sockets.
"""

from __future__ import annotations

import math
from typing import ClassVar

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from drivers.errors import OutOfRange
from drivers.roles import EnergyReading, Integration, PowerReading
from drivers.scpi import ScpiDriver
from drivers.wire.ieee488 import parse_number

_ITEMS = ("U", "I", "P", "S", "Q", "LAMB", "PHI", "FU", "WH", "AH", "TIME")
_OF_READING = 8
_VOLTAGE_RANGES = (15, 30, 60, 150, 300, 600)
_CURRENT_RANGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
_RATES = {0.1: "100MS", 0.25: "250MS", 0.5: "500MS", 1: "1S", 2: "2S", 5: "5S", 10: "10S", 20: "20S"}
_STATES = {
    "RESET": Integration.RESET,
    "START": Integration.RUNNING,
    "STOP": Integration.STOPPED,
    "TIMEUP": Integration.TIME_UP,
    "ERROR": Integration.ERROR,
}
_RESET_S = 2.0


@target_factory.reg_driver
@attr.s(eq=False)
class YokogawaWt310eDriver(ScpiDriver):
    """A `PowerAnalyzer`. Activation claims the numeric items, root-mean-square mode and crest factor 3.

    Every command reads the error queue in the same locked step; Refused carries the analyzer's code and text.
    """

    manufacturer: ClassVar[str] = "yokogawa"
    model: ClassVar[str] = "WT310E"
    error_query: ClassVar[str] = ":STAT:ERR?"

    def _set_up(self) -> None:
        self._write("*CLS")
        self._command(":STAT:QMES ON;:COMM:HEAD OFF;VERB OFF;REM ON")
        items = ";".join(f"ITEM{k} {item},1" for k, item in enumerate(_ITEMS, 1))
        self._command(f":NUM:FORM ASC;HOLD OFF;NORM:NUM {len(_ITEMS)};{items}")
        self._command(":HOLD OFF")
        if self._ask(":INP:MODE?;CFAC?") != "RMS;3":
            self._command(":INP:MODE RMS;CFAC 3")

    def _leave(self) -> None:
        self._write(":COMM:REM OFF")

    def _is_identity(self, reply: str) -> bool:
        # Readings have commas too, and may begin with a letter: NAN, INF.
        return reply.count(",") == 3 and not reply[:1].isdigit() and reply[:1] not in ("-", "N", "I")

    def _is_mine(self, manufacturer: str, model: str) -> bool:
        return manufacturer == "YOKOGAWA" and model in ("WT310E", "WT310")

    def _command(self, message: str) -> None:
        """Write a command and check the error queue, in one locked step; each in a message of its own."""
        with self.lock:
            self._ready()
            self._write(message)
            refusal = self._refusal(message)
            if refusal is not None:
                raise refusal

    # --- Role ----------------------------------------------------------------------------------------------------------

    @Driver.check_active
    def set_ranges(self, voltage_v: float | None, current_a: float | None) -> None:
        """Choose the smallest range that holds each value (volts, amperes rms), None for auto range.

        OutOfRange above the highest range, Refused 813 during integration.
        """
        voltage = self._range("VOLT", voltage_v, _VOLTAGE_RANGES, "V")
        current = self._range("CURR", current_a, _CURRENT_RANGES, "A")
        self.may("set_ranges", voltage_v, current_a)
        with self.lock:
            self._command(f"{voltage};{current}")
            self.tell("set_ranges", voltage_v, current_a)

    def _range(self, node: str, wanted: float | None, offered: tuple[float, ...], unit: str) -> str:
        if wanted is None:
            return f":INP:{node}:AUTO ON"
        for rating in offered:
            if 0 < wanted <= rating * (1 + 1e-9):
                return f":INP:{node}:RANG {rating:g}{unit}"
        raise OutOfRange(
            f"{self.link.resource}: no range for {wanted} {unit}; ranges go up to {offered[-1]} {unit}, above 0"
        )

    @Driver.check_active
    def ranges(self) -> tuple[float, float]:
        """Read the voltage and current range in force, in volts and amperes rms."""
        question = ":INP:VOLT:RANG?;:INP:CURR:RANG?"
        reply = self._ask(question)
        try:
            voltage, current = (parse_number(part) for part in reply.split(";"))
        except ValueError:
            raise self._garbled(question, reply) from None
        return voltage, current

    @Driver.check_active
    def set_update_period(self, seconds: float) -> None:
        """Choose the update period: 0.1, 0.25, 0.5, 1, 2, 5, 10 or 20 s; OutOfRange for another, Refused 813 when integrating."""
        for period, name in _RATES.items():
            if math.isclose(period, seconds, rel_tol=1e-6):
                self.may("set_update_period", seconds)
                with self.lock:
                    self._command(f":RATE {name}")
                    self.tell("set_update_period", seconds)
                return
        raise OutOfRange(f"{self.link.resource}: no update period of {seconds} s; choose one of {list(_RATES)}")

    @Driver.check_active
    def wait_update(self) -> None:
        """Wait until the analyzer has made a new set of readings (extended event bit 0, `:COMM:WAIT`)."""
        with self.lock:
            question = ":RATE?"
            reply = self._ask(question)
            try:
                period = 0.1 if reply == "AUTO" else parse_number(reply)
            except ValueError:
                raise self._garbled(question, reply) from None
            self._command(":STAT:FILT1 FALL")
            self._ask(":STAT:EESR?")
            self.wait(period)
            self._ask(":COMM:WAIT? 1")

    @Driver.check_active
    def read(self) -> PowerReading:
        """Read the latest set of readings.

        NaN where the analyzer has no data; infinity over range, and where it shows "Error": power factor and phase without
        current, frequency without voltage.
        """
        reply = self._ask(":NUM:VAL?")
        try:
            values = [parse_number(part) for part in reply.split(",")]
            if len(values) != len(_ITEMS):
                raise ValueError("count")
        except ValueError:
            raise self._garbled(":NUM:VAL?", reply) from None
        return PowerReading(*values[:_OF_READING])

    @Driver.check_active
    def start_integration(self) -> None:
        """Reset the integrator and start it, in normal mode without timer."""
        self.may("start_integration")
        with self.lock:
            if self._ask(":INTEG:STAT?") == "START":
                self._command(":INTEG:STOP")
            self._command(":INTEG:RES")
            self._command(":INTEG:MODE NORM;TIM 0,0,0")
            self._command(":INTEG:STAR")
            self.tell("start_integration")

    @Driver.check_active
    def stop_integration(self) -> None:
        """Stop the integrator and keep what it holds; Refused 844 when it does not run."""
        self.may("stop_integration")
        with self.lock:
            self._command(":INTEG:STOP")
            self.tell("stop_integration")

    @Driver.check_active
    def integrated(self) -> EnergyReading:
        """Read energy, charge, elapsed time and state of the integrator, all of one moment."""
        question = ":NUM:VAL?;:INTEG:STAT?"
        reply = self._ask(question)
        values, _, state = reply.partition(";")
        try:
            energy, charge, elapsed = (parse_number(part) for part in values.split(",")[_OF_READING:])
            return EnergyReading(energy, charge, elapsed, _STATES[state])
        except (ValueError, KeyError):
            raise self._garbled(question, reply) from None

    @Driver.check_active
    def reset(self) -> None:
        """Reset the analyzer to its defaults (`*RST`), wait for it, and set it up for the bench again."""
        self.may("reset")
        with self.lock:
            self._ready()
            self._write("*RST")
            self.wait(_RESET_S)
            self._set_up()
            self.tell("reset")
