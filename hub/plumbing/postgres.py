"""The pool, and what every caller of Postgres needs: JSON both ways and errors with a code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from hub.plumbing.metrics import DB_POOL, DB_QUERY_DURATION
from protocol.errors import unavailable

if TYPE_CHECKING:  # asyncpg's own classes take no type arguments at run time
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection | PoolConnectionProxy
Row = asyncpg.Record

AWAY = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""What says that Postgres is away, whatever the statement was."""


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Times in seconds (C32)."""

    url: str
    min_size: int = 2
    max_size: int = 10
    idle_timeout: float = 30.0
    connect_timeout: float = 2.0
    statement_timeout: float = 30.0
    statement_cache: int = 100
    application_name: str = "dongne-api"
    ssl: bool = False


@asynccontextmanager
async def connect(options: PoolOptions) -> AsyncIterator[Pool]:
    """A pool on the primary; closed with whatever still runs cancelled after 5 s.

    Raises OSError or asyncpg.PostgresError when the server cannot be reached.
    """
    pool = await asyncpg.create_pool(
        options.url,
        min_size=options.min_size,
        max_size=options.max_size,
        max_inactive_connection_lifetime=options.idle_timeout,
        timeout=options.connect_timeout,
        command_timeout=options.statement_timeout,
        statement_cache_size=options.statement_cache,
        ssl="require" if options.ssl and "sslmode=" not in options.url else None,
        server_settings={"application_name": options.application_name, "jit": "off"},
    )
    assert pool is not None
    _measure(pool)
    try:
        yield pool
    finally:
        try:
            await asyncio.wait_for(pool.close(), 5)
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Turn a lost Postgres into UNAVAILABLE with retryAfterMs; other errors pass."""
    try:
        yield
    except AWAY as error:
        raise unavailable("The database is away.") from error


@asynccontextmanager
async def acquire(pool: Pool, verb: str = "read") -> AsyncIterator[Connection]:
    """A connection of the pool; raises HubError UNAVAILABLE when Postgres is away."""
    async with reached():
        with _WAITING.track_inprogress():
            conn = await pool.acquire(timeout=5)
        try:
            with DB_QUERY_DURATION.labels(verb=verb).time():
                yield conn
        finally:
            await pool.release(conn)


_WAITING = DB_POOL.labels(pool="primary", state="waiting")


def _measure(pool: Pool) -> None:
    """S2-126, read at each scrape."""
    DB_POOL.labels(pool="primary", state="total").set_function(pool.get_size)
    DB_POOL.labels(pool="primary", state="idle").set_function(pool.get_idle_size)


def to_json(value: Any) -> str:
    """Text for a jsonb parameter."""
    return orjson.dumps(value).decode()


def from_json(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
