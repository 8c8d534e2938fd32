"""Which options at zero an account can have: by its meter and by the class of its customer (D5, D20).

Asked when an option is chosen, and again when the balance has reached zero.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from drivers.roles import AtZero
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.tables import AccountRow
from twins.utility.errors import NotAccepted, Reason


class Eligibility(Part):
    """Options at zero: which are possible, and choosing one."""

    def __init__(self, context: Context, customers: Customers) -> None:
        super().__init__(context)
        self._customers = customers

    def why_not(self, account: AccountRow, option: AtZero) -> str:
        """Why an account cannot have an option now; empty where it can."""
        if option is AtZero.REGULAR_BILLING:
            return ""
        kind = self._customers.customer_of(account).customer_class
        open_to_class = self._config.css.options_at_zero.get(kind, ())  # type: ignore[call-overload]
        if option not in open_to_class:
            choice = ", ".join(o.name.lower() for o in {*open_to_class, AtZero.REGULAR_BILLING})
            return f"it is not open to {kind} customers; choose {choice}"
        switched = account.has_switch or "disconnects_without_switch" in self._defects
        if option in (AtZero.DISCONNECT, AtZero.LIMIT) and not switched:
            return "the meter has no switch; choose regular_billing or auto_replenish"
        if option is AtZero.AUTO_REPLENISH and account.auto_replenish_cents is None:
            return "no amount for automatic payments is agreed on; agree on one or choose another option"
        return ""

    def check(self, account: AccountRow, option: AtZero) -> None:
        """NotAccepted, with the reason and a remedy, for an option that the account cannot have."""
        why = self.why_not(account, option)
        if why:
            raise NotAccepted(
                Reason.OPTION_NOT_POSSIBLE,
                f"CSS: account {account.number} cannot have {option.name.lower()} at zero: {why}",
            )

    def choose(self, account_number: str, at_zero: AtZero, fallback: AtZero | None = None) -> None:
        """Choose an account's option at zero, and what happens where that turns out to be impossible."""
        account = self._customers.account(account_number)
        self.check(account, at_zero)
        if fallback is AtZero.AUTO_REPLENISH:
            raise NotAccepted(
                Reason.OPTION_NOT_POSSIBLE,
                f"CSS: account {account_number}: auto_replenish cannot be a fallback; choose another option for that",
            )
        if fallback is not None:
            self.check(account, fallback)
        with Session(self._engine) as session, session.begin():
            row = session.get_one(AccountRow, account_number)
            row.at_zero = at_zero.value
            row.fallback = row.fallback if fallback is None else fallback.value
        named = at_zero.name.lower() + ("" if fallback is None else f", else {fallback.name.lower()}")
        self._note("option at zero", account_number, named)
