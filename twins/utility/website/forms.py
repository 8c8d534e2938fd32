"""What a form brings, taken field by field. Whatever is not as it should be is refused by name, nothing is guessed."""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

E = TypeVar("E", bound=enum.Enum)

LONGEST_BODY = 65_536
"""Bytes of a form."""
LONGEST_SENT = 100_000_000
"""Bytes that are read, and not kept, for who sent them to hear the answer."""
LONGEST_FIELD = 400
"""Characters of one field."""
_MOST_FIELDS = 60
_MOST_CENTS = 100_000_000


class BadForm(Exception):
    """A field of a form is missing or not what it should be. `why` is a text of the catalogue."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


def N_(text: str) -> str:  # noqa: N802 - gettext's own name: marks a text for the catalogue
    """The text itself, to be translated where it is shown."""
    return text


def parsed(body: bytes) -> Mapping[str, str]:
    """The fields of an urlencoded form. BadForm where it is none."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, encoding="utf-8", errors="strict"
        )
    except (UnicodeError, ValueError):
        raise BadForm("form", N_("The form could not be read.")) from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise BadForm(name, N_("A field stands in the form twice."))
        fields[name] = value
    return fields


class Given:
    """The fields of a form or of a page's address."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def text(self, name: str, *, needed: bool = True) -> str:
        """A line of text without control characters, spaces around it taken off."""
        text = self._fields.get(name, "").strip()
        if len(text) > LONGEST_FIELD:
            raise BadForm(name, N_("This is too long."))
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
            raise BadForm(name, N_("This has characters that cannot be taken."))
        if needed and not text:
            raise BadForm(name, N_("This is needed."))
        return text

    def secret(self, name: str) -> str:
        """A password, as it is."""
        secret = self._fields.get(name, "")
        if not 0 < len(secret) <= LONGEST_FIELD:
            raise BadForm(name, N_("This is needed.") if not secret else N_("This is too long."))
        return secret

    def whole(self, name: str) -> int:
        """A whole number, from 0 up to nine digits."""
        text = self.text(name)
        if re.fullmatch(r"[0-9]{1,9}", text) is None:
            raise BadForm(name, N_("This is not a whole number."))
        return int(text)

    def cents(self, name: str) -> int:
        """An amount in dollars, `25` or `25.00`, as cents. Zero and less are let through: the utility refuses them itself."""
        text = self.text(name).removeprefix("$").replace(",", "")
        try:
            if re.fullmatch(r"-?[0-9]+(\.[0-9]{1,2})?", text) is None:
                raise InvalidOperation
            cents = int(Decimal(text) * 100)
            if cents < -_MOST_CENTS:
                raise InvalidOperation
        except InvalidOperation:
            raise BadForm(name, N_("This is not an amount in dollars; write it like 25.00.")) from None
        if cents > _MOST_CENTS:
            raise BadForm(name, N_("This is more than can be paid at once."))
        return cents

    def choice(self, name: str, kind: type[E]) -> E:
        """A member of an enumeration, by its name in small letters."""
        text = self.text(name)
        member = kind.__members__.get(text.upper()) if text == text.lower() else None
        if member is None:
            raise BadForm(name, N_("This is none of the choices."))
        return member

    def one_of(self, name: str, values: tuple[str, ...]) -> str:
        """One of several words."""
        text = self.text(name)
        if text not in values:
            raise BadForm(name, N_("This is none of the choices."))
        return text

    def wall(self, name: str) -> datetime:
        """A local date and time as browsers write it, by the clock on the wall, with or without seconds; whether there is such
        a time is not asked."""
        text = self.text(name)
        form = "%Y-%m-%dT%H:%M" + (":%S" if text.count(":") == 2 else "")
        try:
            wall = datetime.strptime(text, form)  # noqa: DTZ007 - the clock on the wall has no zone
            if not 1970 < wall.year < 9999:
                raise ValueError
        except ValueError:
            raise BadForm(name, N_("This is not a date and time; write it like 2026-01-05T18:00.")) from None
        return wall

    def moment(self, name: str, zone: ZoneInfo) -> datetime:
        """A local date and time as browsers write it, `2026-01-05T18:00`. The clock's lost hour of spring is no time at all."""
        local = self.wall(name).replace(tzinfo=zone)
        try:
            moment = local.astimezone(UTC)
            if moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
                raise ValueError
        except (ValueError, OverflowError):
            raise BadForm(name, N_("This is not a date and time; write it like 2026-01-05T18:00.")) from None
        return moment
