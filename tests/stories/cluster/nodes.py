"""Several hub nodes as processes behind the balancer, and a service that publishes into them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Protocol
from uuid import uuid4

from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter
from hub.cluster.line import Line
from hub.cluster.server import Server
from hub.domain.assembly import redis_server
from hub.domain.context import Domain
from hub.domain.people import members
from hub.plumbing.settings.settings import Settings
from protocol.events import Class, Emit
from protocol.names import Channels, Keys, question_room
from protocol.tokens import sign_access
from tests.stories.cluster.balancer import Balancer
from tests.stories.cluster.clients import EVENT
from tests.stories.processes import Door, environment

TICK_S = 0.01
REGION_ROOM = "region:default"


class Front(Protocol):
    """What clients reach the nodes through."""

    async def start(self) -> str: ...
    async def stop(self) -> None: ...


@dataclass
class Nodes:
    """Hub processes by name; `url` is what clients dial."""

    domain: Domain
    settings: Settings
    doors: dict[str, Door]
    worker: Door
    front: Front
    url: str = ""
    urls: dict[str, str] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        doors = [self.doors[name] for name in names]
        await asyncio.gather(*(door.start() for door in doors))
        self.urls |= {name: self.doors[name].url for name in names}

    async def kill(self, name: str) -> None:
        """As a crash does."""
        await self.doors[name].kill()

    async def stop(self, name: str) -> int:
        """SIGTERM, until the process has gone; its exit code."""
        return await self.doors[name].stop()

    @property
    def redis(self) -> Server:
        return redis_server(self.settings)

    @property
    def names(self) -> tuple[Keys, Channels]:
        part = self.settings.redis
        return Keys(part.prefix), Channels(part.adapter_key, part.slot)

    def token(self, user_id: str) -> str:
        keys, now = self.domain.tokens, datetime.now(UTC)
        return sign_access(keys, user_id, "user", now=now, ttl_s=7200, jti=str(uuid4()))


@asynccontextmanager
async def open_nodes(
    domain: Domain,
    database_url: str,
    redis_url: str,
    folder: Path,
    count: int,
    settings: Mapping[str, str] | None = None,
    *,
    with_worker: bool = False,
    front: Callable[[Mapping[str, str]], Front] = Balancer,
) -> AsyncIterator[Nodes]:
    """`domain` stands on the same stores; a worker sweeps the outbox."""
    own = {"SOCKET_TRANSPORTS": "websocket", "CONN_MAX_IP": "20000", **(settings or {})}
    env = environment(database_url, redis_url, **own)
    names = [f"node{number}" for number in range(count)]
    doors = {name: Door("hub", env, folder / f"{name}.log") for name in names}
    urls: dict[str, str] = {}
    worker = Door("worker", env, folder / "worker.log")
    nodes = Nodes(domain, Settings.load(env), doors, worker, front(urls), urls=urls)
    try:
        await nodes.start(*names)
        if with_worker:
            await worker.start()
        nodes.url = await nodes.front.start()
        yield nodes
    finally:
        await nodes.front.stop()
        await asyncio.gather(*(_end(door) for door in (worker, *doors.values())))


async def _end(door: Door) -> None:
    """Whatever was to be shown has been: sockets need not be drained."""
    if door.alive:
        await door.kill()


async def make_questions(domain: Domain, count: int, askers: int = 1) -> list[str]:
    """Questions of so many people in turn, whose rooms clients may join."""
    ids = [str(uuid4()) for _ in range(count)]
    people = [f"asker-{number % askers}" for number in range(count)]
    async with domain.pool.acquire() as conn:
        for one in people[:askers]:
            await members.ensure(domain, conn, one)
        await conn.execute(
            "INSERT INTO questions (id, user_id, title, content, region_code, urgency, created_at,"
            " updated_at) SELECT id, asker, 'A', 'B', 'default', 'normal', now(), now()"
            " FROM unnest($1::text[], $2::text[]) AS q (id, asker)",
            ids,
            people,
        )
    return ids


@dataclass
class Service:
    """Publishes numbered events at a steady rate, and remembers which went where.

    `to_all` goes in turn to the region's room and to the whole namespace. `failed` are numbers
    whose publish raised, `moments` when each was made (monotonic). `worst_lag` is how far it fell
    behind its own plan, in s.
    """

    redis: Server
    questions: Sequence[str]
    names: tuple[Keys, Channels] = (Keys(), Channels())
    sent: dict[str, list[int]] = field(default_factory=dict)
    to_all: list[int] = field(default_factory=list)
    urgent: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    moments: list[float] = field(default_factory=list)
    count: int = 0
    worst_lag: float = 0.0
    seconds: float = 0.0
    _run: str = field(default_factory=lambda: uuid4().hex[:8])

    def expected(self, questions: Sequence[str]) -> list[int]:
        """What a member of these questions' rooms should have heard, in order."""
        numbers = (self.sent.get(question_room(one), []) for one in questions)
        return sorted([*self.to_all, *(number for some in numbers for number in some)])

    def during(self, begin: float, end: float) -> set[int]:
        """Numbers of what was published in this time."""
        return {n for n, at in enumerate(self.moments, 1) if begin <= at < end}

    async def run(self, rate: float, rate_to_all: float, until: asyncio.Event) -> None:
        """Events a second to single rooms, and to everybody."""
        line = Line(self.redis, "story")
        emitter = Emitter(line, *self.names)
        begin = monotonic()
        rooms, everybody = 0, 0
        try:
            while not until.is_set():
                passed = monotonic() - begin
                batch = [self._to_room(n) for n in range(rooms, int(passed * rate))]
                rooms += len(batch)
                for n in range(everybody, int(passed * rate_to_all)):
                    batch.append(self._to_all(n))
                    everybody += 1
                await self._publish(emitter, batch)
                self.worst_lag = max(self.worst_lag, monotonic() - begin - passed)
                await asyncio.sleep(TICK_S)
        finally:
            self.seconds += monotonic() - begin
            await line.close()

    async def _publish(self, emitter: Emitter, batch: list[Emit]) -> None:
        if not batch:
            return
        try:
            await emitter.publish(batch)
        except RedisError:
            self.failed |= {emit.data["seq"] for emit in batch}

    def _to_room(self, turn: int) -> Emit:
        room = question_room(self.questions[turn % len(self.questions)])
        emit = self._emit((room,))
        self.sent.setdefault(room, []).append(emit.data["seq"])
        return emit

    def _to_all(self, turn: int) -> Emit:
        emit = self._emit((REGION_ROOM,) if turn % 2 else ())
        self.to_all.append(emit.data["seq"])
        return emit

    def _emit(self, rooms: tuple[str, ...]) -> Emit:
        self.count += 1
        self.moments.append(monotonic())
        urgent = self.count % 20 == 0
        if urgent:
            self.urgent.add(self.count)
        id = f"{self._run}-{self.count}"
        data = {"id": id, "seq": self.count, "ts": int(time() * 1000)}
        klass: Class = "alert" if urgent else "room"
        return Emit(id=id, event=EVENT, rooms=rooms, data=data, klass=klass)
