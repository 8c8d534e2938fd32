"""What the attributes of labgrid classes have to be: attrs validators that name what would be right.

A bench file is judged by them before anything is opened, and so is whoever makes a driver by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Validator = Callable[[Any, Any, Any], None]

BAUD_RATES = (
    *(50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200),
    *(128000, 230400, 256000, 460800, 500000, 576000, 921600, 1000000, 1152000, 1500000, 2000000, 2500000, 3000000),
    *(3500000, 4000000),
)
"""Rates of serial ports: those of POSIX and Linux, those of C12.18's codes and those of relay boards."""


class Unfit(ValueError):
    """A value that an attribute cannot have. `needs`: what it can be."""

    def __init__(self, field: Any, value: Any, needs: str) -> None:
        self.needs = needs
        shown = f" {value!r}"[:80] if field.repr else ""
        super().__init__(f"{field.name}{shown}: give {needs}")


def whole(least: int, most: int) -> Validator:
    """A whole number from `least` to `most`; true and false are none."""

    def check(_: Any, field: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Unfit(field, value, f"a whole number, {least} to {most}")

    return check


def finite(*, above: float | None = None, least: float | None = None, most: float = math.inf) -> Validator:
    """A number that is neither infinite nor NaN, above a bound, or no less than one, and at most `most`."""

    def check(_: Any, field: Any, value: Any) -> None:
        fits = math.isfinite(value) and value <= most
        if above is not None:
            fits = fits and value > above
        if least is not None:
            fits = fits and value >= least
        if not fits:
            bounds = [
                *([f"above {above:g}"] if above is not None else []),
                *([f"no less than {least:g}"] if least is not None else []),
                *([f"at most {most:g}"] if most < math.inf else []),
            ]
            raise Unfit(field, value, f"a finite number {', '.join(bounds)}".rstrip())

    return check


def baud(_: Any, field: Any, value: Any) -> None:
    """A baud rate that serial ports have."""
    if isinstance(value, bool) or value not in BAUD_RATES:
        given = isinstance(value, int) and not isinstance(value, bool)
        near = f"; {min(BAUD_RATES, key=lambda rate: abs(rate - value))} is near" if given else ""
        raise Unfit(field, value, f"a baud rate that serial ports have, such as 9600 or 115200{near}")


def text(most: int, what: str = "bytes") -> Validator:
    """A text of up to so many bytes."""

    def check(_: Any, field: Any, value: Any) -> None:
        if (
            not isinstance(value, str)
            or len(value.encode()) > most
            or (what == "ASCII characters" and not value.isascii())
        ):
            raise Unfit(field, value, f"a text of at most {most} {what}")

    return check


LONGEST_TIMEOUT_S = 3_600.0
"""A link that is waited for longer than an hour is a mistake in a file."""


def timeout(instance: Any, field: Any, value: Any) -> None:
    """Seconds that a link is waited for."""
    finite(above=0, most=LONGEST_TIMEOUT_S)(instance, field, value)
