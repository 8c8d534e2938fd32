"""What a fleet, or a part of it, came to: whole numbers only, so that parts add up to the same whatever their order."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any

from twins.fleet.config import UNITS_PER_CENT


@dataclass(frozen=True)
class Tally:
    """Sums over `meters` in `hours` each.

    `messages` and `commands` are trials for each meter. The element k of `by_messages_failed` is the number of meters that k
    messages failed to reach, of `by_commands_failed` of those that did not carry out k commands.
    """

    meters: int
    hours: int
    messages: int
    commands: int
    by_messages_failed: tuple[int, ...] = ()
    by_commands_failed: tuple[int, ...] = ()
    repeated: int = 0
    """Messages and commands that were sent again."""
    base_wh: int = 0
    peak_wh: int = 0
    opening_cents: int = 0
    paid_cents: int = 0
    charged_cents: int = 0
    closing_cents: int = 0
    carried_units: int = 0
    """Parts of a cent that are used and not charged yet, in millionths of a cent."""
    payments: int = 0
    hours_off: int = 0
    """Meter-hours without service because a connect was not carried out."""
    hours_limited: int = 0
    out_of_balance: int = 0
    """Meters whose account does not agree with their register to the millionth of a cent."""

    @property
    def messages_failed(self) -> int:
        """Prepayment messages that reached no meter."""
        return sum(k * meters for k, meters in enumerate(self.by_messages_failed))

    @property
    def commands_failed(self) -> int:
        """Commands that were not carried out."""
        return sum(k * meters for k, meters in enumerate(self.by_commands_failed))

    def balances(self, base_millicents_per_kwh: int, peak_millicents_per_kwh: int) -> bool:
        """Whether the money of the fleet balances to the millionth of a cent at these prices."""
        used = self.base_wh * base_millicents_per_kwh + self.peak_wh * peak_millicents_per_kwh
        return (
            self.out_of_balance == 0
            and self.opening_cents + self.paid_cents - self.charged_cents == self.closing_cents
            and self.charged_cents * UNITS_PER_CENT + self.carried_units == used
        )

    def __add__(self, other: Tally) -> Tally:
        """Both together; ValueError where they were not asked for the same."""
        if (self.hours, self.messages, self.commands) != (other.hours, other.messages, other.commands):
            raise ValueError("tallies of different hours or programmes do not add up")
        total: dict[str, Any] = {}
        for field in fields(self):
            a, b = getattr(self, field.name), getattr(other, field.name)
            if isinstance(a, tuple):
                total[field.name] = tuple(x + y for x, y in zip_longest(a, b, fillvalue=0))
            else:
                total[field.name] = a if field.name in ("hours", "messages", "commands") else a + b
        return Tally(**total)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the verdict."""
        said: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        said["messages_failed"], said["commands_failed"] = self.messages_failed, self.commands_failed
        return said
