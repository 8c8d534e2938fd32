"""Moments that instruments find: they are right by what they say to be uncertain by, however seldom was looked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench import inventory
from bench.bench import Bench
from bench.measure import Service, watt_hours
from bench.prepaying import Prepaying
from tests.bench.conftest import bench_data, written

AMPERES = 5.0
RARELY_S = 1.2


class Busy(Bench):
    """A bench on a machine that has other things to do: nobody comes round to look for long, nor to look at first."""

    def advance(self, seconds: float) -> None:
        super().advance(max(seconds, RARELY_S))


def brought_up(kind: type[Bench], tmp_path: Path) -> Iterator[Bench]:
    bench = kind(inventory.load(written(tmp_path, bench_data())))
    try:
        bench.up(mirror=False)
        bench.device("meter").connect()
        bench.device("load").set_current(AMPERES)
        bench.device("load").off()
        Bench.advance(bench, 5)
        yield bench
    finally:
        bench.down()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    yield from brought_up(Bench, tmp_path)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Bench]:
    yield from brought_up(Busy, tmp_path)


def begins(bench: Bench, in_s: float) -> datetime:
    """The load draws current from then on."""
    now = bench.now
    bench.call(bench.clock.call_later, in_s, bench.twins["load"].on)  # type: ignore[attr-defined]
    return now + timedelta(seconds=in_s)


@pytest.mark.parametrize("in_s", [0.05, 1.234, 2.9, 3.35])
def test_a_moment_is_as_certain_as_it_was_looked_for(bench: Bench, in_s: float) -> None:
    service = Service(bench, AMPERES)
    moment = begins(bench, in_s)
    found = service.when(True, 10)
    assert found is not None
    assert abs((found - moment).total_seconds()) <= 0.2
    assert service.moment_uncertainty_s == pytest.approx(0.129, abs=0.001)


@pytest.mark.parametrize("in_s", [0.05, 1.234, 2.9, 3.35])
def test_a_moment_that_was_seldom_looked_for_is_so_much_more_uncertain(busy: Bench, in_s: float) -> None:
    case = Prepaying(busy)
    moment = begins(busy, in_s)
    found = case.service.when(True, 10)
    assert found is not None
    assert abs((found - moment).total_seconds()) <= RARELY_S / 2 + 0.1
    # A rectangular distribution of 1.2 s, and the analyzer's tenth of a second.
    assert case.service.moment_uncertainty_s == pytest.approx(0.695, abs=0.001)
    # The next one, found at once, does not make it any better; what may be granted is what it would be at best.
    assert case.service.when(True, 10) == busy.now
    assert case.service.moment_uncertainty_s == pytest.approx(0.695, abs=0.001)
    assert case.service.least_uncertainty_s == pytest.approx(0.129, abs=0.001)


def test_a_first_look_that_comes_too_late_does_not_make_a_moment_of_its_own(bench: Bench) -> None:
    service = Service(bench, AMPERES)
    since = bench.now
    moment = begins(bench, 1.0)
    bench.advance(2.4)
    found = service.when(True, 10, since=since)
    assert found == since + timedelta(seconds=1.2)
    assert abs((found - moment).total_seconds()) < service.moment_uncertainty_s
    assert service.moment_uncertainty_s == pytest.approx(1.387, abs=0.001)
    assert Service(bench, AMPERES).when(False, 2.0) is None


class Late(Bench):
    """A bench on a machine that comes back to it late."""

    late_s = 0.0

    def advance(self, seconds: float) -> None:
        super().advance(seconds + self.late_s)


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Bench]:
    yield from brought_up(Late, tmp_path)


@pytest.mark.parametrize("late_s", [0.0, 0.3, 2.0])
def test_energy_that_was_stopped_too_late_is_uncertain_by_it_and_at_last_doubtful(late: Late, late_s: float) -> None:
    service = Service(late, AMPERES)
    late.device("load").on()
    late.advance(5)
    power_w = service.analyzer.read().power_w
    late.late_s = late_s
    measured, _ = service.energy(late.now + timedelta(seconds=60))
    should = power_w * 60 / 3600
    wh, uncertainty = watt_hours(measured)
    assert wh == pytest.approx(should * (60 + late_s) / 60, rel=0.001)
    assert abs(wh - should) < uncertainty
    assert measured.doubt == ("integrated 2 s beside the 60 s" if late_s == 2.0 else None)


@pytest.mark.parametrize("late_s", [0.3, 2.0])
def test_energy_that_was_begun_too_late_is_uncertain_by_it_too(late: Late, late_s: float) -> None:
    service = Service(late, AMPERES)
    late.device("load").on()
    late.advance(5)
    power_w = service.analyzer.read().power_w
    since = late.now
    late.advance(late_s)
    measured, _ = service.energy(since + timedelta(seconds=60), since=since)
    should = power_w * 60 / 3600
    wh, uncertainty = watt_hours(measured)
    assert wh == pytest.approx(should * (60 - late_s) / 60, rel=0.001)
    assert abs(wh - should) < uncertainty
    assert measured.doubt == ("integrated 2 s beside the 60 s" if late_s == 2.0 else None)


class HeldUp(Prepaying):
    """A customer whose meter's answers are held up on their way, the first ones for long."""

    def __init__(self, bench: Bench, *late_s: float) -> None:
        super().__init__(bench)
        self.late_s = list(late_s)

    @property
    def meter(self) -> Any:
        return self

    def clock(self) -> datetime:
        clock: datetime = super().meter.clock()
        self.bench.advance(self.late_s.pop(0))
        return clock


@pytest.mark.parametrize(
    ("late_s", "within_s"), [([0.0], 0.0), ([3.0, 0.0], 0.0), ([3.0, 2.0, 0.05], 0.03), ([3, 2, 0.4, 1, 3], 0.2)]
)
def test_how_far_a_clock_is_ahead_is_told_by_the_quickest_answer(
    bench: Bench, late_s: list[float], within_s: float
) -> None:
    bench.device("meter").set_clock(bench.now + timedelta(seconds=7))
    case = HeldUp(bench, *late_s)
    assert case.ahead_by().total_seconds() == pytest.approx(7, abs=within_s + 0.001)
    assert case.late_s == []
