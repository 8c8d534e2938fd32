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
    MORE_THAN_THERE_IS = "more_than_there_is"
    METHOD_NOT_TAKEN = "method_not_taken"
    PAYMENT_DATA_MISSING = "payment_data_missing"
    DECLINED = "declined"
    NO_ANSWER = "no_answer"  # of the payment processor
    IN_PROGRESS = "in_progress"
    OPTION_NOT_POSSIBLE = "option_not_possible"
    PAYMENT_ID_REUSED = "payment_id_reused"
    UNKNOWN_PAYMENT = "unknown_payment"
    NOT_CONFIRMED_YET = "not_confirmed_yet"
    UNKNOWN_METER = "unknown_meter"
    UNKNOWN_MESSAGE = "unknown_message"
    INCOMPLETE_REQUEST = "incomplete_request"
    NOT_OPEN = "not_open"  # the database cannot be opened


class NotAccepted(Exception):
    """A system of the utility understood and said no. The message is one line and names what would be accepted."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
