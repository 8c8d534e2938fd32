"""What goes into the trouble path of the CSS and what it tells: reports, their progress, what was prepaid, tests, orders."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime

from drivers.roles import MessageCode, MeterTestResult, ReceiptStatus


@dataclass(frozen=True)
class NoPower:
    """A customer reports that there is no power, `since` when where they know."""

    account_number: str
    name: str
    address: str
    text: str
    credential: str | None = field(default=None, repr=False)
    since: datetime | None = None
    channel: str = "phone"


class ReportState(enum.StrEnum):
    """How far a report is."""

    LOGGED = "logged"
    IDENTIFIED = "identified"
    TESTING = "testing"
    PASSED = "passed"  # the meter test
    ACTIVATING = "activating"
    ACTIVATED = "activated"  # the meter has power at its load side; the customer has not said so yet
    ORDERED = "ordered"  # a field order and a trouble order are issued
    RESTORED = "restored"  # the customer has power again: the report is closed


@dataclass(frozen=True)
class ReportEntry:
    """A line of a report's progress, for the customer as for the representative."""

    at: datetime
    state: ReportState
    by: str
    note: str


@dataclass(frozen=True)
class Report:
    """A report of no power as the CSS has logged it, with its progress, oldest line first."""

    report_id: int
    request_id: int
    account_number: str
    name: str
    address: str
    channel: str
    reported_at: datetime
    since: datetime | None
    text: str
    credentials_presented: bool
    state: ReportState
    closed_at: datetime | None
    progress: tuple[ReportEntry, ...]


@dataclass(frozen=True)
class ServiceRecord:
    """What was prepaid, and whether the command to energise was sent and confirmed; None where there is none of it.

    `amount_cents` and `paid_at` are the latest payment's, `commanded_at` is when the ADCS was asked, `sent_at` when it first
    sent the message to the meter, `receipt` how the meter confirmed it.
    """

    account_number: str
    balance_cents: int
    amount_cents: int | None
    paid_at: datetime | None
    activation: MessageCode | None
    message_id: int | None
    commanded_at: datetime | None
    sent_at: datetime | None
    receipt: ReceiptStatus | None

    @property
    def activation_sent(self) -> bool:
        """Whether the command to energise has gone to the meter."""
        return self.sent_at is not None


class CheckKind(enum.StrEnum):
    """What is sent to a meter for a report."""

    TEST = "test"
    ACTIVATION = "activation"
    RETEST = "retest"  # after an activation, by itself


@dataclass(frozen=True)
class Check:
    """A test or re-activation for a report. `passed` is None until it is decided; `result` is a test's as the MDMS has it."""

    message_id: int
    kind: CheckKind
    requested_at: datetime
    requested_by: str
    deadline: datetime
    decided_at: datetime | None
    passed: bool | None
    why: str
    result: MeterTestResult | None


class Role(enum.StrEnum):
    """What somebody of the utility's staff may do."""

    REPRESENTATIVE = "representative"
    FIELD_CREW = "field crew"
    METER_SHOP = "meter shop"
    SUPERVISOR = "supervisor"
    SYSTEM = "system"


@dataclass(frozen=True)
class Staff:
    """Somebody of the utility's staff, as whoever calls has made sure of."""

    name: str
    role: Role


class OrderKind(enum.StrEnum):
    """What an order is for."""

    FIELD = "field"  # activate the service on site
    TROUBLE = "trouble"  # look after the meter


class OrderState(enum.StrEnum):
    """How far an order is."""

    ISSUED = "issued"
    ASSIGNED = "assigned"
    UNDER_WAY = "under way"
    CLOSED = "closed"
    REOPENED = "reopened"


@dataclass(frozen=True)
class OrderEntry:
    """A line of an order's history."""

    at: datetime
    state: OrderState
    by: str
    role: Role
    note: str


@dataclass(frozen=True)
class Order:
    """A field order or a trouble order with its history, oldest line first; `report_ids` are the reports that it covers."""

    order_id: int
    kind: OrderKind
    account_number: str
    meter_id: str
    address: str
    state: OrderState
    issued_at: datetime
    assigned_to: str | None
    closed_at: datetime | None
    report_ids: tuple[int, ...]
    history: tuple[OrderEntry, ...]
