"""A customer at the website, in the run's browser. What comes back is what pages show."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from bench.browsing import Browsing
from bench.data import BadInput
from bench.prepaying import Prepaying
from drivers.roles import AtZero
from twins.utility.payments import REQUIRED, PaymentMethod


@dataclass(frozen=True)
class AccountShown:
    """The account's page: balance in money, energy and time, and what has happened to it, as (moment, kind), latest first."""

    balance_cents: int | None
    credit_wh: float | None
    time_left: timedelta | None
    zero_at: datetime | None
    updated_at: datetime | None
    warning: str
    events: tuple[tuple[datetime, str], ...]


@dataclass(frozen=True)
class Prepaid:
    """A payment, and its message to the meter."""

    payment_id: str | None
    message_id: int | None


class WebCustomer:
    """The first customer of the bench file, who signs in whenever their session is over. Takes the place of
    `bench.burning.Customer`."""

    def __init__(self, case: Prepaying, browsing: Browsing) -> None:
        self._case = case
        self._browsing = browsing

    def pays(self, cents: int) -> None:
        """Prepays an amount by card, from the estimate to the posting."""
        self._signs_in()
        data = {name: f"{4000 + k}" * 3 for k, name in enumerate(REQUIRED[PaymentMethod.CARD])}
        page = self._browsing.prepay(self._number, cents, data)
        if self._browsing.stage() not in ("posted", "confirmed"):
            raise BadInput(f"the website does not take the payment: {page.text('message')}")
        self._case.posting = Prepaid(page.text("payment_id"), page.whole("message_id"))

    def chooses(self, option: AtZero, fallback: AtZero) -> None:
        """Chooses what happens at zero, and what where that is impossible."""
        self._signs_in()
        self._case.option = option
        page = self._browsing.choose_at_zero(self._number, option.name.lower(), fallback.name.lower())
        if page.text("at_zero") is None:
            raise BadInput(f"the website does not take the choice: {page.text('message')}")

    def agrees_on_automatic_payments(self, cents: int, card: str) -> None:
        """Has an amount drawn from a card at the threshold or at zero."""
        self._signs_in()
        data = {name: card if k == 0 else "12/31" for k, name in enumerate(REQUIRED[PaymentMethod.CARD])}
        page = self._browsing.agree(self._number, cents, data)
        if self._browsing.stage() != "agreed":
            raise BadInput(f"the website does not take the agreement: {page.text('message')}")

    def page(self) -> AccountShown:
        """The account as it is shown: balance, energy, time left, moment of zero, when updated."""
        self._signs_in()
        page = self._browsing.read_account(self._number)
        return AccountShown(
            balance_cents=page.cents("balance"),
            credit_wh=page.wh("credit"),
            time_left=page.lasting("time_left"),
            zero_at=page.moment("zero_at"),
            updated_at=page.moment("updated"),
            warning=self._browsing.warning(),
            events=tuple(self._browsing.balance_events()),
        )

    @property
    def _number(self) -> str:
        return str(self._case.account.number)

    def _signs_in(self) -> None:
        login = self._case.customer.id
        self._browsing.sign_in(login, self._case.bench.password(login))
