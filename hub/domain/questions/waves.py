"""Waves: one broadcast to the cells that touch a circle, and rows for the ranked people in it.

The broadcast goes out with the question itself; the ranking is a worker's job, which writes what
people are told in batches of 100.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from hub.domain.context import Domain
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.writing import News, notify
from hub.domain.people import members
from hub.domain.places import geometry
from hub.domain.questions import urgent
from hub.domain.questions.question import Question, excerpt
from hub.domain.rules.audience import Candidate, rank
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.domain.rules.reasons import Reason, verdict_of
from hub.domain.rules.states import UrgentState
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from hub.plumbing.telemetry.metrics import URGENT_QUESTIONS, URGENT_RECIPIENTS
from protocol.events import Emit, emit
from protocol.events.questions import Author, QuestionUrgent
from protocol.jobs import wave_job

BATCH: Final = 100
EXPLAINED: Final = 2000
"""Candidates of one wave, the nearest first, whose decision is kept."""


@dataclass(frozen=True, slots=True)
class Wave:
    number: int
    radius_m: int

    @classmethod
    def of(cls, row: Row) -> "Wave":
        return cls(number=row["wave"], radius_m=row["radius_m"])


def broadcast_id(question_id: str, wave: int) -> str:
    """The same for every repeat of one wave's broadcast, so that clients show it once."""
    return str(uuid5(NAMESPACE_URL, f"question:urgent:{question_id}:{wave}"))


async def start(d: Domain, change: Change, question: Question, who: Author) -> None:
    """Wave 1: the broadcast goes out with the commit, the ranking is a worker's job."""
    wave = Wave(1, d.policy.wave_radius_m)
    await change.conn.execute(
        "INSERT INTO urgent_waves (question_id, wave, radius_m, due_at, started_at)"
        " VALUES ($1, $2, $3, $4, $4)",
        question.id,
        wave.number,
        wave.radius_m,
        d.now(),
    )
    await urgent.move(change.conn, question, UrgentState.WAVE)
    change.tell(question.id, broadcast(question, who, wave))
    change.enqueue(wave_job(question.id, wave.number))
    URGENT_QUESTIONS.inc()


def broadcast(question: Question, who: Author, wave: Wave) -> Emit:
    assert question.place is not None
    assert question.cell is not None
    assert question.deadline_at is not None
    message = QuestionUrgent(
        question_id=question.id,
        title=question.title,
        excerpt=excerpt(question.content),
        hashtags=question.hashtags,
        location=question.place,
        cell=geometry.cell_text(question.cell),
        radius_m=wave.radius_m,
        region_code=question.region_code,
        neighbourhood_code=question.neighbourhood_code,
        author=who,
        wave=wave.number,
        created_at=question.created_at,
        deadline_at=question.deadline_at,
    )
    return emit(
        "question:urgent",
        message,
        id=broadcast_id(question.id, wave.number),
        rooms=tuple(geometry.room_of_cell(cell) for cell in question.cells(wave.radius_m)),
        except_rooms=question.unwoken(),
        deadline=question.deadline_at,
    )


async def tell_audience(d: Domain, question_id: str, number: int) -> int:
    """Rank the people in the wave's circle and write what they are told; returns how many.

    Safe to run again: whoever was told is not ranked twice.
    """
    async with acquire(d.pool) as conn:
        found = await conn.fetchrow("SELECT * FROM questions WHERE id = $1", question_id)
        row = await conn.fetchrow(
            "SELECT wave, radius_m FROM urgent_waves WHERE question_id = $1 AND wave = $2"
            " AND cancelled_at IS NULL",
            question_id,
            number,
        )
        if found is None or row is None:
            return 0
        question, wave = Question.of(found), Wave.of(row)
        if not question.awaits_answer(d.now()):
            return 0
        candidates = await _candidates(conn, question, wave, d.now())
    audience = rank(candidates, wave.radius_m, d.policy.urgent_max_recipients)
    URGENT_RECIPIENTS.observe(len(audience.chosen))
    told = 0
    for begin in range(0, len(audience.chosen), BATCH):
        batch = audience.chosen[begin : begin + BATCH]
        async with d.outbox.change() as change:
            told += await _tell(d, change, question_id, wave, batch)
    await _record(d, question_id, wave, told, audience.withheld[:EXPLAINED])
    return told


async def _candidates(
    conn: Connection, question: Question, wave: Wave, now: datetime
) -> list[Candidate]:
    assert question.place is not None
    lat, lng = question.place.lat, question.place.lng
    rows = await conn.fetch(
        "SELECT l.user_id, l.cell, u.is_local_verified, u.last_active_at, p.radius_m,"
        " p.urgent_enabled, coalesce($2 = ANY(p.muted_neighbourhoods), false) AS muted"
        " FROM user_locations l JOIN users u ON u.id = l.user_id"
        " JOIN notification_preferences p ON p.user_id = l.user_id"
        " LEFT JOIN question_recipients r ON r.question_id = $3 AND r.user_id = l.user_id"
        " WHERE l.cell = ANY($1::bigint[]) AND l.expires_at > $4 AND l.user_id <> $5"
        " AND u.deleted_at IS NULL AND r.notification_id IS NULL",
        question.cells(wave.radius_m),
        question.neighbourhood_code,
        question.id,
        now,
        question.user_id,
    )
    return [
        Candidate(
            row["user_id"],
            geometry.distance_to_cell_m(lat, lng, row["cell"]),
            row["is_local_verified"],
            row["last_active_at"],
            row["radius_m"],
            row["urgent_enabled"],
            row["muted"],
        )
        for row in rows
    ]


async def _tell(
    d: Domain, change: Change, question_id: str, wave: Wave, people: Sequence[Candidate]
) -> int:
    """Ranking took its time: whoever answers from here on waits for this."""
    row = await change.conn.fetchrow("SELECT * FROM questions WHERE id = $1 FOR SHARE", question_id)
    if row is None:
        return 0
    question = Question.of(row)
    if not question.awaits_answer(d.now()):
        return 0
    locales = await members.locales_of(change.conn, [one.user_id for one in people])
    news = [_news(question, one, locales.get(one.user_id, "ko")) for one in people]
    written = await notify(d, change, news)
    await change.conn.execute(
        "INSERT INTO question_recipients AS r"
        " (question_id, user_id, wave, told_at, notification_id)"
        " SELECT $1, u, $2, $3, n FROM unnest($4::text[], $5::uuid[]) AS t (u, n) ORDER BY u"
        " ON CONFLICT (question_id, user_id) DO UPDATE SET"
        " notification_id = excluded.notification_id",
        question.id,
        wave.number,
        d.now(),
        [one.news.user_id for one in written],
        [one.id for one in written],
    )
    # who acknowledged the broadcast before this row was written needs no push
    await change.conn.execute(
        "UPDATE notifications n SET acknowledged_at = r.acknowledged_at"
        " FROM question_recipients r WHERE r.question_id = $1 AND r.notification_id = n.id"
        " AND n.id = ANY($2::uuid[]) AND r.acknowledged_at IS NOT NULL",
        question.id,
        [one.id for one in written],
    )
    return len(written)


def _news(question: Question, one: Candidate, locale: str) -> News:
    return News.of_ours(
        one.user_id,
        QUESTION_URGENT,
        locale,
        {"title": question.title, "distance_m": round(one.distance_m / 100) * 100},
        question_id=question.id,
        dedup_key=f"urgent:{question.id}",
        expires_at=question.deadline_at,
    )


async def _record(
    d: Domain,
    question_id: str,
    wave: Wave,
    recipients: int,
    withheld: Sequence[tuple[Candidate, Reason]],
) -> None:
    decisions = [
        Decision(
            one.user_id,
            verdict_of(reason),
            reason,
            question_id,
            detail={"wave": wave.number, "distanceM": round(one.distance_m, -2)},
        )
        for one, reason in withheld
    ]
    async with acquire(d.pool) as conn, conn.transaction():
        await conn.execute(
            "UPDATE urgent_waves SET recipients = recipients + $3"
            " WHERE question_id = $1 AND wave = $2",
            question_id,
            wave.number,
            recipients,
        )
        await record(conn, d.now(), decisions)
