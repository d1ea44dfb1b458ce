"""What a message costs Redis and a node, by CPU: `python -m tests.show.redis_cost URL …` is one
node with members of every room, which says what it has used and heard whenever it is asked.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from redis.asyncio import Redis

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from protocol.events import Emit
from protocol.names import Channels, Keys
from tests.hub.cluster.nodes import Node

ROOMS = [f"r{number}" for number in range(100)]
EVENTS = 20_000
BATCH = 50
DATA = {"title": "x" * 168}


class Names(NamedTuple):
    """Where an installation is: URL, REDIS_PREFIX, ADAPTER_KEY, and whether in a cluster."""

    url: str
    prefix: str
    key: str
    in_cluster: bool

    @property
    def both(self) -> tuple[Keys, Channels]:
        return Keys(self.prefix), Channels(self.key, self.prefix if self.in_cluster else "")


class Said(NamedTuple):
    """s of CPU that the node has used, and events its members have heard."""

    cpu: float
    heard: int


class Peer:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"?\n")
        async with asyncio.timeout(20):
            return Said(*json.loads(await self._process.stdout.readline()))

    async def heard(self, count: int) -> Said:
        async with asyncio.timeout(60):
            while (said := await self.says()).heard < count:
                await asyncio.sleep(0.05)
        return said


@asynccontextmanager
async def node_of(names: Names) -> AsyncIterator[Peer]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.show.redis_cost",
        *names[:3],
        "cluster" * names.in_cluster,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        peer = Peer(process)
        await peer.says()
        yield peer
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Cost:
    """µs of CPU an event: of the server that is published to, of all others together, of the
    node; and how many s it took."""

    redis: float
    others: float
    node: float
    took_s: float

    def __str__(self) -> str:
        return f"redis {self.redis:.1f}us, others {self.others:.1f}us, node {self.node:.1f}us"


async def cost(
    names: Names, servers: Sequence[int], *, classic_out: bool = False, replicas: int = 0
) -> Cost:
    """Of EVENTS to ROOMS in turn, BATCH in a round trip; `servers` are all ports of Redis."""
    line = Line(Server.of(names.url, prefix=names.prefix), replicas=replicas)
    emitter = Emitter(line, *names.both, classic_out=classic_out)
    async with node_of(names) as peer:
        before, used = await peer.says(), await _cpu(servers)
        begin = time.monotonic()
        for start in range(0, EVENTS, BATCH):
            await emitter.publish([_emit(n) for n in range(start, start + BATCH)])
        after = await peer.heard(before.heard + EVENTS)
        took = time.monotonic() - begin
        spent = [now - then for now, then in zip(await _cpu(servers), used, strict=True)]
    await line.close()
    owner = max(spent)
    each = 1e6 / EVENTS
    return Cost(owner * each, (sum(spent) - owner) * each, (after.cpu - before.cpu) * each, took)


def _emit(number: int) -> Emit:
    id_ = f"{time.time_ns()}-{number}"
    room = ROOMS[number % len(ROOMS)]
    return Emit(id=id_, event="news", rooms=(room,), data={"id": id_, **DATA})


async def _cpu(servers: Sequence[int]) -> list[float]:
    found = []
    for port in servers:
        async with Redis(port=port) as client:
            said = await client.info("cpu")
        found.append(float(said["used_cpu_user"]) + float(said["used_cpu_sys"]))
    return found


async def serve(names: Names) -> None:
    """The node; it ends with its stdin."""
    node = Node(names.url, names.both)
    await node.start()
    sockets = [node.sockets.add(f"s-{room}", room) for room in ROOMS]
    await node.cluster.bus.subscribed("/", ROOMS)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        heard = sum(len(socket.received) for socket in sockets)
        print(json.dumps([time.process_time(), heard]), flush=True)
    await node.stop()


if __name__ == "__main__":
    url, prefix, key, kind = sys.argv[1:]
    asyncio.run(serve(Names(url, prefix, key, kind == "cluster")))
