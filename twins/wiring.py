"""The electrical site: one tree of sources, contacts, taps and loads that every twin of a bench hangs on.

Steady-state phasors per leg (rms, neutral as reference), solved anew whenever something changes; energy is power times
time between changes, so every register on the bench obeys one conservation law. Voltages fall only across contacts:
conductors and sources are ideal, an instrument's own limits belong to the instrument.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from twins.clock import Clock

Phasors = tuple[complex, ...]


def single_phase(volts: float) -> Phasors:
    """One leg against neutral."""
    return (complex(volts),)


def split_phase(volts: float = 240.0) -> Phasors:
    """Two legs of half the voltage in opposition, as in a North American home."""
    return (complex(volts / 2), complex(-volts / 2))


def three_phase(volts: float) -> Phasors:
    """Three legs of `volts` to neutral, 120 degrees apart, in positive sequence."""
    return tuple(cmath.rect(volts, math.radians(-120 * k)) for k in range(3))


class WiringError(Exception):
    """The site cannot be built or asked that way."""


@dataclass(frozen=True)
class State:
    """Phasors at a node, rms: voltages to neutral behind it, currents through it, one a leg."""

    voltages: Phasors
    currents: Phasors
    frequency_hz: float

    @property
    def power(self) -> complex:
        """Complex power in VA: real part watts (positive flows toward the loads), imaginary part var (positive lagging)."""
        return sum((v * i.conjugate() for v, i in zip(self.voltages, self.currents, strict=True)), 0j)


@dataclass(frozen=True)
class Energy:
    """Registers of a tap since the site was built: Wh and varh each way, VAh, Ah (sum over the legs)."""

    delivered_wh: float
    received_wh: float
    delivered_varh: float
    received_varh: float
    apparent_vah: float
    charge_ah: float


class Node:
    """One place in the tree. `feeds` hangs other nodes behind it."""

    def __init__(self, site: Site, name: str) -> None:
        if name in site.nodes:
            raise WiringError(f"wiring: the name {name!r} stands twice; every node needs its own")
        self.site = site
        self.name = name
        self.parent: Node | None = None
        self.children: list[Node] = []
        self._voltages: Phasors = ()
        self._currents: Phasors = ()
        site.nodes[name] = self

    def feeds(self, *children: Node) -> Node:
        """Hang nodes behind this one; returns the last, so that a chain reads in a line."""
        for child in children:
            if child.parent is not None or isinstance(child, Source):
                raise WiringError(f"wiring: {child.name!r} is fed already, it cannot also hang behind {self.name!r}")
            above: Node | None = self
            while above is not None:
                if above is child:
                    raise WiringError(f"wiring: {child.name!r} would feed itself")
                above = above.parent
            child.parent = self
            self.children.append(child)
        self.site.change()
        return children[-1]

    def state(self) -> State:
        """Phasors here and now."""
        return State(self._voltages, self._currents, self.site.frequency_of(self))

    @property
    def live(self) -> bool:
        """Whether a source that is on feeds what hangs behind this node."""
        return self.parent is not None and self.parent.live

    def _passes(self, voltages: Phasors) -> Phasors:
        return voltages

    def _draws(self) -> Phasors:
        return tuple(0j for _ in self._voltages)


class Source(Node):
    """An ideal voltage source. Off, it is an open circuit."""

    def __init__(self, site: Site, name: str, voltages: Phasors, frequency_hz: float, on: bool = True) -> None:
        super().__init__(site, name)
        self.voltages = voltages
        self.frequency_hz = frequency_hz
        self.on = on
        site.roots.append(self)
        site.change()

    @property
    def live(self) -> bool:
        """Whether it is on."""
        return self.on

    def set(
        self, *, voltages: Phasors | None = None, frequency_hz: float | None = None, on: bool | None = None
    ) -> None:
        """Change output voltages, frequency or on/off together, in one change of the site."""

        def apply() -> None:
            self.voltages = self.voltages if voltages is None else voltages
            self.frequency_hz = self.frequency_hz if frequency_hz is None else frequency_hz
            self.on = self.on if on is None else on

        self.site.change(apply)


class Contact(Node):
    """A switch in all legs: a bench relay, a meter's service switch; or, hung nowhere, a dry contact such as a door's."""

    def __init__(self, site: Site, name: str, closed: bool = False) -> None:
        super().__init__(site, name)
        self.closed = closed

    @property
    def live(self) -> bool:
        """Whether it is closed, and fed."""
        return self.closed and super().live

    def set(self, closed: bool) -> None:
        """Close or open the contact."""
        if closed != self.closed:
            self.site.change(lambda: setattr(self, "closed", closed))

    def _passes(self, voltages: Phasors) -> Phasors:
        return voltages if self.closed else tuple(0j for _ in voltages)


class Bus(Node):
    """A bar that several feeders lead to, of which one at a time may be live: mains or a generator, say.

    Two live ones are a short between sources. The bar then keeps to the one that it had, and `tied` says so.
    """

    def __init__(self, site: Site, name: str, feeders: Sequence[Node]) -> None:
        super().__init__(site, name)
        if len(set(feeders)) < 2:
            raise WiringError(f"wiring: bus {name!r} needs at least two different feeders")
        self.feeders = tuple(feeders)
        self.tied = False
        feeders[0].feeds(self)

    def _choose(self) -> None:
        live = [feeder for feeder in self.feeders if feeder.live]
        self.tied = len(live) > 1
        if live and self.parent not in live:
            assert self.parent is not None
            self.parent.children.remove(self)
            self.parent = live[0]
            live[0].children.append(self)


class Tap(Node):
    """Where a meter or an analyzer sits: sees the voltage of its node and the current toward everything behind it."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site, name)
        # Ws, var·s, VA·s, A·s since the site was built
        self._sums = [0.0] * 6

    def energy(self) -> Energy:
        """Registers up to now."""
        self.site.settle()
        return Energy(*(x / 3600.0 for x in self._sums))

    def _integrate(self, seconds: float) -> None:
        s = self.state().power
        sums = self._sums
        sums[0 if s.real >= 0 else 1] += abs(s.real) * seconds
        sums[2 if s.imag >= 0 else 3] += abs(s.imag) * seconds
        sums[4] += abs(s) * seconds
        sums[5] += sum(abs(i) for i in self._currents) * seconds


LoadKind = Literal["current", "power", "impedance"]


class Load(Node):
    """Something that draws current between two legs, or a leg and neutral.

    kind `current`: `value` amperes rms; `power`: `value` watts; `impedance`: `value` ohms. `power_factor` is positive for
    lagging, negative for leading current; `value` below zero feeds back (a generator).
    """

    def __init__(
        self,
        site: Site,
        name: str,
        kind: LoadKind = "current",
        value: float = 0.0,
        power_factor: float = 1.0,
        legs: Sequence[int] = (0,),
    ) -> None:
        super().__init__(site, name)
        self.kind: LoadKind = kind
        self.value = value
        self.power_factor = power_factor
        self.legs = tuple(legs)
        self._check(kind, value, power_factor)
        if len(self.legs) not in (1, 2) or len(set(self.legs)) != len(self.legs):
            raise WiringError(
                f"wiring: load {name!r} hangs on legs {self.legs}; one leg (to neutral) or two different ones"
            )

    def _check(self, kind: str, value: float, power_factor: float) -> None:
        if kind not in ("current", "power", "impedance"):
            raise WiringError(f"wiring: load {self.name!r} has kind {kind!r}; known are current, power, impedance")
        if not (0 < abs(power_factor) <= 1 and math.isfinite(value)):
            raise WiringError(
                f"wiring: load {self.name!r} has power factor {power_factor}; it lies in [-1, 0) or (0, 1]"
            )
        if kind == "impedance" and value <= 0:
            raise WiringError(f"wiring: load {self.name!r} has {value} ohm; an impedance is above zero")

    def set(
        self, *, kind: LoadKind | None = None, value: float | None = None, power_factor: float | None = None
    ) -> None:
        """Change what the load draws, in one change of the site."""
        kind = self.kind if kind is None else kind
        value = self.value if value is None else value
        power_factor = self.power_factor if power_factor is None else power_factor
        self._check(kind, value, power_factor)

        def apply() -> None:
            self.kind, self.value, self.power_factor = kind, value, power_factor

        self.site.change(apply)

    def _draws(self) -> Phasors:
        draws = [0j] * len(self._voltages)
        if not draws:
            return ()
        if max(self.legs) >= len(draws):
            raise WiringError(f"wiring: load {self.name!r} hangs on leg {max(self.legs)}, the supply has {len(draws)}")
        first = self.legs[0]
        v = self._voltages[first] - (self._voltages[self.legs[1]] if len(self.legs) == 2 else 0)
        if abs(v) == 0:
            return tuple(draws)
        phi = math.copysign(math.acos(abs(self.power_factor)), self.power_factor)
        if self.kind == "current":
            i = cmath.rect(self.value, cmath.phase(v) - phi)
        elif self.kind == "power":
            i = (complex(self.value, self.value * math.tan(phi)) / v).conjugate()
        else:
            i = v / cmath.rect(self.value, phi)
        draws[first] += i
        if len(self.legs) == 2:
            draws[self.legs[1]] -= i
        return tuple(draws)


@dataclass
class Site:
    """The tree and its bookkeeping. `changed` holds callbacks made after every change, outermost change last to settle."""

    clock: Clock
    nodes: dict[str, Node] = field(default_factory=dict)
    roots: list[Source] = field(default_factory=list)
    changed: list[Callable[[], None]] = field(default_factory=list)
    attached: dict[str, Any] = field(default_factory=dict)
    """What else the premises have beside their wiring (a home area network, say), by name."""

    def __post_init__(self) -> None:
        self._at: datetime = self.clock.now()
        self._telling = False
        self._again = False

    def tap(self, name: str) -> Tap:
        """The tap of that name; WiringError where there is none."""
        node = self.nodes.get(name)
        if not isinstance(node, Tap):
            raise WiringError(f"wiring: {name!r} is no tap; taps are {', '.join(self._names(Tap)) or 'none'}")
        return node

    def contact(self, name: str) -> Contact:
        """The contact of that name; WiringError where there is none."""
        node = self.nodes.get(name)
        if not isinstance(node, Contact):
            raise WiringError(
                f"wiring: {name!r} is no contact; contacts are {', '.join(self._names(Contact)) or 'none'}"
            )
        return node

    def source(self, name: str) -> Source:
        """The source of that name; WiringError where there is none."""
        node = self.nodes.get(name)
        if not isinstance(node, Source):
            raise WiringError(f"wiring: {name!r} is no source; sources are {', '.join(self._names(Source)) or 'none'}")
        return node

    def load(self, name: str) -> Load:
        """The load of that name; WiringError where there is none."""
        node = self.nodes.get(name)
        if not isinstance(node, Load):
            raise WiringError(f"wiring: {name!r} is no load; loads are {', '.join(self._names(Load)) or 'none'}")
        return node

    def _names(self, kind: type[Node]) -> Iterator[str]:
        return (n.name for n in self.nodes.values() if isinstance(n, kind))

    def frequency_of(self, node: Node) -> float:
        """Frequency of the source that feeds a node in Hz; 0 where no source that is on feeds it."""
        while node.parent is not None:
            node = node.parent
        return node.frequency_hz if isinstance(node, Source) and node.on else 0.0

    def change(self, apply: Callable[[], None] | None = None) -> None:
        """Integrate up to now, make the change, solve anew, and tell who listens."""
        self.settle()
        if apply is not None:
            apply()
        for node in list(self.nodes.values()):
            if isinstance(node, Bus):
                node._choose()
        for root in self.roots:
            self._solve(root, root.voltages if root.on else tuple(0j for _ in root.voltages))
        if self._telling:
            self._again = True
            return
        self._telling = True
        try:
            while True:
                self._again = False
                for tell in list(self.changed):
                    tell()
                if not self._again:
                    break
        finally:
            self._telling = False

    def settle(self) -> None:
        """Integrate every tap's energy up to the present moment."""
        now = self.clock.now()
        seconds = (now - self._at).total_seconds()
        if seconds > 0:
            self._at = now
            for node in self.nodes.values():
                if isinstance(node, Tap) and node._voltages:
                    node._integrate(seconds)

    def _solve(self, node: Node, voltages: Phasors) -> Phasors:
        """Set voltages down the tree and return the currents that flow into `node`."""
        behind = node._passes(voltages)
        node._voltages = behind
        currents = list(node._draws())
        for child in node.children:
            for leg, i in enumerate(self._solve(child, behind)):
                currents[leg] += i
        node._currents = tuple(currents)
        return node._currents
