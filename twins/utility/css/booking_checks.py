"""What a booking has to be before it can hold its time: a time that can be, a facility that may be booked, a possible option."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from twins.utility.css.booking_records import BookingState, LocalTime, Moment, Span
from twins.utility.css.booking_tables import BookingRow
from twins.utility.css.context import Part
from twins.utility.css.tables import AccountRow, CustomerRow
from twins.utility.errors import NotAccepted, Reason
from twins.utility.event_options import EventOutcome, Programme


class BookingChecks(Part):
    """Checks of time, facility and option."""

    def moment(self, given: Moment) -> datetime:
        """The UTC instant of a time; NotAccepted for a local time that does not exist, or that comes twice."""
        if isinstance(given, datetime) and given.tzinfo is not None:
            return given.astimezone(UTC)
        local = given if isinstance(given, LocalTime) else LocalTime(given)
        wall = local.wall.replace(tzinfo=self._zone)
        first, second = (wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        if first == second:
            return first
        name = f"{local.wall:%Y-%m-%d %H:%M}"
        if first > second:
            raise NotAccepted(
                Reason.NO_SUCH_LOCAL_TIME,
                f"CSS: there is no {name}: the clock goes forward past it; give a time before or after",
            )
        if local.fold not in (0, 1):
            raise NotAccepted(
                Reason.AMBIGUOUS_LOCAL_TIME,
                f"CSS: {name} comes twice that night; say whether the first (fold 0) or the second (fold 1) is meant",
            )
        return second if local.fold else first

    def span(self, starts_at: Moment, ends_at: Moment) -> Span:
        """Start and end in UTC; NotAccepted for a time that cannot be booked."""
        start, end = self.moment(starts_at), self.moment(ends_at)
        now, longest = self._clock.now(), timedelta(seconds=self._config.events.longest_s)
        if end <= start:
            raise NotAccepted(
                Reason.END_BEFORE_START,
                f"CSS: the event ends at {end.isoformat()}, not after its start; give a later end",
            )
        if start < now:
            raise NotAccepted(
                Reason.IN_THE_PAST,
                f"CSS: the event starts at {start.isoformat()}, which is past; give a start from {now.isoformat()} on",
            )
        if end - start > longest:
            raise NotAccepted(Reason.TOO_LONG, f"CSS: the event lasts {end - start}; book at most {longest} at a time")
        return start, end

    def facility(self, number: str, payer: AccountRow) -> tuple[AccountRow, Programme]:
        """The account of a facility, and the programme under which `payer` may book it; NotAccepted where they may not."""
        with Session(self._engine) as session:
            account = session.get(AccountRow, number)
        if account is None:
            raise NotAccepted(
                Reason.UNKNOWN_FACILITY, f"CSS: no facility {number!r}; ask for the account number of the site"
            )
        programme = Programme.OWN if account.customer_id == payer.customer_id else Programme.FACILITY
        if not self.set_up(account, programme):
            raise NotAccepted(
                Reason.FACILITY_NOT_ENABLED,
                f"CSS: facility {number} is not set up for prepayment; its owner can have it enabled",
            )
        return account, programme

    def set_up(self, account: AccountRow, programme: Programme) -> bool:
        """Whether events can be prepaid at an account."""
        if "books_any_facility" in self._defects:
            return True
        return not account.elsewhere and (programme is Programme.OWN or account.others_may_prepay)

    def option(self, account: AccountRow, programme: Programme, outcome: EventOutcome) -> None:
        """NotAccepted where an option cannot be had at a facility (D5, D20)."""
        why = self.not_eligible(account, programme, outcome)
        if why:
            raise NotAccepted(
                Reason.NOT_ELIGIBLE,
                f"CSS: facility {account.number} cannot have {outcome.value} when the credit is used up: {why}",
            )

    def not_eligible(self, account: AccountRow, programme: Programme, outcome: EventOutcome) -> str:
        """Why an option cannot be had, empty where it can. Asked at booking, and again when the credit is used up."""
        with Session(self._engine) as session:
            customer = session.get_one(CustomerRow, account.customer_id)
        given = self._config.events.of_class(customer.customer_class)
        possible = [
            o.value
            for o in given
            if (account.has_switch or not o.needs_switch)
            and o is not (EventOutcome.CHARGE_PAYER if programme is Programme.OWN else EventOutcome.REGULAR_BILLING)
        ]
        if outcome.value in possible:
            return ""
        choose = f"choose {' or '.join(possible)}" if possible else "no events can be prepaid there"
        if outcome.needs_switch and not account.has_switch:
            return f"the meter has no switch; {choose}"
        if outcome in given:
            own = "the payer's own facility" if programme is Programme.OWN else "somebody else's facility"
            return f"it is not for {own}; {choose}"
        return f"it is not for {customer.customer_class} customers; {choose}"

    def free(self, location: str, span: Span, payer: str, but: str = "") -> None:
        """NotAccepted where a time is taken by a booking other than `but`; back to back is no overlap (D9)."""
        if "offers_taken_times" in self._defects:
            return
        with Session(self._engine) as session:
            others = [b for b in taking(session, location, span, self._clock.now()) if b.booking_id != but]
        for other in others:
            when = f"{other.starts_at.isoformat()} to {(other.ended_at or other.ends_at).isoformat()}"
            if (other.starts_at, other.ends_at, other.payer) == (*span, payer):
                raise NotAccepted(
                    Reason.DUPLICATE, f"CSS: facility {location} is booked for the same time by the same payer already"
                )
            raise NotAccepted(
                Reason.OVERLAP, f"CSS: facility {location} is taken {when}; choose a time before or after"
            )


def taking(session: Session, location: str, span: Span, now: datetime) -> Sequence[BookingRow]:
    """Bookings that hold some of a time at a facility, by start: those paid for, and reservations that have not lapsed."""
    rows = session.scalars(
        select(BookingRow)
        .where(
            BookingRow.location == location,
            BookingRow.starts_at < span[1],
            BookingRow.ends_at > span[0],
            or_(
                BookingRow.state.in_([BookingState.PAID, BookingState.CLOSED]),
                and_(BookingRow.state == BookingState.RESERVED, BookingRow.hold_until > now),
            ),
        )
        .order_by(BookingRow.starts_at)
    ).all()
    return [b for b in rows if b.ended_at is None or b.ended_at > span[0]]
