"""Calls from OPC UA clients: arguments checked before anything is done, and what went wrong told as a status code.

asyncua hands arguments on as they come. Count, type and range are checked here as OPC 10000-4 (5.12.2) has it.
"""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes as Codes

from drivers.errors import LinkLost, NotSupported, OutOfRange, Refused
from twins.clock import real_now
from twins.mirror.variables import Argument, Command, Field

_INTEGERS = {
    ua.VariantType.SByte,
    ua.VariantType.Byte,
    ua.VariantType.Int16,
    ua.VariantType.UInt16,
    ua.VariantType.Int32,
    ua.VariantType.UInt32,
    ua.VariantType.Int64,
    ua.VariantType.UInt64,
}
_FLOATS = {ua.VariantType.Float, ua.VariantType.Double}
_TAKES: dict[type, set[ua.VariantType]] = {
    bool: {ua.VariantType.Boolean},
    int: _INTEGERS,
    float: _FLOATS | _INTEGERS,
    timedelta: _FLOATS | _INTEGERS,
    datetime: {ua.VariantType.DateTime},
    str: {ua.VariantType.String},
}


def status(code: int) -> ua.StatusCode:
    """A status code as asyncua wants it."""
    return ua.StatusCode(ua.UInt32(code))


def result(code: int, arguments: Sequence[int] = ()) -> ua.CallMethodResult:
    """How a call ended, and what was found of each argument."""
    return ua.CallMethodResult(StatusCode=status(code), InputArgumentResults=[status(one) for one in arguments])


def data_value(variant: ua.Variant, code: int, at: datetime) -> ua.DataValue:
    """A value with its quality, from a moment of bench time, given out now."""
    return ua.DataValue(variant, status(code), at, real_now())  # type: ignore[arg-type]


class BadArgument(Exception):
    """An argument that cannot be taken, with the status code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def take(variant: ua.Variant, field: Field) -> Any:
    """The value of one argument as the role wants it. BadArgument where it does not fit."""
    value, kind = variant.Value, variant.VariantType
    if value is None:
        if field.optional:
            return None
        raise BadArgument(Codes.BadTypeMismatch)
    if variant.is_array:
        raise BadArgument(Codes.BadTypeMismatch)
    if issubclass(field.kind, enum.Enum):
        return _member(field.kind, value, kind)
    if kind not in _TAKES[field.kind]:
        raise BadArgument(Codes.BadTypeMismatch)
    if field.kind in (float, timedelta):
        number = float(value)
        if not math.isfinite(number):
            raise BadArgument(Codes.BadOutOfRange)
        try:
            return number if field.kind is float else timedelta(seconds=number)
        except OverflowError:
            raise BadArgument(Codes.BadOutOfRange) from None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)  # OPC UA's DateTime is UTC
    return value


def _member(kind: type[enum.Enum], value: Any, variant: ua.VariantType) -> enum.Enum:
    if variant == ua.VariantType.String:
        try:
            return kind[value]
        except KeyError:
            raise BadArgument(Codes.BadOutOfRange) from None
    if variant in _INTEGERS:
        try:
            return kind(value)
        except ValueError:
            raise BadArgument(Codes.BadOutOfRange) from None
    raise BadArgument(Codes.BadTypeMismatch)


def check(variants: Sequence[ua.Variant], arguments: Sequence[Argument]) -> list[Any] | ua.CallMethodResult:
    """The arguments' values, or the result that refuses the call and says which argument is bad."""
    if len(variants) != len(arguments):
        code = Codes.BadArgumentsMissing if len(variants) < len(arguments) else Codes.BadTooManyArguments
        return result(code)
    values: list[Any] = []
    codes: list[int] = []
    for variant, argument in zip(variants, arguments, strict=True):
        try:
            values.append(take(variant, argument.field))
            codes.append(Codes.Good)
        except BadArgument as bad:
            codes.append(bad.code)
    if any(codes):
        worst = next(code for code in codes if code)
        # One bad argument's own code says more than "invalid argument" does.
        overall = worst if sum(1 for code in codes if code) == 1 else Codes.BadInvalidArgument
        return result(overall, codes)
    return values


def code_of(error: BaseException) -> int:
    """The status code that tells a client what went wrong with a device."""
    if isinstance(error, OutOfRange):
        return Codes.BadOutOfRange
    if isinstance(error, ValueError):
        return Codes.BadInvalidArgument
    if isinstance(error, NotSupported | NotImplementedError):
        return Codes.BadNotSupported
    if isinstance(error, Refused):
        return Codes.BadRequestNotAllowed
    if isinstance(error, LinkLost | OSError):
        return Codes.BadCommunicationError
    return Codes.BadUnexpectedError


Run = Callable[[list[Any]], Awaitable[None]]
Tell = Callable[[str, int], None]


def callback(
    of: ua.NodeId, path: str, what: Command, run: Run, tell: Tell
) -> Callable[..., Awaitable[ua.CallMethodResult]]:
    """The coroutine function that asyncua calls for a method of the object `of`, which stands at `path`.

    `run` gets the packed arguments; what it raises becomes a status code, and its text an event through `tell(text, severity)`.
    """

    async def run_packed(values: list[Any]) -> None:
        await run(what.pack(values))

    async def call(parent: ua.NodeId, *variants: ua.Variant) -> ua.CallMethodResult:
        if parent != of:
            return result(Codes.BadMethodInvalid)
        values = check(variants, what.arguments)
        if isinstance(values, ua.CallMethodResult):
            return values
        # A client that hangs up must not cut a command short: it may be holding bench time, or a driver, right now.
        task = asyncio.ensure_future(run_packed(values))
        task.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
        try:
            await asyncio.shield(task)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a code and the bench goes on
            tell(f"{path}: {what.name} was not carried out: {error or type(error).__name__}", 600)
            return result(code_of(error))
        return result(Codes.Good)

    return call
