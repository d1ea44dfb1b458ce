"""Thousands of questions and notifications: every list finds its rows by an index.

What is explained are the statements that the code sends, with the values that it sends.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
import pytest
from pydantic import SecretStr

from hub.domain import statistics
from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.people import points
from hub.domain.places.geometry import cell_of
from hub.domain.questions import answering, listing, nearby, search
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.rest.questions import QuestionsQuery
from protocol.rest.search import SearchQuery
from tests.databases import fresh_database
from tests.loading import load

JEJU: Final = (33.4996, 126.5312)
WHOLE: Final = "SELECT count(*) FROM (SELECT * FROM questions q WHERE q.status = 'active') q"
"""The number of all has to look at all; it is cached for 300 s."""

READ: Final = ("SELECT", "WITH")

LOAD: Final = """
INSERT INTO users (id, nickname, region_code, is_local_verified)
    SELECT 'u' || n, 'u' || n, 'jeju', n % 2 = 0 FROM generate_series(1, 3000) n;
INSERT INTO notification_preferences (user_id) SELECT id FROM users;
INSERT INTO questions (id, user_id, title, content, category, region_code, lat, lng, cell, hashtags,
        urgency, deadline_at, answer_count, like_count, created_at, updated_at)
    SELECT 'q' || n, 'u' || 1 + n % 2000,
        (ARRAY['감귤 농장', '버스 시간', '비 오는 날'])[1 + n % 3] || ' ' || md5(n::text),
        CASE WHEN n % 500 = 0 THEN '문 연 약국을 찾아요' ELSE '어디가 좋을까요' END,
        (ARRAY['food', 'health', 'road'])[1 + n % 3], (ARRAY['jeju', 'busan'])[1 + n % 20 / 19],
        33.2 + n % 400 * 0.001, 126.2 + n % 700 * 0.001, $1 + n % 3000, ARRAY['tag' || n % 300],
        CASE WHEN n % 100 = 0 THEN 'urgent' ELSE 'normal' END,
        CASE WHEN n % 100 = 0 THEN now() + interval '5 minutes' - n * interval '1 minute' END,
        n % 7, n % 11, now() - n * interval '1 minute', now() FROM generate_series(1, 6000) n;
INSERT INTO user_locations (user_id, cell, region_code, expires_at)
    SELECT id, $1 + substr(id, 2)::int, 'jeju', now() + interval '1 hour' FROM users;
INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, seq, read_at)
    SELECT gen_random_uuid(), now() - n * interval '1 second', 'u' || n % 200, 'answer_created',
        'high', 't', 'b', n, CASE WHEN n % 10 > 0 THEN now() END FROM generate_series(1, 20000) n;
INSERT INTO inbox_heads (user_id, seq, unread) SELECT id, 20000, 10 FROM users;
INSERT INTO answers (id, question_id, user_id, content, created_at, updated_at)
    SELECT 'a' || n, 'q' || 1 + n % 1000, 'u' || 1 + n % 2000, 'c', now() - n * interval '1 second',
        now() FROM generate_series(1, 5000) n;
INSERT INTO point_transactions (user_id, amount, reason, answer_id)
    SELECT 'u' || 1 + n % 500, 10, 'answer_accepted', 'a' || n FROM generate_series(1, 5000) n
"""


@dataclass
class Loaded:
    """The heart on a full database, with one connection, and what goes over it."""

    d: Domain
    big: frozenset[str] = frozenset()
    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    async def plans(self, read: Callable[[Domain], Awaitable[object]]) -> list[Any]:
        """How each statement is carried out that the read sends, by the nodes of its plan."""
        self.sent.clear()
        await read(self.d)
        await asyncio.sleep(0)  # the driver tells of a statement a round of the loop later
        sent = [one for one in self.sent if one[0].startswith(READ) and " FROM " in one[0]]
        found = []
        for statement, values in sent:
            if statement == WHOLE:
                continue
            text = await self.d.pool.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
            found.append(list(nodes(json.loads(text)[0]["Plan"])))
        assert found
        return found


def nodes(plan: Any) -> Any:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.fixture(scope="module")
async def loaded(
    settings_of_all: Settings, postgres_url: str, valkey_url: str
) -> AsyncIterator[Loaded]:
    async with fresh_database(postgres_url) as url:
        owner = await asyncpg.connect(url)
        name = await owner.fetchval("SELECT current_database()")
        # as on a disk without moving parts: else what is small here is walked
        await owner.execute(f"ALTER DATABASE {name} SET random_page_cost = 1.1")
        await owner.close()
        changes = {"url": SecretStr(url), "pool_min": 1, "pool_max": 1}
        database = settings_of_all.database.model_copy(update=changes)
        life = Lifecycle()
        heart = Loaded(await open_domain(life, replace(settings_of_all, database=database)))
        async with heart.d.pool.acquire() as conn:
            await load(conn, LOAD.replace("$1", str(cell_of(*JEJU))))
        rows = await heart.d.pool.fetch(
            "SELECT relname FROM pg_class WHERE reltuples > 2500 AND relkind = 'r'"
            " AND relname NOT IN ('users', 'notification_preferences')"  # joined as they come
        )
        heart.big = frozenset(row["relname"] for row in rows)
        async with heart.d.pool.acquire() as conn:
            conn.add_query_logger(lambda done: heart.sent.append((done.query, tuple(done.args))))
        yield heart
        await life.close()


def listed(**query: Any) -> Callable[[Domain], Awaitable[object]]:
    return lambda d: listing.page(d, QuestionsQuery(**query))


READS: Final[dict[str, tuple[Callable[[Domain], Awaitable[object]], str]]] = {
    "newest": (listed(), "questions_newest"),
    "newest, page 9": (listed(page=9), "questions_newest"),
    "region": (listed(region="busan"), "questions_region_newest"),
    "region and category": (listed(region="busan", category="food"), "questions_region"),
    "hashtags": (listed(hashtags="tag7,tag8"), "questions_hashtags"),
    "words": (listed(q="약국"), "questions_words"),
    "frequent words": (listed(q="감귤 농장"), "questions_newest"),
    "a letter": (listed(q="농"), "questions_newest"),
    "words of a region": (listed(q="감귤", region="busan"), "questions_region_newest"),
    "popular": (listed(sort_by="popularity"), "questions_popular"),
    "urgent": (listed(sort_by="urgent"), "questions_urgent_waiting"),
    "search": (lambda d: search.search(d, SearchQuery(q="문연약국")), "questions_words"),
    "search, frequent": (lambda d: search.search(d, SearchQuery(q="농장")), "questions_newest"),
    "search, hashtags": (
        lambda d: search.search(d, SearchQuery(q="tag77", kind="tags")),
        "questions_tag_words",
    ),
    "trending": (lambda d: statistics.trending(d, "jeju"), "questions_recent"),
    "nearby": (lambda d: nearby.questions(d, *JEJU, 2000), ""),
    "nearby, answerers": (lambda d: nearby.answerers(d, *JEJU, 2000), "user_locations_cell"),
    "answers": (lambda d: answering.answers(d, "q7", None, 20), "answers_question"),
    "points": (lambda d: points.page(d, "u7", None), "point_transactions_user"),
    "inbox": (
        lambda d: inbox.page(d, "u7", after=None, limit=20, unread_only=False, kind=None),
        "",
    ),
    "inbox, unread": (
        lambda d: inbox.page(d, "u7", after=None, limit=20, unread_only=True, kind=None),
        "",
    ),
    "sync": (lambda d: inbox.sync(d, "u7", 19_000, 100), ""),
    "unread": (lambda d: inbox.unread_count(d, "u7"), ""),
}
"""What is read, and the index that must be in it (of partitions the name differs a month)."""


@pytest.mark.parametrize("name", READS)
async def test_it_is_found_by_an_index(loaded: Loaded, name: str) -> None:
    read, index = READS[name]
    plans = await loaded.plans(read)
    for plan in plans:
        for node in plan:
            walked = node["Node Type"] == "Seq Scan" and node["Relation Name"] in loaded.big
            assert not walked, plan
    used = {node.get("Index Name") for plan in plans for node in plan}
    assert not index or index in used, used
