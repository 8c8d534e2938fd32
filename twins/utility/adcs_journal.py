"""What the ADCS keeps in the database: message ids given out, requests, messages and how far they came, transactions, and how far
each meter has been read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Engine, Row, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from drivers.roles import MessageCode, MeterMessage, Receipt, ReceiptStatus
from twins.clock import Clock
from twins.utility.adcs_records import Admitted, Direction, LoggedRequest, MessageRecord, Request, State, Transaction
from twins.utility.adcs_tables import MessageIdRow, MessageRow, MeterRow, RequestRow, TransactionRow
from twins.utility.database import table_of
from twins.utility.errors import NotAccepted, Reason

_FIRST_ID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_MESSAGE: TypeAdapter[MeterMessage] = TypeAdapter(MeterMessage)
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)

# Made once: every hour of every meter takes the same few statements.
_REQUESTS, _MESSAGES, _METERS = table_of(RequestRow), table_of(MessageRow), table_of(MeterRow)
_ADD_REQUEST, _ADD_MESSAGE = insert(_REQUESTS), insert(_MESSAGES)
_ADD_TRANSACTION = insert(table_of(TransactionRow))
_IDS = table_of(MessageIdRow)
_LAST_ID, _ADD_ID = select(func.max(_IDS.c.id)), insert(_IDS)
_CHANGE_MESSAGE = update(_MESSAGES).where(_MESSAGES.c.message_id == bindparam("of_message"))
_CHANGE_METER = update(_METERS).where(_METERS.c.meter_id == bindparam("of_meter"))
_MESSAGE_AT = select(_MESSAGES).where(_MESSAGES.c.message_id == bindparam("message_id"))


class Journal:
    """The ADCS's own tables, written and read. Times are those of the clock."""

    def __init__(self, clock: Clock, engine: Engine, defects: frozenset[str]) -> None:
        self._clock = clock
        self._engine = engine
        self._defects = defects

    # --- requests and messages ---

    def new_message_id(self) -> int:
        """Give out a message id that no message has had. The first of a database is the seconds since 2000, so that a meter
        which remembers ids of an older database does not take new messages for old ones."""
        with self._engine.begin() as connection:
            last = connection.scalar(_LAST_ID)
            now = self._clock.now()
            given = int((now - _FIRST_ID_FROM).total_seconds()) if last is None else last + 1
            connection.execute(_ADD_ID, {"id": given, "given_at": now})
        return given

    def add(self, admitted: Sequence[Admitted], along: Sequence[Callable[[Session], None]], now: datetime) -> None:
        """Write requests with their messages, then what each of `along` writes, in one transaction."""
        with Session(self._engine) as session, session.begin():
            for one in admitted:
                self._add(session, one, now)
            for write in along:
                write(session)

    def change(self, message_id: int, **columns: object) -> None:
        """Write what became of a message."""
        with self._engine.begin() as connection:
            connection.execute(_CHANGE_MESSAGE, {"of_message": message_id, **columns})

    def found(self, message_id: int) -> MessageRecord | None:
        """A message and what became of it, None where there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(_MESSAGE_AT, {"message_id": message_id}).one_or_none()
        return None if row is None else _record(row)

    def message(self, message_id: int) -> MessageRecord:
        """A message and what became of it. NotAccepted where there is none."""
        record = self.found(message_id)
        if record is None:
            raise NotAccepted(Reason.UNKNOWN_MESSAGE, f"ADCS: no message {message_id}; `submit` returns the id of one")
        return record

    def unfinished(self, meter_id: str) -> tuple[MessageRecord, ...]:
        """Messages to a meter that are still to be sent, or whose receipt is awaited."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(MessageRow).where(
                    MessageRow.meter_id == meter_id, MessageRow.state.in_([State.QUEUED, State.ACCEPTED])
                )
            ).all()
        return tuple(_record(row) for row in rows)

    def requests(self) -> tuple[LoggedRequest, ...]:
        """The log of requests, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(RequestRow).order_by(RequestRow.id)).all()
        return tuple(
            LoggedRequest(r.id, r.received_at, r.source, r.meter_id, MessageCode(r.code), r.message_id) for r in rows
        )

    # --- transactions with meters ---

    def log(
        self,
        meter_id: str,
        direction: Direction,
        kind: str,
        message: MeterMessage | None,
        detail: str,
        at: datetime | None = None,
    ) -> None:
        """Log something sent or received, now or at another moment, with the message that it is about, if any."""
        message_id, code = (None, None) if message is None else (message.message_id, message.code)
        self.log_of(meter_id, direction, kind, message_id, code, detail, at)

    def log_receipt(self, meter_id: str, receipt: Receipt) -> None:
        """Log a receipt that came in."""
        detail = f"{receipt.status.name.lower()} at {receipt.completed_at.isoformat()}"
        self.log_of(meter_id, Direction.FROM_METER, "receipt", receipt.message_id, receipt.code, detail)

    def log_of(
        self,
        meter_id: str,
        direction: Direction,
        kind: str,
        message_id: int | None,
        code: MessageCode | None,
        detail: str,
        at: datetime | None = None,
    ) -> None:
        """Log something sent or received, with the id and the code of the message that the other side names."""
        defect = "sent_not_logged" if direction is Direction.TO_METER else "received_not_logged"
        if defect in self._defects:
            return
        row = {
            "at": self._clock.now() if at is None else at,
            "direction": direction,
            "meter_id": meter_id,
            "kind": kind,
            "message_id": message_id,
            "code": None if code is None else int(code),
            "detail": detail,
        }
        with self._engine.begin() as connection:
            connection.execute(_ADD_TRANSACTION, row)

    def transactions(self, meter_id: str | None = None) -> tuple[Transaction, ...]:
        """The log of what was sent to and received from one meter, or all of them, oldest first."""
        query = select(TransactionRow).order_by(TransactionRow.id)
        if meter_id is not None:
            query = query.where(TransactionRow.meter_id == meter_id)
        with Session(self._engine) as session:
            rows = session.scalars(query).all()
        return tuple(
            Transaction(
                r.at,
                Direction(r.direction),
                r.meter_id,
                r.kind,
                r.message_id,
                None if r.code is None else MessageCode(r.code),
                r.detail,
            )
            for r in rows
        )

    # --- how far meters have been read ---

    def read_so_far(self, meter_id: str) -> MeterRow:
        """How far a meter has been read; from the beginning where it never was."""
        with Session(self._engine) as session:
            return session.get(MeterRow, meter_id) or MeterRow(
                meter_id=meter_id, receipts_after=0, log_after=0, intervals_since=None, collected_at=None
            )

    def keep(self, meter_id: str, **columns: object) -> None:
        """Write how far a meter has been read."""
        with self._engine.begin() as connection:
            if connection.execute(_CHANGE_METER, {"of_meter": meter_id, **columns}).rowcount == 0:
                connection.execute(insert(_METERS), {"meter_id": meter_id, **columns})

    def _add(self, session: Session, admitted: Admitted, now: datetime) -> None:
        request, message = admitted.request, admitted.message
        if "requests_not_logged" not in self._defects:
            session.execute(
                _ADD_REQUEST,
                {
                    "received_at": now,
                    "source": request.source,
                    "meter_id": request.meter_id,
                    "code": int(request.code),
                    "message_id": message.message_id,
                    "body": _REQUEST.dump_python(request, mode="json"),
                },
            )
        session.execute(
            _ADD_MESSAGE,
            {
                "message_id": message.message_id,
                "meter_id": request.meter_id,
                "source": request.source,
                "body": _MESSAGE.dump_python(message, mode="json"),
                "state": admitted.state,
                "submitted_at": now,
            },
        )


def _record(row: MessageRow | Row[Any]) -> MessageRecord:
    return MessageRecord(
        row.message_id,
        row.meter_id,
        row.source,
        _MESSAGE.validate_python(row.body),
        State(row.state),
        row.submitted_at,
        row.attempts,
        row.first_sent_at,
        row.accepted_at,
        row.receipt_at,
        None if row.receipt_status is None else ReceiptStatus(row.receipt_status),
        row.why,
    )
