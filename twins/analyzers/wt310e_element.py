"""The input element of a Yokogawa WT310E: what it measures of its tap, in which range, when, and what it integrates.

Facts: ranges, crest factors and error displays from IM WT310E-17EN and the WT300E data sheet (maximum display 140 % of
range, auto range up at 130 % and down at 30 %, zero below 0.5 % of range). Waveforms are sinusoidal, so peaks are √2.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drivers.errors import Refused
from drivers.roles import Integration
from twins import noise
from twins.clock import Clock, Timer
from twins.wiring import Site, State, Tap, WiringError

VOLTAGE_RANGES = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
CURRENT_RANGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Ranges at crest factor 3; half of that at 6 and 6A."""
UPDATE_PERIODS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
LONGEST_TIMER_S = 10000 * 3600

ERROR_TEXTS = {
    813: "Cannot be changed during integration",
    842: "Integration is running already",
    844: "Integration is not running",
    845: "Integration is running, it cannot be reset",
}
"""Texts are ours; the codes are Yokogawa's."""


@dataclass(frozen=True)
class Readings:
    """One set of readings, with scaling. NaN has no data, infinity is over range or cannot be told ("Error")."""

    voltage_v: float
    current_a: float
    power_w: float
    apparent_va: float
    reactive_var: float
    power_factor: float
    phase_deg: float
    voltage_hz: float
    current_hz: float
    voltage_range_v: float  # that the set was taken in, with scaling
    current_range_a: float
    power_range_w: float
    voltage_over: bool
    current_over: bool
    voltage_peak_over: bool
    current_peak_over: bool


@dataclass(frozen=True)
class Integrals:
    """What the integrator holds. `charge_ah` is of the rms current, which has no sign."""

    positive_wh: float
    negative_wh: float  # zero or below
    charge_ah: float
    elapsed_s: float
    state: Integration


@dataclass(frozen=True)
class Errors:
    """How wrong a unit may measure: bounds of its own gain, frequency and phase errors and of the noise of a reading."""

    gain_error_pct: float
    frequency_error_pct: float
    phase_error_deg: float
    noise_pct: float  # of range


@dataclass
class Scaling:
    """Ratios of external transformers, and a factor for power."""

    on: bool = False
    vt: float = 1.0
    ct: float = 1.0
    power: float = 1.0


class Element:
    """Sees its tap, makes a set of readings at each update, and integrates what lies between."""

    def __init__(
        self,
        clock: Clock,
        site: Site,
        tap: Tap,
        legs: tuple[int, ...],
        *,
        name: str,
        seed: int,
        errors: Errors,
        changed: Callable[[], None],
        faults: set[str],
    ) -> None:
        seen = tap.state()
        if seen.voltages and max(legs) >= len(seen.voltages):
            raise WiringError(
                f"{name}: leads on legs {legs}, but tap {tap.name!r} has {len(seen.voltages)}; legs count from 0"
            )
        self._clock = clock
        self._tap = tap
        self._legs = legs
        self._name = name
        self._seed = seed
        self._errors = errors
        self._tell = changed
        self.faults = faults
        self._gain_u = 1 + errors.gain_error_pct / 100 * noise.bounded(seed, name, "U gain")
        self._gain_i = 1 + errors.gain_error_pct / 100 * noise.bounded(seed, name, "I gain")
        self._gain_f = 1 + errors.frequency_error_pct / 100 * noise.bounded(seed, name, "f gain")
        self._turn = cmath.exp(1j * math.radians(errors.phase_error_deg * noise.bounded(seed, name, "phase")))
        self._seen = seen
        self._first_grid = True  # the instrument was on long before the bench: its first set needs no wait
        self._anchor = clock.now()
        self._latched = -1
        self._readings: Readings
        self._telling: Timer | None = None
        self._held: tuple[Readings, Integrals] | None = None
        self._timer: Timer | None = None
        self._accrued = clock.now()
        self.updates = 0
        self._set_defaults()
        self.catch_up()
        site.changed.append(self._site_changed)

    def _set_defaults(self) -> None:
        self.crest_factor = "3"
        self.mode = "RMS"
        self.scaling = Scaling()
        self.voltage_auto = self.current_auto = True
        self._voltage_at = len(VOLTAGE_RANGES) - 1
        self._current_at = len(CURRENT_RANGES) - 1
        self.period_s = 0.25
        self.automatic_period = False
        self.continuous = False
        self.timer_s = 0
        self.integration = Integration.RESET
        self._watt_seconds = [0.0, 0.0]
        self._ampere_seconds = 0.0
        self._elapsed_s = 0.0

    def reset(self) -> None:
        """Back to the state after `*RST`: integrator empty, auto ranges, 250 ms, crest factor 3."""
        self.catch_up()
        self._stop_timer()
        self._set_defaults()
        self._held = None
        self._restart_grid()
        self._tell()
        self._tell_at_next_update()

    # --- Updates ---------------------------------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Make the set of readings that was due last, and integrate up to now."""
        now = self._clock.now()
        self._accrue(now)
        period = timedelta(seconds=self.period_s)
        due = (now - self._anchor) // period
        if due <= self._latched:
            return
        count = due - self._latched
        if count > 1 or self._latched < 0:
            self._choose_ranges()
        self._readings = self._measure(self._seen, self._anchor + due * period)
        self._choose_ranges()
        self._latched = due
        self.updates += count

    def next_update_s(self) -> float:
        """Seconds from now to the next update."""
        due = self._anchor + (self._latched + 1) * timedelta(seconds=self.period_s)
        return max(0.0, (due - self._clock.now()).total_seconds())

    def _restart_grid(self) -> None:
        self._anchor = self._clock.now()
        self._latched = 0
        self._first_grid = False

    def _site_changed(self) -> None:
        state = self._tap.state()
        if state == self._seen:
            return
        now = self._clock.now()
        if self._first_grid and now == self._anchor:
            self._latched = -1  # the site is still being put together
        else:
            self.catch_up()
        self._seen = state
        self._tell_at_next_update()

    def _tell_at_next_update(self) -> None:
        if self._telling is None:
            if self._latched < 0:
                self.catch_up()
            self._telling = self._clock.call_later(self.next_update_s(), self._updated, self._latched + 1)

    def _updated(self, update: int) -> None:
        self._telling = None
        before = (self._voltage_at, self._current_at)
        self.catch_up()
        if self._latched < update:
            self._tell_at_next_update()  # a real timer may come a moment early
            return
        self._tell()
        if before != (self._voltage_at, self._current_at):
            self._tell_at_next_update()  # the first set in the new range is still to come

    # --- Settings that act on the measurement ------------------------------------------------------------------------

    def guard(self) -> None:
        """Refused 813 while integration runs."""
        if self.integration is Integration.RUNNING:
            raise self.refusal(813)

    def refusal(self, code: int) -> Refused:
        """The refusal with one of the device's own codes."""
        return Refused(f"{self._name}: {code}, {ERROR_TEXTS[code]}", code)

    @property
    def range_factor(self) -> float:
        """What crest factor 6 does to the ranges."""
        return 1.0 if self.crest_factor == "3" else 0.5

    @property
    def voltage_ranges(self) -> tuple[float, ...]:
        """Voltage ranges on offer at this crest factor, in volts rms."""
        return tuple(r * self.range_factor for r in VOLTAGE_RANGES)

    @property
    def current_ranges(self) -> tuple[float, ...]:
        """Current ranges on offer at this crest factor, in amperes rms."""
        return tuple(r * self.range_factor for r in CURRENT_RANGES)

    @property
    def voltage_range_v(self) -> float:
        """Voltage range in force."""
        self.catch_up()
        return self.voltage_ranges[self._voltage_at]

    @property
    def current_range_a(self) -> float:
        """Current range in force."""
        self.catch_up()
        return self.current_ranges[self._current_at]

    def set_voltage_range(self, at: int | None) -> None:
        """Fix the voltage range at a place in `voltage_ranges`, or None for auto range. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        self.voltage_auto = at is None
        self._voltage_at = self._voltage_at if at is None else at
        self._tell_at_next_update()

    def set_current_range(self, at: int | None) -> None:
        """Fix the current range at a place in `current_ranges`, or None for auto range. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        self.current_auto = at is None
        self._current_at = self._current_at if at is None else at
        self._tell_at_next_update()

    def set_period(self, seconds: float, automatic: bool = False) -> None:
        """Set the update period, one of `UPDATE_PERIODS`; the grid starts anew now. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        self.period_s = seconds
        self.automatic_period = automatic
        self._restart_grid()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
            self._tell_at_next_update()

    def set_crest_factor(self, crest_factor: str) -> None:
        """Set crest factor `3`, `6` or `A6`. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        self.crest_factor = crest_factor
        self._tell_at_next_update()

    def set_mode(self, mode: str) -> None:
        """Set the measurement mode `RMS`, `VMEan` or `DC`. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        self.mode = mode
        self._tell_at_next_update()

    def set_scaling(
        self, *, on: bool | None = None, vt: float | None = None, ct: float | None = None, power: float | None = None
    ) -> None:
        """Change the scaling. Refused 813 when integrating."""
        self.guard()
        self.catch_up()
        given = {"on": on, "vt": vt, "ct": ct, "power": power}
        self.scaling = replace(self.scaling, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
        self._tell_at_next_update()

    @property
    def holding(self) -> bool:
        """Whether the display is held."""
        return self._held is not None

    def hold(self, on: bool) -> None:
        """Freeze what is shown, or let it go on."""
        self._held = None
        if on:
            self._held = self.shown()
        self._tell()

    def single(self) -> None:
        """Show one new set and hold on to it, where the display is held."""
        if self._held is not None:
            self.hold(True)

    def set_fault(self, fault: str, on: bool) -> None:
        """Switch a fault on or off; what was integrated before stays as it is."""
        self.catch_up()
        (self.faults.add if on else self.faults.discard)(fault)
        self._tell_at_next_update()

    # --- Measuring ---------------------------------------------------------------------------------------------------

    def shown(self) -> tuple[Readings, Integrals]:
        """What the instrument shows now."""
        self.catch_up()
        return self._held if self._held is not None else (self._readings, self.integrals())

    def _sensed(self, state: State) -> tuple[complex, complex]:
        """Phasors at the element, with its own gain and phase error."""
        if not state.voltages or max(self._legs) >= len(state.voltages):
            return 0j, 0j
        first = self._legs[0]
        u = state.voltages[first] - (state.voltages[self._legs[1]] if len(self._legs) == 2 else 0)
        i = state.currents[first]
        if "current_lead_reversed" in self.faults:
            i = -i
        if "gain_high" in self.faults:
            i *= 1.02
        return u * self._gain_u * self._turn, i * self._gain_i

    def _measure(self, state: State, at: datetime) -> Readings:
        ur, ir = self.voltage_ranges[self._voltage_at], self.current_ranges[self._current_at]
        v, c = self._sensed(state)
        u, i, s_true = abs(v), abs(c), v * c.conjugate()
        u_peak_over, i_peak_over = self._peak_over(u, ur), self._peak_over(i, ir)

        def noisy(value: float, full: float, quantity: str) -> float:
            part = noise.bounded(self._seed, self._name, quantity, at)
            return value + full * self._errors.noise_pct / 100 * part

        voltage_hz = state.frequency_hz * self._gain_f if u >= 0.1 * ur and state.frequency_hz else math.inf
        current_hz = state.frequency_hz * self._gain_f if i >= 0.1 * ir and state.frequency_hz else math.inf
        if self.mode == "DC":
            u = i = 0.0
        u, i, p = noisy(u, ur, "U"), noisy(i, ir, "I"), noisy(s_true.real, ur * ir, "P")
        least, most = (0.005, 1.4) if self.crest_factor == "3" else (0.01, 1.4 if self.crest_factor == "6" else 2.8)
        u = 0.0 if u <= least * ur else u
        i = 0.0 if i <= least * ir else i
        u_over, i_over = u > most * ur, i > most * ir
        s = q = 0.0
        factor = phase = math.inf
        if u_over or i_over:
            p = s = q = math.inf
        elif u == 0 or i == 0:
            p = 0.0
        else:
            sign = -1.0 if s_true.imag < 0 else 1.0
            s = u * i
            factor = max(-1.0, min(1.0, p / s))
            phase = sign * math.degrees(math.acos(factor))
            q = sign * math.sqrt(max(0.0, s * s - p * p))
        vt, ct, k = self._ratios()
        return Readings(
            voltage_v=math.inf if u_over else u * vt,
            current_a=math.inf if i_over else i * ct,
            power_w=p * k,
            apparent_va=s * k,
            reactive_var=q * k,
            power_factor=factor,
            phase_deg=phase,
            voltage_hz=voltage_hz,
            current_hz=current_hz,
            voltage_range_v=ur * vt,
            current_range_a=ir * ct,
            power_range_w=ur * ir * k,
            voltage_over=u_over,
            current_over=i_over,
            voltage_peak_over=u_peak_over,
            current_peak_over=i_peak_over,
        )

    def _peak_over(self, rms: float, full: float) -> bool:
        return math.sqrt(2) * rms > (3 if self.crest_factor == "3" else 6) * full

    def _ratios(self) -> tuple[float, float, float]:
        s = self.scaling
        return (s.vt, s.ct, s.vt * s.ct * s.power) if s.on else (1.0, 1.0, 1.0)

    def _choose_ranges(self) -> None:
        v, c = self._sensed(self._seen)
        if self.voltage_auto:
            self._voltage_at = self._fitting(abs(v), self.voltage_ranges, self._voltage_at)
        if self.current_auto:
            self._current_at = self._fitting(abs(c), self.current_ranges, self._current_at)

    def _fitting(self, rms: float, ranges: tuple[float, ...], at: int) -> int:
        up = 2.6 if self.crest_factor == "A6" else 1.3
        while at < len(ranges) - 1 and rms > up * ranges[at]:
            at += 1
        while at > 0 and rms <= 0.3 * ranges[at] and rms <= 1.25 * ranges[at - 1]:
            at -= 1
        return at

    # --- Integrating -------------------------------------------------------------------------------------------------

    def integrals(self) -> Integrals:
        """What the integrator holds now."""
        self._accrue(self._clock.now())
        positive, negative = (x / 3600 for x in self._watt_seconds)
        return Integrals(positive, negative, self._ampere_seconds / 3600, self._elapsed_s, self.integration)

    def _accrue(self, now: datetime) -> None:
        seconds = (now - self._accrued).total_seconds()
        self._accrued = now
        if self.integration is not Integration.RUNNING or seconds <= 0:
            return
        v, c = self._sensed(self._seen)
        _, ct, k = self._ratios()
        power = (v * c.conjugate()).real * k
        self._watt_seconds[0 if power >= 0 else 1] += power * seconds
        self._ampere_seconds += (0.0 if self.mode == "DC" else abs(c) * ct) * seconds
        self._elapsed_s += seconds

    def start(self) -> None:
        """Start integrating, or go on after a stop. Refused 842 when running, 221 where continuous mode has no timer."""
        if self.integration in (Integration.RUNNING, Integration.TIME_UP):
            raise self.refusal(842)
        if self.continuous and not self.timer_s:
            raise Refused(f"{self._name}: 221, continuous integration needs a timer above 0:00:00", 221)
        self.catch_up()
        self.integration = Integration.RUNNING
        self._set_timer()
        self._tell()

    def stop(self) -> None:
        """Stop integrating. Refused 844 when it does not run."""
        if self.integration is not Integration.RUNNING:
            raise self.refusal(844)
        self.catch_up()
        self._stop_timer()
        self.integration = Integration.STOPPED
        self._tell()

    def clear(self) -> None:
        """Empty the integrator. Refused 845 while it runs."""
        if self.integration is Integration.RUNNING:
            raise self.refusal(845)
        self._empty()
        self.integration = Integration.RESET
        self._tell()

    def _empty(self) -> None:
        self._watt_seconds = [0.0, 0.0]
        self._ampere_seconds = self._elapsed_s = 0.0

    def _set_timer(self) -> None:
        left = (self.timer_s or LONGEST_TIMER_S) - self._elapsed_s
        self._timer = self._clock.call_later(max(0.0, left), self._time_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_up(self) -> None:
        self.catch_up()
        self._timer = None
        if self.continuous:
            self._empty()
            self._set_timer()
        else:
            self.integration = Integration.TIME_UP
        self._tell()
