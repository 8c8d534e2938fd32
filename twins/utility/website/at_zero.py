"""What happens when the balance reaches zero: the customer chooses it, and agrees on automatic payments (C3, scenarios 4 and 5).

The payment processor keeps the payment data; here they are passed on and forgotten.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.responses import Response

from drivers.roles import AtZero
from twins.clock import Clock
from twins.utility.css import Css
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import PaymentMeans, PaymentMethod
from twins.utility.website import payforms
from twins.utility.website.access import Role
from twins.utility.website.forms import N_, BadForm
from twins.utility.website.site import Asked, Page, Site, to


class Agreements:
    """Agreements on automatic payments under way: asking the processor may take bench time, a page may not.

    What was refused is known here until the next one is asked for; what is agreed on stands with the account.
    """

    def __init__(self, clock: Clock, css: Css) -> None:
        self._clock = clock
        self._css = css
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, Reason] = {}

    async def close(self) -> None:
        """Stop waiting for the processor."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, account_number: str, cents: int, means: PaymentMeans) -> None:
        """Ask for an agreement, in the place of the one before. NotAccepted while another one is under way."""
        if self.under_way(account_number):
            raise NotAccepted(Reason.IN_PROGRESS, f"website: account {account_number} is being agreed on; wait for it")
        self._refused.pop(account_number, None)
        task = self._clock.spawn(self._agree(account_number, cents, means), name=f"website agreement {account_number}")
        self._tasks[account_number] = task
        task.add_done_callback(lambda _: self._tasks.pop(account_number, None))

    async def _agree(self, account_number: str, cents: int, means: PaymentMeans) -> None:
        try:
            await self._css.agree_on_replenishing(account_number, cents, means)
        except NotAccepted as no:
            self._refused[account_number] = no.reason

    def under_way(self, account_number: str) -> bool:
        """Whether the processor is being asked."""
        return account_number in self._tasks

    def refused(self, account_number: str) -> Reason | None:
        """Why the last agreement asked for was refused; None where it was not."""
        return self._refused.get(account_number)


@dataclass(frozen=True)
class Choice:
    """An option at zero, and whether the account can have it now."""

    name: str
    possible: bool


class AtZeroPages:
    """Pages for a customer who has signed in. Each account in an address is theirs: the site has seen to it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._css = site.systems.css
        self.agreements = Agreements(site.systems.clock, site.systems.css)
        self._offered = payforms.methods(site.systems.config.payments.methods, payforms.AT_HOME)

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        customer, account = Role.CUSTOMER, "/accounts/{account}"
        return [
            Page(f"{account}/at-zero", self.options, customer),
            Page(f"{account}/at-zero", self.choose, customer, "POST"),
            Page(f"{account}/replenish", self.agreement, customer),
            Page(f"{account}/replenish", self.agree, customer, "POST"),
        ]

    def options(self, asked: Asked) -> Response:
        """What is chosen, what else the account can have, and what happens where the choice turns out to be impossible."""
        account = self._css.customers.account(asked.account)
        why_not = self._css.eligibility.why_not
        choices = [Choice(option.name.lower(), not why_not(account, option)) for option in AtZero]
        return self._site.show(
            asked,
            "at_zero.html",
            base=f"/accounts/{asked.account}",
            choices=choices,
            chosen=AtZero(account.at_zero).name.lower(),
            fallback=AtZero(account.fallback).name.lower(),
        )

    def choose(self, asked: Asked) -> Response:
        """Choose an option, and what is to be done where it is impossible by then."""
        given = asked.given
        self._css.choose_at_zero(asked.account, given.choice("option", AtZero), given.choice("fallback", AtZero))
        return to(f"/accounts/{asked.account}/at-zero")

    def agreement(self, asked: Asked) -> Response:
        """What is agreed on, and the form to agree on automatic payments or on other ones."""
        account = self._css.customers.account(asked.account)
        method = payforms.chosen_method(asked, self._offered)
        agreed = account.auto_replenish_cents is not None and account.replenish_method is not None
        minimum_cents = self._site.systems.config.payments.minimum_cents
        return self._site.show(
            asked,
            "replenish.html",
            base=f"/accounts/{asked.account}",
            under_way=self.agreements.under_way(asked.account),
            refused=self.agreements.refused(asked.account),
            agreed=agreed,
            agreed_method=account.replenish_method,
            cents=account.auto_replenish_cents,
            minimum_cents=minimum_cents,
            methods=self._offered,
            method=method,
            fields=payforms.fields(method),
        )

    def agree(self, asked: Asked) -> Response:
        """Ask for an agreement; its page tells what becomes of it."""
        given = asked.given
        method = given.choice("method", PaymentMethod)
        if method not in self._offered:
            raise BadForm("method", N_("This is none of the choices."))
        self.agreements.begin(asked.account, given.cents("amount"), payforms.means(asked, method))
        return to(f"/accounts/{asked.account}/replenish")
