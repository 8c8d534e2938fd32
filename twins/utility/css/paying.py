"""Payments: the processor is asked, the money posted, the command put out (steps S1.04 to S1.06).

A payment, its ledger entry and the command to send are one transaction.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, MessageCode
from twins.utility.css import billing_modes, ledger
from twins.utility.css.bookings import Bookings
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.eligibility import Eligibility
from twins.utility.css.estimates import Estimates
from twins.utility.css.events import Events
from twins.utility.css.payment_checks import PaymentChecks
from twins.utility.css.records import Entry, LoggedPayment, Payment, PaymentState, Posting, StationPayment
from twins.utility.css.tables import AccountRow, PaymentRow, PostingRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import Charge, Funds, Notifies, PaymentMeans, PaymentMethod

_HOUR_S = 3_600.0


class Paying(Part):
    """Payments and their postings."""

    def __init__(
        self,
        context: Context,
        customers: Customers,
        estimates: Estimates,
        commands: Commands,
        bookings: Bookings,
        events: Events,
        eligibility: Eligibility,
    ) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._bookings = bookings
        self._events = events
        self.checks = PaymentChecks(context, eligibility, estimates)
        self._in_progress: set[str] = set()
        self._finding_out: dict[str, asyncio.Task[None]] = {}
        self.posted: list[Callable[[str], None]] = []
        """Called with the account's number when a payment has been posted to it."""
        self.declined: list[Callable[[str], None]] = []
        """Called with a payment's id when it has been declined, or when nobody could find out what became of it."""
        if isinstance(context.processor, Notifies):
            context.processor.subscribe(self._heard)

    def close(self) -> None:
        """Ask no more; what is not known by now is asked again after the next start."""
        for task in self._finding_out.values():
            task.cancel()

    async def pay(self, payment: Payment) -> Posting:
        """Verify the funds of a payment, post it, and command the meter to be told.

        The same payment id again posts nothing and returns the first posting, marked `repeated`. NotAccepted with the
        reason and the remedy for an amount that is not positive, below the minimum, or more
        than the meter can hold, a method that is not taken, data that is missing, an option that the account cannot have, a
        decline; after `no_answer` or a crash the same payment can be given again and is charged once.
        """
        if payment.request_id is None:
            raise NotAccepted(
                Reason.UNKNOWN_REQUEST, f"CSS: payment {payment.payment_id} is for no request; log the customer's first"
            )
        account = self._customers.account_of(self._customers.confirmed(payment.request_id), payment.account_number)
        return await self.take(payment, account)

    async def pay_at_station(self, paid: StationPayment) -> Posting:
        """Post what a pay station has taken, at once (C3-BR-03). The same receipt of the same station again is posted once.

        Whoever has the money may pay it into an account: nobody is identified. NotAccepted as for `pay`.
        """
        late = self._clock.now() - paid.taken_at
        if late > timedelta(seconds=self._config.payments.pay_station_s):
            self._note("late pay station", paid.account_number, f"{paid.station} {paid.receipt}: {late}")
        if "posts_pay_stations_hourly" in self._defects:
            now = self._clock.now()
            await self._clock.sleep(_HOUR_S - (now - now.replace(minute=0, second=0, microsecond=0)).total_seconds())
        means = PaymentMeans(PaymentMethod.PAY_STATION, {"receipt": paid.receipt, "station": paid.station})
        payment_id = f"{paid.station}-{paid.receipt}"
        payment = Payment(payment_id, None, paid.account_number, paid.amount_cents, means)
        return await self.take(payment, self._customers.account(paid.account_number))

    async def take(self, payment: Payment, account: AccountRow) -> Posting:
        """As `pay`, of whoever may pay into the account."""
        self.checks.well_formed(payment)
        if payment.payment_id in self._in_progress:
            raise NotAccepted(
                Reason.IN_PROGRESS, f"CSS: payment {payment.payment_id} is being processed; ask again in a moment"
            )
        earlier = self._earlier(payment)
        if earlier is not None and earlier.state is PaymentState.POSTED:
            return dataclasses.replace(self.posting(payment.payment_id), repeated=True)
        if earlier is not None and earlier.state is PaymentState.DECLINED:
            raise _declined(payment.payment_id, earlier.why)
        if earlier is None:
            if payment.booking_id is not None:
                self._bookings.check_payment(payment)
            self.checks.check(payment, account)
            self._log_payment(payment)
        self._in_progress.add(payment.payment_id)
        try:
            charge = await self._processor.charge(payment.payment_id, payment.means, payment.amount_cents)
        finally:
            self._in_progress.discard(payment.payment_id)
        if charge.funds is Funds.NO_ANSWER:
            self._note("payment not answered", account.number, payment.payment_id)
            self.find_out(payment)
            raise NotAccepted(
                Reason.NO_ANSWER,
                f"CSS: the payment processor did not answer about payment {payment.payment_id}; "
                "give it again with the same id, it is charged once",
            )
        if charge.funds is Funds.DECLINED and "posts_without_funds" not in self._defects:
            self._decline(payment.payment_id, charge)
            raise _declined(payment.payment_id, charge.why)
        if payment.booking_id is not None:
            return self._post_event(payment.payment_id, payment.amount_cents, payment.booking_id, account, charge)
        return self._post(payment.payment_id, payment.amount_cents, payment.at_zero, account, charge)

    def options(self, account_number: str) -> tuple[AtZero, ...]:
        """What an account can have happen at zero. NotAccepted for an unknown account."""
        return self.checks.options(self._customers.account(account_number))

    def payments(self, account_number: str) -> tuple[LoggedPayment, ...]:
        """Payments of an account as logged, by the time they were asked for."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(PaymentRow)
                .where(PaymentRow.account_number == account_number)
                .order_by(PaymentRow.asked_at, PaymentRow.payment_id)
            ).all()
        return tuple(logged_payment(r) for r in rows)

    def postings(self, account_number: str) -> tuple[Posting, ...]:
        """Payments posted to an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(PostingRow).where(PostingRow.account_number == account_number).order_by(PostingRow.ledger_id)
            ).all()
        return tuple(self.posting(r.payment_id) for r in rows)

    def posting(self, payment_id: str) -> Posting:
        """A payment as posted; NotAccepted where it has not been."""
        with Session(self._engine) as session:
            row = session.get(PostingRow, payment_id)
            payment = session.get(PaymentRow, payment_id)
        if row is None or payment is None:
            raise NotAccepted(
                Reason.UNKNOWN_PAYMENT,
                f"CSS: no payment {payment_id!r} has been posted; `payments` shows what was tried",
            )
        return Posting(
            payment_id=row.payment_id,
            account_number=row.account_number,
            amount_cents=row.amount_cents,
            at_zero=None if row.at_zero is None else AtZero(row.at_zero),
            balance_cents=row.balance_cents,
            posted_at=row.posted_at,
            authorization=payment.authorization,
            message_id=row.message_id,
            booking_id=row.booking_id,
            linked_account=row.linked_account,
        )

    def _earlier(self, payment: Payment) -> LoggedPayment | None:
        """The payment of that id as it was given before; NotAccepted where it was another one."""
        with Session(self._engine) as session:
            row = session.get(PaymentRow, payment.payment_id)
        if row is None:
            return None
        given = self._payment_row(payment)
        same = ("account_number", "amount_cents", "method", "data", "at_zero", "booking_id")
        if any(getattr(row, name) != getattr(given, name) for name in same):
            raise NotAccepted(
                Reason.PAYMENT_ID_REUSED,
                f"CSS: payment id {payment.payment_id} was used for another payment; give this one an id of its own",
            )
        return logged_payment(row)

    def _payment_row(self, payment: Payment) -> PaymentRow:
        return PaymentRow(
            payment_id=payment.payment_id,
            request_id=payment.request_id,
            account_number=payment.account_number,
            amount_cents=payment.amount_cents,
            method=None if "payment_without_method" in self._defects else payment.means.method.value,
            data=payment.means.masked(),
            at_zero=None if payment.at_zero is None else payment.at_zero.value,
            booking_id=payment.booking_id,
            asked_at=self._clock.now(),
            state=PaymentState.PENDING,
            why="",
        )

    def _log_payment(self, payment: Payment) -> None:
        with Session(self._engine) as session, session.begin():
            session.add(self._payment_row(payment))

    def _decline(self, payment_id: str, charge: Charge) -> None:
        with Session(self._engine) as session, session.begin():
            row = session.get_one(PaymentRow, payment_id)
            row.state, row.why = PaymentState.DECLINED, charge.why
        for tell in self.declined:
            tell(payment_id)

    async def settle(self) -> None:
        """Find out what became of charges whose answer was never heard before the last end."""
        with Session(self._engine) as session:
            pending = session.scalars(select(PaymentRow).where(PaymentRow.state == PaymentState.PENDING)).all()
        for payment in map(logged_payment, pending):
            if not await self._ask(payment.payment_id):
                self.find_out(payment)

    def find_out(self, payment: Payment | LoggedPayment) -> None:
        """Ask the processor from time to time what became of a charge that it did not answer.

        One that was not made waits for the customer; the utility's own (`means` are a token) is asked for again.
        """
        if payment.payment_id not in self._finding_out:
            task = self._clock.spawn(self._find_out(payment), name=f"css payment {payment.payment_id}")
            self._finding_out[payment.payment_id] = task

    async def _find_out(self, payment: Payment | LoggedPayment) -> None:
        for wait in self._config.payments.ask_again_s:
            await self._clock.sleep(wait)
            if await self._ask(payment.payment_id):
                break
            if (
                isinstance(payment, Payment)
                and payment.request_id is None
                and payment.payment_id not in self._in_progress
            ):
                with suppress(NotAccepted):
                    await self.take(payment, self._customers.account(payment.account_number))
                    break
        else:
            for tell in self.declined:
                tell(payment.payment_id)
        del self._finding_out[payment.payment_id]

    async def _ask(self, payment_id: str) -> bool:
        """Ask what became of a charge; whether that is known now."""
        if payment_id in self._in_progress:
            return False
        self._in_progress.add(payment_id)
        try:
            charge = await self._processor.status(payment_id)
        finally:
            self._in_progress.discard(payment_id)
        if charge is not None:
            self._heard(payment_id, charge)
        return self._state(payment_id) is not PaymentState.PENDING

    def _state(self, payment_id: str) -> PaymentState | None:
        with Session(self._engine) as session:
            row = session.get(PaymentRow, payment_id)
        return None if row is None else PaymentState(row.state)

    def _heard(self, payment_id: str, charge: Charge) -> None:
        """An answer that nobody waits for: late, or given before. What is posted or declined already stays so."""
        if payment_id in self._in_progress or self._state(payment_id) is not PaymentState.PENDING:
            return
        with Session(self._engine) as session:
            row = session.get_one(PaymentRow, payment_id)
        if charge.funds is Funds.APPROVED:
            account = self._customers.account(row.account_number)
            at_zero = None if row.at_zero is None else AtZero(row.at_zero)
            if row.booking_id is not None:
                self._post_event(payment_id, row.amount_cents, row.booking_id, account, charge)
            else:
                self._post(payment_id, row.amount_cents, at_zero, account, charge)
        elif charge.funds is Funds.DECLINED:
            self._decline(payment_id, charge)

    def _post(
        self, payment_id: str, amount_cents: int, at_zero: AtZero | None, account: AccountRow, charge: Charge
    ) -> Posting:
        """Post a payment: the payment, its ledger entry, the option and the commands in one transaction."""
        now = self._clock.now()
        option = at_zero or AtZero(account.at_zero)
        commanded = "never_commands" not in self._defects
        noted = None if "posting_without_option" in self._defects else option.value
        message_id = self._adcs.new_message_id() if commanded else None
        before = self._estimates.balance_cents(account.number)
        balance = before + amount_cents
        # Where nothing was left, nothing has been used since on the new credit.
        statement = self._estimates.state(account, balance, message_id, since=now if before <= 0 else None)
        code = MessageCode.PREPAYMENT if balance > 0 else MessageCode.BALANCE
        with Session(self._engine) as session, session.begin():
            row = session.get_one(PaymentRow, payment_id)
            row.state, row.authorization = PaymentState.POSTED, charge.authorization
            entry = ledger.credit(session, account.number, now, Entry.PAYMENT, amount_cents, payment_id)
            held = session.get_one(AccountRow, account.number)
            held.at_zero = option.value
            billing_modes.begin(session, held, Billing.PREPAID, now)
            held.prepaid_until = None
            session.add(
                PostingRow(
                    payment_id=payment_id,
                    account_number=account.number,
                    ledger_id=entry.id,
                    amount_cents=amount_cents,
                    balance_cents=balance,
                    at_zero=noted,
                    posted_at=now,
                    message_id=message_id,
                )
            )
            if message_id is not None:
                self._commands.command(session, account, message_id, code, statement, option)
        self._commands.wake()
        for tell in self.posted:
            tell(account.number)
        return self.posting(payment_id)

    def _post_event(
        self, payment_id: str, amount_cents: int, booking_id: str, account: AccountRow, charge: Charge
    ) -> Posting:
        """Post a payment for an event: to the payer's account, linked to the facility's, and on into the event's purse."""
        now = self._clock.now()
        booking = self._bookings.booking(booking_id)
        message_id = self._events.message_id(booking_id)
        balance = self._estimates.balance_cents(account.number)
        linked = None if "event_not_linked" in self._defects else booking.location
        with Session(self._engine) as session, session.begin():
            row = session.get_one(PaymentRow, payment_id)
            row.state, row.authorization = PaymentState.POSTED, charge.authorization
            entry = ledger.credit(session, account.number, now, Entry.PAYMENT, amount_cents, payment_id)
            placed = self._events.fund(session, booking_id, amount_cents, payment_id, message_id)
            session.add(
                PostingRow(
                    payment_id=payment_id,
                    account_number=account.number,
                    ledger_id=entry.id,
                    amount_cents=amount_cents,
                    balance_cents=balance if placed else balance + amount_cents,
                    posted_at=now,
                    message_id=message_id if placed else None,
                    booking_id=booking_id,
                    linked_account=linked,
                )
            )
        if not placed:
            self._note("too late for the event", account.number, f"{payment_id}: the money stays on the account")
        self._events.wake()
        return self.posting(payment_id)


def _declined(payment_id: str, why: str) -> NotAccepted:
    return NotAccepted(
        Reason.DECLINED,
        f"CSS: payment {payment_id} was declined: {why}; pay by other means, with a new payment id",
    )


def logged_payment(r: PaymentRow) -> LoggedPayment:
    """A payment as others see it."""
    return LoggedPayment(
        payment_id=r.payment_id,
        request_id=r.request_id,
        account_number=r.account_number,
        amount_cents=r.amount_cents,
        method=None if r.method is None else PaymentMethod(r.method),
        data=dict(r.data),
        at_zero=None if r.at_zero is None else AtZero(r.at_zero),
        asked_at=r.asked_at,
        state=PaymentState(r.state),
        authorization=r.authorization,
        why=r.why,
        booking_id=r.booking_id,
    )
