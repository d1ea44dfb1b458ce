"""One claimed job, from its claim to what became of it."""

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec
import structlog
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job, utc_now

from hub.domain.rules.reasons import Reason
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.settings.product import Jobs
from hub.plumbing.stores import postgres, redis_client
from hub.plumbing.telemetry.metrics import JOBS, MESSAGE_PROCESSING_TIME
from hub.plumbing.telemetry.trace import traced
from protocol.errors import Code, HubError
from protocol.jobs import form_of
from workers.attempt import Attempt, TryAgain, backoff_s
from workers.breaker import Blocked, Breaker
from workers.gate import Gate
from workers.jobs import HANDLERS, Desk
from workers.queue import HELD_BEFORE, JobQueries
from workers.seats import Seats
from workers.sending import URGENT_PUSH_S

_AWAY: Final = (
    *(kind for kind in (*postgres.AWAY, *redis_client.AWAY) if kind is not OSError),
    ConnectionError,
)
"""A file that is missing is an OSError, too, and does not come back by waiting."""

AWAY_S: Final = 1.0
"""How long a job waits when a store is away; it loses no try."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

_waiting = Lasting(log, "jobs wait: a store is away", "jobs run again")


class KillsWorkers(Exception):
    """Every try of this job ended with the death of its worker."""


class Released(Exception):
    """This process gives the job back."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Entry points that are claimed together. `tries` of one job; `batch` jobs a claim.

    `patient`: waits for an open breaker however long; otherwise URGENT_PUSH_S in all.
    """

    queue: str
    entrypoints: tuple[str, ...]
    seats: Seats
    tries: int
    batch: int
    gate: Gate | None = None
    breaker: Breaker | None = None
    patient: bool = True


@dataclass(slots=True)
class Ending:
    """`closing`: nothing new begins; `giving_up`: what runs is cut off."""

    closing: asyncio.Event = field(default_factory=asyncio.Event)
    giving_up: asyncio.Event = field(default_factory=asyncio.Event)


class Execution:
    """Runs the jobs of one lane on one connection's claims."""

    def __init__(
        self, desk: Desk, lane: Lane, figures: Jobs, queries: JobQueries, ending: Ending
    ) -> None:
        self._desk = desk
        self._lane = lane
        self._figures = figures
        self._queries = queries
        self._ending = ending

    async def run(self, job: Job) -> None:
        """Raises RetryRequested to put the job back, anything else to hold it."""
        headers = {k: v for k, v in (job.headers or {}).items() if isinstance(v, str)}
        with traced(headers):
            try:
                withhold = await unless(self._ending.closing, self._enter(job))
            except Released:
                raise RetryRequested(reason="released before it began") from None
            try:
                await unless(self._ending.giving_up, self._try(job, withhold))
            except Released:
                raise self._put_back(job, 0.0, "cut off") from None
            finally:
                self._lane.seats.leave()

    async def _enter(self, job: Job) -> Reason | None:
        lane, withhold = self._lane, None
        if lane.gate is not None:
            patience = float("inf") if lane.patient else URGENT_PUSH_S - _age_s(job)
            withhold = await lane.gate.enter(job.priority, patience)
        await lane.seats.take(job.priority)
        return withhold

    async def _try(self, job: Job, withhold: Reason | None) -> None:
        try:
            begun = await self._queries.begin(job)
        except Exception as error:
            if not is_away(error):
                raise
            raise self._put_back(job, AWAY_S, "not begun") from None
        if begun is None:
            return
        if begun.redelivered:
            self._count("redelivered")
        if begun.number > self._lane.tries:
            await self._hold(job, "every try killed its worker")
            raise KillsWorkers(f"{job.entrypoint} {job.id}")
        again = HELD_BEFORE in (job.headers or {})
        retry_s = backoff_s(self._figures, begun.number)
        this = Attempt(begun.number, self._lane.tries, job.created, retry_s, withhold, again)
        start = time.perf_counter()
        try:
            self._count(await self._handle(job, this))
            _waiting.over()
        except Exception as error:
            await self._ended(job, this, error)
        finally:
            took_ms = (time.perf_counter() - start) * 1000
            MESSAGE_PROCESSING_TIME.labels(queue=self._lane.queue).observe(took_ms)

    async def _handle(self, job: Job, this: Attempt) -> str:
        payload = msgspec.json.decode(job.payload or b"", type=form_of(job.entrypoint))
        handler = HANDLERS[job.entrypoint]
        if self._lane.breaker is None or this.withhold is not None:
            return await handler(self._desk, payload, this)
        with self._lane.breaker.admission():
            return await handler(self._desk, payload, this)

    async def _ended(self, job: Job, this: Attempt, error: Exception) -> None:
        """Raises what tells the engine how the try ended."""
        if isinstance(error, Blocked):
            raise self._put_back(job, error.seconds, "breaker open") from None
        if is_away(error):
            _waiting.seen(job=job.entrypoint, kind=_kind(error))
            raise self._put_back(job, AWAY_S * random.uniform(1, 2), "away") from None  # noqa: S311
        if isinstance(error, TryAgain):
            self._count("retried")
            raise RetryRequested(timedelta(seconds=error.seconds), str(error)) from None
        if this.last or isinstance(error, msgspec.DecodeError):
            await self._hold(job, _kind(error))
            raise error
        self._count("retried")
        log.warning("a job failed", job=job.entrypoint, attempt=this.number, exc_info=error)
        raise RetryRequested(timedelta(seconds=this.retry_s), _kind(error)) from None

    async def _hold(self, job: Job, why: str) -> None:
        self._count("held")
        log.error("a job is held", job=job.entrypoint, id=job.id, reason=why)
        await self._queries.mark_held(job)

    def _put_back(self, job: Job, seconds: float, why: str) -> RetryRequested:
        """As if the try had not begun."""
        self._queries.forgive(job.id)
        self._count("delayed")
        return RetryRequested(timedelta(seconds=seconds), why)

    def _count(self, outcome: str) -> None:
        JOBS.labels(queue=self._lane.queue, outcome=outcome).inc()


def is_away(error: Exception) -> bool:
    """Whether it says that Postgres or Redis is away, and nothing about the job."""
    if isinstance(error, HubError):
        return error.code is Code.UNAVAILABLE
    return isinstance(error, _AWAY)


def _age_s(job: Job) -> float:
    return max(0.0, (utc_now() - job.created).total_seconds())


def _kind(error: Exception) -> str:
    return type(error).__name__


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns; Released when `event` comes first, and then `work` is cut off."""
    task = asyncio.create_task(work)
    bell = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, bell}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    finally:
        bell.cancel()
        task.cancel()
    if task.cancelled():
        raise Released
    return task.result()
