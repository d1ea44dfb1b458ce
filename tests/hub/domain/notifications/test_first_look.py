"""Presence is a hint: it decides when a push is due, holds nothing up, and fails nothing."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications import first_look
from hub.domain.notifications.writing import News, Written
from hub.domain.people import members
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.jobs import DeliveryJob, FirstLookJob
from tests import verbs
from tests.conftest import SECRETS

HERE, AWAY = "here", "away"


async def written(d: Domain, kind: str = "sale") -> list[Written]:
    """One batch for somebody with a live socket and for somebody without."""
    async with d.outbox.change() as change:
        for user_id in (HERE, AWAY):
            await members.ensure(d, change.conn, user_id)
    await d.redis.zadd(d.keys.presence(HERE), {"0 sid": 2**40})
    return await verbs.notify(d, *(News(user_id, kind, "t", "b") for user_id in (HERE, AWAY)))


async def jobs(d: Domain) -> list[Any]:
    return list(
        await d.pool.fetch(
            "SELECT entrypoint, payload, priority, execute_after - created AS delay"
            " FROM pgqueuer ORDER BY id"
        )
    )


async def look(d: Domain, batch: list[Written]) -> None:
    await d.pool.execute("DELETE FROM pgqueuer")
    await first_look.look(d, [one.id for one in batch], batch[0].created_at)


async def test_a_batch_is_looked_at_by_one_job(domain: Domain) -> None:
    batch = await written(domain)
    (job,) = await jobs(domain)
    assert job["entrypoint"] == "first-look"
    payload = msgspec.json.decode(job["payload"], type=FirstLookJob)
    assert set(payload.notification_ids) == {str(one.id) for one in batch}


@pytest.mark.parametrize(
    ("kind", "entrypoint", "timer_s"),
    [("sale", "notification:normal", 60), (QUESTION_URGENT.name, "notification:urgent", 30)],
)
async def test_who_is_here_is_pushed_later_and_who_is_away_now(
    domain: Domain, kind: str, entrypoint: str, timer_s: int
) -> None:
    batch = await written(domain, kind)
    await look(domain, batch)
    now, later = sorted(await jobs(domain), key=lambda job: job["delay"])
    assert (now["entrypoint"], now["delay"]) == (entrypoint, timedelta(0))
    assert later["entrypoint"] == "unseen-check"
    assert timedelta(seconds=timer_s - 5) < later["delay"] <= timedelta(seconds=timer_s)
    (here,) = [one for one in batch if one.news.user_id == HERE]
    waits = msgspec.json.decode(later["payload"], type=DeliveryJob)
    assert waits.notification_id == str(here.id)
    rows = await domain.pool.fetch("SELECT user_id, channel, status FROM deliveries")
    assert [tuple(row) for row in rows] == [(HERE, "socket", "sent")]


async def test_looking_twice_records_once(domain: Domain) -> None:
    batch = await written(domain)
    await look(domain, batch)
    await look(domain, batch)
    assert await domain.pool.fetchval("SELECT count(*) FROM deliveries") == 1


async def test_while_redis_is_away_everybody_is_pushed_at_once(
    domain: Domain, database_url: str
) -> None:
    batch = await written(domain)
    nowhere = {"DATABASE_URL": database_url, "REDIS_URL": "redis://127.0.0.1:1", "DB_POOL_MIN": "1"}
    life = Lifecycle()
    alone = await open_domain(life, Settings.load({"APP_ENV": "test", **nowhere, **SECRETS}))
    await look(alone, batch)
    assert [job["entrypoint"] for job in await jobs(domain)] == ["notification:normal"] * 2
    assert await domain.pool.fetchval("SELECT count(*) FROM deliveries") == 0
    await life.close()
