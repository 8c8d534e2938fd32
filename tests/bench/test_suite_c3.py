"""The suites of prepayment: every id that is in has its test and its defect, every tag and keyword is there, nobody sleeps."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import robot.api
import robot.running
from robot.libdocpkg import LibraryDocumentation

from bench.judge import requirements, trace
from bench.judge.requirements import Catalogue
from twins import defects

ROOT = Path(__file__).parents[2]
ROBOT = ROOT / "robot"
FILES = sorted(ROBOT.rglob("*.robot"))
KEYWORDS = [*sorted((ROBOT / "keywords").glob("*.py")), ROOT / "bench" / "keywords.py"]
# What scenario 1 carries: its own tests, each with its witnesses.
SCENARIO_1 = [
    *(f"C3-FR-{n}" for n in ("01", "05", "12", "15", "19", "25", "26", "31", "32")),
    *("C3-NFR-02", "C3-NFR-06", "C3-NFR-07", "C3-BR-01", "C3-BR-02"),
    *(f"C3-MSG-{n}" for n in ("01", "02", "05", "06", "07", "08", "10", "11", "12")),
    *(f"C3-S1.{n:02}" for n in range(1, 13)),
]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return requirements.load()


@pytest.fixture(scope="module")
def suite() -> robot.running.TestSuite:
    return robot.api.TestSuiteBuilder().build(str(ROBOT / "suites"))


@pytest.fixture(scope="module")
def traced(catalogue: Catalogue) -> dict[str, trace.Row]:
    found = trace.trace(catalogue=catalogue)
    assert found.errors == ()
    return {row.id: row for row in found.rows}


def all_tests(suite: robot.running.TestSuite) -> list[robot.running.TestCase]:
    return list(suite.all_tests)


def _normal(name: str) -> str:
    return re.sub(r"[\s_]", "", name).lower()


# --- coverage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", SCENARIO_1)
def test_what_scenario_1_carries_is_covered(id_: str, traced: dict[str, trace.Row], catalogue: Catalogue) -> None:
    row = traced[id_]
    assert row.covered
    assert row.tests, "no test decides it"
    if catalogue[id_].needs_defect:
        assert row.defects, "no defect breaks it"
        assert {id_} <= {broken for name in row.defects for broken in defects.CATALOGUE[name].breaks}


def test_scenario_1_is_in(catalogue: Catalogue) -> None:
    inside, out = trace.scope(catalogue)
    assert set(SCENARIO_1) <= inside
    assert all(reason.strip() for reason in out.values())


def test_each_requirement_has_a_test_of_its_own(suite: robot.running.TestSuite) -> None:
    """A requirement beside the scenario is not decided in passing: one test's name stands for it alone."""
    for id_ in (i for i in SCENARIO_1 if re.match(r"C3-(FR|NFR|BR)-", i)):
        assert [t.name for t in all_tests(suite) if str(id_) in set(map(str, t.tags)) and len(t.tags) == 1], id_


def test_each_step_that_a_system_acts_is_broken_by_a_defect(traced: dict[str, trace.Row], catalogue: Catalogue) -> None:
    steps = [row for row in traced.values() if row.id in SCENARIO_1 and row.id.startswith("C3-S1.")]
    assert len(steps) == 12
    for row in steps:
        assert bool(row.defects) or not catalogue[row.id].needs_defect, row.id
    assert sum(catalogue[row.id].needs_defect for row in steps) >= 8


def test_every_defect_breaks_something_that_a_test_decides(traced: dict[str, trace.Row]) -> None:
    for defect in defects.CATALOGUE.values():
        for id_ in defect.breaks:
            assert traced[id_].tests, f"{defect.name} breaks {id_}, which no test decides"


# --- the files ------------------------------------------------------------------------------------------------------------


def test_every_tag_that_looks_like_an_id_is_one(suite: robot.running.TestSuite, catalogue: Catalogue) -> None:
    for test in all_tests(suite):
        tags = [str(tag) for tag in test.tags]
        ids = [tag for tag in tags if catalogue.looks_like_id(tag)]
        assert ids, f"{test.name} decides nothing"
        for id_ in ids:
            assert catalogue.expand(id_)


def test_names_of_tests_are_unique(suite: robot.running.TestSuite) -> None:
    names = [test.name for test in all_tests(suite)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_nobody_sleeps_or_reaches_round_the_bench(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s+(Sleep|Run Process|Evaluate)\b", text, re.M | re.I)
    assert not re.search(r"^Library\s+(Process|OperatingSystem|Telnet)\b", text, re.M)
    assert re.search(r"^Documentation\s+\S", text, re.M)


def test_robot_s_room_is_no_package() -> None:
    assert not list(ROBOT.rglob("__init__.py"))


def test_keywords_do_not_reach_into_a_behaviour() -> None:
    """There is no short cut from a keyword to a twin: not by import, and not by the bench's own twins."""
    for path in KEYWORDS:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                rooms = (
                    "twins.meters",
                    "twins.relays",
                    "twins.analyzers",
                    "twins.faces",
                    "twins.wiring",
                    "twins.defects",
                )
                assert not module.startswith(rooms), f"{path.name}:{node.lineno} imports {module}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("twins", "shadows", "site", "defects"), (
                    f"{path.name}:{node.lineno} .{node.attr}"
                )
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = (getattr(node.func.value, "id", ""), node.func.attr)
                assert called not in {("time", "sleep"), ("time", "time"), ("datetime", "now")}, (
                    f"{path.name}:{node.lineno}"
                )


def test_robot_framework_finds_every_keyword() -> None:
    """Its dry run: every keyword is there and takes the arguments that it is given."""
    command = [
        sys.executable,
        "-m",
        "robot",
        "--dryrun",
        "--output",
        "NONE",
        "--log",
        "NONE",
        "--report",
        "NONE",
        "--pythonpath",
        str(ROOT),
    ]
    done = subprocess.run(
        [*command, str(ROBOT / "suites")], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert re.search(r"\b0 failed\b", done.stdout)


def test_every_keyword_is_described_and_used(suite: robot.running.TestSuite) -> None:
    used = {_normal(name) for name, _ in _steps(suite)}
    for path in sorted((ROBOT / "keywords").glob("*.py")):
        for keyword in LibraryDocumentation(str(path)).keywords:
            assert keyword.doc, f"the keyword {keyword.name!r} has no documentation"
            assert _normal(keyword.name) in used, f"no suite uses the keyword {keyword.name!r}"


# --- limits ---------------------------------------------------------------------------------------------------------------

_JUDGING = ("check", "concluded", "margin")
_DIVISORS = {100, 1000, 3600}
"""Numbers that convert per cent, watt-hours and seconds. Besides, none (0), both sides (twice something), the middle (half of
something) and a unit of time are no limits."""
_LOOKING = "_STEP"
"""How finely a keyword looks: what may pass between two looks."""


def written_limits(source: str) -> list[str]:
    """Numbers and times that a keyword holds a witness against and that come from no data: they stand in its own source, or
    the suite gives them. Each as `line: what`."""
    tree = ast.parse(source)
    constants = {target.id: node.value for node in tree.body for target in _targets(node)}
    found = []
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        known = dict(constants)
        for node in ast.walk(function):
            known |= {target.id: node.value for target in _targets(node)}
        given = {a.arg for a in function.args.args if isinstance(a.annotation, ast.Name) and a.annotation.id != "str"}
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr in _JUDGING:
                for argument in call.keywords:
                    if argument.arg in ("limit", "tolerance"):
                        behind = _behind(argument.value, known, given)
                        found += [f"{argument.value.lineno}: {argument.arg} {what}" for what in behind]
    return found


def _targets(node: ast.AST) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name) and node.value is not None]


def _behind(expression: ast.expr, known: dict[str, ast.expr], given: set[str]) -> list[str]:
    """What of an expression is a number by itself, or a number or time given by a suite, names followed to where they are
    assigned."""
    if isinstance(expression, ast.Constant):
        number = isinstance(expression.value, int | float) and not isinstance(expression.value, bool)
        return [str(expression.value)] if number and expression.value != 0 else []
    if isinstance(expression, ast.Subscript):
        return _behind(expression.value, known, given)
    if isinstance(expression, ast.Name):
        if expression.id == _LOOKING:
            return []
        if expression.id in given:
            return [f"given by the suite as {expression.id}"]
        rest = {name: value for name, value in known.items() if name != expression.id}
        return _behind(known[expression.id], rest, given) if expression.id in known else []
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Div):
        divisor = expression.right
        unit = isinstance(divisor, ast.Call) and ast.unparse(divisor) in ("timedelta(hours=1)", "timedelta(minutes=1)")
        if unit or (isinstance(divisor, ast.Constant) and divisor.value in {2, *_DIVISORS}):
            return _behind(expression.left, known, given)
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Mult):
        sides = [s for s in (expression.left, expression.right) if not (isinstance(s, ast.Constant) and s.value == 2)]
        return [what for side in sides for what in _behind(side, known, given)]
    if isinstance(expression, ast.IfExp):
        return _behind(expression.body, known, given) + _behind(expression.orelse, known, given)
    if isinstance(expression, ast.Call):
        # What a value is asked by (`limit("C3-NFR-01", "at once")`), and how far it is rounded, isn't the value.
        values = [] if getattr(expression.func, "id", "") == "round" else expression.args[1:]
        values += expression.args[:1] + [keyword.value for keyword in expression.keywords]
        if isinstance(expression.func, ast.Attribute):
            values.append(expression.func.value)
        return [what for value in values for what in _behind(value, known, given)]
    children = (child for child in ast.iter_child_nodes(expression) if isinstance(child, ast.expr))
    return [what for child in children for what in _behind(child, known, given)]


@pytest.mark.parametrize("path", KEYWORDS, ids=lambda p: p.name)
def test_limits_are_data(path: Path) -> None:
    """No keyword holds a witness against a number of its own or of its suite: limits are the catalogue's, or the supplier's."""
    assert written_limits(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("judge.check('X', tolerance=0.45)", "3: tolerance 0.45"),
        ("judge.check('X', limit=60)", "3: limit 60"),
        ("share = 0.05\n    judge.check('X', tolerance=share * cents)", "4: tolerance 0.05"),
        ("judge.check('X', tolerance=round(0.05 * claim, 2))", "3: tolerance 0.05"),
        ("judge.check('X', tolerance=within.total_seconds())", "3: tolerance given by the suite as within"),
        ("judge.check('X', tolerance=MOST)", "3: tolerance 7"),
        ("judge.check('X', limit=judge.limit('X', 'at once').wider(1.5))", "3: limit 1.5"),
        ("judge.check('X', limit=Limit('at once', '<=', 1))", "3: limit 1"),
        ("judge.check('X', tolerance=1000 if a else None)", "3: tolerance 1000"),
        ("judge.check('X', tolerance=timedelta(minutes=30))", "3: tolerance 30"),
        ("judge.check('X', tolerance=2.0)", "3: tolerance 2.0"),
    ],
)
def test_a_limit_that_is_written_into_a_keyword_is_found(lines: str, what: str) -> None:
    assert written_limits(f"MOST = 7\ndef keyword(self, within: timedelta, cents: float):\n    {lines}\n")[0] == what


@pytest.mark.parametrize(
    "line",
    [
        "judge.check('X', limit='at once')",
        "judge.check('X', limit=limit)",
        "judge.check('X', tolerance=float(case.pixit('class')) / 100 * measured)",
        "judge.check('X', limit=judge.limit('X', 'at once').wider(2 * uncertainty))",
        "judge.check('X', tolerance=most[0] / 2 + energy / timedelta(hours=1))",
    ],
)
def test_a_limit_from_data_is_none_of_them(line: str) -> None:
    assert written_limits(f"def keyword(self, limit: str):\n    {line}\n") == []


def test_a_suite_gives_no_limit(suite: robot.running.TestSuite, catalogue: Catalogue) -> None:
    """Where a keyword says `within`, it is within a limit of the catalogue, by name."""
    names = {limit.name for requirement in catalogue for limit in requirement.limits}
    for name, arguments in _steps(suite):
        if _normal(name).endswith("within"):
            assert str(arguments[-1]) in names, name


def _steps(suite: robot.running.TestSuite) -> Iterator[tuple[str, tuple[object, ...]]]:
    for child in suite.suites:
        yield from _steps(child)
    for owner in [*suite.tests, *suite.resource.keywords]:
        for step in [*owner.body, owner.setup, owner.teardown]:
            if getattr(step, "name", ""):
                yield str(step.name), tuple(step.args)
