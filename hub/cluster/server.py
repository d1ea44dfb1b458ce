"""A connection of the cluster's own: dialled, logged in, to the master if Sentinels name one."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.asyncio.connection import SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from hub.cluster.link import Link, Push
from hub.plumbing.settings.parsing import Address, parse_addresses
from hub.plumbing.settings.redis_address import MASTER, RedisAddress
from hub.plumbing.stores.redis_client import Refused, ask_sentinels

OPEN_TIMEOUT: Final = 3.0


@dataclass(frozen=True)
class Server:
    """Opens connections to one address."""

    address: RedisAddress

    @classmethod
    def of(cls, url: str, sentinels: str = "", master: str = MASTER) -> "Server":
        """`sentinels` as REDIS_SENTINELS has them, `host:port,host:port`; the forms of the URL are
        those of `RedisAddress.of`. Raises ValueError.
        """
        return cls(RedisAddress.of(url, parse_addresses(sentinels), master))

    async def open(
        self, name: str, on_push: Push | None = None, on_lost: Callable[[], None] | None = None
    ) -> Link:
        """A connection that is logged in, in its database and called `name` (CLIENT LIST).

        Raises redis.exceptions.RedisError; never hangs over OPEN_TIMEOUT.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                link = await self._dial(await self._place(), on_push, on_lost)
                return await self._log_in(link, name)
        except (TimeoutError, OSError, ssl.SSLError) as error:
            raise RedisConnectionError(f"cannot reach Redis: {type(error).__name__}") from error

    async def _place(self) -> Address | str:
        """Host and port, or the path of a unix socket."""
        options = self.address.options
        if self.address.sentinels:
            return await self._master()
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

    async def _log_in(self, link: Link, name: str) -> Link:
        options = self.address.options
        password, user = options.get("password", ""), options.get("username")
        try:
            if user or password:
                await link.command("AUTH", *([user] if user else []), password)
            if options.get("db"):
                await link.command("SELECT", options["db"])
            await link.command("CLIENT", "SETNAME", name)
            if self.address.sentinels and (await link.command("ROLE"))[0] != b"master":
                raise Refused("READONLY", "the master Sentinel named is none yet")
        except (RedisError, asyncio.CancelledError):
            link.close()
            raise
        return link

    def _tls(self) -> ssl.SSLContext | None:
        """As redis-py makes it, so that the hub's other connections trust the same."""
        if not self.address.tls:
            return None
        options = self.address.options.items()
        given = {name: value for name, value in options if name.startswith("ssl_")}
        return SSLConnection(**given).ssl_context.get()
