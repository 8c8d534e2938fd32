"""Keywords of what the meter does by itself beside its switch: stored events, billing, texts, priorities, cost, balance."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from robot.api.deco import keyword, library

from bench import displayed
from bench.at_the_meter import SETTLE_S, AtTheMeter
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.measure import watt_hours
from drivers.roles import AtZero, Billing, DisplayCode, EventCode, MessageCode, ReceiptStatus, Switch
from drivers.wire.meter_settings import Language

DONE_WITHIN_S = 60.0
"""How long a meter is given for what it has in its queue."""


@library(scope="TEST")
class prepayment_meter_by_itself(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The meter under test with the bench's load behind it. `meter`, `load`, `relay` and `display` name devices of the bench
    file."""

    def __init__(
        self, meter: str = "meter", load: str = "load", relay: str = "relay", display: str = "display"
    ) -> None:
        super().__init__(meter)
        self._load = load
        self._relay = relay
        self._display_name = display

    @cached_property
    def _case(self) -> AtTheMeter:
        return AtTheMeter(session().bench, self._meter, load=self._load, relay=self._relay)

    @property
    def _display(self) -> Any:
        return self._case.bench.device(self._display_name)

    @keyword
    def what_was_configured_is_taken_back(self) -> None:
        """No stored commands and events, no configured priorities, English, the balance as it is sent, the test load."""
        self._case.as_before()

    # --- stored events -----------------------------------------------------------------------------------------------------

    def _hand_over_event(self, number: int, start: datetime, end: datetime) -> int:
        return self._case.hand_over(
            MessageCode.SCHEDULE,
            event_id=number,
            starts_at=start,
            ends_at=end,
            credit_wh=5000,
            at_zero=AtZero.DISCONNECT,
        )

    @keyword
    def meter_stores_several_events(self, events: int) -> None:
        """C3-FR-18: one behind the other, the last handed over first; each begins when the one before it ends."""
        case = self._case
        if not self._judge.applicable("C3-FR-18", "event_schedule"):
            return
        first = _days_ahead(case, 3)
        hours = timedelta(hours=2)
        for n in reversed(range(events)):
            self._hand_over_event(101 + n, first + n * hours, first + (n + 1) * hours)
        self._check_events("several events are stored", [101 + n for n in range(events)])
        self._judge.settle()

    def _check_events(self, what: str, expected: list[int]) -> None:
        case = self._case
        self._judge.check(
            "C3-FR-18",
            what,
            claim=[e.event_id for e in case.meter.schedule()],
            predict=case.predict([e.event_id for e in case.model.schedule()]),
            expected=expected,
        )

    @keyword
    def meter_keeps_the_first_of_overlapping_events_and_alerts(self) -> None:
        """C3-FR-18: overlaps at the start, at the end by a second, around, inside, and the same again."""
        case = self._case
        if not self._judge.applicable("C3-FR-18", "event_schedule"):
            return
        held = [e.event_id for e in case.meter.schedule()]
        first = _days_ahead(case, 5)
        last = first + timedelta(hours=2)
        second, hour = timedelta(seconds=1), timedelta(hours=1)
        self._hand_over_event(201, first, last)
        for number, what, start, end in (
            (202, "by a second at the start", first - hour, first + second),
            (203, "by a second at the end", last - second, last + hour),
            (204, "around it", first - hour, last + hour),
            (205, "inside it", first + second, last - second),
            (206, "the same time again", first, last),
        ):
            since = case.bench.now
            message_id = self._hand_over_event(number, start, end)
            alert = EventCode.SCHEDULE_OVERLAP
            should = [e.argument for e in case.events_since(since, alert, of=case.model)]
            self._judge.check(
                "C3-FR-18",
                f"alert: {what}",
                claim=[e.argument for e in case.events_since(since, alert)],
                predict=case.predict(should),
                expected=[number],
            )
            self._check_receipt("C3-FR-18", f"receipt: {what}", message_id, ReceiptStatus.OVERLAP)
            self._check_events(f"kept: {what}", [*held, 201])
        self._judge.settle()

    # --- billing -----------------------------------------------------------------------------------------------------------

    @keyword
    def billing_converts_without_interruption(self, billing: str) -> None:
        """C3-FR-28: asked for inside an interval, done at its end; current flows throughout."""
        case, wanted = self._case, Billing[billing.upper()]
        before = Billing.REGULAR if wanted is Billing.PREPAID else Billing.PREPAID
        case.send(MessageCode.CONNECT)
        case.bill(before)
        end = case.next_mark()
        case.until_moment(end - case.interval * 0.6)
        start = case.bench.now
        case.send(MessageCode.BILLING, billing=wanted)
        for what, moment in (("when it is asked for", case.bench.now), ("until the end", end - timedelta(seconds=5))):
            case.until_moment(moment)
            self._judge.check(
                "C3-FR-28",
                f"to {billing}: not inside the interval, {what}",
                claim=case.meter.service().billing,
                predict=case.predict(case.model.service().billing),
                expected=before,
            )
        served = case.flows_throughout(10.0)
        changed = EventCode.BILLING_CHANGED
        said = case.events_since(start, changed)
        should = case.events_since(start, changed, of=case.model)
        ahead = case.ahead_by()
        self._judge.check(
            "C3-FR-28",
            f"to {billing}: at the interval's end",
            claim=(said[0].at - ahead - end).total_seconds() if said else None,
            predict=case.predict((should[0].at - ahead - end).total_seconds() if should else None),
            limit=self._judge.limit("C3-NFR-03", "at once"),
            unit="s",
        )
        self._judge.check(
            "C3-FR-28",
            f"to {billing}: in force",
            claim=case.meter.service().billing,
            predict=case.predict(case.model.service().billing),
            expected=wanted,
        )
        switched = (EventCode.SWITCH_OPENED, EventCode.LIMIT_TRIPPED)
        self._judge.check(
            "C3-FR-28",
            f"to {billing}: service without interruption",
            claim=not case.events_since(start, *switched),
            measure=Witness.measure(served),
            predict=case.predict(not case.events_since(start, *switched, of=case.model)),
            expected=True,
            instrument_could_tell=case.has_switch,
        )
        self._judge.settle()

    # --- texts -------------------------------------------------------------------------------------------------------------

    def _check_text(self, what: str, code: DisplayCode, text: str) -> None:
        case = self._case
        self._judge.check(
            "C3-FR-29",
            f"{what}: the meter's display",
            system="Meter",
            claim=case.shown().get(code),
            predict=case.should_show(code),
            expected=text,
        )
        held = self._display.message()
        self._judge.check(
            "C3-FR-29",
            f"{what}: the display device",
            system="Meter",
            claim=None if held is None else held.text,
            expected=text,
        )
        self._judge.settle()

    def _speak(self, language: str) -> bool:
        wanted = Language[language.upper()]
        if wanted is Language.SPANISH and not self._judge.applicable("C3-FR-29", "spanish_text"):
            return False
        self._case.set_language(wanted)
        return True

    @keyword
    def text_is_shown_in_the_customers_language(self, language: str, number: int, text: str) -> None:
        """C3-FR-29: a text of the meter's catalogue, named by its number, in the customer's language."""
        if self._speak(language):
            self._case.send(MessageCode.TEXT, text=f"Text {number}", event_id=number)
            self._case.bench.advance(SETTLE_S)
            self._check_text(f"text {number} in {language.title()}", DisplayCode.MESSAGE, text)

    @keyword
    def text_is_shown_as_it_was_sent(self, text: str) -> None:
        """C3-FR-29: the utility's own words, letter for letter."""
        if self._speak("spanish"):
            self._case.send(MessageCode.TEXT, text=text)
            self._case.bench.advance(SETTLE_S)
            self._check_text("the utility's own words", DisplayCode.MESSAGE, text)

    @keyword
    def zero_is_told_in_the_customers_language(self, language: str, text: str) -> None:
        """C3-FR-29: what the meter says by itself when the balance has reached zero."""
        case = self._case
        if self._speak(language):
            case.bill(Billing.PREPAID)
            case.refresh(500)
            case.refresh(0)
            case.bench.advance(SETTLE_S)
            self._check_text(f"zero in {language.title()}", DisplayCode.NOTICE, text)

    # --- priorities ----------------------------------------------------------------------------------------------------------

    @keyword
    def configured_priority_goes_before_arrival(self) -> None:
        """C3-NFR-05: configured so, a connect that comes last goes before texts that wait; configured otherwise, after them.

        The messages' own priorities say the opposite each time.
        """
        case = self._case
        for command, urgent, order in (
            (MessageCode.CONNECT, True, "before texts that came earlier"),
            (MessageCode.DISCONNECT, False, "after texts that came earlier"),
        ):
            case.meter.set_message_priorities({command: 0 if urgent else 9, MessageCode.TEXT: 9 if urgent else 0})
            with case.meter.session():
                texts = [case.write(MessageCode.TEXT, text=f"Text {n}", priority=0 if urgent else 9) for n in range(6)]
                begun = case.bench.now
                message_id = case.write(command, priority=9 if urgent else 0)
            seen = case.service.when(command is MessageCode.CONNECT, DONE_WITHIN_S, since=begun)
            case.bench.advance(DONE_WITHIN_S)
            said, should = (
                self._overtakes(case.meter, message_id, texts),
                self._overtakes(case.model, message_id, texts),
            )
            last = case.receipt(texts[-1])
            done = None if last is None else last.completed_at - case.ahead_by()
            apart = None if seen is None or done is None else (seen - done).total_seconds()
            measure = None if apart is None else (apart < 0) is urgent
            told = apart is None or abs(apart) > case.service.moment_uncertainty_s
            doubt = None if told else "looked too seldom to tell which was first"
            instrument = {"measure": Witness.measure(measure, doubt=doubt)} if case.has_switch else {}
            self._judge.check(
                "C3-NFR-05",
                f"{command.name.lower()} goes {order}",
                claim=None if said is None else said is urgent,
                predict=case.predict(None if should is None else should is urgent),
                expected=True,
                instrument_could_tell=case.has_switch,
                **instrument,
            )
        self._judge.settle()

    def _overtakes(self, of: Any, message_id: int, texts: list[int]) -> bool | None:
        """Whether a message was processed before all of these but the one that was in work when it came."""
        done = [r.message_id for r in of.receipts() if r.message_id in (message_id, *texts)]
        if len(done) != len(texts) + 1:
            return None
        return done.index(message_id) <= 1

    # --- price, cost, balance ----------------------------------------------------------------------------------------------

    @keyword
    def price_and_cost_follow_at_once(self, millicents_per_kwh: int) -> None:
        """C3-NR-05: price and cost by the meter's display, price by the display device; cost follows the power at once."""
        case, judge = self._case, self._judge
        if not judge.applicable("C3-NR-05", "own_display", system="Meter"):
            return
        case.send(MessageCode.CONNECT)
        case.refresh(2000, price_millicents_per_kwh=millicents_per_kwh)
        case.bench.advance(SETTLE_S)
        judge.check(
            "C3-NR-05",
            "the price on the meter's display",
            system="Meter",
            claim=case.shown().get(DisplayCode.PRICE),
            predict=case.should_show(DisplayCode.PRICE),
            expected=f"${millicents_per_kwh / 100_000:.4f}/kWh",
        )
        judge.check(
            "C3-NR-05",
            "the price on the display device",
            system="Meter",
            claim=self._display.price_millicents_per_kwh(),
            expected=millicents_per_kwh,
        )
        share, digit = float(case.pixit("accuracy_class_percent")) / 100, float(case.pixit("display_cost_digit"))
        price = self._display.price_millicents_per_kwh()
        for part in (1.0, 0.4):
            case.draw(part * case.nominal_w)
            case.bench.advance(SETTLE_S)
            shown = case.shown().get(DisplayCode.COST, "")
            watts = case.service.analyzer.read().power_w
            cost = watts / 1000 * price / 1000 / 100
            judge.check(
                "C3-NR-05",
                f"the cost on the meter's display at {part:.0%} of the test load",
                system="Meter",
                claim=float(shown[1:-2]) if shown.endswith("/h") else None,
                measure=Witness.measure(cost, share * cost, "analyzer"),
                # Two instruments of known class, and the last digit that is shown.
                tolerance=2 * share * cost + digit,
            )
        judge.settle()

    @keyword
    def money_and_time_left_show_as_they_were_sent(self) -> None:
        """C3-NR-06: worked out in the back office, they show at the meter."""
        statement = self._case.statement()
        account = displayed.account(statement.balance_cents, statement.credit_wh, statement.time_left)
        expected = {code: account[code] for code in (DisplayCode.BALANCE, DisplayCode.TIME_LEFT)}
        self._check_shown("C3-NR-06", "by the back office:", expected, "Meter")
        self._judge.settle()

    @keyword
    def meter_works_out_the_balance(self, intervals: int) -> None:
        """C3-NR-06: amount and rate sent once, money and time left follow the energy, within one interval's of it."""
        case, judge = self._case, self._judge
        if not case.bench.pics()["Meter"].supports("balance_in_meter"):
            return
        case.bill(Billing.PREPAID)
        case.draw(case.nominal_w)
        case.past_the_daily_balance((intervals + 2) * case.interval)
        case.work_out_balance(True)
        sent = case.meter.account()
        start = case.next_mark()
        energy, _ = case.service.energy(start + intervals * case.interval)
        case.bench.advance(SETTLE_S)
        now, should = case.meter.account(), case.model.account()
        price = sent.price_millicents_per_kwh / 1_000_000  # cents a watt-hour
        wh, u = watt_hours(energy)
        hours = case.interval.total_seconds() / 3600
        seconds_a_wh = sent.time_left.total_seconds() / sent.credit_wh
        for what, got, model, was, rate, unit in (
            ("money left", now.balance_cents, should.balance_cents, sent.balance_cents, price, "cent"),
            (
                "time left",
                now.time_left.total_seconds(),
                should.time_left.total_seconds(),
                sent.time_left.total_seconds(),
                seconds_a_wh,
                "s",
            ),
        ):
            judge.check(
                "C3-NR-06",
                f"worked out by the meter: {what}",
                system="Meter",
                claim=float(got),
                measure=Witness.measure(was - wh * rate, u * rate, energy.source, energy.doubt),
                predict=case.predict(float(model)),
                tolerance=case.nominal_w * hours * rate + u * rate,
                unit=unit,
                instrument_could_tell=True,
            )
        judge.check(
            "C3-NR-06",
            "the display shows what the meter works out",
            system="Meter",
            claim=case.shown().get(DisplayCode.BALANCE),
            expected=displayed.money(now.balance_cents),
        )
        judge.settle()

    # --- what the assumptions say ------------------------------------------------------------------------------------------

    @keyword
    def meter_has_the_switch_that_it_declares(self) -> None:
        """C3-AS-02: declared, a disconnect takes the current away; not declared, the meter says that there is none."""
        case = self._case
        shown = case.meter.service().switch is not Switch.NONE
        if shown:
            case.send(MessageCode.CONNECT)
            before = case.service.flows().value
            case.send(MessageCode.DISCONNECT)
            case.bench.advance(1.0)
            shown = bool(before) and not case.service.flows().value
        self._judge.declared("C3-AS-02", "service_switch", shown, system="Meter")
        self._judge.settle()


def _days_ahead(case: AtTheMeter, days: int) -> datetime:
    """A full hour so many days ahead, beyond every event that the meter holds."""
    latest = max([case.bench.now, *(e.ends_at for e in case.meter.schedule())])
    return latest.replace(minute=0, second=0, microsecond=0) + timedelta(days=days)
