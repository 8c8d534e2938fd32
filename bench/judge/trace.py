"""From requirement to test to defect to last verdict: what of the catalogue is covered, and what is open.

A `test` row needs a Robot test that names its id by tag and a defect that breaks it. A step needs its scenario's test, and
a defect where a system acts it. What is `inspect`, `declare` or `scope` needs neither and is shown as what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from bench.data import BadInput, at, checked, nearest, read
from bench.evidence.record import newest_first, state
from bench.judge import requirements
from bench.judge.requirements import Catalogue, Requirement
from twins.defects import CATALOGUE, Defect

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / "robot" / "suites"
SCOPE = ROOT / "inventory" / "scope.yaml"


@dataclass(frozen=True)
class Row:
    """One requirement: the tests that decide it, the defects that break it, its last verdict ("" before any)."""

    id: str
    verify: str
    applies_to: tuple[str, ...]
    tests: tuple[str, ...]
    defects: tuple[str, ...]
    covered: bool
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """As `trace --json` prints it."""
        return {
            "id": self.id,
            "verify": self.verify,
            "applies_to": list(self.applies_to),
            "tests": list(self.tests),
            "defects": list(self.defects),
            "covered": self.covered,
            "verdict": self.verdict or None,
        }


@dataclass(frozen=True)
class Trace:
    """All rows in the catalogue's order; `open` are the ids that are in and not covered; `errors` are tags and defects
    that name an id that isn't there."""

    rows: tuple[Row, ...]
    inside: frozenset[str]
    open: tuple[str, ...]
    errors: tuple[str, ...] = ()
    excepted: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, or 1 if something that is in has no test or no defect, or an error was found."""
        return 1 if self.open or self.errors else 0

    def as_json(self) -> list[dict[str, Any]]:
        """As `trace --json` prints it."""
        return [row.as_json() for row in self.rows]

    def _what(self, row: Row) -> str:
        if row.verify != "test":
            return row.verify
        if row.id in self.open:
            missing = [] if row.tests else ["no test"]
            # A row with its test is open for want of a defect, and a step of a person never is.
            return "OPEN: " + " and ".join(missing or ["no defect"])
        if row.id in self.excepted:
            return f"out: {self.excepted[row.id]}"
        return "covered" if row.covered else "not in yet"

    def table(self) -> Table:
        """For a terminal."""
        table = Table()
        for heading in ("requirement", "applies to", "tests", "defects", "coverage", "last verdict"):
            table.add_column(heading, overflow="fold")
        for row in self.rows:
            what = self._what(row)
            style = "red" if row.id in self.open else "green" if row.covered and row.tests else "dim"
            cells = (row.id, ", ".join(row.applies_to), ", ".join(row.tests), ", ".join(row.defects), what, row.verdict)
            table.add_row(*cells, style=style)
        return table

    def lines(self) -> list[str]:
        """In plain lines: the rows, then what is open, then a summary."""
        lines = [
            f"{row.id:<12} {self._what(row)}; tests: {', '.join(row.tests) or '-'}; "
            f"defects: {', '.join(row.defects) or '-'}; last verdict: {row.verdict or '-'}"
            for row in self.rows
        ]
        return [*lines, *self.summary()]

    def summary(self) -> list[str]:
        """What is wrong, what is open, and how much is covered."""
        inside = [row for row in self.rows if row.id in self.inside]
        return [
            *(f"error: {error}" for error in self.errors),
            *(f"open: {row.id}: {self._what(row).removeprefix('OPEN: ')}" for row in inside if row.id in self.open),
            f"{sum(row.covered for row in inside)} of {len(inside)} in, {len(self.rows)} in the catalogue",
        ]


class _Scope(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inside: list[str] = Field(alias="in")
    out: dict[str, str] = Field({}, alias="except")


def scope(catalogue: Catalogue, path: Path = SCOPE) -> tuple[frozenset[str], dict[str, str]]:
    """The ids that are in, and those that are taken out with the reason. BadInput names file, line and key."""
    data, node = read(path)
    file = checked(path, node, data, _Scope)
    use_cases = {requirement.use_case for requirement in catalogue}
    found: set[str] = set()
    for index, name in enumerate(file.inside):
        if name in use_cases:
            found |= {requirement.id for requirement in catalogue if requirement.use_case == name}
            continue
        try:
            found |= set(catalogue.expand(name))
        except BadInput as no:
            raise at(path, node, ["in", index], str(no)) from None
    for id_ in file.out:
        if id_ not in found:
            raise at(path, node, ["except", id_], f"is not in anyway; {nearest(id_, sorted(found))}")
    return frozenset(found - set(file.out)), file.out


def deciding_tests(catalogue: Catalogue, suites: Path = SUITES) -> tuple[dict[str, list[str]], list[str]]:
    """Names of the Robot tests that decide each id, and one line for each tag that names an id that isn't there."""
    from robot.api import TestSuiteBuilder

    found: dict[str, list[str]] = {}
    errors: list[str] = []
    if not suites.is_dir():
        raise BadInput(f"{suites}: no such directory of suites")
    # An empty directory of suites is no error here: everything is open then.
    suite = TestSuiteBuilder(allow_empty_suite=True).build(str(suites)) if any(suites.rglob("*.robot")) else None
    for test in suite.all_tests if suite is not None else ():
        for tag in map(str, test.tags):
            if not catalogue.looks_like_id(tag):
                continue
            try:
                ids = catalogue.expand(tag)
            except BadInput as no:
                errors.append(f"{_short(test.source)}:{test.lineno}: test {test.name!r}: tag {tag}: {no}")
                continue
            for id_ in ids:
                if test.name not in found.setdefault(id_, []):
                    found[id_].append(test.name)
    return found, errors


def _short(source: Any) -> str:
    path = Path(str(source))
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def last_verdicts(runs: Path, limit: int = 100) -> dict[str, str]:
    """The verdict on each id in the newest complete record without defects that has it. Of a run that ended early only what
    failed counts: it was after nothing else."""
    found: dict[str, str] = {}
    for record in newest_first(runs)[:limit]:
        if state(record) != "complete":
            continue
        from bench.certify import verdict_file

        try:
            verdict = verdict_file(record)
        except BadInput:
            continue
        if verdict.get("defects"):
            continue
        for row in verdict.get("requirements", []):
            if not (isinstance(row, dict) and {"id", "verdict"} <= row.keys()):
                continue
            if row["verdict"] == "FAIL" or not verdict.get("left_out"):
                found.setdefault(str(row["id"]), str(row["verdict"]))
    return found


def _covered(requirement: Requirement, tests: Sequence[str], defects: Sequence[str]) -> bool:
    return (bool(tests) or not requirement.needs_test) and (bool(defects) or not requirement.needs_defect)


def trace(
    *,
    runs: Path = Path("runs"),
    suites: Path = SUITES,
    scope_file: Path = SCOPE,
    catalogue: Catalogue | None = None,
    defects: Mapping[str, Defect] = CATALOGUE,
) -> Trace:
    """Trace the whole catalogue."""
    catalogue = catalogue or requirements.load()
    inside, excepted = scope(catalogue, scope_file)
    tests, errors = deciding_tests(catalogue, suites)
    breaking: dict[str, list[str]] = {}
    for defect in defects.values():
        for broken in defect.breaks:
            if broken not in catalogue:
                errors.append(f"defect {defect.name!r} breaks {broken}: {_unknown(catalogue, broken)}")
            breaking.setdefault(broken, []).append(defect.name)
    verdicts = last_verdicts(runs)
    rows = []
    for requirement in catalogue:
        of_tests, of_defects = tests.get(requirement.id, []), breaking.get(requirement.id, [])
        rows.append(
            Row(
                requirement.id,
                requirement.verify,
                requirement.applies_to,
                tuple(of_tests),
                tuple(of_defects),
                _covered(requirement, of_tests, of_defects),
                verdicts.get(requirement.id, ""),
            )
        )
    still_open = tuple(row.id for row in rows if row.id in inside and not row.covered)
    return Trace(tuple(rows), inside, still_open, tuple(errors), excepted)


def _unknown(catalogue: Catalogue, id_: str) -> str:
    try:
        catalogue[id_]
    except BadInput as no:
        return str(no)
    return ""
