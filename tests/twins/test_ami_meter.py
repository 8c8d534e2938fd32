"""The AMI meter's own time, registers, intervals, supply, display and faults, rule by rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from drivers.errors import LinkLost, OutOfRange
from drivers.roles import DisplayCode, EventCode, MessageCode, Meter, ReceiptStatus, Switch
from tests.conftest import LoopThread
from tests.twins.homes import START, Make, message
from twins import models
from twins.clock import SteppedClock, WallClock
from twins.meters.ami_meter import MODEL, AmiMeterOptions, build, default_site
from twins.wiring import Load, Site, Source, Tap, single_phase, three_phase


def test_it_is_a_meter_and_says_who_it_is(home: Make) -> None:
    meter = home().meter
    assert isinstance(meter, Meter)
    assert models.find("ami-meter") is MODEL
    assert (meter.identify().manufacturer, meter.identify().model) == ("TWBN", "AMI-CL20")
    assert meter.meter_id() == "TB-000001"


# --- Clock and registers ---------------------------------------------------------------------------------------------


def test_the_clock_keeps_its_own_time(home: Make) -> None:
    h = home(clock_offset_s=-5, clock_drift_ppm=100)
    assert h.meter.clock() == START - timedelta(seconds=5)
    assert h.after(10_000).clock() == START + timedelta(seconds=10_000 - 5 + 1)
    h.loop.call(h.meter.set_clock, START)
    assert h.meter.clock() == START
    assert h.events(EventCode.CLOCK_SET)[0].at == START


def test_registers_follow_the_energy_within_the_class_and_differ_from_unit_to_unit(home: Make) -> None:
    ratios = []
    for seed in range(12):
        h = home(seed=seed, class_percent=0.2)
        ratios.append(h.after(3600).reading().delivered_wh / h.site.tap("line side").energy().delivered_wh)
    assert all(abs(r - 1) < 0.002 for r in ratios)
    assert len(set(ratios)) == len(ratios)
    assert max(abs(r - 1) for r in ratios) > 0.0002
    exact = home(class_percent=0).after(3600).reading()
    assert exact.delivered_wh == pytest.approx(1200, rel=1e-12)
    assert (exact.voltage_v, exact.current_a, exact.power_w, exact.frequency_hz) == pytest.approx((240, 5, 1200, 60))


def test_energy_fed_back_counts_in_the_received_register(home: Make) -> None:
    h = home(class_percent=0)
    h.draw(-2400)
    reading = h.after(1800).reading()
    assert (reading.delivered_wh, reading.received_wh, reading.power_w) == pytest.approx((0, 1200, -2400))


def test_a_single_phase_and_a_three_phase_service_are_read_to_neutral(home: Make, site_loop: LoopThread) -> None:
    for volts, power in ((single_phase(240.0), 1200.0), (three_phase(240.0), 3600.0)):
        clock = site_loop.call(SteppedClock)
        site = Site(clock)
        source, tap = Source(site, "source", volts, 60.0), Tap(site, "tap")
        source.feeds(tap)
        tap.feeds(*(Load(site, f"load {k}", "current", 5.0, legs=(k,)) for k in range(len(volts))))
        options = AmiMeterOptions(tap="tap", class_percent=0)
        reading = site_loop.call(build, clock, site, name="m", options=options).reading()
        assert (reading.voltage_v, reading.current_a, reading.power_w) == pytest.approx((240, 5, power))


# --- Intervals -------------------------------------------------------------------------------------------------------


def test_intervals_are_aligned_to_the_hour_and_the_first_one_is_partial(home: Make) -> None:
    h = home(begin=START + timedelta(minutes=20), class_percent=0)
    first, second = h.after(100 * 60).intervals()
    assert (first.ends_at, first.complete, first.energy_wh) == (START + timedelta(hours=1), False, pytest.approx(800))
    assert (second.ends_at, second.complete) == (START + timedelta(hours=2), True)
    assert (second.energy_wh, second.length) == (pytest.approx(1200), timedelta(hours=1))
    assert h.meter.intervals(first.ends_at) == (second,)
    assert h.meter.intervals(second.ends_at) == ()


def test_intervals_go_by_the_meters_own_clock(home: Make) -> None:
    h = home(clock_offset_s=600, clock_drift_ppm=50)
    assert h.after(2999).intervals() == ()
    assert [i.ends_at for i in h.after(1).intervals()] == [START + timedelta(hours=1)]


def test_a_change_of_load_at_the_boundary_belongs_to_the_next_interval(home: Make) -> None:
    h = home(class_percent=0)
    h.after(3600)
    h.draw(0)
    assert [i.energy_wh for i in h.after(3600).intervals()] == pytest.approx([1200, 0])


def test_setting_the_clock_over_a_boundary_makes_both_intervals_partial_and_loses_no_energy(home: Make) -> None:
    h = home(class_percent=0)
    h.after(1800)
    h.loop.call(h.meter.set_clock, START + timedelta(minutes=80))
    h.after(3600)
    stored = h.meter.intervals()
    assert [(i.ends_at - START, i.complete) for i in stored] == [
        (timedelta(hours=1), False),
        (timedelta(hours=2), False),
    ]
    assert [i.energy_wh for i in stored] == pytest.approx([600, 800])


def test_an_hour_lived_twice_is_stored_once_with_all_its_energy(home: Make) -> None:
    h = home(class_percent=0)
    h.after(3660)
    h.loop.call(h.meter.set_clock, START + timedelta(minutes=30))
    stored = h.after(1800).intervals()
    assert [(i.ends_at - START, i.complete) for i in stored[:2]] == [
        (timedelta(hours=1), False),
        (timedelta(hours=2), False),
    ]
    assert sum(i.energy_wh for i in stored) == pytest.approx(1200 * 91 / 60)


def test_a_small_correction_inside_an_interval_leaves_it_complete(home: Make) -> None:
    h = home()
    h.after(600)
    h.loop.call(h.meter.set_clock, h.clock.now() + timedelta(milliseconds=300))
    assert [i.complete for i in h.after(3600).intervals()] == [True]
    h.loop.call(h.meter.set_clock, h.clock.now() + timedelta(seconds=5))
    assert [i.complete for i in h.after(3600).intervals()] == [True, False]


def test_the_interval_can_be_changed_to_a_divisor_of_an_hour(home: Make) -> None:
    h = home(class_percent=0)
    h.after(600)
    h.loop.call(h.meter.set_interval, timedelta(minutes=15))
    stored = h.after(35 * 60).intervals()
    assert [((i.ends_at - START).seconds // 60, i.complete) for i in stored] == [
        (10, False),
        (15, False),
        (30, True),
        (45, True),
    ]
    assert sum(i.energy_wh for i in stored) == pytest.approx(900)
    for wrong in (timedelta(minutes=7), timedelta(hours=2), timedelta(seconds=90), timedelta(0)):
        with pytest.raises(OutOfRange):
            h.loop.call(h.meter.set_interval, wrong)


def test_the_ring_of_intervals_keeps_the_newest(home: Make) -> None:
    h = home(interval_capacity=3)
    assert [i.ends_at for i in h.after(5 * 3600).intervals()] == [START + timedelta(hours=n) for n in (3, 4, 5)]


# --- Supply ----------------------------------------------------------------------------------------------------------


def test_without_supply_the_meter_is_dead_and_its_intervals_partial(home: Make) -> None:
    h = home(class_percent=0)
    h.after(1800)
    h.supply(False)
    assert not h.meter.answers
    assert h.meter.display() == ()
    with pytest.raises(LinkLost, match="no line voltage"):
        h.loop.call(h.meter.connect)
    with pytest.raises(LinkLost):
        h.send(MessageCode.TEST)
    h.after(2 * 3600)
    h.supply(True)
    assert h.meter.answers
    ups = h.events(EventCode.POWER_UP)
    assert [e.at for e in ups] == [START, START + timedelta(hours=2.5)]
    stored = h.after(5400).intervals()
    assert [i.complete for i in stored] == [False, False, False, True]
    assert [i.energy_wh for i in stored] == pytest.approx([600, 0, 600, 1200])


def test_a_message_in_work_when_the_supply_fails_is_processed_when_it_is_back(home: Make) -> None:
    h = home()
    h.send(MessageCode.PREPAYMENT)
    h.after(0.2)
    h.supply(False)
    h.after(10)
    assert h.statuses() == []
    h.supply(True)
    h.after(0.5)
    assert h.statuses() == [ReceiptStatus.PROCESSED]


def test_a_reclose_and_an_event_that_fell_due_without_supply_happen_when_it_is_back(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(10)
    assert h.meter.service().switch is Switch.TRIPPED
    h.supply(False)
    h.after(600)
    assert h.meter.service().switch is Switch.TRIPPED
    h.supply(True)
    assert h.after(0).service().switch is Switch.CLOSED


# --- Real time -------------------------------------------------------------------------------------------------------


def test_it_does_the_same_in_real_time(site_loop: LoopThread) -> None:
    clock = site_loop.call(WallClock)
    site = Site(clock)
    options = default_site(site).model_copy(
        update={"processing_s": 0.02, "limit_window_s": 0.1, "reclose_s": 0.1, "class_percent": 0}
    )
    meter = site_loop.call(build, clock, site, name="meter", options=options)
    site_loop.call(meter.send, message(MessageCode.LIMIT, 1, clock.now(), limit_w=1000))

    def done() -> bool:
        return [e.event for e in meter.log()].count(EventCode.LIMIT_TRIPPED) == 2

    assert site_loop.run(clock.run_until(clock.now() + timedelta(seconds=5), done))
    trip, reclosed, _ = (e for e in meter.log() if e.event in (EventCode.LIMIT_TRIPPED, EventCode.RECLOSED))
    assert (reclosed.at - trip.at).total_seconds() == pytest.approx(0.1, abs=0.09)
    assert meter.receipts()[0].status is ReceiptStatus.PROCESSED
    site_loop.run(clock.close())


# --- Display ---------------------------------------------------------------------------------------------------------


def test_the_display_shows_the_account_as_it_was_sent(home: Make) -> None:
    h = home(class_percent=0)
    h.after(24 * 3600)
    assert [line.code for line in h.meter.display()] == [6, 7, 8, 9]
    h.send(MessageCode.PREPAYMENT)
    h.send(MessageCode.TEXT, 2, text="Pague su saldo")
    h.after(3600)
    assert {line.code.name: line.text for line in h.meter.display()} == {
        "BALANCE": "$25.00",
        "CREDIT": "116.3 kWh",
        "TIME_LEFT": "3 d 04 h 05 min",
        "UPDATED": "2026-01-06 00:00",
        "PRICE": "$0.2150/kWh",
        "COST": "$0.2580/h",
        "ENERGY": "000030.0 kWh",
        "DEMAND": "1.200 kW",
        "SERVICE": "ON",
        "CLOCK": "2026-01-06 01:00",
        "MESSAGE": "Pague su saldo",
    }
    h.send(MessageCode.BALANCE, 3, balance_cents=-5, credit_wh=0, time_left=timedelta(0))
    h.after(1)
    assert h.shows(DisplayCode.BALANCE) == "-$0.05"
    assert h.shows(DisplayCode.TIME_LEFT) == "0 d 00 h 00 min"
    assert h.shows(DisplayCode.CREDIT) == "0.0 kWh"


def test_a_display_switched_off_shows_nothing(home: Make) -> None:
    assert home(display=False).meter.display() == ()


# --- Faults, buttons, options ----------------------------------------------------------------------------------------


def test_faults(home: Make) -> None:
    h = home(class_percent=0)
    h.loop.call(h.meter.inject, "silent")
    assert not h.meter.answers
    h.loop.call(h.meter.inject, "silent", False)
    assert h.meter.answers

    h.loop.call(h.meter.inject, "switch_welded")
    h.loop.call(h.meter.disconnect)
    welded = h.meter.service()
    assert (welded.switch, welded.energised) == (Switch.OPEN, True)
    h.loop.call(h.meter.inject, "switch_welded", False)
    assert not h.meter.service().energised

    h.loop.call(h.meter.inject, "switch_stuck_open")
    h.loop.call(h.meter.connect)
    stuck = h.meter.service()
    assert (stuck.switch, stuck.energised) == (Switch.CLOSED, False)
    h.loop.call(h.meter.inject, "switch_stuck_open", False)
    assert h.meter.service().energised

    h.after(3600)
    h.loop.call(h.meter.inject, "metrology_high")
    assert h.after(3600).reading().delivered_wh == pytest.approx(1200 + 1260)

    h.loop.call(h.meter.inject, "clock_stopped")
    assert h.after(7200).clock() == START + timedelta(hours=2)
    assert len(h.meter.intervals()) == 2
    h.loop.call(h.meter.inject, "clock_stopped", False)
    assert h.after(60).clock() == START + timedelta(hours=2, minutes=1)

    with pytest.raises(ValueError, match="faults are"):
        h.loop.call(h.meter.inject, "haunted")
    with pytest.raises(ValueError, match="buttons are"):
        h.loop.call(h.meter.press, "eject")


def test_whoever_follows_hears_of_every_change(home: Make) -> None:
    h = home()
    heard: list[Switch] = []
    h.meter.changed.append(lambda: heard.append(h.meter.service().switch))
    h.loop.call(h.meter.disconnect)
    assert heard[-1] is Switch.OPEN
    count = len(heard)
    h.draw(100)  # nothing flows: nothing to tell
    assert len(heard) == count
    h.send(MessageCode.CONNECT)
    h.after(1)
    assert heard[-1] is Switch.CLOSED


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tap": "t", "colour": "red"}, "colour"),
        ({"tap": "t", "switch": "s"}, "load_side"),
        ({"tap": "t", "limit_w": 5}, "switch"),
        ({"tap": "t", "interval_min": 7}, "divide an hour"),
        ({"tap": "t", "time_zone": "Mars/Base"}, "time zone"),
        ({"tap": "t", "priorities": {"SHOUT": 1}}, "SHOUT"),
        ({"tap": "t", "meter_id": "x" * 21}, "20"),
    ],
)
def test_wrong_options_say_what_is_wrong(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        AmiMeterOptions.model_validate(options)
