"""Tables of the ADCS: the log of requests, the messages to send and what became of them, the log of transactions with meters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class MessageIdRow(Base):
    """A message id that has been given out. Never given out again."""

    __tablename__ = "adcs_message_ids"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    given_at: Mapped[datetime]


@append_only
class RequestRow(Base):
    """A request of another system, as received."""

    __tablename__ = "adcs_requests"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    received_at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(32))
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    code: Mapped[int]
    message_id: Mapped[int] = mapped_column(BigInteger, index=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class MessageRow(Base):
    """A message to a meter and how far it has come; `body` is the whole message."""

    __tablename__ = "adcs_messages"
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    source: Mapped[str] = mapped_column(String(32))
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16), index=True)
    submitted_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    first_sent_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    receipt_at: Mapped[datetime | None]
    receipt_status: Mapped[int | None]
    why: Mapped[str] = mapped_column(Text, default="")


@append_only
class TransactionRow(Base):
    """Something sent to a meter or received from it."""

    __tablename__ = "adcs_transactions"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    direction: Mapped[str] = mapped_column(String(16))
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    code: Mapped[int | None]
    detail: Mapped[str] = mapped_column(Text)


class MeterRow(Base):
    """How far the ADCS has read a meter's receipts, log and intervals."""

    __tablename__ = "adcs_meters"
    meter_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    receipts_after: Mapped[int] = mapped_column(default=0)
    log_after: Mapped[int] = mapped_column(default=0)
    intervals_since: Mapped[datetime | None]
    collected_at: Mapped[datetime | None]


class RereadRow(Base):
    """A meter whose clock was set back to `since`: what it records up to `until` belongs to intervals that were read."""

    __tablename__ = "adcs_rereads"
    meter_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    since: Mapped[datetime]
    until: Mapped[datetime]
