"""`make certify-wall` with a small bench and one requirement: real time, twins in a process of their own as if they were
hardware, and what becomes of both processes when somebody ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from bench.evidence.verify import verify

ROOT = Path(__file__).parents[2]
SITE = Path(__file__).with_name("one-of-each.yaml")
NOBODY = {"port": "/dev/serial/by-id/not-here", "resource": "TCPIP::wt310e.lab.example::INSTR"}
CLOSES = "010502"
"""Modbus RTU, board 1: a contact closes for a time."""
ALL_OPEN = "010500ff0000fdfa"
INCONCLUSIVE = 2


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    """A bench file for the devices of `SITE`, all of them real, with links that lead nowhere by themselves."""
    data = yaml.safe_load(SITE.read_text(encoding="utf-8"))
    target, own = data["targets"]["site"], data["twinbench"]
    for link in (attributes for entry in target["resources"] for attributes in entry.values()):
        link.update({key: nowhere for key, nowhere in NOBODY.items() if key in link})
    next(d["SiteStrategy"] for d in target["drivers"] if "SiteStrategy" in d)["interval_min"] = 1
    for device in own["devices"].values():
        del device["faces"]
    own.update(clock={"kind": "wall"}, parameters={"day_s": 90})
    path = tmp_path / "hardware.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@contextmanager
def started(hardware: Path, record: Path) -> Iterator[subprocess.Popen[str]]:
    """The job, as a terminal starts it: SIGINT is not ignored, and the process group is its own. Killed where it is left."""
    wall = [sys.executable, "-m", "bench.wall", str(SITE), str(hardware), "--only", "C3-FR-15", "--out", str(record)]
    process = subprocess.Popen(
        ["env", "--default-signal=INT,TERM,HUP", *wall],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    family: list[psutil.Process] = []
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            family = psutil.Process(process.pid).children(recursive=True)
        for one in (*family, process):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                one.kill()
        process.communicate()


def until(true: Callable[[], bool], what: str, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def on_the_relays_line(record: Path) -> list[tuple[str, str]]:
    """What crossed the relay board's line: (tx or rx, bytes)."""
    log = record / "wire" / "relay-bus.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return [(way, data) for _, _, way, data in (line.split() for line in lines)]


def left_open(record: Path) -> bool:
    """Whether the last that the board said is that all of its contacts are open."""
    return on_the_relays_line(record)[-1] == ("rx", ALL_OPEN)


def test_real_devices_are_certified_against_a_site_of_another_process(hardware: Path, tmp_path: Path) -> None:
    for turn in ("record", "again"):
        record = tmp_path / turn
        with started(hardware, record) as process:
            until(
                lambda there=record: (there / "devices.json").is_file() or process.poll() is not None, "no run begins"
            )
            family = psutil.Process(process.pid).children(recursive=True)
            said, complained = process.communicate(timeout=120)
        if process.returncode != INCONCLUSIVE:  # else the machine had no time to look: once more
            break
    assert process.returncode == 0, said + complained
    assert not [one for one in family if one.is_running()]
    verdict = json.loads((record / "verdict.json").read_text())
    assert [(r["id"], r["verdict"]) for r in verdict["requirements"]] == [("C3-FR-15", "PASS")]
    assert {one["kind"] for one in json.loads((record / "devices.json").read_text())["devices"]} == {"real"}
    assert verify(record) == []
    assert left_open(record)


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_ended_seals_its_record_and_leaves_nothing_behind(
    hardware: Path, tmp_path: Path, how: str
) -> None:
    record = tmp_path / "record"
    with started(hardware, record) as process:
        until(
            lambda: (
                (record / "output.xml").is_file()
                and any(way == "rx" and data.startswith(CLOSES) for way, data in on_the_relays_line(record))
            ),
            "the run closes no contact",
        )
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2, family
        if how == "Ctrl-C":  # the whole group in the terminal's foreground hears it
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 3, said + complained
    assert "Traceback" not in complained
    assert "problem: the run was interrupted" in said
    assert not [one for one in family if one.is_running()]
    assert json.loads((record / "state.json").read_text())["state"] == "interrupted"
    verdict = json.loads((record / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["problems"]) == ("ERROR", ["the run was interrupted"])
    (problem,) = verify(record)
    assert "was interrupted" in problem
    assert left_open(record)


def test_ended_before_a_run_begins_it_serves_no_site_any_more(hardware: Path, tmp_path: Path) -> None:
    with started(hardware, tmp_path / "record") as process:
        until(lambda: bool(psutil.Process(process.pid).children()), "no site is started")
        family = psutil.Process(process.pid).children()
        process.terminate()
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, said + complained
    assert "Traceback" not in complained
    assert not [one for one in family if one.is_running()]
    assert not (tmp_path / "record").exists()


def test_bad_input_is_said_by_the_verb_that_it_is_given_to(tmp_path: Path) -> None:
    for arguments, says in (
        (["nowhere.yaml", "hardware.yaml"], "nowhere.yaml: no such file"),
        ([str(SITE), "nowhere.yaml"], "nowhere.yaml: no such file"),
    ):
        command = [sys.executable, "-m", "bench.wall", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (4, "")
        assert says in done.stderr
