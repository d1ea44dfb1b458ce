"""Redis that answers but refuses counts as away, whatever it says and whoever asked."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from api import gate as rest
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.embedded.supervisor import free_port
from hub.plumbing.limits import fleet as limits_module
from hub.plumbing.limits.fleet import Limits, Window
from hub.plumbing.settings.process import Redis as RedisPart
from hub.plumbing.stores.redis_client import AWAY, REFUSALS, Refused, connect, probe, refusal
from hub.plumbing.telemetry.metrics import LIMITS_ALONE, REGISTRY
from hub.sockets import gate as socket
from protocol.errors import Code
from protocol.names import Keys
from tests.hub.cluster.vip import Vip
from tests.hub.plumbing.stores.redis_server import RedisServer
from tests.hub.plumbing.stores.refusals import STATES, busy, refuse, refusing_server, relent, tell
from workers import ending

KEYS = Keys("refusals:")
WINDOW = Window("route", 2, 60_000)

pytestmark = pytest.mark.fault(7)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = await refusing_server(tmp_path / "refusing")
    yield server
    LIMITS_ALONE.set(0)
    await server.kill()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(RedisPart.model_validate({"REDIS_URL": server.url}), answer_timeout_s=1.0)
    yield client
    await client.aclose()


@pytest.fixture
def quickly_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "PAUSE_S", 0.05)


def alone() -> float:
    return REGISTRY.get_sample_value("limits_alone") or 0.0


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("word", STATES)
async def test_a_refusal_is_away_for_every_client_and_ends_by_itself(
    word: str,
    server: RedisServer,
    redis: Redis,
    quickly_back: None,
    record_property: Callable[[str, object], None],
) -> None:
    limits, line = Limits(redis.execute_command, KEYS), Line(Server.of(server.url), "a-line")
    assert (await limits.check(WINDOW, "u")).remaining == 1
    await line.call("SET", "before", "1")
    await refuse(server, word)
    with pytest.raises(AWAY):
        await probe(redis, KEYS.probe)
    with pytest.raises(AWAY):
        await line.call("SET", "refused", "1")
    verdicts = [await limits.check(WINDOW, "u") for _ in range(3)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, False], "counted alone"
    assert alone() == 1
    await relent(server, word)
    await until(lambda: not alone())  # nobody asks meanwhile
    await probe(redis, KEYS.probe)
    assert (await limits.check(WINDOW, "u")).remaining == 0, "shared again, and remembered"
    await line.call("SET", "after", "1")
    await line.close()
    record_property("seen", f"{word}: alone, and back without a call")


async def test_a_server_that_cannot_save_is_still_read_over_a_new_connection(
    server: RedisServer, redis: Redis
) -> None:
    """It refuses PING as it does a write, so that nothing may be asked before the read itself."""
    await refuse(server, "MISCONF")
    with pytest.raises(Refused):
        await redis.ping()
    assert await asyncio.gather(*(redis.get("nothing") for _ in range(5))) == [None] * 5
    with pytest.raises(Refused):
        await probe(redis, KEYS.probe)


async def test_a_script_that_never_ends_keeps_nobody_waiting(
    server: RedisServer, redis: Redis, quickly_back: None
) -> None:
    limits = Limits(redis.execute_command, KEYS)
    async with busy(server):
        with pytest.raises(Refused) as refused:
            await probe(redis, KEYS.probe)
        assert refused.value.word == "BUSY"
        assert (await limits.check(WINDOW, "u")).allowed
        assert alone() == 1
    await until(lambda: not alone())


async def test_a_paused_redis_costs_one_wait_and_no_caller_a_second_one(
    server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLIENT PAUSE: connections stand, nothing is answered."""
    monkeypatch.setattr(limits_module, "PAUSE_S", 0.05)
    limits = Limits(redis.execute_command, KEYS)
    limits._window._answer_s = 0.2
    await tell(server, (("CLIENT", "PAUSE", "1500", "ALL"),))
    loop = asyncio.get_running_loop()
    assert (await limits.check(WINDOW, "u")).allowed
    begin = loop.time()
    for number in range(200):
        await limits.check(WINDOW, str(number))
        await asyncio.sleep(0.002)
    assert loop.time() - begin < 1.2, "whether Redis is back is asked beside the callers"
    assert alone() == 1
    await until(lambda: not alone())


async def test_a_cluster_without_its_slots_is_away(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    await server.start()
    client = connect(RedisPart.model_validate({"REDIS_URL": server.url}))
    line = Line(Server.of(server.url), "a-line")
    with pytest.raises(Refused) as refused:
        await probe(client, KEYS.probe)
    assert refused.value.word == "CLUSTERDOWN"
    with pytest.raises(Refused):
        await line.call("SET", "k", "v")
    await client.aclose()
    await line.close()
    await server.kill()


async def test_a_redis_that_loads_is_away(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, "--loading-process-events-interval-bytes", "1024")
    await server.start()
    async with Redis(port=server.port, protocol=2) as asks:
        await asks.mset({f"k{number}": "v" * 100 for number in range(2000)})
        await asks.save()
    await server.kill()
    slow = RedisServer(tmp_path, *server._options, "--key-load-delay", "5000")
    await slow.start()
    client = connect(RedisPart.model_validate({"REDIS_URL": slow.url}))
    with pytest.raises(AWAY, match="loading"):
        await probe(client, KEYS.probe)
    with pytest.raises(Refused) as refused:
        await Line(Server.of(slow.url), "a-line").call("SET", "k", "v")
    assert refused.value.word == "LOADING"
    await client.aclose()
    await slow.kill()


async def test_a_mistake_of_ours_is_no_outage(redis: Redis, server: RedisServer) -> None:
    await redis.set("text", "1")
    with pytest.raises(ResponseError) as error:
        await redis.zadd("text", {"a": 1})
    assert not isinstance(error.value, AWAY)
    line = Line(Server.of(server.url), "a-line")
    with pytest.raises(ResponseError) as error:
        await line.call("ZADD", "text", 1, "a")
    assert not isinstance(error.value, AWAY)
    await line.close()


@pytest.mark.parametrize("word", sorted(REFUSALS))
def test_a_refusal_is_read_by_its_first_word_also_out_of_a_script(word: str) -> None:
    for reply in (
        f"{word} so it is. script: 5a5e, on @user_script:9.",
        f"ERR Error running script (call to f_5a5e): @user_script:9: -{word} so it is",
    ):
        found = refusal(reply)
        assert found is not None
        assert found.word == word
    assert refusal(f"{word}X so it is") is None


@pytest.mark.parametrize(
    "reply",
    ["ERR unknown command", "WRONGTYPE Operation against a key", "NOSCRIPT No matching script",
     "BUSYGROUP Consumer Group name already exists", "BUSYKEY Target key name already exists"],
)  # fmt: skip
def test_what_says_something_about_the_command_is_no_refusal(reply: str) -> None:
    assert refusal(reply) is None


async def test_too_many_clients_is_away(server: RedisServer) -> None:
    await tell(server, (("CONFIG", "SET", "maxclients", "1"),))
    async with Redis(port=server.port, protocol=2) as only:
        await only.ping()
        client = connect(RedisPart.model_validate({"REDIS_URL": server.url}))
        with pytest.raises(AWAY):
            await client.ping()
        with pytest.raises(AWAY):
            await Line(Server.of(server.url), "a-line").call("PING")
        await client.aclose()


async def _connections(server: RedisServer, name: str) -> int:
    async with Redis(port=server.port, username="boss", password="-", protocol=2) as boss:
        return sum(one["name"] == name for one in await boss.client_list())


async def test_a_pool_leaves_a_demoted_server_with_every_connection(
    server: RedisServer, record_property: Callable[[str, object], None]
) -> None:
    """Those that only read would stay on the replica, and so would whoever holds one just now."""
    part = RedisPart.model_validate({"REDIS_URL": server.url})
    client = connect(part, name="pooled", answer_timeout_s=None)
    await asyncio.gather(*(client.ping() for _ in range(4)))
    waiting = asyncio.ensure_future(client.blpop(["nothing"], timeout=0))
    await until(lambda: client.connection_pool._in_use_connections)
    assert await _connections(server, "pooled") == 4
    waits_on = next(iter(client.connection_pool._in_use_connections))
    await refuse(server, "READONLY")
    with pytest.raises(AWAY):
        await client.set("k", "v")
    await until(lambda: waits_on not in client.connection_pool._in_use_connections)
    assert not waits_on.is_connected
    left = await _connections(server, "pooled")
    assert left <= 1, "only the one that was told so, which asks for the address again"
    await relent(server, "READONLY")
    await client.set("k", "v")
    await asyncio.gather(waiting, return_exceptions=True)
    await client.aclose()
    record_property("seen", f"connections left on a demoted server: {left} of 4")


async def test_reads_follow_the_address_to_the_new_master(
    server: RedisServer, tmp_path: Path
) -> None:
    """Behind DNS or a balancer: the old connections stand, and would answer from the past."""
    new = await refusing_server(tmp_path / "new")
    vip = Vip(server.port)
    part = RedisPart.model_validate({"REDIS_URL": await vip.start()})
    client = connect(part)
    await client.set("where", "old")
    await asyncio.gather(*(client.get("where") for _ in range(8)))
    await tell(new, (("SET", "where", "new"),))
    vip.port = new.port
    await refuse(server, "READONLY")
    assert await client.get("where") == b"old", "nobody has told it yet"
    with pytest.raises(AWAY):
        await client.set("k", "v")
    found = await asyncio.gather(*(client.get("where") for _ in range(8)))
    assert found == [b"new"] * 8
    await client.aclose()
    await vip.stop()
    await new.kill()


@pytest.mark.parametrize("word", sorted(REFUSALS))
def test_every_door_and_the_jobs_read_the_one_list(word: str) -> None:
    error = refusal(f"{word} so it is")
    assert error is not None
    assert rest.as_coded(error).code is Code.UNAVAILABLE
    assert socket.coded(error).code is Code.UNAVAILABLE
    assert ending.is_away(error)
    mistake = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert rest.as_coded(mistake).code is Code.INTERNAL
    assert socket.coded(mistake).code is Code.INTERNAL
    assert not ending.is_away(mistake)
