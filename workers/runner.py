"""The worker door: claims jobs, runs them by lanes, survives the loss of Postgres, stops cleanly.

All lanes share one connection of their own, a real session (LISTEN). A lane claims no more than it
can soon begin, so a worker's death, or a provider that hangs, holds up few jobs and no other lane.
"""

import asyncio
import time
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.domain.assembly import open_limits
from hub.domain.context import Domain
from hub.domain.retention import Ages
from hub.domain.rules.kinds import Channel
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.life.waiting import set_within
from hub.plumbing.limits.fleet import Bucket, Limits
from hub.plumbing.settings.product import Jobs
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox import run_sweeper
from hub.plumbing.stores.postgres import AWAY, dial
from protocol.jobs import JOBS, URGENT_PRIORITY, JobRow, QueueRow
from workers.channels.provider import Providers
from workers.claims import Claims
from workers.consumer import Consumer
from workers.execution import Closing, Execution, Lane, Moment
from workers.jobs import Desk
from workers.monitor import open_monitor, watch
from workers.queue import JobQueries
from workers.schedules import Plan, run_schedules
from workers.seats import Seats
from workers.turns import Turns
from workers.upkeep import ensure_partitions_once, measure

LONGEST_WAIT_S: Final = 10.0
GIVE_UP_AFTER_S: Final = 300.0
"""Without Postgres for so long the process ends with 1: its supervisor may know better."""

RELEASE_S: Final = 2.0

FINISH_S: Final = 3.0
"""For the domain events in hand; those that are left are another worker's after half a minute."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """A claim not renewed for `heartbeat_s` is somebody else's (seen: redelivered after 11.3 s);
    each lane looks for jobs when it is told of some, and every `poll_s`. Domain events that one has
    in hand for three times as long are another's."""

    heartbeat_s: float = 10.0
    poll_s: float = 5.0


async def run_worker(
    life: Lifecycle,
    settings: Settings,
    domain: Domain,
    providers: Providers,
    pace: Pace = Pace(),
) -> None:
    """Start claiming jobs, sweeping the outbox, and measuring both; all of it ends with `life`.

    Raises asyncpg or OS errors when Postgres cannot be reached.
    """
    limits = open_limits(life, settings)
    runner = Runner(settings, domain, providers, limits, pace)
    await runner.open()
    await ensure_partitions_once(domain.pool)
    life.spawn("outbox sweeper", run_sweeper(domain.outbox, domain.pool))
    life.spawn("queue figures", measure(domain.pool))
    life.spawn("monitor", watch(await open_monitor(life, settings, domain, providers)))
    life.spawn("schedules", run_schedules(domain.pool, settings.jobs, domain.now))
    open_consumer(life, settings, domain, pace)
    runner.task = life.spawn("jobs", runner.run())
    life.spawn("jobs closing", runner.close_after(life.stopping))
    life.on_stop("jobs", runner.stop)


def open_consumer(life: Lifecycle, settings: Settings, domain: Domain, pace: Pace) -> None:
    """Reading ends as soon as the process stops; the batch in hand is finished in its turn."""
    stream = settings.redis.events_stream
    line = Line(Server(settings.redis.address.holding(stream)), "dongne-events")
    life.on_stop("events' connection", line.close)
    consumer = Consumer(
        domain,
        line,
        stream,
        idle_ms=round(3000 * pace.heartbeat_s),
        stopping=life.stopping,
    )
    task = life.spawn("events", consumer.run())
    life.on_stop("events in hand", lambda: asyncio.wait([task], timeout=FINISH_S))


def _plan(settings: Settings) -> Plan:
    part = settings.retention
    ages = Ages(**{item.name: getattr(part, item.name) for item in fields(Ages)})
    return Plan(ages, settings.jobs.scheduler_tz)


def lanes(figures: Jobs, providers: Providers, limits: Limits) -> list[Lane]:
    """S2-127, design §7: seats are per process, rates hold over all workers.

    Jobs that send have a lane for each entry point, as a provider may hang; those of one queue
    share its seats and its bucket.
    """
    found = []
    for name, row in figures.queues().items():
        seats = Seats(row.concurrency)
        rows = {entry: job for entry, job in JOBS.items() if job.queue == name}
        sending = [entry for entry, job in rows.items() if job.channel is not None]
        others = tuple(entry for entry in rows if entry not in sending)
        for entry in sending:
            found.append(
                Lane(
                    name,
                    (entry,),
                    seats,
                    row.tries,
                    batch=row.concurrency,
                    turns=_turns(name, row, rows[entry], providers, limits),
                    patient=rows[entry].priority < URGENT_PRIORITY,
                )
            )
        if others:
            found.append(Lane(name, others, seats, row.tries, batch=100))
    return found


def _turns(
    queue: str, row: QueueRow, job: JobRow, providers: Providers, limits: Limits
) -> Turns | None:
    if job.channel is None or row.rate is None:
        return None
    channel = Channel(job.channel)
    if not providers.has(channel):
        return None
    bucket = Bucket.a_minute(queue, row.rate, row.reserve)
    return Turns(lambda: providers.blocked_s(channel), limits, bucket, reserved=job.reserved)


class Runner:
    """One process's claims. `open` once, `run` until `stop`."""

    def __init__(
        self,
        settings: Settings,
        domain: Domain,
        providers: Providers,
        limits: Limits,
        pace: Pace,
    ) -> None:
        self._pace = pace
        self._settings = settings
        self._desk = Desk(domain, providers, _plan(settings))
        self._lanes = lanes(settings.jobs, providers, limits)
        self._closing = Closing()
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
                await set_within(self._stopping, wait_s)
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        self._shut()

    async def _session(self) -> None:
        """Claim on one connection until it is lost or the process stops."""
        self._closing.closing = Moment()
        if self._stopping.is_set():
            return
        queries = JobQueries(AsyncpgDriver(self._conn))
        self._conn.add_termination_listener(lambda _: self._close())
        if self._lost:
            freed = await queries.release(self._lost)
            log.info("jobs of the lost connection are queued again", jobs=freed)
            self._lost.clear()
        executions = [
            Execution(self._desk, lane, self._settings.jobs, queries, self._closing)
            for lane in self._lanes
        ]
        claims = Claims(
            queries,
            executions,
            self._closing.closing,
            heartbeat_s=self._pace.heartbeat_s,
            poll_s=self._pace.poll_s,
        )
        self._lost.append(claims.manager_id)
        await claims.run()
        if not self._conn.is_closed():
            await queries.release(self._lost)
            self._lost.clear()

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
        self._closing.giving_up.set()
        await asyncio.wait([self.task], timeout=RELEASE_S)

    def _begin_stop(self) -> None:
        if self._stopping.is_set():
            return
        grace_s = self._settings.process.shutdown_timeout_ms / 1000
        self._cut_at = time.monotonic() + grace_s - 2 * RELEASE_S
        self._stopping.set()
        self._close()

    def _close(self) -> None:
        self._closing.closing.set()

    def _shut(self) -> None:
        """Drop the connection without a word: it may hang."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.terminate()
