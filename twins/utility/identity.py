"""A customer's credential as the utility keeps it: salted and hashed with scrypt, never itself."""

from __future__ import annotations

import hashlib
import hmac
import os

_LENGTH = 32


def hashed(credential: str, cost: int) -> str:
    """`scrypt$cost$salt$hash`; `cost` is the logarithm of scrypt's N (14 takes some 40 ms)."""
    salt = os.urandom(16)
    return f"scrypt${cost}${salt.hex()}${_scrypt(credential, salt, cost).hex()}"


def matches(credential: str, stored: str) -> bool:
    """Whether the credential is the one that was hashed."""
    _, cost, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(credential, bytes.fromhex(salt), int(cost)), bytes.fromhex(digest))


def _scrypt(credential: str, salt: bytes, cost: int) -> bytes:
    n = 2**cost
    return hashlib.scrypt(credential.encode(), salt=salt, n=n, r=8, p=1, maxmem=256 * n * 8, dklen=_LENGTH)
