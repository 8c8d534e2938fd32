"""Tables of the ADCS's event schedules: the events that it keeps for each meter, and the log of what was asked and done."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class EventRow(Base):
    """An event of a meter; its id is that of the message that carries it there."""

    __tablename__ = "adcs_events"
    event_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(String(32))
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    credit_wh: Mapped[int] = mapped_column(BigInteger)
    at_zero: Mapped[int]
    taken_at: Mapped[datetime]
    send_at: Mapped[datetime] = mapped_column(index=True)
    submitted_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    cancel_id: Mapped[int | None] = mapped_column(BigInteger)
    cancel_submitted_at: Mapped[datetime | None]


@append_only
class EventLogRow(Base):
    """Something that happened to an event at the ADCS."""

    __tablename__ = "adcs_event_log"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    what: Mapped[str] = mapped_column(String(16))
    event_id: Mapped[int] = mapped_column(BigInteger, index=True)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    detail: Mapped[str] = mapped_column(Text)
