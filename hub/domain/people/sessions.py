"""Sessions: who is calling, and token pairs for people a trusted service vouches for."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import acquire
from hub.plumbing.stores.redis_client import AWAY
from protocol.errors import Code, HubError, forbidden, unavailable
from protocol.rest.sessions import Session, SessionRequest
from protocol.tokens import (
    Token,
    hash_secret,
    new_service_key,
    read_access,
    same_hash,
    sign_access,
    sign_refresh,
    split_service_key,
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
    token = read_access(d.tokens, text, now=d.now())
    try:
        blacklisted, revoked_ms = await d.redis.mget(
            d.keys.blacklist(token.jti), d.keys.revoked(token.user_id)
        )
    except AWAY as error:
        if may_skip_revocation:
            return token
        raise unavailable("Tokens cannot be checked now.") from error
    if blacklisted is not None or (
        revoked_ms is not None and token.issued_at * 1000 < float(revoked_ms)
    ):
        raise HubError(Code.TOKEN_REVOKED)
    return token


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


async def service(d: Domain, key: str) -> Service:
    """The client of a service key; raises UNAUTHENTICATED for an unknown or disabled one."""
    parts = split_service_key(key)
    if parts is None:
        raise HubError(Code.UNAUTHENTICATED)
    key_hash = hash_secret(parts[1])
    if not await d.service_keys.known(parts[0], key_hash):
        raise HubError(Code.UNAUTHENTICATED)
    async with acquire(d.pool) as conn:
        row = await conn.fetchrow(
            "SELECT key_hash, scopes, room_prefixes, event_types, calls_per_min, items_per_min"
            " FROM service_clients WHERE id = $1 AND disabled_at IS NULL",
            parts[0],
        )
    if row is None or not same_hash(row["key_hash"], key_hash):
        raise HubError(Code.UNAUTHENTICATED)
    return Service(
        id=parts[0],
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


async def open_session(
    d: Domain,
    change: Change,
    caller: Service,
    form: SessionRequest,
    *,
    user_agent: str | None,
    ip: str | None,
) -> Session:
    """A token pair for a person the calling service has authenticated; makes the user row.

    Raises FORBIDDEN without auth:write, or for role admin without auth:admin.
    """
    caller.need("auth:write")
    if form.role == "admin":
        caller.need("auth:admin")
    ttl = min(form.ttl or d.policy.access_ttl_s, d.policy.access_ttl_s)
    access = sign_access(
        d.tokens, form.user_id, form.role, now=d.now(), ttl_s=ttl, jti=str(uuid4())
    )
    jti, family = uuid4(), uuid4()
    refresh_ttl = d.policy.refresh_ttl_s
    refresh = sign_refresh(
        d.tokens, form.user_id, str(family), now=d.now(), ttl_s=refresh_ttl, jti=str(jti)
    )
    await members.ensure(change.conn, form.user_id)
    await change.conn.execute(
        "INSERT INTO refresh_tokens (jti, family_id, user_id, issued_at, expires_at,"
        " user_agent, ip) VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet)",
        jti,
        family,
        form.user_id,
        d.now(),
        d.now() + timedelta(seconds=refresh_ttl),
        user_agent[:300] if user_agent else None,
        ip,
    )
    return Session(access_token=access, refresh_token=refresh, expires_in=ttl)
