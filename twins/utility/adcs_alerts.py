"""Alerts to a meter and, by way of it, to the display device in the home: repeated at the frequency that the request or the
utility configures, until a moment or until taken back (C3-FR-24, C3-NFR-09, C3-NFR-11).

Each sending is a message of its own. One that the meter could not be given before the next falls due is withdrawn: who was
out of reach for two days is told once, not forty-eight times.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from drivers.roles import MessageCode
from twins.clock import Clock, Timer
from twins.utility.adcs_records import Outbox, Request
from twins.utility.adcs_standing_tables import AlertRow
from twins.utility.errors import NotAccepted, Reason

_OFTEN_S = 60.0
_WAITS_S = {"alerts_wait_a_minute": 61.0, "alerts_wait_55_s": 55.0}


@dataclass(frozen=True)
class AlertRequest:
    """What another system asks: `text` to a meter now, or from `starts_at` on, `every` so often until `until` (exclusive).

    Without `every` the utility's own frequency holds; without `until` the alert goes on until it is taken back.
    `once` sends it a single time.
    """

    source: str
    meter_id: str
    text: str
    every: timedelta | None = None
    until: datetime | None = None
    starts_at: datetime | None = None
    once: bool = False
    priority: int | None = None


@dataclass(frozen=True)
class Alert:
    """An alert and how far it has come. `next_at` is None once it is over."""

    alert_id: int
    source: str
    meter_id: str
    text: str
    requested_at: datetime
    starts_at: datetime
    every: timedelta | None
    until: datetime | None
    next_at: datetime | None
    taken_back_at: datetime | None
    sendings: int
    last_message_id: int | None


class Alerts:
    """The ADCS's alerts. `every_s` is the utility's own frequency."""

    def __init__(self, clock: Clock, engine: Engine, outbox: Outbox, every_s: float, defects: frozenset[str]) -> None:
        self._clock = clock
        self._engine = engine
        self._outbox = outbox
        self._every_s = every_s
        self._defects = defects
        self._timers: dict[int, Timer] = {}

    def start(self) -> None:
        """Take up the alerts that are not over; one that fell due meanwhile is sent now, once."""
        with Session(self._engine) as session:
            rows = session.scalars(select(AlertRow).where(AlertRow.next_at.is_not(None)).order_by(AlertRow.id)).all()
        for row in rows:
            if row.next_at is not None and self._outbox.serves(row.meter_id):
                self._await(row.id, row.next_at)

    def close(self) -> None:
        """Send no alert any more."""
        for timer in self._timers.values():
            timer.cancel()

    # --- what other systems may ask ---

    def request(self, asked: AlertRequest) -> int:
        """Take an alert and send it at once, or when it starts; returns its id.

        NotAccepted for an unknown meter, no text, a start that has passed, an end that has passed or comes before the start, or a
        frequency above once a minute.
        """
        now = self._clock.now()
        self._outbox.check(_text(asked.source, asked.meter_id, asked.text, asked.priority))
        starts_at = asked.starts_at or now
        if starts_at < now:
            raise NotAccepted(
                Reason.IN_THE_PAST, f"ADCS: an alert cannot start at {starts_at.isoformat()}, it is {now.isoformat()}"
            )
        _check_until(starts_at, asked.until)
        every = None if asked.once else asked.every or timedelta(seconds=self._every_s)
        _check_every(every)
        with Session(self._engine) as session, session.begin():
            row = AlertRow(
                source=asked.source,
                meter_id=asked.meter_id,
                text=asked.text,
                priority=asked.priority,
                requested_at=now,
                starts_at=starts_at,
                every_s=None if every is None else every.total_seconds(),
                until=asked.until,
                next_at=starts_at,
            )
            session.add(row)
            session.flush()
            alert_id = row.id
        late_s = max((s for name, s in _WAITS_S.items() if name in self._defects), default=0.0)
        if starts_at > now or late_s:
            self._await(alert_id, starts_at + timedelta(seconds=late_s))
        else:
            self._send(alert_id)
        return alert_id

    def change(self, alert_id: int, every: timedelta) -> None:
        """Repeat an alert at another frequency, counted from its latest sending. NotAccepted where it is unknown or over."""
        _check_every(every)
        now = self._clock.now()
        with Session(self._engine) as session, session.begin():
            row = self._running(session, alert_id)
            assert row.next_at is not None
            if row.sendings:
                before = row.next_at if row.every_s is None else row.next_at - timedelta(seconds=row.every_s)
                row.next_at = max(now, before + every)
            row.every_s = every.total_seconds()
            next_at = row.next_at
        self._await(alert_id, next_at)

    def take_back(self, alert_id: int) -> None:
        """End an alert; a sending that still waits is withdrawn. NotAccepted where it is unknown or over."""
        with Session(self._engine) as session, session.begin():
            row = self._running(session, alert_id)
            row.taken_back_at = self._clock.now()
            if "alerts_after_they_are_taken_back" in self._defects:
                return
            row.next_at = None
            last = row.last_message_id
        self._forget(alert_id)
        if last is not None:
            self._outbox.withdraw(last, "the alert was taken back", unanswered=True)

    def all(self, meter_id: str | None = None) -> tuple[Alert, ...]:
        """All alerts, of one meter or of all, in the order of their requests."""
        query = select(AlertRow).order_by(AlertRow.id)
        if meter_id is not None:
            query = query.where(AlertRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(_alert(row) for row in rows)

    # --- inside ---

    def _running(self, session: Session, alert_id: int) -> AlertRow:
        row = session.get(AlertRow, alert_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_ALERT, f"ADCS: no alert {alert_id}; `request` returns the id of one")
        if row.next_at is None:
            raise NotAccepted(Reason.ALERT_IS_OVER, f"ADCS: alert {alert_id} is over; request another")
        return row

    def _await(self, alert_id: int, at: datetime) -> None:
        self._forget(alert_id)
        self._timers[alert_id] = self._clock.call_at(at, self._send, alert_id)

    def _forget(self, alert_id: int) -> None:
        timer = self._timers.pop(alert_id, None)
        if timer is not None:
            timer.cancel()

    def _send(self, alert_id: int) -> None:
        self._timers.pop(alert_id, None)
        now = self._clock.now()
        with Session(self._engine) as session:
            row = session.get_one(AlertRow, alert_id)
        if row.until is not None and now >= row.until and "alerts_beyond_their_end" not in self._defects:
            # the ADCS was down while the alert came to its end
            with Session(self._engine) as session, session.begin():
                session.get_one(AlertRow, alert_id).next_at = None
            return
        if row.last_message_id is not None:
            self._outbox.withdraw(row.last_message_id, "the alert's next sending takes its place", unanswered=True)
        admitted = self._outbox.admit(_text(row.source, row.meter_id, row.text, row.priority))
        next_at = self._following(row, now)

        def sent(session: Session) -> None:
            row = session.get_one(AlertRow, alert_id)
            row.sendings += 1
            row.last_message_id = admitted.message.message_id
            row.next_at = next_at

        self._outbox.enter([admitted], sent)
        if next_at is not None:
            self._await(alert_id, next_at)

    def _following(self, row: AlertRow, now: datetime) -> datetime | None:
        """The next sending on the grid of the alert, None where there is none."""
        if row.every_s is None or "alerts_once" in self._defects:
            return None
        assert row.next_at is not None
        every = timedelta(seconds=3_600.0 if "alerts_hourly_whatever_is_asked" in self._defects else row.every_s)
        next_at = row.next_at + every * ((now - row.next_at) // every + 1)
        if row.until is not None and next_at >= row.until and "alerts_beyond_their_end" not in self._defects:
            return None
        return next_at


def _text(source: str, meter_id: str, text: str, priority: int | None) -> Request:
    return Request(source, meter_id, MessageCode.TEXT, text=text or None, priority=priority)


def _check_until(starts_at: datetime, until: datetime | None) -> None:
    if until is not None and until <= starts_at:
        raise NotAccepted(
            Reason.END_BEFORE_START,
            f"ADCS: an alert from {starts_at.isoformat()} cannot end at {until.isoformat()}; give a later end, or none",
        )


def _check_every(every: timedelta | None) -> None:
    if every is not None and every.total_seconds() < _OFTEN_S:
        raise NotAccepted(
            Reason.NOT_REPEATABLE,
            f"ADCS: an alert cannot be repeated every {every.total_seconds():g} s; once in {_OFTEN_S:g} s is the most",
        )


def _alert(row: AlertRow) -> Alert:
    return Alert(
        row.id,
        row.source,
        row.meter_id,
        row.text,
        row.requested_at,
        row.starts_at,
        None if row.every_s is None else timedelta(seconds=row.every_s),
        row.until,
        row.next_at,
        row.taken_back_at,
        row.sendings,
        row.last_message_id,
    )
