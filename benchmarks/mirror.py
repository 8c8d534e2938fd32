"""The OPC UA mirror under load while a stepped clock steps hard in the same process, watched by a subscriber in a process of its
own: 14 analyzers with 1,000 changes a second, and six devices, one of each model, with 4,000. What counts is that none is
lost, and how old a change is when the subscriber has it."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure

SECONDS = 5.0
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

    # The server's own limits are what is measured; that they differ from what was asked for is no news.
    logging.getLogger("asyncua").setLevel(logging.ERROR)
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


async def _load(
    certificates: Path, names: list[str], rate: int
) -> tuple[list[float], list[tuple[float, float]], float]:
    """Publish while the clock steps; what was sent, what came, and the start's duration. One device for each model named."""
    from twins import models
    from twins.clock import SteppedClock
    from twins.mirror.server import Mirror, MirrorConfig, MirroredDevice
    from twins.mirror.variables import TABLES
    from twins.wiring import Site

    clock = SteppedClock()
    devices = []
    items: list[tuple[str, str]] = []
    for n, name in enumerate(names):
        model, site = models.find(name), Site(clock)
        twin = model.build(clock, site, name=f"device{n}", options=model.default_site(site), seed=n)
        devices.append(MirroredDevice(twin.name, model.role, twin, twin, twin, twin.identify(), ranges=model.ranges))
        fields = (one for group in TABLES[model.role].fields() for one in group)
        items += [(twin.name, one.key) for one in fields if one.kind is float]
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
        sent: list[float] = []
        begin = time.monotonic()

        def change() -> None:
            # A millisecond of bench time is over: as many changes as real time asks for.
            while len(sent) < (time.monotonic() - begin) * rate and len(sent) < SECONDS * rate:
                device, field = items[len(sent) % len(items)]
                sent.append(time.monotonic())
                mirror.publish(device, field, sent[-1])
            clock.call_later(0.001, change)

        clock.call_later(0.0, change)
        while time.monotonic() - begin < SECONDS + 0.2:
            await clock.advance(60.0)
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
    return sent, came, start_s


def _measure(names: list[str], rate: int, what: str) -> tuple[list[Figure], float]:
    with tempfile.TemporaryDirectory() as directory:
        sent, came, start_s = asyncio.run(_load(Path(directory), names, rate))
    wanted = set(sent)
    ages = sorted((at - value) * 1000 for value, at in came if value in wanted)
    lost = len(wanted - {value for value, _ in came})
    if not ages or len(sent) < SECONDS * rate:
        raise RuntimeError(f"{what}: {len(sent)} changes were made and {len(ages)} seen; too few to judge")
    return [
        Figure(f"{what}: changes lost", lost, f"of {len(sent)}", "<= 0"),
        Figure(f"{what}: age of a change at a subscriber, p50", ages[len(ages) // 2], "ms", "< 60"),
        Figure(f"{what}: age of a change at a subscriber, p99", ages[int(len(ages) * 0.99)], "ms", "< 60"),
    ], start_s


def run() -> list[Figure]:
    """Lost changes, their age at the subscriber, and how long the mirror takes to start (nodes cached)."""
    many, start_s = _measure(["yokogawa-wt310e"] * 14, 1000, "mirror")
    six = [
        "waveshare-relay",
        "yokogawa-wt310e",
        "chroma-61604",
        "chroma-63804",
        "ami-meter",
        "raven",
    ]
    fast, _ = _measure(six, 4000, "mirror of six devices at 4,000/s")
    return [*many, Figure("mirror: start with 14 analyzers", start_s, "s", "< 1.5"), *fast]


if __name__ == "__main__":
    asyncio.run(_subscribe(sys.argv[1]))
