"""What other services send: domain events, and broadcasts to rooms."""

from api.route import Call
from hub.domain import intake, rooms
from protocol.domain_events import Envelope
from protocol.rest import Broadcast, BroadcastRequest, EventsAccepted


async def events(call: Call[Envelope | tuple[Envelope, ...], None]) -> EventsAccepted:
    envelopes = (call.body,) if isinstance(call.body, Envelope) else call.body
    return await intake.accept(call.domain, call.service, envelopes)


async def broadcast(call: Call[BroadcastRequest, None]) -> Broadcast:
    d, caller, room = call.domain, call.service, call.path["room"]
    return await call.change(
        Broadcast, lambda change: rooms.broadcast(d, change, caller, room, call.body)
    )
