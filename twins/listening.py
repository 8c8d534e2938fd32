"""Why something cannot listen (a face, the mirror, a website), in words, with the remedy that fits."""

from __future__ import annotations

import errno
import os
import socket

from drivers.wire.address import joined

_LOCAL = "such as 127.0.0.1 or [::1]"


def why_not(no: OSError) -> str:
    """What is wrong and what helps: `address already in use; choose another port, or 0 for a free one`."""
    if isinstance(no, socket.gaierror):
        return f"no such host ({no.strerror}); give a name or an address of this machine, {_LOCAL}"
    what = os.strerror(no.errno).lower() if no.errno else str(no)
    if no.errno == errno.EADDRINUSE:
        return f"{what}; choose another port, or 0 for a free one"
    if no.errno == errno.EACCES:
        return f"{what}; choose a port of 1024 or more, or 0 for a free one"
    if no.errno == errno.EADDRNOTAVAIL:
        return f"{what}: it is none of this machine's; choose one that is, {_LOCAL}"
    if no.errno in (errno.EMFILE, errno.ENFILE):
        return f"{what}; raise the limit with `ulimit -n`, or let fewer listen"
    return f"{what}; choose another address of this machine, {_LOCAL}"


def not_served(host: str, port: int, no: OSError) -> str:
    """Where nobody can listen, and why: `127.0.0.1:502: permission denied; choose a port of 1024 or more, ...`."""
    return f"{joined(host, port)}: {why_not(no)}"


def cannot_serve(scheme: str, host: str, port: int, no: OSError) -> OSError:
    """The error of a face that cannot be opened: `SCHEME:HOST:PORT: what is wrong; what helps`."""
    return OSError(f"{scheme}:{not_served(host, port, no)}")
