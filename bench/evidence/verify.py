"""Checks a run's record: whether it is whole, ended properly, and is to the byte what its manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.evidence.record import MANIFEST, STATE, canonical, digest, manifest_of, state


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    path: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    files: list[_File]
    digest: str


def sealed_digest(path: Path) -> str:
    """The digest that the manifest of a record bears; empty where there is none. Whoever seals a record anew changes it."""
    try:
        return str(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def verify(path: Path) -> list[str]:
    """Every problem of a record, one line each; an empty list where it is intact.

    Finds files that were changed, removed or added, directories that hold none, a damaged or missing manifest, and a run that
    was interrupted.
    """
    if not path.is_dir():
        return [f"{path}: no such record; give the directory of a run"]
    problems = []
    ended = state(path)
    if ended != "complete":
        how = {"running": "was killed, or is still being written", "interrupted": "was interrupted"}
        problems.append(f"{path}: the run {how.get(ended, 'does not say how it ended')} ({STATE}: {ended})")
    there = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()}
    manifest_path = there.pop(MANIFEST, None)
    if manifest_path is None:
        return [*problems, f"{path / MANIFEST}: is missing: the record was never sealed, or it was removed"]
    listed, wrong = _manifest(manifest_path)
    if wrong:
        return [*problems, f"{manifest_path}: {wrong}"]
    for file in listed:
        found = there.pop(file.path, None)
        if found is None:
            problems.append(f"{path / file.path}: is missing")
        elif found.is_symlink() or not found.is_file():
            problems.append(f"{found}: is not a plain file")
        else:
            problems += _compare(found, file)
    problems += [f"{path / extra}: was added" for extra in sorted(there)]
    # An added file is told of by itself; a directory in which nothing is would not be.
    known = {parent for name in [*(file.path for file in listed), *there] for parent in Path(name).parents}
    inside = {p.relative_to(path) for p in path.rglob("*") if p.is_dir() and not p.is_symlink()}
    problems += [
        f"{path / extra}: was added, a directory without a file of the record" for extra in sorted(inside - known)
    ]
    return problems


def _compare(found: Path, file: _File) -> list[str]:
    try:
        sha256, size = digest(found)
    except OSError as no:
        return [f"{found}: cannot be read: {no.strerror or no}"]
    if size != file.size:
        return [f"{found}: was changed: {size} bytes, not {file.size}"]
    return (
        [f"{found}: was changed: its SHA-256 is {sha256[:16]}..., not {file.sha256[:16]}..."]
        if sha256 != file.sha256
        else []
    )


def _manifest(path: Path) -> tuple[list[_File], str | None]:
    """The files that a manifest lists, and what is wrong with it."""
    if path.is_symlink() or not path.is_file():
        return [], "is not a plain file"
    try:
        raw = path.read_bytes()
        data: Any = json.loads(raw)
        manifest = _Manifest.model_validate(data)
    except OSError as no:
        return [], f"cannot be read: {no.strerror or no}"
    except (ValueError, RecursionError, ValidationError):
        return [], "is damaged or cut short"
    rebuilt = manifest_of([file.model_dump() for file in manifest.files])
    if rebuilt["digest"] != manifest.digest:
        return [], "was changed: its digest does not fit its list"
    if canonical(rebuilt) != raw:
        return [], "was changed: it is not in the form in which it was written"
    names = [file.path for file in manifest.files]
    if names != sorted(set(names)):
        return [], "was changed: its list is not in order"
    return manifest.files, None
