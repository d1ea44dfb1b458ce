"""The ways in which a client comes back through the balancer: to whichever node is next."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from hub.cluster.emitter import Emitter, LogLimits
from hub.cluster.line import Line
from hub.domain.context import Domain
from protocol.events import Emit
from protocol.names import Channels, Keys, user_room
from tests.stories.cluster.balancer import Balancer
from tests.stories.cluster.clients import EVENT, Client
from tests.stories.cluster.ledger import Mark
from tests.stories.cluster.nodes import Nodes, open_nodes

pytestmark = pytest.mark.story
EVENTS_KEPT = 100


class Scene:
    """Three nodes, and a service that numbers what it tells one person."""

    def __init__(self, nodes: Nodes, emitter: Emitter) -> None:
        self.nodes = nodes
        self._emitter = emitter
        self.count = 0

    async def tell(self, user: str, count: int = 1) -> None:
        emits = []
        for _ in range(count):
            self.count += 1
            data = {"id": f"{user}-{self.count}", "seq": self.count, "ts": 0}
            emits.append(Emit(id=str(data["id"]), event=EVENT, rooms=(user_room(user),), data=data))
        await self._emitter.publish(emits)

    async def client(self, user: str, **known: object) -> Client:
        client = Client(self.nodes.url, self.nodes.token(user), delay=lambda _: 0.02)
        client.known |= known
        return await client.connect()


@pytest.fixture
async def scene(
    domain: Domain, database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    kept = {"RECOVERY_EVENTS": str(EVENTS_KEPT)}
    async with open_nodes(domain, database_url, redis_url, tmp_path, 3, kept) as nodes:
        line = Line(nodes.redis)
        emitter = Emitter(line, Keys(), Channels(), LogLimits(events=EVENTS_KEPT))
        yield Scene(nodes, emitter)
        await line.close()


async def until(true: Callable[[], object], within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


async def test_coming_back(scene: Scene) -> None:
    """One after the other on the same nodes: each beginning costs a cluster."""
    await no_event_before_the_drop(scene)
    await within_50_ms_ten_times_in_a_row(scene)
    await a_half_open_predecessor(scene)
    await another_persons_pid(scene)
    await forged_and_ancient_offsets(scene)


async def no_event_before_the_drop(scene: Scene) -> None:
    client = await scene.client("silent")
    client.park()
    await scene.tell("silent", 3)
    await client.resume()
    assert client.ready["recovered"] is True
    assert len(client.heard) == 3
    await client.close()


async def within_50_ms_ten_times_in_a_row(scene: Scene) -> None:
    client = await scene.client("restless")
    begin = scene.count + 1
    for turn in range(10):
        await scene.tell("restless", turn % 3)
        client.drop()
        await scene.tell("restless")
        await until(partial(_came_back, client, turn))
    last = scene.count
    await until(lambda: last in client.heard)
    assert client.heard == list(range(begin, last + 1))
    assert isinstance(scene.nodes.front, Balancer)
    used = {name for _, name in scene.nodes.front.accepted[-11:]}
    assert used == set(scene.nodes.doors), "through every node"
    print(f"away at most {max(client.gaps) * 1000:.0f}ms")
    await client.close()


def _came_back(client: Client, turn: int) -> bool:
    return len(client.gaps) > turn


async def a_half_open_predecessor(scene: Scene) -> None:
    """The old connection hears nothing of its end; its node lets go when the client is back."""
    old = await scene.client("moving")
    await scene.tell("moving")
    await until(lambda: old.heard)
    old.deafen()
    await scene.tell("moving", 2)
    begin = monotonic()
    new = await scene.client("moving", **old.known)
    assert new.ready["recovered"] is True
    assert new.ready["sid"] == old.ready["sid"]
    assert [*old.heard, *new.heard] == list(range(scene.count - 2, scene.count + 1))
    print(f"taken over after {(monotonic() - begin) * 1000:.0f}ms")
    await scene.tell("moving")
    await until(lambda: scene.count in new.heard)
    online = await scene.nodes.domain.redis.zcard("presence:moving")
    assert online == 1
    await old.close()
    await new.close()


async def another_persons_pid(scene: Scene) -> None:
    victim = await scene.client("victim")
    victim.park()
    await scene.tell("victim")
    thief = await scene.client("thief", pid=victim.known["pid"])
    assert thief.ready["recovered"] is False
    assert thief.ready["sid"] != victim.ready["sid"]
    assert thief.known["pid"] != victim.known["pid"]
    assert thief.heard == []
    await victim.resume()
    assert victim.ready["recovered"] is True
    assert victim.heard == [scene.count]
    await thief.close()
    await victim.close()


async def forged_and_ancient_offsets(scene: Scene) -> None:
    for offset in ("forged", "9999999999999-999999999999", "0" * 13 + "-" + "9" * 13):
        client = await scene.client("careful")
        client.park()
        client.known["offset"] = offset
        await client.resume()
        assert client.ready["recovered"] is False, offset
        await client.close()
    ancient = await scene.client("ancient")
    await scene.tell("ancient")
    await until(lambda: ancient.heard)
    ancient.park()
    await scene.tell("ancient", 5 * EVENTS_KEPT)
    await ancient.resume()
    assert ancient.ready["recovered"] is False
    assert ancient.heard[1] is Mark.TOLD
    assert not any(isinstance(n, int) for n in ancient.heard[1:]), "and nothing but the word"
    await ancient.close()
