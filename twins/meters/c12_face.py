"""The AMI meter's optical port: ANSI C12.18 sessions carrying C12.19 tables and the tables of our meter profile.

Facts: C12.18 and C12.19 as public client code speaks them; the manufacturer tables are those of `docs/meter-profile.md`.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from drivers.errors import NotSupported, OutOfRange, Refused
from drivers.roles import Switch
from drivers.wire import c1219, meter_profile, meter_settings
from drivers.wire.c1218 import (
    BAUD_CODES,
    DEFAULT_PACKET_SIZE,
    DEFAULT_PACKETS,
    LARGEST_PACKET,
    BadRequest,
    Ident,
    IdentResponse,
    Logoff,
    Logon,
    Negotiate,
    NegotiateResponse,
    Read,
    ReadPart,
    ReadResponse,
    Request,
    Result,
    Security,
    Station,
    Terminate,
    TooLong,
    Wait,
    Write,
    WritePart,
    declined,
    decode_request,
)
from drivers.wire.c1219 import ProcedureResult, TableError
from twins.faces.stream import Send

if TYPE_CHECKING:
    from twins.meters.ami_meter import AmiMeter

RESPONSE_TIMEOUT_S = 2.0
"""Real seconds after which a packet that was not acknowledged goes out again, three times at most."""

TRAFFIC_TIMEOUT_S = 6.0
"""Real seconds of silence that end a session (the channel traffic time-out)."""

QUIET_S = 0.1
"""Real seconds without a byte after which half a packet is given up."""

_HOME_BAUD = 6  # 9600
_SMALLEST_PACKET = 16


class Level(enum.IntEnum):
    """What a session may do; each level includes those below it."""

    NONE = 0  # logged on: general tables
    READER = 1  # every table
    UTILITY = 2  # messages, configuration, procedures
    MASTER = 3


class _State(enum.Enum):
    BASE = 0
    IDENTIFIED = 1
    SESSION = 2


class Handle(Protocol):
    """A timer that can be cancelled."""

    def cancel(self) -> None:
        """See that it does not run."""


Later = Callable[[float, Callable[[], None]], Handle]
"""Calls a function after so many real seconds."""


def _loop_later(seconds: float, fn: Callable[[], None]) -> Handle:
    return asyncio.get_running_loop().call_later(seconds, fn)


_STANDARD = frozenset((0, 1, 3, 5, 6, 7, 8, 21, 22, 23, 27, 28, 52))
_OWN = frozenset(range(19))
_GENERAL = frozenset((0, 1, 3, 5, 6, 8, 21, 22, 27, 52, meter_profile.PROFILE, meter_profile.CLOCK))
_KNOWN = _STANDARD | {c1219.MANUFACTURER + n for n in _OWN}
_SETTINGS = frozenset(
    (meter_settings.LIMIT_STEPS, meter_settings.RULES, meter_settings.PRIORITIES, meter_settings.CUSTOMER)
)
_WRITABLE = _SETTINGS | {c1219.PROC_INITIATE, meter_profile.INBOX, meter_profile.CONFIG}
_GEN_CONFIG = c1219.GenConfig(
    standard_tables=_STANDARD,
    manufacturer_tables=_OWN,
    standard_procedures=frozenset((c1219.SET_DATE_TIME, c1219.DIRECT_LOAD_CONTROL, c1219.MODIFY_CREDIT)),
    manufacturer_procedures=frozenset((meter_profile.SET_CLOCK - c1219.MANUFACTURER,)),
    standard_writable=frozenset((c1219.PROC_INITIATE,)),
    manufacturer_writable=frozenset(n - c1219.MANUFACTURER for n in _WRITABLE if n > c1219.MANUFACTURER),
).encode()


def _version(firmware: str) -> tuple[int, int]:
    version, _, revision = firmware.partition(".")
    return int(version), int(revision)


class Tables:
    """The tables of one meter as bytes."""

    def __init__(self, meter: AmiMeter) -> None:
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


class C1218Session:
    """One host at the meter's port. `set_baud` is told the line's rate in bits a second once it changes."""

    def __init__(
        self,
        meter: AmiMeter,
        send: Send,
        *,
        set_baud: Callable[[int], None] = lambda baud: None,
        later: Later = _loop_later,
        response_timeout_s: float = RESPONSE_TIMEOUT_S,
        traffic_timeout_s: float = TRAFFIC_TIMEOUT_S,
    ) -> None:
        self._meter = meter
        self._send = send
        self._set_baud = set_baud
        self._later = later
        self._response_timeout_s = response_timeout_s
        self._traffic_timeout_s = traffic_timeout_s
        self._tables = Tables(meter)
        options = meter.options
        self._passwords = {
            options.reader_password.encode(): Level.READER,
            options.utility_password.encode(): Level.UTILITY,
            options.master_password.encode(): Level.MASTER,
        }
        self._power_ups = meter.power_ups
        self._station = Station(answers=True)
        self._state = _State.BASE
        self._level = Level.NONE
        self._user_id = 0
        self._baud = _HOME_BAUD
        self._response = b""
        self._silence_s = traffic_timeout_s
        self._heard_at = time.monotonic()
        self._repeat_at = 0.0
        self._repeat: Handle | None = None
        self._rest: Handle | None = None

    def received(self, data: bytes) -> None:
        """Take bytes from the host."""
        if not self._meter.answers:
            self._station.forget()
            return
        now = time.monotonic()
        if self._meter.power_ups != self._power_ups:
            self._power_ups = self._meter.power_ups
            self._station = Station(answers=True)
            self._end(_State.BASE)
        elif self._state is not _State.BASE and now - self._heard_at > self._silence_s:
            self._end(_State.BASE)
        self._heard_at = now
        station = self._station
        for message in station.feed(data):
            self._answer(message)
        self._flush(now)
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if station.unsettled:
            self._rest = self._later(QUIET_S, self._quiet)

    def closed(self) -> None:
        """The host has gone."""
        for timer in (self._repeat, self._rest):
            if timer is not None:
                timer.cancel()
        self._repeat = self._rest = None

    # --- The line ----------------------------------------------------------------------------------------------------

    def _flush(self, now: float) -> None:
        out = self._station.take()
        if out:
            self._send(out)
        if self._station.sending:
            self._repeat_at = now + self._response_timeout_s
            if self._repeat is None:
                self._repeat = self._later(self._response_timeout_s, self._overdue)

    def _overdue(self) -> None:
        # One timer runs on instead of one for each packet: it looks whether the latest packet is due.
        self._repeat = None
        if not self._station.sending or not self._meter.answers:
            return
        now = time.monotonic()
        left = self._repeat_at - now
        if left > 0.001:
            self._repeat = self._later(left, self._overdue)
        else:
            self._station.expired()
            self._flush(now)

    def _quiet(self) -> None:
        self._rest = None
        if not self._meter.answers:
            return
        for message in self._station.quiet():
            self._answer(message)
        self._flush(time.monotonic())

    def _end(self, state: _State) -> None:
        self._state = state
        self._level = Level.NONE
        self._silence_s = self._traffic_timeout_s
        self._station.resize(DEFAULT_PACKET_SIZE, DEFAULT_PACKETS)
        if self._baud != _HOME_BAUD:
            self._baud = _HOME_BAUD
            self._set_baud(BAUD_CODES[_HOME_BAUD])

    # --- Services ----------------------------------------------------------------------------------------------------

    def _answer(self, message: bytes) -> None:
        self._silence_s = self._traffic_timeout_s
        try:
            request = decode_request(message)
        except BadRequest as no:
            self._say(declined(no.result))
            return
        if isinstance(request, Ident):
            self._end(_State.IDENTIFIED)
            self._say(IdentResponse().encode())
        elif isinstance(request, Terminate):
            self._say(declined(Result.OK))
            self._flush(time.monotonic())
            self._end(_State.BASE)
        elif isinstance(request, Negotiate):
            self._negotiate(request)
        else:
            try:
                self._say(self._serve(request))
            except TableError:
                self._say(declined(Result.ERR))

    def _say(self, response: bytes) -> None:
        try:
            self._station.send(response)
        except TooLong:
            self._station.send(declined(Result.ONP))

    def _negotiate(self, request: Negotiate) -> None:
        if self._state is not _State.IDENTIFIED:
            self._say(declined(Result.ISSS))
            return
        if request.packet_size < _SMALLEST_PACKET or not request.packets:
            self._say(declined(Result.ERR))
            return
        size = min(request.packet_size, LARGEST_PACKET)
        offered = [code for code in request.bauds if code in BAUD_CODES]
        baud = max(offered, default=self._baud)
        self._say(NegotiateResponse(size, request.packets, baud).encode())
        self._station.resize(size, request.packets)
        if baud != self._baud:
            self._flush(time.monotonic())  # at the old rate
            self._baud = baud
            self._set_baud(BAUD_CODES[baud])

    def _serve(self, request: Request) -> bytes:
        if isinstance(request, Wait):
            if self._state is _State.BASE:
                return declined(Result.ISSS)
            self._silence_s = max(float(request.seconds), self._traffic_timeout_s)
            return declined(Result.OK)
        if isinstance(request, Logon):
            if self._state is not _State.IDENTIFIED:
                return declined(Result.ISSS)
            self._state = _State.SESSION
            self._user_id = request.user_id
            return declined(Result.OK)
        if self._state is not _State.SESSION:
            return declined(Result.ISSS)
        if isinstance(request, Security):
            return self._secure(request.password)
        if isinstance(request, Logoff):
            self._state = _State.IDENTIFIED
            self._level = Level.NONE
            return declined(Result.OK)
        if isinstance(request, (Read, ReadPart)):
            return self._read(request)
        if isinstance(request, (Write, WritePart)):
            return self._write(request)
        return declined(Result.SNS)

    def _secure(self, password: bytes) -> bytes:
        level = self._passwords.get(password)
        if level is None:
            self._level = Level.NONE
            self._meter.security_failed(self._user_id)
            return declined(Result.ISC)
        self._level = level
        return declined(Result.OK)

    def _read(self, request: Read | ReadPart) -> bytes:
        table = request.table
        if table not in _KNOWN:
            return declined(Result.ONP)
        if self._level < Level.READER and table not in _GENERAL:
            return declined(Result.ISC)
        data: bytes | None
        if table == c1219.PROC_RESPONSE:
            data = self._response
            if not data:
                return declined(Result.DNR)
            if isinstance(request, ReadPart):
                end = request.offset + request.count
                data = data[request.offset : end] if end <= len(data) else None
        elif isinstance(request, Read):
            data = self._tables.read(table)
        else:
            data = self._tables.read_part(table, request.offset, request.count)
        return declined(Result.IAR) if data is None else ReadResponse(data).encode()

    def _write(self, request: Write | WritePart) -> bytes:
        table = request.table
        if table not in _KNOWN:
            return declined(Result.ONP)
        if self._level < Level.UTILITY:
            return declined(Result.ISC)
        if table not in _WRITABLE:
            return declined(Result.IAR)
        if table == meter_profile.CONFIG:
            if not isinstance(request, WritePart) or request.offset:
                return declined(Result.IAR)
            return self._set_interval(request.data)
        if isinstance(request, WritePart):
            return declined(Result.IAR)
        if table in _SETTINGS:
            return declined(self._tables.configure(table, request.data))
        return self._call(request.data) if table == c1219.PROC_INITIATE else self._take(request.data)

    def _set_interval(self, data: bytes) -> bytes:
        try:
            self._meter.set_interval(meter_profile.decode_interval_length(data))
        except (TableError, OutOfRange):
            return declined(Result.IAR)
        return declined(Result.OK)

    def _take(self, data: bytes) -> bytes:
        try:
            try:
                self._meter.send(meter_profile.decode_message(data))
            except meter_profile.MalformedMessage as no:
                self._meter.send_malformed(no.head)
        except TableError:
            return declined(Result.IAR)
        except Refused:
            return declined(Result.BSY)
        return declined(Result.OK)

    # --- Procedures --------------------------------------------------------------------------------------------------

    def _call(self, data: bytes) -> bytes:
        try:
            call = c1219.ProcedureCall.decode(data)
        except TableError:
            return declined(Result.IAR)
        try:
            result = self._carry_out(call)
        except (TableError, OutOfRange):
            result = ProcedureResult.BAD_PARAMETER
        except NotSupported:
            result = ProcedureResult.CONFLICT
        except Refused:
            result = ProcedureResult.NOT_AUTHORISED
        self._response = c1219.ProcedureResponse(
            call.procedure, call.sequence, result, response_mode=call.response_mode
        ).encode()
        return declined(Result.OK)

    def _carry_out(self, call: c1219.ProcedureCall) -> ProcedureResult:
        meter = self._meter
        if call.procedure == c1219.DIRECT_LOAD_CONTROL:
            return self._control_load(*meter_profile.decode_load_control(call.parameters))
        if call.procedure == c1219.MODIFY_CREDIT:
            meter.add_credit(meter_profile.decode_credit(call.parameters))
        elif call.procedure == c1219.SET_DATE_TIME:
            meter.set_clock(c1219.SetDateTime.decode(call.parameters).when)
        elif call.procedure == meter_profile.SET_CLOCK:
            meter.set_clock(meter_profile.decode_clock(call.parameters))
        else:
            return ProcedureResult.UNKNOWN
        return ProcedureResult.DONE

    def _control_load(self, action: meter_profile.LoadControl, watts: int | None) -> ProcedureResult:
        meter = self._meter
        if action is meter_profile.LoadControl.CONNECT:
            meter.connect()
            done = meter.service().switch is Switch.CLOSED
        elif action is meter_profile.LoadControl.DISCONNECT:
            meter.disconnect()
            done = meter.service().switch is Switch.OPEN
        elif action is meter_profile.LoadControl.LIMIT_STEP:
            assert watts is not None
            meter.limit_step(watts)
            done = True
        else:
            meter.limit(watts)
            done = meter.service().limit_w == watts
        return ProcedureResult.DONE if done else ProcedureResult.ACCEPTED
