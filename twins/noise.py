"""Noise and metrology error of instruments: a pure function of (seed, device, quantity, bench time).

No generator state, so that an outside reader never changes what the next one sees, and a run is the same for its seed.
"""

import hashlib
import math
from datetime import UTC, datetime

_START = datetime(2000, 1, 1, tzinfo=UTC)


def _uniforms(seed: int, device: str, quantity: str, at: datetime | None) -> tuple[float, float]:
    when = -1 if at is None else (at - _START) // (datetime.resolution)
    digest = hashlib.blake2b(f"{seed}|{device}|{quantity}|{when}".encode(), digest_size=16).digest()
    # (0, 1): the half keeps both ends out, where the normal transform has no value
    return tuple((int.from_bytes(digest[k : k + 8], "big") + 0.5) / 2**64 for k in (0, 8))  # type: ignore[return-value]


def normal(seed: int, device: str, quantity: str, at: datetime | None = None) -> float:
    """A standard normal deviate. Without `at` it is constant over time: a unit's own gain error, say."""
    u, v = _uniforms(seed, device, quantity, at)
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


def bounded(seed: int, device: str, quantity: str, at: datetime | None = None) -> float:
    """A deviate in (-1, 1), uniform: for an error that a class limit bounds."""
    return 2.0 * _uniforms(seed, device, quantity, at)[0] - 1.0
