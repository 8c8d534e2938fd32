"""What a bench never does, whoever asks: ceilings and interlocks of the bench file, and how its outputs are made safe.

A driver asks before a command goes out; what is above a ceiling or against an interlock is refused there, and the message
names the key of the bench file. Ceilings, door and buses are those of `twinbench.safety` and `twinbench.wiring`.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Protocol

from labgrid.binding import BindingState
from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.device import DeviceDriver
from drivers.errors import DeviceError, OutOfRange, Refused
from twins.wiring import Bus, Contact, Load, Node, Site, Source

_UNITS = {"voltage_v": "V", "current_a": "A", "power_w": "W"}
_OF = {"limit_v": "voltage_v"}  # a voltage limit is held below the same ceiling

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

TRIPPED = "see what draws too much or shorts, then clear the trip"
"""What to do about a trip."""

WATCH_S = 0.5
"""How often a door is looked at while a bench on real time is up."""

CONFIRMED = "TWINBENCH_DOOR_CLOSED"
"""Environment variable by which an operator confirms beforehand: `yes`."""

_REPLACES = {
    "set_output": ("set_output",),
    "set_limits": ("set_limits",),
    "reset": ("set_limits",),
    "set_current": ("set_current", "set_power"),
    "set_power": ("set_current", "set_power"),
}
"""By a command of a source or load, those after which it no longer counts; a reset makes an end of all."""

_log = logging.getLogger("twinbench")


class Ceiling(BaseModel):
    """The most that may be asked for. What is left out has no ceiling."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    voltage_v: _Positive | None = None
    current_a: _Positive | None = None
    """Of a load that draws a power: that, by the power factor and the lowest voltage that its sources are set to."""
    power_w: _Positive | None = None
    """Of a source: the voltage it is set to, times the current at which it trips. Of a load that draws a current: that, times
    the power factor and the highest voltage that its sources may be set to."""


class DoorConfig(BaseModel):
    """Who tells whether the bench's door is closed: a digital input of a relay board, or the operator."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    device: str | None = None
    input: int | None = Field(None, ge=1)
    operator: bool = False
    """The operator confirms when the bench comes up, at the terminal or by TWINBENCH_DOOR_CLOSED=yes."""

    @model_validator(mode="after")
    def _one_way(self) -> DoorConfig:
        if self.operator == (self.device is not None) or (self.device is None) != (self.input is None):
            raise ValueError("write either {device: NAME, input: N} or {operator: true}")
        return self


class SafetyConfig(BaseModel):
    """The section `safety` of a bench file."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    site: Ceiling = Ceiling()
    """For every device."""
    ceilings: dict[str, Ceiling] = {}
    """For one device, by its name; the lower of the two counts."""
    door: DoorConfig | None = None
    """Nothing is switched on while it is open; opened while something is on, all is switched off."""


class Placed(Protocol):
    """What is asked of a device's entry in the bench file."""

    @property
    def role(self) -> str: ...

    @property
    def options(self) -> dict[str, Any]: ...


@dataclass(eq=False)
class _Asked:
    """A command that may have been taken: what it sets, by quantity (nothing where it resets), the thread that gave it, and
    whether that is over."""

    command: str
    values: Mapping[str, float]
    thread: int = field(default_factory=threading.get_ident)
    over: bool = False

    @property
    def mine(self) -> bool:
        """Whether this thread gave it."""
        return self.thread == threading.get_ident()

    def replaced_by(self, taken: str) -> bool:
        """Whether nothing is left of it once this thread's command has been taken. One that another thread still waits to send
        comes after it."""
        if not (self.over or self.mine):
            return False
        return taken in _REPLACES.get(self.command, ()) or taken == "reset"


@dataclass(frozen=True)
class _Output:
    """What one command switches on: contacts that it closes, sources that it turns on."""

    contacts: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()


def safe_order(roles: Mapping[str, str]) -> list[str]:
    """Devices in the order in which they are reached and made safe: sources, relays, loads, the rest."""
    ranks = {"AcSource": 0, "Relay": 1, "AcLoad": 2}
    return sorted(roles, key=lambda name: ranks.get(roles[name], 3))


def controlled_sources(devices: Mapping[str, Placed]) -> dict[str, str]:
    """Which device turns a source of the wiring on and off. ValueError where two would: they are on one bus."""
    found: dict[str, str] = {}
    for name, device in devices.items():
        if device.role == "AcSource":
            node = str(device.options.get("source"))
            if node in found:
                raise ValueError(f"{found[node]} and {name} are both the source {node!r}: two sources on one bus")
            found[node] = name
    return found


class Safety:
    """Guards the drivers of a bench. `alarm` says why the bench was switched off in the middle of a run, None as long as not;
    while it stands nothing is switched on, whoever asks, and it stands until the bench is brought up again.

    `site` is any site of the bench's wiring: only who feeds whom counts, states are read from the devices.
    """

    def __init__(
        self,
        config: SafetyConfig,
        devices: Mapping[str, Placed],
        drivers: Mapping[str, DeviceDriver],
        site: Site,
        *,
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        """`ask`: puts a question to the operator; at the terminal unless told otherwise."""
        self.alarm: str | None = None
        self._why, self._told = "", False  # of the alarm: what raised it, and whether the log has it
        self._config = config
        self._roles = {name: device.role for name, device in devices.items()}
        self._drivers = drivers
        self._site = site
        self._ask = ask or _at_the_terminal
        self._confirmed = False
        self._switches = {
            name: {int(channel): str(contact) for channel, contact in device.options.get("contacts", {}).items()}
            for name, device in devices.items()
            if device.role == "Relay"
        }
        self._sources = {device: node for node, device in controlled_sources(devices).items()}
        self._inputs = {name: device.options.get("load") for name, device in devices.items() if device.role == "AcLoad"}
        self._lock = threading.Lock()
        self._set: dict[str, dict[str, float]] = {name: {} for name in devices}  # what each is known to have taken last
        self._asked: dict[str, list[_Asked]] = {name: [] for name in devices}  # beside it: each may have been taken
        self._on: set[str] = set()  # contacts and sources that were asked on, and not yet off again
        self._loading: set[str] = set()  # loads that were switched on, and not yet off again
        self._watching: threading.Event | None = None
        self._watcher: threading.Thread | None = None
        for name, driver in drivers.items():
            driver.guards.append(partial(self._may, name))
            driver.commanded.append(partial(self._taken, name))
            driver.over.append(partial(self._over, name))

    # --- before a command ----------------------------------------------------------------------------------------------

    def _may(self, name: str, command: str, args: tuple[Any, ...]) -> None:
        """Refuse what is above a ceiling (OutOfRange) or against an interlock (Refused)."""
        role, asked = self._roles[name], _asked(self._roles[name], command, args)
        for quantity, value in asked.items():
            if quantity != "factor":
                self._below(name, quantity, value)
        # What is asked for is kept before the command goes out, whatever becomes of it: one that got lost may have been taken.
        # And it is held against what others are set to in the same step, so that of two commands at once one sees the other.
        with self._lock:
            if role == "AcSource":
                self._source_below(name, asked)
            elif role == "AcLoad" and asked:
                self._load_below(name, asked, {})
            if asked or (role == "AcSource" and command == "reset"):
                self._asked[name].append(_Asked(command, asked))
            if role == "AcSource" and command == "on" and "voltage_v" not in self._set[name]:
                self._feeds(name, None)  # it may have been set by hand, or by somebody before
        if command == "on":
            self._known(name)
        on = self._switches_on(name, command, args)
        if self.alarm is not None and (on.contacts or on.sources or command == "on"):
            raise Refused(f"{name}: {command}: {self.alarm}; close the door and bring the bench up again")
        if not (on.contacts or on.sources):
            return
        self._door_closed(name, command)
        # Kept from now on, whatever becomes of the command: one that got lost may have been done. And kept before others are
        # looked at, so that of two commands at the same time one sees the other.
        with self._lock:
            new = (on.contacts | on.sources) - self._on
            self._on |= new
            asked_on = set(self._on)
        try:
            self._one_source_a_bus(name, on, asked_on)
        except DeviceError:
            with self._lock:
                self._on -= new
            raise

    def _taken(self, name: str, command: str, args: tuple[Any, ...]) -> None:
        """Keep what a device has taken."""
        with self._lock:
            asked = _asked(self._roles[name], command, args)
            if asked:
                # Each command of a load sets all of it.
                self._set[name] = asked if self._roles[name] == "AcLoad" else self._set[name] | asked
            if asked or command == "reset":
                self._asked[name] = [one for one in self._asked[name] if not one.replaced_by(command)]
            if self._roles[name] == "AcLoad" and command in ("on", "off", "reset"):
                (self._loading.add if command == "on" else self._loading.discard)(name)
            if command == "reset":
                self._set[name] = {} if self._roles[name] == "AcSource" else {"current_a": 0.0}
            if self._roles[name] == "AcSource" and command in ("off", "reset"):
                self._on.discard(self._sources[name])
            elif self._roles[name] == "Relay" and command == "open":
                self._on.discard(self._switches[name].get(int(args[0]), ""))
            elif self._roles[name] == "Relay" and command == "open_all":
                self._on -= set(self._switches[name].values())

    def _over(self, name: str, command: str, args: tuple[Any, ...]) -> None:
        """Note that a command is at its end. If it was not taken by now, it may have been all the same."""
        with self._lock:
            for one in self._asked[name]:
                one.over = one.over or (one.mine and one.command == command)

    def _ceiling(self, name: str, quantity: str) -> tuple[float, str] | None:
        """The lower ceiling, and its key in the bench file."""
        both = {
            f"twinbench.safety.ceilings.{name}.{quantity}": getattr(self._config.ceilings.get(name), quantity, None),
            f"twinbench.safety.site.{quantity}": getattr(self._config.site, quantity),
        }
        return min(((value, key) for key, value in both.items() if value is not None), default=None)

    def _below(self, name: str, quantity: str, value: float) -> None:
        quantity = _OF.get(quantity, quantity)
        ceiling = self._ceiling(name, quantity)
        if ceiling is not None and not value <= ceiling[0]:
            unit = _UNITS[quantity]
            raise OutOfRange(
                f"{name}: {value:g} {unit} is above the bench's ceiling, {ceiling[1]}: {ceiling[0]:g} {unit}"
            )

    def _source_below(self, name: str, asked: Mapping[str, float]) -> None:
        """Hold what a source is asked to be set to against its own ceiling of power, and those of the loads that it feeds."""
        settings = [self._set[name], *(one.values for one in self._asked[name])]
        if asked:
            amperes = [asked.get("current_a")] if "current_a" in asked else [one.get("current_a") for one in settings]
            volts = [asked.get("voltage_v")] if "voltage_v" in asked else [one.get("voltage_v") for one in settings]
            for power in (v * a for v in volts for a in amperes if v is not None and a is not None):
                self._below(name, "power_w", power)
        if "voltage_v" in asked:
            self._feeds(name, asked["voltage_v"])

    def _feeds(self, source: str, volts: float | None) -> None:
        """Hold a source's voltage, None where it is not known, against the ceilings of the loads that it leads to."""
        for load in self._inputs:
            for drawn in (self._set[load], *(one.values for one in self._asked[load])):
                self._load_below(load, drawn, {source: volts})

    def _load_below(self, load: str, drawn: Mapping[str, float], asked: Mapping[str, float | None]) -> None:
        """Hold what a load is to draw against its ceilings: at the voltages that its sources may be set to, or at what is just
        `asked` of one of them. None there is a voltage that is not known."""
        voltages = self._voltages(load)
        if asked:
            voltages = {source: {volts} for source, volts in asked.items() if source in voltages}
            if not voltages:
                return  # it does not lead here
        if "power_w" in drawn:
            self._below_drawn(load, drawn["power_w"], drawn["factor"], voltages, again=bool(asked))
        elif "current_a" in drawn:
            self._below_at(load, drawn["current_a"], drawn.get("factor", 1.0), voltages, again=bool(asked))

    def _below_drawn(
        self, load: str, power: float, factor: float, voltages: Mapping[str, set[float | None]], *, again: bool
    ) -> None:
        """A load that draws a power takes the more current the lower its voltage: the lowest that it may have."""
        ceiling = self._ceiling(load, "current_a")
        if ceiling is None:
            return
        unknown = sorted(source for source, volts in voltages.items() if None in volts)
        if unknown or not voltages:
            raise Refused(
                f"{load}: what {' and '.join(unknown) or 'its source'} is set to is not known, and {ceiling[1]} is "
                f"{ceiling[0]:g} A; set_output first, or set_current of {load} instead of set_power"
            )
        volts = min(v for several in voltages.values() for v in several if v is not None)
        amperes = power / (volts * abs(factor)) if volts > 0 else math.inf
        if power > 0 and not amperes <= ceiling[0]:
            raise OutOfRange(
                f"{load}: {power:g} W at a power factor of {factor:g} and {volts:g} V would draw {amperes:.3g} A, above the "
                f"bench's ceiling, {ceiling[1]}: {ceiling[0]:g} A" + (f"; set_current of {load} first" if again else "")
            )

    def _below_at(
        self, load: str, amperes: float, factor: float, voltages: Mapping[str, set[float | None]], *, again: bool
    ) -> None:
        """A load that draws a current takes the more power the higher its voltage: the highest that it may have, or the
        ceiling of a source where that is not known."""
        ceiling = self._ceiling(load, "power_w")
        if ceiling is None or amperes <= 0:
            return
        highest, unset = 0.0, ""
        for source, several in voltages.items():
            most = self._ceiling(source, "voltage_v") if None in several else None
            if None in several and most is None:
                raise Refused(
                    f"{load}: what {source} is set to is not known, and {ceiling[1]} is {ceiling[0]:g} W; set_output first, "
                    f"or set_power of {load} instead of set_current"
                )
            known = max((volts for volts in several if volts is not None), default=0.0)
            if known > highest:
                highest, unset = known, ""
            if most is not None and most[0] > highest:
                highest, unset = most[0], f"{source} is not known to be set lower than its ceiling, {most[1]}"
        watts = amperes * abs(factor) * highest
        remedy = f"; {unset}: set_output first" if unset else f"; set_current of {load} first" if again else ""
        if not watts <= ceiling[0]:
            raise OutOfRange(
                f"{load}: {amperes:g} A at a power factor of {factor:g} and {highest:g} V would draw {watts:.4g} W, above the "
                f"bench's ceiling, {ceiling[1]}: {ceiling[0]:g} W{remedy}"
            )

    def _voltages(self, load: str) -> dict[str, set[float | None]]:
        """What may be the voltage at a load's input, by the source that leads there; None among them where that is not known."""
        node = self._site.nodes.get(str(self._inputs[load]))
        legs = node.legs if isinstance(node, Load) else (0,)
        devices = {source: device for device, source in self._sources.items()}
        found: dict[str, set[float | None]] = {}
        for above in _above(node):
            source, device = self._site.nodes[above], devices.get(above)
            if device is not None:
                asked = {one.values["voltage_v"] for one in self._asked[device] if "voltage_v" in one.values}
                found[device] = {self._set[device].get("voltage_v"), *asked}
            elif isinstance(source, Source):  # nobody here sets it: it is as the bench file says
                ends = [source.voltages[leg] for leg in legs]
                found[above] = {abs(ends[0] - (ends[1] if len(ends) == 2 else 0))}
        return found

    def _known(self, name: str) -> None:
        """A ceiling is worth nothing where a device was set before the bench came, or by hand."""
        settings, source = self._set[name], self._roles[name] == "AcSource"
        for quantity, command in (
            ("voltage_v", "set_output"),
            ("current_a", "set_limits"),
            ("power_w", "set_output and set_limits"),
        ):
            ceiling = self._ceiling(name, quantity)
            if ceiling is None or (quantity == "voltage_v" and not source):
                continue
            if source and quantity != "voltage_v" and any(one.command == "reset" for one in self._asked[name]):
                command, known = "set_limits", False
            elif source:
                wanted = {"power_w": {"voltage_v", "current_a"}}.get(quantity, {quantity})
                known = wanted <= settings.keys()
            else:
                command, known = "set_current or set_power", bool(settings)
            if not known:
                raise Refused(
                    f"{name}: what it is set to is not known, and {ceiling[1]} is {ceiling[0]:g} {_UNITS[quantity]}; "
                    f"{command} first"
                )

    # --- interlocks ----------------------------------------------------------------------------------------------------

    def _switches_on(self, name: str, command: str, args: tuple[Any, ...]) -> _Output:
        if self._roles[name] == "AcSource" and command == "on":
            return _Output(sources=frozenset({self._sources[name]}))
        if self._roles[name] == "Relay" and command in ("close", "pulse"):
            contact = self._switches[name].get(int(args[0]))
            node = self._site.nodes.get(contact or "")
            if contact is not None and node is not None and node.parent is not None:
                return _Output(contacts=frozenset({contact}))
        return _Output()

    def _one_source_a_bus(self, name: str, on: _Output, asked_on: set[str]) -> None:
        concerned = on.contacts | on.sources
        for bus in self._site.nodes.values():
            if not isinstance(bus, Bus) or not any(concerned & set(_above(feeder)) for feeder in bus.feeders):
                continue
            fed = [feeder.name for feeder in bus.feeders if self._fed(feeder, asked_on)]
            if len(fed) > 1:
                raise Refused(
                    f"{name}: {' and '.join(sorted(concerned))} would put two sources on the bus {bus.name!r} of "
                    f"twinbench.wiring, which {' and '.join(fed)} lead to; open one first"
                )

    def _fed(self, node: Node | None, asked_on: set[str]) -> bool:
        """Whether a source would feed this node. What no device of the bench switches counts as closed, and as on."""
        if node is None:
            return False
        if isinstance(node, Source):
            device = next((d for d, source in self._sources.items() if source == node.name), None)
            return device is None or node.name in asked_on or bool(self._read(device).is_on())
        if isinstance(node, Bus):
            return any(self._fed(feeder, asked_on) for feeder in node.feeders)
        if isinstance(node, Contact) and node.name not in asked_on and not self._reads_closed(node.name):
            return False
        return self._fed(node.parent, asked_on)

    def _reads_closed(self, contact: str) -> bool:
        for device, channels in self._switches.items():
            for channel, name in channels.items():
                if name == contact:
                    return bool(self._read(device).closed()[channel - 1])
        return True

    def _read(self, device: str) -> Any:
        return self._drivers[device]

    # --- the door ------------------------------------------------------------------------------------------------------

    def confirm(self) -> None:
        """Have the operator confirm that the door is closed, where nothing reads it. Refused where they do not."""
        if self._config.door is None or not self._config.door.operator or self._confirmed:
            return
        if os.environ.get(CONFIRMED) != "yes" and not self._ask("Is the door of the bench closed?"):
            raise Refused(
                "the door: the operator has not confirmed that it is closed (twinbench.safety.door.operator); "
                f"answer y at the terminal, or set {CONFIRMED}=yes"
            )
        self._confirmed = True

    def _door_closed(self, name: str, command: str) -> None:
        door = self._config.door
        if door is None:
            return
        if door.operator:
            self.confirm()
        elif not self._door():
            raise Refused(
                f"{name}: {command}: the door of the bench is open (twinbench.safety.door: input {door.input} of "
                f"{door.device}); close it"
            )

    def _door(self) -> bool:
        """Whether the door is closed."""
        door = self._config.door
        assert door is not None
        assert door.device is not None
        assert door.input is not None
        states: tuple[bool, ...] = self._read(door.device).inputs()
        return door.input <= len(states) and states[door.input - 1]

    def look(self) -> None:
        """Look at the door, where an instrument reads it. Open while something is on: switch all off, and raise the alarm.

        While the alarm stands, whatever is on all the same is switched off whether the door is open or not: a command that
        was under way when the alarm came, an output that could not be switched off before.
        """
        door = self._config.door
        if door is None or door.operator or not self._on:
            return
        if self.alarm is None:
            try:
                if self._door():
                    return
                why = "the door of the bench was opened while it was on"
            except DeviceError as no:
                why = f"the door of the bench cannot be seen while it is on: {no}"
            # Before anything is switched off: from now on nobody switches it on again.
            self._why = f"{why} (twinbench.safety.door: input {door.input} of {door.device}); all is switched off"
            self.alarm = self._why
        said = self.alarm if self._told else None
        self.alarm = "; ".join([self._why, *self.make_safe()])
        if self.alarm != said:
            self._told = True
            _log.error("%s", self.alarm)

    def watch(self) -> None:
        """Look at the door every half second of real time until `unwatch()`."""
        if self._config.door is None or self._config.door.operator:
            return
        self._watching = stop = threading.Event()

        def run() -> None:
            while not stop.wait(WATCH_S):
                self.look()

        self._watcher = threading.Thread(target=run, daemon=True, name="door")
        self._watcher.start()

    def unwatch(self) -> None:
        """Look no longer."""
        if self._watching is not None and self._watcher is not None:
            self._watching.set()
            self._watcher.join(10)
            self._watching = self._watcher = None

    # --- trips ---------------------------------------------------------------------------------------------------------

    def tripped(self) -> str | None:
        """Which sources have tripped, and which loads have since they were switched on, and how they are set; None where none
        has. Who does not answer is not counted."""
        found = [said for name in safe_order(self._roles) for said in self._tripped(name)]
        return "; ".join(found) or None

    def _tripped(self, name: str) -> Iterator[str]:
        driver = self._drivers[name]
        if self._roles[name] not in ("AcSource", "AcLoad") or driver.state is not BindingState.active:
            return
        device: Any = driver
        try:
            # A load also names what merely keeps it from loading, no voltage say. It stays on then.
            if self._roles[name] == "AcLoad" and (name not in self._loading or device.is_on()):
                return
            trips = device.trips() if hasattr(device, "trips") else ()
        except DeviceError:
            return
        if trips:
            settings = self._set[name]
            how = " and ".join(
                f"{settings[quantity]:g} {unit}" for quantity, unit in _UNITS.items() if quantity in settings
            )
            yield f"{name} tripped: {', '.join(trips)}" + (f" (set to {how})" if how else "")

    # --- safe ----------------------------------------------------------------------------------------------------------

    def make_safe(self) -> list[str]:
        """Switch all off: sources, then relays, then loads, each tried whatever became of the others. What went wrong, by line.

        A device whose driver is not active is left out: nobody can reach it.
        """
        return [trouble for name in safe_order(self._roles) for trouble in self._switch_off(name)]

    def make_one_safe(self, name: str) -> None:
        """Switch one device off. Raises what its driver raises."""
        driver: Any = self._drivers[name]
        if self._roles[name] in ("AcSource", "AcLoad"):
            driver.off()
        elif self._roles[name] == "Relay":
            driver.open_all()

    def _switch_off(self, name: str) -> Iterator[str]:
        if self._drivers[name].state is not BindingState.active:
            return
        try:
            self.make_one_safe(name)
        except Exception as no:  # noqa: BLE001 - the others have to be switched off too
            yield f"{name} may still be on: {no}"


def _above(node: Node | None) -> Iterator[str]:
    """Names of a node and of everything that may feed it."""
    while node is not None:
        yield node.name
        if isinstance(node, Bus):
            for feeder in node.feeders:
                yield from _above(feeder)
            return
        node = node.parent


def _asked(role: str, command: str, args: tuple[Any, ...]) -> dict[str, float]:
    """What a command sets, by quantity; of a load, with the power factor, which has no ceiling of its own."""
    if role == "AcSource" and command == "set_output":
        return {"voltage_v": float(args[0])}
    if role == "AcSource" and command == "set_limits":
        return {"limit_v": float(args[0]), "current_a": float(args[1])}
    if role == "AcLoad" and command in ("set_current", "set_power"):
        quantity = "current_a" if command == "set_current" else "power_w"
        return {quantity: float(args[0]), "factor": float(args[1]) if len(args) > 1 else 1.0}
    return {}


def _at_the_terminal(question: str) -> bool:
    """Ask whoever sits there; nobody there says no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


__all__ = ["Ceiling", "DoorConfig", "Safety", "SafetyConfig", "controlled_sources", "safe_order"]
