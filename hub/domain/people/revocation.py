"""Revocation: tokens and logins that are worth nothing any more, at once and on all nodes.

Postgres holds which logins ended. Redis is told through the outbox, by one script that writes what
each door asks (S5-44) and orders every node to cut the sockets: with Redis away nobody new comes in
(C18), and the order goes out as soon as it is back.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hub.domain.context import Domain
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.errors import invalid
from protocol.events import Revocation
from protocol.payload import uuid_of
from protocol.rest.sessions import RevokeRequest
from protocol.tokens import LONGEST_LIFE_S, SKEW_S

LONGEST_S: Final = LONGEST_LIFE_S + round(SKEW_S)
"""How long a token that somebody else signed may still live."""

REVOKED: Final = "revoked"
LOGGED_OUT: Final = "logged out"
REUSED: Final = "refresh token used twice"
"""What the sockets are told."""


async def revoke(d: Domain, form: RevokeRequest) -> None:
    """POST /auth/revoke. Raises INVALID_PAYLOAD without exactly one of person and number, and for a
    time to come: it would lock out who signs in until then."""
    if (form.user_id is None) == (form.jti is None):
        raise invalid("Either userId or jti is needed.")
    if form.issued_before is not None and form.user_id is None:
        raise invalid("issuedBefore goes with userId.")
    before = form.issued_before
    if before is not None and before > d.now() + timedelta(seconds=SKEW_S):
        raise invalid("issuedBefore lies in the future.")
    async with d.outbox.change() as change:
        if form.user_id is not None:
            await revoke_person(d, change, form.user_id, before)
        elif form.jti is not None:
            await revoke_token(d, change, form.jti)


async def lock(conn: Connection, user_id: str) -> None:
    """One login, refresh or revocation of a person after the other: a token made beside a
    revocation is older than it, or newer, and never missed by it."""
    await conn.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id)


async def revoke_person(
    d: Domain, change: Change, user_id: str, before: datetime | None = None
) -> None:
    """Everything of a person's logins from before a moment, now by default; also what they have
    been refreshed to since. Whoever is unknown here may yet hold a token that somebody else signed.
    """
    await lock(change.conn, user_id)
    at = before or d.now()
    rows = await change.conn.fetch(
        "WITH alive AS (SELECT DISTINCT family_id FROM refresh_tokens"
        "  WHERE user_id = $1 AND revoked_at IS NULL),"
        " older AS (SELECT family_id FROM alive JOIN refresh_tokens USING (family_id)"
        "  GROUP BY family_id HAVING min(issued_at) < $2)"
        " UPDATE refresh_tokens SET revoked_at = coalesce(revoked_at, $3)"
        " WHERE family_id IN (SELECT family_id FROM older) RETURNING jti, issued_at",
        user_id,
        at,
        d.now(),
    )
    alive = d.now() - _pair_life(d)
    newer = tuple(str(row["jti"]) for row in rows if row["issued_at"] >= max(at, alive))
    _tell(
        change,
        Revocation(
            reason=REVOKED,
            ttl_s=LONGEST_S,
            user_id=user_id,
            before_ms=at.timestamp() * 1000,
            jtis=newer,
        ),
    )


async def revoke_token(d: Domain, change: Change, jti: str) -> None:
    """One access token, and the login it belongs to where that was ours."""
    row = await change.conn.fetchrow(
        "SELECT user_id, family_id FROM refresh_tokens WHERE jti = $1", uuid_of(jti)
    )
    if row is not None:
        await lock(change.conn, row["user_id"])
        await end_login(d, change, row["family_id"], REVOKED)
    _tell(change, Revocation(reason=REVOKED, ttl_s=LONGEST_S, jtis=(jti,)))


async def end_login(d: Domain, change: Change, family: UUID, reason: str) -> None:
    """All tokens that came of one login; the person is locked by the caller."""
    rows = await change.conn.fetch(
        "UPDATE refresh_tokens SET revoked_at = coalesce(revoked_at, $2) WHERE family_id = $1"
        " RETURNING jti, issued_at",
        family,
        d.now(),
    )
    alive = d.now() - _pair_life(d)
    numbers = tuple(str(row["jti"]) for row in rows if row["issued_at"] > alive)
    if numbers:
        _tell(change, Revocation(reason=reason, ttl_s=_ttl_s(d), jtis=numbers))


def end_token(change: Change, jti: str, expires_in_s: float) -> None:
    """One access token, by who holds it."""
    _tell(change, Revocation(reason=LOGGED_OUT, ttl_s=max(1, round(expires_in_s)), jtis=(jti,)))


def _tell(change: Change, *revocations: Revocation) -> None:
    """Under a key of its own: it waits for nothing else that is told of a person."""
    for one in revocations:
        change.tell(f"revocation:{one.user_id or one.jtis[0]}", one)


def _ttl_s(d: Domain) -> int:
    return d.policy.access_ttl_s + round(SKEW_S)


def _pair_life(d: Domain) -> timedelta:
    """How long an access token that was made with a refresh token lives."""
    return timedelta(seconds=_ttl_s(d))
