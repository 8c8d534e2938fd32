"""Modbus words that pymodbus leaves out: a coil write with its value as sent, and names for exception codes.

Source: MODBUS Application Protocol Specification V1.1b3, 6.5 (write single coil) and 7 (exception codes).
"""

from __future__ import annotations

import logging
import struct

from pymodbus.pdu import ModbusPDU

# Failures come out as exceptions of ours; pymodbus would also print them on stderr.
logging.getLogger("pymodbus").addHandler(logging.NullHandler())

ILLEGAL_FUNCTION = 0x01
ILLEGAL_ADDRESS = 0x02
ILLEGAL_VALUE = 0x03
DEVICE_FAILURE = 0x04
GATEWAY_TARGET_SILENT = 0x0B

COIL_ON = 0xFF00
COIL_OFF = 0x0000

_EXCEPTIONS = {
    ILLEGAL_FUNCTION: "illegal function",
    ILLEGAL_ADDRESS: "illegal data address",
    ILLEGAL_VALUE: "illegal data value",
    DEVICE_FAILURE: "server device failure",
    0x05: "acknowledge",
    0x06: "server device busy",
    0x08: "memory parity error",
    0x0A: "gateway path unavailable",
    GATEWAY_TARGET_SILENT: "gateway target device failed to respond",
}


def exception_name(code: int) -> str:
    """What an exception code means, in the specification's words; `exception` for one it does not define."""
    return _EXCEPTIONS.get(code, "exception")


class CoilWrite(ModbusPDU):
    """Function 05, request and reply alike, with its 16-bit value as sent.

    pymodbus's own class knows only on and off; boards give other values a meaning.
    """

    function_code = 5
    rtu_frame_size = 8

    def __init__(self, address: int = 0, value: int = COIL_OFF, dev_id: int = 0, transaction_id: int = 0) -> None:
        super().__init__(dev_id=dev_id, transaction_id=transaction_id, address=address)
        self.value = value

    def encode(self) -> bytes:
        """Address and value, big endian."""
        return struct.pack(">HH", self.address, self.value)

    def decode(self, data: bytes) -> None:
        """Take address and value; struct.error where `data` is too short."""
        self.address, self.value = struct.unpack(">HH", data[:4])
