"""Runs the seeded defects against the suites: each must make the test of every requirement it breaks FAIL, and the same
tests must PASS without it. The scenario that what is broken belongs to is run beside them. What keeps just inside a limit is
run, too: it must PASS."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.apart import JOBS, Runs
from bench.data import BadInput
from bench.judge import requirements, trace
from bench.judge.requirements import Catalogue
from twins import defects as seeded
from twins.defects import Defect

TIMEOUT_S = 600.0
"""Real seconds after which a run of one defect is given up, and the defect counted as escaped."""

_DECIDED = ("PASS", "FAIL")


@dataclass(frozen=True)
class Outcome:
    """What became of one defect: `caught_by` names the tests that failed for the ids it breaks, `verdicts` says what each of
    those ids came to, `why` why it escaped.

    `scenarios` are those that were run because what is broken belongs to them, and `falls` those of them whose tests fell. A
    scenario that never does the thing that is broken cannot fall, and nothing escapes for that. With `matrix`, `falls` are
    all other ids that fell. What keeps just inside a limit (`keeps`) has escaped where a test failed it.
    """

    name: str
    breaks: tuple[str, ...]
    caught_by: tuple[str, ...]
    escaped: bool
    verdicts: Mapping[str, str]
    falls: tuple[str, ...] = ()
    why: str = ""
    scenarios: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As `defects --json` prints it."""
        said = {"name": self.name, "breaks": list(self.breaks), "caught_by": list(self.caught_by)}
        return said | {"escaped": self.escaped} | ({"keeps": list(self.keeps)} if self.keeps else {})

    def line(self) -> str:
        """One plain line."""
        if self.keeps:
            return (
                f"FAILS   {self.name}: {self.why}" if self.escaped else f"passes  {self.name}: {', '.join(self.keeps)}"
            )
        text = (
            f"ESCAPED {self.name}: {self.why}"
            if self.escaped
            else f"caught  {self.name} by {', '.join(self.caught_by)}"
        )
        return text + (f"; {self.around}" if self.around else "")

    @property
    def around(self) -> str:
        """What else fell, and which scenarios did not; empty where nothing was asked."""
        stands = ", ".join(one for one in self.scenarios if one not in self.falls)
        said = [f"falls too: {', '.join(self.falls)}"] if self.falls else []
        return "; ".join([*said, f"does not show in {stands}"] if stands else said)


def scenarios_of(
    ids: Sequence[str], catalogue: Catalogue, tests: Mapping[str, Sequence[str]], inside: Collection[str]
) -> dict[str, frozenset[str]]:
    """The scenario of each id, with the names of its tests: a step's own, and of what else is required the first of those in
    which it is. Where the ids' own tests run a scenario anyhow, it is that one, and no other is added.

    Scenarios without a step that is in and has a test are left out. `tests` names the tests of each id.
    """
    own = {test for id_ in ids for test in tests.get(id_, ())}
    around = [found for id_ in ids if (found := _scenarios_of(id_, catalogue, tests, inside))]
    run_anyhow = {name: of for found in around for name, of in found.items() if of <= own}
    if run_anyhow:
        return run_anyhow
    return {name: of for found in around for name, of in [next(iter(found.items()))]}


def _scenarios_of(
    id_: str, catalogue: Catalogue, tests: Mapping[str, Sequence[str]], inside: Collection[str]
) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    requirement = catalogue[id_]
    steps = (requirement.id, *requirement.steps, *requirement.at)
    for name in dict.fromkeys([*(catalogue[step].scenario for step in steps), *requirement.scenarios]):
        if name is not None:
            of_steps = {t for step in catalogue.expand(name) if step in inside for t in tests.get(step, ())}
            if of_steps:
                found[name] = frozenset(of_steps)
    return found


def run_defects(
    names: Sequence[str] = (),
    *,
    bench_file: Path,
    seed: int | None = None,
    jobs: int | None = None,
    matrix: bool = False,
    console: Console | None = None,
    runs: Path | None = None,
) -> list[Outcome]:
    """Run each defect (all of the catalogue by default) in a process of its own, `jobs` at a time; outcomes in the order
    asked for.

    Each runs against the tests of what it breaks and of its scenario until all of them have fallen; `matrix` runs it against
    everything. Records go to `runs`, and are thrown away where that is None.
    """
    wanted = [_find(name) for name in names] if names else [*seeded.CATALOGUE.values(), *seeded.INSIDE.values()]
    if not bench_file.is_file():
        raise BadInput(f"{bench_file}: no such bench file")
    if jobs is not None and jobs < 1:
        raise BadInput(f"{jobs} jobs: at least one is needed")
    console = console or Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="twinbench-defects-") as scratch:
        where = (runs or Path(scratch)).resolve()
        return _Campaign(wanted, bench_file, seed, matrix, where, kept=runs is not None).run(jobs or JOBS, console)


def _find(name: str) -> Defect:
    try:
        return seeded.find(name)
    except seeded.UnknownDefect as no:
        raise BadInput(str(no)) from None


class _Campaign:
    def __init__(
        self, wanted: Sequence[Defect], bench_file: Path, seed: int | None, matrix: bool, where: Path, kept: bool
    ) -> None:
        self._wanted = list({defect.name: defect for defect in wanted}.values())
        self._bench_file = bench_file.resolve()
        self._seed = seed
        self._matrix = matrix
        self._where = where
        self._kept = kept
        self._scenarios = self._around()
        self._runs = Runs()

    def _around(self) -> dict[str, dict[str, frozenset[str]]]:
        """For each defect the scenarios that what it breaks belongs to, with their tests; none where everything is run."""
        if self._matrix:
            return {defect.name: {} for defect in self._wanted}
        catalogue = requirements.load()
        inside, _ = trace.scope(catalogue)
        tests, _ = trace.deciding_tests(catalogue)
        return {
            defect.name: scenarios_of(defect.breaks, catalogue, tests, inside) if defect.breaks else {}
            for defect in self._wanted
        }

    def _ids(self, defect: Defect) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*defect.breaks, *defect.keeps, *self._scenarios[defect.name]]))

    def _outcome(self, defect: Defect, run: dict[str, Any] | str, healthy: dict[str, Any] | str) -> Outcome:
        return outcome(defect, run, healthy, matrix=self._matrix, scenarios=self._scenarios[defect.name])

    def run(self, jobs: int, console: Console) -> list[Outcome]:
        broken = tuple(dict.fromkeys(id_ for defect in self._wanted for id_ in self._ids(defect)))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        found: dict[str, dict[str, Any] | str] = {}
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="defects")
        try:
            with bar:
                task = bar.add_task("defects", total=len(self._wanted) + 1)
                healthy = pool.submit(self._certify, None, broken)
                waiting = {
                    pool.submit(self._certify, defect.name, self._ids(defect)): defect for defect in self._wanted
                }
                healthy.result()
                bar.advance(task)
                for done in as_completed(waiting):
                    defect = waiting[done]
                    found[defect.name] = done.result()
                    bar.advance(task)
                    line = self._outcome(defect, found[defect.name], healthy.result()).line()
                    bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        except BaseException:
            self._runs.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [self._outcome(defect, found[defect.name], healthy.result()) for defect in self._wanted]

    def _certify(self, defect: str | None, ids: Sequence[str]) -> dict[str, Any] | str:
        """One run; its verdict, or one line on why there is none."""
        arguments = [] if self._kept else ["--bare"]
        if self._seed is not None:
            arguments += ["--seed", str(self._seed)]
        if defect is not None:
            arguments += ["--defect", defect]
        if not self._matrix:
            arguments += [part for id_ in ids for part in ("--only", id_)]
            if defect is not None:
                arguments.append("--until-failed")
        return self._runs.certify(self._bench_file, self._where / (defect or "healthy"), arguments, TIMEOUT_S)


def outcome(
    defect: Defect,
    run: dict[str, Any] | str,
    healthy: dict[str, Any] | str,
    *,
    matrix: bool = False,
    scenarios: Mapping[str, Collection[str]] | None = None,
) -> Outcome:
    """What became of a defect: `run` and `healthy` are what `certify --json` printed with and without it, or one line on why
    there is nothing. `scenarios` are those that were run beside what it breaks, with the names of their tests."""
    scenarios = scenarios or {}
    fell, well = _requirements(run), _requirements(healthy)
    judged = [*defect.breaks, *defect.keeps]
    verdicts = {id_: str(fell.get(id_, {}).get("verdict", "not judged")) for id_ in judged}
    tests = {
        check["test"]
        for id_ in defect.breaks
        for check in fell.get(id_, {}).get("checks", ())
        if check["verdict"] == "FAIL"
    }
    why = ""
    if isinstance(run, str):
        why = run
    elif isinstance(healthy, str):
        why = f"the healthy twin could not be judged: {healthy}"
    elif trouble := [*run.get("problems", ()), *healthy.get("problems", ())]:
        why = str(trouble[0])
    elif unwell := [id_ for id_ in judged if well.get(id_, {}).get("verdict") != "PASS"]:
        said = ", ".join(f"{id_} is {well.get(id_, {}).get('verdict', 'not judged')}" for id_ in unwell)
        why = f"the healthy twin does not pass either: {said}"
    elif escaped := [
        id_ for id_, verdict in verdicts.items() if verdict != ("FAIL" if id_ in defect.breaks else "PASS")
    ]:
        why = ", ".join(f"{id_} is {verdicts[id_]}{_because(fell.get(id_, {}))}" for id_ in escaped)
    worse = _failed(run) - _failed(healthy)
    falls = tuple(name for name, of_scenario in scenarios.items() if worse & set(of_scenario))
    if matrix:
        falls = tuple(
            id_
            for id_, row in fell.items()
            if id_ not in judged and row["verdict"] != well.get(id_, {}).get("verdict", row["verdict"])
        )
    caught_by = tuple(sorted(tests))
    return Outcome(
        defect.name, defect.breaks, caught_by, bool(why), verdicts, falls, why, tuple(scenarios), defect.keeps
    )


def _because(row: Mapping[str, Any]) -> str:
    """Why a requirement came to its verdict, where that is no FAIL and not PASS."""
    checks = [c for c in row.get("checks", ()) if c["verdict"] == row.get("verdict") and c["verdict"] not in _DECIDED]
    return f" ({checks[0]['what']}: {checks[0]['reason'][:160]})" if checks else ""


def _requirements(run: dict[str, Any] | str) -> dict[str, Any]:
    return {} if isinstance(run, str) else {row["id"]: row for row in run.get("requirements", [])}


def _failed(run: dict[str, Any] | str) -> set[str]:
    """Names of the tests in which a check was not passed."""
    checks = (check for row in _requirements(run).values() for check in row.get("checks", ()))
    return {check["test"] for check in checks if check["verdict"] not in ("PASS", "NOT_APPLICABLE")}


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """How many were caught, how many of those just inside a limit passed, and which were not."""
    broken, inside = [o for o in outcomes if not o.keeps], [o for o in outcomes if o.keeps]
    said = [f"{sum(not o.escaped for o in broken)} of {len(broken)} caught"] if broken else []
    if inside:
        said.append(f"{sum(not o.escaped for o in inside)} of {len(inside)} just inside a limit passed")
    escaped = [o.name for o in outcomes if o.escaped]
    return [*said, f"escaped: {', '.join(escaped)}"] if escaped else said


def table(outcomes: Sequence[Outcome]) -> Table:
    """The outcomes for a terminal."""
    found = Table()
    for heading in ("defect", "breaks", "caught by", "outcome", "around it"):
        found.add_column(heading, overflow="fold")
    for outcome in outcomes:
        said = f"ESCAPED: {outcome.why}" if outcome.escaped else "passes" if outcome.keeps else "caught"
        broken = f"nothing (keeps {', '.join(outcome.keeps)})" if outcome.keeps else ", ".join(outcome.breaks)
        cells = (outcome.name, broken, ", ".join(outcome.caught_by), said, outcome.around)
        found.add_row(*cells, style="red" if outcome.escaped else "green")
    return found
