"""Keywords of what prepayment asks of the head-end: it logs, passes on, collects, and sends on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robot.api.deco import keyword, library

from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from drivers.roles import EventCode, MessageCode, ReceiptStatus
from twins.utility.adcs_alerts import AlertRequest


@library(scope="TEST")
class prepayment_head_end(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The head-end's part in prepayment. `meter` names the meter under test in the bench file."""

    # --- preparing -----------------------------------------------------------------------------------------------------

    @keyword
    def the_head_end_sends(self, code: str, **fields: Any) -> None:
        """Ask the ADCS for a message to the meter, for example `LIMIT    limit_w=${5000}`, and wait for its receipt."""
        self._case.asked.append(self._case.send(MessageCode[code], **fields))

    @keyword
    def the_head_end_schedules_an_event(self) -> None:
        """A prepayment event of two hours, two days from now or after the last one that the meter has."""
        self._case.asked.append(self._case.send(MessageCode.SCHEDULE, **self._case.event()))

    @keyword
    def the_head_end_alerts(self, text: str) -> None:
        """Ask the ADCS for an alert to the meter, a single time, and wait for its receipt."""
        case = self._case
        alert_id = case.ask(case.adcs.alerts.request, AlertRequest("CSS", case.meter_id, text, once=True))

        def sent() -> int:
            return next(
                int(a.last_message_id or 0) for a in case.adcs.alerts.all(case.meter_id) if a.alert_id == alert_id
            )

        case.until(lambda: sent() > 0, 120)
        message_id = case.ask(sent)
        case.until_receipt(message_id, 120)
        case.asked.append(message_id)

    @keyword
    def the_head_end_collects(self) -> None:
        """Have the ADCS collect log, intervals and results from the meter."""
        self._case.collect()

    # --- checking ------------------------------------------------------------------------------------------------------

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
        for message_id in case.asked:
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
            fields = case.event()
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
    def adcs_passes_receipt_to_mdms_within(self, limit: str) -> None:
        """C3-NFR-06: from the receipt at the ADCS to its arrival at the MDMS; `limit` is the requirement's, by name."""
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
            limit=limit,
            unit="s",
        )
        self._judge.settle()

    @keyword
    def adcs_passes_test_results_to_mdms_within(self, limit: str) -> None:
        """C3-NFR-06: from the results of a meter test at the ADCS to their arrival at the MDMS; `limit` is the requirement's."""
        message_id = self._case.send(MessageCode.TEST)
        self._check_passed_on("test", "test result", limit, lambda p: p.value.message_id == message_id, message_id)

    @keyword
    def adcs_passes_usage_to_mdms_within(self, limit: str) -> None:
        """C3-NFR-06: from the last interval's usage at the ADCS to its arrival at the MDMS; `limit` is the requirement's."""
        case = self._case
        last = case.meter.intervals()[-1].ends_at
        case.collect()
        self._check_passed_on("interval", "intervals", limit, lambda p: p.value.ends_at == last)

    def _check_passed_on(
        self, kind: str, read: str, limit: str, wanted: Callable[[Any], bool], message_id: int | None = None
    ) -> None:
        """Something of a kind at the MDMS, against the last time that the ADCS logged to have `read` it from the meter."""
        case = self._case

        def held() -> list[Any]:
            return [p for p in case.mdms.received(kind, case.meter_id) if wanted(p)]

        case.until(lambda: bool(held()), 3600)
        got = case.ask(held)
        reads = [
            t.at
            for t in case.ask(case.adcs.transactions, case.meter_id)
            if t.kind == read and t.message_id == message_id and (not got or t.at <= got[0].received_at)
        ]
        self._judge.check(
            "C3-NFR-06",
            f"{kind} at the ADCS to MDMS",
            claim=(got[0].received_at - reads[-1]).total_seconds() if got and reads else None,
            limit=limit,
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
    def adcs_sends_a_schedule_on_demand(self) -> None:
        """C3-FR-30: requested now, with the meter at once, beyond the network's own latency."""
        case = self._case
        event = case.event()
        asked = case.bench.now
        message_id = case.submit(MessageCode.SCHEDULE, **event)
        case.until_receipt(message_id, 7200)
        record = case.sent(message_id)
        accepted = None if record is None or record.accepted_at is None else record.accepted_at
        self._judge.check(
            "C3-FR-30",
            "request to acceptance by the meter",
            claim=None if accepted is None else (accepted - asked).total_seconds(),
            limit=self._judge.limit("C3-FR-30", "at once").wider(float(case.stated("network_latency_s"))),
            unit="s",
        )
        held = [e for e in case.meter.schedule() if e.event_id == event["event_id"]]
        self._judge.check("C3-FR-30", "the meter has the event", claim=bool(held), expected=True)
        self._judge.settle()
