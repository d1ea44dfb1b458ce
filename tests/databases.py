"""A migrated database for each test, on the run's own server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from hub.plumbing.stores.migrations import migrate
from hub.plumbing.stores.postgres import Connection

TEMPLATE: Final = "dongne_template"

LARGE_BYTES: Final = 2 * 2**20
"""Tables with all that was deleted in them: from here on a new database is the quicker one."""

SEEDS: Final = ("regions", "neighbourhoods", "schema_migrations")
"""Tables with rows in the template: these are compared and not emptied."""

CATALOG: Final = ("pg_class", "pg_attribute", "pg_constraint", "pg_index", "pg_proc", "pg_trigger")

STATE: Final = f"""SELECT concat_ws(' ',
    {
    ", ".join(
        f"(SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM {table})"
        for table in CATALOG + SEEDS
    )
},
    (SELECT sum(reltuples) FROM pg_class),
    (SELECT count(*) FROM pg_statistic),
    datallowconn,
    (SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = pg_database.oid)
) FROM pg_database WHERE datname = current_database()"""
"""What no two databases share whose schema, seeds, statistics or settings differ: a row that was
written anew has another xmin."""


_END_OTHERS: Final = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_WRITTEN: Final = (
    "SELECT 'DELETE FROM ' || oid::regclass AS emptying, pg_relation_size(oid) AS bytes"
    " FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    f" AND pg_relation_size(oid) > 0 AND relname NOT IN {SEEDS}"
)
_COUNT_ANEW: Final = (
    "; SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)


def database_of(url: str, name: str) -> str:
    return url.rpartition("/")[0] + "/" + name


@asynccontextmanager
async def fresh_database(postgres_url: str) -> AsyncIterator[str]:
    """A new one: for a test that needs two, or does to it what cannot be undone."""
    owner = await asyncpg.connect(postgres_url)
    name = await _create(owner)
    yield database_of(postgres_url, name)
    await _drop(owner, name)
    await owner.close()


async def make_template(postgres_url: str) -> None:
    owner = await asyncpg.connect(postgres_url)
    await _hash_once(owner, postgres_url)
    await owner.execute(f"CREATE DATABASE {TEMPLATE}")
    template = await asyncpg.connect(database_of(postgres_url, TEMPLATE))
    await migrate(template)
    await template.close()
    await owner.close()


async def _hash_once(owner: Connection, url: str) -> None:
    """Thousands of logins hash the password 4096 times on both sides, 0.01 s of CPU each; from
    PostgreSQL 16 on a password may say how often.
    """
    if owner.get_server_version().major >= 16:
        await owner.execute("SET scram_iterations = 1")
        await owner.execute(f"ALTER ROLE CURRENT_USER PASSWORD '{urlsplit(url).password}'")


async def _create(owner: Connection) -> str:
    name = f"test_{uuid4().hex[:12]}"
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    return name


async def _drop(owner: Connection, name: str) -> None:
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class _Database:
    name: str
    conn: Connection
    state: str

    async def is_empty_again(self) -> bool:
        """False for what cannot be made as a new one is."""
        if self.conn.is_closed():
            return False
        await self.conn.execute(_END_OTHERS)
        written = await self.conn.fetch(_WRITTEN)
        if (
            await self.conn.fetchval(STATE) != self.state
            or sum(row["bytes"] for row in written) > LARGE_BYTES
        ):
            return False
        await self.conn.execute(";".join(row["emptying"] for row in written) + _COUNT_ANEW)
        return True


class Databases:
    """Lends one database after the other. What a test gave back is emptied for the next one, which
    takes a fifth of a new one's time; what is not as the template is any more is dropped.
    """

    def __init__(self, postgres_url: str, owner: Connection) -> None:
        self._url = postgres_url
        self._owner = owner
        self._kept: _Database | None = None

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[str]:
        """The address of a migrated database that nobody else sees."""
        database, self._kept = self._kept or await self._new(), None
        yield database_of(self._url, database.name)
        if self._kept is None and await database.is_empty_again():
            self._kept = database
        else:
            await database.conn.close()
            await _drop(self._owner, database.name)

    async def close(self) -> None:
        if self._kept is not None:
            await self._kept.conn.close()

    async def _new(self) -> _Database:
        name = await _create(self._owner)
        conn = await asyncpg.connect(database_of(self._url, name))
        await conn.execute("SET session_replication_role = replica")  # foreign keys do not look
        return _Database(name, conn, await conn.fetchval(STATE))
