"""What an AMI meter's own display shows, line by line (our profile): the account as it was sent, register, service, clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

from drivers.roles import Account, DisplayCode, DisplayItem, MeterReading, Switch

_DAY = timedelta(days=1)


def dollars(cents: int) -> str:
    """`$12.34`, `-$0.05`."""
    return f"{'-' if cents < 0 else ''}${abs(cents) // 100}.{abs(cents) % 100:02d}"


def time_left(left: timedelta) -> str:
    """`3 d 04 h 05 min`; begun minutes don't count, and less than nothing is nothing."""
    minutes = max(0, int(left.total_seconds()) // 60)
    return f"{minutes // 1440} d {minutes // 60 % 24:02d} h {minutes % 60:02d} min"


def price(millicents_per_kwh: int) -> str:
    """`$0.2150/kWh`."""
    return f"${millicents_per_kwh / 100_000:.4f}/kWh"


def cost(watts: float, millicents_per_kwh: int) -> str:
    """`$0.1290/h`: what a power costs; nothing while energy is fed back."""
    return f"${max(0.0, watts) / 1000 * millicents_per_kwh / 100_000:.4f}/h"


def service(switch: Switch, limit_w: int | None) -> str:
    """`ON`, `OFF`, `TRIPPED`, `LIMIT 3.0 kW`."""
    if switch is Switch.OPEN:
        return "OFF"
    if switch is Switch.TRIPPED:
        return "TRIPPED"
    return "ON" if limit_w is None else f"LIMIT {limit_w / 1000:.1f} kW"


def lines(
    account: Account,
    shown_cents: int,
    reading: MeterReading,
    watts: float,
    switch: Switch,
    limit_w: int | None,
    now: datetime,
    text: str,
    notice: str,
    zone: tzinfo,
    defects: frozenset[str],
) -> Iterator[DisplayItem]:
    """The display's lines in their order; those of the account only once there is one. `watts` is what the cost goes by."""

    def local(when: datetime) -> str:
        return when.astimezone(zone).strftime("%Y-%m-%d %H:%M")

    if account.updated_at is not None:
        yield DisplayItem(DisplayCode.BALANCE, dollars(shown_cents))
        wh = account.credit_wh * (0.9 if "display_energy_at_another_price" in defects else 1)
        yield DisplayItem(DisplayCode.CREDIT, f"{wh / 1000:.1f} kWh")
        if "display_without_time_left" not in defects:
            left = account.time_left % _DAY if "display_time_left_without_days" in defects else account.time_left
            yield DisplayItem(DisplayCode.TIME_LEFT, time_left(left))
        if "display_without_update_time" not in defects:
            yield DisplayItem(DisplayCode.UPDATED, local(account.updated_at))
        yield DisplayItem(DisplayCode.PRICE, price(account.price_millicents_per_kwh))
        yield DisplayItem(DisplayCode.COST, cost(watts, account.price_millicents_per_kwh))
    yield DisplayItem(DisplayCode.ENERGY, f"{reading.delivered_wh / 1000 % 1_000_000:08.1f} kWh")
    yield DisplayItem(DisplayCode.DEMAND, f"{reading.power_w / 1000:.3f} kW")
    yield DisplayItem(DisplayCode.SERVICE, service(switch, limit_w))
    yield DisplayItem(DisplayCode.CLOCK, local(now))
    if notice:
        yield DisplayItem(DisplayCode.NOTICE, notice)
    if text:
        yield DisplayItem(DisplayCode.MESSAGE, text)
