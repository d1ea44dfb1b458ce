"""What services do with rooms."""

from api.route import Call
from hub.domain import rooms
from protocol.rest.rooms import Broadcast, BroadcastRequest


async def broadcast(call: Call[BroadcastRequest, None]) -> Broadcast:
    """Publish an event to a room under your prefixes."""
    return await rooms.broadcast(call.domain, call.service, call.path["room"], call.body, call.once)
