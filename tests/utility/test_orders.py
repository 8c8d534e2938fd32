"""Field orders and trouble orders: issued, worked on, closed by who may, reopened, and every line of it kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.utility.conftest import ACCOUNT, METER, Town
from tests.utility.reporting import BOSS, CREW, DESK, SHOP, failed, orders
from tests.utility.test_trouble import refused
from twins.utility.css.orders import SYSTEM
from twins.utility.css.trouble_records import OrderKind, OrderState, Role, Staff
from twins.utility.errors import Reason

Towns = Callable[..., Town]


def test_an_order_is_tracked_to_closure(town: Towns) -> None:
    here = town()
    report = failed(here)
    book = here.utility.css.orders
    issued = orders(here, report)[OrderKind.FIELD]
    assert (issued.account_number, issued.meter_id, issued.address) == (ACCOUNT, METER, "7 Elm Street")
    assert (issued.state, issued.report_ids) == (OrderState.ISSUED, (report,))
    here.after(60)
    here.ask(book.assign, issued.order_id, "Ivo", DESK)
    here.after(60)
    here.ask(book.begin, issued.order_id, CREW, "on site")
    here.ask(book.note, issued.order_id, DESK, "customer called again")
    here.after(60)
    closed = here.ask(book.close, issued.order_id, CREW, "line fuse replaced")
    assert (closed.state, closed.assigned_to, closed.closed_at) == (OrderState.CLOSED, "Ivo", here.clock.now())
    assert [(e.state, e.by, e.role) for e in closed.history] == [
        (OrderState.ISSUED, "CSS", Role.SYSTEM),
        (OrderState.ASSIGNED, "Rosa", Role.REPRESENTATIVE),
        (OrderState.UNDER_WAY, "Ivo", Role.FIELD_CREW),
        (OrderState.UNDER_WAY, "Rosa", Role.REPRESENTATIVE),
        (OrderState.CLOSED, "Ivo", Role.FIELD_CREW),
    ]
    assert [e.at - issued.issued_at for e in closed.history] == [timedelta(seconds=s) for s in (0, 70, 130, 130, 190)]
    assert [o.kind for o in here.ask(book.orders, ACCOUNT, open_only=True)] == [OrderKind.TROUBLE]


@pytest.mark.parametrize("kind", OrderKind)
@pytest.mark.parametrize("by", [DESK, CREW, SHOP, BOSS, SYSTEM])
def test_only_the_role_that_works_on_it_closes_an_order(town: Towns, kind: OrderKind, by: Staff) -> None:
    here = town()
    order = orders(here, failed(here))[kind]
    may = {OrderKind.FIELD: (CREW, BOSS), OrderKind.TROUBLE: (SHOP, BOSS)}[kind]
    if by in may:
        assert here.ask(here.utility.css.orders.close, order.order_id, by, "done").state is OrderState.CLOSED
    else:
        refused(Reason.NOT_ALLOWED, here.ask, here.utility.css.orders.close, order.order_id, by, "done")
        assert here.ask(here.utility.css.orders.order, order.order_id) == order


def test_an_order_is_closed_once_and_can_be_reopened(town: Towns) -> None:
    here = town()
    book = here.utility.css.orders
    order_id = orders(here, failed(here))[OrderKind.FIELD].order_id
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, book.reopen, order_id, BOSS, "again")
    here.ask(book.close, order_id, CREW, "done")
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, book.close, order_id, CREW, "done")
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, book.begin, order_id, CREW)
    refused(Reason.NOT_POSSIBLE_NOW, here.ask, book.assign, order_id, "Ivo", DESK)
    refused(Reason.NOT_ALLOWED, here.ask, book.reopen, order_id, CREW, "again")
    again = here.ask(book.reopen, order_id, DESK, "dark again")
    assert (again.state, again.closed_at) == (OrderState.REOPENED, None)
    assert here.ask(book.close, order_id, CREW, "done now").state is OrderState.CLOSED


def test_still_no_power_reopens_the_closed_orders_of_the_report(town: Towns) -> None:
    here = town()
    report = failed(here)
    book = here.utility.css.orders
    here.ask(book.close, orders(here, report)[OrderKind.FIELD].order_id, CREW, "done")
    here.ask(here.utility.css.trouble.still_no_power, report)
    found = orders(here, report)
    assert found[OrderKind.FIELD].state is OrderState.REOPENED
    assert found[OrderKind.TROUBLE].state is OrderState.ISSUED
    assert len(here.ask(book.orders)) == 2


def test_an_unknown_order_is_refused(town: Towns) -> None:
    here = town()
    book = here.utility.css.orders
    refused(Reason.UNKNOWN_ORDER, here.ask, book.order, 7)
    refused(Reason.UNKNOWN_ORDER, here.ask, book.close, 7, CREW, "done")
    refused(Reason.UNKNOWN_ORDER, here.ask, book.note, 7, CREW, "done")


@pytest.mark.parametrize("text", ["", "  ", "x" * 10_000_000])
def test_bad_texts_are_refused(town: Towns, text: str) -> None:
    here = town()
    book = here.utility.css.orders
    order = orders(here, failed(here))[OrderKind.FIELD]
    for call, args in (
        (book.close, (order.order_id, CREW, text)),
        (book.note, (order.order_id, CREW, text)),
        (book.assign, (order.order_id, text, DESK)),
    ):
        assert len(refused(Reason.TEXT_NOT_TAKEN, here.ask, call, *args)) < 200
    assert here.ask(book.order, order.order_id) == order
