"""What the lab wants of its own board, beyond any catalogue: it switches what it says, and measures what is there."""

from __future__ import annotations

import time
from typing import Any

import pytest

LOAD_A = 2.5
"""What the lab's test load takes."""


def current_within(analyzer: Any, low: float, high: float, seconds: float) -> float:
    """The analyzer's current as soon as it lies between two limits; the last one after that many seconds."""
    until = time.monotonic() + seconds
    while True:
        amperes = float(analyzer.read().current_a)
        if low <= amperes <= high or time.monotonic() > until:
            return amperes
        time.sleep(0.1)


def test_the_switch_carries_and_interrupts_the_current(bench: Any) -> None:
    switch = bench.get_driver("DigitalOutputProtocol", name="switch")
    analyzer = bench.get_driver("YokogawaWt310eDriver")
    switch.set(True)
    assert current_within(analyzer, LOAD_A - 0.05, LOAD_A + 0.05, seconds=3) == pytest.approx(LOAD_A, abs=0.05)
    switch.set(False)
    assert current_within(analyzer, -0.01, 0.01, seconds=3) == pytest.approx(0, abs=0.01)


def test_the_board_measures_what_the_analyzer_does(bench: Any) -> None:
    bench.get_driver("DigitalOutputProtocol", name="switch").set(True)
    analyzer = bench.get_driver("YokogawaWt310eDriver")
    current_within(analyzer, LOAD_A - 0.05, LOAD_A + 0.05, seconds=3)
    reading = bench.get_driver("AmiMeterDriver").reading()
    measured = analyzer.read()
    assert reading.voltage_v == pytest.approx(measured.voltage_v, rel=0.005)
    assert reading.power_w == pytest.approx(measured.power_w, rel=0.01)


def test_the_board_has_no_power_behind_an_open_supply(bench: Any) -> None:
    relay = bench.get_driver("WaveshareRelayDriver")
    analyzer = bench.get_driver("YokogawaWt310eDriver")
    relay.open(1)
    try:
        assert current_within(analyzer, -0.01, 0.01, seconds=3) == pytest.approx(0, abs=0.01)
    finally:
        relay.close(1)
