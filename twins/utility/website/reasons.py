"""The utility's refusals, options, states and fields in words of the catalogue."""

from __future__ import annotations

from twins.utility.errors import Reason
from twins.utility.website.forms import N_

REASONS: dict[Reason, str] = {
    Reason.UNKNOWN_ACCOUNT: N_("There is no such account."),
    Reason.UNKNOWN_REQUEST: N_("There is no such request."),
    Reason.UNKNOWN_PAYMENT: N_("There is no such payment."),
    Reason.NOT_THE_CUSTOMER: N_("What was given is not what we know of the customer. Nothing is confirmed."),
    Reason.IDENTITY_NOT_CONFIRMED: N_("The customer's identity has to be confirmed first."),
    Reason.TIME_FRAME: N_("The time frame cannot be: it has to begin now or later, and to end after that."),
    Reason.NO_HISTORY: N_("There is no consumption history yet to estimate from."),
    Reason.AMOUNT_NOT_POSITIVE: N_("The amount has to be more than zero."),
    Reason.BELOW_MINIMUM: N_("The amount is below the smallest payment that we take."),
    Reason.METHOD_NOT_TAKEN: N_("This way to pay is not taken."),
    Reason.PAYMENT_DATA_MISSING: N_("Some of the payment data is missing."),
    Reason.DECLINED: N_("The payment was declined. Nothing was charged; please pay by other means."),
    Reason.NO_ANSWER: N_("We do not know yet what became of the payment. Give it again: it is charged once."),
    Reason.IN_PROGRESS: N_("The payment is being processed."),
    Reason.OPTION_NOT_POSSIBLE: N_("This account cannot have that option at zero."),
    Reason.PAYMENT_ID_REUSED: N_("This form was sent before with other data. Open the page again to pay once more."),
    Reason.NOT_CONFIRMED_YET: N_("The meter has not confirmed yet."),
    Reason.UNKNOWN_METER: N_("There is no such meter."),
    Reason.UNKNOWN_MESSAGE: N_("There is no such message."),
    Reason.INCOMPLETE_REQUEST: N_("Something is missing in the request."),
    Reason.IN_THE_PAST: N_("This time is past."),
    Reason.END_BEFORE_START: N_("The end has to come after the start."),
    Reason.TOO_LONG: N_("An event cannot last that long."),
    Reason.NO_SUCH_LOCAL_TIME: N_("There is no such time on that day: the clocks go forward then."),
    Reason.AMBIGUOUS_LOCAL_TIME: N_("This hour comes twice on that day: say whether you mean the first or the second."),
    Reason.OVERLAP: N_("The time is taken by another event."),
    Reason.DUPLICATE: N_("This event is booked already."),
    Reason.UNKNOWN_FACILITY: N_("There is no such facility."),
    Reason.FACILITY_NOT_ENABLED: N_("This facility is not set up for prepayment by others."),
    Reason.NOT_THE_PAYER: N_("Only who pays for the event may do this."),
    Reason.NOT_ELIGIBLE: N_("This option cannot be had at that facility."),
    Reason.BOOKING_ID_REUSED: N_("This form was sent before with other data. Open the page again."),
    Reason.UNKNOWN_BOOKING: N_("There is no such event."),
    Reason.RESERVATION_LAPSED: N_("The time was held no longer. Book it again."),
    Reason.BOOKING_OVER: N_("The event is over or has begun."),
    Reason.UNKNOWN_EVENT: N_("There is no such event."),
    Reason.UNKNOWN_REPORT: N_("There is no such report."),
    Reason.UNKNOWN_ORDER: N_("There is no such order."),
    Reason.TEXT_NOT_TAKEN: N_(
        "This text cannot be taken: it is empty, too long, or has characters that we do not know."
    ),
    Reason.NOT_POSSIBLE_NOW: N_("This is not possible now."),
    Reason.NOT_ALLOWED: N_("This is not yours to do."),
    Reason.NOTHING_PREPAID: N_("Nothing is left of what was prepaid."),
    Reason.NOT_OPEN: N_("Our records cannot be reached right now."),
}

OPTIONS: dict[str, str] = {
    "disconnect": N_("Switch the service off"),
    "limit": N_("Limit the service"),
    "regular_billing": N_("Go on with a monthly bill"),
    "auto_replenish": N_("Pay again automatically"),
    "charge_payer": N_("Go on at the payer's expense"),
}

STATES: dict[str, str] = {
    "prepaid": N_("Prepaid"),
    "regular": N_("Monthly bill"),
    "card": N_("Credit card"),
    "debit": N_("Debit card"),
    "bank": N_("Bank account"),
    "check": N_("Paper check"),
    "pay_station": N_("Pay station"),
    "cash": N_("Cash"),
    "processed": N_("Processed"),
    "duplicate": N_("Received twice, applied once"),
    "refused": N_("Refused by the meter"),
    "malformed": N_("Not understood by the meter"),
    "overlap": N_("Overlaps another event"),
    "free": N_("The time is free"),
    "taken": N_("The time is taken"),
    "not_set_up": N_("Not set up for prepayment"),
    "reserved": N_("Held until it is paid for"),
    "paid": N_("Paid"),
    "closed": N_("Closed"),
    "cancelled": N_("Cancelled"),
    "logged": N_("Reported"),
    "identified": N_("Identity confirmed"),
    "testing": N_("The meter is being tested"),
    "passed": N_("The meter passed its test"),
    "activating": N_("The service is being switched on again"),
    "activated": N_("The meter has power"),
    "ordered": N_("Somebody is on the way"),
    "restored": N_("Power is back"),
    "test": N_("Meter test"),
    "activation": N_("Re-activation"),
    "retest": N_("Test after the re-activation"),
    "field": N_("Field order"),
    "trouble": N_("Trouble order"),
    "issued": N_("Issued"),
    "assigned": N_("Assigned"),
    "under way": N_("Under way"),
    "reopened": N_("Opened again"),
}

STAGES: dict[str, str] = {
    "in progress": N_("In progress"),
    "refused": N_("Not paid"),
    "posted": N_("Paid"),
    "confirmed": N_("Paid, and confirmed by the meter"),
}


def reason_text(reason: str) -> str:
    """The text of a refusal, by the reason's name."""
    return (
        REASONS.get(Reason(reason), N_("This is not possible")) if reason in set(Reason) else N_("This is not possible")
    )


FIELDS: dict[str, str] = {
    "token": N_("Form"),
    "form": N_("Form"),
    "login": N_("User name"),
    "password": N_("Password"),
    "language": N_("Language"),
    "amount": N_("Amount in dollars"),
    "method": N_("Way to pay"),
    "option": N_("When the balance reaches zero"),
    "ends_at": N_("End"),
    "starts_at": N_("Start"),
    "name": N_("Name"),
    "address": N_("Address"),
    "credential": N_("Proof of identity"),
    "accounts": N_("Account numbers"),
    "channel": N_("Asked by"),
    "q": N_("Search"),
    "location": N_("Facility (account number)"),
    "outcome": N_("When the event's credit is used up"),
    "since": N_("Since when"),
    "text": N_("What happened"),
    "note": N_("Note"),
    "to": N_("Given to"),
    "act": N_("Form"),
    "day": N_("Day"),
    "payment": N_("Payment"),
    "data_number": N_("Card number"),
    "data_expiry": N_("Expiry (MM/YY)"),
    "data_account": N_("Bank account number"),
    "data_routing": N_("Routing number"),
    "data_check": N_("Check number"),
    "data_receipt": N_("Receipt number"),
    "data_station": N_("Pay station"),
    "data_office": N_("Office"),
}
