"""The tables of the AMI meter as bytes: those of C12.19 that it has, and the manufacturer tables of our meter profile.

What the meter must have for that, and for its C12.18 port, is `MeterBehind`. Facts: `docs/meter-profile.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from drivers.errors import NotSupported, OutOfRange, Refused
from drivers.roles import MessageCode, Meter, MeterMessage
from drivers.wire import c1219, meter_profile, meter_settings
from drivers.wire.c1218 import Result
from drivers.wire.c1219 import TableError
from twins.meters.timekeeping import OwnClock

_STANDARD = frozenset((0, 1, 3, 5, 6, 7, 8, 21, 22, 23, 27, 28, 52))
_OWN = frozenset(range(19))
GENERAL = frozenset((0, 1, 3, 5, 6, 8, 21, 22, 27, 52, meter_profile.PROFILE, meter_profile.CLOCK))
KNOWN = _STANDARD | {c1219.MANUFACTURER + n for n in _OWN}
SETTINGS = frozenset(
    (meter_settings.LIMIT_STEPS, meter_settings.RULES, meter_settings.PRIORITIES, meter_settings.CUSTOMER)
)
WRITABLE = SETTINGS | {c1219.PROC_INITIATE, meter_profile.INBOX, meter_profile.CONFIG}
"""Tables that a session may read before a password, tables there are, tables of settings, and tables that can be written."""
_GEN_CONFIG = c1219.GenConfig(
    standard_tables=_STANDARD,
    manufacturer_tables=_OWN,
    standard_procedures=frozenset((c1219.SET_DATE_TIME, c1219.DIRECT_LOAD_CONTROL, c1219.MODIFY_CREDIT)),
    manufacturer_procedures=frozenset((meter_profile.SET_CLOCK - c1219.MANUFACTURER,)),
    standard_writable=frozenset((c1219.PROC_INITIATE,)),
    manufacturer_writable=frozenset(n - c1219.MANUFACTURER for n in WRITABLE if n > c1219.MANUFACTURER),
).encode()


class Settings(Protocol):
    """What the port and the tables ask of a meter's options."""

    @property
    def reader_password(self) -> str: ...

    @property
    def utility_password(self) -> str: ...

    @property
    def master_password(self) -> str: ...

    @property
    def interval_capacity(self) -> int: ...

    @property
    def log_capacity(self) -> int: ...

    @property
    def receipt_capacity(self) -> int: ...


class MeterBehind(Meter, Protocol):
    """A meter as the port meets it: its role, and what only its own faces ask."""

    @property
    def options(self) -> Settings: ...

    @property
    def own_clock(self) -> OwnClock: ...

    @property
    def answers(self) -> bool:
        """Whether the meter talks."""
        ...

    @property
    def power_ups(self) -> int:
        """How often the meter came up: a session ends with the supply."""
        ...

    def profile(self) -> meter_profile.Profile: ...

    def counters(self) -> meter_profile.Counters: ...

    def demand_limit(self) -> meter_profile.DemandLimit: ...

    def config(self) -> meter_profile.Config: ...

    def limit_steps(self) -> meter_settings.LimitSteps: ...

    def set_limit_steps(self, steps: meter_settings.LimitSteps) -> None: ...

    def limit_step(self, step: int) -> None: ...

    def rules(self) -> Sequence[meter_settings.Rule]: ...

    def set_rules(self, rules: Sequence[meter_settings.Rule]) -> None: ...

    def message_priorities(self) -> Mapping[MessageCode, int]: ...

    def set_message_priorities(self, priorities: Mapping[MessageCode, int]) -> None: ...

    def customer(self) -> meter_settings.CustomerSettings: ...

    def set_customer(self, settings: meter_settings.CustomerSettings) -> None: ...

    def local_time(self) -> meter_settings.LocalTime: ...

    def numbered_intervals(self) -> Sequence[meter_profile.NumberedInterval]: ...

    def send_malformed(self, head: MeterMessage) -> None:
        """Accept a message of which only the head could be read."""
        ...

    def security_failed(self, user_id: int) -> None:
        """Somebody who logged on as `user_id` gave a wrong password."""
        ...


def _version(firmware: str) -> tuple[int, int]:
    version, _, revision = firmware.partition(".")
    return int(version), int(revision)


class Tables:
    """The tables of one meter as bytes."""

    def __init__(self, meter: MeterBehind) -> None:
        who = meter.identify()
        firmware = _version(who.firmware)
        fixed = {
            c1219.GEN_CONFIG: _GEN_CONFIG,
            c1219.MFG_ID: c1219.MfgId(who.manufacturer, who.model, (1, 0), firmware, who.serial).encode(),
            c1219.DEVICE_IDENT: c1219.encode_device_ident(meter.meter_id()),
            c1219.UTIL_INFO: c1219.UtilityInfo(device_id=meter.meter_id()).encode(),
            c1219.ACT_REGS: c1219.RegisterSizes(
                summations=len(c1219.SUMMATIONS), present_values=len(c1219.PRESENT)
            ).encode(),
            c1219.DATA_SELECTION: c1219.encode_selection(c1219.SUMMATIONS),
            c1219.PRESENT_SELECTION: c1219.encode_selection(c1219.PRESENT),
        }
        self._meter = meter
        self._tables: dict[int, Callable[[], bytes]] = {
            c1219.ED_MODE_STATUS: self._status,
            c1219.CURRENT_REGS: self._registers,
            c1219.PRESENT_REGS: self._present,
            c1219.CLOCK: lambda: c1219.ClockTable(meter.clock()).encode(),
            meter_profile.PROFILE: lambda: meter.profile().encode(),
            meter_profile.COUNTERS: lambda: meter.counters().encode(),
            meter_profile.SERVICE: lambda: meter_profile.encode_service(meter.service()),
            meter_profile.LIMIT: lambda: meter.demand_limit().encode(),
            meter_profile.ACCOUNT: lambda: meter_profile.encode_account(meter.account()),
            meter_profile.SCHEDULE: lambda: meter_profile.encode_schedule(meter.schedule()),
            meter_profile.DISPLAY: lambda: meter_profile.encode_display(meter.display()),
            meter_profile.TEST_RESULT: lambda: meter_profile.encode_test_result(meter.test_result()),
            meter_profile.CLOCK: lambda: meter_profile.encode_clock(meter.clock()),
            meter_profile.CONFIG: lambda: meter.config().encode(),
            meter_settings.LIMIT_STEPS: lambda: meter.limit_steps().encode(),
            meter_settings.RULES: lambda: meter_settings.encode_rules(meter.rules()),
            meter_settings.PRIORITIES: lambda: meter_settings.encode_priorities(meter.message_priorities()),
            meter_settings.CUSTOMER: lambda: meter.customer().encode(),
            meter_settings.LOCAL_TIME: lambda: meter.local_time().encode(),
        }
        for number, table in fixed.items():
            self._tables[number] = lambda table=table: table  # type: ignore[misc]
        capacity = meter.options
        self._rings: dict[int, tuple[meter_profile.Ring[Any], Callable[[], Sequence[Any]], int]] = {
            meter_profile.INTERVALS: (
                meter_profile.INTERVAL_RING,
                meter.numbered_intervals,
                capacity.interval_capacity,
            ),
            meter_profile.LOG: (meter_profile.LOG_RING, meter.log, capacity.log_capacity),
            meter_profile.RECEIPTS: (meter_profile.RECEIPT_RING, meter.receipts, capacity.receipt_capacity),
        }

    def read(self, table: int) -> bytes | None:
        """A whole table; None for one that cannot be read, or not in one piece."""
        if table in self._rings:
            ring, entries, capacity = self._rings[table]
            held = entries()
            size = ring.head(held, capacity).size
            return ring.read(held, capacity, 0, size) if size < 1 << 16 else None
        make = self._tables.get(table)
        return None if make is None else make()

    def read_part(self, table: int, offset: int, count: int) -> bytes | None:
        """Some bytes of a table; None where there are none such."""
        if table in self._rings:
            ring, entries, capacity = self._rings[table]
            try:
                return ring.read(entries(), capacity, offset, count)
            except TableError:
                return None
        whole = self.read(table)
        return None if whole is None or offset + count > len(whole) else whole[offset : offset + count]

    def configure(self, table: int, data: bytes) -> Result:
        """Take what is written to a table of settings."""
        meter = self._meter
        try:
            if table == meter_settings.LIMIT_STEPS:
                meter.set_limit_steps(meter_settings.LimitSteps.decode(data))
            elif table == meter_settings.RULES:
                meter.set_rules(meter_settings.decode_rules(data))
            elif table == meter_settings.PRIORITIES:
                meter.set_message_priorities(meter_settings.decode_priorities(data))
            else:
                meter.set_customer(meter_settings.CustomerSettings.decode(data))
        except NotSupported:
            return Result.ONP
        except (TableError, OutOfRange, Refused):
            return Result.IAR
        return Result.OK

    def _status(self) -> bytes:
        stopped = self._meter.own_clock.stopped
        return c1219.ModeStatus(status=c1219.Status.CLOCK_ERROR if stopped else c1219.Status(0)).encode()

    def _registers(self) -> bytes:
        now = self._meter.reading()
        return c1219.encode_registers((round(now.delivered_wh * 1000), round(now.received_wh * 1000)))

    def _present(self) -> bytes:
        now = self._meter.reading()
        values = (now.voltage_v, now.current_a, now.power_w, now.frequency_hz)
        return c1219.encode_registers(round(value * 1000) for value in values)
