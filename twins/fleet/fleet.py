"""A fleet as a row of cells: which there are, how they are dealt out in chunks, and what a chunk of them comes to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from twins.fleet.cell import CELL, Workspace, simulate_cell
from twins.fleet.config import FleetConfig
from twins.fleet.tally import Tally

_kept = threading.local()


def _workspace() -> Workspace:
    """This thread's buffers, made once."""
    if not hasattr(_kept, "space"):
        _kept.space = Workspace()
    space: Workspace = _kept.space
    return space


def cells_of(meters: int) -> int:
    """How many cells a fleet has; the last may be a part of one."""
    return -(-meters // CELL)


def chunks(meters: int, cells: int) -> Iterator[range]:
    """The cells of a fleet in chunks of `cells`."""
    total = cells_of(meters)
    for first in range(0, total, cells):
        yield range(first, min(first + cells, total))


def simulate(
    config: FleetConfig,
    seed: int,
    meters: int,
    days: int,
    *,
    defects: frozenset[str] = frozenset(),
    cells: range | None = None,
    done: Callable[[int], None] | None = None,
) -> Tally:
    """Simulate these cells of a fleet (all by default) one after the other; `done` is told of meters as they are done.

    Memory is that of one cell, whatever `meters` and `days` are.
    """
    space = _workspace()
    total: Tally | None = None
    for cell in range(cells_of(meters)) if cells is None else cells:
        size = min(CELL, meters - cell * CELL)
        tally = simulate_cell(config, seed, cell, size, days, defects, space)
        total = tally if total is None else total + tally
        if done is not None:
            done(size)
    if total is None:
        raise ValueError(f"no cells of a fleet of {meters} meters were asked for")
    return total
