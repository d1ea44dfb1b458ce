"""Cells, regions and neighbourhoods."""

import math

import h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain import places
from hub.domain.context import Domain


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
    metre = math.radians(1) * places.EARTH_M
    north = math.cos(direction) * radius * share * 0.999 / metre
    east = math.sin(direction) * radius * share * 0.999 / metre / math.cos(math.radians(lat))
    cells = places.cells_touching(lat, lng, radius)
    assert places.cell_of(lat + north, lng + east) in cells
    assert len(cells) == len(set(cells))


@pytest.mark.parametrize(("radius", "least", "most"), [(2000, 30, 36), (5000, 155, 175)])
def test_a_circle_has_about_as_many_cells_as_its_area_says(
    radius: int, least: int, most: int
) -> None:
    assert least <= len(places.cells_touching(33.5, 126.53, radius)) <= most


def test_cells_around_find_every_circle_that_reaches_a_cell() -> None:
    cell = places.cell_of(33.489, 126.493)
    near = places.cells_around(cell, 2000)
    for spot in h3.grid_disk(places.cell_text(cell), 6):
        lat, lng = h3.cell_to_latlng(spot)
        if cell in places.cells_touching(lat, lng, 2000):
            assert places.cell_of(lat, lng) in near


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
