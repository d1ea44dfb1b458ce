"""Positions of people; regions and neighbourhoods in force."""

from typing import Annotated, Literal

from msgspec import Meta

from protocol.normal import code_of
from protocol.payload import Code, Latitude, Longitude, Message, Request
from protocol.rest.questions import Question


class Position(Request):
    lat: Latitude
    lng: Longitude
    accuracy_m: Annotated[float, Meta(ge=0, le=1e7)] | None = None


class PositionState(Message):
    region_code: str
    neighbourhood_code: str | None


class Region(Message):
    code: str
    name: str


class Regions(Message):
    items: tuple[Region, ...]


class NeighbourhoodsQuery(Request):
    region: Code | None = None

    def __post_init__(self) -> None:
        self.region = code_of(self.region)


class Neighbourhood(Message):
    code: str
    region_code: str
    name: str
    lat: float
    lng: float
    radius_m: int


class Neighbourhoods(Message):
    items: tuple[Neighbourhood, ...]


class NearbyQuery(Request):
    """Around where somebody looks: nothing of it is kept. `radiusM`: by default NEARBY_RADIUS_M."""

    lat: Latitude
    lng: Longitude
    radius_m: Annotated[int, Meta(ge=500, le=20_000)] | None = None
    kind: Literal["questions", "answerers"] = "questions"


class NearbyQuestion(Message):
    """`distance_m` to the rounded place its asker chose to publish."""

    question: Question
    distance_m: int


class Nearby(Message):
    """Questions, the nearest first; or how many answerers (in steps of 5, 0 under 5)."""

    questions: tuple[NearbyQuestion, ...] | None = None
    answerers: int | None = None


Name = Annotated[str, Meta(min_length=1, max_length=100)]


class RegionForm(Request):
    """The row as it is to be. Its box is whole or absent: a region without one holds no place by
    itself."""

    name: Name
    lat_min: Latitude | None = None
    lat_max: Latitude | None = None
    lng_min: Longitude | None = None
    lng_max: Longitude | None = None
    is_active: bool = True
    shard: Code | None = None

    def __post_init__(self) -> None:
        box = (self.lat_min, self.lat_max, self.lng_min, self.lng_max)
        if self.lat_min is None or self.lat_max is None:
            if any(edge is not None for edge in box):
                raise ValueError("A box has four edges")
        elif self.lng_min is None or self.lng_max is None:
            raise ValueError("A box has four edges")
        elif self.lat_min >= self.lat_max or self.lng_min >= self.lng_max:
            raise ValueError("A box begins before it ends")


class RegionRow(Message):
    code: str
    name: str
    lat_min: float | None
    lat_max: float | None
    lng_min: float | None
    lng_max: float | None
    is_active: bool
    shard: str | None


class NeighbourhoodForm(Request):
    """The row as it is to be: a circle around a middle."""

    region_code: Code
    name: Name
    lat: Latitude
    lng: Longitude
    radius_m: Annotated[int, Meta(ge=50, le=50_000)]
    is_active: bool = True

    def __post_init__(self) -> None:
        self.region_code = code_of(self.region_code)


class NeighbourhoodRow(Message):
    code: str
    region_code: str
    name: str
    lat: float
    lng: float
    radius_m: int
    is_active: bool
