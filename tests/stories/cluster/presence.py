"""Story: a node dies by kill -9, and its people are gone by the score of their leases."""

import asyncio
from dataclasses import dataclass
from time import monotonic

import socketio

from hub.cluster.line import Line
from hub.cluster.presence import Census
from protocol.names import Keys, neighbourhood_room
from tests.stories.cluster.clients import Client
from tests.stories.cluster.nodes import Nodes

STREAM = "story"
WATCHING = 3
"""People on each node who watch the stream."""

SHORT = {"PING_INTERVAL": "1000", "PING_TIMEOUT": "1000", "PRESENCE_TTL": "4"}


@dataclass(slots=True)
class Result:
    """`right_s` after the death everything was right; `kept` are entries of the dead node that
    then still stood in Redis, so nobody had reaped them.
    """

    ttl: int
    people: int
    dead: int
    right_s: float
    kept: int
    online: int
    count: int
    nodes: int
    viewers: int

    @property
    def right(self) -> bool:
        living = self.people - self.dead
        counted = (self.online, self.count, self.viewers) == (living, living, WATCHING)
        return counted and self.nodes == 1 and self.right_s <= self.ttl

    def __str__(self) -> str:
        return (
            f"right after {self.right_s:.1f}s of {self.ttl}: {self.online} of {self.people} online,"
            f" {self.count} counted in the room, viewers {self.viewers} of {2 * WATCHING},"
            f" nodes {self.nodes};"
            f" {self.kept} entries of the dead not yet reaped"
        )


async def play(nodes: Nodes, ttl: int, each: int = 10, both: int = 3) -> Result:
    """`each` people on either of two nodes, `both` of them on both; node0 dies."""
    code = nodes.domain.atlas.neighbourhoods[0].code
    room = neighbourhood_room(code)
    clients: list[Client] = []
    names: set[str] = set()
    for name in nodes.doors:
        for n in range(each):
            shared = n < both
            user = f"shared-{n}" if shared else f"{name}-{n}"
            names.add(user)
            client = Client(nodes.urls[name], nodes.token(user), delay=lambda _: 1e6)
            clients.append(await client.connect())
            answer = await client.call("neighbourhood:join", {"code": code})
            assert answer["ok"], answer
    line = Line(nodes.redis, "census")
    keys = Keys()
    census = Census(line, keys)
    place = keys.room_online(room)
    viewers = keys.viewers(STREAM)
    watching = [await _watch(nodes, name, n) for name in nodes.doors for n in range(WATCHING)]
    assert await census.count(place) == len(names)
    assert await census.count(viewers) == 2 * WATCHING
    await nodes.kill("node0")
    died = monotonic()
    living = {name for name in names if not name.startswith("node0")}
    async with asyncio.timeout(ttl + 10):
        while True:
            online = await census.online(names)
            found = (len(online), await census.count(place))
            seen = await census.count(viewers)
            alive = await census.nodes()
            if (*found, seen, len(alive)) == (len(living), len(living), WATCHING, 1):
                break
            await asyncio.sleep(0.1)
    right_s = monotonic() - died
    kept = await line.call("ZCARD", keys.seats(place)) - each
    result = Result(
        ttl=ttl,
        people=len(names),
        dead=len(names - living),
        right_s=right_s,
        kept=kept,
        online=len(online),
        count=found[1],
        nodes=len(alive),
        viewers=seen,
    )
    assert online == living
    await line.close()
    await asyncio.gather(*(client.close() for client in clients))
    await asyncio.gather(*(client.disconnect() for client in watching))
    return result


async def _watch(nodes: Nodes, name: str, n: int) -> socketio.AsyncClient:
    """A stock client in /streaming."""
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(
        nodes.urls[name],
        auth={"token": nodes.token(f"viewer-{name}-{n}"), "recovery": False},
        namespaces=["/streaming"],
        transports=["websocket"],
    )
    answer = await client.call(
        "stream:viewer:join", {"streamKey": STREAM}, namespace="/streaming", timeout=10
    )
    assert answer["ok"], answer
    return client
