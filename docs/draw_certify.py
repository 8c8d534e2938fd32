"""Draws docs/certify.svg: the table of verdicts as `twinbench certify` shows it on a terminal.

python docs/draw_certify.py [FILE] [--only ID ...]
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from rich.console import Console

from bench.certify import certify

DOCS = Path(__file__).resolve().parent
ONLY = ("C3-S1", "C3-FR-01", "C3-FR-05", "C3-FR-15", "C3-FR-19", "C3-NFR-02", "C3-BR-01")
BENCH = DOCS.parent / "inventory" / "benches" / "twin.yaml"


def draw(only: tuple[str, ...]) -> str:
    """Certify on the twin bench and draw what a terminal of 100 columns shows."""
    with tempfile.TemporaryDirectory() as runs:
        result = certify(BENCH, only=only, out=Path(runs) / "run", console=Console(quiet=True))
    console = Console(record=True, width=100, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print("$ twinbench certify --bench inventory/benches/twin.yaml")
    console.print(result.table())
    svg = console.export_svg(title="twinbench certify", unique_id="certify")
    # A font of the reader's own, not the network's
    return re.sub(r"@font-face \{.*?\}\s*|<!-- .*? -->\s*", "", svg, flags=re.DOTALL)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description="Draw the table of verdicts.")
    parser.add_argument("file", nargs="?", type=Path, default=DOCS / "certify.svg")
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    given.file.write_text(draw(tuple(given.only or ONLY)), encoding="utf-8")


if __name__ == "__main__":
    main()
