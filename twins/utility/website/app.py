"""The website as an ASGI application: addresses to pages, signing in and out, security headers, live streams."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twins.utility.web import in_turn
from twins.utility.website.access import Access, NotNow, Role
from twins.utility.website.forms import LONGEST_BODY, N_, BadForm
from twins.utility.website.live import Live
from twins.utility.website.site import LANGUAGE, SESSION, Asked, Page, Site, keep, to
from twins.utility.website.texts import LANGUAGES

_log = logging.getLogger("twinbench")

_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
]

# In seconds. An address with the content's own hash in it never means anything else. Ten years: a browser holds bench time, in
# which the answers are dated, against its own.
_KEPT_S = {True: 10 * 365 * 86_400, False: 86_400}

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class TooLong(Exception):
    """A form is longer than any of ours."""


class NoForm(Exception):
    """What was sent is no form."""


def application(site: Site, pages: list[Page], live: Live) -> ASGIApp:
    """The application with these pages, and those that everybody has: signing in and out, the language, files."""
    doors = Doors(site)
    own = [
        Page("/", doors.home, None),
        Page("/sign-in", doors.door, None),
        Page("/sign-out", doors.sign_out, None, "POST"),
        Page("/language", doors.language, None, "POST"),
    ]
    routes = [
        *(Route(page.path, _endpoint(site, page), methods=[page.method]) for page in [*own, *pages]),
        Route("/sign-in", _guarded(site, doors.sign_in), methods=["POST"]),
        Route("/live/{account}", live.stream, methods=["GET"]),
        Route("/static/{name}", _files(site), methods=["GET"]),
    ]

    async def nothing(request: Request, no: Exception) -> Response:
        return await _turn(site, _no_page, site, request, no)

    async def broken(request: Request, no: Exception) -> Response:
        _log.error("website: %s %s: %r", request.method, request.url.path, no)
        return await _turn(site, _no_page, site, request, no)

    return _Headers(Starlette(routes=routes, exception_handlers={HTTPException: nothing, Exception: broken}))


class Doors:
    """Pages for everybody."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._access: Access = site.systems.access

    def home(self, asked: Asked) -> Response:
        """On to where the visitor belongs."""
        where = {Role.CUSTOMER: "/accounts", Role.REPRESENTATIVE: "/desk", Role.NOBODY: "/sign-in"}
        return to(where[asked.visit.role])

    def door(self, asked: Asked) -> Response:
        """The form to sign in."""
        return self._site.show(asked, "sign_in.html", goes_to=_local(asked.given.text("next", needed=False)), failed="")

    async def sign_in(self, request: Request, body: bytes) -> Response:
        """Hold a password against its hash, in a thread of its own, and begin a session."""
        clock = self._site.systems.clock
        address = request.client.host if request.client else ""
        await self._access.hash_first_passwords()
        try:
            asked, login, password, (number, hashed) = await in_turn(clock, self._attempt, request, body, address)
        except NotNow as no:
            return await _turn(self._site, self._refuse, request, no)
        right = await clock.io(self._access.right, password, hashed)
        return await _turn(self._site, self._settle, asked, number, login, right)

    def _attempt(self, request: Request, body: bytes, address: str) -> tuple[Asked, str, str, tuple[int, str]]:
        asked = self._site.with_form(self._site.asked(request), body)
        login, password = asked.given.text("login"), asked.given.secret("password")
        return asked, login, password, self._access.attempt(login[:64], address)

    def _refuse(self, request: Request, no: NotNow) -> Response:
        asked = self._site.asked(request)
        _ = asked.texts
        text = _("Too many attempts failed. Try again after {when}.").format(when=asked.texts.moment(no.until))
        return self._site.message(asked, 429, _("Not now"), text)

    def _settle(self, asked: Asked, number: int, login: str, right: bool) -> Response:
        goes_to = _local(asked.given.text("next", needed=False))
        if not right:
            failed = N_("User name and password do not belong together.")
            return self._site.show(asked, "sign_in.html", 403, goes_to=goes_to, failed=failed)
        key = self._access.begin(number, login, asked.visit.key)
        response = to(goes_to or "/")
        keep(response, SESSION, key)
        return response

    def sign_out(self, asked: Asked) -> Response:
        """End the session."""
        self._access.end(asked.visit.key)
        response = to("/sign-in")
        response.delete_cookie(SESSION)
        return response

    def language(self, asked: Asked) -> Response:
        """Keep the language chosen and go back to where it was chosen."""
        chosen = asked.given.text("language")
        if chosen not in LANGUAGES:
            raise BadForm("language", N_("This is none of our languages: English, Español."))
        if asked.visit.role is not Role.NOBODY:
            self._access.choose_language(asked.visit.login, chosen)
        response = to(_local(asked.given.text("back", needed=False)) or "/")
        keep(response, LANGUAGE, chosen)
        return response


def _local(path: str) -> str:
    """A path of this site, empty where it would lead anywhere else."""
    good = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if good else ""


# --- from a request to a page -------------------------------------------------------------------------------------------


async def _turn(site: Site, fn: Callable[..., Response], *args: Any) -> Response:
    """Have a page made between two steps of the clock."""
    response: Response = await in_turn(site.systems.clock, fn, *args)
    return response


def _endpoint(site: Site, page: Page) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        async def answer(request: Request, body: bytes) -> Response:
            return await _turn(site, site.answer, page, request, body)

        return await _guarded(site, answer)(request) if page.method == "POST" else await answer(request, b"")

    return endpoint


def _guarded(site: Site, answer: Callable[[Request, bytes], Coroutine[Any, Any, Response]]) -> Endpoint:
    """Read a form's body, no more of it than a form can have, and say no with a page."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request, await _body(request))
        except (TooLong, NoForm, BadForm) as no:
            return await _turn(site, _no_form, site, request, no)

    return endpoint


async def _body(request: Request) -> bytes:
    """The body of a form. What is too long is read to its end, for a client to hear the answer, but not kept."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kept, length = bytearray(), 0
    async for piece in request.stream():
        length += len(piece)
        if length <= LONGEST_BODY:
            kept += piece
    if length > LONGEST_BODY:
        raise TooLong
    if kind != "application/x-www-form-urlencoded":
        raise NoForm
    return bytes(kept)


def _no_form(site: Site, request: Request, no: Exception) -> Response:
    asked = site.asked(request)
    _ = asked.texts
    if isinstance(no, TooLong):
        return site.message(asked, 413, _("Please check the form"), _("What was sent is too long for a form."))
    if isinstance(no, BadForm):
        return site.bad_form(asked, no)
    return site.message(asked, 415, _("Please check the form"), _("The form could not be read."))


def _no_page(site: Site, request: Request, no: Exception) -> HTMLResponse:
    asked = site.asked(request)
    _ = asked.texts
    status = no.status_code if isinstance(no, HTTPException) else 500
    if status == 404:
        return site.not_here(asked)
    if status < 500:
        return site.message(asked, status, _("This is not possible"), _("This page does not take what was sent."))
    return site.message(
        asked, 500, _("Something went wrong"), _("The fault is ours. Nothing was lost; please try again.")
    )


def _files(site: Site) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        name = str(request.path_params["name"])
        if name not in site.files:
            raise HTTPException(404)
        kind = _TYPES[name.rpartition(".")[2]]
        kept_s = _KEPT_S[request.query_params.get("v") == site.versions[name]]
        return Response(site.files[name], media_type=kind, headers={"cache-control": f"public, max-age={kept_s}"})

    return endpoint


class _Headers:
    """Adds the security headers to every answer; pages are not to be kept by anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                kept = any(name == b"cache-control" for name, _ in headers)
                message["headers"] = [*headers, *_HEADERS, *([] if kept else [(b"cache-control", b"no-store")])]
            await send(message)

        await self._app(scope, receive, told)
