"""What services do with rooms, and what members read there."""

from api.route import Call
from hub.domain import chat, rooms
from protocol.rest.rooms import (
    Broadcast,
    BroadcastRequest,
    Messages,
    MessagesQuery,
    RemoveRequest,
    RoomPresence,
)


async def broadcast(call: Call[BroadcastRequest, None]) -> Broadcast:
    """Publish an event to a room under your prefixes."""
    d, caller, room = call.domain, call.service, call.path["room"]
    return await call.change(
        Broadcast, lambda change: rooms.broadcast(d, change, caller, room, call.body)
    )


async def remove(call: Call[RemoveRequest, None]) -> None:
    """Put a person out of a room under your prefixes, on all nodes."""
    d, caller, room = call.domain, call.service, call.path["room"]
    async with d.outbox.change() as change:
        await rooms.remove(d, change, caller, room, call.body.user_id)


async def presence(call: Call[None, None]) -> RoomPresence:
    """How many people are in a room, and who."""
    return await rooms.presence(call.domain, call.path["room"])


async def messages(call: Call[None, MessagesQuery]) -> Messages:
    """What was said in a chat room that you are a member of, newest first."""
    d, reader, room, query = call.domain, call.person.user_id, call.path["room"], call.query
    rooms.check_room(room)
    return Messages(items=tuple(await chat.history(d, reader, room, query.before, query.limit)))
