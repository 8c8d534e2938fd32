"""From requirement to test to defect to last verdict, and the campaign that proves that each defect is caught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import campaign
from bench.campaign import run_defects
from bench.data import BadInput
from bench.evidence.record import Record
from bench.judge import requirements
from bench.judge.trace import SCOPE, Trace, scope, trace
from twins.defects import CATALOGUE, Defect

ROOT = Path(__file__).resolve().parents[2]
IDS = requirements.load()


class Project:
    """A small project: suites, a scope, runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "suites").mkdir()

    def traced(self, inside: str, tests: str, defects: dict[str, str], out: str = "{}") -> Trace:
        (self.path / "scope.yaml").write_text(f"in: [{inside}]\nexcept: {out}\n", encoding="utf-8")
        (self.path / "suites" / "a.robot").write_text(f"*** Test Cases ***\n{tests}", encoding="utf-8")
        catalogue = {name: Defect(name, "ami-meter", tuple(ids.split()), "x") for name, ids in defects.items()}
        return trace(
            runs=self.path / "runs",
            suites=self.path / "suites",
            scope_file=self.path / "scope.yaml",
            defects=catalogue,
        )

    def ran(
        self, name: str, verdicts: dict[str, str], *, defects: tuple[str, ...] = (), seal: bool = True, **more: Any
    ) -> None:
        record = Record.new(1, self.path / "runs" / name)
        rows = [{"id": id_, "verdict": verdict} for id_, verdict in verdicts.items()]
        record.write_json("verdict.json", {"verdict": "PASS", "defects": list(defects), "requirements": rows, **more})
        if seal:
            record.seal()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def row(found: Trace, id_: str) -> dict[str, Any]:
    return next(r for r in found.as_json() if r["id"] == id_)


def one(*tags: str) -> str:
    return f"One\n    [Tags]    {'    '.join(tags)}\n    No Operation\n"


@pytest.mark.parametrize(
    ("id_", "tags", "defects", "covered"),
    [
        ("C3-FR-15", ["C3-FR-15"], {"no_receipt": "C3-FR-15"}, True),
        ("C3-FR-15", ["C3-FR-15"], {}, False),
        ("C3-FR-15", ["smoke"], {"no_receipt": "C3-FR-15"}, False),
        ("C3-FR-15", ["smoke"], {}, False),
        # a step of a system needs its scenario's test and a defect, a step of a person the test alone
        ("C3-S1.08", ["C3-S1"], {"leaves_off": "C3-S1.08"}, True),
        ("C3-S1.08", ["C3-S1.08"], {"leaves_off": "C3-S1.08"}, True),
        ("C3-S1.08", ["C3-S1"], {}, False),
        ("C3-S1.01", ["C3-S1"], {}, True),
        ("C3-S1.01", ["smoke"], {}, False),
        ("C3-S5.07", ["C3-S5"], {}, True),
        # a website beside a person is a system
        ("C3-S1.02", ["C3-S1"], {}, False),
        ("C3-MSG-10", ["C3-MSG-10"], {"drops": "C3-MSG-10"}, True),
        ("C3-MSG-10", ["C3-MSG-10"], {}, False),
        # what is not verified by a test needs neither
        ("INST-R-02", ["smoke"], {}, True),
        ("INST-R-04", ["smoke"], {}, True),
        ("C4-AS-03", ["smoke"], {}, True),
    ],
)
def test_what_covers_a_row(project: Project, id_: str, tags: list[str], defects: dict[str, str], covered: bool) -> None:
    found = project.traced(id_, one(*tags), defects)
    assert row(found, id_)["covered"] is covered
    assert found.exit_code == (0 if covered else 1)
    assert found.open == (() if covered else (id_,))


def test_a_row_has_exactly_the_keys_that_machines_read(project: Project) -> None:
    found = project.traced("C3-FR-15", one("C3-FR-15"), {"no_receipt": "C3-FR-15"})
    assert row(found, "C3-FR-15") == {
        "id": "C3-FR-15",
        "verify": "test",
        "applies_to": ["Meter"],
        "tests": ["One"],
        "defects": ["no_receipt"],
        "covered": True,
        "verdict": None,
    }
    assert [r["id"] for r in found.as_json()] == [r.id for r in IDS]


def test_what_is_not_in_yet_does_not_fail(project: Project) -> None:
    found = project.traced("C3-S1.01", one("C3-S1"), {})
    assert found.exit_code == 0
    assert not row(found, "C3-FR-15")["covered"]


def test_what_is_taken_out_says_why(project: Project) -> None:
    found = project.traced("C3-S1", one("C3-S1"), {}, out="{C3-S1.13: no display here}")
    assert "C3-S1.13" not in found.open
    assert any("C3-S1.13" in line and "out: no display here" in line for line in found.lines())


def test_what_is_open_is_printed_with_what_it_lacks(project: Project) -> None:
    found = project.traced("C3-FR-15, C3-FR-05", one("C3-FR-15"), {"x": "C3-FR-05"})
    assert found.summary() == [
        "open: C3-FR-05: no test",
        "open: C3-FR-15: no defect",
        "0 of 2 in, 366 in the catalogue",
    ]


def test_a_tag_without_an_id_is_an_error_with_its_place(project: Project) -> None:
    found = project.traced("C3-S1.01", one("C3-S1", "C3-FR-99"), {})
    assert found.exit_code == 1
    assert (
        "a.robot:2: test 'One': tag C3-FR-99: no requirement 'C3-FR-99' in the catalogue; nearest:" in found.errors[0]
    )


def test_a_defect_that_breaks_an_unknown_id_is_an_error(project: Project) -> None:
    found = project.traced("C3-S1.01", one("C3-S1"), {"odd": "C3-FR-99"})
    assert found.exit_code == 1
    assert "defect 'odd' breaks C3-FR-99" in found.errors[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("in: [C3-S9]\n", r"scope\.yaml:1: in\.0: no requirement 'C3-S9'"),
        ("in: [C3-S1]\nexcept: {C3-FR-15: later}\n", r"scope\.yaml:2: except\.C3-FR-15: is not in anyway"),
        ("inn: [C3-S1]\n", r"scope\.yaml:1: inn: unknown key; did you mean 'in'"),
    ],
)
def test_a_mistake_in_the_scope_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "scope.yaml").write_text(text)
    with pytest.raises(BadInput, match=says):
        scope(IDS, tmp_path / "scope.yaml")


def test_a_whole_use_case_can_be_in(tmp_path: Path) -> None:
    (tmp_path / "scope.yaml").write_text("in: [MHDMC]\n")
    inside, _ = scope(IDS, tmp_path / "scope.yaml")
    assert inside == {r.id for r in IDS if r.use_case == "MHDMC"}
    assert len(inside) == 13


def test_the_last_verdict_is_of_the_newest_complete_record_of_a_healthy_bench(project: Project) -> None:
    project.ran("a", {"C3-FR-15": "FAIL", "C3-FR-05": "PASS"})
    project.ran("b", {"C3-FR-15": "PASS"})
    project.ran("c", {"C3-FR-15": "FAIL"}, defects=("no_receipt",))
    project.ran("d", {"C3-FR-15": "ERROR"}, seal=False)
    found = project.traced("C3-FR-15", one("C3-FR-15"), {})
    assert (row(found, "C3-FR-15")["verdict"], row(found, "C3-FR-05")["verdict"]) == ("PASS", "PASS")


def test_of_a_run_that_ended_early_only_what_failed_is_a_last_verdict(project: Project) -> None:
    project.ran("a", {"C3-FR-15": "PASS", "C3-FR-05": "PASS"})
    project.ran("b", {"C3-FR-15": "FAIL", "C3-FR-05": "INCONCLUSIVE"}, left_out=["Two"])
    found = project.traced("C3-FR-15", one("C3-FR-15"), {})
    assert (row(found, "C3-FR-15")["verdict"], row(found, "C3-FR-05")["verdict"]) == ("FAIL", "PASS")


def test_the_projects_own_trace_has_no_errors_and_nothing_open() -> None:
    found = trace(runs=ROOT / "runs")
    assert found.errors == ()
    assert found.open == ()
    assert scope(IDS, SCOPE)[0] == found.inside


# --- the campaign ------------------------------------------------------------------------------------------------------------


def _check(id_: str, verdict: str) -> dict[str, str]:
    return {"verdict": verdict, "test": f"Test of {id_}", "what": "the bench", "reason": "gave up"}


def run(verdicts: dict[str, str]) -> dict[str, Any]:
    return {
        "requirements": [
            {"id": id_, "verdict": verdict, "checks": [_check(id_, verdict)]} for id_, verdict in verdicts.items()
        ]
    }


HEALTHY = {"C3-FR-15": "PASS", "C3-S1.08": "PASS", "C3-FR-05": "PASS"}
NO_RECEIPT = CATALOGUE["no_receipt"]  # breaks C3-FR-15 and C3-S1.08


@pytest.mark.parametrize(
    ("fell", "healthy", "why"),
    [
        (run(HEALTHY | {"C3-FR-15": "FAIL", "C3-S1.08": "FAIL"}), run(HEALTHY), ""),
        (run(HEALTHY | {"C3-FR-15": "FAIL"}), run(HEALTHY), "C3-S1.08 is PASS"),
        (
            run(HEALTHY | {"C3-FR-15": "FAIL", "C3-S1.08": "ERROR"}),
            run(HEALTHY),
            "C3-S1.08 is ERROR (the bench: gave up)",
        ),
        (run({"C3-FR-15": "FAIL"}), run(HEALTHY), "C3-S1.08 is not judged"),
        (
            run({"C3-FR-15": "FAIL", "C3-S1.08": "FAIL"}),
            run(HEALTHY | {"C3-S1.08": "FAIL"}),
            "the healthy twin does not pass either: C3-S1.08 is FAIL",
        ),
        ("ran over 600 s", run(HEALTHY), "ran over 600 s"),
        (run({}) | {"problems": ["meter: no answer"]}, run(HEALTHY), "meter: no answer"),
        (
            run({"C3-FR-15": "FAIL", "C3-S1.08": "FAIL"}),
            "no verdict",
            "the healthy twin could not be judged: no verdict",
        ),
    ],
)
def test_a_defect_is_caught_where_every_id_it_breaks_fails_and_the_healthy_twin_passes(
    fell: Any, healthy: Any, why: str
) -> None:
    outcome = campaign.outcome(NO_RECEIPT, fell, healthy)
    assert (outcome.why, outcome.escaped) == (why, bool(why))
    assert set(outcome.as_json()) == {"name", "breaks", "caught_by", "escaped"}
    if not why:
        assert outcome.caught_by == ("Test of C3-FR-15", "Test of C3-S1.08")


def test_the_matrix_shows_what_else_falls() -> None:
    fell = run({"C3-FR-15": "FAIL", "C3-S1.08": "FAIL", "C3-FR-05": "FAIL"})
    assert campaign.outcome(NO_RECEIPT, fell, run(HEALTHY), matrix=True).falls == ("C3-FR-05",)
    assert campaign.outcome(NO_RECEIPT, fell, run(HEALTHY)).falls == ()


def test_the_scenarios_around_what_is_broken_are_found() -> None:
    tests = {
        "C3-S1.08": ["Scenario 1"],
        "C3-S1.12": ["Scenario 1"],
        "C3-S2.10": ["Scenario 2"],
        "C3-FR-15": ["Receipt"],
    }
    both = {"C3-S1": frozenset({"Scenario 1"}), "C3-S2": frozenset({"Scenario 2"})}
    first, second = ({name: both[name]} for name in both)
    inside = [*IDS["C3-FR-15"].steps, "C3-S1.12"]
    assert campaign.scenarios_of(["C3-FR-15"], IDS, tests, inside) == first
    assert campaign.scenarios_of(["C3-FR-15"], IDS, tests, ["C3-S2.10"]) == second
    assert campaign.scenarios_of(["C3-S1.08"], IDS, tests, inside) == first
    assert campaign.scenarios_of(["C3-FR-19"], IDS, tests, inside) == first
    assert campaign.scenarios_of(["C3-FR-14"], IDS, tests, inside) == {}
    # A scenario that is run anyhow, as a test of what is broken, is looked at; no other is run beside it.
    assert campaign.scenarios_of(["C3-FR-15", "C3-S2.10"], IDS, tests, inside) == second
    assert campaign.scenarios_of(["C3-S1.08", "C3-S2.10"], IDS, tests, inside) == both


def test_a_scenario_that_falls_is_named_and_one_that_stands_lets_nothing_escape() -> None:
    around = {"C3-S1": ["Test of C3-S1.08"], "C3-S2": ["Test of C3-FR-05"]}
    outcome = campaign.outcome(
        NO_RECEIPT,
        run(HEALTHY | {"C3-FR-15": "FAIL", "C3-S1.08": "FAIL"}),
        run(HEALTHY),
        scenarios=around,
    )
    assert (outcome.falls, outcome.scenarios, outcome.escaped) == (("C3-S1",), ("C3-S1", "C3-S2"), False)
    assert outcome.line().endswith("; falls too: C3-S1; does not show in C3-S2")
    # A scenario that does not pass on the healthy twin either says nothing of the defect.
    unwell = run(HEALTHY | {"C3-FR-15": "FAIL", "C3-S1.08": "FAIL", "C3-FR-05": "INCONCLUSIVE"})
    healthy = run(HEALTHY | {"C3-FR-05": "INCONCLUSIVE"})
    assert campaign.outcome(NO_RECEIPT, unwell, healthy, scenarios=around).falls == ("C3-S1",)


def test_a_campaign_on_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no defect 'no_receit'"):
        run_defects(["no_receit"], bench_file=ROOT / "inventory" / "benches" / "twin.yaml")
    with pytest.raises(BadInput, match="no such bench file"):
        run_defects(bench_file=tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="at least one"):
        run_defects(bench_file=ROOT / "inventory" / "benches" / "twin.yaml", jobs=0)


def test_a_campaign_on_the_twin_bench_catches_a_defect(tmp_path: Path) -> None:
    (outcome,) = run_defects(
        ["takes_any_amount"], bench_file=ROOT / "inventory" / "benches" / "twin.yaml", runs=tmp_path, jobs=1
    )
    assert not outcome.escaped, outcome.why
    assert outcome.breaks == ("C3-BR-02",)
    assert (outcome.scenarios, outcome.falls) == ((), ())  # the catalogue names no step for it
    assert json.loads((tmp_path / "takes_any_amount" / "verdict.json").read_text())["defects"] == ["takes_any_amount"]


def test_a_bench_that_cannot_be_opened_lets_every_defect_escape_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text("twinbench: {pics: [nobody]}\n")
    (outcome,) = run_defects(["takes_any_amount"], bench_file=tmp_path / "bench.yaml", runs=tmp_path / "runs", jobs=1)
    assert outcome.escaped
    assert "nobody.yaml: no such file" in outcome.why
