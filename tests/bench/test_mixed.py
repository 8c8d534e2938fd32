"""A bench of which one device is real, and the rest twins: here the analyzer, in a process of its own and at a site of its
own, with nothing shared but bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.bench import Bench
from bench.inventory import load

ROOT = Path(__file__).parents[2]
TWIN_BENCH = ROOT / "inventory/benches/twin.yaml"


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The VISA resource of an analyzer of a process of its own; it measures 240 V and 5 A, whatever this bench does."""
    command = [sys.executable, "-m", "bench.cli", "twin", "yokogawa-wt310e", "--listen", "vxi11:127.0.0.1:0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        (endpoint,) = json.loads(process.stdout.readline())["endpoints"]
        host, _, port = endpoint["address"].rpartition(":")
        yield f"TCPIP::{host},{port}::inst0::INSTR"
        process.send_signal(signal.SIGTERM)


def test_one_device_is_real_and_the_rest_are_twins(elsewhere: str, tmp_path: Path) -> None:
    text = TWIN_BENCH.read_text(encoding="utf-8")
    for old, new in (
        ('resource: "twin:analyzer/lan"', f'resource: "{elsewhere}"'),
        ("      faces:\n        lan: {scheme: vxi11}\n", ""),
        ("clock: {kind: stepped, epoch: 2026-01-05T08:00:00Z}", "clock: {kind: wall}"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "bench.yaml"
    path.write_text(text, encoding="utf-8")
    with Bench(load(path)) as bench:
        kinds = {one["name"]: one["kind"] for one in bench.describe()}
        assert kinds == {name: "real" if name == "analyzer" else "twin" for name in kinds}
        assert len(kinds) == 6
        real, shadow = bench.device("analyzer"), bench.predicted("analyzer")
        # It is commanded and read as any other; its shadow measures what this bench's site has, and it something else.
        assert real.read().voltage_v == pytest.approx(240, abs=0.5)
        assert real.read().current_a == pytest.approx(5, abs=0.05)
        assert shadow.read().current_a < 0.05
        assert bench.wait_until(lambda: bool(bench.deviations), 30)
        first = bench.deviations[0]
        assert (first["device"], first["field"], first["modelled"]) == ("analyzer", "voltage_v", 0)
        assert first["measured"] == pytest.approx(240, abs=0.5)
