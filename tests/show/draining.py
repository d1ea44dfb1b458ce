"""How fast one worker drains notification jobs, beside the job engine by itself, and what it keeps.

The people, their notifications and their jobs are written beforehand; the worker reads the rules'
facts of each, claims its delivery, sends it to a provider that answers at once, and writes down
what came of it. The job engine's own jobs do nothing at all.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from tests.conftest import SECRETS
from tests.forked import Forked, run_forked
from tests.show import Verdict, drain_worker
from tests.show.stores import Stores, fresh_stores

JOBS, RAW_JOBS = 100_000, 20_000
AT_LEAST, SHARE = 3000, 0.5
GROWTH_MIB = 8
"""What a worker may have grown by over the last half of the jobs."""

LOOK_S = 0.5
"""Counting the jobs that are left costs Postgres some of what is measured."""

SETTINGS = {
    "APP_ENV": "test",
    "LOG_LEVEL": "warn",
    "METRICS_PORT": "0",
    # the rate that providers are spared would be all that is measured
    "QUEUE_NOTIFICATION_RATE": "100000000",
    "QUEUE_NOTIFICATION_CONCURRENCY": "800",
    **SECRETS,
}

PEOPLE = (
    "INSERT INTO users (id, nickname, email) SELECT 'p' || n, 'p', 'p' || n || '@example.org'"
    " FROM generate_series(1, $1::int) n",
    "INSERT INTO notification_preferences (user_id) SELECT 'p' || n"
    " FROM generate_series(1, $1::int) n",
    "INSERT INTO inbox_heads (user_id, seq, unread) SELECT 'p' || n, 1, 1"
    " FROM generate_series(1, $1::int) n",
    "INSERT INTO devices (id, user_id, platform, token)"
    " SELECT gen_random_uuid(), 'p' || n, 'android', 't' || n FROM generate_series(1, $1::int) n",
    "INSERT INTO questions (id, user_id, title, content, region_code, urgency,"
    " created_at, updated_at)"
    " SELECT 'q', 'p' || $1::int, '약국?', '연동', 'jeju', 'normal', now(), now()",
    "INSERT INTO notifications (id, created_at, user_id, kind, priority, title, body, seq,"
    " question_id) SELECT gen_random_uuid(), now(), 'p' || n, 'answer_created', 'high', '새 답변',"
    " '여기요', 1, 'q' FROM generate_series(1, $1::int) n",
)
OURS = (
    "WITH made AS (INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, status,"
    " headers) SELECT 0, 'notification:normal', convert_to(json_build_object('notificationId', id,"
    " 'createdAt', created_at)::text, 'UTF8'), now(), 'queued', 'null' FROM notifications"
    " ORDER BY user_id LIMIT $1::int RETURNING id, entrypoint, priority)"
    " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
    " SELECT id, 'queued', entrypoint, priority FROM made"
)
RAW = (
    "WITH made AS (INSERT INTO pgqueuer (priority, entrypoint, execute_after, status, headers)"
    " SELECT 0, 'raw', now(), 'queued', 'null' FROM generate_series(1, $1::int)"
    " RETURNING id, entrypoint, priority)"
    " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
    " SELECT id, 'queued', entrypoint, priority FROM made"
)
LEFT = "SELECT count(*) FROM pgqueuer WHERE entrypoint = $1"


class Drain(NamedTuple):
    """`rss` of the process in MiB when so many shares of the jobs were done."""

    a_second: float
    rss: list[float]
    cpu_us: float


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def process(main: Callable[[], None], stores: Stores) -> AsyncIterator[Forked]:
    env = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url, **SETTINGS}
    one = await run_forked(main, env={"PATH": os.environ["PATH"], **env}, stderr=2)
    assert one.stdout is not None
    try:
        async with asyncio.timeout(30):
            await one.stdout.readline()
        yield one
    finally:
        one.terminate()
        try:
            await asyncio.wait_for(one.wait(), 15)
        except TimeoutError:
            one.kill()


async def drain(
    main: Callable[[], None], stores: Stores, entrypoint: str, enqueue: str, jobs: int
) -> Drain:
    """From the commit that brings all jobs until the last look that found one left."""
    conn = await asyncpg.connect(stores.database_url)
    async with process(main, stores) as worker:
        await conn.execute(enqueue, jobs)
        start, cpu = time.perf_counter(), cpu_s(worker.pid)
        rss: list[float] = []
        a_second = 0.0
        while left := await conn.fetchval(LEFT, entrypoint):
            a_second = (jobs - left) / (time.perf_counter() - start)
            if jobs - left >= jobs * (len(rss) + 1) / 10:
                rss.append(rss_mib(worker.pid))
            assert worker.returncode is None, "the worker has ended"
            await asyncio.sleep(LOOK_S)
        rss.append(rss_mib(worker.pid))
        cpu = cpu_s(worker.pid) - cpu
    await conn.close()
    return Drain(a_second, rss, cpu / jobs * 1e6)


async def drained(jobs: int = JOBS, raw_jobs: int = RAW_JOBS) -> Verdict:
    async with fresh_stores() as stores:
        conn = await asyncpg.connect(stores.database_url)
        for statement in PEOPLE:
            await conn.execute(statement, jobs)
        await conn.execute("ANALYZE")
        before = await drain(drain_worker.raw, stores, "raw", RAW, raw_jobs)
        ours = await drain(drain_worker.ours, stores, "notification:normal", OURS, jobs)
        sent = await conn.fetchval("SELECT count(*) FROM deliveries WHERE status = 'sent'")
        told = await conn.fetchval("SELECT count(*) FROM decisions WHERE verdict = 'told'")
        late = await conn.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        after = await drain(drain_worker.raw, stores, "raw", RAW, raw_jobs)
        await conn.close()
    raw = (before.a_second + after.a_second) / 2
    share, growth = ours.a_second / raw, ours.rss[-1] - ours.rss[len(ours.rss) // 2]
    passed = (
        sent == told == jobs
        and ours.a_second >= AT_LEAST
        and share >= SHARE
        and growth <= GROWTH_MIB
    )
    marks = [ours.rss[0], ours.rss[len(ours.rss) // 2], ours.rss[-1]]
    memory = " ".join(f"{mark:.0f}" for mark in marks)
    return Verdict(
        passed,
        f"{jobs} jobs, {ours.a_second:.0f}/s at {ours.cpu_us:.0f} µs CPU a job, the engine alone"
        f" {before.a_second:.0f} and {after.a_second:.0f}/s (ratio {share:.2f}), sent={sent}"
        f" told={told}, RSS {memory} MiB, events still to publish {late}",
    )
