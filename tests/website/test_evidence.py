"""What a person saw at the website goes into the record: pictures of the pages, under the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rich.console import Console

from bench.certify import certify
from bench.evidence.verify import verify
from bench.judge.verdict import Verdict

BENCH = Path(__file__).parents[2] / "inventory/benches/twin.yaml"


def test_pictures_of_the_website_are_in_the_record_and_its_manifest(tmp_path: Path) -> None:
    result = certify(BENCH, only=("C3-S1.12",), out=tmp_path / "record", console=Console(quiet=True))
    assert (result.verdict, result.problems) == (Verdict.PASS, [])
    pictures = sorted((result.record / "website").glob("*.png"))
    assert pictures
    listed = {f["path"]: f for f in json.loads((result.record / "manifest.json").read_text(encoding="utf-8"))["files"]}
    assert {path for path in listed if path.startswith("website/")} == {f"website/{p.name}" for p in pictures}
    for picture in pictures:
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert listed[f"website/{picture.name}"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert verify(result.record) == []
    pictures[0].write_bytes(content + b" ")
    assert any(pictures[0].name in complaint for complaint in verify(result.record))


def test_a_bare_run_has_neither_pictures_nor_pages_and_the_same_verdict(tmp_path: Path) -> None:
    out = tmp_path / "record"
    result = certify(BENCH, only=("C3-S1.12",), out=out, console=Console(quiet=True), bare=True)
    assert (result.verdict, result.problems) == (Verdict.PASS, [])
    assert [*out.rglob("*.png"), *out.rglob("*.html")] == []
    said = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    assert (said["bare"], said["deviations"]) == (True, None), "nobody has looked for deviations"
    assert not (out / "deviations.json").exists()
    assert verify(out) == []
