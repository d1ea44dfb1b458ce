"""Where people are; regions and neighbourhoods in force."""

from api.route import Call
from hub.domain.people import positions
from hub.domain.places import atlas
from hub.domain.questions import nearby as near
from hub.plumbing.stores.outbox import Change
from protocol.errors import forbidden, invalid
from protocol.normal import code_of
from protocol.rest.places import (
    Nearby,
    NearbyQuery,
    Neighbourhood,
    NeighbourhoodForm,
    NeighbourhoodRow,
    Neighbourhoods,
    NeighbourhoodsQuery,
    Position,
    PositionState,
    Region,
    RegionForm,
    RegionRow,
    Regions,
)
from protocol.tokens import Token


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


async def nearby(call: Call[None, NearbyQuery]) -> Nearby:
    """Open questions near a place; for admins and services, how many answerers are there."""
    query = call.query
    radius_m = query.radius_m or call.domain.policy.nearby_radius_m
    if query.kind == "questions":
        found = await near.questions(
            call.domain, query.lat, query.lng, radius_m, may_lag=await call.may_lag()
        )
        return Nearby(questions=found)
    if isinstance(call.caller, Token) and not call.is_admin:
        raise forbidden("How many people are near is for admins and services.")
    count = await near.answerers(call.domain, query.lat, query.lng, radius_m)
    return Nearby(answerers=count)


async def put_region(call: Call[RegionForm, None]) -> RegionRow:
    """Make, change or switch off a region."""
    code = _code(call)
    return await call.change(RegionRow, lambda change: atlas.put_region(change, code, call.body))


async def put_neighbourhood(call: Call[NeighbourhoodForm, None]) -> NeighbourhoodRow:
    """Make, change or switch off a neighbourhood."""
    code = _code(call)
    return await call.change(
        NeighbourhoodRow, lambda change: atlas.put_neighbourhood(change, code, call.body)
    )


def _code(call: Call[RegionForm, None] | Call[NeighbourhoodForm, None]) -> str:
    try:
        return code_of(call.path["code"])
    except ValueError as error:
        raise invalid(f"{error}.") from None
