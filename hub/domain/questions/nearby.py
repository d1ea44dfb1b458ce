"""Open urgent questions of a place: for a socket that comes into it, and for who looks at it."""

from typing import Final

from hub.domain.context import Domain
from hub.domain.people import blocks
from hub.domain.people.members import author_of
from hub.domain.places import geometry
from hub.domain.questions.question import Question
from hub.domain.questions.waves import WAVE, Wave, broadcast
from hub.plumbing.stores.postgres import acquire
from protocol.events import Emit
from protocol.events.questions import UrgentCard
from protocol.names import room_kind

MOST: Final = 20
"""Open questions that one room is told of, the oldest first."""

OPEN: Final = (
    "SELECT q.*, {wave}, u.nickname, u.is_local_verified FROM questions q"
    " JOIN urgent_waves w ON w.question_id = q.id AND w.cancelled_at IS NULL"
    " AND w.started_at IS NOT NULL JOIN users u ON u.id = q.user_id"
    " WHERE q.status = 'active' AND q.urgency = 'urgent' AND q.first_answer_at IS NULL"
    " AND q.deadline_at > $2 AND q.lat IS NOT NULL AND {place} ORDER BY q.created_at, w.wave"
)
"""SQL: open urgent questions with each wave that has begun; {place}: where they are ($1)."""


async def open_in(d: Domain, room: str) -> list[Emit]:
    """Open urgent questions that a cell or a region was told of, each as that wave's broadcast: for
    a socket that enters the room later.
    """
    kind, name = room_kind(room), room.partition(":")[2]
    where: str | tuple[int, ...]
    if kind == "region:":
        place, where = "q.region_code = $1 AND w.radius_m IS NULL", name
    else:
        place = "q.cell = ANY($1::bigint[]) AND w.radius_m IS NOT NULL"
        where = geometry.cells_around(int(name, 16), d.policy.widest_circle_m)
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(OPEN.format(wave=WAVE, place=place), where, d.now())
        told = [row for row in rows if room in Wave.of(row).rooms(Question.of(row))][:MOST]
        deaf = {row["user_id"]: await blocks.deaf_to(conn, row["user_id"]) for row in told}
    return [
        broadcast(Question.of(row), author_of(row), Wave.of(row), deaf[row["user_id"]])
        for row in told
    ]


async def recent(d: Domain, neighbourhood_code: str) -> tuple[UrgentCard, ...]:
    """Open urgent questions of a neighbourhood, newest first."""
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT * FROM questions"
            " WHERE neighbourhood_code = $1 AND urgency = 'urgent' AND status = 'active'"
            " AND deadline_at > $2 AND first_answer_at IS NULL ORDER BY created_at DESC LIMIT 20",
            neighbourhood_code,
            d.now(),
        )
    return tuple(
        UrgentCard(
            question_id=one.id,
            title=one.title,
            neighbourhood_code=one.neighbourhood_code,
            created_at=one.created_at,
            deadline_at=one.deadline_at,
        )
        for one in map(Question.of, rows)
    )
