"""Blocks: between two people of whom one blocks the other nothing passes, either way."""

from collections.abc import Sequence
from typing import Final

from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.errors import conflict, invalid, not_found
from protocol.names import user_room

MOST: Final = 500
"""People that one person blocks."""

APART: Final = (
    "SELECT blocked_id AS id FROM blocks WHERE user_id = {0}"
    " UNION SELECT user_id FROM blocks WHERE blocked_id = {0} ORDER BY id"
)
"""SQL: whom somebody blocks and who blocks them."""


async def block(d: Domain, change: Change, user_id: str, other: str) -> None:
    """Blocking again does nothing. Raises INVALID_PAYLOAD for oneself, NOT_FOUND for somebody
    nobody knows, CONFLICT over 500.
    """
    if other == user_id:
        raise invalid("Nobody blocks themselves.")
    conn = change.conn
    await members.ensure(d, conn, user_id)
    # one block of a person after the other, or two at once would count past the end
    await conn.execute("SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE", user_id)
    if not await conn.fetchval(
        "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND deleted_at IS NULL)", other
    ):
        raise not_found("user")
    await conn.execute(
        "INSERT INTO blocks (user_id, blocked_id, created_at) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        user_id,
        other,
        d.now(),
    )
    if await conn.fetchval("SELECT count(*) FROM blocks WHERE user_id = $1", user_id) > MOST:
        raise conflict(f"{MOST} people at most.")


async def unblock(change: Change, user_id: str, other: str) -> None:
    """It does nothing where there is no block."""
    await change.conn.execute(
        "DELETE FROM blocks WHERE user_id = $1 AND blocked_id = $2", user_id, other
    )


async def apart_from(conn: Connection, user_id: str) -> list[str]:
    """Whom they block and who blocks them."""
    rows = await conn.fetch(APART.format("$1"), user_id)
    return [row["id"] for row in rows]


async def deaf_to(conn: Connection, user_id: str) -> tuple[str, ...]:
    """The rooms that an emit which this person causes is to except."""
    return tuple(user_room(one) for one in await apart_from(conn, user_id))


async def deaf_to_each(conn: Connection, user_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The same of several; who stands apart from nobody is left out."""
    rows = await conn.fetch(
        "SELECT user_id AS one, blocked_id AS other FROM blocks WHERE user_id = ANY($1::text[])"
        " UNION SELECT blocked_id, user_id FROM blocks WHERE blocked_id = ANY($1::text[])"
        " ORDER BY one, other",
        user_ids,
    )
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        found[row["one"]] = (*found.get(row["one"], ()), user_room(row["other"]))
    return found


async def between(conn: Connection, one: str, other: str) -> bool:
    """Whether one of the two blocks the other."""
    found = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM blocks WHERE user_id = $1 AND blocked_id = $2"
        " OR user_id = $2 AND blocked_id = $1)",
        one,
        other,
    )
    return bool(found)
