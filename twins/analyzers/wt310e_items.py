"""The numeric items of a Yokogawa WT310E: which figures a reply holds, and how each is written.

Facts: IM WT310E-17EN (functions, presets 1 and 2); digits as real units sent them. Presets 3 and 4 are our profile.
"""

from __future__ import annotations

import math

from drivers.wire.ieee488 import engineering, short_form
from twins.analyzers.wt310e_element import Integrals, Readings

MOST_ITEMS = 255
_BASIC = ("U", "I", "P", "S", "Q", "LAMBda", "PHI", "FU", "FI")
_PEAKS = ("UPPeak", "UMPeak", "IPPeak", "IMPeak", "PPPeak", "PMPeak")
_INTEGRALS = ("TIME", "WH", "WHP", "WHM", "AH", "AHP", "AHM")
FUNCTIONS = (*_BASIC, *_PEAKS, *_INTEGRALS, "MATH", "URANge", "IRANge")
ELEMENTS = ("1", "2", "3", "SIGMa")
_PRESETS = {1: ("U", "I", "P"), 2: _BASIC, 3: _BASIC + _PEAKS, 4: _BASIC + _PEAKS + _INTEGRALS}

Item = tuple[str, str] | None
"""Function and element of a numeric item; None is the item NONE."""


def label(item: Item) -> str:
    """An item's name as HEADER? tells it: `U-E1`."""
    if item is None:
        return "NONE"
    return f"{short_form(item[0])}-{'SIGMA' if item[1] == 'SIGMa' else 'E' + item[1]}"


class NumericItems:
    """The list of items and how many of them a reply holds. Items count from 1."""

    def __init__(self) -> None:
        self.number = 10
        self.preset(2)

    def get(self, at: int) -> Item:
        """The item at a place."""
        return self._items[at - 1]

    def put(self, at: int, item: Item) -> None:
        """Set the item at a place."""
        self._items[at - 1] = item

    def sent(self) -> list[Item]:
        """The items of a reply."""
        return self._items[: self.number]

    def preset(self, number: int) -> None:
        """Fill the list with preset 1 to 4; the number of items in a reply stays."""
        self._items: list[Item] = [None] * MOST_ITEMS
        functions = _PRESETS[number]
        for place, element in enumerate(ELEMENTS):
            first = place * (len(functions) + 1) if number > 1 else place * len(functions)
            for k, function in enumerate(functions):
                self._items[first + k] = (function, element)

    def clear(self, first: int, last: int) -> None:
        """Make the items from `first` to `last` NONE."""
        self._items[first - 1 : last] = [None] * (last - first + 1)

    def delete(self, first: int, last: int) -> None:
        """Take the items from `first` to `last` out; those behind move up."""
        del self._items[first - 1 : last]
        self._items += [None] * (MOST_ITEMS - len(self._items))


def number_of(function: str, readings: Readings, integrals: Integrals, math_function: str) -> str:
    """One figure as the instrument says it: NR3, for TIME NR1, `NAN` or `INF`."""
    r, n = readings, integrals
    u, i, p = r.voltage_range_v, r.current_range_a, r.power_range_w
    peak = math.sqrt(2)
    shown: dict[str, tuple[float, float, int]] = {
        "U": (r.voltage_v, u, 5),
        "I": (r.current_a, i, 5),
        "P": (r.power_w, p, 5),
        "S": (r.apparent_va, p, 5),
        "Q": (r.reactive_var, p, 5),
        "LAMBda": (r.power_factor, 1, 5),
        "PHI": (r.phase_deg, 180, 4),
        "FU": (r.voltage_hz, r.voltage_hz, 5),
        "FI": (r.current_hz, r.current_hz, 5),
        "UPPeak": (peak * r.voltage_v, u, 5),
        "UMPeak": (-peak * r.voltage_v, u, 5),
        "IPPeak": (peak * r.current_a, i, 5),
        "IMPeak": (-peak * r.current_a, i, 5),
        "PPPeak": (r.power_w + r.apparent_va, p, 5),
        "PMPeak": (r.power_w - r.apparent_va, p, 5),
        "URANge": (u, u, 4),
        "IRANge": (i, i, 4),
    }
    if function in shown:
        value, scale, digits = shown[function]
        return engineering(value, scale if math.isfinite(scale) else 1, digits)
    if function == "TIME":
        return str(int(n.elapsed_s))
    sums = {
        "WH": n.positive_wh + n.negative_wh,
        "WHP": n.positive_wh,
        "WHM": n.negative_wh,
        "AH": n.charge_ah,
        "AHP": n.charge_ah,
        "AHM": 0.0,
    }
    if function in sums:
        return engineering(sums[function], sums[function], 6)
    if math_function == "AVW1":
        mean = sums["WH"] * 3600 / n.elapsed_s if n.elapsed_s else math.nan
        return engineering(mean, p, 5)
    rms = r.voltage_v if math_function == "CFU1" else r.current_a
    return engineering(peak if rms and math.isfinite(rms) else math.inf, peak, 4)  # a crest factor
