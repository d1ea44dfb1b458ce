"""The claims of one connection: taken for all lanes at once, kept alive while they are worked on,
and written off together.

The job engine's own loop asks for each lane by itself, some statements at every change of the
queue, and stands a tenth of a second whenever it has as many as it may: at a hundred jobs a batch
that was most of the work.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import structlog

from hub.plumbing.life.waiting import set_within
from hub.plumbing.stores.postgres import AWAY
from workers.ending import Again, Done, Ending, Held
from workers.execution import Execution, Moment
from workers.queue import Claim, JobQueries

SOONEST_S: Final = 0.05
"""How long at least until it looks again for what falls due."""

log = structlog.get_logger(__name__)


class Claims:
    """`run` once. `manager_id` is whose the claims are, in the engine's table."""

    def __init__(
        self,
        queries: JobQueries,
        executions: Sequence[Execution],
        closing: Moment,
        *,
        heartbeat_s: float,
        poll_s: float,
    ) -> None:
        self.manager_id: UUID = uuid4()
        self._queries = queries
        self._executions = executions
        self._closing = closing
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._by_job: Mapping[str, Execution] = {
            name: one for one in executions for name in one.lane.entrypoints
        }
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._in_hand = dict.fromkeys(executions, 0)
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Until `closing` is set and all that was claimed has ended.

        Raises asyncpg or OS errors when the connection is lost, once nothing runs any more.
        """
        await self._queries.listen(self._look.set)
        beating = asyncio.create_task(self._beat())
        ended = asyncio.create_task(self._closing.come.wait())
        ended.add_done_callback(lambda _: self._look.set())
        try:
            while not self._closing.come.is_set():
                self._look.clear()
                if not await self._claim():
                    await self._wait()
        finally:
            self._closing.set()
            if self._running:
                await asyncio.wait(self._running)
            for task in (beating, ended):
                task.cancel()

    async def _claim(self) -> bool:
        """As much as the lanes have room for; false when nothing was found."""
        names = self._with_room()
        lanes = [self._executions.index(self._by_job[name]) for name in names]
        room = [self._by_job[name].lane.batch for name in names]
        jobs = await self._queries.claim(names, lanes, room, self.manager_id, self._heartbeat_s)
        mine = {job.id for job in self._running.values()}
        for job in jobs:
            if job.id in mine:  # a late heartbeat: it is still worked on here
                continue
            execution = self._by_job[job.entrypoint]
            self._in_hand[execution] += 1
            task = asyncio.create_task(self._work(execution, job), name=job.entrypoint)
            self._running[task] = job
            task.add_done_callback(self._gone)
        return bool(jobs)

    def _with_room(self) -> list[str]:
        """Entry points of the lanes that may take another batch."""
        return [name for name, one in self._by_job.items() if self._in_hand[one] <= one.lane.batch]

    def _gone(self, task: asyncio.Task[None]) -> None:
        execution = self._by_job[self._running.pop(task).entrypoint]
        self._in_hand[execution] -= 1
        if self._in_hand[execution] == execution.lane.batch:
            self._look.set()

    async def _work(self, execution: Execution, job: Claim) -> None:
        """What cannot be written off stays claimed: the next connection gives it back, or somebody
        takes it over when its heartbeat is old."""
        try:
            await self._write_off(job, await execution.run(job))
        except (*AWAY, asyncpg.PostgresError) as error:
            log.debug("jobs.left", job=job.entrypoint, id=job.id, kind=type(error).__name__)
        except Exception as error:
            log.error("a job broke its worker", job=job.entrypoint, id=job.id, exc_info=error)

    async def _write_off(self, job: Claim, ending: Ending | None) -> None:
        match ending:
            case None | Done():
                await self._queries.done(job)
            case Again(seconds, why, counts):
                await self._queries.retry(job, seconds, why, counts=counts)
            case Held(why):
                await self._queries.hold(job, why)

    async def _wait(self) -> None:
        """Until the queue changes, a lane has room again, or something falls due."""
        wait_s = await self._queries.next_due_s(self._with_room())
        wait_s = min(self._poll_s, max(SOONEST_S, self._poll_s if wait_s is None else wait_s))
        await set_within(self._look, wait_s)

    async def _beat(self) -> None:
        """A failed beat is no loss: the next one comes before the claims are old."""
        while True:
            await asyncio.sleep(self._heartbeat_s / 4)
            try:
                await self._queries.beat([job.id for job in self._running.values()])
            except (*AWAY, asyncpg.PostgresError) as error:
                log.debug("jobs.no_heartbeat", kind=type(error).__name__)
