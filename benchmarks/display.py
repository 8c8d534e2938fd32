"""What the display driver costs over bare aioraven: the same commands on ptys of the same twin in another process.

Rounds of both are interleaved and compared by their medians; aioraven runs all calls of a round in one go on its loop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from aioraven.serial import RAVEnSerialDevice
from labgrid import Target

from benchmarks.figure import Figure
from drivers.displays.raven import RavenDriver
from drivers.links import SerialLine

_ROUNDS = 40
_CALLS = 50  # in a round


def _serve(pipe: Connection) -> None:
    from twins.clock import SteppedClock
    from twins.displays.raven import MODEL
    from twins.models import LineOptions
    from twins.wiring import Site

    async def serve() -> None:
        clock = SteppedClock()
        site = Site(clock)
        display = MODEL.build(clock, site, name="display", options=MODEL.default_site(site))
        await clock.advance(30)
        faces = [MODEL.faces["pty"](display, "", LineOptions()) for _ in range(2)]
        pipe.send([(await face.open()).address for face in faces])
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        for face in faces:
            await face.close()

    asyncio.run(serve())


def _compare(ours: Callable[[], float], bare: Callable[[], float]) -> tuple[float, float]:
    """Median seconds a call of both, rounds interleaved and each first in turn."""
    ours()
    bare()
    ours_s, bare_s = [], []
    for k in range(_ROUNDS):
        for one in (ours, bare) if k % 2 else (bare, ours):
            (ours_s if one is ours else bare_s).append(one())
    return statistics.median(ours_s), statistics.median(bare_s)


def run() -> list[Figure]:
    """Figures of reading the demand and of reading the text message."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    twin = context.Process(target=_serve, args=(there,), daemon=True)
    twin.start()
    if not here.poll(20):
        twin.kill()
        raise RuntimeError("the twin's process did not come up within 20 s")
    first, second = here.recv()
    target = Target("benchmark")
    SerialLine(target, "line", port=first, baudrate=115200)
    display = RavenDriver(target, "display")
    target.activate(display)
    loop = asyncio.new_event_loop()
    bare = RAVEnSerialDevice(second, loop=loop)

    def driver_round(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        for _ in range(_CALLS):
            call()
        return (time.perf_counter() - started) / _CALLS

    def bare_round(name: str) -> float:
        async def ask() -> float:
            call = getattr(bare, name)
            started = time.perf_counter()
            for _ in range(_CALLS):
                await call()
            return (time.perf_counter() - started) / _CALLS

        return loop.run_until_complete(ask())

    try:
        loop.run_until_complete(bare.open())
        demand = _compare(lambda: driver_round(display.demand_w), lambda: bare_round("get_instantaneous_demand"))
        text = _compare(lambda: driver_round(display.message), lambda: bare_round("get_message"))
    finally:
        loop.run_until_complete(bare.close())
        loop.close()
        target.deactivate(display)
        here.send("done")
        twin.join(5)
    return [
        Figure("display: demand over bare aioraven", demand[0] / demand[1], "x", "<= 1.25"),
        Figure("display: text over bare aioraven", text[0] / text[1], "x", "<= 1.25"),
        Figure("display: reads a second over a serial line", 1 / demand[0], "1/s", "> 500"),
    ]


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} ({figure.target}, {'met' if figure.met else 'missed'})")
