"""The MDMS over REST, with a real server and clients that aren't ours: pages, filters, refusals, the live stream, restarts."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.roles import AtZero, MessageCode
from tests.utility.conftest import METER, Town
from twins.utility.adcs import Request
from twins.utility.mdms import Kind
from twins.utility.mdms_rest import meter_data_app
from twins.utility.web import Server, serve

Towns = Callable[..., Town]
TOKEN = "a token of sixteen"
KINDS = ("receipts", "intervals", "logs", "tests", "schedules", "balances")


class Served:
    """A town whose MDMS is served."""

    def __init__(self, here: Town, port: int = 0, patience_s: float = 20.0) -> None:
        self.here = here
        utility = here.utility
        app = meter_data_app(
            here.clock, utility.mdms, utility.meter_data, utility.meters, {"CSS": TOKEN, "web": "w" * 16}
        )
        self.server: Server = here.loop.run(serve(app, "127.0.0.1", port, here.clock, patience_s=patience_s))
        self.client = httpx.Client(
            base_url=self.server.address, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20.0
        )

    @property
    def port(self) -> int:
        return int(self.server.address.rpartition(":")[2])

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, code: MessageCode, **fields: Any) -> int:
        message_id = self.here.ask(self.here.utility.adcs.submit, Request("suite", METER, code, **fields))
        self.here.after(20)
        return int(message_id)

    def close(self) -> None:
        self.client.close()
        self.here.loop.run(self.server.close(), 15)


@pytest.fixture
def served(town: Towns) -> Iterator[Served]:
    made = Served(town(service_on=True))
    yield made
    made.close()


def events(lines: Iterator[str]) -> Iterator[tuple[str, int, Any]]:
    """Event, id and data of a stream."""
    one: dict[str, str] = {}
    for line in lines:
        if line:
            key, _, value = line.partition(": ")
            one[key] = value
        elif "data" in one:
            yield one["event"], int(one["id"]), json.loads(one["data"])
            one = {}


def everything(served: Served) -> None:
    """Something of every kind."""
    here = served.here
    here.pay("P-1", 2_000)
    served.send(MessageCode.TEST)
    start = here.clock.now() + timedelta(days=2)
    served.send(
        MessageCode.SCHEDULE,
        event_id=7,
        starts_at=start,
        ends_at=start + timedelta(hours=1),
        credit_wh=900,
        at_zero=AtZero.LIMIT,
    )
    here.after(3_700)
    here.collect()


def test_everything_can_be_read(served: Served) -> None:
    everything(served)
    mdms = served.here.utility.mdms
    ask = served.here.ask
    lists = {
        "receipts": mdms.receipts,
        "logs": mdms.logs,
        "tests": mdms.test_results,
        "schedules": mdms.schedules,
        "balances": mdms.balances,
        "intervals": mdms.intervals,
    }
    for name, of_meter in lists.items():
        page = served.get(f"/v1/{name}", limit=1_000)
        assert len(page["items"]) == len(ask(of_meter, METER)) > 0, name
    (test,) = served.get("/v1/tests")["items"]
    assert test["value"]["switch"] == "closed"
    assert test["value"]["load_side_voltage_v"] == pytest.approx(240, abs=1)
    assert test["meter_id"] == METER
    (schedule,) = served.get("/v1/schedules")["items"]
    assert (schedule["value"]["event_id"], schedule["value"]["at_zero"]) == (7, "limit")
    assert served.get("/v1/meters") == [METER]


def test_pages_go_on_where_they_stopped(served: Served) -> None:
    whole = served.get("/v1/intervals", limit=1_000)
    assert whole["next"] is None
    items, after = [], 0
    while after is not None:
        page = served.get("/v1/intervals", limit=77, after=after)
        items += page["items"]
        after = page["next"]
    assert items == whole["items"]
    assert len(items) == 40 * 24


def test_a_revised_interval_is_told_anew_and_read_as_it_is_now(served: Served) -> None:
    everything(served)
    here, mdms = served.here, served.here.utility.mdms
    (old,) = here.ask(mdms.intervals, METER, here.clock.now() - timedelta(hours=2))
    latest = here.ask(here.utility.meter_data.latest)
    pages = served.get("/v1/intervals", limit=1_000)["items"]
    here.after(60)
    new = replace(old.value, energy_wh=old.value.energy_wh + 100)
    here.ask(mdms.store_intervals, METER, [old.value, new])
    (read,) = here.ask(mdms.intervals, METER, here.clock.now() - timedelta(hours=2))
    assert (read.value, read.available_at) == (new, here.clock.now())
    assert [p.value for p in here.ask(mdms.received, Kind.INTERVAL, METER)][-2:] == [old.value, new]
    (told,) = here.ask(here.utility.meter_data.feed, latest)
    assert told.stored.value == new
    again = served.get("/v1/intervals", limit=1_000)["items"]
    assert again[:-1] == pages[:-1]
    assert (again[-1]["value"]["energy_wh"], again[-1]["number"]) == (new.energy_wh, pages[-1]["number"] + 1)


def test_time_filters_are_half_open(served: Served) -> None:
    now = served.here.clock.now()
    since, until = now - timedelta(hours=5), now - timedelta(hours=2)
    found = served.get("/v1/intervals", since=since.isoformat(), until=until.isoformat())["items"]
    assert [datetime.fromisoformat(i["value"]["ends_at"]) for i in found] == [
        now - timedelta(hours=h) for h in (4, 3, 2)
    ]
    message_id = served.send(MessageCode.TEXT, text="hello")
    (receipt,) = served.get("/v1/receipts")["items"]
    at = receipt["value"]["completed_at"]
    assert receipt["value"]["message_id"] == message_id
    assert served.get("/v1/receipts", until=at)["items"] == []
    assert served.get("/v1/receipts", since=at)["items"] == [receipt]
    local = datetime.fromisoformat(at).astimezone().isoformat()
    assert served.get("/v1/receipts", since=local, meter=METER)["items"] == [receipt]


def test_date_is_bench_time_and_nothing_is_shown_late(served: Served) -> None:
    served.send(MessageCode.TEXT, text="hello")
    answer = served.client.get("/v1/receipts")
    assert parsedate_to_datetime(answer.headers["date"]) == served.here.clock.now().replace(microsecond=0)
    (receipt,) = answer.json()["items"]
    assert receipt["available_at"] == receipt["received_at"]


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/v1/receipts?metre=x", 422, "metre"),
        ("/v1/receipts?meter=X-9", 404, "X-9"),
        ("/v1/receipts?limit=0", 422, "limit"),
        ("/v1/receipts?limit=1001", 422, "limit"),
        ("/v1/receipts?after=-1", 422, "after"),
        ("/v1/receipts?after=9223372036854775808", 422, "after"),
        ("/v1/receipts?since=2026-01-05T08:00:00", 422, "since"),
        ("/v1/receipts?since=yesterday", 422, "since"),
        ("/v1/receipts?until=0001-01-01T00:00:00%2B14:00", 422, "until"),
        ("/v1/receipts?since=2026-01-05T08:00:00Z&until=2026-01-05T08:00:00Z", 422, "until"),
        ("/v1/stream?kind=rumour", 422, "kind"),
        ("/v1/stream?after=soon", 422, "after"),
        ("/v1/stream?meter=%00", 404, "meter"),
        ("/v1/gossip", 404, "Not Found"),
    ],
)
def test_bad_input_is_answered_in_one_line(served: Served, path: str, status: int, named: str) -> None:
    answer = served.client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert named in detail
    assert "\n" not in detail


def test_only_reading_is_allowed(served: Served) -> None:
    assert served.client.post("/v1/receipts").status_code == 405
    assert served.client.delete("/v1/receipts").status_code == 405


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"])
def test_without_a_token_nothing_is_said_and_it_is_never_logged(
    served: Served, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for path in ("/v1/receipts", "/v1/meters", "/v1/stream", "/v1/receipts?limit=0"):
        answer = httpx.get(served.server.address + path, headers=[(b"authorization", given.encode("latin-1"))])
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
        assert METER not in answer.text
    assert served.client.get("/v1/meters").status_code == 200
    assert TOKEN not in caplog.text.replace(str(served.client.headers), "")


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    name=st.sampled_from(KINDS),
    query=st.lists(
        st.tuples(
            st.sampled_from(["meter", "since", "until", "after", "limit"]) | TEXTS,
            TEXTS
            | st.integers().map(str)
            | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)
            | st.just(METER),
        ),
        max_size=5,
    ),
)
def test_whatever_is_asked_is_answered(served: Served, name: str, query: list[tuple[str, str]]) -> None:
    answer = served.client.get(f"/v1/{name}", params=httpx.QueryParams(query))
    assert answer.status_code in (200, 404, 422)
    if answer.status_code != 200:
        assert "\n" not in answer.json()["detail"]
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_stream_tells_everything_as_it_becomes_available(served: Served) -> None:
    with served.client.stream("GET", "/v1/stream") as answer:
        heard = events(answer.iter_lines())
        assert next(heard)[:2] == ("ready", 0)
        everything(served)
        seen = [next(heard) for _ in range(served.here.ask(served.here.utility.meter_data.latest))]
    assert [number for _, number, _ in seen] == list(range(1, len(seen) + 1))
    assert {kind for kind, _, _ in seen} == {"receipt", "interval", "log", "test", "schedule", "balance"}
    receipts = [data["value"]["message_id"] for kind, _, data in seen if kind == "receipt"]
    assert receipts == [i["value"]["message_id"] for i in served.get("/v1/receipts")["items"]]


def test_the_stream_can_be_of_some_kinds_and_says_what_is_withdrawn(served: Served) -> None:
    with served.client.stream("GET", "/v1/stream", params={"kind": "schedule", "meter": METER}) as answer:
        heard = events(answer.iter_lines())
        next(heard)
        everything(served)
        served.send(MessageCode.CANCEL_SCHEDULE, event_id=7)
        told = [next(heard) for _ in range(2)]
    assert [(kind, data["withdrawn"], data["value"]["event_id"]) for kind, _, data in told] == [
        ("schedule", False, 7),
        ("schedule", True, 7),
    ]


def test_who_comes_back_has_missed_nothing_not_even_over_a_restart(town: Towns, tmp_path: Path) -> None:
    here = town(url=f"sqlite:///{tmp_path}/utility.db", service_on=True)
    served = Served(here)
    with served.client.stream("GET", "/v1/stream") as answer:
        heard = events(answer.iter_lines())
        ready = next(heard)[1]
        first = served.send(MessageCode.TEXT, text="one")
        assert next(heard)[2]["value"]["message_id"] == first
    missed = served.send(MessageCode.TEXT, text="two")
    served.close()
    here.loop.run(here.utility.close())
    here.utility = here.found()
    served = Served(here)
    missed_too = served.send(MessageCode.TEXT, text="three")
    with served.client.stream("GET", "/v1/stream", headers={"Last-Event-ID": str(ready)}) as answer:
        heard = events(answer.iter_lines())
        assert next(heard)[0] == "ready"
        assert [next(heard)[2]["value"]["message_id"] for _ in range(3)] == [first, missed, missed_too]
        last = served.send(MessageCode.TEXT, text="four")
        assert next(heard)[2]["value"]["message_id"] == last
    served.close()


def test_a_listener_who_never_reads_is_dropped_and_hurts_nobody(town: Towns) -> None:
    here = town()
    served = Served(here, patience_s=0.3)
    utility = here.utility
    with socket.create_connection(("127.0.0.1", served.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        request = f"GET /v1/stream HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        deaf.sendall(request.encode())
        heard = b""
        while b"ready" not in heard:
            heard += deaf.recv(64)
        here.ask(utility.mdms.store_receipts, METER, [_receipt(k) for k in range(12_000)])
        while not deaf.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            assert served.get("/v1/receipts", limit=1)["items"]
    served.close()


def _receipt(number: int) -> Any:
    from drivers.roles import Receipt, ReceiptStatus

    at = datetime(2026, 1, 5, tzinfo=UTC)
    return Receipt(number, number, MessageCode.TEXT, METER, ReceiptStatus.PROCESSED, at)


def test_closing_ends_streams_by_themselves(town: Towns) -> None:
    served = Served(town())
    with served.client.stream("GET", "/v1/stream") as answer:
        lines = answer.iter_lines()
        assert next(events(lines))[0] == "ready"
        served.here.loop.run(served.server.close(), 15)
        assert list(events(lines)) == []


def test_the_openapi_document_describes_what_there_is(served: Served) -> None:
    document = httpx.get(f"{served.server.address}/openapi.json").json()
    assert set(document["paths"]) == {"/v1/meters", "/v1/stream", *(f"/v1/{kind}" for kind in KINDS)}
    value = document["components"]["schemas"]["IntervalValue"]["properties"]
    assert set(value) == {"ends_at", "length_s", "energy_wh", "complete"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reads_it_too(served: Served) -> None:
    url = f"{served.server.address}/v1/intervals?limit=2"
    said = subprocess.run(
        ["curl", "--silent", "--fail", "--header", f"Authorization: Bearer {TOKEN}", url],
        capture_output=True,
        check=True,
        timeout=20,
    )
    assert len(json.loads(said.stdout)["items"]) == 2
