"""Which channels one connection listens to: asked for in batches, confirmed by Redis."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from hub.cluster.link import Link

BATCH: Final = 1000
"""Channels in one command."""


class Subscriptions:
    """Survives its connection: `attach` asks a new one for everything that is wanted. On a cluster
    channels that begin with `slot` are sharded ones.
    """

    def __init__(self, slot: str = "") -> None:
        self._slot = slot.encode()
        self._wanted: dict[bytes, None] = {}
        self._link: Link | None = None
        self._asked: set[bytes] = set()
        self._changed: dict[bytes, None] = {}
        self._unconfirmed: Counter[bytes] = Counter()
        self._waiters: dict[bytes, asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def add(self, channel: bytes) -> None:
        self._wanted[channel] = None
        self._change(channel)

    def remove(self, channel: bytes) -> None:
        self._wanted.pop(channel, None)
        self._change(channel)
        self._release(channel)

    async def confirmed(self, channels: Iterable[bytes] | None = None) -> None:
        """Returns when Redis has confirmed these channels (None: all); at once for channels that
        nobody wants. Waits through reconnections.
        """
        wanted = self._wanted if channels is None else channels
        missing = [channel for channel in wanted if not self._is_confirmed(channel)]
        if missing:
            loop = asyncio.get_running_loop()
            await asyncio.wait(
                [self._waiters.setdefault(channel, loop.create_future()) for channel in missing]
            )

    def attach(self, link: Link) -> None:
        self._link = link
        self._changed = dict.fromkeys(self._wanted)
        self._flush()

    def detach(self) -> None:
        self._link = None
        self._asked.clear()
        self._changed.clear()
        self._unconfirmed.clear()

    def confirm(self, channel: bytes) -> bool:
        """Redis answered a SUBSCRIBE or an UNSUBSCRIBE; it answers in the order of asking. False
        when nobody had asked: the slot of the channel is no longer this server's.
        """
        if channel not in self._unconfirmed:
            return False
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if self._is_confirmed(channel):
                self._release(channel)
        return True

    def _is_confirmed(self, channel: bytes) -> bool:
        if channel not in self._wanted:
            return True
        return channel in self._asked and channel not in self._unconfirmed

    def _change(self, channel: bytes) -> None:
        if self._link is None:
            return
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._changed[channel] = None

    def _flush(self) -> None:
        """One round of the loop asks once, whatever joined and left in it."""
        changed, self._changed = self._changed, {}
        if self._link is None:
            return
        asked, wanted = self._asked, self._wanted
        self._ask("UNSUBSCRIBE", [c for c in changed if c in asked and c not in wanted])
        self._ask("SUBSCRIBE", [c for c in changed if c in wanted and c not in asked])
        for channel in changed:
            if self._is_confirmed(channel):
                self._release(channel)

    def _ask(self, command: str, channels: list[bytes]) -> None:
        if self._slot:
            sharded = dict.fromkeys(one for one in channels if one.startswith(self._slot))
            self._send(f"S{command}", list(sharded))
            self._send(command, [one for one in channels if one not in sharded])
        else:
            self._send(command, channels)
        if command == "SUBSCRIBE":
            self._asked.update(channels)
        else:
            self._asked.difference_update(channels)

    def _send(self, command: str, channels: list[bytes]) -> None:
        assert self._link is not None
        for start in range(0, len(channels), BATCH):
            batch = channels[start : start + BATCH]
            self._unconfirmed.update(batch)
            self._link.push_command(command, *batch)

    def _release(self, channel: bytes) -> None:
        waiter = self._waiters.pop(channel, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
