"""Chat rooms, in namespace /chat: what is said there, by whom, and what admins take back."""

from datetime import datetime
from typing import Annotated, Final

from msgspec import Meta

from protocol.events.row import ClientEvent, Ok, ServerEvent
from protocol.names import CHAT
from protocol.payload import Id, Message, Request

YEAR_MIN: Final = 525_600


class ChatRoomRef(Request):
    room_id: Id


class ChatSend(Request):
    """`client_message_id` is the client's own: repeated within a day it names the same message."""

    room_id: Id
    content: Annotated[str, Meta(min_length=1, max_length=1000)]
    client_message_id: Id


class ChatDelete(Request):
    room_id: Id
    message_id: Id


class ChatBan(Request):
    """For up to a year; 0 minutes lift a ban."""

    room_id: Id
    user_id: Id
    minutes: Annotated[int, Meta(ge=0, le=YEAR_MIN)]


class ChatMessage(Message):
    message_id: str
    room_id: str
    user_id: str
    nickname: str
    content: str
    client_message_id: str
    created_at: datetime


class ChatRoomState(Message):
    """`recent`: the last messages, oldest first; null while Postgres is away."""

    room: str
    online: int
    recent: tuple[ChatMessage, ...] | None


class ChatSent(Message):
    message_id: str
    created_at: datetime


class ChatBanned(Message):
    banned_until: datetime


class ChatMessageDeleted(Message):
    message_id: str
    room_id: str
    deleted_by: str
    deleted_at: datetime


class ChatComing(Message):
    """Who came or went, and how many people are there now."""

    room_id: str
    user_id: str
    online: int


CLIENT: Final = (
    ClientEvent("chat:join-room", ChatRoomRef, ChatRoomState, CHAT),
    ClientEvent("chat:leave-room", ChatRoomRef, Ok, CHAT),
    ClientEvent("chat:send-message", ChatSend, ChatSent, CHAT, limit="chat"),
    ClientEvent("chat:delete-message", ChatDelete, Ok, CHAT),
    ClientEvent("chat:ban", ChatBan, ChatBanned, CHAT),
)

SERVER: Final = (
    ServerEvent("chat:message", ChatMessage, "chat:{roomId}", "room", CHAT),
    ServerEvent("chat:message-deleted", ChatMessageDeleted, "chat:{roomId}", "room", CHAT),
    ServerEvent("chat:user-joined", ChatComing, "chat:{roomId}", "volatile", CHAT),
    ServerEvent("chat:user-left", ChatComing, "chat:{roomId}", "volatile", CHAT),
)
