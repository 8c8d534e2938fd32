"""The payment processor on good and bad days: it approves, declines, does not answer before or after it took the money, answers
twice; whatever it does, nothing is taken or posted twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import AtZero
from tests.utility.conftest import ACCOUNT, Town, means_of
from twins.utility.css.records import PaymentState
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import TOKEN, Charge, Funds, PaymentMeans, PaymentMethod

Towns = Callable[..., Town]
SILENT, UNHEARD, TWICE = "4000000000000010", "4000000000000051", "4000000000000069"
ANSWERS = {"processor": {"silent": [SILENT], "unheard": [UNHEARD], "twice": [TWICE]}}


def paid(here: Town) -> list[tuple[str, int]]:
    return [(p.payment_id, p.amount_cents) for p in here.ask(here.utility.css.postings, ACCOUNT)]


def charged(here: Town) -> list[tuple[str, int]]:
    return [(key, cents) for _, key, cents in here.utility.processor.charges]  # type: ignore[attr-defined]


def give(here: Town, number: str) -> NotAccepted:
    with pytest.raises(NotAccepted) as caught:
        here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, number))
    return caught.value


def test_money_taken_without_an_answer_is_posted_as_soon_as_the_processor_says_so(town: Towns) -> None:
    here = town(payments=ANSWERS)
    assert give(here, SILENT).reason is Reason.NO_ANSWER
    assert paid(here) == []
    here.after(31)
    assert paid(here) == charged(here) == [("P-1", 2_000)]
    assert here.ask(here.utility.css.confirmation, "P-1") is not None or here.after(10) is None
    here.after(600)
    assert paid(here) == charged(here) == [("P-1", 2_000)]


def test_a_charge_that_never_arrived_waits_for_the_customer_and_is_made_once(town: Towns) -> None:
    here = town(payments=ANSWERS)
    assert give(here, UNHEARD).reason is Reason.NO_ANSWER
    here.after(600)
    assert paid(here) == charged(here) == []
    (logged,) = here.ask(here.utility.css.payments, ACCOUNT)
    assert logged.state is PaymentState.PENDING
    here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, UNHEARD))
    assert here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, UNHEARD)).repeated
    assert paid(here) == charged(here) == [("P-1", 2_000)]


def test_an_answer_that_comes_twice_is_posted_once(town: Towns) -> None:
    here = town(payments=ANSWERS)
    here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, TWICE))
    here.after(60)
    assert paid(here) == charged(here) == [("P-1", 2_000)]
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == 2_000


@pytest.mark.parametrize("number", [SILENT, UNHEARD, TWICE])
def test_an_automatic_payment_is_made_once_however_the_processor_answers(town: Towns, number: str) -> None:
    here = town(service_on=True, payments=ANSWERS)
    css = here.utility.css
    here.loop.run(css.agree_on_replenishing(ACCOUNT, 3_000, means_of(PaymentMethod.CARD, number)))
    here.ask(css.choose_at_zero, ACCOUNT, AtZero.AUTO_REPLENISH, AtZero.DISCONNECT)
    here.pay("P-1", 1_000)
    here.after(30 * 3600)
    assert paid(here) == charged(here) == [("P-1", 1_000), (f"auto-{ACCOUNT}-1", 3_000)]


def test_an_automatic_payment_that_was_cut_off_is_taken_up_with_its_key(town: Towns, tmp_path: Path) -> None:
    here = town(service_on=True, url=f"sqlite:///{tmp_path}/utility.db", payments=ANSWERS)
    css = here.utility.css
    here.loop.run(css.agree_on_replenishing(ACCOUNT, 3_000, means_of(PaymentMethod.CARD, SILENT)))
    here.ask(css.choose_at_zero, ACCOUNT, AtZero.AUTO_REPLENISH, AtZero.DISCONNECT)
    here.pay("P-1", 500)
    while not any(p.request_id is None for p in here.ask(here.utility.css.payments, ACCOUNT)):
        here.after(10)
    bank = here.utility.processor
    here.loop.run(here.utility.close())
    here.utility = here.found(processor=bank)
    here.after(120)
    assert paid(here) == charged(here) == [("P-1", 500), (f"auto-{ACCOUNT}-1", 3_000)]


def test_payment_data_are_kept_by_the_processor_alone(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    means = means_of(PaymentMethod.CARD, "4111222233334444")
    here.loop.run(here.utility.css.agree_on_replenishing(ACCOUNT, 3_000, means))
    assert b"4111222233334444" not in b"".join(p.read_bytes() for p in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cents", "means", "reason"),
    [
        (100, means_of(PaymentMethod.CARD), Reason.BELOW_MINIMUM),
        (3_000, PaymentMeans(PaymentMethod.CARD, {"number": "4111"}), Reason.PAYMENT_DATA_MISSING),
    ],
)
def test_automatic_payments_that_could_never_be_made_are_not_agreed_on(
    town: Towns, cents: int, means: PaymentMeans, reason: Reason
) -> None:
    here = town()
    with pytest.raises(NotAccepted) as caught:
        here.loop.run(here.utility.css.agree_on_replenishing(ACCOUNT, cents, means))
    assert caught.value.reason is reason


class Bank:
    """A processor that keeps no payment data."""

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        return Charge(Funds.APPROVED, "B-1")

    async def status(self, key: str) -> Charge | None:
        return None


def test_without_a_vault_there_are_no_automatic_payments(town: Towns) -> None:
    here = town()
    here.loop.run(here.utility.close())
    here.utility = here.found(processor=Bank())
    with pytest.raises(NotAccepted) as caught:
        here.loop.run(here.utility.css.agree_on_replenishing(ACCOUNT, 3_000, means_of(PaymentMethod.CARD)))
    assert caught.value.reason is Reason.METHOD_NOT_TAKEN


def test_a_token_stands_for_all_the_data_and_is_masked() -> None:
    means: Any = PaymentMeans(PaymentMethod.BANK, {TOKEN: "tok-12345678"})
    assert means.missing == ()
    assert means.masked() == {TOKEN: "********5678"}
