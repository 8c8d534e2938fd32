"""What meters and display devices show: an account as a meter's display writes it, and the words by which a text is known."""

from __future__ import annotations

import re
from datetime import timedelta

from drivers.roles import DisplayCode

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}

AT_ZERO = {
    "en": re.compile(r"Your\b.*\bbalance\b.*\bzero\b.*"),
    "es": re.compile(r"Su\b.*\bsaldo\b.*\bcero\b.*"),
}
"""That the balance has reached zero, by the customer's language: whatever the words, these have to be among them."""


def money(cents: float) -> str:
    """An amount in cents, as it is displayed in dollars."""
    return f"${cents / 100:.2f}"


def account(balance_cents: int, credit_wh: float, time_left: timedelta) -> dict[DisplayCode, str]:
    """Balance, energy (Wh) and time left."""
    hours, seconds = divmod(time_left.seconds, 3600)
    return {
        DisplayCode.BALANCE: money(balance_cents),
        DisplayCode.CREDIT: f"{credit_wh / 1000:.1f} kWh",
        DisplayCode.TIME_LEFT: f"{time_left.days} d {hours:02d} h {seconds // 60:02d} min",
    }


def energy_wh(text: str | None) -> float | None:
    """Watt-hours of an energy as it is displayed: `1,234.5 kWh`; None where that is none."""
    found = re.fullmatch(r"(-?[0-9,]+(?:\.[0-9]+)?)\s*kWh", text or "")
    return None if found is None else float(found[1].replace(",", "")) * 1000


def lasting(text: str | None) -> timedelta | None:
    """A time left as it is displayed, in English or Spanish: `3 d 04 h 05 min`, `3 days, 4 hours`, `4 horas, 5 minutos`; None
    where that is none."""
    found = re.findall(r"([0-9]+)\s*(d|h|m)", text or "")
    return sum((int(number) * _UNITS[unit] for number, unit in found), timedelta()) if found else None
