"""What an operator does to the stores: migrations, keys of services."""

from pathlib import Path
from typing import Final

from typer import echo

from hub.commands.dumping import dump
from hub.domain.assembly import connect_domain
from hub.domain.people.sessions import ALL_SCOPES, add_service
from hub.plumbing.life.lifecycle import Lifecycle
from hub.plumbing.settings.database import Database
from hub.plumbing.settings.settings import Settings
from hub.plumbing.stores.migrations import Migration, Phase, latest, migrate, rollback, version
from hub.plumbing.stores.postgres import Connection, dial

PHASES: Final[dict[str, Phase | None]] = {"": None, "before": "before", "after": "after"}


async def migrate_database(part: Database, phase: Phase | None = None) -> list[Migration]:
    """Bring the database to this version."""
    conn = await migrating(part)
    try:
        return await migrate(
            conn, phase=phase, on_step=lambda one: echo(f"migration {one.version:04} {one.name}")
        )
    finally:
        await conn.close()


async def _has_rows_to_lose(part: Database) -> bool:
    """Whether something is to be applied to a database that is in use."""
    conn = await migrating(part)
    try:
        return 0 < await version(conn) < latest()
    finally:
        await conn.close()


async def migrating(part: Database) -> Connection:
    """A session for migrations: they take an advisory lock, which a pooler would lose."""
    assert part.direct_dsn is not None
    return await dial(part.direct_dsn, verify=part.ssl, application_name="dongne-migrate")


async def migration_command(
    part: Database, what: str, phase: str, steps: int, file: Path | None
) -> None:
    """`dongne migrate`: prints what it did; with `file` a dump is taken first. Raises DumpError."""
    if file is not None:
        dump(part, file)
        echo(f"dumped to {file}")
    elif what == "down" or (what == "up" and await _has_rows_to_lose(part)):
        echo("warning: no dump was taken; --dump FILE takes one first", err=True)
    if what == "up":
        done = await migrate_database(part, PHASES[phase])
        echo(f"{len(done)} applied" if done else "nothing to do")
        return
    conn = await migrating(part)
    try:
        if what == "down":
            for one in await rollback(conn, steps):
                echo(f"taken back: {one.version:04} {one.name}")
        echo(f"version {await version(conn)} of {latest()}")
    finally:
        await conn.close()


async def key_command(
    settings: Settings, client: str, scopes: list[str], prefixes: list[str], types: list[str]
) -> str:
    """`dongne key`: the new key of a service. Raises ValueError for an unknown scope."""
    unknown = set(scopes) - set(ALL_SCOPES)
    if unknown:
        raise ValueError(f"unknown scope: {', '.join(sorted(unknown))}")
    life = Lifecycle()
    try:
        domain = await connect_domain(life, settings)
        return await add_service(
            domain,
            client,
            scopes=tuple(scopes),
            room_prefixes=tuple(prefixes),
            event_types=tuple(types),
        )
    finally:
        await life.close()
