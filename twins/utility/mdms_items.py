"""What a reader of the MDMS's REST interface gets: one model for each kind of meter data, units in the names, times in UTC."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from drivers.roles import Interval, LogEntry, MeterTestResult, Receipt, ScheduledEvent
from twins.utility.mdms import BalanceStatement, Kind
from twins.utility.mdms_query import Item

V = TypeVar("V")


class ReceiptValue(BaseModel):
    """A receipt as the meter wrote it."""

    sequence: int
    message_id: int
    code: str
    meter_id: str
    status: str
    completed_at: datetime


class IntervalValue(BaseModel):
    """Energy of [ends_at - length_s, ends_at)."""

    ends_at: datetime
    length_s: float
    energy_wh: float
    complete: bool


class LogValue(BaseModel):
    """An entry of a meter's log, at the meter's own time."""

    sequence: int
    at: datetime
    event: str
    message_code: str | None
    argument: int


class TestValue(BaseModel):
    """The result of a meter test."""

    message_id: int
    completed_at: datetime
    connected: bool
    switch: str
    energised: bool
    load_side_voltage_v: float
    load_side_current_a: float


class ScheduleValue(BaseModel):
    """A prepayment event that a meter holds, [starts_at, ends_at)."""

    event_id: int
    starts_at: datetime
    ends_at: datetime
    credit_wh: int
    at_zero: str


class BalanceValue(BaseModel):
    """What a meter was told of its account."""

    message_id: int
    confirmed_at: datetime
    balance_cents: int
    credit_wh: int | None
    price_millicents_per_kwh: int | None
    time_left_s: float | None
    zero_at: datetime | None
    at_zero: str | None


class StoredItem(BaseModel, Generic[V]):
    """An item, the meter it came from, when the MDMS received it and since when it can be read."""

    number: int
    meter_id: str
    received_at: datetime
    available_at: datetime
    value: V


class Page(BaseModel, Generic[V]):
    """Some items, oldest reception first. `next` is the `after` of the following page, null when this is the last."""

    items: list[StoredItem[V]]
    next: int | None


class Publication(BaseModel):
    """An event of the stream: an item that became available, or one that was withdrawn."""

    number: int
    kind: Kind
    withdrawn: bool
    meter_id: str
    received_at: datetime
    available_at: datetime
    value: ReceiptValue | IntervalValue | LogValue | TestValue | ScheduleValue | BalanceValue


def _receipt(r: Receipt) -> ReceiptValue:
    return ReceiptValue(
        sequence=r.sequence,
        message_id=r.message_id,
        code=r.code.name.lower(),
        meter_id=r.meter_id,
        status=r.status.name.lower(),
        completed_at=r.completed_at,
    )


def _interval(i: Interval) -> IntervalValue:
    return IntervalValue(
        ends_at=i.ends_at, length_s=i.length.total_seconds(), energy_wh=i.energy_wh, complete=i.complete
    )


def _log(e: LogEntry) -> LogValue:
    code = None if e.message_code is None else e.message_code.name.lower()
    return LogValue(sequence=e.sequence, at=e.at, event=e.event.name.lower(), message_code=code, argument=e.argument)


def _test(t: MeterTestResult) -> TestValue:
    return TestValue(
        message_id=t.message_id,
        completed_at=t.completed_at,
        connected=t.connected,
        switch=t.switch.name.lower(),
        energised=t.energised,
        load_side_voltage_v=t.load_side_voltage_v,
        load_side_current_a=t.load_side_current_a,
    )


def _schedule(e: ScheduledEvent) -> ScheduleValue:
    return ScheduleValue(
        event_id=e.event_id,
        starts_at=e.starts_at,
        ends_at=e.ends_at,
        credit_wh=e.credit_wh,
        at_zero=e.at_zero.name.lower(),
    )


def _balance(b: BalanceStatement) -> BalanceValue:
    return BalanceValue(
        message_id=b.message_id,
        confirmed_at=b.confirmed_at,
        balance_cents=b.balance_cents,
        credit_wh=b.credit_wh,
        price_millicents_per_kwh=b.price_millicents_per_kwh,
        time_left_s=None if b.time_left is None else b.time_left.total_seconds(),
        zero_at=b.zero_at,
        at_zero=None if b.at_zero is None else b.at_zero.name.lower(),
    )


_MAKE: dict[Kind, Callable[[Any], Any]] = {
    Kind.RECEIPT: _receipt,
    Kind.INTERVAL: _interval,
    Kind.LOG: _log,
    Kind.TEST: _test,
    Kind.SCHEDULE: _schedule,
    Kind.BALANCE: _balance,
}


def fields(item: Item) -> dict[str, Any]:
    """The fields of an item as `StoredItem` has them."""
    return {
        "number": item.number,
        "meter_id": item.stored.meter_id,
        "received_at": item.stored.received_at,
        "available_at": item.stored.available_at,
        "value": _MAKE[item.kind](item.stored.value),
    }


def publication(item: Item) -> Publication:
    """An event of the stream."""
    return Publication(kind=item.kind, withdrawn=item.withdrawn, **fields(item))
