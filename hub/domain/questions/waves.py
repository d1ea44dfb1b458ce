"""Waves: one broadcast to the cells that touch a circle, or to the region; and rows for the ranked
people in it.

The broadcast goes out when the wave begins; the ranking is a worker's job, which writes what people
are told in batches of 100.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.notifications import wakes
from hub.domain.notifications.case import quiet_hours_of
from hub.domain.notifications.decisions import Decision, record
from hub.domain.notifications.writing import News, notify
from hub.domain.people import blocks, members
from hub.domain.places import geometry
from hub.domain.questions.question import Question, excerpt
from hub.domain.rules.audience import WIDEST_M, Audience, Candidate, rank
from hub.domain.rules.kinds import QUESTION_URGENT
from hub.domain.rules.reasons import Cause, Reason, Verdict, verdict_of
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row, acquire
from hub.plumbing.telemetry.metrics import URGENT_RECIPIENTS
from protocol.between_regions import PersonShown
from protocol.events import Emit, emit
from protocol.events.questions import Author, QuestionUrgent, QuestionWave
from protocol.names import region_room, user_room

BATCH: Final = 100
READ: Final = 1000
"""Candidates read at once, until so many are read and the wave is full, or there are no more."""

RING: Final = 8
"""Cells of the first ring."""

EXPLAINED: Final = 2000
"""Candidates of one wave, the first in rank, whose decision is kept."""

WAVE: Final = (
    "w.wave, w.radius_m, coalesce((SELECT max(e.radius_m) FROM urgent_waves e"
    " WHERE e.question_id = w.question_id AND e.wave < w.wave AND e.started_at IS NOT NULL), 0)"
    " AS covered_m"
)
"""SQL: what a Wave is made of, of urgent_waves w."""


@dataclass(frozen=True, slots=True)
class Wave:
    """One widening. `radius_m`: None is the region. `covered_m`: the widest circle that began
    before it; its cells have heard of the question.
    """

    number: int
    radius_m: int | None
    covered_m: int

    @classmethod
    def of(cls, row: Row) -> "Wave":
        return cls(number=row["wave"], radius_m=row["radius_m"], covered_m=row["covered_m"])

    @property
    def reach_m(self) -> int:
        """How far it ranks people: in a region, as far as anybody asks to be woken for."""
        return WIDEST_M if self.radius_m is None else self.radius_m

    def rooms(self, question: Question) -> tuple[str, ...]:
        """Who hears its broadcast: the cells that no earlier wave told, or the region."""
        if self.radius_m is None:
            return (region_room(question.region_code),)
        told = frozenset(question.rooms_within(self.covered_m))
        return tuple(room for room in question.rooms_within(self.radius_m) if room not in told)

    def excepted(self, question: Question, deaf: Sequence[str]) -> tuple[str, ...]:
        """Who does not, although they are in those rooms (a region is full of cells). `deaf`: the
        rooms of people to whom nothing of the asker's passes."""
        told = question.rooms_within(self.covered_m) if self.radius_m is None else ()
        return (*question.unwoken(), *deaf, *told)


def broadcast_id(question_id: str, wave: int) -> str:
    """The same for every repeat of one wave's broadcast, so that clients show it once."""
    return str(uuid5(NAMESPACE_URL, f"question:urgent:{question_id}:{wave}"))


def broadcast(question: Question, who: Author, wave: Wave, deaf: Sequence[str]) -> Emit:
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
        rooms=wave.rooms(question),
        except_rooms=wave.excepted(question, deaf),
        deadline=question.deadline_at,
    )


async def tell_audience(d: Domain, question_id: str, number: int) -> int:
    """Rank the people in reach of a wave that has begun, write what they are told, and tell the
    asker how many they are; returns how many were told now.

    Safe to run again, and by two workers at once: whoever was told is not told twice, and the
    wave's places are counted with those that an earlier run has filled.
    """
    async with acquire(d.pool) as conn, conn.transaction():
        found = await conn.fetchrow("SELECT * FROM questions WHERE id = $1", question_id)
        row = await conn.fetchrow(
            f"SELECT {WAVE}, w.recipients FROM urgent_waves w WHERE question_id = $1"  # noqa: S608 - a constant
            " AND wave = $2 AND started_at IS NOT NULL AND cancelled_at IS NULL",
            question_id,
            number,
        )
        if found is None or row is None:
            return 0
        question, wave = Question.of(found), Wave.of(row)
        if not question.awaits_answer(d.now()):
            return 0
        places = max(0, d.policy.urgent_max_recipients - row["recipients"])
        audience = await _audience(d, conn, question, wave, places)
    URGENT_RECIPIENTS.observe(len(audience.chosen))
    # the reasons of a thousand people who are not told take longer than telling two hundred
    told, _ = await asyncio.gather(
        _tell_all(d, question_id, wave, audience.chosen),
        _keep_why_not(d, question_id, wave, audience.withheld[:EXPLAINED]),
    )
    await _tell_asker(d, question_id, wave)
    return told


_CANDIDATES: Final = (
    "SELECT l.user_id, c.distance_m, u.is_local_verified, u.last_active_at, p.radius_m,"
    " p.urgent_enabled, coalesce($3 = ANY(p.muted_neighbourhoods), false) AS muted,"
    " p.push_enabled OR p.email_enabled OR p.kakao_enabled AS reachable,"
    " p.quiet_from, p.quiet_to, p.urgent_in_quiet, u.timezone,"
    " l.user_id = ANY($10::text[]) AS blocked,"
    " r.notification_id IS NOT NULL AS told_before"
    " FROM unnest($1::bigint[], $2::float8[]) AS c (cell, distance_m)"
    " JOIN user_locations l ON l.cell = c.cell AND l.expires_at > $5"
    " JOIN users u ON u.id = l.user_id"
    " JOIN notification_preferences p ON p.user_id = l.user_id"
    " LEFT JOIN question_recipients r ON r.question_id = $4 AND r.user_id = l.user_id"
    " WHERE l.user_id <> $6 AND u.deleted_at IS NULL"
    " AND ($7::text IS NULL OR l.region_code = $7) AND (r.notification_id IS NULL OR r.wave < $8)"
    " AND (c.distance_m <= least(p.radius_m, $9::float8)) = $11 AND u.is_local_verified = $12"
    " ORDER BY c.distance_m, u.last_active_at DESC"
)


async def _audience(
    d: Domain, conn: Connection, question: Question, wave: Wave, places: int
) -> Audience:
    """Read candidates in order of rank until the wave is full: by rings of cells from the place
    outwards, the verified first, and last whoever asks to be woken for what is nearer only. People
    outside the circle cost nothing, and a dense place is full after its first ring.
    """
    assert question.place is not None
    lat, lng = question.place.lat, question.place.lng
    near = sorted(
        (geometry.distance_to_cell_m(lat, lng, cell), cell) for cell in question.cells(wave.reach_m)
    )
    apart = await blocks.apart_from(conn, question.user_id)
    audience, looked = Audience(), 0
    for inside, verified in _GROUPS:
        for ring in _rings(near):
            cursor = await conn.cursor(
                _CANDIDATES,
                [cell for _, cell in ring],
                [distance_m for distance_m, _ in ring],
                question.neighbourhood_code,
                question.id,
                d.now(),
                question.user_id,
                question.region_code if wave.radius_m is None else None,
                wave.number,
                wave.reach_m,
                apart,
                inside,
                verified,
            )
            while rows := await cursor.fetch(READ):
                woken = await wakes.of(conn, [row["user_id"] for row in rows], d.now())
                people = [_candidate(d, row, woken.get(row["user_id"], wakes.NONE)) for row in rows]
                rank(people, wave.reach_m, places, audience)
                looked += len(rows)
                if looked >= READ and len(audience.chosen) >= places:
                    return audience
    return audience


_GROUPS: Final = ((True, True), (True, False), (False, True), (False, False))
"""Inside the circle that somebody asks to be woken for, and a verified local: in order of rank."""


def _rings(near: Sequence[tuple[float, int]]) -> Iterator[Sequence[tuple[float, int]]]:
    """Each four times as many cells as the one before."""
    begin, size = 0, RING
    while begin < len(near):
        yield near[begin : begin + size]
        begin, size = begin + size, size * 4


def _candidate(d: Domain, row: Row, woken: wakes.Wakes) -> Candidate:
    now = d.now()
    quiet, pause = quiet_hours_of(row), woken.pause_until(d.policy)
    return Candidate(
        row["user_id"],
        row["distance_m"],
        row["is_local_verified"],
        row["last_active_at"],
        row["radius_m"],
        row["urgent_enabled"],
        row["muted"],
        row["told_before"],
        blocked=row["blocked"],
        reachable=row["reachable"],
        quiet=quiet is not None and not row["urgent_in_quiet"] and quiet.until(now) is not None,
        capped=woken.used_up(d.policy) or (pause is not None and now < pause),
    )


async def _tell_all(d: Domain, question_id: str, wave: Wave, chosen: Sequence[Candidate]) -> int:
    told = 0
    for begin in range(0, len(chosen), BATCH):
        async with d.outbox.change() as change:
            told += await _tell(d, change, question_id, wave, chosen[begin : begin + BATCH])
    return told


async def _tell(
    d: Domain, change: Change, question_id: str, wave: Wave, people: Sequence[Candidate]
) -> int:
    """Ranking took its time: whoever answers from here on waits for this, and so does another
    worker with the same wave."""
    conn = change.conn
    row = await conn.fetchrow(
        "SELECT * FROM questions WHERE id = $1 FOR NO KEY UPDATE", question_id
    )
    if row is None:
        return 0
    question = Question.of(row)
    if not question.awaits_answer(d.now()):
        return 0
    taken = await conn.fetchval(
        "SELECT recipients FROM urgent_waves WHERE question_id = $1 AND wave = $2",
        question_id,
        wave.number,
    )
    people = people[: max(0, d.policy.urgent_max_recipients - taken)]
    locales = await members.locales_of(conn, [one.user_id for one in people])
    news = [_news(question, one, locales.get(one.user_id, "ko")) for one in people]
    written = await notify(d, change, news)
    users, ids = [one.news.user_id for one in written], [one.id for one in written]
    rows = await conn.fetch(
        "INSERT INTO question_recipients AS r"
        " (question_id, user_id, wave, told_at, notification_id)"
        " SELECT $1, u, $2, $3, n FROM unnest($4::text[], $5::uuid[]) AS t (u, n) ORDER BY u"
        " ON CONFLICT (question_id, user_id) DO UPDATE SET wave = $2,"
        " notification_id = excluded.notification_id"
        " RETURNING user_id, notification_id, acknowledged_at",
        question.id,
        wave.number,
        d.now(),
        users,
        ids,
    )
    shown = [row for row in rows if row["acknowledged_at"] is not None]
    await _tell_elsewhere(d, change, question, wave, users, shown)
    await _note_shown(conn, shown)
    told = frozenset(users)
    decisions = [
        _decision(question.id, wave, one, Verdict.TOLD, Cause.RANKED)
        for one in people
        if one.user_id in told
    ]
    await record(conn, d.now(), decisions)
    await conn.execute(
        "UPDATE urgent_waves SET recipients = recipients + $3 WHERE question_id = $1 AND wave = $2",
        question.id,
        wave.number,
        len(written),
    )
    return len(written)


async def _note_shown(conn: Connection, shown: Sequence[Row]) -> None:
    """Who acknowledged the broadcast before their row was written needs no push."""
    if shown:
        await conn.execute(
            "UPDATE notifications n SET acknowledged_at = r.at"
            " FROM unnest($1::uuid[], $2::timestamptz[]) AS r (id, at) WHERE n.id = r.id",
            [row["notification_id"] for row in shown],
            [row["acknowledged_at"] for row in shown],
        )


async def _tell_elsewhere(
    d: Domain,
    change: Change,
    question: Question,
    wave: Wave,
    users: Sequence[str],
    shown: Sequence[Row],
) -> None:
    """Those whose home is another region may have their sockets there, where nobody hears this
    region's rooms; of what they have `shown` here already, their home hears as well."""
    elsewhere = await homes.of_people(d, change.conn, users)
    if not elsewhere:
        return
    who = await members.author(change.conn, question.user_id)
    told = broadcast(question, who, wave, ())
    await homes.tell(d, change, told, elsewhere, by=question.user_id)
    for row in shown:
        if (region := elsewhere.get(row["user_id"])) is not None:
            event = PersonShown(user_id=row["user_id"], notification_ids=(row["notification_id"],))
            await homes.send(d, change, region, event)


def _news(question: Question, one: Candidate, locale: str) -> News:
    return News.of_ours(
        one.user_id,
        QUESTION_URGENT,
        locale,
        {"title": question.title, "distance_m": round(one.distance_m / 100) * 100},
        question_id=question.id,
        dedup_key=f"urgent:{question.id}",
        expires_at=question.deadline_at,
        by=question.user_id,
    )


def _decision(
    question_id: str, wave: Wave, one: Candidate, verdict: Verdict, reason: Reason | Cause
) -> Decision:
    return Decision(
        one.user_id,
        verdict,
        reason,
        question_id,
        detail={"wave": wave.number, "distanceM": round(one.distance_m, -2)},
    )


async def _keep_why_not(
    d: Domain, question_id: str, wave: Wave, withheld: Sequence[tuple[Candidate, Reason]]
) -> None:
    decisions = [
        _decision(question_id, wave, one, verdict_of(reason), reason) for one, reason in withheld
    ]
    async with acquire(d.pool) as conn:
        await record(conn, d.now(), decisions)


async def _tell_asker(d: Domain, question_id: str, wave: Wave) -> None:
    """How far it came."""
    async with d.outbox.change() as change:
        row = await change.conn.fetchrow(
            "SELECT q.user_id, sum(w.recipients)::int AS told,"
            " sum(w.acknowledged)::int AS acknowledged,"
            " min(w.due_at) FILTER (WHERE w.started_at IS NULL AND w.wave > $2) AS next_at"
            " FROM urgent_waves w JOIN questions q ON q.id = w.question_id"
            " WHERE w.question_id = $1 GROUP BY q.user_id",
            question_id,
            wave.number,
        )
        assert row is not None
        message = QuestionWave(
            question_id=question_id,
            wave=wave.number,
            told=row["told"],
            acknowledged=row["acknowledged"],
            next_at=row["next_at"],
        )
        id = str(uuid5(NAMESPACE_URL, f"question:wave:{question_id}:{wave.number}"))
        event = emit("question:wave", message, id=id, rooms=(user_room(row["user_id"]),))
        change.tell(question_id, event)
        await homes.tell(d, change, event, [row["user_id"]])
