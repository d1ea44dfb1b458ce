"""What a new connection knows before it is used."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from hub.plumbing.stores import postgres
from hub.plumbing.stores.postgres import ARRAYS, PoolOptions, dial
from protocol.errors import Code, HubError

VALUES: dict[str, Any] = {
    "bool": True,
    "bytea": b"\x00\xff",
    "int4": 2**31 - 1,
    "text": "제주",
    "int8": 2**63 - 1,
    "float8": 0.5,
    "timestamptz": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "interval": timedelta(seconds=1.5),
    "uuid": uuid4(),
    "jsonb": '{"a": 1}',
}


async def test_arrays_are_known_and_nothing_is_asked_for_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = await dial(database_url, verify=False, application_name="test")
    rows = await conn.fetch(
        "SELECT typname, oid, typelem FROM pg_type WHERE typname LIKE '\\_%' AND oid < 10000"
    )
    served = {row["typname"]: (row["oid"], row["typelem"]) for row in rows}
    assert {name: served[f"_{name}"] for name in ARRAYS} == ARRAYS

    async def asked(*_: object) -> None:
        raise AssertionError("asyncpg asks the server for a type")

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asked)
    for name, value in VALUES.items():
        given = [value, None]
        assert await conn.fetchval(f"SELECT $1::{name}[]", given) == given, name
    assert VALUES.keys() == ARRAYS.keys()
    await conn.close()


async def test_work_that_gets_no_connection_says_why(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "FREE_S", 0.05)
    async with postgres.connect(PoolOptions(database_url, min_size=1, max_size=1)) as pool:
        async with postgres.acquire(pool):
            with pytest.raises(HubError, match="in use") as refused:
                async with postgres.acquire(pool):
                    pass
        assert refused.value.code == Code.UNAVAILABLE
        async with postgres.acquire(pool) as conn:
            assert await conn.fetchval("SELECT 1") == 1


async def test_a_connection_goes_back_without_a_round_trip_and_without_a_transaction(
    database_url: str,
) -> None:
    async with postgres.connect(PoolOptions(database_url, min_size=1, max_size=1)) as pool:
        async with postgres.acquire(pool) as conn:
            pid = await conn.fetchval("SELECT pg_backend_pid()")
        look = await dial(database_url, verify=False, application_name="look")
        last = "SELECT query, state FROM pg_stat_activity WHERE pid = $1"
        assert tuple(await look.fetchrow(last, pid) or ()) == ("SELECT pg_backend_pid()", "idle")
        await look.close()
        with suppress(ZeroDivisionError):
            async with postgres.acquire(pool) as conn, conn.transaction():
                await conn.execute("SET LOCAL statement_timeout = 1234")
                raise ZeroDivisionError
        async with postgres.acquire(pool) as conn:
            assert await conn.fetchval("SELECT pg_backend_pid()") == pid
            assert await conn.fetchval("SHOW statement_timeout") != "1234ms"
            assert not conn.is_in_transaction()
