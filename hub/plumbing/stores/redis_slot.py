"""Which node of a Redis Cluster owns our slot: any of them is asked, and again after each loss.

All keys of an installation are in one slot, so whoever owns it is our server and nothing has to be
routed. The names of nodes that an answer holds are remembered beside those of the address.
"""

import asyncio
import random
import time
from typing import Any, Final

from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hub.plumbing.settings.parsing import Address
from hub.plumbing.settings.redis_address import RedisAddress

ANSWER_S: Final = 1.0
ASKED_AT_ONCE: Final = 3
"""So that one node that is frozen, or knows the least, does not decide."""

FRESH_S: Final = 0.2
"""An answer is good for so long even when somebody has found it wrong: all find it wrong at once,
and the nodes need a moment to agree."""


class Slot:
    """Of an address of a cluster: the nodes that are known, and the owner they named last."""

    def __init__(self, address: RedisAddress) -> None:
        self._options = {
            "socket_timeout": ANSWER_S,
            "socket_connect_timeout": ANSWER_S,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            **address.options,
        }
        self._number = key_slot(address.key.encode())
        self._nodes = dict.fromkeys(address.nodes)
        self._owner: Address | None = None
        self._asked_at = 0.0
        self._doubted = False
        self._asking = asyncio.Lock()

    async def current(self) -> Address:
        """The owner as it was last named, or asked for now. Raises what `owner` does."""
        async with self._asking:
            stale = self._doubted and time.monotonic() - self._asked_at > FRESH_S
            if self._owner is None or stale:
                self._owner = await self.owner()
            return self._owner

    def doubt(self) -> None:
        """The owner does not answer, or says that it is none."""
        self._doubted = True

    async def owner(self) -> Address:
        """Asks now. Raises redis.exceptions.ConnectionError when nobody says."""
        for first, last, owner, *_ in await self._ask_some():
            if first <= self._number <= last:
                self._asked_at, self._doubted = time.monotonic(), False
                return Address(*owner)
        raise RedisConnectionError("no node of the cluster owns our slot")

    async def nodes(self) -> list[Address]:
        """All of them, replicas too. Raises redis.exceptions.ConnectionError."""
        ranges = await self._ask_some()
        return list(dict.fromkeys(node for _, _, *nodes in ranges for node in nodes))

    async def _ask_some(self) -> list[Any]:
        """First and last slot of each range, then its owner and replicas: the first answer."""
        known = list(self._nodes)
        asked = random.sample(known, min(ASKED_AT_ONCE, len(known)))
        asking = [asyncio.ensure_future(self._ask(node)) for node in asked]
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    ranges = await answer
                except (RedisError, OSError, TimeoutError):
                    continue
                self._nodes |= {node: None for _, _, *nodes in ranges for node in nodes}
                return ranges
        finally:
            for task in asking:
                task.cancel()
        raise RedisConnectionError("no node of the cluster answers")

    async def _ask(self, node: Address) -> list[Any]:
        options = dict(self._options)
        dialled = options.pop("connection_class", Connection)
        connection = dialled(host=node.host, port=node.port, **options)
        try:
            await connection.connect()
            await connection.send_command("CLUSTER", "SLOTS")
            ranges = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        return [
            (first, last, *(_address(one, node) for one in nodes)) for first, last, *nodes in ranges
        ]


def _address(node: list[Any], asked: Address) -> Address:
    """A node that does not know how it is called says nothing, or `?`: as it was asked, then."""
    host = node[0].decode() if node[0] else ""
    return Address(host if host not in ("", "?") else asked.host, node[1])
