"""What each seeded defect of the AMI meter shows of itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from drivers.errors import Refused
from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, Switch
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, Rule, Trigger
from tests.twins.homes import START, Home, Make, message, schedule
from twins import defects


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


def soon_after(h: Home) -> Switch:
    h.send(MessageCode.DISCONNECT, 1)
    h.after(0.8)
    return h.meter.service().switch


def limited_soon(h: Home) -> int | None:
    h.send(MessageCode.LIMIT, 1, limit_w=1000)
    h.after(5)
    return h.meter.service().limit_w


def codes_logged(h: Home) -> list[MessageCode | None]:
    h.send(MessageCode.CONNECT, 1)
    h.send(MessageCode.TEST, 2)
    h.after(60)
    return [e.message_code for e in h.events(EventCode.MESSAGE_RECEIVED)]


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
    "display_energy_at_another_price": (lambda h: prepaid(h).shows(DisplayCode.CREDIT), "116.3 kWh", "104.7 kWh"),
    "display_time_left_without_days": (
        lambda h: prepaid(h).shows(DisplayCode.TIME_LEFT),
        "3 d 04 h 05 min",
        "0 d 04 h 05 min",
    ),
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
    "limits_wait_ten_seconds": (limited_soon, 1000, None),
    "stored_commands_ten_seconds_late": (
        lambda h: stored(h, LoadControl.DISCONNECT),
        (Switch.OPEN, None),
        (Switch.CLOSED, None),
    ),
    "logs_no_code_of_schedules": (
        codes_logged,
        [MessageCode.CONNECT, MessageCode.TEST],
        [MessageCode.CONNECT, None],
    ),
    "commands_wait_six_tenths_of_a_second": (soon_after, Switch.OPEN, Switch.CLOSED),
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
