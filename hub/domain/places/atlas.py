"""Regions and neighbourhoods: which of them a place lies in."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from hub.domain.places.geometry import distance_m
from hub.plumbing.life.lasting import Lasting
from hub.plumbing.life.waiting import set_within
from hub.plumbing.stores.outbox import Change
from hub.plumbing.stores.postgres import AWAY, Pool
from protocol.errors import conflict, invalid, unavailable
from protocol.names import ATLAS
from protocol.rest.places import NeighbourhoodForm, NeighbourhoodRow, RegionForm, RegionRow

log = structlog.get_logger(__name__)

LOOK_S: Final = 30.0
"""How late a change is in force whose news was lost, at most."""


@dataclass(frozen=True, slots=True)
class RegionBox:
    code: str
    name: str
    lat_min: float | None
    lat_max: float | None
    lng_min: float | None
    lng_max: float | None

    def holds(self, lat: float, lng: float) -> bool:
        if self.lat_min is None or self.lat_max is None:
            return False
        assert self.lng_min is not None
        assert self.lng_max is not None
        return self.lat_min <= lat <= self.lat_max and self.lng_min <= lng <= self.lng_max


@dataclass(frozen=True, slots=True)
class NeighbourhoodCircle:
    code: str
    region_code: str
    name: str
    lat: float
    lng: float
    radius_m: int


@dataclass(slots=True)
class Atlas:
    """Regions and neighbourhoods in force; each process reads them anew when they change. Where it
    began while Postgres was away it knows none yet, and what is asked of it is UNAVAILABLE.
    """

    regions: Sequence[RegionBox] = ()
    neighbourhoods: Sequence[NeighbourhoodCircle] = ()

    @property
    def is_read(self) -> bool:
        """There is always a region: `default` is the database's own."""
        return bool(self.regions)

    def _must_be_read(self) -> None:
        if not self.is_read:
            raise unavailable("Which places there are is not known yet.")

    def region_of(self, lat: float, lng: float) -> str:
        """S2-087; `default` where no box holds the place (C36)."""
        self._must_be_read()
        return next((box.code for box in self.regions if box.holds(lat, lng)), "default")

    def neighbourhood_of(self, lat: float, lng: float) -> str | None:
        """The nearest centre among those whose circle holds the place, else the nearest 10 km."""
        self._must_be_read()
        near = [
            (distance_m(lat, lng, spot.lat, spot.lng), spot.code, spot.radius_m)
            for spot in self.neighbourhoods
        ]
        inside = [one for one in near if one[0] <= one[2]]
        best = min(inside or [one for one in near if one[0] <= 10_000], default=None)
        return best[1] if best else None

    def is_neighbourhood(self, code: str) -> bool:
        self._must_be_read()
        return any(spot.code == code for spot in self.neighbourhoods)

    async def reload(self, pool: Pool) -> None:
        """Raises asyncpg or OS errors when Postgres cannot be reached."""
        fresh = await load_atlas(pool)
        self.regions, self.neighbourhoods = fresh.regions, fresh.neighbourhoods


async def load_atlas(pool: Pool) -> Atlas:
    """A neighbourhood of a region that is switched off is off as well."""
    regions = await pool.fetch(
        "SELECT code, name, lat_min, lat_max, lng_min, lng_max FROM regions WHERE is_active"
        " ORDER BY code"
    )
    spots = await pool.fetch(
        "SELECT n.code, n.region_code, n.name, n.lat, n.lng, n.radius_m FROM neighbourhoods n"
        " JOIN regions r ON r.code = n.region_code AND r.is_active WHERE n.is_active"
        " ORDER BY n.code"
    )
    return Atlas(
        [RegionBox(**dict(row)) for row in regions],
        [NeighbourhoodCircle(**dict(row)) for row in spots],
    )


async def keep_current(atlas: Atlas, pool: Pool, changed: asyncio.Event) -> None:
    """Read the atlas anew when somebody has changed it, and now and then in case that was not
    heard; until cancelled."""
    failing = Lasting(log, "atlas.not_read", "atlas.read_again")
    if not atlas.is_read:
        changed.set()
    while True:
        await set_within(changed, LOOK_S)
        changed.clear()
        try:
            await atlas.reload(pool)
            failing.over()
        except AWAY as error:
            failing.seen(error=type(error).__name__)
            await asyncio.sleep(1)
            changed.set()


async def put_region(change: Change, code: str, form: RegionForm) -> RegionRow:
    """Make, change or switch off a region. Raises CONFLICT for one that has open questions, or
    takes what no other holds, and is to be switched off.
    """
    if not form.is_active:
        await _check_idle(change, code)
    row = await change.conn.fetchrow(
        "INSERT INTO regions (code, name, lat_min, lat_max, lng_min, lng_max, is_active, shard)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (code) DO UPDATE SET name = $2,"
        " lat_min = $3, lat_max = $4, lng_min = $5, lng_max = $6, is_active = $7, shard = $8"
        " RETURNING *",
        code,
        form.name,
        form.lat_min,
        form.lat_max,
        form.lng_min,
        form.lng_max,
        form.is_active,
        form.shard,
    )
    assert row is not None
    change.invalidate(ATLAS)
    return RegionRow(**dict(row))


async def _check_idle(change: Change, code: str) -> None:
    if code == "default":
        raise conflict("The region of what lies in no other stays.")
    await change.conn.execute("SELECT FROM regions WHERE code = $1 FOR UPDATE", code)
    busy = await change.conn.fetchval(
        "SELECT EXISTS (SELECT FROM questions WHERE region_code = $1 AND status = 'active')", code
    )
    if busy:
        raise conflict("This region has open questions.")


async def put_neighbourhood(change: Change, code: str, form: NeighbourhoodForm) -> NeighbourhoodRow:
    """Make, change or switch off a neighbourhood. Raises INVALID_PAYLOAD for an unknown region."""
    known = await change.conn.fetchval("SELECT true FROM regions WHERE code = $1", form.region_code)
    if known is None:
        raise invalid("There is no such region.")
    row = await change.conn.fetchrow(
        "INSERT INTO neighbourhoods (code, region_code, name, lat, lng, radius_m, is_active)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (code) DO UPDATE SET region_code = $2,"
        " name = $3, lat = $4, lng = $5, radius_m = $6, is_active = $7 RETURNING *",
        code,
        form.region_code,
        form.name,
        form.lat,
        form.lng,
        form.radius_m,
        form.is_active,
    )
    assert row is not None
    change.invalidate(ATLAS)
    return NeighbourhoodRow(**dict(row))
