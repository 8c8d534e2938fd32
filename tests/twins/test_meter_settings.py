"""What the utility configures in a meter, over the meter's own wire: written, read back, refused where it makes no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from labgrid import Target

from drivers import links
from drivers.errors import NotSupported, OutOfRange, Refused
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import EventCode, MessageCode
from drivers.wire import meter_settings
from drivers.wire.meter_profile import Feature, LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, LocalTime, Rule, Trigger
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.faces.stream import SerialLine
from twins.meters.ami_meter import AmiMeter, AmiMeterOptions, build, default_site
from twins.meters.c12_face import C1218Session
from twins.wiring import Site

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Port:
    """A meter on a pty, with a driver for each password."""

    def __init__(self, loop: LoopThread, **options: Any) -> None:
        self.loop = loop
        self.clock = loop.call(SteppedClock, START)
        self.site = Site(self.clock)
        wiring = AmiMeterOptions.model_validate(default_site(self.site).model_dump() | options)
        self.meter: AmiMeter = loop.call(build, self.clock, self.site, name="meter", options=wiring, seed=3)
        self.line = SerialLine(lambda send: C1218Session(self.meter, send))
        self.path = loop.run(self.line.open()).address
        self.target = Target("bench")

    def driver(self, password: str = "utility") -> AmiMeterDriver:
        self.target.deactivate_all_drivers()
        self.target = Target("bench")
        links.SerialLine(self.target, name="line", port=self.path, timeout=0.5)
        driver = AmiMeterDriver(self.target, name="meter", password=password)
        self.target.activate(driver)
        return driver

    def close(self) -> None:
        self.target.deactivate_all_drivers()
        self.loop.run(self.line.close())
        self.loop.run(self.clock.close())


Make = Callable[..., Port]


@pytest.fixture
def port(site_loop: LoopThread) -> Iterator[Make]:
    made: list[Port] = []

    def make(**options: Any) -> Port:
        made.append(Port(site_loop, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_everything_is_written_and_read_back(port: Make) -> None:
    p = port()
    driver = p.driver()
    told: list[str] = []
    driver.commanded.append(lambda command, args: told.append(command))
    with driver.session():
        driver.set_limit_steps(LimitSteps(1000, (80, 40)))
        rules = (
            Rule(1, Trigger.TIME, LoadControl.DISCONNECT, at=START + HOUR, every=timedelta(days=1)),
            Rule(2, Trigger.ZERO, LoadControl.LIMIT_STEP, 2),
        )
        driver.set_rules(rules)
        driver.set_message_priorities({MessageCode.DISCONNECT: 0, MessageCode.TEXT: 9})
        driver.set_customer(CustomerSettings(Language.SPANISH, True))
        assert driver.limit_steps() == p.meter.limit_steps() == LimitSteps(1000, (80, 40))
        assert driver.rules() == p.meter.rules() == rules
        assert (
            driver.message_priorities()
            == p.meter.message_priorities()
            == {MessageCode.DISCONNECT: 0, MessageCode.TEXT: 9}
        )
        assert driver.customer() == p.meter.customer() == CustomerSettings(Language.SPANISH, True)
        driver.limit_step(2)
        assert driver.service().limit_w == 400
        assert driver.local_time() == LocalTime(
            timedelta(hours=-8), datetime(2026, 3, 8, 10, tzinfo=UTC), timedelta(hours=-7)
        )
    assert told == ["set_limit_steps", "set_rules", "set_message_priorities", "set_customer", "limit_step"]
    written = [e.argument for e in p.meter.log() if e.event is EventCode.SETTINGS_CHANGED]
    assert written == [2062, 2063, 2064, 2065]


def test_what_makes_no_sense_is_refused_and_changes_nothing(port: Make) -> None:
    p = port(rule_capacity=1)
    driver = p.driver()
    before = (p.meter.limit_steps(), p.meter.rules(), p.meter.message_priorities(), p.meter.customer())
    zero = Rule(1, Trigger.ZERO, LoadControl.DISCONNECT)
    with driver.session():
        with pytest.raises(OutOfRange):
            driver.set_limit_steps(LimitSteps(1000, (101,)))
        with pytest.raises(OutOfRange):
            driver.set_rules([zero, zero])
        with pytest.raises(OutOfRange):
            driver.set_message_priorities({MessageCode.TEXT: 10})
        with pytest.raises(Refused, match="refused"):  # no room
            driver.set_rules([zero, Rule(2, Trigger.ZERO, LoadControl.CONNECT)])
        with pytest.raises(Refused, match="refused"):  # past
            driver.set_rules([Rule(1, Trigger.TIME, LoadControl.CONNECT, at=START - HOUR)])
        with pytest.raises(Refused, match="refused"):  # no such step
            driver.set_rules([Rule(1, Trigger.ZERO, LoadControl.LIMIT_STEP, 5)])
        for step in (0, 5):
            with pytest.raises(Refused, match="invalid parameter"):
                driver.limit_step(step)
    assert (p.meter.limit_steps(), p.meter.rules(), p.meter.message_priorities(), p.meter.customer()) == before
    assert p.meter.service().limit_w is None


def test_a_step_that_a_stored_command_goes_by_cannot_be_taken_away(port: Make) -> None:
    p = port()
    driver = p.driver()
    driver.set_rules([Rule(1, Trigger.ZERO, LoadControl.LIMIT_STEP, 4)])
    with pytest.raises(Refused, match="refused"):
        driver.set_limit_steps(LimitSteps(1000, (80,)))
    assert p.meter.limit_steps().percents == (90, 75, 50, 25)


def test_a_reader_reads_and_configures_nothing(port: Make) -> None:
    p = port()
    driver = p.driver("reader")
    assert driver.limit_steps().capacity_w == 4800
    for act in (
        lambda: driver.set_limit_steps(LimitSteps(1000, (80,))),
        lambda: driver.set_rules([]),
        lambda: driver.set_message_priorities({}),
        lambda: driver.set_customer(CustomerSettings()),
    ):
        with pytest.raises(Refused, match="clearance"):
            act()
    assert p.meter.limit_steps().capacity_w == 4800


def test_a_meter_says_what_it_has_not(port: Make) -> None:
    p = port(switch=None, load_side=None, works_out_balance=False, spanish=False)
    driver = p.driver()
    assert driver.profile().features == Feature.DISPLAY
    for act in (
        lambda: driver.set_limit_steps(LimitSteps(1000, (80,))),
        lambda: driver.set_rules([Rule(1, Trigger.ZERO, LoadControl.DISCONNECT)]),
        lambda: driver.set_customer(CustomerSettings(own_balance=True)),
        lambda: driver.set_customer(CustomerSettings(Language.SPANISH)),
        lambda: driver.limit_step(1),
    ):
        with pytest.raises(NotSupported):
            act()
    full = port().driver().profile().features
    assert full == Feature.SWITCH | Feature.DISPLAY | Feature.OWN_BALANCE | Feature.SPANISH


def test_table_zero_names_the_tables_that_may_be_written(port: Make) -> None:
    from drivers.wire import c1219
    from twins.meters.c12_tables import Tables

    table = c1219.GenConfig.decode(Tables(port().meter).read(c1219.GEN_CONFIG) or b"")
    settings = {
        meter_settings.LIMIT_STEPS,
        meter_settings.RULES,
        meter_settings.PRIORITIES,
        meter_settings.CUSTOMER,
    }
    assert {n + c1219.MANUFACTURER for n in table.manufacturer_writable} >= settings
    assert meter_settings.LOCAL_TIME - c1219.MANUFACTURER in table.manufacturer_tables - table.manufacturer_writable
