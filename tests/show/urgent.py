"""The urgent question as a protocol: what it must show."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.places import geometry
from hub.domain.questions import waves
from hub.domain.rules.audience import PlannedWave
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.rest.questions import Ask
from tests import verbs
from tests.conftest import SECRETS
from tests.show import Item, Verdict
from tests.show.blackout import blackout
from tests.show.draining import drained
from tests.show.main_job import pytest_passes
from tests.show.stores import fresh_stores
from tests.stories.latency import percentile

PLACE = (33.489, 126.493)
ELSEWHERE = (33.253, 126.560)
RADIUS_M, PLACES, TIMES = 5000, 200, 20


@asynccontextmanager
async def installation() -> AsyncIterator[Domain]:
    async with fresh_stores() as stores:
        env = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url}
        life = Lifecycle()
        domain = await open_domain(life, Settings.load({"APP_ENV": "test", **env, **SECRETS}))
        policy = replace(domain.policy, waves=(PlannedWave(0, RADIUS_M),))
        yield replace(domain, policy=policy)
        await life.close()


async def populate(d: Domain, place: tuple[float, float], count: int, prefix: str) -> None:
    """So many people over the cells of a circle, every third of them a verified local."""
    cells = geometry.cells_touching(*place, RADIUS_M)
    async with d.pool.acquire() as conn, conn.transaction():
        await conn.execute(
            "INSERT INTO users (id, nickname, is_local_verified, last_active_at)"
            " SELECT $1 || n, 'p', n % 3 = 0, now() - n * interval '1 second'"
            " FROM generate_series(1, $2::int) n",
            prefix,
            count,
        )
        await conn.execute(
            "INSERT INTO notification_preferences (user_id, radius_m) SELECT id, 20000 FROM users"
            " WHERE id LIKE $1 || '%'",
            prefix,
        )
        await conn.execute(
            "INSERT INTO user_locations (user_id, cell, region_code, expires_at)"
            " SELECT $1 || n, ($3::bigint[])[1 + n % cardinality($3::bigint[])], 'jeju',"
            " now() + interval '1 day' FROM generate_series(1, $2::int) n",
            prefix,
            count,
            list(cells),
        )
    await d.pool.execute("ANALYZE")


async def ranked(d: Domain) -> list[float]:
    """Seconds to rank and write one wave, so many times, each of a question of its own."""
    took = []
    for number in range(TIMES + 2):
        form = Ask(title="약국?", content="연동", urgency="urgent", lat=PLACE[0], lng=PLACE[1])
        question = await verbs.ask(d, f"asker-{time.monotonic_ns()}", form)
        start = time.perf_counter()
        told = await waves.tell_audience(d, question.id, 1)
        if number > 1:  # the first two fill caches and plans
            took.append(time.perf_counter() - start)
        assert told == PLACES
    return took


async def ranking(count: int, limit_ms: float) -> Verdict:
    """Alone, and beside as many people outside the circle again."""
    async with installation() as d:
        await populate(d, PLACE, count, "in-")
        alone = percentile(await ranked(d), 0.95) * 1000
        await populate(d, ELSEWHERE, count, "out-")
        beside = percentile(await ranked(d), 0.95) * 1000
    figures = f"n={TIMES} p95={alone:.0f}ms, beside {count} people elsewhere {beside:.0f}ms"
    return Verdict(max(alone, beside) < limit_ms, figures)


async def ten_thousand() -> Verdict:
    return await ranking(10_000, 300)


async def hundred_thousand() -> Verdict:
    return await ranking(100_000, 1000)


def model() -> Verdict:
    return pytest_passes("tests/hub/domain/questions/test_urgent_model.py")


def rules() -> Verdict:
    return pytest_passes(
        "tests/hub/domain/questions", "--deselect=tests/hub/domain/questions/test_urgent_model.py"
    )


def explained() -> Verdict:
    return pytest_passes("tests/workers/test_explain.py")


def taken_back() -> Verdict:
    return pytest_passes("tests/workers/test_recalling.py")


def acknowledged() -> Verdict:
    return pytest_passes("tests/hub/sockets/test_acks.py")


ITEMS = [
    Item("1", "a model on a virtual clock, with crashes", model),
    Item("1b", "each rule of waves, claims and ends", rules),
    Item("3", "a provider dark for a minute: no push late, all others expired", blackout),
    Item("4", "explain: each reason that can occur, one verdict each", explained),
    Item("7", "what is over or read leaves every screen within a second", taken_back),
    Item("speed.1", "a wave of 200 out of 10,000", ten_thousand),
    Item("speed.2", "a wave of 200 out of 100,000", hundred_thousand),
    Item("speed.3", "1,000 acknowledgements are a few changes", acknowledged),
    Item("speed.4", "one worker's jobs a second, beside the job engine alone", drained),
]
