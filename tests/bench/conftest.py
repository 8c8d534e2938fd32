"""Benches with a section `safety`: relay, analyzer, meter, source and load, with a door contact at the relay board."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import inventory
from bench.bench import Bench

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("twinbench")
TWIN = ROOT / "inventory" / "benches" / "twin.yaml"
DOOR = {"device": "relay", "input": 1}
HOLD_S = 3.0

Data = dict[str, Any]


def bench_data() -> Data:
    """A bench of relay, analyzer, meter, source and load, with a door contact at input 1 of the relay board."""
    data: Data = yaml.safe_load(TWIN.read_text(encoding="utf-8"))
    section, target = data["twinbench"], data["targets"]["site"]
    section["devices"].pop("display", None)
    target["drivers"] = [d for d in target["drivers"] if "RavenDriver" not in d]
    target["resources"] = [r for r in target["resources"] if "display" not in str(r)]
    section["wiring"].append({"contact": "door", "closed": True})
    section["devices"]["relay"]["options"]["inputs"] = {1: "door"}
    return data


def strategy_of(data: Data) -> Data:
    (found,) = [d["SiteStrategy"] for d in data["targets"]["site"]["drivers"] if "SiteStrategy" in d]
    attributes: Data = found
    return attributes


def written(tmp_path: Path, data: Data, name: str = "bench.yaml") -> Path:
    file = tmp_path / name
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return file


Benches = Callable[..., Bench]


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Benches]:
    """Makes twin benches with a section `safety`, brings them up and down."""
    made: list[Bench] = []

    def make(safety: Data, change: Callable[[Data], object] = lambda data: None, *, up: bool = True) -> Bench:
        data = bench_data()
        data["twinbench"]["safety"] = safety
        change(data)
        made.append(Bench(inventory.load(written(tmp_path, data))))
        if up:
            made[-1].up(mirror=False)
        return made[-1]

    yield make
    for each in made:
        each.down()


def refused(error: type[Exception], what: Callable[[], object], *says: str) -> None:
    """It is refused in one line that says all of this."""
    with pytest.raises(error) as caught:
        what()
    said = str(caught.value)
    assert "\n" not in said
    for piece in says:
        assert piece in said, f"{piece!r} is not said: {said}"


def two_feeders(data: Data) -> None:
    """A generator beside the source; contacts 1 and 5 lead to the bus that the line side hangs on."""
    wiring = data["twinbench"]["wiring"]
    at = next(n for n, place in enumerate(wiring) if place.get("tap") == "line-side")
    wiring[at]["behind"] = "bus"
    wiring[at:at] = [
        {"source": "generator", "volts": 230, "frequency_hz": 50},
        {"contact": "generator-supply", "behind": "generator"},
        {"bus": "bus", "behind": ["supply", "generator-supply"]},
    ]
    data["twinbench"]["devices"]["relay"]["options"]["contacts"][5] = "generator-supply"
