"""What each job does: one entry point, one function. How often and when it runs is the runner's."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from hub.domain import intake, shards
from hub.domain.context import Domain
from hub.domain.notifications import first_look as looks
from hub.domain.notifications import retraction, steps
from hub.domain.notifications.steps import Look
from hub.domain.questions import progress, waves
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from hub.plumbing.stores.postgres import acquire
from hub.plumbing.telemetry.trace import current
from protocol.errors import Code, HubError
from protocol.jobs import (
    JOBS,
    AttendedJob,
    ClockJob,
    DeliveryJob,
    DeviceTestJob,
    EventJob,
    FirstLookJob,
    HandOverJob,
    PushRetractJob,
    RetractJob,
    ScheduledJob,
    WaveJob,
)
from workers.books import Books
from workers.channels.provider import Providers
from workers.device_test import push_test
from workers.ending import UNASKED, Again, Attempt, Done, Ending, Held
from workers.recalling import clear
from workers.schedules import SCHEDULES, Plan
from workers.sending import deliver

LEASE_SLACK_S: Final = 2.0
"""A claim outlives its provider's time-out by this much; redelivery after a crash takes longer."""


class Desk:
    """What a job works with. Jobs at once share the statements of their steps (`books`)."""

    def __init__(self, domain: Domain, providers: Providers, plan: Plan | None = None) -> None:
        self.domain = domain
        self.providers = providers
        self.plan = plan or Plan()
        self.books = Books(domain)


async def send(desk: Desk, job: DeliveryJob, this: Attempt, channel: Channel) -> Ending:
    """Follow the rules for one notification, and send what is due on `channel`."""
    providers = desk.providers
    order = await desk.books.take_steps(
        Look(
            UUID(job.notification_id),
            job.created_at,
            channel,
            providers.timeout_s(channel) + LEASE_SLACK_S,
            withhold=None if providers.has(channel) else Reason.NOT_CONFIGURED,
            again=this.again and this.number == 1,
            trace=current(),
        )
    )
    if order is None:
        return UNASKED
    return await deliver(desk.books, providers, order, this)


async def give_up(desk: Desk, job: DeliveryJob, channel: Channel) -> None:
    """Each of its tries killed a worker; the person is told on the next channel."""
    id = UUID(job.notification_id)
    await steps.give_up(desk.domain, id, job.created_at, channel, "worker_died")


async def unseen_check(desk: Desk, job: DeliveryJob, this: Attempt) -> Ending:
    """Look again whether somebody acknowledged or saw it."""
    id = UUID(job.notification_id)
    await desk.books.take_steps(Look(id, job.created_at, trace=current()))
    return Done()


async def first_look(desk: Desk, job: FirstLookJob, this: Attempt) -> Ending:
    await looks.look(desk.domain, [UUID(id) for id in job.notification_ids], job.created_at)
    return Done()


async def urgent_clock(desk: Desk, job: ClockJob, this: Attempt) -> Ending:
    await progress.look(desk.domain, job.question_id, job.due_at)
    return Done()


async def urgent_wave(desk: Desk, job: WaveJob, this: Attempt) -> Ending:
    await waves.tell_audience(desk.domain, job.question_id, job.wave)
    return Done()


async def urgent_retract(desk: Desk, job: RetractJob, this: Attempt) -> Ending:
    await retraction.settle_pending(desk.domain, job.question_id, Reason(job.reason))
    return Done()


async def attended(desk: Desk, job: AttendedJob, this: Attempt) -> Ending:
    await retraction.settle_attended(desk.domain, job.user_id, job.after, job.until)
    return Done()


async def push_retract(desk: Desk, job: PushRetractJob, this: Attempt) -> Ending:
    return await clear(desk.domain, desk.providers, job, this)


async def device_test(desk: Desk, job: DeviceTestJob, this: Attempt) -> Ending:
    return await push_test(desk.domain, desk.providers, job, this)


async def scheduled(desk: Desk, job: ScheduledJob, this: Attempt, name: str) -> Ending:
    """One firing, within its time; what it had done by then is done, and it goes on from there."""
    schedule, plan = SCHEDULES[name], desk.plan
    day = job.due_at.astimezone(ZoneInfo(plan.zone)).date()
    try:
        async with asyncio.timeout(schedule.limit_s) as limit:
            await schedule.work(desk.domain, plan, day)
    except TimeoutError:
        if not limit.expired():
            raise
        return Held("over_time") if this.last else Again(this.retry_s, "over_time")
    return Done()


async def event(desk: Desk, job: EventJob, this: Attempt) -> Ending:
    """After the last try its error stays in inbox_events."""
    applied = await intake.apply(desk.domain, UUID(job.event_id))
    return Done() if applied or this.last else Again(this.retry_s, "not_applied")


async def hand_over(desk: Desk, job: HandOverJob, this: Attempt) -> Ending:
    """Held for a region that DB_SHARDS does not name any more; a database that is away takes no
    try."""
    d, other = desk.domain, desk.domain.elsewhere.get(job.region)
    if other is None:
        return Held("no_shard")
    try:
        async with acquire(other.pool) as there, acquire(d.pool) as here:
            await shards.take_over(here, there, job, partial(looks.online, d))
    except HubError as error:
        if error.code is not Code.UNAVAILABLE:
            raise
        return Again(this.retry_s, "shard_away", counts=False)
    return Done()


_SENDING: Final = {
    name: Channel(row.channel)
    for name, row in JOBS.items()
    if row.channel and row.form is DeliveryJob
}

GIVING_UP: Final[dict[str, Callable[[Desk, Any], Awaitable[None]]]] = {
    name: partial(give_up, channel=channel) for name, channel in _SENDING.items()
}
"""What is still to be done for a job that has killed its worker too often to be tried again."""

HANDLERS: Final[dict[str, Callable[[Desk, Any, Attempt], Awaitable[Ending]]]] = {
    **{name: partial(send, channel=channel) for name, channel in _SENDING.items()},
    "push-retract:urgent": push_retract,
    "push-retract:normal": push_retract,
    "device-test": device_test,
    "attended": attended,
    "first-look": first_look,
    "unseen-check": unseen_check,
    "urgent-clock": urgent_clock,
    "urgent-wave": urgent_wave,
    "urgent-retract": urgent_retract,
    "event": event,
    "hand-over": hand_over,
    **{name: partial(scheduled, name=name) for name in SCHEDULES},
}
