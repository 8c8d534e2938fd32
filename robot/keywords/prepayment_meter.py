"""Keywords of what prepayment asks of the meter: its display, log, receipts, intervals, billing and service."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from robot.api.deco import keyword, library

from bench import displayed
from bench.judge.witness import NOTHING, Witness
from bench.keywords import PrepaymentKeywords
from bench.prepaying import next_mark
from drivers.roles import Billing, DisplayCode, EventCode, MessageCode

EXECUTION = {
    MessageCode.CONNECT: EventCode.SWITCH_CLOSED,
    MessageCode.DISCONNECT: EventCode.SWITCH_OPENED,
    MessageCode.LIMIT: EventCode.LIMIT_SET,
    MessageCode.RESTORE: EventCode.LIMIT_CLEARED,
}
"""What a meter logs when it has executed a command."""

_LIVED_TWICE = 3
"""By so many intervals at most a test sets a meter's clock back."""


@library(scope="TEST")
class prepayment_meter(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The meter's part in prepayment. `meter` names the meter under test in the bench file."""

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
    def a_recording_interval_ends(self) -> None:
        """Let bench time pass until the meter has recorded the interval that is running now."""
        case = self._case
        on_meter = case.bench.now + case.ahead_by()
        mark = next_mark(on_meter, case.interval)
        case.bench.advance((mark - on_meter).total_seconds() + 2.0)

    # --- checking ------------------------------------------------------------------------------------------------------

    @keyword
    def display_shows_balance_energy_time_left_and_update(self) -> None:
        """C3-FR-01: equal to what the back office knows; updated when the message was processed."""
        case = self._case
        statement = case.statement()
        if statement is None:
            self._judge.check("C3-FR-01", "there is a statement to display", claim=None, expected=True)
            return self._judge.settle()
        account = displayed.account(statement.balance_cents, statement.credit_wh, statement.time_left)
        expected = {**account, DisplayCode.UPDATED: self._updated(case.message_id)}
        patterns = {code: re.compile(re.escape(text)) for code, text in expected.items()}
        shown = self._check_shown("C3-FR-01", "the display shows", patterns)
        self._check_left_on_meter("C3-FR-01", "by price and history the", case.balance_cents(), shown)
        return self._judge.settle()

    def _updated(self, message_id: int) -> str:
        """When the display has to say that it was updated: with the receipt of a message."""
        receipt = self._case.receipt(message_id)
        if receipt is None:
            return "a receipt"
        return f"{receipt.completed_at.astimezone(self._case.bench.config.utility.zone):%Y-%m-%d %H:%M}"

    @keyword
    def display_follows_each_refresh(self, refreshes: int) -> None:
        """C3-FR-02: below the threshold, a refresh every interval, each on the display at once."""
        case = self._case
        threshold = timedelta(hours=self._judge.limit("C3-FR-02", "threshold").value)
        for k in range(1, refreshes + 1):
            cents, left = 900 - 10 * k, threshold - timedelta(hours=k)
            message = case.balance_message(cents, left)
            message_id = case.send(MessageCode.BALANCE, **message)
            account = displayed.account(cents, message["credit_wh"], left)
            self._check_shown("C3-FR-02", f"refresh {k}:", {**account, DisplayCode.UPDATED: self._updated(message_id)})
            self.a_recording_interval_ends()
        self._judge.settle()

    @keyword
    def meter_logs_a_message_with_its_own_time_and_code(self, code: str, **fields: Any) -> None:
        """C3-FR-05: sent now, logged at the meter's own clock with the code of the message.

        A `BALANCE` or a `PREPAYMENT` is of `cents`, `BILLING` is `prepaid` or `regular`; a `SCHEDULE` is of some event.
        """
        case, cents = self._case, fields.pop("cents", None)
        if cents is not None:
            fields |= case.balance_message(cents, timedelta(hours=72))
        if code == "SCHEDULE":
            fields |= case.event()
        if code == "BILLING":
            fields["billing"] = Billing[str(fields["billing"]).upper()]
        if code == "PREPAYMENT":
            price = case.bench.config.utility.tariff.price_millicents_per_kwh
            fields |= {"price_millicents_per_kwh": price, "at_zero": case.option}
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
        assert case.posted_at is not None, "the analyzer has to watch the payment first"
        required = ("message_id", "meter_id", "completed_at")
        self._judge.fields("C3-FR-15", "the receipt", required=required, claim=receipt)
        self._judge.check(
            "C3-FR-15",
            "it names the meter",
            claim=None if receipt is None else receipt.meter_id,
            expected=case.meter_id,
        )
        # Processing ends with the service energised, and that the analyzer sees.
        claim = None if receipt is None else (receipt.completed_at - ahead - case.posted_at).total_seconds()
        seen = case.energised_at
        modelled = [r.completed_at for r in case.model.receipts() if r.message_id == case.message_id]
        should = (modelled[-1] - ahead - case.posted_at).total_seconds() if modelled else None
        self._judge.check(
            "C3-FR-15",
            "it says when processing was completed",
            claim=claim,
            predict=case.predict(should),
            measure=None if seen is None else (seen - case.posted_at).total_seconds(),
            uncertainty=case.service.moment_uncertainty_s,
            tolerance=float(case.pixit("completion_within_s")),
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
        mark = next_mark(on_meter, case.interval)
        # Where its clock was set back it lives some time twice, and adds up the energy: the first interval that is not so.
        lived = [i.ends_at for i in case.meter.intervals(mark) if i.ends_at <= mark + _LIVED_TWICE * case.interval]
        mark = max([mark, *lived])
        case.bench.advance(max(0.0, (mark - ahead - case.bench.now).total_seconds()))
        end = mark + case.interval
        measured, predicted = case.service.energy(end - ahead, since=mark - ahead)
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
        wh = sum(i.energy_wh for i in hour) if hour else None
        self._check_energy("C3-FR-19", "the energy of an interval", wh, measured, predicted)
        self._judge.settle()

    @keyword
    def meter_has_logged_every_message_and_receipt(self) -> None:
        """C3-FR-26: whatever the ADCS sent stands in the meter's log, and so does what the meter sent back."""
        case = self._case
        for message_id in case.asked:
            self._check_logged("C3-FR-26", message_id, f" of a {case.sent(message_id).message.code.name}")
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
        energised = case.meter.service().energised
        self._check_flow("C3-FR-27", f"the service is on with {billing} billing", claim=energised)
        self._judge.settle()

    @keyword
    def command_is_executed_in_time(self, code: str, **fields: Any) -> None:
        """C3-NFR-02: sent by the ADCS on the request, and executed within the limit of that, as the meter's log and the analyzer
        have it. What the ADCS makes it wait is not the meter's.

        What a limit and a restore do shows in the load later: see `load_trips_on_the_limit`, `load_stays_on_without_a_limit`.
        """
        if not self._judge.applicable("C3-NFR-02", "service_switch", system="Meter"):
            return
        case, command = self._case, MessageCode[code]
        ahead = case.ahead_by()
        most_s = self._judge.seconds("C3-NFR-02", "request to execution")
        asked = case.bench.now
        message_id = case.submit(command, **fields)
        case.asked.append(message_id)
        witnesses: dict[str, Any] = {}
        seen = None
        if command in (MessageCode.CONNECT, MessageCode.DISCONNECT):
            seen = case.service.when(command is MessageCode.CONNECT, 2 * most_s + 30, since=asked)
        case.until_receipt(message_id, most_s + 60)
        taken = self._check_sent_on_request(code, message_id, asked)
        latency = timedelta(seconds=float(case.stated("network_latency_s")))
        asked = max(asked, taken - latency) if taken is not None else asked
        if command in (MessageCode.CONNECT, MessageCode.DISCONNECT):
            uncertainty = case.service.moment_uncertainty_s
            measured = None if seen is None else (seen - asked).total_seconds()
            witnesses["measure"] = Witness.measure(measured, uncertainty, "analyzer")
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

    def _check_sent_on_request(self, code: str, message_id: int, asked: datetime) -> datetime | None:
        """C3-NFR-02: the ADCS sends a command at once, by its own log, and by when the meter took it; that moment."""
        case, record = self._case, self._case.sent(message_id)
        taken = case.taken_at(message_id)
        sent = None if record is None else record.first_sent_at
        self._judge.check(
            "C3-NFR-02",
            f"{code.lower()} sent on the request",
            system="ADCS",
            claim=None if sent is None else (sent - asked).total_seconds(),
            measure=Witness.measure((taken[0] - asked).total_seconds() if taken else None, 0.0, "bench"),
            limit=self._judge.limit("C3-FR-30", "at once").wider(float(case.stated("network_latency_s"))),
            unit="s",
            instrument_could_tell=True,
        )
        return taken[0] if taken else None

    @keyword
    def load_trips_on_the_limit(self, within: timedelta) -> None:
        """C3-NFR-02: the limit is below what the load draws, and the analyzer sees that it holds."""
        if not self._judge.applicable("C3-NFR-02", "service_switch", system="Meter"):
            return
        case = self._case
        case.service.when(False, within.total_seconds())
        self._judge.check(
            "C3-NFR-02",
            "limited: the load that is above it trips",
            system="Meter",
            measure=case.service.flows(),
            predict=case.service.should_flow(),
            expected=False,
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
        unlimited = case.meter.service().limit_w is None
        self._check_flow("C3-NFR-02", "restored: the load that tripped it runs on", system="Meter", claim=unlimited)
        self._judge.settle()

    @keyword
    def command_is_processed_at_once(self, code: str, **fields: Any) -> None:
        """C3-NFR-03: from the moment the meter took the message to its execution, as its log and the analyzer have it. A limit
        has to be below what the load draws: the analyzer sees that it trips when the model's does. A restore has to follow."""
        if not self._judge.applicable("C3-NFR-03", "service_switch"):
            return
        case, command = self._case, MessageCode[code]
        case.until_quiet(120)  # what the utility sends meanwhile would be processed first
        ahead, asked = case.ahead_by(), case.bench.now
        message_id, limits = case.submit(command, **fields), command is MessageCode.LIMIT
        flows = command in (MessageCode.CONNECT, MessageCode.RESTORE)
        seen = case.service.when(flows, 60 if limits else 30, since=asked)
        case.until_receipt(message_id, 60)
        taken = case.taken_at(message_id)
        seen_after = None if seen is None or not taken else (seen - taken[0]).total_seconds()
        uncertainty = case.service.moment_uncertainty_s
        # Since it was asked for: the moment at which it was taken is known a little too late on real time.
        executed = [e for e in case.meter.log() if e.event is EXECUTION[command] and taken and e.at - ahead >= asked]
        should = [e for e in case.model.log() if e.event is EXECUTION[command] and taken and e.at - ahead >= asked]
        self._judge.check(
            "C3-NFR-03",
            f"{code.lower()} processed on receipt",
            claim=(executed[0].at - ahead - taken[0]).total_seconds() if executed else None,
            measure=NOTHING if limits else Witness.measure(seen_after, uncertainty, "analyzer"),
            predict=case.predict((should[0].at - ahead - taken[0]).total_seconds() if should else None),
            limit="at once",
            unit="s",
            instrument_could_tell=not limits,
        )
        if limits:
            tripped = EventCode.LIMIT_TRIPPED
            trips = [e for e in case.model.log() if e.event is tripped and taken and e.at - ahead >= taken[0]]
            expected = (trips[0].at - ahead - taken[0]).total_seconds() if trips else 0.0
            self._judge.check(
                "C3-NFR-03",
                "the load above the limit trips when the model's does",
                measure=Witness.measure(seen_after, uncertainty, "analyzer"),
                predict=case.predict(expected if trips else None),
                expected=expected,
                tolerance=self._judge.limit("C3-NFR-03", "at once").tolerance,
                unit="s",
                instrument_could_tell=True,
            )
        self._judge.settle()

    @keyword
    def scheduled_event_runs_from_start_to_end(self, lead: timedelta, length: timedelta) -> None:
        """C3-NFR-03: the service is energised at the event's start and given back at its end."""
        if not self._judge.applicable("C3-NFR-03", "service_switch"):
            return
        case = self._case
        start = case.bench.now + lead
        fields = {**case.event(), "starts_at": start, "ends_at": start + length}
        case.send(MessageCode.SCHEDULE, **fields)
        for what, moment, flowing in (("start", start, True), ("end", start + length, False)):
            case.bench.advance(max(0.0, (moment - case.bench.now).total_seconds() - 1.0))
            seen = case.service.when(flowing, 15, since=moment)
            self._judge.check(
                "C3-NFR-03",
                f"the event's {what}",
                measure=None if seen is None else (seen - moment).total_seconds(),
                uncertainty=case.service.moment_uncertainty_s,
                predict=case.predict(0.0 if case.service.should_flow().value is flowing else None),
                limit="at once",
                unit="s",
                instrument_could_tell=True,
            )
        self._judge.settle()
