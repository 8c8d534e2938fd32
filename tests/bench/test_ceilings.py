"""What a bench file sets as a ceiling is refused before it goes out."""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from bench import inventory
from bench.bench import Bench, BenchError
from drivers.errors import LinkLost, OutOfRange, Refused
from tests.bench.conftest import ROOT, TWIN, Benches, Data, refused, strategy_of, two_feeders


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
    refused(
        OutOfRange,
        lambda: load.set_current(9.5),
        "load",
        "9.5 A at a power factor of 1 and 240 V would draw 2280 W",
        key,
    )
    load.set_current(2.9)
    assert sent
    # More voltage is more power.
    refused(OutOfRange, lambda: source.set_output(245, 60), "2.9 A", "245 V", key, "set_current of load first")
    load.set_current(2.8)
    source.set_output(245, 60)


def test_a_load_that_draws_a_current_keeps_below_the_ceiling_of_power(benches: Benches) -> None:
    """Until the source is set, its voltage may be as high as its ceiling; where it has none, nothing is known of it."""
    bench = benches({"site": {"voltage_v": 264}, "ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    source.reset()
    key = "twinbench.safety.ceilings.load.power_w"
    refused(
        OutOfRange,
        lambda: load.set_current(2.7),
        "2.7 A at a power factor of 1 and 264 V would draw 712.8 W",
        f"{key}: 700 W; source is not known to be set lower than its ceiling, twinbench.safety.site.voltage_v: set_output first",
    )
    load.set_current(2.6)
    load.set_current(5, -0.5)
    refused(OutOfRange, lambda: load.set_current(5, 0.6), "power factor of 0.6", "792 W")
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    bench.device("source").reset()
    load = bench.device("load")
    refused(
        Refused, lambda: load.set_current(0.1), "what source is set to is not known", f"{key} is 700 W", "set_power"
    )
    load.set_current(0)


def test_what_got_lost_may_have_been_taken(benches: Benches) -> None:
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    says = ("would draw 1200 W", "twinbench.safety.ceilings.load.power_w: 700 W")
    source.set_output(120, 60)
    load.set_current(1)
    with _silent(bench, "load"), pytest.raises(LinkLost):
        load.set_current(5)
    refused(OutOfRange, lambda: source.set_output(240, 60), "5 A", *says, "set_current of load first")
    load.set_current(2)
    source.set_output(240, 60)
    source.set_output(120, 60)
    with _silent(bench, "source"), pytest.raises(LinkLost):
        source.set_output(240, 60)
    refused(OutOfRange, lambda: load.set_current(5), "240 V", *says)
    source.set_output(120, 60)
    load.set_current(5)


@contextmanager
def _silent(bench: Bench, name: str) -> Iterator[None]:
    """The device does not answer, and nobody waits long for it."""
    twin: Any = bench.twins[name]
    driver: Any = bench.drivers[name]
    patience = driver.link.timeout
    bench.call(twin.inject, "silent", True)
    driver.link.timeout = 0.5
    if driver._instrument is not None:
        driver._instrument.timeout = 500
    try:
        yield
    finally:
        driver.link.timeout = patience
        bench.call(twin.inject, "silent", False)


def test_what_got_lost_stays_until_the_next_of_its_kind_is_taken(benches: Benches) -> None:
    bench = benches({"ceilings": {"source": {"power_w": 2200}, "load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    source.set_output(120, 60)
    with _silent(bench, "source"), pytest.raises(LinkLost):
        source.set_limits(264, 15)
    source.set_output(120, 60)  # the limit may be 15 A still
    refused(OutOfRange, lambda: source.set_output(240, 60), "3600 W", "twinbench.safety.ceilings.source.power_w")
    source.set_limits(264, 5)
    with _silent(bench, "source"), pytest.raises(LinkLost):
        source.set_output(240, 60)
    source.set_limits(264, 5)  # the voltage may be 240 V still
    refused(OutOfRange, lambda: load.set_current(5), "1200 W")
    for volts in (200, 240):
        with _silent(bench, "source"), pytest.raises(LinkLost):
            source.set_output(volts, 60)
    source.set_output(120, 60)
    load.set_current(5)


def test_after_a_reset_that_got_lost_a_source_may_have_no_limits(benches: Benches) -> None:
    bench = benches({"ceilings": {"source": {"current_a": 9}}}, _modest)
    source = bench.device("source")
    source.off()
    with _silent(bench, "source"), pytest.raises(LinkLost):
        source.reset()
    refused(Refused, source.on, "not known", "twinbench.safety.ceilings.source.current_a", "set_limits first")
    source.set_limits(250, 5)
    source.on()


def test_of_two_that_are_right_by_themselves_and_too_much_together_not_both_get_through(benches: Benches) -> None:
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    for _ in range(10):
        load.set_current(1)
        source.set_output(120, 60)
        begin = threading.Barrier(2)

        def set_to(what: Callable[..., None], *args: float, begin: threading.Barrier = begin) -> str:
            begin.wait()
            try:
                what(*args)
            except OutOfRange:
                return "refused"
            return "taken"

        with ThreadPoolExecutor(2) as both:
            became = both.submit(set_to, load.set_current, 5), both.submit(set_to, source.set_output, 240, 60)
            assert {one.result() for one in became} == {"taken", "refused"}


def test_who_is_still_at_the_same_device_is_not_forgotten(benches: Benches) -> None:
    """Somebody else's 240 V wait for the source's lock while 120 V are taken."""
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    load.set_current(1)
    with ThreadPoolExecutor(1) as other:
        with source.lock:
            waits = other.submit(source.set_output, 240, 60)
            while not bench.safety._asked["source"]:
                assert not waits.done()
            source.set_output(120, 60)
            refused(OutOfRange, lambda: load.set_current(5), "240 V", "1200 W")
        waits.result(10)
    refused(OutOfRange, lambda: load.set_current(5), "240 V", "1200 W")


def test_what_somebody_else_lost_is_replaced_by_the_next_that_is_taken(benches: Benches) -> None:
    bench = benches({"ceilings": {"source": {"current_a": 9}, "load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    load.set_current(1)
    source.set_output(120, 60)
    with ThreadPoolExecutor(1) as other:
        for lost in (lambda: source.set_output(240, 60), source.reset):
            with _silent(bench, "source"), pytest.raises(LinkLost):
                other.submit(lost).result(60)
    refused(OutOfRange, lambda: load.set_current(5), "240 V", "1200 W")
    source.set_output(120, 60)
    load.set_current(5)
    refused(Refused, source.on, "set_limits first")
    source.set_limits(250, 5)
    source.on()


def test_a_source_that_somebody_else_set_does_not_feed_a_load_beyond_its_ceiling(benches: Benches) -> None:
    bench = benches({"ceilings": {"load": {"power_w": 700}}}, _modest)
    source, load = bench.device("source"), bench.device("load")
    source.off()
    source.set_output(120, 60)
    load.set_current(5)
    source.reset()
    refused(Refused, source.on, "load", "what source is set to is not known", "set_output first")
    refused(OutOfRange, lambda: source.set_output(240, 60), "1200 W")
    source.set_output(120, 60)
    source.on()


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

    bench = benches({"ceilings": {"load": {"current_a": 3, "power_w": 700}}}, ceiled)
    source, load = bench.device("source"), bench.device("load")
    source.set_output(120, 60)  # the higher counts for a current
    load.set_current(2.9)
    refused(OutOfRange, lambda: source.set_output(245, 60), "2.9 A", "245 V", "710.5 W")
    load.set_current(1)
    source.set_output(250, 60)
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
            commands += len(_calls(function, "commanding"))
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
