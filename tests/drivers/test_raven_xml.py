"""The RAVEn's XML between bytes and meaning: notifications as the devices print them, commands as hosts write them, rubbish."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.roles import DisplayedBalance
from drivers.wire import raven_xml as wire
from drivers.wire.raven_xml import Command, Commands, Fragment, Notifications, RavenXmlError

DEMAND = (
    b"<InstantaneousDemand>\r\n"
    b"  <DeviceMacId>0x00158d0000000004</DeviceMacId>\r\n"
    b"  <MeterMacId>0x00178d0000000004</MeterMacId>\r\n"
    b"  <TimeStamp>0x185adc1d</TimeStamp>\r\n"
    b"  <Demand>0x001738</Demand>\r\n"
    b"  <Multiplier>0x00000001</Multiplier>\r\n"
    b"  <Divisor>0x000003e8</Divisor>\r\n"
    b"  <DigitsRight>0x03</DigitsRight>\r\n"
    b"  <DigitsLeft>0x00</DigitsLeft>\r\n"
    b"  <SuppressLeadingZero>Y</SuppressLeadingZero>\r\n"
    b"</InstantaneousDemand>\r\n"
)


CODE, KEY, AUTH = b"83fed3407a932b70", b"cd4fa064773f46941ec986c09963d1a8", b"a1b2c3d4"
SECRETS = (
    b"<DeviceInfo>\r\n  <DeviceMacId>0x00158d0000000004</DeviceMacId>\r\n  <InstallCode>0x"
    + CODE
    + b"</InstallCode>\r\n"
    b"  <LinkKey>0x" + KEY + b"</LinkKey>\r\n  <FWVersion>2.0.0 (7400)</FWVersion>\r\n</DeviceInfo>\r\n"
    b"<MeterInfo>\r\n  <NickName>Mine</NickName>\r\n  <Auth>" + AUTH + b"</Auth>\r\n</MeterInfo>\r\n"
)


# --- Numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(75, 8, "0x0000004b"), (1, 2, "0x01"), (-1, 8, "0xffffffff"), (-500, 8, "0xfffffe0c"), (0, 4, "0x0000")],
)
def test_numbers_are_hexadecimal(value: int, digits: int, text: str) -> None:
    assert wire.number(value, digits) == text


@pytest.mark.parametrize(("value", "digits"), [(256, 2), (-129, 2), (1 << 64, 16)])
def test_a_number_that_does_not_fit_is_refused(value: int, digits: int) -> None:
    with pytest.raises(RavenXmlError, match="fit"):
        wire.number(value, digits)


@pytest.mark.parametrize(
    ("text", "value"), [("0x4B", 75), ("0x4b", 75), (" 0x01 ", 1), ("15", 15), ("0XfF", 255), ("0", 0)]
)
def test_numbers_are_read_hexadecimal_and_decimal(text: str, value: int) -> None:
    assert wire.integer(text) == value


@pytest.mark.parametrize("text", [None, "", "0x", "x1", "1.5", "-1", "0xg", "0x" + "1" * 17, "१२"])
def test_what_is_no_number_is_refused(text: str | None) -> None:
    with pytest.raises(RavenXmlError):
        wire.integer(text)


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        ("0x001738", 5944),
        ("0xfffe0c", -500),
        ("0xfffffe0c", -500),
        ("0x800000", -8388608),
        ("0x7fffff", 8388607),
        ("0x00800000", 8388608),
    ],
)
def test_a_demand_has_a_sign_of_24_bits(text: str, watts: int) -> None:
    assert wire.demand(text) == watts


@given(st.integers(-(1 << 23), (1 << 23) - 1))
def test_a_demand_comes_back(watts: int) -> None:
    assert wire.demand(wire.number(watts)) == watts
    assert wire.demand(f"0x{watts & 0xFFFFFF:06x}") == watts


def test_multiplier_and_divisor_of_zero_count_as_one() -> None:
    assert wire.scaled(5944, "0x00000001", "0x000003e8") == 5.944
    assert wire.scaled(7, "0x00000000", "0x00000000") == 7
    assert wire.scaled(7, None, None) == 7
    assert wire.scaled(7, "0x02", "0x04") == 3.5


@pytest.mark.parametrize(
    ("price", "digits", "millicents"),
    [
        ("0x000053fc", "0x05", 21500),
        ("0x0000000e", "0x02", 14000),
        ("0x00000005", "0x07", 0),
        ("0x00000005", "0x06", 1),
        ("0x00000001", "0x00", 100_000),
        ("0xffffffff", "0x00", None),
    ],
)
def test_a_price_by_its_trailing_digits(price: str, digits: str, millicents: int | None) -> None:
    assert wire.price_millicents(price, digits) == millicents


def test_a_price_with_absurd_digits_is_refused() -> None:
    with pytest.raises(RavenXmlError, match="trailing"):
        wire.price_millicents("0x01", "0xffffffffff")


def test_times_count_from_2000() -> None:
    assert wire.time(datetime(2000, 1, 1, 0, 1, 15, tzinfo=UTC)) == "0x0000004b"
    assert wire.moment("0x185adc1d") == datetime(2012, 12, 12, 6, 9, 33, tzinfo=UTC)
    assert wire.time(None) == "0xffffff"
    assert wire.moment("0xffffff") is None
    assert wire.moment("0xffffffff") is None
    with pytest.raises(RavenXmlError):
        wire.moment("0x1ffffffff")


@pytest.mark.parametrize(("text", "value"), [("Y", True), ("n", False)])
def test_flags(text: str, value: bool) -> None:
    assert wire.flag(text) is value


@pytest.mark.parametrize("text", [None, "", "yes", "1"])
def test_what_is_no_flag_is_refused(text: str | None) -> None:
    with pytest.raises(RavenXmlError):
        wire.flag(text)


# --- Notifications ------------------------------------------------------------------------------------------------------


def test_a_notification_as_the_manual_prints_it() -> None:
    (found,) = Notifications().feed(DEMAND)
    assert found.tag == "InstantaneousDemand"
    assert found.get("Demand") == "0x001738"
    assert found.get("SuppressLeadingZero") == "Y"
    assert found.get("Price") is None
    assert len(found.fields) == 9


def test_our_own_notification_has_the_same_form() -> None:
    fields = [(key, value or "") for key, value in Notifications().feed(DEMAND)[0].fields]
    assert wire.fragment("InstantaneousDemand", fields) == DEMAND


def test_pieces_of_any_size() -> None:
    incoming = Notifications()
    found = [one for k in range(len(DEMAND)) for one in incoming.feed(DEMAND[k : k + 1])]
    assert found == Notifications().feed(DEMAND)


def test_a_repeated_field_keeps_its_order_and_an_empty_one_is_none() -> None:
    (found,) = Notifications().feed(
        b"<MeterList><MeterMacId>0x01</MeterMacId><MeterMacId>0x02</MeterMacId><A/><B></B></MeterList>"
    )
    assert found == Fragment("MeterList", (("MeterMacId", "0x01"), ("MeterMacId", "0x02"), ("A", None), ("B", None)))


def test_a_stream_that_begins_in_the_middle_and_one_that_lost_bytes() -> None:
    incoming = Notifications()
    assert [one.tag for one in incoming.feed(DEMAND[60:] + DEMAND)] == ["InstantaneousDemand"]
    cut = b"<PriceCluster>\r\n  <Price>0x0000" + DEMAND + b"<PriceCluster>\r\n  <Pri"
    assert [one.tag for one in incoming.feed(cut)] == ["InstantaneousDemand"]
    assert [one.tag for one in incoming.feed(DEMAND)] == ["InstantaneousDemand"]
    assert incoming.garbled == 1


def test_a_notification_with_a_broken_field_is_no_notification() -> None:
    incoming = Notifications()
    broken = DEMAND.replace(b"</Demand>", b"</Dem@nd>")
    assert incoming.feed(broken + DEMAND) == Notifications().feed(DEMAND)
    assert incoming.garbled == 1


def test_text_is_escaped_and_in_windows_1252() -> None:
    text = '¿Qué <tal> & "él"? €5, 水'
    data = wire.fragment("MessageCluster", [("Text", text)])
    assert '¿Qué &lt;tal&gt; &amp; "él"? €5, &#27700;'.encode("cp1252") in data
    assert Notifications().feed(data)[0].get("Text") == text


def test_foreign_entities_stay_as_they_are() -> None:
    (found,) = Notifications().feed(b"<Warning><Text>&lol; &#0; &#x110000; &#xD800; &#65; &</Text></Warning>")
    assert found.get("Text") == "&lol; \0 &#x110000; &#xD800; A &"


@given(st.lists(st.tuples(st.sampled_from(["Text", "Id", "Label"]), st.text(max_size=40)), max_size=6))
def test_any_text_comes_back_but_for_control_characters(fields: list[tuple[str, str]]) -> None:
    fields = [(key, "".join(c for c in value if not 0xD800 <= ord(c) < 0xE000)) for key, value in fields]
    (found,) = Notifications().feed(wire.fragment("MessageCluster", fields))
    assert [(k, v or "") for k, v in found.fields] == [
        (k, "".join(c if c >= " " else " " for c in v)) for k, v in fields
    ]


_PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                DEMAND,
                DEMAND[:70],
                b"<PriceCluster>",
                b"</PriceCluster>",
                b"<Warning><Text>Unknown command</Text></Warning>",
                b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
                b"<![CDATA[",
                b"<Command><Name>get_time</name></Command>",
                b"<" * 50,
                b"&#x",
            ]
        ),
    ),
    max_size=12,
)


@pytest.mark.fuzz
@settings(max_examples=5000, deadline=None)
@given(_PIECES)
def test_rubbish_never_hurts_and_a_whole_notification_behind_it_is_found(pieces: list[bytes]) -> None:
    incoming = Notifications()
    for piece in pieces:
        for one in incoming.feed(piece):
            assert one.tag in wire.NOTIFICATIONS
    assert incoming.feed(DEMAND)[-1:] == Notifications().feed(DEMAND)


def test_a_stream_without_an_end_does_not_fill_memory() -> None:
    incoming = Notifications()
    for _ in range(300):
        assert incoming.feed(b"<InstantaneousDemand>" * 50) == []
        assert incoming.feed(b"x" * 1000) == []
    assert len(incoming._text) <= 1 << 14


# --- Commands -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        b"<Command><Name>set_schedule</Name><Event>demand</Event><Frequency>0x0A</Frequency></Command>",
        b"<Command>\r\n  <Name>set_schedule</name>\r\n  <Event>demand</event>\n<Frequency> 0x0A </Frequency>\r\n</Command>\r\n",
        b"<command><name>set_schedule</Name><EVENT>demand</Event>junk<frequency>0x0A</Frequency></COMMAND >",
        b"rubbish<Command><Name>x</Name><Command a='b'><Name>set_schedule</Name><Event>demand</Event>"
        b"<Frequency>0x0A</Frequency></Command>",
    ],
)
def test_a_command_is_read_leniently(written: bytes) -> None:
    (found,) = Commands().feed(written)
    assert found == Command("set_schedule", {"event": "demand", "frequency": "0x0A"})
    assert found.get("Event") == "demand"
    assert found.get("Enabled") is None


def test_our_own_command() -> None:
    data = wire.command("set_schedule", {"Event": "price", "Enabled": "N"})
    assert data == b"<Command><Name>set_schedule</Name><Event>price</Event><Enabled>N</Enabled></Command>"
    assert Commands().feed(data) == [Command("set_schedule", {"event": "price", "enabled": "N"})]


def test_commands_byte_by_byte_and_two_at_once() -> None:
    data = wire.command("get_time") * 2
    incoming = Commands()
    assert [c.name for k in range(len(data)) for c in incoming.feed(data[k : k + 1])] == ["get_time", "get_time"]
    assert [c.name for c in incoming.feed(data)] == ["get_time", "get_time"]


@pytest.mark.parametrize(
    "data", [b"</Command>", b"<Command></Command>", b"<Command><Name></Name></Command>", b"<Command"]
)
def test_what_is_no_command_has_no_name(data: bytes) -> None:
    assert [c.name for c in Commands().feed(data)] in ([], [""])


def test_a_command_that_never_ends_is_forgotten() -> None:
    incoming = Commands()
    assert incoming.feed(b"<Command><Name>restart</Name>" + b"a" * 5000) == []
    assert incoming.feed(b"</Command>") == []
    assert [c.name for c in incoming.feed(wire.command("get_time"))] == ["get_time"]


# --- The prepaid balance as text ----------------------------------------------------------------------------------------

AT = datetime(2026, 1, 5, 8, 0, 2, tzinfo=UTC)


def test_the_vendors_text_of_a_balance() -> None:
    assert wire.parse_balance("PREPAID BALANCE= $123.45 (01/05/2026-08:00:02) 00581kWh") == DisplayedBalance(
        12345, 581_000, AT, None, None
    )


def test_the_profiles_text_of_a_balance() -> None:
    left, zero = timedelta(days=3, hours=4, minutes=5, seconds=59), datetime(2026, 1, 8, 12, 5, 2, tzinfo=UTC)
    text = wire.balance_text(2500, 116_900, AT, left, zero)
    assert text == (
        "PREPAID BALANCE= $25.00 (01/05/2026-08:00:02) 00116kWh TIME LEFT 3 d 04 h 05 min ZERO 01/08/2026-12:05:02"
    )
    assert wire.parse_balance(f"{text} SERVICE ON") == DisplayedBalance(
        2500, 116_000, AT, timedelta(days=3, hours=4, minutes=5), zero
    )


@pytest.mark.parametrize(("cents", "wh", "text"), [(-5, -900, "-$0.05"), (-12345, -2000, "-$123.45"), (0, 0, "$0.00")])
def test_a_balance_at_zero_and_below(cents: int, wh: int, text: str) -> None:
    written = wire.balance_text(cents, wh, AT, timedelta(seconds=-1), None)
    assert f"= {text} (" in written
    assert wire.parse_balance(written) == DisplayedBalance(cents, -(-wh // 1000) * 1000, AT, timedelta(0), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "PREPAID BALANCE= $1 (01/05/2026-08:00:02) 1kWh",
        "PREPAID BALANCE= $1.00 (13/05/2026-08:00:02) 1kWh",
    ],
)
def test_a_text_without_a_balance(text: str) -> None:
    assert wire.parse_balance(text) is None


@given(
    st.integers(-(10**8), 10**8),
    st.integers(-(10**8), 10**8),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.none() | st.timedeltas(timedelta(0), timedelta(days=900)),
)
def test_any_balance_comes_back(cents: int, wh: int, at: datetime, left: timedelta | None) -> None:
    at = at.replace(microsecond=0)
    got = wire.parse_balance(wire.balance_text(cents, wh, at, left, at))
    assert got is not None
    assert (got.balance_cents, got.at, got.zero_at) == (cents, at, at)
    assert abs(got.credit_wh - wh) < 1000
    assert (got.time_left is None) == (left is None)
    assert left is None or timedelta(0) <= left - (got.time_left or timedelta(0)) < timedelta(minutes=1)


# --- What a log may show --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, len(SECRETS)), max_size=8))
def test_keys_and_codes_are_hidden_however_they_come(cuts: list[int]) -> None:
    mask, said = wire.Mask(), b""
    edges = sorted([0, *cuts, len(SECRETS)])
    for start, end in itertools.pairwise(edges):
        said += mask.feed(SECRETS[start:end])
    expected = SECRETS
    for secret in (b"0x" + CODE, b"0x" + KEY, AUTH):
        expected = expected.replace(secret, b"*" * len(secret))
    assert said + mask.rest() == expected


@pytest.mark.parametrize("instead", [b"", b"?", b"<", b">", b"/"])
def test_keys_and_codes_are_hidden_on_a_line_that_garbles(instead: bytes) -> None:
    for k in range(len(SECRETS)):
        mask = wire.Mask()
        said = mask.feed(SECRETS[:k] + instead + SECRETS[k + 1 :]) + mask.rest()
        for secret in (CODE, KEY, AUTH):
            assert secret[:6] not in said, k
            assert secret[-6:] not in said, k


def test_a_stream_that_begins_in_the_middle_shows_no_half_key() -> None:
    for k in range(len(SECRETS)):
        mask = wire.Mask()
        said = mask.feed(SECRETS[k:]) + mask.rest()
        assert KEY[-6:] not in said
        assert CODE[-6:] not in said


def test_all_that_a_display_tells_otherwise_is_shown() -> None:
    assert wire.Mask().feed(DEMAND) == DEMAND
