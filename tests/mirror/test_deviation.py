"""A device that leaves its model: reported once, with the first reading that did."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from asyncua import Client
from asyncua.ua import NodeId

from drivers.errors import LinkLost
from tests.mirror.conftest import Bench, becomes, node
from tests.mirror.test_mirror import Scripted, good
from twins.clock import EPOCH
from twins.mirror.variables import difference

Report = tuple[str, str, Any, Any, float, datetime]


class Listener:
    """Collects what is reported, and the texts of the bench's events."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.texts: list[str] = []

    def __call__(self, *report: Any) -> None:
        self.reports.append(report)

    def event_notification(self, event: Any) -> None:
        self.texts.append(event.Message.Text)


async def read_again(bench: Bench) -> None:
    """Have every device read, and what it said shown."""
    feed = bench.mirror._feed  # type: ignore[union-attr]
    assert feed is not None
    bench.thread.run(feed.refresh())


def test_a_real_device_that_leaves_its_shadow_is_reported_with_the_first_reading_that_did(bench: Bench) -> None:
    bench.with_analyzer(current_a=0.1, voltage_v=0.5)
    shadow = bench.twin("yokogawa-wt310e", "shadow", seed=7)
    bench.devices[0] = dataclasses.replace(bench.devices[0], model=shadow, twin=None)
    load = bench.__dict__["site_of_analyzer"].load("load")
    heard = Listener()
    bench.start(on_deviation=heard)

    async def dialogue(client: Client) -> None:
        subscription = await client.create_subscription(10, heard)
        await subscription.subscribe_events(NodeId("Bench", 2))
        bench.thread.run(bench.clock.advance(5))
        await read_again(bench)
        assert heard.reports == []
        await becomes(client, "Devices/analyzer/Deviation/WithinLimits", good(True))

        bench.thread.call(lambda: load.set(value=6.0))
        bench.thread.run(bench.clock.advance(5))
        await read_again(bench)
        bench.thread.run(bench.clock.advance(5))
        await read_again(bench)
        await becomes(client, "Devices/analyzer/Deviation/WithinLimits", good(False))
        (report,) = heard.reports
        device, field, measured, modelled, limit, at = report
        assert (device, field, limit) == ("analyzer", "current_a", 0.1)
        assert (measured, modelled) == (pytest.approx(6.0, rel=0.01), pytest.approx(5.0, rel=0.01))
        assert EPOCH + timedelta(seconds=5) < at <= EPOCH + timedelta(seconds=10)

        bench.thread.call(lambda: load.set(value=5.0))
        bench.thread.run(bench.clock.advance(5))
        await read_again(bench)
        assert len(heard.reports) == 1
        bench.thread.call(lambda: load.set(value=4.0))
        bench.thread.run(bench.clock.advance(5))
        await read_again(bench)
        assert [report[2] for report in heard.reports] == [pytest.approx(6.0, rel=0.01), pytest.approx(4.0, rel=0.01)]
        await becomes(client, "Devices/analyzer/Deviation/WithinLimits", good(False))

    bench.talk(dialogue)
    left = [text for text in heard.texts if "current_a measured" in text]
    assert len(left) == 2
    assert "limit 0.1" in left[0]
    assert [text for text in heard.texts if "back" in text] == [
        "analyzer: current_a is back within its limit of deviation"
    ]


def scripted(bench: Bench, heard: Any, **limits: float) -> tuple[Scripted, Scripted]:
    driver, model = Scripted(100.0), Scripted(100.0)
    bench.add("analyzer", "yokogawa-wt310e", driver, model, None, **limits)
    bench.start(on_deviation=heard, cadence_s=3600)
    return driver, model


def test_a_reading_that_cannot_be_had_is_neither_a_departure_nor_a_return(bench: Bench) -> None:
    heard = Listener()
    driver, _ = scripted(bench, heard, power_w=2.0)

    async def dialogue(client: Client) -> None:
        driver.power_w = 105.0
        await read_again(bench)
        driver.error = LinkLost("analyzer: cut")
        await read_again(bench)
        driver.error = None
        await read_again(bench)
        driver.power_w = math.nan
        await read_again(bench)
        driver.power_w = 106.0
        await read_again(bench)

    bench.talk(dialogue)
    assert [report[1:5] for report in heard.reports] == [("power_w", 105.0, 100.0, 2.0)]


def test_over_range_is_far_from_any_model_in_range(bench: Bench) -> None:
    heard = Listener()
    driver, _ = scripted(bench, heard, power_w=2.0)
    driver.power_w = math.inf

    async def dialogue(client: Client) -> None:
        await read_again(bench)
        off = await node(client, "Devices/analyzer/Deviation/Power").read_data_value(raise_on_bad_status=False)
        assert (off.Value.Value, off.StatusCode.name) == (math.inf, "UncertainEngineeringUnitsExceeded")
        await becomes(client, "Devices/analyzer/Deviation/WithinLimits", good(False))

    bench.talk(dialogue)
    assert [report[2] for report in heard.reports] == [math.inf]
    assert difference(math.inf, math.inf) is None, "both over range: nothing can be told"


def test_a_limit_that_is_tightened_or_lifted_is_held_against_the_latest_reading(bench: Bench) -> None:
    heard = Listener()
    driver, _ = scripted(bench, heard)
    driver.power_w = 103.0

    async def dialogue(client: Client) -> None:
        await read_again(bench)
        limit = node(client, "Devices/analyzer/Deviation/Power/Limit")
        assert heard.reports == [], "without a limit there is no leaving it"
        for value in (5.0, 2.0, 1.0, 4.0, 2.0):
            await limit.write_value(value)
        await becomes(client, "Devices/analyzer/Deviation/WithinLimits", good(False))

    bench.talk(dialogue, "olive")
    assert [report[1:5] for report in heard.reports] == [("power_w", 103.0, 100.0, 2.0)] * 2


def test_whoever_is_told_cannot_end_the_mirror(bench: Bench) -> None:
    def full_disk(*report: Any) -> None:
        raise OSError(28, "No space left on device")

    driver, _ = scripted(bench, full_disk, power_w=2.0)

    async def dialogue(client: Client) -> None:
        driver.power_w = 110.0
        await read_again(bench)
        driver.power_w = 120.0
        await read_again(bench)
        await becomes(client, "Devices/analyzer/Measured/Power", good(120.0))

    bench.talk(dialogue)
