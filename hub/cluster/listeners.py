"""How many listen to a classic channel: on a cluster each node counts only those of its own."""

import asyncio
from typing import Final

from redis.exceptions import RedisError

from hub.cluster.line import Line
from hub.cluster.link import Link
from hub.plumbing.settings.parsing import Address

NODE_S: Final = 1.0
"""s a node of the cluster may take; one that is away has no listeners."""


class Listeners:
    def __init__(self, line: Line):
        self._line = line
        self._links: dict[Address, Link] = {}

    async def count(self, channel: str) -> int:
        """Raises redis.exceptions.RedisError when no server says."""
        slot = self._line.server.slot
        if slot is None:
            return await self._line.listeners(channel)
        counts = [self._of(node, channel) for node in await slot.nodes()]
        return sum(await asyncio.gather(*counts))

    async def _of(self, node: Address, channel: str) -> int:
        try:
            async with asyncio.timeout(NODE_S):
                link = self._links.get(node)
                if link is None or not link.is_open:
                    link = self._links[node] = await self._line.server.of_node(node).open(
                        "dongne-listeners"
                    )
                return int((await link.command("PUBSUB", "NUMSUB", channel))[1])
        except (RedisError, TimeoutError):
            return 0

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()
