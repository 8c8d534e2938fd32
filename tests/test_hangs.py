"""A test that hangs, in Python or in a system call, doesn't hold the suite up for ever: it is ended, and says where it was."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_there_is_a_guard() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["faulthandler_timeout"] <= 900
    assert options["faulthandler_exit_on_timeout"]


@pytest.mark.parametrize("hang", ["while True:\n        pass", "import threading\n    threading.Event().wait()"])
def test_it_ends_a_test_that_hangs(tmp_path: Path, hang: str) -> None:
    (tmp_path / "test_hanging.py").write_text(f"def test_hanging():\n    {hang}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-o", "faulthandler_timeout=4", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in test_hanging" in done.stderr
