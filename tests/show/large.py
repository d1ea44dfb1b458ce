"""100,000 questions and 1,000,000 notifications, and how long each list of them takes.

What is timed are the statements that the code sends, by the driver's clock, on the one connection
that they go over; caches are dropped between two reads.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from asyncpg.connection import LoggedQuery

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.places.geometry import cell_of, cells_around
from hub.domain.questions import listing, nearby, search
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.names import QUESTION_LISTS
from protocol.rest.questions import QuestionsQuery
from protocol.rest.search import SearchQuery
from tests.conftest import SECRETS
from tests.loading import load
from tests.show import Verdict
from tests.show.stores import fresh_stores
from tests.stories.latency import percentile

QUESTIONS, NOTIFICATIONS, PEOPLE = 100_000, 1_000_000, 20_000
TIMES, WITHIN_S = 40, 0.020
JEJU: Final = (33.4996, 126.5312)
WHOLE: Final = "SELECT count(*) FROM (SELECT * FROM questions q WHERE q.status = 'active') q"
"""It has to look at all, and is cached for 300 s."""

LOAD: Final = """
SET synchronous_commit = off;
SELECT setseed(0.5);
INSERT INTO users (id, nickname) SELECT 'u' || n, 'u' || n FROM generate_series(1, {people}) n;
INSERT INTO notification_preferences (user_id) SELECT id FROM users;
CREATE TABLE lexicon AS
    SELECT n, string_agg(chr(44032 + 28 * floor(power(random(), 3) * 399)::int
        + CASE WHEN random() < 0.6 THEN 0 ELSE floor(random() * 28)::int END), '') AS word
    FROM generate_series(1, 5000) n, generate_series(1, 1 + n % 4) GROUP BY n;
INSERT INTO questions (id, user_id, title, content, category, region_code, lat, lng, cell, hashtags,
        urgency, answer_count, like_count, created_at, updated_at)
    SELECT 'q' || n, 'u' || 1 + n % {people}, array_to_string(said[1:4], ' '),
        array_to_string(said[5:], ' '), (ARRAY['food', 'health', 'road'])[1 + n % 3],
        (ARRAY['jeju', 'busan'])[1 + n % 20 / 19], {lat}, {lng},
        (ARRAY[{cells}])[1 + n % {places}], ARRAY['tag' || n % 3000, said[5]],
        'normal', n % 7, n % 11, now() - ({questions} - n) * interval '20 seconds', now()
    FROM generate_series(1, {questions}) n, LATERAL (SELECT array_agg(word) AS said
        FROM (SELECT 1 + floor(power(random(), 4) * 4999 + 0 * n)::int AS n
            FROM generate_series(1, 20 + n % 30)) picked JOIN lexicon USING (n)) text;
INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, seq, read_at)
    SELECT gen_random_uuid(), now() - ({notifications} - n) * interval '2 seconds',
        'u' || 1 + n % {people}, 'answer_created', 'high', 'title', 'body', n,
        CASE WHEN n % 9 > 0 THEN now() END FROM generate_series(1, {notifications}) n;
INSERT INTO inbox_heads (user_id, seq, unread) SELECT id, {notifications}, 5 FROM users
"""
"""Texts of 5,000 words, the first of which are everywhere, as in a language."""


def _load(questions: int, notifications: int) -> str:
    cells = cells_around(cell_of(*JEJU), 40_000)
    return LOAD.format(
        questions=questions,
        notifications=notifications,
        people=PEOPLE,
        lat=JEJU[0],
        lng=JEJU[1],
        cells=",".join(map(str, cells)),
        places=len(cells),
    )


class Loaded:
    """The heart with one connection, and the statements that went over it."""

    def __init__(self, d: Domain) -> None:
        self.d = d
        self.sent: list[LoggedQuery] = []
        self.whole: list[float] = []
        self.big: frozenset[str] = frozenset()

    async def took(self, read: Callable[[Domain], Awaitable[object]]) -> float:
        """Seconds that the statements of one read take, from an empty cache."""
        await self.d.cache.invalidate([QUESTION_LISTS])
        self.sent.clear()
        await read(self.d)
        await asyncio.sleep(0)  # the driver tells of a statement a round of the loop later
        self.whole += [one.elapsed for one in self.sent if one.query == WHOLE]
        return sum(one.elapsed for one in self._reads())

    async def explained(self) -> tuple[float, list[str]]:
        """Of the last read: seconds that the server says its statements took, planned and run, and
        the big tables that one of them looks through from end to end."""
        seconds, walked = 0.0, []
        for one in tuple(self._reads()):
            text = await self.d.pool.fetchval(
                f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {one.query}", *one.args
            )
            told = json.loads(text)[0]
            seconds += (told["Planning Time"] + told["Execution Time"]) / 1000
            walked += [
                node["Relation Name"]
                for node in _nodes(told["Plan"])
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in self.big
            ]
        return seconds, walked

    def _reads(self) -> list[LoggedQuery]:
        """What is no reset of the connection, and not the number of all, told apart (WHOLE)."""
        return [
            one
            for one in self.sent
            if one.query.startswith(("SELECT", "WITH"))
            and " FROM " in one.query
            and one.query != WHOLE
        ]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


@asynccontextmanager
async def loaded(questions: int, notifications: int) -> AsyncIterator[Loaded]:
    async with fresh_stores() as stores:
        env = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url}
        settings = Settings.load({"APP_ENV": "test", **env, **SECRETS})
        one = settings.database.model_copy(update={"pool_min": 1, "pool_max": 1})
        life = Lifecycle()
        heart = Loaded(await open_domain(life, replace(settings, database=one)))
        async with heart.d.pool.acquire() as conn:
            await load(conn, _load(questions, notifications))
        rows = await heart.d.pool.fetch(
            "SELECT relname FROM pg_class WHERE reltuples > 10000 AND relkind = 'r'"
            " AND relname <> 'users'"  # joined as they come
        )
        heart.big = frozenset(row["relname"] for row in rows)
        async with heart.d.pool.acquire() as conn:
            conn.add_query_logger(heart.sent.append)
        try:
            yield heart
        finally:
            await life.close()


async def _words(d: Domain) -> dict[str, str]:
    """What is looked for: words of each frequency, and letters."""
    word = "SELECT word FROM lexicon WHERE length(word) = $1 AND n >= $2 ORDER BY n LIMIT 1"

    async def of(letters: int, rank: int) -> str:
        found: str = await d.pool.fetchval(word, letters, rank)
        return found

    often, seldom = await of(3, 1), await of(3, 3000)
    return {
        "a frequent word": often,
        "a word": await of(2, 300),
        "a rare word": seldom,
        "two words": f"{often} {await of(2, 1)}",
        "a frequent letter": await of(1, 1),
        "a letter": await of(1, 300),
        "a rare letter": await of(1, 4000),
        "nothing": "쀍쀍",
    }


Read = Callable[[Domain], Awaitable[object]]


def _reads(words: dict[str, str]) -> dict[str, Read]:
    def listed(**query: Any) -> Read:
        return lambda d: listing.page(d, QuestionsQuery(**query))

    def searched(**query: Any) -> Read:
        return lambda d: search.search(d, SearchQuery(**query))

    def box(unread_only: bool) -> Read:
        return lambda d: inbox.page(
            d, "u77", after=None, limit=20, unread_only=unread_only, kind=None
        )

    reads: dict[str, Read] = {
        "list": listed(),
        "list, page 50": listed(page=50),
        "list of a region": listed(region="busan"),
        "list of a hashtag": listed(hashtags="tag77"),
        "list by popularity": listed(sort_by="popularity"),
        "inbox": box(unread_only=False),
        "inbox, unread": box(unread_only=True),
        "unread": lambda d: inbox.unread_count(d, "u77"),
        "nearby": lambda d: nearby.questions(d, *JEJU, 2000),
    }
    for name, q in words.items():
        reads[f"list, {name}"] = listed(q=q)
        reads[f"search, {name}"] = searched(q=q)
    return reads


async def quick_reads(questions: int = QUESTIONS, notifications: int = NOTIFICATIONS) -> Verdict:
    async with loaded(questions, notifications) as heart:
        reads = _reads(await _words(heart.d))
        took, own, walks = dict[str, float](), dict[str, float](), list[str]()
        for name, read in reads.items():
            times = [await heart.took(read) for _ in range(TIMES + 2)][2:]
            took[name] = percentile(times, 0.95)
            own[name], walked = await heart.explained()
            walks += [f"{name} walks {table}" for table in walked]
    figures = ", ".join(f"{name} {s * 1000:.1f}" for name, s in took.items())
    worst = max(took, key=lambda name: took[name])
    whole = percentile(heart.whole, 0.95) * 1000
    text = (
        f"n={TIMES} p95 in ms: {figures}; worst {worst}, {own[worst] * 1000:.1f} by EXPLAIN (of all"
        f" {max(own.values()) * 1000:.1f}); the number of all {whole:.1f}"
    )
    return Verdict(took[worst] < WITHIN_S and not walks, "; ".join([text, *walks]))
