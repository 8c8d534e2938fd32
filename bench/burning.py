"""A prepaid balance that burns down on the bench: the load consumes, intervals are collected, energy is charged.

What the keywords of scenarios 4 and 5 have in common; it checks nothing. Bench time goes by whole recording intervals.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from bench.forecasting import forecast
from bench.prepaying import Prepaying, next_mark
from bench.web_customer import WebCustomer
from drivers.roles import AtZero, Interval, MessageCode
from twins.utility.payments import REQUIRED, PaymentMeans, PaymentMethod

BURNING_A = 7.5
"""What the load draws to burn a balance down: more than any home's average, less than the site's wiring carries."""
COLLECTED = timedelta(seconds=60)
"""How long after the end of an interval everything that follows from it has been done: collected, charged, sent."""


class Customer:
    """What the customer does and sees at the website, asked of the system behind it: for what comes before a test."""

    def __init__(self, case: Prepaying) -> None:
        self._case = case

    def pays(self, cents: int) -> None:
        """Prepays an amount by card, from the request to the posting."""
        self._case.prepay(cents)

    def chooses(self, option: AtZero, fallback: AtZero) -> None:
        """Chooses what happens at zero, and what where that is impossible."""
        self._case.option = option
        self._case.ask(self._case.css.choose_at_zero, self._case.account.number, option, fallback)

    def agrees_on_automatic_payments(self, cents: int, card: str) -> None:
        """Has an amount drawn from a card at the threshold or at zero."""
        data = {name: card if k == 0 else "12/31" for k, name in enumerate(REQUIRED[PaymentMethod.CARD])}
        means = PaymentMeans(PaymentMethod.CARD, data)
        self._case.bench.run(self._case.css.agree_on_replenishing(self._case.account.number, cents, means))

    def page(self) -> Any:
        """The account as the website shows it: balance, energy, time left, moment of zero, when updated."""
        return self._case.ask(self._case.css.account_page, self._case.account.number)


class Burning:
    """The account of `case` on its way to zero. `began` is when its balance was last set."""

    def __init__(self, case: Prepaying, customer: Customer | WebCustomer | None = None) -> None:
        self.case = case
        self.customer = customer or Customer(case)
        self.began = case.bench.now

    # --- acting ----------------------------------------------------------------------------------------------------------

    def draw(self, amperes: float | None = None) -> None:
        """Have the load draw a current; by default that of the site as it is provisioned."""
        strategy = self.case.bench.strategy
        load = self.case.bench.device("load")
        load.set_current(strategy.load_current_a if amperes is None else amperes)
        volts = strategy.voltage_range_v
        amps = strategy.current_range_a if amperes is None else max(amperes * 1.2, strategy.current_range_a)
        self.case.bench.device("analyzer").set_ranges(volts, amps)

    def set_balance(self, cents: int) -> None:
        """Bring the balance to an amount by paying, and by refunding what is too much; the meter is told."""
        case = self.case
        minimum = int(case.stated("minimum_payment_cents"))
        missing = cents - case.balance_cents()
        case.prepay(max(minimum, missing))
        case.until_receipt(case.message_id, 120)
        if missing < minimum:
            self.began = case.bench.now
            case.ask(case.css.refund, case.account.number, minimum - missing, f"refund-{case.request_id}")
            case.bench.advance(10)
        if case.balance_cents() != cents:
            raise AssertionError(f"the balance is {case.balance_cents()} cents, not {cents}")
        self.began = case.bench.now

    def cents_for(self, hours: float) -> int:
        """What so many hours from now cost by the history."""
        now = self.case.bench.now
        used_up_at = forecast(self.case, now)

        def too_little(cents: int) -> bool:
            return used_up_at(cents, now) - now < timedelta(hours=hours)

        enough = 1
        while too_little(enough):
            enough *= 2
        return bisect.bisect_left(range(enough), True, lo=1, key=lambda cents: not too_little(cents))

    def interval_passes(self, count: int = 1) -> None:
        """Let recording intervals end, and all be done that follows from each."""
        for _ in range(count):
            ahead, now = self.case.ahead_by(), self.case.bench.now
            on_meter = now + ahead
            end = next_mark(on_meter, self.length)
            self.case.bench.advance((end - on_meter + COLLECTED).total_seconds())

    def until(self, kind: str, within: timedelta) -> Any:
        """Let intervals pass until something has happened to the balance; the event, None where it didn't in time."""
        deadline = self.case.bench.now + within
        while (found := self.event(kind)) is None and self.case.bench.now < deadline:
            self.interval_passes()
        return found

    # --- asking ------------------------------------------------------------------------------------------------------------

    def display(self, name: str) -> Any:
        """The driver of the display device, which has read everything that the device told unasked in the hours before.

        The answer to a question that is never told unasked comes after all of that.
        """
        driver = self.case.bench.device(name)
        driver.link()
        return driver

    @property
    def length(self) -> timedelta:
        """The recording interval that the meter has."""
        lately = self.case.bench.now + self.case.ahead_by() - 4 * self.case.interval
        found: Sequence[Interval] = self.case.meter.intervals(lately)
        whole = [i.length for i in found[-3:] if i.complete]
        return whole[-1] if whole else self.case.interval

    def events(self) -> list[Any]:
        """What has happened to the balance since it was set, oldest first."""
        found = self.case.ask(self.case.css.balance_events, self.case.account.number)
        return [e for e in found if e.at >= self.began]

    def event(self, kind: str) -> Any:
        """The latest thing of a kind that has happened to the balance; None before any."""
        found = [e for e in self.events() if e.kind == kind]
        return found[-1] if found else None

    def commands(self, code: MessageCode) -> list[Any]:
        """What the CSS has asked the ADCS to send of a code since the balance was set, oldest first."""
        found = self.case.ask(self.case.css.commands, self.case.account.number)
        return [c.request for c in found if c.code is code and c.created_at >= self.began]

    def messages(self, code: MessageCode, since: datetime) -> Iterator[Any]:
        """The ADCS's records of messages of a code that it was asked for since, oldest first."""
        for request in self.case.ask(self.case.adcs.requests):
            if request.code is code and request.received_at >= since:
                yield self.case.sent(request.message_id)

    def intervals_since(self, at: datetime) -> list[tuple[datetime, datetime]]:
        """Whole recording intervals, and the time in which what follows from each is done, since a moment: [end, next end)."""
        ahead = self.case.ahead_by()
        ends = [i.ends_at - ahead for i in self.case.meter.intervals(at + ahead) if i.ends_at - ahead > at]
        return [(end, end + self.length) for end in ends if end + COLLECTED <= self.case.bench.now]
