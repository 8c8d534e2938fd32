"""What `read()` of the power analyzer's driver costs against the same bytes through bare PyVISA, VXI-11, HiSLIP and raw socket.

The twin serves from a process of its own, so that only the host's side is compared. Rounds are interleaved.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import pyvisa
from labgrid import Target

from benchmarks.figure import Figure
from drivers.analyzers.yokogawa_wt310e import YokogawaWt310eDriver
from drivers.links import VisaLink
from twins.analyzers.yokogawa_wt310e import MODEL
from twins.clock import SteppedClock
from twins.models import LineOptions
from twins.wiring import Site

_ROUNDS = 40
_CALLS = 50


def _serve(ready: Connection) -> None:
    async def serve() -> None:
        clock = SteppedClock()
        site = Site(clock)
        options = MODEL.default_site(site)
        twin = MODEL.build(clock, site, name="analyzer", options=options)
        faces = [MODEL.faces[scheme](twin, "", LineOptions()) for scheme in ("vxi11", "hislip", "tcp")]
        ready.send([(await face.open()).address for face in faces])
        await asyncio.get_running_loop().run_in_executor(None, ready.recv)
        for face in faces:
            await face.close()

    asyncio.run(serve())


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_CALLS):
        call()
    return (time.perf_counter() - start) / _CALLS


def _compare(resource: str) -> tuple[float, float]:
    """Seconds a call: driver, bare PyVISA; medians of interleaved rounds."""
    target = Target("benchmark")
    VisaLink(target, "visa", resource=resource)
    driver = YokogawaWt310eDriver(target, "analyzer")
    target.activate(driver)
    manager = pyvisa.ResourceManager("@py")
    bare = manager.open_resource(resource, read_termination="\n", write_termination="\n")
    try:
        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(_seconds(driver.read))
            theirs.append(_seconds(lambda: bare.query(":NUM:VAL?")))
        return statistics.median(ours), statistics.median(theirs)
    finally:
        bare.close()
        target.deactivate(driver)


def run() -> list[Figure]:
    """Start a twin, compare over both links, end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        if not here.poll(20):
            raise RuntimeError("the analyzer's twin did not start within 20 s")
        vxi11, hislip, tcp = here.recv()
        figures = []
        for link, resource in (
            ("VXI-11", f"TCPIP::{vxi11.replace(':', ',')}::inst0::INSTR"),
            ("HiSLIP", f"TCPIP::{hislip.replace(':', '::hislip0,')}::INSTR"),
            ("raw socket", f"TCPIP::{tcp.replace(':', '::')}::SOCKET"),
        ):
            ours, theirs = _compare(resource)
            figures.append(Figure(f"analyzer read over {link}, of bare PyVISA", ours / theirs, "x", "<= 1.25"))
            figures.append(Figure(f"analyzer reads over {link}", 1 / ours, "1/s", ">= 500"))
        return figures
    finally:
        if process.is_alive():
            here.send("end")
        process.join(5)
        if process.is_alive():
            process.terminate()


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3f} {figure.unit} (target {figure.target})")
