"""Domain events that services publish over REST."""

from api.route import Call
from hub.domain import intake
from protocol.domain_events import Envelope
from protocol.rest.domain_events import Events, EventsAccepted


async def publish(call: Call[Events, None]) -> EventsAccepted:
    """Publish domain events, one or up to 100; each is applied once by its id."""
    envelopes = (call.body,) if isinstance(call.body, Envelope) else call.body
    return await intake.accept(call.domain, call.service, envelopes)
