"""Questions that hold words: found by the index where these are rare, among the newest where they
are frequent, and never by looking into more than a bounded number of texts.

So what is found are the newest MOST_FOUND. Words that stand in more than MOST_BY_INDEX questions
are looked for among the newest MOST_WALKED alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hub.plumbing.stores.postgres import Connection
from protocol.events.places import TagCount

NEWEST: Final = "q.created_at DESC, q.id DESC"
"""SQL: an order that an index has (migration 0018)."""

MOST_FOUND: Final = 200
MOST_BY_INDEX: Final = 2_000
MOST_WALKED: Final = 5_000
SAMPLE: Final = 500
OFTEN: Final = 20
"""So many of the newest SAMPLE hold the words: then MOST_FOUND are among MOST_WALKED, and are found
there sooner than by the index, which would give more than it may."""

MOST_TAGS: Final = 20
MOST_TAGGED: Final = 1_000
TAG_SAMPLE: Final = 500
OFTEN_TAGGED: Final = 20


class Where:
    """The conditions of a list as they are asked for: an index is found for what is there."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._all = ["q.status = 'active'"]

    def add(self, condition: str, value: object) -> None:
        """`{}` in the condition stands for the value."""
        self._all.append(condition.format(self.put(value)))

    def put(self, value: object) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    @property
    def rows(self) -> str:
        """SQL: the questions, as `q`."""
        return f"(SELECT * FROM questions q WHERE {' AND '.join(self._all)}) q"  # noqa: S608 - constants

    def before(self, at: datetime, id: str) -> None:
        """What comes after that one in the order NEWEST."""
        self._all.append(f"(q.created_at, q.id) < ({self.put(at)}, {self.put(id)})")

    def fenced(self, condition: str) -> str:
        """SQL: those with one condition more that the planner shall ask an index for. To walk an
        order and look into every text on the way costs more than it believes."""
        conditions = " AND ".join([*self._all, condition])
        return f"(SELECT * FROM questions q WHERE {conditions} OFFSET 0) q"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Wanted:
    """`forms`: the words as texts hold them (migration 0018), `grams`: as the index does; `whole`:
    all of it in one, as it was typed."""

    forms: Sequence[str]
    grams: Sequence[str]
    whole: str

    def held(self, where: Where) -> str:
        """SQL: all of them are in title or content."""
        return " AND ".join(f"strpos(q.words, {where.put(form)}) > 0" for form in self.forms)


async def wanted(conn: Connection, text: str) -> Wanted:
    """Made where the index was made."""
    row = await conn.fetchrow(
        "SELECT ARRAY(SELECT search_form(word) FROM unnest($1::text[]) AS word) AS forms,"
        " wanted_grams($1::text[]) AS grams, search_form($2) AS whole",
        text.split(),
        text,
    )
    assert row is not None
    return Wanted(**row)


async def newest(conn: Connection, where: Where, words: Wanted) -> list[str]:
    """Ids of the newest MOST_FOUND that hold all the words, newest first; `where` is used up."""
    held = words.held(where)
    sample = await conn.fetchrow(
        f"WITH newest AS (SELECT q.id, q.created_at, {held} AS held FROM {where.rows}"  # noqa: S608 - constants
        f" ORDER BY {NEWEST} LIMIT {SAMPLE})"
        f" SELECT ARRAY(SELECT q.id FROM newest q WHERE held ORDER BY {NEWEST}) AS ids, last.*"
        f" FROM (VALUES (1)) one LEFT JOIN (SELECT q.created_at, q.id FROM newest q"
        f" ORDER BY {NEWEST} OFFSET {SAMPLE - 1}) last ON true",
        *where.values,
    )
    assert sample is not None
    ids: list[str] = sample["ids"]
    if sample["id"] is None or len(ids) >= MOST_FOUND:  # there are no others, or none is wanted
        return ids[:MOST_FOUND]
    if len(ids) < OFTEN:
        found = await _by_index(conn, where, words, held)
        if found is not None:
            return found
    where.before(sample["created_at"], sample["id"])
    rows = await conn.fetch(
        f"SELECT q.id FROM (SELECT q.id, q.created_at, q.words FROM {where.rows}"  # noqa: S608 - constants
        f" ORDER BY {NEWEST} LIMIT {MOST_WALKED - SAMPLE}) q WHERE {held} ORDER BY {NEWEST}"
        f" LIMIT {MOST_FOUND - len(ids)}",
        *where.values,
    )
    return [*ids, *(row["id"] for row in rows)]


async def _by_index(conn: Connection, where: Where, words: Wanted, held: str) -> list[str] | None:
    """None: too many have all the pairs, and which of them are the newest it does not know."""
    pairs = f"search_grams(q.title || ' ' || q.content) @> ${len(where.values) + 1}::text[]"
    row = await conn.fetchrow(
        "WITH few AS MATERIALIZED"  # noqa: S608 - constants
        f" (SELECT q.id, q.created_at, {held} AS held FROM {where.fenced(pairs)}"
        f" LIMIT {MOST_BY_INDEX + 1})"
        " SELECT (SELECT count(*) FROM few) AS every,"
        f" ARRAY(SELECT q.id FROM few q WHERE held ORDER BY {NEWEST} LIMIT {MOST_FOUND}) AS ids",
        *where.values,
        words.grams,
    )
    assert row is not None
    ids: list[str] = row["ids"]
    return ids if row["every"] <= MOST_BY_INDEX else None


async def tags(conn: Connection, where: Where, words: Wanted) -> tuple[TagCount, ...]:
    """The hashtags that hold the words as they were typed, most used first. `where` is used up.

    They are counted among the newest TAG_SAMPLE where these have them often, else among MOST_TAGGED
    of all that have such a hashtag.
    """
    whole = where.put(words.whole)
    sample = f"(SELECT q.hashtags FROM {where.rows} ORDER BY {NEWEST} LIMIT {TAG_SAMPLE}) q"  # noqa: S608 - constants
    found = await _counted(conn, sample, whole, where.values)
    if sum(one.count for one in found) >= OFTEN_TAGGED:
        return found
    pairs = f"search_grams(q.hashtags) @> ${len(where.values) + 1}::text[]"
    some = f"(SELECT q.hashtags FROM {where.fenced(pairs)} LIMIT {MOST_TAGGED}) q"  # noqa: S608 - constants
    return await _counted(conn, some, whole, [*where.values, words.grams])


async def _counted(
    conn: Connection, rows: str, whole: str, values: Sequence[object]
) -> tuple[TagCount, ...]:
    """Each tag is looked into once."""
    found = await conn.fetch(
        "SELECT tag, used FROM (SELECT tag, count(*)::int AS used"  # noqa: S608 - constants
        f" FROM {rows}, unnest(q.hashtags) AS tag GROUP BY tag OFFSET 0) tags"
        f" WHERE strpos(search_form(tag), {whole}) > 0 ORDER BY used DESC, tag LIMIT {MOST_TAGS}",
        *values,
    )
    return tuple(TagCount(tag=row["tag"], count=row["used"]) for row in found)
