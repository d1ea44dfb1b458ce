"""Durable stores of a measurement's own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from hub.domain.assembly import open_domain
from hub.domain.context import Domain
from hub.embedded import postgres, valkey
from hub.plumbing.life.clock import Clock
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import migrate
from tests.conftest import SECRETS
from tests.databases import database_of


class Stores(NamedTuple):
    """PostgreSQL with our tables, Valkey, and a folder for whatever else there is."""

    database_url: str
    redis_url: str
    folder: Path


@asynccontextmanager
async def heart_on(
    stores: Stores, clock: Clock | None = None, **settings: str
) -> AsyncIterator[Domain]:
    """The heart on these, for a measurement to look into them and to write."""
    where = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url}
    known = Settings.load({"APP_ENV": "test", **where, **settings, **SECRETS})
    life = Lifecycle()
    try:
        yield await open_domain(life, known, *([clock] if clock else []))
    finally:
        await life.close()


@asynccontextmanager
async def fresh_stores() -> AsyncIterator[Stores]:
    with tempfile.TemporaryDirectory(prefix="show-") as name:
        folder = Path(name)
        async with (
            postgres(folder / "postgres") as database_url,
            valkey(folder / "valkey") as redis_url,
        ):
            conn = await asyncpg.connect(database_url)
            await migrate(conn)
            await conn.close()
            yield Stores(database_url, redis_url, folder)


@asynccontextmanager
async def fresh_databases(*names: str) -> AsyncIterator[tuple[dict[str, str], Path]]:
    """Several with our tables on one durable PostgreSQL: URL by name, and a folder."""
    with tempfile.TemporaryDirectory(prefix="show-") as folder:
        async with postgres(Path(folder) / "postgres") as url:
            owner = await asyncpg.connect(url)
            found = {name: database_of(url, name) for name in names}
            for name, own in found.items():
                await owner.execute(f"CREATE DATABASE {name}")
                conn = await asyncpg.connect(own)
                await migrate(conn)
                await conn.close()
            await owner.close()
            yield found, Path(folder)
