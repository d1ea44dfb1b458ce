"""The job engine's rows, where its own bookkeeping is not ours: tries are counted when they begin.

The engine counts a try when it asks for another one, so a job that kills its worker would come
back for ever, and a job that only waited would lose a try.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.models import Job, TableChangedEvent, TracebackRecord, utc_now
from pgqueuer.domain.types import JOB_STATUS
from pgqueuer.ports.driver import Driver

from hub.plumbing.life.together import Together
from workers.ending import is_away

HELD_BEFORE = "held"
"""Header of a job that was a dead letter once."""


@dataclass(frozen=True, slots=True)
class Begun:
    """`number` of the try; `redelivered`: the worker that had it before never said how it ended."""

    number: int
    redelivered: bool


class JobQueries(Queries):
    """The engine's statements on one connection, and ours beside them."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver)
        self._forgiven: set[int] = set()
        self._begin = Together(self._begin_all, is_away)

    async def begin(self, job: Job) -> Begun | None:
        """Count a try before it runs; None when the job is gone, or somebody else's by now."""
        return await self._begin(job)

    async def _begin_all(self, jobs: Sequence[Job]) -> list[Begun | None]:
        rows: list[Any] = await self.driver.fetch(
            "UPDATE pgqueuer j SET attempts = attempts + 1"
            " FROM unnest($1::bigint[], $2::timestamptz[]) AS c (id, updated)"
            " WHERE j.id = c.id AND j.status = 'picked' AND j.updated = c.updated"
            " RETURNING j.id, j.attempts,"
            " (SELECT l.status = 'picked' FROM pgqueuer_log l WHERE l.job_id = j.id"
            "  ORDER BY l.created DESC, l.id DESC OFFSET 1 LIMIT 1) AS redelivered",
            [job.id for job in jobs],
            [job.updated for job in jobs],
        )
        begun = {row["id"]: Begun(row["attempts"], bool(row["redelivered"])) for row in rows}
        return [begun.get(job.id) for job in jobs]

    def forgive(self, job_id: int) -> None:
        """The try under way does not count: nothing could be tried."""
        self._forgiven.add(job_id)

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        """Back into the queue; its try was counted when it began, unless it is forgiven.

        Not when the claim was lost meanwhile: whoever has the job now says what becomes of it. A
        claim is known by its moment, which `updated` holds until the job leaves it.
        """
        forgiven = job.id in self._forgiven
        self._forgiven.discard(job.id)
        await self.driver.execute(
            "WITH again AS (UPDATE pgqueuer SET status = 'queued', updated = NOW(),"
            " execute_after = NOW() + $2::interval, queue_manager_id = NULL,"
            " attempts = greatest(attempts - $3::int, 0)"
            " WHERE id = $1 AND status = 'picked' AND updated = $7"
            " RETURNING id, entrypoint, priority)"
            " INSERT INTO pgqueuer_log (job_id, status, entrypoint, priority, traceback)"
            " SELECT id, 'queued', entrypoint, priority, $4::jsonb FROM again"
            " RETURNING pg_notify($5, $6)",
            job.id,
            delay,
            int(forgiven),
            traceback_record.model_dump_json() if traceback_record else None,
            self.qbq.settings.channel,
            self._changed(),
            job.updated,
        )

    async def log_jobs(
        self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]
    ) -> None:
        """The end of jobs, but for those whose claim was lost meanwhile (see retry_job)."""
        kept = await self.driver.fetch(
            "SELECT j.id FROM pgqueuer j JOIN unnest($1::bigint[], $2::timestamptz[])"
            " AS c (id, updated) ON j.id = c.id AND j.updated = c.updated"
            " WHERE j.status = 'picked'",
            [job.id for job, _, _ in job_status],
            [job.updated for job, _, _ in job_status],
        )
        ours = {row["id"] for row in kept}
        await super().log_jobs([ended for ended in job_status if ended[0].id in ours])

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

    async def mark_held(self, job: Job) -> None:
        """So that a try after it was put back knows that it is one."""
        await self.driver.execute(
            # the engine writes a JSON null where there are no headers
            "UPDATE pgqueuer SET headers = CASE jsonb_typeof(headers) WHEN 'object' THEN headers"
            " ELSE '{}' END || jsonb_build_object($2::text, true)"
            " WHERE id = $1 AND status = 'picked' AND updated = $3",
            job.id,
            HELD_BEFORE,
            job.updated,
        )

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
