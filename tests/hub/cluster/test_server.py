"""The ways to reach Redis: users, databases, unix sockets, TLS, Sentinels with a login."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.embedded.supervisor import free_port
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import connect
from tests.hub.cluster.valkey import Valkey
from tests.tls import behind_tls, self_signed


async def answers(url: str) -> bool:
    line = Line(Server.of(url))
    try:
        return bool(await line.call("PING") == b"PONG")
    finally:
        await line.close()


@pytest.mark.single_server
async def test_users_and_databases(valkey: Valkey, line: Line) -> None:
    await line.call("ACL", "SETUSER", "hub", "on", ">p@ss word", "~*", "&*", "+@all")
    host = f"127.0.0.1:{valkey.port}"
    url = f"redis://hub:p%40ss%20word@{host}/5"
    own = Line(Server.of(url), "somebody")
    await own.call("SET", "here", "1")
    assert b"user=hub" in await own.call("CLIENT", "INFO")
    assert b"name=somebody" in await own.call("CLIENT", "INFO")
    await own.close()
    assert await line.call("EXISTS", "here") == 0
    with pytest.raises(RedisError) as refused:
        await answers(f"redis://hub:wrong-secret@{host}")
    assert "wrong-secret" not in str(refused.value)


@pytest.mark.single_server
async def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "valkey.sock"
    server = Valkey("--unixsocket", str(path))
    assert await answers(f"unix://{path}")
    server.close()


async def test_a_server_that_is_not_there_is_an_error_soon() -> None:
    with pytest.raises(RedisConnectionError):
        await answers(f"redis://127.0.0.1:{free_port()}")


async def test_a_server_that_does_not_answer_is_an_error_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        with pytest.raises(RedisError):
            await answers(f"redis://127.0.0.1:{port}")
    listener.close()


@pytest.fixture
async def tls(valkey: Valkey, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """Valkey behind TLS (the wheel's is built without): port and the certificate."""
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    async with behind_tls(valkey.port, certificate, key) as port:
        yield port, certificate


@pytest.mark.single_server
async def test_tls_is_verified_unless_told_otherwise(tls: tuple[int, Path]) -> None:
    port, certificate = tls
    assert await answers(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
    assert await answers(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none")
    assert await answers(
        f"rediss://localhost:{port}?ssl_ca_certs={certificate}&ssl_check_hostname=false"
    )
    with pytest.raises(RedisConnectionError):
        await answers(f"rediss://localhost:{port}?ssl_ca_certs={certificate}")
    with pytest.raises(RedisConnectionError):
        await answers(f"rediss://127.0.0.1:{port}")


class Guarded:
    """One Sentinel with logins of its own, before a master with another password."""

    def __init__(self) -> None:
        self.master = Valkey("--requirepass", "sesame")
        self.sentinel = Valkey(
            config=f"sentinel monitor main 127.0.0.1 {self.master.port} 1\n"
            "sentinel auth-pass main sesame\n"
            "requirepass watch-word\n"
            "user asks on >ask-word &* +@all\n"
        )
        self.where = f"127.0.0.1:{self.sentinel.port}"

    def close(self) -> None:
        self.sentinel.close()
        self.master.close()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    servers = Guarded()
    yield servers
    servers.close()


async def reached(**environ: str) -> tuple[int, int]:
    """The port of the server that the hub's client and the cluster's come to."""
    part = Settings.load(environ, complete=False).redis
    client = connect(part)
    line = Line(Server(part.address))
    try:
        own = str(await line.call("INFO", "server"), "ascii").partition("tcp_port:")[2]
        return (await client.info("server"))["tcp_port"], int(own.partition("\r")[0])
    finally:
        await client.aclose()
        await line.close()


@pytest.mark.single_server
async def test_a_sentinel_with_a_password_of_its_own(guarded: Guarded) -> None:
    login = "sentinel_password=watch-word"
    url = f"redis-sentinel://:sesame@{guarded.where}?master=main&{login}"
    both = (guarded.master.port, guarded.master.port)
    assert await reached(REDIS_URL=url) == both
    user = "sentinel_username=asks&sentinel_password=ask-word"
    assert (
        await reached(REDIS_URL=f"redis+sentinel://:sesame@{guarded.where}/0/main?{user}") == both
    )
    assert both == await reached(
        REDIS_URL=f"redis://any?{login}",
        REDIS_SENTINELS=guarded.where,
        REDIS_MASTER_NAME="main",
        REDIS_PASSWORD="sesame",
    )


@pytest.mark.single_server
@pytest.mark.parametrize("login", ["", "&sentinel_password=wrong-secret"])
async def test_a_sentinel_that_refuses_is_an_error(guarded: Guarded, login: str) -> None:
    url = f"redis-sentinel://:sesame@{guarded.where}?master=main{login}"
    for error in await refusals(url):
        assert not any(word in error for word in ("sesame", "wrong-secret"))


async def refusals(url: str) -> list[str]:
    """The errors of the hub's client and the cluster's."""
    client = connect(Settings.load({"REDIS_URL": url}, complete=False).redis)
    with pytest.raises(RedisConnectionError) as one:
        await client.ping()
    with pytest.raises(RedisConnectionError) as other:
        await answers(url)
    await client.aclose()
    return [str(one.value), str(other.value)]


@pytest.mark.single_server
async def test_the_master_of_sentinels_behind_tls(valkey: Valkey, tls: tuple[int, Path]) -> None:
    """The Sentinel itself cannot speak TLS with it, but takes its time to give it up."""
    port, certificate = tls
    watch = f"sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main 60000"
    sentinel = Valkey(config=watch)
    url = f"rediss-sentinel://127.0.0.1:{sentinel.port}?master=main"
    both = (valkey.port, valkey.port)
    try:
        assert await reached(REDIS_URL=f"{url}&ssl_ca_certs={certificate}") == both
        await refusals(url)
    finally:
        sentinel.close()


@pytest.mark.single_server
async def test_sentinels_behind_tls_themselves(valkey: Valkey, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    async with behind_tls(valkey.port, certificate, key) as port:
        watch = f"sentinel monitor main 127.0.0.1 {port} 1"
        sentinel = Valkey(config=f"{watch}\nsentinel down-after-milliseconds main 60000")
        try:
            async with behind_tls(sentinel.port, certificate, key) as where:
                url = f"rediss-sentinel://127.0.0.1:{where}?master=main&ssl_ca_certs={certificate}"
                both = (valkey.port, valkey.port)
                assert await reached(REDIS_URL=f"{url}&sentinel_ssl=true") == both
                await refusals(url)
        finally:
            sentinel.close()
