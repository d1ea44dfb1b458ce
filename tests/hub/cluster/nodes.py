"""Whole nodes in one process, each with its own connections and in-memory sockets."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from hub.cluster.cluster import Cluster, ClusterOptions
from hub.cluster.emitter import LogLimits
from hub.cluster.server import Server
from protocol.names import Channels, Keys
from tests.hub.cluster.sockets import Socket, Sockets

Names = tuple[Keys, Channels]


class Node:
    def __init__(self, url: str, names: Names, *, sockets: Sockets | None = None, **more: Any):
        more.setdefault("limits", LogLimits(window=30, events=100))
        keys, channels = names
        self.options = ClusterOptions(Server.of(url, prefix=keys.prefix), keys, channels, **more)
        self.sockets = sockets or Sockets()
        self.cluster = Cluster(self.options, self.sockets)
        self.sockets.opened = self.cluster.bus.join
        self.sockets.emptied = self.cluster.bus.leave

    async def start(self) -> "Node":
        async with asyncio.timeout(20):
            await self.cluster.start()
        return self

    async def stop(self) -> None:
        await self.cluster.stop()

    async def join(self, sid: str, *rooms: str, namespace: str = "/") -> Socket:
        """A socket in rooms, answered when Redis has confirmed them."""
        socket = self.sockets.add(sid, *rooms, namespace=namespace)
        async with asyncio.timeout(10):
            await self.cluster.bus.subscribed(namespace, rooms)
        return socket

    async def heard_all(self) -> None:
        """Returns when everything published before the call has been handed on here."""
        async with asyncio.timeout(10):
            await self.cluster.bus.reached(await self.cluster.pulse.send("mark"))


async def until(true: Callable[[], object], within: float = 10) -> None:
    """Polls what no signal tells."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.01)


def ids(sockets: Iterable[Socket]) -> list[list[Any]]:
    return [socket.ids for socket in sockets]
