"""Prepaying at the website: from the estimate to the meter's confirmation, each payment once."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT, DECLINED, SILENT
from tests.website.conftest import WebTown

pytestmark = BOTH


def test_a_customer_prepays_and_sees_the_meter_confirm(web_town: Callable[..., WebTown]) -> None:
    here = web_town()
    ada = here.visitor("C-1")
    assert ada.last.url.path == f"/accounts/{ACCOUNT}"
    assert (ada.field("balance"), ada.field("customer_name")) == ("$0.00", "Ada Byron")
    here.asks(ada)
    assert ada.field("cost") == "$24.00"  # ten days at 12 kWh and 20 cents
    path = here.pays(ada, 5_000, option="disconnect")
    assert ada.last.history[-1].status_code == 303
    assert 'http-equiv="refresh"' in ada.last.text
    assert ada.field("stage") == "In progress"
    assert here.balance() == 0
    here.town.after(0)
    ada.get(path)
    assert (ada.field("stage"), ada.field("balance")) == ("Paid", "$50.00")
    here.town.after(10)
    ada.get(path)
    assert ada.field("stage") == "Paid, and confirmed by the meter"
    assert 'http-equiv="refresh"' not in ada.last.text
    assert "4111111111111111" not in ada.last.text
    ada.get(f"/accounts/{ACCOUNT}")
    assert (ada.field("balance"), ada.field("credit"), ada.field("time_left")) == (
        "$50.00",
        "250.0 kWh",
        "20 days, 19 hours",
    )
    assert ada.field("at_zero") == "Switch the service off"
    assert ada.field("updated")


def test_a_form_sent_twice_is_paid_once(web_town: Callable[..., WebTown]) -> None:
    here = web_town()
    ada = here.visitor("C-1")
    path = here.asks(ada)
    payment = ada.hidden("payment")
    for _ in range(2):
        ada.get(path)
        here.pays(ada, 3_000, payment=payment)
    here.town.after(1)
    ada.get(path)
    here.pays(ada, 3_000, payment=payment)
    here.town.after(1)
    assert here.balance() == 3_000
    ada.get(path)
    assert ada.hidden("payment") != payment
    here.pays(ada, 4_000, payment=payment)
    assert ada.last.status_code == 422
    assert "sent before with other data" in ada.field("message")


def test_more_than_the_meter_can_hold_is_not_charged_and_the_page_says_so(web_town: Callable[..., WebTown]) -> None:
    here = web_town()
    ada = here.visitor("C-1")
    here.asks(ada)
    path = here.pays(ada, 50_000_000)
    here.town.after(1)
    ada.get(path)
    assert (ada.field("stage"), here.balance()) == ("Not paid", 0)
    assert ada.field("message") == "This is more than can be paid at once."
    assert not here.town.utility.processor.charges  # type: ignore[attr-defined]


def test_a_declined_card_and_a_silent_processor_have_their_words(web_town: Callable[..., WebTown]) -> None:
    here = web_town()
    ada = here.visitor("C-1")
    here.asks(ada)
    refused = here.pays(ada, 3_000, data_number=DECLINED)
    here.town.after(1)
    ada.get(refused)
    assert (ada.field("stage"), here.balance()) == ("Not paid", 0)
    assert "was declined" in ada.field("message")
    ada.get(f"/accounts/{ACCOUNT}/requests/1")
    silent = here.pays(ada, 3_000, data_number=SILENT)
    here.town.after(1)
    ada.get(silent)
    assert "do not know yet" in ada.field("message")
    assert here.balance() == 0
    ada.get(f"/accounts/{ACCOUNT}/requests/1")
    assert here.pays(ada, 3_000, data_number=SILENT) == silent, "the same payment, given again"
    here.town.after(1)
    assert here.balance() == 3_000
    assert len(here.town.utility.processor.charges) == 1  # type: ignore[attr-defined]
