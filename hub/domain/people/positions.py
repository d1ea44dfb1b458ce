"""Where a person is: an H3 cell, and the rooms of sockets that follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.places import geometry
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from protocol.errors import forbidden
from protocol.events import Move
from protocol.names import mute_room, neighbourhood_room, region_room, user_room

STANDING = (
    "u.location_consent_at, u.region_code AS home_region, u.neighbourhood_code AS home,"
    " p.urgent_enabled, p.muted_neighbourhoods, l.cell, l.region_code, l.neighbourhood_code"
)
"""SQL: what a Standing is made of, of users u, notification_preferences p, user_locations l."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a person belongs and where they are, and what they want to hear of it; what is not
    known is None.
    """

    consented_at: datetime | None
    home_region: str
    home: str | None
    urgent_enabled: bool
    muted: tuple[str, ...]
    cell: int | None
    region: str | None
    neighbourhood: str | None

    @classmethod
    def of(cls, row: Row) -> "Standing":
        return cls(
            consented_at=row["location_consent_at"],
            home_region=row["home_region"],
            home=row["home"],
            urgent_enabled=row["urgent_enabled"],
            muted=tuple(row["muted_neighbourhoods"]),
            cell=row["cell"],
            region=row["region_code"],
            neighbourhood=row["neighbourhood_code"],
        )

    def rooms(self) -> list[str]:
        """The rooms that follow, the same for whoever asks: a socket that comes in, and a move of
        all sockets when one of these facts changes. Cell and region only while urgent alerts are
        wanted; in the room of a muted neighbourhood the waves of its questions pass a socket by.
        """
        rooms = []
        if self.urgent_enabled:
            rooms.append(region_room(self.region or self.home_region))
            if self.cell is not None:
                rooms.append(geometry.room_of_cell(self.cell))
        home = self.neighbourhood or self.home
        if home is not None:
            rooms.append(neighbourhood_room(home))
        return [*rooms, *(mute_room(code) for code in self.muted)]


@dataclass(frozen=True, slots=True)
class Moved:
    region_code: str
    neighbourhood_code: str | None
    move: Move


async def locate(
    d: Domain, change: Change, user_id: str, lat: float, lng: float, accuracy_m: float | None
) -> Moved:
    """Keep where somebody is, as a cell, and move all their sockets on all nodes.

    Raises FORBIDDEN without consent to positions. An accuracy over 1000 m names a region only.
    """
    region = d.atlas.region_of(lat, lng)
    coarse = accuracy_m is not None and accuracy_m > geometry.COARSE_ACCURACY_M
    neighbourhood = None if coarse else d.atlas.neighbourhood_of(lat, lng)
    before = await _standing(d, change.conn, user_id)
    if d.policy.location_consent_required and before.consented_at is None:
        raise forbidden("Positions need the person's consent (locationConsentAt).")
    await change.conn.execute(
        "INSERT INTO user_locations (user_id, cell, region_code, neighbourhood_code,"
        " updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (user_id) DO UPDATE SET cell = $2, region_code = $3,"
        " neighbourhood_code = $4, updated_at = $5, expires_at = $6",
        user_id,
        None if coarse else geometry.cell_of(lat, lng),
        region,
        neighbourhood,
        d.now(),
        d.now() + timedelta(seconds=d.policy.location_ttl_s),
    )
    move = await _tell_move(d, change, user_id, before)
    return Moved(region, neighbourhood, move)


async def forget_place(d: Domain, change: Change, user_id: str) -> None:
    """DELETE /locations/me: the position goes, and all sockets leave its rooms."""
    before = await _standing(d, change.conn, user_id)
    await change.conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
    await _tell_move(d, change, user_id, before)


async def _standing(d: Domain, conn: Connection, user_id: str) -> Standing:
    await members.ensure(conn, user_id)
    row = await conn.fetchrow(
        f"SELECT {STANDING} FROM users u"  # noqa: S608 - a constant
        " JOIN notification_preferences p ON p.user_id = u.id LEFT JOIN user_locations l"
        " ON l.user_id = u.id AND l.expires_at > $2 WHERE u.id = $1",
        user_id,
        d.now(),
    )
    assert row is not None
    return Standing.of(row)


async def _tell_move(d: Domain, change: Change, user_id: str, before: Standing) -> Move:
    """Whoever changed what a Standing is made of says here from which rooms to which."""
    room = user_room(user_id)
    move = _move(room, before.rooms(), (await _standing(d, change.conn, user_id)).rooms())
    change.tell(room, move)
    return move


def _move(room: str, before: Sequence[str], after: Sequence[str]) -> Move:
    return Move(
        room=room,
        join=tuple(name for name in after if name not in before),
        leave=tuple(name for name in before if name not in after),
    )
