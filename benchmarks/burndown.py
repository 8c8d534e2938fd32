"""A balance that burns down for 35 days, refreshed every hour over the real serial line: meter twin, driver, ADCS, MDMS, CSS.

Timed by the processor time of the process, which is its time on a machine with a core to spare.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from labgrid import Target

from bench.loop import LoopThread
from benchmarks.figure import Figure
from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import MessageCode
from twins.clock import SteppedClock
from twins.meters.ami_meter import MODEL
from twins.models import LineOptions
from twins.utility.config import UtilityConfig
from twins.utility.css import Payment, PrepayRequest
from twins.utility.payments import PaymentMeans, PaymentMethod
from twins.utility.utility import Utility
from twins.wiring import Contact, Site

DAYS = 35
_METER, _ACCOUNT = "TB-000001", "A-1"
_CENTS = 30_000  # more than 1200 W take in 35 days at 20 cents a kWh
_CONFIG = {
    "css": {"scrypt_cost": 4, "threshold_h": 24 * 365.0},  # near zero all the time
    "tariff": {"price_millicents_per_kwh": 20_000},
    "customers": [
        {
            "id": "C-1",
            "name": "Ada Byron",
            "address": "7 Elm Street",
            "credential": "analytical engine",
            "accounts": [
                {
                    "number": _ACCOUNT,
                    "meter_id": _METER,
                    "service_address": "7 Elm Street",
                    "history": {"days": 40, "by_hour_wh": [1_000.0] * 24},
                }
            ],
        }
    ],
}


def _burn(loop: LoopThread, days: float) -> tuple[float, float]:
    """Seconds of processor time and of the clock on the wall; every hour the meter gets a balance or it raises."""
    clock: SteppedClock = loop.call(SteppedClock)
    site = Site(clock)
    wiring = loop.call(MODEL.default_site, site)
    switch = site.nodes["service switch"]
    assert isinstance(switch, Contact)
    loop.call(switch.set, True)
    options = MODEL.options.model_validate(wiring.model_dump() | {"meter_id": _METER, "receipt_capacity": 2_000})
    twin: Any = loop.call(MODEL.build, clock, site, name="meter", options=options, seed=3)
    face = MODEL.faces["pty"](twin, "", LineOptions())
    target = Target("burn-down")
    SerialLine(target, "line", port=loop.run(face.open()).address, timeout=5.0)
    driver = AmiMeterDriver(target, "meter")
    target.activate(driver)
    utility: Utility = loop.call(Utility, clock, UtilityConfig.model_validate(_CONFIG), {_METER: driver}, seed=3)
    loop.call(utility.start)
    css = utility.css
    request = loop.call(
        css.log_request, PrepayRequest((_ACCOUNT,), "Ada Byron", "7 Elm Street", "analytical engine", channel="phone")
    )
    loop.call(css.identify, request, "analytical engine")
    means = PaymentMeans(PaymentMethod.CARD, {"number": "4111111111111111", "expiry": "12/29"})
    loop.run(css.pay(Payment("P-1", request, _ACCOUNT, _CENTS, means)))
    loop.run(clock.advance(60))
    began, worked = time.perf_counter(), time.process_time()
    loop.run(clock.advance(timedelta(days=days).total_seconds()))
    took, worked = time.perf_counter() - began, time.process_time() - worked
    refreshed = sum(r.code is MessageCode.BALANCE for r in twin.receipts())
    if refreshed < days * 24:
        raise RuntimeError(f"{refreshed} balances processed in {days:g} days, {days * 24:g} are due")
    loop.run(utility.close())
    target.deactivate(driver)
    loop.run(face.close())
    loop.run(clock.close())
    return worked, took


def run() -> list[Figure]:
    """The figure of a burn-down."""
    loop = LoopThread()
    try:
        worked, _ = _burn(loop, DAYS)
    finally:
        loop.close()
    return [Figure("burn-down: 35 days refreshed hourly over the serial line", worked, "s", "< 15")]


if __name__ == "__main__":
    for figure in run():
        print(f"{figure.name}: {figure.value:.3g} {figure.unit} ({figure.target}, {'met' if figure.met else 'missed'})")
