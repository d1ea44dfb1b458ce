"""One claimed job, from its claim to what became of it."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
import structlog
from pgqueuer.domain.models import utc_now
from prometheus_client import Counter

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.settings.product import Jobs
from hub.plumbing.telemetry.metrics import JOBS, MESSAGE_PROCESSING_TIME
from hub.plumbing.telemetry.trace import traced
from protocol.jobs import form_of
from workers.ending import Again, Attempt, Done, Ending, Held, is_away, retry_s
from workers.jobs import GIVING_UP, HANDLERS, Desk
from workers.queue import HELD_BEFORE, Claim, JobQueries
from workers.seats import Seats
from workers.sending import URGENT_PUSH_S
from workers.turns import Turns

AWAY_S: Final = 1.0
"""How long a job waits when a store is away; it loses no try."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

_waiting = Lasting(log, "jobs wait: a store is away", "jobs run again")


CUT_OFF: Final[Ending | None] = Again(0.0, "cut off", counts=False)
"""This process gives the job back."""

GIVEN_BACK: Final[Ending] = Again(0.0, "given back before it began")
"""No try was counted, so none is forgiven."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Entry points that are claimed together. `tries` of one job; `batch` jobs a claim.

    `patient`: waits for a provider however long; otherwise URGENT_PUSH_S in all.
    """

    queue: str
    entrypoints: tuple[str, ...]
    seats: Seats
    tries: int
    batch: int
    turns: Turns | None = None
    patient: bool = True


class Moment:
    """From then on nothing goes on that runs `under` it."""

    def __init__(self) -> None:
        self.come = asyncio.Event()
        self._under: set[asyncio.Task[Any]] = set()

    def set(self) -> None:
        self.come.set()
        for task in self._under:
            task.cancel()

    async def under(self, work: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """What `work` returns; `otherwise` when the moment comes first, and `work` is cut off."""
        if self.come.is_set():
            return otherwise
        task = asyncio.current_task()
        assert task is not None
        self._under.add(task)
        try:
            return await work()
        except asyncio.CancelledError:
            if self.come.is_set() and task.uncancel() == 0:
                return otherwise
            raise
        finally:
            self._under.discard(task)


@dataclass(slots=True)
class Closing:
    """`closing`: nothing new begins; `giving_up`: what runs is cut off."""

    closing: Moment = field(default_factory=Moment)
    giving_up: Moment = field(default_factory=Moment)


class Execution:
    """Runs the jobs of one lane on one connection's claims."""

    def __init__(
        self, desk: Desk, lane: Lane, figures: Jobs, queries: JobQueries, closing: Closing
    ) -> None:
        self.lane = lane
        self._desk = desk
        self._figures = figures
        self._queries = queries
        self._closing = closing
        self._counts: dict[str, Counter] = {}
        self._took_ms = MESSAGE_PROCESSING_TIME.labels(queue=lane.queue)

    async def run(self, job: Claim) -> Ending | None:
        """What is to become of it; None when it is gone, or somebody else's by now."""
        headers = {k: v for k, v in job.headers.items() if isinstance(v, str)}
        with traced(headers, job.entrypoint, "consumer"):
            has_token = await self._closing.closing.under(lambda: self._enter(job), None)
            if has_token is None:
                return GIVEN_BACK
            try:
                ending = await self._closing.giving_up.under(lambda: self._try(job), CUT_OFF)
            finally:
                self.lane.seats.leave()
            if has_token and _asked_nobody(ending):
                assert self.lane.turns is not None
                await self.lane.turns.give_back()
            await self._end(job, ending)
        return ending

    async def _enter(self, job: Claim) -> bool | None:
        """Wait for a seat; whether it came with a token of the queue's rate."""
        lane, has_token = self.lane, False
        if lane.turns is not None:
            patience = float("inf") if lane.patient else URGENT_PUSH_S - _age_s(job)
            has_token = await lane.turns.take(job.priority, patience)
        await lane.seats.take(job.priority)
        return has_token

    async def _try(self, job: Claim) -> Ending | None:
        """How it ended; None when the job is gone, or somebody else's by now."""
        try:
            number = await self._queries.begin(job)
        except Exception as error:
            if not is_away(error):
                raise
            return Again(AWAY_S, "not begun", counts=False)
        if number is None:
            return None
        if job.redelivered:
            self._count("redelivered")
        if number > self.lane.tries:
            return await self._give_up(job)
        wait_s = retry_s(self._figures, number)
        this = Attempt(number, self.lane.tries, job.created, wait_s, HELD_BEFORE in job.headers)
        start = time.perf_counter()
        try:
            payload = msgspec.json.decode(job.payload, type=form_of(job.entrypoint))
            ending = await HANDLERS[job.entrypoint](self._desk, payload, this)
            _waiting.over()
        except Exception as error:
            ending = _ending_by(error, job, this)
        finally:
            self._took_ms.observe((time.perf_counter() - start) * 1000)
        return ending

    async def _give_up(self, job: Claim) -> Ending:
        """It is held; what it was for must not wait for it."""
        giving_up = GIVING_UP.get(job.entrypoint)
        if giving_up is not None:
            try:
                payload = msgspec.json.decode(job.payload, type=form_of(job.entrypoint))
                await giving_up(self._desk, payload)
            except Exception as error:
                if is_away(error):
                    return Again(AWAY_S, "away", counts=False)
                log.error("a job could not be given up", job=job.entrypoint, exc_info=error)
        return Held("every try killed its worker")

    async def _end(self, job: Claim, ending: Ending | None) -> None:
        """Count it."""
        match ending:
            case Done(word=word):
                self._count(word)
            case Again(_, _, counts):
                self._count("retried" if counts else "delayed")
            case Held(why):
                self._count("held")
                log.error("a job is held", job=job.entrypoint, id=job.id, reason=why)

    def _count(self, outcome: str) -> None:
        count = self._counts.get(outcome)
        if count is None:
            count = self._counts[outcome] = JOBS.labels(queue=self.lane.queue, outcome=outcome)
        count.inc()


def _asked_nobody(ending: Ending | None) -> bool:
    """Whether no provider was called, so that the rate has room for somebody else."""
    match ending:
        case Done(asked=asked):
            return not asked
        case Again(counts=counts):
            return not counts
        case _:
            return ending is None


def _ending_by(error: Exception, job: Claim, this: Attempt) -> Ending:
    """Of a try that ended by an error, which no handler expects."""
    kind = type(error).__name__
    if is_away(error):
        _waiting.seen(job=job.entrypoint, kind=kind)
        return Again(AWAY_S * random.uniform(1, 2), "away", counts=False)  # noqa: S311 - no secret
    if this.last or isinstance(error, msgspec.DecodeError):
        log.error("a job failed for good", job=job.entrypoint, id=job.id, exc_info=error)
        return Held(kind)
    log.warning("a job failed", job=job.entrypoint, attempt=this.number, exc_info=error)
    return Again(this.retry_s, kind)


def _age_s(job: Claim) -> float:
    return max(0.0, (utc_now() - job.created).total_seconds())
