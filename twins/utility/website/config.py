"""The section `website` of a bench file: where it is served, who works there, and how long sessions last."""

from __future__ import annotations

from typing import Annotated, Literal

import argon2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator


def _argon2_hash(given: str | None) -> str | None:
    if given is not None:
        try:
            argon2.extract_parameters(given)
        except argon2.exceptions.InvalidHash:
            raise ValueError("is no argon2 hash; argon2.PasswordHasher().hash(...) makes one") from None
    return given


PasswordHash = Annotated[str | None, AfterValidator(_argon2_hash)]
"""An argon2 hash; None leaves the password to the environment or to chance. A bench file never holds the password."""


class RepresentativeConfig(BaseModel):
    """A customer representative."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    login: str = Field(min_length=1, max_length=64, pattern=r"^[\w.@-]+$")
    name: str = Field(min_length=1)
    password_hash: PasswordHash = Field(default=None, repr=False)
    role: Literal["representative", "field crew", "meter shop", "supervisor"] = "representative"
    """What they may do with field and trouble orders."""


class WebsiteConfig(BaseModel):
    """The website. Times are bench time."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    listen: str = "127.0.0.1:0"
    """HOST:PORT; port 0 picks a free one."""
    representatives: tuple[RepresentativeConfig, ...] = ()
    idle_min: float = Field(default=30.0, gt=0)
    """A session nobody uses for so long is over."""
    longest_h: float = Field(default=12.0, gt=0)
    """Any session is over after so long."""
    failures_per_login: int = Field(default=5, ge=1)
    failures_per_address: int = Field(default=50, ge=1)
    failures_window_min: float = Field(default=15.0, gt=0)
    """How many times a sign-in may fail in a sliding window, for one login and from one address."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, given: str) -> str:
        host, _, port = given.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{given!r} is not HOST:PORT; write it like 127.0.0.1:8080, with port 0 for a free one")
        return given

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)
