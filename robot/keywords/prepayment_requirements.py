"""Keywords of the prepayment requirements that scenario 1 carries: each puts a requirement to its test."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench.certify import session
from bench.judge.judge import Judge
from bench.judge.witness import Witness
from bench.prepaying import Prepaying
from drivers.errors import Refused
from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, ReceiptStatus
from twins.utility.errors import NotAccepted
from twins.utility.payments import PaymentMethod

EXECUTION = {
    MessageCode.CONNECT: EventCode.SWITCH_CLOSED,
    MessageCode.DISCONNECT: EventCode.SWITCH_OPENED,
    MessageCode.LIMIT: EventCode.LIMIT_SET,
    MessageCode.RESTORE: EventCode.LIMIT_CLEARED,
}
"""What a meter logs when it has executed a command."""


@library(scope="TEST")
class prepayment_requirements:  # noqa: N801 - Robot finds a library's class by the file's name
    """Requirements of the prepayment use case. `meter` names the meter under test in the bench file."""

    def __init__(self, meter: str = "meter") -> None:
        self._meter = meter
        self._sent: list[int] = []
        self._posted_at: datetime | None = None
        self._energised_at: datetime | None = None

    @cached_property
    def _case(self) -> Prepaying:
        # Asked for when a keyword runs: the documentation of the keywords is made without a run.
        return Prepaying(session().bench, self._meter)

    @cached_property
    def _judge(self) -> Judge:
        return session().judge

    # --- preparing -----------------------------------------------------------------------------------------------------

    @keyword
    def the_site_is_provisioned(self) -> None:
        """Meter powered, its clock right, no demand limit, service off; analyzer on its ranges."""
        self._case.bench.strategy.provision()

    @keyword
    def the_meters_clock_is_ahead_by(self, time: timedelta) -> None:
        """Set the meter's clock wrong on purpose, so that its time can be told from everybody else's."""
        self._case.meter.set_clock(self._case.bench.now + time)

    @keyword
    def the_customer_has_prepaid(self, cents: int) -> None:
        """The scenario up to the meter's receipt, in one sentence; nothing of it is checked here."""
        self._case.prepay(cents)
        self._case.until_receipt(self._case.message_id, 60)

    @keyword
    def the_customer_prepays_while_the_analyzer_watches(self, cents: int) -> None:
        """As before, and the moment at which current begins to flow is measured."""
        case = self._case
        case.prepay(cents)
        self._posted_at = case.bench.now
        self._energised_at = case.service.when(True, 60)
        case.until_receipt(case.message_id, 60)

    @keyword
    def the_head_end_sends(self, code: str, **fields: Any) -> None:
        """Ask the ADCS for a message to the meter, for example `LIMIT    limit_w=${5000}`, and wait for its receipt."""
        self._sent.append(self._case.send(MessageCode[code], **fields))

    @keyword
    def the_head_end_schedules_an_event(self) -> None:
        """A prepayment event of two hours, two days from now or after the last one that the meter has."""
        self._sent.append(self._case.send(MessageCode.SCHEDULE, **self._event()))

    def _event(self) -> dict[str, Any]:
        case = self._case
        start: datetime = max([case.bench.now + timedelta(days=2), *(e.ends_at for e in case.meter.schedule())])
        return {
            "event_id": int(start.timestamp()) % 2**16 + 1,
            "starts_at": start,
            "ends_at": start + timedelta(hours=2),
            "credit_wh": 10_000,
            "at_zero": AtZero.DISCONNECT,
        }

    @keyword
    def the_head_end_collects(self) -> None:
        """Have the ADCS collect log, intervals and results from the meter."""
        self._case.collect()

    @keyword
    def a_recording_interval_ends(self) -> None:
        """Let bench time pass until the meter has recorded the interval that is running now."""
        case = self._case
        on_meter = case.bench.now + case.ahead_by()
        mark = _next_mark(on_meter, case.interval)
        case.bench.advance((mark - on_meter).total_seconds() + 2.0)

    # --- the meter -----------------------------------------------------------------------------------------------------

    @keyword
    def display_shows_balance_energy_time_left_and_update(self) -> None:
        """C3-FR-01: equal to what the back office knows; updated when the message was processed."""
        case = self._case
        statement, shown, receipt = case.statement(), case.shown(), case.receipt()
        if statement is None:
            self._judge.check("C3-FR-01", "there is a statement to display", claim=None, expected=True)
            return self._judge.settle()
        left = statement.time_left
        zone = case.bench.config.utility.zone
        expected = {
            DisplayCode.BALANCE: f"${statement.balance_cents / 100:.2f}",
            DisplayCode.CREDIT: f"{statement.credit_wh / 1000:.1f} kWh",
            DisplayCode.TIME_LEFT: f"{left.days} d {left.seconds // 3600:02d} h {left.seconds % 3600 // 60:02d} min",
            DisplayCode.UPDATED: "a receipt"
            if receipt is None
            else f"{receipt.completed_at.astimezone(zone):%Y-%m-%d %H:%M}",
        }
        for code, text in expected.items():
            self._judge.check(
                "C3-FR-01",
                f"the display shows {code.name.lower().replace('_', ' ')}",
                claim=shown.get(code),
                predict=case.should_show(code),
                expected=re.compile(re.escape(text)),
            )
        return self._judge.settle()

    @keyword
    def meter_logs_a_message_with_its_own_time_and_code(self, code: str, **fields: Any) -> None:
        """C3-FR-05: sent now, logged at the meter's own clock with the code of the message."""
        case = self._case
        before = case.meter.clock()
        message_id = case.send(MessageCode[code], **fields)
        after = case.meter.clock()
        entry = case.logged(EventCode.MESSAGE_RECEIVED, message_id)
        should = case.logged(EventCode.MESSAGE_RECEIVED, message_id, case.model)
        self._judge.check(
            "C3-FR-05",
            f"the code of a {code} is logged",
            claim=None if entry is None else entry.message_code,
            predict=case.predict(None if should is None else should.message_code),
            expected=MessageCode[code],
        )
        self._judge.check(
            "C3-FR-05",
            f"a {code} is logged at the meter's own time",
            claim=entry is not None and before <= entry.at <= after,
            predict=case.predict(should is not None and before <= should.at <= after),
            expected=True,
        )
        self._judge.settle()

    @keyword
    def receipt_names_message_meter_and_completion(self) -> None:
        """C3-FR-15: logged, passed to the ADCS, and it says which message, which meter, and when processing ended."""
        case = self._case
        receipt, ahead = case.receipt(), case.ahead_by()
        assert self._posted_at is not None, "the analyzer has to watch the payment first"
        required = ("message_id", "meter_id", "completed_at")
        self._judge.fields("C3-FR-15", "the receipt", required=required, claim=receipt)
        self._judge.check(
            "C3-FR-15",
            "it names the meter",
            claim=None if receipt is None else receipt.meter_id,
            expected=case.meter_id,
        )
        # Processing ends with the service energised, and that the analyzer sees.
        claim = None if receipt is None else (receipt.completed_at - ahead - self._posted_at).total_seconds()
        seen = self._energised_at
        self._judge.check(
            "C3-FR-15",
            "it says when processing was completed",
            claim=claim,
            measure=None if seen is None else (seen - self._posted_at).total_seconds(),
            uncertainty=case.service.moment_uncertainty_s,
            tolerance=0.45,
            unit="s",
            instrument_could_tell=True,
        )
        logged = case.logged(EventCode.RECEIPT_SENT, case.message_id)
        self._judge.check("C3-FR-15", "it is logged", claim=logged is not None, expected=True)
        record = case.sent()
        passed = record is not None and record.receipt_at is not None
        self._judge.check("C3-FR-15", "it has reached the ADCS", claim=passed, expected=True)
        self._judge.settle()

    @keyword
    def meter_records_energy_in_intervals(self) -> None:
        """C3-FR-19: an aligned interval under load: no longer than the limit, its energy as the analyzer measures it."""
        case = self._case
        ahead = case.ahead_by()
        on_meter = case.bench.now + ahead
        mark = _next_mark(on_meter, case.interval)
        case.bench.advance((mark - on_meter).total_seconds())
        end = mark + case.interval
        measured, predicted = case.service.energy(end - ahead)
        # A meter whose intervals are too long gets the time to show one.
        most = self._judge.seconds("C3-FR-19", "interval")
        case.bench.advance(2.0)
        waited = 0.0
        while not (since := [i for i in case.meter.intervals(mark) if i.ends_at > mark]) and waited < 2 * most:
            case.bench.advance(case.interval.total_seconds())
            waited += case.interval.total_seconds()
        hour = [i for i in since if i.ends_at <= end]
        self._judge.check(
            "C3-FR-19",
            "the longest interval",
            claim=max((i.length for i in since), default=None),
            limit="interval",
        )
        share = float(case.pixit("accuracy_class_percent")) / 100
        self._judge.check(
            "C3-FR-19",
            "the energy of an interval",
            claim=sum(i.energy_wh for i in hour) if hour else None,
            measure=measured,
            predict=predicted,
            # Two instruments of known class may differ by both; the analyzer's share is its uncertainty.
            tolerance=share * float(measured.value) + float(measured.uncertainty),  # type: ignore[arg-type]
            unit="Wh",
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def meter_has_logged_every_message_and_receipt(self) -> None:
        """C3-FR-26: whatever the ADCS sent stands in the meter's log, and so does what the meter sent back."""
        case = self._case
        for message_id in self._sent:
            for event in (EventCode.MESSAGE_RECEIVED, EventCode.RECEIPT_SENT):
                entry = case.logged(event, message_id)
                should = case.logged(event, message_id, case.model)
                record = case.sent(message_id)
                code = record.message.code.name
                self._judge.check(
                    "C3-FR-26",
                    f"{event.name.lower().replace('_', ' ')} of a {code} is logged",
                    claim=entry is not None,
                    predict=case.predict(should is not None),
                    expected=True,
                )
        self._judge.settle()

    @keyword
    def command_is_executed_in_time(self, code: str, **fields: Any) -> None:
        """C3-NFR-02: from the request at the ADCS to the execution, as the meter's log and the analyzer have it.

        A limit is below what the load draws: its execution is the trip that the analyzer sees.
        """
        if not self._judge.applicable("C3-NFR-02", "service_switch", system="Meter"):
            return
        case, command = self._case, MessageCode[code]
        ahead = case.ahead_by()
        most_s = self._judge.seconds("C3-NFR-02", "request to execution")
        asked = case.bench.now
        message_id = case.submit(command, **fields)
        self._sent.append(message_id)
        witnesses: dict[str, Any] = {}
        if command is not MessageCode.RESTORE:
            seen = case.service.when(command is MessageCode.CONNECT, most_s + 30)
            uncertainty = case.service.moment_uncertainty_s
            measured = None if seen is None else (seen - asked).total_seconds()
            witnesses["measure"] = Witness.measure(measured, uncertainty, "analyzer")
        case.until_receipt(message_id, most_s + 60)
        for name, who in (("claim", case.meter), ("predict", case.model)):
            found = [e for e in who.log() if e.event is EXECUTION[command] and e.at - ahead >= asked]
            after = (found[0].at - ahead - asked).total_seconds() if found else None
            witnesses[name] = case.predict(after) if name == "predict" else after
        self._judge.check(
            "C3-NFR-02",
            f"{code.lower()} executed",
            system="Meter",
            limit="request to execution",
            unit="s",
            instrument_could_tell="measure" in witnesses,
            **witnesses,
        )
        self._judge.settle()

    @keyword
    def load_stays_on_without_a_limit(self, time: timedelta) -> None:
        """C3-NFR-02: after a restore the load that tripped the limit runs on."""
        if not self._judge.applicable("C3-NFR-02", "service_switch", system="Meter"):
            return
        case = self._case
        case.send(MessageCode.CONNECT)
        case.bench.advance(time.total_seconds())
        self._judge.check(
            "C3-NFR-02",
            "restored: the load that tripped it runs on",
            system="Meter",
            claim=case.meter.service().limit_w is None,
            measure=case.service.flows(),
            predict=case.service.should_flow(),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def display_follows_each_refresh(self, refreshes: int) -> None:
        """C3-FR-02: below the threshold, a refresh every interval, each on the display at once."""
        case = self._case
        threshold = timedelta(hours=self._judge.limit("C3-FR-02", "threshold").value)
        zone = case.bench.config.utility.zone
        for k in range(1, refreshes + 1):
            cents, left = 900 - 10 * k, threshold - timedelta(hours=k)
            message_id = case.send(
                MessageCode.BALANCE,
                balance_cents=cents,
                credit_wh=cents * 40,
                time_left=left,
                zero_at=case.bench.now + left,
            )
            shown, receipt = case.shown(), case.receipt(message_id)
            updated = None if receipt is None else f"{receipt.completed_at.astimezone(zone):%Y-%m-%d %H:%M}"
            expected = {
                DisplayCode.BALANCE: f"${cents / 100:.2f}",
                DisplayCode.CREDIT: f"{cents * 40 / 1000:.1f} kWh",
                DisplayCode.TIME_LEFT: f"{left.days} d {left.seconds // 3600:02d} h {left.seconds % 3600 // 60:02d} min",
                DisplayCode.UPDATED: updated or "a receipt",
            }
            for code, text in expected.items():
                self._judge.check(
                    "C3-FR-02",
                    f"refresh {k}: {code.name.lower().replace('_', ' ')}",
                    claim=shown.get(code),
                    predict=case.should_show(code),
                    expected=text,
                )
            self.a_recording_interval_ends()
        self._judge.settle()

    @keyword
    def meter_converts_to(self, billing: str) -> None:
        """C3-FR-27: between prepaid and regular billing, on request, with the service on throughout."""
        case, wanted = self._case, Billing[billing.upper()]
        case.send(MessageCode.BILLING, billing=wanted)
        self.a_recording_interval_ends()
        self._judge.check(
            "C3-FR-27",
            f"converted to {billing} billing",
            claim=case.meter.service().billing,
            predict=case.predict(case.model.service().billing),
            expected=wanted,
        )
        self._judge.check(
            "C3-FR-27",
            f"the service is on with {billing} billing",
            claim=case.meter.service().energised,
            measure=case.service.flows(),
            predict=case.service.should_flow(),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def command_is_processed_at_once(self, code: str, within: timedelta) -> None:
        """C3-NFR-03: from the moment the meter took the message to its execution, as its log and the analyzer have it."""
        if not self._judge.applicable("C3-NFR-03", "service_switch"):
            return
        case, command = self._case, MessageCode[code]
        ahead, before = case.ahead_by(), len(case.bench.taken)
        message_id = case.submit(command)
        seen = case.service.when(command is MessageCode.CONNECT, 30)
        case.until_receipt(message_id, 60)
        taken = [at for at, name, what, _ in case.bench.taken[before:] if (name, what) == (case.meter_name, "send")]
        executed = [e for e in case.meter.log() if e.event is EXECUTION[command] and taken and e.at - ahead >= taken[0]]
        should = [e for e in case.model.log() if e.event is EXECUTION[command] and taken and e.at - ahead >= taken[0]]
        self._judge.check(
            "C3-NFR-03",
            f"{code.lower()} processed on receipt",
            claim=(executed[0].at - ahead - taken[0]).total_seconds() if executed else None,
            measure=None if seen is None or not taken else (seen - taken[0]).total_seconds(),
            uncertainty=case.service.moment_uncertainty_s,
            predict=case.predict((should[0].at - ahead - taken[0]).total_seconds() if should else None),
            expected=0.0,
            # The analyzer's moment comes with its uncertainty on top.
            tolerance=within.total_seconds() + 2 * case.service.moment_uncertainty_s,
            unit="s",
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def scheduled_event_runs_from_start_to_end(self, lead: timedelta, length: timedelta, within: timedelta) -> None:
        """C3-NFR-03: the service is energised at the event's start and given back at its end."""
        if not self._judge.applicable("C3-NFR-03", "service_switch"):
            return
        case = self._case
        start = case.bench.now + lead
        fields = {**self._event(), "starts_at": start, "ends_at": start + length}
        case.send(MessageCode.SCHEDULE, **fields)
        for what, moment, flowing in (("start", start, True), ("end", start + length, False)):
            case.bench.advance(max(0.0, (moment - case.bench.now).total_seconds() - 1.0))
            seen = case.service.when(flowing, 15)
            self._judge.check(
                "C3-NFR-03",
                f"the event's {what}",
                measure=None if seen is None else (seen - moment).total_seconds(),
                uncertainty=case.service.moment_uncertainty_s,
                predict=case.predict(0.0 if case.service.should_flow().value is flowing else None),
                expected=0.0,
                tolerance=within.total_seconds(),
                unit="s",
                instrument_could_tell=True,
            )
        self._judge.settle()

    # --- the head-end --------------------------------------------------------------------------------------------------

    @keyword
    def adcs_has_passed_on_everything_of_the_meter(self) -> None:
        """C3-FR-12: receipts, log, intervals and test result that the meter holds are with the MDMS."""
        case = self._case
        # What the meter has before the collection has to be there after it.
        result = case.meter.test_result()
        of_meter: dict[str, set[Any]] = {
            "receipt": {r.message_id for r in case.meter.receipts()},
            "log": {e.sequence for e in case.meter.log()},
            "interval": {i.ends_at for i in case.meter.intervals()},
            "test": set() if result is None else {result.message_id},
        }
        case.collect()
        key = {"receipt": "message_id", "log": "sequence", "interval": "ends_at", "test": "message_id"}
        for kind, there in of_meter.items():
            got = {getattr(p.value, key[kind]) for p in case.held(kind)}
            missing = there - got
            self._judge.check(
                "C3-FR-12",
                f"what the meter has of kind {kind} and the MDMS has not",
                claim=len(missing) if there else None,
                expected=0,
            )
        self._judge.settle()

    @keyword
    def adcs_has_logged_every_message_and_receipt(self) -> None:
        """C3-FR-25: whatever the meter says it received and sent stands in the ADCS's log of transactions."""
        case = self._case
        transactions = case.ask(case.adcs.transactions, case.meter_id)
        for message_id in self._sent:
            code = case.sent(message_id).message.code.name
            for direction, event in (
                ("to meter", EventCode.MESSAGE_RECEIVED),
                ("from meter", EventCode.RECEIPT_SENT),
            ):
                if case.logged(event, message_id) is None:
                    continue  # the meter's own log is another requirement's business
                own = [t for t in transactions if t.message_id == message_id and t.direction == direction]
                self._judge.check("C3-FR-25", f"{code} {direction}", claim=bool(own), expected=True)
        self._judge.settle()

    @keyword
    def adcs_receives_logs_and_processes(self, code: str, **fields: Any) -> None:
        """C3-FR-32: a request of another system: logged on receipt, and carried out."""
        case, command = self._case, MessageCode[code]
        if command is MessageCode.SCHEDULE:
            fields = self._event()
        message_id = case.send(command, **fields)
        logged = [r for r in case.ask(case.adcs.requests) if r.message_id == message_id and r.source == "CSS"]
        self._judge.check(
            "C3-FR-32",
            f"the request for a {code} is logged",
            claim=logged[0].code if logged else None,
            expected=command,
        )
        record = case.sent(message_id)
        self._judge.check(
            "C3-FR-32",
            f"the request for a {code} is processed",
            claim=None if record is None else record.receipt_status,
            expected=ReceiptStatus.PROCESSED,
        )
        if command in (MessageCode.CONNECT, MessageCode.DISCONNECT):
            self._judge.check(
                "C3-FR-32",
                f"the {code} is carried out",
                claim=record is not None and record.receipt_status is ReceiptStatus.PROCESSED,
                measure=Witness.measure(case.service.flows().value is (command is MessageCode.CONNECT)),
                predict=case.predict(case.service.should_flow().value is (command is MessageCode.CONNECT)),
                expected=True,
                instrument_could_tell=True,
            )
        self._judge.settle()

    @keyword
    def adcs_passes_receipt_to_mdms_within(self, time: timedelta) -> None:
        """C3-NFR-06: from the receipt at the ADCS to its arrival at the MDMS."""
        case = self._case
        message_id = case.message_id

        def held() -> Any:
            return [p for p in case.mdms.received("receipt", case.meter_id) if p.value.message_id == message_id]

        case.until(lambda: bool(held()), 3600)
        record, got = case.sent(), case.ask(held)
        late = None
        if got and record is not None and record.receipt_at is not None:
            late = (got[0].received_at - record.receipt_at).total_seconds()
        self._judge.check(
            "C3-NFR-06",
            "receipt at the ADCS to MDMS",
            claim=late,
            expected=0.0,
            tolerance=time.total_seconds(),
            unit="s",
        )
        self._judge.settle()

    @keyword
    def adcs_collects_intervals_daily(self) -> None:
        """C3-FR-20: within a day, interval data arrive from the meter without anybody asking."""
        case = self._case
        since = case.bench.now
        case.bench.advance(case.bench.config.parameters.day_s)
        arrivals = {p.received_at for p in case.held("interval") if p.received_at >= since}
        self._judge.check(
            "C3-FR-20", "collections in a day", claim=len(arrivals), limit="collections per day", system="ADCS"
        )
        self._judge.settle()

    @keyword
    def adcs_sends_a_schedule_on_demand(self, within: timedelta) -> None:
        """C3-FR-30: requested now, with the meter at once, beyond the network's own latency."""
        case = self._case
        event = self._event()
        asked = case.bench.now
        message_id = case.submit(MessageCode.SCHEDULE, **event)
        case.until_receipt(message_id, 7200)
        network = case.bench.config.utility.network
        # There and back, after an exchange that was under way.
        latency = 4 * (network.latency_s + network.jitter_s)
        record = case.sent(message_id)
        accepted = None if record is None or record.accepted_at is None else record.accepted_at
        self._judge.check(
            "C3-FR-30",
            "request to acceptance by the meter",
            claim=None if accepted is None else (accepted - asked).total_seconds(),
            expected=0.0,
            tolerance=latency + within.total_seconds(),
            unit="s",
        )
        held = [e for e in case.meter.schedule() if e.event_id == event["event_id"]]
        self._judge.check("C3-FR-30", "the meter has the event", claim=bool(held), expected=True)
        self._judge.settle()

    # --- the meter data management system --------------------------------------------------------------------------------

    @keyword
    def mdms_makes_everything_available(self) -> None:
        """C3-FR-31: what it has logged of every kind can be read by other systems."""
        case, mdms = self._case, self._case.mdms
        for kind, available in (
            ("receipt", mdms.receipts),
            ("interval", mdms.intervals),
            ("log", mdms.logs),
            ("test", mdms.test_results),
            ("schedule", mdms.schedules),
            ("balance", mdms.balances),
        ):
            there = len(case.ask(available, case.meter_id))
            # Of schedules those count that the meter still holds.
            logged = len(case.meter.schedule() if kind == "schedule" else case.held(kind))
            self._judge.check(
                "C3-FR-31", f"{kind}: available of {logged} logged", claim=there if logged else None, expected=logged
            )
        self._judge.settle()

    @keyword
    def mdms_makes_data_available_within(self, time: timedelta) -> None:
        """C3-NFR-07: from reception to availability, for whatever came in since the service was prepaid."""
        case = self._case
        worst = max(
            ((p.available_at - p.received_at).total_seconds() for kind in ("receipt", "log") for p in case.held(kind)),
            default=None,
        )
        self._judge.check(
            "C3-NFR-07",
            "reception to availability, the slowest",
            claim=worst,
            expected=0.0,
            tolerance=time.total_seconds(),
            unit="s",
        )
        there = [p for p in case.ask(case.mdms.receipts, case.meter_id) if p.value.message_id == case.message_id]
        self._judge.check("C3-NFR-07", "the receipt can be read", claim=bool(there), expected=True)
        self._judge.settle()

    # --- payments ------------------------------------------------------------------------------------------------------

    @keyword
    def every_payment_option_is_taken(self, cents: int) -> None:
        """C3-BR-01: each of the utility's current ways to pay replenishes the balance."""
        case = self._case
        case.request()
        case.identify()
        for method in PaymentMethod:
            before = case.balance_cents()
            with suppress(NotAccepted):
                case.pay(cents, method, payment_id=f"{method.value}-{case.request_id}")
            self._judge.check(
                "C3-BR-01",
                f"paid by {method.value.replace('_', ' ')}",
                system="CSS",
                claim=case.balance_cents() - before,
                expected=cents,
                unit="cent",
            )
        case.until_receipt(case.message_id, 120)
        self._judge.settle()

    @keyword
    def meter_takes_no_payment(self, cents: int) -> None:
        """C3-BR-01: credit offered at the meter itself is refused and changes nothing."""
        case = self._case
        before, refused = case.meter.account().balance_cents, False
        try:
            case.meter.add_credit(cents)
        except Refused:
            refused = True
        self._judge.check("C3-BR-01", "credit at the meter is refused", system="Meter", claim=refused, expected=True)
        self._judge.check(
            "C3-BR-01",
            "the meter's balance stays",
            system="Meter",
            claim=case.meter.account().balance_cents,
            expected=before,
            unit="cent",
        )
        self._judge.settle()

    @keyword
    def payments_below_the_minimum_are_refused(self) -> None:
        """C3-BR-02: a cent less than the utility's minimum, nothing, and less than nothing; the minimum itself is taken."""
        case = self._case
        case.request()
        case.identify()
        minimum = int(case.bench.pics()["CSS"].value("minimum_payment_cents"))
        for cents, taken in ((minimum - 1, False), (0, False), (-minimum, False), (minimum, True)):
            before, refused = case.balance_cents(), False
            try:
                case.pay(cents, PaymentMethod.CARD, payment_id=f"{cents}-{case.request_id}")
            except NotAccepted:
                refused = True
            self._judge.check(
                "C3-BR-02",
                f"a payment of {cents} cents is {'taken' if taken else 'refused'}",
                system="CSS",
                claim=not refused and case.balance_cents() == before + cents,
                expected=taken,
            )
            self._judge.check(
                "C3-BR-02",
                f"after {cents} cents the balance is right",
                system="CSS",
                claim=case.balance_cents(),
                expected=before + (cents if taken else 0),
                unit="cent",
            )
        self._judge.settle()


def _next_mark(now: datetime, interval: timedelta) -> datetime:
    """The next moment that is a whole number of intervals into its day."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + ((now - day) // interval + 1) * interval
