"""Search: questions and hashtags that hold what is looked for, the most fitting first."""

from typing import Final

from hub.domain.context import Domain
from hub.domain.questions import words
from hub.domain.questions.listing import page_of, pages
from hub.domain.questions.words import NEWEST, Wanted, Where
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection
from protocol.events.places import TagCount
from protocol.names import QUESTION_LISTS
from protocol.rest.questions import Question
from protocol.rest.search import Found, SearchQuery

FOUND: Final = Family("search", 600, QUESTION_LISTS)


async def search(d: Domain, query: SearchQuery) -> Found:
    """One page of questions, and the hashtags that hold the words, most used first."""
    return await d.cache.read(FOUND, query.name, Found, lambda lag: _search(d, query, lag))


async def _search(d: Domain, query: SearchQuery, may_lag: bool) -> Found:
    async def read(conn: Connection) -> Found:
        questions: tuple[Question, ...] = ()
        tags: tuple[TagCount, ...] = ()
        total = 0
        looked_for = await words.wanted(conn, query.q)
        if query.kind != "tags":
            questions, total = await _questions(conn, query, looked_for)
        if query.kind != "questions":
            tags = await words.tags(conn, _where(query), looked_for)
        return Found(questions=questions, tags=tags, pagination=pages(query.page, total))

    return await d.reads.run(read, may_lag=may_lag)


async def _questions(
    conn: Connection, query: SearchQuery, looked_for: Wanted
) -> tuple[tuple[Question, ...], int]:
    """Those whose title holds the words as they were typed, then those whose text does, then those
    that hold them somehow; the newest first. And the number of all.
    """
    where = Where()
    ids = await words.newest(conn, _where(query), looked_for)
    where.add("q.id = ANY({}::text[])", ids)
    whole = where.put(looked_for.whole)
    holds = "(strpos(split_part(q.words, ' ', {}), {}) > 0)::int"
    fits = f"2 * {holds.format(1, whole)} + {holds.format(2, whole)}"
    select = f"SELECT q.*, {fits} AS fits FROM {where.rows}"  # noqa: S608 - constants
    return await page_of(conn, (select, f"q.fits DESC, {NEWEST}"), where, query.page), len(ids)


def _where(query: SearchQuery) -> Where:
    where = Where()
    if query.region is not None:
        where.add("q.region_code = {}", query.region)
    return where
