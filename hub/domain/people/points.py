"""Points: what a person has, and what brought it."""

from typing import Final

from hub.domain.context import Domain
from hub.plumbing.stores.postgres import acquire
from protocol.rest.points import Points, PointTransaction

PER_PAGE: Final = 20


async def page(d: Domain, user_id: str, after: int | None) -> Points:
    """Newest first, by keyset on (created_at, id); `after` is the `next` of the page before. One
    that is none of this person's gives nothing.
    """
    async with acquire(d.pool) as conn, conn.transaction(isolation="repeatable_read"):
        balance = await conn.fetchval(
            "SELECT coalesce(sum(amount), 0)::bigint FROM point_transactions WHERE user_id = $1",
            user_id,
        )
        rows = await conn.fetch(
            "SELECT id, amount, reason, answer_id, question_id, created_at FROM point_transactions"
            " WHERE user_id = $1 AND ($2::bigint IS NULL OR (created_at, id) <"
            "  (SELECT created_at, id FROM point_transactions WHERE user_id = $1 AND id = $2))"
            " ORDER BY created_at DESC, id DESC LIMIT $3",
            user_id,
            after,
            PER_PAGE,
        )
    items = tuple(PointTransaction(**dict(row)) for row in rows)
    following = items[-1].id if len(items) == PER_PAGE else None
    return Points(balance=balance, items=items, next=following)
