"""Claims: who says that they are answering, and until when; k places (URGENT_CLAIMS) a question.

A claim is a courtesy: anybody may answer without one. Whoever writes here holds the question's row
(`questions.question.locked`), so there never are more than k that live.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.questions.question import Question
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection
from protocol.events import emit
from protocol.events.questions import QuestionClaimed
from protocol.names import question_room, user_room


@dataclass(frozen=True, slots=True)
class Claim:
    user_id: str
    lease_until: datetime


async def living(conn: Connection, question_id: str, now: datetime) -> list[Claim]:
    """Those neither released nor lapsed."""
    rows = await conn.fetch(
        "SELECT user_id, lease_until FROM question_claims WHERE question_id = $1"
        " AND released_at IS NULL AND lease_until > $2 ORDER BY user_id",
        question_id,
        now,
    )
    return [Claim(row["user_id"], row["lease_until"]) for row in rows]


async def all_taken(
    conn: Connection, question_id: str, user_id: str, places: int, now: datetime
) -> bool:
    """Whether others hold every place, as can be seen without waiting for whoever holds the
    question's row: of a thousand who claim at once, all but the first few are told so at once.
    """
    taken = await conn.fetchval(
        "SELECT count(*) FROM question_claims c JOIN questions q ON q.id = c.question_id"
        " WHERE c.question_id = $1 AND c.released_at IS NULL AND c.lease_until > $2"
        " AND c.user_id <> $3 AND q.user_id <> $3",
        question_id,
        now,
        user_id,
    )
    return int(taken) >= places


async def lapsed(conn: Connection, question_id: str, at: datetime) -> bool:
    """Whether somebody's lease has ended just then, neither renewed nor released."""
    found = await conn.fetchval(
        "SELECT EXISTS (SELECT FROM question_claims WHERE question_id = $1"
        " AND released_at IS NULL AND lease_until = $2)",
        question_id,
        at,
    )
    return bool(found)


async def take(conn: Connection, question_id: str, claim: Claim, now: datetime) -> None:
    """A new claim, or the same person's for longer."""
    await conn.execute(
        "INSERT INTO question_claims (question_id, user_id, claimed_at, lease_until)"
        " VALUES ($1, $2, $3, $4) ON CONFLICT (question_id, user_id) DO UPDATE"
        " SET lease_until = $4, released_at = NULL",
        question_id,
        claim.user_id,
        now,
        claim.lease_until,
    )


async def free(conn: Connection, question_id: str, user_id: str, now: datetime) -> bool:
    """Give a place back; whether there was one to give."""
    given = await conn.fetchval(
        "UPDATE question_claims SET released_at = $3 WHERE question_id = $1 AND user_id = $2"
        " AND released_at IS NULL AND lease_until > $3 RETURNING true",
        question_id,
        user_id,
        now,
    )
    return bool(given)


async def tell(d: Domain, change: Change, question: Question, living: Sequence[Claim]) -> None:
    """How many are answering now, and until when the last of them has said so."""
    message = QuestionClaimed(
        question_id=question.id,
        claims=len(living),
        lease_until=max((one.lease_until for one in living), default=None),
    )
    rooms = (question_room(question.id), user_room(question.user_id))
    event = emit("question:claimed", message, id=str(uuid4()), rooms=rooms)
    change.tell(question.id, event)
    await homes.tell(d, change, event, [question.user_id])
