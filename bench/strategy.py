"""The labgrid strategy of a metering site: off, energised, provisioned, and safely back."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attr
from labgrid.binding import BindingState
from labgrid.factory import target_factory
from labgrid.strategy import Strategy, StrategyError

from drivers.device import DeviceDriver
from drivers.roles import Identity, Meter, PowerAnalyzer, Relay


class Status(enum.Enum):
    """How far a site is."""

    UNKNOWN = 0
    OFF = 1
    ENERGISED = 2
    PROVISIONED = 3


@target_factory.reg_driver
@attr.s(eq=False)
class SiteStrategy(Strategy):
    """Takes a site with one relay board, one meter and one analyzer from off through energised to provisioned.

    off: every bench relay open. energised: `supply_channel` and `load_channel` closed, the meter has line voltage.
    provisioned: the meter's clock is set, it records intervals of `interval_min` minutes, its service is off and it has
    no demand limit; the analyzer measures on `voltage_range_v` and `current_range_a`. `settle_s` is left to
    contacts to settle and the analyzer to see it.
    """

    bindings = {  # noqa: RUF012 - labgrid's own convention
        "relay": DeviceDriver,
        "meter": DeviceDriver,
        "analyzer": DeviceDriver,
    }

    supply_channel: int = attr.ib(default=1, validator=attr.validators.instance_of(int))
    load_channel: int = attr.ib(default=2, validator=attr.validators.instance_of(int))
    interval_min: int = attr.ib(default=60, validator=attr.validators.instance_of(int))
    voltage_range_v: float = attr.ib(default=300.0, converter=float)
    current_range_a: float = attr.ib(default=10.0, converter=float)
    settle_s: float = attr.ib(default=0.5, converter=float)
    status: Status = attr.ib(default=Status.UNKNOWN, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        """Bench time; a bench gives its own clock's."""
        self.let_pass: Callable[[float], None] = time.sleep
        """Lets seconds of bench time pass; a bench gives its own clock's."""

    def transition(self, status: Status | str) -> None:
        """Take the site to a status, through those before it; StrategyError where there is no way."""
        if not isinstance(status, Status):
            try:
                status = Status[status.upper()]
            except KeyError:
                known = ", ".join(s.name.lower() for s in Status if s is not Status.UNKNOWN)
                raise StrategyError(f"no site status {status!r}; known are {known}") from None
        if status is Status.UNKNOWN:
            raise StrategyError("nobody can take a site to the status unknown")
        if status is self.status:
            return
        if status is Status.OFF:
            self._off()
        elif status is Status.ENERGISED:
            self.transition(Status.OFF)
            self._energise()
        else:
            self.transition(Status.ENERGISED)
            self.provision()
        self.status = status

    def _ready(self, driver: DeviceDriver) -> Any:
        # Asking labgrid for what is active already would have it look for an exporter that may be gone.
        if driver.state is not BindingState.active:
            self.target.activate(driver)
        return driver

    def _off(self) -> None:
        relay: Relay = self._ready(self.relay)
        relay.open_all()
        self.let_pass(self.settle_s)

    def _energise(self) -> None:
        relay: Relay = self._ready(self.relay)
        relay.close(self.supply_channel)
        relay.close(self.load_channel)
        self.let_pass(self.settle_s)
        closed = relay.closed()
        for channel in (self.supply_channel, self.load_channel):
            if not closed[channel - 1]:
                raise StrategyError(
                    f"relay channel {channel} was closed and reads open; check the board and its wiring"
                )

    def provision(self) -> None:
        """Make an energised site as a freshly provisioned one: right clock, no limit, service off, ranges set."""
        meter: Meter = self._ready(self.meter)
        analyzer: PowerAnalyzer = self._ready(self.analyzer)
        meter.set_clock(self.now())
        meter.set_interval(timedelta(minutes=self.interval_min))
        meter.limit(None)
        meter.disconnect()
        analyzer.set_ranges(self.voltage_range_v, self.current_range_a)
        self.let_pass(self.settle_s)

    def identities(self) -> dict[str, Identity]:
        """Ask every bound device who it is."""
        return {d.name: d.identify() for d in (self.relay, self.meter, self.analyzer)}
