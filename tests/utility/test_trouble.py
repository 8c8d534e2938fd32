"""A customer has prepaid and has no power: what the CSS makes of it, over the meter's real line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import MessageCode, Switch
from tests.utility.conftest import ACCOUNT, METER, Town
from tests.utility.reporting import checks, failed, orders, prepaid_but_off, put_to_test, reported, state, told
from twins.utility.css.trouble_records import CheckKind, OrderKind, OrderState, ReportState
from twins.utility.errors import NotAccepted, Reason

Towns = Callable[..., Town]
BOTH = {OrderKind.FIELD, OrderKind.TROUBLE}


def refused(reason: Reason, call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(NotAccepted) as caught:
        call(*args, **kwargs)
    assert caught.value.reason is reason
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the three endings ---------------------------------------------------------------------------------------------------


def test_a_service_that_is_off_is_activated_again(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    test = put_to_test(here, report)
    assert (test.kind, test.passed) == (CheckKind.TEST, True)
    assert test.result is not None
    assert (test.result.connected, test.result.switch, test.result.energised) == (True, Switch.OPEN, False)
    message_id = here.ask(here.utility.css.trouble.activate, report)
    here.after(20)
    assert here.meter.service().switch is Switch.CLOSED
    assert here.ask(here.utility.adcs.message, message_id).message.code is MessageCode.PREPAYMENT
    assert [c.kind for c in checks(here, report)] == [CheckKind.TEST, CheckKind.ACTIVATION, CheckKind.RETEST]
    assert all(c.passed for c in checks(here, report))
    assert state(here, report).state is ReportState.ACTIVATED
    closed = here.ask(here.utility.css.trouble.restored, report, by="Rosa")
    assert closed.state is ReportState.RESTORED
    assert closed.closed_at == here.clock.now()
    assert not orders(here, report)
    assert [e.state for e in closed.progress] == [
        ReportState.LOGGED,
        ReportState.IDENTIFIED,
        ReportState.TESTING,
        ReportState.PASSED,
        ReportState.ACTIVATING,
        ReportState.ACTIVATING,
        ReportState.TESTING,
        ReportState.ACTIVATED,
        ReportState.RESTORED,
    ]


def test_no_power_after_activation_leads_to_both_orders(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    put_to_test(here, report)
    here.ask(here.utility.css.trouble.activate, report)
    here.after(20)
    assert not orders(here, report)
    here.ask(here.utility.css.trouble.still_no_power, report)
    assert set(orders(here, report)) == BOTH
    assert state(here, report).state is ReportState.ORDERED
    assert state(here, report).closed_at is None


def test_a_switch_that_does_not_close_leads_to_both_orders_by_itself(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    put_to_test(here, report)
    here.loop.call(here.twin.inject, "switch_stuck_open", True)
    here.ask(here.utility.css.trouble.activate, report)
    here.after(20)
    assert [c.passed for c in checks(here, report)] == [True, True, False]
    assert set(orders(here, report)) == BOTH
    assert "no voltage at the load side" in orders(here, report)[OrderKind.TROUBLE].history[0].note


def test_a_meter_that_does_not_answer_has_failed_its_test(town: Towns) -> None:
    here = town(trouble={"test_timeout_s": 70})
    report = prepaid_but_off(here)
    here.utility.network.cut(METER)
    asked = here.clock.now()
    here.ask(here.utility.css.trouble.test, report)
    here.after(69.9)
    assert checks(here, report)[0].passed is None
    here.after(0.2)
    (test,) = checks(here, report)
    assert (test.passed, test.decided_at) == (False, asked + timedelta(seconds=70))
    assert set(orders(here, report)) == BOTH


def test_a_welded_switch_fails_the_test(town: Towns) -> None:
    here = town(service_on=True)
    report = reported(here)
    here.loop.call(here.twin.inject, "switch_welded", True)
    here.loop.call(here.twin.disconnect)
    assert put_to_test(here, report).passed is False
    assert set(orders(here, report)) == BOTH


def test_power_at_the_meter_and_none_in_the_house(town: Towns) -> None:
    here = town(service_on=True)
    here.pay("P-1")
    report = reported(here)
    assert put_to_test(here, report).passed is True
    here.ask(here.utility.css.trouble.still_no_power, report)
    assert set(orders(here, report)) == BOTH


def test_an_activation_without_an_answer_leads_to_orders(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    put_to_test(here, report)
    here.utility.network.cut(METER)
    here.ask(here.utility.css.trouble.activate, report)
    here.after(200)
    assert checks(here, report)[-1].passed is False
    assert set(orders(here, report)) == BOTH


def test_a_regular_account_is_connected(town: Towns) -> None:
    here = town(account={"billing": "regular"})
    report = reported(here)
    assert put_to_test(here, report).passed
    message_id = here.ask(here.utility.css.trouble.activate, report)
    here.after(20)
    assert here.ask(here.utility.adcs.message, message_id).message.code is MessageCode.CONNECT
    assert state(here, report).state is ReportState.ACTIVATED


def test_a_meter_without_a_switch_cannot_be_activated_from_afar(town: Towns) -> None:
    here = town(account={"billing": "regular", "switch": False, "at_zero": "regular_billing"}, options={"switch": None})
    report = reported(here)
    test = put_to_test(here, report)
    assert test.result is not None
    assert (test.passed, test.result.switch) == (False, Switch.NONE)
    assert set(orders(here, report)) == BOTH


# --- verification --------------------------------------------------------------------------------------------------------


def test_the_report_is_logged_as_it_was_told(town: Towns) -> None:
    here = town()
    since = here.clock.now() - timedelta(hours=3)
    report = here.ask(here.utility.css.trouble.log, told(since=since, channel="website"))
    logged = state(here, report)
    assert (logged.account_number, logged.name, logged.address) == (ACCOUNT, "Ada Byron", "7 Elm Street, Springfield")
    assert (logged.since, logged.text, logged.channel) == (since, "No power since breakfast", "website")
    assert logged.credentials_presented
    assert "analytical engine" not in repr(logged) + repr(told())


def test_what_was_prepaid_and_whether_it_was_sent(town: Towns) -> None:
    here = town()
    report = reported(here)
    record = here.ask(here.utility.css.trouble.service_record, report)
    assert (record.amount_cents, record.activation, record.activation_sent) == (None, None, False)
    posting = here.pay("P-1", 2_000)
    record = here.ask(here.utility.css.trouble.service_record, report)
    assert (record.amount_cents, record.message_id) == (2_000, posting.message_id)
    here.after(10)
    record = here.ask(here.utility.css.trouble.service_record, report)
    assert record.activation_sent
    assert record.receipt is not None
    assert record.balance_cents == 2_000


def test_somebody_else_learns_and_does_nothing(town: Towns) -> None:
    here = town()
    trouble = here.utility.css.trouble
    report = here.ask(trouble.log, told())
    refused(Reason.NOT_THE_CUSTOMER, here.ask, trouble.identify, report, "a guess")
    for call in (trouble.service_record, trouble.test, trouble.activate, trouble.still_no_power):
        refused(Reason.IDENTITY_NOT_CONFIRMED, here.ask, call, report)
    assert not checks(here, report)


def test_an_unknown_account_is_found_out_at_the_identity_check(town: Towns) -> None:
    here = town()
    report = here.ask(here.utility.css.trouble.log, told(account_number="X-1"))
    refused(Reason.UNKNOWN_ACCOUNT, here.ask, here.utility.css.trouble.identify, report, "analytical engine")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": ""}, Reason.TEXT_NOT_TAKEN),
        ({"text": " \n\t "}, Reason.TEXT_NOT_TAKEN),
        ({"text": "x" * 10_000_000}, Reason.TEXT_NOT_TAKEN),
        ({"text": "a\0b"}, Reason.TEXT_NOT_TAKEN),
        ({"name": "x" * 10_000_000}, Reason.TEXT_NOT_TAKEN),
        ({"account_number": ""}, Reason.TEXT_NOT_TAKEN),
    ],
)
def test_bad_reports_are_refused_and_leave_nothing(town: Towns, changes: dict[str, Any], reason: Reason) -> None:
    here = town()
    assert len(refused(reason, here.ask, here.utility.css.trouble.log, told(**changes))) < 200
    assert here.ask(here.utility.css.trouble.reports) == ()
    assert here.ask(here.utility.css.requests) == ()


def test_no_power_since_tomorrow_is_refused(town: Towns) -> None:
    here = town()
    later = here.clock.now() + timedelta(days=1)
    refused(Reason.TIME_FRAME, here.ask, here.utility.css.trouble.log, told(since=later))


def test_an_unknown_report_is_refused(town: Towns) -> None:
    here = town()
    for name in ("report", "checks", "test", "activate", "restored", "still_no_power", "service_record"):
        refused(Reason.UNKNOWN_REPORT, here.ask, getattr(here.utility.css.trouble, name), 99)


# --- one thing after the other -----------------------------------------------------------------------------------------------


def test_nothing_is_done_twice_at_the_same_time(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    trouble = here.utility.css.trouble
    here.ask(trouble.test, report)
    for call in (trouble.test, trouble.activate, trouble.still_no_power):
        refused(Reason.IN_PROGRESS, here.ask, call, report)
    assert len(checks(here, report)) == 1


def test_what_can_be_tried_from_afar_is_tried_first(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    trouble = here.utility.css.trouble
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, trouble.activate, report)
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, trouble.still_no_power, report)
    put_to_test(here, report)
    assert "re-activate" in refused(Reason.NOT_POSSIBLE_NOW, here.ask, trouble.still_no_power, report)


def test_nothing_left_is_not_activated(town: Towns) -> None:
    here = town()
    report = reported(here)
    put_to_test(here, report)
    refused(Reason.NOTHING_PREPAID, here.ask, here.utility.css.trouble.activate, report)


def test_a_closed_report_stays_closed(town: Towns) -> None:
    here = town()
    report = reported(here)
    trouble = here.utility.css.trouble
    here.ask(trouble.restored, report)
    for call in (trouble.restored, trouble.test, trouble.activate, trouble.still_no_power):
        refused(Reason.NOT_POSSIBLE_NOW, here.ask, call, report)


def test_power_that_comes_back_during_the_test_leads_to_no_order(town: Towns) -> None:
    here = town()
    report = prepaid_but_off(here)
    here.utility.network.cut(METER)
    here.ask(here.utility.css.trouble.test, report)
    here.ask(here.utility.css.trouble.restored, report)
    here.after(200)
    assert checks(here, report)[0].passed is False
    assert not orders(here, report)


def test_a_report_has_one_order_of_each_kind_however_often_it_fails(town: Towns) -> None:
    here = town()
    report = failed(here)
    put_to_test(here, report, 100)
    here.ask(here.utility.css.trouble.still_no_power, report)
    assert len(here.ask(here.utility.css.orders.orders)) == 2
    assert {o.state for o in orders(here, report).values()} == {OrderState.ISSUED}


def test_a_second_report_of_the_account_is_covered_by_the_open_orders(town: Towns) -> None:
    here = town()
    first = failed(here)
    second = reported(here)
    assert put_to_test(here, second, 100).passed is False
    assert [o.order_id for o in orders(here, first).values()] == [o.order_id for o in orders(here, second).values()]
    assert orders(here, first)[OrderKind.FIELD].report_ids == (first, second)


# --- bad days ----------------------------------------------------------------------------------------------------------------


def test_a_test_goes_on_after_a_restart(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/u.db")
    report = prepaid_but_off(here)
    here.ask(here.utility.css.trouble.test, report)
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(30)
    assert checks(here, report)[0].passed is True


def test_a_test_that_ran_out_while_the_css_was_down_has_failed(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/u.db")
    report = prepaid_but_off(here)
    here.utility.network.cut(METER)
    here.ask(here.utility.css.trouble.test, report)
    here.loop.run(here.utility.close())
    here.after(3_600)
    here.utility = here.found()
    assert checks(here, report)[0].passed is False
    assert set(orders(here, report)) == BOTH


def test_a_result_is_fetched_until_it_is_there(town: Towns) -> None:
    here = town(network={"loss": 0.4}, trouble={"test_timeout_s": 7_200, "activation_timeout_s": 7_200})
    report = reported(here)
    for _ in range(5):
        assert put_to_test(here, report, 3_600).result is not None
    assert len(here.ask(here.utility.adcs.tests.tests, METER)) == 5


@pytest.mark.parametrize(("processing_s", "in_time"), [(55.0, True), (65.0, False)])
def test_how_long_a_result_takes_is_told(town: Towns, processing_s: float, in_time: bool) -> None:
    here = town(options={"processing_s": processing_s}, adcs={"receipt_timeout_s": 100})
    report = reported(here)
    assert put_to_test(here, report, 85).passed is True
    (test,) = here.ask(here.utility.adcs.tests.tests, METER)
    assert test.received_at is not None
    assert (test.received_at - test.requested_at <= timedelta(seconds=60)) is in_time
