"""`twinbench doctor` finds what is wrong with a bench, names its remedy, raises no false alarm, and leaves all outputs off."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.bench import Bench
from bench.data import BadInput
from bench.doctor import Report, doctor, examine
from bench.inventory import load
from bench.judge import uncertainty

ROOT = Path(__file__).parents[2]
TWIN = ROOT / "inventory/benches/twin.yaml"
LAB = ROOT / "inventory/benches/lab-example.yaml"
COMMAND = Path(sys.executable).with_name("twinbench")

Change = Callable[[dict[str, Any]], Any]
"""Changes the data of a bench file."""


def variant(tmp_path: Path, file: Path, *changes: Change) -> Path:
    """A bench file with some of its data changed."""
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    for change in changes:
        change(data)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}-{file.name}"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def on_mains(data: dict[str, Any]) -> None:
    """Leave relay, analyzer and meter alone, on mains and with a fixed load of 2.5 A."""
    target, own = data["targets"]["site"], data["twinbench"]
    kept = {"relay", "analyzer", "meter"}
    links = {"relay-bus", "analyzer-lan", "meter-optical"}
    target["resources"] = [r for r in target["resources"] if next(iter(r.values()))["name"] in links]
    target["drivers"] = [d for d in target["drivers"] if next(iter(d.values()))["name"] in {*kept, "strategy"}]
    strategy = of_strategy(data)
    strategy["bindings"] = {k: v for k, v in strategy["bindings"].items() if k in kept}
    own["devices"] = {name: device for name, device in own["devices"].items() if name in kept}
    own.pop("safety", None)
    for place in own["wiring"]:
        if "load" in place:
            place.update(kind="current", value=2.5, power_factor=1.0)


def of_strategy(data: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the strategy."""
    found: dict[str, Any] = next(d["SiteStrategy"] for d in data["targets"]["site"]["drivers"] if "SiteStrategy" in d)
    return found


def device(name: str, **options: Any) -> Change:
    """Give a device other options."""
    return lambda data: data["twinbench"]["devices"][name]["options"].update(options)


def quick(*names: str, seconds: float = 0.2) -> Change:
    """Wait only so long for answers on these links."""

    def change(data: dict[str, Any]) -> None:
        for entry in data["targets"]["site"]["resources"]:
            for attributes in entry.values():
                if attributes["name"] in names:
                    attributes["timeout"] = seconds

    return change


@pytest.fixture
def mains(tmp_path: Path) -> Path:
    """The twin bench on mains and with a fixed load."""
    (tmp_path / "files").mkdir()
    return variant(tmp_path / "files", TWIN, on_mains)


@contextmanager
def served(file: Path, seed: int | None = None) -> Iterator[Bench]:
    """A bench whose twins are on their wires, as the doctor meets it."""
    bench = Bench(load(file), seed=seed)
    try:
        bench.serve_twins()
        yield bench
    finally:
        bench.down()


def look(bench: Bench, **more: Any) -> Report:
    """Examine, and see that nothing was left on."""
    report = examine(bench, clock_limit_s=30, **more)
    assert all_off(bench)
    return report


def all_off(bench: Bench) -> bool:
    """Whether every contact is open, and source and load are off."""
    powers = [bench.twins[name] for name in ("source", "load") if name in bench.twins]
    return not any(bench.call(bench.twins["relay"].closed)) and not any(bench.call(p.is_on) for p in powers)


def only(report: Report, *expected: tuple[str, str, str]) -> None:
    """These are the findings, by check, device and a piece of the remedy or of what was found; and no others."""
    said = [(c.check, c.device, f"{c.found}; {c.remedy}") for c in report.findings]
    assert [(check, device) for check, device, _ in said] == [(check, device) for check, device, _ in expected], said
    for (_, _, text), (_, _, piece) in zip(said, expected, strict=True):
        assert piece in text
    assert all(c.remedy for c in report.findings)
    assert report.exit_code == (1 if expected else 0)


def switched(bench: Bench) -> list[str]:
    """Commands that closed anything."""
    return [command for _, _, command, _ in bench.taken if command in ("close", "pulse", "connect")]


# --- On the twin bench ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("powered", [True, False])
def test_a_healthy_bench_gives_no_finding(mains: Path, powered: bool, seed: int) -> None:
    with served(TWIN if powered else mains, seed=seed) as bench:
        report = look(bench)
        only(report)
        assert switched(bench)
    seen = {(c.check, c.device) for c in report.checks}
    assert {("link", d) for d in ("relay", "analyzer", "meter")} <= seen
    assert {("identity", d) for d in ("relay", "analyzer", "meter")} <= seen
    assert {("calibration", "analyzer"), ("profile", "meter"), ("clock", "meter"), ("outputs", "relay")} <= seen
    assert (("network", "display") in seen) is powered


FAULTS: dict[str, tuple[Callable[[Bench], Any], tuple[str, str, str]]] = {
    "current lead": (
        lambda b: b.twins["analyzer"].inject("current_lead_reversed"),
        ("wiring", "analyzer", "current lead is reversed"),
    ),
    "load draws nothing": (
        lambda b: b.site.load("test-load").set(value=0.0),
        ("wiring", "load", "the load draws nothing"),
    ),
    "another load": (
        lambda b: b.site.load("test-load").set(value=4.0),
        ("wiring", "load", "the load is another"),
    ),
    "power factor": (
        lambda b: b.site.load("test-load").set(power_factor=0.5),
        ("wiring", "load", "power factor is another"),
    ),
    "load feeds back": (
        lambda b: b.site.load("test-load").set(value=-2.5),
        ("wiring", "meter", "counts power the other way"),
    ),
    "load contact stays open": (
        lambda b: b.twins["relay"].inject("stuck_open_2"),
        ("wiring", "load", "contact of channel 2 closes"),
    ),
    "load contact welded": (
        lambda b: b.twins["relay"].inject("stuck_closed_2"),
        ("wiring", "load", "something draws with channel 2 open"),
    ),
    "supply contact welded": (
        lambda b: b.twins["relay"].inject("stuck_closed_1"),
        ("wiring", "relay", "contact of channel 1 is welded"),
    ),
    "service switch welded": (
        lambda b: b.twins["meter"].inject("switch_welded"),
        ("wiring", "meter", "voltage passes an open service switch"),
    ),
    "mains of another voltage": (
        lambda b: b.site.source("mains").set(voltages=(120 + 0j,)),
        ("wiring", "meter", "the supply is another"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_wiring_is_found_with_its_remedy(mains: Path, fault: str) -> None:
    seed_it, expected = FAULTS[fault]
    with served(mains) as bench:
        bench.call(seed_it, bench)
        report = look(bench)
    first = report.findings[0]
    assert (first.check, first.device) == expected[:2]
    assert expected[2] in f"{first.found}; {first.remedy}"


@pytest.mark.parametrize("fault", ["current lead", "load draws nothing", "power factor", "load contact welded"])
def test_a_fault_is_told_once(mains: Path, fault: str) -> None:
    seed_it, expected = FAULTS[fault]
    with served(mains) as bench:
        bench.call(seed_it, bench)
        only(look(bench), expected)


def test_a_meter_line_that_carries_nothing_is_found_and_the_rest_looked_at(tmp_path: Path) -> None:
    def cut(data: dict[str, Any]) -> None:
        data["twinbench"]["devices"]["meter"]["faces"]["optical"]["disturbance"] = {"cut_after": 0}

    with served(variant(tmp_path, TWIN, on_mains, quick("meter-optical"), cut)) as bench:
        report = look(bench)
        only(report, ("link", "meter", "no answer"), ("wiring", "relay", "meter could not be asked"))
        assert {c.device for c in report.checks if c.check == "identity"} == {"relay", "analyzer"}


def test_an_analyzer_that_is_silent_does_not_stop_the_meter_s_checks(tmp_path: Path) -> None:
    with served(variant(tmp_path, TWIN, on_mains, quick("analyzer-lan"))) as bench:
        bench.call(bench.twins["analyzer"].inject, "silent")
        bench.call(bench.site.load("test-load").set, value=0.0)
        report = look(bench)
        only(
            report,
            ("link", "analyzer", "no answer"),
            ("wiring", "load", "the load draws nothing"),
            ("wiring", "relay", "analyzer could not be asked"),
        )
        assert ("clock", "meter", True) in {(c.check, c.device, c.ok) for c in report.checks}


def test_a_silent_relay_means_that_nothing_is_switched(tmp_path: Path) -> None:
    with served(variant(tmp_path, TWIN, on_mains, quick("relay-bus", seconds=1.0))) as bench:
        bench.call(bench.twins["relay"].inject, "silent")
        only(look(bench), ("link", "relay", "no answer"), ("wiring", "relay", "without an answer of relay"))
        assert not bench.taken


def test_nothing_is_switched_before_everybody_is_who_they_should_be(tmp_path: Path) -> None:
    def another(data: dict[str, Any]) -> None:
        data["twinbench"]["devices"]["analyzer"]["identity"] = {"serial": "C2PH99999V"}

    file = variant(tmp_path, TWIN, another)
    with served(file) as bench:
        report = look(bench)
        only(
            report,
            ("identity", "analyzer", "another serial"),
            ("wiring", "relay", "analyzer is not who it should be"),
        )
        (wrong,) = [c for c in report.findings if c.check == "identity"]
        assert wrong.found.endswith("C2PH13047V")
        assert wrong.expected == "C2PH99999V"
        assert not bench.taken, "not even a command to open: it may be somebody else's board"


def test_another_meter_is_switched_no_further(tmp_path: Path) -> None:
    def another(data: dict[str, Any]) -> None:
        data["twinbench"]["devices"]["meter"]["identity"] = {"serial": "7"}

    file = variant(tmp_path, TWIN, on_mains, another)
    with served(file) as bench:
        only(
            look(bench),
            ("identity", "meter", "another serial"),
            ("wiring", "relay", "meter is not who it should be"),
        )
        assert switched(bench) == ["close"], "the supply, without which it could not be asked"


def test_a_clock_that_is_off_is_told_within_the_limit_asked_for(tmp_path: Path) -> None:
    file = variant(tmp_path, TWIN, on_mains, device("meter", clock_offset_s=-300))
    with served(file) as bench:
        only(look(bench), ("clock", "meter", "300.0 s behind bench time; provision"))
    only(doctor(file, clock_limit_s=301))


def test_an_overdue_calibration_is_told(mains: Path, tmp_path: Path) -> None:
    text = (uncertainty.DIRECTORY / "yokogawa-wt310e.yaml").read_text(encoding="utf-8")
    text = text.replace("last_calibrated: 2025-12-01", "last_calibrated: 2023-12-01")
    text = text.replace("due: 2027-12-01", "due: 2025-12-01\n  serial: C2PH00000V")
    (tmp_path / "yokogawa-wt310e.yaml").write_text(text, encoding="utf-8")
    assert uncertainty.load("yokogawa-wt310e", tmp_path).asset.due == date(2025, 12, 1)
    with served(mains) as bench:
        only(
            look(bench, instruments=tmp_path),
            ("calibration", "analyzer", "was due on 2025-12-01"),
            ("certificate", "analyzer", "another unit's"),
        )


def test_an_analyzer_without_calibration_data_is_told(mains: Path, tmp_path: Path) -> None:
    with served(mains) as bench:
        only(look(bench, instruments=tmp_path), ("calibration", "analyzer", "yokogawa-wt310e.yaml"))


def test_a_strategy_that_does_not_fit_the_wiring_is_told(tmp_path: Path) -> None:
    file = variant(tmp_path, TWIN, on_mains, lambda data: of_strategy(data).update(supply_channel=4))
    with served(file) as bench:
        only(look(bench), ("wiring", "relay", "mend supply_channel"))


def test_two_resources_on_one_port_are_told(tmp_path: Path) -> None:
    def spare(data: dict[str, Any]) -> None:
        data["targets"]["site"]["resources"].append({"SerialLine": {"name": "spare", "port": "twin:meter/optical"}})

    file = variant(tmp_path, TWIN, on_mains, spare)
    only(doctor(file, clock_limit_s=30), ("ports", "spare", "also where meter-optical leads"))


def test_interrupted_it_leaves_everything_off() -> None:
    with served(TWIN) as bench:

        def interrupt(command: str, args: tuple[Any, ...]) -> None:
            if (command, args) == ("close", (2,)):
                raise KeyboardInterrupt

        def say(text: str) -> None:
            if "wiring" in text:
                bench.drivers["relay"].commanded.append(interrupt)

        with pytest.raises(KeyboardInterrupt):
            examine(bench, clock_limit_s=30, say=say)
        assert ("relay", "close", (2,)) in [(name, command, args) for _, name, command, args in bench.taken]
        assert all_off(bench)


def test_a_board_that_dies_with_contacts_closed_is_told(tmp_path: Path) -> None:
    with served(variant(tmp_path, TWIN, on_mains, quick("relay-bus", seconds=1.0))) as bench:

        def die(command: str, args: tuple[Any, ...]) -> None:
            if (command, args) == ("close", (2,)):
                bench.call(bench.twins["relay"].inject, "silent")

        def say(text: str) -> None:
            if "wiring" in text:
                bench.drivers["relay"].commanded.append(die)

        report = examine(bench, clock_limit_s=30, say=say)
        only(report, ("link", "relay", "no answer"), ("outputs", "relay", "take the supply away by hand"))
        bench.call(bench.twins["relay"].inject, "silent", False)
    assert not any(bench.twins["relay"].closed()), "tried once more when the bench goes down"


def test_a_source_that_trips_is_told() -> None:
    with served(TWIN) as bench:

        def trip(command: str, args: tuple[Any, ...]) -> None:
            if (command, args) == ("close", (2,)):
                bench.call(bench.twins["source"].inject, "trip_overcurrent")

        def say(text: str) -> None:
            if "wiring" in text:
                bench.drivers["relay"].commanded.append(trip)

        only(look(bench, say=say), ("wiring", "source", "tripped: OCP"))


def test_a_source_that_is_silent_means_that_nothing_is_switched(tmp_path: Path) -> None:
    with served(variant(tmp_path, TWIN, quick("source-serial"))) as bench:
        bench.call(bench.twins["source"].inject, "silent")
        report = look(bench)
        only(report, ("link", "source", "no answer"), ("wiring", "relay", "without an answer of source"))
        assert not bench.taken
        assert ("link", "meter", True) in {(c.check, c.device, c.ok) for c in report.checks}


def test_where_nothing_is_switched_a_meter_without_a_port_is_told_all_the_same(tmp_path: Path) -> None:
    def gone(data: dict[str, Any]) -> None:
        links = data["targets"]["site"]["resources"]
        (line,) = [link["SerialLine"] for link in links if link.get("SerialLine", {}).get("name") == "meter-optical"]
        line["port"] = str(tmp_path / "gone")
        del data["twinbench"]["devices"]["meter"]["faces"]
        data["twinbench"]["clock"] = {"kind": "wall"}

    with served(variant(tmp_path, TWIN, quick("source-serial"), gone)) as bench:
        bench.call(bench.twins["source"].inject, "silent")
        only(
            look(bench),
            ("link", "source", "no answer"),
            ("wiring", "relay", "without an answer of source"),
            ("link", "meter", "cannot open the port"),
        )


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("wrong_key", "not joined after 60 s: Join: Fail; the meter does not take its key"),
        ("never_joins", "not joined after 60 s: Network Discovery; it finds no network"),
    ],
)
def test_a_display_that_the_meter_s_network_does_not_have_is_told(fault: str, says: str) -> None:
    with served(TWIN) as bench:
        bench.call(bench.twins["display"].inject, fault)
        report = look(bench)
        only(report, ("network", "display", says))
    assert ("link", "display", True) in {(c.check, c.device, c.ok) for c in report.checks}


def test_a_display_that_falls_silent_while_it_joins_is_told(tmp_path: Path) -> None:
    with served(variant(tmp_path, TWIN, quick("display-usb", seconds=1.0))) as bench:

        def silence(command: str, args: tuple[Any, ...]) -> None:
            if (command, args) == ("close", (1,)):
                bench.call(bench.twins["display"].inject, "silent")

        def say(text: str) -> None:
            if "wiring" in text:
                bench.drivers["relay"].commanded.append(silence)

        only(look(bench, say=say), ("link", "display", "no answer"))


def test_an_open_door_keeps_the_bench_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def door(data: dict[str, Any]) -> None:
        data["twinbench"]["safety"] = {"door": {"operator": True}}

    file = variant(tmp_path, TWIN, on_mains, door)
    monkeypatch.delenv("TWINBENCH_DOOR_CLOSED", raising=False)
    with served(file) as bench:
        only(look(bench), ("wiring", "relay", "TWINBENCH_DOOR_CLOSED"))
        assert not switched(bench)
    monkeypatch.setenv("TWINBENCH_DOOR_CLOSED", "yes")
    only(doctor(file, clock_limit_s=30))


# --- Against a site in a process of its own ---------------------------------------------------------------------------------


@contextmanager
def a_site(tmp_path: Path, *changes: Change) -> Iterator[dict[str, str]]:
    """`twinbench site` serving the twin bench, with some of its text changed, as if it were hardware: where its links lead."""
    process = subprocess.Popen(
        [COMMAND, "site", variant(tmp_path, TWIN, *changes)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], "the site did not come up"
        yield json.loads(process.stdout.readline())["links"]
    finally:
        process.terminate()
        process.communicate(timeout=120)


SEEN_FROM_OUTSIDE: dict[str, tuple[Change, list[tuple[str, str, str]]]] = {
    "swapped channels": (
        device("relay", contacts={1: "load-switch", 2: "supply"}),
        [("wiring", "relay", "channels 1 and 2 are swapped")],
    ),
    "reversed current lead": (
        device("analyzer", current_lead_reversed=True),
        [("wiring", "analyzer", "current lead is reversed")],
    ),
    "wrong serial number": (
        device("analyzer", serial="C2PH99999V"),
        [("identity", "analyzer", "C2PH99999V"), ("wiring", "relay", "analyzer is not who it should be")],
    ),
    "analyzer on the wrong tap": (
        device("analyzer", tap="line-side"),
        [("wiring", "analyzer", "wrong tap")],
    ),
    "clock off by minutes": (
        device("meter", clock_offset_s=180),
        [("clock", "meter", "ahead of bench time")],
    ),
    "another meter": (
        lambda data: (
            device("meter", meter_id="TB-0009")(data),
            data["twinbench"]["utility"]["customers"][0]["accounts"][0].update(meter_id="TB-0009"),
        ),
        [("meter id", "meter", "TB-0009"), ("wiring", "relay", "meter is not who it should be")],
    ),
}


@pytest.mark.parametrize("fault", SEEN_FROM_OUTSIDE)
@pytest.mark.parametrize("whole", [False, True], ids=["on mains", "all six devices"])
def test_a_fault_is_found_from_outside(tmp_path: Path, fault: str, whole: bool) -> None:
    change, expected = SEEN_FROM_OUTSIDE[fault]
    stripped = () if whole else (on_mains,)
    with a_site(tmp_path, *stripped, change) as links:
        lab = variant(tmp_path, LAB, *stripped, quick("meter-optical", seconds=1.0))
        only(doctor(lab, links=links, clock_limit_s=30), *expected)


def test_the_command_finds_nothing_on_a_healthy_site_and_then_a_dead_line(tmp_path: Path) -> None:
    def run(links: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "links.json"
        file.write_text(json.dumps({"links": links}))
        lab = variant(tmp_path, LAB, quick("meter-optical", seconds=1.0))
        arguments = [COMMAND, "doctor", "--bench", lab, "--links", file, *more]
        return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    with a_site(tmp_path) as links:
        well = run(links)
        assert well.returncode == 0, well
        assert well.stderr == ""
        *lines, summary = well.stdout.splitlines()
        assert all(line.startswith("ok ") for line in lines)
        assert summary == f"lab-example: {len(lines)} checks, all well"

        ours, theirs = os.openpty()  # a line with nobody behind it
        try:
            dead = run({**links, "meter-optical": os.ttyname(theirs)}, "--json")
        finally:
            os.close(ours)
            os.close(theirs)
        assert dead.returncode == 1, dead
        checks = json.loads(dead.stdout)
        assert all(set(c) == {"check", "device", "ok", "found", "expected", "remedy"} for c in checks)
        found = [(c["check"], c["device"]) for c in checks if not c["ok"]]
        assert found == [("link", "meter"), ("wiring", "relay")]
        assert {"check": "outputs", "device": "relay", "ok": True}.items() <= checks[-1].items()


def test_bad_input_is_one_line_and_code_4(tmp_path: Path) -> None:
    for arguments in (["--bench", "nowhere.yaml"], ["--clock-limit", "-1"], ["--links", "nowhere.json"]):
        done = subprocess.run(
            [COMMAND, "doctor", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (4, "")
        assert len(done.stderr.splitlines()) == 1
    (tmp_path / "yokogawa-wt310e.yaml").write_text("model: [", encoding="utf-8")
    with served(TWIN) as bench, pytest.raises(BadInput):
        examine(bench, clock_limit_s=30, instruments=tmp_path)


def test_on_a_terminal_it_is_a_table() -> None:
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen([COMMAND, "doctor"], cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end of a pty
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0
    text = said.decode()
    for heading in ("check", "device", "found", "expected", "remedy"):
        assert heading in text
    assert "all well" in text
    assert "━" in text
