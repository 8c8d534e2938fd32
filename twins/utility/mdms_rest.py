"""The MDMS to other systems: REST in pages, a live stream of server-sent events, an OpenAPI document (C3-FR-31, C3-NFR-07).

Reading needs a token of the bench file (`Authorization: Bearer ...`). Bad input is answered with one line
(`application/problem+json`, RFC 9457). `Date` tells bench time. A stream begins with an event `ready`; each event's id is its
place in the feed, so that a client which comes back with `Last-Event-ID` gets all that it missed.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response

from twins.clock import Clock
from twins.utility.mdms import Kind, Mdms
from twins.utility.mdms_items import (
    BalanceValue,
    IntervalValue,
    LogValue,
    Page,
    ReceiptValue,
    ScheduleValue,
    TestValue,
    fields,
    publication,
)
from twins.utility.mdms_query import MeterData
from twins.utility.web import in_turn

_GREATEST = 2**63 - 1
_PING_S = 15
_NAMES: dict[Kind, tuple[str, type[BaseModel]]] = {
    Kind.RECEIPT: ("receipts", ReceiptValue),
    Kind.INTERVAL: ("intervals", IntervalValue),
    Kind.LOG: ("logs", LogValue),
    Kind.TEST: ("tests", TestValue),
    Kind.SCHEDULE: ("schedules", ScheduleValue),
    Kind.BALANCE: ("balances", BalanceValue),
}


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such moment in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class PageQuery(BaseModel):
    """What a reader asks for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    meter: list[str] = Field(default=[], description="Only of these meters; may be given several times.")
    since: Moment | None = Field(default=None, description="Only what happened at or after this moment.")
    until: Moment | None = Field(default=None, description="Only what happened before this moment.")
    after: int = Field(default=0, ge=0, le=_GREATEST, description="Go on after the item of this number.")
    limit: int = Field(default=100, ge=1, le=1000, description="At most so many items.")

    @model_validator(mode="after")
    def _in_order(self) -> PageQuery:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until has to come after since")
        return self


class StreamQuery(BaseModel):
    """What a listener asks for."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    meter: list[str] = Field(default=[], description="Only of these meters; may be given several times.")
    kind: list[Kind] = Field(default=[], description="Only of these kinds; may be given several times.")
    after: int | None = Field(
        default=None,
        ge=0,
        le=_GREATEST,
        description="Begin after this event, 0 with the first; without it with the next.",
    )


def meter_data_app(
    clock: Clock, mdms: Mdms, data: MeterData, meters: Collection[str], tokens: Mapping[str, str]
) -> FastAPI:
    """The application. `meters` are the ids that may be asked for, `tokens` maps a client's name to its token."""
    app = FastAPI(title="Meter data", version="1", docs_url=None, redoc_url=None)
    secrets = [token.encode() for token in tokens.values()]

    async def admitted(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, given = authorization.partition(" ")
        # all are compared, so that the time taken tells nothing
        known = [hmac.compare_digest(given.strip().encode(), secret) for secret in secrets]
        if scheme.lower() != "bearer" or not any(known):
            raise HTTPException(
                401, "give the token of a client: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"}
            )

    def check(asked: Collection[str]) -> None:
        for meter_id in asked:
            if meter_id not in meters:
                raise HTTPException(404, f"no meter {meter_id[:40]!r}; meters are {', '.join(meters) or 'none'}")

    @app.get("/v1/meters", dependencies=[Depends(admitted)])
    async def list_meters() -> list[str]:
        """Ids of the meters there are."""
        return list(meters)

    def serve_kind(kind: Kind, name: str, value: type[BaseModel]) -> None:
        async def read(query: Annotated[PageQuery, Query()]) -> Any:
            check(query.meter)
            items, after = await in_turn(
                clock, data.page, kind, query.meter, query.since, query.until, query.after, query.limit
            )
            return {"items": [fields(item) for item in items], "next": after}

        read.__doc__ = f"The {name} that are available, in the order in which they were received."
        model: Any = Page[value]  # type: ignore[valid-type]
        app.get(f"/v1/{name}", dependencies=[Depends(admitted)], response_model=model, name=name)(read)

    for kind, (name, value) in _NAMES.items():
        serve_kind(kind, name, value)

    @app.get("/v1/stream", dependencies=[Depends(admitted)], response_class=EventSourceResponse)
    async def stream(
        request: Request,
        query: Annotated[StreamQuery, Query()],
        last_event_id: Annotated[int | None, Header(ge=0, le=_GREATEST)] = None,
    ) -> Response:
        """Whatever becomes available, as it does: events named after the kind, with a `Publication` each."""
        check(query.meter)
        after = last_event_id if last_event_id is not None else query.after
        if after is None:
            after = await in_turn(clock, data.latest)
        closing: asyncio.Event = request.scope["closing"]
        return EventSourceResponse(
            _events(clock, mdms, data, after, query.kind, query.meter, closing),
            ping=_PING_S,
            ping_message_factory=lambda: ServerSentEvent(comment="still here"),
            sep="\n",
        )

    @app.exception_handler(StarletteHTTPException)
    async def no(request: Request, said: StarletteHTTPException) -> Response:
        return _problem(said.status_code, str(said.detail), said.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, said: RequestValidationError) -> Response:
        first = said.errors()[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        return _problem(422, f"{where}: {first['msg']}", None)

    return app


async def _events(
    clock: Clock,
    mdms: Mdms,
    data: MeterData,
    after: int,
    kinds: Collection[Kind],
    meters: Collection[str],
    closing: asyncio.Event,
) -> AsyncIterator[ServerSentEvent]:
    """What a listener hears, from the database: nothing is kept for a listener that is slow."""
    news = asyncio.Event()
    unsubscribe = mdms.subscribe(lambda kind, meter_id: news.set())
    stop = asyncio.ensure_future(closing.wait())
    try:
        yield ServerSentEvent(event="ready", id=str(after), data="{}")
        while not closing.is_set():
            news.clear()
            items = await in_turn(clock, data.feed, after, kinds, meters)
            for item in items:
                yield ServerSentEvent(
                    event=item.kind.value, id=str(item.number), data=publication(item).model_dump_json()
                )
                after = item.number
            if not items:
                waiting = asyncio.ensure_future(news.wait())
                try:
                    await asyncio.wait([waiting, stop], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
    finally:
        stop.cancel()
        unsubscribe()


def _problem(status: int, detail: str, headers: Mapping[str, str] | None) -> Response:
    line = " ".join(detail.split())
    return JSONResponse(
        {"status": status, "detail": line}, status, dict(headers or {}), media_type="application/problem+json"
    )
