"""Our way to Redis: one pool from plain, TLS, unix and Sentinel addresses.

The server keeps no state of ours that a second try could spoil: a command is sent again once when
its connection turns out to be dead, never after a time-out, because then it may have run.
"""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub.plumbing.redis_address import RedisAddress
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
    address = part.address
    options = _options(name, max_connections, answer_timeout_s)
    if address.sentinels:
        return _by_sentinels(address, options)
    return Redis.from_pool(BlockingConnectionPool(**options, **address.options))


def ask_sentinels(address: RedisAddress) -> Sentinel:
    """Asks one after the other, each for a second at most; close it with `aclose()`."""
    asked = {
        "socket_timeout": 1.0,
        "socket_connect_timeout": 1.0,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # the next Sentinel is the second try
        **address.sentinel_options,
    }
    return Sentinel(address.sentinels, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]


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


def _by_sentinels(address: RedisAddress, options: dict[str, Any]) -> Redis:
    """The master that the Sentinels name; the pool asks again for each new connection."""
    own = {name: value for name, value in address.options.items() if name != "connection_class"}
    client: Redis = ask_sentinels(address).master_for(
        address.master, connection_pool_class=_SentinelPool, ssl=address.tls, **options, **own
    )
    return client
