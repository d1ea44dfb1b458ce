"""Standing: where a person belongs, is, and what they want to hear; the rooms of their sockets
follow from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.domain.context import Domain
from hub.domain.people import members
from hub.domain.places import geometry
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import Connection, Row
from protocol.events import Move
from protocol.names import mute_room, neighbourhood_room, region_room, tag_room, user_room

STANDING = (
    "u.location_consent_at, u.region_code AS home_region, u.neighbourhood_code AS home,"
    " p.urgent_enabled, p.muted_neighbourhoods, p.followed_hashtags,"
    " l.cell, l.region_code, l.neighbourhood_code"
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
    followed: tuple[str, ...]
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
            followed=tuple(row["followed_hashtags"]),
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
        rooms += [mute_room(code) for code in self.muted]
        return [*rooms, *(tag_room(hashtag) for hashtag in self.followed)]


async def locked(d: Domain, conn: Connection, user_id: str) -> Standing:
    """As it is, held until the end of the transaction: of two changes at once the second one moves
    sockets from where the first has put them.
    """
    await members.ensure(d, conn, user_id)
    await conn.execute(
        "SELECT FROM notification_preferences WHERE user_id = $1 FOR NO KEY UPDATE", user_id
    )
    return await _standing(d, conn, user_id)


async def tell_move(d: Domain, change: Change, user_id: str, before: Standing) -> Move:
    """Whoever changed what a Standing is made of says here from which rooms to which; all sockets
    of the person move, on all nodes."""
    room = user_room(user_id)
    move = _move(room, before.rooms(), (await _standing(d, change.conn, user_id)).rooms())
    if move.join or move.leave:
        change.tell(room, move)
    return move


async def _standing(d: Domain, conn: Connection, user_id: str) -> Standing:
    row = await conn.fetchrow(
        f"SELECT {STANDING} FROM users u"  # noqa: S608 - a constant
        " JOIN notification_preferences p ON p.user_id = u.id LEFT JOIN user_locations l"
        " ON l.user_id = u.id AND l.expires_at > $2 WHERE u.id = $1",
        user_id,
        d.now(),
    )
    assert row is not None
    return Standing.of(row)


def _move(room: str, before: Sequence[str], after: Sequence[str]) -> Move:
    return Move(
        room=room,
        join=tuple(name for name in after if name not in before),
        leave=tuple(name for name in before if name not in after),
    )
