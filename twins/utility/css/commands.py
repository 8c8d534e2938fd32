"""Commands to the meter: statements of the account, and the outbox that hands them to the ADCS (steps S1.06 and S1.12).

The outbox is written in the transaction that gives rise to a command, so a crash in between loses nothing and sends nothing
twice.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta

from pydantic import TypeAdapter
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, MessageCode
from twins.utility.adcs_records import Request
from twins.utility.css import purses
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.records import Command, Entry, Statement
from twins.utility.css.tables import AccountRow, LedgerRow, OutboxRow, PaymentRow, StatementRow
from twins.utility.database import table_of

_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)

# Made once: a balance that nears zero is sent every hour.
_ACCOUNTS, _OUTBOX = table_of(AccountRow), table_of(OutboxRow)
_ADD_STATEMENT, _PUT_OUT = insert(table_of(StatementRow)), insert(_OUTBOX)
_REFRESHED = update(_ACCOUNTS).where(_ACCOUNTS.c.number == bindparam("of_account"))
_WAITING = select(_OUTBOX.c.id, _OUTBOX.c.body).where(_OUTBOX.c.submitted_at.is_(None)).order_by(_OUTBOX.c.id)
_SUBMITTED = update(_OUTBOX).where(_OUTBOX.c.id == bindparam("of_entry"))


class Commands(Part):
    """Statements and commands."""

    def __init__(self, context: Context, customers: Customers, estimates: Estimates) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._to_send = context.clock.event()

    def wake(self) -> None:
        """Have the outbox looked through: something has been put into it."""
        self._to_send.set()

    def commands(self, account_number: str) -> tuple[Command, ...]:
        """Commands to the ADCS for an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(OutboxRow).where(OutboxRow.account_number == account_number).order_by(OutboxRow.id)
            ).all()
        return tuple(
            Command(r.message_id, MessageCode(r.code), r.created_at, r.submitted_at, _REQUEST.validate_python(r.body))
            for r in rows
        )

    def statements(self, account_number: str) -> tuple[Statement, ...]:
        """What the meter was to be told of an account, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(StatementRow).where(StatementRow.account_number == account_number).order_by(StatementRow.id)
            ).all()
        return tuple(_statement(r) for r in rows)

    def refresh(self, account_number: str) -> int:
        """As `tell`, of the account's balance now."""
        account = self._customers.account(account_number)
        return self.tell(account, self._estimates.state(account, self._estimates.balance_cents(account_number), None))

    def tell(self, account: AccountRow, held: Statement) -> int:
        """Send a balance as it is held now to the meter, while an event runs that of its purse; returns the message id."""
        message_id = self._adcs.new_message_id()
        with self._engine.connect() as connection:
            running = purses.running_cents(connection, account.number, self._clock.now())
        if running is not None:
            held = self._estimates.state(account, running, None)
        statement = dataclasses.replace(held, message_id=message_id)
        with Session(self._engine) as session, session.begin():
            self.balance(session, account, message_id, statement)
        self.wake()
        return message_id

    def balance(self, session: Session, account: AccountRow, message_id: int, statement: Statement) -> None:
        """As `command`, of a balance alone."""
        self.command(session, account, message_id, MessageCode.BALANCE, statement)

    def command(
        self,
        session: Session,
        account: AccountRow,
        message_id: int,
        code: MessageCode,
        statement: Statement,
        at_zero: AtZero | None = None,
    ) -> None:
        """Put a statement on record and the command to send it into the outbox; `wake` once that is committed."""
        session.execute(
            _ADD_STATEMENT,
            {
                "account_number": account.number,
                "at": statement.at,
                "message_id": message_id,
                "balance_cents": statement.balance_cents,
                "credit_wh": statement.credit_wh,
                "tariff": statement.tariff,
                "price_millicents_per_kwh": statement.price_millicents_per_kwh,
                "profile_wh": list(statement.profile_wh),
                "profile_from": statement.profile_from,
                "profile_to": statement.profile_to,
                "zero_at": statement.zero_at,
            },
        )
        session.execute(_REFRESHED, {"of_account": account.number, "refreshed_at": statement.at})
        left = statement.time_left
        if "forecast_stays_at_threshold" in self._defects and code is MessageCode.BALANCE:
            left = timedelta(hours=48)
        request = Request(
            source="css",
            meter_id=account.meter_id,
            code=code,
            message_id=message_id,
            balance_cents=statement.balance_cents,
            credit_wh=statement.credit_wh,
            price_millicents_per_kwh=statement.price_millicents_per_kwh,
            time_left=left,
            zero_at=statement.zero_at,
            at_zero=at_zero,
        )
        self.put_out(session, account, request)

    def put_out(self, session: Session, account: AccountRow, request: Request) -> None:
        """Put a request to the ADCS, which has its message id, into the outbox; `wake` once that is committed."""
        assert request.message_id is not None
        session.execute(
            _PUT_OUT,
            {
                "account_number": account.number,
                "message_id": request.message_id,
                "code": int(request.code),
                "body": _REQUEST.dump_python(request, mode="json"),
                "created_at": self._clock.now(),
            },
        )

    async def send(self) -> None:
        """Hand the outbox to the ADCS, oldest command first, whenever there is something in it."""
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            with self._engine.connect() as connection:
                waiting = connection.execute(_WAITING).all()
            for entry, body in waiting:
                self._adcs.submit(_REQUEST.validate_python(body))
                with self._engine.begin() as connection:
                    connection.execute(_SUBMITTED, {"of_entry": entry, "submitted_at": self._clock.now()})

    def runs(self, account: AccountRow) -> bool:
        """Whether an account is prepaid and has ever had a credit, other than for an event."""
        if Billing(account.billing) is not Billing.PREPAID or account.elsewhere:
            return False
        with Session(self._engine) as session:
            return (
                session.scalar(
                    select(LedgerRow.id)
                    .outerjoin(PaymentRow, PaymentRow.payment_id == LedgerRow.reference)
                    .where(
                        LedgerRow.account_number == account.number,
                        LedgerRow.kind.in_([Entry.OPENING, Entry.PAYMENT]),
                        PaymentRow.booking_id.is_(None),
                    )
                    .limit(1)
                )
                is not None
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
