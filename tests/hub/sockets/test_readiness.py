"""How long a hub of a Redis Cluster stays ready while a master is replaced."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

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


async def test_it_stays_ready_until_its_patience_ends(
    settings: Settings, own_cluster: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes lose a master at once; one that it does not come back to is not ready."""
    where = {"url": SecretStr(own_cluster.url), "prefix": TAG}
    own = replace(settings, redis=settings.redis.model_copy(update=where))
    async with running(own) as hub:
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
