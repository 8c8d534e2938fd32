"""Tables of the website: who may sign in, sessions, failed attempts, and payments that were asked for there."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base


class LoginRow(Base):
    """Somebody who may sign in: a customer (`customer_id`) or a representative (none). `password` is an argon2 hash."""

    __tablename__ = "web_logins"
    login: Mapped[str] = mapped_column(String(64), primary_key=True)
    customer_id: Mapped[str | None] = mapped_column(String(64), index=True)
    name: Mapped[str] = mapped_column(Text)
    password: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(8))


class SessionRow(Base):
    """A session. The data base holds the hash of what the browser holds, so that a copy of it opens nothing."""

    __tablename__ = "web_sessions"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    login: Mapped[str] = mapped_column(ForeignKey("web_logins.login"), index=True)
    began_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)


class AttemptRow(Base):
    """An attempt to sign in, kept as failed until it has succeeded."""

    __tablename__ = "web_attempts"
    __table_args__ = (
        Index("ix_web_attempts_login", "login", "at"),
        Index("ix_web_attempts_address", "address", "at"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    login: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))


class WebPaymentRow(Base):
    """A payment asked for at the website, with what stood in its way (`reason` of the utility's refusals, empty if nothing)."""

    __tablename__ = "web_payments"
    payment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[int] = mapped_column(Integer, index=True)
    account_number: Mapped[str] = mapped_column(String(64))
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    reason: Mapped[str] = mapped_column(String(32), default="")
    why: Mapped[str] = mapped_column(Text, default="")
