"""Energy charged to prepaid accounts as the MDMS makes intervals available."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from drivers.roles import Billing
from twins.utility.css import ledger
from twins.utility.css.context import Context, Part
from twins.utility.css.customers import Customers
from twins.utility.css.tables import AccountRow
from twins.utility.mdms import Kind


class Charging(Part):
    """Energy that becomes money owed."""

    def __init__(self, context: Context, customers: Customers) -> None:
        super().__init__(context)
        self._customers = customers

    def published(self, kind: Kind, meter_id: str) -> None:
        """Charge what the MDMS has made available."""
        if kind is Kind.INTERVAL:
            account = self._customers.at_meter(meter_id)
            if account is not None:
                self.charge(account)

    def charge(self, account: AccountRow) -> None:
        """Charge a prepaid account for the intervals that have become available, each once; after it has become a regular
        one, for those that are still late."""
        if account.prepaid_since is None or (
            Billing(account.billing) is not Billing.PREPAID and account.prepaid_until is None
        ):
            return
        with Session(self._engine) as session:
            until = ledger.charged_until(session, account.number)
        # a little back: an interval may come late
        since = account.prepaid_since if until is None else max(account.prepaid_since, until - timedelta(days=2))
        intervals = [s.value for s in self._mdms.intervals(account.meter_id, since, account.prepaid_until)]
        price = self._config.tariff.price_millicents_per_kwh
        with Session(self._engine) as session, session.begin():
            ledger.charge_energy(session, account.number, self._clock.now(), intervals, price)
