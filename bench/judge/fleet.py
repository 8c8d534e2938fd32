"""Whether a fleet keeps a success rate that holds for a share of its meters, by exact binomial statistics.

A requirement names two rates: the better for a share of the meters (99.9 % for 99 %), the lesser for the rest (98 %). Bounds
are Clopper and Pearson's ("The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26,
1934), one-sided. What is held against them is chosen from the number of trials alone, never from what came out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data import BadInput
from bench.judge.requirements import Requirement
from bench.judge.verdict import Verdict, worst

CONFIDENCE = 0.95
EXPECTED = 0.1
"""A plan takes a healthy meter to lose a tenth of what it may."""
POWER = 0.9
"""A plan is for a fleet that is found healthy nine times out of ten where it is."""


@dataclass(frozen=True)
class Demand:
    """The better rate with the share of meters that it holds for, and the rate that the rest of them keep."""

    rate: float
    share: float
    rest_rate: float

    @staticmethod
    def of(requirement: Requirement) -> Demand:
        """As the catalogue has it; BadInput where its limits are not two rates for shares that come to 1."""
        rates = sorted((limit for limit in requirement.limits if limit.of_meters), key=lambda limit: -limit.value)
        fits = len(rates) == 2 and all(limit.op == ">=" and 0 < limit.value < 1 for limit in rates)
        if not fits or not math.isclose(sum(limit.of_meters or 0 for limit in rates), 1):
            raise BadInput(f"{requirement.id} has no two success rates (>=) for shares of the meters that come to 1")
        return Demand(rates[0].value, rates[0].of_meters or 0, rates[1].value)


# --- Exact bounds ------------------------------------------------------------------------------------------------------


def _at_most(failures: int, trials: int, chance: float) -> float:
    """The chance of at most so many failures in binomial trials."""
    from scipy.special import betainc

    if failures < 0:
        return 0.0
    return 1.0 if failures >= trials else float(betainc(trials - failures, failures + 1, 1 - chance))


def _at_least(failures: int, trials: int, chance: float) -> float:
    """The chance of at least so many, to full precision where it is small."""
    from scipy.special import betainc

    if failures <= 0:
        return 1.0
    return 0.0 if failures > trials else float(betainc(failures, trials - failures + 1, chance))


def lower_bound(found: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The least proportion that `found` of `of` leave open, one-sided."""
    from scipy.special import betaincinv

    return 0.0 if found == 0 else float(betaincinv(found, of - found + 1, 1 - confidence))


def upper_bound(found: int, of: int, confidence: float = CONFIDENCE) -> float:
    """The greatest proportion that `found` of `of` leave open, one-sided."""
    from scipy.special import betaincinv

    return 1.0 if found == of else float(betaincinv(found + 1, of - found, confidence))


def _first(holds: Callable[[int], bool], least: int) -> int:
    """The first whole number from `least` on for which something holds that goes on holding."""
    if holds(least):
        return least
    step = 1
    while not holds(least + step):
        least, step = least + step, 2 * step
    most = least + step
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if holds(middle) else (middle, most)
    return most


def trials_needed(rate: float, failures: int = 0, confidence: float = CONFIDENCE) -> int:
    """How many trials show a success rate when `failures` of them fail."""
    return _first(lambda trials: _at_most(failures, trials, 1 - rate) <= 1 - confidence, failures + 1)


def failures_allowed(trials: int, rate: float, confidence: float = CONFIDENCE) -> int:
    """How many failures in `trials` still show the rate; -1 where not even none would."""
    return _first(lambda failures: _at_most(failures, trials, 1 - rate) > 1 - confidence, 0) - 1


def failures_refuting(trials: int, rate: float, chance: float) -> int:
    """From how many failures in `trials` on a meter that keeps the rate is no likelier than `chance`."""
    return _first(lambda failures: _at_least(failures, trials, 1 - rate) <= chance, 0)


# --- What to hold a fleet against --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Screen:
    """How a fleet with `trials` for each meter is held against a demand.

    Were the share kept by too few meters, at least `shown_below` of all would have `shown_from` failures or more. While it is
    kept, at most `refuted_above` have `refuted_from` or more. A meter with at most `rest_allowed` failures keeps the rate of
    the rest; `meters` are enough to find that a healthy fleet is.
    """

    trials: int
    shown_from: int
    shown_below: float
    refuted_from: int
    refuted_above: float
    rest_allowed: int
    meters: int


def screen(trials: int, demand: Demand) -> Screen:
    """Choose what to count, from the number of trials alone."""
    spare, lost = 1 - demand.share, 1 - demand.rate
    shown_from, shown_below, meters = min(
        (_plan(trials, k, demand) for k in range(1, 12 + math.ceil(2 * trials * lost))), key=lambda plan: plan[2]
    )
    refuted_from = failures_refuting(trials, demand.rate, spare / 10)
    refuted_above = demand.share * _at_least(refuted_from, trials, lost)
    refuted_above += spare * _at_least(refuted_from, trials, 1 - demand.rest_rate)
    return Screen(
        trials,
        shown_from,
        shown_below,
        refuted_from,
        refuted_above,
        failures_allowed(trials, demand.rest_rate),
        meters,
    )


def _plan(trials: int, failures: int, demand: Demand) -> tuple[int, float, int]:
    """How many meters it takes where those with `failures` or more are counted."""
    from scipy.special import gammaincinv, pdtr

    lost = 1 - demand.rate
    # The least that a fleet just short of the share would have: its good meters lose nothing, its others lose just too much.
    bound = (1 - demand.share) * _at_least(failures, trials, lost)
    healthy = _at_least(failures, trials, lost * EXPECTED)
    if bound <= 0:
        return failures, bound, 2**62
    for found in range(200):
        meters = math.ceil(float(gammaincinv(found + 1, CONFIDENCE)) / bound)
        if pdtr(found, meters * healthy) >= POWER:
            return failures, bound, meters
        if meters * healthy > 2 * found + 10:
            break
    return failures, bound, 2**62


# --- The verdict -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One of the two rates, decided: `found` of `of` meters count against `bound`, between `lower` and `upper`."""

    what: str
    limit: str
    verdict: Verdict
    reason: str
    found: int
    of: int
    lower: float
    upper: float
    bound: float

    def as_json(self) -> dict[str, Any]:
        """As it stands in the verdict."""
        return {**vars(self), "verdict": self.verdict.value}


@dataclass(frozen=True)
class FleetVerdict:
    """What a fleet came to for one requirement."""

    id: str
    demand: Demand
    screen: Screen
    findings: tuple[Finding, ...]
    failed: int
    trials: int

    @property
    def verdict(self) -> Verdict:
        """The worse of its two rates."""
        return worst(finding.verdict for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the verdict: `success` is that of all trials together, which decides nothing."""
        return {
            "id": self.id,
            "system": "Fleet",
            "verdict": self.verdict.value,
            "demand": vars(self.demand),
            "success": {
                "trials": self.trials,
                "failed": self.failed,
                "rate": 1 - self.failed / self.trials,
                "lower": 1 - upper_bound(self.failed, self.trials),
                "upper": 1 - lower_bound(self.failed, self.trials),
            },
            "screen": vars(self.screen),
            "findings": [finding.as_json() for finding in self.findings],
        }


def judge_fleet(requirement: Requirement, by_failed: Sequence[int], trials: int) -> FleetVerdict:
    """Decide a requirement: element k of `by_failed` is the number of meters of which k of `trials` failed."""
    demand = Demand.of(requirement)
    meters = sum(by_failed)
    if meters < 1 or trials < 1:
        raise BadInput(f"{requirement.id}: {meters} meters with {trials} trials each decide nothing")
    if len(by_failed) > trials + 1:
        raise BadInput(f"{requirement.id}: a meter failed {len(by_failed) - 1} of {trials} trials")
    held = screen(trials, demand)
    failed = sum(k * n for k, n in enumerate(by_failed))
    findings = (_share(demand, held, by_failed, meters), _rest(demand, held, by_failed, meters))
    return FleetVerdict(requirement.id, demand, held, findings, failed, meters * trials)


def _share(demand: Demand, held: Screen, by_failed: Sequence[int], meters: int) -> Finding:
    """Whether enough of the meters keep the better rate."""
    shown, refuting = sum(by_failed[held.shown_from :]), sum(by_failed[held.refuted_from :])
    upper, lower = upper_bound(shown, meters), lower_bound(refuting, meters)
    verdict, found, failures, bound = Verdict.INCONCLUSIVE, shown, held.shown_from, held.shown_below
    reason = (
        f"up to {upper:.3g} of all meters may have {failures} failures or more in {held.trials}, of fewer than {bound:.3g};"
        f" it takes about {held.meters} meters"
    )
    if lower > held.refuted_above:
        verdict, found, failures, bound = Verdict.FAIL, refuting, held.refuted_from, held.refuted_above
        reason = f"at least {lower:.3g} of all meters have {failures} failures or more in {held.trials}, of {bound:.3g} at most"
    elif upper < bound:
        verdict = Verdict.PASS
        reason = (
            f"at most {upper:.3g} of all meters have {failures} failures or more in {held.trials}, of under {bound:.3g}"
        )
    return Finding(
        f"{demand.rate:g} for {demand.share:g} of the meters",
        f"success rate >= {demand.rate:g} for {demand.share:g} of the meters",
        verdict,
        f"{reason} ({found} of {meters}, {CONFIDENCE:.0%} confidence)",
        found,
        meters,
        lower_bound(found, meters),
        upper_bound(found, meters),
        bound,
    )


def _rest(demand: Demand, held: Screen, by_failed: Sequence[int], meters: int) -> Finding:
    """Whether all meters keep the lesser rate: each has to show it, and one that surely doesn't is enough to fail."""
    open_ = sum(by_failed[held.rest_allowed + 1 :])
    # With so many meters one of them looks bad by chance; all of them together may do so in one run of twenty.
    refuted_from = failures_refuting(held.trials, demand.rest_rate, (1 - CONFIDENCE) / meters)
    refuting = sum(by_failed[refuted_from:])
    if refuting:
        verdict, found = Verdict.FAIL, refuting
        reason = f"{refuting} of {meters} meters have {refuted_from} failures or more in {held.trials}"
    elif held.rest_allowed < 0:
        verdict, found = Verdict.INCONCLUSIVE, meters
        reason = f"{held.trials} trials a meter show nothing; it takes {trials_needed(demand.rest_rate)}"
    elif open_:
        verdict, found = Verdict.INCONCLUSIVE, open_
        reason = (
            f"{open_} of {meters} meters have more than {held.rest_allowed} failures in {held.trials}, too many to show the"
            " rate and too few to refute it; run longer"
        )
    else:
        verdict, found = Verdict.PASS, 0
        reason = f"each of {meters} meters has at most {held.rest_allowed} failures in {held.trials}"
    return Finding(
        f"{demand.rest_rate:g} for the rest of them",
        f"success rate >= {demand.rest_rate:g} for the rest of the meters",
        verdict,
        f"{reason} ({CONFIDENCE:.0%} confidence)",
        found,
        meters,
        lower_bound(found, meters),
        upper_bound(found, meters),
        0.0,
    )


# --- Plans -------------------------------------------------------------------------------------------------------------


def plan(demand: Demand) -> dict[str, Any]:
    """Sample sizes for a run on a bench, by how many failures are allowed: trials on one meter, and meters for the share."""
    return {
        "confidence": CONFIDENCE,
        "allowed": [
            {
                "failures": failures,
                "trials": trials_needed(demand.rate, failures),
                "trials_rest": trials_needed(demand.rest_rate, failures),
                "meters": trials_needed(demand.share, failures),
            }
            for failures in range(4)
        ],
    }
