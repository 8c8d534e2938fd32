"""A labgrid place that its user has acquired, watched while a bench uses the links that it brought.

labgrid looks at its coordinator only while somebody asks it to, and cannot do so inside a running event loop. Here its
session has a loop and a thread of its own: what happens to the place in a run is known at the next call of a driver.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from types import TracebackType
from typing import Any

from labgrid import Environment
from labgrid.remote.client import ClientSession, ServerError, UserError
from labgrid.resource.remote import RemotePlaceManager

from bench.data import BadInput
from bench.loop import LoopThread
from drivers.device import Lock
from drivers.errors import LinkLost

PORT = 20408  # labgrid's own
PATIENCE_S = 10.0

_log = logging.getLogger("twinbench")


class PlaceError(Exception):
    """The coordinator, or an exporter of the place, is not there."""


class _Session(ClientSession):
    """labgrid's session with its coordinator, which says when it has heard of anything, or has come to its end."""

    place: AcquiredPlace

    async def on_resource_changed(self, exporter: str, group_name: str, resource_name: str, resource: Any) -> None:
        await super().on_resource_changed(exporter, group_name, resource_name, resource)
        self.place.look()

    async def on_place_changed(self, place_pb2: Any) -> None:
        await super().on_place_changed(place_pb2)
        self.place.look()

    async def on_place_deleted(self, name: str) -> None:
        await super().on_place_deleted(name)
        self.place.look()

    async def message_pump(self) -> None:
        await super().message_pump()
        self.place.look()


class AcquiredPlace:
    """A place between `open()` and `close()`. `lost` says why its links must no longer be used, None as long as they may."""

    def __init__(self, name: str, environment: Environment) -> None:
        """`environment`: where labgrid finds the coordinator's address (the option `coordinator_address`, `LG_COORDINATOR`)."""
        self.name = name
        self.lost: str | None = None
        self._environment = environment
        address = os.environ.get("LG_COORDINATOR", f"127.0.0.1:{PORT}")
        address = str(environment.config.get_option("coordinator_address", address))
        self.coordinator = address if address.rpartition(":")[2].isdecimal() and ":" in address else f"{address}:{PORT}"
        self._watched: dict[tuple[str, str, str], dict[str, Any]] | None = None

    def open(self) -> None:
        """Reach the coordinator, and see that the place is acquired by this user and that all of it is there.

        Raises PlaceError without coordinator or exporter, BadInput where the place is not there, or not this user's. labgrid's
        `RemotePlace` then takes its resources from this session.
        """
        host, _, port = self.coordinator.rpartition(":")
        try:  # labgrid would report this by itself, at length
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_S).close()
        except OSError as no:
            raise PlaceError(
                f"place {self.name!r}: no coordinator on {self.coordinator} ({no}); start labgrid-coordinator, "
                "or mend LG_COORDINATOR"
            ) from no
        self._loop = LoopThread("labgrid")
        try:
            self._session: _Session = self._loop.call(self._connect)
            self._loop.run(self._session.start(), PATIENCE_S)
            self._watched = self._loop.call(self._found)
            manager = RemotePlaceManager.get()
            manager.session, manager.loop = self._session, self._loop.loop
            manager.env, manager.url = self._environment, self.coordinator
        except (ServerError, TimeoutError) as no:
            self.close()
            raise PlaceError(f"place {self.name!r}: {no or 'no answer'} (coordinator {self.coordinator})") from no
        except BaseException:
            self.close()
            raise

    def _connect(self) -> _Session:
        session = _Session(self.coordinator, asyncio.get_running_loop(), env=self._environment)
        session.place = self
        return session

    def _found(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What each resource of the place is now, by exporter, group and name."""
        if self.name not in self._session.places:
            known = ", ".join(sorted(self._session.places)) or "none"
            raise BadInput(f"no place {self.name!r} at coordinator {self.coordinator}; it has {known}")
        place = self._session.places[self.name]
        try:
            self._session._check_allowed(place)
        except UserError as no:
            hint = "" if place.acquired else f"; before the run: labgrid-client -p {self.name} acquire"
            raise BadInput(" ".join(no.args) + hint) from None
        paths = [(exporter, group, name) for exporter, group, _, name in place.acquired_resources]
        if not paths:
            raise BadInput(f"place {self.name!r} has no resource; see labgrid-client -p {self.name} show")
        return {path: self._entry(path) for path in paths}

    def _entry(self, path: tuple[str, str, str]) -> dict[str, Any]:
        exporter, group, name = path
        entry = self._session.resources.get(exporter, {}).get(group, {}).get(name)
        if entry is None or not entry.data:
            raise PlaceError(
                f"place {self.name!r}: exporter {exporter!r} is gone; start it again, then release and acquire the place"
            )
        return dict(entry.data)

    def look(self) -> None:
        """Hold the place against what it was (on the session's loop, whenever that has heard anything)."""
        if self._watched is None or self.lost is not None:
            return
        self.lost = self._trouble()
        if self.lost is not None:
            _log.error("%s", self.lost)

    def _trouble(self) -> str | None:
        assert self._watched is not None
        if self._session.stopping.is_set():
            return (
                f"place {self.name!r}: coordinator {self.coordinator} is gone: nobody keeps others away from the bench"
            )
        place = self._session.places.get(self.name)
        try:
            if place is None:
                raise UserError(f"place {self.name} was deleted")
            self._session._check_allowed(place)
        except UserError as no:
            return f"place {self.name!r} is no longer ours: {' '.join(no.args)}"
        for path, was in self._watched.items():
            try:
                now = self._entry(path)
            except PlaceError as no:
                return str(no)
            if (now["cls"], now["params"]) != (was["cls"], was["params"]):
                return f"place {self.name!r}: {'/'.join(path)} now leads elsewhere; release and acquire the place"
        return None

    def guarded(self, who: str, lock: Lock) -> Guarded:
        """A driver's lock which lets nobody at the link of a lost place. `who`: the device, for the message."""
        return Guarded(self, who, lock)

    def let_go(self) -> None:
        """Watch no longer: what follows only makes outputs safe, over whatever link there still is."""
        self._watched, self.lost = None, None

    def close(self) -> None:
        """End the session; labgrid's next one starts afresh."""
        self._watched = None
        manager = RemotePlaceManager.get()
        if getattr(self, "_session", None) is not None:
            if manager.session is self._session:
                manager.session = manager.loop = None
                manager.resources, manager.unmanaged_resources = [], []
            self._loop.run(self._end(), PATIENCE_S)
        self._loop.close()

    async def _end(self) -> None:
        self._session.stopping.set()  # as the session wants it before it stops
        await self._session.stop()
        await self._session.close()


class Guarded:
    """A driver's lock; inside `with`, as drivers go to their link, it raises LinkLost once the place is lost.

    Whoever only keeps others away (`acquire`) is let in: what it then calls says what is lost.
    """

    def __init__(self, place: AcquiredPlace, who: str, lock: Lock) -> None:
        self._place, self._who, self._lock = place, who, lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As of the lock behind."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """As of the lock behind."""
        self._lock.release()

    def __enter__(self) -> bool:
        if self._place.lost is not None:
            raise LinkLost(f"{self._who}: {self._place.lost}")
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


__all__ = ["AcquiredPlace", "Guarded", "PlaceError"]
