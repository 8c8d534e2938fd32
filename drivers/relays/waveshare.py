"""Drivers for the Waveshare 8-channel relay boards: Modbus RTU Relay on a bus, Modbus POE ETH Relay over Modbus TCP.

Facts from the maker's development protocol V2. The board answers a read of all its coils only, wants a pause between
writes, and does not know whether a contact has followed its coil.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory
from labgrid.protocol import DigitalOutputProtocol
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
)
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadHoldingRegistersResponse

from drivers.device import DeviceDriver
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import Link, ModbusRtuLine, ModbusTcpLink, holder_of
from drivers.roles import Identity
from drivers.wire import waveshare as wire
from drivers.wire.address import host_port
from drivers.wire.modbus import ILLEGAL_FUNCTION, CoilWrite, exception_name

_SPACING_S = 0.2  # between two writes; a board that is written to faster misses some
_TRIES = 2  # of what is safe to repeat
_QUIET_S = 0.05  # after the last byte of a late reply

_R = TypeVar("_R", bound=ModbusPDU)

# What pymodbus lets through when the other end closes, sends rubbish or half a frame
_BROKEN = (ModbusException, OSError, struct.error, IndexError, ValueError)


class _TcpClient(ModbusTcpClient):
    """pymodbus's client, which tells every received byte once."""

    heard: Callable[[bytes], None]

    def recv(self, size: int | None) -> bytes:
        data: bytes = super().recv(size)
        self.heard(data)
        return data


class _RtuClient(ModbusSerialClient):
    """pymodbus's client, which tells every received byte once."""

    heard: Callable[[bytes], None]

    def recv(self, size: int | None) -> bytes:
        data: bytes = super().recv(size)
        self.heard(data)
        return data


@target_factory.reg_driver
@attr.s(eq=False)
class WaveshareRelayDriver(DeviceDriver):
    """One board as the role Relay. `model`: the board's name as the asset list has it, since the board cannot tell.

    Reads and absolute settings are asked twice before the link counts as lost; a pulse is asked once, for a second one
    would prolong it.
    """

    bindings = {"link": {"ModbusRtuLine", "ModbusTcpLink"}}  # noqa: RUF012 - labgrid's way

    model: str = attr.ib(default="Modbus RTU Relay (8CH)", validator=attr.validators.instance_of(str))

    link: Link

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._client: _TcpClient | _RtuClient | None = None
        self._written_at = -_SPACING_S  # monotonic
        self._owed_until = 0.0  # monotonic; until then a late reply may come in on a serial line
        self._hold_s, self._hold_steps = 0.0, 0
        self._held: dict[int, float] = {}  # channels closed by the board's timer: monotonic moment of the last order

    def on_activate(self) -> None:
        """Make the client; the link is opened by the first call."""
        link = self.link
        if isinstance(link, ModbusTcpLink):
            try:
                host, port = host_port(link.address)
            except ValueError as no:
                raise OutOfRange(f"{self._where}: {no}") from None
            self._client = _TcpClient(host, port=port, timeout=link.timeout, retries=0, trace_packet=self._trace)
        else:
            assert isinstance(link, ModbusRtuLine)
            self._client = _RtuClient(
                link.port, baudrate=link.baudrate, timeout=link.timeout, retries=0, trace_packet=self._trace
            )
        self._client.heard = self._heard
        self._client.register(CoilWrite)

    def on_deactivate(self) -> None:
        """Close the link."""
        self._hang_up()
        self._client = None

    # --- The role -----------------------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        """Eight."""
        return wire.CHANNELS

    @Driver.check_active
    def identify(self) -> Identity:
        """Device address (there is no serial number) and software version from the board, the model from the bench file.

        Raises LinkLost, Refused.
        """
        address = self._register(wire.DEVICE_ADDRESS, "reading the device address")
        version = self._register(wire.SOFTWARE_VERSION, "reading the software version")
        return Identity("Waveshare", self.model, str(address), wire.version_text(version))

    @Driver.check_active
    def close(self, channel: int) -> None:
        """Energise the coil of `channel`, 1 to 8, for good, or after `hold` for as long as it is renewed.

        Raises OutOfRange, LinkLost, Refused.
        """
        coil = self._coil(channel)
        self.may("close", channel)
        with self.lock:
            if self._hold_s:
                self._hold(channel)
            else:
                self._write(coil, wire.ON, f"closing channel {channel}")
            self.tell("close", channel)

    @Driver.check_active
    def open(self, channel: int) -> None:
        """Release the coil of `channel`, 1 to 8. Raises OutOfRange, LinkLost, Refused."""
        coil = self._coil(channel)
        self.may("open", channel)
        with self.lock:
            self._held.pop(channel, None)
            self._write(coil, wire.OFF, f"opening channel {channel}")
            self.tell("open", channel)

    @Driver.check_active
    def pulse(self, channel: int, seconds: float) -> None:
        """Energise the coil of `channel` for 0.1 to 3276.7 s, in steps of 0.1 s, timed by the board.

        Raises OutOfRange, LinkLost (then it is not known whether the pulse was made), Refused.
        """
        address = wire.FLASH_ON + self._coil(channel)
        try:
            steps = wire.flash_steps(seconds)
        except ValueError as no:
            raise OutOfRange(f"{self._where}: {no}") from None
        self.may("pulse", channel, seconds)
        with self.lock:
            self._held.pop(channel, None)
            self._write(address, steps, f"pulsing channel {channel} for {seconds} s", tries=1)
            self.tell("pulse", channel, seconds)

    @Driver.check_active
    def open_all(self) -> None:
        """Release all coils with one command. Raises LinkLost, Refused."""
        self.may("open_all")
        with self.lock:
            self._held.clear()
            self._write(wire.ALL, wire.OFF, "opening all channels")
            self.tell("open_all")

    @Driver.check_active
    def closed(self) -> tuple[bool, ...]:
        """Read the eight coils; index 0 is channel 1. Raises LinkLost, Refused."""
        request = ReadCoilsRequest(0, address=0, count=wire.CHANNELS)
        with self.lock:
            reply = self._ask(request, ReadCoilsResponse, "reading the channels")
        if len(reply.bits) != wire.CHANNELS:
            raise LinkLost(
                f"{self._where}: {len(reply.bits)} states came for {wire.CHANNELS} channels; is it the board?"
            )
        return tuple(reply.bits)

    # --- Beyond the role ----------------------------------------------------------------------------------------------

    @Driver.check_active
    def inputs(self) -> tuple[bool, ...]:
        """Read the eight digital inputs of a sibling board that has them (Modbus RTU IO 8CH); true: its dry contact is closed.

        Raises NotSupported by a board without inputs, LinkLost, Refused.
        """
        request = ReadDiscreteInputsRequest(0, address=0, count=wire.CHANNELS)
        with self.lock:
            try:
                reply = self._ask(request, ReadDiscreteInputsResponse, "reading the inputs")
            except Refused as no:
                if no.code == ILLEGAL_FUNCTION:
                    raise NotSupported(f"{self._where}: {self.model} has no digital inputs ({no})") from None
                raise
        if len(reply.bits) != wire.CHANNELS:
            raise LinkLost(f"{self._where}: {len(reply.bits)} states came for {wire.CHANNELS} inputs; is it the board?")
        return tuple(reply.bits)

    @Driver.check_active
    def hold(self, seconds: float) -> None:
        """Have `close` hold a contact by the board's own timer from now on, `seconds` at a time: it opens by itself unless
        `renew` is called before. 0: for good, as the role has it. Raises OutOfRange."""
        try:
            steps = wire.flash_steps(seconds) if seconds else 0
        except ValueError as no:
            raise OutOfRange(f"{self._where}: {no}") from None
        with self.lock:
            self._hold_s, self._hold_steps = seconds, steps

    @Driver.check_active
    def renew(self) -> tuple[int, ...]:
        """Start the time of every contact held anew. Raises LinkLost, Refused.

        Returns the channels whose time was over before: they have opened by themselves, and are not closed again.
        """
        late = []
        for channel in sorted(self._held):
            with self.lock:
                if channel not in self._held:  # it was opened meanwhile
                    continue
                if time.monotonic() - self._held[channel] >= self._hold_s:
                    del self._held[channel]
                    late.append(channel)
                else:
                    self._hold(channel)
        return tuple(late)

    def _hold(self, channel: int) -> None:
        before = time.monotonic()
        what = f"holding channel {channel} closed for {self._hold_s:g} s"
        self._write(wire.FLASH_ON + self._coil(channel), self._hold_steps, what)
        self._held[channel] = before

    # --- The wire -----------------------------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        link = self.link
        if isinstance(link, ModbusTcpLink):
            return f"relay on modbus:{link.address} unit {link.device_id}"
        assert isinstance(link, ModbusRtuLine)
        return f"relay on rtu:{link.port} unit {link.device_id}"

    def _coil(self, channel: int) -> int:
        try:
            return wire.coil(channel)
        except ValueError as no:
            raise OutOfRange(f"{self._where}: {no}") from None

    def _register(self, address: int, what: str) -> int:
        request = ReadHoldingRegistersRequest(address=address, count=1)
        with self.lock:
            reply = self._ask(request, ReadHoldingRegistersResponse, what)
        if len(reply.registers) != 1:
            raise LinkLost(f"{self._where}: {len(reply.registers)} registers came for one, {what}; is it the board?")
        return reply.registers[0]

    def _write(self, address: int, value: int, what: str, tries: int = _TRIES) -> None:
        with self.lock:
            early = self._written_at + _SPACING_S - time.monotonic()
            if early > 0:
                self.wait(early)
            try:
                reply = self._ask(CoilWrite(address, value), CoilWrite, what, tries)
            finally:
                self._written_at = time.monotonic()
            if (reply.address, reply.value) != (address, value):
                self._after_failure()
                raise LinkLost(
                    f"{self._where}: echo 0x{reply.address:04X} 0x{reply.value:04X} for 0x{address:04X} 0x{value:04X}, "
                    f"{what}; is it the board, and the only one with its address?"
                )

    def _ask(self, request: ModbusPDU, expected: type[_R], what: str, tries: int = _TRIES) -> _R:
        """One exchange, repeated while the link fails, at most `tries` times in all."""
        client = self._client
        assert client is not None
        link: Any = self.link
        request.dev_id = link.device_id
        for left in reversed(range(tries)):
            try:
                self._clear_line(client)
                if not client.connect():
                    raise LinkLost(f"{self._where}: the link cannot be opened, {what}; check that {self._remedy}")
                reply = client.execute(False, request)
                break
            except _BROKEN as failure:
                hung_up = isinstance(failure, (ConnectionException, OSError))
                self._after_failure(hung_up)
                if not left:
                    how = "the other end hung up" if hung_up else f"no answer within {link.timeout} s"
                    raise LinkLost(
                        f"{self._where}: {how}, {what}; check power, wiring, baud rate and unit address"
                    ) from failure
        if isinstance(reply, ExceptionResponse):
            code = reply.exception_code
            raise Refused(f"{self._where}: exception {code} ({exception_name(code)}), {what}", code)
        if not isinstance(reply, expected):
            self._after_failure()
            raise LinkLost(f"{self._where}: function {reply.function_code} came back, {what}; is it the board?")
        return reply

    @property
    def _remedy(self) -> str:
        if isinstance(self.link, ModbusTcpLink):
            return "the board has power, is on the network, and has this address"
        return f"the port exists and no other program holds it{holder_of(self.link.port)}"

    def _clear_line(self, client: _TcpClient | _RtuClient) -> None:
        """See to it that nothing of an earlier exchange is taken for the next reply."""
        if isinstance(client, _TcpClient):
            # Readable while nothing is asked: the board has hung up in the meantime, or sent what nobody asked for.
            if client.socket is not None and select.select([client.socket], [], [], 0)[0]:
                self._hang_up()
            return
        port = client.socket
        if port is None:
            return
        # RTU replies carry no number: after a time-out, wait until the late one is in, or too late to come.
        while True:
            left = self._owed_until - time.monotonic()
            if not select.select([port.fileno()], [], [], max(0.0, left))[0]:
                return
            late = port.read(port.in_waiting)
            if not late:
                raise OSError("the line reads as ended")
            self._heard(late)
            self._owed_until = min(self._owed_until, time.monotonic() + _QUIET_S)

    def _after_failure(self, hung_up: bool = False) -> None:
        if hung_up or isinstance(self._client, _TcpClient):
            self._hang_up()  # a late reply on TCP dies with its connection
        link: Any = self.link
        self._owed_until = time.monotonic() + link.timeout

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if sending and self.link.wire_log is not None:
            self.link.wire_log("tx", data)
        return data

    def _heard(self, data: bytes) -> None:
        if data and self.link.wire_log is not None:
            self.link.wire_log("rx", data)


@target_factory.reg_driver
@attr.s(eq=False)
class RelayChannelDriver(Driver, DigitalOutputProtocol):
    """One channel of a board as labgrid's digital output. `channel`: 1 to 8; `invert`: true where closed means off."""

    bindings = {"board": "WaveshareRelayDriver"}  # noqa: RUF012 - labgrid's way

    channel: int = attr.ib(
        validator=attr.validators.and_(
            attr.validators.instance_of(int), attr.validators.ge(1), attr.validators.le(wire.CHANNELS)
        )
    )
    invert: bool = attr.ib(default=False, validator=attr.validators.instance_of(bool))

    board: WaveshareRelayDriver

    @Driver.check_active
    def set(self, status: bool) -> None:
        """Close the contact for true, open it for false; the other way round where inverted."""
        if bool(status) != self.invert:
            self.board.close(self.channel)
        else:
            self.board.open(self.channel)

    @Driver.check_active
    def get(self) -> bool:
        """Tell whether the output is on, as the board reports it."""
        return bool(self.board.closed()[self.channel - 1]) != self.invert
