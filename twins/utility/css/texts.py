"""Texts that people give: some, and not without end."""

from __future__ import annotations

from twins.utility.errors import NotAccepted, Reason


def taken(text: str, longest: int) -> str:
    """The text without the space around it; NotAccepted where nothing is left, or more than `longest` characters."""
    if len(text) > longest:
        raise NotAccepted(
            Reason.TEXT_NOT_TAKEN, f"CSS: a text of {len(text)} characters is too long; at most {longest}, please"
        )
    if "\0" in text:
        raise NotAccepted(Reason.TEXT_NOT_TAKEN, "CSS: the text has a NUL in it; leave that out")
    if not (stripped := text.strip()):
        raise NotAccepted(Reason.TEXT_NOT_TAKEN, "CSS: the text is empty; say in a few words what it is about")
    return stripped
