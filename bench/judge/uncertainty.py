"""What a measured value is worth: expanded uncertainty (k = 2) from an instrument's specification and its calibration.

Limits of error are taken as rectangular (JCGM 100:2008, 4.3.7): u = a / sqrt(3), U = 2 u. Data: `inventory/instruments`.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.data import BadInput, checked, nearest, read
from bench.judge.witness import Witness

DIRECTORY = Path(__file__).resolve().parents[2] / "inventory" / "instruments"

COVERAGE = 2.0
"""Coverage factor k of every expanded uncertainty: about 95 %."""


def rectangular(half_width: float) -> float:
    """Expanded uncertainty of a value that is anywhere within ± `half_width`."""
    return COVERAGE * half_width / math.sqrt(3.0)


def combine(*uncertainties: float) -> float:
    """Expanded uncertainty of a sum of independent contributions, each expanded already."""
    return math.hypot(*uncertainties)


def polling(period_s: float) -> float:
    """Expanded uncertainty, in seconds, of a moment that was found by looking every `period_s`, taken at the middle
    of the period."""
    return rectangular(period_s / 2.0)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Asset(_Strict):
    """The unit on the bench, and what its calibration rests on."""

    id: str
    serial: str | None = None
    last_calibrated: date
    due: date
    certificate: str

    @model_validator(mode="after")
    def _in_order(self) -> Asset:
        if self.due <= self.last_calibrated:
            raise ValueError(f"the calibration is due on {self.due}, not after it was done on {self.last_calibrated}")
        return self


class Accuracy(_Strict):
    """Limits of error of one quantity, as percentages of reading and range; for power also of the apparent power at
    power factor 0."""

    unit: str
    reading_percent: float = Field(ge=0)
    range_percent: float = Field(0.0, ge=0)
    apparent_percent_at_pf_0: float = Field(0.0, ge=0)


class EnergyAccuracy(_Strict):
    """What integration over time adds to the error of power."""

    timer_percent: float = Field(ge=0)
    resolution_wh: float = Field(gt=0)


class Instrument(_Strict):
    """An instrument's specification and calibration."""

    model: str
    manufacturer: str
    kind: str
    asset: Asset
    accuracy: dict[str, Accuracy]
    energy: EnergyAccuracy | None = None
    update_period_s: float = Field(gt=0)

    def _of(self, quantity: str) -> Accuracy:
        if quantity not in self.accuracy:
            raise BadInput(f"{self.model} has no accuracy for {quantity!r}; {nearest(quantity, list(self.accuracy))}")
        return self.accuracy[quantity]

    def expanded(self, quantity: str, reading: float, range_: float = 0.0, power_factor: float = 1.0) -> float:
        """Expanded uncertainty of one reading, in the quantity's unit.

        `range_` is the range in force (for power: voltage range times current range). `power_factor` counts for power:
        the influence at power factor 0 goes with the reactive power.
        """
        of = self._of(quantity)
        if of.range_percent and range_ <= 0:
            raise BadInput(f"{self.model}: the uncertainty of {quantity} needs the range in force")
        if not 0 < abs(power_factor) <= 1:
            raise BadInput(f"{self.model}: a power factor of {power_factor} leaves the uncertainty open")
        tan_phi = math.sqrt(1.0 - power_factor**2) / abs(power_factor)
        error = of.reading_percent * abs(reading) + of.range_percent * range_
        return rectangular((error + of.apparent_percent_at_pf_0 * abs(reading) * tan_phi) / 100.0)

    def expanded_energy(
        self, energy_wh: float, power_range_w: float, elapsed_s: float, power_factor: float = 1.0
    ) -> float:
        """Expanded uncertainty, in watt-hours, of energy integrated over `elapsed_s` on a power range."""
        if self.energy is None:
            raise BadInput(f"{self.model} integrates no energy")
        if elapsed_s <= 0:
            raise BadInput(f"{self.model}: energy over {elapsed_s} s has no uncertainty")
        hours = elapsed_s / 3600.0
        of_power = self.expanded("power", energy_wh / hours, power_range_w, power_factor) * hours
        of_timer = rectangular(self.energy.timer_percent / 100.0 * abs(energy_wh))
        return combine(of_power, of_timer, rectangular(self.energy.resolution_wh / 2.0))

    def doubt(self, on: datetime | date) -> str | None:
        """Why the instrument cannot be relied on at a date: calibration not yet done, or overdue. None where it can."""
        day = on.date() if isinstance(on, datetime) else on
        if day > self.asset.due:
            return f"calibration of {self.asset.id} was due on {self.asset.due}"
        if day < self.asset.last_calibrated:
            return f"{self.asset.id} was calibrated on {self.asset.last_calibrated}, after this measurement"
        return None

    def witness(
        self,
        quantity: str,
        value: float,
        range_: float = 0.0,
        *,
        on: datetime | date,
        power_factor: float = 1.0,
        source: str | None = None,
    ) -> Witness:
        """A reading as a witness, with its uncertainty, and its doubt where the calibration doesn't cover the date."""
        where = source or f"{self.model} {self.asset.id}"
        if not math.isfinite(value):
            return Witness.measure(value, 0.0, where, doubt="no data" if math.isnan(value) else "over range")
        return Witness.measure(value, self.expanded(quantity, value, range_, power_factor), where, self.doubt(on))

    def energy_witness(
        self,
        energy_wh: float,
        power_range_w: float,
        elapsed_s: float,
        *,
        on: datetime | date,
        power_factor: float = 1.0,
        source: str | None = None,
    ) -> Witness:
        """Integrated energy as a witness, like `witness`."""
        uncertainty = self.expanded_energy(energy_wh, power_range_w, elapsed_s, power_factor)
        where = source or f"{self.model} {self.asset.id}"
        return Witness.measure(energy_wh, uncertainty, where, self.doubt(on))


def load(name: str, directory: Path = DIRECTORY) -> Instrument:
    """Read and check `<directory>/<name>.yaml`. BadInput names file, line, key and what would be right."""
    path = directory / f"{name}.yaml"
    data, node = read(path)
    return checked(path, node, data, Instrument)
