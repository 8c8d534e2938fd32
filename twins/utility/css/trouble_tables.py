"""Tables of trouble: reports of no power, the tests and re-activations for them, and the orders that they led to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class ReportRow(Base):
    """A report of no power. Who made it is in the request `request_id`."""

    __tablename__ = "css_trouble_reports"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("css_requests.id"), unique=True)
    account_number: Mapped[str] = mapped_column(String(64), index=True)
    reported_at: Mapped[datetime]
    since: Mapped[datetime | None]
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    closed_at: Mapped[datetime | None]


@append_only
class ReportEntryRow(Base):
    """A line of a report's progress."""

    __tablename__ = "css_trouble_entries"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("css_trouble_reports.id"), index=True)
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    by: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)


class CheckRow(Base):
    """A message that was sent for a report and what became of it: a meter test, or a re-activation of the service."""

    __tablename__ = "css_trouble_checks"
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    report_id: Mapped[int] = mapped_column(ForeignKey("css_trouble_reports.id"), index=True)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime]
    requested_by: Mapped[str] = mapped_column(Text)
    deadline: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    passed: Mapped[bool | None]
    why: Mapped[str] = mapped_column(Text, default="")


class OrderRow(Base):
    """An order to somebody on the road or in the meter shop."""

    __tablename__ = "css_orders"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    meter_id: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    issued_at: Mapped[datetime]
    assigned_to: Mapped[str | None] = mapped_column(Text)
    closed_at: Mapped[datetime | None]


@append_only
class OrderReportRow(Base):
    """Which order covers a report: one of each kind."""

    __tablename__ = "css_order_reports"
    report_id: Mapped[int] = mapped_column(ForeignKey("css_trouble_reports.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("css_orders.id"), index=True)


@append_only
class OrderEntryRow(Base):
    """A line of an order's history."""

    __tablename__ = "css_order_entries"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("css_orders.id"), index=True)
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    by: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text)
