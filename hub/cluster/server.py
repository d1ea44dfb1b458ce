"""Where Redis is: one address, or the master its Sentinels name."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from hub.cluster.link import Link, Push

OPEN_TIMEOUT: Final = 3.0
_SENTINEL_SCHEMES: Final = {
    "redis-sentinel": "redis",
    "redis+sentinel": "redis",
    "rediss-sentinel": "rediss",
    "rediss+sentinel": "rediss",
}
_VERIFY: Final = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}

Address = tuple[str, int]


@dataclass(frozen=True)
class Server:
    """`options` are redis-py's connection options of the URL; they hold the password, so they
    stand in no repr. With `sentinels` the host of the URL is of no account.
    """

    options: dict[str, Any] = field(repr=False)
    sentinels: tuple[Address, ...] = ()
    master: str = "mymaster"
    sentinel_options: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, url: str, sentinels: str = "", master: str = "mymaster") -> "Server":
        """`redis://`, `rediss://` (TLS) and `unix://` as redis-py reads them (user and password,
        database, `ssl_ca_certs` …); `redis-sentinel://[user:password@]host:port,host:port[/db]
        [?master=NAME&sentinel_password=…]`, also as `redis+sentinel://…/db/NAME`. `sentinels`
        (REDIS_SENTINELS, `host:port,host:port`) goes with any URL. Raises ValueError.
        """
        parts = urlsplit(url)
        if parts.scheme in _SENTINEL_SCHEMES:
            return _of_sentinel_url(url, master)
        return cls(dict(parse_url(url)), _addresses(sentinels) if sentinels else (), master)

    async def open(
        self, name: str, on_push: Push | None = None, on_lost: Callable[[], None] | None = None
    ) -> Link:
        """A connection that is logged in, in its database and called `name` (CLIENT LIST).

        Raises redis.exceptions.RedisError; never hangs over OPEN_TIMEOUT.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                address = await self._address()
                return await self._log_in(await self._dial(address, on_push, on_lost), name)
        except (TimeoutError, OSError, ssl.SSLError) as error:
            raise RedisConnectionError(f"cannot reach Redis: {type(error).__name__}") from error

    async def _address(self) -> Address | str:
        if not self.sentinels:
            path: str | None = self.options.get("path")
            if path is not None:
                return path
            return self.options.get("host", "localhost"), self.options.get("port", 6379)
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            self.sentinels,
            socket_connect_timeout=1.0,
            socket_timeout=1.0,
            sentinel_kwargs={
                "socket_connect_timeout": 1.0,
                "socket_timeout": 1.0,
                **self.sentinel_options,
            },
        )
        try:
            return cast(Address, await sentinel.discover_master(self.master))
        finally:
            for client in sentinel.sentinels:
                await client.aclose()

    async def _dial(
        self, address: Address | str, on_push: Push | None, on_lost: Callable[[], None] | None
    ) -> Link:
        loop = asyncio.get_running_loop()
        if isinstance(address, str):
            return (await loop.create_unix_connection(lambda: Link(on_push, on_lost), address))[1]
        host, port = address
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
        password, user = self.options.get("password"), self.options.get("username")
        try:
            if password:
                await link.command("AUTH", *([user] if user else []), password)
            if self.options.get("db"):
                await link.command("SELECT", self.options["db"])
            await link.command("CLIENT", "SETNAME", name)
            if self.sentinels and (await link.command("ROLE"))[0] != b"master":
                raise ReadOnlyError("the master Sentinel named is none yet")
        except (RedisError, asyncio.CancelledError):
            link.close()
            raise
        return link

    def _tls(self) -> ssl.SSLContext | None:
        if not issubclass(self.options.get("connection_class", object), SSLConnection):
            return None
        options = self.options
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"), cadata=options.get("ssl_ca_data")
        )
        wanted = options.get("ssl_cert_reqs", "required")
        context.check_hostname = wanted == "required" and options.get("ssl_check_hostname", True)
        context.verify_mode = _VERIFY[wanted]
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
        return context


def _of_sentinel_url(url: str, master: str) -> Server:
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    login, _, hosts = parts.netloc.rpartition("@")
    for segment in filter(None, parts.path.split("/")):
        if segment.isdecimal():
            query.setdefault("db", segment)
        else:
            query.setdefault("master", unquote(segment))
    master = query.pop("master", master)
    sentinel_options = {
        key.removeprefix("sentinel_"): query.pop(key)
        for key in ("sentinel_username", "sentinel_password")
        if key in query
    }
    scheme = _SENTINEL_SCHEMES[parts.scheme]
    at = f"{login}@" if login else ""
    rest = "&".join(f"{key}={value}" for key, value in query.items())
    options = dict(parse_url(f"{scheme}://{at}sentinel?{rest}"))
    options.pop("host")
    return Server(options, _addresses(hosts), master, sentinel_options)


def _addresses(hosts: str) -> tuple[Address, ...]:
    found: Sequence[str] = [host.strip() for host in hosts.split(",") if host.strip()]
    if not found:
        raise ValueError("no Sentinel address")
    return tuple(_address(host) for host in found)


def _address(text: str) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a Sentinel address is host:port")
    return parts.hostname, parts.port or 26379
