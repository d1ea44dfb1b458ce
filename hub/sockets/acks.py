"""Acknowledgements of all sockets of this node, gathered: a wave is shown to thousands at once, and
a transaction each would cost Postgres more than everything else it does for them.
"""

import asyncio
from typing import Final

from hub.domain.context import Domain
from hub.domain.notifications import attention
from hub.domain.notifications.attention import Shown

GATHER_S: Final = 0.1
MOST: Final = 500
"""Entries of one change, each with 200 ids at most: more begin another one at once."""


class Acks:
    """Each caller waits for the change that keeps its acknowledgement."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._waiting: list[tuple[Shown, asyncio.Future[int]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: set[asyncio.Task[None]] = set()

    async def take(self, shown: Shown) -> int:
        """How many were new. Raises UNAVAILABLE while Postgres is away: nothing was kept then."""
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[int] = loop.create_future()
        self._waiting.append((shown, kept))
        if len(self._waiting) >= MOST:
            self._keep()
        elif self._timer is None:
            self._timer = loop.call_later(GATHER_S, self._keep)
        return await kept

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting, []
        task = asyncio.create_task(self._write(batch))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _write(self, batch: list[tuple[Shown, asyncio.Future[int]]]) -> None:
        d = self._domain
        try:
            async with d.outbox.change() as change:
                counts = await attention.acknowledge(d, change, [shown for shown, _ in batch])
        except Exception as error:
            for _, kept in batch:
                if not kept.done():
                    kept.set_exception(error)
            return
        for (_, kept), count in zip(batch, counts, strict=True):
            if not kept.done():  # its socket is gone
                kept.set_result(count)
