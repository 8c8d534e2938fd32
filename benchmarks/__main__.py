"""`make bench`: runs every benchmark, prints a table, and leaves `benchmarks/latest.json`. Exit: 0, 1 if a target was missed."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figure import Figure

TOPICS = (
    "bench",
    "meter",
    "site",
    "relay",
    "analyzer",
    "source",
    "load",
    "display",
    "mirror",
    "fleet",
    "ledger",
    "burndown",
    "website",
)


def main(topics: list[str]) -> int:
    """Run the named benchmarks, all without a name."""
    unknown = [topic for topic in topics if topic not in TOPICS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(TOPICS)}", file=sys.stderr)
        return 4
    # What the mirror and its library remark on while they are driven to their limits is no figure.
    for name in ("asyncua", "twins.mirror"):
        logging.getLogger(name).setLevel(logging.ERROR)
    console = Console()
    figures: list[Figure] = []
    for topic in topics or TOPICS:
        console.print(f"measuring {topic}", style="dim")
        figures += importlib.import_module(f"benchmarks.{topic}").run()
    table = Table()
    for heading in ("figure", "measured", "unit", "target", "met"):
        table.add_column(heading, justify="right" if heading == "measured" else "left")
    for f in figures:
        table.add_row(f.name, f"{f.value:.4g}", f.unit, f.target, "yes" if f.met else "NO")
    console.print(table)
    if not topics:
        rows = [{"name": f.name, "value": f.value, "unit": f.unit, "target": f.target, "met": f.met} for f in figures]
        (Path(__file__).parent / "latest.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(f.met for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
