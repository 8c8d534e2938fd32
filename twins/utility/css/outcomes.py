"""What is done when a prepaid balance has reached zero, and how it is undone (C3-S5.08, D3 to D5, D11, D20).

The option chosen, or its fallback where it is impossible by then, or regular billing where that is impossible too.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from drivers.roles import AtZero, Billing, MessageCode
from twins.utility.adcs_records import Request
from twins.utility.css import billing_modes
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.eligibility import Eligibility
from twins.utility.css.tables import AccountRow

NOTICES = {"en": "Your prepaid balance has reached zero.", "es": "Su saldo prepagado ha llegado a cero."}
"""What meter and display say when the balance has reached zero (C3-MSG-16), by the customer's language (D14)."""

_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)


class Outcomes(Part):
    """Commands at zero and after."""

    def __init__(self, context: Context, customers: Customers, commands: Commands, eligibility: Eligibility) -> None:
        super().__init__(context)
        self._customers = customers
        self._commands = commands
        self._eligibility = eligibility

    def possible(self, account: AccountRow, without: frozenset[AtZero] = frozenset()) -> Iterator[tuple[AtZero, str]]:
        """Options in the order in which they are to be taken, each with why it cannot be had now; the last one can."""
        chosen = [AtZero(account.at_zero), AtZero(account.fallback), AtZero.REGULAR_BILLING]
        if "always_disconnects" in self._defects:
            chosen.insert(0, AtZero.DISCONNECT)
        for option in dict.fromkeys(chosen):
            if option not in without:
                yield option, self._eligibility.why_not(account, option)

    def notice(self, account: AccountRow) -> None:
        """Tell meter and display that the balance has reached zero, before anything is done about it."""
        if "zero_goes_unsaid" in self._defects:
            return
        text = NOTICES[
            "en" if "texts_in_english_only" in self._defects else self._customers.customer_of(account).language
        ]
        # as urgent as what follows it, or that would overtake it
        urgent = self._config.adcs.priorities[MessageCode.DISCONNECT]
        self._send(account, MessageCode.TEXT, text=text, priority=urgent)

    def take(self, account: AccountRow, option: AtZero) -> int | None:
        """Command an outcome; returns the message id."""
        if "zero_changes_nothing" in self._defects or option is AtZero.AUTO_REPLENISH:
            return None
        if option is AtZero.DISCONNECT:
            return self._send(account, MessageCode.DISCONNECT)
        if option is AtZero.LIMIT:
            return self._send(account, MessageCode.LIMIT, limit_w=self._config.css.limit_w)
        return self._send(account, MessageCode.BILLING, billing=Billing.REGULAR)

    def undo(self, account: AccountRow, option: AtZero) -> None:
        """Undo an outcome after a payment: the prepayment message has the service on and billing prepaid again, a limit has
        to be ended by itself."""
        if option is AtZero.LIMIT and "keeps_limiting" not in self._defects:
            self._send(account, MessageCode.RESTORE)

    def convert(self, account: AccountRow, processed_at: datetime) -> datetime:
        """The meter has taken over the conversion to regular billing: from when on it holds, the end of the recording
        interval in which that was (D11). Energy up to then is still charged to the balance."""
        length = self._adcs.interval(account.meter_id)
        over = (processed_at - _MIDNIGHT) % length
        until = processed_at + (length - over if over else timedelta(0))
        with Session(self._engine) as session, session.begin():
            session.get_one(AccountRow, account.number).prepaid_until = until
            billing_modes.foresee(session, account.number, Billing.REGULAR, until)
        return until

    def regular(self, account: AccountRow) -> None:
        """Regular billing begins."""
        with Session(self._engine) as session, session.begin():
            session.get_one(AccountRow, account.number).billing = Billing.REGULAR.value

    def _send(self, account: AccountRow, code: MessageCode, **fields: Any) -> int:
        message_id = self._adcs.new_message_id()
        request = Request(source="css", meter_id=account.meter_id, code=code, message_id=message_id, **fields)
        with Session(self._engine) as session, session.begin():
            self._commands.put_out(session, account, request)
        self._commands.wake()
        return message_id
