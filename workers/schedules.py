"""Schedules: one row each, and the clock that turns a row that is due into a job.

Every worker looks, and of all of them one enqueues: who moves the row on in `schedules` puts the
job into the queue in the same transaction. The queue gives a firing what every job has: tries, a
worker that takes over from one that died, a dead letter that can be put back. A firing that no
worker was there for is made up for once, when one is there again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog
from croniter import croniter

from hub.domain import digest, retention, statistics
from hub.domain.context import Domain
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.settings.product import Jobs
from hub.plumbing.stores.outbox import enqueue
from hub.plumbing.stores.postgres import AWAY, Pool, acquire
from protocol.errors import HubError
from protocol.jobs import scheduled_job
from workers.upkeep import prune

LOOK_S: Final = 30.0
"""A clock that was set, or a row that another version wrote, is noticed so soon."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the works of schedules go by."""

    ages: retention.Ages = retention.Ages()  # noqa: RUF009 - it is frozen
    zone: str = "Asia/Seoul"


async def _trending(d: Domain, plan: Plan, day: date) -> None:
    await statistics.count_trending(d)


async def _digest(d: Domain, plan: Plan, day: date) -> None:
    await digest.send(d, day)


async def _roll_up(d: Domain, plan: Plan, day: date) -> None:
    """Of the day that is over, and of the one before: what was sent late in it was seen since."""
    for back in (2, 1):
        await statistics.roll_up(d, day - timedelta(days=back), plan.zone)


async def _retention(d: Domain, plan: Plan, day: date) -> None:
    gone = await retention.sweep(d, plan.ages)
    log.info("retention.swept", **{name: count for name, count in gone.items() if count})


async def _job_log(d: Domain, plan: Plan, day: date) -> None:
    await prune(d.pool)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`cron` in SCHEDULER_TZ; `work` is given the local day of the firing and ends within
    `limit_s`. Tries and priority are those of the job of the same name (protocol/jobs.py)."""

    cron: Callable[[Jobs], str]
    work: Callable[[Domain, Plan, date], Awaitable[None]]
    limit_s: float


SCHEDULES: Final[dict[str, Schedule]] = {
    "trending": Schedule(lambda part: part.trending_cron, _trending, 60),
    "digest": Schedule(lambda part: part.digest_cron, _digest, 3600),
    "roll-up": Schedule(lambda part: part.rollup_cron, _roll_up, 900),
    "retention": Schedule(lambda part: part.rollup_cron, _retention, 900),
    "job-log": Schedule(lambda part: "17 * * * *", _job_log, 60),
}


def next_after(cron: str, zone: str, now: datetime) -> datetime:
    """The first moment after `now` that the cron expression names on the zone's clocks."""
    found: datetime = croniter(cron, now.astimezone(ZoneInfo(zone))).get_next(datetime)
    return found


async def run_schedules(pool: Pool, figures: Jobs, now: Callable[[], datetime]) -> None:
    """Enqueue what falls due, until cancelled."""
    waiting = Lasting(log, "schedules.wait", "schedules.run_again")
    while True:
        wait_s = LOOK_S
        try:
            due = await fire_due(pool, figures, now())
            waiting.over()
            wait_s = min(LOOK_S, max(0.1, (due - now()).total_seconds()))
        except (*AWAY, HubError) as error:
            waiting.seen(kind=type(error).__name__)
        await asyncio.sleep(wait_s)


async def fire_due(pool: Pool, figures: Jobs, now: datetime) -> datetime:
    """Enqueue a job for each schedule that is due; when the next one will be.

    A schedule whose cron expression or zone has changed begins anew from now.
    """
    soonest = now + timedelta(days=366)
    for name, row in SCHEDULES.items():
        cron, zone = row.cron(figures), figures.scheduler_tz
        following = next_after(cron, zone, now)
        async with acquire(pool) as conn, conn.transaction():
            await conn.execute(
                "INSERT INTO schedules AS held (name, cron, due_at) VALUES ($1, $2, $3)"
                " ON CONFLICT (name) DO UPDATE SET cron = $2, due_at = $3 WHERE held.cron <> $2",
                name,
                f"{cron} {zone}",
                following,
            )
            fired = await conn.fetchval(
                "UPDATE schedules one SET due_at = $2 FROM (SELECT name, due_at FROM schedules"
                " WHERE name = $1 AND due_at <= $3 FOR UPDATE) was WHERE one.name = was.name"
                " RETURNING was.due_at",
                name,
                following,
                now,
            )
            if fired is not None:
                await enqueue(conn, [scheduled_job(name, fired)])
        soonest = min(soonest, following)
    return soonest
