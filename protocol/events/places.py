"""Where a person is, and the neighbourhoods they listen to."""

from typing import Annotated, Final

from msgspec import Meta

from protocol.events.questions import UrgentCard
from protocol.events.row import ClientEvent, Ok, ServerEvent
from protocol.payload import Id, Latitude, Longitude, Message, Request


class LocationUpdate(Request):
    lat: Latitude
    lng: Longitude
    accuracy_m: Annotated[float, Meta(ge=0, le=1e7)] | None = None


class LocationState(Message):
    region_code: str
    neighbourhood_code: str | None
    rooms: tuple[str, ...]


class NeighbourhoodRef(Request):
    code: Id


class NeighbourhoodState(Message):
    room: str
    online: int
    recent: tuple[UrgentCard, ...] | None


class TagCount(Message):
    tag: str
    count: int


class TrendingUpdated(Message):
    """Hashtags of one region, most used first."""

    window: str
    tags: tuple[TagCount, ...]


CLIENT: Final = (
    ClientEvent("location:update", LocationUpdate, LocationState),
    ClientEvent("neighbourhood:join", NeighbourhoodRef, NeighbourhoodState),
    ClientEvent("neighbourhood:leave", NeighbourhoodRef, Ok),
)

SERVER: Final = (ServerEvent("trending:updated", TrendingUpdated, "region:{code}", "volatile"),)
