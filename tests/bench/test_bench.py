"""The bench as a whole: up and down, safe however it ends, true to its seed, and honest about what stops it."""

from __future__ import annotations

import dataclasses
import gc
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from bench import garbage, inventory
from bench.bench import Bench, BenchError
from bench.data import BadInput
from drivers.roles import AtZero, MessageCode, MeterMessage, Switch
from drivers.wire.meter_settings import CustomerSettings, Language
from twins.utility.adcs import Request

TWIN = Path(__file__).with_name("one-of-each.yaml")


def bench_of(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> Bench:
    """A bench whose file differs from the small bench's."""
    data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    change(data)
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return Bench(inventory.load(file))


def resource(data: dict[str, Any], cls_name: str) -> dict[str, Any]:
    """The attributes of the resource of a class."""
    (found,) = [one[cls_name] for one in data["targets"]["site"]["resources"] if cls_name in one]
    attributes: dict[str, Any] = found
    return attributes


def left_behind() -> dict[str, Any]:
    """What a bench could leave: threads, listening ports, open pseudo-terminals, files of its own."""
    process = psutil.Process()
    return {
        "threads": sorted(t.name for t in threading.enumerate() if not t.name.startswith("ThreadPoolExecutor")),
        "ports": sorted(c.laddr.port for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN),
        "terminals": len([1 for link in Path("/proc/self/fd").iterdir() if "/pt" in _target(link)]),
        "sockets": len([1 for link in Path("/proc/self/fd").iterdir() if _target(link).startswith("socket:")]),
        "directories": sorted(p.name for p in Path(tempfile.gettempdir()).glob("twinbench-*")),
    }


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary files have a place of their own, and what libraries open once and keep is opened before anybody counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        with Bench(inventory.load(TWIN)):
            pass
        yield


@pytest.fixture(scope="module")
def bench(warm: None) -> Iterator[Bench]:
    """A bench for tests that leave it as provisioned."""
    found = Bench(inventory.load(TWIN))
    found.up(mirror=False)
    yield found
    found.down()


# --- up and down -----------------------------------------------------------------------------------------------------


def test_down_leaves_nothing_behind() -> None:
    before = left_behind()
    bench = Bench(inventory.load(TWIN))
    bench.up()
    during = left_behind()
    assert len(during["threads"]) > len(before["threads"])
    assert len(during["ports"]) == len(before["ports"]) + 2  # analyzer and mirror
    assert during["terminals"] > before["terminals"]
    bench.down()
    assert left_behind() == before
    bench.down()  # harmless when down


def test_nothing_holds_a_bench_that_is_down() -> None:
    """A process of many benches would grow, and stand still the longer for each collection of garbage."""
    whole = inventory.load(Path(__file__).parents[2] / "inventory" / "benches" / "twin.yaml")

    def up_and_down() -> list[weakref.ref[Any]]:
        bench = Bench(whole)
        with bench:
            assert bench.website is not None
            assert bench.mirror is not None
        return [weakref.ref(thing) for thing in (bench, bench.clock, bench.utility, bench.mirror, bench.target)]

    held = up_and_down()
    gc.unfreeze()
    for _ in range(3):  # what ends with a finaliser goes with the next one
        gc.collect()
    assert [thing() for thing in held] == [None] * 5


def test_nobody_looks_through_a_bench_for_garbage_while_it_is_up() -> None:
    assert not garbage.kept_away(), "another bench of this process is up"
    gc.unfreeze()
    few = gc.get_freeze_count()
    with Bench(inventory.load(TWIN)):
        with Bench(inventory.load(TWIN)):
            assert gc.get_freeze_count() > few + 10_000
        assert gc.get_freeze_count() > few + 10_000
    assert gc.get_freeze_count() < few + 1_000


def test_a_bench_comes_up_again_after_it_was_down() -> None:
    bench = Bench(inventory.load(TWIN))
    for _ in range(2):
        bench.up(mirror=False)
        assert bench.device("meter").service().switch is Switch.OPEN
        bench.down()


def test_what_stands_on_it(bench: Bench) -> None:
    found = {one["name"]: one for one in bench.describe()}
    assert set(found) == {"relay", "analyzer", "meter"}
    assert found["meter"]["manufacturer"] == "TWBN"
    assert {one["kind"] for one in found.values()} == {"twin"}
    assert all(one["serial"] and one["firmware"] for one in found.values())
    with pytest.raises(BadInput, match="has no device 'metre'; it has relay, analyzer, meter"):
        bench.device("metre")
    with pytest.raises(BadInput, match="has no device 'metre'"):
        bench.predicted("metre")


def test_provisioned_means_supplied_switched_off_and_without_limit(bench: Bench) -> None:
    assert bench.device("relay").closed()[:3] == (True, True, False)
    service = bench.device("meter").service()
    assert (service.switch, service.limit_w, service.energised) == (Switch.OPEN, None, False)
    assert abs((bench.device("meter").clock() - bench.now).total_seconds()) < 1.5
    assert bench.device("analyzer").ranges() == (300.0, 5.0)


# --- a start that fails ------------------------------------------------------------------------------------------------


def taken() -> socket.socket:
    """A port that somebody has."""
    return socket.create_server(("127.0.0.1", 0))


def fails(bench: Bench, *says: str) -> str:
    """Bring it up, which fails in one line; everything comes down again."""
    before = left_behind()
    with pytest.raises((BenchError, BadInput)) as caught:
        bench.up()
    said = str(caught.value)
    assert "\n" not in said
    for piece in says:
        assert piece in said, f"{piece!r} is not said: {said}"
    assert left_behind() == before
    return said


def test_somebody_else_on_the_link(tmp_path: Path) -> None:
    bench = bench_of(
        tmp_path,
        lambda d: d["twinbench"]["devices"]["analyzer"]["identity"].update(serial="C2PH99999V", model="WT333E"),
    )
    fails(bench, "analyzer", "WT310E", "WT333E", "twinbench.devices.analyzer.identity")
    assert bench.twins["relay"].closed() == (False,) * 8  # type: ignore[attr-defined]


def test_two_links_crossed(tmp_path: Path) -> None:
    """Two analyzers of one kind on each other's cables are told apart by their serial numbers."""

    def crossed(data: dict[str, Any]) -> None:
        data["twinbench"]["devices"]["analyzer"]["identity"]["serial"] = "C2PH00001V"
        data["twinbench"]["devices"]["analyzer"]["options"]["serial"] = "C2PH00002V"

    fails(bench_of(tmp_path, crossed), "analyzer", "serial", "C2PH00001V", "C2PH00002V")


def test_a_board_that_does_not_answer(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, lambda d: resource(d, "ModbusRtuLine").update(device_id=7, timeout=0.1))
    fails(bench, "relay", "/dev/pts/", "unit 7", "check")


def test_a_dead_board_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it may still have on stands in the same line as what it kept from; nothing is logged beside it."""
    bench = bench_of(tmp_path, lambda d: resource(d, "ModbusRtuLine").update(device_id=7, timeout=0.1))
    fails(bench, "relay cannot be switched off", "relay may still be on")
    # pymodbus tells its own log, which nobody is shown
    assert [one.message for one in caplog.records if not one.name.startswith("pymodbus")] == []


def test_a_meter_that_does_not_answer(tmp_path: Path) -> None:
    def dead(data: dict[str, Any]) -> None:
        data["twinbench"]["devices"]["meter"]["faces"]["optical"]["disturbance"] = {"cut_after": 40}
        resource(data, "SerialLine").update(timeout=0.1)

    fails(bench_of(tmp_path, dead), "/dev/pts/", "check")


def test_an_analyzer_whose_port_is_taken(tmp_path: Path) -> None:
    with taken() as somebody:
        address = "{}:{}".format(*somebody.getsockname())
        bench = bench_of(
            tmp_path, lambda d: d["twinbench"]["devices"]["analyzer"]["faces"]["lan"].update(address=address)
        )
        fails(bench, "analyzer/lan", address, "choose another")


def test_a_pty_whose_path_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "optical"
    path.write_text("mine")
    bench = bench_of(
        tmp_path, lambda d: d["twinbench"]["devices"]["meter"]["faces"]["optical"].update(address=str(path))
    )
    fails(bench, "meter/optical", str(path), "exists already")
    assert path.read_text() == "mine"


def test_a_mirror_whose_port_is_taken(tmp_path: Path) -> None:
    with taken() as somebody:
        port = somebody.getsockname()[1]
        bench = bench_of(tmp_path, lambda d: d["twinbench"]["mirror"].update(port=port))
        fails(bench, "mirror", str(port), "mirror.port")
    assert bench.twins["relay"].closed() == (False,) * 8  # type: ignore[attr-defined]


def test_a_mirror_s_user_without_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWINBENCH_NO_SUCH_PASSWORD", raising=False)
    user = {"name": "olga", "role": "operator", "password_env": "TWINBENCH_NO_SUCH_PASSWORD"}
    bench = bench_of(tmp_path, lambda d: d["twinbench"]["mirror"].update(users=[user]))
    fails(bench, "olga", "TWINBENCH_NO_SUCH_PASSWORD", "set it")


def test_a_fixed_path_is_a_link_while_the_bench_is_up(tmp_path: Path) -> None:
    path = tmp_path / "optical"
    bench = bench_of(
        tmp_path, lambda d: d["twinbench"]["devices"]["meter"]["faces"]["optical"].update(address=str(path))
    )
    bench.up(mirror=False)
    assert path.is_symlink()
    assert bench.device("meter").meter_id() == "TB-0001"
    bench.down()
    assert not path.is_symlink()


def test_defects_that_are_not_there(tmp_path: Path) -> None:
    from twins.defects import UnknownDefect

    with pytest.raises((BadInput, UnknownDefect), match="nearest: no_receipt"):
        Bench(inventory.load(TWIN), defects=("no_receipts",))

    def real_meter(data: dict[str, Any]) -> None:
        del data["twinbench"]["devices"]["meter"]["faces"]
        data["twinbench"]["clock"] = {"kind": "wall"}
        resource(data, "SerialLine").update(port="/dev/ttyUSB0")

    bench = bench_of(tmp_path, real_meter)
    with pytest.raises(BadInput, match="nothing here has the defect 'no_receipt', which is one of ami-meter"):
        Bench(bench.inventory, defects=("no_receipt",))


# --- however it ends ---------------------------------------------------------------------------------------------------


class _Stop(Exception):
    pass


@pytest.mark.parametrize("how", [None, _Stop, KeyboardInterrupt, SystemExit])
def test_outputs_are_open_however_it_ends(how: type[BaseException] | None) -> None:
    bench = Bench(inventory.load(TWIN))
    board: Any = None

    def within() -> None:
        nonlocal board
        with bench:
            board = bench.twins["relay"]
            bench.device("relay").close(5)
            assert bench.loop.call(board.closed)[:5] == (True, True, False, False, True)
            if how is not None:
                raise how

    if how is None:
        within()
    else:
        with pytest.raises(how):
            within()
    assert board.closed() == (False,) * 8


def test_an_interrupt_while_it_comes_down_does_not_keep_it_up() -> None:
    bench = Bench(inventory.load(TWIN))
    bench.up(mirror=False)
    board: Any = bench.twins["relay"]
    safe = bench.strategy.transition
    once = iter([KeyboardInterrupt])

    def interrupted(status: str) -> None:
        for error in once:
            raise error
        safe(status)

    bench.strategy.transition = interrupted  # type: ignore[method-assign]
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        bench.down()
    assert board.closed() == (False,) * 8
    assert threading.active_count() < before


def test_a_relay_that_is_gone_does_not_keep_the_rest_up(caplog: pytest.LogCaptureFixture) -> None:
    before = left_behind()
    bench = Bench(inventory.load(TWIN))
    bench.up(mirror=False)
    bench.faces["relay", "bus"].cut()  # type: ignore[attr-defined]
    bench.down()
    assert left_behind() == before
    assert "safe outputs" in caplog.text


# --- the shadow -----------------------------------------------------------------------------------------------------------


def prepayment(message_id: int, now: datetime) -> MeterMessage:
    """A whole prepayment message."""
    return MeterMessage(
        message_id=message_id,
        code=MessageCode.PREPAYMENT,
        issued_at=now,
        balance_cents=2500,
        credit_wh=9000,
        price_millicents_per_kwh=21_500,
        time_left=timedelta(days=3),
        zero_at=now + timedelta(days=3),
        at_zero=AtZero.DISCONNECT,
    )


def test_the_shadow_follows_and_agrees() -> None:
    with Bench(inventory.load(TWIN)) as bench:
        meter, analyzer, relay = (bench.device(name) for name in ("meter", "analyzer", "relay"))
        meter.connect()
        meter.limit(5000)
        bench.advance(2)
        meter.send(prepayment(77, bench.now))
        bench.advance(600)
        for name in ("meter", "analyzer"):
            config = bench.config.devices[name].deviation
            assert config
            device = dataclasses.asdict(meter.reading() if name == "meter" else analyzer.read())
            shadow = bench.predicted(name)
            model = dataclasses.asdict(shadow.reading() if name == "meter" else shadow.read())
            for quantity, limit in config.items():
                assert abs(device[quantity] - model[quantity]) <= limit, quantity
            assert device["power_w"] > 100
        assert bench.predicted("meter").service().limit_w == 5000 == meter.service().limit_w
        assert bench.predicted("meter").account() == meter.account()
        assert meter.account().balance_cents == 2500
        assert [r.message_id for r in bench.predicted("meter").receipts()] == [77]
        assert [r.message_id for r in meter.receipts()] == [77]
        relay.open(2)
        bench.advance(1)
        assert bench.predicted("relay").closed() == relay.closed()
        assert bench.predicted("analyzer").read().current_a == pytest.approx(0, abs=0.01)
        with pytest.raises(AttributeError):
            _ = bench.predicted("meter").no_such_thing


def test_the_shadow_has_no_defect() -> None:
    bench = Bench(inventory.load(TWIN), defects=("no_receipt",))
    bench.up(mirror=False)
    try:
        bench.device("meter").send(prepayment(5, bench.now))
        bench.advance(10)
        assert not bench.device("meter").receipts()
        assert [r.message_id for r in bench.predicted("meter").receipts()] == [5]
    finally:
        bench.down()


# --- one seed, one run -----------------------------------------------------------------------------------------------------


def story(seed: int, *, mirror: bool) -> dict[str, Any]:
    """The same things done on a bench of a seed, and everything that was read."""
    bench = Bench(inventory.load(TWIN), seed=seed)
    bench.up(mirror=mirror)
    try:
        meter, analyzer = bench.device("meter"), bench.device("analyzer")
        readings = []
        for code in (MessageCode.CONNECT, MessageCode.TEST, MessageCode.DISCONNECT, MessageCode.CONNECT):
            bench.call(bench.utility.adcs.submit, Request(source="CSS", meter_id="TB-0001", code=code))
            for _ in range(3):
                bench.advance(20)
                readings.append((bench.now, analyzer.read(), meter.reading(), meter.service()))
        analyzer.start_integration()
        bench.advance(7200)
        return {
            "readings": readings,
            "log": meter.log(),
            "receipts": meter.receipts(),
            "intervals": meter.intervals(),
            "integrated": analyzer.integrated(),
            "transactions": bench.call(bench.utility.adcs.transactions, "TB-0001"),
        }
    finally:
        bench.down()


def test_one_seed_is_one_run_whoever_looks_on() -> None:
    alone, watched, other = story(7, mirror=False), story(7, mirror=True), story(8, mirror=False)
    assert len(alone["receipts"]) == 4
    assert len(alone["intervals"]) >= 2
    for what, value in alone.items():
        assert watched[what] == value, what
    assert other["readings"] != alone["readings"]
    assert other["transactions"] != alone["transactions"]


# --- asking and waiting ---------------------------------------------------------------------------------------------------


def test_time_passes_only_when_it_is_let(bench: Bench) -> None:
    start = bench.now
    bench.device("meter").reading()
    assert bench.now == start
    bench.advance(12.5)
    assert (bench.now - start).total_seconds() == 12.5
    rung: list[datetime] = []
    bench.call(bench.clock.call_later, 5, lambda: rung.append(bench.clock.now()))
    assert bench.wait_until(lambda: bool(rung), 60) is True
    assert rung == [bench.now]
    assert (bench.now - start).total_seconds() == 17.5
    assert bench.wait_until(lambda: False, 3) is False


def test_the_loop_s_own_thread_cannot_ask_itself(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="cannot wait for itself"):
        bench.loop.call(lambda: bench.advance(1))


def test_a_strategy_knows_its_ways(bench: Bench) -> None:
    from labgrid.strategy import StrategyError

    with pytest.raises(StrategyError, match="no site status 'on'; known are off, energised, provisioned"):
        bench.strategy.transition("on")
    with pytest.raises(StrategyError, match="unknown"):
        bench.strategy.transition("unknown")
    bench.strategy.transition("off")
    assert bench.device("relay").closed() == (False,) * 8
    bench.strategy.transition("provisioned")
    assert bench.device("meter").service().switch is Switch.OPEN


def test_a_provisioned_meter_speaks_its_customers_language(bench: Bench) -> None:
    meter, model = bench.device("meter"), bench.predicted("meter")
    meter.set_customer(CustomerSettings(Language.ENGLISH, own_balance=True))
    bench.strategy.provision()
    assert bench.config.utility.customers[0].language == "es"
    assert meter.customer() == model.customer() == CustomerSettings(Language.SPANISH, own_balance=True)
    meter.set_customer(CustomerSettings(Language.SPANISH))
