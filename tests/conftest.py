"""Fixtures for everybody: an event loop in a thread of its own, as on the bench."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.loop import LoopThread

__all__ = ["LoopThread", "site_loop"]


@pytest.fixture
def site_loop() -> Iterator[LoopThread]:
    """A loop thread for one test."""
    thread = LoopThread()
    yield thread
    thread.close()
