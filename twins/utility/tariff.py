"""From money to energy and back at a flat price, in integers: cents, watt-hours and millicents per kWh."""

from __future__ import annotations

_PER_CENT_KWH = 1_000_000  # millicents in a cent x watt-hours in a kWh


def credit_wh(cents: int, price_millicents_per_kwh: int) -> int:
    """Whole watt-hours that `cents` pay for; 0 for a balance that is used up."""
    return max(0, cents * _PER_CENT_KWH // price_millicents_per_kwh)


def most_cents(energy_wh: int, price_millicents_per_kwh: int) -> int:
    """The most money whose `credit_wh` is no more than that."""
    return ((energy_wh + 1) * price_millicents_per_kwh - 1) // _PER_CENT_KWH


def cost_cents(energy_wh: float, price_millicents_per_kwh: int) -> int:
    """What an energy costs, to the nearest cent (halves up)."""
    return int(energy_wh * price_millicents_per_kwh / _PER_CENT_KWH + 0.5)


def cost_rounded_up_cents(energy_wh: float, price_millicents_per_kwh: int) -> int:
    """What has to be paid for an energy so that the money is enough for it."""
    return -int(-energy_wh * price_millicents_per_kwh // _PER_CENT_KWH)


def charge_cents(energy_mwh: int, price_millicents_per_kwh: int, carried: int) -> tuple[int, int]:
    """Cents due for an energy in milliwatt-hours, and the fraction of a cent to carry to the next charge.

    The fraction counts billionths of a cent (milliwatt-hours x millicents per kWh). Carried on, charges of any number of
    intervals differ from the charge of their sum by less than one cent.
    """
    return divmod(carried + energy_mwh * price_millicents_per_kwh, _PER_CENT_KWH * 1000)
