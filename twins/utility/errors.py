"""How the utility's systems say no: one exception with a reason that programs can read and a line that people can."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Why something was not accepted."""

    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_REQUEST = "unknown_request"
    NOT_THE_CUSTOMER = "not_the_customer"
    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    TIME_FRAME = "time_frame"
    NO_HISTORY = "no_history"
    AMOUNT_NOT_POSITIVE = "amount_not_positive"
    BELOW_MINIMUM = "below_minimum"
    AMOUNT_NOT_WHOLE = "amount_not_whole"
    MORE_THAN_FITS = "more_than_fits"  # into what a meter can hold
    MORE_THAN_THERE_IS = "more_than_there_is"
    METHOD_NOT_TAKEN = "method_not_taken"
    PAYMENT_DATA_MISSING = "payment_data_missing"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"  # of the payment processor
    IN_PROGRESS = "in_progress"
    OPTION_NOT_POSSIBLE = "option_not_possible"
    PAYMENT_ID_REUSED = "payment_id_reused"
    PAYMENT_ID_NOT_TAKEN = "payment_id_not_taken"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_CONFIRMED_YET = "not_confirmed_yet"
    UNKNOWN_METER = "unknown_meter"
    UNKNOWN_MESSAGE = "unknown_message"
    INCOMPLETE_REQUEST = "incomplete_request"
    IN_THE_PAST = "in_the_past"
    END_BEFORE_START = "end_before_start"
    TOO_LONG = "too_long"
    NO_SUCH_LOCAL_TIME = "no_such_local_time"
    AMBIGUOUS_LOCAL_TIME = "ambiguous_local_time"
    OVERLAP = "overlap"
    DUPLICATE = "duplicate"
    UNKNOWN_FACILITY = "unknown_facility"
    FACILITY_NOT_ENABLED = "facility_not_enabled"
    NOT_THE_PAYER = "not_the_payer"
    NOT_ELIGIBLE = "not_eligible"
    BOOKING_ID_REUSED = "booking_id_reused"
    UNKNOWN_BOOKING = "unknown_booking"
    RESERVATION_LAPSED = "reservation_lapsed"
    BOOKING_OVER = "booking_over"
    UNKNOWN_EVENT = "unknown_event"
    UNKNOWN_REPORT = "unknown_report"
    UNKNOWN_ORDER = "unknown_order"
    TEXT_NOT_TAKEN = "text_not_taken"
    NOT_POSSIBLE_NOW = "not_possible_now"
    NOT_ALLOWED = "not_allowed"  # to who asks
    NOTHING_PREPAID = "nothing_prepaid"
    UNKNOWN_COMMAND = "unknown_command"
    NOT_PLANNED = "not_planned"  # carried out or cancelled already
    NOT_PLANNABLE = "not_plannable"
    UNKNOWN_ALERT = "unknown_alert"
    NOT_REPEATABLE = "not_repeatable"
    ALERT_IS_OVER = "alert_is_over"
    UNKNOWN_RULE = "unknown_rule"
    RULE_NOT_POSSIBLE = "rule_not_possible"
    PRIORITY_OUT_OF_RANGE = "priority_out_of_range"
    NOT_OPEN = "not_open"  # the database cannot be opened


class NotAccepted(Exception):
    """A system of the utility understood and said no. The message is one line and names what would be accepted."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
