"""The meter profile: every example of its document is what the codecs make, everything comes back as it went, and
hostile bytes raise the one error that is named."""

from __future__ import annotations

import contextlib
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.roles import (
    Account,
    AtZero,
    Billing,
    DisplayCode,
    DisplayItem,
    EventCode,
    Interval,
    LogEntry,
    MessageCode,
    MeterMessage,
    MeterTestResult,
    Receipt,
    ReceiptStatus,
    ScheduledEvent,
    ServiceStatus,
    Switch,
)
from drivers.wire import c1218, c1219, meter_settings
from drivers.wire import meter_profile as profile
from drivers.wire.c1219 import TableError
from drivers.wire.meter_settings import Rule, TextNumber, Trigger

DOCUMENT = Path(__file__).parents[2] / "docs" / "meter-profile.md"

T0 = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

PREPAYMENT = MeterMessage(
    1001, MessageCode.PREPAYMENT, T0, 2, balance_cents=2500, credit_wh=116_279, price_millicents_per_kwh=21_500,
    time_left=timedelta(days=3, hours=4), at_zero=AtZero.DISCONNECT,
)  # fmt: skip
BALANCE = MeterMessage(
    1002, MessageCode.BALANCE, T0 + HOUR, 5, balance_cents=2470, credit_wh=114_884, time_left=timedelta(hours=75),
    zero_at=T0 + timedelta(hours=76),
)  # fmt: skip
RECEIPT = Receipt(1, 1001, MessageCode.PREPAYMENT, "TB-000001", ReceiptStatus.PROCESSED, T0 + timedelta(seconds=0.5))
ENTRY = LogEntry(2, T0, EventCode.MESSAGE_RECEIVED, MessageCode.PREPAYMENT, 1001)
INTERVAL = profile.NumberedInterval(1, Interval(T0 + HOUR, HOUR, 1199.051, True))
STATUS = ServiceStatus(Switch.CLOSED, True, 239.979, 4.996, None, Billing.PREPAID)
ACCOUNT = Account(
    Billing.PREPAID, 2500, 116_279, 21_500, timedelta(days=3, hours=4), None, AtZero.DISCONNECT, 1001, T0
)  # fmt: skip
EVENT = ScheduledEvent(7, T0 + timedelta(days=2), T0 + timedelta(days=3), 20_000, AtZero.LIMIT)
LINES = (DisplayItem(DisplayCode.BALANCE, "$25.00"), DisplayItem(DisplayCode.SERVICE, "ON"))
TEST = MeterTestResult(1003, T0, True, Switch.CLOSED, True, 240.0, 5.0)

EXAMPLES: dict[str, bytes] = {
    "ident request": c1218.Packet(c1218.Ident().encode()).encode(),
    "ident response": c1218.Packet(c1218.IdentResponse().encode()).encode(),
    "negotiate request": c1218.Negotiate(1024, 16).encode(),
    "negotiate response": c1218.NegotiateResponse(1024, 16, 6).encode(),
    "logon request": c1218.Logon(1, "twinbench").encode(),
    "security request": c1218.Security(b"utility").encode(),
    "read counters": c1218.Read(profile.COUNTERS).encode(),
    "profile": profile.Profile(profile.Feature.SWITCH | profile.Feature.DISPLAY, 64, 16).encode(),
    "counters": profile.Counters(1, 3, 0, 1001, 1, 0, 0, 8).encode(),
    "service": profile.encode_service(STATUS),
    "limit": profile.DemandLimit(3000, False, True, timedelta(seconds=120), 0).encode(),
    "ring head": profile.RingHead(1, 2, 500, 38).encode(),
    "interval": profile.encode_interval(INTERVAL),
    "log entry": profile.encode_log_entry(ENTRY),
    "receipt": profile.encode_receipt(RECEIPT),
    "account": profile.encode_account(ACCOUNT),
    "prepayment message": profile.encode_message(PREPAYMENT),
    "balance message": profile.encode_message(BALANCE),
    "text message": profile.encode_message(MeterMessage(1004, MessageCode.TEXT, T0, text="Hola")),
    "schedule": profile.encode_schedule([EVENT]),
    "display": profile.encode_display(LINES),
    "test result": profile.encode_test_result(TEST),
    "clock": profile.encode_clock(T0),
    "configuration": profile.Config(timedelta(minutes=60), timedelta(hours=-8), True).encode(),
    "limit steps": meter_settings.LimitSteps(4800, (90, 75, 50, 25)).encode(),
    "stored commands": meter_settings.encode_rules(
        [
            Rule(1, Trigger.TIME, profile.LoadControl.DISCONNECT, at=EVENT.starts_at, every=timedelta(days=1)),
            Rule(2, Trigger.ZERO, profile.LoadControl.LIMIT_STEP, 2),
        ]
    ),
    "priorities": meter_settings.encode_priorities({MessageCode.TEXT: 9, MessageCode.DISCONNECT: 0}),
    "customer's settings": meter_settings.CustomerSettings(meter_settings.Language.SPANISH).encode(),
    "local time": meter_settings.LocalTime(
        timedelta(hours=-8), datetime(2026, 3, 8, 10, tzinfo=UTC), timedelta(hours=-7)
    ).encode(),
    "connect call": c1219.ProcedureCall(21, 1, profile.encode_load_control(profile.LoadControl.CONNECT)).encode(),
    "limit call": c1219.ProcedureCall(21, 2, profile.encode_load_control(profile.LoadControl.LIMIT, 3000)).encode(),
    "limit step call": c1219.ProcedureCall(
        21, 2, profile.encode_load_control(profile.LoadControl.LIMIT_STEP, 1)
    ).encode(),
    "credit call": c1219.ProcedureCall(22, 3, profile.encode_credit(500)).encode(),
    "credit response": c1219.ProcedureResponse(22, 3, c1219.ProcedureResult.NOT_AUTHORISED).encode(),
    "set clock call": c1219.ProcedureCall(profile.SET_CLOCK, 4, profile.encode_clock(T0)).encode(),
}


def documented() -> dict[str, bytes]:
    """The examples of the document: blocks fenced as `hex`, each line a name, a colon and bytes."""
    found: dict[str, bytes] = {}
    for block in re.findall(r"```hex\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
        name = ""
        for line in block.splitlines():
            head, colon, rest = line.partition(":")
            if colon:
                name = head.strip()
                assert name not in found, f"{name} stands twice"
                found[name] = b""
            found[name] += bytes.fromhex(rest if colon else line)
    return found


def test_every_example_of_the_document_is_what_the_codecs_make() -> None:
    shown = documented()
    assert {name: data.hex(" ") for name, data in shown.items()} == {
        name: data.hex(" ") for name, data in EXAMPLES.items()
    }


def test_the_document_names_every_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for kind in (
        MessageCode,
        EventCode,
        ReceiptStatus,
        DisplayCode,
        Switch,
        Billing,
        AtZero,
        c1218.Result,
        Trigger,
        TextNumber,
    ):
        for member in kind:
            assert re.search(rf"\b{member.value}\b[^\n]*`{member.name}`", text), f"{kind.__name__}.{member.name}"


def test_the_document_names_every_table_and_its_size() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for number in range(2048, 2067):
        assert f"### Table {number} " in text
    for ring in (profile.INTERVAL_RING, profile.LOG_RING, profile.RECEIPT_RING):
        assert re.search(rf"### Table {ring.table} .*{ring.entry_size} bytes a slot", text)


# --- Round trips -----------------------------------------------------------------------------------------------------

times = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
u32 = st.integers(0, 2**32 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
spans = st.integers(0, 2**32 - 1).map(lambda seconds: timedelta(seconds=seconds))
milli = st.integers(0, 2**32 - 1).map(lambda n: n / 1000)
watts = st.integers(0, 2**32 - 2)
lines = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


messages = st.builds(
    MeterMessage,
    message_id=st.integers(1, 2**32 - 1),
    code=st.sampled_from(MessageCode),
    issued_at=times,
    priority=st.integers(0, 9),
    balance_cents=maybe(i32),
    credit_wh=maybe(i32),
    price_millicents_per_kwh=maybe(u32),
    time_left=maybe(spans),
    zero_at=maybe(times),
    at_zero=maybe(st.sampled_from(AtZero)),
    limit_w=maybe(u32),
    billing=maybe(st.sampled_from(Billing)),
    starts_at=maybe(times),
    ends_at=maybe(times),
    event_id=maybe(u32),
    text=maybe(lines),
)


@given(messages)
def test_a_message_survives_the_wire(message: MeterMessage) -> None:
    missing = [name for name in profile.required_fields(message.code) if getattr(message, name) is None]
    data = profile.encode_message(message)
    if missing:
        with pytest.raises(profile.MalformedMessage, match=missing[0]) as no:
            profile.decode_message(data)
        assert no.value.head == MeterMessage(message.message_id, message.code, message.issued_at, message.priority)
    else:
        assert profile.decode_message(data) == message


def test_a_message_has_a_field_for_everything_the_role_says() -> None:
    known = {"message_id", "code", "issued_at", "priority", "text"} | {name for name, _ in profile._FIELDS}
    assert known == {field.name for field in fields(MeterMessage)}


def test_a_message_with_a_broken_body_keeps_its_head() -> None:
    data = profile.encode_message(PREPAYMENT)
    for spoilt in (data[:-1], data + b"\0", data[:-1] + b"\x09"):
        with pytest.raises(profile.MalformedMessage) as no:
            profile.decode_message(spoilt)
        assert (no.value.head.message_id, no.value.head.code) == (1001, MessageCode.PREPAYMENT)


@pytest.mark.parametrize(("at", "byte"), [(0, 2), (1, 99), (2, 10)])
def test_a_message_whose_head_cannot_be_read_is_none(at: int, byte: int) -> None:
    data = bytearray(profile.encode_message(PREPAYMENT))
    data[at] = byte
    with pytest.raises(TableError) as no:
        profile.decode_message(bytes(data))
    assert not isinstance(no.value, profile.MalformedMessage)


@given(
    st.builds(
        ServiceStatus, st.sampled_from(Switch), st.booleans(), milli, milli, maybe(watts), st.sampled_from(Billing)
    )
)
def test_service_survives_the_wire(status: ServiceStatus) -> None:
    assert profile.decode_service(profile.encode_service(status)) == status


@given(
    st.builds(
        Account, st.sampled_from(Billing), i32, i32, u32, spans, maybe(times), maybe(st.sampled_from(AtZero)), u32,
        maybe(times),
    )
)  # fmt: skip
def test_the_account_survives_the_wire(account: Account) -> None:
    assert profile.decode_account(profile.encode_account(account)) == account


@given(st.lists(st.builds(ScheduledEvent, u32, times, times, i32, st.sampled_from(AtZero)), max_size=5))
def test_the_schedule_survives_the_wire(events: list[ScheduledEvent]) -> None:
    assert profile.decode_schedule(profile.encode_schedule(events)) == tuple(events)


@given(st.lists(st.builds(DisplayItem, st.sampled_from(DisplayCode), lines), max_size=10))
def test_the_display_survives_the_wire(items: list[DisplayItem]) -> None:
    assert profile.decode_display(profile.encode_display(items)) == tuple(items)


@given(
    maybe(st.builds(MeterTestResult, u32, times, st.booleans(), st.sampled_from(Switch), st.booleans(), milli, milli))
)
def test_a_test_result_survives_the_wire(result: MeterTestResult | None) -> None:
    assert profile.decode_test_result(profile.encode_test_result(result)) == result


@given(st.builds(Receipt, u32, u32, st.sampled_from(MessageCode), ids, st.sampled_from(ReceiptStatus), times))
def test_a_receipt_survives_the_wire(receipt: Receipt) -> None:
    assert profile.decode_receipt(profile.encode_receipt(receipt)) == receipt


@given(st.builds(LogEntry, u32, times, st.sampled_from(EventCode), maybe(st.sampled_from(MessageCode)), u32))
def test_a_log_entry_survives_the_wire(entry: LogEntry) -> None:
    assert profile.decode_log_entry(profile.encode_log_entry(entry)) == entry


def test_small_tables_come_back_as_they_went() -> None:
    limit = profile.DemandLimit(None, True, False, timedelta(seconds=120), 3)
    assert profile.DemandLimit.decode(limit.encode()) == limit
    config = profile.Config(timedelta(minutes=15), timedelta(hours=5, minutes=30), False)
    assert profile.Config.decode(config.encode()) == config
    assert profile.decode_interval_length(profile.encode_interval_length(HOUR)) == HOUR
    assert profile.decode_interval_length(config.encode()[slice(*profile.INTERVAL_FIELD)]) == timedelta(minutes=15)
    counters = profile.Counters(1, 2, 3, 4, 5, 6, 7, 8)
    assert profile.Counters.decode(counters.encode()) == counters
    assert profile.decode_load_control(profile.encode_load_control(profile.LoadControl.LIMIT, 5)) == (2, 5)
    assert profile.decode_load_control(b"\x01") == (profile.LoadControl.CONNECT, None)
    assert profile.decode_credit(profile.encode_credit(-5)) == -5


def test_a_later_version_of_the_profile_is_not_misread() -> None:
    with pytest.raises(TableError, match="version 2"):
        profile.Profile.decode(b"\x02" + EXAMPLES["profile"][1:])


# --- Rings -----------------------------------------------------------------------------------------------------------


def ring_of(stored: int, last: int) -> list[LogEntry]:
    return [replace(ENTRY, sequence=n, argument=n) for n in range(last - stored + 1, last + 1)]


@given(st.integers(1, 20), st.integers(0, 60), st.data())
def test_any_part_of_a_ring_is_that_part_of_the_whole(capacity: int, last: int, data: st.DataObject) -> None:
    entries = ring_of(data.draw(st.integers(min(1, last), min(last, capacity))), last)
    ring = profile.LOG_RING
    head = ring.head(entries, capacity)
    whole = ring.read(entries, capacity, 0, head.size)
    assert len(whole) == head.size
    offset = data.draw(st.integers(0, head.size))
    count = data.draw(st.integers(0, head.size - offset))
    assert ring.read(entries, capacity, offset, count) == whole[offset : offset + count]
    assert profile.RingHead.decode(whole[: profile.RingHead.SIZE]) == head


@given(st.integers(1, 20), st.integers(1, 60), st.data())
def test_the_spans_of_a_ring_bring_its_entries_in_order(capacity: int, last: int, data: st.DataObject) -> None:
    entries = ring_of(min(last, capacity), last)
    ring = profile.LOG_RING
    head = ring.head(entries, capacity)
    first = data.draw(st.integers(head.first, head.last))
    read = b"".join(ring.read(entries, capacity, *span) for span in head.spans(first, head.last))
    assert ring.entries(read) == entries[first - head.first :]


def test_a_ring_ends_where_it_ends() -> None:
    with pytest.raises(TableError, match="beyond"):
        profile.LOG_RING.read([], 10, 12, 10 * 18 + 1)


# --- What does not fit, and what is none -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        replace(PREPAYMENT, message_id=0),
        replace(PREPAYMENT, message_id=2**32),
        replace(PREPAYMENT, priority=10),
        replace(PREPAYMENT, balance_cents=2**31),
        replace(PREPAYMENT, time_left=timedelta(seconds=-1)),
        replace(PREPAYMENT, issued_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        replace(PREPAYMENT, text="é" * 81),
    ],
)
def test_a_message_that_does_not_fit_is_a_table_error(message: MeterMessage) -> None:
    with pytest.raises(TableError):
        profile.encode_message(message)


@pytest.mark.parametrize("volts", [float("nan"), float("inf"), -1.0, 5e6])
def test_a_voltage_that_is_none_is_a_table_error(volts: float) -> None:
    with pytest.raises(TableError):
        profile.encode_service(replace(STATUS, load_side_voltage_v=volts))


DECODERS = (
    profile.Profile.decode, profile.Counters.decode, profile.decode_service, profile.DemandLimit.decode,
    profile.RingHead.decode, profile.decode_interval, profile.decode_log_entry, profile.decode_receipt,
    profile.decode_account, profile.decode_message, profile.decode_schedule, profile.decode_display,
    profile.decode_test_result, profile.decode_clock, profile.Config.decode, profile.decode_interval_length,
    profile.decode_load_control, profile.decode_credit, profile.LOG_RING.entries, meter_settings.LimitSteps.decode,
    meter_settings.decode_rules, meter_settings.decode_priorities, meter_settings.CustomerSettings.decode,
    meter_settings.LocalTime.decode,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_hostile_bytes_raise_the_table_error(data: st.DataObject) -> None:
    seed = bytearray(data.draw(st.sampled_from(list(EXAMPLES.values())) | st.binary(max_size=80)))
    for _ in range(data.draw(st.integers(0, 3))):
        if seed:
            seed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    for decode in DECODERS:
        with contextlib.suppress(TableError):
            decode(bytes(seed))
