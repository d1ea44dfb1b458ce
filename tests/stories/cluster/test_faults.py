"""Redis restarts, stands still and fails over under traffic: all of it is accounted for."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from hub.domain.assembly import open_domain
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.settings import Settings
from tests.conftest import SECRETS
from tests.stories.cluster.faults import SHORT, Plan, play
from tests.stories.cluster.nodes import Nodes, open_nodes
from tests.stories.cluster.stores import Alone, Store, Watched

pytestmark = pytest.mark.story
FULL = os.environ.get("STORIES") == "full"
PLAN = Plan() if FULL else SHORT
FROZEN_S = 10 if FULL else 4

On = Callable[[Store], AbstractAsyncContextManager[Nodes]]


@pytest.fixture
def on(database_url: str, tmp_path: Path) -> On:
    """Two nodes and a worker on a store that may die."""

    @asynccontextmanager
    async def opened(store: Store) -> AsyncIterator[Nodes]:
        await store.start()
        env = {"APP_ENV": "test", "DATABASE_URL": database_url, **store.settings, **SECRETS}
        life = Lifecycle()
        try:
            domain = await open_domain(life, Settings.load(env))
            async with open_nodes(
                domain, database_url, "", tmp_path, 2, store.settings, with_worker=True
            ) as nodes:
                yield nodes
        finally:
            await life.close()
            await store.stop()

    return opened


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_redis_begins_anew(on: On, tmp_path: Path, how: str) -> None:
    store = Alone(tmp_path)
    async with on(store) as nodes:
        result = await play(nodes, getattr(store, how), PLAN)
    print(result)
    assert result.adds_up(new_epoch=True), str(result)
    assert result.dropped == 0


async def test_redis_stands_still(on: On, tmp_path: Path) -> None:
    store = Alone(tmp_path)
    async with on(store) as nodes:
        result = await play(nodes, lambda: store.freeze(FROZEN_S), PLAN)
    print(result)
    assert result.adds_up(new_epoch=False), str(result)
    assert result.dropped == 0


async def test_sentinels_promote_another_master(on: On, tmp_path: Path) -> None:
    store = Watched(tmp_path)
    async with on(store) as nodes:
        result = await play(nodes, store.fail_over, PLAN)
    print(result)
    assert result.adds_up(new_epoch=True), str(result)
    assert result.dropped == 0
