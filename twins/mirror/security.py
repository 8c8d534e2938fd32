"""Who may do what at the mirror: users, what each kind of channel lets through, the server's certificate.

Reading needs a user, or nobody where the bench file lets anonymous sessions read. Writing and calling need an operator and
an encrypted channel; each channel is judged by itself, whatever session is used on it. Client certificates encrypt, they
don't identify: any is taken, the password tells who it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import ADMIN_TYPES, USER_TYPES, PermissionRuleset, User, UserRole
from asyncua.crypto.security_policies import SecurityPolicyFactory
from asyncua.server.address_space import AttributeService
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.server import Server
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from cryptography.x509.oid import ExtendedKeyUsageOID

from twins.mirror import standard_nodes
from twins.mirror.address_space import standard
from twins.mirror.config import MirrorConfig
from twins.mirror.methods import status
from twins.mirror.passwords import hash_password, verify_password
from twins.mirror.subscriptions import (
    MOST_SUBSCRIPTIONS,
    MOST_UNACKNOWLEDGED,
    BoundedSubscriptions,
    watch_connections,
)

__all__ = ["GuardedServer", "InternalBenchServer", "Users", "ensure_certificate", "hash_password", "verify_password"]

ENCRYPTED = (
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)


MOST_CONNECTIONS = 100
_ADMIN = User(UserRole.Admin)


@dataclass
class BenchUser(User):
    """Somebody who has logged in, or nobody."""

    operator: bool = False


class Users:
    """Checks who logs in. asyncua calls `get_user` with what the session brought."""

    def __init__(self, config: MirrorConfig) -> None:
        self._anonymous = config.anonymous_read
        self._users = {user.name: (user.role == "operator", user.stored()) for user in config.users}
        # An unknown name takes as long as a known one, so that the time doesn't tell which names there are.
        self._nobody = hash_password(secrets.token_urlsafe()) if config.users else ""

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> BenchUser | None:
        """The user, or None for somebody who may not come in."""
        if username is None:
            return BenchUser(UserRole.Anonymous) if self._anonymous else None
        if not certificate:
            # Without encryption only anonymous readers are served.
            raise ServiceError(StatusCodes.BadSecurityModeInsufficient)
        if not self._nobody:
            return None
        operator, stored = self._users.get(username, (False, self._nobody))
        if not verify_password(password or "", stored) or username not in self._users:
            return None
        return BenchUser(UserRole.User, username, operator)


_ACTS = {
    standard(ObjectIds.WriteRequest_Encoding_DefaultBinary),
    standard(ObjectIds.CallRequest_Encoding_DefaultBinary),
}
_READS = {standard(kind) for kind in USER_TYPES} - _ACTS
_NEVER = {standard(kind) for kind in ADMIN_TYPES}


class ChannelRules(PermissionRuleset):
    """What is let through one kind of channel."""

    def __init__(self, *, encrypted: bool, reads: bool) -> None:
        self._encrypted = encrypted
        self._reads = reads

    def check_validity(self, user: User | None, action_type: ua.NodeId, body: Any) -> bool:
        """True where the service may be used. Raises the status code that tells what is missing."""
        if action_type in _ACTS:
            if not isinstance(user, BenchUser) or not user.operator:
                raise ServiceError(StatusCodes.BadUserAccessDenied)
            if not self._encrypted:
                raise ServiceError(StatusCodes.BadSecurityModeInsufficient)
            return True
        if action_type in _NEVER:
            raise ServiceError(StatusCodes.BadUserAccessDenied)
        if action_type not in _READS:
            return True  # not a service that the library offers: it says so itself
        if not self._reads:
            raise ServiceError(StatusCodes.BadSecurityModeInsufficient)
        return isinstance(user, BenchUser)


class WritesOneByOne(AttributeService):
    """asyncua's service, but what is wrong with one value of a Write is told of that value and leaves the others alone
    (OPC 10000-4, 5.11.4)."""

    async def write(self, params: ua.WriteParameters, user: User = _ADMIN) -> list[ua.StatusCode]:
        """How each value fared."""
        results: list[ua.StatusCode] = []
        for one in params.NodesToWrite:
            try:
                results += await super().write(ua.WriteParameters([one]), user)
            except ServiceError as no:
                results.append(status(no.code))
        return results


class InternalBenchServer(InternalServer):
    """asyncua's inner server with four changes: standard nodes come from a cache, session tokens cannot be guessed, what a
    client makes the server hold is bounded, and a Write answers value by value.

    asyncua numbers its sessions' tokens one after the other and lets any channel name one to take its session over.
    """

    def __init__(self, user_manager: Any = None) -> None:
        super().__init__(user_manager=user_manager)
        self.max_subscriptions = MOST_SUBSCRIPTIONS
        self.max_unacked_messages_per_subscription = MOST_UNACKNOWLEDGED
        self.max_connections = MOST_CONNECTIONS
        self.subscription_service = BoundedSubscriptions(self.aspace, iserver=self)
        self.isession.subscription_service = self.subscription_service
        self.attribute_service = WritesOneByOne(self.aspace)

    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        await standard_nodes.load(self, standard_nodes.cache_file())

    def register_external_session(self, session: InternalSession) -> None:
        session.auth_token = ua.NodeId(ua.ByteString(secrets.token_bytes(32)))
        super().register_external_session(session)

    def register_server(self, server: Any, conf: Any = None) -> None:
        # The mirror is no discovery server: nobody writes into its list of servers.
        raise ServiceError(StatusCodes.BadServiceUnsupported)


class OpenPolicyFactory(SecurityPolicyFactory):
    """Open channels. A certificate sent along proves nothing there and is dropped, so that it cannot be taken for encryption."""

    def create(self, peer_certificate: Any) -> Any:
        return super().create(None)  # type: ignore[no-untyped-call]


class GuardedServer(Server):
    """asyncua's server with rules of its own for each kind of channel.

    An open channel exists always, because a client asks there which endpoints there are; it is offered, and reads, only
    where anonymous sessions may.
    """

    def __init__(self, config: MirrorConfig) -> None:
        super().__init__(iserver=InternalBenchServer(user_manager=Users(config)))
        self._anonymous = config.anonymous_read
        self._watch: asyncio.Task[None] | None = None
        self.set_security_policy([ua.SecurityPolicyType.NoSecurity, *ENCRYPTED])
        tokens: list[type] = [ua.AnonymousIdentityToken] if config.anonymous_read else []
        self.set_identity_tokens([*tokens, ua.UserNameIdentityToken])

    async def start(self) -> None:
        """Serve, and keep an eye on clients that don't read."""
        await super().start()
        self._watch = asyncio.create_task(watch_connections(lambda: list(self.iserver.asyncio_transports)))

    async def stop(self) -> None:
        """Stop serving. A client that has not read what it was sent is not waited for."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None
        for transport in list(self.iserver.asyncio_transports):
            if transport.get_write_buffer_size():
                transport.abort()
        await super().stop()

    async def _setup_server_nodes(self) -> None:
        await super()._setup_server_nodes()
        for index, policy in enumerate(self._policies):
            encrypted = policy.mode == ua.MessageSecurityMode.SignAndEncrypt
            policy.permission_ruleset = ChannelRules(encrypted=encrypted, reads=encrypted or self._anonymous)
            if not encrypted:
                self._policies[index] = OpenPolicyFactory(  # type: ignore[no-untyped-call]
                    policy.cls,
                    policy.mode,
                    policy.certificate,
                    policy.private_key,
                    permission_ruleset=policy.permission_ruleset,
                )
        offered = []
        for endpoint in self.iserver.endpoints:
            if endpoint.SecurityMode == ua.MessageSecurityMode.None_:
                if not self._anonymous:
                    continue
                endpoint.UserIdentityTokens = [
                    token for token in endpoint.UserIdentityTokens if token.TokenType == ua.UserTokenType.Anonymous
                ]
            offered.append(endpoint)
        self.iserver.endpoints[:] = offered


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def ensure_certificate(directory: Path, application_uri: str) -> tuple[Path, Path]:
    """The server's certificate (DER) and private key (PEM) in `directory`, made where missing, outdated or for another URI.

    The directory is readable by its user alone. OSError where it cannot be used.
    """
    certificate, key = directory / "certificate.der", directory / "key.pem"
    # Benches that start at the same moment must not each write half of a pair.
    with await asyncio.to_thread(_enter, directory / ".lock"):
        await setup_self_signed_certificate(
            key,
            certificate,
            application_uri,
            socket.gethostname(),
            [ExtendedKeyUsageOID.SERVER_AUTH],
            {"organizationName": "twinbench"},
        )
        await asyncio.to_thread(key.chmod, 0o600)
    return certificate, key


def _enter(path: Path) -> contextlib.ExitStack:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack = contextlib.ExitStack()
    stack.enter_context(_alone(path))
    return stack
