"""The representative's pages: search, the request and who makes it, estimate and payment, confirmation."""

from __future__ import annotations

import re

from starlette.responses import Response

from twins.utility.css import PrepayRequest
from twins.utility.errors import NotAccepted
from twins.utility.website import payforms
from twins.utility.website.access import Role
from twins.utility.website.events import EventPages
from twins.utility.website.forms import N_, BadForm
from twins.utility.website.site import Asked, Page, Site, to
from twins.utility.website.views import Views


class DeskPages:
    """Pages for a representative who has signed in."""

    def __init__(self, site: Site, views: Views, events: EventPages) -> None:
        self._site = site
        self._views = views
        self._events = events
        self._css = site.systems.css
        self._cashier = site.systems.cashier
        self._offered = list(site.systems.config.payments.methods)

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        desk, account, request = Role.REPRESENTATIVE, "/desk/accounts/{account}", "/desk/requests/{request}"
        return [
            Page("/desk", self.search, desk),
            Page(account, lambda asked: self._views.account(asked, _base(asked)), desk),
            Page(f"{account}/usage", lambda asked: self._views.usage(asked, _base(asked)), desk),
            Page(f"{account}/payments", self.payments, desk),
            Page(f"{account}/requests", self.new_request, desk),
            Page(f"{account}/requests", self.log_request, desk, "POST"),
            Page(request, self.request, desk),
            Page(f"{request}/identity", self.identify, desk, "POST"),
            Page(f"{request}/estimate", self.estimate, desk),
            Page(f"{request}/pay", self.pay, desk, "POST"),
            Page("/desk/payments/{payment}", self.payment, desk),
            Page("/desk/payments/{payment}/acknowledge", self.acknowledge, desk, "POST"),
        ]

    def search(self, asked: Asked) -> Response:
        """Accounts by number, or by the customer's id or name."""
        text = asked.given.text("q", needed=False)
        found = self._css.front.find(text) if text else None
        return self._site.show(asked, "desk_search.html", q=text, found=found)

    def payments(self, asked: Asked) -> Response:
        """Payments of the account."""
        self._css.customers.account(asked.account)
        found = self._cashier.of_account(asked.account)
        return self._site.show(asked, "payments.html", base=_base(asked), payments=found)

    def new_request(self, asked: Asked) -> Response:
        """The form for what a customer asks for."""
        self._css.customers.account(asked.account)
        return self._site.show(asked, "desk_new_request.html", base=_base(asked), account=asked.account)

    def log_request(self, asked: Asked) -> Response:
        """Log what a customer asks for, with what they say of themselves (C3-S1.01)."""
        given, zone = asked.given, asked.texts.zone
        numbers = tuple(dict.fromkeys(re.split(r"[\s,]+", given.text("accounts"))))
        if len(numbers) > 20 or any(len(n) > 64 for n in numbers):
            raise BadForm("accounts", N_("This is too long."))
        channel = given.text("channel")
        if channel not in ("phone", "desk"):
            raise BadForm("channel", N_("This is none of the choices."))
        who = given.text("name"), given.text("address"), "presented" if given.text("presented", needed=False) else None
        if given.text("starts_at", needed=False):
            asks = self._events.request(given, numbers, *who, channel)
        else:
            ends_at = given.moment("ends_at", zone) if given.text("ends_at", needed=False) else None
            asks = PrepayRequest(numbers, *who, ends_at=ends_at, channel=channel)
        return to(f"/desk/requests/{self._css.log_request(asks)}")

    def request(self, asked: Asked, refused: NotAccepted | None = None) -> Response:
        """A request as logged, who makes it once that is confirmed, and the form for the proof until then (C3-S1.02)."""
        logged = self._css.front.request(asked.request_id)
        return self._site.show(
            asked,
            "desk_request.html",
            200 if refused is None else 422,
            logged=logged,
            customer=self._css.front.identified(asked.request_id),
            refused=refused,
        )

    def identify(self, asked: Asked) -> Response:
        """Hold what a customer says against what the CSS knows (C3-S1.02)."""
        try:
            self._css.identify(asked.request_id, asked.given.text("credential"))
        except NotAccepted as no:
            return self.request(asked, no)
        return to(f"/desk/requests/{asked.request_id}")

    def estimate(self, asked: Asked) -> Response:
        """The estimate (C3-S1.03) and the form to pay."""
        account = self._account(asked)
        return self._views.estimate(asked, account, f"/desk/requests/{asked.request_id}", self._offered)

    def pay(self, asked: Asked) -> Response:
        """Begin a payment (C3-S1.05)."""
        payment = payforms.payment(asked, asked.request_id, self._account(asked), self._offered)
        self._cashier.begin(payment)
        return to(f"/desk/payments/{payment.payment_id}")

    def _account(self, asked: Asked) -> str:
        """The account that a request is about: the first, unless the address or the form names another of it."""
        numbers = self._css.front.request(asked.request_id).account_numbers
        named = asked.given.text("account", needed=False) or numbers[0]
        if named not in numbers:
            raise BadForm("accounts", N_("This is none of the choices."))
        return named

    def payment(self, asked: Asked) -> Response:
        """One payment, how far it is, and the meter's confirmation (C3-S1.11)."""
        progress = self._cashier.progress(asked.payment_id)
        again = f"/desk/requests/{progress.request_id}/estimate?account={progress.account_number}"
        base = f"/desk/accounts/{progress.account_number}"
        return self._site.show(asked, "payment.html", base=base, again=again, progress=progress)

    def acknowledge(self, asked: Asked) -> Response:
        """The representative has seen the confirmation (C3-S1.11)."""
        self._cashier.progress(asked.payment_id)
        self._css.acknowledge(asked.payment_id, asked.visit.name)
        return to(f"/desk/payments/{asked.payment_id}")


def _base(asked: Asked) -> str:
    return f"/desk/accounts/{asked.account}"
