"""A small town for the utility's tests: a meter twin on its serial line, its driver, the utility that knows both by role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from labgrid import Target

from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.meters.ami_meter import MODEL
from twins.models import LineOptions
from twins.utility.config import UtilityConfig
from twins.utility.css import Payment, PrepayRequest
from twins.utility.payments import REQUIRED, PaymentMeans, PaymentMethod
from twins.utility.utility import Utility
from twins.wiring import Contact, Site

T = TypeVar("T")

METER = "TB-000001"
ACCOUNT = "A-1"
DECLINED, SILENT, POOR = "4000000000000002", "4000000000000010", "4000000000000028"


def config(**changes: Any) -> UtilityConfig:
    """A utility with one customer; `changes` replace sections, `account` changes the account."""
    account = {
        "number": ACCOUNT,
        "meter_id": METER,
        "service_address": "7 Elm Street",
        "at_zero": "limit",
        "bill_cycle_day": 15,
        "history": {"days": 40, "by_hour_wh": [500.0] * 24, "spread": 0.0},
        **changes.pop("account", {}),
    }
    return UtilityConfig.model_validate(
        {
            "css": {"scrypt_cost": 4, **changes.pop("css", {})},
            "tariff": {"price_millicents_per_kwh": 20_000},
            "payments": {
                "minimum_cents": 500,
                "processor": {"declined": [DECLINED], "silent": [SILENT], "funds_cents": {POOR: 4_000}},
                **changes.pop("payments", {}),
            },
            "customers": [
                {
                    "id": "C-1",
                    "name": "Ada Byron",
                    "address": "7 Elm Street, Springfield",
                    "credential": "analytical engine",
                    "language": "es",
                    "accounts": [account],
                },
                {
                    "id": "C-2",
                    "name": "Ben Cole",
                    "address": "1 Oak Street, Springfield",
                    "credential": "difference engine",
                    "accounts": [
                        {
                            "number": "B-1",
                            "meter_id": "TB-000002",
                            "service_address": "1 Oak Street",
                            "billing": "regular",
                            "elsewhere": True,
                        }
                    ],
                },
            ],
            **changes,
        }
    )


class Town:
    """One meter over its real wire, and the utility; everything is asked from the test's thread."""

    def __init__(
        self,
        loop: LoopThread,
        *defects: str,
        url: str = "sqlite://",
        options: dict[str, Any] | None = None,
        service_on: bool = False,
        also: Sequence[str] = (),
        neighbours: Sequence[str] = (),
        passwords: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        """`also`: meter ids for which the same meter answers, for accounts whose meter doesn't matter. `neighbours`: ids of
        meters with a site, a twin and a line of their own."""
        self.loop = loop
        self.passwords = passwords
        self.config = config(**changes)
        self.url, self.defects = url, frozenset(defects)
        self.clock: SteppedClock = loop.call(SteppedClock)
        self._placed: list[tuple[Target, AmiMeterDriver, Any]] = []
        self.site, self.twin, self.meter = self._place(METER, service_on, options or {})
        self.meters = dict.fromkeys((METER, *also), self.meter)
        for meter_id in neighbours:
            self.meters[meter_id] = self._place(meter_id, service_on, {})[2]
        self.utility = self.found()

    def _place(self, meter_id: str, service_on: bool, options: dict[str, Any]) -> tuple[Site, Any, AmiMeterDriver]:
        """Put a meter's twin on a site and a serial line of its own, with a driver at the other end."""
        site = Site(self.clock)
        wiring = self.loop.call(MODEL.default_site, site)
        switch = site.nodes["service switch"]
        assert isinstance(switch, Contact)
        self.loop.call(switch.set, service_on)
        build = wiring.model_dump() | {"meter_id": meter_id} | options
        twin = self.loop.call(
            MODEL.build, self.clock, site, name="meter", options=MODEL.options.model_validate(build), seed=3
        )
        face = MODEL.faces["pty"](twin, "", LineOptions())
        endpoint = self.loop.run(face.open())
        target = Target("town")
        SerialLine(target, "line", port=endpoint.address, timeout=1.0)
        meter = AmiMeterDriver(target, "meter")
        target.activate(meter)
        self._placed.append((target, meter, face))
        return site, twin, meter

    def found(self, **changes: Any) -> Utility:
        """Put a utility together on the town's database and start it."""
        utility: Utility = self.loop.call(
            Utility,
            self.clock,
            self.config,
            self.meters,
            seed=3,
            defects=self.defects,
            database_url=self.url,
            passwords=self.passwords,
            **changes,
        )
        self.loop.call(utility.start)
        return utility

    def ask(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Ask a system on the loop's thread."""
        return self.loop.call(fn, *args, **kwargs)

    def after(self, seconds: float) -> None:
        """Let bench time pass."""
        self.loop.run(self.clock.advance(seconds))

    def request(self, **changes: Any) -> int:
        """The customer asks to prepay."""
        asked = {
            "account_numbers": (ACCOUNT,),
            "name": "Ada Byron",
            "address": "7 Elm Street, Springfield",
            "credential": "analytical engine",
        }
        return self.ask(self.utility.css.log_request, PrepayRequest(**{**asked, **changes}))

    def identified(self) -> int:
        """The customer asks to prepay and is who they say."""
        request = self.request()
        self.ask(self.utility.css.identify, request, "analytical engine")
        return request

    def payment(self, payment_id: str = "P-1", cents: int = 5_000, **changes: Any) -> Payment:
        """A payment of an identified customer, by card unless told otherwise."""
        request = changes.pop("request_id", None) or self.identified()
        means = changes.pop("means", None) or means_of(PaymentMethod.CARD)
        return Payment(payment_id, request, ACCOUNT, cents, means, **changes)

    def pay(self, *args: Any, **changes: Any) -> Any:
        """Pay, and return the posting."""
        return self.loop.run(self.utility.css.pay(self.payment(*args, **changes)))

    def collect(self) -> None:
        """Have everything collected from the meter."""
        done = self.ask(self.utility.adcs.collect, METER)
        assert self.loop.run(self.clock.run_until(_later(self.clock), done.is_set))

    def close(self) -> None:
        """Take the town down."""
        self.loop.run(self.utility.close())
        for target, meter, face in self._placed:
            target.deactivate(meter)
            self.loop.run(face.close())
        self.loop.run(self.clock.close())


def _later(clock: SteppedClock) -> Any:
    from datetime import timedelta

    return clock.now() + timedelta(seconds=60)


def means_of(method: PaymentMethod, drawn_on: str = "4111111111111111") -> PaymentMeans:
    """Means of that method with all the data it needs."""
    first, *others = REQUIRED[method]
    return PaymentMeans(method, {first: drawn_on, **dict.fromkeys(others, "12/29")})


@pytest.fixture
def town(site_loop: LoopThread, new_database: Callable[[], str]) -> Iterator[Callable[..., Town]]:
    """Makes towns and takes them down."""
    made: list[Town] = []

    def make(*defects: str, **changes: Any) -> Town:
        made.append(Town(site_loop, *defects, **{"url": changes.pop("url", None) or new_database(), **changes}))
        return made[-1]

    yield make
    for each in made:
        each.close()
