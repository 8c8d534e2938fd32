"""Keywords of what scenarios 2 and 3 have to hold to: options when an event's credit is used up, several events at a place,
what is refused, programmes A and B."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from robot.api.deco import keyword, library

from bench.booking import EventCase
from bench.burning import BURNING_A, Burning
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from drivers.roles import AtZero, MessageCode
from twins.utility.adcs_schedules import EventOrder
from twins.utility.css import EventOutcome
from twins.utility.errors import NotAccepted

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@library(scope="TEST")
class prepayment_event_rules(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """Rules of events. `meter` names the meter under test in the bench file."""

    @cached_property
    def _case(self) -> EventCase:
        return EventCase(session().bench, self._meter, own=False)

    @cached_property
    def _own(self) -> EventCase:
        return EventCase(session().bench, self._meter)

    @cached_property
    def _burning(self) -> Burning:
        return Burning(self._case)

    # --- when the credit is used up ------------------------------------------------------------------------------------------

    @keyword
    def somebody_elses_event_runs_until_its_credit_is_used_up(
        self, outcome: str, cents: int, lasting: timedelta
    ) -> None:
        """Booked and paid for by the payer of programme B, with that option; nothing of it is checked here."""
        case = self._case
        case.outcome = EventOutcome(outcome)
        case.prepay_event(timedelta(minutes=30), lasting, cents)
        case.pass_until(case.starts_at)
        self._burning.draw(BURNING_A)
        case.until_empty(lasting)
        self._burning.draw()

    @keyword
    def the_service_is_disconnected_at_zero(self) -> None:
        """C3-NR-04: no current at the load side."""
        self._case.bench.advance(60.0)
        self._check_flow("C3-NR-04", "disconnected when the credit is used up", False, system="CSS")
        self._judge.settle()

    @keyword
    def the_service_is_limited_at_zero(self) -> None:
        """C3-NR-04: the load, above the limit, is tripped."""
        case = self._case
        seen = case.service.when(False, 120)
        self._judge.check(
            "C3-NR-04",
            "the meter has the limit",
            system="CSS",
            claim=case.meter.service().limit_w,
            expected=case.bench.config.utility.events.limit_w,
        )
        self._judge.check(
            "C3-NR-04",
            "a load above the limit is tripped",
            system="CSS",
            measure=seen is not None,
            expected=True,
        )
        self._judge.settle()

    @keyword
    def the_payer_goes_on_paying_until_they_end_the_event(self) -> None:
        """C3-NR-04: the service stays on at the payer's expense; nobody else can end the event, the payer can."""
        case = self._case
        self._burning.interval_passes()  # with it the interval in which the load was brought back
        self._check_flow("C3-NR-04", "kept on when the credit is used up", system="CSS")
        before = case.payer_cents()
        case.bench.advance(case.interval.total_seconds())
        price = case.bench.config.utility.tariff.price_millicents_per_kwh
        hourly = case.meter.reading().power_w * (case.interval / HOUR) * price / 10**6
        self._check_amount(
            "C3-NR-04",
            "an interval's energy is charged to the payer's own account",
            float(before - case.payer_cents()),
            round(hourly, 2),
        )
        self._judge.check(
            "C3-NR-04",
            "somebody else cannot end the event",
            system="CSS",
            claim=self._ended_by_somebody_else(),
            expected="not_the_payer",
        )
        case.desk.end(case.request_id, case.booking.booking_id)
        case.bench.advance(30.0)
        self._check_flow("C3-NR-04", "ended by the payer: off as before the event", False, system="CSS")
        case.bench.advance(case.interval.total_seconds())
        ended = case.payer_cents()
        case.bench.advance(2 * case.interval.total_seconds())
        self._judge.check(
            "C3-NR-04",
            "nothing more is charged",
            system="CSS",
            claim=case.payer_cents(),
            expected=ended,
            unit="cent",
        )
        self._judge.settle()

    def _ended_by_somebody_else(self) -> str | None:
        other, event = self._own, self._case
        other.ask_for(2 * HOUR, HOUR)
        other.identify()
        try:
            other.desk.end(other.request_id, event.booking.booking_id)
        except NotAccepted as no:
            return str(no.reason)
        return None

    # --- the head-end ----------------------------------------------------------------------------------------------------------

    @keyword
    def adcs_schedules_several_events_at_one_location(self, events: int) -> None:
        """C3-FR-16: all of them kept, sent, and stored by the meter; two of them back to back."""
        case = self._own
        ids = []
        for k in range(events):
            case.prepay_event(timedelta(days=2) + (k if k < 2 else 2 * k) * timedelta(minutes=90), HOUR, 1000)
            ids.append(case.event_id)
        case.bench.advance(1.0)
        kept = [e.event_id for e in case.kept()]
        self._judge.check("C3-FR-16", "events kept", claim=sum(event_id in kept for event_id in ids), expected=events)
        case.bench.advance(timedelta(days=1, hours=12).total_seconds())
        held = [e.event_id for e in case.meter.schedule()]
        self._judge.check(
            "C3-FR-16", "events at the meter", claim=sum(event_id in held for event_id in ids), expected=events
        )
        self._judge.settle()

    @keyword
    def adcs_refuses_schedules_that_overlap(self) -> None:
        """C3-FR-17: by an hour, by a second, around and inside; and the double of one. Back to back it takes."""
        case = self._own
        case.prepay_event(timedelta(days=3), 2 * HOUR, 1000)
        start, end = case.starts_at, case.ends_at
        for what, begins, ends, taken in (
            ("the double of an event", start, end, False),
            ("one that overlaps by an hour", end - HOUR, end + HOUR, False),
            ("one that overlaps by a second", end - SECOND, end + HOUR, False),
            ("one that ends a second late", start - HOUR, start + SECOND, False),
            ("one around another", start - HOUR, end + HOUR, False),
            ("one inside another", start + SECOND, end - SECOND, False),
            ("one right after another", end, end + HOUR, True),
            ("one right before another", start - HOUR, start, True),
        ):
            event_id = case.ask(case.adcs.new_message_id)
            order = EventOrder(event_id, case.meter_id, begins, ends, 1000, AtZero.DISCONNECT, source="suite")
            try:
                case.ask(case.schedules.take, order)
                claim = True
            except NotAccepted:
                claim = False
            self._judge.check("C3-FR-17", f"{what} is {'taken' if taken else 'refused'}", claim=claim, expected=taken)
            kept = [e.event_id for e in case.kept()]
            self._judge.check(
                "C3-FR-17", f"{what} is {'kept' if taken else 'not kept'}", claim=event_id in kept, expected=taken
            )
            if claim:
                case.ask(case.schedules.cancel, event_id)
        self._judge.settle()

    @keyword
    def adcs_sends_schedules_ahead(self) -> None:
        """C3-NFR-08: the lead of an event that starts in three days; one that starts within the lead is sent at once."""
        case = self._own
        lead = timedelta(seconds=self._judge.seconds("C3-NFR-08", "lead before start"))
        case.prepay_event(lead - 2 * HOUR, HOUR, 1000)
        posted = case.bench.now - SECOND  # which passes after the payment
        at_once = self._judge.limit("C3-FR-30", "at once")
        sent_at = case.until_sent(posted + timedelta(seconds=10), posted + HOUR)
        self._judge.check(
            "C3-NFR-08",
            "one that is nearer is sent at once",
            claim=None if sent_at is None else (sent_at - posted).total_seconds(),
            expected=at_once.value,
            tolerance=at_once.tolerance,
            unit="s",
        )
        case.prepay_event(timedelta(days=3), HOUR, 1000)
        latest = case.starts_at - lead
        sent_at = case.until_sent(latest + SECOND, latest + 2 * HOUR)
        case.until_receipt(case.event_id, 120)
        self._judge.check(
            "C3-NFR-08",
            "sent before the start",
            claim=None if sent_at is None else case.starts_at - sent_at,
            measure=Witness.measure(case.taken_before_start(), timedelta(0), "bench"),
            limit="lead before start",
            instrument_could_tell=True,
        )
        self._judge.settle()

    # --- the programmes --------------------------------------------------------------------------------------------------------

    @keyword
    def own_site_is_activated_at_once_or_for_a_chosen_time(self) -> None:
        """C3-NR-01: current flows at once after a prepayment for service, and from start to end of a prepaid event."""
        case = self._own
        case.option = AtZero.DISCONNECT
        case.prepay(1500)
        case.until_receipt(case.message_id, 60)
        self._check_flow("C3-NR-01", "activated at once", system="CSS")
        case.send(MessageCode.DISCONNECT)
        case.prepay_event(timedelta(minutes=40), HOUR, 1000)
        case.pass_until(case.starts_at - timedelta(seconds=5))
        self._check_flow("C3-NR-01", "not before the chosen start", False, system="CSS")
        case.pass_until(case.starts_at + timedelta(seconds=5))
        self._check_flow("C3-NR-01", "from the chosen start on", system="CSS")
        case.pass_until(case.ends_at - timedelta(seconds=5))
        self._check_flow("C3-NR-01", "until the chosen end", system="CSS")
        case.pass_until(case.ends_at + timedelta(seconds=5))
        self._check_flow("C3-NR-01", "not after the chosen end", False, system="CSS")
        self._judge.settle()

    @keyword
    def facility_of_somebody_else_needs_prepayment_enabled(self) -> None:
        """C3-NR-02: the event of a payer who does not own the facility is served; where it is not enabled, refused."""
        case = self._case
        case.prepay_event(timedelta(minutes=30), HOUR, 1000)
        self._judge.check(
            "C3-NR-02",
            "where prepayment is not enabled it is refused",
            system="CSS",
            claim=case.refused(case.booking_asked("not-enabled", location=case.not_set_up)),
            expected="facility_not_enabled",
        )
        case.pass_until(case.starts_at + timedelta(seconds=5))
        self._check_flow("C3-NR-02", "where it is enabled the event is served", system="CSS")
        case.pass_until(case.ends_at + timedelta(seconds=5))
        self._judge.settle()

    @keyword
    def customer_is_told_energy_and_cost_of_an_event(self) -> None:
        """C3-NR-07: both, from history, and they belong together."""
        case = self._own
        case.ask_for(timedelta(days=2), timedelta(hours=20))
        case.identify()
        estimate = case.desk.estimate(case.request_id, case.location, case.starts_at, case.ends_at)
        energy = case.expected_wh()
        share = float(case.stated("estimate_within_percent")) / 100
        self._judge.check(
            "C3-NR-07",
            "energy expected",
            system="CSS",
            claim=estimate.energy_wh,
            expected=round(energy, 1),
            tolerance=round(share * energy, 1),
            unit="Wh",
        )
        self._judge.check(
            "C3-NR-07",
            "cost",
            system="CSS",
            claim=float(estimate.cost_cents),
            expected=round(energy * case.bench.config.utility.tariff.price_millicents_per_kwh / 10**6, 2),
            tolerance=round(share * estimate.cost_cents + case.stated("amount_rounding_cents"), 2),
            unit="cent",
        )
        self._judge.settle()
