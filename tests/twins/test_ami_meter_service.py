"""The AMI meter's service, rule by rule: the switch and its limit, messages with their receipts, events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from drivers.errors import NotSupported, Refused
from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, ReceiptStatus, Switch
from tests.conftest import LoopThread
from tests.twins.homes import START, Make, message, schedule
from twins.clock import SteppedClock
from twins.meters.ami_meter import AmiMeterOptions, build, default_site
from twins.meters.service import first_excess
from twins.wiring import Site

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
