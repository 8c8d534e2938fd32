"""What a device can do, by role: protocols and frozen dataclasses, nothing else.

SI units throughout: volts, amperes, watts, watt-hours, seconds; angles in degrees; money in integer cents. Times are aware UTC.
A driver implements the role of its device, and so does the device's twin behaviour: whatever holds a role can be
asked the same questions. No role has a default that does nothing: a model that cannot do something raises
`drivers.errors.NotSupported`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Identity:
    """Who a device says it is."""

    manufacturer: str
    model: str
    serial: str
    firmware: str


@runtime_checkable
class Device(Protocol):
    """Anything on the bench that can say who it is."""

    def identify(self) -> Identity:
        """Read manufacturer, model, serial number and firmware version from the device."""
        ...


# --- Relay ---------------------------------------------------------------------------------------------------------


@runtime_checkable
class Relay(Device, Protocol):
    """A board of single-pole contacts. Channels count from 1, as printed on the board."""

    @property
    def channels(self) -> int:
        """How many contacts the board has."""
        ...

    def close(self, channel: int) -> None:
        """Close one contact (coil energised) and leave it so."""
        ...

    def open(self, channel: int) -> None:
        """Open one contact (coil released) and leave it so."""
        ...

    def pulse(self, channel: int, seconds: float) -> None:
        """Close one contact for `seconds`, timed by the board itself, so it opens even if the host dies."""
        ...

    def open_all(self) -> None:
        """Open every contact with a single command."""
        ...

    def closed(self) -> tuple[bool, ...]:
        """Read every contact's state as the board reports it; index 0 is channel 1."""
        ...


# --- Power analyzer --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PowerReading:
    """One set of simultaneous readings of one element. NaN where the analyzer had no data, inf where it was over range."""

    voltage_v: float
    current_a: float
    power_w: float
    apparent_va: float
    reactive_var: float
    power_factor: float
    phase_deg: float
    frequency_hz: float


class Integration(enum.Enum):
    """State of an analyzer's integrator."""

    RESET = "reset"
    RUNNING = "running"
    STOPPED = "stopped"
    TIME_UP = "time up"
    ERROR = "error"


@dataclass(frozen=True)
class EnergyReading:
    """What an analyzer integrated since its integrator started."""

    energy_wh: float
    charge_ah: float
    elapsed_s: float
    state: Integration


@runtime_checkable
class PowerAnalyzer(Device, Protocol):
    """Measures voltage, current and power of one circuit and integrates them. It never acts on the circuit."""

    def set_ranges(self, voltage_v: float | None, current_a: float | None) -> None:
        """Choose measurement ranges in volts and amperes rms; None lets the instrument choose by itself (auto range)."""
        ...

    def ranges(self) -> tuple[float, float]:
        """Read the voltage and current range in force, in volts and amperes rms."""
        ...

    def set_update_period(self, seconds: float) -> None:
        """Choose how often the instrument makes a new set of readings."""
        ...

    def read(self) -> PowerReading:
        """Read the latest set of readings."""
        ...

    def start_integration(self) -> None:
        """Reset the integrator and start it."""
        ...

    def stop_integration(self) -> None:
        """Stop the integrator and keep what it holds."""
        ...

    def integrated(self) -> EnergyReading:
        """Read what the integrator holds; it may still be running."""
        ...


# --- AC source -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceReading:
    """What a source measures at its own output."""

    voltage_v: float
    current_a: float
    power_w: float
    frequency_hz: float


@runtime_checkable
class AcSource(Device, Protocol):
    """A programmable single-phase AC source with an output relay. A tripped protection latches the output off until cleared."""

    def set_output(self, voltage_v: float, frequency_hz: float) -> None:
        """Set the output's voltage (rms) and frequency together. It does not switch the output on or off."""
        ...

    def set_limits(self, voltage_v: float, current_a: float) -> None:
        """Set the voltage that the source will not be set above, and the rms current at which it trips."""
        ...

    def on(self) -> None:
        """Close the output relay: the voltage set is at the terminals. Refused while a protection is latched."""
        ...

    def off(self) -> None:
        """Open the output relay. Always possible."""
        ...

    def is_on(self) -> bool:
        """Read whether the output relay is closed."""
        ...

    def read(self) -> SourceReading:
        """Measure the output afresh."""
        ...

    def trips(self) -> tuple[str, ...]:
        """Read the protections that are latched, by name; empty where there are none."""
        ...

    def clear_trips(self) -> None:
        """Release latched protections. The output stays off."""
        ...


# --- AC load ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadReading:
    """What a load measures at its own input."""

    voltage_v: float
    current_a: float
    power_w: float
    apparent_va: float
    reactive_var: float
    power_factor: float


@runtime_checkable
class AcLoad(Device, Protocol):
    """A programmable AC load. Power factor: positive lagging, negative leading, in [-1, 0) or (0, 1]."""

    def set_current(self, current_a: float, power_factor: float = 1.0) -> None:
        """Draw a constant rms current. It does not switch the input on or off."""
        ...

    def set_power(self, power_w: float, power_factor: float = 1.0) -> None:
        """Draw a constant power. It does not switch the input on or off."""
        ...

    def on(self) -> None:
        """Switch the input on: the load draws what was set."""
        ...

    def off(self) -> None:
        """Switch the input off: the load draws nothing."""
        ...

    def is_on(self) -> bool:
        """Read whether the input is on."""
        ...

    def read(self) -> LoadReading:
        """Measure the input afresh."""
        ...


# --- Display device of the home area network ---------------------------------------------------------------------------


@dataclass(frozen=True)
class HanLink:
    """A display's place on the home area network. `status` is in the device's own words; `joined` is what it comes to."""

    joined: bool
    status: str
    link_strength_percent: int


@dataclass(frozen=True)
class DisplayedMessage:
    """The text message that a display holds."""

    message_id: int
    text: str
    confirmation_required: bool
    confirmed: bool
    received_at: datetime | None = field(default=None, compare=False)
    """When the display got it from the meter, by the display's own clock; None where it does not say."""


@dataclass(frozen=True)
class DisplayedBalance:
    """The prepaid balance as the display received it: money, energy, the moment it stands for, and the time left with the
    estimated moment of zero; None for those two where the display was not told."""

    balance_cents: int
    credit_wh: int  # to whole kWh where the display's text format has no more
    at: datetime
    time_left: timedelta | None = None
    zero_at: datetime | None = None
    received_at: datetime | None = field(default=None, compare=False)
    """When the display got it from the meter, by the display's own clock; None where it does not say."""


@runtime_checkable
class Display(Device, Protocol):
    """A display device in the home, joined to the meter's home area network. None where it has received nothing yet."""

    def link(self) -> HanLink:
        """Read the display's connection to the home area network."""
        ...

    def meters(self) -> tuple[str, ...]:
        """Read the addresses of the meters that the display has joined."""
        ...

    def price_millicents_per_kwh(self) -> int | None:
        """Read the price of energy that the display shows; 1 USD/kWh is 100,000."""
        ...

    def demand_w(self) -> float | None:
        """Read the demand that the display shows; negative where the premises deliver."""
        ...

    def delivered_wh(self) -> float | None:
        """Read the energy register that the display shows."""
        ...

    def message(self) -> DisplayedMessage | None:
        """Read the text message that the display shows."""
        ...

    def confirm(self, message_id: int) -> None:
        """Confirm a message at the display, as its user would."""
        ...

    def balance(self) -> DisplayedBalance | None:
        """Read the prepaid balance that the display shows."""
        ...


# --- Meter -----------------------------------------------------------------------------------------------------------


class Billing(enum.Enum):
    """How the meter's service is billed."""

    REGULAR = 0
    PREPAID = 1


class AtZero(enum.Enum):
    """What happens when the prepaid balance reaches zero, as chosen by the customer."""

    DISCONNECT = 1
    LIMIT = 2
    REGULAR_BILLING = 3
    AUTO_REPLENISH = 4


class MessageCode(enum.IntEnum):
    """What a message from the head-end to the meter is about (our profile, `docs/meter-profile.md`)."""

    PREPAYMENT = 1  # credit posted: balance, energy credit, price, option at zero; energises the service
    BALANCE = 2  # refresh of balance, time left and estimated moment of zero
    CONNECT = 3
    DISCONNECT = 4
    LIMIT = 5  # demand limit in `limit_w`
    RESTORE = 6  # end of the demand limit
    SCHEDULE = 7  # a prepayment event: start, end, energy credit, option
    CANCEL_SCHEDULE = 8
    BILLING = 9  # convert to `billing` at the end of the running interval
    TEXT = 10
    TEST = 11  # on-demand test: connectivity, switch, energised, load-side voltage and current


@dataclass(frozen=True)
class MeterMessage:
    """A message to the meter. `message_id` is unique; a meter applies one id once. Fields that a code doesn't use stay None."""

    message_id: int  # 1 .. 2**32 - 1
    code: MessageCode
    issued_at: datetime
    priority: int = 5  # 0 is the most urgent, 9 the least
    balance_cents: int | None = None
    credit_wh: int | None = None
    price_millicents_per_kwh: int | None = None  # 1 USD/kWh is 100,000
    time_left: timedelta | None = None
    zero_at: datetime | None = None
    at_zero: AtZero | None = None
    limit_w: int | None = None
    billing: Billing | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    event_id: int | None = (
        None  # of a schedule, or the schedule to cancel; with a text, its number in the meter's catalogue
    )
    text: str | None = None


class ReceiptStatus(enum.IntEnum):
    """How the meter's processing of a message ended."""

    PROCESSED = 0
    DUPLICATE = 1  # the id was applied before; nothing was done again
    REFUSED = 2  # not possible now or on this meter
    MALFORMED = 3
    OVERLAP = 4  # the schedule overlaps a stored one, which is kept


@dataclass(frozen=True)
class Receipt:
    """What a meter returns for a message it has processed. `sequence` counts receipts of the meter from 1."""

    sequence: int
    message_id: int
    code: MessageCode
    meter_id: str
    status: ReceiptStatus
    completed_at: datetime  # by the meter's own clock


class EventCode(enum.IntEnum):
    """What a meter's log entry is about (our profile)."""

    POWER_UP = 1
    CLOCK_SET = 2
    SETTINGS_CHANGED = 3  # argument: number of the table that was written
    MESSAGE_RECEIVED = 10  # argument: message id; message_code tells which kind
    RECEIPT_SENT = 11  # argument: message id
    SWITCH_CLOSED = 20
    SWITCH_OPENED = 21
    LIMIT_SET = 22  # argument: watts
    LIMIT_CLEARED = 23
    LIMIT_TRIPPED = 24
    RECLOSED = 25
    MANUAL_RECLOSE = 26
    BILLING_CHANGED = 30
    ZERO_REACHED = 31
    SCHEDULE_STORED = 40  # argument: event id
    SCHEDULE_OVERLAP = 41  # argument: event id refused
    SCHEDULE_CANCELLED = 42
    SCHEDULE_STARTED = 43
    SCHEDULE_ENDED = 44
    RULE_CARRIED_OUT = 45  # argument: id of the stored command
    REFUSED_LOCAL_CREDIT = 50  # somebody tried to add credit at the meter itself
    SECURITY_FAILED = 51


@dataclass(frozen=True)
class LogEntry:
    """One entry of a meter's log. `sequence` counts entries from 1; `at` is by the meter's own clock."""

    sequence: int
    at: datetime
    event: EventCode
    message_code: MessageCode | None
    argument: int


@dataclass(frozen=True)
class Interval:
    """Energy delivered in one recording interval, [ends_at - length, ends_at). `complete` is false for a partial one
    (power-up, clock set inside it)."""

    ends_at: datetime
    length: timedelta
    energy_wh: float
    complete: bool


class Switch(enum.Enum):
    """State of a meter's service switch."""

    OPEN = 0
    CLOSED = 1
    TRIPPED = 2  # opened by the demand limit, may re-close
    NONE = 3  # no switch fitted (transformer rated)


@dataclass(frozen=True)
class ServiceStatus:
    """The service as the meter sees it."""

    switch: Switch
    energised: bool  # voltage present at the load side
    load_side_voltage_v: float
    load_side_current_a: float
    limit_w: int | None
    billing: Billing


@dataclass(frozen=True)
class MeterReading:
    """Registers and present values of a meter."""

    delivered_wh: float
    received_wh: float
    voltage_v: float
    current_a: float
    power_w: float
    frequency_hz: float


@dataclass(frozen=True)
class Account:
    """The prepayment account as the meter holds it. `updated_at` is the meter's own clock at the last update, None before any."""

    billing: Billing
    balance_cents: int
    credit_wh: int
    price_millicents_per_kwh: int
    time_left: timedelta
    zero_at: datetime | None
    at_zero: AtZero | None
    last_message_id: int
    updated_at: datetime | None


class DisplayCode(enum.IntEnum):
    """What a line of the meter's display is about (our profile). Formats: `$12.34`, `56.7 kWh`, `3 d 04 h 05 min`,
    `2026-01-05 08:00` in the meter's local time, `$0.2150/kWh`."""

    BALANCE = 1
    CREDIT = 2
    TIME_LEFT = 3
    UPDATED = 4
    PRICE = 5
    ENERGY = 6  # register, `000123.4 kWh`
    DEMAND = 7  # present power, `1.234 kW`
    SERVICE = 8  # `ON`, `OFF`, `LIMIT 3.0 kW`, `TRIPPED`
    CLOCK = 9
    MESSAGE = 10  # text of the utility
    COST = 11  # what the present power costs, `$0.1290/h`
    NOTICE = 12  # the prepaid balance has reached zero; in the customer's language


@dataclass(frozen=True)
class DisplayItem:
    """One line that the meter's display shows: its code and the text as a person reads it."""

    code: DisplayCode
    text: str


@dataclass(frozen=True)
class ScheduledEvent:
    """A prepayment event stored in the meter, [starts_at, ends_at)."""

    event_id: int
    starts_at: datetime
    ends_at: datetime
    credit_wh: int
    at_zero: AtZero


@dataclass(frozen=True)
class MeterTestResult:
    """Result of an on-demand test that the meter ran for message `message_id`."""

    message_id: int
    completed_at: datetime
    connected: bool
    switch: Switch
    energised: bool
    load_side_voltage_v: float
    load_side_current_a: float


@runtime_checkable
class Meter(Device, Protocol):
    """A revenue meter with a service switch and a prepayment account.

    `send` hands over a message: it returns once the meter has accepted it, and the meter's processing shows in `receipts`.
    """

    def meter_id(self) -> str:
        """Read the device id (C12.19 table 5) under which the utility knows the meter."""
        ...

    def clock(self) -> datetime:
        """Read the meter's own clock, UTC."""
        ...

    def set_clock(self, when: datetime) -> None:
        """Set the meter's own clock, UTC."""
        ...

    def set_interval(self, length: timedelta) -> None:
        """Set the length of the recording interval: a divisor of an hour in whole minutes, at most 60 minutes."""
        ...

    def reading(self) -> MeterReading:
        """Read registers and present values."""
        ...

    def service(self) -> ServiceStatus:
        """Read the state of the service switch, the load side, the demand limit and the billing mode."""
        ...

    def connect(self) -> None:
        """Close the service switch at once (direct load control, no message and no receipt)."""
        ...

    def disconnect(self) -> None:
        """Open the service switch at once (direct load control, no message and no receipt)."""
        ...

    def limit(self, watts: int | None) -> None:
        """Set the demand limit in watts at once, or end it with None (direct load control, no message and no receipt)."""
        ...

    def send(self, message: MeterMessage) -> None:
        """Hand a message to the meter, which accepts it now and processes it later."""
        ...

    def receipts(self, after: int = 0) -> Sequence[Receipt]:
        """Read the stored receipts whose sequence is above `after`, oldest first."""
        ...

    def log(self, after: int = 0) -> Sequence[LogEntry]:
        """Read the stored log entries whose sequence is above `after`, oldest first."""
        ...

    def intervals(self, since: datetime | None = None) -> Sequence[Interval]:
        """Read the recorded intervals that end after `since`, oldest first; the running one is not among them."""
        ...

    def account(self) -> Account:
        """Read the prepayment account."""
        ...

    def add_credit(self, cents: int) -> None:
        """Try to add credit at the meter itself (standard procedure 22). A meter of this programme refuses: payments
        are taken by the utility alone."""
        ...

    def display(self) -> Sequence[DisplayItem]:
        """Read what the meter's own display shows, in its order; empty where it is switched off."""
        ...

    def schedule(self) -> Sequence[ScheduledEvent]:
        """Read the prepayment events stored, by start."""
        ...

    def test_result(self) -> MeterTestResult | None:
        """Read the result of the latest on-demand test, None before any."""
        ...
