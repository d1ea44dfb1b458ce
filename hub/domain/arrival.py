"""Arrivals: what sockets are given when they connect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.notifications.inbox import UNREAD
from hub.domain.people import members
from hub.domain.people.standing import STANDING, Standing
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import Code, HubError, forbidden
from protocol.names import question_room, user_room

STANDINGS: Final = (
    "WITH seen AS (UPDATE users SET last_active_at = now() WHERE id IN (SELECT id FROM users"  # noqa: S608 - constants
    "  WHERE id = ANY($1::text[]) AND deleted_at IS NULL FOR NO KEY UPDATE SKIP LOCKED))"
    f" SELECT u.id, u.deleted_at, {STANDING}, {UNREAD.format(now='$2')} AS unread FROM users u"
    " JOIN notification_preferences p ON p.user_id = u.id"
    " LEFT JOIN user_locations l ON l.user_id = u.id AND l.expires_at > $2"
    " LEFT JOIN inbox_heads h ON h.user_id = u.id WHERE u.id = ANY($1::text[])"
)
"""SQL: who these people are, and that they were here. Whose row somebody else changes just now is
not waited for: two that wait for many rows could wait for each other.
"""

QUESTIONS: Final = (
    "SELECT p.user_id, q.id FROM unnest($1::text[]) AS p (user_id) CROSS JOIN LATERAL"
    " (SELECT id FROM questions WHERE user_id = p.user_id AND status = 'active'"
    " AND created_at > $2 UNION SELECT question_id FROM answers a JOIN questions q"
    " ON q.id = a.question_id WHERE a.user_id = p.user_id AND q.status = 'active'"
    " AND a.created_at > $2 UNION SELECT question_id FROM question_claims c"
    " JOIN questions q ON q.id = c.question_id WHERE c.user_id = p.user_id"
    " AND c.released_at IS NULL AND q.status = 'active' AND c.claimed_at > $2 LIMIT 20) q"
)
"""SQL: the questions that each of these people has to do with."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a socket is given when it connects: its automatic rooms and what is unread."""

    rooms: tuple[str, ...]
    unread: int


async def arrive(d: Domain, people: Sequence[str]) -> list[Arrival]:
    """Automatic rooms of each person (product.md, table of rooms), made anew at each connect; all
    who come at once are looked up together. Raises FORBIDDEN where one of them is erased.
    """
    async with acquire(d.pool) as conn:
        standings = await _standings(d, conn, people)
        unknown = [user_id for user_id in people if user_id not in standings]
        if unknown:
            await members.ensure(d, conn, *unknown)
            standings |= await _standings(d, conn, unknown)
        if any(row["deleted_at"] is not None for row in standings.values()):
            raise forbidden("This person is erased.")
        told = await conn.fetch(QUESTIONS, people, d.now() - timedelta(days=1))
        elsewhere = await homes.of_people(d, conn, people) if d.elsewhere else {}
    questions: dict[str, list[str]] = {}
    for row in told:
        questions.setdefault(row["user_id"], []).append(question_room(row["id"]))
    unread = {user_id: row["unread"] or 0 for user_id, row in standings.items()}
    for region, users in homes.by_region(elsewhere).items():
        unread |= await _unread(d.elsewhere[region], users)
    return [
        Arrival(_rooms(user_id, standings[user_id], questions.get(user_id, ())), unread[user_id])
        for user_id in people
    ]


async def _standings(d: Domain, conn: Connection, people: Sequence[str]) -> dict[str, Row]:
    return {row["id"]: row for row in await conn.fetch(STANDINGS, people, d.now())}


def _rooms(user_id: str, row: Row, questions: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((user_room(user_id), *Standing.of(row).rooms(), *questions)))


async def _unread(home: Domain, users: Sequence[str]) -> dict[str, int]:
    """Where their inboxes are; while that region is away nobody is kept out for it."""
    try:
        async with acquire(home.pool) as conn:
            counts = await inbox.count_unread(conn, users, home.now())
        return {user_id: found.count for user_id, found in counts.items()}
    except HubError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        return dict.fromkeys(users, 0)
