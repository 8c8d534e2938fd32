"""Runs the seeded defects against the suites: each must make the test of every requirement it breaks FAIL, and the same
tests must PASS without it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.data import BadInput
from twins import defects as seeded
from twins.defects import Defect

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600.0
"""Real seconds after which a run of one defect is given up, and the defect counted as escaped."""


@dataclass(frozen=True)
class Outcome:
    """What became of one defect: `caught_by` names the tests that failed for the ids it breaks, `verdicts` says what each of
    those ids came to, `falls` (with `matrix`) which others fell too, `why` why it escaped."""

    name: str
    breaks: tuple[str, ...]
    caught_by: tuple[str, ...]
    escaped: bool
    verdicts: Mapping[str, str]
    falls: tuple[str, ...] = ()
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """As `defects --json` prints it."""
        return {
            "name": self.name,
            "breaks": list(self.breaks),
            "caught_by": list(self.caught_by),
            "escaped": self.escaped,
        }

    def line(self) -> str:
        """One plain line."""
        text = (
            f"ESCAPED {self.name}: {self.why}"
            if self.escaped
            else f"caught  {self.name} by {', '.join(self.caught_by)}"
        )
        return text + (f"; falls too: {', '.join(self.falls)}" if self.falls else "")


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
    asked for. `matrix` runs each against everything. Records go to `runs`, and are thrown away where that is None."""
    wanted = [_find(name) for name in names] if names else list(seeded.CATALOGUE.values())
    if not bench_file.is_file():
        raise BadInput(f"{bench_file}: no such bench file")
    if jobs is not None and jobs < 1:
        raise BadInput(f"{jobs} jobs: at least one is needed")
    console = console or Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="twinbench-defects-") as scratch:
        where = (runs or Path(scratch)).resolve()
        return _Campaign(wanted, bench_file, seed, matrix, where).run(jobs or os.cpu_count() or 1, console)


def _find(name: str) -> Defect:
    try:
        return seeded.find(name)
    except seeded.UnknownDefect as no:
        raise BadInput(str(no)) from None


class _Campaign:
    def __init__(self, wanted: Sequence[Defect], bench_file: Path, seed: int | None, matrix: bool, where: Path) -> None:
        self._wanted = list({defect.name: defect for defect in wanted}.values())
        self._bench_file = bench_file.resolve()
        self._seed = seed
        self._matrix = matrix
        self._where = where
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, jobs: int, console: Console) -> list[Outcome]:
        broken = tuple(dict.fromkeys(id_ for defect in self._wanted for id_ in defect.breaks))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        found: dict[str, dict[str, Any] | str] = {}
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="defects")
        try:
            with bar:
                task = bar.add_task("defects", total=len(self._wanted) + 1)
                healthy = pool.submit(self._certify, None, broken)
                waiting = {pool.submit(self._certify, defect.name, defect.breaks): defect for defect in self._wanted}
                healthy.result()
                bar.advance(task)
                for done in as_completed(waiting):
                    defect = waiting[done]
                    found[defect.name] = done.result()
                    bar.advance(task)
                    line = outcome(defect, found[defect.name], healthy.result(), self._matrix).line()
                    bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        except BaseException:
            self._stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [outcome(defect, found[defect.name], healthy.result(), self._matrix) for defect in self._wanted]

    def _certify(self, defect: str | None, ids: Sequence[str]) -> dict[str, Any] | str:
        """One run; what `certify --json` printed, or one line on why there is nothing of the kind."""
        out = self._where / (defect or "healthy")
        command = [sys.executable, "-m", "bench.cli", "certify", "--bench", str(self._bench_file), "--json"]
        command += ["--out", str(out)]
        if self._seed is not None:
            command += ["--seed", str(self._seed)]
        if defect is not None:
            command += ["--defect", defect]
        if not self._matrix:
            command += [part for id_ in ids for part in ("--only", id_)]
        with self._lock:
            if self._stopped:
                return "was not run"
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            said, complained = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return f"ran over {TIMEOUT_S:g} s"
        finally:
            with self._lock:
                self._running.discard(process)
        try:
            verdict = json.loads(said)
        except ValueError:
            last = (complained.strip().splitlines() or ["nothing was said"])[-1]
            return f"certify ended with code {process.returncode} and no verdict: {last.strip()[:200]}"
        return verdict if isinstance(verdict, dict) else "certify printed no verdict"

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)


def outcome(defect: Defect, run: dict[str, Any] | str, healthy: dict[str, Any] | str, matrix: bool = False) -> Outcome:
    """What became of a defect: `run` and `healthy` are what `certify --json` printed with and without it, or one line on why
    there is nothing."""
    fell, well = _requirements(run), _requirements(healthy)
    verdicts = {id_: str(fell.get(id_, {}).get("verdict", "not judged")) for id_ in defect.breaks}
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
    elif unwell := [id_ for id_ in defect.breaks if well.get(id_, {}).get("verdict") != "PASS"]:
        said = ", ".join(f"{id_} is {well.get(id_, {}).get('verdict', 'not judged')}" for id_ in unwell)
        why = f"the healthy twin does not pass either: {said}"
    elif escaped := [id_ for id_, verdict in verdicts.items() if verdict != "FAIL"]:
        why = ", ".join(f"{id_} is {verdicts[id_]}" for id_ in escaped)
    falls: tuple[str, ...] = ()
    if matrix:
        falls = tuple(
            id_
            for id_, row in fell.items()
            if id_ not in defect.breaks and row["verdict"] != well.get(id_, {}).get("verdict", row["verdict"])
        )
    return Outcome(defect.name, defect.breaks, tuple(sorted(tests)), bool(why), verdicts, falls, why)


def _kill(process: subprocess.Popen[str]) -> None:
    """End a run with everything that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _requirements(run: dict[str, Any] | str) -> dict[str, Any]:
    return {} if isinstance(run, str) else {row["id"]: row for row in run.get("requirements", [])}


def table(outcomes: Sequence[Outcome]) -> Table:
    """The outcomes for a terminal."""
    found = Table()
    for heading in ("defect", "breaks", "caught by", "outcome"):
        found.add_column(heading, overflow="fold")
    for outcome in outcomes:
        said = f"ESCAPED: {outcome.why}" if outcome.escaped else "caught"
        said += f" (falls too: {', '.join(outcome.falls)})" if outcome.falls else ""
        cells = (outcome.name, ", ".join(outcome.breaks), ", ".join(outcome.caught_by), said)
        found.add_row(*cells, style="red" if outcome.escaped else "green")
    return found
