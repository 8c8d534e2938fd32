"""The listener that binds Robot Framework's tests to the judge: tags name the ids, checks give the verdict.

Robot's status of a test follows from its checks, so that log, xUnit and verdict never say different things. A test that
fails by anything but a check could not be carried through: an ERROR of the bench for all its ids.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from bench.data import BadInput
from bench.judge.judge import Judge
from bench.judge.verdict import Verdict, worst
from bench.judge.witness import Check


@dataclass(frozen=True)
class TestVerdict:
    """What one Robot test came to. `ids` are those that it decides."""

    name: str
    ids: tuple[str, ...]
    verdict: Verdict
    message: str


class Progress(Protocol):
    """Who wants to know how far a run is."""

    def begins(self, test: str, number: int, total: int) -> None:
        """A test begins, the `number`-th of `total`."""
        ...

    def ended(self, test: TestVerdict) -> None:
        """A test has ended."""
        ...


class Listener:
    """Robot listener (API 3) for one run."""

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(
        self,
        judge: Judge,
        progress: Progress | None = None,
        only: Collection[str] = (),
        tripped: Callable[[], str | None] = lambda: None,
        until_failed: Collection[str] = (),
    ) -> None:
        """`only` are the ids that the run is to decide, none of them where it is all: what else its tests decide may have
        other tests, which do not run. `tripped` tells what on the bench has switched itself off, None as long as nothing has:
        no test counts then. The run ends after the test with which all of `until_failed` have failed: an id by a check
        on it, a scenario by any in one of the tests of its steps. Where nothing is named it goes to its end."""
        self.judge = judge
        self._only = frozenset(only)
        self._last: dict[str, str] = {}
        self._tripped = tripped
        self._standing = set(until_failed)
        self.left_out: tuple[str, ...] = ()
        """Names of the tests that did not run because all of `until_failed` had failed."""
        self.undecided: frozenset[str] = frozenset()
        """The ids that those would have decided."""
        self.tests: list[TestVerdict] = []
        self.interrupted = False
        """Whether somebody stopped the run with a signal."""
        self._progress = progress
        self._total = 0
        self._ids: tuple[str, ...] = ()
        self._bad_tag: str | None = None

    def start_suite(self, data: Any, result: Any) -> None:
        """Learn how many tests there are, and which is the last that decides an id."""
        if data.parent is None:
            self._total = data.test_count
            for test in data.all_tests:
                with contextlib.suppress(BadInput):  # of a tag that names no id, its test says so
                    for id_ in self.judge.catalogue.decided_by([str(tag) for tag in test.tags]):
                        self._last[id_] = test.id

    def start_test(self, data: Any, result: Any) -> None:
        """Learn from the tags which ids the test decides."""
        self._bad_tag = None
        try:
            self._ids = self.judge.catalogue.decided_by([str(tag) for tag in data.tags])
        except BadInput as no:
            self._ids, self._bad_tag = (), str(no)
        self.judge.begin(data.name, self._ids)
        if self._progress is not None:
            self._progress.begins(data.name, len(self.tests) + 1, self._total)

    def end_test(self, data: Any, result: Any) -> None:
        """Judge the test, and give Robot's result the status that follows."""
        checks, raised = self.judge.end()
        # Robot takes the signal itself and tells of it in this message alone.
        self.interrupted = self.interrupted or "Execution terminated by signal" in result.message
        failure = self._bad_tag
        if failure is None and result.failed:
            failure = foreign(result.message, raised)
        if failure is None and self._ids:
            failure = self._tripped()
        if failure is not None:
            for id_ in self._ids:
                checks.append(self.judge.bench_failed(id_, data.name, failure))
        else:
            said = f"the test was skipped: {result.message}" if result.skipped else "the test checked nothing of it"
            for id_ in self._ids:
                if not any(check.id == id_ for check in checks):
                    checks.append(self.judge.unchecked(id_, data.name, said))
                if self._last.get(id_) == data.id and (not self._only or id_ in self._only):
                    checks += self.judge.left_out(id_, data.name)
        verdict = worst(check.verdict for check in checks)
        if failure is not None:
            verdict = Verdict.ERROR
        elif not self._ids:
            # A test that decides no id (bringing something up, say) is Robot's own affair.
            verdict = {"PASS": Verdict.PASS, "FAIL": Verdict.ERROR}.get(result.status, Verdict.INCONCLUSIVE)
        self._show(result, verdict, checks, failure)
        self.tests.append(TestVerdict(data.name, self._ids, verdict, result.message))
        if self._progress is not None:
            self._progress.ended(self.tests[-1])
        if self._standing and verdict is not Verdict.ERROR:
            self._standing -= self._fallen({check.id for check in checks if check.verdict is Verdict.FAIL})
            if not self._standing:
                self._end_early(data, result)

    def _fallen(self, failed: set[str]) -> set[str]:
        """The ids that failed in the test that has ended, and the scenarios of whose steps it is a test where any did."""
        catalogue, fallen = self.judge.catalogue, set(failed)
        for id_ in self._ids if failed else ():
            scenario = catalogue[id_].scenario
            if scenario is not None and id_ in catalogue.expand(scenario):
                fallen.add(scenario)
        return fallen

    def _end_early(self, data: Any, result: Any) -> None:
        """Take the tests that follow out of the run, and say so on the first page of Robot's own report."""
        rest = _take_out_the_rest(data)
        self.left_out = tuple(test.name for test in rest)
        ids: set[str] = set()
        for test in rest:
            with contextlib.suppress(BadInput):  # of a tag that names no id
                ids |= set(self.judge.catalogue.decided_by([str(tag) for tag in test.tags]))
        self.undecided = frozenset(ids)
        suite = result.parent
        while suite.parent is not None:
            suite = suite.parent
        if rest:
            suite.metadata["Ended early"] = f"all that was asked for had failed; {len(rest)} tests were left out"

    def _show(self, result: Any, verdict: Verdict, checks: list[Check], failure: str | None) -> None:
        if not self._ids and failure is None:
            return
        if verdict is Verdict.PASS:
            result.status = "PASS"
        elif verdict is Verdict.NOT_APPLICABLE:
            result.status = "SKIP"
        else:
            result.status = "FAIL"
        bad = [str(c) for c in checks if c.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)]
        if verdict is Verdict.NOT_APPLICABLE:
            bad = [str(check) for check in checks]
        if failure is not None and not bad:
            bad = [f"ERROR: {failure}"]
        result.message = "\n".join(bad)


def _take_out_the_rest(test: Any) -> list[Any]:
    """Take the tests that follow out of the run, and return them. Suite teardowns still run."""
    later = test.parent.tests.index(test) + 1
    rest = list(test.parent.tests[later:])
    del test.parent.tests[later:]
    suite = test.parent
    while suite.parent is not None:
        siblings = suite.parent.suites
        later = siblings.index(suite) + 1
        rest += [test for sibling in siblings[later:] for test in sibling.all_tests]
        del siblings[later:]
        suite = suite.parent
    return rest


_FRAME = re.compile(
    r"Several failures occurred:|Also failures? occurred:|^\s*\d+\)\s*$|Also teardown failed:|"
    r"(Parent suite |Suite )?([Ss]etup|[Tt]eardown) failed:",
    re.MULTILINE,
)


def foreign(message: str, raised: list[str]) -> str | None:
    """What of a test's failure message didn't come from the judge, in one line; None where all of it did.

    `raised` are the messages of the judge's own failures in this test.
    """
    rest = message
    for own in sorted(raised, key=len, reverse=True):
        rest = rest.replace(own, "", 1)
    if raised:
        rest = re.sub(r"^\s*\d+\)\s*", "", _FRAME.sub("", rest), flags=re.MULTILINE)
    rest = " ".join(rest.split())
    if rest or not raised:
        return rest or "the test failed without saying why"
    return None
