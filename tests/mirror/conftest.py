"""A small bench with a mirror, and clients that talk to it over TCP."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from labgrid import Target

from drivers.analyzers.yokogawa_wt310e import YokogawaWt310eDriver
from drivers.links import ModbusTcpLink, VisaLink
from drivers.relays.waveshare import WaveshareRelayDriver
from drivers.roles import Identity
from tests.conftest import LoopThread
from twins import models
from twins.clock import SteppedClock
from twins.mirror.passwords import hash_password
from twins.mirror.server import Mirror, MirrorConfig, MirroredDevice
from twins.wiring import Site

T = TypeVar("T")
NAMES = itertools.count()
HASHES = {name: hash_password(f"{name}'s secret") for name in ("olive", "otto")}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory for the mirror's certificates, and a client's own pair."""
    own = tmp_path_factory.mktemp("client")
    asyncio.run(
        setup_self_signed_certificate(
            own / "key.pem", own / "cert.der", "urn:test", "localhost", [ExtendedKeyUsageOID.CLIENT_AUTH], {}
        )
    )
    return {"server": tmp_path_factory.mktemp("server"), "cert": own / "cert.der", "key": own / "key.pem"}


@dataclass
class Bench:
    """A relay board on its wire with a real driver, and others as a test puts them there."""

    thread: LoopThread
    clock: Any
    certificates: dict[str, Path]
    devices: list[MirroredDevice] = field(default_factory=list)
    undo: list[Callable[[], Any]] = field(default_factory=list)
    mirror: Mirror | None = None
    url: str = ""
    relay: Any = None
    driver: Any = None
    wire: list[tuple[str, bytes]] = field(default_factory=list)

    def twin(self, model_name: str, name: str, seed: int = 0) -> Any:
        """A twin in a small site of its own."""
        model = models.find(model_name)

        def build() -> Any:
            site = Site(self.clock)
            options = model.default_site(site)
            twin = model.build(self.clock, site, name=name, options=options, seed=seed, defects=frozenset())
            self.__dict__[f"site_of_{name}"] = site
            return twin

        return self.thread.call(build)

    def add(self, name: str, model_name: str, driver: Any, model: Any, twin: Any, **limits: float) -> None:
        """Put a device on the bench."""
        identity = Identity("Maker", model_name, f"SN-{name}", "1.0")
        found = models.find(model_name)
        self.devices.append(MirroredDevice(name, found.role, driver, model, twin, identity, limits, found.ranges))

    def with_relay(self, timeout: float = 2.0) -> Bench:
        """A relay board's twin behind Modbus TCP, with its driver, which waits so long for an answer."""
        self.relay = self.twin("waveshare-relay", "relay")
        face = models.find("waveshare-relay").faces["modbus"](self.relay, "127.0.0.1:0", models.LineOptions())
        endpoint = self.thread.run(face.open())
        self.undo.append(lambda: self.thread.run(face.close()))
        target = Target(f"mirror{next(NAMES)}")
        link = ModbusTcpLink(target, "link", address=endpoint.address, timeout=timeout)
        link.wire_log = lambda way, data: self.wire.append((way, data))
        self.driver = WaveshareRelayDriver(target, "relay")
        self.driver.wait = lambda seconds: None
        target.activate(self.driver)
        self.undo.append(lambda: target.deactivate(self.driver))
        self.add("relay", "waveshare-relay", self.driver, self.relay, self.relay)
        return self

    def with_analyzer(self, **limits: float) -> Bench:
        """A power analyzer's twin behind a raw socket, with its driver."""
        twin = self.twin("yokogawa-wt310e", "analyzer")
        face = models.find("yokogawa-wt310e").faces["tcp"](twin, "127.0.0.1:0", models.LineOptions())
        host, _, port = self.thread.run(face.open()).address.rpartition(":")
        self.undo.append(lambda: self.thread.run(face.close()))
        target = Target(f"mirror{next(NAMES)}")
        VisaLink(target, "link", resource=f"TCPIP::{host}::{port}::SOCKET")
        driver = YokogawaWt310eDriver(target, "analyzer")
        driver.wait = lambda seconds: None
        target.activate(driver)
        self.undo.append(lambda: target.deactivate(driver))
        self.add("analyzer", "yokogawa-wt310e", driver, twin, twin, **limits)
        return self

    def start(self, operator: Any = None, on_deviation: Any = None, **settings: Any) -> Bench:
        """Start the mirror."""
        users = [
            {"name": "olive", "role": "operator", "password_hash": HASHES["olive"]},
            {"name": "otto", "password_hash": HASHES["otto"]},
        ]
        given: dict[str, Any] = {"anonymous_read": True, "users": users, "certificates": self.certificates["server"]}
        config = MirrorConfig.model_validate({**given, **settings})
        self.mirror = self.thread.call(
            Mirror, self.clock, self.devices, config, operator=operator, on_deviation=on_deviation
        )
        self.url = self.thread.run(self.mirror.start())
        return self

    @asynccontextmanager
    async def client(
        self, user: str | None = None, *, encrypted: bool | None = None, password: str | None = None
    ) -> AsyncIterator[Client]:
        """A client: anonymous in the open, or a user who encrypts."""
        client = Client(self.url, timeout=10, watchdog_intervall=60.0)  # a second by default
        if user is not None:
            client.set_user(user)
            client.set_password(f"{user}'s secret" if password is None else password)
        if encrypted if encrypted is not None else user is not None:
            pair = f"{self.certificates['cert']},{self.certificates['key']}"
            await client.set_security_string(f"Basic256Sha256,SignAndEncrypt,{pair}")
        async with client:
            yield client

    def talk(self, dialogue: Callable[[Client], Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
        """Run a dialogue with a client in the test's own thread."""

        async def run() -> T:
            async with self.client(*args, **kwargs) as client:
                return await dialogue(client)

        return asyncio.run(run())

    def close(self) -> None:
        """Take everything down."""
        if self.mirror is not None:
            self.thread.run(self.mirror.stop())
        for step in reversed(self.undo):
            step()
        self.thread.run(self.clock.close())


@pytest.fixture
def bench(site_loop: LoopThread, certificates: dict[str, Path]) -> Iterator[Bench]:
    """An empty bench on stepped time."""
    made = Bench(site_loop, site_loop.call(SteppedClock), certificates)
    yield made
    made.close()


def node(client: Client, path: str) -> Any:
    """The node at a path of the bench."""
    return client.get_node(ua.NodeId(path, 2))


async def call(client: Client, path: str, *arguments: Any) -> Any:
    """Call the method at a path."""
    parent, _, _ = path.rpartition("/")
    return await node(client, parent).call_method(ua.NodeId(path, 2), *arguments)


async def becomes(
    client: Client, path: str, wanted: Callable[[ua.DataValue], bool], seconds: float = 20.0
) -> ua.DataValue:
    """Subscribe to a variable and wait until it is as wanted."""
    found: asyncio.Future[ua.DataValue] = asyncio.get_running_loop().create_future()
    seen: list[Any] = []

    class Handler:
        def datachange_notification(self, node: object, value: object, data: Any) -> None:
            data_value = data.monitored_item.Value
            seen.append(data_value)
            if wanted(data_value) and not found.done():
                found.set_result(data_value)

    subscription = await client.create_subscription(10, Handler())
    await subscription.subscribe_data_change(node(client, path))
    try:
        return await asyncio.wait_for(found, seconds)
    except TimeoutError:
        raise AssertionError(f"{path} went through {[(v.Value, v.StatusCode) for v in seen]}") from None
    finally:
        await subscription.delete()
