"""What a message costs Redis and a node, by CPU, here or in an earlier tree: node and publisher are
processes of that tree, which say what they have used and done whenever they are asked.

    python -m tests.show.redis_cost node URL PREFIX KEY SLOT
    python -m tests.show.redis_cost publisher URL PREFIX KEY SLOT
"""

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from protocol.events import Emit
from protocol.names import Channels, Keys
from tests.hub.cluster.nodes import Node

ROOT = Path(__file__).parents[2]
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
    def server(self) -> Server:
        return Server.of(self.url, prefix=self.prefix) if self.in_cluster else Server.of(self.url)

    @property
    def both(self) -> tuple[Keys, Channels]:
        """An earlier tree knows no slots."""
        slot = (self.prefix,) if self.in_cluster else ()
        return Keys(self.prefix), Channels(self.key, *slot)


class Said(NamedTuple):
    """s of CPU that a process has used, and events that it has heard or published."""

    cpu: float
    events: int


class Peer:
    """A process that answers each line with what it has used and done."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, line: str = "") -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        async with asyncio.timeout(120):
            return Said(*json.loads(await self._process.stdout.readline()))

    async def reaches(self, count: int) -> Said:
        async with asyncio.timeout(60):
            while (said := await self.says()).events < count:
                await asyncio.sleep(0.05)
        return said


@asynccontextmanager
async def peer(
    role: str, names: Names, tree: Path = ROOT, module: str = "tests.show.redis_cost", **how: Any
) -> AsyncIterator[Peer]:
    """`tree`: where it runs; `how`: what a publisher is told beside."""
    where = (*names[:3], "cluster" * names.in_cluster, json.dumps(how))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, role, *where),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=tree,
    )
    try:
        made = Peer(process)
        await made.says()
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def settle_in(tree: Path) -> None:
    """This file into an earlier tree."""
    shutil.copy(__file__, tree / "tests" / "show")


@dataclass(frozen=True, slots=True)
class Cost:
    """µs of CPU an event: of the server that is published to, of all others together, of the
    node; and how many s it took."""

    redis: float
    others: float
    node: float
    took_s: float

    @property
    def whole(self) -> float:
        return self.redis + self.node

    def __str__(self) -> str:
        return f"redis {self.redis:.1f}us, others {self.others:.1f}us, node {self.node:.1f}us"


async def cost(
    names: Names,
    servers: Sequence[int],
    *,
    classic_out: bool = False,
    replicas: int = 0,
    tree: Path = ROOT,
) -> Cost:
    """Of EVENTS to ROOMS in turn, BATCH in a round trip, one round trip after the other; `servers`
    are all ports of Redis."""
    how: dict[str, Any] = {"classic_out": classic_out, "replicas": replicas}
    async with (
        peer("node", names, tree) as node,
        peer("publisher", names, tree, **how) as publisher,
    ):
        before, used = await node.says(), await cpu_of(servers)
        begin = time.monotonic()
        await publisher.says(str(EVENTS))
        after = await node.reaches(before.events + EVENTS)
        took = time.monotonic() - begin
        spent = [now - then for now, then in zip(await cpu_of(servers), used, strict=True)]
    owner = max(spent)
    each = 1e6 / EVENTS
    return Cost(owner * each, (sum(spent) - owner) * each, (after.cpu - before.cpu) * each, took)


async def cpu_of(servers: Sequence[int]) -> list[float]:
    """s that each has used."""
    found = []
    for port in servers:
        async with Redis(port=port) as client:
            said = await client.info("cpu")
        found.append(float(said["used_cpu_user"]) + float(said["used_cpu_sys"]))
    return found


async def run_node(names: Names, how: dict[str, Any]) -> None:
    node = Node(names.url, names.both)
    await node.start()
    rooms = ROOMS[: how.get("rooms", len(ROOMS))]
    sockets = [node.sockets.add(f"s-{room}", room) for room in rooms]
    await node.cluster.bus.subscribed("/", rooms)

    async def heard(_: str) -> int:
        return sum(len(socket.received) for socket in sockets)

    await answer(heard)
    await node.stop()


async def run_publisher(names: Names, how: dict[str, Any]) -> None:
    """Of each line it is how many events it publishes before it answers, at most `rate` a second
    where that is told."""
    rate = how.get("rate", 0)
    line = Line(names.server, **_given(how, "replicas"))
    emitter = Emitter(line, *names.both, **_given(how, "classic_out"))
    done = 0

    async def publish(line: str) -> int:
        nonlocal done
        first, begin = done, time.monotonic()
        end = done + int(line or 0)
        while done < end:
            if rate:
                await asyncio.sleep(begin + (done - first) / rate - time.monotonic())
            count = min(BATCH, end - done)
            await emitter.publish([_emit(number) for number in range(done, done + count)])
            done += count
        return done

    await answer(publish)
    await line.close()


def _given(how: dict[str, Any], name: str) -> dict[str, Any]:
    """An earlier tree knows no such argument."""
    return {name: how[name]} if how.get(name) else {}


def _emit(number: int) -> Emit:
    id_ = f"{time.time_ns()}-{number}"
    room = ROOMS[number % len(ROOMS)]
    return Emit(id=id_, event="news", rooms=(room,), data={"id": id_, **DATA})


async def answer(done: Callable[[str], Awaitable[int]]) -> None:
    """Until stdin ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        count = await done(line.decode().strip())
        print(json.dumps([time.process_time(), count]), flush=True)


Role = Callable[[Names, dict[str, Any]], Coroutine[Any, Any, None]]


def run_role(roles: Mapping[str, Role]) -> None:
    """The one that the command line names."""
    role, url, prefix, key, kind, told = sys.argv[1:]
    asyncio.run(roles[role](Names(url, prefix, key, kind == "cluster"), json.loads(told)))


if __name__ == "__main__":
    run_role({"node": run_node, "publisher": run_publisher})
