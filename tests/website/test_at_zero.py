"""What happens at zero, chosen at the website; automatic payments agreed on there; and what the account's page tells of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.roles import AtZero
from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import CUSTOMERS, OTHER, Visitor, WebTown

pytestmark = BOTH

PAGE, AGREEMENT = f"/accounts/{ACCOUNT}/at-zero", f"/accounts/{ACCOUNT}/replenish"


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


def agrees(who: Visitor, account: str = ACCOUNT, **changes: str) -> str:
    """Agree on automatic payments by card; the page that comes."""
    fields = {"method": "card", "amount": "20.00", "data_number": "4111111111111111", "data_expiry": "12/29"}
    return who.post(f"/accounts/{account}/replenish", **{**fields, **changes})


def chosen(here: WebTown, account: str = ACCOUNT) -> tuple[AtZero, AtZero]:
    row = here.town.ask(here.town.utility.css.customers.account, account)
    return AtZero(row.at_zero), AtZero(row.fallback)


def test_an_outcome_and_its_fallback_are_chosen_without_paying(here: WebTown) -> None:
    ada = here.visitor("C-1")
    ada.post(PAGE, option="disconnect", fallback="limit")
    assert (ada.field("at_zero"), ada.field("fallback")) == ("Switch the service off", "Limit the service")
    assert chosen(here) == (AtZero.DISCONNECT, AtZero.LIMIT)
    assert here.balance() == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"option": "auto_replenish", "fallback": "limit"}, "This account cannot have that option at zero."),
        ({"option": "limit", "fallback": "auto_replenish"}, "This account cannot have that option at zero."),
        ({"option": "limit"}, "This is needed."),
        ({"option": "charge_payer", "fallback": "limit"}, "This is none of the choices."),
    ],
)
def test_what_the_account_cannot_have_is_refused(here: WebTown, fields: dict[str, str], said: str) -> None:
    before = chosen(here)
    ada = here.visitor("C-1")
    ada.post(PAGE, **fields)
    assert ada.last.status_code == 422
    assert said in ada.field("message")
    assert chosen(here) == before


def test_a_meter_without_a_switch_is_offered_what_it_can_do(web_town: Callable[..., WebTown]) -> None:
    account = {**CUSTOMERS[0]["accounts"][0], "at_zero": "regular_billing", "switch": False}  # type: ignore[index]
    here = web_town(customers=[{**CUSTOMERS[0], "accounts": [account]}, CUSTOMERS[1]])
    page = here.visitor("C-1").get(PAGE)
    assert page.count('value="disconnect" disabled') == 2
    assert page.count('value="regular_billing" checked>') == 2


def test_automatic_payments_are_agreed_on_chosen_and_made(web_town: Callable[..., WebTown]) -> None:
    here = web_town(service_on=True)
    ada = here.visitor("C-1")
    agrees(ada)
    here.town.after(1)
    ada.get(AGREEMENT)
    assert (ada.field("agreed_amount"), ada.field("agreed_method")) == ("$20.00", "Credit card")
    assert "4111" not in ada.last.text, "the processor has the card, nobody else"
    ada.post(PAGE, option="auto_replenish", fallback="limit")
    assert chosen(here) == (AtZero.AUTO_REPLENISH, AtZero.LIMIT)
    # 50 hours by the history; the load draws more
    here.asks(ada)
    here.pays(ada, 500)
    here.town.after(8 * 3_600)
    assert here.balance() > 2_000
    ada.sign_in("C-1")
    ada.get(f"/accounts/{ACCOUNT}")
    assert "Only a little time is left" in ada.last.text
    assert "An automatic payment was tried" in ada.last.text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"amount": "0.50"}, "below_minimum"), ({"amount": "0"}, "amount_not_positive")],
)
def test_an_agreement_that_is_refused_says_why(here: WebTown, changes: dict[str, str], reason: str) -> None:
    ada = here.visitor("C-1")
    agrees(ada, **changes)
    here.town.after(1)
    ada.get(AGREEMENT)
    assert f'data-reason="{reason}"' in ada.last.text
    assert not ada.field("agreed_amount")


@pytest.mark.parametrize("changes", [{"method": "cash"}, {"method": "gold"}, {"data_number": ""}, {"amount": "much"}])
def test_a_form_that_cannot_be_is_refused(here: WebTown, changes: dict[str, str]) -> None:
    ada = here.visitor("C-1")
    agrees(ada, **changes)
    assert ada.last.status_code == 422


def test_nobody_chooses_or_agrees_for_somebody_else(here: WebTown) -> None:
    before = chosen(here, OTHER)
    ada = here.visitor("C-1")
    for answer in (
        ada.post(f"/accounts/{OTHER}/at-zero", option="limit", fallback="disconnect"),
        agrees(ada, OTHER),
        ada.get(f"/accounts/{OTHER}/at-zero"),
        ada.get(f"/accounts/{OTHER}/replenish"),
    ):
        assert ada.last.status_code == 404
        assert "Clara" not in answer
    for path, fields in ((PAGE, {"option": "limit", "fallback": "limit"}), (AGREEMENT, {"method": "card"})):
        assert ada.http.post(path, data={"token": "0" * 64, **fields}).status_code == 403
    here.town.after(1)
    assert chosen(here, OTHER) == before
    assert here.town.ask(here.town.utility.css.customers.account, OTHER).auto_replenish_cents is None


def test_the_account_tells_of_zero_and_what_was_done(web_town: Callable[..., WebTown]) -> None:
    here = web_town(service_on=True)
    ada = here.visitor("C-1")
    ada.post(PAGE, option="disconnect", fallback="regular_billing")
    here.asks(ada)
    here.pays(ada, 500)
    here.town.after(20)
    ada.get(f"/accounts/{ACCOUNT}")
    assert not ada.field("warning")
    here.town.after(8 * 3_600)
    ada.sign_in("C-1")
    assert ada.field("warning").startswith("Service is left for about 1 day")
    here.town.after(16 * 3_600)
    ada.sign_in("C-1")
    assert ada.field("warning") == "The balance is used up."
    assert ada.last.text.count("Switch the service off") == 3, "as chosen, as done, and when"
    assert "The balance has reached zero" in ada.last.text
