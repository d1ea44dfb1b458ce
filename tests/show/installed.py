"""The heart on durable stores of its own, and people by the thousand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from hub.domain.context import Domain
from hub.domain.places import geometry
from hub.domain.rules.audience import PlannedWave
from hub.plumbing.life.clock import Clock
from tests.show.stores import fresh_stores, heart_on

PLACE = (33.489, 126.493)
ELSEWHERE = (33.253, 126.560)
RADIUS_M = 5000


@asynccontextmanager
async def installation(clock: Clock | None = None) -> AsyncIterator[Domain]:
    """Its questions have one wave, of 5 km (165 cells)."""
    async with fresh_stores() as stores, heart_on(stores, clock) as domain:
        policy = replace(domain.policy, waves=(PlannedWave(0, RADIUS_M),))
        yield replace(domain, policy=policy)


async def populate(d: Domain, place: tuple[float, float], count: int, prefix: str) -> None:
    """So many people over the cells of a circle, every third of them a verified local."""
    cells = geometry.cells_touching(*place, RADIUS_M)
    async with d.pool.acquire() as conn, conn.transaction():
        await conn.execute(
            "INSERT INTO users (id, nickname, is_local_verified, last_active_at)"
            " SELECT $1 || n, 'p', n % 3 = 0, now() - n * interval '1 second'"
            " FROM generate_series(1, $2::int) n",
            prefix,
            count,
        )
        await conn.execute(
            "INSERT INTO notification_preferences (user_id, radius_m) SELECT id, 20000 FROM users"
            " WHERE id LIKE $1 || '%'",
            prefix,
        )
        await conn.execute(
            "INSERT INTO user_locations (user_id, cell, region_code, expires_at)"
            " SELECT $1 || n, ($3::bigint[])[1 + n % cardinality($3::bigint[])], 'jeju',"
            " now() + interval '1 day' FROM generate_series(1, $2::int) n",
            prefix,
            count,
            list(cells),
        )
    await d.pool.execute("ANALYZE")
