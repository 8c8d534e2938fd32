"""Tables of billing: since when an account is billed how, its monthly bills, and the intervals that each bill is for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


@append_only
class BillingModeRow(Base):
    """How intervals of an account that start at `since` or later are billed, until the next row's."""

    __tablename__ = "css_billing_modes"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    since: Mapped[datetime]
    billing: Mapped[int]


@append_only
class BillRow(Base):
    """A bill or statement of [starts_at, ends_at). `carried` is the fraction of a cent for the next one."""

    __tablename__ = "css_bills"
    __table_args__ = (UniqueConstraint("account_number", "ends_at"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    issued_at: Mapped[datetime]
    energy_mwh: Mapped[int] = mapped_column(BigInteger)
    price_millicents_per_kwh: Mapped[int]
    due_cents: Mapped[int] = mapped_column(BigInteger)
    carried: Mapped[int] = mapped_column(BigInteger)
    prepaid_energy_mwh: Mapped[int] = mapped_column(BigInteger)
    prepaid_cents: Mapped[int] = mapped_column(BigInteger)
    paid_cents: Mapped[int] = mapped_column(BigInteger)
    balance_cents: Mapped[int] = mapped_column(BigInteger)
    missing_s: Mapped[int] = mapped_column(BigInteger)


@append_only
class BilledIntervalRow(Base):
    """An interval and the bill that it is on; one that was revised is on a later bill with what it differs by."""

    __tablename__ = "css_billed_intervals"
    __table_args__ = (
        UniqueConstraint("bill_id", "interval_ends_at"),
        Index("ix_css_billed_intervals_account_number_interval_ends_at", "account_number", "interval_ends_at"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    bill_id: Mapped[int] = mapped_column(ForeignKey("css_bills.id"), index=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"))
    interval_ends_at: Mapped[datetime]
    energy_mwh: Mapped[int] = mapped_column(BigInteger)
