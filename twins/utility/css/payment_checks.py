"""What a payment has to be before anybody is asked for the money: enough, by a method that is taken, with a possible option."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from drivers.roles import AtZero
from twins.utility.css import purses
from twins.utility.css.context import Context, Part
from twins.utility.css.eligibility import Eligibility
from twins.utility.css.estimates import Estimates
from twins.utility.css.records import Payment, PaymentState
from twins.utility.css.tables import AccountRow, PaymentRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import PaymentMethod
from twins.utility.tariff import most_cents

_MOST = 2**31 - 1
"""Cents, and watt-hours, of the account that a meter holds: 32 bits with a sign (tables 2055 and 2056 of the meter profile)."""
_LONGEST_ID = 64


class PaymentChecks(Part):
    """Checks of amount, method and option."""

    def __init__(self, context: Context, eligibility: Eligibility, estimates: Estimates) -> None:
        super().__init__(context)
        self._eligibility = eligibility
        self._estimates = estimates

    def well_formed(self, payment: Payment) -> None:
        """Refuse what could not even be logged: an amount that is no whole number of cents, an id that is none."""
        given = payment.payment_id
        if (
            not isinstance(given, str)
            or not 0 < len(given.strip()) <= len(given) <= _LONGEST_ID
            or not given.isprintable()
        ):
            raise NotAccepted(
                Reason.PAYMENT_ID_NOT_TAKEN,
                f"CSS: {str(given)[:_LONGEST_ID]!r} is no payment id; give 1 to {_LONGEST_ID} printable characters",
            )
        if isinstance(payment.amount_cents, bool) or not isinstance(payment.amount_cents, int):
            raise NotAccepted(
                Reason.AMOUNT_NOT_WHOLE,
                f"CSS: payment {given} of {payment.amount_cents!r}: an amount is a whole number of cents; give one",
            )

    def check(self, payment: Payment, account: AccountRow) -> None:
        """Refuse, with the reason logged, what cannot be taken."""
        if account.elsewhere and payment.booking_id is None:
            raise NotAccepted(
                Reason.UNKNOWN_METER,
                f"CSS: the meter of account {account.number} is not on this bench; it can pay for events elsewhere",
            )
        try:
            self._check_amount(payment)
            self._check_room(payment, account)
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
                f"CSS: payment {payment.payment_id} of {dollars(payment.amount_cents)} is not positive; "
                f"pay at least {dollars(minimum)}",
            )
        if payment.amount_cents < minimum and "takes_any_amount" not in self._defects:
            raise NotAccepted(
                Reason.BELOW_MINIMUM,
                f"CSS: payment {payment.payment_id} of {dollars(payment.amount_cents)} is below the minimum; "
                f"pay at least {dollars(minimum)}",
            )

    def _check_room(self, payment: Payment, account: AccountRow) -> None:
        """Refuse what the meter could not hold together with what is there or on its way: it could not be told of it."""
        with Session(self._engine) as session:
            coming = session.scalar(
                select(func.sum(PaymentRow.amount_cents)).where(
                    PaymentRow.account_number == account.number,
                    PaymentRow.state == PaymentState.PENDING,
                    PaymentRow.payment_id != payment.payment_id,
                )
            )
            purse = 0 if payment.booking_id is None else purses.balance_cents(session, payment.booking_id)
        there = int(coming or 0) + max(self._estimates.held_cents(account.number), purse)
        room = max(0, min(_MOST, most_cents(_MOST, self._config.tariff.price_millicents_per_kwh)) - there)
        if payment.amount_cents > room:
            raise NotAccepted(
                Reason.MORE_THAN_FITS,
                f"CSS: payment {payment.payment_id} of {dollars(payment.amount_cents)} is more than a meter can hold "
                f"with the {dollars(there)} that are there; pay at most {dollars(room)}",
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

    def options(self, account: AccountRow) -> tuple[AtZero, ...]:
        """What an account can have happen at zero (D5)."""
        return tuple(option for option in AtZero if not self._eligibility.why_not(account, option))

    def _check_option(self, payment: Payment, account: AccountRow) -> None:
        if payment.at_zero is None:
            return
        if payment.booking_id is not None:
            raise NotAccepted(
                Reason.OPTION_NOT_POSSIBLE,
                f"CSS: account {account.number} cannot have {payment.at_zero.name.lower()} at zero: "
                "for an event it is chosen with the booking; leave it out",
            )
        self._eligibility.check(account, payment.at_zero)


def dollars(cents: int) -> str:
    """An amount as people write it."""
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100}.{abs(cents) % 100:02d}"
