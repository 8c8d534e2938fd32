"""The website's first passwords on a bench: from the environment, or drawn for the run. A bench file holds hashes only."""

from __future__ import annotations

import os
import secrets

from bench.data import BadInput
from twins.utility.config import UtilityConfig

PASSWORD = "TWINBENCH_WEBSITE_PASSWORD"
"""Environment variable with the password of everybody in the bench file whose hash it doesn't give."""


def first_passwords(config: UtilityConfig) -> dict[str, str]:
    """Passwords by login, of those without a hash: the one in the environment, or one for this run that nobody else knows."""
    if config.website is None:
        return {}
    logins = [c.id for c in config.customers if c.password_hash is None]
    logins += [r.login for r in config.website.representatives if r.password_hash is None]
    given = os.environ.get(PASSWORD)
    return {login: given or secrets.token_urlsafe(12) for login in logins}


def password(login: str, first: dict[str, str]) -> str:
    """What somebody signs in with. BadInput where the bench file has their hash and the environment no password."""
    found = first.get(login) or os.environ.get(PASSWORD)
    if found is None:
        raise BadInput(f"the bench file has a hash for {login!r}; give the password in {PASSWORD}")
    return found
