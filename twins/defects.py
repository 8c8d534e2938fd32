"""The catalogue of seeded non-conformities: small changes of behaviour, each named after what it does wrong.

A defect is switched on by name when a twin is built; the behaviour asks `name in self.defects` at the one place where it
goes wrong. Never in the wire, never in a test.
"""

from __future__ import annotations

from dataclasses import dataclass


class UnknownDefect(Exception):
    """No defect of that name stands in the catalogue."""


@dataclass(frozen=True)
class Defect:
    """One non-conformity: which twin has it, which catalogue ids it breaks, what it does."""

    name: str
    of: str  # a twin's model (`ami-meter`) or a system (`css`, `adcs`, `mdms`)
    breaks: tuple[str, ...]
    does: str


CATALOGUE: dict[str, Defect] = {}


def _add(of: str, name: str, breaks: str, does: str) -> None:
    if name in CATALOGUE:
        raise ValueError(f"defect {name!r} stands twice in the catalogue")
    CATALOGUE[name] = Defect(name, of, tuple(breaks.split()), does)


def find(name: str) -> Defect:
    """The defect of that name; UnknownDefect with the nearest names where there is none."""
    try:
        return CATALOGUE[name]
    except KeyError:
        import difflib

        near = difflib.get_close_matches(name, CATALOGUE, n=3) or sorted(CATALOGUE)[:3]
        raise UnknownDefect(
            f"no defect {name!r}; nearest: {', '.join(near)} (`twinbench defects --list` shows all)"
        ) from None


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
_add("ami-meter", "display_keeps_old_balance", "C3-S1.12 C3-FR-01", "keeps showing the balance from before the message")
_add("ami-meter", "display_without_time_left", "C3-MSG-12 C3-FR-01", "does not show the time left")
_add("ami-meter", "logs_without_code", "C3-FR-05", "logs a prepayment message without its code")
_add("ami-meter", "logs_senders_time", "C3-FR-05", "logs a message with the sender's time, not its own clock's")
_add("ami-meter", "receipts_not_logged", "C3-FR-26", "does not log the receipts that it sends")
_add("ami-meter", "two_hour_intervals", "C3-FR-19", "records intervals of two hours whatever it is told")
_add("ami-meter", "intervals_read_low", "C3-FR-19", "records a tenth too little energy in its intervals")
_add(
    "ami-meter", "executes_late", "C3-NFR-02", "executes connect, disconnect, limit and restore 61 s after it got them"
)
_add("ami-meter", "takes_credit_locally", "C3-BR-01", "lets credit be added at the meter itself")
_add("ami-meter", "passes_nothing_to_the_display", "C3-FR-03 C3-S1.13", "tells its display device nothing but the time")
_add(
    "ami-meter",
    "passes_nothing_with_own_display_off",
    "C3-FR-03",
    "tells its display device nothing while its own display is switched off",
)
_add("ami-meter", "passes_to_the_display_late", "C3-NFR-01", "tells its display device everything five minutes late")
_add(
    "ami-meter", "passes_no_usage_to_the_display", "C3-NFR-01", "does not pass demand and register when it records them"
)
_add(
    "ami-meter",
    "passes_balance_without_time_left",
    "C3-MSG-12 C3-FR-03",
    "passes the balance to its display device without the time left",
)
_add("ami-meter", "refreshes_display_daily", "C3-FR-02", "takes over a refreshed balance once a day at most")
_add("ami-meter", "stays_prepaid", "C3-FR-27", "receipts a conversion to regular billing and stays prepaid")
_add("ami-meter", "commands_wait_ten_seconds", "C3-NFR-03", "lets commands wait ten seconds before it processes them")
_add("ami-meter", "sleeps_through_events", "C3-NFR-03", "does not energise at the start of a scheduled event")
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
_add("ami-meter", "spanish_in_english", "C3-FR-29", "shows Spanish-speaking customers its texts in English")
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
_add("raven", "shows_old_balance", "C3-S1.13 C3-FR-03", "keeps showing the first balance that it was told")
_add("raven", "shows_balance_without_time_left", "C3-S1.13 C3-MSG-12", "shows the balance without the time left")
_add("raven", "shows_late", "C3-NFR-01", "shows balances and texts five minutes after it got them")

# --- CSS -------------------------------------------------------------------------------------------------------------
_add("css", "request_without_time_frame", "C3-MSG-01", "drops the time frame from the logged request")
_add("css", "customer_without_address", "C3-MSG-02", "returns customer data without the address")
_add("css", "confirms_anybody", "C3-S1.02", "confirms an identity whatever the credentials")
_add("css", "estimate_ignores_history", "C3-S1.03", "estimates the same amount whatever was consumed")
_add("css", "estimate_without_history", "C3-MSG-05", "returns an estimate without the consumption it stands on")
_add("css", "payment_without_method", "C3-MSG-06", "drops the payment method from the logged payment")
_add("css", "posting_without_option", "C3-MSG-07", "posts the amount without the option at zero")
_add("css", "posts_without_funds", "C3-S1.05", "posts an amount that the payment processor declined")
_add("css", "never_commands", "C3-S1.06", "posts the payment and never asks for it to be sent to the meter")
_add("css", "confirms_without_receipt", "C3-S1.11", "confirms before the meter's receipt is there")
_add("css", "account_page_keeps_old_balance", "C3-S1.12", "shows the balance from before the payment")
_add("css", "usage_without_daily_average", "C3-MSG-11", "shows usage without the daily average")
_add("css", "refuses_bank_payments", "C3-BR-01", "refuses one of the utility's current payment methods")
_add("css", "takes_any_amount", "C3-BR-02", "takes a payment below the minimum")

# --- ADCS ------------------------------------------------------------------------------------------------------------
_add("adcs", "requests_not_logged", "C3-S1.07 C3-FR-32", "does not log the requests of other systems")
_add("adcs", "drops_energy_credit", "C3-MSG-08", "sends the prepayment without its energy credit")
_add("adcs", "keeps_receipts", "C3-S1.09", "does not pass receipts on to the MDMS")
_add("adcs", "passes_receipts_only", "C3-FR-12", "passes receipts to the MDMS, but no logs and intervals")
_add("adcs", "sent_not_logged", "C3-FR-25", "does not log what it sends to the meter")
_add("adcs", "received_not_logged", "C3-FR-25", "does not log what it receives from the meter")
_add("adcs", "ignores_test_requests", "C3-FR-32", "accepts a request for a meter test and never carries it out")
_add("adcs", "passes_receipts_in_batches", "C3-NFR-06", "passes receipts to the MDMS every 15 minutes")
_add("adcs", "holds_commands_a_minute", "C3-NFR-02", "queues connect, disconnect, limit and restore for a minute")
_add("adcs", "collects_every_other_day", "C3-FR-20", "collects interval data every 48 hours")
_add("adcs", "schedules_wait_for_collection", "C3-FR-30", "sends schedules with the next collection, not on demand")

# --- MDMS ------------------------------------------------------------------------------------------------------------
_add("mdms", "receipts_not_published", "C3-S1.10", "logs receipts and does not make them available")
_add("mdms", "hides_meter_logs", "C3-FR-31", "stores meter logs and does not make them available")
_add("mdms", "publishes_hourly", "C3-NFR-07", "makes data available at the full hour")

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
