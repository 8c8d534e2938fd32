"""The arithmetic of one cell of a fleet: 16,384 meters, hour by hour, in buffers that are made once.

Cells are the grain of chance: all that is drawn for a cell is a function of (seed, cell) by Philox, a counter-based generator
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), so it is the same however cells are dealt out, and
whatever the size of the fleet. Four bytes serve a meter for an hour: its use of energy, and the high bytes of the 16-bit
draws for the prepayment message and the two commands; the low byte is drawn only where the high one leaves it open.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from twins.fleet.config import ONE, UNITS_PER_CENT, FleetConfig
from twins.fleet.tally import Tally

CELL = 16_384
_HOURS, _POPULATION, _REPEATS = range(3)
"""Streams of a cell: draws of every hour, who its meters are, and the few draws for what is sent again."""

_PIECE = 65_536
"""Bytes that are drawn at once."""

_U32 = npt.NDArray[np.uint32]


class Workspace:
    """Buffers of one worker, used again for every cell: fresh memory costs more than the arithmetic in it."""

    def __init__(self) -> None:
        def u32(*shape: int) -> _U32:
            return np.empty((*shape, CELL), np.uint32)

        self.mean_wh = u32(2, 24)  # weekday, weekend
        self.register_wh = u32(2)  # base, peak
        self.energy, self.carry, self.cost, self.debit = (u32() for _ in range(4))
        self.opening, self.balance, self.topups = (np.empty(CELL, np.int32) for _ in range(3))
        self.low = np.empty(CELL, bool)
        self.lost = np.empty(CELL, np.uint32)
        self.not_done = np.empty(CELL, np.uint32)  # lost, or not carried out
        self.drawn = np.empty(4 * 24 * CELL, np.uint8)
        self.suspect_high = np.empty(CELL, np.uint8)
        self.suspect = np.empty((3, 24, CELL), bool)
        self.failed = np.empty((2, CELL), np.int64)  # messages, commands


def _philox(seed: int, cell: int, stream: int) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, cell], np.uint64), counter=np.array([0, 0, 0, stream], np.uint64))


def _bytes(bits: np.random.Philox, n: int) -> npt.NDArray[np.uint8]:
    words: Any = bits.random_raw(-(-n // 8))
    return np.asarray(words).view(np.uint8)[:n]


def _fill(bits: np.random.Philox, out: npt.NDArray[np.uint8]) -> None:
    # Piece by piece: memory for a day's draw at once would be mapped and unmapped every time, which costs more than the draw.
    for piece in out.reshape(-1, _PIECE):
        piece[:] = _bytes(bits, _PIECE)


def _draw(bits: np.random.Philox, n: int) -> npt.NDArray[np.uint16]:
    return _bytes(bits, 2 * n).view(np.uint16)


def simulate_cell(
    config: FleetConfig, seed: int, cell: int, meters: int, days: int, defects: frozenset[str], space: Workspace
) -> Tally:
    """The first `meters` meters of a cell for `days` days from a Monday's midnight."""
    return _Cell(config, seed, cell, defects, space).run(meters, days)


class _Cell:
    def __init__(self, config: FleetConfig, seed: int, cell: int, defects: frozenset[str], space: Workspace) -> None:
        self._config = config
        self._space = space
        self._bits = _philox(seed, cell, _HOURS)
        self._repeat_bits = _philox(seed, cell, _REPEATS)
        self._message_repeats = 0 if "loses_messages" in defects else config.repeats
        self._limited: list[int] = []
        self._off: list[int] = []
        self._meters = CELL
        self._repeated = self._hours_limited = self._hours_off = 0
        self._populate(_philox(seed, cell, _POPULATION), defects)

    def _populate(self, bits: np.random.Philox, defects: frozenset[str]) -> None:
        config, space = self._config, self._space

        def kinds(shares: list[int]) -> npt.NDArray[np.intp]:
            return np.searchsorted(np.cumsum(shares)[:-1], _draw(bits, CELL).astype(np.int64), side="right")

        profile = kinds([p.share for p in config.profiles])
        size = _draw(bits, CELL).astype(np.uint32) % 385 + 128  # 0.5 to 2 of the profile's mean
        for day in range(2):
            of_day = np.array([p.weekend_wh if day else p.weekday_wh for p in config.profiles], np.uint32).T.copy()
            for hour in range(24):
                mean_wh = space.mean_wh[day, hour]
                np.take(of_day[hour], profile, out=mean_wh, mode="clip")  # the one mode that needs no buffer
                np.multiply(mean_wh, size, out=mean_wh)
        np.right_shift(space.mean_wh, 8, out=space.mean_wh)

        half = config.opening_cents // 2
        space.balance[:] = half + (_draw(bits, CELL).astype(np.int64) * (2 * half + 1) >> 16)
        space.lost[:] = np.array([link.lost for link in config.links])[kinds([link.share for link in config.links])]
        space.not_done[:] = config.unprocessed
        one = _draw(bits, CELL)
        if "far_meters_abound" in defects:  # one in twenty, 1.7 % lost in spite of a repeat
            space.lost[one < ONE // 20] = ONE * 13 // 100
        if "some_meters_out_of_reach" in defects:  # one in a thousand, 16 %
            space.lost[one < ONE // 1000] = ONE * 40 // 100
        if "ignores_commands" in defects:
            space.not_done[:] = ONE // 200
        if "some_meters_ignore_commands" in defects:
            space.not_done[one < ONE // 33] = ONE // 100
        if "few_meters_ignore_many_commands" in defects:
            space.not_done[one < ONE // 1000] = ONE // 10
        np.add(space.lost, space.not_done, out=space.not_done)
        # Only where a high byte is at most this can the whole draw be below.
        space.suspect_high[:] = space.not_done >> 8
        for zeroed in (space.register_wh, space.carry, space.topups, space.failed):
            zeroed[...] = 0

    # --- day by day ----------------------------------------------------------------------------------------------------

    def run(self, meters: int, days: int) -> Tally:
        """Simulate and count the first `meters` meters."""
        self._meters = meters
        self._space.opening[:] = self._space.balance
        for day in range(days):
            # Bytes by what they are for, hour and meter.
            _fill(self._bits, self._space.drawn)
            drawn = self._space.drawn.reshape(4, 24, CELL)
            not_carried_out = self._send(drawn[1:])
            for hour in range(24):
                self._carry_out(not_carried_out[0][hour], not_carried_out[1][hour], even=hour % 2 == 0)
                self._use(drawn[0, hour], hour, weekend=day % 7 >= 5)
        return self._tally(days * 24)

    def _send(self, high: npt.NDArray[np.uint8]) -> list[list[list[int]]]:
        """A day's messages and commands; which meters did not carry out the first and the second command of each hour."""
        space = self._space
        np.less_equal(high, space.suspect_high, out=space.suspect)
        suspects = np.flatnonzero(space.suspect)
        chance = high.reshape(-1)[suspects].astype(np.uint32) << 8 | _bytes(self._repeat_bits, len(suspects))
        in_question = chance < space.not_done[suspects % CELL]
        sending, chance = suspects[in_question], chance[in_question]
        meter = sending % CELL
        is_command = sending >= 24 * CELL
        lost, not_done = space.lost[meter], space.not_done[meter]
        unanswered = chance < lost
        # What a meter got and did not carry out has a receipt, which says so: nobody sends it again.
        undone = is_command & ~unanswered
        for n in range(max(self._message_repeats, self._config.repeats)):
            again = unanswered & (is_command | (n < self._message_repeats))
            self._repeated += int(np.count_nonzero(again & (meter < self._meters)))
            chance = _draw(self._repeat_bits, len(meter)).astype(np.uint32)
            undone |= again & is_command & (chance >= lost) & (chance < not_done)
            unanswered &= ~again | (chance < lost)
        for k, failing in enumerate((unanswered & ~is_command, (unanswered | undone) & is_command)):
            space.failed[k] += np.bincount(meter[failing], minlength=CELL)
        not_carried_out: list[list[list[int]]] = [[[] for _ in range(24)] for _ in range(2)]
        for one in sending[failing].tolist():
            not_carried_out[one // (24 * CELL) - 1][one // CELL % 24].append(one % CELL)
        return not_carried_out

    def _carry_out(self, first: list[int], second: list[int], *, even: bool) -> None:
        """What the hour's commands leave behind: limited without a restore, or off without a connect."""
        left = second
        if second:
            # A meter that carried out neither stays as it was.
            stuck, before = set(first), set(self._limited if even else self._off)
            left = [meter for meter in second if meter not in stuck or meter in before]
        if even:
            self._limited = left
        else:
            self._off = left

    def _use(self, drawn: npt.NDArray[np.uint8], hour: int, *, weekend: bool) -> None:
        """An hour's energy, what it costs, and who replenishes."""
        config, space = self._config, self._space
        energy = space.energy
        np.copyto(energy, drawn)
        np.multiply(energy, space.mean_wh[int(weekend), hour], out=energy)
        np.right_shift(energy, 7, out=energy)
        if self._limited:
            energy[self._limited] = np.minimum(energy[self._limited], config.limit_wh)
            self._hours_limited += sum(meter < self._meters for meter in self._limited)
        if self._off:
            energy[self._off] = 0
            self._hours_off += sum(meter < self._meters for meter in self._off)

        peak = not weekend and hour in config.price.peak_hours
        price = config.price.peak_millicents_per_kwh if peak else config.price.base_millicents_per_kwh
        register = space.register_wh[int(peak)]
        np.add(register, energy, out=register)
        np.multiply(energy, np.uint32(price), out=space.cost)
        np.add(space.carry, space.cost, out=space.carry)
        np.floor_divide(space.carry, np.uint32(UNITS_PER_CENT), out=space.debit)
        np.multiply(space.debit, np.uint32(UNITS_PER_CENT), out=space.cost)
        np.subtract(space.carry, space.cost, out=space.carry)
        np.subtract(space.balance, space.debit.view(np.int32), out=space.balance)  # under 2^31 by far
        np.less_equal(space.balance, config.topup_at_cents, out=space.low)
        low = np.flatnonzero(space.low)
        space.balance[low] += config.topup_cents
        space.topups[low] += 1

    def _tally(self, hours: int) -> Tally:
        config, space, meters = self._config, self._space, self._meters
        base, peak = (space.register_wh[k, :meters].astype(np.int64) for k in range(2))
        carry, topups, opening, closing = (
            a[:meters].astype(np.int64) for a in (space.carry, space.topups, space.opening, space.balance)
        )
        used = base * config.price.base_millicents_per_kwh + peak * config.price.peak_millicents_per_kwh
        charged = opening + topups * config.topup_cents - closing
        messages, commands = (np.bincount(space.failed[k, :meters]).tolist() for k in range(2))
        payments = int(topups.sum())
        return Tally(
            meters=meters,
            hours=hours,
            messages=hours,
            commands=2 * hours,
            by_messages_failed=tuple(messages),
            by_commands_failed=tuple(commands),
            repeated=self._repeated,
            base_wh=int(base.sum()),
            peak_wh=int(peak.sum()),
            opening_cents=int(opening.sum()),
            paid_cents=payments * config.topup_cents,
            charged_cents=int(charged.sum()),
            closing_cents=int(closing.sum()),
            carried_units=int(carry.sum()),
            payments=payments,
            hours_off=self._hours_off,
            hours_limited=self._hours_limited,
            out_of_balance=int(np.count_nonzero(charged * UNITS_PER_CENT + carry != used)),
        )
