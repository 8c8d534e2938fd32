"""The mirror as seen by node-opcua, a client that shares no code with the server: `tests/clients/opcua/client.js`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.conftest import Bench
from twins.clock import EPOCH

CLIENT = Path(__file__).parent.parent / "clients" / "opcua"
BASIC, AES = "Basic256Sha256", "Aes256_Sha256_RsaPss"


class Outsider:
    """One session of node-opcua: commands in, answers out."""

    def __init__(self, bench: Bench, pki: Path, policy: str = "None", user: str = "", password: str = "") -> None:
        node = shutil.which("node")
        if node is None or not (CLIENT / "node_modules").is_dir():
            pytest.fail("these tests need node-opcua; run: make node-client")
        command = [node, str(CLIENT / "client.js"), "--endpoint", bench.url, "--pki", str(pki), "--policy", policy]
        if user:
            command += ["--user", user, "--password", password or f"{user}'s secret"]
        self._process = subprocess.Popen(
            [*command, "talk"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.greeting = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 60)
        assert ready, "node-opcua did not answer within 60 s"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def ask(self, command: str, **given: Any) -> Any:
        """The answer to a command; a failure as `{"error": name}`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **given}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["ok"] if "ok" in answer else {"error": answer["error"]["name"]}

    def read(self, *paths: str) -> list[dict[str, Any]]:
        """What the variables at these paths of the bench hold."""
        values: list[dict[str, Any]] = self.ask("read", nodes=[at(path) for path in paths])
        return values

    def call(self, path: str, *arguments: tuple[str, Any]) -> dict[str, Any]:
        """Call the method at a path with (type, value) arguments."""
        parent, _, _ = path.rpartition("/")
        answer: dict[str, Any] = self.ask("call", object=at(parent), method=at(path), arguments=list(arguments))
        return answer

    def close(self) -> None:
        """Hang up as a client should."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


def at(path: str) -> str:
    """The node id of a path of the bench."""
    return f"ns=2;s={path}"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the client keeps its own certificate."""
    return tmp_path_factory.mktemp("pki")


@contextlib.contextmanager
def outsider(bench: Bench, pki: Path, *who: str) -> Iterator[Outsider]:
    """A session for as long as it is needed."""
    session = Outsider(bench, pki, *who)
    try:
        yield session
    finally:
        session.close()


def moment(text: str) -> datetime:
    """A DateTime as JavaScript writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def test_anybody_browses_and_reads_in_the_open_and_does_no_more(bench: Bench, pki: Path) -> None:
    bench.with_relay().with_analyzer()
    for name, model in (("meter", "ami-meter"), ("display", "raven")):
        twin = bench.twin(model, name)
        bench.add(name, model, twin, twin, twin)
    bench.start()
    bench.thread.run(bench.clock.advance(5))
    with outsider(bench, pki) as client:
        assert client.greeting == {"ok": "connected"}
        assert client.ask("read", nodes=["i=2255"])[0]["value"][2] == "urn:twinbench:bench"

        objects = {one["name"]: one for one in client.ask("browse", node="i=85")}
        assert (objects["Bench"]["id"], objects["Bench"]["type"]) == (at("Bench"), at("Types/BenchType"))
        devices = {one["name"]: one["type"] for one in client.ask("browse", node=at("Devices"))}
        types = {"relay": "RelayType", "analyzer": "PowerAnalyzerType", "meter": "MeterType", "display": "DisplayType"}
        assert devices == {name: at(f"Types/{type_name}") for name, type_name in types.items()}
        parts = {one["name"]: one["class"] for one in client.ask("browse", node=at("Devices/relay"))}
        assert parts.items() >= {"Measured": "Object", "Close": "Method", "Faults": "Variable"}.items()
        measured = client.ask("browse", node=at("Devices/analyzer/Measured"), depth=2)
        assert {"Voltage", "PowerFactor", "IntegratedState"} <= {one["name"] for one in measured}
        for device, count in (("analyzer", 13), ("meter", 13), ("display", 7)):
            found = client.ask("browse", node=at(f"Devices/{device}/Measured"), depth=2)
            analog = [one for one in found if one["type"] == "ns=0;i=17497"]  # AnalogUnitType
            assert len(analog) == count, [one["name"] for one in analog]
            for one in analog:
                assert {child["name"] for child in one["children"]} == {"EngineeringUnits", "EURange"}, one
            spans = client.read(*(f"Devices/{device}/Measured/{one['name']}/EURange" for one in analog))
            assert all(span["value"]["low"] < span["value"]["high"] for span in spans), spans

        client.ask(
            "changes", subscription=client.ask("subscribe", nodes=[at("Devices/analyzer/Measured/Power")]), count=1
        )
        power, unit, span, who, closed = client.read(
            "Devices/analyzer/Measured/Power",
            "Devices/analyzer/Measured/Power/EngineeringUnits",
            "Devices/analyzer/Measured/Power/EURange",
            "Devices/relay/Identification/SerialNumber",
            "Devices/relay/Measured/Closed1",
        )
        assert power["value"] == pytest.approx(1200, rel=0.01)
        assert (power["type"], power["status"]) == ("Double", "Good")
        assert EPOCH <= moment(power["source"]) <= EPOCH + timedelta(seconds=5), "bench time"
        assert abs(moment(power["server"]) - datetime.now(UTC)) < timedelta(minutes=1), "real time"
        assert (unit["value"]["displayName"]["text"], unit["value"]["unitId"]) == ("W", 0x575454)
        assert (span["value"]["low"], span["value"]["high"]) == (-12000, 12000)
        assert who["value"] == "SN-relay"
        assert (closed["value"], closed["type"]) == (False, "Boolean")

        assert client.call("Devices/relay/Close", ("Int32", 1)) == {"error": "BadUserAccessDenied"}
        refused = client.ask("write", node=at("Devices/analyzer/Deviation/Power/Limit"), type="Double", value=1.0)
        assert refused == {"error": "BadUserAccessDenied"}
        assert client.read("Devices/relay/Measured/Closed1")[0]["value"] is False
        assert client.read("Devices/nobody")[0]["status"] == "BadNodeIdUnknown"
    assert not any(bench.thread.call(bench.relay.closed))


def test_an_operator_gets_every_change_and_calls_with_good_and_bad_arguments(bench: Bench, pki: Path) -> None:
    bench.with_relay().with_analyzer().start(cadence_s=3600)
    with outsider(bench, pki, BASIC, "olive") as client:
        assert client.greeting == {"ok": "connected"}
        nodes = [at("Devices/analyzer/Modelled/IntegratedEnergy"), at("Devices/relay/Measured/Closed3")]
        everything = client.ask("subscribe", nodes=nodes, interval=20, queue=5000)
        client.ask("changes", subscription=everything, count=2)

        assert client.call("Devices/relay/Close", ("Int32", 3)) == {
            "status": "Good",
            "arguments": ["Good"],
            "outputs": [],
        }
        assert bench.thread.call(bench.relay.closed)[2], "over the wire to the twin"
        assert any(line for line in bench.wire), "the driver's bytes"
        assert client.call("Devices/relay/Close")["status"] == "BadArgumentsMissing"
        assert client.call("Devices/relay/Close", ("Int32", 1), ("Int32", 2))["status"] == "BadTooManyArguments"
        wrong = client.call("Devices/relay/Close", ("String", "three"))
        assert wrong == {"status": "BadTypeMismatch", "arguments": ["BadTypeMismatch"], "outputs": []}
        assert client.call("Devices/relay/Close", ("Int32", 99))["status"] == "BadOutOfRange"
        stray = client.ask(
            "call", object=at("Devices/analyzer"), method=at("Devices/relay/Close"), arguments=[["Int32", 1]]
        )
        assert stray["status"] == "BadMethodInvalid"
        assert (
            client.call("Devices/relay/InjectFault", ("String", "no such"), ("Boolean", True))["status"]
            == "BadInvalidArgument"
        )
        assert client.call("Devices/relay/Open", ("Int32", 3))["status"] == "Good"

        assert client.call("Bench/Clock/Advance", ("Double", 60.0))["status"] == "Good"
        now = client.read("Bench/Clock/Now")[0]
        assert now["type"] == "DateTime"
        assert moment(now["value"]) == moment(now["source"]) == EPOCH + timedelta(seconds=60)

        limit = at("Devices/analyzer/Deviation/Power/Limit")
        assert client.ask("write", node=limit, type="Double", value=2.5) == "Good"
        assert client.read("Devices/analyzer/Deviation/Power/Limit")[0]["value"] == 2.5
        assert client.ask("write", node=limit, type="Double", value=-1.0) == "BadOutOfRange"
        assert client.ask("write", node=limit, type="String", value="much") == "BadTypeMismatch"
        fixed = client.ask("write", node=at("Devices/analyzer/Measured/Power"), type="Double", value=1.0)
        assert fixed == "BadUserAccessDenied"

        switched = [
            one["value"] for one in client.ask("changes", subscription=everything, count=2) if "Closed3" in one["node"]
        ]
        assert switched == [True, False]
        count = 1000

        def publish(n: int) -> None:
            assert bench.mirror is not None
            bench.mirror.publish("analyzer", "integrated_energy_wh", 5000.0 + n)
            if n + 1 < count:
                bench.clock.call_later(0.01, publish, n + 1)

        bench.thread.call(bench.clock.call_later, 0.0, publish, 0)
        bench.thread.run(bench.clock.advance(count * 0.01))
        came = client.ask("changes", subscription=everything, count=count, seconds=20)
        mine = [one for one in came if "IntegratedEnergy" in one["node"] and one["value"] >= 5000.0]
        assert [one["value"] for one in mine] == [5000.0 + n for n in range(count)]
        start = EPOCH + timedelta(seconds=60)
        assert [moment(one["source"]) for one in mine] == [start + timedelta(milliseconds=10) * n for n in range(count)]


def test_the_stronger_policy_and_an_observer_who_may_only_read(bench: Bench, pki: Path) -> None:
    bench.with_relay().start()
    answers: dict[str, Any] = {}

    def observe() -> None:
        with outsider(bench, pki, AES, "otto") as client:
            answers["read"] = client.read("Devices/relay/Measured/Closed1", "Devices/relay/Health/Errors")
            answers["call"] = client.call("Devices/relay/Close", ("Int32", 1))
            limit = at("Devices/relay/Deviation/WithinLimits")
            answers["write"] = client.ask("write", node=limit, type="Boolean", value=True)

    # Each process of node takes a second to start; two at once wait less.
    beside = threading.Thread(target=observe)
    beside.start()
    with outsider(bench, pki, AES, "olive") as client:
        assert client.call("Devices/relay/Close", ("UInt16", 2))["status"] == "Good"
        assert client.read("Devices/relay/Measured/Closed2")[0]["value"] is True
        assert client.call("Devices/relay/Pulse", ("Int32", 2), ("Double", -1))["status"] == "BadOutOfRange"
    beside.join(30)
    assert [one["type"] for one in answers["read"]] == ["Boolean", "Int64"]
    assert answers["call"] == answers["write"] == {"error": "BadUserAccessDenied"}
    assert bench.thread.call(bench.relay.closed)[:2] == (False, True)


def test_who_cannot_show_who_they_are_is_turned_away(bench: Bench, pki: Path) -> None:
    bench.start()
    with outsider(bench, pki, BASIC, "olive", "a guess") as client:
        assert client.greeting["error"]["name"] == "BadUserAccessDenied"
    with outsider(bench, pki, "None", "olive") as client:
        assert "user" in client.greeting["error"]["text"].lower(), "the open endpoint offers no user names"


def test_what_the_mirror_does_not_offer_is_not_to_be_had(bench: Bench, pki: Path) -> None:
    bench.start(anonymous_read=False)
    with outsider(bench, pki, "Aes128_Sha256_RsaOaep", "olive") as client:
        assert "Cannot find an Endpoint" in client.greeting["error"]["text"]
    with outsider(bench, pki) as client:
        assert "error" in client.greeting, "nobody reads without a name"


def test_the_example_in_the_documentation_runs(bench: Bench, tmp_path: Path) -> None:
    bench.with_relay().start()
    page = (Path(__file__).parent.parent.parent / "docs" / "opcua.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    script = tmp_path / "example.js"
    script.write_text(
        example.replace("opc.tcp://127.0.0.1:4840", bench.url).replace("olive's password", "olive's secret")
    )
    environment = {**os.environ, "NODE_PATH": str(CLIENT / "node_modules"), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run(
        ["node", str(script)], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert "Good true 2026-01-05T08:00:00.000Z" in done.stdout.splitlines()
    assert bench.thread.call(bench.relay.closed)[0]
