"""What the mirror is told of the bench: its devices and the run that is going on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from drivers.roles import Identity
from twins.models import Behaviour


class MirrorError(Exception):
    """The mirror cannot start, or was asked for something it has not got; one line with the remedy."""


@dataclass(frozen=True)
class MirroredDevice:
    """A device as the mirror knows it: by its role.

    `driver` implements the role over the wire (called in worker threads), `model` implements it in process: the twin's own
    behaviour, or a shadow of a real device, None for neither. `twin` is there where the device is simulated.
    `deviation_limits` are absolute, by field as the role spells it (`power_w`), in the field's unit; `ranges` are what the
    model's values keep to in normal operation, likewise.
    """

    name: str
    role: type
    driver: Any
    model: Any | None
    twin: Behaviour | None
    identity: Identity
    deviation_limits: Mapping[str, float] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunInfo:
    """The run as the mirror shows it."""

    name: str = ""
    seed: int = 0
    state: str = "idle"


Operator = Callable[[str, str], bool]
"""Asks the person at the bench: operator(device, what to do) -> done. Called in a worker thread; may take its time."""

OnDeviation = Callable[[str, str, Any, Any, float, datetime], None]
"""on_deviation(device, field, measured, modelled, limit, at): a field has left its limit, with the first reading that did and its
moment of bench time. Called once, and again only after the field has been back within its limit; on the loop's thread."""
