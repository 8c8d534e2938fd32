"""Passwords of the mirror's users: kept as salted scrypt hashes (RFC 7914), compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

_N, _R, _P, _LENGTH = 2**14, 8, 1, 32


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    # OpenSSL wants twice the working set of 128 * n * r bytes as its limit.
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, dklen=length, maxmem=256 * n * r + 2**20)


def hash_password(password: str) -> str:
    """Hash a password for the bench file: `scrypt$N$R$P$SALT$HASH`, salt and hash in base64. ValueError for an empty one."""
    if not password:
        raise ValueError("a password has at least one character")
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, _N, _R, _P, _LENGTH)
    return f"scrypt${_N}${_R}${_P}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _parts(stored: str) -> tuple[int, int, int, bytes, bytes]:
    kind, *rest = stored.split("$")
    if kind != "scrypt" or len(rest) != 5:
        raise ValueError("a password hash reads `scrypt$N$R$P$SALT$HASH`")
    try:
        n, r, p = (int(x) for x in rest[:3])
        salt, digest = (base64.b64decode(x, validate=True) for x in rest[3:])
    except (ValueError, binascii.Error) as no:
        raise ValueError("a password hash reads `scrypt$N$R$P$SALT$HASH`, salt and hash in base64") from no
    # Bounds keep a mistyped hash from eating the memory of the bench (a gigabyte at n * r = 2**23).
    if not (2**10 <= n <= 2**20 and n & (n - 1) == 0 and 1 <= r <= 32 and 1 <= p <= 16 and n * r <= 2**23):
        raise ValueError("a password hash has N a power of two from 1024, R and P small (16384, 8, 1 are usual)")
    if len(salt) < 8 or not 16 <= len(digest) <= 64:
        raise ValueError("a password hash has a salt of 8 bytes or more and a hash of 16 to 64")
    return n, r, p, salt, digest


def check_hash(stored: str) -> str:
    """Return a stored hash as it is; ValueError where it is none."""
    _parts(stored)
    return stored


def verify_password(password: str, stored: str) -> bool:
    """Tell whether a password is the one that was hashed. ValueError where `stored` is no hash."""
    n, r, p, salt, digest = _parts(stored)
    return hmac.compare_digest(_scrypt(password, salt, n, r, p, len(digest)), digest)
