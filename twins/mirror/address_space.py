"""The mirror's nodes: types for the roles, one object for each device, and the bench's own object.

Browse names follow OPC 10000-100 (Devices) where it has them; the rest is our own and described in `docs/opcua.md`. Node
ids are strings that read like paths: `ns=2;s=Devices/meter/Measured/Voltage`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as _field
from datetime import datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.server.internal_server import InternalServer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from drivers.roles import Identity
from twins.mirror.methods import data_value
from twins.mirror.variables import SECOND, TABLES, Argument, Command, Field, RoleTable, Unit, command

NAMESPACE = "urn:twinbench:bench"
_UNITS_URI = "http://www.opcfoundation.org/UA/units/un/cefact"

_READ = ua.AccessLevel.CurrentRead.mask
_READ_WRITE = _READ | ua.AccessLevel.CurrentWrite.mask


def standard(identifier: int) -> ua.NodeId:
    """The id of a node of OPC UA's own address space."""
    return ua.NodeId(ua.Int32(identifier))


_MANDATORY = standard(ObjectIds.ModellingRule_Mandatory)
_OPTIONAL = standard(ObjectIds.ModellingRule_Optional)

HEALTH: tuple[Field, ...] = (
    Field("link", "Link", str),
    Field("last_good_read", "LastGoodRead", datetime),
    Field("last_error", "LastError", str),
    Field("errors", "Errors", int),
)
RUN: tuple[Field, ...] = (Field("name", "Name", str), Field("seed", "Seed", int), Field("state", "State", str))
CLOCK: tuple[Field, ...] = (Field("now", "Now", datetime), Field("stepped", "Stepped", bool))


def variant_type(field: Field) -> ua.VariantType:
    """How a field's value goes over the wire."""
    if field.lines:
        return ua.VariantType.String
    if field.kind is bool:
        return ua.VariantType.Boolean
    if field.kind is int:
        return ua.VariantType.Int64
    if field.kind in (float, timedelta):
        return ua.VariantType.Double
    if field.kind is datetime:
        return ua.VariantType.DateTime
    return ua.VariantType.String


@dataclass
class DeviceNodes:
    """Where the variables of one device are: by key of the field."""

    object: ua.NodeId
    measured: dict[str, ua.NodeId] = _field(default_factory=dict)
    modelled: dict[str, ua.NodeId] = _field(default_factory=dict)
    deviation: dict[str, ua.NodeId] = _field(default_factory=dict)
    limits: dict[str, ua.NodeId] = _field(default_factory=dict)
    within_limits: ua.NodeId | None = None
    health: dict[str, ua.NodeId] = _field(default_factory=dict)
    commands: list[tuple[Command, ua.NodeId]] = _field(default_factory=list)
    inject_fault: ua.NodeId = _field(default_factory=ua.NodeId)
    press_button: ua.NodeId = _field(default_factory=ua.NodeId)


@dataclass
class BenchNodes:
    """Where the bench's own variables and methods are."""

    object: ua.NodeId
    devices: ua.NodeId
    now: ua.NodeId
    clock: ua.NodeId
    advance: ua.NodeId
    run: dict[str, ua.NodeId]


_STRUCTURES: dict[type, int] = {
    ua.Argument: ObjectIds.Argument,
    ua.EUInformation: ObjectIds.EUInformation,
    ua.Range: ObjectIds.Range,
}

INJECT_FAULT = Command(
    "inject",
    "InjectFault",
    (Argument(Field("name", "Name", str), "name"), Argument(Field("on", "On", bool), "on")),
    list,
    "Switch a fault of a twin on or off; its names stand in the property Faults.",
)
PRESS_BUTTON = Command(
    "press",
    "PressButton",
    (Argument(Field("name", "Name", str), "name"),),
    list,
    "Press and release a button at the device; its names stand in the property Buttons.",
)
ADVANCE = Command(
    "advance",
    "Advance",
    (Argument(Field("seconds", "Seconds", float, SECOND), "seconds"),),
    list,
    "Let bench time pass, at most 366 days. Returns when everything that fell due has been done. On a stepped clock only.",
)


class Builder:
    """Adds nodes to a server, many in one go. Ids are paths below the namespace of the bench."""

    def __init__(self, server: InternalServer, namespace: int, at: datetime) -> None:
        self.server = server
        self.ns = namespace
        self._at = at  # SourceTimestamp of what never changes
        self._items: list[ua.AddNodesItem] = []
        self._modelling: list[tuple[ua.NodeId, ua.NodeId]] = []
        self._rule: ua.NodeId | None = None
        self._types: dict[type, ua.NodeId] = {}

    def id(self, path: str) -> ua.NodeId:
        """The id of the node at a path."""
        return ua.NodeId(ua.String(path), ua.Int16(self.ns))

    def commit(self) -> None:
        """Add what was described since the last commit. RuntimeError where the server takes a node amiss."""
        results = self.server.node_mgt_service.add_nodes(self._items)
        for item, result in zip(self._items, results, strict=True):
            if not result.StatusCode.is_good():
                raise RuntimeError(f"mirror: node {item.RequestedNewNodeId}: {result.StatusCode.name}")
            if item.NodeClass == ua.NodeClass.Variable:
                value = self.server.aspace[item.RequestedNewNodeId].attributes[AttributeIds.Value]
                assert value.value is not None
                assert value.value.Value is not None
                value.value = data_value(value.value.Value, StatusCodes.Good, self._at)
        references = []
        for node, rule in self._modelling:
            reference = ua.AddReferencesItem()
            reference.SourceNodeId, reference.TargetNodeId, reference.IsForward = node, rule, True
            reference.ReferenceTypeId = standard(ObjectIds.HasModellingRule)
            reference.TargetNodeClass = ua.NodeClass.Object
            references.append(reference)
        self.server.node_mgt_service.add_references(references)
        self._items, self._modelling = [], []

    def _add(
        self,
        node: ua.NodeId,
        parent: ua.NodeId,
        name: ua.QualifiedName,
        node_class: ua.NodeClass,
        reference: int,
        attributes: Any,
        definition: ua.NodeId | None = None,
        words: str = "",
    ) -> ua.NodeId:
        attributes.DisplayName = ua.LocalizedText(name.Name)
        attributes.Description = ua.LocalizedText(words or name.Name)
        attributes.WriteMask = attributes.UserWriteMask = 0
        item = ua.AddNodesItem()
        item.RequestedNewNodeId, item.ParentNodeId, item.BrowseName = node, parent, name
        item.NodeClass, item.ReferenceTypeId, item.NodeAttributes = node_class, standard(reference), attributes
        if definition is not None:
            item.TypeDefinition = definition
        self._items.append(item)
        if self._rule is not None:
            self._modelling.append((node, self._rule))
        return node

    @contextlib.contextmanager
    def declaring(self, rule: ua.NodeId) -> Iterator[None]:
        """What is described inside are declarations of a type, under that modelling rule."""
        before, self._rule = self._rule, rule
        try:
            yield
        finally:
            self._rule = before

    def object(
        self, path: str, parent: ua.NodeId, definition: ua.NodeId | int, *, organised: bool = False, words: str = ""
    ) -> ua.NodeId:
        """An object whose browse name is the last part of its path."""
        kind = definition if isinstance(definition, ua.NodeId) else standard(definition)
        reference = ObjectIds.Organizes if organised else ObjectIds.HasComponent
        attributes = ua.ObjectAttributes()
        attributes.EventNotifier = 0
        name = ua.QualifiedName(path.rpartition("/")[2], self.ns)
        return self._add(self.id(path), parent, name, ua.NodeClass.Object, reference, attributes, kind, words)

    def object_type(self, name: str, base: ua.NodeId, words: str) -> ua.NodeId:
        """A type of objects."""
        attributes = ua.ObjectTypeAttributes()
        attributes.IsAbstract = False
        qualified = ua.QualifiedName(name, self.ns)
        reference = ObjectIds.HasSubtype
        return self._add(
            self.id(f"Types/{name}"), base, qualified, ua.NodeClass.ObjectType, reference, attributes, words=words
        )

    def property(
        self, path: str, parent: ua.NodeId, value: Any, kind: ua.VariantType, *, ns: int | None = None
    ) -> ua.NodeId:
        """A property that never changes."""
        name = ua.QualifiedName(path.rpartition("/")[2], self.ns if ns is None else ns)
        structure = _STRUCTURES.get(type(value[0] if isinstance(value, list) and value else value), kind.value)
        attributes = _variable(value, kind, standard(structure))
        reference, definition = ObjectIds.HasProperty, standard(ObjectIds.PropertyType)
        return self._add(self.id(path), parent, name, ua.NodeClass.Variable, reference, attributes, definition)

    def variable(
        self, path: str, parent: ua.NodeId, field: Field, *, is_property: bool = False, writable: bool = False
    ) -> ua.NodeId:
        """A variable for a field, without a value yet; with its unit and its range where it has them."""
        kind = variant_type(field)
        attributes = _variable([] if field.lines else None, kind, standard(kind.value))
        if writable:
            attributes.AccessLevel = attributes.UserAccessLevel = _READ_WRITE
        name = ua.QualifiedName(path.rpartition("/")[2], self.ns)
        if is_property:
            reference, definition = ObjectIds.HasProperty, ObjectIds.PropertyType
        else:
            reference = ObjectIds.HasComponent
            definition = ObjectIds.AnalogUnitType if field.unit else ObjectIds.BaseDataVariableType
        node = self._add(
            self.id(path), parent, name, ua.NodeClass.Variable, reference, attributes, standard(definition)
        )
        if field.unit and not is_property:
            self.property(f"{path}/EngineeringUnits", node, _eu(field.unit), ua.VariantType.ExtensionObject, ns=0)
            if field.range is not None:
                limits = ua.Range(Low=ua.Double(field.range[0]), High=ua.Double(field.range[1]))
                self.property(f"{path}/EURange", node, limits, ua.VariantType.ExtensionObject, ns=0)
        return node

    def method(self, path: str, parent: ua.NodeId, what: Command) -> ua.NodeId:
        """A method with its input arguments."""
        attributes = ua.MethodAttributes()
        attributes.Executable = attributes.UserExecutable = True
        name = ua.QualifiedName(path.rpartition("/")[2], self.ns)
        reference = ObjectIds.HasComponent
        node = self._add(
            self.id(path), parent, name, ua.NodeClass.Method, reference, attributes, words=what.description
        )
        if what.arguments:
            arguments = [_argument(argument) for argument in what.arguments]
            self.property(f"{path}/InputArguments", node, arguments, ua.VariantType.ExtensionObject, ns=0)
        return node

    # --- types -----------------------------------------------------------------------------------------------------------

    def types(self, roles: Sequence[type]) -> None:
        """The types of the bench and of the roles that are on it."""
        base = standard(ObjectIds.BaseObjectType)
        plain = ObjectIds.BaseObjectType
        device = self.object_type("DeviceType", base, "A device on the bench, real or twin.")
        with self.declaring(_MANDATORY):
            self._identification("Types/DeviceType", device, None)
            for part in ("Measured", "Health"):
                self.object(f"Types/DeviceType/{part}", device, plain)
            self._health("Types/DeviceType", self.id("Types/DeviceType/Health"))
            for what in (INJECT_FAULT, PRESS_BUTTON):
                self.method(f"Types/DeviceType/{what.name}", device, what)
        with self.declaring(_OPTIONAL):
            for part in ("Modelled", "Deviation"):
                self.object(f"Types/DeviceType/{part}", device, plain)
        for role in dict.fromkeys(roles):
            table = TABLES[role]
            node = self.object_type(table.type_name, device, f"A device of the role {table.device_class}.")
            self._types[role] = node
            with self.declaring(_MANDATORY):
                path = f"Types/{table.type_name}"
                measured = self.object(f"{path}/Measured", node, plain)
                for one in (f for fields in table.fields(0) for f in fields):
                    self.variable(f"{path}/Measured/{one.name}", measured, one)
                for name in table.commands:
                    what = command(role, name)
                    self.method(f"{path}/{what.name}", node, what)
        bench = self.object_type("BenchType", base, "The bench: its clock, its run, its devices.")
        with self.declaring(_MANDATORY):
            for part in ("Clock", "Run", "Devices"):
                self.object(f"Types/BenchType/{part}", bench, plain)
        self.commit()

    # --- instances -------------------------------------------------------------------------------------------------------

    def bench(self) -> BenchNodes:
        """The bench's own object."""
        plain = ObjectIds.BaseObjectType
        objects = standard(ObjectIds.ObjectsFolder)
        bench = self.object("Bench", objects, self.id("Types/BenchType"), organised=True)
        clock = self.object("Bench/Clock", bench, plain, words="Bench time.")
        for one in CLOCK:
            self.variable(f"Bench/Clock/{one.name}", clock, one)
        advance = self.method("Bench/Clock/Advance", clock, ADVANCE)
        run = self.object("Bench/Run", bench, plain, words="The run that is going on.")
        runs = {one.key: self.variable(f"Bench/Run/{one.name}", run, one) for one in RUN}
        devices = self.id("Devices")
        attributes = ua.ObjectAttributes()
        attributes.EventNotifier = 0
        self._add(
            devices,
            bench,
            ua.QualifiedName("Devices", self.ns),
            ua.NodeClass.Object,
            ObjectIds.HasComponent,
            attributes,
            standard(ObjectIds.FolderType),
        )
        self.commit()
        return BenchNodes(bench, devices, self.id("Bench/Clock/Now"), clock, advance, runs)

    def device(
        self,
        name: str,
        table: RoleTable,
        fields: Sequence[Field],
        identity: Identity,
        *,
        modelled: bool,
        faults: Sequence[str],
        buttons: Sequence[str],
    ) -> DeviceNodes:
        """A device's object with everything in it."""
        path, plain = f"Devices/{name}", ObjectIds.BaseObjectType
        nodes = DeviceNodes(self.object(path, self.id("Devices"), self._types[table.role], organised=True))
        self._identification(path, nodes.object, identity, table.device_class)
        self.property(f"{path}/Faults", nodes.object, list(faults), ua.VariantType.String)
        self.property(f"{path}/Buttons", nodes.object, list(buttons), ua.VariantType.String)
        parts = [("Measured", nodes.measured)] + ([("Modelled", nodes.modelled)] if modelled else [])
        for part, into in parts:
            parent = self.object(f"{path}/{part}", nodes.object, plain)
            for one in fields:
                into[one.key] = self.variable(f"{path}/{part}/{one.name}", parent, one)
        if modelled:
            parent = self.object(f"{path}/Deviation", nodes.object, plain, words="Measured minus modelled.")
            for one in (f for f in fields if f.numeric):
                apart = None if one.range is None else (one.range[0] - one.range[1], one.range[1] - one.range[0])
                delta = Field(one.key, one.name, float, SECOND if one.kind is datetime else one.unit, range=apart)
                node = self.variable(f"{path}/Deviation/{one.name}", parent, delta)
                nodes.deviation[one.key] = node
                limit = Field("limit", "Limit", float)
                nodes.limits[one.key] = self.variable(
                    f"{path}/Deviation/{one.name}/Limit", node, limit, is_property=True, writable=True
                )
            flag = Field("within_limits", "WithinLimits", bool)
            nodes.within_limits = self.variable(f"{path}/Deviation/WithinLimits", parent, flag)
        health = self.object(f"{path}/Health", nodes.object, plain)
        nodes.health = self._health(path, health)
        for method in table.commands:
            what = command(table.role, method)
            nodes.commands.append((what, self.method(f"{path}/{what.name}", nodes.object, what)))
        nodes.inject_fault = self.method(f"{path}/InjectFault", nodes.object, INJECT_FAULT)
        nodes.press_button = self.method(f"{path}/PressButton", nodes.object, PRESS_BUTTON)
        return nodes

    def _identification(self, path: str, parent: ua.NodeId, identity: Identity | None, device_class: str = "") -> None:
        who = identity or Identity("", "", "", "")
        part = self.object(f"{path}/Identification", parent, ObjectIds.FolderType)
        text, string = ua.VariantType.LocalizedText, ua.VariantType.String
        for name, value, kind in (
            ("Manufacturer", ua.LocalizedText(who.manufacturer), text),
            ("Model", ua.LocalizedText(who.model), text),
            ("SerialNumber", who.serial, string),
            ("SoftwareRevision", who.firmware, string),
            ("DeviceClass", device_class, string),
        ):
            self.property(f"{path}/Identification/{name}", part, value, kind)

    def _health(self, path: str, parent: ua.NodeId) -> dict[str, ua.NodeId]:
        return {one.key: self.variable(f"{path}/Health/{one.name}", parent, one) for one in HEALTH}


def _variable(value: Any, kind: ua.VariantType, data_type: ua.NodeId) -> ua.VariableAttributes:
    attributes = ua.VariableAttributes()
    attributes.DataType = data_type
    array = isinstance(value, list)
    # Without a value the type is not known to a Variant; the first write brings it.
    attributes.Value = ua.Variant() if value is None else ua.Variant(value, kind, is_array=array)
    attributes.ValueRank = ua.ValueRank.OneDimension if array else ua.ValueRank.Scalar
    if array:
        attributes.ArrayDimensions = [ua.UInt32(0)]
    attributes.Historizing = False
    attributes.AccessLevel = attributes.UserAccessLevel = _READ
    return attributes


def _eu(unit: Unit) -> ua.EUInformation:
    return ua.EUInformation(
        NamespaceUri=_UNITS_URI if unit.code else NAMESPACE,
        UnitId=unit.unit_id,
        DisplayName=ua.LocalizedText(unit.shown),
        Description=ua.LocalizedText(unit.name),
    )


def _argument(argument: Argument) -> ua.Argument:
    one = argument.field
    words = [
        part
        for part in (argument.description, f"in {one.unit.shown}" if one.unit and one.unit.shown != "1" else "")
        if part
    ]
    if isinstance(one.kind, type) and hasattr(one.kind, "__members__"):
        words.append(f"one of {', '.join(one.kind.__members__)}")
    if one.optional:
        words.append("may be null")
    return ua.Argument(
        Name=one.name,
        DataType=standard(variant_type(one).value),
        ValueRank=ua.ValueRank.Scalar,
        ArrayDimensions=[],
        Description=ua.LocalizedText("; ".join(words)),
    )
