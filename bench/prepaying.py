"""One customer who prepays for the site on the bench: acting for people, asking systems and devices, waiting for receipts.

What the keywords of the prepayment suites have in common; it checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from bench.bench import Bench
from bench.judge.witness import Witness
from bench.measure import Service
from drivers.errors import Refused
from drivers.roles import AtZero, DisplayCode, EventCode, LogEntry, MessageCode, Receipt
from twins.utility.adcs import Request
from twins.utility.css import Payment, PrepayRequest
from twins.utility.errors import NotAccepted
from twins.utility.payments import REQUIRED, PaymentMeans, PaymentMethod

_LAST = 5
"""Messages that are looked at for whether the ADCS waits for any: older ones have been given up."""


def payment_data(method: PaymentMethod, drawn_on: str | None = None) -> dict[str, str]:
    """What a payment by this method needs, made up; `drawn_on` is the card or account where it matters which."""
    data = {name: f"{4000 + k}" * 3 for k, name in enumerate(REQUIRED[method])}
    if drawn_on is not None:
        data[REQUIRED[method][0]] = drawn_on
    return data


_READINGS = 5
_QUICK = timedelta(seconds=0.1)
"""How often a clock is read at most, and how long a reading may take that is good enough."""


def next_mark(now: datetime, interval: timedelta) -> datetime:
    """The next moment that is a whole number of intervals into its day."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + ((now - day) // interval + 1) * interval


class Prepaying:
    """The first customer of the bench file, the first account, and the meter at its address.

    `meter` names the meter under test in the bench file. `request_id`, `payment_id` and `posting` are those of the latest
    payment.
    """

    def __init__(self, bench: Bench, meter: str = "meter") -> None:
        self.bench = bench
        self.meter_name = meter
        self.request_id: Any = None
        self.payment_id = ""
        self.posting: Any = None
        self.option = AtZero.DISCONNECT
        self.asked: list[int] = []
        """Ids of the messages that a test has had sent to the meter: commands, alerts, those of payments."""
        self.posted_at: datetime | None = None
        self.energised_at: datetime | None = None
        """When the latest payment was posted, and when an instrument saw current flow after it."""

    # --- who there is --------------------------------------------------------------------------------------------------

    @property
    def css(self) -> Any:
        """The utility's customer service system. Ask it through `ask`."""
        return self.bench.utility.css

    @property
    def adcs(self) -> Any:
        """The head-end. Ask it through `ask`."""
        return self.bench.utility.adcs

    @property
    def mdms(self) -> Any:
        """The meter data management system. Ask it through `ask`."""
        return self.bench.utility.mdms

    @property
    def meter(self) -> Any:
        """The driver of the meter under test."""
        return self.bench.device(self.meter_name)

    @property
    def model(self) -> Any:
        """The healthy model of the meter under test, fed with the same commands."""
        return self.bench.predicted(self.meter_name)

    @property
    def customer(self) -> Any:
        """The customer, as the bench file gives them."""
        return self.bench.config.utility.customers[0]

    @property
    def account(self) -> Any:
        """The account, as the bench file gives it."""
        return self.customer.accounts[0]

    @property
    def meter_id(self) -> str:
        """The id under which the utility knows the meter."""
        return str(self.account.meter_id)

    @cached_property
    def service(self) -> Service:
        """The service as the instruments see it. It remembers how closely they have looked so far."""
        return Service(self.bench, float(self.pixit("test_current_a")), meter=self.meter_name)

    @property
    def interval(self) -> timedelta:
        """The recording interval that the site is provisioned with."""
        return timedelta(minutes=self.bench.strategy.interval_min)

    def pixit(self, name: str) -> Any:
        """A value that the meter's supplier gives for the tests."""
        return self.bench.pics()["Meter"].value(name)

    def stated(self, name: str) -> Any:
        """A value that the utility states of its own systems for the tests."""
        return self.bench.pics()["CSS"].value(name)

    def ask(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Ask a system of the utility something, between two steps of the clock."""
        return self.bench.call(fn, *args, **kwargs)

    # --- acting ----------------------------------------------------------------------------------------------------------

    def request(self) -> None:
        """The customer asks by phone to prepay for the next thirty days."""
        now = self.bench.now
        asked = PrepayRequest(
            account_numbers=(self.account.number,),
            name=self.customer.name,
            address=self.customer.address,
            credential=self.customer.credential,
            starts_at=now,
            ends_at=now + timedelta(days=30),
            channel="phone",
        )
        self.request_id = self.ask(self.css.log_request, asked)
        self.payment_id = f"payment-{self.request_id}"

    def identify(self, credential: str | None = None) -> Any:
        """The representative confirms the customer; None where the CSS refuses."""
        with suppress(NotAccepted):
            return self.ask(self.css.identify, self.request_id, credential or self.customer.credential)
        return None

    def pay(
        self, cents: int, method: PaymentMethod, *, drawn_on: str | None = None, payment_id: str | None = None
    ) -> Any:
        """Pay for the request. NotAccepted where the utility does not take it."""
        payment = Payment(
            payment_id=payment_id or self.payment_id,
            request_id=self.request_id,
            account_number=self.account.number,
            amount_cents=cents,
            means=PaymentMeans(method, payment_data(method, drawn_on)),
            at_zero=self.option,
        )
        self.posting = self.bench.run(self.css.pay(payment))
        return self.posting

    def prepay(self, cents: int) -> None:
        """Everything from the request to the posting of a card payment, in one go."""
        self.request()
        self.identify()
        self.pay(cents, PaymentMethod.CARD)

    def submit(self, code: MessageCode, **fields: Any) -> int:
        """Ask the ADCS for a message to the meter, as another system; returns its message id."""
        return int(self.ask(self.adcs.submit, Request(source="CSS", meter_id=self.meter_id, code=code, **fields)))

    def send(self, code: MessageCode, **fields: Any) -> int:
        """`submit`, and wait for the receipt at most two minutes."""
        message_id = self.submit(code, **fields)
        self.until_receipt(message_id, 120)
        return message_id

    def event(self) -> dict[str, Any]:
        """Fields of a prepayment event of two hours, two days from now or after the last one that the meter has."""
        start: datetime = max([self.bench.now + timedelta(days=2), *(e.ends_at for e in self.meter.schedule())])
        return {
            "event_id": int(start.timestamp()) % 2**16 + 1,
            "starts_at": start,
            "ends_at": start + timedelta(hours=2),
            "credit_wh": 10_000,
            "at_zero": AtZero.DISCONNECT,
        }

    def balance_message(self, cents: int, left: timedelta) -> dict[str, Any]:
        """Fields of a balance message: so many cents that last so long from now, and 40 Wh for each of them."""
        zero_at = self.bench.now + left
        return {"balance_cents": cents, "credit_wh": cents * 40, "time_left": left, "zero_at": zero_at}

    def refused_at_meter(self, cents: int) -> bool:
        """Offer credit at the meter itself; whether it refuses that."""
        try:
            self.meter.add_credit(cents)
        except Refused:
            return True
        return False

    # --- waiting -----------------------------------------------------------------------------------------------------------

    def until(self, done: Callable[[], bool], within_s: float) -> bool:
        """Let bench time pass until `done()`, asked on the bench's loop; whether it came true in time."""
        return self.bench.wait_until(done, within_s)

    def until_accepted(self, message_id: int, within_s: float) -> bool:
        """Wait until the meter has accepted a message."""
        return self.until(lambda: self._has(message_id, "accepted_at"), within_s)

    def until_receipt(self, message_id: int, within_s: float) -> bool:
        """Wait until the ADCS has a message's receipt."""
        return self.until(lambda: self._has(message_id, "receipt_at"), within_s)

    def until_quiet(self, within_s: float) -> bool:
        """Wait until the ADCS has the receipts of all that was last asked for; what is sent next is processed at once."""

        def quiet() -> bool:
            asked = [r.message_id for r in self.adcs.requests() if r.meter_id == self.meter_id]
            return all(self._has(message_id, "receipt_at") for message_id in asked[-_LAST:])

        return self.until(quiet, within_s)

    def taken_at(self, message_id: int) -> list[datetime]:
        """When the meter took a message, on the bench's own clock; once for each time that it was sent."""
        return [
            at
            for at, name, what, args in self.bench.taken
            if (name, what) == (self.meter_name, "send") and args[0].message_id == message_id
        ]

    def _has(self, message_id: int, what: str) -> bool:
        with suppress(NotAccepted):
            return getattr(self.adcs.message(message_id), what) is not None
        return False

    def collect(self) -> None:
        """Have the ADCS collect log, intervals and results from the meter now."""

        async def collected() -> None:
            done = self.adcs.collect(self.meter_id)
            clock = self.bench.clock
            await clock.run_until(clock.now() + timedelta(seconds=60), done.is_set)

        self.bench.run(collected())

    # --- asking ------------------------------------------------------------------------------------------------------------

    @property
    def message_id(self) -> int:
        """Id of the latest payment's message to the meter, 0 where there is none."""
        return int(self.posting.message_id or 0) if self.posting is not None else 0

    def sent(self, message_id: int | None = None) -> Any:
        """The ADCS's record of a message, None where it has none."""
        with suppress(NotAccepted):
            return self.ask(self.adcs.message, self.message_id if message_id is None else message_id)
        return None

    def commanded(self, message_id: int | None = None) -> Any:
        """What the CSS has asked the ADCS to send under a message id, None where it has asked for nothing."""
        wanted = self.message_id if message_id is None else message_id
        commands = self.ask(self.css.commands, self.account.number)
        return next((c.request for c in commands if wanted and c.message_id == wanted), None)

    def statement(self) -> Any:
        """The latest statement of the account: what the back office holds true. None before any."""
        statements = self.ask(self.css.statements, self.account.number)
        return statements[-1] if statements else None

    def balance_cents(self) -> int:
        """The account's balance by the ledger."""
        return int(self.ask(self.css.balance_cents, self.account.number))

    def receipt(self, message_id: int | None = None) -> Receipt | None:
        """The meter's own receipt of a message, read from the meter."""
        wanted = self.message_id if message_id is None else message_id
        found = [r for r in self.meter.receipts() if r.message_id == wanted]
        return found[0] if found else None

    def logged(self, event: EventCode, message_id: int, of: Any = None) -> LogEntry | None:
        """The meter's log entry of an event for a message; `of` is the meter's driver unless the model is given."""
        entries: Sequence[LogEntry] = (of or self.meter).log()
        found = [e for e in entries if e.event is event and e.argument == message_id]
        return found[0] if found else None

    def held(self, kind: str) -> list[Any]:
        """What the MDMS has logged of a kind (`receipt`, `interval`, `log`, `test`, ...), available or not."""
        return list(self.ask(self.mdms.received, kind, self.meter_id))

    def passed_on(self, kind: str, message_id: int) -> bool:
        """Whether the MDMS has got something of a kind that belongs to a message."""
        return bool(message_id) and any(p.value.message_id == message_id for p in self.held(kind))

    def shown(self) -> dict[DisplayCode, str]:
        """What the meter's display shows."""
        return {item.code: item.text for item in self.meter.display()}

    def should_show(self, code: DisplayCode) -> Witness:
        """What the meter's display should show."""
        return self.predict({item.code: item.text for item in self.model.display()}.get(code))

    def predict(self, value: Any) -> Witness:
        """A value of the healthy model as a witness."""
        return Witness.predict(value, f"model of {self.meter_name}")

    def ahead_by(self) -> timedelta:
        """How far the meter's own clock is ahead of bench time, from the quickest of a few readings where they take long: on
        real time a busy machine holds one up on its way."""
        quickest: tuple[timedelta, timedelta] | None = None
        for _ in range(_READINGS):
            asked = self.bench.now
            clock: datetime = self.meter.clock()
            took = self.bench.now - asked
            if quickest is None or took < quickest[0]:
                quickest = took, clock - (asked + took / 2)
            if took <= _QUICK:
                break
        assert quickest is not None
        return quickest[1]
