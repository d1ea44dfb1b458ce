"""Outcomes that come late: each touches only what is still what it was sent to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver

from hub.domain.context import Domain
from hub.domain.notifications import delivery, steps
from hub.domain.notifications.orders import Order
from hub.domain.notifications.steps import Look
from hub.domain.notifications.writing import Written
from hub.domain.people import members
from hub.domain.questions import waves
from hub.domain.rules.kinds import Channel
from hub.domain.rules.reasons import Reason
from hub.domain.rules.states import FINAL, DeliveryStatus
from hub.plumbing.stores.outbox import enqueue
from hub.plumbing.stores.postgres import acquire
from protocol.domain_events import UserUpdated
from protocol.jobs import unseen_check
from protocol.rest.devices import DeviceRequest
from protocol.rest.questions import Ask
from tests import verbs
from tests.fakes import fcm_schema
from tests.fakes.fcm import FakeFcm
from tests.fakes.script import Fault
from tests.workers.conftest import Shift, add_person, deliveries, notify
from workers.queue import HELD_BEFORE, Claim, JobQueries

WAIT = 5.0


async def devices(d: Domain) -> list[tuple[str, str, str | None]]:
    rows = await d.pool.fetch("SELECT token, user_id, disabled_reason FROM devices ORDER BY token")
    return [(row["token"], row["user_id"], row["disabled_reason"]) for row in rows]


async def claim(d: Domain, told: Written, channel: Channel, lease_s: float) -> Order:
    order = await steps.take_steps(d, Look(told.id, told.created_at, channel, lease_s))
    assert order is not None
    return order


@pytest.mark.fault(12)
async def test_a_token_registered_again_meanwhile_is_no_dead_one(
    shift: Shift, fcm: FakeFcm, record_property: Callable[[str, object], None]
) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora")
    fcm.arm(Fault("send", action="hold"))
    fcm.unregistered.add(token)
    await notify(d, "bora")
    sending = asyncio.create_task(shift.advance())
    await fcm.wait_held(WAIT)
    await verbs.add_device(d, "bora", DeviceRequest(platform="android", token=token))
    fcm.release()
    await sending
    assert await devices(d) == [(token, "bora", None)]
    fcm.unregistered.clear()
    await shift.advance(5)
    assert await deliveries(d, "push") == [("push", "sent", None)]
    record_property("seen", "UNREGISTERED after a fresh registration: the device stays, told anew")


@pytest.mark.fault(12)
async def test_a_device_that_moved_meanwhile_is_its_new_owners(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora")
    await add_person(d, "next", devices=0)
    fcm.arm(Fault("send", action="hold"))
    fcm.unregistered.add(token)
    await notify(d, "bora")
    sending = asyncio.create_task(shift.advance())
    await fcm.wait_held(WAIT)
    await verbs.add_device(d, "next", DeviceRequest(platform="android", token=token))
    fcm.release()
    await sending
    await shift.advance(5)
    assert await devices(d) == [(token, "next", None)]
    assert await deliveries(d, "push") == [("push", "suppressed", "no_device")]


@pytest.mark.fault(12)
async def test_gone_between_two_tries_is_not_dead(shift: Shift, fcm: FakeFcm) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora", devices=1)
    await add_person(d, "next", devices=0)
    fcm.arm(Fault("send", status=503, body=fcm_schema.AWAY))
    await notify(d, "bora")
    await shift.advance()
    await verbs.add_device(d, "next", DeviceRequest(platform="android", token=token))
    await verbs.add_device(d, "bora", DeviceRequest(platform="android", token="newer"))
    await shift.advance(5)
    assert await devices(d) == [("newer", "bora", None), (token, "next", None)]
    assert sorted(await deliveries(d, "push"), key=str) == [
        ("push", "sent", None),
        ("push", "suppressed", "no_device"),
    ]
    assert [message["token"] for message in fcm.received] == ["newer"]


@pytest.mark.fault(12)
async def test_a_token_that_is_dead_is_so_for_all_pushes_under_way(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    (token,) = await add_person(d, "bora")
    first, second = await notify(d, "bora"), await notify(d, "bora")
    orders = [await claim(d, told, Channel.PUSH, 30) for told in (first, second)]
    for order in orders:
        one = order.targets[0]
        assert await delivery.settle(d, order, one, DeliveryStatus.FAILED, reason=Reason.TOKEN_DEAD)
    assert await devices(d) == [(token, "bora", "token_dead")]
    assert await deliveries(d, "push") == [("push", "failed", "token_dead")] * 2


@pytest.mark.fault(12)
async def test_an_address_that_changed_meanwhile_gets_its_mail(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "bora", devices=0, email="Old@Example.org")
    told = await notify(d, "bora")
    shift.clock.advance(601)
    order = await claim(d, told, Channel.EMAIL, 30)
    async with d.outbox.change() as change:
        await members.update(d, change, UserUpdated(user_id="bora", email="new@example.org"))
    dead = Reason.ADDRESS_SUPPRESSED
    assert not await delivery.settle(d, order, order.targets[0], DeliveryStatus.FAILED, reason=dead)
    assert await deliveries(d, "email") == [("email", "queued", None)]
    assert await d.pool.fetchval("SELECT array_agg(address) FROM suppressions") == [
        "old@example.org"
    ]
    again = await claim(d, told, Channel.EMAIL, 30)
    assert [target.address for target in again.targets] == ["new@example.org"]


@pytest.mark.fault(12)
async def test_who_lost_the_row_writes_nothing_into_it(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora")
    late = await claim(d, told, Channel.PUSH, 5)
    shift.clock.advance(6)
    now = await claim(d, told, Channel.PUSH, 60)
    for status in DeliveryStatus.QUEUED, *(FINAL - {DeliveryStatus.SENT}):
        await delivery.settle(d, late, late.targets[0], status)
        assert await deliveries(d, "push") == [("push", "sending", None)]
    await delivery.settle(d, late, late.targets[0], DeliveryStatus.SENT, provider_message_id="p1")
    await delivery.settle(d, now, now.targets[0], DeliveryStatus.FAILED, error_code="http_500")
    assert await deliveries(d, "push") == [("push", "sent", None)]


@pytest.mark.fault(12)
@pytest.mark.parametrize("status", [DeliveryStatus.QUEUED, DeliveryStatus.FAILED])
async def test_what_was_read_meanwhile_stays_withheld(shift: Shift, status: DeliveryStatus) -> None:
    d = shift.desk.domain
    await add_person(d, "bora")
    told = await notify(d, "bora")
    order = await claim(d, told, Channel.PUSH, 30)
    await verbs.mark_read(d, "bora", [str(told.id)])
    assert await steps.take_steps(d, Look(told.id, told.created_at)) is None
    await delivery.settle(d, order, order.targets[0], status, error_code="http_500")
    assert await deliveries(d, "push") == [("push", "suppressed", "seen")]


@asynccontextmanager
async def claimed_twice(d: Domain) -> AsyncIterator[tuple[JobQueries, Claim, Claim]]:
    """One job, claimed by a worker that then stood still, and by another one since."""
    told = await notify(d, "bora")
    await d.pool.execute("DELETE FROM pgqueuer")
    async with acquire(d.pool) as conn:
        job = unseen_check(str(told.id), told.created_at, delay_s=0, urgent=False)
        await enqueue(conn, [job])
        queries = JobQueries(AsyncpgDriver(conn))  # type: ignore[arg-type]

        async def pick() -> Claim:
            (job,) = await queries.claim(["unseen-check"], [0], [1], uuid4(), heartbeat_s=0)
            return job

        late, now = await pick(), await pick()
        assert late.id == now.id
        yield queries, late, now


async def job_state(d: Domain) -> list[tuple[str, int, bool]]:
    rows = await d.pool.fetch("SELECT status, attempts, headers FROM pgqueuer")
    return [(row["status"], row["attempts"], HELD_BEFORE in (row["headers"] or "")) for row in rows]


@pytest.mark.fault(12)
async def test_who_lost_the_job_neither_ends_nor_repeats_it(domain: Domain) -> None:
    await add_person(domain, "bora")
    async with claimed_twice(domain) as (queries, late, now):
        assert await queries.begin(late) is None
        await queries.retry(late, 0, "late", counts=True)
        await queries.hold(late, "late")
        await queries.done(late)
        assert await job_state(domain) == [("picked", 0, False)]
        assert await queries.begin(now) is not None
        await queries.retry(now, 0, "later", counts=True)
        assert await job_state(domain) == [("queued", 1, False)]


@pytest.mark.fault(12)
async def test_who_has_the_job_ends_it(domain: Domain) -> None:
    await add_person(domain, "bora")
    async with claimed_twice(domain) as (queries, late, now):
        await queries.hold(now, "held")
        await queries.hold(late, "late")
        assert await job_state(domain) == [("failed", 0, True)]


@pytest.mark.fault(12)
async def test_who_has_the_job_is_done_with_it(domain: Domain) -> None:
    await add_person(domain, "bora")
    async with claimed_twice(domain) as (queries, late, now):
        await asyncio.gather(queries.done(late), queries.done(now))
        assert await job_state(domain) == []


@pytest.mark.fault(12)
async def test_a_wave_ranked_before_the_answer_wakes_nobody_after_it(shift: Shift) -> None:
    d = shift.desk.domain
    await near(d, "bora")
    question = await verbs.ask(d, "mina", PHARMACY)
    async with acquire(d.pool) as conn:
        change = conn.transaction()
        await change.start()  # the answer stands in its transaction while the wave is ranked
        await conn.execute(
            "UPDATE questions SET first_answer_at = $2 WHERE id = $1", question.id, d.now()
        )
        ranking = asyncio.create_task(waves.tell_audience(d, question.id, 1))
        await waits_for_a_lock(d)
        await change.commit()
    assert await ranking == 0
    assert await d.pool.fetchval("SELECT count(*) FROM notifications WHERE user_id = 'bora'") == 0


async def waits_for_a_lock(d: Domain) -> None:
    async with asyncio.timeout(WAIT):
        while not await d.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.01)


PHARMACY = Ask(
    title="문 연 약국 있나요?",
    content="지금 연동에서 문을 연 약국을 찾아요.",
    urgency="urgent",
    lat=33.489,
    lng=126.493,
)


async def near(d: Domain, user_id: str) -> None:
    await add_person(d, user_id, is_local_verified=True, location_consent_at=d.now())
    await verbs.locate(d, user_id, 33.489, 126.493, 20)
