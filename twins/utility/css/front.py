"""What the website asks of the CSS beyond a representative's own steps: who holds what, and one thing by its number."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Index, and_, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from drivers.roles import AtZero, Billing
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers, logged_request
from twins.utility.css.paying import Paying, logged_payment
from twins.utility.css.records import (
    AccountData,
    CustomerData,
    Found,
    Holder,
    LoggedPayment,
    LoggedRequest,
    PaymentState,
    Posting,
)
from twins.utility.css.tables import AccountRow, CustomerRow, IdentityCheckRow, PaymentRow, RequestRow
from twins.utility.errors import NotAccepted, Reason

Index("ix_css_accounts_lower_number", func.lower(AccountRow.number))
Index("ix_css_customers_lower_id", func.lower(CustomerRow.id))
Index("ix_css_customers_lower_name", func.lower(CustomerRow.name))


class Front(Part):
    """The CSS's counter for the website."""

    def __init__(self, context: Context, customers: Customers, paying: Paying) -> None:
        super().__init__(context)
        self._customers = customers
        self._paying = paying

    def holder(self, customer_id: str) -> Holder:
        """A customer and their accounts; NotAccepted where there is none of that id."""
        with Session(self._engine) as session:
            customer = session.get(CustomerRow, customer_id)
            accounts = session.scalars(
                select(AccountRow).where(AccountRow.customer_id == customer_id).order_by(AccountRow.number)
            ).all()
        if customer is None:
            raise NotAccepted(Reason.UNKNOWN_ACCOUNT, f"CSS: no customer {customer_id!r}")
        return Holder(
            customer.id,
            customer.name,
            customer.address,
            customer.language,
            customer.customer_class,
            tuple(account_data(a) for a in accounts),
        )

    def holds(self, customer_id: str, account_number: str) -> bool:
        """Whether an account is that customer's."""
        with Session(self._engine) as session:
            account = session.get(AccountRow, account_number)
            return account is not None and account.customer_id == customer_id

    def find(self, text: str, most: int = 20) -> tuple[Found, ...]:
        """Accounts whose number, or whose customer's id or name, begins with a text; by number."""
        query = (
            select(AccountRow.number, CustomerRow.name, AccountRow.service_address)
            .join(CustomerRow, AccountRow.customer_id == CustomerRow.id)
            .limit(most)
        )
        wanted = text.strip().casefold()
        found: set[Found] = set()
        # One question for each column: each has an index of its own.
        for column in (AccountRow.number, CustomerRow.id, CustomerRow.name):
            with Session(self._engine) as session:
                found |= {Found(*row) for row in session.execute(query.where(self._begins(column, wanted)))}
        return tuple(sorted(found, key=lambda one: one.account_number)[:most])

    def _begins(self, column: InstrumentedAttribute[str], wanted: str) -> ColumnElement[bool]:
        lower = func.lower(column)
        if self._engine.dialect.name == "sqlite":  # whose `like` goes by no index
            return and_(lower >= wanted, lower < wanted + "\U0010ffff")
        return lower.startswith(wanted, autoescape=True)

    def request(self, request_id: int) -> LoggedRequest:
        """A request as logged; NotAccepted where there is none of that id."""
        with Session(self._engine) as session:
            row = session.get(RequestRow, request_id)
        if row is None:
            raise NotAccepted(Reason.UNKNOWN_REQUEST, f"CSS: no request {request_id}; log the customer's request first")
        return logged_request(row)

    def vouch(self, request_id: int, customer_id: str) -> None:
        """Confirm who made a request by their signing in at the website. NotAccepted where an account isn't theirs."""
        request = self.request(request_id)
        mine = all(self.holds(customer_id, number) for number in request.account_numbers)
        why = "" if mine else "an account is not that of the customer who signed in"
        with Session(self._engine) as session, session.begin():
            row = IdentityCheckRow(
                at=self._clock.now(), request_id=request_id, customer_id=customer_id, confirmed=mine, why=why
            )
            session.add(row)
        if not mine:
            raise NotAccepted(Reason.NOT_THE_CUSTOMER, f"CSS: request {request_id}: {why}")

    def identified(self, request_id: int) -> CustomerData | None:
        """Customer data back for a request whose customer is confirmed; None as long as they are not."""
        request = self.request(request_id)
        with Session(self._engine) as session:
            check = session.scalars(
                select(IdentityCheckRow).where(
                    IdentityCheckRow.request_id == request_id, IdentityCheckRow.confirmed.is_(True)
                )
            ).first()
            customer = None if check is None else session.get_one(CustomerRow, check.customer_id)
        return None if customer is None else self._customers.customer_data(customer, request)

    def payment(self, payment_id: str) -> LoggedPayment | None:
        """A payment as logged, None where there is none of that id."""
        with Session(self._engine) as session:
            row = session.get(PaymentRow, payment_id)
        return None if row is None else logged_payment(row)

    def posting(self, payment_id: str) -> Posting | None:
        """A payment as posted, None where it isn't."""
        payment = self.payment(payment_id)
        posted = payment is not None and payment.state is PaymentState.POSTED
        return self._paying.posting(payment_id) if posted else None


def account_data(row: AccountRow) -> AccountData:
    """An account as the website shows it."""
    return AccountData(
        row.number,
        row.meter_id,
        row.service_address,
        Billing(row.billing),
        AtZero(row.at_zero),
        AtZero(row.fallback),
    )
