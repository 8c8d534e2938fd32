"""What every page of the website has in common: who asks, whether they may, whether the form is theirs, and how it is shown.

A page is one line of a table: its address, its role, its function. Everything is checked before the function is called; the
function runs on the loop between two steps of the clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from twins.clock import Clock
from twins.utility.config import UtilityConfig
from twins.utility.css import Css
from twins.utility.errors import NotAccepted, Reason
from twins.utility.website.access import Access, Role, Visit, new_key
from twins.utility.website.cashier import Cashier
from twins.utility.website.config import WebsiteConfig
from twins.utility.website.forms import N_, BadForm, Given, parsed
from twins.utility.website.reasons import BALANCE_EVENTS, FIELDS, OPTIONS, STAGES, STATES, reason_text
from twins.utility.website.texts import LANGUAGES, Texts, negotiated

HERE = Path(__file__).parent
SESSION, LANGUAGE = "session", "language"

_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
_MISSING = {
    *(Reason.UNKNOWN_ACCOUNT, Reason.UNKNOWN_REQUEST, Reason.UNKNOWN_PAYMENT, Reason.UNKNOWN_BOOKING),
    *(Reason.UNKNOWN_REPORT, Reason.UNKNOWN_ORDER),
}


class NotHere(Exception):
    """There is no such page, or none for this visitor: which of the two is not told."""


@dataclass(frozen=True)
class Asked:
    """A page asked for: by whom, with what."""

    request: Request
    visit: Visit
    texts: Texts
    given: Given

    def part(self, name: str) -> str:
        """A part of the address."""
        return str(self.request.path_params[name])

    def number(self, name: str) -> int:
        """A part of the address that is a number."""
        return int(self.part(name))

    @property
    def account(self) -> str:
        """The account in the address."""
        return self.part("account")

    @property
    def request_id(self) -> int:
        """The request in the address."""
        return self.number("request")

    @property
    def payment_id(self) -> str:
        """The payment in the address."""
        return self.part("payment")


@dataclass(frozen=True)
class Page:
    """A page: `show` is called when a visitor of that role asks for it (None: anybody)."""

    path: str
    show: Callable[[Asked], Response]
    role: Role | None
    method: str = "GET"


@dataclass(frozen=True)
class Systems:
    """What the website stands on."""

    clock: Clock
    config: UtilityConfig
    website: WebsiteConfig
    css: Css
    mdms: Any
    adcs: Any
    access: Access
    cashier: Cashier


class Site:
    """Checks who asks, shows pages, and says no with a page."""

    def __init__(self, systems: Systems) -> None:
        self.systems = systems
        self._zone = systems.config.zone
        self.files = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir())}
        self.versions = {name: hashlib.sha256(data).hexdigest()[:8] for name, data in self.files.items()}
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            languages=LANGUAGES,
            files={name: f"/static/{name}?v={version}" for name, version in self.versions.items()},
            event_texts=BALANCE_EVENTS,
            option_texts=OPTIONS,
            field_texts=FIELDS,
            state_texts=STATES,
            stage_texts=STAGES,
            reason_texts=reason_text,
            Role=Role,
        )

    # --- answering ---

    def answer(self, page: Page, request: Request, body: bytes) -> Response:
        """Answer a page: check address, form, role and ownership, then show it. Whatever is refused gets a page, too."""
        asked = self.asked(request)
        try:
            self._check_address(request.path_params)
            if page.role is not None and asked.visit.role is not page.role:
                if asked.visit.role is Role.NOBODY:
                    return RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
                raise NotHere
            if page.method == "POST":
                asked = self.with_form(asked, body)
            self._check_ownership(asked)
            return page.show(asked)
        except NotHere:
            return self.not_here(asked)
        except BadForm as no:
            return self.bad_form(asked, no)
        except NotAccepted as no:
            return self.not_accepted(asked, no)

    def asked(self, request: Request) -> Asked:
        """Who asks, and in which language."""
        visit = self.systems.access.visit(request.cookies.get(SESSION, "")[:100])
        chosen = visit.language or request.cookies.get(LANGUAGE, "")
        if chosen not in LANGUAGES:
            chosen = negotiated(request.headers.get("accept-language", ""))
        return Asked(request, visit, Texts(chosen, self._zone), Given(dict(request.query_params)))

    def with_form(self, asked: Asked, body: bytes) -> Asked:
        """The same with the fields of its form. BadForm where the form is not this visitor's own."""
        given = Given(parsed(body))
        if not asked.visit.holds(given.text("token", needed=False)):
            raise BadForm("token", N_("This form is out of date or is not one of ours. Open the page again."))
        return Asked(asked.request, asked.visit, asked.texts, given)

    def _check_address(self, parts: Mapping[str, Any]) -> None:
        for name, value in parts.items():
            if (_NUMBER if name in ("request", "report", "order") else _NAME).fullmatch(str(value)) is None:
                raise NotHere

    def _check_ownership(self, asked: Asked) -> None:
        """A customer sees what is theirs; the account is in every address of theirs."""
        parts, css = asked.request.path_params, self.systems.css
        customer_id = asked.visit.customer_id
        if asked.visit.role is Role.CUSTOMER:
            if "account" in parts and not (customer_id and css.front.holds(customer_id, asked.account)):
                raise NotHere
            if "request" in parts and asked.account not in css.front.request(asked.request_id).account_numbers:
                raise NotHere
            if "booking" in parts and css.bookings.booking(asked.part("booking")).payer != asked.account:
                raise NotHere
            if "payment" in parts and self.systems.cashier.progress(asked.payment_id).account_number != asked.account:
                raise NotHere

    # --- showing ---

    def show(self, asked: Asked, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Render a page. A visitor who has no key yet is given one, for the forms."""
        fresh = "" if asked.visit.key else new_key()
        visit = Visit(fresh) if fresh else asked.visit
        text = self._templates.get_template(template).render(
            _=asked.texts,
            t=asked.texts,
            visit=visit,
            here=asked.request.url.path,
            now=self.now,
            status=status,
            **context,
        )
        response = HTMLResponse(text, status, headers={"Content-Language": asked.texts.language})
        if fresh:
            keep(response, SESSION, fresh)
        return response

    @property
    def now(self) -> datetime:
        """Bench time."""
        return self.systems.clock.now()

    def message(
        self, asked: Asked, status: int, title: str, text: str, detail: str = "", reason: str = ""
    ) -> HTMLResponse:
        """A page that only says something; `reason` is the name of a refusal."""
        return self.show(asked, "message.html", status, title=title, text=text, detail=detail, reason=reason)

    def not_here(self, asked: Asked) -> HTMLResponse:
        """There is no such page for this visitor."""
        _ = asked.texts
        return self.message(asked, 404, _("Not found"), _("There is no such page, or it is not yours to see."))

    def bad_form(self, asked: Asked, no: BadForm) -> HTMLResponse:
        """A form that cannot be taken; a forged one is forbidden."""
        _ = asked.texts
        forged = no.field == "token"
        field = "" if forged or no.field not in FIELDS else f"{_(FIELDS[no.field])}: "
        return self.message(asked, 403 if forged else 422, _("Please check the form"), field + _(no.why))

    def not_accepted(self, asked: Asked, no: NotAccepted) -> HTMLResponse:
        """The utility said no."""
        if no.reason in _MISSING:
            return self.not_here(asked)
        _ = asked.texts
        detail = str(no) if asked.visit.role is Role.REPRESENTATIVE else ""
        return self.message(asked, 422, _("This is not possible"), _(reason_text(no.reason)), detail, no.reason)


def keep(response: Response, name: str, value: str) -> None:
    """Give a browser something to hold until it is closed. Bench time and a browser's time differ, so there is no expiry."""
    response.set_cookie(name, value, path="/", httponly=True, samesite="lax")


def to(path: str) -> RedirectResponse:
    """Send the browser on to another page, so that a reload repeats nothing."""
    return RedirectResponse(path, 303)
