"""Reads and checks bench files: labgrid environment files with a `twinbench` section beside labgrid's own.

labgrid ignores keys and attributes that it doesn't know; here they are errors, with file, line and the nearest name.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import attr
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.data import BadInput, at, checked, nearest, read
from drivers import roles
from twins import models
from twins.clock import EPOCH, Clock
from twins.faces.stream import Disturbance, Endpoint
from twins.mirror.config import MirrorConfig
from twins.utility.config import UtilityConfig
from twins.wiring import Contact, Load, Node, Site, Source, Tap, WiringError, single_phase, split_phase, three_phase

ROLES: dict[str, type] = {"Relay": roles.Relay, "PowerAnalyzer": roles.PowerAnalyzer, "Meter": roles.Meter}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


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
    """A contact, and what feeds it."""

    contact: str
    behind: str
    closed: bool = False


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


Place = Annotated[SourcePlace | ContactPlace | TapPlace | LoadPlace, Field(union_mode="smart")]


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

    role: Literal["Relay", "PowerAnalyzer", "Meter"]
    model: str
    options: dict[str, Any] = {}
    faces: dict[str, FaceConfig] = {}
    identity: IdentityConfig = IdentityConfig()
    deviation: dict[str, float] = {}

    @property
    def is_twin(self) -> bool:
        """Whether the bench runs the device itself."""
        return bool(self.faces)


class BenchConfig(_Strict):
    """The `twinbench` section of a bench file."""

    name: str
    target: str
    pics: list[str] = []
    clock: ClockConfig = ClockConfig()
    seed: int = Field(1, ge=0, lt=2**63)
    wiring: list[Place]
    devices: dict[str, DeviceConfig]
    mirror: MirrorConfig = Field(default_factory=lambda: MirrorConfig.model_validate({}))
    utility: UtilityConfig


@dataclass(frozen=True)
class Inventory:
    """A bench file, read and checked. `raw` is the file's data as labgrid will see it, links to twins unresolved."""

    path: Path
    raw: Mapping[str, Any]
    config: BenchConfig

    def build_site(self, clock: Clock) -> Site:
        """Build the electrical site. WiringError names what does not fit."""
        site = Site(clock)
        for place in self.config.wiring:
            _build(site, place)
        return site

    def resolved(self, endpoints: Mapping[tuple[str, str], Endpoint]) -> dict[str, Any]:
        """The labgrid data with every link `twin:DEVICE/FACE` replaced by where that face can be reached now."""

        def resolve(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: resolve(item) for key, item in value.items()}
            if isinstance(value, list):
                return [resolve(item) for item in value]
            if isinstance(value, str) and value.startswith("twin:"):
                device, _, face = value.removeprefix("twin:").partition("/")
                return _as_link(endpoints[device, face])
            return value

        data: dict[str, Any] = resolve({k: v for k, v in self.raw.items() if k != "twinbench"})
        return data


def _as_link(endpoint: Endpoint) -> str:
    """How a link names an endpoint: a VISA resource for VXI-11, a path or host:port otherwise."""
    if endpoint.scheme == "vxi11":
        host, _, port = endpoint.address.rpartition(":")
        return f"TCPIP::{host},{port}::inst0::INSTR"
    return endpoint.address


def _build(site: Site, place: Place) -> None:
    if isinstance(place, SourcePlace):
        legs = {"single": single_phase, "split": split_phase, "three": three_phase}[place.system](place.volts)
        Source(site, place.source, legs, place.frequency_hz)
        return
    node: Node
    if isinstance(place, ContactPlace):
        node = Contact(site, place.contact, place.closed)
    elif isinstance(place, TapPlace):
        node = Tap(site, place.tap)
    else:
        node = Load(site, place.load, place.kind, place.value, place.power_factor, place.legs)
    if place.behind not in site.nodes:
        raise WiringError(f"{place.behind!r} is not in the wiring above; {nearest(place.behind, list(site.nodes))}")
    site.nodes[place.behind].feeds(node)


def load(path: Path) -> Inventory:
    """Read and check a bench file. BadInput names file, line, key and what would be right."""
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
    config = checked(path, node, data["twinbench"], BenchConfig, ["twinbench"])
    if isinstance(data["imports"], str):
        data["imports"] = [data["imports"]]
    for index, name in enumerate(data["imports"]):
        try:
            importlib.import_module(str(name))
        except ImportError as no:
            raise at(path, node, ["imports", index], f"cannot import {name!r}: {no}") from None
    if not isinstance(data["targets"], dict) or not data["targets"]:
        raise at(path, node, ["targets"], "needs at least one target with its resources and drivers")
    if config.target not in data["targets"]:
        raise at(
            path, node, ["twinbench", "target"], f"no such target; {nearest(config.target, list(data['targets']))}"
        )
    for name, target in data["targets"].items():
        _check_target(path, node, name, target, config)
    inventory = Inventory(path, data, config)
    _check_devices(path, node, inventory)
    return inventory


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
    seen: set[str] = set()
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
                if a.init and a.name in fields and a.default is attr.NOTHING and a.name not in attributes:
                    raise at(path, node, here, f"the attribute {a.name!r} is missing")
            if kind == "resources":
                for key, value in attributes.items():
                    if isinstance(value, str) and value.startswith("twin:"):
                        _check_twin_link(path, node, [*here, key], value, config)
            else:
                _check_bindings(path, node, here, cls, attributes.get("bindings", {}), seen)


def _check_twin_link(
    path: Path, node: yaml.Node | None, here: list[str | int], value: str, config: BenchConfig
) -> None:
    device, slash, face = value.removeprefix("twin:").partition("/")
    if not slash or device not in config.devices:
        raise at(
            path, node, here, f"no device {device!r}; write twin:DEVICE/FACE, {nearest(device, list(config.devices))}"
        )
    faces = config.devices[device].faces
    if face not in faces:
        raise at(path, node, here, f"{device!r} has no face {face!r}; {nearest(face, list(faces))}")


def _check_bindings(
    path: Path, node: yaml.Node | None, here: list[str | int], cls: type, bindings: Any, seen: set[str]
) -> None:
    if not isinstance(bindings, dict):
        raise at(path, node, [*here, "bindings"], "is a mapping from the driver's own names to names of this target")
    wants = list(getattr(cls, "bindings", {}))
    for key, name in bindings.items():
        if key not in wants:
            raise at(
                path, node, [*here, "bindings", key], f"{cls.__name__} binds no such thing; {nearest(str(key), wants)}"
            )
        if name not in seen:
            raise at(
                path,
                node,
                [*here, "bindings", key],
                f"nothing above is named {name!r}; {nearest(str(name), sorted(seen))}",
            )


def _check_devices(path: Path, node: yaml.Node | None, inventory: Inventory) -> None:
    from twins.clock import SteppedClock

    config = inventory.config
    drivers = [
        attributes["name"]
        for entry in inventory.raw["targets"][config.target].get("drivers", [])
        for attributes in entry.values()
    ]
    for index, place in enumerate(config.wiring):
        here: list[str | int] = ["twinbench", "wiring", index]
        if index == 0:
            site = Site(SteppedClock())
        try:
            _build(site, place)
        except WiringError as no:
            raise at(path, node, here, str(no)) from None
    for name, device in config.devices.items():
        place_of = ["twinbench", "devices", name]
        if name not in drivers:
            raise at(
                path, node, place_of, f"no driver of that name in target {config.target!r}; {nearest(name, drivers)}"
            )
        try:
            model = models.find(device.model)
        except models.UnknownModel as no:
            raise at(path, node, [*place_of, "model"], str(no)) from None
        if model.role is not ROLES[device.role]:
            raise at(path, node, [*place_of, "role"], f"{device.model} is a {model.role.__name__}")
        options = checked(path, node, device.options, model.options, [*place_of, "options"])
        for face_name, face in device.faces.items():
            if face.scheme not in model.faces:
                known = nearest(face.scheme, list(model.faces))
                raise at(
                    path, node, [*place_of, "faces", face_name, "scheme"], f"{device.model} has no such face; {known}"
                )
        try:
            if inspect.signature(model.build).parameters:
                model.build(site.clock, site, name=name, options=options)
        except WiringError as no:
            raise at(path, node, [*place_of, "options"], str(no)) from None
    if config.clock.kind == "stepped":
        real = [name for name, device in config.devices.items() if not device.is_twin]
        if real:
            raise at(
                path,
                node,
                ["twinbench", "clock"],
                f"{', '.join(real)} is real (it has no faces): a bench with a real device runs on the wall clock, "
                "write `clock: {kind: wall}`",
            )
