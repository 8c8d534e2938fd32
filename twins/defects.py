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
_add("ami-meter", "sleeps_through_events", "C3-NFR-03", "does not energise at the start of a scheduled event")

# --- Display device of the home area network ---------------------------------------------------------------------------
_add(
    "raven",
    "shows_old_balance",
    "C3-S1.13 C3-FR-03 C3-S4.04 C3-S5.06",
    "keeps showing the first balance that it was told",
)
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
_add("css", "account_page_keeps_old_balance", "C3-S1.12 C3-S4.05", "shows the balance from before the payment")
_add("css", "usage_without_daily_average", "C3-MSG-11", "shows usage without the daily average")
_add("css", "refuses_bank_payments", "C3-BR-01", "refuses one of the utility's current payment methods")
_add("css", "takes_any_amount", "C3-BR-02", "takes a payment below the minimum")

_add("css", "threshold_at_47_hours", "C3-S4.01 C3-S5.01", "takes 47 hours of service left for the threshold")
_add("css", "threshold_at_49_hours", "C3-S4.01 C3-S5.01", "takes 49 hours of service left for the threshold")
_add("css", "forecast_stays_at_threshold", "C3-NR-03", "warns of 48 hours left, however many there are")
_add("css", "always_refreshes", "C3-S4.07", "goes on sending the balance every interval after it was replenished")
_add("css", "never_replenishes", "C3-S4.07 C3-S5.08", "decides on an automatic payment and never makes it")
_add("css", "replenishes_over_and_over", "C3-NR-04", "tries an automatic payment that is declined twenty times")
_add("css", "zero_goes_unsaid", "C3-MSG-16", "tells nobody that the balance has reached zero")
_add("css", "zero_changes_nothing", "C3-S5.08 C3-MSG-17 C3-NR-04", "commands nothing when the balance reaches zero")
_add("css", "always_disconnects", "C3-NR-04", "disconnects at zero, whatever the customer chose")
_add("css", "keeps_limiting", "C3-NR-04", "leaves the demand limit after the customer has paid again")
_add("css", "balance_every_other_day", "C3-FR-09", "sends the daily balance every other day")
_add("css", "daily_balance_an_hour_late", "C3-FR-09", "sends the daily balance an hour after the time configured")
_add("css", "posts_pay_stations_hourly", "C3-BR-03", "posts payments of pay stations at the full hour")

# --- ADCS ------------------------------------------------------------------------------------------------------------
_add("adcs", "requests_not_logged", "C3-S1.07 C3-FR-32", "does not log the requests of other systems")
_add("adcs", "drops_energy_credit", "C3-MSG-08", "sends the prepayment without its energy credit")
_add("adcs", "keeps_receipts", "C3-S1.09 C3-S5.04", "does not pass receipts on to the MDMS")
_add("adcs", "passes_receipts_only", "C3-FR-12", "passes receipts to the MDMS, but no logs and intervals")
_add("adcs", "sent_not_logged", "C3-FR-25", "does not log what it sends to the meter")
_add("adcs", "received_not_logged", "C3-FR-25", "does not log what it receives from the meter")
_add("adcs", "ignores_test_requests", "C3-FR-32", "accepts a request for a meter test and never carries it out")
_add("adcs", "passes_receipts_in_batches", "C3-NFR-06", "passes receipts to the MDMS every 15 minutes")
_add("adcs", "holds_commands_a_minute", "C3-NFR-02", "queues connect, disconnect, limit and restore for a minute")
_add("adcs", "collects_every_other_day", "C3-FR-20", "collects interval data every 48 hours")
_add("adcs", "schedules_wait_for_collection", "C3-FR-30", "sends schedules with the next collection, not on demand")

_add("adcs", "collects_every_other_interval", "C3-FR-07 C3-MSG-14", "collects a watched meter every other interval")
_add("adcs", "balance_every_other_interval", "C3-FR-08 C3-S4.02 C3-S5.02", "sends every other balance near zero")
_add("adcs", "drops_zero_moment", "C3-MSG-13", "sends balances without the estimated moment of zero")

# --- MDMS ------------------------------------------------------------------------------------------------------------
_add("mdms", "receipts_not_published", "C3-S1.10 C3-S5.05", "logs receipts and does not make them available")
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
