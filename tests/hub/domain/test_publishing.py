"""A Redis that came back as another one is told again what Postgres says it was told last."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.outbox import run_sweeper
from protocol.events import Emit
from protocol.names import Channels
from protocol.redis_wire import decode_broadcast
from tests.conftest import SECRETS
from tests.hub.plumbing.stores.redis_server import RedisServer

CHANNEL = Channels().room("/", "r")


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """It keeps nothing over a restart."""
    server = RedisServer(tmp_path)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def domain(database_url: str, redis: RedisServer) -> AsyncIterator[Domain]:
    life = Lifecycle()
    names = {"APP_ENV": "test", "DATABASE_URL": database_url, "REDIS_URL": redis.url, **SECRETS}
    yield await open_domain(life, Settings.load(names))
    await life.close()


async def tell(domain: Domain, *names: str) -> None:
    async with domain.outbox.change() as change:
        for name in names:
            change.tell(
                "q", Emit(id=name, event="question:created", rooms=("r",), data={"id": name})
            )


async def age(domain: Domain, seconds: float) -> None:
    await domain.pool.execute(
        "UPDATE outbox SET published_at = published_at - make_interval(secs => $1)", seconds
    )


async def heard(listener: PubSub, count: int) -> list[str]:
    """The ids of the next `count` events, offsets left out."""
    found: list[str] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
            if message is not None:
                found.append(decode_broadcast(message["data"]).args[0]["id"])
    return found


async def replayed_again(domain: Domain, redis: RedisServer) -> list[str]:
    """What is heard after a restart, until the sweeper has nothing left; `end` closes it."""
    await redis.kill()
    await redis.start()
    async with Redis.from_url(redis.url) as client, client.pubsub() as listener:
        await listener.subscribe(CHANNEL)
        sweeper = asyncio.create_task(run_sweeper(domain.outbox, domain.pool, poll_s=0.05))
        try:
            found = await heard(listener, 1)
            await tell(domain, "end")
            while "end" not in found:
                found += await heard(listener, 1)
        finally:
            sweeper.cancel()
    return found


async def test_a_new_epoch_hears_again_what_the_old_one_heard_last(
    domain: Domain, redis: RedisServer
) -> None:
    assert await domain.outbox.replay() == 0  # the first epoch: nothing was told before
    await tell(domain, "ancient")
    await age(domain, 60)
    await tell(domain, "old", "late")
    assert await domain.outbox.replay() == 0
    assert await replayed_again(domain, redis) == ["old", "late", "end"]
    assert await domain.outbox.replay() == 0


async def test_the_window_ends_where_the_old_epoch_fell_silent(
    domain: Domain, redis: RedisServer
) -> None:
    """However long Redis was away, nobody could publish meanwhile."""
    assert await domain.outbox.replay() == 0
    await tell(domain, "old", "late")
    await age(domain, 3600)
    assert await replayed_again(domain, redis) == ["old", "late", "end"]


async def test_what_the_new_epoch_published_is_not_heard_twice(
    domain: Domain, redis: RedisServer
) -> None:
    assert await domain.outbox.replay() == 0
    await tell(domain, "old")
    await redis.kill()
    await redis.start()
    async with Redis.from_url(redis.url) as client, client.pubsub() as listener:
        await listener.subscribe(CHANNEL)
        await tell(domain, "new")
        while await domain.pool.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND available_at <= now()"
        ):
            await domain.outbox.sweep()
        assert await heard(listener, 1) == ["new"]
        assert await domain.outbox.replay() == 2
        assert await domain.outbox.sweep() == 2
        await tell(domain, "end")
        assert await heard(listener, 2) == ["old", "end"]
