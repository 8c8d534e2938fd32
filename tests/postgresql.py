"""A PostgreSQL of one's own: Debian's package, a cluster in a temporary directory, on a private port, gone afterwards."""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from tests.ports import free_port

_OWNER = "postgres"


def binaries() -> Path | None:
    """Where the newest PostgreSQL of this machine is; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class PostgreSql:
    """A server that runs until closed. It refuses to run as root, so root starts it as the package's own user."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self._directory = Path(tempfile.mkdtemp(prefix="twinbench-postgresql-"))
        self._user: dict[str, Any] = {}
        if os.getuid() == 0:
            owner = pwd.getpwnam(_OWNER)
            os.chown(self._directory, owner.pw_uid, owner.pw_gid)
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._password = secrets.token_hex(16)
        self._names = (f"town_{k}" for k in itertools.count())
        self._port = free_port()
        word = self._directory / "word"
        word.write_text(self._password)
        word.chmod(0o644)
        self._run(
            "initdb", "-D", f"{self._directory}/data", "-U", _OWNER, "-A", "scram-sha-256", f"--pwfile={word}", "-N"
        )
        word.unlink()
        options = (
            f"-p {self._port} -k {self._directory} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        )
        self._run(
            "pg_ctl", "-D", f"{self._directory}/data", "-l", f"{self._directory}/log", "-w", "-o", options, "start"
        )

    def _run(self, program: str, *args: str) -> None:
        command = [str(self._where / program), *args]
        done = subprocess.run(
            command, cwd=self._directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **self._user
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")

    def database(self) -> str:
        """A new, empty data base; its URL."""
        name = next(self._names)
        server = f"host=127.0.0.1 port={self._port} user={_OWNER} password={self._password} dbname=postgres"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return f"postgresql+psycopg://{_OWNER}:{self._password}@127.0.0.1:{self._port}/{name}"

    def close(self) -> None:
        """Stop the server and remove what it kept."""
        self._run("pg_ctl", "-D", f"{self._directory}/data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._directory)
