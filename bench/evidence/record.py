"""What a run leaves behind: one directory with everything that an auditor needs, sealed by a manifest of SHA-256 digests.

The record says itself how it ended: `state.json` reads "running" while it is written, so a run that was killed shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from bench.data import BadInput

WireLog = Callable[[str, bytes], None]

MANIFEST = "manifest.json"
STATE = "state.json"

_LIBRARIES = (
    "twinbench",
    "robotframework",
    "labgrid",
    "pymodbus",
    "pyserial",
    "pyvisa",
    "pyvisa-py",
    "asyncua",
    "pydantic",
    "sqlalchemy",
)

_FLUSH_S = 0.5
"""A killed run loses at most this much real time of a log, and what came after the last byte on that link."""


class RecordLost(Exception):
    """The record cannot be written (disk full, directory gone): the run's evidence is not complete."""


def canonical(data: Any) -> bytes:
    """JSON in the one form in which it is written, so that any change of a byte shows."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and size in bytes, of a file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return found, path.stat().st_size


def manifest_of(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest for a sorted list of files: the list, and a digest over it."""
    listed = list(files)
    return {"files": listed, "digest": hashlib.sha256(canonical(listed)).hexdigest()}


def versions() -> dict[str, str]:
    """What ran: versions of Python, the system and the libraries that talk to devices."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


class Record:
    """A run's record while it is written. Any thread may log; a context manager, which seals it at the end.

    A disk that runs full does not stop the run in the middle of a device's dialogue: `lost` then says what happened, and
    the run is judged ERROR.
    """

    def __init__(self, path: Path, seed: int, started: datetime) -> None:
        """Make the directory (it must be absent or empty). BadInput where it can't be used."""
        self.path = path
        self.seed = seed
        self.started = started
        self.lost: str | None = None
        self._now: Callable[[], datetime] | None = None
        self._lock = threading.Lock()
        self._logs: dict[str, _Log] = {}
        self._sealed = False
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise BadInput(f"{path}: is not empty; a record needs a directory of its own")
            self._state("running")
        except OSError as no:
            raise BadInput(f"{path}: a record cannot be written here: {no.strerror or no}") from None

    @classmethod
    def new(cls, seed: int, out: Path | None = None, runs: Path = Path("runs")) -> Record:
        """Begin a record in `out`, or in a new directory `<runs>/<UTC>-<seed>`."""
        started = datetime.now(UTC)
        if out is not None:
            return cls(out, seed, started)
        stem = f"{started:%Y%m%dT%H%M%SZ}-{seed}"
        for n in range(1, 1000):
            path = runs / (stem if n == 1 else f"{stem}-{n}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue  # another run of this second has it
            except OSError as no:
                raise BadInput(f"{path}: a record cannot be written here: {no.strerror or no}") from None
            return cls(path, seed, started)
        raise BadInput(f"{runs}: holds a thousand records named {stem}; give --out")

    # --- while the run goes on -----------------------------------------------------------------------------------------

    def follow(self, now: Callable[[], datetime]) -> None:
        """Stamp logs and readings with this clock (bench time) from now on."""
        self._now = now

    def wire_log(self, link: str) -> WireLog:
        """A log for the bytes of a link, `wire/<link>.log`: bench time, real monotonic seconds, tx or rx, bytes in hex."""
        log = self._log(f"wire/{_safe(link)}.log")

        def write(direction: str, data: bytes) -> None:
            log.line(f"{self._stamp()} {time.monotonic():.6f} {direction} {data.hex()}\n")

        return write

    def reading(self, device: str, quantity: str, value: float, unit: str) -> None:
        """Keep a reading in `readings.jsonl`. A value that isn't finite is kept as text."""
        number: float | str = value if math.isfinite(value) else str(value)
        row = {"at": self._stamp(), "device": device, "quantity": quantity, "value": number, "unit": unit}
        self._log("readings.jsonl").line(json.dumps(row, ensure_ascii=False) + "\n")

    def write(self, name: str, data: bytes | str) -> None:
        """Write one file of the record. RecordLost where that fails."""
        try:
            (self.path / name).write_bytes(data.encode() if isinstance(data, str) else data)
        except OSError as no:
            raise self._lose(name, no) from None

    def write_json(self, name: str, data: Any) -> None:
        """Write one file of the record as JSON."""
        self.write(name, canonical(data))

    def flush(self) -> None:
        """Hand everything logged so far to the operating system."""
        for log in list(self._logs.values()):
            log.flush()

    def discard(self) -> None:
        """Remove the record again: nothing was run."""
        self.close_logs()
        self._sealed = True
        shutil.rmtree(self.path, ignore_errors=True)

    def close_logs(self) -> None:
        """Write out all logs; what is logged afterwards is dropped."""
        for log in self._logs.values():
            log.close()

    # --- its end -----------------------------------------------------------------------------------------------------------

    def seal(self, *, interrupted: bool = False) -> str:
        """Close the logs, say how the run ended, write the manifest; returns the manifest's digest.

        RecordLost where it can't be written, or where something was lost before.
        """
        self._sealed = True
        self.close_logs()
        try:
            self._state("interrupted" if interrupted or self.lost else "complete")
            self._leave_no_empty_directory()
            files = []
            for path in sorted(self._files(), key=lambda p: p.relative_to(self.path).as_posix()):
                sha256, size = digest(path)
                files.append({"path": path.relative_to(self.path).as_posix(), "sha256": sha256, "size": size})
            manifest = manifest_of(files)
            part = self.path / (MANIFEST + ".part")
            part.write_bytes(canonical(manifest))
            part.replace(self.path / MANIFEST)
        except OSError as no:
            raise self._lose(MANIFEST, no) from None
        if self.lost:
            raise RecordLost(self.lost)
        return str(manifest["digest"])

    def _leave_no_empty_directory(self) -> None:
        """A manifest lists files: a directory without one would look as if it was added later."""
        for path in sorted(self.path.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):  # it holds something
                    path.rmdir()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sealed:
            return
        if kind is None:
            self.seal()
        else:
            with contextlib.suppress(RecordLost):  # what ended the run matters more
                self.seal(interrupted=True)

    # --- inside --------------------------------------------------------------------------------------------------------------

    def _stamp(self) -> str:
        return "-" if self._now is None else self._now().isoformat()

    def _log(self, name: str) -> _Log:
        with self._lock:
            if name not in self._logs:
                self._logs[name] = _Log(self.path / name, lambda no: self._lose(name, no))
            return self._logs[name]

    def _lose(self, name: str, no: OSError) -> RecordLost:
        what = (
            f"{self.path / name}: the record cannot be written: {no.strerror or no}; the run's evidence is not complete"
        )
        self.lost = self.lost or what
        return RecordLost(what)

    def _state(self, state: str) -> None:
        said = {"state": state, "seed": self.seed, "started": self.started.isoformat()}
        if state != "running":
            said["ended"] = datetime.now(UTC).isoformat()
        (self.path / STATE).write_bytes(canonical(said))

    def _files(self) -> Iterator[Path]:
        for path in self.path.rglob("*"):
            # What is no plain file is not vouched for, and `verify` will call it added.
            if path.is_file() and not path.is_symlink() and path.name not in (MANIFEST, MANIFEST + ".part"):
                yield path


class _Log:
    """A file that grows by lines from any thread. Buffered; flushed by the first line that comes half a second later."""

    def __init__(self, path: Path, lose: Callable[[OSError], object]) -> None:
        self._lose = lose
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._flushed = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1 << 16)
        except OSError as no:
            lose(no)

    def line(self, text: str) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(text)
                if time.monotonic() - self._flushed > _FLUSH_S:
                    self._file.flush()
                    self._flushed = time.monotonic()
            except OSError as no:
                self._give_up(no)

    def flush(self) -> None:
        with self._lock:
            if self._file is not None:
                try:
                    self._file.flush()
                except OSError as no:
                    self._give_up(no)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                try:
                    self._file.close()
                    self._file = None
                except OSError as no:
                    self._give_up(no)

    def _give_up(self, no: OSError) -> None:
        file, self._file = self._file, None
        self._lose(no)
        if file is not None:
            with contextlib.suppress(OSError):
                # Closing flushes what is left, which fails again where the disk is full.
                file.close()


def _safe(name: str) -> str:
    """A link's name as a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "link"


def state(path: Path) -> str:
    """How a record ended: complete, interrupted, running (or killed); "unknown" where it doesn't say."""
    try:
        said = json.loads((path / STATE).read_text(encoding="utf-8"))
        return str(said["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"


def newest_first(runs: Path) -> list[Path]:
    """The records in a directory of runs, the newest first."""
    if not runs.is_dir():
        return []
    found = [p for p in runs.iterdir() if (p / STATE).is_file()]

    def begun(path: Path) -> tuple[str, int]:
        try:
            said = json.loads((path / STATE).read_text(encoding="utf-8"))
            return str(said["started"]), (path / STATE).stat().st_mtime_ns
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0

    return sorted(found, key=begun, reverse=True)
