"""notification.delivered and notification.seen, for services that count."""

from typing import Any

import msgspec

from hub.domain.context import Domain
from hub.domain.notifications import delivery, steps
from hub.domain.notifications.steps import Look
from hub.domain.notifications.writing import News
from hub.domain.people import members
from hub.domain.rules.kinds import Channel
from hub.domain.rules.states import DeliveryStatus
from protocol.domain_events import Envelope
from protocol.rest.devices import DeviceRequest
from tests import verbs


async def told(d: Domain) -> list[tuple[str, Any, Any]]:
    entries: Any = await d.redis.xrange(d.keys.events_out)
    events = [msgspec.msgpack.decode(fields[b"e"], type=Envelope) for _, fields in entries]
    return [(one.event_type, one.payload["userId"], one.payload["channel"]) for one in events]


async def sweep(d: Domain) -> None:
    await d.pool.execute("UPDATE outbox SET available_at = now() - interval '1 s'")
    while await d.outbox.sweep():
        pass


async def test_services_hear_once_of_each_and_nobody_waits_for_it(domain: Domain) -> None:
    d = domain
    async with d.pool.acquire() as conn:
        await members.ensure(d, conn, "bora")
    await verbs.add_device(d, "bora", DeviceRequest(platform="android", token="t"))
    (one,) = await verbs.notify(d, News("bora", "sale", "t", "b"))
    order = await steps.take_steps(d, Look(one.id, one.created_at, Channel.PUSH, 15))
    assert order is not None
    await delivery.settle(d, order, order.targets[0], DeliveryStatus.SENT)
    for _ in range(2):
        await verbs.acknowledge(d, "bora", [str(one.id)])
    await verbs.mark_seen(d, "bora", [str(one.id)])
    await verbs.mark_read(d, "bora", [str(one.id)])
    assert await told(d) == [], "left to the sweeper"
    await sweep(d)
    assert await told(d) == [
        ("notification.delivered", "bora", "push"),
        ("notification.delivered", "bora", "socket"),
        ("notification.seen", "bora", "rest"),
    ]
