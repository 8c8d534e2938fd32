"""Events at the website: is the time free, what will it take, book it, pay for it, move it, end it (C3, scenarios 2 and 3).

The customer's pages and the desk's differ in their addresses only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from starlette.responses import Response

from twins.utility.css import PrepayRequest
from twins.utility.css.booking_checks import BookingChecks
from twins.utility.css.booking_records import (
    Answer,
    Booking,
    BookingRequest,
    BookingState,
    EventRequest,
    LocalTime,
    Moment,
)
from twins.utility.css.records import LoggedRequest
from twins.utility.errors import NotAccepted, Reason
from twins.utility.event_options import EventOutcome
from twins.utility.payments import PaymentMethod
from twins.utility.website import payforms, usage
from twins.utility.website.access import Role
from twins.utility.website.forms import Given
from twins.utility.website.site import Asked, NotHere, Page, Site, to


@dataclass(frozen=True)
class Where:
    """Addresses of one side's pages: a request's, and a booking's."""

    request: str
    booking: str


class EventPages:
    """Pages of events, for customers and for representatives."""

    def __init__(self, site: Site, defects: frozenset[str] = frozenset()) -> None:
        self._site = site
        self._defects = defects
        self._css = site.systems.css
        self._checks = BookingChecks(site.systems.css.context)
        self._cashier = site.systems.cashier
        taken = site.systems.config.payments.methods
        self._offered = {
            Role.CUSTOMER: payforms.methods(taken, payforms.AT_HOME),
            Role.REPRESENTATIVE: list(taken),
        }

    def pages(self) -> list[Page]:
        """The pages by their addresses."""
        customer, desk = Role.CUSTOMER, Role.REPRESENTATIVE
        found = [
            Page("/accounts/{account}/events", self.events, customer),
            Page("/accounts/{account}/events", self.ask, customer, "POST"),
            Page("/desk/accounts/{account}/events", self.events, desk),
        ]
        for role, request, booking in (
            (customer, "/accounts/{account}/requests/{request}/event", "/accounts/{account}/events/{booking}"),
            (desk, "/desk/requests/{request}/event", "/desk/events/{booking}"),
        ):
            found += [
                Page(request, self.event, role),
                Page(request, self.book, role, "POST"),
                Page(booking, self.booking, role),
                Page(f"{booking}/pay", self.pay, role, "POST"),
                Page(f"{booking}/move", self.move, role, "POST"),
                Page(f"{booking}/end", self.end, role, "POST"),
            ]
        return found

    # --- before a booking ---

    def events(self, asked: Asked) -> Response:
        """Events of an account, those to come and those past, and the customer's form for another one."""
        self._css.customers.account(asked.account)
        base = asked.request.url.path.rpartition("/")[0]
        bookings = self._css.bookings.of(asked.account)
        return self._site.show(asked, "events.html", base=base, account=asked.account, bookings=bookings)

    def ask(self, asked: Asked) -> Response:
        """The customer asks for an event at their own or somebody else's facility; that they signed in is their identity."""
        holder = self._css.front.holder(str(asked.visit.customer_id))
        asks = self.request(asked.given, (asked.account,), holder.name, holder.address, None, "website")
        request_id = self._css.log_request(asks)
        self._css.front.vouch(request_id, holder.customer_id)
        return to(f"/accounts/{asked.account}/requests/{request_id}/event")

    def request(
        self,
        given: Given,
        accounts: tuple[str, ...],
        name: str,
        address: str,
        credential: str | None,
        channel: str,
    ) -> PrepayRequest:
        """What a form with a start asks for. NotAccepted for a time that cannot be booked."""
        start, end = self._checks.span(_local(given, "starts_at"), _local(given, "ends_at"))
        location = given.text("location", needed=False) or accounts[0]
        return EventRequest(accounts, name, address, credential, start, end, channel, location)

    def event(self, asked: Asked) -> Response:
        """Whether the time is free (C3-S2.03, S3.03, S3.04), and what it will take (C3-S2.04, S3.05)."""
        logged = self._css.front.request(asked.request_id)
        where = self._wanted(asked, logged)
        found = self._css.bookings.availability(asked.request_id, *where)
        estimate = None
        if found.answer is Answer.FREE:
            try:
                estimate = self._css.bookings.estimate(asked.request_id, *where)
            except NotAccepted as no:  # a facility without a history is free all the same
                if no.reason is not Reason.NO_HISTORY:
                    raise
        zone = asked.texts.zone
        return self._site.show(
            asked,
            "event.html",
            base=self._where(asked, asked.request_id).request,
            availability=found,
            local={"starts_at": found.starts_at.astimezone(zone), "ends_at": found.ends_at.astimezone(zone)},
            estimate=estimate,
            chart=None if estimate is None else usage.by_day(estimate.history, asked.texts),
            outcomes=list(EventOutcome),
        )

    def book(self, asked: Asked) -> Response:
        """Hold the time. The same form twice is one booking."""
        logged = self._css.front.request(asked.request_id)
        location, *times = self._wanted(asked, logged)
        starts_at, ends_at = self._checks.span(*times)
        wanted = f"{location} {starts_at.isoformat()} {ends_at.isoformat()}"
        as_logged = (location, starts_at, ends_at) == (logged.location, logged.starts_at, logged.ends_at)
        other = "" if as_logged else f"-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"
        booking = self._css.bookings.book(
            BookingRequest(
                booking_id=f"web-{asked.request_id}{other}",
                request_id=asked.request_id,
                payer=logged.account_numbers[0],
                location=location,
                starts_at=starts_at,
                ends_at=ends_at,
                outcome=asked.given.choice("outcome", EventOutcome),
            )
        )
        return to(f"{self._where(asked, asked.request_id).booking}/{booking.booking_id}")

    def _wanted(self, asked: Asked, logged: LoggedRequest) -> tuple[str, Moment, Moment]:
        """Facility, start and end: those of the request, unless another time or facility is looked for."""
        if logged.starts_at is None or logged.ends_at is None or logged.location is None:
            raise NotHere
        given = asked.given
        starts_at, ends_at = (
            _local(given, name) if given.text(name, needed=False) else moment
            for name, moment in (("starts_at", logged.starts_at), ("ends_at", logged.ends_at))
        )
        return given.text("location", needed=False) or logged.location, starts_at, ends_at

    # --- a booking ---

    def booking(self, asked: Asked) -> Response:
        """An event: how far it is, what is in its purse, and the form to pay for it as long as it waits for that."""
        booking = self._booking(asked)
        request_id = _request_of(booking)
        offered: Sequence[PaymentMethod] = self._offered[asked.visit.role]
        method = payforms.chosen_method(asked, offered)
        waits = booking.state is BookingState.RESERVED and request_id is not None
        page = self._css.bookings.page(booking.booking_id)
        if "event_energy_at_another_price" in self._defects:
            page = replace(page, credit_wh=page.credit_wh * 9 // 10)
        if "event_time_left_without_days" in self._defects:
            page = replace(page, time_left=page.time_left % timedelta(days=1))
        return self._site.show(
            asked,
            "booking.html",
            base=self._where(asked, request_id or 0).booking,
            page=page,
            booking=booking,
            may_change=request_id is not None and booking.state in (BookingState.RESERVED, BookingState.PAID),
            pay=waits,
            payment_id=self._cashier.next_id(request_id) if waits and request_id is not None else "",
            estimate=self._css.bookings.estimate(request_id, booking.location, booking.starts_at, booking.ends_at)
            if waits and request_id is not None and booking.starts_at > self._site.now
            else None,
            minimum_cents=self._site.systems.config.payments.minimum_cents,
            methods=offered,
            method=method,
            fields=payforms.fields(method),
        )

    def pay(self, asked: Asked) -> Response:
        """Begin the payment of an event."""
        booking = self._booking(asked)
        payment = payforms.payment(
            asked, self._request_id(booking), booking.payer, self._offered[asked.visit.role], booking.booking_id
        )
        self._cashier.begin(payment)
        desk = asked.visit.role is Role.REPRESENTATIVE
        return to(f"{'/desk' if desk else f'/accounts/{booking.payer}'}/payments/{payment.payment_id}")

    def move(self, asked: Asked) -> Response:
        """Move an event that has not begun."""
        booking = self._booking(asked)
        start, end = _local(asked.given, "starts_at"), _local(asked.given, "ends_at")
        self._css.bookings.reschedule(self._request_id(booking), booking.booking_id, start, end)
        return to(f"{self._where(asked, 0).booking}/{booking.booking_id}")

    def end(self, asked: Asked) -> Response:
        """End an event, or cancel one to come; what is left of its credit goes back."""
        booking = self._booking(asked)
        self._css.bookings.end(self._request_id(booking), booking.booking_id)
        return to(f"{self._where(asked, 0).booking}/{booking.booking_id}")

    def _booking(self, asked: Asked) -> Booking:
        booking: Booking = self._css.bookings.booking(asked.part("booking"))
        return booking

    def _request_id(self, booking: Booking) -> int:
        request_id = _request_of(booking)
        if request_id is None:
            raise NotHere
        return request_id

    def _where(self, asked: Asked, request_id: int) -> Where:
        if asked.visit.role is Role.REPRESENTATIVE:
            return Where(f"/desk/requests/{request_id}", "/desk/events")
        return Where(f"/accounts/{asked.account}/requests/{request_id}", f"/accounts/{asked.account}/events")


def _request_of(booking: Booking) -> int | None:
    """The request that a booking of the website was made with; None where it was made elsewhere."""
    found = re.fullmatch(r"web-([0-9]{1,9})(-[0-9a-f]{8})?", booking.booking_id)
    return int(found[1]) if found else None


def _local(given: Given, name: str) -> LocalTime:
    """A local time as the form has it; which of two it is in the hour that comes twice, where that is said."""
    wall: datetime = given.wall(name)
    fold = given.text(f"{name}_fold", needed=False)
    return LocalTime(wall, int(fold) if fold in ("0", "1") else None)
