"""Ways to pay, what each needs to be told, and who says whether the money is there.

The utility's test processor answers by what its configuration says of an account, as a bank's test system does.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from twins.clock import Clock


class PaymentMethod(enum.Enum):
    """The utility's payment options. None of them is the meter."""

    CARD = "card"
    DEBIT = "debit"
    BANK = "bank"
    CHECK = "check"
    PAY_STATION = "pay_station"
    CASH = "cash"


REQUIRED: Mapping[PaymentMethod, tuple[str, ...]] = {
    PaymentMethod.CARD: ("number", "expiry"),
    PaymentMethod.DEBIT: ("number", "expiry"),
    PaymentMethod.BANK: ("account", "routing"),
    PaymentMethod.CHECK: ("account", "routing", "check"),
    PaymentMethod.PAY_STATION: ("receipt", "station"),
    PaymentMethod.CASH: ("receipt", "office"),
}
"""Payment data by method. The first names what is drawn on."""


@dataclass(frozen=True)
class PaymentMeans:
    """A method and its data, say `{"number": ..., "expiry": ...}` of a card. Its text never shows the data."""

    method: PaymentMethod
    data: Mapping[str, str] = field(repr=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the data that the method needs and that are not there."""
        return tuple(name for name in REQUIRED[self.method] if not self.data.get(name, "").strip())

    @property
    def drawn_on(self) -> str:
        """The number of the card, account or receipt that the money comes from."""
        return self.data[REQUIRED[self.method][0]]

    def masked(self) -> dict[str, str]:
        """The data as it may be logged: the last four characters of what the money is drawn on, everything else hidden."""
        first = REQUIRED[self.method][0]
        return {
            name: "*" * max(0, len(text) - 4) + text[-4:] if name == first and len(text) > 4 else "****"
            for name, text in self.data.items()
        }


class Funds(enum.Enum):
    """How a charge ended."""

    APPROVED = "approved"
    DECLINED = "declined"
    NO_ANSWER = "no answer"  # it may or may not have been made: ask again with the same key


@dataclass(frozen=True)
class Charge:
    """A processor's answer. `authorization` is the processor's own number of an approved charge."""

    funds: Funds
    authorization: str | None = None
    why: str = ""


class PaymentProcessor(Protocol):
    """Whoever takes the money: a card network, a bank, the pay stations."""

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        """Take `cents`. Asked again with the same key it charges nothing and repeats its answer."""
        ...

    async def status(self, key: str) -> Charge | None:
        """What became of the charge with that key; None where there was none."""
        ...


class ProcessorConfig(BaseModel):
    """What the test processor knows of the numbers (cards, accounts, receipts) that it is asked to draw on.

    One that it knows nothing of has the money.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    declined: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """It charges these, and its first answer gets lost; asked again with the same key it tells."""
    funds_cents: dict[str, int] = Field(default_factory=dict)
    """What there is, and is used up charge by charge."""


class ConfiguredProcessor:
    """A processor for all methods that answers by its configuration, and keeps what it charged by key."""

    def __init__(self, clock: Clock, config: ProcessorConfig) -> None:
        self._clock = clock
        self._config = config
        self._funds = dict(config.funds_cents)
        self._answers: dict[str, Charge] = {}
        self.charges: list[tuple[datetime, str, int]] = []
        """Charges made: when, key, cents."""

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        if key not in self._answers:
            self._answers[key] = self._decide(key, means.drawn_on, cents)
            if means.drawn_on in self._config.silent:
                return Charge(Funds.NO_ANSWER)
        return self._answers[key]

    async def status(self, key: str) -> Charge | None:
        return self._answers.get(key)

    def _decide(self, key: str, number: str, cents: int) -> Charge:
        if number in self._config.declined:
            return Charge(Funds.DECLINED, why="the issuer declined")
        if number in self._funds:
            if self._funds[number] < cents:
                return Charge(Funds.DECLINED, why="not enough funds")
            self._funds[number] -= cents
        self.charges.append((self._clock.now(), key, cents))
        return Charge(Funds.APPROVED, authorization=f"AUTH-{len(self.charges):06d}")
