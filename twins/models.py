"""The models of twins: what each is called, how it is built, and which faces it can wear.

A model lives in its twin's file as `MODEL`; here stands only where to find it, so that nothing is imported before it is
wanted.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from drivers.roles import Device
from twins.faces.stream import Disturbance, Face
from twins.wiring import Site


class Behaviour(Device, Protocol):
    """A twin without its bytes: a state machine that implements its device's role, driven by clock and wiring.

    `changed` holds callbacks made after every change that the role can show. `faults` names what can be made to go wrong
    while it runs; `buttons` what a person can press at it.
    """

    name: str
    changed: list[Callable[[], None]]

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of the faults that can be injected."""
        ...

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off; ValueError for a name that is not in `faults`."""
        ...

    @property
    def buttons(self) -> tuple[str, ...]:
        """Names of the buttons that a person can press."""
        ...

    def press(self, button: str) -> None:
        """Press and release a button; ValueError for a name that is not in `buttons`."""
        ...


@dataclass(frozen=True)
class LineOptions:
    """How a face's line behaves: paced to a baud rate, disturbed; clean and unpaced by default."""

    paced_baud: int | None = None
    disturbance: Disturbance | None = None


Build = Callable[..., Any]
"""build(clock, site, *, name, options, seed, defects) -> Behaviour; `options` is an instance of the model's options."""

MakeFace = Callable[[Any, str, LineOptions], Face]
"""make(behaviour, address, line) -> Face; `address` as written after `SCHEME:` on the command line, empty for a free one."""


@dataclass(frozen=True)
class Model:
    """One model of device that has a twin."""

    name: str
    role: type
    options: type[BaseModel]
    build: Build
    faces: Mapping[str, MakeFace]
    default_site: Callable[[Site], BaseModel]
    """Builds the small site of a twin served alone (240 V, 60 Hz, 5 A at unity power factor) and returns its options."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """What the model's values keep to in normal operation, by field as the role spells it (`power_w`), in the field's unit."""


_WHERE = {
    "waveshare-relay": "twins.relays.waveshare",
    "yokogawa-wt310e": "twins.analyzers.yokogawa_wt310e",
    "ami-meter": "twins.meters.ami_meter",
    "chroma-61604": "twins.sources.chroma_61604",
    "chroma-63804": "twins.loads.chroma_63804",
    "raven": "twins.displays.raven",
}


class UnknownModel(Exception):
    """No twin of that model."""


def names() -> tuple[str, ...]:
    """Models that have a twin."""
    return tuple(_WHERE)


def find(name: str) -> Model:
    """The model of that name; UnknownModel where there is none."""
    if name not in _WHERE:
        raise UnknownModel(f"no twin of model {name!r}; models are {', '.join(_WHERE)}")
    model: Model = importlib.import_module(_WHERE[name]).MODEL
    return model
