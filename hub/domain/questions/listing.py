"""The list of open questions: filtered, 20 a page, by time, popularity or urgency (S2-119)."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct, structs

from hub.domain.context import Domain
from hub.domain.people.members import ASKER, asker_of
from hub.domain.questions.question import Question
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection
from protocol.names import QUESTION_LISTS
from protocol.rest import questions as rest
from protocol.rest.paging import Pagination
from protocol.rest.questions import Questions, QuestionsQuery

PER_PAGE: Final = 20

NEWEST: Final = "q.created_at DESC, q.id DESC"
POPULAR: Final = f"(q.answer_count + q.like_count) DESC, {NEWEST}"
"""SQL: orders that an index has (migration 0018)."""

GRAMS: Final = "search_grams(q.title || ' ' || q.content) @> {grams}::text[]"
"""SQL: every word of a search stands in title or content, as the index keeps them."""


class Where:
    """The conditions of a list as they are asked for: an index is found for what is there."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._all = ["q.status = 'active'"]
        self._fence = ""

    def add(self, condition: str, value: object) -> None:
        """`{}` in the condition stands for the value."""
        self._all.append(condition.format(self.put(value)))

    def add_words(self, holds: str, grams: Sequence[str]) -> None:
        """Only the index of words is asked for them. To walk an order and look into every text on
        the way costs more than the planner believes."""
        self.add(holds.format(grams="{}"), grams)
        self._fence = " OFFSET 0"

    def put(self, value: object) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    @property
    def rows(self) -> str:
        """SQL: the questions, as `q`."""
        return f"(SELECT * FROM questions q WHERE {' AND '.join(self._all)}{self._fence}) q"  # noqa: S608 - constants


LISTS: Final = Family("questions", 300, QUESTION_LISTS)
COUNTS: Final = Family("question_count", 300, QUESTION_LISTS)
"""C31. What is in a list changes with a question, what it says of answers and likes with time."""


async def page(d: Domain, query: QuestionsQuery) -> Questions:
    """One page and the number of all; a question's place stands in no list."""
    return await d.cache.read(LISTS, key_of(query), Questions, lambda lag: _page(d, query, lag))


def key_of(query: Struct) -> str:
    """A query as the name of what it asks for (S2-094)."""
    return urlsafe_b64encode(msgspec.json.encode(query)).decode()


async def _page(d: Domain, query: QuestionsQuery, may_lag: bool) -> Questions:
    async def number(may_lag: bool) -> int:
        async def read(conn: Connection) -> int:
            return await count(conn, await _where(conn, query))

        return await d.reads.run(read, may_lag=may_lag)

    async def read(conn: Connection) -> tuple[rest.Question, ...]:
        where = await _where(conn, query)
        urgent = query.sort_by == "urgent"
        select = _urgent_first(d, where, query.page) if urgent else _sorted(where, query)
        return await page_of(conn, select, where, query.page)

    same = structs.replace(query, page=1, sort_by="created_at")
    total = await d.cache.read(COUNTS, key_of(same), int, number)
    rows = await d.reads.run(read, may_lag=may_lag)
    return Questions(questions=rows, pagination=pages(query.page, total))


async def _where(conn: Connection, query: QuestionsQuery) -> Where:
    where = Where()
    if query.region is not None:
        where.add("q.region_code = {}", query.region)
    if query.category is not None:
        where.add("q.category = {}", query.category)
    if query.tags:
        where.add("q.hashtags && {}::text[]", query.tags)
    if query.q is not None:
        where.add_words(GRAMS, await wanted(conn, query.q.split()))
    return where


async def wanted(conn: Connection, words: Sequence[str]) -> list[str]:
    """What a text must hold that has these words; made where the index was made."""
    grams: list[str] = await conn.fetchval("SELECT wanted_grams($1::text[])", words)
    return grams


async def count(conn: Connection, where: Where) -> int:
    total: int = await conn.fetchval(
        f"SELECT count(*) FROM {where.rows}",  # noqa: S608 - constants
        *where.values,
    )
    return total


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
