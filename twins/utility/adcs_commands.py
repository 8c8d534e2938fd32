"""Connect, disconnect, limit and restore at a moment to come: planned, planned anew, cancelled (C3-FR-14).

A command is in the database before it is answered. When it is due, its message and its new state are written together, so
that a restart neither forgets it nor sends it twice; one that fell due meanwhile goes out at the start.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from drivers.roles import MessageCode
from twins.clock import Clock, Timer
from twins.utility.adcs_records import SERVICE, Outbox, Request
from twins.utility.adcs_standing_tables import CommandRow
from twins.utility.errors import NotAccepted, Reason

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


class CommandState(enum.StrEnum):
    """How far a planned command has come."""

    PLANNED = "planned"
    SENT = "sent"  # handed to the queue of its meter; its message tells the rest
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class PlannedCommand:
    """A command for a moment to come. `message_id` is that of its message, once there is one."""

    command_id: int
    meter_id: str
    code: MessageCode
    source: str
    limit_w: int | None
    planned_at: datetime
    due_at: datetime
    state: CommandState
    message_id: int | None


class PlannedCommands:
    """The ADCS's plan."""

    def __init__(self, clock: Clock, engine: Engine, outbox: Outbox, defects: frozenset[str]) -> None:
        self._clock = clock
        self._engine = engine
        self._outbox = outbox
        self._defects = defects
        self._timers: dict[int, Timer] = {}

    def start(self) -> None:
        """Take up the plan; what fell due meanwhile goes out now."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(CommandRow)
                .where(CommandRow.state == CommandState.PLANNED)
                .order_by(CommandRow.due_at, CommandRow.id)
            ).all()
        for row in rows:
            if self._outbox.serves(row.meter_id):
                self._await(row.id, row.due_at)

    def close(self) -> None:
        """Let nothing fall due any more."""
        for timer in self._timers.values():
            timer.cancel()

    # --- what other systems may ask ---

    def plan(self, request: Request, due_at: datetime) -> int:
        """Plan a connect, disconnect, limit or restore; returns the command's id.

        NotAccepted for another code, a moment that has passed, an unknown meter, a field that is missing.
        """
        if request.code not in SERVICE:
            names = ", ".join(code.name.lower() for code in SERVICE)
            raise NotAccepted(Reason.NOT_PLANNABLE, f"ADCS: {request.code.name.lower()} cannot be planned; {names} can")
        self._check(due_at)
        self._outbox.check(request)
        request = dataclasses.replace(request, message_id=None)
        with Session(self._engine) as session, session.begin():
            row = CommandRow(
                meter_id=request.meter_id,
                body=_REQUEST.dump_python(request, mode="json"),
                state=CommandState.PLANNED,
                planned_at=self._clock.now(),
                due_at=due_at,
            )
            session.add(row)
            session.flush()
            command_id = row.id
        self._await(command_id, self._clock.now() if "planned_commands_go_at_once" in self._defects else due_at)
        return command_id

    def replan(self, command_id: int, due_at: datetime) -> None:
        """Move a planned command to another moment. NotAccepted where it is unknown, sent or cancelled, or the moment has
        passed."""
        self._check(due_at)
        with Session(self._engine) as session, session.begin():
            self._planned(session, command_id).due_at = due_at
        if "keeps_the_first_moment" not in self._defects:
            self._await(command_id, due_at)

    def cancel(self, command_id: int) -> None:
        """Take a planned command back. NotAccepted where it is unknown, sent or cancelled."""
        with Session(self._engine) as session, session.begin():
            self._planned(session, command_id).state = CommandState.CANCELLED
        if "sends_cancelled_commands" not in self._defects:
            self._timers.pop(command_id).cancel()

    def all(self, meter_id: str | None = None) -> tuple[PlannedCommand, ...]:
        """All commands that were ever planned, for one meter or for all, by the moment for which they are planned."""
        query = select(CommandRow).order_by(CommandRow.due_at, CommandRow.id)
        if meter_id is not None:
            query = query.where(CommandRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(_command(row) for row in rows)

    # --- inside ---

    def _check(self, due_at: datetime) -> None:
        if due_at <= self._clock.now():
            raise NotAccepted(
                Reason.IN_THE_PAST,
                f"ADCS: {due_at.isoformat()} has passed, it is {self._clock.now().isoformat()}; "
                "send what is wanted now as a request",
            )

    def _planned(self, session: Session, command_id: int) -> CommandRow:
        row = session.get(CommandRow, command_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_COMMAND, f"ADCS: no command {command_id}; `plan` returns the id of one")
        if row.state != CommandState.PLANNED:
            raise NotAccepted(Reason.NOT_PLANNED, f"ADCS: command {command_id} is {row.state}; plan another")
        return row

    def _await(self, command_id: int, due_at: datetime) -> None:
        if command_id in self._timers:
            self._timers[command_id].cancel()
        self._timers[command_id] = self._clock.call_at(due_at, self._send, command_id)

    def _send(self, command_id: int) -> None:
        del self._timers[command_id]
        with Session(self._engine) as session:
            request = _REQUEST.validate_python(session.get_one(CommandRow, command_id).body)
        admitted = self._outbox.admit(request)

        def sent(session: Session) -> None:
            row = session.get_one(CommandRow, command_id)
            row.state, row.message_id = CommandState.SENT, admitted.message.message_id

        self._outbox.enter([admitted], sent)


def _command(row: CommandRow) -> PlannedCommand:
    request = _REQUEST.validate_python(row.body)
    return PlannedCommand(
        row.id,
        row.meter_id,
        request.code,
        request.source,
        request.limit_w,
        row.planned_at,
        row.due_at,
        CommandState(row.state),
        row.message_id,
    )
