"""Many rows at once."""

from hub.plumbing.stores.postgres import Connection


async def load(conn: Connection, statements: str) -> None:
    """Run them with the indexes of words made anew behind them: a hundred entries of each question
    cost ten times as much one by one."""
    found = await conn.fetch(
        "SELECT indexname, indexdef FROM pg_indexes"
        " WHERE tablename = 'questions' AND indexdef LIKE '%search_grams%'"
    )
    for row in found:
        await conn.execute(f"DROP INDEX {row['indexname']}")
    await conn.execute(statements, timeout=600)
    for row in found:
        await conn.execute(row["indexdef"], timeout=600)
    await conn.execute("VACUUM ANALYZE", timeout=600)
