"""What customers and representatives see alike: an account, its usage, the estimate with the form to pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from twins.utility.consumption import DayUsage, by_day
from twins.utility.payments import PaymentMethod
from twins.utility.tariff import cost_cents
from twins.utility.website import payforms, usage
from twins.utility.website.forms import N_, BadForm
from twins.utility.website.site import Asked, Site

_DAY = timedelta(days=1)
_MONTH = timedelta(days=31)
_EVENTS = 20  # the latest ones of a balance that are shown


class Views:
    """Pages that both sides show, each under its own addresses (`base`)."""

    def __init__(self, site: Site, defects: frozenset[str] = frozenset()) -> None:
        self._site = site
        self._systems = site.systems
        self._defects = defects

    def account(self, asked: Asked, base: str) -> Response:
        """Balance in money, energy and time, daily average and usage (C3-S1.12)."""
        css = self._systems.css
        page, outcome = css.account_page(asked.account), css.outcome(asked.account)
        if "account_energy_at_another_price" in self._defects:
            page = replace(page, credit_wh=page.credit_wh * 9 // 10)
        if "account_time_left_without_days" in self._defects:
            page = replace(page, time_left=page.time_left % _DAY)
        since = page.intervals[-1].ends_at - _DAY if page.intervals else None
        latest = [i for i in page.intervals if since is not None and i.ends_at > since]
        return self._site.show(
            asked,
            "account.html",
            base=base,
            page=page,
            stage=css.stage(asked.account),
            outcome=None if outcome is None else outcome.name.lower(),
            events=css.balance_events(asked.account)[: -_EVENTS - 1 : -1],
            days=page.days,
            intervals=latest,
            days_chart=usage.by_day(page.days, asked.texts),
            hours_chart=usage.by_interval(latest, asked.texts),
        )

    def usage(self, asked: Asked, base: str) -> Response:
        """Usage of one day by interval, the day before this one unless named, and of the month that it ends by day."""
        systems, texts = self._systems, asked.texts
        today = systems.clock.now().astimezone(texts.zone).date()
        day = _day(asked) or today - _DAY
        start, end = usage.bounds(day, texts)
        meter_id = systems.css.customers.account(asked.account).meter_id
        month = [s.value for s in systems.mdms.intervals(meter_id, usage.bounds(day - _MONTH, texts)[0], end)]
        intervals = [i for i in month if i.ends_at - i.length >= start]
        if "usage_without_latest_interval" in self._defects:
            intervals = intervals[:-1]
        price = systems.config.tariff.price_millicents_per_kwh
        days = [DayUsage(d, wh, cost_cents(wh, price)) for d, wh in by_day(month, texts.zone).items()]
        return self._site.show(
            asked,
            "usage.html",
            base=base,
            day=day,
            earlier=day - _DAY,
            later=day + _DAY if day < today else None,
            days=days,
            intervals=intervals,
            days_chart=usage.by_day(days, texts),
            hours_chart=usage.by_interval(intervals, texts),
        )

    def estimate(self, asked: Asked, account: str, base: str, offered: Sequence[PaymentMethod]) -> Response:
        """The estimate of a request (C3-S1.03), and the form to pay for it (C3-S1.04)."""
        css = self._systems.css
        estimate = css.estimate(asked.request_id, account)
        method = payforms.chosen_method(asked, offered)
        context: dict[str, Any] = {
            "estimate": estimate,
            "chart": usage.by_day(estimate.history, asked.texts),
            "at_zero": css.customers.account(account).at_zero,
            "options": css.paying.options(account),
            "payment_id": self._systems.cashier.next_id(asked.request_id),
            "minimum_cents": self._systems.config.payments.minimum_cents,
            "methods": offered,
            "method": method,
            "fields": payforms.fields(method),
        }
        return self._site.show(asked, "estimate.html", base=base, **context)


def _day(asked: Asked) -> date | None:
    """The day named in the address, None unless named."""
    text = asked.given.text("day", needed=False)
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
        if not 1970 < day.year < 2200:
            raise ValueError
    except ValueError:
        raise BadForm("day", N_("This is not a day; write it like 2026-01-05.")) from None
    return day
