"""Forms that pay: what a payment needs to be told by its method, and the payment that a form stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from drivers.roles import AtZero
from twins.utility.css import Payment
from twins.utility.payments import REQUIRED, PaymentMeans, PaymentMethod
from twins.utility.website.forms import N_, BadForm
from twins.utility.website.site import Asked, NotHere

AT_HOME = (PaymentMethod.CARD, PaymentMethod.DEBIT, PaymentMethod.BANK)
"""Ways to pay that need nobody at a counter."""


def methods(taken: Sequence[PaymentMethod], offered: Sequence[PaymentMethod]) -> list[PaymentMethod]:
    """Ways to pay that are both taken by the utility and offered here."""
    return [m for m in offered if m in taken]


def chosen_method(asked: Asked, offered: Sequence[PaymentMethod]) -> PaymentMethod:
    """The way to pay named in the address of a page, the first one unless named."""
    if not asked.given.text("method", needed=False):
        return offered[0]
    method = asked.given.choice("method", PaymentMethod)
    if method not in offered:
        raise NotHere
    return method


def fields(method: PaymentMethod) -> list[str]:
    """Names of the form's fields for a method's data."""
    return [f"data_{name}" for name in REQUIRED[method]]


def means(asked: Asked, method: PaymentMethod) -> PaymentMeans:
    """What a form says to pay with. BadForm where a field isn't as it should be."""
    return PaymentMeans(method, {name.removeprefix("data_"): asked.given.text(name) for name in fields(method)})


def payment(
    asked: Asked,
    request_id: int,
    account_number: str,
    offered: Sequence[PaymentMethod],
    booking_id: str | None = None,
) -> Payment:
    """The payment that a form stands for, into an event's purse where there is a booking.

    BadForm where a field isn't as it should be.
    """
    given = asked.given
    payment_id = given.text("payment")
    if re.fullmatch(rf"web-{request_id}-[0-9]{{1,9}}", payment_id) is None:
        raise BadForm("payment", N_("This form is out of date or is not one of ours. Open the page again."))
    method = given.choice("method", PaymentMethod)
    if method not in offered:
        raise BadForm("method", N_("This is none of the choices."))
    option = given.choice("option", AtZero) if given.text("option", needed=False) else None
    return Payment(
        payment_id=payment_id,
        request_id=request_id,
        account_number=account_number,
        amount_cents=given.cents("amount"),
        means=means(asked, method),
        at_zero=option,
        booking_id=booking_id,
    )
