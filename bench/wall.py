"""Certifies a bench of real devices against a site of twins served as if it were hardware: `make certify-wall`.

Two processes that share nothing but bytes, on real time: what proves hardware mode where there is no hardware.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def main(site_file: str, bench_file: str, *more: str) -> int:
    """Serve the twins of `site_file`, certify `bench_file` with its links led there, and return its exit code."""
    twinbench = [sys.executable, "-m", "bench.cli"]
    with (
        tempfile.TemporaryDirectory(prefix="twinbench-wall-") as scratch,
        subprocess.Popen([*twinbench, "site", site_file], stdout=subprocess.PIPE, text=True) as site,
    ):
        try:
            assert site.stdout is not None
            ready = site.stdout.readline()
            if not ready:
                return site.wait() or 3
            links = Path(scratch) / "links.json"
            links.write_text(ready, encoding="utf-8")
            command = [*twinbench, "certify", "--bench", bench_file, "--links", str(links), *more]
            return subprocess.run(command, check=False).returncode
        finally:
            site.terminate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
