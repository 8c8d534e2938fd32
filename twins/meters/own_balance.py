"""A balance that the meter works out by itself between messages: amount and rate are sent once, energy is its own.

The back office keeps the ledger; the two agree within one interval's energy (our profile).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from drivers.roles import Account

_MILLICENTS = 1000
_WH = 1000
_LEAST = -(1 << 31)
"""What an account's fields can hold; nobody owes twenty million dollars for an interval."""


class OwnBalance:
    """What an account comes to, from what was sent and the energy since. `delivered_wh` is the register's."""

    def __init__(self, delivered_wh: Callable[[], float], defects: frozenset[str]) -> None:
        self._delivered_wh = delivered_wh
        self._defects = defects
        self._sent: Account | None = None
        self._from_wh = 0.0

    def begin(self, account: Account) -> None:
        """Count from here on: these figures were sent now, or billing begins to debit them now."""
        self._sent = account
        self._from_wh = self._delivered_wh()

    def now(self, at: datetime) -> Account:
        """The account as of now: balance, energy credit and time left less what was used since `begin`.

        Time left goes by the rate of use that the figures sent stand for.
        """
        sent = self._sent
        assert sent is not None, "nothing was sent to count from"
        used_wh = self._delivered_wh() - self._from_wh
        price = _PER_KWH if "local_balance_ignores_price" in self._defects else sent.price_millicents_per_kwh
        credit_wh = sent.credit_wh - round(used_wh)
        left = timedelta(0)
        if sent.credit_wh > 0 and credit_wh > 0:
            left = timedelta(seconds=int(sent.time_left.total_seconds() * credit_wh / sent.credit_wh))
        if "local_time_left_stands" in self._defects:
            left = sent.time_left
        return replace(
            sent,
            balance_cents=max(_LEAST, sent.balance_cents - round(used_wh / _WH * price / _MILLICENTS)),
            credit_wh=max(_LEAST, credit_wh),
            time_left=left,
            zero_at=at + left,
            updated_at=at,
        )


_PER_KWH = 10 * _MILLICENTS
"""What the defect takes for the price: ten cents a kWh, whatever was sent."""
