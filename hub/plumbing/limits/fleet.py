"""Limits over all nodes: a sliding window for calls and events, a token bucket for queues.

Both are Lua scripts on Redis's own clock, so nodes need not agree on the time and two calls at once
cannot both take the last place. While Redis is away each process counts alone, from nothing: an
outage locks nobody out, and costs one wait and not one a check: whether Redis is back is asked by
a task of its own.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog
from redis.exceptions import RedisError

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.limits.local import LocalBuckets, LocalWindows
from hub.plumbing.stores.redis_client import AWAY
from hub.plumbing.stores.redis_scripts import Ask, Rounds
from hub.plumbing.telemetry.metrics import LIMITS_ALONE, RATE_LIMITED
from protocol.names import Keys

log = structlog.get_logger(__name__)

ANSWER_S: Final = 1.0
"""How long a check waits for Redis before this process counts alone."""

PAUSE_S: Final = 1.0
"""How long Redis is then left alone, before each time it is asked whether it is back."""


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` in any `window_ms`, for each key of the scope (a closed list: a label)."""

    scope: str
    limit: int
    window_ms: int


class Verdict(NamedTuple):
    """What X-RateLimit headers and Retry-After are made of."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """`capacity` tokens refilled at `refill_per_s`; the last `reserve` are for urgent work."""

    queue: str
    capacity: int
    refill_per_s: float
    reserve: int

    @classmethod
    def a_minute(cls, queue: str, rate: int, reserve_share: float) -> "Bucket":
        """Never more than `rate` in any 60 s: two fifths at once, the rest spread (design §7)."""
        capacity = rate * 2 // 5
        return cls(queue, capacity, (rate - capacity) / 60, int(capacity * reserve_share))


class Limits:
    """The limits as this process asks for them; close them when it ends."""

    def __init__(self, ask: Ask, keys: Keys) -> None:
        self._keys = keys
        self._window = Rounds(ask, "window.lua", ANSWER_S)
        self._bucket = Rounds(ask, "bucket.lua", ANSWER_S)
        self._windows = LocalWindows()
        self._buckets = LocalBuckets()
        self._returning: asyncio.Task[None] | None = None
        self._alone = Lasting(
            log,
            "Redis is away: limits are counted alone",
            "Redis is back: limits are shared again",
        )

    async def close(self) -> None:
        """Ends before the client does: nothing is asked of Redis any more."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.wait([self._returning])
        await asyncio.gather(self._window.close(), self._bucket.close())

    async def check(self, window: Window, key: str, n: int = 1) -> Verdict:
        """Count `n` calls of `key` if all of them are within the limit, and none otherwise."""
        name = self._keys.rate(window.scope, key)
        counted = None
        if self._returning is None:
            try:
                counted = await self._window.call(name, window.limit, window.window_ms * 1000, n)
            except AWAY as error:
                self._leave(error)
        if counted is None:
            window_s = window.window_ms / 1000
            counted = self._windows.check(name, window.limit, window_s, n, time.monotonic())
        allowed, remaining, wait_ms = counted
        if not allowed:
            RATE_LIMITED.labels(scope=window.scope).inc()
        return Verdict(bool(allowed), window.limit, remaining, wait_ms)

    async def take(self, bucket: Bucket, *, urgent: bool = False, n: int = 1) -> int:
        """Take `n` tokens: 0 when done, otherwise the ms to wait before asking again.

        Raises ValueError when the bucket can never hold as many.
        """
        kept_back = 0 if urgent else bucket.reserve
        if n + kept_back > bucket.capacity:
            raise ValueError(f"{bucket.queue}: {n} tokens can never be there")
        name = self._keys.queue_limit(bucket.queue)
        figures = bucket.capacity, bucket.refill_per_s, kept_back, n
        if self._returning is None:
            try:
                wait_ms: int = await self._bucket.call(name, *figures)
                return wait_ms
            except AWAY as error:
                self._leave(error)
        return self._buckets.take(name, *figures, time.monotonic())

    async def give_back(self, bucket: Bucket, n: int = 1) -> None:
        """Tokens that were taken and not used; the bucket never holds more than its capacity."""
        await self.take(bucket, urgent=True, n=-n)

    def _leave(self, error: BaseException) -> None:
        """Redis is away: it is left alone, unless others of the same round have said so."""
        if self._returning is None:
            self._alone.seen(kind=type(error).__name__)
            LIMITS_ALONE.set(1)
            self._returning = asyncio.create_task(self._return(), name="limits return")

    async def _return(self) -> None:
        """Ends when Redis counts again, asked by a window of our own that nobody else is in."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                await self._window.call(self._keys.rate("return", secrets.token_hex(8)), 1, 1000, 1)
                break
            except (*AWAY, RedisError) as error:
                self._alone.seen(kind=type(error).__name__)
        self._alone.over()
        self._returning = None
        self._windows.forget()
        self._buckets.forget()
        LIMITS_ALONE.set(0)
