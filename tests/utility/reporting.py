"""What the tests of reports, orders and bills have in common: a customer who has prepaid, and a report of theirs."""

from __future__ import annotations

from typing import Any

from tests.utility.conftest import ACCOUNT, METER, Town
from twins.utility.css.trouble_records import Check, NoPower, Order, OrderKind, Report, Role, Staff

DESK = Staff("Rosa", Role.REPRESENTATIVE)
CREW = Staff("Ivo", Role.FIELD_CREW)
SHOP = Staff("Mia", Role.METER_SHOP)
BOSS = Staff("Ann", Role.SUPERVISOR)


def told(**changes: Any) -> NoPower:
    """What the customer says."""
    said = {
        "account_number": ACCOUNT,
        "name": "Ada Byron",
        "address": "7 Elm Street, Springfield",
        "text": "No power since breakfast",
        "credential": "analytical engine",
    }
    return NoPower(**{**said, **changes})


def reported(here: Town) -> int:
    """An identified customer reports no power; returns the report's id."""
    report = here.ask(here.utility.css.trouble.log, told())
    here.ask(here.utility.css.trouble.identify, report, "analytical engine")
    return report


def prepaid_but_off(here: Town, cents: int = 2_000) -> int:
    """The customer has prepaid, the switch has been opened at the meter, and they report it; returns the report's id."""
    here.pay("P-1", cents)
    here.after(10)
    here.loop.call(here.twin.disconnect)
    return reported(here)


def put_to_test(here: Town, report: int, seconds: float = 20) -> Check:
    """Have the meter put_to_test, and wait; returns the test."""
    here.ask(here.utility.css.trouble.test, report)
    here.after(seconds)
    return checks(here, report)[-1]


def failed(here: Town) -> int:
    """A report whose meter test has failed, because the meter does not answer; returns its id."""
    report = prepaid_but_off(here)
    here.utility.network.cut(METER)
    assert put_to_test(here, report, 100).passed is False
    return report


def checks(here: Town, report: int) -> tuple[Check, ...]:
    """Tests and activations for a report."""
    return here.ask(here.utility.css.trouble.checks, report)


def state(here: Town, report: int) -> Report:
    """The report now."""
    return here.ask(here.utility.css.trouble.report, report)


def orders(here: Town, report: int) -> dict[OrderKind, Order]:
    """The orders that cover a report, by kind."""
    return {order.kind: order for order in here.ask(here.utility.css.orders.orders, report_id=report)}
