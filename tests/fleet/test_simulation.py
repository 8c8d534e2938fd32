"""The fleet's arithmetic: money exact, the same answer however it is dealt out, and losses as probability has them."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from twins.fleet.cell import CELL, Workspace, simulate_cell
from twins.fleet.config import ONE, FleetConfig, Link, Price, Profile
from twins.fleet.fleet import cells_of, chunks, simulate
from twins.fleet.tally import Tally

NONE: frozenset[str] = frozenset()


def of(config: FleetConfig, tally: Tally) -> bool:
    return tally.balances(config.price.base_millicents_per_kwh, config.price.peak_millicents_per_kwh)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    meters=st.integers(1, 2 * CELL + 1),
    days=st.integers(1, 8),
    price=st.builds(
        Price,
        base_millicents_per_kwh=st.integers(1, 60_000),
        peak_millicents_per_kwh=st.integers(1, 60_000),
        peak_hours=st.frozensets(st.integers(0, 23)),
    ),
    lost=st.integers(0, ONE - 2),
    repeats=st.integers(0, 3),
    topup_cents=st.integers(5_000, 100_000),
)
def test_money_and_energy_balance_to_the_millionth_of_a_cent(
    seed: int, meters: int, days: int, price: Price, lost: int, repeats: int, topup_cents: int
) -> None:
    links = (Link(name="any", share=ONE, lost=lost),)
    config = FleetConfig(price=price, links=links, repeats=repeats, topup_cents=topup_cents)
    tally = simulate(config, seed, meters, days)
    assert of(config, tally)
    assert tally.meters == sum(tally.by_messages_failed) == sum(tally.by_commands_failed) == meters
    assert len(tally.by_messages_failed) <= tally.messages + 1
    assert len(tally.by_commands_failed) <= tally.commands + 1
    assert tally.paid_cents == tally.payments * topup_cents


def test_a_cent_that_goes_astray_is_noticed() -> None:
    config = FleetConfig()
    tally = simulate(config, 1, 100, 2)
    assert of(config, tally)
    for field in (
        "closing_cents",
        "opening_cents",
        "paid_cents",
        "charged_cents",
        "base_wh",
        "carried_units",
        "out_of_balance",
    ):
        assert not of(config, replace(tally, **{field: getattr(tally, field) + 1})), field


def test_money_is_that_of_plain_integers() -> None:
    """One meter of known use against the ledger kept by hand, hour by hour, in Python's own integers."""
    flat = Profile(name="flat", share=ONE, weekday_wh=(1_000,) * 24, weekend_wh=(1_000,) * 24)
    config = FleetConfig(profiles=(flat,), price=Price(base_millicents_per_kwh=21_500, peak_millicents_per_kwh=21_500))
    space = Workspace()
    simulate_cell(config, 5, 0, CELL, 1, NONE, space)
    used = space.register_wh.sum(axis=0, dtype=np.int64)
    owed = used * 21_500
    assert (space.carry == owed % 1_000_000).all()
    assert (space.balance == space.opening + space.topups * config.topup_cents - owed // 1_000_000).all()
    assert space.balance.min() > 0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), meters=st.integers(1, 4 * CELL), cells=st.integers(1, 5), order=st.randoms())
def test_chunking_does_not_matter(seed: int, meters: int, cells: int, order: object) -> None:
    config = FleetConfig()
    parts = [simulate(config, seed, meters, 2, cells=chunk) for chunk in chunks(meters, cells)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    total = parts[0]
    for part in parts[1:]:
        total += part
    assert total == simulate(config, seed, meters, 2)


def test_a_meter_does_not_change_with_the_size_of_its_fleet() -> None:
    space = Workspace()
    simulate_cell(FleetConfig(), 3, 1, 10, 3, NONE, space)
    few = space.balance.copy()
    simulate_cell(FleetConfig(), 3, 1, CELL, 3, NONE, space)
    assert (few == space.balance).all()


def test_seed_and_cell_matter() -> None:
    answers = {simulate(FleetConfig(), seed, CELL, 1) for seed in range(4)}
    assert len(answers) == 4
    whole = simulate(FleetConfig(), 0, 2 * CELL, 1)
    first, second = (simulate(FleetConfig(), 0, 2 * CELL, 1, cells=range(k, k + 1)) for k in range(2))
    assert first != second
    assert first + second == whole


def test_tallies_of_different_runs_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        simulate(FleetConfig(), 0, 10, 1) + simulate(FleetConfig(), 0, 10, 2)
    with pytest.raises(ValueError, match="no cells"):
        simulate(FleetConfig(), 0, 10, 1, cells=range(0))


def within(seen: int, trials: int, chance: float) -> bool:
    """Whether a count is within five standard deviations of what a chance makes of it."""
    return abs(seen - trials * chance) <= 5 * math.sqrt(trials * chance * (1 - chance)) + 1


@pytest.mark.parametrize("lost", [0, 1, 250, 255, 256, 300, 20_000, 65_000])
@pytest.mark.parametrize("repeats", [0, 1, 2])
def test_losses_are_as_likely_as_they_should_be(lost: int, repeats: int) -> None:
    """Also around multiples of 256, where the two bytes of a draw meet."""
    config = FleetConfig(links=(Link(name="any", share=ONE, lost=lost),), repeats=repeats, unprocessed=40)
    tally = simulate(config, 11, CELL, 2)
    q, u = lost / ONE, 40 / ONE
    messages = CELL * tally.messages
    assert within(tally.messages_failed, messages, q ** (repeats + 1))
    failing = q ** (repeats + 1) + u * sum(q**n for n in range(repeats + 1))
    assert within(tally.commands_failed, 2 * messages, failing)
    again = sum(q**n for n in range(1, repeats + 1))
    assert abs(tally.repeated - 3 * messages * again) <= 5 * math.sqrt(3 * messages * again * (repeats or 1)) + 1


def test_commands_that_are_not_carried_out_are_felt() -> None:
    """Two hours of limit, or off, for a restore or connect that fails once; service goes on where nothing is lost."""
    config = FleetConfig(links=(Link(name="any", share=ONE, lost=0),), unprocessed=0)
    well = simulate(config, 2, CELL, 4)
    assert (well.hours_off, well.hours_limited, well.commands_failed, well.repeated) == (0, 0, 0, 0)
    ill = simulate(config.model_copy(update={"unprocessed": ONE // 50}), 2, CELL, 4)
    halves = CELL * ill.hours // 2
    for hours in (ill.hours_off, ill.hours_limited):
        assert within(hours // 2, halves, (ONE // 50) / ONE * (1 - (ONE // 50) / ONE))
    assert ill.base_wh + ill.peak_wh < well.base_wh + well.peak_wh
    assert of(config, ill)


def test_energy_follows_the_profile() -> None:
    config = FleetConfig()
    tally = simulate(config, 1, CELL, 7)
    sizes = sum(128 + k % 385 for k in range(ONE)) / ONE / 256
    expected = sum(p.share / ONE * (5 * sum(p.weekday_wh) + 2 * sum(p.weekend_wh)) for p in config.profiles) * sizes
    assert (tally.base_wh + tally.peak_wh) / CELL == pytest.approx(expected, rel=0.02)
    peak = sum(p.share / ONE * 5 * sum(p.weekday_wh[h] for h in config.price.peak_hours) for p in config.profiles)
    assert tally.peak_wh / CELL == pytest.approx(peak * sizes, rel=0.02)


def test_memory_does_not_grow_with_days_or_meters() -> None:
    def most(meters: int, days: int) -> int:
        tracemalloc.start()
        try:
            simulate(FleetConfig(), 1, meters, days)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    least = most(CELL, 2)
    assert least < 30e6
    assert most(CELL, 40) < 1.1 * least
    assert most(8 * CELL, 2) < 1.1 * least


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"links": ({"name": "a", "share": 5, "lost": 0},)}, "shares of links"),
        ({"links": ({"name": "a", "share": ONE, "lost": ONE},)}, "loses everything"),
        ({"topup_at_cents": 1}, "single hour"),
        ({"price": {"base_millicents_per_kwh": 10**6}}, "more than the arithmetic"),
        ({"prices": 3}, "Extra inputs"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FleetConfig.model_validate(wrong)


def test_cells() -> None:
    assert [cells_of(n) for n in (1, CELL, CELL + 1)] == [1, 1, 2]
    assert list(chunks(5 * CELL, 2)) == [range(0, 2), range(2, 4), range(4, 5)]
