"""The whole way of one urgent question through the heart, on real stores."""

import asyncio
from typing import Any
from uuid import uuid4

import orjson
import pytest

from hub.domain import arrival, intake
from hub.domain.context import Domain
from hub.domain.notifications import delivery, inbox, steps
from hub.domain.notifications.steps import Look
from hub.domain.people import members
from hub.domain.people.sessions import ALL_SCOPES, Service
from hub.domain.questions import asking, waves
from hub.domain.rules.kinds import Channel
from hub.domain.rules.states import DeliveryStatus
from hub.plumbing.stores.postgres import acquire
from protocol.domain_events import Envelope, UserUpdated
from protocol.errors import Code, HubError
from protocol.rest.devices import DeviceRequest
from protocol.rest.questions import Ask
from tests import verbs

PHARMACY = Ask(
    title="문 연 약국 있나요?",
    content="지금 연동에서 문을 연 약국을 찾아요.",
    urgency="urgent",
    lat=33.48912,
    lng=126.49321,
    hashtags=("#약국",),
)
SERVICE = Service("qa", frozenset(ALL_SCOPES), ("",), ("*",), 1000, 10000)


async def local(d: Domain, user_id: str, lat: float = 33.4895, lng: float = 126.4935) -> None:
    async with d.outbox.change() as change:
        await members.update(
            d,
            change,
            UserUpdated(
                user_id=user_id,
                nickname=user_id,
                email=f"{user_id}@example.org",
                is_local_verified=True,
                location_consent_at=d.now(),
            ),
        )
    await verbs.locate(d, user_id, lat, lng, 20)


async def rows(d: Domain, sql: str, *args: Any) -> list[Any]:
    return list(await d.pool.fetch(sql, *args))


async def test_an_urgent_question_is_asked_told_answered_and_rewarded(domain: Domain) -> None:
    d = domain
    for name in ("bora", "chan"):
        await local(d, name)
    question = await verbs.ask(d, "mina", PHARMACY)
    assert question.neighbourhood_code == "yeon"
    assert question.location is not None
    assert (question.location.lat, question.location.lng) == (33.489, 126.493)

    assert await waves.tell_audience(d, question.id, 1) == 2
    assert await waves.tell_audience(d, question.id, 1) == 0, "nobody is told twice"
    assert (await inbox.unread_count(d, "bora")).by_kind == {"question_urgent": 1}

    answer = await verbs.answer(d, "bora", question.id, "중앙약국이 열려 있어요.")
    assert (await inbox.unread_count(d, "mina")).by_kind == {"answer_created": 1}

    accepted = await verbs.accept(d, "mina", answer.id)
    assert accepted.points == 10
    points = await rows(d, "SELECT user_id, amount FROM point_transactions")
    assert [(row["user_id"], row["amount"]) for row in points] == [("bora", 10)]
    unpublished = await rows(d, "SELECT * FROM outbox WHERE published_at IS NULL")
    assert unpublished == []


async def test_two_accepts_at_once_have_one_winner(domain: Domain) -> None:
    d = domain
    question = await verbs.ask(d, "mina", PHARMACY)
    given = [await verbs.answer(d, name, question.id, "여기요") for name in ("a", "b")]
    results = await asyncio.gather(
        *(verbs.accept(d, "mina", one.id) for one in given), return_exceptions=True
    )
    lost = [one for one in results if isinstance(one, HubError)]
    assert [one.code for one in lost] == [Code.CONFLICT]
    assert len(await rows(d, "SELECT * FROM point_transactions")) == 1


@pytest.mark.parametrize("who", ["stranger", "bora"])
async def test_only_the_asker_accepts(domain: Domain, who: str) -> None:
    question = await verbs.ask(domain, "mina", PHARMACY)
    answer = await verbs.answer(domain, "bora", question.id, "여기요")
    with pytest.raises(HubError, match="Only the asker"):
        await verbs.accept(domain, who, answer.id)


async def test_a_closed_question_takes_no_answer(domain: Domain) -> None:
    question = await verbs.ask(domain, "mina", PHARMACY)
    await verbs.close(domain, "mina", question.id)
    with pytest.raises(HubError) as refused:
        await verbs.answer(domain, "bora", question.id, "여기요")
    assert refused.value.code is Code.CONFLICT
    stored = await rows(domain, "SELECT lat, lng, cell FROM questions")
    assert stored[0]["lat"] is None
    assert stored[0]["cell"] is not None


async def test_one_urgent_question_at_a_time(domain: Domain) -> None:
    await verbs.ask(domain, "mina", PHARMACY)
    with pytest.raises(HubError) as refused:
        await verbs.ask(domain, "mina", PHARMACY)
    assert refused.value.code is Code.CONFLICT


async def test_sync_brings_each_change_once_and_unread_is_exact(domain: Domain) -> None:
    d = domain
    await local(d, "bora")
    question = await verbs.ask(d, "mina", PHARMACY)
    await waves.tell_audience(d, question.id, 1)
    first = await inbox.sync(d, "bora", None, 100)
    assert [item.kind for item in first.items] == ["question_urgent"]
    assert (first.unread, first.reset) == (1, False)
    assert (await inbox.sync(d, "bora", first.next, 100)).items == ()

    id = first.items[0].id
    assert await verbs.mark_seen(d, "bora", [id]) == 1
    assert await verbs.mark_read(d, "bora", [id]) == 0
    assert await verbs.mark_read(d, "bora", [id]) == 0
    changed = await inbox.sync(d, "bora", first.next, 100)
    assert changed.items[0].read_at is not None
    assert changed.unread == 0
    assert (await inbox.sync(d, "bora", 999, 100)).reset


async def test_an_early_acknowledgement_is_kept_for_the_ranking(domain: Domain) -> None:
    d = domain
    await local(d, "bora")
    question = await verbs.ask(d, "mina", PHARMACY)
    assert await verbs.acknowledge(d, "bora", [], [question.id]) == 0
    assert await waves.tell_audience(d, question.id, 1) == 1
    row = (await rows(d, "SELECT acknowledged_at FROM notifications"))[0]
    assert row["acknowledged_at"] is not None


async def test_an_acknowledgement_waits_for_the_ranking_that_writes_its_person(
    domain: Domain,
) -> None:
    """Shown by the broadcast, acknowledged while the wave's rows are on their way: no push."""
    d = domain
    await local(d, "bora")
    question = await verbs.ask(d, "mina", PHARMACY)
    async with acquire(d.pool) as conn:
        last_step = conn.transaction()
        await last_step.start()  # what the ranking touches last, when its rows are written
        await conn.execute("SELECT FROM urgent_waves FOR UPDATE")
        ranking = asyncio.create_task(waves.tell_audience(d, question.id, 1))
        await lock_is_waited_for(d, 1)
        shown = asyncio.create_task(verbs.acknowledge(d, "bora", [], [question.id]))
        await lock_is_waited_for(d, 2)
        await last_step.commit()
    assert await ranking == 1
    assert await shown == 1
    assert await d.pool.fetchval("SELECT acknowledged_at FROM notifications") is not None


async def lock_is_waited_for(d: Domain, count: int) -> None:
    """By so many at once."""
    async with asyncio.timeout(10):
        while count > await d.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.01)


async def test_a_push_is_claimed_once(domain: Domain) -> None:
    d = domain
    await local(d, "bora")
    await verbs.add_device(d, "bora", DeviceRequest(platform="android", token="t-1"))
    question = await verbs.ask(d, "mina", PHARMACY)
    await waves.tell_audience(d, question.id, 1)
    row = (await rows(d, "SELECT id, created_at FROM notifications"))[0]
    orders = [
        await steps.take_steps(d, Look(row["id"], row["created_at"], Channel.PUSH, 15))
        for _ in "12"
    ]
    assert orders[0] is not None
    assert orders[1] is None
    await delivery.settle(
        d, orders[0], orders[0].targets[0], DeliveryStatus.SENT, provider_message_id="p1"
    )
    sent = await rows(d, "SELECT status, provider_message_id FROM deliveries")
    assert [(one["status"], one["provider_message_id"]) for one in sent] == [("sent", "p1")]


async def test_an_event_is_applied_once(domain: Domain) -> None:
    d = domain
    event = Envelope(
        event_id=uuid4(),
        event_type="question.created",
        occurred_at=d.now(),
        payload={
            "questionId": "q-1",
            "userId": "mina",
            "urgency": "urgent",
            "title": "약국?",
            "location": {"lat": 33.48912345, "lng": 126.49387654},
        },
    )
    both = [await intake.accept(d, SERVICE, [event]) for _ in "12"]
    assert [(one.accepted, one.duplicates) for one in both] == [(1, 0), (0, 1)]
    assert len(await rows(d, "SELECT * FROM questions")) == 1
    kept = orjson.loads((await rows(d, "SELECT payload FROM inbox_events"))[0]["payload"])
    assert kept["location"] == {"lat": 33.489, "lng": 126.494}


async def test_an_event_before_its_question_waits_for_it(domain: Domain) -> None:
    d = domain
    id = uuid4()
    event = Envelope(
        event_id=id,
        event_type="answer.created",
        occurred_at=d.now(),
        payload={
            "answerId": "a-1",
            "questionId": "q-9",
            "answererId": "bora",
            "questionerId": "mina",
            "excerpt": "여기요",
        },
    )
    assert (await intake.accept(d, SERVICE, [event])).accepted == 1
    assert not await intake.apply(d, id)
    async with d.outbox.change() as change:
        await asking.ask(d, change, "mina", PHARMACY, id="q-9")
    assert await intake.apply(d, id)
    assert (await rows(d, "SELECT error FROM inbox_events"))[0]["error"] is None
    assert len(await rows(d, "SELECT * FROM answers")) == 1


async def test_what_redis_did_not_take_stays_and_is_swept(domain: Domain) -> None:
    d = domain
    failing = [True]
    publish = d.outbox._publish

    async def sometimes(told: Any) -> None:
        if failing[0]:
            raise ConnectionError("away")
        await publish(told)

    d.outbox._publish = sometimes
    question = await verbs.ask(d, "mina", PHARMACY)
    waiting = await rows(d, "SELECT id FROM outbox WHERE published_at IS NULL")
    assert waiting
    failing[0] = False
    await d.pool.execute("UPDATE outbox SET available_at = now()")
    assert await d.outbox.sweep() == len(waiting)
    published = d.keys.published(str(waves.broadcast_id(question.id, 1)))
    assert await d.redis.exists(published)


async def test_a_position_needs_consent_and_is_only_a_cell(domain: Domain) -> None:
    with pytest.raises(HubError, match="consent"):
        await verbs.locate(domain, "nobody", 33.49, 126.49, 10)
    await local(domain, "bora")
    stored = (await rows(domain, "SELECT * FROM user_locations"))[0]
    assert set(dict(stored)) == {
        "user_id", "cell", "region_code", "neighbourhood_code", "updated_at", "expires_at",
    }  # fmt: skip
    [welcome] = await arrival.arrive(domain, ["bora"])
    assert {"user:bora", "region:jeju", "neighbourhood:yeon"} <= set(welcome.rooms)
    assert any(room.startswith("cell:88") for room in welcome.rooms)
