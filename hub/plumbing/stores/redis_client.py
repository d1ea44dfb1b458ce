"""Our way to Redis: one pool from plain, TLS, unix, Sentinel and cluster addresses.

The server keeps no state of ours that a second try could spoil: a command is sent again once when
its connection turns out to be dead, never after a time-out, because then it may have run.
"""

import asyncio
import re
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hub.plumbing.settings.process import Redis as RedisPart
from hub.plumbing.settings.redis_address import RedisAddress
from hub.plumbing.stores.redis_slot import Slot

REFUSALS: Final = frozenset(
    {
        "ASK",
        "BUSY",
        "CLUSTERDOWN",
        "DENIED",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOPERM",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNBLOCKED",
        "WRONGPASS",
    }
)
"""First words of error replies that say nothing about the command and everything about the server:
it is full, cannot save, is no master, has too few replicas, loads, is busy, or lets us do nothing.
"""

DEMOTED: Final = frozenset(
    {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "READONLY", "UNBLOCKED"}
)
"""Those of a server that is no master (any more), sees too little of its cluster to be one, or just
loads another one's data: its address must be asked for again.
"""

_TOO_MANY: Final = "max number of clients reached"
_OF_SCRIPT: Final = re.compile(r"Error running script .*?: -?([A-Z]+) ")
"""How Redis before 7 wraps what a command of a script was answered."""


class Refused(ResponseError):
    """Redis answers and does nothing for us now; `word` is the first one of its reply."""

    def __init__(self, word: str, reply: str) -> None:
        super().__init__(reply)
        self.word = word


AWAY = (RedisConnectionError, RedisTimeoutError, Refused, OSError, TimeoutError)
"""What says that Redis is away, whatever the command was. Clients of `connect` and links of
hub.cluster raise one of these for it, and other ResponseErrors for mistakes of ours alone.
"""

ANSWER_TIMEOUT_S = 3.0
"""S2-103. A blocking read must ask for less than this, or for its own client."""


def refusal(reply: str) -> Refused | None:
    """An error reply as Redis wrote it, if it is a refusal."""
    word = reply.partition(" ")[0]
    if word == "ERR" and (wrapped := _OF_SCRIPT.search(reply)):
        word = wrapped[1]
    if word in REFUSALS or _TOO_MANY in reply:
        return Refused(word, reply)
    return None


PROBE_S = 2.0
"""s. Less than readiness gives a check: what is said of a frozen Redis is to be our own answer."""


async def probe(client: Redis, key: str) -> None:
    """Returns when Redis takes a write; an answer to PING says less. Raises what AWAY names, at the
    latest after PROBE_S.
    """
    try:
        async with asyncio.timeout(PROBE_S):
            await client.set(key, "1", ex=60)
    except TimeoutError:
        await _leave_frozen(client.connection_pool)
        raise


class _Client(Redis):
    """Tells refusals apart, and leaves a server that lost its place with every connection: those
    that only read would go on there and never be told.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisTimeoutError:
            await _leave_frozen(self.connection_pool)
            raise
        except ResponseError as error:
            word = error.status_code  # redis-py cuts the words it knows off the text
            refused = refusal(f"{word} {error}" if word else str(error))
            if refused is None:
                raise
            if refused.word in DEMOTED:
                await _leave(self.connection_pool)
            raise refused from error


async def _leave(pool: ConnectionPool) -> None:
    if isinstance(pool, _SlotPool):
        pool.slot.doubt()
    await pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
    await pool.disconnect(inuse_connections=False)


async def _leave_frozen(pool: ConnectionPool) -> None:
    """In a cluster whoever stands still has a successor, before each connection to it would have
    been found out.
    """
    if isinstance(pool, _SlotPool):
        await _leave(pool)


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """Waits for a free connection as the plain pool does, and closes its Sentinels with itself."""

    async def get_master_address(self) -> Any:
        """Connections in use leave another master's predecessor as the idle ones do."""
        before = self.master_address
        address = await super().get_master_address()  # type: ignore[no-untyped-call]
        if before not in (None, address):
            await self.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        return address

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


class _InSlot(AbstractConnection):
    """Dials whoever owns the slot of its pool just then."""

    def __init__(self, *, slot: Slot, **options: Any) -> None:
        self._slot = slot
        super().__init__(**options)

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        if self.is_connected:
            return
        self.host, self.port = await self._slot.current()
        try:
            await super().connect_check_health(*args, **options)
        except (RedisError, OSError, TimeoutError):
            self._slot.doubt()
            raise


class _SlotConnection(_InSlot, Connection):
    pass


class _SecureSlotConnection(_InSlot, SSLConnection):
    pass


class _SlotPool(BlockingConnectionPool):
    """Of a cluster: all our keys are in one slot, so its owner is our server."""

    def __init__(self, slot: Slot, **options: Any) -> None:
        self.slot = slot
        super().__init__(slot=slot, **options)


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
    if address.nodes:
        return _by_slot(address, options)
    return _Client.from_pool(BlockingConnectionPool(**options, **address.options))


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
        # No PING before a command: a server that cannot save refuses it (MISCONF) and would still
        # answer the read; TCP keep-alive, redis-py's default, finds a peer that has gone.
        "health_check_interval": 0,
        "retry": retry,
        "protocol": 2,
    }


def _by_sentinels(address: RedisAddress, options: dict[str, Any]) -> Redis:
    """The master that the Sentinels name; the pool asks again for each new connection."""
    own = {name: value for name, value in address.options.items() if name != "connection_class"}
    client: Redis = ask_sentinels(address).master_for(
        address.master,
        redis_class=_Client,
        connection_pool_class=_SentinelPool,
        ssl=address.tls,
        **options,
        **own,
    )
    return client


def _by_slot(address: RedisAddress, options: dict[str, Any]) -> Redis:
    """The owner of our slot, asked for again once it is no more."""
    own = {**options, **address.options}
    own["connection_class"] = _SecureSlotConnection if address.tls else _SlotConnection
    return _Client.from_pool(_SlotPool(Slot(address), **own))
