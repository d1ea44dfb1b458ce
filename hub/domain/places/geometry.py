"""Cells and distances.

A person's position is only ever an H3 cell of resolution 8; a question's place is rounded to three
decimals (111 x 93 m) before anything is written or logged.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import h3

from protocol.names import cell_room

RESOLUTION: Final = 8
EARTH_M: Final = 6_371_008.8
COARSE_ACCURACY_M: Final = 1000
"""A position less exact than this names a region only."""


def distance_m(lat1: float, lng1: float, lat2: float, lng2: float) -> float:
    """Great-circle distance in metres."""
    a1, a2 = math.radians(lat1), math.radians(lat2)
    half = math.sin((a2 - a1) / 2) ** 2
    half += math.cos(a1) * math.cos(a2) * math.sin(math.radians(lng2 - lng1) / 2) ** 2
    return 2 * EARTH_M * math.asin(min(1.0, math.sqrt(half)))  # of antipodes a hair over 1


def rounded(degrees: float) -> float:
    return round(degrees, 3)


def cell_of(lat: float, lng: float) -> int:
    return int(h3.str_to_int(h3.latlng_to_cell(lat, lng, RESOLUTION)))


def cell_text(cell: int) -> str:
    return str(h3.int_to_str(cell))


def room_of_cell(cell: int) -> str:
    return cell_room(cell_text(cell))


def middle_of(cell: int) -> tuple[float, float]:
    lat, lng = h3.cell_to_latlng(cell_text(cell))
    return float(lat), float(lng)


def distance_to_cell_m(lat: float, lng: float, cell: int) -> float:
    """From a place to the middle of a cell: as near as a person's position is known."""
    return distance_m(lat, lng, *middle_of(cell))


@lru_cache(maxsize=256)
def cells_touching(lat: float, lng: float, radius_m: float) -> tuple[int, ...]:
    """Every cell of resolution 8 that touches the circle, nearest row first; anywhere on earth.

    Kept, because all waves of a question ask, and whoever comes into one of its cells.
    """
    centre = h3.latlng_to_cell(lat, lng, RESOLUTION)
    edge, reach = _edge_m(centre), _reach_m(centre) * 1.1  # the neighbours' differ a little
    rings = math.ceil((radius_m + edge) / (1.5 * edge)) + 1

    def touches(cell: str) -> bool:
        """The middle decides, but for the cells on the rim."""
        middle = math.hypot(*_seen_from(lat, lng, *h3.cell_to_latlng(cell)))
        if middle <= radius_m or middle > radius_m + reach:
            return middle <= radius_m
        return _gap_m(lat, lng, h3.cell_to_boundary(cell)) <= radius_m

    return tuple(
        int(h3.str_to_int(cell))
        for cell in h3.grid_disk(centre, rings)
        if cell == centre or touches(cell)
    )


def _edge_m(cell: str) -> float:
    """The shortest edge of a cell: over the earth they differ by a half, in one place little."""
    corners = h3.cell_to_boundary(cell)
    return min(distance_m(*a, *b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True))


def _reach_m(cell: str) -> float:
    """From a cell's middle to its farthest corner."""
    middle = h3.cell_to_latlng(cell)
    return max(distance_m(*middle, *corner) for corner in h3.cell_to_boundary(cell))


def _gap_m(lat: float, lng: float, boundary: Sequence[tuple[float, float]]) -> float:
    """From a place outside a cell to its border, on a map around the place."""
    points = [_seen_from(lat, lng, *corner) for corner in boundary]
    return min(_to_segment(a, b) for a, b in zip(points, points[1:] + points[:1], strict=True))


def _seen_from(lat: float, lng: float, lat2: float, lng2: float) -> tuple[float, float]:
    """Metres east and north of a place, true in distance and direction from there (the azimuthal
    equidistant projection). Longitudes stand in sine and cosine alone, so it knows no edge at 180
    degrees and holds at the poles.
    """
    a1, a2, turn = math.radians(lat), math.radians(lat2), math.radians(lng2 - lng)
    sin1, cos1, sin2, cos2 = math.sin(a1), math.cos(a1), math.sin(a2), math.cos(a2)
    along = cos2 * math.cos(turn)
    east, north = cos2 * math.sin(turn), cos1 * sin2 - sin1 * along
    length = math.hypot(east, north)
    scale = EARTH_M * math.atan2(length, sin1 * sin2 + cos1 * along) / length if length else 0.0
    return east * scale, north * scale


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
    return cells_touching(lat, lng, radius_m + _reach_m(cell_text(cell)))
