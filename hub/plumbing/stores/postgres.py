"""The ways to Postgres, and what every caller of it needs: JSON both ways and errors with a code.

Every connection of every process is dialled here, so one rule says what TLS must prove.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from hub.plumbing.telemetry.metrics import DB_POOL, DB_QUERY_DURATION
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
    asyncpg.InternalClientError,  # a connection that heard of the end in the middle of a word
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""What says that Postgres is away, whatever the statement was."""


log = structlog.get_logger(__name__)


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
    verify: bool = False
    read_only: bool = False
    log_queries: bool = False


KEEP_ALIVE_S: Final = 10

ARRAYS: Final = {
    "bool": (1000, 16),
    "bytea": (1001, 17),
    "int4": (1007, 23),
    "text": (1009, 25),
    "int8": (1016, 20),
    "float8": (1022, 701),
    "timestamptz": (1185, 1184),
    "interval": (1187, 1186),
    "uuid": (2951, 2950),
    "jsonb": (3807, 3802),
}
"""Of an element's name: the numbers of its array's type and its own, the same on all servers."""

FREE_S: Final = 5.0
"""How long work waits for a connection of its pool."""

DIAL_S: Final = 60.0
"""asyncpg's own patience, for who names none (migrations)."""


async def dial(
    url: str,
    *,
    verify: bool,
    application_name: str,
    timeout: float = DIAL_S,
    command_timeout: float | None = None,
) -> Connection:
    """A connection of one's own, outside the pool: LISTEN, locks, migrations. Times in seconds.

    `verify` is DATABASE_SSL (see `tls`).

    Raises OSError (ssl.SSLError among them) or asyncpg.PostgresError when the server cannot be
    reached or does not prove who it is.
    """
    conn: Connection = await asyncpg.connect(
        url,
        timeout=timeout,
        command_timeout=command_timeout,
        ssl=tls(url, verify),
        server_settings={"application_name": application_name},
    )
    await begin(conn)
    return conn


async def begin(conn: Any) -> None:
    """What every new connection is told."""
    keep_alive(conn)
    know_arrays(conn)


def know_arrays(conn: Any) -> None:
    """Of arrays asyncpg asks each server on each connection, type by type: three round trips and
    some 10 ms of its processor, while the first transactions hold what others wait for.
    """
    none = dict.fromkeys(("basetype", "range_subtype", "attrtypoids", "attrnames"))
    conn._protocol.get_settings().register_data_types(  # as its own answer to itself
        {**none, "oid": oid, "ns": "pg_catalog", "name": f"_{name}", "kind": b"b"}
        | {"elemtype": element, "elemtype_name": name, "elemdelim": ","}
        for name, (oid, element) in ARRAYS.items()
    )


def keep_alive(conn: Any) -> None:
    """S2-124: the kernel asks a silent peer after 10 s, so that a host which vanished is noticed by
    who only waits for its word (LISTEN), too; not on a unix socket."""
    found = conn._transport.get_extra_info("socket")  # asyncpg has no option for it
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_S)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def tls(url: str, verify: bool) -> ssl.SSLContext | Literal["verify-full"] | None:
    """What asyncpg is told about TLS; None leaves it to the URL, as libpq reads it.

    `sslmode` in the URL decides. Without one, `verify` (DATABASE_SSL) asks for verify-full: the
    certificate and the host. The authorities are those of `sslrootcert`, PGSSLROOTCERT or
    ~/.postgresql/root.crt, as with libpq; where none is there, or with `sslrootcert=system`, those
    of this machine, whose word libpq takes for verify-full only (PostgreSQL manual, "SSL Support").
    """
    said = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    mode, root = said.get("sslmode"), said.get("sslrootcert")
    if mode is None and not verify and root != "system":
        return None
    if root == "system" or (mode or "verify-full").replace("_", "-") == "verify-full":
        if root == "system" or (root is None and not _has_root()):
            return _trusting_this_machine(said)
        return "verify-full"
    return None


def _has_root() -> bool:
    """Whether asyncpg finds authorities where libpq looks for them."""
    if os.environ.get("PGSSLROOTCERT"):
        return True
    try:
        return (Path.home() / ".postgresql" / "root.crt").exists()
    except (RuntimeError, OSError):  # no home, or one that is closed to us
        return False


def _trusting_this_machine(said: dict[str, str]) -> ssl.SSLContext:
    """Verifies certificate and host; shows the client's own certificate where the URL names one."""
    context = ssl.create_default_context()
    if "sslcert" in said:
        password = said.get("sslpassword", "")
        context.load_cert_chain(said["sslcert"], said.get("sslkey"), lambda: password)
    return context


@asynccontextmanager
async def connect(options: PoolOptions, *, patient: bool = False) -> AsyncIterator[Pool]:
    """A pool on the primary; closed with whatever still runs cancelled after 5 s.

    Raises OSError or asyncpg.PostgresError when the server cannot be reached; for who is `patient`
    there is then a pool without connections, which dials when somebody wants one.
    """
    try:
        pool = await open_pool(options, "primary")
    except AWAY as error:
        if not patient:
            raise
        log.warning("Postgres is away at the start", kind=type(error).__name__)
        pool = await open_pool(replace(options, min_size=0), "primary")
    try:
        yield pool
    finally:
        await close_pool(pool)


async def open_pool(options: PoolOptions, name: str) -> Pool:
    """`name` is the label of its metrics. Raises OSError or asyncpg.PostgresError."""
    said = {"application_name": options.application_name, "jit": "off"}
    if options.read_only:
        said["default_transaction_read_only"] = "on"
    pool = await asyncpg.create_pool(
        options.url,
        min_size=options.min_size,
        max_size=options.max_size,
        max_inactive_connection_lifetime=options.idle_timeout,
        timeout=options.connect_timeout,
        command_timeout=options.statement_timeout,
        statement_cache_size=options.statement_cache,
        ssl=tls(options.url, options.verify),
        server_settings=said,
        init=_logged if options.log_queries else begin,
        reset=_as_it_is,
    )
    assert pool is not None
    _measure(pool, name)
    return pool


async def _as_it_is(_conn: Any) -> None:
    """A connection goes back as it is, without the round trip that would make it new: nobody here
    gives a session settings, locks, cursors or tables of its own beyond a transaction, and who
    listens stops that. An open transaction asyncpg itself takes back.
    """


async def close_pool(pool: Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), 5)
    except TimeoutError:
        pool.terminate()


async def _logged(conn: Any) -> None:
    """S2-152: statements without their values, and how long they took, at level debug."""
    await begin(conn)

    def tell(done: asyncpg.connection.LoggedQuery) -> None:
        error = type(done.exception).__name__ if done.exception else None
        log.debug("query", statement=done.query, ms=round(done.elapsed * 1000, 2), error=error)

    conn.add_query_logger(tell)


@asynccontextmanager
async def reached() -> AsyncIterator[None]:
    """Turn a lost Postgres into UNAVAILABLE with retryAfterMs; other errors pass."""
    try:
        yield
    except AWAY as error:
        raise unavailable("The database is away.") from error


@asynccontextmanager
async def acquire(pool: Pool, verb: str = "read") -> AsyncIterator[Connection]:
    """A connection of the pool; raises HubError UNAVAILABLE when Postgres is away, or all of them
    are in use for too long.
    """
    async with reached():
        with _WAITING.track_inprogress():
            try:
                conn = await pool.acquire(timeout=FREE_S)
            except TimeoutError as error:
                if pool.get_size() < pool.get_max_size():
                    raise
                raise unavailable("All connections to the database are in use.") from error
        try:
            with DB_QUERY_DURATION.labels(verb=verb).time():
                yield conn
        finally:
            await pool.release(conn)


_WAITING = DB_POOL.labels(pool="primary", state="waiting")


def _measure(pool: Pool, name: str) -> None:
    """S2-126, read at each scrape."""
    DB_POOL.labels(pool=name, state="total").set_function(pool.get_size)
    DB_POOL.labels(pool=name, state="idle").set_function(pool.get_idle_size)


def to_json(value: Any) -> str:
    """Text for a jsonb parameter."""
    return orjson.dumps(value).decode()


def from_json(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)
