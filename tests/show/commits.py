"""Changes a second: those with a job in them wake the workers and so commit one after the other,
because PostgreSQL holds one lock from NOTIFY to the end of the commit.
"""

import asyncio
from statistics import median
from time import monotonic
from typing import Final

import asyncpg

from tests.show import Verdict
from tests.show.stores import fresh_stores

WRITERS, SECONDS, REPS = 8, 2.0, 3

LEAST: Final = 100
"""Commits a second: six times what all pushes together may ask (1,000 a minute)."""

PLAIN = "INSERT INTO outbox (kind, key, payload, available_at) VALUES ('event', 'k', '', now())"


async def commits() -> Verdict:
    """Eight writers on a durable server, with NOTIFY and without, in turns."""
    plain, telling = [], []
    async with fresh_stores() as stores:
        conns = [await asyncpg.connect(stores.database_url) for _ in range(WRITERS)]
        for _ in range(REPS):
            plain.append(await _rate(conns, PLAIN))
            telling.append(await _rate(conns, f"BEGIN; {PLAIN}; NOTIFY told; COMMIT"))
        for conn in conns:
            await conn.close()
    said = f"{median(telling):.0f} commits/s that notify, {median(plain):.0f} that do not"
    return Verdict(median(telling) >= LEAST, f"{said}, {WRITERS} writers, fsync on")


async def _rate(conns: "list[asyncpg.Connection[asyncpg.Record]]", sql: str) -> float:
    until, count = monotonic() + SECONDS, 0

    async def write(conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        nonlocal count
        while monotonic() < until:
            await conn.execute(sql)
            count += 1

    await asyncio.gather(*map(write, conns))
    return count / SECONDS
