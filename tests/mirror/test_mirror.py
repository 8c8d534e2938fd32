"""What the mirror shows and lets be done, seen by a client over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import Client, Node, ua
from asyncua.ua.uaerrors import (
    BadArgumentsMissing,
    BadIdentityTokenRejected,
    BadInvalidArgument,
    BadMethodInvalid,
    BadNotSupported,
    BadOutOfRange,
    BadRequestNotAllowed,
    BadSecurityModeInsufficient,
    BadTooManyArguments,
    BadTypeMismatch,
    BadUserAccessDenied,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import LinkLost
from drivers.roles import PowerReading
from tests.conftest import LoopThread
from tests.mirror.conftest import Bench, becomes, call, node
from twins import models
from twins.clock import EPOCH, WallClock
from twins.mirror.server import Mirror, MirrorConfig, MirrorError, RunInfo


def good(value: Any) -> Any:
    return lambda dv: dv.StatusCode.is_good() and dv.Value.Value == value


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_a_device_is_an_object_of_its_roles_type(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        index = await client.get_namespace_index("urn:twinbench:bench")
        assert index == 2
        relay = await client.nodes.objects.get_child([f"{index}:Bench", f"{index}:Devices", f"{index}:relay"])
        kind = await relay.read_type_definition()
        assert (await client.get_node(kind).read_browse_name()).Name == "RelayType"
        parents = await client.get_node(kind).get_references(ua.ObjectIds.HasSubtype, ua.BrowseDirection.Inverse)
        assert parents[0].BrowseName.Name == "DeviceType"
        names = {(await child.read_browse_name()).Name for child in await relay.get_children()}
        assert names >= {
            "Identification",
            "Measured",
            "Modelled",
            "Deviation",
            "Health",
            "Close",
            "OpenAll",
            "InjectFault",
        }
        who = f"{index}:Identification"
        assert (await (await relay.get_child([who, f"{index}:Manufacturer"])).read_value()).Text == "Maker"
        assert await (await relay.get_child([who, f"{index}:SerialNumber"])).read_value() == "SN-relay"
        assert "silent" in await (await relay.get_child(f"{index}:Faults")).read_value()

    bench.talk(dialogue)


def test_measured_values_come_from_the_wire_and_follow_the_device(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/relay/Measured/Closed2", good(False))
        await asyncio.to_thread(bench.driver.close, 2)
        await becomes(client, "Devices/relay/Measured/Closed2", good(True))
        await becomes(client, "Devices/relay/Modelled/Closed2", good(True))
        assert await node(client, "Devices/relay/Health/Link").read_value() == "up"

    bench.talk(dialogue)
    assert bench.thread.call(bench.relay.closed)[1]


def test_source_timestamps_tell_bench_time_and_server_timestamps_real_time(bench: Bench) -> None:
    bench.with_relay().start()
    before = datetime.now(UTC)
    bench.thread.run(bench.clock.advance(86_400))
    bench.thread.call(bench.relay.close, 1)

    async def dialogue(client: Client) -> None:
        value = await becomes(client, "Devices/relay/Measured/Closed1", good(True))
        assert value.SourceTimestamp == EPOCH + timedelta(days=1)
        assert before - timedelta(seconds=1) <= value.ServerTimestamp <= datetime.now(UTC)
        now = await node(client, "Bench/Clock/Now").read_data_value()
        assert now.Value.Value == now.SourceTimestamp == EPOCH + timedelta(days=1)

    bench.talk(dialogue)


def test_numbers_carry_their_unit(bench: Bench) -> None:
    analyzer = bench.twin("yokogawa-wt310e", "analyzer")
    bench.add("analyzer", "yokogawa-wt310e", analyzer, analyzer, analyzer)
    bench.start()

    async def dialogue(client: Client) -> None:
        unit = await node(client, "Devices/analyzer/Measured/Power/EngineeringUnits").read_value()
        assert (unit.DisplayName.Text, unit.UnitId) == ("W", 0x575454)  # "WTT" of UNECE Recommendation 20
        bench.thread.run(bench.clock.advance(5))
        value = await becomes(client, "Devices/analyzer/Measured/Power", lambda v: v.Value.Value and v.Value.Value > 0)
        assert value.Value.Value == pytest.approx(1200, rel=0.01)

    bench.talk(dialogue)


BARE = {
    "Run/Seed": "a number that means nothing but itself",
    "Health/Errors": "a count",
    "AccountLastMessageId": "an id",
    "ShownMessageId": "an id",
}
"""Numbers without unit and range, by the end of their path, and why."""
ENDLESS = {
    *("Clock", "AccountZeroAt", "AccountUpdatedAt"),
    *("PrepaidAt", "PrepaidZeroAt", "PrepaidReceivedAt", "ShownReceivedAt"),
}
"""Moments: how far one measured is from one modelled has no end."""


def test_every_number_has_a_unit_and_a_range_and_keeps_to_it(bench: Bench) -> None:
    for model in models.names():
        twin = bench.twin(model, model)
        bench.add(model, model, twin, twin, twin)
    bench.start()
    bench.thread.run(bench.clock.advance(120))
    numbers = {ua.ObjectIds.Double, ua.ObjectIds.Float, ua.ObjectIds.Int64, ua.ObjectIds.UInt32, ua.ObjectIds.Int32}

    async def walk(client: Client, start: Node) -> dict[str, Node]:
        found: dict[str, Node] = {}
        todo = [start]
        while todo:
            children = await asyncio.gather(
                *(one.get_children(refs=ua.ObjectIds.HierarchicalReferences, nodeclassmask=3) for one in todo)
            )
            todo = [child for some in children for child in some if str(child.nodeid.Identifier) not in found]
            found |= {str(child.nodeid.Identifier): child for child in todo}
        return found

    async def dialogue(client: Client) -> None:
        nodes = await walk(client, node(client, "Bench"))
        kinds = await client.read_attributes([*nodes.values()], ua.AttributeIds.DataType)
        numeric = [path for path, kind in zip(nodes, kinds, strict=True) if _standard(kind) in numbers]
        assert len(numeric) > 120
        seen = set()
        for path in numeric:
            parent, _, name = path.rpartition("/")
            if name == "Limit":  # of a deviation, in the unit of what it is a property of
                assert parent in numeric
                continue
            bare = next((end for end in BARE if path.endswith(end)), "")
            seen.add(bare or (name if name in ENDLESS else ""))
            assert (f"{path}/EngineeringUnits" in nodes) is (not bare), path
            assert (f"{path}/EURange" in nodes) is (not bare and name not in ENDLESS), path
            if bare or name in ENDLESS:
                continue
            unit = await nodes[f"{path}/EngineeringUnits"].read_value()
            span = await nodes[f"{path}/EURange"].read_value()
            assert unit.DisplayName.Text, path
            assert unit.Description.Text, path
            assert math.isfinite(span.Low), path
            assert math.isfinite(span.High), path
            assert span.Low < span.High, path
            shown = await nodes[path].read_data_value(raise_on_bad_status=False)
            if shown.StatusCode.is_good() and shown.Value.Value is not None:
                assert span.Low <= shown.Value.Value <= span.High, (path, shown.Value.Value)
        assert seen == {"", *BARE, *ENDLESS}, "no exception that nobody needs"

    bench.talk(dialogue)


def _standard(kind: ua.DataValue) -> int | None:
    """The number of a data type of OPC UA's own; None for what is no variable, or of another."""
    value = kind.Value.Value if kind.Value is not None else None
    return value.Identifier if isinstance(value, ua.NodeId) and value.NamespaceIndex == 0 else None


@pytest.mark.parametrize(
    ("model", "name", "low", "high"),
    [
        ("yokogawa-wt310e", "IntegratedEnergy", -120e6, 120e6),  # 12 kW for 10,000 h
        ("yokogawa-wt310e", "IntegratedElapsed", 0, 36e6),
        ("ami-meter", "AccountBalance", -2147483648, 2147483647),
        ("ami-meter", "ServiceLimit", 0, 4294967294),  # all ones are none
        ("raven", "Demand", -8388608, 8388607),  # 24 bits with sign
        ("raven", "Price", 0, 4294967294),
    ],
)
def test_a_range_is_what_the_device_can_say(bench: Bench, model: str, name: str, low: float, high: float) -> None:
    twin = bench.twin(model, "one")
    bench.add("one", model, twin, twin, twin)
    bench.start()

    async def dialogue(client: Client) -> None:
        for part, expected in (("Measured", (low, high)), ("Deviation", (low - high, high - low))):
            span = await node(client, f"Devices/one/{part}/{name}/EURange").read_value()
            assert (span.Low, span.High) == expected

    bench.talk(dialogue)


def test_a_meter_is_shown_with_enumerations_durations_and_its_display(bench: Bench) -> None:
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()
    bench.thread.run(bench.clock.advance(60))

    async def dialogue(client: Client) -> None:
        expected = bench.thread.call(meter.service)
        await becomes(client, "Devices/meter/Measured/ServiceSwitch", good(expected.switch.name))
        lines = await node(client, "Devices/meter/Measured/Display").read_value()
        assert len(lines) == len(bench.thread.call(meter.display))
        await becomes(client, "Devices/meter/Measured/Clock", good(bench.thread.call(meter.clock)))
        account = bench.thread.call(meter.account)
        left = await node(client, "Devices/meter/Measured/AccountTimeLeft").read_value()
        assert left == account.time_left.total_seconds()

    bench.talk(dialogue)


def test_a_value_that_is_not_there_is_null_and_comes_back(bench: Bench) -> None:
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()

    async def dialogue(client: Client) -> None:
        path = "Devices/meter/Measured/ServiceLimit"
        await becomes(client, path, good(None))
        await call(client, "Devices/meter/Limit", ua.Variant(3000, ua.VariantType.Int32))
        await becomes(client, path, good(3000))
        await call(client, "Devices/meter/Limit", None)
        await becomes(client, path, good(None))

    bench.talk(dialogue, "olive")


def test_a_device_that_does_not_answer_is_shown_as_such_and_recovers(bench: Bench) -> None:
    bench.with_relay(timeout=0.5).start()

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/relay/Measured/Closed1", good(False))
        await call(client, "Devices/relay/InjectFault", "silent", True)
        bad = await becomes(client, "Devices/relay/Measured/Closed1", lambda dv: dv.StatusCode.is_bad())
        assert bad.StatusCode.name == "BadCommunicationError"
        await becomes(client, "Devices/relay/Health/Link", good("down"))
        assert "relay" in await node(client, "Devices/relay/Health/LastError").read_value()
        assert await node(client, "Devices/relay/Health/Errors").read_value() >= 1
        await call(client, "Devices/relay/InjectFault", "silent", False)
        await becomes(client, "Devices/relay/Measured/Closed1", good(False))
        await becomes(client, "Devices/relay/Health/Link", good("up"))

    bench.talk(dialogue, "olive")


class Scripted:
    """An analyzer that says what a test wants it to."""

    def __init__(self, power_w: float = 100.0) -> None:
        self.power_w = power_w
        self.error: Exception | None = None

    def read(self) -> PowerReading:
        if self.error is not None:
            raise self.error
        return PowerReading(240.0, math.inf, self.power_w, 0.0, 0.0, math.nan, 0.0, 60.0)

    def integrated(self) -> Any:
        raise RuntimeError("a bug")

    def ranges(self) -> tuple[float, float]:
        return (300.0, 20.0)


def test_no_data_and_over_range_are_told_by_their_quality(bench: Bench) -> None:
    bench.add("analyzer", "yokogawa-wt310e", Scripted(), None, None)
    bench.start()

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/analyzer/Measured/Voltage", good(240.0))
        await becomes(client, "Devices/analyzer/Health/Link", good("up"))
        over = await node(client, "Devices/analyzer/Measured/Current").read_data_value(raise_on_bad_status=False)
        assert (over.Value.Value, over.StatusCode.name) == (math.inf, "UncertainEngineeringUnitsExceeded")
        none = await node(client, "Devices/analyzer/Measured/PowerFactor").read_data_value(raise_on_bad_status=False)
        assert none.StatusCode.name == "BadNoData"
        bug = "Devices/analyzer/Measured/IntegratedEnergy"
        await becomes(client, bug, lambda dv: dv.StatusCode.name == "BadUnexpectedError")
        await becomes(client, "Devices/analyzer/Health/LastError", good("a bug"))

    bench.talk(dialogue)


def test_deviation_is_held_against_a_limit_that_an_operator_may_set(bench: Bench) -> None:
    bench.add("analyzer", "yokogawa-wt310e", Scripted(103.0), Scripted(100.0), None, power_w=2.0)
    bench.start()

    async def dialogue(client: Client) -> None:
        path = "Devices/analyzer/Deviation"
        await becomes(client, f"{path}/Power", good(3.0))
        await becomes(client, f"{path}/WithinLimits", good(False))
        limit = node(client, f"{path}/Power/Limit")
        assert await limit.read_value() == 2.0
        with pytest.raises(BadOutOfRange):
            await limit.write_value(-1.0)
        with pytest.raises(BadOutOfRange):
            await limit.write_value(math.nan)
        with pytest.raises(BadTypeMismatch):
            await limit.write_value("three")
        await limit.write_value(3.5)
        await becomes(client, f"{path}/WithinLimits", good(True))
        with pytest.raises(BadUserAccessDenied):
            await node(client, "Devices/analyzer/Measured/Power").write_value(1.0)

    bench.talk(dialogue, "olive")


def test_a_deviation_that_cannot_be_told_is_not_within_limits(bench: Bench) -> None:
    driver = Scripted(100.0)
    driver.error = LinkLost("analyzer: cut")
    bench.add("analyzer", "yokogawa-wt310e", driver, Scripted(100.0), None, power_w=2.0)
    bench.start()

    async def dialogue(client: Client) -> None:
        bad = await becomes(
            client, "Devices/analyzer/Deviation/WithinLimits", lambda dv: dv.StatusCode.name == "BadNoData"
        )
        assert bad.Value.Value is None

    bench.talk(dialogue)


def test_published_values_all_reach_a_subscriber_while_the_clock_steps(bench: Bench) -> None:
    twin = Scripted()
    bench.add("analyzer", "yokogawa-wt310e", twin, twin, None)
    bench.start(cadence_s=3600)
    count = 3000

    def publish(n: int) -> None:
        assert bench.mirror is not None
        bench.mirror.publish("analyzer", "voltage_v", 1000.0 + n)
        if n + 1 < count:
            bench.clock.call_later(0.01, publish, n + 1)

    async def dialogue(client: Client) -> list[tuple[float, datetime]]:
        came: list[tuple[float, datetime]] = []
        done = asyncio.Event()

        class Handler:
            def datachange_notification(self, node: object, value: Any, data: Any) -> None:
                if value is not None and value >= 1000.0:
                    came.append((value, data.monitored_item.Value.SourceTimestamp))
                if value == 1000.0 + count - 1:
                    done.set()

        subscription = await client.create_subscription(10, Handler(), queue_maxsize=0)
        await subscription.subscribe_data_change(node(client, "Devices/analyzer/Modelled/Voltage"), queuesize=5000)
        bench.thread.call(bench.clock.call_later, 0.0, publish, 0)
        await asyncio.to_thread(bench.thread.run, bench.clock.advance(count * 0.01))
        await asyncio.wait_for(done.wait(), 10)
        return came

    came = bench.talk(dialogue)
    assert [value for value, _ in came] == [1000.0 + n for n in range(count)]
    assert [at for _, at in came] == [EPOCH + timedelta(seconds=0.01) * n for n in range(count)]


def test_publishing_what_is_not_there_names_what_is(bench: Bench) -> None:
    bench.with_relay().start()
    assert bench.mirror is not None
    with pytest.raises(MirrorError, match="no device 'relais'; there are relay"):
        bench.thread.call(bench.mirror.publish, "relais", "closed_1", True)
    with pytest.raises(MirrorError, match="no modelled 'closed_9'; there are closed_1"):
        bench.thread.call(bench.mirror.publish, "relay", "closed_9", True)


def test_the_run_and_its_events_are_shown(bench: Bench) -> None:
    bench.with_relay().start()
    mirror = bench.mirror
    assert mirror is not None
    bench.thread.call(mirror.set_run, RunInfo("C3-S1", 7, "running"))
    bench.thread.run(bench.clock.advance(10))

    async def dialogue(client: Client, at: Any) -> None:
        assert await node(client, "Bench/Run/Name").read_value() == "C3-S1"
        assert await node(client, "Bench/Run/Seed").read_value() == 7
        came: asyncio.Queue[Any] = asyncio.Queue()

        class Handler:
            def event_notification(self, event: Any) -> None:
                came.put_nowait(event)

        subscription = await client.create_subscription(10, Handler())
        await subscription.subscribe_events(at)
        bench.thread.call(mirror.event, "the payment was posted", 500)
        event = await asyncio.wait_for(came.get(), 20)
        assert (event.Message.Text, event.Severity, event.SourceName) == ("the payment was posted", 500, "Bench")
        assert event.Time == EPOCH + timedelta(seconds=10)

    bench.talk(lambda client: dialogue(client, ua.ObjectIds.Server))
    bench.talk(lambda client: dialogue(client, ua.NodeId("Bench", 2)))


# --- Acting ------------------------------------------------------------------------------------------------------------


def test_a_command_goes_over_the_wire_to_the_twin(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        await call(client, "Devices/relay/Close", 3)
        await becomes(client, "Devices/relay/Measured/Closed3", good(True))
        await call(client, "Devices/relay/OpenAll")
        await becomes(client, "Devices/relay/Measured/Closed3", good(False))

    bench.talk(dialogue, "olive")
    written = [data for way, data in bench.wire if way == "tx" and data[7] in (5, 15)]
    assert len(written) == 2, "a command goes through the driver, once"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("Close", (), BadArgumentsMissing),
        ("Close", (1, 2), BadTooManyArguments),
        ("Close", ("one",), BadTypeMismatch),
        ("Close", (1.0,), BadTypeMismatch),
        ("Close", (True,), BadTypeMismatch),
        ("Close", (None,), BadTypeMismatch),
        ("Close", ([1, 2],), BadTypeMismatch),
        ("Close", (0,), BadOutOfRange),
        ("Close", (9,), BadOutOfRange),
        ("Pulse", (1, math.nan), BadOutOfRange),
        ("Pulse", (1, math.inf), BadOutOfRange),
        ("Pulse", (1, -1.0), BadOutOfRange),
        ("Pulse", ("one", "two"), BadInvalidArgument),
        ("OpenAll", (1,), BadTooManyArguments),
        ("InjectFault", ("no such fault", True), BadInvalidArgument),
        ("PressButton", ("no such button",), BadInvalidArgument),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_sent(
    bench: Bench, method: str, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        with pytest.raises(error):
            await call(client, f"Devices/relay/{method}", *arguments)

    bench.talk(dialogue, "olive")
    assert not [data for way, data in bench.wire if way == "tx" and data[7] in (5, 15)]


def test_a_refused_call_tells_which_argument_was_bad(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> ua.CallMethodResult:
        request = ua.CallMethodRequest()
        request.ObjectId, request.MethodId = ua.NodeId("Devices/relay", 2), ua.NodeId("Devices/relay/Pulse", 2)
        request.InputArguments = [ua.Variant(1), ua.Variant("two")]
        return (await client.uaclient.call([request]))[0]

    result = bench.talk(dialogue, "olive")
    assert [code.name for code in result.InputArgumentResults] == ["Good", "BadTypeMismatch"]


def test_a_method_belongs_to_its_own_device(bench: Bench) -> None:
    bench.with_relay()
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()

    async def dialogue(client: Client) -> None:
        with pytest.raises(BadMethodInvalid):
            await node(client, "Devices/meter").call_method(ua.NodeId("Devices/relay/OpenAll", 2))

    bench.talk(dialogue, "olive")


def test_what_the_device_refuses_comes_back_as_a_code_and_an_event(bench: Bench) -> None:
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()

    async def dialogue(client: Client) -> str:
        came: asyncio.Queue[Any] = asyncio.Queue()

        class Handler:
            def event_notification(self, event: Any) -> None:
                came.put_nowait(event)

        subscription = await client.create_subscription(10, Handler())
        await subscription.subscribe_events()
        with pytest.raises(BadRequestNotAllowed):
            await call(client, "Devices/meter/AddCredit", 500)
        event = await asyncio.wait_for(came.get(), 20)
        return str(event.Message.Text)

    assert bench.talk(dialogue, "olive").startswith("Devices/meter: AddCredit was not carried out: ")


def test_a_message_to_a_meter_is_sent_field_by_field(bench: Bench) -> None:
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()

    async def dialogue(client: Client) -> None:
        declared = await node(client, "Devices/meter/Send/InputArguments").read_value()
        values: dict[str, Any] = {
            "MessageId": 41,
            "Code": "PREPAYMENT",
            "IssuedAt": EPOCH,
            "Priority": 1,
            "Balance": 2500,
            "Credit": 11_628,
            "Price": 21_500,
            "TimeLeft": 86_400.0,
            "AtZero": 1,
        }
        await call(client, "Devices/meter/Send", *[values.get(argument.Name) for argument in declared])
        await call(client, "Bench/Clock/Advance", 30.0)
        await becomes(client, "Devices/meter/Measured/AccountBalance", good(2500))

    bench.talk(dialogue, "olive")
    assert bench.thread.call(meter.account).at_zero.name == "DISCONNECT"


def test_a_button_is_pressed_at_a_twin(bench: Bench) -> None:
    meter = bench.twin("ami-meter", "meter")
    bench.add("meter", "ami-meter", meter, meter, meter)
    bench.start()
    bench.talk(lambda client: call(client, "Devices/meter/PressButton", "reclose"), "olive")


def test_a_real_device_has_no_faults_to_inject_unless_somebody_is_there_to_do_it(bench: Bench) -> None:
    asked: list[tuple[str, str]] = []

    def operator(device: str, what: str) -> bool:
        asked.append((device, what))
        return len(asked) == 1

    bench.add("analyzer", "yokogawa-wt310e", Scripted(), None, None)
    bench.start()

    async def refused(client: Client) -> None:
        with pytest.raises(BadNotSupported):
            await call(client, "Devices/analyzer/InjectFault", "unplugged", True)
        with pytest.raises(BadNotSupported):
            await call(client, "Devices/analyzer/PressButton", "HOLD")

    bench.talk(refused, "olive")
    assert bench.mirror is not None
    bench.thread.run(bench.mirror.stop())
    bench.start(operator=operator)

    async def asked_for(client: Client) -> None:
        await call(client, "Devices/analyzer/InjectFault", "unplugged", True)
        with pytest.raises(BadRequestNotAllowed):
            await call(client, "Devices/analyzer/PressButton", "HOLD")

    bench.talk(asked_for, "olive")
    assert asked == [("analyzer", "switch the fault 'unplugged' on"), ("analyzer", "press the button 'HOLD'")]


def test_bench_time_is_advanced_by_a_method(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        await call(client, "Devices/relay/Pulse", 4, 2.0)
        assert bench.thread.call(bench.relay.closed)[3]
        shown = node(client, "Devices/relay/Measured/Closed4")
        assert await shown.read_value(), "a command returns when its effect is shown"
        await call(client, "Bench/Clock/Advance", 3600.0)
        assert await node(client, "Bench/Clock/Now").read_value() == EPOCH + timedelta(hours=1)
        value = await shown.read_data_value()
        assert (value.Value.Value, value.SourceTimestamp) == (False, EPOCH + timedelta(hours=1))
        assert not bench.thread.call(bench.relay.closed)[3]
        for bad in (-1.0, 1e12):
            with pytest.raises(BadOutOfRange):
                await call(client, "Bench/Clock/Advance", bad)

    bench.talk(dialogue, "olive")


def test_a_client_that_hangs_up_does_not_cut_bench_time_short(bench: Bench) -> None:
    bench.with_relay().start()
    reached, gate = threading.Event(), threading.Event()
    order: list[str] = []

    def slow() -> None:
        reached.set()
        gate.wait(10)
        order.append("the slow work ended")

    async def work() -> None:
        await bench.clock.sleep(10)
        await bench.clock.io(slow)

    async def dialogue(client: Client) -> None:
        calling = asyncio.ensure_future(call(client, "Bench/Clock/Advance", 3600.0))
        assert await asyncio.to_thread(reached.wait, 20)
        client.uaclient.protocol.transport.abort()
        with pytest.raises((ConnectionError, TimeoutError, ua.UaError)):
            await asyncio.wait_for(calling, 20)

    bench.thread.call(bench.clock.spawn, work())
    with contextlib.suppress(ConnectionError, ua.UaError):  # of saying goodbye on a dead line
        bench.talk(dialogue, "olive")
    assert reached.is_set()
    next_one = asyncio.run_coroutine_threadsafe(bench.clock.advance(1), bench.thread.loop)
    next_one.add_done_callback(lambda _: order.append("time went on"))
    gate.set()
    next_one.result(10)
    assert order == ["the slow work ended", "time went on"]


def test_real_time_cannot_be_advanced(site_loop: LoopThread, certificates: dict[str, Any]) -> None:
    wall = Bench(site_loop, site_loop.call(WallClock), certificates)
    try:
        wall.with_relay().start()

        async def dialogue(client: Client) -> None:
            assert not await node(client, "Bench/Clock/Stepped").read_value()
            with pytest.raises(BadNotSupported):
                await call(client, "Bench/Clock/Advance", 1.0)
            await call(client, "Devices/relay/Close", 1)
            await becomes(client, "Devices/relay/Measured/Closed1", good(True))

        wall.talk(dialogue, "olive")
    finally:
        wall.close()


# --- Who may -------------------------------------------------------------------------------------------------------------


async def _acts(client: Client, error: type[Exception]) -> None:
    with pytest.raises(error):
        await call(client, "Devices/relay/Close", 1)
    with pytest.raises(error):
        await node(client, "Devices/relay/Measured/Closed1").write_value(True)
    with pytest.raises(BadUserAccessDenied):
        await client.nodes.objects.add_folder(2, "Folder")


@pytest.mark.parametrize("encrypted", [False, True])
def test_nobody_in_particular_may_read_and_no_more(bench: Bench, encrypted: bool) -> None:
    bench.with_relay().start()

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/relay/Measured/Closed1", good(False))
        await _acts(client, BadUserAccessDenied)

    bench.talk(dialogue, encrypted=encrypted)
    assert not any(bench.thread.call(bench.relay.closed))


def test_an_observer_may_read_and_no_more(bench: Bench) -> None:
    bench.with_relay().start(anonymous_read=False)

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/relay/Measured/Closed1", good(False))
        await _acts(client, BadUserAccessDenied)

    bench.talk(dialogue, "otto")


def test_a_user_who_does_not_encrypt_is_turned_away(bench: Bench) -> None:
    bench.with_relay().start()
    with pytest.raises(BadSecurityModeInsufficient):
        bench.talk(lambda client: client.nodes.objects.get_children(), "olive", encrypted=False)


@pytest.mark.parametrize(("user", "password"), [("olive", "wrong"), ("olive", ""), ("nobody", "olive's secret")])
def test_a_wrong_password_is_turned_away(bench: Bench, user: str, password: str) -> None:
    bench.with_relay().start()
    with pytest.raises(BadUserAccessDenied):
        bench.talk(lambda client: client.nodes.objects.get_children(), user, password=password)


def test_without_leave_nobody_reads_anonymously(bench: Bench) -> None:
    bench.with_relay().start(anonymous_read=False)
    offered = asyncio.run(Client(bench.url).connect_and_get_server_endpoints())
    assert {endpoint.SecurityMode for endpoint in offered} == {ua.MessageSecurityMode.SignAndEncrypt}
    assert {endpoint.EndpointUrl for endpoint in offered} == {bench.url}
    with pytest.raises(BadIdentityTokenRejected):
        bench.talk(lambda client: client.nodes.objects.get_children(), encrypted=True)


def test_a_client_that_uses_an_endpoint_it_was_not_offered_gets_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.with_relay().start(anonymous_read=False)
    monkeypatch.setattr(Client, "find_endpoint", staticmethod(lambda endpoints, mode, uri: endpoints[0]))
    with pytest.raises(BadIdentityTokenRejected):
        bench.talk(lambda client: client.nodes.objects.get_children(), encrypted=False)
    with pytest.raises(BadSecurityModeInsufficient):
        bench.talk(lambda client: client.nodes.objects.get_children(), "olive", encrypted=False)


def test_a_session_cannot_be_taken_over_by_guessing_its_number(bench: Bench) -> None:
    bench.with_relay().start()

    async def dialogue(owner: Client) -> None:
        async with bench.client("otto") as other:
            token = owner.uaclient.protocol.authentication_token
            assert token.NodeIdType == ua.NodeIdType.ByteString
            assert len(token.Identifier) == 32
            assert token != other.uaclient.protocol.authentication_token

    bench.talk(dialogue, "olive")


def test_the_stronger_policy_works_too(bench: Bench) -> None:
    bench.with_relay().start()

    async def run() -> bool:
        client = Client(bench.url)
        client.set_user("olive")
        client.set_password("olive's secret")
        pair = f"{bench.certificates['cert']},{bench.certificates['key']}"
        await client.set_security_string(f"Aes256Sha256RsaPss,SignAndEncrypt,{pair}")
        async with client:
            await call(client, "Devices/relay/Close", 1)
        return True

    assert asyncio.run(run())
    assert bench.thread.call(bench.relay.closed)[0]


# --- Starting and stopping ---------------------------------------------------------------------------------------------


def test_a_port_in_use_is_named_with_the_remedy(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MirrorError, match=rf"mirror.port: 127.0.0.1:{port}: .*in use; choose another port, or 0"):
            bench.start(port=port)


def test_it_can_be_stopped_and_started_again(bench: Bench) -> None:
    bench.with_relay().start()
    assert bench.mirror is not None
    bench.thread.run(bench.mirror.stop())
    bench.thread.run(bench.mirror.stop())
    assert bench.relay.changed == []
    assert len(bench.driver.commanded) == 0
    bench.start()
    assert bench.talk(lambda client: node(client, "Bench/Clock/Stepped").read_value())


def test_certificates_are_made_once_and_the_key_is_private(bench: Bench) -> None:
    bench.start()
    directory = bench.certificates["server"]
    first = (directory / "certificate.der").read_bytes()
    assert (directory / "key.pem").stat().st_mode & 0o777 == 0o600
    assert bench.mirror is not None
    bench.thread.run(bench.mirror.stop())
    bench.start()
    assert (directory / "certificate.der").read_bytes() == first


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"power": 1.0}, "no field 'power' for a deviation limit"),
        ({"power_w": -1.0}, "deviation limit of analyzer power_w"),
    ],
)
def test_a_limit_that_fits_nothing_is_refused(bench: Bench, limits: dict[str, float], words: str) -> None:
    bench.add("analyzer", "yokogawa-wt310e", Scripted(), Scripted(), None, **limits)
    with pytest.raises(MirrorError, match=words):
        bench.start()


def test_two_devices_of_one_name_are_refused(bench: Bench) -> None:
    for _ in range(2):
        bench.add("analyzer", "yokogawa-wt310e", Scripted(), None, None)
    with pytest.raises(MirrorError, match="'analyzer' stands twice"):
        bench.thread.call(Mirror, bench.clock, bench.devices, MirrorConfig())


# --- Nonsense on the wire ------------------------------------------------------------------------------------------------

_KINDS = st.sampled_from([b"HEL", b"OPN", b"MSG", b"CLO", b"ERR", b"ACK"]) | st.binary(min_size=3, max_size=3)


def _frame(kind: bytes, chunk: bytes, body: bytes, size: int | None) -> bytes:
    return kind + chunk + (len(body) + 8 if size is None else size).to_bytes(4, "little") + body


_HELLO = _frame(b"HEL", b"F", struct.pack("<5I", 0, 65536, 65536, 0, 0) + struct.pack("<I", 0xFFFFFFFF), None)
_FRAMES = st.builds(
    _frame,
    _KINDS,
    st.sampled_from([b"F", b"C", b"A", b"?"]),
    st.binary(max_size=80),
    st.none() | st.integers(0, 200) | st.just(2**32 - 1),
)


@pytest.mark.fuzz
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(tries=st.lists(st.tuples(st.booleans(), _FRAMES), min_size=5, max_size=5))
def test_nonsense_on_the_wire_ends_its_own_connection_at_most(served: Bench, tries: list[tuple[bool, bytes]]) -> None:
    """A connection for each frame, since the first that is wrong ends it; each is read to its end, so none goes unseen."""
    host, _, port = served.url.removeprefix("opc.tcp://").rpartition(":")
    for hello, frame in tries:
        with socket.create_connection((host, int(port)), timeout=5) as line, contextlib.suppress(ConnectionError):
            line.sendall((_HELLO if hello else b"") + frame)
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass


@pytest.fixture
def served(bench: Bench) -> Iterator[Bench]:
    """A bench that has to serve as before when the test is over."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    yield bench.with_relay().start()
    logging.getLogger("asyncua").setLevel(logging.NOTSET)
    bench.talk(lambda client: call(client, "Devices/relay/Close", 1), "olive")
    assert bench.thread.call(bench.relay.closed)[0]
