"""What the relay driver costs over bare pymodbus: the same bytes over Modbus TCP to the same twin in another process.

Rounds of both are interleaved and compared by their medians. The board's own pause between writes is no cost of the
driver, so it passes at once here, as on stepped time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from labgrid import Target
from pymodbus.client import ModbusTcpClient

from benchmarks.figure import Figure
from drivers.links import ModbusTcpLink
from drivers.relays.waveshare import WaveshareRelayDriver

_ROUNDS = 40
_CALLS = 50  # in a round


def _serve(pipe: Connection) -> None:
    from twins.clock import SteppedClock
    from twins.models import LineOptions
    from twins.relays.waveshare import MODEL
    from twins.wiring import Site

    async def serve() -> None:
        clock = SteppedClock()
        site = Site(clock)
        board = MODEL.build(clock, site, name="relay", options=MODEL.default_site(site))
        face = MODEL.faces["modbus"](board, "", LineOptions())
        pipe.send((await face.open()).address)
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await face.close()

    asyncio.run(serve())


def _round(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter() - started) / _CALLS


def _compare(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float]:
    """Median seconds a call of both, rounds interleaved and each first in turn."""
    _round(ours)
    _round(bare)
    ours_s, bare_s = [], []
    for k in range(_ROUNDS):
        if k % 2:
            ours_s.append(_round(ours))
            bare_s.append(_round(bare))
        else:
            bare_s.append(_round(bare))
            ours_s.append(_round(ours))
    return statistics.median(ours_s), statistics.median(bare_s)


def run() -> list[Figure]:
    """Figures of a read and of a write."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    twin = context.Process(target=_serve, args=(there,), daemon=True)
    twin.start()
    if not here.poll(20):
        twin.kill()
        raise RuntimeError("the twin's process did not come up within 20 s")
    address: str = here.recv()
    target = Target("benchmark")
    ModbusTcpLink(target, "link", address=address)
    relay = WaveshareRelayDriver(target, "relay")
    relay.wait = lambda seconds: None
    target.activate(relay)
    host, port = address.split(":")
    bare = ModbusTcpClient(host, port=int(port), timeout=1.0, retries=0)
    try:
        read, bare_read = _compare(relay.closed, lambda: bare.read_coils(0, count=8, device_id=1))
        write, bare_write = _compare(lambda: relay.close(1), lambda: bare.write_coil(0, True, device_id=1))
    finally:
        bare.close()
        target.deactivate(relay)
        here.send("done")
        twin.join(5)
    return [
        Figure("relay: read over bare pymodbus", read / bare_read, "x", "<= 1.25"),
        Figure("relay: write over bare pymodbus", write / bare_write, "x", "<= 1.25"),
        Figure("relay: reads a second over Modbus TCP", 1 / read, "1/s", "> 1000"),
    ]


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} ({figure.target}, {'met' if figure.met else 'missed'})")
