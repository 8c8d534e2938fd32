"""Automatic payments: tried when the balance comes to its threshold and once more at zero, never in a loop (D4).

The payment processor keeps the payment data; the account has a token that stands for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy.orm import Session

from drivers.roles import AtZero
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.paying import Paying
from twins.utility.css.records import Payment
from twins.utility.css.tables import AccountRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import TOKEN, PaymentMeans, PaymentMethod, Vault

_PREFIX = "auto-"


class Replenishing(Part):
    """Agreements on automatic payments, and the payments themselves."""

    def __init__(self, context: Context, customers: Customers, paying: Paying) -> None:
        super().__init__(context)
        self._customers = customers
        self._paying = paying
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Stop; what was not answered is asked for after the next start."""
        for task in self._tasks:
            task.cancel()

    async def agree(self, account_number: str, cents: int, means: PaymentMeans) -> None:
        """Agree on automatic payments of an amount by these means. NotAccepted below the minimum or without the data."""
        account = self._customers.account(account_number)
        self._paying.checks.check(Payment(f"{_PREFIX}agreed", None, account_number, cents, means), account)
        if not isinstance(self._processor, Vault):
            raise NotAccepted(
                Reason.METHOD_NOT_TAKEN,
                "CSS: the payment processor keeps no payment data; automatic payments need one that does",
            )
        token = await self._processor.keep(means)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(AccountRow, account_number)
            row.auto_replenish_cents, row.replenish_method, row.replenish_token = cents, means.method.value, token
        self._note("automatic payments", account_number, f"{cents} cents by {means.method.value}")

    def why_not(self, account: AccountRow) -> str:
        """Why nothing can be drawn automatically; empty where it can be tried."""
        if account.auto_replenish_cents is None:
            return "no amount is agreed on"
        return "" if account.replenish_token else "no payment data are agreed on"

    def draw(self, account: AccountRow, number: int) -> str:
        """Try an automatic payment, the account's `number`-th; returns its id. What becomes of it is told by `Paying`."""
        assert account.auto_replenish_cents is not None
        assert account.replenish_method is not None
        assert account.replenish_token is not None
        payment = Payment(
            payment_id=self.payment_id(account, number),
            request_id=None,
            account_number=account.number,
            amount_cents=account.auto_replenish_cents,
            means=PaymentMeans(PaymentMethod(account.replenish_method), {TOKEN: account.replenish_token}),
            at_zero=AtZero(account.at_zero),
        )
        task = self._clock.spawn(self._take(payment, account), name=f"css {payment.payment_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return payment.payment_id

    async def _take(self, payment: Payment, account: AccountRow) -> None:
        # a refusal is told by `Paying`, to whoever follows what becomes of payments
        with suppress(NotAccepted):
            await self._paying.take(payment, account)

    @staticmethod
    def payment_id(account: AccountRow, number: int) -> str:
        """The id of an account's `number`-th automatic payment."""
        return f"{_PREFIX}{account.number}-{number}"

    @staticmethod
    def account_of(payment_id: str) -> str | None:
        """The account of an automatic payment; None for one that a person has made."""
        return payment_id.removeprefix(_PREFIX).rpartition("-")[0] if payment_id.startswith(_PREFIX) else None
