"""Decision rules: whether a value with its expanded uncertainty conforms to a limit.

Guarded acceptance after ILAC-G8:09/2019 (guard band equal to the expanded uncertainty, both sides) is the default; simple
acceptance ignores the uncertainty. Which one was used goes into every check.
"""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from numbers import Real

from bench.data import BadInput
from bench.judge.requirements import Limit
from bench.judge.verdict import Verdict


class Rule(enum.Enum):
    """How an uncertainty is taken into account."""

    GUARDED = "guarded acceptance, guard band U (ILAC-G8)"
    SIMPLE = "simple acceptance"


Number = int | float | Decimal | timedelta


def is_number(value: object) -> bool:
    """Whether a value can be held against a limit: a number or a span of time, not a truth value."""
    return isinstance(value, (Real, Decimal, timedelta)) and not isinstance(value, bool)


def in_unit(value: Number, limit: Limit) -> int | float | Decimal:
    """A value in the limit's unit: spans of time are converted, numbers are taken to be in it already."""
    if not isinstance(value, timedelta):
        return value
    if limit.scale is None:
        raise BadInput(f"a span of time cannot be held against {limit}: its unit is {limit.unit or 'missing'}")
    return value.total_seconds() / limit.scale


def _exact(value: int | float | Decimal) -> Fraction:
    # A float is taken as it is written (0.1 is one tenth), so that a value on its limit is on its limit.
    return Fraction(repr(float(value))) if isinstance(value, float) else Fraction(value)


def decide(value: Number, uncertainty: Number, limit: Limit, rule: Rule = Rule.GUARDED) -> Verdict:
    """Hold a value against a limit. Numbers are in the limit's unit; `uncertainty` is expanded (k = 2) and not negative.

    Guarded: PASS where the value conforms by at least its uncertainty, FAIL where it violates by more than that,
    INCONCLUSIVE between. A value that isn't finite (no data, over range) is INCONCLUSIVE.
    """
    if limit.op is None:
        raise BadInput(f"{limit.name!r} is a parameter of the test: nothing can be held against it")
    value, uncertainty = in_unit(value, limit), in_unit(uncertainty, limit)
    if not math.isfinite(limit.value):
        raise BadInput(f"nothing can be held against {limit}")
    if not math.isfinite(uncertainty) or uncertainty < 0:
        raise BadInput(f"an expanded uncertainty of {uncertainty} makes no sense: it is a finite number from 0 up")
    if not math.isfinite(value):
        return Verdict.INCONCLUSIVE
    margin, strict = _margin(_exact(value), limit)
    guard = _exact(uncertainty) if rule is Rule.GUARDED else Fraction(0)
    if margin > guard or (margin == guard and not strict):
        return Verdict.PASS
    if margin < -guard or (guard == 0 and margin == 0):
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


def _margin(value: Fraction, limit: Limit) -> tuple[Fraction, bool]:
    """How far inside the limit a value is (negative: outside), and whether the limit itself is outside."""
    at = _exact(limit.value)
    if limit.op in ("<=", "<"):
        return at - value, limit.op == "<"
    if limit.op in (">=", ">"):
        return value - at, limit.op == ">"
    return _exact(limit.tolerance or 0) - abs(value - at), False
