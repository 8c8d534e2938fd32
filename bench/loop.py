"""An event loop in a thread of its own, where a bench's twins, its utility systems and its mirror live."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE_S = 30.0
"""Real seconds for what still runs to end, and then for the thread."""


class LoopThread:
    """An event loop that runs in a background thread until closed."""

    def __init__(self, name: str = "twins") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name=name)
        self._thread.start()

    def call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a plain function on the loop's thread and return what it returned."""

        async def run() -> T:
            return fn(*args, **kwargs)

        return self.run(run())

    def run(self, coro: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the loop and return what it returned. Interrupted, it cancels the coroutine."""
        if threading.current_thread() is self._thread:
            coro.close()
            raise RuntimeError("the loop's own thread cannot wait for itself")
        future = asyncio.run_coroutine_threadsafe(coro, self.loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, stop the loop and join its thread. Harmless when closed already."""
        if self.loop.is_closed():
            return

        async def drain() -> None:
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.loop.shutdown_asyncgens()
            await self.loop.shutdown_default_executor()

        try:
            if self._thread.is_alive():  # or it was interrupted when it had stopped already
                self.run(drain(), _PATIENCE_S)
        except TimeoutError:
            raise RuntimeError(f"what runs on it does not end within {_PATIENCE_S:g} s") from None
        finally:
            if threading.current_thread() is not self._thread:
                self.loop.call_soon_threadsafe(self.loop.stop)
                self._thread.join(_PATIENCE_S)
                self.loop.close()
