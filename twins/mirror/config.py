"""What a bench file says about its OPC UA mirror: where it listens, who may read, who may act."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from twins.mirror.passwords import check_hash, hash_password


class MirrorUser(BaseModel):
    """Someone who may log in. An observer reads, an operator also writes limits and calls methods.

    The password stands as a hash in `password_hash`, or in the clear in the environment variable named `password_env`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    role: Literal["observer", "operator"] = "observer"
    password_hash: str | None = Field(None, repr=False)
    password_env: str | None = None

    @field_validator("password_hash")
    @classmethod
    def _is_hash(cls, stored: str | None) -> str | None:
        return None if stored is None else check_hash(stored)

    @model_validator(mode="after")
    def _has_one_password(self) -> Self:
        if (self.password_hash is None) == (self.password_env is None):
            raise ValueError(f"user {self.name!r} needs either password_hash or password_env")
        return self

    def stored(self) -> str:
        """The hash of the user's password. ValueError where the environment variable is missing or empty."""
        if self.password_hash is not None:
            return self.password_hash
        assert self.password_env is not None
        password = os.environ.get(self.password_env, "")
        if not password:
            raise ValueError(
                f"mirror: the password of user {self.name!r} is wanted in the environment variable {self.password_env}; set it"
            )
        return hash_password(password)


class MirrorConfig(BaseModel):
    """Settings of the mirror. Port 0 picks a free one; without `certificates` they lie in the user's data directory.

    `cadence_s` is how often a device is read when nothing changes, in real seconds; `share` the most of the stepped bench's
    time that reading may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)
    anonymous_read: bool = False
    users: list[MirrorUser] = []
    certificates: Path | None = None
    application_uri: str = Field("urn:twinbench:mirror", pattern=r"^urn:\S+$")
    cadence_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    share: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _users_differ(self) -> Self:
        names = [user.name for user in self.users]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"user {name!r} stands twice; every user needs a name of their own")
        return self

    def certificate_directory(self) -> Path:
        """Where certificate and key lie."""
        if self.certificates is not None:
            return self.certificates
        import platformdirs

        return Path(platformdirs.user_data_dir("twinbench")) / "opcua"
