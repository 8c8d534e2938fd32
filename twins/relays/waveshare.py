"""Twin of the Waveshare 8-channel Modbus relay boards (Modbus RTU Relay, Modbus POE ETH Relay).

Facts from the maker's development protocol V2; the register map is in `drivers.wire.waveshare`. The settling time of a
contact is our assumption. Coils are what the board reports; contacts follow them, unless a fault holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.errors import NotSupported, OutOfRange
from drivers.roles import Identity, Relay
from drivers.wire import waveshare as wire
from twins.clock import Clock, Timer
from twins.faces.modbus import (
    ILLEGAL_ADDRESS,
    ILLEGAL_FUNCTION,
    ILLEGAL_VALUE,
    ModbusDevice,
    ModbusRefusal,
    rtu_face,
    tcp_face,
)
from twins.models import Model
from twins.wiring import Contact, Load, Site, Source, Tap, single_phase

MANUFACTURER = "Waveshare"

_ChannelNumber = Annotated[int, Field(ge=1, le=wire.CHANNELS)]


class WaveshareOptions(BaseModel):
    """How one board is fitted and wired."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    contacts: dict[_ChannelNumber, str] = {}
    """Channel to the site's contact that it switches; a channel without one switches nothing."""
    inputs: dict[_ChannelNumber, str] = {}
    """Of a sibling board with digital inputs (Modbus RTU IO 8CH): input to the site's dry contact; an input without one is
    open. A board without any has no such function."""
    settle_s: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """From the coil to the contact, in seconds of bench time."""
    device_id: int = Field(default=1, ge=1, le=255)
    model: str = "Modbus RTU Relay (8CH)"
    software_version: int = Field(default=200, ge=0, le=0xFFFF)
    """A hundred times the version."""

    @model_validator(mode="after")
    def _one_channel_a_contact(self) -> Self:
        names = list(self.contacts.values())
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"contact {twice[0]!r} hangs on two channels; a contact belongs to one")
        return self


class WaveshareRelay:
    """The board: eight coils, their contacts in the site, flash timers of its own. Implements the role Relay.

    As long as a board has power it needs no host: a flash ends by the board's own timer, and a later write to the channel
    cancels it. Faults: `silent` (no reply, nothing done on the wire), `stuck_open_N` and `stuck_closed_N` (the contact of
    channel N stays as it is named whatever the coil does; the board cannot tell).
    """

    def __init__(
        self,
        clock: Clock,
        site: Site,
        *,
        name: str,
        options: WaveshareOptions,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.changed: list[Callable[[], None]] = []
        self.defects = defects
        self.unit = options.device_id
        self.uart = ("none", 9600)
        self.software_version = options.software_version
        self._clock = clock
        self._model = options.model
        self._settle_s = options.settle_s
        self._coils = [False] * wire.CHANNELS
        self._contacts: dict[int, Contact] = {wire.coil(ch): site.contact(c) for ch, c in options.contacts.items()}
        self._inputs: dict[int, Contact] = {wire.coil(n): site.contact(c) for n, c in options.inputs.items()}
        self._flashes: dict[int, Timer] = {}
        self._settling: dict[int, Timer] = {}
        self._faults: set[str] = set()
        for contact in self._contacts.values():
            contact.set(False)  # a board powers up with its coils released

    # --- The role ---------------------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        """How many contacts the board has."""
        return wire.CHANNELS

    def identify(self) -> Identity:
        """Maker, model, the device address (the board has no serial number), software version."""
        return Identity(MANUFACTURER, self._model, str(self.unit), wire.version_text(self.software_version))

    def close(self, channel: int) -> None:
        """Energise one coil. OutOfRange for a channel that is not on the board."""
        self.set_coils({self._coil(channel): True})

    def open(self, channel: int) -> None:
        """Release one coil. OutOfRange for a channel that is not on the board."""
        self.set_coils({self._coil(channel): False})

    def pulse(self, channel: int, seconds: float) -> None:
        """Energise one coil for `seconds` (0.1 to 3276.7, steps of 0.1). OutOfRange otherwise."""
        index = self._coil(channel)
        try:
            steps = wire.flash_steps(seconds)
        except ValueError as no:
            raise OutOfRange(f"{self.name}: {no}") from None
        self.flash(index, True, steps)

    def open_all(self) -> None:
        """Release every coil."""
        self.set_coils(dict.fromkeys(range(wire.CHANNELS), False))

    def closed(self) -> tuple[bool, ...]:
        """The coils' states, which is all that the board knows of its contacts."""
        return tuple(self._coils)

    def inputs(self) -> tuple[bool, ...]:
        """The digital inputs; NotSupported by a board without any."""
        if not self._inputs:
            raise NotSupported(f"{self.name}: the board has no digital inputs")
        return tuple(n in self._inputs and self._inputs[n].closed for n in range(wire.CHANNELS))

    def _coil(self, channel: int) -> int:
        try:
            return wire.coil(channel)
        except ValueError as no:
            raise OutOfRange(f"{self.name}: {no}") from None

    # --- What the board's protocol asks beyond the role ---------------------------------------------------------------

    @property
    def silent(self) -> bool:
        """Whether the board is deaf and dumb on its links."""
        return "silent" in self._faults

    def set_coils(self, states: dict[int, bool]) -> None:
        """Set coils, by index from 0, for good: a running flash of theirs is cancelled."""
        for index in states:
            self._end_flash(index)
        self._set(states)

    def flash(self, index: int, on: bool, steps: int) -> None:
        """Set one coil, by index from 0, to `on` for `steps` of 100 ms, then to the opposite."""
        self._end_flash(index)
        self._flashes[index] = self._clock.call_later(steps / 10, self._flash_over, index, not on)
        self._set({index: on})

    def set_unit(self, unit: int) -> None:
        """Change the device address, 1 to 255."""
        self.unit = unit
        self._tell()

    def _flash_over(self, index: int, state: bool) -> None:
        del self._flashes[index]
        self._set({index: state})

    def _end_flash(self, index: int) -> None:
        timer = self._flashes.pop(index, None)
        if timer is not None:
            timer.cancel()

    def _set(self, states: dict[int, bool]) -> None:
        moved = [index for index, state in states.items() if self._coils[index] != state]
        for index in moved:
            self._coils[index] = states[index]
            self._move(index)
        if moved:
            self._tell()

    def _move(self, index: int) -> None:
        if index not in self._contacts:
            return
        pending = self._settling.pop(index, None)
        if pending is not None:
            pending.cancel()
        if self._settle_s:
            self._settling[index] = self._clock.call_later(self._settle_s, self._settle, index)
        else:
            self._settle(index)

    def _settle(self, index: int) -> None:
        self._settling.pop(index, None)
        channel = index + 1
        if f"stuck_open_{channel}" in self._faults:
            closed = False
        elif f"stuck_closed_{channel}" in self._faults:
            closed = True
        else:
            closed = self._coils[index]
        self._contacts[index].set(closed)

    def _tell(self) -> None:
        for tell in list(self.changed):
            tell()

    # --- Faults and buttons --------------------------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of the faults that can be injected."""
        channels = range(1, wire.CHANNELS + 1)
        return ("silent", *(f"stuck_open_{n}" for n in channels), *(f"stuck_closed_{n}" for n in channels))

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off; ValueError for a name that is not in `faults`.

        A contact goes at once to where its fault holds it, and back to its coil when the fault ends.
        """
        if fault not in self.faults:
            raise ValueError(f"{self.name} has no fault {fault!r}; faults are {', '.join(self.faults)}")
        if on:
            kind, _, channel = fault.rpartition("_")
            self._faults -= {f"stuck_open_{channel}", f"stuck_closed_{channel}"} if kind else set()
            self._faults.add(fault)
        else:
            self._faults.discard(fault)
        index = int(fault.rpartition("_")[2]) - 1 if fault.startswith("stuck_") else None
        if index in self._contacts:
            self._settle(index)
        self._tell()

    @property
    def buttons(self) -> tuple[str, ...]:
        """The dry contacts at the board's inputs, by their names in the site: a person opens and closes them (a door)."""
        return tuple(contact.name for contact in self._inputs.values())

    def press(self, button: str) -> None:
        """Close the dry contact of that name, or open it where it is closed. ValueError where there is none."""
        for contact in self._inputs.values():
            if contact.name == button:
                contact.set(not contact.closed)
                self._tell()
                return
        raise ValueError(
            f"{self.name} has no button {button!r}; the contacts at its inputs are {', '.join(self.buttons) or 'none'}"
        )


class BoardRegisters(ModbusDevice):
    """The board's register map over its behaviour.

    Reads of some of the coils are answered, which a real board may not do; drivers read all of them.
    """

    def __init__(self, board: WaveshareRelay) -> None:
        self._board = board

    @property
    def unit(self) -> int:
        """The device address, as register 0x4000 has it now."""
        return self._board.unit

    @property
    def listening(self) -> bool:
        """False while the board is silent by a fault."""
        return not self._board.silent

    def read_coils(self, start: int, count: int) -> Sequence[bool]:
        """States of the coils; an illegal address beyond the eighth."""
        if start + count > wire.CHANNELS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return self._board.closed()[start : start + count]

    def read_discrete_inputs(self, start: int, count: int) -> Sequence[bool]:
        """States of the inputs; an illegal address beyond the eighth, an illegal function on a board without any."""
        try:
            states = self._board.inputs()
        except NotSupported:
            raise ModbusRefusal(ILLEGAL_FUNCTION) from None
        if start + count > wire.CHANNELS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return states[start : start + count]

    def write_coil(self, address: int, value: int) -> None:
        """On, off, toggle one coil or all; flash one."""
        for base, on in ((wire.FLASH_ON, True), (wire.FLASH_OFF, False)):
            if base <= address < base + wire.CHANNELS:
                if not 1 <= value <= wire.MOST_STEPS:
                    raise ModbusRefusal(ILLEGAL_VALUE)
                self._board.flash(address - base, on, value)
                return
        if address != wire.ALL and address >= wire.CHANNELS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        if value not in (wire.ON, wire.OFF, wire.TOGGLE):
            raise ModbusRefusal(ILLEGAL_VALUE)
        which = range(wire.CHANNELS) if address == wire.ALL else (address,)
        now = self._board.closed()
        self._board.set_coils({k: not now[k] if value == wire.TOGGLE else value == wire.ON for k in which})

    def write_coils(self, start: int, states: Sequence[bool]) -> None:
        """Set several coils at once; an illegal address beyond the eighth."""
        if start + len(states) > wire.CHANNELS:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        self._board.set_coils({start + k: state for k, state in enumerate(states)})

    def read_holding(self, start: int, count: int) -> Sequence[int]:
        """Device address and software version, one register at a time."""
        registers = {wire.DEVICE_ADDRESS: self._board.unit, wire.SOFTWARE_VERSION: self._board.software_version}
        if start not in registers or count != 1:
            raise ModbusRefusal(ILLEGAL_ADDRESS)
        return (registers[start],)

    def write_register(self, address: int, value: int) -> None:
        """Device address and UART settings. The latter are kept; a pty has no baud rate to change."""
        if address == wire.DEVICE_ADDRESS:
            if not 1 <= value <= 255:
                raise ModbusRefusal(ILLEGAL_VALUE)
            self._board.set_unit(value)
        elif address == wire.UART:
            try:
                self._board.uart = wire.uart_settings(value)
            except ValueError:
                raise ModbusRefusal(ILLEGAL_VALUE) from None
        else:
            raise ModbusRefusal(ILLEGAL_ADDRESS)


def default_site(site: Site) -> WaveshareOptions:
    """240 V, 60 Hz, 5 A at unity power factor behind channel 1's contact."""
    source = Source(site, "supply", single_phase(240.0), 60.0)
    source.feeds(Contact(site, "mains")).feeds(Tap(site, "load side")).feeds(Load(site, "load", "current", 5.0))
    return WaveshareOptions(contacts={1: "mains"})


MODEL = Model(
    name="waveshare-relay",
    role=Relay,
    options=WaveshareOptions,
    build=WaveshareRelay,
    faces={
        "rtu": lambda board, address, line: rtu_face(BoardRegisters(board), address, line),
        "modbus": lambda board, address, line: tcp_face(BoardRegisters(board), address, line),
    },
    default_site=default_site,
)
