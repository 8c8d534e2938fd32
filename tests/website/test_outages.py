"""No power: the customer's report and its progress, and the desk's way from identity to orders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT
from tests.website.conftest import DESK, HASHES, WebTown

pytestmark = BOTH

CREW = {"login": "crew", "name": "Otto", "password_hash": HASHES["desk-1"], "role": "field crew"}


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town(website={"representatives": [DESK, CREW]})


def test_a_report_goes_from_the_customer_through_test_and_orders_to_power(here: WebTown) -> None:
    ada, grace, otto = here.visitor("C-1"), here.visitor("desk-1"), here.visitor()
    otto.sign_in("crew", "front office")
    here.asks(ada)
    here.pays(ada, 2_000)
    here.town.after(20)
    ada.post(f"/accounts/{ACCOUNT}/outage", text="all is dark", since="")
    assert ada.field("state") == "Reported"
    report = f"/desk/outages/{ada.field('report_id')}"
    assert "all is dark" in grace.get("/desk/outages") or grace.get(report)
    grace.get(report)
    assert (grace.field("name"), grace.field("amount"), grace.field("activation_sent")) == (
        "Ada Byron",
        "$20.00",
        "sent",
    )
    grace.post(f"{report}/act", act="test")
    here.town.after(60)
    grace.get(report)
    assert grace.field("check_test") in ("Passed", "Failed")
    assert grace.field("switch") in ("closed", "open")
    if grace.field("check_test") == "Passed":
        grace.post(f"{report}/act", act="activate")
        here.town.after(120)
    grace.post(f"{report}/act", act="still_no_power")
    assert grace.field("state") == "Somebody is on the way"
    ada.get(f"/accounts/{ACCOUNT}/outage")
    assert ada.field("state") == "Somebody is on the way"
    orders = here.town.ask(here.town.utility.css.orders.orders, ACCOUNT)
    assert len(orders) == 2
    field = next(o for o in orders if o.kind.value == "field")
    grace.post(f"/desk/orders/{field.order_id}/act", act="assign", to="Otto")
    assert grace.field("assigned_to") == "Otto"
    grace.post(f"/desk/orders/{field.order_id}/act", act="close", note="done it")
    assert (grace.last.status_code, grace.field("message")) == (422, "This is not yours to do.")
    otto.post(f"/desk/orders/{field.order_id}/act", act="close", note="tightened the terminals")
    assert otto.field("state") == "Closed"
    grace.post(f"{report}/act", act="restored")
    ada.get(f"/accounts/{ACCOUNT}/outage")
    assert ada.field("state") == "Power is back"


def test_a_report_by_phone_waits_for_the_customers_identity(here: WebTown) -> None:
    grace = here.visitor("desk-1")
    who = {"name": "Ada Byron", "address": "7 Elm Street, Springfield", "text": "no light"}
    grace.post(f"/desk/accounts/{ACCOUNT}/outage", since="", **who)
    report = grace.last.url.path
    grace.post(f"{report}/act", act="test")
    assert grace.last.status_code == 422
    grace.post(f"{report}/identity", credential="somebody else's")
    assert grace.last.status_code == 422
    grace.post(f"{report}/identity", credential="analytical engine")
    assert grace.field("state") == "Identity confirmed"


@pytest.mark.parametrize("fields", [{"text": ""}, {"text": "x" * 500}, {"text": "dark", "since": "2030-01-01T00:00"}])
def test_a_report_that_cannot_be_is_refused(here: WebTown, fields: dict[str, str]) -> None:
    ada = here.visitor("C-1")
    ada.post(f"/accounts/{ACCOUNT}/outage", **fields)
    assert ada.last.status_code == 422
    assert here.town.ask(here.town.utility.css.trouble.reports) == ()


@pytest.mark.parametrize(
    ("defects", "address"), [((), "7 Elm Street, Springfield"), (("report_without_customers_address",), "")]
)
def test_the_customers_address_is_not_shown_with_the_defect_only(
    web_town: Callable[..., WebTown], defects: tuple[str, ...], address: str
) -> None:
    grace = web_town(*defects).visitor("desk-1")
    who = {"name": "Ada Byron", "address": "7 Elm Street, Springfield", "text": "no light"}
    grace.post(f"/desk/accounts/{ACCOUNT}/outage", since="", **who)
    grace.post(f"{grace.last.url.path}/identity", credential="analytical engine")
    assert (grace.field("name"), grace.field("account_numbers")) == ("Ada Byron", ACCOUNT)
    assert (grace.field("address"), grace.field("credentials_confirmed")) == (address, "Confirmed")
