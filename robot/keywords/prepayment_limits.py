"""Keywords of the meter's switch and demand limit: on command, by stored commands, trip, re-close by itself and by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench.at_the_meter import SETTLE_S, AtTheMeter
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from drivers.roles import Billing, EventCode, MessageCode, Switch
from drivers.wire.meter_profile import LoadControl
from drivers.wire.meter_settings import Rule, Trigger

TRIPS_WITHIN_S = 60.0
"""How long a demand above the limit is given to trip it: far beyond any window that a limit averages over."""
PREPAID_CENTS = 20_000
"""A balance far from zero."""


@library(scope="TEST")
class prepayment_limits(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The meter under test with the bench's load behind it. `meter`, `load` and `relay` name devices of the bench file; the
    relay's `reclose_channel` presses the meter's button."""

    def __init__(
        self, meter: str = "meter", load: str = "load", relay: str = "relay", reclose_channel: int = 3
    ) -> None:
        super().__init__(meter)
        self._load = load
        self._relay = relay
        self._channel = reclose_channel

    @cached_property
    def _case(self) -> AtTheMeter:
        return AtTheMeter(
            session().bench, self._meter, load=self._load, relay=self._relay, reclose_channel=self._channel
        )

    # --- connect, disconnect, limit --------------------------------------------------------------------------------------

    def _flows(self, id_: str, what: str, expected: bool, claim: Any) -> None:
        case = self._case
        self._judge.check(
            id_,
            what,
            claim=claim,
            measure=Witness.measure(case.service.flows().value is expected),
            predict=case.predict(case.service.should_flow().value is expected),
            expected=True,
            instrument_could_tell=True,
        )

    def _trips(self, id_: str, what: str, since: datetime) -> None:
        """Current ceases because the demand is above the limit, and the meter says so."""
        case = self._case
        seen = case.service.when(False, TRIPS_WITHIN_S)
        tripped = EventCode.LIMIT_TRIPPED
        self._judge.check(
            id_,
            what,
            claim=bool(case.events_since(since, tripped)),
            measure=Witness.measure(seen is not None),
            predict=case.predict(bool(case.events_since(since, tripped, of=case.model))),
            expected=True,
            instrument_could_tell=True,
        )

    @keyword
    def remote_command_switches_the_service(self) -> None:
        """C3-FR-04: connect, disconnect and limit, each on a command of the ADCS."""
        case = self._case
        if not self._judge.applicable("C3-FR-04", "service_switch"):
            return
        for code, flows, position in (
            (MessageCode.CONNECT, True, Switch.CLOSED),
            (MessageCode.DISCONNECT, False, Switch.OPEN),
            (MessageCode.CONNECT, True, Switch.CLOSED),
        ):
            case.send(code)
            case.bench.advance(1.0)
            self._flows("C3-FR-04", f"{code.name.lower()} on command", flows, case.meter.service().switch is position)
        start = case.bench.now
        case.send(MessageCode.LIMIT, limit_w=round(case.nominal_w / 2))
        self._trips("C3-FR-04", "limit on command", start)
        self._judge.settle()

    @keyword
    def stored_commands_switch_the_service(self, apart: timedelta, id_: str = "C3-FR-04") -> None:
        """C3-FR-04, C3-NFR-03: connect, disconnect and connect, each at the moment that was stored beforehand."""
        case = self._case
        if not case.has_switch:
            return
        case.send(MessageCode.RESTORE)
        case.send(MessageCode.DISCONNECT)
        start = case.bench.now + apart
        turns = (
            (LoadControl.CONNECT, None),
            (LoadControl.DISCONNECT, None),
            (LoadControl.CONNECT, None),
        )
        rules = case.in_turn(start, apart, *turns)
        case.store_commands(*rules)
        since = start - apart / 2  # the meter's clock may be behind by a little
        for n, rule in enumerate(rules):
            moment = start + n * apart
            case.until_moment(moment - timedelta(seconds=2))
            flows = rule.action is LoadControl.CONNECT
            seen = case.service.when(flows, apart.total_seconds() / 2, since=moment)
            done = EventCode.RULE_CARRIED_OUT
            said = [e for e in case.events_since(since, done) if e.argument == rule.rule_id]
            should = [e for e in case.events_since(since, done, of=case.model) if e.argument == rule.rule_id]
            ahead = case.ahead_by()
            self._judge.check(
                id_,
                f"stored {rule.action.name.lower()} {n + 1} at its moment",
                claim=(said[0].at - ahead - moment).total_seconds() if said else None,
                measure=None if seen is None else (seen - moment).total_seconds(),
                uncertainty=case.service.moment_uncertainty_s,
                predict=case.predict((should[0].at - ahead - moment).total_seconds() if should else None),
                limit=self._judge.limit("C3-NFR-03", "at once"),
                unit="s",
                instrument_could_tell=True,
            )
        self._judge.settle()

    def _to_zero(self, rule: Rule) -> datetime:
        """A prepaid balance falls to zero with a command stored for that; returns when it was told so."""
        case = self._case
        # With credit in the back office it is the meter alone that finds a balance of zero.
        case.prepay(PREPAID_CENTS)
        case.until_receipt(case.message_id, 120)
        case.bill(Billing.PREPAID)
        case.refresh(500)
        case.send(MessageCode.RESTORE)
        case.send(MessageCode.CONNECT)
        case.store_commands(rule)
        case.bench.advance(SETTLE_S)
        start = case.bench.now
        case.refresh(0)
        return start

    @keyword
    def stored_command_disconnects_at_zero(self) -> None:
        """C3-FR-04: the rule configured beforehand for a balance of zero."""
        case = self._case
        if not case.has_switch:
            return
        start = self._to_zero(Rule(9, Trigger.ZERO, LoadControl.DISCONNECT))
        seen = case.service.when(False, TRIPS_WITHIN_S)
        self._judge.check(
            "C3-FR-04",
            "stored disconnect at zero",
            claim=bool(case.events_since(start, EventCode.RULE_CARRIED_OUT)),
            measure=Witness.measure(seen is not None),
            predict=case.predict(bool(case.events_since(start, EventCode.RULE_CARRIED_OUT, of=case.model))),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def remote_command_limits_the_service(self) -> None:
        """C3-FR-06: a load above the limit trips it, one below is served."""
        case = self._case
        if not self._judge.applicable("C3-FR-06", "demand_limit"):
            return
        limit = round(case.nominal_w / 2)
        case.draw(0.9 * limit)
        case.send(MessageCode.CONNECT)
        case.send(MessageCode.LIMIT, limit_w=limit)
        case.bench.advance(TRIPS_WITHIN_S)
        self._flows("C3-FR-06", "a load below the limit is served", True, case.meter.service().limit_w == limit)
        start = case.bench.now
        case.draw(1.1 * limit)
        self._trips("C3-FR-06", "a load above the limit trips it", start)
        case.send(MessageCode.RESTORE)
        case.bench.advance(TRIPS_WITHIN_S)
        self._flows("C3-FR-06", "restored, the load is served", True, case.meter.service().limit_w is None)
        self._judge.settle()

    @keyword
    def stored_command_limits_the_service(self, lead: timedelta) -> None:
        """C3-FR-06: a limit at the moment that was stored beforehand."""
        case = self._case
        if not case.has_switch:
            return
        limit = round(case.nominal_w / 2)
        case.send(MessageCode.RESTORE)
        case.send(MessageCode.CONNECT)
        case.draw(case.nominal_w)
        start = case.bench.now + lead
        case.store_commands(*case.in_turn(start, lead, (LoadControl.LIMIT, limit)))
        case.until_moment(start - timedelta(seconds=2))
        self._flows("C3-FR-06", "before the stored limit the load is served", True, claim=True)
        self._trips("C3-FR-06", "the stored limit trips", start)
        self._judge.settle()

    @keyword
    def stored_command_limits_at_zero(self) -> None:
        """C3-FR-06: a limit step configured beforehand for a balance of zero."""
        case = self._case
        if not case.has_switch:
            return
        case.draw(case.nominal_w)
        case.set_steps(round(case.nominal_w), (50,))
        start = self._to_zero(Rule(9, Trigger.ZERO, LoadControl.LIMIT_STEP, 1))
        self._trips("C3-FR-06", "the limit stored for zero trips", start)
        self._judge.settle()

    # --- limit steps, trip, re-close -------------------------------------------------------------------------------------

    @keyword
    def each_step_is_held(self, percents: list[int], margin_percent: float) -> None:
        """C3-FR-21: each step, as a command in watts and as a configured step: just below it is served, just above trips."""
        case = self._case
        if not self._judge.applicable("C3-FR-21", "demand_limit"):
            return
        capacity = int(case.pixit("test_capacity_w"))
        steps = case.set_steps(capacity, percents)
        case.send(MessageCode.CONNECT)
        for number, percent in enumerate(percents, 1):
            for how in ("command", "step"):
                limit, what = steps.watts(number), f"{percent} % by {how}"
                case.send(MessageCode.RESTORE)
                case.draw(limit * (1 - margin_percent / 100))
                case.bench.advance(SETTLE_S)
                if how == "command":
                    case.send(MessageCode.LIMIT, limit_w=limit)
                else:
                    case.meter.limit_step(number)
                case.bench.advance(TRIPS_WITHIN_S / 2)
                self._flows("C3-FR-21", f"{what}: below is served", True, case.meter.service().limit_w == limit)
                start = case.bench.now
                case.draw(limit * (1 + margin_percent / 100))
                self._trips("C3-FR-21", f"{what}: above trips", start)
        self._judge.settle()

    def _limited_below_the_load(self) -> datetime | None:
        """Serve the test load, limit it to half; returns when it tripped, None where it did not."""
        case = self._case
        case.draw(case.nominal_w)
        case.send(MessageCode.CONNECT)
        limited = case.bench.now
        case.send(MessageCode.LIMIT, limit_w=round(case.nominal_w / 2))
        return case.service.when(False, TRIPS_WITHIN_S, since=limited)

    @keyword
    def meter_trips_and_recloses_by_itself(self) -> None:
        """C3-FR-22: once, after the delay, and not again however long the load stays too high."""
        case, judge = self._case, self._judge
        if not judge.applicable("C3-FR-22", "demand_limit"):
            return
        delay = judge.seconds("C3-FR-22", "delay after trip")
        start = case.bench.now
        recloses, after = 0, None
        tripped = self._limited_below_the_load()
        if tripped is not None and (closed := self._closes(delay)) is not None:
            recloses, after = 1, (closed - tripped).total_seconds()
            # From here on it counts that it re-closes, and no longer when.
            while case.service.when(False, TRIPS_WITHIN_S) is not None and recloses < 3:
                if not case.flows_within(2 * delay):
                    break
                recloses += 1
        said, should = self._trip_to_reclose(start, case.meter), self._trip_to_reclose(start, case.model)
        judge.check(
            "C3-FR-22",
            "trip to re-close",
            claim=said,
            measure=Witness.measure(after, 2 * case.service.moment_uncertainty_s, "analyzer"),
            predict=case.predict(should),
            limit="delay after trip",
            instrument_could_tell=True,
        )
        closed_by_itself = EventCode.RECLOSED
        judge.check(
            "C3-FR-22",
            "re-closes by itself",
            claim=len(case.events_since(start, closed_by_itself)),
            measure=recloses,
            predict=case.predict(len(case.events_since(start, closed_by_itself, of=case.model))),
            limit="automatic re-closes",
            instrument_could_tell=True,
        )
        judge.settle()

    def _closes(self, about_s: float) -> datetime | None:
        """When current flows again; looked for closely when it is about time."""
        case = self._case
        return case.bench.now if case.flows_within(0.9 * about_s) else case.service.when(True, 0.6 * about_s)

    def _trip_to_reclose(self, start: datetime, of: Any) -> float | None:
        found = self._case.events_since(start, EventCode.LIMIT_TRIPPED, EventCode.RECLOSED, of=of)
        kinds = [e.event for e in found[:2]]
        if kinds != [EventCode.LIMIT_TRIPPED, EventCode.RECLOSED]:
            return None
        return (found[1].at - found[0].at).total_seconds()

    @keyword
    def customer_recloses_by_hand_after_a_trip(self) -> None:
        """C3-FR-23: the button closes, the limit trips again, nothing re-closes by itself, and only the ADCS changes that."""
        case, judge = self._case, self._judge
        if not judge.applicable("C3-FR-23", "demand_limit"):
            return
        delay = judge.seconds("C3-FR-22", "delay after trip")
        limit = round(case.nominal_w / 2)
        self._limited_below_the_load()
        case.flows_within(1.5 * delay)
        case.service.when(False, TRIPS_WITHIN_S)
        start = case.bench.now
        case.press_reclose()
        seen = case.service.when(True, 5.0)
        by_hand = EventCode.MANUAL_RECLOSE
        judge.check(
            "C3-FR-23",
            "the button re-energises",
            claim=bool(case.events_since(start, by_hand)),
            measure=Witness.measure(seen is not None),
            predict=case.predict(bool(case.events_since(start, by_hand, of=case.model))),
            expected=True,
            instrument_could_tell=True,
        )
        judge.check(
            "C3-FR-23",
            "the limit is the original one",
            claim=case.meter.service().limit_w,
            predict=case.predict(case.model.service().limit_w),
            expected=limit,
            unit="W",
        )
        self._trips("C3-FR-23", "the original limit trips again", start)
        closed = EventCode.RECLOSED
        # What flows without a trip before it is no re-close, and the check before this one has said so.
        again = case.flows_within(1.5 * delay)
        judge.check(
            "C3-FR-23",
            "re-closes by itself after the one by hand",
            claim=len(case.events_since(start, closed)),
            measure=Witness.measure(int(again)),
            predict=case.predict(len(case.events_since(start, closed, of=case.model))),
            expected=0,
            instrument_could_tell=True,
        )
        case.send(MessageCode.RESTORE)
        case.bench.advance(TRIPS_WITHIN_S)
        self._flows("C3-FR-23", "the ADCS ends the limit", True, case.meter.service().limit_w is None)
        judge.settle()
