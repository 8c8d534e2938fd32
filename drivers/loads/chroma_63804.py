"""Driver of the Chroma 63804 AC load over VISA: a serial line at 57600 baud.

Facts: operation and programming manual of the 63800 series, and a public driver of a real 63802 for the headers. No error
queue is documented; refusals are found by the standard event status register (`*ESR?`). The load counts a leading power
factor positive, the role a lagging one: the sign is turned here.
"""

from __future__ import annotations

import math
from typing import ClassVar

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory

from drivers.errors import OutOfRange, Refused
from drivers.roles import LoadReading
from drivers.scpi import ScpiDriver
from drivers.wire.chroma import LOAD_PROTECTIONS, names_of, turned_sign

_MOST_A = 45.0
_MOST_W = 4500.0
_EVENTS = {32: "command error", 16: "execution error", 8: "device dependent error"}
_RESET_S = 3.0


@target_factory.reg_driver
@attr.s(eq=False)
class Chroma63804Driver(ScpiDriver):
    """An `AcLoad`. Activation changes nothing of what it draws. Give the link `baudrate: 57600`.

    Every command reads the event status in the same locked step; Refused carries its bits as the code.
    """

    manufacturer: ClassVar[str] = "chroma"
    model: ClassVar[str] = "63804"

    def _refusal(self, message: str, lead: str = "") -> Refused | None:
        self._write(f"{lead}*ESR?")
        events = self._event_status()
        said = [text for bit, text in _EVENTS.items() if events & bit]
        if not said:
            return None
        return Refused(f"{self.link.resource}: {message!r} refused: {' and '.join(said)} (*ESR? {events})", events)

    def _event_status(self) -> int:
        reply = self._read("*ESR?")
        if not reply.strip().isdigit():
            raise self._garbled("*ESR?", reply)
        return int(reply)

    @Driver.check_active
    def set_current(self, current_a: float, power_factor: float = 1.0) -> None:
        """Draw a constant rms current: 0 to 45 A, power factor within [-1, 0) or (0, 1], positive lagging."""
        self._check("current", current_a, _MOST_A, "A", power_factor)
        with self.commanding("set_current", current_a, power_factor):
            self._command(f"{self._factor(power_factor)};:LOAD:CURR {current_a:.3f};:LOAD:MODE CURR")

    @Driver.check_active
    def set_power(self, power_w: float, power_factor: float = 1.0) -> None:
        """Draw a constant power: 0 to 4500 W, power factor within [-1, 0) or (0, 1], positive lagging."""
        self._check("power", power_w, _MOST_W, "W", power_factor)
        with self.commanding("set_power", power_w, power_factor):
            self._command(f"{self._factor(power_factor)};:LOAD:POW {power_w:.1f};:LOAD:MODE POW")

    def _check(self, what: str, value: float, most: float, unit: str, power_factor: float) -> None:
        if not 0 <= value <= most:
            raise OutOfRange(f"{self.link.resource}: {what} {value} {unit}; it lies in 0 to {most:g} {unit}")
        if not 0.001 <= abs(power_factor) <= 1:
            raise OutOfRange(
                f"{self.link.resource}: power factor {power_factor}; it lies in [-1, -0.001] or [0.001, 1]"
            )

    def _factor(self, power_factor: float) -> str:
        return f":SYST:SET:CFPF:MODE PF;:PFAC {turned_sign(power_factor):.3f}"

    @Driver.check_active
    def on(self) -> None:
        """Switch the input on. Refused while a protection is latched, and where one trips at once; the message names it."""
        self.may("on")
        with self.lock:
            try:
                self._command(":LOAD ON")
            except Refused as no:
                held = ", ".join(self.trips())
                raise Refused(f"{no}; latched: {held}, clear it first" if held else str(no), no.code) from None
            self.tell("on")
            if not self._switch(":LOAD?"):
                tripped = ", ".join(self.trips()) or "no protection named"
                raise Refused(f"{self.link.resource}: the input went off at once: {tripped}")

    @Driver.check_active
    def off(self) -> None:
        """Switch the input off."""
        self.may("off")
        with self.lock:
            self._command(":LOAD OFF")
            self.tell("off")

    @Driver.check_active
    def is_on(self) -> bool:
        """Read whether the input is on (`LOAD?`)."""
        return self._switch(":LOAD?")

    @Driver.check_active
    def read(self) -> LoadReading:
        """Measure afresh. Reactive power has the sign of the power factor: positive where the current lags."""
        with self.lock:
            voltage = self._number(":MEAS:VOLT?")
            current = self._number(":MEAS:CURR?")
            power = self._number(":MEAS:POW:REAL?")
            apparent = self._number(":MEAS:POW:APP?")
            reactive = self._number(":MEAS:POW:REAC?")
            factor = turned_sign(self._number(":MEAS:POW:PFAC?"))
        return LoadReading(voltage, current, power, apparent, math.copysign(reactive, factor), factor)

    @Driver.check_active
    def trips(self) -> tuple[str, ...]:
        """Read the conditions that keep the load from loading: FE, UV, OVP, OVPP, OCP, OPP, OTP and so on (`LOAD:PROT?`)."""
        question = ":LOAD:PROT?"
        with self.lock:
            register = self._whole(question)
            try:
                return names_of(register, LOAD_PROTECTIONS)
            except ValueError:
                raise self._garbled(question, str(register)) from None

    @Driver.check_active
    def clear_trips(self) -> None:
        """Release latched protections (`LOAD:PROT:CLE`); the input stays off."""
        self.may("clear_trips")
        with self.lock:
            self._command(":LOAD:PROT:CLE")
            self.tell("clear_trips")

    @Driver.check_active
    def reset(self) -> None:
        """Reset the load (`*RST`): input off, constant current of 0 A at power factor 1."""
        with self.commanding("reset"):
            self._ready()
            self._write("*RST")
            self.wait(_RESET_S)
            refusal = self._refusal("*RST")
            if refusal is not None:
                raise refusal
            self._set_up()
