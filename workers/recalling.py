"""Clears phones: a silent message with the collapse id of the push takes it off the screen."""

import asyncio
from uuid import UUID

from hub.domain.context import Domain
from hub.domain.notifications import recall
from hub.domain.notifications.recall import Recall, Screen
from hub.domain.rules.kinds import Channel
from protocol.jobs import PushRetractJob
from protocol.texts import language_of
from workers.channels.message import Message, Recipient
from workers.channels.outcome import Blocked, Permanent, Sent, Temporary
from workers.channels.provider import Providers
from workers.ending import UNASKED, Again, Attempt, Done, Ending, ending_of
from workers.sending import link_to


async def clear(d: Domain, providers: Providers, job: PushRetractJob, this: Attempt) -> Ending:
    """All screens at once; nothing is held where it fails: it would only be cleared late."""
    told = await recall.recall(d, UUID(job.notification_id), job.created_at)
    if told is None:
        return UNASKED
    endings = await asyncio.gather(
        *(_clear(d, providers, told, screen, this) for screen in told.screens)
    )
    return ending_of(endings)


async def _clear(
    d: Domain, providers: Providers, told: Recall, screen: Screen, this: Attempt
) -> Ending:
    """What a browser shows stays: no silent message takes it back."""
    to = Recipient(screen.address, screen.platform, screen.environment, screen.registered_at)
    provider = providers.serving(Channel.PUSH, to)
    if provider is None or not provider.row.retracts:
        return UNASKED
    match await provider.send(to, message_of(told, screen, d.policy.public_base_url)):
        case Sent():
            await recall.cleared(d, told, screen)
        case Permanent(_, token_dead) if token_dead:
            await recall.gave_up(d, screen)
        case Temporary(code, wait) if not this.last:
            return Again(max(this.retry_s, wait or 0.0), code)
        case Blocked(seconds, code) if not this.last:
            return Again(seconds, code)
    return Done()


def message_of(told: Recall, screen: Screen, base_url: str) -> Message:
    one = told.notification
    return Message(
        notification_id=str(one.id),
        delivery_id=str(screen.message_id),
        kind=one.kind_name,
        locale=language_of(screen.locale),
        title="",
        body="",
        unread=told.unread,
        url=link_to(one.question_id, base_url),
        collapse_id=one.collapse_id,
        created_at=one.created_at,
        question_id=one.question_id,
        answer_id=one.answer_id,
        deadline_at=told.until,
        silent=True,
    )
