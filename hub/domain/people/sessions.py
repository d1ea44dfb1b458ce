"""Sessions: who is calling, by an access token or a service key."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hub.domain.context import Domain
from hub.plumbing.stores.postgres import Row, acquire
from hub.plumbing.stores.redis_client import AWAY
from protocol.errors import Code, HubError, forbidden, unavailable
from protocol.service_keys import new_service_key, split_service_key
from protocol.tokens import (
    ServiceToken,
    Token,
    UnknownKey,
    hash_secret,
    read_access,
    read_service,
    same_hash,
)

ALL_SCOPES = (
    "auth:write",
    "auth:admin",
    "notify:write",
    "broadcast:write",
    "events:write",
    "users:read",
    "users:write",
    "presence:read",
    "explain:read",
    "mail:feedback",
)


async def verify(d: Domain, text: object, *, may_skip_revocation: bool = False) -> Token:
    """The token's owner, after signature, expiry, blacklist and `revoked:{user}` (S5-44).

    Raises UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED; UNAVAILABLE while Redis is away, unless
    the caller is a read that `may_skip_revocation` then (C18).
    """
    token = await _read(d, text)
    try:
        if (await revoked(d, [token]))[0]:
            raise HubError(Code.TOKEN_REVOKED)
    except AWAY as error:
        if not may_skip_revocation:
            raise unavailable("Tokens cannot be checked now.") from error
    return token


async def _read(d: Domain, text: object) -> Token:
    """By the keys at hand; only for a public key that is not among them the set is asked for."""
    if d.public_keys is None:
        return read_access(d.tokens, text, now=d.now())
    try:
        return read_access(d.tokens, text, now=d.now(), public=d.public_keys.known())
    except UnknownKey:
        public = await d.public_keys.renewed()
        return read_access(d.tokens, text, now=d.now(), public=public)


async def revoked(d: Domain, tokens: Sequence[Token]) -> list[bool]:
    """Of each token whether it was revoked: by person and time, or by its number where it has one.
    Raises what says Redis is away (hub.plumbing.stores.redis_client.AWAY)."""
    if not tokens:
        return []
    keys = [d.keys.revoked(one.user_id) for one in tokens]
    keys += [d.keys.blacklist(one.jti) for one in tokens]
    found = await d.ask("MGET", *keys)
    return [
        (before_ms is not None and one.issued_at * 1000 < float(before_ms))
        or (listed is not None and one.jti != "")
        for one, before_ms, listed in zip(tokens, found, found[len(tokens) :], strict=False)
    ]


@dataclass(frozen=True, slots=True)
class Service:
    """A service client and what it may do."""

    id: str
    scopes: frozenset[str]
    room_prefixes: tuple[str, ...]
    event_types: tuple[str, ...]
    calls_per_min: int
    items_per_min: int

    def need(self, scope: str) -> None:
        """Raises FORBIDDEN without the scope."""
        if scope not in self.scopes:
            raise forbidden(f"This key lacks the scope {scope}.")

    def narrowed(self, token: ServiceToken) -> "Service":
        """What the token leaves of it, and never more: of two prefixes the longer one holds."""
        told, own = token.room_prefixes, self.room_prefixes
        types = token.event_types
        if types is not None and "*" in types:
            types = None
        return replace(
            self,
            scopes=self.scopes if token.scopes is None else self.scopes & token.scopes,
            room_prefixes=own
            if told is None
            else tuple(max(a, b, key=len) for a in own for b in told if _one_way(a, b)),
            event_types=self.event_types
            if types is None
            else tuple(types if "*" in self.event_types else types & {*self.event_types}),
        )


def _one_way(a: str, b: str) -> bool:
    """Whether one of them begins with the other."""
    return a.startswith(b) or b.startswith(a)


async def service(d: Domain, key: str) -> Service:
    """The client of a service key; raises UNAUTHENTICATED for an unknown or disabled one."""
    parts = split_service_key(key)
    if parts is None:
        raise HubError(Code.UNAUTHENTICATED)
    key_hash = hash_secret(parts[1])
    if not await d.service_keys.known(parts[0], key_hash):
        raise HubError(Code.UNAUTHENTICATED)
    row = await _client(d, parts[0])
    if row is None or not same_hash(row["key_hash"], key_hash):
        raise HubError(Code.UNAUTHENTICATED)
    return _service(row)


async def service_by_token(d: Domain, text: str, *, may_skip_revocation: bool = False) -> Service:
    """The client that a service token speaks for, with what both may. A client that is disabled
    has no tokens any more.

    Raises UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED; UNAVAILABLE as `verify` does.
    """
    token = read_service(d.tokens, text, now=d.now())
    try:
        if await d.ask("EXISTS", d.keys.blacklist(token.jti)):
            raise HubError(Code.TOKEN_REVOKED)
    except AWAY as error:
        if not may_skip_revocation:
            raise unavailable("Tokens cannot be checked now.") from error
    row = await _client(d, token.client_id)
    if row is None:
        raise HubError(Code.UNAUTHENTICATED)
    return _service(row).narrowed(token)


async def _client(d: Domain, client_id: str) -> Row | None:
    async with acquire(d.pool) as conn:
        return await conn.fetchrow(
            "SELECT id, key_hash, scopes, room_prefixes, event_types, calls_per_min, items_per_min"
            " FROM service_clients WHERE id = $1 AND disabled_at IS NULL",
            client_id,
        )


def _service(row: Row) -> Service:
    return Service(
        id=row["id"],
        scopes=frozenset(row["scopes"]),
        room_prefixes=tuple(row["room_prefixes"]),
        event_types=tuple(row["event_types"]),
        calls_per_min=row["calls_per_min"],
        items_per_min=row["items_per_min"],
    )


async def add_service(
    d: Domain,
    client_id: str,
    *,
    scopes: tuple[str, ...] = ALL_SCOPES,
    room_prefixes: tuple[str, ...] = ("",),
    event_types: tuple[str, ...] = ("*",),
) -> str:
    """Make or renew a service client; returns its key, which is shown this once."""
    key, key_hash = new_service_key(client_id)
    async with acquire(d.pool) as conn:
        await conn.execute(
            "INSERT INTO service_clients (id, name, key_hash, scopes, room_prefixes, event_types)"
            " VALUES ($1, $1, $2, $3, $4, $5) ON CONFLICT (id) DO UPDATE SET key_hash = $2,"
            " scopes = $3, room_prefixes = $4, event_types = $5, disabled_at = NULL",
            client_id,
            key_hash,
            list(scopes),
            list(room_prefixes),
            list(event_types),
        )
    return key
