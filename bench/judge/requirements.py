"""The catalogue: every statement of the use cases, with the limits that the suite reads. Facts: `inventory/requirements`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from bench.data import BadInput, at, checked, line_of, read

DIRECTORY = Path(__file__).resolve().parents[2] / "inventory" / "requirements"

Op = Literal["<=", ">=", "==", "<", ">"]
Unit = Literal["s", "min", "h", "V", "A", "W", "Wh", "kWh", "Hz", "%"]
Verify = Literal["test", "inspect", "declare", "scope"]

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_PERSONS = {
    "-",
    "customer",
    "customer representative",
    "customer service representative",
    "installer",
    "third party",
    "rep",
    "tp",
}
"""Actors that the suite acts. A website beside a representative is a system."""

_SYSTEMS = {
    "AMI meter": "Meter",
    "Customer display device": "Display",
    "website": "Website",
    "Customer device": "Device",
    "HAN device": "Device",
    "HAN devices": "Device",
    "Premises gateway": "Gateway",
}
"""Actors of steps and parties of messages by the name under which they are judged."""

_ID = re.compile(r"[A-Z][A-Z0-9]*(-[A-Z0-9]+)*(\.[0-9a-z]+)*")


@dataclass(frozen=True)
class Limit:
    """A limit by name. Without `op` it is a parameter of the test (a threshold, say) that nothing is held against.

    `tolerance` is in the limit's unit. `when` restricts it; `of_meters` is the share of a fleet that it holds for.
    """

    name: str
    op: Op | None
    value: float
    unit: str | None = None
    tolerance: float | None = None
    configurable: bool = False
    when: str | None = None
    of_meters: float | None = None

    @property
    def seconds(self) -> float:
        """The value in seconds; BadInput where the limit isn't a time."""
        if self.unit not in _SECONDS:
            raise BadInput(f"the limit {self.name!r} is in {self.unit or 'no unit'}, not in a unit of time")
        return self.value * _SECONDS[self.unit]

    @property
    def scale(self) -> float | None:
        """Seconds in one of its unit, None where it isn't a time."""
        return _SECONDS.get(self.unit or "")

    def wider(self, by: float) -> Limit:
        """The same limit with more tolerance, in its unit: for what isn't the system's own, such as a network's latency."""
        return replace(self, tolerance=(self.tolerance or 0.0) + by)

    def __str__(self) -> str:
        within = "" if self.tolerance is None else f" ± {self.tolerance:g}"
        unit = "" if self.unit is None else f" {self.unit}"
        return f"{self.name} {self.op or 'is'} {self.value:g}{within}{unit}"


@dataclass(frozen=True)
class Requirement:
    """One statement of the catalogue.

    `group` is the kind of row; `scenario` the scenario a step or rule stands in; `applies_to` the systems it is about (of
    a step: the systems that act it; of a message: those that send it); `steps` as the source prints them, `at` and
    `scenarios` where the row belongs; `reconstructed` what of the source's row is lost.
    """

    id: str
    use_case: str
    group: str
    text: str
    verify: Verify = "test"
    applies_to: tuple[str, ...] = ()
    actor: str | None = None
    scenario: str | None = None
    steps: tuple[str, ...] = ()
    at: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    path: str | None = None
    section: str | None = None
    optional: bool = False
    limits: tuple[Limit, ...] = ()
    reconstructed: str | None = None
    file: str = ""
    line: int = 0

    @property
    def acted_by_person(self) -> bool:
        """Whether a person (or nobody) alone acts this step, so that the suite acts it and no system can break it."""
        return self.actor is not None and not _systems(self.actor)

    @property
    def needs_defect(self) -> bool:
        """Whether a seeded defect has to break it."""
        return self.verify == "test" and not self.acted_by_person

    @property
    def needs_test(self) -> bool:
        """Whether a Robot test has to decide it."""
        return self.verify == "test"

    def limit(self, name: str) -> Limit:
        """The limit of that name; BadInput with the names there are."""
        found = [limit for limit in self.limits if limit.name == name]
        if not found:
            there = ", ".join(repr(limit.name) for limit in self.limits) or "none"
            raise BadInput(f"{self.id} has no limit {name!r}; its limits: {there} ({self.file}:{self.line})")
        if len(found) > 1:
            raise BadInput(
                f"{self.id} has {len(found)} limits {name!r}, told apart by of_meters: take one of `.limits`"
            )
        return found[0]


@dataclass(frozen=True)
class Scenario:
    """One scenario of a use case: `steps` are the ids of its steps in order."""

    id: str
    use_case: str
    title: str
    trigger: str
    pre: str
    post: str
    steps: tuple[str, ...]


def _systems(parties: str) -> tuple[str, ...]:
    """The systems among parties written as in the catalogue (`AMI meter / website`), by the name they are judged under."""
    if parties == "Customer representative / website":
        # Either of them works in the CSS, which is what does the step.
        return ("CSS",)
    found = []
    for party in re.split(r"\s*/\s*|\s+and\s+|\s+or\s+", parties):
        if party and party.casefold() not in _PERSONS:
            found.append(_SYSTEMS.get(party, party))
    return tuple(dict.fromkeys(found))


def _senders(path: str) -> tuple[str, ...]:
    """The systems that send a message along its path, in order: `CSS > ADCS > Meter` is sent by CSS and ADCS."""
    found: list[str] = []
    for leg in path.split(";"):
        parties = [p.strip() for p in leg.split(">")]
        for party in parties[:-1]:
            found += _systems(party)
    return tuple(dict.fromkeys(found))


# --- The files' schema -------------------------------------------------------------------------------------------------


def _is_id(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("is not an id: write capitals, digits, '-' and '.', as in C3-FR-15 or C3-S1.08")
    return value


_Id = Annotated[str, AfterValidator(_is_id)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _LimitRow(_Row):
    name: str
    op: Op | None = None
    value: float
    unit: Unit | None = None
    tolerance: float | None = Field(None, ge=0)
    configurable: bool = False
    when: str | None = None
    of_meters: float | None = Field(None, gt=0, le=1)


class _Statement(_Row):
    id: _Id
    text: str = Field(min_length=1)
    verify: Verify = "test"
    section: str | None = None
    reconstructed: str | None = None


class _Step(_Statement):
    actor: str = Field(min_length=1)
    optional: bool = False


class _Applied(_Statement):
    applies_to: list[str] = Field(min_length=1)
    steps: list[_Id]
    at: list[_Id] = []
    scenarios: list[_Id] = []
    limits: list[_LimitRow] = []


class _Business(_Statement):
    steps: list[_Id] = []


class _Message(_Statement):
    at: list[_Id] = Field(min_length=1)
    path: str


class _Scenario(_Row):
    id: _Id
    title: str
    section: str | None = None
    trigger: str
    pre: str
    post: str
    rules: list[_Statement] = []
    steps: list[_Step] = Field(min_length=1)


class _File(_Row):
    use_case: str
    title: str
    source: str
    assumptions: list[_Statement] = []
    narrative: list[_Statement] = []
    actors_changed: list[_Statement] = []
    rules: list[_Statement] = []
    scenarios: list[_Scenario] = Field(min_length=1)
    functional: list[_Applied] = []
    non_functional: list[_Applied] = []
    business: list[_Business] = []
    messages: list[_Message] = []


_GROUPS = {
    "assumptions": "assumption",
    "narrative": "narrative",
    "actors_changed": "actor",
    "rules": "rule",
    "functional": "functional",
    "non_functional": "non_functional",
    "business": "business",
    "messages": "message",
}


def _requirement(row: _Statement, use_case: str, group: str, file: str, line: int) -> Requirement:
    made = Requirement(
        row.id,
        use_case,
        group,
        row.text,
        row.verify,
        section=row.section,
        reconstructed=row.reconstructed,
        file=file,
        line=line,
    )
    if isinstance(row, _Step):
        made = replace(made, actor=row.actor, optional=row.optional, applies_to=_systems(row.actor))
    elif isinstance(row, _Applied):
        limits = tuple(Limit(**limit.model_dump()) for limit in row.limits)
        made = replace(
            made,
            applies_to=tuple(row.applies_to),
            steps=tuple(row.steps),
            at=tuple(row.at),
            scenarios=tuple(row.scenarios),
            limits=limits,
        )
    elif isinstance(row, _Business):
        made = replace(made, steps=tuple(row.steps))
    elif isinstance(row, _Message):
        made = replace(made, at=tuple(row.at), path=row.path, applies_to=_senders(row.path))
    return made


# --- The catalogue -----------------------------------------------------------------------------------------------------


class Catalogue:
    """All statements by id, in the order of their files."""

    def __init__(self, requirements: Sequence[Requirement], scenarios: Sequence[Scenario]) -> None:
        self.requirements = {r.id: r for r in requirements}
        self.scenarios = {s.id: s for s in scenarios}
        self._order = {id_: n for n, id_ in enumerate(self.requirements)}
        families = {re.split(r"[-.]", id_)[0] for id_ in (*self.requirements, *self.scenarios)}
        known = "|".join(sorted(map(re.escape, families)))
        self._like_id = re.compile(
            rf"(({known})([-.].+)?)|([A-Z][A-Z0-9]*-(AS|NR|AC|FR|NFR|BR|MSG|R|S)-?\d.*)", re.IGNORECASE
        )

    def __len__(self) -> int:
        return len(self.requirements)

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.requirements.values())

    def __contains__(self, id_: object) -> bool:
        return id_ in self.requirements

    def __getitem__(self, id_: str) -> Requirement:
        """The requirement of that id; BadInput with the nearest ids where there is none."""
        try:
            return self.requirements[id_]
        except KeyError:
            raise self._unknown(id_) from None

    def _unknown(self, id_: str) -> BadInput:
        known = [*self.requirements, *self.scenarios]
        near = difflib.get_close_matches(id_.upper(), known, n=3, cutoff=0.7)
        hint = f"nearest: {', '.join(near)}" if near else "`twinbench trace` lists the ids"
        return BadInput(f"no requirement {id_!r} in the catalogue; {hint}")

    def order(self, id_: str) -> int:
        """Where an id stands in the catalogue, for sorting."""
        return self._order.get(id_, len(self._order))

    def looks_like_id(self, tag: str) -> bool:
        """Whether a tag is meant as an id, known or not."""
        return bool(self._like_id.fullmatch(tag))

    def expand(self, id_: str) -> tuple[str, ...]:
        """The requirement ids that a tag or an option means: itself, or all steps of a scenario. BadInput if unknown."""
        if id_ in self.scenarios:
            return self.scenarios[id_].steps
        return (self[id_].id,)

    def decided_by(self, tags: Sequence[str]) -> tuple[str, ...]:
        """The ids that a test with these tags decides, in the catalogue's order; BadInput for an id that isn't there."""
        ids = {id_ for tag in tags if self.looks_like_id(tag) for id_ in self.expand(tag)}
        return tuple(sorted(ids, key=self.order))

    def limit(self, id_: str, name: str) -> Limit:
        """A limit by requirement and name."""
        return self[id_].limit(name)


def load(directory: Path = DIRECTORY) -> Catalogue:
    """Read and check all files of the catalogue. BadInput names file, line, key and what would be right."""
    requirements: dict[str, Requirement] = {}
    scenarios: dict[str, Scenario] = {}
    files = sorted(directory.glob("*.yaml"))
    if not files:
        raise BadInput(f"{directory}: no requirements here; the catalogue is one *.yaml file for each use case")
    for path in files:
        data, node = read(path)
        file = checked(path, node, data, _File)
        _take(path, node, file, requirements, scenarios)
    in_order = sorted(requirements.values(), key=lambda r: (r.file, r.line))
    catalogue = Catalogue(in_order, list(scenarios.values()))
    for requirement in catalogue:
        for id_ in (*requirement.steps, *requirement.at):
            if id_ not in catalogue:
                raise BadInput(
                    f"{requirement.file}:{requirement.line}: {requirement.id}: step {catalogue._unknown(id_)}"
                )
        for id_ in requirement.scenarios:
            if id_ not in scenarios:
                known = ", ".join(scenarios)
                raise BadInput(
                    f"{requirement.file}:{requirement.line}: {requirement.id}: no scenario {id_!r}; known: {known}"
                )
    return catalogue


def _take(
    path: Path,
    node: yaml.Node | None,
    file: _File,
    requirements: dict[str, Requirement],
    scenarios: dict[str, Scenario],
) -> None:
    def add(row: _Statement, group: str, where: list[Any], scenario: str | None = None) -> None:
        if row.id in requirements or row.id in scenarios:
            first = requirements.get(row.id)
            there = f", first at {first.file}:{first.line}" if first else ""
            raise at(path, node, [*where, "id"], f"the id {row.id!r} stands twice{there}")
        made = _requirement(row, file.use_case, group, path.name, line_of(node, where))
        requirements[row.id] = replace(made, scenario=scenario)

    for key, group in _GROUPS.items():
        for index, row in enumerate(getattr(file, key)):
            add(row, group, [key, index])
    for n, s in enumerate(file.scenarios):
        if s.id in scenarios or s.id in requirements:
            raise at(path, node, ["scenarios", n, "id"], f"the id {s.id!r} stands twice")
        steps = tuple(step.id for step in s.steps)
        scenarios[s.id] = Scenario(s.id, file.use_case, s.title, s.trigger, s.pre, s.post, steps)
        for index, rule in enumerate(s.rules):
            add(rule, "rule", ["scenarios", n, "rules", index], s.id)
        for index, step in enumerate(s.steps):
            add(step, "scenario step", ["scenarios", n, "steps", index], s.id)
