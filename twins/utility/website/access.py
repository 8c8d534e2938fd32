"""Who is at the door: passwords, sessions, attempts. All of it by bench time.

A browser holds a random key; the data base holds its hash. A form carries a token that follows from the key, which no other
site can read (the cookie is HttpOnly and SameSite).
"""

from __future__ import annotations

import asyncio
import enum
import functools
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import argon2
from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from twins.clock import Clock
from twins.utility.config import UtilityConfig
from twins.utility.web import in_turn
from twins.utility.website.config import WebsiteConfig
from twins.utility.website.tables import AttemptRow, LoginRow, SessionRow

_SEEN_EVERY = timedelta(minutes=1)
_HASHER = argon2.PasswordHasher()


class Role(enum.Enum):
    """What somebody may do at the website."""

    NOBODY = "nobody"
    CUSTOMER = "customer"
    REPRESENTATIVE = "representative"


@dataclass(frozen=True)
class Visit:
    """Somebody at the website: `key` is what their browser holds, `token` what their forms have to carry."""

    key: str
    role: Role = Role.NOBODY
    login: str = ""
    name: str = ""
    customer_id: str | None = None
    language: str | None = None

    @property
    def token(self) -> str:
        """The token of this visitor's forms."""
        return hashlib.sha256(f"form:{self.key}".encode()).hexdigest() if self.key else ""

    def holds(self, token: str) -> bool:
        """Whether a form with that token is this visitor's own."""
        return bool(self.key) and hmac.compare_digest(self.token.encode(), token.encode())


class NotNow(Exception):
    """Too many attempts to sign in failed; `until` says when it may be tried again."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"too many failed attempts; try again after {until.isoformat()}")
        self.until = until


@functools.cache
def _nobodys() -> str:
    """The hash of a password that nobody has."""
    return _HASHER.hash(secrets.token_urlsafe())


def new_key() -> str:
    """What a browser is given to hold."""
    return secrets.token_urlsafe(32)


class Access:
    """Logins and sessions. Every method but `right` belongs to the event loop's thread."""

    def __init__(self, clock: Clock, engine: Engine, config: UtilityConfig, website: WebsiteConfig) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._website = website
        self._first: dict[str, str] = {}
        self._hashing = asyncio.Lock()

    def take_in(self, passwords: Mapping[str, str]) -> None:
        """Take in customers and representatives of the bench file that are new, by their hash or their first password.

        One who has neither cannot sign in. A hash takes a tenth of a second, so first passwords are hashed when somebody
        first comes to sign in: most runs never do.
        """
        self._first = dict(passwords)
        self._take_in({})

    def _take_in(self, hashes: Mapping[str, str]) -> None:
        """Those who are new and whose hash the bench file has, or this."""
        people = [(c.id, c.id, c.name, c.password_hash, c.language) for c in self._config.customers]
        staff = [(r.login, None, r.name, r.password_hash, "en") for r in self._website.representatives]
        with Session(self._engine) as session, session.begin():
            for login, customer_id, name, hashed, language in [*people, *staff]:
                password = hashed or hashes.get(login)
                if session.get(LoginRow, login) is not None:
                    self._first.pop(login, None)
                elif password is not None:
                    row = LoginRow(
                        login=login, customer_id=customer_id, name=name, password=password, language=language
                    )
                    session.add(row)

    async def hash_first_passwords(self) -> None:
        """Hash the first passwords, once: those of all, and nobody's, whoever comes, so that how long it takes tells nothing of
        who is known. In a thread of its own, as `right` has to be."""
        async with self._hashing:
            await self._clock.io(_nobodys)
            if self._first:
                first = dict(self._first)
                hashes = await self._clock.io(lambda: {login: _HASHER.hash(word) for login, word in first.items()})
                await in_turn(self._clock, self._take_in, hashes)
                self._first.clear()

    # --- signing in ---

    def attempt(self, login: str, address: str) -> tuple[int, str]:
        """Note an attempt as failed, before it is looked at; its number, and the hash that the password is held against.

        NotNow where too many have failed.
        """
        now = self._clock.now()
        window = timedelta(minutes=self._website.failures_window_min)
        with Session(self._engine) as session, session.begin():
            session.execute(delete(AttemptRow).where(AttemptRow.at <= now - window))
            for column, value, most in (
                (AttemptRow.login, login, self._website.failures_per_login),
                (AttemptRow.address, address, self._website.failures_per_address),
            ):
                count, first = session.execute(
                    select(func.count(), func.min(AttemptRow.at)).where(column == value)
                ).one()
                if count >= most:
                    raise NotNow(first + window)
            row = AttemptRow(at=now, login=login, address=address)
            session.add(row)
            session.flush()
            known = session.get(LoginRow, login)
            # somebody unknown takes as long as somebody known
            return row.id, _nobodys() if known is None else known.password

    @staticmethod
    def right(password: str, hashed: str) -> bool:
        """Whether a password is the one hashed. Takes a tenth of a second; for a thread of its own."""
        try:
            return _HASHER.verify(hashed, password)
        except argon2.exceptions.VerificationError:
            return False

    def begin(self, attempt: int, login: str, old_key: str) -> str:
        """Begin a session after an attempt that was right; returns the key for the browser. What it held before is void."""
        key, now = new_key(), self._clock.now()
        oldest = now - timedelta(minutes=self._website.idle_min)
        with Session(self._engine) as session, session.begin():
            session.execute(delete(AttemptRow).where(AttemptRow.id == attempt))
            session.execute(
                delete(SessionRow).where((SessionRow.key == _hashed(old_key)) | (SessionRow.seen_at < oldest))
            )
            session.add(SessionRow(key=_hashed(key), login=login, began_at=now, seen_at=now))
        return key

    # --- sessions ---

    def visit(self, key: str) -> Visit:
        """Who holds a key; nobody where there is no such session, or it is over."""
        if not key:
            return Visit("")
        now = self._clock.now()
        with Session(self._engine) as session:
            row = session.get(SessionRow, _hashed(key))
            if row is None:
                return Visit(key)
            idle = now - row.seen_at > timedelta(minutes=self._website.idle_min)
            if idle or now - row.began_at > timedelta(hours=self._website.longest_h):
                session.delete(row)
                session.commit()
                return Visit("")
            login = session.get_one(LoginRow, row.login)
            role = Role.REPRESENTATIVE if login.customer_id is None else Role.CUSTOMER
            visit = Visit(key, role, login.login, login.name, login.customer_id, login.language)
            if now - row.seen_at > _SEEN_EVERY:
                row.seen_at = now
                session.commit()
        return visit

    def end(self, key: str) -> None:
        """End a session."""
        with Session(self._engine) as session, session.begin():
            session.execute(delete(SessionRow).where(SessionRow.key == _hashed(key)))

    def choose_language(self, login: str, language: str) -> None:
        """Keep the language that somebody reads."""
        with Session(self._engine) as session, session.begin():
            session.get_one(LoginRow, login).language = language


def _hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
