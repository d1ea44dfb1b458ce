"""Domain events of other services from the Redis stream EVENTS_STREAM: each is applied once.

The workers are one consumer group. What one of them has read stays its own until it is deleted,
which happens after the commit, never before: whatever dies in between, another worker takes it
over, and the event's id says that it was applied. An event that fails is in inbox_events with its
error, and tried again by a job, so nothing behind it waits.
"""

import asyncio
import os
import socket
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import asyncpg
import structlog
from redis.exceptions import RedisError, ResponseError

from hub.cluster.line import Line
from hub.domain import intake
from hub.domain.context import Domain
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.waiting import backoff_s, ended_before, set_within
from hub.plumbing.stores.postgres import AWAY
from hub.plumbing.telemetry.metrics import ERRORS, QUEUE_DEPTH
from protocol.domain_events import read_entry
from protocol.errors import Code, HubError

GROUP: Final = "hub"
BATCH: Final = 100
LISTEN_MS: Final = 2000
"""Shorter than a connection waits for any reply."""

IDLE_MS: Final = 30_000
"""What a worker has held for so long is another's."""

GONE_MS: Final = 3_600_000
"""A worker that has asked for nothing for so long, and holds nothing, is forgotten."""

MOST_DELIVERIES: Final = 5
"""What was in hand so often, and not done, ends its workers: it is kept with an error instead."""

Entry = tuple[bytes, bytes]
"""Its id, and its field `e`."""

log = structlog.get_logger(__name__)


def own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


@dataclass(slots=True)
class Consumer:
    """One worker's part of the group; `line` is its own, as reading waits on it."""

    domain: Domain
    line: Line
    stream: str
    name: str = field(default_factory=own_name)
    idle_ms: int = IDLE_MS
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _in_hand: list[Entry] = field(default_factory=list)

    async def run(self) -> None:
        """Until `stopping` is set: then the batch in hand is finished, where its stores let it."""
        failures = 0
        away = Lasting(log, "events.wait", "events.run_again")
        while not self.stopping.is_set():
            try:
                await self._round()
                failures = 0
                away.over()
            except (*AWAY, asyncpg.PostgresError, RedisError, HubError) as error:
                failures += 1
                away.seen(kind=type(error).__name__)
                await set_within(self.stopping, backoff_s(failures, 0.1, 5))

    async def _round(self) -> None:
        await self._join()
        await self._forget_the_dead()
        while not self.stopping.is_set():
            await self._finish()
            await self._take_over()
            self._in_hand = await self._read()
            if self.stopping.is_set() and not self._in_hand:
                return  # a read that was given up still waits on the line, and all behind it
            QUEUE_DEPTH.labels(queue=self.stream).set(await self.line.call("XLEN", self.stream))
            await self._finish()

    async def _join(self) -> None:
        try:
            await self.line.call("XGROUP", "CREATE", self.stream, GROUP, "0", "MKSTREAM")
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def _read(self) -> list[Entry]:
        """New entries, waited for; none when the process stops."""
        asked = ("COUNT", BATCH, "BLOCK", LISTEN_MS, "STREAMS", self.stream, ">")
        reading = asyncio.ensure_future(
            self.line.call("XREADGROUP", "GROUP", GROUP, self.name, *asked)
        )
        if not await ended_before(reading, self.stopping):
            reading.cancel()
            return []
        answer = reading.result()
        return _entries(answer[0][1]) if answer else []

    async def _finish(self) -> None:
        """What is in hand, one after the other; it stays there when a store goes away."""
        while self._in_hand:
            id, body = self._in_hand[0]
            await self._apply(id, body)
            await self._done(id)
            del self._in_hand[0]

    async def _apply(self, id: bytes, body: bytes) -> None:
        """What is no event at all has no id by which it could be kept: it is told of, and gone."""
        try:
            envelope = read_entry(body)
        except HubError as error:
            ERRORS.labels(door="event", code=error.code).inc()
            log.error("event.unreadable", entry=id.decode(), bytes=len(body), why=error.message)
            return
        await intake.hear(self.domain, envelope)

    async def _done(self, id: bytes) -> None:
        await self.line.calls([("XACK", self.stream, GROUP, id), ("XDEL", self.stream, id)])

    async def _take_over(self) -> None:
        """What others have held for too long: they died, or cannot reach their stores. Not while we
        cannot either: only what ends its worker shall come to MOST_DELIVERIES."""
        await self.domain.pool.fetchval("SELECT 1")
        asked = ("XPENDING", self.stream, GROUP, "IDLE", self.idle_ms, "-", "+", BATCH)
        for id, _, _, deliveries in await self.line.call(*asked):
            claimed = await self.line.call(
                "XCLAIM", self.stream, GROUP, self.name, self.idle_ms, id
            )
            for entry, body in _entries(claimed):
                if deliveries < MOST_DELIVERIES:
                    await self._apply(entry, body)
                else:
                    await self._give_up(entry, body)
                await self._done(entry)

    async def _give_up(self, id: bytes, body: bytes) -> None:
        try:
            await intake.refuse(self.domain, read_entry(body), HubError(Code.INTERNAL))
        except HubError as error:
            if error.code == Code.UNAVAILABLE:
                raise
        log.error("event.given_up", entry=id.decode(), deliveries=MOST_DELIVERIES)

    async def _forget_the_dead(self) -> None:
        for told in await self.line.call("XINFO", "CONSUMERS", self.stream, GROUP):
            one = dict(zip(told[::2], told[1::2], strict=True))
            if one[b"pending"] == 0 and one[b"idle"] > GONE_MS:
                await self.line.call("XGROUP", "DELCONSUMER", self.stream, GROUP, one[b"name"])


def _entries(told: list[Any]) -> list[Entry]:
    """Id and field `e` of each; an entry that was deleted meanwhile has none."""
    found = []
    for id, fields in told:
        pairs = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
        found.append((id, pairs.get(b"e", b"")))
    return found
