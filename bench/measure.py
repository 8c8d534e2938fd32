"""What the bench's instruments can tell of a service: whether current flows, when it began or ceased, how much energy passed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bench.bench import Bench
from bench.judge import uncertainty
from bench.judge.witness import Witness

POLL_S = 0.2
UPDATE_S = 0.1
"""How often an instrument is asked, at best, while a moment is searched for, and how often it then makes a new reading, in
seconds."""
_MOST_OFF = 0.01
"""How much of the time of an integration may be missing or too much."""


def watt_hours(measured: Witness) -> tuple[float, float]:
    """A measured energy and its expanded uncertainty."""
    uncertainty = measured.uncertainty
    assert not isinstance(uncertainty, timedelta), f"{measured.source}: an energy is not uncertain by a time"
    return float(measured.value), float(uncertainty)


class Service:
    """A customer's service as bench instruments and the healthy model see it.

    `analyzer` and `meter` are the devices' names in the bench file, `test_current_a` is the load's current by the PIXIT.
    """

    def __init__(
        self, bench: Bench, test_current_a: float, *, analyzer: str = "analyzer", meter: str = "meter"
    ) -> None:
        self._bench = bench
        self._enough_a = 0.1 * test_current_a  # far above an analyzer's noise, far below any load of a test
        self._analyzer = analyzer
        self._meter = meter
        self._asset = uncertainty.load(bench.config.devices[analyzer].model)
        self._poll_s = POLL_S

    @property
    def analyzer(self) -> Any:
        """The driver of the analyzer behind the meter's switch."""
        return self._bench.device(self._analyzer)

    def flows(self) -> Witness:
        """Measured: whether the load draws current now."""
        doubt = self._asset.doubt(self._bench.now)
        return Witness.measure(bool(self.analyzer.read().current_a > self._enough_a), None, self._analyzer, doubt)

    def should_flow(self) -> Witness:
        """Predicted: whether the load draws current now."""
        reading = self._bench.predicted(self._analyzer).read()
        return Witness.predict(bool(reading.current_a > self._enough_a), f"model of {self._analyzer}")

    def when(self, flowing: bool, within_s: float, since: datetime | None = None) -> datetime | None:
        """Let bench time pass until current flows (or ceases), at most `within_s`; None where it doesn't.

        The moment is the middle between the last look that did not see it and the first that did. What it is uncertain by,
        `moment_uncertainty_s`, is how far these really were apart: on real time a machine that is busy looks less often. Its
        first look may come too late: `since` is from when on it may have happened.
        """
        bench = self._bench
        start = bench.now
        bench.record_readings()
        self.analyzer.set_update_period(UPDATE_S)
        asked = start if since is None else min(since, start)
        while True:
            before, asked = asked, bench.now
            if bool(self.analyzer.read().current_a > self._enough_a) is flowing:
                break
            if (asked - start).total_seconds() >= within_s:
                return None
            bench.advance(POLL_S)
        apart = bench.now - before
        self._poll_s = max(self._poll_s, apart.total_seconds())
        bench.record_readings()
        return before + apart / 2

    @property
    def moment_uncertainty_s(self) -> float:
        """Expanded uncertainty of a moment found by `when`, by the poorest search so far: the time between two looks, and the
        analyzer's own update period."""
        return uncertainty.combine(uncertainty.polling(self._poll_s), uncertainty.polling(UPDATE_S))

    @property
    def least_uncertainty_s(self) -> float:
        """What `moment_uncertainty_s` is where nothing kept anybody from looking: what may be granted on top of a limit."""
        return uncertainty.combine(uncertainty.polling(POLL_S), uncertainty.polling(UPDATE_S))

    def energy(self, until: datetime, since: datetime | None = None) -> tuple[Witness, Witness]:
        """Integrate to a moment of bench time from now, or from `since`, which is about now; measured and predicted watt-hours.

        An analyzer goes on integrating what is over its range: where it is before or after, what it measured is doubtful. In
        between nobody looks: a reading on real time would stretch what is integrated. By how much a busy machine has begun
        and ended too late all the same is part of the uncertainty; above a hundredth of the time it is doubtful, too.
        """
        bench = self._bench
        start = bench.now if since is None else since
        over = self._over_range()
        self.analyzer.start_integration()
        begun = bench.now
        bench.advance(max(0.0, (until - begun).total_seconds()))
        self.analyzer.stop_integration()
        ended = bench.now
        length_s, took_s = (until - start).total_seconds(), (ended - begun).total_seconds()
        off_s = abs((begun - start).total_seconds()) + abs((ended - until).total_seconds())
        over = over or self._over_range()
        volts, amperes = self.analyzer.ranges()
        energy_wh = self.analyzer.integrated().energy_wh
        measured = self._asset.energy_witness(energy_wh, volts * amperes, length_s, on=bench.now, source=self._analyzer)
        off_wh = energy_wh * off_s / took_s
        doubts = [
            measured.doubt,
            "over range" if over else None,
            f"integrated {off_s:g} s beside the {length_s:g} s" if off_s > _MOST_OFF * length_s else None,
        ]
        measured = replace(
            measured,
            uncertainty=uncertainty.combine(watt_hours(measured)[1], uncertainty.rectangular(off_wh)),
            doubt="; ".join(filter(None, doubts)) or None,
        )
        bench.record_readings()
        predicted = bench.predicted(self._analyzer).integrated().energy_wh
        return measured, Witness.predict(predicted, f"model of {self._analyzer}")

    def _over_range(self) -> bool:
        reading = self.analyzer.read()
        return math.isinf(reading.voltage_v) or math.isinf(reading.current_a)
