"""Where a person is: an H3 cell, never a finer place."""

from dataclasses import dataclass
from datetime import timedelta

from hub.domain.context import Domain
from hub.domain.people import standing
from hub.domain.places import geometry
from hub.plumbing.stores.outbox import Change
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
    move = await standing.tell_move(d, change, user_id, before)
    return Moved(region, neighbourhood, move)


async def forget_place(d: Domain, change: Change, user_id: str) -> None:
    """DELETE /locations/me: the position goes, and all sockets leave its rooms."""
    before = await standing.locked(d, change.conn, user_id)
    await change.conn.execute("DELETE FROM user_locations WHERE user_id = $1", user_id)
    await standing.tell_move(d, change, user_id, before)
