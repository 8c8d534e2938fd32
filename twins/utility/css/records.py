"""What goes into the CSS and what it tells: requests, customer data, estimates, payments, confirmations, the account page."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from drivers.roles import AtZero, Billing, Interval, MessageCode, Receipt
from twins.utility.adcs_records import Request
from twins.utility.consumption import DayUsage
from twins.utility.payments import PaymentMeans, PaymentMethod


@dataclass(frozen=True)
class PrepayRequest:
    """A customer asks to prepay. Without a time frame it runs from now through the next bill cycle."""

    account_numbers: tuple[str, ...]
    name: str
    address: str
    credential: str | None = field(default=None, repr=False)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    channel: str = "phone"


@dataclass(frozen=True)
class LoggedRequest:
    """A request as the CSS has logged it."""

    request_id: int
    received_at: datetime
    channel: str
    account_numbers: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    name: str
    address: str
    credentials_presented: bool
    location: str | None = None


@dataclass(frozen=True)
class IdentityCheck:
    """An identity check as the CSS has logged it."""

    at: datetime
    request_id: int
    customer_id: str | None
    confirmed: bool
    why: str


@dataclass(frozen=True)
class AccountData:
    """An account as a representative sees it."""

    number: str
    meter_id: str
    service_address: str
    billing: Billing
    at_zero: AtZero
    fallback: AtZero


@dataclass(frozen=True)
class CustomerData:
    """Customer data back to the representative, with what was asked for."""

    customer_id: str
    name: str
    address: str
    language: str
    customer_class: str
    accounts: tuple[AccountData, ...]
    account_numbers: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    credentials_confirmed: bool


@dataclass(frozen=True)
class Holder:
    """A customer and their accounts, by number."""

    customer_id: str
    name: str
    address: str
    language: str
    customer_class: str
    accounts: tuple[AccountData, ...]


@dataclass(frozen=True)
class Found:
    """An account that a search has found."""

    account_number: str
    customer_name: str
    service_address: str


@dataclass(frozen=True)
class Estimate:
    """What the service will take in [starts_at, ends_at), and the history that says so.

    `energy_wh` and `cost_cents` are for the whole time frame, `amount_cents` is what has to be paid on top of the
    balance, at least the minimum payment where anything.
    """

    account_number: str
    starts_at: datetime
    ends_at: datetime
    history: tuple[DayUsage, ...]
    daily_average_wh: float
    energy_wh: float
    price_millicents_per_kwh: int
    cost_cents: int
    balance_cents: int
    amount_cents: int


@dataclass(frozen=True)
class Payment:
    """A payment as the customer gives it. The same `payment_id` again is the same payment.

    Without `at_zero` the account keeps its option. With `booking_id` it pays for that event, and not for service. `request_id`
    is None where nobody requested it.
    """

    payment_id: str
    request_id: int | None
    account_number: str
    amount_cents: int
    means: PaymentMeans
    at_zero: AtZero | None = None
    booking_id: str | None = None


@dataclass(frozen=True)
class StationPayment:
    """What a pay station has taken from somebody for an account, under the number of its receipt."""

    station: str
    receipt: str
    account_number: str
    amount_cents: int
    taken_at: datetime


class PaymentState(enum.StrEnum):
    """How far a payment has come."""

    PENDING = "pending"  # the processor has not answered yet
    DECLINED = "declined"
    POSTED = "posted"


@dataclass(frozen=True)
class LoggedPayment:
    """A payment as the CSS has logged it; `data` is masked. `request_id` is None where nobody requested it."""

    payment_id: str
    request_id: int | None
    account_number: str
    amount_cents: int
    method: PaymentMethod | None
    data: Mapping[str, str]
    at_zero: AtZero | None
    asked_at: datetime
    state: PaymentState
    authorization: str | None
    why: str
    booking_id: str | None = None


@dataclass(frozen=True)
class Posting:
    """A payment posted to its account. `repeated` is true where it had been posted before and nothing was done.

    One for an event names the booking, and the account of the facility that it is linked to.
    """

    payment_id: str
    account_number: str
    amount_cents: int
    at_zero: AtZero | None
    balance_cents: int
    posted_at: datetime
    authorization: str | None
    message_id: int | None
    booking_id: str | None = None
    linked_account: str | None = None
    repeated: bool = field(default=False, compare=False)


class Entry(enum.StrEnum):
    """Kinds of ledger entries."""

    OPENING = "opening"
    PAYMENT = "payment"
    ENERGY = "energy"
    REFUND = "refund"
    TO_EVENT = "to_event"  # into the purse of an event
    FROM_EVENT = "from_event"  # what was left there
    EVENT_ENERGY = "event_energy"  # what the purse could not pay


@dataclass(frozen=True)
class LedgerEntry:
    """An entry of the ledger; cents are positive where they add to the balance."""

    entry_id: int
    at: datetime
    kind: Entry
    cents: int
    reference: str


@dataclass(frozen=True)
class Statement:
    """Balance in dollars, kWh and time, with the tariff and the consumption profile that say so.

    `profile_from` and `profile_to` are None where there is no history and the profile is that of a class of customers.
    """

    at: datetime
    message_id: int | None
    balance_cents: int
    credit_wh: int
    tariff: str
    price_millicents_per_kwh: int
    profile_wh: tuple[float, ...]
    profile_from: datetime | None
    profile_to: datetime | None
    zero_at: datetime

    @property
    def time_left(self) -> timedelta:
        """How long the credit lasts by the profile, in whole seconds; nothing where it should have been used up before."""
        return timedelta(seconds=max(0, (self.zero_at - self.at) // timedelta(seconds=1)))


@dataclass(frozen=True)
class Command:
    """A command of the CSS to the ADCS, with what it asks for; `submitted_at` is None until the ADCS has it."""

    message_id: int
    code: MessageCode
    created_at: datetime
    submitted_at: datetime | None
    request: Request


@dataclass(frozen=True)
class Confirmation:
    """The meter's receipt for a payment, as the representative sees it."""

    payment_id: str
    message_id: int | None
    receipt: Receipt | None
    successful: bool
    available_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@dataclass(frozen=True)
class AccountPage:
    """What the customer sees of their account: balance, time left, daily average, usage by day and by interval."""

    account_number: str
    customer_name: str
    language: str
    billing: Billing
    at_zero: AtZero
    balance_cents: int
    credit_wh: int
    time_left: timedelta
    zero_at: datetime
    price_millicents_per_kwh: int
    updated_at: datetime | None
    daily_average_wh: float | None
    days: tuple[DayUsage, ...]
    intervals: tuple[Interval, ...]


@dataclass(frozen=True)
class Contact:
    """A line of the contact log."""

    at: datetime
    kind: str
    account_number: str | None
    detail: str


class Stage(enum.StrEnum):
    """How a prepaid balance stands."""

    ABOVE = "above"  # its threshold of service left
    NEAR = "near"  # zero: at the threshold or below
    USED_UP = "used up"


class BalanceEventKind(enum.StrEnum):
    """What can happen to a balance near zero."""

    THRESHOLD = "threshold"  # the time left has come down to the threshold
    ZERO = "zero"
    REPLENISH = "replenish"  # an automatic payment is tried
    NOT_REPLENISHED = "not replenished"
    NOT_POSSIBLE = "not possible"  # an option at zero cannot be had: its fallback is taken
    OUTCOME = "outcome"
    RECOVERED = "recovered"  # above the threshold again, or above zero
    CONVERTED = "converted"  # regular billing has begun


@dataclass(frozen=True)
class BalanceEvent:
    """Something that happened to a balance near zero, with balance and time left as they were then."""

    at: datetime
    kind: BalanceEventKind
    balance_cents: int
    time_left: timedelta
    detail: str
