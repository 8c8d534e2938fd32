"""Serves one twin alone in a small default site, for whoever wants to talk to it: `twinbench twin`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import traceback
from typing import Any

from bench.bench import BenchError
from bench.data import BadInput, nearest
from drivers.wire.address import host_port
from twins import defects as seeded
from twins import models
from twins.clock import WallClock
from twins.faces.stream import Face
from twins.wiring import Site


def serve(model_name: str, listen: list[str], *, seed: int, defects: tuple[str, ...]) -> None:
    """Serve until Ctrl-C or SIGTERM. `listen` holds `SCHEME:ADDRESS` as given; BadInput names what is wrong with one."""
    model = models.find(model_name)
    wanted = []
    for text in listen:
        scheme, colon, address = text.partition(":")
        if not colon or scheme not in model.faces:
            raise BadInput(
                f"--listen {text}: {model_name} has no face {scheme!r}; {nearest(scheme, list(model.faces))}"
            )
        if scheme in ("pty", "rtu"):
            if not address:
                raise BadInput(f"--listen {text}: needs a path, which becomes a link to the pty: {scheme}:/tmp/line")
        else:
            try:
                host_port(address)
            except ValueError as no:
                raise BadInput(f"--listen {text}: write {scheme}:HOST:PORT, port 0 picks a free one: {no}") from None
        wanted.append((scheme, address))
    for name in defects:
        if seeded.find(name).of != model_name:
            raise BadInput(f"--defect {name}: that is a defect of {seeded.find(name).of}, not of {model_name}")
    asyncio.run(_serve(model, wanted, seed, frozenset(defects)))


async def _serve(model: models.Model, wanted: list[tuple[str, str]], seed: int, defects: frozenset[str]) -> None:
    clock = WallClock()
    site = Site(clock)
    options = model.default_site(site)
    behaviour = model.build(clock, site, name=model.name, options=options, seed=seed, defects=defects)
    async with contextlib.AsyncExitStack() as open_faces:
        open_faces.push_async_callback(clock.close)
        endpoints = []
        for scheme, address in wanted:
            face: Face = model.faces[scheme](behaviour, address, models.LineOptions())
            try:
                endpoint = await face.open()
            except OSError as no:
                said = str(no).removeprefix(f"{scheme}:{address}: ")  # a face's error names its own address
                raise BadInput(f"--listen {scheme}:{address}: {said}") from no
            open_faces.push_async_callback(face.close)
            endpoints.append({"scheme": endpoint.scheme, "address": endpoint.address})
        await until_stopped({"model": model.name, "endpoints": endpoints}, clock)


async def until_stopped(ready: dict[str, Any], clock: WallClock) -> None:
    """Print one JSON line that says what is ready, and wait for Ctrl-C or SIGTERM.

    BenchError where a twin's own timer or task failed: what it answers from then on is not to be believed, and whoever is
    connected had better see it go.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    stopped, failed = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(clock.failure())
    await asyncio.wait([stopped, failed], return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        raise _broken(failed.result())
    failed.cancel()


def _broken(failure: BaseException) -> BenchError:
    """What a failure inside a twin is to whoever served it: one line, with the place in the source."""
    at = traceback.extract_tb(failure.__traceback__)[-1:]
    place = "".join(f" ({frame.filename}:{frame.lineno})" for frame in at)
    said = " ".join(str(failure).split())
    return BenchError(
        f"a timer of the twin failed, and its faces are closed: {type(failure).__name__}: {said}{place}; "
        "start it anew, and report this with what was sent to it"
    )
