"""Live pages: a browser that listens is told, as a server-sent event, that an account has changed, and fetches its page anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette import EventSourceResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from twins.utility.web import in_turn
from twins.utility.website.access import Role
from twins.utility.website.site import Site

_MOST_LISTENERS = 1_000


class Live:
    """Browsers that listen. Told on the loop's thread, by the MDMS and by whoever pays."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.listeners: dict[asyncio.Event, str] = {}
        """By flag, the meter whose account is listened to."""
        site.systems.mdms.subscribe(lambda _, meter_id: self.changed(meter_id))

    def changed(self, meter_id: str) -> None:
        """Something about a meter's account has changed."""
        for flag, of in self.listeners.items():
            if of == meter_id:
                flag.set()

    async def stream(self, request: Request) -> Response:
        """The stream of an account: an event `changed` with balance and moment at once, and whenever there is news."""
        account = str(request.path_params["account"])
        meter_id = await in_turn(self._site.systems.clock, self._meter, request, account)
        if meter_id is None or len(self.listeners) >= _MOST_LISTENERS:
            raise HTTPException(404 if meter_id is None else 503)
        closing: asyncio.Event = request.scope["closing"]
        return EventSourceResponse(self._events(account, str(meter_id), closing), ping=15)

    def _meter(self, request: Request, account: str) -> str | None:
        """The meter of an account that the visitor may see."""
        visit, css = self._site.asked(request).visit, self._site.systems.css
        if visit.role is Role.NOBODY or (
            visit.role is Role.CUSTOMER and not css.front.holds(str(visit.customer_id), account)
        ):
            return None
        return str(css.customers.account(account).meter_id)

    async def _events(self, account: str, meter_id: str, closing: asyncio.Event) -> AsyncIterator[dict[str, Any]]:
        flag = asyncio.Event()
        self.listeners[flag] = meter_id
        try:
            while not closing.is_set():
                flag.clear()
                balance = await in_turn(self._site.systems.clock, self._site.systems.css.balance_cents, account)
                said = {"balance_cents": balance, "at": self._site.now.isoformat()}
                yield {"event": "changed", "data": json.dumps(said)}
                waits = [asyncio.ensure_future(flag.wait()), asyncio.ensure_future(closing.wait())]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
        finally:
            del self.listeners[flag]
