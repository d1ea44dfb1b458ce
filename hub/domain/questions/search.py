"""Search: questions and hashtags that hold what is looked for, the most fitting first."""

from typing import Final

from hub.domain.context import Domain
from hub.domain.questions.listing import GRAMS, NEWEST, Where, count, key_of, page_of, pages, wanted
from hub.plumbing.stores.cache import Family
from hub.plumbing.stores.postgres import Connection
from protocol.events.places import TagCount
from protocol.names import QUESTION_LISTS
from protocol.rest.questions import Question
from protocol.rest.search import Found, SearchQuery

MOST_TAGS: Final = 20
MOST_RANKED: Final = 100
"""So many of the newest that were found are looked into; the older ones follow by time."""


FOUND: Final = Family("search", 600, QUESTION_LISTS)


async def search(d: Domain, query: SearchQuery) -> Found:
    """One page of questions, and the hashtags that hold the words, most used first."""
    return await d.cache.read(FOUND, key_of(query), Found, lambda lag: _search(d, query, lag))


async def _search(d: Domain, query: SearchQuery, may_lag: bool) -> Found:
    async def read(conn: Connection) -> Found:
        questions: tuple[Question, ...] = ()
        tags: tuple[TagCount, ...] = ()
        total = 0
        grams = await wanted(conn, query.q.split())
        if query.kind != "tags":
            questions, total = await _questions(conn, query, grams)
        if query.kind != "questions":
            tags = await _tags(conn, query, grams)
        return Found(questions=questions, tags=tags, pagination=pages(query.page, total))

    return await d.reads.run(read, may_lag=may_lag)


async def _questions(
    conn: Connection, query: SearchQuery, grams: list[str]
) -> tuple[tuple[Question, ...], int]:
    """Those whose title holds the words as they were typed, then those whose text does, then those
    that hold them somehow; the newest first. And the number of all.
    """
    where = _where(query, GRAMS, grams)
    total = await count(conn, where)
    typed, most = where.put(query.q), where.put(MOST_RANKED)
    holds = "(strpos(search_form({}), search_form({})) > 0)::int"
    fits = f"2 * {holds.format('q.title', typed)} + {holds.format('q.content', typed)}"
    select = (
        f"SELECT q.*, CASE WHEN q.place <= {most} THEN {fits} ELSE 0 END AS fits FROM"  # noqa: S608 - constants
        f" (SELECT q.*, row_number() OVER (ORDER BY {NEWEST}) AS place FROM {where.rows}) q"
    )
    return await page_of(conn, (select, f"q.fits DESC, {NEWEST}"), where, query.page), total


async def _tags(conn: Connection, query: SearchQuery, grams: list[str]) -> tuple[TagCount, ...]:
    where = _where(query, "search_grams(q.hashtags) @> {grams}::text[]", grams)
    typed = where.put(query.q)
    rows = await conn.fetch(
        f"SELECT tag, count(*)::int AS used FROM {where.rows},"  # noqa: S608 - constants
        f" unnest(q.hashtags) AS tag WHERE strpos(search_form(tag), search_form({typed})) > 0"
        f" GROUP BY tag ORDER BY used DESC, tag LIMIT {MOST_TAGS}",
        *where.values,
    )
    return tuple(TagCount(tag=row["tag"], count=row["used"]) for row in rows)


def _where(query: SearchQuery, holds: str, grams: list[str]) -> Where:
    where = Where()
    if query.region is not None:
        where.add("q.region_code = {}", query.region)
    where.add_words(holds, grams)
    return where
