"""Keywords of the success rates that a fleet of simulated meters decides, and the one meter of a bench supports."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench.certify import session
from bench.fleet import DECIDES, FleetRun, run_fleet
from bench.judge.witness import Witness
from bench.prepaying import Prepaying
from drivers.roles import MessageCode, ReceiptStatus


@library(scope="SUITE")
class prepayment_fleet:  # noqa: N801 - Robot finds a library's class by the file's name
    """Success rates over a fleet of `meters` simulated meters in `days` days; a fleet is simulated once for its suite. `meter`
    names the meter under test in the bench file."""

    def __init__(self, meters: int = 131_072, days: int = 30, meter: str = "meter") -> None:
        self._meters = meters
        self._days = days
        self._meter = meter

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

    @keyword
    def messages_on_the_bench_support_it(self, rounds: int) -> None:
        """C3-NFR-12: so many prepayments, balances and texts that the ADCS sends to the meter on the bench; none is lost. So few
        decide nothing about a rate."""
        case = Prepaying(session().bench, self._meter)
        price = case.bench.config.utility.tariff.price_millicents_per_kwh
        sent = []
        for k in range(rounds):
            balance = case.balance_message(2_000 + k, case.interval * 60)
            paid = {"price_millicents_per_kwh": price, "at_zero": case.option}
            sent += [
                case.send(MessageCode.PREPAYMENT, **balance, **paid),
                case.send(MessageCode.BALANCE, **balance),
                case.send(MessageCode.TEXT, text=f"Thank you, {k}"),
            ]
        arrived = sum(bool(case.taken_at(i)) for i in sent)
        self._support("C3-NFR-12", "prepayment messages of the ADCS that reach the meter", "ADCS", arrived, len(sent))

    @keyword
    def commands_on_the_bench_support_it(self, rounds: int, limit_w: int) -> None:
        """C3-NFR-13: so many times disconnect, connect, limit and restore on the meter on the bench; it processes each. So few
        decide nothing about a rate."""
        if not session().judge.applicable("C3-NFR-13", "service_switch", system="Meter"):
            return
        case = Prepaying(session().bench, self._meter)
        commands: tuple[tuple[MessageCode, dict[str, Any]], ...] = (
            (MessageCode.DISCONNECT, {}),
            (MessageCode.CONNECT, {}),
            (MessageCode.LIMIT, {"limit_w": limit_w}),
            (MessageCode.RESTORE, {}),
        )
        taken = [i for _ in range(rounds) for code, given in commands if case.taken_at(i := case.send(code, **given))]
        receipts = [case.receipt(i) for i in taken]
        processed = sum(r is not None and r.status is ReceiptStatus.PROCESSED for r in receipts)
        self._support("C3-NFR-13", "commands that the meter has got and processed", "Meter", processed, len(taken))

    def _support(self, id_: str, what: str, system: str, succeeded: int, of: int) -> None:
        session().judge.check(
            id_,
            f"support by one meter on the bench, the fleet decides: {what}, of {of}",
            system=system,
            measure=Witness.measure(succeeded if of else None),
            expected=of,
        )
        session().judge.settle()

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
