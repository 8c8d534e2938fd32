"""The AMI meter's behaviour, rule by rule, and what each seeded defect shows of itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.roles import (
    AtZero,
    Billing,
    DisplayCode,
    EventCode,
    MessageCode,
    Meter,
    ReceiptStatus,
    Switch,
)
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, Rule, Trigger
from tests.conftest import LoopThread
from tests.twins.homes import START, Home, Make, message, schedule
from twins import defects, models
from twins.clock import SteppedClock, WallClock
from twins.meters.ami_meter import MODEL, AmiMeterOptions, build, default_site
from twins.meters.service import first_excess
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


# --- Service switch and demand limit ---------------------------------------------------------------------------------


def test_connect_and_disconnect_move_the_switch_and_the_load_side_tells(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.disconnect)
    off = h.meter.service()
    assert (off.switch, off.energised, off.load_side_voltage_v, off.load_side_current_a) == (Switch.OPEN, False, 0, 0)
    assert h.shows(DisplayCode.SERVICE) == "OFF"
    h.loop.call(h.meter.connect)
    on = h.meter.service()
    assert (on.switch, on.energised) == (Switch.CLOSED, True)
    assert (on.load_side_voltage_v, on.load_side_current_a) == pytest.approx((240, 5))
    assert [e.event for e in h.events()[1:]] == [EventCode.SWITCH_OPENED, EventCode.SWITCH_CLOSED]


def test_a_limit_trips_on_the_mean_over_its_window(home: Make) -> None:
    h = home(class_percent=0, limit_window_s=10)
    h.draw(500)
    h.loop.call(h.meter.limit, 1000)
    h.after(60)
    h.draw(2500)  # the mean of ten seconds reaches 1000 W 2.5 s later
    assert h.after(2.4).service().switch is Switch.CLOSED
    assert h.after(0.2).service().switch is Switch.TRIPPED
    assert h.shows(DisplayCode.SERVICE) == "TRIPPED"


def test_a_short_peak_does_not_trip(home: Make) -> None:
    h = home(class_percent=0, limit_window_s=10)
    h.draw(500)
    h.loop.call(h.meter.limit, 1000)
    h.after(60)
    h.draw(2500)
    h.after(2)
    h.draw(500)
    assert h.after(600).service().switch is Switch.CLOSED


def test_a_load_at_the_limit_does_not_trip(home: Make) -> None:
    h = home(class_percent=0)
    h.draw(1000)
    h.loop.call(h.meter.limit, 1000)
    assert h.after(3600).service().switch is Switch.CLOSED


def test_after_a_trip_it_recloses_once_two_minutes_later_and_never_again(home: Make) -> None:
    h = home(limit_window_s=10)
    h.loop.call(h.meter.limit, 1000)
    h.after(24 * 3600)
    kinds = [e.event for e in h.events(EventCode.LIMIT_TRIPPED, EventCode.RECLOSED)]
    assert kinds == [EventCode.LIMIT_TRIPPED, EventCode.RECLOSED, EventCode.LIMIT_TRIPPED]
    trip, reclosed = h.events(EventCode.LIMIT_TRIPPED, EventCode.RECLOSED)[:2]
    assert reclosed.at - trip.at == timedelta(seconds=120)
    assert h.meter.service().switch is Switch.TRIPPED


def test_the_button_recloses_any_time_keeps_the_limit_and_does_not_arm_the_reclose(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(200)  # tripped, re-closed, tripped for good
    h.loop.call(h.meter.press, "reclose")
    assert h.meter.service().switch is Switch.CLOSED
    assert h.meter.service().limit_w == 1000
    h.after(3600)
    assert h.meter.service().switch is Switch.TRIPPED
    assert len(h.events(EventCode.RECLOSED)) == 1
    assert len(h.events(EventCode.MANUAL_RECLOSE)) == 1


def test_the_button_takes_the_place_of_the_automatic_reclose_it_forestalls(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(30)
    h.loop.call(h.meter.press, "reclose")
    h.after(3600)
    assert h.events(EventCode.RECLOSED) == []
    assert h.meter.service().switch is Switch.TRIPPED


def test_a_new_limit_arms_the_reclose_again_but_connect_does_not(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(3600)
    h.loop.call(h.meter.connect)
    h.after(3600)
    assert len(h.events(EventCode.RECLOSED)) == 1
    h.loop.call(h.meter.limit, 800)
    h.loop.call(h.meter.connect)
    h.after(3600)
    assert len(h.events(EventCode.RECLOSED)) == 2


def test_the_button_does_not_close_a_switch_that_the_utility_opened(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.disconnect)
    h.loop.call(h.meter.press, "reclose")
    assert h.meter.service().switch is Switch.OPEN


def test_a_disconnect_after_a_trip_takes_the_reclose_back(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(60)
    h.loop.call(h.meter.disconnect)
    assert h.after(3600).service().switch is Switch.OPEN


def test_ending_the_limit_closes_a_tripped_switch(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 1000)
    h.after(3600)
    h.loop.call(h.meter.limit, None)
    assert (h.meter.service().switch, h.meter.service().limit_w) == (Switch.CLOSED, None)
    assert h.after(3600).service().switch is Switch.CLOSED


def test_first_excess_finds_the_moment() -> None:
    assert first_excess([(0, 2000)], 0, 10, 1000) == 10
    assert first_excess([(0, 900)], 0, 10, 1000) is None
    assert first_excess([(0, 0), (20, 2000)], 20, 10, 1000) == pytest.approx(25)
    # The pulse is over and power at the limit; the mean still rises while the quiet time leaves the window.
    assert first_excess([(0, 0), (20, 1900), (25, 1000)], 25, 10, 1000) == pytest.approx(25.5)
    assert first_excess([(0, 0), (20, 1900), (25, 0)], 25, 10, 1000) is None


def test_a_meter_without_a_switch_refuses_what_needs_one(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    site = Site(clock)
    default_site(site)
    options = AmiMeterOptions(tap="line side")
    meter = site_loop.call(build, clock, site, name="meter", options=options)
    assert (meter.service().switch, meter.service().energised) == (Switch.NONE, True)
    for act in (meter.connect, meter.disconnect, lambda: meter.limit(1000)):
        with pytest.raises(NotSupported, match="no service switch"):
            site_loop.call(act)
    for n, code in enumerate((MessageCode.CONNECT, MessageCode.DISCONNECT, MessageCode.LIMIT, MessageCode.RESTORE), 1):
        site_loop.call(meter.send, message(code, n, clock.now(), limit_w=1000))
    site_loop.call(meter.send, message(MessageCode.PREPAYMENT, 9, clock.now()))
    site_loop.run(clock.advance(5))
    assert [r.status for r in meter.receipts()] == [ReceiptStatus.REFUSED] * 4 + [ReceiptStatus.PROCESSED]


# --- Messages and receipts -------------------------------------------------------------------------------------------


def test_a_prepayment_sets_the_account_energises_and_is_receipted(home: Make) -> None:
    h = home(clock_offset_s=2)
    h.loop.call(h.meter.disconnect)
    h.after(100)
    h.send(MessageCode.PREPAYMENT, 77)
    assert h.meter.receipts() == ()
    assert h.meter.service().switch is Switch.OPEN
    h.after(0.5)
    account = h.meter.account()
    assert (account.balance_cents, account.credit_wh) == (2500, 116_300)
    assert (account.at_zero, account.last_message_id) == (AtZero.DISCONNECT, 77)
    done = START + timedelta(seconds=102.5)
    assert account.updated_at == done
    assert h.meter.service().energised
    (receipt,) = h.meter.receipts()
    assert (receipt.sequence, receipt.message_id, receipt.code) == (1, 77, MessageCode.PREPAYMENT)
    assert (receipt.meter_id, receipt.status, receipt.completed_at) == ("TB-000001", ReceiptStatus.PROCESSED, done)
    received, sent = h.events(EventCode.MESSAGE_RECEIVED, EventCode.RECEIPT_SENT)
    assert (received.argument, received.message_code) == (77, MessageCode.PREPAYMENT)
    assert received.at == START + timedelta(seconds=102)
    assert (sent.argument, sent.at) == (77, done)


def test_a_message_id_is_carried_out_once(home: Make) -> None:
    h = home()
    h.send(MessageCode.DISCONNECT, 5)
    h.after(1)
    h.loop.call(h.meter.connect)
    h.send(MessageCode.DISCONNECT, 5)
    h.after(1)
    assert h.statuses() == [ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE]
    assert h.meter.service().switch is Switch.CLOSED


def test_a_message_that_was_refused_may_be_sent_again(home: Make) -> None:
    h = home()
    h.send(MessageCode.CANCEL_SCHEDULE, 5, event_id=9)
    h.after(1)
    schedule(h, 6, 9, 2, 3)
    h.after(1)
    h.send(MessageCode.CANCEL_SCHEDULE, 5, event_id=9)
    h.after(1)
    assert h.statuses() == [ReceiptStatus.REFUSED, ReceiptStatus.PROCESSED, ReceiptStatus.PROCESSED]


def test_the_most_urgent_message_goes_first_but_none_is_interrupted(home: Make) -> None:
    h = home(processing_s=1.0)
    for number, priority in ((1, 9), (2, 7), (3, 0), (4, 7)):
        h.send(MessageCode.TEST, number, priority=priority)
    h.after(10)
    assert [r.message_id for r in h.meter.receipts()] == [1, 3, 2, 4]


def test_the_utility_can_configure_priorities_by_code(home: Make) -> None:
    h = home(priorities={"DISCONNECT": 0, "BALANCE": 9})
    h.send(MessageCode.TEXT, 1, text="first")
    h.send(MessageCode.BALANCE, 2, balance_cents=1, priority=0)
    h.send(MessageCode.DISCONNECT, 3, priority=9)
    h.after(10)
    assert [r.message_id for r in h.meter.receipts()] == [1, 3, 2]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (MessageCode.PREPAYMENT, {"balance_cents": None}),
        (MessageCode.BALANCE, {}),
        (MessageCode.LIMIT, {}),
        (MessageCode.LIMIT, {"limit_w": 0}),
        (MessageCode.SCHEDULE, {"event_id": 1}),
        (MessageCode.CANCEL_SCHEDULE, {}),
        (MessageCode.BILLING, {}),
        (MessageCode.TEXT, {}),
    ],
)
def test_a_message_without_its_fields_is_malformed_and_does_nothing(
    home: Make, code: MessageCode, fields: dict[str, Any]
) -> None:
    h = home()
    before = (h.meter.account(), h.meter.service(), h.meter.schedule())
    h.send(code, 1, **fields)
    h.after(1)
    assert h.statuses() == [ReceiptStatus.MALFORMED]
    assert (h.meter.account(), h.meter.service(), h.meter.schedule()) == before


def test_a_full_queue_refuses(home: Make) -> None:
    h = home(message_capacity=2)
    for number in range(1, 4):  # one is in work, two wait
        h.send(MessageCode.TEST, number)
    with pytest.raises(Refused, match="full"):
        h.send(MessageCode.TEST, 4)


def test_rings_of_log_and_receipts_keep_the_newest_and_their_numbers(home: Make) -> None:
    h = home(log_capacity=4, receipt_capacity=2)
    for number in range(1, 6):
        h.send(MessageCode.TEST, number)
    h.after(60)
    assert [r.sequence for r in h.meter.receipts()] == [4, 5]
    assert [r.sequence for r in h.meter.receipts(after=4)] == [5]
    assert h.meter.receipts(after=5) == h.meter.receipts(after=99) == ()
    assert [e.sequence for e in h.meter.log()] == [8, 9, 10, 11]


def test_limit_and_restore_by_message(home: Make) -> None:
    h = home()
    h.send(MessageCode.LIMIT, 1, limit_w=3000)
    h.after(1)
    assert h.shows(DisplayCode.SERVICE) == "LIMIT 3.0 kW"
    h.send(MessageCode.RESTORE, 2)
    h.after(1)
    assert h.meter.service().limit_w is None
    set_, cleared = h.events(EventCode.LIMIT_SET, EventCode.LIMIT_CLEARED)
    assert (set_.argument, set_.message_code, cleared.message_code) == (3000, MessageCode.LIMIT, MessageCode.RESTORE)


def test_a_test_tells_switch_and_load_side(home: Make) -> None:
    h = home()
    assert h.meter.test_result() is None
    h.send(MessageCode.TEST, 12)
    h.after(0.5)
    result = h.meter.test_result()
    assert result is not None
    assert (result.message_id, result.connected, result.switch, result.energised) == (12, True, Switch.CLOSED, True)
    assert (result.load_side_voltage_v, result.load_side_current_a) == pytest.approx((240, 5))
    assert result.completed_at == START + timedelta(seconds=0.5)


def test_billing_converts_at_the_intervals_end_and_the_service_stays_on(home: Make) -> None:
    h = home(interval_min=15)
    h.after(100)
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    assert h.after(799).service().billing is Billing.REGULAR
    assert h.after(1).service().billing is Billing.PREPAID
    assert h.meter.account().billing is Billing.PREPAID
    assert h.events(EventCode.BILLING_CHANGED)[0].at == START + timedelta(minutes=15)
    assert h.events(EventCode.SWITCH_OPENED) == []
    h.send(MessageCode.BILLING, 2, billing=Billing.REGULAR)
    assert h.after(901).service().billing is Billing.REGULAR


def test_a_prepayment_of_a_regular_service_converts_it_at_the_intervals_end(home: Make) -> None:
    h = home()
    h.after(60)
    h.send(MessageCode.PREPAYMENT)
    assert h.after(60).service().billing is h.meter.account().billing is Billing.REGULAR
    assert h.after(3480).service().billing is h.meter.account().billing is Billing.PREPAID
    (changed,) = h.events(EventCode.BILLING_CHANGED)
    assert (changed.at, changed.argument, changed.message_code) == (
        START + timedelta(hours=1),
        1,
        MessageCode.PREPAYMENT,
    )


def test_local_credit_is_refused_and_logged(home: Make) -> None:
    h = home()
    with pytest.raises(Refused):
        h.loop.call(h.meter.add_credit, 500)
    assert h.meter.account().balance_cents == 0
    assert [e.argument for e in h.events(EventCode.REFUSED_LOCAL_CREDIT)] == [500]


# --- Schedules -------------------------------------------------------------------------------------------------------


def test_an_event_energises_and_gives_back_an_open_switch(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.disconnect)
    schedule(h, 1, 31, 2, 4)
    h.after(7199)
    assert [e.event_id for e in h.meter.schedule()] == [31]
    assert h.meter.service().switch is Switch.OPEN
    h.after(1)
    assert h.meter.service().switch is Switch.CLOSED
    assert h.meter.service().billing is Billing.PREPAID
    assert (h.meter.account().credit_wh, h.meter.account().at_zero) == (50_000, AtZero.LIMIT)
    h.after(7200)
    assert h.meter.service().switch is Switch.OPEN
    assert h.meter.service().billing is Billing.REGULAR
    assert h.meter.schedule() == ()
    started, ended = h.events(EventCode.SCHEDULE_STARTED, EventCode.SCHEDULE_ENDED)
    assert (started.at - START, ended.at - START) == (timedelta(hours=2), timedelta(hours=4))
    assert (started.argument, ended.argument) == (31, 31)


def test_an_event_lifts_a_limit_and_gives_it_back(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.limit, 2000)
    schedule(h, 1, 31, 2, 4)
    assert h.after(7200).service().limit_w is None
    back = h.after(7200).service()
    assert (back.limit_w, back.switch) == (2000, Switch.CLOSED)


def test_overlaps_keep_the_first_and_neighbours_are_none(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.disconnect)
    for number, event, begin, end in ((1, 31, 2, 4), (2, 32, 3, 5), (3, 33, 4, 5), (4, 31, 8, 9), (5, 35, 1, 6)):
        schedule(h, number, event, begin, end)
    h.after(10)
    good, overlap = ReceiptStatus.PROCESSED, ReceiptStatus.OVERLAP
    assert h.statuses() == [good, overlap, good, overlap, overlap]
    assert [e.event_id for e in h.meter.schedule()] == [31, 33]
    assert [e.argument for e in h.events(EventCode.SCHEDULE_OVERLAP)] == [32, 31, 35]
    h.after(4.5 * 3600)  # inside the second of two events back to back: the switch never opened between them
    assert h.meter.service().switch is Switch.CLOSED
    assert len(h.events(EventCode.SWITCH_OPENED)) == 1
    assert h.after(3600).service().switch is Switch.OPEN


def test_cancelling_drops_an_event_and_ends_a_running_one(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.disconnect)
    schedule(h, 1, 31, 1, 3)
    schedule(h, 2, 32, 5, 6)
    h.after(3700)
    assert h.meter.service().switch is Switch.CLOSED
    h.send(MessageCode.CANCEL_SCHEDULE, 3, event_id=31)
    h.send(MessageCode.CANCEL_SCHEDULE, 4, event_id=32)
    h.after(2)
    assert h.meter.service().switch is Switch.OPEN
    assert h.meter.schedule() == ()
    assert h.after(7 * 3600).service().switch is Switch.OPEN


def test_events_past_or_too_many_are_refused(home: Make) -> None:
    h = home(schedule_capacity=1)
    schedule(h, 1, 31, -2, -1)
    schedule(h, 2, 32, 2, 3)
    schedule(h, 3, 33, 4, 5)
    h.after(5)
    assert h.statuses() == [ReceiptStatus.REFUSED, ReceiptStatus.PROCESSED, ReceiptStatus.REFUSED]


def test_events_go_by_the_meters_own_clock_also_when_it_is_set(home: Make) -> None:
    h = home(clock_offset_s=-600)
    h.loop.call(h.meter.disconnect)
    schedule(h, 1, 31, 1, 2)
    assert h.after(3600).service().switch is Switch.OPEN
    h.loop.call(h.meter.set_clock, h.clock.now())
    assert h.meter.service().switch is Switch.CLOSED
    h.loop.call(h.meter.set_clock, START)
    assert h.after(2 * 3600).service().switch is Switch.OPEN


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


# --- Defects ---------------------------------------------------------------------------------------------------------


def prepaid(h: Home) -> Home:
    """Switched off, at a minute past the hour, then sent a prepayment whose sender's clock is a minute behind."""
    h.loop.call(h.meter.disconnect)
    h.after(60)
    h.loop.call(h.meter.send, message(MessageCode.PREPAYMENT, 9, h.clock.now() - timedelta(minutes=1)))
    h.after(5)
    return h


def hours(h: Home) -> list[tuple[timedelta, float]]:
    h.loop.call(h.meter.set_interval, timedelta(minutes=30))
    return [(i.length, round(i.energy_wh)) for i in h.after(4 * 3600).intervals()][-1:]


def commanded(h: Home) -> tuple[object, ...]:
    h.send(MessageCode.DISCONNECT, 1)
    h.after(60)
    by_message = h.meter.service().switch
    h.after(2)
    h.loop.call(h.meter.connect)
    h.after(60)
    return by_message, h.meter.service().switch


def credited(h: Home) -> int:
    try:
        h.loop.call(h.meter.add_credit, 700)
    except Refused:
        return 0
    return h.meter.account().balance_cents


def refreshed(h: Home) -> int:
    for number in (1, 2):
        h.send(MessageCode.BALANCE, number, balance_cents=1000 - number, credit_wh=1, time_left=timedelta(hours=1))
        h.after(60)
    return h.meter.account().balance_cents


def converted(h: Home) -> Billing:
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.after(7200)
    h.send(MessageCode.BILLING, 2, billing=Billing.REGULAR)
    h.after(7200)
    return h.meter.service().billing


def soon(h: Home) -> Switch:
    h.send(MessageCode.DISCONNECT, 1)
    h.after(5)
    return h.meter.service().switch


def woken(h: Home) -> Switch:
    h.send(MessageCode.DISCONNECT, 1)
    h.after(10)
    start = h.clock.now() + timedelta(minutes=5)
    h.send(
        MessageCode.SCHEDULE,
        2,
        event_id=3,
        starts_at=start,
        ends_at=start + timedelta(hours=1),
        credit_wh=1000,
        at_zero=AtZero.DISCONNECT,
    )
    h.after(600)
    return h.meter.service().switch


def examined_while_off(h: Home) -> tuple[bool, float]:
    h.loop.call(h.meter.disconnect)
    h.send(MessageCode.TEST, 1)
    h.after(5)
    result = h.meter.test_result()
    assert result is not None
    return result.energised, result.load_side_voltage_v


def examined(h: Home) -> Home:
    h.send(MessageCode.TEST, 1)
    h.after(30)
    return h


def events_kept(h: Home) -> int:
    start = h.clock.now() + timedelta(hours=5)
    event = {"starts_at": start, "ends_at": start + timedelta(hours=1), "credit_wh": 1000, "at_zero": AtZero.LIMIT}
    h.send(MessageCode.SCHEDULE, 1, event_id=3, **event)
    h.after(10)
    return len(h.meter.schedule())


def switched(h: Home) -> Switch:
    h.send(MessageCode.DISCONNECT, 1)
    return h.after(5).service().switch


def stored(h: Home, action: LoadControl, argument: int | None = None) -> tuple[Switch, int | None]:
    h.loop.call(h.meter.set_rules, [Rule(1, Trigger.TIME, action, argument, START + timedelta(minutes=1))])
    h.after(61)
    return h.meter.service().switch, h.meter.service().limit_w


def limited(h: Home) -> list[int]:
    """Seconds from the limit to each trip and re-close of an hour."""
    h.loop.call(h.meter.limit, 1000)
    h.after(3600)
    kinds = (EventCode.LIMIT_TRIPPED, EventCode.RECLOSED, EventCode.MANUAL_RECLOSE)
    return [round((e.at - START).total_seconds()) for e in h.events(*kinds)]


def by_hand(h: Home) -> tuple[int, int, int | None]:
    """Trips, re-closes by itself, and the limit, an hour after the button was pressed on a meter that had tripped for good."""
    h.loop.call(h.meter.limit, 1000)
    h.after(600)
    h.loop.call(h.meter.press, "reclose")
    h.after(3600)
    return len(h.events(EventCode.LIMIT_TRIPPED)), len(h.events(EventCode.RECLOSED)), h.meter.service().limit_w


def second_limit(h: Home) -> int | None:
    h.loop.call(h.meter.limit, 3000)
    h.loop.call(h.meter.limit, 2000)
    return h.meter.service().limit_w


def first_step(h: Home) -> int | None:
    h.loop.call(h.meter.set_limit_steps, LimitSteps(1000, (90,)))
    h.loop.call(h.meter.limit_step, 1)
    return h.meter.service().limit_w


def scheduled(h: Home, *spans: tuple[float, float]) -> tuple[list[int], list[str], int]:
    for number, (begin, end) in enumerate(spans, 1):
        schedule(h, number, 30 + number, begin, end)
    h.after(5)
    overlaps = len(h.events(EventCode.SCHEDULE_OVERLAP))
    return [e.event_id for e in h.meter.schedule()], [status.name for status in h.statuses()], overlaps


def converting(h: Home) -> tuple[object, ...]:
    """Billing inside the interval, after it and after the next; how often the service was off."""
    h.after(60)
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    seen = [h.after(seconds).service().billing.name for seconds in (60, 3600, 3600)]
    return (*seen, len(h.events(EventCode.SWITCH_OPENED)))


def spanish(h: Home, text: str = "", number: int | None = None) -> str | None:
    h.loop.call(h.meter.set_customer, CustomerSettings(Language.SPANISH))
    h.send(MessageCode.TEXT, 1, text=text, event_id=number)
    h.after(1)
    return h.shows(DisplayCode.MESSAGE)


def overtaken(h: Home) -> list[int]:
    """The order in which messages are done whose own priorities say the contrary of what is configured."""
    h.loop.call(h.meter.set_message_priorities, {MessageCode.DISCONNECT: 0, MessageCode.TEXT: 9})
    for number in (1, 2, 3):
        h.send(MessageCode.TEXT, number, text="wait", priority=4)
    h.send(MessageCode.DISCONNECT, 4, priority=5)
    h.send(MessageCode.CONNECT, 5, priority=3)
    h.after(10)
    return [r.message_id for r in h.meter.receipts()]


def priced(h: Home) -> str | None:
    for number, price in ((1, 20_000), (2, 30_000)):
        h.send(MessageCode.PREPAYMENT, number, price_millicents_per_kwh=price)
        h.after(1)
    return h.shows(DisplayCode.PRICE)


def costing(h: Home) -> str | None:
    h.send(MessageCode.PREPAYMENT, 1)
    h.after(3601)
    h.draw(600)
    return h.shows(DisplayCode.COST)


def working_out(h: Home) -> tuple[int, timedelta]:
    """Two hours of 1.2 kW, prepaid: 2.4 of 116.3 kWh, at 21.5 cents."""
    h.loop.call(h.meter.set_customer, CustomerSettings(own_balance=True))
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.after(3601)
    h.send(MessageCode.PREPAYMENT, 2, time_left=timedelta(hours=100))
    h.after(7200)
    account = h.meter.account()
    return account.balance_cents, timedelta(hours=round(account.time_left / timedelta(hours=1)))


TELLTALES: dict[str, tuple[Callable[[Home], object], object, object]] = {
    # defect: what to look at, what a healthy meter shows, what the defective one shows
    "leaves_service_off": (lambda h: prepaid(h).meter.service().energised, True, False),
    "no_receipt": (lambda h: len(prepaid(h).meter.receipts()), 1, 0),
    "receipt_without_meter_id": (lambda h: prepaid(h).meter.receipts()[0].meter_id, "TB-000001", ""),
    "receipt_without_message_id": (lambda h: prepaid(h).meter.receipts()[0].message_id, 9, 0),
    "receipt_stamped_on_arrival": (
        lambda h: (prepaid(h).meter.receipts()[0].completed_at - START).total_seconds(),
        60.5,
        60.0,
    ),
    "display_without_update_time": (lambda h: prepaid(h).shows(DisplayCode.UPDATED), "2026-01-05 00:01", None),
    "display_keeps_old_balance": (lambda h: prepaid(h).shows(DisplayCode.BALANCE), "$25.00", "$0.00"),
    "display_without_time_left": (lambda h: prepaid(h).shows(DisplayCode.TIME_LEFT), "3 d 04 h 05 min", None),
    "logs_without_code": (
        lambda h: prepaid(h).events(EventCode.MESSAGE_RECEIVED)[0].message_code,
        MessageCode.PREPAYMENT,
        None,
    ),
    "logs_senders_time": (
        lambda h: prepaid(h).events(EventCode.MESSAGE_RECEIVED)[0].at,
        START + timedelta(minutes=1),
        START,
    ),
    "receipts_not_logged": (lambda h: len(prepaid(h).events(EventCode.RECEIPT_SENT)), 1, 0),
    "two_hour_intervals": (hours, [(timedelta(minutes=30), 599)], [(timedelta(hours=2), 2397)]),
    "intervals_read_low": (hours, [(timedelta(minutes=30), 599)], [(timedelta(minutes=30), 539)]),
    "refreshes_display_daily": (refreshed, 998, 999),
    "stays_prepaid": (converted, Billing.REGULAR, Billing.PREPAID),
    "commands_wait_ten_seconds": (soon, Switch.OPEN, Switch.CLOSED),
    "loses_events": (events_kept, 1, 0),
    "sleeps_through_events": (woken, Switch.CLOSED, Switch.OPEN),
    "executes_late": (commanded, (Switch.OPEN, Switch.CLOSED), (Switch.CLOSED, Switch.OPEN)),
    "takes_credit_locally": (credited, 0, 700),
    "tests_line_side": (examined_while_off, (False, 0.0), (True, 240.0)),
    "tests_not_logged": (lambda h: len(examined(h).events(EventCode.MESSAGE_RECEIVED)), 1, 0),
    "tests_late": (lambda h: examined(h).meter.test_result() is not None, True, False),
    "receipts_without_switching": (switched, Switch.OPEN, Switch.CLOSED),
    "ignores_stored_commands": (
        lambda h: stored(h, LoadControl.DISCONNECT),
        (Switch.OPEN, None),
        (Switch.CLOSED, None),
    ),
    "stored_limits_do_nothing": (
        lambda h: stored(h, LoadControl.LIMIT, 3000),
        (Switch.CLOSED, 3000),
        (Switch.CLOSED, None),
    ),
    "limit_never_trips": (limited, [10, 130, 140], []),
    "recloses_twice": (limited, [10, 130, 140], [10, 130, 140, 260, 270]),
    "never_recloses": (limited, [10, 130, 140], [10]),
    "recloses_after_117_seconds": (limited, [10, 130, 140], [10, 127, 137]),
    "recloses_after_123_seconds": (limited, [10, 130, 140], [10, 133, 143]),
    "button_does_nothing": (by_hand, (3, 1, 1000), (2, 1, 1000)),
    "button_lifts_the_limit": (by_hand, (3, 1, 1000), (2, 1, None)),
    "button_rearms": (by_hand, (3, 1, 1000), (4, 2, 1000)),
    "one_limit_step": (second_limit, 2000, 3000),
    "steps_of_a_fixed_capacity": (first_step, 900, 4320),
    "keeps_second_of_overlapping": (
        lambda h: scheduled(h, (2, 4), (3, 5)),
        ([31], ["PROCESSED", "OVERLAP"], 1),
        ([32], ["PROCESSED", "OVERLAP"], 1),
    ),
    "no_overlap_alert": (
        lambda h: scheduled(h, (2, 4), (3, 5)),
        ([31], ["PROCESSED", "OVERLAP"], 1),
        ([31], ["PROCESSED", "REFUSED"], 0),
    ),
    "stores_one_event": (
        lambda h: scheduled(h, (2, 3), (4, 5)),
        ([31, 32], ["PROCESSED", "PROCESSED"], 0),
        ([31], ["PROCESSED", "REFUSED"], 0),
    ),
    "overlooks_an_overlap_of_a_second": (
        lambda h: scheduled(h, (2, 3), (3 - 1 / 3600, 4)),
        ([31], ["PROCESSED", "OVERLAP"], 1),
        ([31, 32], ["PROCESSED", "PROCESSED"], 0),
    ),
    "refuses_back_to_back_events": (
        lambda h: scheduled(h, (2, 3), (3, 4)),
        ([31, 32], ["PROCESSED", "PROCESSED"], 0),
        ([31], ["PROCESSED", "OVERLAP"], 1),
    ),
    "converts_inside_interval": (
        converting,
        ("REGULAR", "PREPAID", "PREPAID", 0),
        ("PREPAID", "PREPAID", "PREPAID", 0),
    ),
    "converts_an_interval_late": (
        converting,
        ("REGULAR", "PREPAID", "PREPAID", 0),
        ("REGULAR", "REGULAR", "PREPAID", 0),
    ),
    "drops_service_on_conversion": (
        converting,
        ("REGULAR", "PREPAID", "PREPAID", 0),
        ("REGULAR", "PREPAID", "PREPAID", 1),
    ),
    "spanish_in_english": (
        lambda h: spanish(h, "low", 2),
        "Su saldo de prepago es bajo. Pague pronto, por favor.",
        "Your prepaid balance is low. Please pay soon.",
    ),
    "shows_no_accents": (lambda h: spanish(h, "¿Mañana?"), "¿Mañana?", "?Ma?ana?"),
    "first_come_first_served": (overtaken, [1, 4, 5, 2, 3], [1, 2, 3, 4, 5]),
    "ignores_configured_priorities": (overtaken, [1, 4, 5, 2, 3], [1, 5, 2, 3, 4]),
    "price_stands": (priced, "$0.3000/kWh", "$0.2000/kWh"),
    "cost_of_the_last_interval": (costing, "$0.1289/h", "$0.2577/h"),
    "local_balance_ignores_price": (working_out, (2448, timedelta(hours=98)), (2476, timedelta(hours=98))),
    "local_balance_stands": (working_out, (2448, timedelta(hours=98)), (2500, timedelta(hours=100))),
    "local_time_left_stands": (working_out, (2448, timedelta(hours=98)), (2448, timedelta(hours=100))),
}


def test_every_defect_of_the_meter_has_its_telltale() -> None:
    of_meter = {d.name for d in defects.CATALOGUE.values() if d.of == "ami-meter"}
    # What it passes to a display shows on the home area network: test_han.py.
    assert set(TELLTALES) == {name for name in of_meter if not name.startswith("passes_")}


@pytest.mark.parametrize("name", TELLTALES)
def test_a_defect_shows_and_the_healthy_meter_does_not_have_it(home: Make, name: str) -> None:
    look, healthy, broken = TELLTALES[name]
    assert look(home()) == healthy
    assert look(home(name)) == broken
