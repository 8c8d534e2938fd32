"""Twin of Rainforest's display devices for the home: RAVEn (RFA-Z106, a radio that a host shows) and EMU-2 (with a screen).

Facts from the RAVEn XML API manual 1.27 and the EMU-2 technical guide 1.05; how long joining takes, what is scheduled by
default and how one screen is shared by account and texts are our choice. It lives on the meter's home area network and
has power at all times.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from drivers.errors import OutOfRange, Refused
from drivers.roles import Display, DisplayedBalance, DisplayedMessage, HanLink, Identity
from drivers.wire import raven_xml as wire
from twins.clock import Clock, Timer
from twins.displays import xml_face
from twins.models import Model
from twins.premises import han
from twins.wiring import Site

MANUFACTURER = "Rainforest Automation, Inc."
PRICE_POLL_S = 120.0
"""An EMU-2 asks for the price this often."""
SCHEDULE = {"time": 900, "price": 900, "demand": 300, "summation": 900, "message": 900}
"""Seconds between two notifications by default."""
_LATE_S = 300.0
_DAYS_LEFT = re.compile(r"TIME LEFT \d+ d")
_STEP_S = 1.0
"""How long each step of joining takes."""
_MOST_FAST_MIN = 15
"""A fast poll ends by itself after this at the latest."""


class RavenOptions(BaseModel):
    """One display device."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    han: str
    """The home area network that it is to join."""
    kind: Literal["raven", "emu-2"] = "emu-2"
    address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{16}$")] = "0x00158d0000000004"
    """EUI-64."""
    install_code: Annotated[str, Field(repr=False)] = "83fed3407a932b70"
    """Hexadecimal, its CRC included; the meter has to be given the same."""
    firmware: str = "2.0.0 (7400)"
    hardware: str = "2.7.3"
    date_code: Annotated[str, Field(pattern=r"^\d{8}\w+$")] = "2013103023220630"
    link_strength_percent: Annotated[int, Field(ge=0, le=100)] = 100
    scan_s: Annotated[float, Field(gt=0)] = 10.0
    """How long it waits between two scans for a network."""

    @field_validator("install_code")
    @classmethod
    def _eight_bytes(cls, code: str) -> str:
        if len(han.check_install_code(bytes.fromhex(code))) != 8:
            raise ValueError("this model's install codes have 8 bytes, CRC included")
        return code


@dataclass(frozen=True)
class Message:
    """A text that the display holds."""

    message_id: int
    text: str
    at: datetime
    ends_at: datetime | None
    confirmation_required: bool
    confirmed: bool = False
    received_at: datetime | None = None
    """When it came from the meter, by the display's clock."""


@dataclass(frozen=True)
class Price:
    """The price that the display holds. `from_meter` outranks one that was typed in."""

    millicents_per_kwh: int
    at: datetime
    from_meter: bool


@dataclass
class Scheduled:
    """How often something is pushed."""

    frequency_s: int
    enabled: bool = True
    timer: Timer | None = None


@dataclass(frozen=True)
class Period:
    """A period of consumption. Times and register are the meter's."""

    start: datetime | None = None
    end: datetime | None = None
    start_wh: int = 0
    used_wh: int = 0


class RavenDisplay:
    """The display's behaviour; implements the role Display and is a member of the home area network.

    Faults: `never_joins` (finds no network), `wrong_key` (its install code is not the one that the meter was given),
    `joins_twice` (joins again each time it has joined), `silent` (says nothing to its host). The first three take effect at
    once, also on a display that had joined.
    """

    status: str
    price: Price | None
    demand: han.Demand | None
    summation: han.Summation | None
    period: Period
    last_period: Period
    fast_frequency_s: int
    fast_until: datetime
    _account: Message | None
    _text: Message | None
    _meter_address: int | None
    _ahead: timedelta
    _local_offset: timedelta

    def __init__(
        self,
        clock: Clock,
        site: Site,
        *,
        name: str,
        options: RavenOptions,
        seed: int = 0,
        defects: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.options = options
        self.defects = defects
        self.changed: list[Callable[[], None]] = []
        self.pushes: list[Callable[[str], None]] = []
        """Called with what is to be told unasked: `time`, `price`, `demand`, `summation`, `message`, `account`, `status`."""
        self.address = int(options.address, 16)
        self._clock = clock
        self._network = han.network(site, options.han)
        self._code = bytes.fromhex(options.install_code)
        self._faults: set[str] = set()
        self._join_timer: Timer | None = None
        self._price_timer: Timer | None = None
        self._fast_timer: Timer | None = None
        self.schedules: dict[str, Scheduled] = {}
        self.meter_notes: dict[str, str] = {}
        """NickName, Account, Auth, Host, Enabled as a host has set them."""
        self._forget()
        self._default_schedules()
        if options.kind == "emu-2":
            self._price_timer = clock.call_later(PRICE_POLL_S, self._poll_price)
        self._begin("Initializing")

    # --- The role ------------------------------------------------------------------------------------------------------

    def identify(self) -> Identity:
        """Maker, model, address (it has no other serial number), firmware."""
        return Identity(MANUFACTURER, self.model_id, wire.address(self.address), self.options.firmware)

    def link(self) -> HanLink:
        """Status in the device's words; no strength without a link."""
        return HanLink(self.joined, self.status, self.link_strength_percent)

    def meters(self) -> tuple[str, ...]:
        """The meter's address while it is joined to one."""
        return () if self.meter_address is None else (wire.address(self.meter_address),)

    def price_millicents_per_kwh(self) -> int | None:
        """The price it shows."""
        return None if self.price is None else self.price.millicents_per_kwh

    def demand_w(self) -> float | None:
        """The demand it shows."""
        return None if self.demand is None else float(self.demand.watts)

    def delivered_wh(self) -> float | None:
        """The register it shows."""
        return None if self.summation is None else float(self.summation.delivered_wh)

    def message(self) -> DisplayedMessage | None:
        """The text it shows."""
        shown = self.shown_message()
        if shown is None:
            return None
        confirmation = shown.confirmation_required, shown.confirmed
        return DisplayedMessage(shown.message_id, shown.text, *confirmation, shown.received_at)

    def confirm(self, message_id: int) -> None:
        """Confirm the text shown; the meter is told. Refused for any other, and for one that wants no confirmation."""
        shown = self.shown_message()
        if shown is None or shown.message_id != message_id or not shown.confirmation_required:
            raise Refused(f"{self.name}: message {message_id} is not shown, or waits for no confirmation")
        if not shown.confirmed:
            self._text = replace(shown, confirmed=True)
            if self.joined:
                self._network.request(self, han.MessageConfirmation(message_id, self.now()))
            self._tell("message")

    def balance(self) -> DisplayedBalance | None:
        """The prepaid balance it shows."""
        account = self._account
        told = None if account is None else wire.parse_balance(account.text)
        return None if account is None or told is None else replace(told, received_at=account.received_at)

    # --- What the XML asks beyond the role -----------------------------------------------------------------------------

    @property
    def model_id(self) -> str:
        """The model as the device names it."""
        return "Z109-EMU2" if self.options.kind == "emu-2" else "Z106-RAVEN"

    @property
    def silent(self) -> bool:
        """Whether it says nothing to its host."""
        return "silent" in self._faults

    @property
    def joined(self) -> bool:
        """Whether it is on the network as far as it knows."""
        return self.status == wire.CONNECTED

    @property
    def link_strength_percent(self) -> int:
        """Strength of the link, 0 without one."""
        return self.options.link_strength_percent if self.joined else 0

    @property
    def meter_address(self) -> int | None:
        """The coordinator's address; None before it has joined, and after a reset."""
        return self._meter_address

    @property
    def short_address(self) -> int:
        """Its address on the network, 0xFFFF without one."""
        return self._network.short_addresses.get(self.address, 0xFFFF) if self.joined else 0xFFFF

    @property
    def link_key(self) -> bytes:
        """The link key that its install code makes."""
        return han.link_key(self.install_code)

    @property
    def install_code(self) -> bytes:
        """The install code in use."""
        if "wrong_key" in self._faults:
            return han.install_code(bytes(b ^ 0xFF for b in self._code[:-2]))
        return self._code

    def now(self) -> datetime:
        """The meter's time as the display keeps it, UTC; its own before it has heard any."""
        return self._clock.now() + self._ahead

    def local_now(self) -> datetime:
        """Local time, written as if it were UTC, as the device tells it."""
        return self.now() + self._local_offset

    def messages(self) -> tuple[Message, ...]:
        """All that it holds and may show, the one that it shows last."""
        shown = self.shown_message()
        held = [m for m in (self._account, self._active_text()) if m is not None]
        return tuple(sorted(held, key=lambda m: m is shown))

    def shown_message(self) -> Message | None:
        """The one on the screen: the utility's text until it is over, or confirmed and followed by a newer account; else
        the account."""
        text, account = self._active_text(), self._account
        if text is not None and (account is None or not text.confirmed or account.at <= text.at):
            return text
        return account

    def refresh(self, request: han.Request) -> None:
        """Ask the meter and take the answer at once: somebody waits at the wire."""
        if self.joined:
            answer = self._network.ask(self, request)
            if answer is not None:
                self._take(answer, push=False)

    def profile(self, request: han.GetProfile) -> han.Profile | None:
        """Interval data from the meter, None where it cannot be had."""
        answer = self._network.ask(self, request) if self.joined else None
        return answer if isinstance(answer, han.Profile) else None

    def set_schedule(self, event: str, frequency_s: int, enabled: bool) -> None:
        """Push something every so many seconds, or not at all. OutOfRange for an unknown event or a frequency beyond 16 bit."""
        if event not in self.schedules:
            raise OutOfRange(f"{self.name}: no event {event!r}; events are {', '.join(self.schedules)}")
        if not 1 <= frequency_s <= 0xFFFF:
            raise OutOfRange(f"{self.name}: a frequency of {frequency_s} s; it is 1 to 65535")
        self._schedule(event, Scheduled(frequency_s, enabled))

    def set_schedule_default(self, event: str | None = None) -> None:
        """Back to the default schedule, of one event or of all. OutOfRange for an unknown event."""
        if event is not None and event not in SCHEDULE:
            raise OutOfRange(f"{self.name}: no event {event!r}; events are {', '.join(SCHEDULE)}")
        self._default_schedules(event)

    def set_price(self, millicents_per_kwh: int) -> None:
        """Type a price in; the meter's goes before it."""
        if self.price is None or not self.price.from_meter:
            self.price = Price(millicents_per_kwh, self.now(), from_meter=False)
            self._tell("price")

    def set_fast_poll(self, frequency_s: int, minutes: int) -> None:
        """Ask the meter for its demand every so many seconds, for some minutes. OutOfRange for what the device cannot."""
        if not 1 <= frequency_s <= 0xFFFF or not 0 <= minutes <= _MOST_FAST_MIN:
            raise OutOfRange(f"{self.name}: fast poll of {frequency_s} s for {minutes} min: from 1 s, up to 15 min")
        if self._fast_timer is not None:
            self._fast_timer.cancel()
        self.fast_frequency_s = frequency_s
        self.fast_until = self.now() + timedelta(minutes=minutes)
        self._fast_timer = self._clock.call_later(frequency_s, self._fast_poll)

    def close_period(self) -> None:
        """End the running period of consumption and begin another."""
        at, wh = self.now(), 0 if self.summation is None else self.summation.delivered_wh
        running = self.period
        self.last_period = Period(running.start, at, running.start_wh, wh - running.start_wh)
        self.period = Period(at, None, wh)

    def restart(self) -> None:
        """Start over; what it holds and its place on the network survive."""
        self._begin("Initializing" if self._meter_address is None else "Rejoining")

    def factory_reset(self) -> None:
        """Leave the network and forget everything; then look for one again."""
        self._network.leave(self.address)
        self._forget()
        self.meter_notes.clear()
        self._default_schedules()
        self._begin("Initializing")

    # --- The network -----------------------------------------------------------------------------------------------------

    def received(self, message: han.Published) -> None:
        """Take what the meter tells."""
        if not self.joined:
            return
        if "shows_late" in self.defects and isinstance(message, han.DisplayMessage):
            self._clock.call_later(_LATE_S, self._take, message, True, self.now())
        else:
            self._take(message)

    def unanswered(self) -> None:
        """The meter is out of reach: look for it again."""
        if self.joined:
            self._begin("Rejoining")

    def _take(self, message: han.Published, push: bool = True, came_at: datetime | None = None) -> None:
        what = "time"
        if isinstance(message, han.PublishPrice):
            what = "price"
            self.price = Price(message.millicents_per_kwh, message.at, from_meter=True)
        elif isinstance(message, han.Demand):
            what, self.demand = "demand", message
        elif isinstance(message, han.Summation):
            what, self.summation = "summation", message
            if self.period.start is None:
                self.period = Period(message.at, None, message.delivered_wh)
        elif isinstance(message, han.DisplayMessage):
            what = self._take_text(message, came_at or self.now())
        elif isinstance(message, han.TimeReport):
            self._ahead = message.utc - self._clock.now()
            self._local_offset = message.local_offset
        else:
            return
        self._tell(what, push)

    def _take_text(self, message: han.DisplayMessage, came_at: datetime) -> str:
        ends_at = None if message.duration is None else message.at + message.duration
        held = Message(
            message.message_id, message.text, message.at, ends_at, message.confirmation_required, received_at=came_at
        )
        if message.duration is not None:
            again = self._text is not None and self._text.message_id == held.message_id
            if not again:  # a text that comes twice is shown once, and stays confirmed
                self._text = held
            return "message"
        if "shows_old_balance" in self.defects and self._account is not None:
            return "account"
        if "shows_balance_without_time_left" in self.defects:
            held = replace(held, text=held.text.partition(" TIME LEFT")[0])
        if "shows_time_left_without_days" in self.defects:
            held = replace(held, text=_DAYS_LEFT.sub("TIME LEFT 0 d", held.text))
        self._account = held
        return "account"

    def _active_text(self) -> Message | None:
        text = self._text
        return text if text is not None and (text.ends_at is None or self.now() < text.ends_at) else None

    # --- Joining -----------------------------------------------------------------------------------------------------------

    def _begin(self, status: str) -> None:
        if self._join_timer is not None:
            self._join_timer.cancel()
        self._status(status)
        self._join_timer = self._clock.call_later(_STEP_S, self._scan)

    def _scan(self) -> None:
        known = self._meter_address is not None
        if self._network.heard is None or "never_joins" in self._faults:
            self._status("Rejoining" if known else "Network Discovery")
            self._join_timer = self._clock.call_later(self.options.scan_s, self._scan)
            return
        if not known:
            self._status("Joining")
        self._join_timer = self._clock.call_later(_STEP_S, self._join)

    def _join(self) -> None:
        coordinator = self._network.heard
        if coordinator is None or not coordinator.admits(self.address, self.link_key):
            self._status("Join: Fail")
            self._join_timer = self._clock.call_later(self.options.scan_s, self._scan)
            return
        self._status("Authenticating")
        self._join_timer = self._clock.call_later(_STEP_S, self._authenticated)

    def _authenticated(self) -> None:
        self._join_timer = None
        coordinator = self._network.heard
        if coordinator is None or not self._network.join(self, self.link_key):
            self._status("Authenticating: Fail")
            self._join_timer = self._clock.call_later(self.options.scan_s, self._scan)
            return
        self._meter_address = coordinator.address
        self._status(wire.CONNECTED)
        if "joins_twice" in self._faults:
            self._network.join(self, self.link_key)

    def _lose(self) -> None:
        """Leave the network, and what it was told of it, and try again."""
        self._network.leave(self.address)
        self._meter_address = None
        self._begin("Disconnected")

    def _status(self, status: str) -> None:
        if status != self.status:
            self.status = status
            self._tell("status")

    # --- Polls and pushes --------------------------------------------------------------------------------------------------

    def _poll(self, request: han.Request) -> None:
        if self.joined:
            self._network.request(self, request)

    def _poll_price(self) -> None:
        self._price_timer = self._clock.call_later(PRICE_POLL_S, self._poll_price)
        self._poll(han.GetCurrentPrice())

    def _fast_poll(self) -> None:
        if self.now() > self.fast_until:
            self._fast_timer = None
            return
        self._fast_timer = self._clock.call_later(self.fast_frequency_s, self._fast_poll)
        self._poll(han.ReadDemand())

    def _schedule(self, event: str, scheduled: Scheduled) -> None:
        old = self.schedules.get(event)
        if old is not None and old.timer is not None:
            old.timer.cancel()
        self.schedules[event] = scheduled
        if scheduled.enabled:
            scheduled.timer = self._clock.call_later(scheduled.frequency_s, self._due, event)

    def _default_schedules(self, event: str | None = None) -> None:
        for name in SCHEDULE if event is None else (event,):
            self._schedule(name, Scheduled(SCHEDULE[name]))

    def _due(self, event: str) -> None:
        scheduled = self.schedules[event]
        scheduled.timer = self._clock.call_later(scheduled.frequency_s, self._due, event)
        if event == "demand" and self.joined:
            self._poll(han.ReadDemand())  # the answer is what is pushed
        elif event == "summation" and self.joined:
            self._poll(han.ReadSummation())
        else:
            self._push("messages" if event == "message" else event)

    def _push(self, what: str) -> None:
        event = "message" if what in ("account", "messages") else what
        if event == "status" or self.schedules[event].enabled:
            for push in list(self.pushes):
                push(what)

    def _tell(self, what: str, push: bool = True) -> None:
        if push:
            self._push(what)
        for hear in list(self.changed):
            hear()

    def _forget(self) -> None:
        self.status = "Initializing"
        self.price = None
        self.demand = None
        self.summation = None
        self.period = Period()
        self.last_period = Period()
        self.fast_frequency_s = 0
        self.fast_until = self._clock.now()
        self._account = None
        self._text = None
        self._meter_address = None
        self._ahead = self._local_offset = timedelta(0)

    # --- Faults and buttons ------------------------------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of the faults that can be injected."""
        return ("never_joins", "wrong_key", "joins_twice", "silent")

    def inject(self, fault: str, on: bool = True) -> None:
        """Switch a fault on or off; ValueError for a name that is not in `faults`."""
        if fault not in self.faults:
            raise ValueError(f"{self.name}: no fault {fault!r}; faults are {', '.join(self.faults)}")
        if on == (fault in self._faults):
            return
        self._faults ^= {fault}
        if fault in ("never_joins", "wrong_key"):
            self._lose()
        elif fault == "joins_twice" and on and self.joined:
            self._network.join(self, self.link_key)
        self._tell("status", push=False)

    @property
    def buttons(self) -> tuple[str, ...]:
        """What a person can press: `confirm` confirms the text that is shown."""
        return ("confirm",)

    def press(self, button: str) -> None:
        """Press a button; ValueError for a name that is not in `buttons`."""
        if button not in self.buttons:
            raise ValueError(f"{self.name}: no button {button!r}; buttons are {', '.join(self.buttons)}")
        shown = self.shown_message()
        if shown is not None and shown.confirmation_required:
            self.confirm(shown.message_id)


def default_site(site: Site) -> RavenOptions:
    """A meter that the display can join, in its own default site: 240 V, 60 Hz, 5 A at unity power factor."""
    from twins.meters import ami_meter

    options = RavenOptions(han="home")
    wiring = ami_meter.default_site(site)
    devices = {options.address: options.install_code}
    ami_meter.build(
        site.clock, site, name="meter", options=wiring.model_copy(update={"han": "home", "han_devices": devices})
    )
    return options


MODEL = Model(
    name="raven",
    role=Display,
    options=RavenOptions,
    build=RavenDisplay,
    faces={"pty": xml_face.serial_face, "tcp": xml_face.tcp_face},
    default_site=default_site,
    # As wide as its notifications have them: 32 bits for a price, of which all ones are none; 24 bits with sign for the demand
    # and 64 for the register, in the meter's watts and watt-hours. The text of the balance tells the meter's account.
    ranges={
        "price_millicents_per_kwh": (0, 2**32 - 2),
        "demand_w": (-(2**23), 2**23 - 1),
        "delivered_wh": (0, 2**64 - 1),
        "prepaid_balance_cents": (-(2**31), 2**31 - 1),
        "prepaid_credit_wh": (-(2**31), 2**31 - 1),
        "prepaid_time_left": (0, 2**32 - 1),
    },
)
