"""The daily digest: what a person's region asked since yesterday, as one mail each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from hub.domain.context import Domain
from hub.domain.notifications.writing import News, notify
from hub.domain.people import members
from hub.domain.rules.kinds import DIGEST
from hub.plumbing.stores.postgres import acquire

BATCH: Final = 100
WINDOW: Final = timedelta(hours=24)
KEPT: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a region asked: how much, and the title of what was answered most."""

    questions: int
    title: str


async def send(d: Domain, day: date) -> int:
    """Write the digest of `day` for everybody who wants one; how many were written.

    A person gets one a day however often this runs: what a run that died has left out comes with
    the next one. A region where nobody asked sends none.
    """
    total = 0
    for region, asked in (await _asked(d)).items():
        total += await _send_to(d, day, region, asked)
    return total


async def _asked(d: Domain) -> dict[str, Asked]:
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT DISTINCT ON (region_code) region_code, title,"
            " count(*) OVER (PARTITION BY region_code)::int AS questions FROM questions"
            " WHERE created_at > $1 AND status <> 'deleted'"
            " ORDER BY region_code, answer_count DESC, created_at DESC",
            d.now() - WINDOW,
        )
    return {row["region_code"]: Asked(row["questions"], row["title"]) for row in rows}


async def _send_to(d: Domain, day: date, region: str, asked: Asked) -> int:
    async with acquire(d.pool) as conn:
        await conn.execute(
            "INSERT INTO digest_runs (run_date, region_code, started_at) VALUES ($1, $2, $3)"
            " ON CONFLICT (run_date, region_code) DO NOTHING",
            day,
            region,
            d.now(),
        )
    total, after = 0, ""
    while people := await _readers(d, region, after):
        *_, after = people
        total += await _write(d, day, region, asked, people)
    async with acquire(d.pool) as conn:
        await conn.execute(
            "UPDATE digest_runs SET finished_at = $3 WHERE run_date = $1 AND region_code = $2",
            day,
            region,
            d.now(),
        )
    return total


async def _readers(d: Domain, region: str, after: str) -> dict[str, str]:
    """The next hundred who want a digest and can get one: language by id, in order of id."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT u.id FROM users u JOIN notification_preferences p ON p.user_id = u.id"
            " WHERE u.region_code = $1 AND u.id > $2 AND u.deleted_at IS NULL"
            " AND u.email IS NOT NULL AND p.digest_enabled AND p.email_enabled"
            " ORDER BY u.id LIMIT $3",
            region,
            after,
            BATCH,
        )
        people = [row["id"] for row in rows]
        locales = await members.locales_of(conn, people)
    return {user_id: locales[user_id] for user_id in people}


async def _write(d: Domain, day: date, region: str, asked: Asked, people: Mapping[str, str]) -> int:
    words: dict[str, str | int] = {"count": asked.questions, "title": asked.title}
    batch = [
        News.of_ours(
            user_id,
            DIGEST,
            locale,
            words,
            dedup_key=f"digest:{day.isoformat()}",
            expires_at=d.now() + KEPT,
        )
        for user_id, locale in people.items()
    ]
    async with d.outbox.change() as change:
        told = await notify(d, change, batch)
        await change.conn.execute(
            "UPDATE digest_runs SET recipients = recipients + $3, sent = sent + $3"
            " WHERE run_date = $1 AND region_code = $2",
            day,
            region,
            len(told),
        )
    return len(told)
