"""One figure of the benchmark table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value, held against its target. `target` reads like `<= 1.25`."""

    name: str
    value: float
    unit: str
    target: str

    @property
    def met(self) -> bool:
        """Whether the value meets the target."""
        sign, limit = self.target.split()
        return {
            "<": self.value < float(limit),
            "<=": self.value <= float(limit),
            ">": self.value > float(limit),
            ">=": self.value >= float(limit),
        }[sign]
