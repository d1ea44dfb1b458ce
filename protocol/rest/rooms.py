"""What services do with rooms and learn of them, and what members read there."""

from typing import Annotated, Any

from msgspec import Meta

from protocol.events.chat import ChatMessage
from protocol.payload import Id, Message, Request


class BroadcastRequest(Request):
    event: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]*(:[a-z0-9-]+)*$", max_length=100)]
    data: dict[str, Any]


class Broadcast(Message):
    broadcast_id: str


class RemoveRequest(Request):
    user_id: Id


class RoomPresence(Message, omit_defaults=True):
    """People, not sockets. `users`: 1000 at most; absent for neighbourhoods and regions."""

    count: Annotated[int, Meta(ge=0)]
    users: tuple[str, ...] | None = None


class MessagesQuery(Request):
    """`before`: the messageId of the last item of the page before."""

    before: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class Messages(Message):
    """Newest first."""

    items: tuple[ChatMessage, ...]
