"""Priorities of messages by code, as the utility configures them: in the bench file, or while the ADCS runs (C3-NFR-04)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from drivers.roles import MessageCode
from twins.utility.adcs_standing_tables import PriorityRow
from twins.utility.config import DEFAULT_PRIORITIES
from twins.utility.errors import NotAccepted, Reason


class Priorities:
    """0 is the most urgent, 9 the least. A priority in a request goes before these."""

    def __init__(self, engine: Engine, configured: Mapping[MessageCode, int], defects: frozenset[str]) -> None:
        self._engine = engine
        self._now = dict(DEFAULT_PRIORITIES if "keeps_its_own_priorities" in defects else configured)
        self._defects = defects

    def start(self) -> None:
        """Take up what was configured while the ADCS ran before."""
        with Session(self._engine) as session:
            self._now.update({MessageCode(row.code): row.priority for row in session.scalars(select(PriorityRow))})

    def of(self, code: MessageCode) -> int:
        """The priority of messages of a code."""
        return self._now[code]

    def set(self, code: MessageCode, priority: int) -> None:
        """Configure the priority of a code for messages to come. NotAccepted outside 0 to 9."""
        if not 0 <= priority <= 9:
            raise NotAccepted(Reason.PRIORITY_OUT_OF_RANGE, f"ADCS: priority {priority}; 0 (most urgent) to 9")
        with Session(self._engine) as session, session.begin():
            session.merge(PriorityRow(code=int(code), priority=priority))
        if "keeps_its_own_priorities" not in self._defects:
            self._now[code] = priority
