"""The catalogue of seeded non-conformities: small changes of behaviour, each named after what it does wrong.

A defect is switched on by name when a twin is built; the behaviour asks `name in self.defects` at the one place where it
goes wrong. Never in the wire, never in a test.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnknownDefect(Exception):
    """No defect of that name stands in the catalogue."""


@dataclass(frozen=True)
class Defect:
    """One non-conformity: which twin has it, which catalogue ids it breaks, what it does."""

    name: str
    of: str  # a twin's model (`ami-meter`) or a system (`css`, `adcs`, `mdms`)
    breaks: tuple[str, ...]
    does: str


CATALOGUE: dict[str, Defect] = {}


def _add(of: str, name: str, breaks: str, does: str) -> None:
    if name in CATALOGUE:
        raise ValueError(f"defect {name!r} stands twice in the catalogue")
    CATALOGUE[name] = Defect(name, of, tuple(breaks.split()), does)


def find(name: str) -> Defect:
    """The defect of that name; UnknownDefect with the nearest names where there is none."""
    try:
        return CATALOGUE[name]
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, CATALOGUE, n=3) or sorted(CATALOGUE)[:3]
        raise UnknownDefect(
            f"no defect {name!r}; nearest: {', '.join(near)} (`twinbench defects --list` shows all)"
        ) from None


def of(model: str, names: tuple[str, ...] | frozenset[str]) -> frozenset[str]:
    """Those of `names` that a twin of `model` has; UnknownDefect for a name not in the catalogue."""
    return frozenset(name for name in names if find(name).of == model)
