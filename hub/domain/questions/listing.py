"""The list of open questions: filtered, 20 a page, by time, popularity or urgency (S2-119)."""

from typing import Final

from msgspec import structs

from hub.domain.context import Domain
from hub.domain.people.members import ASKER, asker_of
from hub.domain.questions import words
from hub.domain.questions.question import Question
from hub.domain.questions.words import NEWEST, Where
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection
from protocol.names import QUESTION_LISTS
from protocol.rest import questions as rest
from protocol.rest.paging import Pagination
from protocol.rest.questions import Questions, QuestionsQuery

PER_PAGE: Final = 20

POPULAR: Final = f"(q.answer_count + q.like_count) DESC, {NEWEST}"
"""SQL: an order that an index has (migration 0018)."""


LISTS: Final = Family("questions", 300, QUESTION_LISTS)
COUNTS: Final = Family("question_count", 300, QUESTION_LISTS)
"""C31. What is in a list changes with a question, what it says of answers and likes with time."""


async def page(d: Domain, query: QuestionsQuery) -> Questions:
    """One page and the number of all; a question's place stands in no list."""
    return await d.cache.read(LISTS, query.name, Questions, lambda lag: _page(d, query, lag))


async def _page(d: Domain, query: QuestionsQuery, may_lag: bool) -> Questions:
    async def number(may_lag: bool) -> int:
        return await d.reads.run(lambda conn: count(conn, _where(query)), may_lag=may_lag)

    async def read(conn: Connection) -> tuple[rest.Question, ...]:
        return await _rows(d, conn, query, _where(query))

    async def read_found(conn: Connection) -> tuple[tuple[rest.Question, ...], int]:
        ids = await words.newest(conn, _where(query), await words.wanted(conn, query.q or ""))
        where = Where()
        where.add("q.id = ANY({}::text[])", ids)
        return await _rows(d, conn, query, where), len(ids)

    if query.q is not None:
        rows, total = await d.reads.run(read_found, may_lag=may_lag)
    else:
        same = structs.replace(query, page=1, sort_by="created_at")
        total = await d.cache.read(COUNTS, same.name, int, number)
        rows = await d.reads.run(read, may_lag=may_lag)
    return Questions(questions=rows, pagination=pages(query.page, total))


def _where(query: QuestionsQuery) -> Where:
    """All that is asked for but words."""
    where = Where()
    if query.region is not None:
        where.add("q.region_code = {}", query.region)
    if query.category is not None:
        where.add("q.category = {}", query.category)
    if query.tags:
        where.add("q.hashtags && {}::text[]", query.tags)
    return where


async def count(conn: Connection, where: Where) -> int:
    total: int = await conn.fetchval(
        f"SELECT count(*) FROM {where.rows}",  # noqa: S608 - constants
        *where.values,
    )
    return total


async def _rows(
    d: Domain, conn: Connection, query: QuestionsQuery, where: Where
) -> tuple[rest.Question, ...]:
    urgent = query.sort_by == "urgent"
    select = _urgent_first(d, where, query.page) if urgent else _sorted(where, query)
    return await page_of(conn, select, where, query.page)


def _sorted(where: Where, query: QuestionsQuery) -> tuple[str, str]:
    order = POPULAR if query.sort_by == "popularity" else NEWEST
    return f"SELECT * FROM {where.rows}", order  # noqa: S608 - constants


def _urgent_first(d: Domain, where: Where, number: int) -> tuple[str, str]:
    """Those whose answer is awaited are few, and found by an index of their own."""
    now = where.put(d.now())
    waiting = f"q.urgency = 'urgent' AND q.first_answer_at IS NULL AND q.deadline_at > {now}"
    order = f"q.turn, {NEWEST}"
    return (
        f"SELECT q.*, 0 AS turn FROM {where.rows} WHERE {waiting} UNION ALL"  # noqa: S608 - constants
        f" (SELECT q.*, 1 AS turn FROM {where.rows} WHERE ({waiting}) IS NOT TRUE"
        f" ORDER BY {NEWEST} LIMIT {where.put(number * PER_PAGE)})",
        order,
    )


async def page_of(
    conn: Connection, select: tuple[str, str], where: Where, number: int
) -> tuple[rest.Question, ...]:
    """The questions of a page with their askers, of a SELECT and its order."""
    statement, order = select
    offset = where.put((number - 1) * PER_PAGE)
    rows = await conn.fetch(
        f"SELECT q.*, {ASKER} FROM (SELECT * FROM ({statement}) q ORDER BY {order}"  # noqa: S608 - constants
        f" LIMIT {PER_PAGE} OFFSET {offset}) q JOIN users u ON u.id = q.user_id ORDER BY {order}",
        *where.values,
    )
    return tuple(Question.of(row).shown_by(asker_of(row)) for row in rows)


def pages(number: int, total: int) -> Pagination:
    return Pagination(
        current_page=number,
        per_page=PER_PAGE,
        total=total,
        total_pages=-(-total // PER_PAGE),
    )
