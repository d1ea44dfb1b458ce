"""Deadlines of many things on one timer of the monotonic clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


LATE = 0.1
"""A delay that follows one that came due late is shortened by at most this part of it."""


class Wheel(Generic[T]):
    """Calls `due(item)` once the item's time is over, late by at most one tick.

    One timer serves every item; adding and dropping cost one set operation each.
    """

    def __init__(self, tick: float, due: Callable[[T], None]) -> None:
        self._tick = tick
        self._due = due
        self._slots: dict[int, set[T]] = {}
        self._passed = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T, delay: float, since: int = 0) -> int:
        """The slot to name when the item is dropped; never 0. `since` is the slot that has
        just come due, so that a chain of delays is not late by a little more with each."""
        loop = asyncio.get_running_loop()
        now = loop.time() / self._tick
        if self._timer is None:
            self._passed = int(now)
            self._timer = loop.call_at((self._passed + 1) * self._tick, self._turn)
        steps = delay / self._tick
        start = since if since and now - since < max(2.0, steps * LATE) else now
        slot = max(ceil(start + steps), self._passed + 1)
        items = self._slots.get(slot)
        if items is None:
            self._slots[slot] = {item}
        else:
            items.add(item)
        return slot

    def drop(self, item: T, slot: int) -> None:
        items = self._slots.get(slot)
        if items is not None:
            items.discard(item)

    def pass_on(self, item: T, slot: int, to: T) -> int:
        """`to` takes the item's place, due when the item was; the slot."""
        items = self._slots.get(slot)
        if items is None or item not in items:
            return 0
        items.discard(item)
        items.add(to)
        return slot

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def _turn(self) -> None:
        now = self.catch_up()
        if self._slots:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at((now + 1) * self._tick, self._turn)
        else:
            self._timer = None

    def catch_up(self) -> int:
        """Call what is due although the timer has not run yet; the slot of now."""
        now = int(asyncio.get_running_loop().time() / self._tick)
        while self._timer is not None and self._passed < now:
            self._passed += 1
            for item in self._slots.pop(self._passed, ()):
                self._due(item)
        return now
