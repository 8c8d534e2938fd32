"""The AMI meter's optical port: ANSI C12.18 sessions carrying C12.19 tables and the tables of our meter profile.

Facts: C12.18 and C12.19 as public client code speaks them; the manufacturer tables are those of `docs/meter-profile.md`.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable
from typing import Protocol

from drivers.errors import NotSupported, OutOfRange, Refused
from drivers.roles import Switch
from drivers.wire import c1219, meter_profile
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
from twins.meters.c12_tables import GENERAL, KNOWN, SETTINGS, WRITABLE, MeterBehind, Tables

RESPONSE_TIMEOUT_S = 2.0
"""Real seconds after which a packet that was not acknowledged goes out again, three times at most."""

TRAFFIC_TIMEOUT_S = 6.0
"""Real seconds of silence that end a session (the channel traffic time-out)."""

QUIET_S = 0.04
_QUIET_CHARACTERS = 10
"""Real seconds without a byte, and characters of the line's rate besides, after which half a packet is given up: more than
a host that writes in pieces pauses between them, and than TCP holds them back for."""

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


class C1218Session:
    """One host at the meter's port. `set_baud` is told the line's rate in bits a second once it changes."""

    def __init__(
        self,
        meter: MeterBehind,
        send: Send,
        *,
        set_baud: Callable[[int], None] = lambda baud: None,
        later: Later = _loop_later,
    ) -> None:
        self._meter = meter
        self._send = send
        self._set_baud = set_baud
        self._later = later
        self._response_timeout_s = RESPONSE_TIMEOUT_S
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
        self._silence_s = TRAFFIC_TIMEOUT_S
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
            # A host that was just asked for a packet again may take all of it to come.
            characters = _QUIET_CHARACTERS + (station.packet_size if station.asked else 0)
            self._rest = self._later(QUIET_S + characters * 10 / BAUD_CODES[self._baud], self._quiet)

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
        self._silence_s = TRAFFIC_TIMEOUT_S
        self._station.resize(DEFAULT_PACKET_SIZE, DEFAULT_PACKETS)
        if self._baud != _HOME_BAUD:
            self._baud = _HOME_BAUD
            self._set_baud(BAUD_CODES[_HOME_BAUD])

    # --- Services ----------------------------------------------------------------------------------------------------

    def _answer(self, message: bytes) -> None:
        self._silence_s = TRAFFIC_TIMEOUT_S
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
            self._silence_s = max(float(request.seconds), TRAFFIC_TIMEOUT_S)
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
        if table not in KNOWN:
            return declined(Result.ONP)
        if self._level < Level.READER and table not in GENERAL:
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
        if table not in KNOWN:
            return declined(Result.ONP)
        if self._level < Level.UTILITY:
            return declined(Result.ISC)
        if table not in WRITABLE:
            return declined(Result.IAR)
        if table == meter_profile.CONFIG:
            if not isinstance(request, WritePart) or request.offset:
                return declined(Result.IAR)
            return self._set_interval(request.data)
        if isinstance(request, WritePart):
            return declined(Result.IAR)
        if table in SETTINGS:
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
