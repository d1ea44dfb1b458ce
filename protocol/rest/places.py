"""Positions of people; regions and neighbourhoods in force."""

from typing import Annotated

from msgspec import Meta

from protocol.normal import code_of
from protocol.payload import Code, Latitude, Longitude, Message, Request


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
