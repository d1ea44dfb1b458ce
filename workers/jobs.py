"""What each job does: one entry point, one function. How often and when it runs is the runner's."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from hub.domain import intake
from hub.domain.context import Domain
from hub.domain.notifications import delivery, retraction
from hub.domain.notifications import first_look as looks
from hub.domain.questions import progress, waves
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from protocol.jobs import (
    ClockJob,
    EmailJob,
    EventJob,
    FirstLookJob,
    NotificationJob,
    RetractJob,
    UnseenCheckJob,
    WaveJob,
)
from workers.attempt import Attempt, TryAgain
from workers.providers import Senders
from workers.sending import deliver

LEASE_SLACK_S: Final = 2.0
"""A claim outlives its provider's time-out by this much; redelivery after a crash takes longer."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a job works with."""

    domain: Domain
    senders: Senders


async def push(desk: Desk, job: NotificationJob, this: Attempt) -> str:
    ready, lease_s = desk.senders.push.configured, desk.senders.push_timeout_s
    return await _send(desk, job, this, Channel.PUSH, ready, lease_s)


async def email(desk: Desk, job: EmailJob, this: Attempt) -> str:
    ready, lease_s = desk.senders.mail.configured, desk.senders.mail_timeout_s
    return await _send(desk, job, this, Channel.EMAIL, ready, lease_s)


async def _send(
    desk: Desk,
    job: NotificationJob | EmailJob,
    this: Attempt,
    channel: Channel,
    configured: bool,
    timeout_s: float,
) -> str:
    order = await delivery.take_steps(
        desk.domain,
        UUID(job.notification_id),
        job.created_at,
        channel,
        timeout_s + LEASE_SLACK_S,
        withhold=this.withhold if configured else Reason.NOT_CONFIGURED,
        again=this.again and this.number == 1,
    )
    if order is None:
        return "done"
    return await deliver(desk.domain, desk.senders, order, this)


async def first_look(desk: Desk, job: FirstLookJob, this: Attempt) -> str:
    await looks.look(desk.domain, [UUID(id) for id in job.notification_ids], job.created_at)
    return "done"


async def unseen_check(desk: Desk, job: UnseenCheckJob, this: Attempt) -> str:
    id = UUID(job.notification_id)
    await delivery.take_steps(desk.domain, id, job.created_at, channel=None, lease_s=0)
    return "done"


async def urgent_wave(desk: Desk, job: WaveJob, this: Attempt) -> str:
    await waves.tell_audience(desk.domain, job.question_id, job.wave)
    return "done"


async def urgent_clock(desk: Desk, job: ClockJob, this: Attempt) -> str:
    await progress.look(desk.domain, job.question_id, job.due_at)
    return "done"


async def urgent_retract(desk: Desk, job: RetractJob, this: Attempt) -> str:
    await retraction.settle_pending(desk.domain, job.question_id, Reason(job.reason))
    return "done"


async def event(desk: Desk, job: EventJob, this: Attempt) -> str:
    """After the last try its error stays in inbox_events."""
    applied = await intake.apply(desk.domain, UUID(job.event_id))
    if not applied and not this.last:
        raise TryAgain("not_applied", this.retry_s)
    return "done"


HANDLERS: Final[dict[str, Callable[[Desk, Any, Attempt], Awaitable[str]]]] = {
    "notification:urgent": push,
    "notification:normal": push,
    "email": email,
    "first-look": first_look,
    "unseen-check": unseen_check,
    "urgent-clock": urgent_clock,
    "urgent-wave": urgent_wave,
    "urgent-retract": urgent_retract,
    "event": event,
}
