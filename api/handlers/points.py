"""Points of a person."""

from api.route import Call
from hub.domain.people import points
from protocol.rest.points import Points, PointsQuery


async def listed(call: Call[None, PointsQuery]) -> Points:
    """What a person has, and what brought it, newest first."""
    return await points.page(call.domain, call.path["userId"], call.query.after)
