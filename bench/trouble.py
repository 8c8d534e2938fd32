"""A customer who has prepaid and has no power: the faults that the bench makes, what people do about them, what instruments say.

What the keywords of scenario 6 have in common; it checks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bench.bench import Bench
from bench.judge import uncertainty
from bench.judge.witness import Witness
from bench.measure import UPDATE_S
from bench.prepaying import Prepaying
from drivers.roles import Billing, Interval
from twins.utility.config import CustomerConfig
from twins.utility.css.trouble_records import Check

LONGEST_S = 600.0
"""How long anything of a report is waited for."""


class NoPowerCase(Prepaying):
    """The first customer of the bench file, who has prepaid and has no power. `report` is their report's id."""

    def __init__(self, bench: Bench, meter: str = "meter", relay: str = "relay") -> None:
        super().__init__(bench, meter)
        self._relay = relay
        self.report = 0

    # --- faults that are there -----------------------------------------------------------------------------------------

    def open_switch(self) -> None:
        """Open the service switch at the meter itself, without a message: the utility knows nothing of it."""
        self.meter.disconnect()
        self._settle()

    def cut_feed(self) -> None:
        """Have the bench's relay part the house from the meter's load side."""
        self.bench.device(self._relay).open(self.bench.strategy.load_channel)
        self._settle()

    def cut_line(self) -> None:
        """Take the meter off the AMI network."""
        self.ask(self.bench.utility.network.cut, self.meter_id)

    def mend(self) -> None:
        """Make all of it good again, and let what has waited for the meter come to it."""
        self.bench.device(self._relay).close(self.bench.strategy.load_channel)
        self.ask(self.bench.utility.network.mend, self.meter_id)
        self.until(lambda: not self._waits(), 1800.0)

    def _settle(self) -> None:
        """Let the analyzer see what has happened."""
        self.bench.advance(max(self.bench.strategy.settle_s, 2 * UPDATE_S))

    def _waits(self) -> bool:
        return any(
            self._adcs_state(request.message_id) == "queued"
            for request in self.adcs.requests()[-5:]
            if request.meter_id == self.meter_id
        )

    def _adcs_state(self, message_id: int) -> str:
        return str(self.adcs.message(message_id).state)

    # --- waiting and asking -----------------------------------------------------------------------------------------------

    def until_decided(self, count: int) -> Check | None:
        """Wait until so many tests and activations of the report are decided; the last of them, None where it is not."""

        def decided() -> list[Check]:
            return [c for c in self.css.trouble.checks(self.report) if c.decided_at is not None]

        self.until(lambda: len(decided()) >= count, LONGEST_S)
        found: list[Check] = self.ask(decided)
        return found[count - 1] if len(found) >= count else None

    def until_result(self, message_id: int) -> Any:
        """Wait until the result of a test is at the ADCS; the ADCS's record of it, None where it did not come."""

        def found() -> list[Any]:
            tests = self.adcs.tests.tests(self.meter_id)
            return [t for t in tests if t.message_id == message_id and t.received_at is not None]

        self.until(lambda: bool(found()), LONGEST_S)
        tests = self.ask(found)
        return tests[0] if tests else None

    def load_side(self) -> tuple[Witness, Witness]:
        """Measured voltage and current at the load side."""
        bench, service = self.bench, self.service
        asset = uncertainty.load(bench.config.devices["analyzer"].model)
        reading, (volts, amperes) = service.analyzer.read(), service.analyzer.ranges()
        return (
            asset.witness("voltage", reading.voltage_v, volts, on=bench.now, source="analyzer"),
            asset.witness("current", reading.current_a, amperes, on=bench.now, source="analyzer"),
        )

    # --- bills -------------------------------------------------------------------------------------------------------------

    def billed_regularly_before(self) -> bool:
        """Whether the account has been converted to regular billing at any time so far."""
        modes = self.ask(self.css.conversions.modes, self.account.number)
        return any(mode.billing is Billing.REGULAR for mode in modes[1:])

    def next_cycle(self) -> datetime:
        """The next local midnight with which a day of the account's cycle begins."""
        zone, day = self.bench.config.utility.zone, self.account.bill_cycle_day
        local = self.bench.now.astimezone(zone)
        date = local.date() + timedelta(days=1)
        while date.day != day:
            date += timedelta(days=1)
        return datetime(date.year, date.month, date.day, tzinfo=zone).astimezone(self.bench.now.tzinfo)

    def convert(self, billing: Billing) -> datetime:
        """Have the CSS convert the account; returns when."""
        self.ask(self.css.conversions.convert, self.account.number, billing)
        return self.bench.now

    def bills(self) -> Sequence[Any]:
        """Bills of the account, oldest first."""
        found: Sequence[Any] = self.ask(self.css.billing.bills, self.account.number)
        return found

    def recorded(self, since: datetime, until: datetime) -> list[Interval]:
        """Intervals that the meter itself has recorded and that start in [since, until)."""
        return [i for i in self.meter.intervals(since) if since <= i.ends_at - i.length < until]

    # --- meters without a switch ---------------------------------------------------------------------------------------------

    def open_account(self, number: str, *, switch: bool) -> None:
        """Have the CSS open an account at a meter with or without a switch, which need not be on this bench."""
        account = {
            "number": number,
            "meter_id": f"METER-{number}",
            "service_address": "34 Mill Road, Riverside",
            "billing": "regular",
            "at_zero": "regular_billing",
            "auto_replenish_cents": 5_000,
            "switch": switch,
        }
        customer = {"id": f"CU-{number}", "name": "Mill Works", "address": "34 Mill Road, Riverside"}
        self.ask(
            self.css.take_in,
            CustomerConfig.model_validate({**customer, "credential": "grist to the mill", "accounts": [account]}),
        )
