"""Runs that cannot keep their record: killed in the middle, or on a disk that fills. The record and the verdict say so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.evidence.mask import masked_text
from bench.evidence.record import state
from bench.evidence.verify import verify

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")
CERTIFY = [COMMAND, "certify", "--bench", "inventory/benches/twin.yaml", "--only", "C3-FR-15"]


def test_a_run_that_was_killed_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen([*CERTIFY, "--out", out], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        begun = time.monotonic()
        log = out / "wire" / "meter-optical.log"
        while not (log.is_file() and log.stat().st_size):  # the bench talks
            assert process.poll() is None, "it ended before anybody killed it"
            assert time.monotonic() - begun < 60
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert state(out) == "running"
    assert any("was killed" in problem for problem in verify(out))
    done = subprocess.run([COMMAND, "verify", out], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "was killed" in done.stdout
    assert not (out / "verdict.json").exists()
    assert (out / "bench.yaml").read_text() == masked_text((ROOT / "inventory/benches/twin.yaml").read_text())
    for line in log.read_text().splitlines()[:-1]:
        assert line.split()[2] in ("tx", "rx")


WRITES_NO_MODULES = {"PYTHONDONTWRITEBYTECODE": "1"}
"""Python would keep as much of a compiled module as it had room for, and everybody after it would stumble over that."""


@pytest.mark.parametrize("size", [3_000, 20_000])
def test_a_disk_that_fills_in_a_run_is_an_error_by_name(tmp_path: Path, size: int) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        ["prlimit", f"--fsize={size}", *CERTIFY, "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | WRITES_NO_MODULES,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    first = next(line for line in done.stdout.splitlines() if line.startswith("problem: "))
    assert first.startswith(f"problem: {out}/")
    assert "the record cannot be written: File too large; the run's evidence is not complete" in first
    # Where there is room to begin with, the run itself goes on to its end, and its device is judged.
    assert done.stdout.startswith("PASS " if size > 10_000 else "ERROR ")
    assert "ERROR twin" in done.stdout
    assert state(out) in ("interrupted", "running")
    assert verify(out)
    for file in out.rglob("*"):
        assert not file.is_file() or file.stat().st_size <= size
    if size > 10_000:  # as much of the verdict as there was room for
        verdict = json.loads((out / "verdict.json").read_text())
        assert verdict["verdict"] == "ERROR"
        assert any("cannot be written" in problem for problem in verdict["problems"])
