"""Keywords of what prepayment asks of the meter data management system: what it has, others can read, and when."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx
from robot.api.deco import keyword, library

from bench.browsing import wh
from bench.certify import session
from bench.judge.witness import Witness
from bench.keywords import PrepaymentKeywords
from bench.prepaying import next_mark
from bench.watch import Subscriber
from drivers.roles import MessageCode

_LONGEST_CYCLE_S = 3700.0
"""A little more than the longest cycle for which data might wait, in bench seconds."""
_LAST_DIGIT_WH = 1.0
"""The last digit of an interval's energy on the website."""
_BEFORE = timedelta(seconds=10)
"""So long before the end of a recording interval its data are listened for; the clocks of meter and bench may differ by less."""


@library(scope="TEST")
class prepayment_meter_data(PrepaymentKeywords):  # noqa: N801 - Robot finds a library's class by the file's name
    """The meter data management system's part in prepayment. `meter` names the meter under test in the bench file."""

    @keyword
    def mdms_makes_everything_available(self) -> None:
        """C3-FR-31: what it has logged of every kind can be read by other systems."""
        case, mdms = self._case, self._case.mdms
        for kind, available in (
            ("receipt", mdms.receipts),
            ("interval", mdms.intervals),
            ("log", mdms.logs),
            ("test", mdms.test_results),
            ("schedule", mdms.schedules),
            ("balance", mdms.balances),
        ):
            there = len(case.ask(available, case.meter_id))
            # Of schedules those count that the meter still holds.
            logged = len(case.meter.schedule()) if kind == "schedule" else self._logged(kind)
            self._judge.check(
                "C3-FR-31", f"{kind}: available of {logged} logged", claim=there if logged else None, expected=logged
            )
        self._judge.settle()

    def _logged(self, kind: str) -> int:
        """How many the MDMS has logged of a kind; an interval that was revised is one all the same."""
        held = self._case.held(kind)
        return len({p.value.ends_at for p in held}) if kind == "interval" else len(held)

    @keyword
    def mdms_makes_data_available_within(self, limit: str) -> None:
        """C3-NFR-07: from reception to the moment at which a subscriber has read it, by bench time, for whatever a meter
        test, an event, a balance and a collection bring in; `limit` is the requirement's, by name."""
        case = self._case
        begins = next_mark(case.bench.now + _BEFORE, case.interval) - _BEFORE
        case.bench.advance((begins - case.bench.now).total_seconds())
        watch = Subscriber(case.bench, case.meter_id)
        message_id = case.submit(MessageCode.TEST)
        case.submit(MessageCode.SCHEDULE, **case.event())
        case.submit(MessageCode.BALANCE, **case.balance_message(1400, timedelta(hours=60)))
        case.until(watch.has_read_all, 2 * _BEFORE.total_seconds())
        case.ask(case.adcs.collect, case.meter_id)
        # A system that publishes late gets the time to show how late.
        case.until(watch.has_read_all, _LONGEST_CYCLE_S)
        watch.end()
        for kind, delays in watch.delays_s().items():
            known = [delay for delay in delays if delay is not None]
            slowest = max(known) if known and len(known) == len(delays) else None
            self._judge.check(
                "C3-NFR-07",
                f"{kind}: reception to availability, the slowest of {len(delays)}",
                measure=Witness.measure(slowest, watch.uncertainty_s, "subscriber"),
                limit=limit,
                unit="s",
            )
        there = [p for p in case.ask(case.mdms.receipts, case.meter_id) if p.value.message_id == message_id]
        self._judge.check("C3-NFR-07", "the receipt can be read", claim=bool(there), expected=True)
        self._judge.settle()

    @keyword
    def website_shows_the_historical_usage(self) -> None:
        """C3-NR-05: by interval, on the latest day with usage and on the one before, what the MDMS makes available."""
        case, browsing, zone = self._case, session().browsing, self._case.bench.config.utility.zone
        latest = case.ask(case.mdms.intervals, case.meter_id)[-1].value
        last = (latest.ends_at - latest.length).astimezone(zone).date()
        for day in (last - timedelta(days=1), last):
            start, end = (datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day + timedelta(days=1)))
            held = [p.value.energy_wh for p in case.ask(case.mdms.intervals, case.meter_id, start, end)]
            browsing.read_usage(case.account.number, day)
            shown = [wh(row[-1]) for row in browsing.rows("intervals")]
            what = f"{day.isoformat()}: intervals on the website"
            self._judge.check("C3-NR-05", what, system="Website", claim=len(shown), expected=len(held))
            self._judge.check(
                "C3-NR-05",
                f"{what} with another energy than the MDMS has",
                system="Website",
                claim=sum(abs(a - b) > _LAST_DIGIT_WH for a, b in zip(shown, held, strict=False)) if shown else None,
                expected=0,
            )
        self._judge.settle()

    # --- meter data over REST (C3-FR-31, C3-NFR-07) ------------------------------------------------------------------------

    @keyword
    def meter_data_can_be_read_over_rest(self) -> None:
        """C3-FR-31: as another system does, all that the MDMS has logged of each kind, and the schedule that the meter holds."""
        case = self._case
        case.send(MessageCode.SCHEDULE, **case.event())
        case.send(MessageCode.BALANCE, **case.balance_message(1400, timedelta(hours=60)))
        case.collect()
        for kind in ("receipt", "interval", "log", "test", "balance", "schedule"):
            name, logged = f"{kind}s", len(case.meter.schedule()) if kind == "schedule" else self._logged(kind)
            self._judge.check(
                "C3-FR-31",
                f"{name} over REST: of {logged} logged",
                claim=len(self._read(name)) if logged else None,
                expected=logged,
            )
        self._judge.settle()

    @keyword
    def meter_data_can_be_read_over_rest_at_once(self) -> None:
        """C3-NFR-07: a receipt can be read as soon as the ADCS has passed it on."""
        case = self._case
        message_id = case.send(MessageCode.TEXT, text="Thank you")
        case.bench.advance(self._judge.limit("C3-NFR-07", "at once").tolerance or 0.0)
        ids = [item["value"]["message_id"] for item in self._read("receipts")]
        self._judge.check("C3-NFR-07", "a receipt over REST", claim=message_id in ids, expected=True)
        self._judge.settle()

    def _read(self, name: str) -> list[Any]:
        case = self._case
        base, token = case.bench.meter_data(), case.bench.config.utility.mdms.clients[0].secret()
        items: list[Any] = []
        with httpx.Client(base_url=base or "", headers={"Authorization": f"Bearer {token}"}) as client:
            after: int | None = 0
            while after is not None:
                page = client.get(f"/v1/{name}", params={"meter": case.meter_id, "after": after, "limit": 1000})
                page.raise_for_status()
                items += page.json()["items"]
                after = page.json()["next"]
        return items
