"""Texts that a meter shows by itself, in English and Spanish: gettext catalogues beside this file, by message id."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po

from drivers.wire.meter_settings import Language, TextNumber

_FILES = {Language.ENGLISH: "en.po", Language.SPANISH: "es.po"}


@cache
def _catalogue(language: Language) -> dict[str, str]:
    with (Path(__file__).parent / _FILES[language]).open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file, abort_invalid=True)}


def say(number: TextNumber, language: Language) -> str:
    """A text of the catalogue in the customer's language."""
    return _catalogue(language)[number.name]
