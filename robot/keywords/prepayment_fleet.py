"""Keywords of the success rates that a fleet of simulated meters decides."""

from __future__ import annotations

from functools import cached_property

from robot.api.deco import keyword, library

from bench.certify import session
from bench.fleet import DECIDES, FleetRun, run_fleet
from bench.judge.witness import Witness


@library(scope="SUITE")
class prepayment_fleet:  # noqa: N801 - Robot finds a library's class by the file's name
    """Success rates over a fleet of `meters` simulated meters in `days` days; a fleet is simulated once for its suite."""

    def __init__(self, meters: int = 131_072, days: int = 30) -> None:
        self._meters = meters
        self._days = days

    @cached_property
    def _run(self) -> FleetRun:
        running = session()
        run = run_fleet(self._meters, self._days, seed=running.seed, defects=running.seeded("fleet"))
        running.record.write_json("fleet.json", run.answer())
        return run

    @keyword
    def prepayment_messages_reach_the_meters(self) -> None:
        """C3-NFR-12: the fleet's prepayment messages succeed at the catalogue's rates, by exact binomial bounds."""
        self._decide(DECIDES[0])

    @keyword
    def commands_are_carried_out(self) -> None:
        """C3-NFR-13: limit, restore, disconnect and connect are processed at the catalogue's rates, by the same bounds."""
        self._decide(DECIDES[1])

    def _decide(self, id_: str) -> None:
        judge, run = session().judge, self._run
        (judged,) = (one for one in run.judged if one.id == id_)
        for finding in judged.findings:
            judge.concluded(
                id_,
                f"{finding.what}, by {run.meters} simulated meters in {run.days} days",
                system="Fleet",
                limit=finding.limit,
                witness=Witness.measure(finding.found / finding.of, finding.upper - finding.lower, "simulated fleet"),
                verdict=finding.verdict,
                reason=finding.reason,
            )
        judge.settle()
