"""What every driver of the bench shares: a lock for its link, a way to wait, and a hook for whoever follows its commands.

The drivers are labgrid drivers; labgrid's own `Target` makes, binds and activates them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol

import attr
from labgrid.driver import Driver

from drivers.errors import LinkLost

Commanded = Callable[[str, tuple[Any, ...]], None]
Guard = Callable[[str, tuple[Any, ...]], None]
Cause = Callable[[], tuple[str, str] | None]


class Lock(Protocol):
    """What a driver asks of its lock: `threading.RLock`, or one that stands before it."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...

    def release(self) -> None: ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@attr.s(eq=False)
class DeviceDriver(Driver):
    """A labgrid driver with the bench's conventions. Synchronous; one call at a time on a link."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.lock: Lock = threading.RLock()
        """Held while the driver is at its link. A bench on a shared place lets nobody in once the place is lost."""
        self.wait: Callable[[float], None] = time.sleep
        """How the driver lets a settling or spacing time pass, in seconds. A bench on stepped time gives its own."""
        self.commanded: list[Commanded] = []
        """Called with (role method, arguments) after the device has taken a command; never for a mere read."""
        self.guards: list[Guard] = []
        """Asked with (role method, arguments) before a command goes out; OutOfRange or Refused keeps it from the device."""
        self.over: list[Commanded] = []
        """Called with (role method, arguments) when `commanding` is at its end, whatever became of the command."""
        self.causes: list[Cause] = []
        """Asked where the device does not answer: what else on the bench is the cause, and its remedy; None where nothing is."""

    def may(self, command: str, *args: Any) -> None:
        """Ask whether a command may go out. OutOfRange where it asks for too much, Refused where something stands in its way.

        Not to be asked while the driver holds its lock: the answer may have to be read from other devices.
        """
        for guard in self.guards:
            guard(command, args)

    def tell(self, command: str, *args: Any) -> None:
        """Tell those who follow this device that it has taken a command."""
        for hear in self.commanded:
            hear(command, args)

    @contextlib.contextmanager
    def commanding(self, command: str, *args: Any) -> Iterator[None]:
        """All of a command that sets something: ask, hold the lock while it goes out, tell that it was taken unless something
        was raised, and that it is over. A source's and a load's settings and resets are: what got lost may be in force."""
        try:
            self.may(command, *args)
            with self.lock:
                yield
                self.tell(command, *args)
        finally:
            for hear in self.over:
                hear(command, args)

    def silent(self, what: str, remedy: str) -> LinkLost:
        """The error of a device that does not answer: by its cause, where something else on the bench is known to be that."""
        for cause in self.causes:
            found = cause()
            if found is not None:
                what, remedy = f"{found[0]}; {what}", found[1]
                break
        return LinkLost(f"{what}; {remedy}")
