"""What stands while a store is away (C18): reads without Redis, nothing lost, 503 and come back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from hub.domain.assembly import open_domain
from hub.domain.people import sessions
from hub.embedded import Postgres, Valkey
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import migrate
from tests.api.conftest import PREFIX, Door, serve
from tests.conftest import FLAVOUR, SECRETS

QUESTIONS = f"{PREFIX}/questions"
GOOD = {"title": "t", "content": "c"}


@dataclass
class Stores:
    postgres: Postgres
    valkey: Valkey


@pytest.fixture
async def stores(scratch: Path) -> AsyncIterator[Stores]:
    """Servers of this test alone, to be taken away."""
    own = Stores(
        Postgres(scratch / "own-postgres", durable=False, prefer=FLAVOUR),
        Valkey(scratch / "own-valkey", durable=False, prefer=FLAVOUR),
    )
    conn = await asyncpg.connect(await own.postgres.start())
    await migrate(conn)
    await conn.close()
    await own.valkey.start()
    yield own
    await own.postgres.stop()
    await own.valkey.stop()


@pytest.fixture
async def fragile(stores: Stores) -> AsyncIterator[Door]:
    settings = Settings.load(
        {
            "APP_ENV": "test",
            "DATABASE_URL": stores.postgres.url,
            "REDIS_URL": stores.valkey.url,
            "DB_POOL_MIN": "1",
            **SECRETS,
        }
    )
    life = Lifecycle()
    domain = await open_domain(life, settings)
    key = await sessions.add_service(domain, "qa-service")
    server, url = await serve(domain, settings)
    async with aiohttp.ClientSession() as http:
        yield Door(url, domain, http, key)
    await server.close()
    await life.close()


async def test_without_redis_reads_go_on_and_writes_wait(fragile: Door, stores: Stores) -> None:
    question = await fragile.ask()
    await stores.valkey.stop()
    read = await fragile.call("GET", f"{QUESTIONS}/{question['id']}", as_="asker")
    assert read.status == 200
    inbox = await fragile.call("GET", f"{PREFIX}/notifications/asker", as_="asker")
    assert inbox.status == 200
    write = await fragile.call("POST", QUESTIONS, GOOD, as_="asker")
    assert (write.status, write.code) == (503, "UNAVAILABLE")
    assert int(write.headers["Retry-After"]) >= 1
    notice = {"kind": "k", "title": "t", "body": "b", "userId": "asker"}
    by_service = await fragile.call("POST", f"{PREFIX}/notifications", notice, as_=fragile.key)
    assert by_service.status == 202, "what is told is written, whoever can hear of it now"
    (told,) = by_service.body["ids"]
    jobs = await fragile.domain.pool.fetch("SELECT entrypoint FROM pgqueuer")
    assert [job["entrypoint"] for job in jobs] == ["first-look"]
    waiting = await fragile.domain.pool.fetch(
        "SELECT convert_from(payload, 'latin1') AS told FROM outbox WHERE published_at IS NULL"
    )
    assert any("notification:new" in row["told"] and told in row["told"] for row in waiting)
    assert await fragile.count("questions") == 1
    ready = await fragile.call("GET", "/health/ready")
    assert ready.status == 200
    assert ready.body["checks"] == {"database": True, "redis": False}
    await stores.valkey.start()
    assert (await fragile.call("POST", QUESTIONS, GOOD, as_="asker")).status == 201


async def test_without_postgres_everything_says_come_back(fragile: Door, stores: Stores) -> None:
    await stores.postgres.stop()
    for method, path, body in (
        ("POST", QUESTIONS, GOOD),
        ("GET", QUESTIONS, None),
        ("GET", f"{PREFIX}/notifications/asker", None),
    ):
        reply = await fragile.call(method, path, body, as_="asker")
        assert (reply.status, reply.code) == (503, "UNAVAILABLE"), path
        assert int(reply.headers["Retry-After"]) >= 1
    ready = await fragile.call("GET", "/health/ready")
    assert (ready.status, ready.body["ready"]) == (503, False)
    assert ready.body["error"] == "down: database"
    assert (await fragile.call("GET", "/health/live")).status == 200
    assert (await fragile.call("GET", f"{PREFIX}/regions")).status == 200
    await stores.postgres.start()
    assert (await fragile.call("POST", QUESTIONS, GOOD, as_="asker")).status == 201
