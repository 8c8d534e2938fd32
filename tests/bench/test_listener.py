"""Certifying with real Robot runs on tiny suites: tags, checks, statuses and verdicts always agree."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from robot.api import ExecutionResult

from bench.certify import Result, certify, session
from bench.data import BadInput
from bench.evidence.record import Record, state
from bench.evidence.verify import verify
from bench.judge.decide import Rule
from bench.judge.listener import foreign
from bench.judge.verdict import Verdict

EPOCH = datetime(2026, 1, 5, 8, tzinfo=UTC)

LIBRARY = """
import os
import signal
from datetime import timedelta
from bench.certify import session
from bench.judge.witness import Witness

def check(id, claim, expected="good", system="Meter"):
    session().judge.check(id, "what it says", system=system, expected=expected, claim=claim)

def check_and_settle(id, claim):
    check(id, claim)
    session().judge.settle()

def settle():
    session().judge.settle()

def predicted_otherwise(id):
    session().judge.check(id, "what it says", system="Meter", expected="good", claim="good", predict="bad")

def acted(id):
    session().judge.acted(id, "it was done")

def fits(id, feature):
    session().judge.applicable(id, feature, system="Meter")

def the_link_is_lost():
    raise ConnectionError("meter: no answer on its line")

def somebody_presses_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)

def read_the_meter():
    session().record.wire_log("line")("tx", b"\\xee")
    session().record.reading("meter", "voltage", 240.0, "V")
"""

BENCH = "twinbench: {name: tiny, seed: 5, pics: [ami-meter]}\n"


@dataclass
class Standing:
    """A bench without devices, whose time stands still."""

    now: datetime = EPOCH
    deviations: list[dict[str, Any]] = field(default_factory=list)
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def tripped(self) -> str | None:
        return None

    def shortened(self) -> list[dict[str, Any]]:
        return []

    def describe(self) -> list[dict[str, Any]]:
        return [{"name": "meter", "model": "ami-meter"}]

    def resolved(self) -> dict[str, Any]:
        return {"targets": {"main": {}}}


@contextlib.contextmanager
def standing(bench_file: Path, *, seed: int, defects: tuple[str, ...], record: Record) -> Iterator[Standing]:
    yield Standing()


@contextlib.contextmanager
def broken(bench_file: Path, *, seed: int, defects: tuple[str, ...], record: Record) -> Iterator[Standing]:
    raise ConnectionError("relay: nothing answers on its link")
    yield


class Runner:
    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "suites").mkdir()
        (path / "words.py").write_text(LIBRARY, encoding="utf-8")
        (path / "bench.yaml").write_text(BENCH, encoding="utf-8")
        self.said = io.StringIO()

    def run(self, tests: str, **options: Any) -> Result:
        text = f"*** Settings ***\nLibrary    {self.path / 'words.py'}\n\n*** Test Cases ***\n{tests}"
        if not tests.startswith("One\n"):
            text = tests.replace("LIBRARY", str(self.path / "words.py"))
        (self.path / "suites" / "tiny.robot").write_text(text, encoding="utf-8")
        options.setdefault("open_bench", standing)
        options.setdefault("out", self.path / "record")
        return certify(
            self.path / "bench.yaml",
            suites=self.path / "suites",
            console=Console(file=self.said, width=200),
            **options,
        )

    def robots(self, name: str = "One") -> tuple[str, str]:
        """Robot's own status and message of a test, as its output.xml has them."""
        for test in ExecutionResult(str(self.path / "record" / "output.xml")).suite.all_tests:
            if test.name == name:
                return test.status, test.message
        raise AssertionError(f"no test {name}")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def verdicts(result: Result) -> dict[str, str]:
    return {judged.id: judged.verdict.value for judged in result.judged}


@pytest.mark.parametrize(
    ("body", "verdict", "status", "message"),
    [
        ("Check    C3-FR-15    good", "PASS", "PASS", ""),
        ("Check    C3-FR-15    bad", "FAIL", "FAIL", "FAIL C3-FR-15 (Meter): what it says: contradicted by claim"),
        ("Check And Settle    C3-FR-15    bad", "FAIL", "FAIL", "FAIL C3-FR-15"),
        ("Predicted Otherwise    C3-FR-15", "INCONCLUSIVE", "FAIL", "INCONCLUSIVE C3-FR-15"),
        ("No Operation", "INCONCLUSIVE", "FAIL", "checked nothing of it"),
        ("Skip    not today", "INCONCLUSIVE", "FAIL", "the test was skipped: not today"),
        ("The Link Is Lost", "ERROR", "FAIL", "no answer on its line"),
        ("Fail    something else", "ERROR", "FAIL", "something else"),
        ("Should Be Equal    1    2", "ERROR", "FAIL", "1 != 2"),
        ("Check    C3-FR-05    good", "ERROR", "FAIL", "add the tag C3-FR-05"),
        ("Fits    C3-FR-15    pulse_output", "NOT_APPLICABLE", "SKIP", "declare no pulse_output"),
        ("Fits    C3-FR-15    own_display\n    Check    C3-FR-15    good", "PASS", "PASS", ""),
        # one failing check does not hide the other, and a lost link after it is still the bench's error
        (
            "Check And Settle    C3-FR-15    bad\n    Check And Settle    C3-FR-15    worse",
            "FAIL",
            "FAIL",
            "'worse'|worse",
        ),
        ("Check And Settle    C3-FR-15    bad\n    The Link Is Lost", "ERROR", "FAIL", "no answer on its line"),
        ("Check    C3-FR-15    good\n    The Link Is Lost", "ERROR", "FAIL", "no answer on its line"),
        # a failure that the suite expects is not the test's
        (
            "Run Keyword And Expect Error    *no answer*    The Link Is Lost\n    Check    C3-FR-15    good",
            "PASS",
            "PASS",
            "",
        ),
    ],
)
def test_status_and_verdict_of_a_test_agree(runner: Runner, body: str, verdict: str, status: str, message: str) -> None:
    result = runner.run(f"One\n    [Tags]    C3-FR-15\n    {body}\n")
    assert verdicts(result) == {"C3-FR-15": verdict}
    assert result.verdict.value == verdict
    said = runner.robots()
    assert said[0] == status
    assert any(part in said[1] for part in message.split("|"))
    assert verify(result.record) == []


def test_a_failing_check_does_not_stop_the_steps_after_it(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-FR-15    C3-FR-05\n    Check And Settle    C3-FR-15    bad\n"
        "    Check And Settle    C3-FR-05    good\n"
    )
    assert verdicts(result) == {"C3-FR-05": "PASS", "C3-FR-15": "FAIL"}
    assert result.exit_code == 1


def test_a_teardown_that_fails_is_an_error_of_the_bench(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-FR-15\n    Check And Settle    C3-FR-15    bad\n    [Teardown]    The Link Is Lost\n"
    )
    assert verdicts(result) == {"C3-FR-15": "ERROR"}


def test_a_check_that_fails_in_a_teardown_is_a_fail(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-FR-15\n    No Operation\n    [Teardown]    Check And Settle    C3-FR-15    bad\n"
    )
    assert verdicts(result) == {"C3-FR-15": "FAIL"}


def test_a_suite_that_cannot_be_set_up_is_an_error_for_all_ids(runner: Runner) -> None:
    result = runner.run(
        "*** Settings ***\nLibrary    LIBRARY\nSuite Setup    The Link Is Lost\n\n*** Test Cases ***\n"
        "One\n    [Tags]    C3-FR-15    C3-FR-05\n    Check    C3-FR-15    good\n"
    )
    assert verdicts(result) == {"C3-FR-05": "ERROR", "C3-FR-15": "ERROR"}
    assert result.exit_code == 3


def test_a_scenario_tag_stands_for_all_its_steps(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-S1\n    Acted    C3-S1.01\n    Check    C3-S1.02    good    system=CSS\n"
        "    Fits    C3-S1.13    pulse_output\n"
    )
    found = verdicts(result)
    assert len(found) == 13
    assert (found["C3-S1.01"], found["C3-S1.02"], found["C3-S1.03"], found["C3-S1.13"]) == (
        "PASS",
        "PASS",
        "INCONCLUSIVE",
        "NOT_APPLICABLE",
    )


def check_on(system: str, id_: str = "C3-NFR-02") -> str:
    return f"    [Tags]    {id_}\n    Check    {id_}    good    system={system}\n"


def test_a_system_that_no_check_is_made_on_leaves_its_requirement_inconclusive(runner: Runner) -> None:
    result = runner.run(f"One\n{check_on('Meter')}")
    (judged,) = result.judged
    assert (judged.verdict, result.exit_code) == (Verdict.INCONCLUSIVE, 2)
    assert judged.systems == {"ADCS": Verdict.INCONCLUSIVE, "Meter": Verdict.PASS}
    assert (judged.checks[-1].system, judged.checks[-1].reason) == ("ADCS", "no check on ADCS")
    status, message = runner.robots()
    assert status == "FAIL"
    assert "no check on ADCS" in message


def test_systems_may_be_checked_in_several_tests(runner: Runner) -> None:
    tests = f"One\n{check_on('Meter')}Two\n{check_on('ADCS')}"
    assert verdicts(runner.run(tests)) == {"C3-NFR-02": "PASS"}
    assert {test.verdict for test in runner.run(tests, out=runner.path / "again").tests} == {Verdict.PASS}


def test_what_only_comes_along_with_the_ids_asked_for_need_not_be_complete(runner: Runner) -> None:
    one = "One\n    [Tags]    C3-FR-15    C3-NFR-02\n    Check    C3-FR-15    good\n    Check    C3-NFR-02    good\n"
    tests = f"{one}Two\n{check_on('ADCS')}"
    assert verdicts(runner.run(tests, only=["C3-FR-15"])) == {"C3-FR-15": "PASS", "C3-NFR-02": "PASS"}


def test_what_is_declared_not_to_apply_needs_no_check_on_another_system(runner: Runner) -> None:
    result = runner.run("One\n    [Tags]    C3-NFR-02\n    Fits    C3-NFR-02    pulse_output\n")
    assert verdicts(result) == {"C3-NFR-02": "NOT_APPLICABLE"}


def test_a_requirement_is_as_bad_as_its_worst_check_and_names_each_system(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-NFR-02\n    Check    C3-NFR-02    good    system=Meter\n"
        "    Check    C3-NFR-02    bad    system=ADCS\n"
    )
    assert result.as_json()["requirements"][0]["systems"] == {"ADCS": "FAIL", "Meter": "PASS"}
    assert result.verdict is Verdict.FAIL
    assert result.systems == {"ADCS": Verdict.FAIL, "Meter": Verdict.PASS}


def test_a_tag_without_an_id_in_the_catalogue_is_an_error(runner: Runner) -> None:
    result = runner.run("One\n    [Tags]    C3-FR-99\n    No Operation\n")
    assert result.verdict is Verdict.ERROR
    assert "no requirement 'C3-FR-99'" in runner.robots()[1]


def test_a_test_that_decides_nothing_keeps_robots_status(runner: Runner) -> None:
    result = runner.run("One\n    No Operation\n")
    assert (result.verdict, runner.robots()) == (Verdict.PASS, ("PASS", ""))


THREE = (
    "One\n    [Tags]    C3-FR-15\n    Check    C3-FR-15    good\n"
    "Two\n    [Tags]    C3-FR-05    C3-MSG-12\n    Check    C3-FR-05    good\n    Check    C3-MSG-12    good\n"
    "Three\n    [Tags]    C3-S1\n    Check    C3-S1.08    bad\n"
)


@pytest.mark.parametrize(
    ("only", "ran"),
    [
        ((), {"One", "Two", "Three"}),
        (("C3-FR-15",), {"One"}),
        (("C3-MSG-12", "C3-FR-15"), {"One", "Two"}),
        (("C3-S1.08",), {"Three"}),
        (("C3-S1",), {"Three"}),
    ],
)
def test_only_the_tests_for_the_ids_asked_for_run(runner: Runner, only: tuple[str, ...], ran: set[str]) -> None:
    assert {test.name for test in runner.run(THREE, only=only).tests} == ran


FOUR = (
    "One\n    [Tags]    C3-FR-15\n    Check    C3-FR-15    bad\n"
    "Two\n    [Tags]    C3-S1    C3-MSG-12\n    Check    C3-MSG-12    {two}\n"
    "Three\n    [Tags]    C3-S1    C3-FR-15\n    Check    C3-S1.08    bad\n    Check    C3-FR-15    good\n"
)


@pytest.mark.parametrize(
    ("only", "two", "ran", "early"),
    [
        (("C3-FR-15",), "bad", ["One"], True),
        (("C3-FR-15", "C3-S1"), "bad", ["One", "Two"], True),  # a scenario falls with any of its tests
        (("C3-FR-15", "C3-S1"), "good", ["One", "Two", "Three"], True),
        (("C3-FR-15", "C3-S1.08"), "bad", ["One", "Two", "Three"], True),
        (("C3-FR-15", "C3-FR-05"), "bad", ["One", "Three", "Four", "Five"], False),
    ],
)
def test_a_run_may_end_as_soon_as_all_that_was_asked_for_has_failed(
    runner: Runner, only: tuple[str, ...], two: str, ran: list[str], early: bool
) -> None:
    later = (
        f"*** Settings ***\nLibrary    {runner.path / 'words.py'}\n\n*** Test Cases ***\n"
        "Four\n    [Tags]    C3-S1    C3-FR-15\n    Check    C3-FR-15    good\n"
        "Five\n    [Tags]    C3-FR-05    C3-FR-15    C3-S1\n    Check    C3-FR-05    good\n"
    )
    (runner.path / "suites" / "tiny_later.robot").write_text(later, encoding="utf-8")
    result = runner.run(FOUR.format(two=two), only=only, until_failed=True)
    assert ([test.name for test in result.tests], bool(result.left_out)) == (ran, early)
    assert bool(result.as_json()["left_out"]) is early
    assert any("ended early" in line for line in result.lines()) is early
    report = (result.record / "output.xml").read_text(encoding="utf-8")
    assert ("all that was asked for had failed" in report) is early


def test_what_tests_that_were_left_out_would_have_decided_is_inconclusive(runner: Runner) -> None:
    """Two has found C3-FR-05 good, but Three decides it as well."""
    tests = (
        "One\n    [Tags]    C3-FR-15    C3-FR-05\n    Check    C3-FR-15    bad\n    Check    C3-FR-05    good\n"
        "Two\n    [Tags]    C3-FR-05    C3-MSG-12\n    Check    C3-FR-05    good\n    Check    C3-MSG-12    good\n"
    )
    result = runner.run(tests, only=("C3-FR-15", "C3-FR-05"), until_failed=True)
    assert verdicts(result)["C3-FR-05"] == "PASS", "it did not fail: the run goes on"
    shutil.rmtree(result.record)
    result = runner.run(tests, only=("C3-FR-15",), until_failed=True)
    assert result.left_out == ()
    shutil.rmtree(result.record)
    both = (
        tests
        + "Three\n    [Tags]    C3-FR-15    C3-FR-05\n    Check    C3-FR-15    good\n    Check    C3-FR-05    good\n"
    )
    result = runner.run(both, only=("C3-FR-15",), until_failed=True)
    assert result.left_out == ("Three",)
    assert verdicts(result) == {"C3-FR-05": "INCONCLUSIVE", "C3-FR-15": "FAIL"}
    (undecided,) = [judged for judged in result.judged if judged.id == "C3-FR-05"]
    assert undecided.remark == "the run ended before all its tests: all that was asked for had failed"
    assert undecided.systems == {"Meter": Verdict.INCONCLUSIVE}


def test_an_id_that_no_test_decides_is_inconclusive(runner: Runner) -> None:
    result = runner.run(THREE, only=("C3-FR-21", "INST-R-02"))
    assert verdicts(result) == {"C3-FR-21": "INCONCLUSIVE", "INST-R-02": "INCONCLUSIVE"}
    assert [judged.remark for judged in result.judged] == ["no test decides it", "not decided by a test: inspect"]
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"only": ("C3-FR-151",)}, "no requirement 'C3-FR-151' in the catalogue; nearest: C3-FR-15"),
        ({"defects": ("no_receit",)}, "no defect 'no_receit'; nearest: no_receipt"),
        ({"seed": -1}, "a seed of -1"),
        ({"until_failed": True}, "until what has failed\\? name it with --only"),
        ({"suites": Path("/nowhere")}, "/nowhere: no such directory of suites"),
    ],
)
def test_bad_input_is_told_before_anything_runs(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    (tmp_path / "bench.yaml").write_text(BENCH)
    options.setdefault("suites", tmp_path)
    with pytest.raises(BadInput, match=says):
        certify(tmp_path / "bench.yaml", open_bench=standing, out=tmp_path / "record", **options)
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "needs the section `twinbench`"),
        ("twinbench: {pics: [ami-metre]}", "did you mean"),
        ("twinbench: {seed: many}", "twinbench.seed: needs a whole number"),
        ("twinbench: {a: 1, a: 2}", "stands twice"),
    ],
)
def test_a_bad_bench_file_is_told(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bench.yaml").write_text(text)
    with pytest.raises(BadInput, match=says):
        certify(tmp_path / "bench.yaml", open_bench=standing, out=tmp_path / "record", suites=tmp_path)
    assert not (tmp_path / "record").exists()


def test_bad_input_found_while_the_bench_is_opened_leaves_no_record(runner: Runner) -> None:
    @contextlib.contextmanager
    def picky(bench_file: Path, **_: Any) -> Iterator[Standing]:
        raise BadInput("bench.yaml:3: twinbench.wiring: wrong")
        yield

    with pytest.raises(BadInput, match="wiring: wrong"):
        runner.run(THREE, open_bench=picky)
    assert not (runner.path / "record").exists()


def test_a_bench_that_does_not_come_up_is_an_error_with_a_record(runner: Runner) -> None:
    result = runner.run(THREE, only=("C3-FR-15",), open_bench=broken)
    assert result.exit_code == 3
    assert result.problems == ["ConnectionError: relay: nothing answers on its link"]
    assert verdicts(result) == {"C3-FR-15": "ERROR"}
    assert result.judged[0].remark == "the run did not get there: ConnectionError: relay: nothing answers on its link"
    assert json.loads((result.record / "verdict.json").read_text())["verdict"] == "ERROR"
    assert verify(result.record) == []


def test_what_kept_a_run_from_all_of_them_is_said_once(runner: Runner) -> None:
    first, second, *_ = runner.run(THREE, only=("C3-FR-15", "C3-FR-05"), open_bench=broken).lines()
    assert "nothing answers on its link" in first
    assert second.endswith("  as above")


def test_an_interrupted_run_is_an_error_and_its_record_says_so(runner: Runner) -> None:
    result = runner.run(
        "One\n    [Tags]    C3-FR-15\n    Check    C3-FR-15    good\n"
        "Two\n    [Tags]    C3-FR-05\n    Somebody Presses Ctrl C\n    Check    C3-FR-05    good\n"
        "Three\n    [Tags]    C3-FR-26\n    Check    C3-FR-26    good\n"
    )
    assert result.exit_code == 3
    assert result.problems == ["the run was interrupted"]
    assert verdicts(result) == {"C3-FR-05": "ERROR", "C3-FR-15": "PASS", "C3-FR-26": "ERROR"}
    assert state(result.record) == "interrupted"
    assert [problem.split(": ")[1] for problem in verify(result.record)] == ["the run was interrupted (state.json"]


def test_a_library_that_cannot_be_imported_is_an_error(runner: Runner) -> None:
    result = runner.run("*** Settings ***\nLibrary    /nowhere/words.py\n\n*** Test Cases ***\nOne\n    No Operation\n")
    assert result.verdict is Verdict.ERROR
    assert any("/nowhere/words.py" in problem for problem in result.problems)


def test_the_record_holds_all_that_an_auditor_needs(runner: Runner) -> None:
    result = runner.run("One\n    [Tags]    C3-FR-15\n    Read The Meter\n    Check    C3-FR-15    good\n", seed=42)
    there = {p.relative_to(result.record).as_posix() for p in result.record.rglob("*") if p.is_file()}
    assert there >= {
        "output.xml",
        "log.html",
        "report.html",
        "xunit.xml",
        "verdict.json",
        "devices.json",
        "bench.yaml",
        "bench.resolved.yaml",
        "readings.jsonl",
        "wire/line.log",
        "manifest.json",
        "state.json",
    }
    assert state(result.record) == "complete"
    devices = json.loads((result.record / "devices.json").read_text())
    assert devices["devices"] == [{"name": "meter", "model": "ami-meter"}]
    assert {"python", "robotframework", "labgrid"} <= set(devices["versions"])
    verdict = json.loads((result.record / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["seed"], verdict["bench"]) == ("PASS", 42, "tiny")
    assert verdict == result.as_json()
    assert (result.record / "bench.yaml").read_text() == BENCH
    assert json.loads((result.record / "readings.jsonl").read_text())["at"] == EPOCH.isoformat()
    assert result.digest == json.loads((result.record / "manifest.json").read_text())["digest"]


def test_two_runs_of_one_seed_give_the_same_requirements(tmp_path: Path) -> None:
    said = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result = Runner(tmp_path / name).run(THREE)
        said.append(json.loads((result.record / "verdict.json").read_text())["requirements"])
    assert said[0] == said[1]
    assert str(tmp_path) not in json.dumps(said)


def test_the_seed_is_the_bench_files_where_none_is_given(runner: Runner) -> None:
    assert runner.run(THREE, only=("C3-FR-15",)).seed == 5


def test_a_record_that_cannot_be_written_makes_the_run_an_error(runner: Runner) -> None:
    @contextlib.contextmanager
    def on_a_full_disk(bench_file: Path, *, seed: int, defects: tuple[str, ...], record: Record) -> Iterator[Standing]:
        (record.path / "wire").mkdir()
        (record.path / "wire" / "line.log").symlink_to("/dev/full")
        yield Standing()

    result = runner.run(
        "One\n    [Tags]    C3-FR-15\n    Read The Meter\n    Check    C3-FR-15    good\n", open_bench=on_a_full_disk
    )
    assert verdicts(result) == {"C3-FR-15": "PASS"}
    assert result.exit_code == 3
    assert any("line.log: the record cannot be written: No space left on device" in p for p in result.problems)
    assert json.loads((result.record / "verdict.json").read_text())["verdict"] == "ERROR"
    assert verify(result.record) != []


def test_simple_acceptance_stands_in_the_verdict(runner: Runner) -> None:
    result = runner.run(THREE, only=("C3-FR-15",), rule=Rule.SIMPLE)
    assert result.as_json()["rule"] == "simple acceptance"


def test_progress_is_plain_lines_where_there_is_no_terminal(runner: Runner) -> None:
    runner.run(THREE)
    assert runner.said.getvalue().splitlines() == [
        "PASS           One",
        "PASS           Two",
        "FAIL           Three",
    ]


def test_a_verdict_is_shown_as_lines_and_as_a_table(runner: Runner) -> None:
    result = runner.run(THREE)
    assert any(line.startswith("FAIL           C3-S1.08") and "contradicted" in line for line in result.lines())
    console = Console(file=io.StringIO(), width=160)
    console.print(result.table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "C3-S1.08" in shown
    assert "tiny, seed 5: FAIL" in shown


APART = """One
    [Tags]    C3-FR-15    C3-FR-19    C3-S1.01    C3-S1.05    C3-S1.10    C3-S1.13
    Check    C3-S1.05    good    system=CSS
    Check    C3-FR-15    good
    Check    C3-S1.10    good    system=MDMS
    Check    C3-FR-19    good    system=Meter
    Check    C3-FR-19    bad    system=CSS
    Check    C3-S1.13    good    system=Display
    Acted    C3-S1.01
"""


def test_devices_are_told_apart_from_the_utility_s_own_systems(runner: Runner) -> None:
    result = runner.run(APART)
    assert result.lines() == [
        "PASS           C3-S1.13     Display      1 checks",
        "PASS           C3-FR-15     Meter        1 checks",
        "FAIL           C3-FR-19     CSS, Meter   2 checks  what it says: contradicted by claim (device): bad",
        "Devices under test: Display PASS, Meter PASS",
        "PASS           C3-S1.01     suite        1 checks",
        "PASS           C3-S1.05     CSS          1 checks",
        "PASS           C3-S1.10     MDMS         1 checks",
        "The utility's own systems and the bench: CSS FAIL, MDMS PASS, suite PASS",
        "FAIL tiny seed 5",
    ]
    console = Console(file=io.StringIO(), width=160)
    console.print(result.table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    devices, utility = shown.index("Devices under test: Display PASS, Meter PASS"), shown.index("CSS FAIL, MDMS PASS")
    assert devices < shown.index("C3-S1.13") < shown.index("C3-FR-19") < utility
    assert utility < shown.index("C3-S1.05") < shown.index("C3-S1.10") < shown.index("tiny, seed 5: FAIL")


def test_a_system_that_stands_only_in_the_devices_rows_has_its_verdict(runner: Runner) -> None:
    lines = runner.run(
        "One\n    [Tags]    C3-FR-19\n    Check    C3-FR-19    good\n    Check    C3-FR-19    bad    system=CSS\n"
    )
    assert lines.lines()[1:] == [
        "Devices under test: Meter PASS",
        "The utility's own systems and the bench: CSS FAIL",
        "FAIL tiny seed 5",
    ]


def test_there_is_no_session_outside_a_run() -> None:
    with pytest.raises(BadInput, match="no run is in progress"):
        session()


@pytest.mark.parametrize(
    ("message", "raised", "left"),
    [
        ("FAIL x", ["FAIL x"], None),
        ("Several failures occurred:\n\n1) FAIL x\n\n2) FAIL y", ["FAIL x", "FAIL y"], None),
        ("Several failures occurred:\n\n1) FAIL x\n\n2) ConnectionError: gone", ["FAIL x"], "ConnectionError: gone"),
        ("Teardown failed:\nFAIL x", ["FAIL x"], None),
        ("FAIL x\n\nAlso teardown failed:\ngone", ["FAIL x"], "gone"),
        ("gone", [], "gone"),
        ("", [], "the test failed without saying why"),
    ],
)
def test_what_did_not_come_from_the_judge_is_told_apart(message: str, raised: list[str], left: str | None) -> None:
    assert foreign(message, raised) == left
