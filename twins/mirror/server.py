"""The OPC UA mirror: one server for a bench, one object for each device, fed by `twins.mirror.feed`.

What it shows is described in `docs/opcua.md`. Everything here belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import math
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.common.event_objects import BaseEvent
from asyncua.common.utils import ServiceError
from asyncua.server.address_space import NodeData
from asyncua.server.event_generator import EventGenerator
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes as Codes

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from twins.clock import AnyClock
from twins.listening import not_served
from twins.mirror.address_space import (
    ADVANCE,
    CLOCK,
    INJECT_FAULT,
    NAMESPACE,
    PRESS_BUTTON,
    RUN,
    BenchNodes,
    Builder,
    standard,
)
from twins.mirror.config import MirrorConfig, MirrorUser
from twins.mirror.devices import MirroredDevice, MirrorError, OnDeviation, Operator, RunInfo
from twins.mirror.feed import Feed, Followed, call_unless_busy
from twins.mirror.methods import callback, data_value
from twins.mirror.security import GuardedServer, ensure_certificate
from twins.mirror.variables import TABLES, Command, Field

__all__ = ["Mirror", "MirrorConfig", "MirrorError", "MirrorUser", "MirroredDevice", "OnDeviation", "RunInfo"]

_LONGEST_ADVANCE = timedelta(days=366)
_BUSY_FOR_S = 10.0  # how long a command waits for a driver that somebody else is using


class Mirror:
    """The mirror of one bench. `start` returns the endpoint's URL; `stop` may be called whatever became of `start`.

    `operator` asks the person at the bench to do to a real device what a method does to a twin; without one such a call is
    refused. `on_deviation` is told of every field that leaves its model by more than its limit, with the first reading that did.
    """

    def __init__(
        self,
        clock: AnyClock,
        devices: Sequence[MirroredDevice],
        config: MirrorConfig,
        *,
        run: RunInfo | None = None,
        operator: Operator | None = None,
        on_deviation: OnDeviation | None = None,
    ) -> None:
        names = [device.name for device in devices]
        for device in devices:
            if device.role not in TABLES:
                known = ", ".join(role.__name__ for role in TABLES)
                raise MirrorError(f"mirror: {device.name} has role {device.role.__name__}; it knows {known}")
            if names.count(device.name) > 1:
                raise MirrorError(f"mirror: the name {device.name!r} stands twice; every device needs its own")
            if not device.name or "/" in device.name:
                raise MirrorError(f"mirror: {device.name!r} cannot be a device's name; leave out '/'")
        self._clock = clock
        self._devices = tuple(devices)
        self._config = config
        self._run = run or RunInfo()
        self._operator = operator
        self._on_deviation = on_deviation
        self._server: GuardedServer | None = None
        self._serving = False
        self._feed: Feed | None = None
        self._bench: BenchNodes | None = None
        self._followed: dict[str, Followed] = {}
        self._advance = asyncio.Lock()
        self.url = ""

    # --- from start to stop ----------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Serve; returns `opc.tcp://host:port`. MirrorError where port, password or certificate cannot be had."""
        config = self._config
        _check_free(config.host, config.port)
        try:
            self._server = server = GuardedServer(config)
            certificate, key = await ensure_certificate(config.certificate_directory(), config.application_uri)
        except ValueError as no:
            raise MirrorError(str(no)) from no
        except OSError as no:
            where = config.certificate_directory()
            raise MirrorError(
                f"mirror: certificates cannot be kept in {where} ({no.strerror or no}); set mirror.certificates"
            ) from no
        server.name = "twinbench mirror"
        server.manufacturer_name = "twinbench"
        server.product_uri = "urn:twinbench"
        server.application_type = ua.ApplicationType.Server
        await server.init()
        await server.set_application_uri(config.application_uri)
        await server.load_certificate(certificate)
        await server.load_private_key(key)
        server.set_endpoint(f"opc.tcp://{_bracketed(config.host)}:{config.port}")
        builder = Builder(server.iserver, await server.register_namespace(NAMESPACE), self._clock.now())
        builder.types([device.role for device in self._devices])
        self._bench = bench = builder.bench()
        space = server.iserver.aspace
        self._feed = feed = Feed(
            self._clock,
            space,
            bench.now,
            cadence_s=config.cadence_s,
            share=config.share,
            on_deviation=self._on_deviation,
        )
        await self._open_bench(server, bench, feed, builder)
        for device in self._devices:
            await self._open_device(server, feed, builder, device)
        try:
            await server.start()
        except OSError as no:
            raise _not_served(config.host, config.port, no) from no
        self._serving = True
        assert server.bserver is not None
        self.url = f"opc.tcp://{_bracketed(config.host)}:{server.bserver.port}"
        server.set_endpoint(self.url)
        for endpoint in server.iserver.endpoints:
            endpoint.EndpointUrl = self.url
            endpoint.Server.DiscoveryUrls = [self.url]
        feed.start(await self._emitter(server, bench))
        return self.url

    def hush(self) -> None:
        """Begin no read of a device from now on; serving goes on until `stop`."""
        if self._feed is not None:
            self._feed.hush()

    async def stop(self) -> None:
        """Stop serving and leave nothing behind."""
        if self._feed is not None:
            await self._feed.stop()
            self._feed = None
        server, self._server = self._server, None
        if server is None or not self._serving:
            return
        self._serving = False
        # asyncua's own clock sleeps a second before it notices that it should end.
        if server.iserver.time_task is not None:
            server.iserver.time_task.cancel()
            await asyncio.gather(server.iserver.time_task, return_exceptions=True)
            server.iserver.time_task = None
        await server.stop()

    # --- what the bench tells ----------------------------------------------------------------------------------------------

    def event(self, text: str, severity: int = 300) -> None:
        """Emit an event of the bench, by bench time. `severity` 1 to 1000, as OPC UA counts it."""
        if self._feed is not None:
            self._feed.event(text, max(1, min(1000, severity)))

    def set_run(self, run: RunInfo) -> None:
        """Show another run, or another state of it."""
        self._run = run
        if self._feed is not None and self._bench is not None:
            for one in RUN:
                self._feed.put(self._bench.run[one.key], one, getattr(run, one.key))

    def publish(self, device: str, field: str, value: Any) -> None:
        """Show a modelled value, with the present moment of bench time. Every one reaches every subscriber.

        `field` as the role spells it (`power_w`, `service_limit_w`). MirrorError for a device or field that is not there.
        """
        followed = self._followed.get(device)
        if followed is None or self._feed is None:
            raise MirrorError(f"mirror: no device {device!r}; there are {', '.join(self._followed) or 'none'}")
        node = followed.nodes.modelled.get(field)
        if node is None:
            known = ", ".join(followed.nodes.modelled) or "none"
            raise MirrorError(f"mirror: {device} has no modelled {field!r}; there are {known}")
        self._feed.put(node, followed.by_key[field], value)

    # --- putting it together -----------------------------------------------------------------------------------------------

    async def _open_bench(self, server: GuardedServer, bench: BenchNodes, feed: Feed, builder: Builder) -> None:
        stepped = next(one for one in CLOCK if one.key == "stepped")
        feed.put(builder.id("Bench/Clock/Stepped"), stepped, self._clock.stepped)
        self.set_run(self._run)
        # A reader sees the present moment; what the feed writes only tells subscribers.
        server.set_attribute_value_callback(bench.now, self._read_now)
        server.iserver.set_attribute_value_setter(bench.now, lambda node, attribute, value: None)
        self._link(server, bench.advance, bench.clock, "Bench/Clock", ADVANCE, self._run_advance)

    def _read_now(self, node: ua.NodeId, attribute: AttributeIds) -> ua.DataValue:
        now = self._clock.now()
        return data_value(ua.Variant(now, ua.VariantType.DateTime), Codes.Good, now)

    async def _open_device(self, server: GuardedServer, feed: Feed, builder: Builder, device: MirroredDevice) -> None:
        table = TABLES[device.role]
        fields = table.fields(await self._count(device, table.counted))
        fields = tuple(tuple(_ranged(one, device.ranges) for one in names) for names in fields)
        flat = [one for names in fields for one in names]
        for key in device.ranges.keys() - {one.key for one in flat}:
            raise MirrorError(
                f"mirror: {device.name} has no field {key!r} for a range; there are {', '.join(o.key for o in flat)}"
            )
        numeric = {one.key for one in flat if one.numeric}
        for key, limit in device.deviation_limits.items():
            if key not in numeric:
                known = ", ".join(sorted(numeric)) or "none"
                raise MirrorError(
                    f"mirror: {device.name} has no field {key!r} for a deviation limit; there are {known}"
                )
            if not (math.isfinite(limit) and limit >= 0):
                raise MirrorError(f"mirror: the deviation limit of {device.name} {key} is {limit}; zero or more")
        nodes = builder.device(
            device.name,
            table,
            flat,
            device.identity,
            modelled=device.model is not None,
            faults=device.twin.faults if device.twin is not None else (),
            buttons=device.twin.buttons if device.twin is not None else (),
        )
        builder.commit()
        limits = dict(device.deviation_limits) if device.model is not None else {}
        followed = Followed(device, table, fields, nodes, limits)
        self._followed[device.name] = followed
        feed.follow(followed)
        for key, node in nodes.limits.items():
            server.iserver.set_attribute_value_setter(node, self._limit_setter(followed, key))
        path = f"Devices/{device.name}"
        for command, node in nodes.commands:
            self._link(server, node, nodes.object, path, command, self._commander(followed, command))
        self._link(server, nodes.inject_fault, nodes.object, path, INJECT_FAULT, self._injector(followed))
        self._link(server, nodes.press_button, nodes.object, path, PRESS_BUTTON, self._presser(followed))

    async def _count(self, device: MirroredDevice, counted: str) -> int:
        if not counted:
            return 0
        source = device.model if device.model is not None else device.driver
        return int(await self._clock.io(getattr, source, counted))

    def _link(
        self,
        server: GuardedServer,
        method: ua.NodeId,
        of: ua.NodeId,
        path: str,
        command: Command,
        run: Callable[[list[Any]], Awaitable[None]],
    ) -> None:
        server.iserver.isession.add_method_callback(method, callback(of, path, command, run, self.event))

    async def _emitter(
        self, server: GuardedServer, bench: BenchNodes
    ) -> Callable[[str, int, datetime], Awaitable[None]]:
        generators = []
        # An event reaches those who listen at the node that emits it, and nobody else.
        for emitting in (standard(ObjectIds.Server), bench.object):
            generator = EventGenerator(server.iserver.isession)
            event: Any = BaseEvent()  # type: ignore[no-untyped-call]
            event.SourceNode, event.SourceName = bench.object, "Bench"
            await generator.init(event, emitting_node=emitting)
            generators.append(generator)

        async def emit(text: str, severity: int, at: datetime) -> None:
            for generator in generators:
                generator.event.Severity = severity
                await generator.trigger(at, text)

        return emit

    # --- methods -------------------------------------------------------------------------------------------------------------

    async def _run_advance(self, arguments: list[Any]) -> None:
        (seconds,) = arguments
        if not self._clock.stepped:
            raise NotSupported("the bench runs on real time, which passes by itself")
        if not 0 <= seconds <= _LONGEST_ADVANCE.total_seconds():
            raise OutOfRange(f"Advance({seconds}): 0 to {_LONGEST_ADVANCE.total_seconds():.0f} s")
        async with self._advance:
            await self._clock.advance(seconds)
        if self._feed is not None:
            await self._feed.refresh()

    def _commander(self, followed: Followed, command: Command) -> Callable[[list[Any]], Awaitable[None]]:
        driver = followed.device.driver

        async def run(arguments: list[Any]) -> None:
            until = time.monotonic() + _BUSY_FOR_S
            while True:
                async with self._clock.turn():
                    done, _ = await self._clock.io(
                        call_unless_busy, driver, getattr(driver, command.method), *arguments
                    )
                if done:
                    break
                if time.monotonic() > until:
                    raise LinkLost(f"{followed.device.name} has been busy for {_BUSY_FOR_S:.0f} s; try again")
                await asyncio.sleep(0.01)
            if self._feed is not None:
                await self._feed.refresh(followed)

        return run

    async def _ask_operator(self, device: MirroredDevice, what: str) -> None:
        if self._operator is None:
            raise NotSupported(f"{device.name} is a real device and there is nobody to {what}")
        if not await self._clock.io(self._operator, device.name, what):
            raise Refused(f"the operator did not {what} at {device.name}")

    def _injector(self, followed: Followed) -> Callable[[list[Any]], Awaitable[None]]:
        async def run(arguments: list[Any]) -> None:
            name, on = arguments
            device, state = followed.device, "on" if on else "off"
            if device.twin is None:
                await self._ask_operator(device, f"switch the fault {name!r} {state}")
            else:
                async with self._clock.turn():
                    device.twin.inject(name, on)
            await self._acted(followed, f"{device.name}: fault {name} {state}")

        return run

    def _presser(self, followed: Followed) -> Callable[[list[Any]], Awaitable[None]]:
        async def run(arguments: list[Any]) -> None:
            (name,) = arguments
            device = followed.device
            if device.twin is None:
                await self._ask_operator(device, f"press the button {name!r}")
            else:
                async with self._clock.turn():
                    device.twin.press(name)
            await self._acted(followed, f"{device.name}: button {name} pressed")

        return run

    async def _acted(self, followed: Followed, text: str) -> None:
        self.event(text)
        if self._feed is not None:
            await self._feed.refresh(followed)

    def _limit_setter(self, followed: Followed, key: str) -> Callable[[NodeData, AttributeIds, ua.DataValue], None]:
        def check_and_set(node: NodeData, attribute: AttributeIds, value: ua.DataValue) -> None:
            variant = value.Value
            if value.StatusCode is not None and not value.StatusCode.is_good():
                raise ServiceError(Codes.BadWriteNotSupported)
            limit = None if variant is None else variant.Value
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                raise ServiceError(Codes.BadOutOfRange)
            node.attributes[attribute].value = data_value(
                ua.Variant() if variant is None else variant, Codes.Good, self._clock.now()
            )
            if limit == followed.limits.get(key):
                return
            if limit is None:
                followed.limits.pop(key, None)
            else:
                followed.limits[key] = limit
            self.event(f"{followed.device.name}: deviation limit of {key} is {limit}")
            if self._feed is not None:
                self._feed.judge_again(followed, key)
                self._feed.show_within_limits(followed)

        return check_and_set


def _ranged(one: Field, ranges: Mapping[str, tuple[float, float]]) -> Field:
    return dataclasses.replace(one, range=ranges.get(one.key, one.range))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _not_served(host: str, port: int, no: OSError) -> MirrorError:
    found = {errno.EADDRINUSE: ".port", errno.EACCES: ".port", errno.EMFILE: "", errno.ENFILE: ""}
    return MirrorError(f"mirror{found.get(no.errno or 0, '.host')}: {not_served(host, port, no)}")


def _check_free(host: str, port: int) -> None:
    """Fail before anything is built where the port is taken; asyncua would find out last, and print a trace."""
    if not port:
        return
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as no:
        raise _not_served(host, port, no) from no
