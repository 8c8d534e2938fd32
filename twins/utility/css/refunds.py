"""Credit that goes back to a customer: never more than there is, once for each reference."""

from __future__ import annotations

from sqlalchemy.orm import Session

from twins.utility.css import ledger
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.estimates import Estimates
from twins.utility.css.ledger import Movement
from twins.utility.css.payment_checks import dollars
from twins.utility.css.records import Entry, LedgerEntry
from twins.utility.css.watch import Watch
from twins.utility.errors import NotAccepted, Reason


class Refunds(Part):
    """Refunds."""

    def __init__(
        self, context: Context, customers: Customers, estimates: Estimates, commands: Commands, watch: Watch
    ) -> None:
        super().__init__(context)
        self._customers = customers
        self._estimates = estimates
        self._commands = commands
        self._watch = watch

    def refund(self, account_number: str, cents: int, reference: str) -> LedgerEntry:
        """Take money off an account that is paid back to the customer; the meter is told.

        The same reference again is the same refund. NotAccepted for an amount that is not positive or more than there is,
        and for a reference that was used for another amount.
        """
        account = self._customers.account(account_number)
        earlier = self._entered(account_number, reference)
        if earlier is not None:
            if earlier.cents != -cents:
                raise NotAccepted(
                    Reason.PAYMENT_ID_REUSED,
                    f"CSS: reference {reference} was used for another refund; give this one a reference of its own",
                )
            return earlier
        balance = self._estimates.balance_cents(account_number)
        if not 0 < cents <= balance:
            raise NotAccepted(
                Reason.AMOUNT_NOT_POSITIVE if cents <= 0 else Reason.MORE_THAN_THERE_IS,
                f"CSS: {dollars(cents)} cannot be refunded to account {account_number}; "
                f"refund more than nothing and at most its balance of {dollars(balance)}",
            )
        message_id = self._adcs.new_message_id()
        statement = self._estimates.state(account, balance - cents, message_id)
        with Session(self._engine) as session, session.begin():
            ledger.post(session, self._clock.now(), [Movement(account_number, Entry.REFUND, -cents, reference)])
            self._commands.balance(session, account, message_id, statement)
        self._commands.wake()
        self._watch.look(account_number)
        entered = self._entered(account_number, reference)
        assert entered is not None
        return entered

    def _entered(self, account_number: str, reference: str) -> LedgerEntry | None:
        with Session(self._engine) as session:
            found = ledger.entries(session, account_number)
        return next((e for e in found if e.kind is Entry.REFUND and e.reference == reference), None)
