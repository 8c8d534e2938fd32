"""C12.18 against frames captured from a public client, round trips, and what happens to bytes that are neither."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.wire import c1218
from drivers.wire.c1218 import (
    ACK,
    NAK,
    BadRequest,
    Declined,
    Deframer,
    Ident,
    IdentResponse,
    Logoff,
    Logon,
    Negotiate,
    NegotiateResponse,
    Packet,
    Read,
    ReadPart,
    ReadResponse,
    Result,
    Security,
    Signal,
    Station,
    Terminate,
    TooLong,
    Wait,
    WireError,
    Write,
    WritePart,
    decode_request,
)

IDENT = bytes.fromhex("EE 00 00 00 00 01 20 13 10")
READ_1 = bytes.fromhex("EE 00 00 00 00 03 30 00 01 55 0D")


def test_a_packet_is_the_captured_frame() -> None:
    assert Packet(Ident().encode()).encode() == IDENT
    assert Packet(Read(1).encode()).encode() == READ_1
    assert Packet.decode(READ_1).data == b"\x30\x00\x01"


def test_the_write_of_a_procedure_call_is_the_captured_one() -> None:
    assert Write(7, bytes.fromhex("15 00 B5 01")).encode() == bytes.fromhex("40 00 07 00 04 15 00 B5 01 35")


def test_the_crc_has_the_published_check_value_of_x25() -> None:
    assert c1218.crc16(b"123456789") == 0x906E


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (Terminate(), "21"),
        (Logoff(), "52"),
        (Wait(5), "70 05"),
        (ReadPart(2054, 12, 38), "3F 08 06 00 00 0C 00 26"),
        (WritePart(2061, 0, b"\x84\x03"), "4F 08 0D 00 00 00 00 02 84 03 79"),
        (Logon(2, "lab"), "50 00 02 6C 61 62 20 20 20 20 20 20 20"),
        (Security(b"abc"), "51 61 62 63" + " 00" * 17),
        (Negotiate(1024, 16), "60 04 00 10"),
        (Negotiate(1024, 16, (6, 10)), "62 04 00 10 06 0A"),
    ],
)
def test_a_request_goes_over_the_wire_as_the_standard_says(request_: c1218.Request, wire: str) -> None:
    assert request_.encode() == bytes.fromhex(wire)
    assert decode_request(bytes.fromhex(wire)) == request_


def test_responses_as_the_facts_show_them() -> None:
    assert IdentResponse.decode(bytes.fromhex("00 00 01 00 00")) == IdentResponse(0, 1, 0)
    assert IdentResponse().encode() == bytes.fromhex("00 00 01 00 00")
    assert NegotiateResponse.decode(bytes.fromhex("00 04 00 10 06")) == NegotiateResponse(1024, 16, 6)
    assert ReadResponse(b"\x01\x02").encode() == bytes.fromhex("00 00 02 01 02 FD")


def test_a_refusal_names_its_code() -> None:
    with pytest.raises(Declined, match=r"onp \(operation not possible\)") as no:
        c1218.bare(b"\x04")
    assert no.value.result is Result.ONP
    with pytest.raises(Declined, match="code 77"):
        c1218.bare(b"\x4d")


def test_a_wrong_table_checksum_is_noticed_both_ways() -> None:
    with pytest.raises(WireError, match="checksum"):
        ReadResponse.decode(bytes.fromhex("00 00 02 01 02 FC"))
    with pytest.raises(BadRequest, match="checksum") as no:
        decode_request(bytes.fromhex("40 00 07 00 04 15 00 B5 01 36"))
    assert no.value.result is Result.ERR


def test_an_unknown_service_is_answered_with_sns() -> None:
    with pytest.raises(BadRequest) as no:
        decode_request(b"\x99")
    assert no.value.result is Result.SNS


def test_a_password_shows_nowhere() -> None:
    assert "secret" not in repr(Security(b"secret"))


packets = st.builds(
    Packet,
    st.binary(max_size=56),
    st.integers(0, 255),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 255),
)


@given(packets, st.data())
def test_a_packet_survives_the_wire_in_any_pieces(packet: Packet, data: st.DataObject) -> None:
    stream = ACK + packet.encode() + NAK
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    deframer = Deframer()
    found = [
        item
        for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for item in deframer.feed(stream[a:b])
    ]  # fmt: skip
    assert found == [Signal.ACK, packet, Signal.NAK]
    assert not deframer.unsettled


@given(st.binary(max_size=300), st.booleans())
def test_after_any_noise_and_a_rest_a_packet_is_found(noise: bytes, rests: bool) -> None:
    deframer = Deframer()
    deframer.feed(noise)
    if rests:
        deframer.quiet()
        assert deframer.feed(IDENT) == [Packet(b"\x20")]
    else:
        assert Packet(b"\x20") in deframer.feed(IDENT) + deframer.quiet()


def test_an_acknowledgement_inside_a_broken_packet_is_none() -> None:
    broken = bytearray(Packet(b"\x06\x06\x06\x15").encode())
    broken[-1] ^= 1
    assert Deframer().feed(bytes(broken)) == [Signal.BAD]


@pytest.mark.parametrize("data", [b"\x20", b"\x50\x00\x02\xee\x00\x00\x00\x00\x20", b"\xee\xee\xee"])
def test_a_broken_packet_is_told_of_once_and_again_only_where_more_came(data: bytes) -> None:
    broken = bytearray(Packet(data).encode())
    broken[-1] ^= 1
    deframer = Deframer()
    assert deframer.feed(bytes(broken)) == [Signal.BAD]
    assert deframer.quiet() == []
    assert not deframer.unsettled
    assert deframer.feed(IDENT) == [Packet(b"\x20")]
    assert deframer.feed(bytes(broken)) == [Signal.BAD]
    assert deframer.feed(b"\x42\x42") == []
    assert deframer.quiet() == [Signal.BAD]


@given(packets, st.integers(1, 255), st.data())
def test_a_station_asks_for_a_packet_with_a_wrong_crc_exactly_once(
    packet: Packet, hit: int, data: st.DataObject
) -> None:
    broken = bytearray(packet.encode())
    broken[-1] ^= hit
    device = Station(answers=True)
    cut = data.draw(st.integers(0, len(broken)))
    for piece in (broken[:cut], broken[cut:]):
        device.feed(bytes(piece))
    device.quiet()
    device.quiet()
    assert device.take() == NAK


def test_a_packet_with_a_broken_start_is_asked_for_once_the_line_rests() -> None:
    deframer = Deframer()
    assert deframer.feed(b"\xef" + IDENT[1:]) == []
    assert deframer.unsettled
    assert deframer.quiet() == [Signal.BAD]
    assert not deframer.unsettled


def test_a_repetition_that_is_broken_too_is_known_without_a_rest() -> None:
    broken = bytearray(Packet(bytes(range(0xE0, 0xF0))).encode())
    broken[-1] ^= 1
    deframer = Deframer()
    assert deframer.feed(bytes(broken)) == [Signal.BAD]
    for at in range(len(broken) - 1):  # in pieces, as a UART brings it
        assert deframer.feed(broken[at : at + 1]) == []
    assert deframer.feed(broken[-1:]) == [Signal.BAD]
    assert deframer.feed(IDENT) == [Packet(b"\x20")]
    assert not deframer.unsettled


def test_the_rest_of_a_packet_cut_short_is_no_second_one() -> None:
    broken = bytearray(Packet(bytes(20)).encode())
    broken[5] = 3
    deframer = Deframer()
    assert deframer.feed(bytes(broken[:11])) == [Signal.BAD]
    assert deframer.feed(bytes(broken[11:])) == []
    assert deframer.feed(IDENT) == [Packet(b"\x20")]


def test_a_line_may_rest_for_an_adapters_latency_and_some_characters() -> None:
    assert c1218.rest_s(9600) - c1218.rest_s(57600) == pytest.approx(4 * 10 / 9600 - 4 * 10 / 57600)
    assert c1218.rest_s(57600) > 0.016


def test_a_header_that_announces_too_much_does_not_swallow_what_follows() -> None:
    assert Deframer(56).feed(bytes.fromhex("EE 00 00 00 00 FF") + IDENT) == [Packet(b"\x20")]


def pair(size: int = 64, packets: int = 1) -> tuple[Station, Station]:
    host, device = Station(answers=False), Station(answers=True)
    for station in (host, device):
        station.resize(size, packets)
    return host, device


def test_a_request_twice_on_the_line_is_answered_twice_and_taken_once() -> None:
    host, device = pair()
    host.send(b"\x20")
    frame = host.take()
    assert device.feed(frame) == [b"\x20"]
    device.send(b"\x00")
    first = device.take()
    assert device.feed(frame) == []
    assert device.take() == first
    assert host.feed(first) == [b"\x00"]
    assert host.feed(first) == []


def test_the_toggle_bit_changes_with_every_packet() -> None:
    host, device = pair()
    controls = []
    for _ in range(4):
        host.send(b"\x20")
        controls.append(host.out[-len(IDENT) + 2])
        device.feed(host.take())
        device.send(b"\x00")
        host.feed(device.take())
    assert controls == [0x00, 0x20, 0x00, 0x20]


def test_a_long_message_goes_in_packets_that_count_down() -> None:
    host, device = pair(64, 3)
    message = bytes(range(150))
    host.send(message)
    frames = []
    got: list[bytes] = []
    while not got:
        out = host.take()
        frames.append(out)
        got = device.feed(out)
        host.feed(device.take())
    assert got == [message]
    assert [(frame[2], frame[3]) for frame in frames] == [(0xC0, 2), (0xA0, 1), (0x80, 0)]
    assert all(len(frame) <= 64 for frame in frames)


def test_a_message_beyond_what_was_negotiated_is_refused() -> None:
    host, _ = pair(64, 2)
    with pytest.raises(TooLong, match="113 bytes"):
        host.send(bytes(113))


def test_a_message_that_does_not_fit_drops_nothing_that_is_under_way() -> None:
    host, device = pair(64, 3)
    message = bytes(range(150))
    host.send(message)
    got = device.feed(host.take())
    with pytest.raises(TooLong):
        host.send(bytes(1_000))
    while not got:
        host.feed(device.take())
        got = device.feed(host.take())
    assert got == [message]


def test_a_packet_is_sent_four_times_and_then_given_up() -> None:
    host, _ = pair()
    host.send(b"\x20")
    sent = [host.take()]
    for _ in range(3):
        host.feed(NAK)
        sent.append(host.take())
    assert sent == [IDENT] * 4
    host.feed(NAK)
    assert host.failed
    assert host.take() == b""


def test_an_acknowledgement_that_was_hit_brings_the_packet_again() -> None:
    host, device = pair()
    host.send(b"\x20")
    frame = host.take()
    device.feed(frame)
    device.send(b"\x00")
    answer = device.take()
    assert host.feed(b"\x07") == []
    assert host.quiet() == []
    assert host.take() == frame
    assert not host.asked
    assert device.feed(frame) == []
    assert device.take() == answer
    assert host.feed(answer) == [b"\x00"]


def test_a_packet_asked_for_again_is_known_to_be_until_something_comes() -> None:
    host, _ = pair()
    host.send(b"\x20")
    host.take()
    broken = IDENT[:-1] + bytes((IDENT[-1] ^ 1,))
    host.feed(ACK + broken)
    assert (host.take(), host.asked, host.naks) == (NAK, True, 1)
    host.feed(b"\x00")
    assert not host.asked


def test_a_request_again_begins_an_answers_tries_anew() -> None:
    host, device = pair(64, 3)
    host.send(b"\x20")
    frame = host.take()
    device.feed(frame)
    device.send(bytes(range(150)))
    first = device.take()[1:]
    for _ in range(3):
        device.feed(NAK)
        assert device.take() == first
    device.feed(NAK)
    assert device.failed
    host.expired()
    assert host.take() == frame
    device.feed(frame)
    assert (device.take(), device.failed) == (ACK + first, False)
    device.feed(NAK)
    assert device.take() == first
    got = host.feed(ACK + first)
    while not got:
        device.feed(host.take())
        got = host.feed(device.take())
    assert got == [bytes(range(150))]


def test_after_a_repetition_of_ours_a_refusal_is_believed() -> None:
    host, _ = pair()
    host.send(b"\x20")
    host.feed(ACK + IDENT[:-1] + b"\x00")
    host.take()
    host.expired()
    host.take()
    host.feed(NAK)
    assert host.take() == IDENT


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200), st.integers(1, 200))
def test_a_bad_line_never_makes_a_wrong_message(seed: int, asked: int, answered: int) -> None:
    """Bytes are lost and changed at random: an exchange completes as it should, or its sender knows that it failed."""
    chance = random.Random(seed)

    def spoil(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            dice = chance.random()
            if dice > 0.004:
                out.append(byte ^ 1 << chance.randrange(8) if dice > 0.996 else byte)
        return bytes(out)

    host, device = pair(64, 8)
    for n in range(5):
        request, response = bytes((n,)) + chance.randbytes(asked), bytes((n,)) + chance.randbytes(answered)
        taken: list[bytes] = []
        host.send(request)
        for _ in range(200):
            heard = device.feed(spoil(host.take()))
            heard += device.quiet() if device.unsettled else []
            taken += heard
            if heard:
                device.send(response)
            back = host.feed(spoil(device.take()))
            back += host.quiet() if host.unsettled else []
            if back:
                assert back == [response]
                break
            if not host.out and not device.out and not host.expired():
                break
            if host.failed:
                break
        if host.failed:
            return
        assert taken == [request]


@settings(max_examples=2000, deadline=None)
@given(st.binary(max_size=64))
def test_hostile_requests_and_responses_raise_what_is_named(data: bytes) -> None:
    try:
        request = decode_request(data)
    except BadRequest:
        pass
    else:
        if not isinstance(request, Logon) or request.user.isascii():
            assert decode_request(request.encode()) == request
    for decode in (IdentResponse.decode, NegotiateResponse.decode, ReadResponse.decode, c1218.bare, Packet.decode):
        with contextlib.suppress(Declined, WireError):
            decode(data)
