"""Sharing a bench through labgrid: real coordinator, exporter and client, twins as processes, and the page about it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment, Target

from bench.data import BadInput
from bench.place import AcquiredPlace, PlaceError
from drivers.errors import LinkLost
from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
MANUFACTURER = "TWBN"

RELAY_PLACE = """
imports: [drivers.links, drivers.relays.waveshare]
options: {coordinator_address: "COORDINATOR"}
targets:
  main:
    resources:
      - RemotePlace: {name: bench-1}
    drivers:
      - WaveshareRelayDriver: {name: relay, bindings: {link: relay-lan}}
"""
RELAY_EXPORT = """
bench-1:
  relay-lan: {cls: ModbusTcpLink, address: "{{hostname}}:RELAY", device_id: 1}
"""


class Process:
    """A process with what it has printed so far; killed with all its children at the end."""

    def __init__(self, command: list[str] | str, directory: Path, environment: dict[str, str]) -> None:
        self.command = command
        self.printed = ""
        self._process = subprocess.Popen(
            command,
            shell=isinstance(command, str),
            executable="/bin/bash" if isinstance(command, str) else None,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line

    def until_prints(self, wanted: str) -> None:
        """Wait until it has printed a text ("…" stands for anything)."""
        until_true(lambda: find(wanted, self.printed) or not self.runs, f"{self.command} prints {wanted!r}")
        self._reader.join(0.5)
        assert find(wanted, self.printed), f"{self.command} printed:\n{self.printed}"

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(15)
        self._reader.join(5)

    def wait(self, seconds: float = PATIENCE_S) -> int:
        code = self._process.wait(seconds)
        self._reader.join(5)
        return code


def until_true(enough: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    until = time.monotonic() + seconds
    while not enough():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def find(wanted: str, text: str) -> bool:
    """Whether the lines of a text appear in another, in this order; "…" stands for anything within a line."""
    pattern = r"(?s:.*)".join(re.escape(line).replace("…", "[^\n]*") for line in wanted.strip("\n").splitlines())
    return re.search(pattern, text) is not None


class Lab:
    """What stands in a lab, each a process of its own, on free ports of the loopback and in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.coordinator_port = free_port()
        self.coordinator = f"127.0.0.1:{self.coordinator_port}"
        self.relay_port = free_port()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LG_")},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        self.relay: Process
        self.coordinating: Process
        self.exporter: Process
        self._processes: list[Process] = []

    def launch(self, command: list[str] | str, **more: str) -> Process:
        process = Process(command, self.directory, {**self.environment, **more})
        self._processes.append(process)
        return process

    def start(self, command: list[str] | str, ready: str, **more: str) -> Process:
        process = self.launch(command, **more)
        process.until_prints(ready)
        return process

    def start_coordinator(self) -> Process:
        return self.start(["labgrid-coordinator", "-l", self.coordinator], "listening on")

    def launch_relay(self) -> Process:
        listen = f"modbus:127.0.0.1:{self.relay_port}"
        return self.launch(["twinbench", "twin", "waveshare-relay", "--listen", listen])

    def start_exporter(self) -> Process:
        config = self.directory / "exporter.yaml"
        config.write_text(RELAY_EXPORT.replace("RELAY", str(self.relay_port)), encoding="utf-8")
        command = ["labgrid-exporter", "-c", self.coordinator, "-n", "lab-a", "--hostname", "127.0.0.1", str(config)]
        process = self.start(command, "Exporter ready")
        until_true(lambda: "relay-lan" in self.client("ana", "-v", "resources"), "the exporter's link is known")
        return process

    def client(self, user: str, *arguments: str, code: int = 0) -> str:
        """What labgrid-client prints for one of the users, whose machine is `desk`."""
        done = subprocess.run(
            ["labgrid-client", *arguments],
            cwd=self.directory,
            env={**self.environment, **self.of(user)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def of(self, user: str) -> dict[str, str]:
        return {"LG_COORDINATOR": self.coordinator, "LG_USERNAME": user, "LG_HOSTNAME": "desk"}

    def contacts(self) -> list[int]:
        """The relay's coils, read by a client that isn't ours."""
        command = f"mbpoll -o 10 -m tcp -p {self.relay_port} -a 1 -t 0 -r 1 -c 8 -1 127.0.0.1".split()
        printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
        return [int(value) for value in re.findall(r"^\[\d\]:\s+(\d)", printed, re.MULTILINE)]

    def energise(self) -> None:
        """Close the relay's first contact, by a client that isn't ours."""
        command = f"mbpoll -o 10 -m tcp -p {self.relay_port} -a 1 -t 0 -r 1 127.0.0.1 1".split()
        subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)

    def end(self) -> None:
        for process in reversed(self._processes):
            process.end()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An empty lab."""
    lab = Lab(tmp_path)
    yield lab
    lab.end()


@pytest.fixture
def shared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab with a relay board as the place bench-1. This process is Ana's."""
    for key, value in lab.of("ana").items():
        monkeypatch.setenv(key, value)
    lab.relay = lab.launch_relay()
    lab.coordinating = lab.start_coordinator()
    lab.exporter = lab.start_exporter()
    lab.relay.until_prints('"endpoints"')
    lab.client("ana", "-p", "bench-1", "create")
    lab.client("ana", "-p", "bench-1", "add-match", "*/bench-1/*")
    return lab


def environment_of(lab: Lab) -> Environment:
    path = lab.directory / "place.yaml"
    path.write_text(RELAY_PLACE.replace("COORDINATOR", lab.coordinator), encoding="utf-8")
    return Environment(str(path))


@contextlib.contextmanager
def using(lab: Lab) -> Iterator[tuple[AcquiredPlace, Any]]:
    """The acquired place and the relay's driver on it."""
    environment = environment_of(lab)
    place = AcquiredPlace("bench-1", environment)
    place.open()
    try:
        target = environment.get_target("main")
        assert target is not None
        relay = target.get_driver("WaveshareRelayDriver")
        relay.lock = place.guarded("relay", relay.lock)
        yield place, relay
    finally:
        environment.cleanup()
        place.close()


# --- users, one after the other -------------------------------------------------------------------------------------------


def test_an_acquired_place_brings_the_link_to_our_driver_and_keeps_the_second_user_away(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    with using(shared) as (place, relay):
        relay.close(3)
        assert shared.contacts() == [0, 0, 1, 0, 0, 0, 0, 0]
        said = shared.client("ben", "-p", "bench-1", "acquire", code=1)
        assert "already acquired by desk/ana" in said
        relay.open_all()
        assert place.lost is None
    shared.client("ana", "-p", "bench-1", "release")
    shared.client("ben", "-p", "bench-1", "acquire")


def test_who_queues_waits_until_the_place_is_released_and_nobody_else_gets_it(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    token = shared.client("ben", "reserve", "--shell", "name=bench-1").strip().removeprefix("export LG_TOKEN=")
    waiting = shared.start(["labgrid-client", "wait", token], "state: waiting", **shared.of("ben"))
    # It asks once a second; the second answer shows that it goes on waiting.
    until_true(lambda: waiting.printed.count("state: waiting") >= 2, "Ben waits")
    assert waiting.runs
    shared.client("ana", "-p", "bench-1", "release")
    assert waiting.wait(PATIENCE_S) == 0
    assert "state: allocated" in waiting.printed
    assert "was not reserved for desk/ana" in shared.client("ana", "-p", "bench-1", "acquire", code=1)
    shared.client("ben", "-p", "bench-1", "acquire")
    shared.client("ben", "-p", "bench-1", "release")
    shared.client("ben", "cancel-reservation", token)
    shared.client("ana", "-p", "bench-1", "acquire")


def test_who_waits_gets_the_place_by_priority_and_then_by_who_came_first(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    waiting: dict[str, tuple[str, Process]] = {}
    for user, prio in (("ben", "0"), ("dan", "0"), ("cleo", "5")):
        said = shared.client(user, "reserve", "--shell", "--prio", prio, "name=bench-1")
        token = said.strip().removeprefix("export LG_TOKEN=")
        # It asks once a second, and so keeps the reservation.
        asking = shared.start(["labgrid-client", "wait", token], "state: waiting", **shared.of(user))
        waiting[user] = token, asking
    before = "ana"
    for user in ("cleo", "ben", "dan"):
        shared.client(before, "-p", "bench-1", "release")
        if before != "ana":
            shared.client(before, "cancel-reservation", waiting.pop(before)[0])
        assert waiting[user][1].wait(PATIENCE_S) == 0
        assert "state: allocated" in waiting[user][1].printed
        others = [asking for other, (_, asking) in waiting.items() if other != user]
        assert all(asking.runs for asking in others), f"{user} alone has it"
        shared.client(user, "-p", "bench-1", "acquire")
        before = user


def test_what_was_not_acquired_cannot_be_used(shared: Lab) -> None:
    with pytest.raises(BadInput, match=r"bench-1 is not acquired; before the run: labgrid-client -p bench-1 acquire"):
        AcquiredPlace("bench-1", environment_of(shared)).open()
    shared.client("ben", "-p", "bench-1", "acquire")
    with pytest.raises(BadInput, match=r"not acquired by your user, acquired by ben"):
        AcquiredPlace("bench-1", environment_of(shared)).open()
    with pytest.raises(BadInput, match=r"no place 'bench-7' at coordinator .*; it has bench-1"):
        AcquiredPlace("bench-7", environment_of(shared)).open()


def test_a_coordinator_that_is_not_there_is_named(lab: Lab) -> None:
    with pytest.raises(PlaceError, match=rf"no coordinator on {lab.coordinator} .*start labgrid-coordinator"):
        AcquiredPlace("bench-1", environment_of(lab)).open()


def test_labgrid_alone_cannot_use_a_place_in_a_running_loop_and_an_acquired_place_can(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")

    environment_of(shared)
    alone = (
        "import asyncio\nfrom labgrid import Environment\n"
        "async def main(): Environment('place.yaml').get_target('main')\nasyncio.run(main())"
    )
    env = {**shared.environment, **shared.of("ana")}
    command = [sys.executable, "-c", alone]
    done = subprocess.run(command, cwd=shared.directory, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "RuntimeError: This event loop is already running" in done.stderr

    async def watched() -> str:
        with using(shared) as (_, relay):
            return str(relay.identify().manufacturer)

    assert asyncio.run(watched()) == "Waveshare"


# --- what dies in a run ---------------------------------------------------------------------------------------------------


def test_a_dead_exporter_is_a_lost_link_and_outputs_can_still_be_made_safe(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    with using(shared) as (place, relay):
        relay.close(1)
        shared.exporter.end(signal.SIGKILL)
        until_true(lambda: place.lost, "the exporter is missed")
        with pytest.raises(LinkLost, match=r"relay: place 'bench-1': exporter 'lab-a' is gone; start it again"):
            relay.close(2)
        assert shared.contacts()[:2] == [1, 0]
        place.let_go()
        relay.open_all()
        assert shared.contacts() == [0] * 8
    shared.client("ana", "-p", "bench-1", "release")
    shared.start_exporter()
    shared.client("ben", "-p", "bench-1", "acquire")


def test_a_dead_machine_is_a_lost_link(shared: Lab) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    with using(shared) as (place, relay):
        relay.close(1)
        shared.exporter.end(signal.SIGKILL)
        shared.relay.end(signal.SIGKILL)
        with pytest.raises(LinkLost, match="relay"):
            relay.close(2)
        place.let_go()
        with pytest.raises(LinkLost, match=rf"relay on modbus:127.0.0.1:{shared.relay_port}"):
            relay.open_all()
    shared.client("ana", "-p", "bench-1", "release")


@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (
            lambda lab: lab.client("ben", "-p", "bench-1", "release", "--kick"),
            "no longer ours: place bench-1 is not acq",
        ),
        (lambda lab: lab.coordinating.end(signal.SIGKILL), r"coordinator .* is gone: nobody keeps others away"),
    ],
    ids=["somebody takes the place", "the coordinator dies"],
)
def test_a_place_that_is_no_longer_ours_is_a_lost_link(
    shared: Lab, happens: Callable[[Lab], object], says: str
) -> None:
    shared.client("ana", "-p", "bench-1", "acquire")
    with using(shared) as (place, relay):
        happens(shared)
        until_true(lambda: place.lost, "the place is missed")
        with pytest.raises(LinkLost, match=says):
            relay.closed()


def test_an_exporter_ends_with_its_coordinator(shared: Lab) -> None:
    """With the exit code that the page tells, so that whoever starts it again knows."""
    shared.coordinating.end(signal.SIGKILL)
    assert shared.exporter.wait(PATIENCE_S) == 100


# --- the page -------------------------------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "sharing-a-bench.md"
STAY = ("twinbench site", "labgrid-coordinator", "labgrid-exporter", "socat")
SHARED_FILES = ("examples", "inventory/exporters", "inventory/benches")


class Page:
    """Runs the blocks of a page as they stand, with its ports and paths exchanged for free ones."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.meter = lab.directory / "meter"
        self._exchanged = {
            "20408": str(lab.coordinator_port),
            "5020": str(lab.relay_port),
            "5025": str(free_port()),
            "7010": str(free_port()),
            "/tmp/twinbench-meter": str(self.meter),
        }
        self._shell = lab.directory / "shell"
        self._shell.write_text("", encoding="utf-8")
        self.stayed: dict[str, Process] = {}
        for name in SHARED_FILES:
            shutil.copytree(ROOT / name, lab.directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in lab.directory.rglob("*.yaml"):
            path.write_text(self.exchanged(path.read_text(encoding="utf-8")), encoding="utf-8")

    def exchanged(self, text: str) -> str:
        for old, new in self._exchanged.items():
            text = text.replace(old, new)
        return text

    def blocks(self) -> list[tuple[str, str]]:
        found = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        return [(kind, self.exchanged(body)) for kind, body in found]

    def run(self, line: str) -> str:
        """Run a command in the shell that all commands of the page share; it has to exit as the page says."""
        expected = re.search(r"  # exits (\d)$", line)
        script = f'set -a; . "{self._shell}"; {line}\ncode=$?; export -p > "{self._shell}"; exit $code'
        process = Process(script, self.lab.directory, self.lab.environment)
        try:
            assert process.wait(180) == (int(expected[1]) if expected else 0), f"{line}\n{process.printed}"
        finally:
            process.end()
        return process.printed


def manufacturer_on(line: Path) -> str:
    """Who a meter on a serial line says it is from."""
    target = Target("over-there")
    SerialLine(target, "line", port=str(line))
    meter = AmiMeterDriver(target, "meter")
    target.activate(meter)
    try:
        return str(meter.identify().manufacturer)
    finally:
        target.cleanup()


def test_every_command_of_the_page(lab: Lab) -> None:
    page = Page(lab)
    blocks = page.blocks()
    assert len(blocks) >= 20
    for (kind, body), (after, expected) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        expected = expected if after == "text" else ""
        if kind == "sh" and body.startswith(STAY):
            lab.start(f"exec {body.strip()}", expected or "…")
            if "PTY" in body:
                until_true((here := Path(f"{page.meter}-here")).exists, "the line is brought over")
                lab.energise()  # a meter without power says nothing
                assert manufacturer_on(here) == MANUFACTURER
        elif kind == "sh":
            printed = "".join(page.run(line) for line in body.splitlines())
            for line in expected.splitlines():
                assert find(line, printed), f"{body}\n{printed}"
        elif kind == "python":
            (lab.directory / "page.py").write_text(body, encoding="utf-8")
            env = f"PYTHONPATH={lab.directory / 'examples' / 'pytest'}"
            assert "Waveshare" in page.run(f"{env} python page.py")
        else:
            assert kind in ("text", "yaml"), kind


# --- a run that loses its exporter ----------------------------------------------------------------------------------------


def test_a_run_whose_exporter_dies_is_an_error_and_leaves_the_relays_open(lab: Lab) -> None:
    page = Page(lab)
    lab.start_coordinator()
    lab.start(["twinbench", "site", "examples/site.yaml"], '"site"')
    command = (
        f"exec labgrid-exporter -c {lab.coordinator} -n lab-a --hostname 127.0.0.1 inventory/exporters/bench-1.yaml"
    )
    exporter = lab.start(command, "Exporter ready")
    until_true(lambda: "VisaLink" in lab.client("ana", "resources"), "the exporter's links are known")
    lab.client("ana", "-p", "bench-1", "create")
    lab.client("ana", "-p", "bench-1", "add-match", "*/bench-1/*")
    lab.client("ana", "-p", "bench-1", "acquire")
    bench = "inventory/benches/place-example.yaml"
    run = Process(
        ["twinbench", "certify", "--bench", bench, "--only", "C3-FR-05", "--out", "record", "--json"],
        lab.directory,
        {**lab.environment, **lab.of("ana")},
    )
    try:
        until_true(lambda: lab.contacts()[:2] == [1, 1] or not run.runs, "the site is energised")
        until_true(lambda: (lab.directory / "record" / "devices.json").exists() or not run.runs, "the suite runs")
        exporter.end(signal.SIGKILL)
        assert run.wait(PATIENCE_S) == 3, run.printed
    finally:
        run.end()
    verdict = json.loads((lab.directory / "record" / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "ERROR"
    assert "place 'bench-1': exporter 'lab-a' is gone" in json.dumps(verdict)
    assert lab.contacts() == [0] * 8
    assert page.meter.exists()  # the site itself is still there
    lab.client("ana", "-p", "bench-1", "release")
