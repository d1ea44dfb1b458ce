"""The short form of the reads of production (tests.show.replay); there the figures are judged."""

from pathlib import Path

import asyncpg

from tests.databases import fresh_database
from tests.show.replay import SHORT, fill, installation, replay


async def test_a_replica_that_goes_away_among_many_reads_costs_no_error(
    database_url: str, postgres_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with fresh_database(postgres_url) as replica_url:
        await fill([database_url, replica_url], 500)

        async def kill() -> None:
            name = replica_url.rpartition("/")[2]
            conn = await asyncpg.connect(postgres_url)
            await conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            await conn.close()

        async with installation(database_url, replica_url, redis_url, tmp_path) as (api, hub):
            result = await replay(SHORT, api, hub, kill)
    assert not result.failed, result
    assert len(result.waits) == SHORT.reads
    assert result.fallbacks > 0, "it was asked again of the primary"
    assert result.ratio > 0.5, result
