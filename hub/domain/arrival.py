"""Arrivals: what a socket is given when it connects."""

from dataclasses import dataclass
from datetime import timedelta

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.notifications.inbox import UNREAD
from hub.domain.people import members
from hub.domain.people.standing import STANDING, Standing
from hub.plumbing.stores.postgres import acquire
from protocol.errors import Code, HubError, forbidden
from protocol.names import question_room, user_room


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a socket is given when it connects: its automatic rooms and what is unread."""

    rooms: tuple[str, ...]
    unread: int


async def arrive(d: Domain, user_id: str) -> Arrival:
    """Automatic rooms of a person (product.md, table of rooms), made anew at each connect."""
    async with acquire(d.pool) as conn:
        await members.ensure(d, conn, user_id)
        row = await conn.fetchrow(
            "UPDATE users u SET last_active_at = now() FROM notification_preferences p"  # noqa: S608 - constants
            " LEFT JOIN user_locations l ON l.user_id = p.user_id AND l.expires_at > $2"
            " LEFT JOIN inbox_heads h ON h.user_id = p.user_id"
            f" WHERE u.id = $1 AND u.deleted_at IS NULL AND p.user_id = u.id RETURNING {STANDING},"
            f" {UNREAD.format(now='$2')} AS unread",
            user_id,
            d.now(),
        )
        if row is None:
            raise forbidden("This person is erased.")
        questions = await conn.fetch(
            "SELECT id FROM questions WHERE user_id = $1 AND status = 'active'"
            " AND created_at > $2 UNION SELECT question_id FROM answers a JOIN questions q"
            " ON q.id = a.question_id WHERE a.user_id = $1 AND q.status = 'active'"
            " AND a.created_at > $2 UNION SELECT question_id FROM question_claims c"
            " JOIN questions q ON q.id = c.question_id WHERE c.user_id = $1"
            " AND c.released_at IS NULL AND q.status = 'active' AND c.claimed_at > $2 LIMIT 20",
            user_id,
            d.now() - timedelta(days=1),
        )
    rooms = [user_room(user_id), *Standing.of(row).rooms()]
    rooms += [question_room(question["id"]) for question in questions]
    return Arrival(tuple(dict.fromkeys(rooms)), await _unread(d, user_id, row["unread"] or 0))


async def _unread(d: Domain, user_id: str, here: int) -> int:
    """Where their inbox is; while that region is away nobody is kept out for it."""
    try:
        home = await homes.of(d, user_id)
        return here if home is d else (await inbox.unread_count(home, user_id)).count
    except HubError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        return 0
