"""The job engine's rows as a worker claims them and writes them off, many at a time.

Its own bookkeeping is not ours: it counts a try when it asks for another one, so a job that kills
its worker would come back for ever, and a job that only waited would lose a try; ours are counted
when they begin.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import TableChangedEvent, TracebackRecord, utc_now
from pgqueuer.domain.types import JobId
from pgqueuer.ports.driver import Driver

from hub.plumbing.life.together import Together
from hub.plumbing.stores.postgres import from_json
from workers.ending import is_away

HELD_BEFORE = "held"
"""Header of a job that was a dead letter once."""


class Claim(Struct, frozen=True):
    """A job as a worker has claimed it. `claimed_at` tells this claim from every other one of the
    job; `redelivered`: the worker that had it before never said how it ended."""

    id: int
    entrypoint: str
    priority: int
    created: datetime
    claimed_at: datetime
    payload: bytes
    headers: Mapping[str, object]
    redelivered: bool


class JobQueries(Queries):
    """The engine's statements on one connection, and ours beside them."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._begin = Together(self._begin_all, is_away)
        self._done = Together(self._done_all, is_away)

    async def begin(self, job: Claim) -> int | None:
        """Count a try before it runs, and return its number; None when the job is gone, or somebody
        else's by now."""
        return await self._begin(job)

    async def _begin_all(self, jobs: Sequence[Claim]) -> list[int | None]:
        rows: list[Any] = await self.driver.fetch(
            "UPDATE pgqueuer j SET attempts = attempts + 1"
            " FROM unnest($1::bigint[], $2::timestamptz[]) AS c (id, updated)"
            " WHERE j.id = c.id AND j.status = 'picked' AND j.updated = c.updated"
            " RETURNING j.id, j.attempts",
            [job.id for job in jobs],
            [job.claimed_at for job in jobs],
        )
        begun = {row["id"]: row["attempts"] for row in rows}
        return [begun.get(job.id) for job in jobs]

    async def claim(
        self,
        entrypoints: Sequence[str],
        lanes: Sequence[int],
        room: Sequence[int],
        manager_id: UUID,
        heartbeat_s: float,
    ) -> list[Claim]:
        """The most urgent that are due, of those what is due longest, and those whose claim is
        older than `heartbeat_s`: of the entry points of one lane no more than its room, together.
        """
        rows = await self.driver.fetch(
            "WITH wanted AS (SELECT * FROM unnest($1::text[], $2::int[], $3::int[])"
            "  AS w (entrypoint, lane, room)),"
            " due AS (SELECT job.*, w.lane, w.room, false AS stale FROM wanted w CROSS JOIN LATERAL"
            "  (SELECT id, priority, execute_after FROM pgqueuer q"
            "   WHERE q.entrypoint = w.entrypoint AND q.status = 'queued'"
            "   AND q.execute_after < now()"
            "   ORDER BY q.priority DESC, q.execute_after, q.id LIMIT w.room"
            "   FOR UPDATE SKIP LOCKED) job),"
            " stale AS (SELECT q.id, q.priority, q.execute_after, w.lane, w.room, true AS stale"
            "  FROM pgqueuer q JOIN wanted w USING (entrypoint) WHERE q.status = 'picked'"
            "  AND q.heartbeat < now() - $5::interval AND q.execute_after < now()"
            "  FOR UPDATE OF q SKIP LOCKED),"
            " chosen AS (SELECT id, stale FROM (SELECT id, stale, room, row_number() OVER"
            "  (PARTITION BY lane ORDER BY priority DESC, execute_after, id) AS place"
            "  FROM (SELECT * FROM due UNION ALL SELECT * FROM stale) found) x"
            "  WHERE place <= room),"
            " claimed AS (UPDATE pgqueuer q SET status = 'picked', updated = now(),"
            "  heartbeat = now(), queue_manager_id = $4 FROM chosen c WHERE q.id = c.id"
            "  RETURNING q.id, q.entrypoint, q.priority, q.execute_after, q.created, q.updated,"
            "  q.payload, q.headers, c.stale)"
            " SELECT * FROM claimed ORDER BY priority DESC, execute_after, id",
            list(entrypoints),
            list(lanes),
            list(room),
            manager_id,
            timedelta(seconds=heartbeat_s),
        )
        return [_claim_of(row) for row in rows]

    async def next_due_s(self, entrypoints: Sequence[str]) -> float | None:
        """Seconds until the first of those that wait, not above 0 where one has come due since the
        last claim; None without any."""
        rows: list[Any] = await self.driver.fetch(
            "SELECT extract(epoch FROM min(one.execute_after) - now())::float8 AS wait_s"
            " FROM unnest($1::text[]) AS w (entrypoint) CROSS JOIN LATERAL"
            " (SELECT q.execute_after FROM pgqueuer q WHERE q.entrypoint = w.entrypoint"
            "  AND q.status = 'queued' ORDER BY q.execute_after LIMIT 1) one",
            list(entrypoints),
        )
        wait_s: float | None = rows[0]["wait_s"]
        return wait_s

    async def listen(self, changed: Callable[[], None]) -> None:
        """`changed` is called whenever the queue has changed."""
        await self.driver.add_listener(self.qbq.settings.channel, lambda _: changed())

    async def beat(self, job_ids: Sequence[int]) -> None:
        """Their claims are alive."""
        if job_ids:
            await self.driver.execute(
                "UPDATE pgqueuer SET heartbeat = now() WHERE id = ANY($1::bigint[])",
                list(job_ids),
            )

    async def done(self, job: Claim) -> None:
        """There is nothing more to do. Not when the claim was lost meanwhile: whoever has the job
        now says what becomes of it. A claim is known by its moment, which `updated` holds until the
        job leaves it.
        """
        await self._done(job)

    async def _done_all(self, jobs: Sequence[Claim]) -> list[None]:
        await self.driver.execute(
            "WITH ended AS (DELETE FROM pgqueuer q"
            "  USING unnest($1::bigint[], $2::timestamptz[]) AS c (id, updated)"
            "  WHERE q.id = c.id AND q.updated = c.updated AND q.status = 'picked'"
            "  RETURNING q.id, q.entrypoint, q.priority)"
            " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
            " SELECT id, 'successful', entrypoint, priority FROM ended",
            [job.id for job in jobs],
            [job.claimed_at for job in jobs],
        )
        return [None] * len(jobs)

    async def retry(self, job: Claim, after_s: float, why: str, *, counts: bool) -> None:
        """Back into the queue, unless its claim was lost; its try was counted when it began, and is
        forgiven where nothing could be tried."""
        await self.driver.execute(
            "WITH again AS (UPDATE pgqueuer SET status = 'queued', updated = now(),"
            " execute_after = now() + $2::interval, queue_manager_id = NULL,"
            " attempts = greatest(attempts - $3::int, 0)"
            " WHERE id = $1 AND status = 'picked' AND updated = $7"
            " RETURNING id, entrypoint, priority)"
            " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, traceback)"
            " SELECT id, 'queued', entrypoint, priority, $4::jsonb FROM again"
            " RETURNING pg_notify($5, $6)",
            job.id,
            timedelta(seconds=after_s),
            int(not counts),
            _told("Again", job, why),
            self.qbq.settings.channel,
            self._changed(),
            job.claimed_at,
        )

    async def hold(self, job: Claim, why: str) -> None:
        """Kept as a dead letter, unless its claim was lost; a try after it was put back knows by a
        header that it is one."""
        await self.driver.execute(
            # the engine writes a JSON null where there are no headers
            "WITH held AS (UPDATE pgqueuer SET status = 'failed', updated = now(),"
            " queue_manager_id = NULL, headers = CASE jsonb_typeof(headers) WHEN 'object'"
            " THEN headers ELSE '{}' END || jsonb_build_object($2::text, true)"
            " WHERE id = $1 AND status = 'picked' AND updated = $3"
            " RETURNING id, entrypoint, priority)"
            " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, traceback)"
            " SELECT id, 'failed', entrypoint, priority, $4::jsonb FROM held",
            job.id,
            HELD_BEFORE,
            job.claimed_at,
            _told("Held", job, why),
        )

    async def release(self, managers: Sequence[UUID]) -> int:
        """Give back what claims of ours still hold: this process lives, the jobs did not kill it.

        What had been done without being noted runs again, and finds it done.
        """
        rows = await self.driver.fetch(
            "WITH freed AS (UPDATE pgqueuer SET status = 'queued', updated = NOW(),"
            " execute_after = NOW(), queue_manager_id = NULL, attempts = greatest(attempts - 1, 0)"
            " WHERE queue_manager_id = ANY($1::uuid[]) AND status = 'picked'"
            " RETURNING id, entrypoint, priority)"
            " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority)"
            " SELECT id, 'queued', entrypoint, priority FROM freed RETURNING pg_notify($2, $3)",
            list(managers),
            self.qbq.settings.channel,
            self._changed(),
        )
        return len(rows)

    def _changed(self) -> str:
        """What wakes claims: the engine's own trigger says nothing of an UPDATE, and a lane with
        nothing to do would sleep over the retry it does not know of."""
        return TableChangedEvent(
            channel=self.qbq.settings.channel,
            sent_at=utc_now(),
            type="table_changed_event",
            operation="update",
            table=self.qbq.settings.queue_table,
        ).model_dump_json()


def _claim_of(row: Any) -> Claim:
    """The engine writes a JSON null where there are no headers."""
    return Claim(
        id=row["id"],
        entrypoint=row["entrypoint"],
        priority=row["priority"],
        created=row["created"],
        claimed_at=row["updated"],
        payload=row["payload"] or b"",
        headers=from_json(row["headers"]) or {},
        redelivered=row["stale"],
    )


def _told(kind: str, job: Claim, why: str) -> str:
    """As the engine keeps it, for who lists the queue's log."""
    return TracebackRecord(
        job_id=JobId(job.id),
        timestamp=utc_now(),
        exception_type=kind,
        exception_message=why,
        traceback="",
        additional_context={"entrypoint": job.entrypoint},
    ).model_dump_json()
