"""Open urgent questions of a place: for a socket that comes into it, and for who looks at it."""

from hub.domain.context import Domain
from hub.domain.people.members import author_of
from hub.domain.places import geometry
from hub.domain.questions.question import Question
from hub.domain.questions.waves import Wave, broadcast
from hub.plumbing.stores.postgres import acquire
from protocol.events import Emit
from protocol.events.questions import UrgentCard


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
            geometry.cells_around(cell, d.policy.wave_radius_m),
            d.now(),
        )
    events = [broadcast(Question.of(row), author_of(row), Wave.of(row)) for row in rows]
    room = geometry.room_of_cell(cell)
    return [event for event in events if room in event.rooms]


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
