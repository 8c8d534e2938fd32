"""labgrid resources: the links on which devices hang. Each names one wire and nothing of the device on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attr
from labgrid.factory import target_factory
from labgrid.resource import Resource

from drivers import checks

WireLog = Callable[[str, bytes], None]
"""Called with ("tx" | "rx", bytes) for what the host sent or received."""


def holder_of(port: str) -> str:
    """Who has locked a serial port, to be put behind a message: `; python (process 4711) has it`. Empty where nobody is found.

    Drivers take a serial port for themselves alone (flock), as pyserial's `exclusive` does; `/proc/locks` names the process.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        file = Path(port).stat()
        where = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == where:
                command = Path(f"/proc/{fields[4]}/comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"; {command} (process {fields[4]}) has it"
    return ""


def claim(instrument: Any) -> None:
    """Take the serial port of an instrument opened by pyvisa-py for this process alone. SerialException where another has it."""
    instrument.visalib.sessions[instrument.session].interface.exclusive = True


@attr.s(eq=False)
class Link(Resource):
    """A wire. `wire_log`, where set, is told of every byte that crosses it."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.wire_log: WireLog | None = None


@target_factory.reg_resource
@attr.s(eq=False)
class SerialLine(Link):
    """A serial port, 8N1. `port`: device path; `baudrate`: bits a second; `timeout`: seconds to wait for an answer."""

    port: str = attr.ib(validator=attr.validators.instance_of(str))
    baudrate: int = attr.ib(default=9600, validator=checks.baud)
    timeout: float = attr.ib(default=2.0, converter=float, validator=checks.timeout)


@target_factory.reg_resource
@attr.s(eq=False)
class ModbusRtuLine(Link):
    """A Modbus RTU bus, 8N1, and the device on it.

    `device_id`: unit address 1..255 (Modbus reserves those above 247; boards have them).
    """

    port: str = attr.ib(validator=attr.validators.instance_of(str))
    device_id: int = attr.ib(default=1, validator=checks.whole(1, 255))
    baudrate: int = attr.ib(default=9600, validator=checks.baud)
    timeout: float = attr.ib(default=1.0, converter=float, validator=checks.timeout)


@target_factory.reg_resource
@attr.s(eq=False)
class ModbusTcpLink(Link):
    """A Modbus TCP server. `address`: host:port; `device_id`: unit id 0..255."""

    address: str = attr.ib(validator=attr.validators.instance_of(str))
    device_id: int = attr.ib(default=1, validator=checks.whole(0, 255))
    timeout: float = attr.ib(default=1.0, converter=float, validator=checks.timeout)


@target_factory.reg_resource
@attr.s(eq=False)
class VisaLink(Link):
    """A VISA resource, opened through pyvisa-py.

    `resource`: for example `TCPIP::192.0.2.7::INSTR`, `TCPIP::127.0.0.1,5025::inst0::INSTR` (VXI-11 without
    portmapper), `TCPIP::127.0.0.1::5025::SOCKET`, `ASRL/dev/ttyUSB0::INSTR` (then `baudrate` counts).
    """

    resource: str = attr.ib(validator=attr.validators.instance_of(str))
    baudrate: int = attr.ib(default=9600, validator=checks.baud)
    timeout: float = attr.ib(default=2.0, converter=float, validator=checks.timeout)
