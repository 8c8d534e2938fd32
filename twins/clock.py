"""Bench time: one interface, two clocks.

The stepped clock stands still until somebody calls `advance` and then runs one task at a time, each wake in the order
(time, order of request), so a run is the same for the same seed. The wall clock runs the same code in real time.
Every method belongs to the event loop's thread unless its docstring says otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
"""Where a stepped clock starts unless told otherwise: a Monday, 00:00 in Los Angeles."""

# How long `advance` works before other threads and the loop get a turn. `sleep(0)` alone starves other threads: the
# pause has to be real.
_WORK_S = 0.002
_PAUSE_S = 5e-5


def real_now() -> datetime:
    """Real time, aware UTC, for the few places that tell it beside bench time (OPC UA's ServerTimestamp)."""
    return datetime.now(UTC)


class ClockError(Exception):
    """The clock was asked for something that would break its order."""


class Timer:
    """A call that will be made at a moment of bench time, unless cancelled."""

    __slots__ = ("_real", "args", "cancelled", "fn", "when")

    def __init__(self, when: datetime, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.when = when
        self.fn = fn
        self.args = args
        self.cancelled = False
        self._real: asyncio.TimerHandle | None = None

    def cancel(self) -> None:
        """Make sure the call is not made. Harmless when it was made already."""
        self.cancelled = True
        if self._real is not None:
            self._real.cancel()


class Event:
    """A flag that tasks of one clock can wait for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def is_set(self) -> bool:
        """Tell whether the flag is up."""
        return self._set

    def set(self) -> None:
        """Raise the flag; every waiter wakes in the order in which it came."""
        self._set = True
        while self._waiters:
            self._clock._wake(self._waiters.popleft())

    def clear(self) -> None:
        """Lower the flag."""
        self._set = False

    async def wait(self) -> None:
        """Wait until the flag is up."""
        if not self._set:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await self._clock._idle(waiter)


class Queue(Generic[T]):
    """An unbounded first-in first-out queue between tasks of one clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._items: deque[T] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append an item and wake the longest waiting getter."""
        self._items.append(item)
        if self._waiters:
            self._clock._wake(self._waiters.popleft())

    async def get(self) -> T:
        """Take the oldest item, waiting for one where there is none."""
        while not self._items:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await self._clock._idle(waiter)
        return self._items.popleft()


class Clock(Protocol):
    """What behaviours, the utility's systems and the mirror know of time."""

    def now(self) -> datetime:
        """Bench time, aware UTC. Any thread."""
        ...

    def call_at(self, when: datetime, fn: Callable[..., Any], *args: Any) -> Timer:
        """Call `fn(*args)` at a moment; one that has passed is made as soon as possible."""
        ...

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Timer:
        """Call `fn(*args)` after `seconds` of bench time."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` of bench time pass."""
        ...

    def event(self) -> Event:
        """Make a flag to wait for."""
        ...

    def queue(self) -> Queue[Any]:
        """Make a queue to wait on."""
        ...

    def spawn(self, coro: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        """Start a task. On the stepped clock it starts, and ever wakes, in the clock's own order."""
        ...

    def cancel(self, what: Timer | asyncio.Task[Any]) -> None:
        """Cancel a timer or a task."""
        ...

    async def io(self, fn: Callable[..., T], *args: Any) -> T:
        """Run a blocking call (a driver's) in a worker thread. It takes real time and holds bench time still."""
        ...

    def turn(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold bench time still from outside a clock's task, between two of its steps, as an outside reader has to."""
        ...

    @property
    def stepped(self) -> bool:
        """Tell whether time passes only by `advance`."""
        ...

    @property
    def advancing(self) -> bool:
        """Tell whether time is passing now."""
        ...

    async def close(self) -> None:
        """Cancel every task and timer."""
        ...

    def _wake(self, waiter: asyncio.Future[None]) -> None: ...

    async def _idle(self, waiter: asyncio.Future[None]) -> None: ...


class _Common:
    """What both clocks do alike: tasks, worker threads, events, queues."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures: list[BaseException] = []
        # A pool of our own: asyncio's default one is small and nested calls into it deadlock.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="clock-io")

    def event(self: Any) -> Event:
        return Event(self)

    def queue(self: Any) -> Queue[Any]:
        return Queue(self)

    def cancel(self, what: Timer | asyncio.Task[Any]) -> None:
        what.cancel()

    async def io(self, fn: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, *args)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception())  # type: ignore[arg-type]

    def _fail(self, failure: BaseException) -> None:
        self._failures.append(failure)

    def _raise_failure(self) -> None:
        if self._failures:
            failure, self._failures = self._failures[0], []
            raise failure

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)


class SteppedClock(_Common):
    """A clock that stands still until advanced."""

    def __init__(self, start: datetime = EPOCH) -> None:
        super().__init__()
        if start.tzinfo is None:
            raise ValueError("the clock's start needs a time zone")
        self._now = start.astimezone(UTC)
        self._order = itertools.count()
        self._heap: list[tuple[datetime, int, Timer | asyncio.Future[None]]] = []
        self._running = 0  # tasks awake: working, or in real I/O
        self._quiet: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()
        self._advancing = False

    @property
    def stepped(self) -> bool:
        return True

    @property
    def advancing(self) -> bool:
        return self._advancing

    def now(self) -> datetime:
        return self._now

    def call_at(self, when: datetime, fn: Callable[..., Any], *args: Any) -> Timer:
        timer = Timer(max(when, self._now), fn, args)
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))
        return timer

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Timer:
        if seconds < 0:
            raise ClockError(f"call_later {seconds} s: bench time never runs back")
        return self.call_at(self._now + timedelta(seconds=seconds), fn, *args)

    async def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ClockError(f"sleep {seconds} s: bench time never runs back")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._heap, (self._now + timedelta(seconds=seconds), next(self._order), waiter))
        await self._idle(waiter)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        start: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake(start)

        async def run() -> T:
            try:
                await start
            except asyncio.CancelledError:
                coro.close()
                raise
            try:
                return await coro
            finally:
                self._sleepy()

        task = asyncio.get_running_loop().create_task(run(), name=name or None)
        task.add_done_callback(self._done)
        self._tasks.add(task)
        return task

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._lock:
            yield

    async def advance(self, seconds: float = 0.0) -> None:
        """Let `seconds` of bench time pass and run everything that falls due, in order.

        Returns when the bench is idle at the new time. An exception of a task comes out here, once.
        Raises ClockError when called from one of the clock's own tasks, or back in time.
        """
        await self.run_until(self._now + timedelta(seconds=seconds))

    async def run_until(self, until: datetime, enough: Callable[[], bool] | None = None) -> bool:
        """Advance to `until`, or stop earlier, right after the step that makes `enough()` true.

        Returns whether `enough` became true (False where it is None).
        """
        if asyncio.current_task() in self._tasks:
            raise ClockError("advance was called from a task of the clock: it would wait for itself")
        if until < self._now:
            raise ClockError(
                f"advance to {until.isoformat()}: bench time is {self._now.isoformat()} and never runs back"
            )
        if enough is not None and enough():
            return True
        breath = time.monotonic() + _WORK_S
        while True:
            async with self._lock:
                self._advancing = True
                try:
                    while self._heap and self._heap[0][0] <= until:
                        when, _, what = heapq.heappop(self._heap)
                        if isinstance(what, Timer):
                            if what.cancelled:
                                continue
                            self._now = when
                            what.fn(*what.args)
                        else:
                            if what.cancelled():
                                continue
                            self._now = when
                            await self._run_one(what)
                        self._raise_failure()
                        if enough is not None and enough():
                            return True
                        if time.monotonic() >= breath:
                            break
                    else:
                        # Two that advance at once take turns: the one who goes further may have been here first.
                        self._now = max(self._now, until)
                        self._raise_failure()
                        return False
                finally:
                    self._advancing = False
            # The real pause comes without the lock, so that an outside reader can take its turn.
            time.sleep(_PAUSE_S)  # noqa: ASYNC251 - gives other threads the processor; sleep(0) does not
            await asyncio.sleep(0)
            breath = time.monotonic() + _WORK_S

    async def _run_one(self, waiter: asyncio.Future[None]) -> None:
        self._running += 1
        self._quiet = asyncio.get_running_loop().create_future()
        waiter.set_result(None)
        # A task ends in a done callback, one turn of the loop after it stopped running.
        await self._quiet
        await asyncio.sleep(0)

    def _sleepy(self) -> None:
        self._running -= 1
        if self._running == 0 and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        heapq.heappush(self._heap, (self._now, next(self._order), waiter))

    async def _idle(self, waiter: asyncio.Future[None]) -> None:
        """Wait for a wake of the clock. Only a task of the clock may: anything else would be woken out of order."""
        if asyncio.current_task() not in self._tasks:
            raise ClockError(
                "only a task started by the clock's `spawn` can wait for bench time; call `advance` instead"
            )
        self._sleepy()
        try:
            await waiter
        except asyncio.CancelledError:
            self._running += 1  # cancelled out of turn: `run` gives this back when it ends
            waiter.cancel()
            raise


class WallClock(_Common):
    """Real time, with the same interface."""

    def __init__(self) -> None:
        super().__init__()
        # Monotonic from a start read once: a step of the system's clock must not make bench time jump.
        self._start = datetime.now(UTC)
        self._mono = time.monotonic()
        self._lock = asyncio.Lock()
        self._failed = asyncio.Event()

    @property
    def stepped(self) -> bool:
        return False

    @property
    def advancing(self) -> bool:
        return True

    def now(self) -> datetime:
        return self._start + timedelta(seconds=time.monotonic() - self._mono)

    def call_at(self, when: datetime, fn: Callable[..., Any], *args: Any) -> Timer:
        return self.call_later(max(0.0, (when - self.now()).total_seconds()), fn, *args)

    def call_later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> Timer:
        if seconds < 0:
            raise ClockError(f"call_later {seconds} s: bench time never runs back")
        timer = Timer(self.now() + timedelta(seconds=seconds), fn, args)
        timer._real = asyncio.get_running_loop().call_later(seconds, self._fire, timer)
        return timer

    def _fire(self, timer: Timer) -> None:
        if not timer.cancelled:
            try:
                timer.fn(*timer.args)
            except Exception as failure:  # noqa: BLE001 - kept, raised by the next `run_until`, told by `failure`
                self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        super()._fail(failure)
        self._failed.set()

    async def failure(self) -> BaseException:
        """Wait for the first failure of a timer or a task, for who serves and never calls `run_until`."""
        await self._failed.wait()
        return self._failures[0]

    async def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ClockError(f"sleep {seconds} s: bench time never runs back")
        await asyncio.sleep(seconds)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coro, name=name or None)
        task.add_done_callback(self._done)
        self._tasks.add(task)
        return task

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._lock:
            yield

    async def advance(self, seconds: float = 0.0) -> None:
        """Wait until `seconds` have really passed."""
        await self.run_until(self.now() + timedelta(seconds=seconds))

    async def run_until(self, until: datetime, enough: Callable[[], bool] | None = None) -> bool:
        """Wait until `until`, or until `enough()` is true, looked at twenty times a second."""
        if asyncio.current_task() in self._tasks:
            raise ClockError("advance was called from a task of the clock: it would wait for itself")
        while True:
            self._raise_failure()
            if enough is not None and enough():
                return True
            left = (until - self.now()).total_seconds()
            if left <= 0:
                return False
            await asyncio.sleep(min(0.05, left))

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    async def _idle(self, waiter: asyncio.Future[None]) -> None:
        await waiter


AnyClock = SteppedClock | WallClock
"""The two clocks, where somebody has to advance one."""

__all__ = [
    "EPOCH",
    "AnyClock",
    "Clock",
    "ClockError",
    "Event",
    "Queue",
    "SteppedClock",
    "Timer",
    "WallClock",
    "real_now",
]
