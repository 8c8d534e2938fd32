"""Statistics of the fleet's verdict against known values, another implementation, and what chance makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.data import BadInput
from bench.judge import requirements
from bench.judge.fleet import (
    Demand,
    FleetVerdict,
    failures_allowed,
    failures_refuting,
    judge_fleet,
    lower_bound,
    plan,
    screen,
    trials_needed,
    upper_bound,
)
from bench.judge.verdict import Verdict
from twins import defects as seeded
from twins.fleet.config import FleetConfig
from twins.fleet.fleet import simulate

CATALOGUE = requirements.load()
NFR = CATALOGUE["C3-NFR-12"]
DEMAND = Demand.of(NFR)


def test_the_catalogue_says_what_is_demanded() -> None:
    for id_ in ("C3-NFR-12", "C3-NFR-13"):
        assert Demand.of(CATALOGUE[id_]) == Demand(rate=0.999, share=0.99, rest_rate=0.98)


def test_sample_sizes_without_a_failure() -> None:
    assert (trials_needed(0.999), trials_needed(0.98), trials_needed(0.99)) == (2_995, 149, 299)
    first = plan(DEMAND)["allowed"][0]
    assert first == {"failures": 0, "trials": 2_995, "trials_rest": 149, "meters": 299}


@pytest.mark.parametrize(
    ("rate", "failures", "trials"), [(0.95, 0, 59), (0.95, 1, 93), (0.9, 0, 29), (0.9, 2, 61), (0.99, 1, 473)]
)
def test_sample_sizes_of_published_tables(rate: float, failures: int, trials: int) -> None:
    assert trials_needed(rate, failures) == trials


@pytest.mark.parametrize("found", [0, 1, 7, 50, 99, 100])
def test_bounds_are_those_of_another_implementation(found: int) -> None:
    test = stats.binomtest(found, 100)
    # One-sided at 95 % is one end of two-sided at 90 %.
    interval = test.proportion_ci(0.90, method="exact")
    assert lower_bound(found, 100) == pytest.approx(interval.low, abs=1e-12)
    assert upper_bound(found, 100) == pytest.approx(interval.high, abs=1e-12)


def test_bounds_known_by_hand() -> None:
    assert upper_bound(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert lower_bound(10, 10) == pytest.approx(0.05 ** (1 / 10))
    assert upper_bound(0, 10) == pytest.approx(0.2588655508)


@pytest.mark.parametrize("trials", [1, 24, 148, 149, 720, 1440, 87_840])
def test_numbers_of_failures_are_the_tightest(trials: int) -> None:
    allowed = failures_allowed(trials, 0.98)
    assert stats.binom.cdf(allowed, trials, 0.02) <= 0.05 < stats.binom.cdf(allowed + 1, trials, 0.02)
    for chance in (0.05, 1e-9):
        refuting = failures_refuting(trials, 0.98, chance)
        assert stats.binom.sf(refuting - 1, trials, 0.02) <= chance < stats.binom.sf(refuting - 2, trials, 0.02)


def test_149_trials_show_98_percent_and_148_do_not() -> None:
    assert (failures_allowed(149, 0.98), failures_allowed(148, 0.98)) == (0, -1)


# --- The verdict -------------------------------------------------------------------------------------------------------


def drawn(rng: np.random.Generator, trials: int, *kinds: tuple[int, float]) -> list[int]:
    """So many meters of each rate, by the number of their failures."""
    failed = np.concatenate([rng.binomial(trials, 1 - rate, meters) for meters, rate in kinds])
    return [int(n) for n in np.bincount(failed)]


def share(by_failed: list[int], trials: int) -> Verdict:
    return judge_fleet(NFR, by_failed, trials).findings[0].verdict


@pytest.mark.parametrize(("trials", "meters"), [(720, 50_000), (1440, 20_000), (3_000, 5_000), (20_000, 2_000)])
def test_the_plan_is_enough_and_the_verdict_rarely_wrong(trials: int, meters: int) -> None:
    """Repeated draws: at the limits a fleet passes, or fails, in one of twenty at most; a healthy one passes, a bad one fails."""
    rng = np.random.default_rng(7)
    assert screen(trials, DEMAND).meters <= meters
    spare = meters // 100
    runs = 60
    # A hair too many meters below the better rate, the rest perfect: must hardly ever pass.
    under = [share(drawn(rng, trials, (spare + 1, 0.998_99), (meters - spare - 1, 1.0)), trials) for _ in range(runs)]
    # Everybody just as good as demanded: must hardly ever fail.
    kept = [share(drawn(rng, trials, (meters - spare, 0.999), (spare, 0.98)), trials) for _ in range(runs)]
    healthy = [share(drawn(rng, trials, (meters, 0.9999)), trials) for _ in range(runs)]
    bad = [share(drawn(rng, trials, (meters, 0.99)), trials) for _ in range(runs)]
    assert under.count(Verdict.PASS) <= 8  # 3 expected; 9 or more in one of a hundred such tests
    assert kept.count(Verdict.FAIL) <= 8
    assert healthy.count(Verdict.PASS) >= 48
    assert bad.count(Verdict.FAIL) == runs


def test_one_bad_meter_fails_the_rest() -> None:
    by_failed = [100_000] + [0] * 99 + [1]
    judged = judge_fleet(NFR, by_failed, 720)
    assert [f.verdict for f in judged.findings] == [Verdict.PASS, Verdict.FAIL]
    assert judged.verdict is Verdict.FAIL


def test_a_meter_in_doubt_leaves_the_rest_open() -> None:
    judged = judge_fleet(NFR, [100_000] + [0] * 14 + [1], 720)
    assert [f.verdict for f in judged.findings] == [Verdict.PASS, Verdict.INCONCLUSIVE]


def test_few_trials_or_meters_decide_nothing() -> None:
    for by_failed, trials, says in (([1_000], 24, "149"), ([10], 720, "17231 meters")):
        judged = judge_fleet(NFR, by_failed, trials)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert any(says in f.reason for f in judged.findings)


def test_a_single_trial_shows_nothing_but_may_refute() -> None:
    assert judge_fleet(NFR, [1], 1).verdict is Verdict.INCONCLUSIVE
    # Of a fleet that keeps its rates one trial in 800 fails, of one that keeps the lesser one in fifty: less than one in twenty.
    assert [f.verdict for f in judge_fleet(NFR, [0, 1], 1).findings] == [Verdict.FAIL, Verdict.FAIL]


@pytest.mark.parametrize(("by_failed", "trials"), [([], 10), ([0], 10), ([5], 0), ([1, 2, 3], 1)])
def test_counts_that_cannot_be_are_refused(by_failed: list[int], trials: int) -> None:
    with pytest.raises(BadInput, match=r"C3-NFR-12: "):
        judge_fleet(NFR, by_failed, trials)


def test_a_requirement_without_two_rates_is_refused() -> None:
    with pytest.raises(BadInput, match="no two success rates"):
        Demand.of(CATALOGUE["C3-NFR-02"])
    with pytest.raises(BadInput, match="no two success rates"):
        Demand.of(replace(NFR, limits=NFR.limits[:1]))


# --- The fleet that is judged ------------------------------------------------------------------------------------------

_NAMES = [d.name for d in seeded.CATALOGUE.values() if d.of == "fleet"]


def judged(seed: int, *defects: str) -> dict[str, FleetVerdict]:
    tally = simulate(FleetConfig(), seed, 65_536, 30, defects=frozenset(defects))
    tried: Any = {
        "C3-NFR-12": (tally.by_messages_failed, tally.messages),
        "C3-NFR-13": (tally.by_commands_failed, tally.commands),
    }
    return {id_: judge_fleet(CATALOGUE[id_], *of) for id_, of in tried.items()}


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_fleet_passes(seed: int) -> None:
    assert {v.verdict for v in judged(seed).values()} == {Verdict.PASS}


@pytest.mark.parametrize("name", _NAMES)
def test_a_defect_fails_what_it_breaks_and_nothing_else(name: str) -> None:
    breaks = set(seeded.find(name).breaks)
    for id_, verdict in judged(1, name).items():
        assert verdict.verdict is (Verdict.FAIL if id_ in breaks else Verdict.PASS), verdict


def test_each_limit_is_broken_by_itself() -> None:
    """The share alone, and the rest alone, each for both requirements."""
    for name, at in (("far_meters_abound", 0), ("some_meters_out_of_reach", 1)):
        for verdict in judged(1, name).values():
            found = [f.verdict for f in verdict.findings]
            assert found[at] is Verdict.FAIL
            assert found[1 - at] is not Verdict.FAIL
