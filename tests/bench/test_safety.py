"""Safe at all times: what the bench file forbids is refused before it goes out, and however a bench ends, outputs are off.

The ends are proven against a site served by a process of its own, through clients that are not ours.
"""

from __future__ import annotations

import ast
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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import serial
import yaml
from labgrid.strategy import StrategyError
from pymodbus.client import ModbusSerialClient

from bench import inventory
from bench.bench import Bench, BenchError
from bench.data import BadInput
from bench.trouble import NoPowerCase
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")
TWIN = ROOT / "inventory" / "benches" / "twin.yaml"
DOOR = {"device": "relay", "input": 1}
HOLD_S = 3.0

Data = dict[str, Any]


def bench_data() -> Data:
    """A bench of relay, analyzer, meter, source and load, with a door contact at input 1 of the relay board."""
    data: Data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    section, target = data["twinbench"], data["targets"]["site"]
    section["devices"].pop("display", None)
    target["drivers"] = [d for d in target["drivers"] if "RavenDriver" not in d]
    target["resources"] = [r for r in target["resources"] if "display" not in str(r)]
    section["wiring"].append({"contact": "door", "closed": True})
    section["devices"]["relay"]["options"]["inputs"] = {1: "door"}
    return data


def strategy_of(data: Data) -> Data:
    (found,) = [d["SiteStrategy"] for d in data["targets"]["site"]["drivers"] if "SiteStrategy" in d]
    attributes: Data = found
    return attributes


def written(tmp_path: Path, data: Data, name: str = "bench.yaml") -> Path:
    file = tmp_path / name
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return file


Benches = Callable[..., Bench]


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Benches]:
    """Makes twin benches with a section `safety`, brings them up and down."""
    made: list[Bench] = []

    def make(safety: Data, change: Callable[[Data], object] = lambda data: None, *, up: bool = True) -> Bench:
        data = bench_data()
        data["twinbench"]["safety"] = safety
        change(data)
        made.append(Bench(inventory.load(written(tmp_path, data))))
        if up:
            made[-1].up(mirror=False)
        return made[-1]

    yield make
    for each in made:
        each.down()


def refused(error: type[Exception], what: Callable[[], object], *says: str) -> None:
    """It is refused in one line that says all of this."""
    with pytest.raises(error) as caught:
        what()
    said = str(caught.value)
    assert "\n" not in said
    for piece in says:
        assert piece in said, f"{piece!r} is not said: {said}"


# --- ceilings ------------------------------------------------------------------------------------------------------------


def test_nothing_above_a_ceiling_goes_out(benches: Benches) -> None:
    own = {"voltage_v": 250, "current_a": 9, "power_w": 2200}
    bench = benches(
        {"site": {"current_a": 9.5}, "ceilings": {"source": own, "load": {"current_a": 12, "power_w": 700}}}, _modest
    )
    source, load = bench.device("source"), bench.device("load")
    sent: list[bytes] = []
    for name in ("source-serial", "load-serial"):
        bench.target.get_resource("VisaLink", name=name).wire_log = lambda way, data: sent.append(data)
    key = "twinbench.safety.ceilings.source."
    refused(OutOfRange, lambda: source.set_output(250.1, 60), "source", "250.1 V", key + "voltage_v: 250 V")
    refused(OutOfRange, lambda: source.set_output(float("nan"), 60), "voltage")
    refused(OutOfRange, lambda: source.set_limits(264, 5), "264 V", key + "voltage_v")
    refused(OutOfRange, lambda: source.set_limits(250, 9.1), "9.1 A", key + "current_a: 9 A")
    refused(OutOfRange, lambda: source.set_limits(250, 8.9), key + "power_w: 2200 W")  # 250 V are set
    # the lower of the two
    refused(OutOfRange, lambda: load.set_current(9.6), "load", "9.6 A", "twinbench.safety.site.current_a: 9.5 A")
    refused(OutOfRange, lambda: load.set_power(701), "701 W", "twinbench.safety.ceilings.load.power_w")
    assert sent == []
    source.set_limits(250, 5)
    source.set_output(240, 60)
    key = "twinbench.safety.ceilings.load.power_w: 700 W"
    refused(OutOfRange, lambda: load.set_current(9.5), "load", "9.5 A at 240 V would draw 2280 W", key)
    load.set_current(2.9)
    assert sent
    # More voltage is more power.
    refused(OutOfRange, lambda: source.set_output(245, 60), "2.9 A at 245 V", key, "set_current of load first")
    load.set_current(2.8)
    source.set_output(245, 60)


def test_a_load_that_draws_a_current_keeps_below_the_ceiling_of_power(benches: Benches) -> None:
    """Until the source is set, its voltage may be as high as its ceiling; where it has none, nothing is known of it."""
    bench = benches({"site": {"voltage_v": 264}, "ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    source.reset()
    key = "twinbench.safety.ceilings.load.power_w"
    refused(OutOfRange, lambda: load.set_current(2.7), "2.7 A at 264 V", "712.8 W", f"{key}: 700 W")
    load.set_current(2.6)
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    bench.device("source").reset()
    load = bench.device("load")
    refused(
        Refused, lambda: load.set_current(0.1), "what source is set to is not known", f"{key} is 700 W", "set_power"
    )
    load.set_current(0)


def test_a_load_that_draws_a_power_keeps_below_the_ceiling_of_current(benches: Benches) -> None:
    bench = benches({"site": {"current_a": 8}, "ceilings": {"load": {"current_a": 3}}}, _modest)
    source, load, analyzer = (bench.device(name) for name in ("source", "load", "analyzer"))
    bench.device("meter").connect()
    key = "twinbench.safety.ceilings.load.current_a: 3 A"
    refused(OutOfRange, lambda: load.set_power(1100), "load", "1100 W", "250 V", "4.4 A", key)
    refused(OutOfRange, lambda: load.set_power(740, 0.5), "power factor of 0.5", "5.92 A", key)
    refused(OutOfRange, lambda: load.set_power(740, -0.5), "power factor of -0.5", "5.92 A", key)
    load.set_power(740)
    bench.advance(2)
    assert 2.9 < analyzer.read().current_a <= 3
    # Less voltage is more current.
    refused(
        OutOfRange, lambda: source.set_output(240, 60), "740 W", "240 V", "3.08 A", key, "set_current of load first"
    )
    source.set_output(247, 60)
    load.set_current(2)
    source.set_output(120, 60)
    load.set_power(340)
    source.reset()
    refused(
        Refused, lambda: load.set_power(10), "what source is set to is not known", key.replace(":", " is"), "set_output"
    )


def test_the_twin_bench_counts_a_load_s_power_factor() -> None:
    bench = Bench(inventory.load(TWIN))
    with bench:
        load = bench.device("load")
        refused(OutOfRange, lambda: load.set_power(2200, 0.5), "18.3 A", "twinbench.safety.site.current_a: 8 A")
        load.set_power(1900)


def test_a_load_s_voltage_is_that_of_a_source_which_nobody_sets(benches: Benches) -> None:
    """The lower of two that may feed the bus counts: a generator of 230 V beside a source set to 250 V."""

    def ceiled(data: Data) -> None:
        two_feeders(data)
        _modest(data)

    bench = benches({"ceilings": {"load": {"current_a": 3}}}, ceiled)
    load = bench.device("load")
    refused(OutOfRange, lambda: load.set_power(700), "230 V", "3.04 A", "twinbench.safety.ceilings.load.current_a")
    load.set_power(690)


def _modest(data: Data) -> None:
    strategy_of(data).update(source_voltage_v=250, source_limit_v=250, source_limit_a=5)


def test_a_source_set_by_somebody_else_is_not_switched_on(benches: Benches) -> None:
    bench = benches({"site": {"voltage_v": 250, "current_a": 9}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    source.reset()
    refused(Refused, source.on, "source", "not known", "twinbench.safety.site.voltage_v", "set_output first")
    source.set_output(230, 60)
    refused(Refused, source.on, "twinbench.safety.site.current_a", "set_limits first")
    source.set_limits(250, 5)
    source.on()
    assert source.is_on()
    source.off()
    load.reset()
    load.on()  # it draws nothing after a reset


def test_a_strategy_above_a_ceiling_brings_nothing_up(benches: Benches) -> None:
    bench = benches({"site": {"voltage_v": 200}}, up=False)
    refused(BenchError, lambda: bench.up(mirror=False), "twinbench.safety.site.voltage_v: 200 V")
    assert bench.twins["relay"].closed() == (False,) * 8  # type: ignore[attr-defined]


def test_every_command_of_every_driver_asks_first() -> None:
    """What a driver tells of when it was taken, it asked for before, with the same name and arguments."""
    commands = 0
    for file in sorted((ROOT / "drivers").rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = {
                kind: [[ast.unparse(one) for one in call.args] for call in _calls(function, kind)]
                for kind in ("may", "tell")
            }
            assert calls["may"] == calls["tell"], f"{file.name}: {function.name}"
            for asks, tells in zip(_calls(function, "may"), _calls(function, "tell"), strict=True):
                assert asks.lineno < tells.lineno, f"{file.name}: {function.name}"
            commands += len(calls["may"])
    assert commands > 25


def _calls(function: ast.FunctionDef, name: str) -> list[ast.Call]:
    """Calls of `self.name(...)`, in order."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func) == f"self.{name}"]


# --- the door ------------------------------------------------------------------------------------------------------------


def press_door(bench: Bench) -> None:
    bench.call(bench.twins["relay"].press, "door")


def all_off(bench: Bench) -> bool:
    twins: dict[str, Any] = bench.twins
    return not (twins["source"].is_on() or any(twins["relay"].closed()) or twins["load"].is_on())


def test_with_the_door_open_nothing_is_switched_on(benches: Benches) -> None:
    bench = benches({"door": DOOR})
    relay, source = bench.device("relay"), bench.device("source")
    bench.strategy.transition("off")
    press_door(bench)
    says = ("the door of the bench is open", "twinbench.safety.door: input 1 of relay")
    refused(Refused, lambda: relay.close(1), "relay: close", *says)
    refused(Refused, lambda: relay.pulse(2, 1.0), "relay: pulse", *says)
    refused(Refused, source.on, "source: on", *says)
    refused(Refused, lambda: bench.strategy.transition("provisioned"), *says)
    relay.close(3)  # a dry contact at a button carries nothing
    relay.close(8)
    assert bench.loop.call(bench.twins["relay"].closed)[:4] == (False, False, True, False)  # type: ignore[attr-defined]
    press_door(bench)
    bench.strategy.transition("provisioned")
    assert source.is_on()


def test_a_door_opened_in_the_middle_switches_all_off(benches: Benches) -> None:
    bench = benches({"door": DOOR})
    bench.advance(1)
    assert bench.device("source").is_on()
    press_door(bench)
    says = ("was opened while it was on", "input 1 of relay", "all is switched off")
    refused(Refused, lambda: bench.advance(1), *says)
    assert bench.loop.call(all_off, bench)
    press_door(bench)  # and closing it does not switch anything on again
    refused(Refused, lambda: bench.wait_until(lambda: True, 1), *says)
    assert bench.loop.call(all_off, bench)


def test_after_an_alarm_nothing_is_switched_on_again(benches: Benches) -> None:
    """The door is closed and opened again: in between nobody gets anything on, by whatever way."""
    bench = benches({"door": DOOR})
    relay, source, load = (bench.device(name) for name in ("relay", "source", "load"))
    press_door(bench)
    bench.safety.look()
    assert bench.loop.call(all_off, bench)
    press_door(bench)
    bench.safety.look()
    says = ("was opened while it was on", "twinbench.safety.door: input 1 of relay", "bring the bench up again")
    for what, switch_on in {
        "source: on": source.on,
        "relay: close": lambda: relay.close(1),
        "relay: pulse": lambda: relay.pulse(2, 1.0),
        "load: on": load.on,
    }.items():
        refused(Refused, switch_on, what, *says)
    refused(Refused, NoPowerCase(bench).mend, "relay: close", *says)
    assert bench.loop.call(all_off, bench)
    press_door(bench)
    bench.safety.look()
    refused(Refused, bench.check, *says[:2])
    assert bench.loop.call(all_off, bench)


def test_what_is_on_all_the_same_is_switched_off_while_the_alarm_stands(benches: Benches) -> None:
    """An output that could not be switched off when the alarm came is switched off as soon as it can be."""
    bench = benches({"door": DOOR}, _quick)
    source: Any = bench.twins["source"]
    bench.call(source.inject, "silent")
    press_door(bench)
    bench.safety.look()
    assert "source may still be on" in str(bench.safety.alarm)
    assert bench.loop.call(source.is_on)
    bench.call(source.inject, "silent", False)
    press_door(bench)  # which is closed again
    bench.safety.look()
    assert bench.loop.call(all_off, bench)
    assert "may still be on" not in str(bench.safety.alarm)


def test_a_door_that_cannot_be_seen_counts_as_open(benches: Benches) -> None:
    bench = benches({"door": DOOR})
    bench.call(bench.twins["relay"].inject, "silent")
    refused(Refused, lambda: bench.advance(1), "cannot be seen", "relay may still be on")
    assert not bench.loop.call(bench.twins["source"].is_on)  # type: ignore[attr-defined]
    bench.call(bench.twins["relay"].inject, "silent", False)


def test_a_board_without_inputs_says_so(benches: Benches) -> None:
    bench = benches({}, lambda data: data["twinbench"]["devices"]["relay"]["options"].pop("inputs"))
    refused(NotSupported, bench.device("relay").inputs, "no digital inputs", "exception 1")


def test_an_operator_confirms_the_door(benches: Benches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBENCH_DOOR_CLOSED", raising=False)
    asked: list[str] = []
    bench = benches({"door": {"operator": True}}, up=False)
    refused(
        BenchError,
        lambda: bench.up(mirror=False),
        "not confirmed",
        "twinbench.safety.door.operator",
        "TWINBENCH_DOOR_CLOSED",
    )
    assert bench.loop.loop.is_closed()
    monkeypatch.setenv("TWINBENCH_DOOR_CLOSED", "yes")
    bench.up(mirror=False)
    assert bench.device("source").is_on()
    bench.down()
    monkeypatch.delenv("TWINBENCH_DOOR_CLOSED")
    from bench.safety import Safety, SafetyConfig

    for answer in (False, True):
        safety = Safety(
            SafetyConfig.model_validate({"door": {"operator": True}}),
            {},
            {},
            bench.shadow_site,
            ask=lambda question, answer=answer: asked.append(question) or answer,  # type: ignore[misc]
        )
        if answer:
            safety.confirm()
            safety.confirm()
        else:
            refused(Refused, safety.confirm, "not confirmed")
    assert len(asked) == 2


# --- two sources on one bus ----------------------------------------------------------------------------------------------


def two_feeders(data: Data) -> None:
    """A generator beside the source; contacts 1 and 5 lead to the bus that the line side hangs on."""
    wiring = data["twinbench"]["wiring"]
    at = next(n for n, place in enumerate(wiring) if place.get("tap") == "line-side")
    wiring[at]["behind"] = "bus"
    wiring[at:at] = [
        {"source": "generator", "volts": 230, "frequency_hz": 50},
        {"contact": "generator-supply", "behind": "generator"},
        {"bus": "bus", "behind": ["supply", "generator-supply"]},
    ]
    data["twinbench"]["devices"]["relay"]["options"]["contacts"][5] = "generator-supply"


def test_two_sources_never_meet_on_a_bus(benches: Benches) -> None:
    bench = benches({}, two_feeders)
    relay, source = bench.device("relay"), bench.device("source")
    bus: Any = bench.site.nodes["bus"]
    says = ("two sources on the bus 'bus'", "twinbench.wiring", "supply and generator-supply", "open one first")
    refused(Refused, lambda: relay.close(5), "relay", *says)
    refused(Refused, lambda: relay.pulse(5, 1), "relay", *says)
    assert (bus.tied, bench.site.frequency_of(bus)) == (False, 60.0)
    relay.open(1)
    relay.close(5)
    bench.advance(1)
    assert (bus.tied, bench.site.frequency_of(bus)) == (False, 50.0)
    assert bench.device("meter").reading().voltage_v == pytest.approx(230, rel=0.01)
    refused(Refused, lambda: relay.close(1), "relay", *says)
    source.off()
    relay.close(1)  # leads to a source that is off
    refused(Refused, source.on, "source", "mains", *says)
    relay.open(5)
    source.on()
    bench.advance(1)
    assert (bus.tied, bench.site.frequency_of(bus)) == (False, 60.0)


def test_of_two_that_switch_at_once_not_both_get_through(benches: Benches) -> None:
    bench = benches({}, two_feeders)
    relay = bench.device("relay")
    for _ in range(10):
        relay.open(1)
        relay.open(5)
        begin = threading.Barrier(2)

        def close(channel: int, begin: threading.Barrier = begin) -> None:
            begin.wait()
            with suppress(Refused):
                relay.close(channel)

        both = [threading.Thread(target=close, args=(channel,)) for channel in (1, 5)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        closed = relay.closed()
        assert not (closed[0] and closed[4])
        assert not bench.site.nodes["bus"].tied  # type: ignore[attr-defined]


def test_a_tied_bus_shows_in_the_wiring(site_loop: Any) -> None:
    from twins.clock import SteppedClock
    from twins.wiring import Bus, Contact, Site, Source, Tap, single_phase

    site = site_loop.call(lambda: Site(SteppedClock()))
    one, two = (Contact(site, name, closed=True) for name in ("one", "two"))
    Source(site, "a", single_phase(100.0), 60.0).feeds(one)
    Source(site, "b", single_phase(200.0), 50.0).feeds(two)
    bus = Bus(site, "bar", [one, two])
    tap = bus.feeds(Tap(site, "tap"))
    site.change()
    assert bus.tied
    assert abs(tap.state().voltages[0]) == 100
    one.set(False)
    assert not bus.tied
    assert (abs(tap.state().voltages[0]), tap.state().frequency_hz) == (200, 50)
    two.set(False)
    assert tap.state().voltages == (0,)
    assert not bus.live


# --- what a bench file may not say -----------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Data, tuple[str, ...]]] = {
    "a device that is not there": ({"ceilings": {"sauce": {}}}, ("safety.ceilings.sauce", "did you mean 'source'")),
    "a device that sets nothing": ({"ceilings": {"meter": {}}}, ("safety.ceilings.meter", "a Meter is set to no")),
    "a quantity": ({"site": {"voltage": 3}}, ("safety.site.voltage", "did you mean 'voltage_v'")),
    "no ceiling at all": ({"site": {"voltage_v": 0}}, ("safety.site.voltage_v", "greater than 0")),
    "a door in two ways": ({"door": {**DOOR, "operator": True}}, ("safety.door", "operator: true")),
    "a door in no way": ({"door": {"device": "relay"}}, ("safety.door", "input: N")),
    "a door's device": ({"door": {"device": "rely", "input": 1}}, ("door.device", "did you mean 'relay'")),
    "a device without inputs": ({"door": {"device": "meter", "input": 1}}, ("door.device", "no digital inputs")),
    "an input without a contact": ({"door": {"device": "relay", "input": 2}}, ("door.input", "options.inputs")),
}


@pytest.mark.parametrize(("safety", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_section_is_one_line(benches: Benches, safety: Data, says: tuple[str, ...]) -> None:
    refused(BadInput, lambda: benches(safety, up=False), "bench.yaml", "twinbench.", *says)


def test_a_source_that_two_devices_switch(benches: Benches) -> None:
    def twice(data: Data) -> None:
        data["twinbench"]["devices"]["second"] = {**data["twinbench"]["devices"]["source"], "faces": {}}
        data["targets"]["site"]["drivers"].insert(
            0, {"Chroma61604Driver": {"name": "second", "bindings": {"link": "source-serial"}}}
        )
        data["twinbench"]["clock"] = {"kind": "wall"}

    refused(BadInput, lambda: benches({}, twice, up=False), "source and second are both the source 'mains'", "one bus")


def test_nothing_hangs_behind_a_dry_contact(benches: Benches) -> None:
    def behind(data: Data) -> None:
        data["twinbench"]["wiring"].append({"tap": "nowhere", "behind": "door"})

    refused(BadInput, lambda: benches({}, behind, up=False), "'door' is a dry contact and feeds nothing")


@pytest.mark.parametrize("hold_s", [0.5, -1, 61, "nan"])
def test_a_hold_that_is_none(benches: Benches, hold_s: float) -> None:
    refused(BadInput, lambda: benches({}, lambda d: strategy_of(d).update(hold_s=hold_s), up=False), "hold_s")


# --- off, each whatever became of the others -------------------------------------------------------------------------------


def test_one_output_that_is_lost_keeps_none_of_the_others_on(
    benches: Benches, caplog: pytest.LogCaptureFixture
) -> None:
    for lost, link in (("source", "serial"), ("relay", "bus"), ("load", "serial")):
        bench = benches({}, _quick)
        twins: dict[str, Any] = bench.twins
        assert twins["source"].is_on()
        bench.faces[lost, link].cut()  # type: ignore[attr-defined]
        caplog.clear()
        bench.down()
        assert f"{lost} may still be on" in caplog.text
        on = {"source": twins["source"].is_on(), "relay": any(twins["relay"].closed()), "load": twins["load"].is_on()}
        assert [name for name, is_on in on.items() if is_on] == [lost]


def _quick(data: Data) -> None:
    for link in data["targets"]["site"]["resources"]:
        for attributes in link.values():
            attributes["timeout"] = 0.2


def test_the_source_goes_off_before_the_relays_open(benches: Benches) -> None:
    bench = benches({})
    taken: list[tuple[str, str]] = []
    for name, driver in bench.drivers.items():
        driver.commanded.append(lambda command, args, name=name: taken.append((name, command)))
    bench.down()
    assert taken[:3] == [("source", "off"), ("relay", "open_all"), ("load", "off")]


# --- a bench that holds a site of another process -------------------------------------------------------------------------


class Site:
    """All twins of a bench in a process of their own, and outside clients that look at its outputs."""

    def __init__(self, tmp_path: Path) -> None:
        data = bench_data()
        file = written(tmp_path, data, "site.yaml")
        self.process = subprocess.Popen([COMMAND, "site", file], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 30)[0], "the site does not come up"
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
        client = ModbusSerialClient(self.links["relay-bus"], timeout=1)
        try:
            assert client.connect(), "the relay's line is taken"
            return list(client.read_coils(0, count=8).bits)
        finally:
            client.close()  # type: ignore[no-untyped-call]

    def source_is_on(self) -> bool:
        """Whether the source's output is on, asked by somebody else."""
        port = self.links["source-serial"].removeprefix("ASRL").removesuffix("::INSTR")
        with serial.Serial(port, 9600, timeout=1) as line:
            line.reset_input_buffer()
            line.write(b"\nOUTP?\n")
            return line.readline().strip() in (b"1", b"ON")

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
            assert select.select([process.stdout], [], [], 60)[0], "the bench does not come up"
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            yield process

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


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
    with site.up() as process:
        time.sleep(1.5 * HOLD_S)  # held for longer than the board does by itself: it is renewed
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert site.coils()[:2] == [True, True]
    within(HOLD_S + 0.5, lambda: not any(site.coils()))
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
        process.communicate(timeout=30)
    # Near its end contacts are closed. A machine that has got busier starts later: on until there was something to open.
    for share in (0.5, 0.7, 0.8, 0.9, 1.0, 1.5, 2.0, 4.0):
        if share > 1 and any(closed):
            break
        with site.bench("--json") as process:
            time.sleep(share * start_s)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        closed.append(any(site.coils()))
        within(HOLD_S + 0.5, lambda: not any(site.coils()))
    assert any(closed), "no start came so far as to close a contact"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_switches_all_off_before_the_process_ends(site: Site, number: signal.Signals) -> None:
    with site.up() as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
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
        process.communicate(timeout=30)
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
        assert opened.wait(3), "contacts are closed for as long as the loop is busy"
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
    within(5, near.exists)
    bench = Bench(inventory.load(site.bench_file, {**site.links, "relay-bus": str(near)}))
    try:
        bench.up(mirror=False)
        assert bench.device("relay").closed()[:2] == (True, True)
        cable.kill()
        cable.wait()
        within(HOLD_S + 0.5, lambda: not any(site.coils()))
        with pytest.raises((LinkLost, Refused), match=r"opened by|cannot be seen"):
            bench.advance(4 * HOLD_S)
        # The door is on the same line: it cannot be seen any more, and so the source goes off, too.
        within(2 * HOLD_S, lambda: bench.safety.alarm is not None)
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
        _, said = process.communicate(timeout=30)
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
