"""How fast the AMI meter is read over its C12.18 line: a day of hourly refreshes unpaced, and a line paced to 9600 baud."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from labgrid import Target

from benchmarks.figure import Figure
from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import MessageCode, MeterMessage, ReceiptStatus
from twins.clock import SteppedClock
from twins.meters.ami_meter import MODEL, build
from twins.models import LineOptions
from twins.wiring import Site

_ROUNDS = 5
_BAUD = 9600


def _driver(port: str) -> AmiMeterDriver:
    target = Target("meter")
    SerialLine(target, name="line", port=port, baudrate=_BAUD)
    driver = AmiMeterDriver(target, name="meter")
    target.activate(driver)
    return driver


async def _day() -> float:
    """Real seconds for 24 refreshes: a balance sent, the hour's interval and the receipt read."""
    clock = SteppedClock()
    site = Site(clock)
    meter = build(clock, site, name="meter", options=MODEL.default_site(site), seed=1)
    face = MODEL.faces["pty"](meter, "", LineOptions())
    endpoint = await face.open()
    driver = await clock.io(_driver, endpoint.address)
    energy_wh = 0.0
    statuses: list[ReceiptStatus] = []

    def command(number: int) -> float:
        now = clock.now()
        with driver.session():
            intervals = driver.intervals(since=now - timedelta(hours=1))
            driver.send(
                MeterMessage(
                    number, MessageCode.BALANCE, now,
                    balance_cents=5000 - number, credit_wh=1000, time_left=timedelta(hours=72 - number),
                )
            )  # fmt: skip
        return sum(i.energy_wh for i in intervals)

    async def refresh() -> None:
        nonlocal energy_wh
        for number in range(1, 25):
            await clock.sleep(3599)
            energy_wh += await clock.io(command, number)
            await clock.sleep(1)
            statuses.extend(r.status for r in await clock.io(driver.receipts, number - 1))

    clock.spawn(refresh())
    begin = time.perf_counter()
    await clock.advance(25 * 3600)
    took = time.perf_counter() - begin
    expected = 23 * 1.2 * 1000  # the last interval read is the 23rd: each refresh comes a second before the hour
    if statuses != [ReceiptStatus.PROCESSED] * 24 or abs(energy_wh - expected) > 0.002 * expected:
        raise RuntimeError(f"the day went wrong: {energy_wh} Wh, {statuses}")
    await clock.io(driver.target.deactivate, driver)
    await face.close()
    await clock.close()
    return took


async def _paced() -> float:
    """Share of a 9600 baud line that reads in one session use, both ways together (it is half duplex)."""
    clock = SteppedClock()
    site = Site(clock)
    meter = build(clock, site, name="meter", options=MODEL.default_site(site), seed=1)
    for number in range(1, 40):
        meter.send(MeterMessage(number, MessageCode.TEST, clock.now()))
        await clock.advance(60)
    face = MODEL.faces["pty"](meter, "", LineOptions(paced_baud=_BAUD))
    endpoint = await face.open()
    driver = await clock.io(_driver, endpoint.address)
    carried = 0

    def count(way: str, data: bytes) -> None:
        nonlocal carried
        carried += len(data)

    def collect() -> float:
        with driver.session():
            driver.line.wire_log = count
            begin = time.perf_counter()
            for read in (driver.counters, driver.reading, driver.service, driver.account, driver.receipts, driver.log):
                read()
            took = time.perf_counter() - begin
            driver.line.wire_log = None
        return took

    took = await clock.io(collect)
    await clock.io(driver.target.deactivate, driver)
    await face.close()
    await clock.close()
    return carried * 10 / _BAUD / took


def run() -> list[Figure]:
    """Measure both."""
    days = sorted(asyncio.run(_day()) for _ in range(_ROUNDS))
    return [
        Figure("AMI meter: a day of hourly refreshes over C12.18, unpaced", days[_ROUNDS // 2], "s", "< 0.3"),
        Figure("AMI meter: share of a 9600 baud line used", 100 * asyncio.run(_paced()), "%", ">= 90"),
    ]
