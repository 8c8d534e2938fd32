"""Ports for servers that come up later."""

from __future__ import annotations

import contextlib
import random
import socket

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens at, out of the range from which the system takes those of clients: it is used minutes later.
    None is given twice."""
    while True:
        port = random.choice([p for p in range(20_000, 32_000) if p not in _given])
        _given.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
