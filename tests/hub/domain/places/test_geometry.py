"""Cells, regions and neighbourhoods."""

import math
from collections.abc import Callable

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.context import Domain
from hub.domain.places import geometry

Seen = Callable[[str, object], None]


@given(
    st.floats(33.1, 33.6),
    st.floats(126.1, 126.9),
    st.sampled_from([500, 2000, 5000]),
    st.floats(0, 1),
    st.floats(0, 2 * math.pi),
)
def test_whoever_stands_in_the_circle_is_in_one_of_its_cells(
    lat: float, lng: float, radius: int, share: float, direction: float
) -> None:
    metre = math.radians(1) * geometry.EARTH_M
    north = math.cos(direction) * radius * share * 0.999 / metre
    east = math.sin(direction) * radius * share * 0.999 / metre / math.cos(math.radians(lat))
    cells = geometry.cells_touching(lat, lng, radius)
    assert geometry.cell_of(lat + north, lng + east) in cells
    assert len(cells) == len(set(cells))


@pytest.mark.parametrize(("radius", "least", "most"), [(2000, 30, 36), (5000, 155, 175)])
def test_a_circle_has_about_as_many_cells_as_its_area_says(
    radius: int, least: int, most: int
) -> None:
    assert least <= len(geometry.cells_touching(33.5, 126.53, radius)) <= most


def test_cells_around_find_every_circle_that_reaches_a_cell() -> None:
    cell = geometry.cell_of(33.489, 126.493)
    near = geometry.cells_around(cell, 2000)
    for spot in h3.grid_disk(geometry.cell_text(cell), 6):
        lat, lng = h3.cell_to_latlng(spot)
        if cell in geometry.cells_touching(lat, lng, 2000):
            assert geometry.cell_of(lat, lng) in near


async def test_regions_are_the_boxes_of_the_source(domain: Domain) -> None:
    atlas = domain.atlas
    assert atlas.region_of(33.489, 126.493) == "jeju"
    assert atlas.region_of(35.1, 129.0) == "busan"
    assert atlas.region_of(37.5, 127.0) == "default"
    assert atlas.neighbourhood_of(33.489, 126.493) == "yeon"
    assert atlas.neighbourhood_of(33.505, 126.953) == "udo", (
        "outside the box, still a neighbourhood"
    )
    assert atlas.neighbourhood_of(37.5, 127.0) is None
    assert len(atlas.neighbourhoods) == 43


def moved(lat: float, lng: float, direction: float, metres: float) -> tuple[float, float]:
    """Where one comes who walks so far on a great circle."""
    a1, arc = math.radians(lat), metres / geometry.EARTH_M
    sine = math.sin(a1) * math.cos(arc) + math.cos(a1) * math.sin(arc) * math.cos(direction)
    a2 = math.asin(max(-1.0, min(1.0, sine)))
    east = math.sin(direction) * math.sin(arc) * math.cos(a1)
    turn = math.atan2(east, math.cos(arc) - math.sin(a1) * math.sin(a2))
    return math.degrees(a2), (math.degrees(turn) + lng + 540) % 360 - 180


PENTAGONS = [h3.cell_to_latlng(cell) for cell in h3.get_pentagons(geometry.RESOLUTION)]
EDGES = {
    "east of the antimeridian": (-16.8, -179.996),
    "west of it": (-16.8, 179.994),
    "on it": (65.0, 180.0),
    "on it, by its other name": (65.0, -180.0),
    "the north pole": (90.0, 0.0),
    "beside the south pole": (-89.99, 170.0),
    "a pentagon": PENTAGONS[0],
    "another one": PENTAGONS[7],
    "the smallest cells": (58.3, 11.25),
}


@pytest.mark.fault(17)
@pytest.mark.parametrize("radius", [500, 2000, 5000])
@pytest.mark.parametrize("name", EDGES)
def test_a_circle_is_whole_wherever_it_lies(name: str, radius: int) -> None:
    lat, lng = EDGES[name]
    cells = geometry.cells_touching(lat, lng, radius)
    for step in range(72):
        for share in (0.3, 0.7, 0.999):
            spot = moved(lat, lng, math.radians(step * 5), radius * share)
            assert geometry.cell_of(*spot) in cells, (name, step * 5, share)
    for cell in cells:  # and not much more: what touches it has its middle within a cell of its rim
        assert geometry.distance_to_cell_m(lat, lng, cell) < radius + 700


@pytest.mark.fault(17)
def test_somebody_beyond_the_antimeridian_is_as_near_as_anybody(record_property: Seen) -> None:
    there = geometry.cell_of(-16.8, -179.994)
    assert there in geometry.cells_touching(-16.8, 179.994, 2000)
    assert geometry.cell_of(-16.8, 179.994) in geometry.cells_around(there, 2000)
    distance = geometry.distance_to_cell_m(-16.8, 179.994, there)
    assert distance < 2000
    record_property("seen", f"{distance:.0f} m over the antimeridian: in the circle")


@pytest.mark.fault(17)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_antipodes_have_a_distance(lat: float, lng: float) -> None:
    other = lng + 180 if lng <= 0 else lng - 180
    half = math.pi * geometry.EARTH_M
    assert geometry.distance_m(lat, lng, -lat, other) == pytest.approx(half, rel=1e-6)
