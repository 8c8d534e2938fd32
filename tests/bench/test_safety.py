"""However a bench ends, outputs are off: proven against a site served by a process of its own, through clients that are not
ours."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from labgrid.strategy import StrategyError
from pymodbus.client import ModbusSerialClient

from bench import inventory
from bench.bench import Bench
from drivers.errors import LinkLost, Refused
from tests.bench.conftest import COMMAND, DOOR, HOLD_S, ROOT, Benches, bench_data, strategy_of, written


class Site:
    """All twins of a bench in a process of their own, and outside clients that look at its outputs."""

    def __init__(self, tmp_path: Path) -> None:
        data = bench_data()
        file = written(tmp_path, data, "site.yaml")
        self.process = subprocess.Popen([COMMAND, "site", file], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 120)[0], "the site does not come up"
        line = self.process.stdout.readline()
        self.links: dict[str, str] = json.loads(line)["links"]
        self.links_file = tmp_path / "links.json"
        self.links_file.write_text(line)
        for device in data["twinbench"]["devices"].values():
            device.pop("faces", None)
        data["twinbench"]["clock"] = {"kind": "wall"}
        data["twinbench"]["safety"] = {"door": DOOR, "site": {"voltage_v": 264, "current_a": 9}}
        strategy_of(data).update(interval_min=1, hold_s=HOLD_S)
        for link in data["targets"]["site"]["resources"]:
            for cls_name, attributes in link.items():
                attributes[inventory.ADDRESS[cls_name]] = "/dev/nowhere"
        self.bench_file = written(tmp_path, data, "real.yaml")

    def coils(self) -> list[bool]:
        """What the board's coils are, asked by somebody else."""
        client = ModbusSerialClient(self.links["relay-bus"], timeout=10)
        try:
            assert client.connect(), "the relay's line is taken"
            return list(client.read_coils(0, count=8).bits)
        finally:
            client.close()  # type: ignore[no-untyped-call]

    def source_is_on(self) -> bool:
        """Whether the source's output is on, asked by somebody else."""
        port = self.links["source-serial"].removeprefix("ASRL").removesuffix("::INSTR")
        with serial.Serial(port, 9600, timeout=10) as line:
            line.reset_input_buffer()
            line.write(b"\nOUTP?\n")
            said = line.readline().strip()
        assert said in (b"0", b"OFF", b"1", b"ON"), f"the source says {said!r}"
        return said in (b"1", b"ON")

    def is_off(self) -> bool:
        return not any(self.coils()) and not self.source_is_on()

    @contextmanager
    def bench(self, *more: str | Path, verb: str = "up") -> Iterator[subprocess.Popen[str]]:
        """A bench of this site in a process; killed where it is left running."""
        arguments = [COMMAND, verb, "--bench", self.bench_file, "--links", self.links_file, *more]
        process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[str]]:
        """A bench that is up, with its supply on."""
        with self.bench("--json") as process:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 120)[0], "the bench does not come up"
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield process

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"))
    yield found
    found.close()


def within(seconds: float, holds: Callable[[], bool]) -> float:
    """How long it took until it held; fails when it took longer."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - begun


def test_kill_9_opens_the_relays_within_the_hold_and_the_next_start_switches_off_first(
    site: Site, tmp_path: Path
) -> None:
    for _ in range(3):
        with site.up() as process:
            time.sleep(1.5 * HOLD_S)  # held for longer than the board does by itself: it is renewed
            killed = time.monotonic()
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        held = site.coils()[:2]
        if time.monotonic() - killed < HOLD_S / 2:  # else nobody looked in time: once more
            break
    assert held == [True, True]
    within(HOLD_S + 3, lambda: not any(site.coils()))
    # A source has no timer of its own. The next start switches it off whatever else is wrong.
    assert site.source_is_on()
    links = json.loads(site.links_file.read_text())
    links["links"]["meter-optical"] = str(tmp_path / "nothing")
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(links))
    with site.bench("--links", elsewhere) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "meter cannot be reached" in said
    assert site.is_off()


def test_kill_9_in_the_middle_of_a_start(site: Site) -> None:
    """Wherever in its start: what the board closed, it opens by itself."""
    closed: list[bool] = []
    begun = time.monotonic()
    with site.up() as process:
        start_s = time.monotonic() - begun
        process.terminate()
        process.communicate(timeout=60)
    # Near its end contacts are closed. A machine that has got busier starts later: on until there was something to open.
    for share in (0.5, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 4.0):
        if share > 1 and any(closed):
            break
        with site.bench("--json") as process:
            time.sleep(share * start_s)
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        closed.append(any(site.coils()))
        within(HOLD_S + 3, lambda: not any(site.coils()))
    assert any(closed), "no start came so far as to close a contact"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_switches_all_off_before_the_process_ends(site: Site, number: signal.Signals) -> None:
    with site.up() as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "interrupted; outputs are safe" in said
    assert site.is_off()


def test_however_often_it_is_interrupted_it_switches_off_first(site: Site) -> None:
    """Interrupted again and again while a source that is slow to answer has not switched off yet."""
    with site.up() as process:
        site.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(8):
                process.send_signal(signal.SIGINT)
                time.sleep(0.1)
        finally:
            site.process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert site.is_off()


def test_outputs_do_not_wait_for_a_loop_that_is_busy(site: Site) -> None:
    bench = Bench(inventory.load(site.bench_file, site.links))
    bench.up()
    go_on, opened = threading.Event(), threading.Event()
    bench.drivers["relay"].commanded.append(lambda command, args: opened.set() if command == "open_all" else None)
    coming_down = threading.Thread(target=bench.down)
    try:
        bench.loop.loop.call_soon_threadsafe(go_on.wait, 15)
        coming_down.start()
        assert opened.wait(12), "contacts are closed for as long as the loop is busy"
    finally:
        go_on.set()
        coming_down.join()
    assert site.is_off()


FAILS = """
    import sys
    from pathlib import Path
    from bench import inventory
    from bench.bench import Bench

    file, links = Path(sys.argv[1]), inventory.links_of(Path(sys.argv[2]))
    bench = Bench(inventory.load(file, links))
    bench.up(mirror=False)
    with open(sys.argv[3], "w") as out:
        print(bench.device("source").is_on(), bench.device("relay").closed()[:2], file=out)
    try:
        assert bench.device("relay").closed()[7], "channel 8 is open"
    finally:
        bench.down()
"""


def test_a_failure_switches_all_off(site: Site, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", textwrap.dedent(FAILS), site.bench_file, site.links_file, tmp_path / "was"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "AssertionError: channel 8 is open" in done.stderr
    assert (tmp_path / "was").read_text() == "True (True, True)\n"
    assert site.is_off()


def test_a_lost_line_opens_the_relays_and_ends_the_run(site: Site, tmp_path: Path) -> None:
    near = tmp_path / "near"
    cable = subprocess.Popen(["socat", f"pty,raw,echo=0,link={near}", f"{site.links['relay-bus']},raw,echo=0"])
    within(30, near.exists)
    bench = Bench(inventory.load(site.bench_file, {**site.links, "relay-bus": str(near)}))
    try:
        bench.up(mirror=False)
        assert bench.device("relay").closed()[:2] == (True, True)
        # Its name goes first: it would lead to whatever line of another process is given the same number next.
        near.unlink()
        cable.kill()
        cable.wait()
        within(HOLD_S + 3, lambda: not any(site.coils()))
        with pytest.raises((LinkLost, Refused), match=r"opened by|cannot be seen"):
            bench.advance(4 * HOLD_S)
        # The door is on the same line: it cannot be seen any more, and so the source goes off, too.
        within(10 * HOLD_S, lambda: bench.safety.alarm is not None)
        bench.safety.unwatch()
        assert not site.source_is_on()
    finally:
        cable.kill()
        bench.down()
    assert site.is_off()


def test_a_hold_that_ran_out_is_not_taken_up_again(site: Site) -> None:
    """A process that was stopped for longer finds its contacts open, and leaves them so."""
    with site.up() as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(HOLD_S)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "opened by itself: this process did not run" in said
    assert site.is_off()


def test_a_strategy_wants_a_relay_that_can_let_go_by_itself(benches: Benches, monkeypatch: pytest.MonkeyPatch) -> None:
    from drivers.relays.waveshare import WaveshareRelayDriver

    bench = benches({}, up=False)
    bench.serve_twins()
    bench.bind_drivers()
    monkeypatch.delattr(WaveshareRelayDriver, "hold")
    bench.strategy.hold_s = 10.0
    with pytest.raises(StrategyError, match="hold_s: 0"):
        bench.strategy.hold()


# --- two programs on one line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["relay-bus", "meter-optical", "source-serial"])
def test_a_second_program_on_a_line_is_refused_and_told_who_has_it(site: Site, link: str) -> None:
    port = site.links[link].removeprefix("ASRL").removesuffix("::INSTR")
    with serial.Serial(port, exclusive=True), site.bench() as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    lines = [line for line in said.splitlines() if line.startswith("twinbench: ")]
    assert len(lines) == 1
    assert port in lines[0]
    assert f"process {os.getpid()}" in lines[0], lines[0]
    assert site.is_off() or link != "meter-optical"
