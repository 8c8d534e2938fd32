"""Driver for Rainforest's RAVEn (RFA-Z106) and EMU-2 display devices on their virtual serial line.

Commands and their decoding are aioraven's, whose `_query` is made to be filled in. The line is our own: aioraven's reader
keeps all that it ever read, never answers a command that the device warns of, and drops what comes unasked. Numbers are
read by `drivers.wire.raven_xml`, because aioraven loses digits when it rounds and divides by a divisor of zero.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import attr
import serial
from aioraven.data import MessageCluster, RAVEnData
from aioraven.data import ScheduledEvent as Event
from aioraven.device import RAVEnBaseDevice
from labgrid.driver import Driver
from labgrid.factory import target_factory

from drivers.device import DeviceDriver
from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.links import SerialLine, holder_of
from drivers.roles import DisplayedBalance, DisplayedMessage, HanLink, Identity
from drivers.wire import raven_xml as wire
from drivers.wire.raven_xml import Fragment

T = TypeVar("T")

_TRIES = 2  # of what is safe to repeat
_LISTEN_S = 0.25
"""How often an idle line is read: at 115200 bit/s it brings 3 kB meanwhile, and a serial port keeps four."""

_FULL = 2048
"""Bytes that one read brings only where the device has been telling things that nobody read."""


class _Warned(Exception):
    """The device answered with a warning."""


class _Silent(Exception):
    """No answer in time."""


class _Line(RAVEnBaseDevice):
    """aioraven's commands over a serial port that is read and written in the caller's own thread; nothing here suspends."""

    def __init__(self, link: SerialLine, name: str, keep: Callable[[Fragment], None]) -> None:
        self._link = link
        self._name = name
        self._keep = keep
        self._port: serial.Serial | None = None
        self._poll = select.poll()
        self._backlog = False
        self._incoming = wire.Notifications()
        self._masks = {"tx": wire.Mask(), "rx": wire.Mask()}
        self.wanted: Callable[[Fragment], bool] = lambda fragment: True

    def open(self) -> None:
        """Open the port. LinkLost where it cannot be had."""
        if self._port is not None:
            return
        link = self._link
        try:
            self._port = serial.Serial(
                link.port, link.baudrate, timeout=link.timeout, write_timeout=link.timeout, exclusive=True
            )
        except (OSError, ValueError) as no:
            raise LinkLost(
                f"{self._name}: cannot open the port: {no}{holder_of(link.port)}; check the path, and that nobody else has it"
            ) from no
        self._incoming = wire.Notifications()
        self._poll = select.poll()
        self._poll.register(self._port.fileno(), select.POLLIN)

    def close(self) -> None:
        """Close the port."""
        if self._port is not None:
            self._port.close()
            self._port, self._backlog = None, False
            for way, mask in self._masks.items():
                self._told(way, mask.rest())

    def listen(self, patience: float = 0.0) -> list[Fragment]:
        """Read what is there, waiting up to `patience` seconds for something; what is read is kept as well."""
        assert self._port is not None
        try:
            if not self._poll.poll(patience * 1000):
                return []
            data = os.read(self._port.fileno(), 65536)
        except OSError as no:
            self.close()
            raise LinkLost(f"{self._name}: the port is gone: {no}; check cable and device") from no
        if not data:
            self.close()
            raise LinkLost(f"{self._name}: the port is gone; check cable and device")
        self._backlog |= len(data) >= _FULL
        self._told("rx", self._masks["rx"].feed(data))
        found = self._incoming.feed(data)
        for fragment in found:
            self._keep(fragment)
        return found

    def listen_all(self) -> None:
        """Read until nothing is left to read; nothing of a port that is closed."""
        if self._port is None:
            return
        until = time.monotonic() + self._link.timeout  # a device that never stops must not hold the caller
        while self._poll.poll(0) and time.monotonic() < until:
            self.listen()

    def _catch_up(self) -> None:
        """Read all that the device had to tell before now: it answers in order, and what it is never comes unasked."""
        self._write(wire.command("get_device_info", None))
        until = time.monotonic() + self._link.timeout
        while (left := until - time.monotonic()) > 0:
            if any(fragment.tag == "DeviceInfo" for fragment in self.listen(left)):
                self._backlog = False
                return
        raise _Silent

    async def _query(
        self, cmd_name: str, res_name: str | None = None, args: dict[str, str] | None = None
    ) -> RAVEnData | None:
        return self.query(cmd_name, res_name, args)

    def query(self, name: str, wanted: str | None, arguments: Mapping[str, str] | None = None) -> RAVEnData | None:
        """Send a command and wait for a notification of that name, None for a command that has none."""
        self.open()
        self.listen_all()
        if self._backlog:  # there may be more, which would come before the answer to a question and pass for it
            self._catch_up()
        self._write(wire.command(name, arguments))
        if wanted is None:
            return None
        until = time.monotonic() + self._link.timeout
        while (left := until - time.monotonic()) > 0:
            for fragment in self.listen(left):
                if fragment.tag == "Warning":
                    raise _Warned(fragment.fields[0][1] or "" if fragment.fields else "")
                if fragment.tag == wanted and self.wanted(fragment):
                    return _data(fragment)
        raise _Silent

    def _write(self, data: bytes) -> None:
        assert self._port is not None
        try:
            self._port.write(data)
        except (OSError, serial.SerialException) as no:
            self.close()
            raise LinkLost(f"{self._name}: cannot write to the port: {no}; check cable and device") from no
        self._told("tx", self._masks["tx"].feed(data))

    def _told(self, way: str, data: bytes) -> None:
        if data and self._link.wire_log is not None:
            self._link.wire_log(way, data)


def _data(fragment: Fragment) -> RAVEnData:
    """A notification as aioraven wants it: a field that comes several times is a list."""
    data: RAVEnData = {}
    for key, value in fragment.fields:
        if key in data:
            held = data[key]
            data[key] = [*held, value] if isinstance(held, list) else [held, value]
        else:
            data[key] = value
    return data


def _text(data: RAVEnData, key: str) -> str | None:
    value = data.get(key)
    return value[0] if isinstance(value, list) else value


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("aioraven waits for something of its own; its version is not the one this driver was made for")


@target_factory.reg_driver
@attr.s(eq=False)
class RavenDriver(DeviceDriver):
    """A RAVEn or EMU-2. Reads are asked twice before the link counts as lost.

    What the device tells unasked is read several times a second and kept, the latest of each kind. The wire log shows no
    keys and codes of the device.
    """

    bindings = {"line": SerialLine}  # noqa: RUF012 - labgrid reads it from the class

    line: SerialLine

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._latest: dict[str, Fragment] = {}
        self._balance: DisplayedBalance | None = None
        self._wire = _Line(self.line, str(self), self._keep)
        self._stop = threading.Event()
        self._listener: threading.Thread | None = None

    # --- labgrid's life cycle ----------------------------------------------------------------------------------------

    def on_activate(self) -> None:
        """Open the port and begin to listen."""
        self._latest.clear()
        self._balance = None
        self._wire = _Line(self.line, str(self), self._keep)
        with self.lock:
            self._wire.open()
        self._stop = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(self._stop,), name=f"{self}", daemon=True)
        self._listener.start()

    def on_deactivate(self) -> None:
        """Close the port."""
        self._stop.set()
        if self._listener is not None:
            self._listener.join()
        with self.lock:
            self._wire.close()

    # --- The role ----------------------------------------------------------------------------------------------------

    @Driver.check_active
    def identify(self) -> Identity:
        """Manufacturer, model, address (there is no other serial number) and firmware, from DeviceInfo."""
        info = self._ask("reading its identity", lambda: _now(self._wire.get_device_info()))
        if info is None or info.device_mac_id is None:
            raise LinkLost(f"{self}: its identity has no address; is it a RAVEn?")
        number = wire.address(int.from_bytes(info.device_mac_id, "big"))
        return Identity(info.manufacturer or "", info.model_id or "", number, info.fw_version or "")

    @Driver.check_active
    def link(self) -> HanLink:
        """From NetworkInfo."""

        def read() -> HanLink:
            data = self._wire.query("get_network_info", "NetworkInfo") or {}
            status = _text(data, "Status") or ""
            return HanLink(status == wire.CONNECTED, status, wire.integer(_text(data, "LinkStrength")))

        return self._ask("reading its link", read)

    @Driver.check_active
    def meters(self) -> tuple[str, ...]:
        """From MeterList, as `0x` and sixteen digits."""
        listed = self._ask("reading its meters", lambda: _now(self._wire.get_meter_list()))
        found = () if listed is None else listed.meter_mac_ids or ()
        return tuple(wire.address(int.from_bytes(meter, "big")) for meter in found)

    @Driver.check_active
    def price_millicents_per_kwh(self) -> int | None:
        """From PriceCluster."""

        def read() -> int | None:
            data = self._wire.query("get_current_price", "PriceCluster") or {}
            return wire.price_millicents(_text(data, "Price"), _text(data, "TrailingDigits"))

        return self._ask("reading the price", read)

    @Driver.check_active
    def demand_w(self) -> float | None:
        """From InstantaneousDemand."""

        def read() -> float | None:
            data = self._wire.query("get_instantaneous_demand", "InstantaneousDemand") or {}
            if wire.moment(_text(data, "TimeStamp")) is None:
                return None
            return _thousandfold(wire.demand(_text(data, "Demand")), data)

        return self._ask("reading the demand", read)

    @Driver.check_active
    def delivered_wh(self) -> float | None:
        """From CurrentSummationDelivered."""

        def read() -> float | None:
            data = self._wire.query("get_current_summation_delivered", "CurrentSummationDelivered") or {}
            if wire.moment(_text(data, "TimeStamp")) is None:
                return None
            return _thousandfold(wire.integer(_text(data, "SummationDelivered")), data)

        return self._ask("reading the register", read)

    @Driver.check_active
    def message(self) -> DisplayedMessage | None:
        """From MessageCluster."""
        held = self._message()
        if held is None:
            return None
        number, text = held.message_id, held.text
        if number is None or text is None:
            return None
        return DisplayedMessage(
            int.from_bytes(number, "big"), text, bool(held.confirmation_required), bool(held.confirmed), held.time_stamp
        )

    @Driver.check_active
    def confirm(self, message_id: int) -> None:
        """Confirm the message shown and see that the device has it so. Refused where it shows another, or none to confirm."""
        if not 0 < message_id < 2**32:
            raise OutOfRange(f"{self}: message {message_id}: ids go from 1 to 2^32 - 1")
        self.may("confirm", message_id)
        what = f"confirming message {message_id}"

        def send_and_look() -> MessageCluster | None:
            _now(self._wire.confirm_message(message_id))
            return _now(self._wire.get_message())

        held = self._ask(what, send_and_look)
        shown = None if held is None or held.message_id is None else int.from_bytes(held.message_id, "big")
        if shown != message_id or held is None or not held.confirmed:
            raise Refused(f"{self}: {what}: it shows message {shown or 'none'}, not confirmed")
        self.tell("confirm", message_id)

    @Driver.check_active
    def balance(self) -> DisplayedBalance | None:
        """From the text of the prepaid balance: the one shown, or where a text of the utility stands before it, the latest
        that the device has told of since the driver was activated."""
        with self.lock:
            if self._message() is None:
                self._balance = None  # it was reset, or has left the network
            return self._balance

    # --- Beyond the role ---------------------------------------------------------------------------------------------

    @Driver.check_active
    def notifications(self) -> Mapping[str, Fragment]:
        """The latest notification of each kind, asked for or not, by name."""
        with self.lock:
            self._wire.open()
            self._wire.listen_all()
            return dict(self._latest)

    @Driver.check_active
    def clock(self) -> datetime:
        """The display's clock, to the whole second, once it has asked its meter for the time: from TimeCluster."""

        def read() -> datetime:
            at = wire.moment(_text(self._wire.query("get_time", "TimeCluster", {"Refresh": "Y"}) or {}, "UTCTime"))
            if at is None:
                raise LinkLost(f"{self}: it knows no time; is it joined to a meter?")
            return at

        return self._ask("reading its clock", read)

    @Driver.check_active
    def schedule(self, event: str) -> tuple[int, bool]:
        """Read how often something is told unasked, in seconds, and whether it is."""

        def read() -> tuple[int, bool]:
            data = self._schedule_info(event)
            return wire.integer(_text(data, "Frequency")), wire.flag(_text(data, "Enabled"))

        return self._ask(f"reading the schedule of {event!r}", read)

    @Driver.check_active
    def set_schedule(self, event: str, frequency_s: int, enabled: bool) -> None:
        """Have something told every so many seconds, or not: `time`, `price`, `demand`, `summation`, `message`."""
        if event not in wire.EVENTS or not 1 <= frequency_s <= 0xFFFF:
            raise OutOfRange(
                f"{self}: schedule {event!r} every {frequency_s} s: events are {', '.join(wire.EVENTS)}, 1 to 65535 s"
            )

        def send_and_look() -> RAVEnData:
            _now(self._wire.set_schedule(Event(event), frequency_s, enabled))
            return self._schedule_info(event)

        self.may("set_schedule", event, frequency_s, enabled)
        what = f"scheduling {event!r}"
        data = self._ask(what, send_and_look)
        if (wire.integer(_text(data, "Frequency")), wire.flag(_text(data, "Enabled"))) != (frequency_s, enabled):
            raise Refused(f"{self}: {what}: it did not take every {frequency_s} s, enabled {enabled}")
        self.tell("set_schedule", event, frequency_s, enabled)

    def __str__(self) -> str:
        return f"display on {self.line.port}"

    # --- Inside ------------------------------------------------------------------------------------------------------

    def _schedule_info(self, event: str) -> RAVEnData:
        self._wire.wanted = lambda fragment: fragment.get("Event") == event
        try:
            return self._wire.query("get_schedule", "ScheduleInfo", {"Event": event}) or {}
        finally:
            self._wire.wanted = lambda fragment: True

    def _message(self) -> MessageCluster | None:
        """The message shown, None where the device holds none."""
        held = self._ask("reading the message", lambda: _now(self._wire.get_message()))
        return None if held is None or not held.text or held.message_id is None else held

    def _ask(self, what: str, ask: Callable[[], T]) -> T:
        """One exchange with the line to itself, repeated once where no answer came or none that makes sense."""
        with self.lock:
            for left in reversed(range(_TRIES)):
                try:
                    return ask()
                except _Warned as no:
                    said = f"{self}: {what}: it warns {str(no)!r}"
                    if str(no) == wire.UNKNOWN_COMMAND:
                        raise NotSupported(f"{said}; this model or its firmware cannot") from None
                    raise Refused(said) from None
                except _Silent:
                    if not left:
                        raise LinkLost(
                            f"{self}: {what}: no answer within {self.line.timeout} s; check cable, power and baud rate"
                        ) from None
                except (ValueError, TypeError, ArithmeticError) as no:  # aioraven's own, and our codec's
                    if not left:
                        raise LinkLost(f"{self}: {what}: its answer makes no sense ({no}); is it a RAVEn?") from no
        raise AssertionError("the last try returns or raises")

    def _keep(self, fragment: Fragment) -> None:
        self._latest[fragment.tag] = fragment
        if fragment.tag == "MessageCluster":
            told = wire.parse_balance(fragment.get("Text") or "")
            if told is not None:
                self._balance = replace(told, received_at=wire.moment(fragment.get("TimeStamp")))

    def _listen(self, stop: threading.Event) -> None:
        while not stop.wait(_LISTEN_S):
            if not self.lock.acquire(blocking=False):
                continue  # a call reads by itself
            try:
                with contextlib.suppress(LinkLost):  # the next call says so
                    self._wire.listen_all()
            finally:
                self.lock.release()


def _thousandfold(raw: int, data: RAVEnData) -> float:
    """From the meter's kW or kWh to W or Wh, without a detour over fractions."""
    return wire.scaled(raw * 1000, _text(data, "Multiplier"), _text(data, "Divisor"))
