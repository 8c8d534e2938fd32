"""How fast the website makes its pages with 100,000 customers, and a year of hourly intervals for a thousand of them.

Everything lies in an SQLite file, filled by bulk inserts. A page is asked for over the wire by a client that has signed in. What
counts is the processor time of the process from its request to its last byte: the server's, and the client's on top, which is
its time on a machine with a core to spare.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import argon2
import httpx
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from bench.loop import LoopThread
from benchmarks.figure import Figure
from drivers.roles import AtZero, Billing
from twins.clock import EPOCH, SteppedClock
from twins.utility.config import UtilityConfig
from twins.utility.css import ledger
from twins.utility.css.records import Entry
from twins.utility.css.tables import AccountRow, CustomerRow
from twins.utility.database import Base
from twins.utility.mdms_tables import IntervalRow
from twins.utility.utility import Utility
from twins.utility.web import serve
from twins.utility.website.tables import LoginRow

_CUSTOMERS, _WITH_HISTORY, _DAYS = 100_000, 1_000, 365
_ROUNDS = 40
_TARGET_MS = 50
PASSWORD = "a quick one"  # the benchmark's own, for a data base that it throws away
CUSTOMER = "C-000500"


def build(path: Path) -> None:
    """Fill a data base. The clock of whoever opens it stands at EPOCH."""
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    customers = [
        {
            "id": f"C-{k:06}",
            "name": f"Customer {k:06}",
            "address": f"{k} Long Road",
            "credential": "scrypt$14$00$00",
            "language": "en" if k % 3 else "es",
            "customer_class": "residential",
        }
        for k in range(_CUSTOMERS)
    ]
    accounts = [
        {
            "number": f"{k:08}",
            "customer_id": f"C-{k:06}",
            "meter_id": f"M-{k:06}",
            "service_address": f"{k} Long Road",
            "billing": Billing.PREPAID.value,
            "prepaid_since": EPOCH,
            "at_zero": AtZero.DISCONNECT.value,
            "fallback": AtZero.REGULAR_BILLING.value,
            "auto_replenish_cents": None,
            "has_switch": True,
            "bill_cycle_day": 1,
            "others_may_prepay": False,
            "elsewhere": True,
            "refreshed_at": EPOCH,
        }
        for k in range(_CUSTOMERS)
    ]
    logins: list[dict[str, Any]] = [
        {"login": c["id"], "customer_id": c["id"], "name": c["name"], "password": hashed, "language": c["language"]}
        for c in customers
    ]
    logins.append({"login": "desk", "customer_id": None, "name": "desk", "password": hashed, "language": "en"})
    with Session(engine) as session, session.begin():
        session.execute(insert(CustomerRow), customers)
        session.execute(insert(AccountRow), accounts)
        session.execute(insert(LoginRow), logins)
        for k in range(_WITH_HISTORY):
            ledger.credit(session, f"{k:08}", EPOCH - timedelta(days=1), Entry.OPENING, 5_000 + k, "opening")
    raw = engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("PRAGMA synchronous=OFF")
    cursor.execute("CREATE TEMP TABLE hours (at TEXT, wh REAL)")
    hours = [EPOCH - timedelta(hours=n) for n in reversed(range(_DAYS * 24))]
    cursor.executemany("INSERT INTO hours VALUES (?, ?)", [(_naive(h), 400.0 + h.hour * 37) for h in hours])
    cursor.execute("CREATE TEMP TABLE meters (id TEXT, more REAL)")
    cursor.executemany("INSERT INTO meters VALUES (?, ?)", [(f"M-{k:06}", k % 90) for k in range(_WITH_HISTORY)])
    cursor.execute(
        f"INSERT INTO {IntervalRow.__tablename__} "
        "(meter_id, received_at, available_at, ends_at, length_s, energy_wh, complete) "
        "SELECT meters.id, at, at, at, 3600.0, wh + more, 1 FROM meters CROSS JOIN hours"
    )
    raw.commit()
    raw.close()
    engine.dispose()


def _naive(at: datetime) -> str:
    """A moment as SQLAlchemy writes it into SQLite."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _pages(client: httpx.Client, login: str, paths: tuple[str, ...]) -> dict[str, float]:
    """Milliseconds of each page, the median of many."""
    token = client.get("/sign-in").text.split('name="token" value="')[1].split('"')[0]
    answer = client.post("/sign-in", data={"token": token, "login": login, "password": PASSWORD})
    answer.raise_for_status()
    found = {}
    for path in paths:
        taken = []
        for _ in range(_ROUNDS):
            began = time.process_time()
            client.get(path).raise_for_status()
            taken.append(time.process_time() - began)
        found[path] = statistics.median(taken) * 1000
    return found


def measured() -> tuple[dict[str, float], float]:
    """Milliseconds by page, and seconds that filling the data base took."""
    loop = LoopThread("website")
    number = CUSTOMER.removeprefix("C-").zfill(8)
    try:
        with tempfile.TemporaryDirectory(prefix="twinbench-website-") as scratch:
            path = Path(scratch) / "utility.db"
            began = time.process_time()
            build(path)
            filled = time.process_time() - began
            clock = loop.call(SteppedClock)
            config = UtilityConfig.model_validate({"website": {}, "tariff": {"price_millicents_per_kwh": 21_500}})
            utility = loop.call(Utility, clock, config, {}, database_url=f"sqlite:///{path}")
            assert utility.website is not None
            server = loop.run(serve(utility.website.app, "127.0.0.1", 0, clock))
            with httpx.Client(base_url=server.address, follow_redirects=True, timeout=60) as client:
                base = f"/accounts/{number}"
                pages = _pages(
                    client,
                    CUSTOMER,
                    (base, f"{base}/usage", f"{base}/payments", f"{base}/events", f"{base}/outage", f"{base}/prepay"),
                )
            with httpx.Client(base_url=server.address, follow_redirects=True, timeout=60) as client:
                desk = "/desk/accounts/" + number
                pages |= _pages(
                    client,
                    "desk",
                    ("/desk?q=0000051", "/desk?q=customer+0005", desk, "/desk/outages", "/desk/orders"),
                )
            loop.run(server.close())
            loop.run(utility.close())
            loop.run(clock.close())
    finally:
        loop.close()
    return pages, filled


def run() -> list[Figure]:
    """The website's figures."""
    pages, filled = measured()
    slowest = max(pages, key=lambda path: pages[path])
    shown = slowest.partition("?")[0]
    return [
        Figure(f"website: slowest page of 100,000 customers ({shown})", pages[slowest], "ms", f"< {_TARGET_MS}"),
        Figure("website: the account page", pages[f"/accounts/{CUSTOMER.removeprefix('C-').zfill(8)}"], "ms", "< 50"),
        Figure("website: processor time to fill its data base", filled, "s", "<= 60"),
    ]


if __name__ == "__main__":
    times, filling = measured()
    for one, milliseconds in times.items():
        print(f"{one}: {milliseconds:.1f} ms")
    print(f"filling: {filling:.1f} s")
