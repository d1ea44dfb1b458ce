"""Regions and neighbourhoods in force."""

from api.route import Call
from protocol.rest.places import Neighbourhood, Neighbourhoods, NeighbourhoodsQuery, Region, Regions


async def regions(call: Call[None, None]) -> Regions:
    boxes = call.domain.atlas.regions
    return Regions(items=tuple(Region(code=box.code, name=box.name) for box in boxes))


async def neighbourhoods(call: Call[None, NeighbourhoodsQuery]) -> Neighbourhoods:
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
