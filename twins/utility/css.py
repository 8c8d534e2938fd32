"""The CSS: the representative's system. Identity, estimate, payment, ledger, the command to the meter, its confirmation.

A payment, its ledger entry and the command to send are one transaction; an outbox then hands commands to the ADCS, so
that a crash in between loses nothing and sends nothing twice. Steps are those of prepaying for service (C3, scenario 1).
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import TypeAdapter
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, Interval, MessageCode, ReceiptStatus
from twins.clock import Clock
from twins.utility import ledger
from twins.utility.adcs import Adcs
from twins.utility.adcs_records import Request
from twins.utility.config import AccountConfig, CustomerConfig, UtilityConfig
from twins.utility.consumption import DayUsage, Profile, by_day, expected_wh, next_cycle, profile, runs_out
from twins.utility.css_records import (
    AccountData,
    AccountPage,
    Command,
    Confirmation,
    Contact,
    CustomerData,
    Entry,
    Estimate,
    IdentityCheck,
    LedgerEntry,
    LoggedPayment,
    LoggedRequest,
    Payment,
    PaymentState,
    Posting,
    PrepayRequest,
    Statement,
)
from twins.utility.css_tables import (
    AccountRow,
    AcknowledgementRow,
    ContactRow,
    CustomerRow,
    IdentityCheckRow,
    LedgerRow,
    OutboxRow,
    PaymentRow,
    PostingRow,
    RequestRow,
    StatementRow,
)
from twins.utility.errors import NotAccepted, Reason
from twins.utility.identity import hashed, matches
from twins.utility.mdms import Kind, Mdms
from twins.utility.payments import Charge, Funds, PaymentMethod, PaymentProcessor
from twins.utility.tariff import cost_cents, cost_rounded_up_cents, credit_wh

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_SAME_WH_A_DAY = 20_000.0


class Css:
    """The customer service system. Every method belongs to the event loop's thread."""

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: UtilityConfig,
        processor: PaymentProcessor,
        adcs: Adcs,
        mdms: Mdms,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._zone = config.zone
        self._processor = processor
        self._adcs = adcs
        self._mdms = mdms
        self._defects = defects
        self._in_progress: set[str] = set()
        self._to_send = clock.event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Take in the customers that are new, catch up on energy to charge, and hand over commands that were left."""
        for customer in self._config.customers:
            self._take_in(customer)
        self._mdms.subscribe(self._published)
        for account in self._accounts():
            self._charge_energy(account)
        self._to_send.set()
        self._tasks = [
            self._clock.spawn(self._settle(), name="css settle"),
            self._clock.spawn(self._send_commands(), name="css outbox"),
            self._clock.spawn(self._refresh_daily(), name="css refresh"),
        ]

    async def close(self) -> None:
        """Stop the CSS's tasks; what they had not done is taken up by the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- S1.01, S1.02: the request and who makes it ---

    def log_request(self, request: PrepayRequest) -> int:
        """Log a request to prepay; returns its id. NotAccepted for a time frame that cannot be."""
        now = self._clock.now()
        starts_at = request.starts_at or now
        if starts_at > now:
            raise NotAccepted(
                Reason.TIME_FRAME,
                f"CSS: the time frame starts at {starts_at.isoformat()}; prepaying for service starts at once, "
                "leave the start open",
            )
        ends_at = request.ends_at or self._next_cycle(request.account_numbers, now)
        if ends_at is not None and ends_at <= now:
            raise NotAccepted(
                Reason.TIME_FRAME,
                f"CSS: the time frame ends at {ends_at.isoformat()}, which is past; give an end after {now.isoformat()}",
            )
        if "request_without_time_frame" in self._defects:
            starts_at, ends_at = None, None  # type: ignore[assignment]
        with Session(self._engine) as session, session.begin():
            row = RequestRow(
                received_at=now,
                channel=request.channel,
                account_numbers=list(request.account_numbers),
                starts_at=starts_at,
                ends_at=ends_at,
                name=request.name,
                address=request.address,
                credentials_presented=bool(request.credential),
            )
            session.add(row)
            session.flush()
            return row.id

    def requests(self) -> tuple[LoggedRequest, ...]:
        """All requests logged, oldest first."""
        with Session(self._engine) as session:
            return tuple(_logged_request(r) for r in session.scalars(select(RequestRow).order_by(RequestRow.id)))

    def identify(self, request_id: int, credential: str) -> CustomerData:
        """Look the customer up by the fields of the request and confirm their identity; customer data back.

        Logged either way. NotAccepted where an account is unknown, or where name, address or credentials are not those
        of the customer who holds it.
        """
        with Session(self._engine) as session:
            request = self._request(session, request_id)
            accounts = [session.get(AccountRow, number) for number in request.account_numbers]
            held = [a for a in accounts if a is not None]
            customer = session.get(CustomerRow, held[0].customer_id) if held else None
        reason, why = Reason.NOT_THE_CUSTOMER, ""
        if customer is None or len(held) < len(accounts):
            known = {a.number for a in held}
            unknown = ", ".join(n for n in request.account_numbers if n not in known) or "given"
            reason, why = Reason.UNKNOWN_ACCOUNT, f"no account {unknown}; ask for the number on the bill"
        elif "confirms_anybody" not in self._defects:
            wrong = [
                what
                for what, right in (
                    ("account", all(a.customer_id == customer.id for a in held)),
                    ("name", _alike(request.name, customer.name)),
                    ("address", _alike(request.address, customer.address)),
                    ("credentials", matches(credential, customer.credential)),
                )
                if not right
            ]
            if wrong:
                why = f"{', '.join(wrong)} not those of the account's customer; ask again or ask for proof of identity"
        with Session(self._engine) as session, session.begin():
            session.add(
                IdentityCheckRow(
                    at=self._clock.now(),
                    request_id=request_id,
                    customer_id=None if customer is None else customer.id,
                    confirmed=not why,
                    why=why,
                )
            )
        if why or customer is None:
            raise NotAccepted(reason, f"CSS: request {request_id}: {why}")
        return self._customer_data(customer, _logged_request(request))

    def identity_checks(self) -> tuple[IdentityCheck, ...]:
        """All identity checks, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(IdentityCheckRow).order_by(IdentityCheckRow.id)).all()
        return tuple(IdentityCheck(r.at, r.request_id, r.customer_id, r.confirmed, r.why) for r in rows)

    # --- S1.03: the estimate ---

    def estimate(self, request_id: int, account_number: str | None = None) -> Estimate:
        """Estimate what the service takes through the request's time frame, by default the next bill cycle, from history.

        NotAccepted where the identity isn't confirmed, or there is no history.
        """
        request = self._confirmed(request_id)
        account = self._account_of(request, account_number)
        now = self._clock.now()
        ends_at = request.ends_at or next_cycle(now, account.bill_cycle_day, self._zone)
        intervals = self._history(account.meter_id, now)
        shape = profile(intervals, self._zone)
        if shape is None:
            raise NotAccepted(
                Reason.NO_HISTORY,
                f"CSS: account {account.number} has no consumption history yet; agree on an amount with the customer",
            )
        price = self._config.tariff.price_millicents_per_kwh
        energy_wh = expected_wh(shape, now, ends_at, self._zone)
        if "estimate_ignores_history" in self._defects:
            energy_wh = _SAME_WH_A_DAY * (ends_at - now) / timedelta(days=1)
        balance = self.balance_cents(account.number)
        cost = cost_rounded_up_cents(energy_wh, price)
        due = max(0, cost - balance)
        estimate = Estimate(
            account_number=account.number,
            starts_at=now,
            ends_at=ends_at,
            history=() if "estimate_without_history" in self._defects else self._days(intervals),
            daily_average_wh=_daily_average_wh(intervals),
            energy_wh=energy_wh,
            price_millicents_per_kwh=price,
            cost_cents=cost,
            balance_cents=balance,
            amount_cents=max(due, self._config.payments.minimum_cents) if due else 0,
        )
        self._note("estimate", account.number, f"{estimate.amount_cents} cents through {ends_at.isoformat()}")
        return estimate

    # --- S1.04 to S1.06: the payment, its posting, the command ---

    async def pay(self, payment: Payment) -> Posting:
        """Verify the funds of a payment, post it, and command the meter to be told.

        The same payment id again posts nothing and returns the first posting, marked `repeated`. NotAccepted with the
        reason and the remedy for an amount that is not positive or below the minimum, a method that is not taken, data
        that is missing, an option that the account cannot have, a decline; after `no_answer` or a crash the same payment
        can be given again and is charged once.
        """
        account = self._account_of(self._confirmed(payment.request_id), payment.account_number)
        if payment.payment_id in self._in_progress:
            raise NotAccepted(
                Reason.IN_PROGRESS, f"CSS: payment {payment.payment_id} is being processed; ask again in a moment"
            )
        earlier = self._earlier(payment)
        if earlier is not None and earlier.state is PaymentState.POSTED:
            return dataclasses.replace(self._posting(payment.payment_id), repeated=True)
        if earlier is not None and earlier.state is PaymentState.DECLINED:
            raise _declined(payment.payment_id, earlier.why)
        if earlier is None:
            self._check(payment, account)
            self._log_payment(payment)
        self._in_progress.add(payment.payment_id)
        try:
            charge = await self._processor.charge(payment.payment_id, payment.means, payment.amount_cents)
        finally:
            self._in_progress.discard(payment.payment_id)
        if charge.funds is Funds.NO_ANSWER:
            self._note("payment not answered", account.number, payment.payment_id)
            raise NotAccepted(
                Reason.NO_ANSWER,
                f"CSS: the payment processor did not answer about payment {payment.payment_id}; "
                "give it again with the same id, it is charged once",
            )
        if charge.funds is Funds.DECLINED and "posts_without_funds" not in self._defects:
            self._decline(payment.payment_id, charge)
            raise _declined(payment.payment_id, charge.why)
        return self._post(payment.payment_id, payment.amount_cents, payment.at_zero, account, charge)

    def payments(self, account_number: str) -> tuple[LoggedPayment, ...]:
        """Payments of an account as logged, by the time they were asked for."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(PaymentRow)
                .where(PaymentRow.account_number == account_number)
                .order_by(PaymentRow.asked_at, PaymentRow.payment_id)
            ).all()
        return tuple(_logged_payment(r) for r in rows)

    def postings(self, account_number: str) -> tuple[Posting, ...]:
        """Payments posted to an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(PostingRow).where(PostingRow.account_number == account_number).order_by(PostingRow.ledger_id)
            ).all()
        return tuple(self._posting(r.payment_id) for r in rows)

    def ledger(self, account_number: str) -> tuple[LedgerEntry, ...]:
        """The ledger of an account, oldest entry first."""
        self._account(account_number)
        with Session(self._engine) as session:
            return ledger.entries(session, account_number)

    def balance_cents(self, account_number: str) -> int:
        """The balance of an account: the sum of its ledger."""
        self._account(account_number)
        with Session(self._engine) as session:
            return ledger.balance_cents(session, account_number)

    def commands(self, account_number: str) -> tuple[Command, ...]:
        """Commands to the ADCS for an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(OutboxRow).where(OutboxRow.account_number == account_number).order_by(OutboxRow.id)
            ).all()
        return tuple(Command(r.message_id, MessageCode(r.code), r.created_at, r.submitted_at) for r in rows)

    def statements(self, account_number: str) -> tuple[Statement, ...]:
        """What the meter was to be told of an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(StatementRow).where(StatementRow.account_number == account_number).order_by(StatementRow.id)
            ).all()
        return tuple(_statement(r) for r in rows)

    def refresh(self, account_number: str) -> int:
        """Send the account's balance to the meter now; returns the message id."""
        account = self._account(account_number)
        message_id = self._adcs.new_message_id()
        statement = self._state(account, self.balance_cents(account_number), message_id)
        with Session(self._engine) as session, session.begin():
            self._command(session, account, message_id, MessageCode.BALANCE, statement)
        self._to_send.set()
        return message_id

    # --- S1.11: the confirmation ---

    def confirmation(self, payment_id: str) -> Confirmation | None:
        """The meter's receipt for a payment, once the MDMS makes it available; None until then."""
        posting = self._posting(payment_id)
        with Session(self._engine) as session:
            seen = session.get(AcknowledgementRow, payment_id)
        meter_id = self._account(posting.account_number).meter_id
        found = () if posting.message_id is None else self._mdms.receipts(meter_id, posting.message_id)
        best = min(found, key=lambda s: s.value.status is not ReceiptStatus.PROCESSED, default=None)
        if best is None and "confirms_without_receipt" not in self._defects:
            return None
        return Confirmation(
            payment_id=payment_id,
            message_id=posting.message_id,
            receipt=None if best is None else best.value,
            successful=best is None or best.value.status in (ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE),
            available_at=None if best is None else best.available_at,
            acknowledged_at=None if seen is None else seen.at,
            acknowledged_by=None if seen is None else seen.representative,
        )

    def acknowledge(self, payment_id: str, representative: str) -> Confirmation:
        """A representative has seen the confirmation. NotAccepted as long as there is none; the first one stays logged."""
        confirmation = self.confirmation(payment_id)
        if confirmation is None:
            raise NotAccepted(
                Reason.NOT_CONFIRMED_YET,
                f"CSS: the meter's receipt for payment {payment_id} is not available yet; look again later",
            )
        if confirmation.acknowledged_at is not None:
            return confirmation
        now = self._clock.now()
        with Session(self._engine) as session, session.begin():
            session.add(AcknowledgementRow(payment_id=payment_id, at=now, representative=representative))
        return dataclasses.replace(confirmation, acknowledged_at=now, acknowledged_by=representative)

    # --- S1.12: the account page ---

    def account_page(self, account_number: str) -> AccountPage:
        """What the customer sees of an account now."""
        account = self._account(account_number)
        now = self._clock.now()
        with Session(self._engine) as session:
            customer = session.get_one(CustomerRow, account.customer_id)
            entries = ledger.entries(session, account_number)
        if "account_page_keeps_old_balance" in self._defects:
            last = max((e.entry_id for e in entries if e.kind is Entry.PAYMENT), default=0)
            entries = tuple(e for e in entries if e.entry_id < last)
        statement = self._state(account, sum(e.cents for e in entries), None)
        intervals = self._history(account.meter_id, now)
        no_average = not intervals or "usage_without_daily_average" in self._defects
        return AccountPage(
            account_number=account.number,
            customer_name=customer.name,
            language=customer.language,
            billing=Billing(account.billing),
            at_zero=AtZero(account.at_zero),
            balance_cents=statement.balance_cents,
            credit_wh=statement.credit_wh,
            time_left=statement.time_left,
            zero_at=statement.zero_at,
            price_millicents_per_kwh=statement.price_millicents_per_kwh,
            updated_at=entries[-1].at if entries else None,
            daily_average_wh=None if no_average else _daily_average_wh(intervals),
            days=self._days(intervals),
            intervals=tuple(intervals),
        )

    def contacts(self) -> tuple[Contact, ...]:
        """The contact log, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(ContactRow).order_by(ContactRow.id)).all()
        return tuple(Contact(r.at, r.kind, r.account_number, r.detail) for r in rows)

    # --- customers and accounts ---

    def _take_in(self, customer: CustomerConfig) -> None:
        with Session(self._engine) as session, session.begin():
            if session.get(CustomerRow, customer.id) is None:
                session.add(
                    CustomerRow(
                        id=customer.id,
                        name=customer.name,
                        address=customer.address,
                        credential=hashed(customer.credential, self._config.css.scrypt_cost),
                        language=customer.language,
                        customer_class=customer.customer_class,
                    )
                )
                session.flush()
            for account in customer.accounts:
                if session.get(AccountRow, account.number) is None:
                    self._open_account(session, customer.id, account)

    def _open_account(self, session: Session, customer_id: str, account: AccountConfig) -> None:
        now = self._clock.now()
        session.add(
            AccountRow(
                number=account.number,
                customer_id=customer_id,
                meter_id=account.meter_id,
                service_address=account.service_address,
                billing=account.billing.value,
                prepaid_since=now if account.billing is Billing.PREPAID else None,
                at_zero=account.at_zero.value,
                fallback=account.fallback.value,
                auto_replenish_cents=account.auto_replenish_cents,
                has_switch=account.switch,
                bill_cycle_day=account.bill_cycle_day,
            )
        )
        session.flush()
        if account.opening_balance_cents:
            ledger.credit(session, account.number, now, Entry.OPENING, account.opening_balance_cents, "opening")

    def _accounts(self) -> Sequence[AccountRow]:
        with Session(self._engine) as session:
            return session.scalars(select(AccountRow).order_by(AccountRow.number)).all()

    def _account(self, number: str) -> AccountRow:
        with Session(self._engine) as session:
            account = session.get(AccountRow, number)
        if account is None:
            raise NotAccepted(
                Reason.UNKNOWN_ACCOUNT, f"CSS: no account {number!r}; ask for the number on the customer's bill"
            )
        return account

    def _account_of(self, request: LoggedRequest, number: str | None) -> AccountRow:
        """The account that a confirmed request is about, the only one unless named."""
        if number is None and len(request.account_numbers) == 1:
            number = request.account_numbers[0]
        if number is None or number not in request.account_numbers:
            raise NotAccepted(
                Reason.UNKNOWN_ACCOUNT,
                f"CSS: account {number} is not one of request {request.request_id}, "
                f"which is about {', '.join(request.account_numbers)}",
            )
        return self._account(number)

    def _customer_data(self, customer: CustomerRow, request: LoggedRequest) -> CustomerData:
        accounts = [a for a in self._accounts() if a.customer_id == customer.id]
        return CustomerData(
            customer_id=customer.id,
            name=customer.name,
            address="" if "customer_without_address" in self._defects else customer.address,
            language=customer.language,
            customer_class=customer.customer_class,
            accounts=tuple(
                AccountData(
                    a.number, a.meter_id, a.service_address, Billing(a.billing), AtZero(a.at_zero), AtZero(a.fallback)
                )
                for a in accounts
            ),
            account_numbers=request.account_numbers,
            starts_at=request.starts_at,
            ends_at=request.ends_at,
            credentials_confirmed=True,
        )

    def _request(self, session: Session, request_id: int) -> RequestRow:
        request = session.get(RequestRow, request_id)
        if request is None:
            raise NotAccepted(Reason.UNKNOWN_REQUEST, f"CSS: no request {request_id}; log the customer's request first")
        return request

    def _confirmed(self, request_id: int) -> LoggedRequest:
        """The request, if the identity of who made it has been confirmed."""
        with Session(self._engine) as session:
            request = self._request(session, request_id)
            confirmed = session.scalar(
                select(IdentityCheckRow.id).where(
                    IdentityCheckRow.request_id == request_id, IdentityCheckRow.confirmed.is_(True)
                )
            )
        if confirmed is None:
            raise NotAccepted(
                Reason.IDENTITY_NOT_CONFIRMED,
                f"CSS: request {request_id}: the customer's identity is not confirmed; identify them first",
            )
        return _logged_request(request)

    def _next_cycle(self, numbers: Sequence[str], now: datetime) -> datetime | None:
        with Session(self._engine) as session:
            account = session.get(AccountRow, numbers[0]) if numbers else None
        return None if account is None else next_cycle(now, account.bill_cycle_day, self._zone)

    # --- paying ---

    def _check(self, payment: Payment, account: AccountRow) -> None:
        try:
            self._check_amount(payment)
            self._check_means(payment)
            self._check_option(payment, account)
        except NotAccepted as refusal:
            self._note("payment refused", account.number, f"{payment.payment_id}: {refusal}")
            raise

    def _check_amount(self, payment: Payment) -> None:
        minimum = self._config.payments.minimum_cents
        if payment.amount_cents <= 0:
            raise NotAccepted(
                Reason.AMOUNT_NOT_POSITIVE,
                f"CSS: payment {payment.payment_id} of {_dollars(payment.amount_cents)} is not positive; "
                f"pay at least {_dollars(minimum)}",
            )
        if payment.amount_cents < minimum and "takes_any_amount" not in self._defects:
            raise NotAccepted(
                Reason.BELOW_MINIMUM,
                f"CSS: payment {payment.payment_id} of {_dollars(payment.amount_cents)} is below the minimum; "
                f"pay at least {_dollars(minimum)}",
            )

    def _check_means(self, payment: Payment) -> None:
        taken = self._config.payments.methods
        if "refuses_bank_payments" in self._defects:
            taken = tuple(m for m in taken if m is not PaymentMethod.BANK)
        method = payment.means.method
        if method not in taken:
            raise NotAccepted(
                Reason.METHOD_NOT_TAKEN,
                f"CSS: payment {payment.payment_id}: {method.value} is not taken; "
                f"pay by {', '.join(m.value for m in taken)}",
            )
        if payment.means.missing:
            raise NotAccepted(
                Reason.PAYMENT_DATA_MISSING,
                f"CSS: payment {payment.payment_id} by {method.value} lacks {', '.join(payment.means.missing)}; give it",
            )

    def _check_option(self, payment: Payment, account: AccountRow) -> None:
        why = ""
        if payment.at_zero in (AtZero.DISCONNECT, AtZero.LIMIT) and not account.has_switch:
            why = "the meter has no switch; choose regular_billing or auto_replenish"
        elif payment.at_zero is AtZero.AUTO_REPLENISH and account.auto_replenish_cents is None:
            why = "no amount for automatic payments is agreed on; agree on one or choose another option"
        if why and payment.at_zero is not None:
            raise NotAccepted(
                Reason.OPTION_NOT_POSSIBLE,
                f"CSS: account {account.number} cannot have {payment.at_zero.name.lower()} at zero: {why}",
            )

    def _earlier(self, payment: Payment) -> LoggedPayment | None:
        """The payment of that id as it was given before; NotAccepted where it was another one."""
        with Session(self._engine) as session:
            row = session.get(PaymentRow, payment.payment_id)
        if row is None:
            return None
        given = self._payment_row(payment)
        same = ("account_number", "amount_cents", "method", "data", "at_zero")
        if any(getattr(row, name) != getattr(given, name) for name in same):
            raise NotAccepted(
                Reason.PAYMENT_ID_REUSED,
                f"CSS: payment id {payment.payment_id} was used for another payment; give this one an id of its own",
            )
        return _logged_payment(row)

    def _payment_row(self, payment: Payment) -> PaymentRow:
        return PaymentRow(
            payment_id=payment.payment_id,
            request_id=payment.request_id,
            account_number=payment.account_number,
            amount_cents=payment.amount_cents,
            method=None if "payment_without_method" in self._defects else payment.means.method.value,
            data=payment.means.masked(),
            at_zero=None if payment.at_zero is None else payment.at_zero.value,
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

    async def _settle(self) -> None:
        """Find out what became of charges whose answer was never heard; one that was not made waits for the customer."""
        with Session(self._engine) as session:
            pending = session.scalars(select(PaymentRow).where(PaymentRow.state == PaymentState.PENDING)).all()
        for payment in (_logged_payment(row) for row in pending):
            if payment.payment_id in self._in_progress:
                continue
            self._in_progress.add(payment.payment_id)
            try:
                charge = await self._processor.status(payment.payment_id)
            finally:
                self._in_progress.discard(payment.payment_id)
            if charge is not None and charge.funds is Funds.APPROVED:
                account = self._account(payment.account_number)
                self._post(payment.payment_id, payment.amount_cents, payment.at_zero, account, charge)
            elif charge is not None and charge.funds is Funds.DECLINED:
                self._decline(payment.payment_id, charge)

    def _post(
        self, payment_id: str, amount_cents: int, at_zero: AtZero | None, account: AccountRow, charge: Charge
    ) -> Posting:
        """Post a payment: the payment, its ledger entry, the option and the commands in one transaction."""
        now = self._clock.now()
        option = at_zero or AtZero(account.at_zero)
        converts = Billing(account.billing) is Billing.REGULAR
        commanded = "never_commands" not in self._defects
        noted = None if "posting_without_option" in self._defects else option.value
        message_id = self._adcs.new_message_id() if commanded else None
        balance = self.balance_cents(account.number) + amount_cents
        statement = self._state(account, balance, message_id)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(PaymentRow, payment_id)
            row.state, row.authorization = PaymentState.POSTED, charge.authorization
            entry = ledger.credit(session, account.number, now, Entry.PAYMENT, amount_cents, payment_id)
            held = session.get_one(AccountRow, account.number)
            held.at_zero = option.value
            if converts:
                held.billing, held.prepaid_since = Billing.PREPAID.value, now
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
                self._command(session, account, message_id, MessageCode.PREPAYMENT, statement, option)
        self._to_send.set()
        return self._posting(payment_id)

    def _posting(self, payment_id: str) -> Posting:
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
        )

    # --- commands ---

    def _command(
        self,
        session: Session,
        account: AccountRow,
        message_id: int,
        code: MessageCode,
        statement: Statement,
        at_zero: AtZero | None = None,
    ) -> None:
        """Put a statement on record and the command to send it into the outbox."""
        session.add(
            StatementRow(
                account_number=account.number,
                at=statement.at,
                message_id=message_id,
                balance_cents=statement.balance_cents,
                credit_wh=statement.credit_wh,
                tariff=statement.tariff,
                price_millicents_per_kwh=statement.price_millicents_per_kwh,
                profile_wh=list(statement.profile_wh),
                profile_from=statement.profile_from,
                profile_to=statement.profile_to,
                zero_at=statement.zero_at,
            )
        )
        session.get_one(AccountRow, account.number).refreshed_at = statement.at
        request = Request(
            source="css",
            meter_id=account.meter_id,
            code=code,
            message_id=message_id,
            balance_cents=statement.balance_cents,
            credit_wh=statement.credit_wh,
            price_millicents_per_kwh=statement.price_millicents_per_kwh,
            time_left=statement.time_left,
            zero_at=statement.zero_at,
            at_zero=at_zero,
        )
        self._put_out(session, account, request)

    def _put_out(self, session: Session, account: AccountRow, request: Request) -> None:
        assert request.message_id is not None
        session.add(
            OutboxRow(
                account_number=account.number,
                message_id=request.message_id,
                code=int(request.code),
                body=_REQUEST.dump_python(request, mode="json"),
                created_at=self._clock.now(),
            )
        )
        session.flush()

    async def _send_commands(self) -> None:
        """Hand the outbox to the ADCS, oldest command first, whenever there is something in it."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            with Session(self._engine) as session:
                waiting = session.scalars(
                    select(OutboxRow).where(OutboxRow.submitted_at.is_(None)).order_by(OutboxRow.id)
                ).all()
            for command in waiting:
                self._adcs.submit(_REQUEST.validate_python(command.body))
                with Session(self._engine) as session, session.begin():
                    session.get_one(OutboxRow, command.id).submitted_at = self._clock.now()

    async def _refresh_daily(self) -> None:
        """Tell meters of prepaid accounts their balance, a period after they were last told (D12)."""
        period = timedelta(seconds=self._config.css.refresh_period_s)
        began = self._clock.now()
        while True:
            now = self._clock.now()
            due = {a.number: (a.refreshed_at or began) + period for a in self._accounts()}
            for account in self._accounts():
                if due[account.number] <= now:
                    if self._runs(account):
                        self.refresh(account.number)
                    due[account.number] = now + period
            pause = min([*due.values(), now + period]) - now
            await self._clock.sleep(pause.total_seconds())

    def _runs(self, account: AccountRow) -> bool:
        """Whether an account is prepaid and has ever had a credit."""
        if Billing(account.billing) is not Billing.PREPAID:
            return False
        with Session(self._engine) as session:
            return (
                session.scalar(
                    select(LedgerRow.id)
                    .where(
                        LedgerRow.account_number == account.number,
                        LedgerRow.kind.in_([Entry.OPENING, Entry.PAYMENT]),
                    )
                    .limit(1)
                )
                is not None
            )

    # --- consumption ---

    def _published(self, kind: Kind, meter_id: str) -> None:
        if kind is Kind.INTERVAL:
            for account in self._accounts():
                if account.meter_id == meter_id:
                    self._charge_energy(account)

    def _charge_energy(self, account: AccountRow) -> None:
        """Charge a prepaid account for the intervals that have become available, each once."""
        if account.prepaid_since is None or Billing(account.billing) is not Billing.PREPAID:
            return
        with Session(self._engine) as session:
            until = ledger.charged_until(session, account.number)
        # a little back: an interval may come late
        since = account.prepaid_since if until is None else max(account.prepaid_since, until - timedelta(days=2))
        intervals = [s.value for s in self._mdms.intervals(account.meter_id, since)]
        price = self._config.tariff.price_millicents_per_kwh
        with Session(self._engine) as session, session.begin():
            ledger.charge_energy(session, account.number, self._clock.now(), intervals, price)

    def _history(self, meter_id: str, now: datetime) -> list[Interval]:
        since = now - timedelta(days=self._config.css.history_days)
        return [s.value for s in self._mdms.intervals(meter_id, since, now)]

    def _days(self, intervals: Sequence[Interval]) -> tuple[DayUsage, ...]:
        price = self._config.tariff.price_millicents_per_kwh
        return tuple(DayUsage(day, wh, cost_cents(wh, price)) for day, wh in by_day(intervals, self._zone).items())

    def _state(self, account: AccountRow, balance_cents: int, message_id: int | None) -> Statement:
        """Balance in money, energy and time, as of now (D2)."""
        now = self._clock.now()
        tariff = self._config.tariff
        shape = profile(self._history(account.meter_id, now), self._zone) or Profile(self._config.css.class_profile_wh)
        credit = credit_wh(balance_cents, tariff.price_millicents_per_kwh)
        return Statement(
            at=now,
            message_id=message_id,
            balance_cents=balance_cents,
            credit_wh=credit,
            tariff=tariff.name,
            price_millicents_per_kwh=tariff.price_millicents_per_kwh,
            profile_wh=shape.wh_by_hour,
            profile_from=shape.history_from,
            profile_to=shape.history_to,
            zero_at=runs_out(shape, now, credit, self._zone),
        )

    def _note(self, kind: str, account_number: str, detail: str) -> None:
        with Session(self._engine) as session, session.begin():
            session.add(ContactRow(at=self._clock.now(), kind=kind, account_number=account_number, detail=detail))


def _dollars(cents: int) -> str:
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100}.{abs(cents) % 100:02d}"


def _alike(given: str, stored: str) -> bool:
    """The same but for case and spacing."""
    return given.casefold().split() == stored.casefold().split()


def _daily_average_wh(intervals: Sequence[Interval]) -> float:
    whole = [i for i in intervals if i.complete]
    covered = sum((i.length for i in whole), timedelta(0))
    return math.fsum(i.energy_wh for i in whole) / (covered / timedelta(days=1)) if covered else math.nan


def _declined(payment_id: str, why: str) -> NotAccepted:
    return NotAccepted(
        Reason.DECLINED,
        f"CSS: payment {payment_id} was declined: {why}; pay by other means, with a new payment id",
    )


def _logged_request(r: RequestRow) -> LoggedRequest:
    return LoggedRequest(
        r.id,
        r.received_at,
        r.channel,
        tuple(r.account_numbers),
        r.starts_at,
        r.ends_at,
        r.name,
        r.address,
        r.credentials_presented,
    )


def _logged_payment(r: PaymentRow) -> LoggedPayment:
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
    )


def _statement(r: StatementRow) -> Statement:
    return Statement(
        at=r.at,
        message_id=r.message_id,
        balance_cents=r.balance_cents,
        credit_wh=r.credit_wh,
        tariff=r.tariff,
        price_millicents_per_kwh=r.price_millicents_per_kwh,
        profile_wh=tuple(r.profile_wh),
        profile_from=r.profile_from,
        profile_to=r.profile_to,
        zero_at=r.zero_at,
    )


__all__ = ["Css", "Payment", "PrepayRequest"]
