"""What the connections of one listening socket share."""

from __future__ import annotations

import asyncio
from typing import Protocol

from hub.engine.wire.frames import Readers
from hub.plumbing.http.connections import Connections


class Carried(Protocol):
    """Who serves a transport now."""

    transport: asyncio.Transport


class Transports:
    """Which are open, the addresses they count for, and the readers they borrow."""

    __slots__ = ("counted", "open", "readers")

    def __init__(self, counted: Connections, readers: Readers) -> None:
        self.counted = counted
        self.open: set[Carried] = set()
        self.readers = readers

    def lost(self, carried: Carried, address: str | None) -> None:
        """That one is closed; it counted for this address, if for any."""
        self.open.discard(carried)
        if address is not None:
            self.counted.release(address)
