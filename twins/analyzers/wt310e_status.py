"""The status reporting of a Yokogawa WT310E: error queue, standard and extended event registers, status byte.

Facts: IEEE 488.2-1992 clause 11 (standard events, status byte), IM WT310E-17EN (extended event bits, filters, queue).
"""

from __future__ import annotations

import math
from collections import deque

from drivers.roles import Integration
from twins.analyzers.wt310e_element import Element

_QUEUE_DEPTH = 16


class Status:
    """What an instrument tells of itself. Registers that are read are cleared."""

    def __init__(self, element: Element) -> None:
        self._element = element
        self._errors: deque[int] = deque()
        self._events = 128  # power on
        self.event_enable = self.service_enable = self.extended_enable = 0
        self.extended = 0
        self.condition = 0
        self._updates = element.updates
        self.filters = ["RISE"] * 16

    def report(self, code: int) -> None:
        """Put an error into the queue; the last place says 350 once the queue is full."""
        if len(self._errors) < _QUEUE_DEPTH:
            self._errors.append(code)
        else:
            self._errors[-1] = 350
        if code < 200:
            self._events |= 32  # command error
        elif code < 300 or code >= 800:
            self._events |= 16  # execution error
        elif code < 400:
            self._events |= 8  # device dependent error
        else:
            self._events |= 4  # query error

    def next_error(self) -> int:
        """Take the oldest error out of the queue; 0 where it is empty."""
        return self._errors.popleft() if self._errors else 0

    def operation_complete(self) -> None:
        """Note that all operations are done."""
        self._events |= 1

    def take_events(self) -> int:
        """Read the standard event register and clear it."""
        events, self._events = self._events, 0
        return events

    def take_extended(self) -> int:
        """Read the extended event register and clear it."""
        extended, self.extended = self.extended, 0
        return extended

    def clear(self) -> None:
        """Empty the queue and the event registers."""
        self._errors.clear()
        self._events = self.extended = 0

    def byte(self, message_available: bool) -> int:
        """EAV (bit 2), EES (3), MAV (4), ESB (5) and MSS (6)."""
        self.observe()
        status = 4 if self._errors else 0
        status |= 8 if self.extended & self.extended_enable else 0
        status |= 16 if message_available else 0
        status |= 32 if self._events & self.event_enable else 0
        return status | (64 if status & self.service_enable else 0)

    def observe(self) -> None:
        """Bring the condition register up to date and note its transitions in the extended event register."""
        e = self._element
        e.catch_up()
        readings, integrals = e.shown()
        running = integrals.state is Integration.RUNNING
        over = readings.voltage_over or readings.current_over
        bits = (
            (1, running),
            (2, running and e.timer_s > 0),
            (3, over),
            (4, not math.isfinite(readings.voltage_hz)),
            (6, over),
            (7, readings.voltage_peak_over),
            (8, readings.current_peak_over),
        )
        now = sum(1 << bit for bit, on in bits if on)
        for bit in range(16):
            mask, when = 1 << bit, self.filters[bit]
            rose, fell = now & mask & ~self.condition, self.condition & mask & ~now
            if bit == 0 and e.updates != self._updates:
                rose = fell = mask  # data updating comes and goes with each update
            if (rose and when in ("RISE", "BOTH")) or (fell and when in ("FALL", "BOTH")):
                self.extended |= mask
        self.condition = now
        self._updates = e.updates
