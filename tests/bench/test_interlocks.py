"""With the door open nothing is on, two sources never meet on a bus, and a bench file that says it wrongly is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from bench.bench import Bench, BenchError
from bench.data import BadInput
from bench.trouble import NoPowerCase
from drivers.errors import NotSupported, Refused
from tests.bench.conftest import DOOR, Benches, Data, refused, strategy_of, two_feeders

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
    bench = benches({"door": DOOR}, _impatient("source"))
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
    bench = benches({"door": DOOR}, _impatient("relay"))
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
        bench = benches({}, _impatient(lost))
        twins: dict[str, Any] = bench.twins
        assert twins["source"].is_on()
        bench.faces[lost, link].cut()  # type: ignore[attr-defined]
        caplog.clear()
        bench.down()
        assert f"{lost} may still be on" in caplog.text
        on = {"source": twins["source"].is_on(), "relay": any(twins["relay"].closed()), "load": twins["load"].is_on()}
        assert [name for name, is_on in on.items() if is_on] == [lost]


def _impatient(device: str) -> Callable[[Data], None]:
    """Does not wait long for this one."""

    def change(data: Data) -> None:
        for link in data["targets"]["site"]["resources"]:
            for attributes in link.values():
                if attributes["name"].startswith(device):
                    attributes["timeout"] = 1.0

    return change


def test_the_source_goes_off_before_the_relays_open(benches: Benches) -> None:
    bench = benches({})
    taken: list[tuple[str, str]] = []
    for name, driver in bench.drivers.items():
        driver.commanded.append(lambda command, args, name=name: taken.append((name, command)))
    bench.down()
    assert taken[:3] == [("source", "off"), ("relay", "open_all"), ("load", "off")]
