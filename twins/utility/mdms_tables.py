"""Tables of the MDMS. A row is available to other systems from `available_at` on, never while that is empty."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class _Kept:
    """Columns that every stored item has."""

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    meter_id: Mapped[str] = mapped_column(String(32))
    received_at: Mapped[datetime]
    available_at: Mapped[datetime | None]


class ReceiptRow(_Kept, Base):
    """A receipt as the meter wrote it; `claimed_meter_id` is the meter id in it."""

    __tablename__ = "mdms_receipts"
    __table_args__ = (
        Index("ux_mdms_receipts", "meter_id", "sequence", "completed_at", "message_id", unique=True),
        Index("ix_mdms_receipts_message_id", "message_id"),
    )
    sequence: Mapped[int]
    message_id: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[int]
    claimed_meter_id: Mapped[str] = mapped_column(String(32))
    status: Mapped[int]
    completed_at: Mapped[datetime]


class IntervalRow(_Kept, Base):
    """Energy of one interval, of the meter or from before the bench came up. Of several with one end the latest holds."""

    __tablename__ = "mdms_intervals"
    __table_args__ = (
        Index("ix_mdms_intervals_end", "meter_id", "ends_at"),
        Index("ix_mdms_intervals_available", "meter_id", "available_at"),
    )
    ends_at: Mapped[datetime]
    length_s: Mapped[float]
    energy_wh: Mapped[float]
    complete: Mapped[bool]


class LogRow(_Kept, Base):
    """An entry of a meter's log."""

    __tablename__ = "mdms_logs"
    __table_args__ = (Index("ux_mdms_logs", "meter_id", "sequence", "at", unique=True),)
    sequence: Mapped[int]
    at: Mapped[datetime]
    event: Mapped[int]
    message_code: Mapped[int | None]
    argument: Mapped[int] = mapped_column(BigInteger)


class TestResultRow(_Kept, Base):
    """The result of a meter test."""

    __tablename__ = "mdms_test_results"
    __table_args__ = (Index("ux_mdms_test_results", "meter_id", "message_id", unique=True),)
    message_id: Mapped[int] = mapped_column(BigInteger)
    completed_at: Mapped[datetime]
    connected: Mapped[bool]
    switch: Mapped[int]
    energised: Mapped[bool]
    load_side_voltage_v: Mapped[float]
    load_side_current_a: Mapped[float]


class ScheduleRow(_Kept, Base):
    """A prepayment event that the meter holds, or held until `withdrawn_at`."""

    __tablename__ = "mdms_schedules"
    __table_args__ = (Index("ix_mdms_schedules_meter_id", "meter_id", "event_id"),)
    event_id: Mapped[int] = mapped_column(BigInteger)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    credit_wh: Mapped[int] = mapped_column(BigInteger)
    at_zero: Mapped[int]
    withdrawn_at: Mapped[datetime | None]


class BalanceRow(_Kept, Base):
    """What a meter was told of its account, once it had processed it."""

    __tablename__ = "mdms_balances"
    __table_args__ = (Index("ux_mdms_balances", "meter_id", "message_id", unique=True),)
    message_id: Mapped[int] = mapped_column(BigInteger)
    confirmed_at: Mapped[datetime]
    balance_cents: Mapped[int] = mapped_column(BigInteger)
    credit_wh: Mapped[int | None] = mapped_column(BigInteger)
    price_millicents_per_kwh: Mapped[int | None]
    time_left_s: Mapped[float | None]
    zero_at: Mapped[datetime | None]
    at_zero: Mapped[int | None]


@append_only
class FeedRow(Base):
    """A publication, in the order in which things became available: an item of `kind`, or its withdrawal. History from before
    the bench came up is not among them."""

    __tablename__ = "mdms_feed"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    meter_id: Mapped[str] = mapped_column(String(32))
    item_id: Mapped[int]
    withdrawn: Mapped[bool]
    available_at: Mapped[datetime]
