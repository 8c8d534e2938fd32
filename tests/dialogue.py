"""A scripted peer for driver tests: a real pty or socket, and a dialogue of bytes to hold against the manual.

Bytes that differ from the script, and script that is left over, fail the test.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import threading
import tty
from collections.abc import Sequence
from types import TracebackType


class Dialogue:
    """Plays the device: expects each `host` byte string and then answers with `device` (may be empty: it stays silent).

    `Dialogue.serial([...])` offers `path`, `Dialogue.tcp([...])` offers `address` ("host:port"). Use as a context
    manager around the driver's calls.
    """

    def __init__(self, script: Sequence[tuple[bytes, bytes]], kind: str) -> None:
        self._script = list(script)
        self._kind = kind
        self.heard = bytearray()
        self.fault: str | None = None
        self._stop = threading.Event()
        self._played = threading.Event()  # nothing of the script is left, or it has failed
        if kind == "serial":
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            self.path = os.ttyname(self._slave)
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._play, daemon=True)

    @classmethod
    def serial(cls, script: Sequence[tuple[bytes, bytes]]) -> Dialogue:
        """A dialogue on a pty."""
        return cls(script, "serial")

    @classmethod
    def tcp(cls, script: Sequence[tuple[bytes, bytes]]) -> Dialogue:
        """A dialogue on a TCP port."""
        return cls(script, "tcp")

    def _play(self) -> None:
        try:
            self._converse()
        finally:
            self._played.set()

    def _converse(self) -> None:
        fd, connection = -1, None
        if self._kind == "serial":
            fd = self._master
        else:
            self._listener.settimeout(10)
            connection, _ = self._listener.accept()
            fd = connection.fileno()
        for host, device in self._script:
            got = bytearray()
            while len(got) < len(host) and not self._stop.is_set():
                if select.select([fd], [], [], 0.02)[0]:
                    piece = os.read(fd, len(host) - len(got))
                    if not piece:
                        break
                    got += piece
                    if not host.startswith(bytes(got)):
                        break
            self.heard += got
            if bytes(got) != host:
                self.fault = f"expected {host.hex(' ')} ({host!r}), heard {bytes(got).hex(' ')} ({bytes(got)!r})"
                break
            if device:
                os.write(fd, device)
        else:
            self._played.set()
            while not self._stop.is_set():
                if select.select([fd], [], [], 0.02)[0]:
                    more = os.read(fd, 4096)
                    if not more:
                        break
                    self.fault = f"heard more than the script: {more.hex(' ')} ({more!r})"
                    break
        self._played.set()
        if connection is not None:
            self._stop.wait(5)
            connection.close()

    def __enter__(self) -> Dialogue:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._played.wait(10)  # what is still on its way is heard before the verdict ...
        self._thread.join(0.1)  # ... and so is what comes beyond the script
        self._stop.set()
        self._thread.join(5)
        if self._kind == "serial":
            os.close(self._master)
            os.close(self._slave)
        else:
            self._listener.close()
        if error is None:
            assert self.fault is None, self.fault
