"""A whole site: how soon its twins are served as hardware, whether a day of bench time leaves memory where it was, what a
garbled line costs, what the meter's driver costs over bare pyserial, and a day of the head-end's refreshes."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import serial
from labgrid import Target

from bench import inventory
from bench.bench import Bench
from benchmarks.figure import Figure
from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import MessageCode
from drivers.wire.c1218_mask import PasswordMask
from twins.clock import SteppedClock
from twins.faces.stream import Disturbance
from twins.meters.ami_meter import MODEL, build
from twins.models import LineOptions
from twins.utility.adcs import Request
from twins.wiring import Site

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "inventory/benches/twin.yaml"
BAUD = 9600
ROUNDS, CALLS = 400, 5
READS = 40
SEEDS = range(1, 6)
"""Of the disturbance; how much of so short a conversation is hit is a matter of luck, so the median of several counts."""


def _site_up() -> float:
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.cli", "site", str(BENCH)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            json.loads(process.stdout.readline())
            return time.monotonic() - start
        finally:
            process.terminate()


def _soak() -> float:
    """Percent by which the resident size grows over a day of bench time, service on, after two hours to settle."""
    with Bench(inventory.load(BENCH)) as bench:
        bench.device("meter").connect()
        bench.advance(2 * 3600)
        before = psutil.Process().memory_info().rss
        bench.advance(24 * 3600)
        return 100.0 * (psutil.Process().memory_info().rss / before - 1)


def _meter(port: str) -> AmiMeterDriver:
    target = Target("meter")
    SerialLine(target, name="line", port=port, baudrate=BAUD)
    driver = AmiMeterDriver(target, name="meter")
    target.activate(driver)
    return driver


async def _reads(line: LineOptions) -> float:
    """Seconds for `READS` reads of table 1 in one session."""
    clock = SteppedClock()
    site = Site(clock)
    meter = build(clock, site, name="meter", options=MODEL.default_site(site), seed=1)
    face = MODEL.faces["pty"](meter, "", line)
    driver = await clock.io(_meter, (await face.open()).address)

    def read() -> float:
        with driver.session():
            begin = time.perf_counter()
            for _ in range(READS):
                if driver.identify() != meter.identify():
                    raise RuntimeError("the table came back wrong")
            return time.perf_counter() - begin

    took = await clock.io(read)
    await clock.io(driver.target.deactivate, driver)
    await face.close()
    await clock.close()
    return took


def _garbled_over_clean() -> float:
    clean = asyncio.run(_reads(LineOptions(paced_baud=BAUD)))
    noise = (Disturbance(garble=0.01, seed=seed) for seed in SEEDS)
    bad = [asyncio.run(_reads(LineOptions(paced_baud=BAUD, disturbance=each))) for each in noise]
    return statistics.median(bad) / clean


def _over_pyserial() -> float:
    """Time of a driver's call over the time of the same bytes through bare pyserial; the twin has a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        path = str(Path(scratch) / "optical")
        command = [sys.executable, "-m", "bench.cli", "twin", "ami-meter", "--listen", f"pty:{path}"]
        twin = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
        try:
            assert twin.stdout is not None
            twin.stdout.readline()
            return _rounds(path)
        finally:
            twin.terminate()
            twin.communicate()


def _rounds(address: str) -> float:
    driver = _meter(address)
    script: list[tuple[str, bytes]] = []
    # The wire log hides the password; to say the same again, the real bytes are wanted, of this twin and nobody else's.
    with patch.object(PasswordMask, "hide", lambda self, data: data):
        driver.line.wire_log = lambda way, data: script.append((way, bytes(data)))
        driver.reading()
    driver.line.wire_log = None
    exchanges = _exchanges(script)

    def bare() -> None:
        for request, length in exchanges:
            port.write(request)
            if len(port.read(length)) != length:
                raise RuntimeError("the meter did not answer the same bytes again")

    # In turn, and by the medians: whatever else the machine does meets both.
    with serial.Serial(address, BAUD, timeout=1) as port:
        rounds = [(_seconds(driver.reading, CALLS), _seconds(bare, CALLS)) for _ in range(ROUNDS)]
    driver.target.deactivate(driver)
    return statistics.median(took for took, _ in rounds) / statistics.median(took for _, took in rounds)


def _seconds(call: Callable[[], object], times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - begin


def _exchanges(script: list[tuple[str, bytes]]) -> list[tuple[bytes, int]]:
    """What was sent, piece by piece, and how many bytes came back before the next."""
    found: list[tuple[bytes, int]] = []
    for way, data in script:
        if way == "tx":
            found.append((data, 0))
        else:
            sent, length = found[-1]
            found[-1] = (sent, length + len(data))
    return found


def _day_of_refreshes() -> float:
    """Seconds for 24 hourly balances from the head-end to the meter and their receipts back, data base and all."""
    with Bench(inventory.load(BENCH)) as bench:
        adcs: Any = bench.utility.adcs
        meter_id = bench.device("meter").meter_id()
        bench.advance(60)
        begin = time.perf_counter()
        sent = []
        for hour in range(24):
            left = timedelta(hours=72 - hour)
            request = Request(
                source="CSS",
                meter_id=meter_id,
                code=MessageCode.BALANCE,
                balance_cents=5000 - hour,
                credit_wh=200_000,
                time_left=left,
                zero_at=bench.now + left,
            )
            sent.append(bench.call(adcs.submit, request))
            bench.advance(3600)
        took = time.perf_counter() - begin
        if any(bench.call(adcs.message, message).receipt_at is None for message in sent):
            raise RuntimeError("a refresh has no receipt")
        return took


def run() -> list[Figure]:
    """Measure them all."""
    ups = [_site_up() for _ in range(3)]
    return [
        Figure("twinbench site, start to ready", statistics.median(ups), "s", "< 3"),
        Figure("24 h of bench time: growth of the resident size", _soak(), "%", "< 10"),
        Figure("AMI meter: a table on a 9600 baud line, 1 % garbled over clean", _garbled_over_clean(), "x", "<= 2"),
        Figure("AMI meter: a call over the same bytes through pyserial", _over_pyserial(), "x", "<= 1.25"),
        Figure("a day of hourly refreshes through ADCS, six twins, mirror", _day_of_refreshes(), "s", "< 1"),
    ]
