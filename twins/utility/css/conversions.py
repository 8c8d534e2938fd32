"""The change between prepaid and regular billing on request: in the CSS, and by command in the meter (C3-FR-27, C3-FR-28)."""

from __future__ import annotations

from sqlalchemy.orm import Session

from drivers.roles import Billing, MessageCode
from twins.utility.adcs_records import Request
from twins.utility.css import billing_modes
from twins.utility.css.billing_modes import Mode
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.tables import AccountRow


class Conversions(Part):
    """The ways in which accounts are billed, and the change of them on request."""

    def __init__(self, context: Context, customers: Customers, commands: Commands) -> None:
        super().__init__(context)
        self._customers = customers
        self._commands = commands

    def modes(self, account_number: str) -> tuple[Mode, ...]:
        """How an account has been billed, oldest first. NotAccepted for an unknown account."""
        self._customers.account(account_number)
        with Session(self._engine) as session:
            return billing_modes.modes(session, account_number)

    def convert(self, account_number: str, billing: Billing) -> int | None:
        """Convert an account with the end of the running interval, and command the meter to follow.

        Returns the command's message id, None where the account is billed that way already. NotAccepted for an unknown
        account.
        """
        account = self._customers.account(account_number)
        if Billing(account.billing) is billing:
            return None
        message_id = self._adcs.new_message_id()
        request = Request("css", account.meter_id, MessageCode.BILLING, message_id, billing=billing)
        with Session(self._engine) as session, session.begin():
            held = session.get_one(AccountRow, account_number)
            billing_modes.begin(session, held, billing, self._clock.now())
            self._commands.put_out(session, held, request)
        self._commands.wake()
        self._note("billing", account_number, f"to {billing.name.lower()} with the end of the interval")
        return message_id
