"""The urgent question: its waves, whom they wake, and how they end.

A wave is one broadcast to the cells that touch its circle, made with the question itself, and rows
for the ranked people, written by a worker in batches of 100.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import NAMESPACE_URL, uuid4, uuid5

from hub.domain import members, places
from hub.domain.context import Domain
from hub.domain.inbox import URGENT_KIND, News, notify
from hub.domain.rules import Candidate, Reason, rank
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire, to_json
from hub.plumbing.telemetry.metrics import URGENT_QUESTIONS, URGENT_RECIPIENTS
from protocol.events import (
    Author,
    Emit,
    Place,
    QuestionAnswered,
    QuestionRetracted,
    QuestionUrgent,
    UrgentCard,
    emit,
)
from protocol.jobs import wave_job
from protocol.names import mute_room, question_room, user_room

BATCH = 100
EXPLAINED = 2000
"""Candidates of one wave, the nearest first, whose decision is kept."""


def broadcast_id(question_id: str, wave: int) -> str:
    """The same for every repeat of one wave's broadcast, so that clients show it once."""
    return str(uuid5(NAMESPACE_URL, f"question:urgent:{question_id}:{wave}"))


async def start(d: Domain, change: Change, question: Row, who: Author) -> None:
    """Wave 1: the broadcast goes out with the commit, the ranking is a worker's job."""
    radius = d.policy.wave_radius_m
    await change.conn.execute(
        "INSERT INTO urgent_waves (question_id, wave, radius_m, due_at, started_at)"
        " VALUES ($1, 1, $2, $3, $3)",
        question["id"],
        radius,
        d.now(),
    )
    await change.conn.execute(
        "UPDATE questions SET urgent_state = 'wave' WHERE id = $1", question["id"]
    )
    change.tell(question["id"], broadcast(question, who, wave=1, radius_m=radius))
    change.enqueue(wave_job(question["id"], 1))
    URGENT_QUESTIONS.inc()


def broadcast(question: Row, who: Author, *, wave: int, radius_m: int) -> Emit:
    excerpt = " ".join(question["content"].split())[:140]
    message = QuestionUrgent(
        question_id=question["id"],
        title=question["title"],
        excerpt=excerpt,
        hashtags=tuple(question["hashtags"]),
        location=Place(lat=question["lat"], lng=question["lng"]),
        cell=places.cell_text(question["cell"]),
        radius_m=radius_m,
        region_code=question["region_code"],
        neighbourhood_code=question["neighbourhood_code"],
        author=who,
        wave=wave,
        created_at=question["created_at"],
        deadline_at=question["deadline_at"],
    )
    return emit(
        "question:urgent",
        message,
        id=broadcast_id(question["id"], wave),
        rooms=_cell_rooms(question, radius_m),
        except_rooms=_excepted(question),
        deadline=question["deadline_at"],
    )


def _cell_rooms(question: Row, radius_m: int) -> tuple[str, ...]:
    cells = places.cells_touching(question["lat"], question["lng"], radius_m)
    return tuple(places.room_of_cell(cell) for cell in cells)


def _excepted(question: Row) -> tuple[str, ...]:
    rooms = [user_room(question["user_id"])]
    if question["neighbourhood_code"] is not None:
        rooms.append(mute_room(question["neighbourhood_code"]))
    return tuple(rooms)


async def tell_audience(d: Domain, question_id: str, wave: int) -> int:
    """Rank the people in the wave's circle and write what they are told; returns how many.

    Safe to run again: whoever was told is not ranked twice.
    """
    async with acquire(d.pool) as conn:
        question = await conn.fetchrow("SELECT * FROM questions WHERE id = $1", question_id)
        row = await conn.fetchrow(
            "SELECT radius_m FROM urgent_waves WHERE question_id = $1 AND wave = $2"
            " AND cancelled_at IS NULL",
            question_id,
            wave,
        )
        if question is None or row is None or not _awaits_answer(question, d.now()):
            return 0
        radius = row["radius_m"]
        candidates = await _candidates(conn, question, radius, d.now())
    audience = rank(candidates, radius, d.policy.urgent_max_recipients)
    URGENT_RECIPIENTS.observe(len(audience.chosen))
    told = 0
    for begin in range(0, len(audience.chosen), BATCH):
        told += await _tell(d, question, wave, audience.chosen[begin : begin + BATCH])
    await _record(d, question_id, wave, told, audience.withheld[:EXPLAINED])
    return told


def _awaits_answer(question: Row, now: datetime) -> bool:
    return (
        question["status"] == "active"
        and question["first_answer_at"] is None
        and question["lat"] is not None
        and question["deadline_at"] > now
    )


async def _candidates(
    conn: Connection, question: Row, radius_m: int, now: datetime
) -> list[Candidate]:
    lat, lng = question["lat"], question["lng"]
    rows = await conn.fetch(
        "SELECT l.user_id, l.cell, u.is_local_verified, u.last_active_at, p.radius_m,"
        " p.urgent_enabled, coalesce($2 = ANY(p.muted_neighbourhoods), false) AS muted"
        " FROM user_locations l JOIN users u ON u.id = l.user_id"
        " JOIN notification_preferences p ON p.user_id = l.user_id"
        " LEFT JOIN question_recipients r ON r.question_id = $3 AND r.user_id = l.user_id"
        " WHERE l.cell = ANY($1::bigint[]) AND l.expires_at > $4 AND l.user_id <> $5"
        " AND u.deleted_at IS NULL AND r.notification_id IS NULL",
        places.cells_touching(lat, lng, radius_m),
        question["neighbourhood_code"],
        question["id"],
        now,
        question["user_id"],
    )
    return [
        Candidate(
            row["user_id"],
            places.distance_to_cell_m(lat, lng, row["cell"]),
            row["is_local_verified"],
            row["last_active_at"],
            row["radius_m"],
            row["urgent_enabled"],
            row["muted"],
        )
        for row in rows
    ]


async def _tell(d: Domain, question: Row, wave: int, people: Sequence[Candidate]) -> int:
    online = await d.presence.online([one.user_id for one in people])
    async with d.outbox.change() as change:
        # ranking and presence took their time: whoever answers from here on waits for this
        now_is = await change.conn.fetchrow(
            "SELECT * FROM questions WHERE id = $1 FOR SHARE", question["id"]
        )
        if now_is is None or not _awaits_answer(now_is, d.now()):
            return 0
        locales = await members.locales_of(change.conn, [one.user_id for one in people])
        news = [_news(question, one, locales.get(one.user_id, "ko")) for one in people]
        told = await notify(d, change, news, online)
        await change.conn.execute(
            "INSERT INTO question_recipients AS r"
            " (question_id, user_id, wave, told_at, notification_id)"
            " SELECT $1, u, $2, $3, n FROM unnest($4::text[], $5::uuid[]) AS t (u, n) ORDER BY u"
            " ON CONFLICT (question_id, user_id) DO UPDATE SET"
            " notification_id = excluded.notification_id",
            question["id"],
            wave,
            d.now(),
            [one.news.user_id for one in told],
            [one.id for one in told],
        )
        # who acknowledged the broadcast before this row was written needs no push
        await change.conn.execute(
            "UPDATE notifications n SET acknowledged_at = r.acknowledged_at"
            " FROM question_recipients r WHERE r.question_id = $1 AND r.notification_id = n.id"
            " AND n.id = ANY($2::uuid[]) AND r.acknowledged_at IS NOT NULL",
            question["id"],
            [one.id for one in told],
        )
        return len(told)


def _news(question: Row, one: Candidate, locale: str) -> News:
    return News.of_ours(
        one.user_id,
        URGENT_KIND,
        locale,
        {"title": question["title"], "distance_m": round(one.distance_m / 100) * 100},
        priority="high",
        question_id=question["id"],
        dedup_key=f"urgent:{question['id']}",
        expires_at=question["deadline_at"],
    )


async def _record(
    d: Domain,
    question_id: str,
    wave: int,
    recipients: int,
    withheld: Sequence[tuple[Candidate, Reason]],
) -> None:
    async with acquire(d.pool) as conn, conn.transaction():
        await conn.execute(
            "UPDATE urgent_waves SET recipients = recipients + $3"
            " WHERE question_id = $1 AND wave = $2",
            question_id,
            wave,
            recipients,
        )
        await conn.executemany(
            "INSERT INTO decisions (id, created_at, user_id, question_id, verdict, reason, detail)"
            " VALUES ($1, $2, $3, $4, 'suppressed', $5, $6)",
            [
                (
                    uuid4(),
                    d.now(),
                    one.user_id,
                    question_id,
                    reason.value,
                    to_json({"wave": wave, "distanceM": round(one.distance_m, -2)}),
                )
                for one, reason in withheld
            ],
        )


async def answered(d: Domain, change: Change, question: Row, at: datetime) -> None:
    """The first answer ends the waves; whoever was woken is told within the second, unless the
    deadline has passed meanwhile.
    """
    await change.conn.execute(
        "UPDATE questions SET urgent_state = 'answered' WHERE id = $1", question["id"]
    )
    if question["deadline_at"] <= d.now():
        await end(d, change, question, "answered", ())
        return
    message = QuestionAnswered(
        question_id=question["id"],
        answer_count=question["answer_count"] + 1,
        first_answer_at=at,
    )
    users = await _woken(change.conn, question["id"])
    rooms = (question_room(question["id"]), *users)
    change.tell(question["id"], emit("question:answered", message, id=str(uuid4()), rooms=rooms))
    await end(d, change, question, "answered", users)


async def end(
    d: Domain,
    change: Change,
    question: Row,
    reason: Literal["answered", "closed", "expired"],
    woken: Sequence[str] | None = None,
) -> None:
    """Cancel the waves and take the alert back. Pending jobs end by themselves: `rules.ended`.

    Nothing of an urgent question leaves after its deadline: then the alert is over by itself.
    """
    waves = await change.conn.fetch(
        "UPDATE urgent_waves SET cancelled_at = $2 WHERE question_id = $1 AND cancelled_at IS NULL"
        " RETURNING radius_m",
        question["id"],
        d.now(),
    )
    if question["deadline_at"] <= d.now():
        return
    users = woken if woken is not None else await _woken(change.conn, question["id"])
    rooms = list(users)
    radius = max((row["radius_m"] or 0 for row in waves), default=0)
    if radius and question["lat"] is not None:
        rooms += _cell_rooms(question, radius)
    if not rooms:
        return
    message = QuestionRetracted(question_id=question["id"], reason=reason)
    event = emit(
        "question:retracted",
        message,
        id=str(uuid4()),
        rooms=tuple(rooms),
        except_rooms=_excepted(question)[:1],
    )
    change.tell(question["id"], event)


async def _woken(conn: Connection, question_id: str) -> list[str]:
    rows = await conn.fetch(
        "SELECT user_id FROM question_recipients WHERE question_id = $1 ORDER BY user_id",
        question_id,
    )
    return [user_room(row["user_id"]) for row in rows]


async def open_near(d: Domain, cell: int) -> list[Emit]:
    """Open urgent questions whose running waves cover a cell: for a socket that enters it later."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT q.*, w.wave, w.radius_m, u.nickname, u.is_local_verified FROM questions q"
            " JOIN urgent_waves w ON w.question_id = q.id AND w.cancelled_at IS NULL"
            " AND w.started_at IS NOT NULL JOIN users u ON u.id = q.user_id"
            " WHERE q.cell = ANY($1::bigint[]) AND q.status = 'active' AND q.urgency = 'urgent'"
            " AND q.first_answer_at IS NULL AND q.deadline_at > $2 AND q.lat IS NOT NULL"
            " ORDER BY q.created_at LIMIT 20",
            places.cells_around(cell, d.policy.wave_radius_m),
            d.now(),
        )
    found = []
    for row in rows:
        who = Author(
            user_id=row["user_id"],
            nickname=row["nickname"],
            is_local_verified=row["is_local_verified"],
        )
        event = broadcast(row, who, wave=row["wave"], radius_m=row["radius_m"])
        if places.room_of_cell(cell) in event.rooms:
            found.append(event)
    return found


async def recent(d: Domain, neighbourhood_code: str) -> tuple[UrgentCard, ...]:
    """Open urgent questions of a neighbourhood, newest first."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT id, title, neighbourhood_code, created_at, deadline_at FROM questions"
            " WHERE neighbourhood_code = $1 AND urgency = 'urgent' AND status = 'active'"
            " AND deadline_at > $2 AND first_answer_at IS NULL ORDER BY created_at DESC LIMIT 20",
            neighbourhood_code,
            d.now(),
        )
    return tuple(
        UrgentCard(
            question_id=row["id"],
            title=row["title"],
            neighbourhood_code=row["neighbourhood_code"],
            created_at=row["created_at"],
            deadline_at=row["deadline_at"],
        )
        for row in rows
    )
