"""Reads that may lag: from a replica where one is there, else from the primary (C33 … C35).

A replica that is away is left alone for AWAY_S; what was asked of it is asked of the next one, and
in the end of the primary: nobody who reads hears of it. Who has written reads from the primary for
WROTE_S, whichever process they come to next; while Redis cannot say who that is, everybody does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.plumbing.life.lasting import Lasting
from hub.plumbing.stores import redis_client
from hub.plumbing.stores.postgres import (
    AWAY,
    Connection,
    Pool,
    PoolOptions,
    acquire,
    close_pool,
    open_pool,
)
from hub.plumbing.telemetry.metrics import REPLICA_FALLBACKS
from protocol.errors import Code, HubError
from protocol.names import Keys

log = structlog.get_logger(__name__)

T = TypeVar("T")

WROTE_S: Final = 5
AWAY_S: Final = 5.0
ANSWER_S: Final = 0.25

UNFIT = (
    *AWAY,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)
"""What a replica says that the primary need not: it is away, lets nobody in, or its copy moved
under the read.
"""


class Replica:
    """One standby; its pool is opened when it is first needed, and again after it was away."""

    def __init__(self, options: PoolOptions, name: str) -> None:
        self.name = name
        self._options = options
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._not_before = 0.0
        self._away = Lasting(log, "replica.away", "replica.back")

    @property
    def there(self) -> bool:
        return time.monotonic() >= self._not_before

    async def read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Raises one of UNFIT, or UNAVAILABLE, and is away then; or what the work raises."""
        try:
            async with acquire(await self._open(), "replica") as conn:
                answer = await work(conn)
        except HubError as error:
            if error.code == Code.UNAVAILABLE:
                self._leave(error)
            raise
        except UNFIT as error:
            self._leave(error)
            raise
        self._away.over(replica=self.name)
        return answer

    async def _open(self) -> Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._options, self.name)
            return self._pool

    def _leave(self, error: Exception) -> None:
        self._not_before = time.monotonic() + AWAY_S
        self._away.seen(replica=self.name, error=type(error).__name__)

    async def close(self) -> None:
        if self._pool is not None:
            await close_pool(self._pool)


class Reads:
    """One a process. Without replicas it is the primary's pool, and asks nobody anything."""

    def __init__(
        self, primary: Pool, replicas: Sequence[Replica], redis: Redis, keys: Keys
    ) -> None:
        self._primary = primary
        self._replicas = replicas
        self._redis = redis
        self._keys = keys
        self._next = 0

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, may_lag: bool = True) -> T:
        """What `work` reads; it may be run again, elsewhere. Raises what the work raises, and
        UNAVAILABLE when Postgres is away."""
        if may_lag:
            for replica in self._turn():
                try:
                    return await replica.read(work)
                except HubError as error:
                    if error.code != Code.UNAVAILABLE:
                        raise
                except UNFIT:
                    pass
                REPLICA_FALLBACKS.inc()
        async with acquire(self._primary) as conn:
            return await work(conn)

    def _turn(self) -> list[Replica]:
        """Those that are there, each time another one first."""
        there = [replica for replica in self._replicas if replica.there]
        self._next += 1
        at = self._next % len(there) if there else 0
        return [*there[at:], *there[:at]]

    async def wrote(self, user_id: str) -> None:
        """Somebody's write was answered. Raises nothing."""
        if self._replicas:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._redis.set(self._keys.wrote(user_id), "1", ex=WROTE_S)
            except (RedisError, *redis_client.AWAY):
                return

    async def may_lag(self, user_id: str | None) -> bool:
        """Whether this reader has written nothing lately; None: nobody who could have."""
        if not self._replicas or user_id is None:
            return True
        try:
            async with asyncio.timeout(ANSWER_S):
                return not await self._redis.exists(self._keys.wrote(user_id))
        except (RedisError, *redis_client.AWAY):
            return False

    async def close(self) -> None:
        for replica in self._replicas:
            await replica.close()
