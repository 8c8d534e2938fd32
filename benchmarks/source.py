"""What calls of the AC source's driver cost against the same bytes through bare PyVISA, on a serial line and a raw socket.

The twin serves from a process of its own, so that only the host's side is compared. Rounds are interleaved.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pyvisa
from labgrid import Target

from benchmarks.figure import Figure
from drivers.links import VisaLink
from drivers.sources.chroma_61604 import Chroma61604Driver
from twins.clock import SteppedClock
from twins.models import LineOptions
from twins.sources.chroma_61604 import MODEL
from twins.wiring import Site

_ROUNDS = 30
_CALLS = 20
_READ = (":MEAS:VOLT:ACDC?", ":FETC:CURR:AC?", ":FETC:POW:AC?", ":FETC:FREQ?")
_SET = ":SOUR:VOLT:AC 240.0;:SOUR:VOLT:RANG HIGH;:SOUR:FREQ 60.00"


def _serve(ready: Connection, path: str) -> None:
    async def serve() -> None:
        clock = SteppedClock()
        site = Site(clock)
        twin = MODEL.build(clock, site, name="source", options=MODEL.default_site(site))
        faces = [MODEL.faces[scheme](twin, address, LineOptions()) for scheme, address in (("pty", path), ("tcp", ""))]
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


def _compare(resource: str) -> dict[str, tuple[float, float]]:
    """Seconds a call by what is called: driver, bare PyVISA; medians of interleaved rounds."""
    target = Target("benchmark")
    VisaLink(target, "visa", resource=resource)
    driver = Chroma61604Driver(target, "source")
    target.activate(driver)
    manager = pyvisa.ResourceManager("@py")
    # A serial line has one owner at a time: bare PyVISA speaks through the resource that the driver opened.
    bare = (
        driver._instrument
        if resource.startswith("ASRL")
        else manager.open_resource(resource, read_termination="\n", write_termination="\n")
    )

    def read_bare() -> list[float]:
        return [float(bare.query(question)) for question in _READ]

    def set_bare() -> None:
        assert bare.query(f"{_SET}\nSYST:ERR?").startswith("0,")

    pairs = {"read": (driver.read, read_bare), "set": (lambda: driver.set_output(240, 60), set_bare)}
    try:
        medians = {}
        for name, (ours, theirs) in pairs.items():
            rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(_ROUNDS)]
            medians[name] = (statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds))
        return medians
    finally:
        if bare is not driver._instrument:
            bare.close()
        target.deactivate(driver)


def run() -> list[Figure]:
    """Start a twin, compare over both links, end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="twinbench-") as holder:
        process = context.Process(target=_serve, args=(there, str(Path(holder) / "source")), daemon=True)
        process.start()
        try:
            if not here.poll(20):
                raise RuntimeError("the source's twin did not start within 20 s")
            pty, tcp = here.recv()
            figures = []
            for link, resource in (
                ("serial line", f"ASRL{pty}::INSTR"),
                ("raw socket", f"TCPIP::{tcp.replace(':', '::')}::SOCKET"),
            ):
                for name, (ours, theirs) in _compare(resource).items():
                    figures.append(Figure(f"source {name} over {link}, of bare PyVISA", ours / theirs, "x", "<= 1.25"))
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
