"""Every seeded defect of CSS, ADCS and MDMS shows where it should, and the healthy utility does not show it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from drivers.roles import AtZero, DisplayCode, EventCode, MessageCode
from tests.utility.conftest import ACCOUNT, DECLINED, METER, Town, means_of
from tests.utility.event_probes import EVENT_PROBES
from tests.utility.trouble_probes import TROUBLE_PROBES
from twins.defects import CATALOGUE
from twins.utility.adcs import Request
from twins.utility.adcs_alerts import AlertRequest
from twins.utility.adcs_records import Direction, State
from twins.utility.css.records import StationPayment
from twins.utility.errors import NotAccepted
from twins.utility.mdms import Kind
from twins.utility.payments import PaymentMethod

Probe = Callable[[Town], bool]


def accepted(call: Callable[[], object]) -> bool:
    try:
        call()
    except NotAccepted:
        return False
    return True


def paid(here: Town, seconds: float = 10) -> int:
    message_id = here.pay("P-1", 2_000).message_id
    here.after(seconds)
    return int(message_id)


def executed_in_time(here: Town) -> bool:
    submitted = here.clock.now()
    here.ask(here.utility.adcs.submit, Request("suite", METER, MessageCode.CONNECT))
    here.after(120)
    return bool(here.meter.receipts()[0].completed_at - submitted <= timedelta(seconds=60))


def request_time_frame(here: Town) -> bool:
    here.request()
    return here.ask(here.utility.css.requests)[0].ends_at is not None


def estimates_differ(here: Town) -> bool:
    """Ten days at 12 kWh a day."""
    return bool(here.ask(here.utility.css.estimate, here.identified()).cost_cents == 2_400)


def confirms_late(here: Town) -> bool:
    here.pay("P-1", 2_000)
    return here.ask(here.utility.css.confirmation, "P-1") is None


def page_is_new(here: Town) -> bool:
    paid(here)
    return bool(here.ask(here.utility.css.account_page, ACCOUNT).balance_cents == 2_000)


def credit_is_sent(here: Town) -> bool:
    message = here.ask(here.utility.adcs.message, paid(here)).message
    return bool(message.credit_wh == 100_000)


def requests_are_logged(here: Town) -> bool:
    message_id = paid(here)
    return message_id in [r.message_id for r in here.ask(here.utility.adcs.requests)]


def receipt_is_held(here: Town) -> bool:
    paid(here)
    return bool(here.ask(here.utility.mdms.received, Kind.RECEIPT, METER))


def receipt_is_available(here: Town) -> bool:
    paid(here)
    assert here.ask(here.utility.mdms.received, Kind.RECEIPT, METER)
    return bool(here.ask(here.utility.mdms.receipts, METER))


def everything_is_passed(here: Town) -> bool:
    before = len(here.ask(here.utility.mdms.intervals, METER))
    paid(here, 3_700)
    assert here.ask(here.utility.mdms.receipts, METER)
    here.collect()
    return bool(here.ask(here.utility.mdms.received, Kind.LOG, METER)) and (
        len(here.ask(here.utility.mdms.intervals, METER)) > before
    )


def logged(direction: Direction) -> Probe:
    def probe(here: Town) -> bool:
        message_id = paid(here)
        return any(
            t.direction is direction and t.message_id == message_id
            for t in here.ask(here.utility.adcs.transactions, METER)
        )

    return probe


def meter_test_is_done(here: Town) -> bool:
    message_id = here.ask(here.utility.adcs.submit, Request("suite", METER, MessageCode.TEST))
    here.after(30)
    return bool(here.ask(here.utility.adcs.message, message_id).state is State.DONE)


def passed_at_once(here: Town) -> bool:
    record = here.ask(here.utility.adcs.message, paid(here, 1_000))
    (receipt,) = here.ask(here.utility.mdms.received, Kind.RECEIPT, METER)
    return bool(receipt.received_at - record.receipt_at < timedelta(seconds=1))


def logs_are_available(here: Town) -> bool:
    paid(here)
    here.collect()
    assert here.ask(here.utility.mdms.received, Kind.LOG, METER)
    return bool(here.ask(here.utility.mdms.logs, METER))


def balances_are_available(here: Town) -> bool:
    paid(here)
    assert here.ask(here.utility.mdms.received, Kind.BALANCE, METER)
    return bool(here.ask(here.utility.mdms.balances, METER))


def schedules_are_available(here: Town) -> bool:
    start = here.clock.now() + timedelta(days=2)
    event = {"event_id": 7, "starts_at": start, "ends_at": start + timedelta(hours=4), "credit_wh": 9_000}
    command(here, MessageCode.SCHEDULE, at_zero=AtZero.DISCONNECT, **event)
    here.after(30)
    assert here.ask(here.utility.mdms.received, Kind.SCHEDULE, METER)
    return bool(here.ask(here.utility.mdms.schedules, METER))


def published_at_once(here: Town) -> bool:
    paid(here)
    (receipt,) = here.ask(here.utility.mdms.received, Kind.RECEIPT, METER)
    available = here.ask(here.utility.mdms.receipts, METER)
    here.after(3_600)
    assert here.ask(here.utility.mdms.receipts, METER)
    return bool(available) and receipt.received_at == receipt.available_at


def collected_daily(here: Town) -> bool:
    here.after(25 * 3600)
    since = here.clock.now() - timedelta(days=1)
    return any(p.received_at >= since for p in here.ask(here.utility.mdms.received, Kind.INTERVAL, METER))


def schedule_goes_at_once(here: Town) -> bool:
    start = here.clock.now() + timedelta(hours=2)
    event = {
        "event_id": 7,
        "starts_at": start,
        "ends_at": start + timedelta(hours=1),
        "credit_wh": 1_000,
        "at_zero": AtZero.DISCONNECT,
    }
    message_id = here.ask(here.utility.adcs.submit, Request("suite", METER, MessageCode.SCHEDULE, **event))
    here.after(30)
    return bool(here.ask(here.utility.adcs.message, message_id).state is State.DONE)


def switched(here: Town) -> bool:
    """Whether the meter was told to disconnect."""
    return any(e.message_code is MessageCode.DISCONNECT for e in here.meter.log())


def command(here: Town, code: MessageCode, **fields: Any) -> int:
    return int(here.ask(here.utility.adcs.submit, Request("suite", METER, code, **fields)))


def planned(here: Town, seconds: float) -> int:
    due = here.clock.now() + timedelta(seconds=seconds)
    return int(here.ask(here.utility.adcs.commands.plan, Request("suite", METER, MessageCode.DISCONNECT), due))


def waits_for_its_moment(here: Town) -> bool:
    planned(here, 300)
    here.after(200)
    return not switched(here)


def moves_with_its_plan(here: Town) -> bool:
    moved = planned(here, 100)
    here.ask(here.utility.adcs.commands.replan, moved, here.clock.now() + timedelta(seconds=300))
    here.after(200)
    return not switched(here)


def stays_cancelled(here: Town) -> bool:
    here.ask(here.utility.adcs.commands.cancel, planned(here, 100))
    here.after(200)
    return not switched(here)


def rule_keeps_its_time(here: Town) -> bool:
    begins = here.clock.now() + timedelta(hours=1)
    here.ask(here.utility.adcs.rules.add, name="later", starts_at=begins, begin="disconnect")
    here.after(60)
    return not switched(here)


def rule_keeps_to_its_class(here: Town) -> bool:
    here.ask(here.utility.adcs.rules.add, name="shops", classes=("commercial",), begin="disconnect")
    here.after(60)
    return not switched(here)


def held_in_the_heat(here: Town) -> int:
    here.ask(here.utility.adcs.rules.add, name="heat", above_c=38, hold=("disconnect",))
    here.ask(here.utility.told_weather.report, 41.0)
    message_id = command(here, MessageCode.DISCONNECT)
    here.after(60)
    return message_id


def heat_holds(here: Town) -> bool:
    held_in_the_heat(here)
    return not switched(here)


def held_is_carried_out(here: Town) -> bool:
    held_in_the_heat(here)
    here.ask(here.utility.told_weather.report, 20.0)
    here.after(60)
    return switched(here)


def held_is_logged(here: Town) -> bool:
    held = held_in_the_heat(here)
    return held in [e.message_id for e in here.ask(here.utility.adcs.rules.log, METER)]


def arrives(code: MessageCode, **fields: Any) -> Probe:
    def probe(here: Town) -> bool:
        message_id = command(here, code, **fields)
        here.after(30)
        return message_id in [r.message_id for r in here.meter.receipts()]

    return probe


def alerts_in(here: Town, seconds: float, **fields: Any) -> int:
    """Alerts that the meter got within a time."""
    here.ask(here.utility.adcs.alerts.request, AlertRequest("CSS", METER, "Low", **fields))
    here.after(seconds)
    return len([e for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED])


def taken_back_is_silent(here: Town) -> bool:
    alert = here.ask(here.utility.adcs.alerts.request, AlertRequest("CSS", METER, "Low", timedelta(minutes=5)))
    here.after(60)
    here.ask(here.utility.adcs.alerts.take_back, alert)
    here.after(1_000)
    return len([e for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED]) == 1


def urgent_overtakes(here: Town) -> bool:
    texts = [command(here, MessageCode.TEXT, text=f"text {k}") for k in range(4)]
    here.after(0.5)
    urgent = command(here, MessageCode.DISCONNECT)
    here.after(60)
    order = [r.message_id for r in here.meter.receipts()]
    return order == [texts[0], urgent, *texts[1:]]


def priorities_are_configured(here: Town) -> bool:
    here.ask(here.utility.adcs.priorities.set, MessageCode.TEXT, 0)
    disconnect, text = command(here, MessageCode.DISCONNECT), command(here, MessageCode.TEXT, text="first")
    here.after(60)
    return [r.message_id for r in here.meter.receipts()] == [text, disconnect]


def retried(here: Town) -> tuple[list[float], set[int]]:
    """Seconds between sendings of a disconnect whose answers are lost for a minute, and the ids that the meter got."""
    message_id = command(here, MessageCode.DISCONNECT)
    here.after(1.5)
    here.ask(here.utility.network.cut, METER)
    here.after(30)
    here.ask(here.utility.network.mend, METER)
    here.after(60)
    sent = [
        t.at
        for t in here.ask(here.utility.adcs.transactions, METER)
        if t.direction is Direction.TO_METER and t.message_id == message_id
    ]
    got = {e.argument for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED}
    return [(at - sent[0]).total_seconds() for at in sent[1:]], got


def retried_in_time(here: Town) -> bool:
    after, _ = retried(here)
    return len(after) == 1 and 44 <= after[0] <= 46


def retried_in_time_at_the_meter(here: Town) -> bool:
    retried(here)
    got = [e.at for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED]
    return len(got) == 2 and 43 <= (got[1] - got[0]).total_seconds() <= 47


def passed_on_at_once(kind: Kind, read: str) -> Probe:
    """From the ADCS's having read something to the MDMS's having got it."""

    def probe(here: Town) -> bool:
        command(here, MessageCode.TEST)
        here.after(3_700)
        here.collect()
        here.after(10)
        reads = [t.at for t in here.ask(here.utility.adcs.transactions, METER) if t.kind == read]
        received = [p.received_at for p in here.ask(here.utility.mdms.received, kind, METER)]
        return received[-1] - reads[-1] < timedelta(seconds=1)

    return probe


def events(here: Town) -> list[tuple[str, timedelta]]:
    return [(e.kind.value, e.time_left) for e in here.ask(here.utility.css.balance_events, ACCOUNT)]


def threshold(here: Town) -> bool:
    """The meter is out of reach and its service off, so that time alone brings the balance nearer: from 50 hours."""
    here.ask(here.utility.network.cut, METER)
    here.pay("P-1", 500)
    here.after(4 * 3600)
    return events(here) == [("threshold", timedelta(hours=48))]


def nearing(here: Town, cents: int = 500, hours: float = 3) -> Town:
    """A balance below its threshold on a site that draws 1200 W, some hours on."""
    here.pay("P-1", cents)
    here.after(hours * 3600)
    return here


def told(here: Town) -> list[Any]:
    """Balances sent to the meter."""
    ids = [c.message_id for c in here.ask(here.utility.css.commands, ACCOUNT) if c.code is MessageCode.BALANCE]
    return [here.ask(here.utility.adcs.message, i) for i in ids]


def forecast_follows_history(here: Town) -> bool:
    """The town's history is the same 500 W at any hour."""
    paid(here)
    page = here.ask(here.utility.css.account_page, ACCOUNT)
    return bool(abs(page.time_left - timedelta(hours=page.credit_wh / 500)) < timedelta(minutes=5))


def forecast_is_told(here: Town) -> bool:
    here.pay("P-1", 500)
    here.after(8 * 3600)
    return bool(told(here)[-1].message.time_left < timedelta(hours=47))


def quiet_above(here: Town) -> bool:
    here.pay("P-1", 50_000)
    here.after(5 * 3600)
    return told(here) == []


def agreed(here: Town, number: str, cents: int, hours: float) -> Town:
    css = here.utility.css
    here.loop.run(css.agree_on_replenishing(ACCOUNT, 3_000, means_of(PaymentMethod.CARD, number)))
    here.ask(css.choose_at_zero, ACCOUNT, AtZero.AUTO_REPLENISH, AtZero.DISCONNECT)
    here.pay("P-1", cents)
    here.after(hours * 3600)
    return here


def tries(here: Town) -> int:
    agreed(here, DECLINED, 500, 26)
    return sum(p.request_id is None for p in here.ask(here.utility.css.payments, ACCOUNT))


def at_zero(here: Town, option: AtZero = AtZero.LIMIT) -> Town:
    here.ask(here.utility.css.choose_at_zero, ACCOUNT, option)
    here.pay("P-1", 500)
    here.after(24 * 3600)
    assert "zero" in dict(events(here))
    return here


def text_shown(here: Town) -> str:
    """What the utility tells its Spanish-speaking customer at the meter."""
    return {line.code: line.text for line in here.meter.display()}.get(DisplayCode.MESSAGE, "")


def codes_sent(here: Town) -> set[MessageCode]:
    return {c.code for c in here.ask(here.utility.css.commands, ACCOUNT)}


def limit_ends(here: Town) -> bool:
    at_zero(here).pay("P-2", 5_000)
    here.after(10)
    return here.meter.service().limit_w is None


def told_daily(here: Town) -> bool:
    """At six in Los Angeles, on two days."""
    here.pay("P-1", 50_000)
    here.after(2 * 86_400)
    return [m.submitted_at.hour for m in told(here)] == [14, 14]


def station_is_posted_at_once(here: Town) -> bool:
    paid = StationPayment("S-1", "R-1", ACCOUNT, 2_000, here.clock.now())
    here.ask(here.clock.spawn, here.utility.css.pay_at_station(paid))
    here.after(10)
    return bool(here.ask(here.utility.css.balance_cents, ACCOUNT) == 2_000)


def collected_every_interval(here: Town) -> bool:
    here.meter.set_interval(timedelta(minutes=30))
    nearing(here, hours=10)
    since = here.clock.now() - timedelta(hours=3)
    reads = [t for t in here.ask(here.utility.adcs.transactions, METER) if t.kind == "intervals" and t.at > since]
    return len(reads) >= 6


def balance_every_interval(here: Town) -> bool:
    nearing(here, hours=8)
    sent = [m for m in told(here) if m.first_sent_at is not None]
    return len(sent) == len(told(here)) > 4


def zero_moment_is_told(here: Town) -> bool:
    nearing(here, hours=8)
    return told(here)[0].message.zero_at is not None


PROBES: dict[str, Probe] = {
    "request_without_time_frame": request_time_frame,
    "customer_without_address": lambda here: bool(
        here.ask(here.utility.css.identify, here.request(), "analytical engine").address
    ),
    "confirms_anybody": lambda here: (
        not accepted(lambda: here.ask(here.utility.css.identify, here.request(name="Somebody Else"), "a guess"))
    ),
    "estimate_ignores_history": estimates_differ,
    "estimate_without_history": lambda here: bool(here.ask(here.utility.css.estimate, here.identified()).history),
    "payment_without_method": lambda here: (
        paid(here) > 0 and here.ask(here.utility.css.payments, ACCOUNT)[0].method is PaymentMethod.CARD
    ),
    "posting_without_option": lambda here: here.pay("P-1", 2_000).at_zero is not None,
    "posts_without_funds": lambda here: (
        not accepted(lambda: here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, DECLINED)))
    ),
    "never_commands": lambda here: here.pay("P-1", 2_000).message_id is not None,
    "confirms_without_receipt": confirms_late,
    "account_page_keeps_old_balance": page_is_new,
    "usage_without_daily_average": lambda here: (
        here.ask(here.utility.css.account_page, ACCOUNT).daily_average_wh is not None
    ),
    "refuses_bank_payments": lambda here: accepted(lambda: here.pay("P-1", 2_000, means=means_of(PaymentMethod.BANK))),
    "takes_any_amount": lambda here: not accepted(lambda: here.pay("P-1", 1)),
    "threshold_at_47_hours": threshold,
    "threshold_at_49_hours": threshold,
    "forecast_ignores_history": forecast_follows_history,
    "forecast_stays_at_threshold": forecast_is_told,
    "always_refreshes": quiet_above,
    "never_replenishes": lambda here: "recovered" in dict(events(agreed(here, "4111111111111111", 500, 8))),
    "replenishes_over_and_over": lambda here: tries(here) == 2,
    "zero_goes_unsaid": lambda here: MessageCode.TEXT in codes_sent(at_zero(here)),
    "texts_in_english_only": lambda here: "cero" in text_shown(at_zero(here)),
    "zero_changes_nothing": lambda here: MessageCode.LIMIT in codes_sent(at_zero(here)),
    "always_disconnects": lambda here: MessageCode.DISCONNECT not in codes_sent(at_zero(here)),
    "keeps_limiting": limit_ends,
    "balance_every_other_day": told_daily,
    "daily_balance_an_hour_late": told_daily,
    "posts_pay_stations_hourly": station_is_posted_at_once,
    "requests_not_logged": requests_are_logged,
    "drops_energy_credit": credit_is_sent,
    "keeps_receipts": receipt_is_held,
    "passes_receipts_only": everything_is_passed,
    "sent_not_logged": logged(Direction.TO_METER),
    "received_not_logged": logged(Direction.FROM_METER),
    "ignores_test_requests": meter_test_is_done,
    "collects_every_other_day": collected_daily,
    "schedules_wait_for_collection": schedule_goes_at_once,
    "passes_receipts_in_batches": passed_at_once,
    "passes_receipts_two_seconds_late": passed_at_once,
    "holds_commands_a_minute": executed_in_time,
    "planned_commands_go_at_once": waits_for_its_moment,
    "keeps_the_first_moment": moves_with_its_plan,
    "sends_cancelled_commands": stays_cancelled,
    "rules_at_any_time": rule_keeps_its_time,
    "rules_for_every_class": rule_keeps_to_its_class,
    "rules_without_weather": heat_holds,
    "forgets_held_commands": held_is_carried_out,
    "held_commands_not_logged": held_is_logged,
    "never_sends_texts": arrives(MessageCode.TEXT, text="hello"),
    "never_sends_limits": arrives(MessageCode.LIMIT, limit_w=2_000),
    "alerts_once": lambda here: alerts_in(here, 4_000, every=timedelta(minutes=30)) == 3,
    "alerts_hourly_whatever_is_asked": lambda here: alerts_in(here, 4_000, every=timedelta(minutes=30)) == 3,
    "alerts_beyond_their_end": lambda here: (
        alerts_in(here, 4_000, every=timedelta(minutes=10), until=here.clock.now() + timedelta(minutes=20)) == 2
    ),
    "alerts_after_they_are_taken_back": taken_back_is_silent,
    "alerts_wait_a_minute": lambda here: alerts_in(here, 60) == 1,
    "sends_in_order_of_arrival": urgent_overtakes,
    "keeps_its_own_priorities": priorities_are_configured,
    "retries_at_43_s": retried_in_time,
    "retries_at_47_s": retried_in_time,
    "logs_retries_at_45_s": retried_in_time_at_the_meter,
    "passes_intervals_two_seconds_late": passed_on_at_once(Kind.INTERVAL, "intervals"),
    "passes_test_results_two_seconds_late": passed_on_at_once(Kind.TEST, "test result"),
    "never_retries": retried_in_time,
    "retries_with_a_new_id": lambda here: len(retried(here)[1]) == 1,
    "collects_every_other_interval": collected_every_interval,
    "balance_every_other_interval": balance_every_interval,
    "drops_zero_moment": zero_moment_is_told,
    "receipts_not_published": receipt_is_available,
    "hides_meter_logs": logs_are_available,
    "hides_balances": balances_are_available,
    "hides_schedules": schedules_are_available,
    "publishes_hourly": published_at_once,
    "publishes_two_seconds_late": published_at_once,
    **TROUBLE_PROBES,
    **EVENT_PROBES,
}


def test_every_defect_of_these_systems_has_its_probe() -> None:
    assert set(PROBES) == {d.name for d in CATALOGUE.values() if d.of in {"css", "adcs", "mdms"}}


@pytest.mark.parametrize("name", PROBES)
def test_the_defect_shows_and_the_healthy_utility_does_not_show_it(town: Callable[..., Town], name: str) -> None:
    assert PROBES[name](town())
    assert not PROBES[name](town(name))


def test_a_defect_of_another_twin_changes_nothing_here(town: Callable[..., Town]) -> None:
    here = town("no_receipt", "logs_without_code")
    paid(here)
    assert here.ask(here.utility.css.confirmation, "P-1").successful


def test_amounts_that_are_not_positive_are_refused_even_without_a_minimum(town: Callable[..., Town]) -> None:
    here = town("takes_any_amount")
    assert not accepted(lambda: here.pay("P-1", 0))
    assert accepted(lambda: here.pay("P-2", 1))
