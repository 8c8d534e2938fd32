"""Keywords of a prepaid balance that nears zero, scenarios 4 and 5: each acts or checks one step, under the id given."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench import displayed, forecasting
from bench.burning import BURNING_A, Burning
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.prepaying import Prepaying
from bench.web_customer import WebCustomer
from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, ReceiptStatus, Switch


@library(scope="TEST")
class prepayment_balance(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The balance, its threshold, its refreshes, and zero. `meter` and `display` name devices of the bench file; `customer`
    acts and reads at the `website`, or asks the `css` behind it, which is quicker where what they do is not under test."""

    def __init__(self, meter: str = "meter", display: str = "display", customer: str = "css") -> None:
        super().__init__(meter)
        self._at_website = customer == "website"
        self._display_name = display
        self._paid_from = 0

    @cached_property
    def _burning(self) -> Burning:
        case = Prepaying(session().bench, self._meter)
        return Burning(case, WebCustomer(case, session().browsing) if self._at_website else None)

    @property
    def _case(self) -> Prepaying:
        return self._burning.case

    # --- preparing -----------------------------------------------------------------------------------------------------

    @keyword
    def the_customer_has_chosen_for_zero(self, option: str, fallback: str = "regular_billing") -> None:
        """For example `disconnect`, with what is to happen where that is impossible."""
        self._burning.customer.chooses(AtZero[option.upper()], AtZero[fallback.upper()])

    @keyword
    def the_customer_has_agreed_on_automatic_payments(self, cents: int, card: str = "") -> None:
        """An amount by a card: one that is good, or one that the PIXIT name, say `declined_card`."""
        number = str(self._case.stated(card)) if card else "4111111111111111"
        self._burning.customer.agrees_on_automatic_payments(cents, number)

    @keyword
    def the_customer_has_service_left_for(self, time: timedelta) -> None:
        """A balance that lasts so long by the history, on a site that draws what it is provisioned with."""
        self._burning.draw()
        # an interval first: what the meter has recorded so far is charged, and the balance set stays as it is
        self._burning.interval_passes()
        self._case.collect()
        self._burning.set_balance(self._burning.cents_for(time.total_seconds() / 3600))

    @keyword
    def the_customer_has_a_balance_of(self, cents: int) -> None:
        """By payment and refund."""
        self._burning.draw()
        self._burning.set_balance(cents)

    @keyword
    def the_recording_interval_is(self, time: timedelta) -> None:
        """Have the meter record shorter intervals; the next test's site is provisioned anew."""
        self._case.meter.set_interval(time)
        self._case.bench.advance(2 * time.total_seconds())
        self._case.collect()

    @keyword
    def the_threshold_comes(self) -> None:
        """Let intervals pass until the threshold is reached."""
        self._burning.until("threshold", timedelta(hours=24))

    @keyword
    def the_balance_burns_down(self) -> None:
        """Let a strong load use the balance up."""
        self._burning.draw(BURNING_A)
        self._burning.until("zero", timedelta(days=5))

    @keyword
    def the_site_draws_what_it_is_provisioned_with(self) -> None:
        """Bring the load back."""
        self._burning.draw()

    # --- the threshold, and what is sent from there on -------------------------------------------------------------------

    @keyword
    def css_determines_that_the_threshold_is_reached(self, id_: str) -> None:
        """C3-S4.01, C3-S5.01: when the forecast of the time left has come down to it, neither before nor after."""
        hours = self._judge.limit("C3-FR-07", "threshold").value
        event = self._burning.until("threshold", timedelta(hours=24))
        left = None if event is None else event.time_left
        own = timedelta(0) if event is None else forecasting.time_left(self._case, event.balance_cents, event.at)
        self._judge.check(
            id_,
            "the forecast of the time left, from the history and the balance",
            system="CSS",
            claim=left,
            expected=own,
            tolerance=timedelta(minutes=float(self._case.stated("forecast_within_min"))),
        )
        self._judge.check(
            id_,
            "the time left when the threshold is taken as reached",
            system="CSS",
            claim=left,
            predict=Witness.predict(own, "history and tariff"),
            expected=timedelta(hours=hours),
            # the forecast comes nearer by the second, and jumps by a part of an hour as an interval comes in
            tolerance=timedelta(minutes=float(self._case.stated("forecast_step_min"))),
        )
        self._judge.settle()

    @keyword
    def adcs_sends_the_balance_every_interval(self, id_: str, intervals: int) -> None:
        """C3-S4.02, C3-S5.02, C3-FR-08: one balance for each recording interval after the threshold."""
        sent, taken = self._refreshes(intervals)
        self._judge.check(
            id_,
            f"{intervals} intervals after the threshold with a balance sent",
            system="ADCS",
            claim=sum(len(found) == 1 for found in sent),
            measure=Witness.measure(sum(len(found) == 1 for found in taken), None, "bench"),
            expected=intervals,
            instrument_could_tell=True,
        )
        self._judge.settle()

    @keyword
    def the_message_carries_balance_time_left_and_moment_of_zero(self) -> None:
        """C3-MSG-13: as the CSS has calculated them."""
        case, statement = self._case, self._case.statement()
        record = case.sent(statement.message_id)
        message = None if record is None else record.message
        required = ("balance_cents", "credit_wh", "time_left", "zero_at")
        self._judge.fields("C3-MSG-13", "the balance as sent", system="ADCS", required=required, claim=message)
        account = case.meter.account()
        minute = timedelta(minutes=float(case.stated("statement_resolution_min")))
        for name in ("balance_cents", "time_left", "zero_at"):
            self._judge.check(
                "C3-MSG-13",
                f"{name.removesuffix('_cents').replace('_', ' ')} as the meter has it",
                system="ADCS",
                claim=getattr(account, name),
                expected=getattr(statement, name),
                tolerance=None if name == "balance_cents" else minute,
            )
        self._judge.settle()

    @keyword
    def adcs_collects_every_interval(self, id_: str, intervals: int) -> None:
        """C3-FR-07: interval data are retrieved once for each recording interval after the threshold."""
        event = self._burning.event("threshold")
        self._burning.interval_passes(intervals)
        slots = self._burning.intervals_since(event.at)[-intervals:] if event is not None else []
        reads = [
            t.at for t in self._case.ask(self._case.adcs.transactions, self._case.meter_id) if t.kind == "intervals"
        ]
        self._judge.check(
            id_,
            f"{intervals} intervals with their data retrieved",
            system="ADCS",
            claim=sum(sum(begin <= at < end for at in reads) == 1 for begin, end in slots),
            expected=intervals,
        )
        self._judge.settle()

    @keyword
    def usage_is_requested_and_answered_every_interval(self, intervals: int) -> None:
        """C3-MSG-14: requests of the ADCS and, each time, the usage of the last interval, as the analyzer measures it."""
        self.adcs_collects_every_interval("C3-MSG-14", intervals)
        case = self._case
        self._burning.interval_passes()
        case.bench.advance(case.interval.total_seconds() - 60)
        ahead = case.ahead_by()
        begun = case.bench.now
        end = begun + self._burning.length
        measured, predicted = case.service.energy(end, since=begun)
        case.bench.advance(60)
        stored = [s.value for s in case.held("interval")][-1]
        self._judge.fields(
            "C3-MSG-14", "the usage", system="Meter", required=("ends_at", "length", "energy_wh"), claim=stored
        )
        wh = stored.energy_wh if abs(stored.ends_at - ahead - end) < timedelta(seconds=1) else None
        self._check_energy("C3-MSG-14", "the last interval's usage", wh, measured, predicted)
        self._judge.settle()

    def _refreshes(self, intervals: int) -> tuple[list[list[Any]], list[list[Any]]]:
        """When the ADCS says that it sent balances for each of the next intervals, and when the meter took them."""
        burning = self._burning
        event = burning.event("threshold")
        burning.interval_passes(intervals)
        if event is None:
            return [], []
        messages = [m for m in burning.messages(MessageCode.BALANCE, event.at) if m is not None]
        sent = [m.first_sent_at for m in messages if m.first_sent_at is not None]
        taken = [at for m in messages for at in self._case.taken_at(m.message_id)[:1]]
        slots = burning.intervals_since(event.at)[-intervals:]
        by_slot = ([[at for at in moments if begin <= at < end] for begin, end in slots] for moments in (sent, taken))
        return next(by_slot), next(by_slot)

    @keyword
    def meter_logs_and_displays_each_refresh(self, id_: str) -> None:
        """C3-S4.03, C3-S5.03: received, logged, displayed, and answered by a receipt."""
        case, statement = self._case, self._case.statement()
        event = self._burning.event("threshold")
        since = self._burning.began if event is None else event.at
        ids = [m.message_id for m in self._burning.messages(MessageCode.BALANCE, since) if m is not None]
        entries = {e.argument for e in case.meter.log() if e.event is EventCode.MESSAGE_RECEIVED}
        processed = {r.message_id for r in case.meter.receipts() if r.status is ReceiptStatus.PROCESSED}
        for what, found in (("logged", entries), ("answered by a receipt", processed)):
            self._judge.check(
                id_, f"refreshes {what}", system="Meter", claim=sum(i in found for i in ids), expected=max(1, len(ids))
            )
        account = displayed.account(statement.balance_cents, statement.credit_wh, statement.time_left)
        self._check_shown(id_, "the display shows the last refresh's", account, "Meter")
        self._judge.settle()

    @keyword
    def display_device_shows_the_refresh(self, id_: str) -> None:
        """C3-S4.04, C3-S5.06: where one is fitted, the same; C3-MSG-15: with the moment of zero."""
        if not self._judge.applicable(id_, "display_device", system="Meter"):
            return
        case, statement = self._case, self._case.statement()
        case.bench.advance(2.0)
        shown = self._burning.display(self._display_name).balance()
        self._judge.check(
            id_,
            "the display device shows the last refresh",
            system="Display",
            claim=None if shown is None else shown.balance_cents,
            predict=Witness.predict(
                getattr(case.bench.predicted(self._display_name).balance(), "balance_cents", None),
                f"model of {self._display_name}",
            ),
            expected=statement.balance_cents,
            unit="cent",
        )
        required = ("balance_cents", "credit_wh", "time_left", "zero_at")
        self._judge.fields("C3-MSG-15", "the balance as displayed", system="Meter", required=required, claim=shown)
        self._judge.settle()

    @keyword
    def website_shows_the_refresh(self) -> None:
        """C3-S4.05: balance and time as of the same refresh (C3-MSG-15)."""
        page, statement = self._burning.customer.page(), self._case.statement()
        self._judge.check(
            "C3-S4.05",
            "the balance of the last refresh",
            system="Website",
            claim=page.balance_cents,
            expected=statement.balance_cents,
            unit="cent",
        )
        self._judge.check(
            "C3-S4.05",
            "the moment of zero of the last refresh",
            system="Website",
            claim=page.zero_at,
            expected=statement.zero_at,
            tolerance=timedelta(minutes=float(self._case.stated("forecast_step_min"))),
        )
        self._check_left_on_page(
            "C3-S4.05", "the account page shows the", statement.balance_cents, page.credit_wh, page.time_left
        )
        required = ("balance_cents", "credit_wh", "time_left", "zero_at")
        self._judge.fields("C3-MSG-15", "the balance on the website", system="ADCS", required=required, claim=page)
        reached = self._burning.event("threshold")
        self._judge.check(
            "C3-S4.05",
            "the page warns, and tells when the threshold was reached",
            system="Website",
            claim=(page.warning, [at for at, kind in page.events if kind == "threshold"][:1]),
            expected=("near", [] if reached is None else [reached.at]),
        )
        self._judge.settle()

    @keyword
    def adcs_passes_the_receipts_to_the_mdms(self) -> None:
        """C3-S5.04: each refresh's receipt is logged and passed on."""
        ids = self._receipted()
        held = {p.value.message_id for p in self._case.held("receipt")}
        logged = {t.message_id for t in self._case.ask(self._case.adcs.transactions) if t.kind == "receipt"}
        self._judge.check(
            "C3-S5.04", "receipts logged", system="ADCS", claim=ids <= logged and bool(ids), expected=True
        )
        self._judge.check("C3-S5.04", "receipts passed on", system="ADCS", claim=ids <= held, expected=True)
        self._judge.settle()

    @keyword
    def mdms_makes_the_receipts_available(self) -> None:
        """C3-S5.05: logged, and to be read by others."""
        ids = self._receipted()
        there = {p.value.message_id for p in self._case.ask(self._case.mdms.receipts, self._case.meter_id)}
        claim = bool(ids) and ids <= there
        self._judge.check("C3-S5.05", "receipts available", system="MDMS", claim=claim, expected=True)
        self._judge.settle()

    def _receipted(self) -> set[int]:
        """Refreshes for which the meter has a receipt."""
        mine = {m.message_id for m in self._burning.messages(MessageCode.BALANCE, self._burning.began) if m is not None}
        return mine & {r.message_id for r in self._case.meter.receipts()}

    # --- paying again ----------------------------------------------------------------------------------------------------

    @keyword
    def customer_prepays_again(self, cents: int) -> None:
        """C3-S4.06: by hand; the payment is logged (C3-MSG-06) and goes to the meter as energy (C3-MSG-08)."""
        case = self._case
        self._paid_from = case.balance_cents()
        self._burning.customer.pays(cents)
        self._judge.acted("C3-S4.06", "the customer prepays again")
        case.until_receipt(case.message_id, 120)
        self._check_payment_logged(case.account.number, case.posting.payment_id)
        self._check_prepayment_sent(case.message_id)
        self._judge.settle()

    @keyword
    def the_payment_option_replenishes(self) -> None:
        """C3-S4.06: by itself, as the customer agreed; logged (C3-MSG-06), and to the meter as energy (C3-MSG-08)."""
        case, number = self._case, self._case.account.number
        self._judge.acted("C3-S4.06", "the customer has agreed on automatic payments")
        self._burning.interval_passes()
        payments = case.ask(case.css.payments, number)
        own = [p.payment_id for p in payments if p.request_id is None and p.asked_at >= self._burning.began]
        paid = own[-1] if own else ""
        self._check_payment_logged(number, paid)
        sent = [p.message_id for p in case.ask(case.css.postings, number) if p.payment_id == paid]
        self._check_prepayment_sent(sent[0] or 0 if sent else 0)
        self._judge.settle()

    @keyword
    def css_goes_on_with_the_payment(self) -> None:
        """C3-S4.07: posted, on the meter, above the threshold again, and the refreshes have ceased."""
        case, burning = self._case, self._burning
        event = burning.event("recovered")
        self._judge.check("C3-S4.07", "the balance has recovered", system="CSS", claim=event is not None, expected=True)
        self._judge.check(
            "C3-S4.07",
            "the meter has the balance of the payment",
            system="CSS",
            claim=case.meter.account().balance_cents,
            expected=case.statement().balance_cents,
            unit="cent",
        )
        since = case.bench.now
        burning.interval_passes(2)
        daily = case.stated("daily_balance_at")
        told = [
            m
            for m in burning.messages(MessageCode.BALANCE, since)
            if m is None or m.submitted_at.astimezone(case.bench.config.utility.zone).hour != daily
        ]
        self._judge.check("C3-S4.07", "balances sent above the threshold", system="CSS", claim=len(told), expected=0)
        self._judge.settle()

    @keyword
    def service_was_never_interrupted(self, id_: str) -> None:
        """Current flows, and the switch has not moved since the balance was set."""
        case = self._case
        ahead = case.ahead_by()
        moved = [
            e
            for e in case.meter.log()
            if e.event in (EventCode.SWITCH_OPENED, EventCode.LIMIT_TRIPPED) and e.at - ahead > self._burning.began
        ]
        self._check_flow(id_, "service was never interrupted", system="CSS", claim=not moved)
        self._judge.settle()

    # --- zero ------------------------------------------------------------------------------------------------------------

    @keyword
    def balance_reaches_zero(self) -> None:
        """C3-S5.07: the load uses the balance up; meter and display say so in the customer's language
        (C3-MSG-16)."""
        self.the_balance_burns_down()
        self._judge.acted("C3-S5.07", "the balance reaches zero")
        case = self._case
        language, shown = case.customer.language, case.shown()
        own = language if case.bench.pics()["Meter"].supports("spanish_text") else "en"
        words = displayed.AT_ZERO.values()
        sent = [t.text for t in self._burning.commands(MessageCode.TEXT) if any(w.fullmatch(t.text) for w in words)]
        told = [("the CSS's text to the meter", "CSS", sent[-1] if sent else None, language)]
        if sent:  # the meter can pass on what it got only
            display = self._burning.display(self._display_name).message()
            told.append(
                ("the utility's text on the meter's display", "Meter", shown.get(DisplayCode.MESSAGE), language)
            )
            told.append(("the display device", "Meter", None if display is None else display.text, own))
        if case.meter.account().balance_cents <= 0:  # an automatic payment may have taken the notice away by now
            told.append(("the meter's own notice on its display", "Meter", shown.get(DisplayCode.NOTICE), own))
        for what, system, said, expected in told:
            self._judge.check(
                "C3-MSG-16",
                f"{what} says so in the customer's language",
                system=system,
                claim=said,
                expected=displayed.AT_ZERO[expected],
            )
        self._judge.settle()

    @keyword
    def demand_is_limited(self, *ids: str) -> None:
        """C3-S5.08: the limit is commanded (C3-MSG-17); a load above it trips, which the analyzer sees."""
        record = self._commanded(MessageCode.LIMIT, ("limit_w",), ids)
        status = self._case.meter.service()
        limited = status.switch is Switch.TRIPPED and record is not None and status.limit_w == record.message.limit_w
        for id_ in self._of_meter(ids, record):
            self._check_off(id_, "a load above the limit is off", limited)
        self._judge.settle()

    @keyword
    def service_is_disconnected(self, *ids: str) -> None:
        """C3-S5.08: commanded (C3-MSG-17), and no current at the load side."""
        record = self._commanded(MessageCode.DISCONNECT, ("message_id", "code"), ids)
        for id_ in self._of_meter(ids, record):
            self._check_off(id_, "the service is off", self._case.meter.service().switch is Switch.OPEN)
        self._judge.settle()

    @keyword
    def account_moves_to_regular_billing(self, *ids: str) -> None:
        """C3-S5.08: commanded (C3-MSG-17), at the end of the interval, with the service on throughout."""
        case, burning = self._case, self._burning
        record = self._commanded(MessageCode.BILLING, ("billing",), ids)
        zero = burning.event("zero")
        burning.interval_passes()
        ahead = case.ahead_by()
        since = burning.began if zero is None else zero.at
        changes = [e.at for e in case.meter.log() if e.event is EventCode.BILLING_CHANGED and e.at - ahead >= since]
        ends = [i.ends_at for i in case.meter.intervals(since + ahead)]
        for id_ in self._of_meter(ids, record):
            self._judge.check(
                id_,
                "billing is regular since the end of an interval",
                system=self._system(id_),
                claim=case.meter.service().billing is Billing.REGULAR and bool(changes) and changes[-1] in ends,
                expected=True,
            )
            energised = case.meter.service().energised
            self._check_flow(id_, "the service is on", system=self._system(id_), claim=energised)
        self._judge.settle()

    @keyword
    def account_is_replenished(self, cents: int) -> None:
        """C3-S5.08: the automatic payment that was declined at the threshold succeeds at zero, and the service stays on."""
        case, zero = self._case, self._burning.event("zero")
        case.bench.advance(30)
        postings = case.ask(case.css.postings, case.account.number)
        paid = [p.message_id for p in postings if p.posted_at >= (self._burning.began if zero is None else zero.at)]
        asked = paid[-1] if paid else None
        self._judge.check(
            "C3-S5.08", "the CSS posts the automatic payment", system="CSS", claim=asked is not None, expected=True
        )
        if not asked or not self._brought(asked):
            return self._judge.settle()
        self._judge.check(
            "C3-S5.08",
            "the balance after the automatic payment",
            system="Meter",
            claim=case.meter.account().balance_cents,
            expected=float(cents),
            tolerance=float(case.stated("used_beyond_zero_cents")),
            unit="cent",
        )
        closed = case.meter.service().switch is Switch.CLOSED
        self._check_flow("C3-S5.08", "the service is on", system="Meter", claim=closed)
        return self._judge.settle()

    def _check_off(self, id_: str, what: str, claim: bool) -> None:
        """No current flows any more, as the analyzer and the model have it, and what the meter claims of that."""
        service = self._case.service
        self._judge.check(
            id_,
            what,
            system=self._system(id_),
            claim=claim,
            measure=Witness.measure(not service.flows().value, None, "analyzer"),
            predict=Witness.predict(not service.should_flow().value, "model of analyzer"),
            expected=True,
            instrument_could_tell=True,
        )

    def _system(self, id_: str) -> str:
        return "Meter" if id_ == "C3-S5.08" else "CSS"

    def _commanded(self, code: MessageCode, required: tuple[str, ...], ids: tuple[str, ...]) -> Any:
        """The command at zero as the ADCS has it; in scenario 5 that the CSS commands it is checked, and its fields
        (C3-MSG-17)."""
        case, what = self._case, code.name.lower()
        asked = self._burning.commands(code)
        request = asked[-1] if asked else None
        record = None if request is None else case.sent(request.message_id)
        if "C3-S5.08" in ids:
            self._judge.check(
                "C3-S5.08", f"the {what} is commanded", system="CSS", claim=request is not None, expected=True
            )
            self._judge.fields("C3-MSG-17", f"the {what} request", system="CSS", required=required, claim=request)
            if request is not None:
                message = None if record is None else record.message
                self._judge.fields("C3-MSG-17", f"the {what} as sent", system="ADCS", required=required, claim=message)
        return record

    def _of_meter(self, ids: tuple[str, ...], record: Any) -> list[str]:
        """Those of the ids under which the meter is to be held to a command: in scenario 5 only where it has got one."""
        brought = "C3-S5.08" not in ids or (record is not None and self._brought(record.message_id))
        return [id_ for id_ in ids if id_ != "C3-S5.08" or brought]

    def _brought(self, message_id: int) -> bool:
        """C3-S5.08: whether the ADCS has brought a command of the CSS to the meter, by when the meter took it."""
        taken = bool(self._case.taken_at(message_id))
        self._judge.check(
            "C3-S5.08", "the command comes to the meter", system="ADCS", measure=Witness.measure(taken), expected=True
        )
        return taken
