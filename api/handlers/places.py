"""Where people are; regions and neighbourhoods in force."""

from api.route import Call
from hub.domain.people import positions
from hub.plumbing.stores.outbox import Change
from protocol.rest.places import (
    Neighbourhood,
    Neighbourhoods,
    NeighbourhoodsQuery,
    Position,
    PositionState,
    Region,
    Regions,
)


async def locate(call: Call[Position, None]) -> PositionState:
    """Tell where you are; kept as a cell of 0.7 km², with consent only."""
    d, user_id, at = call.domain, call.person.user_id, call.body

    async def move(change: Change) -> PositionState:
        moved = await positions.locate(d, change, user_id, at.lat, at.lng, at.accuracy_m)
        return PositionState(
            region_code=moved.region_code, neighbourhood_code=moved.neighbourhood_code
        )

    return await call.change(PositionState, move)


async def forget(call: Call[None, None]) -> None:
    """Forget where you are."""
    async with call.domain.outbox.change() as change:
        await positions.forget_place(call.domain, change, call.person.user_id)


async def regions(call: Call[None, None]) -> Regions:
    """Regions in force."""
    boxes = call.domain.atlas.regions
    return Regions(items=tuple(Region(code=box.code, name=box.name) for box in boxes))


async def neighbourhoods(call: Call[None, NeighbourhoodsQuery]) -> Neighbourhoods:
    """Neighbourhoods, of one region or of all."""
    wanted = call.query.region
    return Neighbourhoods(
        items=tuple(
            Neighbourhood(
                code=spot.code,
                region_code=spot.region_code,
                name=spot.name,
                lat=spot.lat,
                lng=spot.lng,
                radius_m=spot.radius_m,
            )
            for spot in call.domain.atlas.neighbourhoods
            if wanted is None or spot.region_code == wanted
        )
    )
