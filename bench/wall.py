"""Certifies a bench of real devices against a site of twins served as if it were hardware: `make certify-wall`.

Two processes that share nothing but bytes, on real time: what proves hardware mode where there is no hardware.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the run: passed on to it, so that it makes its outputs safe and seals its record."""
PATIENCE_S = 30.0
"""For how long the site may take to end; then it is killed."""
INTERRUPTED = 130


class Wall:
    """The two processes of a run. Each has a process group of its own: Ctrl-C in a terminal reaches this process alone, which
    tells the run once, and the site has to be there until the run's outputs are safe."""

    def __init__(self) -> None:
        self.interrupted = False
        self._site: subprocess.Popen[str] | None = None
        self._run: subprocess.Popen[str] | None = None
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup SIGHUP is ignored, and stays so
                signal.signal(number, self._pass_on)

    def serve(self, site_file: str) -> subprocess.Popen[str]:
        """Start the site; it says on its standard output when it is ready."""
        self._site = _started("site", site_file, stdout=subprocess.PIPE)
        if self.interrupted:  # while it started
            self._site.terminate()
        return self._site

    def certify(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the run; from now on it is who hears of signals."""
        self._run = _started("certify", *arguments)
        if self.interrupted:
            self._run.terminate()
        return self._run

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.interrupted = True
        if self._run is not None:
            self._run.send_signal(number)
        elif self._site is not None:
            self._site.terminate()


def _started(*arguments: str, stdout: int | None = None) -> subprocess.Popen[str]:
    """A verb of twinbench. It isn't the terminal's foreground, where a question would stop it: it has no input."""
    command = [sys.executable, "-m", "bench.cli", *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, text=True, process_group=0)


def main(site_file: str, bench_file: str, *more: str) -> int:
    """Serve the twins of `site_file`, certify `bench_file` with its links led there, and return its exit code.

    SIGINT, SIGTERM and SIGHUP go on to the run, whose record then says that it was interrupted; 130 where none had begun.
    However it ends, the site ends after it.
    """
    wall = Wall()
    with tempfile.TemporaryDirectory(prefix="twinbench-wall-") as scratch:
        site = wall.serve(site_file)
        try:
            assert site.stdout is not None
            ready = site.stdout.readline()
            if wall.interrupted:
                return INTERRUPTED
            if not ready:
                return site.wait() or 3
            links = Path(scratch) / "links.json"
            links.write_text(ready, encoding="utf-8")
            code = wall.certify("--bench", bench_file, "--links", str(links), *more).wait()
            return code if code >= 0 else INTERRUPTED  # a signal that ended it before it could hear any
        finally:
            _end(site)


def _end(site: subprocess.Popen[str]) -> None:
    site.terminate()
    try:
        site.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        site.kill()
        site.communicate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
