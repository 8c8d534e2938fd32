"""Looks a bench over before anybody relies on it: `twinbench doctor`.

Links, identities, firmware, the meter's profile and clock, calibration, whether the displays have joined the meter's network,
and the wiring: contacts are closed one by one, and
what analyzer and meter then show is held against what the healthy models show after the same commands. Nothing is switched
before everybody has said who they are, and every contact is open again at the end.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from labgrid.strategy import StrategyError
from rich.table import Table

from bench import inventory
from bench.bench import Bench
from bench.judge import uncertainty
from bench.safety import TRIPPED
from drivers.errors import DeviceError, LinkLost
from drivers.links import Link, ModbusRtuLine, ModbusTcpLink, VisaLink
from drivers.roles import HanLink, Identity, MeterReading, PowerReading, ServiceStatus, Switch
from drivers.wire import meter_profile

T = TypeVar("T")

_SHARE = {"V": 0.1, "A": 0.1, "W": 0.2}
"""How far a value may be from its prediction, by unit, and still show that the wiring is right: mains are within ±10 %."""
_NOTHING = {"V": 10.0, "A": 0.1, "W": 20.0}
"""What may show, by unit, where nothing should."""

_JOIN_S = 60.0
"""How long a display is given to join the network of a meter that has power."""

_UNDOUBTED = ("manufacturer", "model", "serial")
"""What says who a device is. Firmware changes, and is no reason to leave a device alone."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. Where it is not `ok`, `remedy` says what to do."""

    check: str
    device: str
    ok: bool
    found: str
    expected: str = ""
    remedy: str = ""


@dataclass
class Report:
    """All that was looked at, in order."""

    bench: str
    checks: list[Check] = field(default_factory=list)

    @property
    def findings(self) -> list[Check]:
        """What is not as it should be."""
        return [check for check in self.checks if not check.ok]

    @property
    def exit_code(self) -> int:
        """0 all well, 1 something found."""
        return 1 if self.findings else 0

    def as_json(self) -> list[dict[str, Any]]:
        """For machines."""
        return [vars(check) for check in self.checks]

    def table(self) -> Table:
        """For a terminal."""
        table = Table(title=f"{self.bench}: {self._summary()}", title_justify="left")
        for heading in ("check", "device", "found", "expected", "remedy"):
            table.add_column(heading, overflow="fold")
        for c in self.checks:
            table.add_row(c.check, c.device, c.found, c.expected, c.remedy, style="green" if c.ok else "red")
        return table

    def lines(self) -> list[str]:
        """The same in plain lines."""
        lines = []
        for c in self.checks:
            expected = f"; expected: {c.expected}" if c.expected else ""
            remedy = f"; remedy: {c.remedy}" if c.remedy else ""
            lines.append(f"{'ok' if c.ok else 'FOUND':<6} {c.check:<12} {c.device:<12} {c.found}{expected}{remedy}")
        return [*lines, f"{self.bench}: {self._summary()}"]

    def _summary(self) -> str:
        found = len(self.findings)
        return (
            f"{found} of {len(self.checks)} checks found something" if found else f"{len(self.checks)} checks, all well"
        )


def doctor(
    bench_file: Path,
    *,
    links: Mapping[str, str] | None = None,
    seed: int | None = None,
    clock_limit_s: float,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Look a bench over. A meter's clock may be off by `clock_limit_s`; `say` is told what is being done. BadInput where the
    file is wrong; BenchError where the bench itself (a twin's face, a labgrid place) cannot be had."""
    bench = Bench(inventory.load(bench_file, links), seed=seed)
    try:
        bench.serve_twins()
        return examine(bench, clock_limit_s=clock_limit_s, say=say)
    finally:
        bench.down()


def examine(
    bench: Bench,
    *,
    clock_limit_s: float,
    instruments: Path = uncertainty.DIRECTORY,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Look over a bench whose twins are served and whose drivers are not yet bound. The caller takes it down."""
    return _Examination(bench, clock_limit_s, instruments, say).whole()


@dataclass(frozen=True)
class _Sight:
    """What the site shows after a step, or should be showing; None where nobody can be asked."""

    closed: tuple[bool, ...]
    analyzer: PowerReading | None
    meter: MeterReading | None
    service: ServiceStatus | None


class _Stop(Exception):
    """What was found bars the way to the rest of the wiring."""


class _Examination:
    """One round over a bench. Relay, meter and analyzer are those of its strategy; other devices are asked who they are."""

    def __init__(self, bench: Bench, clock_limit_s: float, instruments: Path, say: Callable[[str], None]) -> None:
        self._bench = bench
        self._clock_limit_s = clock_limit_s
        self._directory = instruments
        self._instruments = {
            name: uncertainty.load(device.model, instruments)
            for name, device in bench.config.devices.items()
            if (instruments / f"{device.model}.yaml").exists()
        }
        self._say = say
        self._report = Report(bench.name)
        self._answers: set[str] = set()
        self._strangers: set[str] = set()
        self._said: set[tuple[str, str]] = set()

    def whole(self) -> Report:
        bench = self._bench
        bench.bind_drivers()
        strategy = bench.strategy
        self._relay, self._meter, self._analyzer = (d.name for d in (strategy.relay, strategy.meter, strategy.analyzer))
        self._source, self._draws = (d and d.name for d in (strategy.source, strategy.load))
        self._supply, self._load = strategy.supply_channel, strategy.load_channel
        self._say("looking at links and identities")
        self._ports()
        self._calibration()
        for name, device in bench.config.devices.items():
            if device.role != "Meter":  # one is dead until it has line voltage
                self._meet(name)
        self._say("looking at the wiring")
        if self._may_switch():
            bench.keep_safe()
            if not bench.clock.stepped:
                bench.safety.watch()
            with self._off_again():
                self._wiring()
        else:
            self._open_meter()
        return self._report

    # --- Saying ------------------------------------------------------------------------------------------------------

    def _note(self, check: str, device: str, ok: bool, found: str, expected: str = "", remedy: str = "") -> None:
        self._report.checks.append(Check(check, device, ok, found, expected, "" if ok else remedy))

    def _find(self, device: str, found: str, expected: str, remedy: str) -> None:
        """A finding about the wiring. What has the same cause as one before is not said again."""
        if (device, remedy) not in self._said:
            self._said.add((device, remedy))
            self._note("wiring", device, False, found, expected, remedy)

    # --- Links, identities, calibration ------------------------------------------------------------------------------

    def _ports(self) -> None:
        """Two resources on one port: only units of one Modbus bus may share it."""
        links = [link for link in self._bench.target.resources if isinstance(link, Link)]
        shared = False
        for n, link in enumerate(links):
            for other in links[:n]:
                if _port(link) == _port(other) and not (
                    isinstance(link, ModbusRtuLine | ModbusTcpLink)
                    and type(link) is type(other)
                    and link.device_id != other.device_id
                ):
                    shared = True
                    self._note(
                        "ports",
                        link.name,
                        False,
                        f"{inventory.leads_to(link)} is also where {other.name} leads",
                        "a port of its own",
                        f"mend the address of {link.name} or {other.name} in the bench file",
                    )
        if not shared:
            self._note("ports", self._bench.name, True, f"{len(links)} links, each on its own")

    def _calibration(self) -> None:
        today = self._bench.now.date()
        for name, device in self._bench.config.devices.items():
            if name in self._instruments:
                instrument = self._instruments[name]
                doubt = instrument.doubt(today)
                self._note(
                    "calibration",
                    name,
                    doubt is None,
                    doubt or f"{instrument.asset.id}, due {instrument.asset.due}",
                    f"covers {today}",
                    f"have it calibrated, then put the new dates into {self._directory / device.model}.yaml",
                )
            elif device.role == "PowerAnalyzer":
                remedy = f"write {self._directory / device.model}.yaml, with its accuracy and calibration"
                self._note("calibration", name, False, f"no data of a {device.model}", f"covers {today}", remedy)

    def _meet(self, name: str) -> bool:
        """Open a device's link and ask who it is. False where it does not answer."""
        bench = self._bench
        driver = bench.drivers[name]
        where = ", ".join(inventory.leads_to(link) for link in driver.suppliers if isinstance(link, Link))
        try:
            bench.reach(name)
            identity: Identity = driver.identify()
        except (DeviceError, StrategyError) as no:
            self._lost(name, no)
            return False
        self._answers.add(name)
        self._note("link", name, True, f"answers on {where}", "an answer")
        self._compare(name, identity)
        return True

    def _lost(self, name: str, no: Exception) -> None:
        self._answers.discard(name)
        said, _, remedy = str(no).rpartition("; ")
        self._note("link", name, False, said or str(no), "an answer", remedy if said else "check power, cable, address")

    def _compare(self, name: str, identity: Identity) -> None:
        device = self._bench.config.devices[name]
        wanted = device.identity.model_dump(exclude_none=True)
        serial = self._instruments[name].asset.serial if name in self._instruments else None
        found = {key: getattr(identity, key) for key in _UNDOUBTED}
        wrong = [key for key in _UNDOUBTED if key in wanted and wanted[key] != found[key]]
        if wrong:
            self._strangers.add(name)
        self._note(
            "identity",
            name,
            not wrong,
            " ".join(found.values()),
            " ".join(wanted[key] for key in _UNDOUBTED if key in wanted),
            f"another {' and '.join(wrong)}: see which device hangs on the link, "
            f"or mend twinbench.devices.{name}.identity",
        )
        if serial is not None:
            self._note(
                "certificate",
                name,
                serial == identity.serial,
                f"serial {identity.serial}",
                f"serial {serial}",
                f"the certificate in {self._directory / device.model}.yaml is another unit's: put in this one's",
            )
        self._note(
            "firmware",
            name,
            wanted.get("firmware", identity.firmware) == identity.firmware,
            identity.firmware,
            wanted.get("firmware", ""),
            f"update the device, or mend twinbench.devices.{name}.identity.firmware",
        )

    def _may_switch(self) -> bool:
        if self._strangers:
            self._switch_no_more(f"{', '.join(sorted(self._strangers))} is not who it should be")
            return False
        silent = {name for name in (self._relay, self._source) if name is not None} - self._answers
        if silent:
            self._switch_no_more(f"without an answer of {', '.join(sorted(silent))} nothing is switched")
        return not silent

    def _switch_no_more(self, why: str) -> None:
        remedy = "mend what is said of links and identities, then look again"
        self._note("wiring", self._relay, False, f"not looked over: {why}", "looked over", remedy)

    # --- The meter, once it has power --------------------------------------------------------------------------------

    def _open_meter(self) -> None:
        """Open the meter's link and ask nothing: nothing was switched on that would give it power."""
        driver = self._bench.drivers[self._meter]
        where = ", ".join(inventory.leads_to(link) for link in driver.suppliers if isinstance(link, Link))
        try:
            self._bench.reach(self._meter)
        except (DeviceError, StrategyError) as no:
            self._lost(self._meter, no)
            return
        self._note("link", self._meter, True, f"{where} opens; not asked, as nothing was switched on")

    def _meet_meter(self) -> None:
        """Ask the meter who it is, and what only it can tell; _Stop where it is another one."""
        if not self._meet(self._meter):
            return
        driver: Any = self._bench.drivers[self._meter]
        options = self._bench.shadows[self._meter].options  # type: ignore[attr-defined]
        try:
            found_id = driver.meter_id()
            self._note(
                "meter id",
                self._meter,
                found_id == options.meter_id,
                found_id,
                options.meter_id,
                f"see which meter is on the board, or mend meter_id in twinbench.devices.{self._meter}.options",
            )
            if found_id != options.meter_id:
                self._strangers.add(self._meter)
            if hasattr(driver, "profile"):
                version = driver.profile().version
                self._note(
                    "profile",
                    self._meter,
                    version == meter_profile.VERSION,
                    f"version {version}",
                    f"version {meter_profile.VERSION}",
                    "update the meter or twinbench: their tables differ (docs/meter-profile.md)",
                )
            ahead_s = (driver.clock() - self._bench.now).total_seconds()
            self._note(
                "clock",
                self._meter,
                abs(ahead_s) <= self._clock_limit_s,
                f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s >= 0 else 'behind'} bench time",
                f"within {self._clock_limit_s:g} s",
                "provision the meter: `twinbench up` and `twinbench certify` set its clock; then see its battery",
            )
        except DeviceError as no:
            self._lost(self._meter, no)
        if self._meter in self._strangers:
            self._switch_no_more(f"{self._meter} is not who it should be")
            raise _Stop

    def _link_of(self, name: str) -> HanLink | None:
        """How a display is linked to the meter's network; None where it does not say, which is noted."""
        display: Any = self._bench.drivers[name]
        found: list[HanLink] = []
        return found[0] if self._command(name, lambda: found.append(display.link())) else None

    def _join(self) -> None:
        """Give every display the time to join the network of the meter, which has power, and see whether the meter lets it in."""
        waiting = {n for n, d in self._bench.config.devices.items() if d.role == "Display"} & self._answers
        seen: dict[str, list[str]] = {name: [] for name in waiting}
        until = self._bench.now + timedelta(seconds=_JOIN_S)
        while waiting:
            for name in sorted(waiting):
                link = self._link_of(name)
                if link is None:
                    waiting.discard(name)
                    continue
                seen[name].append(link.status)
                if link.joined:
                    waiting.discard(name)
                    what = f"{link.status}, {link.link_strength_percent} %"
                    self._note("network", name, True, what, "joined to the meter's network")
            if self._bench.now >= until:
                break
            if waiting:
                self._bench.advance(1.0)
        for name in sorted(waiting):
            failed = [status for status in seen[name] if status.endswith("Fail")]
            remedy = (
                f"the meter does not take its key: give the meter the address and install code of {name}, "
                f"in twinbench.devices.{self._meter}.options.han_devices where it is a twin"
                if failed
                else f"it finds no network that lets it in: bring {name} near the meter, see that the meter's network is on, "
                "and have it look again"
            )
            said = f"not joined after {_JOIN_S:g} s: {(failed or seen[name])[-1]}"
            self._note("network", name, False, said, "joined to the meter's network", remedy)

    # --- Wiring ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _off_again(self) -> Iterator[None]:
        """Switch all off when the block ends, and see that it is. However it ends, `Bench.down()` does it, too."""
        try:
            yield
        finally:
            # As before a run: each is tried whatever became of the others.
            on = [said for off in (self._source_off, self._contacts_open, self._load_off) for said in off()]
            remedy = "take the supply away by hand"
            self._note("outputs", self._relay, not on, "; ".join(on) or "every output off", "every output off", remedy)

    def _source_off(self) -> Iterator[str]:
        yield from self._switched_off(self._source)

    def _load_off(self) -> Iterator[str]:
        yield from self._switched_off(self._draws)

    def _switched_off(self, name: str | None) -> Iterator[str]:
        if name is None or name not in self._answers:
            return
        driver: Any = self._bench.drivers[name]
        try:
            driver.off()
            if driver.is_on():
                yield f"{name} is on"
        except DeviceError as no:
            yield f"{name} not known: {no}"

    def _contacts_open(self) -> Iterator[str]:
        relay: Any = self._bench.drivers[self._relay]
        try:
            relay.open_all()
            with contextlib.suppress(DeviceError):  # whatever has stopped the bench, what is closed can be read
                self._settle()
            closed = [str(n) for n, is_closed in enumerate(relay.closed(), 1) if is_closed]
            if closed:
                yield f"{self._relay} has channels closed: {', '.join(closed)}"
        except DeviceError as no:
            yield f"{self._relay} not known: {no}"

    def _wiring(self) -> None:
        before = len(self._report.findings)
        try:
            self._steps()
        except _Stop:
            return
        except LinkLost as no:
            self._lost(self._relay, no)
            return
        except DeviceError as no:
            self._refused(self._relay, no)
            return
        asked = {name for name in (self._meter, self._analyzer, self._draws) if name is not None}
        silent = ", ".join(sorted(asked - self._answers))
        if silent:
            self._switch_no_more(f"{silent} could not be asked at each step")
        elif len(self._report.findings) == before:
            self._note(
                "wiring", self._relay, True, "every step as predicted", "current and voltage where they should be"
            )

    def _steps(self) -> None:
        """Switch one thing at a time, and look. DeviceError is the relay's."""
        relay: Any = self._bench.drivers[self._relay]
        meter: Any = self._bench.drivers[self._meter]
        strategy = self._bench.strategy
        relay.open_all()
        self._command(self._analyzer, self._set_ranges)
        self._command(self._draws, strategy.power_load)
        if self._source is not None and not self._command(self._source, strategy.power_source):
            raise _Stop
        self._settle()
        self._look("every contact open", meter=False)
        self._energise()
        if self._meter in self._answers:
            self._join()
        self._switch(meter.disconnect)
        self._settle()
        self._look(f"supply (channel {self._supply}) closed, service off")
        if self._switch(meter.connect):
            self._settle()
            self._look("service on")
        relay.close(self._load)
        self._settle()
        self._look(f"load (channel {self._load}) closed")
        self._says_something()
        relay.open(self._supply)
        self._settle()
        self._look(f"supply (channel {self._supply}) open again", meter=False)
        if self._meter in self._answers:
            relay.close(self._supply)
            self._settle()
            self._switch(meter.disconnect)
            self._settle()
            self._look("service off again")

    def _settle(self) -> None:
        """Let contacts settle and the analyzer see it."""
        period_s = self._instruments[self._analyzer].update_period_s if self._analyzer in self._instruments else 0.0
        self._bench.advance(max(self._bench.strategy.settle_s, 2 * period_s))

    def _set_ranges(self) -> None:
        analyzer: Any = self._bench.drivers[self._analyzer]
        analyzer.set_ranges(self._bench.strategy.voltage_range_v, self._bench.strategy.current_range_a)

    def _command(self, name: str | None, command: Callable[[], object]) -> bool:
        """Give a device that answers a command. False where it did not take it, which is said."""
        if name is None or name not in self._answers:
            return False
        try:
            command()
        except LinkLost as no:
            self._lost(name, no)
            return False
        except DeviceError as no:
            self._refused(name, no)
            return False
        return True

    def _refused(self, name: str, no: DeviceError) -> None:
        said, _, remedy = str(no).rpartition("; ")
        self._find(name, said or str(no), "the command taken", remedy if said else f"see what keeps {name} from it")

    def _switch(self, command: Callable[[], None]) -> bool:
        """Have the meter close or open its service switch, where it has one. False where it did not take the command."""
        if self._bench.predicted(self._meter).service().switch is Switch.NONE:
            return self._meter in self._answers
        return self._command(self._meter, command)

    def _says_something(self) -> None:
        """See that current should have flown at all: what predicts nothing finds nothing."""
        whole = {self._meter, self._analyzer, self._draws} <= {*self._answers, None}
        if whole and not self._bench.predicted(self._analyzer).read().current_a > _NOTHING["A"]:
            self._find(
                "load",
                "by the bench file's wiring no current flows with every contact closed",
                "a current that shows the wiring",
                "give the load in the bench file's `wiring` what it really draws, and a source that feeds it",
            )

    def _energise(self) -> None:
        """Close the supply and meet the meter. Where it stays dark, see whether the load's channel brings it up."""
        relay: Any = self._bench.drivers[self._relay]
        relay.close(self._supply)
        self._settle()
        if not self._bench.predicted(self._meter).reading().voltage_v > _NOTHING["V"]:
            self._find(
                self._relay,
                f"by the bench file's wiring, channel {self._supply} alone gives the meter no voltage",
                "line voltage at the meter",
                f"mend supply_channel of the strategy, or the contacts of {self._relay} or the wiring in the bench file",
            )
            raise _Stop
        checks = len(self._report.checks)
        self._meet_meter()
        if self._meter in self._answers:
            return
        dark = self._report.checks[checks:]
        del self._report.checks[checks:]
        relay.open(self._supply)
        relay.close(self._load)
        self._settle()
        self._meet_meter()
        relay.open(self._load)
        if self._meter in self._answers:
            self._find(
                self._relay,
                f"the meter is dark with channel {self._supply} closed, and has power with channel {self._load} closed",
                f"supply on channel {self._supply}, load on channel {self._load}",
                f"channels {self._supply} and {self._load} are swapped: change their wires over",
            )
            raise _Stop
        del self._report.checks[checks:]
        self._report.checks += dark
        relay.close(self._supply)

    def _look(self, step: str, *, meter: bool = True) -> None:
        """Hold what is seen after a step against what the models show; _Stop where the source has tripped."""
        if self._source is not None:
            source: Any = self._bench.drivers[self._source]
            tripped: list[str] = []
            self._command(self._source, lambda: tripped.extend(source.trips()))
            if tripped:
                self._find(self._source, f"{step}: tripped: {', '.join(tripped)}", "no trip", TRIPPED)
                raise _Stop
        found = self._sight(self._bench.drivers.__getitem__, meter, asked=True)
        expected = self._sight(self._bench.predicted, meter, asked=False)
        self._diagnose(step, found, expected)

    def _sight(self, device: Callable[[str], Any], meter: bool, *, asked: bool) -> _Sight:
        def ask(name: str, question: Callable[[], T]) -> T | None:
            if name not in self._answers:
                return None
            try:
                return question()
            except DeviceError as no:
                if asked:
                    self._lost(name, no)
                return None

        return _Sight(
            closed=device(self._relay).closed(),
            analyzer=ask(self._analyzer, lambda: device(self._analyzer).read()),
            meter=ask(self._meter, lambda: device(self._meter).reading()) if meter else None,
            service=ask(self._meter, lambda: device(self._meter).service()) if meter else None,
        )

    def _diagnose(self, step: str, found: _Sight, expected: _Sight) -> None:
        for channel, (is_closed, should) in enumerate(zip(found.closed, expected.closed, strict=True), 1):
            if is_closed != should:
                state = ("open", "closed")
                self._find(
                    self._relay,
                    f"{step}: channel {channel} reads {state[is_closed]}",
                    state[should],
                    f"channel {channel} does not follow its command: check the board, and that nobody else commands it",
                )
        if expected.meter is not None and expected.service is not None:
            if found.meter is None or found.service is None:
                return
            self._diagnose_meter(step, found.meter, found.service, expected.meter, expected.service)
        if found.analyzer is not None and expected.analyzer is not None:
            self._diagnose_analyzer(
                step, found.analyzer, found.service, found.meter, expected.analyzer, expected.closed
            )

    def _diagnose_meter(
        self, step: str, reads: MeterReading, service: ServiceStatus, should: MeterReading, state: ServiceStatus
    ) -> None:
        who = self._meter
        if not _agree(reads.voltage_v, should.voltage_v, "V"):
            self._find(
                who,
                f"{step}: {reads.voltage_v:.1f} V at the line side",
                f"{should.voltage_v:.1f} V",
                "the supply is another than the bench file's `wiring` says: mend one of them",
            )
        if service.switch is not state.switch:
            self._find(
                who,
                f"{step}: the service switch reads {service.switch.name.lower()}",
                state.switch.name.lower(),
                "the meter's service switch does not follow its command: check the meter, and whether it holds a limit",
            )
            return
        if not _agree(service.load_side_voltage_v, state.load_side_voltage_v, "V"):
            remedy = (
                "voltage passes an open service switch: it is welded or bridged"
                if service.switch is not Switch.CLOSED
                else "voltage does not pass the closed service switch: check the switch and the wires at the load side"
            )
            self._find(
                who,
                f"{step}: {service.load_side_voltage_v:.1f} V at the load side",
                f"{state.load_side_voltage_v:.1f} V",
                remedy,
            )
            return
        if not _agree(reads.current_a, should.current_a, "A"):
            self._find_current(step, reads.current_a, should.current_a)
        elif _reversed(reads.power_w, should.power_w):
            self._find(
                who,
                f"{step}: {reads.power_w:.1f} W",
                f"{should.power_w:.1f} W",
                "the meter counts power the other way: line and load side are swapped at it, or the load feeds back",
            )

    def _find_current(self, step: str, found_a: float, expected_a: float) -> None:
        """A current that meter or analyzer, whoever can tell best, finds other than it should be."""
        if found_a <= _NOTHING["A"]:
            remedy = f"the load draws nothing: see that it is on, and that the contact of channel {self._load} closes"
        elif expected_a <= _NOTHING["A"]:
            remedy = f"something draws with channel {self._load} open: see whether its contact is welded or bridged"
        else:
            remedy = "the load is another than the bench file's `wiring` says: mend one of them"
        self._find("load", f"{step}: {found_a:.3f} A", f"{expected_a:.3f} A", remedy)

    def _diagnose_analyzer(
        self,
        step: str,
        reads: PowerReading,
        service: ServiceStatus | None,
        meter: MeterReading | None,
        should: PowerReading,
        closed: tuple[bool, ...],
    ) -> None:
        who = self._analyzer
        tap = self._bench.config.devices[who].options.get("tap", "its tap")
        volts, amperes = f"{reads.voltage_v:.1f} V", f"{reads.current_a:.3f} A"
        if not _agree(reads.voltage_v, should.voltage_v, "V"):
            if not closed[self._supply - 1]:
                remedy = f"voltage with the supply open: see whether the contact of channel {self._supply} is welded"
                self._find(self._relay, f"{step}: {volts}", f"{should.voltage_v:.1f} V", remedy)
            elif service is not None and _agree(reads.voltage_v, service.load_side_voltage_v, "V"):
                pass  # the meter sees the same: what is wrong is not the analyzer's, and has been said
            elif should.voltage_v <= _NOTHING["V"]:
                remedy = f"the analyzer is on the wrong tap: move its voltage leads to {tap!r}"
                self._find(who, f"{step}: {volts}", f"{should.voltage_v:.1f} V", remedy)
            else:
                remedy = f"the analyzer is on the wrong tap, or a lead is off: its voltage leads belong to {tap!r}"
                self._find(who, f"{step}: {volts}", f"{should.voltage_v:.1f} V", remedy)
            return
        if not _agree(reads.current_a, should.current_a, "A"):
            if meter is None:
                self._find_current(step, reads.current_a, should.current_a)
            elif not _agree(reads.current_a, meter.current_a, "A"):
                remedy = f"the meter sees {meter.current_a:.3f} A: put the analyzer's current path in line with {tap!r}"
                self._find(who, f"{step}: {amperes}", f"{should.current_a:.3f} A", remedy)
            return
        if _agree(reads.power_w, should.power_w, "W"):
            return
        found = f"{step}: {reads.power_w:.1f} W, {reads.phase_deg:.0f}°"
        expected = f"{should.power_w:.1f} W, {should.phase_deg:.0f}°"
        if not _reversed(reads.power_w, should.power_w):
            remedy = "the load's power factor is another than the bench file's `wiring` says: mend one of them"
            self._find("load", found, expected, remedy)
        elif meter is None or not _reversed(meter.power_w, should.power_w):
            self._find(who, found, expected, "the analyzer's current lead is reversed: change its two ends over")


def _agree(found: float, expected: float, unit: str) -> bool:
    """Whether a value shows what it should, for wiring's sake. No data and over range never do."""
    return math.isfinite(found) and abs(found - expected) <= max(_NOTHING[unit], _SHARE[unit] * abs(expected))


def _reversed(found_w: float, expected_w: float) -> bool:
    return abs(expected_w) > _NOTHING["W"] and _agree(-found_w, expected_w, "W")


def _port(link: Link) -> str:
    """What two links must not share: a device path without its symbolic links, or a network address."""
    address = inventory.leads_to(link)
    if isinstance(link, VisaLink):
        kind, _, rest = address.partition("::")
        if not kind.upper().startswith("ASRL"):
            return address.upper()
        address = kind[4:] + (f"::{rest}" if rest and rest.upper() != "INSTR" else "")
    return address if isinstance(link, ModbusTcpLink) else os.path.realpath(address)
