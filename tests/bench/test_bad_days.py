"""Bad days on the twin bench, through the real wire: a line that breaks or garbles, a customer who is somebody else,
money that isn't there, a meter without power. Nothing is lost, and what is said is one line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from bench import inventory
from bench.bench import Bench
from bench.certify import certify, opened
from bench.judge.verdict import Verdict
from bench.prepaying import Prepaying
from drivers.errors import LinkLost, Refused
from drivers.roles import AtZero, MessageCode, MeterMessage, ReceiptStatus, Switch
from twins.faces.stream import Disturbance, SerialLine
from twins.utility.adcs import Request
from twins.utility.css import Payment, PrepayRequest
from twins.utility.errors import NotAccepted, Reason
from twins.utility.payments import PaymentMeans, PaymentMethod

SMALL = Path(__file__).with_name("one-of-each.yaml")
TWIN = Path(__file__).parents[2] / "inventory/benches/twin.yaml"
CARD = PaymentMeans(PaymentMethod.CARD, {"number": "4111111111111111", "expiry": "2030-01"})
EMPTY = PaymentMeans(PaymentMethod.CARD, {"number": "4000000000000002", "expiry": "2030-01"})
ACCOUNT = "1001"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench whose meter line gives up sooner, so that a day without it is short."""
    data = yaml.safe_load(SMALL.read_text(encoding="utf-8"))
    data["targets"]["site"]["resources"][2]["SerialLine"]["timeout"] = 0.15
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data))
    bench = Bench(inventory.load(file))
    bench.up(mirror=False)
    yield bench
    bench.down()


@pytest.fixture(scope="module")
def office() -> Iterator[Prepaying]:
    """A bench whose customer service is asked; each test makes its own request."""
    bench = Bench(inventory.load(SMALL))
    bench.up(mirror=False)
    yield Prepaying(bench)
    bench.down()


def line_of(bench: Bench) -> SerialLine:
    face = bench.faces["meter", "optical"]
    assert isinstance(face, SerialLine)
    return face


def one_line(error: BaseException, *says: str) -> None:
    said = str(error)
    assert "\n" not in said
    for piece in says:
        assert piece in said, said


def busy_day(bench: Bench, hours: int = 6) -> None:
    """Load, messages and hours, so that tables have something in them."""
    meter = bench.device("meter")
    meter.connect()
    for number in range(1, 9):
        meter.send(MeterMessage(message_id=number, code=MessageCode.TEXT, issued_at=bench.now, text=f"Note {number}"))
        bench.advance(5)
    bench.advance(3600 * hours)


# --- the line ------------------------------------------------------------------------------------------------------------


def test_a_line_cut_in_the_middle_of_a_table(bench: Bench) -> None:
    busy_day(bench)
    meter, line = bench.device("meter"), line_of(bench)
    whole = meter.log()
    assert len(whole) > 15
    for after in (5, 60, 130, 180, 250):
        line.disturb(Disturbance(cut_after=after))
        with pytest.raises(LinkLost) as caught:
            meter.log()
        assert line.is_cut
        one_line(caught.value, "/dev/pts/", "check")
        line.disturb(Disturbance())
        line.mend()
        assert meter.log() == whole, f"cut after {after} bytes"
    assert list(bench.loop.call(bench.twins["meter"].log)) == list(whole)  # type: ignore[attr-defined]


def send_and_look(meter: Any, message: MeterMessage) -> None:
    """Enough traffic that a line cut after some hundred bytes is cut by it."""
    for _ in range(20):
        meter.send(message)
        meter.receipts()


def test_a_line_cut_while_a_message_is_written_gives_it_once(bench: Bench) -> None:
    """Cut anywhere in the exchange: the same message sent again is applied once."""
    meter, line = bench.device("meter"), line_of(bench)
    for number, after in enumerate((30, 120, 200, 215, 230, 245, 260, 300), 1):
        message = MeterMessage(
            message_id=100 + number,
            code=MessageCode.PREPAYMENT,
            issued_at=bench.now,
            balance_cents=1000 * number,
            credit_wh=5000,
            price_millicents_per_kwh=21_500,
            time_left=timedelta(days=3),
            zero_at=bench.now + timedelta(days=3),
            at_zero=AtZero.DISCONNECT,
        )
        line.disturb(Disturbance(cut_after=after))
        with pytest.raises(LinkLost):
            send_and_look(meter, message)
        line.disturb(Disturbance())
        line.mend()
        meter.send(message)
        bench.advance(10)
        receipts = [r for r in meter.receipts() if r.message_id == 100 + number]
        done = [r for r in receipts if r.status is ReceiptStatus.PROCESSED]
        assert len(done) == 1, f"cut after {after} bytes"
        assert {r.status for r in receipts} <= {ReceiptStatus.PROCESSED, ReceiptStatus.DUPLICATE}
        assert meter.account().balance_cents == 1000 * number


def test_a_line_that_garbles_one_byte_in_a_hundred_loses_nothing(bench: Bench) -> None:
    busy_day(bench)
    meter, line = bench.device("meter"), line_of(bench)
    twin: Any = bench.twins["meter"]
    line.disturb(Disturbance(garble=0.01, seed=20260105))
    for question in ("log", "receipts", "intervals", "account", "display", "service", "clock", "meter_id", "schedule"):
        told, own = getattr(meter, question)(), bench.loop.call(getattr(twin, question))
        if question == "intervals":  # the wire carries whole milliwatt-hours
            own = [replace(interval, energy_wh=round(interval.energy_wh, 3)) for interval in own]
        if isinstance(own, tuple | list):
            told, own = list(told), list(own)
        assert told == own, question
    heard, held = meter.reading(), bench.loop.call(twin.reading)
    assert heard.delivered_wh == pytest.approx(held.delivered_wh, abs=0.001)
    assert heard.power_w == pytest.approx(held.power_w, abs=0.001)
    meter.limit(3000)
    meter.send(MeterMessage(message_id=900, code=MessageCode.TEXT, issued_at=bench.now, text="Through the noise"))
    bench.advance(10)
    assert [r.message_id for r in meter.receipts() if r.message_id == 900] == [900]
    assert meter.service().limit_w == 3000
    line.disturb(Disturbance())
    assert list(meter.log()) == list(bench.loop.call(twin.log))


def test_prepaying_over_a_garbled_line(bench: Bench) -> None:
    line_of(bench).disturb(Disturbance(garble=0.01, seed=11))
    customer = Prepaying(bench)
    customer.prepay(2500)
    assert customer.until_receipt(customer.message_id, 120)
    receipts = [r for r in customer.meter.receipts() if r.message_id == customer.message_id]
    assert [r.status for r in receipts if r.status is not ReceiptStatus.DUPLICATE] == [ReceiptStatus.PROCESSED]
    assert customer.meter.service().switch is Switch.CLOSED
    assert customer.meter.account().balance_cents == 2500
    assert customer.balance_cents() == 2500


# --- a meter without power -----------------------------------------------------------------------------------------------


def test_a_meter_without_power_gets_its_message_later_and_once(bench: Bench) -> None:
    customer = Prepaying(bench)
    relay = bench.device("relay")
    relay.open(1)
    bench.advance(1)
    with pytest.raises(LinkLost) as caught:
        customer.meter.reading()
    one_line(caught.value, "/dev/pts/", "check")
    customer.prepay(2500)
    bench.advance(60)
    assert not customer.ask(customer.adcs.message, customer.message_id).accepted_at
    assert customer.balance_cents() == 2500, "what was paid stands in the ledger, whatever becomes of the meter"
    relay.close(1)
    assert customer.until_receipt(customer.message_id, 1800)
    bench.advance(120)
    receipts = [r for r in customer.meter.receipts() if r.message_id == customer.message_id]
    assert [r.status for r in receipts] == [ReceiptStatus.PROCESSED]
    assert customer.meter.account().balance_cents == 2500
    assert customer.balance_cents() == 2500
    assert customer.meter.service().switch is Switch.CLOSED
    assert [entry.cents for entry in customer.ask(customer.css.ledger, ACCOUNT) if entry.cents > 0] == [2500]


def test_a_network_that_is_cut_holds_messages_in_order(bench: Bench) -> None:
    customer = Prepaying(bench)
    network = bench.utility.network
    customer.ask(network.cut, "TB-0001")
    ids = [customer.submit(MessageCode.TEXT, text=f"Note {k}") for k in range(4)]
    bench.advance(120)
    assert not [r for r in customer.meter.receipts() if r.message_id in ids]
    customer.ask(network.mend, "TB-0001")
    assert customer.until_receipt(ids[-1], 1800)
    assert [r.message_id for r in customer.meter.receipts() if r.message_id in ids] == ids


# --- a source or load that switches itself off --------------------------------------------------------------------------


def impatient(tmp_path: Path) -> Path:
    """The twin bench without ceilings, whose meter line gives up sooner, with something at its line side to be shorted."""
    data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    (line,) = [r["SerialLine"] for r in data["targets"]["site"]["resources"] if "meter" in str(r)]
    line["timeout"] = 0.15
    section = data["twinbench"]
    section["safety"] = {}
    section["wiring"].append({"load": "clip", "behind": "line-side", "kind": "current", "value": 0})
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


@pytest.fixture
def powered(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(inventory.load(impatient(tmp_path)))
    bench.up(mirror=False)
    yield bench
    bench.down()


def trip_it(bench: Bench) -> str:
    bench.call(bench.twins["source"].inject, "trip_overcurrent")
    return "OCP (set to 240 V and 8 A)"


def exceed_its_range(bench: Bench) -> str:
    bench.device("source").set_limits(264, 16)  # its higher range of voltage gives 8 A all the same
    bench.device("meter").connect()
    bench.device("load").set_current(9)
    return "OCP (set to 240 V and 16 A)"


def short_its_output(bench: Bench) -> str:
    bench.call(bench.site.load("clip").set, kind="impedance", value=1.0)
    return "SHT (set to 240 V and 8 A)"


@pytest.mark.parametrize("happens", [trip_it, exceed_its_range, short_its_output])
def test_a_source_that_trips_in_a_run_is_named_and_not_the_meter_s_line(
    powered: Bench, happens: Callable[[Bench], str]
) -> None:
    meter = powered.device("meter")
    assert powered.tripped() is None
    trips = happens(powered)
    for error, ask in (
        (Refused, lambda: powered.advance(60)),
        (Refused, lambda: powered.wait_until(lambda: False, 60)),
        (LinkLost, meter.reading),
        (LinkLost, powered.strategy.provision),
    ):
        with pytest.raises(error) as caught:
            ask()
        said = str(caught.value)
        assert said.startswith("source tripped: " + trips), said
        one_line(caught.value, "see what draws too much or shorts, then clear the trip")
        assert "check line" not in said
    assert powered.tripped() == f"source tripped: {trips}; see what draws too much or shorts, then clear the trip"


def test_a_meter_s_line_is_named_where_nothing_has_tripped(powered: Bench) -> None:
    line_of(powered).cut()
    with pytest.raises(LinkLost) as caught:
        powered.device("meter").reading()
    assert "tripped" not in str(caught.value)
    one_line(caught.value, "check")


def test_a_load_that_merely_has_no_voltage_has_not_tripped(powered: Bench) -> None:
    """The meter's service is off, and the load says so where it is asked for its trips."""
    assert powered.device("load").trips() == ("UV",)
    assert powered.tripped() is None


@pytest.mark.parametrize(
    ("device", "fault", "protection"),
    [("source", "trip_overcurrent", "OCP"), ("load", "trip_overpower", "OPP")],
)
def test_a_trip_in_a_run_is_the_bench_s_error(tmp_path: Path, device: str, fault: str, protection: str) -> None:
    """It happens in the middle of a test: once its meter's clock is set ahead."""

    @contextlib.contextmanager
    def tripping(bench_file: Path, **given: Any) -> Iterator[Bench]:
        with opened(bench_file, **given) as bench:
            once = iter([fault])

            def trip(command: str, args: tuple[Any, ...]) -> None:
                if command == "set_clock" and args[0] - bench.now > timedelta(minutes=1):
                    for one in once:
                        bench.call(bench.twins[device].inject, one)

            bench.drivers["meter"].commanded.append(trip)
            yield bench

    file, quiet = impatient(tmp_path), Console(quiet=True)
    result = certify(file, only=("C3-FR-05",), open_bench=tripping, out=tmp_path / "r", console=quiet)
    (judged,) = result.judged
    assert judged.verdict is Verdict.ERROR
    assert re.search(rf"\b{device} tripped: .*\b{protection}\b", judged.checks[-1].reason)


def test_an_analyzer_on_too_small_a_range_decides_nothing(tmp_path: Path) -> None:
    data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    (strategy,) = [d["SiteStrategy"] for d in data["targets"]["site"]["drivers"] if "SiteStrategy" in d]
    strategy["current_range_a"] = 0.5
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data))
    result = certify(file, only=("C3-FR-19",), out=tmp_path / "r", console=Console(quiet=True))
    (judged,) = result.judged
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert any("over range" in check.reason for check in judged.checks)


def test_time_that_a_meter_lived_twice_is_not_what_its_energy_is_judged_by(tmp_path: Path) -> None:
    """One requirement sets the meter's clock forward by more than an interval, and back; the next is about an interval."""
    data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    (strategy,) = [d["SiteStrategy"] for d in data["targets"]["site"]["drivers"] if "SiteStrategy" in d]
    strategy["interval_min"] = 1
    file = tmp_path / "bench.yaml"
    file.write_text(yaml.safe_dump(data))
    result = certify(file, only=("C3-FR-05", "C3-FR-19"), out=tmp_path / "r", console=Console(quiet=True))
    assert {judged.id: judged.verdict for judged in result.judged} == dict.fromkeys(
        ("C3-FR-05", "C3-FR-19"), Verdict.PASS
    )


# --- customers and money ----------------------------------------------------------------------------------------------------


def paying(office: Prepaying) -> Prepaying:
    """A customer whose identity is confirmed."""
    office.request()
    assert office.identify() is not None
    return office


def payment(office: Prepaying, payment_id: str, cents: int, means: PaymentMeans = CARD) -> Payment:
    return Payment(
        payment_id=payment_id,
        request_id=office.request_id,
        account_number=ACCOUNT,
        amount_cents=cents,
        means=means,
        at_zero=AtZero.DISCONNECT,
    )


def books(office: Prepaying) -> tuple[Any, ...]:
    css = office.css
    return tuple(office.ask(what, ACCOUNT) for what in (css.ledger, css.postings, css.balance_cents, css.commands))


@pytest.mark.parametrize(
    ("cents", "means", "reason", "says"),
    [
        (0, CARD, Reason.AMOUNT_NOT_POSITIVE, "0"),
        (-500, CARD, Reason.AMOUNT_NOT_POSITIVE, "-5"),
        (999, CARD, Reason.BELOW_MINIMUM, "10.00"),
        (1000, EMPTY, Reason.DECLINED, "declined"),
        (1000, PaymentMeans(PaymentMethod.CARD, {"number": "4111111111111111"}), Reason.PAYMENT_DATA_MISSING, "expiry"),
    ],
)
def test_money_that_is_not_there_moves_nothing(
    office: Prepaying, cents: int, means: PaymentMeans, reason: Reason, says: str
) -> None:
    paying(office)
    before = books(office)
    with pytest.raises(NotAccepted) as caught:
        office.bench.run(office.css.pay(payment(office, f"bad-{reason}-{cents}", cents, means)))
    assert caught.value.reason is reason
    one_line(caught.value, says)
    office.bench.advance(30)
    assert books(office) == before


def test_a_payment_given_twice_is_posted_once(office: Prepaying) -> None:
    paying(office)
    before = office.balance_cents()
    first = office.bench.run(office.css.pay(payment(office, "twice", 1500)))
    again = office.bench.run(office.css.pay(payment(office, "twice", 1500)))
    assert (first.repeated, again.repeated) == (False, True)
    assert (again.posted_at, again.message_id, again.authorization) == (
        first.posted_at,
        first.message_id,
        first.authorization,
    )
    assert office.balance_cents() == before + 1500
    office.bench.advance(30)
    receipts = [r for r in office.meter.receipts() if r.message_id == first.message_id]
    assert [r.status for r in receipts] == [ReceiptStatus.PROCESSED]


def test_a_payment_id_with_another_amount_is_refused(office: Prepaying) -> None:
    paying(office)
    office.bench.run(office.css.pay(payment(office, "reused", 1500)))
    before = books(office)
    with pytest.raises(NotAccepted) as caught:
        office.bench.run(office.css.pay(payment(office, "reused", 2500)))
    assert caught.value.reason is Reason.PAYMENT_ID_REUSED
    one_line(caught.value, "reused")
    assert books(office) == before


def test_a_customer_who_is_not_who_they_say(office: Prepaying) -> None:
    office.request()
    before = books(office)
    for credential in ("correct horse 13", "", "CORRECT HORSE 12"):
        with pytest.raises(NotAccepted) as caught:
            office.ask(office.css.identify, office.request_id, credential)
        assert caught.value.reason is Reason.NOT_THE_CUSTOMER
        one_line(caught.value, str(office.request_id))
        assert "correct horse 12" not in str(caught.value)
    for refused in (
        lambda: office.ask(office.css.estimate, office.request_id),
        lambda: office.bench.run(office.css.pay(payment(office, "somebody else's", 1500))),
    ):
        with pytest.raises(NotAccepted) as caught:
            refused()
        assert caught.value.reason is Reason.IDENTITY_NOT_CONFIRMED
    assert books(office) == before


def test_a_request_for_an_account_that_is_not_there(office: Prepaying) -> None:
    now = office.bench.now
    asked = PrepayRequest(
        account_numbers=("9999",),
        name="Ana Alvarez",
        address="12 Orchard Lane, Riverside",
        credential="correct horse 12",
        starts_at=now,
        ends_at=now + timedelta(days=30),
        channel="phone",
    )

    def ask() -> None:
        office.ask(office.css.identify, office.ask(office.css.log_request, asked), "correct horse 12")

    with pytest.raises(NotAccepted) as caught:
        ask()
    assert caught.value.reason in (Reason.UNKNOWN_ACCOUNT, Reason.NOT_THE_CUSTOMER)
    one_line(caught.value)


def test_a_message_to_a_meter_that_is_not_there(office: Prepaying) -> None:
    with pytest.raises(NotAccepted) as caught:
        office.ask(office.adcs.submit, Request(source="CSS", meter_id="TB-9999", code=MessageCode.CONNECT))
    assert caught.value.reason is Reason.UNKNOWN_METER
    one_line(caught.value, "TB-9999", "TB-0001")


@pytest.mark.parametrize(("fault", "status"), [("wrong_key", "Join: Fail"), ("never_joins", "Network Discovery")])
def test_a_display_that_does_not_join_ends_its_test_with_the_state_of_its_link(
    tmp_path: Path, fault: str, status: str
) -> None:
    @contextlib.contextmanager
    def faulty(bench_file: Path, **given: Any) -> Iterator[Bench]:
        with opened(bench_file, **given) as bench:
            bench.call(bench.twins["display"].inject, fault)
            yield bench

    result = certify(TWIN, only=("C3-NFR-01",), open_bench=faulty, out=tmp_path / "r", console=Console(quiet=True))
    (judged,) = result.judged
    assert judged.verdict is Verdict.ERROR
    assert f"display is not on the meter's network after 60 s: {status}" in judged.checks[-1].reason


def test_a_read_that_is_lost_leaves_load_and_display_as_they_were(tmp_path: Path) -> None:
    """The meter's line is cut while the load draws half and the display asks for nothing: the tests that follow need both."""
    left: dict[str, Any] = {}

    @contextlib.contextmanager
    def cut(bench_file: Path, **given: Any) -> Iterator[Bench]:
        with opened(bench_file, **given) as bench:
            provisioned_a = bench.strategy.load_current_a

            def break_line(command: str, args: tuple[Any, ...]) -> None:
                if command == "set_current" and args[0] < provisioned_a:
                    line_of(bench).cut()

            bench.drivers["load"].commanded.append(break_line)
            yield bench
            assert line_of(bench).is_cut
            twins: dict[str, Any] = bench.twins
            left["current"] = twins["load"].settings.current_a == provisioned_a
            left.update({event: twins["display"].schedules[event].enabled for event in ("summation", "demand")})

    result = certify(
        impatient(tmp_path), only=("C3-NFR-01",), open_bench=cut, out=tmp_path / "r", console=Console(quiet=True)
    )
    (judged,) = result.judged
    assert judged.verdict is Verdict.ERROR
    assert left == {"current": True, "summation": True, "demand": True}
