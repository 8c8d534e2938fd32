"""The home area network and the meter's end of it: who may join, what is passed on, when, and what waits for a device."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from drivers.roles import AtZero, Billing, DisplayCode, MessageCode, MeterMessage
from drivers.wire.meter_settings import CustomerSettings, Language
from drivers.wire.raven_xml import parse_balance
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.defects import CATALOGUE
from twins.meters.ami_meter import AmiMeter, AmiMeterOptions, build, default_site
from twins.premises import han
from twins.wiring import Site, Source, WiringError

START = datetime(2026, 1, 5, 8, 10, tzinfo=UTC)
LATENCY_S = 0.2
TEXT_S = 600.0
CODE = han.install_code(bytes.fromhex("83fed3407a93"))
OTHER = han.install_code(bytes.fromhex("112233445566"))


class Listener:
    """A device that writes down what it hears, and when."""

    def __init__(self, home: Home, address: int = 0xA) -> None:
        self.address = address
        self.home = home
        self.heard: list[tuple[float, han.Published]] = []
        self.lost = 0

    def received(self, message: han.Published) -> None:
        self.heard.append(((self.home.clock.now() - START).total_seconds(), message))

    def unanswered(self) -> None:
        self.lost += 1

    def join(self, code: bytes = CODE) -> bool:
        return self.home.loop.call(self.home.network.join, self, han.link_key(code))

    def of(self, kind: type[han.Published]) -> list[Any]:
        return [message for _, message in self.heard if isinstance(message, kind)]

    def texts(self) -> list[str]:
        return [message.text for message in self.of(han.DisplayMessage)]


class Home:
    """A meter in its default site that coordinates the network `home` and knows one device."""

    def __init__(self, loop: LoopThread, *defects: str, **options: Any) -> None:
        self.loop = loop
        self.clock: SteppedClock = loop.call(SteppedClock, START)
        self.site = Site(self.clock)
        wiring = default_site(self.site).model_dump()
        given = {
            "han": "home",
            "han_devices": {"0x000000000000000a": CODE.hex()},
            "han_latency_s": LATENCY_S,
            "han_text_s": TEXT_S,
            "processing_s": 1.0,
        }
        self.meter: AmiMeter = loop.call(
            build,
            self.clock,
            self.site,
            name="meter",
            options=AmiMeterOptions.model_validate(wiring | given | options),
            seed=7,
            defects=frozenset(defects),
        )
        self.network = han.network(self.site, "home")

    def after(self, seconds: float) -> None:
        self.loop.run(self.clock.advance(seconds))

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
            zero_at=self.clock.now() + timedelta(days=2),
            at_zero=AtZero.DISCONNECT,
        )

    def refresh(self, number: int, cents: int) -> None:
        self.send(MessageCode.BALANCE, number, balance_cents=cents, credit_wh=cents * 40, time_left=timedelta(hours=1))


Make = Callable[..., Home]


@pytest.fixture
def make(site_loop: LoopThread) -> Make:
    return lambda *defects, **options: Home(site_loop, *defects, **options)


# --- Keys ---------------------------------------------------------------------------------------------------------------


def test_the_specifications_example_of_an_install_code() -> None:
    code = bytes.fromhex("83fed3407a939723a5c639b26916d505c3b5")
    assert han.install_code(code[:-2]) == code
    assert han.link_key(code).hex() == "66b6900981e1ee3ca4206b6b861c02bb"


@pytest.mark.parametrize("code", ["", "83", "83fed3407a932b71", "83fed3407a9397", "00" * 30])
def test_a_mistyped_install_code_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"install code|CRC"):
        han.check_install_code(bytes.fromhex(code))


# --- Joining ------------------------------------------------------------------------------------------------------------


def test_a_device_with_the_right_key_joins_and_is_brought_up_to_date(make: Make) -> None:
    home = make()
    device = Listener(home)
    assert device.join()
    home.after(LATENCY_S)
    assert [type(m) for _, m in device.heard] == [han.TimeReport, han.Summation, han.Demand]
    assert device.of(han.TimeReport) == [han.TimeReport(START, timedelta(hours=-8))]
    assert device.of(han.Demand)[0].watts == round(home.meter.reading().power_w)


@pytest.mark.parametrize(("address", "code"), [(0xA, OTHER), (0xB, CODE)])
def test_a_wrong_key_and_an_unknown_device_stay_outside(make: Make, address: int, code: bytes) -> None:
    home = make()
    device = Listener(home, address)
    assert not device.join(code)
    home.prepay()
    home.after(3600)
    assert device.heard == []
    assert home.loop.call(home.network.ask, device, han.ReadTime()) is None


def test_without_a_meter_or_its_supply_there_is_no_network(make: Make) -> None:
    home = make()
    home.supply(False)
    assert home.network.heard is None
    assert not Listener(home).join()
    assert han.network(home.site, "next door").heard is None


def test_a_device_that_joins_twice_is_told_once(make: Make) -> None:
    home = make()
    device = Listener(home)
    assert device.join()
    first = home.network.short_addresses[0xA]
    assert device.join()
    assert home.network.short_addresses[0xA] != first
    home.after(1)
    device.heard.clear()
    home.prepay()
    home.after(2)
    assert len(device.of(han.PublishPrice)) == 1
    assert len(device.texts()) == 1


def test_one_meter_coordinates_a_network(make: Make, site_loop: LoopThread) -> None:
    home = make()
    options = AmiMeterOptions(tap="line side", han="home")
    with pytest.raises(WiringError, match="coordinator"):
        site_loop.call(lambda: build(home.clock, home.site, name="second", options=options))


@pytest.mark.parametrize(
    "options",
    [
        {"han_devices": {"0x000000000000000a": "83fed3407a932b71"}},
        {"han_devices": {"10": CODE.hex()}},
        {"han_address": "1"},
    ],
)
def test_options_that_make_no_network_are_refused(make: Make, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**options)


# --- What is passed on, and when ------------------------------------------------------------------------------------------


def joined(home: Home) -> Listener:
    device = Listener(home)
    assert device.join()
    home.after(1)
    device.heard.clear()
    return device


def test_account_and_price_are_passed_on_when_they_are_processed(make: Make) -> None:
    home = make()
    device = joined(home)
    home.prepay(number=41)
    home.after(5)
    assert {at for at, _ in device.heard} == {1 + 1.0 + LATENCY_S}
    assert [p.millicents_per_kwh for p in device.of(han.PublishPrice)] == [21_500]
    (text,) = device.of(han.DisplayMessage)
    assert text.message_id == 41
    assert not text.confirmation_required
    told = parse_balance(text.text)
    assert told is not None
    assert (told.balance_cents, told.credit_wh) == (2500, 100_000)
    assert told.at == START + timedelta(seconds=2)
    assert told.time_left == timedelta(days=2, hours=3, minutes=4)
    assert told.zero_at == START + timedelta(days=2, seconds=1)
    assert text.text.endswith("SERVICE ON")


def test_every_refresh_is_passed_on_and_a_price_that_stays_is_not_repeated(make: Make) -> None:
    home = make()
    device = joined(home)
    home.prepay()
    for number, cents in ((2, 1200), (3, 5), (4, 0), (5, -100)):
        home.refresh(number, cents)
        home.after(2)
    got = [parse_balance(text) for text in device.texts()]
    assert [b.balance_cents for b in got if b is not None][1:] == [1200, 5, 0, -100]
    assert len(device.of(han.PublishPrice)) == 1


def test_the_service_is_passed_on_with_the_account(make: Make) -> None:
    home = make()
    device = joined(home)
    home.prepay()
    home.after(2)
    home.loop.call(home.meter.limit, 3000)
    home.after(1)
    home.loop.call(home.meter.disconnect)
    home.after(1)
    assert [text.partition("SERVICE ")[2] for text in device.texts()] == ["ON", "LIMIT 3.0 kW", "OFF"]


def test_a_text_of_the_utility_wants_a_confirmation_and_the_meter_takes_it(make: Make) -> None:
    home = make()
    device = joined(home)
    home.send(MessageCode.TEXT, 9, text="Hola señor")
    home.after(2)
    (text,) = device.of(han.DisplayMessage)
    assert (text.message_id, text.text, text.confirmation_required) == (9, "Hola señor", True)
    assert text.duration == timedelta(seconds=TEXT_S)
    home.loop.call(home.network.request, device, han.MessageConfirmation(9, home.clock.now()))
    home.after(1)
    assert list(home.meter.confirmed_texts) == [9]


def test_demand_and_register_are_passed_on_when_an_interval_is_recorded(make: Make) -> None:
    home = make(interval_min=15)
    device = joined(home)
    home.after(3600)
    at = [5 * 60 + k * 900 + LATENCY_S for k in range(4)]
    assert [t for t, m in device.heard if isinstance(m, han.Summation)] == pytest.approx(at)
    assert [t for t, m in device.heard if isinstance(m, han.Demand)] == pytest.approx(at)
    wh = [m.delivered_wh for m in device.of(han.Summation)]
    assert [b - a for a, b in itertools.pairwise(wh)] == pytest.approx([300] * 3, abs=2)


def test_all_of_it_is_passed_on_with_the_meters_own_display_off(make: Make) -> None:
    home = make(interval_min=15)
    device = joined(home)
    assert home.meter.display()
    home.loop.call(home.meter.press, "display")
    assert home.meter.display() == ()
    assert not home.meter.config().display_on
    home.prepay()
    home.send(MessageCode.TEXT, 2, text="Hello")
    home.after(900)
    assert {type(m) for _, m in device.heard} == {han.PublishPrice, han.DisplayMessage, han.Summation, han.Demand}
    home.loop.call(home.meter.press, "display")
    assert DisplayCode.BALANCE in [line.code for line in home.meter.display()]


def test_polls_are_answered_and_what_there_is_not_is_not(make: Make) -> None:
    home = make()
    device = joined(home)
    ask: Callable[..., Any] = lambda request: home.loop.call(home.network.ask, device, request)  # noqa: E731
    assert ask(han.GetCurrentPrice()) is None
    assert ask(han.GetLastMessage()) is None
    home.prepay()
    home.after(2)
    assert ask(han.GetCurrentPrice()).millicents_per_kwh == 21_500
    assert parse_balance(ask(han.GetLastMessage()).text) is not None
    home.send(MessageCode.TEXT, 2, text="Hello")
    home.after(2)
    assert ask(han.GetLastMessage()).text == "Hello"
    home.after(TEXT_S)
    assert parse_balance(ask(han.GetLastMessage()).text) is not None
    device.heard.clear()
    home.loop.call(home.network.request, device, han.ReadDemand())
    home.after(2 * LATENCY_S)
    assert len(device.of(han.Demand)) == 1


def test_interval_data_newest_first(make: Make) -> None:
    home = make(interval_min=15)
    device = joined(home)
    home.after(3600)
    recorded = home.meter.intervals()

    def profile(*request: Any) -> han.Profile:
        got = home.loop.call(home.network.ask, device, han.GetProfile(*request))
        assert isinstance(got, han.Profile)
        return got

    got = profile(2, False, None)
    assert got.ends_at == recorded[-1].ends_at
    assert got.length == timedelta(minutes=15)
    assert got.energies_wh == tuple(round(i.energy_wh) for i in recorded[:-3:-1])
    assert profile(1, False, recorded[1].ends_at).ends_at == recorded[1].ends_at
    assert profile(0, False, None) == han.Profile(None, timedelta(0), ())
    assert profile(2, True, None).energies_wh == ()


# --- Out of reach ---------------------------------------------------------------------------------------------------------


def test_what_could_not_be_delivered_comes_after_joining(make: Make) -> None:
    home = make()
    home.prepay()
    for number, text in ((2, "one"), (3, "two")):
        home.send(MessageCode.TEXT, number, text=text)
    home.after(7200)  # longer than any of the texts is shown
    device = Listener(home)
    assert device.join()
    home.after(1)
    assert [p.millicents_per_kwh for p in device.of(han.PublishPrice)] == [21_500]
    assert device.texts()[1:] == ["one", "two"]
    assert parse_balance(device.texts()[0]) is not None


def test_a_device_that_was_away_gets_what_it_missed_and_nothing_twice(make: Make) -> None:
    home = make()
    device = joined(home)
    home.send(MessageCode.TEXT, 1, text="heard")
    home.after(2)
    home.loop.call(home.network.leave, 0xA)
    home.send(MessageCode.TEXT, 2, text="missed")
    home.after(7200)
    device.heard.clear()
    assert device.join()
    home.after(1)
    assert device.texts() == ["missed"]
    home.after(7200)
    device.heard.clear()
    assert device.join()
    home.after(1)
    assert device.texts() == []


def test_a_request_that_nobody_hears_is_told(make: Make) -> None:
    home = make()
    device = joined(home)
    home.supply(False)
    home.loop.call(home.network.request, device, han.ReadDemand())
    home.after(1)
    assert device.lost == 1
    assert device.heard == []
    home.supply(True)
    home.after(1)
    assert device.of(han.Summation)


# --- Defects, each with its test here -------------------------------------------------------------------------------------


def test_a_meter_that_passes_nothing(make: Make) -> None:
    home = make("passes_nothing_to_the_display")
    device = Listener(home)
    assert device.join()
    home.prepay()
    home.after(7200)
    assert {type(m) for _, m in device.heard} == {han.TimeReport}
    assert home.loop.call(home.network.ask, device, han.GetCurrentPrice()) is None


def test_a_meter_that_passes_nothing_with_its_own_display_off(make: Make) -> None:
    home = make("passes_nothing_with_own_display_off")
    device = joined(home)
    home.prepay()
    home.after(2)
    assert device.texts()
    device.heard.clear()
    home.loop.call(home.meter.press, "display")
    home.refresh(2, 100)
    home.after(7200)
    assert device.heard == []


@pytest.mark.parametrize(
    ("defect", "late_s"), [("passes_to_the_display_late", 300), ("passes_to_the_display_two_seconds_late", 2)]
)
def test_a_meter_that_is_late(make: Make, defect: str, late_s: int) -> None:
    home = make(defect)
    device = joined(home)
    home.prepay()
    home.after(late_s)
    assert device.texts() == []
    home.after(3)
    assert device.texts()


def test_a_meter_that_keeps_its_usage(make: Make) -> None:
    home = make("passes_no_usage_to_the_display", interval_min=15)
    device = joined(home)
    home.prepay()
    home.after(3600)
    assert not device.of(han.Summation)
    assert not device.of(han.Demand)
    assert device.texts()


def test_a_meter_that_keeps_its_demand(make: Make) -> None:
    home = make("passes_no_demand_to_the_display", interval_min=15)
    device = joined(home)
    home.prepay()
    home.after(3600)
    assert device.of(han.Summation)
    assert not device.of(han.Demand)
    assert device.texts()


def test_a_meter_that_leaves_out_the_time_left(make: Make) -> None:
    home = make("passes_balance_without_time_left")
    device = joined(home)
    home.prepay()
    home.after(3)
    told = parse_balance(device.texts()[0])
    assert told is not None
    assert (told.balance_cents, told.time_left, told.zero_at) == (2500, None, None)


def test_no_defect_of_what_is_passed_was_forgotten() -> None:
    tested = {
        "passes_nothing_to_the_display",
        "passes_nothing_with_own_display_off",
        "passes_to_the_display_late",
        "passes_to_the_display_two_seconds_late",
        "passes_no_usage_to_the_display",
        "passes_no_demand_to_the_display",
        "passes_balance_without_time_left",
    }
    assert tested == {name for name, d in CATALOGUE.items() if d.of == "ami-meter" and name.startswith("passes_")}


def test_the_notice_of_zero_is_told_once_in_the_customers_language_and_the_account_with_it(make: Make) -> None:
    home = make()
    device = Listener(home)
    device.join()
    home.loop.call(home.meter.set_customer, CustomerSettings(Language.SPANISH))
    home.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    home.refresh(2, 500)
    home.after(3000)
    device.heard.clear()
    home.refresh(3, 0)
    home.refresh(4, -10)
    home.after(10)
    notices = [m for m in device.of(han.DisplayMessage) if m.confirmation_required]
    assert [m.text for m in notices] == ["Su saldo de prepago ha llegado a cero. Pague para conservar el servicio."]
    assert (notices[0].message_id, notices[0].duration) == (1 << 31 | 3, timedelta(seconds=TEXT_S))
    assert [b.balance_cents for b in map(parse_balance, device.texts()) if b is not None] == [0, -10]


def test_a_text_of_the_catalogue_is_passed_on_as_the_meter_shows_it(make: Make) -> None:
    home = make()
    device = Listener(home)
    device.join()
    home.loop.call(home.meter.set_customer, CustomerSettings(Language.SPANISH))
    home.send(MessageCode.TEXT, 9, text="RESTORED", event_id=5)
    home.after(5)
    assert device.texts() == ["Su servicio completo ha sido restablecido."]


def test_a_balance_that_the_meter_works_out_is_passed_on_when_it_is(make: Make) -> None:
    home = make()
    device = Listener(home)
    device.join()
    home.loop.call(home.meter.set_customer, CustomerSettings(own_balance=True))
    home.prepay()
    home.after(3000)  # 9:00, billing is prepaid
    device.heard.clear()
    home.after(3601)
    balances = [b.balance_cents for b in map(parse_balance, device.texts()) if b is not None]
    assert balances == [2500 - round(1.2 * 21.5)]
