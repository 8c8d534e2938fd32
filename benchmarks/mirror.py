"""The OPC UA mirror under load: 1,000 changes a second while a stepped clock steps hard in the same process, watched by a
subscriber in a process of its own. What counts is that none is lost, and how old a change is when the subscriber has it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure

DEVICES = 14
SECONDS = 5.0
RATE = 1000
PUBLISHING_MS = 10
ROOT = Path(__file__).resolve().parent.parent


async def _subscribe(url: str) -> None:
    """Subscribe to every modelled number and tell what came, and when, as soon as a line comes in."""
    from asyncua import Client, ua

    came: list[tuple[float, float]] = []

    class Handler:
        def datachange_notification(self, node: object, value: object, data: object) -> None:
            if isinstance(value, float):
                came.append((value, time.monotonic()))

    client = Client(url)
    async with client:
        index = await client.get_namespace_index("urn:twinbench:bench")
        nodes = []
        for device in await client.get_node(ua.NodeId("Devices", index)).get_children():
            modelled = await device.get_child(f"{index}:Modelled")
            nodes += await modelled.get_variables()
        subscription = await client.create_subscription(PUBLISHING_MS, Handler(), queue_maxsize=0)
        await subscription.subscribe_data_change(nodes, queuesize=1000)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(came), flush=True)


async def _load(certificates: Path) -> tuple[list[float], list[tuple[float, float]], float, float]:
    """Publish while the clock steps; what was sent, what came, bench seconds stepped, and the start's duration."""
    from twins import models
    from twins.clock import SteppedClock
    from twins.mirror.server import Mirror, MirrorConfig, MirroredDevice
    from twins.mirror.variables import TABLES
    from twins.wiring import Site

    clock = SteppedClock()
    model = models.find("yokogawa-wt310e")
    devices = []
    for n in range(DEVICES):
        site = Site(clock)
        twin = model.build(clock, site, name=f"analyzer{n}", options=model.default_site(site), seed=n)
        devices.append(MirroredDevice(twin.name, model.role, twin, twin, twin, twin.identify()))
    mirror = Mirror(clock, devices, MirrorConfig(anonymous_read=True, certificates=certificates))
    started = time.monotonic()
    url = await mirror.start()
    start_s = time.monotonic() - started
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.mirror",
        url,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1 << 26,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        line = await asyncio.wait_for(client.stdout.readline(), 20)
        if line != b"ready\n":
            raise RuntimeError(f"the subscriber did not get ready: {line!r}")
        names = (name for fields in TABLES[model.role].fields() for name in fields)
        fields = [name.key for name in names if name.kind is float]
        items = [(device.name, field) for device in devices for field in fields]
        sent: list[float] = []
        begin = time.monotonic()

        def change() -> None:
            # A millisecond of bench time is over: as many changes as real time asks for.
            while len(sent) < (time.monotonic() - begin) * RATE and len(sent) < SECONDS * RATE:
                device, field = items[len(sent) % len(items)]
                sent.append(time.monotonic())
                mirror.publish(device, field, sent[-1])
            clock.call_later(0.001, change)

        bench_start = clock.now()
        clock.call_later(0.0, change)
        while time.monotonic() - begin < SECONDS + 0.2:
            await clock.advance(60.0)
        stepped = (clock.now() - bench_start).total_seconds()
        await asyncio.sleep(0.5)
        client.stdin.write(b"\n")
        came = json.loads(await asyncio.wait_for(client.stdout.readline(), 20))
        await client.wait()
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
        await mirror.stop()
        await clock.close()
    return sent, came, stepped, start_s


def run() -> list[Figure]:
    """Lost changes, their age at the subscriber, and how long the mirror takes to start (nodes cached)."""
    with tempfile.TemporaryDirectory() as directory:
        sent, came, _, start_s = asyncio.run(_load(Path(directory)))
    wanted = set(sent)
    ages = sorted((at - value) * 1000 for value, at in came if value in wanted)
    lost = len(wanted - {value for value, _ in came})
    if not ages or len(sent) < SECONDS * RATE:
        raise RuntimeError(f"mirror benchmark: {len(sent)} changes were made and {len(ages)} seen; too few to judge")
    return [
        Figure("mirror: changes lost", lost, f"of {len(sent)}", "<= 0"),
        Figure("mirror: age of a change at a subscriber, p50", ages[len(ages) // 2], "ms", "< 60"),
        Figure("mirror: age of a change at a subscriber, p99", ages[int(len(ages) * 0.99)], "ms", "< 60"),
        Figure("mirror: start with 14 analyzers", start_s, "s", "< 1.5"),
    ]


if __name__ == "__main__":
    asyncio.run(_subscribe(sys.argv[1]))
