"""Regions and neighbourhoods: which of them a place lies in."""

from collections.abc import Sequence
from dataclasses import dataclass

from hub.domain.places.geometry import distance_m
from hub.plumbing.stores.postgres import Pool


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


@dataclass(frozen=True, slots=True)
class Atlas:
    """Regions and neighbourhoods in force."""

    regions: Sequence[RegionBox]
    neighbourhoods: Sequence[NeighbourhoodCircle]

    def region_of(self, lat: float, lng: float) -> str:
        """S2-087; `default` where no box holds the place (C36)."""
        return next((box.code for box in self.regions if box.holds(lat, lng)), "default")

    def neighbourhood_of(self, lat: float, lng: float) -> str | None:
        """The nearest centre among those whose circle holds the place, else the nearest 10 km."""
        near = [
            (distance_m(lat, lng, spot.lat, spot.lng), spot.code, spot.radius_m)
            for spot in self.neighbourhoods
        ]
        inside = [one for one in near if one[0] <= one[2]]
        best = min(inside or [one for one in near if one[0] <= 10_000], default=None)
        return best[1] if best else None

    def is_neighbourhood(self, code: str) -> bool:
        return any(spot.code == code for spot in self.neighbourhoods)


async def load_atlas(pool: Pool) -> Atlas:
    regions = await pool.fetch(
        "SELECT code, name, lat_min, lat_max, lng_min, lng_max FROM regions WHERE is_active"
        " ORDER BY code"
    )
    spots = await pool.fetch(
        "SELECT code, region_code, name, lat, lng, radius_m FROM neighbourhoods WHERE is_active"
        " ORDER BY code"
    )
    return Atlas(
        [RegionBox(**dict(row)) for row in regions],
        [NeighbourhoodCircle(**dict(row)) for row in spots],
    )
