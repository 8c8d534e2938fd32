"""Scenario 6 of prepayment in the suites: everything that it carries is covered, and its time limit cuts on the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.certify import certify
from bench.judge import requirements, trace
from bench.judge.verdict import Verdict

TWIN = Path(__file__).parents[2] / "inventory" / "benches" / "twin.yaml"
CARRIED = [
    *(f"C3-S6.{n:02}" for n in range(1, 11)),
    *(f"C3-MSG-{n}" for n in range(18, 23)),
    *("C3-FR-13", "C3-NFR-14", "C3-AS-01", "C3-AS-02", "C3-AS-03"),
]


@pytest.fixture(scope="module")
def traced() -> trace.Trace:
    return trace.trace(catalogue=requirements.load())


@pytest.mark.parametrize("id_", CARRIED)
def test_what_scenario_6_carries_is_in_and_covered(id_: str, traced: trace.Trace) -> None:
    (row,) = [row for row in traced.rows if row.id == id_]
    assert id_ in traced.inside
    assert row.tests
    assert row.covered
    assert row.defects or not requirements.load()[id_].needs_defect


def test_the_three_endings_are_three_tests(traced: trace.Trace) -> None:
    (orders,) = [row for row in traced.rows if row.id == "C3-S6.10"]
    assert len(orders.tests) == 3


@pytest.mark.parametrize(("processing_s", "verdict"), [(52.0, Verdict.PASS), (58.5, Verdict.FAIL)])
def test_results_that_take_a_minute_are_late(tmp_path: Path, processing_s: float, verdict: Verdict) -> None:
    """Some five seconds go by on the network; the meter itself ends its test within the minute both times."""
    bench: dict[str, Any] = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    bench["twinbench"]["devices"]["meter"]["options"]["processing_s"] = processing_s
    path = tmp_path / "slow.yaml"
    path.write_text(yaml.safe_dump(bench, sort_keys=False), encoding="utf-8")
    result = certify(path, only=["C3-NFR-14"], out=tmp_path / "record")
    assert result.problems == []
    (judged,) = result.judged
    assert judged.systems == {"ADCS": verdict, "Meter": Verdict.PASS}
