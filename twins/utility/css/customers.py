"""Customers and their accounts, the requests they make, and the proof that it is they who make them (steps S1.01 and S1.02)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing
from twins.utility.config import AccountConfig, CustomerConfig
from twins.utility.consumption import next_cycle
from twins.utility.css import billing_modes, ledger
from twins.utility.css.booking_records import EventRequest
from twins.utility.css.context import Part
from twins.utility.css.records import AccountData, CustomerData, Entry, IdentityCheck, LoggedRequest, PrepayRequest
from twins.utility.css.tables import AccountRow, CustomerRow, IdentityCheckRow, RequestRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.identity import hashed, matches

# Made once: whatever a meter publishes is asked for its account.
_AT_METER = select(AccountRow).where(AccountRow.meter_id == bindparam("meter"))


class Customers(Part):
    """Customers, accounts, the request log and identity checks."""

    def take_in(self, customer: CustomerConfig) -> None:
        """Take in a customer and those of their accounts that are new."""
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
        row = AccountRow(
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
            others_may_prepay=account.others_may_prepay,
            elsewhere=account.elsewhere,
        )
        session.add(row)
        session.flush()
        billing_modes.begin(session, row, account.billing, now)
        if account.opening_balance_cents:
            ledger.credit(session, account.number, now, Entry.OPENING, account.opening_balance_cents, "opening")

    def accounts(self) -> Sequence[AccountRow]:
        """All accounts, by number."""
        with Session(self._engine) as session:
            return session.scalars(select(AccountRow).order_by(AccountRow.number)).all()

    def at_meter(self, meter_id: str) -> AccountRow | None:
        """The account of a meter."""
        with Session(self._engine) as session:
            return session.scalar(_AT_METER, {"meter": meter_id})

    def customer_of(self, account: AccountRow) -> CustomerRow:
        """Who holds an account."""
        with Session(self._engine) as session:
            return session.get_one(CustomerRow, account.customer_id)

    def account(self, number: str) -> AccountRow:
        """The account of that number; NotAccepted where there is none."""
        with Session(self._engine) as session:
            account = session.get(AccountRow, number)
        if account is None:
            raise NotAccepted(
                Reason.UNKNOWN_ACCOUNT, f"CSS: no account {number!r}; ask for the number on the customer's bill"
            )
        return account

    def account_of(self, request: LoggedRequest, number: str | None) -> AccountRow:
        """The account that a confirmed request is about, the only one unless named."""
        if number is None and len(request.account_numbers) == 1:
            number = request.account_numbers[0]
        if number is None or number not in request.account_numbers:
            raise NotAccepted(
                Reason.UNKNOWN_ACCOUNT,
                f"CSS: account {number} is not one of request {request.request_id}, "
                f"which is about {', '.join(request.account_numbers)}",
            )
        return self.account(number)

    def confirmed(self, request_id: int) -> LoggedRequest:
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
        return logged_request(request)

    def log_request(self, request: PrepayRequest) -> int:
        """Log a request to prepay; returns its id. NotAccepted for a time frame that cannot be."""
        now = self._clock.now()
        starts_at = request.starts_at or now
        location = request.location if isinstance(request, EventRequest) else None
        if starts_at > now and not isinstance(request, EventRequest):
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
                location=location,
            )
            session.add(row)
            session.flush()
            return row.id

    def requests(self) -> tuple[LoggedRequest, ...]:
        """All requests logged, oldest first."""
        with Session(self._engine) as session:
            logged = tuple(logged_request(r) for r in session.scalars(select(RequestRow).order_by(RequestRow.id)))
        if "request_without_location" in self._defects:
            return tuple(replace(request, location=None) for request in logged)
        if "request_without_time_frame" in self._defects:
            return tuple(replace(request, starts_at=None, ends_at=None) for request in logged)
        return logged

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
        return self.customer_data(customer, logged_request(request))

    def identity_checks(self) -> tuple[IdentityCheck, ...]:
        """All identity checks, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(IdentityCheckRow).order_by(IdentityCheckRow.id)).all()
        return tuple(IdentityCheck(r.at, r.request_id, r.customer_id, r.confirmed, r.why) for r in rows)

    def customer_data(self, customer: CustomerRow, request: LoggedRequest) -> CustomerData:
        """A customer with what their request asks for."""
        with Session(self._engine) as session:
            accounts = session.scalars(
                select(AccountRow).where(AccountRow.customer_id == customer.id).order_by(AccountRow.number)
            ).all()
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

    def _next_cycle(self, numbers: Sequence[str], now: datetime) -> datetime | None:
        with Session(self._engine) as session:
            account = session.get(AccountRow, numbers[0]) if numbers else None
        return None if account is None else next_cycle(now, account.bill_cycle_day, self._zone)


def _alike(given: str, stored: str) -> bool:
    """The same but for case and spacing."""
    return given.casefold().split() == stored.casefold().split()


def logged_request(r: RequestRow) -> LoggedRequest:
    """A request as others see it."""
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
        r.location,
    )
