"""Benches of which one device is real, and the rest twins. The real one is in a process of its own, at a site of its own, with
nothing shared but bytes."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from asyncua.sync import Client

from bench.bench import Bench
from bench.evidence.verify import verify
from bench.inventory import ADDRESS, load
from drivers.roles import Switch

ROOT = Path(__file__).parents[2]
TWIN_BENCH = ROOT / "inventory/benches/twin.yaml"
SMALL = Path(__file__).with_name("one-of-each.yaml")
SETTLED_S = 4.0
"""Long enough for the mirror to have read a device a few times, and to say of one that it has left its model."""


COMPARED: dict[str, tuple[str, Any]] = {"relay": ("Modelled/Closed1", True), "display": ("Deviation/LinkStrength", 0)}
"""Where the mirror shows that a device and its shadow are the same. A relay has no limits of deviation, and a display asks for
the demand, which has one, every five minutes."""


@contextmanager
def twinbench(*arguments: str | Path) -> Iterator[dict[str, Any]]:
    """A verb that runs until it is stopped, in a process of its own: what it says when it is ready."""
    command = [sys.executable, "-m", "bench.cli", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 60)[0], "it did not come up"
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def real(data: dict[str, Any], name: str, links: dict[str, str]) -> None:
    """Make a device of a bench file real, on real time: its links lead to where `links` says."""
    own, target = data["twinbench"], data["targets"]["site"]
    faces = own["devices"][name].pop("faces")
    own["clock"] = {"kind": "wall"}
    for kind, attributes in (pair for entry in target["resources"] for pair in entry.items()):
        if attributes[ADDRESS[kind]] in {f"twin:{name}/{face}" for face in faces}:
            attributes[ADDRESS[kind]] = links[attributes["name"]]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where the links of a site of another process lead. It has all six devices. Its meter always has power, which nobody's
    relay switches; its customer has what its service switch lets through; its source feeds nothing."""
    data = yaml.safe_load(TWIN_BENCH.read_text(encoding="utf-8"))
    own = data["twinbench"]
    own["wiring"] = [
        {"source": "mains", "system": "single", "volts": 240, "frequency_hz": 60},
        {"tap": "line-side", "behind": "mains"},
        {"contact": "service", "behind": "line-side"},
        {"tap": "load-side", "behind": "service"},
        {"load": "test-load", "behind": "load-side", "kind": "current", "value": 0},
        {"source": "spare", "system": "single", "volts": 240, "frequency_hz": 60},
    ]
    own["devices"]["relay"]["options"] = {}
    own["devices"]["source"]["options"] = {"source": "spare"}
    del own["devices"]["meter"]["options"]["buttons"]
    file = tmp_path_factory.mktemp("elsewhere") / "site.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with twinbench("site", file) as ready:
        yield ready["links"]


def of_the_relay(bench: Bench) -> None:
    assert bench.device("relay").closed()[:4] == (True, True, False, False)
    assert bench.device("meter").reading().voltage_v == pytest.approx(240, abs=0.5), "the twins feel what it switches"


def of_the_analyzer(bench: Bench) -> None:
    assert bench.device("analyzer").ranges() == (300, 5)
    assert bench.device("analyzer").read().voltage_v == pytest.approx(0, abs=0.5)


def of_the_meter(bench: Bench) -> None:
    meter = bench.device("meter")
    assert meter.reading().voltage_v == pytest.approx(240, abs=0.5)
    assert meter.service().switch is Switch.OPEN
    assert abs((meter.clock() - bench.now).total_seconds()) < 5


def of_the_source(bench: Bench) -> None:
    assert bench.device("source").is_on()
    assert bench.device("source").read().voltage_v == pytest.approx(240, abs=1)
    assert bench.device("meter").reading().voltage_v == pytest.approx(240, abs=0.5), "the twins feel what it gives"


def of_the_load(bench: Bench) -> None:
    assert bench.device("load").is_on()
    assert bench.device("load").read().current_a == pytest.approx(0, abs=0.05)


def of_the_display(bench: Bench) -> None:
    display = bench.device("display")
    for _ in range(60):
        if display.link().joined:
            break
        bench.advance(1)
    assert display.link().joined, "the network of the meter that is over there"
    assert display.demand_w() == 0


CHECKS: dict[str, Callable[[Bench], None]] = {
    "relay": of_the_relay,
    "analyzer": of_the_analyzer,
    "meter": of_the_meter,
    "source": of_the_source,
    "load": of_the_load,
    "display": of_the_display,
}


def shown(bench: Bench, path: str) -> Any:
    """What a client of the mirror reads at a path; None where the mirror says that it has nothing good."""
    with Client(bench.mirror_url) as client:
        value = client.get_node(f"ns=2;s=Devices/{path}").read_data_value(raise_on_bad_status=False)
        return value.Value.Value if value.StatusCode.is_good() else None


@pytest.mark.parametrize("name", CHECKS)
def test_any_one_device_is_real_and_the_rest_are_twins(name: str, elsewhere: dict[str, str], tmp_path: Path) -> None:
    data = yaml.safe_load(TWIN_BENCH.read_text(encoding="utf-8"))
    real(data, name, elsewhere)
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with Bench(load(path)) as bench:
        kinds = {one["name"]: (one["kind"], one["link"]) for one in bench.describe()}
        assert {device: kind for device, (kind, _) in kinds.items()} == {
            device: "real" if device == name else "twin" for device in CHECKS
        }
        assert kinds[name][1] in elsewhere.values()
        CHECKS[name](bench)
        bench.wait_until(lambda: bool(bench.deviations), SETTLED_S)
        assert bench.deviations == []
        assert bench.disagreements == []
        # It was compared, and not just not found: what is measured over there is what its shadow has here.
        path_in_mirror, same = COMPARED.get(name, ("Deviation/WithinLimits", True))
        for _ in range(30):  # a display's shadow has yet to join the network of the meter's
            if shown(bench, f"{name}/{path_in_mirror}") == same:
                break
            bench.advance(1)
        assert shown(bench, f"{name}/{path_in_mirror}") == same
        assert bench.deviations == []


def test_a_real_device_that_leaves_its_shadow_is_told_by_the_first_reading_that_did(tmp_path: Path) -> None:
    """The analyzer over there measures 240 V and 5 A, whatever this bench does."""
    data = yaml.safe_load(TWIN_BENCH.read_text(encoding="utf-8"))
    with twinbench("twin", "yokogawa-wt310e", "--listen", "vxi11:127.0.0.1:0") as ready:
        host, _, port = ready["endpoints"][0]["address"].rpartition(":")
        real(data, "analyzer", {"analyzer-lan": f"TCPIP::{host},{port}::inst0::INSTR"})
        path = tmp_path / "bench.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        with Bench(load(path)) as bench:
            device, shadow = bench.device("analyzer"), bench.predicted("analyzer")
            # It is commanded and read as any other; its shadow measures what this bench's site has, and it something else.
            assert device.read().voltage_v == pytest.approx(240, abs=0.5)
            assert device.read().current_a == pytest.approx(5, abs=0.05)
            assert shadow.read().current_a < 0.05
            assert bench.wait_until(lambda: bool(bench.deviations), 30)
            first = bench.deviations[0]
            assert (first["device"], first["field"], first["modelled"]) == ("analyzer", "voltage_v", 0)
            assert first["measured"] == pytest.approx(240, abs=0.5)
            assert shown(bench, "analyzer/Deviation/WithinLimits") is False


def test_the_verdict_tells_of_a_real_device_that_leaves_its_model_and_of_commands_that_the_model_refuses(
    tmp_path: Path,
) -> None:
    """A bench file that says the wrong thing of a real meter: it has a service switch after all, and its mains aren't 230 V."""
    data = yaml.safe_load(SMALL.read_text(encoding="utf-8"))
    own, line, record = data["twinbench"], tmp_path / "optical", tmp_path / "record"
    options = own["devices"]["meter"]["options"]
    del options["switch"], options["load_side"]
    options["meter_id"] = own["utility"]["customers"][0]["accounts"][0]["meter_id"] = "TB-000001"
    own["wiring"][0]["volts"] = 230
    real(data, "meter", {"meter-optical": str(line)})
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    command = ["certify", "--bench", path, "--only", "C3-FR-01", "--json", "--out", record]
    with twinbench("twin", "ami-meter", "--listen", f"pty:{line}"):
        done = subprocess.run(
            [sys.executable, "-m", "bench.cli", *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    said = json.loads(done.stdout)
    assert said["problems"] == [], done.stderr
    for verdict in (said, json.loads((record / "verdict.json").read_text())):
        by_field = {one["field"]: one for one in verdict["deviations"]}
        voltage = by_field["voltage_v"]
        assert set(voltage) == {"at", "device", "field", "measured", "modelled", "limit"}
        assert (voltage["device"], voltage["limit"]) == ("meter", 0.5)
        assert voltage["measured"] == pytest.approx(240, abs=0.5)
        assert voltage["modelled"] == pytest.approx(230, abs=0.5)
        moments = [datetime.fromisoformat(one["at"]) for one in (*verdict["deviations"], *verdict["disagreements"])]
        assert all(moment.tzinfo is not None for moment in moments)
        refused = [(one["device"], one["command"]) for one in verdict["disagreements"]]
        assert refused[:2] == [("meter", "limit"), ("meter", "disconnect")]
        assert len({one["at"] for one in verdict["disagreements"]}) == len(refused), "each is told once"
        assert all("no service switch" in one["why"] for one in verdict["disagreements"])
    assert json.loads((record / "deviations.json").read_text()) == said["deviations"]
    assert json.loads((record / "disagreements.json").read_text()) == said["disagreements"]
    assert verify(record) == []
