"""What waits for a peer that reads too slowly, in the order in which it will go out."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Backlog(Generic[T]):
    """Messages held back and their bytes. Most are shared with other connections, so the bytes
    are an upper bound of the memory held."""

    __slots__ = ("_held", "_newest", "bytes")

    def __init__(self) -> None:
        self._held: deque[tuple[T, int]] = deque()
        self._newest: dict[str, tuple[T, int]] = {}
        self.bytes = 0

    def append(self, item: T, size: int) -> None:
        self._held.append((item, size))
        self.bytes += size

    def keep_newest(self, key: str, item: T, size: int) -> int:
        """Hold one volatile message a key; how many older ones that drops (0 or 1)."""
        older = self._newest.pop(key, None)
        self._newest[key] = item, size
        self.bytes += size - (older[1] if older is not None else 0)
        return 0 if older is None else 1

    def pop(self) -> T | None:
        """The next message; volatile ones after all others."""
        if self._held:
            item, size = self._held.popleft()
        elif self._newest:
            item, size = self._newest.pop(next(iter(self._newest)))
        else:
            return None
        self.bytes -= size
        return item

    def kept(self) -> list[T]:
        """What may not be dropped, all of it."""
        return [item for item, _ in self._held]
