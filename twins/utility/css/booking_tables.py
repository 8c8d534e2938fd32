"""Tables of bookings: the events, their purses, and the orders for the ADCS."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only


class BookingRow(Base):
    """A booking and how far it has come. `told_at`: when the meter was told the credit at the event's start."""

    __tablename__ = "css_bookings"
    booking_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("css_requests.id"))
    programme: Mapped[str] = mapped_column(String(1))
    payer: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    location: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(16))
    booked_at: Mapped[datetime]
    hold_until: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), index=True)
    event_id: Mapped[int | None] = mapped_column(BigInteger, unique=True)
    ended_at: Mapped[datetime | None]
    zero_at: Mapped[datetime | None]
    told_at: Mapped[datetime | None]
    over_at: Mapped[datetime | None]
    why: Mapped[str] = mapped_column(Text, default="")


@append_only
class PurseRow(Base):
    """One entry of an event's purse: cents are positive where they add to it.

    An entry for energy names its interval, the event's share of the energy in it, the price and the fraction of a cent
    carried on; what the purse could not pay of it stands in the payer's ledger. An interval that was revised has further
    entries, each of the energy by which its share differs.
    """

    __tablename__ = "css_purses"
    __table_args__ = (
        UniqueConstraint("booking_id", "kind", "reference"),
        Index("ix_css_purses_booking_id_interval_ends_at", "booking_id", "interval_ends_at"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    booking_id: Mapped[str] = mapped_column(ForeignKey("css_bookings.booking_id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    cents: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str] = mapped_column(String(80))
    interval_ends_at: Mapped[datetime | None]
    energy_mwh: Mapped[int | None] = mapped_column(BigInteger)
    price_millicents_per_kwh: Mapped[int | None]
    carried: Mapped[int] = mapped_column(BigInteger, default=0)


class OrderRow(Base):
    """An order to the ADCS, committed with what gave rise to it: put event `event_id` on the schedule, or take it off."""

    __tablename__ = "css_event_orders"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    booking_id: Mapped[str] = mapped_column(ForeignKey("css_bookings.booking_id"), index=True)
    event_id: Mapped[int] = mapped_column(BigInteger)
    puts_on: Mapped[bool]
    replaces: Mapped[int | None] = mapped_column(BigInteger)
    credit_wh: Mapped[int] = mapped_column(BigInteger)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
