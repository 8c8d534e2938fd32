"""Field orders and trouble orders, issued and tracked to closure (D45).

A report of no power has one order of each kind at most; a report that comes while an order for its account is open is covered
by that one. Who an order is for can close it, or a supervisor, and nobody else.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from twins.utility.css.context import Part
from twins.utility.css.tables import AccountRow
from twins.utility.css.texts import taken
from twins.utility.css.trouble_records import Order, OrderEntry, OrderKind, OrderState, Role, Staff
from twins.utility.css.trouble_tables import OrderEntryRow, OrderReportRow, OrderRow
from twins.utility.errors import NotAccepted, Reason

SYSTEM = Staff("CSS", Role.SYSTEM)

_WORKS_ON = {
    OrderKind.FIELD: (Role.FIELD_CREW, Role.SUPERVISOR),
    OrderKind.TROUBLE: (Role.METER_SHOP, Role.SUPERVISOR),
}
_DISPATCHES = (Role.REPRESENTATIVE, Role.SUPERVISOR)


class Orders(Part):
    """Orders and their history."""

    def issue(self, session: Session, account: AccountRow, report_id: int, kind: OrderKind, why: str) -> int:
        """Issue an order for a report, in the transaction that gives rise to it; returns its id.

        The order that covers the report already stays the one; closed, it is reopened.
        """
        covering = session.get(OrderReportRow, (report_id, kind))
        row = None if covering is None else session.get_one(OrderRow, covering.order_id)
        if row is not None:
            if row.state == OrderState.CLOSED:
                self._reopen(session, row, SYSTEM, why)
            return row.id
        row = session.scalar(
            select(OrderRow)
            .where(
                OrderRow.account_number == account.number, OrderRow.kind == kind, OrderRow.state != OrderState.CLOSED
            )
            .order_by(OrderRow.id.desc())
            .limit(1)
        )
        if row is None:
            row = OrderRow(
                kind=kind,
                account_number=account.number,
                meter_id=account.meter_id,
                address=account.service_address,
                state=OrderState.ISSUED,
                issued_at=self._clock.now(),
            )
            session.add(row)
            session.flush()
        self._write(session, row, SYSTEM, f"report {report_id}: {why}")
        session.add(OrderReportRow(report_id=report_id, kind=kind, order_id=row.id))
        session.flush()
        return row.id

    def order(self, order_id: int) -> Order:
        """An order with its history; NotAccepted for an unknown one."""
        with Session(self._engine) as session:
            return _order(session, _row(session, order_id))

    def orders(
        self, account_number: str | None = None, *, report_id: int | None = None, open_only: bool = False
    ) -> tuple[Order, ...]:
        """Orders, oldest first: all, those of an account or a report, those that are open."""
        query = select(OrderRow).order_by(OrderRow.id)
        if account_number is not None:
            query = query.where(OrderRow.account_number == account_number)
        if report_id is not None:
            of_report = select(OrderReportRow.order_id).where(OrderReportRow.report_id == report_id)
            query = query.where(OrderRow.id.in_(of_report))
        if open_only:
            query = query.where(OrderRow.state != OrderState.CLOSED)
        with Session(self._engine) as session:
            return tuple(_order(session, row) for row in session.scalars(query).all())

    def assign(self, order_id: int, to: str, by: Staff, note: str = "assigned") -> Order:
        """Give an order to somebody. NotAccepted for an unknown or closed order, for who may not, for a text not taken."""
        to, note = taken(to, 200), self._taken(note)
        with Session(self._engine) as session, session.begin():
            row = self._open(session, order_id)
            self._allowed(row, by, (*_DISPATCHES, *_WORKS_ON[OrderKind(row.kind)]))
            row.state, row.assigned_to = OrderState.ASSIGNED, to
            self._write(session, row, by, f"{note} (to {to})")
        return self.order(order_id)

    def begin(self, order_id: int, by: Staff, note: str = "work begins") -> Order:
        """Work on an order begins. NotAccepted as for `close`."""
        note = self._taken(note)
        with Session(self._engine) as session, session.begin():
            row = self._open(session, order_id)
            self._allowed(row, by, _WORKS_ON[OrderKind(row.kind)])
            row.state, row.assigned_to = OrderState.UNDER_WAY, row.assigned_to or by.name
            self._write(session, row, by, note)
        return self.order(order_id)

    def note(self, order_id: int, by: Staff, note: str) -> Order:
        """Add a line to an order, open or closed. NotAccepted for an unknown order or a text not taken."""
        note = self._taken(note)
        with Session(self._engine) as session, session.begin():
            self._write(session, _row(session, order_id), by, note)
        return self.order(order_id)

    def close(self, order_id: int, by: Staff, note: str) -> Order:
        """Close an order, saying what was done. NotAccepted for an unknown or closed order, for who is not of the role that
        works on it, for a text not taken."""
        note = self._taken(note)
        with Session(self._engine) as session, session.begin():
            row = self._open(session, order_id)
            self._allowed(row, by, _WORKS_ON[OrderKind(row.kind)])
            row.state, row.closed_at = OrderState.CLOSED, self._clock.now()
            self._write(session, row, by, note)
        return self.order(order_id)

    def reopen(self, order_id: int, by: Staff, note: str) -> Order:
        """Open a closed order again. NotAccepted for an order that is not closed, and as for `assign`."""
        note = self._taken(note)
        with Session(self._engine) as session, session.begin():
            row = _row(session, order_id)
            if row.state != OrderState.CLOSED:
                raise NotAccepted(Reason.NOT_POSSIBLE_NOW, f"CSS: order {order_id} is {row.state}; it is open already")
            self._allowed(row, by, _DISPATCHES)
            self._reopen(session, row, by, note)
        return self.order(order_id)

    def _taken(self, text: str) -> str:
        return taken(text, self._config.trouble.longest_text)

    def _open(self, session: Session, order_id: int) -> OrderRow:
        row = _row(session, order_id)
        if row.state == OrderState.CLOSED:
            raise NotAccepted(Reason.NOT_POSSIBLE_NOW, f"CSS: order {order_id} is closed; reopen it, or leave a note")
        return row

    def _allowed(self, row: OrderRow, by: Staff, roles: tuple[Role, ...]) -> None:
        if by.role not in roles:
            raise NotAccepted(
                Reason.NOT_ALLOWED,
                f"CSS: order {row.id} is a {row.kind} order: not for a {by.role.value}, "
                f"but for {' or '.join(dict.fromkeys(role.value for role in roles))}",
            )

    def _reopen(self, session: Session, row: OrderRow, by: Staff, note: str) -> None:
        row.state, row.closed_at = OrderState.REOPENED, None
        self._write(session, row, by, note)

    def _write(self, session: Session, row: OrderRow, by: Staff, note: str) -> None:
        session.add(
            OrderEntryRow(
                order_id=row.id, at=self._clock.now(), state=row.state, by=by.name, role=by.role.value, note=note
            )
        )
        session.flush()


def _row(session: Session, order_id: int) -> OrderRow:
    row = session.get(OrderRow, order_id)
    if row is None:
        raise NotAccepted(Reason.UNKNOWN_ORDER, f"CSS: no order {order_id}; `orders` shows those there are")
    return row


def _order(session: Session, row: OrderRow) -> Order:
    entries = session.scalars(
        select(OrderEntryRow).where(OrderEntryRow.order_id == row.id).order_by(OrderEntryRow.id)
    ).all()
    reports = session.scalars(
        select(OrderReportRow.report_id).where(OrderReportRow.order_id == row.id).order_by(OrderReportRow.report_id)
    ).all()
    return Order(
        order_id=row.id,
        kind=OrderKind(row.kind),
        account_number=row.account_number,
        meter_id=row.meter_id,
        address=row.address,
        state=OrderState(row.state),
        issued_at=row.issued_at,
        assigned_to=row.assigned_to,
        closed_at=row.closed_at,
        report_ids=tuple(reports),
        history=tuple(OrderEntry(e.at, OrderState(e.state), e.by, Role(e.role), e.note) for e in entries),
    )
