"""Puts a bench together from an inventory file, keeps it, and takes it down safely however it ends.

Twins, utility systems and mirror live on one event loop in a thread of its own; drivers are called from other threads and
reach the twins only through their faces. Beside every device stands a shadow: the healthy model in a site of its own,
fed with the same commands, for what the device should be showing.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import attr
import yaml

from bench import garbage
from bench.data import BadInput
from bench.evidence.record import Record
from bench.inventory import DeviceConfig, Inventory, leads_to
from bench.loop import LoopThread
from bench.safety import TRIPPED, Safety, safe_order
from bench.strategy import SiteStrategy
from bench.website import first_passwords, password
from drivers.device import DeviceDriver
from drivers.errors import DeviceError, LinkLost, Refused
from drivers.links import Link
from drivers.roles import Identity
from drivers.wire.meter_settings import Language
from twins import defects as seeded
from twins import models
from twins.clock import AnyClock, SteppedClock, WallClock
from twins.faces.stream import Endpoint, Face

if TYPE_CHECKING:
    from bench.place import AcquiredPlace  # brings gRPC, which only a shared bench needs

T = TypeVar("T")

UNITS = {"v": "V", "a": "A", "w": "W", "va": "VA", "var": "var", "wh": "Wh", "hz": "Hz", "deg": "°", "factor": "1"}
"""Units by the last word of a reading's field."""

LONG_S = 30.0
"""After a wait for so long, in seconds of bench time, sources and loads are asked for trips."""

_SAFE = "safe outputs"
"""The step of coming down that goes before all others."""
_PATIENCE_S = 30.0
"""How long, in real seconds, each step of coming down may take that the loop takes."""
_LANGUAGES = {"en": Language.ENGLISH, "es": Language.SPANISH}

_log = logging.getLogger("twinbench")


class BenchError(Exception):
    """The bench (not the device) cannot do what it should."""


class OnLoop:
    """Something that lives on the bench's loop, to be asked from any other thread: methods are called there."""

    def __init__(self, loop: LoopThread, thing: Any) -> None:
        self._loop = loop
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        value = self._loop.call(getattr, self._thing, name)
        if not callable(value):
            return value
        return lambda *args, **kwargs: self._loop.call(value, *args, **kwargs)


class Bench:
    """A bench, up between `up()` and `down()`; also a context manager. Methods are for threads other than the loop's."""

    def __init__(
        self,
        inventory: Inventory,
        *,
        seed: int | None = None,
        defects: tuple[str, ...] = (),
        record: Record | None = None,
    ) -> None:
        """`record`, where there is one, takes the resolved bench file, a wire log for each link, and readings."""
        self.inventory = inventory
        self.config = inventory.config
        self.seed = self.config.seed if seed is None else seed
        self.defects = frozenset(defects)
        for name in defects:
            if seeded.find(name).of not in self._defective():
                raise BadInput(
                    f"{inventory.path}: nothing here has the defect {name!r}, which is one of {seeded.find(name).of}"
                )
        self.record = record
        self._undo: list[tuple[str, Callable[[], object]]] = []
        self.loop: LoopThread
        self.clock: AnyClock
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.twins: dict[str, models.Behaviour] = {}
        self.shadows: dict[str, models.Behaviour] = {}
        self.stand_ins: dict[str, models.Behaviour] = {}
        self.taken: list[tuple[datetime, str, str, tuple[Any, ...]]] = []
        """Commands that devices have taken: bench time, device, the role's method, its arguments."""
        self.troubles: list[str] = []
        """What went wrong while the bench was taken down: outputs that may still be on, first of all."""
        self.disagreements: list[dict[str, Any]] = []
        """Commands that a device took and its healthy model refuses: from then on its model predicts something else."""
        self.deviations: list[dict[str, Any]] = []
        """Devices that left their models by more than the bench file states: the first reading each time."""
        self.place: AcquiredPlace | None = None
        self.drivers: dict[str, DeviceDriver] = {}
        self.links: dict[str, str] = {}
        self.identities: dict[str, Identity] = {}
        self.utility: Any = None
        self._passwords: dict[str, str] = {}
        self._meter_data_url: str | None = None
        self.mirror: Any = None
        self.mirror_url: str | None = None
        self.website: str | None = None
        """Address of the utility's website, None where the bench file serves none."""
        self._mirror_stopping: concurrent.futures.Future[None] | None = None

    def _defective(self) -> set[str]:
        twins = {device.model for device in self.config.devices.values() if device.is_twin}
        return twins | {"css", "adcs", "mdms", "website", "fleet"}

    # --- up and down -------------------------------------------------------------------------------------------------

    def up(self, *, mirror: bool = True) -> None:
        """Bring the bench up: twins on their wires, drivers active, site provisioned, utility and mirror running.

        What was started is taken down again where something fails.
        """
        try:
            self._up(mirror)
        except BenchError as no:
            self.down(log=False)
            if self.troubles:  # one device that is dead is one line, of both what it kept from and what it may still do
                raise BenchError("; ".join([str(no), *self.troubles])) from no
            raise
        except BaseException:
            self.down()
            raise

    def _up(self, mirror: bool) -> None:
        self.serve_twins()
        self.bind_drivers()
        self.keep_safe()
        self._begin_safely()
        self._utility()
        try:
            self.safety.confirm()
            if not self.clock.stepped:
                self.safety.watch()
            self.strategy.transition("provisioned")
            for name, driver in self.drivers.items():
                self.identities[name] = self._identify(name, driver)
        except DeviceError as no:
            raise BenchError(f"bench {self.config.name!r} cannot be provisioned: {no}") from no
        if mirror:
            self._mirror()
        self._website()
        self._undo.append(("the garbage collector", lambda: garbage.let_in(self)))
        garbage.keep_away(self)

    def _begin_safely(self) -> None:
        """Reach every device, those with outputs first, and switch each off at once: an earlier run may have been killed.

        What cannot be reached keeps none of the others from being switched off.
        """
        troubles = []
        for name in safe_order({name: device.role for name, device in self.config.devices.items()}):
            try:
                self.reach(name)
            except DeviceError as no:
                troubles.append(f"{name} cannot be reached: {no}")
                continue
            try:
                self.safety.make_one_safe(name)
            except DeviceError as no:
                troubles.append(f"{name} cannot be switched off: {no}")
        if troubles:
            raise BenchError("; ".join(troubles))

    def serve_twins(self) -> None:
        """First piece of coming up: the loop, the twins on their wires, and the shadows. `down()` undoes every piece."""
        self.loop = LoopThread()
        self._undo.append(("the loop", self.loop.close))
        self.loop.call(self._build)
        self._undo.append(("the clock", lambda: self.loop.run(self.clock.close(), _PATIENCE_S)))
        for name, device in self.config.devices.items():
            for face_name, face in device.faces.items():
                self._open_face(name, device, face_name, face.scheme, face.address)

    def _build(self) -> None:
        config = self.config
        self.clock = SteppedClock(config.clock.epoch) if config.clock.kind == "stepped" else WallClock()
        self.site = self.inventory.build_site(self.clock)
        self.shadow_site = self.inventory.build_site(self.clock)
        for name, device in config.devices.items():
            if device.is_twin:
                self.twins[name] = self.inventory.build_device(name, self.clock, self.site, self.seed, self.defects)
            else:
                # On a bench that is real in part, the twins have to feel what the real devices do.
                self.stand_ins[name] = self.inventory.build_device(name, self.clock, self.site, self.seed)
            self.shadows[name] = self.inventory.build_device(name, self.clock, self.shadow_site, self.seed)

    def _open_face(self, name: str, device: DeviceConfig, face_name: str, scheme: str, address: str) -> None:
        make = models.find(device.model).faces[scheme]
        if not address and scheme not in ("pty", "rtu"):
            address = "127.0.0.1:0"
        line = device.faces[face_name].line(self.seed)
        face: Face = self.loop.call(make, self.twins[name], address, line)
        try:
            self.endpoints[name, face_name] = self.loop.run(face.open())
        except OSError as no:
            raise BenchError(f"{name}/{face_name} cannot be served: {no}") from no
        self._undo.append((f"face {name}/{face_name}", lambda: self.loop.run(face.close(), _PATIENCE_S)))
        self.faces = {**getattr(self, "faces", {}), (name, face_name): face}

    def bind_drivers(self) -> None:
        """Second piece: drivers and strategy, bound to their links. Nothing has been opened or asked yet."""
        from labgrid import Environment
        from labgrid.exceptions import NoDriverFoundError, NoSupplierFoundError
        from labgrid.strategy import StrategyError

        holder = tempfile.TemporaryDirectory(prefix="twinbench-")
        self._undo.append(("the working directory", holder.cleanup))
        resolved = Path(holder.name) / "bench.yaml"
        resolved.write_text(yaml.safe_dump(self.inventory.resolved(self.endpoints), sort_keys=False), encoding="utf-8")
        environment = Environment(str(resolved))
        if self.inventory.place is not None:
            self._acquired(environment, self.inventory.place)
        try:
            self.target = environment.get_target(self.config.target)
        except NoSupplierFoundError as no:
            raise BadInput(f"{self.inventory.path}: targets.{self.config.target}: {no}") from None
        self._undo.append(("the drivers", self._let_drivers_go))
        for link in self.target.resources:
            if isinstance(link, Link):
                self.links[link.name] = type(link).__name__
                if self.record is not None:
                    link.wire_log = self.record.wire_log(link.name)
        for name in self.config.devices:
            try:
                driver: DeviceDriver = self.target.get_driver(DeviceDriver, name=name, activate=False)
            except NoDriverFoundError as no:
                raise BadInput(f"{self.inventory.path}: twinbench.devices.{name}: {no}") from None
            # What a real model makes slow on its wire completes at once on a stepped clock.
            driver.wait = (lambda seconds: None) if self.clock.stepped else time.sleep
            driver.commanded.append(functools.partial(self._shadow, name))
            if self.place is not None:
                driver.lock = self.place.guarded(name, driver.lock)
            self.drivers[name] = driver
        try:
            self.strategy: SiteStrategy = self.target.get_driver(SiteStrategy)
        except (NoDriverFoundError, StrategyError) as no:
            raise BadInput(
                f"{self.inventory.path}: targets.{self.config.target}.drivers: needs a SiteStrategy ({no})"
            ) from None
        # labgrid activates no strategy, and so would never tell one to let go.
        self._undo.append(("the hold on the contacts", self.strategy.on_deactivate))
        self.strategy.now = self.clock.now
        self.strategy.let_pass = self.advance
        self.strategy.language = self._language()
        if self.clock.stepped:
            self.strategy.hold_s = 0.0
        self.safety = Safety(self.config.safety, self.config.devices, self.drivers, self.shadow_site)
        for name, driver in self.drivers.items():
            if self.config.devices[name].role == "Meter":
                driver.causes.append(self._cause)

    def _let_drivers_go(self) -> None:
        try:
            self.target.cleanup()
        finally:
            # labgrid would hold the target, and with it the whole bench, until the process ends.
            atexit.unregister(self.target._atexit_cleanup)

    def _language(self) -> Language | None:
        """The language of the customer at whose address the site's meter is; None where it is at nobody's."""
        meter_id = _meter_id(self.config.devices[self.strategy.meter.name])
        for customer in self.config.utility.customers:
            if any(account.meter_id == meter_id for account in customer.accounts):
                return _LANGUAGES[customer.language]
        return None

    def reach(self, name: str) -> None:
        """Third piece, one device at a time: open its link. LinkLost where nobody or somebody else is there."""
        self.target.activate(self.drivers[name])
        if self.drivers[name] is self.strategy.relay:
            self.strategy.hold()

    def keep_safe(self) -> None:
        """From now on `down()` makes the outputs safe, first of all. Wanted before anything is switched."""
        self._undo.append((_SAFE, self._make_safe))

    def _acquired(self, environment: Any, name: str) -> None:
        from bench.place import AcquiredPlace, PlaceError

        self.place = AcquiredPlace(name, environment)
        try:
            self.place.open()
        except PlaceError as no:
            raise BenchError(str(no)) from no
        self._undo.append(("the place", self.place.close))

    def _make_safe(self) -> None:
        if self.place is not None:
            self.place.let_go()
        if self.mirror is not None:
            # Without waiting for it: the loop may be busy, or gone.
            with contextlib.suppress(RuntimeError):
                self.loop.loop.call_soon_threadsafe(self.mirror.hush)
        # No time passes from here on: the utility would go on sending to a meter that has no power.
        self.strategy.let_pass = lambda seconds: None
        troubles = self.safety.make_safe()
        self.safety.unwatch()
        self.strategy.status = type(self.strategy.status).UNKNOWN
        try:
            self.strategy.transition("off")
        except DeviceError as no:
            troubles.append(str(no))
        if troubles:
            held = self.strategy.held is not None
            raise BenchError(
                "; ".join(troubles)
                + (f"; contacts open by themselves within {self.strategy.hold_s:g} s" if held else "")
            )

    def _shadow(self, name: str, command: str, args: tuple[Any, ...]) -> None:
        """Give the shadow the command that its device has just taken (called on the driver's thread)."""
        self.taken.append((self.clock.now(), name, command, args))

        def apply() -> None:
            refused: dict[str, Any] = {}  # said once, though shadow and stand-in both refuse
            for model in (self.shadows[name], self.stand_ins.get(name)):
                try:
                    if model is not None:
                        getattr(model, command)(*args)
                except DeviceError as no:
                    refused = {"at": self.clock.now(), "device": name, "command": command, "why": str(no)}
            if refused:
                self.disagreements.append(refused)

        self.loop.loop.call_soon_threadsafe(apply)

    def _identify(self, name: str, driver: DeviceDriver) -> Identity:
        found: Identity = driver.identify()
        for key, wanted in self.config.devices[name].identity.model_dump(exclude_none=True).items():
            if getattr(found, key) != wanted:
                raise BenchError(
                    f"{name}: its link answers with {key} {getattr(found, key)!r}, the bench file wants {wanted!r}; "
                    f"check which device hangs on the link, or mend twinbench.devices.{name}.identity"
                )
        return found

    def _utility(self) -> None:
        from twins.utility.utility import Utility

        meters = {}
        for name, device in self.config.devices.items():
            if device.role == "Meter":
                meters[_meter_id(device)] = self.drivers[name]
        self._passwords = first_passwords(self.config.utility)
        self.utility = self.loop.call(
            Utility,
            self.clock,
            self.config.utility,
            meters,
            seed=self.seed,
            defects=self.defects,
            passwords=self._passwords,
        )
        self._undo.append(("the utility", lambda: self.loop.run(self.utility.close(), _PATIENCE_S)))
        self.loop.call(self.utility.start)

    def meter_data(self) -> str | None:
        """Where the MDMS serves meter data over REST, from the first time this is asked. None where the bench file does
        not say."""
        if self._meter_data_url is None and self.config.utility.mdms.listen is not None:
            self._meter_data_url = self._serve_meter_data()
        return self._meter_data_url

    def _serve_meter_data(self) -> str:
        from twins.utility.mdms_rest import meter_data_app
        from twins.utility.web import Server, WebError, serve

        config, utility = self.config.utility.mdms, self.utility
        try:
            tokens = {client.name: client.secret() for client in config.clients}
        except ValueError as no:
            raise BenchError(str(no)) from None
        app = meter_data_app(self.clock, utility.mdms, utility.meter_data, utility.meters, tokens)
        try:
            server: Server = self.loop.run(serve(app, *config.address, self.clock))
        except WebError as no:
            raise BenchError(f"bench {self.name!r}: twinbench.utility.mdms.listen: {no}") from no
        self._undo.append(("the meter data's server", lambda: self.loop.run(server.close(), _PATIENCE_S)))
        return server.address

    def _mirror(self) -> None:
        from twins.mirror.devices import MirroredDevice, MirrorError, RunInfo
        from twins.mirror.server import Mirror

        devices = [
            MirroredDevice(
                name=name,
                role=models.find(device.model).role,
                driver=self.drivers[name],
                model=self.twins.get(name, self.shadows[name]),
                twin=self.twins.get(name),
                identity=self.identities[name],
                deviation_limits=device.deviation,
                ranges=models.find(device.model).ranges,
            )
            for name, device in self.config.devices.items()
        ]
        run = RunInfo(self.record.path.name if self.record is not None else self.name, self.seed, "running")
        # It logs what it refuses as its own errors; who was refused has been told.
        logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self.mirror = self.loop.call(
            Mirror, self.clock, devices, self.config.mirror, run=run, on_deviation=self._deviated
        )
        self._mirror_stopping = None
        self._undo.append(("the mirror", self._mirror_stopped))
        try:
            self.mirror_url = self.loop.run(self.mirror.start())
        except MirrorError as no:
            raise BenchError(f"bench {self.name!r}: the mirror cannot start: {no}") from no

    def _website(self) -> None:
        if self.config.utility.website is None:
            return
        from twins.utility.web import WebError, serve
        from twins.utility.website.forms import LONGEST_SENT

        host, port = self.config.utility.website.address
        try:
            app = self.utility.website.app
            server = self.loop.run(serve(app, host, port, self.clock, longest_body=LONGEST_SENT))
        except WebError as no:
            raise BenchError(f"bench {self.name!r}: twinbench.utility.website.listen: {no}") from no
        self._undo.append(("the website", lambda: self.loop.run(server.close(), _PATIENCE_S)))
        self.website = server.address

    def password(self, login: str) -> str:
        """What a customer or representative of the bench file signs in with at the website."""
        return password(login, self._passwords)

    def _deviated(self, device: str, field: str, measured: Any, modelled: Any, limit: float, at: datetime) -> None:
        """A device has left its model: the first reading that did."""
        if device in self.twins:
            return  # its model is the twin itself: what differs is a command between two questions
        self.deviations.append(
            {"at": at, "device": device, "field": field, "measured": measured, "modelled": modelled, "limit": limit}
        )

    def down(self, *, log: bool = True) -> None:
        """Take the bench down: outputs safe first. Each step is tried whatever became of the others, and what went wrong
        stands in `troubles`, and in the log unless somebody else tells of it.

        What interrupts it (Ctrl-C once more) comes out when all is down.
        """
        undo = list(reversed(self._undo))
        self._undo = []
        # Outputs first, in a thread of its own: signals reach the main thread alone, and cut short no step of that one.
        outputs = [step for step in undo if step[0] == _SAFE]
        interrupted: list[BaseException] = []
        done = threading.Event()

        def make_safe() -> None:
            try:
                self._try([("the mirror's reading", self._stop_mirror), *outputs], log, interrupted)
            finally:
                done.set()

        thread = threading.Thread(target=make_safe, name=_SAFE)
        thread.start()
        while not done.is_set():
            try:
                done.wait()
            except BaseException as no:  # noqa: BLE001 - however often: what is on has to go off first
                interrupted.append(no)
        thread.join()
        # Then everything in the opposite order of its start.
        self._try([step for step in undo if step[0] != _SAFE], log, interrupted)
        if interrupted:
            raise interrupted[-1]

    def _try(self, steps: list[tuple[str, Callable[[], object]]], log: bool, interrupted: list[BaseException]) -> None:
        """Take each step, whatever became of the others. What interrupts one is kept, and the step taken once more."""
        for what, step in steps:
            for _ in range(2):
                try:
                    step()
                except Exception as no:  # noqa: BLE001 - the rest has to come down too
                    self.troubles.append(f"taking the bench down: {what}: {no}")
                    if log:
                        _log.error("%s", self.troubles[-1])
                except BaseException as no:  # noqa: BLE001 - once more: a step cut short has left something behind
                    interrupted.append(no)
                    continue
                break

    def _stop_mirror(self) -> None:
        """Let the mirror begin to stop. Its reads hold bench time, and one of a meter without power takes seconds; but
        outputs wait for it for no more than an instant."""
        if self.mirror is not None and self._mirror_stopping is None:
            self._mirror_stopping = asyncio.run_coroutine_threadsafe(self.mirror.stop(), self.loop.loop)
            concurrent.futures.wait([self._mirror_stopping], timeout=0.25)

    def _mirror_stopped(self) -> None:
        if self._mirror_stopping is not None:
            self._mirror_stopping.result(_PATIENCE_S)

    def __enter__(self) -> Bench:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    # --- while it is up ------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Bench time."""
        return self.clock.now()

    def advance(self, seconds: float) -> None:
        """Let bench time pass (on a wall clock: wait). LinkLost where the place of the bench or its hold on the relays is lost
        meanwhile, Refused where its door is opened, and after a long wait where a source or load has tripped."""
        if self._watched:
            self.wait_until(lambda: False, seconds)
        else:
            self.loop.run(self.clock.advance(seconds))
            self._look_for_trips(seconds)

    def wait_until(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Let bench time pass until `enough()` (asked on the loop) is true, at most `seconds`; returns whether it was.

        Raises as `advance` does.
        """
        until = datetime.fromtimestamp(self.clock.now().timestamp() + seconds, self.clock.now().tzinfo)
        if not self._watched:
            found = self.loop.run(self.clock.run_until(until, enough))
        else:
            self.check()
            found = self.loop.run(self.clock.run_until(until, lambda: self._stopped() is not None or enough()))
            self.check()
        if not found:  # what was waited for has its moment, and nothing may make that later
            self._look_for_trips(seconds)
        return found

    def _look_for_trips(self, seconds: float) -> None:
        """Refused where a source or load has tripped. Asked over their links, and so only after waits of some length."""
        tripped = self.tripped() if seconds >= LONG_S else None
        if tripped is not None:
            raise Refused(tripped)

    @property
    def _watched(self) -> bool:
        """Whether anything may stop a run from outside."""
        return self.place is not None or self.strategy.held is not None or self.config.safety.door is not None

    def _stopped(self) -> DeviceError | None:
        """What has stopped the run from outside."""
        if self.place is not None and self.place.lost is not None:
            return LinkLost(self.place.lost)
        if self.strategy.held is not None and self.strategy.held.lost is not None:
            return LinkLost(self.strategy.held.lost)
        return Refused(self.safety.alarm) if self.safety.alarm is not None else None

    def check(self) -> None:
        """Raise what has stopped the run from outside, as `advance` does; nothing as long as all is well."""
        if self.clock.stepped:  # on real time the door has a watch of its own
            self.safety.look()
        stopped = self._stopped()
        if stopped is not None:
            raise stopped

    def tripped(self) -> str | None:
        """Which source or load has tripped, in one line with its remedy; None where none has."""
        cause = self._cause()
        return None if cause is None else "; ".join(cause)

    def _cause(self) -> tuple[str, str] | None:
        found = self.safety.tripped()
        return None if found is None else (found, TRIPPED)

    def call(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function on the loop between two steps of the clock: for asking and telling the utility's systems."""

        async def run() -> T:
            async with self.clock.turn():
                return fn(*args, **kwargs)

        return self.loop.run(run())

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop."""
        return self.loop.run(coro)

    def device(self, name: str) -> Any:
        """The driver of a device, by its name in the bench file."""
        if name not in self.drivers:
            raise BadInput(f"bench {self.config.name!r} has no device {name!r}; it has {', '.join(self.drivers)}")
        return self.drivers[name]

    def predicted(self, name: str) -> Any:
        """The healthy model of a device, fed with the same commands; its role's methods may be called."""
        if name not in self.shadows:
            raise BadInput(f"bench {self.config.name!r} has no device {name!r}; it has {', '.join(self.shadows)}")
        return OnLoop(self.loop, self.shadows[name])

    def record_readings(self) -> None:
        """Read every device that measures and put the readings into the run's record."""
        if self.record is None:
            return
        for name, device in self.config.devices.items():
            if device.role in ("PowerAnalyzer", "AcSource", "AcLoad"):
                for quantity, value in vars(self.drivers[name].read()).items():
                    self.record.reading(name, quantity, value, UNITS[quantity.rpartition("_")[2]])
            elif device.role == "Meter":
                for quantity, value in vars(self.drivers[name].reading()).items():
                    self.record.reading(name, quantity, value, UNITS[quantity.rpartition("_")[2]])

    # --- what the record wants to know -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The bench's name in its file."""
        return self.config.name

    def describe(self) -> list[dict[str, Any]]:
        """What stands on the bench: one mapping a device."""
        return [
            {
                "name": name,
                "role": device.role,
                "kind": "twin" if device.is_twin else "real",
                "twin_model": device.model,
                "link": ", ".join(self._ends(name)),
                **(vars(self.identities[name]) if name in self.identities else {}),
            }
            for name, device in self.config.devices.items()
        ]

    def _ends(self, name: str) -> list[str]:
        """Where a device is reached: a twin at its faces, a real one at the end of its links."""
        if self.config.devices[name].is_twin:
            return [f"{e.scheme}:{e.address}" for (d, _), e in self.endpoints.items() if d == name]
        suppliers = self.drivers[name].suppliers if name in self.drivers else ()
        return [leads_to(link) for link in suppliers if isinstance(link, Link)]

    def resolved(self) -> dict[str, Any]:
        """The bench file's data with every twin's address filled in, and what its place has brought."""
        data = self.inventory.resolved(self.endpoints)
        data["targets"][self.config.target]["resources"] += [
            {type(link).__name__: {a.name: getattr(link, a.name) for a in attr.fields(type(link))[1:] if a.init}}
            for link in self.target.resources
            if link.parent is not None
        ]
        return data

    def shortened(self) -> list[dict[str, Any]]:
        """Parameters that are shorter than the supplier of the device, or the test, states them: name, used, stated."""
        stated = {name: value for p in self.pics().values() for name, value in p.pixit.items()}
        parameters = self.config.parameters
        of_tests = [
            {"name": name, "used": getattr(parameters, name), "stated": info.default}
            for name, info in type(parameters).model_fields.items()
            if getattr(parameters, name) < info.default
        ]
        return of_tests + [
            {"name": name, "used": getattr(self.strategy, name), "stated": value}
            for name, value in stated.items()
            if isinstance(value, int | float) and getattr(self.strategy, name, value) < value
        ]

    def pics(self) -> Mapping[str, Any]:
        """Suppliers' declarations by system under test, as they were when first asked for."""
        return self._declared

    @functools.cached_property
    def _declared(self) -> Mapping[str, Any]:
        from bench.judge import pics

        return {p.system: p for p in map(pics.load, self.config.pics)}


def _meter_id(device: DeviceConfig) -> str:
    """The id under which the utility knows a meter of the bench file."""
    options: Any = models.find(device.model).options.model_validate(device.options)
    return str(options.meter_id)


__all__ = ["Bench", "BenchError", "OnLoop"]
