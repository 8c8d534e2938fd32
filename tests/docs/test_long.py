"""Commands that pages name and that take many minutes, run with less to do: the same target or verb, fewer ids, seeds or
figures."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, Reader, prints
from tests.docs.test_docs import LONG


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(ROOT / "README.md", tmp_path_factory.mktemp("reader"))


PRINT = {
    "make certify-wall": "PASS           C3-BR-02     CSS          …\nshortened: …\nrecord: …",
    "make soak": "seed 1: PASS\n1 seeds, 0 false alarms",
    "twinbench defects --matrix": "caught  no_receipt by …; falls too: …C3-S1.09…\n1 of 1 caught…",
}


def test_every_long_job_is_run_here() -> None:
    assert LONG.keys() == PRINT.keys() | {"make bench"}


@pytest.mark.parametrize(("named", "expected"), PRINT.items(), ids=PRINT)
def test_a_long_job_with_less_to_do(named: str, expected: str, reader: Reader) -> None:
    assert set(named.split()) <= set(LONG[named].split())
    printed = reader.run(LONG[named])
    assert prints(expected, printed), printed


def test_a_topic_of_the_benchmarks(reader: Reader) -> None:
    """How fast it is beside other tests says nothing: it measures, and ends by what it found."""
    printed = reader.run(f"{LONG['make bench']} || echo missed")
    assert "measuring display" in printed
    assert ("NO" in printed) is ("missed" in printed)


def test_five_million_meters(reader: Reader) -> None:
    printed = reader.run("twinbench fleet --meters 5000000 --days 30")
    assert prints("C3-NFR-12 …\nC3-NFR-13 …", printed), printed


def test_what_is_locked_is_what_is_asked_for(reader: Reader) -> None:
    """What is locked already stays where it still fits; so locking anew changes nothing."""
    folder = reader.home / "requirements"
    locked = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    printed = reader.run("make lock || echo locked nothing")
    if re.search("network was disabled|error sending request", printed):
        pytest.skip("no network to lock over")
    assert "locked nothing" not in printed, printed
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == locked
