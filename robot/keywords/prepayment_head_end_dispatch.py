"""Keywords of when the head-end sends what, and in which order: commands for later, rules, alerts, priorities, retries."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any

from robot.api.deco import keyword, library

from bench import displayed
from bench.certify import session
from bench.head_end import HeadEnd
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from drivers.roles import DisplayCode, EventCode, MessageCode, Switch
from twins.utility.errors import NotAccepted

_BEFORE_S = 3.0
"""How long before a moment it is seen that nothing has happened yet, in seconds."""


@library(scope="TEST")
class prepayment_head_end_dispatch(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """When the head-end sends what, and what arrives. `meter` and `display` name devices of the bench file."""

    def __init__(self, meter: str = "meter", display: str = "display") -> None:
        super().__init__(meter)
        self._display = display

    @cached_property
    def _case(self) -> HeadEnd:
        return HeadEnd(session().bench, self._meter, self._display)

    @keyword
    def the_head_end_is_left_as_it_was(self) -> None:
        """Take back rules, weather, alerts, plans and priorities that a test has set up."""
        self._case.leave()

    @keyword
    def the_service_is(self, wanted: str) -> None:
        """`on` or `off`, by a command, with no demand limit."""
        self._case.send(MessageCode.RESTORE)
        self._case.send(MessageCode.CONNECT if wanted == "on" else MessageCode.DISCONNECT)

    def _flow(self, id_: str, what: str, expected: bool) -> None:
        """Whether the load draws current now, as the meter, the analyzer and the model have it."""
        self._check_flow(id_, what, expected, claim=self._case.meter.service().energised)

    def _change(self, id_: str, what: str, due: datetime, flowing: bool) -> None:
        """The service changes at a moment, not before; nothing but the network's latency lies between."""
        case = self._case
        case.bench.advance(max(0.0, (due - case.bench.now).total_seconds() - _BEFORE_S))
        self._flow(id_, f"{what}: not before its moment", not flowing)
        least = case.service.least_uncertainty_s
        most = case.latency_s + self._at_once_s + least
        seen = case.service.when(flowing, 60, since=due)
        self._judge.check(
            id_,
            f"{what}: at its moment",
            measure=None if seen is None else (seen - due).total_seconds(),
            uncertainty=case.service.moment_uncertainty_s,
            expected=most / 2,
            tolerance=most / 2 + least,
            unit="s",
            instrument_could_tell=True,
        )

    @property
    def _at_once_s(self) -> float:
        return float(self._judge.limit("C3-NFR-03", "at once").tolerance or 0.0)

    # --- commands for later (C3-FR-14) -----------------------------------------------------------------------------------

    @keyword
    def a_planned_command_is_carried_out_when_due(self, code: str, after: timedelta) -> None:
        """C3-FR-14: nothing before its moment; then the analyzer sees it."""
        _, due = self._case.plan(MessageCode[code], after)
        self._change("C3-FR-14", f"planned {code.lower()}", due, code == "CONNECT")
        self._judge.settle()

    @keyword
    def a_planned_limit_trips_the_load_when_due(self, limit_w: int, after: timedelta) -> None:
        """C3-FR-14: a limit below the load is set at its moment, by the meter's log; the analyzer sees the trip."""
        case = self._case
        mark, ahead = case.log_mark(), case.ahead_by()
        _, due = case.plan(MessageCode.LIMIT, after, limit_w=limit_w)
        case.bench.advance((due - case.bench.now).total_seconds() - 1.0)
        self._flow("C3-FR-14", "planned limit: not before its moment", True)
        tripped = case.service.when(False, 60, since=due)
        found = [e for e in case.meter.log(mark) if e.event is EventCode.LIMIT_SET]
        self._judge.check(
            "C3-FR-14",
            "planned limit: at its moment",
            claim=(found[0].at - ahead - due).total_seconds() if found else None,
            expected=0.0,
            tolerance=case.latency_s + self._at_once_s,
            unit="s",
        )
        self._judge.check("C3-FR-14", "planned limit: the load trips it", measure=tripped is not None, expected=True)
        self._judge.settle()

    @keyword
    def a_planned_command_can_be_moved(self, code: str, after: timedelta, instead: timedelta) -> None:
        """C3-FR-14: rescheduled, a command goes at the new moment and not at the old one."""
        case = self._case
        command, old = case.plan(MessageCode[code], after)
        new = case.bench.now + instead
        case.ask(case.adcs.commands.replan, command, new)
        case.bench.advance((old - case.bench.now).total_seconds() + case.latency_s + self._at_once_s)
        self._flow("C3-FR-14", f"rescheduled {code.lower()}: not at the old moment", code != "CONNECT")
        self._change("C3-FR-14", f"rescheduled {code.lower()}", new, code == "CONNECT")
        self._judge.settle()

    @keyword
    def a_planned_command_can_be_cancelled(self, code: str, after: timedelta) -> None:
        """C3-FR-14: cancelled, a command never comes."""
        case = self._case
        mark = case.log_mark()
        command, due = case.plan(MessageCode[code], after)
        case.ask(case.adcs.commands.cancel, command)
        case.bench.advance((due - case.bench.now).total_seconds() + 60.0)
        self._flow("C3-FR-14", f"cancelled {code.lower()}: never carried out", code != "CONNECT")
        self._judge.check(
            "C3-FR-14", f"cancelled {code.lower()}: never sent", claim=len(case.arrived(mark)), expected=0
        )
        self._judge.settle()

    # --- rules (C3-FR-10) ------------------------------------------------------------------------------------------------

    @keyword
    def a_rule_acts_by_schedule(self, after: timedelta, length: timedelta) -> None:
        """C3-FR-10: disconnected while the rule's span lasts, neither before nor after."""
        case = self._case
        start = case.bench.now + after
        span = {"starts_at": start, "ends_at": start + length}
        case.rule("span", begin=MessageCode.DISCONNECT, end=MessageCode.CONNECT, **span)
        self._change("C3-FR-10", "a rule by schedule begins", start, False)
        self._change("C3-FR-10", "a rule by schedule ends", start + length, True)
        self._judge.settle()

    @keyword
    def a_rule_is_for_its_customer_class(self, limit_w: int, wait: timedelta) -> None:
        """C3-FR-10: a rule for another class leaves the service alone; one for this class limits it, as the analyzer sees."""
        case = self._case
        own = case.customer.customer_class
        other = "commercial" if own == "residential" else "residential"
        case.rule("other class", classes=(other,), begin=MessageCode.DISCONNECT)
        case.bench.advance(wait.total_seconds())
        self._flow("C3-FR-10", "a rule for another class", True)
        case.rule("own class", classes=(own,), begin=MessageCode.LIMIT, limit_w=limit_w, end=MessageCode.RESTORE)
        case.bench.advance(wait.total_seconds())
        self._flow("C3-FR-10", "a limit for this class trips the load", False)
        case.ask(case.adcs.rules.drop, "own class")
        case.bench.advance(wait.total_seconds())
        self._flow("C3-FR-10", "the limit is restored when the rule ends", True)
        self._judge.settle()

    @keyword
    def extreme_weather_holds_a_disconnect_back(self, celsius: float, limit_w: int, wait: timedelta) -> None:
        """C3-FR-10: a limit instead of the disconnect while it is hot; it is logged, and carried out when that is over."""
        case = self._case
        case.rule("heat", above_c=celsius - 1, hold=(MessageCode.DISCONNECT,), instead_limit_w=limit_w)
        case.weather(celsius)
        message_id = case.submit(MessageCode.DISCONNECT)
        case.bench.advance(wait.total_seconds())
        self._flow("C3-FR-10", "in the heat nobody is disconnected", True)
        self._judge.check(
            "C3-FR-10", "in the heat demand is limited", claim=case.meter.service().limit_w, expected=limit_w, unit="W"
        )
        logged = [e.act.value for e in case.ask(case.adcs.rules.log, case.meter_id) if e.message_id == message_id]
        self._judge.check("C3-FR-10", "what is held back is logged", claim="held" in logged, expected=True)
        case.weather(celsius - 20)
        case.bench.advance(wait.total_seconds())
        self._flow("C3-FR-10", "when the heat is over the disconnect is carried out", False)
        service = case.meter.service()
        self._judge.check(
            "C3-FR-10",
            "and the limit has ended",
            claim=service.switch is Switch.OPEN and service.limit_w is None,
            expected=True,
        )
        self._judge.settle()

    # --- messages (C3-FR-11, C3-NFR-04, C3-NFR-10) ------------------------------------------------------------------------

    @keyword
    def informational_messages_reach_the_meter(self, text: str, cents: int) -> None:
        """C3-FR-11: a text and a balance, shown by the meter."""
        case = self._case
        left = timedelta(hours=70)
        fields: dict[str, Any] = {"balance_cents": cents, "credit_wh": cents * 40, "time_left": left}
        for code, given, line, shown in (
            (MessageCode.TEXT, {"text": text}, DisplayCode.MESSAGE, text),
            (MessageCode.BALANCE, fields, DisplayCode.BALANCE, displayed.money(cents)),
        ):
            self._processed(case.send(code, **given), code)
            self._judge.check(
                "C3-FR-11",
                f"a {code.name.lower()} is shown",
                claim=case.shown().get(line),
                predict=case.should_show(line),
                expected=shown,
            )
        self._judge.settle()

    @keyword
    def functional_messages_reach_the_meter(self, limit_w: int, wait: timedelta) -> None:
        """C3-FR-11: disconnect, connect, limit and restore, each as the analyzer sees it."""
        case = self._case
        for code, given, flowing in (
            (MessageCode.DISCONNECT, {}, False),
            (MessageCode.CONNECT, {}, True),
            (MessageCode.LIMIT, {"limit_w": limit_w}, False),
            (MessageCode.RESTORE, {}, True),
        ):
            self._processed(case.send(code, **given), code)
            case.bench.advance(wait.total_seconds())
            self._flow("C3-FR-11", f"after a {code.name.lower()}", flowing)
        self._judge.settle()

    def _processed(self, message_id: int, code: MessageCode) -> None:
        self._check_receipt("C3-FR-11", f"a {code.name.lower()} is processed", message_id)

    @keyword
    def an_urgent_message_overtakes_waiting_ones(self, waiting: int) -> None:
        """C3-NFR-04: behind the one that is under way, before those that wait, at the ADCS and at the meter."""
        case = self._case
        mark = case.log_mark()
        texts = [case.submit(MessageCode.TEXT, text=f"Notice {k}") for k in range(waiting)]
        case.bench.advance(0.5)
        urgent = case.submit(MessageCode.DISCONNECT)
        self._check_order("a later urgent message", [texts[0], urgent, *texts[1:]], mark)

    @keyword
    def the_utility_configures_priorities(self) -> None:
        """C3-NFR-04: with texts configured as the most urgent, a text overtakes a connect that was requested before."""
        case = self._case
        mark = case.log_mark()
        case.ask(case.adcs.priorities.set, MessageCode.TEXT, 0)
        connect = case.submit(MessageCode.CONNECT)
        text = case.submit(MessageCode.TEXT, text="Storm warning")
        self._check_order("priorities as configured", [text, connect], mark)

    def _check_order(self, what: str, wanted: list[int], mark: int) -> None:
        case = self._case
        for message_id in wanted:
            case.until_receipt(message_id, 60)
        sent = sorted((moments[0], m) for m in wanted if (moments := case.sendings(m)))
        places = {m: k for k, m in enumerate(wanted)}
        self._judge.check(
            "C3-NFR-04",
            f"{what}: the order at the ADCS and at the meter",
            claim=str([places[m] for _, m in sent]),
            measure=str([places[m] for m in case.arrived(mark) if m in places]),
            expected=str(list(range(len(wanted)))),
        )
        self._judge.settle()

    @keyword
    def a_command_that_is_lost_is_retried_once(self, repair: timedelta) -> None:
        """C3-NFR-10: the message never arrives; the retry does, with the same id, and the service comes on."""
        case = self._case
        mark = case.log_mark()
        case.cut()
        message_id = case.submit(MessageCode.CONNECT)
        case.bench.advance(repair.total_seconds())
        self._flow_retry("lost: nothing happens before the retry", False)
        case.mend()
        seen = case.service.when(True, 90)
        self._judge.check("C3-NFR-10", "lost: the retry is carried out", measure=seen is not None, expected=True)
        case.until_receipt(message_id, 60)
        self._check_retry("lost", message_id, mark, EventCode.SWITCH_CLOSED)

    @keyword
    def a_command_whose_receipt_is_lost_is_retried_once(self, repair: timedelta) -> None:
        """C3-NFR-10: the meter acts and its answers are lost; the retry changes nothing and brings the receipt."""
        case = self._case
        mark = case.log_mark()
        message_id = case.submit(MessageCode.DISCONNECT)
        case.cut_once_taken(message_id, 30)
        case.bench.advance(repair.total_seconds())
        self._flow_retry("receipt lost: the meter has acted", False)
        case.mend()
        case.until_receipt(message_id, 120)
        case.bench.advance(60.0)
        self._check_retry("receipt lost", message_id, mark, EventCode.SWITCH_OPENED)
        self._flow_retry("receipt lost: nothing happens twice", False)
        self._judge.settle()

    def _flow_retry(self, what: str, expected: bool) -> None:
        self._judge.check("C3-NFR-10", what, measure=self._case.service.flows(), expected=expected)

    def _check_retry(self, what: str, message_id: int, mark: int, executed: EventCode) -> None:
        case = self._case
        moments = case.sendings(message_id)
        self._judge.check(
            "C3-NFR-10",
            f"{what}: first sending to retry",
            limit="first sending to retry",
            claim=(moments[1] - moments[0]).total_seconds() if len(moments) > 1 else None,
            unit="s",
        )
        taken = case.taken_at(message_id)
        if len(taken) > 1:  # what never came to the meter was taken once, and tells no time between two
            self._judge.check(
                "C3-NFR-10",
                f"{what}: first sending to retry, as the meter took them",
                measure=Witness.measure((taken[1] - taken[0]).total_seconds(), 0.0, "bench"),
                limit=self._judge.limit("C3-NFR-10", "first sending to retry").wider(
                    2 * float(case.stated("network_jitter_s"))
                ),
                unit="s",
            )
        self._judge.check("C3-NFR-10", f"{what}: sendings", claim=len(moments), expected=2)
        self._judge.check(
            "C3-NFR-10",
            f"{what}: ids that the meter got",
            claim=str(sorted(set(case.arrived(mark)))),
            expected=str([message_id]),
        )
        acts = [e for e in case.meter.log(mark) if e.event is executed]
        self._judge.check("C3-NFR-10", f"{what}: carried out so often", claim=len(acts), expected=1)
        self._judge.settle()

    # --- alerts (C3-FR-24, C3-NFR-09, C3-NFR-11) ---------------------------------------------------------------------------

    @keyword
    def an_alert_is_repeated_until_its_end(self, text: str, every: timedelta, times: int) -> None:
        """C3-FR-24, C3-NFR-11: so often and no oftener, as meter and display show it."""
        case = self._case
        mark, began = case.log_mark(), case.bench.now
        case.alert(text, every=every, until=began + (times - 1) * every + every / 2)
        seen = case.sightings(text, (times + 1) * every)
        self._count("until its end", len(seen), len(case.arrived(mark, text)), times)
        for k, (one, two) in enumerate(pairwise(seen), 1):
            self._interval(f"every {every}: repetition {k}", (two.at - one.at).total_seconds(), every)
        if len(seen) < 2:
            self._interval(f"every {every}: repetitions", None, every)
        self._judge.settle()

    def _interval(self, what: str, seconds: float | None, every: timedelta) -> None:
        self._judge.check(
            "C3-NFR-11",
            what,
            claim=seconds,
            expected=every.total_seconds(),
            tolerance=self._case.sighting_doubt_s,
            unit="s",
        )

    def _count(self, what: str, seen: int, arrived: int, times: int) -> None:
        self._judge.check(
            "C3-FR-24",
            f"an alert {what}: at the meter and on the display",
            claim=arrived,
            measure=Witness.measure(seen, None, self._case.display_name),
            expected=times,
        )

    @keyword
    def an_alert_is_repeated_until_taken_back(self, text: str, every: timedelta, times: int) -> None:
        """C3-FR-24: and no more after that."""
        case = self._case
        mark = case.log_mark()
        alert = case.alert(text, every=every)
        seen = case.sightings(text, (times - 1) * every + every / 2)
        with suppress(NotAccepted):  # where it has ended by itself, the count says so
            case.ask(case.adcs.alerts.take_back, alert)
        seen += case.sightings(text, 3 * every)
        self._count("until it is taken back", len(seen), len(case.arrived(mark, text)), times)
        self._judge.settle()

    @keyword
    def an_alert_reaches_the_display_in_time(self, text: str) -> None:
        """C3-NFR-09: from the request of another system to the display device."""
        case = self._case
        asked = case.bench.now
        most_s = self._judge.seconds("C3-NFR-09", "request to display")
        case.alert(text, once=True)
        case_seen: float | None = None
        while case_seen is None and (case.bench.now - asked).total_seconds() < most_s + 30:
            case.bench.advance(0.2)
            if getattr(case.display.message(), "text", None) == text:
                case_seen = (case.bench.now - asked).total_seconds()
        self._judge.check("C3-NFR-09", "an alert on the display", limit="request to display", claim=case_seen, unit="s")
        logged = [e for e in case.meter.log() if e.message_code is MessageCode.TEXT and e.at >= asked]
        at_meter = (logged[0].at - case.ahead_by() - asked).total_seconds() if logged else None
        self._judge.check("C3-NFR-09", "an alert at the meter", limit="request to display", claim=at_meter, unit="s")
        self._judge.settle()
