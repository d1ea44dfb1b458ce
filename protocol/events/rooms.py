"""Rooms of any kind: who is there, and what services broadcast to them."""

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta

from protocol.events.row import ClientEvent, Count, ServerEvent
from protocol.payload import Message, Request


class RoomRef(Request):
    room: Annotated[str, Meta(min_length=1, max_length=128)]


class PresenceUpdate(Message):
    """People, not sockets; of neighbourhood and region rooms in steps of 5, 0 under 5."""

    room: str
    count: int


class RoomBroadcast(Message):
    room: str
    event: str
    publisher: str
    published_at: datetime
    data: dict[str, Any]


CLIENT: Final = (ClientEvent("presence:get", RoomRef, Count),)

SERVER: Final = (
    ServerEvent("presence:update", PresenceUpdate, "that room", "volatile"),
    ServerEvent("room:broadcast", RoomBroadcast, "any room", "room"),
)
