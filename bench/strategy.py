"""The labgrid strategy of a metering site: off, energised, provisioned, and safely back."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import attr
from labgrid.binding import BindingState
from labgrid.factory import target_factory
from labgrid.strategy import Strategy, StrategyError

from bench.hold import Hold
from drivers import checks
from drivers.device import DeviceDriver
from drivers.errors import DeviceError, NotSupported
from drivers.roles import AcLoad, AcSource, Identity, Meter, PowerAnalyzer, Relay, Switch
from drivers.wire.meter_settings import Language

LEAST_HOLD_S, MOST_HOLD_S = 2.0, 60.0
"""Shorter, and two channels on a slow bus are not renewed in time; longer, and nobody would call it safe."""


class Status(enum.Enum):
    """How far a site is."""

    UNKNOWN = 0
    OFF = 1
    ENERGISED = 2
    PROVISIONED = 3


def _no_hold_or_one_that_can_be_renewed(_: Any, field: Any, seconds: float) -> None:
    if seconds != 0 and not LEAST_HOLD_S <= seconds <= MOST_HOLD_S:
        raise ValueError(f"{field.name} {seconds} s; 0 or {LEAST_HOLD_S} to {MOST_HOLD_S} s")


def _divides_an_hour(_: Any, field: Any, minutes: Any) -> None:
    divisors = [n for n in range(1, 61) if 60 % n == 0]
    if isinstance(minutes, bool) or minutes not in divisors:
        raise checks.Unfit(field, minutes, f"minutes that divide an hour: {', '.join(map(str, divisors))}")


@target_factory.reg_driver
@attr.s(eq=False)
class SiteStrategy(Strategy):
    """Takes a site with one relay board, one meter and one analyzer from off through energised to provisioned.

    Where a source and a load are bound, they make the power; else the mains and a fixed load do.
    off: source and load off, every bench relay open. energised: `supply_channel` and `load_channel` closed, the
    source on at `source_voltage_v` and `source_frequency_hz`, the load set to `load_current_a`; the meter has line
    voltage. provisioned: the meter's clock is set, it records intervals of `interval_min` minutes, it speaks its
    customer's language if it can, its service is off and it has no demand limit (where it has a switch at all); the
    analyzer measures on `voltage_range_v` and `current_range_a`. `settle_s` is left to contacts to settle and the
    analyzer to see it. `hold_s`: contacts are closed by the board's own timer, that long at a time, and renewed while
    this process lives; 0 closes them for good. A bench on stepped time holds nothing: its board is a twin that dies with it.
    """

    bindings = {  # noqa: RUF012 - labgrid's own convention
        "relay": DeviceDriver,
        "meter": DeviceDriver,
        "analyzer": DeviceDriver,
        "source": {DeviceDriver, None},
        "load": {DeviceDriver, None},
    }

    supply_channel: int = attr.ib(default=1, validator=checks.whole(1, 255))
    load_channel: int = attr.ib(default=2, validator=checks.whole(1, 255))
    interval_min: int = attr.ib(default=60, validator=_divides_an_hour)
    voltage_range_v: float = attr.ib(default=300.0, converter=float, validator=checks.finite(above=0))
    current_range_a: float = attr.ib(default=10.0, converter=float, validator=checks.finite(above=0))
    source_voltage_v: float = attr.ib(default=240.0, converter=float, validator=checks.finite(above=0))
    source_frequency_hz: float = attr.ib(default=60.0, converter=float, validator=checks.finite(above=0))
    source_limit_v: float = attr.ib(default=264.0, converter=float, validator=checks.finite(above=0))
    source_limit_a: float = attr.ib(default=8.0, converter=float, validator=checks.finite(above=0))
    load_current_a: float = attr.ib(default=2.5, converter=float, validator=checks.finite(least=0))
    settle_s: float = attr.ib(default=0.5, converter=float, validator=checks.finite(least=0))
    hold_s: float = attr.ib(default=10.0, converter=float, validator=_no_hold_or_one_that_can_be_renewed)
    status: Status = attr.ib(default=Status.UNKNOWN, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        """Bench time; a bench gives its own clock's."""
        self.let_pass: Callable[[float], None] = time.sleep
        """Lets seconds of bench time pass; a bench gives its own clock's."""
        self.language: Language | None = None
        """The customer's, which a bench gives from its file; without one the meter keeps what it speaks."""
        self.held: Hold | None = None

    def on_deactivate(self) -> None:
        """Let go of what is held."""
        held, self.held = self.held, None
        if held is not None:
            held.stop()

    def hold(self) -> None:
        """See to it that the relay's contacts open by themselves when this process is gone. Harmless when asked again."""
        if self.hold_s and self.held is None:
            if not hasattr(self.relay, "hold"):
                raise StrategyError(
                    f"{self.relay.name} cannot open its contacts by itself when this process is gone; "
                    "write `hold_s: 0` in the strategy, and see to it otherwise"
                )
            self.held = Hold(self.relay.name, self._ready(self.relay), self.hold_s)

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
        failed: list[DeviceError] = []
        for switch_off in (self._source_off, self._relay_off, self._load_off):
            try:
                switch_off()
            except DeviceError as no:  # the others have to be off all the same
                failed.append(no)
        if failed:
            raise failed[0]
        self.let_pass(self.settle_s)

    def _source_off(self) -> None:
        if self.source is not None:
            self._ready(self.source).off()

    def _relay_off(self) -> None:
        relay: Relay = self._ready(self.relay)
        self.hold()
        relay.open_all()

    def _load_off(self) -> None:
        if self.load is not None:
            self._ready(self.load).off()

    def _energise(self) -> None:
        relay: Relay = self._ready(self.relay)
        relay.close(self.supply_channel)
        relay.close(self.load_channel)
        self.power_source()
        self.power_load()
        self.let_pass(self.settle_s)
        closed = relay.closed()
        for channel in (self.supply_channel, self.load_channel):
            if not closed[channel - 1]:
                raise StrategyError(
                    f"relay channel {channel} was closed and reads open; check the board and its wiring"
                )

    def power_source(self) -> None:
        """Have the source, where one is bound, give its voltage."""
        if self.source is not None:
            source: AcSource = self._ready(self.source)
            source.set_limits(self.source_limit_v, self.source_limit_a)
            source.set_output(self.source_voltage_v, self.source_frequency_hz)
            source.on()

    def power_load(self) -> None:
        """Have the load, where one is bound, draw its current as soon as there is voltage."""
        if self.load is not None:
            load: AcLoad = self._ready(self.load)
            load.set_current(self.load_current_a)
            load.on()

    def provision(self) -> None:
        """Make an energised site as a freshly provisioned one: right clock, the customer's language, no limit, service
        off, ranges set."""
        meter: Meter = self._ready(self.meter)
        analyzer: PowerAnalyzer = self._ready(self.analyzer)
        meter.set_clock(self.now())
        meter.set_interval(timedelta(minutes=self.interval_min))
        self._speak(meter)
        if meter.service().switch is not Switch.NONE:
            meter.limit(None)
            meter.disconnect()
        analyzer.set_ranges(self.voltage_range_v, self.current_range_a)
        self.let_pass(self.settle_s)

    def _speak(self, meter: Any) -> None:
        """Have the meter speak the customer's language; who works out the balance stays as it is."""
        if self.language is not None and hasattr(meter, "set_customer"):
            with suppress(NotSupported):  # a meter that knows no Spanish speaks English, as its supplier declares
                meter.set_customer(replace(meter.customer(), language=self.language))

    def identities(self) -> dict[str, Identity]:
        """Ask every bound device who it is."""
        return {d.name: d.identify() for d in (self.relay, self.meter, self.analyzer)}
