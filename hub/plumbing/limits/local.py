"""Windows and buckets of one process, for the time when Redis is away.

The same rules as the Lua scripts beside; a test runs one table of cases on both.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

MAX_KEYS: Final = 50_000
"""More callers than this in an outage: the one counted longest ago is forgotten."""


@dataclass(slots=True)
class _Count:
    used: int = 0
    calls: deque[tuple[float, int]] = field(default_factory=deque)


class LocalWindows:
    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}

    def check(
        self, key: str, limit: int, window_s: float, weight: int, now: float
    ) -> tuple[bool, int, int]:
        """Allowed, remaining, and the ms after which `weight` would be allowed."""
        count = self._of(key)
        while count.calls and count.calls[0][0] <= now - window_s:
            count.used -= count.calls.popleft()[1]
        if count.used + weight <= limit:
            count.calls.append((now, weight))
            count.used += weight
            return True, limit - count.used, 0
        wait_s = _wait_s(count, count.used + weight - limit, window_s, now)
        return False, max(0, limit - count.used), max(1, math.ceil(wait_s * 1000))

    def _of(self, key: str) -> _Count:
        count = self._counts.pop(key, None) or _Count()
        self._counts[key] = count  # the last one in the order of use
        if len(self._counts) > MAX_KEYS:
            del self._counts[next(iter(self._counts))]
        return count

    def forget(self) -> None:
        self._counts.clear()


def _wait_s(count: _Count, lacking: int, window_s: float, now: float) -> float:
    for at, weight in count.calls:
        lacking -= weight
        if lacking <= 0:
            return at + window_s - now
    return window_s


class LocalBuckets:
    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, float]] = {}

    def take(
        self, key: str, capacity: int, refill_per_s: float, kept_back: int, n: int, now: float
    ) -> int:
        """0 when the tokens were taken, otherwise the ms until they are there."""
        tokens, at = self._levels.get(key, (float(capacity), now))
        tokens = min(capacity, tokens + max(0.0, now - at) * refill_per_s)
        if tokens < kept_back + n:
            return math.ceil((kept_back + n - tokens) / refill_per_s * 1000)
        self._levels[key] = (tokens - n, now)
        return 0

    def forget(self) -> None:
        self._levels.clear()
