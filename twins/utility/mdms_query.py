"""What other systems read from the MDMS in pages and as a feed: everything that is available by now, in an order that never
changes, so that a reader who goes on where it stopped misses nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session, aliased

from twins.clock import Clock
from twins.utility.mdms import TABLES, Kind, Stored, stored
from twins.utility.mdms_tables import (
    BalanceRow,
    FeedRow,
    IntervalRow,
    LogRow,
    ReceiptRow,
    ScheduleRow,
    TestResultRow,
)

_MOMENT: dict[Kind, Any] = {
    Kind.RECEIPT: ReceiptRow.completed_at,
    Kind.LOG: LogRow.at,
    Kind.TEST: TestResultRow.completed_at,
    Kind.BALANCE: BalanceRow.confirmed_at,
}


@dataclass(frozen=True)
class Item:
    """Something that is available. `number` is its place among all of its kind; in a feed, its place in the feed."""

    number: int
    kind: Kind
    stored: Stored[Any]
    withdrawn: bool = False


class MeterData:
    """Reads the MDMS's tables. Every method belongs to the event loop's thread."""

    def __init__(self, clock: Clock, engine: Engine) -> None:
        self._clock = clock
        self._engine = engine

    def page(
        self,
        kind: Kind,
        meters: Collection[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> tuple[list[Item], int | None]:
        """At most `limit` items after number `after`, in the order in which the MDMS received them, and where to go on (None:
        there is no more). `meters` empty means all; [since, until) is about the item's own time: an interval lies in it, an
        event touches it, everything else happened in it. Of an interval that was revised only the latest is among them."""
        table = TABLES[kind]
        where: list[ColumnElement[bool]] = [table.available_at <= self._clock.now(), table.id > after]
        if meters:
            where.append(table.meter_id.in_(meters))
        where += _within(kind, since, until)
        if kind is Kind.INTERVAL:
            later = aliased(IntervalRow)
            where.append(
                ~select(later.id)
                .where(
                    later.meter_id == IntervalRow.meter_id,
                    later.ends_at == IntervalRow.ends_at,
                    later.id > IntervalRow.id,
                    later.available_at <= self._clock.now(),
                )
                .exists()
            )
        with Session(self._engine) as session:
            rows = session.scalars(select(table).where(*where).order_by(table.id).limit(limit)).all()
        items = [Item(row.id, kind, stored(kind, row)) for row in rows]
        if kind is Kind.INTERVAL and since is not None:
            # the start is computed
            items = [i for i in items if i.stored.value.ends_at - i.stored.value.length >= since]
        return items, rows[-1].id if len(rows) == limit else None

    def latest(self) -> int:
        """Number of the latest publication, 0 before any."""
        with Session(self._engine) as session:
            found = session.scalar(select(func.max(FeedRow.id)).where(FeedRow.available_at <= self._clock.now()))
        return found or 0

    def feed(
        self, after: int, kinds: Collection[Kind] = (), meters: Collection[str] = (), limit: int = 200
    ) -> list[Item]:
        """At most `limit` publications after number `after`, oldest first, of these kinds and meters (empty: all)."""
        where = [FeedRow.id > after, FeedRow.available_at <= self._clock.now()]
        if kinds:
            where.append(FeedRow.kind.in_(kinds))
        if meters:
            where.append(FeedRow.meter_id.in_(meters))
        with Session(self._engine) as session:
            found = session.scalars(select(FeedRow).where(*where).order_by(FeedRow.id).limit(limit)).all()
            rows: dict[tuple[str, int], Any] = {}
            for kind in {row.kind for row in found}:
                table = TABLES[Kind(kind)]
                ids = [row.item_id for row in found if row.kind == kind]
                rows |= {(kind, r.id): r for r in session.scalars(select(table).where(table.id.in_(ids)))}
            return [Item(f.id, Kind(f.kind), stored(Kind(f.kind), rows[f.kind, f.item_id]), f.withdrawn) for f in found]


def _within(kind: Kind, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if kind is Kind.INTERVAL:
        where += [] if since is None else [IntervalRow.ends_at > since]
        where += [] if until is None else [IntervalRow.ends_at <= until]
    elif kind is Kind.SCHEDULE:
        where.append(ScheduleRow.withdrawn_at.is_(None))
        where += [] if since is None else [ScheduleRow.ends_at > since]
        where += [] if until is None else [ScheduleRow.starts_at < until]
    else:
        where += [] if since is None else [_MOMENT[kind] >= since]
        where += [] if until is None else [_MOMENT[kind] < until]
    return where
