"""Runs a simulated fleet on an engine, judges it by the catalogue, and leaves verdict and plot in a directory."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bench.data import BadInput, nearest
from bench.evidence.record import canonical
from bench.judge import requirements
from bench.judge.fleet import FleetVerdict, judge_fleet, plan
from bench.judge.requirements import Catalogue
from bench.judge.verdict import Verdict, worst
from twins import defects as seeded
from twins.fleet import fleet
from twins.fleet.config import MAX_DAYS, MAX_METERS, FleetConfig
from twins.fleet.tally import Tally

Engine = Literal["local", "dask"]
ENGINES: tuple[Engine, ...] = ("local", "dask")
DECIDES = ("C3-NFR-12", "C3-NFR-13")

_LEAST_CELLS = 4
"""A chunk for a worker is 65,536 meters at least: a task costs the scheduler more than a millisecond."""
_CHUNKS_PER_WORKER = 16
_SETTINGS = {
    # Dask's workers give all that is free back to the kernel at once: the pages of a buffer are then faulted in anew at each
    # use, which costs a tenth of the work. What a worker keeps of a cell is small.
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**27,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    "distributed.worker.profile.enabled": False,  # nobody reads the samples that it takes a hundred times a second
}
_STYLE = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.ERROR: "red"}


class FleetError(Exception):
    """The engine failed, or the fleet's books do not balance: nothing that the fleet could be blamed for."""


@dataclass(frozen=True)
class FleetRun:
    """What a fleet came to. The same fleet has the same `answer` on every engine; how it was run is told apart from that."""

    meters: int
    days: int
    seed: int
    defects: tuple[str, ...]
    tally: Tally
    judged: tuple[FleetVerdict, ...]
    engine: Engine
    workers: int
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """The worst of its requirements."""
        return worst(judged.verdict for judged in self.judged)

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 2 INCONCLUSIVE."""
        return self.verdict.exit_code

    @property
    def meter_hours_per_second(self) -> float:
        """How fast it was."""
        return self.meters * self.days * 24 / self.seconds

    def answer(self) -> dict[str, Any]:
        """All that follows from meters, days, seed and defects."""
        return {
            "verdict": self.verdict.value,
            "meters": self.meters,
            "days": self.days,
            "seed": self.seed,
            "defects": list(self.defects),
            "requirements": [judged.as_json() for judged in self.judged],
            "bench_plan": plan(self.judged[0].demand),
            "fleet": self.tally.as_json(),
        }

    def as_json(self) -> dict[str, Any]:
        """The content of verdict.json, and what `fleet --json` prints."""
        run = {
            "engine": self.engine,
            "workers": self.workers,
            "seconds": round(self.seconds, 3),
            "meter_hours_per_second": round(self.meter_hours_per_second),
        }
        return {**self.answer(), "run": run}

    def table(self) -> Table:
        """The findings, for a terminal."""
        table = Table(title=self._title(), title_justify="left")
        for heading in ("requirement", "limit", "verdict", "because"):
            table.add_column(heading, overflow="fold")
        for judged in self.judged:
            for finding in judged.findings:
                row = (judged.id, finding.limit, finding.verdict.value, finding.reason)
                table.add_row(*row, style=_STYLE.get(finding.verdict, "yellow"))
        return table

    def lines(self) -> list[str]:
        """The same in plain lines."""
        found = [
            f"{finding.verdict.value:<14} {judged.id:<12} {finding.limit}: {finding.reason}"
            for judged in self.judged
            for finding in judged.findings
        ]
        return [*found, f"{self.verdict.value} {self._title()}"]

    def summary(self) -> list[str]:
        """What there is to say besides: the success of all trials together, money, speed, and the plan for a bench."""
        t = self.tally
        lines = []
        for judged, noun in zip(self.judged, ("messages", "commands"), strict=True):
            lines.append(f"{judged.failed:,} of {judged.trials:,} {noun} failed ({judged.failed / judged.trials:.2e})")
        lines.append(
            f"{(t.base_wh + t.peak_wh) / 1e6:,.3f} MWh, {t.charged_cents / 100:,.2f} $ charged, {t.paid_cents / 100:,.2f} $"
            f" paid in {t.payments:,} payments; balances to the cent"
        )
        needed = plan(self.judged[0].demand)["allowed"][0]
        lines.append(
            f"on a bench, with no failure: {needed['trials']:,} trials on a meter for the better rate, {needed['trials_rest']:,}"
            f" for the lesser, {needed['meters']:,} meters for the share"
        )
        lines.append(
            f"{self.engine}, {self.workers} process{'es' if self.workers > 1 else ''}: {self.seconds:.2f} s,"
            f" {self.meter_hours_per_second / 1e6:,.0f} million meter-hours a second"
        )
        return lines

    def _title(self) -> str:
        return f"{self.meters:,} meters, {self.days} days, seed {self.seed}"

    def write(self, out: Path) -> list[Path]:
        """Leave verdict.json, fleet.png and fleet.svg in a directory, which is made; BadInput where that can't be."""
        from bench.evidence.fleet_plot import plot

        try:
            out.mkdir(parents=True, exist_ok=True)
            verdict = out / "verdict.json"
            verdict.write_bytes(canonical(self.as_json()))
            return [verdict, *plot(self.judged, (self.tally.by_messages_failed, self.tally.by_commands_failed), out)]
        except OSError as no:
            raise BadInput(f"{out}: the verdict cannot be written here: {no.strerror or no}") from None


def check_input(meters: int, days: int, seed: int, engine: str, workers: int | None, defects: Sequence[str]) -> None:
    """BadInput for a fleet that there cannot be."""
    if not 1 <= meters <= MAX_METERS:
        raise BadInput(f"a fleet of {meters} meters: give --meters from 1 to {MAX_METERS:,}")
    if not 1 <= days <= MAX_DAYS:
        raise BadInput(f"a run of {days} days: give --days from 1 to {MAX_DAYS:,}")
    if not 0 <= seed < 2**63:
        raise BadInput(f"a seed of {seed}: it is a whole number from 0 up, under 2^63")
    if engine not in ENGINES:
        raise BadInput(f"no engine {engine!r}; {nearest(engine, ENGINES)}")
    if workers is not None and engine == "local":
        raise BadInput("--workers is for --engine dask; the local engine is one process")
    if workers is not None and not 1 <= workers <= 256:
        raise BadInput(f"{workers} workers: give --workers from 1 to 256")
    for name in defects:
        if seeded.find(name).of != "fleet":
            known = ", ".join(d.name for d in seeded.CATALOGUE.values() if d.of == "fleet")
            raise BadInput(f"{name!r} is a defect of {seeded.find(name).of}; a fleet's are {known}")


def run_fleet(
    meters: int,
    days: int,
    *,
    seed: int = 1,
    engine: Engine = "local",
    workers: int | None = None,
    defects: Sequence[str] = (),
    config: FleetConfig | None = None,
    catalogue: Catalogue | None = None,
    console: Console | None = None,
) -> FleetRun:
    """Simulate a fleet and judge it. `workers` (one a core by default) are processes of the engine `dask`.

    BadInput for what was given wrong, FleetError where the engine fails.
    """
    check_input(meters, days, seed, engine, workers, defects)
    config = config or FleetConfig()
    catalogue = catalogue or requirements.load()
    workers = 1 if engine == "local" else workers or os.cpu_count() or 1
    started = time.perf_counter()
    with _shown(console, meters) as done:
        if engine == "local":
            tally = fleet.simulate(config, seed, meters, days, defects=frozenset(defects), done=done)
        else:
            with dask_cluster(workers) as client:
                tally = simulate_on(client, workers, config, seed, meters, days, frozenset(defects), done)
    seconds = time.perf_counter() - started
    if not tally.balances(config.price.base_millicents_per_kwh, config.price.peak_millicents_per_kwh):
        raise FleetError(
            f"the books of the fleet do not balance ({tally.out_of_balance} meters); the simulation is wrong"
        )
    trials = ((tally.by_messages_failed, tally.messages), (tally.by_commands_failed, tally.commands))
    judged = tuple(judge_fleet(catalogue[id_], *tried) for id_, tried in zip(DECIDES, trials, strict=True))
    return FleetRun(meters, days, seed, tuple(defects), tally, judged, engine, workers, seconds)


@contextlib.contextmanager
def _shown(console: Console | None, meters: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = console is None or not console.is_terminal
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=True, disable=quiet)
    with bar:
        task = bar.add_task("meters", total=meters)
        yield lambda more: bar.advance(task, more)


# --- Dask --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dask_cluster(workers: int) -> Iterator[Any]:
    """A scheduler with as many worker processes on the loopback interface, up inside a `with` block; yields its client."""
    import distributed
    from dask import config

    dask: Any = distributed  # which carries hardly any types
    # Ctrl-C waits until all is up; the workers, which inherit this, leave it to the process that ends them.
    resource_tracker.ensure_running()  # which would let the signal in again where it starts along with the first of them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with config.set(_SETTINGS):
            cluster = dask.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError, TimeoutError) as no:
        raise FleetError(f"dask's scheduler did not come up with {workers} workers: {no}") from no
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with cluster, dask.Client(cluster) as client:
        client.wait_for_workers(workers, timeout=60)
        yield client


def simulate_on(
    client: Any,
    workers: int,
    config: FleetConfig,
    seed: int,
    meters: int,
    days: int,
    defects: frozenset[str],
    done: Callable[[int], None] = lambda meters: None,
) -> Tally:
    """Simulate a fleet on a dask client's workers, in chunks of cells; the answer does not depend on how many there are."""
    import distributed

    dask: Any = distributed
    cells = max(_LEAST_CELLS, -(-fleet.cells_of(meters) // (workers * _CHUNKS_PER_WORKER)))
    tasks = [
        client.submit(fleet.simulate, config, seed, meters, days, defects=defects, cells=chunk, pure=False)
        for chunk in fleet.chunks(meters, cells)
    ]
    total: Tally | None = None
    try:
        for _, part in dask.as_completed(tasks, with_results=True):
            total = part if total is None else total + part
            done(part.meters)
    except Exception as no:
        raise FleetError(f"a worker failed: {type(no).__name__}: {no}") from no
    assert total is not None
    return total
