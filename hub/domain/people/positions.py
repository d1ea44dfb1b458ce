"""Where a person is: an H3 cell, never a finer place."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.domain import homes
from hub.domain.context import Domain
from hub.domain.people import standing
from hub.domain.places import geometry
from hub.plumbing.stores.outbox import Change
from protocol.between_regions import PersonLocated
from protocol.errors import forbidden
from protocol.events import Move


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
    before = await standing.locked(d, change.conn, user_id)
    if d.policy.location_consent_required and before.consented_at is None:
        raise forbidden("Positions need the person's consent (locationConsentAt).")
    located = PersonLocated(
        user_id=user_id,
        at=d.now(),
        cell=None if coarse else geometry.cell_of(lat, lng),
        region_code=region,
        neighbourhood_code=neighbourhood,
        expires_at=d.now() + timedelta(seconds=d.policy.location_ttl_s),
    )
    await _write(change, located)
    await _tell_regions(d, change, located, before.region)
    move = await standing.tell_move(d, change, user_id, before)
    return Moved(region, neighbourhood, move)


async def forget_place(d: Domain, change: Change, user_id: str) -> None:
    """DELETE /locations/me: the position goes, and all sockets leave its rooms."""
    before = await standing.locked(d, change.conn, user_id)
    await change.conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
    await _tell_regions(d, change, PersonLocated(user_id=user_id, at=d.now()), before.region)
    await standing.tell_move(d, change, user_id, before)


async def _write(change: Change, located: PersonLocated) -> None:
    await change.conn.execute(
        "INSERT INTO user_locations AS known (user_id, cell, region_code, neighbourhood_code,"
        " updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (user_id) DO UPDATE SET cell = $2, region_code = $3,"
        " neighbourhood_code = $4, updated_at = $5, expires_at = $6"
        " WHERE known.updated_at <= $5",
        located.user_id,
        located.cell,
        located.region_code,
        located.neighbourhood_code,
        located.at,
        located.expires_at,
    )


async def _tell_regions(
    d: Domain, change: Change, located: PersonLocated, before: str | None
) -> None:
    """The region where a traveller is ranks them in its waves, and the one they have left does
    not. `before`: where they were."""
    now = located.region_code and d.shards.of_region(located.region_code)
    if now is not None:
        await homes.send(d, change, now, located)
    left = None if before is None else d.shards.of_region(before)
    if left is not None and left != now:
        await homes.send(d, change, left, PersonLocated(user_id=located.user_id, at=located.at))


async def located_elsewhere(d: Domain, change: Change, event: PersonLocated, at: datetime) -> None:
    """Another region says that somebody is here now, or is not any more; the newest word counts.
    No place stays in the event's own row."""
    before = await standing.locked(d, change.conn, event.user_id)
    if event.region_code is None:
        await change.conn.execute(
            "DELETE FROM user_locations WHERE user_id = $1 AND updated_at <= $2",
            event.user_id,
            event.at,
        )
    else:
        await _write(change, event)
    await change.conn.execute(
        "UPDATE inbox_events SET payload = '{}' WHERE event_id = $1", change.event_id
    )
    await standing.tell_move(d, change, event.user_id, before)
