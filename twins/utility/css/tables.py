"""Tables of the CSS: customers and accounts, the contact log, payments, the ledger, statements, and the outbox to the ADCS."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from twins.utility.database import Base, append_only, keep_sum


class CustomerRow(Base):
    """A customer; `credential` is hashed (`twins.utility.identity`)."""

    __tablename__ = "css_customers"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    credential: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(8))
    customer_class: Mapped[str] = mapped_column(String(32))


class AccountRow(Base):
    """An account. Energy of intervals that lie in [prepaid_since, prepaid_until) is charged to the balance.

    `replenish_token` stands for the payment data of automatic payments, which the payment processor keeps.
    """

    __tablename__ = "css_accounts"
    number: Mapped[str] = mapped_column(String(64), primary_key=True)
    customer_id: Mapped[str] = mapped_column(ForeignKey("css_customers.id"), index=True)
    meter_id: Mapped[str] = mapped_column(String(32), unique=True)
    service_address: Mapped[str] = mapped_column(Text)
    billing: Mapped[int]
    prepaid_since: Mapped[datetime | None]
    prepaid_until: Mapped[datetime | None]
    at_zero: Mapped[int]
    fallback: Mapped[int]
    auto_replenish_cents: Mapped[int | None]
    replenish_method: Mapped[str | None] = mapped_column(String(16))
    replenish_token: Mapped[str | None] = mapped_column(String(64))
    has_switch: Mapped[bool]
    bill_cycle_day: Mapped[int]
    others_may_prepay: Mapped[bool] = mapped_column(default=False)
    elsewhere: Mapped[bool] = mapped_column(default=False)
    refreshed_at: Mapped[datetime | None]


@append_only
class RequestRow(Base):
    """A customer's request to prepay, or report of no power, as logged. The credential itself is never kept."""

    __tablename__ = "css_requests"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    received_at: Mapped[datetime]
    channel: Mapped[str] = mapped_column(String(16))
    account_numbers: Mapped[list[str]] = mapped_column(JSON)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    name: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    credentials_presented: Mapped[bool]
    location: Mapped[str | None] = mapped_column(String(64))


@append_only
class IdentityCheckRow(Base):
    """An identity check of a request and how it ended."""

    __tablename__ = "css_identity_checks"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    request_id: Mapped[int] = mapped_column(ForeignKey("css_requests.id"), index=True)
    customer_id: Mapped[str | None] = mapped_column(ForeignKey("css_customers.id"))
    confirmed: Mapped[bool]
    why: Mapped[str] = mapped_column(Text)


@append_only
class ContactRow(Base):
    """Anything else that happened between the utility and a customer: estimates told, payments refused, receipts acknowledged."""

    __tablename__ = "css_contacts"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(32))
    account_number: Mapped[str | None] = mapped_column(String(64), index=True)
    detail: Mapped[str] = mapped_column(Text)


class PaymentRow(Base):
    """A payment from the moment it is asked for; `data` is masked. Nobody requested what a pay station passes on or the
    utility draws by itself."""

    __tablename__ = "css_payments"
    payment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_id: Mapped[int | None] = mapped_column(ForeignKey("css_requests.id"))
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    method: Mapped[str | None] = mapped_column(String(16))
    data: Mapped[dict[str, str]] = mapped_column(JSON)
    at_zero: Mapped[int | None]
    booking_id: Mapped[str | None] = mapped_column(String(64), index=True)
    asked_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16), index=True)
    authorization: Mapped[str | None] = mapped_column(String(64))
    why: Mapped[str] = mapped_column(Text, default="")


@append_only
class LedgerRow(Base):
    """One entry of an account's ledger: cents are positive where they add to the balance.

    An entry for energy names its interval, its energy and price, so that the fraction of a cent carried on can be counted.
    An interval that was revised has further entries, each of the energy by which it differs.
    """

    __tablename__ = "css_ledger"
    __table_args__ = (
        UniqueConstraint("kind", "account_number", "reference"),
        Index("ix_css_ledger_account_number_interval_ends_at", "account_number", "interval_ends_at"),
        Index("ix_css_ledger_account_number_kind_id", "account_number", "kind", "id"),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    cents: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str] = mapped_column(String(80))
    interval_ends_at: Mapped[datetime | None]
    energy_mwh: Mapped[int | None] = mapped_column(BigInteger)
    price_millicents_per_kwh: Mapped[int | None]
    carried: Mapped[int] = mapped_column(BigInteger, default=0)


class AccountBalanceRow(Base):
    """The sum of an account's ledger, which the database itself keeps with every entry (`database.keep_sum`)."""

    __tablename__ = "css_balances"
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), primary_key=True)
    cents: Mapped[int] = mapped_column(BigInteger)


keep_sum(LedgerRow, AccountBalanceRow, key="account_number", value="cents")


@append_only
class PostingRow(Base):
    """A payment as posted to its account; one for an event is linked to the account of the facility."""

    __tablename__ = "css_postings"
    payment_id: Mapped[str] = mapped_column(ForeignKey("css_payments.payment_id"), primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    ledger_id: Mapped[int] = mapped_column(ForeignKey("css_ledger.id"), unique=True)
    amount_cents: Mapped[int] = mapped_column(BigInteger)
    balance_cents: Mapped[int] = mapped_column(BigInteger)
    at_zero: Mapped[int | None]
    posted_at: Mapped[datetime]
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    booking_id: Mapped[str | None] = mapped_column(String(64), index=True)
    linked_account: Mapped[str | None] = mapped_column(ForeignKey("css_accounts.number"))


@append_only
class StatementRow(Base):
    """What the meter is told of an account, with the tariff and the consumption profile it was derived from."""

    __tablename__ = "css_statements"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    at: Mapped[datetime]
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    balance_cents: Mapped[int] = mapped_column(BigInteger)
    credit_wh: Mapped[int] = mapped_column(BigInteger)
    tariff: Mapped[str] = mapped_column(String(64))
    price_millicents_per_kwh: Mapped[int]
    profile_wh: Mapped[list[float]] = mapped_column(JSON)
    profile_from: Mapped[datetime | None]
    profile_to: Mapped[datetime | None]
    zero_at: Mapped[datetime]


class OutboxRow(Base):
    """A command to the ADCS, committed together with what gave rise to it. Its message id is its own for ever."""

    __tablename__ = "css_outbox"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    account_number: Mapped[str] = mapped_column(ForeignKey("css_accounts.number"), index=True)
    message_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    code: Mapped[int]
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]


@append_only
class AcknowledgementRow(Base):
    """A representative has seen the confirmation of a payment."""

    __tablename__ = "css_acknowledgements"
    payment_id: Mapped[str] = mapped_column(ForeignKey("css_payments.payment_id"), primary_key=True)
    at: Mapped[datetime]
    representative: Mapped[str] = mapped_column(Text)
