"""How long a prepaid balance lasts by the consumption history: the suites' own arithmetic, from what MDMS and ledger hold.

Nothing here is asked of the forecast under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from bench.prepaying import Prepaying
from drivers.roles import Interval

_HOUR = timedelta(hours=1)


def mean_watts(history: Sequence[Interval], zone: tzinfo) -> Mapping[int, float]:
    """The mean consumption of each local hour that complete intervals of the history show."""
    by_hour: dict[int, list[Interval]] = {}
    for i in history:
        if i.complete:
            by_hour.setdefault((i.ends_at - i.length).astimezone(zone).hour, []).append(i)
    return {h: sum(i.energy_wh for i in found) / sum(i.length / _HOUR for i in found) for h, found in by_hour.items()}


def used_up(
    balance_cents: int, price_millicents_per_kwh: int, watts: Mapping[int, float], since: datetime, zone: tzinfo
) -> datetime:
    """When a balance is used up, by the consumption of each local hour."""
    left_wh = balance_cents * 1e6 / price_millicents_per_kwh
    at = since
    while left_wh > 0:
        end = at.replace(minute=0, second=0, microsecond=0) + _HOUR
        wh = watts[at.astimezone(zone).hour] * ((end - at) / _HOUR)
        if wh >= left_wh:
            return at + (end - at) * (left_wh / wh)
        left_wh -= wh
        at = end
    return at


def zero_at(case: Prepaying, cents: int, at: datetime, since: datetime | None = None) -> datetime:
    """When a balance that was there at a moment is used up, by the history that the MDMS had then; counted from `since`, by
    default from the end of what had been charged."""
    return forecast(case, at)(cents, since or charged_until(case, at))


def forecast(case: Prepaying, at: datetime) -> Callable[[int, datetime], datetime]:
    """When so many cents are used up that are there since a moment, by the history that the MDMS had `at` another."""
    utility = case.bench.config.utility
    stored = case.ask(case.mdms.intervals, case.meter_id, at - timedelta(days=utility.css.history_days))
    watts = mean_watts([s.value for s in stored if s.received_at <= at], utility.zone)
    price = int(case.stated("price_millicents_per_kwh"))
    return lambda cents, since: used_up(cents, price, watts, since, utility.zone)


def time_left(case: Prepaying, cents: int, at: datetime) -> timedelta:
    """How long a balance that was there at a moment lasts from then on."""
    return max(timedelta(0), zero_at(case, cents, at) - at)


def charged_until(case: Prepaying, at: datetime) -> datetime:
    """Until when what was used was in the balance at a moment: the end of the last interval charged by then, or the payment
    that found nothing left, as nothing had been used on the new credit before; the moment itself where there was neither."""
    found, balance = [], 0
    for entry in case.ask(case.css.ledger, case.account.number):
        if entry.at > at:
            break
        if entry.kind == "energy":
            found.append(datetime.fromisoformat(entry.reference.partition(" ")[0]))
        elif entry.kind == "payment" and balance <= 0:
            found.append(entry.at)
        balance += entry.cents
    return max(found, default=at)


def credit_wh(case: Prepaying, cents: float) -> float:
    """The energy that a balance buys, in watt-hours, by the price that the utility states."""
    return cents * 1e6 / float(case.stated("price_millicents_per_kwh"))
