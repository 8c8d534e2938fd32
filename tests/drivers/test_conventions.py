"""What every driver and every twin of the house keeps to: one twin beside each driver, the same role on both sides of the
wire, faults and buttons that say no to a wrong name, faces that open and close, docstrings, and defects that are there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labgrid.factory import target_factory
from pydantic import ValidationError

from drivers import roles
from drivers.device import DeviceDriver
from tests.conftest import LoopThread
from twins import defects, models
from twins.clock import SteppedClock
from twins.faces.stream import Endpoint
from twins.mirror.variables import TABLES
from twins.wiring import Site, Tap

ROOT = Path(__file__).parents[2]
ROOMS = {"relays", "analyzers", "sources", "loads", "meters", "displays", "chargers", "gateways", "premises"}
ROLES = {value for value in vars(roles).values() if isinstance(value, type) and roles.Device in value.__mro__[1:]}
COMMANDS = {command for table in TABLES.values() for command in table.commands}
"""What the roles have a device do, as the mirror has it."""
ON_PTY = ("pty", "rtu")
# Somebody who reads the class has to learn what it was made from.
SOURCE = re.compile(
    r"manual|protocol|standard|C12|IEEE|Modbus|SCPI|RAVEn|profile|programming guide|register map|\bIM WT", re.I
)


def modules(top: str) -> Iterator[str]:
    """Dotted names of the modules of a floor."""
    for path in sorted((ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def drivers_of_the_house() -> list[type[DeviceDriver]]:
    for name in modules("drivers"):
        importlib.import_module(name)
    found = [c for c in target_factory.drivers.values() if c.__module__.startswith("drivers.")]
    return sorted((c for c in found if issubclass(c, DeviceDriver)), key=lambda c: c.__name__)


DRIVERS = drivers_of_the_house()
MODELS = models.names()


def role_of(module: str) -> type:
    """The role of whatever a module holds: a driver's is that of the twin beside it."""
    room = module.split(".", 1)[1]
    (found,) = {models.find(n).role for n in MODELS if _where(n) == f"twins.{room}"}
    return found


def behaviour_class(module: str) -> type:
    """The class of the behaviour of the twin beside a driver."""
    (name,) = {n for n in MODELS if _where(n).split(".", 1)[1] == module.split(".", 1)[1]}
    model, site = models.find(name), Site(SteppedClock())
    return type(model.build(site.clock, site, name="it", options=model.default_site(site)))


def _where(name: str) -> str:
    """The module that a model lives in."""
    found = models.find(name)
    homes = [m for m in modules("twins") if getattr(importlib.import_module(m), "MODEL", None) is found]
    assert len(homes) == 1, f"{name} lives in {homes}"
    return homes[0]


def asked_of(role: type) -> list[str]:
    """Public names of a role."""
    return [name for name in dir(role) if not name.startswith("_")]


def own(cls: type, name: str) -> Any:
    """What a class itself (or a base that is no protocol) has under a name; None where there is nothing."""
    for base in cls.__mro__:
        if name in vars(base):
            return None if getattr(base, "_is_protocol", False) else vars(base)[name]
    return None


def fits(cls: type, role: type) -> list[str]:
    """What keeps a class from playing a role: methods that are missing, or want other arguments."""
    wrong = []
    for name in asked_of(role):
        asked, given = inspect.getattr_static(role, name), own(cls, name)
        if given is None:
            wrong.append(f"{name} is missing")
        elif isinstance(asked, property) or isinstance(given, property):
            if not (isinstance(asked, property) and (isinstance(given, property) or not callable(given))):
                wrong.append(f"{name} is a property on one side only")
        else:
            wants = list(inspect.signature(asked).parameters.values())[1:]
            takes = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
            for want, take in zip(wants, takes, strict=False):
                if (want.name, want.default) != (take.name, take.default):
                    wrong.append(f"{name}({take}) where the role says {want}")
            more = takes[len(wants) :]
            if len(takes) < len(wants) or any(p.default is p.empty and p.kind not in (2, 4) for p in more):
                wrong.append(f"{name} takes {len(takes)} arguments, the role {len(wants)}")
    return wrong


# --- drivers ---------------------------------------------------------------------------------------------------------------


def test_there_is_a_driver_for_every_model_and_a_model_for_every_driver() -> None:
    assert len(DRIVERS) >= 3
    for driver in DRIVERS:
        _, room, _ = driver.__module__.split(".")
        assert room in ROOMS, driver
    beside = {driver.__module__.split(".", 1)[1] for driver in DRIVERS}
    assert beside == {_where(name).split(".", 1)[1] for name in MODELS}


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda c: c.__name__)
def test_a_driver_plays_its_role_fully(driver: type[DeviceDriver]) -> None:
    assert fits(driver, role_of(driver.__module__)) == []


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda c: c.__name__)
def test_a_driver_looks_like_the_others(driver: type[DeviceDriver]) -> None:
    assert driver.__name__.endswith("Driver")
    assert driver.bindings, "a driver hangs on a link"
    module = importlib.import_module(driver.__module__)
    assert driver.__doc__
    assert SOURCE.search(f"{module.__doc__} {driver.__doc__}"), "where its bytes come from is said nowhere"
    for name, thing in vars(driver).items():
        if not name.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property)):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
            # labgrid's hooks are described by labgrid
            assert inspect.getdoc(thing) or name in ("on_activate", "on_deactivate"), f"{name} has no docstring"


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda c: c.__name__)
def test_a_driver_waits_only_as_it_is_told(driver: type[DeviceDriver]) -> None:
    source = inspect.getsource(importlib.import_module(driver.__module__))
    assert not re.search(r"\btime\.sleep\(", source)
    assert not re.search(r"\bprint\(", source)


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda c: c.__name__)
def test_a_driver_tells_what_its_twin_can_follow(driver: type[DeviceDriver]) -> None:
    """What a driver tells its followers is a method that the twin's behaviour has too, with as many arguments."""
    twin = behaviour_class(driver.__module__)
    told = set()
    for module in dict.fromkeys(base.__module__ for base in driver.__mro__):
        if not module.startswith("drivers.") or module == "drivers.device":
            continue
        for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("tell", "commanding")
            ):
                continue
            first, *arguments = node.args
            if not isinstance(first, ast.Constant):
                continue
            told.add(first.value)
            assert hasattr(twin, first.value), f"{module}:{node.lineno}: {twin.__name__} has no {first.value!r}"
            takes = [p for p in list(inspect.signature(getattr(twin, first.value)).parameters.values())[1:]]
            wants = sum(p.default is p.empty for p in takes)
            assert wants <= len(arguments) <= len(takes), (
                f"{module}:{node.lineno} tells {first.value} {len(arguments)} arguments; {twin.__name__} takes {wants}"
            )
    changing = [m for m in asked_of(role_of(driver.__module__)) if m in COMMANDS]
    assert set(changing) <= told, f"nobody is told of {sorted(set(changing) - told)}"


# --- twins --------------------------------------------------------------------------------------------------------------------


@dataclass
class Alone:
    """A model's behaviour in its default site, on stepped time."""

    model: models.Model
    loop: LoopThread
    site: Site
    behaviour: Any


@pytest.fixture(params=MODELS)
def alone(request: pytest.FixtureRequest, site_loop: LoopThread) -> Iterator[Alone]:
    model = models.find(request.param)

    def build() -> Alone:
        clock = SteppedClock()
        site = Site(clock)
        options = model.default_site(site)
        return Alone(model, site_loop, site, model.build(clock, site, name="it", options=options, seed=1))

    found = site_loop.call(build)
    site_loop.run(found.site.clock.advance(2))  # type: ignore[attr-defined]
    yield found
    site_loop.run(found.site.clock.close())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_named_as_it_is_found(name: str) -> None:
    model = models.find(name)
    assert model.name == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert model.role in ROLES
    assert model.faces
    assert model.options.__doc__
    with pytest.raises(models.UnknownModel, match=re.escape(name)):
        models.find(name + "x")


@pytest.mark.parametrize("name", MODELS)
def test_options_refuse_what_they_do_not_know(name: str) -> None:
    model = models.find(name)
    assert model.options.model_config["extra"] == "forbid"
    with pytest.raises(ValidationError, match="no_such_option"):
        model.options.model_validate({"no_such_option": 1})


def test_a_behaviour_plays_the_role_in_process(alone: Alone) -> None:
    assert fits(type(alone.behaviour), alone.model.role) == []
    cls = type(alone.behaviour)
    assert cls.__doc__
    for name in (*asked_of(alone.model.role), "inject", "press", "faults", "buttons"):
        thing = inspect.getattr_static(cls, name)
        assert inspect.getdoc(thing), f"{name} has no docstring"
    identity = alone.loop.call(alone.behaviour.identify)
    assert isinstance(identity, roles.Identity)
    assert identity.manufacturer
    assert identity.model
    assert alone.behaviour.name == "it"


def test_faults_and_buttons_say_no_to_a_wrong_name(alone: Alone) -> None:
    it = alone.behaviour
    for names in (it.faults, it.buttons):
        assert isinstance(names, tuple)
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    with pytest.raises(ValueError, match="no_such_fault"):
        alone.loop.call(it.inject, "no_such_fault")
    with pytest.raises(ValueError, match="no_such_button"):
        alone.loop.call(it.press, "no_such_button")


def test_every_fault_comes_and_goes_and_every_button_can_be_pressed(alone: Alone) -> None:
    it = alone.behaviour
    told: list[str] = []
    it.changed.append(lambda: told.append("changed"))
    for fault in it.faults:
        alone.loop.call(it.inject, fault)
        alone.loop.run(alone.site.clock.advance(1))  # type: ignore[attr-defined]
        alone.loop.call(it.inject, fault, False)
        alone.loop.run(alone.site.clock.advance(1))  # type: ignore[attr-defined]
    for button in it.buttons:
        alone.loop.call(it.press, button)
        alone.loop.run(alone.site.clock.advance(1))  # type: ignore[attr-defined]
    assert told or not (it.faults or it.buttons), "nobody was told of a change"
    assert isinstance(alone.loop.call(it.identify), roles.Identity)


@pytest.mark.parametrize(
    "alone", [n for n in MODELS if models.find(n).role in (roles.PowerAnalyzer, roles.Meter)], indirect=True
)
def test_the_default_site_of_what_measures_is_a_small_one(alone: Alone) -> None:
    taps = [node for node in alone.site.nodes.values() if isinstance(node, Tap)]
    states = [alone.loop.call(tap.state) for tap in taps]
    assert any(
        abs(sum(map(abs, s.voltages)) - 240) < 1
        and abs(abs(s.currents[0]) - 5) < 0.05
        and abs(s.power.imag) < 1
        and s.frequency_hz == 60
        for s in states
    ), states


@pytest.mark.parametrize(("name", "scheme"), [(name, scheme) for name in MODELS for scheme in models.find(name).faces])
def test_every_face_opens_and_closes(name: str, scheme: str, site_loop: LoopThread, tmp_path: Path) -> None:
    model = models.find(name)
    address = str(tmp_path / "line") if scheme in ON_PTY else "127.0.0.1:0"

    def make() -> Any:
        site = Site(SteppedClock())
        options = model.default_site(site)
        behaviour = model.build(site.clock, site, name="it", options=options)
        return model.faces[scheme](behaviour, address, models.LineOptions())

    face = site_loop.call(make)
    for _ in range(2):  # and may be opened again
        endpoint = site_loop.run(face.open())
        assert isinstance(endpoint, Endpoint)
        assert endpoint.scheme == scheme
        if scheme in ON_PTY:
            assert endpoint.address == address
            assert Path(address).resolve().is_char_device()
        else:
            host, _, port = endpoint.address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        site_loop.run(face.close())
        if scheme in ON_PTY:
            assert not Path(address).is_symlink()
        else:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((host, int(port)), timeout=5)
    site_loop.run(face.close())  # harmless when closed


# --- defects -------------------------------------------------------------------------------------------------------------------


def homes_of(name: str) -> list[Path]:
    """The files that may hold the defects of a model or a system: its room."""
    if name in MODELS:
        return sorted(ROOT.joinpath(*_where(name).split(".")).parent.glob("*.py"))
    stem = name.replace("-", "_")
    return sorted(
        [
            *(ROOT / "twins").glob(f"*/{stem}*.py"),
            *(ROOT / "twins").glob(f"*/{stem}/*.py"),
            *(ROOT / "twins" / stem).glob("*.py"),
        ]
    )


ALL_DEFECTS = defects.CATALOGUE | defects.INSIDE


@pytest.mark.parametrize("name", sorted(ALL_DEFECTS))
def test_a_defect_stands_in_the_code_of_what_has_it(name: str) -> None:
    defect = ALL_DEFECTS[name]
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert len(defect.does.split()) >= 3
    assert bool(defect.breaks) is (name in defects.CATALOGUE)
    assert bool(defect.keeps) is (name in defects.INSIDE)
    homes = homes_of(defect.of)
    assert homes, f"there is no {defect.of}"
    holding = [
        path
        for path in (ROOT / "twins").rglob("*.py")
        if path.name != "defects.py" and f'"{name}"' in path.read_text(encoding="utf-8")
    ]
    assert holding, f"{name} is in the catalogue and nowhere in the code"
    assert set(holding) <= set(homes), f"{name} belongs to {defect.of}"


def test_no_code_asks_for_a_defect_that_is_not_in_the_catalogue() -> None:
    for path in (ROOT / "twins").rglob("*.py"):
        for found in re.finditer(
            r'"([a-z_0-9]+)" (?:not )?in (?:self\.)?_?defects\b', path.read_text(encoding="utf-8")
        ):
            assert found[1] in ALL_DEFECTS, f"{path.relative_to(ROOT)}: {found[1]}"


def test_nothing_outside_the_twins_knows_a_defect() -> None:
    for top in ("drivers", "robot", "bench"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in (".py", ".robot"):
                text = path.read_text(encoding="utf-8")
                for name in ALL_DEFECTS:
                    assert not re.search(rf"\b{name}\b", text), f"{path.relative_to(ROOT)} knows {name}"


# --- docstrings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [*modules("drivers"), *modules("twins"), *modules("bench")])
def test_what_is_public_has_a_docstring(module: str) -> None:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{module}.{node.name} has no docstring"
