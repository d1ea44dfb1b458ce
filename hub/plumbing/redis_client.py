"""Our way to Redis: one pool from plain, TLS, unix and Sentinel addresses.

The server keeps no state of ours that a second try could spoil: a command is sent again once when
its connection turns out to be dead, never after a time-out, because then it may have run.
"""

from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub.plumbing.values import Address, parse_addresses
from hub.plumbing.variables import Redis as RedisPart

AWAY = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OSError, TimeoutError)
"""What says that Redis is away, whatever the command was; a demoted master is away, too."""

ANSWER_TIMEOUT_S = 3.0
"""S2-103. A blocking read must ask for less than this, or for its own client."""


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a free connection as the plain pool does, and closes its Sentinels with itself."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def connect(
    part: RedisPart,
    *,
    name: str = "dongne",
    max_connections: int = 50,
    answer_timeout_s: float | None = ANSWER_TIMEOUT_S,
) -> Redis:
    """A client that connects when first used and answers in bytes; close it with `aclose()`.

    More than `max_connections` commands at once wait for their turn. `answer_timeout_s=None` waits
    for ever, for blocking reads. Raises ValueError when no address is given.
    """
    options = _options(name, max_connections, answer_timeout_s)
    url = part.url.get_secret_value() if part.url else ""
    if part.sentinels:
        return _by_sentinels(part, part.sentinels, url, options)
    if "-sentinel://" in url:
        nodes = urlsplit(url).netloc.rpartition("@")[2]
        return _by_sentinels(part, parse_addresses(nodes), url, options)
    if url:
        return Redis.from_pool(BlockingConnectionPool.from_url(url, **options))
    if part.redis_host is None:
        raise ValueError("no address of Redis is given")
    options |= {"host": part.redis_host, "port": part.redis_port, "password": _password(part)}
    return Redis.from_pool(BlockingConnectionPool(**options))


def _options(name: str, max_connections: int, answer_timeout_s: float | None) -> dict[str, Any]:
    retry = Retry(ExponentialWithJitterBackoff(0.2, 0.02), 1, (RedisConnectionError,))
    return {
        "client_name": name,
        "max_connections": max_connections,
        "timeout": ANSWER_TIMEOUT_S,  # for a free connection
        "socket_timeout": answer_timeout_s,
        "socket_connect_timeout": 2.0,
        "health_check_interval": 30,
        "retry": retry,
        "protocol": 2,
    }


def _by_sentinels(
    part: RedisPart, nodes: tuple[Address, ...], url: str, options: dict[str, Any]
) -> Redis:
    """The master that the Sentinels name; the pool asks again for each new connection."""
    parts = urlsplit(url)
    username, _, password = parts.netloc.rpartition("@")[0].partition(":")
    asked = {
        "socket_timeout": 1.0,
        "socket_connect_timeout": 1.0,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # the next Sentinel is the second try
    }
    sentinel = Sentinel(nodes, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    client: Redis = sentinel.master_for(
        part.master_name,
        connection_pool_class=_SentinelPool,
        ssl=parts.scheme in ("rediss", "rediss-sentinel"),
        username=unquote(username) or None,
        password=unquote(password) or _password(part),
        db=int(parts.path.strip("/") or 0),
        **options,
    )
    return client


def _password(part: RedisPart) -> str | None:
    return part.redis_password.get_secret_value() if part.redis_password else None
