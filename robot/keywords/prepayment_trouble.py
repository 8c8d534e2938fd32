"""Keywords of scenario 6, a customer who has prepaid and has no power, and of monthly billing: step by step."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.trouble import NoPowerCase
from bench.web_trouble import OutageDesk
from drivers.roles import AtZero, Billing, EventCode, MessageCode, Switch

RESULTS = ("connected", "switch", "energised", "load_side_voltage_v", "load_side_current_a")


@library(scope="TEST")
class prepayment_trouble(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """No power at a prepaid site. `meter` and `relay` name devices of the bench file."""

    def __init__(self, meter: str = "meter", relay: str = "relay") -> None:
        super().__init__(meter)
        self._relay = relay
        self._test_id = 0

    @cached_property
    def _case(self) -> NoPowerCase:
        return NoPowerCase(session().bench, self._meter, self._relay)

    @cached_property
    def _desk(self) -> OutageDesk:
        return OutageDesk(self._case, session().browsing)

    # --- what has happened ---------------------------------------------------------------------------------------------

    @keyword
    def the_service_was_prepaid_and_is_off(self, cents: int) -> None:
        """The prepayment was processed, and afterwards the switch was opened at the meter without a message."""
        self._case.prepay(cents)
        self._case.until_receipt(self._case.message_id, 60)
        self._case.open_switch()

    @keyword
    def the_feed_of_the_house_is_cut(self) -> None:
        """A relay of the bench opens between the meter's load side and the load."""
        self._case.cut_feed()

    @keyword
    def the_line_to_the_meter_is_cut(self) -> None:
        """The meter is no longer reached by the AMI network."""
        self._case.cut_line()

    @keyword
    def the_faults_are_mended(self) -> None:
        """Feed and line are whole again, for whatever comes next."""
        self._case.mend()

    # --- the report ------------------------------------------------------------------------------------------------------

    @keyword
    def customer_reports_no_power(self) -> None:
        """C3-S6.01: by phone; the report is logged with what the customer says (C3-MSG-18)."""
        case = self._case
        case.report = self._desk.log("No power in the whole house", case.bench.now) or 0
        self._judge.acted("C3-S6.01", "the customer reports no power")
        self._judge.fields(
            "C3-MSG-18",
            "the report as logged",
            system="CSS",
            required=("account_number", "name", "address", "since", "text", "credentials_presented"),
            claim=self._desk.report(case.report),
        )
        self._judge.check(
            "C3-MSG-18",
            "there is no power at the customer's",
            system="CSS",
            claim=bool(case.report),
            measure=Witness.measure(not case.service.flows().value, None, "analyzer"),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def representative_verifies_the_identity(self) -> None:
        """C3-S6.02: somebody else is refused, the customer's data come back on the representative's page (C3-MSG-02)."""
        case = self._case
        refused = self._desk.identify(case.report, "somebody else's word") is None
        data = self._desk.identify(case.report, case.customer.credential)
        self._judge.acted("C3-S6.02", "the representative verifies the identity")
        self._judge.check("C3-S6.02", "wrong credentials are refused", system="CSS", claim=refused, expected=True)
        self._judge.check(
            "C3-S6.02",
            "the customer is the one who reports",
            system="CSS",
            claim=None if data is None else data.name,
            expected=case.customer.name,
        )
        self._judge.fields(
            "C3-MSG-02",
            "customer data back",
            system="CSS",
            required=("account_numbers", "name", "address", "credentials_confirmed"),
            claim=data,
        )
        self._judge.settle()

    @keyword
    def representative_verifies_prepayment_and_activation(self) -> None:
        """C3-S6.03: the amount, and the command to energise that was sent for it (C3-MSG-19)."""
        case = self._case
        record = self._desk.service_record(case.report)
        self._judge.acted("C3-S6.03", "the representative looks up prepayment and command")
        for what, claim, expected in (
            ("the amount prepaid", getattr(record, "amount_cents", None), case.posting.amount_cents),
            ("the command to energise", getattr(record, "message_id", None), case.message_id),
            ("it was sent", getattr(record, "activation_sent", None), True),
        ):
            self._judge.check("C3-S6.03", what, system="CSS", claim=claim, expected=expected)
        self._judge.fields(
            "C3-MSG-19",
            "what was prepaid and sent",
            system="CSS",
            required=("amount_cents", "activation", "message_id", "sent_at"),
            claim=record,
        )
        self._judge.settle()

    # --- the test ----------------------------------------------------------------------------------------------------------

    @keyword
    def representative_has_the_meter_tested(self) -> None:
        """C3-S6.04: the ADCS sends the test that the CSS commands (C3-MSG-20)."""
        case = self._case
        self._test_id = self._desk.test(case.report) or 0
        case.until_decided(1)
        commands = case.ask(case.css.commands, case.account.number)
        commanded = [c.code for c in commands if c.message_id == self._test_id]
        self._judge.check(
            "C3-MSG-20",
            "the CSS commands the test",
            system="CSS",
            claim=commanded[0] if commanded else None,
            expected=MessageCode.TEST,
        )
        sent = [
            t.code
            for t in case.ask(case.adcs.transactions, case.meter_id)
            if t.message_id == self._test_id and t.direction == "to meter"
        ]
        for id_ in ("C3-S6.04", "C3-MSG-20"):
            self._judge.check(
                id_,
                "the ADCS sends the test to the meter",
                system="ADCS",
                claim=sent[0] if sent else None,
                expected=MessageCode.TEST,
            )
        self._judge.settle()

    @keyword
    def meter_processes_the_test_and_returns_results(self) -> None:
        """C3-S6.05: logged, and the results are what the analyzer measures at the load side."""
        case = self._case
        self._check_logged("C3-S6.05", self._test_id)
        result = case.meter.test_result()
        own = result if result is not None and result.message_id == self._test_id else None
        self._judge.check(
            "C3-S6.05",
            "the switch",
            claim=None if own is None else own.switch,
            predict=case.predict(case.model.service().switch),
            expected=Switch.OPEN,
        )
        self._held_against_the_analyzer("C3-S6.05", own)
        self._judge.settle()

    def _held_against_the_analyzer(self, id_: str, result: Any, system: str = "Meter") -> None:
        case = self._case
        volts, amperes = case.load_side()
        share = float(case.pixit("test_accuracy_percent")) / 100
        nominal_v, test_a = float(case.pixit("nominal_voltage_v")), float(case.pixit("test_current_a"))
        self._judge.check(
            id_,
            "energised",
            system=system,
            claim=None if result is None else result.energised,
            measure=Witness.measure(bool(volts.value > nominal_v / 2), None, "analyzer", volts.doubt),
            instrument_could_tell=True,
        )
        for what, claim, measured, nominal, unit in (
            ("load-side voltage", getattr(result, "load_side_voltage_v", None), volts, nominal_v, "V"),
            ("load-side current", getattr(result, "load_side_current_a", None), amperes, test_a, "A"),
        ):
            self._judge.check(
                id_,
                what,
                system=system,
                claim=claim,
                measure=measured,
                tolerance=share * nominal,
                unit=unit,
                instrument_could_tell=True,
            )

    @keyword
    def adcs_passes_the_results_to_the_mdms(self) -> None:
        """C3-S6.06: logged at the ADCS, and with the MDMS."""
        case = self._case
        logged = [t for t in case.ask(case.adcs.tests.tests, case.meter_id) if t.message_id == self._test_id]
        self._judge.check(
            "C3-S6.06",
            "the ADCS has logged the results",
            claim=bool(logged) and logged[0].result is not None,
            expected=True,
        )
        got = case.passed_on("test", self._test_id)
        self._judge.check("C3-S6.06", "the MDMS has got the results", claim=got, expected=True)
        self._judge.settle()

    @keyword
    def mdms_makes_the_results_available(self) -> None:
        """C3-S6.07: logged, and to be read by the CSS and others."""
        case = self._case
        there = [p for p in case.ask(case.mdms.test_results, case.meter_id) if p.value.message_id == self._test_id]
        self._judge.check("C3-S6.07", "the results are available", claim=bool(there), expected=True)
        self._judge.settle()

    @keyword
    def representative_sees_the_results(self, passed: bool) -> None:
        """C3-S6.08: in the CSS, all of them (C3-MSG-21), and what they come to."""
        test = self._check(self._test_id)
        self._judge.acted("C3-S6.08", "the representative looks at the results")
        self._judge.check(
            "C3-S6.08",
            f"the test has {'passed' if passed else 'failed'}",
            system="CSS",
            claim=None if test is None else test.passed,
            expected=passed,
        )
        if passed:
            result = None if test is None else test.result
            self._judge.fields("C3-S6.08", "the results shown", system="CSS", required=RESULTS, claim=result)
            self._check_results_borne(result)
        self._judge.settle()

    def _check_results_borne(self, at_css: Any) -> None:
        """C3-MSG-21: as the meter has them, and then as far as they have come: nobody answers for what has not reached them."""
        case = self._case
        passed, available = (
            [p.value for p in found if p.value.message_id == self._test_id]
            for found in (case.held("test"), case.ask(case.mdms.test_results, case.meter_id))
        )
        for system, what, result in (
            ("Meter", "the results at the meter", case.meter.test_result()),
            ("ADCS", "the results as the ADCS has passed them on", passed[0] if passed else None),
            ("MDMS", "the results as the MDMS makes them available", available[0] if available else None),
            ("CSS", "the results at the CSS", at_css),
        ):
            self._judge.fields("C3-MSG-21", what, system=system, required=RESULTS, claim=result)
            if result is None:
                return

    def _check(self, message_id: int) -> Any:
        case = self._case
        found = [c for c in self._desk.checks(case.report) if c.message_id == message_id and message_id]
        return found[0] if found else None

    # --- what follows ------------------------------------------------------------------------------------------------------

    @keyword
    def representative_activates_the_service_again(self) -> None:
        """C3-S6.09: through CSS and ADCS (C3-MSG-22), with the energy credit (C3-MSG-08); the meter confirms it (C3-MSG-10),
        and power is at its load side."""
        case = self._case
        message_id = self._desk.activate(case.report) or 0
        case.until_decided(3)
        self._judge.acted("C3-S6.09", "the representative sends the command to activate")
        commands = case.ask(case.css.commands, case.account.number)
        for id_ in ("C3-S6.09", "C3-MSG-22"):
            self._judge.check(
                id_,
                "the CSS commands the activation",
                system="CSS",
                claim=message_id in [c.message_id for c in commands],
                expected=True,
            )
        self._judge.check(
            "C3-S6.09",
            "the meter confirms the activation",
            system="CSS",
            claim=getattr(self._check(message_id), "passed", None),
            expected=True,
        )
        self._check_prepayment_sent(message_id)
        self._check_receipt_passed(message_id)
        volts, _ = case.load_side()
        self._judge.check(
            "C3-S6.09",
            "there is voltage at the load side",
            system="Meter",
            claim=case.meter.service().energised,
            measure=Witness.measure(
                bool(volts.value > float(case.pixit("nominal_voltage_v")) / 2), None, "analyzer", volts.doubt
            ),
            predict=case.predict(case.model.service().energised),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def power_is_restored_and_no_order_is_issued(self) -> None:
        """C3-S6.09, C3-S6.10: current flows at the load side, the customer says so, and nobody is sent out."""
        case = self._case
        claim = case.meter.service().load_side_current_a > 0
        self._check_flow("C3-S6.09", "power is restored", system="Meter", claim=claim)
        closed = self._desk.restored(case.report)
        orders = self._desk.orders(case.report)
        self._judge.acted("C3-S6.10", "the customer has power again")
        self._judge.check("C3-S6.10", "no order is issued", system="CSS", claim=len(orders), expected=0)
        self._judge.check(
            "C3-S6.10",
            "the report is closed",
            system="CSS",
            claim=None if closed is None else closed.state,
            expected="restored",
        )
        self._judge.settle()

    @keyword
    def customer_still_has_no_power(self) -> None:
        """C3-S6.10: the analyzer sees no current, and the customer says so."""
        case = self._case
        self._judge.check(
            "C3-S6.10",
            "there is no power in the house",
            system="CSS",
            claim=self._desk.still_no_power(case.report) is not None,
            measure=Witness.measure(not case.service.flows().value, None, "analyzer"),
            expected=True,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def orders_are_issued_automatically(self) -> None:
        """C3-S6.10: a field order to activate the service and a trouble order for the meter, one each (C3-MSG-22)."""
        case = self._case
        orders = self._desk.orders(case.report)
        self._judge.acted("C3-S6.10", "nobody asks for the orders")
        for id_ in ("C3-S6.10", "C3-MSG-22"):
            for kind in ("field", "trouble"):
                own = [o for o in orders if o.kind == kind]
                self._judge.check(id_, f"{kind} orders", system="CSS", claim=len(own), expected=1)
                self._judge.fields(
                    id_,
                    f"the {kind} order",
                    system="CSS",
                    required=("account_number", "meter_id", "address", "issued_at", "history"),
                    claim=own[0] if own else None,
                )
        report = self._desk.report(case.report)
        open_still = report is not None and report.closed_at is None
        self._judge.check("C3-S6.10", "the report stays open", system="CSS", claim=open_still, expected=True)
        self._judge.settle()

    # --- requirements --------------------------------------------------------------------------------------------------------

    @keyword
    def adcs_tests_the_meter_on_demand(self, switch: str) -> None:
        """C3-FR-13: with the switch `OPEN` or `CLOSED`: connection, energised state, load-side voltage, switch position."""
        case, position = self._case, Switch[switch]
        case.send(MessageCode.CONNECT if position is Switch.CLOSED else MessageCode.DISCONNECT)
        test = case.until_result(case.submit(MessageCode.TEST))
        result = None if test is None else test.result
        self._judge.fields("C3-FR-13", f"results with the switch {switch}", required=RESULTS[:4], claim=result)
        for what, claim, expected in (
            ("connection", getattr(result, "connected", None), True),
            ("switch position", getattr(result, "switch", None), position),
        ):
            self._judge.check("C3-FR-13", f"{what} with the switch {switch}", claim=claim, expected=expected)
        self._held_against_the_analyzer("C3-FR-13", result, "ADCS")
        self._judge.settle()

    @keyword
    def test_results_are_in_time(self) -> None:
        """C3-NFR-14: from the request at the ADCS to the results there; and to the end of the test at the meter."""
        case = self._case
        asked, ahead = case.bench.now, case.ahead_by()
        message_id = case.submit(MessageCode.TEST)
        test = case.until_result(message_id)
        self._judge.check(
            "C3-NFR-14",
            "results at the ADCS",
            system="ADCS",
            claim=None if test is None else (test.received_at - asked).total_seconds(),
            limit="request to results",
            unit="s",
        )
        ended = [
            None if r is None else (r.completed_at - ahead - asked).total_seconds()
            for r in (case.receipt(message_id), *[r for r in case.model.receipts() if r.message_id == message_id])
        ]
        self._judge.check(
            "C3-NFR-14",
            "the test's end at the meter",
            system="Meter",
            claim=ended[0],
            predict=case.predict(ended[1] if len(ended) > 1 else None),
            limit="request to results",
            unit="s",
        )
        self._judge.settle()

    @keyword
    def regular_account_gets_one_bill_a_cycle(self, cents: int) -> None:
        """C3-AS-01: prepaid, converted to regular, and at the end of the cycle one bill: for the regular intervals alone."""
        case = self._case
        if case.billed_regularly_before():  # what is left of that belongs to a bill of its own
            case.bench.advance((case.next_cycle() - case.bench.now + case.interval).total_seconds())
        case.prepay(cents)
        case.until_receipt(case.message_id, 60)
        case.bench.advance(2 * case.interval.total_seconds())
        begun = case.bench.now
        converted = case.convert(Billing.REGULAR)
        end = case.next_cycle()
        case.bench.advance((end - begun + 2 * case.interval).total_seconds())
        bills = [b for b in case.bills() if b.issued_at >= begun]
        self._judge.check("C3-AS-01", "bills in the cycle", system="CSS", claim=len(bills), expected=1)
        bill = bills[0] if bills else None
        self._judge.check(
            "C3-AS-01",
            "the bill ends with the cycle",
            system="CSS",
            claim=None if bill is None else bill.ends_at,
            expected=end,
            tolerance=timedelta(0),
        )
        wh = sum(i.energy_wh for i in case.recorded(converted, end))
        price = case.bench.config.utility.tariff.price_millicents_per_kwh
        self._judge.check(
            "C3-AS-01",
            "the energy billed is that of the regular intervals of the meter",
            system="CSS",
            claim=None if bill is None else bill.energy_mwh / 1000,
            expected=round(wh, 3),
            tolerance=float(case.stated("billed_energy_rounding_wh")),
            unit="Wh",
        )
        due = None if bill is None else float(bill.due_cents)
        self._check_amount("C3-AS-01", "the amount due", due, round(wh * price / 1_000_000, 4))
        self._judge.settle()

    @keyword
    def accounts_have_the_options_of_their_meters(self) -> None:
        """C3-AS-02: without a switch neither disconnect nor limit; and the meter here is as its supplier declares it."""
        case = self._case
        fitted = case.meter.service().switch is not Switch.NONE
        self._judge.declared("C3-AS-02", "service_switch", fitted, system="Meter")
        always = {AtZero.REGULAR_BILLING, AtZero.AUTO_REPLENISH}
        for switch in (False, True):
            number = f"{'with' if switch else 'without'}-switch"
            case.open_account(number, switch=switch)
            offered = {option.name for option in case.ask(case.css.options, number)}
            wanted = set(AtZero) if switch else always
            self._judge.check(
                "C3-AS-02",
                f"options at zero of a meter {number.replace('-', ' a ')}",
                system="CSS",
                claim=", ".join(sorted(offered)),
                expected=", ".join(sorted(option.name for option in wanted)),
            )
        self._judge.settle()

    @keyword
    def meter_never_takes_a_payment(self, cents: int) -> None:
        """C3-AS-03: credit offered at the meter is refused and logged, and changes nothing there or at the utility."""
        case = self._case
        before, owned = case.meter.account().balance_cents, case.balance_cents()
        refused = case.refused_at_meter(cents)
        logged = [e for e in case.meter.log() if e.event is EventCode.REFUSED_LOCAL_CREDIT]
        for what, claim, expected in (
            ("credit at the meter is refused", refused, True),
            ("the refusal is logged", bool(logged), True),
            ("the meter's balance stays", case.meter.account().balance_cents, before),
        ):
            self._judge.check("C3-AS-03", what, system="Meter", claim=claim, expected=expected)
        self._judge.check(
            "C3-AS-03", "the account's balance stays", system="CSS", claim=case.balance_cents(), expected=owned
        )
        self._judge.settle()
