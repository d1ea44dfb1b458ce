"""The worker door: claims jobs, runs them by lanes, survives the loss of Postgres, stops cleanly.

All lanes share one connection of their own, a real session (LISTEN). A lane claims no more than it
can soon begin, so a worker's death, or a provider that hangs, holds up few jobs and no other lane.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.core.qm import QueueManager

from hub.domain.context import Domain
from hub.domain.intake import MAX_TRIES
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.limits.fleet import Bucket, Limits
from hub.plumbing.settings.product import Jobs
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox import run_sweeper
from hub.plumbing.stores.postgres import AWAY, dial
from workers.execution import Ending, Execution, Lane
from workers.gate import Gate
from workers.jobs import Desk
from workers.providers import Senders
from workers.queue import JobQueries
from workers.seats import Seats
from workers.upkeep import ensure_partitions_daily, measure, prune_hourly

HEARTBEAT: Final = timedelta(seconds=10)
"""A claim not renewed for so long is somebody else's (seen: redelivered after 11.3 s)."""

POLL: Final = timedelta(seconds=5)
FOLLOW_UPS: Final = 5
"""Jobs that only ask Postgres, at once: they never stand behind a provider that hangs."""

LONGEST_WAIT_S: Final = 10.0
GIVE_UP_AFTER_S: Final = 300.0
"""Without Postgres for so long the process ends with 1: its supervisor may know better."""

RELEASE_S: Final = 2.0

log = structlog.get_logger(__name__)


async def run_worker(life: Lifecycle, settings: Settings, domain: Domain, senders: Senders) -> None:
    """Start claiming jobs, sweeping the outbox, and measuring both; all of it ends with `life`.

    Raises asyncpg or OS errors when Postgres cannot be reached.
    """
    runner = Runner(settings, domain, senders)
    await runner.open()
    life.spawn("outbox sweeper", run_sweeper(domain.outbox, domain.pool))
    life.spawn("queue figures", measure(domain.pool))
    life.spawn("partitions", ensure_partitions_daily(domain.pool))
    life.spawn("job log", prune_hourly(domain.pool))
    runner.task = life.spawn("jobs", runner.run())
    life.spawn("jobs closing", runner.close_after(life.stopping))
    life.on_stop("jobs", runner.stop)


def lanes(figures: Jobs, senders: Senders, limits: Limits) -> list[Lane]:
    """S2-127, design §7: seats are per process, rates hold over all workers."""
    seats = Seats(figures.notification_concurrency)
    pushes = Bucket.a_minute("notification", figures.notification_rate, 0.5)
    mails = Bucket.a_minute("email", figures.email_rate, 0.25)
    push, mail = senders.push_breaker, senders.mail_breaker
    return [
        Lane(
            "notification",
            ("notification:urgent",),
            seats,
            figures.notification_attempts,
            figures.notification_concurrency,
            Gate(push, limits, pushes, reserved=True) if senders.push.configured else None,
            push,
            patient=False,
        ),
        Lane(
            "notification",
            ("notification:normal",),
            seats,
            figures.notification_attempts,
            figures.notification_concurrency,
            Gate(push, limits, pushes, reserved=False) if senders.push.configured else None,
            push,
        ),
        Lane(
            "email",
            ("email",),
            Seats(figures.email_concurrency),
            figures.email_attempts,
            figures.email_concurrency,
            Gate(mail, limits, mails, reserved=True) if senders.mail.configured else None,
            mail,
        ),
        Lane(
            "follow-up",
            ("first-look", "unseen-check", "urgent-clock", "urgent-wave", "urgent-retract"),
            Seats(FOLLOW_UPS),
            figures.notification_attempts,
            100,
        ),
        # the first of an event's tries was made where it arrived
        Lane("event", ("event",), Seats(FOLLOW_UPS), MAX_TRIES - 1, 100),
    ]


class Runner:
    """One process's claims. `open` once, `run` until `stop`."""

    def __init__(self, settings: Settings, domain: Domain, senders: Senders) -> None:
        self._settings = settings
        self._desk = Desk(domain, senders)
        self._lanes = lanes(settings.jobs, senders, Limits(domain.redis, domain.keys))
        self._ending = Ending()
        self._shutdown = asyncio.Event()
        self._stopping = asyncio.Event()
        self._cut_at = 0.0
        self._conn: Any = None
        self._lost: list[UUID] = []
        self._away = Lasting(log, "the job queue is away", "the job queue is back")
        self.task: asyncio.Task[object] | None = None

    async def open(self) -> None:
        """Raises asyncpg or OS errors when Postgres cannot be reached."""
        part = self._settings.database
        assert part.direct_dsn is not None
        self._conn = await dial(
            part.direct_dsn,
            verify=part.ssl,
            application_name="dongne-worker",
            timeout=part.connect_timeout_ms / 1000,
            command_timeout=part.statement_timeout_ms / 1000,
        )

    async def run(self) -> None:
        """Claim until stopped; a lost connection is opened again, with growing patience.

        Raises what Postgres last said when it stays away for GIVE_UP_AFTER_S.
        """
        wait_s, away_since = 0.5, time.monotonic()
        while not self._stopping.is_set():
            try:
                if self._conn is None:
                    await self.open()
                wait_s, away_since = 0.5, time.monotonic()
                self._away.over()
                await self._session()
            except (*AWAY, asyncpg.PostgresError) as error:
                self._shut()
                if time.monotonic() - away_since > GIVE_UP_AFTER_S:
                    raise
                self._away.seen(kind=type(error).__name__)
                await self._pause(wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self._shut()

    async def _session(self) -> None:
        """Claim on one connection until it is lost or the process stops."""
        self._shutdown = asyncio.Event()
        self._ending.closing = asyncio.Event()
        if self._stopping.is_set():
            return
        queries = JobQueries(AsyncpgDriver(self._conn))
        self._conn.add_termination_listener(lambda _: self._close())
        if self._lost:
            freed = await queries.release(self._lost)
            log.info("jobs of the lost connection are queued again", jobs=freed)
            self._lost.clear()
        managers = [self._manager(lane, queries) for lane in self._lanes]
        self._lost += [manager.queue_manager_id for manager in managers]
        await self._run_all(managers)
        if not self._conn.is_closed():
            await queries.release(self._lost)
            self._lost.clear()

    def _manager(self, lane: Lane, queries: JobQueries) -> QueueManager:
        manager = QueueManager(queries)
        manager.shutdown = self._shutdown
        execution = Execution(self._desk, lane, self._settings.jobs, queries, self._ending)
        for name in lane.entrypoints:
            manager.entrypoint(name, on_failure="hold", accepts_context=False)(execution.run)
        return manager

    async def _run_all(self, managers: Sequence[QueueManager]) -> None:
        """Until all have ended; the failure of one ends the others. Raises the first failure."""
        batches = [lane.batch for lane in self._lanes]
        tasks = [
            asyncio.create_task(
                manager.run(
                    dequeue_timeout=POLL,
                    batch_size=batch,
                    max_concurrent_tasks=2 * batch,
                    shutdown_on_listener_failure=True,
                    heartbeat_timeout=HEARTBEAT,
                    log_aggregation_interval=timedelta(0),
                )
            )
            for manager, batch in zip(managers, batches, strict=True)
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._close()
            await asyncio.wait(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
        for error in errors:
            if error is not None:
                raise error

    async def close_after(self, stopping: asyncio.Event) -> None:
        """Claim nothing more as soon as the process stops, while other parts still drain."""
        await stopping.wait()
        self._begin_stop()

    async def stop(self) -> None:
        """Finish what runs within the shutdown time, give the rest back."""
        self._begin_stop()
        if self.task is None:
            return
        left_s = self._cut_at - time.monotonic()
        await asyncio.wait([self.task], timeout=max(0.0, left_s))
        self._ending.giving_up.set()
        await asyncio.wait([self.task], timeout=RELEASE_S)

    def _begin_stop(self) -> None:
        if self._stopping.is_set():
            return
        grace_s = self._settings.process.shutdown_timeout_ms / 1000
        self._cut_at = time.monotonic() + grace_s - 2 * RELEASE_S
        self._stopping.set()
        self._close()

    def _close(self) -> None:
        self._shutdown.set()
        self._ending.closing.set()

    def _shut(self) -> None:
        """Drop the connection without a word: it may hang."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.terminate()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
