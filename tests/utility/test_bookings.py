"""Bookings of prepayment events: what is refused and why, the estimate, the purse, the schedule on its way to the meter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Interval, ReceiptStatus
from tests.utility.conftest import ACCOUNT, DECLINED, METER, SILENT, Town, means_of
from tests.utility.events import ADA, BEN, CLOSED_HALL, PAYER, asked, book, booking, hall, pay
from twins.utility.adcs_schedules import EventOrder
from twins.utility.css import EventOutcome, LocalTime, Payment, ledger, purses
from twins.utility.css.booking_checks import taking
from twins.utility.css.booking_records import Answer, BookingState
from twins.utility.css.booking_tables import BookingRow
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, CustomerRow, RequestRow
from twins.utility.database import open_database
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import PaymentMethod

HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)


def state(here: Town, name: str = "E-1") -> Any:
    return here.ask(here.utility.css.bookings.booking, name)


def purse(here: Town, name: str = "E-1") -> int:
    return int(here.ask(here.utility.css.bookings.purse_cents, name))


def reason(call: Callable[[], object]) -> Reason:
    with pytest.raises(NotAccepted) as no:
        call()
    assert "\n" not in str(no.value)
    return no.value.reason


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        (Reason.IN_THE_PAST, lambda now: {"starts_at": now - SECOND}),
        (Reason.END_BEFORE_START, lambda now: {"starts_at": now + DAY, "ends_at": now + DAY}),
        (Reason.END_BEFORE_START, lambda now: {"starts_at": now + DAY, "ends_at": now + HOUR}),
        (Reason.TOO_LONG, lambda now: {"starts_at": now + DAY, "ends_at": now + 15 * DAY + SECOND}),
        (Reason.UNKNOWN_FACILITY, lambda now: {"location": "nowhere"}),
        (Reason.FACILITY_NOT_ENABLED, lambda now: {"location": CLOSED_HALL}),
        (Reason.NOT_THE_PAYER, lambda now: {"payer": PAYER}),
        (Reason.NOT_ELIGIBLE, lambda now: {"outcome": EventOutcome.CHARGE_PAYER}),
        (Reason.NO_SUCH_LOCAL_TIME, lambda now: {"starts_at": LocalTime(datetime(2026, 3, 8, 2, 30))}),  # noqa: DTZ001
        (Reason.AMBIGUOUS_LOCAL_TIME, lambda now: {"starts_at": datetime(2026, 11, 1, 1, 30)}),  # noqa: DTZ001
    ],
)
def test_a_booking_that_cannot_be_is_refused_with_its_own_reason(
    town: Callable[..., Town], why: Reason, changes: Callable[[datetime], dict[str, Any]]
) -> None:
    here = hall(town)
    assert reason(lambda: book(here, **changes(here.clock.now()))) is why
    assert here.ask(here.utility.css.bookings.of, ACCOUNT) == ()


def test_programme_b_has_its_own_third_outcome(town: Callable[..., Town]) -> None:
    here = hall(town)
    assert reason(lambda: book(here, who=BEN, outcome=EventOutcome.REGULAR_BILLING)) is Reason.NOT_ELIGIBLE
    assert book(here, who=BEN, outcome=EventOutcome.CHARGE_PAYER).programme == "B"


def test_a_meter_without_switch_and_a_class_left_out_have_no_disconnect(town: Callable[..., Town]) -> None:
    account = {**ADA["accounts"][0], "switch": False, "at_zero": "regular_billing"}
    here = hall(town, customers=[{**ADA, "accounts": [account]}, BEN])
    for outcome in (EventOutcome.LIMIT, EventOutcome.DISCONNECT):
        assert reason(lambda outcome=outcome: book(here, outcome=outcome)) is Reason.NOT_ELIGIBLE
    assert book(here, outcome=EventOutcome.REGULAR_BILLING).state is BookingState.RESERVED
    there = hall(town, events={"residential": ["regular_billing"]})
    assert reason(lambda: book(there)) is Reason.NOT_ELIGIBLE


def test_overlap_counts_to_the_second_and_back_to_back_is_none(town: Callable[..., Town]) -> None:
    here = hall(town)
    request = asked(here)
    first = book(here, request_id=request)
    start, end = first.starts_at, first.ends_at
    for k, (begins, ends, why) in enumerate(
        [
            (start, end, Reason.DUPLICATE),
            (end - SECOND, end + HOUR, Reason.OVERLAP),
            (start - HOUR, start + SECOND, Reason.OVERLAP),
            (start - HOUR, end + HOUR, Reason.OVERLAP),
            (start + SECOND, end - SECOND, Reason.OVERLAP),
        ]
    ):
        again = {"request_id": request, "starts_at": begins, "ends_at": ends}
        assert reason(lambda k=k, again=again: book(here, f"X-{k}", **again)) is why
    book(here, "after", request_id=request, starts_at=end, ends_at=end + HOUR)
    book(here, "before", request_id=request, starts_at=start - HOUR, ends_at=start)
    found = here.ask(here.utility.css.bookings.availability, request, ACCOUNT, start - 2 * HOUR, end + 2 * HOUR)
    assert found.answer is Answer.TAKEN
    assert found.free == ((start - 2 * HOUR, start - HOUR), (end + HOUR, end + 2 * HOUR))
    elsewhere = here.ask(here.utility.css.bookings.availability, asked(here, BEN), CLOSED_HALL, start, end)
    assert elsewhere.answer is Answer.NOT_SET_UP


def test_the_same_booking_id_is_the_same_booking_and_of_no_other(town: Callable[..., Town]) -> None:
    here = hall(town)
    request = booking(here)
    first = here.ask(here.utility.css.bookings.book, request)
    assert here.ask(here.utility.css.bookings.book, request) == first
    other = booking(here, request_id=request.request_id, ends_at=request.ends_at + HOUR)  # type: ignore[operator]
    assert reason(lambda: here.ask(here.utility.css.bookings.book, other)) is Reason.BOOKING_ID_REUSED
    assert len(here.ask(here.utility.css.bookings.of, ACCOUNT)) == 1


def test_nobody_else_pays_for_moves_or_ends_a_booking(town: Callable[..., Town]) -> None:
    here = hall(town)
    made, stranger = book(here), asked(here, BEN)
    css = here.utility.css
    attempts: list[Callable[[], object]] = [
        lambda: here.ask(css.bookings.end, stranger, "E-1"),
        lambda: here.ask(css.bookings.reschedule, stranger, "E-1", made.starts_at + DAY, made.ends_at + DAY),
        lambda: here.loop.run(
            css.pay(Payment("P-x", stranger, PAYER, 1_000, means_of(PaymentMethod.CARD), booking_id="E-1"))
        ),
        lambda: here.ask(css.bookings.end, stranger, "no such booking"),
    ]
    assert {reason(attempt) for attempt in attempts} == {Reason.NOT_THE_PAYER}
    anybody = here.request()
    assert reason(lambda: here.ask(css.bookings.end, anybody, "E-1")) is Reason.IDENTITY_NOT_CONFIRMED
    assert state(here) == made


def test_an_unpaid_booking_lapses_and_a_payment_in_time_keeps_it(town: Callable[..., Town]) -> None:
    here = hall(town)
    made = book(here)
    here.after(901)
    rival = book(here, "E-2", who=BEN, starts_at=made.starts_at, ends_at=made.ends_at)
    assert reason(lambda: pay(here, made)) is Reason.OVERLAP
    here.after(901)
    assert pay(here, made).booking_id == "E-1"
    assert reason(lambda: pay(here, rival)) is Reason.OVERLAP
    assert purse(here, "E-1") == 1_000


def test_a_declined_card_and_an_option_at_zero_pay_for_nothing(town: Callable[..., Town]) -> None:
    here = hall(town)
    made = book(here)
    assert reason(lambda: pay(here, made, means=means_of(PaymentMethod.CARD, DECLINED))) is Reason.DECLINED
    assert reason(lambda: pay(here, made, payment_id="P-2", at_zero=AtZero.LIMIT)) is Reason.OPTION_NOT_POSSIBLE
    assert reason(lambda: pay(here, made, 499, payment_id="P-3")) is Reason.BELOW_MINIMUM
    assert (purse(here), state(here).state) == (0, BookingState.RESERVED)


def test_an_account_elsewhere_pays_for_events_only(town: Callable[..., Town]) -> None:
    here = hall(town)
    request = asked(here, BEN)
    payment = Payment("P-1", request, PAYER, 1_000, means_of(PaymentMethod.CARD))
    assert reason(lambda: here.loop.run(here.utility.css.pay(payment))) is Reason.UNKNOWN_METER


# --- times and estimates ---------------------------------------------------------------------------------------------------


def test_across_a_time_change_instants_and_estimate_are_right(town: Callable[..., Town]) -> None:
    here = hall(town)
    request = asked(here)
    night = LocalTime(datetime(2026, 3, 8, 0, 0)), LocalTime(datetime(2026, 3, 8, 4, 0))  # noqa: DTZ001
    made = book(here, request_id=request, starts_at=night[0], ends_at=night[1])
    assert (made.starts_at, made.ends_at) == (
        datetime(2026, 3, 8, 8, tzinfo=UTC),
        datetime(2026, 3, 8, 11, tzinfo=UTC),  # three hours: there is none from two to three
    )
    estimate = here.ask(here.utility.css.bookings.estimate, request, ACCOUNT, *night)
    assert estimate.energy_wh == pytest.approx(100 + 200 + 400)
    assert estimate.cost_cents == 14
    autumn = [
        here.ask(
            here.utility.css.bookings.estimate,
            request,
            ACCOUNT,
            LocalTime(datetime(2026, 11, 1, 1, 30), fold),  # noqa: DTZ001
            LocalTime(datetime(2026, 11, 1, 3, 0)),  # noqa: DTZ001
        ).energy_wh
        for fold in (0, 1)
    ]
    assert autumn == pytest.approx([1.5 * 200 + 300, 0.5 * 200 + 300])


# --- the event, from payment to what is left -----------------------------------------------------------------------------


def test_an_event_is_sent_a_day_ahead_energises_and_gives_back_what_is_left(town: Callable[..., Town]) -> None:
    here = hall(town)
    made = book(here, who=BEN, outcome=EventOutcome.CHARGE_PAYER)
    posting = pay(here, made, 5_000)
    assert (posting.linked_account, posting.balance_cents) == (ACCOUNT, 0)
    assert pay(here, made, 5_000).repeated
    here.after(2 * DAY.total_seconds() - 3_700)
    assert here.meter.schedule() == ()
    here.after(200)
    (event,) = here.meter.schedule()
    assert (event.starts_at, event.ends_at, event.credit_wh) == (made.starts_at, made.ends_at, 250_000)
    assert here.ask(here.utility.css.confirmation, "P-E-1").receipt.status is ReceiptStatus.PROCESSED
    here.after((made.starts_at - here.clock.now()).total_seconds() + 30)
    assert here.meter.service().energised
    assert here.meter.account().balance_cents == 5_000
    here.after(2 * 3_600 + 30)
    assert not here.meter.service().energised
    spent = 5_000 - here.ask(here.utility.css.balance_cents, PAYER)
    assert spent == pytest.approx(2 * 1.2 * 20, abs=1)  # 1.2 kW for two hours at 20 cents
    assert (purse(here), state(here).state) == (0, BookingState.CLOSED)
    assert all(e.kind is not Entry.ENERGY or e.cents == 0 for e in here.ask(here.utility.css.ledger, ACCOUNT))


def test_an_interval_revised_after_the_event_is_charged_to_it_once(town: Callable[..., Town]) -> None:
    here = hall(town)
    made = book(here, who=BEN, outcome=EventOutcome.CHARGE_PAYER)
    pay(here, made, 5_000)
    here.after((made.ends_at - here.clock.now()).total_seconds() + 26 * 3_600)
    assert state(here).state is BookingState.CLOSED
    before = here.ask(here.utility.css.balance_cents, PAYER)
    mdms = here.utility.mdms
    stored = here.ask(mdms.intervals, METER, made.starts_at, made.ends_at)
    revised = replace(stored[0].value, energy_wh=stored[0].value.energy_wh + 500)
    outside = replace(revised, ends_at=made.ends_at + 20 * HOUR)
    # The same again is nothing new; one of another time has the charging look again.
    for interval in (revised, revised, outside, replace(outside, energy_wh=outside.energy_wh + 1)):
        here.ask(mdms.store_intervals, METER, [interval])
        here.after(10)
        assert here.ask(here.utility.css.balance_cents, PAYER) == before - 10  # 500 Wh at 20 cents a kWh


def test_the_payer_ends_an_event_early_and_cancels_one_to_come(town: Callable[..., Town]) -> None:
    here = hall(town)
    soon = here.clock.now() + HOUR
    made = book(here, who=BEN, starts_at=soon, ends_at=soon + 10 * HOUR)
    pay(here, made, 1_000)
    here.after(2.5 * 3_600)
    assert here.meter.service().energised
    ended = here.ask(here.utility.css.bookings.end, made.request_id, "E-1")
    assert here.ask(here.utility.css.bookings.end, made.request_id, "E-1").ended_at == ended.ended_at
    here.after(30)
    assert not here.meter.service().energised
    here.after(3_600)
    left = here.ask(here.utility.css.balance_cents, PAYER)
    assert left == pytest.approx(1_000 - 1.5 * 1.2 * 20, abs=13)  # the hour in which it ended is shared by time
    later = book(here, "E-2", who=BEN)
    pay(here, later, 700)
    assert here.ask(here.utility.css.bookings.end, later.request_id, "E-2").state is BookingState.CANCELLED
    assert here.ask(here.utility.css.balance_cents, PAYER) == left + 700
    here.after(10)
    assert here.ask(here.utility.schedules.events, METER) == ()


def test_a_booking_moves_with_its_credit_also_at_the_meter(town: Callable[..., Town]) -> None:
    here = hall(town)
    soon = here.clock.now() + 5 * HOUR
    made = book(here, starts_at=soon, ends_at=soon + HOUR)
    pay(here, made)
    here.after(20)
    (held,) = here.meter.schedule()
    moved = here.ask(here.utility.css.bookings.reschedule, made.request_id, "E-1", soon + HOUR, soon + 2 * HOUR)
    here.after(20)
    (now_held,) = here.meter.schedule()
    assert now_held.event_id == moved.event_id != held.event_id
    assert (now_held.starts_at, now_held.credit_wh) == (soon + HOUR, held.credit_wh)
    whats = [e.what for e in here.ask(here.utility.schedules.log, METER)]
    assert whats == ["taken", "sent", "rescheduled", "taken", "taken off", "sent"]
    assert purse(here) == 1_000


@pytest.mark.parametrize(
    ("outcome", "energised", "limit_w"),
    [
        (EventOutcome.DISCONNECT, False, None),
        (EventOutcome.LIMIT, True, 1_500),
        (EventOutcome.CHARGE_PAYER, True, None),
    ],
)
def test_when_the_credit_is_used_up_the_option_holds(
    town: Callable[..., Town], outcome: EventOutcome, energised: bool, limit_w: int | None
) -> None:
    here = hall(town, payments={"minimum_cents": 10})
    soon = here.clock.now() + HOUR
    made = book(here, who=BEN, outcome=outcome, starts_at=soon, ends_at=soon + 8 * HOUR)
    pay(here, made, 40)
    here.after(3.05 * 3_600)
    assert state(here).zero_at is not None
    status = here.meter.service()
    assert (status.energised, status.limit_w) == (energised, limit_w)
    over = here.ask(here.utility.css.bookings.page, "E-1").charged_to_payer_cents
    assert over == pytest.approx(8, abs=1)  # two hours took 48 cents
    pay(here, made, 100, payment_id="more")
    here.after(20)
    status = here.meter.service()
    assert (status.energised, status.limit_w, state(here).zero_at) == (True, None, None)
    here.after(6 * 3_600)
    assert not here.meter.service().energised
    assert (purse(here), state(here).state) == (0, BookingState.CLOSED)


def test_eligibility_is_checked_again_at_zero(town: Callable[..., Town]) -> None:
    here = hall(town, payments={"minimum_cents": 10})
    soon = here.clock.now() + HOUR
    made = book(here, who=BEN, starts_at=soon, ends_at=soon + 8 * HOUR)
    pay(here, made, 20)

    def lose_the_switch() -> None:
        with Session(here.utility.css.context.engine) as session, session.begin():
            session.get_one(AccountRow, ACCOUNT).has_switch = False

    here.ask(lose_the_switch)
    here.after(3 * 3_600)
    assert here.meter.service().energised
    assert here.ask(here.utility.css.balance_cents, PAYER) < 0
    assert any("but the meter has no switch" in c.detail for c in here.ask(here.utility.css.contacts))


# --- the head-end ----------------------------------------------------------------------------------------------------------


def order(here: Town, start: datetime, end: datetime, **changes: Any) -> EventOrder:
    event_id = here.ask(here.utility.adcs.new_message_id)
    return EventOrder(**{"event_id": event_id, "meter_id": METER, "starts_at": start, "ends_at": end,
                         "credit_wh": 1_000, "at_zero": AtZero.DISCONNECT, **changes})  # fmt: skip


def test_the_adcs_refuses_again_and_says_why(town: Callable[..., Town]) -> None:
    here = hall(town)
    schedules, now = here.utility.schedules, here.clock.now()
    first = order(here, now + DAY, now + DAY + HOUR)
    here.ask(schedules.take, first)
    assert here.ask(schedules.take, first).event_id == first.event_id  # the same event changes nothing
    for why, start, end, changes in [
        (Reason.DUPLICATE, first.starts_at, first.ends_at, {}),
        (Reason.OVERLAP, first.ends_at - SECOND, first.ends_at + HOUR, {}),
        (Reason.END_BEFORE_START, now + HOUR, now + HOUR, {}),
        (Reason.IN_THE_PAST, now - HOUR, now, {}),
        (Reason.UNKNOWN_METER, now + HOUR, now + 2 * HOUR, {"meter_id": "TB-0"}),
    ]:
        bad = order(here, start, end, **changes)
        assert reason(lambda bad=bad: here.ask(schedules.take, bad)) is why
    assert reason(lambda: here.ask(schedules.cancel, 1)) is Reason.UNKNOWN_EVENT
    assert [e.what for e in here.ask(schedules.log)] == ["taken", *["refused"] * 5]
    here.ask(schedules.take, order(here, first.ends_at, first.ends_at + HOUR))
    assert len(here.ask(schedules.events, METER)) == 2


def test_what_the_adcs_refuses_is_paid_back(town: Callable[..., Town]) -> None:
    here = hall(town)
    made = book(here, who=BEN)
    here.ask(here.utility.schedules.take, order(here, made.starts_at - HOUR, made.starts_at + HOUR))
    pay(here, made, 1_000)
    here.after(5)
    refused = state(here)
    assert refused.state is BookingState.REFUSED
    assert "overlaps" in refused.why
    assert here.ask(here.utility.css.balance_cents, PAYER) == 1_000


@pytest.mark.parametrize("killed_after_s", [0.0, 46 * 3_600.0 + 3_599.9, 47 * 3_600.0 + 0.5, 47 * 3_600.0 + 60])
def test_a_restart_loses_no_event_and_sends_none_twice(
    town: Callable[..., Town], tmp_path: Path, killed_after_s: float
) -> None:
    here = hall(town, url=f"sqlite:///{tmp_path}/utility.db")
    made = book(here, who=BEN)
    pay(here, made, 1_000)
    here.after(killed_after_s)
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(2 * DAY.total_seconds() - killed_after_s)
    assert [e.starts_at for e in here.meter.schedule()] == [made.starts_at]
    assert [r.status for r in here.meter.receipts() if r.code == 7] == [ReceiptStatus.PROCESSED]
    assert [e.what for e in here.ask(here.utility.schedules.log)] == ["taken", "sent"]
    here.after(DAY.total_seconds() + 60)
    assert here.meter.service().energised


def test_a_payment_whose_answer_was_lost_is_posted_once_with_the_next_start(
    town: Callable[..., Town], tmp_path: Path
) -> None:
    here = hall(town, url=f"sqlite:///{tmp_path}/utility.db")
    made = book(here, who=BEN)
    assert reason(lambda: pay(here, made, means=means_of(PaymentMethod.CARD, SILENT))) is Reason.NO_ANSWER
    processor = here.utility.processor
    here.loop.run(here.utility.close())
    here.utility = here.found(processor=processor)
    here.after(5)
    assert (purse(here), state(here).state) == (1_000, BookingState.PAID)
    assert len(here.ask(here.utility.schedules.events, METER)) == 1


# --- properties --------------------------------------------------------------------------------------------------------------

_EPOCH = datetime(2026, 1, 5, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 60)), min_size=1, max_size=12),
)
def test_whatever_is_booked_never_overlaps(spans: list[tuple[int, int]]) -> None:
    engine = open_database("sqlite://")
    with Session(engine) as session, session.begin():
        _people(session)
    kept: list[tuple[datetime, datetime]] = []
    for k, (start, length) in enumerate(spans):
        span = _EPOCH + start * SECOND, _EPOCH + (start + length) * SECOND
        with Session(engine) as session, session.begin():
            free = not taking(session, ACCOUNT, span, _EPOCH)
            assert free is all(end <= span[0] or span[1] <= begin for begin, end in kept)
            if free:
                kept.append(span)
                session.add(_row(f"E-{k}", *span, state=BookingState.PAID))
    engine.dispose()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("pay"), st.integers(1, 500)),
            st.tuples(st.just("energy"), st.integers(0, 5_000_000)),
            st.tuples(st.just("again"), st.integers(0, 30)),
            st.tuples(st.just("revise"), st.integers(0, 5_000_000)),
            st.tuples(st.just("return"), st.just(0)),
        ),
        max_size=30,
    ),
    price=st.integers(1, 90_000),
)
def test_purse_and_ledger_balance_to_the_cent(steps: list[tuple[str, int]], price: int) -> None:
    engine = open_database("sqlite://")
    end = _EPOCH + timedelta(days=10)
    with Session(engine) as session, session.begin():
        _people(session)
        session.add(_row("E-1", _EPOCH, end, state=BookingState.PAID))
    paid, mwh, hours = 0, 0, []
    for k, (what, n) in enumerate(steps):
        with Session(engine) as session, session.begin():
            row = session.get_one(BookingRow, "E-1")
            if what == "pay":
                ledger.credit(session, PAYER, _EPOCH, Entry.PAYMENT, n, f"P-{k}")
                purses.pay_in(session, row, _EPOCH, n, f"P-{k}")
                paid += n
            elif what == "energy":
                hours.append(Interval(_EPOCH + (k + 1) * HOUR, HOUR, n / 1000, complete=True))
                assert purses.charge(session, row, _EPOCH, hours, price) == 1
                mwh += n
            elif what == "again":
                assert purses.charge(session, row, _EPOCH, hours, price) == 0
            elif what == "revise":
                changed = bool(hours) and hours[-1].energy_wh != n / 1000
                if changed:
                    mwh += n - round(hours[-1].energy_wh * 1000)
                    hours[-1] = replace(hours[-1], energy_wh=n / 1000)
                assert purses.charge(session, row, _EPOCH, hours, price) == changed
            else:
                purses.give_back(session, row, _EPOCH + k * SECOND)
                assert purses.balance_cents(session, "E-1") == 0
            left, account = purses.balance_cents(session, "E-1"), ledger.balance_cents(session, PAYER)
            assert left >= 0
            assert left + account == paid - mwh * price // 10**9
    engine.dispose()


@given(
    energy=st.integers(0, 10**9),
    cuts=st.lists(st.integers(-600, 4_200), min_size=2, max_size=6, unique=True),
)
def test_shares_of_an_interval_and_its_rest_are_the_whole(energy: int, cuts: list[int]) -> None:
    hour = Interval(_EPOCH + HOUR, HOUR, energy / 1000, complete=True)
    moments = [_EPOCH + c * SECOND for c in sorted(cuts)]
    spans = list(itertools.pairwise(moments))
    shares = [purses.share_mwh(hour, span) for span in spans]
    assert all(share >= 0 for share in shares)
    assert sum(shares) + round(purses.rest(hour, spans).energy_wh * 1000) == energy


def _people(session: Session) -> None:
    for customer, number in (("C-1", ACCOUNT), ("C-2", PAYER)):
        session.add(CustomerRow(id=customer, name="", address="", credential="", language="en",
                                customer_class="residential"))  # fmt: skip
        session.flush()
        session.add(AccountRow(number=number, customer_id=customer, meter_id=number, service_address="", billing=0,
                               at_zero=1, fallback=3, has_switch=True, bill_cycle_day=1))  # fmt: skip
    session.add(RequestRow(id=1, received_at=_EPOCH, channel="phone", account_numbers=[PAYER], name="", address="",
                           credentials_presented=True))  # fmt: skip
    session.flush()


def _row(name: str, start: datetime, end: datetime, **changes: Any) -> BookingRow:
    return BookingRow(booking_id=name, request_id=1, programme="B", payer=PAYER, location=ACCOUNT, meter_id=ACCOUNT,
                      starts_at=start, ends_at=end, outcome="charge_payer", booked_at=_EPOCH, hold_until=_EPOCH,
                      **changes)  # fmt: skip
