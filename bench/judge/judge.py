"""The judge of a run: what the suites ask, and the checks that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bench.data import BadInput
from bench.judge.decide import Rule
from bench.judge.pics import Pics
from bench.judge.requirements import Catalogue, Limit, Requirement
from bench.judge.verdict import Verdict, worst
from bench.judge.witness import NOTHING, Check, Fields, Kind, Witness, judge_witnesses


class CheckFailed(AssertionError):
    """Checks of a keyword did not pass. Robot goes on with the test, so that every step gets its verdict."""

    ROBOT_CONTINUE_ON_FAILURE = True
    ROBOT_SUPPRESS_NAME = True


class Judge:
    """Collects the checks of a run. It never raises because a device is bad: see `settle` for that."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        now: Callable[[], datetime] | None = None,
        rule: Rule = Rule.GUARDED,
        pics: Mapping[str, Pics] | None = None,
    ) -> None:
        """`now` is bench time; `pics` are the suppliers' declarations by system."""
        self.catalogue = catalogue
        self.rule = rule
        self.pics = dict(pics or {})
        self.checks: list[Check] = []
        self.heard: list[Callable[[Check], None]] = []
        """Called with each check as it is made."""
        self._now = now
        self._test = ""
        self._ids: frozenset[str] | None = None
        self._from = 0
        self._settled = 0
        self._raised: list[str] = []

    # --- what the suites ask ---------------------------------------------------------------------------------------------

    def check(
        self,
        id_: str,
        what: str,
        *,
        system: str | None = None,
        expected: Any = NOTHING,
        limit: str | Limit | None = None,
        claim: Any = NOTHING,
        measure: Any = NOTHING,
        predict: Any = NOTHING,
        uncertainty: float | timedelta | None = None,
        tolerance: float | timedelta | None = None,
        unit: str | None = None,
        instrument_could_tell: bool = False,
    ) -> Check:
        """Hold what the witnesses say against a limit, an expected value, or each other, and keep the result.

        `limit` is the name of a limit of the requirement, `expected` a value (with `tolerance` for numbers and times), or a
        pattern that the text has to match in full. With neither, claim and prediction are held against the measurement.
        A witness that is not given was not asked; None means that it was asked and has nothing, which contradicts.
        `uncertainty` (expanded) belongs to `measure` where that is a bare value. Raises BadInput for a check that makes no
        sense, never for one that fails.
        """
        requirement, system = self._asked(id_, system)
        if limit is not None:
            if expected is not NOTHING or tolerance is not None:
                raise BadInput(f"{id_}: {what}: give limit= or expected= (with tolerance=), not both")
            expected = requirement.limit(limit) if isinstance(limit, str) else limit
        given = ((Kind.CLAIM, claim, None), (Kind.MEASURE, measure, uncertainty), (Kind.PREDICT, predict, None))
        witnesses = tuple(Witness.of(kind, value, u) for kind, value, u in given if value is not NOTHING)
        if not witnesses:
            raise BadInput(f"{id_}: {what}: nobody was asked; give claim=, measure= or predict=")
        verdict, reason, shown = judge_witnesses(
            witnesses,
            expected=expected,
            tolerance=tolerance,
            unit=unit,
            rule=self.rule,
            instrument_could_tell=instrument_could_tell,
        )
        return self._keep(id_, what, system, shown, witnesses, verdict, reason)

    def fields(self, id_: str, what: str, *, required: Sequence[str], claim: Any, system: str | None = None) -> Check:
        """Check that a message (a mapping, an object, None where there is none) bears its fields, on the wire or in the log
        of the system that received it. A field is missing where it is absent, None or an empty text."""
        if not required:
            raise BadInput(f"{id_}: {what}: no field is required, so nothing is checked")
        _, system = self._asked(id_, system)
        witnesses = (Witness.of(Kind.CLAIM, claim),)
        verdict, reason, shown = judge_witnesses(witnesses, expected=Fields(tuple(required)), rule=self.rule)
        return self._keep(id_, what, system, shown, witnesses, verdict, reason)

    def concluded(
        self,
        id_: str,
        what: str,
        *,
        limit: str,
        witness: Witness,
        verdict: Verdict,
        reason: str,
        system: str | None = None,
    ) -> Check:
        """Keep what a statistical test of its own came to: `limit` says what was held against, `witness` what was counted."""
        _, system = self._asked(id_, system)
        return self._keep(id_, what, system, limit, (witness,), verdict, reason)

    def acted(self, id_: str, what: str) -> Check:
        """Note that the suite acted the step of a person. BadInput where a system has a part in the step."""
        requirement, _ = self._asked(id_, "suite")
        if not requirement.acted_by_person:
            raise BadInput(
                f"{id_} is not acted by a person ({requirement.actor or requirement.group}): it has to be checked"
            )
        return self._keep(id_, what, "suite", "acted", (), Verdict.PASS, f"the suite acted for: {requirement.actor}")

    def applicable(self, id_: str, feature: str, *, system: str | None = None) -> bool:
        """Whether a requirement applies, by the supplier's declaration; where it doesn't, that is kept as its verdict."""
        _, system = self._asked(id_, system)
        if system not in self.pics:
            return True
        declared = self.pics[system].feature(feature)
        if not declared.supported:
            reason = f"the PICS of {self.pics[system].model} declare no {feature} ({declared.means})"
            self._keep(id_, f"has {feature}", system, "declared", (), Verdict.NOT_APPLICABLE, reason)
        return declared.supported

    def declared(self, id_: str, feature: str, shown: bool, *, system: str | None = None) -> Check:
        """Hold what the device shows of a feature against what its supplier declares.

        Declared and not shown fails; shown and not declared is inconclusive until the declaration is put right.
        """
        _, system = self._asked(id_, system)
        if system not in self.pics:
            raise BadInput(f"{id_}: there are no PICS of {system}; name them in the bench file (twinbench.pics)")
        declared = self.pics[system].supports(feature)
        verdict, reason = Verdict.PASS, "shown as declared" if shown else "not declared and not shown"
        if declared and not shown:
            verdict, reason = Verdict.FAIL, f"declares {feature} and does not show it"
        elif shown and not declared:
            verdict, reason = Verdict.INCONCLUSIVE, f"shows {feature} and does not declare it"
        witnesses = (Witness.claim(shown, f"{system}"),)
        return self._keep(id_, f"{feature} as declared", system, f"PICS: {declared}", witnesses, verdict, reason)

    @property
    def test(self) -> str:
        """The test that is running, empty between tests."""
        return self._test

    def limit(self, id_: str, name: str) -> Limit:
        """A limit of a requirement, by name."""
        return self.catalogue.limit(id_, name)

    def seconds(self, id_: str, name: str) -> float:
        """A limit of a requirement in seconds."""
        return self.catalogue.limit(id_, name).seconds

    def settle(self) -> None:
        """At the end of a keyword: raise CheckFailed where a check made since the last `settle` did not pass."""
        made = self.checks[self._settled :]
        self._settled = len(self.checks)
        bad = [check for check in made if check.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
        if bad:
            # Robot cuts messages of many lines, and the listener has to know its own again.
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            message = " ".join(f"{bad[0]}{more}".split())[:600]
            self._raised.append(message)
            raise CheckFailed(message)

    def follow(self, now: Callable[[], datetime]) -> None:
        """Stamp checks with this clock (bench time) from now on."""
        self._now = now

    # --- what the listener tells and asks ----------------------------------------------------------------------------------

    def begin(self, test: str, ids: Sequence[str]) -> None:
        """A test begins that decides these ids; checks on others are refused until it ends."""
        self._test, self._ids = test, frozenset(ids)
        self._from = self._settled = len(self.checks)
        self._raised = []

    def end(self) -> tuple[list[Check], list[str]]:
        """The test has ended: its checks, and the messages of the CheckFailed raised in it."""
        made, raised = self.checks[self._from :], self._raised
        self._test, self._ids = "", None
        return made, raised

    def bench_failed(self, id_: str, test: str, reason: str) -> Check:
        """Keep an ERROR for an id whose test could not be carried through."""
        return self._late(id_, test, "the test was carried through", Verdict.ERROR, reason)

    def unchecked(self, id_: str, test: str, reason: str) -> Check:
        """Keep an INCONCLUSIVE for an id whose test checked nothing of it."""
        return self._late(id_, test, "something was checked", Verdict.INCONCLUSIVE, reason)

    def left_out(self, id_: str, test: str) -> list[Check]:
        """Keep an INCONCLUSIVE for each system that a requirement applies to and that no check of the run has judged; `test`
        is the last one that decides the requirement. What a supplier's declaration makes not applicable needs no more."""
        made = [check for check in self.checks if check.id == id_]
        if any(check.verdict is Verdict.NOT_APPLICABLE for check in made):
            return []
        judged = {system for check in made for system in check.system.split(", ")}
        missing = [system for system in self.catalogue[id_].applies_to if system not in judged]
        what, inconclusive = "every system that it applies to was checked", Verdict.INCONCLUSIVE
        return [self._late(id_, test, what, inconclusive, f"no check on {system}", [system]) for system in missing]

    def _late(
        self, id_: str, test: str, what: str, verdict: Verdict, reason: str, systems: Sequence[str] | None = None
    ) -> Check:
        named = self.catalogue[id_].applies_to if systems is None else systems
        self._test = test
        try:
            return self._keep(id_, what, ", ".join(named) or "bench", "", (), verdict, reason)
        finally:
            self._test = ""

    def verdict(self, id_: str) -> Verdict:
        """The worst of a requirement's checks so far."""
        return worst(check.verdict for check in self.checks if check.id == id_)

    # --- inside --------------------------------------------------------------------------------------------------------------

    def _asked(self, id_: str, system: str | None) -> tuple[Requirement, str]:
        requirement = self.catalogue[id_]
        if self._ids is not None and id_ not in self._ids:
            raise BadInput(f"the test {self._test!r} checks {id_}, which its tags don't name; add the tag {id_}")
        if system is None:
            if len(requirement.applies_to) != 1:
                which = ", ".join(requirement.applies_to) or "no system"
                raise BadInput(f"{id_} applies to {which}: give system=")
            system = requirement.applies_to[0]
        return requirement, system

    def _keep(
        self,
        id_: str,
        what: str,
        system: str,
        limit: str,
        witnesses: tuple[Witness, ...],
        verdict: Verdict,
        reason: str,
    ) -> Check:
        at = None if self._now is None else self._now()
        check = Check(id_, what, system, limit, self.rule, witnesses, verdict, reason, at, self._test)
        self.checks.append(check)
        for hear in self.heard:
            hear(check)
        return check
