"""Driver of the Chroma 61604 AC source over VISA: serial line, or a serial server's raw socket.

Facts: user's manual of the 61601 to 61604; settings and queries that libsigrok's `scpi-pps` driver has proven on a real unit
are sent exactly as it sends them. What belongs together goes in one message, as the manual advises: in two, a voltage above
the range in force would be refused.
"""

from __future__ import annotations

from typing import ClassVar

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from drivers.errors import OutOfRange, Refused
from drivers.roles import SourceReading
from drivers.scpi import ScpiDriver
from drivers.wire.chroma import SOURCE_PROTECTIONS, names_of

_LOW_V, _HIGH_V = 150.0, 300.0
_LEAST_HZ, _MOST_HZ = 15.0, 1000.0
_MOST_A = 16.0
_LONGEST_DELAY_S = 5.0
_RESET_S = 3.0


@target_factory.reg_driver
@attr.s(eq=False)
class Chroma61604Driver(ScpiDriver):
    """An `AcSource`. Activation takes the source to remote control and changes nothing of its output.

    Every command reads the error queue in the same locked step; Refused carries the source's code and text.
    """

    manufacturer: ClassVar[str] = "chroma"
    model: ClassVar[str] = "61604"

    def _set_up(self) -> None:
        self._write("SYST:REM")
        self._write("*CLS")

    def _leave(self) -> None:
        self._write("SYST:LOC")

    @Driver.check_active
    def set_output(self, voltage_v: float, frequency_hz: float) -> None:
        """Set voltage (0 to 300 V rms, in steps of 0.1 V) and frequency (15 to 1000 Hz, 0.01 Hz), and the lowest range for it.

        OutOfRange beyond the model's own limits; Refused -222 above the limit that was set.
        """
        self._within("voltage", voltage_v, 0.0, _HIGH_V, "V")
        self._within("frequency", frequency_hz, _LEAST_HZ, _MOST_HZ, "Hz")
        name = "LOW" if round(voltage_v, 1) <= _LOW_V else "HIGH"
        with self.commanding("set_output", voltage_v, frequency_hz):
            self._command(f":SOUR:VOLT:AC {voltage_v:.1f};:SOUR:VOLT:RANG {name};:SOUR:FREQ {frequency_hz:.2f}")

    @Driver.check_active
    def set_limits(self, voltage_v: float, current_a: float) -> None:
        """Set the voltage limit (0 to 300 V, 0.1 V) and the rms current that trips (0.01 to 16 A, 0.01 A).

        In the high range the source itself trips above 8 A. Refused -222 where the voltage set is above the limit.
        """
        self._within("voltage limit", voltage_v, 0.0, _HIGH_V, "V")
        self._within("current limit", current_a, 0.01, _MOST_A, "A")  # 0 would switch the limit off
        with self.commanding("set_limits", voltage_v, current_a):
            self._command(f":SOUR:VOLT:LIM:AC {voltage_v:.1f};:SOUR:CURR:LIM {current_a:.2f}")

    @Driver.check_active
    def set_trip_delay(self, seconds: float) -> None:
        """Set for how long the current may be above its limit before it trips: 0 to 5 s, in steps of 0.5 s."""
        self._within("trip delay", seconds, 0.0, _LONGEST_DELAY_S, "s")
        self.may("set_trip_delay", seconds)
        with self.lock:
            self._command(f":SOUR:CURR:DEL {seconds:.1f}")
            self.tell("set_trip_delay", seconds)

    def _within(self, what: str, value: float, least: float, most: float, unit: str) -> None:
        if not least <= value <= most:
            raise OutOfRange(f"{self.link.resource}: {what} {value} {unit}; it lies in {least:g} to {most:g} {unit}")

    @Driver.check_active
    def on(self) -> None:
        """Close the output relay. Refused while a protection is latched, and where one trips at once; the message names it."""
        self.may("on")
        with self.lock:
            try:
                self._command(":OUTP ON")
            except Refused as no:
                held = ", ".join(self.trips())
                raise Refused(f"{no}; latched: {held}, clear it first" if held else str(no), no.code) from None
            self.tell("on")
            if not self._switch(":OUTP?"):
                tripped = ", ".join(self.trips()) or "no protection named"
                raise Refused(f"{self.link.resource}: the output went off at once: {tripped}")

    @Driver.check_active
    def off(self) -> None:
        """Open the output relay."""
        self.may("off")
        with self.lock:
            self._command(":OUTP OFF")
            self.tell("off")

    @Driver.check_active
    def is_on(self) -> bool:
        """Read whether the output relay is closed, as the source says (`OUTP?`)."""
        return self._switch(":OUTP?")

    @Driver.check_active
    def read(self) -> SourceReading:
        """Measure afresh: voltage, and then current, power and frequency of the same acquisition."""
        with self.lock:
            voltage = self._number(":MEAS:VOLT:ACDC?")
            current = self._number(":FETC:CURR:AC?")
            power = self._number(":FETC:POW:AC?")
            return SourceReading(voltage, current, power, self._number(":FETC:FREQ?"))

    @Driver.check_active
    def trips(self) -> tuple[str, ...]:
        """Read the protections that are latched: OVP, INP, OCP, FAN, SHT (output short), OTP, OPP, INT-DD, INT-AD."""
        question = ":STAT:QUES:COND?"
        with self.lock:
            register = self._whole(question)
            try:
                return names_of(register, SOURCE_PROTECTIONS)
            except ValueError:
                raise self._garbled(question, str(register)) from None

    @Driver.check_active
    def clear_trips(self) -> None:
        """Release latched protections (`OUTP:PROT:CLE`); the output stays off."""
        self.may("clear_trips")
        with self.lock:
            self._command(":OUTP:PROT:CLE")
            self.tell("clear_trips")

    @Driver.check_active
    def reset(self) -> None:
        """Reset the source (`*RST`): output off, 0 V, 60 Hz, no limits. Waits the 3 s that the manual asks for."""
        with self.commanding("reset"):
            self._ready()
            self._write("*RST")
            self.wait(_RESET_S)
            refusal = self._refusal("*RST")
            if refusal is not None:
                raise refusal
            self._set_up()
