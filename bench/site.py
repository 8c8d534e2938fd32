"""Serves all twins of a bench file's site, one wiring, as if they were hardware: `twinbench site`.

A process of its own on real time: nothing is shared with a bench but bytes. The JSON line that it prints when ready also
names where each link of the file leads, in the form that `--links` of the other verbs takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

from bench import inventory
from bench.alone import until_stopped
from bench.bench import BenchError
from bench.data import BadInput
from bench.inventory import Inventory
from twins import defects as seeded
from twins import models
from twins.clock import WallClock
from twins.faces.stream import Endpoint, Face


def serve_site(bench_file: Path, *, seed: int | None, defects: tuple[str, ...]) -> None:
    """Serve until Ctrl-C or SIGTERM. BadInput where the file has no twins; BenchError where a face cannot be served."""
    file = inventory.load(bench_file)
    twins = {name for name, device in file.config.devices.items() if device.is_twin}
    if not twins:
        raise BadInput(f"{bench_file}: no device has faces: there is no twin to serve")
    for name in defects:
        if seeded.find(name).of not in {file.config.devices[twin].model for twin in twins}:
            raise BadInput(
                f"--defect {name}: that is a defect of {seeded.find(name).of}, which is no twin of {bench_file}"
            )
    with tempfile.TemporaryDirectory(prefix="twinbench-site-") as scratch:
        asyncio.run(_serve(file, Path(scratch), file.config.seed if seed is None else seed, frozenset(defects)))


async def _serve(file: Inventory, scratch: Path, seed: int, defects: frozenset[str]) -> None:
    clock = WallClock()
    site = file.build_site(clock)
    endpoints: dict[tuple[str, str], Endpoint] = {}
    async with contextlib.AsyncExitStack() as open_faces:
        open_faces.push_async_callback(clock.close)
        for name, device in file.config.devices.items():
            if not device.is_twin:
                continue
            behaviour = file.build_device(name, clock, site, seed, defects)
            for face_name, face_config in device.faces.items():
                on_pty = face_config.scheme in ("pty", "rtu")
                # A path that says what it leads to, not a number that another process may get next.
                address = face_config.address or (str(scratch / f"{name}-{face_name}") if on_pty else "127.0.0.1:0")
                make = models.find(device.model).faces[face_config.scheme]
                face: Face = make(behaviour, address, face_config.line(seed))
                try:
                    endpoints[name, face_name] = await face.open()
                except OSError as no:
                    raise BenchError(f"{name}/{face_name} cannot be served: {no}") from no
                open_faces.push_async_callback(face.close)
        await until_stopped(
            {
                "site": file.config.name,
                "endpoints": [
                    {"device": name, "face": face, "scheme": e.scheme, "address": e.address}
                    for (name, face), e in endpoints.items()
                ],
                "links": file.link_addresses(endpoints),
            },
            clock,
        )
