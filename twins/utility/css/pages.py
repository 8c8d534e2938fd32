"""What the CSS shows: the confirmation of a payment, the account page, the contact log (steps S1.11 and S1.12)."""

from __future__ import annotations

import dataclasses

from sqlalchemy import select
from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, ReceiptStatus
from twins.utility.css import ledger
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates, daily_average_wh
from twins.utility.css.paying import Paying
from twins.utility.css.records import AccountPage, Confirmation, Contact, Entry
from twins.utility.css.tables import AcknowledgementRow, ContactRow, CustomerRow
from twins.utility.errors import NotAccepted, Reason


class Pages(Part):
    """Pages for the representative and the customer."""

    def __init__(self, context: Context, customers: Customers, estimates: Estimates, paying: Paying) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._paying = paying

    def confirmation(self, payment_id: str) -> Confirmation | None:
        """The meter's receipt for a payment, once the MDMS makes it available; None until then."""
        posting = self._paying.posting(payment_id)
        with Session(self._engine) as session:
            seen = session.get(AcknowledgementRow, payment_id)
        meter_id = self._customers.account(posting.account_number).meter_id
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

    def account_page(self, account_number: str) -> AccountPage:
        """What the customer sees of an account now."""
        account = self._customers.account(account_number)
        now = self._clock.now()
        with Session(self._engine) as session:
            customer = session.get_one(CustomerRow, account.customer_id)
            entries = ledger.entries(session, account_number)
        if "account_page_keeps_old_balance" in self._defects:
            last = max((e.entry_id for e in entries if e.kind is Entry.PAYMENT), default=0)
            entries = tuple(e for e in entries if e.entry_id < last)
        statement = self._estimates.state(account, sum(e.cents for e in entries), None)
        intervals = self._estimates.history(account.meter_id, now)
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
            daily_average_wh=None if no_average else daily_average_wh(intervals),
            days=self._estimates.days(intervals),
            intervals=tuple(intervals),
        )

    def contacts(self) -> tuple[Contact, ...]:
        """The contact log, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(ContactRow).order_by(ContactRow.id)).all()
        return tuple(Contact(r.at, r.kind, r.account_number, r.detail) for r in rows)
