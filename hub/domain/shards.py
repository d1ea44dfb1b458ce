"""Regions whose database is another one: which, and what is handed over there.

A shard is a whole installation with tables, workers and Redis of its own; here is only the way to
its door, the table inbox_events and the job that applies what stands there. Events are handed over
by a job of this side's transaction: nothing is lost while the other side is away, and the event's
id makes it one there, however often it comes.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hub.plumbing.stores.outbox import Change, enqueue
from hub.plumbing.stores.postgres import Connection, from_json, to_json
from protocol.between_regions import BETWEEN_REGIONS
from protocol.jobs import HandOverJob, event_job, hand_over_job

NOWHERE: Final = "default"
"""The region of what no other region holds (C36)."""


@dataclass(frozen=True, slots=True)
class Shards:
    """`urls`: of the active regions that are not ours. `home`: the region in whose database stands
    what no region holds (S2-086)."""

    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    home: str = NOWHERE

    def of_region(self, code: str) -> str | None:
        """The region to which a place's things are handed over; None: they are ours."""
        region = self.home if code == NOWHERE else code
        return region if region in self.urls else None

    async def of_question(self, conn: Connection, question_id: str) -> str | None:
        """Where a question was handed over to; None for any other."""
        if not self.urls:
            return None
        region = await conn.fetchval(
            "SELECT region_code FROM question_shards WHERE question_id = $1", question_id
        )
        return region if region in self.urls else None


async def keep_question(conn: Connection, question_id: str, region: str) -> bool:
    """Remember where a question is; False where it was known."""
    kept = await conn.fetchval(
        "INSERT INTO question_shards (question_id, region_code) VALUES ($1, $2)"
        " ON CONFLICT DO NOTHING RETURNING true",
        question_id,
        region,
    )
    return bool(kept)


async def keep_event(
    conn: Connection,
    event_id: UUID,
    event_type: str,
    publisher: str,
    payload: str,
    occurred_at: datetime,
    processed_at: datetime | None = None,
) -> bool:
    """A domain event as a row of inbox_events, `payload` as JSON; False for one whose id is known.
    `processed_at`: nothing of it is to be applied here any more.
    """
    kept = await conn.fetchval(
        "INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at,"
        " processed_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING true",
        event_id,
        event_type,
        publisher,
        payload,
        occurred_at,
        processed_at,
    )
    return bool(kept)


def hand_over(change: Change, event_id: UUID, region: str, erased: str | None = None) -> None:
    """A stored event is to be applied in another region's database. `erased`: whom it erases."""
    change.enqueue(hand_over_job(str(event_id), region, erased))


async def take_over(
    here: Connection,
    there: Connection,
    job: HandOverJob,
    online: Callable[[list[str]], Awaitable[set[str]]],
) -> None:
    """Copy a stored event from one database to another, where it is applied: once. What was written
    for that alone is not kept here; somebody's home is told whether they are `online` here.
    """
    event_id = UUID(job.event_id)
    row = await here.fetchrow(
        "SELECT event_type, publisher, payload, occurred_at FROM inbox_events WHERE event_id = $1",
        event_id,
    )
    between = row is not None and row["event_type"] in BETWEEN_REGIONS
    if row is None or (between and row["payload"] == "{}"):  # whom it names was erased meanwhile
        return
    payload = row["payload"]
    if job.erased is not None:
        payload = to_json({"userId": job.erased})
    elif row["event_type"] == "person.notified":
        told = from_json(payload)
        told["hadSocket"] = told["userId"] in await online([told["userId"]])
        payload = to_json(told)
    async with there.transaction():
        fresh = await keep_event(
            there,
            event_id,
            row["event_type"],
            row["publisher"],
            payload,
            row["occurred_at"],
        )
        if fresh:
            await enqueue(there, [event_job(job.event_id)])
    if between:
        await here.execute("DELETE FROM inbox_events WHERE event_id = $1", event_id)
