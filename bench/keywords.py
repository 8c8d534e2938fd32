"""What the keyword libraries of the prepayment suites have in common: one case for each test, and the run's judge."""

from __future__ import annotations

from functools import cached_property

from bench.certify import session
from bench.judge.judge import Judge
from bench.prepaying import Prepaying


class PrepaymentKeywords:
    """Libraries of scope TEST inherit it. What one of them does in a test the others know: they share the test's case."""

    def __init__(self, meter: str = "meter") -> None:
        self._meter = meter

    @cached_property
    def _case(self) -> Prepaying:
        # Asked for when a keyword runs: the documentation of the keywords is made without a run.
        running = session()
        key = (running.judge.test, self._meter)
        if key not in running.cases:
            running.cases[key] = Prepaying(running.bench, self._meter)
        case: Prepaying = running.cases[key]
        return case

    @cached_property
    def _judge(self) -> Judge:
        return session().judge
