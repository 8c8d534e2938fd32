"""Usage as charts and tables: every bar and every row is what the MDMS has, also on the days when the clocks change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from html import unescape

import pytest

from drivers.roles import Interval
from tests.conftest import BOTH
from tests.utility.conftest import ACCOUNT, METER
from tests.website.conftest import Visitor, WebTown
from twins.utility.website.charts import HEIGHT, WIDTH
from twins.utility.website.texts import Texts

pytestmark = BOTH

HOUR = timedelta(hours=1)
CHANGES = {
    # midnight of the day and of the next one in Los Angeles, the day's hours
    "an hour less": (date(2025, 3, 9), datetime(2025, 3, 9, 8, tzinfo=UTC), datetime(2025, 3, 10, 7, tzinfo=UTC), 23),
    "an hour more": (date(2025, 11, 2), datetime(2025, 11, 2, 7, tzinfo=UTC), datetime(2025, 11, 3, 8, tzinfo=UTC), 25),
    "as any other": (date(2025, 10, 1), datetime(2025, 10, 1, 7, tzinfo=UTC), datetime(2025, 10, 2, 7, tzinfo=UTC), 24),
}


@pytest.fixture
def here(web_town: Callable[..., WebTown]) -> WebTown:
    return web_town()


def known(here: WebTown, since: datetime | None = None, until: datetime | None = None) -> list[Interval]:
    """The intervals of the account's meter by the MDMS."""
    return [s.value for s in here.town.ask(here.town.utility.mdms.intervals, METER, since, until)]


def bars(page: Visitor, chart: str) -> list[tuple[str, float, float]]:
    """The bars of a chart: what each says, its left edge and its height."""
    found = re.search(rf'<svg[^>]*id="{chart}">(.*?)</svg>', page.last.text, re.DOTALL)
    assert found, chart
    drawn = re.findall(
        r'<g class="bar"><title>(.*?)</title>\s*<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"',
        found[1],
    )
    for _, x, y, width, height in drawn:
        assert 0 <= float(x) <= float(x) + float(width) <= WIDTH
        assert 0 <= float(y) <= float(y) + float(height) <= HEIGHT
    return [(unescape(told), float(x), float(height)) for told, x, _, _, height in drawn]


def rows(page: Visitor, table: str) -> list[list[str]]:
    """The cells of a table's rows."""
    found = re.search(rf'<table data-field="{table}">.*?<tbody>(.*?)</tbody>', page.last.text, re.DOTALL)
    assert found, table
    lines = re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)] for line in lines]


def drawn_to_scale(drawn: Sequence[tuple[str, float, float]], amounts: Sequence[float]) -> None:
    """The bars stand from left to right, each as high as its amount says, to a tenth of the chart's unit."""
    assert len(drawn) == len(amounts)
    assert [x for _, x, _ in drawn] == sorted({x for _, x, _ in drawn})
    top, highest = max(amounts), max(height for _, _, height in drawn)
    assert highest > HEIGHT / 3
    for (told, _, height), amount in zip(drawn, amounts, strict=True):
        assert height == pytest.approx(highest * amount / top, abs=0.11), told


def hours_match(page: Visitor, intervals: Sequence[Interval], texts: Texts) -> None:
    """Bars and rows by interval are those of the MDMS."""
    starts = [i.ends_at - i.length for i in intervals]
    assert rows(page, "intervals") == [
        [texts.moment(start), texts.hour(i.ends_at), f"{i.energy_wh / 1000:.3f} kWh"]
        for start, i in zip(starts, intervals, strict=True)
    ]
    drawn = bars(page, "intervals-chart")
    assert [told for told, _, _ in drawn] == [
        f"{texts.hour(start)} – {texts.hour(i.ends_at)}: {texts.kwh(i.energy_wh, 2)}"
        for start, i in zip(starts, intervals, strict=True)
    ]
    drawn_to_scale(drawn, [i.energy_wh for i in intervals])


def days_match(page: Visitor, wh: dict[date, float], texts: Texts) -> None:
    """Bars by day, and rows with the latest first, are these sums of energy; a kilowatt-hour costs 20 cents."""
    told = [(texts.day(day), f"{energy / 1000:.1f} kWh", f"${energy / 5000:.2f}") for day, energy in wh.items()]
    assert [tuple(row) for row in rows(page, "days")] == told[::-1]
    drawn = bars(page, "days-chart")
    assert [text for text, _, _ in drawn] == [f"{day}: {energy}, {cost}" for day, energy, cost in told]
    drawn_to_scale(drawn, list(wh.values()))


@pytest.mark.parametrize("change", CHANGES)
def test_a_day_is_shown_with_all_the_hours_that_it_has(here: WebTown, change: str) -> None:
    day, start, end, hours = CHANGES[change]
    texts = Texts("en", here.town.config.zone)
    # the day before and the day after have other figures, so that an hour in the wrong day shows
    stored = [Interval(start + k * HOUR, HOUR, 100.0 * (k + 30), True) for k in range(-23, hours + 25)]
    here.town.ask(here.town.utility.mdms.store_intervals, METER, stored)
    here.town.after(3_600)
    ada = here.visitor("C-1")
    ada.get(f"/accounts/{ACCOUNT}/usage?day={day}")
    intervals = known(here, start, end)
    assert len(intervals) == hours
    assert ada.last.text.count("<tr><td>") == hours
    hours_match(ada, intervals, texts)
    before = sum(i.energy_wh for i in stored if i.ends_at <= start)
    days_match(ada, {day - timedelta(days=1): before, day: sum(i.energy_wh for i in intervals)}, texts)
    ada.get(f"/accounts/{ACCOUNT}/usage?day={day + timedelta(days=1)}")
    hours_match(ada, [i for i in stored if i.ends_at - i.length >= end], texts)


def test_the_account_shows_its_latest_day_by_the_hour_and_all_days_of_its_history(here: WebTown) -> None:
    zone = here.town.config.zone
    texts = Texts("en", zone)
    here.town.after(5 * 3_600 + 60)
    ada = here.visitor("C-1")
    ada.get(f"/accounts/{ACCOUNT}")
    intervals = known(here)
    assert len({i.energy_wh for i in intervals}) > 1, "what was measured differs from the history"
    latest = intervals[-1].ends_at - timedelta(days=1)
    hours_match(ada, [i for i in intervals if i.ends_at > latest], texts)
    since = here.town.clock.now() - timedelta(days=here.town.config.css.history_days)
    wh: dict[date, float] = {}
    for i in intervals:
        if i.ends_at - i.length >= since:
            day = (i.ends_at - i.length).astimezone(zone).date()
            wh[day] = wh.get(day, 0.0) + i.energy_wh
    days_match(ada, wh, texts)


def test_the_usage_page_misses_the_latest_interval_with_the_defect_only(web_town: Callable[..., WebTown]) -> None:
    def shown(*defects: str) -> tuple[int, int]:
        here = web_town(*defects)
        here.town.after(5 * 3_600 + 60)
        ada = here.visitor("C-1")
        latest = known(here)[-1]
        day = (latest.ends_at - latest.length).astimezone(here.town.config.zone).date()
        start = datetime.combine(day, time(), here.town.config.zone)
        ada.get(f"/accounts/{ACCOUNT}/usage?day={day}")
        return len(rows(ada, "intervals")), len(known(here, start.astimezone(UTC)))

    said, held = shown()
    assert said == held > 0
    said, held = shown("usage_without_latest_interval")
    assert said == held - 1


@pytest.mark.parametrize(
    ("defects", "energy", "time"),
    [
        ((), "50.0 kWh", "4 days, 4 hours"),
        (("account_energy_at_another_price",), "45.0 kWh", "4 days, 4 hours"),
        (("account_time_left_without_days",), "50.0 kWh", "4 hours, 0 minutes"),
    ],
)
def test_what_is_left_of_an_account_is_wrong_with_the_defect_only(
    web_town: Callable[..., WebTown], defects: tuple[str, ...], energy: str, time: str
) -> None:
    here = web_town(*defects)
    here.town.pay("P-1", 1_000)
    ada = here.visitor("C-1")
    ada.get(f"/accounts/{ACCOUNT}")
    assert (ada.field("balance"), ada.field("credit"), ada.field("time_left")) == ("$10.00", energy, time)
