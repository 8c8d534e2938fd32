"""SCPI instruments on a byte stream (serial line, raw socket), and the message exchange that all their faces share.

Facts: IEEE 488.2-1992 clause 6 (message exchange control: one message at a time, one response, device clear).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Protocol

from twins.clock import Clock, Timer
from twins.faces.stream import Send

Execution = Generator[float, None, bytes | None]
"""The execution of one program message. It yields the bench seconds for which it holds (a wait for an event), and
returns the response message without terminator, None where there is none."""


class Instrument(Protocol):
    """A device that executes program messages."""

    clock: Clock

    def execute(self, message: bytes) -> Execution:
        """Execute one program message, given without its terminator."""
        ...

    def report(self, code: int) -> None:
        """Put an error of the message exchange (SCPI's number without sign) into the device's error queue."""
        ...

    def status_byte(self, message_available: bool) -> int:
        """The status byte, with MAV as given."""
        ...

    def trigger(self) -> None:
        """Take a group execute trigger."""
        ...

    def remote(self, on: bool) -> None:
        """Go to remote or local control."""
        ...


class Exchange:
    """The message exchange of one interface with an instrument: input buffer, one message at a time, one way out.

    `respond` gets each response message with its terminator. Messages that come while one holds wait for their turn;
    `finished`, where given, is called when the last of them is done.
    """

    def __init__(
        self,
        instrument: Instrument,
        respond: Callable[[bytes], None],
        limit: int = 16384,
        finished: Callable[[], None] | None = None,
    ) -> None:
        self._instrument = instrument
        self._respond = respond
        self._limit = limit
        self._finished = finished
        self._input = bytearray()
        self._overrun = False
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._running: Execution | None = None
        self._timer: Timer | None = None

    @property
    def busy(self) -> bool:
        """Whether a message is being executed."""
        return self._running is not None

    def write(self, data: bytes, end: bool = False) -> None:
        """Take bytes of program messages. NL ends one, and so does `end` (the END message of the bus)."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._take(piece)
            self._message()
        self._take(rest)
        if end:
            self._message()

    def clear(self) -> None:
        """Device clear: forget input and what is being executed."""
        self._input.clear()
        self._overrun = False
        self._waiting.clear()
        self._held = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None:
            self._running.close()
            self._running = None

    def _take(self, piece: bytes) -> None:
        if self._held + len(self._input) + len(piece) > self._limit:
            self._overrun = True
            self._input.clear()
        if not self._overrun:
            self._input += piece

    def _message(self) -> None:
        if self._overrun:
            self._overrun = False
            self._instrument.report(363)
            return
        message = bytes(self._input)
        self._input.clear()
        if not message.strip():
            return
        if self._running is not None:
            self._waiting.append(message)
            self._held += len(message)
            return
        self._running = self._instrument.execute(message)
        self._go_on()

    def _resume(self) -> None:
        self._go_on()
        if self._running is None and self._finished is not None:
            self._finished()

    def _go_on(self) -> None:
        self._timer = None
        while self._running is not None:
            try:
                hold = next(self._running)
            except StopIteration as end:
                self._running = None
                if end.value is not None:
                    self._respond(end.value + b"\n")
            else:
                self._timer = self._instrument.clock.call_later(hold, self._resume)
                return
            if self._waiting and self._running is None:
                message = self._waiting.popleft()
                self._held -= len(message)
                self._running = self._instrument.execute(message)


class ScpiSession:
    """A `Session` of byte streams: NL ends a program message and a response message."""

    def __init__(self, instrument: Instrument, send: Send, limit: int = 16384) -> None:
        self._exchange = Exchange(instrument, send, limit)

    def received(self, data: bytes) -> None:
        """Take bytes as they came in."""
        self._exchange.write(data)

    def closed(self) -> None:
        """Forget what was under way: a new connection starts anew."""
        self._exchange.clear()
