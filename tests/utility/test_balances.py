"""A balance that nears zero: the threshold, hourly balances, zero, the four outcomes with their fallbacks, paying again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import AtZero, Billing, DisplayCode, MessageCode, ReceiptStatus, Switch
from tests.utility.conftest import ACCOUNT, DECLINED, METER, Town, means_of
from tests.utility.events import ADA, BEN, book, pay
from twins.utility.adcs_records import Request
from twins.utility.css.booking_records import BookingState
from twins.utility.css.outcomes import NOTICES
from twins.utility.css.records import BalanceEventKind, Stage, StationPayment
from twins.utility.errors import NotAccepted, Reason
from twins.utility.mdms import Kind
from twins.utility.payments import PaymentMethod

Towns = Callable[..., Town]
HOUR = timedelta(hours=1)
KIND = BalanceEventKind
# The load of the town draws 1200 W, its history says 500 W, energy costs 20 cents a kWh: 24 cents an hour, 10 expected.
LOADED = {"service_on": True}


def kinds(here: Town) -> list[BalanceEventKind]:
    return [e.kind for e in here.ask(here.utility.css.balance_events, ACCOUNT)]


def event(here: Town, kind: BalanceEventKind) -> Any:
    return next(e for e in here.ask(here.utility.css.balance_events, ACCOUNT) if e.kind is kind)


def near(town: Towns, *, cents: int = 500, hours: float = 8, **changes: Any) -> Town:
    """A town whose customer has paid for `cents`, `hours` later."""
    here = town(**{**LOADED, **changes})
    here.pay("P-1", cents)
    here.after(hours * 3600)
    return here


def codes(here: Town) -> list[MessageCode]:
    return [c.code for c in here.ask(here.utility.css.commands, ACCOUNT)]


def reads(here: Town) -> int:
    """How often the ADCS has collected the meter."""
    return sum(t.kind == "read" for t in here.ask(here.utility.adcs.transactions, METER))


def test_the_threshold_is_reached_when_two_days_are_left_and_no_earlier(town: Towns) -> None:
    here = town()
    here.ask(here.utility.network.cut, METER)  # the service stays off, and nothing can be read: time alone passes
    here.pay("P-1", 500)  # 50 hours
    here.after(2 * 3600 - 1)
    assert kinds(here) == []
    here.after(1)
    reached = event(here, KIND.THRESHOLD)
    assert reached.time_left == timedelta(hours=48)
    assert here.ask(here.utility.css.stage, ACCOUNT) is Stage.NEAR


@pytest.mark.parametrize("hours", [2.0, 100.0])
def test_the_threshold_is_configurable(town: Towns, hours: float) -> None:
    here = near(town, css={"threshold_h": hours}, hours=1)
    assert (KIND.THRESHOLD in kinds(here)) is (hours == 100.0)


def test_near_zero_the_meter_is_told_its_balance_once_every_interval(town: Towns) -> None:
    here = near(town, cents=1_000, hours=0, options={"interval_min": 30})
    here.after(40 * 3600)
    reached = event(here, KIND.THRESHOLD).at
    told = [s for s in here.ask(here.utility.css.statements, ACCOUNT) if s.at > reached]
    begun = datetime(2026, 1, 5, 8, tzinfo=UTC)
    slots = [(s.at - begun) // (HOUR / 2) for s in told]
    whole = range(min(slots), max(slots) + 1)
    assert slots == list(whole)
    assert len(slots) > 20
    assert [s.balance_cents for s in told] == sorted((s.balance_cents for s in told), reverse=True)
    account = here.meter.account()
    assert (account.balance_cents, account.zero_at) == (told[-1].balance_cents, told[-1].zero_at)
    shown = {line.code: line.text for line in here.meter.display()}
    left = told[-1].time_left
    assert (
        shown[DisplayCode.TIME_LEFT]
        == f"{left.days} d {left.seconds // 3600:02d} h {left.seconds % 3600 // 60:02d} min"
    )


def test_above_the_threshold_the_meter_is_told_daily_at_the_time_configured(town: Towns) -> None:
    here = near(town, cents=50_000, hours=0, css={"daily_balance_at": "03:30"})
    here.after(3 * 86_400)
    told = [s.at for s in here.ask(here.utility.css.statements, ACCOUNT)][1:]
    assert told == [datetime(2026, 1, 5 + day, 11, 30, tzinfo=UTC) for day in range(3)]


def test_nobody_is_cut_off_who_has_never_had_a_credit(town: Towns) -> None:
    here = town(**LOADED, account={"at_zero": "disconnect"})
    here.ask(here.utility.adcs.submit, Request("suite", METER, MessageCode.TEXT, text="Hello"))
    here.after(5 * 3600)
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) < 0
    assert (kinds(here), codes(here)) == ([], [])
    assert here.ask(here.utility.css.stage, ACCOUNT) is Stage.ABOVE


def test_a_payment_takes_the_balance_out_of_reach_again(town: Towns) -> None:
    here = near(town)
    assert kinds(here) == [KIND.THRESHOLD]
    here.pay("P-2", 5_000)
    here.after(5 * 3600)
    assert kinds(here) == [KIND.THRESHOLD, KIND.RECOVERED]
    assert codes(here)[-1] is MessageCode.PREPAYMENT
    assert here.meter.service().switch is Switch.CLOSED


def test_an_account_converted_to_regular_is_collected_hourly_no_more_until_it_prepays_again(town: Towns) -> None:
    here = near(town, adcs={"collection_period_s": 86_400})
    assert here.ask(here.utility.css.stage, ACCOUNT) is Stage.NEAR
    here.ask(here.utility.css.conversions.convert, ACCOUNT, Billing.REGULAR)
    here.after(2 * 3600)
    before = reads(here)
    here.after(20 * 3600)
    assert reads(here) - before <= 1
    assert here.ask(here.utility.css.stage, ACCOUNT) is Stage.ABOVE
    here.ask(here.utility.css.conversions.convert, ACCOUNT, Billing.PREPAID)
    here.after(26 * 3600)
    before = reads(here)
    here.after(10 * 3600)
    assert reads(here) - before == 10
    assert here.ask(here.utility.css.stage, ACCOUNT) is not Stage.ABOVE


# --- zero --------------------------------------------------------------------------------------------------------------


def test_at_zero_the_customer_is_told_and_then_disconnected(town: Towns) -> None:
    here = near(town, hours=24, account={"at_zero": "disconnect"})
    assert kinds(here) == [KIND.THRESHOLD, KIND.ZERO, KIND.OUTCOME]
    assert here.meter.service().switch is Switch.OPEN
    shown = {line.code: line.text for line in here.meter.display()}
    assert shown[DisplayCode.MESSAGE] == NOTICES["es"]
    assert shown[DisplayCode.TIME_LEFT] == "0 d 00 h 00 min"
    notice, off = (
        next(r.completed_at for r in here.meter.receipts() if r.code is code)
        for code in (MessageCode.TEXT, MessageCode.DISCONNECT)
    )
    assert notice < off < notice + timedelta(seconds=10)
    assert here.ask(here.utility.css.outcome, ACCOUNT) is AtZero.DISCONNECT

    here.pay("P-2", 1_000)
    here.after(10)
    assert here.meter.service().switch is Switch.CLOSED
    assert here.ask(here.utility.css.outcome, ACCOUNT) is None


def test_a_payment_that_does_not_cover_what_is_owed_does_not_connect(town: Towns) -> None:
    here = town(service_on=True, account={"at_zero": "disconnect"})
    here.pay("P-1", 500)
    here.after(3600)
    here.ask(here.utility.network.cut, METER)
    here.after(3 * 86_400)  # 72 hours at 24 cents
    assert KIND.ZERO not in kinds(here)  # nobody is cut off for a forecast
    here.ask(here.utility.network.mend, METER)
    here.after(3600)
    owed = -here.ask(here.utility.css.balance_cents, ACCOUNT)
    assert 1_100 < owed < 1_400
    assert here.meter.service().switch is Switch.OPEN
    here.pay("P-2", 1_000)
    here.after(10)
    assert here.meter.service().switch is Switch.OPEN
    here.pay("P-3", 1_000)
    here.after(10)
    assert here.meter.service().switch is Switch.CLOSED


def test_a_limit_is_set_and_ended(town: Towns) -> None:
    here = near(town, hours=24, account={"at_zero": "limit"})
    assert here.meter.service().limit_w == here.config.css.limit_w
    assert here.meter.service().switch in (Switch.TRIPPED, Switch.CLOSED)
    here.pay("P-2", 1_000)
    here.after(10)
    assert here.meter.service().limit_w is None
    assert here.meter.service().switch is Switch.CLOSED


def test_regular_billing_begins_at_the_end_of_the_interval(town: Towns) -> None:
    here = near(town, hours=30, account={"at_zero": "regular_billing"})
    assert kinds(here) == [KIND.THRESHOLD, KIND.ZERO, KIND.OUTCOME, KIND.CONVERTED]
    zero, converted = event(here, KIND.ZERO).at, event(here, KIND.CONVERTED).at
    assert converted == zero.replace(minute=0, second=0, microsecond=0) + HOUR
    assert here.meter.service().billing is Billing.REGULAR
    assert here.meter.service().switch is Switch.CLOSED
    charged = [e for e in here.ask(here.utility.css.ledger, ACCOUNT) if e.kind.value == "energy"]
    assert charged[-1].reference == converted.isoformat()  # the interval that ended then, and none after
    told = len(codes(here))
    here.after(6 * 3600)
    assert len(codes(here)) == told

    here.pay("P-2", 5_000)
    here.after(2 * 3600)
    assert here.meter.service().billing is Billing.PREPAID
    charged = [e for e in here.ask(here.utility.css.ledger, ACCOUNT) if e.kind.value == "energy"]
    assert datetime.fromisoformat(charged[-1].reference) > converted + HOUR


# --- automatic payments --------------------------------------------------------------------------------------------------


def agreed(town: Towns, number: str, cents: int = 3_000, **changes: Any) -> Town:
    here = town(**{**LOADED, **changes})
    here.loop.run(here.utility.css.agree_on_replenishing(ACCOUNT, cents, means_of(PaymentMethod.CARD, number)))
    here.ask(here.utility.css.choose_at_zero, ACCOUNT, AtZero.AUTO_REPLENISH, AtZero.DISCONNECT)
    here.pay("P-1", 500)
    return here


def test_the_balance_is_replenished_at_the_threshold_and_service_never_ceases(town: Towns) -> None:
    here = agreed(town, "4111111111111111")
    here.after(10 * 3600)
    assert kinds(here) == [KIND.THRESHOLD, KIND.REPLENISH, KIND.RECOVERED]
    (_, auto) = here.ask(here.utility.css.postings, ACCOUNT)
    assert (auto.payment_id, auto.amount_cents) == (f"auto-{ACCOUNT}-1", 3_000)
    assert here.ask(here.utility.css.stage, ACCOUNT) is Stage.ABOVE
    assert here.meter.service().switch is Switch.CLOSED


def test_a_declined_card_leads_to_the_fallback_and_never_loops(town: Towns) -> None:
    here = agreed(town, DECLINED)
    here.after(48 * 3600)
    declined = [KIND.REPLENISH, KIND.NOT_REPLENISHED]
    assert kinds(here) == [KIND.THRESHOLD, *declined, KIND.ZERO, *declined, KIND.OUTCOME]
    assert here.ask(here.utility.css.outcome, ACCOUNT) is AtZero.DISCONNECT
    assert here.meter.service().switch is Switch.OPEN
    assert [p.state.value for p in here.ask(here.utility.css.payments, ACCOUNT)] == ["posted", "declined", "declined"]


def test_what_is_declined_at_the_threshold_may_succeed_at_zero(town: Towns) -> None:
    number = "4000000000000036"
    here = agreed(town, number, payments={"minimum_cents": 500, "processor": {"declined_first": [number]}})
    here.after(30 * 3600)
    assert kinds(here)[-3:] == [KIND.ZERO, KIND.REPLENISH, KIND.RECOVERED]
    assert here.meter.service().switch is Switch.CLOSED
    assert len(here.utility.processor.charges) == 2  # type: ignore[attr-defined]


def test_without_payment_data_nothing_is_drawn(town: Towns) -> None:
    here = near(town, hours=24, account={"at_zero": "auto_replenish", "auto_replenish_cents": 3_000})
    assert KIND.NOT_REPLENISHED in kinds(here)
    assert here.meter.service().billing is Billing.REGULAR or KIND.OUTCOME in kinds(here)
    assert here.ask(here.utility.css.outcome, ACCOUNT) is AtZero.REGULAR_BILLING


# --- what is possible ----------------------------------------------------------------------------------------------------


def test_an_option_that_its_class_has_lost_falls_back_at_zero(town: Towns) -> None:
    here = town(service_on=True, url="sqlite://", account={"at_zero": "disconnect", "fallback": "limit"})
    here.pay("P-1", 500)
    eligible = {**here.config.css.options_at_zero, "residential": (AtZero.LIMIT,)}
    object.__setattr__(here.config.css, "options_at_zero", eligible)  # the programme has changed meanwhile
    here.after(24 * 3600)
    assert kinds(here)[-2:] == [KIND.NOT_POSSIBLE, KIND.OUTCOME]
    assert here.ask(here.utility.css.outcome, ACCOUNT) is AtZero.LIMIT
    assert here.meter.service().limit_w is not None


def test_a_meter_that_refuses_the_outcome_leads_to_the_next_one(town: Towns) -> None:
    here = town(service_on=True, options={"switch": None, "load_side": None}, account={"at_zero": "limit"})
    here.pay("P-1", 500)
    here.after(24 * 3600)
    assert kinds(here)[2:5] == [KIND.OUTCOME, KIND.NOT_POSSIBLE, KIND.OUTCOME]
    assert here.ask(here.utility.css.outcome, ACCOUNT) is AtZero.REGULAR_BILLING
    here.after(3600)
    assert here.meter.service().billing is Billing.REGULAR


@pytest.mark.parametrize(
    ("option", "fallback", "changes"),
    [
        (AtZero.DISCONNECT, None, {"switch": False, "at_zero": "regular_billing"}),
        (AtZero.REGULAR_BILLING, AtZero.LIMIT, {"switch": False, "at_zero": "regular_billing"}),
        (AtZero.AUTO_REPLENISH, None, {}),
        (AtZero.LIMIT, AtZero.AUTO_REPLENISH, {"auto_replenish_cents": 1_000}),
    ],
)
def test_an_option_that_cannot_be_had_is_refused_when_it_is_chosen(
    town: Towns, option: AtZero, fallback: AtZero | None, changes: dict[str, Any]
) -> None:
    here = town(account=changes)
    with pytest.raises(NotAccepted) as caught:
        here.ask(here.utility.css.choose_at_zero, ACCOUNT, option, fallback)
    assert caught.value.reason is Reason.OPTION_NOT_POSSIBLE


# --- bad days ------------------------------------------------------------------------------------------------------------


def silence(here: Town, on_the_line: bool, silent: bool) -> None:
    """Have the meter answer no more, or again: its serial port, or the network between."""
    if on_the_line:
        here.loop.call(here.twin.inject, "silent", silent)
        here.meter.line.timeout = 0.02 if silent else 1.0  # real time, waited for at every try
    else:
        here.ask(here.utility.network.cut if silent else here.utility.network.mend, METER)


RARELY = {"no_answer_backoff_s": [15, 3_600]}


@pytest.mark.parametrize("on_the_line", [False, True])
def test_a_meter_that_is_silent_for_two_days_around_zero_gets_one_balance_and_the_outcome(
    town: Towns, on_the_line: bool
) -> None:
    here = near(town, hours=12, account={"at_zero": "disconnect"}, adcs=RARELY)
    assert kinds(here) == [KIND.THRESHOLD]
    silence(here, on_the_line, silent=True)
    here.after(2 * 86_400)
    before = len(codes(here))
    assert KIND.ZERO not in kinds(here)
    silence(here, on_the_line, silent=False)
    here.after(3700)
    assert kinds(here)[-2:] == [KIND.ZERO, KIND.OUTCOME]
    assert here.meter.service().switch is Switch.OPEN
    assert len(codes(here)) <= before + 5  # no heap of old balances
    used = sum(i.energy_wh for i in here.meter.intervals())
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == pytest.approx(500 - used / 50, abs=1)


@pytest.mark.parametrize("on_the_line", [False, True])
def test_an_event_that_begins_and_ends_while_the_meter_is_silent_is_charged_once(
    town: Towns, on_the_line: bool
) -> None:
    here = near(town, hours=12, customers=[ADA, BEN], adcs=RARELY)
    start = here.clock.now() + 24 * HOUR
    pay(here, book(here, starts_at=start, ends_at=start + 2 * HOUR), 500)
    here.after(60)
    assert [e.starts_at for e in here.meter.schedule()] == [start]
    silence(here, on_the_line, silent=True)
    here.after(2 * 86_400)
    assert kinds(here) == [KIND.THRESHOLD]
    silence(here, on_the_line, silent=False)
    here.after(3700)
    here.collect()
    intervals = here.meter.intervals()
    used = sum(i.energy_wh for i in intervals)
    of_event = sum(i.energy_wh for i in intervals if start < i.ends_at <= start + 2 * HOUR)
    assert of_event == pytest.approx(2_400, rel=0.01)
    page = here.ask(here.utility.css.bookings.page, "E-1")
    assert (page.booking.state, page.balance_cents) == (BookingState.CLOSED, 0)
    assert page.energy_wh == pytest.approx(of_event, abs=0.01)
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == pytest.approx(1_000 - used / 50, abs=1)
    entries = here.ask(here.utility.css.ledger, ACCOUNT)
    assert len({(e.kind, e.reference) for e in entries}) == len(entries)
    assert here.meter.service().switch is Switch.OPEN
    log = [t.kind for t in here.ask(here.utility.adcs.transactions, METER)]
    last = len(log) - log[::-1].index("no answer")
    assert {"receipt", "intervals", "log"} <= set(log[last:])


@pytest.mark.parametrize("restarted", [False, True])
def test_a_meter_whose_clock_is_set_back_is_charged_for_every_interval_once(
    town: Towns, restarted: bool, tmp_path: Path
) -> None:
    here = near(town, hours=10, url=f"sqlite:///{tmp_path}/utility.db")
    here.meter.set_clock(here.clock.now() - 3 * HOUR)
    here.after(1.5 * 3600)
    if restarted:
        here.loop.run(here.utility.close())
        here.utility = here.found()
    here.after(8.5 * 3600)
    here.collect()
    entries = here.ask(here.utility.css.ledger, ACCOUNT)
    charged = [e for e in entries if e.kind.value == "energy"]
    assert len(charged) == len({e.reference for e in charged})
    used = sum(i.energy_wh for i in here.meter.intervals())
    assert used == pytest.approx(24_000, rel=0.01)
    assert sum(e.cents for e in charged) == pytest.approx(-used / 50, abs=1)
    balance = here.ask(here.utility.css.balance_cents, ACCOUNT)
    assert balance == sum(e.cents for e in entries)
    told = [s.at for s in here.ask(here.utility.css.statements, ACCOUNT)]
    assert max(b - a for a, b in pairwise(told[1:])) <= timedelta(minutes=62)


def test_receipts_that_are_late_or_of_nobody_change_nothing(town: Towns) -> None:
    here = near(town, hours=23.9, account={"at_zero": "regular_billing"}, network={"loss": 0.2})
    here.after(6 * 3600)
    assert kinds(here)[-1] is KIND.CONVERTED
    stray = here.meter.receipts()[-1]
    here.ask(here.utility.mdms.store_receipts, METER, [stray, stray])
    here.ask(
        here.utility.mdms.store_receipts,
        METER,
        [type(stray)(9_999, 4_000_000_000, MessageCode.BILLING, METER, ReceiptStatus.REFUSED, stray.completed_at)],
    )
    here.after(3600)
    assert kinds(here)[-1] is KIND.CONVERTED


def test_receipts_of_messages_that_the_head_end_never_sent_or_doubled_change_nothing_over_the_wire(
    town: Towns,
) -> None:
    here = near(town, cents=5_000, hours=0)
    here.after(10)
    adcs, css, mdms = here.utility.adcs, here.utility.css, here.utility.mdms
    paid = here.ask(css.confirmation, "P-1")
    sent = here.ask(adcs.message, paid.message_id)

    def held() -> tuple[Any, ...]:
        return (
            here.ask(css.ledger, ACCOUNT),
            here.ask(css.confirmation, "P-1"),
            here.ask(adcs.message, paid.message_id),
            here.ask(mdms.balances, METER),
            kinds(here),
            codes(here),
        )

    before = held()
    stray = replace(sent.message, message_id=4_000_000_000, code=MessageCode.BALANCE, balance_cents=1)
    for message in (stray, stray, sent.message):
        here.meter.send(message)
        here.after(5)
    here.collect()
    assert held() == before
    came = {n: [r.value.status for r in here.ask(mdms.receipts, METER, n)] for n in (stray.message_id, paid.message_id)}
    processed_and_doubled = [ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE]
    assert came == {stray.message_id: processed_and_doubled, paid.message_id: processed_and_doubled}
    unknown = [t for t in here.ask(adcs.transactions, METER) if "unknown message" in t.detail]
    assert [(t.message_id, t.code) for t in unknown] == [(stray.message_id, MessageCode.BALANCE)] * 2

    # the same receipts fetched once more, as after an answer that was lost
    received = here.ask(mdms.received, Kind.RECEIPT, METER)
    here.ask(setattr, adcs._lines.of(METER), "receipts_after", 0)
    here.collect()
    assert here.ask(mdms.received, Kind.RECEIPT, METER) == received
    assert held() == before


def test_a_watch_goes_on_after_a_restart(town: Towns, tmp_path: Path) -> None:
    here = near(town, url=f"sqlite:///{tmp_path}/utility.db", account={"at_zero": "disconnect"})
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(20 * 3600)
    assert kinds(here) == [KIND.THRESHOLD, KIND.ZERO, KIND.OUTCOME]
    assert here.meter.service().switch is Switch.OPEN


# --- refunds and pay stations ----------------------------------------------------------------------------------------------


def test_a_refund_is_made_once_and_never_of_more_than_there_is(town: Towns) -> None:
    here = near(town, cents=5_000, hours=0)
    css = here.utility.css
    first = here.ask(css.refund, ACCOUNT, 2_000, "R-1")
    assert here.ask(css.refund, ACCOUNT, 2_000, "R-1") == first
    assert here.ask(css.balance_cents, ACCOUNT) == 3_000
    for cents, reference, reason in (
        (1_000, "R-1", Reason.PAYMENT_ID_REUSED),
        (3_001, "R-2", Reason.MORE_THAN_THERE_IS),
        (0, "R-2", Reason.AMOUNT_NOT_POSITIVE),
    ):
        with pytest.raises(NotAccepted) as caught:
            here.ask(css.refund, ACCOUNT, cents, reference)
        assert caught.value.reason is reason
    here.after(10)
    assert here.meter.account().balance_cents == 3_000


def test_what_is_paid_at_a_station_is_on_the_meter_at_once(town: Towns) -> None:
    here = near(town, hours=24, account={"at_zero": "disconnect"})
    assert here.meter.service().switch is Switch.OPEN
    paid = StationPayment("S-7", "000123", ACCOUNT, 2_000, here.clock.now())
    posting = here.loop.run(here.utility.css.pay_at_station(paid))
    assert posting.posted_at == paid.taken_at
    here.after(5)
    assert here.meter.account().balance_cents == posting.balance_cents
    assert here.meter.service().switch is Switch.CLOSED
    assert here.loop.run(here.utility.css.pay_at_station(paid)).repeated
    late = StationPayment("S-7", "000124", ACCOUNT, 2_000, here.clock.now() - timedelta(minutes=5))
    here.loop.run(here.utility.css.pay_at_station(late))
    assert [c.detail for c in here.ask(here.utility.css.contacts) if c.kind == "late pay station"] == [
        "S-7 000124: 0:05:00"
    ]
