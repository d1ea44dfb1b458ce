"""Numbered SQL files, in a half before a deployment and a half after it; they only ever grow.

A file may open with `-- phase: before|after`, `-- transaction: no` (one statement that refuses a
transaction) and `-- call: NAME` (a step whose SQL a library prints). An applied file may not
change: its checksum is kept. One runner at a time, by an advisory lock.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Final, Literal

from hub.plumbing.stores.postgres import Connection, Pool, acquire
from protocol.errors import HubError

Phase = Literal["before", "after"]

LOCK_ID: Final = 0x646F6E67  # "dong"
PARTITIONED: Final = ("notifications", "deliveries", "decisions", "room_messages")
BUSY: Final = ("notifications", "deliveries")
"""Partitioned tables whose rows change so often that they are vacuumed early (S3-24)."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    phase: Phase
    up: str
    down: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.up.encode()).hexdigest()


class MigrationError(Exception):
    """The schema and the files disagree; the message says how."""


def load() -> list[Migration]:
    """Every migration of the tree, in order of version."""
    folder = resources.files("deploy") / "migrations"
    found = []
    for file in folder.iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.up\.sql", file.name):
            up = file.read_text("utf-8")
            down = (folder / file.name.replace(".up.", ".down.")).read_text("utf-8")
            phase: Phase = "after" if _directive(up, "phase") == "after" else "before"
            found.append(Migration(int(match[1]), match[2], phase, up, down))
    return sorted(found, key=lambda migration: migration.version)


def latest() -> int:
    """The version this code needs (of the half before)."""
    return max(migration.version for migration in load() if migration.phase == "before")


async def version(conn: Connection) -> int:
    """Highest version applied; 0 on an empty database."""
    if await conn.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return 0
    return int(await conn.fetchval("SELECT coalesce(max(version), 0) FROM schema_migrations"))


def schema_of(pool: Pool) -> Callable[[], Awaitable[bool]]:
    """Asks whether the database has all that this version needs; once it has, it is asked no more.
    One that is away is not waited for: who began without it can do something without it.
    """
    there, needed = False, latest()

    async def is_there() -> bool:
        nonlocal there
        if not there:
            try:
                async with acquire(pool) as conn:
                    there = await version(conn) >= needed
            except HubError:
                return True
        return there

    return is_there


async def migrate(
    conn: Connection,
    *,
    phase: Phase | None = None,
    on_step: Callable[[Migration], None] = lambda _: None,
) -> list[Migration]:
    """Apply what is missing (of one half, or of both), and make the partitions ahead.

    Raises MigrationError when an applied file has changed or is gone.
    """
    await conn.execute("SELECT pg_advisory_lock($1)", LOCK_ID)
    try:
        await _ensure_table(conn)
        applied = await _applied(conn)
        migrations = load()
        _compare(migrations, applied)
        done = []
        for migration in migrations:
            if migration.version in applied or (phase and migration.phase != phase):
                continue
            on_step(migration)
            await _apply(conn, migration)
            done.append(migration)
        await ensure_partitions(conn, datetime.now(UTC))
        return done
    finally:
        await conn.execute("SELECT pg_advisory_unlock($1)", LOCK_ID)


async def rollback(conn: Connection, steps: int = 1) -> list[Migration]:
    """Take back the newest `steps` migrations (S4-32)."""
    await conn.execute("SELECT pg_advisory_lock($1)", LOCK_ID)
    try:
        applied = await _applied(conn)
        chosen = [m for m in reversed(load()) if m.version in applied][:steps]
        for migration in chosen:
            async with conn.transaction():
                await _run(conn, migration.down)
                await conn.execute(
                    "DELETE FROM schema_migrations WHERE version = $1", migration.version
                )
        return chosen
    finally:
        await conn.execute("SELECT pg_advisory_unlock($1)", LOCK_ID)


async def ensure_partitions(conn: Connection, now: datetime, months_ahead: int = 2) -> None:
    """Monthly partitions from last month to `months_ahead`; a row without one would be refused."""
    tables = [
        table
        for table in PARTITIONED
        if await conn.fetchval("SELECT to_regclass($1)", table) is not None
    ]
    first = now.year * 12 + now.month - 2
    for month in range(first, first + months_ahead + 2):
        begin, end = _month(month), _month(month + 1)
        for table in tables:
            name = f"{table}_{begin:%Y_%m}"
            if await conn.fetchval("SELECT to_regclass($1)", name) is None:
                settings = " WITH (autovacuum_vacuum_scale_factor = 0.1)" if table in BUSY else ""
                await conn.execute(
                    f"CREATE TABLE {name} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{begin:%Y-%m-%d} 00:00Z') TO ('{end:%Y-%m-%d} 00:00Z')"
                    + settings
                )


async def drop_partitions(conn: Connection, table: str, before: datetime) -> int:
    """Drop the months of `table` that ended before then; how many."""
    rows = await conn.fetch(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = $1::regclass ORDER BY c.relname",
        table,
    )
    ended = []
    for row in rows:
        year, month = row["relname"].rsplit("_", 2)[1:]
        if _month(int(year) * 12 + int(month)) <= before:  # its end: months count from 0 there
            ended.append(row["relname"])
    for name in ended:
        await conn.execute(f"DROP TABLE {name}")
    return len(ended)


def _month(number: int) -> datetime:
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _directive(text: str, name: str) -> str | None:
    match = re.search(rf"^-- {name}: (\S+)$", text, re.MULTILINE)
    return match[1] if match else None


async def _ensure_table(conn: Connection) -> None:
    await conn.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )


async def _applied(conn: Connection) -> dict[int, str]:
    rows = await conn.fetch("SELECT version, checksum FROM schema_migrations")
    return {row["version"]: row["checksum"] for row in rows}


def _compare(migrations: Sequence[Migration], applied: dict[int, str]) -> None:
    known = {migration.version: migration for migration in migrations}
    for number, checksum in sorted(applied.items()):
        if number not in known:
            raise MigrationError(f"migration {number:04} was applied but is not in this version")
        if known[number].checksum != checksum:
            raise MigrationError(f"migration {number:04} has changed since it was applied")


async def _apply(conn: Connection, migration: Migration) -> None:
    insert = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"
    row = (migration.version, migration.name, migration.checksum)
    if _directive(migration.up, "transaction") == "no":
        await _run(conn, migration.up)
        await conn.execute(insert, *row)
        return
    async with conn.transaction():
        await _run(conn, migration.up)
        await conn.execute(insert, *row)


async def _run(conn: Connection, text: str) -> None:
    call = _directive(text, "call")
    if call:
        await CALLS[call](conn)
    else:
        await conn.execute(text)


async def _jobs_install(conn: Connection) -> None:
    from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment  # 0.1 s, rarely needed

    await conn.execute(QueryBuilderEnvironment().build_install_query())


async def _jobs_uninstall(conn: Connection) -> None:
    from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment

    await conn.execute(QueryBuilderEnvironment().build_uninstall_query())


CALLS: Final[dict[str, Callable[[Connection], Awaitable[None]]]] = {
    "jobs_install": _jobs_install,
    "jobs_uninstall": _jobs_uninstall,
}
