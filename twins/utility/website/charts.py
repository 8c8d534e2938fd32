"""Bar charts as plain geometry; templates/chart.html draws them as SVG, so that they need nothing of a browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 10, 26


@dataclass(frozen=True)
class Value:
    """What one bar stands for: `label` below it, `told` what it says in full."""

    label: str
    amount: float
    told: str


@dataclass(frozen=True)
class Bar:
    """A bar, in the chart's own units, origin at the top left."""

    x: float
    y: float
    width: float
    height: float
    value: Value
    labelled: bool


@dataclass(frozen=True)
class Line:
    """A line of the grid at an amount."""

    y: float
    amount: float


@dataclass(frozen=True)
class Chart:
    """A bar chart, WIDTH by HEIGHT."""

    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    base: float
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    width: int = WIDTH
    height: int = HEIGHT


def chart(values: Sequence[Value], most_labels: int = 8) -> Chart | None:
    """A chart of amounts from 0 up, one bar each; None where there is nothing to draw."""
    if not values:
        return None
    step = _step(max(value.amount for value in values))
    top = step * max(1, math.ceil(max(value.amount for value in values) / step))
    room, base = HEIGHT - _TOP - _BOTTOM, float(HEIGHT - _BOTTOM)
    pitch = (WIDTH - _LEFT - _RIGHT) / len(values)
    every = math.ceil(len(values) / most_labels)
    bars = []
    for k, value in enumerate(values):
        height = room * max(0.0, value.amount) / top
        width = min(pitch * 0.72, 60.0)
        x = _LEFT + pitch * k + (pitch - width) / 2
        bars.append(Bar(round(x, 1), round(base - height, 1), round(width, 1), round(height, 1), value, k % every == 0))
    lines = tuple(Line(round(base - room * n * step / top, 1), n * step) for n in range(round(top / step) + 1))
    return Chart(tuple(bars), lines, base)


def _step(largest: float) -> float:
    """A round step that divides an axis into two to five pieces."""
    if largest <= 0 or not math.isfinite(largest):
        return 1.0
    rough = largest / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
