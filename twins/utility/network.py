"""The AMI network between the ADCS and the meters: latency, jitter and loss in bench time, keyed by seed; and cuts.

Whatever crosses it is a call of a meter's role, made in a worker thread because a driver blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from drivers.errors import LinkLost
from twins.clock import Clock
from twins.noise import bounded
from twins.utility.config import NetworkConfig

T = TypeVar("T")


class AmiNetwork:
    """One network for all meters. Only tasks of the clock can use it."""

    def __init__(self, clock: Clock, config: NetworkConfig, seed: int) -> None:
        self._clock = clock
        self._config = config
        self._seed = seed
        self._cut: set[str] = set()

    def cut(self, meter_id: str) -> None:
        """Take a meter off the network."""
        self._cut.add(meter_id)

    def mend(self, meter_id: str) -> None:
        """Put a meter back on the network."""
        self._cut.discard(meter_id)

    async def exchange(self, meter_id: str, call: Callable[..., T], *args: object) -> T:
        """Carry a call to a meter and its answer back. LinkLost, after the time-out, where either is lost.

        Where the answer is lost the meter has acted all the same.
        """
        await self._carry(meter_id, "down")
        answer = await self._clock.io(call, *args)
        await self._carry(meter_id, "up")
        return answer

    async def upward(self, meter_id: str, call: Callable[..., T], *args: object) -> T:
        """Carry up what a meter sends by itself, fetched with `call` as of now. LinkLost where it is lost."""
        answer = await self._clock.io(call, *args)
        await self._carry(meter_id, "up")
        return answer

    async def _carry(self, meter_id: str, way: str) -> None:
        now = self._clock.now()
        lost = self._cut_or_unlucky(meter_id, way)
        jitter = self._config.jitter_s * bounded(self._seed, meter_id, f"latency {way}", now)
        await self._clock.sleep(self._config.timeout_s if lost else self._config.latency_s + jitter)
        if lost:
            raise LinkLost(
                f"AMI network: meter {meter_id} did not answer within {self._config.timeout_s:g} s; it will be asked again"
            )

    def _cut_or_unlucky(self, meter_id: str, way: str) -> bool:
        if meter_id in self._cut:
            return True
        if self._config.loss == 0:
            return False
        chance = (bounded(self._seed, meter_id, f"loss {way}", self._clock.now()) + 1) / 2
        return chance < self._config.loss
