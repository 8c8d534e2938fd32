"""Energy charged to prepaid accounts as the MDMS makes intervals available."""

from __future__ import annotations

from datetime import datetime, timedelta

from drivers.roles import Billing
from twins.utility.css import billing_modes, ledger
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.events import Events
from twins.utility.css.tables import AccountRow
from twins.utility.mdms import Kind

_LOOK_BACK = timedelta(days=100)


class Charging(Part):
    """Energy that becomes money owed."""

    def __init__(self, context: Context, customers: Customers, events: Events) -> None:
        super().__init__(context)
        self._customers = customers
        self._events = events
        self._looked: dict[str, tuple[datetime, tuple[billing_modes.Mode, ...]]] = {}
        """By account: until when intervals that became available have been looked at, and how it was billed then."""

    def published(self, kind: Kind, meter_id: str) -> None:
        """Charge what the MDMS has made available."""
        if kind is Kind.INTERVAL:
            account = self._customers.at_meter(meter_id)
            if account is not None:
                self.charge(account)

    def charge(self, account: AccountRow) -> None:
        """Charge the intervals that have become available, each once, and of those revised the difference: to events what falls
        into them, the rest to the account for its prepaid time."""
        now = self._clock.now()
        looked, billed = self._looked.get(account.number, (None, ()))
        self._events.charge(account, looked)
        with self._engine.connect() as connection:
            how = billing_modes.modes(connection, account.number)
            until = ledger.charged_until(connection, account.number)
        began = next((mode.since for mode in how if mode.billing is Billing.PREPAID), None)
        if began is not None:
            fresh = looked if how == billed else None
            # At first, and when it is billed another way, as far back as a meter keeps intervals: any may have been revised.
            since = began if until is None or fresh is not None else max(began, until - _LOOK_BACK)
            stored = self._mdms.intervals(account.meter_id, since, available_since=fresh)
            found = billing_modes.billed([s.value for s in stored], how, Billing.PREPAID)
            intervals = self._events.rest(account.number, found)
            price = self._config.tariff.price_millicents_per_kwh
            with self._engine.begin() as connection:
                ledger.charge_energy(connection, account.number, now, intervals, price)
        self._looked[account.number] = now, how
