"""What a job waits for before it gets a seat: its provider's breaker, its queue's rate."""

import asyncio
import math

from hub.domain.rules.reasons import Reason
from hub.plumbing.limits.fleet import Bucket, Limits
from workers.breaker import Breaker
from workers.seats import Seats

_STEP_S = 1.0


class Gate:
    """One by one, the most urgent first: only whoever stands in front asks for a token.

    Waiting here loses no try and takes no seat; the job's claim is kept alive meanwhile.
    """

    def __init__(self, breaker: Breaker, limits: Limits, bucket: Bucket, *, reserved: bool) -> None:
        """`reserved`: may take the bucket's last tokens."""
        self._breaker = breaker
        self._limits = limits
        self._bucket = bucket
        self._reserved = reserved
        self._front = Seats(1)

    async def enter(self, priority: int, patience_s: float = math.inf) -> Reason | None:
        """Wait for one token (one person). BREAKER_OPEN when the provider cannot be asked within
        `patience_s`: then no token is taken.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        await self._front.take(priority)
        try:
            while blocked_s := self._breaker.blocked_s():
                if loop.time() + blocked_s > until:
                    return Reason.BREAKER_OPEN
                await asyncio.sleep(min(blocked_s, _STEP_S))
            while wait_ms := await self._limits.take(self._bucket, urgent=self._reserved):  # noqa: ASYNC110
                await asyncio.sleep(wait_ms / 1000)
        finally:
            self._front.leave()
        return None
