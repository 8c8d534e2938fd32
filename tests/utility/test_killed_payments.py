"""A payment is in the ledger once, whenever the utility was killed: at random moments of paying and sending, on real files."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.loop import LoopThread
from drivers.roles import EventCode, MessageCode, ReceiptStatus
from tests.utility.conftest import METER
from twins.clock import WallClock
from twins.meters.ami_meter import MODEL
from twins.models import LineOptions
from twins.wiring import Site

ROOT = Path(__file__).parents[2]
KILLS = 100
SEED = 20


class Mortal:
    """The utility that is made to be killed, and the meter that lives on."""

    def __init__(self, loop: LoopThread, directory: Path) -> None:
        self.directory = directory
        (directory / "bank").mkdir()
        self._loop = loop
        self._clock = loop.call(WallClock)
        site = Site(self._clock)
        wiring = loop.call(MODEL.default_site, site).model_dump() | {"meter_id": METER, "processing_s": 0.02}
        options = MODEL.options.model_validate(wiring)
        self.meter: Any = loop.call(MODEL.build, self._clock, site, name="meter", options=options, seed=3)
        self._face = MODEL.faces["pty"](self.meter, "", LineOptions())
        line = loop.run(self._face.open()).address
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "tests.utility.paying", str(directory), line],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._given = 0
        self._said = b""

    def _line(self) -> list[str]:
        assert self._forks.stdout is not None
        while b"\n" not in self._said:
            assert select.select([self._forks.stdout], [], [], 30)[0], "the utility says nothing any more"
            more = os.read(self._forks.stdout.fileno(), 65536)
            assert more, "the utility's parent is gone"
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode().split(" ", 1)

    def _tell(self, text: str) -> None:
        assert self._forks.stdin is not None
        self._forks.stdin.write(f"{text}\n".encode())
        self._forks.stdin.flush()

    def pay(self, payment_id: str, cents: int, kill_after_s: float | None = None) -> dict[str, Any]:
        """Have it pay, and killed so long after it began. What it said: found, done (where it came so far), ended, took."""
        self._given += 1
        self._tell(f"{self._given} {payment_id} {cents}")
        heard: dict[str, Any] = {}
        while "ended" not in heard:
            word, *rest = self._line()
            heard[word] = rest[0] if rest else time.monotonic()
            if word == "paying" and kill_after_s is not None:
                time.sleep(kill_after_s)
                os.kill(int(heard["pid"]), signal.SIGKILL)
            if word == "over":
                self._tell("")
            if word == "done":
                heard["took"] = time.monotonic() - heard["paying"]
                heard["done"] = json.loads(rest[0])
        return heard

    def close(self) -> None:
        self._forks.stdin.close()  # type: ignore[union-attr]
        self._forks.wait(10)
        self._forks.stdout.close()  # type: ignore[union-attr]
        self._loop.run(self._face.close())
        self._loop.run(self._clock.close())

    def on_meter(self, what: str) -> Any:
        return self._loop.call(getattr(self.meter, what))


@pytest.fixture
def mortal(site_loop: LoopThread, tmp_path: Path) -> Iterator[Mortal]:
    found = Mortal(site_loop, tmp_path)
    yield found
    found.close()


def test_a_payment_is_in_the_ledger_once_whenever_the_utility_was_killed(mortal: Mortal) -> None:
    moments = random.Random(SEED)
    paid: dict[str, int] = {}
    whole = []
    for n in range(4):  # the first takes in the customer, and is no measure
        paid[f"P-calm-{n}"] = 1_000 + n
        calm = mortal.pay(f"P-calm-{n}", 1_000 + n)
        assert calm["ended"] == "0"
        whole.append(calm["took"])
    lasts = min(whole[1:])

    kills, found = 0, Counter[str]()
    message_ids: dict[str, int] = {}
    while kills < KILLS:
        payment_id = f"P-{len(paid):03d}"
        paid[payment_id] = cents = 500 + len(paid)
        for _ in range(moments.randint(2, 5)):
            shot = mortal.pay(payment_id, cents, kill_after_s=moments.uniform(0, 1.1 * lasts))
            kills += shot["ended"] == str(-signal.SIGKILL)
            found[shot["found"]] += 1
        last = mortal.pay(payment_id, cents)
        found[last["found"]] += 1
        assert last["ended"] == "0"
        assert last["done"]["confirmed"], payment_id
        message_ids[payment_id] = last["done"]["message_id"]
        assert _credits(last["done"])[payment_id] == cents

    done = mortal.pay("P-calm-0", 1_000)["done"]  # given once more after all that
    credits = [(reference, cents) for kind, cents, reference in done["ledger"] if cents > 0 and reference in paid]
    assert sorted(credits) == sorted(paid.items())
    assert sum(cents for _, cents, _ in done["ledger"] if cents > 0) == sum(paid.values())
    journal = (mortal.directory / "bank" / "charges").read_text().splitlines()
    charged = {p.name for p in (mortal.directory / "bank").iterdir()} - {"charges"}
    assert charged == {f"{payment_id}-{cents}" for payment_id, cents in paid.items()}
    assert len(journal) == len(set(journal))
    # One command for each payment, with one id, which the meter has applied once.
    assert len(message_ids.values()) == len(set(message_ids.values()))
    asked = Counter(done["requests"])
    applied = Counter(r.message_id for r in mortal.on_meter("receipts") if r.status is ReceiptStatus.PROCESSED)
    taken = [e for e in mortal.on_meter("log") if e.event is EventCode.MESSAGE_RECEIVED]
    for payment_id, message_id in message_ids.items():
        assert asked[message_id] == 1, payment_id
        assert applied.get(message_id, 1) == 1, payment_id  # the meter keeps the latest receipts only
    assert set(asked.values()) == {1}
    assert max(applied.values()) == 1
    assert {e.message_code for e in taken} <= {MessageCode.PREPAYMENT, MessageCode.BALANCE}
    assert mortal.on_meter("account").balance_cents == sum(paid.values())
    # It was killed at moments that differ: before anything was kept, and in every step after.
    assert len(found) >= 4, found
    assert sum(found[state] for state in found if state != "unknown") > KILLS / 3, found
    print(f"{kills} kills of {lasts * 1000:.0f} ms, found again as {dict(found)}")


def _credits(done: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, cents, reference in done["ledger"]:
        if cents > 0:
            assert reference not in found, f"{reference} is in the ledger twice"
            found[reference] = cents
    return found
