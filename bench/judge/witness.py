"""The three witnesses of a check, and what they come to together.

What the device claims, what an independent instrument measures, and what the twin predicts. A contradiction by claim or
measurement fails; a prediction that disagrees alone, or a claim alone where an instrument could have told, is inconclusive.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bench.data import BadInput
from bench.judge.decide import Rule, decide, is_number
from bench.judge.requirements import Limit
from bench.judge.verdict import Verdict


class Kind(enum.Enum):
    """Who says so."""

    CLAIM = "claim"
    MEASURE = "measure"
    PREDICT = "predict"


_SOURCE = {Kind.CLAIM: "device", Kind.MEASURE: "instrument", Kind.PREDICT: "twin"}


@dataclass(frozen=True)
class Witness:
    """One witness: `value` None means that it was asked and has nothing.

    `uncertainty` is expanded (k = 2), in the value's unit; `doubt` says why the witness cannot be relied on (calibration
    overdue, say), and leaves the check inconclusive.
    """

    kind: Kind
    value: Any
    source: str = ""
    uncertainty: float | timedelta = 0.0
    doubt: str | None = None

    @staticmethod
    def claim(value: Any, source: str = "device", uncertainty: float | timedelta = 0.0) -> Witness:
        """What the device (or system) under test says of itself; `uncertainty` is the resolution in which it says so."""
        return Witness(Kind.CLAIM, value, source, uncertainty)

    @staticmethod
    def measure(
        value: Any, uncertainty: float | timedelta | None = None, source: str = "instrument", doubt: str | None = None
    ) -> Witness:
        """What an independent instrument says. A measured quantity needs its expanded uncertainty; a count, text or
        truth value doesn't."""
        if uncertainty is None:
            if isinstance(value, (float, Decimal, timedelta)):
                raise BadInput(
                    f"{source}: the measured value {value} needs its expanded uncertainty (0 where it is exact)"
                )
            uncertainty = 0.0
        return Witness(Kind.MEASURE, value, source, uncertainty, doubt)

    @staticmethod
    def predict(value: Any, source: str = "twin", uncertainty: float | timedelta = 0.0) -> Witness:
        """What the healthy model predicts."""
        return Witness(Kind.PREDICT, value, source, uncertainty)

    @staticmethod
    def of(kind: Kind, given: Any, uncertainty: float | timedelta | None = None) -> Witness:
        """A witness of that kind from a bare value, or the witness itself where one is given."""
        if isinstance(given, Witness):
            if given.kind is not kind:
                raise BadInput(f"a {given.kind.value} was given where the {kind.value} is wanted")
            return given
        if kind is Kind.MEASURE:
            return Witness.measure(given, uncertainty)
        return Witness(kind, given, _SOURCE[kind])

    def as_json(self) -> dict[str, Any]:
        """As it stands in the record."""
        said: dict[str, Any] = {
            "kind": self.kind.value,
            "source": self.source,
            "value": plain(self.value),
            "uncertainty": plain(self.uncertainty),
        }
        if self.doubt is not None:
            said["doubt"] = self.doubt
        return said


@dataclass(frozen=True)
class Fields:
    """What is expected of a message: that these fields are there and filled."""

    required: tuple[str, ...]

    def missing(self, message: Any) -> tuple[str, ...]:
        """The fields that are absent, None or an empty text. A message is a mapping or an object with attributes."""

        def value(field: str) -> Any:
            return message.get(field) if isinstance(message, Mapping) else getattr(message, field, None)

        return tuple(field for field in self.required if value(field) is None or value(field) == "")


@dataclass(frozen=True)
class Check:
    """One check of one requirement: what was held against what, by which rule, who witnessed, and what it came to.

    `at` is bench time, None where there was no bench; `test` the Robot test that made it.
    """

    id: str
    what: str
    system: str
    limit: str
    rule: Rule
    witnesses: tuple[Witness, ...]
    verdict: Verdict
    reason: str
    at: datetime | None = None
    test: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it stands in the record: nothing in it comes from real time or place."""
        return {
            "what": self.what,
            "system": self.system,
            "limit": self.limit,
            "rule": self.rule.value,
            "witnesses": [witness.as_json() for witness in self.witnesses],
            "verdict": self.verdict.value,
            "reason": self.reason,
            "at": plain(self.at),
            "test": self.test,
        }

    def __str__(self) -> str:
        return f"{self.verdict.value} {self.id} ({self.system}): {self.what}: {self.reason}"


def plain(value: Any) -> Any:
    """A value as JSON can hold it: enums by name, times in ISO 8601, spans of time in seconds, the rest as text."""
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, re.Pattern):
        return f"/{value.pattern}/"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return str(value)


# --- One witness against what is expected ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Said:
    witness: Witness
    verdict: Verdict
    why: str


def _text(value: Any) -> str:
    shown = plain(value)
    text = shown if isinstance(shown, str) else repr(shown)
    return text if len(text) <= 160 else text[:157] + "..."


def _around(expected: Any, tolerance: float | timedelta | None) -> Limit:
    """Equality with a number as a limit, spans of time in seconds."""
    if isinstance(expected, timedelta):
        seconds = tolerance.total_seconds() if isinstance(tolerance, timedelta) else tolerance
        return Limit("expected", "==", expected.total_seconds(), "s", seconds)
    if isinstance(tolerance, timedelta):
        raise BadInput(f"a tolerance in time cannot be held against the number {expected}")
    return Limit("expected", "==", float(expected) if isinstance(expected, Decimal) else expected, None, tolerance)


def _hold(witness: Witness, expected: Any, tolerance: float | timedelta | None, rule: Rule) -> tuple[Verdict, str]:
    value = witness.value
    if isinstance(expected, Fields):
        if value is None:
            return Verdict.FAIL, "there is no such message"
        gone = expected.missing(value)
        return (Verdict.FAIL, f"lacks {', '.join(gone)}") if gone else (Verdict.PASS, "bears all its fields")
    if value is None and expected is not None:
        return Verdict.FAIL, "there is none"
    if isinstance(expected, Limit):
        if not is_number(value):
            raise BadInput(f"{witness.source}: {_text(value)} is not a number, and cannot be held against {expected}")
        return decide(value, witness.uncertainty, expected, rule), _with_uncertainty(witness)
    if isinstance(expected, re.Pattern):
        fits = isinstance(value, str) and expected.fullmatch(value) is not None
        return (Verdict.PASS if fits else Verdict.FAIL), _text(value)
    if isinstance(expected, datetime) and isinstance(value, datetime):
        within = tolerance if tolerance is not None else timedelta(0)
        seconds = within.total_seconds() if isinstance(within, timedelta) else float(within)
        band = Limit("expected", "==", 0.0, "s", seconds)
        return decide(value - expected, witness.uncertainty, band, rule), _text(value)
    if is_number(expected) and is_number(value) and not isinstance(expected, enum.Enum):
        if isinstance(expected, timedelta) is not isinstance(value, timedelta):
            raise BadInput(
                f"{witness.source}: {_text(value)} and {_text(expected)} differ in kind; give both as spans of time"
            )
        return decide(value, witness.uncertainty, _around(expected, tolerance), rule), _with_uncertainty(witness)
    if tolerance is not None:
        raise BadInput(f"a tolerance makes no sense between {_text(value)} and {_text(expected)}")
    return (Verdict.PASS if value == expected else Verdict.FAIL), _text(value)


def _with_uncertainty(witness: Witness) -> str:
    return _text(witness.value) + (f" ± {_text(witness.uncertainty)}" if witness.uncertainty else "")


def _shown(expected: Any, tolerance: float | timedelta | None, unit: str | None) -> str:
    if isinstance(expected, Limit):
        return str(expected)
    if isinstance(expected, Fields):
        return "bears " + ", ".join(expected.required)
    if isinstance(expected, re.Pattern):
        return f"reads like {expected.pattern}"
    within = "" if tolerance is None else f" ± {_text(tolerance)}"
    return f"== {_text(expected)}{within}{'' if unit is None else ' ' + unit}"


# --- All of them together ----------------------------------------------------------------------------------------------

NOTHING: Any = type("Nothing", (), {"__repr__": lambda self: "nothing expected"})()
"""Stands for an argument that was not given, where None means something."""


def judge_witnesses(
    witnesses: Sequence[Witness],
    *,
    expected: Any = NOTHING,
    tolerance: float | timedelta | None = None,
    unit: str | None = None,
    rule: Rule = Rule.GUARDED,
    instrument_could_tell: bool = False,
) -> tuple[Verdict, str, str]:
    """Verdict, reason and the limit as text, of what the witnesses say against `expected`.

    `expected` is a Limit, Fields, a pattern, or a value. Without it the witnesses are held against the measurement, or
    against the prediction where nothing was measured.
    """
    by_kind = {witness.kind: witness for witness in witnesses}
    if len(by_kind) != len(witnesses):
        raise BadInput("a check has at most one witness of each kind")
    limit = None if expected is NOTHING else _shown(expected, tolerance, unit)
    if expected is NOTHING:
        reference = by_kind.get(Kind.MEASURE) or by_kind.get(Kind.PREDICT)
        others = [witness for witness in witnesses if witness is not reference]
        if reference is None or not others:
            raise BadInput("nothing to hold against: give expected=, limit=, or at least two witnesses")
        limit = f"agrees with the {'measurement' if reference.kind is Kind.MEASURE else 'prediction'}"
        limit += "" if tolerance is None else f" ± {_text(tolerance)}{'' if unit is None else ' ' + unit}"
        said = [_Said(reference, *_usable(reference))]
        for witness in others if said[0].verdict is Verdict.PASS else ():
            # The reference's own uncertainty counts against the agreement as much as the witness's.
            both = dataclasses.replace(witness, uncertainty=_root_sum(witness.uncertainty, reference.uncertainty))
            verdict, why = _hold(both, reference.value, tolerance, rule)
            if verdict is Verdict.FAIL and reference.kind is Kind.PREDICT:
                verdict, why = Verdict.INCONCLUSIVE, f"{why}, which is not as predicted"
            said.append(_Said(witness, verdict, why))
    else:
        said = [_Said(witness, *_hold(witness, expected, tolerance, rule)) for witness in witnesses]
    assert limit is not None
    return (*_together(said, by_kind, instrument_could_tell), limit)


def _usable(reference: Witness) -> tuple[Verdict, str]:
    """Whether others can be held against a witness: not where it is doubtful or has no value."""
    value = reference.value
    if value is None:
        return Verdict.INCONCLUSIVE, "there is none"
    if reference.doubt is not None or (isinstance(value, float) and not math.isfinite(value)):
        return Verdict.INCONCLUSIVE, reference.doubt or "no data"
    return Verdict.PASS, _with_uncertainty(reference)


def _root_sum(a: float | timedelta, b: float | timedelta) -> float | timedelta:
    if not a or not b:
        return a or b
    if isinstance(a, timedelta) and isinstance(b, timedelta):
        return timedelta(seconds=math.hypot(a.total_seconds(), b.total_seconds()))
    if isinstance(a, timedelta) or isinstance(b, timedelta):
        raise BadInput("uncertainties of two witnesses differ in kind; give both in time or both as numbers")
    return math.hypot(a, b)


def _together(
    said: Sequence[_Said], by_kind: Mapping[Kind, Witness], instrument_could_tell: bool
) -> tuple[Verdict, str]:
    def tell(of: Sequence[_Said]) -> str:
        return "; ".join(f"{s.witness.kind.value} ({s.witness.source}): {s.why}" for s in of)

    contradictions = [
        s for s in said if s.verdict is Verdict.FAIL and s.witness.kind is not Kind.PREDICT and s.witness.doubt is None
    ]
    if contradictions:
        return Verdict.FAIL, "contradicted by " + tell(contradictions)
    doubtful = [s for s in said if s.witness.doubt is not None]
    if doubtful:
        return Verdict.INCONCLUSIVE, "; ".join(f"{s.witness.source}: {s.witness.doubt}" for s in doubtful)
    unsure = [s for s in said if s.verdict is not Verdict.PASS]
    if unsure:
        predicted = all(s.witness.kind is Kind.PREDICT for s in unsure)
        return Verdict.INCONCLUSIVE, ("only the prediction disagrees, " if predicted else "not decided by ") + tell(
            unsure
        )
    if Kind.CLAIM not in by_kind and Kind.MEASURE not in by_kind:
        return Verdict.INCONCLUSIVE, "nothing but a prediction speaks for it"
    if instrument_could_tell and Kind.MEASURE not in by_kind:
        return Verdict.INCONCLUSIVE, "only the claim supports it, where an instrument could have told"
    return Verdict.PASS, tell(said)
