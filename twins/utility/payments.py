"""Ways to pay, what each needs to be told, and who says whether the money is there.

The utility's test processor answers by what its configuration says of an account, as a bank's test system does.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

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


TOKEN = "token"
_SECOND_ANSWER_S = 1.0


@dataclass(frozen=True)
class PaymentMeans:
    """A method and its data, say `{"number": ..., "expiry": ...}` of a card. Its text never shows the data.

    A `token` that the processor has given for the data (`Vault`) stands for all of it.
    """

    method: PaymentMethod
    data: Mapping[str, str] = field(repr=False)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the data that the method needs and that are not there."""
        if self.data.get(TOKEN):
            return ()
        return tuple(name for name in REQUIRED[self.method] if not self.data.get(name, "").strip())

    @property
    def drawn_on(self) -> str:
        """The number of the card, account or receipt that the money comes from, or the token that stands for it."""
        return self.data.get(TOKEN) or self.data[REQUIRED[self.method][0]]

    def masked(self) -> dict[str, str]:
        """The data as it may be logged: the last four characters of what the money is drawn on, everything else hidden."""
        shown = (REQUIRED[self.method][0], TOKEN)
        return {
            name: "*" * max(0, len(text) - 4) + text[-4:] if name in shown and len(text) > 4 else "****"
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


@runtime_checkable
class Vault(Protocol):
    """A processor that keeps payment data for automatic payments, so that the utility need not."""

    async def keep(self, means: PaymentMeans) -> str:
        """Keep the data; returns a token that stands for it in later charges."""
        ...


@runtime_checkable
class Notifies(Protocol):
    """A processor that also tells answers by itself: late, or once more."""

    def subscribe(self, tell: Callable[[str, Charge], None]) -> None:
        """Call `tell(key, charge)` with every such answer."""
        ...


class ProcessorConfig(BaseModel):
    """What the test processor knows of the numbers (cards, accounts, receipts) that it is asked to draw on.

    One that it knows nothing of has the money.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    declined: tuple[str, ...] = ()
    declined_first: tuple[str, ...] = ()
    """It declines the first charge of these, and has the money for all later ones."""
    silent: tuple[str, ...] = ()
    """It charges these, and its first answer gets lost; asked again with the same key it tells."""
    unheard: tuple[str, ...] = ()
    """The first request about a key of these gets lost on its way: nothing is charged, nothing answered."""
    twice: tuple[str, ...] = ()
    """It answers twice about these: to the request, and a second later by itself."""
    funds_cents: dict[str, int] = Field(default_factory=dict)
    """What there is, and is used up charge by charge."""


class ConfiguredProcessor:
    """A processor for all methods that answers by its configuration, and keeps what it charged by key."""

    def __init__(self, clock: Clock, config: ProcessorConfig) -> None:
        self._clock = clock
        self._config = config
        self._funds = dict(config.funds_cents)
        self._answers: dict[str, Charge] = {}
        self._lost: set[str] = set()
        self._declined_once: set[str] = set()
        self._kept: dict[str, str] = {}
        self._tell: list[Callable[[str, Charge], None]] = []
        for number in (
            *config.declined,
            *config.declined_first,
            *config.silent,
            *config.unheard,
            *config.twice,
            *self._funds,
        ):
            self._kept[_token(number)] = number
        self.charges: list[tuple[datetime, str, int]] = []
        """Charges made: when, key, cents."""

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        number = self._kept.get(means.drawn_on, means.drawn_on)
        if key not in self._answers:
            if number in self._config.unheard and key not in self._lost:
                self._lost.add(key)
                return Charge(Funds.NO_ANSWER)
            self._answers[key] = self._decide(key, number, cents)
            if number in self._config.silent:
                return Charge(Funds.NO_ANSWER)
            if number in self._config.twice:
                self._clock.call_later(_SECOND_ANSWER_S, self._tell_all, key)
        return self._answers[key]

    async def status(self, key: str) -> Charge | None:
        return self._answers.get(key)

    async def keep(self, means: PaymentMeans) -> str:
        token = _token(means.drawn_on)
        self._kept[token] = means.drawn_on
        return token

    def subscribe(self, tell: Callable[[str, Charge], None]) -> None:
        self._tell.append(tell)

    def _tell_all(self, key: str) -> None:
        for tell in self._tell:
            tell(key, self._answers[key])

    def _decide(self, key: str, number: str, cents: int) -> Charge:
        if number in self._config.declined:
            return Charge(Funds.DECLINED, why="the issuer declined")
        if number in self._config.declined_first and number not in self._declined_once:
            self._declined_once.add(number)
            return Charge(Funds.DECLINED, why="the issuer declined for now")
        if number in self._funds:
            if self._funds[number] < cents:
                return Charge(Funds.DECLINED, why="not enough funds")
            self._funds[number] -= cents
        self.charges.append((self._clock.now(), key, cents))
        return Charge(Funds.APPROVED, authorization=f"AUTH-{len(self.charges):06d}")


def _token(number: str) -> str:
    """The same for the same number, so that a test processor that was restarted still knows those of its configuration."""
    return f"tok-{hashlib.sha256(number.encode()).hexdigest()[:20]}"
