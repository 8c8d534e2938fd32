"""The house keeps its floors: imports go down only, nothing hides Robot Framework, no file carries what it must not."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each room, and what it may import of the house. The longest matching name counts.
MAY = {
    "drivers.wire": {"drivers.wire", "drivers.roles", "drivers.errors"},
    "drivers.roles": set(),
    "drivers.errors": set(),
    "drivers": {"drivers"},
    "twins": {"twins", "drivers.wire", "drivers.roles", "drivers.errors"},
    "twins.utility": {
        "twins.utility",
        "twins.clock",
        "twins.defects",
        "twins.listening",
        "twins.noise",
        "drivers.roles",
        "drivers.errors",
    },
    "twins.mirror": {
        "twins.mirror",
        "twins.clock",
        "twins.listening",
        "twins.models",
        "drivers.roles",
        "drivers.errors",
    },
    "bench": {"bench", "twins", "drivers"},
}
# What a device's twin may not know, though it lives below the same roof.
MAY_NOT = {
    "twins.relays": {"twins.utility", "twins.mirror"},
    "twins.analyzers": {"twins.utility", "twins.mirror"},
    "twins.sources": {"twins.utility", "twins.mirror"},
    "twins.loads": {"twins.utility", "twins.mirror"},
    "twins.meters": {"twins.utility", "twins.mirror"},
    "twins.displays": {"twins.utility", "twins.mirror"},
    "twins.premises": {"twins.utility", "twins.mirror", "twins.meters", "twins.displays"},
    "twins.faces": {"twins.utility", "twins.mirror", "twins.relays", "twins.analyzers", "twins.meters"},
}


def _modules() -> list[Path]:
    return sorted(p for top in ("drivers", "twins", "bench") for p in (ROOT / top).rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from twins import models` imports twins.models
            found |= {
                f"{module}.{a.name}" if (ROOT / module.replace(".", "/")).is_dir() else module for a in node.names
            }
    return {name for name in found if name.split(".")[0] in ("drivers", "twins", "bench")}


def _under(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_imports_go_down_only(path: Path) -> None:
    name = _name(path)
    room = max((r for r in MAY if _under(name, r)), key=len)
    banned = {b for r, names in MAY_NOT.items() if _under(name, r) for b in names}
    for imported in _imports(path):
        assert any(_under(imported, m) for m in MAY[room]), f"{name} imports {imported}"
        assert not any(_under(imported, b) for b in banned), f"{name} imports {imported}"


def test_robot_holds_no_package() -> None:
    assert not list((ROOT / "robot").rglob("__init__.py"))


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_no_file_carries_a_registry_address_or_a_lock_that_would() -> None:
    files = [p for p in _tracked() if p.is_file()]
    assert not [p for p in files if p.name in ("uv.lock", "package-lock.json")]
    for path in files:
        if path != Path(__file__):
            said = path.read_text("utf-8", "ignore")
            assert not [sign for sign in ("--index-url", "--extra-index", "registry=", "_authToken") if sign in said], (
                path
            )
    # What is locked is pinned by name, version and hash: where it comes from is the installer's own setting.
    for path in (*(ROOT / "requirements").iterdir(), ROOT / "tests" / "clients" / "opcua" / "package.json"):
        assert "://" not in path.read_text("utf-8"), path


def test_nothing_that_is_ignored_is_kept_all_the_same() -> None:
    kept = subprocess.run(
        ["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert kept.stdout == ""


def test_only_the_clock_asks_the_operating_system_for_the_time() -> None:
    allowed = {"twins.clock"}
    for path in _modules():
        if _name(path) in allowed or not _name(path).startswith("twins"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                asked = (node.value.id, node.attr)
                assert asked not in {
                    ("datetime", "now"),
                    ("datetime", "utcnow"),
                    ("time", "time"),
                    ("date", "today"),
                }, f"{_name(path)}:{node.lineno} asks {'.'.join(asked)}"


def test_every_dependency_is_said_why() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    named = [*asked["project"]["dependencies"], *asked["dependency-groups"]["dev"]]
    rows = [line.split("|") for line in (ROOT / "CONTRIBUTING.md").read_text("utf-8").splitlines() if line[:1] == "|"]
    why = {one.strip().lower(): row[3].strip() for row in rows if len(row) > 4 for one in row[1].split(",")}
    for requirement in named:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert why.get(name[0].lower()), f"CONTRIBUTING does not say why {name[0]}"
