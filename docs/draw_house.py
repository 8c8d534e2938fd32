"""Draws docs/house.svg, the plan of the house: `python docs/draw_house.py`. A test holds its floors against the imports."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

FLOORS: tuple[dict[str, str], ...] = (
    {
        "drivers.roles": "what a device can do, in SI units",
        "drivers.errors": "what can go wrong",
        "drivers.wire": "codecs: bytes to meaning, no I/O",
    },
    {
        "drivers": "one driver a model, on labgrid links",
        "twins": "behaviours, faces, bench time, wiring, defects",
    },
    {
        "twins.utility": "CSS, ADCS, MDMS; devices by role only",
        "twins.mirror": "the OPC UA address space",
    },
    {"bench": "puts a bench together, judges, keeps the record; the command twinbench"},
    {"robot": "suites that read like the procedure, and thin keywords"},
)
"""The rooms by floor, from the ground up. A room imports from its own floor and from those below."""

DATA = ("robot",)
"""Rooms that Python's imports say nothing of."""

BESIDE = {
    "inventory": "data: benches, requirements, PICS, instruments",
    "tests": "in the same rooms",
    "benchmarks": "speed against its targets",
    "docs": "these pages",
}

_WIDTH, _HEIGHT, _GAP, _SIDE = 640, 74, 10, 210
_COLOURS = ("#cfd8dc", "#b2dfdb", "#c5cae9", "#ffe0b2", "#f8bbd0")
_FONT = 'font-family="sans-serif"'


def _room(x: float, y: float, width: float, height: float, name: str, holds: str, colour: str) -> str:
    lines = _wrapped(holds, int(width / 6.6))
    text = "".join(
        f'<text x="{x + width / 2:.0f}" y="{y + 42 + 15 * n:.0f}" font-size="12" text-anchor="middle" {_FONT}>'
        f"{escape(s)}</text>\n"
        for n, s in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="4" fill="{colour}" stroke="#455a64"/>\n'
        f'<text x="{x + width / 2:.0f}" y="{y + 22:.0f}" font-size="15" font-weight="bold" text-anchor="middle" '
        f'font-family="monospace">{escape(name)}</text>\n{text}'
    )


def _wrapped(text: str, length: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > length:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def draw() -> str:
    """The picture as SVG: floors from the ground up, the roof, and what stands beside the house."""
    roof = 60
    height = roof + len(FLOORS) * (_HEIGHT + _GAP) + 40
    width = _WIDTH + _SIDE + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        "<title>The plan of the house: imports go down only</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<path d="M10 {roof} L{20 + _WIDTH / 2:.0f} 8 L{30 + _WIDTH} {roof} Z" fill="#8d6e63" stroke="#455a64"/>',
        f'<text x="{20 + _WIDTH / 2:.0f}" y="{roof - 14}" font-size="14" fill="#ffffff" text-anchor="middle" {_FONT}>'
        "imports go down only</text>",
    ]
    for floor, rooms in enumerate(FLOORS):
        y = roof + _GAP + (len(FLOORS) - 1 - floor) * (_HEIGHT + _GAP)
        each = (_WIDTH - _GAP * (len(rooms) - 1)) / len(rooms)
        for n, (name, holds) in enumerate(rooms.items()):
            parts.append(_room(20 + n * (each + _GAP), y, each, _HEIGHT, name, holds, _COLOURS[floor]))
    ground = roof + _GAP + len(FLOORS) * (_HEIGHT + _GAP)
    parts.append(f'<line x1="0" y1="{ground}" x2="{width}" y2="{ground}" stroke="#6d4c41" stroke-width="4"/>')
    for n, (name, holds) in enumerate(BESIDE.items()):
        y = ground - (len(BESIDE) - n) * (_HEIGHT + _GAP)
        parts.append(_room(_WIDTH + 45, y, _SIDE, _HEIGHT, name, holds, "#f5f5f5"))
    return "\n".join((*parts, "</svg>", ""))


if __name__ == "__main__":
    (Path(__file__).resolve().parent / "house.svg").write_text(draw(), encoding="utf-8")
