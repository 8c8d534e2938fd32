"""HOST:PORT as people write it: a name, an IPv4 address, or an IPv6 address in brackets (RFC 3986), and a port."""

from __future__ import annotations

import ipaddress

LARGEST_PORT = 65_535


def host_port(text: str) -> tuple[str, int]:
    """Host (an IPv6 address without its brackets) and port. ValueError, with the remedy, where it is no HOST:PORT."""
    host, _, digits = text.rpartition(":")
    if not host or not digits.isdecimal() or not digits.isascii() or any(c.isspace() for c in host):
        raise ValueError(f"{text!r} is no HOST:PORT; write it like 127.0.0.1:1502 or [::1]:1502")
    if int(digits) > LARGEST_PORT:
        raise ValueError(f"{text[:60]!r} is no HOST:PORT: ports go up to {LARGEST_PORT}")
    if ":" not in host and not host.startswith("["):
        return host, int(digits)
    inside = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    try:
        ipaddress.IPv6Address(inside)
    except ValueError:
        raise ValueError(f"{text!r} is no HOST:PORT; an IPv6 address stands in brackets, like [::1]:1502") from None
    return inside, int(digits)


def joined(host: str, port: int) -> str:
    """Host and port as `host_port` reads them: an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
