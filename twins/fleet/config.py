"""What a simulated fleet is: how its customers use energy, what that costs, and how its network and meters lose messages.

Our profile: nothing here stands in the use case. Shares and chances are in 65,536ths, so that what is drawn is exact.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ONE = 65_536
"""What shares and chances are parts of."""
UNITS_PER_CENT = 1_000_000
"""One Wh at one millicent per kWh is a millionth of a cent."""
MAX_DAYS = 3_660
MAX_METERS = 100_000_000

Share = Annotated[int, Field(ge=0, le=ONE)]
Hours = Annotated[tuple[Annotated[int, Field(ge=0, le=16_000)], ...], Field(min_length=24, max_length=24)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Profile(_Section):
    """How one kind of customer uses energy: mean Wh in each hour of the local day."""

    name: str
    share: Share
    weekday_wh: Hours
    weekend_wh: Hours


class Link(_Section):
    """How a kind of meter is reached: `lost` is the chance that one sending, or its receipt, is lost."""

    name: str
    share: Share
    lost: Share


class Price(_Section):
    """What energy costs, by the hour of a weekday; at weekends the base price holds."""

    base_millicents_per_kwh: int = Field(default=21_500, gt=0)
    peak_millicents_per_kwh: int = Field(default=29_800, gt=0)
    peak_hours: frozenset[Annotated[int, Field(ge=0, le=23)]] = frozenset(range(14, 20))


_HOME = Profile(
    name="home all day",
    share=ONE * 40 // 100,
    weekday_wh=(
        *(420, 380, 360, 350, 360, 450, 700, 900, 800, 700, 650, 680),
        *(750, 800, 850, 950, 1200, 1600, 1900, 1800, 1500, 1200, 800, 550),
    ),
    weekend_wh=(
        *(480, 420, 380, 360, 360, 400, 560, 800, 1000, 1100, 1100, 1150),
        *(1250, 1200, 1150, 1150, 1300, 1600, 1850, 1800, 1550, 1250, 900, 640),
    ),
)
_WORKING = Profile(
    name="out at work",
    share=ONE * 50 // 100,
    weekday_wh=(
        *(300, 270, 250, 250, 270, 420, 900, 1000, 600, 350, 300, 300),
        *(310, 310, 320, 380, 700, 1400, 1900, 1800, 1450, 1050, 650, 400),
    ),
    weekend_wh=_HOME.weekend_wh,
)
_SHOP = Profile(
    name="small shop",
    share=ONE - _HOME.share - _WORKING.share,
    weekday_wh=(
        *(600, 600, 600, 600, 600, 700, 1200, 2200, 3000, 3300, 3400, 3500),
        *(3500, 3500, 3400, 3300, 3200, 2900, 2400, 1600, 900, 700, 600, 600),
    ),
    weekend_wh=(
        *(600, 600, 600, 600, 600, 600, 700, 900, 1600, 2000, 2100, 2200),
        *(2200, 2100, 1900, 1500, 900, 700, 600, 600, 600, 600, 600, 600),
    ),
)


class FleetConfig(_Section):
    """A fleet and what is asked of it.

    Every hour the head-end sends each meter one prepayment message with its balance, repeated `repeats` times where no
    receipt comes, and a pair of commands, repeated likewise: limit and restore in even hours, disconnect and connect in odd
    ones. A meter processes all but `unprocessed` of the commands that reach it.
    """

    profiles: tuple[Profile, ...] = Field(default=(_HOME, _WORKING, _SHOP), min_length=1)
    links: tuple[Link, ...] = Field(
        default=(Link(name="near", share=ONE - 131, lost=250), Link(name="far", share=131, lost=2_294)), min_length=1
    )
    price: Price = Price()
    repeats: int = Field(default=1, ge=0, le=10)
    unprocessed: Share = 1
    limit_wh: int = Field(default=500, ge=0)
    """What a meter lets through in an hour while it is limited."""
    opening_cents: int = Field(default=4_000, gt=0, le=1_000_000)
    """Each account opens with between half and one and a half times as much."""
    topup_at_cents: int = Field(default=1_000, gt=0, le=1_000_000)
    topup_cents: int = Field(default=5_000, gt=0, le=1_000_000)
    """An account that falls to `topup_at_cents` replenishes itself by as much."""

    @model_validator(mode="after")
    def _it_fits(self) -> Self:
        for what, kinds in (("profiles", self.profiles), ("links", self.links)):
            if sum(kind.share for kind in kinds) != ONE:
                raise ValueError(f"the shares of {what} do not come to {ONE}")
        if any(link.lost + self.unprocessed >= ONE for link in self.links):
            raise ValueError("a link that loses everything is none")
        most_wh = 4 * max(max(*p.weekday_wh, *p.weekend_wh) for p in self.profiles)
        dearest = max(self.price.base_millicents_per_kwh, self.price.peak_millicents_per_kwh)
        if most_wh * dearest + UNITS_PER_CENT >= 2**32:
            raise ValueError(f"{most_wh} Wh an hour at {dearest} millicents per kWh is more than the arithmetic holds")
        if most_wh * 24 * MAX_DAYS >= 2**32:
            raise ValueError(f"{most_wh} Wh an hour is more than the registers hold in {MAX_DAYS} days")
        if min(self.topup_at_cents, self.topup_cents, self.opening_cents // 2) * UNITS_PER_CENT <= most_wh * dearest:
            raise ValueError("a single hour can cost more than an account has at its threshold")
        return self
