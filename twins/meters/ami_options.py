"""How an AMI meter is wired and configured: what a bench file may say of one."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from drivers.roles import MessageCode
from twins.premises import han


class AmiMeterOptions(BaseModel):
    """How a meter is wired and configured. `tap`, `switch` and `load_side` are names in the site's wiring."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tap: str
    """Tap on the line side: what the meter is fed by and registers."""
    switch: str | None = None
    """Contact that is the service switch; None for a transformer-rated meter without one."""
    load_side: str | None = None
    """Tap behind the switch; without a switch the line side serves."""

    buttons: dict[str, str] = {}
    """Contact that presses a button when it closes, by the button's name: a bench relay in the place of a finger."""

    meter_id: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[!-~]+$")] = "TB-000001"
    serial: Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[!-~]+$")] = "0000000000000001"
    class_percent: Annotated[float, Field(ge=0, le=2)] = 0.2
    class_current_a: Annotated[float, Field(gt=0)] = 20.0
    rated_voltage_v: Annotated[float, Field(gt=0)] = 240.0
    interval_min: Annotated[int, Field(ge=1, le=60)] = 60

    time_zone: str = "America/Los_Angeles"
    """IANA name; for the display alone, everything else is UTC."""
    clock_offset_s: float = 0.0
    clock_drift_ppm: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    display: bool = True
    spanish: bool = True
    """Whether the meter knows Spanish."""
    works_out_balance: bool = True
    """Whether the meter can work out the balance by itself between messages. The utility says whether it does."""

    processing_s: Annotated[float, Field(ge=0)] = 0.5
    """How long the meter works on a message."""
    priorities: dict[str, Annotated[int, Field(ge=0, le=9)]] = {}
    """Priority by the name of a message code, before a message's own; 0 is the most urgent."""

    limit_w: Annotated[int, Field(gt=0)] | None = None
    limit_window_s: Annotated[float, Field(gt=0)] = 10.0
    """Over how long the demand limit averages."""
    reclose_s: Annotated[float, Field(gt=0)] = 120.0
    """How long after a trip the switch re-closes by itself."""
    capacity_w: Annotated[int, Field(ge=100, lt=2**32 - 1)] = 4800
    """Rated capacity of the service, until the utility configures another."""
    limit_steps: tuple[Annotated[int, Field(ge=1, le=100)], ...] = (90, 75, 50, 25)
    """Steps of the demand limit in percent of it, until the utility configures others."""

    reader_password: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[ -~]+$", repr=False)] = "reader"
    utility_password: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[ -~]+$", repr=False)] = "utility"
    master_password: Annotated[str, Field(min_length=1, max_length=20, pattern=r"^[ -~]+$", repr=False)] = "master"

    han: str | None = None
    """The home area network that the meter coordinates; None for a meter without one."""
    han_address: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{16}$")] = "0x0013500300000001"
    """EUI-64 of the meter's radio."""
    han_devices: Annotated[
        dict[Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{16}$")], str],
        Field(repr=False),
    ] = {}
    """Install code (hexadecimal, its CRC included) by the EUI-64 of each device that may join."""
    han_latency_s: Annotated[float, Field(ge=0)] = 0.2
    han_text_s: Annotated[float, Field(gt=0)] = 3600.0
    """How long a display shows a text of the utility."""

    log_capacity: Annotated[int, Field(ge=1, le=65535)] = 1000
    interval_capacity: Annotated[int, Field(ge=1, le=65535)] = 2400
    receipt_capacity: Annotated[int, Field(ge=1, le=65535)] = 500
    message_capacity: Annotated[int, Field(ge=1, le=1000)] = 64
    schedule_capacity: Annotated[int, Field(ge=1, le=100)] = 16
    rule_capacity: Annotated[int, Field(ge=1, le=255)] = 32
    """Commands that can be stored beforehand."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as no:
            raise ValueError(f"{name!r} is no time zone of the IANA database, such as America/Los_Angeles") from no
        return name

    @field_validator("interval_min")
    @classmethod
    def _divides_an_hour(cls, minutes: int) -> int:
        if 60 % minutes:
            raise ValueError(f"{minutes} min does not divide an hour; 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60 do")
        return minutes

    @field_validator("priorities")
    @classmethod
    def _known_codes(cls, priorities: dict[str, int]) -> dict[str, int]:
        unknown = sorted(set(priorities) - set(MessageCode.__members__))
        if unknown:
            raise ValueError(f"no message code {', '.join(unknown)}; codes are {', '.join(MessageCode.__members__)}")
        return priorities

    @field_validator("han_devices")
    @classmethod
    def _known_install_codes(cls, devices: dict[str, str]) -> dict[str, str]:
        for address, code in devices.items():
            try:
                han.check_install_code(bytes.fromhex(code))
            except ValueError as no:
                raise ValueError(f"install code of {address}: {no}") from no
        return devices

    @model_validator(mode="after")
    def _switch_has_two_sides(self) -> AmiMeterOptions:
        if self.switch is not None and self.load_side is None:
            raise ValueError("a meter with a `switch` needs `load_side`, the tap behind it")
        if self.switch is None and self.limit_w is not None:
            raise ValueError("a meter without a `switch` cannot hold a demand limit: leave `limit_w` out")
        return self
