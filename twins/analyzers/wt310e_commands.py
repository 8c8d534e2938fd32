"""The program messages of a Yokogawa WT310E: its commands and their answers.

Facts: IM WT310E-17EN (commands, presets 1 and 2, error data) and dialogues of real units. What the sources leave open is
our profile: presets 3 and 4, defaults after `*RST`, four length digits of a float block. Harmonics (option /G5), list
output and the store are not fitted: their headers are undefined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from drivers.errors import Refused
from drivers.roles import Identity, Integration
from drivers.wire.ieee488 import (
    ERROR_TEXTS,
    HeaderTable,
    Pattern,
    ProgramError,
    Unit,
    boolean,
    decimal,
    engineering,
    format_error,
    format_floats,
    parse_message,
    parse_number,
    short_form,
    whole,
    word,
)
from twins.analyzers import wt310e_element
from twins.analyzers.wt310e_element import UPDATE_PERIODS, Element, Integrals, Readings
from twins.analyzers.wt310e_items import ELEMENTS, FUNCTIONS, MOST_ITEMS, Item, NumericItems, label, number_of
from twins.analyzers.wt310e_status import Status
from twins.clock import Clock
from twins.faces.scpi import Execution

_STATES = {
    Integration.RESET: "RESet",
    Integration.RUNNING: "STARt",
    Integration.STOPPED: "STOP",
    Integration.TIME_UP: "TIMeup",
    Integration.ERROR: "ERRor",
}
_RATES = ("100MS", "250MS", "500MS", "1S", "2S", "5S", "10S", "20S", "AUTO")
_TEXTS = ERROR_TEXTS | wt310e_element.ERROR_TEXTS


@dataclass(frozen=True)
class _Command:
    """What stands behind a header. `headed`: its response carries the header where COMM:HEAD is on."""

    pattern: Pattern
    set: Callable[[tuple[int, ...], tuple[str, ...]], None] | None
    get: Callable[[tuple[int, ...], tuple[str, ...]], str | bytes] | None
    headed: bool


def _one(arguments: Sequence[str]) -> str:
    """The only argument. ProgramError 109 where it is missing, 108 where there are more."""
    return _some(arguments, 1, 1)[0]


def _some(arguments: Sequence[str], least: int, most: int) -> Sequence[str]:
    if len(arguments) < least:
        raise ProgramError(109)
    if len(arguments) > most:
        raise ProgramError(108)
    return arguments


def _limit(value: int, least: int, most: int) -> int:
    """A header suffix within its limits; ProgramError 114 outside."""
    if not least <= value <= most:
        raise ProgramError(114)
    return value


class Commands:
    """Understands program messages and acts on an element. All faces of one instrument share one of these."""

    def __init__(self, clock: Clock, element: Element, identity: Identity) -> None:
        self.clock = clock
        self._element = element
        self._identity = identity
        self._table: HeaderTable[_Command] = HeaderTable()
        self._status = Status(element)
        self._values: dict[str, str] = {}
        self._defaults: dict[str, str] = {}
        self._add_common()
        self._add_stored()
        self._add_input()
        self._add_numeric()
        self._add_integration()
        self._add_status()
        self._reset()

    # --- Message exchange (twins.faces.scpi.Instrument) ----------------------------------------------------------------

    def execute(self, message: bytes) -> Execution:
        """Execute one program message. A command error ends it; the units before have been executed (488.2 clause 6.1.7)."""
        if "silent" in self._element.faults:
            return None
        responses: list[bytes] = []
        try:
            for unit in parse_message(message):
                self._status.observe()
                try:
                    response = self._unit(unit)
                    if unit.mnemonics[-1] in ("WAIT", "*TST"):
                        yield from self._hold(unit)
                    if response is not None:
                        responses.append(response)
                except Refused as no:
                    self.report(200 if no.code is None else no.code)
                except ProgramError as no:
                    self.report(no.code)
                    if no.code < 200:
                        break
        except ProgramError as no:
            self.report(no.code)
        return b";".join(responses) if responses else None

    def report(self, code: int) -> None:
        """Put an error into the queue."""
        self._status.report(code)

    def status_byte(self, message_available: bool) -> int:
        """The status byte, with MAV as given."""
        return self._status.byte(message_available)

    def trigger(self) -> None:
        """One new set of readings while the display is held."""
        self._element.single()

    def remote(self, on: bool) -> None:
        """Go to remote or local control."""
        self._values["COMMunicate:REMote"] = "1" if on else "0"

    def _hold(self, unit: Unit) -> Generator[float, None, None]:
        """Let the real time pass that a real unit takes; on stepped time everything completes at once."""
        if self.clock.stepped:
            return
        if unit.mnemonics[-1] == "*TST":
            yield 6.0
            return
        mask = whole(unit.arguments[0], 0, 65535)
        while mask and not self._status.extended & mask:
            yield max(0.01, self._element.next_update_s())
            self._status.observe()

    def _unit(self, unit: Unit) -> bytes | None:
        found = self._table.find(unit.mnemonics)
        if found is None:
            return self._group(unit)
        command, suffixes = found
        if not unit.query:
            if command.set is None:
                raise ProgramError(113)
            command.set(suffixes, unit.arguments)
            return None
        if command.get is None:
            raise ProgramError(113)
        answer = command.get(suffixes, unit.arguments)
        data = answer if isinstance(answer, bytes) else answer.encode("ascii")
        if not command.headed or not self._on("COMMunicate:HEADer"):
            return data
        return f":{':'.join(self._header(command, suffixes))} ".encode() + data

    def _header(self, command: _Command, suffixes: Sequence[int] = ()) -> tuple[str, ...]:
        return command.pattern.header(suffixes, self._on("COMMunicate:VERBose"))

    def _group(self, unit: Unit) -> bytes:
        """The answer to a query of a whole group, `:INPUT:FILTER?`: every setting in it, as it could be sent again."""
        members = [
            c
            for p, c in self._table.entries
            if c.headed and c.set and c.get and "<x>" not in p.spec and p.match(unit.mnemonics, prefix=True) is not None
        ]
        if not unit.query or not members:
            raise ProgramError(113)
        _some(unit.arguments, 0, 0)
        parts, path = [], None
        for command in members:
            assert command.get is not None
            answer = command.get((), ())
            header = self._header(command)
            if self._on("COMMunicate:HEADer"):
                lead = header[-1] if header[:-1] == path else ":" + ":".join(header)
                parts.append(f"{lead} {answer!s}")
            else:
                parts.append(str(answer))
            path = header[:-1]
        return ";".join(parts).encode("ascii")

    # --- Building the table ------------------------------------------------------------------------------------------

    def _add(
        self,
        spec: str,
        *,
        set: Callable[[tuple[int, ...], tuple[str, ...]], None] | None = None,
        get: Callable[[tuple[int, ...], tuple[str, ...]], str | bytes] | None = None,
        headed: bool = True,
    ) -> None:
        self._table.add(spec, _Command(Pattern(spec), set, get, headed))

    def _ask(self, spec: str, get: Callable[[], str]) -> None:
        """A query without arguments, answered without header."""

        def answer(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
            _some(arguments, 0, 0)
            return get()

        self._add(spec, get=answer, headed=False)

    def _do(self, spec: str, act: Callable[[], None]) -> None:
        """A command without arguments and without query."""

        def execute(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
            _some(arguments, 0, 0)
            act()

        self._add(spec, set=execute)

    def _pair(self, spec: str, read: Callable[[str], None], get: Callable[[], str], headed: bool = True) -> None:
        """A command with one argument, and its query."""

        def answer(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
            _some(arguments, 0, 0)
            return get()

        self._add(spec, set=lambda suffixes, arguments: read(_one(arguments)), get=answer, headed=headed)

    def _store(self, spec: str, default: str, read: Callable[[str], str], guarded: bool = False) -> None:
        """A setting that is kept and answered. `guarded`: not to be changed during integration."""
        self._defaults[spec] = default

        def keep(argument: str) -> None:
            value = read(argument)
            if guarded:
                self._element.guard()
            self._values[spec] = value

        self._pair(spec, keep, lambda: self._say(self._values[spec]))

    def _on(self, spec: str) -> bool:
        return self._values.get(spec) == "1"

    def _say(self, choice: str) -> str:
        """Character data in long or short form."""
        return choice.upper() if self._on("COMMunicate:VERBose") else short_form(choice)

    def _reset(self) -> None:
        self._values = dict(self._defaults)
        self._items = NumericItems()
        self._numeric_hold: tuple[Readings, Integrals] | None = None

    # --- Common commands and the system --------------------------------------------------------------------------------

    def _add_common(self) -> None:
        me = self._identity
        self._ask("*IDN", lambda: f"{me.manufacturer},{me.model},{me.serial},{me.firmware}")
        self._ask("*OPT", lambda: "NONE")
        self._ask("*CAL", lambda: "0")
        self._ask("*TST", lambda: "0")
        self._do("*CLS", self._status.clear)
        self._do("*RST", self._reset_all)
        self._do("*WAI", lambda: None)  # no command of this model overlaps another
        self._do("*TRG", self.trigger)
        self._ask("*ESR", lambda: str(self._status.take_events()))
        self._ask("*STB", lambda: str(self.status_byte(False)))

        def complete(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
            _some(arguments, 0, 0)
            self._status.operation_complete()

        self._add("*OPC", set=complete, get=lambda s, a: "1", headed=False)

        def enable_events(argument: str) -> None:
            self._status.event_enable = whole(argument, 0, 255)

        def enable_service(argument: str) -> None:
            self._status.service_enable = whole(argument, 0, 255) & ~64

        self._pair("*ESE", enable_events, lambda: str(self._status.event_enable), headed=False)
        self._pair("*SRE", enable_service, lambda: str(self._status.service_enable), headed=False)
        self._ask("SYSTem:MODel", lambda: me.model)
        self._ask("SYSTem:SUFFix", lambda: "NONE")
        self._ask("SYSTem:SERial", lambda: me.serial)
        self._ask("SYSTem:FIRMware", lambda: me.firmware)

    def _reset_all(self) -> None:
        kept = {
            k: v for k, v in self._values.items() if k.startswith(("STATus", "COMMunicate:REM", "COMMunicate:LOCK"))
        }
        self._element.reset()
        self._reset()
        self._values |= kept  # *RST leaves status reporting and remote control alone (488.2 clause 10.32)

    def _add_stored(self) -> None:
        def flag(argument: str) -> str:
            return "1" if boolean(argument) else "0"

        def choice(*choices: str) -> Callable[[str], str]:
            return lambda argument: word(argument, choices)

        self._store("COMMunicate:HEADer", "1", flag)
        self._store("COMMunicate:VERBose", "1", flag)
        self._store("COMMunicate:REMote", "0", flag)
        self._store("COMMunicate:LOCKout", "0", flag)
        self._ask("COMMunicate:STATus", lambda: "0")
        self._add("COMMunicate:WAIT", set=self._check_mask, get=self._check_wait, headed=False)
        self._store("SYSTem:KLOCk", "0", flag)
        self._store("SYSTem:RESolution", "5", choice("4", "5"))
        self._store("SYSTem:COMMunicate:COMMand", "WT300E", choice("WT300E", "WT300", "WT200"))
        self._store("INPut:WIRing", "P1W2", choice("P1W2"), guarded=True)
        self._store("INPut:SYNChronize", "VOLTage", choice("VOLTage", "CURRent", "OFF"), guarded=True)
        self._store("INPut:FILTer:LINE", "0", flag, guarded=True)
        self._store("INPut:FILTer:FREQuency", "0", flag, guarded=True)
        self._store("MEASure:AVERaging:STATe", "0", flag, guarded=True)
        self._store("MEASure:AVERaging:TYPE", "LINear", choice("LINear", "EXPonent"), guarded=True)
        self._store("MEASure:AVERaging:COUNt", "8", choice("8", "16", "32", "64"), guarded=True)
        self._store("MEASure:MHOLd", "0", flag)
        self._store("MATH", "CFU1", choice("CFU1", "CFI1", "AVW1"), guarded=True)
        self._store("NUMeric:FORMat", "ASCii", choice("ASCii", "FLOat"))
        self._pair("STATus:EESE", self._enable_extended, lambda: str(self._status.extended_enable))
        self._store("STATus:QENable", "0", flag)
        self._store("STATus:QMESsage", "1", flag)

    def _enable_extended(self, argument: str) -> None:
        self._status.extended_enable = whole(argument, 0, 65535)

    def _check_mask(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
        whole(_one(arguments), 0, 65535)

    def _check_wait(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
        self._check_mask(suffixes, arguments)
        return "1"

    # --- Input, rate, hold ----------------------------------------------------------------------------------------------

    def _add_input(self) -> None:
        e = self._element
        for node in ("VOLTage", "CURRent"):
            self._add_range(node)

        def crest(argument: str) -> None:
            e.set_crest_factor(word(argument, ("3", "6", "A6")))

        self._pair("INPut:CFACtor", crest, lambda: e.crest_factor)
        self._pair("INPut:MODE", lambda a: e.set_mode(word(a, ("RMS", "VMEan", "DC"))), lambda: self._say(e.mode))
        self._pair(
            "INPut:SCALing[:STATe]",
            lambda a: e.set_scaling(on=boolean(a)),
            lambda: "1" if e.scaling.on else "0",
        )
        self._add_ratio("VT", lambda: e.scaling.vt, lambda x: e.set_scaling(vt=x))
        self._add_ratio("CT", lambda: e.scaling.ct, lambda x: e.set_scaling(ct=x))
        self._add_ratio("SFACtor", lambda: e.scaling.power, lambda x: e.set_scaling(power=x))
        self._ask("INPut:POVer", lambda: str(self.peaks_over()))
        self._ask("INPut:CRANge", lambda: str(self.ranges_over()))
        for spec in ("RATE", "SAMPle:RATE"):
            self._pair(spec, self._set_rate, self._say_rate)
        for spec in ("HOLD", "SAMPle:HOLD"):
            self._pair(spec, lambda a: e.hold(boolean(a)), lambda: "1" if e.holding else "0")

    def _add_range(self, node: str) -> None:
        e = self._element
        voltage = node == "VOLTage"
        apply = e.set_voltage_range if voltage else e.set_current_range

        def offered() -> tuple[float, ...]:
            return e.voltage_ranges if voltage else e.current_ranges

        def value() -> float:
            return e.voltage_range_v if voltage else e.current_range_a

        def choose(argument: str) -> None:
            if argument.upper() in ("MAX", "MAXIMUM"):
                apply(len(offered()) - 1)
                return
            wanted = decimal(argument, "V" if voltage else "A")
            for at, rating in enumerate(offered()):
                if math.isclose(wanted, rating, rel_tol=1e-6):
                    apply(at)
                    return
            raise ProgramError(222)

        def automatic(argument: str) -> None:
            on = boolean(argument)
            apply(None if on else offered().index(value()))

        self._pair(f"INPut:{node}:RANGe", choose, lambda: engineering(value(), value(), 4))
        self._pair(
            f"INPut:{node}:AUTO", automatic, lambda: "1" if (e.voltage_auto if voltage else e.current_auto) else "0"
        )

    def _add_ratio(self, node: str, get: Callable[[], float], put: Callable[[float], None]) -> None:
        def read(argument: str) -> None:
            value = decimal(argument)
            if not 0.001 <= value <= 9999:
                raise ProgramError(222)
            put(value)

        def read_element(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
            _limit(suffixes[0], 1, 1)
            read(_one(arguments))

        def say_element(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
            _limit(suffixes[0], 1, 1)
            _some(arguments, 0, 0)
            return say()

        def say() -> str:
            return engineering(get(), get(), 4)

        self._pair(f"INPut:SCALing:{node}[:ALL]", read, say)
        self._add(f"INPut:SCALing:{node}:ELEMent<x>", set=read_element, get=say_element)

    def peaks_over(self) -> int:
        """Which inputs had a peak over range: 1 voltage, 2 current."""
        readings, _ = self._element.shown()
        return (1 if readings.voltage_peak_over else 0) | (2 if readings.current_peak_over else 0)

    def ranges_over(self) -> int:
        """Which inputs are over range: 1 voltage, 2 current."""
        readings, _ = self._element.shown()
        return (1 if readings.voltage_over else 0) | (2 if readings.current_over else 0)

    def _set_rate(self, argument: str) -> None:
        if argument.upper() == "AUTO":
            self._element.set_period(min(UPDATE_PERIODS), automatic=True)
            return
        wanted = decimal(argument, "S")
        for period in UPDATE_PERIODS:
            if math.isclose(wanted, period, rel_tol=1e-6):
                self._element.set_period(period)
                return
        raise ProgramError(222)

    def _say_rate(self) -> str:
        e = self._element
        return "AUTO" if e.automatic_period else engineering(e.period_s, e.period_s, 4)

    # --- Numeric items --------------------------------------------------------------------------------------------------

    def _add_numeric(self) -> None:
        self._pair("NUMeric:HOLD", self._set_numeric_hold, lambda: "1" if self._numeric_hold else "0")

        def set_number(argument: str) -> None:
            self._items.number = MOST_ITEMS if argument.upper() == "ALL" else whole(argument, 1, MOST_ITEMS)

        self._pair("NUMeric[:NORMal]:NUMber", set_number, lambda: str(self._items.number))
        self._add("NUMeric[:NORMal]:ITEM<x>", set=self._set_item, get=self._say_item)
        self._add("NUMeric[:NORMal]:PRESet", set=lambda s, a: self._items.preset(whole(_one(a), 1, 4)))
        self._add("NUMeric[:NORMal]:CLEar", set=lambda s, a: self._items.clear(*self._span(a)))
        self._add("NUMeric[:NORMal]:DELete", set=lambda s, a: self._items.delete(*self._span(a)))
        self._add("NUMeric[:NORMal]:HEADer", get=self._labels, headed=False)
        self._add("NUMeric[:NORMal]:VALue", get=self._say_values, headed=False)

    def _set_numeric_hold(self, argument: str) -> None:
        self._numeric_hold = self._element.shown() if boolean(argument) else None

    def _set_item(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
        at = _limit(suffixes[0], 1, MOST_ITEMS)
        _some(arguments, 1, 2)
        if arguments[0].upper() == "NONE":
            _some(arguments, 1, 1)
            self._items.put(at, None)
            return
        function = word(arguments[0], FUNCTIONS)
        self._items.put(at, (function, word(arguments[1], ELEMENTS) if len(arguments) == 2 else "1"))

    def _say_item(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
        _some(arguments, 0, 0)
        item = self._items.get(_limit(suffixes[0], 1, MOST_ITEMS))
        return "NONE" if item is None else f"{short_form(item[0])},{self._say(item[1])}"

    def _span(self, arguments: tuple[str, ...]) -> tuple[int, int]:
        if len(arguments) == 1 and arguments[0].upper() == "ALL":
            return 1, MOST_ITEMS
        first = whole(_some(arguments, 1, 2)[0], 1, MOST_ITEMS)
        last = whole(arguments[1], 1, MOST_ITEMS) if len(arguments) == 2 else first
        if last < first:
            raise ProgramError(222)
        return first, last

    def _asked(self, arguments: tuple[str, ...]) -> list[Item]:
        if _some(arguments, 0, 1):
            return [self._items.get(whole(arguments[0], 1, MOST_ITEMS))]
        return self._items.sent()

    def _labels(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
        return ",".join(map(label, self._asked(arguments)))

    def numbers(self, items: Sequence[Item]) -> list[str]:
        """The figures of numeric items as they are sent, held where `NUMeric:HOLD` is on."""
        readings, integrals = self._numeric_hold or self._element.shown()

        def number(item: Item) -> str:
            # a single-element unit has no element 2 or 3, and no sum of elements
            if item is None or item[1] != "1":
                return "NAN"
            return number_of(item[0], readings, integrals, self._values["MATH"])

        return [number(item) for item in items]

    def item(self, at: int) -> Item:
        """The numeric item at a place, counted from 1."""
        return self._items.get(at)

    def _say_values(self, suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str | bytes:
        values = self.numbers(self._asked(arguments))
        if self._values["NUMeric:FORMat"] == "ASCii":
            return ",".join(values)
        return format_floats([parse_number(v) for v in values], digits=4)

    # --- Integration ----------------------------------------------------------------------------------------------------

    def _add_integration(self) -> None:
        e = self._element

        def set_mode(argument: str) -> None:
            mode = word(argument, ("NORMal", "CONTinuous"))
            e.guard()
            e.continuous = mode == "CONTinuous"

        def set_timer(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
            hours, minutes, seconds = _some(arguments, 3, 3)
            timer = whole(hours, 0, 10000) * 3600 + whole(minutes, 0, 59) * 60 + whole(seconds, 0, 59)
            if timer > wt310e_element.LONGEST_TIMER_S:
                raise ProgramError(222)
            e.guard()
            e.timer_s = timer

        def say_timer(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
            _some(arguments, 0, 0)
            return f"{e.timer_s // 3600},{e.timer_s // 60 % 60},{e.timer_s % 60}"

        self._pair("INTEGrate:MODE", set_mode, lambda: self._say("CONTinuous" if e.continuous else "NORMal"))
        self._add("INTEGrate:TIMer", set=set_timer, get=say_timer)
        self._do("INTEGrate:STARt", e.start)
        self._do("INTEGrate:STOP", e.stop)
        self._do("INTEGrate:RESet", e.clear)
        self._ask("INTEGrate:STATe", lambda: _STATES[e.integration].upper())

    # --- Status ---------------------------------------------------------------------------------------------------------

    def _add_status(self) -> None:
        def error() -> str:
            code = self._status.next_error()
            return format_error(code, _TEXTS.get(code, "Execution error"), self._on("STATus:QMESsage"))

        def set_filter(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> None:
            at = _limit(suffixes[0], 1, 16) - 1
            self._status.filters[at] = word(_one(arguments), ("RISE", "FALL", "BOTH", "NEVer"))

        def say_filter(suffixes: tuple[int, ...], arguments: tuple[str, ...]) -> str:
            _some(arguments, 0, 0)
            return self._say(self._status.filters[_limit(suffixes[0], 1, 16) - 1])

        self._ask("STATus:CONDition", lambda: str(self._status.condition))
        self._ask("STATus:EESR", lambda: str(self._status.take_extended()))
        self._ask("STATus:ERRor", error)
        self._ask("STATus:SPOLl", lambda: str(self.status_byte(False)))
        self._add("STATus:FILTer<x>", set=set_filter, get=say_filter)
