"""What a bench file may say to labgrid besides resources and drivers: its options, and a target's features.

labgrid takes any name and looks up those that it knows: a misspelt one would change nothing, without a word.
Facts: labgrid 26.0, `labgrid/config.py` and where it asks for options.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bench.data import at, nearest
from drivers.wire.address import host_port

OPTIONS = ("coordinator_address",)
"""Options of a labgrid environment. `crossbar_url` is read only to be warned of; no option of a target is ever read."""


def check_options(path: Path, node: yaml.Node | None, options: Any) -> None:
    """Check the section `options`; BadInput where labgrid would ignore it or fail on it."""
    if not isinstance(options, Mapping):
        raise at(path, node, ["options"], f"is a mapping with {', '.join(OPTIONS)}; leave it out where nothing is set")
    for key, value in options.items():
        here: list[str | int] = ["options", key]
        if key not in OPTIONS:
            raise at(path, node, here, f"labgrid has no such option; {nearest(str(key), OPTIONS)}")
        # labgrid puts its own port behind a bare host.
        text = value if isinstance(value, str) else ""
        try:
            host_port(text if ":" in text else f"{text}:1")
        except ValueError:
            raise at(path, node, here, f"needs HOST or HOST:PORT of the coordinator, not {value!r}"[:300]) from None


def check_target(path: Path, node: yaml.Node | None, name: str, target: Mapping[str, Any]) -> None:
    """Check a target's `options` and `features`."""
    place: list[str | int] = ["targets", name]
    options = target.get("options", {})
    if not isinstance(options, Mapping):
        raise at(path, node, [*place, "options"], "is a mapping, and labgrid reads nothing in it; leave it out")
    for key in options:
        hint = f"; {key} stands in `options` at the top of the file" if key in OPTIONS else "; leave it out"
        raise at(path, node, [*place, "options", key], f"labgrid reads no option of a target{hint}")
    features = target.get("features", [])
    if not isinstance(features, list):
        what = f"is a list of names, `features: [camera]`, not {features!r}"
        raise at(path, node, [*place, "features"], what[:300])
    for index, feature in enumerate(features):
        if not isinstance(feature, str) or not feature:
            raise at(path, node, [*place, "features", index], f"is the name of a feature, not {feature!r}"[:300])
