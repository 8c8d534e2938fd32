"""The utility's rules for connect, disconnect and demand limit: by schedule, by customer class, by extreme weather (C3-FR-10).

A rule in force may hold commands back, with a demand limit in place of a disconnect (D17); what it held is carried out when
no rule holds it any longer, unless a later command has made it idle. What rules do is in the database together with the
messages that it leads to, so that a restart finds it as it was.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from drivers.roles import MessageCode
from twins.clock import Clock, Timer
from twins.utility.adcs_records import Admitted, Outbox, Request, State
from twins.utility.adcs_standing_tables import HeldRow, RuleLogRow, RuleRow, RuleStateRow
from twins.utility.adcs_tables import MessageRow
from twins.utility.config import RuleConfig
from twins.utility.errors import NotAccepted, Reason
from twins.utility.weather import WeatherService

_IDLE: dict[MessageCode, tuple[MessageCode, ...]] = {
    MessageCode.CONNECT: (MessageCode.DISCONNECT, MessageCode.CONNECT),
    MessageCode.PREPAYMENT: (MessageCode.DISCONNECT,),
    MessageCode.DISCONNECT: (MessageCode.CONNECT, MessageCode.DISCONNECT),
    MessageCode.RESTORE: (MessageCode.LIMIT,),
    MessageCode.LIMIT: (MessageCode.LIMIT,),
}
"""Held commands that a later message makes idle."""


class RuleAct(enum.StrEnum):
    """What a rule did, as its log says it."""

    BEGAN = "began"
    ENDED = "ended"
    HELD = "held"  # a message is held back
    LIMITED = "limited"  # a demand limit goes out in its place
    LET_GO = "let go"  # and is carried out now
    IDLE = "idle"  # or never, because a later message says otherwise


@dataclass(frozen=True)
class RuleLogEntry:
    """A line of the log of rules. `message_id` is that of the message it is about, None where there is none."""

    at: datetime
    rule: str
    meter_id: str
    act: RuleAct
    message_id: int | None


class Rules:
    """The ADCS's rules. `classes` maps a meter to the class of its customer; `zone` is that of a rule's daily hours."""

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        outbox: Outbox,
        configured: Sequence[RuleConfig],
        classes: Mapping[str, str],
        zone: tzinfo,
        weather: WeatherService | None,
        defects: frozenset[str],
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._outbox = outbox
        self._configured = {rule.name: rule for rule in configured}
        self._given: dict[str, RuleConfig] = {}
        self._classes = classes
        self._zone = zone
        self._weather = weather
        self._defects = defects
        self._meters: tuple[str, ...] = ()
        self._in_force: set[tuple[str, str]] = set()
        self._timer: Timer | None = None

    def start(self, meters: Sequence[str]) -> None:
        """Take up the rules as they were for these meters, and see which are in force now."""
        self._meters = tuple(meters)
        with Session(self._engine) as session:
            self._given = {row.name: RuleConfig.model_validate(row.body) for row in session.scalars(select(RuleRow))}
            states = session.scalars(select(RuleStateRow).where(RuleStateRow.meter_id.in_(self._meters))).all()
        self._in_force = {(state.rule, state.meter_id) for state in states}
        if self._weather is not None:
            self._weather.subscribe(self._review)
        self._review()

    def close(self) -> None:
        """Let no rule begin or end any more."""
        self._meters, self._in_force = (), set()
        if self._timer is not None:
            self._timer.cancel()

    # --- what other systems may ask ---

    def add(self, **rule: Any) -> RuleConfig:
        """Add a rule: the fields of `RuleConfig`. It is in force at once where what it says is true now.

        NotAccepted for an end before the start, a name that is taken, or a rule that is not possible.
        """
        starts_at, ends_at = rule.get("starts_at"), rule.get("ends_at")
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            raise NotAccepted(
                Reason.END_BEFORE_START,
                f"ADCS: a rule from {starts_at.isoformat()} cannot end at {ends_at.isoformat()}; give a later end",
            )
        try:
            made = RuleConfig(**rule)
        except ValidationError as no:
            first = no.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise NotAccepted(
                Reason.RULE_NOT_POSSIBLE, f"ADCS: rule: {f'{where}: ' if where else ''}{first['msg']}"
            ) from None
        if made.ends_at is not None and made.ends_at <= self._clock.now():
            raise NotAccepted(Reason.IN_THE_PAST, f"ADCS: rule {made.name!r} ended at {made.ends_at.isoformat()}")
        if made.name in self._all():
            raise NotAccepted(
                Reason.RULE_NOT_POSSIBLE, f"ADCS: there is a rule {made.name!r}; drop it first, or choose another name"
            )
        with Session(self._engine) as session, session.begin():
            session.add(RuleRow(name=made.name, body=made.model_dump(mode="json")))
        self._given[made.name] = made
        self._review()
        return made

    def drop(self, name: str) -> None:
        """Drop a rule; where it is in force it ends. NotAccepted where it is unknown, or stands in the bench file."""
        if name in self._configured:
            raise NotAccepted(Reason.RULE_NOT_POSSIBLE, f"ADCS: rule {name!r} is the bench file's; change it there")
        if name not in self._given:
            known = ", ".join(self._all()) or "none"
            raise NotAccepted(Reason.UNKNOWN_RULE, f"ADCS: no rule {name!r}; rules are {known}")
        dropped = self._given.pop(name)
        self._review({name: dropped})
        with Session(self._engine) as session, session.begin():
            session.delete(session.get_one(RuleRow, name))

    def all(self) -> tuple[RuleConfig, ...]:
        """All rules."""
        return tuple(self._all().values())

    def in_force(self, meter_id: str) -> tuple[str, ...]:
        """Names of the rules in force at a meter."""
        return tuple(name for name in self._all() if (name, meter_id) in self._in_force)

    def log(self, meter_id: str | None = None) -> tuple[RuleLogEntry, ...]:
        """What rules did, at one meter or at all, oldest first."""
        query = select(RuleLogRow).order_by(RuleLogRow.id)
        if meter_id is not None:
            query = query.where(RuleLogRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(RuleLogEntry(r.at, r.rule, r.meter_id, RuleAct(r.what), r.message_id) for r in rows)

    # --- what a message meets on its way ---

    def gate(self, admitted: Admitted) -> tuple[list[Admitted], Callable[[Session], None]]:
        """Hold a message back where a rule says so. Returns the messages that go with it, and what is to be written."""
        meter_id, code = admitted.request.meter_id, admitted.message.code
        idles = _IDLE.get(code, ())
        idle = [held for held in self._held(meter_id) if held.code in idles] if idles else []
        rule = None if admitted.free else self._holding(meter_id, code)
        along: list[Admitted] = []
        limited = None
        if rule is not None:
            admitted.state = State.HELD
            if code is MessageCode.DISCONNECT and rule.instead_limit_w is not None:
                limited = self._free(rule.name, meter_id, MessageCode.LIMIT, limit_w=rule.instead_limit_w)
                along.append(limited)
        if limited is None:
            along += self._unlimit(idle)

        def write(session: Session) -> None:
            for held in idle:
                session.delete(session.get_one(HeldRow, held.message_id))
                message = session.get_one(MessageRow, held.message_id)
                message.state, message.why = State.CANCELLED, f"made idle by message {admitted.message.message_id}"
                self._write(session, held.rule, meter_id, RuleAct.IDLE, held.message_id)
            if rule is None:
                return
            limit_id = None if limited is None else limited.message.message_id
            session.add(
                HeldRow(
                    message_id=admitted.message.message_id,
                    meter_id=meter_id,
                    rule=rule.name,
                    limit_message_id=limit_id,
                )
            )
            if "held_commands_not_logged" not in self._defects:
                self._write(session, rule.name, meter_id, RuleAct.HELD, admitted.message.message_id)
            if limit_id is not None:
                self._write(session, rule.name, meter_id, RuleAct.LIMITED, limit_id)

        return along, write

    # --- inside ---

    def _all(self) -> dict[str, RuleConfig]:
        return {**self._configured, **self._given}

    def _holding(self, meter_id: str, code: MessageCode) -> RuleConfig | None:
        found = (r for r in self._all().values() if code in r.hold and (r.name, meter_id) in self._in_force)
        return next(found, None)

    def _held(self, meter_id: str) -> list[_Held]:
        with Session(self._engine) as session:
            rows = session.execute(
                select(HeldRow, MessageRow.body)
                .join(MessageRow, MessageRow.message_id == HeldRow.message_id)
                .where(HeldRow.meter_id == meter_id)
                .order_by(HeldRow.message_id)
            ).all()
        return [
            _Held(row.message_id, row.meter_id, row.rule, row.limit_message_id, MessageCode(body["code"]))
            for row, body in rows
        ]

    def _unlimit(self, held: Sequence[_Held]) -> list[Admitted]:
        """End the limits that held instead of these, unless they never went out."""
        went_out = [h for h in held if h.limit_message_id is not None]
        went_out = [h for h in went_out if not self._outbox.withdraw(h.limit_message_id or 0, f"rule {h.rule} ended")]
        return [self._free(h.rule, h.meter_id, MessageCode.RESTORE) for h in went_out[:1]]

    def _free(self, rule: str, meter_id: str, code: MessageCode, limit_w: int | None = None) -> Admitted:
        admitted = self._outbox.admit(_request(rule, meter_id, code, limit_w))
        admitted.free = True
        return admitted

    def _review(self, dropped: Mapping[str, RuleConfig] | None = None) -> None:
        """Begin and end what does, and come back when the time for more has come."""
        now = self._clock.now()
        rules = self._all()
        true = {(r.name, m) for r in rules.values() for m in self._meters if self._is_true(r, m, now)}
        ended, began = sorted(self._in_force - true), sorted(true - self._in_force)
        self._in_force = true
        for name, meter_id in ended:
            self._end({**rules, **(dropped or {})}.get(name), name, meter_id)
        for name, meter_id in began:
            self._begin(rules[name], meter_id)
        if self._timer is not None:
            self._timer.cancel()
        moments = [at for r in rules.values() for at in self._moments(r, now)]
        self._timer = self._clock.call_at(min(moments), self._review) if moments and self._meters else None

    def _begin(self, rule: RuleConfig, meter_id: str) -> None:
        out = []
        if rule.begin is not None:
            out.append(self._outbox.admit(_request(rule.name, meter_id, rule.begin, rule.limit_w)))

        def began(session: Session) -> None:
            session.add(RuleStateRow(rule=rule.name, meter_id=meter_id, began_at=self._clock.now()))
            self._write(session, rule.name, meter_id, RuleAct.BEGAN, out[0].message.message_id if out else None)

        self._outbox.enter(out, began)

    def _end(self, rule: RuleConfig | None, name: str, meter_id: str) -> None:
        freed = [held for held in self._held(meter_id) if self._holding(meter_id, held.code) is None]
        if "forgets_held_commands" in self._defects:
            freed = []
        # after the disconnect: a limit that has tripped must not close the switch on its way
        out = self._unlimit(freed)
        if rule is not None and rule.end is not None:
            out.append(self._outbox.admit(_request(name, meter_id, rule.end, None)))

        def ended(session: Session) -> None:
            state = session.get(RuleStateRow, (name, meter_id))
            if state is not None:
                session.delete(state)
            self._write(session, name, meter_id, RuleAct.ENDED, None)
            for held in freed:
                session.delete(session.get_one(HeldRow, held.message_id))
                session.get_one(MessageRow, held.message_id).state = State.QUEUED
                self._write(session, held.rule, meter_id, RuleAct.LET_GO, held.message_id)

        self._outbox.enter([], ended)
        for held in freed:
            self._outbox.let_go(held.message_id)
        if out:
            self._outbox.enter(out, lambda session: None)

    def _is_true(self, rule: RuleConfig, meter_id: str, now: datetime) -> bool:
        of_class = not rule.classes or self._classes.get(meter_id) in rule.classes
        if not of_class and "rules_for_every_class" not in self._defects:
            return False
        if "rules_at_any_time" not in self._defects and not self._in_time(rule, now):
            return False
        if rule.above_c is None and rule.below_c is None:
            return True
        observed = None if self._weather is None else self._weather.now()
        if observed is None or "rules_without_weather" in self._defects:
            return False
        hot = rule.above_c is not None and observed.temperature_c >= rule.above_c
        return hot or (rule.below_c is not None and observed.temperature_c <= rule.below_c)

    def _in_time(self, rule: RuleConfig, now: datetime) -> bool:
        if (rule.starts_at is not None and now < rule.starts_at) or (rule.ends_at is not None and now >= rule.ends_at):
            return False
        if rule.daily_from is None:
            return True
        today = now.astimezone(self._zone).date()
        return any(begin <= now < end for begin, end in (self._hours(rule, today - timedelta(days=k)) for k in (0, 1)))

    def _hours(self, rule: RuleConfig, day: date) -> tuple[datetime, datetime]:
        """The daily hours that begin on a local day; an empty span where the rule leaves the day out."""
        assert rule.daily_from is not None
        assert rule.daily_to is not None
        begin = datetime.combine(day, rule.daily_from, self._zone)
        past_midnight = rule.daily_to <= rule.daily_from
        end = datetime.combine(day + timedelta(days=1 if past_midnight else 0), rule.daily_to, self._zone)
        return begin, begin if rule.days and day.weekday() not in rule.days else end

    def _moments(self, rule: RuleConfig, now: datetime) -> list[datetime]:
        """Moments to come at which the time may make or end a rule."""
        moments = [at for at in (rule.starts_at, rule.ends_at) if at is not None]
        if rule.daily_from is not None:
            today = now.astimezone(self._zone).date()
            # a week ahead: the hours may be those of one day alone
            moments += [at for k in range(-1, 9) for at in self._hours(rule, today + timedelta(days=k))]
        return [at for at in moments if at > now]

    def _write(self, session: Session, rule: str, meter_id: str, act: RuleAct, message_id: int | None) -> None:
        session.add(RuleLogRow(at=self._clock.now(), rule=rule, meter_id=meter_id, what=act, message_id=message_id))


@dataclass(frozen=True)
class _Held:
    message_id: int
    meter_id: str
    rule: str
    limit_message_id: int | None
    code: MessageCode


def _request(rule: str, meter_id: str, code: MessageCode, limit_w: int | None) -> Request:
    return Request(f"rule {rule}"[:32], meter_id, code, limit_w=limit_w)
