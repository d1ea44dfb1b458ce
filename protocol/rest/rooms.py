"""What services broadcast to rooms."""

from typing import Annotated, Any

from msgspec import Meta

from protocol.payload import Message, Request


class BroadcastRequest(Request):
    event: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*(:[a-z0-9-]+)*$", max_length=100)]
    data: dict[str, Any]


class Broadcast(Message):
    broadcast_id: str
