"""What a job waits for before it gets a seat: a provider that may be asked, its queue's rate."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from hub.plumbing.life.waiting import set_within
from hub.plumbing.limits.fleet import Bucket, Limits
from workers.seats import Seats

STEP_S: Final = 1.0


class Turns:
    """One by one, the most urgent first: only whoever stands in front asks for tokens, of which
    there is one a person, and for those behind them, too.

    Waiting here loses no try and takes no seat; the job's claim is kept alive meanwhile.
    """

    def __init__(
        self, blocked_s: Callable[[], float], limits: Limits, bucket: Bucket, *, reserved: bool
    ) -> None:
        """`blocked_s`: seconds until somebody can be asked at all, 0 when somebody can; what is
        claimed meanwhile would only be put back. `reserved`: may take the bucket's last tokens."""
        self._blocked_s = blocked_s
        self._limits = limits
        self._bucket = bucket
        self._reserved = reserved
        self._most = bucket.capacity - (0 if reserved else bucket.reserve)
        self._front = Seats(1)
        self._taken = 0
        self._returned = asyncio.Event()

    async def take(self, priority: int, patience_s: float = math.inf) -> bool:
        """Wait for one token. After `patience_s` behind breakers a job goes on without a token
        (false): it will ask nobody."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        await self._front.take(priority)
        try:
            while blocked_s := self._blocked_s():
                if loop.time() + blocked_s > until:
                    return False
                await asyncio.sleep(min(blocked_s, STEP_S))
            if not self._taken:
                await self._take_for_all()
            self._taken -= 1
        finally:
            unused = 0 if self._front.waiting else self._taken
            self._taken -= unused
            self._front.leave()
            if unused:  # those it was taken for have gone
                await self._limits.give_back(self._bucket, unused)
        return True

    async def _take_for_all(self) -> None:
        """For everybody in the line, or where there are not so many, for the first. Jobs with
        nothing to send give theirs back at once: behind a thousand of them nobody waits for a token
        each."""
        wanted = min(1 + self._front.waiting, self._most)
        while True:
            self._returned.clear()
            wait_ms = await self._limits.take(self._bucket, urgent=self._reserved, n=wanted)
            if not wait_ms:
                self._taken = wanted
                return
            if wanted == 1:
                await set_within(self._returned, wait_ms / 1000)
            wanted = 1

    async def give_back(self) -> None:
        """The token of a job that asked nobody after all."""
        await self._limits.give_back(self._bucket)
        self._returned.set()
