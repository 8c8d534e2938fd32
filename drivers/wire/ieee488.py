"""Codecs of IEEE 488.2 and SCPI-99 without I/O: program messages, headers, data elements, number formats, blocks, errors.

Facts: IEEE 488.2-1992 clauses 7 (syntax of what an instrument hears) and 8 (of what it says), SCPI-99 volume 1 clause 6
(headers). Error numbers are SCPI's without their sign, as Yokogawa's power analyzers report them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

ERROR_TEXTS = {
    0: "No error",
    102: "Syntax error",
    103: "Invalid separator",
    104: "Data type error",
    108: "Parameter not allowed",
    109: "Missing parameter",
    111: "Header separator error",
    112: "Program mnemonic too long",
    113: "Undefined header",
    114: "Header suffix out of range",
    120: "Numeric data error",
    123: "Exponent too large",
    124: "Too many digits",
    128: "Numeric data not allowed",
    131: "Invalid suffix",
    138: "Suffix not allowed",
    141: "Invalid character data",
    144: "Character data too long",
    148: "Character data not allowed",
    150: "String data error",
    158: "String data not allowed",
    221: "Setting conflict",
    222: "Data out of range",
    241: "Hardware missing",
    350: "Queue overflow",
    363: "Input buffer overrun",
    410: "Query INTERRUPTED",
    420: "Query UNTERMINATED",
}
"""Texts of SCPI-99 volume 2 clause 21.8 by number without sign."""


class ProgramError(Exception):
    """A program message that an instrument refuses. `code` is SCPI's error number without its sign."""

    def __init__(self, code: int, text: str | None = None) -> None:
        self.code = code
        self.text = ERROR_TEXTS.get(code, "Device specific error") if text is None else text
        super().__init__(f"{code}, {self.text}")


# --- What an instrument hears: messages, units, headers ----------------------------------------------------------------

_HEADER = re.compile(r"(?P<common>\*[A-Za-z]\w*)|(?P<root>:?)(?P<path>[A-Za-z]\w*(?::[A-Za-z]\w*)*)", re.ASCII)
_LONGEST_MNEMONIC = 12


@dataclass(frozen=True)
class Unit:
    """One program message unit. `mnemonics` is the whole path in upper case (for a common command one, with its `*`);
    `arguments` are the data elements as sent, without the white space around them; `sent` is the header without the
    path taken from the unit before, for instruments that also look from the root."""

    mnemonics: tuple[str, ...]
    query: bool
    arguments: tuple[str, ...]
    sent: tuple[str, ...] = field(default=(), compare=False)


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """Split at a separator that stands outside quoted strings. ProgramError 150 where a string does not end."""
    if '"' not in text and "'" not in text:
        return text.split(separator)
    parts, start, quote = [], 0, ""
    for k, char in enumerate(text):
        if quote:
            if char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == separator:
            parts.append(text[start:k])
            start = k + 1
    if quote:
        raise ProgramError(150)
    parts.append(text[start:])
    return parts


def parse_message(message: bytes) -> Iterator[Unit]:
    """The units of a program message (without its terminator), each with its whole path.

    A unit without leading colon stays in the subsystem of the unit before it; a common command leaves that alone.
    ProgramError 102, 103, 111 or 112 comes out when the faulty unit is reached, so that those before it count; 150 (a
    string without end, which could hide any number of units) at once.
    """
    path: tuple[str, ...] = ()
    for part in split_outside_quotes(message.decode("latin-1"), ";"):
        text = part.strip()
        if not text:
            continue
        unit, path = _parse_unit(text, path)
        yield unit


def _parse_unit(text: str, path: tuple[str, ...]) -> tuple[Unit, tuple[str, ...]]:
    header = _HEADER.match(text)
    if header is None:
        raise ProgramError(102)
    rest = text[header.end() :]
    query = rest.startswith("?")
    if query:
        rest = rest[1:]
    if rest and not rest[0].isspace():
        raise ProgramError(111)
    arguments = _parse_arguments(rest.strip())
    if header["common"]:
        return Unit((header["common"].upper(),), query, arguments), path
    sent = mnemonics = tuple(header["path"].upper().split(":"))
    if any(len(m) > _LONGEST_MNEMONIC for m in mnemonics):
        raise ProgramError(112)
    if not header["root"]:
        mnemonics = path + mnemonics
    return Unit(mnemonics, query, arguments, sent), mnemonics[:-1]


def _parse_arguments(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    arguments = tuple(part.strip() for part in split_outside_quotes(text, ","))
    if not all(arguments):
        raise ProgramError(103)
    return arguments


@dataclass(frozen=True)
class _Node:
    short: str
    long: str
    optional: bool
    numbered: bool

    def match(self, mnemonic: str) -> int | None:
        """The suffix of a mnemonic that names this node (1 where it has none), or None."""
        if mnemonic in (self.short, self.long):
            return 1
        if self.numbered:
            name = mnemonic.rstrip("0123456789")
            if name in (self.short, self.long) and 0 < len(mnemonic) - len(name) <= 9:
                return int(mnemonic[len(name) :])
        return None


_NODE = re.compile(r"(\[)?:?(\*?[A-Za-z]+)(<x>)?(\])?")


class Pattern:
    """A header as manuals print it: `NUMeric[:NORMal]:ITEM<x>`, `*IDN`. Capitals are the short form."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._nodes: list[_Node] = []
        at = 0
        while at < len(spec):
            found = _NODE.match(spec, at)
            if found is None or bool(found[1]) != bool(found[4]):
                raise ValueError(f"header pattern {spec!r} cannot be read at {spec[at:]!r}")
            name = found[2]
            short = "".join(c for c in name if not c.islower())
            self._nodes.append(_Node(short, name.upper(), bool(found[1]), bool(found[3])))
            at = found.end()

    def match(self, mnemonics: Sequence[str], prefix: bool = False) -> tuple[int, ...] | None:
        """The numeric suffixes (1 where omitted) if the mnemonics are this header, or with `prefix` begin it; else None."""
        return self._match(0, tuple(mnemonics), prefix)

    def _match(self, at: int, mnemonics: tuple[str, ...], prefix: bool) -> tuple[int, ...] | None:
        if at == len(self._nodes):
            return None if mnemonics else ()
        if not mnemonics and prefix:
            return tuple(1 for node in self._nodes[at:] if node.numbered)
        node = self._nodes[at]
        if mnemonics:
            suffix = node.match(mnemonics[0])
            if suffix is not None:
                rest = self._match(at + 1, mnemonics[1:], prefix)
                if rest is not None:
                    return (suffix, *rest) if node.numbered else rest
        if node.optional:
            rest = self._match(at + 1, mnemonics, prefix)
            if rest is not None:
                return (1, *rest) if node.numbered else rest
        return None

    def header(self, suffixes: Sequence[int] = (), verbose: bool = True) -> tuple[str, ...]:
        """The mnemonics of a response header, in long or short form, optional nodes included."""
        left = list(suffixes)
        return tuple(
            (node.long if verbose else node.short) + (str(left.pop(0)) if node.numbered else "") for node in self._nodes
        )


class HeaderTable(Generic[T]):
    """Headers and what stands behind each. The first pattern that matches counts."""

    _MOST_REMEMBERED = 4096

    def __init__(self) -> None:
        self.entries: list[tuple[Pattern, T]] = []
        self._found: dict[tuple[str, ...], tuple[T, tuple[int, ...]] | None] = {}

    def add(self, spec: str, behind: T) -> None:
        """Add a header as manuals print it."""
        self.entries.append((Pattern(spec), behind))
        self._found.clear()

    def find(self, mnemonics: tuple[str, ...]) -> tuple[T, tuple[int, ...]] | None:
        """What stands behind a header, with its numeric suffixes; None for an unknown one."""
        if mnemonics not in self._found:
            if len(self._found) >= self._MOST_REMEMBERED:
                self._found.clear()
            self._found[mnemonics] = self._search(mnemonics)
        return self._found[mnemonics]

    def _search(self, mnemonics: tuple[str, ...]) -> tuple[T, tuple[int, ...]] | None:
        for pattern, behind in self.entries:
            suffixes = pattern.match(mnemonics)
            if suffixes is not None:
                return behind, suffixes
        return None


# --- Data elements -----------------------------------------------------------------------------------------------------

_MULTIPLIERS = {
    "EX": 1e18,
    "PE": 1e15,
    "T": 1e12,
    "G": 1e9,
    "MA": 1e6,
    "K": 1e3,
    "M": 1e-3,
    "U": 1e-6,
    "N": 1e-9,
    "P": 1e-12,
    "F": 1e-15,
}
_DECIMAL = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:\s*E\s*([+-]?\d+))?\s*([A-Z%]*)", re.ASCII)
_WHOLE_BASES = {"H": 16, "Q": 8, "B": 2}


def suffix_factor(suffix: str, unit: str) -> float:
    """What a suffix program element multiplies by: `KV` with unit `V` is 1000. ProgramError 131, or 138 without a unit.

    `MA` is mega, but `MA` alone before the unit A is milliampere, and M before HZ and OHM is mega (488.2 clause 7.7.3).
    """
    suffix = suffix.upper()
    if suffix == "":
        return 1.0
    if unit == "":
        raise ProgramError(138)
    unit = unit.upper()
    if suffix.endswith(unit):
        multiplier = suffix[: -len(unit)]
        if multiplier == "":
            return 1.0
        if multiplier == "M" and unit in ("HZ", "OHM"):
            return 1e6
        if multiplier in _MULTIPLIERS:
            return _MULTIPLIERS[multiplier]
    if suffix in _MULTIPLIERS:
        return _MULTIPLIERS[suffix]
    raise ProgramError(131)


def decimal(text: str, unit: str = "") -> float:
    """A decimal numeric data element (NRf) in the base unit. ProgramError 104, 120, 123, 124, 131, 138 or 158."""
    upper = text.upper()
    found = _DECIMAL.fullmatch(upper)
    if found is None:
        if upper[:1] in ("'", '"'):
            raise ProgramError(158)
        raise ProgramError(120 if upper[:1] in "+-.0123456789" else 104)
    mantissa, exponent, suffix = found[1], found[2] or "0", found[3]
    if len(mantissa) > 255:
        raise ProgramError(124)
    if len(exponent) > 6 or abs(int(exponent)) > 300:
        raise ProgramError(123)
    value = float(f"{mantissa}E{exponent}") * suffix_factor(suffix, unit)
    if not math.isfinite(value):
        raise ProgramError(123)
    return value


def whole(text: str, least: int, most: int) -> int:
    """A whole number in [least, most]: NRf, rounded, or `#H`, `#Q`, `#B`. ProgramError 222 outside, else as `decimal`."""
    if text.startswith("#"):
        try:
            value = int(text[2:], _WHOLE_BASES[text[1:2].upper()])
        except (KeyError, ValueError):
            raise ProgramError(120) from None
    else:
        value = math.floor(decimal(text) + 0.5)
    if not least <= value <= most:
        raise ProgramError(222)
    return value


def boolean(text: str) -> bool:
    """ON, OFF, or a number that rounds to zero or not. ProgramError 141 for another word."""
    upper = text.upper()
    if upper in ("ON", "OFF"):
        return upper == "ON"
    if upper[:1].isalpha():
        raise ProgramError(141)
    return math.floor(decimal(text) + 0.5) != 0


def short_form(word: str) -> str:
    """The short form of a word as manuals print it: of `VMEan` it is `VME`."""
    return "".join(c for c in word if not c.islower())


def word(text: str, choices: Sequence[str]) -> str:
    """The choice (as manuals print it, `VMEan`) that character data names in its short or long form.

    ProgramError 141 for another word, 128 for a number where no choice is one, 158 for a string.
    """
    upper = text.upper()
    for choice in choices:
        if upper in (choice.upper(), short_form(choice)):
            return choice
    if upper[:1] in ("'", '"'):
        raise ProgramError(158)
    if upper[:1].isalpha() or any(c[0].isdigit() for c in choices):
        raise ProgramError(141)
    raise ProgramError(128)


# --- What an instrument says -------------------------------------------------------------------------------------------

NO_DATA = 9.91e37
"""What stands for "no data" in a float: SCPI's NAN, 0x7E951BEE in single precision."""
OVER_RANGE = 9.9e37
"""What stands for "over range" in a float: SCPI's INF, 0x7E94F56A in single precision."""


def engineering(value: float, full_scale: float, digits: int = 5) -> str:
    """NR3 with an exponent that is a multiple of three and the decimals of a display of `digits` at `full_scale`.

    `engineering(37.728, 60)` is `37.728E+00`; NaN is `NAN`, an infinity `INF`.
    """
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INF"
    magnitude = int(f"{full_scale:.5e}".partition("e")[2]) if full_scale else 0
    exponent = 3 * (magnitude // 3)
    decimals = max(0, digits - 1 - (magnitude - exponent))
    mantissa = f"{value / 10.0**exponent:.{decimals}f}"
    if mantissa.startswith("-") and not mantissa.strip("-0."):
        mantissa = mantissa[1:]
    return f"{mantissa}E{exponent:+03d}"


def parse_number(text: str) -> float:
    """A number of a response; `NAN` and `INF`, and the floats that stand for them, as NaN and infinity. ValueError else."""
    return _meant(float(text))


def _meant(value: float) -> float:
    if math.isclose(value, NO_DATA, rel_tol=1e-6):
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= OVER_RANGE * (1 - 1e-6) else value


def format_block(data: bytes, digits: int | None = None) -> bytes:
    """A definite length arbitrary block: `#`, how many digits the length has, the length, the bytes (clause 8.7.9)."""
    length = str(len(data)).zfill(digits or 1)
    if len(length) > 9:
        raise ValueError(f"a block of {len(data)} bytes is longer than nine digits can tell")
    return b"#%d%s%s" % (len(length), length.encode(), data)


def parse_block(data: bytes) -> tuple[bytes, bytes]:
    """The bytes of the definite length block at the start of `data`, and what follows it. ValueError where there is none."""
    if len(data) < 3 or data[:1] != b"#" or not data[1:2].isdigit() or data[1:2] == b"0":
        raise ValueError(f"no definite length block at {data[:12]!r}")
    start = 2 + int(data[1:2])
    length = data[2:start]
    if len(length) != start - 2 or not length.isdigit():
        raise ValueError(f"no length in the block header {data[:12]!r}")
    end = start + int(length)
    if len(data) < end:
        raise ValueError(f"the block ends after {len(data) - start} of {int(length)} bytes")
    return data[start:end], data[end:]


def format_floats(values: Sequence[float], digits: int | None = None) -> bytes:
    """A block of single precision floats, most significant byte first; NaN and infinity by what stands for them."""

    def plain(value: float) -> float:
        if math.isnan(value):
            return NO_DATA
        return value if abs(value) < OVER_RANGE else OVER_RANGE

    return format_block(struct.pack(f">{len(values)}f", *map(plain, values)), digits)


def parse_floats(block: bytes) -> list[float]:
    """The values of a block of single precision floats; ValueError where it holds no whole number of them."""
    if len(block) % 4:
        raise ValueError(f"{len(block)} bytes are no whole number of four-byte floats")
    return [_meant(x) for x in struct.unpack(f">{len(block) // 4}f", block)]


def format_error(code: int, text: str, with_text: bool = True) -> str:
    """An entry of the error queue as an instrument reports it: `113,"Undefined header"`."""
    return f'{code},"{text}"' if with_text else str(code)


def parse_error(reply: str) -> tuple[int, str]:
    """Code and text of an error queue entry, with or without text. ValueError where it is none."""
    code, _, text = reply.strip().partition(",")
    try:
        number = int(code)
    except ValueError:
        raise ValueError(f"{reply!r} is no entry of an error queue") from None
    return number, text.strip().strip('"') or ERROR_TEXTS.get(abs(number), "")
