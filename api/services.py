"""What other services send: domain events, and broadcasts to rooms."""

from api.route import Call
from hub.domain import intake, rooms
from protocol.domain_events import Envelope
from protocol.rest.domain_events import EventsAccepted
from protocol.rest.rooms import Broadcast, BroadcastRequest


async def events(call: Call[Envelope | tuple[Envelope, ...], None]) -> EventsAccepted:
    envelopes = (call.body,) if isinstance(call.body, Envelope) else call.body
    return await intake.accept(call.domain, call.service, envelopes)


async def broadcast(call: Call[BroadcastRequest, None]) -> Broadcast:
    return await rooms.broadcast(call.domain, call.service, call.path["room"], call.body, call.once)
