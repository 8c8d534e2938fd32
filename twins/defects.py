"""The catalogue of seeded non-conformities: small changes of behaviour, each named after what it does wrong; and of what
keeps just inside a limit, which must pass where what is just outside fails.

A defect is switched on by name when a twin is built; the behaviour asks `name in self.defects` at the one place where it
goes wrong. Never in the wire, never in a test.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnknownDefect(Exception):
    """No defect of that name stands in the catalogue."""


@dataclass(frozen=True)
class Defect:
    """One non-conformity: which twin has it, which catalogue ids it breaks, what it does.

    What keeps just inside a limit breaks nothing, and `keeps` has the ids that it comes near to: their tests must pass.
    """

    name: str
    of: str  # a twin's model (`ami-meter`) or a system (`css`, `adcs`, `mdms`, `website`)
    breaks: tuple[str, ...]
    does: str
    keeps: tuple[str, ...] = ()


CATALOGUE: dict[str, Defect] = {}
"""What does not conform."""

INSIDE: dict[str, Defect] = {}
"""What conforms, just so."""


def _add(of: str, name: str, breaks: str, does: str) -> None:
    if name in CATALOGUE:
        raise ValueError(f"defect {name!r} stands twice in the catalogue")
    CATALOGUE[name] = Defect(name, of, tuple(breaks.split()), does)


def _inside(of: str, name: str, keeps: str, does: str) -> None:
    if name in CATALOGUE or name in INSIDE:
        raise ValueError(f"{name!r} stands twice in the catalogue")
    INSIDE[name] = Defect(name, of, (), does, tuple(keeps.split()))


_ALL = "`twinbench defects --list` shows all"


def find(name: str) -> Defect:
    """The defect of that name; UnknownDefect with the nearest names where there is none."""
    try:
        return CATALOGUE[name] if name in CATALOGUE else INSIDE[name]
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, [*CATALOGUE, *INSIDE], n=3)
        told = f"nearest: {', '.join(near)} ({_ALL})" if near else _ALL
        raise UnknownDefect(f"no defect {name!r}; {told}") from None


def of(model: str, names: tuple[str, ...] | frozenset[str]) -> frozenset[str]:
    """Those of `names` that a twin of `model` has; UnknownDefect for a name not in the catalogue."""
    return frozenset(name for name in names if find(name).of == model)


# --- The AMI meter ---------------------------------------------------------------------------------------------------
_add("ami-meter", "leaves_service_off", "C3-S1.08", "processes and receipts a prepayment but does not energise")
_add("ami-meter", "no_receipt", "C3-FR-15 C3-S1.08", "processes a prepayment and returns no receipt")
_add("ami-meter", "receipt_without_meter_id", "C3-FR-15", "leaves the meter id of its receipts blank")
_add("ami-meter", "receipt_without_message_id", "C3-MSG-10", "puts 0 where a receipt names its message")
_add("ami-meter", "receipt_stamped_on_arrival", "C3-FR-15", "stamps a receipt with the arrival, not the completion")
_add("ami-meter", "display_without_update_time", "C3-FR-01", "does not show when the balance was last updated")
_add(
    "ami-meter",
    "display_keeps_old_balance",
    "C3-S1.12 C3-FR-01 C3-S2.14",
    "keeps showing the balance from before the message",
)
_add("ami-meter", "display_without_time_left", "C3-MSG-12 C3-FR-01", "does not show the time left")
_add(
    "ami-meter",
    "display_energy_at_another_price",
    "C3-S1.12 C3-S2.14 C3-FR-01",
    "shows the energy that the balance would buy at a higher price",
)
_add(
    "ami-meter",
    "display_time_left_without_days",
    "C3-S1.12 C3-S2.14 C3-FR-01",
    "shows the hours and minutes left and leaves out the days",
)
_add("ami-meter", "logs_without_code", "C3-FR-05", "logs a prepayment message without its code")
_add(
    "ami-meter",
    "logs_no_code_of_schedules",
    "C3-FR-05",
    "logs schedules, conversions of billing and tests without their code",
)
_add("ami-meter", "logs_senders_time", "C3-FR-05", "logs a message with the sender's time, not its own clock's")
_add("ami-meter", "receipts_not_logged", "C3-FR-26", "does not log the receipts that it sends")
_add("ami-meter", "two_hour_intervals", "C3-FR-19", "records intervals of two hours whatever it is told")
_add("ami-meter", "intervals_read_low", "C3-FR-19", "records a tenth too little energy in its intervals")
_add(
    "ami-meter", "executes_late", "C3-NFR-02", "executes connect, disconnect, limit and restore 61 s after it got them"
)
_add("ami-meter", "takes_credit_locally", "C3-BR-01 C3-AS-03", "lets credit be added at the meter itself")
_add("ami-meter", "passes_nothing_to_the_display", "C3-FR-03 C3-S1.13", "tells its display device nothing but the time")
_add(
    "ami-meter",
    "passes_nothing_with_own_display_off",
    "C3-FR-03",
    "tells its display device nothing while its own display is switched off",
)
_add("ami-meter", "passes_to_the_display_late", "C3-NFR-01", "tells its display device everything five minutes late")
_add(
    "ami-meter",
    "passes_to_the_display_two_seconds_late",
    "C3-NFR-01",
    "tells its display device everything two seconds late",
)
_add(
    "ami-meter", "passes_no_usage_to_the_display", "C3-NFR-01", "does not pass demand and register when it records them"
)
_add(
    "ami-meter",
    "passes_no_demand_to_the_display",
    "C3-NFR-01",
    "passes the register when it records it, and not the demand",
)
_add(
    "ami-meter",
    "passes_balance_without_time_left",
    "C3-MSG-12 C3-MSG-15 C3-FR-03",
    "passes the balance to its display device without the time left",
)
_add(
    "ami-meter",
    "refreshes_display_daily",
    "C3-FR-02 C3-S4.03 C3-S5.03",
    "takes over a refreshed balance once a day at most",
)
_add("ami-meter", "stays_prepaid", "C3-FR-27 C3-S5.08", "receipts a conversion to regular billing and stays prepaid")
_add("ami-meter", "commands_wait_ten_seconds", "C3-NFR-03", "lets commands wait ten seconds before it processes them")
_add("ami-meter", "limits_wait_ten_seconds", "C3-NFR-03", "lets demand limits wait ten seconds, and no other command")
_add("ami-meter", "stored_commands_ten_seconds_late", "C3-NFR-03 C3-FR-04", "runs stored commands ten seconds late")
_add(
    "ami-meter",
    "commands_wait_six_tenths_of_a_second",
    "C3-NFR-03",
    "lets commands wait 0.6 s before it processes them",
)
_add("ami-meter", "tests_line_side", "C3-S6.05", "tells of its line side where a test asks for the load side")
_add("ami-meter", "tests_not_logged", "C3-S6.05", "does not log the tests that it is asked for")
_add("ami-meter", "tests_late", "C3-NFR-14", "begins a test 61 s after it was asked for it")
_add("ami-meter", "loses_events", "C3-S2.10", "receipts a scheduled event and does not keep it")
_add("ami-meter", "sleeps_through_events", "C3-NFR-03 C3-S2.13", "does not energise at the start of a scheduled event")
_add(
    "ami-meter",
    "receipts_without_switching",
    "C3-FR-04 C3-AS-02",
    "receipts connect, disconnect and limit and leaves things be",
)
_add("ami-meter", "ignores_stored_commands", "C3-FR-04 C3-FR-06", "never carries out the commands stored beforehand")
_add("ami-meter", "limit_never_trips", "C3-FR-06 C3-FR-22", "takes a demand limit and serves any demand")
_add("ami-meter", "stored_limits_do_nothing", "C3-FR-06", "carries out stored commands, but for those that limit")
_add("ami-meter", "keeps_second_of_overlapping", "C3-FR-18", "keeps the later of two overlapping events")
_add("ami-meter", "no_overlap_alert", "C3-FR-18", "refuses an overlapping event without alert")
_add("ami-meter", "stores_one_event", "C3-FR-18", "stores one event at a time")
_add("ami-meter", "overlooks_an_overlap_of_a_second", "C3-FR-18", "takes events that overlap by a second")
_add(
    "ami-meter", "refuses_back_to_back_events", "C3-FR-18", "takes an event for overlapping that begins as another ends"
)
_add(
    "ami-meter", "one_limit_step", "C3-FR-21", "limits to the first limit that it was given, whatever it is told later"
)
_add("ami-meter", "steps_of_a_fixed_capacity", "C3-FR-21", "takes limit steps for shares of a capacity of its own")
_add("ami-meter", "recloses_twice", "C3-FR-22", "re-closes by itself after a second trip as well")
_add("ami-meter", "never_recloses", "C3-FR-22", "does not re-close by itself after a trip")
_add("ami-meter", "recloses_after_117_seconds", "C3-FR-22", "re-closes 117 s after a trip")
_add("ami-meter", "recloses_after_123_seconds", "C3-FR-22", "re-closes 123 s after a trip")
_add("ami-meter", "button_does_nothing", "C3-FR-23", "does not re-close by hand")
_add("ami-meter", "button_lifts_the_limit", "C3-FR-23", "ends the demand limit when it is re-closed by hand")
_add("ami-meter", "button_rearms", "C3-FR-23", "re-closes by itself again after a re-close by hand")
_add("ami-meter", "converts_inside_interval", "C3-FR-28", "converts billing inside a recording interval")
_add("ami-meter", "converts_an_interval_late", "C3-FR-28", "converts billing an interval later than it should")
_add("ami-meter", "drops_service_on_conversion", "C3-FR-28", "interrupts the service for 2 s when billing converts")
_add("ami-meter", "spanish_in_english", "C3-FR-29 C3-MSG-16", "shows Spanish-speaking customers its texts in English")
_add("ami-meter", "shows_no_accents", "C3-FR-29", "shows question marks for letters that English does not have")
_add("ami-meter", "first_come_first_served", "C3-NFR-05", "processes messages in the order in which they came")
_add("ami-meter", "ignores_configured_priorities", "C3-NFR-05", "goes by the messages' own priorities alone")
_add("ami-meter", "price_stands", "C3-NR-05", "keeps showing the first price that it was sent")
_add(
    "ami-meter",
    "cost_of_the_last_interval",
    "C3-NR-05",
    "shows what the last interval's power cost, not the present one's",
)
_add("ami-meter", "local_balance_ignores_price", "C3-NR-06", "works out the balance at a price of its own")
_add("ami-meter", "local_balance_stands", "C3-NR-06", "is told to work out the balance and does not")
_add("ami-meter", "local_time_left_stands", "C3-NR-06", "works out the balance and leaves the time left as it was sent")

# --- Display device of the home area network ---------------------------------------------------------------------------
_add(
    "raven",
    "shows_old_balance",
    "C3-S1.13 C3-FR-03 C3-S2.15 C3-S4.04 C3-S5.06",
    "keeps showing the first balance that it was told",
)
_add("raven", "shows_balance_without_time_left", "C3-S1.13 C3-MSG-12", "shows the balance without the time left")
_add(
    "raven",
    "shows_time_left_without_days",
    "C3-S1.13 C3-S2.15",
    "shows the hours of the time left and leaves out the days",
)
_add("raven", "shows_late", "C3-NFR-01", "shows balances and texts five minutes after it got them")

# --- CSS -------------------------------------------------------------------------------------------------------------
_add("css", "request_without_time_frame", "C3-MSG-01", "drops the time frame from the logged request")
_add("css", "customer_without_address", "C3-MSG-02", "returns customer data without the address")
_add("css", "confirms_anybody", "C3-S1.02 C3-S2.02 C3-S3.02 C3-S6.02", "confirms an identity whatever the credentials")
_add(
    "css",
    "estimate_ignores_history",
    "C3-S1.03 C3-S2.04 C3-S3.05 C3-NR-07",
    "estimates the same amount whatever was consumed",
)
_add("css", "estimate_without_history", "C3-MSG-05", "returns an estimate without the consumption it stands on")
_add("css", "payment_without_method", "C3-MSG-06", "drops the payment method from the logged payment")
_add("css", "posting_without_option", "C3-MSG-07", "posts the amount without the option at zero")
_add("css", "posts_without_funds", "C3-S1.05 C3-S2.06 C3-S3.07", "posts an amount that the payment processor declined")
_add("css", "never_commands", "C3-S1.06", "posts the payment and never asks for it to be sent to the meter")
_add("css", "confirms_without_receipt", "C3-S1.11", "confirms before the meter's receipt is there")
_add("css", "account_page_keeps_old_balance", "C3-S1.12 C3-S4.05", "shows the balance from before the payment")
_add("css", "usage_without_daily_average", "C3-MSG-11", "shows usage without the daily average")
_add("css", "refuses_bank_payments", "C3-BR-01", "refuses one of the utility's current payment methods")
_add("css", "takes_any_amount", "C3-BR-02", "takes a payment below the minimum")
_add("css", "report_without_since", "C3-MSG-18", "drops since when there is no power from the logged report")
_add("css", "shows_no_activation", "C3-S6.03 C3-MSG-19", "shows what was prepaid without the command to energise")
_add("css", "never_tests", "C3-MSG-20", "logs the request for a meter test and never commands it")
_add("css", "test_result_without_current", "C3-MSG-21 C3-S6.08", "shows test results without the load-side current")
_add("css", "never_activates", "C3-S6.09 C3-MSG-22", "logs a request to re-activate and never commands it")
_add("css", "passes_silent_meters", "C3-S6.10", "takes a meter that does not answer for one that has passed its test")
_add("css", "issues_no_field_order", "C3-S6.10 C3-MSG-22", "issues the trouble order and no field order")
_add("css", "issues_no_trouble_order", "C3-S6.10 C3-MSG-22", "issues the field order and no trouble order")
_add("css", "bills_weekly", "C3-AS-01", "bills every week instead of every cycle")
_add("css", "bills_prepaid_energy", "C3-AS-01", "puts energy that was prepaid on the bill once more")
_add("css", "disconnects_without_switch", "C3-AS-02", "offers disconnect and limit where the meter has no switch")
_add("css", "request_without_location", "C3-MSG-01", "drops the facility from the logged request for an event")
_add("css", "offers_taken_times", "C3-S2.03 C3-S3.04 C3-MSG-03", "takes every time for free")
_add("css", "books_any_facility", "C3-S3.03 C3-NR-02", "books events where prepayment is not enabled")
_add("css", "estimate_without_energy", "C3-NR-07", "tells the cost of an event and not its energy")
_add("css", "books_a_minute_late", "C3-MSG-04", "books events from a minute after the start asked for")
_add("css", "events_start_at_once", "C3-NR-01", "has every event start when it is booked")
_add("css", "event_not_linked", "C3-S3.07 C3-MSG-07", "posts an event's payment without the facility")
_add("css", "never_schedules", "C3-S2.07 C3-S3.08", "takes the money for an event and never orders it")
_add("css", "keeps_what_is_left", "C3-S2.06", "does not give back what is left of an event's credit")
_add("css", "events_pay_a_tenth_too_little", "C3-S2.06", "charges an event nine tenths of the energy that it took")
_add("css", "event_balance_not_sent", "C3-S2.14", "does not tell the meter the credit of the event that runs")
_add("css", "does_nothing_at_event_zero", "C3-NR-04", "lets an event go on when its credit is used up")
_add("css", "disconnects_who_pays_on", "C3-NR-04", "disconnects when an event's credit is used up, whatever was chosen")

_add("css", "threshold_at_47_hours", "C3-S4.01 C3-S5.01", "takes 47 hours of service left for the threshold")
_add("css", "threshold_at_49_hours", "C3-S4.01 C3-S5.01", "takes 49 hours of service left for the threshold")
_add(
    "css",
    "forecast_ignores_history",
    "C3-S4.01 C3-S5.01 C3-NR-03 C3-FR-01 C3-S1.12 C3-S2.14 C3-S4.05",
    "forecasts the time left by a typical home, whatever was consumed",
)
_add("css", "forecast_stays_at_threshold", "C3-NR-03", "warns of 48 hours left, however many there are")
_add("css", "always_refreshes", "C3-S4.07", "goes on sending the balance every interval after it was replenished")
_add("css", "never_replenishes", "C3-S4.07 C3-S5.08", "decides on an automatic payment and never makes it")
_add("css", "replenishes_over_and_over", "C3-NR-04", "tries an automatic payment that is declined twenty times")
_add("css", "zero_goes_unsaid", "C3-MSG-16", "tells nobody that the balance has reached zero")
_add("css", "texts_in_english_only", "C3-MSG-16", "tells Spanish-speaking customers in English that nothing is left")
_add("css", "zero_changes_nothing", "C3-S5.08 C3-MSG-17 C3-NR-04", "commands nothing when the balance reaches zero")
_add("css", "always_disconnects", "C3-NR-04", "disconnects at zero, whatever the customer chose")
_add("css", "keeps_limiting", "C3-NR-04", "leaves the demand limit after the customer has paid again")
_add("css", "balance_every_other_day", "C3-FR-09", "sends the daily balance every other day")
_add("css", "daily_balance_an_hour_late", "C3-FR-09", "sends the daily balance an hour after the time configured")
_add("css", "posts_pay_stations_hourly", "C3-BR-03", "posts payments of pay stations at the full hour")

# --- ADCS ------------------------------------------------------------------------------------------------------------
_add("adcs", "requests_not_logged", "C3-S1.07 C3-FR-32", "does not log the requests of other systems")
_add("adcs", "drops_energy_credit", "C3-MSG-08", "sends the prepayment without its energy credit")
_add("adcs", "keeps_receipts", "C3-S1.09 C3-S2.11 C3-S5.04", "does not pass receipts on to the MDMS")
_add("adcs", "passes_receipts_only", "C3-FR-12", "passes receipts to the MDMS, but no logs and intervals")
_add("adcs", "sent_not_logged", "C3-FR-25", "does not log what it sends to the meter")
_add("adcs", "received_not_logged", "C3-FR-25", "does not log what it receives from the meter")
_add(
    "adcs",
    "ignores_test_requests",
    "C3-FR-32 C3-S6.04 C3-MSG-20",
    "accepts a request for a meter test and never carries it out",
)
_add("adcs", "passes_receipts_in_batches", "C3-NFR-06", "passes receipts to the MDMS every 15 minutes")
_add(
    "adcs", "passes_receipts_two_seconds_late", "C3-NFR-06", "passes a receipt to the MDMS two seconds after it came in"
)
_add(
    "adcs",
    "passes_intervals_two_seconds_late",
    "C3-NFR-06",
    "passes interval usage to the MDMS two seconds after it came in",
)
_add(
    "adcs",
    "passes_test_results_two_seconds_late",
    "C3-NFR-06",
    "passes a test's results to the MDMS two seconds after they came in",
)
_add("adcs", "holds_commands_a_minute", "C3-NFR-02", "queues connect, disconnect, limit and restore for a minute")
_add("adcs", "collects_every_other_day", "C3-FR-20", "collects interval data every 48 hours")
_add("adcs", "schedules_wait_for_collection", "C3-FR-30", "sends schedules with the next collection, not on demand")
_add("adcs", "tests_from_memory", "C3-FR-13", "answers every meter test with the result of the first one")
_add("adcs", "takes_in_test_results_late", "C3-NFR-14", "takes in a test's results 61 s after its request")
_add("adcs", "keeps_test_results", "C3-S6.06", "does not pass test results on to the MDMS")

_add("adcs", "planned_commands_go_at_once", "C3-FR-14", "sends a planned command when it is planned")
_add("adcs", "keeps_the_first_moment", "C3-FR-14", "sends a command at the moment for which it was planned first")
_add("adcs", "sends_cancelled_commands", "C3-FR-14", "sends a planned command that was cancelled")
_add("adcs", "rules_at_any_time", "C3-FR-10", "has rules in force outside their schedule")
_add("adcs", "rules_for_every_class", "C3-FR-10", "applies a rule to customers of every class")
_add("adcs", "rules_without_weather", "C3-FR-10", "never brings a rule about weather into force")
_add("adcs", "forgets_held_commands", "C3-FR-10", "never carries out what a rule held back")
_add("adcs", "held_commands_not_logged", "C3-FR-10", "does not log what a rule holds back")
_add("adcs", "never_sends_texts", "C3-FR-11", "takes informational messages and never sends them")
_add("adcs", "never_sends_limits", "C3-FR-11", "takes demand limits and never sends them")
_add("adcs", "alerts_once", "C3-FR-24", "sends an alert once and never repeats it")
_add("adcs", "alerts_beyond_their_end", "C3-FR-24", "goes on with an alert beyond the moment of its end")
_add("adcs", "alerts_after_they_are_taken_back", "C3-FR-24", "goes on with an alert that was taken back")
_add("adcs", "alerts_hourly_whatever_is_asked", "C3-NFR-11", "repeats alerts each hour whatever frequency is asked")
_add("adcs", "alerts_wait_a_minute", "C3-NFR-09", "sends an alert 61 s after the request")
_add("adcs", "sends_in_order_of_arrival", "C3-NFR-04", "sends messages in the order of their requests")
_add("adcs", "keeps_its_own_priorities", "C3-NFR-04", "ignores the priorities that the utility configures")
_add("adcs", "retries_at_43_s", "C3-NFR-10", "retries a connect or disconnect 43 s after its first sending")
_add("adcs", "retries_at_47_s", "C3-NFR-10", "retries a connect or disconnect 47 s after its first sending")
_add(
    "adcs",
    "logs_retries_at_45_s",
    "C3-NFR-10",
    "retries a connect or disconnect 42 s after its first sending and logs that it was 45 s",
)
_add("adcs", "never_retries", "C3-NFR-10", "does not retry a connect or disconnect that has no receipt")
_add("adcs", "retries_with_a_new_id", "C3-NFR-10", "gives the retry of a message another id")
_add("adcs", "schedules_not_logged", "C3-S2.08", "keeps no log of the event schedules that it takes")
_add("adcs", "sends_schedules_23_h_ahead", "C3-S2.09 C3-NFR-08", "sends events 23 h before they start")
_add("adcs", "sends_schedules_a_minute_late", "C3-S2.09 C3-NFR-08", "sends events 23 h 59 min before they start")
_add("adcs", "schedules_without_credit", "C3-MSG-09", "sends events without their energy credit")
_add("adcs", "one_event_per_location", "C3-FR-16", "keeps one event at a time for a meter")
_add("adcs", "takes_overlapping_schedules", "C3-FR-17", "takes events that overlap or double another")
_add("adcs", "refuses_events_back_to_back", "C3-FR-17", "takes events for overlapping that follow each other")

_add("adcs", "collects_every_other_interval", "C3-FR-07 C3-MSG-14", "collects a watched meter every other interval")
_add("adcs", "balance_every_other_interval", "C3-FR-08 C3-S4.02 C3-S5.02", "sends every other balance near zero")
_add("adcs", "drops_zero_moment", "C3-MSG-13", "sends balances without the estimated moment of zero")

# --- MDMS ------------------------------------------------------------------------------------------------------------
_add("mdms", "receipts_not_published", "C3-S1.10 C3-S2.12 C3-S5.05", "logs receipts and does not make them available")
_add("mdms", "hides_meter_logs", "C3-FR-31", "stores meter logs and does not make them available")
_add("mdms", "hides_balances", "C3-FR-31", "stores balance statements and does not make them available")
_add("mdms", "hides_schedules", "C3-FR-31", "stores the schedules of meters and does not make them available")
_add("mdms", "publishes_hourly", "C3-NFR-07", "makes data available at the full hour")
_add("mdms", "publishes_two_seconds_late", "C3-NFR-07", "makes data available two seconds after they came in")
_add("mdms", "hides_test_results", "C3-S6.07", "stores test results and does not make them available")

# --- The website -----------------------------------------------------------------------------------------------------
_add("website", "usage_without_latest_interval", "C3-NR-05", "shows a day's usage without its latest interval")
_add(
    "website",
    "account_energy_at_another_price",
    "C3-S1.12 C3-S4.05",
    "shows the energy that the balance would buy at a higher price",
)
_add(
    "website",
    "account_time_left_without_days",
    "C3-S1.12 C3-S4.05",
    "shows the hours left of an account and leaves out the days",
)
_add(
    "website",
    "event_energy_at_another_price",
    "C3-S2.14",
    "shows the energy that an event's credit would buy at a higher price",
)
_add(
    "website",
    "event_time_left_without_days",
    "C3-S2.14",
    "shows the hours left of an event's credit and leaves out the days",
)
_add(
    "website",
    "report_without_customers_address",
    "C3-MSG-02",
    "shows who reports no power without the address that the CSS has",
)

# --- A simulated fleet -------------------------------------------------------------------------------------------------
_add("fleet", "loses_messages", "C3-NFR-12", "never repeats a prepayment message that the network lost")
_add("fleet", "far_meters_abound", "C3-NFR-12 C3-NFR-13", "reaches one meter in twenty so badly that 1.7 % stay lost")
_add("fleet", "some_meters_out_of_reach", "C3-NFR-12 C3-NFR-13", "loses 16 % to one meter in a thousand")
_add("fleet", "ignores_commands", "C3-NFR-13", "does not process one command in 200")
_add(
    "fleet", "some_meters_ignore_commands", "C3-NFR-13", "has one meter in 33 that does not process one command in 100"
)
_add(
    "fleet",
    "few_meters_ignore_many_commands",
    "C3-NFR-13",
    "has one meter in a thousand that does not process one command in ten",
)

# --- Just inside a limit -----------------------------------------------------------------------------------------------
_inside(
    "ami-meter",
    "executes_at_59_s",
    "C3-NFR-02",
    "executes connect, disconnect, limit and restore 59 s after they were sent",
)
_inside(
    "ami-meter", "commands_wait_a_tenth_of_a_second", "C3-NFR-03", "lets commands wait 0.1 s before it processes them"
)
_inside(
    "ami-meter",
    "passes_to_the_display_half_a_second_late",
    "C3-NFR-01",
    "tells its display device everything half a second late",
)
_inside("adcs", "alerts_wait_55_s", "C3-NFR-09", "sends an alert 55 s after the request")
_inside("adcs", "takes_in_test_results_at_59_s", "C3-NFR-14", "takes in a test's results 59 s after its request")
_inside("adcs", "sends_schedules_a_minute_early", "C3-NFR-08", "sends events 24 h 1 min before they start")
_inside("adcs", "passes_receipts_half_a_second_late", "C3-NFR-06", "passes a receipt on half a second after it came in")
_inside(
    "adcs", "retries_half_a_second_early", "C3-NFR-10", "retries a connect or disconnect 44.5 s after its first sending"
)
_inside(
    "adcs", "retries_half_a_second_late", "C3-NFR-10", "retries a connect or disconnect 45.5 s after its first sending"
)
_inside("mdms", "publishes_half_a_second_late", "C3-NFR-07", "makes data available half a second after they came in")
