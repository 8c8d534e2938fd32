"""The examples run as their page says: the Robot suite, and the pytest suite against a site of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture
def copy(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The examples in a directory of their own, on free ports; and what was exchanged for that."""
    exchanged = {"5020": str(free_port()), "5025": str(free_port()), "/tmp/twinbench-meter": str(tmp_path / "meter")}
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for path in tmp_path.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for old, new in exchanged.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    return tmp_path, exchanged


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "examples" / "README.md").read_text("utf-8"), re.M | re.S)


def run(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LG_", "PYTEST_"))}
    environment["PATH"] = f"{BIN}:{environment['PATH']}"
    command = ["/bin/bash", "-ec", script]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=120)


def test_the_robot_suite_passes(copy: tuple[Path, dict[str, str]]) -> None:
    script, _ = blocks()
    done = run(script, copy[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 tests, 3 passed, 0 failed" in done.stdout


def test_the_robot_suite_fails_on_a_load_that_is_not_what_it_should_be(copy: tuple[Path, dict[str, str]]) -> None:
    bench = copy[0] / "examples" / "robot" / "bench.yaml"
    bench.write_text(bench.read_text("utf-8").replace("value: 2.5", "value: 2.2"), encoding="utf-8")
    done = run(blocks()[0], copy[0])
    assert done.returncode == 2, done.stdout
    assert "the analyzer reads 2.2 A, not 2.5 A within 0.05 A" in done.stdout


def test_the_pytest_suite_passes(copy: tuple[Path, dict[str, str]]) -> None:
    _, script = blocks()
    site, suite = script.strip().splitlines()
    # As the page says, and the site is ended afterwards; a newcomer looks whether it has said that it is ready.
    wait = "for i in $(seq 300); do grep -q endpoints site.json && break; sleep 0.1; done"
    done = run(f"{site.removesuffix('&')} > site.json &\ntrap 'kill $!' EXIT\n{wait}\n{suite}", copy[0])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
