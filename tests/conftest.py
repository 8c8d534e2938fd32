"""Fixtures for everybody: an event loop in a thread of its own, as on the bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bench.loop import LoopThread
from tests.postgresql import PostgreSql, binaries

__all__ = ["LoopThread", "site_loop"]

BOTH = pytest.mark.parametrize("new_database", ["sqlite", "postgresql"], indirect=True)
"""Has a module's tests run on both data bases, where they go by the fixture `new_database` (a `town` does)."""


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
