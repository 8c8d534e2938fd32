"""Keeps the garbage collector away from benches that are up.

A full collection looks through all that a process holds and stops every thread meanwhile, twins and drivers alike: on a busy
machine for nearly as long as a driver waits for an answer. What a bench consists of stays until it comes down anyway.
"""

from __future__ import annotations

import gc
import threading

_FEW = 10_000  # objects: more than an interpreter keeps for itself

_lock = threading.Lock()
_benches = 0
_held_by_others = False


def keep_away() -> None:
    """From now on nobody looks through what is there. To be taken back once by `let_in`."""
    global _benches, _held_by_others
    with _lock:
        if _benches == 0:
            _held_by_others = gc.get_freeze_count() > _FEW
        _benches += 1
        gc.freeze()


def let_in() -> None:
    """One bench less. After the last one all may be looked through again, unless somebody had kept it away before."""
    global _benches
    with _lock:
        _benches -= 1
        if _benches == 0 and not _held_by_others:
            gc.unfreeze()


__all__ = ["keep_away", "let_in"]
