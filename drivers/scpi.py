"""What drivers of SCPI instruments over VISA share: link, recovery after a time-out, questions, commands that are checked.

A model's driver says who has to answer, what is set up first, and how a refusal is found out (the error queue by default).
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import attr
import pyvisa
from labgrid.driver import Driver
from pyvisa.constants import BufferOperation, StatusCode
from pyvisa.errors import VisaIOError

from drivers.device import DeviceDriver
from drivers.errors import LinkLost, Refused
from drivers.links import claim, holder_of
from drivers.roles import Identity
from drivers.wire.ieee488 import parse_error

_MOST_STALE = 64  # replies that may still be under way after a time-out


def _timed_out(no: BaseException | None) -> bool:
    return isinstance(no, VisaIOError) and no.error_code == StatusCode.error_timeout


@attr.s(eq=False)
class ScpiDriver(DeviceDriver):
    """A driver bound to a `VisaLink`. LinkLost names the VISA resource; Refused carries the instrument's code and text.

    A lost link is opened and set up anew by the next call, and what was late is never taken for an answer.
    """

    bindings = {"link": "VisaLink"}  # noqa: RUF012 - labgrid's way to declare it

    manufacturer: ClassVar[str]
    """How the answer to `*IDN?` begins, in lower case."""
    model: ClassVar[str]
    """What stands second in the answer to `*IDN?`."""
    error_query: ClassVar[str] = "SYST:ERR?"
    """What the error queue is asked with."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._instrument: Any = None
        self._manager: Any = None

    def on_activate(self) -> None:
        """Open the link and set the instrument up. LinkLost where nobody or somebody else answers."""
        with self.lock:
            self._open()

    def on_deactivate(self) -> None:
        """Give the front panel back where that is possible, and close the link. Outputs stay as they are."""
        with self.lock:
            if self._instrument is not None:
                with contextlib.suppress(LinkLost):
                    self._leave()
            self._close()

    # --- What a model fills in -----------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Bring the instrument to where the driver wants it, once its identity is known."""
        self._write("*CLS")

    def _leave(self) -> None:
        """Say goodbye."""

    def _refusal(self, message: str, lead: str = "") -> Refused | None:
        """The first entry of the error queue as a refusal of `message`, None where it is empty; empties the queue.

        `lead` goes out before the question, in the same write: in two, a socket may hold back the second for 40 ms.
        """
        first: Refused | None = None
        for turn in range(_MOST_STALE):
            self._write(self.error_query if turn else f"{lead}{self.error_query}")
            reply = self._read(self.error_query)
            try:
                code, text = parse_error(reply)
            except ValueError:
                raise self._garbled(self.error_query, reply) from None
            if code == 0:
                break
            first = first or Refused(f"{self.link.resource}: {message!r} refused: {code}, {text}", code)
        return first

    def _is_identity(self, reply: str) -> bool:
        """Whether a reply is one to `*IDN?`, whoever gives it, and not a late one to something else."""
        return reply.count(",") >= 3 and reply[:1].isalpha()

    def _is_mine(self, manufacturer: str, model: str) -> bool:
        """Whether this driver is for the instrument that names itself so."""
        return manufacturer.lower().startswith(self.manufacturer) and model == self.model

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
            if self._is_identity(reply):
                break
        else:
            raise LinkLost(f"{self.link.resource}: no answer to *IDN? among {_MOST_STALE} replies")
        manufacturer, model = (part.strip() for part in reply.split(",")[:2])
        if not self._is_mine(manufacturer, model):
            raise LinkLost(
                f"{self.link.resource}: answers as {reply!r}, not as a {self.manufacturer.title()} {self.model}; "
                "check which device is there"
            )

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

    # --- Questions and commands ----------------------------------------------------------------------------------------

    def _ask(self, question: str) -> str:
        """Ask. A question that is refused stays without answer: after a time-out the instrument is asked what was wrong."""
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
        # 4xx, with a minus or without, are query errors: they tell of the time-out itself
        return None if refusal is None or abs(refusal.code or 0) // 100 == 4 else refusal

    def _number(self, question: str) -> float:
        """Ask for a number; LinkLost where the answer is none."""
        reply = self._ask(question)
        try:
            return float(reply)
        except ValueError:
            raise self._garbled(question, reply) from None

    def _whole(self, question: str) -> int:
        """Ask for a whole number; LinkLost where the answer is none."""
        reply = self._ask(question)
        try:
            return int(reply)
        except ValueError:
            raise self._garbled(question, reply) from None

    def _switch(self, question: str) -> bool:
        """Ask whether something is on; LinkLost where the answer is neither ON nor OFF (or 1, 0)."""
        reply = self._ask(question)
        if reply.upper() not in ("ON", "OFF", "1", "0"):
            raise self._garbled(question, reply)
        return reply.upper() in ("ON", "1")

    def _command(self, message: str) -> None:
        """Write a command and find out whether it was refused, in one locked step."""
        with self.lock:
            self._ready()
            refusal = self._refusal(message, f"{message}\n")
            if refusal is not None:
                raise refusal

    @Driver.check_active
    def identify(self) -> Identity:
        """Read manufacturer, model, serial number and firmware versions (`*IDN?`)."""
        reply = self._ask("*IDN?")
        if not self._is_identity(reply):
            raise self._garbled("*IDN?", reply)
        return Identity(*(part.strip() for part in reply.split(",", 3)))
