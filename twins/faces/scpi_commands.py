"""What SCPI instruments have in common when they understand program messages: header table, error queue, status registers.

Facts: IEEE 488.2-1992 clauses 6.1.7 and 11 (execution, standard event status, status byte), SCPI-99 volume 2 chapters 20 and
21 (STATus, SYSTem:ERRor). An instrument's own commands are added to the table; errors are reported with SCPI's negative
numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from drivers.errors import OutOfRange, Refused
from drivers.wire.ieee488 import (
    ERROR_TEXTS,
    HeaderTable,
    ProgramError,
    Unit,
    format_error,
    parse_message,
    whole,
)
from twins.clock import Clock
from twins.faces.scpi import Execution

_QUEUE_DEPTH = 16
_QUES, _MAV, _ESB, _MSS = 8, 16, 32, 64

Set = Callable[[tuple[str, ...]], None]
Get = Callable[[tuple[str, ...]], str]


@dataclass(frozen=True)
class Command:
    """What stands behind a header: what it does and what it answers, each given the arguments; None where it can't."""

    set: Set | None
    get: Get | None


def some(arguments: Sequence[str], least: int, most: int) -> Sequence[str]:
    """The arguments, if there are as many as there may be. ProgramError 109 where some are missing, 108 where there are more."""
    if len(arguments) < least:
        raise ProgramError(109)
    if len(arguments) > most:
        raise ProgramError(108)
    return arguments


def unmodelled(*_: object) -> NoReturn:
    """Refuse what the real instrument can do and its twin cannot: -241, as if the hardware were not fitted."""
    raise ProgramError(241)


class ScpiCommands:
    """Understands program messages (an `Instrument` of `twins.faces.scpi`). All faces of one instrument share one of these.

    `identity` is the answer to `*IDN?`; `condition` reads the questionable condition register; `silent` tells whether
    the instrument is deaf and mute; `flush` is called where settings that were held back for the rest of their message
    have to take effect.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        identity: str,
        condition: Callable[[], int],
        silent: Callable[[], bool],
        reset: Callable[[], None],
        reset_s: float,
        trigger: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self.is_remote = False
        self._condition_now = condition
        self._silent = silent
        self._reset_s = reset_s
        self._trigger = trigger
        self._table: HeaderTable[Command] = HeaderTable()
        self._deferring: set[Command] = set()
        self._errors: deque[int] = deque()
        self._event_status = 128  # power on
        self._event_enable = self._service_enable = 0
        self._condition = self._questionable = self._questionable_enable = self._operation_enable = 0
        self._filters = {"PTRansition": 0x7FFF, "NTRansition": 0}
        self._add_common(identity, reset)
        self._add_status()

    # --- Message exchange ----------------------------------------------------------------------------------------------

    def execute(self, message: bytes) -> Execution:
        """Execute one program message. A command error ends it; the units before have been executed (488.2 clause 6.1.7)."""
        if self._silent():
            return None
        responses: list[str] = []
        try:
            for unit in parse_message(message):
                try:
                    response = self._unit(unit)
                except ProgramError as no:
                    self.report(no.code)
                    if no.code < 200:
                        break
                    continue
                if response is not None:
                    responses.append(response)
                if unit.mnemonics == ("*RST",) and not self.clock.stepped:
                    yield self._reset_s  # a real unit hears nothing meanwhile; on stepped time it is done at once
        except ProgramError as no:
            self.report(no.code)
        self._flush_checked()
        return ";".join(responses).encode("ascii") if responses else None

    def _unit(self, unit: Unit) -> str | None:
        found = self._table.find(unit.mnemonics) or self._table.find(unit.sent)
        if found is None:
            raise ProgramError(113)
        command, _ = found
        if unit.query or command not in self._deferring:
            self._flush_checked()
        does = command.get if unit.query else command.set
        if does is None:
            raise ProgramError(113)
        return self._carried_out(lambda: does(unit.arguments))

    def _carried_out(self, act: Callable[[], str | None]) -> str | None:
        """Do it. What the behaviour refuses comes out as a ProgramError."""
        try:
            return act()
        except Refused as no:
            raise ProgramError(200 if no.code is None else abs(no.code)) from no
        except OutOfRange as no:
            raise ProgramError(222) from no

    def _flush_checked(self) -> None:
        try:
            self._carried_out(self.flush)
        except ProgramError as no:
            self.report(no.code)

    def flush(self) -> None:
        """Let settings take effect that were held back for the rest of their message; Refused or OutOfRange where they clash."""

    def report(self, code: int) -> None:
        """Put an error (number without sign) into the queue; the last place says -350 once the queue is full."""
        if len(self._errors) < _QUEUE_DEPTH:
            self._errors.append(code)
        else:
            self._errors[-1] = 350
        self._event_status |= {1: 32, 2: 16, 3: 8}.get(code // 100, 4)

    def status_byte(self, message_available: bool) -> int:
        """QUES (bit 3), MAV (4), ESB (5) and MSS (6)."""
        self.observe()
        status = _QUES if self._questionable & self._questionable_enable else 0
        status |= _MAV if message_available else 0
        status |= _ESB if self._event_status & self._event_enable else 0
        return status | (_MSS if status & self._service_enable else 0)

    def trigger(self) -> None:
        """Take a group execute trigger."""
        self._trigger()

    def remote(self, on: bool) -> None:
        """Go to remote or local control."""
        self.is_remote = on

    def observe(self) -> None:
        """Note transitions of the questionable condition; to be called after every change of it."""
        now = self._condition_now()
        rose, fell = now & ~self._condition, self._condition & ~now
        self._questionable |= rose & self._filters["PTRansition"] | fell & self._filters["NTRansition"]
        self._condition = now

    # --- Building the table --------------------------------------------------------------------------------------------

    def add(self, spec: str, *, set: Set | None = None, get: Get | None = None, deferring: bool = False) -> None:
        """A header as manuals print it. `deferring`: what it sets is held back until `flush`."""
        command = Command(set, get)
        self._table.add(spec, command)
        if deferring:
            self._deferring.add(command)

    def ask(self, spec: str, get: Callable[[], str]) -> None:
        """A query without arguments."""

        def answer(arguments: tuple[str, ...]) -> str:
            some(arguments, 0, 0)
            return get()

        self.add(spec, get=answer)

    def do(self, spec: str, act: Callable[[], None]) -> None:
        """A command without arguments and without query."""

        def execute(arguments: tuple[str, ...]) -> None:
            some(arguments, 0, 0)
            act()

        self.add(spec, set=execute)

    def pair(self, spec: str, read: Callable[[str], None], get: Callable[[], str], deferring: bool = False) -> None:
        """A command with one argument, and its query."""

        def answer(arguments: tuple[str, ...]) -> str:
            some(arguments, 0, 0)
            return get()

        self.add(spec, set=lambda arguments: read(some(arguments, 1, 1)[0]), get=answer, deferring=deferring)

    # --- Common commands and status ------------------------------------------------------------------------------------

    def _add_common(self, identity: str, reset: Callable[[], None]) -> None:
        self.ask("*IDN", lambda: identity)
        self.ask("*TST", lambda: "0")
        self.do("*CLS", self._clear)
        self.do("*RST", reset)
        self.do("*WAI", lambda: None)  # no command overlaps another
        self.do("*TRG", self.trigger)
        self.ask("*ESR", self._take_event_status)
        self.ask("*STB", lambda: str(self.status_byte(False)))

        def complete(arguments: tuple[str, ...]) -> None:
            some(arguments, 0, 0)
            self._event_status |= 1

        self.add("*OPC", set=complete, get=lambda arguments: "1")

        def enable_events(argument: str) -> None:
            self._event_enable = whole(argument, 0, 255)

        def enable_service(argument: str) -> None:
            self._service_enable = whole(argument, 0, 255) & ~_MSS

        self.pair("*ESE", enable_events, lambda: str(self._event_enable))
        self.pair("*SRE", enable_service, lambda: str(self._service_enable))
        self.ask("SYSTem:ERRor[:NEXT]", self._take_error)

    def _clear(self) -> None:
        self.observe()
        self._errors.clear()
        self._event_status = self._questionable = 0

    def _take_event_status(self) -> str:
        status, self._event_status = self._event_status, 0
        return str(status)

    def _take_error(self) -> str:
        code = self._errors.popleft() if self._errors else 0
        return format_error(-code, ERROR_TEXTS.get(code, "Execution error"))

    def _add_status(self) -> None:
        def condition() -> str:
            self.observe()
            return str(self._condition)

        def event() -> str:
            self.observe()
            value, self._questionable = self._questionable, 0
            return str(value)

        def enable(argument: str) -> None:
            self._questionable_enable = whole(argument, 0, 65535)

        def enable_operation(argument: str) -> None:
            self._operation_enable = whole(argument, 0, 65535)

        def preset() -> None:
            self._filters = {"PTRansition": 0x7FFF, "NTRansition": 0}
            self._questionable_enable = self._operation_enable = 0

        self.ask("STATus:QUEStionable:CONDition", condition)
        self.ask("STATus:QUEStionable[:EVENt]", event)
        self.pair("STATus:QUEStionable:ENABle", enable, lambda: str(self._questionable_enable))
        for name in ("PTRansition", "NTRansition"):
            self._add_filter(name)
        self.ask("STATus:OPERation[:EVENt]", lambda: "0")
        self.pair("STATus:OPERation:ENABle", enable_operation, lambda: str(self._operation_enable))
        self.do("STATus:PRESet", preset)

    def _add_filter(self, name: str) -> None:
        def put(argument: str) -> None:
            self.observe()
            self._filters[name] = whole(argument, 0, 65535)

        self.pair(f"STATus:QUEStionable:{name}", put, lambda: str(self._filters[name]))
