"""The five verdicts, their order and the exit codes that stand for them (decision on verdicts: the worst wins)."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.Enum):
    """What a check, a requirement or a run came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """By the supplier's declaration (PICS) only."""
    ERROR = "ERROR"
    """The bench failed, not the device."""

    @property
    def exit_code(self) -> int:
        """What a command that came to this verdict exits with."""
        return _EXIT[self]


_ORDER = (Verdict.NOT_APPLICABLE, Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR)
_EXIT = {Verdict.PASS: 0, Verdict.NOT_APPLICABLE: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of several: ERROR, FAIL, INCONCLUSIVE, PASS, NOT_APPLICABLE. Nothing at all is INCONCLUSIVE."""
    return max(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)
