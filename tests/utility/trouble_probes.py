"""Where the defects of trouble, orders and billing show: each probe is true of the healthy utility."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from drivers.roles import AtZero, Billing, MessageCode
from tests.utility.conftest import ACCOUNT, METER, Town
from tests.utility.reporting import checks, failed, orders, prepaid_but_off, put_to_test, reported, state, told
from twins.utility.config import CustomerConfig
from twins.utility.css.trouble_records import CheckKind, OrderKind
from twins.utility.mdms import Kind


def _since_is_logged(here: Town) -> bool:
    report = here.ask(here.utility.css.trouble.log, told(since=here.clock.now()))
    return state(here, report).since is not None


def _activation_is_shown(here: Town) -> bool:
    report = prepaid_but_off(here)
    return bool(here.ask(here.utility.css.trouble.service_record, report).activation_sent)


def _test_is_commanded(here: Town) -> bool:
    put_to_test(here, reported(here))
    return MessageCode.TEST in [c.code for c in here.ask(here.utility.css.commands, ACCOUNT)]


def _current_is_shown(here: Town) -> bool:
    result = put_to_test(here, reported(here)).result
    return result is not None and result.load_side_current_a is not None


def _activation_is_commanded(here: Town) -> bool:
    report = prepaid_but_off(here)
    put_to_test(here, report)
    here.ask(here.utility.css.trouble.activate, report)
    here.after(20)
    return CheckKind.RETEST in [c.kind for c in checks(here, report)]


def _silence_fails(here: Town) -> bool:
    report = prepaid_but_off(here)
    here.utility.network.cut(METER)
    return put_to_test(here, report, 100).passed is False


def _issued(kind: OrderKind) -> Callable[[Town], bool]:
    return lambda here: kind in orders(here, failed(here))


def _one_bill_a_cycle(here: Town) -> bool:
    here.after(11 * 86_400)  # the cycle begins on the 15th
    bills = here.ask(here.utility.css.billing.bills, ACCOUNT)
    return [b.ends_at.day for b in bills] == [15]


def _prepaid_energy_is_not_billed(here: Town) -> bool:
    here.pay("P-1")
    here.after(3 * 3_600)
    here.ask(here.utility.css.conversions.convert, ACCOUNT, Billing.REGULAR)
    here.loop.call(here.twin.disconnect)
    here.after(11 * 86_400)
    (bill,) = here.ask(here.utility.css.billing.bills, ACCOUNT)
    return bool(bill.energy_mwh < bill.prepaid_energy_mwh)


def _no_disconnect_without_switch(here: Town) -> bool:
    account = {
        "number": "A-2",
        "meter_id": "CT-1",
        "service_address": "1 Dock",
        "at_zero": "regular_billing",
        "switch": False,
    }
    customer = {"id": "C-2", "name": "Grace", "address": "1 Dock", "credential": "cobol", "accounts": [account]}
    here.ask(here.utility.css.take_in, CustomerConfig.model_validate(customer))
    return AtZero.DISCONNECT not in here.ask(here.utility.css.options, "A-2")


def _each_test_is_its_own(here: Town) -> bool:
    report = prepaid_but_off(here)
    put_to_test(here, report)
    here.loop.call(here.twin.connect)
    result = put_to_test(here, report).result
    return result is not None and result.energised


def _results_come_in_time(here: Town) -> bool:
    put_to_test(here, reported(here), 80)
    (test,) = here.ask(here.utility.adcs.tests.tests, METER)
    assert test.received_at is not None
    return test.received_at - test.requested_at <= timedelta(seconds=60)


def _result_is_held(here: Town) -> bool:
    put_to_test(here, reported(here))
    return bool(here.ask(here.utility.mdms.received, Kind.TEST, METER))


def _result_is_available(here: Town) -> bool:
    put_to_test(here, reported(here))
    assert here.ask(here.utility.mdms.received, Kind.TEST, METER)
    return bool(here.ask(here.utility.mdms.test_results, METER))


TROUBLE_PROBES: dict[str, Callable[[Town], bool]] = {
    "report_without_since": _since_is_logged,
    "shows_no_activation": _activation_is_shown,
    "never_tests": _test_is_commanded,
    "test_result_without_current": _current_is_shown,
    "never_activates": _activation_is_commanded,
    "passes_silent_meters": _silence_fails,
    "issues_no_field_order": _issued(OrderKind.FIELD),
    "issues_no_trouble_order": _issued(OrderKind.TROUBLE),
    "bills_weekly": _one_bill_a_cycle,
    "bills_prepaid_energy": _prepaid_energy_is_not_billed,
    "disconnects_without_switch": _no_disconnect_without_switch,
    "tests_from_memory": _each_test_is_its_own,
    "takes_in_test_results_late": _results_come_in_time,
    "keeps_test_results": _result_is_held,
    "hides_test_results": _result_is_available,
}
