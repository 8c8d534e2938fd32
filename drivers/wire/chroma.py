"""What Chroma's 61600 AC sources and 63800 AC loads encode in numbers: protection registers and the sign of a power factor.

Facts: user's manual of the 61601 to 61604 (questionable status register: its nine protections in the order printed; that
the order is that of the bits is our reading), operation and programming manual of the 63800 (`LOAD:PROTect?`), data sheet of
the 63800 (a positive power factor leads).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SOURCE_PROTECTIONS = ("OVP", "INP", "OCP", "FAN", "SHT", "OTP", "OPP", "INT-DD", "INT-AD")
"""Bits 0 to 8 of the source's `STATus:QUEStionable:CONDition?`: output voltage, line input, current, fan, output short,
temperature, power, inner power stages."""

LOAD_PROTECTIONS = (
    "FE",
    "UV",
    "UV",
    "OVP",
    "OVPP",
    "OCP",
    "OPP",
    "OTP",
    "FANFAIL",
    "LDF",
    "FREQ ERR",
    "PWRFAIL",
)
"""Bits 0 to 11 of the load's `LOAD:PROTect?`: frequency, under voltage (two bits), voltage, peak voltage, current, power,
temperature, fan, load failure, frequency variation, input power."""


def names_of(register: int, protections: Sequence[str]) -> tuple[str, ...]:
    """The protections whose bits are set, each once, lowest bit first. ValueError for a bit that no protection has."""
    if register < 0 or register >> len(protections):
        raise ValueError(f"{register} is no register of {len(protections)} protections")
    return tuple(dict.fromkeys(name for bit, name in enumerate(protections) if register >> bit & 1))


def register_of(names: Iterable[str], protections: Sequence[str]) -> int:
    """The register with the (lowest) bit of each name set. ValueError for a name that is no protection."""
    return sum(1 << protections.index(name) for name in set(names))


def turned_sign(power_factor: float) -> float:
    """A power factor in the other convention, either way: the load counts leading current positive, our roles lagging.

    At 1 there is neither lead nor lag, and the load is told 1.
    """
    return 1.0 if abs(power_factor) == 1 else 0.0 - power_factor
