"""Tables of the CSS about balances near zero: how each account stands, and what was done about it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class WatchRow(Base):
    """How an account's balance stands, and when it is looked at next.

    `outcome` is what was done at zero, by message `message_id`, as long as it lasts; `tried` counts automatic payments since
    the balance was last above its threshold.
    """

    __tablename__ = "css_watches"
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), primary_key=True)
    stage: Mapped[str] = mapped_column(String(8))
    look_at: Mapped[datetime | None] = mapped_column(index=True)
    outcome: Mapped[int | None]
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    tried: Mapped[int] = mapped_column(default=0)


@append_only
class WatchEventRow(Base):
    """Something that happened to an account's balance near zero, with balance and forecast of that moment."""

    __tablename__ = "css_watch_events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    balance_cents: Mapped[int] = mapped_column(BigInteger)
    time_left_s: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text)
