"""The customer's pages: accounts, balance and usage, prepaying."""

from __future__ import annotations

from starlette.responses import Response

from twins.utility.css import PrepayRequest
from twins.utility.website import payforms
from twins.utility.website.access import Role
from twins.utility.website.site import Asked, Page, Site, to
from twins.utility.website.views import Views


class CustomerPages:
    """Pages for a customer who has signed in. Each account in an address is theirs: the site has seen to it."""

    def __init__(self, site: Site, views: Views) -> None:
        self._site = site
        self._views = views
        self._css = site.systems.css
        self._cashier = site.systems.cashier
        self._offered = payforms.methods(site.systems.config.payments.methods, payforms.AT_HOME)

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        customer, account = Role.CUSTOMER, "/accounts/{account}"
        return [
            Page("/accounts", self.accounts, customer),
            Page(account, lambda asked: self._views.account(asked, _base(asked)), customer),
            Page(f"{account}/usage", lambda asked: self._views.usage(asked, _base(asked)), customer),
            Page(f"{account}/payments", self.payments, customer),
            Page(f"{account}/payments/{{payment}}", self.payment, customer),
            Page(f"{account}/prepay", self.prepay, customer),
            Page(f"{account}/prepay", self.ask, customer, "POST"),
            Page(f"{account}/requests/{{request}}", self.request, customer),
            Page(f"{account}/requests/{{request}}/pay", self.pay, customer, "POST"),
        ]

    def accounts(self, asked: Asked) -> Response:
        """The customer's accounts; the only one at once."""
        holder = self._css.front.holder(str(asked.visit.customer_id))
        if len(holder.accounts) == 1:
            return to(f"/accounts/{holder.accounts[0].number}")
        balances = {a.number: self._css.balance_cents(a.number) for a in holder.accounts}
        return self._site.show(asked, "accounts.html", holder=holder, balances=balances)

    def payments(self, asked: Asked) -> Response:
        """Payments of the account."""
        found = self._cashier.of_account(asked.account)
        return self._site.show(asked, "payments.html", base=_base(asked), payments=found)

    def payment(self, asked: Asked) -> Response:
        """One payment, and how far it is."""
        progress = self._cashier.progress(asked.payment_id)
        again = f"{_base(asked)}/requests/{progress.request_id}"
        return self._site.show(asked, "payment.html", base=_base(asked), again=again, progress=progress)

    def prepay(self, asked: Asked) -> Response:
        """For how long: through the next bill cycle unless the customer says otherwise."""
        return self._site.show(asked, "prepay.html", base=_base(asked))

    def ask(self, asked: Asked) -> Response:
        """The customer asks to prepay (C3-S1.01); that they have signed in is their identity (C3-S1.02)."""
        holder = self._css.front.holder(str(asked.visit.customer_id))
        given, zone = asked.given, asked.texts.zone
        ends_at = given.moment("ends_at", zone) if given.text("ends_at", needed=False) else None
        asks = PrepayRequest((asked.account,), holder.name, holder.address, ends_at=ends_at, channel="website")
        request_id = self._css.log_request(asks)
        self._css.front.vouch(request_id, holder.customer_id)
        return to(f"{_base(asked)}/requests/{request_id}")

    def request(self, asked: Asked) -> Response:
        """The estimate (C3-S1.03) and the form to pay."""
        base = f"{_base(asked)}/requests/{asked.request_id}"
        return self._views.estimate(asked, asked.account, base, self._offered)

    def pay(self, asked: Asked) -> Response:
        """Begin a payment (C3-S1.04, S1.05)."""
        payment = payforms.payment(asked, asked.request_id, asked.account, self._offered)
        self._cashier.begin(payment)
        return to(f"{_base(asked)}/payments/{payment.payment_id}")


def _base(asked: Asked) -> str:
    return f"/accounts/{asked.account}"
