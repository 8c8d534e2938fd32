"""Keeps the garbage collector away from benches that are up.

A full collection looks through all that a process holds and stops every thread meanwhile, twins and drivers alike: on a busy
machine for nearly as long as a driver waits for an answer. What a bench consists of stays until it comes down anyway.
"""

from __future__ import annotations

import gc
import threading

_FEW = 10_000  # objects: more than an interpreter keeps for itself

_lock = threading.Lock()
_up: set[int] = set()
_held_by_others = False


def keep_away(bench: object) -> None:
    """This bench is up: from now on nobody looks through what is there, until `let_in`."""
    global _held_by_others
    with _lock:
        if not _up:
            _held_by_others = gc.get_freeze_count() > _FEW
        _up.add(id(bench))
        gc.freeze()


def let_in(bench: object) -> None:
    """This bench is down. After the last one all may be looked through again, unless somebody had kept it away before."""
    with _lock:
        last = _up == {id(bench)}
        _up.discard(id(bench))
        if last and not _held_by_others:
            gc.unfreeze()


def kept_away() -> bool:
    """Whether a bench is up that keeps the collector away."""
    return bool(_up)


__all__ = ["keep_away", "kept_away", "let_in"]
