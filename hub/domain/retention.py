"""What is past its time goes: whole months of partitioned tables, batches of everything else."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from hub.domain.context import Domain
from hub.plumbing.stores.migrations import LOCK_ID, drop_partitions, ensure_partitions
from hub.plumbing.stores.postgres import acquire

BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Ages:
    """Days that something is kept (product.md, Jobs). `deliveries`: decisions and the people of
    waves, too. `seen`: deliveries of what was seen. `keys`: idempotency keys, and those of chat
    messages, which are known for a day whatever is set here."""

    notifications: int = 90
    deliveries: int = 90
    seen: int = 30
    chat: int = 30
    dedup: int = 7
    event_payloads: int = 7
    events: int = 90
    keys: int = 1
    outbox: int = 1


async def sweep(d: Domain, ages: Ages) -> dict[str, int]:
    """Make and drop partitions, then delete by batches; what was deleted, by table.

    Whole partitions are dropped, so a row may stay up to a month longer.
    """
    now = d.now()
    async with acquire(d.pool) as conn, conn.transaction():
        # beside another worker, or a migration
        await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK_ID)
        await ensure_partitions(conn, now.astimezone(UTC))
        dropped = 0
        for table, days in (
            ("notifications", ages.notifications),
            ("deliveries", ages.deliveries),
            ("decisions", ages.deliveries),
            ("room_messages", ages.chat),
        ):
            dropped += await drop_partitions(conn, table, now - timedelta(days=days))
    gone = {"partitions": dropped}
    for name, sql, age in _rows(ages):
        gone[name] = await _in_batches(d, sql, now - age)
    return gone


def _rows(ages: Ages) -> list[tuple[str, str, timedelta]]:
    """Name, statement for one batch ($1: what is older than this, $2: how many), age."""
    day = timedelta(days=1)
    return [
        ("expired_positions", _delete("user_locations", "expires_at"), timedelta(0)),
        ("expired_tokens", _delete("refresh_tokens", "expires_at"), timedelta(0)),
        ("question_recipients", _delete("question_recipients", "told_at"), ages.deliveries * day),
        ("question_claims", _delete("question_claims", "claimed_at"), ages.deliveries * day),
        ("notification_dedup", _delete("notification_dedup", "created_at"), ages.dedup * day),
        ("idempotency_keys", _delete("idempotency_keys", "created_at"), ages.keys * day),
        ("room_message_keys", _delete("room_message_keys", "created_at"), ages.keys * day),
        ("outbox", _delete("outbox", "published_at"), ages.outbox * day),
        ("inbox_events", _delete("inbox_events", "received_at"), ages.events * day),
        (
            "seen_deliveries",
            "DELETE FROM deliveries one WHERE (one.id, one.created_at) IN (SELECT x.id,"
            " x.created_at FROM deliveries x JOIN notifications n"
            " ON n.id = x.notification_id AND n.created_at = x.created_at WHERE x.created_at < $1"
            " AND (n.seen_at IS NOT NULL OR n.read_at IS NOT NULL) LIMIT $2)",
            ages.seen * day,
        ),
        (
            "event_payloads",
            "UPDATE inbox_events SET payload = '{}' WHERE event_id IN (SELECT event_id"
            " FROM inbox_events WHERE processed_at < $1 AND payload <> '{}' LIMIT $2)",
            ages.event_payloads * day,
        ),
        # what was asked at a place is where its asker was: it stays as a cell (design §8)
        (
            "places_of_questions",
            "UPDATE questions SET lat = NULL, lng = NULL WHERE id IN (SELECT id FROM questions"
            " WHERE created_at < $1 AND lat IS NOT NULL LIMIT $2)",
            day,
        ),
    ]


def _delete(table: str, column: str) -> str:
    """One batch of a table's rows whose `column` is before $1; a null is never past its time."""
    return (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table}"  # noqa: S608
        f" WHERE {column} < $1 LIMIT $2))"
    )


async def _in_batches(d: Domain, sql: str, before: datetime) -> int:
    """Until a batch is not full; each is a transaction of its own, so nobody waits long for it."""
    total = 0
    while True:
        async with acquire(d.pool) as conn:
            done = int((await conn.execute(sql, before, BATCH)).rpartition(" ")[2])
        total += done
        if done < BATCH:
            return total
