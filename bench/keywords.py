"""What the keyword libraries of the prepayment suites have in common: a case, the run's judge, and checks that several make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from bench import displayed, forecasting
from bench.browsing import Browsing, Shown
from bench.certify import session
from bench.judge.judge import Judge
from bench.judge.witness import NOTHING, Witness
from bench.measure import watt_hours
from bench.prepaying import Prepaying
from drivers.roles import DisplayCode, EventCode, Receipt, ReceiptStatus, Switch


class PrepaymentKeywords:
    """Libraries of scope TEST inherit it. What one of them does in a test the others know: they share the test's case.

    A library that needs more of its case has one of its own in place of `_case`. Checks are made under the id and with the
    words that the keyword gives; the keyword settles them.
    """

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

    # --- the service ---------------------------------------------------------------------------------------------------

    def _check_flow(
        self, id_: str, what: str, expected: bool = True, *, system: str | None = None, claim: Any = NOTHING
    ) -> None:
        """Whether the load draws current now, as the analyzer and the model have it, and what the meter claims of that."""
        service = self._case.service
        self._judge.check(
            id_,
            what,
            system=system,
            claim=claim,
            measure=service.flows(),
            predict=service.should_flow(),
            expected=expected,
            instrument_could_tell=True,
        )

    def _check_energised(self, id_: str, what: str, system: str) -> None:
        """The meter says that its switch is closed and its load side energised, and current flows; readings are kept."""
        status = self._case.meter.service()
        said = Witness.claim(status.switch is Switch.CLOSED and status.energised, "service switch")
        self._check_flow(id_, what, system=system, claim=said)
        self._case.bench.record_readings()

    def _check_energy(self, id_: str, what: str, wh: float | None, measured: Witness, predicted: Witness) -> None:
        """The energy that the meter has recorded is what the analyzer has measured. Two instruments of known class may differ
        by both; the analyzer's share is its uncertainty."""
        measured_wh, uncertainty = watt_hours(measured)
        share = float(self._case.pixit("accuracy_class_percent")) / 100
        self._judge.check(
            id_,
            what,
            system="Meter",
            claim=wh,
            measure=measured,
            predict=predicted,
            tolerance=share * measured_wh + uncertainty,
            unit="Wh",
            instrument_could_tell=True,
        )

    # --- messages and what the meter says of them --------------------------------------------------------------------------

    def _check_receipt(
        self, id_: str, what: str, message_id: int, status: ReceiptStatus = ReceiptStatus.PROCESSED, **given: Any
    ) -> None:
        """The meter has a receipt of a message, with that status; `given` is the judge's: `system`, `predict`."""
        receipt = self._case.receipt(message_id)
        self._judge.check(id_, what, claim=None if receipt is None else receipt.status, expected=status, **given)

    def _check_logged(self, id_: str, message_id: int, of: str = "") -> None:
        """That a message came in, and that its receipt went out, stands in the meter's log as in the model's."""
        case = self._case
        for event in (EventCode.MESSAGE_RECEIVED, EventCode.RECEIPT_SENT):
            entry = case.logged(event, message_id)
            should = case.logged(event, message_id, case.model)
            self._judge.check(
                id_,
                f"{event.name.lower().replace('_', ' ')}{of} is logged",
                claim=entry is not None,
                predict=case.predict(should is not None),
                expected=True,
            )

    def _check_prepayment_sent(self, message_id: int) -> bool:
        """C3-MSG-08: what the CSS asks for is a prepayment with the energy credit, and so is what the ADCS sends to the meter.
        Returns whether the CSS has asked for it at all: else there is nothing to send."""
        case = self._case
        required = ("credit_wh", "balance_cents", "price_millicents_per_kwh", "at_zero")
        asked = case.commanded(message_id)
        self._judge.fields("C3-MSG-08", "the CSS's request", system="CSS", required=required, claim=asked)
        if asked is None:
            return False
        record = case.sent(message_id)
        message = None if record is None else record.message
        self._judge.fields("C3-MSG-08", "the message to the meter", system="ADCS", required=required, claim=message)
        return True

    def _check_receipt_borne(self, what: str, receipt: Receipt | None) -> None:
        """C3-MSG-10: a receipt says which message was processed, when, and how that went."""
        self._judge.fields(
            "C3-MSG-10",
            what,
            system="Meter",
            required=("message_id", "status", "completed_at"),
            claim=None if receipt is None else {**vars(receipt), "message_id": receipt.message_id or None},
        )

    def _check_receipt_passed(self, message_id: int) -> bool:
        """C3-MSG-10: as the meter has it, as the ADCS has passed it on, and as the MDMS makes it available, each the same as
        before. Nobody answers for what has not come to them. Returns whether it is available."""
        case = self._case
        receipts = case.meter.receipts()
        # A receipt that names another message, or none, is the last one all the same.
        of_meter = case.receipt(message_id) or (receipts[-1] if receipts else None)
        self._check_receipt_borne("the receipt as the meter has it", of_meter)
        received = [p.value for p in case.held("receipt")]
        available = [p.value for p in case.ask(case.mdms.receipts, case.meter_id)]
        before = of_meter
        for system, what, there in (
            ("ADCS", "the receipt as the ADCS has passed it on", received),
            ("MDMS", "the receipt as the MDMS makes it available", available),
        ):
            if before is None:
                return False
            own = [r for r in there if r.sequence == before.sequence]
            after = own[-1] if own else None
            self._judge.check("C3-MSG-10", what, system=system, claim=_borne(after), expected=_borne(before))
            before = after
        return before is not None

    # --- displays ------------------------------------------------------------------------------------------------------

    def _check_shown(
        self, id_: str, what: str, expected: Mapping[DisplayCode, Any], system: str | None = None
    ) -> dict[DisplayCode, str]:
        """The meter's display shows these texts, each named behind `what`; returns all that it shows."""
        shown = self._case.shown()
        for code, text in expected.items():
            self._judge.check(
                id_,
                f"{what} {code.name.lower().replace('_', ' ')}",
                system=system,
                claim=shown.get(code),
                predict=self._case.should_show(code),
                expected=text,
            )
        return shown

    def _check_balance_shown(self, id_: str, what: str, cents: int, *, account: str) -> None:
        """The meter's display shows a balance with the energy and the time that it comes to, and under the id `account` all of
        them beside each other."""
        shown = self._check_shown(id_, what, {DisplayCode.BALANCE: displayed.money(cents)}, "Meter")
        self._judge.fields(
            account,
            "balance, energy and time left on the meter's display",
            system="Meter",
            required=("BALANCE", "CREDIT", "TIME_LEFT"),
            claim={code.name: text for code, text in shown.items()},
        )
        self._check_left_on_meter(id_, what, cents, shown)

    def _check_left_on_meter(self, id_: str, what: str, cents: int, shown: Mapping[DisplayCode, str]) -> None:
        """The energy and the time left, of what the meter's display shows, follow from a balance by price and history as of
        when the meter was told it."""
        case = self._case
        self._check_left(
            id_,
            what,
            "Meter",
            (displayed.energy_wh(shown.get(DisplayCode.CREDIT)), displayed.lasting(shown.get(DisplayCode.TIME_LEFT))),
            cents,
            self._told_at(),
            (float(case.pixit("display_energy_resolution_wh")), float(case.pixit("display_time_left_resolution_min"))),
        )

    def _told_at(self) -> datetime:
        """When the meter was told the balance that it shows, by bench time; now where it was told none."""
        updated = self._case.meter.account().updated_at
        return self._case.bench.now if updated is None else updated - self._case.ahead_by()

    def _check_left_on_page(self, id_: str, what: str, cents: int, wh: float | None, left: timedelta | None) -> None:
        """The energy and the time left, of what the page shows that was opened last, follow from a balance by price and
        history as of now."""
        stated = self._case.stated
        shown_to = float(stated("website_energy_resolution_wh")), float(stated("website_time_left_resolution_min"))
        self._check_left(id_, what, "Website", (wh, left), cents, self._case.bench.now, shown_to)

    def _check_left(
        self,
        id_: str,
        what: str,
        system: str,
        shown: tuple[float | None, timedelta | None],
        cents: int,
        at: datetime,
        shown_to: tuple[float, float],
    ) -> None:
        """Energy (Wh) and time left are what a balance comes to by price and history at a moment, as finely as they are shown
        (Wh, minutes): the suite's own arithmetic."""
        case = self._case
        self._judge.check(
            id_,
            f"{what} energy left",
            system=system,
            claim=shown[0],
            expected=round(forecasting.credit_wh(case, cents), 3),
            tolerance=shown_to[0],
            unit="Wh",
        )
        self._judge.check(
            id_,
            f"{what} time left",
            system=system,
            claim=shown[1],
            expected=forecasting.time_left(case, cents, at),
            tolerance=timedelta(minutes=shown_to[1] + float(case.stated("forecast_within_min"))),
        )

    def _check_display_device(self, id_: str, what: str, display: str, **account: Any) -> Any:
        """The display device of that name shows these parts of the account, each named behind `what`, `credit_wh` as finely as
        it can; returns all that it shows of it."""
        bench = self._case.bench
        shown, should = (of.balance() for of in (bench.device(display), bench.predicted(display)))
        resolution_wh = int(self._case.pixit("display_device_resolution_wh"))
        account["credit_wh"] = round(account["credit_wh"] / resolution_wh) * resolution_wh
        for name, value in account.items():
            self._judge.check(
                id_,
                f"{what} {name.removesuffix('_cents').removesuffix('_wh').replace('_', ' ')}",
                system="Display",
                claim=getattr(shown, name, None),
                predict=Witness.predict(getattr(should, name, None), f"model of {display}"),
                expected=value,
                tolerance=resolution_wh if name == "credit_wh" else None,
            )
        return shown

    # --- customer service ------------------------------------------------------------------------------------------------

    def _check_request_logged(self, *more: str) -> None:
        """C3-MSG-01: the CSS has logged the latest request with its fields, and with `more`."""
        case = self._case
        logged = [r for r in case.ask(case.css.requests) if r.request_id == case.request_id]
        self._judge.fields(
            "C3-MSG-01",
            "the request as logged",
            system="CSS",
            required=("account_numbers", "starts_at", "ends_at", "name", "address", "credentials_presented", *more),
            claim=logged[0] if logged else None,
        )

    def _check_customer(self, id_: str, name: str | None, expected: str, data: Any) -> None:
        """The customer that the CSS names is the one who asks, and customer data came back (C3-MSG-02)."""
        self._judge.check(id_, "the customer found is the one who asks", system="CSS", claim=name, expected=expected)
        self._judge.fields(
            "C3-MSG-02",
            "customer data back",
            system="CSS",
            required=("account_numbers", "starts_at", "ends_at", "name", "address", "credentials_confirmed"),
            claim=data,
        )

    def _check_payment_logged(self, account: str, payment_id: str, *more: str) -> None:
        """C3-MSG-06: the CSS has logged a payment for an account with amount and data, and with `more`."""
        logged = [p for p in self._case.ask(self._case.css.payments, account) if p.payment_id == payment_id]
        self._judge.fields(
            "C3-MSG-06",
            "amount and payment data as logged",
            system="CSS",
            required=("amount_cents", "method", "data", *more),
            claim=logged[0] if logged else None,
        )

    def _check_usage_shown(self, browsing: Browsing, page: Shown) -> None:
        """C3-MSG-11: the account's page, which `browsing` has open, shows daily average and historical usage."""
        usage: dict[str, Any] = {
            "daily_average": page.text("daily_average"),
            **{name: browsing.rows(name) or None for name in ("days", "intervals")},
        }
        self._judge.fields(
            "C3-MSG-11", "daily average and history", system="Website", required=tuple(usage), claim=usage
        )

    def _check_paid_in(self, id_: str, what: str, before: int, cents: int) -> None:
        """The account's balance, which was `before`, has risen by a payment."""
        risen = self._case.balance_cents() - before
        self._judge.check(id_, what, system="CSS", claim=risen, expected=cents, unit="cent")

    def _check_amount(self, id_: str, what: str, cents: float | None, expected: float) -> None:
        """An amount of the CSS's, as finely as the PIXIT say that it is rounded."""
        self._judge.check(
            id_,
            what,
            system="CSS",
            claim=cents,
            expected=expected,
            tolerance=float(self._case.stated("amount_rounding_cents")),
            unit="cent",
        )


def _borne(receipt: Receipt | None) -> tuple[Any, ...] | None:
    """What a receipt says: which message, how it went, when that was over."""
    return None if receipt is None else (receipt.message_id, receipt.status, receipt.completed_at)
