"""The configuration of the utility's systems: customers, tariff, payments, network, and numbers that the use case leaves open.

Bench files give it; unknown keys are refused. Defaults are those of the utility's programme, customers have none.
"""

from __future__ import annotations

import enum
import os
from datetime import time
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
    model_validator,
)

from drivers.roles import AtZero, Billing, MessageCode
from twins.utility.event_options import EventOutcome
from twins.utility.payments import PaymentMethod, ProcessorConfig
from twins.utility.website.config import PasswordHash, WebsiteConfig

E = TypeVar("E", bound=enum.Enum)


def _named(kind: type[E]) -> BeforeValidator:
    """Let a file name a member of an enumeration as a person writes it: `regular_billing`."""

    def read(value: Any) -> Any:
        if isinstance(value, str):
            member = kind.__members__.get(value.strip().upper().replace(" ", "_").replace("-", "_"))
            if member is None:
                raise ValueError(f"{value!r} is none of {', '.join(name.lower() for name in kind.__members__)}")
            return member
        if isinstance(value, kind):
            return value
        raise ValueError(f"{value!r} is none of {', '.join(name.lower() for name in kind.__members__)}")

    return BeforeValidator(read)


CustomerClass = Literal["residential", "commercial"]
Option = Annotated[AtZero, _named(AtZero)]
BillingMode = Annotated[Billing, _named(Billing)]
Code = Annotated[MessageCode, _named(MessageCode), PlainSerializer(lambda code: code.name.lower(), when_used="json")]
Method = Annotated[PaymentMethod, _named(PaymentMethod)]

_HOME_WH = (
    *(420, 380, 360, 350, 360, 450, 700, 900, 800, 700, 650, 680),
    *(750, 800, 850, 950, 1200, 1600, 1900, 1800, 1500, 1200, 800, 550),
)  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TariffConfig(_Section):
    """What energy costs. There is no price unless one is given."""

    name: str = "D-PREPAY"
    price_millicents_per_kwh: int = Field(gt=0)


class PaymentsConfig(_Section):
    """What payments the utility takes (C3-BR-01, C3-BR-02)."""

    minimum_cents: int = Field(default=1_000, ge=1)
    methods: tuple[Method, ...] = tuple(PaymentMethod)
    pay_station_s: float = Field(default=10.0, gt=0)
    """Within how many seconds a pay station has to pass a payment on (C3-BR-03); one that comes later is noted."""
    ask_again_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(30.0, 60.0, 300.0), min_length=1)
    """Waits before the processor is asked again what became of a charge that it did not answer."""
    processor: ProcessorConfig = ProcessorConfig()


class NetworkConfig(_Section):
    """How the AMI network between ADCS and meters behaves, in bench time. `loss` is the probability for one way."""

    latency_s: float = Field(default=0.8, ge=0)
    jitter_s: float = Field(default=0.4, ge=0)
    loss: float = Field(default=0.0, ge=0, lt=1)
    timeout_s: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _jitter_fits(self) -> Self:
        if self.jitter_s > self.latency_s:
            raise ValueError(f"jitter_s {self.jitter_s} is more than latency_s {self.latency_s}")
        return self


DEFAULT_PRIORITIES: dict[MessageCode, int] = {
    MessageCode.CONNECT: 1,
    MessageCode.DISCONNECT: 1,
    MessageCode.LIMIT: 1,
    MessageCode.RESTORE: 1,
    MessageCode.PREPAYMENT: 2,
    MessageCode.TEST: 3,
    MessageCode.CANCEL_SCHEDULE: 4,
    MessageCode.SCHEDULE: 4,
    MessageCode.BILLING: 4,
    MessageCode.TEXT: 5,
    MessageCode.BALANCE: 6,
}


class Observation(_Section):
    """The weather from a moment on."""

    at: AwareDatetime
    temperature_c: float = Field(ge=-90, le=60)


class RuleConfig(_Section):
    """A rule of the utility for connect, disconnect and demand limit (C3-FR-10, D17).

    It is in force at meters of `classes` (of every class where none is named) while all that is said of time and weather
    is true: the span [starts_at, ends_at), the local hours [daily_from, daily_to) of `days` (0 is Monday; hours past midnight
    belong to the day on which they began), a temperature at or beyond `above_c` or `below_c`. While it is in force, commands in
    `hold` are held back, and a held disconnect is replaced by the demand limit `instead_limit_w`; what was held is carried
    out when no rule holds it any longer. `begin` goes out when it comes into force, `end` when it no longer is.
    """

    name: str = Field(min_length=1, max_length=40)
    classes: tuple[CustomerClass, ...] = ()
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    daily_from: time | None = None
    daily_to: time | None = None
    days: tuple[Annotated[int, Field(ge=0, le=6)], ...] = ()
    above_c: float | None = None
    below_c: float | None = None
    hold: tuple[Code, ...] = ()
    instead_limit_w: int | None = Field(default=None, gt=0)
    begin: Code | None = None
    limit_w: int | None = Field(default=None, gt=0)
    """Of a limit in `begin`."""
    end: Code | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.starts_at is not None and self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError(f"rule {self.name!r} ends before it starts; give an ends_at after starts_at")
        if (self.daily_from is None) != (self.daily_to is None):
            raise ValueError(f"rule {self.name!r} needs both of daily_from and daily_to, or neither")
        if self.days and self.daily_from is None:
            raise ValueError(f"rule {self.name!r} names days; give daily_from and daily_to too")
        for code in (*self.hold, self.begin, self.end):
            if code not in (None, MessageCode.CONNECT, MessageCode.DISCONNECT, MessageCode.LIMIT, MessageCode.RESTORE):
                raise ValueError(
                    f"rule {self.name!r}: {code.name.lower()} is none of connect, disconnect, limit, restore"
                )
        if not (self.hold or self.begin or self.end):
            raise ValueError(f"rule {self.name!r} does nothing; give hold, begin or end")
        if self.instead_limit_w is not None and MessageCode.DISCONNECT not in self.hold:
            raise ValueError(f"rule {self.name!r}: instead_limit_w needs disconnect in hold")
        if (self.begin is MessageCode.LIMIT) != (self.limit_w is not None):
            raise ValueError(f"rule {self.name!r}: limit_w goes with begin: limit")
        if self.end is MessageCode.LIMIT:
            raise ValueError(f"rule {self.name!r}: end cannot be limit; give restore, connect or disconnect")
        return self


class AdcsConfig(_Section):
    """How the ADCS talks to meters. 0 is the most urgent priority, 9 the least."""

    priorities: dict[Code, int] = Field(default_factory=lambda: dict(DEFAULT_PRIORITIES))
    """By message code; codes not named keep their default. Messages of one priority go in the order of their requests."""
    receipt_poll_s: float = Field(default=1.0, gt=0)
    receipt_timeout_s: float = Field(default=60.0, gt=0)
    """How long a receipt is looked for after the last sending; later it is found by the next collection."""
    retry_after_s: float = Field(default=45.0, gt=0)
    """From the first sending of a message in `retry_codes` without a receipt to the next, with the same id (D7)."""
    retries: int = Field(default=1, ge=0)
    retry_codes: tuple[Code, ...] = (MessageCode.CONNECT, MessageCode.DISCONNECT)
    no_answer_backoff_s: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(15.0, 30.0, 60.0, 300.0, 900.0), min_length=1
    )
    """Waits after a meter did not answer; the last one goes on for ever."""
    collection_period_s: float = Field(default=3_600.0, gt=0, le=86_400)
    """Between collections of intervals and logs from each meter (C3-FR-20: at least daily)."""
    interval_s: float = Field(default=3_600.0, gt=0, le=3_600)
    """Recording interval of a meter whose intervals have not been seen yet (D12)."""
    watch_after_s: float = Field(default=5.0, ge=0)
    """How long after the end of a recording interval it is collected from a meter whose balance nears zero (C3-FR-07)."""

    schedule_lead_s: float = Field(default=25 * 3_600.0, gt=0)
    """How long before its start an event goes to its meter (C3-NFR-08: 24 h); an hour more, for a meter that does not answer
    at once (D8)."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules that always are; others come and go while the ADCS runs (`Adcs.rules`)."""
    alert_every_s: float = Field(default=3_600.0, gt=0)
    """Between repetitions of an alert whose request names no frequency of its own (C3-NFR-11)."""

    @field_validator("priorities")
    @classmethod
    def _complete(cls, given: dict[MessageCode, int]) -> dict[MessageCode, int]:
        for code, priority in given.items():
            if not 0 <= priority <= 9:
                raise ValueError(f"priority {priority} of {code.name.lower()} is not in 0..9")
        return {**DEFAULT_PRIORITIES, **given}

    @field_validator("rules")
    @classmethod
    def _no_double_rules(cls, given: tuple[RuleConfig, ...]) -> tuple[RuleConfig, ...]:
        names = [rule.name for rule in given]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"rule {name!r} stands twice; each needs its own name")
        return given


class HistoryConfig(_Section):
    """Consumption before the bench came up, loaded into the MDMS: Wh by hour of the local day, and how far days differ."""

    days: int = Field(default=30, ge=1, le=1100)
    by_hour_wh: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=_HOME_WH, min_length=24, max_length=24)
    spread: float = Field(default=0.1, ge=0, le=1)
    """Greatest deviation of an hour from the profile, as a share."""
    seed: int | None = None
    """The utility's seed unless given."""


class AccountConfig(_Section):
    """An account and the meter at its service address."""

    number: str = Field(min_length=1)
    meter_id: str = Field(min_length=1)
    service_address: str = Field(min_length=1)
    billing: BillingMode = Billing.PREPAID
    at_zero: Option = AtZero.DISCONNECT
    fallback: Option = AtZero.REGULAR_BILLING
    """What happens where `at_zero` is impossible (D3)."""
    auto_replenish_cents: int | None = Field(default=None, gt=0)
    """Amount of an automatic payment; needed for the option `auto_replenish` (D4)."""
    switch: bool = True
    """False for a transformer-rated meter: neither disconnect nor limit can be chosen (D5)."""
    bill_cycle_day: int = Field(default=1, ge=1, le=28)
    opening_balance_cents: int = Field(default=0, gt=-(2**31), lt=2**31)
    others_may_prepay: bool = False
    """Whether somebody else may prepay an event here (programme B)."""
    elsewhere: bool = False
    """Its meter is not on this bench: the account can pay for events at other places, and for nothing at its own."""
    history: HistoryConfig | None = None

    @model_validator(mode="after")
    def _options_possible(self) -> Self:
        if self.fallback is AtZero.AUTO_REPLENISH:
            raise ValueError(f"account {self.number}: auto_replenish cannot be its own fallback")
        for key, option in (("at_zero", self.at_zero), ("fallback", self.fallback)):
            if not self.switch and option in (AtZero.DISCONNECT, AtZero.LIMIT):
                raise ValueError(f"account {self.number}: {key} {option.name.lower()} needs a meter with a switch")
        if self.at_zero is AtZero.AUTO_REPLENISH and self.auto_replenish_cents is None:
            raise ValueError(f"account {self.number}: at_zero auto_replenish needs auto_replenish_cents")
        return self


class CustomerConfig(_Section):
    """A customer. `credential` is what they identify themselves with; the CSS keeps only its hash."""

    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    address: str = Field(min_length=1)
    credential: str = Field(min_length=4, repr=False)
    language: Literal["en", "es"] = "en"
    customer_class: CustomerClass = "residential"
    password_hash: PasswordHash = Field(default=None, repr=False)
    """For the website, where the customer signs in by id."""
    accounts: tuple[AccountConfig, ...] = Field(min_length=1)


class CssConfig(_Section):
    """How the CSS works."""

    history_days: int = Field(default=30, ge=1)
    """How far back estimates, averages and the account page look."""
    threshold_h: float = Field(default=48.0, gt=0)
    """Hours of service left from which on a balance is near zero: reached when the time left is this or less (D6)."""
    daily_balance_at: time = time(6)
    """Local time at which meters of prepaid accounts are told their balance every day (C3-FR-09, D12)."""
    limit_w: int = Field(default=1_000, gt=0)
    """Demand that is left to an account whose option at zero is the limit."""
    options_at_zero: dict[CustomerClass, tuple[Option, ...]] = {
        "residential": tuple(AtZero),
        "commercial": tuple(AtZero),
    }
    """Options at zero that a class of customers is eligible for (D20). Regular billing is open to everybody."""
    class_profile_wh: tuple[Annotated[float, Field(ge=0)], ...] = Field(default=_HOME_WH, min_length=24, max_length=24)
    """Consumption by hour of the local day that is expected of an account without history."""
    scrypt_cost: int = Field(default=14, ge=4, le=20)
    """Logarithm of the work that checking a credential takes."""


class EventsConfig(_Section):
    """Prepayment events."""

    longest_s: float = Field(default=14 * 86_400.0, gt=0)
    hold_s: float = Field(default=900.0, gt=0)
    """How long a booking holds its time for the payment to come."""
    limit_w: int = Field(default=1_500, gt=0)
    """Demand limit when the credit of an event with that option is used up."""
    residential: tuple[EventOutcome, ...] = tuple(EventOutcome)
    """What may be chosen for when the credit of an event is used up, where the facility's customer is of that class."""
    commercial: tuple[EventOutcome, ...] = tuple(EventOutcome)

    def of_class(self, customer_class: str) -> tuple[EventOutcome, ...]:
        """What may be chosen at a facility of a customer of that class."""
        return self.commercial if customer_class == "commercial" else self.residential


class TroubleConfig(_Section):
    """How reports of no power are followed up."""

    test_timeout_s: float = Field(default=90.0, gt=0)
    """A meter test without a result for so long has failed."""
    activation_timeout_s: float = Field(default=180.0, gt=0)
    """A re-activation that the meter has not confirmed for so long has failed."""
    longest_text: int = Field(default=2_000, ge=1)
    """Characters of a report or a note."""


class BillingConfig(_Section):
    """How monthly bills are made."""

    wait_s: float = Field(default=259_200.0, ge=0)
    """How long a bill waits for intervals that have not come in; later ones are on the next bill."""


class MdmsClient(_Section):
    """Another system that may read meter data. Its token stands here, or in the environment variable `token_env`."""

    name: str = Field(min_length=1)
    token: str | None = Field(default=None, min_length=16, repr=False)
    token_env: str | None = None

    @model_validator(mode="after")
    def _has_one_token(self) -> Self:
        if (self.token is None) == (self.token_env is None):
            raise ValueError(f"client {self.name!r} needs either token or token_env")
        return self

    def secret(self) -> str:
        """The token. ValueError where the environment variable is missing or too short."""
        if self.token is not None:
            return self.token
        assert self.token_env is not None
        found = os.environ.get(self.token_env, "")
        if len(found) < 16:
            raise ValueError(
                f"mdms: the token of client {self.name!r} is wanted in the environment variable {self.token_env}, "
                "16 characters or more; set it"
            )
        return found


class MdmsConfig(_Section):
    """Where the MDMS serves meter data over REST (not at all unless `listen` is given), and to whom."""

    listen: str | None = Field(default=None, pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):\d{1,5}$")
    """`HOST:PORT`; port 0 picks a free one."""
    clients: tuple[MdmsClient, ...] = ()

    @model_validator(mode="after")
    def _somebody_may_read(self) -> Self:
        if self.listen is not None and not self.clients:
            raise ValueError("mdms: listen needs clients: who may read, each with a name and a token")
        if self.listen is not None and self.address[1] > 65_535:
            raise ValueError(f"mdms: {self.listen}: ports go up to 65535")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`."""
        host, _, port = (self.listen or "").rpartition(":")
        return host.strip("[]"), int(port)


class UtilityConfig(_Section):
    """The utility."""

    time_zone: str = "America/Los_Angeles"
    tariff: TariffConfig
    payments: PaymentsConfig = PaymentsConfig()
    network: NetworkConfig = NetworkConfig()
    css: CssConfig = CssConfig()
    adcs: AdcsConfig = AdcsConfig()
    website: WebsiteConfig | None = None
    events: EventsConfig = EventsConfig()
    trouble: TroubleConfig = TroubleConfig()
    billing: BillingConfig = BillingConfig()
    mdms: MdmsConfig = MdmsConfig()
    weather: tuple[Observation, ...] = ()
    """What the weather will be; where nothing is said of a moment, no rule about weather is in force."""
    customers: tuple[CustomerConfig, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of displays, days and bill cycles."""
        return ZoneInfo(self.time_zone)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"time_zone {name!r} is not in the IANA data base; write it like America/Chicago"
            ) from None
        return name

    @model_validator(mode="after")
    def _no_double_names(self) -> Self:
        accounts = [a for c in self.customers for a in c.accounts]
        staff = () if self.website is None else self.website.representatives
        for what, names in (
            ("customer", [c.id for c in self.customers]),
            ("account", [a.number for a in accounts]),
            ("meter", [a.meter_id for a in accounts]),
            ("login", [c.id for c in self.customers] + [r.login for r in staff]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(f"{what} {name!r} stands twice; each needs its own")
        return self
