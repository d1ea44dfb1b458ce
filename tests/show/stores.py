"""Durable stores of a measurement's own."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg

from hub.embedded import postgres, valkey
from hub.plumbing.stores.migrations import migrate


class Stores(NamedTuple):
    """PostgreSQL with our tables, Valkey, and a folder for whatever else there is."""

    database_url: str
    redis_url: str
    folder: Path


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
