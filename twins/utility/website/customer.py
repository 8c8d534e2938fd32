"""The customer's pages: accounts, balance and usage, prepaying."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from fastapi.responses import Response

from twins.utility.consumption import next_cycle
from twins.utility.css import PrepayRequest
from twins.utility.website import payforms, usage
from twins.utility.website.access import Role
from twins.utility.website.forms import BadForm, N_
from twins.utility.website.site import Asked, Page, Site, to


class CustomerPages:
    """Pages for a customer who has signed in. Each account in an address is theirs: the site has seen to it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._css = site.systems.css
        self._mdms = site.systems.mdms
        self._cashier = site.systems.cashier
        self._offered = payforms.methods(site.systems.config.payments.methods, payforms.AT_HOME)

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        customer, account = Role.CUSTOMER, "/accounts/{account}"
        return [
            Page("/accounts", self.accounts, customer),
            Page(account, self.account, customer),
            Page(f"{account}/usage", self.usage, customer),
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

    def account(self, asked: Asked) -> Response:
        """Balance in money, energy and time, and usage."""
        return self._site.show(asked, "account.html", base=f"/accounts/{asked.account}", **account_context(self, asked))

    def usage(self, asked: Asked) -> Response:
        """Usage by interval of one day, the day before unless named, and by day before that."""
        return self._site.show(asked, "usage.html", base=f"/accounts/{asked.account}", **usage_context(self, asked))

    def payments(self, asked: Asked) -> Response:
        """Payments of the account."""
        found = self._cashier.of_account(asked.account)
        return self._site.show(asked, "payments.html", base=f"/accounts/{asked.account}", payments=found)

    def payment(self, asked: Asked) -> Response:
        """One payment, and how far it is."""
        progress = self._cashier.progress(asked.payment_id)
        base = f"/accounts/{asked.account}"
        again = f"{base}/requests/{progress.request_id}"
        return self._site.show(asked, "payment.html", base=base, again=again, progress=progress)

    def prepay(self, asked: Asked) -> Response:
        """For how long: through the next bill cycle unless the customer says otherwise."""
        page = self._css.account_page(asked.account)
        return self._site.show(asked, "prepay.html", base=f"/accounts/{asked.account}", page=page)

    def ask(self, asked: Asked) -> Response:
        """The customer asks to prepay (C3-S1.01); that they have signed in is their identity (C3-S1.02)."""
        holder = self._css.front.holder(str(asked.visit.customer_id))
        given, texts = asked.given, asked.texts
        ends_at = given.moment("ends_at", texts.zone) if given.text("ends_at", needed=False) else None
        request = PrepayRequest(
            (asked.account,), holder.name, holder.address, credential=None, ends_at=ends_at, channel="website"
        )
        request_id = self._css.log_request(request)
        self._css.front.vouch(request_id, holder.customer_id)
        return to(f"/accounts/{asked.account}/requests/{request_id}")

    def request(self, asked: Asked) -> Response:
        """The estimate (C3-S1.03) and the form to pay."""
        page = self._css.account_page(asked.account)
        estimate = self._css.estimate(asked.request_id, asked.account)
        method = payforms.chosen_method(asked, self._offered)
        base = f"/accounts/{asked.account}"
        return self._site.show(
            asked,
            "estimate.html",
            base=base,
            here_again=f"{base}/requests/{asked.request_id}",
            pay=f"{base}/requests/{asked.request_id}/pay",
            estimate=estimate,
            page=page,
            payment_id=self._cashier.next_id(asked.request_id),
            minimum_cents=self._site.systems.config.payments.minimum_cents,
            methods=self._offered,
            method=method,
            fields=payforms.fields(method),
        )

    def pay(self, asked: Asked) -> Response:
        """Begin a payment (C3-S1.04, S1.05)."""
        payment = payforms.payment(asked, asked.request_id, asked.account, self._offered)
        self._cashier.begin(payment)
        return to(f"/accounts/{asked.account}/payments/{payment.payment_id}")


def account_context(pages: Any, asked: Asked) -> dict[str, Any]:
    """What the page of an account shows, for the customer and for a representative."""
    page = pages._css.account_page(asked.account)
    latest = [i for i in page.intervals if page.intervals and i.ends_at > page.intervals[-1].ends_at - timedelta(days=1)]
    return {
        "page": page,
        "days_chart": usage.by_day(page.days, asked.texts),
        "hours_chart": usage.by_interval(latest, asked.texts),
        "days": page.days,
        "intervals": latest,
    }


def usage_context(pages: Any, asked: Asked) -> dict[str, Any]:
    """What the page of usage shows: one day by interval, and the month before its end by day."""
    ...


__all__ = ["BadForm", "CustomerPages", "N_", "date", "next_cycle"]
