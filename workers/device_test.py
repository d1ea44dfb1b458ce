"""A push that its person asked for, to see whether it arrives."""

from hub.domain.context import Domain
from hub.domain.notifications import inbox
from hub.domain.people import devices
from hub.domain.people.devices import Reached
from hub.domain.rules.kinds import Channel
from hub.plumbing.stores.postgres import acquire
from protocol.jobs import DeviceTestJob
from protocol.texts import DEVICE_TEST, render_push
from workers.channels.message import Message, Recipient
from workers.channels.outcome import Permanent, Temporary
from workers.channels.provider import Providers
from workers.ending import UNASKED, Again, Attempt, Done, Ending
from workers.sending import link_to


async def push_test(d: Domain, providers: Providers, job: DeviceTestJob, this: Attempt) -> Ending:
    async with acquire(d.pool) as conn:
        device = await devices.reached(conn, job.user_id, job.device_id)
    if device is None:
        return UNASKED
    to = Recipient(device.address, device.platform, device.environment, device.registered_at)
    provider = providers.serving(Channel.PUSH, to)
    if provider is None:
        return UNASKED
    match await provider.send(to, await _message(d, job, device)):
        case Permanent(_, token_dead) if token_dead:
            async with acquire(d.pool) as conn:
                await devices.give_up(conn, device.id, device.registered_at, d.now())
        case Temporary(code, wait) if not this.last:
            return Again(max(this.retry_s, wait or 0.0), code)
    return Done()


async def _message(d: Domain, job: DeviceTestJob, device: Reached) -> Message:
    title, body = render_push(DEVICE_TEST, device.locale, {})
    return Message(
        notification_id=job.notification_id,
        delivery_id=job.notification_id,
        kind=DEVICE_TEST,
        locale=device.locale,
        title=title,
        body=body,
        unread=(await inbox.unread_count(d, job.user_id)).count,
        url=link_to(None, d.policy.public_base_url),
        collapse_id=job.notification_id,
        created_at=d.now(),
    )
