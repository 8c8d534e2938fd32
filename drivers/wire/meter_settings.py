"""What a utility configures in a meter of our profile: limit steps, stored commands, priorities, the customer's settings.

Tables 2062 to 2066 of `docs/meter-profile.md`; forms as in `drivers/wire/meter_profile.py`. All but local time are written
whole.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from drivers.roles import MessageCode
from drivers.wire.c1219 import MANUFACTURER, TableError, pack, unpack
from drivers.wire.meter_profile import NONE_U32, LoadControl, decode_time, encode_time

LIMIT_STEPS = MANUFACTURER + 14
RULES = MANUFACTURER + 15
PRIORITIES = MANUFACTURER + 16
CUSTOMER = MANUFACTURER + 17
LOCAL_TIME = MANUFACTURER + 18

_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)


class Language(enum.IntEnum):
    """The customer's language."""

    ENGLISH = 0
    SPANISH = 1


class TextNumber(enum.IntEnum):
    """Texts that a meter has in both languages: a text message names one by its number."""

    ZERO_BALANCE = 1
    LOW_BALANCE = 2
    DISCONNECTED = 3
    LIMITED = 4
    RESTORED = 5
    PLANNED_WORK = 6


class Trigger(enum.IntEnum):
    """What sets a stored command off."""

    TIME = 0  # its moment, once or again and again
    ZERO = 1  # the prepaid balance reaches zero


_STEPS = struct.Struct("<IB")


@dataclass(frozen=True)
class LimitSteps:
    """Table 2062, 5 bytes and one a step: rated capacity in watts, and the steps of the demand limit in percent of it."""

    capacity_w: int
    percents: tuple[int, ...]

    def watts(self, step: int) -> int:
        """The demand limit of a step, counted from 1; TableError for a step that there is not."""
        if not 1 <= step <= len(self.percents):
            raise TableError(f"limit step {step}: there are {len(self.percents)}")
        return self.capacity_w * self.percents[step - 1] // 100

    def encode(self) -> bytes:
        """The whole table; TableError for a step outside 1 to 100 percent, or one of no watts."""
        if len(self.percents) > 255 or not all(1 <= percent <= 100 for percent in self.percents):
            raise TableError(f"limit steps {self.percents}: up to 255, of 1 to 100 percent")
        if not 100 <= self.capacity_w < NONE_U32:
            raise TableError(f"limit steps: a rated capacity of {self.capacity_w} W is none; 100 W at least")
        return pack(_STEPS, "limit steps", self.capacity_w, len(self.percents)) + bytes(self.percents)

    @classmethod
    def decode(cls, data: bytes) -> LimitSteps:
        """TableError where the bytes are no table 2062."""
        if len(data) < _STEPS.size:
            raise TableError(f"limit steps have at least {_STEPS.size} bytes, not {len(data)}")
        capacity, count = unpack(_STEPS, data[: _STEPS.size], "limit steps")
        if len(data) != _STEPS.size + count:
            raise TableError(f"limit steps: {len(data)} bytes do not hold the steps announced")
        steps = cls(capacity, tuple(data[_STEPS.size :]))
        steps.encode()
        return steps


@dataclass(frozen=True)
class Rule:
    """A stored command: what the meter does by itself when its trigger comes.

    `at` is the moment (the first, where it comes `every` so many seconds again), None for a trigger that is no moment;
    `argument` the watts of LIMIT or the step of LIMIT_STEP, None for other actions.
    """

    rule_id: int
    trigger: Trigger
    action: LoadControl
    argument: int | None = None
    at: datetime | None = None
    every: timedelta | None = None


_RULE = struct.Struct("<I2BIQI")


def encode_rules(rules: Sequence[Rule]) -> bytes:
    """Table 2063: a count, then 22 bytes a rule. TableError for a rule that makes no sense, or two of one id."""
    if len(rules) > 255 or len({rule.rule_id for rule in rules}) != len(rules):
        raise TableError(f"rules: {len(rules)} with {len({rule.rule_id for rule in rules})} ids; up to 255, an id once")
    return bytes((len(rules),)) + b"".join(_encode_rule(rule) for rule in rules)


def _encode_rule(rule: Rule) -> bytes:
    _check(rule)
    return pack(
        _RULE,
        "rules",
        rule.rule_id,
        rule.trigger,
        rule.action,
        NONE_U32 if rule.argument is None else rule.argument,
        encode_time(rule.at),
        0 if rule.every is None else rule.every // _SECOND,
    )


def _check(rule: Rule) -> None:
    name = f"rule {rule.rule_id}"
    needs = rule.action in (LoadControl.LIMIT, LoadControl.LIMIT_STEP)
    if needs != (rule.argument is not None) or (rule.argument is not None and not 0 < rule.argument < NONE_U32):
        raise TableError(f"{name}: {rule.action.name} with {rule.argument}; a limit needs watts, a step its number")
    if (rule.trigger is Trigger.TIME) != (rule.at is not None):
        raise TableError(f"{name}: {rule.trigger.name} with the moment {rule.at}")
    if rule.every is not None and (rule.at is None or rule.every < _MINUTE or rule.every % _SECOND):
        raise TableError(f"{name}: every {rule.every}; whole seconds, a minute at least, after a first moment")


def decode_rules(data: bytes) -> tuple[Rule, ...]:
    """TableError where the bytes are no table 2063."""
    if not data or len(data) != 1 + data[0] * _RULE.size:
        raise TableError(f"rules: {len(data)} bytes do not hold the rules announced")
    rules = []
    for at in range(1, len(data), _RULE.size):
        rule_id, trigger, action, argument, moment, every = _RULE.unpack(data[at : at + _RULE.size])
        try:
            rule = Rule(
                rule_id,
                Trigger(trigger),
                LoadControl(action),
                None if argument == NONE_U32 else argument,
                decode_time(moment),
                timedelta(seconds=every) if every else None,
            )
        except ValueError as no:
            raise TableError(f"rule {rule_id}: {no}") from no
        _check(rule)
        rules.append(rule)
    if len({rule.rule_id for rule in rules}) != len(rules):
        raise TableError("rules: an id stands twice")
    return tuple(rules)


def encode_priorities(priorities: Mapping[MessageCode, int]) -> bytes:
    """Table 2064: a count, then message code and priority, a byte each. TableError for a priority outside 0 to 9."""
    if not all(0 <= priority <= 9 for priority in priorities.values()):
        raise TableError(f"priorities {sorted(priorities.values())}: they go from 0, the most urgent, to 9")
    return bytes((len(priorities),)) + b"".join(bytes((code, priorities[code])) for code in sorted(priorities))


def decode_priorities(data: bytes) -> dict[MessageCode, int]:
    """TableError where the bytes are no table 2064."""
    if not data or len(data) != 1 + 2 * data[0]:
        raise TableError(f"priorities: {len(data)} bytes do not hold the codes announced")
    try:
        found = {MessageCode(code): priority for code, priority in zip(data[1::2], data[2::2], strict=True)}
    except ValueError as no:
        raise TableError(f"priorities: {no}") from no
    if len(found) != data[0]:
        raise TableError("priorities: a message code stands twice")
    encode_priorities(found)
    return found


_CUSTOMER = struct.Struct("<2B")


@dataclass(frozen=True)
class CustomerSettings:
    """Table 2065, 2 bytes: the customer's language, and whether the meter works out the balance between messages."""

    language: Language = Language.ENGLISH
    own_balance: bool = False

    def encode(self) -> bytes:
        """The whole table."""
        return pack(_CUSTOMER, "customer's settings", self.language, self.own_balance)

    @classmethod
    def decode(cls, data: bytes) -> CustomerSettings:
        """TableError where the bytes are no table 2065."""
        language, own_balance = unpack(_CUSTOMER, data, "customer's settings")
        if own_balance > 1:
            raise TableError(f"customer's settings: {own_balance} where 0 or 1 says who works out the balance")
        try:
            return cls(Language(language), bool(own_balance))
        except ValueError as no:
            raise TableError(f"customer's settings: {no}") from no


_LOCAL = struct.Struct("<hQh")


@dataclass(frozen=True)
class LocalTime:
    """Table 2066, 12 bytes: by how much local time is ahead of UTC now, when that changes next (None: never), and to what."""

    offset: timedelta
    changes_at: datetime | None
    then: timedelta

    def encode(self) -> bytes:
        """The whole table."""
        return pack(_LOCAL, "local time", self.offset // _MINUTE, encode_time(self.changes_at), self.then // _MINUTE)

    @classmethod
    def decode(cls, data: bytes) -> LocalTime:
        """TableError where the bytes are no table 2066."""
        offset, changes, then = unpack(_LOCAL, data, "local time")
        return cls(timedelta(minutes=offset), decode_time(changes), timedelta(minutes=then))
