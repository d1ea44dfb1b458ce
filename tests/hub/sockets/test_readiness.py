"""How long a hub of a Redis Cluster stays ready while a master is replaced."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from hub.plumbing.http.health import examine
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.redis_client import AWAY
from hub.sockets import assembly
from tests.hub.cluster.nodes import until
from tests.hub.cluster.slots import TAG, Alone
from tests.hub.sockets.conftest import running


@pytest.fixture
def own_cluster() -> Iterator[Alone]:
    """One node that owns every slot, to be killed and started again."""
    server = Alone()
    yield server
    server.close()


def on_it(settings: Settings, server: Alone) -> Settings:
    where = {"url": SecretStr(server.url), "prefix": TAG}
    return replace(settings, redis=settings.redis.model_copy(update=where))


async def test_it_stays_ready_until_its_patience_ends(
    settings: Settings, own_cluster: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes lose a master at once; one that it does not come back to is not ready."""
    async with running(on_it(settings, own_cluster)) as hub:
        bus, check = hub.door.node.bus, hub.door.needed["redis"]
        now = 1000.0
        monkeypatch.setattr(assembly, "monotonic", lambda: now)
        await check()
        own_cluster.kill()
        await until(lambda: not bus.ready)
        now += assembly.PATIENCE_S - 0.1
        await check()
        now += 0.2
        with pytest.raises(AWAY):
            await check()
        await asyncio.to_thread(own_cluster.start)
        await until(lambda: bus.ready)
        await check()


async def test_it_stays_ready_while_a_master_stands_still(
    settings: Settings, own_cluster: Alone
) -> None:
    """Who is asked for readiness has to answer in time, and a frozen Redis gives no word."""
    async with running(on_it(settings, own_cluster)) as hub:
        assert (await examine(hub.door.needed)).ready
        own_cluster.signal(signal.SIGSTOP)
        assert (await examine(hub.door.needed)).ready
        own_cluster.signal(signal.SIGCONT)
        await hub.domain.redis.ping()
