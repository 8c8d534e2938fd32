"""What the ADCS reads again: a meter whose clock was set back lives a time twice, and adds to intervals that were read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from drivers.roles import EventCode, Interval, LogEntry
from twins.utility.adcs_tables import RereadRow


class Reread:
    """Meters that live a time again, by the meter's own clock. Kept in the database until that time is over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with Session(engine) as session:
            self._spans = {row.meter_id: (row.since, row.until) for row in session.query(RereadRow)}

    def since(self, meter_id: str, usual: datetime | None) -> datetime | None:
        """From where on to read a meter's intervals: its usual place, or the moment to which its clock was set back."""
        return self._spans[meter_id][0] if meter_id in self._spans else usual

    def set_back(self, meter_id: str, entries: Sequence[LogEntry], read_until: datetime | None) -> datetime | None:
        """Look through new log entries for a clock set to before `read_until`; returns since when to read again, if so."""
        moments = [e.at for e in entries if e.event is EventCode.CLOCK_SET]
        if read_until is None or not moments or min(moments) >= read_until:
            return None
        since, until = self._spans.get(meter_id, (read_until, read_until))
        self._spans[meter_id] = span = min(since, *moments), max(until, read_until)
        with Session(self._engine) as session, session.begin():
            session.merge(RereadRow(meter_id=meter_id, since=span[0], until=span[1]))
        return span[0]

    def came_in(self, meter_id: str, intervals: Sequence[Interval]) -> None:
        """Intervals are with the MDMS: once one ends later than all that were read before, the others change no more."""
        if meter_id in self._spans and max(i.ends_at for i in intervals) > self._spans[meter_id][1]:
            del self._spans[meter_id]
            with Session(self._engine) as session, session.begin():
                session.delete(session.get_one(RereadRow, meter_id))
