"""`dongne drain`: a node is emptied from the terminal as SIGTERM empties it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from hub.cluster.emitter import Emitter
from hub.domain.context import Domain
from tests import forked
from tests.stories.cluster.balancer import is_ready
from tests.stories.cluster.clients import EVENT, Client
from tests.stories.cluster.nodes import REGION_ROOM, Nodes, open_nodes

pytestmark = pytest.mark.story
PEOPLE = 12
SETTINGS = {"DRAIN_RATE": "20", "SHUTDOWN_DRAIN_MS": "500", "SHUTDOWN_TIMEOUT": "15000"}


@pytest.fixture
async def nodes(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Nodes]:
    async with open_nodes(domain, database_url, redis_url, tmp_path, 2, SETTINGS) as opened:
        yield opened


async def dongne(redis_url: str, *words: str) -> tuple[int, list[str], str]:
    """Exit code, lines and complaints of a command."""
    env = {**os.environ, "REDIS_URL": redis_url, "SHUTDOWN_TIMEOUT": "15000"}
    process = await forked.dongne(*words, env=env)
    async with asyncio.timeout(30):
        out, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines(), complaints.decode()


async def listed(redis_url: str) -> dict[str, str]:
    """What is said of each node, by its name."""
    code, lines, complaints = await dongne(redis_url, "drain")
    assert (code, complaints) == (0, "")
    return dict(line.split() for line in lines)


async def until(true: Callable[[], object], within: float = 15) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


async def test_drain(nodes: Nodes, redis_url: str) -> None:
    """One after the other on the same nodes: each beginning costs a cluster."""
    await a_node_is_emptied_and_ends(nodes, redis_url)
    await who_is_not_there_is_not_drained(nodes, redis_url)


async def a_node_is_emptied_and_ends(nodes: Nodes, redis_url: str) -> None:
    names = await listed(redis_url)
    assert list(names.values()) == ["listens", "listens"]
    leaving = nodes.doors["node0"]
    name = next(name for name in names if f"-{leaving.pid}-" in name)
    closed: dict[int, float] = {}
    people = [
        await Client(nodes.url, nodes.token(f"p{n}"), delay=partial(_closed, closed, n)).connect()
        for n in range(PEOPLE)
    ]
    async with Emitter.connect(redis_url) as emitter:
        tell = partial(_tell, emitter)
        await tell(1)
        drained = asyncio.create_task(dongne(redis_url, "drain", name))
        async with asyncio.timeout(15):
            while await is_ready(leaving.url):
                await asyncio.sleep(0.005)
        assert not any(_farewells(client) for client in people), (
            "first no longer ready, then farewell"
        )
        await tell(2)
        await until(lambda: len(closed) >= 2)
        await tell(3)
        code, lines, complaints = await drained
        assert (code, complaints) == (0, "")
        assert lines[0] == f"{name} drains"
        assert lines[-1].startswith(f"{name} is gone after ")
        assert await leaving.wait() == 0
        await until(lambda: all(client.ready["recovered"] for client in _moved(people, closed)))
        await tell(4)
    await until(lambda: all(client.heard[-1:] == [4] for client in people))
    assert [client.heard for client in people] == [[1, 2, 3, 4]] * PEOPLE
    assert len(closed) == PEOPLE // 2
    _assert_order(people, closed)
    assert set(await listed(redis_url)) == set(names) - {name}
    for client in people:
        await client.close()


def _closed(closed: dict[int, float], person: int, _tries: int) -> float:
    """Notes when a connection was closed; the client comes back at once."""
    closed.setdefault(person, monotonic())
    return 0.02


def _moved(people: list[Client], closed: dict[int, float]) -> list[Client]:
    return [people[n] for n in closed]


def _assert_order(people: list[Client], closed: dict[int, float]) -> None:
    """Each was told another moment, and they were closed in the order of these."""
    told = {}
    for person in closed:
        [farewell] = _farewells(people[person])
        told[person] = farewell["reconnectAfterMs"]
    assert len(set(told.values())) == len(told)
    assert sorted(told, key=told.__getitem__) == sorted(closed, key=closed.__getitem__)
    moments = sorted(closed.values())
    took = moments[-1] - moments[0]
    print(f"{len(moments)} closed within {took:.2f}s, told {sorted(told.values())}")
    assert took > (len(moments) - 1) / 20, "no faster than DRAIN_RATE"


def _farewells(client: Client) -> list[dict[str, Any]]:
    return [data for event, data in client.others if event == "server:shutdown"]


async def _tell(emitter: Emitter, number: int) -> None:
    await emitter.emit(EVENT, {"seq": number, "ts": 0}, room=REGION_ROOM)


async def who_is_not_there_is_not_drained(nodes: Nodes, redis_url: str) -> None:
    """The node that is left has crashed: its lease lives on for a while."""
    await nodes.kill("node1")
    [(dead, state)] = (await listed(redis_url)).items()
    assert state == "silent"
    for name, reason in ((dead, "does not listen"), ("nobody", "no node nobody")):
        code, lines, complaints = await dongne(redis_url, "drain", name)
        assert (code, lines) == (1, [])
        assert reason in complaints
