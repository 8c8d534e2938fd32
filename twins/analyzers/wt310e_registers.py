"""The Modbus registers of a Yokogawa WT310E: measured values as floats, high word first.

Facts: IM WT310-17EN chapter 9 (functions 03, 04 and 06; register numbers count from 1). Served is what they tell of a
unit with one element: over-range bits, voltage of element 1, numeric items, display A to D. The rest of the status, of
the element blocks and all control registers are there in a real unit, but we know neither layout nor codes: they are
refused. Which functions displays B to D show is our profile.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from drivers.wire.ieee488 import parse_number
from drivers.wire.modbus import ILLEGAL_ADDRESS, ILLEGAL_VALUE
from twins.analyzers.wt310e_commands import Commands
from twins.analyzers.wt310e_element import Element
from twins.analyzers.wt310e_items import MOST_ITEMS, Item
from twins.faces.modbus import ModbusDevice, ModbusRefusal

# Register numbers; the protocol's addresses are one less.
_PEAKS_OVER, _RANGES_OVER = 3, 4
_ELEMENT_1 = 101
_ITEMS = 2001
_DISPLAY = 3001
_CONTROL = range(1, 11)
_DISPLAYED: tuple[Item, ...] = (("U", "1"), ("I", "1"), ("P", "1"), ("LAMBda", "1"))


def float_words(value: float) -> tuple[int, int]:
    """High and low word of a value: NaN is 7FC0 0000, infinite or beyond a single float 7F80 0000."""
    if math.isnan(value):
        return 0x7FC0, 0
    try:
        words: tuple[int, int] = struct.unpack(">HH", struct.pack(">f", value))
    except OverflowError:
        return 0x7F80, 0
    return words


class Wt310eRegisters(ModbusDevice):
    """The register map over what the instrument shows; it answers to any of the units that mean itself, and to 1."""

    unit = 1

    def __init__(self, element: Element, commands: Commands) -> None:
        self._element = element
        self._commands = commands

    @property
    def listening(self) -> bool:
        """False while the instrument is silent by a fault."""
        return "silent" not in self._element.faults

    def read_input(self, start: int, count: int) -> Sequence[int]:
        """Over-range bits, or words of floats; an illegal address where one of the registers is not served."""
        numbers = range(start + 1, start + 1 + count)
        areas: tuple[tuple[int, int, Callable[[int], Item]], ...] = (
            (_ELEMENT_1, 1, lambda at: ("U", "1")),
            (_ITEMS, MOST_ITEMS, lambda at: self._commands.item(at + 1)),
            (_DISPLAY, len(_DISPLAYED), lambda at: _DISPLAYED[at]),
        )
        for first, floats, item in areas:
            if first <= numbers[0] and numbers[-1] < first + 2 * floats:
                begin, end = (numbers[0] - first) // 2, (numbers[-1] - first) // 2
                shown = self._commands.numbers([item(at) for at in range(begin, end + 1)])
                words = [word for number in shown for word in float_words(parse_number(number))]
                skip = (numbers[0] - first) % 2
                return words[skip : skip + count]
        bits = {_PEAKS_OVER: self._commands.peaks_over, _RANGES_OVER: self._commands.ranges_over}
        if not all(number in bits for number in numbers):
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return [bits[number]() for number in numbers]

    def read_holding(self, start: int, count: int) -> Sequence[int]:
        """Refused: what the control registers hold is not known."""
        raise ModbusRefusal(ILLEGAL_ADDRESS)

    def write_register(self, address: int, value: int) -> None:
        """Refused: an illegal value for a control register, as no code is known, an illegal address elsewhere."""
        raise ModbusRefusal(ILLEGAL_VALUE if address + 1 in _CONTROL else ILLEGAL_ADDRESS)
