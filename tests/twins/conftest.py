"""What the twins' tests have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import LoopThread
from tests.twins.homes import Home, Make


@pytest.fixture
def home(site_loop: LoopThread) -> Iterator[Make]:
    made: list[Home] = []

    def make(*names: str, **options: Any) -> Home:
        made.append(Home(site_loop, *names, **options))
        return made[-1]

    yield make
    for each in made:
        site_loop.run(each.clock.close())
