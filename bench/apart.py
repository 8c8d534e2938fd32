"""Certifies in processes of their own, for whoever needs many runs.

Imports take longer than many a test. So runs are forked from one process that has imported everything and done nothing
else: each starts as fresh as a new one would.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
JOBS = (os.cpu_count() or 1) + 1
"""Runs at a time unless told otherwise: one that waits for a browser or a link leaves a core to the others."""


class Runs:
    """Runs of `twinbench certify`, as many at a time as threads ask for one. Each keeps what it says beside its record."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["bench.preloaded"])
        self._running: set[BaseProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def certify(self, bench_file: Path, out: Path, arguments: Sequence[str], timeout_s: float) -> dict[str, Any] | str:
        """One run with its record in `out`; the verdict as `certify --json` prints it, or one line on why there is none."""
        out.parent.mkdir(parents=True, exist_ok=True)
        said, complained = out.with_name(f"{out.name}.out"), out.with_name(f"{out.name}.err")
        command = ["certify", "--json", "--bench", str(bench_file.resolve()), "--out", str(out.resolve()), *arguments]
        process = self._context.Process(target=_run, args=(command, str(said.resolve()), str(complained.resolve())))
        with self._lock:
            if self._stopped:
                return "was not run"
            try:
                process.start()
            except (EOFError, OSError) as no:
                return f"no run could be started: {no}"
            self._running.add(process)
        try:
            process.join(timeout_s)
            if process.is_alive():
                _kill(process)
                return f"ran over {timeout_s:g} s"
            try:
                verdict = json.loads(said.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                why = complained.read_text(encoding="utf-8").strip() if complained.exists() else ""
                last = (why.splitlines() or ["nothing was said"])[-1].strip()[:200]
                return f"certify ended with code {process.exitcode} and no verdict: {last}"
            return verdict if isinstance(verdict, dict) else "certify printed no verdict"
        finally:
            with self._lock:
                self._running.discard(process)
            for path in (said, complained):
                path.unlink(missing_ok=True)

    def stop(self) -> None:
        """End what runs, and let nothing new begin."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)


def _kill(process: BaseProcess) -> None:
    """End a run with everything that it started."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # not the head of a group yet
        process.kill()


def _run(command: list[str], said: str, complained: str) -> None:
    """What a forked process does."""
    os.setsid()
    os.chdir(ROOT)
    for stream, path in ((sys.stdout, said), (sys.stderr, complained)):
        with Path(path).open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    from bench.cli import run

    sys.exit(run(command))
