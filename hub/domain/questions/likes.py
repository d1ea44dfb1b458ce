"""Likes: one a person and question; with the answers they make a question popular (S2-121)."""

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.questions.question import locked
from hub.plumbing.stores.outbox import Change
from protocol.names import cached_question


async def like(d: Domain, change: Change, user_id: str, question_id: str) -> None:
    """Raises NOT_FOUND."""
    conn = change.conn
    await locked(conn, question_id)
    await members.ensure(d, conn, user_id)
    fresh = await conn.fetchval(
        "INSERT INTO question_likes (question_id, user_id, created_at) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING RETURNING true",
        question_id,
        user_id,
        d.now(),
    )
    if fresh:
        await _count(change, question_id, 1)


async def unlike(change: Change, user_id: str, question_id: str) -> None:
    """Raises NOT_FOUND."""
    await locked(change.conn, question_id)
    gone = await change.conn.fetchval(
        "DELETE FROM question_likes WHERE question_id = $1 AND user_id = $2 RETURNING true",
        question_id,
        user_id,
    )
    if gone:
        await _count(change, question_id, -1)


async def _count(change: Change, question_id: str, by: int) -> None:
    await change.conn.execute(
        "UPDATE questions SET like_count = like_count + $2 WHERE id = $1", question_id, by
    )
    change.invalidate(cached_question(question_id))
