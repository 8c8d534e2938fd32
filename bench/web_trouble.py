"""What a representative does at the website for a customer who has no power. What comes back is what pages show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.browsing import Browsing, Shown
from bench.prepaying import Prepaying


@dataclass(frozen=True)
class Reported:
    """A report as logged, and how far it is."""

    account_number: str | None
    name: str | None
    address: str | None
    since: datetime | None
    text: str | None
    credentials_presented: str | None
    state: str
    closed_at: datetime | None


@dataclass(frozen=True)
class Confirmed:
    """Customer data as shown once the identity of who reports is confirmed."""

    name: str | None
    address: str | None
    account_numbers: str | None
    credentials_confirmed: str | None


@dataclass(frozen=True)
class Prepaid:
    """What was prepaid, and the command to energise that was sent for it."""

    amount_cents: int | None
    activation: str | None
    message_id: int | None
    sent_at: datetime | None

    @property
    def activation_sent(self) -> bool:
        """Whether the command to energise has gone to the meter."""
        return self.sent_at is not None


@dataclass(frozen=True)
class Result:
    """Results of a meter test."""

    connected: str | None
    switch: str | None
    energised: str | None
    load_side_voltage_v: str | None
    load_side_current_a: str | None


@dataclass(frozen=True)
class Checked:
    """A test or re-activation; `passed` is None until it is decided."""

    message_id: int | None
    passed: bool | None
    result: Result


@dataclass(frozen=True)
class Ordered:
    """A field order or a trouble order."""

    kind: str
    account_number: str | None
    meter_id: str | None
    address: str | None
    issued_at: datetime | None
    history: Sequence[object]


class OutageDesk:
    """A representative who has signed in. Each method returns None where the website says no."""

    def __init__(self, case: Prepaying, browsing: Browsing) -> None:
        self._case = case
        self._browsing = browsing

    def log(self, text: str, since: datetime) -> int | None:
        """Log what the customer reports; returns the report's id."""
        case = self._case
        told = case.account.number, case.customer.name, case.customer.address, text
        page = self._browsing.log_outage(*told, since.astimezone(case.bench.config.utility.zone))
        return page.whole("report_id")

    def identify(self, report: int, credential: str) -> Confirmed | None:
        """Confirm who reports; customer data back."""
        page = self._browsing.identify_outage(report, credential)
        if self._browsing.reason():
            return None
        return Confirmed(*(page.text(name) for name in Confirmed.__dataclass_fields__))

    def service_record(self, report: int) -> Prepaid:
        """Look up what was prepaid, and whether the command to energise was sent."""
        return _prepaid(self._browsing.outage(report))

    def test(self, report: int) -> int | None:
        """Have the meter tested; returns the message id."""
        return self._sent(report, "test")

    def activate(self, report: int) -> int | None:
        """Have the service activated again; returns the message id."""
        return self._sent(report, "activate")

    def _sent(self, report: int, action: str) -> int | None:
        self._browsing.act_on_outage(report, action)
        checks = self._shown_checks()
        return None if self._browsing.reason() or not checks else checks[-1].message_id

    def checks(self, report: int) -> Sequence[Checked]:
        """See tests and activations, and their results."""
        self._browsing.outage(report)
        return self._shown_checks()

    def _shown_checks(self) -> Sequence[Checked]:
        return [_checked(part) for part in self._browsing.parts("[data-check]")]

    def still_no_power(self, report: int) -> Reported | None:
        """Pass on that the customer still has no power."""
        return self._said(report, "still-no-power")

    def restored(self, report: int) -> Reported | None:
        """Pass on that the customer has power again."""
        return self._said(report, "restored")

    def _said(self, report: int, action: str) -> Reported | None:
        page = self._browsing.act_on_outage(report, action)
        return None if self._browsing.reason() else self._reported(page)

    def report(self, report: int) -> Reported:
        """See a report with its progress."""
        return self._reported(self._browsing.outage(report))

    def _reported(self, page: Shown) -> Reported:
        return Reported(
            page.text("account_number"),
            page.text("reported_name"),
            page.text("reported_address"),
            page.moment("since"),
            page.text("text"),
            page.text("credentials_presented"),
            self._browsing.state(),
            page.moment("closed_at"),
        )

    def orders(self, report: int) -> Sequence[Ordered]:
        """See the orders that a report has led to, each on its page."""
        self._browsing.outage(report)
        found = []
        for kind, path in self._browsing.orders():
            page = self._browsing.go(path)
            known = page.text("account_number"), page.text("meter_id"), page.text("address"), page.moment("issued_at")
            found.append(Ordered(kind, *known, self._browsing.spans("progress")))
        return found


def _prepaid(page: Shown) -> Prepaid:
    return Prepaid(
        page.cents("amount"),
        page.text("activation"),
        page.whole("message_id"),
        page.moment("sent_at"),
    )


def _checked(part: Shown) -> Checked:
    said = {text for name, text in part.fields.items() if name.startswith("check_")}
    passed = True if "Passed" in said else False if "Failed" in said else None
    results = (part.text(name) for name in ("connected", "switch", "energised", *(f"load_side_{x}" for x in _MEASURED)))
    return Checked(part.whole("sent_as"), passed, Result(*results))


_MEASURED = ("voltage", "current")
