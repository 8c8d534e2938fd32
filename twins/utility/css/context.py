"""What the parts of the CSS share: the clock, the database, the configuration, and the systems next to it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from twins.clock import Clock
from twins.utility.adcs import Adcs
from twins.utility.config import UtilityConfig
from twins.utility.css.tables import ContactRow
from twins.utility.mdms import Mdms
from twins.utility.payments import PaymentProcessor


@dataclass(frozen=True)
class Context:
    """Everything around the CSS that its parts need."""

    clock: Clock
    engine: Engine
    config: UtilityConfig
    processor: PaymentProcessor
    adcs: Adcs
    mdms: Mdms
    defects: frozenset[str] = frozenset()


class Part:
    """One subject of the CSS. Every method belongs to the event loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clock = context.clock
        self._engine = context.engine
        self._config = context.config
        self._zone = context.config.zone
        self._processor = context.processor
        self._adcs = context.adcs
        self._mdms = context.mdms
        self._defects = context.defects

    def _note(self, kind: str, account_number: str, detail: str) -> None:
        with Session(self._engine) as session, session.begin():
            session.add(ContactRow(at=self._clock.now(), kind=kind, account_number=account_number, detail=detail))
