"""Register map of the Waveshare 8-channel Modbus relay boards, without I/O.

Source: the maker's development protocol V2 for the Modbus RTU Relay and Modbus POE ETH Relay. Channels count from 1, as
printed on the board; on the wire they count from 0.
"""

from __future__ import annotations

import math

CHANNELS = 8

# Function 05: addresses
ALL = 0x00FF
FLASH_ON = 0x0200  # plus the coil: close now, open after the value's time
FLASH_OFF = 0x0400  # plus the coil: open now, close after the value's time

# Function 05: values at a coil or at ALL
ON = 0xFF00
OFF = 0x0000
TOGGLE = 0x5500

# Functions 03 and 06: registers
UART = 0x2000
DEVICE_ADDRESS = 0x4000
SOFTWARE_VERSION = 0x8000

STEP_S = 0.1
MOST_STEPS = 0x7FFF

PARITIES = ("none", "even", "odd")
BAUDS = (4800, 9600, 19200, 38400, 57600, 115200, 128000, 256000)


def coil(channel: int) -> int:
    """The coil address of a channel; ValueError where the board has none of that number."""
    if not 1 <= channel <= CHANNELS:
        raise ValueError(f"channel {channel} is not on the board, which has 1 to {CHANNELS}")
    return channel - 1


def flash_steps(seconds: float) -> int:
    """A flash time as the number of 100 ms steps; ValueError where it is outside 0.1 to 3276.7 s or between two steps."""
    if not (math.isfinite(seconds) and STEP_S * 0.5 <= seconds <= STEP_S * (MOST_STEPS + 0.5)):
        raise ValueError(f"a flash lasts {STEP_S} to {MOST_STEPS / 10} s, not {seconds} s")
    steps = round(seconds / STEP_S)
    # Sums and products of tenths miss the tenth by a few parts in 1e16; a hundredth meant as such is far away.
    if not 1 <= steps <= MOST_STEPS or not math.isclose(seconds, steps / 10, rel_tol=1e-9):
        raise ValueError(f"a flash lasts {STEP_S} to {MOST_STEPS / 10} s in steps of {STEP_S} s, not {seconds} s")
    return steps


def version_text(register: int) -> str:
    """The software version as printed: 0x00C8 is `V2.00`."""
    return f"V{register // 100}.{register % 100:02d}"


def uart(parity: str, baudrate: int) -> int:
    """The UART register for a parity (`none`, `even`, `odd`) and a baud rate; ValueError for one the board lacks.

    The maker's pages disagree on the order of even and odd; this is the order of its protocol table.
    """
    if parity not in PARITIES or baudrate not in BAUDS:
        raise ValueError(f"the board has parities {', '.join(PARITIES)} and baud rates {BAUDS}")
    return PARITIES.index(parity) << 8 | BAUDS.index(baudrate)


def uart_settings(register: int) -> tuple[str, int]:
    """Parity and baud rate of a UART register; ValueError for a code the board lacks."""
    parity, baud = register >> 8, register & 0xFF
    if parity >= len(PARITIES) or baud >= len(BAUDS):
        raise ValueError(f"0x{register:04X} is no UART setting of the board")
    return PARITIES[parity], BAUDS[baud]
