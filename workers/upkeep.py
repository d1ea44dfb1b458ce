"""What a worker sees to beside its jobs: figures of the queues, partitions, the engine's log."""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from hub.plumbing.stores.migrations import LOCK_ID, ensure_partitions
from hub.plumbing.stores.postgres import Pool, acquire
from hub.plumbing.telemetry.metrics import OUTBOX_UNPUBLISHED, QUEUE_DEPTH, UNKNOWN
from protocol.errors import HubError
from protocol.jobs import JOBS, QUEUES

EVERY_S: Final = 5.0
KEPT_DONE: Final = 100
KEPT_FAILED: Final = 50

log = structlog.get_logger(__name__)


async def measure(pool: Pool) -> None:
    """queue_depth and outbox_unpublished, until cancelled: each worker is asked for its own."""
    while True:
        try:
            await measure_once(pool)
        except HubError as error:
            log.debug("figures.wait", code=error.code)
        await asyncio.sleep(EVERY_S)


async def measure_once(pool: Pool) -> None:
    """What is due or runs, by queue; a job for later waits for its time, not for a worker."""
    async with acquire(pool) as conn:
        rows = await conn.fetch(
            "SELECT entrypoint, count(*) AS jobs FROM pgqueuer WHERE status = 'picked'"
            " OR status = 'queued' AND execute_after <= now() GROUP BY entrypoint"
        )
        late = await conn.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND available_at <= now()"
        )
    depths = dict.fromkeys((*QUEUES, UNKNOWN), 0)
    for row in rows:
        known = JOBS.get(row["entrypoint"])
        depths[known.queue if known else UNKNOWN] += row["jobs"]
    for queue, depth in depths.items():
        QUEUE_DEPTH.labels(queue=queue).set(depth)
    OUTBOX_UNPUBLISHED.set(late)


async def ensure_partitions_once(pool: Pool) -> None:
    """So that no row meets a month without its table, however long no worker was there."""
    async with acquire(pool) as conn, conn.transaction():
        # beside another worker, or a migration
        if await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK_ID):
            await ensure_partitions(conn, datetime.now(UTC))


async def prune(pool: Pool) -> None:
    """The engine's log grows by a row a try that has ended and is never shortened by itself.

    Keep the last 100 completed jobs, the last 50 failed ones, and those that still live.
    """
    async with acquire(pool) as conn:
        await conn.execute(
            "WITH kept AS ((SELECT job_id FROM pgqueuer_log WHERE status = 'successful'"
            "   ORDER BY id DESC LIMIT $1) UNION"
            "  (SELECT job_id FROM pgqueuer_log WHERE status IN ('failed', 'exception')"
            "   ORDER BY id DESC LIMIT $2) UNION (SELECT id FROM pgqueuer))"
            " DELETE FROM pgqueuer_log l WHERE NOT EXISTS"
            " (SELECT FROM kept WHERE kept.job_id = l.job_id)",
            KEPT_DONE,
            KEPT_FAILED,
        )
