"""Open questions of a place: for a socket that comes into it, and for who looks at it."""

from collections.abc import Collection, Sequence
from typing import Final

from hub.domain.context import Domain
from hub.domain.people import blocks
from hub.domain.people.members import ASKER, asker_of, author_of
from hub.domain.places import geometry
from hub.domain.questions.question import PLACE_KEPT, Question
from hub.domain.questions.waves import WAVE, Wave, broadcast
from hub.plumbing.stores.postgres import Connection, Row, acquire
from protocol.events import Emit
from protocol.events.questions import UrgentCard
from protocol.names import room_kind
from protocol.rest.places import NearbyQuestion

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

IN_CELLS: Final = OPEN.format(
    wave=WAVE, place="q.cell = ANY($1::bigint[]) AND w.radius_m IS NOT NULL"
)
IN_REGIONS: Final = OPEN.format(
    wave=WAVE, place="q.region_code = ANY($1::text[]) AND w.radius_m IS NULL"
)


async def open_in(d: Domain, rooms: Sequence[str]) -> list[list[Emit]]:
    """Open urgent questions that each of these cells and regions was told of, as that wave's
    broadcast: for sockets that enter the room later.
    """
    found: dict[str, list[Emit]] = {room: [] for room in rooms}
    async with acquire(d.pool) as conn:
        rows = await _open(d, conn, found)
        deaf = await blocks.deaf_to_each(conn, list({row["user_id"] for row in rows}))
    for row in rows:
        question, wave = Question.of(row), Wave.of(row)
        told = [room for room in wave.rooms(question) if room in found]
        if told:
            one = broadcast(question, author_of(row), wave, deaf.get(question.user_id, ()))
            for room in told:
                found[room].append(one)
    return [found[room][:MOST] for room in rooms]


async def _open(d: Domain, conn: Connection, rooms: Collection[str]) -> list[Row]:
    names = [(room_kind(room), room.partition(":")[2]) for room in rooms]
    cells = [int(name, 16) for kind, name in names if kind == "cell:"]
    regions = [name for kind, name in names if kind == "region:"]
    rows: list[Row] = []
    if cells:
        widest_m = d.policy.widest_circle_m
        around = {there for cell in cells for there in geometry.cells_around(cell, widest_m)}
        rows += await conn.fetch(IN_CELLS, list(around), d.now())
    if regions:
        rows += await conn.fetch(IN_REGIONS, regions, d.now())
    return rows


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


NEAREST: Final = 50
"""Open questions that somebody who looks around is shown."""

STEP: Final = 5
"""Numbers of people at a place are told so coarsely, and none under it: nobody is found by them."""


async def questions(
    d: Domain, lat: float, lng: float, radius_m: int, *, may_lag: bool = False
) -> tuple[NearbyQuestion, ...]:
    """Open questions within a circle whose place is still kept, the nearest first."""
    rows = await d.reads.run(
        lambda conn: conn.fetch(
            f"SELECT q.*, {ASKER} FROM questions q JOIN users u ON u.id = q.user_id"  # noqa: S608 - a constant
            " WHERE q.cell = ANY($1::bigint[]) AND q.status = 'active' AND q.lat IS NOT NULL"
            " AND q.created_at > $2 ORDER BY q.created_at DESC LIMIT 1000",
            geometry.cells_touching(geometry.rounded(lat), geometry.rounded(lng), radius_m),
            d.now() - PLACE_KEPT,
        ),
        may_lag=may_lag,
    )
    found = [
        NearbyQuestion(
            question=Question.of(row).shown_by(asker_of(row)),
            distance_m=round(geometry.distance_m(lat, lng, row["lat"], row["lng"])),
        )
        for row in rows
    ]
    near = sorted((one for one in found if one.distance_m <= radius_m), key=_distance)
    return tuple(near[:NEAREST])


def _distance(one: NearbyQuestion) -> tuple[int, str]:
    return one.distance_m, one.question.id


async def answerers(d: Domain, lat: float, lng: float, radius_m: int) -> int:
    """How many verified locals want to hear of urgent questions there, as near as cells know, in
    steps of 5, 0 under 5.
    """
    lat, lng = geometry.rounded(lat), geometry.rounded(lng)
    cells = geometry.cells_touching(lat, lng, radius_m)
    async with acquire(d.pool) as conn:
        rows = await conn.fetch(
            "SELECT l.cell, count(*)::int AS people FROM user_locations l"
            " JOIN users u ON u.id = l.user_id AND u.is_local_verified AND u.deleted_at IS NULL"
            " JOIN notification_preferences p ON p.user_id = l.user_id AND p.urgent_enabled"
            " WHERE l.cell = ANY($1::bigint[]) AND l.expires_at > $2 GROUP BY l.cell",
            cells,
            d.now(),
        )
    people: int = sum(
        row["people"]
        for row in rows
        if geometry.distance_to_cell_m(lat, lng, row["cell"]) <= radius_m
    )
    return people - people % STEP
