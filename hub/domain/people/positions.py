"""Where a person is: an H3 cell, and the rooms of sockets that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.places import geometry
from hub.plumbing.stores.postgres import Connection, Row
from protocol.errors import forbidden
from protocol.events import Move
from protocol.names import neighbourhood_room, region_room, user_room


def place_rooms(row: Row) -> list[str]:
    """Cell and region only while urgent alerts are wanted (design.md §5)."""
    rooms = []
    if row["urgent_enabled"]:
        rooms.append(region_room(row["region_code"] or row["home_region"]))
        if row["cell"] is not None:
            rooms.append(geometry.room_of_cell(row["cell"]))
    home = row["neighbourhood_code"] or row["home"]
    if home is not None:
        rooms.append(neighbourhood_room(home))
    return rooms


@dataclass(frozen=True, slots=True)
class Moved:
    region_code: str
    neighbourhood_code: str | None
    move: Move


async def locate(
    d: Domain, user_id: str, lat: float, lng: float, accuracy_m: float | None
) -> Moved:
    """Keep where somebody is, as a cell, and move all their sockets on all nodes.

    Raises FORBIDDEN without consent to positions. An accuracy over 1000 m names a region only.
    """
    region = d.atlas.region_of(lat, lng)
    neighbourhood = d.atlas.neighbourhood_of(lat, lng)
    coarse = accuracy_m is not None and accuracy_m > geometry.COARSE_ACCURACY_M
    cell = None if coarse else geometry.cell_of(lat, lng)
    async with d.outbox.change() as change:
        before = await _state(d, change.conn, user_id)
        if d.policy.location_consent_required and before["location_consent_at"] is None:
            raise forbidden("Positions need the person's consent (locationConsentAt).")
        await change.conn.execute(
            "INSERT INTO user_locations (user_id, cell, region_code, neighbourhood_code,"
            " updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (user_id) DO UPDATE SET cell = $2, region_code = $3,"
            " neighbourhood_code = $4, updated_at = $5, expires_at = $6",
            user_id,
            cell,
            region,
            None if coarse else neighbourhood,
            d.now(),
            d.now() + timedelta(seconds=d.policy.location_ttl_s),
        )
        after = await _state(d, change.conn, user_id)
        move = _move(user_id, place_rooms(before), place_rooms(after))
        change.tell(user_room(user_id), move)
    return Moved(region, None if coarse else neighbourhood, move)


async def forget_place(d: Domain, user_id: str) -> None:
    """DELETE /locations/me: the position goes, and all sockets leave its rooms."""
    async with d.outbox.change() as change:
        before = await _state(d, change.conn, user_id)
        await change.conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
        after = await _state(d, change.conn, user_id)
        change.tell(user_room(user_id), _move(user_id, place_rooms(before), place_rooms(after)))


async def _state(d: Domain, conn: Connection, user_id: str) -> Row:
    await members.ensure(conn, user_id)
    row = await conn.fetchrow(
        "SELECT u.location_consent_at, u.region_code AS home_region, u.neighbourhood_code AS home,"
        " p.urgent_enabled, l.cell, l.region_code, l.neighbourhood_code FROM users u"
        " JOIN notification_preferences p ON p.user_id = u.id LEFT JOIN user_locations l"
        " ON l.user_id = u.id AND l.expires_at > $2 WHERE u.id = $1",
        user_id,
        d.now(),
    )
    assert row is not None
    return row


def _move(user_id: str, before: Sequence[str], after: Sequence[str]) -> Move:
    return Move(
        room=user_room(user_id),
        join=tuple(room for room in after if room not in before),
        leave=tuple(room for room in before if room not in after),
    )
