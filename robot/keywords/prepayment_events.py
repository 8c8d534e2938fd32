"""Keywords of prepaying for an event, scenarios 2 (one's own facility) and 3 (somebody else's): each acts or checks one step."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import cached_property

from robot.api.deco import keyword, library

from bench.booking import EventCase
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.web_desk import WebDesk
from drivers.roles import EventCode, MessageCode
from twins.utility.css import EventOutcome
from twins.utility.errors import NotAccepted
from twins.utility.payments import PaymentMethod

SECOND = timedelta(seconds=1)


@library(scope="TEST")
class prepayment_events(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The steps of an event. `scenario` is C3-S2 or C3-S3; `meter` and `display` name devices of the bench file."""

    def __init__(self, scenario: str = "C3-S2", meter: str = "meter", display: str = "display") -> None:
        super().__init__(meter)
        self._own = scenario == "C3-S2"
        self._display_name = display
        self._cents = 0
        self._method = PaymentMethod.CARD
        self._found_on = self._limited = False

    @cached_property
    def _case(self) -> EventCase:
        return EventCase(session().bench, self._meter, own=self._own)

    def _step(self, in_2: str, in_3: str) -> str:
        """A step by its number in scenario 2, or 3."""
        return f"C3-S2.{in_2}" if self._own else f"C3-S3.{in_3}"

    # --- the desk ------------------------------------------------------------------------------------------------------

    @keyword
    def customer_asks_to_prepay_for_an_event(self, starts_in: timedelta, lasting: timedelta, outcome: str) -> None:
        """C3-S2.01, C3-S3.01: from a start to an end, at a facility, with the option for when the credit is used up; the
        request is logged (C3-MSG-01)."""
        case = self._case
        case.outcome = EventOutcome(outcome)
        case.desk = WebDesk(case.bench, session().browsing, case.payer)
        case.ask_for(starts_in, lasting)
        self._judge.acted(self._step("01", "01"), "the customer asks to prepay for an event")
        self._check_request_logged("location")
        self._judge.settle()

    @keyword
    def representative_confirms_who_pays(self) -> None:
        """C3-S2.02, C3-S3.02: somebody else is refused; customer data comes back (C3-MSG-02)."""
        case, step = self._case, self._step("02", "02")
        refused = case.identify("somebody else's word") is None
        self._judge.check(step, "wrong credentials are refused", system="CSS", claim=refused, expected=True)
        data = case.identify()
        self._check_customer(step, None if data is None else data.name, case.payer.name, data)
        self._judge.settle()

    @keyword
    def representative_confirms_that_the_facility_takes_prepayment(self) -> None:
        """C3-S3.03: this one does; one that is not set up is refused (C3-MSG-03)."""
        case = self._case
        for location, answer in ((case.location, "free"), (case.not_set_up, "not_set_up")):
            found = case.desk.availability(case.request_id, location, case.starts_at, case.ends_at)
            for id_ in ("C3-S3.03", "C3-MSG-03"):
                self._judge.check(
                    id_, f"facility {location} is {answer}", system="CSS", claim=str(found.answer), expected=answer
                )
        self._judge.check(
            "C3-S3.03",
            "a booking where it is not set up is refused",
            system="CSS",
            claim=case.refused(case.booking_asked("not-set-up", location=case.not_set_up)),
            expected="facility_not_enabled",
        )
        self._judge.settle()

    @keyword
    def representative_finds_the_time_free(self) -> None:
        """C3-S2.03, C3-S3.04: what is taken is shown as taken, what is free as free, up to the second (C3-MSG-03)."""
        case, step = self._case, self._step("03", "04")
        before = case.starts_at - timedelta(hours=2), case.starts_at
        case.taken(*before)
        for what, start, answer in (
            ("the time asked for", case.starts_at, "free"),
            ("a second earlier", case.starts_at - SECOND, "taken"),
        ):
            found = case.desk.availability(case.request_id, case.location, start, case.ends_at)
            for id_ in (step, "C3-MSG-03"):
                self._judge.check(id_, f"{what} is {answer}", system="CSS", claim=str(found.answer), expected=answer)
        self._judge.check(
            "C3-MSG-03",
            "the time free is named",
            system="CSS",
            claim=found.free,
            expected=((case.starts_at, case.ends_at),),
        )
        overlapping = case.booking_asked("overlap", starts_at=case.starts_at - SECOND)
        self._judge.check(
            step,
            "a booking that overlaps another by a second is refused",
            system="CSS",
            claim=case.refused(overlapping),
            expected="overlap",
        )
        self._judge.settle()

    @keyword
    def representative_estimates_the_event(self) -> None:
        """C3-S2.04, C3-S3.05: from the facility's history (C3-MSG-05); the event's time is as it was asked for (C3-MSG-04)."""
        case, step = self._case, self._step("04", "05")
        estimate = case.desk.estimate(case.request_id, case.location, case.starts_at, case.ends_at)
        cents = case.expected_wh() / 1000 * case.bench.config.utility.tariff.price_millicents_per_kwh / 1000
        self._judge.check(
            step,
            "the estimate follows from the facility's history",
            system="CSS",
            claim=float(estimate.cost_cents),
            expected=round(cents, 2),
            tolerance=round(float(case.stated("estimate_within_percent")) / 100 * cents, 2),
            unit="cent",
        )
        self._judge.fields(
            "C3-MSG-05",
            "history and estimate",
            system="CSS",
            required=("history", "energy_wh", "cost_cents", "amount_cents"),
            claim={**vars(estimate), "history": estimate.history or None, "energy_wh": estimate.energy_wh or None},
        )
        booking = case.book()
        self._judge.check("C3-MSG-04", "start", system="CSS", claim=booking.starts_at, expected=case.starts_at)
        self._judge.check("C3-MSG-04", "end", system="CSS", claim=booking.ends_at, expected=case.ends_at)
        self._judge.settle()

    @keyword
    def customer_gives_amount_and_method(self, cents: int, method: str) -> None:
        """C3-S2.05, C3-S3.06: for example `2500`, `card`."""
        self._cents, self._method = cents, PaymentMethod(method)
        self._judge.acted(self._step("05", "06"), "the customer gives an amount and a method")

    @keyword
    def representative_verifies_the_funds_and_posts_the_amount(self) -> None:
        """C3-S2.06, C3-S3.07: not for a declined card; linked to the facility's account (C3-MSG-06, C3-MSG-07)."""
        case, step = self._case, self._step("06", "07")
        declined = case.bench.config.utility.payments.processor.declined[0]
        with suppress(NotAccepted):
            case.pay_event(self._cents, PaymentMethod.CARD, drawn_on=declined, payment_id=f"declined-{case.request_id}")
        self._judge.check(
            step,
            "a declined card pays nothing in",
            system="CSS",
            claim=(had := case.desk.page(case.booking.booking_id).balance_cents),
            expected=0,
            unit="cent",
        )
        before = case.desk.balance_cents(case.payer_number)
        posting = None
        with suppress(NotAccepted):
            posting = case.pay_event(self._cents, self._method)
        has = case.desk.page(case.booking.booking_id).balance_cents
        self._judge.check(
            step,
            "the amount is the event's credit",
            system="CSS",
            claim=None if has is None or had is None else has - had,
            expected=self._cents,
            unit="cent",
        )
        self._judge.check(
            step,
            "and nothing else of the account has moved",
            system="CSS",
            claim=case.desk.balance_cents(case.payer_number),
            expected=before,
            unit="cent",
        )
        self._check_payment_logged(case.payer_number, case.payment_id)
        self._judge.fields(
            "C3-MSG-07",
            "amount and facility as posted",
            system="CSS",
            required=("amount_cents", "linked_account"),
            claim=posting,
        )
        self._judge.check(
            step,
            "the posting is linked to the facility's account",
            system="CSS",
            claim=None if posting is None else posting.linked_account,
            expected=case.location,
        )
        self._judge.settle()

    # --- the schedule on its way to the meter ------------------------------------------------------------------------------

    @keyword
    def css_sends_the_schedule_to_the_adcs(self) -> None:
        """C3-S2.07, C3-S3.08: the ADCS has got the event."""
        case = self._case
        case.bench.advance(1.0)
        kept = [e for e in case.kept() if e.event_id == case.event_id]
        self._judge.check(
            self._step("07", "08"),
            "the ADCS has the event, from start to end",
            system="CSS",
            claim=(kept[0].starts_at, kept[0].ends_at) if kept else None,
            expected=(case.starts_at, case.ends_at),
        )
        self._judge.settle()

    @keyword
    def adcs_logs_the_schedule(self) -> None:
        """C3-S2.08: when it was received."""
        case = self._case
        log = [e for e in case.ask(case.schedules.log, case.meter_id) if e.event_id == case.event_id]
        self._judge.check(
            "C3-S2.08",
            "the schedule is logged",
            system="ADCS",
            claim=log[0].what if log else None,
            expected="taken",
        )
        self._judge.settle()

    @keyword
    def adcs_sends_the_event_in_time(self) -> None:
        """C3-S2.09: by the limit of C3-NFR-08, with start, end, credit and option (C3-MSG-09)."""
        self._check_sent("C3-S2.09")
        self._check_message()
        self._judge.settle()

    def _check_sent(self, id_: str) -> None:
        case = self._case
        lead = self._judge.seconds("C3-NFR-08", "lead before start")
        latest = case.starts_at - timedelta(seconds=lead)
        # One who is late gets two hours to say when it is sent.
        sent_at = case.until_sent(latest + SECOND, latest + timedelta(hours=2))
        case.until_receipt(case.event_id, 120)
        self._judge.check(
            id_,
            "sent before the start",
            system="ADCS",
            claim=None if sent_at is None else case.starts_at - sent_at,
            measure=Witness.measure(case.taken_before_start(), timedelta(0), "bench"),
            limit=self._judge.limit("C3-NFR-08", "lead before start"),
            instrument_could_tell=True,
        )

    def _check_message(self) -> None:
        case = self._case
        record = case.sent(case.event_id)
        message = None if record is None else record.message
        asked = next((e for e in case.kept() if e.event_id == case.event_id), None)
        credit = case.purse_cents() * 10**6 // case.bench.config.utility.tariff.price_millicents_per_kwh
        booked = (case.starts_at, case.ends_at, credit, case.option_at_meter)
        for system, what, given in (
            ("CSS", "the CSS's request, as the ADCS has got it", asked),
            ("ADCS", "the message to the meter", message),
        ):
            if asked is None and system == "ADCS":
                break  # it was not asked for anything
            required = ("starts_at", "ends_at", "credit_wh", "at_zero")
            self._judge.fields("C3-MSG-09", what, system=system, required=required, claim=given)
            self._judge.check(
                "C3-MSG-09",
                f"{what}: start, end, credit and option are those booked",
                system=system,
                claim=None if given is None else (given.starts_at, given.ends_at, given.credit_wh, given.at_zero),
                expected=booked,
            )

    @keyword
    def meter_logs_and_schedules_the_event(self) -> None:
        """C3-S2.10: stored, logged, and receipted."""
        case = self._case
        held, should = case.stored(), case.stored(case.model)
        self._check_receipt("C3-S2.10", "the receipt says processed", case.event_id, system="Meter")
        self._judge.check(
            "C3-S2.10",
            "the meter has the event, from start to end",
            system="Meter",
            claim=None if held is None else (held.starts_at, held.ends_at),
            predict=case.predict(None if should is None else (should.starts_at, should.ends_at)),
            expected=(case.starts_at, case.ends_at),
        )
        logged = case.logged(EventCode.SCHEDULE_STORED, case.event_id)
        self._judge.check("C3-S2.10", "it is logged", system="Meter", claim=logged is not None, expected=True)
        self._judge.settle()

    @keyword
    def adcs_passes_the_events_receipt_to_the_mdms(self) -> None:
        """C3-S2.11: the MDMS has got it."""
        case = self._case
        got = case.passed_on("receipt", case.event_id)
        self._judge.check("C3-S2.11", "the MDMS has got the receipt", system="ADCS", claim=got, expected=True)
        self._judge.settle()

    @keyword
    def mdms_makes_the_events_receipt_available(self) -> None:
        """C3-S2.12: the CSS and others can read it, as the meter has sent it and the ADCS passed it on (C3-MSG-10)."""
        case = self._case
        own = [p for p in case.ask(case.mdms.receipts, case.meter_id) if p.value.message_id == case.event_id]
        self._judge.check("C3-S2.12", "the receipt is available", system="MDMS", claim=bool(own), expected=True)
        self._check_receipt_passed(case.event_id)
        self._judge.settle()

    # --- before and after ------------------------------------------------------------------------------------------------

    @keyword
    def no_events_are_left(self) -> None:
        """Call off what earlier tests have booked, and what they have put into the meter."""
        case = self._case
        case.call_off()
        for event in case.meter.schedule():
            case.send(MessageCode.CANCEL_SCHEDULE, event_id=event.event_id)

    @keyword
    def an_event_is_prepaid(self, starts_in: timedelta, lasting: timedelta) -> None:
        """Everything from the request to the posting of a card payment; nothing of it is checked here."""
        self._case.prepay_event(starts_in, lasting, 1500)

    # --- the event ---------------------------------------------------------------------------------------------------------

    @keyword
    def the_service_is(self, state: str) -> None:
        """Before the event: `off`, `on`, or `tripped` by a limit below what the load takes. Nothing is checked here."""
        case = self._case
        if state in ("on", "tripped"):
            case.send(MessageCode.CONNECT)
        if state == "tripped":
            case.send(MessageCode.LIMIT, limit_w=300)
            case.bench.advance(200.0)
        self._found_on, self._limited = state == "on", state == "tripped"

    @keyword
    def meter_serves_the_event_from_its_start(self) -> None:
        """C3-S2.13: at the start energised, kept on, or raised to what is needed, as the analyzer sees it."""
        self._check_start("C3-S2.13", "Meter")
        self._judge.settle()

    def _check_start(self, id_: str, system: str) -> None:
        case = self._case
        case.pass_until(case.starts_at - timedelta(seconds=5))
        was = "on" if self._found_on else "off"
        self._check_flow(id_, f"before the start the service is {was}", self._found_on, system=system)
        if not self._found_on:
            seen = case.service.when(True, 65, since=case.starts_at)
            self._judge.check(
                id_,
                "energised at the start",
                system=system,
                measure=None if seen is None else (seen - case.starts_at).total_seconds(),
                uncertainty=case.service.moment_uncertainty_s,
                limit=self._judge.limit("C3-NFR-03", "at once"),
                unit="s",
            )
        case.pass_until(case.starts_at + timedelta(seconds=60))
        self._check_energised(id_, "the service is on in the event", system)

    @keyword
    def meter_and_event_page_show_the_credit(self) -> None:
        """C3-S2.14: the event's credit on the meter's display and on the customer's page, usage too (C3-MSG-11)."""
        case, browsing = self._case, session().browsing
        cents = case.purse_cents()
        self._check_balance_shown("C3-S2.14", "the display shows the event's", cents, account="C3-S2.14")
        browsing.sign_in(case.payer.id, case.bench.password(case.payer.id))
        self._check_usage_shown(browsing, browsing.read_account(case.payer_number))
        page = case.desk.payers_page(case.booking.booking_id)
        self._judge.check(
            "C3-S2.14", "the page shows the event's balance", system="Website", claim=page.balance_cents, expected=cents
        )
        self._judge.fields(
            "C3-S2.14",
            "the page shows energy and time left, and when updated",
            system="Website",
            required=("credit_wh", "time_left", "updated_at"),
            claim=page,
        )
        self._check_left_on_page("C3-S2.14", "the page shows the event's", cents, page.credit_wh, page.time_left)
        self._judge.settle()

    @keyword
    def display_device_shows_the_events_credit(self) -> None:
        """C3-S2.15: balance in dollars and kWh and time left, no later than a day after the start."""
        case = self._case
        if not self._judge.applicable("C3-S2.15", "display_device", system="Meter"):
            return
        cents, what = case.purse_cents(), "the display device shows"
        credit_wh = cents * 10**6 / case.bench.config.utility.tariff.price_millicents_per_kwh
        shown = self._check_display_device(
            "C3-S2.15", what, self._display_name, balance_cents=cents, credit_wh=credit_wh
        )
        self._check_left(
            "C3-S2.15",
            what,
            "Display",
            (getattr(shown, "credit_wh", None), getattr(shown, "time_left", None)),
            cents,
            self._told_at(),
            (
                float(case.pixit("display_device_resolution_wh")),
                float(case.pixit("display_device_time_left_resolution_min")),
            ),
        )
        self._judge.settle()

    @keyword
    def meter_puts_the_service_back_at_the_end(self) -> None:
        """C3-S2.13: on until the end, then again what it was before."""
        self._check_end("C3-S2.13", "Meter")
        self._judge.settle()

    def _check_end(self, id_: str, system: str) -> None:
        case = self._case
        case.pass_until(case.ends_at - timedelta(seconds=5))
        self._check_flow(id_, "on until the end", system=system)
        case.pass_until(case.ends_at + timedelta(seconds=3))
        if self._limited:  # the limit is back, and trips the load as before
            case.service.when(False, 120)
        self._check_flow(id_, "after the end as before the event", self._found_on, system=system)

    @keyword
    def what_is_left_goes_back_to_the_payer(self, id_: str) -> None:
        """After the end: paid for are the watt-hours that the meter itself has recorded in the event, to the cent; the rest is on
        the payer's account."""
        case = self._case
        case.bench.advance(case.interval.total_seconds() + 60)
        wh = case.metered_wh()
        used = wh * float(case.stated("price_millicents_per_kwh")) / 10**6
        self._judge.check(
            id_,
            "the page shows the energy that the meter has recorded in the event",
            system="Website",
            claim=case.desk.payers_page(case.booking.booking_id).energy_wh,
            expected=wh,
            tolerance=float(case.stated("website_energy_resolution_wh")),
            unit="Wh",
        )
        self._judge.check(
            id_,
            "the event's credit is cleared",
            system="CSS",
            claim=case.purse_cents(),
            expected=0,
            unit="cent",
        )
        last = sum(e.cents for e in case.ask(case.css.bookings.purse, case.booking.booking_id) if e.kind == "energy")
        self._check_amount(id_, "energy is paid for to the cent", float(-last), used)
        returned = [e.cents for e in case.ask(case.css.ledger, case.payer_number) if e.kind == "from_event"]
        what = "what is left has gone back to the payer's account"
        self._check_amount(id_, what, float(returned[-1]) if returned else None, self._cents - used)
        self._judge.settle()
