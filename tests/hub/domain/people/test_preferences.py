"""What people want, changed by several at once, and what follows from it."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import msgspec

from hub.domain import arrival, intake
from hub.domain.context import Domain
from hub.domain.notifications import steps
from hub.domain.notifications.steps import Look
from hub.domain.notifications.writing import News
from hub.domain.rules.kinds import QUESTION_URGENT, Channel
from protocol.domain_events import Envelope
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.hub.domain.test_flow import SERVICE, local


async def moved(d: Domain, user_id: str, rooms: set[str]) -> set[str]:
    """Where sockets in these rooms are after all moves, in the order in which they were told."""
    rows = await d.pool.fetch(
        "SELECT payload FROM outbox WHERE key = $1 ORDER BY id", f"user:{user_id}"
    )
    for row in rows:
        move = msgspec.msgpack.decode(row["payload"]).get("move")
        if move is not None:
            rooms = (rooms | set(move.get("join", ()))) - set(move.get("leave", ()))
    return rooms


async def test_of_changes_at_once_each_moves_from_where_the_one_before_it_ended(
    domain: Domain,
) -> None:
    d = domain
    codes = [spot.code for spot in d.atlas.neighbourhoods[:4]]
    before = set((await arrival.arrive(d, ["minji"]))[0].rooms)
    await asyncio.gather(
        *(verbs.prefer(d, "minji", muted_neighbourhoods=(code,)) for code in codes),
        *(verbs.prefer(d, "minji", followed_hashtags=(f"t{n}", "all")) for n in range(4)),
        *(verbs.prefer(d, "minji", urgent_enabled=on) for on in (False, True, False)),
        verbs.introduce(d, "minji", neighbourhood_code=codes[0]),
    )
    assert await moved(d, "minji", before) == set((await arrival.arrive(d, ["minji"]))[0].rooms)


async def test_a_change_that_moves_nothing_is_told_to_nobody(domain: Domain) -> None:
    await verbs.prefer(domain, "minji", radius_m=700, push_enabled=False)
    assert await domain.pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_who_lives_elsewhere_by_another_service_moves_too(domain: Domain) -> None:
    d = domain
    before = set((await arrival.arrive(d, ["minji"]))[0].rooms)
    payload = {"userId": "minji", "regionCode": "jeju"}
    event = Envelope(
        event_id=uuid4(), event_type="user.updated", occurred_at=d.now(), payload=payload
    )
    await intake.accept(d, SERVICE, [event])
    assert await moved(d, "minji", before) == {"user:minji", "region:jeju"}


async def test_of_two_jobs_at_one_moment_one_makes_the_phone_ring(domain: Domain) -> None:
    d = domain
    await local(d, "bora")
    await verbs.add_device(d, "bora", DeviceRequest(platform="android", token="t"))
    told = []
    for title in ("하나", "둘"):
        news = News("bora", QUESTION_URGENT.name, title, "여기요", dedup_key=title)
        told += await verbs.notify(d, news)
    async with d.pool.acquire(), d.pool.acquire():
        pass  # two connections are open: neither job waits for one
    orders = await asyncio.gather(
        *(steps.take_steps(d, Look(one.id, one.created_at, Channel.PUSH, 15)) for one in told)
    )
    assert sorted(order is None for order in orders) == [False, True]
    reasons = await d.pool.fetch("SELECT reason FROM decisions WHERE channel = 'push'")
    assert {row["reason"] for row in reasons} == {"no_live_socket", "cap_person"}


async def test_nearby_is_what_the_settings_say_until_a_person_says_otherwise(
    domain: Domain,
) -> None:
    d = replace(domain, policy=replace(domain.policy, nearby_radius_m=5000))
    assert (await verbs.prefer(d, "minji", push_enabled=True)).radius_m == 5000
    assert (await verbs.prefer(d, "minji", radius_m=700)).radius_m == 700
