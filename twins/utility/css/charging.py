"""Energy charged to prepaid accounts as the MDMS makes intervals available."""

from __future__ import annotations

from datetime import timedelta

from drivers.roles import Billing
from twins.utility.css import billing_modes, ledger
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.events import Events
from twins.utility.css.tables import AccountRow
from twins.utility.mdms import Kind


class Charging(Part):
    """Energy that becomes money owed."""

    def __init__(self, context: Context, customers: Customers, events: Events) -> None:
        super().__init__(context)
        self._customers = customers
        self._events = events

    def published(self, kind: Kind, meter_id: str) -> None:
        """Charge what the MDMS has made available."""
        if kind is Kind.INTERVAL:
            account = self._customers.at_meter(meter_id)
            if account is not None:
                self.charge(account)

    def charge(self, account: AccountRow) -> None:
        """Charge the intervals that have become available, each once: to events what falls into them, the rest to the account
        for its prepaid time."""
        self._events.charge(account)
        with self._engine.connect() as connection:
            how = billing_modes.modes(connection, account.number)
            until = ledger.charged_until(connection, account.number)
        began = next((mode.since for mode in how if mode.billing is Billing.PREPAID), None)
        if began is None:
            return
        # a little back: an interval may come late
        since = began if until is None else max(began, until - timedelta(days=2))
        found = [s.value for s in self._mdms.intervals(account.meter_id, since)]
        intervals = self._events.rest(account.number, billing_modes.billed(found, how, Billing.PREPAID))
        price = self._config.tariff.price_millicents_per_kwh
        with self._engine.begin() as connection:
            ledger.charge_energy(connection, account.number, self._clock.now(), intervals, price)
