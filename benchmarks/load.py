"""What calls of the AC load's driver cost against the same bytes through bare PyVISA, on a serial line.

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

from labgrid import Target

from benchmarks.figure import Figure
from drivers.links import VisaLink
from drivers.loads.chroma_63804 import Chroma63804Driver
from twins.clock import SteppedClock
from twins.loads.chroma_63804 import MODEL
from twins.models import LineOptions
from twins.wiring import Site

_ROUNDS = 30
_CALLS = 20
_READ = tuple(f":MEAS:{what}?" for what in ("VOLT", "CURR", "POW:REAL", "POW:APP", "POW:REAC", "POW:PFAC"))
_SET = ":SYST:SET:CFPF:MODE PF;:PFAC 1.000;:LOAD:CURR 5.000;:LOAD:MODE CURR"


def _serve(ready: Connection, path: str) -> None:
    async def serve() -> None:
        clock = SteppedClock()
        site = Site(clock)
        twin = MODEL.build(clock, site, name="load", options=MODEL.default_site(site))
        face = MODEL.faces["pty"](twin, path, LineOptions())
        ready.send((await face.open()).address)
        await asyncio.get_running_loop().run_in_executor(None, ready.recv)
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
    VisaLink(target, "visa", resource=resource, baudrate=57600)
    driver = Chroma63804Driver(target, "load")
    target.activate(driver)
    # A serial line has one owner at a time: bare PyVISA speaks through the resource that the driver opened.
    bare = driver._instrument

    def read_bare() -> list[float]:
        return [float(bare.query(question)) for question in _READ]

    def set_bare() -> None:
        assert int(bare.query(f"{_SET}\n*ESR?")) == 0

    pairs = {"read": (driver.read, read_bare), "set": (lambda: driver.set_current(5), set_bare)}
    try:
        medians = {}
        for name, (ours, theirs) in pairs.items():
            rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(_ROUNDS)]
            medians[name] = (statistics.median(a for a, _ in rounds), statistics.median(b for _, b in rounds))
        return medians
    finally:
        target.deactivate(driver)


def run() -> list[Figure]:
    """Start a twin, compare, end it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="twinbench-") as holder:
        process = context.Process(target=_serve, args=(there, str(Path(holder) / "load")), daemon=True)
        process.start()
        try:
            if not here.poll(20):
                raise RuntimeError("the load's twin did not start within 20 s")
            return [
                Figure(f"load {name} over serial line, of bare PyVISA", ours / theirs, "x", "<= 1.25")
                for name, (ours, theirs) in _compare(f"ASRL{here.recv()}::INSTR").items()
            ]
        finally:
            if process.is_alive():
                here.send("end")
            process.join(5)
            if process.is_alive():
                process.terminate()


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3f} {figure.unit} (target {figure.target})")
