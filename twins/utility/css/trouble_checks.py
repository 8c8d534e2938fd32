"""Meter tests and re-activations for reports of no power, and the orders that follow where they fail (steps S6.04 to S6.10)."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, MessageCode, MeterTestResult, ReceiptStatus, Switch
from twins.clock import Timer
from twins.utility.adcs_records import Request
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.orders import Orders
from twins.utility.css.tables import AccountRow
from twins.utility.css.trouble_records import Check, CheckKind, OrderKind, ReportState
from twins.utility.css.trouble_reports import open_row, row_of, write
from twins.utility.css.trouble_tables import CheckRow, ReportRow
from twins.utility.database import table_of
from twins.utility.mdms import Kind

_CHECKS = table_of(CheckRow).c
_WAITS = (
    select(_CHECKS.message_id).where(_CHECKS.meter_id == bindparam("meter_id"), _CHECKS.decided_at.is_(None)).limit(1)
)
"""Made once, for every receipt of every meter asks it."""
_DONE = (ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE)
_CSS = "CSS"


def fault_in(result: MeterTestResult) -> str:
    """What a test result tells against the meter, nothing where the meter is in order: a service that is off is no fault."""
    live = is_live(result)
    if not result.connected:
        return "the meter is not connected"
    if result.switch in (Switch.CLOSED, Switch.NONE) and not live:
        return f"the switch is {result.switch.name.lower()} and there is no voltage at the load side"
    if result.switch in (Switch.OPEN, Switch.TRIPPED) and live:
        return f"the switch is {result.switch.name.lower()} and there is voltage at the load side"
    return ""


def is_live(result: MeterTestResult) -> bool:
    """Whether a test found the load side energised."""
    return result.energised and result.load_side_voltage_v > 0


class TroubleChecks(Part):
    """What is sent to a meter for a report, until it is decided."""

    def __init__(
        self, context: Context, customers: Customers, estimates: Estimates, commands: Commands, orders: Orders
    ) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._orders = orders
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Go on with what was waiting for a meter."""
        self._mdms.subscribe(self._published)
        with Session(self._engine) as session:
            waiting = session.scalars(select(CheckRow).where(CheckRow.decided_at.is_(None))).all()
        for check in waiting:
            self._arm(check.meter_id, check.deadline)
        for meter_id in dict.fromkeys(check.meter_id for check in waiting):
            self._look(meter_id)

    def close(self) -> None:
        """Wait for nothing more."""
        for timer in self._timers:
            timer.cancel()

    def checks(self, report_id: int) -> tuple[Check, ...]:
        """Tests and activations for a report, by message id. NotAccepted for an unknown report."""
        with Session(self._engine) as session:
            row_of(session, report_id)
            rows = session.scalars(
                select(CheckRow).where(CheckRow.report_id == report_id).order_by(CheckRow.message_id)
            ).all()
        results = {row.meter_id: self._results(row.meter_id) for row in rows}
        return tuple(_check(row, results[row.meter_id].get(row.message_id)) for row in rows)

    def send(self, report_id: int, account: AccountRow, kind: CheckKind, by: str, note: str) -> int:
        """Send a meter what a check is made with, through the outbox; returns the message id."""
        message_id = self._adcs.new_message_id()
        statement = None
        if kind is CheckKind.ACTIVATION and Billing(account.billing) is Billing.PREPAID:
            statement = self._estimates.state(account, self._estimates.balance_cents(account.number), message_id)
        activates = kind is CheckKind.ACTIVATION
        now = self._clock.now()
        config = self._config.trouble
        deadline = now + timedelta(seconds=config.activation_timeout_s if activates else config.test_timeout_s)
        with Session(self._engine) as session, session.begin():
            row = open_row(session, report_id)
            session.add(
                CheckRow(
                    message_id=message_id,
                    report_id=report_id,
                    meter_id=account.meter_id,
                    kind=kind,
                    requested_at=now,
                    requested_by=by,
                    deadline=deadline,
                )
            )
            write(
                session, row, self._clock.now(), ReportState.ACTIVATING if activates else ReportState.TESTING, by, note
            )
            if ("never_activates" if activates else "never_tests") not in self._defects:
                if statement is not None:
                    option = AtZero(account.at_zero)
                    self._commands.command(session, account, message_id, MessageCode.PREPAYMENT, statement, option)
                else:
                    code = MessageCode.CONNECT if activates else MessageCode.TEST
                    self._commands.put_out(session, account, Request("css", account.meter_id, code, message_id))
        self._commands.wake()
        self._arm(account.meter_id, deadline)
        return message_id

    def _arm(self, meter_id: str, deadline: datetime) -> None:
        now = self._clock.now()
        self._timers = [timer for timer in self._timers if timer.when > now]
        self._timers.append(self._clock.call_at(max(now, deadline), self._look, meter_id))

    def _published(self, kind: Kind, meter_id: str) -> None:
        if kind in (Kind.TEST, Kind.RECEIPT):
            self._look(meter_id)

    def _look(self, meter_id: str) -> None:
        """Decide what was waiting for a meter, as far as it can be decided now."""
        with self._engine.connect() as connection:
            if connection.scalar(_WAITS, {"meter_id": meter_id}) is None:
                return
        with Session(self._engine) as session:
            waiting = session.scalars(
                select(CheckRow)
                .where(CheckRow.meter_id == meter_id, CheckRow.decided_at.is_(None))
                .order_by(CheckRow.message_id)
            ).all()
        results = self._results(meter_id)
        for check in waiting:
            if check.kind == CheckKind.ACTIVATION:
                self._decide_activation(check)
            else:
                self._decide_test(check, results.get(check.message_id))

    def _decide_test(self, check: CheckRow, result: MeterTestResult | None) -> None:
        why = ""
        if result is None:
            if self._clock.now() < check.deadline:
                return
            if "passes_silent_meters" not in self._defects:
                why = f"the meter has not answered a test within {check.deadline - check.requested_at}"
        else:
            why = fault_in(result)
            if not why and check.kind == CheckKind.RETEST and not is_live(result):
                why = "no voltage at the load side after re-activation"
        if why:
            self._decided(check, False, why, ReportState.ORDERED)
        elif check.kind == CheckKind.RETEST:
            self._decided(check, True, "the meter has power at its load side", ReportState.ACTIVATED)
        else:
            self._decided(check, True, "the meter has passed the test", ReportState.PASSED)

    def _decide_activation(self, check: CheckRow) -> None:
        statuses = {stored.value.status for stored in self._mdms.receipts(check.meter_id, check.message_id)}
        if statuses.intersection(_DONE):
            self._decided(check, True, "the meter has confirmed the re-activation", ReportState.ACTIVATING)
            with Session(self._engine) as session:
                report = row_of(session, check.report_id)
            if report.closed_at is None:
                account = self._customers.account(report.account_number)
                self.send(check.report_id, account, CheckKind.RETEST, _CSS, "meter test after re-activation")
        elif statuses:
            said = ", ".join(sorted(status.name.lower() for status in statuses))
            self._decided(check, False, f"the meter says of the re-activation: {said}", ReportState.ORDERED)
        elif self._clock.now() >= check.deadline:
            span = check.deadline - check.requested_at
            self._decided(
                check, False, f"the meter has not confirmed the re-activation within {span}", ReportState.ORDERED
            )

    def _decided(self, check: CheckRow, passed: bool, why: str, state: ReportState) -> None:
        """Write down how a check has ended. What failed leads to orders, unless the customer has power meanwhile."""
        with Session(self._engine) as session:
            account = session.get_one(AccountRow, row_of(session, check.report_id).account_number)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(CheckRow, check.message_id)
            row.decided_at, row.passed, row.why = self._clock.now(), passed, why
            report = row_of(session, check.report_id)
            if report.closed_at is not None:
                write(session, report, self._clock.now(), ReportState(report.state), _CSS, why)
            elif state is ReportState.ORDERED:
                self.order(session, report, account, why)
            else:
                write(session, report, self._clock.now(), state, _CSS, why)

    def order(self, session: Session, report: ReportRow, account: AccountRow, why: str) -> None:
        """Issue what orders a report has not got yet, or reopen them."""
        unissued = {
            OrderKind.FIELD: "issues_no_field_order",
            OrderKind.TROUBLE: "issues_no_trouble_order",
        }
        issued = [
            f"{kind.value} order {self._orders.issue(session, account, report.id, kind, why)}"
            for kind in OrderKind
            if unissued[kind] not in self._defects
        ]
        write(session, report, self._clock.now(), ReportState.ORDERED, _CSS, f"{why}: {', '.join(issued)}")

    def _results(self, meter_id: str) -> dict[int, MeterTestResult]:
        found = {stored.value.message_id: stored.value for stored in self._mdms.test_results(meter_id)}
        if "test_result_without_current" in self._defects:
            return {m: dataclasses.replace(r, load_side_current_a=None) for m, r in found.items()}  # type: ignore[arg-type]
        return found


def _check(row: CheckRow, result: MeterTestResult | None) -> Check:
    return Check(
        message_id=row.message_id,
        kind=CheckKind(row.kind),
        requested_at=row.requested_at,
        requested_by=row.requested_by,
        deadline=row.deadline,
        decided_at=row.decided_at,
        passed=row.passed,
        why=row.why,
        result=result,
    )
