"""Hides a C12.18 password from the log of its line, however many packets it is cut into, and however these come in.

Facts: the packets of drivers/wire/c1218.py; the password follows the code of the service Security.
"""

from __future__ import annotations

from drivers.wire.c1218 import LARGEST_PACKET, STP

_MULTI, _FIRST = 0x80, 0x40
_HEADER = 6
_CRC = 2


class PasswordMask:
    """One direction of a line while the message Security crosses it.

    Everything that a packet carries is hidden but the first byte of its message: the code of the service, or the result of
    the answer. The CRC is hidden with it: a password could be guessed by it.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._to_come = 0  # bytes of data and CRC of the packet under way
        self._shown = False  # whether the next byte is the first of its message, and shows

    def hide(self, data: bytes) -> bytes:
        """The next bytes of the direction, in pieces of any size, as a log may have them."""
        out = bytearray(data)
        for at, byte in enumerate(data):
            if self._to_come:
                self._to_come -= 1
                if not self._shown:
                    out[at] = ord("*")
                self._shown = False
            elif self._header or byte == STP:
                self._header.append(byte)
                if len(self._header) == _HEADER:
                    self._begin(bytes(self._header))
                    self._header.clear()
        return bytes(out)

    def _begin(self, header: bytes) -> None:
        length = header[4] << 8 | header[5]
        starts = not header[2] & _MULTI or bool(header[2] & _FIRST)
        if length > LARGEST_PACKET or (starts and length <= 1):
            return  # noise, or a packet without anything secret
        self._to_come = length + _CRC
        self._shown = starts
