"""Draws docs/opcua.svg, the picture of the mirror's address space, from a live mirror: `python docs/draw_opcua.py`.

A mirror with one twin of each model is served and browsed as any client would; graphviz (`dot`) does the drawing.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from asyncua import Client, ua  # noqa: E402
from asyncua.common.node import Node  # noqa: E402

from twins import models  # noqa: E402
from twins.clock import SteppedClock  # noqa: E402
from twins.mirror.server import Mirror, MirrorConfig, MirroredDevice  # noqa: E402
from twins.wiring import Site  # noqa: E402

NAMES = {"Relay": "relay", "PowerAnalyzer": "analyzer", "AcSource": "source", "AcLoad": "load", "Meter": "meter"}
DRAWING = Path(__file__).with_name("opcua.dot")


@dataclass(frozen=True)
class Box:
    """One object or type: its id, what stands in its head, and groups of rows below it, each with a heading."""

    id: str
    title: str
    kind: str
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()


@asynccontextmanager
async def mirror_of_every_model() -> AsyncIterator[str]:
    """A mirror with one twin of each model; its address."""
    clock = SteppedClock()
    devices = []
    for name in models.names():
        model, site = models.find(name), Site(clock)
        called = NAMES.get(model.role.__name__, model.role.__name__.lower())
        twin = model.build(clock, site, name=called, options=model.default_site(site))
        devices.append(MirroredDevice(called, model.role, twin, twin, twin, twin.identify(), {}, model.ranges))
    with tempfile.TemporaryDirectory() as certificates:
        config = MirrorConfig(anonymous_read=True, certificates=Path(certificates))
        mirror = Mirror(clock, devices, config)
        try:
            yield await mirror.start()
        finally:
            await mirror.stop()
            await clock.close()


async def _children(node: Node) -> list[tuple[str, Node, ua.NodeClass]]:
    found = await node.get_references(ua.ObjectIds.HierarchicalReferences, ua.BrowseDirection.Forward)
    return [
        (one.BrowseName.Name or "", Node(node.session, one.NodeId), one.NodeClass)
        for one in found
        if one.NodeClass != ua.NodeClass.ObjectType
    ]


async def _row(name: str, node: Node, kind: ua.NodeClass) -> str:
    """A variable with its unit and range, a method with its arguments, an object with a slash."""
    own = {child: inner for child, inner, _ in await _children(node)}
    if kind == ua.NodeClass.Method:
        arguments = await own["InputArguments"].read_value() if "InputArguments" in own else []
        return f"{name}({', '.join(one.Name for one in arguments)})"
    if kind == ua.NodeClass.Object:
        return f"{name}/"
    words = [name]
    if "EngineeringUnits" in own:
        words.append((await own["EngineeringUnits"].read_value()).DisplayName.Text)
    if "EURange" in own:
        span = await own["EURange"].read_value()
        words.append(f"[{span.Low:g} … {span.High:g}]")
    return " ".join(words)


async def _rows(node: Node, *, without: frozenset[str] = frozenset()) -> tuple[str, ...]:
    return tuple([await _row(*child) for child in await _children(node) if child[0] not in without])


async def describe(url: str) -> tuple[list[Box], list[tuple[str, str, str]]]:
    """What a mirror shows: boxes, and lines between them (from, to, what the line means)."""
    async with Client(url) as client:
        index = await client.get_namespace_index("urn:twinbench:bench")

        def node(path: str) -> Node:
            return client.get_node(ua.NodeId(path, index))

        boxes = [Box("Objects", "Objects", "")]
        lines = [("Objects", "Bench", "")]
        boxes.append(Box("Bench", "Bench", "BenchType"))
        for part in ("Clock", "Run"):
            boxes.append(Box(f"Bench/{part}", part, "", (("", await _rows(node(f"Bench/{part}"))),)))
            lines.append(("Bench", f"Bench/{part}", ""))
        boxes.append(Box("Devices", "Devices", ""))
        lines.append(("Bench", "Devices", ""))

        inherited: frozenset[str] = frozenset()
        for name, device, _ in await _children(node("Devices")):
            kind = Node(device.session, await device.read_type_definition())
            kind_name = (await kind.read_browse_name()).Name or ""
            if not inherited:
                rows: list[str] = []
                parts = {part: inner for part, inner, _ in await _children(device)}
                common = await _children(node("Types/DeviceType"))
                for part in [one for one, _, _ in common] + ["Faults", "Buttons"]:
                    inside = ", ".join(await _rows(parts[part])) if part in ("Identification", "Health") else ""
                    rows.append(
                        f"{part}/: {inside}"
                        if inside
                        else await _row(part, parts[part], await parts[part].read_node_class())
                    )
                boxes.append(Box("DeviceType", "DeviceType", "what every device has", (("", tuple(rows)),)))
                inherited = frozenset(parts) & {one for one, _, _ in common} | {"Faults", "Buttons"}
            measured = await _rows(await device.get_child(f"{index}:Measured"))
            methods = await _rows(device, without=inherited)
            groups = (("Measured, and the same in Modelled", measured), ("methods", methods))
            boxes.append(Box(f"Devices/{name}", name, kind_name, groups))
            lines.append(("Devices", f"Devices/{name}", ""))
            lines.append((f"Devices/{name}", "DeviceType", "is a"))
        return boxes, lines


def dot(boxes: list[Box], lines: list[tuple[str, str, str]]) -> str:
    """The description as graphviz wants it."""
    out = [
        "digraph mirror {",
        '  graph [rankdir=LR, nodesep=0.2, ranksep=0.5, fontname="Helvetica"];',
        '  node [shape=plain, fontname="Helvetica", fontsize=10];',
        '  edge [arrowsize=0.6, color="#555555", fontname="Helvetica", fontsize=9];',
    ]
    for box in boxes:
        kind = f' <font color="#666666">{escape(box.kind)}</font>' if box.kind else ""
        cells = [f'<tr><td bgcolor="#dde8f5" align="left"><b>{escape(box.title)}</b>{kind}</td></tr>']
        for heading, rows in box.groups:
            told = f'<font color="#666666">{escape(heading)}</font><br align="left"/>' if heading else ""
            wrapped = [part for row in rows for part in textwrap.wrap(row, 48, subsequent_indent="    ")]
            text = "".join(f'{escape(row)}<br align="left"/>' for row in wrapped)
            cells.append(f'<tr><td align="left" balign="left">{told}{text}</td></tr>')
        table = f'<table border="0" cellborder="1" cellspacing="0" cellpadding="4">{"".join(cells)}</table>'
        out.append(f'  "{box.id}" [label=<{table}>];')
    for source, target, means in lines:
        style = " [style=dashed, arrowhead=onormal]" if means else ""
        out.append(f'  "{source}":e -> "{target}":w{style};')
    return "\n".join([*out, "}", ""])


async def _describe_every_model() -> Any:
    async with mirror_of_every_model() as url:
        return await describe(url)


def drawing() -> str:
    """The picture's source, from a live mirror."""
    return dot(*asyncio.run(_describe_every_model()))


if __name__ == "__main__":
    logging.getLogger("asyncua").setLevel(logging.ERROR)
    DRAWING.write_text(drawing(), encoding="utf-8")
    try:
        subprocess.run(["dot", "-Tsvg", str(DRAWING), "-o", str(DRAWING.with_suffix(".svg"))], check=True)
    except FileNotFoundError:
        sys.exit("docs/draw_opcua.py: graphviz is missing; run: sudo apt-get install graphviz")
