"""Certifies: runs the Robot suites in this process against a bench, judges them, and leaves a sealed record."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import yaml
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from bench.data import BadInput, at, read
from bench.evidence.mask import masked, masked_text
from bench.evidence.record import Record, RecordLost, versions
from bench.judge import pics as declarations
from bench.judge import requirements
from bench.judge.decide import Rule
from bench.judge.judge import Judge
from bench.judge.listener import Listener, TestVerdict
from bench.judge.requirements import Catalogue
from bench.judge.verdict import Verdict, worst
from bench.judge.witness import Check

if TYPE_CHECKING:
    from bench.browsing import Browsing  # brings Selenium, which only pages need

ROOT = Path(__file__).resolve().parents[1]
SUITES = ROOT / "robot" / "suites"

_BROWSER_LIBRARY = "website_browser.py"
_ROBOT_STOPPED = 253
_ROBOT_BAD_DATA = 252


class RunningBench(Protocol):
    """What certifying needs of a bench that is up."""

    @property
    def now(self) -> datetime:
        """Bench time, from any thread."""
        ...

    def describe(self) -> list[dict[str, Any]]:
        """The devices on the bench, for the record."""
        ...

    @property
    def deviations(self) -> list[dict[str, Any]]:
        """Devices that left their models: the first reading each time."""
        ...

    @property
    def disagreements(self) -> list[dict[str, Any]]:
        """Commands that devices took and their models refuse."""
        ...

    @property
    def troubles(self) -> list[str]:
        """What went wrong while the bench was taken down."""
        ...

    def tripped(self) -> str | None:
        """Which source or load has tripped, in one line."""
        ...

    def shortened(self) -> list[dict[str, Any]]:
        """Parameters that the bench has made shorter than the supplier states: name, used, stated."""
        ...

    def resolved(self) -> dict[str, Any]:
        """The bench file's data with every link as it really is in this run."""
        ...


class OpenBench(Protocol):
    """Brings a bench up inside a `with` block. It gives its wire logs and readings to the record."""

    def __call__(
        self, bench_file: Path, *, seed: int, defects: tuple[str, ...], record: Record
    ) -> AbstractContextManager[Any]:
        """Open the bench."""
        ...


@dataclass
class Session:
    """A run in progress, for keyword libraries. `bench` is what was opened."""

    bench: Any
    judge: Judge
    record: Record
    seed: int
    defects: tuple[str, ...]
    cases: dict[Any, Any] = field(default_factory=dict)
    """What the libraries of a test share, by test."""
    ending: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What has to be closed when the run is over, however it ends."""

    browser: Future[Browsing] | None = None
    """The run's browser, where it was started while the bench came up."""
    pictures: bool = True
    """Whether pictures of pages go into the record."""

    @functools.cached_property
    def browsing(self) -> Browsing:
        """The run's browser at the bench's website; started now unless it was before. Its pictures go into the record."""
        from bench.browsing import NoBrowser

        if self.bench.website is None:
            raise NoBrowser("the bench serves no website; give twinbench.utility.website in its file")
        browsing = _start_browser(self.pictures) if self.browser is None else self.browser.result()
        browsing.address = self.bench.website
        self.ending.callback(browsing.close)
        return browsing

    def keep_picture(self, name: str, picture: bytes) -> None:
        """A picture (PNG) of a page goes into the record, under `website/`."""
        (self.record.path / "website").mkdir(exist_ok=True)
        self.record.write(f"website/{name}", picture)

    def seeded(self, system: str) -> tuple[str, ...]:
        """Those of the run's seeded defects that a system has."""
        from twins import defects as catalogue

        return tuple(sorted(catalogue.of(system, self.defects)))


def _start_browser(pictures: bool) -> Browsing:
    """A browser for the run that is, or will be, in progress."""
    from bench.browsing import Browsing

    return Browsing(
        "",
        let_pass=lambda seconds: session().bench.advance(seconds),
        save=(lambda name, picture: session().keep_picture(name, picture)) if pictures else None,
    )


@contextlib.contextmanager
def _browser_ahead(needed: bool, pictures: bool) -> Iterator[Future[Browsing] | None]:
    """Where it is needed, a browser that starts while the bench comes up. Whoever asks for it hears why it doesn't."""
    if not needed:
        yield None
        return
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as starter:
        browser = starter.submit(_start_browser, pictures)
        try:
            yield browser
        finally:
            with contextlib.suppress(Exception):
                browser.result().close()


_session: Session | None = None


def session() -> Session:
    """The run in progress; BadInput outside one."""
    if _session is None:
        raise BadInput("no run is in progress; run the suites through `twinbench certify --bench FILE`")
    return _session


@contextlib.contextmanager
def in_session(running: Session) -> Iterator[Session]:
    """Make a run the one in progress inside a `with` block. There is one at a time in a process."""
    global _session
    if _session is not None:
        raise BadInput("a run is in progress in this process already")
    _session = running
    try:
        with running.ending:
            yield running
    finally:
        _session = None


@dataclass(frozen=True)
class Judged:
    """The verdict on one requirement, with its checks."""

    id: str
    systems: dict[str, Verdict]
    verdict: Verdict
    checks: tuple[Check, ...]
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it stands in verdict.json; nothing in it comes from real time or place."""
        return {
            "id": self.id,
            "system": ", ".join(self.systems),
            "systems": {name: verdict.value for name, verdict in self.systems.items()},
            "verdict": self.verdict.value,
            "remark": self.remark,
            "checks": [check.as_json() for check in self.checks],
        }


UTILITY = frozenset({"CSS", "ADCS", "MDMS", "Website", "Fleet", "suite", "bench"})
"""What is judged beside the devices under test: the utility's own systems, the suite in a person's place, and the bench
where a test could not be carried through."""


@dataclass(frozen=True)
class Part:
    """The rows of one kind of system, and the verdict on each system of that kind over the whole run."""

    title: str
    systems: dict[str, Verdict]
    judged: tuple[Judged, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst on its systems."""
        return worst(self.systems.values())

    @property
    def summary(self) -> str:
        """The title with the verdict on each system: `Devices under test: Display PASS, Meter FAIL`."""
        verdicts = ", ".join(f"{name} {verdict.value}" for name, verdict in self.systems.items())
        return f"{self.title}: {verdicts}" if verdicts else self.title


@dataclass
class Result:
    """What a run came to. `problems` are one-line troubles of the bench or the record; `digest` is the manifest's."""

    verdict: Verdict
    seed: int
    bench: str
    record: Path
    started: datetime
    defects: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    rule: Rule = Rule.GUARDED
    judged: tuple[Judged, ...] = ()
    tests: tuple[TestVerdict, ...] = ()
    problems: list[str] = field(default_factory=list)
    shortened: list[dict[str, Any]] = field(default_factory=list)
    deviations: list[dict[str, Any]] = field(default_factory=list)
    """Real devices that left their models, by the first reading that did: at, device, field, measured, modelled, limit."""
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    """Commands that a device took and its model refuses: at, device, command, why."""
    left_out: tuple[str, ...] = ()
    """Names of the tests that did not run because all that was asked for had failed."""
    bare: bool = False
    """Whether only the verdict was wanted: by intent nobody has looked for deviations, and the record has no pictures of pages
    and no pages of Robot's."""
    digest: str = ""

    @property
    def exit_code(self) -> int:
        """0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR."""
        return self.verdict.exit_code

    @property
    def systems(self) -> dict[str, Verdict]:
        """The verdict on each system under test by itself."""
        found: dict[str, list[Verdict]] = {}
        for judged in self.judged:
            for system, verdict in judged.systems.items():
                found.setdefault(system, []).append(verdict)
        return {system: worst(verdicts) for system, verdicts in sorted(found.items())}

    def as_json(self) -> dict[str, Any]:
        """The content of verdict.json, and what `certify --json` prints."""
        return {
            "verdict": self.verdict.value,
            "seed": self.seed,
            "bench": self.bench,
            "started": self.started.isoformat(),
            "record": str(self.record),
            "rule": self.rule.value,
            "defects": list(self.defects),
            "only": list(self.only),
            "left_out": list(self.left_out),
            "bare": self.bare,
            "systems": {name: verdict.value for name, verdict in self.systems.items()},
            "problems": list(self.problems),
            "shortened": list(self.shortened),
            "deviations": None if self.bare else _timed(self.deviations),
            "disagreements": _timed(self.disagreements),
            "requirements": [judged.as_json() for judged in self.judged],
        }

    def parts(self) -> list[Part]:
        """What there is of the devices under test, then of the rest. A row of both stands with the devices."""
        found = []
        for title, of_utility in (("Devices under test", False), ("The utility's own systems and the bench", True)):
            systems = {name: verdict for name, verdict in self.systems.items() if (name in UTILITY) is of_utility}
            rows = tuple(judged for judged in self.judged if (set(judged.systems) <= UTILITY) is of_utility)
            if systems or rows:
                found.append(Part(title, systems, rows))
        return found

    def table(self) -> Group:
        """The verdicts by requirement, for a terminal: a table for each part, and the run's own verdict."""
        told: list[Table | Text] = []
        for part, rows in self._told():
            table = Table()
            for heading in ("requirement", "system", "checks", "verdict", "because"):
                table.add_column(heading, overflow="fold")
            for judged, because in rows:
                row = (
                    judged.id,
                    ", ".join(judged.systems),
                    str(len(judged.checks)),
                    judged.verdict.value,
                    because,
                )
                table.add_row(*row, style=_STYLE[judged.verdict])
            told += [Text(part.summary, style=f"bold {_STYLE[part.verdict]}"), table]
        said = f"{self.bench}, seed {self.seed}: {self.verdict.value}{self._early}"
        return Group(*told, Text(said, style=_STYLE[self.verdict]))

    def lines(self) -> list[str]:
        """The same in plain lines; each part ends with the verdicts on its systems."""
        lines = []
        for part, rows in self._told():
            for judged, because in rows:
                system, checks = ", ".join(judged.systems), len(judged.checks)
                lines.append(
                    f"{judged.verdict.value:<14} {judged.id:<12} {system:<12} {checks} checks"
                    + (f"  {because}" if because else "")
                )
            lines.append(part.summary)
        return [*lines, f"{self.verdict.value} {self.bench} seed {self.seed}{self._early}"]

    @property
    def _early(self) -> str:
        left_out = len(self.left_out)
        return f"; ended early, {left_out} tests left out: all that was asked for had failed" if left_out else ""

    def _told(self) -> Iterator[tuple[Part, list[tuple[Judged, str]]]]:
        """The parts, each with its rows and why they aren't PASS."""
        said: set[str] = set()
        for part in self.parts():
            yield part, list(_reasons(part.judged, said))


def _timed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their moment as JSON has it."""
    return [{**one, "at": one["at"].isoformat()} for one in rows]


_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "dim",
    Verdict.ERROR: "bold magenta",
}


def _because(judged: Judged) -> str:
    """The first check that brought the verdict about, where it isn't PASS."""
    if judged.verdict is Verdict.PASS:
        return ""
    found = next((check for check in judged.checks if check.verdict is judged.verdict), None)
    return judged.remark if found is None else f"{found.what}: {found.reason}"


def _reasons(found: Sequence[Judged], said: set[str]) -> Iterator[tuple[Judged, str]]:
    """Each with why it isn't PASS. What kept a run from many of them is said with the first, unless it is in `said`."""
    for judged in found:
        because = _because(judged)
        yield judged, "as above" if because and because in said and not judged.checks else because
        said.add(because)


class _Shown:
    """Progress of a run: a bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: Any = None
        if console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)

    def __enter__(self) -> _Shown:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("bringing the bench up", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begins(self, test: str, number: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, description=test[:60], total=total, completed=number - 1)

    def ended(self, test: TestVerdict) -> None:
        text = f"{test.verdict.value:<14} {test.name}"
        if self._bar is None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._bar.print(text, style=_STYLE[test.verdict])
            self._bar.advance(self._task)


@contextlib.contextmanager
def opened(
    bench_file: Path,
    *,
    seed: int,
    defects: tuple[str, ...],
    record: Record,
    links: Mapping[str, str] | None = None,
    mirror: bool = True,
) -> Iterator[Any]:
    """The bench of a bench file, up inside a `with` block, with its wire logs in the record. `links` lead elsewhere; `mirror`
    tells whether it is mirrored."""
    from bench import inventory
    from bench.bench import Bench

    bench = Bench(inventory.load(bench_file, links), seed=seed, defects=defects, record=record)
    record.follow(lambda: bench.now)
    bench.up(mirror=mirror)
    try:
        yield bench
    finally:
        bench.down()


def certify(
    bench_file: Path,
    *,
    only: Sequence[str] = (),
    defects: Sequence[str] = (),
    seed: int | None = None,
    out: Path | None = None,
    open_bench: OpenBench | None = None,
    console: Console | None = None,
    rule: Rule = Rule.GUARDED,
    suites: Path = SUITES,
    catalogue: Catalogue | None = None,
    links: Mapping[str, str] | None = None,
    until_failed: bool = False,
    bare: bool = False,
) -> Result:
    """Run the suites on a bench, judge, and leave a record; BadInput for anything that was given wrong.

    `only` are ids of requirements or scenarios; without them everything runs. `open_bench` is given where the bench isn't to
    be made of the bench file as it stands, and decides on links and mirror itself; `links` lead elsewhere than the file says.
    `out` is the record's own directory.

    With `until_failed` the run ends as soon as each of `only` has failed, a scenario with any of its tests: what is left
    undecided then is INCONCLUSIVE. A `bare` run is for who wants the verdict alone: no mirror, so that nobody looks whether a
    real device leaves its model, no pictures of pages, no log and report by Robot.

    Whatever goes wrong on the bench itself makes the verdict ERROR and stands in `problems`.
    """
    catalogue = catalogue or requirements.load()
    wanted = tuple(dict.fromkeys(id_ for given in only for id_ in catalogue.expand(given)))
    if until_failed and not only:
        raise BadInput("until what has failed? name it with --only")
    from twins import defects as seeded

    for name in defects:
        try:
            seeded.find(name)
        except seeded.UnknownDefect as no:
            raise BadInput(str(no)) from None
    bench_name, of_file, pics, has_website = _peek(bench_file)
    seed = of_file if seed is None else seed
    if not 0 <= seed < 2**63:
        raise BadInput(f"a seed of {seed}: it is a whole number from 0 up")
    tags = _tags(catalogue, only, wanted, suites)
    record = Record.new(seed, out)
    judge = Judge(catalogue, rule=rule, pics=pics)
    result = Result(Verdict.ERROR, seed, bench_name, record.path, record.started, tuple(defects), tuple(only), rule)
    result.bare = bare
    console = console or Console(stderr=True)
    listener: Listener | None = None
    interrupted = False
    standing: RunningBench | None = None
    browses = has_website and _opens_pages(suites, tags)
    with record, _Shown(console) as shown, _browser_ahead(browses, not bare) as browser:
        try:
            record.write("bench.yaml", masked_text(bench_file.read_text(encoding="utf-8")))
            opener = open_bench or functools.partial(opened, links=links, mirror=not bare)
            with opener(bench_file, seed=seed, defects=tuple(defects), record=record) as bench:
                standing = bench
                record.follow(lambda: bench.now)
                judge.follow(lambda: bench.now)
                result.shortened = bench.shortened()
                record.write("bench.resolved.yaml", yaml.safe_dump(masked(bench.resolved()), sort_keys=False))
                record.write_json("devices.json", {"devices": bench.describe(), "versions": versions()})
                listener = Listener(judge, shown, wanted, bench.tripped, only if until_failed else ())
                running = Session(bench, judge, record, seed, tuple(defects), browser=browser, pictures=not bare)
                with in_session(running):
                    interrupted = not _robot(suites, tags, record.path, listener, result.problems, pages=not bare)
                result.deviations, result.disagreements = list(bench.deviations), list(bench.disagreements)
                if not bare:
                    record.write_json("deviations.json", _timed(result.deviations))
                record.write_json("disagreements.json", _timed(result.disagreements))
        except BadInput:
            record.discard()
            raise
        except KeyboardInterrupt:
            interrupted = True
            result.problems.append("the run was interrupted")
        except RecordLost as no:
            result.problems.append(record.lost or str(no))
        except Exception as no:  # noqa: BLE001 - whatever the bench throws is its ERROR, and the record says so
            result.problems.append(" ".join(f"{type(no).__name__}: {no}".split()))
        if standing is not None:
            result.problems += (
                standing.troubles
            )  # outputs that may still be on are no verdict's business but the bench's
        if listener is not None:
            result.tests, result.left_out = tuple(listener.tests), listener.left_out
        undecided = listener.undecided if listener is not None else frozenset()
        result.judged = _judged(judge, wanted, result.problems, undecided)
        _finish(record, result, interrupted)
    return result


def _finish(record: Record, result: Result, interrupted: bool) -> None:
    """Settle the verdict, write it, and seal the record; a record that can't be written is an ERROR of its own."""
    record.close_logs()
    _settle(result, record)
    try:
        record.write_json("verdict.json", result.as_json())
        result.digest = record.seal(interrupted=interrupted)
    except RecordLost:
        _settle(result, record)
        with contextlib.suppress(RecordLost):  # as much of it as there is room for
            record.write_json("verdict.json", result.as_json())
            record.seal(interrupted=True)


def _settle(result: Result, record: Record) -> None:
    if record.lost is not None and record.lost not in result.problems:
        result.problems.insert(0, record.lost)  # the cause of what else is complained of
    verdicts = [judged.verdict for judged in result.judged] + [test.verdict for test in result.tests]
    result.verdict = Verdict.ERROR if result.problems else worst(verdicts)


def _peek(bench_file: Path) -> tuple[str, int, dict[str, declarations.Pics], bool]:
    """Name, seed and PICS of a bench file, and whether it has a website; whoever opens the bench checks the rest of it."""
    data, node = read(bench_file)
    section = data.get("twinbench") if isinstance(data, dict) else None
    if not isinstance(section, dict):
        what = "needs the section `twinbench`, as in inventory/benches/twin.yaml"
        raise at(bench_file, node, ["twinbench"], what)
    name, seed, pics = section.get("name", bench_file.stem), section.get("seed", 1), section.get("pics", [])
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        what = f"needs a whole number from 0 to 2**63 - 1, such as `seed: 1`, not {seed!r}"
        raise at(bench_file, node, ["twinbench", "seed"], what[:300])
    if not isinstance(pics, list):
        what = f"is a list of the suppliers' declarations, such as `pics: [ami-meter]`, not {pics!r}"
        raise at(bench_file, node, ["twinbench", "pics"], what[:300])
    declared = []
    for index, supplier in enumerate(pics):
        try:
            declared.append(declarations.load(str(supplier)))
        except BadInput as no:
            raise at(bench_file, node, ["twinbench", "pics", index], str(no)) from None
    utility = section.get("utility")
    has_website = isinstance(utility, dict) and utility.get("website") is not None
    return str(name), seed, {one.system: one for one in declared}, has_website


def _tags(catalogue: Catalogue, only: Sequence[str], wanted: Sequence[str], suites: Path) -> list[str]:
    """The tags that select the tests for the ids wanted: their own, and those of the scenarios that they are steps of."""
    if not suites.is_dir():
        raise BadInput(f"{suites}: no such directory of suites")
    tags = [*only, *wanted, *(s for id_ in wanted if (s := catalogue[id_].scenario))]
    return list(dict.fromkeys(tags))


def _opens_pages(suites: Path, tags: Sequence[str]) -> bool:
    """Whether a suite with any of these tags (none: any suite) has steps in the browser."""
    for suite in suites.rglob("*.robot"):
        text = suite.read_text(encoding="utf-8")
        if _BROWSER_LIBRARY in text and (not tags or not set(tags).isdisjoint(text.split())):
            return True
    return False


def _robot(suites: Path, tags: list[str], out: Path, listener: Listener, problems: list[str], *, pages: bool) -> bool:
    """Run Robot in this process; returns whether it came to its end. What it complains of goes to `problems`."""
    from robot.run import run  # type: ignore[import-untyped]

    said, complained = io.StringIO(), io.StringIO()
    path = list(sys.path)
    try:
        code: int = run(
            str(suites),
            include=tags,
            runemptysuite=True,
            outputdir=str(out),
            output="output.xml",
            log="log.html" if pages else None,
            report="report.html" if pages else None,
            xunit="xunit.xml",
            console="quiet",
            listener=[listener],
            pythonpath=[str(ROOT)],
            stdout=said,
            stderr=complained,
        )
    finally:
        sys.path[:] = path
    for line in complained.getvalue().splitlines():
        if line.startswith("[ ERROR ]"):
            problems.append(f"Robot Framework: {line.removeprefix('[ ERROR ]').strip()}")
    if code > _ROBOT_STOPPED or (code == _ROBOT_BAD_DATA and not problems):
        said_last = complained.getvalue().partition("Traceback (most recent call last)")[0]
        problems.append(f"Robot Framework gave up with code {code}: {' '.join(said_last.split())[:300]}")
    stopped = code == _ROBOT_STOPPED or listener.interrupted
    if stopped:
        problems.append("the run was interrupted")
    return not stopped


def _judged(
    judge: Judge, wanted: Sequence[str], problems: Sequence[str], undecided: AbstractSet[str]
) -> tuple[Judged, ...]:
    """The verdict on each id that a test decided, and on each that was wanted and none decided. Of `undecided` tests were left
    out: of those that have passed so far it is not known what they would have come to."""
    ids = {check.id for check in judge.checks} | set(wanted)
    found = []
    for id_ in sorted(ids, key=judge.catalogue.order):
        checks = tuple(check for check in judge.checks if check.id == id_)
        systems: dict[str, list[Verdict]] = {}
        for check in checks:
            for system in check.system.split(", "):
                systems.setdefault(system, []).append(check.verdict)
        remark, verdict = "", worst(check.verdict for check in checks)
        if not checks:
            requirement = judge.catalogue[id_]
            remark = "no test decides it" if requirement.needs_test else f"not decided by a test: {requirement.verify}"
            if problems:
                remark, verdict = f"the run did not get there: {problems[0]}", Verdict.ERROR
            systems = {system: [verdict] for system in requirement.applies_to}
        if id_ in undecided:
            systems = {s: [Verdict.INCONCLUSIVE] if worst(of) is Verdict.PASS else of for s, of in systems.items()}
            if verdict is Verdict.PASS or not (checks or problems):
                remark = "the run ended before all its tests: all that was asked for had failed"
                verdict = Verdict.INCONCLUSIVE
        found.append(Judged(id_, {s: worst(v) for s, v in sorted(systems.items())}, verdict, checks, remark))
    return tuple(found)


def verdict_file(record: Path) -> dict[str, Any]:
    """The verdict.json of a record; BadInput where it isn't there or can't be read."""
    try:
        data = json.loads((record / "verdict.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as no:
        raise BadInput(f"{record / 'verdict.json'}: cannot be read: {no}") from None
    if not isinstance(data, dict):
        raise BadInput(f"{record / 'verdict.json'}: is not a verdict")
    return data
