"""Events in the utility's tests: a facility of Ada's, Ben who has none there, and what either books and pays for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.utility.conftest import ACCOUNT, METER, Town, means_of
from twins.utility.css import BookingRequest, EventRequest, Payment
from twins.utility.payments import PaymentMethod

PAYER, CLOSED_HALL = "B-1", "C-1"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

ADA = {
    "id": "C-1",
    "name": "Ada Byron",
    "address": "7 Elm Street, Springfield",
    "credential": "analytical engine",
    "accounts": [
        {
            "number": ACCOUNT,
            "meter_id": METER,
            "service_address": "7 Elm Street",
            "bill_cycle_day": 15,
            "others_may_prepay": True,
            "history": {"days": 40, "by_hour_wh": [float(100 * (h + 1)) for h in range(24)], "spread": 0.0},
        },
        {
            "number": CLOSED_HALL,
            "meter_id": "TB-000009",
            "service_address": "8 Elm Street",
            "billing": "regular",
            "elsewhere": True,
        },
    ],
}
BEN = {
    "id": "C-2",
    "name": "Ben Cole",
    "address": "1 Oak Street, Springfield",
    "credential": "difference engine",
    "accounts": [
        {
            "number": PAYER,
            "meter_id": "TB-000002",
            "service_address": "1 Oak Street",
            "billing": "regular",
            "elsewhere": True,
        }
    ],
}


def hall(town: Callable[..., Town], *defects: str, **changes: Any) -> Town:
    """A facility of Ada's with the meter, and Ben who has none on this bench."""
    return town(*defects, **{"customers": [ADA, BEN], **changes})


def asked(here: Town, who: dict[str, Any] = ADA, **changes: Any) -> int:
    """A confirmed request of somebody for an event."""
    now = here.clock.now()
    fields = {
        "account_numbers": (who["accounts"][0]["number"],),
        "name": who["name"],
        "address": who["address"],
        "credential": who["credential"],
        "starts_at": now + DAY,
        "ends_at": now + 2 * DAY,
        "location": ACCOUNT,
    }
    request = here.ask(here.utility.css.log_request, EventRequest(**{**fields, **changes}))
    here.ask(here.utility.css.identify, request, who["credential"])
    return request


def booking(here: Town, name: str = "E-1", who: dict[str, Any] = ADA, **changes: Any) -> BookingRequest:
    """The booking of three days from now, two hours."""
    start = here.clock.now() + 3 * DAY
    fields: dict[str, Any] = {
        "booking_id": name,
        "payer": who["accounts"][0]["number"],
        "location": ACCOUNT,
        "starts_at": start,
        "ends_at": start + 2 * HOUR,
    }
    fields |= changes
    fields.setdefault("request_id", 0)
    return BookingRequest(**({**fields, "request_id": fields["request_id"] or asked(here, who)}))


def book(here: Town, *args: Any, **changes: Any) -> Any:
    return here.ask(here.utility.css.bookings.book, booking(here, *args, **changes))


def pay(here: Town, made: Any, cents: int = 1_000, payment_id: str = "", **changes: Any) -> Any:
    means = changes.pop("means", None) or means_of(PaymentMethod.CARD)
    name = payment_id or f"P-{made.booking_id}"
    return here.loop.run(
        here.utility.css.pay(
            Payment(name, made.request_id, made.payer, cents, means, booking_id=made.booking_id, **changes)
        )
    )
