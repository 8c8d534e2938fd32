"""A dead man's hold: contacts stay closed only while the bench lives, because the relay board itself times them.

A thread renews what the board holds. Where it is gone (killed, hung, its line cut) the board opens the contacts by itself.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from drivers.errors import DeviceError

RENEWALS = 3
"""How often a contact's time is renewed within it: two in a row may fail."""

_log = logging.getLogger("twinbench")


class HoldingRelay(Protocol):
    """What a relay's driver has to offer."""

    def hold(self, seconds: float) -> None:
        """Close contacts for `seconds` at a time from now on; 0: for good."""
        ...

    def renew(self) -> tuple[int, ...]:
        """Start the time of every contact held anew; returns the channels that have opened by themselves before."""
        ...


class Hold:
    """Holds a board's contacts `seconds` at a time until `stop()`. `lost` says that they have opened by themselves."""

    def __init__(self, name: str, relay: HoldingRelay, seconds: float) -> None:
        """From now on the relay's contacts are closed by its own timer. OutOfRange where it cannot time that."""
        self.lost: str | None = None
        self._name = name
        self._relay = relay
        self._seconds = seconds
        relay.hold(seconds)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"hold of {name}")
        self._thread.start()

    def stop(self) -> None:
        """Renew no longer. What is still closed opens when its time is over."""
        self._stopped.set()
        self._thread.join(self._seconds)

    def _run(self) -> None:
        why = "this process did not run"
        while not self._stopped.wait(self._seconds / RENEWALS):
            try:
                late = self._relay.renew()
            except DeviceError as no:
                why = str(no)
                _log.warning("%s: its contacts cannot be held: %s", self._name, no)
                continue
            if late:
                gone = f"channel {', '.join(map(str, late))} was not renewed for {self._seconds:g} s"
                self.lost = f"{self._name}: {gone} and has opened by itself: {why}"
                _log.error("%s", self.lost)


__all__ = ["Hold", "HoldingRelay"]
