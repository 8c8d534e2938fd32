"""Alerts of the ADCS: repeated on their grid until a moment or until taken back, over restarts and silent meters."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drivers.roles import EventCode, MessageCode
from tests.utility.conftest import METER, Town
from twins.utility.adcs_alerts import AlertRequest
from twins.utility.adcs_records import State
from twins.utility.errors import NotAccepted, Reason

Towns = Callable[..., Town]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def request(here: Town, **fields: Any) -> int:
    asked = {"source": "CSS", "meter_id": METER, "text": "Your balance is low", **fields}
    return here.ask(here.utility.adcs.alerts.request, AlertRequest(**asked))


def heard(here: Town) -> list[int]:
    """Whole minutes since the clock's start at which the meter got a text."""
    epoch = here.clock.now().replace(hour=8, minute=0, second=0, microsecond=0)
    texts = [e for e in here.meter.log() if e.message_code is MessageCode.TEXT]
    return [int((e.at - epoch) / MINUTE) for e in texts if e.event is EventCode.MESSAGE_RECEIVED]


def test_an_alert_is_repeated_until_its_end(town: Towns) -> None:
    here = town()
    request(here, every=20 * MINUTE, until=here.clock.now() + HOUR)
    here.after(3 * 3_600)
    assert heard(here) == [0, 20, 40]
    (alert,) = here.ask(here.utility.adcs.alerts.all, METER)
    assert (alert.sendings, alert.next_at) == (3, None)


def test_the_frequency_is_the_utilitys_unless_the_request_names_one_and_can_be_changed(town: Towns) -> None:
    here = town(adcs={"alert_every_s": 1_800})
    alert = request(here)
    here.after(60 * 60 + 60)
    assert heard(here) == [0, 30, 60]
    here.ask(here.utility.adcs.alerts.change, alert, 10 * MINUTE)
    here.after(20 * 60)
    assert heard(here) == [0, 30, 60, 70, 80]
    here.ask(here.utility.adcs.alerts.take_back, alert)
    here.after(3_600)
    assert heard(here) == [0, 30, 60, 70, 80]


def test_an_alert_can_begin_later_and_be_sent_once(town: Towns) -> None:
    here = town()
    request(here, starts_at=here.clock.now() + 5 * MINUTE, once=True)
    here.after(7_200)
    assert heard(here) == [5]


def test_who_was_out_of_reach_is_told_once(town: Towns) -> None:
    here = town()
    here.ask(here.utility.network.cut, METER)
    request(here, every=HOUR)
    here.after(5 * 3_600 - 1_200)
    here.ask(here.utility.network.mend, METER)
    here.after(1_500)
    assert len(heard(here)) == 2  # the latest, when the meter was back, and the one at five hours
    states = [here.ask(here.utility.adcs.message, r.message_id).state for r in here.ask(here.utility.adcs.requests)]
    assert states == [State.CANCELLED] * 4 + [State.DONE] * 2


def test_what_waits_is_withdrawn_when_an_alert_is_taken_back(town: Towns) -> None:
    here = town()
    here.ask(here.utility.network.cut, METER)
    alert = request(here)
    here.after(30)
    here.ask(here.utility.adcs.alerts.take_back, alert)
    here.ask(here.utility.network.mend, METER)
    here.after(7_200)
    assert heard(here) == []


def test_alerts_survive_a_restart_on_their_grid(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db")
    request(here, every=20 * MINUTE, until=here.clock.now() + 2 * HOUR)
    ended = request(here, text="soon over", every=20 * MINUTE, until=here.clock.now() + 30 * MINUTE)
    here.after(60)
    here.loop.run(here.utility.close())
    here.after(50 * 60)
    here.utility = here.found()
    here.after(3 * 3_600)
    assert heard(here) == [0, 0, 51, 60, 80, 100]
    assert next(a for a in here.ask(here.utility.adcs.alerts.all) if a.alert_id == ended).next_at is None


def test_alerts_that_cannot_be_are_refused_in_one_line(town: Towns) -> None:
    here = town()
    now, alerts = here.clock.now(), here.utility.adcs.alerts
    over = request(here, once=True)
    refused: list[tuple[Reason, Callable[[], object]]] = [
        (Reason.UNKNOWN_METER, lambda: request(here, meter_id="X-9")),
        (Reason.INCOMPLETE_REQUEST, lambda: request(here, text="")),
        (Reason.IN_THE_PAST, lambda: request(here, starts_at=now - MINUTE)),
        (Reason.END_BEFORE_START, lambda: request(here, until=now)),
        (Reason.END_BEFORE_START, lambda: request(here, starts_at=now + HOUR, until=now + MINUTE)),
        (Reason.NOT_REPEATABLE, lambda: request(here, every=timedelta(seconds=59))),
        (Reason.UNKNOWN_ALERT, lambda: here.ask(alerts.take_back, 99)),
        (Reason.ALERT_IS_OVER, lambda: here.ask(alerts.take_back, over)),
        (Reason.ALERT_IS_OVER, lambda: here.ask(alerts.change, over, HOUR)),
    ]
    for reason, call in refused:
        with pytest.raises(NotAccepted) as no:
            call()
        assert no.value.reason is reason
        assert "\n" not in str(no.value)
    assert len(here.ask(alerts.all)) == 1
