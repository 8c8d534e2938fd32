"""From history to the days to come: profiles, how long a credit lasts, bill cycles, days of the local calendar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.roles import Interval
from twins.utility.consumption import LONGEST, Profile, by_day, expected_wh, next_cycle, profile, runs_out

LA = ZoneInfo("America/Los_Angeles")
HOUR = timedelta(hours=1)
MIDNIGHT = datetime(2026, 1, 5, 8, tzinfo=UTC)
STEPS = Profile(tuple(float(100 * hour) for hour in range(24)))


def hours(*wh: float, start: datetime = MIDNIGHT, complete: bool = True) -> list[Interval]:
    return [Interval(start + (k + 1) * HOUR, HOUR, e, complete) for k, e in enumerate(wh)]


def test_a_profile_is_the_mean_of_each_local_hour() -> None:
    seen = hours(*range(24)) + hours(*range(2, 26), start=MIDNIGHT + timedelta(days=1))
    shape = profile(seen, LA)
    assert shape is not None
    assert shape.wh_by_hour == tuple(hour + 1.0 for hour in range(24))
    assert (shape.history_from, shape.history_to) == (MIDNIGHT, MIDNIGHT + timedelta(days=2))


def test_quarter_hours_make_the_same_profile_as_hours() -> None:
    quarters = [Interval(MIDNIGHT + (k + 1) * HOUR / 4, HOUR / 4, 100.0, True) for k in range(96)]
    assert profile(quarters, LA) == profile(hours(*[400.0] * 24), LA)


def test_partial_intervals_say_nothing_of_the_profile_and_count_for_the_day() -> None:
    seen = hours(60.0, 60.0) + hours(7.0, start=MIDNIGHT + 2 * HOUR, complete=False)
    shape = profile(seen, LA)
    assert shape is not None
    assert set(shape.wh_by_hour) == {60.0}
    assert by_day(seen, LA) == {date(2026, 1, 5): 127.0}
    assert profile(hours(1.0, complete=False), LA) is None


def test_a_credit_runs_out_inside_the_hour_that_uses_it_up() -> None:
    # hours 0 to 3 take 0 + 100 + 200 + 300
    assert runs_out(STEPS, MIDNIGHT, 450, LA) == MIDNIGHT + timedelta(hours=3, minutes=30)
    assert runs_out(STEPS, MIDNIGHT, 0, LA) == runs_out(STEPS, MIDNIGHT, -5, LA) == MIDNIGHT


def test_nothing_used_lasts_as_long_as_anything_can() -> None:
    assert runs_out(Profile((0.0,) * 24), MIDNIGHT, 1, LA) == MIDNIGHT + LONGEST


@given(st.floats(1, 200_000), st.integers(0, 400 * 86_400))
def test_what_runs_out_then_was_expected_until_then(credit: float, after_s: int) -> None:
    start = MIDNIGHT + timedelta(seconds=after_s)
    end = runs_out(STEPS, start, credit, LA)
    assert expected_wh(STEPS, start, end, LA) <= credit + 1e-3
    assert expected_wh(STEPS, start, end + timedelta(seconds=1), LA) >= credit - 1e-3


@pytest.mark.parametrize(
    ("day", "length"),
    [(datetime(2026, 3, 8, 8, tzinfo=UTC), 23), (datetime(2026, 11, 1, 7, tzinfo=UTC), 25)],
)
def test_days_on_which_the_clocks_change_have_their_own_length(day: datetime, length: int) -> None:
    flat = Profile((100.0,) * 24)
    assert expected_wh(flat, day, next_cycle(day, day.astimezone(LA).day + 1, LA), LA) == pytest.approx(100 * length)
    seen = hours(*[1.0] * length, start=day)
    assert list(by_day(seen, LA).values()) == [length]


@pytest.mark.parametrize(
    ("now", "cycle_day", "expected"),
    [
        ((2026, 1, 5, 8), 15, (2026, 1, 15, 8)),
        ((2026, 1, 5, 8), 5, (2026, 2, 5, 8)),  # it has just begun
        ((2026, 1, 5, 7), 5, (2026, 1, 5, 8)),  # still the 4th in Los Angeles
        ((2026, 12, 31, 20), 28, (2027, 1, 28, 8)),
        ((2026, 3, 1, 20), 15, (2026, 3, 15, 7)),  # summer time by then
    ],
)
def test_a_bill_cycle_begins_at_local_midnight(
    now: tuple[int, int, int, int], cycle_day: int, expected: tuple[int, int, int, int]
) -> None:
    assert next_cycle(datetime(*now, tzinfo=UTC), cycle_day, LA) == datetime(*expected, tzinfo=UTC)
