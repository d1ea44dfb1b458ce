import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import AWAY, connect
from tests.hub.plumbing.stores.redis_server import RedisServer
from tests.tls import behind_tls, self_signed

PASSWORD = "pass/word"


def client(answer_timeout_s: float | None = 3.0, **environ: str) -> Redis:
    part = Settings.load(environ, complete=False).redis
    return connect(part, name="a-test", answer_timeout_s=answer_timeout_s)


async def name_of(redis: Redis) -> str:
    try:
        return str((await redis.client_info())["name"])
    finally:
        await redis.aclose()


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    directory = tmp_path_factory.mktemp("redis")
    one = RedisServer(
        directory, "--requirepass", PASSWORD, "--unixsocket", str(directory / "r.sock")
    )
    await one.start()
    yield one
    await one.kill()


async def test_a_plain_url_a_unix_url_and_parts_reach_the_server(server: RedisServer) -> None:
    plain = f"redis://:pass%2Fword@127.0.0.1:{server.port}/0"
    assert await name_of(client(REDIS_URL=plain)) == "a-test"
    assert await name_of(client(REDIS_URL=f"unix://:pass%2Fword@{server.socket}")) == "a-test"
    parts = client(REDIS_HOST="127.0.0.1", REDIS_PORT=str(server.port), REDIS_PASSWORD=PASSWORD)
    assert await name_of(parts) == "a-test"


async def test_more_commands_than_connections_wait_for_their_turn(server: RedisServer) -> None:
    part = Settings.load(
        {"REDIS_URL": f"redis://:pass%2Fword@127.0.0.1:{server.port}"}, complete=False
    ).redis
    redis = connect(part, max_connections=3)
    try:
        counts = await asyncio.gather(*(redis.incr("many") for _ in range(300)))
        assert sorted(counts) == list(range(1, 301))
        clients = await redis.client_list()
        assert sum(one["name"] == "dongne" for one in clients) <= 3
    finally:
        await redis.aclose()


async def test_a_command_that_gets_no_answer_ends_and_is_not_repeated(server: RedisServer) -> None:
    redis = client(REDIS_URL=f"redis://:pass%2Fword@127.0.0.1:{server.port}", answer_timeout_s=0.2)
    patient = client(REDIS_URL=f"redis://:pass%2Fword@127.0.0.1:{server.port}")
    try:
        await redis.ping()
        await patient.client_pause(600, all=True)
        with pytest.raises(RedisTimeoutError):
            await redis.rpush("once", "x")
        assert await patient.llen("once") <= 1
    finally:
        await redis.aclose()
        await patient.aclose()


async def test_a_dead_connection_is_replaced_without_an_error(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    redis = client(REDIS_URL=server.url)
    try:
        await redis.set("x", 1)
        await server.kill()
        with pytest.raises(AWAY):
            await redis.get("x")
        await server.start()
        assert await redis.get("x") is None
        await server.kill()
        await server.start()
        assert await redis.set("x", 2)
    finally:
        await redis.aclose()
        await server.kill()


async def test_tls_is_used_and_verified(server: RedisServer, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    async with behind_tls(server.port, certificate, key) as port:
        url = f"rediss://:pass%2Fword@localhost:{port}/0"
        assert await name_of(client(REDIS_URL=f"{url}?ssl_ca_certs={certificate}")) == "a-test"
        stranger = client(REDIS_URL=url)
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.ping()
        await stranger.aclose()


async def sentinel_of(directory: Path, master: RedisServer) -> RedisServer:
    directory.mkdir()
    config = (
        f"sentinel monitor jeju 127.0.0.1 {master.port} 1\nsentinel auth-pass jeju pw\n"
        "sentinel down-after-milliseconds jeju 300\nsentinel failover-timeout jeju 2000\n"
    )
    sentinel = RedisServer(directory, "--sentinel", config=config)
    await sentinel.start()
    return sentinel


async def until_replicating(master: RedisServer) -> None:
    async with asyncio.timeout(20), Redis(port=master.port, password="pw", protocol=2) as asks:
        while not await asks.wait(1, 1000):
            await asks.set("again", 1)


async def test_sentinels_lead_to_the_master_also_after_a_failover(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    auth = ("--requirepass", "pw", "--masterauth", "pw", "--repl-diskless-sync-delay", "0")
    master = RedisServer(tmp_path / "a", *auth)
    replica = RedisServer(tmp_path / "b", *auth, "--replicaof", "127.0.0.1", str(master.port))
    await master.start()
    await replica.start()
    await until_replicating(master)
    sentinel = await sentinel_of(tmp_path / "s", master)
    nodes = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"  # the first one is not there
    by_url = client(REDIS_URL=f"redis-sentinel://:pw@{nodes}/0", REDIS_MASTER_NAME="jeju")
    by_list = client(REDIS_SENTINELS=nodes, REDIS_MASTER_NAME="jeju", REDIS_PASSWORD="pw")
    try:
        await by_url.set("kept", "yes")
        assert await by_url.wait(1, 2000) == 1
        assert await by_list.get("kept") == b"yes"
        await until_known(sentinel)
        await master.kill()
        async with asyncio.timeout(30):
            while True:
                try:
                    await by_list.set("after", "failover")
                    break
                except AWAY:
                    await asyncio.sleep(0.1)
        assert await by_url.get("kept") == b"yes"
        assert (await by_url.info("server"))["tcp_port"] == replica.port
    finally:
        await by_url.aclose()
        await by_list.aclose()
        for one in (sentinel, replica, master):
            await one.kill()


async def until_known(sentinel: RedisServer) -> None:
    """Until the Sentinel knows the replica: before that it has nobody to promote."""
    asks = Redis(port=sentinel.port, protocol=2)
    try:
        async with asyncio.timeout(20):
            while not await asks.sentinel_slaves("jeju"):
                await asyncio.sleep(0.1)
    finally:
        await asks.aclose()


def test_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="no address"):
        client()
