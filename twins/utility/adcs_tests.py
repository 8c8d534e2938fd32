"""Meter tests at the ADCS: what was asked of which meter when, and the results as they came in (C3-FR-13, C3-NFR-14).

A meter keeps the result of its latest test alone. A result whose receipt is there is asked for until it is in, also after a
restart; once a later one has come in, an earlier one is gone for good.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import JSON, BigInteger, Engine, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from drivers.roles import MeterTestResult
from twins.clock import Clock, Timer
from twins.utility.database import Base
from twins.utility.mdms import Mdms

_RESULT: TypeAdapter[MeterTestResult] = TypeAdapter(MeterTestResult)
_LATE_S = 2.0
_TAKES_IN_AFTER_S = {"takes_in_test_results_late": 61.0, "takes_in_test_results_at_59_s": 59.0}


class MeterTestRow(Base):
    """A test that a meter has carried out; `body` is its result once that has come in."""

    __tablename__ = "adcs_meter_tests"
    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    meter_id: Mapped[str] = mapped_column(String(32), index=True)
    requested_at: Mapped[datetime]
    received_at: Mapped[datetime | None]
    body: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


@dataclass(frozen=True)
class LoggedTest:
    """A test that a meter has carried out. `received_at` and `result` are None until the result is at the ADCS."""

    message_id: int
    meter_id: str
    requested_at: datetime
    received_at: datetime | None
    result: MeterTestResult | None


class MeterTests:
    """The log of meter tests. Every method belongs to the event loop's thread."""

    def __init__(self, clock: Clock, engine: Engine, mdms: Mdms, defects: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._engine = engine
        self._mdms = mdms
        self._defects = defects
        self._awaited: dict[str, set[int]] = {}
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Take up results that had not come in."""
        with Session(self._engine) as session:
            rows = session.scalars(select(MeterTestRow).where(MeterTestRow.received_at.is_(None))).all()
        for row in rows:
            self._awaited.setdefault(row.meter_id, set()).add(row.message_id)

    def close(self) -> None:
        """Take in nothing more."""
        for timer in self._timers:
            timer.cancel()

    def expect(self, meter_id: str, message_id: int, requested_at: datetime) -> None:
        """A meter says that it has carried out a test: its result is to be fetched."""
        with Session(self._engine) as session, session.begin():
            if session.get(MeterTestRow, message_id) is None:
                session.add(MeterTestRow(message_id=message_id, meter_id=meter_id, requested_at=requested_at))
        self._awaited.setdefault(meter_id, set()).add(message_id)

    def awaited(self, meter_id: str) -> bool:
        """Whether a result is to be fetched from a meter."""
        return bool(self._awaited.get(meter_id))

    def came_in(self, meter_id: str, result: MeterTestResult | None) -> None:
        """What a meter holds as the result of its latest test, None where it holds none: log it and pass it to the MDMS."""
        # All that are awaited have been carried out: what is not there now, the meter has forgotten, or never had.
        waiting = self._awaited.pop(meter_id, set())
        if result is None or result.message_id < max(waiting, default=0):
            return
        if late := [s for name, s in _TAKES_IN_AFTER_S.items() if name in self._defects]:
            requested = self._requested_at(result.message_id)
            at = max(self._clock.now(), requested + timedelta(seconds=max(late)))
            self._timers = [timer for timer in self._timers if timer.when > self._clock.now()]
            self._timers.append(self._clock.call_at(at, self._take_in, meter_id, result))
        else:
            self._take_in(meter_id, result)

    def tests(self, meter_id: str) -> tuple[LoggedTest, ...]:
        """Tests that a meter has carried out, by message id."""
        with Session(self._engine) as session:
            rows = session.scalars(
                select(MeterTestRow).where(MeterTestRow.meter_id == meter_id).order_by(MeterTestRow.message_id)
            ).all()
        return tuple(_logged(row) for row in rows)

    def _requested_at(self, message_id: int) -> datetime:
        with Session(self._engine) as session:
            row = session.get(MeterTestRow, message_id)
        return self._clock.now() if row is None else row.requested_at

    def _take_in(self, meter_id: str, result: MeterTestResult) -> None:
        if "tests_from_memory" in self._defects:
            result = self._remembered(meter_id, result)
        now = self._clock.now()
        with Session(self._engine) as session, session.begin():
            row = session.get(MeterTestRow, result.message_id)
            if row is None:
                row = MeterTestRow(message_id=result.message_id, meter_id=meter_id, requested_at=now)
                session.add(row)
            elif row.received_at is not None:
                return
            row.received_at, row.body = now, _RESULT.dump_python(result, mode="json")
        if "passes_test_results_two_seconds_late" in self._defects:
            self._timers.append(self._clock.call_later(_LATE_S, self._mdms.store_test_result, meter_id, result))
        elif "keeps_test_results" not in self._defects:
            self._mdms.store_test_result(meter_id, result)

    def _remembered(self, meter_id: str, result: MeterTestResult) -> MeterTestResult:
        """The result of the first test that ever came in from a meter, for this one."""
        first = next((t.result for t in self.tests(meter_id) if t.result is not None), None)
        if first is None:
            return result
        return dataclasses.replace(first, message_id=result.message_id, completed_at=result.completed_at)


def _logged(row: MeterTestRow) -> LoggedTest:
    result = None if row.body is None else _RESULT.validate_python(row.body)
    return LoggedTest(row.message_id, row.meter_id, row.requested_at, row.received_at, result)
