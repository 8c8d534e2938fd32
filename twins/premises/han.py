"""The home area network between a meter and the devices of the premises, at the level of its messages.

After ZigBee Smart Energy 1.1: the meter is coordinator and trust centre, a device joins with the link key that both derive
from its install code, and what passes is prices, metering values, texts, time and confirmations. Radio is a latency and
whether one is there; frames, hops and cryptography beyond the join are not modelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from crcmod.predefined import mkPredefinedCrcFun
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from twins.clock import Clock
from twins.wiring import Site, WiringError

_CRC = mkPredefinedCrcFun("x-25")


# --- Keys ----------------------------------------------------------------------------------------------------------------


def install_code(secret: bytes) -> bytes:
    """An install code of 6, 8, 12 or 16 bytes with its CRC behind, as printed on a device."""
    if len(secret) not in (6, 8, 12, 16):
        raise ValueError(f"an install code has 6, 8, 12 or 16 bytes before its CRC, not {len(secret)}")
    return secret + int(_CRC(secret)).to_bytes(2, "little")


def check_install_code(code: bytes) -> bytes:
    """The code itself; ValueError where length or CRC is wrong, as a meter refuses one that was mistyped."""
    if len(code) < 2 or install_code(code[:-2]) != code:
        raise ValueError("the install code's last two bytes are not its CRC-16; check what was typed")
    return code


def link_key(code: bytes) -> bytes:
    """The preconfigured link key of an install code: its AES-MMO hash (ZigBee Smart Energy 1.1, 5.4.8.1)."""
    data = code + b"\x80"
    data += bytes((14 - len(data)) % 16) + (8 * len(code)).to_bytes(2, "big")
    digest = bytes(16)
    for k in range(0, len(data), 16):
        block = data[k : k + 16]
        # One block of AES is what the hash is made of; nothing is kept secret by it.
        cipher = Cipher(algorithms.AES(digest), modes.ECB()).encryptor()
        digest = bytes(a ^ b for a, b in zip(cipher.update(block), block, strict=True))
    return digest


# --- Messages --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PublishPrice:
    """The price in force (Price cluster), in thousandths of a cent per kWh."""

    millicents_per_kwh: int
    at: datetime


@dataclass(frozen=True)
class Demand:
    """Instantaneous demand (Metering cluster) in whole watts; negative where the premises deliver."""

    watts: int
    at: datetime


@dataclass(frozen=True)
class Summation:
    """The registers (Metering cluster) in whole Wh."""

    delivered_wh: int
    received_wh: int
    at: datetime


@dataclass(frozen=True)
class DisplayMessage:
    """A text to show (Messaging cluster). `duration` None: until the next."""

    message_id: int
    text: str
    at: datetime
    duration: timedelta | None = None
    confirmation_required: bool = False


@dataclass(frozen=True)
class TimeReport:
    """The coordinator's clock (Time cluster), and by how much local time is ahead of UTC."""

    utc: datetime
    local_offset: timedelta


@dataclass(frozen=True)
class Profile:
    """Interval data (GetProfile response), newest first, in whole Wh; `ends_at` of the newest, None where there is none."""

    ends_at: datetime | None
    length: timedelta
    energies_wh: tuple[int, ...]


@dataclass(frozen=True)
class MessageConfirmation:
    """The user has confirmed a text (Messaging cluster)."""

    message_id: int
    at: datetime


@dataclass(frozen=True)
class GetCurrentPrice:
    """Asks for the price."""


@dataclass(frozen=True)
class ReadDemand:
    """Asks for the demand."""


@dataclass(frozen=True)
class ReadSummation:
    """Asks for the registers."""


@dataclass(frozen=True)
class ReadTime:
    """Asks for the time."""


@dataclass(frozen=True)
class GetLastMessage:
    """Asks for the latest text."""


@dataclass(frozen=True)
class GetProfile:
    """Asks for up to `periods` intervals that end at `until` or earlier, the newest ones for None."""

    periods: int
    received: bool
    until: datetime | None


Published = PublishPrice | Demand | Summation | DisplayMessage | TimeReport | Profile
Request = GetCurrentPrice | ReadDemand | ReadSummation | ReadTime | GetLastMessage | GetProfile | MessageConfirmation


# --- The medium --------------------------------------------------------------------------------------------------------------


class Coordinator(Protocol):
    """The meter's end: coordinator, trust centre and source of everything that is told."""

    address: int
    """EUI-64."""

    @property
    def up(self) -> bool:
        """Whether its radio works."""
        ...

    def admits(self, address: int, key: bytes) -> bool:
        """Whether the trust centre knows the device, and by that key."""
        ...

    def joined(self, address: int) -> None:
        """A device has joined, for the first time or again."""
        ...

    def answer(self, address: int, request: Request) -> Published | None:
        """Answer a device's request; None where there is nothing to tell."""
        ...

    def undelivered(self, address: int, message: Published) -> None:
        """A message did not get to its device."""
        ...


class Member(Protocol):
    """A device's end."""

    address: int

    def received(self, message: Published) -> None:
        """Take what the meter tells."""
        ...

    def unanswered(self) -> None:
        """The coordinator did not acknowledge a request: it is out of reach."""
        ...


class HomeAreaNetwork:
    """One network. It exists without a coordinator, as the air does; then nobody can join it."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.name = name
        self.latency_s = 0.0
        self.coordinator: Coordinator | None = None
        self.members: dict[int, Member] = {}
        self.short_addresses: dict[int, int] = {}
        self._clock = clock
        self._next_short = 0x1000

    def form(self, coordinator: Coordinator, latency_s: float) -> None:
        """Make a meter the coordinator; WiringError where there is one already."""
        if self.coordinator is not None:
            raise WiringError(f"home area network {self.name!r} has a coordinator already; one meter can be it")
        self.coordinator = coordinator
        self.latency_s = latency_s

    @property
    def heard(self) -> Coordinator | None:
        """The coordinator whose beacon a scan would find now."""
        return self.coordinator if self.coordinator is not None and self.coordinator.up else None

    def join(self, member: Member, key: bytes) -> bool:
        """Join, or join again, with a link key; returns whether the trust centre let the device in.

        A device that joins again gets a new short address; the network knows it once.
        """
        coordinator = self.heard
        if coordinator is None or not coordinator.admits(member.address, key):
            return False
        self.members[member.address] = member
        self.short_addresses[member.address] = self._next_short
        self._next_short = 0x1000 + (self._next_short + 1 - 0x1000) % 0xE000
        coordinator.joined(member.address)
        return True

    def leave(self, address: int) -> None:
        """Leave the network."""
        self.members.pop(address, None)
        self.short_addresses.pop(address, None)

    def publish(self, addresses: Iterable[int], message: Published) -> None:
        """Send a message of the coordinator to devices; each arrives, or its loss is told, after the latency."""
        for address in addresses:
            self._clock.call_later(self.latency_s, self._arrive, address, message)

    def request(self, member: Member, request: Request) -> None:
        """Send a device's request; the answer arrives after the latency there and back."""
        self._clock.call_later(self.latency_s, self._asked, member, request)

    def ask(self, member: Member, request: Request) -> Published | None:
        """Put a request and take the answer at once: for a device's user who waits at its wire while bench time stands."""
        coordinator = self.heard
        if coordinator is None or member.address not in self.members:
            return None
        return coordinator.answer(member.address, request)

    def _arrive(self, address: int, message: Published) -> None:
        member = self.members.get(address)
        if member is not None and self.heard is not None:
            member.received(message)
        elif self.coordinator is not None:
            self.coordinator.undelivered(address, message)

    def _asked(self, member: Member, request: Request) -> None:
        coordinator = self.heard
        if coordinator is None or member.address not in self.members:
            member.unanswered()
            return
        answer = coordinator.answer(member.address, request)
        if answer is not None:
            self.publish((member.address,), answer)


def network(site: Site, name: str) -> HomeAreaNetwork:
    """The home area network of that name in the premises; made where nobody has asked for it before."""
    key = f"han:{name}"
    if key not in site.attached:
        site.attached[key] = HomeAreaNetwork(site.clock, name)
    found: HomeAreaNetwork = site.attached[key]
    return found
