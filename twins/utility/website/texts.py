"""Texts, money, energy and time in the reader's language. Catalogues are gettext's, read from their sources."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from zoneinfo import ZoneInfo

from babel.core import Locale, negotiate_locale
from babel.dates import format_date, format_skeleton, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal

LANGUAGES = {"en": "English", "es": "Español"}
"""Languages by their codes, each named in itself."""

_LOCALES = {"en": "en_US", "es": "es_US"}  # a utility of the United States writes its numbers one way
_CATALOGUES = Path(__file__).parent / "locale"


@functools.cache
def catalogue(language: str) -> NullTranslations:
    """The texts of a language; those of English are the message ids themselves."""
    source = _CATALOGUES / language / "LC_MESSAGES" / "website.po"
    if not source.is_file():
        return NullTranslations()
    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language, abort_invalid=True))
    compiled.seek(0)
    return GNUTranslations(compiled)


def negotiated(accepted: str) -> str:
    """The language for a browser's Accept-Language."""
    wanted = [part.partition(";")[0].strip().replace("-", "_") for part in accepted[:200].split(",")]
    return negotiate_locale([w for w in wanted if w], list(LANGUAGES), sep="_") or "en"


class Texts:
    """One language, in the utility's time zone."""

    def __init__(self, language: str, zone: ZoneInfo) -> None:
        self.language = language
        self.zone = zone
        self._locale = Locale.parse(_LOCALES[language])
        self._catalogue = catalogue(language)

    def __call__(self, text: str) -> str:
        """A text of the catalogue."""
        return self._catalogue.gettext(text)

    def many(self, one: str, more: str, n: int) -> str:
        """A text that counts, with the number in it."""
        return self._catalogue.ngettext(one, more, n).format(n=n)

    def money(self, cents: int) -> str:
        """Dollars and cents."""
        return str(format_currency(Decimal(cents) / 100, "USD", locale=self._locale))

    def price(self, millicents_per_kwh: int) -> str:
        """Dollars for a kilowatt-hour."""
        dollars = Decimal(millicents_per_kwh) / 100_000
        return f"{format_currency(dollars, 'USD', '¤#,##0.0000', self._locale, currency_digits=False)}/kWh"

    def kwh(self, wh: float, digits: int = 1) -> str:
        """Kilowatt-hours."""
        pattern = "#,##0." + "0" * digits
        return f"{format_decimal(Decimal(str(wh)) / 1000, pattern, self._locale)} kWh"

    def number(self, value: float) -> str:
        """A number as short as it goes, for the axes of charts."""
        return str(format_decimal(value, "#,##0.##", self._locale))

    def moment(self, at: datetime) -> str:
        """Date and time, to the minute."""
        local = at.astimezone(self.zone)
        return f"{format_date(local.date(), 'medium', self._locale)}, {self.hour(at)}"

    def day(self, day: date, style: str = "medium") -> str:
        """A date; `style` is babel's, or `short` for day and month."""
        if style == "short":
            return str(format_skeleton("MMMd", day, locale=self._locale))
        return str(format_date(day, style, self._locale))

    def hour(self, at: datetime) -> str:
        """The time of day."""
        return str(format_time(at, "short", self.zone, self._locale))

    def lasting(self, length: timedelta) -> str:
        """Days and hours; hours and minutes below a day."""
        minutes = int(length.total_seconds() // 60)
        days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
        parts: Sequence[str] = (
            (self.many("{n} day", "{n} days", days), self.many("{n} hour", "{n} hours", hours))
            if days
            else (self.many("{n} hour", "{n} hours", hours), self.many("{n} minute", "{n} minutes", minutes))
        )
        return ", ".join(parts)
