"""The stream of domain events: read by a group, applied once, deleted when it is done."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from redis.exceptions import ResponseError

from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.domain import intake, queues
from hub.domain.context import Domain
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.domain_events import Envelope
from protocol.payload import iso
from tests.hub.domain.test_flow import SERVICE
from workers.consumer import GROUP, Consumer

STREAM = "events"


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    line = Line(Server.of(redis_url), "test")
    yield line
    await line.close()


@asynccontextmanager
async def working(d: Domain, redis_url: str, **how: Any) -> AsyncIterator[Consumer]:
    own = Line(Server.of(redis_url), "consumer")
    consumer = Consumer(d, own, STREAM, **how)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stopping.set()
        await asyncio.wait_for(task, 5)
        await own.close()


def told(d: Domain, kind: str = "user.registered", **payload: Any) -> dict[str, Any]:
    return {
        "eventId": str(uuid4()),
        "eventType": kind,
        "occurredAt": iso(d.now()),
        "publisher": "user-service",
        "payload": payload or {"userId": "bora", "email": "bora@example.org"},
    }


async def write(line: Line, event: dict[str, Any] | bytes, *, packed: bool = False) -> None:
    form = msgspec.msgpack if packed else msgspec.json
    body = event if isinstance(event, bytes) else form.encode(event)
    await line.call("XADD", STREAM, "*", "e", body)


async def done(line: Line) -> None:
    """Nothing waits, nothing is in anybody's hands."""
    async with asyncio.timeout(10):
        while await line.call("XLEN", STREAM):
            await asyncio.sleep(0.01)
    assert await in_hand(line) == 0


async def in_hand(line: Line) -> int:
    """How many a worker has read and not done; none before there is a group."""
    try:
        pending: int = (await line.call("XPENDING", STREAM, GROUP))[0]
    except ResponseError:
        return 0
    return pending


async def kept(d: Domain, event: dict[str, Any]) -> asyncpg.Record:
    row = await d.pool.fetchrow(
        "SELECT * FROM inbox_events WHERE event_id = $1", UUID(event["eventId"])
    )
    assert row is not None
    return row


async def welcomes(d: Domain) -> int:
    found: int = await d.pool.fetchval("SELECT count(*) FROM notifications WHERE kind = 'welcome'")
    return found


@pytest.mark.parametrize("packed", [False, True], ids=["json", "msgpack"])
async def test_an_event_of_the_stream_is_applied_and_deleted(
    domain: Domain, redis_url: str, line: Line, packed: bool
) -> None:
    d, event = domain, told(domain)
    await write(line, event, packed=packed)
    async with working(d, redis_url):
        await done(line)
    assert await welcomes(d) == 1
    row = await kept(d, event)
    assert (row["publisher"], row["error"]) == ("user-service", None)
    assert row["processed_at"] is not None


async def test_the_same_event_by_both_roads_many_times_has_one_effect(
    domain: Domain, redis_url: str, line: Line
) -> None:
    d, event = domain, told(domain)
    envelope = msgspec.convert(event, Envelope)
    for packed in (False, True, False):
        await write(line, event, packed=packed)
    async with working(d, redis_url), working(d, redis_url):
        heard = [await intake.accept(d, SERVICE, [envelope]) for _ in range(3)]
        await done(line)
    assert sum(one.accepted for one in heard) <= 1
    assert await welcomes(d) == 1


async def test_what_a_worker_died_with_is_another_ones(
    domain: Domain, redis_url: str, line: Line
) -> None:
    """Once applied and not deleted, once not applied: the event's id tells the two apart."""
    d = domain
    first, second = told(d), told(d, userId="dan")
    await write(line, first)
    await write(line, second)
    await line.call("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await line.call("XREADGROUP", "GROUP", GROUP, "dead", "COUNT", 10, "STREAMS", STREAM, ">")
    await intake.hear(d, msgspec.convert(first, Envelope))
    async with working(d, redis_url, idle_ms=1):
        await done(line)
    assert await welcomes(d) == 2


async def test_what_ends_its_workers_is_kept_with_an_error_and_can_be_put_back(
    domain: Domain, redis_url: str, line: Line
) -> None:
    d, event = domain, told(domain)
    await write(line, event)
    await line.call("XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM")
    await line.call("XREADGROUP", "GROUP", GROUP, "dead", "STREAMS", STREAM, ">")
    (entry,) = await line.call("XPENDING", STREAM, GROUP, "-", "+", 10)
    for _ in range(4):
        await line.call("XCLAIM", STREAM, GROUP, "dead", 0, entry[0])
    async with working(d, redis_url, idle_ms=1):
        await done(line)
    assert (await kept(d, event))["error"].startswith("INTERNAL")
    assert await welcomes(d) == 0
    await queues.requeue_event(d, UUID(event["eventId"]))
    assert await intake.apply(d, UUID(event["eventId"]))
    assert await welcomes(d) == 1


UNREAD = "errors_total", {"door": "event", "code": "INVALID_PAYLOAD"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xc1", b"\x93\x01\x02\x03", b'{"eventId": 1}', b"{" + b" " * 70_000]
)
@pytest.mark.refused
async def test_what_is_no_event_is_counted_and_gone(
    domain: Domain, redis_url: str, line: Line, body: bytes
) -> None:
    before = REGISTRY.get_sample_value(*UNREAD) or 0
    await write(line, body)
    good = told(domain)
    await write(line, good)
    async with working(domain, redis_url):
        await done(line)
    assert REGISTRY.get_sample_value(*UNREAD) == before + 1
    assert (await kept(domain, good))["processed_at"] is not None
    assert await domain.pool.fetchval("SELECT count(*) FROM inbox_events") == 1


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("question.created", {"location": {"lat": 33.489123, "lng": 126.49}}),  # no ids
        ("question.unanswered", {"questionId": "q"}),  # ours to tell
        ("nobody.knows", {"questionId": "q"}),
    ],
    ids=["form", "direction", "type"],
)
async def test_an_event_that_cannot_be_applied_is_kept_with_its_error(
    domain: Domain, redis_url: str, line: Line, kind: str, payload: dict[str, Any]
) -> None:
    event = told(domain, kind, **payload)
    await write(line, event)
    async with working(domain, redis_url):
        await done(line)
    row = await kept(domain, event)
    assert row["error"].startswith("INVALID_PAYLOAD")
    assert row["processed_at"] is None
    assert "489123" not in row["payload"], "no finer place is ever stored"


async def test_it_waits_while_postgres_cannot_keep_it_and_goes_on(
    domain: Domain, redis_url: str, line: Line
) -> None:
    d = domain
    await d.pool.execute("ALTER TABLE inbox_events RENAME TO away")
    event = told(d)
    async with working(d, redis_url):
        await write(line, event)
        async with asyncio.timeout(5):
            while not await in_hand(line):
                await asyncio.sleep(0.01)
        await d.pool.execute("ALTER TABLE away RENAME TO inbox_events")
        await done(line)
    assert await welcomes(d) == 1
