"""The serial XML face of a RAVEn or EMU-2: commands in, notifications out, asked for or by schedule.

Facts from the RAVEn XML API manual 1.27 and the EMU-2 technical guide 1.05; the codec is `drivers.wire.raven_xml`. A command
that the device doesn't know is answered with its warning; the text of the warning for a bad argument is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from drivers.errors import OutOfRange, Refused
from drivers.wire import raven_xml as wire
from drivers.wire.raven_xml import Command, RavenXmlError
from twins.faces.endpoints import on_pty, on_tcp
from twins.faces.stream import Face, Send
from twins.models import LineOptions
from twins.premises import han

if TYPE_CHECKING:
    from twins.displays.raven import Message, RavenDisplay

INVALID_ARGUMENT = "Invalid argument"
_USD = 840
_CHANNEL = 20
_PERIODS = {1440: 0, 60: 1, 30: 2, 15: 3, 10: 4, 5: 6}
"""Codes of profile interval periods, by minutes; 7.5 (5) and 2.5 (7) don't occur at our meters."""
_MOST_PERIODS = 12

Fields = list[tuple[str, str]]


class RavenSession:
    """One host at the device's port: answers commands in their order and passes on what the device tells unasked."""

    def __init__(self, display: RavenDisplay, send: Send) -> None:
        self._display = display
        self._send = send
        self._commands = wire.Commands()
        display.pushes.append(self._push)

    def received(self, data: bytes) -> None:
        """Take bytes of the host."""
        for command in self._commands.feed(data):
            if self._display.silent:
                continue
            handler = _HANDLERS.get(command.name)
            if handler is None or (command.name in _EMU_2_ONLY and self._display.options.kind != "emu-2"):
                self._warn(wire.UNKNOWN_COMMAND)
                continue
            try:
                handler(self, command)
            except (RavenXmlError, OutOfRange, Refused):
                self._warn(INVALID_ARGUMENT)

    def closed(self) -> None:
        """The host has gone."""
        if self._push in self._display.pushes:
            self._display.pushes.remove(self._push)

    # --- Out -------------------------------------------------------------------------------------------------------------

    def _push(self, what: str) -> None:
        if self._display.silent:
            return
        if what == "messages":
            for message in self._display.messages():
                self._tell_message(message)
        elif what == "account":
            for message in self._display.messages():
                if message.ends_at is None:
                    self._tell_message(message)
        elif what == "message":
            for message in self._display.messages():
                if message.ends_at is not None:
                    self._tell_message(message)
        else:
            _TELLS[what](self)

    def _out(self, tag: str, fields: Fields) -> None:
        self._send(wire.fragment(tag, [("DeviceMacId", wire.address(self._display.address)), *fields]))

    def _warn(self, text: str) -> None:
        self._send(wire.fragment("Warning", [("Text", text)]))

    @property
    def _meter(self) -> tuple[str, str]:
        return "MeterMacId", wire.address(self._display.meter_address or 0)

    def _status_fields(self) -> Fields:
        display = self._display
        return [
            ("CoordMacId", wire.address(display.meter_address or 0)),
            ("Status", display.status),
            ("Description", display.status),
            ("StatusCode", wire.number(0 if display.joined else 1, 2)),
            ("ExtPanId", wire.address(display.meter_address or 0)),
            ("Channel", str(_CHANNEL)),
            ("ShortAddr", wire.number(display.short_address, 4)),
            ("LinkStrength", wire.number(display.link_strength_percent, 2)),
        ]

    def _tell_connection(self) -> None:
        self._out("ConnectionStatus", self._status_fields())

    def _tell_network(self) -> None:
        self._out("NetworkInfo", self._status_fields())

    def _tell_time(self) -> None:
        times = [("UTCTime", wire.time(self._display.now())), ("LocalTime", wire.time(self._display.local_now()))]
        self._out("TimeCluster", [self._meter, *times])

    def _tell_price(self) -> None:
        price = self._display.price
        fields: Fields = [
            self._meter,
            ("TimeStamp", wire.time(None if price is None else price.at)),
            ("Price", wire.number(0xFFFFFFFF if price is None else price.millicents_per_kwh)),
            ("Currency", wire.number(_USD, 4)),
            ("TrailingDigits", wire.number(5, 2)),
            ("Tier", wire.number(1, 2)),
            ("TierLabel", "Set by Meter" if price is None or price.from_meter else "Set by User"),
            ("RateLabel", "Prepaid"),
        ]
        if self._display.options.kind == "emu-2":
            fields.append(("Duration", wire.number(0xFFFF, 4)))
        self._out("PriceCluster", fields)

    def _tell_demand(self) -> None:
        demand = self._display.demand
        fields: Fields = [
            self._meter,
            ("TimeStamp", wire.time(None if demand is None else demand.at)),
            ("Demand", wire.number(0 if demand is None else demand.watts)),
        ]
        self._out("InstantaneousDemand", fields + _kilo(3, 6))

    def _tell_summation(self) -> None:
        held = self._display.summation
        fields: Fields = [
            self._meter,
            ("TimeStamp", wire.time(None if held is None else held.at)),
            ("SummationDelivered", wire.number(0 if held is None else held.delivered_wh, 16)),
            ("SummationReceived", wire.number(0 if held is None else held.received_wh, 16)),
        ]
        self._out("CurrentSummationDelivered", fields + _kilo(3, 15))

    def _tell_message(self, message: Message | None) -> None:
        if message is None:
            self._out(
                "MessageCluster",
                [
                    self._meter,
                    ("TimeStamp", wire.time(None)),
                    ("Id", wire.number(0)),
                    ("Text", ""),
                    ("ConfirmationRequired", "N"),
                    ("Confirmed", "N"),
                    ("Queue", "Active"),
                ],
            )
            return
        self._out(
            "MessageCluster",
            [
                self._meter,
                ("TimeStamp", wire.time(message.received_at)),
                ("Id", wire.number(message.message_id)),
                ("Text", message.text),
                ("ConfirmationRequired", "Y" if message.confirmation_required else "N"),
                ("Confirmed", "Y" if message.confirmed else "N"),
                ("Queue", "Active"),
            ],
        )

    # --- Commands ----------------------------------------------------------------------------------------------------------

    def _refresh(self, command: Command, request: han.Request) -> None:
        self._check_meter(command)
        if command.get("Refresh") is not None and wire.flag(command.get("Refresh")):
            self._display.refresh(request)

    def _check_meter(self, command: Command) -> None:
        meter = command.get("MeterMacId")
        if meter is not None and wire.integer(meter) != (self._display.meter_address or 0):
            raise RavenXmlError(f"no meter {meter}")

    def _restart(self, command: Command) -> None:
        self._display.restart()

    def _factory_reset(self, command: Command) -> None:
        self._display.factory_reset()

    def _get_connection_status(self, command: Command) -> None:
        self._tell_connection()

    def _get_network_info(self, command: Command) -> None:
        self._tell_network()

    def _get_device_info(self, command: Command) -> None:
        display = self._display
        self._out(
            "DeviceInfo",
            [
                ("InstallCode", f"0x{display.install_code.hex()}"),
                ("LinkKey", f"0x{display.link_key.hex()}"),
                ("FWVersion", display.options.firmware),
                ("HWVersion", display.options.hardware),
                ("ImageType", "0x2201"),
                ("Manufacturer", display.identify().manufacturer),
                ("ModelId", display.model_id),
                ("DateCode", display.options.date_code),
            ],
        )

    def _get_meter_list(self, command: Command) -> None:
        self._out("MeterList", [("MeterMacId", meter) for meter in self._display.meters()])

    def _get_meter_info(self, command: Command) -> None:
        self._check_meter(command)
        notes = self._display.meter_notes
        kind = "0x0000" if self._display.options.kind == "emu-2" else "electric"
        names = [(key, notes.get(key, "")) for key in ("NickName", "Account", "Auth", "Host")]
        self._out("MeterInfo", [self._meter, ("MeterType", kind), *names, ("Enabled", notes.get("Enabled", "Y"))])

    def _set_meter_info(self, command: Command) -> None:
        self._check_meter(command)
        enabled = command.get("Enabled")
        if enabled is not None:
            self._display.meter_notes["Enabled"] = "Y" if wire.flag(enabled) else "N"
        for key in ("NickName", "Account", "Auth", "Host"):
            value = command.get(key)
            if value is not None:
                self._display.meter_notes[key] = value

    def _get_schedule(self, command: Command) -> None:
        self._check_meter(command)
        event = command.get("Event")
        schedules = self._display.schedules
        if event is not None and event not in schedules:
            raise RavenXmlError(f"no event {event}")
        for name in schedules if event is None else (event,):
            one = schedules[name]
            self._out(
                "ScheduleInfo",
                [
                    self._meter,
                    ("Event", name),
                    ("Frequency", wire.number(one.frequency_s, 4)),
                    ("Enabled", "Y" if one.enabled else "N"),
                ],
            )

    def _set_schedule(self, command: Command) -> None:
        self._check_meter(command)
        event, frequency = command.get("Event") or "", wire.integer(command.get("Frequency"))
        self._display.set_schedule(event, frequency, wire.flag(command.get("Enabled")))

    def _set_schedule_default(self, command: Command) -> None:
        self._check_meter(command)
        self._display.set_schedule_default(command.get("Event"))

    def _get_time(self, command: Command) -> None:
        self._refresh(command, han.ReadTime())
        self._tell_time()

    def _get_message(self, command: Command) -> None:
        self._refresh(command, han.GetLastMessage())
        self._tell_message(self._display.shown_message())

    def _confirm_message(self, command: Command) -> None:
        self._check_meter(command)
        self._display.confirm(wire.integer(command.get("Id")))

    def _get_current_price(self, command: Command) -> None:
        self._refresh(command, han.GetCurrentPrice())
        self._tell_price()

    def _set_current_price(self, command: Command) -> None:
        self._check_meter(command)
        price = wire.price_millicents(command.get("Price"), command.get("TrailingDigits") or "0")
        if price is None or price >= 0xFFFFFFFF:
            raise RavenXmlError("no price")
        self._display.set_price(price)

    def _get_instantaneous_demand(self, command: Command) -> None:
        self._refresh(command, han.ReadDemand())
        self._tell_demand()

    def _get_current_summation(self, command: Command) -> None:
        self._refresh(command, han.ReadSummation())
        self._tell_summation()

    def _get_current_period(self, command: Command) -> None:
        self._check_meter(command)
        display = self._display
        wh = 0 if display.summation is None else display.summation.delivered_wh - display.period.start_wh
        fields = [self._meter, ("TimeStamp", wire.time(display.now())), ("CurrentUsage", wire.number(wh))]
        start = ("StartDate", wire.time(display.period.start))
        self._out("CurrentPeriodUsage", [*fields, *_kilo(3, 15), start])

    def _get_last_period(self, command: Command) -> None:
        self._check_meter(command)
        last = self._display.last_period
        dates = [("StartDate", wire.time(last.start)), ("EndDate", wire.time(last.end))]
        self._out("LastPeriodUsage", [self._meter, ("LastUsage", wire.number(last.used_wh)), *_kilo(3, 15), *dates])

    def _close_current_period(self, command: Command) -> None:
        self._check_meter(command)
        self._display.close_period()

    def _set_fast_poll(self, command: Command) -> None:
        self._check_meter(command)
        self._display.set_fast_poll(wire.integer(command.get("Frequency")), wire.integer(command.get("Duration")))

    def _get_fast_poll_status(self, command: Command) -> None:
        display = self._display
        running = display.fast_until > display.now()
        self._out(
            "FastPollStatus",
            [
                self._meter,
                ("Frequency", wire.number(display.fast_frequency_s if running else 0, 4)),
                ("EndTime", wire.time(display.fast_until if running else None)),
            ],
        )

    def _get_profile_data(self, command: Command) -> None:
        self._check_meter(command)
        periods, channel = wire.integer(command.get("NumberOfPeriods")), command.get("IntervalChannel")
        if channel not in ("Delivered", "Received"):
            raise RavenXmlError(f"no channel {channel}")
        text = command.get("EndTime")
        until = None if text is None or wire.integer(text) == 0 else wire.moment(text)
        got = self._display.profile(han.GetProfile(min(periods, _MOST_PERIODS), channel == "Received", until))
        code = None if got is None else _PERIODS.get(int(got.length / timedelta(minutes=1)))
        if channel == "Received":
            status = 2
        elif got is None or code is None or not got.energies_wh:
            status = 5
        else:
            status = 4 if periods > _MOST_PERIODS else 0
        told = got.energies_wh if got is not None and status in (0, 4) else ()
        self._out(
            "ProfileData",
            [
                self._meter,
                ("EndTime", wire.time(got.ends_at if got is not None and told else None)),
                ("Status", wire.number(status, 2)),
                ("ProfileIntervalPeriod", str(code if code is not None and told else 1)),
                ("NumberOfPeriodsDelivered", wire.number(len(told), 2)),
                *((f"IntervalData{n}", wire.number(wh, 6)) for n, wh in enumerate(told, 1)),
            ],
        )


def _kilo(right: int, left: int) -> Fields:
    """How a raw value in W or Wh becomes kW or kWh, and how many digits are shown."""
    return [
        ("Multiplier", wire.number(1)),
        ("Divisor", wire.number(1000)),
        ("DigitsRight", wire.number(right, 2)),
        ("DigitsLeft", wire.number(left, 2)),
        ("SuppressLeadingZero", "Y"),
    ]


_TELLS: dict[str, Callable[[RavenSession], None]] = {
    "status": RavenSession._tell_connection,
    "time": RavenSession._tell_time,
    "price": RavenSession._tell_price,
    "demand": RavenSession._tell_demand,
    "summation": RavenSession._tell_summation,
}

_HANDLERS: dict[str, Callable[[RavenSession, Command], None]] = {
    "initialize": RavenSession._restart,
    "restart": RavenSession._restart,
    "factory_reset": RavenSession._factory_reset,
    "get_connection_status": RavenSession._get_connection_status,
    "get_device_info": RavenSession._get_device_info,
    "get_schedule": RavenSession._get_schedule,
    "set_schedule": RavenSession._set_schedule,
    "set_schedule_default": RavenSession._set_schedule_default,
    "get_meter_list": RavenSession._get_meter_list,
    "get_meter_info": RavenSession._get_meter_info,
    "set_meter_info": RavenSession._set_meter_info,
    "get_network_info": RavenSession._get_network_info,
    "get_time": RavenSession._get_time,
    "get_message": RavenSession._get_message,
    "confirm_message": RavenSession._confirm_message,
    "get_current_price": RavenSession._get_current_price,
    "set_current_price": RavenSession._set_current_price,
    "get_instantaneous_demand": RavenSession._get_instantaneous_demand,
    "get_current_summation_delivered": RavenSession._get_current_summation,
    "get_current_period_usage": RavenSession._get_current_period,
    "get_last_period_usage": RavenSession._get_last_period,
    "close_current_period": RavenSession._close_current_period,
    "set_fast_poll": RavenSession._set_fast_poll,
    "get_fast_poll_status": RavenSession._get_fast_poll_status,
    "get_profile_data": RavenSession._get_profile_data,
}

_EMU_2_ONLY = {"get_fast_poll_status"}


def serial_face(display: RavenDisplay, address: str, line: LineOptions) -> Face:
    """The USB port, a virtual serial line of 115200 bit/s."""
    return on_pty(lambda send: RavenSession(display, send), address, line)


def tcp_face(display: RavenDisplay, address: str, line: LineOptions) -> Face:
    """The same bytes on a TCP port, as a serial-to-network adapter carries them."""
    return on_tcp(lambda send: RavenSession(display, send), address, line)
