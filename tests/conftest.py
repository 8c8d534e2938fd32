"""Fixtures for everybody: an event loop in a thread of its own, as on the bench."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from bench.loop import LoopThread
from tests.postgresql import PostgreSql, binaries

__all__ = ["LoopThread", "site_loop"]

BOTH = pytest.mark.parametrize("new_database", ["sqlite", "postgresql"], indirect=True)
"""Has a module's tests run on both data bases, where they go by the fixture `new_database` (a `town` does)."""


# A busy machine holds up an example, or the drawing of one, for longer than Hypothesis thinks right.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

_MOST_UNSEEN = 400_000
"""Objects that may become garbage unseen before it is collected."""
_seen = 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Leave the garbage collector no more to look through in a test than what the test makes.

    A worker of thousands of tests holds so much that a collection stops all its threads for seconds where the processors
    are busy: longer than a driver waits for the answer of its twin.
    """
    global _seen
    gc.freeze()
    if gc.get_freeze_count() > _seen + _MOST_UNSEEN:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        _seen = gc.get_freeze_count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    """A PostgreSQL for the whole run, started by the first test that wants it."""
    where = binaries()
    if where is None:
        pytest.skip("PostgreSQL is not installed; run: sudo apt-get install postgresql")
    server = PostgreSql(where)
    yield server
    server.close()


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Gives the URL of a new, empty data base each time: SQLite's in memory, or one of PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return lambda: "sqlite://"
    server: PostgreSql = request.getfixturevalue("postgresql")
    return server.database


@pytest.fixture
def site_loop() -> Iterator[LoopThread]:
    """A loop thread for one test."""
    thread = LoopThread()
    yield thread
    thread.close()
