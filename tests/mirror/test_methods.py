"""From roles to variables and arguments, and arguments against whatever a client may send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers import roles
from twins.mirror.methods import check
from twins.mirror.variables import TABLES, Command, command, difference, field, plain

COMMANDS: list[Command] = [command(table.role, name) for table in TABLES.values() for name in table.commands]


def test_field_names_units_and_types_come_from_the_role() -> None:
    one = field("load_side_voltage_v", float)
    assert (one.name, one.unit and one.unit.shown, one.numeric) == ("LoadSideVoltage", "V", True)
    price = field("account_price_millicents_per_kwh", int)
    assert (price.name, price.unit and price.unit.shown) == ("AccountPrice", "mcent/kWh")
    left = field("time_left", timedelta)
    assert (left.name, left.unit and left.unit.shown) == ("TimeLeft", "s")
    limit = field("limit_w", int | None)
    assert (limit.kind, limit.optional) == (int, True)
    assert not field("energised", bool).numeric
    with pytest.raises(TypeError, match="no variable for it"):
        field("it", dict)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.type_name)
def test_no_two_fields_of_a_role_share_a_name(table: Any) -> None:
    fields = [one for names in table.fields(8) for one in names]
    assert len({one.name for one in fields}) == len({one.key for one in fields}) == len(fields)


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        ("TRIPPED", roles.Switch.TRIPPED),
        ("PREPAYMENT", roles.MessageCode.PREPAYMENT),
        (5400.0, timedelta(minutes=90)),
        (datetime(2026, 1, 5, 8, tzinfo=UTC), datetime.fromisoformat("2026-01-05T00:00:00-08:00")),
        (7, 7),
        (None, None),
    ],
)
def test_values_are_shown_plainly(shown: Any, value: Any) -> None:
    assert plain(value) == shown


def test_differences_are_numbers_or_nothing() -> None:
    assert difference(3.5, 1.0) == 2.5
    assert difference(datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)) == 5.0
    assert difference(timedelta(seconds=1), timedelta(seconds=3)) == -2.0
    assert difference(None, 1.0) is None
    assert difference(float("nan"), 1.0) is None


def test_a_message_is_packed_from_its_fields() -> None:
    send = next(one for one in COMMANDS if one.name == "Send")
    given_values = {
        "MessageId": 7,
        "Code": "LIMIT",
        "IssuedAt": datetime(2026, 1, 5, tzinfo=UTC),
        "Priority": 2,
        "Limit": 3000,
    }
    variants = [ua.Variant(given_values.get(argument.field.name)) for argument in send.arguments]
    values = check(variants, send.arguments)
    assert isinstance(values, list)
    (message,) = send.pack(values)
    issued = datetime(2026, 1, 5, tzinfo=UTC)
    assert message == roles.MeterMessage(7, roles.MessageCode.LIMIT, issued, priority=2, limit_w=3000)


_SCALARS: list[tuple[ua.VariantType, st.SearchStrategy[Any]]] = [
    (ua.VariantType.Null, st.none()),
    (ua.VariantType.Boolean, st.booleans()),
    (ua.VariantType.Int16, st.integers(-(2**15), 2**15 - 1)),
    (ua.VariantType.UInt64, st.integers(0, 2**64 - 1)),
    (ua.VariantType.Int64, st.integers(-(2**63), 2**63 - 1)),
    (ua.VariantType.Float, st.floats(width=32)),
    (ua.VariantType.Double, st.floats()),
    (ua.VariantType.String, st.text(max_size=20) | st.sampled_from(["PREPAID", "LIMIT", "CONNECT"])),
    (ua.VariantType.DateTime, st.datetimes()),
    (ua.VariantType.ByteString, st.binary(max_size=20)),
]
_VARIANTS = st.one_of(
    *[value.map(lambda v, kind=kind: ua.Variant(v, kind)) for kind, value in _SCALARS],  # type: ignore[misc]
    *[st.lists(value, max_size=3).map(lambda v, kind=kind: ua.Variant(v, kind)) for kind, value in _SCALARS[1:]],  # type: ignore[misc]
)


def _whatever_comes(what: Command, variants: list[ua.Variant]) -> None:
    values = check(variants, what.arguments)
    if isinstance(values, ua.CallMethodResult):
        assert values.StatusCode.is_bad()
        assert len(values.InputArgumentResults) in (0, len(variants))
        return
    for value, argument in zip(values, what.arguments, strict=True):
        assert value is None if value is None and argument.field.optional else isinstance(value, argument.field.kind)
    what.pack(values)


@settings(max_examples=200, deadline=None)
@given(what=st.sampled_from(COMMANDS), variants=st.lists(_VARIANTS, max_size=4))
def test_any_arguments_are_taken_or_refused(what: Command, variants: list[ua.Variant]) -> None:
    _whatever_comes(what, variants)


@pytest.mark.fuzz
@settings(max_examples=300, deadline=None)
@given(pool=st.lists(_VARIANTS, min_size=20, max_size=20))
def test_any_arguments_of_the_right_number_are_taken_or_refused(pool: list[ua.Variant]) -> None:
    for turn in range(3):
        for what in COMMANDS:
            pool = pool[turn + 1 :] + pool[: turn + 1]
            _whatever_comes(what, pool[: len(what.arguments)])
