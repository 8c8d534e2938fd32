"""How fast a fleet is simulated: meter-hours a second in one process, memory over days, and what two dask workers make of it.

One process is timed by its own processor time, which is its time on a machine with a core to spare. The engines are compared
by the clock on the wall, rounds interleaved and the best of each, since two workers have nothing to gain on a busy machine.
"""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.connection import Connection

import psutil

from bench.fleet import dask_cluster, simulate_on
from benchmarks.figure import Figure
from twins.fleet.config import FleetConfig
from twins.fleet.fleet import simulate

_METERS = 786_432  # 48 cells, dealt out in twelve chunks
_DAYS = 20
_MANY, _MONTH = 5_000_000, 30
_ROUNDS = 4
_NONE: frozenset[str] = frozenset()


def _grown(days: int, pipe: Connection) -> None:
    """Resident memory that a fleet of so many days takes, over that of the process before it."""
    process = psutil.Process()
    simulate(FleetConfig(), 1, 100, 1)
    before = process.memory_info().rss
    simulate(FleetConfig(), 1, 16_384, days)
    pipe.send(process.memory_info().rss - before)


def _memory(days: int) -> int:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_grown, args=(days, there))
    process.start()
    grown: int = here.recv() if here.poll(60) else 2**62
    process.join(5)
    return grown


def run() -> list[Figure]:
    """The fleet's figures."""
    config = FleetConfig()
    simulate(config, 1, 100, 1)
    hours = _METERS * _DAYS * 24
    cpu, alone, together = [], [], []
    with dask_cluster(2) as client:
        answers = {simulate_on(client, 2, config, 1, _METERS, 1, _NONE)}  # and the workers are warm
        for _ in range(_ROUNDS):
            started, worked = time.perf_counter(), time.process_time()
            here = simulate(config, 1, _METERS, _DAYS)
            cpu.append(time.process_time() - worked)
            alone.append(time.perf_counter() - started)
            started = time.perf_counter()
            there = simulate_on(client, 2, config, 1, _METERS, _DAYS, _NONE)
            together.append(time.perf_counter() - started)
            answers |= {here, there}
    if len(answers) != 2:
        raise RuntimeError("the engines do not agree on the answer")
    began = time.perf_counter()
    simulate(config, 1, _MANY, _MONTH)
    month_s = time.perf_counter() - began
    return [
        Figure("fleet: meter-hours a second in one process", hours / min(cpu), "1/s", ">= 100000000"),
        Figure("fleet: two dask workers over one process", min(alone) / min(together), "x", ">= 1.6"),
        Figure(f"fleet: {_MANY:,} meters for {_MONTH} days", month_s, "s", "<= 60"),
        Figure("fleet: memory that grows over 100 days", _memory(100) / 2**20, "MiB", "<= 10"),
    ]


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} ({figure.target}, {'met' if figure.met else 'missed'})")
