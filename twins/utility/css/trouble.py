"""The customer has prepaid and has no power (C3, scenario 6): report, verification, meter test, re-activation, and orders.

Whatever fails on the way, or power that does not come back, leads to a field order and a trouble order without anybody asking
for them.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from drivers.roles import Billing, MessageCode
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.orders import Orders
from twins.utility.css.paying import Paying
from twins.utility.css.records import CustomerData
from twins.utility.css.tables import AccountRow, RequestRow
from twins.utility.css.texts import taken
from twins.utility.css.trouble_checks import TroubleChecks, is_live
from twins.utility.css.trouble_records import Check, CheckKind, NoPower, Report, ReportState, ServiceRecord
from twins.utility.css.trouble_reports import open_row, report_of, row_of, write
from twins.utility.css.trouble_tables import ReportRow
from twins.utility.errors import NotAccepted, Reason

_TESTS = (CheckKind.TEST, CheckKind.RETEST)


class Trouble(Part):
    """Reports of no power."""

    def __init__(
        self,
        context: Context,
        customers: Customers,
        estimates: Estimates,
        commands: Commands,
        paying: Paying,
        orders: Orders,
    ) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._paying = paying
        self._made = TroubleChecks(context, customers, estimates, commands, orders)

    def start(self) -> None:
        """Go on with what was waiting for a meter."""
        self._made.start()

    def close(self) -> None:
        """Wait for nothing more."""
        self._made.close()

    # --- S6.01 to S6.03: the report, who makes it, what was prepaid ---

    def log(self, told: NoPower) -> int:
        """Log a report of no power; returns its id. NotAccepted for a text not taken, or a `since` that is to come."""
        now = self._clock.now()
        text = taken(told.text, self._config.trouble.longest_text)
        if told.since is not None and told.since > now:
            raise NotAccepted(
                Reason.TIME_FRAME,
                f"CSS: no power since {told.since.isoformat()}, which is to come; leave the time out where it is not known",
            )
        request = RequestRow(
            received_at=now,
            channel=taken(told.channel, 16),
            account_numbers=[taken(told.account_number, 64)],
            starts_at=None,
            ends_at=None,
            name=taken(told.name, 200),
            address=taken(told.address, 500),
            credentials_presented=bool(told.credential),
        )
        with Session(self._engine) as session, session.begin():
            session.add(request)
            session.flush()
            row = ReportRow(
                request_id=request.id,
                account_number=request.account_numbers[0],
                reported_at=now,
                since=None if "report_without_since" in self._defects else told.since,
                text=text,
                state=ReportState.LOGGED,
            )
            session.add(row)
            session.flush()
            write(session, row, self._clock.now(), ReportState.LOGGED, "customer", text)
            return row.id

    def identify(self, report_id: int, credential: str, by: str = "representative") -> CustomerData:
        """Confirm the identity of who made a report; customer data back. NotAccepted as for a request to prepay."""
        by = taken(by, 200)
        with Session(self._engine) as session:
            row = open_row(session, report_id)
        data = self._customers.identify(row.request_id, credential)
        if row.state == ReportState.LOGGED:
            with Session(self._engine) as session, session.begin():
                write(
                    session,
                    open_row(session, report_id),
                    self._clock.now(),
                    ReportState.IDENTIFIED,
                    by,
                    "identity confirmed",
                )
        return data

    def service_record(self, report_id: int) -> ServiceRecord:
        """What was prepaid for the account of a report, and whether the command to energise was sent.

        NotAccepted for an unknown report, or where the identity is not confirmed.
        """
        _, account = self._confirmed(report_id)
        postings = self._paying.postings(account.number)
        latest = postings[-1] if postings else None
        codes = (MessageCode.PREPAYMENT, MessageCode.CONNECT)
        commands = [c for c in self._commands.commands(account.number) if c.code in codes]
        if "shows_no_activation" in self._defects:
            commands = []
        command = commands[-1] if commands else None
        sent_at, receipt = None, None
        if command is not None and command.submitted_at is not None:
            message = self._adcs.message(command.message_id)
            sent_at, receipt = message.first_sent_at, message.receipt_status
        return ServiceRecord(
            account_number=account.number,
            balance_cents=self._estimates.balance_cents(account.number),
            amount_cents=None if latest is None else latest.amount_cents,
            paid_at=None if latest is None else latest.posted_at,
            activation=None if command is None else command.code,
            message_id=None if command is None else command.message_id,
            commanded_at=None if command is None else command.submitted_at,
            sent_at=sent_at,
            receipt=receipt,
        )

    # --- S6.04 to S6.09: test and re-activation ---

    def test(self, report_id: int, by: str = "representative") -> int:
        """Have the meter tested; returns the message id. NotAccepted where the identity is not confirmed, the report is
        closed, or another test or activation is under way."""
        row, account = self._confirmed(report_id)
        self._expect_idle(report_id)
        return self._made.send(row.id, account, CheckKind.TEST, taken(by, 200), "meter test requested")

    def activate(self, report_id: int, by: str = "representative") -> int:
        """Have the service activated again, which the meter is then tested for; returns the message id.

        NotAccepted as for `test`, where the meter has not passed a test, or where nothing is left of what was prepaid.
        """
        row, account = self._confirmed(report_id)
        self._expect_idle(report_id)
        tests = [c for c in self.checks(report_id) if c.kind in _TESTS]
        if not tests or not tests[-1].passed:
            raise NotAccepted(
                Reason.NOT_POSSIBLE_NOW, f"CSS: report {report_id}: the meter has not passed a test; test it first"
            )
        if Billing(account.billing) is Billing.PREPAID and self._estimates.balance_cents(account.number) <= 0:
            raise NotAccepted(
                Reason.NOTHING_PREPAID,
                f"CSS: account {account.number} has nothing left of what was prepaid; ask the customer for a payment",
            )
        return self._made.send(row.id, account, CheckKind.ACTIVATION, taken(by, 200), "re-activation requested")

    def checks(self, report_id: int) -> tuple[Check, ...]:
        """Tests and activations for a report, by message id. NotAccepted for an unknown report."""
        return self._made.checks(report_id)

    # --- S6.10: what the customer says, and what follows ---

    def still_no_power(self, report_id: int, by: str = "representative", note: str = "still no power") -> Report:
        """The customer still has no power: field order and trouble order are issued, or reopened.

        NotAccepted where the identity is not confirmed, the report is closed, a test or activation is under way, or what
        is to be tried from afar has not been tried.
        """
        by, note = taken(by, 200), taken(note, self._config.trouble.longest_text)
        _, account = self._confirmed(report_id)
        self._expect_idle(report_id)
        made = self.checks(report_id)
        off = [c for c in made if c.kind in _TESTS and c.passed and c.result is not None and not is_live(c.result)]
        if not made or (off and off[-1] is made[-1]):
            raise NotAccepted(
                Reason.NOT_POSSIBLE_NOW,
                f"CSS: report {report_id}: {'re-activate the service' if made else 'test the meter'} first",
            )
        with Session(self._engine) as session, session.begin():
            row = open_row(session, report_id)
            write(session, row, self._clock.now(), ReportState(row.state), by, note)
            self._made.order(session, row, account, "the customer still has no power")
        return self.report(report_id)

    def restored(self, report_id: int, by: str = "representative", note: str = "power is back") -> Report:
        """The customer has power: the report is closed. Orders stay with those who work on them. NotAccepted for an unknown
        or closed report."""
        by, note = taken(by, 200), taken(note, self._config.trouble.longest_text)
        with Session(self._engine) as session, session.begin():
            row = open_row(session, report_id)
            row.closed_at = self._clock.now()
            write(session, row, self._clock.now(), ReportState.RESTORED, by, note)
        return self.report(report_id)

    def report(self, report_id: int) -> Report:
        """A report with its progress; NotAccepted for an unknown one."""
        with Session(self._engine) as session:
            return report_of(session, row_of(session, report_id))

    def reports(self, account_number: str | None = None, *, open_only: bool = False) -> tuple[Report, ...]:
        """Reports, oldest first: all or those of an account, those that are open."""
        query = select(ReportRow).order_by(ReportRow.id)
        if account_number is not None:
            query = query.where(ReportRow.account_number == account_number)
        if open_only:
            query = query.where(ReportRow.closed_at.is_(None))
        with Session(self._engine) as session:
            return tuple(report_of(session, row) for row in session.scalars(query).all())

    # --- inside ---

    def _confirmed(self, report_id: int) -> tuple[ReportRow, AccountRow]:
        """An open report whose customer is confirmed, and its account."""
        with Session(self._engine) as session:
            row = open_row(session, report_id)
        self._customers.confirmed(row.request_id)
        return row, self._customers.account(row.account_number)

    def _expect_idle(self, report_id: int) -> None:
        waiting = [c for c in self.checks(report_id) if c.decided_at is None]
        if waiting:
            raise NotAccepted(
                Reason.IN_PROGRESS,
                f"CSS: report {report_id}: a {waiting[0].kind.value} is under way until "
                f"{waiting[0].deadline.isoformat()} at the latest; wait for it",
            )
