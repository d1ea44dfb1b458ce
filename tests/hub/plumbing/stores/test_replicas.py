"""Reads that may lag: from replicas, from the primary when they are away, and for who has written.
A second database stands for the replica, so that the answer says where it was read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hub.plumbing.stores import postgres
from hub.plumbing.stores.postgres import Connection, Pool, PoolOptions, connect
from hub.plumbing.stores.replicas import Reads, Replica
from hub.plumbing.telemetry.metrics import REGISTRY
from protocol.errors import HubError
from protocol.names import Keys
from tests.databases import fresh_database


@pytest.fixture
async def options(postgres_url: str) -> AsyncIterator[PoolOptions]:
    async with fresh_database(postgres_url) as url:
        yield PoolOptions(url, min_size=0, application_name="dongne-api-readonly", read_only=True)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with connect(PoolOptions(database_url, min_size=1, log_queries=True)) as pool:
        yield pool


async def where(conn: Connection) -> str:
    name: str = await conn.fetchval("SELECT current_database()")
    return name


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def fallbacks() -> float:
    return REGISTRY.get_sample_value("replica_fallbacks_total") or 0.0


async def test_what_may_lag_is_read_from_a_replica(
    pool: Pool, options: PoolOptions, database_url: str, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as redis:
        reads = Reads(pool, [Replica(options, "replica1")], redis, Keys())
        assert await reads.run(where) == name_of(options.url)
        assert await reads.run(where, may_lag=False) == name_of(database_url)
        labels = {"pool": "replica1", "state": "total"}
        assert REGISTRY.get_sample_value("db_pool_connections", labels) == 1

        async def write(conn: Connection) -> Any:
            return await conn.execute("DELETE FROM users")

        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await reads.run(write)
        assert await reads.run(lambda conn: conn.fetchval("SHOW application_name")) == (
            "dongne-api-readonly"
        )
        await reads.close()


async def test_a_replica_killed_in_the_middle_of_a_read_costs_no_error(
    pool: Pool, options: PoolOptions, database_url: str, redis_url: str
) -> None:
    begun: asyncio.Queue[int] = asyncio.Queue()
    before = fallbacks()

    async def slow(conn: Connection) -> str:
        name = await where(conn)
        if name == name_of(options.url):
            begun.put_nowait(await conn.fetchval("SELECT pg_backend_pid()"))
            await conn.fetchval("SELECT pg_sleep(60)")
        return name

    async with Redis.from_url(redis_url) as redis:
        replica = Replica(options, "replica1")
        reads = Reads(pool, [replica], redis, Keys())
        reading = [asyncio.create_task(reads.run(slow)) for _ in range(3)]
        for _ in reading:
            await pool.execute("SELECT pg_terminate_backend($1)", await begun.get())
        assert await asyncio.gather(*reading) == [name_of(database_url)] * 3
        assert not replica.there
        assert await reads.run(slow) == name_of(database_url), "it is left alone for a while"
        replica._not_before = 0.0
        assert await reads.run(where) == name_of(options.url), "and comes back"
        await reads.close()
    assert fallbacks() == before + 3


@pytest.mark.parametrize("how", ["nobody listens", "no such database", "wrong password"])
async def test_a_replica_that_never_was_there_costs_no_error(
    pool: Pool, options: PoolOptions, database_url: str, redis_url: str, how: str
) -> None:
    place = options.url.rpartition("@")[2].partition("/")[0]
    url = {
        "nobody listens": "postgresql://u:p@127.0.0.1:1/x",
        "no such database": options.url.rpartition("/")[0] + "/nowhere",
        "wrong password": f"postgresql://nobody:no@{place}/x",
    }[how]
    async with Redis.from_url(redis_url) as redis:
        away = Replica(replace(options, url=url, min_size=1), "replica1")
        there = Replica(options, "replica2")
        reads = Reads(pool, [away, there], redis, Keys())
        assert {await reads.run(where) for _ in range(4)} == {name_of(options.url)}
        alone = Reads(pool, [away], redis, Keys())
        away._not_before = 0.0
        assert await alone.run(where) == name_of(database_url)
        await reads.close()


async def test_what_the_work_raises_passes(
    pool: Pool, options: PoolOptions, redis_url: str
) -> None:
    async def odd(conn: Connection) -> None:
        raise LookupError

    async with Redis.from_url(redis_url) as redis:
        replica = Replica(options, "replica1")
        reads = Reads(pool, [replica], redis, Keys())
        with pytest.raises(LookupError):
            await reads.run(odd)
        assert replica.there
        await reads.close()


async def test_who_has_written_reads_from_the_primary(
    pool: Pool, options: PoolOptions, redis_url: str
) -> None:
    async with Redis.from_url(redis_url) as redis:
        one, other = (Reads(pool, [Replica(options, "r")], redis, Keys("p:")) for _ in "ab")
        assert await one.may_lag("minji")
        await one.wrote("minji")
        assert not await other.may_lag("minji"), "whichever process they come to"
        assert await other.may_lag("haru")
        assert await other.may_lag(None)
        assert 0 < await redis.ttl("p:wrote:minji") <= 5
    async with Redis.from_url("redis://127.0.0.1:1") as gone:
        blind = Reads(pool, [Replica(options, "r")], gone, Keys())
        await blind.wrote("minji")
        assert not await blind.may_lag("minji"), "nobody knows who has written"
        assert await Reads(pool, [], gone, Keys()).may_lag("minji")


async def test_with_primary_and_replicas_away_it_says_so(options: PoolOptions) -> None:
    async with connect(replace(options, url=options.url)) as closed:
        await closed.close()
        async with Redis.from_url("redis://127.0.0.1:1") as gone:
            nowhere = Replica(replace(options, url="postgresql://u:p@127.0.0.1:1/x"), "r")
            with pytest.raises(HubError) as refused:
                await Reads(closed, [nowhere], gone, Keys()).run(where)
    assert refused.value.code == "UNAVAILABLE"


async def test_statements_are_logged_without_their_values(pool: Pool) -> None:
    with capture_logs() as lines:
        for _ in range(2):  # the second on a connection that was given back
            async with pool.acquire() as conn:
                await conn.fetchval("SELECT $1::text", "a secret")
        await asyncio.sleep(0)
    told = [line for line in lines if "$1" in str(line.get("statement"))]
    assert [line["log_level"] for line in told] == ["debug", "debug"]
    assert told[0]["ms"] >= 0
    assert "a secret" not in str(lines)


async def test_connections_are_kept_alive(database_url: str) -> None:
    """S2-124, S2-125: asked after 10 s of silence, pools of the primary and of replicas alike."""
    pool = await postgres.open_pool(postgres.PoolOptions(url=database_url, min_size=1), "test")
    lone = await postgres.dial(database_url, verify=False, application_name="test")
    async with pool.acquire() as conn:
        both: tuple[Any, ...] = (conn, lone)
        for one in both:
            peer = one._transport.get_extra_info("socket")
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert await conn.fetchval("SHOW application_name") == "dongne-api"
    await lone.close()
    await postgres.close_pool(pool)
