"""Schedules: each firing once over the fleet, and what the works leave behind."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from hub.domain import digest, retention, statistics
from hub.domain.context import Domain
from hub.domain.retention import Ages
from hub.plumbing.settings.settings import Settings
from protocol.jobs import JOBS, QUEUES, ScheduledJob
from tests.fakes.fcm import FakeFcm
from tests.fakes.smtp import FakeSmtp
from tests.workers.conftest import Shift, add_person, notify
from workers.ending import Again, Attempt, Held
from workers.jobs import HANDLERS
from workers.schedules import SCHEDULES, Schedule, fire_due, next_after

SEOUL = ZoneInfo("Asia/Seoul")


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("cron", "zone", "now", "following"),
    [
        ("0 9 * * *", "Asia/Seoul", "2026-11-27 23:59", "2026-11-28 00:00"),
        ("0 9 * * *", "Asia/Seoul", "2026-11-28 00:00", "2026-11-29 00:00"),
        # the clocks go back an hour, and forward one
        ("0 9 * * *", "Europe/Berlin", "2026-10-24 12:00", "2026-10-25 08:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 07:00"),
        ("0 9 * * *", "America/New_York", "2026-11-01 00:00", "2026-11-01 14:00"),
    ],
)
def test_the_next_time_is_by_the_zones_clocks(
    cron: str, zone: str, now: str, following: str
) -> None:
    assert next_after(cron, zone, at(now)) == at(following)


async def queued(d: Domain) -> list[str]:
    rows = await d.pool.fetch("SELECT entrypoint FROM pgqueuer ORDER BY entrypoint")
    return [row["entrypoint"] for row in rows]


async def test_of_many_workers_one_enqueues_each_firing(domain: Domain, settings: Settings) -> None:
    now = at("2026-11-27 16:59")  # 01:59 in Seoul
    first = await fire_due(domain.pool, settings.jobs, now)
    assert first == at("2026-11-27 17:00")
    assert await queued(domain) == []
    later = at("2026-11-27 17:00")
    looks = [fire_due(domain.pool, settings.jobs, later) for _ in range(5)]
    assert set(await asyncio.gather(*looks)) == {at("2026-11-27 17:17")}
    assert await queued(domain) == ["retention", "roll-up", "trending"]
    payload = await domain.pool.fetchval("SELECT payload FROM pgqueuer LIMIT 1")
    assert b'"dueAt":"2026-11-27T17:00:00Z"' in payload
    # nobody was there for two days: each is made up for once
    await fire_due(domain.pool, settings.jobs, later + timedelta(days=2))
    assert (await queued(domain)).count("digest") == 1
    assert (await queued(domain)).count("trending") == 2


async def test_another_cron_expression_begins_anew(
    domain: Domain, environ: dict[str, str], settings: Settings
) -> None:
    now = at("2026-11-27 12:00")
    await fire_due(domain.pool, settings.jobs, now)
    other = Settings.load(environ | {"DIGEST_CRON": "30 21 * * *", "SCHEDULER_TZ": "UTC"})
    await fire_due(domain.pool, other.jobs, now)
    due = await domain.pool.fetchval("SELECT due_at FROM schedules WHERE name = 'digest'")
    assert due == at("2026-11-27 21:30")
    assert await queued(domain) == []


async def test_a_work_over_its_time_is_tried_again_and_then_held(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(d: Domain, plan: Any, day: date) -> None:
        await asyncio.Event().wait()

    monkeypatch.setitem(SCHEDULES, "trending", Schedule(lambda part: "", hangs, 0.01))
    form = ScheduledJob(due_at=shift.clock.now())
    for number, wanted in ((1, Again(1.0, "over_time")), (2, Held("over_time"))):
        this = Attempt(number, 2, shift.clock.now(), retry_s=1.0)
        assert await HANDLERS["trending"](shift.desk, form, this) == wanted


async def ask(d: Domain, user_id: str, **given: Any) -> str:
    row = {
        "id": f"q-{uuid4().hex[:8]}",
        "title": "약국?",
        "region_code": "jeju",
        "hashtags": [],
        "urgency": "normal",
        "status": "active",
        "answer_count": 0,
        "created_at": d.now(),
        "first_answer_at": None,
        "deadline_at": None,
        "lat": None,
    } | given
    await d.pool.execute(
        "INSERT INTO questions (id, user_id, title, content, region_code, hashtags, urgency,"
        " status, answer_count, created_at, updated_at, first_answer_at, deadline_at, lat, lng)"
        " VALUES ($1, $2, $3, '', $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $12)",
        row["id"],
        user_id,
        row["title"],
        row["region_code"],
        row["hashtags"],
        row["urgency"],
        row["status"],
        row["answer_count"],
        row["created_at"],
        row["first_answer_at"],
        row["deadline_at"],
        row["lat"],
    )
    return str(row["id"])


async def test_trending_is_of_the_last_day_and_of_what_stands(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "mina")
    for number in range(25):
        await ask(d, "mina", hashtags=[f"t{number:02}"])
    for _ in range(2):
        await ask(d, "mina", hashtags=["약국", "밤"])
    await ask(d, "mina", hashtags=["약국"])
    await ask(d, "mina", hashtags=["old"] * 3, created_at=d.now() - timedelta(hours=25))
    await ask(d, "mina", hashtags=["gone"] * 3, status="deleted")
    tags = await statistics.count_trending(d)
    assert tags[:2] == [("약국", 3), ("밤", 2)]
    assert len(tags) == 20
    kept: list[Any] = await d.redis.zrevrange(d.keys.trending(), 0, 1, withscores=True)
    assert [(_text(tag), score) for tag, score in kept] == [("약국", 3.0), ("밤", 2.0)]
    assert 3500 < await d.redis.ttl(d.keys.trending()) <= 3600
    await d.pool.execute("UPDATE questions SET created_at = created_at - interval '2 days'")
    assert await statistics.count_trending(d) == []
    assert not await d.redis.exists(d.keys.trending())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def test_a_digest_comes_once_a_day_as_one_mail_to_who_wants_one(
    shift: Shift, smtp: FakeSmtp, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    for name in ("a", "b", "off", "nomail", "quiet", "elsewhere"):
        await add_person(d, name)
    await d.pool.execute("UPDATE users SET region_code = 'jeju'")
    await d.pool.execute("UPDATE users SET region_code = 'busan' WHERE id = 'elsewhere'")
    await d.pool.execute("UPDATE users SET email = NULL WHERE id = 'nomail'")
    await d.pool.execute("UPDATE users SET locale = 'en' WHERE id = 'b'")
    sets = "UPDATE notification_preferences SET {} = false WHERE user_id = $1"
    await d.pool.execute(sets.format("digest_enabled"), "off")
    await d.pool.execute(sets.format("email_enabled"), "quiet")
    await ask(d, "a", title="문 연 약국?", answer_count=2)
    await ask(d, "a", title="비 오나요?")
    day = date(2026, 11, 27)
    assert await digest.send(d, day) == 2
    assert await digest.send(d, day) == 0, "a run that is repeated writes none again"
    await shift.advance()
    assert sorted(mail["rcpt_to"][0] for mail in smtp.received) == [
        "a@example.org",
        "b@example.org",
    ]
    subjects = {mail["rcpt_to"][0]: mail["subject"] for mail in smtp.received}
    assert subjects["a@example.org"] == "어제 우리 동네에 올라온 질문 2개"
    assert subjects["b@example.org"] == "2 questions in your area since yesterday"
    assert all("문 연 약국?" in mail["text"] for mail in smtp.received)
    assert fcm.received == []
    assert set(shift.ran) == {"first-look", "email:bulk"}
    run = await d.pool.fetchrow("SELECT * FROM digest_runs")
    assert run is not None
    assert (run["region_code"], run["recipients"], run["sent"]) == ("jeju", 2, 2)
    assert run["finished_at"] is not None
    assert await digest.send(d, day + timedelta(days=1)) == 2
    await shift.advance(3600)
    assert len(smtp.received) == 4
    assert fcm.received == []


async def test_a_day_is_rolled_up_and_the_same_when_it_is_done_again(
    shift: Shift, fcm: FakeFcm
) -> None:
    d = shift.desk.domain
    dead, _ = await add_person(d, "a", devices=2)
    await add_person(d, "b")
    await d.pool.execute("UPDATE users SET region_code = 'jeju'")
    fcm.unregistered.add(dead)
    await notify(d, "a")
    told = await notify(d, "b")
    await shift.advance()
    await d.pool.execute("UPDATE notifications SET seen_at = now() WHERE id = $1", told.id)
    minute = timedelta(minutes=1)
    for took in (2, 4, None):
        first = None if took is None else d.now() + took * minute
        await ask(d, "a", urgency="urgent", deadline_at=d.now() + 3 * minute, first_answer_at=first)
    today = d.now().astimezone(SEOUL).date()
    for _ in range(2):
        await statistics.roll_up(d, today, "Asia/Seoul")
        row = await d.pool.fetchrow("SELECT * FROM delivery_stats WHERE channel = 'push'")
        assert row is not None
        assert (row["region_code"], row["kind"]) == ("jeju", "answer_created")
        assert (row["sent"], row["seen"], row["failed"]) == (2, 1, 1)
        assert row["p50_ms"] <= row["p95_ms"]
        answers = await d.pool.fetchrow("SELECT * FROM answer_stats")
        assert answers is not None
        assert (answers["urgent_questions"], answers["answered_in_target"]) == (3, 1)
        assert (answers["p50_s"], answers["p95_s"]) == (180, 234)
    await statistics.roll_up(d, today - timedelta(days=1), "Asia/Seoul")
    assert await d.pool.fetchval("SELECT count(*) FROM answer_stats") == 1


def test_a_local_day_has_as_many_hours_as_its_clocks_say() -> None:
    begin, end = statistics.day_of(date(2026, 10, 25), "Europe/Berlin")
    assert end.astimezone(UTC) - begin.astimezone(UTC) == timedelta(hours=25)


async def _leave_behind(d: Domain, old: datetime, fresh: datetime) -> None:
    """A row of each table from both times, one whose payload is due, and one that still waits."""
    async with d.pool.acquire() as conn:
        for moment in (old, fresh):
            key = str(moment.timestamp())
            await conn.execute(
                "INSERT INTO notification_dedup VALUES ('mina', $1, gen_random_uuid(), $2)",
                key,
                moment,
            )
            await conn.execute(
                "INSERT INTO idempotency_keys VALUES ('s', 'r', $1, '', 200, '{}', $2)", key, moment
            )
            await conn.execute(
                "INSERT INTO outbox (kind, key, payload, available_at, published_at)"
                " VALUES ('emit', $1, 'x', $2, $2)",
                key,
                moment,
            )
            await conn.execute(
                "INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at,"
                " received_at, processed_at) VALUES (gen_random_uuid(), 't', 'p', '{\"a\": 1}',"
                " $1, $1, $1)",
                moment,
            )
        await conn.execute(
            "INSERT INTO inbox_events (event_id, event_type, publisher, payload, occurred_at,"
            " received_at, processed_at) VALUES (gen_random_uuid(), 'emptied', 'p', '{\"a\": 1}',"
            " $1, $1, $1)",
            fresh - timedelta(days=8),
        )
        await conn.execute(
            "INSERT INTO outbox (kind, key, payload, available_at)"
            " VALUES ('emit', 'wait', 'x', $1)",
            old,
        )
        await conn.execute(
            "CREATE TABLE deliveries_2020_12 PARTITION OF deliveries"
            " FOR VALUES FROM ('2020-12-01 00:00Z') TO ('2021-01-01 00:00Z')"
        )
        await conn.execute(
            "INSERT INTO user_locations (user_id, region_code, expires_at)"
            " VALUES ('mina', 'jeju', $1)",
            fresh - timedelta(seconds=1),
        )


async def test_what_is_past_its_time_goes_and_nothing_else(shift: Shift) -> None:
    d = shift.desk.domain
    await add_person(d, "mina")
    told = await notify(d, "mina")
    await shift.advance()
    old, fresh = d.now() - timedelta(days=200), d.now()
    await _leave_behind(d, old, fresh)
    place = await ask(d, "mina", lat=33.5, created_at=fresh - timedelta(hours=25))
    open_place = await ask(d, "mina", lat=33.5)
    claims = "INSERT INTO question_claims VALUES ($1, 'mina', $2, $2)"
    await d.pool.executemany(claims, [(place, old), (open_place, fresh)])
    next_month = f"decisions_{(fresh.replace(day=1) + timedelta(days=40)):%Y_%m}"
    await d.pool.execute(f"DROP TABLE {next_month}")

    gone = await retention.sweep(d, Ages())

    assert gone["partitions"] == 1
    assert await d.pool.fetchval("SELECT to_regclass('deliveries_2020_12')") is None
    assert await d.pool.fetchval("SELECT to_regclass($1)", next_month) is not None
    for table in ("notification_dedup", "idempotency_keys", "outbox", "question_claims"):
        assert gone[table] == 1, table
    assert await d.pool.fetchval("SELECT count(*) FROM outbox WHERE key = 'wait'") == 1
    assert (gone["inbox_events"], gone["event_payloads"]) == (1, 1)
    events = await d.pool.fetch("SELECT event_type, payload FROM inbox_events ORDER BY received_at")
    assert [(row["event_type"], row["payload"] == "{}") for row in events] == [
        ("emptied", True),
        ("t", False),
    ]
    assert gone["expired_positions"] == 1
    rows = await d.pool.fetch("SELECT id, lat FROM questions")
    places = {row["id"]: row["lat"] for row in rows}
    assert (places[place], places[open_place]) == (None, 33.5)
    assert gone["seen_deliveries"] == 0
    assert await d.pool.fetchval("SELECT count(*) FROM notifications") == 1

    shift.clock.advance(31 * 86400)
    await d.pool.execute("UPDATE notifications SET seen_at = now() WHERE id = $1", told.id)
    assert (await retention.sweep(d, Ages()))["seen_deliveries"] >= 1


async def test_what_was_said_goes_by_whole_months_and_its_keys_by_the_day(shift: Shift) -> None:
    d = shift.desk.domain
    keys = "INSERT INTO room_message_keys VALUES ('mina', 'chat:x', $1, gen_random_uuid(), $2)"
    for month, id in (("2020-12", "old"), (f"{d.now():%Y-%m}", "new")):
        await d.pool.execute(keys, id, d.now() - timedelta(hours=25 if id == "old" else 23))
        name = f"room_messages_{month.replace('-', '_')}"
        await d.pool.execute(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF room_messages FOR VALUES"
            f" FROM ('{month}-01 00:00Z') TO ('2021-01-01 00:00Z')"
        )
        await d.pool.execute(
            "INSERT INTO room_messages (id, created_at, room, user_id, content, client_message_id)"
            f" VALUES (gen_random_uuid(), '{month}-01 12:00Z', 'chat:x', 'mina', $1, $1)",
            id,
        )
    gone = await retention.sweep(d, Ages())
    assert (gone["partitions"], gone["room_message_keys"]) == (1, 1)
    for table in ("room_messages", "room_message_keys"):
        rows = await d.pool.fetch(f"SELECT client_message_id FROM {table}")
        assert [row["client_message_id"] for row in rows] == ["new"]


async def test_a_batch_that_is_full_is_not_the_last(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    d = shift.desk.domain
    await d.pool.execute(
        "INSERT INTO idempotency_keys SELECT 's', 'r', n::text, '', 200, '{}',"
        " now() - interval '3 days' FROM generate_series(1, 25) n"
    )
    assert (await retention.sweep(d, Ages()))["idempotency_keys"] == 25


def test_each_row_of_jobs_has_its_work_and_each_schedule_its_job() -> None:
    assert set(HANDLERS) == set(JOBS)
    assert set(SCHEDULES) <= set(JOBS)
    assert {row.queue for row in JOBS.values()} == set(QUEUES)
