"""What a meter shows and in which words: both languages, the notice of zero, price and cost, local time through the year."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import NotSupported
from drivers.roles import Billing, DisplayCode, MessageCode, ReceiptStatus
from drivers.wire.meter_profile import LONGEST_TEXT
from drivers.wire.meter_settings import CustomerSettings, Language, TextNumber
from tests.conftest import LoopThread
from tests.twins.homes import START, Home, Make
from twins.meters import texts
from twins.meters.timekeeping import next_change

DOCUMENT = Path(__file__).parents[2] / "docs" / "meter-profile.md"
PACIFIC = ZoneInfo("America/Los_Angeles")
SPANISH = CustomerSettings(Language.SPANISH)


# --- Texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", TextNumber)
def test_every_text_is_there_in_both_languages_as_the_document_says(number: TextNumber) -> None:
    english, spanish = (texts.say(number, language) for language in Language)
    row = f"| {number.value} | `{number.name}` | {english} | {spanish} |"
    assert row in DOCUMENT.read_text(encoding="utf-8")
    assert english
    assert english != spanish
    assert all(len(text.encode()) <= LONGEST_TEXT for text in (english, spanish))
    assert english.isascii()


def test_a_text_named_by_its_number_is_said_in_the_language_of_the_moment(home: Make) -> None:
    h = home()
    h.send(MessageCode.TEXT, 1, text="RESTORED", event_id=TextNumber.RESTORED)
    h.after(1)
    assert h.shows(DisplayCode.MESSAGE) == "Your full service has been restored."
    h.loop.call(h.meter.set_customer, SPANISH)
    assert h.shows(DisplayCode.MESSAGE) == "Su servicio completo ha sido restablecido."


def test_a_number_that_the_meter_has_not_leaves_the_text_as_it_was_sent(home: Make) -> None:
    h = home()
    h.send(MessageCode.TEXT, 1, text="¿Qué tal?", event_id=99)
    h.after(1)
    assert h.shows(DisplayCode.MESSAGE) == "¿Qué tal?"
    h.send(MessageCode.TEXT, 2, event_id=2)  # the text is needed all the same: not every meter has the number
    h.after(1)
    assert h.statuses() == [ReceiptStatus.PROCESSED, ReceiptStatus.MALFORMED]


def test_a_meter_that_knows_no_spanish_says_so_and_stays_as_it_was(home: Make) -> None:
    h = home(spanish=False, works_out_balance=False)
    for wanted, what in ((SPANISH, "Spanish"), (CustomerSettings(own_balance=True), "balance")):
        with pytest.raises(NotSupported, match=what):
            h.loop.call(h.meter.set_customer, wanted)
    assert h.meter.customer() == CustomerSettings()


# --- The notice of zero ------------------------------------------------------------------------------------------------


def test_the_notice_stands_while_a_prepaid_balance_is_at_zero(home: Make) -> None:
    h = home()
    h.loop.call(h.meter.set_customer, SPANISH)
    shown = []

    def balance(number: int, cents: int) -> None:
        h.send(MessageCode.BALANCE, number, balance_cents=cents, credit_wh=0, time_left=timedelta(0))
        h.after(1)
        shown.append(h.shows(DisplayCode.NOTICE))

    balance(1, 0)  # regular billing: nothing to tell
    h.send(MessageCode.BILLING, 2, billing=Billing.PREPAID)
    h.after(3600)
    shown.append(h.shows(DisplayCode.NOTICE))
    balance(3, 1)
    balance(4, -1)
    notice = texts.say(TextNumber.ZERO_BALANCE, Language.SPANISH)
    assert shown == [None, notice, None, notice]
    h.send(MessageCode.BILLING, 5, billing=Billing.REGULAR)
    h.after(3600)
    assert h.shows(DisplayCode.NOTICE) is None


def test_the_notice_goes_when_the_display_is_switched_off(home: Make) -> None:
    h = home()
    h.send(MessageCode.BILLING, 1, billing=Billing.PREPAID)
    h.send(MessageCode.BALANCE, 2, balance_cents=0, credit_wh=0, time_left=timedelta(0))
    h.after(3600)
    assert h.shows(DisplayCode.NOTICE)
    h.loop.call(h.meter.press, "display")
    assert h.meter.display() == ()


# --- Cost ------------------------------------------------------------------------------------------------------------


def test_the_cost_follows_power_and_price_at_once(home: Make) -> None:
    h = home(class_percent=0)
    h.send(MessageCode.PREPAYMENT, 1)
    h.after(1)
    assert h.shows(DisplayCode.COST) == "$0.2580/h"
    h.draw(600)
    assert h.shows(DisplayCode.COST) == "$0.1290/h"
    h.send(
        MessageCode.BALANCE,
        2,
        balance_cents=1,
        credit_wh=1,
        time_left=timedelta(0),
        price_millicents_per_kwh=100_000,
    )
    h.after(1)
    assert h.shows(DisplayCode.COST) == "$0.6000/h"
    h.draw(-600)
    assert h.shows(DisplayCode.COST) == "$0.0000/h"
    h.loop.call(h.meter.disconnect)
    assert h.shows(DisplayCode.COST) == "$0.0000/h"


# --- Local time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "shows", "then"),
    [
        (datetime(2026, 3, 8, 9, 59, 30, tzinfo=UTC), "2026-03-08 01:59", "2026-03-08 03:00"),
        (datetime(2026, 11, 1, 8, 59, 30, tzinfo=UTC), "2026-11-01 01:59", "2026-11-01 01:00"),
    ],
)
def test_the_display_goes_by_daylight_saving(home: Make, before: datetime, shows: str, then: str) -> None:
    h = home(begin=before)
    h.send(MessageCode.PREPAYMENT)
    h.after(1)
    assert (h.shows(DisplayCode.CLOCK), h.shows(DisplayCode.UPDATED)) == (shows, shows)
    change = h.meter.local_time()
    assert change.changes_at == before + timedelta(seconds=30)
    assert change.offset == h.meter.config().utc_offset
    h.after(30)
    assert h.shows(DisplayCode.CLOCK) == then
    assert h.shows(DisplayCode.UPDATED) == shows  # that was before
    assert h.meter.local_time().offset == change.then == h.meter.config().utc_offset
    assert [i.complete for i in h.after(2 * 3600).intervals()][1:] == [True, True]


def test_a_zone_without_daylight_saving_has_no_change(home: Make) -> None:
    local = home(time_zone="Asia/Kolkata").meter.local_time()
    assert (local.offset, local.changes_at, local.then) == (timedelta(minutes=330), None, timedelta(minutes=330))


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(2005, 1, 1), datetime(2095, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_next_change_is_where_the_offset_changes(now: datetime) -> None:
    at = next_change(PACIFIC, now)
    assert at is not None
    assert at > now
    before, after = (when.astimezone(PACIFIC).utcoffset() for when in (at - timedelta(microseconds=1), at))
    assert before == now.astimezone(PACIFIC).utcoffset() != after


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_shown_letter_for_letter_or_refused(site_loop: LoopThread, text: str) -> None:
    h = Home(site_loop)
    h.send(MessageCode.TEXT, 1, text=text)
    h.after(1)
    fits = len(text.encode()) <= LONGEST_TEXT
    assert h.statuses() == [ReceiptStatus.PROCESSED if fits else ReceiptStatus.MALFORMED]
    assert h.shows(DisplayCode.MESSAGE) == (text or None if fits else None)
    site_loop.run(h.clock.close())


def test_every_line_reads_as_the_document_says(home: Make) -> None:
    h = home()
    h.send(MessageCode.PREPAYMENT, 1, balance_cents=0)
    h.send(MessageCode.TEXT, 2, text="Hola")
    h.after(3601)
    formats = {
        DisplayCode.BALANCE: r"-?\$\d+\.\d\d",
        DisplayCode.CREDIT: r"-?\d+\.\d kWh",
        DisplayCode.TIME_LEFT: r"\d+ d \d\d h \d\d min",
        DisplayCode.UPDATED: r"\d{4}-\d\d-\d\d \d\d:\d\d",
        DisplayCode.PRICE: r"\$\d+\.\d{4}/kWh",
        DisplayCode.COST: r"\$\d+\.\d{4}/h",
        DisplayCode.ENERGY: r"\d{6}\.\d kWh",
        DisplayCode.DEMAND: r"-?\d+\.\d{3} kW",
        DisplayCode.SERVICE: r"ON|OFF|TRIPPED|LIMIT \d+\.\d kW",
        DisplayCode.CLOCK: r"\d{4}-\d\d-\d\d \d\d:\d\d",
        DisplayCode.NOTICE: r".+",
        DisplayCode.MESSAGE: r"Hola",
    }
    shown = {line.code: line.text for line in h.meter.display()}
    assert set(shown) == set(formats) == set(DisplayCode)
    for code, text in shown.items():
        assert re.fullmatch(formats[code], text), (code, text)
    assert h.clock.now() > START
