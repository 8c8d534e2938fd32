"""Modbus servers, TCP (MBAP) and RTU on a serial line, for any device that answers for coils and registers.

Sources: MODBUS Application Protocol Specification V1.1b3, MODBUS over Serial Line V1.02, MODBUS Messaging on TCP/IP
Implementation Guide V1.0b. The PDU and frame codecs are pymodbus's; the conversation is ours, because pymodbus's servers
answer for foreign units on a bus, name no function in their refusal of an unknown one, and drop pipelined requests.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsResponse,
    ReadDiscreteInputsResponse,
    WriteMultipleCoilsRequest,
    WriteMultipleCoilsResponse,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest, ReadDeviceInformationResponse
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from drivers.wire.modbus import (
    COIL_OFF,
    COIL_ON,
    DEVICE_FAILURE,
    GATEWAY_TARGET_SILENT,
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    CoilWrite,
)
from twins.faces.endpoints import host_port
from twins.faces.stream import HangUp, Send, SerialLine, TcpServer
from twins.models import LineOptions


class ModbusRefusal(Exception):
    """The device refuses a request with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


class ModbusDevice:
    """The device side of a Modbus server. A device overrides what it has; the rest is an illegal function.

    Addresses are those of the protocol (from 0). Methods raise `ModbusRefusal`.
    """

    @property
    def unit(self) -> int:
        """The unit address that the device answers to, 1 to 255."""
        raise NotImplementedError

    @property
    def listening(self) -> bool:
        """Whether the device hears requests at all; one that doesn't does nothing and stays silent."""
        return True

    def read_coils(self, start: int, count: int) -> Sequence[bool]:
        """Function 01."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_discrete_inputs(self, start: int, count: int) -> Sequence[bool]:
        """Function 02."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_holding(self, start: int, count: int) -> Sequence[int]:
        """Function 03."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def read_input(self, start: int, count: int) -> Sequence[int]:
        """Function 04."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_coil(self, address: int, value: int) -> None:
        """Function 05 with the value as sent; `coil_state` reads the two standard ones."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_register(self, address: int, value: int) -> None:
        """Function 06."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_coils(self, start: int, states: Sequence[bool]) -> None:
        """Function 15."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def write_registers(self, start: int, values: Sequence[int]) -> None:
        """Function 16."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)

    def identification(self) -> Mapping[int, bytes]:
        """Function 43/14: object id to value (0 vendor name, 1 product code, 2 revision, ...)."""
        raise ModbusRefusal(ILLEGAL_FUNCTION)


def coil_state(value: int) -> bool:
    """The state that a function 05 value stands for; ModbusRefusal for one the specification does not know."""
    if value not in (COIL_ON, COIL_OFF):
        raise ModbusRefusal(ILLEGAL_VALUE)
    return value == COIL_ON


_READS = frozenset((1, 2, 3, 4, 0x2B))
_SERVED = frozenset((1, 2, 3, 4, 5, 6, 15, 16, 0x2B))
_FIXED_SIZE = 5  # of the PDU: function, address, count or value
_MEI_DEVICE_IDENTIFICATION = 0x0E
_MOST_READ_BITS, _MOST_READ_REGISTERS = 2000, 125
_MOST_WRITE_BITS, _MOST_WRITE_REGISTERS = 1968, 123

_DECODER = DecodePDU(is_server=True)
_DECODER.register(CoilWrite)
_RTU = FramerRTU(_DECODER)
_MBAP = FramerSocket(_DECODER)


def answer(device: ModbusDevice, pdu: bytes) -> bytes:
    """Carry out a request and return the reply, both as PDU (function code and data)."""
    function = pdu[0]
    try:
        if function not in _SERVED:
            raise ModbusRefusal(ILLEGAL_FUNCTION)
        response = _carry_out(device, function, pdu)
        return bytes((response.function_code,)) + response.encode()
    except ModbusRefusal as no:
        return bytes((function | 0x80, no.code))


def _decode(pdu: bytes) -> ModbusPDU:
    """The request in a PDU whose size and counts are right; otherwise ModbusRefusal with an illegal value."""
    size = _FIXED_SIZE
    if pdu[0] in (15, 16):
        size = 6 + pdu[5] if len(pdu) > 5 else 6
    elif pdu[0] == 0x2B:
        size = 4
    if len(pdu) != size:
        raise ModbusRefusal(ILLEGAL_VALUE)
    try:
        cls = _DECODER.lookupPduClass(b"\0" + pdu)
        if cls is None:
            raise ModbusRefusal(ILLEGAL_FUNCTION)
        request = cls()
        request.decode(pdu[1:])
    except (ModbusException, ValueError, IndexError, struct.error):
        raise ModbusRefusal(ILLEGAL_VALUE) from None
    return request


def _counted(request: ModbusPDU, most: int, byte_count: int | None = None, bits_each: int = 1) -> None:
    if not 1 <= request.count <= most or (
        byte_count is not None and byte_count != (request.count * bits_each + 7) // 8
    ):
        raise ModbusRefusal(ILLEGAL_VALUE)
    if request.address + request.count > 0x10000:
        raise ModbusRefusal(ILLEGAL_ADDRESS)


def _carry_out(device: ModbusDevice, function: int, pdu: bytes) -> ModbusPDU:
    if function == 0x2B:
        return _identify(device, pdu)
    request = _decode(pdu)
    address, count = request.address, request.count
    if function in (1, 2):
        _counted(request, _MOST_READ_BITS)
        if function == 1:
            return ReadCoilsResponse(bits=list(device.read_coils(address, count)))
        return ReadDiscreteInputsResponse(bits=list(device.read_discrete_inputs(address, count)))
    if function in (3, 4):
        _counted(request, _MOST_READ_REGISTERS)
        if function == 3:
            return ReadHoldingRegistersResponse(registers=list(device.read_holding(address, count)))
        return ReadInputRegistersResponse(registers=list(device.read_input(address, count)))
    if isinstance(request, CoilWrite):
        device.write_coil(address, request.value)
        return request
    if isinstance(request, WriteSingleRegisterRequest):
        device.write_register(address, request.registers[0])
        return WriteSingleRegisterResponse(address=address, registers=request.registers)
    if isinstance(request, WriteMultipleCoilsRequest):
        _counted(request, _MOST_WRITE_BITS, request.byte_count)
        device.write_coils(address, request.bits)
        return WriteMultipleCoilsResponse(address=address, count=count)
    assert isinstance(request, WriteMultipleRegistersRequest)
    _counted(request, _MOST_WRITE_REGISTERS, request.byte_count, bits_each=16)
    device.write_registers(address, request.registers)
    return WriteMultipleRegistersResponse(address=address, count=count)


def _identify(device: ModbusDevice, pdu: bytes) -> ModbusPDU:
    if len(pdu) > 1 and pdu[1] != _MEI_DEVICE_IDENTIFICATION:
        raise ModbusRefusal(ILLEGAL_FUNCTION)
    objects = device.identification()
    request = cast(ReadDeviceInformationRequest, _decode(pdu))
    code, first = request.read_code, request.object_id
    if code not in (1, 2, 3, 4):
        raise ModbusRefusal(ILLEGAL_VALUE)
    if code == 4:  # one object
        if first not in objects:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return ReadDeviceInformationResponse(code, {first: objects[first]})
    # A stream: basic, regular or extended objects from `first`; one that the device lacks starts it over (6.21)
    last = {1: 0x02, 2: 0x7F, 3: 0xFF}[code]
    if first not in objects:
        first = 0
    return ReadDeviceInformationResponse(code, {k: objects[k] for k in sorted(objects) if first <= k <= last})


class MbapSession:
    """One Modbus TCP connection. Every request of a segment gets its reply, in order.

    Units 0 and 255 mean the device itself, as for any server that is no gateway; a foreign unit is refused as a gateway
    does (0x0B). A header that is not Modbus closes the connection, as there is no way to find the next one.
    """

    _HEADER = struct.Struct(">HHHB")
    _MOST = 254  # unit and PDU

    def __init__(self, send: Send, device: ModbusDevice) -> None:
        self._send = send
        self._device = device
        self._buffer = bytearray()

    def received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._HEADER.size:
            transaction, protocol, length, unit = self._HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= self._MOST:
                self._buffer.clear()
                raise HangUp(f"no Modbus header: protocol {protocol}, length {length}")
            if len(self._buffer) < 6 + length:
                break
            pdu = bytes(self._buffer[7 : 6 + length])
            del self._buffer[: 6 + length]
            if not self._device.listening:
                continue
            if unit in (0, 255, self._device.unit):
                reply = answer(self._device, pdu)
            else:
                reply = bytes((pdu[0] | 0x80, GATEWAY_TARGET_SILENT))
            self._send(_MBAP.encode(reply, unit, transaction))

    def closed(self) -> None:
        self._buffer.clear()


class RtuSession:
    """A device on a Modbus RTU bus: silent to foreign units, carries broadcasts (unit 0) out without a reply.

    A frame is taken as soon as its function code tells that it is whole and its CRC is right; whatever else has come
    together is judged at the next silence, and dropped unless it is one frame with a right CRC.
    """

    _MOST = 256  # of a frame on a serial line

    def __init__(self, send: Send, device: ModbusDevice, silence_s: float) -> None:
        self._send = send
        self._device = device
        self._silence_s = silence_s
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None

    def received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._buffer += data
        while (size := self._size_of_first()) and self._right(size):
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._take(frame)
        if self._buffer:
            del self._buffer[self._MOST + 1 :]  # one too many tells that it was no frame
            self._timer = asyncio.get_running_loop().call_later(self._silence_s, self.silence)

    def silence(self) -> None:
        """The line has been silent for the time that ends a frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        frame = bytes(self._buffer)
        self._buffer.clear()
        if _RTU.MIN_SIZE <= len(frame) <= self._MOST and self._crc_right(frame):
            self._take(frame)

    def closed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _size_of_first(self) -> int:
        """Bytes of the request at the buffer's start; 0 where it cannot be told yet, or ever."""
        head = bytes(self._buffer[:16])
        if len(head) < _RTU.MIN_SIZE or head[1] not in _SERVED:
            return 0
        cls = _DECODER.lookupPduClass(head)
        return cls.calculateRtuFrameSize(head) if cls is not None and cls.rtu_frame_size + cls.rtu_byte_count_pos else 0

    def _right(self, size: int) -> bool:
        return size <= len(self._buffer) and self._crc_right(bytes(self._buffer[:size]))

    @staticmethod
    def _crc_right(frame: bytes) -> bool:
        return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))

    def _take(self, frame: bytes) -> None:
        unit, pdu = frame[0], frame[1:-2]
        if unit not in (0, self._device.unit) or (unit == 0 and pdu[0] in _READS) or not self._device.listening:
            return
        reply = answer(self._device, pdu)
        if unit != 0:
            self._send(_RTU.encode(reply, unit, 0))


_UNPACED_SILENCE_S = (
    0.02  # longer than a scheduler's hiccup inside one frame on a pty, shorter than any host's time-out
)
_BITS_PER_CHARACTER = 11


def rtu_silence_s(paced_baud: int | None) -> float:
    """The silence that ends a frame: 3.5 characters at a line's baud rate, but no less than a pty can tell."""
    return max(_UNPACED_SILENCE_S, 3.5 * _BITS_PER_CHARACTER / paced_baud if paced_baud else 0.0)


def rtu_face(device: ModbusDevice, address: str, line: LineOptions) -> SerialLine:
    """A Modbus RTU face (`rtu:PATH`) on a pty; PATH becomes a link to it, and may be empty."""
    silence_s = rtu_silence_s(line.paced_baud)
    return SerialLine(
        lambda send: RtuSession(send, device, silence_s),
        Path(address) if address else None,
        scheme="rtu",
        paced_baud=line.paced_baud,
        disturbance=line.disturbance,
    )


def tcp_face(device: ModbusDevice, address: str, line: LineOptions) -> TcpServer:
    """A Modbus TCP face (`modbus:HOST:PORT`); empty means a free port of 127.0.0.1. ValueError for a line that is paced
    or disturbed, which TCP is not."""
    if line.paced_baud is not None or line.disturbance is not None:
        raise ValueError(f"modbus:{address}: a TCP link cannot be paced or disturbed; use an rtu line for that")
    return TcpServer(lambda send: MbapSession(send, device), *host_port(address), scheme="modbus")


__all__ = [
    "DEVICE_FAILURE",
    "ILLEGAL_ADDRESS",
    "ILLEGAL_FUNCTION",
    "ILLEGAL_VALUE",
    "MbapSession",
    "ModbusDevice",
    "ModbusRefusal",
    "RtuSession",
    "answer",
    "coil_state",
    "rtu_face",
    "rtu_silence_s",
    "tcp_face",
]
