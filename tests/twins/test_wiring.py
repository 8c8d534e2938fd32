"""The electrical site: Kirchhoff, conservation of energy, and refusals."""

from __future__ import annotations

import cmath
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import LoopThread
from twins.clock import SteppedClock
from twins.wiring import Contact, Load, Site, Source, Tap, WiringError, single_phase, split_phase, three_phase


def _home(site: Site) -> tuple[Source, Contact, Tap, Tap, Load]:
    mains = Source(site, "mains", single_phase(240.0), 60.0)
    line = Tap(site, "line")
    service = Contact(site, "service", closed=True)
    branch = Tap(site, "branch")
    load = Load(site, "load", "current", 5.0)
    mains.feeds(line).feeds(service).feeds(branch).feeds(load)
    return mains, service, line, branch, load


def test_an_open_contact_takes_voltage_and_current_from_its_load_side() -> None:
    site = Site(SteppedClock())
    _, service, line, branch, _ = _home(site)
    assert branch.state().currents == (5.0,)
    service.set(False)
    assert abs(line.state().voltages[0]) == 240.0
    assert branch.state().voltages == (0,)
    assert line.state().currents == (0,)


def test_energy_is_power_times_time_between_changes(site_loop: LoopThread) -> None:
    clock = site_loop.call(SteppedClock)
    site = site_loop.call(Site, clock)
    _, service, line, branch, load = site_loop.call(_home, site)
    site_loop.run(clock.advance(1800))
    site_loop.call(load.set, value=10.0)
    site_loop.run(clock.advance(900))
    site_loop.call(service.set, False)
    site_loop.run(clock.advance(3600))
    energy = site_loop.call(branch.energy)
    assert energy.delivered_wh == pytest.approx(240 * 5 * 0.5 + 240 * 10 * 0.25, rel=1e-12)
    assert site_loop.call(line.energy) == energy


@pytest.mark.parametrize(("power_factor", "sign"), [(0.5, 1), (-0.5, -1)])
def test_lagging_current_takes_reactive_power(power_factor: float, sign: int) -> None:
    site = Site(SteppedClock())
    _, _, line, _, load = _home(site)
    load.set(power_factor=power_factor)
    power = line.state().power
    assert power.real == pytest.approx(600.0)
    assert power.imag == pytest.approx(sign * 1200 * math.sin(math.acos(0.5)))


def test_a_load_across_both_legs_of_a_split_phase_loads_both() -> None:
    site = Site(SteppedClock())
    mains = Source(site, "mains", split_phase(240.0), 60.0)
    tap = Tap(site, "tap")
    mains.feeds(tap)
    tap.feeds(Load(site, "range", "power", 4800.0, legs=(0, 1)), Load(site, "lamp", "power", 120.0, legs=(1,)))
    state = tap.state()
    assert abs(state.currents[0]) == pytest.approx(20.0)
    assert abs(state.currents[1]) == pytest.approx(21.0)
    assert state.power == pytest.approx(4920.0)


def test_a_balanced_three_phase_load_leaves_no_neutral_current() -> None:
    site = Site(SteppedClock())
    mains = Source(site, "mains", three_phase(120.0), 60.0)
    tap = Tap(site, "tap")
    mains.feeds(tap)
    for leg in range(3):
        tap.feeds(Load(site, f"load {leg}", "impedance", 12.0, 0.8, legs=(leg,)))
    assert abs(sum(tap.state().currents)) == pytest.approx(0.0, abs=1e-9)
    assert abs(cmath.phase(tap.state().voltages[1]) + math.radians(120)) < 1e-12


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["current", "power", "impedance"]), st.floats(0.1, 50), st.floats(0.1, 1.0)),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0.0, 7200.0)), max_size=12),
)
def test_what_the_parent_delivers_is_the_sum_of_its_branches(
    loads: list[tuple[str, float, float]], switching: list[tuple[int, bool, float]]
) -> None:
    import asyncio

    async def run() -> None:
        clock = SteppedClock()
        site = Site(clock)
        mains = Source(site, "mains", single_phase(240.0), 60.0)
        total = Tap(site, "total")
        mains.feeds(total)
        branches, contacts = [], []
        for index, (kind, value, power_factor) in enumerate(loads):
            contact = Contact(site, f"contact {index}", closed=True)
            tap = Tap(site, f"tap {index}")
            total.feeds(contact).feeds(tap).feeds(Load(site, f"load {index}", kind, value, power_factor))  # type: ignore[arg-type]
            branches.append(tap)
            contacts.append(contact)
        for which, closed, seconds in switching:
            await clock.advance(seconds)
            contacts[which % len(contacts)].set(closed)
        parts = [b.energy() for b in branches]
        assert total.energy().delivered_wh == pytest.approx(sum(p.delivered_wh for p in parts), rel=1e-9, abs=1e-9)
        assert total.energy().delivered_varh == pytest.approx(sum(p.delivered_varh for p in parts), rel=1e-9, abs=1e-9)
        await clock.close()

    asyncio.run(run())


def test_a_source_that_is_off_feeds_nothing_and_has_no_frequency() -> None:
    site = Site(SteppedClock())
    mains, _, line, _, _ = _home(site)
    mains.set(on=False)
    assert line.state().voltages == (0,)
    assert line.state().frequency_hz == 0.0


def test_listeners_hear_of_every_change_once_it_is_settled() -> None:
    site = Site(SteppedClock())
    _, service, line, _, _ = _home(site)
    heard: list[float] = []
    site.changed.append(lambda: heard.append(abs(line.state().currents[0])))
    service.set(False)
    service.set(False)
    service.set(True)
    assert heard == [0.0, 5.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda s: Tap(s, "mains"), "stands twice"),
        (lambda s: s.tap("nowhere"), "no tap"),
        (lambda s: s.contact("line"), "no contact"),
        (lambda s: Load(s, "x", "heat", 1.0), "known are current, power, impedance"),  # type: ignore[arg-type]
        (lambda s: Load(s, "x", "current", 1.0, 0.0), "power factor"),
        (lambda s: Load(s, "x", "impedance", 0.0), "above zero"),
        (lambda s: s.nodes["branch"].feeds(s.nodes["line"]), "fed already"),
        (lambda s: s.nodes["branch"].feeds(Load(s, "x", "current", 1.0, legs=(2,))), "hangs on leg 2"),
        (lambda s: Load(s, "x", legs=(0, 0)), "one leg"),
    ],
)
def test_what_cannot_be_wired_is_refused(build: object, message: str) -> None:
    site = Site(SteppedClock())
    _home(site)
    with pytest.raises(WiringError, match=message):
        build(site)  # type: ignore[operator]
