"""What feeds the mirror: devices are read through their drivers, models in process, and every value is written in order.

Reading a device holds bench time still, so a reader never breaks the order of a stepped run; in return all reading together
takes at most a set share of real time. Values given to `put` are written one by one, none is ever merged or dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes as Codes

from drivers.errors import LinkLost, NotSupported
from twins.clock import AnyClock
from twins.mirror.address_space import HEALTH, DeviceNodes, variant_type
from twins.mirror.devices import MirroredDevice, OnDeviation
from twins.mirror.methods import code_of, data_value
from twins.mirror.variables import Field, Read, RoleTable, difference, plain

_log = logging.getLogger(__name__)

_WORK_S = 0.002  # how long values are written before others get their turn
_BUSY_S = 0.05  # how long to wait for a driver that somebody else is using, with bench time held still
_LEAST_S = 0.1  # between two reads of a device
_PATIENCE_S = 2.0  # how long a command waits for its effect to be shown
_MOST_S = 10.0  # a device that is slow to answer, or doesn't, is asked again after this

_HEALTH = {one.key: one for one in HEALTH}
_FLAG = Field("within_limits", "WithinLimits", bool)
_NUMBER = Field("number", "Number", float)


@dataclass(frozen=True)
class Answer:
    """What a device said to one read: the values of its fields, or the status code they get instead, and why."""

    fields: tuple[Field, ...]
    values: Sequence[Any] | None
    code: int = Codes.Good
    error: BaseException | None = None

    @property
    def link_lost(self) -> bool:
        """Whether the device did not answer at all."""
        return isinstance(self.error, LinkLost | OSError)


def ask(device: Any, read: Read, fields: tuple[Field, ...]) -> Answer:
    """Put one of a role's reads to a device, or to a model. Never raises: what went wrong stands in the answer."""
    try:
        return Answer(fields, read.spread(getattr(device, read.method)(), fields))
    except NotSupported:
        return Answer(fields, None, Codes.BadNotSupported)
    except Exception as error:  # noqa: BLE001 - a device that fails is mirrored as such
        return Answer(fields, None, code_of(error), error)


def call_unless_busy(device: Any, fn: Callable[..., Any], *args: Any) -> tuple[bool, Any]:
    """Call `fn(*args)` with the device's link to ourselves. (False, None) where somebody else has it: whoever holds bench time
    still must not wait for somebody who may be waiting for bench time."""
    lock = getattr(device, "lock", None)
    if lock is None:
        return True, fn(*args)
    if not lock.acquire(timeout=_BUSY_S):
        return False, None
    try:
        return True, fn(*args)
    finally:
        lock.release()


@dataclass(frozen=True)
class Compared:
    """A reading, what the model said to it at the same moment, and when that was."""

    measured: Any
    modelled: Any
    at: datetime


_SETTLE = timedelta(seconds=2)
"""How long a field stays outside its limit on real time before it is said to have left its model."""


@dataclass
class Followed:
    """A device that is followed, and how it is doing. Moments are of the real, monotonic clock."""

    device: MirroredDevice
    table: RoleTable
    fields: tuple[tuple[Field, ...], ...]
    nodes: DeviceNodes
    limits: dict[str, float]
    dirty: bool = True
    soonest: float = 0.0  # not to be read before
    due: float = 0.0  # to be read then, even if nothing changed
    model_soonest: float = 0.0
    errors: int = 0
    shown: dict[str, Any] = field(default_factory=dict)  # what the model said last
    differences: dict[str, float | None] = field(default_factory=dict)  # measured minus modelled
    compared: dict[str, Compared] = field(default_factory=dict)  # the readings behind the differences
    outside: set[str] = field(default_factory=set)  # fields that have left their limit
    suspects: dict[str, Compared] = field(default_factory=dict)  # the first reading of those that may have
    waiting: list[asyncio.Future[None]] = field(default_factory=list)  # for a read that begins from now on to be shown

    @property
    def reads(self) -> Iterator[tuple[Read, tuple[Field, ...]]]:
        """The role's reads, each with the fields that it fills."""
        return zip(self.table.reads, self.fields, strict=True)

    @functools.cached_property
    def by_key(self) -> dict[str, Field]:
        """The device's fields."""
        return {one.key: one for names in self.fields for one in names}


Entry = tuple[ua.NodeId, Field, Any, int, datetime]
Emit = Callable[[str, int, datetime], Awaitable[None]]


class Feed:
    """Writes values into an address space and follows devices. Belongs to the event loop's thread."""

    def __init__(
        self,
        clock: AnyClock,
        space: AddressSpace,
        now: ua.NodeId,
        *,
        cadence_s: float,
        share: float,
        on_deviation: OnDeviation | None = None,
    ) -> None:
        self._clock = clock
        self.on_deviation = on_deviation
        self._space = space
        self._now_node = now
        self._cadence_s = cadence_s
        self._share = share
        self._followed: list[Followed] = []
        self._queue: deque[Entry | tuple[str, int, datetime] | asyncio.Future[None]] = deque()
        self._filled = asyncio.Event()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._emit: Emit | None = None
        self._unhook: list[Callable[[], None]] = []

    # --- values ----------------------------------------------------------------------------------------------------------

    def put(
        self, node: ua.NodeId, field: Field, value: Any, *, code: int = Codes.Good, at: datetime | None = None
    ) -> None:
        """Have a value written, after all that were put before. `at` is its moment of bench time, now by default."""
        self._queue.append((node, field, value, code, self._clock.now() if at is None else at))
        self._filled.set()

    def event(self, text: str, severity: int) -> None:
        """Have an event emitted, after the values that were put before."""
        self._queue.append((text, severity, self._clock.now()))
        self._filled.set()

    async def _write_all(self) -> None:
        while not self._stopping or self._queue:
            await self._filled.wait()
            self._filled.clear()
            breath = time.monotonic() + _WORK_S
            while self._queue:
                entry = self._queue.popleft()
                try:
                    if isinstance(entry, asyncio.Future):
                        if not entry.done():
                            entry.set_result(None)
                    elif len(entry) == 3:
                        if self._emit is not None:
                            await self._emit(*entry)
                    else:
                        await self.write(*entry)
                except Exception:  # noqa: BLE001 - one value that cannot be shown must not end the others
                    _log.exception("mirror: not shown: %r", entry)
                if time.monotonic() > breath:
                    await asyncio.sleep(0)
                    breath = time.monotonic() + _WORK_S

    async def write(self, node: ua.NodeId, field: Field, value: Any, code: int, at: datetime) -> None:
        """Write a value now. Not a number becomes BadNoData; infinite, which is over range, becomes uncertain."""
        value = plain(value)
        if isinstance(value, float) and not math.isfinite(value):
            code = Codes.BadNoData if math.isnan(value) else Codes.UncertainEngineeringUnitsExceeded
        if value is None:
            variant = ua.Variant()
            # asyncua takes a null for a value of the wrong type, unless there was none before.
            self._space[node].attributes[AttributeIds.Value].value = None
        else:
            variant = ua.Variant(value, variant_type(field), is_array=field.lines)
        result = await self._space.write_attribute_value(node, AttributeIds.Value, data_value(variant, code, at))
        result.check()

    # --- devices ---------------------------------------------------------------------------------------------------------

    def follow(self, followed: Followed) -> None:
        """Follow a device from now on."""
        self._followed.append(followed)
        at = self._clock.now()
        waiting = Codes.BadWaitingForInitialData
        for nodes in (followed.nodes.measured, followed.nodes.modelled):
            for key, one in followed.by_key.items():
                if key in nodes:
                    self.put(nodes[key], one, None, code=waiting, at=at)
        for node in followed.nodes.deviation.values():
            self.put(node, _NUMBER, None, code=waiting, at=at)
        for key, node in followed.nodes.limits.items():
            self.put(node, _NUMBER, followed.limits.get(key), at=at)
        if followed.nodes.within_limits is not None:
            self.put(followed.nodes.within_limits, _FLAG, None, code=waiting, at=at)
        for key, value in (("link", "unknown"), ("last_good_read", None), ("last_error", ""), ("errors", 0)):
            self.put(followed.nodes.health[key], _HEALTH[key], value, at=at)
        device = followed.device

        def changed() -> None:
            self._changed(followed)

        for source in {id(one): one for one in (device.twin, device.model)}.values():
            hooks = getattr(source, "changed", None)
            if hooks is not None:
                hooks.append(changed)
                self._unhook.append(functools.partial(hooks.remove, changed))
        told = getattr(device.driver, "commanded", None)
        if told is not None:
            loop = asyncio.get_running_loop()

            def commanded(command: str, arguments: tuple[Any, ...]) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._mark, followed)

            told.append(commanded)
            self._unhook.append(functools.partial(told.remove, commanded))

    def _mark(self, followed: Followed) -> None:
        followed.dirty = True
        self._wake.set()

    async def refresh(self, *which: Followed) -> None:
        """Have devices (all by default) read again at once, because somebody waits; returns when what they said is shown.

        A device that is slow to answer is not waited for longer than `_PATIENCE_S` of real time.
        """
        waiting: list[asyncio.Future[None]] = []
        for followed in which or self._followed:
            followed.soonest = 0.0
            followed.dirty = True
            waiting.append(asyncio.get_running_loop().create_future())
            followed.waiting.append(waiting[-1])
        self._wake.set()
        if waiting:
            await asyncio.wait(waiting, timeout=_PATIENCE_S)

    def _changed(self, followed: Followed) -> None:
        """A behaviour has changed: show its model now, as long as that takes no more than its share of time."""
        if self._stopping:
            return
        self._mark(followed)
        started = time.monotonic()
        if followed.device.model is None or started < followed.model_soonest:
            return
        for read, names in followed.reads:
            self._show_model(followed, ask(followed.device.model, read, names), changes_only=True)
        ended = time.monotonic()
        followed.model_soonest = ended + self._pause(ended - started)

    def _pause(self, spent: float) -> float:
        return spent * (max(1, len(self._followed)) / self._share - 1)

    def _show_model(self, followed: Followed, answer: Answer, *, changes_only: bool = False) -> None:
        at = self._clock.now()
        for index, one in enumerate(answer.fields):
            value = None if answer.values is None else plain(answer.values[index])
            what = (value, answer.code)
            if changes_only and followed.shown.get(one.key) == what:
                continue
            followed.shown[one.key] = what
            self.put(followed.nodes.modelled[one.key], one, value, code=answer.code, at=at)

    async def _read_all(self) -> None:
        while not self._stopping:
            now = time.monotonic()
            ready = [f for f in self._followed if max(f.soonest, 0.0 if f.dirty else f.due) <= now]
            if not ready:
                moments = [max(f.soonest, 0.0 if f.dirty else f.due) for f in self._followed]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), max(0.001, min(moments, default=now + 1.0) - now))
                self._wake.clear()
                continue
            for followed in ready:
                if not self._stopping:
                    await self._read(followed)

    async def _read(self, followed: Followed) -> None:
        """Read a device. Bench time stands still, and the link is taken, for one question at a time."""
        device = followed.device
        followed.dirty = False
        waiting, followed.waiting = followed.waiting, []
        spent = 0.0
        error: BaseException | None = None
        lost = False
        for read, names in followed.reads:
            if lost:  # every further question would wait for its time-out
                answer = Answer(names, None, Codes.BadCommunicationError)
                self._show(followed, answer, self._clock.now())
                continue
            try:
                async with self._clock.turn():
                    started = time.monotonic()
                    free, answer = await self._clock.io(
                        call_unless_busy, device.driver, ask, device.driver, read, names
                    )
                    if free:
                        self._show(followed, answer, self._clock.now(), read)
                    spent += time.monotonic() - started
            except Exception:  # noqa: BLE001 - the mirror goes on, whatever a device does
                _log.exception("mirror: %s was not read", device.name)
                free = False
            if not free:
                followed.dirty = True
                followed.soonest = time.monotonic() + _BUSY_S
                followed.waiting += waiting
                return
            error, lost = error or answer.error, answer.link_lost
        now = time.monotonic()
        pause = min(self._pause(spent), _MOST_S) if self._clock.stepped else 0.0
        followed.soonest = now + max(_LEAST_S, pause)
        followed.due = now + max(self._cadence_s, pause)
        self._show_health(followed, error, lost)
        self.show_within_limits(followed)
        self._queue.extend(waiting)
        self._filled.set()

    def _show(self, followed: Followed, answer: Answer, at: datetime, read: Read | None = None) -> None:
        """Show a measured answer; with `read`, also what the model says to it at the same moment, and the difference."""
        for index, one in enumerate(answer.fields):
            value = None if answer.values is None else answer.values[index]
            self.put(followed.nodes.measured[one.key], one, value, code=answer.code, at=at)
        if followed.device.model is None:
            return
        modelled = None if read is None else ask(followed.device.model, read, answer.fields)
        if modelled is not None:
            self._show_model(followed, modelled)
        for index, one in enumerate(answer.fields):
            if not one.numeric:
                continue
            delta: float | None = None
            if answer.values is not None and modelled is not None and modelled.values is not None:
                delta = difference(answer.values[index], modelled.values[index])
            followed.differences[one.key] = delta
            if delta is not None and answer.values is not None and modelled is not None and modelled.values is not None:
                seen = Compared(plain(answer.values[index]), plain(modelled.values[index]), at)
                followed.compared[one.key] = seen
                self._judge(followed, one, delta, seen)
            code = Codes.BadNoData if delta is None else Codes.Good
            self.put(followed.nodes.deviation[one.key], _NUMBER, delta, code=code, at=at)

    def _judge(self, followed: Followed, one: Field, delta: float, seen: Compared) -> None:
        """Report a field that leaves its limit, once, and say when it is back. What cannot be compared is neither."""
        limit = followed.limits.get(one.key)
        name = followed.device.name
        if limit is None or abs(delta) <= limit:
            followed.suspects.pop(one.key, None)
            if one.key in followed.outside:
                followed.outside.discard(one.key)
                self.event(f"{name}: {one.key} is back within its limit of deviation", 300)
            return
        if one.key in followed.outside:
            return
        # On real time a device and its model switch a moment apart: only what stays outside has left its model.
        first = followed.suspects.setdefault(one.key, seen)
        if not self._clock.stepped and seen.at - first.at < _SETTLE:
            return
        seen = followed.suspects.pop(one.key)
        followed.outside.add(one.key)
        self.event(
            f"{name}: {one.key} measured {seen.measured}, modelled {seen.modelled}: off by {delta:.6g}, limit {limit:.6g}",
            700,
        )
        if self.on_deviation is not None:
            try:
                self.on_deviation(name, one.key, seen.measured, seen.modelled, limit, seen.at)
            except Exception:  # noqa: BLE001 - whoever is told must not end the mirror
                _log.exception("mirror: the deviation of %s %s was not taken", name, one.key)

    def judge_again(self, followed: Followed, key: str) -> None:
        """Hold the latest readings of a field against a limit that has changed."""
        delta, seen = followed.differences.get(key), followed.compared.get(key)
        if delta is not None and seen is not None:
            self._judge(followed, followed.by_key[key], delta, seen)

    def _show_health(self, followed: Followed, error: BaseException | None, lost: bool) -> None:
        health: dict[str, Any] = {}
        at = self._clock.now()
        if error is None:
            health["last_good_read"] = at
        else:
            followed.errors += 1
            health["errors"] = followed.errors
            health["last_error"] = str(error) or type(error).__name__
        health["link"] = "down" if lost else "up"  # last: who sees it finds the reason there
        for key, value in health.items():
            self.put(followed.nodes.health[key], _HEALTH[key], value, at=at)

    def show_within_limits(self, followed: Followed) -> None:
        """Hold the latest deviations against their limits."""
        if followed.nodes.within_limits is None:
            return
        deltas = [(followed.differences.get(key), limit) for key, limit in followed.limits.items()]
        within: bool | None = True
        if any(delta is not None and abs(delta) > limit for delta, limit in deltas):
            within = False
        elif any(delta is None for delta, _ in deltas):
            within = None
        code = Codes.BadNoData if within is None else Codes.Good
        self.put(followed.nodes.within_limits, _FLAG, within, code=code)

    # --- bench time ------------------------------------------------------------------------------------------------------

    async def _tell_time(self) -> None:
        now_field = Field("now", "Now", datetime)
        shown: datetime | None = None
        while not self._stopping:
            now = self._clock.now()
            if now != shown:
                self.put(self._now_node, now_field, now, at=now)
                shown = now
            await asyncio.sleep(_LEAST_S if self._clock.stepped else 1.0)

    # --- from start to stop ----------------------------------------------------------------------------------------------

    def start(self, emit: Emit) -> None:
        """Begin to write and to read. `emit(text, severity, at)` sends an event."""
        self._emit = emit
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(coro) for coro in (self._write_all(), self._read_all(), self._tell_time())]

    def hush(self) -> None:
        """Begin no read from now on: what is switched off next would only let it run into its time-outs."""
        self._stopping = True
        for unhook in self._unhook:
            with contextlib.suppress(ValueError):
                unhook()
        self._unhook = []

    async def stop(self) -> None:
        """Finish the read that is going on, write what was put, and end."""
        self.hush()
        if self._tasks:
            writing, reading, telling = self._tasks
            telling.cancel()
            self._wake.set()
            await asyncio.gather(reading, telling, return_exceptions=True)
            self._filled.set()
            await asyncio.gather(writing, return_exceptions=True)
            self._tasks = []
