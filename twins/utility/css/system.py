"""The CSS as others see it: its parts put together, each subject's methods in one place."""

from __future__ import annotations

import asyncio

from sqlalchemy import Engine

from drivers.roles import AtZero
from twins.clock import Clock
from twins.utility.adcs import Adcs
from twins.utility.adcs_schedules import Schedules
from twins.utility.config import CustomerConfig, UtilityConfig
from twins.utility.css.billing import Bills
from twins.utility.css.bookings import Bookings
from twins.utility.css.charging import Charging
from twins.utility.css.commands import Commands
from twins.utility.css.context import Context
from twins.utility.css.conversions import Conversions
from twins.utility.css.customers import Customers
from twins.utility.css.eligibility import Eligibility
from twins.utility.css.estimates import Estimates
from twins.utility.css.events import Events
from twins.utility.css.front import Front
from twins.utility.css.orders import Orders
from twins.utility.css.outcomes import Outcomes
from twins.utility.css.pages import Pages
from twins.utility.css.paying import Paying
from twins.utility.css.records import (
    AccountPage,
    BalanceEvent,
    Command,
    Confirmation,
    Contact,
    CustomerData,
    Estimate,
    IdentityCheck,
    LedgerEntry,
    LoggedPayment,
    LoggedRequest,
    Payment,
    Posting,
    PrepayRequest,
    Stage,
    Statement,
    StationPayment,
)
from twins.utility.css.refunds import Refunds
from twins.utility.css.replenish import Replenishing
from twins.utility.css.trouble import Trouble
from twins.utility.css.watch import Watch
from twins.utility.mdms import Mdms
from twins.utility.payments import PaymentMeans, PaymentProcessor


class Css:
    """The customer service system. Every method belongs to the event loop's thread.

    What a method refuses, and why, is said at the part that it belongs to.
    """

    def __init__(
        self,
        clock: Clock,
        engine: Engine,
        config: UtilityConfig,
        processor: PaymentProcessor,
        adcs: Adcs,
        mdms: Mdms,
        schedules: Schedules,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.context = Context(clock, engine, config, processor, adcs, mdms, schedules, defects)
        self.customers = Customers(self.context)
        self.estimates = Estimates(self.context, self.customers)
        self.outbox = Commands(self.context, self.customers, self.estimates)
        self.eligibility = Eligibility(self.context, self.customers)
        self.events = Events(self.context, self.customers, self.estimates, self.outbox)
        self.bookings = Bookings(self.context, self.customers, self.estimates, self.events)
        self.paying = Paying(
            self.context, self.customers, self.estimates, self.outbox, self.bookings, self.events, self.eligibility
        )
        self.charging = Charging(self.context, self.customers, self.events)
        self.replenishing = Replenishing(self.context, self.customers, self.paying)
        outcomes = Outcomes(self.context, self.customers, self.outbox, self.eligibility)
        self.watch = Watch(
            self.context, self.customers, self.estimates, self.outbox, outcomes, self.paying, self.replenishing
        )
        self.refunds = Refunds(self.context, self.customers, self.estimates, self.outbox, self.watch)
        self.conversions = Conversions(self.context, self.customers, self.outbox)
        self.billing = Bills(self.context, self.customers, self.events)
        self.orders = Orders(self.context)
        self.trouble = Trouble(self.context, self.customers, self.estimates, self.outbox, self.paying, self.orders)
        self.pages = Pages(self.context, self.customers, self.estimates, self.paying)
        self.front = Front(self.context, self.customers, self.paying)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Take in the customers that are new, catch up on energy to charge, and hand over commands that were left."""
        for customer in self.context.config.customers:
            self.customers.take_in(customer)
        self.context.mdms.subscribe(self.charging.published)
        self.billing.start()
        self.trouble.start()
        for account in self.customers.accounts():
            self.charging.charge(account)
        self.context.mdms.subscribe(self.watch.published)
        self.watch.start()
        self.outbox.wake()
        clock = self.context.clock
        self._tasks = [
            clock.spawn(self.paying.settle(), name="css settle"),
            clock.spawn(self.outbox.send(), name="css outbox"),
            clock.spawn(self.watch.refresh_daily(), name="css refresh"),
            clock.spawn(self.watch.run(), name="css watch"),
            clock.spawn(self.events.keep(), name="css events"),
            clock.spawn(self.billing.issue(), name="css billing"),
        ]

    async def close(self) -> None:
        """Stop the CSS's tasks; what they had not done is taken up by the next start."""
        self.trouble.close()
        for task in self._tasks:
            task.cancel()
        self.paying.close()
        self.replenishing.close()
        self.watch.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_in(self, customer: CustomerConfig) -> None:
        """Take in a customer, or those of their accounts that are new, while the CSS runs."""
        self.customers.take_in(customer)
        self.billing.wake()

    # --- S1.01, S1.02: the request and who makes it ---

    def log_request(self, request: PrepayRequest) -> int:
        """Log a request to prepay; returns its id."""
        return self.customers.log_request(request)

    def requests(self) -> tuple[LoggedRequest, ...]:
        """All requests logged, oldest first."""
        return self.customers.requests()

    def identify(self, request_id: int, credential: str) -> CustomerData:
        """Confirm the identity of who made a request; customer data back."""
        return self.customers.identify(request_id, credential)

    def identity_checks(self) -> tuple[IdentityCheck, ...]:
        """All identity checks, oldest first."""
        return self.customers.identity_checks()

    # --- S1.03: the estimate ---

    def estimate(self, request_id: int, account_number: str | None = None) -> Estimate:
        """What the service takes through the request's time frame, from history."""
        return self.estimates.estimate(request_id, account_number)

    # --- S1.04 to S1.06: the payment, its posting, the command ---

    async def pay(self, payment: Payment) -> Posting:
        """Verify the funds of a payment, post it, and command the meter to be told."""
        return await self.paying.pay(payment)

    async def pay_at_station(self, paid: StationPayment) -> Posting:
        """Post what a pay station has taken, at once."""
        return await self.paying.pay_at_station(paid)

    async def agree_on_replenishing(self, account_number: str, cents: int, means: PaymentMeans) -> None:
        """Agree on automatic payments of an amount by these means; choose the option for them to be made."""
        await self.replenishing.agree(account_number, cents, means)

    def choose_at_zero(self, account_number: str, option: AtZero, fallback: AtZero | None = None) -> None:
        """Choose an account's option at zero, and what happens where that turns out to be impossible."""
        self.eligibility.choose(account_number, option, fallback)

    def refund(self, account_number: str, cents: int, reference: str) -> LedgerEntry:
        """Give credit back to the customer, once for each reference."""
        return self.refunds.refund(account_number, cents, reference)

    def options(self, account_number: str) -> tuple[AtZero, ...]:
        """What an account can have happen at zero."""
        return self.paying.options(account_number)

    def payments(self, account_number: str) -> tuple[LoggedPayment, ...]:
        """Payments of an account as logged, by the time they were asked for."""
        return self.paying.payments(account_number)

    def postings(self, account_number: str) -> tuple[Posting, ...]:
        """Payments posted to an account, oldest first."""
        return self.paying.postings(account_number)

    def ledger(self, account_number: str) -> tuple[LedgerEntry, ...]:
        """The ledger of an account, oldest entry first."""
        return self.estimates.ledger(account_number)

    def balance_cents(self, account_number: str) -> int:
        """The balance of an account: the sum of its ledger."""
        return self.estimates.balance_cents(account_number)

    def commands(self, account_number: str) -> tuple[Command, ...]:
        """Commands to the ADCS for an account, oldest first."""
        return self.outbox.commands(account_number)

    def statements(self, account_number: str) -> tuple[Statement, ...]:
        """What the meter was to be told of an account, oldest first."""
        return self.outbox.statements(account_number)

    def refresh(self, account_number: str) -> int:
        """Send the account's balance to the meter now; returns the message id."""
        return self.outbox.refresh(account_number)

    # --- S4.01, S5.01, S5.07: a balance that nears zero ---

    def balance_events(self, account_number: str) -> tuple[BalanceEvent, ...]:
        """What has happened to an account's balance near zero, oldest first."""
        return self.watch.events(account_number)

    def stage(self, account_number: str) -> Stage:
        """How an account's balance stands."""
        return self.watch.stage(account_number)

    def outcome(self, account_number: str) -> AtZero | None:
        """What was done when an account's balance reached zero, as long as it lasts."""
        return self.watch.outcome(account_number)

    # --- S1.11, S1.12: what the representative and the customer see ---

    def confirmation(self, payment_id: str) -> Confirmation | None:
        """The meter's receipt for a payment, once the MDMS makes it available; None until then."""
        return self.pages.confirmation(payment_id)

    def acknowledge(self, payment_id: str, representative: str) -> Confirmation:
        """A representative has seen the confirmation."""
        return self.pages.acknowledge(payment_id, representative)

    def account_page(self, account_number: str) -> AccountPage:
        """What the customer sees of an account now."""
        return self.pages.account_page(account_number)

    def contacts(self) -> tuple[Contact, ...]:
        """The contact log, oldest first."""
        return self.pages.contacts()
