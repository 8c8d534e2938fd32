"""Every seeded defect of CSS, ADCS and MDMS shows where it should, and the healthy utility does not show it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from drivers.roles import AtZero, MessageCode
from tests.utility.conftest import ACCOUNT, DECLINED, METER, Town, means_of
from tests.utility.event_probes import EVENT_PROBES
from twins.defects import CATALOGUE
from twins.utility.adcs import Request
from twins.utility.adcs_records import Direction, State
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
    "holds_commands_a_minute": executed_in_time,
    "receipts_not_published": receipt_is_available,
    "hides_meter_logs": logs_are_available,
    "publishes_hourly": published_at_once,
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
