"""Driver of the Yokogawa WT310E power analyzer over VISA: VXI-11, HiSLIP, serial line, raw socket.

Facts: IM WT310E-17EN. Numeric values are read as text: a float block may hold the byte that ends a message on serial
lines and sockets.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import attr
import pyvisa
from labgrid.driver import Driver
from labgrid.factory import target_factory
from pyvisa.constants import BufferOperation, StatusCode
from pyvisa.errors import VisaIOError

from drivers.device import DeviceDriver
from drivers.errors import LinkLost, OutOfRange, Refused
from drivers.links import claim, holder_of
from drivers.roles import EnergyReading, Identity, Integration, PowerReading
from drivers.wire.ieee488 import parse_error, parse_number

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
_MOST_STALE = 64  # replies that may still be under way after a time-out


def _timed_out(no: BaseException | None) -> bool:
    return isinstance(no, VisaIOError) and no.error_code == StatusCode.error_timeout


@target_factory.reg_driver
@attr.s(eq=False)
class YokogawaWt310eDriver(DeviceDriver):
    """A `PowerAnalyzer`. Activation claims the numeric items, root-mean-square mode and crest factor 3.

    Every command reads the error queue in the same locked step; Refused carries the analyzer's code and text. LinkLost
    names the VISA resource. A lost link is opened and set up anew by the next call, and what was late is never taken
    for an answer.
    """

    bindings = {"link": "VisaLink"}  # noqa: RUF012 - labgrid's way to declare it

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._instrument: Any = None
        self._manager: Any = None

    def on_activate(self) -> None:
        """Open the link and set the analyzer up. LinkLost where nobody or somebody else answers."""
        with self.lock:
            self._open()

    def on_deactivate(self) -> None:
        """Give the front panel back and close the link."""
        with self.lock:
            if self._instrument is not None:
                with contextlib.suppress(LinkLost):
                    self._write(":COMM:REM OFF")
            self._close()

    # --- Link ----------------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._connect()
        try:
            self._resynchronise()
            self._set_up()
        except BaseException:
            self._close()
            raise

    def _connect(self) -> None:
        link = self.link
        milliseconds = round(link.timeout * 1000)
        try:
            self._manager = pyvisa.ResourceManager("@py")
            self._instrument = self._manager.open_resource(
                link.resource,
                open_timeout=milliseconds,
                timeout=milliseconds,
                read_termination="\n",
                write_termination="\n",
                **({"baud_rate": link.baudrate} if self._serial else {}),
            )
            if self._serial:
                claim(self._instrument)
                self._instrument.flush(BufferOperation.discard_read_buffer)
        except Exception as no:  # pyvisa-py raises whatever went wrong, even a bare Exception
            self._close()
            who = holder_of(link.resource[4:].split("::")[0]) if self._serial else ""
            raise LinkLost(
                f"{link.resource}: cannot be opened ({no or type(no).__name__}){who}; check address, cable and power"
            ) from no

    @property
    def _serial(self) -> bool:
        return bool(self.link.resource.upper().startswith("ASRL"))

    def _close(self) -> None:
        instrument, self._instrument = self._instrument, None
        if instrument is not None:
            with contextlib.suppress(Exception):
                instrument.close()

    def _resynchronise(self) -> None:
        """Ask for the identity and drop whatever comes before it: replies to what was asked before a time-out."""
        self._write("\n*IDN?" if self._serial else "*IDN?")  # NL ends what a cut line left half said
        for _ in range(_MOST_STALE):
            reply = self._read("*IDN?")
            if reply.count(",") == 3 and not reply[:1].isdigit() and reply[:1] not in ("-", "N", "I"):
                break
        else:
            raise LinkLost(f"{self.link.resource}: no answer to *IDN? among {_MOST_STALE} replies")
        manufacturer, model, _, _ = reply.split(",")
        if manufacturer != "YOKOGAWA" or model not in ("WT310E", "WT310"):
            raise LinkLost(
                f"{self.link.resource}: answers as {reply!r}, not as a Yokogawa WT310E; check which device is there"
            )

    def _set_up(self) -> None:
        self._write("*CLS")
        self._command(":STAT:QMES ON;:COMM:HEAD OFF;VERB OFF;REM ON")
        items = ";".join(f"ITEM{k} {item},1" for k, item in enumerate(_ITEMS, 1))
        self._command(f":NUM:FORM ASC;HOLD OFF;NORM:NUM {len(_ITEMS)};{items}")
        self._command(":HOLD OFF")
        if self._ask(":INP:MODE?;CFAC?") != "RMS;3":
            self._command(":INP:MODE RMS;CFAC 3")

    def _write(self, message: str) -> None:
        data = message.encode("ascii") + b"\n"
        if self.link.wire_log is not None:
            self.link.wire_log("tx", data)
        try:
            self._instrument.write_raw(data)
        except Exception as no:
            raise self._lost(message, no) from no

    def _read(self, question: str) -> str:
        try:
            data: bytes = self._instrument.read_raw()
        except Exception as no:
            raise self._lost(question, no) from no
        if self.link.wire_log is not None:
            self.link.wire_log("rx", data)
        try:
            return data.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError as no:
            raise self._lost(question, no) from no

    def _lost(self, message: str, no: Exception) -> LinkLost:
        self._close()
        what = f"no answer within {self.link.timeout:g} s" if _timed_out(no) else f"{no or type(no).__name__}"
        return LinkLost(f"{self.link.resource}: {message!r}: {what}; check cable and power")

    def _garbled(self, question: str, reply: str) -> LinkLost:
        self._close()
        return LinkLost(f"{self.link.resource}: {question!r} answered by {reply[:80]!r}; check baud rate and cable")

    def _ready(self) -> None:
        if self._instrument is None:
            self._open()

    def _ask(self, question: str) -> str:
        """Ask. A question that the analyzer refuses stays without answer: after a time-out the error queue tells which."""
        with self.lock:
            self._ready()
            try:
                self._write(question)
                return self._read(question)
            except LinkLost as lost:
                refusal = self._refusal_behind(question) if _timed_out(lost.__cause__) else None
                if refusal is not None:
                    raise refusal from None
                raise

    def _refusal_behind(self, question: str) -> Refused | None:
        """The refusal that kept a question without answer; None where the link is what failed."""
        try:
            self._connect()
            self._resynchronise()
            refusal = self._refusal(question)
        except LinkLost:
            return None
        finally:
            self._close()
        # 4xx are query errors: they tell of the time-out itself
        return None if refusal is None or refusal.code in range(400, 500) else refusal

    def _refusal(self, message: str) -> Refused | None:
        """The first entry of the error queue as a refusal, None where it is empty; empties the queue."""
        first: Refused | None = None
        for _ in range(_MOST_STALE):
            self._write(":STAT:ERR?")
            reply = self._read(":STAT:ERR?")
            try:
                code, text = parse_error(reply)
            except ValueError:
                raise self._garbled(":STAT:ERR?", reply) from None
            if code == 0:
                break
            first = first or Refused(f"{self.link.resource}: {message!r} refused: {code}, {text}", code)
        return first

    def _command(self, message: str) -> None:
        """Write a command and check the error queue, in one locked step."""
        with self.lock:
            self._ready()
            self._write(message)
            refusal = self._refusal(message)
            if refusal is not None:
                raise refusal

    # --- Role ----------------------------------------------------------------------------------------------------------

    @Driver.check_active
    def identify(self) -> Identity:
        """Read manufacturer, model, serial number and firmware version (`*IDN?`)."""
        reply = self._ask("*IDN?")
        parts = reply.split(",")
        if len(parts) != 4:
            raise self._garbled("*IDN?", reply)
        return Identity(*(part.strip() for part in parts))

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
