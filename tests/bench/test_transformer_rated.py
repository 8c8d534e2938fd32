"""A bench with a transformer-rated meter: what a switch is for does not apply by its declaration, the rest is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "inventory" / "benches" / "transformer-rated.yaml"
SWITCH = ("C3-FR-04", "C3-FR-06", "C3-FR-21", "C3-FR-22", "C3-FR-23", "C3-NFR-02", "C3-NFR-03")
OTHERS = ("C3-AS-02", "C3-FR-18", "C3-FR-28", "C3-FR-29", "C3-NFR-05", "C3-NR-06")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    command = [sys.executable, "-m", "bench.cli", "certify", "--bench", str(BENCH), "--json"]
    command += ["--out", str(tmp_path_factory.mktemp("transformer") / "record")]
    command += [part for id_ in (*SWITCH, *OTHERS) for part in ("--only", id_)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert said["verdict"] == "PASS"
    assert said["problems"] == []
    assert json.loads((Path(said["record"]) / "disagreements.json").read_text()) == []
    return {row["id"]: row["verdict"] for row in said["requirements"]}


@pytest.mark.parametrize("id_", SWITCH)
def test_what_a_switch_is_for_does_not_apply(id_: str, verdicts: dict[str, str]) -> None:
    assert verdicts[id_] == "NOT_APPLICABLE"


@pytest.mark.parametrize("id_", OTHERS)
def test_the_rest_is_judged_and_passes(id_: str, verdicts: dict[str, str]) -> None:
    assert verdicts[id_] == "PASS"
