"""The lab's own driver of its device under test: the board's service switch as a digital output, as labgrid knows them."""

from __future__ import annotations

import time

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory
from labgrid.protocol import DigitalOutputProtocol

from drivers.roles import Switch


@target_factory.reg_driver
@attr.s(eq=False)
class ServiceSwitchDriver(Driver, DigitalOutputProtocol):
    """On means that the customer has power. `patience_s`: seconds that the board may take to say that it has switched."""

    bindings = {"board": "AmiMeterDriver"}  # noqa: RUF012 - labgrid's way

    patience_s: float = attr.ib(default=5.0, converter=float)

    @Driver.check_active
    def set(self, status: bool) -> None:
        """Switch, and come back when the board says that it has. TimeoutError where it never does."""
        if status:
            self.board.connect()
        else:
            self.board.disconnect()
        until = time.monotonic() + self.patience_s
        while self.get() != status:
            if time.monotonic() > until:
                raise TimeoutError(f"{self}: the board does not switch within {self.patience_s} s")
            self.board.wait(0.1)

    @Driver.check_active
    def get(self) -> bool:
        """Tell whether the switch is closed, as the board says."""
        return self.board.service().switch is Switch.CLOSED
