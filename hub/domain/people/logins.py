"""Logins: token pairs for people a trusted service vouches for, refreshed, and ended.

A pair has one number (jti) and one row, which holds the hash of its refresh token; all pairs of a
login are a family. A refresh token is worth one pair: whoever brings it a second time, be it the
thief or the robbed, ends the family, for nobody can tell which of the two came first.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from hub.domain.context import Domain
from hub.domain.people import members, revocation
from hub.domain.people.sessions import Service
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from hub.plumbing.telemetry.metrics import REFRESH_REUSED
from protocol.errors import Code, HubError, conflict, forbidden
from protocol.payload import uuid_of
from protocol.rest.sessions import Session, SessionRequest
from protocol.tokens import (
    RefreshToken,
    Role,
    Token,
    hash_secret,
    read_refresh,
    same_hash,
    sign_access,
    sign_refresh,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Login:
    user_id: str
    role: Role
    family: UUID


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

    Raises FORBIDDEN without auth:write, or for role admin without auth:admin; CONFLICT for
    somebody erased, and where the hub takes no tokens of its own (JWT_ALGORITHMS without HS256).
    """
    caller.need("auth:write")
    if form.role == "admin":
        caller.need("auth:admin")
    if "HS256" not in d.tokens.algorithms:
        raise conflict("This hub takes the tokens of another service only.")
    await members.ensure(d, change.conn, form.user_id)
    await revocation.lock(change.conn, form.user_id)
    await members.check_living(change.conn, form.user_id)
    login = _Login(form.user_id, form.role, uuid4())
    ttl_s = min(form.ttl or d.policy.access_ttl_s, d.policy.access_ttl_s)
    _, session = await _pair(d, change.conn, login, ttl_s, user_agent, ip)
    return session


def read(d: Domain, text: object) -> RefreshToken:
    """What a refresh token says. Raises UNAUTHENTICATED for what is none, TOKEN_EXPIRED."""
    return read_refresh(d.tokens, text, now=d.now())


async def refresh(
    d: Domain, token: RefreshToken, text: str, *, user_agent: str | None, ip: str | None
) -> Session:
    """The next pair of a login, for its newest refresh token.

    Raises UNAUTHENTICATED for one that was never given out, TOKEN_REVOKED for one of a login that
    ended, and for one that was used before: then its login ends.
    """
    async with d.outbox.change() as change:
        await revocation.lock(change.conn, token.user_id)
        row = await _row(change.conn, token, text)
        if row["revoked_at"] is not None:
            raise HubError(Code.TOKEN_REVOKED)
        session = None
        if row["rotated_to"] is None:
            login = _Login(token.user_id, token.role, token.family)
            ttl_s = d.policy.access_ttl_s
            jti, session = await _pair(d, change.conn, login, ttl_s, user_agent, ip)
            await change.conn.execute(
                "UPDATE refresh_tokens SET rotated_to = $2 WHERE jti = $1", token.jti, jti
            )
        else:
            await revocation.end_login(d, change, token.family, revocation.REUSED)
    if session is None:  # told once the end of the login is kept
        REFRESH_REUSED.inc()
        log.warning("a refresh token came twice: its login was ended", userId=token.user_id)
        raise HubError(Code.TOKEN_REVOKED)
    return session


async def _row(conn: Connection, token: RefreshToken, text: str) -> Row:
    row = await conn.fetchrow(
        "SELECT token_hash, rotated_to, revoked_at FROM refresh_tokens"
        " WHERE jti = $1 AND user_id = $2 AND family_id = $3",
        token.jti,
        token.user_id,
        token.family,
    )
    if row is None or not same_hash(row["token_hash"] or b"", hash_secret(text)):
        raise HubError(Code.UNAUTHENTICATED)
    return row


async def logout(
    d: Domain, caller: Token, refresh_token: RefreshToken | None, device_id: str | None
) -> None:
    """End the caller's token, the login it came of (and that of a refresh token of theirs), and
    disable the device; a device that is gone already is no error.

    Raises FORBIDDEN for somebody else's refresh token, CONFLICT for an access token without a
    number, which can be revoked by person and time only.
    """
    if refresh_token is not None and refresh_token.user_id != caller.user_id:
        raise forbidden("This refresh token belongs to another person.")
    if not caller.jti:
        raise conflict("This access token has no jti: it ends by itself, or with its person's.")
    async with d.outbox.change() as change:
        await revocation.lock(change.conn, caller.user_id)
        for family in await _families(change.conn, caller, refresh_token):
            await revocation.end_login(d, change, family, revocation.LOGGED_OUT)
        revocation.end_token(change, caller.jti, caller.expires_at - d.now().timestamp())
        if device_id is not None:
            await _disable(change, caller.user_id, device_id)


async def _families(
    conn: Connection, caller: Token, refresh_token: RefreshToken | None
) -> list[UUID]:
    rows = await conn.fetch(
        "SELECT DISTINCT family_id FROM refresh_tokens WHERE user_id = $1"
        " AND (jti = $2 OR family_id = $3)",
        caller.user_id,
        uuid_of(caller.jti),
        refresh_token.family if refresh_token else None,
    )
    return [row["family_id"] for row in rows]


async def _disable(change: Change, user_id: str, device_id: str) -> None:
    await change.conn.execute(
        "UPDATE devices SET disabled_at = now(), disabled_reason = 'logout'"
        " WHERE user_id = $1 AND id::text = $2 AND disabled_at IS NULL",
        user_id,
        device_id,
    )


async def _pair(
    d: Domain, conn: Connection, login: _Login, ttl_s: int, user_agent: str | None, ip: str | None
) -> tuple[UUID, Session]:
    """The number of a new row, and its two tokens; the person is locked by the caller."""
    jti, now, life_s = uuid4(), d.now(), d.policy.refresh_ttl_s
    refresh_token = sign_refresh(
        d.tokens,
        login.user_id,
        str(login.family),
        now=now,
        ttl_s=life_s,
        jti=str(jti),
        role=login.role,
    )
    await conn.execute(
        "INSERT INTO refresh_tokens (jti, family_id, user_id, issued_at, expires_at,"
        " user_agent, ip, token_hash) VALUES ($1, $2, $3, $4, $5, $6, $7::text::inet, $8)",
        jti,
        login.family,
        login.user_id,
        now,
        now + timedelta(seconds=life_s),
        user_agent[:300] if user_agent else None,
        ip,
        hash_secret(refresh_token),
    )
    access = sign_access(d.tokens, login.user_id, login.role, now=now, ttl_s=ttl_s, jti=str(jti))
    session = Session(access_token=access, refresh_token=refresh_token, expires_in=ttl_s)
    return jti, session
