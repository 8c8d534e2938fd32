"""Codecs of IEEE 488.2 and SCPI against examples of manuals and of real instruments."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.wire.ieee488 import (
    HeaderTable,
    Pattern,
    ProgramError,
    Unit,
    boolean,
    decimal,
    engineering,
    format_block,
    format_error,
    format_floats,
    parse_block,
    parse_error,
    parse_floats,
    parse_message,
    parse_number,
    whole,
    word,
)


def units(message: bytes) -> list[tuple[str, bool, tuple[str, ...]]]:
    return [(":".join(u.mnemonics), u.query, u.arguments) for u in parse_message(message)]


def code_of(message: bytes) -> int:
    with pytest.raises(ProgramError) as no:
        list(parse_message(message))
    return no.value.code


def test_a_unit_without_colon_stays_in_the_subsystem_of_the_one_before():
    assert units(b":INPUT:FILTER:LINE OFF;FREQUENCY ON;:RATE 1S") == [
        ("INPUT:FILTER:LINE", False, ("OFF",)),
        ("INPUT:FILTER:FREQUENCY", False, ("ON",)),
        ("RATE", False, ("1S",)),
    ]


def test_a_path_may_go_on_from_the_subsystem():
    assert units(b":NUM:FORM ASC;NORM:NUM 11;ITEM1 U,1")[2] == ("NUM:NORM:ITEM1", False, ("U", "1"))


def test_a_common_command_leaves_the_subsystem_alone():
    assert units(b":inp:curr:rang?;*idn?;auto?") == [
        ("INP:CURR:RANG", True, ()),
        ("*IDN", True, ()),
        ("INP:CURR:AUTO", True, ()),
    ]


def test_separators_inside_strings_do_not_separate():
    assert units(b":DISP:TEXT 'a;b,c',2;*CLS") == [("DISP:TEXT", False, ("'a;b,c'", "2")), ("*CLS", False, ())]


def test_empty_units_and_white_space_do_no_harm():
    assert units(b" ;; *CLS ; ") == [("*CLS", False, ())]
    assert units(b"  \r") == []


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"#1", 102),
        (b"*", 102),
        (b":RATE??", 111),
        (b"*IDN?5", 111),
        (b":RATE,1", 111),
        (b":RATE 1,,2", 103),
        (b":ABCDEFGHIJKLM 1", 112),
        (b":DISP 'open", 150),
        (b"\xff\xfe", 102),
    ],
)
def test_a_malformed_unit_has_its_own_error(message, code):
    assert code_of(message) == code


def test_units_before_a_malformed_one_come_out_first():
    parsed = parse_message(b"*CLS;@")
    assert next(parsed) == Unit(("*CLS",), False, ())
    with pytest.raises(ProgramError):
        next(parsed)


@pytest.mark.parametrize(
    ("header", "suffixes"),
    [
        ("NUM:ITEM3", (3,)),
        ("NUMERIC:NORMAL:ITEM255", (255,)),
        ("NUM:NORM:ITEM", (1,)),
        ("NUME:ITEM3", None),
        ("NUM:ITEM3:VAL", None),
        ("NUM2:ITEM3", None),
        ("ITEM3", None),
        ("NUM:ITEM9999999999", None),
    ],
)
def test_a_header_matches_in_short_and_long_form_with_optional_nodes(header, suffixes):
    assert Pattern("NUMeric[:NORMal]:ITEM<x>").match(tuple(header.split(":"))) == suffixes


def test_a_response_header_comes_in_both_forms():
    pattern = Pattern("NUMeric[:NORMal]:ITEM<x>")
    assert pattern.header([4]) == ("NUMERIC", "NORMAL", "ITEM4")
    assert pattern.header([4], verbose=False) == ("NUM", "NORM", "ITEM4")


def test_a_prefix_of_a_header_is_a_group():
    assert Pattern("INPut:FILTer:LINE").match(("INP", "FILT"), prefix=True) == ()
    assert Pattern("INPut:FILTer:LINE").match(("INP", "SYNC"), prefix=True) is None


def test_a_table_finds_the_command_behind_a_header():
    table: HeaderTable[str] = HeaderTable()
    table.add("*IDN", "who")
    table.add("STATus:FILTer<x>", "filter")
    assert table.find(("*IDN",)) == ("who", ())
    assert table.find(("STAT", "FILT16")) == ("filter", (16,))
    assert table.find(("STAT", "FILTERS")) is None


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("300", "V", 300.0),
        ("300V", "V", 300.0),
        ("0.3kV", "V", 300.0),
        ("500mA", "A", 0.5),
        ("5MA", "A", 0.005),  # milliampere, not mega
        ("1MAV", "V", 1e6),
        ("1MAA", "A", 1e6),
        ("250MS", "S", 0.25),
        ("2MHZ", "HZ", 2e6),
        ("1.5E1", "", 15.0),
        ("-2.5e-3 K", "V", -2.5),
        (".5", "", 0.5),
        ("1EX", "V", 1e18),
        ("1PEV", "V", 1e15),
        ("1T", "V", 1e12),
        ("1G", "V", 1e9),
        ("1U", "V", 1e-6),
        ("1N", "V", 1e-9),
        ("1P", "V", 1e-12),
        ("1F", "V", 1e-15),
    ],
)
def test_numbers_take_multipliers_and_units(text, unit, value):
    assert decimal(text, unit) == pytest.approx(value, rel=1e-12)


def test_ma_without_unit_letter_after_it_is_mega_unless_the_unit_is_ampere():
    assert decimal("1MA", "V") == 1e6
    assert decimal("1MA", "A") == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("text", "unit", "code"),
    [
        ("ABC", "V", 104),
        ("'1'", "V", 158),
        ("1.2.3", "V", 120),
        ("1E999", "V", 123),
        ("1E99999999999", "V", 123),
        ("1" * 300, "V", 124),
        ("5Q", "V", 131),
        ("5V", "", 138),
        ("5V", "A", 131),
    ],
)
def test_a_bad_number_has_its_own_error(text, unit, code):
    with pytest.raises(ProgramError) as no:
        decimal(text, unit)
    assert no.value.code == code


def test_whole_numbers_round_and_know_other_bases():
    assert [whole(t, 0, 255) for t in ("2.5", "#HFF", "#B101", "#q17")] == [3, 255, 5, 15]
    for text, code in (("256", 222), ("-1", 222), ("#HXX", 120), ("#Z1", 120)):
        with pytest.raises(ProgramError) as no:
            whole(text, 0, 255)
        assert no.value.code == code


def test_booleans_and_words():
    assert [boolean(t) for t in ("on", "OFF", "1", "0", "0.4")] == [True, False, True, False, False]
    assert word("vme", ("RMS", "VMEan", "DC")) == "VMEan"
    assert word("VMEAN", ("RMS", "VMEan", "DC")) == "VMEan"
    for text, code in (("VMEA", 141), ("7", 128), ("'DC'", 158)):
        with pytest.raises(ProgramError) as no:
            word(text, ("RMS", "VMEan", "DC"))
        assert no.value.code == code
    with pytest.raises(ProgramError) as no:
        boolean("MAYBE")
    assert no.value.code == 141


# Replies of real units: 60 V and 5 mA ranges, a WT500 in 300 V and 0.5 A, and range and rate queries.
@pytest.mark.parametrize(
    ("value", "full_scale", "digits", "text"),
    [
        (37.728, 60, 5, "37.728E+00"),
        (0.000146, 0.005, 5, "0.1460E-03"),
        (-0.00077, 0.3, 5, "-0.77E-03"),
        (0.00551, 0.3, 5, "5.51E-03"),
        (-0.1402, 1, 5, "-0.1402E+00"),
        (-98.1, 180, 4, "-98.1E+00"),
        (49.815, 49.815, 5, "49.815E+00"),
        (156.13, 156.13, 5, "156.13E+00"),
        (198.36, 300, 5, "198.36E+00"),
        (0.409, 0.5, 5, "409.00E-03"),
        (81.13, 150, 5, "81.13E+00"),
        (1.0, 1, 4, "1.000E+00"),
        (300.0, 300, 4, "300.0E+00"),
        (0.25, 0.25, 4, "250.0E-03"),
        (-0.0001, 300, 5, "0.00E+00"),
        (1200.0, 1500, 5, "1.2000E+03"),
        (math.nan, 1, 5, "NAN"),
        (math.inf, 1, 5, "INF"),
    ],
)
def test_engineering_numbers_are_those_of_real_units(value, full_scale, digits, text):
    assert engineering(value, full_scale, digits) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_an_engineering_number_holds_the_value_within_its_resolution(value, full_scale):
    assert parse_number(engineering(value, full_scale)) == pytest.approx(value, abs=full_scale * 1e-4, rel=1e-12)


def test_blocks_tell_their_length():
    assert format_block(b"abc") == b"#13abc"
    assert format_block(b"abc", digits=4) == b"#40003abc"
    assert parse_block(b"#40003abc\n") == (b"abc", b"\n")


@pytest.mark.parametrize("data", [b"", b"#", b"#0abc", b"#X", b"abc", b"#2", b"#1a", b"#15abc", b"#3 12abc"])
def test_a_bad_block_is_told(data):
    with pytest.raises(ValueError, match="block"):
        parse_block(data)


@given(st.binary(max_size=300), st.binary(max_size=10))
def test_a_block_comes_back_as_it_was(data, rest):
    assert parse_block(format_block(data) + rest) == (data, rest)


def test_floats_carry_no_data_and_over_range_as_the_manual_says():
    block = format_floats([1.0, math.nan, math.inf], digits=4)
    assert block == b"#40012" + bytes.fromhex("3f800000 7e951bee 7e94f56a")
    one, no_data, over = parse_floats(parse_block(block)[0])
    assert one == 1.0
    assert math.isnan(no_data)
    assert over == math.inf


def test_numbers_of_responses_know_nan_and_inf():
    assert math.isnan(parse_number("NAN"))
    assert parse_number("INF") == math.inf
    assert math.isnan(parse_number("9.91E+37"))
    assert parse_number("9.9E+37") == math.inf
    assert parse_number("156.13E+00") == 156.13


def test_error_entries_come_with_and_without_text():
    assert format_error(113, "Undefined header") == '113,"Undefined header"'
    assert format_error(113, "Undefined header", with_text=False) == "113"
    assert parse_error('113,"Undefined header"\n') == (113, "Undefined header")
    assert parse_error("113") == (113, "Undefined header")
    assert parse_error('-222,"Data out of range;x"') == (-222, "Data out of range;x")
    with pytest.raises(ValueError, match="no entry"):
        parse_error("37.7E+00,1")


@given(st.binary(max_size=80))
def test_any_bytes_are_units_or_a_program_error(data):
    parsed, code = [], 0
    try:
        parsed.extend(parse_message(data))
    except ProgramError as no:
        code = no.code
    assert code in (0, 102, 103, 111, 112, 150)
    assert all(unit.mnemonics for unit in parsed)
