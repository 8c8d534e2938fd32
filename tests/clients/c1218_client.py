"""A C12.18 host of its own, for trying a meter from outside: pyserial, a CRC from a library, and the published frames.

    python tests/clients/c1218_client.py PORT [PASSWORD]

reads tables 1, 3 and 5, closes the service switch by procedure 21, and prints what it found as one line of JSON.
"""

from __future__ import annotations

import json
import sys

import crcmod.predefined
import serial

crc_x25 = crcmod.predefined.mkCrcFun("x-25")
ACK, NAK = b"\x06", b"\x15"


def packet(data: bytes, control: int = 0, sequence: int = 0) -> bytes:
    """Layer 2 around some data."""
    head = bytes([0xEE, 0x00, control, sequence, len(data) >> 8, len(data) & 0xFF]) + data
    crc = crc_x25(head)
    return head + bytes([crc & 0xFF, crc >> 8])


def checksum(data: bytes) -> int:
    """Makes data and itself add up to zero."""
    return ((sum(data) & 0xFF) - 1 ^ 0xFF) & 0xFF


class Host:
    """One end of the line, packet by packet."""

    def __init__(self, port: str, timeout: float = 3.0) -> None:
        self.line = serial.serial_for_url(port, 9600, timeout=timeout)
        self.control = 0

    def close(self) -> None:
        """Leave the line."""
        self.line.close()

    def exactly(self, count: int) -> bytes:
        """So many bytes, or TimeoutError."""
        data: bytes = self.line.read(count)
        if len(data) != count:
            raise TimeoutError(f"wanted {count} bytes, got {data.hex(' ')}")
        return data

    def packet_in(self) -> tuple[int, int, bytes]:
        """The next packet: control, sequence, data."""
        head = self.exactly(6)
        assert head[0] == 0xEE, f"no packet begins with {head.hex(' ')}"
        rest = self.exactly((head[4] << 8 | head[5]) + 2)
        assert crc_x25(head + rest[:-2]) == rest[-2] | rest[-1] << 8, "the meter's CRC is wrong"
        return head[2], head[3], rest[:-2]

    def put(self, data: bytes, control: int = 0, sequence: int = 0) -> bytes:
        """Send a packet with the next toggle, wait for its ACK, and return what was sent."""
        frame = packet(data, control | self.control, sequence)
        self.control ^= 0x20
        self.line.write(frame)
        assert self.exactly(1) == ACK, "the meter does not acknowledge"
        return frame

    def answer(self) -> bytes:
        """A whole answer, every packet of it acknowledged."""
        message = b""
        while True:
            _, sequence, data = self.packet_in()
            self.line.write(ACK)
            message += data
            if sequence == 0:
                return message

    def ask(self, request: bytes) -> bytes:
        """One request, one answer."""
        self.put(request)
        return self.answer()

    def open(self, password: str | None = "utility", size: int = 0, packets: int = 1) -> None:
        """Identification, negotiation where a size is wanted, logon, security."""
        assert self.ask(b"\x20")[0] == 0
        if size:
            assert self.ask(b"\x61" + size.to_bytes(2, "big") + bytes([packets, 6]))[0] == 0
        assert self.ask(b"\x50\x00\x02" + b"outsider".ljust(10)) == b"\x00"
        if password is not None:
            assert self.ask(b"\x51" + password.encode().ljust(20, b"\x00")) == b"\x00", "wrong password"

    def read(self, table: int) -> bytes:
        """A whole table."""
        answer = self.ask(b"\x30" + table.to_bytes(2, "big"))
        assert answer[0] == 0, f"table {table}: result {answer[0]}"
        count, data = answer[1] << 8 | answer[2], answer[3:-1]
        assert len(data) == count
        assert checksum(data) == answer[-1], "the table's checksum is wrong"
        return data

    def write(self, table: int, data: bytes) -> int:
        """A whole table; returns the result code."""
        return self.ask(
            b"\x40" + table.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data + bytes([checksum(data)])
        )[0]

    def procedure(self, number: int, sequence: int, parameters: bytes) -> bytes:
        """Write table 7, read table 8."""
        assert self.write(7, number.to_bytes(2, "little") + bytes([sequence]) + parameters) == 0
        return self.read(8)


def main(port: str, password: str = "utility") -> None:
    """The tour."""
    host = Host(port)
    host.open(password)
    maker = host.read(1)
    found = {
        "manufacturer": maker[:4].decode().strip(),
        "model": maker[4:12].decode().strip(),
        "serial": maker[16:32].decode().strip(),
        "mode": host.read(3)[0],
        "id": host.read(5).decode().strip(),
        "response": host.procedure(21, 7, b"\x01").hex(),
        "logoff": host.ask(b"\x52")[0],
        "terminate": host.ask(b"\x21")[0],
    }
    host.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
