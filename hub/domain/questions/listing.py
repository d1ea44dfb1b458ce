"""The list of open questions: filtered, 20 a page, newest or most urgent first (S2-119)."""

from typing import Final

from hub.domain.context import Domain
from hub.domain.people.members import author_of
from hub.domain.questions.question import Question
from hub.plumbing.stores.postgres import acquire
from protocol.rest.paging import Pagination
from protocol.rest.questions import Questions, QuestionsQuery

PER_PAGE: Final = 20

_ORDER: Final = {
    "created_at": "q.created_at DESC, q.id DESC",
    "urgent": "(q.urgency = 'urgent' AND q.deadline_at > $4 AND q.first_answer_at IS NULL) DESC,"
    " q.created_at DESC, q.id DESC",
}


async def page(d: Domain, query: QuestionsQuery) -> Questions:
    """One page and the number of all; a question's place stands in no list."""
    filters = (query.region, query.category, query.tags)
    where = (
        "q.status = 'active' AND ($1::text IS NULL OR q.region_code = $1)"
        " AND ($2::text IS NULL OR q.category = $2)"
        " AND (cardinality($3::text[]) = 0 OR q.hashtags && $3)"
    )
    async with acquire(d.pool) as conn, conn.transaction(isolation="repeatable_read"):
        total = await conn.fetchval(f"SELECT count(*) FROM questions q WHERE {where}", *filters)  # noqa: S608 - constants
        rows = await conn.fetch(
            f"SELECT q.*, u.nickname, u.is_local_verified FROM questions q"  # noqa: S608 - constants
            f" JOIN users u ON u.id = q.user_id WHERE {where} AND $4::timestamptz IS NOT NULL"
            f" ORDER BY {_ORDER[query.sort_by]} LIMIT $5 OFFSET $6",
            *filters,
            d.now(),
            PER_PAGE,
            (query.page - 1) * PER_PAGE,
        )
    pages = Pagination(
        current_page=query.page,
        per_page=PER_PAGE,
        total=total,
        total_pages=-(-total // PER_PAGE),
    )
    return Questions(
        items=tuple(Question.of(row).shown_by(author_of(row)) for row in rows), pagination=pages
    )
