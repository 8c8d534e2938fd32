"""Prepaying at the website: from the estimate to the meter's confirmation, each payment once."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
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
        "20 days, 20 hours",
    )
    assert ada.field("at_zero") == "Switch the service off"
    assert ada.field("updated")
