"""A Redis Cluster whose owner of our slot may die, stand still, be switched or give it away."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from tests.hub.cluster.slots import Member, Slots
from tests.stories.cluster.stores import Store


class Clustered(Store):
    """Three masters with a replica each. The faults return the moment at which the slot had an
    owner again that is no other's replica.
    """

    def __init__(self, folder: Path) -> None:
        self.slots = Slots()
        self.settings = {"REDIS_URL": self.slots.url}
        self._dead: list[Member] = []
        self._frozen: list[asyncio.TimerHandle] = []
        self._left: Member | None = None

    async def start(self) -> None:
        """The servers run since it was made."""

    async def stop(self) -> None:
        for timer in self._frozen:
            timer.cancel()
        await asyncio.to_thread(self.slots.close)

    async def kill(self) -> float:
        """kill -9, and nobody but the cluster helps."""
        dead, _ = await asyncio.to_thread(self.slots.kill_owner)
        self._dead.append(dead)
        return monotonic()

    async def freeze(self, seconds: float) -> float:
        """It comes back as if nothing had been, and is a replica then."""
        owner, heir = self.slots.owner(), self.slots.replica()
        owner.signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        self._frozen.append(loop.call_later(seconds, owner.signal, signal.SIGCONT))
        await asyncio.to_thread(heir.await_master)
        return monotonic()

    async def switch(self) -> float:
        """CLUSTER FAILOVER, as before an update of the owner."""
        await asyncio.to_thread(self.slots.fail_over)
        return monotonic()

    async def move(self) -> float:
        await asyncio.to_thread(self.slots.move)
        return monotonic()

    async def leave_behind(self) -> None:
        """The owner's replica has nothing of what comes from now on."""
        self._left = await asyncio.to_thread(self.slots.leave_behind)

    async def promote(self, keys: Sequence[str]) -> int:
        """The owner is killed, and the replica that was left behind takes over; how many of these
        keys it had.
        """
        assert self._left is not None
        dead, known = await asyncio.to_thread(self.slots.promote, self._left, keys)
        self._dead.append(dead)
        return known

    async def mend(self) -> None:
        """The dead come back as replicas, and the frozen thaw."""
        for timer in self._frozen:
            while not timer.cancelled() and timer.when() > asyncio.get_running_loop().time():
                await asyncio.sleep(0.1)
        self._frozen.clear()
        while self._dead:
            await asyncio.to_thread(self._dead.pop().start)
        await asyncio.to_thread(self.slots.await_whole)
