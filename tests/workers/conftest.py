"""A worker's surroundings: real stores, local providers, people, and a virtual clock."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import orjson
import pytest

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.domain.notifications.writing import News, Written
from hub.domain.people import members
from hub.plumbing.life.clock import VirtualClock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from protocol.domain_events import UserUpdated
from protocol.jobs import QUEUES, row_of
from protocol.rest.devices import DeviceRequest
from tests import verbs
from tests.conftest import SECRETS
from tests.databases import fresh_database
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from workers.channels.provider import Providers, open_providers
from workers.ending import Again, Attempt, Held
from workers.jobs import HANDLERS, Desk


@pytest.fixture
async def fcm(tmp_path: Path) -> AsyncIterator[FakeFcm]:
    async with FakeFcm(tmp_path) as fake:
        yield fake


@pytest.fixture
async def smtp() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as fake:
        yield fake


@pytest.fixture
def environ(database_url: str, redis_url: str, fcm: FakeFcm, smtp: FakeSmtp) -> dict[str, str]:
    """What a worker's process is given: short time-outs, local providers."""
    return {
        "APP_ENV": "test",
        "HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DB_POOL_MIN": "1",
        "FCM_CREDENTIALS_FILE": str(fcm.credentials_file),
        "FCM_URL": fcm.url,
        "PUSH_TIMEOUT": "1000",
        "SMTP_URL": smtp.url,
        "MAIL_FROM": "Dongne <no-reply@dongne.example>",
        "MAIL_TIMEOUT": "1000",
        "PUBLIC_BASE_URL": "https://dongne.example",
        "RETRY_DELAY": "50",
        "RETRY_MAX_DELAY": "200",
        "SHUTDOWN_TIMEOUT": "6000",
        **SECRETS,
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return Settings.load(environ)


@pytest.fixture
async def life(environ: dict[str, str]) -> AsyncIterator[Lifecycle]:
    """Ends before the stores and providers it was given."""
    life = Lifecycle()
    yield life
    await life.close()
    assert not life.failed


@pytest.fixture
async def domain(life: Lifecycle, settings: Settings) -> Domain:
    return await open_domain(life, settings)


@pytest.fixture
async def providers(life: Lifecycle, settings: Settings) -> Providers:
    return await open_providers(life, settings.channels)


async def add_person(d: Domain, user_id: str, *, devices: int = 1, **changes: Any) -> list[str]:
    """Somebody with a mail address and so many phones; returns the phones' tokens."""
    given = {"nickname": user_id, "email": f"{user_id}@example.org"} | changes
    async with d.outbox.change() as change:
        await members.update(d, change, UserUpdated(user_id=user_id, **given))
    tokens = [f"token-{user_id}-{number}" for number in range(devices)]
    for token in tokens:
        await verbs.add_device(d, user_id, DeviceRequest(platform="android", token=token))
    return tokens


async def notify(d: Domain, user_id: str, *, online: bool = False, **changes: Any) -> Written:
    """A personal alert, or with kind=question_urgent an urgent one."""
    news = News(
        user_id, **({"kind": "answer_created", "title": "새 답변", "body": "여기요"} | changes)
    )
    if online:
        await come_online(d, user_id)
    (written,) = await verbs.notify(d, news)
    return written


async def come_online(d: Domain, user_id: str) -> None:
    """A lease as the node holds it that has a socket of theirs."""
    await d.redis.zadd(d.keys.presence(user_id), {"0 sid": 2**40})


async def deliveries(d: Domain, channel: str | None = None) -> list[tuple[str, str, str | None]]:
    """(channel, status, reason) of every row but those of sockets."""
    rows = await d.pool.fetch(
        "SELECT channel, status, reason FROM deliveries WHERE channel <> 'socket'"
        " AND ($1::text IS NULL OR channel = $1) ORDER BY channel, device_id",
        channel,
    )
    return [(row["channel"], row["status"], row["reason"]) for row in rows]


async def decisions(d: Domain, told: Written) -> list[tuple[str, str, str]]:
    rows = await d.pool.fetch(
        "SELECT channel, verdict, reason FROM decisions WHERE notification_id = $1"
        " ORDER BY created_at",
        told.id,
    )
    return [(row["channel"], row["verdict"], row["reason"]) for row in rows]


class Shift:
    """Works the queue's rows off on a virtual clock: delays are kept, waiting takes no time."""

    def __init__(self, desk: Desk, clock: VirtualClock) -> None:
        self.desk = desk
        self.clock = clock
        self.held: list[str] = []
        self.ran: list[str] = []
        self._due: dict[int, datetime] = {}
        self._made: dict[int, datetime] = {}
        self._tries: dict[int, int] = {}

    async def advance(self, seconds: float = 0.0) -> None:
        """Run what falls due until then, each at its time."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while (job := await self._next()) is not None and self._due[job["id"]] <= end:
            late = (self._due[job["id"]] - self.clock.now()).total_seconds()
            self.clock.advance(max(0.0, late))
            await self._run(job)
        self.clock.advance((end - self.clock.now()).total_seconds())

    async def _next(self) -> Any:
        rows = await self.desk.domain.pool.fetch(
            "SELECT *, execute_after - created AS delay FROM pgqueuer WHERE status = 'queued'"
        )
        for row in rows:
            self._made.setdefault(row["id"], self.clock.now())
            self._due.setdefault(row["id"], self.clock.now() + row["delay"])
        key = lambda row: (self._due[row["id"]], -row["priority"], row["id"])  # noqa: E731
        return min(rows, key=key, default=None)

    async def _run(self, job: Any) -> None:
        id, name = job["id"], job["entrypoint"]
        self._tries[id] = self._tries.get(id, 0) + 1
        row = row_of(name)
        this = Attempt(self._tries[id], QUEUES[row.queue].tries, self._made[id], retry_s=1.0)
        self.ran.append(name)
        payload = msgspec.json.decode(job["payload"], type=row.form)
        ending = await HANDLERS[name](self.desk, payload, this)
        if isinstance(ending, Again):
            self._tries[id] -= not ending.counts
            self._due[id] = self.clock.now() + timedelta(seconds=ending.seconds)
            return
        if isinstance(ending, Held):
            self.held.append(name)
        await self.desk.domain.pool.execute("DELETE FROM pgqueuer WHERE id = $1", id)


@pytest.fixture
async def shift(life: Lifecycle, settings: Settings) -> Shift:
    clock = VirtualClock(datetime.now(UTC))
    domain = await open_domain(life, settings, clock)
    return Shift(Desk(domain, await open_providers(life, settings.channels, clock)), clock)


@dataclass
class Country:
    """Two regions, each with a database, a REDIS_PREFIX and a worker of its own."""

    jeju: Shift
    busan: Shift

    async def work(self) -> None:
        """Until neither has anything left that is due."""
        for _ in range(3):
            for one in (self.jeju, self.busan):
                await one.advance(2)

    async def rows(self, query: str, *args: object) -> tuple[Any, Any]:
        return (
            await self.jeju.desk.domain.pool.fetchval(query, *args),
            await self.busan.desk.domain.pool.fetchval(query, *args),
        )


@pytest.fixture
async def country(
    environ: dict[str, str], postgres_url: str, database_url: str, life: Lifecycle
) -> AsyncIterator[Country]:
    async with fresh_database(postgres_url) as second:
        for url in (database_url, second):
            conn = await asyncpg.connect(url)
            await conn.execute("UPDATE regions SET is_active = true WHERE code = 'busan'")
            await conn.close()
        shards = {"jeju": {"url": database_url}, "busan": {"url": second, "active": True}}
        both = environ | {"DB_SHARDS": orjson.dumps(shards).decode()}
        clock = VirtualClock(datetime.now(UTC))
        ends = Lifecycle()

        async def shift(url: str, prefix: str) -> Shift:
            settings = Settings.load(both | {"DATABASE_URL": url, "REDIS_PREFIX": prefix})
            domain = await open_domain(ends, settings, clock)
            return Shift(Desk(domain, await open_providers(ends, settings.channels, clock)), clock)

        yield Country(await shift(database_url, "jeju:"), await shift(second, "busan:"))
        await ends.close()
