"""Arrivals: what sockets are given when they connect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hub.domain.context import Domain
from hub.domain.notifications.inbox import UNREAD
from hub.domain.people import members
from hub.domain.people.standing import STANDING, Standing
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.errors import forbidden
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
    questions: dict[str, list[str]] = {}
    for row in told:
        questions.setdefault(row["user_id"], []).append(question_room(row["id"]))
    return [_arrival(user_id, standings[user_id], questions.get(user_id, ())) for user_id in people]


async def _standings(d: Domain, conn: Connection, people: Sequence[str]) -> dict[str, Row]:
    return {row["id"]: row for row in await conn.fetch(STANDINGS, people, d.now())}


def _arrival(user_id: str, row: Row, questions: Sequence[str]) -> Arrival:
    rooms = [user_room(user_id), *Standing.of(row).rooms(), *questions]
    return Arrival(tuple(dict.fromkeys(rooms)), row["unread"] or 0)
