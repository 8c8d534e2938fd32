"""Decision rules with guard bands, and the uncertainty that they stand on."""

from __future__ import annotations

import math
from datetime import date, timedelta
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import BadInput
from bench.judge import uncertainty
from bench.judge.decide import Rule, decide
from bench.judge.requirements import Limit, Op
from bench.judge.verdict import Verdict, worst

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE

values = st.floats(-1e6, 1e6)
widths = st.floats(0, 1e3)
ops = st.sampled_from(get_args(Op))


def limit(op: str, value: float = 60.0, tolerance: float | None = None, unit: str | None = "s") -> Limit:
    return Limit("limit", op, value, unit, tolerance)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "value", "u", "verdict"),
    [
        ("<=", 60.0, 0.0, PASS),
        ("<=", 60.0000001, 0.0, FAIL),
        ("<=", 59.0, 1.0, PASS),
        ("<=", 59.5, 1.0, INCONCLUSIVE),
        ("<=", 61.0, 1.0, INCONCLUSIVE),
        ("<=", 61.1, 1.0, FAIL),
        ("<", 60.0, 0.0, FAIL),
        ("<", 59.0, 1.0, INCONCLUSIVE),
        ("<", 58.9, 1.0, PASS),
        ("<", 61.0, 1.0, INCONCLUSIVE),
        (">=", 60.0, 0.0, PASS),
        (">=", 61.0, 1.0, PASS),
        (">=", 60.5, 1.0, INCONCLUSIVE),
        (">=", 58.9, 1.0, FAIL),
        (">", 60.0, 0.0, FAIL),
        (">", 61.5, 1.0, PASS),
        ("==", 60.0, 0.0, PASS),
        ("==", 60.1, 0.0, FAIL),
        ("==", 60.0, 0.1, INCONCLUSIVE),
        ("==", 60.2, 0.1, FAIL),
    ],
)
def test_guarded_acceptance(op: str, value: float, u: float, verdict: Verdict) -> None:
    assert decide(value, u, limit(op)) is verdict


@pytest.mark.parametrize(
    ("value", "u", "verdict"),
    [(120, 0, PASS), (122, 0, PASS), (122.01, 0, FAIL), (121, 1, PASS), (121.5, 1, INCONCLUSIVE), (117, 0.5, FAIL)],
)
def test_equality_within_a_tolerance(value: float, u: float, verdict: Verdict) -> None:
    assert decide(value, u, limit("==", 120, 2)) is verdict


def test_a_value_on_its_limit_is_on_it_as_people_write_it() -> None:
    # In binary, 0.4 - 0.3 is more than 0.1.
    assert decide(0.4, 0, limit("==", 0.3, 0.1)) is PASS
    assert decide(Decimal("0.4"), 0, limit("==", 0.3, 0.1)) is PASS


@given(values, widths, ops, values, st.one_of(st.none(), widths))
def test_pass_and_fail_hold_for_every_value_within_the_uncertainty(
    value: float, u: float, op: str, at: float, tolerance: float | None
) -> None:
    verdict = decide(value, u, limit(op, at, tolerance))
    for true in (value, math.nextafter(value - u, value), math.nextafter(value + u, value)):
        if abs(true - value) > u:
            continue
        simple = decide(true, 0, limit(op, at, tolerance), Rule.SIMPLE)
        if verdict is PASS:
            assert simple is PASS
        if verdict is FAIL:
            assert simple is FAIL


@given(values, widths, ops, values, widths)
def test_a_wider_uncertainty_never_decides_more(value: float, u: float, op: str, at: float, more: float) -> None:
    narrow, wide = decide(value, u, limit(op, at)), decide(value, u + more, limit(op, at))
    assert wide in (narrow, INCONCLUSIVE)


@given(values, widths, ops, values)
def test_simple_acceptance_always_decides_and_ignores_the_uncertainty(
    value: float, u: float, op: str, at: float
) -> None:
    verdict = decide(value, u, limit(op, at), Rule.SIMPLE)
    assert verdict in (PASS, FAIL)
    assert verdict is decide(value, 0, limit(op, at), Rule.GUARDED)


@given(values, widths, values)
def test_a_limit_and_its_mirror_image_agree(value: float, u: float, at: float) -> None:
    assert decide(value, u, limit("<=", at)) is decide(-value, u, limit(">=", -at))
    assert decide(value, u, limit("<", at)) is decide(-value, u, limit(">", -at))


@given(values, values)
def test_strict_and_loose_differ_on_the_limit_alone(value: float, at: float) -> None:
    same = decide(value, 0, limit("<=", at)) is decide(value, 0, limit("<", at))
    assert same is (value != at)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_data_and_over_range_decide_nothing(value: float) -> None:
    assert decide(value, 0, limit("<=")) is INCONCLUSIVE
    assert decide(value, 0, limit("<="), Rule.SIMPLE) is INCONCLUSIVE


@pytest.mark.parametrize("u", [-1.0, math.nan, math.inf])
def test_a_senseless_uncertainty_is_refused(u: float) -> None:
    with pytest.raises(BadInput, match="makes no sense"):
        decide(1, u, limit("<="))


def test_a_parameter_is_no_limit() -> None:
    with pytest.raises(BadInput, match="a parameter of the test"):
        decide(1, 0, Limit("threshold", None, 48, "h"))


def test_spans_of_time_are_converted_to_the_limits_unit() -> None:
    interval = Limit("interval", "<=", 60, "min")
    assert decide(timedelta(hours=1), 0, interval) is PASS
    assert decide(timedelta(hours=1), timedelta(seconds=1), interval) is INCONCLUSIVE
    assert decide(timedelta(hours=2), 0, interval) is FAIL
    with pytest.raises(BadInput, match="span of time"):
        decide(timedelta(hours=1), 0, Limit("rate", "<=", 1))


def test_the_worst_verdict_wins() -> None:
    order = [Verdict.NOT_APPLICABLE, PASS, INCONCLUSIVE, FAIL, Verdict.ERROR]
    for n, verdict in enumerate(order):
        assert worst(order[: n + 1]) is verdict
    assert worst([]) is INCONCLUSIVE


def test_verdicts_have_their_exit_codes() -> None:
    assert [v.exit_code for v in (PASS, FAIL, INCONCLUSIVE, Verdict.ERROR, Verdict.NOT_APPLICABLE)] == [0, 1, 2, 3, 0]


# --- uncertainty -----------------------------------------------------------------------------------------------------------

ANALYZER = uncertainty.load("yokogawa-wt310e")


def test_a_voltage_reading_has_the_uncertainty_of_its_specification() -> None:
    # ±(0.1 % of 240 V + 0.05 % of 300 V) = ±0.39 V, rectangular, k = 2
    assert ANALYZER.expanded("voltage", 240.0, 300.0) == pytest.approx(2 * 0.39 / math.sqrt(3))


def test_power_at_a_low_power_factor_is_less_certain() -> None:
    at_unity = ANALYZER.expanded("power", 600.0, 1500.0)
    lagging = ANALYZER.expanded("power", 600.0, 1500.0, power_factor=0.5)
    # adds 0.1 % of the reading times tan(60°)
    assert lagging - at_unity == pytest.approx(2 / math.sqrt(3) * 0.001 * 600 * math.sqrt(3))


def test_energy_over_an_hour_is_as_uncertain_as_its_power_and_the_timer() -> None:
    of_power = ANALYZER.expanded("power", 1200.0, 1500.0)
    of_timer = 2 / math.sqrt(3) * 0.0002 * 1200
    found = ANALYZER.expanded_energy(1200.0, 1500.0, 3600.0)
    assert found == pytest.approx(math.hypot(of_power, of_timer), rel=1e-6)


def test_a_moment_found_by_polling_is_somewhere_in_the_period() -> None:
    assert uncertainty.polling(0.25) == pytest.approx(2 * 0.125 / math.sqrt(3))
    assert uncertainty.combine(3.0, 4.0) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("on", "doubt"),
    [(date(2026, 1, 5), None), (date(2027, 12, 2), "due on 2027-12-01"), (date(2025, 1, 1), "after this measurement")],
)
def test_a_reading_outside_the_calibration_is_doubtful(on: date, doubt: str | None) -> None:
    witness = ANALYZER.witness("voltage", 240.0, 300.0, on=on)
    assert (witness.doubt is None) if doubt is None else (doubt in str(witness.doubt))


@pytest.mark.parametrize(("value", "doubt"), [(math.nan, "no data"), (math.inf, "over range")])
def test_a_reading_without_data_is_doubtful(value: float, doubt: str) -> None:
    assert ANALYZER.witness("voltage", value, 300.0, on=date(2026, 1, 5)).doubt == doubt


def test_what_the_specification_does_not_cover_is_refused() -> None:
    with pytest.raises(BadInput, match=r"no accuracy for 'voltag'; did you mean 'voltage'"):
        ANALYZER.expanded("voltag", 1.0, 1.0)
    with pytest.raises(BadInput, match="range in force"):
        ANALYZER.expanded("voltage", 1.0)
    with pytest.raises(BadInput, match="power factor"):
        ANALYZER.expanded("power", 1.0, 1.0, power_factor=0.0)
    with pytest.raises(BadInput, match="energy over 0"):
        ANALYZER.expanded_energy(1.0, 1.0, 0.0)
