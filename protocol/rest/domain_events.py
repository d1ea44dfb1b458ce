"""Domain events that services publish over REST."""

from typing import Annotated

from msgspec import Meta

from protocol.domain_events import Envelope
from protocol.payload import Message

Events = Envelope | Annotated[tuple[Envelope, ...], Meta(min_length=1, max_length=100)]


class EventsAccepted(Message):
    accepted: int
    duplicates: int
