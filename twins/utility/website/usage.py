"""Usage as charts and tables: by day, and by interval of one day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from drivers.roles import Interval
from twins.utility.consumption import DayUsage
from twins.utility.website.charts import Chart, Value, chart
from twins.utility.website.texts import Texts


def by_day(days: Sequence[DayUsage], texts: Texts) -> Chart | None:
    """Energy of each day."""
    return chart(
        [
            Value(
                texts.day(d.day, "short"),
                d.energy_wh / 1000,
                f"{texts.day(d.day)}: {texts.kwh(d.energy_wh)}, {texts.money(d.cost_cents)}",
            )
            for d in days
        ]
    )


def by_interval(intervals: Sequence[Interval], texts: Texts) -> Chart | None:
    """Energy of each interval, labelled by its start."""
    return chart(
        [
            Value(
                texts.hour(i.ends_at - i.length),
                i.energy_wh / 1000,
                f"{texts.hour(i.ends_at - i.length)} – {texts.hour(i.ends_at)}: {texts.kwh(i.energy_wh, 2)}",
            )
            for i in intervals
        ],
        most_labels=6,
    )


def bounds(day: date, texts: Texts) -> tuple[datetime, datetime]:
    """Start and end of a local day; 23 or 25 hours apart when the clocks change."""
    start = datetime(day.year, day.month, day.day, tzinfo=texts.zone)
    after = day + timedelta(days=1)
    return start.astimezone(UTC), datetime(after.year, after.month, after.day, tzinfo=texts.zone).astimezone(UTC)
