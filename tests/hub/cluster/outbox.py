"""What a table of unpublished rows and its sweeper do, in small, while Redis comes and goes."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError

from hub.cluster.emitter import Emitter
from protocol.events import Emit


class Outbox:
    """Everything is kept, and after a new epoch everything of late is published again."""

    def __init__(self, emitter: Emitter):
        self._emitter = emitter
        self.all: list[str] = []
        self.failed: set[str] = set()
        self.swept: set[str] = set()
        self.epoch = ""

    async def publish(self) -> None:
        id_ = str(len(self.all))
        self.all.append(id_)
        try:
            await self._publish(id_)
        except RedisError:
            self.failed.add(id_)

    async def _publish(self, id_: str) -> None:
        await self._emitter.publish([Emit(id=id_, event="x", rooms=("r",), data={"id": id_})])
        self.epoch = await self._emitter.epoch()

    async def publish_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await self.publish_until(lambda: time.monotonic() > until)

    async def publish_until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not true():
                await self.publish()
                await asyncio.sleep(0.01)

    async def sweep(self) -> None:
        for id_ in self.all:
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(RedisError):
                        await self._publish(id_)
                        break
                    await asyncio.sleep(0.1)
            self.swept.add(id_)
