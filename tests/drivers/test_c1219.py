"""Standard tables: layouts byte by byte, round trips, hostile bytes."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.wire import c1219
from drivers.wire.c1219 import (
    ClockTable,
    GenConfig,
    MfgId,
    Mode,
    ModeStatus,
    ProcedureCall,
    ProcedureResponse,
    ProcedureResult,
    RegisterSizes,
    SetDateTime,
    Source,
    Status,
    TableError,
    UtilityInfo,
)

CONFIG = GenConfig(frozenset({0, 1, 52}), frozenset({0, 13}), frozenset({10, 21}), frozenset({1}), frozenset({7}))


def test_table_0_has_its_fields_where_clients_look_for_them() -> None:
    table = CONFIG.encode()
    assert table[0] & 1 == 0, "little-endian"
    assert table[1] & 7 == 2, "times of six binary bytes"
    assert table[2] & 15 == 11, "registers of 64 bits"
    assert table[7] == 2, "electric"
    assert tuple(table[13:17]) == (7, 2, 3, 1), "bytes of the four sets"
    assert table[19 : 19 + 7] == bytes.fromhex("03 00 00 00 00 00 10")
    assert GenConfig.decode(table) == CONFIG


def test_table_1_is_thirty_two_bytes_of_identity() -> None:
    table = MfgId("TWBN", "AMI-CL20", (1, 0), (1, 2), "0000000000000042")
    assert table.encode() == b"TWBNAMI-CL20\x01\x00\x01\x020000000000000042"
    assert MfgId.decode(table.encode()) == table


def test_a_procedure_call_is_the_captured_one() -> None:
    call = ProcedureCall(21, 0xB5, b"\x01")
    assert call.encode() == bytes.fromhex("15 00 B5 01")
    assert ProcedureCall(2048 + 1, 7).encode() == bytes.fromhex("01 08 07")
    response = ProcedureResponse(21, 0xB5, ProcedureResult.DONE)
    assert response.encode() == bytes.fromhex("15 00 B5 00")
    assert ProcedureResponse.decode(response.encode()) == response


def test_the_clock_is_utc_and_knows_the_day_of_the_week() -> None:
    monday = datetime(2026, 1, 5, 8, 30, 59, tzinfo=UTC)
    table = ClockTable(monday)
    assert table.encode() == bytes.fromhex("1A 01 05 08 1E 3B 11")
    assert ClockTable.decode(table.encode()) == table
    assert SetDateTime.decode(SetDateTime(monday).encode()).when == monday


def test_registers_are_64_bit_thousandths() -> None:
    data = c1219.encode_registers([1_234_567, -1])
    assert data == bytes.fromhex("87 D6 12 00 00 00 00 00 FF FF FF FF FF FF FF FF")
    assert c1219.decode_registers(data) == (1_234_567, -1)
    assert c1219.decode_selection(c1219.encode_selection(c1219.SUMMATIONS)) == (Source.DELIVERED, Source.RECEIVED)


def test_the_other_tables_come_back_as_they_went() -> None:
    status = ModeStatus(Mode.METERING, Status.CLOCK_ERROR | Status.LOW_BATTERY)
    assert status.encode() == bytes.fromhex("01 40 01 00")
    assert ModeStatus.decode(status.encode()) == status
    info = UtilityInfo("Owner", "North", "SP-1", "TB-000001", "C-9", "TOU-A")
    assert len(info.encode()) == 230
    assert UtilityInfo.decode(info.encode()) == info
    assert RegisterSizes.decode(RegisterSizes().encode()) == RegisterSizes()
    assert c1219.decode_device_ident(c1219.encode_device_ident("TB-000001")) == "TB-000001"


@given(st.frozensets(st.integers(0, 400)))
def test_a_set_of_numbers_survives_its_bitmap(chosen: frozenset[int]) -> None:
    assert c1219.numbers(c1219.bitmap(chosen)) == chosen


@pytest.mark.parametrize(
    "encode",
    [
        lambda: MfgId("TOO LONG", "x", (1, 0), (1, 0), "1").encode(),
        lambda: MfgId("TWBN", "x", (1, 0), (256, 0), "1").encode(),
        lambda: c1219.encode_device_ident("Zähler"),
        lambda: ProcedureCall(4096, 1).encode(),
        lambda: c1219.encode_ltime(datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda: c1219.encode_ltime(datetime(1999, 1, 1, tzinfo=UTC)),
        lambda: c1219.encode_registers([1 << 63]),
    ],
)
def test_a_value_that_does_not_fit_is_a_table_error(encode: object) -> None:
    with pytest.raises(TableError):
        encode()  # type: ignore[operator]


DECODERS = (
    GenConfig.decode, MfgId.decode, ModeStatus.decode, UtilityInfo.decode, ProcedureCall.decode, ProcedureResponse.decode,
    RegisterSizes.decode, ClockTable.decode, SetDateTime.decode, c1219.decode_device_ident, c1219.decode_ltime,
    c1219.decode_selection, c1219.decode_registers,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=64),
        st.sampled_from((4, 6, 7, 8, 10, 20, 32, 230)).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    )
)
def test_hostile_tables_raise_the_table_error(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(TableError):
            decode(data)
