"""What goes into the ADCS and what it tells of itself: requests, messages and their states, transactions."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, MessageCode, MeterMessage, ReceiptStatus


@dataclass(frozen=True)
class Request:
    """What another system asks the ADCS to send to a meter; the fields are those of `drivers.roles.MeterMessage`.

    With a `message_id` that the ADCS gave out before (`Adcs.new_message_id`), submitting it again changes nothing.
    Without a `priority` the ADCS's own for that code holds.
    """

    source: str
    meter_id: str
    code: MessageCode
    message_id: int | None = None
    priority: int | None = None
    balance_cents: int | None = None
    credit_wh: int | None = None
    price_millicents_per_kwh: int | None = None
    time_left: timedelta | None = None
    zero_at: datetime | None = None
    at_zero: AtZero | None = None
    limit_w: int | None = None
    billing: Billing | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    event_id: int | None = None
    text: str | None = None


NEEDED: dict[MessageCode, tuple[str, ...]] = {
    MessageCode.PREPAYMENT: ("balance_cents", "credit_wh", "price_millicents_per_kwh", "time_left", "at_zero"),
    MessageCode.BALANCE: ("balance_cents", "credit_wh", "time_left"),
    MessageCode.LIMIT: ("limit_w",),
    MessageCode.SCHEDULE: ("event_id", "starts_at", "ends_at", "credit_wh", "at_zero"),
    MessageCode.CANCEL_SCHEDULE: ("event_id",),
    MessageCode.BILLING: ("billing",),
    MessageCode.TEXT: ("text",),
}
"""Fields without which a request of that code cannot be carried out."""


class State(enum.StrEnum):
    """How far a message has come."""

    QUEUED = "queued"  # to be sent, or sent again after no answer
    ACCEPTED = "accepted"  # the meter took it; its receipt is awaited
    UNCONFIRMED = "unconfirmed"  # taken, but no receipt in time; a later collection may still bring it
    DONE = "done"  # there is a receipt, whatever it says
    REFUSED = "refused"  # the meter would not take it
    HELD = "held"  # a rule of the utility holds it back
    CANCELLED = "cancelled"  # taken back before it was sent, or made idle by a later one
    SUPERSEDED = "superseded"  # a balance that a newer one overtook before it was sent


SERVICE = (MessageCode.CONNECT, MessageCode.DISCONNECT, MessageCode.LIMIT, MessageCode.RESTORE)
"""Commands to the service itself."""
INFORMATIONAL = (MessageCode.TEXT, MessageCode.BALANCE)
"""Messages that change nothing but what is shown; all others are functional."""


@dataclass
class Admitted:
    """A request that can be carried out, with the message that it becomes. HELD where a rule holds it back; `free` where
    none may."""

    request: Request
    message: MeterMessage
    state: State = State.QUEUED
    free: bool = False


class Outbox(Protocol):
    """How the ADCS's own parts send messages."""

    def serves(self, meter_id: str) -> bool:
        """Whether there is such a meter."""
        ...

    def check(self, request: Request) -> None:
        """NotAccepted where a request cannot be carried out."""
        ...

    def admit(self, request: Request) -> Admitted:
        """Check a request and make its message, with an id of its own. Nothing is sent yet."""
        ...

    def enter(self, admitted: Sequence[Admitted], along: Callable[[Session], None]) -> None:
        """Write messages, and what `along` writes, in one transaction, and queue them."""
        ...

    def withdraw(self, message_id: int, why: str, *, unanswered: bool = False) -> bool:
        """Take back a message that was never sent (or, `unanswered`, never accepted); whether that was so."""
        ...

    def let_go(self, message_id: int) -> None:
        """Queue a message that was held back."""
        ...


class Direction(enum.StrEnum):
    """Which way a transaction went."""

    TO_METER = "to meter"
    FROM_METER = "from meter"


@dataclass(frozen=True)
class LoggedRequest:
    """A line of the request log."""

    request_id: int
    received_at: datetime
    source: str
    meter_id: str
    code: MessageCode
    message_id: int


@dataclass(frozen=True)
class MessageRecord:
    """A message and what became of it. Times are bench time at the ADCS; `receipt_at` is when the receipt came in."""

    message_id: int
    meter_id: str
    source: str
    message: MeterMessage
    state: State
    submitted_at: datetime
    attempts: int
    first_sent_at: datetime | None
    accepted_at: datetime | None
    receipt_at: datetime | None
    receipt_status: ReceiptStatus | None
    why: str


@dataclass(frozen=True)
class Transaction:
    """A line of the transaction log. `kind` is message, acceptance, receipt, unknown receipt, log, intervals, schedule,
    test result, read, refusal or no answer."""

    at: datetime
    direction: Direction
    meter_id: str
    kind: str
    message_id: int | None
    code: MessageCode | None
    detail: str
