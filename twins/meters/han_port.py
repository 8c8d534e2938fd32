"""The meter's end of the home area network: coordinator, trust centre, and what it passes to display devices, and when.

Everything that the meter displays goes out as soon as it is received or recorded, whether its own display is on or off
(`docs/meter-profile.md`, home area network). What a device was out of reach for is sent once it is back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from drivers.roles import Account, Interval, MessageCode, MeterMessage, MeterReading
from drivers.wire.raven_xml import balance_text
from twins.clock import Clock
from twins.premises import han

_PASSES_AFTER_S = {
    "passes_to_the_display_late": 300.0,
    "passes_to_the_display_two_seconds_late": 2.0,
    "passes_to_the_display_half_a_second_late": 0.5,
}
_MOST_TEXTS = 10
"""Texts kept for a device that is out of reach."""
_MOST_CONFIRMED = 100
_NOTICE = 1 << 31
"""Set in the ids of what the meter says by itself."""


class Metered(Protocol):
    """What the port asks its meter for."""

    display_on: bool

    def account(self) -> Account: ...

    def reading(self) -> MeterReading: ...

    def clock(self) -> datetime: ...

    def local_offset(self) -> timedelta: ...

    def service_text(self) -> str: ...

    def intervals(self, since: datetime | None = None) -> Sequence[Interval]: ...


@dataclass(frozen=True)
class HanSettings:
    """Address of the meter's radio, the devices provisioned with their link keys, and how long a text is shown."""

    address: int
    keys: Mapping[int, bytes] = field(repr=False)
    latency_s: float
    text_shown: timedelta


class HanPort:
    """Coordinator of one home area network, for the meter that it belongs to. On the event loop's thread."""

    def __init__(
        self,
        clock: Clock,
        network: han.HomeAreaNetwork,
        meter: Metered,
        settings: HanSettings,
        defects: frozenset[str],
    ) -> None:
        self.address = settings.address
        self.confirmed: dict[int, datetime] = {}
        """Texts that users have confirmed, by message id, with the moment by the device's clock."""
        self._clock = clock
        self._network = network
        self._meter = meter
        self._settings = settings
        self._defects = defects
        self._up = False
        self._told: tuple[Account | None, str] = (None, "")
        self._price: int | None = None
        self._text: han.DisplayMessage | None = None
        self._undelivered: dict[int, deque[han.Published]] = {
            address: deque(maxlen=_MOST_TEXTS) for address in settings.keys
        }
        network.form(self, settings.latency_s)

    # --- What the network asks -------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether the radio works: the meter has line voltage."""
        return self._up

    def admits(self, address: int, key: bytes) -> bool:
        """Whether the device was provisioned, with that link key."""
        return self._settings.keys.get(address) == key

    def joined(self, address: int) -> None:
        """Bring a device that has joined, or has come back, up to date, and send it the texts it was out of reach for."""
        self._send((address,), *self._state())
        waiting = self._undelivered.get(address)
        if waiting:
            texts = list(waiting)
            waiting.clear()
            self._send((address,), *texts)
        elif self._text is not None and self._still_shown(self._text):
            self._send((address,), self._text)

    def answer(self, address: int, request: han.Request) -> han.Published | None:
        """Answer a device."""
        if isinstance(request, han.MessageConfirmation):
            self.confirmed[request.message_id] = request.at
            if len(self.confirmed) > _MOST_CONFIRMED:
                del self.confirmed[next(iter(self.confirmed))]
            return None
        if isinstance(request, han.ReadTime):
            return self._time()
        if self._mute:
            return None
        if isinstance(request, han.GetCurrentPrice):
            return None if self._price is None else self._published_price()
        if isinstance(request, han.ReadDemand):
            return self._demand()
        if isinstance(request, han.ReadSummation):
            return self._summation()
        if isinstance(request, han.GetProfile):
            return self._profile(request)
        return self._text if self._text is not None and self._still_shown(self._text) else self._account_text()

    def undelivered(self, address: int, message: han.Published) -> None:
        """Keep a text for when the device is back. Values are not kept: it is then told those of that time."""
        is_text = isinstance(message, han.DisplayMessage) and message.duration is not None
        if is_text and address in self._undelivered:
            self._undelivered[address].append(message)

    # --- What the meter tells ----------------------------------------------------------------------------------------------

    def power(self, alive: bool) -> None:
        """The meter has come up, or lost its supply."""
        self._up = alive
        if alive:
            for address in tuple(self._network.members):
                self.joined(address)

    def changed(self) -> None:
        """Something of the meter has changed: pass on what a device has not been told yet."""
        account, service = self._meter.account(), self._meter.service_text()
        if (account, service) == self._told:
            return
        before, self._told = self._told, (account, service)
        if not self._up:
            return
        if account.price_millicents_per_kwh != (self._price or 0):
            self._price = account.price_millicents_per_kwh
            self._publish(self._published_price())
        if self._shown_of(account) != self._shown_of(before[0]) or service != before[1]:
            text = self._account_text()
            if text is not None:
                self._publish(text)

    def processed(self, message: MeterMessage) -> None:
        """The meter has processed a message of the utility."""
        if message.code is MessageCode.TEXT and message.text:
            self._text = han.DisplayMessage(
                message.message_id, message.text, self._meter.clock(), self._settings.text_shown, True
            )
            self._publish(self._text)

    def notice(self, text: str) -> None:
        """The prepaid balance has reached zero: tell it under an id of its own, confirmation required."""
        number = _NOTICE | self._meter.account().last_message_id & ~_NOTICE
        self._publish(han.DisplayMessage(number, text, self._meter.clock(), self._settings.text_shown, True))

    def recorded(self) -> None:
        """The meter has recorded an interval."""
        if "passes_no_usage_to_the_display" not in self._defects:
            withheld = "passes_no_demand_to_the_display" in self._defects
            self._publish(self._summation(), *(() if withheld else (self._demand(),)))

    # --- Inside --------------------------------------------------------------------------------------------------------------

    @property
    def _mute(self) -> bool:
        return "passes_nothing_to_the_display" in self._defects or (
            "passes_nothing_with_own_display_off" in self._defects and not self._meter.display_on
        )

    def _publish(self, *messages: han.Published) -> None:
        if late := [s for name, s in _PASSES_AFTER_S.items() if name in self._defects]:
            self._clock.call_later(max(late), self._send, tuple(self._settings.keys), *messages)
        else:
            self._send(tuple(self._settings.keys), *messages)

    def _send(self, addresses: tuple[int, ...], *messages: han.Published) -> None:
        for message in messages:
            if self._up and (not self._mute or isinstance(message, han.TimeReport)):
                self._network.publish(addresses, message)

    def _state(self) -> list[han.Published]:
        """What a device that has just joined has to be told."""
        state: list[han.Published] = [self._time(), self._summation(), self._demand()]
        if self._price is not None:
            state.append(self._published_price())
        text = self._account_text()
        if text is not None:
            state.append(text)
        return state

    def _time(self) -> han.TimeReport:
        return han.TimeReport(self._meter.clock(), self._meter.local_offset())

    def _published_price(self) -> han.PublishPrice:
        assert self._price is not None
        return han.PublishPrice(self._price, self._meter.clock())

    def _demand(self) -> han.Demand:
        return han.Demand(round(self._meter.reading().power_w), self._meter.clock())

    def _summation(self) -> han.Summation:
        reading = self._meter.reading()
        return han.Summation(int(reading.delivered_wh), int(reading.received_wh), self._meter.clock())

    def _account_text(self) -> han.DisplayMessage | None:
        """The account and the service as one text; None before the utility has sent an account."""
        account = self._meter.account()
        if account.updated_at is None:
            return None
        without_time = "passes_balance_without_time_left" in self._defects
        text = balance_text(
            account.balance_cents,
            account.credit_wh,
            account.updated_at,
            None if without_time else account.time_left,
            None if without_time else account.zero_at,
        )
        return han.DisplayMessage(
            account.last_message_id, f"{text} SERVICE {self._meter.service_text()}", self._meter.clock()
        )

    def _still_shown(self, text: han.DisplayMessage) -> bool:
        return text.duration is None or self._meter.clock() < text.at + text.duration

    def _profile(self, request: han.GetProfile) -> han.Profile:
        intervals = [i for i in self._meter.intervals() if request.until is None or i.ends_at <= request.until]
        newest = intervals[-max(0, request.periods) :][::-1] if request.periods > 0 else []
        length = newest[0].length if newest else timedelta(0)
        energies = () if request.received else tuple(round(i.energy_wh) for i in newest if i.length == length)
        return han.Profile(newest[0].ends_at if newest else None, length, energies)

    @staticmethod
    def _shown_of(account: Account | None) -> Account | None:
        """What of an account is shown: all but the billing mode."""
        return None if account is None else replace(account, billing=account.billing.REGULAR)
