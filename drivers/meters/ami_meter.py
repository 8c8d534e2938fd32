"""Driver of a US AMI meter over ANSI C12.18/C12.19 on a serial line.

Standard tables where the standard has them, `docs/meter-profile.md` for the rest; codecs in `drivers/wire`.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import attr
import serial
from labgrid.binding import BindingState, StateError
from labgrid.factory import target_factory

from drivers import checks
from drivers.device import DeviceDriver
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import SerialLine, holder_of
from drivers.roles import (
    Account,
    DisplayItem,
    Identity,
    Interval,
    LogEntry,
    MessageCode,
    MeterMessage,
    MeterReading,
    MeterTestResult,
    Receipt,
    ScheduledEvent,
    ServiceStatus,
)
from drivers.wire import c1218, c1219, meter_profile, meter_settings
from drivers.wire.c1218 import Declined, Negotiate, NegotiateResponse, Read, ReadPart, Request, Result, Station
from drivers.wire.c1218_mask import PasswordMask
from drivers.wire.c1219 import ProcedureCall, ProcedureResponse, ProcedureResult, TableError
from drivers.wire.meter_profile import Counters, LoadControl, Profile, Ring, RingHead
from drivers.wire.meter_settings import CustomerSettings, LimitSteps, LocalTime, Rule

T = TypeVar("T")

_LONGEST_REST_S = 1.0
"""How long a line is waited for at most to become quiet after noise, before a session begins anew."""
_AGAIN_S = 0.2
"""How long a meter may take to begin a packet that was asked for again: it has it ready. A refusal that got lost on the
way costs that, and not the whole time of an answer."""

_SMALL = 64, 32
"""On a noisy line: bytes of a packet, bytes of a read. A packet of a kilobyte would hardly ever get through."""
_CALM = 20
"""Sessions without a repeated packet after which a line no longer counts as noisy."""
_MOST_TRIES = 6
"""Sessions that one request is worth on a line that garbles: each packet is tried four times in each."""
_SPAN = 2
"""Intervals read at first when looking back for a moment (an hourly poll wants one); then as many again as are known."""

_SECURITY = c1218.Security(b"").encode()[0]
"""The code of the service that carries the password."""

_RESULTS = {
    ProcedureResult.BAD_PARAMETER: "invalid parameter",
    ProcedureResult.CONFLICT: "conflicts with the meter's set-up",
    ProcedureResult.TIMING: "timing constraint",
    ProcedureResult.NOT_AUTHORISED: "no authorisation for this procedure",
    ProcedureResult.UNKNOWN: "no such procedure",
}


class _Garbled(LinkLost):
    """The line carries something, but not what was asked for: worth another session."""


@target_factory.reg_driver
@attr.s(eq=False)
class AmiMeterDriver(DeviceDriver):
    """An AMI meter of twinbench's meter profile.

    Each call is a session of its own (identification, negotiation, logon, security, ..., logoff) unless it is made inside
    `with driver.session():`, which keeps one open for all calls and opens it anew where the meter has let it time out.
    `user_id`, `user` and `password` are those of the access level to work at; the password shows nowhere.
    """

    bindings = {"line": SerialLine}  # noqa: RUF012 - labgrid reads it from the class

    user_id: int = attr.ib(default=1, validator=checks.whole(0, 0xFFFF))
    user: str = attr.ib(default="twinbench", validator=checks.text(10, "ASCII characters"))
    password: str = attr.ib(default="utility", repr=False, validator=checks.text(20))
    packet_size: int = attr.ib(default=1024, validator=checks.whole(c1218.OVERHEAD + 1, c1218.LARGEST_PACKET))
    packets: int = attr.ib(default=16, validator=checks.whole(1, 255))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._port: serial.Serial | None = None
        self._poll = select.poll()
        self._rest_s = c1218.rest_s(self.line.baudrate)
        self._byte_s: float = 10 / self.line.baudrate
        self._station = Station(answers=False)
        self._depth = 0
        self._open = False  # whether the meter has logged us on, as far as we know
        self._chunk = 0  # bytes of a table that one read may bring
        self._noisy = 0  # sessions to go before the line counts as quiet again
        self._repeats = 0
        self._longest = 0  # bytes that came in answer to one write of the latest exchange
        self._sequence = 0
        self._hidden: dict[str, PasswordMask] | None = None  # while the password is under way, or may come back

    # --- labgrid's life cycle ----------------------------------------------------------------------------------------

    def on_activate(self) -> None:
        self._connect()

    def on_deactivate(self) -> None:
        with self.lock:
            self._disconnect()

    # --- The role ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Keep one session open over several calls; other threads wait until it ends. May be nested."""
        with self.lock:
            if self.state is not BindingState.active:
                raise StateError(f"{self} is not active; activate it on its target")
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._log_off()
                elif self._port is not None and self._station.out:
                    self._write()  # the meter must not wait for its acknowledgement until the next call

    def identify(self) -> Identity:
        """Read table 1."""
        table = self._read(c1219.MFG_ID, c1219.MfgId.decode)
        return Identity(table.manufacturer, table.model, table.serial, ".".join(map(str, table.firmware)))

    def meter_id(self) -> str:
        """Read table 5."""
        return self._read(c1219.DEVICE_IDENT, c1219.decode_device_ident)

    def clock(self) -> datetime:
        """Read the meter's clock, manufacturer table 12."""
        return self._read(meter_profile.CLOCK, meter_profile.decode_clock)

    def set_clock(self, when: datetime) -> None:
        """Set the meter's clock by manufacturer procedure 1; OutOfRange without a time zone or before 1970."""
        self.may("set_clock", when)
        parameters = self._encoded("set the clock", lambda: meter_profile.encode_clock(when))
        self._procedure("set the clock", meter_profile.SET_CLOCK, parameters)
        self.tell("set_clock", when)

    def set_interval(self, length: timedelta) -> None:
        """Write the recording interval; OutOfRange unless it divides an hour in whole minutes."""
        minutes, rest = divmod(length, timedelta(minutes=1))
        if rest or not 1 <= minutes <= 60 or 60 % minutes:
            raise OutOfRange(f"{self}: interval of {length}: whole minutes that divide an hour, at most 60")
        self.may("set_interval", length)
        field = meter_profile.encode_interval_length(length)
        with self.session():
            self._ask("set the interval", c1218.WritePart(meter_profile.CONFIG, meter_profile.INTERVAL_FIELD[0], field))
        self.tell("set_interval", length)

    def reading(self) -> MeterReading:
        """Read tables 23 (registers) and 28 (present values)."""
        with self.session():
            registers = self._table(c1219.CURRENT_REGS, c1219.decode_registers)
            present = self._table(c1219.PRESENT_REGS, c1219.decode_registers)
        if len(registers) != len(c1219.SUMMATIONS) or len(present) != len(c1219.PRESENT):
            raise LinkLost(f"{self}: registers are not those of the profile; check the meter's table 21")
        return MeterReading(*(value / 1000 for value in registers + present))

    def service(self) -> ServiceStatus:
        """Read manufacturer table 2."""
        return self._read(meter_profile.SERVICE, meter_profile.decode_service)

    def connect(self) -> None:
        """Close the switch by standard procedure 21; NotSupported by a meter without one."""
        self.may("connect")
        self._load_control("connect", LoadControl.CONNECT)
        self.tell("connect")

    def disconnect(self) -> None:
        """Open the switch by standard procedure 21; NotSupported by a meter without one."""
        self.may("disconnect")
        self._load_control("disconnect", LoadControl.DISCONNECT)
        self.tell("disconnect")

    def limit(self, watts: int | None) -> None:
        """Set or end the demand limit by standard procedure 21; OutOfRange for 0 and for more than 32 bits hold."""
        self.may("limit", watts)
        if watts is None:
            self._load_control("end the demand limit", LoadControl.END_LIMIT)
        elif watts <= 0:
            raise OutOfRange(f"{self}: demand limit of {watts} W: above zero, or None to end it")
        else:
            self._load_control("limit", LoadControl.LIMIT, watts)
        self.tell("limit", watts)

    def send(self, message: MeterMessage) -> None:
        """Write a message into manufacturer table 8. OutOfRange where a value does not fit its field."""
        self.may("send", message)
        what = f"message {message.message_id}"
        data = self._encoded(what, lambda: meter_profile.encode_message(message))
        with self.session():
            self._ask(what, c1218.Write(meter_profile.INBOX, data))
        self.tell("send", message)

    def receipts(self, after: int = 0) -> Sequence[Receipt]:
        """Read the new slots of manufacturer table 6."""
        return self._entries(meter_profile.RECEIPT_RING, after)

    def log(self, after: int = 0) -> Sequence[LogEntry]:
        """Read the new slots of manufacturer table 5."""
        return self._entries(meter_profile.LOG_RING, after)

    def intervals(self, since: datetime | None = None) -> Sequence[Interval]:
        """Read slots of manufacturer table 4, from the newest back to the first that does not end after `since`."""
        ring = meter_profile.INTERVAL_RING
        if since is None:
            return [numbered.interval for numbered in self._entries(ring, 0)]
        with self.session():
            head = self._head(ring)
            found: list[Interval] = []
            last = head.last
            while last and last >= head.first:
                first = max(head.first, last - max(_SPAN, len(found)) + 1)
                piece = [numbered.interval for numbered in self._slots(ring, head, first, last)]
                new = [interval for interval in piece if interval.ends_at > since]
                found = new + found
                if len(new) < last - first + 1:
                    break
                last = first - 1
        return found

    def account(self) -> Account:
        """Read manufacturer table 7."""
        return self._read(meter_profile.ACCOUNT, meter_profile.decode_account)

    def add_credit(self, cents: int) -> None:
        """Try standard procedure 22; Refused by a meter that takes no credit. Never sent twice."""
        self.may("add_credit", cents)
        parameters = self._encoded("add credit", lambda: meter_profile.encode_credit(cents))
        self._procedure("add credit", c1219.MODIFY_CREDIT, parameters, repeat=False)
        self.tell("add_credit", cents)

    def display(self) -> Sequence[DisplayItem]:
        """Read manufacturer table 10."""
        return self._read(meter_profile.DISPLAY, meter_profile.decode_display)

    def schedule(self) -> Sequence[ScheduledEvent]:
        """Read manufacturer table 9."""
        return self._read(meter_profile.SCHEDULE, meter_profile.decode_schedule)

    def test_result(self) -> MeterTestResult | None:
        """Read manufacturer table 11."""
        return self._read(meter_profile.TEST_RESULT, meter_profile.decode_test_result)

    # --- Beyond the role ---------------------------------------------------------------------------------------------

    def profile(self) -> Profile:
        """Read manufacturer table 0: version of the profile and features."""
        return self._read(meter_profile.PROFILE, Profile.decode)

    def counters(self) -> Counters:
        """Read manufacturer table 1: what is new, in one small read."""
        return self._read(meter_profile.COUNTERS, Counters.decode)

    def demand_limit(self) -> meter_profile.DemandLimit:
        """Read manufacturer table 3: the demand limit with its trip and re-close."""
        return self._read(meter_profile.LIMIT, meter_profile.DemandLimit.decode)

    def limit_step(self, step: int) -> None:
        """Set the demand limit to a configured step, counted from 1, by standard procedure 21; Refused where there is none."""
        self.may("limit_step", step)
        self._load_control("limit to a step", LoadControl.LIMIT_STEP, step)
        self.tell("limit_step", step)

    def limit_steps(self) -> LimitSteps:
        """Read manufacturer table 14: rated capacity and limit steps."""
        return self._read(meter_settings.LIMIT_STEPS, LimitSteps.decode)

    def set_limit_steps(self, steps: LimitSteps) -> None:
        """Write manufacturer table 14. OutOfRange for steps that are none, NotSupported by a meter without a switch."""
        self.may("set_limit_steps", steps)
        self._configure("set the limit steps", meter_settings.LIMIT_STEPS, steps.encode)
        self.tell("set_limit_steps", steps)

    def rules(self) -> Sequence[Rule]:
        """Read manufacturer table 15: the stored commands still to come."""
        return self._read(meter_settings.RULES, meter_settings.decode_rules)

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Write manufacturer table 15, in the place of what stands there. OutOfRange for rules that make no sense,
        Refused where the meter has no room or a moment is past, NotSupported by a meter without a switch."""
        self.may("set_rules", rules)
        self._configure("store commands", meter_settings.RULES, lambda: meter_settings.encode_rules(rules))
        self.tell("set_rules", rules)

    # labgrid reads an attribute `priorities` from a driver's class.
    def message_priorities(self) -> Mapping[MessageCode, int]:
        """Read manufacturer table 16: priorities by message code, before a message's own."""
        return self._read(meter_settings.PRIORITIES, meter_settings.decode_priorities)

    def set_message_priorities(self, priorities: Mapping[MessageCode, int]) -> None:
        """Write manufacturer table 16. OutOfRange for a priority outside 0 to 9."""
        self.may("set_message_priorities", priorities)
        what = "set the priorities"
        self._configure(what, meter_settings.PRIORITIES, lambda: meter_settings.encode_priorities(priorities))
        self.tell("set_message_priorities", priorities)

    def customer(self) -> CustomerSettings:
        """Read manufacturer table 17: the customer's language, and who works out the balance."""
        return self._read(meter_settings.CUSTOMER, CustomerSettings.decode)

    def set_customer(self, settings: CustomerSettings) -> None:
        """Write manufacturer table 17. NotSupported by a meter that cannot work out the balance, or knows no Spanish."""
        self.may("set_customer", settings)
        self._configure("set the customer's settings", meter_settings.CUSTOMER, settings.encode)
        self.tell("set_customer", settings)

    def local_time(self) -> LocalTime:
        """Read manufacturer table 18: the offset of local time and its next change."""
        return self._read(meter_settings.LOCAL_TIME, LocalTime.decode)

    def __str__(self) -> str:
        return f"AMI meter on {self.line.port}"

    # --- Tables and procedures ---------------------------------------------------------------------------------------

    def _encoded(self, what: str, encode: Callable[[], bytes]) -> bytes:
        try:
            return encode()
        except TableError as no:
            raise OutOfRange(f"{self}: {what}: {no}") from no

    def _decoded(self, table: int, data: bytes, decode: Callable[[bytes], T]) -> T:
        try:
            return decode(data)
        except TableError as no:
            raise LinkLost(f"{self}: table {table} is not as the profile says ({no}); check the meter's model") from no

    def _read(self, table: int, decode: Callable[[bytes], T]) -> T:
        with self.session():
            return self._table(table, decode)

    def _table(self, table: int, decode: Callable[[bytes], T]) -> T:
        """The same inside a session, for a call that reads on: the acknowledgement goes with the next request."""
        return self._decoded(table, self._ask(f"read of table {table}", Read(table)), decode)

    def _part(self, table: int, offset: int, count: int) -> bytes:
        what = f"read of table {table}"
        data = b""
        while len(data) < count:
            here = count - len(data)
            if self._open and here > self._chunk:
                here = self._chunk
            piece = self._ask(what, ReadPart(table, offset + len(data), here))
            if len(piece) != here:
                raise LinkLost(f"{self}: {what} brought {len(piece)} bytes for {here}; check the meter's model")
            data += piece
        return data

    def _head(self, ring: Ring[T]) -> RingHead:
        head = self._decoded(ring.table, self._part(ring.table, 0, RingHead.SIZE), RingHead.decode)
        if head.entry_size != ring.entry_size:
            raise LinkLost(
                f"{self}: table {ring.table} has slots of {head.entry_size} bytes, the profile {ring.entry_size}; "
                "check the meter's model"
            )
        return head

    def _slots(self, ring: Ring[T], head: RingHead, first: int, last: int) -> list[T]:
        data = b"".join(self._part(ring.table, offset, count) for offset, count in head.spans(first, last))
        entries = self._decoded(ring.table, data, ring.entries)
        # A slot that was written over while it was read holds a later entry: that one comes with the next read.
        return [entry for n, entry in enumerate(entries, first) if ring.sequence(entry) == n]

    def _entries(self, ring: Ring[T], after: int) -> list[T]:
        with self.session():
            head = self._head(ring)
            return self._slots(ring, head, max(head.first, after + 1), head.last) if head.last else []

    def _configure(self, what: str, table: int, encode: Callable[[], bytes]) -> None:
        data = self._encoded(what, encode)
        try:
            with self.session():
                self._ask(what, c1218.Write(table, data))
        except Refused as no:
            if no.code == Result.ONP:
                raise NotSupported(f"{no}; this meter has no such thing") from no
            raise

    def _load_control(self, what: str, action: LoadControl, argument: int | None = None) -> None:
        parameters = self._encoded(what, lambda: meter_profile.encode_load_control(action, argument))
        self._procedure(what, c1219.DIRECT_LOAD_CONTROL, parameters)

    def _procedure(self, what: str, number: int, parameters: bytes, repeat: bool = True) -> None:
        with self.session():
            self._sequence = self._sequence % 255 + 1
            call = ProcedureCall(number, self._sequence, parameters)
            self._ask(what, c1218.Write(c1219.PROC_INITIATE, call.encode()), repeat)
            data = self._ask(what, Read(c1219.PROC_RESPONSE))
        answer = self._decoded(c1219.PROC_RESPONSE, data, ProcedureResponse.decode)
        if (answer.procedure, answer.sequence) != (number, call.sequence):
            raise LinkLost(f"{self}: {what}: table 8 answers another call; see that nobody else talks to the meter")
        if answer.result in (ProcedureResult.DONE, ProcedureResult.ACCEPTED):
            return
        said = f"{self}: {what}: procedure {number} says {int(answer.result)} ({_RESULTS[answer.result]})"
        if number == c1219.DIRECT_LOAD_CONTROL and answer.result is ProcedureResult.CONFLICT:
            raise NotSupported(f"{said}; a meter without a service switch cannot")
        raise Refused(said, int(answer.result))

    # --- Sessions ----------------------------------------------------------------------------------------------------

    def _ask(self, what: str, request: Request, repeat: bool = True) -> bytes:
        """Get the data that answers a request (empty for a write), whatever it takes on a noisy line.

        `repeat`: whether the request may be sent again where it is not known whether it arrived.
        """
        tries = 0
        while True:
            fresh = not self._open
            sent = False
            try:
                if fresh:
                    self._log_on()
                if isinstance(request, ReadPart) and request.count > self._chunk:
                    # What was to come in one piece comes in several: the line has turned out noisy, or the meter small.
                    return self._part(request.table, request.offset, request.count)
                sent = True
                response = self._exchange(what, request.encode())
                if isinstance(request, Read | ReadPart):
                    return c1218.ReadResponse.decode(response).data
                c1218.bare(response)
                return b""
            except Declined as no:
                if no.result is Result.ISSS and not fresh:
                    self._open = False  # the meter has let the session time out: nothing was done
                    continue
                raise Refused(f"{self}: {what} refused: {no}", no.code) from no
            except c1218.TooLong as no:
                raise OutOfRange(f"{self}: {what}: {no}") from no
            except c1218.WireError as no:
                failure: LinkLost = _Garbled(f"{self}: {what}: {no}; check line and meter")
                failure.__cause__ = no
            except _Garbled as no:
                failure = no
            self._open = False
            self._noisy = _CALM
            tries += 1
            if (sent and not repeat) or tries >= _MOST_TRIES:
                raise failure

    def _log_on(self) -> None:
        """Begin a session; Refused where the meter does not take us."""
        if self._port is None:
            self._connect()
        station = self._station
        station.forget()
        # After noise an answer may still be on its way, and would be taken for that of the new session. It is as long as
        # those before it were; a meter that was silent has nothing under way.
        longest = min(self._longest, station.packet_size + c1218.OVERHEAD)
        on_its_way = min(_LONGEST_REST_S, self._passes(longest) + 2 * self._rest_s)
        self._drain(on_its_way if self._noisy else 0.0)
        self._repeats = station.repeats
        station.resize(c1218.DEFAULT_PACKET_SIZE, c1218.DEFAULT_PACKETS)
        try:
            c1218.IdentResponse.decode(self._exchange("identification", c1218.Ident().encode()))
        except Declined as no:
            if no.result is not Result.ISSS:
                raise Refused(f"{self}: identification refused: {no}", no.code) from no
            # A session of somebody who went away is still open there, and this meter minds.
            with contextlib.suppress(Declined):
                c1218.bare(self._exchange("termination", c1218.Terminate().encode()))
            c1218.IdentResponse.decode(self._exchange("identification", c1218.Ident().encode()))
        size, packets = (_SMALL[0], 255) if self._noisy else (self.packet_size, self.packets)
        with contextlib.suppress(Declined):  # a meter that does not negotiate keeps to the smallest
            agreed = NegotiateResponse.decode(self._exchange("negotiation", Negotiate(size, packets).encode()))
            station.resize(min(agreed.packet_size, size), min(agreed.packets, packets))
        self._chunk = min((station.packet_size - c1218.OVERHEAD) * station.packets - 4, 0xFFFF)
        if self._noisy:
            self._chunk = min(self._chunk, _SMALL[1])
        for what, request in (
            (f"logon of user {self.user_id}", c1218.Logon(self.user_id, self.user)),
            (f"password of user {self.user_id}", c1218.Security(self.password.encode())),
        ):
            try:
                c1218.bare(self._exchange(what, request.encode()))
            except Declined as no:
                self._write()
                raise Refused(f"{self}: {what} refused: {no}; check `user_id` and `password`", no.code) from no
        self._open = True

    def _log_off(self) -> None:
        """End the session. What was asked for has been answered by now: a lost goodbye is no failure of it, and the
        meter ends the session by itself."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(LinkLost, Declined, c1218.WireError):
            c1218.bare(self._exchange("logoff", c1218.Logoff().encode(), retries=0))
            self._write()
        if self._station.repeats == self._repeats:
            self._noisy = max(0, self._noisy - 1)

    # --- The line ----------------------------------------------------------------------------------------------------

    def _exchange(self, what: str, message: bytes, retries: int = 3) -> bytes:
        """Send a message and return the answer, whose acknowledgement stays in the station until something goes out."""
        station = self._station
        station.retries = retries
        station.send(message)
        secret = message[0] == _SECURITY
        self._hidden = {"rx": PasswordMask(), "tx": PasswordMask()} if secret else None
        patience = self.line.timeout + self._passes(len(message) + c1218.OVERHEAD)
        until = time.monotonic() + (retries + 2) * patience + 1
        came = self._longest = 0  # bytes since something went out
        self._write()
        while True:
            if station.asked:
                wait = min(patience, self._passes(self._longest) + _AGAIN_S)
            else:
                wait = self._rest_s if station.unsettled else patience
            messages: list[bytes] = []
            data = self._receive(wait)
            if data:
                came += len(data)
                self._longest = max(self._longest, came)
                messages = station.feed(data)
            elif station.unsettled and not station.asked:
                messages = station.quiet()
            else:
                station.expired()
            if messages:
                return messages[-1]
            if station.naks > retries and self._longest <= len(c1218.ACK) + _SMALL[0]:
                # The meter has spent its tries, and packets of a new session would be no smaller: the request once more.
                station.take()
                station.expired()
            if station.failed or station.naks > retries or time.monotonic() > until:
                self._open = False
                station.forget()
                if self._longest:
                    raise _Garbled(
                        f"{self}: {what}: nothing but noise in {retries + 1} tries; check the line and its baud rate"
                    )
                raise self.silent(
                    f"{self}: {what}: no answer in {retries + 1} tries", "check line, power and baud rate"
                )
            if station.out:
                came = 0
                self._write()

    def _passes(self, size: int) -> float:
        """Seconds in which so many bytes cross the line."""
        return size * self._byte_s

    def _connect(self) -> None:
        try:
            self._port = serial.Serial(
                self.line.port,
                self.line.baudrate,
                timeout=self.line.timeout,
                write_timeout=self.line.timeout,
                exclusive=True,
            )
        except (OSError, ValueError) as no:
            who = holder_of(self.line.port)
            raise LinkLost(
                f"{self}: cannot open the port: {no}{who}; check the path, and that nobody else has it"
            ) from no
        self._poll = select.poll()
        self._poll.register(self._port.fileno(), select.POLLIN)

    def _disconnect(self) -> None:
        self._open = False
        if self._port is not None:
            self._port.close()
            self._port = None

    def _drain(self, rest_s: float) -> None:
        """Throw away what comes, until nothing has come for so long; a line that never rests is not waited for."""
        until = time.monotonic() + 2 * rest_s
        while self._receive(rest_s) and time.monotonic() < until:
            pass

    def _receive(self, patience: float) -> bytes:
        """Bytes that are there, waiting up to `patience` seconds for the first; empty where none came."""
        assert self._port is not None
        # Straight from the descriptor: pyserial's `read` wants a count and costs two more system calls for it.
        try:
            if not self._poll.poll(patience * 1000):
                return b""
            data = os.read(self._port.fileno(), 65536)
        except OSError as no:
            self._disconnect()
            raise LinkLost(f"{self}: the port is gone: {no}; check cable and adapter") from no
        if not data:
            self._disconnect()
            raise LinkLost(f"{self}: the port is gone; check cable and adapter")
        if self.line.wire_log is not None:
            self.line.wire_log("rx", data if self._hidden is None else self._hidden["rx"].hide(data))
        return data

    def _write(self) -> None:
        data = self._station.take()
        if not data:
            return
        assert self._port is not None
        try:
            # Straight to the descriptor, too, as long as it takes all: pyserial's `write` asks for room afterwards.
            try:
                gone = os.write(self._port.fileno(), data)
            except BlockingIOError:
                gone = 0
            if gone < len(data):
                self._port.write(data[gone:])
        except (OSError, serial.SerialException) as no:
            self._disconnect()
            raise LinkLost(f"{self}: cannot write to the port: {no}; check cable and adapter") from no
        if self.line.wire_log is not None:
            self.line.wire_log("tx", data if self._hidden is None else self._hidden["tx"].hide(data))
