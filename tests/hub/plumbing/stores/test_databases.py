"""What a test finds in a database that another one had before is what a new one holds."""

import asyncpg
import pytest

from hub.plumbing.stores.postgres import Connection
from tests.databases import Databases

ROW = "INSERT INTO users (id, nickname) VALUES ('before', 'before')"


async def names(databases: Databases, *statements: str) -> str:
    """Runs them in the next database, whose name it says."""
    async with databases.lend() as url:
        conn = await asyncpg.connect(url)
        assert await conn.fetchval("SELECT count(*) FROM users") == 0
        assert await conn.fetchval("SELECT last_value FROM outbox_id_seq") == 1
        assert await conn.fetchval("SELECT count(*) FROM regions") > 0
        for statement in statements:
            await conn.execute(statement)
        # It is not closed: what a test forgets is ended.
        return url.rpartition("/")[2]


async def test_rows_and_numbers_are_undone_and_the_database_is_kept(
    postgres_url: str, owner: Connection
) -> None:
    databases = Databases(postgres_url, owner)
    first = await names(databases, ROW, "SELECT nextval('outbox_id_seq')")
    assert await names(databases) == first
    await databases.close()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE questions RENAME COLUMN title TO headline",
        "ALTER TABLE users ADD CONSTRAINT broken CHECK (false) NOT VALID",
        "DROP INDEX devices_user",
        "INSERT INTO regions (code, name) VALUES ('more', 'more')",
        "UPDATE regions SET is_active = is_active",
        "ANALYZE schema_migrations",
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET random_page_cost = 1.1', current_database()); END $$",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql RETURN 1",
    ],
    ids=lambda change: " ".join(change.split()[:3]),
)
async def test_what_is_not_as_the_template_is_dropped(
    change: str, postgres_url: str, owner: Connection
) -> None:
    databases = Databases(postgres_url, owner)
    changed = await names(databases, change)
    assert await names(databases) != changed
    known = await owner.fetch("SELECT datname FROM pg_database")
    assert changed not in {row["datname"] for row in known}
    await databases.close()
