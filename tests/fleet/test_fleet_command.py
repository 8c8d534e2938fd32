"""The command `twinbench fleet` as somebody at a shell meets it, and both of its engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.data import BadInput
from bench.fleet import FleetError, dask_cluster, run_fleet, simulate_on
from twins.fleet.config import FleetConfig
from twins.fleet.fleet import simulate

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")


def run(*arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "fleet", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **more
    )


def test_it_decides_and_leaves_verdict_and_plot(tmp_path: Path) -> None:
    done = run("--meters", "65536", "--days", "30", "--seed", "3", "--json", "--out", tmp_path / "a")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert (said["verdict"], said["seed"], said["run"]["engine"]) == ("PASS", 3, "local")
    assert [r["id"] for r in said["requirements"]] == ["C3-NFR-12", "C3-NFR-13"]
    assert said["bench_plan"]["allowed"][0] == {"failures": 0, "trials": 2995, "trials_rest": 149, "meters": 299}
    assert json.loads((tmp_path / "a" / "verdict.json").read_text()) == said
    png = (tmp_path / "a" / "fleet.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert ET.parse(tmp_path / "a" / "fleet.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    again = run("--meters", "65536", "--days", "30", "--seed", "3", "--json", "--out", tmp_path / "b")
    assert {**json.loads(again.stdout), "run": 0} == {**said, "run": 0}
    for name in ("fleet.png", "fleet.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_defect_fails_and_says_so_in_plain_lines(tmp_path: Path) -> None:
    done = run("--meters", "32768", "--days", "30", "--defect", "ignores_commands", "--out", tmp_path)
    assert done.returncode == 1
    assert "FAIL           C3-NFR-13    success rate >= 0.999 for 0.99 of the meters" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_too_small_a_fleet_is_inconclusive_and_says_what_it_takes(tmp_path: Path) -> None:
    done = run("--meters", "1", "--days", "1", "--out", tmp_path)
    assert done.returncode == 2
    assert "it takes 149" in done.stdout
    assert "2,995 trials" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--meters", "0", "--days", "1"), "a fleet of 0 meters"),
        (("--meters", "-3", "--days", "1"), "a fleet of -3 meters"),
        (("--meters", "9" * 30, "--days", "1"), "give --meters from 1 to 100,000,000"),
        (("--meters", "1e6", "--days", "1"), "valid integer"),
        (("--meters", "5", "--days", "0"), "a run of 0 days"),
        (("--meters", "5", "--days", "3661"), "give --days from 1 to 3,660"),
        (("--meters", "5"), "--days"),
        (("--meters", "5", "--days", "1", "--engine", "dsak"), "did you mean 'dask'?"),
        (("--meters", "5", "--days", "1", "--workers", "2"), "--engine dask"),
        (("--meters", "5", "--days", "1", "--engine", "dask", "--workers", "0"), "0 workers"),
        (("--meters", "5", "--days", "1", "--seed", "-1"), "--seed"),
        (("--meters", "5", "--days", "1", "--seed", str(2**63)), "under 2^63"),
        (("--meters", "5", "--days", "1", "--defect", "no_receipt"), "a fleet's are loses_messages"),
        (("--meters", "5", "--days", "1", "--defect", "loses_message"), "loses_messages"),
        (("--meters", "5", "--days", "1", "--out", "README.md"), "README.md"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from bench.cli import run; run(['fleet', '--help']);"
        "print([m for m in ('numpy', 'scipy', 'matplotlib', 'distributed', 'bench.fleet') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# --- Engines -----------------------------------------------------------------------------------------------------------


def test_dask_gives_the_same_answer_from_processes_of_its_own() -> None:
    config = FleetConfig()
    with dask_cluster(2) as client:
        pids = client.run(os.getpid)
        assert len(set(pids.values()) | {os.getpid()}) == 3
        for connection in psutil.Process(client.run_on_scheduler(os.getpid)).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip == "127.0.0.1", connection
        told: list[int] = []
        for meters, days, defects in (
            (300_000, 3, frozenset[str]()),
            (70_000, 5, frozenset({"far_meters_abound"})),
            (1, 1, frozenset[str]()),
        ):
            there = simulate_on(client, 2, config, 9, meters, days, defects, told.append)
            assert there == simulate(config, 9, meters, days, defects=defects)
            assert sum(told) == meters
            told.clear()
        broken = config.model_copy(update={"profiles": ()})
        with pytest.raises(FleetError, match="a worker failed"):
            simulate_on(client, 2, broken, 9, 10, 1, frozenset())


def test_both_engines_answer_the_same_through_the_command(tmp_path: Path) -> None:
    answers = []
    for engine in ("local", "dask"):
        done = run("--meters", "140000", "--days", "7", "--engine", engine, "--json", "--out", tmp_path / engine)
        assert done.stderr == ""
        said = json.loads(done.stdout)
        assert said.pop("run")["engine"] == engine
        answers.append((done.returncode, said))
    assert answers[0] == answers[1]
    for name in ("fleet.png", "fleet.svg"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "dask" / name).read_bytes()


@pytest.mark.parametrize("after_s", [0.5, 4.5])
def test_an_interrupted_fleet_takes_its_workers_along(after_s: float, tmp_path: Path) -> None:
    """Ctrl-C at a terminal reaches the workers too: while they start, and while they work."""
    arguments = (
        "fleet",
        "--meters",
        "90000000",
        "--days",
        "300",
        "--engine",
        "dask",
        "--workers",
        "2",
        "--out",
        tmp_path,
    )
    process = subprocess.Popen(
        [COMMAND, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not psutil.Process(process.pid).children(recursive=True):
        assert time.monotonic() < until, "no worker was started"
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(after_s)  # the moment is what is tried, not a wait for something
    assert process.poll() is None
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    try:
        said, complained = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, said) == (130, "")
    assert complained == "twinbench: interrupted\n"
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_nothing_runs_where_the_input_is_bad() -> None:
    with pytest.raises(BadInput):
        run_fleet(10, 1, engine="threads")  # type: ignore[arg-type]
