"""Prepaying for service, from the customer's call to the display: what the CSS takes, what it refuses, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import AtZero, DisplayCode, MessageCode, ReceiptStatus, Switch
from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT, DECLINED, METER, POOR, SILENT, Town, means_of
from twins.utility.adcs_records import State
from twins.utility.css.records import PaymentState
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import REQUIRED, Charge, Funds, PaymentMeans, PaymentMethod

pytestmark = BOTH

Towns = Callable[..., Town]


def refusal(call: Callable[[], Any]) -> NotAccepted:
    """The refusal that a call meets; its message is one line and names a remedy after a semicolon."""
    with pytest.raises(NotAccepted) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    assert ";" in said or "which is about" in said, said
    return caught.value


def test_a_customer_prepays_and_sees_it_on_meter_and_page(town: Towns) -> None:
    here = town()
    css, adcs, mdms = here.utility.css, here.utility.adcs, here.utility.mdms
    assert here.meter.service().switch is Switch.OPEN

    request = here.request()
    (logged,) = here.ask(css.requests)
    assert (logged.account_numbers, logged.name) == ((ACCOUNT,), "Ada Byron")
    assert logged.credentials_presented
    assert logged.starts_at == here.clock.now()
    assert logged.ends_at == datetime(2026, 1, 15, 8, tzinfo=UTC)  # the 15th, midnight in Los Angeles

    customer = here.ask(css.identify, request, "analytical engine")
    assert (customer.name, customer.address) == ("Ada Byron", "7 Elm Street, Springfield")
    assert customer.accounts[0].meter_id == METER

    estimate = here.ask(css.estimate, request)
    assert estimate.energy_wh == pytest.approx(240 * 500)  # ten days at 500 Wh an hour
    assert estimate.cost_cents == estimate.amount_cents == 2_400
    assert estimate.daily_average_wh == pytest.approx(12_000)
    assert [d.energy_wh for d in estimate.history] == pytest.approx([12_000] * 30)

    posting = here.pay("P-1", 2_400, request_id=request, at_zero=AtZero.DISCONNECT)
    assert (posting.balance_cents, posting.at_zero, posting.repeated) == (2_400, AtZero.DISCONNECT, False)
    assert here.ask(css.balance_cents, ACCOUNT) == 2_400
    assert here.ask(css.confirmation, "P-1") is None
    assert refusal(lambda: here.ask(css.acknowledge, "P-1", "desk 4")).reason is Reason.NOT_CONFIRMED_YET

    here.after(10)
    message = here.ask(adcs.message, posting.message_id)
    assert message.state is State.DONE
    assert message.message.credit_wh == 120_000
    assert message.message.time_left == timedelta(days=10)
    assert message.message.at_zero is AtZero.DISCONNECT
    (request_at_adcs,) = here.ask(adcs.requests)
    assert (request_at_adcs.source, request_at_adcs.code) == ("css", MessageCode.PREPAYMENT)
    sent, accepted, receipt = here.ask(adcs.transactions, METER)
    assert (sent.kind, sent.message_id) == ("message", posting.message_id)
    assert (accepted.kind, receipt.kind) == ("acceptance", "receipt")
    (published,) = here.ask(mdms.receipts, METER)
    assert published.value.status is ReceiptStatus.PROCESSED
    assert published.received_at == published.available_at == message.receipt_at
    (balance,) = here.ask(mdms.balances, METER)
    assert (balance.value.balance_cents, balance.value.credit_wh) == (2_400, 120_000)

    confirmation = here.ask(css.confirmation, "P-1")
    assert confirmation.successful
    assert confirmation.receipt.message_id == posting.message_id
    acknowledged = here.ask(css.acknowledge, "P-1", "desk 4")
    here.after(5)
    assert here.ask(css.acknowledge, "P-1", "desk 9") == acknowledged
    assert acknowledged.acknowledged_by == "desk 4"

    assert here.meter.service().energised
    shown = {line.code: line.text for line in here.meter.display()}
    assert shown[DisplayCode.BALANCE] == "$24.00"
    assert shown[DisplayCode.CREDIT] == "120.0 kWh"
    assert shown[DisplayCode.TIME_LEFT] == "10 d 00 h 00 min"
    page = here.ask(css.account_page, ACCOUNT)
    assert (page.balance_cents, page.credit_wh) == (2_400, 120_000)
    assert page.time_left == timedelta(days=10) - (here.clock.now() - posting.posted_at)
    assert page.daily_average_wh == pytest.approx(12_000)
    assert len(page.intervals) == 30 * 24 - 1  # the hour that began a little over 30 days ago is not whole any more
    assert page.updated_at == posting.posted_at


def test_energy_is_charged_as_the_meter_records_it(town: Towns) -> None:
    here = town(service_on=True)
    here.pay("P-1", 5_000)
    here.after(5 * 3_600 + 60)
    used = [i.energy_wh for i in here.meter.intervals()]
    assert len(used) == 5
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == pytest.approx(5_000 - sum(used) / 50, abs=1)
    page = here.ask(here.utility.css.account_page, ACCOUNT)
    assert [i.energy_wh for i in page.intervals[-5:]] == used


def test_the_meter_is_told_the_balance_once_a_day(town: Towns) -> None:
    here = town(service_on=True)
    here.pay("P-1", 5_000)
    here.after(86_400 + 60)
    first, second = here.ask(here.utility.css.commands, ACCOUNT)
    assert (first.code, second.code) == (MessageCode.PREPAYMENT, MessageCode.BALANCE)
    assert (
        here.meter.account().balance_cents == here.ask(here.utility.css.statements, ACCOUNT)[-1].balance_cents < 5_000
    )


def test_a_payment_on_a_regular_account_makes_it_prepaid(town: Towns) -> None:
    here = town(service_on=True, account={"billing": "regular"})
    here.after(1_800)
    here.pay("P-1", 5_000)
    here.after(2 * 3_600)
    entries = here.ask(here.utility.css.ledger, ACCOUNT)
    # the interval in which the payment fell belongs to regular billing
    assert [e.reference for e in entries] == ["P-1", "2026-01-05T10:00:00+00:00"]


def test_an_opening_balance_counts(town: Towns) -> None:
    here = town(account={"opening_balance_cents": 700})
    assert here.pay("P-1", 1_000).balance_cents == 1_700


def test_an_account_without_history_is_told_the_time_of_its_class(town: Towns) -> None:
    here = town(account={"history": None})
    request = here.identified()
    assert refusal(lambda: here.ask(here.utility.css.estimate, request)).reason is Reason.NO_HISTORY
    here.pay("P-1", 5_000)
    here.after(10)
    (statement,) = here.ask(here.utility.css.statements, ACCOUNT)
    assert statement.profile_from is None
    assert statement.profile_wh == here.config.css.class_profile_wh
    assert here.ask(here.utility.css.confirmation, "P-1").successful
    assert here.ask(here.utility.css.account_page, ACCOUNT).daily_average_wh is None


# --- who they say they are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "credential", "reason", "named"),
    [
        ({}, "a guess", Reason.NOT_THE_CUSTOMER, "credentials"),
        ({"name": "Charles Babbage"}, "analytical engine", Reason.NOT_THE_CUSTOMER, "name"),
        ({"address": "1 Dorset Street"}, "analytical engine", Reason.NOT_THE_CUSTOMER, "address"),
        ({"account_numbers": ("A-9",)}, "analytical engine", Reason.UNKNOWN_ACCOUNT, "A-9"),
        ({"account_numbers": ()}, "analytical engine", Reason.UNKNOWN_ACCOUNT, "account"),
    ],
)
def test_who_is_not_the_customer_is_refused_and_logged(
    town: Towns, changes: dict[str, Any], credential: str, reason: Reason, named: str
) -> None:
    here = town()
    css = here.utility.css
    request = here.request(**changes)
    refused = refusal(lambda: here.ask(css.identify, request, credential))
    assert refused.reason is reason
    assert named in str(refused)
    (check,) = here.ask(css.identity_checks)
    assert not check.confirmed
    assert named in check.why
    assert refusal(lambda: here.ask(css.estimate, request, ACCOUNT)).reason is Reason.IDENTITY_NOT_CONFIRMED
    assert refusal(lambda: here.pay(request_id=request)).reason is Reason.IDENTITY_NOT_CONFIRMED


def test_case_and_spacing_do_not_make_somebody_else(town: Towns) -> None:
    here = town()
    request = here.request(name="ADA  BYRON", address=" 7 elm street, springfield ")
    assert here.ask(here.utility.css.identify, request, "analytical engine").credentials_confirmed


def test_a_request_without_credentials_says_so(town: Towns) -> None:
    here = town()
    here.request(credential=None)
    assert not here.ask(here.utility.css.requests)[0].credentials_presented


def test_no_secret_is_in_the_database(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    here.pay(means=means_of(PaymentMethod.CARD, "4111222233334444"))
    assert "4111222233334444" not in repr(here.payment())
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"Ada Byron" in kept
    assert b"************4444" in kept
    assert b"analytical engine" not in kept
    assert b"4111222233334444" not in kept


@pytest.mark.parametrize(("starts", "ends"), [(3_600, None), (None, -1)])
def test_a_time_frame_that_cannot_be_is_refused(town: Towns, starts: int | None, ends: int | None) -> None:
    here = town()
    frame = {
        key: here.clock.now() + timedelta(seconds=seconds)
        for key, seconds in (("starts_at", starts), ("ends_at", ends))
        if seconds is not None
    }
    with pytest.raises(NotAccepted) as caught:
        here.request(**frame)
    assert caught.value.reason is Reason.TIME_FRAME
    assert here.ask(here.utility.css.requests) == ()


# --- the payment -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(PaymentMethod))
def test_every_current_way_of_paying_is_taken(town: Towns, method: PaymentMethod) -> None:
    here = town()
    here.pay(means=means_of(method))
    (logged,) = here.ask(here.utility.css.payments, ACCOUNT)
    assert (logged.method, logged.state) == (method, PaymentState.POSTED)
    assert set(logged.data) == set(REQUIRED[method])


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"cents": 0}, Reason.AMOUNT_NOT_POSITIVE, "$5.00"),
        ({"cents": -100}, Reason.AMOUNT_NOT_POSITIVE, "-$1.00"),
        ({"cents": 499}, Reason.BELOW_MINIMUM, "$5.00"),
        ({"means": PaymentMeans(PaymentMethod.CARD, {"number": "4111"})}, Reason.PAYMENT_DATA_MISSING, "expiry"),
        ({"means": means_of(PaymentMethod.CHECK)}, Reason.METHOD_NOT_TAKEN, "card, bank"),
        ({"means": means_of(PaymentMethod.CARD, DECLINED)}, Reason.DECLINED, "new payment id"),
        ({"means": means_of(PaymentMethod.CARD, POOR), "cents": 4_001}, Reason.DECLINED, "not enough funds"),
        ({"at_zero": AtZero.AUTO_REPLENISH}, Reason.OPTION_NOT_POSSIBLE, "agree"),
        ({"cents": 1000.5}, Reason.AMOUNT_NOT_WHOLE, "1000.5"),
        ({"cents": 1000.0}, Reason.AMOUNT_NOT_WHOLE, "whole number of cents"),
        ({"cents": True}, Reason.AMOUNT_NOT_WHOLE, "True"),
        ({"cents": "5000"}, Reason.AMOUNT_NOT_WHOLE, "'5000'"),
        ({"cents": 42_949_673}, Reason.MORE_THAN_FITS, "at most $429496.72"),
        ({"cents": 2**31 - 1}, Reason.MORE_THAN_FITS, "at most $429496.72"),
        ({"cents": 10**15}, Reason.MORE_THAN_FITS, "at most"),
        ({"cents": 10**30}, Reason.MORE_THAN_FITS, "at most"),
        ({"payment_id": ""}, Reason.PAYMENT_ID_NOT_TAKEN, "1 to 64 printable"),
        ({"payment_id": "  "}, Reason.PAYMENT_ID_NOT_TAKEN, "1 to 64 printable"),
        ({"payment_id": "P" * 65}, Reason.PAYMENT_ID_NOT_TAKEN, "1 to 64 printable"),
        ({"payment_id": "P\n1"}, Reason.PAYMENT_ID_NOT_TAKEN, "1 to 64 printable"),
    ],
)
def test_what_cannot_be_paid_is_refused_with_the_remedy_and_posts_nothing(
    town: Towns, changes: dict[str, Any], reason: Reason, named: str
) -> None:
    here = town(payments={"methods": ["card", "bank"]})
    css = here.utility.css
    payment = here.payment(**changes)
    for _ in range(2):  # asked again it is refused again
        refused = refusal(lambda: here.loop.run(css.pay(payment)))
        assert refused.reason is reason
        assert named in str(refused)
    here.after(10)
    assert here.ask(css.ledger, ACCOUNT) == ()
    assert here.ask(css.commands, ACCOUNT) == ()
    assert not here.meter.receipts()


def test_as_much_as_the_meter_can_hold_is_taken_and_delivered_and_a_cent_more_is_not_charged(town: Towns) -> None:
    here = town()
    css = here.utility.css
    here.pay(cents=5_000)
    here.after(10)
    most = 42_949_672 - 5_000  # 32 bits of watt-hours at 20 cents
    refused = refusal(lambda: here.pay("P-2", most + 1))
    assert refused.reason is Reason.MORE_THAN_FITS
    assert "$50.00 that are there" in str(refused)
    here.pay("P-3", most)
    here.after(10)
    assert here.ask(css.balance_cents, ACCOUNT) == 42_949_672
    assert css.confirmation("P-3") is not None
    assert {r.status for r in here.meter.receipts()} == {ReceiptStatus.PROCESSED}
    assert here.meter.account().balance_cents == 42_949_672
    assert len(here.utility.processor.charges) == 2  # type: ignore[attr-defined]


def test_payments_on_their_way_count_too(town: Towns) -> None:
    here = town()
    silent = here.payment(cents=30_000_000, means=means_of(PaymentMethod.CARD, SILENT))
    assert refusal(lambda: here.loop.run(here.utility.css.pay(silent))).reason is Reason.NO_ANSWER
    assert refusal(lambda: here.pay("P-2", 30_000_000)).reason is Reason.MORE_THAN_FITS
    assert not here.loop.run(here.utility.css.pay(silent)).repeated


def test_a_charge_whose_answer_got_lost_is_posted_when_it_is_asked_for_again(town: Towns) -> None:
    here = town()
    payment = here.payment(means=means_of(PaymentMethod.CARD, SILENT))
    refused = refusal(lambda: here.loop.run(here.utility.css.pay(payment)))
    assert refused.reason is Reason.NO_ANSWER
    assert "same id" in str(refused)
    assert here.ask(here.utility.css.ledger, ACCOUNT) == ()
    assert not here.loop.run(here.utility.css.pay(payment)).repeated
    assert here.loop.run(here.utility.css.pay(payment)).repeated
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == 5_000
    assert len(here.utility.processor.charges) == 1  # type: ignore[attr-defined]


class SlowBank:
    """A payment processor that takes three seconds."""

    def __init__(self, here: Town) -> None:
        self.clock = here.clock
        self.keys: list[str] = []

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        self.keys.append(key)
        await self.clock.sleep(3)
        return Charge(Funds.APPROVED, "SLOW-1")

    async def status(self, key: str) -> Charge | None:
        return Charge(Funds.APPROVED, "SLOW-1") if key in self.keys else None


def test_a_payment_given_twice_at_once_is_charged_once(town: Towns) -> None:
    here = town()
    here.loop.run(here.utility.close())
    bank = SlowBank(here)
    here.utility = here.found(processor=bank)
    payment = here.payment()
    for _ in range(2):
        here.loop.call(here.clock.spawn, here.utility.css.pay(payment))
    assert refusal(lambda: here.after(1)).reason is Reason.IN_PROGRESS
    here.after(5)
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == 5_000
    assert bank.keys == ["P-1"]


def test_the_minimum_itself_is_enough(town: Towns) -> None:
    assert town().pay(cents=500).balance_cents == 500


def test_funds_are_used_up_payment_by_payment(town: Towns) -> None:
    here = town()
    here.pay("P-1", 3_000, means=means_of(PaymentMethod.DEBIT, POOR))
    assert refusal(lambda: here.pay("P-2", 3_000, means=means_of(PaymentMethod.DEBIT, POOR))).reason is Reason.DECLINED
    assert here.pay("P-3", 1_000, means=means_of(PaymentMethod.DEBIT, POOR)).balance_cents == 4_000


def test_a_meter_without_a_switch_cannot_disconnect_at_zero(town: Towns) -> None:
    here = town(account={"switch": False, "at_zero": "regular_billing"})
    refused = refusal(lambda: here.pay(at_zero=AtZero.DISCONNECT))
    assert refused.reason is Reason.OPTION_NOT_POSSIBLE
    assert "regular_billing" in str(refused)


def test_a_payment_posted_twice_is_posted_once(town: Towns) -> None:
    here = town()
    css = here.utility.css
    payment = here.payment("P-1", 2_000, at_zero=AtZero.DISCONNECT)
    first = here.loop.run(css.pay(payment))
    here.after(10)
    here.loop.run(css.pay(here.payment("P-2", 1_000)))
    again = here.loop.run(css.pay(payment))
    assert again == first
    assert (first.repeated, again.repeated) == (False, True)
    assert here.ask(css.balance_cents, ACCOUNT) == 3_000
    assert [p.payment_id for p in here.ask(css.postings, ACCOUNT)] == ["P-1", "P-2"]
    here.after(10)
    assert len(here.meter.receipts()) == 2
    assert len(here.utility.processor.charges) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [{"cents": 2_001}, {"means": means_of(PaymentMethod.BANK)}, {"at_zero": AtZero.DISCONNECT}],
)
def test_a_payment_id_is_good_for_one_payment(town: Towns, changes: dict[str, Any]) -> None:
    here = town()
    here.pay("P-1", 2_000)
    refused = refusal(lambda: here.pay("P-1", **{"cents": 2_000, **changes}))
    assert refused.reason is Reason.PAYMENT_ID_REUSED


def test_the_option_stays_until_the_customer_chooses_another(town: Towns) -> None:
    here = town()
    assert here.pay("P-1").at_zero is AtZero.LIMIT
    assert here.pay("P-2", at_zero=AtZero.REGULAR_BILLING).at_zero is AtZero.REGULAR_BILLING
    assert here.pay("P-3").at_zero is AtZero.REGULAR_BILLING


def test_what_nobody_knows_is_refused(town: Towns) -> None:
    here = town()
    css = here.utility.css
    assert refusal(lambda: here.ask(css.account_page, "A-9")).reason is Reason.UNKNOWN_ACCOUNT
    assert refusal(lambda: here.ask(css.confirmation, "P-9")).reason is Reason.UNKNOWN_PAYMENT
    assert refusal(lambda: here.ask(css.identify, 99, "analytical engine")).reason is Reason.UNKNOWN_REQUEST
    assert refusal(lambda: here.ask(css.estimate, here.identified(), "A-9")).reason is Reason.UNKNOWN_ACCOUNT
