"""Bench time: order, determinism, refusals, and that time holds still while a wire is busy."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import LoopThread
from twins.clock import EPOCH, ClockError, SteppedClock, WallClock


def _trace(site_loop: LoopThread, seed_io: bool) -> list[tuple[str, datetime]]:
    """Three tasks that meet at the same instants, with and without real I/O in between."""
    seen: list[tuple[str, datetime]] = []
    clock = site_loop.call(SteppedClock)

    async def worker(name: str) -> None:
        for _ in range(4):
            await clock.sleep(10)
            if seed_io:
                await clock.io(time.sleep, 0.001)
            seen.append((name, clock.now()))

    for name in "abc":
        site_loop.call(clock.spawn, worker(name))
    site_loop.run(clock.advance(60))
    site_loop.run(clock.close())
    return seen


@pytest.mark.parametrize("seed_io", [False, True])
def test_tasks_of_one_instant_run_in_the_order_of_their_requests(site_loop: LoopThread, seed_io: bool) -> None:
    seen = _trace(site_loop, seed_io)
    assert [name for name, _ in seen] == list("abc" * 4)
    assert seen[3][1] - seen[0][1] == timedelta(seconds=10)


def test_time_holds_still_while_a_task_is_in_io(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    stamps: list[tuple[datetime, datetime]] = []

    async def reader() -> None:
        before = clock.now()
        await clock.io(time.sleep, 0.02)
        stamps.append((before, clock.now()))

    site_loop.call(clock.spawn, reader())
    site_loop.call(clock.call_later, 0.001, lambda: None)
    site_loop.run(clock.advance(1))
    assert stamps == [(EPOCH, EPOCH)]


def test_a_queue_hands_over_in_order_and_wakes_its_reader(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    queue = site_loop.call(clock.queue)
    got: list[tuple[int, float]] = []

    async def reader() -> None:
        while True:
            got.append((await queue.get(), (clock.now() - EPOCH).total_seconds()))

    site_loop.call(clock.spawn, reader())
    for item in range(3):
        site_loop.call(clock.call_later, item * 5.0, queue.put, item)
    site_loop.run(clock.advance(20))
    assert got == [(0, 0.0), (1, 5.0), (2, 10.0)]
    site_loop.run(clock.close())


def test_an_event_wakes_all_who_wait_and_later_comers_pass(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    event = site_loop.call(clock.event)
    passed: list[str] = []

    async def waiter(name: str, delay: float) -> None:
        await clock.sleep(delay)
        await event.wait()
        passed.append(name)

    for name, delay in (("early", 0.0), ("late", 9.0)):
        site_loop.call(clock.spawn, waiter(name, delay))
    site_loop.call(clock.call_later, 5.0, event.set)
    site_loop.run(clock.advance(4))
    assert passed == []
    site_loop.run(clock.advance(6))
    assert passed == ["early", "late"]


def test_an_exception_in_a_task_comes_out_of_advance_at_its_moment(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)

    async def fails() -> None:
        await clock.sleep(3)
        raise ValueError("three seconds in")

    site_loop.call(clock.spawn, fails())
    with pytest.raises(ValueError, match="three seconds in"):
        site_loop.run(clock.advance(10))
    assert clock.now() == EPOCH + timedelta(seconds=3)
    site_loop.run(clock.advance(1))


def test_advance_from_a_task_is_refused(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)

    async def greedy() -> None:
        await clock.advance(1)

    site_loop.call(clock.spawn, greedy())
    with pytest.raises(ClockError, match="wait for itself"):
        site_loop.run(clock.advance(1))


def test_time_never_runs_back(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    with pytest.raises(ClockError, match="never runs back"):
        site_loop.run(clock.advance(-1))
    with pytest.raises(ClockError, match="never runs back"):
        site_loop.call(clock.call_later, -1.0, lambda: None)


def test_waiting_outside_a_clock_task_is_refused(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    with pytest.raises(ClockError, match="only a task started by"):
        site_loop.run(clock.sleep(1))


def test_a_cancelled_timer_is_not_called_and_a_cancelled_task_does_not_hold_time(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    called: list[int] = []
    timer = site_loop.call(clock.call_later, 1.0, called.append, 1)
    site_loop.call(clock.cancel, timer)

    async def sleeper() -> None:
        await clock.sleep(100)

    task = site_loop.call(clock.spawn, sleeper())
    site_loop.run(clock.advance(1))
    site_loop.call(clock.cancel, task)
    site_loop.run(clock.advance(200))
    assert called == []
    assert clock.now() == EPOCH + timedelta(seconds=201)


def test_run_until_stops_right_after_the_step_that_is_enough(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    ticks: list[datetime] = []

    def tick() -> None:
        ticks.append(clock.now())
        clock.call_later(1.0, tick)

    site_loop.call(tick)
    assert site_loop.run(clock.run_until(EPOCH + timedelta(hours=1), lambda: len(ticks) == 5))
    assert clock.now() == EPOCH + timedelta(seconds=4)


def test_an_outside_reader_gets_its_turn_while_time_is_advanced(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)

    def tick() -> None:
        clock.call_later(0.01, tick)

    site_loop.call(tick)
    turns: list[datetime] = []

    async def race() -> None:
        advancing = asyncio.ensure_future(clock.advance(2000))
        while not advancing.done():
            async with clock.turn():
                turns.append(clock.now())
            await asyncio.sleep(0.005)
        await advancing

    site_loop.run(race())
    assert len(turns) > 5
    assert turns == sorted(turns)


def test_a_stepped_clock_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        SteppedClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_the_wall_clock_runs_the_same_code(site_loop: LoopThread) -> None:
    clock = site_loop.call(WallClock)
    got: list[int] = []

    async def reader() -> None:
        got.append(await queue.get())
        await clock.sleep(0.01)
        got.append(await queue.get())

    queue = site_loop.call(clock.queue)
    site_loop.call(clock.spawn, reader())
    site_loop.call(clock.call_later, 0.01, queue.put, 1)
    site_loop.call(clock.call_later, 0.02, queue.put, 2)
    until = clock.now() + timedelta(seconds=5)
    assert site_loop.run(clock.run_until(until, lambda: got == [1, 2]))
    assert abs((clock.now() - datetime.now(UTC)).total_seconds()) < 1
    site_loop.run(clock.close())


def test_the_wall_clock_raises_what_a_task_raised(site_loop: LoopThread) -> None:
    clock = site_loop.call(WallClock)

    async def fails() -> None:
        raise ValueError("on the wall")

    site_loop.call(clock.spawn, fails())
    with pytest.raises(ValueError, match="on the wall"):
        site_loop.run(clock.advance(0.2))
