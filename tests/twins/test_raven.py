"""The display's twin: joining, what it shows and tells, its faults and defects, and its XML under clients that aren't ours."""

from __future__ import annotations

import asyncio
import select
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import serial
from aioraven.data import ConnectionState, DataStatus, IntervalChannel, IntervalPeriod, ScheduledEvent
from aioraven.device import UnknownRAVEnCommandWarning
from aioraven.serial import RAVEnSerialDevice
from aioraven.streams import RAVEnNetworkDevice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labgrid import Target
from pydantic import ValidationError

from drivers.displays.raven import RavenDriver
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import SerialLine
from drivers.roles import AtZero, Display, DisplayedBalance, HanLink, MessageCode, MeterMessage
from drivers.wire import raven_xml as wire
from tests.conftest import LoopThread
from twins import defects as seeded
from twins.clock import SteppedClock
from twins.displays.raven import MODEL, SCHEDULE, RavenDisplay, RavenOptions
from twins.displays.xml_face import RavenSession
from twins.faces.stream import Disturbance
from twins.meters import ami_meter
from twins.models import LineOptions
from twins.models import find as find_model
from twins.premises import han
from twins.wiring import Load, Site, Source

START = datetime(2026, 1, 5, 8, 10, tzinfo=UTC)
METER = "0x0013500300000001"
OTHER_CODE = han.install_code(bytes.fromhex("112233445566")).hex()


class Home:
    """A meter and a display on one home area network, on a stepped clock."""

    def __init__(self, loop: LoopThread, *defects: str, meter: dict[str, Any] | None = None, **options: Any) -> None:
        self.loop = loop
        self.clock: SteppedClock = loop.call(SteppedClock, START)
        self.site = Site(self.clock)
        wiring = ami_meter.default_site(self.site).model_dump()
        given = RavenOptions(**({"han": "home"} | options))
        own = {
            "han": "home",
            "han_devices": {given.address: RavenOptions(han="home").install_code},
            "processing_s": 1.0,
        }
        self.meter = loop.call(
            lambda: ami_meter.build(
                self.clock,
                self.site,
                name="meter",
                options=ami_meter.AmiMeterOptions.model_validate(wiring | own | (meter or {})),
                seed=7,
            )
        )
        self.display: RavenDisplay = loop.call(
            lambda: MODEL.build(self.clock, self.site, name="display", options=given, defects=frozenset(defects))
        )
        self.faces: list[Any] = []
        self.told: list[tuple[float, str]] = []
        self.display.pushes.append(lambda what: self.told.append(((self.clock.now() - START).total_seconds(), what)))

    def after(self, seconds: float) -> RavenDisplay:
        self.loop.run(self.clock.advance(seconds))
        return self.display

    def supply(self, on: bool) -> None:
        source = self.site.nodes["source"]
        assert isinstance(source, Source)
        self.loop.call(source.set, on=on)

    def send(self, code: MessageCode, number: int, **fields: Any) -> None:
        self.loop.call(self.meter.send, MeterMessage(number, code, self.clock.now(), **fields))

    def prepay(self, number: int = 1, cents: int = 2500) -> None:
        self.send(
            MessageCode.PREPAYMENT,
            number,
            balance_cents=cents,
            credit_wh=cents * 40,
            price_millicents_per_kwh=21_500,
            time_left=timedelta(days=2, hours=3, minutes=4),
            zero_at=datetime(2026, 1, 7, 12, tzinfo=UTC),
            at_zero=AtZero.DISCONNECT,
        )

    def open(self, scheme: str, address: str = "", line: LineOptions | None = None) -> str:
        face = self.loop.call(MODEL.faces[scheme], self.display, address, line or LineOptions())
        endpoint = self.loop.run(face.open())
        assert endpoint.scheme == scheme
        self.faces.append(face)
        return str(endpoint.address)

    def close(self) -> None:
        for face in self.faces:
            self.loop.run(face.close())


Make = Callable[..., Home]


@pytest.fixture
def make(site_loop: LoopThread) -> Iterator[Make]:
    homes: list[Home] = []

    def build(*defects: str, **options: Any) -> Home:
        homes.append(Home(site_loop, *defects, **options))
        return homes[-1]

    yield build
    for home in homes:
        home.close()


@pytest.fixture
def home(make: Make) -> Home:
    """A display that has joined, of an account that was prepaid."""
    made = make()
    made.after(10)
    made.prepay()
    made.after(2)
    return made


# --- Joining ------------------------------------------------------------------------------------------------------------


def test_it_holds_its_role_and_says_who_it_is(make: Make) -> None:
    display = make().display
    assert isinstance(display, Display)
    assert find_model("raven") is MODEL
    assert display.identify().serial == "0x00158d0000000004"
    assert make(kind="raven").display.identify().model != display.identify().model


def test_it_joins_step_by_step_and_tells_each(make: Make) -> None:
    home = make()
    seen = [home.display.link()]
    home.display.changed.append(lambda: seen.append(home.display.link()))
    home.after(10)
    steps = list(dict.fromkeys(link.status for link in seen))
    assert steps == ["Initializing", "Joining", "Authenticating", "Connected"]
    assert seen[-1] == HanLink(True, "Connected", 100)
    assert not any(link.joined or link.link_strength_percent for link in seen if link.status != "Connected")
    assert [what for _, what in home.told if what == "status"] == ["status"] * 3
    assert home.display.meters() == (METER,)


def test_it_is_told_register_and_demand_when_it_has_joined(make: Make) -> None:
    display = make().after(5)
    assert display.demand_w() == pytest.approx(1200, abs=5)
    assert display.delivered_wh() is not None
    assert (display.price_millicents_per_kwh(), display.message(), display.balance()) == (None, None, None)


def test_without_a_meter_it_goes_on_looking(make: Make) -> None:
    home = make(scan_s=30)
    home.supply(False)
    assert home.after(3600).link() == HanLink(False, "Network Discovery", 0)
    home.supply(True)
    assert home.after(35).link().joined


def test_a_wrong_key_never_joins_and_a_mended_one_does(make: Make) -> None:
    home = make(install_code=OTHER_CODE)
    home.prepay()
    seen: set[str] = set()
    home.display.changed.append(lambda: seen.add(home.display.link().status))
    display = home.after(3600)
    assert not display.link().joined
    assert "Join: Fail" in seen
    assert "Connected" not in seen
    assert (display.meters(), display.balance(), display.demand_w()) == ((), None, None)


def test_the_fault_of_a_wrong_key_throws_it_out_until_it_is_mended(home: Home) -> None:
    home.loop.call(home.display.inject, "wrong_key")
    assert not home.display.link().joined
    assert not home.after(600).link().joined
    home.send(MessageCode.BALANCE, 2, balance_cents=100, credit_wh=4000, time_left=timedelta(hours=1))
    home.after(600)
    assert home.display.balance() is not None
    assert home.display.balance().balance_cents == 2500  # what it held before
    home.loop.call(home.display.inject, "wrong_key", False)
    assert home.after(30).link().joined
    assert home.display.balance().balance_cents == 100


def test_the_fault_of_never_joining(home: Home) -> None:
    home.loop.call(home.display.inject, "never_joins")
    assert home.after(3600).link() == HanLink(False, "Network Discovery", 0)
    home.loop.call(home.display.inject, "never_joins", False)
    assert home.after(30).link().joined


def test_the_fault_of_joining_twice_shows_everything_once(make: Make) -> None:
    home = make()
    home.loop.call(home.display.inject, "joins_twice")
    home.after(10)
    first = home.display.short_address
    home.loop.call(home.display.inject, "joins_twice", False)
    home.loop.call(home.display.inject, "joins_twice")
    assert home.display.short_address != first
    home.after(1)
    home.told.clear()
    home.send(MessageCode.TEXT, 5, text="once")
    home.after(2)
    assert [what for _, what in home.told] == ["message"]
    assert home.display.link().joined
    assert len(home.display.meters()) == 1


def test_a_meter_that_went_away_is_noticed_and_found_again(home: Home) -> None:
    home.supply(False)
    assert home.display.link().joined  # nobody has told it yet
    assert home.after(121).link() == HanLink(False, "Rejoining", 0)
    assert home.display.balance() is not None
    home.supply(True)
    home.send(MessageCode.BALANCE, 2, balance_cents=7, credit_wh=0, time_left=timedelta(0))
    assert home.after(30).link().joined
    assert home.display.balance().balance_cents == 7


# --- What it shows --------------------------------------------------------------------------------------------------------


def test_it_shows_balance_energy_and_time_left(home: Home) -> None:
    assert home.display.balance() == DisplayedBalance(
        2500,
        100_000,
        START + timedelta(seconds=11),
        timedelta(days=2, hours=3, minutes=4),
        datetime(2026, 1, 7, 12, tzinfo=UTC),
    )
    assert home.display.price_millicents_per_kwh() == 21_500


def test_a_refresh_is_shown_within_a_second(home: Home) -> None:
    home.send(MessageCode.BALANCE, 2, balance_cents=0, credit_wh=0, time_left=timedelta(0))
    home.after(1.0 + 0.5)
    assert home.display.balance() == DisplayedBalance(
        0, 0, START + timedelta(seconds=13), timedelta(0), datetime(2026, 1, 7, 12, tzinfo=UTC)
    )


def test_a_text_is_shown_until_it_is_confirmed_and_followed_by_an_account(home: Home) -> None:
    home.send(MessageCode.TEXT, 2, text="Maintenance <tonight> & tomorrow")
    home.after(2)
    shown = home.display.message()
    assert shown is not None
    assert (shown.message_id, shown.text, shown.confirmed) == (2, "Maintenance <tonight> & tomorrow", False)
    assert home.display.balance().balance_cents == 2500
    home.send(MessageCode.BALANCE, 3, balance_cents=2400, credit_wh=0, time_left=timedelta(0))
    home.after(2)
    assert home.display.message().message_id == 2
    home.loop.call(home.display.confirm, 2)
    assert home.display.message().message_id == 3
    home.after(1)
    assert list(home.meter.confirmed_texts) == [2]


def test_a_text_ends_by_itself(home: Home) -> None:
    home.send(MessageCode.TEXT, 2, text="Hello")
    home.after(3000)
    assert home.display.message().message_id == 2
    home.after(700)
    assert home.display.message().message_id == 1


def test_a_person_can_confirm_it_at_the_device(home: Home) -> None:
    home.send(MessageCode.TEXT, 2, text="Hello")
    home.after(2)
    home.loop.call(home.display.press, "confirm")
    home.loop.call(home.display.press, "confirm")
    assert home.display.message().confirmed
    home.after(1)
    assert list(home.meter.confirmed_texts) == [2]


@pytest.mark.parametrize("number", [1, 99])
def test_what_waits_for_no_confirmation_is_refused(home: Home, number: int) -> None:
    with pytest.raises(Refused, match=str(number)):
        home.loop.call(home.display.confirm, number)


def test_an_emu_2_asks_for_the_price_every_two_minutes(make: Make) -> None:
    home = make(meter={"interval_min": 60})
    home.after(10)
    home.prepay()
    home.after(2)
    home.told.clear()
    home.after(600)
    assert [at for at, what in home.told if what == "price"] == pytest.approx([k * 120 + 0.4 for k in range(1, 6)])
    quiet = make(kind="raven")
    quiet.after(10)
    quiet.prepay()
    quiet.after(2)
    quiet.told.clear()
    quiet.after(600)
    assert [what for _, what in quiet.told if what == "price"] == []


def test_what_is_scheduled_is_told_in_bench_time(home: Home) -> None:
    home.loop.call(home.display.set_schedule, "demand", 8, True)
    home.loop.call(home.display.set_schedule, "time", 20, True)
    home.loop.call(home.display.set_schedule, "price", 10, False)
    home.told.clear()
    home.after(60)
    begin = 12.0
    assert [at for at, what in home.told if what == "demand"] == pytest.approx(
        [begin + 8 * k + 0.4 for k in range(1, 8)]
    )
    assert [at for at, what in home.told if what == "time"] == pytest.approx([begin + 20 * k for k in (1, 2, 3)])
    home.told.clear()
    home.after(240)
    assert "price" not in [what for _, what in home.told]
    home.loop.call(home.display.set_schedule_default)
    assert {name: (s.frequency_s, s.enabled) for name, s in home.display.schedules.items()} == {
        name: (seconds, True) for name, seconds in SCHEDULE.items()
    }


def test_the_demand_follows_the_load_by_poll_and_the_sign_by_direction(home: Home) -> None:
    load = home.site.nodes["load"]
    assert isinstance(load, Load)
    home.loop.call(lambda: load.set(kind="power", value=-500.0))
    home.loop.call(home.display.refresh, han.ReadDemand())
    assert home.display.demand_w() == pytest.approx(-500, abs=2)


@pytest.mark.parametrize(("event", "frequency"), [("weather", 10), ("demand", 0), ("demand", 65536)])
def test_a_schedule_that_cannot_be(home: Home, event: str, frequency: int) -> None:
    with pytest.raises(OutOfRange):
        home.loop.call(home.display.set_schedule, event, frequency, True)


def test_a_factory_reset_forgets_and_joins_anew(home: Home) -> None:
    home.loop.call(home.display.factory_reset)
    assert home.display.meters() == ()
    assert home.display.message() is None
    home.after(10)
    assert home.display.link().joined
    assert home.display.balance().balance_cents == 2500  # the meter brought it up to date


def test_unknown_faults_and_buttons_are_refused_by_name(make: Make) -> None:
    display = make().display
    with pytest.raises(ValueError, match="never_joins"):
        display.inject("smoke")
    with pytest.raises(ValueError, match="confirm"):
        display.press("reset")


@pytest.mark.parametrize(
    "options",
    [{"install_code": "83fed3407a932b71"}, {"install_code": "00"}, {"address": "4"}, {"kind": "emu-3"}, {"colour": 1}],
)
def test_options_that_make_no_display_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RavenOptions(**({"han": "home"} | options))


def test_a_twin_alone_joins_the_meter_of_its_default_site(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    site = Site(clock)
    display = site_loop.call(lambda: MODEL.build(clock, site, name="raven", options=MODEL.default_site(site)))
    site_loop.run(clock.advance(10))
    assert display.link().joined
    assert display.demand_w() == pytest.approx(1200, abs=5)


# --- Defects --------------------------------------------------------------------------------------------------------------


def refreshed(home: Home) -> Home:
    home.after(10)
    home.prepay()
    home.after(2)
    home.send(MessageCode.BALANCE, 2, balance_cents=300, credit_wh=4000, time_left=timedelta(days=2, hours=5))
    home.after(2)
    return home


TELLTALES: dict[str, tuple[Callable[[DisplayedBalance | None], object], object, object]] = {
    "shows_old_balance": (lambda b: b and b.balance_cents, 300, 2500),
    "shows_balance_without_time_left": (
        lambda b: b and (b.balance_cents, b.time_left),
        (300, timedelta(days=2, hours=5)),
        (300, None),
    ),
    "shows_time_left_without_days": (
        lambda b: b and (b.balance_cents, b.time_left),
        (300, timedelta(days=2, hours=5)),
        (300, timedelta(hours=5)),
    ),
    "shows_late": (lambda b: b and b.balance_cents, 300, None),
}


def test_every_defect_of_the_display_has_its_telltale() -> None:
    assert set(TELLTALES) == {d.name for d in seeded.CATALOGUE.values() if d.of == "raven"}


@pytest.mark.parametrize("name", TELLTALES)
def test_a_defect_shows_and_the_healthy_display_does_not_have_it(make: Make, name: str) -> None:
    look, healthy, broken = TELLTALES[name]
    assert look(refreshed(make()).display.balance()) == healthy
    home = refreshed(make(name))
    assert look(home.display.balance()) == broken
    if name == "shows_late":
        came = home.clock.now()
        home.after(300)
        shown = home.display.balance()
        assert shown.balance_cents == 300
        assert shown.received_at <= came  # it got it in time, and says so


# --- Its wire, by our driver ------------------------------------------------------------------------------------------------


@pytest.fixture
def driver(home: Home) -> Iterator[RavenDriver]:
    target = Target("test")
    SerialLine(target, "line", port=home.open("pty"), baudrate=115200)
    made = RavenDriver(target, "display")
    target.activate(made)
    yield made
    target.deactivate(made)


def test_the_driver_reads_what_the_twin_shows(home: Home, driver: RavenDriver) -> None:
    for method in (
        "identify",
        "link",
        "meters",
        "price_millicents_per_kwh",
        "demand_w",
        "delivered_wh",
        "message",
        "balance",
    ):
        assert getattr(driver, method)() == getattr(home.display, method)(), method


def test_the_driver_keeps_what_the_twin_pushes(home: Home, driver: RavenDriver) -> None:
    home.send(MessageCode.BALANCE, 2, balance_cents=900, credit_wh=0, time_left=timedelta(minutes=61))
    home.after(2)
    home.send(MessageCode.TEXT, 3, text="Olé & <good> night")
    home.after(2)
    assert driver.message().text == "Olé & <good> night"
    assert driver.balance() == home.display.balance()
    driver.confirm(3)
    assert driver.message() == home.display.message()
    driver.set_schedule("demand", 5, True)
    assert driver.schedule("demand") == (5, True)
    with pytest.raises(Refused):
        driver.confirm(77)
    with pytest.raises(Refused, match="confirming message 2"):
        driver.confirm(2)


def test_a_day_that_nobody_listened_to_leaves_the_link_whole(home: Home, driver: RavenDriver) -> None:
    with driver.lock:  # the driver cannot listen meanwhile
        home.loop.call(home.display.set_schedule, "demand", 10, True)
        home.after(86_400)
    assert home.faces[0].lost > 0
    for _ in range(3):
        assert driver.demand_w() == home.display.demand_w()
        assert driver.balance() == home.display.balance()


def test_a_silent_display_is_a_lost_link(make: Make) -> None:
    home = make()
    target = Target("test")
    SerialLine(target, "line", port=home.open("pty"), baudrate=115200, timeout=1.0)
    driver = RavenDriver(target, "display")
    target.activate(driver)
    home.loop.call(home.display.inject, "silent")
    home.after(3600)
    with pytest.raises(LinkLost):
        driver.link()
    assert not driver.notifications()
    home.loop.call(home.display.inject, "silent", False)
    assert driver.link().joined
    target.deactivate(driver)


def test_a_garbled_line_loses_nothing_but_time(make: Make) -> None:
    home = make()
    home.after(10)
    target = Target("test")
    noisy = LineOptions(disturbance=Disturbance(drop=0.0005, seed=3))
    SerialLine(target, "line", port=home.open("pty", line=noisy), baudrate=115200, timeout=0.2)
    driver = RavenDriver(target, "display")
    target.activate(driver)
    right = home.display.link()
    answers = []
    for _ in range(40):
        try:
            answers.append(driver.link())
        except (LinkLost, NotSupported):
            continue
    target.deactivate(driver)
    assert len(answers) >= 30
    assert answers.count(right) >= len(answers) - 2  # the protocol has no checksum: a digit may be lost unseen


# --- Its wire, by clients that aren't ours ---------------------------------------------------------------------------------


async def _everything(device: Any) -> dict[str, Any]:
    await device.synchronize()
    await device.set_schedule(ScheduledEvent.DEMAND, 10, True)
    return {
        "info": await device.get_device_info(),
        "network": await device.get_network_info(),
        "meters": await device.get_meter_list(),
        "price": await device.get_current_price(refresh=True),
        "demand": await device.get_instantaneous_demand(refresh=True),
        "summation": await device.get_current_summation_delivered(refresh=True),
        "message": await device.get_message(refresh=True),
        "time": await device.get_time(refresh=True),
        "schedule": await device.get_schedule(event=ScheduledEvent.DEMAND),
        "period": await device.get_current_period_usage(),
        "last": await device.get_last_period_usage(),
    }


@pytest.mark.parametrize("scheme", ["pty", "tcp"])
def test_bare_aioraven_understands_all_of_it(home: Home, scheme: str) -> None:
    address = home.open(scheme)

    async def talk() -> dict[str, Any]:
        host, _, port = address.rpartition(":")
        device = RAVEnSerialDevice(address) if scheme == "pty" else RAVEnNetworkDevice(host, int(port))
        async with device:
            return await asyncio.wait_for(_everything(device), 10)

    got = asyncio.run(talk())
    assert got["info"].manufacturer == "Rainforest Automation, Inc."
    assert got["info"].link_key == han.link_key(got["info"].install_code)
    assert got["network"].status is ConnectionState.CONNECTED
    assert got["network"].channel in range(11, 27)
    assert got["network"].link_strength == 0x64
    assert [m.hex() for m in got["meters"].meter_mac_ids] == [METER[2:]]
    assert got["price"].price == "0.215"
    assert got["price"].currency.code == "USD"
    assert float(got["demand"].demand) * 1000 == home.display.demand_w()
    assert float(got["summation"].summation_delivered) * 1000 == home.display.delivered_wh()
    assert got["message"].text == home.display.message().text
    assert got["time"].utc_time == home.clock.now().replace(microsecond=0)
    assert got["time"].local_time == datetime(2026, 1, 5, 0, 10, 12)  # noqa: DTZ001 - the device tells it without a zone
    assert got["schedule"].frequency == timedelta(seconds=10)
    assert got["schedule"].enabled
    assert float(got["period"].current_usage) >= 0
    assert got["last"].end_date is None


def test_bare_aioraven_meets_an_export_and_an_unknown_command(home: Home) -> None:
    load = home.site.nodes["load"]
    assert isinstance(load, Load)
    home.loop.call(lambda: load.set(kind="power", value=-1500.0))
    address = home.open("pty")

    async def talk() -> Any:
        async with RAVEnSerialDevice(address) as device:
            demand = await asyncio.wait_for(device.get_instantaneous_demand(refresh=True), 5)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with pytest.raises(UnknownRAVEnCommandWarning):
                    await asyncio.wait_for(device._query("make_coffee", "Coffee"), 5)
            return demand

    assert float(asyncio.run(talk()).demand) == pytest.approx(-1.5, abs=0.01)


def test_bare_aioraven_gets_interval_data(make: Make) -> None:
    home = make(meter={"interval_min": 15})
    home.after(3600)
    address = home.open("pty")

    async def talk() -> Any:
        async with RAVEnSerialDevice(address) as device:
            await device.synchronize()
            return await asyncio.wait_for(device._query("get_profile_data", "ProfileData", arguments), 5)

    arguments = {"NumberOfPeriods": "0x03", "EndTime": "0x00000000", "IntervalChannel": str(IntervalChannel.DELIVERED)}
    data = asyncio.run(talk())
    recorded = home.meter.intervals()
    assert int(data["Status"], 16) == DataStatus.SUCCESS
    assert int(data["ProfileIntervalPeriod"]) == IntervalPeriod.FIFTEEN_MIN
    assert wire.moment(data["EndTime"]) == recorded[-1].ends_at
    assert [int(data[f"IntervalData{n}"], 16) for n in (1, 2, 3)] == [round(i.energy_wh) for i in recorded[:-4:-1]]


def quiet(home: Home, port: serial.Serial, within: float = 0.15) -> str:
    """All that comes until the line has been quiet for `within` seconds, once the display has taken what was sent."""
    home.loop.run(asyncio.sleep(0.02))
    data = b""
    while select.select([port.fileno()], [], [], within)[0]:
        data += port.read(port.in_waiting or 1)
    return data.decode("cp1252")


def said(home: Home, port: serial.Serial) -> str:
    """All that the display says, which is something."""
    select.select([port.fileno()], [], [], 10)
    return quiet(home, port)


def test_a_plain_serial_script(home: Home, tmp_path: Path) -> None:
    link = home.open("pty", str(tmp_path / "raven"))
    with serial.Serial(link, 115200, timeout=2) as port:
        # The vendor's own samples close a name that way.
        port.write(b"<Command>\r\n  <Name>get_connection_status</name>\r\n</Command>\r\n")
        assert "<Status>Connected</Status>\r\n" in said(home, port)
        port.write(b"<Command><Name>get_schedule</Name></Command>")
        assert said(home, port).count("<ScheduleInfo>") == len(SCHEDULE)
        port.write(
            b"<Command><Name>set_schedule</Name><Event>time</Event><Frequency>0x0005</Frequency><Enabled>Y</Enabled></Command>"
        )
        assert quiet(home, port) == ""
        home.after(12)
        assert said(home, port).count("<TimeCluster>\r\n") == 2
        home.send(MessageCode.TEXT, 0xABCD, text="Ampères & <volts>")
        home.loop.call(home.display.set_schedule, "time", 900, True)
        home.after(2)
        told = said(home, port)
        assert "<Id>0x0000abcd</Id>\r\n" in told
        assert "<Text>Ampères &amp; &lt;volts&gt;</Text>\r\n" in told
        port.write(
            b"<Command><Name>set_fast_poll</Name><Frequency>0x0004</Frequency><Duration>0x0001</Duration></Command>"
        )
        port.write(b"<Command><Name>get_fast_poll_status</Name></Command>")
        assert "<Frequency>0x0004</Frequency>" in said(home, port)
        home.after(70)
        assert said(home, port).count("<InstantaneousDemand>") == 15
        port.write(
            b"<Command><Name>close_current_period</Name></Command><Command><Name>get_last_period_usage</Name></Command>"
        )
        assert "<LastUsage>0x" in said(home, port)
        port.write(b"<Command><Name>set_meter_info</Name><NickName>Mine</NickName><Enabled>N</Enabled></Command>")
        port.write(b"<Command><Name>get_meter_info</Name></Command>")
        told = said(home, port)
        assert "<NickName>Mine</NickName>" in told
        assert "<MeterType>0x0000</MeterType>" in told
    assert not Path(link).exists() or Path(link).is_symlink()


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ("<Name>make_coffee</Name>", "Unknown command"),
        ("", "Unknown command"),
        ("<Name>get_price_blocks</Name>", "Unknown command"),
        ("<Name>set_schedule</Name>", "Invalid argument"),
        (
            "<Name>set_schedule</Name><Event>rain</Event><Frequency>1</Frequency><Enabled>Y</Enabled>",
            "Invalid argument",
        ),
        (
            "<Name>set_schedule</Name><Event>time</Event><Frequency>0</Frequency><Enabled>Y</Enabled>",
            "Invalid argument",
        ),
        ("<Name>get_schedule</Name><Event>rain</Event>", "Invalid argument"),
        ("<Name>set_schedule_default</Name><Event>rain</Event>", "Invalid argument"),
        ("<Name>get_time</Name><Refresh>perhaps</Refresh>", "Invalid argument"),
        ("<Name>get_time</Name><MeterMacId>0x1234</MeterMacId>", "Invalid argument"),
        ("<Name>confirm_message</Name><Id>0x99</Id>", "Invalid argument"),
        ("<Name>set_current_price</Name><Price>1.5</Price>", "Invalid argument"),
        ("<Name>set_current_price</Name><Price>0xffffffff</Price>", "Invalid argument"),
        ("<Name>set_fast_poll</Name><Frequency>1</Frequency><Duration>99</Duration>", "Invalid argument"),
        ("<Name>get_profile_data</Name><NumberOfPeriods>1</NumberOfPeriods>", "Invalid argument"),
        (
            "<Name>get_profile_data</Name><NumberOfPeriods>1</NumberOfPeriods><EndTime>0xffffffffffff</EndTime>"
            "<IntervalChannel>Delivered</IntervalChannel>",
            "Invalid argument",
        ),
    ],
)
def test_what_it_cannot_do_is_warned_of(home: Home, command: str, warning: str) -> None:
    sent: list[bytes] = []
    session = home.loop.call(RavenSession, home.display, sent.append)
    home.loop.call(session.received, f"<Command>{command}</Command>".encode())
    assert sent == [f"<Warning>\r\n  <Text>{warning}</Text>\r\n</Warning>\r\n".encode()]


def test_a_raven_lacks_what_only_an_emu_2_has(make: Make) -> None:
    home = make(kind="raven")
    sent: list[bytes] = []
    session = home.loop.call(RavenSession, home.display, sent.append)
    for name in ("get_fast_poll_status", "get_meter_info"):
        home.loop.call(session.received, wire.command(name))
    assert b"Unknown command" in sent[0]
    assert b"<MeterType>electric</MeterType>" in sent[1]


def test_a_typed_price_stands_until_the_meter_has_one(make: Make) -> None:
    home = make()
    home.after(10)
    sent: list[bytes] = []
    session = home.loop.call(RavenSession, home.display, sent.append)
    home.loop.call(session.received, wire.command("set_current_price", {"Price": "0x0f", "TrailingDigits": "0x02"}))
    assert home.display.price_millicents_per_kwh() == 15_000
    home.prepay()
    home.after(2)
    home.loop.call(session.received, wire.command("set_current_price", {"Price": "0x01", "TrailingDigits": "0x00"}))
    assert home.display.price_millicents_per_kwh() == 21_500


def test_a_host_that_has_gone_is_not_told_any_more(home: Home) -> None:
    host, _, port = home.open("tcp").rpartition(":")
    before = len(home.display.pushes)
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(wire.command("get_time"))
        assert connection.recv(4096).startswith(b"<TimeCluster>")
        assert len(home.display.pushes) == before + 1
    until = time.monotonic() + 5
    while len(home.display.pushes) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(home.display.pushes) == before


# --- Hostile input ----------------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    [
        "initialize",
        "restart",
        "factory_reset",
        "get_connection_status",
        "get_device_info",
        "get_schedule",
        "set_schedule",
        "set_schedule_default",
        "get_meter_list",
        "get_meter_info",
        "set_meter_info",
        "get_network_info",
        "get_time",
        "get_message",
        "confirm_message",
        "get_current_price",
        "set_current_price",
        "get_instantaneous_demand",
        "get_current_summation_delivered",
        "get_current_period_usage",
        "get_last_period_usage",
        "close_current_period",
        "set_fast_poll",
        "get_fast_poll_status",
        "get_profile_data",
        "",
    ]
)
_VALUES = st.one_of(
    st.sampled_from(
        ["", "Y", "N", "0x00", "0xffffffff", "0xffffffffffffffff", "1", "65535", "demand", METER, "Delivered"]
    ),
    st.text(st.characters(codec="latin-1"), max_size=12),
    st.integers(-(2**40), 2**70).map(str),
    st.integers(0, 2**70).map(hex),
)
_KEYS = st.sampled_from(
    [
        "Event",
        "Frequency",
        "Enabled",
        "MeterMacId",
        "Refresh",
        "Id",
        "Price",
        "TrailingDigits",
        "Duration",
        "NumberOfPeriods",
        "EndTime",
        "IntervalChannel",
        "NickName",
        "Name",
    ]
)
_COMMANDS = st.builds(
    lambda name, arguments: (
        b"<Command><Name>"
        + name.encode()
        + b"</Name>"
        + b"".join(f"<{k}>{v}</{k}>".encode("latin-1") for k, v in arguments.items())
        + b"</Command>"
    ),
    _NAMES,
    st.dictionaries(_KEYS, _VALUES, max_size=4),
)
_RUBBISH = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"<Command>",
            b"</Command>",
            b"<Command><Name>get_time",
            b"<?xml version='1.0'?>",
            b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><Command><Name>&b;</Name></Command>",
            b'<!DOCTYPE l [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]>'
            + b"<Command><Name>get_time</Name><Event>&b;</Event></Command>",
            b"<![CDATA[<Command>]]>",
            b"<Command>" * 300,
            b"<" * 5000,
            b"\x00" * 100,
        ]
    ),
)


@pytest.mark.fuzz
def test_no_bytes_hurt_the_display(make: Make) -> None:
    """12,000 streams; after each the device still answers, and its own warning is all that it says to nonsense."""
    home = make(meter={"interval_min": 15})
    home.after(3600)
    home.prepay()
    home.after(5)
    sent: list[bytes] = []
    session = home.loop.call(RavenSession, home.display, sent.append)

    @settings(max_examples=12_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.one_of(_COMMANDS, _RUBBISH), max_size=4), st.integers(1, 200))
    def attack(pieces: list[bytes], size: int) -> None:
        sent.clear()
        data = b"".join(pieces)
        for k in range(0, len(data), size):
            session.received(data[k : k + size])
        sent.clear()
        session.received(b"</Command><Command><Name>get_device_info</Name></Command>")
        assert sent[-1].startswith(b"<DeviceInfo>")
        for one in sent:
            found = wire.Notifications().feed(one)
            assert len(found) == 1

    home.loop.call(attack)
    home.after(60)
    assert home.display.link().joined
