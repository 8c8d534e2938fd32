"""English and Spanish: every text has both, every page is in the reader's language, numbers are right in both."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from tests.utility.conftest import ACCOUNT
from tests.website.conftest import WebTown
from twins.utility.errors import Reason
from twins.utility.website import texts
from twins.utility.website.reasons import REASONS
from twins.utility.website.texts import Texts, negotiated

WEBSITE = Path(texts.__file__).parent
ZONE = ZoneInfo("America/Los_Angeles")


def used() -> set[str]:
    """Every text that a page or a module of the website asks for."""
    found = extract_from_dir(
        str(WEBSITE), [("**.py", "python"), ("**.html", "jinja2")], keywords={"_": None, "N_": None, "many": (1, 2)}
    )
    return {text for _, _, message, _, _ in found for text in ([message] if isinstance(message, str) else message[:1])}


def test_every_text_has_its_spanish_and_none_is_left_over() -> None:
    with (WEBSITE / "locale/es/LC_MESSAGES/website.po").open("rb") as file:
        catalogue = read_po(file, locale="es")
    there = {}
    for message in catalogue:
        if message.id:
            one = message.id if isinstance(message.id, str) else message.id[0]
            there[one] = message.string if isinstance(message.string, str) else message.string[1]
    assert len(there) > 200
    assert set(there) == used()
    for text, translated in there.items():
        names = [{name for _, name, _, _ in Formatter().parse(t) if name} for t in (text, translated)]
        assert translated.strip(), text
        assert names[0] == names[1], text


def test_every_refusal_of_the_utility_has_its_words() -> None:
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", "es"),
        ("en-GB", "en"),
        ("fr,de", "en"),
        ("", "en"),
        ("*;q=1", "en"),
        ("es" * 400, "en"),
    ],
)
def test_a_browsers_language_is_taken(accepted: str, language: str) -> None:
    assert negotiated(accepted) == language


def test_numbers_and_times_are_those_of_the_language() -> None:
    at = datetime(2026, 7, 4, 19, 5, tzinfo=UTC)
    english, spanish = Texts("en", ZONE), Texts("es", ZONE)
    assert (english.money(-123_456), spanish.money(-123_456)) == ("-$1,234.56", "-$1,234.56")
    assert re.sub(r"\s", " ", english.moment(at)) == "Jul 4, 2026, 12:05 PM"
    assert spanish.moment(at).startswith("4 jul 2026")
    assert english.lasting(timedelta(days=1, hours=1)) == "1 day, 1 hour"
    assert spanish.lasting(timedelta(hours=3, minutes=20)) == "3 horas, 20 minutos"
    assert spanish.day(date(2026, 1, 2), "short") == "2 ene"
    assert (english.kwh(1_234.56), english.price(21_500)) == ("1.2 kWh", "$0.2150/kWh")


def test_a_customer_reads_their_language_and_may_change_it(web_town: Callable[..., WebTown]) -> None:
    here = web_town()
    clara = here.visitor("C-2")
    assert 'lang="es"' in clara.last.text
    assert "Saldo" in clara.last.text
    clara.post("/language", language="en", back=clara.last.url.path)
    assert "Balance" in clara.last.text
    clara.post("/sign-out")
    clara.sign_in("C-2")
    assert "Balance" in clara.last.text, "the choice stays with the customer"
    guest = here.visitor(**{"accept-language": "es"})
    assert "Iniciar sesión" in guest.get("/sign-in")
    guest.post("/language", language="en")
    assert "Sign in" in guest.last.text
    assert guest.get(f"/accounts/{ACCOUNT}").count("<form") >= 2
