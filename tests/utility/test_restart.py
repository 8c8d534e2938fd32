"""A utility that dies and comes back on its database: what was committed is done once, and only once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.roles import EventCode, MessageCode, ReceiptStatus
from tests.utility.conftest import ACCOUNT, DECLINED, METER, SILENT, Town, means_of
from twins.utility.adcs import Request
from twins.utility.adcs_records import State
from twins.utility.css.records import PaymentState
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import PaymentMethod

Towns = Callable[..., Town]

_DIES = """
    import asyncio, os, signal, sys
    from tests.conftest import LoopThread
    from tests.utility.conftest import Town

    here = Town(LoopThread(), url=sys.argv[1])
    print(here.pay("P-1", 2_000).message_id, flush=True)
    if sys.argv[2] == "sent":
        here.after(0.9)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(url: str, when: str) -> int:
    """Pay in a process that is killed right after; returns the message id of the command."""
    died = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_DIES), url, when],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    return int(died.stdout)


@pytest.mark.parametrize("when", ["posted", "sent"])
def test_a_payment_survives_a_kill_and_is_sent_once(town: Towns, tmp_path: Path, when: str) -> None:
    url = f"sqlite:///{tmp_path}/utility.db"
    message_id = killed(url, when)
    here = town(url=url)
    assert here.ask(here.utility.css.balance_cents, ACCOUNT) == 2_000
    here.after(30)
    assert [(r.message_id, r.status) for r in here.meter.receipts()] == [(message_id, ReceiptStatus.PROCESSED)]
    assert here.ask(here.utility.css.confirmation, "P-1").successful
    assert len(here.ask(here.utility.adcs.requests)) == 1
    again = here.pay("P-1", 2_000)
    assert again.repeated
    here.after(30)
    assert len(here.meter.receipts()) == 1


def test_what_the_meter_already_has_is_resent_with_its_id_and_done_once(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    posting = here.pay("P-1", 2_000)
    here.after(1.6)  # the meter has the message, its acceptance is on the way
    assert here.ask(here.utility.adcs.message, posting.message_id).state is State.QUEUED
    assert [e.argument for e in here.meter.log() if e.event is EventCode.MESSAGE_RECEIVED] == [posting.message_id]
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(30)
    assert [r.status for r in here.meter.receipts()] == [ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE]
    assert {r.message_id for r in here.meter.receipts()} == {posting.message_id}
    assert here.ask(here.utility.css.confirmation, "P-1").receipt.status is ReceiptStatus.PROCESSED


def test_a_charge_whose_answer_was_never_heard_is_posted_after_a_restart(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    with pytest.raises(NotAccepted):
        here.pay("P-1", 2_000, means=means_of(PaymentMethod.CARD, SILENT))
    with pytest.raises(NotAccepted):
        here.pay("P-2", 2_000, means=means_of(PaymentMethod.CARD, DECLINED))
    here.loop.run(here.utility.close())
    here.utility = here.found(processor=here.utility.processor)
    here.after(20)
    states = {p.payment_id: p.state for p in here.ask(here.utility.css.payments, ACCOUNT)}
    assert states == {"P-1": PaymentState.POSTED, "P-2": PaymentState.DECLINED}
    assert here.ask(here.utility.css.confirmation, "P-1").successful


def test_a_receipt_is_awaited_across_a_restart(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db", options={"processing_s": 10.0})
    posting = here.pay("P-1", 2_000)
    here.after(4)
    assert here.ask(here.utility.adcs.message, posting.message_id).state is State.ACCEPTED
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.after(20)
    assert here.ask(here.utility.adcs.message, posting.message_id).attempts == 1
    assert here.ask(here.utility.css.confirmation, "P-1").successful


def test_history_customers_and_collections_go_on_where_they_were(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db", service_on=True)
    here.pay("P-1", 5_000)
    here.after(2 * 3_600 + 60)
    intervals = here.ask(here.utility.mdms.intervals, METER)
    ledger = here.ask(here.utility.css.ledger, ACCOUNT)
    here.loop.run(here.utility.close())
    here.utility = here.found()
    here.collect()
    assert here.ask(here.utility.mdms.intervals, METER) == intervals
    assert here.ask(here.utility.css.ledger, ACCOUNT) == ledger
    here.after(3_600)
    assert len(here.ask(here.utility.css.ledger, ACCOUNT)) == len(ledger) + 1


def test_message_ids_never_come_twice(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    given = [here.ask(here.utility.adcs.new_message_id) for _ in range(3)]
    here.loop.run(here.utility.close())
    here.utility = here.found()
    given.append(
        here.ask(here.utility.adcs.submit, Request("suite", METER, MessageCode.TEST)),
    )
    assert given == sorted(set(given))


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/utility.db", "no url", "nobase://x"])
def test_a_database_that_cannot_be_opened_is_named(town: Towns, url: str) -> None:
    with pytest.raises(NotAccepted) as caught:
        town(url=url)
    assert caught.value.reason is Reason.NOT_OPEN
    assert "\n" not in str(caught.value)
