"""Hides what nobody is to read in a record or a message: passwords, credentials, install codes, keys of a bench file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

HIDDEN = "(hidden)"

_SECRET = re.compile(
    r"(.+_)?(credential|password|password_hash|secret|token|pin|install_code|key)s?|han_devices", re.IGNORECASE
)


def is_secret(key: object) -> bool:
    """Whether what stands under a key of a bench file is nobody's business, by its name: `master_password`, `link_key`."""
    return isinstance(key, str) and _SECRET.fullmatch(key) is not None


def masked(data: Any, secret: bool = False) -> Any:
    """Data of a bench file with every value under a secret key hidden, at any depth."""
    if isinstance(data, dict):
        return {key: masked(value, secret or is_secret(key)) for key, value in data.items()}
    if isinstance(data, list):
        return [masked(value, secret) for value in data]
    return HIDDEN if secret and data is not None else data


def masked_text(text: str) -> str:
    """YAML as it was written, comments and all, with every value under a secret key hidden."""
    leaves = _leaves(yaml.compose(text, yaml.SafeLoader), secret=False)
    places = {(leaf.start_mark.index, leaf.end_mark.index) for leaf in leaves}
    for start, end in sorted(places, reverse=True):
        held = text[start:end]
        text = text[:start] + HIDDEN + held[len(held.rstrip()) :] + text[end:]
    return text


def _leaves(node: yaml.Node | None, *, secret: bool) -> Iterator[yaml.Node]:
    """The plain values that are secret."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(value, secret=secret or is_secret(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _leaves(item, secret=secret)
    elif secret and node is not None and node.tag != "tag:yaml.org,2002:null":
        yield node
