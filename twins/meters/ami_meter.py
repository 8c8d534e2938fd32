"""Twin of a US AMI meter (ANSI CL20, 240 V) with a service switch and a prepayment account.

It implements the role Meter directly; the interface is `docs/meter-profile.md`. Time is the bench's, seen through the
meter's own clock. Without line voltage the meter is dead: it takes no commands, shows nothing, and answers nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from drivers.roles import (
    Account,
    DisplayItem,
    EventCode,
    Identity,
    Interval,
    LogEntry,
    MessageCode,
    Meter,
    MeterMessage,
    MeterReading,
    MeterTestResult,
    Receipt,
    ReceiptStatus,
    ScheduledEvent,
    ServiceStatus,
    Switch,
)
from drivers.wire import meter_settings
from drivers.wire.c1219 import TableError
from drivers.wire.meter_profile import Config, Counters, DemandLimit, Feature, LoadControl, NumberedInterval, Profile
from drivers.wire.meter_settings import CustomerSettings, Language, LimitSteps, LocalTime, Rule
from twins.clock import Clock
from twins.faces.endpoints import host_port
from twins.faces.stream import Face, SerialLine, TcpServer
from twins.meters import display
from twins.meters.ami_options import AmiMeterOptions as AmiMeterOptions
from twins.meters.c12_face import C1218Session
from twins.meters.han_port import HanPort, HanSettings
from twins.meters.inbox import Inbox
from twins.meters.logbook import Logbook
from twins.meters.own_balance import OwnBalance
from twins.meters.prepayment import Prepayment
from twins.meters.recorder import Metrology, Recorder, present
from twins.meters.rules import Rules
from twins.meters.service import Service
from twins.meters.timekeeping import OwnClock, next_change
from twins.models import LineOptions, Model
from twins.premises import han
from twins.wiring import Contact, Load, Site, Source, Tap, WiringError, split_phase

_LATE_S = 61.0


class AmiMeter:
    """The behaviour of the meter. Reads tell what it holds even when it is dead; commands then raise LinkLost."""

    MANUFACTURER = "TWBN"
    MODEL = "AMI-CL20"
    FIRMWARE = "1.0"

    def __init__(
        self, clock: Clock, site: Site, *, name: str, options: AmiMeterOptions, seed: int, defects: frozenset[str]
    ) -> None:
        self.name = name
        self.options = options
        self.defects = defects
        self.changed: list[Callable[[], None]] = []
        self._clock = clock
        self._tap = site.tap(options.tap)
        self._load_side = self._tap if options.load_side is None else site.tap(options.load_side)
        contact = None if options.switch is None else site.contact(options.switch)
        self._zone = ZoneInfo(options.time_zone)
        self.power_ups = 0
        """How often the meter came up: a session ends with the supply."""
        self.display_on = options.display
        """Whether the meter's own display is switched on."""
        self._silent = False
        self._alive = False
        self._han: HanPort | None = None
        self._seen: tuple[object, ...] = ()

        self.own_clock = own = OwnClock(clock, options.clock_offset_s, options.clock_drift_ppm)
        self.logbook = log = Logbook(own, options.log_capacity)
        self._metrology = Metrology(self._tap, seed=seed, name=name, class_percent=options.class_percent)
        two_hours = "two_hour_intervals" in defects
        self._recorder = Recorder(
            clock,
            own,
            self._metrology,
            length=timedelta(hours=2) if two_hours else timedelta(minutes=options.interval_min),
            capacity=options.interval_capacity,
            share=0.9 if "intervals_read_low" in defects else 1.0,
            ended=self._interval_ended,
        )
        self._service = Service(
            clock,
            contact,
            log,
            power_w=self._metrology.power_w,
            window_s=options.limit_window_s,
            reclose_s=options.reclose_s,
            limit_w=options.limit_w,
            changed=self._tell,
            defects=defects,
        )
        self._steps = LimitSteps(options.capacity_w, options.limit_steps)
        self._rules = Rules(clock, own, log, room=options.rule_capacity, carry_out=self._obey, defects=defects)
        self._prepayment = Prepayment(
            clock,
            own,
            log,
            self._service,
            self._recorder,
            room=options.schedule_capacity,
            customer=CustomerSettings(),
            own_balance=OwnBalance(self._metrology.delivered_wh, defects),
            test=self._test,
            zero=self._zero_reached,
            changed=self._tell,
            defects=defects,
        )
        self._inbox = Inbox(
            clock,
            own,
            log,
            meter_id=options.meter_id,
            processing_s=options.processing_s,
            priorities={MessageCode[code]: priority for code, priority in options.priorities.items()},
            room=options.message_capacity,
            capacity=options.receipt_capacity,
            carry_out=self._carry_out,
            changed=self._tell,
            defects=defects,
        )
        if options.han is not None:
            self._han = HanPort(
                clock,
                han.network(site, options.han),
                self,
                HanSettings(
                    address=int(options.han_address, 16),
                    keys={int(a, 16): han.link_key(bytes.fromhex(c)) for a, c in options.han_devices.items()},
                    latency_s=options.han_latency_s,
                    text_shown=timedelta(seconds=options.han_text_s),
                ),
                defects,
            )
        self._fingers = {button: site.contact(contact) for button, contact in options.buttons.items()}
        for button in self._fingers:
            if button not in self.buttons:
                raise WiringError(f"{name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        self._pressed = {button: contact.closed for button, contact in self._fingers.items()}
        site.changed.append(self._sense)
        self._sense()

    # --- The role ----------------------------------------------------------------------------------------------------

    def identify(self) -> Identity:
        """Manufacturer, model, serial number and firmware as in table 1."""
        return Identity(self.MANUFACTURER, self.MODEL, self.options.serial, self.FIRMWARE)

    def meter_id(self) -> str:
        """The device id of table 5."""
        return self.options.meter_id

    def clock(self) -> datetime:
        """The meter's own clock, UTC."""
        return self.own_clock.now()

    def set_clock(self, when: datetime) -> None:
        """Set the meter's own clock; the running interval becomes a partial one."""
        self._expect_alive("set the clock")
        if when.tzinfo is None:
            raise OutOfRange(f"{self.name}: set the clock to {when}: the time needs a zone")
        if not 2000 <= when.year <= 2099:
            raise OutOfRange(f"{self.name}: set the clock to {when}: its calendar goes from 2000 to 2099")
        jump = self.own_clock.set(when)
        self.logbook.write(EventCode.CLOCK_SET)
        self._recorder.clock_jumped(jump)
        self._prepayment.due()
        self._rules.due()
        self._tell()

    def set_interval(self, length: timedelta) -> None:
        """Set the recording interval: whole minutes that divide an hour; OutOfRange otherwise."""
        self._expect_alive("set the interval")
        minutes, rest = divmod(length, timedelta(minutes=1))
        if rest or not 1 <= minutes <= 60 or 60 % minutes:
            raise OutOfRange(f"{self.name}: interval of {length}: whole minutes that divide an hour, at most 60")
        if "two_hour_intervals" not in self.defects:
            self._recorder.set_length(length)
        self._tell()

    def reading(self) -> MeterReading:
        """Registers and present values."""
        return self._metrology.reading()

    def service(self) -> ServiceStatus:
        """Switch, load side, demand limit, billing."""
        volts, amps, _, _ = present(self._load_side.state())
        return ServiceStatus(
            switch=self._service.position,
            energised=volts >= 0.5 * self.options.rated_voltage_v,
            load_side_voltage_v=volts,
            load_side_current_a=amps,
            limit_w=self._service.limit_w,
            billing=self._prepayment.billing,
        )

    def connect(self) -> None:
        """Close the service switch."""
        self._operate("connect", self._service.close)

    def disconnect(self) -> None:
        """Open the service switch."""
        self._operate("disconnect", self._service.open)

    def limit(self, watts: int | None) -> None:
        """Set or end the demand limit."""
        if watts is not None and not 0 < watts < 2**32:
            raise OutOfRange(f"{self.name}: demand limit of {watts} W: above zero and below 2^32, or None to end it")
        self._operate("limit", lambda: self._service.set_limit(watts))

    def send(self, message: MeterMessage) -> None:
        """Accept a message; Refused where the meter holds as many as it can."""
        self._accept(message)

    def receipts(self, after: int = 0) -> Sequence[Receipt]:
        """Receipts numbered above `after`."""
        return self._inbox.receipts.after(after)

    def log(self, after: int = 0) -> Sequence[LogEntry]:
        """Log entries numbered above `after`."""
        return self.logbook.entries.after(after)

    def intervals(self, since: datetime | None = None) -> Sequence[Interval]:
        """Intervals that end after `since`."""
        return self._recorder.intervals(since)

    def account(self) -> Account:
        """The prepayment account."""
        return self._prepayment.account

    def add_credit(self, cents: int) -> None:
        """Refused: payments are taken by the utility alone."""
        self._expect_alive("add credit")
        if not self._prepayment.add_credit(cents):
            raise Refused(f"{self.name}: credit is not taken at the meter; pay the utility")

    def display(self) -> Sequence[DisplayItem]:
        """The display's lines; none where it is switched off or the meter is dead."""
        if not self.display_on or not self._alive:
            return ()
        reading = self.reading()
        return tuple(
            display.lines(
                self._prepayment.account,
                self._prepayment.shown_cents,
                reading,
                self._cost_goes_by_w(reading),
                self._service.position,
                self._service.limit_w,
                self.own_clock.now(),
                self._prepayment.text,
                self._prepayment.notice,
                self._zone,
                self.defects,
            )
        )

    def schedule(self) -> Sequence[ScheduledEvent]:
        """Events running or to come."""
        return self._prepayment.schedule()

    def test_result(self) -> MeterTestResult | None:
        """The latest on-demand test's result."""
        return self._prepayment.test_result

    # --- What the utility configures (docs/meter-profile.md, tables 2062 to 2066) ------------------------------------

    def limit_steps(self) -> LimitSteps:
        """Rated capacity and steps of the demand limit."""
        return self._steps

    def set_limit_steps(self, steps: LimitSteps) -> None:
        """Configure them; a limit in force stays what it is. NotSupported without a switch."""
        self._configures("set the limit steps", switch=True)
        self._encoded(steps.encode)
        if "steps_of_a_fixed_capacity" in self.defects:
            steps = replace(steps, capacity_w=self.options.capacity_w)
        for rule in self._rules.stored():
            if rule.action is LoadControl.LIMIT_STEP and (rule.argument or 0) > len(steps.percents):
                raise Refused(f"{self.name}: rule {rule.rule_id} is stored with limit step {rule.argument}")
        self._steps = steps
        self._configured(meter_settings.LIMIT_STEPS)

    def limit_step(self, step: int) -> None:
        """Set the demand limit to one of the steps, counted from 1; OutOfRange for one that there is not."""
        self.limit(self._watts_of(step))

    def rules(self) -> Sequence[Rule]:
        """Stored commands still to come."""
        return self._rules.stored()

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Store commands in the place of those stored. OutOfRange where they make no sense, Refused where there is no room
        or a moment is past, NotSupported without a switch."""
        self._configures("store commands", switch=True)
        self._encoded(lambda: meter_settings.encode_rules(rules))
        for rule in rules:
            if rule.action is LoadControl.LIMIT_STEP and rule.argument is not None:
                self._watts_of(rule.argument)
        self._rules.store(rules)
        self._configured(meter_settings.RULES)

    def message_priorities(self) -> Mapping[MessageCode, int]:
        """Priorities by message code, before a message's own."""
        return self._inbox.priorities

    def set_message_priorities(self, priorities: Mapping[MessageCode, int]) -> None:
        """Configure them, for what is waiting too; OutOfRange for one outside 0 to 9."""
        self._configures("set the priorities")
        self._encoded(lambda: meter_settings.encode_priorities(priorities))
        self._inbox.set_priorities(priorities)
        self._configured(meter_settings.PRIORITIES)

    def customer(self) -> CustomerSettings:
        """The customer's language, and whether the meter works out the balance between messages."""
        return self._prepayment.customer

    def set_customer(self, settings: CustomerSettings) -> None:
        """Configure them; NotSupported where this meter knows no Spanish, or cannot work out the balance."""
        self._configures("set the customer's settings")
        if settings.own_balance and not self.options.works_out_balance:
            raise NotSupported(f"{self.name}: this meter cannot work out the balance by itself")
        if settings.language is Language.SPANISH and not self.options.spanish:
            raise NotSupported(f"{self.name}: this meter knows no Spanish")
        self._prepayment.set_customer(settings)
        self._configured(meter_settings.CUSTOMER)

    def local_time(self) -> LocalTime:
        """The offset of local time in force, and its next change."""
        now = self.own_clock.now()
        at = next_change(self._zone, now)
        then = None if at is None else at.astimezone(self._zone).utcoffset()
        return LocalTime(self.local_offset(), at, self.local_offset() if then is None else then)

    # --- What a face and a person meet -------------------------------------------------------------------------------

    @property
    def answers(self) -> bool:
        """Whether the meter talks: it has line voltage and its port works."""
        return self._alive and not self._silent

    def send_malformed(self, head: MeterMessage) -> None:
        """Accept a message of which only the head could be read: its receipt will say so."""
        self._accept(head, malformed=True)

    def profile(self) -> Profile:
        """What the meter has (table 2048)."""
        features = Feature.SWITCH if self._service.fitted else Feature(0)
        if self.options.display:
            features |= Feature.DISPLAY
        if self.options.works_out_balance:
            features |= Feature.OWN_BALANCE
        if self.options.spanish:
            features |= Feature.SPANISH
        return Profile(features, self.options.message_capacity, self.options.schedule_capacity)

    def counters(self) -> Counters:
        """What a head-end polls to learn what is new (table 2049)."""
        return Counters(
            receipts=self._inbox.receipts.last,
            log=self.logbook.entries.last,
            intervals=self._recorder.stored.last,
            last_message_id=self._inbox.last_message_id,
            account_updates=self._prepayment.account_updates,
            schedule_changes=self._prepayment.schedule_changes,
            waiting=self._inbox.waiting,
            display_lines=len(self.display()),
        )

    def demand_limit(self) -> DemandLimit:
        """The demand limit and its re-close (table 2051)."""
        return DemandLimit(
            limit_w=self._service.limit_w,
            tripped=self._service.position is Switch.TRIPPED,
            reclose_armed=self._service.reclose_to_come,
            reclose_after=timedelta(seconds=self.options.reclose_s),
            trips=self._service.trips,
        )

    def config(self) -> Config:
        """Recording interval and what the display goes by (table 2061)."""
        return Config(self._recorder.length, self.local_offset(), self.display_on)

    def local_offset(self) -> timedelta:
        """By how much local time is ahead of UTC now."""
        return self.own_clock.now().astimezone(self._zone).utcoffset() or timedelta(0)

    def service_text(self) -> str:
        """The service as the display says it."""
        return display.service(self._service.position, self._service.limit_w)

    @property
    def confirmed_texts(self) -> dict[int, datetime]:
        """Texts that users have confirmed at displays of the home area network, by message id."""
        return {} if self._han is None else dict(self._han.confirmed)

    def numbered_intervals(self) -> Sequence[NumberedInterval]:
        """Recorded intervals with their places in the ring (table 2052), in the order of recording."""
        return self._recorder.stored.after()

    def security_failed(self, user_id: int) -> None:
        """Somebody who logged on as `user_id` gave a wrong password."""
        self.logbook.write(EventCode.SECURITY_FAILED, user_id)
        self._tell()

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults that can be injected."""
        return ("silent", "clock_stopped", "switch_welded", "switch_stuck_open", "metrology_high")

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off; ValueError for an unknown one."""
        if fault == "silent":
            self._silent = on
        elif fault == "clock_stopped":
            self.own_clock.stop(on)
            self._recorder.reschedule()
            self._prepayment.due()
            self._rules.due()
        elif fault == "switch_welded":
            self._service.welded = on
            self._service.move()
        elif fault == "switch_stuck_open":
            self._service.stuck_open = on
            self._service.move()
        elif fault == "metrology_high":
            self._metrology.set_high(on)
            self._service.sense()
        else:
            raise ValueError(f"{self.name}: no fault {fault!r}; faults are {', '.join(self.faults)}")
        self._tell()

    @property
    def buttons(self) -> tuple[str, ...]:
        """Buttons that a person can press: re-close the switch; switch the meter's own display off or on."""
        return ("reclose", "display")

    def press(self, button: str) -> None:
        """Press a button; a dead meter doesn't notice. ValueError for an unknown one."""
        if button not in self.buttons:
            raise ValueError(f"{self.name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        if not self._alive:
            return
        if button == "reclose":
            self._service.press_reclose()
        else:
            self.display_on = not self.display_on
            self._tell()

    # --- Inside ------------------------------------------------------------------------------------------------------

    def _operate(self, what: str, act: Callable[[], None]) -> None:
        self._expect_alive(what)
        if not self._service.fitted:
            raise NotSupported(f"{self.name}: {what}: this meter has no service switch")
        if "executes_late" in self.defects:
            self._clock.call_later(_LATE_S, act)
        else:
            act()

    def _carry_out(self, message: MeterMessage) -> ReceiptStatus:
        status = self._prepayment.carry_out(message)
        if self._han is not None and status is ReceiptStatus.PROCESSED:
            # A text is passed on as the meter shows it, which may be its own words in the customer's language.
            text = self._prepayment.text if message.code is MessageCode.TEXT else message.text
            self._han.processed(replace(message, text=text))
        return status

    def _configures(self, what: str, switch: bool = False) -> None:
        self._expect_alive(what)
        if switch and not self._service.fitted:
            raise NotSupported(f"{self.name}: {what}: this meter has no service switch")

    def _encoded(self, encode: Callable[[], bytes]) -> None:
        try:
            encode()
        except TableError as no:
            raise OutOfRange(f"{self.name}: {no}") from no

    def _configured(self, table: int) -> None:
        self.logbook.write(EventCode.SETTINGS_CHANGED, table)
        self._tell()

    def _watts_of(self, step: int) -> int:
        try:
            return self._steps.watts(step)
        except TableError as no:
            raise OutOfRange(f"{self.name}: {no}") from no

    def _obey(self, rule: Rule) -> None:
        """Carry out a stored command."""
        if rule.action is LoadControl.CONNECT:
            self._service.close()
        elif rule.action is LoadControl.DISCONNECT:
            self._service.open()
        elif rule.action is LoadControl.END_LIMIT:
            self._service.set_limit(None)
        elif rule.argument is not None and "stored_limits_do_nothing" not in self.defects:
            step = rule.action is LoadControl.LIMIT_STEP
            self._service.set_limit(self._steps.watts(rule.argument) if step else rule.argument)

    def _zero_reached(self) -> None:
        self._rules.zero()
        if self._han is not None:
            self._han.notice(self._prepayment.notice)

    def _cost_goes_by_w(self, reading: MeterReading) -> float:
        if "cost_of_the_last_interval" not in self.defects:
            return reading.power_w
        stored = self.intervals()
        return stored[-1].energy_wh * 3600 / stored[-1].length.total_seconds() if stored else 0.0

    def _accept(self, message: MeterMessage, malformed: bool = False) -> None:
        self._expect_alive("send a message")
        if self._inbox.full:
            raise Refused(f"{self.name}: message {message.message_id}: the queue is full, send it again later")
        self._inbox.accept(message, malformed)

    def _expect_alive(self, what: str) -> None:
        if not self._alive:
            raise LinkLost(f"{self.name}: {what}: the meter has no line voltage; energise its line side")

    def _test(self, message_id: int) -> MeterTestResult:
        now = self.service()
        if "tests_line_side" in self.defects:
            line = present(self._tap.state())
            now = replace(now, energised=True, load_side_voltage_v=line.voltage_v)
        return MeterTestResult(
            message_id=message_id,
            completed_at=self.own_clock.now(),
            connected=True,
            switch=now.switch,
            energised=now.energised,
            load_side_voltage_v=now.load_side_voltage_v,
            load_side_current_a=now.load_side_current_a,
        )

    def _interval_ended(self) -> None:
        self._prepayment.interval_ended()
        if self._han is not None and self._alive:
            self._han.recorded()
        self._tell()

    def _sense(self) -> None:
        """The site has changed: perhaps the supply, perhaps the load, perhaps a button."""
        for button, contact in self._fingers.items():
            was, self._pressed[button] = self._pressed[button], contact.closed
            if contact.closed and not was:
                self.press(button)
        line = present(self._tap.state())
        alive = line.voltage_v >= 0.5 * self.options.rated_voltage_v
        if alive != self._alive:
            self._alive = alive
            self.power_ups += alive
            self._metrology.set_counting(alive)
            self._recorder.power(alive)
            if alive:
                self.logbook.write(EventCode.POWER_UP)
            for part in (self._service, self._prepayment, self._rules, self._inbox):
                part.power(alive)
            if self._han is not None:
                self._han.power(alive)
        self._service.sense()
        seen = (line, self._load_side.state().voltages, self._load_side.state().currents)
        if seen != self._seen:
            self._seen = seen
            self._tell()

    def _tell(self) -> None:
        if self._han is not None:
            self._han.changed()
        for hear in list(self.changed):
            hear()


def build(
    clock: Clock,
    site: Site,
    *,
    name: str,
    options: AmiMeterOptions,
    seed: int = 0,
    defects: frozenset[str] = frozenset(),
) -> AmiMeter:
    """Build the meter into a site."""
    return AmiMeter(clock, site, name=name, options=options, seed=seed, defects=defects)


def default_site(site: Site) -> AmiMeterOptions:
    """A 240 V, 60 Hz split-phase service with a 5 A load at unity power factor behind the meter; the switch is closed."""
    source = Source(site, "source", split_phase(240.0), 60.0)
    line, switch, load_side = (
        Tap(site, "line side"),
        Contact(site, "service switch", closed=True),
        Tap(site, "load side"),
    )
    load = Load(site, "load", "current", 5.0, legs=(0, 1))
    source.feeds(line)
    line.feeds(switch)
    switch.feeds(load_side)
    load_side.feeds(load)
    return AmiMeterOptions(tap="line side", switch="service switch", load_side="load side")


def _serial(meter: AmiMeter, address: str, line: LineOptions) -> Face:
    def set_baud(baud: int) -> None:
        if port.paced_baud is not None:
            port.paced_baud = baud

    port = SerialLine(
        lambda send: C1218Session(meter, send, set_baud=set_baud),
        Path(address) if address else None,
        paced_baud=line.paced_baud,
        disturbance=line.disturbance,
    )
    return port


def _tcp(meter: AmiMeter, address: str, line: LineOptions) -> Face:
    if line != LineOptions():
        raise ValueError("pacing and disturbance belong to a serial line: serve the meter on a pty for them")
    return TcpServer(lambda send: C1218Session(meter, send), *host_port(address))


MODEL = Model(
    "ami-meter",
    Meter,
    AmiMeterOptions,
    build,
    {"pty": _serial, "tcp": _tcp},
    default_site,
    # Class 20 at 240 V, and a fifth more voltage; the rest as wide as the profile's tables have it (docs/meter-profile.md):
    # registers of 64 bits in mWh, a limit of 32 bits of which all ones are none, an account of 32 bits each, some with sign.
    ranges={
        "delivered_wh": (0, (2**63 - 1) / 1000),
        "received_wh": (0, (2**63 - 1) / 1000),
        "voltage_v": (0.0, 288.0),
        "current_a": (0.0, 20.0),
        "power_w": (-5760.0, 5760.0),
        "frequency_hz": (45.0, 65.0),
        "service_load_side_voltage_v": (0.0, 288.0),
        "service_load_side_current_a": (0.0, 20.0),
        "service_limit_w": (0, 2**32 - 2),
        "account_balance_cents": (-(2**31), 2**31 - 1),
        "account_credit_wh": (-(2**31), 2**31 - 1),
        "account_price_millicents_per_kwh": (0, 2**32 - 1),
        "account_time_left": (0, 2**32 - 1),
    },
)
