"""What services do with rooms."""

from api.route import Call
from hub.domain import rooms
from protocol.rest.rooms import Broadcast, BroadcastRequest


async def broadcast(call: Call[BroadcastRequest, None]) -> Broadcast:
    """Publish an event to a room under your prefixes."""
    d, caller, room = call.domain, call.service, call.path["room"]
    return await call.change(
        Broadcast, lambda change: rooms.broadcast(d, change, caller, room, call.body)
    )
