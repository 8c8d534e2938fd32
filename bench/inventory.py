"""Reads and checks bench files: labgrid environment files with a `twinbench` section beside labgrid's own.

labgrid ignores keys and attributes that it doesn't know; here they are errors, with file, line and the nearest name.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import attr
import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from bench import labgrid_keys
from bench.data import BadInput, at, checked, nearest, read
from bench.evidence.mask import is_secret, masked
from bench.judge import pics
from bench.safety import SafetyConfig, controlled_sources
from drivers import roles
from drivers.checks import Unfit
from drivers.device import DeviceDriver
from drivers.links import Link
from drivers.wire.address import host_port
from twins import defects as seeded
from twins import models
from twins.clock import EPOCH, Clock, SteppedClock
from twins.faces.stream import Disturbance, Endpoint
from twins.mirror.config import MirrorConfig
from twins.mirror.variables import TABLES
from twins.utility.config import UtilityConfig
from twins.wiring import (
    Bus,
    Contact,
    Load,
    Node,
    Site,
    Source,
    Tap,
    WiringError,
    single_phase,
    split_phase,
    three_phase,
)

ROLES: dict[str, type] = {
    "Relay": roles.Relay,
    "PowerAnalyzer": roles.PowerAnalyzer,
    "AcSource": roles.AcSource,
    "AcLoad": roles.AcLoad,
    "Meter": roles.Meter,
    "Display": roles.Display,
}

_PLACE = "RemotePlace"
"""labgrid's resource that stands for all those of an acquired place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ClockConfig(_Strict):
    """Which clock the bench runs on, and where a stepped one starts."""

    kind: Literal["stepped", "wall"] = "stepped"
    epoch: datetime = EPOCH

    @field_validator("epoch")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("needs a time zone: write it as 2026-01-05T08:00:00Z")
        return value.astimezone(UTC)

    @model_validator(mode="after")
    def _epoch_is_stepped(self) -> ClockConfig:
        if self.kind == "wall" and "epoch" in self.model_fields_set:
            raise ValueError("a wall clock has no epoch")
        return self


class SourcePlace(_Strict):
    """A voltage source of the site."""

    source: str
    system: Literal["single", "split", "three"] = "single"
    volts: float = Field(240.0, gt=0, le=1000)
    frequency_hz: float = Field(60.0, gt=0, le=1000)


class ContactPlace(_Strict):
    """A contact, and what feeds it; a dry one (at a button, a door) is fed by nothing."""

    contact: str
    behind: str | None = None
    closed: bool = False


class BusPlace(_Strict):
    """A bar that two or more feeders lead to. Of those one at a time may be live: what the bench switches, it refuses to tie."""

    bus: str
    behind: Annotated[list[str], Field(min_length=2)]


class TapPlace(_Strict):
    """A place where a meter or an analyzer sits, and what feeds it."""

    tap: str
    behind: str


class LoadPlace(_Strict):
    """A load, and what feeds it."""

    load: str
    behind: str
    kind: Literal["current", "power", "impedance"] = "current"
    value: float
    power_factor: float = Field(1.0, ge=-1, le=1)
    legs: list[int] = [0]


def _place_of(value: Any) -> str | None:
    """Which kind of place a mapping is: the one whose key it has."""
    return next(
        (kind for kind in ("source", "contact", "bus", "tap", "load") if isinstance(value, dict) and kind in value),
        None,
    )


Place = Annotated[
    Annotated[SourcePlace, Tag("source")]
    | Annotated[ContactPlace, Tag("contact")]
    | Annotated[BusPlace, Tag("bus")]
    | Annotated[TapPlace, Tag("tap")]
    | Annotated[LoadPlace, Tag("load")],
    Discriminator(
        _place_of,
        custom_error_type="place",
        custom_error_message="needs one of the keys source, contact, bus, tap, load, with the place's own name",
    ),
]


class DisturbanceConfig(_Strict):
    """What a bad line does, each way."""

    garble: float = Field(0.0, ge=0, le=1)
    drop: float = Field(0.0, ge=0, le=1)
    delay_s: float = Field(0.0, ge=0)
    cut_after: int | None = Field(None, ge=0)


class FaceConfig(_Strict):
    """One face of a twin: how it can be reached. `address` is only given where it has to be the same each time."""

    scheme: str
    address: str = ""
    paced_baud: int | None = Field(None, gt=0)
    disturbance: DisturbanceConfig | None = None

    def line(self, seed: int) -> models.LineOptions:
        """The line's options, with the run's seed."""
        bad = self.disturbance
        return models.LineOptions(
            self.paced_baud,
            None if bad is None else Disturbance(bad.garble, bad.drop, bad.delay_s, bad.cut_after, seed),
        )


class IdentityConfig(_Strict):
    """Who a device has to say it is; what is left out is not compared."""

    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None


class DeviceConfig(_Strict):
    """A device of the bench, named as its labgrid driver is. With `faces` it is a twin, without it is real.

    `model` and `options` describe its twin, and its shadow: the healthy model that is fed with the same commands.
    """

    role: Literal["Relay", "PowerAnalyzer", "AcSource", "AcLoad", "Meter", "Display"]
    model: str
    options: dict[str, Any] = {}
    faces: dict[str, FaceConfig] = {}
    identity: IdentityConfig = IdentityConfig()
    deviation: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    @property
    def is_twin(self) -> bool:
        """Whether the bench runs the device itself."""
        return bool(self.faces)


class ParametersConfig(_Strict):
    """Long waits of the tests. Where a bench makes one shorter, because its time is real, the record names it."""

    day_s: float = Field(86_400.0, gt=0, le=86_400)
    """What counts as a day where something has to happen at least daily."""


class BenchConfig(_Strict):
    """The `twinbench` section of a bench file."""

    name: str
    target: str
    pics: list[str] = []
    clock: ClockConfig = ClockConfig()
    seed: int = Field(1, ge=0, lt=2**63)
    parameters: ParametersConfig = Field(default_factory=lambda: ParametersConfig.model_validate({}))
    wiring: list[Place]
    devices: dict[str, DeviceConfig]
    safety: SafetyConfig = SafetyConfig()
    mirror: MirrorConfig = Field(default_factory=lambda: MirrorConfig.model_validate({}))
    utility: UtilityConfig


@dataclass(frozen=True)
class Inventory:
    """A bench file, read and checked. `raw` is the file's data as labgrid will see it, links to twins unresolved."""

    path: Path
    raw: Mapping[str, Any]
    config: BenchConfig

    @property
    def place(self) -> str | None:
        """The labgrid place that brings links of the target, where there is one."""
        resources = self.raw["targets"][self.config.target].get("resources", [])
        return next((entry[_PLACE]["name"] for entry in resources if _PLACE in entry), None)

    def build_site(self, clock: Clock) -> Site:
        """Build the electrical site. WiringError names what does not fit."""
        site = Site(clock)
        for place in self.config.wiring:
            _build(site, place)
        return site

    def build_device(
        self, name: str, clock: Clock, site: Site, seed: int, defects: frozenset[str] = frozenset()
    ) -> models.Behaviour:
        """Build a device's behaviour on a site: its twin, or with another site its shadow."""
        device = self.config.devices[name]
        model = models.find(device.model)
        behaviour: models.Behaviour = model.build(
            clock,
            site,
            name=name,
            options=model.options.model_validate(device.options),
            seed=seed,
            defects=seeded.of(device.model, defects),
        )
        return behaviour

    def link_addresses(self, endpoints: Mapping[tuple[str, str], Endpoint]) -> dict[str, str]:
        """Where each link leads, by its name, with the links to twins resolved."""
        found = {}
        for entry in self.resolved(endpoints)["targets"][self.config.target].get("resources", []):
            for cls_name, attributes in entry.items():
                if cls_name in ADDRESS:
                    found[attributes["name"]] = attributes[ADDRESS[cls_name]]
        return found

    def resolved(self, endpoints: Mapping[tuple[str, str], Endpoint]) -> dict[str, Any]:
        """The labgrid data with every link `twin:DEVICE/FACE` replaced by where that face can be reached now."""

        def resolve(value: Any, cls_name: str = "") -> Any:
            if isinstance(value, dict):
                return {
                    key: resolve(item, cls_name or (str(key) if key in _CARRIES else "")) for key, item in value.items()
                }
            if isinstance(value, list):
                return [resolve(item) for item in value]
            if isinstance(value, str) and value.startswith("twin:"):
                device, _, face = value.removeprefix("twin:").partition("/")
                return _as_link(cls_name, endpoints[device, face])
            return value

        data: dict[str, Any] = resolve({k: v for k, v in self.raw.items() if k != "twinbench"})
        return data


ADDRESS = {"SerialLine": "port", "ModbusRtuLine": "port", "ModbusTcpLink": "address", "VisaLink": "resource"}
"""The attribute of each class of link that says where it leads."""


def leads_to(link: Link) -> str:
    """Where a link leads, as its file has it."""
    return str(getattr(link, ADDRESS.get(type(link).__name__, "name")))


_CARRIES: dict[str, dict[str, str]] = {
    "SerialLine": {"pty": "{0}"},
    "ModbusRtuLine": {"rtu": "{0}"},
    "ModbusTcpLink": {"modbus": "{0}"},
    "VisaLink": {
        "vxi11": "TCPIP::{1},{2}::inst0::INSTR",
        "hislip": "TCPIP::{1}::hislip0,{2}::INSTR",
        "tcp": "TCPIP::{1}::{2}::SOCKET",
        "pty": "ASRL{0}::INSTR",
    },
}
"""Which faces a link of a class can reach, by scheme, and how it names one: {0} address, {1} host, {2} port."""


_ON_PTY = ("pty", "rtu")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def _as_link(cls_name: str, endpoint: Endpoint) -> str:
    """How a link of a class names an endpoint."""
    host, _, port = endpoint.address.rpartition(":")
    return _CARRIES[cls_name][endpoint.scheme].format(endpoint.address, host, port)


def _build(site: Site, place: Place) -> None:
    if isinstance(place, SourcePlace):
        legs = {"single": single_phase, "split": split_phase, "three": three_phase}[place.system](place.volts)
        Source(site, place.source, legs, place.frequency_hz)
        return
    if isinstance(place, BusPlace):
        Bus(site, place.bus, [_feeder(site, name) for name in place.behind])
        return
    node: Node
    if isinstance(place, ContactPlace):
        node = Contact(site, place.contact, place.closed)
    elif isinstance(place, TapPlace):
        node = Tap(site, place.tap)
    else:
        node = Load(site, place.load, place.kind, place.value, place.power_factor, place.legs)
    if place.behind is not None:
        _feeder(site, place.behind).feeds(node)


def _feeder(site: Site, name: str) -> Node:
    if name not in site.nodes:
        raise WiringError(f"{name!r} is not in the wiring above; {nearest(name, list(site.nodes))}")
    node = site.nodes[name]
    if isinstance(node, Contact) and node.parent is None:
        raise WiringError(f"{name!r} is a dry contact and feeds nothing; give it a `behind`, or hang this elsewhere")
    return node


def links_of(path: Path) -> dict[str, str]:
    """Read a file of link addresses, as `twinbench site` prints it. BadInput where it is none."""
    try:
        links = json.loads(path.read_text(encoding="utf-8"))["links"]
    except (OSError, ValueError, KeyError, TypeError) as no:
        raise BadInput(f"{path}: is not what `twinbench site` prints: {no!r}") from None
    if not isinstance(links, dict) or not all(isinstance(v, str) for v in links.values()):
        raise BadInput(f"{path}: links is a mapping from names of links to addresses")
    return links


def _lead_elsewhere(path: Path, data: Any, links: Mapping[str, str]) -> None:
    """Put other addresses into the links of a bench file's data."""
    places = {
        attributes["name"]: (attributes, ADDRESS[cls_name])
        for target in data["targets"].values()
        for entry in target.get("resources", [])
        for cls_name, attributes in entry.items()
        if cls_name in ADDRESS
    }
    for name, address in links.items():
        if name not in places:
            raise BadInput(f"{path}: has no link {name!r} to lead to {address}; {nearest(name, list(places))}")
        attributes, key = places[name]
        attributes[key] = address


def load(path: Path, links: Mapping[str, str] | None = None) -> Inventory:
    """Read and check a bench file. BadInput names file, line, key and what would be right.

    `links` gives other addresses to links, by name.
    """
    data, node = read(path)
    if not isinstance(data, dict):
        raise BadInput(f"{path}: a bench file is a mapping with the keys imports, targets and twinbench")
    known = ["imports", "targets", "options", "twinbench"]
    for key in data:
        if key not in known:
            raise at(path, node, [key], f"unknown key; {nearest(str(key), known)}")
    for key in ("imports", "targets", "twinbench"):
        if key not in data:
            raise BadInput(f"{path}: the key {key!r} is missing")
    labgrid_keys.check_options(path, node, data.get("options", {}))
    config = checked(path, node, data["twinbench"], BenchConfig, ["twinbench"])
    _check_durations(path, node, data["twinbench"], ["twinbench"])
    if isinstance(data["imports"], str):
        data["imports"] = [data["imports"]]
    if not isinstance(data["imports"], list):
        raise at(path, node, ["imports"], "is a list of dotted names: `- drivers.links`")
    for index, name in enumerate(data["imports"]):
        if not isinstance(name, str) or not _DOTTED.fullmatch(name):
            raise at(path, node, ["imports", index], f"is a dotted name such as drivers.links, not {name!r}")
        try:
            importlib.import_module(name)
        except ImportError as no:
            raise at(path, node, ["imports", index], f"cannot import {name!r}: {no}") from None
    _check_models(path, node, config)
    if not isinstance(data["targets"], dict) or not data["targets"]:
        raise at(path, node, ["targets"], "needs at least one target with its resources and drivers")
    if config.target not in data["targets"]:
        raise at(
            path, node, ["twinbench", "target"], f"no such target; {nearest(config.target, list(data['targets']))}"
        )
    for name, target in data["targets"].items():
        _check_target(path, node, name, target, config)
    if links:
        _lead_elsewhere(path, data, links)
    inventory = Inventory(path, data, config)
    _check_bench(path, node, inventory)
    return inventory


_CENTURY = {"_s": 3_155_760_000, "_min": 52_596_000, "_h": 876_600, "days": 36_525}
"""A hundred years in the units that keys end in. Dates end soon after, and nobody waits for it."""


def _check_durations(path: Path, node: yaml.Node | None, value: Any, here: list[str | int], unit: str = "") -> None:
    """Durations, by the unit that their key ends in: what is longer than a century would be no moment any more."""
    if isinstance(value, dict):
        for key, inner in value.items():
            ends = next((unit for unit in _CENTURY if isinstance(key, str) and key.endswith(unit)), "")
            _check_durations(path, node, inner, [*here, key], ends)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_durations(path, node, inner, [*here, index], unit)
    elif unit and isinstance(value, int | float) and _CENTURY[unit] < abs(value) < math.inf:
        raise at(path, node, here, f"is more than a century; give {_CENTURY[unit]} or less, not {value!r}"[:300])


def _check_target(path: Path, node: yaml.Node | None, name: str, target: Any, config: BenchConfig) -> None:
    from labgrid.factory import target_factory

    place = ["targets", name]
    if not isinstance(target, dict):
        raise at(path, node, place, "is a mapping with the keys resources and drivers")
    for key in target:
        if key not in ("resources", "drivers", "features", "options"):
            raise at(
                path,
                node,
                [*place, key],
                f"unknown key; {nearest(str(key), ['resources', 'drivers', 'features', 'options'])}",
            )
    labgrid_keys.check_target(path, node, name, target)
    seen: set[str] = set()
    above: dict[str, type] = {}
    for kind, registry in (("resources", target_factory.resources), ("drivers", target_factory.drivers)):
        entries = target.get(kind, [])
        if not isinstance(entries, list):
            raise at(path, node, [*place, kind], "is a list, one entry a class: `- ClassName: {name: ..., ...}`")
        for index, entry in enumerate(entries):
            here: list[str | int] = [*place, kind, index]
            if not isinstance(entry, dict) or len(entry) != 1:
                raise at(path, node, here, "is one class with its attributes: `- ClassName: {name: ..., ...}`")
            ((cls_name, attributes),) = entry.items()
            here.append(cls_name)
            if cls_name not in registry:
                raise at(path, node, here, f"unknown {kind[:-1]} class; {nearest(str(cls_name), sorted(registry))}")
            if not isinstance(attributes, dict) or not isinstance(attributes.get("name"), str):
                raise at(path, node, here, "needs attributes with at least a name")
            if attributes["name"] in seen:
                raise at(path, node, [*here, "name"], f"the name {attributes['name']!r} stands twice in the target")
            seen.add(attributes["name"])
            cls = registry[cls_name]
            fields = [a.name for a in attr.fields(cls) if a.init and a.name not in ("target", "name")]
            allowed = ["name", *fields, *(["bindings"] if kind == "drivers" else [])]
            for key in attributes:
                if key not in allowed:
                    raise at(path, node, [*here, key], f"unknown attribute of {cls_name}; {nearest(str(key), allowed)}")
            for a in attr.fields(cls):
                if a.name in fields and a.name in attributes:
                    _check_value(path, node, [*here, a.name], a, attributes[a.name])
                elif a.name in fields and a.default is attr.NOTHING:
                    raise at(path, node, here, f"the attribute {a.name!r} is missing")
            if kind == "resources":
                for key, value in attributes.items():
                    if isinstance(value, str) and value.startswith("twin:"):
                        _check_twin_link(path, node, [*here, key], value, config)
                    elif (cls_name, key) == ("ModbusTcpLink", "address"):
                        try:
                            host_port(value)
                        except ValueError as no:
                            raise at(path, node, [*here, key], str(no)) from None
            else:
                _check_bindings(path, node, here, cls, attributes.get("bindings", {}), above)
            above[attributes["name"]] = cls


def _check_twin_link(
    path: Path, node: yaml.Node | None, here: list[str | int], value: str, config: BenchConfig
) -> None:
    cls_name = str(here[-2])
    if cls_name not in _CARRIES:
        raise at(path, node, here, f"a {cls_name} cannot reach a twin; {', '.join(_CARRIES)} can")
    device, slash, face = value.removeprefix("twin:").partition("/")
    if not slash or device not in config.devices:
        raise at(
            path, node, here, f"no device {device!r}; write twin:DEVICE/FACE, {nearest(device, list(config.devices))}"
        )
    faces = config.devices[device].faces
    if face not in faces:
        raise at(path, node, here, f"{device!r} has no face {face!r}; {nearest(face, list(faces))}")
    if cls_name == "VisaLink" and faces[face].address.startswith("["):
        raise at(path, node, here, f"PyVISA-py reaches no IPv6 address; give {device}/{face} one like 127.0.0.1:0")
    if faces[face].scheme not in _CARRIES[cls_name]:
        reaches = ", ".join(_CARRIES[cls_name])
        raise at(path, node, here, f"{device}/{face} is a {faces[face].scheme} face; a {cls_name} reaches {reaches}")


def _check_value(path: Path, node: yaml.Node | None, here: list[str | int], field: Any, value: Any) -> None:
    """Let an attribute of a labgrid class judge a value as it will when the class is made of it."""
    try:
        taken = value if field.converter is None else field.converter(value)
        if field.validator is not None:
            field.validator(None, field, taken)
    except Unfit as no:
        what = f"needs {no.needs}, not {masked(value, is_secret(field.name))!r}"
        raise at(path, node, here, what[:300]) from None
    except (TypeError, ValueError) as no:
        kind = (
            f"a value of type {field.type}"
            if isinstance(no, TypeError) and field.type
            else f"another value ({no.args[0]})"
        )
        raise at(path, node, here, f"needs {kind}, not {masked(value, is_secret(field.name))!r}"[:300]) from None


def _check_bindings(
    path: Path, node: yaml.Node | None, here: list[str | int], cls: type, bindings: Any, above: Mapping[str, type]
) -> None:
    if not isinstance(bindings, dict):
        raise at(path, node, [*here, "bindings"], "is a mapping from the driver's own names to names of this target")
    wants: dict[str, Any] = getattr(cls, "bindings", {})
    # What a labgrid place brings is known when it is acquired, not before.
    brought = any(kind.__name__ == _PLACE for kind in above.values())
    for key, name in bindings.items():
        place = [*here, "bindings", key]
        if key not in wants:
            raise at(path, node, place, f"{cls.__name__} binds no such thing; {nearest(str(key), list(wants))}")
        if brought and isinstance(name, str) and name not in above:
            continue
        if not isinstance(name, str) or name not in above:
            raise at(path, node, place, f"nothing above is named {name!r}; {nearest(str(name), sorted(above))}")
        kinds, _ = _kinds(wants[key])
        if kinds and not issubclass(above[name], kinds):
            known = " or ".join(kind.__name__ for kind in kinds)
            raise at(path, node, place, f"{name!r} is a {above[name].__name__}, and has to be a {known}")
    for key in wants:
        kinds, optional = _kinds(wants[key])
        if key in bindings or optional or not kinds:
            continue
        fits = sorted(name for name, kind in above.items() if issubclass(kind, kinds))
        if len(fits) != 1 and not brought:
            known = " or ".join(kind.__name__ for kind in kinds)
            what = (
                f"more than one thing above is a {known}: name one of {', '.join(fits)}"
                if fits
                else f"no {known} is above"
            )
            raise at(path, node, here, f"{what}; write `bindings: {{{key}: NAME}}`")


def _kinds(wanted: Any) -> tuple[tuple[type, ...], bool]:
    """The classes that fit a labgrid binding, and whether it may be left out."""
    from labgrid.driver import Driver
    from labgrid.factory import target_factory

    if isinstance(wanted, Driver.NamedBinding):
        wanted = wanted.value
    each = wanted if isinstance(wanted, set) else {wanted}
    found = [target_factory.class_from_string(one) if isinstance(one, str) else one for one in each if one is not None]
    return tuple(sorted(found, key=lambda kind: str(kind.__name__))), None in each


def _check_models(path: Path, node: yaml.Node | None, config: BenchConfig) -> None:
    """What a device says of itself: its model, its role, its options and faces."""
    for name, device in config.devices.items():
        place = ["twinbench", "devices", name]
        if not name or "/" in name:
            raise at(path, node, place, "a device's name is not empty and has no `/`")
        try:
            model = models.find(device.model)
        except models.UnknownModel as no:
            raise at(path, node, [*place, "model"], str(no)) from None
        if model.role is not ROLES[device.role]:
            raise at(path, node, [*place, "role"], f"{device.model} is a {model.role.__name__}")
        checked(path, node, device.options, model.options, [*place, "options"])
        numbers = [one.key for read in TABLES[model.role].fields() for one in read if one.numeric]
        for key in device.deviation:
            if key not in numbers:
                what = f"no number that a {device.role} says; {nearest(key, numbers)}"
                raise at(path, node, [*place, "deviation", key], what)
        for face_name, face in device.faces.items():
            here: list[str | int] = [*place, "faces", face_name]
            if face.scheme not in model.faces:
                what = f"{device.model} has no such face; {nearest(face.scheme, list(model.faces))}"
                raise at(path, node, [*here, "scheme"], what)
            if face.scheme not in _ON_PTY and (face.paced_baud is not None or face.disturbance is not None):
                key = "disturbance" if face.paced_baud is None else "paced_baud"
                raise at(path, node, [*here, key], f"only a serial line ({', '.join(_ON_PTY)}) has one")
            if face.address and face.scheme not in _ON_PTY:
                try:
                    host_port(face.address)
                except ValueError as no:
                    raise at(path, node, [*here, "address"], f"{no}, or leave it out for a free port") from None


def _check_site(path: Path, node: yaml.Node | None, config: BenchConfig) -> Site:
    """Who feeds whom."""
    site = Site(SteppedClock(config.clock.epoch))
    for index, place in enumerate(config.wiring):
        try:
            _build(site, place)
        except WiringError as no:
            raise at(path, node, ["twinbench", "wiring", index], str(no)) from None
    return site


def _check_bench(path: Path, node: yaml.Node | None, inventory: Inventory) -> None:
    """What only fits or doesn't with everything there: drivers, wiring, strategy, utility, clock."""
    from labgrid.factory import target_factory

    from bench.strategy import SiteStrategy

    config = inventory.config
    site = _check_site(path, node, config)
    drivers: dict[str, type] = {
        attributes["name"]: target_factory.drivers[cls_name]
        for entry in inventory.raw["targets"][config.target].get("drivers", [])
        for cls_name, attributes in entry.items()
    }
    if sum(issubclass(cls, SiteStrategy) for cls in drivers.values()) != 1:
        raise at(path, node, ["targets", config.target, "drivers"], "needs one SiteStrategy, which the bench goes by")
    meters: dict[str, str] = {}
    for name, device in config.devices.items():
        place = ["twinbench", "devices", name]
        if name not in drivers:
            what = f"no driver of that name in target {config.target!r}; {nearest(name, list(drivers))}"
            raise at(path, node, place, what)
        model = models.find(device.model)
        asked = [method for method in dir(model.role) if not method.startswith("_")]
        if not issubclass(drivers[name], DeviceDriver) or not all(hasattr(drivers[name], method) for method in asked):
            what = f"its driver {drivers[name].__name__} is no driver of a {device.role}; take one that is"
            raise at(path, node, place, what)
        options = model.options.model_validate(device.options)
        try:
            model.build(site.clock, site, name=name, options=options)
        except (WiringError, ValueError) as no:
            raise at(path, node, [*place, "options"], str(no)) from None
        if device.role == "Meter":
            meter_id = str(options.meter_id)  # type: ignore[attr-defined]
            if meter_id in meters:
                what = f"{meter_id!r} is the id of {meters[meter_id]!r} already; every meter needs its own"
                raise at(path, node, [*place, "options", "meter_id"], what)
            meters[meter_id] = name
    _check_channels(path, node, inventory)
    _check_safety(path, node, config, site, drivers)
    for c, customer in enumerate(config.utility.customers):
        for a, account in enumerate(customer.accounts):
            if account.meter_id not in meters and not account.elsewhere:
                where: list[str | int] = ["twinbench", "utility", "customers", c, "accounts", a, "meter_id"]
                what = (
                    f"no meter of the bench has the id {account.meter_id!r}; {nearest(account.meter_id, list(meters))}"
                )
                raise at(path, node, where, what)
    for index, supplier in enumerate(config.pics):
        try:
            pics.load(supplier)
        except BadInput as no:
            raise at(path, node, ["twinbench", "pics", index], str(no)) from None
    real = [name for name, device in config.devices.items() if not device.is_twin]
    if real and config.clock.kind == "stepped":
        what = (
            f"{', '.join(real)} is real (it has no faces): a bench with a real device runs on the wall clock, "
            "write `clock: {kind: wall}`"
        )
        raise at(path, node, ["twinbench", "clock"], what)


def _check_channels(path: Path, node: yaml.Node | None, inventory: Inventory) -> None:
    """The relay channels that the strategy goes by: a contact of the wiring has to hang on each."""
    from labgrid.factory import target_factory

    from bench.strategy import SiteStrategy

    config = inventory.config
    entries = inventory.raw["targets"][config.target]["drivers"]
    for index, entry in enumerate(entries):
        ((cls_name, attributes),) = entry.items()
        cls = target_factory.drivers[cls_name]
        relay = config.devices.get(str(attributes.get("bindings", {}).get("relay")))
        if not issubclass(cls, SiteStrategy) or relay is None or "contacts" not in relay.options:
            continue
        wired = sorted(int(channel) for channel in relay.options["contacts"])
        for key in ("supply_channel", "load_channel"):
            channel = attributes.get(key, attr.fields_dict(cls)[key].default)
            if channel not in wired:
                what = (
                    f"no contact hangs on channel {channel} of {attributes['bindings']['relay']}; "
                    f"take one of {', '.join(map(str, wired)) or 'none'}, or name it in its options.contacts"
                )
                here = ["targets", config.target, "drivers", index, cls_name]
                raise at(path, node, [*here, key] if key in attributes else here, what)


def _check_safety(
    path: Path, node: yaml.Node | None, config: BenchConfig, site: Site, drivers: Mapping[str, type]
) -> None:
    """Ceilings and interlocks: each has to reach something that there is."""
    here: list[str | int] = ["twinbench", "safety"]
    for name in config.safety.ceilings:
        if name not in config.devices:
            raise at(path, node, [*here, "ceilings", name], f"no such device; {nearest(name, list(config.devices))}")
        if config.devices[name].role not in ("AcSource", "AcLoad"):
            what = f"a {config.devices[name].role} is set to no voltage, current or power; only AcSource and AcLoad are"
            raise at(path, node, [*here, "ceilings", name], what)
    try:
        controlled_sources(config.devices)
    except ValueError as no:
        raise at(path, node, ["twinbench", "devices"], str(no)) from None
    door = config.safety.door
    if door is None or door.device is None:
        return
    if door.device not in config.devices:
        what = f"no such device; {nearest(door.device, list(config.devices))}"
        raise at(path, node, [*here, "door", "device"], what)
    device = config.devices[door.device]
    if not hasattr(drivers[door.device], "inputs"):
        what = f"{drivers[door.device].__name__} has no digital inputs; name a relay board that has, or write operator: true"
        raise at(path, node, [*here, "door", "device"], what)
    if door.input not in {int(n) for n in device.options.get("inputs", {})}:
        what = f"no contact is at input {door.input} of {door.device}; name it in twinbench.devices.{door.device}.options.inputs"
        raise at(path, node, [*here, "door", "input"], what)
