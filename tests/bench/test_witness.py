"""Three witnesses: who contradicts whom, what that comes to, and what the judge keeps of it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from bench.data import BadInput
from bench.judge import pics, requirements
from bench.judge.decide import Rule
from bench.judge.judge import CheckFailed, Judge
from bench.judge.requirements import Limit
from bench.judge.verdict import Verdict
from bench.judge.witness import Witness

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
CATALOGUE = requirements.load()


@pytest.fixture
def judge() -> Judge:
    return Judge(CATALOGUE, now=lambda: NOON, pics={"Meter": pics.load("ami-meter")})


def check(judge: Judge, **what: Any) -> Verdict:
    return judge.check("C3-FR-01", "a quantity", **what).verdict


def measured(value: float, u: float = 0.5, doubt: str | None = None) -> Witness:
    return Witness.measure(value, u, doubt=doubt)


@pytest.mark.parametrize(
    ("witnesses", "could_tell", "verdict"),
    [
        ({"claim": 240.0, "measure": measured(240.1), "predict": 240.0}, True, PASS),
        ({"claim": 240.0, "measure": measured(240.1)}, True, PASS),
        ({"measure": measured(240.1)}, True, PASS),
        ({"claim": 240.0}, False, PASS),
        # a claim alone where an instrument could have told
        ({"claim": 240.0}, True, INCONCLUSIVE),
        ({"claim": 240.0, "predict": 240.0}, True, INCONCLUSIVE),
        # a contradiction by claim or measurement
        ({"claim": 0.0, "measure": measured(240.1), "predict": 240.0}, True, FAIL),
        ({"claim": 240.0, "measure": measured(0.0), "predict": 240.0}, True, FAIL),
        ({"claim": None, "measure": measured(240.1)}, True, FAIL),
        ({"claim": 0.0}, True, FAIL),
        # the prediction alone disagrees, or speaks alone
        ({"claim": 240.0, "measure": measured(240.1), "predict": 0.0}, True, INCONCLUSIVE),
        ({"claim": 240.0, "predict": None}, False, INCONCLUSIVE),
        ({"predict": 240.0}, False, INCONCLUSIVE),
        # not sure enough
        ({"claim": 240.0, "measure": measured(241.8)}, True, INCONCLUSIVE),
        ({"claim": 240.0, "measure": measured(math.nan, 0.0)}, True, INCONCLUSIVE),
        # an instrument that can't be relied on neither passes nor fails
        ({"claim": 240.0, "measure": measured(240.1, doubt="overdue")}, True, INCONCLUSIVE),
        ({"claim": 240.0, "measure": measured(0.0, doubt="overdue")}, True, INCONCLUSIVE),
        ({"claim": 0.0, "measure": measured(240.1, doubt="overdue")}, True, FAIL),
    ],
)
def test_witnesses_against_an_expected_value(
    judge: Judge, witnesses: dict[str, Any], could_tell: bool, verdict: Verdict
) -> None:
    assert check(judge, expected=240.0, tolerance=2.0, instrument_could_tell=could_tell, **witnesses) is verdict


@pytest.mark.parametrize(
    ("witnesses", "verdict"),
    [
        ({"claim": 240.5, "measure": measured(240.0)}, PASS),
        ({"claim": 240.8, "measure": measured(240.0)}, INCONCLUSIVE),
        ({"claim": 242.0, "measure": measured(240.0)}, FAIL),
        ({"claim": 240.0, "measure": measured(240.0), "predict": 250.0}, INCONCLUSIVE),
        ({"claim": 240.0, "predict": 240.0}, PASS),
        ({"claim": 250.0, "predict": 240.0}, INCONCLUSIVE),
        ({"claim": 240.0, "measure": None}, INCONCLUSIVE),
        ({"claim": None, "measure": measured(240.0)}, FAIL),
        ({"claim": 250.0, "measure": measured(math.nan, 0.0)}, INCONCLUSIVE),
        ({"claim": 250.0, "measure": measured(240.0, doubt="overdue")}, INCONCLUSIVE),
    ],
)
def test_witnesses_against_each_other(judge: Judge, witnesses: dict[str, Any], verdict: Verdict) -> None:
    assert check(judge, tolerance=1.0, **witnesses) is verdict


def test_the_limit_is_read_from_the_requirement(judge: Judge) -> None:
    def executed(seconds: float, u: float = 0.1) -> Verdict:
        made = judge.check(
            "C3-NFR-02",
            "the service is on",
            system="Meter",
            limit="request to execution",
            measure=Witness.measure(timedelta(seconds=seconds), timedelta(seconds=u)),
        )
        assert made.limit == "request to execution <= 60 s"
        return made.verdict

    assert executed(3.0) is PASS
    assert executed(61.0) is FAIL
    assert executed(59.95) is INCONCLUSIVE


def test_simple_acceptance_is_written_into_the_check() -> None:
    judge = Judge(CATALOGUE, rule=Rule.SIMPLE)
    limit = Limit("power", "<=", 100.0, "W")
    made = judge.check("C3-FR-01", "power", limit=limit, measure=Witness.measure(99.9, 1.0))
    assert made.verdict is PASS
    assert made.as_json()["rule"] == "simple acceptance"
    guarded = Judge(CATALOGUE).check("C3-FR-01", "power", limit=limit, measure=Witness.measure(99.9, 1.0))
    assert guarded.verdict is INCONCLUSIVE
    assert "ILAC-G8" in guarded.as_json()["rule"]


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Note:
    amount: int | None
    method: str = ""


@pytest.mark.parametrize(
    ("expected", "tolerance", "claim", "verdict"),
    [
        (True, None, True, PASS),
        (True, None, False, FAIL),
        ("OK", None, "OK", PASS),
        ("OK", None, "NOT OK", FAIL),
        (re.compile(r"\$\d+\.\d\d"), None, "$12.34", PASS),
        (re.compile(r"\$\d+\.\d\d"), None, "$12.345", FAIL),
        (re.compile(r"\$\d+\.\d\d"), None, 12.34, FAIL),
        (Colour.RED, None, Colour.RED, PASS),
        (Colour.RED, None, Colour.BLUE, FAIL),
        (1, None, 1, PASS),
        (1, None, 2, FAIL),
        (None, None, None, PASS),
        (None, None, "something", FAIL),
        ((1, 2), None, (1, 2), PASS),
        (NOON, timedelta(seconds=2), NOON + timedelta(seconds=2), PASS),
        (NOON, 2, NOON - timedelta(seconds=3), FAIL),
        (NOON, None, NOON, PASS),
        (timedelta(minutes=1), 1, timedelta(seconds=61), PASS),
        (timedelta(minutes=1), timedelta(seconds=1), timedelta(seconds=62), FAIL),
        (0.3, 0.1, 0.4, PASS),
    ],
)
def test_values_of_any_kind(judge: Judge, expected: Any, tolerance: Any, claim: Any, verdict: Verdict) -> None:
    made = judge.check("C3-FR-01", "something", expected=expected, tolerance=tolerance, claim=claim)
    assert made.verdict is verdict
    assert json.loads(json.dumps(made.as_json(), allow_nan=False))["verdict"] == verdict.value


@pytest.mark.parametrize(
    ("message", "verdict", "says"),
    [
        ({"amount": 2000, "method": "card"}, PASS, "bears all"),
        ({"amount": 0, "method": "card"}, PASS, "bears all"),
        ({"amount": 2000, "method": ""}, FAIL, "lacks method"),
        ({"method": "card"}, FAIL, "lacks amount"),
        ({}, FAIL, "lacks amount, method"),
        (None, FAIL, "no such message"),
        (Note(2000, "card"), PASS, "bears all"),
        (Note(None), FAIL, "lacks amount, method"),
    ],
)
def test_a_message_is_checked_for_its_fields(judge: Judge, message: Any, verdict: Verdict, says: str) -> None:
    made = judge.fields("C3-MSG-06", "the payment", system="CSS", required=("amount", "method"), claim=message)
    assert made.verdict is verdict
    assert says in made.reason


def test_a_check_carries_all_that_a_reader_needs(judge: Judge) -> None:
    made = judge.check(
        "C3-FR-01", "voltage", expected=240.0, tolerance=2.0, unit="V", claim=240.0, measure=measured(240.1)
    )
    assert made.as_json() == {
        "what": "voltage",
        "system": "Meter",
        "limit": "== 240.0 ± 2.0 V",
        "rule": Rule.GUARDED.value,
        "witnesses": [
            {"kind": "claim", "source": "device", "value": 240.0, "uncertainty": 0.0},
            {"kind": "measure", "source": "instrument", "value": 240.1, "uncertainty": 0.5},
        ],
        "verdict": "PASS",
        "reason": "claim (device): 240.0; measure (instrument): 240.1 ± 0.5",
        "at": "2026-01-05T12:00:00+00:00",
        "test": "",
    }


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"expected": 1}, "nobody was asked"),
        ({"claim": 1}, "nothing to hold against"),
        ({"expected": 240.0, "measure": 240.0}, "needs its expanded uncertainty"),
        ({"expected": 1, "limit": "threshold", "claim": 1}, "not both"),
        ({"limit": "delay", "claim": 1}, "has no limit 'delay'"),
        ({"expected": "a", "tolerance": 1, "claim": "a"}, "tolerance makes no sense"),
        ({"expected": timedelta(1), "claim": 5}, "differ in kind"),
        ({"limit": Limit("x", "<=", 1), "claim": "much"}, "is not a number"),
        ({"expected": 1, "claim": Witness.predict(1)}, "predict was given where the claim is wanted"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused_and_not_kept(judge: Judge, what: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        judge.check("C3-FR-01", "something", **what)
    assert judge.checks == []


def test_the_system_under_test_is_named_where_it_is_not_clear(judge: Judge) -> None:
    assert judge.check("C3-FR-01", "x", expected=1, claim=1).system == "Meter"
    with pytest.raises(BadInput, match=r"C3-NFR-02 applies to ADCS, Meter: give system="):
        judge.check("C3-NFR-02", "x", expected=1, claim=1)
    with pytest.raises(BadInput, match=r"C3-BR-01 applies to no system: give system="):
        judge.check("C3-BR-01", "x", expected=1, claim=1)


def test_a_person_is_acted_and_a_system_is_not(judge: Judge) -> None:
    assert judge.acted("C3-S1.01", "the customer asks").verdict is PASS
    with pytest.raises(BadInput, match="has to be checked"):
        judge.acted("C3-S1.08", "the meter energises")
    with pytest.raises(BadInput, match="has to be checked"):
        judge.acted("C3-FR-01", "the meter shows")


def test_only_the_declaration_makes_a_requirement_not_applicable(judge: Judge) -> None:
    assert judge.applicable("C3-FR-04", "service_switch")
    assert judge.checks == []
    assert not judge.applicable("C3-S1.13", "pulse_output", system="Meter")
    assert judge.verdict("C3-S1.13") is Verdict.NOT_APPLICABLE
    with pytest.raises(BadInput, match="say nothing of"):
        judge.applicable("C3-FR-04", "wings")


def test_a_system_without_a_declaration_has_everything(judge: Judge) -> None:
    assert judge.applicable("C3-FR-12", "anything")


@pytest.mark.parametrize(
    ("feature", "shown", "verdict"),
    [
        ("service_switch", True, PASS),
        ("service_switch", False, FAIL),
        ("pulse_output", False, PASS),
        ("pulse_output", True, INCONCLUSIVE),
    ],
)
def test_a_declaration_is_held_against_what_is_shown(judge: Judge, feature: str, shown: bool, verdict: Verdict) -> None:
    assert judge.declared("C3-FR-04", feature, shown).verdict is verdict


def test_settling_fails_a_keyword_for_its_own_checks_once(judge: Judge) -> None:
    judge.check("C3-FR-01", "first", expected=1, claim=1)
    judge.settle()
    judge.check("C3-FR-01", "second", expected=1, claim=2)
    judge.check("C3-FR-01", "third", expected=1, claim=3)
    with pytest.raises(CheckFailed, match=r"FAIL C3-FR-01 \(Meter\): second: .* \(and 1 more\)"):
        judge.settle()
    judge.settle()


def test_a_test_checks_only_the_ids_of_its_tags(judge: Judge) -> None:
    judge.begin("some test", ["C3-FR-05"])
    with pytest.raises(BadInput, match="add the tag C3-FR-01"):
        judge.check("C3-FR-01", "x", expected=1, claim=1)
    judge.check("C3-FR-05", "x", expected=1, claim=1)
    checks, _ = judge.end()
    assert [c.id for c in checks] == ["C3-FR-05"]
    assert checks[0].test == "some test"
