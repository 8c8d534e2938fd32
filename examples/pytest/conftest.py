"""The bench as the lab's tests want it: provisioned before the first, off after the last, whatever happened in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def bench(target: Any, strategy: Any) -> Iterator[Any]:
    """labgrid's target, energised and provisioned. `target` and `strategy` are fixtures of labgrid's plugin."""
    try:
        strategy.transition("provisioned")
        yield target
    finally:
        strategy.transition("off")
