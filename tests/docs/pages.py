"""Reads a page and does what it says: its files are written, its commands run, what they print is compared.

The convention, in Markdown that reads well without it:

- ```` ```sh ````: commands, one a line, all of the page in one shell; `# exits 1` behind one that has to.
- ```` ```text ```` right after it: lines that the commands above print, in this order; `…` stands for anything within a line.
- a block with `title="FILE"`: that file is written; for ```` ```diff ```` it is changed.
- `<!-- runs until stopped -->` before a block: each of its commands is a terminal of its own; Ctrl-C at the page's end.
- `<!-- not run: REASON -->` before a block: it isn't.

Ports of the loopback and paths under /tmp are exchanged for free ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_S = 600.0
"""Real seconds for one command: all of a use case certified, on a machine that has other things to do."""
_INCONCLUSIVE = 2
NOT_COPIED = (".git", ".venv", ".uv", "runs", "build", "dist", "node_modules", "__pycache__", ".*_cache", ".hypothesis")

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>runs until stopped|not run: [^\n]+?) -->\n\n?)?"
    r"^(?P<fence>`{3,})(?P<kind>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, what is said of it before the fence, the file that it is, its line in the page, and
    whether nothing stands between it and the block before."""

    kind: str
    body: str
    mark: str
    title: str
    line: int
    follows: bool = False


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found, end = [], 0
    for m in _FENCE.finditer(text):
        line = text[: m.start()].count("\n") + 1
        follows = not text[end : m.start()].strip()
        found.append(Block(m["kind"], m["body"], m["mark"] or "", m["title"] or "", line, follows))
        end = m.end()
    return found


def prints(wanted: str, printed: str) -> bool:
    """Whether the wanted lines appear in what was printed, in this order; "…" stands for anything within a line."""
    pattern = r"(?s:.*?)".join(re.escape(line).replace("…", "[^\n]*") for line in wanted.strip("\n").splitlines())
    return re.search(pattern, printed) is not None


def commands(body: str) -> list[str]:
    """The commands of a block: its lines, without comments of their own; a backslash continues one."""
    lines = body.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def copy_of_the_checkout(to: Path) -> None:
    """The project as it lies there, with the environment that runs the test as its `.venv`, ready."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)
    (to / ".venv").mkdir()
    for part in BIN.parent.iterdir():
        if part.name != ".ready":
            (to / ".venv" / part.name).symlink_to(part)
    if (ROOT / ".uv").is_dir():
        (to / ".uv").symlink_to(ROOT / ".uv")
    (to / ".venv" / ".ready").touch()  # newer than what it is made from: `make` sets nothing up


class Reader:
    """Somebody who follows a page word by word, in a checkout of their own."""

    def __init__(self, page: Path, directory: Path) -> None:
        self.page = page
        self.home = directory / "checkout"
        copy_of_the_checkout(self.home)
        self._tmp = directory / "tmp"
        self._tmp.mkdir()
        self._shell = directory / "shell"
        self._shell.write_text("", encoding="utf-8")
        self._stay: list[tuple[str, subprocess.Popen[bytes], Path]] = []
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("LG_", "PYTEST_"))},
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.home),
            "PYTHONUNBUFFERED": "1",
            "NODE_PATH": str(ROOT / "tests" / "clients" / "opcua" / "node_modules"),
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }
        text = page.read_text(encoding="utf-8")
        ports = set(re.findall(r"127\.0\.0\.1:{1,2}(\d{4,5})\b", text))
        self._ports = {port: str(free_port()) for port in sorted(ports)}

    def follow(self) -> int:
        """Do all that the page says; returns how many commands were run."""
        run = 0
        found = blocks(self.page)
        try:
            for block, after in zip(found, [*found, Block("", "", "", "", 0)][1:], strict=True):
                expected = self._exchanged(after.body) if after.kind == "text" and after.follows else ""
                if block.title:
                    self._write(block)
                elif block.kind == "sh" and block.mark.startswith("runs"):
                    run += self._start(block, expected)
                elif block.kind == "sh" and not block.mark:
                    printed = ""
                    for command in commands(self._exchanged(block.body)):
                        printed += self.run(command, block.line)
                        run += 1
                    assert not expected or prints(expected, printed), f"{self._at(block.line)} printed:\n{printed}"
        finally:
            self._stop()
        return run

    def _at(self, line: int) -> str:
        return f"{self.page.relative_to(ROOT)}:{line}"

    def _exchanged(self, text: str) -> str:
        for old, new in self._ports.items():
            text = re.sub(rf"(?<![\d.]){old}(?![\d])", new, text)
        return text.replace("/tmp/", f"{self._tmp}/")

    def _write(self, block: Block) -> None:
        target = self.home / block.title
        body = self._exchanged(block.body)
        if block.kind != "diff":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body, encoding="utf-8")
            return
        text = target.read_text(encoding="utf-8")
        lines = body.splitlines()
        old = "\n".join(line[1:] for line in lines if line[:1] != "+")
        new = "\n".join(line[1:] for line in lines if line[:1] != "-")
        assert text.count(f"{old}\n") == 1, f"{self._at(block.line)}: {block.title} has not once:\n{old}"
        target.write_text(text.replace(f"{old}\n", f"{new}\n"), encoding="utf-8")

    def run(self, command: str, line: int = 0) -> str:
        """Run a command as the shell that the page's commands go to; what it printed."""
        expected = re.search(r"  # exits (\d+)$", command)
        # What a command does to the shell (variables, an environment activated) holds for the next.
        script = f'set -a; . "{self._shell}"; {command}\ncode=$?; export -p > "{self._shell}"; exit $code'
        printed, code = self._bash(script)
        if code == _INCONCLUSIVE and "--links" in command and not expected:
            # Real time on a machine that had no time to look: so says the record, and a reader runs it once more.
            for out in re.findall(r"--out (\S+)", command):
                shutil.rmtree(self.home / out, ignore_errors=True)
            again, code = self._bash(script)
            printed = again if code == 0 else f"{printed}\n{again}"
        assert code == (int(expected[1]) if expected else 0), f"{self._at(line)}: {command}: exits {code}\n{printed}"
        return printed

    def _bash(self, script: str) -> tuple[str, int]:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
        )
        return done.stdout.decode(errors="replace"), done.returncode

    def _start(self, block: Block, expected: str) -> int:
        started = commands(self._exchanged(block.body))
        for command in started:
            # Where a command writes into a file, that is where it says that it is ready.
            into = re.search(r"> (\S+)$", command)
            output = self.home / into[1] if into else self._tmp / f"terminal-{len(self._stay)}"
            with output.open("wb") as out:
                process = subprocess.Popen(
                    ["bash", "-c", f'set -a; . "{self._shell}"; exec {command}'],
                    cwd=self.home,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self._stay.append((f"{self._at(block.line)}: {command}", process, output))
            until = time.monotonic() + PATIENCE_S
            while not (printed := output.read_text("utf-8", "replace")).endswith("\n"):
                waiting = process.poll() is None and time.monotonic() < until
                assert waiting, f"{command} is not ready:\n{printed}"
                time.sleep(0.02)
            if len(started) == 1:
                assert not expected or prints(expected, printed), f"{self._at(block.line)} printed:\n{printed}"
        return len(started)

    def _stop(self) -> None:
        """Ctrl-C in every other terminal: each ends by itself, and says so at most in a line."""
        for _, process, _ in self._stay:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        bad = []
        for what, process, output in reversed(self._stay):
            try:
                code = process.wait(120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
            if code not in (0, 128 + signal.SIGINT):
                bad.append(f"{what} exits {code} after Ctrl-C\n{output.read_text('utf-8', 'replace')}")
        assert not bad, "\n".join(bad)
