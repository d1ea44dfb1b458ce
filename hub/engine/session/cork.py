"""Frames for single connections, held until the loop round ends.

A write to a peer that waits for it wakes that peer up, which costs more than the write: with one
echo a round trip 20 to 50 us of the server's CPU (measured). Written together at the end of the
round, the first wakes the peer and the others find it awake; what one connection gets in a round
goes out in one piece.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

AT_ONCE = 64
"""No more connections than this are held, so that the first does not wait for a long round; nor
more frames of one, so that what waits for it is bounded as it is elsewhere."""


class Writer(Protocol):
    """What is asked of a connection."""

    def write(self, wire: bytes, /) -> None: ...


class Cork:
    """Whoever writes to a connection past it releases first what it holds for that one."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[Writer, list[bytes]] = {}

    def hold(self, connection: Writer, wire: bytes) -> None:
        """Write this at the end of the round, after what is held for it already."""
        held = self._held
        frames = held.get(connection)
        if frames is not None:
            frames.append(wire)
            if len(frames) >= AT_ONCE:
                self.release()
            return
        if not held:
            asyncio.get_running_loop().call_soon(self.release)
        held[connection] = [wire]
        if len(held) >= AT_ONCE:
            self.release()

    def release(self) -> None:
        """Write all that is held."""
        if not self._held:
            return
        held, self._held = self._held, {}
        for connection, frames in held.items():
            connection.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def take(self, connection: Writer) -> bytes:
        """What is held for this one, to be written by the caller."""
        return b"".join(self._held.pop(connection, ()))
