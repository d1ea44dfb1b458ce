"""Real servers for every test: one PostgreSQL and one Valkey a run, a fresh database a test.

EMBEDDED_FLAVOUR=system takes the servers found on the machine instead of those of the wheels;
HYPOTHESIS_PROFILE=fuzz takes many more examples for each property.
"""

import asyncio
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import asyncpg
import pytest
import uvloop
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr
from redis.asyncio import Redis

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.embedded import Postgres, Prefer, Valkey
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.postgres import Connection
from tests.databases import Databases, make_template
from tests.hub.cluster.slots import ON_A_CLUSTER, Alone

FLAVOUR = cast(Prefer, os.environ.get("EMBEDDED_FLAVOUR", "wheel"))
SECRETS = {"JWT_SECRET": "j" * 40, "LINK_SECRET": "l" * 40}
MEMORY = Path("/dev/shm")
WAL_MIB = 512

FUZZ = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
TIMES_MORE = 25 if FUZZ else 1

# No deadline: how long an example takes says nothing on a busy machine.
hypothesis_settings.register_profile("short", hypothesis_settings.default, deadline=None)
hypothesis_settings.register_profile("fuzz", max_examples=100 * TIMES_MORE, deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


def examples(count: int) -> int:
    """How many a test takes whose examples cost more or less than others' do."""
    return count * TIMES_MORE


gc.disable()  # until all is collected: nothing of what is imported becomes garbage
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # the loop of production


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest begins first, so that the rest is done beside it. What kinds of faults a
    test guards against stands in the report that tests.show reads.
    """
    items.sort(key=lambda item: item.get_closest_marker("story") is None)
    for item in items:
        for mark in item.iter_markers("fault"):
            item.user_properties.extend(("fault", number) for number in mark.args)


def pytest_collection_finish() -> None:
    """The collector need not look again and again through all that the tests stand on."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A short path: that of a unix socket has 107 bytes at most. In memory where that has room:
    ext4 takes 0.3 s for the files of a database when as many were deleted shortly before.
    """
    room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 * WAL_MIB * 2**20
    with tempfile.TemporaryDirectory(prefix="dongne-", dir=MEMORY if room else None) as folder:
        Path(folder).chmod(0o711)  # root lends its servers to another user
        yield Path(folder)


@pytest.fixture(scope="session")
async def postgres_url(scratch: Path) -> AsyncIterator[str]:
    """A server with a migrated template; take `database_url` for a database of one's own."""
    quiet = {"max_wal_size": f"{WAL_MIB}MB", "autovacuum": "off"}
    server = Postgres(scratch / "postgres", durable=False, prefer=FLAVOUR, settings=quiet)
    url = await server.start()
    await make_template(url)
    yield url
    await server.stop()


@pytest.fixture(scope="session")
async def owner(postgres_url: str) -> AsyncIterator[Connection]:
    """Makes and drops the databases of all tests: a connection costs as much as a database."""
    conn = await asyncpg.connect(postgres_url)
    yield conn
    await conn.close()


@pytest.fixture(scope="session")
async def databases(postgres_url: str, owner: Connection) -> AsyncIterator[Databases]:
    databases = Databases(postgres_url, owner)
    yield databases
    await databases.close()


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A migrated database that no other test sees."""
    async with databases.lend() as url:
        yield url


@pytest.fixture(scope="session")
async def valkey_url(scratch: Path) -> AsyncIterator[str]:
    if ON_A_CLUSTER:
        alone = Alone()
        yield alone.url
        alone.close()
        return
    server = Valkey(scratch / "valkey", durable=False, prefer=FLAVOUR)
    yield await server.start()
    await server.stop()


@pytest.fixture(scope="session")
async def emptier(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url.replace("+cluster", "")) as client:
        yield client


@pytest.fixture
async def redis_url(valkey_url: str, emptier: Redis) -> str:
    """The run's Valkey, emptied."""
    await emptier.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def settings_of_all(postgres_url: str, valkey_url: str) -> Settings:
    """Read once: that takes as long as most tests do."""
    return Settings.load(
        {
            "APP_ENV": "test",
            "HOST": "127.0.0.1",
            "PORT": "0",
            "API_PORT": "0",
            "METRICS_PORT": "0",
            "DATABASE_URL": postgres_url,
            "REDIS_URL": valkey_url,
            "DB_POOL_MIN": "1",
            **SECRETS,
        }
    )


@pytest.fixture
def settings(settings_of_all: Settings, database_url: str, redis_url: str) -> Settings:
    """What a process would read, on the test's own stores."""
    assert settings_of_all.redis.url == SecretStr(redis_url)
    database = settings_of_all.database.model_copy(update={"url": SecretStr(database_url)})
    return replace(settings_of_all, database=database)


@pytest.fixture
async def domain(settings: Settings) -> AsyncIterator[Domain]:
    """The heart on real stores."""
    life = Lifecycle()
    yield await open_domain(life, settings)
    async with asyncio.timeout(10):
        await life.close()
