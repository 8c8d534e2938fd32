"""The picture in docs/opcua.md shows the address space as it is."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

from docs.draw_opcua import drawing

DOCS = Path(__file__).parent.parent.parent / "docs"
REMEDY = "draw it anew: python docs/draw_opcua.py"


def test_the_picture_is_that_of_a_live_mirror() -> None:
    source = drawing()
    assert source == (DOCS / "opcua.dot").read_text(encoding="utf-8"), REMEDY
    labels = re.findall(r">([^<>]+)<", "".join(re.findall(r"\[label=<(.*)>\];", source)))
    svg = ElementTree.parse(DOCS / "opcua.svg")
    shown = [element.text or "" for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert len(labels) > 100
    assert {" ".join(unescape(label).split()) for label in labels if label.strip()} == {
        " ".join(text.split()) for text in shown if text.strip()
    }, REMEDY
