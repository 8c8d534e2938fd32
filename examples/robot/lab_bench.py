"""The lab's own keywords, on top of twinbench: a bench from a bench file, its board, and an analyzer that tells the truth."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from robot.api.deco import keyword, library

from bench import inventory
from bench.bench import Bench
from drivers.roles import Switch


@library(scope="SUITE")
class lab_bench:  # noqa: N801 - Robot finds a library's class by the file's name
    """`bench_file`: the bench; its devices are named `relay`, `analyzer` and `meter`, the last is the board under test."""

    def __init__(self, bench_file: str) -> None:
        self._bench = Bench(inventory.load(Path(bench_file)))

    @keyword
    def bring_the_bench_up(self) -> None:
        """Links open, site energised, board provisioned with its service off."""
        self._bench.up(mirror=False)

    @keyword
    def take_the_bench_down(self) -> None:
        """Outputs safe first."""
        self._bench.down()

    @keyword
    def switch_the_service(self, on: bool) -> None:
        """Tell the board to switch, and give it five seconds of bench time to have done so."""
        board = self._bench.device("meter")
        wanted = Switch.CLOSED if on else Switch.OPEN
        if on:
            board.connect()
        else:
            board.disconnect()
        self._bench.advance(5)
        if board.service().switch is not wanted:
            raise AssertionError(f"the board says {board.service().switch.name}, not {wanted.name}")

    @keyword
    def current_should_be(self, amperes: float, within: float = 0.05) -> None:
        """What the analyzer reads behind the board."""
        read = self._bench.device("analyzer").read().current_a
        if abs(read - amperes) > within:
            raise AssertionError(f"the analyzer reads {read:.4g} A, not {amperes} A within {within} A")

    @keyword
    def time_passes(self, time: timedelta) -> None:
        """On twins with a stepped clock at once, for example `1 hour`; on real devices it takes that long."""
        self._bench.advance(time.total_seconds())

    @keyword
    def delivered_energy(self) -> float:
        """The board's register, in watt-hours."""
        return float(self._bench.device("meter").reading().delivered_wh)

    @keyword
    def energy_should_have_grown_by(self, watt_hours: float, since: float, percent: float = 1.0) -> None:
        """The board's register since an earlier reading of it, within so many percent."""
        grown = self.delivered_energy() - since
        if abs(grown - watt_hours) > watt_hours * percent / 100:
            raise AssertionError(f"the register has grown by {grown:.6g} Wh, not {watt_hours} Wh within {percent} %")
