"""Migrations: up, down, once, and never changed after."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from hub.plumbing.stores import migrations
from hub.plumbing.stores.postgres import Connection
from tests.databases import database_of


@pytest.fixture
async def empty(postgres_url: str) -> AsyncIterator[Connection]:
    """A connection to a database without anything."""
    name = f"empty_{uuid4().hex[:12]}"
    owner = await asyncpg.connect(postgres_url)
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    conn = await asyncpg.connect(database_of(postgres_url, name))
    yield conn
    await conn.close()
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


async def tables(conn: Connection) -> set[str]:
    rows = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row["tablename"] for row in rows}


async def test_all_the_way_up_and_down_and_up_again(empty: Connection) -> None:
    assert await migrations.version(empty) == 0
    done = await migrations.migrate(empty)
    assert [one.version for one in done] == [one.version for one in migrations.load()]
    assert await migrations.version(empty) == migrations.latest()
    first = await tables(empty)
    assert {"questions", "outbox", "pgqueuer"} <= first
    assert await migrations.migrate(empty) == []

    await migrations.rollback(empty, len(done))
    assert await tables(empty) == {"schema_migrations"}
    await migrations.migrate(empty)
    assert await tables(empty) == first


async def test_the_half_before_alone_is_enough_for_this_code(empty: Connection) -> None:
    done = await migrations.migrate(empty, phase="before")
    assert {one.phase for one in done} == {"before"}
    assert await migrations.version(empty) == migrations.latest()


async def test_an_applied_file_may_not_change(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrations.migrate(empty)
    changed = [replace(one, up=one.up + "-- more\n") for one in migrations.load()]
    monkeypatch.setattr(migrations, "load", lambda: changed)
    with pytest.raises(migrations.MigrationError, match="0001 has changed"):
        await migrations.migrate(empty)
    monkeypatch.setattr(migrations, "load", lambda: changed[1:])
    with pytest.raises(migrations.MigrationError, match="0001 was applied but"):
        await migrations.migrate(empty)


async def test_partitions_reach_over_the_turn_of_a_year(empty: Connection) -> None:
    await migrations.migrate(empty)
    await migrations.ensure_partitions(empty, datetime(2031, 12, 31, 23, tzinfo=UTC))
    found = {name for name in await tables(empty) if name.startswith("deliveries_20")}
    assert {"deliveries_2031_11", "deliveries_2031_12", "deliveries_2032_01"} <= found
    bounds = await empty.fetchval(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'deliveries_2031_12'"
    )
    assert "2031-12-01 00:00:00+00" in bounds
    assert "2032-01-01 00:00:00+00" in bounds


async def test_two_at_once_wait_for_each_other(empty: Connection, postgres_url: str) -> None:
    database = await empty.fetchval("SELECT current_database()")
    other = await asyncpg.connect(database_of(postgres_url, database))
    both = await asyncio.gather(migrations.migrate(empty), migrations.migrate(other))
    await other.close()
    assert sorted(len(done) for done in both) == [0, len(migrations.load())]


@pytest.mark.fault(11, 16)
async def test_what_was_told_before_keeps_its_time(empty: Connection) -> None:
    """0005 takes the times of facts from the events that were kept, applied ones only."""
    await migrations.migrate(empty)
    while await migrations.version(empty) > 4:
        await migrations.rollback(empty)
    await empty.execute(
        """
        INSERT INTO users (id, nickname) VALUES ('u', 'u'), ('asker', 'asker');
        INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at,
                processed_at)
            SELECT gen_random_uuid(), kind, 'x', payload::jsonb, at::timestamptz, done::timestamptz
            FROM (VALUES
                ('user.registered', '{"userId":"u","email":"a","createdAt":null}',
                    '2026-01-01Z', '2026-01-09Z'),
                ('user.updated', '{"userId":"u","email":"b","isLocalVerified":false,"role":null}',
                    '2026-01-03Z', '2026-01-09Z'),
                ('user.updated', '{"userId":"u","email":"c"}', '2026-01-02Z', '2026-01-09Z'),
                ('user.updated', '{"userId":"u","regionCode":"jeju"}', '2026-01-04Z', null),
                ('user.updated', '{"userId":"nobody","email":"d"}', '2026-01-05Z', '2026-01-09Z')
            ) AS told (kind, payload, at, done);
        INSERT INTO questions (id, user_id, title, content, region_code, urgency, status, hashtags,
                created_at, updated_at)
            VALUES ('q', 'asker', 't', 'c', 'jeju', 'normal', 'closed',
                ARRAY['café', normalize('약국', NFD), '약국', 'a'], '2026-01-01Z', '2026-01-02Z');
        """
    )
    await migrations.migrate(empty)
    facts = await empty.fetch("SELECT user_id, field, occurred_at FROM user_facts ORDER BY field")
    assert [(row["user_id"], row["field"], row["occurred_at"].day) for row in facts] == [
        ("u", "email", 3),
        ("u", "is_local_verified", 3),
        ("u", "registered", 1),
    ]
    question = await empty.fetchrow("SELECT hashtags, closed_at FROM questions")
    assert question is not None
    assert (question["hashtags"], question["closed_at"].day) == (["café", "약국", "a"], 2)
