"""How a device's bytes are put on a pty or a TCP port by the address that stands behind `SCHEME:`, for twins that offer both."""

from __future__ import annotations

from pathlib import Path

from drivers.wire.address import host_port as parsed
from twins.faces.stream import SerialLine, SessionFactory, TcpServer
from twins.models import LineOptions


def host_port(address: str) -> tuple[str, int]:
    """`HOST:PORT` apart; a free port of 127.0.0.1 for an empty address. ValueError for anything else."""
    if not address:
        return "127.0.0.1", 0
    return parsed(address)


def unpaced(scheme: str, line: LineOptions) -> None:
    """ValueError for a line that is paced or disturbed, which only a serial one can be."""
    if line != LineOptions():
        raise ValueError(f"{scheme}: only a serial line (pty) can be paced or disturbed")


def on_pty(session: SessionFactory, address: str, line: LineOptions) -> SerialLine:
    """A serial line; `address` is the path that becomes a link to its pty, empty for none."""
    return SerialLine(
        session, Path(address) if address else None, paced_baud=line.paced_baud, disturbance=line.disturbance
    )


def on_tcp(session: SessionFactory, address: str, line: LineOptions) -> TcpServer:
    """The same bytes on a TCP port. ValueError for a line that is paced or disturbed."""
    unpaced("tcp", line)
    return TcpServer(session, *host_port(address))
