"""The options of prepayment events: whose facility it is, and what happens when an event's credit is used up (D16)."""

from __future__ import annotations

import enum

from drivers.roles import AtZero


class Programme(enum.StrEnum):
    """Whose facility it is: the payer's own, or somebody else's."""

    OWN = "A"
    FACILITY = "B"


class EventOutcome(enum.StrEnum):
    """What happens when the credit of an event is used up before its end.

    `regular_billing` is for the payer's own facility, `charge_payer` for somebody else's; either keeps the service on at
    the payer's expense.
    """

    LIMIT = "limit"
    DISCONNECT = "disconnect"
    REGULAR_BILLING = "regular_billing"
    CHARGE_PAYER = "charge_payer"

    @property
    def at_zero(self) -> AtZero:
        """The option as the meter is told it."""
        return {EventOutcome.LIMIT: AtZero.LIMIT, EventOutcome.DISCONNECT: AtZero.DISCONNECT}.get(
            self, AtZero.REGULAR_BILLING
        )

    @property
    def needs_switch(self) -> bool:
        """Whether the meter needs a switch for it."""
        return self in (EventOutcome.LIMIT, EventOutcome.DISCONNECT)
