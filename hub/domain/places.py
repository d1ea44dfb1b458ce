"""Places: cells, regions, neighbourhoods, distances. Pure but for loading the atlas.

A person's position is only ever an H3 cell of resolution 8; a question's place is rounded to three
decimals (111 x 93 m) before anything is written or logged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import h3

from hub.plumbing.postgres import Pool
from protocol.names import cell_room

RESOLUTION: Final = 8
EARTH_M: Final = 6_371_008.8
COARSE_ACCURACY_M: Final = 1000
"""A position less exact than this names a region only."""


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


def distance_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Great-circle distance in metres."""
    a1, a2 = math.radians(lat1), math.radians(lat2)
    half = math.sin((a2 - a1) / 2) ** 2
    half += math.cos(a1) * math.cos(a2) * math.sin(math.radians(lng2 - lng1) / 2) ** 2
    return 2 * EARTH_M * math.asin(math.sqrt(half))


def rounded(degrees: float) -> float:
    return round(degrees, 3)


def cell_of(lat: float, lng: float) -> int:
    return int(h3.str_to_int(h3.latlng_to_cell(lat, lng, RESOLUTION)))


def cell_text(cell: int) -> str:
    return str(h3.int_to_str(cell))


def room_of_cell(cell: int) -> str:
    return cell_room(cell_text(cell))


def distance_to_cell_m(lat: float, lng: float, cell: int) -> float:
    """From a place to the middle of a cell: as near as a person's position is known."""
    middle_lat, middle_lng = h3.cell_to_latlng(cell_text(cell))
    return distance_m(lat, lng, middle_lat, middle_lng)


def cells_touching(lat: float, lng: float, radius_m: float) -> list[int]:
    """Every cell of resolution 8 that touches the circle, nearest row first."""
    centre = h3.latlng_to_cell(lat, lng, RESOLUTION)
    edge = h3.average_hexagon_edge_length(RESOLUTION, unit="m")
    rings = math.ceil((radius_m + edge) / (1.5 * edge)) + 1
    return [
        int(h3.str_to_int(cell))
        for cell in h3.grid_disk(centre, rings)
        if cell == centre or _gap_m(lat, lng, h3.cell_to_boundary(cell)) <= radius_m
    ]


def _gap_m(lat: float, lng: float, boundary: Sequence[tuple[float, float]]) -> float:
    """From a place outside a cell to its border, on a plane touching the earth at the place."""
    scale = math.cos(math.radians(lat))
    metre = math.radians(1) * EARTH_M
    points = [((x - lng) * scale * metre, (y - lat) * metre) for y, x in boundary]
    return min(_to_segment(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True))


def _to_segment(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance from the origin to the segment a-b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    t = max(0.0, min(1.0, -(a[0] * dx + a[1] * dy) / length)) if length else 0.0
    return math.hypot(a[0] + t * dx, a[1] + t * dy)


@lru_cache(maxsize=2048)
def cells_around(cell: int, radius_m: float) -> tuple[int, ...]:
    """Cells from which a circle of this radius may reach the given cell.

    Kept, because it costs 2 ms and every socket that connects asks.
    """
    lat, lng = h3.cell_to_latlng(cell_text(cell))
    edge = h3.average_hexagon_edge_length(RESOLUTION, unit="m")
    return tuple(cells_touching(lat, lng, radius_m + edge))
