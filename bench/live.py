"""Keeps a bench up, live, for the engineer at the bench: `twinbench up`.

On a terminal it shows a table of what the devices read, elsewhere it prints one line (JSON, if asked) when ready. A stepped
clock is advanced at the pace of real time here; through the mirror it can be advanced further.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bench import inventory
from bench.bench import Bench, BenchError
from bench.website import PASSWORD
from drivers.errors import DeviceError

REFRESH_S = 0.5


def keep_up(
    bench_file: Path, *, seed: int | None, defects: tuple[str, ...], links: Mapping[str, str] | None, as_json: bool
) -> None:
    """Bring the bench up, say where it can be reached, and keep it up until Ctrl-C or SIGTERM (KeyboardInterrupt)."""
    bench, ready = Bench(inventory.load(bench_file, links), seed=seed, defects=defects), False
    try:
        with bench:
            ready, meter_data = True, bench.meter_data()
            if as_json:
                said = {
                    "bench": bench.name,
                    "mirror": bench.mirror_url,
                    "website": bench.website,
                    "meter_data": meter_data,
                    "devices": bench.describe(),
                }
                sys.stdout.write(json.dumps(said) + "\n")
                sys.stdout.flush()
            else:
                at = f"mirror at {bench.mirror_url}" + (f"; website at {bench.website}" if bench.website else "")
                print(f"{bench.name} is up; {at}; Ctrl-C takes it down", flush=True)
                if bench.website and not os.environ.get(PASSWORD):
                    print(f"to sign in at the website, start with a password in {PASSWORD}", flush=True)
                if meter_data is not None:
                    print(f"meter data at {meter_data}", flush=True)
            console = Console()
            show = console.is_terminal and not as_json
            with Live(_table(bench), console=console, refresh_per_second=4) if show else nullcontext() as live:
                last = time.monotonic()
                while True:
                    time.sleep(REFRESH_S)
                    now = time.monotonic()
                    if bench.clock.stepped:
                        bench.advance(now - last)
                    else:
                        bench.check()
                    last = now
                    if live is not None:
                        live.update(_table(bench))
    except KeyboardInterrupt:
        if not ready:
            raise
    if bench.troubles:
        raise BenchError("; ".join(bench.troubles))
    print("twinbench: interrupted; outputs are safe", file=sys.stderr)


def _table(bench: Bench) -> Table:
    table = Table(title=f"{bench.name}  {bench.now:%Y-%m-%d %H:%M:%S} UTC", title_justify="left")
    for heading in ("device", "is", "reads"):
        table.add_column(heading)
    for name, device in bench.config.devices.items():
        kind = "twin" if device.is_twin else "real"
        try:
            reads = _reads(device.role, bench.device(name))
        except DeviceError as no:
            reads = f"[red]{no}[/red]"
        table.add_row(name, f"{kind} {device.model}", reads)
    return table


def _reads(role: str, driver: Any) -> str:
    if role == "Relay":
        closed = driver.closed()
        return "closed: " + (", ".join(str(k + 1) for k, c in enumerate(closed) if c) or "none")
    if role == "Meter":
        service = driver.service()
        shown = ", ".join(f"{k} {v:.3f}" for k, v in dataclasses.asdict(driver.reading()).items())
        return f"{shown}, switch {service.switch.name.lower()}, {service.billing.name.lower()}"
    if role == "Display":
        link, balance, price = driver.link(), driver.balance(), driver.price_millicents_per_kwh()
        told = "" if balance is None else f", balance ${balance.balance_cents / 100:.2f}"
        told += "" if price is None else f", price ${price / 100_000:.4f}/kWh"
        return f"{link.status}, link {link.link_strength_percent} %{told}"
    measured = ", ".join(f"{k} {v:.4g}" for k, v in dataclasses.asdict(driver.read()).items())
    if role == "AcSource":
        return f"{_on_or_off(driver)}, {measured}" + "".join(f", tripped: {name}" for name in driver.trips())
    return f"{_on_or_off(driver)}, {measured}" if role == "AcLoad" else measured


def _on_or_off(driver: Any) -> str:
    return "on" if driver.is_on() else "off"
