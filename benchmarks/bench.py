"""What the whole bench costs: bringing it up, certifying scenario 1 from start to verdict, memory, and the command's help."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
BENCH = "inventory/benches/twin.yaml"
ROUNDS = 3
# An installed twinbench has its modules compiled; the first run of each kind does that here, whatever the shell forbids.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _timed(arguments: list[str]) -> tuple[float, float]:
    """Seconds and greatest resident size in MB of a whole process of the command, both as its user meets them."""
    start = time.monotonic()
    process = psutil.Popen(
        [sys.executable, "-m", "bench.cli", *arguments],
        cwd=ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    most = 0
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.02)
    if process.wait() != 0:
        raise RuntimeError(f"twinbench {' '.join(arguments)} ended with {process.returncode}")
    return time.monotonic() - start, most / 1e6


def _until_up() -> float:
    """Seconds from starting the command to the line that says the bench is up."""
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.cli", "up", "--bench", BENCH, "--json"],
        cwd=ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            json.loads(process.stdout.readline())
            return time.monotonic() - start
        finally:
            process.terminate()


def run() -> list[Figure]:
    """Medians over a few whole processes each, after one that warms the caches."""
    _timed(["--help"])
    helps = [_timed(["--help"])[0] for _ in range(5)]
    with tempfile.TemporaryDirectory() as scratch:
        only = ["certify", "--bench", BENCH, "--only", "C3-S1"]
        runs = [_timed([*only, "--out", f"{scratch}/{k}"]) for k in range(ROUNDS)]
        whole = _timed(["certify", "--bench", BENCH, "--out", f"{scratch}/whole"])
    ups = [_until_up() for _ in range(ROUNDS)]
    return [
        Figure("C3-S1 certified, start to verdict", statistics.median(r[0] for r in runs), "s", "< 10"),
        Figure("all of C3 certified, start to verdict", whole[0], "s", "< 90"),
        Figure("bench up, start to ready", statistics.median(ups), "s", "< 4"),
        Figure("certify, greatest resident size", max(r[1] for r in runs), "MB", "< 350"),
        Figure("twinbench --help", statistics.median(helps), "s", "< 0.5"),
    ]
