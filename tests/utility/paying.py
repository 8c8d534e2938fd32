"""A utility that is made to be killed: forks a child for each line it is given, which pays and then serves for a while.

Run as a program. Its first argument is the directory with database and bank, the second the meter's line. Given
`NUMBER PAYMENT CENTS` on standard input it prints `pid N`, `found STATE` and `paying` of the child, what the child has to say
when it is done, and `over`; after another line `ended CODE`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from labgrid import Target

from drivers.links import SerialLine
from drivers.meters.ami_meter import AmiMeterDriver
from drivers.roles import Meter
from tests.utility.conftest import ACCOUNT, METER, config, means_of
from twins.clock import EPOCH, SteppedClock
from twins.utility.css import Payment, PrepayRequest
from twins.utility.errors import NotAccepted
from twins.utility.payments import Charge, Funds, PaymentMeans, PaymentMethod
from twins.utility.utility import Utility

NETWORK = {"latency_s": 0.2, "jitter_s": 0.0}


class Bank:
    """A processor that outlives its customers: a charge is a file of its own, named after its key."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def charge(self, key: str, means: PaymentMeans, cents: int) -> Charge:
        """Charge once a key. The file is made in one step, and a second one of that key is none."""
        with suppress(FileExistsError):
            os.close(os.open(self.directory / f"{key}-{cents}", os.O_CREAT | os.O_EXCL))
            with (self.directory / "charges").open("a") as journal:
                journal.write(f"{key} {cents}\n")
        await asyncio.sleep(0)
        return Charge(Funds.APPROVED, authorization=f"AUTH-{key}")

    async def status(self, key: str) -> Charge | None:
        """Whether it was charged."""
        charged = any(self.directory.glob(f"{key}-*"))
        return Charge(Funds.APPROVED, authorization=f"AUTH-{key}") if charged else None


def say(*words: object) -> None:
    """One line, in one write: the parent reads whole lines."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def state_of(utility: Utility, payment_id: str) -> str:
    """How far a payment is, from what the utility has on its disk."""
    logged = [p for p in utility.css.payments(ACCOUNT) if p.payment_id == payment_id]
    if not logged:
        return "unknown"
    posted = [p for p in utility.css.postings(ACCOUNT) if p.payment_id == payment_id]
    if not posted:
        return "logged"
    with suppress(NotAccepted, KeyError, LookupError):
        return f"posted, message {utility.adcs.message(posted[0].message_id).state.value}"
    return "posted, no message"


async def pay(directory: Path, line: str, number: int, payment_id: str, cents: int) -> None:
    """Found the utility on its disk, pay, and serve until the meter's receipt is there, or two minutes are over."""
    clock = SteppedClock(EPOCH + timedelta(minutes=10 * number))
    target = Target("killed")
    SerialLine(target, "line", port=line, timeout=1.0)
    driver = AmiMeterDriver(target, "meter")
    target.activate(driver)
    meter: Meter = driver  # type: ignore[assignment]
    utility = Utility(
        clock,
        config(network=NETWORK),
        {METER: meter},
        seed=3,
        database_url=f"sqlite:///{directory}/utility.db",
        processor=Bank(directory / "bank"),
    )
    say("found", state_of(utility, payment_id))
    say("paying")
    utility.start()
    request = utility.css.log_request(
        PrepayRequest((ACCOUNT,), "Ada Byron", "7 Elm Street, Springfield", "analytical engine")
    )
    utility.css.identify(request, "analytical engine")
    means = means_of(PaymentMethod.CARD)
    posting = await utility.css.pay(Payment(payment_id, request, ACCOUNT, cents, means))

    def confirmed() -> bool:
        return utility.css.confirmation(payment_id) is not None

    await clock.run_until(clock.now() + timedelta(seconds=120), confirmed)
    found = utility.css.confirmation(payment_id)
    said: dict[str, Any] = {
        "message_id": posting.message_id,
        "confirmed": found is not None and found.successful,
        "ledger": [(e.kind.value, e.cents, e.reference) for e in utility.css.ledger(ACCOUNT)],
        "requests": [r.message_id for r in utility.adcs.requests()],
    }
    say("done", json.dumps(said))
    await utility.close()
    await clock.close()


def main() -> None:
    directory, line = Path(sys.argv[1]), sys.argv[2]
    while given := sys.stdin.readline():
        number, payment_id, cents = given.split()
        child = os.fork()
        if child == 0:
            asyncio.run(pay(directory, line, int(number), payment_id, int(cents)))
            os._exit(0)
        say("pid", child)
        # Dead, it keeps its number until it has been seen: whoever shoots hits nobody else.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say("over")
        sys.stdin.readline()
        _, status = os.waitpid(child, 0)
        say("ended", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
