"""The weather as the utility is told it: an interface to a weather service, and one that is told what to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twins.clock import Clock, Timer
from twins.utility.config import Observation


class WeatherService(Protocol):
    """Tells the present weather, by bench time."""

    def now(self) -> Observation | None:
        """The latest observation, None before any."""
        ...

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell()` on the loop whenever the weather has changed."""
        ...


class ToldWeather:
    """A weather service that says what the bench file foresees, or what it is told meanwhile."""

    def __init__(self, clock: Clock, foreseen: Sequence[Observation] = ()) -> None:
        self._clock = clock
        self._foreseen = foreseen
        self._now: Observation | None = None
        self._tell: list[Callable[[], None]] = []
        self._timers: list[Timer] = []

    def start(self) -> None:
        """Begin to say what is foreseen."""
        for observation in sorted(self._foreseen, key=lambda o: o.at):
            if observation.at <= self._clock.now():
                self._now = observation
            else:
                self._timers.append(self._clock.call_at(observation.at, self._becomes, observation))

    def close(self) -> None:
        """Say nothing any more."""
        for timer in self._timers:
            timer.cancel()

    def report(self, temperature_c: float) -> None:
        """The weather from now on, until more is said. ValueError for a temperature that no weather has."""
        self._becomes(Observation(at=self._clock.now(), temperature_c=temperature_c))

    def now(self) -> Observation | None:
        """The latest observation, None before any."""
        return self._now

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call `tell()` whenever the weather has changed."""
        self._tell.append(tell)

    def _becomes(self, observation: Observation) -> None:
        self._now = observation
        for tell in self._tell:
            tell()
