"""Keywords of prepaying for one's own site, scenario 1: each acts or checks one step, in the words of the catalogue.

What a representative or a customer does and sees is done and seen at the website, in the run's browser.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from robot.api.deco import keyword, library

from bench.browsing import Browsing, Shown
from bench.certify import session
from bench.keywords import PrepaymentKeywords
from bench.prepaying import payment_data
from drivers.roles import AtZero, EventCode, MessageCode
from twins.utility.payments import PaymentMethod


@library(scope="TEST")
class prepayment_steps(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The steps of scenario 1. `meter` names the meter under test in the bench file."""

    def __init__(self, meter: str = "meter") -> None:
        super().__init__(meter)
        self._cents = 0
        self._method = PaymentMethod.CARD

    @property
    def _browsing(self) -> Browsing:
        return session().browsing

    @keyword
    def customer_asks_to_prepay_by_phone(self) -> None:
        """C3-S1.01: the customer says who they are and for when; the representative logs the request (C3-MSG-01)."""
        case, customer = self._case, self._case.customer
        until = (case.bench.now + timedelta(days=30)).astimezone(case.bench.config.utility.zone)
        self._browsing.find_account(case.account.number)
        case.request_id = self._browsing.log_request(case.account.number, customer.name, customer.address, until)
        self._judge.acted("C3-S1.01", "the customer asks to prepay")
        self._check_request_logged()
        self._judge.settle()

    @keyword
    def representative_refuses_somebody_else(self) -> None:
        """C3-S1.02: who doesn't have the customer's credentials is not confirmed."""
        refused = self._browsing.identify(self._case.request_id, "somebody else's word") is None
        self._judge.check("C3-S1.02", "wrong credentials are refused", system="CSS", claim=refused, expected=True)
        self._judge.settle()

    @keyword
    def representative_confirms_the_customers_identity(self) -> None:
        """C3-S1.02: by the fields of the request; customer data comes back (C3-MSG-02)."""
        data = self._browsing.identify(self._case.request_id, self._case.customer.credential)
        name, fields = (None, None) if data is None else (data.text("name"), data.fields)
        self._check_customer("C3-S1.02", name, self._case.customer.name, fields)
        self._judge.settle()

    @keyword
    def representative_estimates_the_amount_to_the_next_bill_cycle(self) -> None:
        """C3-S1.03: from the history that the MDMS holds (C3-MSG-05)."""
        case = self._case
        estimate = self._browsing.estimate(case.request_id, case.account.number)
        history = self._browsing.rows("days")
        since = case.bench.now - timedelta(days=int(case.stated("estimate_history_days")))
        past = [p.value for p in case.ask(case.mdms.intervals, case.meter_id, since)]
        power_w = sum(i.energy_wh for i in past) / (sum((i.length for i in past), timedelta()) / timedelta(hours=1))
        starts_at, ends_at = estimate.moment("starts_at"), estimate.moment("ends_at")
        hours = (ends_at - starts_at) / timedelta(hours=1) if starts_at and ends_at else 0.0
        cents = power_w * hours / 1000 * int(case.stated("price_millicents_per_kwh")) / 1000
        share = float(case.stated("estimate_within_percent")) / 100
        self._judge.check(
            "C3-S1.03",
            "the estimate follows from the history",
            system="CSS",
            claim=estimate.cents("cost"),
            expected=round(cents, 2),
            tolerance=round(share * cents, 2),
            unit="cent",
        )
        self._judge.fields(
            "C3-MSG-05",
            "history and estimate",
            system="CSS",
            required=("history", "energy", "cost", "amount"),
            claim={**estimate.fields, "history": history or None},
        )
        self._judge.settle()

    @keyword
    def customer_gives_amount_method_and_option(self, cents: int, method: str, option: str) -> None:
        """C3-S1.04: for example `2500`, `card`, `disconnect`."""
        self._cents, self._method, self._case.option = cents, PaymentMethod(method), AtZero[option.upper()]
        self._judge.acted("C3-S1.04", "the customer gives an amount, a method and the option at zero")

    @keyword
    def representative_posts_nothing_for_a_declined_card(self) -> None:
        """C3-S1.05: funds are verified before anything is posted."""
        declined = self._case.bench.config.utility.payments.processor.declined[0]
        before = self._balance()
        self._pay(declined)
        self._judge.check(
            "C3-S1.05",
            "a declined card leaves the balance",
            system="CSS",
            claim=self._balance(),
            expected=before,
            unit="cent",
        )
        self._judge.settle()

    @keyword
    def representative_verifies_the_funds_and_posts_the_amount(self) -> None:
        """C3-S1.05: the amount is on the account (C3-MSG-06, C3-MSG-07)."""
        case = self._case
        number = case.account.number
        before = self._balance()
        page = self._pay()
        confirmed_at_once = self._browsing.stage() == "confirmed"
        case.payment_id = page.text("payment_id") or ""
        case.posting = case.ask(case.css.front.posting, case.payment_id)
        self._judge.check(
            "C3-S1.05",
            "the amount is on the account",
            system="CSS",
            claim=self._balance(),
            expected=before + self._cents,
            unit="cent",
        )
        self._check_payment_logged(number, case.payment_id, "at_zero")
        self._judge.fields(
            "C3-MSG-07",
            "amount and option as posted",
            system="CSS",
            required=("amount_cents", "at_zero"),
            claim=_own(case.ask(case.css.postings, number), case.payment_id),
        )
        self._judge.check(
            "C3-S1.11",
            "nothing is confirmed before the meter's receipt",
            system="CSS",
            claim=not confirmed_at_once,
            expected=True,
        )
        self._judge.settle()

    @keyword
    def css_commands_the_prepayment_information(self) -> None:
        """C3-S1.06: a command for the ADCS stands in the CSS."""
        case = self._case
        commands = case.ask(case.css.commands, case.account.number)
        own = [c for c in commands if c.message_id == case.message_id and case.message_id]
        self._judge.check(
            "C3-S1.06",
            "the CSS commands the prepayment",
            system="CSS",
            claim=own[0].code if own else None,
            expected=MessageCode.PREPAYMENT,
        )
        self._judge.settle()

    @keyword
    def adcs_logs_the_request_and_sends_the_message(self) -> None:
        """C3-S1.07: logged as requested, and gone to the meter."""
        case = self._case
        case.until_accepted(case.message_id, 30)
        logged = [r for r in case.ask(case.adcs.requests) if r.message_id == case.message_id and case.message_id]
        self._judge.check(
            "C3-S1.07",
            "the request is logged",
            system="ADCS",
            claim=logged[0].code if logged else None,
            expected=MessageCode.PREPAYMENT,
        )
        record = case.sent()
        self._judge.check(
            "C3-S1.07",
            "the message has gone to the meter",
            system="ADCS",
            claim=record is not None and record.first_sent_at is not None,
            expected=True,
        )
        self._judge.settle()

    @keyword
    def meter_energises_the_service_and_returns_a_receipt(self) -> None:
        """C3-S1.08: the switch is closed and current flows; the message is logged; its receipt is there (C3-MSG-08)."""
        case = self._case
        case.until_receipt(case.message_id, 60)
        self._check_energised("C3-S1.08", "the service is energised", "Meter")
        predicted = [r.status for r in case.model.receipts() if r.message_id == case.message_id]
        should = case.predict(predicted[0] if predicted else None)
        self._check_receipt("C3-S1.08", "the receipt says processed", case.message_id, system="Meter", predict=should)
        logged = case.logged(EventCode.MESSAGE_RECEIVED, case.message_id)
        self._judge.check("C3-S1.08", "the message is logged", system="Meter", claim=logged is not None, expected=True)
        statement = case.statement()
        if self._check_prepayment_sent(case.message_id):
            self._judge.check(
                "C3-MSG-08",
                "the meter has the energy credit of the statement",
                system="ADCS",
                claim=None if statement is None else case.meter.account().credit_wh,
                expected=0 if statement is None else statement.credit_wh,
                unit="Wh",
            )
        self._judge.settle()

    @keyword
    def adcs_passes_the_receipt_to_the_mdms(self) -> None:
        """C3-S1.09: the MDMS has got it."""
        case = self._case
        got = case.passed_on("receipt", case.message_id)
        self._judge.check("C3-S1.09", "the MDMS has got the receipt", system="ADCS", claim=got, expected=True)
        self._judge.settle()

    @keyword
    def mdms_makes_the_receipt_available(self) -> None:
        """C3-S1.10: the CSS and others can read it, and it bears what a receipt bears (C3-MSG-10)."""
        case = self._case
        receipts = [p.value for p in case.ask(case.mdms.receipts, case.meter_id)]
        own = [r for r in receipts if r.message_id == case.message_id and case.message_id]
        self._judge.check("C3-S1.10", "the receipt is available", system="MDMS", claim=bool(own), expected=True)
        self._check_receipt_passed(case.message_id)
        self._judge.settle()

    @keyword
    def representative_acknowledges_the_confirmation(self) -> None:
        """C3-S1.11: seen, and acknowledged."""
        case = self._case
        page = self._browsing.payment(case.payment_id)
        self._judge.check(
            "C3-S1.11",
            "the confirmation rests on the meter's receipt",
            system="CSS",
            claim=page.whole("receipt_message_id"),
            expected=case.message_id,
        )
        if any(p.value.message_id == case.message_id for p in case.ask(case.mdms.receipts, case.meter_id)):
            self._judge.fields(
                "C3-MSG-10",
                "the receipt as the CSS shows it",
                system="CSS",
                required=("receipt_message_id", "receipt_status", "receipt_at"),
                claim=page.fields,
            )
        self._judge.check(
            "C3-S1.11",
            "the representative acknowledges it",
            system="CSS",
            claim=self._browsing.acknowledge(case.payment_id).text("acknowledged_by"),
            expected=case.bench.config.utility.website.representatives[0].name,
        )
        self._judge.settle()

    @keyword
    def meter_and_account_page_show_the_account(self) -> None:
        """C3-S1.12: the meter's display (C3-MSG-12), and the customer's account page (C3-MSG-11)."""
        case = self._case
        self._check_balance_shown("C3-S1.12", "the display shows the", case.balance_cents(), account="C3-MSG-12")
        page = self._browsing.read_account(case.account.number)
        self._judge.check(
            "C3-S1.12",
            "the account page shows the balance",
            system="Website",
            claim=page.cents("balance"),
            expected=case.balance_cents(),
            unit="cent",
        )
        self._judge.fields(
            "C3-S1.12",
            "the account page shows energy, time left and when updated",
            system="Website",
            required=("credit", "time_left", "updated"),
            claim=page.fields,
        )
        shown = page.wh("credit"), page.lasting("time_left")
        self._check_left_on_page("C3-S1.12", "the account page shows the", case.balance_cents(), *shown)
        self._check_usage_shown(self._browsing, page)
        self._judge.settle()

    def _balance(self) -> int | None:
        """The balance as the representative sees it."""
        return self._browsing.go(f"/desk/accounts/{self._case.account.number}").cents("balance")

    def _pay(self, drawn_on: str | None = None) -> Shown:
        """Pay what the customer gave, with data of its method; the payment's page."""
        case = self._case
        data = payment_data(self._method, drawn_on)
        option = case.option.name.lower()
        return self._browsing.pay(case.request_id, case.account.number, self._cents, self._method.value, data, option)


def _own(rows: Any, payment_id: str) -> Any:
    """The row of a payment, None where there is none."""
    found = [row for row in rows if row.payment_id == payment_id]
    return found[0] if found else None
