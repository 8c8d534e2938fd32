"""From a role to variables and arguments: one mapping for all roles, by the type hints of `drivers.roles`.

Dataclasses spread into one variable a field, enumerations become their member's name, durations seconds, sequences of
dataclasses lines of text. Units come from the end of a field's name (`power_w`) and carry the code that OPC UA takes from
UNECE Recommendation 20.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from drivers import roles


@dataclass(frozen=True)
class Unit:
    """A unit as OPC UA's EUInformation wants it: what is shown, its name, and its UNECE code (empty where there is none)."""

    shown: str
    name: str
    code: str = ""

    @property
    def unit_id(self) -> int:
        """The code's bytes as a number, as OPC 10000-8 (5.6.3) makes it; -1 without a code."""
        return int.from_bytes(self.code.encode(), "big") if self.code else -1


SECOND = Unit("s", "second", "SEC")

# The longest ending that fits wins.
_UNITS = {
    "millicents_per_kwh": Unit("mcent/kWh", "thousandth of a cent per kilowatt hour"),
    "cents": Unit("cent", "cent"),
    "var": Unit("var", "var", "D44"),
    "deg": Unit("°", "degree", "DD"),
    "va": Unit("VA", "volt ampere", "D46"),
    "wh": Unit("Wh", "watt hour", "WHR"),
    "ah": Unit("Ah", "ampere hour", "AMH"),
    "hz": Unit("Hz", "hertz", "HTZ"),
    "percent": Unit("%", "percent", "P1"),
    "v": Unit("V", "volt", "VLT"),
    "a": Unit("A", "ampere", "AMP"),
    "w": Unit("W", "watt", "WTT"),
    "s": SECOND,
}
_WHOLE_WORDS = {
    "seconds": SECOND,
    "watts": Unit("W", "watt", "WTT"),
    "cents": _UNITS["cents"],
    "power_factor": Unit("1", "one", "C62"),
}
# What a quantity cannot leave, whatever measures it; other ranges belong to a model.
_RANGES = {"power_factor": (-1.0, 1.0), "phase_deg": (-180.0, 180.0), "link_strength_percent": (0.0, 100.0)}


def camel(key: str) -> str:
    """`load_side_voltage` -> `LoadSideVoltage`."""
    return "".join(word[:1].upper() + word[1:] for word in key.split("_"))


def unit_of(key: str) -> tuple[str, Unit | None]:
    """Split a field's key into what it names and its unit."""
    if key in _WHOLE_WORDS:
        return key, _WHOLE_WORDS[key]
    for ending, unit in _UNITS.items():
        if key.endswith("_" + ending):
            return key.removesuffix("_" + ending), unit
    return key, None


@dataclass(frozen=True)
class Field:
    """One variable (or argument): its key as the role spells it, its name in the address space, its Python type, its unit and
    the range that its values keep to in normal operation."""

    key: str
    name: str
    kind: type
    unit: Unit | None = None
    lines: bool = False  # an array of strings
    optional: bool = False
    range: tuple[float, float] | None = None

    @property
    def numeric(self) -> bool:
        """Whether a difference of two values means something; moments differ by seconds."""
        return self.kind in (int, float, datetime, timedelta) and not self.lines


def field(key: str, hint: Any) -> Field:
    """The variable for a key of that type. TypeError where no variable can hold it."""
    hint, optional = _strip_optional(hint)
    what, unit = unit_of(key)
    if hint is timedelta:
        unit = SECOND
    if not isinstance(hint, type) or not issubclass(hint, bool | int | float | str | datetime | timedelta | enum.Enum):
        raise TypeError(f"no variable for {key}: {hint}")
    return Field(key, camel(what), hint, unit, optional=optional, range=_RANGES.get(key))


def _strip_optional(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(inner) == 1:
            return inner[0], True
    return hint, False


def _join(prefix: str, key: str) -> str:
    """`service` + `limit_w`; but a key that says it already is left alone: `message` + `message_id`."""
    return key if not prefix or key.startswith(f"{prefix}_") else f"{prefix}_{key}"


@dataclass(frozen=True)
class Read:
    """One question to a device: a method of its role without arguments, and what goes before the keys of its answer.

    `names` are the keys where the answer is a bare tuple; `count` names the role's property that says how many there are.
    """

    method: str
    prefix: str = ""
    names: tuple[str, ...] = ()
    count: str = ""

    def fields(self, role: type, count: int = 0) -> tuple[Field, ...]:
        """The variables that the answer fills, in order."""
        hint, _ = _strip_optional(typing.get_type_hints(getattr(role, self.method))["return"])
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            hints = typing.get_type_hints(hint)
            return tuple(field(_join(self.prefix, f.name), hints[f.name]) for f in dataclasses.fields(hint))
        if self.count:
            return tuple(field(_join(self.prefix, str(n)), args[0]) for n in range(1, count + 1))
        if self.names:
            return tuple(field(_join(self.prefix, name), arg) for name, arg in zip(self.names, args, strict=True))
        if origin is Sequence or (origin is tuple and args == (str, ...)):
            return (Field(self.prefix, camel(self.prefix), str, lines=True),)
        return (field(self.prefix, hint),)

    def spread(self, answer: Any, fields: Sequence[Field]) -> list[Any]:
        """An answer's values, one for each of `fields`, still as Python has them."""
        if answer is None:
            return [None] * len(fields)
        if len(fields) == 1 and fields[0].lines:
            return [[_line(item) for item in answer]]
        if dataclasses.is_dataclass(answer):
            return [getattr(answer, f.name) for f in dataclasses.fields(answer)]
        if self.count or self.names:
            values = list(answer)
            if len(values) != len(fields):
                raise ValueError(f"{self.method} answered {len(values)} values, not {len(fields)}")
            return values
        return [answer]


def _line(item: Any) -> str:
    if isinstance(item, str):
        return item
    return " ".join(str(plain(getattr(item, f.name))) for f in dataclasses.fields(item))


def plain(value: Any) -> Any:
    """A value as a variable holds it: bool, int, float, str, aware datetime, list of str, or None."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def difference(measured: Any, modelled: Any) -> float | None:
    """Measured minus modelled, in the unit of the field (moments: seconds); None where one of them is no number.

    Infinite where one of the two is over range.
    """
    if measured is None or modelled is None:
        return None
    delta = measured - modelled
    number = delta.total_seconds() if isinstance(delta, timedelta) else float(delta)
    return None if math.isnan(number) else number


@dataclass(frozen=True)
class Argument:
    """One input argument of a command. `parameter` is the method's own; several share one where it takes a dataclass."""

    field: Field
    parameter: str
    description: str = ""


@dataclass(frozen=True)
class Command:
    """A command of a role: its name in the address space, its input arguments, and how to make the call's arguments."""

    method: str
    name: str
    arguments: tuple[Argument, ...]
    pack: Callable[[Sequence[Any]], list[Any]]
    description: str


def command(role: type, method: str) -> Command:
    """The command that calls a role's method; a parameter that is a dataclass is spread into its fields."""
    function = getattr(role, method)
    hints = typing.get_type_hints(function)
    arguments: list[Argument] = []
    packs: list[tuple[type | None, int]] = []
    for name in list(inspect.signature(function).parameters)[1:]:
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            inner = typing.get_type_hints(hint)
            keys = [f.name for f in dataclasses.fields(hint)]
            arguments += [Argument(field(key, inner[key]), name) for key in keys]
            packs.append((typing.cast(type, hint), len(keys)))
        else:
            arguments.append(Argument(field(name, hint), name))
            packs.append((None, 1))

    def pack(values: Sequence[Any]) -> list[Any]:
        out, at = [], 0
        for make, size in packs:
            part = values[at : at + size]
            out.append(part[0] if make is None else make(*part))
            at += size
        return out

    words = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return Command(method, camel(method), tuple(arguments), pack, words)


@dataclass(frozen=True)
class RoleTable:
    """What the mirror shows of a role and lets be commanded."""

    role: type
    type_name: str
    device_class: str
    reads: tuple[Read, ...]
    commands: tuple[str, ...]

    def fields(self, count: int = 0) -> tuple[tuple[Field, ...], ...]:
        """The variables of each read."""
        return tuple(read.fields(self.role, count) for read in self.reads)

    @property
    def counted(self) -> str:
        """The property that says how many of something the device has; empty where nothing is counted."""
        return next((read.count for read in self.reads if read.count), "")


TABLES: dict[type, RoleTable] = {
    table.role: table
    for table in (
        RoleTable(
            roles.Relay,
            "RelayType",
            "relay",
            (Read("closed", "closed", count="channels"),),
            ("close", "open", "pulse", "open_all"),
        ),
        RoleTable(
            roles.PowerAnalyzer,
            "PowerAnalyzerType",
            "power analyzer",
            (
                Read("read"),
                Read("integrated", "integrated"),
                Read("ranges", names=("voltage_range_v", "current_range_a")),
            ),
            ("set_ranges", "set_update_period", "start_integration", "stop_integration"),
        ),
        RoleTable(
            roles.AcSource,
            "AcSourceType",
            "AC source",
            (Read("read"), Read("is_on", "output_on"), Read("trips", "trips")),
            ("set_output", "set_limits", "on", "off", "clear_trips"),
        ),
        RoleTable(
            roles.AcLoad,
            "AcLoadType",
            "AC load",
            (Read("read"), Read("is_on", "input_on")),
            ("set_current", "set_power", "on", "off"),
        ),
        RoleTable(
            roles.Meter,
            "MeterType",
            "meter",
            (
                Read("reading"),
                Read("service", "service"),
                Read("account", "account"),
                Read("clock", "clock"),
                Read("display", "display"),
            ),
            ("connect", "disconnect", "limit", "set_clock", "set_interval", "send", "add_credit"),
        ),
        RoleTable(
            roles.Display,
            "DisplayType",
            "display",
            (
                Read("link"),
                Read("meters", "meters"),
                Read("price_millicents_per_kwh", "price_millicents_per_kwh"),
                Read("demand_w", "demand_w"),
                Read("delivered_wh", "delivered_wh"),
                Read("message", "shown"),
                Read("balance", "prepaid"),
            ),
            ("confirm",),
        ),
    )
}
"""The roles that the mirror knows. A new role needs a row here and nothing else."""
