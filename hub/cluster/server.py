"""A connection of the cluster's own: dialled, logged in, to the master that Sentinels name or the
owner of our slot in a Redis Cluster.
"""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from redis.asyncio.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hub.cluster.link import Link, Push
from hub.plumbing.life.waiting import set_within
from hub.plumbing.settings.parsing import Address, parse_addresses
from hub.plumbing.settings.redis_address import (
    CLUSTER_PREFIX,
    MASTER,
    RedisAddress,
    cluster_prefix,
)
from hub.plumbing.stores.redis_client import Refused, ask_sentinels
from hub.plumbing.stores.redis_slot import Slot
from protocol.names import Keys

OPEN_TIMEOUT: Final = 3.0
OPEN_IN_SLOT_TIMEOUT: Final = 1.5
"""s. An owner that stands still takes connections and answers nothing; by then it may have a
successor, which is asked for anew."""

ASK_EVERY: Final = 1.0
"""s between two questions to the owner of a slot whether it still answers."""


@dataclass(frozen=True)
class Server:
    """Opens connections to one address."""

    address: RedisAddress

    @classmethod
    def of(
        cls, url: str, sentinels: str = "", master: str = MASTER, *, prefix: str = ""
    ) -> "Server":
        """`sentinels` as REDIS_SENTINELS has them, `host:port,host:port`; the forms of the URL are
        those of `RedisAddress.of`. On a cluster `prefix` is REDIS_PREFIX. Raises ValueError.
        """
        address = RedisAddress.of(url, parse_addresses(sentinels), master)
        if address.nodes:
            prefix = cluster_prefix(prefix or CLUSTER_PREFIX)
        return cls(address.holding(Keys(prefix).epoch))

    @cached_property
    def slot(self) -> Slot | None:
        """Ours, of a cluster."""
        return Slot(self.address) if self.address.nodes else None

    async def open(
        self, name: str, on_push: Push | None = None, on_lost: Callable[[], None] | None = None
    ) -> Link:
        """A connection that is logged in, in its database and called `name` (CLIENT LIST).

        Raises redis.exceptions.RedisError; never hangs over OPEN_TIMEOUT.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT if self.slot is None else OPEN_IN_SLOT_TIMEOUT):
                link = await self._dial(await self._place(), on_push, on_lost)
                return await self._log_in(link, name, listens=on_push is not None)
        except (TimeoutError, OSError, ssl.SSLError) as error:
            raise RedisConnectionError(f"cannot reach Redis: {type(error).__name__}") from error

    async def _place(self) -> Address | str:
        """Host and port, or the path of a unix socket."""
        options = self.address.options
        if self.address.sentinels:
            return await self._master()
        if self.slot is not None:
            return await self.slot.owner()
        if "path" in options:
            return str(options["path"])
        return Address(options.get("host", "localhost"), options.get("port", 6379))

    async def _master(self) -> Address:
        sentinel = ask_sentinels(self.address)
        try:
            return Address(*await sentinel.discover_master(self.address.master))
        finally:
            await sentinel.aclose()

    async def _dial(
        self, place: Address | str, on_push: Push | None, on_lost: Callable[[], None] | None
    ) -> Link:
        loop = asyncio.get_running_loop()
        if isinstance(place, str):
            return (await loop.create_unix_connection(lambda: Link(on_push, on_lost), place))[1]
        host, port = place
        tls = self._tls()
        connected = await loop.create_connection(
            lambda: Link(on_push, on_lost),
            host,
            port,
            ssl=tls,
            server_hostname=host if tls else None,
        )
        return connected[1]

    async def _log_in(self, link: Link, name: str, *, listens: bool) -> Link:
        options = self.address.options
        password, user = options.get("password", ""), options.get("username")
        try:
            if user or password:
                await link.command("AUTH", *([user] if user else []), password)
            if options.get("db"):
                await link.command("SELECT", options["db"])
            await link.command("CLIENT", "SETNAME", name)
            if self.address.sentinels:
                await self._check_role(link)
            if self.slot is not None:
                await self._check_slot(link, listens=listens)
        except (RedisError, asyncio.CancelledError):
            link.close()
            raise
        return link

    def of_node(self, node: Address) -> "Server":
        """One node of the cluster by itself, whatever it owns."""
        return Server(RedisAddress({**self.address.options, "host": node.host, "port": node.port}))

    async def still_owns(self, link: Link) -> None:
        """Nothing where there is no cluster. A master that has just become a replica takes
        subscriptions like any other: only what it says of itself after them counts. Raises Refused.
        """
        if self.slot is not None:
            await self._check_role(link)

    async def until_lost(self, link: Link, lost: asyncio.Event) -> None:
        """Returns once a connection that listens is lost. On a cluster an owner that stands still
        has a successor long before three beats are missed: so the connection itself is asked, which
        gives itself up where nothing is answered.
        """
        if self.slot is None:
            await lost.wait()
        while not lost.is_set():
            with suppress(RedisError):
                await link.command("PING")
            await set_within(lost, ASK_EVERY)

    async def _check_slot(self, link: Link, *, listens: bool) -> None:
        """A key of ours is asked for, so that another owner, or a cluster that is down, says so.
        Who listens needs RESP3, in which other commands may be sent beside.
        """
        await link.command("EXISTS", self.address.key)
        await self._check_role(link)
        if listens:
            await link.command("HELLO", "3")

    @staticmethod
    async def _check_role(link: Link) -> None:
        if (await link.command("ROLE"))[0] != b"master":
            raise Refused("READONLY", "what was named as the master is none")

    def _tls(self) -> ssl.SSLContext | None:
        """As redis-py makes it, so that the hub's other connections trust the same."""
        if not self.address.tls:
            return None
        options = self.address.options.items()
        given = {name: value for name, value in options if name.startswith("ssl_")}
        return SSLConnection(**given).ssl_context.get()
