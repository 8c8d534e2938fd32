"""The ADCS's schedules: prepayment events of every meter, checked against each other, kept, and sent in time (D8, D9).

An event goes to its meter some time before it starts, or at once where that is nearer. Its message id is given out before it
is taken, and submitting a message twice changes nothing: so a restart loses no event and sends none twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, MessageCode, Meter
from twins.clock import Clock
from twins.utility.adcs import Adcs
from twins.utility.adcs_records import Request
from twins.utility.adcs_schedule_tables import EventLogRow, EventRow
from twins.utility.config import AdcsConfig
from twins.utility.errors import NotAccepted, Reason

_LEADS = {
    "sends_schedules_23_h_ahead": timedelta(hours=23),
    "sends_schedules_a_minute_late": timedelta(hours=23, minutes=59),
    "sends_schedules_a_minute_early": timedelta(hours=24, minutes=1),
}


@dataclass(frozen=True)
class EventOrder:
    """An event [starts_at, ends_at) that another system asks for. `event_id` is a message id that the ADCS gave out.

    `replaces` names the event that it takes the place of, where an event is rescheduled.
    """

    event_id: int
    meter_id: str
    starts_at: datetime
    ends_at: datetime
    credit_wh: int
    at_zero: AtZero
    source: str = "css"
    replaces: int | None = None


@dataclass(frozen=True)
class HeldEvent:
    """An event as the ADCS keeps it. `send_at` is when it is due to go, `submitted_at` when it went into the meter's line."""

    event_id: int
    meter_id: str
    starts_at: datetime
    ends_at: datetime
    credit_wh: int
    at_zero: AtZero
    source: str
    taken_at: datetime
    send_at: datetime
    submitted_at: datetime | None
    cancelled_at: datetime | None
    cancel_id: int | None


@dataclass(frozen=True)
class ScheduleLogEntry:
    """A line of the schedules' log. `what` is taken, refused, sent, rescheduled, cancelled or taken off."""

    at: datetime
    what: str
    event_id: int
    meter_id: str
    detail: str


class Schedules:
    """Event schedules of the meters of an ADCS. Every method belongs to the event loop's thread."""

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: AdcsConfig,
        meters: Mapping[str, Meter],
        adcs: Adcs,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._meters = meters
        self._adcs = adcs
        self._defects = defects
        self._wake = clock.event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Send what fell due meanwhile, and go on."""
        self._wake.set()
        self._task = self._clock.spawn(self._send(), name="adcs schedules")

    async def close(self) -> None:
        """Stop sending; what is due is taken up by the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def take(self, order: EventOrder) -> HeldEvent:
        """Keep an event and send it in time. The same event again changes nothing.

        NotAccepted, and logged, for a meter that is not there, an end not after the start or past, an event that
        overlaps another of the meter, or is the double of one (C3-FR-17); back to back is no overlap.
        """
        with Session(self._engine) as session:
            known = session.get(EventRow, order.event_id)
            if known is not None:
                return _held(known)
        now = self._clock.now()
        refusal = self._refusal(order, now)
        if refusal is not None:
            self._log("refused", order.event_id, order.meter_id, str(refusal))
            raise refusal
        send_at = max(now, order.starts_at - self._lead)
        with Session(self._engine) as session, session.begin():
            if order.replaces is not None:
                self._take_off(session, order.replaces, now, f"by {order.event_id}", "rescheduled")
            session.add(
                EventRow(
                    event_id=order.event_id,
                    source=order.source,
                    meter_id=order.meter_id,
                    starts_at=order.starts_at,
                    ends_at=order.ends_at,
                    credit_wh=0 if "schedules_without_credit" in self._defects else order.credit_wh,
                    at_zero=order.at_zero.value,
                    taken_at=now,
                    send_at=send_at,
                )
            )
            span = f"{order.starts_at.isoformat()} to {order.ends_at.isoformat()}, to be sent {send_at.isoformat()}"
            self._enter(session, "taken", order.event_id, order.meter_id, span)
        self._wake.set()
        return self.event(order.event_id)

    def cancel(self, event_id: int) -> HeldEvent:
        """Take an event off, also from the meter where it has gone there. Again changes nothing; NotAccepted if unknown."""
        self.event(event_id)
        with Session(self._engine) as session, session.begin():
            self._take_off(session, event_id, self._clock.now(), "", "cancelled")
        self._wake.set()
        return self.event(event_id)

    def event(self, event_id: int) -> HeldEvent:
        """An event by its id; NotAccepted where there is none."""
        with Session(self._engine) as session:
            row = session.get(EventRow, event_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_EVENT, f"ADCS: no event {event_id}; `take` keeps one")
        return _held(row)

    def events(self, meter_id: str) -> tuple[HeldEvent, ...]:
        """Events of a meter that are running or to come, by start."""
        with Session(self._engine) as session:
            return tuple(_held(row) for row in self._live(session, meter_id))

    def log(self, meter_id: str | None = None) -> tuple[ScheduleLogEntry, ...]:
        """The log of one meter's schedule, or of all, oldest first."""
        query = select(EventLogRow).order_by(EventLogRow.id)
        if meter_id is not None:
            query = query.where(EventLogRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(ScheduleLogEntry(r.at, r.what, r.event_id, r.meter_id, r.detail) for r in rows)

    # --- inside ---

    @property
    def _lead(self) -> timedelta:
        for name, lead in _LEADS.items():
            if name in self._defects:
                return lead
        return timedelta(seconds=self._config.schedule_lead_s)

    def _refusal(self, order: EventOrder, now: datetime) -> NotAccepted | None:
        if order.meter_id not in self._meters:
            known = ", ".join(self._meters) or "none"
            return NotAccepted(Reason.UNKNOWN_METER, f"ADCS: no meter {order.meter_id!r}; meters are {known}")
        if order.ends_at <= order.starts_at:
            return NotAccepted(
                Reason.END_BEFORE_START,
                f"ADCS: event {order.event_id} ends at {order.ends_at.isoformat()}, not after its start",
            )
        if order.ends_at <= now:
            return NotAccepted(
                Reason.IN_THE_PAST, f"ADCS: event {order.event_id} ended at {order.ends_at.isoformat()}, which is past"
            )
        with Session(self._engine) as session:
            others = [e for e in self._live(session, order.meter_id) if e.event_id != order.replaces]
        if "one_event_per_location" in self._defects and others:
            return NotAccepted(Reason.OVERLAP, f"ADCS: meter {order.meter_id} has an event already")
        if "takes_overlapping_schedules" in self._defects:
            return None
        for other in others:
            span = f"{other.starts_at.isoformat()} to {other.ends_at.isoformat()}"
            if (other.starts_at, other.ends_at) == (order.starts_at, order.ends_at):
                return NotAccepted(
                    Reason.DUPLICATE, f"ADCS: event {order.event_id} is the double of event {other.event_id}, {span}"
                )
            touches = order.starts_at <= other.ends_at and other.starts_at <= order.ends_at
            overlaps = order.starts_at < other.ends_at and other.starts_at < order.ends_at
            if overlaps or (touches and "refuses_events_back_to_back" in self._defects):
                return NotAccepted(
                    Reason.OVERLAP, f"ADCS: event {order.event_id} overlaps event {other.event_id}, {span}"
                )
        return None

    def _live(self, session: Session, meter_id: str) -> list[EventRow]:
        return list(
            session.scalars(
                select(EventRow)
                .where(
                    EventRow.meter_id == meter_id,
                    EventRow.cancelled_at.is_(None),
                    EventRow.ends_at > self._clock.now(),
                )
                .order_by(EventRow.starts_at)
            )
        )

    def _take_off(self, session: Session, event_id: int, now: datetime, why: str, what: str) -> None:
        row = session.get(EventRow, event_id)
        if row is not None and row.cancelled_at is None:
            row.cancelled_at = now
            self._enter(session, what, event_id, row.meter_id, why)

    async def _send(self) -> None:
        """Hand events to the meters' lines when they are due, and take off there what was cancelled: what first came first."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            for event in self._due(now):
                self._submit(event)
            coming = self._next()
            if coming is None:
                await self._wake.wait()
            elif coming > self._clock.now():
                timer = self._clock.call_at(coming, self._wake.set)
                await self._wake.wait()
                timer.cancel()

    def _due(self, now: datetime) -> list[EventRow]:
        with Session(self._engine) as session:
            return list(
                session.scalars(
                    select(EventRow)
                    .where(
                        or_(
                            (EventRow.submitted_at.is_(None))
                            & (EventRow.cancelled_at.is_(None))
                            & (EventRow.send_at <= now),
                            (EventRow.submitted_at.is_not(None))
                            & (EventRow.cancelled_at.is_not(None))
                            & (EventRow.cancel_submitted_at.is_(None)),
                        )
                    )
                    # a cancellation makes room for what takes its place
                    .order_by(EventRow.cancelled_at.is_(None), EventRow.event_id)
                )
            )

    def _next(self) -> datetime | None:
        with Session(self._engine) as session:
            return session.scalar(
                select(EventRow.send_at)
                .where(EventRow.submitted_at.is_(None), EventRow.cancelled_at.is_(None))
                .order_by(EventRow.send_at)
                .limit(1)
            )

    def _submit(self, event: EventRow) -> None:
        if event.cancelled_at is None:
            request = Request(
                source=event.source,
                meter_id=event.meter_id,
                code=MessageCode.SCHEDULE,
                message_id=event.event_id,
                event_id=event.event_id,
                starts_at=event.starts_at,
                ends_at=event.ends_at,
                credit_wh=event.credit_wh,
                at_zero=AtZero(event.at_zero),
            )
            self._adcs.submit(request)
            self._mark(event.event_id, "sent", submitted_at=self._clock.now())
            return
        if event.cancel_id is None:
            # kept before it is used, so that a restart in between takes the same
            event.cancel_id = self._adcs.new_message_id()
            self._mark(event.event_id, None, cancel_id=event.cancel_id)
        request = Request(
            source=event.source,
            meter_id=event.meter_id,
            code=MessageCode.CANCEL_SCHEDULE,
            message_id=event.cancel_id,
            event_id=event.event_id,
        )
        self._adcs.submit(request)
        self._mark(event.event_id, "taken off", cancel_submitted_at=self._clock.now())

    def _mark(self, event_id: int, what: str | None, **columns: object) -> None:
        with Session(self._engine) as session, session.begin():
            row = session.get_one(EventRow, event_id)
            for name, value in columns.items():
                setattr(row, name, value)
            if what is not None:
                self._enter(session, what, event_id, row.meter_id, "")

    def _log(self, what: str, event_id: int, meter_id: str, detail: str) -> None:
        with Session(self._engine) as session, session.begin():
            self._enter(session, what, event_id, meter_id, detail)

    def _enter(self, session: Session, what: str, event_id: int, meter_id: str, detail: str) -> None:
        if "schedules_not_logged" not in self._defects:
            at = self._clock.now()
            session.add(EventLogRow(at=at, what=what, event_id=event_id, meter_id=meter_id, detail=detail))


def _held(row: EventRow) -> HeldEvent:
    return HeldEvent(
        row.event_id,
        row.meter_id,
        row.starts_at,
        row.ends_at,
        row.credit_wh,
        AtZero(row.at_zero),
        row.source,
        row.taken_at,
        row.send_at,
        row.submitted_at,
        row.cancelled_at,
        row.cancel_id,
    )
