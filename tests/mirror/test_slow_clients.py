"""Clients that don't keep up: what they can make the mirror hold is bounded, what they lost is told, and the bench goes on."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.ua.ua_binary import struct_from_binary

from tests.mirror.conftest import Bench, becomes, node
from tests.mirror.test_mirror import Scripted, good
from twins.mirror import subscriptions


def busy_bench(bench: Bench) -> None:
    twin = Scripted()
    bench.add("analyzer", "yokogawa-wt310e", twin, twin, None)
    bench.start(cadence_s=3600)


def publish(bench: Bench, count: int, first: float = 1000.0) -> None:
    """As many changes of the modelled voltage, one each bench millisecond."""
    mirror = bench.mirror
    assert mirror is not None

    def one(n: int) -> None:
        mirror.publish("analyzer", "voltage_v", first + n)
        if n + 1 < count:
            bench.clock.call_later(0.001, one, n + 1)

    bench.thread.call(bench.clock.call_later, 0.0, one, 0)
    bench.thread.run(bench.clock.advance(count * 0.001))
    feed = mirror._feed
    assert feed is not None
    bench.thread.run(feed.refresh())  # behind all that was published


def held(bench: Bench) -> dict[int, int]:
    """How many notifications wait in each subscription."""
    server = bench.mirror._server  # type: ignore[union-attr]
    assert server is not None
    service = server.iserver.subscription_service

    def count() -> dict[int, int]:
        return {
            number: sum(map(len, one._triggered_datachanges.values())) for number, one in service.subscriptions.items()
        }

    return bench.thread.call(count)


class Handler:
    """Keeps what came: value and status code."""

    def __init__(self) -> None:
        self.came: list[tuple[Any, int]] = []
        self._more = asyncio.Event()

    def datachange_notification(self, node: object, value: Any, data: Any) -> None:
        self.came.append((value, data.monitored_item.Value.StatusCode.value))
        self._more.set()

    async def enough(self, count: int) -> None:
        """Wait until that many have come."""
        while len(self.came) < count:
            self._more.clear()
            await self._more.wait()


def test_a_client_that_never_asks_for_its_notifications_is_held_a_bounded_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MOST_HELD", 500)
    busy_bench(bench)

    async def dialogue(client: Client) -> None:
        protocol = client.uaclient.protocol
        assert protocol is not None
        # Asked for in so many bytes, because the library's own subscription asks for what comes at once.
        create = ua.CreateSubscriptionRequest()
        create.Parameters.RequestedPublishingInterval = 20.0
        create.Parameters.RequestedLifetimeCount = 10_000
        create.Parameters.PublishingEnabled = True
        answer = struct_from_binary(ua.CreateSubscriptionResponse, await protocol.send_request(create))
        items = ua.CreateMonitoredItemsParameters(SubscriptionId=answer.Parameters.SubscriptionId)
        for handle, name in enumerate(("Voltage", "Current", "Power", "Frequency")):
            item = ua.MonitoredItemCreateRequest(MonitoringMode=ua.MonitoringMode.Reporting)
            item.ItemToMonitor = ua.ReadValueId(
                NodeId=ua.NodeId(f"Devices/analyzer/Modelled/{name}", 2), AttributeId=ua.AttributeIds.Value
            )
            item.RequestedParameters = ua.MonitoringParameters(ClientHandle=handle, QueueSize=0)
            items.ItemsToCreate.append(item)
        assert all(result.StatusCode.is_good() for result in await client.uaclient.create_monitored_items(items))
        await asyncio.to_thread(publish, bench, 3000)
        assert list(held(bench).values()) == [500]
        # Others are served as before.
        async with Client(bench.url) as another:
            await becomes(another, "Devices/analyzer/Modelled/Voltage", good(240.0))

    bench.talk(dialogue)


def test_what_gave_way_is_told_by_the_overflow_bit(bench: Bench) -> None:
    busy_bench(bench)

    async def dialogue(client: Client) -> None:
        slow = Handler()
        subscription = await client.create_subscription(3000, slow)
        await subscription.subscribe_data_change(node(client, "Devices/analyzer/Modelled/Voltage"), queuesize=10)
        # When the mirror has just sent, all that follows is in before it does again.
        await asyncio.wait_for(slow.enough(1), 20)
        slow.came.clear()
        await asyncio.to_thread(publish, bench, 100)
        await asyncio.wait_for(slow.enough(10), 20)
        values = [value for value, _ in slow.came[:10]]
        assert values == [*(1000.0 + n for n in range(91, 100)), 240.0], "the newest are kept, in order"
        assert slow.came[0][1] == 0x480, "good, but values were lost before it"
        assert all(code == 0 for _, code in slow.came[1:10])

    bench.talk(dialogue)


def test_a_subscription_is_not_asked_for_more_often_than_the_mirror_can_bear(bench: Bench) -> None:
    busy_bench(bench)

    async def dialogue(client: Client) -> None:
        for asked, given in ((0.0, 10.0), (0.001, 10.0), (float("nan"), 10.0), (-5.0, 10.0), (250.0, 250.0)):
            parameters = ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=asked, RequestedLifetimeCount=100, RequestedMaxKeepAliveCount=10
            )
            result = await client.uaclient.create_subscription(parameters, lambda result: None)
            assert result.RevisedPublishingInterval == given

    bench.talk(dialogue)


def test_a_client_that_reads_nothing_from_its_socket_is_hung_up_on_and_the_bench_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subscriptions, "STUCK_BYTES", 200_000)
    monkeypatch.setattr(subscriptions, "STUCK_S", 1.0)
    bench.with_relay().start()
    server = bench.mirror._server  # type: ignore[union-attr]
    assert server is not None
    most = 0

    async def stuck(client: Client) -> None:
        nonlocal most
        protocol = client.uaclient.protocol
        assert protocol is not None
        transport = protocol.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport.pause_reading()
        reads = ua.ReadParameters()
        names = ua.NodeId(ua.ObjectIds.Server_NamespaceArray)
        reads.NodesToRead = [ua.ReadValueId(NodeId=names, AttributeId=ua.AttributeIds.Value)] * 500
        request = ua.ReadRequest(Parameters=reads)
        (connection,) = bench.thread.call(list, server.iserver.asyncio_transports)
        until = time.monotonic() + 15
        tasks = []
        gone = False
        while time.monotonic() < until and not gone:
            if len(tasks) < 300:
                tasks.append(asyncio.ensure_future(protocol.send_request(request, timeout=60)))
            await asyncio.sleep(0.005)
            most = max(most, bench.thread.call(connection.get_write_buffer_size))
            gone = bench.thread.call(lambda: connection not in server.iserver.asyncio_transports)
        transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gone, "nobody hung up"

    async def dialogue(client: Client) -> None:
        await becomes(client, "Devices/relay/Measured/Closed1", good(False))
        await asyncio.to_thread(bench.driver.close, 1)
        await becomes(client, "Devices/relay/Measured/Closed1", good(True))

    async def run() -> None:
        client = Client(bench.url, timeout=10, watchdog_intervall=60.0)
        await client.connect()
        await stuck(client)

    asyncio.run(run())
    assert most > 200_000, "it really was stuck"
    assert "reads nothing, hung up" in caplog.text
    bench.talk(dialogue)
