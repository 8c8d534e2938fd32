"""Tables of what the ADCS has been told to do later or over and over: planned commands, alerts, rules; and its priorities."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class CommandRow(Base):
    """A command planned for a moment; `body` is the request that goes out then."""

    __tablename__ = "adcs_commands"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(16), index=True)
    planned_at: Mapped[datetime]
    due_at: Mapped[datetime]
    message_id: Mapped[int | None] = mapped_column(BigInteger)


class AlertRow(Base):
    """An alert; `next_at` is its next sending, none once it is over."""

    __tablename__ = "adcs_alerts"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    source: Mapped[str] = mapped_column(String(32))
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    text: Mapped[str] = mapped_column(Text)
    priority: Mapped[int | None]
    requested_at: Mapped[datetime]
    starts_at: Mapped[datetime]
    every_s: Mapped[float | None]
    until: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    taken_back_at: Mapped[datetime | None]
    sendings: Mapped[int] = mapped_column(default=0)
    last_message_id: Mapped[int | None] = mapped_column(BigInteger)


class RuleRow(Base):
    """A rule that another system has given; those of the bench file are not kept here."""

    __tablename__ = "adcs_rules"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class RuleStateRow(Base):
    """A rule that is in force at a meter."""

    __tablename__ = "adcs_rule_states"
    rule: Mapped[str] = mapped_column(String(40), primary_key=True)
    meter_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    began_at: Mapped[datetime]


class HeldRow(Base):
    """A message that a rule holds back, and the demand limit that holds instead of it."""

    __tablename__ = "adcs_held"
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    rule: Mapped[str] = mapped_column(String(40))
    limit_message_id: Mapped[int | None] = mapped_column(BigInteger)


@append_only
class RuleLogRow(Base):
    """What a rule did."""

    __tablename__ = "adcs_rule_log"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    rule: Mapped[str] = mapped_column(String(40))
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    what: Mapped[str] = mapped_column(String(16))
    message_id: Mapped[int | None] = mapped_column(BigInteger)


class PriorityRow(Base):
    """A priority that the utility has configured while running; it goes before the bench file's."""

    __tablename__ = "adcs_priorities"
    code: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    priority: Mapped[int]
