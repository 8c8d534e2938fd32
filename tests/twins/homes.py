"""A meter in a site of its own on a stepped clock, and the messages that tests send it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from drivers.roles import AtZero, DisplayCode, EventCode, LogEntry, MessageCode, MeterMessage, ReceiptStatus
from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.meters.ami_meter import AmiMeter, AmiMeterOptions, build, default_site
from twins.wiring import Load, Site, Source

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class Home:
    """A meter in its default site, on a stepped clock: split phase, 240 V, 5 A behind the switch."""

    def __init__(self, loop: LoopThread, *names: str, begin: datetime = START, seed: int = 7, **options: Any) -> None:
        self.loop = loop
        self.clock = loop.call(SteppedClock, begin)
        self.site = Site(self.clock)
        wiring = default_site(self.site)
        self.meter = loop.call(
            build,
            self.clock,
            self.site,
            name="meter",
            options=AmiMeterOptions.model_validate(wiring.model_dump() | options),
            seed=seed,
            defects=frozenset(names),
        )
        source, load = self.site.nodes["source"], self.site.nodes["load"]
        assert isinstance(source, Source)
        assert isinstance(load, Load)
        self.source, self.load = source, load

    def after(self, seconds: float) -> AmiMeter:
        self.loop.run(self.clock.advance(seconds))
        return self.meter

    def supply(self, on: bool) -> None:
        self.loop.call(self.source.set, on=on)

    def draw(self, watts: float) -> None:
        self.loop.call(self.load.set, kind="power", value=watts)

    def send(self, code: MessageCode, number: int = 1, **fields: Any) -> None:
        self.loop.call(self.meter.send, message(code, number, self.clock.now(), **fields))

    def statuses(self) -> list[ReceiptStatus]:
        return [r.status for r in self.meter.receipts()]

    def events(self, *codes: EventCode) -> list[LogEntry]:
        return [e for e in self.meter.log() if not codes or e.event in codes]

    def shows(self, code: DisplayCode) -> str | None:
        return next((line.text for line in self.meter.display() if line.code is code), None)


def message(code: MessageCode, number: int, issued_at: datetime, **fields: Any) -> MeterMessage:
    if code is MessageCode.PREPAYMENT:
        fields = {
            "balance_cents": 2500,
            "credit_wh": 116_300,
            "price_millicents_per_kwh": 21_500,
            "time_left": timedelta(days=3, hours=4, minutes=5, seconds=59),
            "zero_at": issued_at + timedelta(days=3),
            "at_zero": AtZero.DISCONNECT,
        } | fields
    return MeterMessage(number, code, issued_at, **fields)


def schedule(h: Home, number: int, event: int, begin_h: float, end_h: float) -> None:
    h.send(
        MessageCode.SCHEDULE,
        number,
        event_id=event,
        starts_at=START + timedelta(hours=begin_h),
        ends_at=START + timedelta(hours=end_h),
        credit_wh=50_000,
        at_zero=AtZero.LIMIT,
    )


Make = Callable[..., Home]
