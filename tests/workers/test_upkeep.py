"""What a worker sees to beside its jobs, and how long a job waits between its tries."""

import asyncio
from datetime import UTC, datetime, timedelta

from hub.domain.context import Domain
from hub.plumbing.settings.product import Jobs
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox import enqueue, run_sweeper
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.jobs import delivery_job, unseen_check
from workers.ending import retry_s
from workers.upkeep import ensure_partitions_once, measure_once, prune

ID = "7b0c1c7e-4a5a-4d52-9d3c-0a8f6f3f8a01"


def depth(queue: str) -> float | None:
    return REGISTRY.get_sample_value("queue_depth", {"queue": queue})


async def test_queue_depth_counts_what_is_due_or_runs(domain: Domain) -> None:
    now = datetime.now(UTC)
    async with domain.pool.acquire() as conn, conn.transaction():
        await enqueue(
            conn,
            [
                delivery_job("push", ID, now, urgent=True),
                delivery_job("push", ID, now, urgent=False),
                delivery_job("email", ID, now, urgent=False),
                unseen_check(ID, now, delay_s=600, urgent=False),
            ],
        )
    await domain.pool.execute("UPDATE pgqueuer SET status = 'failed' WHERE entrypoint = 'email'")
    await domain.pool.execute(
        "INSERT INTO outbox (kind, key, payload, available_at) VALUES ('emit', 'k', 'x', now())"
    )
    await measure_once(domain.pool)
    assert depth("notification") == 2
    assert depth("email") == 0
    assert depth("follow-up") == 0
    assert REGISTRY.get_sample_value("outbox_unpublished") == 1


async def test_a_sweeper_ends_when_it_is_told_to_even_if_its_connection_is_lost(
    domain: Domain,
) -> None:
    sweeper = asyncio.create_task(run_sweeper(domain.outbox, domain.pool, poll_s=0.05))
    listening = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    async with asyncio.timeout(5):
        while not await domain.pool.fetchval(listening):
            await asyncio.sleep(0.02)
    domain.pool.terminate()
    sweeper.cancel()
    done, _ = await asyncio.wait([sweeper], timeout=2)
    assert done
    assert sweeper.cancelled()


async def test_partitions_that_are_missing_are_made(domain: Domain) -> None:
    month = datetime.now(UTC).replace(day=1) + timedelta(days=40)
    name = f"decisions_{month:%Y_%m}"
    await domain.pool.execute(f"DROP TABLE {name}")
    await ensure_partitions_once(domain.pool)
    assert await domain.pool.fetchval("SELECT to_regclass($1)", name) is not None


async def test_the_log_of_jobs_keeps_the_last_and_the_living(domain: Domain) -> None:
    now = datetime.now(UTC)
    async with domain.pool.acquire() as conn, conn.transaction():
        await enqueue(conn, [delivery_job("email", ID, now, urgent=False)])
        await conn.execute(
            "INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
            " SELECT id, 'queued'::pgqueuer_status, 'email', 0 FROM pgqueuer UNION ALL"
            " SELECT 1000 + n, s::pgqueuer_status, 'email', 0 FROM generate_series(1, 300) n,"
            " unnest(CASE WHEN n <= 200 THEN ARRAY['queued', 'successful']"
            "        ELSE ARRAY['queued', 'failed'] END) s"
        )
    await prune(domain.pool)
    kept = await domain.pool.fetch(
        "SELECT job_id, count(*) AS n FROM pgqueuer_log GROUP BY job_id ORDER BY job_id"
    )
    ids = [row["job_id"] for row in kept if row["job_id"] > 1000]
    assert ids == [*range(1101, 1201), *range(1251, 1301)]
    assert len(kept) == 151


def test_each_wait_is_twice_the_last_up_to_the_longest(settings: Settings) -> None:
    figures: Jobs = settings.jobs
    assert (figures.retry_delay_ms, figures.retry_max_delay_ms) == (50, 200)
    for number, whole in [(1, 0.05), (2, 0.1), (3, 0.2), (4, 0.2), (10_000, 0.2)]:
        waits = {retry_s(figures, number) for _ in range(50)}
        assert whole / 2 <= min(waits) <= max(waits) <= whole
        assert len(waits) > 1, "without jitter all come back at once"
