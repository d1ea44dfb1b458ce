"""The queues for who runs the hub: how much waits, what is held, and how it is put back.

A held job (a dead letter) stays in the job engine's table until it is put back or deleted; a domain
event that failed to the end keeps its error in inbox_events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hub.domain.context import Domain
from hub.plumbing.stores.postgres import acquire
from protocol.errors import not_found
from protocol.jobs import JOBS, QUEUES, event_job

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Depth:
    """Jobs of one queue: `due` wait for a worker, `later` for their time."""

    queue: str
    due: int
    later: int
    running: int
    held: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A held job. `error` is the code or the kind of what ended its last try."""

    id: int
    queue: str
    job: str
    created_at: datetime
    held_at: datetime
    tries: int
    error: str | None


async def depths(d: Domain) -> list[Depth]:
    """Every queue, in the order of protocol/jobs.py."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT entrypoint,"
            " count(*) FILTER (WHERE status = 'queued' AND execute_after <= now())::int AS due,"
            " count(*) FILTER (WHERE status = 'queued' AND execute_after > now())::int AS later,"
            " count(*) FILTER (WHERE status = 'picked')::int AS running,"
            " count(*) FILTER (WHERE status = 'failed')::int AS held"
            " FROM pgqueuer GROUP BY entrypoint"
        )
    found = []
    for queue in QUEUES:
        of = [row for row in rows if row["entrypoint"] in _entries(queue)]
        sums = (sum(row[name] for row in of) for name in ("due", "later", "running", "held"))
        found.append(Depth(queue, *sums))
    return found


async def done_a_minute(d: Domain) -> dict[str, int]:
    """Jobs that ended well within the last minute, by queue."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT entrypoint, count(*)::int AS done FROM pgqueuer_log"
            " WHERE created > now() - interval '1 minute' AND status = 'successful'"
            " GROUP BY entrypoint"
        )
    done = {row["entrypoint"]: row["done"] for row in rows}
    return {queue: sum(done.get(name, 0) for name in _entries(queue)) for queue in QUEUES}


async def dead_letters(
    d: Domain, queue: str | None = None, *, after: int = 0, limit: int = PAGE
) -> list[DeadLetter]:
    """Held jobs in order of id, those behind `after`. Raises LookupError for an unknown queue."""
    names = list(JOBS) if queue is None else _entries(queue)
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT j.id, j.entrypoint, j.created, j.updated, j.attempts,"
            " (SELECT l.traceback->>'exception_message' FROM pgqueuer_log l WHERE l.job_id = j.id"
            "  AND l.traceback IS NOT NULL ORDER BY l.id DESC LIMIT 1) AS error"
            " FROM pgqueuer j WHERE j.status = 'failed' AND j.entrypoint = ANY($1) AND j.id > $2"
            " ORDER BY j.id LIMIT $3",
            names,
            after,
            limit,
        )
    return [
        DeadLetter(
            row["id"],
            JOBS[row["entrypoint"]].queue,
            row["entrypoint"],
            row["created"],
            row["updated"],
            row["attempts"],
            row["error"],
        )
        for row in rows
    ]


async def requeue_job(d: Domain, job_id: int, queue: str | None = None) -> str:
    """Put a held job back with all its tries; the name of its job.

    Raises NOT_FOUND where no such job is held (in `queue`, when that is given), so of two who do
    it at once one is told. Raises LookupError for an unknown queue.
    """
    names = list(JOBS) if queue is None else _entries(queue)
    async with acquire(d.pool) as conn:
        name = await conn.fetchval(
            "WITH back AS (UPDATE pgqueuer SET status = 'queued', attempts = 0,"
            " execute_after = now(), updated = now(), queue_manager_id = NULL"
            " WHERE id = $1 AND status = 'failed' AND entrypoint = ANY($2)"
            " RETURNING id, entrypoint, priority),"
            " noted AS (INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
            "  SELECT id, 'queued', entrypoint, priority FROM back)"
            " SELECT entrypoint FROM back",
            job_id,
            names,
        )
    if name is None:
        raise not_found("held job")
    return str(name)


async def requeue_event(d: Domain, event_id: UUID) -> None:
    """Try a domain event that has failed again, from its first try on.

    Raises NOT_FOUND where there is none that is not processed.
    """
    async with d.outbox.change() as change:
        found = await change.conn.fetchval(
            "UPDATE inbox_events SET attempts = 0 WHERE event_id = $1 AND processed_at IS NULL"
            " RETURNING event_id",
            event_id,
        )
        if found is None:
            raise not_found("failed event")
        change.enqueue(event_job(str(event_id)))


def _entries(queue: str) -> Sequence[str]:
    """Raises LookupError for a queue that is none (S2-132)."""
    if queue not in QUEUES:
        raise LookupError(f"Queue {queue} not found")
    return [name for name, row in JOBS.items() if row.queue == queue]
