"""Servers of our own that end unasked: started again at the same address, or given up."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from hub.commands import open_up
from hub.embedded import EmbeddedError, Postgres, Server, Valkey, keep
from hub.embedded.keeper import TRIES
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.conftest import FLAVOUR, SECRETS

pytestmark = pytest.mark.fault(31)


@asynccontextmanager
async def kept(server: Server) -> AsyncIterator[asyncio.Task[None]]:
    await server.start()
    task = asyncio.create_task(keep(server, first_pause_s=0.01))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        await server.stop()


async def killed(server: Server) -> int:
    """The pid of the one that runs after it."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while server.pid in (None, pid) or not await server._is_ready():
            await asyncio.sleep(0.01)
    assert server.pid is not None
    return server.pid


async def test_a_killed_postgres_comes_back_with_what_was_committed(
    tmp_path: Path, record_property: Any
) -> None:
    server = Postgres(tmp_path, prefer=FLAVOUR)
    async with kept(server):
        url = server.url
        conn = await asyncpg.connect(url)
        await conn.execute("CREATE TABLE kept AS SELECT 1 AS one")
        begun = asyncio.get_running_loop().time()
        await killed(server)
        record_property("seen", f"back {asyncio.get_running_loop().time() - begun:.2f} s after -9")
        again = await asyncpg.connect(url)
        assert await again.fetchval("SELECT one FROM kept") == 1
        await again.close()
        conn.terminate()


async def test_a_killed_valkey_comes_back_as_often_as_it_is_killed(tmp_path: Path) -> None:
    server = Valkey(tmp_path, prefer=FLAVOUR)
    async with kept(server) as task:
        url = server.url
        pids = {await killed(server) for _ in range(3)}
        assert len(pids) == 3
        async with Redis.from_url(url) as redis:
            assert await redis.ping()
        assert not task.done()


async def test_given_up_when_it_fails_for_good(tmp_path: Path) -> None:
    """Its files are gone: it does not come back empty, and what it said is told."""
    server = Valkey(tmp_path, durable=False, prefer=FLAVOUR)
    async with kept(server) as task:
        shutil.rmtree(server.home)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            with pytest.raises(EmbeddedError, match="Valkey does not stay"):
                await task


async def test_what_fails_for_good_ends_the_process_with_1(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `dongne up` keeps it, with less patience."""
    monkeypatch.setattr(open_up, "keep", partial(keep, first_pause_s=0.01))
    given = {"EMBEDDED_DIR": str(tmp_path), "DATABASE_URL": database_url, **SECRETS}
    life = Lifecycle()
    try:
        found = await open_up.embedded_stores(life, Settings.load(given, complete=False))
        assert set(found) == {"REDIS_URL"}
        home = (tmp_path / "valkey" / "server").resolve()
        pid = int((home / "data" / "server.pid").read_text())
        shutil.rmtree(home)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            await life.stopping.wait()
        assert life.failed, "which is exit code 1 (hub.plumbing.lifecycle)"
    finally:
        await life.close()


async def test_another_ones_port_is_not_left_for_a_new_one(tmp_path: Path) -> None:
    """Clients know one address: a restart waits for it, instead of moving where nobody looks."""
    server = Valkey(tmp_path, durable=False, prefer=FLAVOUR)
    async with kept(server) as task:
        port = server.port
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        other = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
        await asyncio.sleep(0.1)
        other.close()
        await other.wait_closed()
        async with asyncio.timeout(20):
            while server.pid is None or not await server._is_ready():
                await asyncio.sleep(0.01)
        assert server.port == port
        assert not task.done()


def test_the_patience_grows_to_half_a_minute() -> None:
    assert sum(0.2 * 2**n for n in range(TRIES - 1)) == pytest.approx(25.4)
