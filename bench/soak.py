"""Certifies the healthy bench with many seeds: `make soak`. A verdict other than PASS on a healthy bench is a false alarm."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.apart import JOBS, ROOT, Runs

TIMEOUT_S = 1800.0
"""Real seconds after which a run is given up, and counted as a false alarm."""


def main(
    bench: Annotated[Path, typer.Argument(metavar="FILE", help="Bench file.")] = ROOT / "inventory/benches/twin.yaml",
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds 1 to N.")] = 20,
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Parallel processes.")] = JOBS,
    only: Annotated[list[str] | None, typer.Option(metavar="ID", help="Judge only these catalogue ids.")] = None,
) -> None:
    """Run every seed, print a line each, and exit 1 if one was not PASS."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    alarms, separate = 0, Runs()
    with (
        tempfile.TemporaryDirectory(prefix="twinbench-soak-") as scratch,
        ThreadPoolExecutor(jobs, thread_name_prefix="soak") as pool,
    ):
        runs = {
            pool.submit(_certify, separate, bench, seed, only or (), Path(scratch)): seed
            for seed in range(1, seeds + 1)
        }
        try:
            for done in as_completed(runs):
                trouble = done.result()
                alarms += bool(trouble)
                console.print(f"seed {runs[done]}: {trouble or 'PASS'}")
        except BaseException:
            separate.stop()
            raise
    console.print(f"{seeds} seeds, {alarms} false alarms")
    raise typer.Exit(1 if alarms else 0)


def _certify(runs: Runs, bench: Path, seed: int, only: list[str] | tuple[str, ...], scratch: Path) -> str:
    """One run; empty where it was PASS, else what it came to."""
    arguments = ["--seed", str(seed), *(part for id_ in only for part in ("--only", id_))]
    verdict = runs.certify(bench, scratch / str(seed), arguments, TIMEOUT_S)
    if isinstance(verdict, str):
        return verdict
    if verdict["verdict"] == "PASS":
        return ""
    fell = [f"{row['id']} {row['verdict']}" for row in verdict["requirements"] if row["verdict"] != "PASS"]
    return f"{verdict['verdict']}: {', '.join([*verdict['problems'], *fell])}"


if __name__ == "__main__":
    typer.run(main)
