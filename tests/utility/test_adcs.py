"""The ADCS on a network that is slow, loses messages or is cut: what it sends when, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from drivers.roles import AtZero, EventCode, MessageCode, ReceiptStatus, Switch
from tests.conftest import BOTH
from tests.utility.conftest import METER, Town
from twins.utility.adcs import Request
from twins.utility.adcs_records import Direction, State
from twins.utility.errors import NotAccepted, Reason
from twins.utility.mdms import Kind

pytestmark = BOTH

Towns = Callable[..., Town]


def submit(here: Town, code: MessageCode, **fields: object) -> int:
    return here.ask(here.utility.adcs.submit, Request("suite", METER, code, **fields))  # type: ignore[arg-type]


def sendings(here: Town, message_id: int) -> list[float]:
    """When a message was sent, in seconds after it was submitted."""
    record = here.ask(here.utility.adcs.message, message_id)
    return [
        (t.at - record.submitted_at).total_seconds()
        for t in here.ask(here.utility.adcs.transactions, METER)
        if t.direction is Direction.TO_METER and t.message_id == message_id
    ]


def test_the_most_urgent_message_goes_first(town: Towns) -> None:
    here = town()
    text = submit(here, MessageCode.TEXT, text="hello")
    test = submit(here, MessageCode.TEST)
    disconnect = submit(here, MessageCode.DISCONNECT)
    limit = submit(here, MessageCode.LIMIT, limit_w=3_000)
    here.after(60)
    order = [t.message_id for t in here.ask(here.utility.adcs.transactions, METER) if t.direction is Direction.TO_METER]
    assert order == [disconnect, limit, test, text]


def test_priorities_are_the_utilitys_to_choose(town: Towns) -> None:
    here = town(adcs={"priorities": {"text": 0}})
    disconnect, text = submit(here, MessageCode.DISCONNECT), submit(here, MessageCode.TEXT, text="hello")
    urgent = submit(here, MessageCode.BILLING, billing=here.twin.account().billing, priority=0)
    here.after(60)
    order = [t.message_id for t in here.ask(here.utility.adcs.transactions, METER) if t.direction is Direction.TO_METER]
    assert order == [text, urgent, disconnect]
    assert here.ask(here.utility.adcs.message, text).message.priority == 0


def test_a_meter_test_brings_its_result_to_the_mdms(town: Towns) -> None:
    here = town(service_on=True)
    message_id = submit(here, MessageCode.TEST)
    here.after(20)
    (result,) = here.ask(here.utility.mdms.test_results, METER)
    assert result.value.message_id == message_id
    assert result.value.switch is Switch.CLOSED
    assert result.value.load_side_voltage_v == pytest.approx(240, abs=1)


def test_a_schedule_reaches_the_mdms_and_leaves_it_when_cancelled(town: Towns) -> None:
    here = town()
    start = here.clock.now() + timedelta(days=2)
    fields = {"starts_at": start, "ends_at": start + timedelta(hours=4), "credit_wh": 9_000}
    at_zero = here.config.customers[0].accounts[0].at_zero
    submit(here, MessageCode.SCHEDULE, event_id=7, at_zero=at_zero, **fields)
    here.after(20)
    (event,) = here.ask(here.utility.mdms.schedules, METER)
    assert (event.value.event_id, event.value.credit_wh) == (7, 9_000)
    submit(here, MessageCode.CANCEL_SCHEDULE, event_id=7)
    here.after(20)
    assert here.ask(here.utility.mdms.schedules, METER) == ()
    assert len(here.ask(here.utility.mdms.received, Kind.SCHEDULE, METER)) == 1


@pytest.mark.parametrize(
    ("code", "named"),
    [(MessageCode.LIMIT, "limit_w"), (MessageCode.SCHEDULE, "starts_at"), (MessageCode.TEXT, "text")],
)
def test_an_incomplete_request_is_refused(town: Towns, code: MessageCode, named: str) -> None:
    here = town()
    with pytest.raises(NotAccepted, match=named) as caught:
        submit(here, code)
    assert caught.value.reason is Reason.INCOMPLETE_REQUEST
    assert here.ask(here.utility.adcs.requests) == ()


def test_a_request_for_a_meter_that_is_not_there_is_refused(town: Towns) -> None:
    here = town()
    with pytest.raises(NotAccepted, match=METER) as caught:
        here.ask(here.utility.adcs.submit, Request("suite", "X-1", MessageCode.TEST))
    assert caught.value.reason is Reason.UNKNOWN_METER


def test_a_message_submitted_twice_with_its_id_is_sent_once(town: Towns) -> None:
    here = town()
    message_id = here.ask(here.utility.adcs.new_message_id)
    for _ in range(2):
        assert submit(here, MessageCode.TEXT, message_id=message_id, text="hello") == message_id
    here.after(20)
    assert len(here.ask(here.utility.adcs.requests)) == len(here.meter.receipts()) == 1


def test_a_text_that_the_meter_refuses_is_not_sent_again(town: Towns) -> None:
    here = town()
    message_id = submit(here, MessageCode.TEXT, text="é" * 300)
    here.after(600)
    record = here.ask(here.utility.adcs.message, message_id)
    assert record.state is State.REFUSED
    assert record.why
    assert sendings(here, message_id) == [0.0]


def test_a_connect_without_answer_is_sent_again_after_45_s_with_its_id(town: Towns) -> None:
    here = town()
    here.utility.network.cut(METER)
    message_id = submit(here, MessageCode.CONNECT)
    here.after(44)
    here.utility.network.mend(METER)
    here.after(20)
    assert sendings(here, message_id) == [0.0, 45.0]
    assert here.meter.service().switch is Switch.CLOSED
    assert [r.message_id for r in here.meter.receipts()] == [message_id]


def test_a_connect_without_receipt_is_sent_again_once_and_done_once(town: Towns) -> None:
    here = town(options={"processing_s": 50.0})
    message_id = submit(here, MessageCode.CONNECT)
    here.after(200)
    first, second = sendings(here, message_id)
    assert first == 0.0
    assert second == pytest.approx(45, abs=2)
    assert [r.status for r in here.meter.receipts()] == [ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE]
    assert [e.event for e in here.meter.log()].count(EventCode.SWITCH_CLOSED) == 1
    record = here.ask(here.utility.adcs.message, message_id)
    assert (record.state, record.receipt_status) == (State.DONE, ReceiptStatus.PROCESSED)


def test_a_meter_that_is_away_for_hours_gets_everything_when_it_is_back(town: Towns) -> None:
    here = town()
    here.utility.network.cut(METER)
    here.pay("P-1")
    here.after(2 * 3_600)
    assert not here.meter.receipts()
    assert "no answer" in {t.kind for t in here.ask(here.utility.adcs.transactions, METER)}
    here.utility.network.mend(METER)
    here.after(1_000)
    assert here.ask(here.utility.css.confirmation, "P-1").successful
    assert len(here.meter.receipts()) == 1
    here.collect()
    # two hours of the night that were not collected on the hour
    assert len(here.ask(here.utility.mdms.intervals, METER, here.clock.now() - timedelta(hours=3))) >= 2


def test_a_line_that_is_cut_in_the_middle_is_no_different(town: Towns) -> None:
    here = town()
    here.loop.call(here.twin.inject, "silent", True)
    here.pay("P-1")
    here.after(10)
    here.loop.call(here.twin.inject, "silent", False)
    here.after(60)
    assert here.ask(here.utility.css.confirmation, "P-1").successful


def test_a_network_that_loses_a_third_loses_no_message(town: Towns) -> None:
    here = town(network={"loss": 0.3})
    for k in range(12):
        submit(here, MessageCode.TEXT, text=f"message {k}")
    here.after(6 * 3_600)
    done = {r.value.message_id for r in here.ask(here.utility.mdms.receipts, METER)}
    assert len(done) == 12
    assert all(here.ask(here.utility.adcs.message, m).state is State.DONE for m in done)
    processed = [r for r in here.meter.receipts() if r.status is ReceiptStatus.PROCESSED]
    assert len(processed) == 12


def test_latency_is_the_same_for_the_same_seed(town: Towns) -> None:
    logs = []
    for _ in range(2):
        here = town()
        here.pay("P-1")
        here.after(7_200)
        logs.append(here.ask(here.utility.adcs.transactions))
    assert logs[0] == logs[1]


def test_log_and_intervals_are_collected_by_themselves(town: Towns) -> None:
    here = town(service_on=True)
    here.after(3 * 3_600 + 60)
    assert [s.value for s in here.ask(here.utility.mdms.logs, METER)] == list(here.meter.log())
    assert [s.value for s in here.ask(here.utility.mdms.intervals, METER)][-3:] == list(here.meter.intervals())
    here.after(60)
    before = len(here.ask(here.utility.adcs.transactions))
    here.collect()
    after = here.ask(here.utility.adcs.transactions)[before:]
    assert [t.kind for t in after] == ["read"]  # nothing new, and nothing stored twice


def test_a_receipt_that_comes_too_late_is_found_by_the_next_collection(town: Towns) -> None:
    here = town(options={"processing_s": 90.0})
    message_id = submit(here, MessageCode.TEXT, text="hello")
    here.after(80)
    assert here.ask(here.utility.adcs.message, message_id).state is State.UNCONFIRMED
    here.after(60)
    here.collect()
    assert here.ask(here.utility.adcs.message, message_id).state is State.DONE


def test_on_a_slow_network_an_urgent_message_waits_for_none_but_the_one_under_way(town: Towns) -> None:
    here = town(network={"latency_s": 8.0, "jitter_s": 0.0, "timeout_s": 60.0})
    texts = [submit(here, MessageCode.TEXT, text=f"text {k}") for k in range(4)]
    here.after(5)
    urgent = submit(here, MessageCode.CONNECT)
    here.after(600)
    arrived = [e.argument for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED]
    assert arrived == [texts[0], urgent, *texts[1:]]
    completed = {r.message_id: r.completed_at for r in here.meter.receipts()}
    record = here.ask(here.utility.adcs.message, urgent)
    assert completed[urgent] - record.submitted_at < timedelta(seconds=60)


def test_intervals_are_collected_from_every_meter_daily(town: Callable[..., Town]) -> None:
    other = "TB-000002"
    here = town(service_on=True, neighbours=[other], adcs={"collection_period_s": 86_400})
    begun = here.clock.now()
    for day in (1, 2, 3):
        here.after(86_400 + (30 if day == 1 else 0))
        for meter_id, meter in here.meters.items():
            stored = [s.value for s in here.ask(here.utility.mdms.intervals, meter_id, begun)]
            assert len(stored) == 24 * day
            assert stored == list(meter.intervals())
            read = [t.at for t in here.ask(here.utility.adcs.transactions, meter_id) if t.kind == "intervals"]
            assert len(read) == day
            assert here.clock.now() - read[-1] < timedelta(minutes=1)
    # a meter that is silent holds up no other
    here.loop.call(here.twin.inject, "silent", True)
    here.meter.line.timeout = 0.02
    here.after(86_400)
    assert len(here.ask(here.utility.mdms.intervals, other)) == 4 * 24


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_receipt_leads_to_is_fetched_although_the_meter_falls_silent(
    town: Towns, tmp_path: Path, restart: bool
) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    start = here.clock.now() + timedelta(days=2)
    event = {"event_id": 7, "starts_at": start, "ends_at": start + timedelta(hours=4), "credit_wh": 9_000}
    message_id = submit(here, MessageCode.SCHEDULE, at_zero=AtZero.LIMIT, **event)
    adcs, soon = here.utility.adcs, here.clock.now() + timedelta(seconds=60)
    received = here.loop.run(
        here.clock.run_until(soon, lambda: any(t.kind == "receipt" for t in adcs.transactions(METER)))
    )
    assert received
    here.ask(here.utility.network.cut, METER)
    here.after(300)
    assert here.ask(here.utility.mdms.schedules, METER) == ()
    if restart:
        here.loop.run(here.utility.close())
        here.utility = here.found()
    here.ask(here.utility.network.mend, METER)
    here.after(1_800)
    here.collect()
    (held,) = here.ask(here.utility.mdms.schedules, METER)
    assert held.value.event_id == 7
    assert here.ask(here.utility.adcs.message, message_id).state is State.DONE
    assert len(here.ask(here.utility.mdms.receipts, METER)) == 1
